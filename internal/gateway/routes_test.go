package gateway_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
)

// TestRouteTimeouts bounds each part of an attempt. The gateway's own timeouts are minutes: what ends in time was the route's.
func TestRouteTimeouts(t *testing.T) {
	stream := func(then gatehousetest.Action) gatehousetest.Action {
		return func(x *gatehousetest.Exchange) error {
			if err := gatehousetest.ChunkedHead(200, "text/event-stream")(x); err != nil {
				return err
			}
			if err := gatehousetest.Chunk("data: {\"choices\":[]}\n\n")(x); err != nil {
				return err
			}
			return then(x)
		}
	}
	const asStream = `{"model":"gpt-4o","stream":true,"messages":[]}`
	drip := func(x *gatehousetest.Exchange) error {
		for {
			if err := gatehousetest.Chunk(": still here\n\n")(x); err != nil {
				return err
			}
		}
	}
	t.Run("first byte", func(t *testing.T) {
		hanging, good := newScript(t, gatehousetest.Stall()), newScript(t, serving)
		g := newGate(t)
		own := func(s *admin.UpstreamSpec) { s.Projects = []string{g.project} }
		g.upstream("hanging", hanging.URL, own)
		g.upstream("good", good.URL, own)
		g.deploy("gpt-4o", admin.RouteSpec{Upstream: "hanging", Timeouts: gatehouse.TimeoutSpec{FirstByte: "50ms"}}, admin.RouteSpec{Upstream: "good", Priority: 1})
		got := g.chat()
		if r := g.explain(got.id()); got.status != 200 || tried(r) != "hanging good" || !strings.Contains(r.Attempts[0].Error, "timeout") {
			t.Errorf("got %d %s along %+v", got.status, got.body, r.Attempts)
		}
		// The first route may still be at work on a create.
		g.wantError(t, g.do("POST", "/v1/assistants", `{"model":"gpt-4o"}`), 504, "upstream_timeout")
	})
	t.Run("of the upstream, and a route that says otherwise", func(t *testing.T) {
		hanging := newScript(t, gatehousetest.Stall())
		g := newGate(t)
		g.upstream("hanging", hanging.URL, func(s *admin.UpstreamSpec) { s.Timeouts = gatehouse.TimeoutSpec{FirstByte: "50ms", Total: "1h"} })
		g.deploy("gpt-4o", admin.RouteSpec{Upstream: "hanging"})
		g.deploy("patient", admin.RouteSpec{Upstream: "hanging", Timeouts: gatehouse.TimeoutSpec{FirstByte: "1h", Total: "60ms"}})
		got := g.chat()
		g.wantError(t, got, 504, "upstream_timeout")
		if r := g.explain(got.id()); len(r.Attempts) != 1 || strings.Contains(r.Attempts[0].Error, "total") {
			t.Errorf("attempts %+v", r.Attempts)
		}
		got = g.do("POST", "/v1/chat/completions", strings.Replace(chatBody, "gpt-4o", "patient", 1))
		g.wantError(t, got, 504, "upstream_timeout")
		if r := g.explain(got.id()); !strings.Contains(r.Attempts[0].Error, "the route's total time is over") {
			t.Errorf("attempts %+v", r.Attempts)
		}
	})
	t.Run("connect", func(t *testing.T) {
		// A TLS server that never says hello: the handshake is part of connecting.
		mute := newScript(t, serving)
		g := newGate(t)
		g.upstream("mute", mute.URL, func(s *admin.UpstreamSpec) { s.BaseURL = strings.Replace(silent(t), "http:", "https:", 1) + "/v1" })
		g.deploy("gpt-4o", admin.RouteSpec{Upstream: "mute", Timeouts: gatehouse.TimeoutSpec{Connect: "50ms"}})
		g.wantError(t, g.chat(), 504, "upstream_timeout")
	})
	for _, c := range []struct {
		name     string
		then     gatehousetest.Action
		timeouts gatehouse.TimeoutSpec
		detail   string
	}{
		{"idle", gatehousetest.Stall(), gatehouse.TimeoutSpec{Idle: "50ms"}, "read body"},
		{"total", drip, gatehouse.TimeoutSpec{Total: "200ms"}, "the route's total time is over"},
	} {
		t.Run(c.name, func(t *testing.T) {
			up := newScript(t, stream(c.then))
			g := newGate(t)
			g.upstream("up", up.URL)
			g.deploy("gpt-4o", admin.RouteSpec{Upstream: "up", Timeouts: c.timeouts})
			got := g.do("POST", "/v1/chat/completions", asStream)
			if got.status != 200 || got.err == nil || !strings.Contains(got.body, `"upstream_broke"`) {
				t.Errorf("got %d, error %v, %d bytes that end in %q", got.status, got.err, len(got.body), got.body[max(0, len(got.body)-300):])
			}
			if r := g.explain(got.id()); r.Rule != "upstream_broke" || !strings.Contains(r.Detail, c.detail) {
				t.Errorf("explain: %s %s", r.Rule, r.Detail)
			}
			if err := up.Closed(deadline(t)); err != nil {
				t.Errorf("the upstream's connection: %v", err)
			}
		})
	}
	t.Run("what is in time", func(t *testing.T) {
		g, _ := newChat(t)
		g.deploy("gpt-4o", admin.RouteSpec{Upstream: "up", Timeouts: gatehouse.TimeoutSpec{Connect: "1h", FirstByte: "1h", Idle: "1h", Total: "1h"}})
		for range 3 {
			if got := g.chat(); got.status != 200 || got.err != nil {
				t.Errorf("got %d %s", got.status, got.body)
			}
		}
	})
}

