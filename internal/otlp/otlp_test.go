package otlp_test

import (
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"gatehouse"
	"gatehouse/internal/otlp"
	"gatehouse/internal/secret"
)

// collector takes OTLP over HTTP and decodes it.
type collector struct {
	*httptest.Server
	refuse atomic.Int32 // answer this status; 0: take it

	mu       sync.Mutex
	requests []http.Header     // guarded by mu, as are the rest
	spans    []*tracepb.Span   // in the order they came
	resource map[string]string // of the last message
	changed  chan struct{}     // closed and replaced with every message
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{changed: make(chan struct{})}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		defer func() { close(c.changed); c.changed = make(chan struct{}) }()
		c.requests = append(c.requests, r.Header.Clone())
		if status := int(c.refuse.Load()); status != 0 {
			w.WriteHeader(status)
			return
		}
		if r.URL.Path != "/v1/traces" || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %s, %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"))
		}
		// On the wire a request to export is what TracesData is.
		var data tracepb.TracesData
		if err := proto.Unmarshal(body, &data); err != nil {
			t.Errorf("decode: %v", err)
		}
		if len(data.ProtoReflect().GetUnknown()) > 0 {
			t.Error("unknown fields")
		}
		for _, rs := range data.ResourceSpans {
			c.resource = texts(rs.Resource.Attributes)
			for _, ss := range rs.ScopeSpans {
				if ss.Scope.Name != "gatehouse" {
					t.Errorf("scope %q", ss.Scope.Name)
				}
				c.spans = append(c.spans, ss.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// wait returns the spans once there are n.
func (c *collector) wait(t *testing.T, n int) []*tracepb.Span {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		c.mu.Lock()
		spans, changed := c.spans, c.changed
		c.mu.Unlock()
		if len(spans) >= n {
			return spans
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%d spans came, want %d", len(spans), n)
		}
	}
}

// texts are attributes by name, whatever their type, as text.
func texts(list []*commonpb.KeyValue) map[string]string {
	out := map[string]string{}
	for _, kv := range list {
		switch v := kv.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			out[kv.Key] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			out[kv.Key] = itoa(v.IntValue)
		case *commonpb.AnyValue_BoolValue:
			out[kv.Key] = map[bool]string{true: "true", false: "false"}[v.BoolValue]
		case *commonpb.AnyValue_ArrayValue:
			var parts []string
			for _, p := range v.ArrayValue.Values {
				parts = append(parts, p.GetStringValue())
			}
			out[kv.Key] = "[" + strings.Join(parts, ",") + "]"
		}
	}
	return out
}

func itoa(n int64) string {
	if n == 0 {
		return "0"
	}
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

func start(t *testing.T, cfg otlp.Config) (e *otlp.Exporter, stop func()) {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	e = otlp.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { // ends with stop
		defer close(done)
		e.Run(ctx)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(stop)
	return e, stop
}

func served() otlp.Exchange {
	return otlp.Exchange{
		Request: gatehouse.Request{ID: "req_1", ClientRequestID: "mine", At: 1_700_000_000_000, Organization: "org-1", Project: "proj_1", Key: "key_1", Method: "POST", Route: "chat.completions.create",
			Model: "gpt-4o", Deployment: "gpt-4o", Status: 200, Rule: "served", Stream: true, UpstreamModel: "gpt-4o-2024-11-20", Millis: 900, FirstByteMillis: 500,
			Attempts: []gatehouse.Attempt{{Upstream: "open", Error: gatehouse.SkippedAttempt + "the breaker is open"}, {Upstream: "contoso", Model: "gpt-4o-eu", Status: 503, Millis: 100}, {Upstream: "openai", Model: "gpt-4o", Status: 200, Millis: 300, RequestID: "req_upstream"}}},
		Units: gatehouse.Units{Input: 11, Output: 22}, Dialect: gatehouse.OpenAI,
		Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
}

// TestSpans: what a collector gets is an exchange and its attempts, below what the caller began.
func TestSpans(t *testing.T) {
	c := newCollector(t)
	e, _ := start(t, otlp.Config{Endpoint: c.URL, Service: "gatehouse", Node: "n1", Version: "v1", Headers: func(context.Context) (secret.Text, error) {
		return secret.NewText("Authorization: Bearer of-the-collector\nX-Scope-OrgID: 7\n"), nil
	}})
	e.Add(served())
	spans := c.wait(t, 3)
	if len(spans) != 3 || e.Dropped() != 0 {
		t.Fatalf("%d spans, %d dropped", len(spans), e.Dropped())
	}
	own := spans[0]
	if hex.EncodeToString(own.TraceId) != "0af7651916cd43dd8448eb211c80319c" || hex.EncodeToString(own.ParentSpanId) != "b7ad6b7169203331" || len(own.SpanId) != 8 {
		t.Errorf("the caller's trace is not continued: %x %x %x", own.TraceId, own.ParentSpanId, own.SpanId)
	}
	const at = 1_700_000_000_000
	check := func(s *tracepb.Span, name string, kind tracepb.Span_SpanKind, start, end int64, failed bool, want map[string]string) {
		t.Helper()
		if s.Name != name || s.Kind != kind || int64(s.StartTimeUnixNano) != (at+start)*1e6 || int64(s.EndTimeUnixNano) != (at+end)*1e6 || (s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR) != failed {
			t.Errorf("span %q, %v, %d to %d ms, %v", s.Name, s.Kind, int64(s.StartTimeUnixNano)/1e6-at, int64(s.EndTimeUnixNano)/1e6-at, s.GetStatus().GetCode())
		}
		got := texts(s.Attributes)
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s: %s is %q, want %q", name, k, got[k], v)
			}
			delete(got, k)
		}
		if len(got) > 0 {
			t.Errorf("%s: more than was asked for: %v", name, got)
		}
	}
	check(own, "chat gpt-4o", tracepb.Span_SPAN_KIND_SERVER, 0, 900, false, map[string]string{
		"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.response.model": "gpt-4o-2024-11-20", "gen_ai.provider.name": "openai", "gen_ai.system": "openai",
		"gen_ai.usage.input_tokens": "11", "gen_ai.usage.output_tokens": "22", "http.request.method": "POST", "http.route": "chat.completions.create", "http.response.status_code": "200",
		"gatehouse.request_id": "req_1", "gatehouse.client_request_id": "mine", "gatehouse.organization": "org-1", "gatehouse.project": "proj_1", "gatehouse.key": "key_1",
		"gatehouse.deployment": "gpt-4o", "gatehouse.rule": "served", "gatehouse.stream": "true"})
	for _, s := range spans[1:] {
		if string(s.ParentSpanId) != string(own.SpanId) || string(s.TraceId) != string(own.TraceId) {
			t.Errorf("an attempt's span is not below the exchange's")
		}
	}
	check(spans[1], "chat gpt-4o-eu", tracepb.Span_SPAN_KIND_CLIENT, 0, 100, true, map[string]string{
		"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-eu", "gatehouse.upstream": "contoso", "gatehouse.attempt": "2", "http.response.status_code": "503", "error.type": "503"})
	check(spans[2], "chat gpt-4o", tracepb.Span_SPAN_KIND_CLIENT, 200, 900, false, map[string]string{
		"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.provider.name": "openai", "gen_ai.system": "openai", "gatehouse.upstream": "openai", "gatehouse.attempt": "3",
		"http.response.status_code": "200", "http.response.header.x-request-id": "[req_upstream]"})
	if c.resource["service.name"] != "gatehouse" || c.resource["service.instance.id"] != "n1" || c.resource["service.version"] != "v1" {
		t.Errorf("resource %v", c.resource)
	}
	if h := c.requests[0]; h.Get("Authorization") != "Bearer of-the-collector" || h.Get("X-Scope-Orgid") != "7" {
		t.Errorf("headers %v", h)
	}
}

// TestTraceparent: what is no traceparent begins a trace of our own, and a caller who does not sample is heeded.
func TestTraceparent(t *testing.T) {
	c := newCollector(t)
	e, stop := start(t, otlp.Config{Endpoint: c.URL, Sample: 1})
	for _, text := range []string{"", "x", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "00-00000000000000000000000000000000-b7ad6b7169203331-01",
		"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
		"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more"} {
		x := served()
		x.Traceparent, x.Request.Attempts, x.Request.ID = text, nil, text
		e.Add(x)
	}
	stop() // sends what waits
	continued := map[string]bool{}
	for _, s := range c.wait(t, 7) {
		continued[texts(s.Attributes)["gatehouse.request_id"]] = hex.EncodeToString(s.TraceId) == "0af7651916cd43dd8448eb211c80319c"
		if string(s.TraceId) == string(make([]byte, 16)) {
			t.Error("a trace without an id")
		}
	}
	for text, is := range continued {
		if is != strings.HasPrefix(text, "01-") {
			t.Errorf("%q: continued %v", text, is)
		}
	}
	if _, there := continued["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"]; there || len(continued) != 7 {
		t.Errorf("%d traces; one whose caller does not sample must not be sent", len(continued))
	}
}

// TestCollectorAway: a collector that is away, or refuses, costs traces and nothing else.
func TestCollectorAway(t *testing.T) {
	c := newCollector(t)
	c.refuse.Store(http.StatusBadRequest)
	e, stop := start(t, otlp.Config{Endpoint: c.URL + "/", Sample: 1, Timeout: time.Second})
	e.Add(served())
	stop()
	if e.Sent() != 0 || e.Dropped() != 1 {
		t.Errorf("refused: %d sent, %d dropped", e.Sent(), e.Dropped())
	}
	none := otlp.New(otlp.Config{Endpoint: "http://127.0.0.1:1", Sample: 1}) // nobody runs it
	for range 5000 {
		none.Add(served())
	}
	if none.Dropped() != 5000-4096 {
		t.Errorf("%d dropped, want what did not fit", none.Dropped())
	}
	off := otlp.New(otlp.Config{Endpoint: "http://127.0.0.1:1", Sample: 0})
	x := served()
	x.Traceparent = ""
	off.Add(x)
	if off.Dropped() != 0 {
		t.Error("what is not sampled was counted as dropped")
	}
}

func TestParseHeaders(t *testing.T) {
	if h, err := otlp.ParseHeaders(secret.NewText("A: b\r\n\nC:d:e")); err != nil || h.Get("A") != "b" || h.Get("C") != "d:e" || len(h) != 2 {
		t.Errorf("%v, %v", h, err)
	}
	for _, text := range []string{"", "\n", "no colon", "two words: x", ": x"} {
		if _, err := otlp.ParseHeaders(secret.NewText(text)); err == nil || text != "" && strings.Contains(err.Error(), "no colon") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
