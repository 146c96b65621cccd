package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
	"gatehouse/internal/gateway"
	"gatehouse/internal/secret"
)

// clock stands still until a test puts it forward, so that a slow machine changes nothing.
type clock struct {
	once  sync.Once
	start time.Time
	ahead atomic.Int64
}

func (c *clock) now() time.Time {
	c.once.Do(func() { c.start = time.Now() })
	return c.start.Add(time.Duration(c.ahead.Load()))
}

func (c *clock) pass(d time.Duration) { c.ahead.Add(int64(d)) }

func (c *clock) inject(cfg *gateway.Config) { cfg.Now = c.now }

// failing answers 503 and asks not to be tried again, so that one request is one attempt.
var failing = respond(503, "application/json", `{"error":{"message":"overloaded"}}`, "X-Should-Retry: false")

var serving = respond(200, "application/json", chatAnswer)

// chat makes one request and returns what the caller got.
func (g *gate) chat() *answer { return g.do("POST", "/v1/chat/completions", chatBody) }

// tried returns the upstreams of a request's attempts, and of those it passed over, in order; a "!" before those.
func tried(r *gatehouse.Request) string {
	var out []string
	for _, a := range r.Attempts {
		name := a.Upstream
		if strings.HasPrefix(a.Error, gatehouse.SkippedAttempt) {
			name = "!" + name
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

// TestCircuitOfTheOnlyRoute opens, refuses at once, probes when the time has come, and closes.
func TestCircuitOfTheOnlyRoute(t *testing.T) {
	var c clock
	g, up := newChat(t, c.inject)
	up.set(failing)
	for range 5 {
		if got := g.chat(); got.status != 503 || strings.Contains(got.body, "circuit") {
			t.Fatalf("got %d %s", got.status, got.body)
		}
	}
	up.set(serving)
	got := g.chat()
	e := g.wantError(t, got, 503, "upstream_circuit_open")
	if wait, err := strconv.Atoi(got.header.Get("Retry-After-Ms")); err != nil || wait < 1 || wait > 1200 {
		t.Errorf("retry after %q ms", got.header.Get("Retry-After-Ms"))
	}
	if !strings.Contains(e.Error.Message, "`up`") {
		t.Errorf("the message does not name the upstream: %s", e.Error.Message)
	}
	r := g.explain(got.id())
	if tried(r) != "!up" || !strings.Contains(r.Attempts[0].Error, "skipped: circuit open since ") || !strings.Contains(r.Attempts[0].Error, "5 requests in a row failed, the last: answered 503") {
		t.Errorf("explain: %+v", r.Attempts)
	}
	if n := len(up.Requests()); n != 5 {
		t.Errorf("%d requests came upstream, want 5", n)
	}
	if g.usage(got.id()) != nil || g.ledger.Stats().Holds != 0 {
		t.Error("a request that went nowhere is held or charged")
	}
	c.pass(1200 * time.Millisecond)
	for range 3 {
		if got := g.chat(); got.status != 200 {
			t.Fatalf("after the open time: got %d %s", got.status, got.body)
		}
	}
	log := g.log.String()
	for _, want := range []string{"from=closed to=open reason=failures_in_a_row", "from=open to=half-open", "from=half-open to=closed"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %s", want)
		}
	}
}

// TestCircuitFallsOver skips a route whose upstream fails and says so, and sends single requests to find out when it is back.
func TestCircuitFallsOver(t *testing.T) {
	var c clock
	bad, good := newScript(t, respond(503, "application/json", "{}")), newScript(t, serving)
	g := newGate(t, c.inject)
	own := func(s *admin.UpstreamSpec) { s.Projects = []string{g.project} }
	g.upstream("bad", bad.URL, own)
	g.upstream("good", good.URL, own)
	g.deploy("gpt-4o", admin.RouteSpec{Upstream: "bad"}, admin.RouteSpec{Upstream: "good", Priority: 1})
	want := func(status int, routes string) {
		t.Helper()
		got := g.chat()
		if r := g.explain(got.id()); got.status != status || tried(r) != routes {
			t.Fatalf("got %d along %q, want %d along %q", got.status, tried(r), status, routes)
		}
	}
	for range 5 {
		want(200, "bad good")
	}
	want(200, "!bad good")
	c.pass(1300 * time.Millisecond)
	want(200, "bad good") // the probe fails and its caller does not notice
	want(200, "!bad good")
	bad.set(serving)
	c.pass(2500 * time.Millisecond)
	want(200, "bad")
	want(200, "bad")
	good.set(failing)
	want(200, "bad")

	// What can be sent once only is no probe while another route may take it.
	bad.set(failing)
	good.set(serving)
	for range 5 {
		want(503, "bad")
	}
	c.pass(time.Minute)
	got := g.do("POST", "/v1/assistants", `{"model":"gpt-4o"}`)
	if r := g.explain(got.id()); got.status != 200 || tried(r) != "good" {
		t.Errorf("a create was a probe: got %d %s along %q", got.status, got.body, tried(r))
	}
	want(503, "bad") // what may be sent again is one
}

// TestClientsThatLeaveOpenNothing lets callers leave before the answer, in the middle of a stream, and in the middle of an upload.
func TestClientsThatLeaveOpenNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		action gatehousetest.Action
		path   string
		body   string
	}{
		{"before the answer", gatehousetest.Stall(), "/v1/chat/completions", chatBody},
		{"in the middle of a stream", func(x *gatehousetest.Exchange) error {
			if err := gatehousetest.ChunkedHead(200, "text/event-stream")(x); err != nil {
				return err
			}
			if err := gatehousetest.Chunk("data: {}\n\n")(x); err != nil {
				return err
			}
			return gatehousetest.Stall()(x)
		}, "/v1/chat/completions", `{"model":"gpt-4o","stream":true,"messages":[]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, up := newChat(t)
			for i := range 6 {
				arrived := make(chan struct{})
				up.set(func(x *gatehousetest.Exchange) error {
					close(arrived)
					return c.action(x)
				})
				ctx, leave := context.WithCancel(context.Background())
				req := g.request("POST", c.path, c.body, "X-Client-Request-Id", fmt.Sprint("leaver ", i)).WithContext(ctx)
				done := make(chan struct{})
				go func() { // ends when the caller has left
					defer close(done)
					g.try(req)
				}()
				<-arrived
				leave()
				<-done
				if rec := g.settled(fmt.Sprint("leaver ", i)); !rec.ClientLeft {
					t.Fatalf("explain: %+v", rec)
				}
			}
			up.set(serving)
			if got := g.chat(); got.status != 200 {
				t.Errorf("after six callers left: got %d %s", got.status, got.body)
			}
			if strings.Contains(g.log.String(), "changed") {
				t.Errorf("something changed: %s", g.log)
			}
		})
	}
}

// TestLeaverMakesRoomForAProbe lets the caller whose request is the probe leave: the next request is one.
func TestLeaverMakesRoomForAProbe(t *testing.T) {
	var c clock
	g, up := newChat(t, c.inject)
	up.set(failing)
	for range 5 {
		g.chat()
	}
	c.pass(1300 * time.Millisecond)
	arrived := make(chan struct{})
	up.set(func(x *gatehousetest.Exchange) error {
		close(arrived)
		return gatehousetest.Stall()(x)
	})
	ctx, leave := context.WithCancel(context.Background())
	req := g.request("POST", "/v1/chat/completions", chatBody, "X-Client-Request-Id", "leaver").WithContext(ctx)
	done := make(chan struct{})
	go func() { // ends when the caller has left
		defer close(done)
		g.try(req)
	}()
	<-arrived
	g.wantError(t, g.chat(), 503, "upstream_circuit_open") // one at a time
	leave()
	<-done
	g.settled("leaver")
	up.set(serving)
	if got := g.chat(); got.status != 200 {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

// TestRetryBudget makes a thousand requests that fail in a way that opens no circuit: retries stay within a fifth of them.
func TestRetryBudget(t *testing.T) {
	g, up := newChat(t)
	up.set(respond(408, "application/json", "{}"))
	began := time.Now()
	const callers, each = 20, 50
	var wait sync.WaitGroup
	var refused atomic.Pointer[string]
	for range callers {
		wait.Go(func() {
			for range each {
				got := g.try(g.request("POST", "/v1/chat/completions", chatBody))
				if got.status != 408 {
					t.Errorf("got %d %s", got.status, got.body)
				}
				id := got.id()
				refused.Store(&id)
			}
		})
	}
	wait.Wait()
	most := callers*each*6/5 + 10 + int(time.Since(began).Seconds()) + 1
	if n := len(up.Requests()); n > most || n < callers*each+10 {
		t.Errorf("%d attempts for %d requests, at most %d", n, callers*each, most)
	}
	r := g.explain(*refused.Load())
	if n := len(r.Attempts); n == 0 || !strings.Contains(r.Attempts[n-1].Error, "retry budget") {
		t.Errorf("explain: %+v", r.Attempts)
	}
}

// TestThrottledRouteIsTriedLast leaves a route alone that answered 429, for as long as it asked for.
func TestThrottledRouteIsTriedLast(t *testing.T) {
	var c clock
	limited := respond(429, "application/json", `{"error":{"message":"slow down"}}`, "Retry-After: 30")
	a, b := newScript(t, limited), newScript(t, serving)
	g := newGate(t, c.inject)
	g.upstream("a", a.URL)
	g.upstream("b", b.URL)
	g.deploy("gpt-4o", admin.RouteSpec{Upstream: "a"}, admin.RouteSpec{Upstream: "b", Priority: 1})
	want := func(status int, routes string) {
		t.Helper()
		got := g.chat()
		if r := g.explain(got.id()); got.status != status || tried(r) != routes {
			t.Fatalf("got %d along %q, want %d along %q", got.status, tried(r), status, routes)
		}
	}
	want(200, "a b")
	want(200, "!a b")
	b.set(limited)
	a.set(serving)
	want(200, "!a b a") // set aside, and still the last resort
	for range 20 {
		g.chat() // no circuit opens for a 429
	}
	c.pass(31 * time.Second)
	want(200, "a")
}

// TestSlowRouteIsEjected sends what a route far slower than its peers would have had to those.
func TestSlowRouteIsEjected(t *testing.T) {
	var c clock
	slow, fast := newScript(t, nil), newScript(t, serving)
	slow.set(func(x *gatehousetest.Exchange) error {
		c.pass(3 * time.Second)
		return serving(x)
	})
	g := newGate(t, c.inject)
	g.upstream("slow", slow.URL)
	g.upstream("fast", fast.URL)
	g.deploy("gpt-4o", admin.RouteSpec{Upstream: "slow"}, admin.RouteSpec{Upstream: "fast"})
	for n := 0; !strings.Contains(g.log.String(), "to=ejected reason=latency"); n++ {
		if n == 500 {
			t.Fatalf("it was never ejected: %s", g.log)
		}
		g.chat()
	}
	before := len(slow.Requests())
	said := false
	for range 40 { // the slow route is drawn first by half of them
		r := g.explain(g.chat().id())
		said = said || tried(r) == "!slow fast" && strings.Contains(r.Attempts[0].Error, "ejected since ")
	}
	if n := len(slow.Requests()); n != before {
		t.Errorf("an ejected route got %d more requests", n-before)
	}
	if !said {
		t.Error("explain does not say that it was passed over")
	}
	fast.set(respond(500, "application/json", "{}"))
	if got := g.chat(); got.status != 200 {
		t.Errorf("the ejected route was no last resort: got %d %s", got.status, got.body)
	}
}

// TestRefusedCredentialOpensTheCircuit, and one that was replaced closes it with the next probe.
func TestRefusedCredentialOpensTheCircuit(t *testing.T) {
	var c clock
	var value atomic.Pointer[string]
	set := func(s string) { value.Store(&s) }
	set("wrong-upstream-secret")
	g, up := newChat(t, c.inject, func(cfg *gateway.Config) {
		cfg.Resolve = func(context.Context, string, string) (secret.Text, error) { return secret.NewText(*value.Load()), nil }
	})
	up.set(func(x *gatehousetest.Exchange) error {
		if x.Request.Header.Get("Authorization") != "Bearer right-upstream-secret" {
			return respond(401, "application/json", `{"error":{"message":"Incorrect API key provided"}}`)(x)
		}
		return serving(x)
	})
	g.wantError(t, g.chat(), 502, "upstream_credential_refused")
	g.wantError(t, g.chat(), 503, "upstream_circuit_open")
	set("right-upstream-secret")
	// The reference is read again at most once a second, by the machine's clock.
	for began := time.Now(); ; {
		c.pass(70 * time.Second)
		got := g.chat()
		if got.status == 200 {
			break
		}
		if time.Since(began) > patience {
			t.Fatalf("got %d %s", got.status, got.body)
		}
	}

	// What a caller can bring about by what it asks for is not the credential's fault.
	up.set(respond(401, "application/json", `{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: model.request."}}`))
	for range 10 {
		g.wantError(t, g.chat(), 502, "upstream_credential_refused")
	}
	up.set(serving)
	if got := g.chat(); got.status != http.StatusOK {
		t.Errorf("got %d %s", got.status, got.body)
	}
}
