package gateway_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
	"gatehouse/internal/gateway"
	"gatehouse/internal/secret"
)

// refusing returns the URL of a port of this host on which nobody listens.
func refusing(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	defer l.Close()
	return "http://" + l.Addr().String()
}

// statuses returns what the attempts of a request led to; 0 is no answer.
func statuses(r *gatehouse.Request) (out []int) {
	for _, a := range r.Attempts {
		out = append(out, a.Status)
	}
	return out
}

// TestFallsOver fails the first route in every way that another may mend.
func TestFallsOver(t *testing.T) {
	limited := rawAnswer(429, "application/json", `{"error":{"message":"slow down"}}`, "Retry-After: 30")
	for _, c := range []struct {
		name   string
		first  gatehousetest.Action
		change func(*admin.UpstreamSpec)
		status int // of the first attempt
	}{
		{name: "500", first: respond(500, "application/json", `{"error":{"message":"x"}}`), status: 500},
		{name: "503 page", first: respond(503, "text/html", "<html>"), status: 503},
		{name: "408", first: respond(408, "", ""), status: 408},
		{name: "429 with a long hint", first: gatehousetest.Write(limited), status: 429},
		{name: "401", first: respond(401, "application/json", `{"error":{"message":"Incorrect API key provided: `+upstreamSecret+`"}}`), status: 401},
		{name: "409 when told", first: respond(409, "", "", "X-Should-Retry: true"), status: 409},
		{name: "closed without an answer", first: gatehousetest.Close()},
		{name: "reset", first: gatehousetest.Reset()},
		{name: "half a head", first: func(x *gatehousetest.Exchange) error {
			if err := x.Write([]byte("HTTP/1.1 200 OK\r\nContent-")); err != nil {
				return err
			}
			return gatehousetest.Close()(x)
		}},
		{name: "not HTTP", first: gatehousetest.Write("SSH-2.0-OpenSSH_9\r\n\r\n")},
		{name: "refused connection", change: func(s *admin.UpstreamSpec) { s.BaseURL = refusing(t) + "/v1" }},
		{name: "credential that cannot be read", change: func(s *admin.UpstreamSpec) { s.Credential = "env://MISSING_API_KEY" }},
		{name: "private address", change: func(s *admin.UpstreamSpec) { s.AllowPrivate, s.Credential = false, "" }},
		{name: "metadata address", change: func(s *admin.UpstreamSpec) { s.BaseURL = "http://169.254.169.254/v1" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad, good := newScript(t, c.first), newScript(t, respond(200, "application/json", chatAnswer))
			g := newGate(t)
			change := c.change
			if change == nil {
				change = func(*admin.UpstreamSpec) {}
			}
			g.upstream("bad", bad.URL, change)
			g.upstream("good", good.URL)
			g.deploy("gpt-4o", admin.RouteSpec{Upstream: "bad"}, admin.RouteSpec{Upstream: "good", Model: "other", Priority: 1})
			got := g.do("POST", "/v1/chat/completions", chatBody)
			if got.status != 200 || got.body != chatAnswer {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			r := g.explain(got.id())
			if s := statuses(r); len(s) != 2 || s[0] != c.status || s[1] != 200 {
				t.Fatalf("attempts %+v", r.Attempts)
			}
			if r.Attempts[0].Upstream != "bad" || c.status == 0 && r.Attempts[0].Error == "" {
				t.Errorf("first attempt %+v", r.Attempts[0])
			}
			u := g.usage(got.id())
			if u == nil || u.Upstream != "good" || u.Units.Input != 7 {
				t.Errorf("usage %+v", u)
			}
		})
	}
}

func TestDoesNotFallOver(t *testing.T) {
	for _, c := range []struct {
		name   string
		first  gatehousetest.Action
		status int
	}{
		{"400", respond(400, "application/json", `{"error":{"message":"no","type":"x","param":null,"code":null}}`), 400},
		{"409", respond(409, "application/json", `{"error":{"message":"no"}}`), 409},
		{"told not to", respond(500, "application/json", `{"error":{"message":"no"}}`, "X-Should-Retry: false"), 500},
		{"403", respond(403, "application/json", `{"error":{"message":"Project does not have access to model"}}`), 502},
		{"redirect", respond(302, "", "", "Location: http://169.254.169.254/"), 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad, good := newScript(t, c.first), newScript(t, respond(200, "application/json", chatAnswer))
			g := newGate(t)
			g.upstream("bad", bad.URL)
			g.upstream("good", good.URL)
			g.deploy("gpt-4o", admin.RouteSpec{Upstream: "bad"}, admin.RouteSpec{Upstream: "good", Priority: 1})
			got := g.do("POST", "/v1/chat/completions", chatBody)
			if got.status != c.status || good.Accepted() != 0 {
				t.Errorf("got %d %s; the second upstream had %d connections", got.status, got.body, good.Accepted())
			}
			if u := g.usage(got.id()); u != nil {
				t.Errorf("charged %+v", u)
			}
		})
	}
}

