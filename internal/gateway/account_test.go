package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
	"gatehouse/internal/gateway"
)

// TestTotalTimeout ends an exchange that goes on for too long, before its answer and in it.
func TestTotalTimeout(t *testing.T) {
	g, up := newChat(t, func(c *gateway.Config) { c.Timeouts.Total = 500 * time.Millisecond })
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
	g, up := newChat(t, func(c *gateway.Config) { c.AccessLog = access })
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

// TestSpool keeps nothing of a large form behind, and says so when it has nowhere to put it.
func TestSpool(t *testing.T) {
	var dir string
	g, up := newChat(t, func(c *gateway.Config) { dir = c.Spool })
	form := multipart("Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n"+strings.Repeat("x", 3<<20), field("model", "gpt-4o"))
	held := make(chan int, 1)
	up.set(func(x *gatehousetest.Exchange) error {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		held <- len(entries)
		return x.Write([]byte(rawAnswer(200, "application/json", `{"text":"x"}`)))
	})
	got := g.do("POST", "/v1/audio/transcriptions", form, "Content-Type", "multipart/form-data; boundary=b")
	if got.status != 200 || string(up.got().Body) != form {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	if n := <-held; n != 0 {
		t.Errorf("%d files of a form can be seen while it is sent", n)
	}
	must(t, os.Remove(dir))
	g.wantError(t, g.do("POST", "/v1/audio/transcriptions", form, "Content-Type", "multipart/form-data; boundary=b"), 503, "spool_unavailable")
	must(t, os.Mkdir(dir, 0o700))
}

// TestHTTP2 serves streams over HTTP/2, and cuts one without the others on its connection.
func TestHTTP2(t *testing.T) {
	g, up := newChat(t)
	srv := httptest.NewUnstartedServer(g.gateway)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	client := srv.Client()
	ask := func(key, body string) *http.Response {
		req := g.request("POST", "/v1/chat/completions", body, "Authorization", "Bearer "+key)
		var err error
		req.URL, err = req.URL.Parse(srv.URL + "/v1/chat/completions")
		must(t, err)
		resp, err := client.Do(req)
		must(t, err)
		t.Cleanup(func() { resp.Body.Close() })
		if resp.ProtoMajor != 2 || resp.StatusCode != 200 {
			t.Fatalf("%s %s", resp.Proto, resp.Status)
		}
		return resp
	}
	end := make(chan struct{})
	up.set(streaming(gatehousetest.Chunk(delta("one")), gatehousetest.Hold(end), gatehousetest.Chunk(doneEvent), gatehousetest.LastChunk()))
	second := g.newKey(admin.KeyRequest{Class: gatehouse.ClassProject, Project: g.project, User: g.user, Name: "second"})
	first, other := ask(g.key.Value.Reveal(), streamBody), ask(second.Value.Reveal(), streamBody)
	_, err := g.admin.RevokeKey(context.Background(), g.who, g.project, g.key.Key.ID, gatehouse.ClassProject)
	must(t, err)
	if rest, err := io.ReadAll(first.Body); err == nil || !strings.Contains(string(rest), "credential_revoked") {
		t.Errorf("the one that was cut: %q, %v", rest, err)
	}
	close(end)
	if rest, err := io.ReadAll(other.Body); err != nil || string(rest) != delta("one")+doneEvent {
		t.Errorf("the other: %q, %v", rest, err)
	}
}

// metrics returns the gateway's counters by name and labels.
func (g *gate) metrics() map[string]float64 {
	g.tb.Helper()
	ch := make(chan prometheus.Metric, 1024)
	g.gateway.Metrics().Collect(ch)
	close(ch)
	got := map[string]float64{}
	for m := range ch {
		var d dto.Metric
		must(g.tb, m.Write(&d))
		name := strings.Split(m.Desc().String(), `"`)[1]
		for _, l := range d.Label {
			name += "," + l.GetValue()
		}
		got[name] = d.GetCounter().GetValue() + d.GetGauge().GetValue()
	}
	return got
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
	got := g.metrics()
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
