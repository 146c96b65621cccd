package gateway_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gatehouse/internal/admin"
)

// TestUpstreamOverHTTP2 calls an upstream that speaks HTTP/2 only, plain and as a stream, through the same walk as any other.
func TestUpstreamOverHTTP2(t *testing.T) {
	type seen struct{ proto, authorization, body string }
	requests := make(chan seen, 4)
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		requests <- seen{r.Proto, r.Header.Get("Authorization"), string(body)}
		if strings.Contains(string(body), `"stream":true`) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = fmt.Fprint(w, "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n",
				"data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1,\"total_tokens\":4}}\n\ndata: [DONE]\n\n")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, `{"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}`)
	}))
	upstream.Config.Protocols = new(http.Protocols)
	upstream.Config.Protocols.SetUnencryptedHTTP2(true)
	upstream.Start()
	t.Cleanup(upstream.Close)

	g := newGate(t)
	g.upstream("h2", upstream.URL, func(s *admin.UpstreamSpec) { s.HTTP2 = true })
	g.deploy("gpt-4o", admin.RouteSpec{Upstream: "h2"})
	for body, want := range map[string]string{
		`{"model":"gpt-4o","messages":[]}`:               `"usage"`,
		`{"model":"gpt-4o","stream":true,"messages":[]}`: "[DONE]",
	} {
		a := g.do("POST", "/v1/chat/completions", body)
		if a.status != http.StatusOK || a.err != nil || !strings.Contains(a.body, want) {
			t.Fatalf("status %d, %v: %s", a.status, a.err, a.body)
		}
		r := <-requests
		if r.proto != "HTTP/2.0" || r.authorization != "Bearer "+upstreamSecret || !strings.HasPrefix(r.body, `{`) {
			t.Errorf("the upstream saw %q with %q", r.proto, r.body)
		}
		usage := g.usage(a.id())
		if usage == nil || usage.Units.Input != 3 || usage.Units.Output != 1 {
			t.Errorf("usage %+v", usage)
		}
	}
}
