package health_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatehouse"
	"gatehouse/internal/gateway/health"
)

// world is a board on a clock that a test moves.
type world struct {
	board   *health.Board
	now     time.Time
	request uint64
	changes []health.Change
}

func newWorld() *world {
	w := &world{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	w.board = health.New(health.Config{Start: w.now, Jitter: func() float64 { return 0.5 }, OnChange: func(c health.Change) { w.changes = append(w.changes, c) }})
	return w
}

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

func (w *world) upstream() *health.Upstream {
	return w.board.Upstream(&gatehouse.Upstream{ID: "upst_1", Name: "openai", Rev: 1})
}

// try makes one request and reports whether it was let through.
func (w *world) try(u *health.Upstream, outcome health.Outcome) bool {
	w.request++
	p, ok := u.Admit(w.now)
	if ok {
		p.Report(w.now, outcome, w.request, "answered 503")
	}
	return ok
}

// state is the circuit as others see it.
func (w *world) state() gatehouse.RouteState {
	for _, h := range w.board.Report(w.now) {
		if h.Deployment == "" {
			return h.State
		}
	}
	return gatehouse.RouteClosed
}

func TestCircuit(t *testing.T) {
	w := newWorld()
	u := w.upstream()
	want := func(state gatehouse.RouteState) {
		t.Helper()
		if got := w.state(); got != state {
			t.Fatalf("the circuit is %s, want %s", got, state)
		}
	}
	for range 4 {
		w.try(u, health.Failure)
	}
	w.try(u, health.Success) // ends the row
	for range 4 {
		w.try(u, health.Failure)
	}
	for range 50 {
		w.try(u, health.Unknown) // callers that leave say nothing
	}
	want(gatehouse.RouteClosed)
	w.try(u, health.Failure)
	want(gatehouse.RouteOpen)
	if _, since, wait := u.Barred(w.now); since != gatehouse.MillisOf(w.now) || wait != time.Second {
		t.Errorf("open since %d for %s", since, wait)
	}
	w.pass(time.Second - 1)
	if w.try(u, health.Success) {
		t.Error("an open circuit let a request through")
	}

	// One probe at a time; one that says nothing makes room.
	w.pass(1)
	probe, ok := u.Admit(w.now)
	if !ok {
		t.Fatal("no probe when its time had come")
	}
	want(gatehouse.RouteHalfOpen)
	if w.try(u, health.Success) {
		t.Error("a second probe beside the first")
	}
	probe.Report(w.now, health.Unknown, 1, "")
	want(gatehouse.RouteHalfOpen)

	// Probes that fail double the time, up to a minute.
	for i, length := range []int{2, 4, 8, 16, 32, 60, 60} {
		if !w.try(u, health.Failure) {
			t.Fatalf("probe %d was not let through", i)
		}
		want(gatehouse.RouteOpen)
		if _, _, wait := u.Barred(w.now); wait != time.Duration(length)*time.Second {
			t.Errorf("after probe %d the circuit stays open for %s, want %d s", i, wait, length)
		}
		w.pass(time.Duration(length) * time.Second)
	}

	// A probe that is under way for long does not keep everybody out, and the late answer of the first counts as well.
	slow, ok := u.Admit(w.now)
	if !ok {
		t.Fatal("no probe")
	}
	w.pass(5 * time.Second)
	if _, ok := u.Admit(w.now); !ok {
		t.Error("no second probe beside one that is slow")
	}
	slow.Report(w.now, health.Success, 7, "")
	want(gatehouse.RouteClosed)
	last := w.changes[len(w.changes)-1]
	if last.From != gatehouse.RouteHalfOpen || last.To != gatehouse.RouteClosed || last.Upstream != "openai" || last.Reason != health.FailuresInARow {
		t.Errorf("the last change: %+v", last)
	}

	// Soon after, it opens for as long as it had come to; after a calm minute for a second.
	for range 5 {
		w.try(u, health.Failure)
	}
	if _, _, wait := u.Barred(w.now); wait != time.Minute {
		t.Errorf("opened again at once for %s", wait)
	}
	w.pass(time.Minute)
	w.try(u, health.Success)
	w.pass(time.Minute)
	for range 5 {
		w.try(u, health.Failure)
	}
	if _, _, wait := u.Barred(w.now); wait != time.Second {
		t.Errorf("opened after a calm minute for %s", wait)
	}
}

// TestCircuitCounts says what opens a circuit and what does not.
func TestCircuitCounts(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*world, *health.Upstream)
		want health.Reason
	}{
		{"half of twenty", func(w *world, u *health.Upstream) {
			for range 10 {
				w.try(u, health.Failure)
				w.try(u, health.Success)
			}
			w.try(u, health.Failure)
		}, health.FailureRatio},
		{"half of nineteen", func(w *world, u *health.Upstream) {
			for range 9 {
				w.try(u, health.Success)
				w.try(u, health.Failure)
			}
			w.try(u, health.Success)
		}, health.None},
		{"half of twenty over a minute", func(w *world, u *health.Upstream) {
			for range 10 {
				w.try(u, health.Success)
				w.pass(3 * time.Second)
				w.try(u, health.Failure)
				w.pass(3 * time.Second)
			}
		}, health.None},
		{"a third", func(w *world, u *health.Upstream) {
			for range 30 {
				w.try(u, health.Success)
				w.try(u, health.Success)
				w.try(u, health.Failure)
			}
		}, health.None},
		{"one request that fails often", func(w *world, u *health.Upstream) {
			for range 10 {
				p, _ := u.Admit(w.now)
				p.Report(w.now, health.Failure, 1, "x")
			}
		}, health.None},
		{"a row over hours", func(w *world, u *health.Upstream) {
			for range 20 {
				w.try(u, health.Failure)
				w.pass(2 * time.Minute)
			}
		}, health.None},
		{"a refused credential", func(w *world, u *health.Upstream) { w.try(u, health.Refused) }, health.CredentialRefused},
		{"six clients that leave", func(w *world, u *health.Upstream) {
			for range 6 {
				w.try(u, health.Unknown)
			}
		}, health.None},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			c.do(w, w.upstream())
			got := health.None
			if len(w.changes) > 0 {
				got = w.changes[0].Reason
			}
			if got != c.want {
				t.Errorf("got %q, want %q: %+v", got, c.want, w.changes)
			}
		})
	}
}