// TestWeights draws routes by weight: the bounds are so wide that a right draw leaves them less than once in a billion runs.
func TestWeights(t *testing.T) {
	a, b := newScript(t, respond(200, "application/json", chatAnswer)), newScript(t, respond(200, "application/json", chatAnswer))
	g := newGate(t)
	g.upstream("a", a.URL)
	g.upstream("b", b.URL)
	g.deploy("gpt-4o", admin.RouteSpec{Upstream: "a", Weight: 3}, admin.RouteSpec{Upstream: "b", Weight: 1})
	const n = 400
	for range n {
		if got := g.do("POST", "/v1/chat/completions", chatBody); got.status != 200 {
			t.Fatalf("got %d", got.status)
		}
	}
	// 300 are expected, with a standard deviation of 8.7.
	if got := len(a.Requests()); got < 245 || got > 355 || got+len(b.Requests()) != n {
		t.Errorf("a route of weight 3 of 4 got %d of %d requests", got, n)
	}
}

// TestRetriesOneRoute tries the only route again, after a hint that is short.
func TestRetriesOneRoute(t *testing.T) {
	var calls atomic.Int32
	g, up := newChat(t)
	up.set(func(x *gatehousetest.Exchange) error {
		if calls.Add(1) < 3 {
			return x.Write([]byte(rawAnswer(429, "application/json", `{"error":{"message":"x"}}`, "Retry-After-Ms: 1")))
		}
		return x.Write([]byte(rawAnswer(200, "application/json", chatAnswer)))
	})
	got := g.do("POST", "/v1/chat/completions", chatBody)
	if r := g.explain(got.id()); got.status != 200 || len(r.Attempts) != 3 {
		t.Errorf("got %d after %d attempts", got.status, len(r.Attempts))
	}
	// One that never recovers is given up, and its last answer passed on.
	up.set(respond(500, "application/json", `{"error":{"message":"always","type":"server_error","param":null,"code":null}}`))
	got = g.do("POST", "/v1/chat/completions", chatBody)
	if r := g.explain(got.id()); got.status != 500 || !strings.Contains(got.body, "always") || len(r.Attempts) != 4 || r.Rule != "upstream_refused" {
		t.Errorf("got %d %s by %+v", got.status, got.body, r)
	}
}

// TestLongHint passes a wait on to the caller that is too long to sit out.
func TestLongHint(t *testing.T) {
	g, up := newChat(t)
	up.set(respond(429, "application/json", `{"error":{"message":"x","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`, "Retry-After: 20", "Retry-After-Ms: 20000", "X-Ratelimit-Remaining-Tokens: 5"))
	got := g.do("POST", "/v1/chat/completions", chatBody)
	if got.status != 429 || got.header.Get("Retry-After") != "20" || got.header.Get("Retry-After-Ms") != "20000" {
		t.Errorf("got %d with %v", got.status, got.header)
	}
	if n := len(up.Requests()); n != 1 {
		t.Errorf("%d attempts, want 1", n)
	}
}

// TestCreatesOnce sends a create a second time only when no byte of the first was written.
func TestCreatesOnce(t *testing.T) {
	upload := multipart(field("purpose", "user_data"), "Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx")
	for _, c := range []struct {
		name, path, body, contentType string
		answer                        gatehousetest.Action
		status                        int
	}{
		{"file, 500", "/v1/files", upload, "multipart/form-data; boundary=b", respond(500, "application/json", `{"error":{"message":"x"}}`), 500},
		{"file, no answer", "/v1/files", upload, "multipart/form-data; boundary=b", gatehousetest.Close(), 502},
		{"conversation, 500", "/v1/conversations", `{}`, "application/json", respond(503, "application/json", `{"error":{"message":"x"}}`), 503},
		{"conversation, no answer", "/v1/conversations", `{}`, "application/json", gatehousetest.Close(), 502},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, up := newChat(t)
			up.set(c.answer)
			got := g.do("POST", c.path, c.body, "Content-Type", c.contentType)
			if got.status != c.status || len(up.Requests()) != 1 {
				t.Errorf("got %d %s after %d requests", got.status, got.body, len(up.Requests()))
			}
		})
	}
	t.Run("no connection", func(t *testing.T) {
		g := newGate(t)
		g.upstream("up", refusing(t))
		g.deploy("gpt-4o", admin.RouteSpec{Upstream: "up"})
		got := g.do("POST", "/v1/files", upload, "Content-Type", "multipart/form-data; boundary=b")
		g.wantError(t, got, 502, "upstream_unreachable")
		if r := g.explain(got.id()); len(r.Attempts) != 4 {
			t.Errorf("%d attempts, want all four: nothing was ever written", len(r.Attempts))
		}
	})
}