// TestSticky keeps what belongs together on one route, spreads the rest, and falls over when that route fails.
func TestSticky(t *testing.T) {
	g := newGate(t)
	names := []string{"a", "b", "c"}
	ups := map[string]*script{}
	var routes []admin.RouteSpec
	for _, name := range names {
		ups[name] = newScript(t, serving)
		g.upstream(name, ups[name].URL)
		routes = append(routes, admin.RouteSpec{Upstream: name})
	}
	stick := func(to string) {
		t.Helper()
		_, err := g.admin.PutDeployment(context.Background(), g.who, admin.DeploymentSpec{Name: "gpt-4o", Routes: routes, Sticky: to})
		must(t, err)
	}
	body := func(cacheKey string) string {
		return fmt.Sprintf(`{"model":"gpt-4o","prompt_cache_key":%q,"messages":[{"role":"user","content":"hi"}]}`, cacheKey)
	}
	// first returns the route that a request took.
	first := func(body string, headers ...string) string {
		t.Helper()
		got := g.do("POST", "/v1/chat/completions", body, headers...)
		if got.status != 200 {
			t.Fatalf("got %d %s", got.status, got.body)
		}
		return g.explain(got.id()).Attempts[0].Upstream
	}

	stick("prompt_cache_key")
	took := map[string]int{}
	home := map[string]string{}
	for i := range 60 {
		key := fmt.Sprint("conversation ", i)
		home[key] = first(body(key))
		took[home[key]]++
	}
	for _, name := range names {
		if took[name] < 5 { // of 20 expected
			t.Errorf("of 60 values %v", took)
		}
	}
	for range 8 {
		if got := first(body("conversation 7")); got != home["conversation 7"] {
			t.Fatalf("one value went to %s and to %s", home["conversation 7"], got)
		}
	}
	got := g.do("POST", "/v1/responses", `{"model":"gpt-4o","input":"hi","prompt_cache_key":"conversation 7"}`)
	if r := g.explain(got.id()); r.Attempts[0].Upstream != home["conversation 7"] || !strings.Contains(r.Detail, "ordered by its prompt_cache_key") {
		t.Errorf("the Responses API: %s along %+v, want %s", r.Detail, r.Attempts, home["conversation 7"])
	}
	spread := map[string]bool{}
	for range 60 {
		spread[first(chatBody)] = true // without the field routes are drawn
	}
	if len(spread) != 3 {
		t.Errorf("requests that stick to nothing went to %v only", spread)
	}

	// The home fails: each value has one second choice, and others do not move.
	broken := home["conversation 7"]
	ups[broken].set(respond(500, "application/json", "{}"))
	second := map[string]string{}
	for i := range 12 {
		key := fmt.Sprint("conversation ", i)
		got := g.do("POST", "/v1/chat/completions", body(key))
		r := g.explain(got.id())
		now := r.Attempts[len(r.Attempts)-1].Upstream
		switch {
		case got.status != 200:
			t.Errorf("got %d", got.status)
		case home[key] != broken && now != home[key]:
			t.Errorf("%s moved from %s to %s when %s failed", key, home[key], now, broken)
		case home[key] == broken:
			second[key] = now
		}
	}
	for key, was := range second {
		got := g.do("POST", "/v1/chat/completions", body(key))
		if r := g.explain(got.id()); r.Attempts[len(r.Attempts)-1].Upstream != was {
			t.Errorf("%s: second choices %s and %+v", key, was, r.Attempts)
		}
	}
	ups[broken].set(serving)

	for _, to := range []string{"key", "user"} {
		stick(to)
		seen := map[string]bool{}
		for i := range 12 {
			seen[first(body(fmt.Sprint(i)))] = true
		}
		if len(seen) > 1 {
			t.Errorf("sticky %s: one key's requests went to %v", to, seen)
		}
	}
}

// silent returns the URL of a server that accepts connections and never says anything.
func silent(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	var conns []net.Conn
	done := make(chan struct{})
	go func() { // ends when the listener closes
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, conn)
		}
	}()
	tb.Cleanup(func() {
		l.Close()
		<-done
		for _, conn := range conns {
			conn.Close()
		}
	})
	return "http://" + l.Addr().String()
}