// TestLateResults lets attempts end after the circuit changed: they say nothing about the time since.
func TestLateResults(t *testing.T) {
	w := newWorld()
	u := w.upstream()
	early, _ := u.Admit(w.now)
	late, _ := u.Admit(w.now)
	for range 5 {
		w.try(u, health.Failure)
	}
	early.Report(w.now, health.Success, 100, "")
	if got := w.state(); got != gatehouse.RouteOpen {
		t.Errorf("a success from before closed the circuit: it is %s", got)
	}
	w.pass(time.Second)
	w.try(u, health.Success)
	late.Report(w.now, health.Refused, 101, "401")
	if got := w.state(); got != gatehouse.RouteClosed {
		t.Errorf("a failure from before opened the circuit: it is %s", got)
	}
}

// TestChangedUpstreamBeginsAnew closes the circuit of an upstream that an administrator mended.
func TestChangedUpstreamBeginsAnew(t *testing.T) {
	w := newWorld()
	w.try(w.upstream(), health.Refused)
	u := w.board.Upstream(&gatehouse.Upstream{ID: "upst_1", Name: "openai", Rev: 2})
	if !w.try(u, health.Success) {
		t.Error("the circuit of the upstream as it was stands")
	}
	if w.board.Upstream(&gatehouse.Upstream{ID: "upst_1", Rev: 1}) != u {
		t.Error("a request that still has the old row brought the old circuit back")
	}
	w.board.Forget(func(string) bool { return true }, func(*gatehouse.Deployment) bool { return true })
	if got := w.board.Report(w.now); len(got) != 0 {
		t.Errorf("forgotten: %+v", got)
	}
}

// TestCircuitHolds runs random histories: an open circuit lets nothing through before its time, a half-open one a probe at a time,
// nothing but failures opens one.
func TestCircuitHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		u := w.upstream()
		type held struct {
			health.Permit
			at time.Time
		}
		var pending []held
		var openUntil time.Time
		failures := 0
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			w.changes = nil
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				w.pass(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
				continue
			case 1, 2:
				barred := u.Standing(w.now) == health.Barred
				p, ok := u.Admit(w.now)
				if ok == barred {
					t.Fatalf("Standing says barred %v, Admit %v", barred, ok)
				}
				if ok && w.now.Before(openUntil) {
					t.Fatal("let through while open")
				}
				if ok {
					pending = append(pending, held{p, w.now})
				}
			case 3:
				if len(pending) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(pending)-1).Draw(t, "which")
				outcome := health.Outcome(rapid.IntRange(0, 3).Draw(t, "outcome"))
				if outcome >= health.Failure {
					failures++
				}
				w.request++
				pending[i].Report(w.now, outcome, w.request, "x")
				pending = append(pending[:i], pending[i+1:]...)
				for _, c := range w.changes {
					if c.To == gatehouse.RouteOpen && outcome < health.Failure {
						t.Fatalf("outcome %d opened the circuit", outcome)
					}
					if c.To == gatehouse.RouteClosed && outcome != health.Success {
						t.Fatalf("outcome %d closed the circuit", outcome)
					}
				}
			}
			openUntil = time.Time{}
			if w.state() == gatehouse.RouteOpen {
				_, _, wait := u.Barred(w.now)
				if wait > time.Minute {
					t.Fatalf("open for %s", wait)
				}
				openUntil = w.now.Add(wait)
				if failures == 0 {
					t.Fatal("open without a failure")
				}
			}
		}
	})
}

