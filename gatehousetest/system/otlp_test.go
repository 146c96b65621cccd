package system_test

import (
	"bytes"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// TestTraces: a node sends a collector a span for each request and one for its attempt, below what the caller began, with the
// credential from a file, and nothing that was said; and what waits when it is told to stop is sent before it ends.
func TestTraces(t *testing.T) {
	var mu sync.Mutex
	spans := map[string]*tracepb.Span{} // of requests, by request id
	below := map[string]int{}           // attempts, by the span they are below
	var raw []byte
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var data tracepb.TracesData
		if err != nil || proto.Unmarshal(body, &data) != nil || r.URL.Path != "/v1/traces" || r.Header.Get("X-Collector-Key") != "of-the-collector" {
			t.Errorf("%s, %v, %v", r.URL.Path, r.Header, err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		raw = append(raw, body...)
		for _, s := range data.ResourceSpans[0].ScopeSpans[0].Spans {
			id := ""
			for _, a := range s.Attributes {
				if a.Key == "gatehouse.request_id" {
					id = a.Value.GetStringValue()
				}
			}
			if id == "" {
				below[string(s.ParentSpanId)]++
				continue
			}
			spans[id] = s
		}
	}))
	t.Cleanup(collector.Close)
	dir := t.TempDir()
	write(t, dir, "headers", "X-Collector-Key: of-the-collector\n")
	config := configFile(t, singleLines(dir, "otlp: {endpoint: '"+collector.URL+"', insecure: true, headers: 'file://"+filepath.Join(dir, "headers")+"'}")...)
	f := found(t, config)
	n := serve(t, config)
	s := on(t, n, f, client(t), mockManifest)

	const trace = "0af7651916cd43dd8448eb211c80319c"
	said := "a secret plan nobody else may read"
	body := map[string]any{"model": "gpt-4o-mini", "stream": true, "messages": []map[string]string{{"role": "user", "content": said}}}
	served := ask(t.Context(), s.client, http.MethodPost, n.URL+"/v1/chat/completions", s.key, body, "Traceparent", "00-"+trace+"-b7ad6b7169203331-01")
	refused := ask(t.Context(), s.client, http.MethodPost, n.URL+"/v1/chat/completions", s.key, map[string]any{"model": "none", "messages": body["messages"]})
	unsampled := ask(t.Context(), s.client, http.MethodPost, n.URL+"/v1/chat/completions", s.key, chat(false), "Traceparent", "00-"+trace+"-b7ad6b7169203331-00")
	if served.Status != http.StatusOK || refused.Status != http.StatusNotFound || unsampled.Status != http.StatusOK {
		t.Fatalf("answered %d, %d, %d", served.Status, refused.Status, unsampled.Status)
	}
	n.signal(t, syscall.SIGTERM)
	if code := n.wait(t, patience); code != 0 {
		t.Errorf("exit code %d", code)
	}

	mu.Lock()
	defer mu.Unlock()
	if len(spans) != 2 {
		t.Errorf("%d requests were traced, want the served and the refused one", len(spans))
	}
	own := spans[served.Header.Get("X-Request-Id")]
	if own == nil || hex.EncodeToString(own.TraceId) != trace || hex.EncodeToString(own.ParentSpanId) != "b7ad6b7169203331" || own.Name != "chat gpt-4o-mini" || below[string(own.SpanId)] != 1 {
		t.Errorf("the served request: %v, %d attempts", own, below[string(own.GetSpanId())])
	}
	tokens := map[string]int64{}
	for _, a := range own.GetAttributes() {
		if strings.HasPrefix(a.Key, "gen_ai.usage.") {
			tokens[a.Key] = a.Value.GetIntValue()
		}
	}
	if tokens["gen_ai.usage.input_tokens"] == 0 || tokens["gen_ai.usage.output_tokens"] == 0 {
		t.Errorf("tokens of the served request: %v", tokens)
	}
	if r := spans[refused.Header.Get("X-Request-Id")]; r == nil || len(r.ParentSpanId) != 0 || below[string(r.SpanId)] != 0 {
		t.Errorf("the refused request: %v", r)
	}
	for what, text := range map[string]string{"a prompt": said, "a key": s.key, "the collector's credential": "of-the-collector"} {
		if bytes.Contains(raw, []byte(text)) {
			t.Errorf("%s is in a trace", what)
		}
	}
}
