package gateway_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"gatehouse/gatehousetest"
	"gatehouse/internal/gateway"
)

// TestTotalTimeout ends an exchange that goes on for too long, before its answer and in it.
func TestTotalTimeout(t *testing.T) {
	g, up := newChat(t, func(c *gateway.Config) { c.Timeouts.Total = 100 * time.Millisecond })
	up.set(gatehousetest.Stall())
	g.wantError(t, g.do("POST", "/v1/chat/completions", chatBody), 504, "upstream_timeout")
	up.set(streaming(func(x *gatehousetest.Exchange) error {
		for {
			if err := gatehousetest.Chunk(": alive\n\n")(x); err != nil {
				return err
			}
			select {
			case <-x.Gone():
				return nil
			case <-time.After(time.Millisecond):
			}
		}
	}))
	if got := g.do("POST", "/v1/chat/completions", streamBody); got.err == nil {
		t.Errorf("the stream ended well: %q", got.body)
	}
}

// TestNothingLeaks plants texts in every part of an exchange and looks for them in the logs and records.
func TestNothingLeaks(t *testing.T) {
	access := &lines{}
	g, up := newChat(t, func(c *gateway.Config) { c.AccessLog = slog.New(slog.NewJSONHandler(access, nil)) })
	up.set(respond(200, "application/json", `{"id":"c1","choices":[{"message":{"content":"CANARY-answer"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`))
	ok := g.do("POST", "/v1/chat/completions?x=CANARY-query", `{"model":"gpt-4o","messages":[{"role":"user","content":"CANARY-prompt"}]}`, "Cookie", "CANARY-cookie", "X-Unknown", "CANARY-header")
	up.set(respond(500, "application/json", `{"error":{"message":"CANARY-error"}}`, "X-Should-Retry: false"))
	failed := g.do("POST", "/v1/chat/completions", `{"model":"gpt-4o","messages":[{"role":"user","content":"CANARY-prompt"}]}`)
	up.set(gatehousetest.Write("CANARY-garbage\r\n\r\n"))
	garbled := g.do("POST", "/v1/files/CANARY", `x`)
	for _, a := range []*answer{ok, failed, garbled} {
		r := g.explain(a.id())
		if text := fmt.Sprintf("%+v", *r); strings.Contains(text, "CANARY") {
			t.Errorf("in the record: %s", text)
		}
	}
	for name, text := range map[string]string{"log": g.log.String(), "access log": access.String()} {
		for _, secret := range []string{"CANARY", upstreamSecret, g.key.Value.Reveal()} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in the %s:\n%s", secret, name, text)
			}
		}
	}
	if n := strings.Count(access.String(), "\n"); n != 3 {
		t.Errorf("%d lines in the access log, want 3:\n%s", n, access)
	}
	if !strings.Contains(access.String(), `"request_id":"`+ok.id()+`"`) || !strings.Contains(access.String(), `"input_tokens":1,"output_tokens":1`) {
		t.Errorf("the access log:\n%s", access)
	}
}

// TestMetrics counts exchanges by operation, dialect and status, and never by what a caller says.
func TestMetrics(t *testing.T) {
	g, up := newChat(t)
	g.do("POST", "/v1/chat/completions", chatBody)
	g.do("POST", "/openai/v1/chat/completions", chatBody)
	g.do("POST", "/v1/chat/completions", `{"model":"CANARY-model","messages":[]}`)
	g.do("GET", "/v1/CANARY/path", "")
	up.set(respond(500, "application/json", `{}`, "X-Should-Retry: false"))
	g.do("POST", "/v1/chat/completions", chatBody)
	ch := make(chan prometheus.Metric, 1024)
	g.gateway.Metrics().Collect(ch)
	close(ch)
	got := map[string]float64{}
	for m := range ch {
		var d dto.Metric
		must(t, m.Write(&d))
		name := strings.Split(m.Desc().String(), `"`)[1]
		for _, l := range d.Label {
			name += "," + l.GetValue()
		}
		got[name] = d.GetCounter().GetValue() + d.GetGauge().GetValue()
	}
	for name, want := range map[string]float64{
		"gatehouse_requests_total,openai,chat.completions.create,2xx":   1,
		"gatehouse_requests_total,azure_v1,chat.completions.create,2xx": 1,
		"gatehouse_requests_total,openai,chat.completions.create,4xx":   1,
		"gatehouse_requests_total,openai,chat.completions.create,5xx":   1,
		"gatehouse_requests_total,openai,unknown,4xx":                   1,
		"gatehouse_tokens_total,input":                                  14,
		"gatehouse_tokens_total,output":                                 10,
		"gatehouse_upstream_attempts_total":                             3,
		"gatehouse_open_requests":                                       0,
		"gatehouse_body_memory_bytes":                                   0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	for name := range got {
		if strings.Contains(name, "CANARY") {
			t.Errorf("a label from a caller: %s", name)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}