// TestBudgetHolds spends retries as fast as it can: they stay within a fifth of the requests, one a second, and what was saved.
func TestBudgetHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		u := w.upstream()
		began := w.now
		requests, retries := 0, 0
		for range rapid.IntRange(1, 400).Draw(t, "requests") {
			requests++
			w.try(u, health.Unknown)
			for range rapid.IntRange(0, 3).Draw(t, "retries") {
				if u.Withdraw(w.now) {
					retries++
				}
			}
			w.pass(time.Duration(rapid.IntRange(0, 50).Draw(t, "ms")) * time.Millisecond)
		}
		if most := float64(requests)/5 + w.now.Sub(began).Seconds() + 10; float64(retries) > most {
			t.Fatalf("%d retries for %d requests in %s, at most %.1f", retries, requests, w.now.Sub(began), most)
		}
	})
	w := newWorld()
	u := w.upstream()
	for range 10 {
		if !u.Withdraw(w.now) {
			t.Fatal("a full budget has ten retries")
		}
	}
	if u.Withdraw(w.now) {
		t.Error("and not one more")
	}
	if got := w.board.Counts().Refused; got != 1 {
		t.Errorf("%d refused retries counted, want 1", got)
	}
	w.pass(1500 * time.Millisecond)
	if !u.Withdraw(w.now) || u.Withdraw(w.now) {
		t.Error("a second and a half is one retry")
	}
}

// pool returns a deployment's routes: so many of priority 0 and one of priority 1.
func (w *world) pool(n int) *health.Pool {
	dep := &gatehouse.Deployment{ID: "dep_1", Name: "gpt", Rev: 1}
	for i := range n {
		dep.Routes = append(dep.Routes, gatehouse.Route{Upstream: "upst_" + string(rune('a'+i))})
	}
	dep.Routes = append(dep.Routes, gatehouse.Route{Upstream: "upst_z", Priority: 1})
	return w.board.Pool(dep)
}

func TestEjectsWhatIsFarWorse(t *testing.T) {
	for _, c := range []struct {
		name   string
		routes int
		do     func(w *world, p *health.Pool, i int)
		want   uint32
		reason health.Reason
	}{
		{"slow", 2, func(w *world, p *health.Pool, i int) {
			p.Report(w.now, i, health.Success, []time.Duration{200 * time.Millisecond, 2 * time.Second}[i])
		}, 0b10, health.Slow},
		{"twice as slow", 2, func(w *world, p *health.Pool, i int) {
			p.Report(w.now, i, health.Success, []time.Duration{time.Second, 2 * time.Second}[i])
		}, 0, health.None},
		{"far slower and still quick", 2, func(w *world, p *health.Pool, i int) {
			p.Report(w.now, i, health.Success, []time.Duration{10 * time.Millisecond, 900 * time.Millisecond}[i])
		}, 0, health.None},
		{"errors", 3, func(w *world, p *health.Pool, i int) {
			p.Report(w.now, i, []health.Outcome{health.Failure, health.Success, health.Success}[i], time.Millisecond)
		}, 0b1, health.ManyErrors},
		{"all fail", 3, func(w *world, p *health.Pool, i int) { p.Report(w.now, i, health.Failure, 0) }, 0, health.None},
		{"two of three are slow", 3, func(w *world, p *health.Pool, i int) {
			p.Report(w.now, i, health.Success, []time.Duration{9 * time.Second, 50 * time.Millisecond, 9 * time.Second}[i])
		}, 0, health.None},
		{"alone", 1, func(w *world, p *health.Pool, i int) { p.Report(w.now, i, health.Failure, 0) }, 0, health.None},
		{"callers that leave", 2, func(w *world, p *health.Pool, i int) {
			p.Report(w.now, i, []health.Outcome{health.Unknown, health.Success}[i], time.Hour)
		}, 0, health.None},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			p := w.pool(c.routes)
			w.pass(time.Second)
			for range 30 {
				for i := range c.routes {
					c.do(w, p, i)
				}
				w.pass(100 * time.Millisecond)
			}
			if got := p.Aside(w.now); got != c.want {
				t.Fatalf("set aside %b, want %b: %+v", got, c.want, w.changes)
			}
			if c.want == 0 {
				return
			}
			if got := w.changes[0]; got.Reason != c.reason || got.To != gatehouse.RouteEjected || got.Deployment != "gpt" || got.Why == "" || got.For != 30*time.Second {
				t.Errorf("the change: %+v", got)
			}
			w.pass(30 * time.Second)
			if got := p.Aside(w.now); got != 0 {
				t.Errorf("set aside after its time: %b", got)
			}
		})
	}
}

