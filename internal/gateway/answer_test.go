package gateway_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
)

// TestConditionsAndRanges passes on what a caller asks about a file it has in part or in full, and answers without a body.
func TestConditionsAndRanges(t *testing.T) {
	g, up := newChat(t)
	g.upload(up, "file-1")
	up.set(gatehousetest.Write("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 500\r\n\r\n"))
	got := g.do("GET", "/v1/files/file-1/content", "", "If-None-Match", `"a"`)
	if got.status != 304 || got.body != "" || got.header.Get("Etag") != `"a"` || up.got().Header.Get("If-None-Match") != `"a"` {
		t.Errorf("not modified: %d %v %q", got.status, got.header, got.body)
	}
	up.set(respond(206, "application/octet-stream", "bcd", "Content-Range: bytes 1-3/10", "Accept-Ranges: bytes"))
	got = g.do("GET", "/v1/files/file-1/content", "", "Range", "bytes=1-3")
	if got.status != 206 || got.body != "bcd" || got.header.Get("Content-Range") != "bytes 1-3/10" || up.got().Header.Get("Range") != "bytes=1-3" {
		t.Errorf("a range: %d %v %q", got.status, got.header, got.body)
	}
	up.set(gatehousetest.Write("HTTP/1.1 204 No Content\r\n\r\n"))
	got = g.do("DELETE", "/v1/files/file-1", "")
	if got.status != 204 || got.header["Content-Length"] != nil {
		t.Errorf("no content: %d %v", got.status, got.header)
	}
	if o := g.object("file-1"); o == nil || o.DeletedAt == 0 {
		t.Errorf("deleted with 204: %+v", o)
	}
}

// TestEarlyRefusal gives the caller of a large upload the upstream's answer although nobody read the rest of it.
func TestEarlyRefusal(t *testing.T) {
	const refusal = `{"error":{"message":"too large for this upstream","type":"invalid_request_error","param":null,"code":null}}`
	up := gatehousetest.NewUpstream(t, gatehousetest.Early(gatehousetest.Script(respond(413, "application/json", refusal, "Connection: close"), gatehousetest.Close())))
	g := newGate(t)
	g.upstream("up", up.URL)
	g.deploy("gpt-4o", admin.RouteSpec{Upstream: "up"})
	hold, body := io.Pipe()
	t.Cleanup(func() { hold.Close() })
	req := g.request("POST", "/v1/files", "x", "Content-Type", "multipart/form-data; boundary=b", "Expect", "100-continue")
	req.Body, req.ContentLength = hold, -1
	go func() { // ends when the request does
		_, _ = io.WriteString(body, "--b\r\n"+field("purpose", "user_data")+"\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n")
		for {
			if _, err := io.WriteString(body, strings.Repeat("x", 32<<10)); err != nil {
				return
			}
		}
	}()
	got := g.try(req)
	if got.status != 413 || got.body != refusal {
		t.Fatalf("got %d %s, %v", got.status, got.body, got.err)
	}
	if n := len(up.Requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestAcrossDialects gives each caller the errors of its own wire, whichever the upstream speaks.
func TestAcrossDialects(t *testing.T) {
	azureSays := `{"error":{"code":"429","message":"Requests have exceeded token rate limit of your current OpenAI S0 pricing tier."}}`
	filtered := `{"error":{"message":"The response was filtered","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}`
	openaiSays := `{"error":{"message":"Rate limit reached","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`
	const openai, classic = "/v1/chat/completions", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
	for _, c := range []struct {
		name, path   string
		change       func(*admin.UpstreamSpec)
		status       int
		answer, want string
		charged      bool
	}{
		{"Azure's limit for OpenAI's caller", openai, azure("2024-10-21"), 429, azureSays,
			`{"error":{"message":"Requests have exceeded token rate limit of your current OpenAI S0 pricing tier.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`, false},
		{"OpenAI's limit for Azure's caller", classic, func(*admin.UpstreamSpec) {}, 429, openaiSays, `{"error":{"code":"429","message":"Rate limit reached","type":"tokens","param":null}}`, false},
		{"Azure's filter for OpenAI's caller", openai, azure("2024-10-21"), 400, filtered,
			`{"error":{"message":"The response was filtered","type":"invalid_request_error","param":"prompt","code":"content_filter","innererror":{"code":"ResponsibleAIPolicyViolation"},"status":400}}`, true},
		{"a page for OpenAI's caller", openai, func(*admin.UpstreamSpec) {}, 404, "<html>nginx</html>", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			up := newScript(t, respond(c.status, "application/json", c.answer, "Retry-After: 60"))
			g := newGate(t)
			g.upstream("up", up.URL, c.change)
			g.deploy("gpt-4o", admin.RouteSpec{Upstream: "up"})
			got := g.do("POST", c.path, chatBody)
			if got.status != c.status || c.want != "" && got.body != c.want || !strings.HasPrefix(got.body, `{"error":{`) {
				t.Errorf("got %d %s\nwant %d %s", got.status, got.body, c.status, c.want)
			}
			if h := got.header.Get("Content-Type"); h != "application/json" {
				t.Errorf("Content-Type %q", h)
			}
			if u := g.usage(got.id()); (u != nil) != c.charged || u != nil && u.Confidence != gatehouse.Estimated {
				t.Errorf("usage %+v", u)
			}
			if r := g.explain(got.id()); r.Status != c.status || r.Rule != "upstream_refused" {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// TestConnectionGoesOn uses one connection for refusals and answers in turn.
func TestConnectionGoesOn(t *testing.T) {
	g, up := newChat(t)
	conn := g.dial(t)
	for i := range 6 {
		body, want := chatBody, http.StatusOK
		if i%2 == 1 {
			body, want = `{"model":"nope"}`, http.StatusNotFound
		}
		conn.write(t, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+g.key.Value.Reveal()+"\r\nContent-Length: "+itoa(len(body))+"\r\n\r\n"+body)
		resp, err := http.ReadResponse(conn.r, nil)
		must(t, err)
		text, err := io.ReadAll(resp.Body)
		must(t, err)
		if resp.StatusCode != want {
			t.Errorf("request %d: %d %s", i, resp.StatusCode, text)
		}
	}
	if n := up.Accepted(); n != 1 {
		t.Errorf("%d connections to the upstream for %d requests one after another", n, len(up.Requests()))
	}
}