// TestUpstreamRefusesCredential says nothing of what the upstream said, and asks SDKs not to come back.
func TestUpstreamRefusesCredential(t *testing.T) {
	g, up := newChat(t)
	for _, status := range []int{403, 401} { // the 401 opens the circuit
		up.set(respond(status, "application/json", `{"error":{"message":"Incorrect API key provided: `+upstreamSecret+`. SAID BY THE UPSTREAM"}}`, "X-Should-Retry: true", "WWW-Authenticate: Bearer"))
		got := g.do("POST", "/v1/chat/completions", chatBody)
		g.wantError(t, got, 502, "upstream_credential_refused")
		r := g.explain(got.id())
		for _, text := range []string{got.body, r.Detail, g.log.String()} {
			if strings.Contains(text, upstreamSecret) || strings.Contains(text, "SAID BY") {
				t.Errorf("the upstream's text is in %q", text)
			}
		}
		if got.header.Get("X-Should-Retry") != "false" || got.header.Get("Www-Authenticate") != "" {
			t.Errorf("headers %v", got.header)
		}
		if s := statuses(r); len(s) != 1 || s[0] != status {
			t.Errorf("attempts %+v", r.Attempts)
		}
		if u := g.usage(got.id()); u != nil {
			t.Errorf("charged %+v", u)
		}
	}
}

func TestRedirect(t *testing.T) {
	elsewhere := newScript(t, respond(200, "application/json", chatAnswer))
	g, up := newChat(t)
	for _, status := range []int{301, 302, 307, 308} {
		up.set(respond(status, "", "", "Location: "+elsewhere.URL+"/v1/chat/completions"))
		got := g.do("POST", "/v1/chat/completions", chatBody)
		g.wantError(t, got, 502, "upstream_redirect")
		if got.header.Get("Location") != "" {
			t.Error("the redirect was passed on")
		}
	}
	if elsewhere.Accepted() != 0 {
		t.Error("a redirect was followed")
	}
}