func TestThrottle(t *testing.T) {
	w := newWorld()
	p := w.pool(2)
	for _, c := range []struct{ asked, want time.Duration }{
		{0, time.Second}, {30 * time.Second, 30 * time.Second}, {time.Hour, time.Minute}, {-1, time.Second},
	} {
		p.Throttle(w.now, 1, c.asked)
		w.pass(c.want - 1)
		if p.Aside(w.now) != 0b10 {
			t.Errorf("asked for %s: not set aside for %s", c.asked, c.want)
		}
		if state, why, _ := p.Why(1); state != gatehouse.RouteThrottled || why == "" {
			t.Errorf("state %s because %q", state, why)
		}
		w.pass(1)
		if p.Aside(w.now) != 0 {
			t.Errorf("asked for %s: still set aside after %s", c.asked, c.want)
		}
	}
}

// TestEjectionHolds runs random histories: never more than half of the routes of a priority are ejected, so never the last one.
func TestEjectionHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		n := rapid.IntRange(1, 15).Draw(t, "routes")
		p := w.pool(n)
		slow := rapid.SliceOfN(rapid.IntRange(1, 20000), n, n).Draw(t, "first byte")
		fail := rapid.SliceOfN(rapid.IntRange(0, 100), n, n).Draw(t, "failures")
		for range 60 {
			for i := range n {
				outcome := health.Success
				if rapid.IntRange(0, 99).Draw(t, "draw") < fail[i] {
					outcome = health.Failure
				}
				p.Report(w.now, i, outcome, time.Duration(slow[i])*time.Millisecond)
			}
			w.pass(500 * time.Millisecond)
			ejected := 0
			for i := range n {
				if state, _, _ := p.Why(i); state == gatehouse.RouteEjected {
					ejected++
				}
			}
			if ejected*2 > n {
				t.Fatalf("%d of %d ejected", ejected, n)
			}
		}
	})
}

// TestPoolKeepsRoutes changes a deployment: what is known of a route that stays is kept, wherever it now stands.
func TestPoolKeepsRoutes(t *testing.T) {
	w := newWorld()
	w.pool(2).Throttle(w.now, 0, time.Minute)
	p := w.board.Pool(&gatehouse.Deployment{ID: "dep_1", Name: "gpt", Rev: 2, Routes: []gatehouse.Route{{Upstream: "upst_new"}, {Upstream: "upst_a"}}})
	if got := p.Aside(w.now); got != 0b10 {
		t.Errorf("set aside: %b", got)
	}
}

// TestReport shows circuits and routes as others read them.
func TestReport(t *testing.T) {
	w := newWorld()
	w.pass(time.Second)
	if got := w.board.Report(w.now); len(got) != 0 {
		t.Errorf("of nothing: %+v", got)
	}
	w.try(w.upstream(), health.Refused)
	p := w.pool(1)
	p.Report(w.now, 0, health.Success, 120*time.Millisecond)
	p.Throttle(w.now, 1, 10*time.Second)
	at := gatehouse.MillisOf(w.now)
	want := []gatehouse.RouteHealth{
		{Upstream: "upst_1", State: gatehouse.RouteOpen, Reason: "credential_refused", Why: "answered 503", Since: at, Until: at + 1000},
		{Deployment: "dep_1", Upstream: "upst_a", State: gatehouse.RouteClosed, Requests: 1, FirstByteMillis: 120},
		{Deployment: "dep_1", Upstream: "upst_z", State: gatehouse.RouteThrottled, Reason: "rate_limited", Why: "it answered 429", Since: at, Until: at + 10000},
	}
	got := w.board.Report(w.now)
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %+v, want %+v", got[i], want[i])
		}
	}
	if c := w.board.Counts(); c.Opened[health.CredentialRefused] != 1 || c.Opened[health.RateLimited] != 1 {
		t.Errorf("counts %+v", c)
	}
}

func BenchmarkAttempt(b *testing.B) {
	w := newWorld()
	up := &gatehouse.Upstream{ID: "upst_1", Rev: 1}
	p := w.pool(1)
	b.ReportAllocs()
	for b.Loop() {
		u := w.board.Upstream(up)
		permit, _ := u.Admit(w.now)
		permit.Report(w.now, health.Success, 1, "")
		p.Report(w.now, 0, health.Success, time.Millisecond)
		p.Aside(w.now)
	}
}