// TestHeaders lets through what is on the lists, both ways, and nothing else.
func TestHeaders(t *testing.T) {
	g, up := newChat(t)
	up.set(respond(200, "application/json", chatAnswer,
		"Set-Cookie: a=b", "Alt-Svc: h3=\":443\"", "openai-organization: org-upstream", "OpenAI-Project: proj_x", "x-ratelimit-limit-requests: 5", "X-Ratelimit-Remaining-Tokens: 5",
		"X-Request-Id: req_upstream", "Strict-Transport-Security: max-age=1", "Server: cloudflare", "CF-Ray: 1", "X-Secret: 1", "Access-Control-Allow-Origin: *",
		"openai-processing-ms: 12", "openai-version: 2020-10-01", "ETag: \"x\"", "Content-Disposition: attachment; filename=a", "Location: https://elsewhere.example/"))
	got := g.do("POST", "/v1/chat/completions", chatBody,
		"Api-Key", "", "Cookie", "session=caller", "OpenAI-Organization", g.who.Organization, "OpenAI-Project", g.project, "X-Forwarded-For", "1.2.3.4",
		"Proxy-Authorization", "Basic eDp5", "X-Stainless-Lang", "js", "User-Agent", "caller/1", "Accept-Encoding", "gzip, br", "X-Api-Key", "caller", "X-Gatehouse-Label-Team", "search", "Forwarded", "for=1.2.3.4",
		"TE", "trailers", "Idempotency-Key", "idem-1", "OpenAI-Beta", "assistants=v2", "Accept", "application/json", "X-Request-Id", "caller's own", "Traceparent", "00-1")
	if got.status != 200 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	allowed := map[string]string{"Content-Type": "application/json", "Content-Length": itoa(len(chatAnswer)), "Date": "*", "X-Request-Id": "*",
		"Openai-Processing-Ms": "12", "Openai-Version": "2020-10-01", "Etag": `"x"`, "Content-Disposition": "attachment; filename=a"}
	for name, values := range got.header {
		want, ok := allowed[name]
		if !ok || want != "*" && (len(values) != 1 || values[0] != want) {
			t.Errorf("the caller got %s: %q", name, values)
		}
		delete(allowed, name)
	}
	if len(allowed) != 0 {
		t.Errorf("the caller did not get %v", allowed)
	}
	sent := map[string]string{"Host": up.Host, "Content-Type": "application/json", "Content-Length": itoa(len(chatBody)), "Authorization": "Bearer " + upstreamSecret,
		"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "gatehouse", "Idempotency-Key": idempotencyOf(g.project, "idem-1"), "Openai-Beta": "assistants=v2", "X-Client-Request-Id": got.id()}
	for name, values := range up.got().Header {
		if want, ok := sent[name]; !ok || len(values) != 1 || values[0] != want {
			t.Errorf("the upstream got %s: %q", name, values)
		}
		delete(sent, name)
	}
	if len(sent) != 0 {
		t.Errorf("the upstream did not get %v", sent)
	}
	r := g.explain("caller's own")
	if r.ID != got.id() || len(r.Attempts) != 1 || r.Attempts[0].RequestID != "req_upstream" {
		t.Errorf("explain by the caller's id: %+v", r)
	}
}

// TestAzureHeaders speaks to Azure's callers in Azure's headers, and sends the credential in the one that Azure reads.
func TestAzureHeaders(t *testing.T) {
	up := newScript(t, respond(200, "application/json", chatAnswer, "apim-request-id: upstream-1", "x-ms-region: West US", "x-ratelimit-remaining-requests: -1"))
	g := newGate(t)
	g.upstream("az", up.URL, azure("2024-10-21"))
	g.deploy("gpt-4o", admin.RouteSpec{Upstream: "az", Model: "gpt 4o/eu"})
	got := g.do("POST", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-06-01&x=y", `{"messages":[]}`, "Authorization", "", "Api-Key", g.key.Value.Reveal(), "X-Ms-Client-Request-Id", "mine-7")
	h := got.header
	if got.status != 200 || h.Get("Apim-Request-Id") != got.id() || h.Get("X-Ms-Client-Request-Id") != "mine-7" || h.Get("X-Ms-Region") != "eastus" || h.Get("X-Ratelimit-Remaining-Requests") != "" {
		t.Errorf("got %d with %v", got.status, h)
	}
	req := up.got()
	if req.Target != "/openai/deployments/gpt%204o%2Feu/chat/completions?api-version=2024-10-21&x=y" {
		t.Errorf("target %s", req.Target)
	}
	if req.Header.Get("Api-Key") != upstreamSecret || req.Header.Get("Authorization") != "" {
		t.Errorf("header %v", req.Header)
	}
	if r := g.explain("mine-7"); r.ID != got.id() || r.Attempts[0].RequestID != "upstream-1" {
		t.Errorf("explain: %+v", r)
	}
}

// TestCredentialFollowsBaseURL moves an upstream: the next request goes to the new host, and the one before never hears of it.
func TestCredentialFollowsBaseURL(t *testing.T) {
	g, old := newChat(t)
	g.do("POST", "/v1/chat/completions", chatBody)
	moved := newScript(t, respond(200, "application/json", chatAnswer))
	g.upstream("up", moved.URL, func(s *admin.UpstreamSpec) { s.Credential = "" })
	if got := g.do("POST", "/v1/chat/completions", chatBody); got.status != 200 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	if h := moved.got().Header; h.Get("Authorization") != "" {
		t.Errorf("the new host got the old credential: %v", h)
	}
	if len(old.Requests()) != 1 {
		t.Errorf("the old host got %d requests", len(old.Requests()))
	}
}

// TestPanicSettlesOnce lets a part fail in the worst way.
func TestPanicSettlesOnce(t *testing.T) {
	g, up := newChat(t, func(c *gateway.Config) {
		c.Resolve = func(context.Context, string, string) (secret.Text, error) { panic("a bug") }
	})
	got := g.do("POST", "/v1/chat/completions", chatBody, "X-Client-Request-Id", "panicked")
	if got.status != 500 && got.err == nil {
		t.Errorf("got %d %s", got.status, got.body)
	}
	r := g.settled("panicked")
	if r.Rule != "internal_error" || r.Status != 500 {
		t.Errorf("explain: %+v", r)
	}
	if up.Accepted() != 0 || g.usage(r.ID) != nil || g.ledger.Stats().Holds != 0 {
		t.Errorf("usage %+v, %d holds", g.usage(r.ID), g.ledger.Stats().Holds)
	}
	if !strings.Contains(g.log.String(), "request panicked") {
		t.Error("it was not logged")
	}
}

// idempotencyOf is the key an upstream sees in place of a project's own.
func idempotencyOf(project, key string) string {
	sum := sha256.Sum256([]byte(project + "\x00" + key))
	return hex.EncodeToString(sum[:])[:40]
}
