package gateway

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/gateway/health"
	"gatehouse/internal/gateway/outbound"
)

// consult puts the routes of the plan that are set aside behind the others, notes which of them that passes over and why, and
// refuses the request when no route may be tried at all. Usually nothing is wrong and this costs a look at each route.
func (x *exchange) consult() error {
	p := &x.plan
	calm := p.pool == nil || p.pool.Calm()
	for i := range p.n {
		s := &p.steps[i]
		s.circuit = x.g.board.Upstream(s.upstream)
		calm = calm && s.circuit.Closed()
	}
	if calm {
		return nil
	}
	return x.rearrange()
}

// rearrange is consult where something is wrong.
func (x *exchange) rearrange() error {
	p := &x.plan
	now := x.g.cfg.Now()
	var aside uint32
	if p.pool != nil {
		aside = p.pool.Aside(now)
	}
	const clear, last, barred = 0, 1, 2
	var class [maxSteps]int
	best := barred
	for i := range p.n {
		s := &p.steps[i]
		switch standing := s.circuit.Standing(now); {
		case standing == health.Barred:
			class[i] = barred
		case aside&(1<<s.route) != 0:
			class[i] = last
		case standing == health.Probing && (x.call.Op.Once || x.body.stream != nil):
			class[i] = last // what can be sent once only is no probe where another route may take it
		}
		best = min(best, class[i])
	}
	steps := p.steps
	n, passed := 0, true // whether the route that is tried first comes later
	for i := range p.n {
		passed = passed && (class[i] != best || best == barred)
		switch s := &steps[i]; {
		case !passed:
		case class[i] == barred:
			x.skip(s, x.barred(s, now))
		case aside&(1<<s.route) != 0:
			state, why, since := p.pool.Why(s.route)
			x.skip(s, string(state)+" since "+clockTime(since)+": "+why)
		}
	}
	for c := clear; c <= barred; c++ {
		for i := range p.n {
			if class[i] == c {
				p.steps[n] = steps[i]
				n++
			}
		}
	}
	if best == barred {
		return x.circuitOpen()
	}
	return nil
}

// ahead takes the next route of the plan that was not tried and lets the request through; nil: there is none.
func (x *exchange) ahead() *step {
	for x.plan.next < x.plan.n {
		s := &x.plan.steps[x.plan.next]
		x.plan.next++
		switch x.admit(s) {
		case admitted:
			return s
		case overBudget:
			x.skip(s, "the retry budget of its upstream is used up")
		case notAdmitted:
			if !s.skipped {
				x.skip(s, x.barred(s, x.at))
			}
		}
	}
	return nil
}

// around takes a route for another time, in turn; nil: none lets the request through.
func (x *exchange) around() *step {
	p := &x.plan
	for range p.n {
		p.last = (p.last + 1) % p.n
		switch x.admit(&p.steps[p.last]) {
		case admitted:
			return &p.steps[p.last]
		case overBudget:
			if n := len(x.record.Attempts); n > 0 {
				at := &x.record.Attempts[n-1]
				at.Error = strings.TrimPrefix(at.Error+"; not tried again: the retry budget of the upstream is used up", "; ")
			}
			return nil
		}
	}
	return nil
}

// admission is the answer to whether an attempt may be made.
type admission uint8

const (
	admitted    admission = iota
	notAdmitted           // the circuit is open
	overBudget            // it would be a retry, and the upstream has had enough of them
)

// admit asks for an attempt along a route; x.permit is what is given.
func (x *exchange) admit(s *step) admission {
	now := x.look()
	permit, ok := s.circuit.Admit(now)
	if !ok {
		return notAdmitted
	}
	permit.Retry = x.plan.tried(s.upstream)
	// The mock fails where it is asked to: its callers get as many failures as they asked for.
	if permit.Retry && s.upstream.Dialect != gatehouse.Mock && !s.circuit.Withdraw(now) {
		permit.Report(now, health.Unknown, x.serial, "")
		return overBudget
	}
	x.permit = permit
	return admitted
}

// tried reports whether the request has been at an upstream, along whichever route.
func (p *plan) tried(up *gatehouse.Upstream) bool {
	for i := range p.n {
		if s := &p.steps[i]; s.tried && s.upstream.ID == up.ID {
			return true
		}
	}
	return false
}

// observe tells the upstream's circuit and the deployment's routes what an attempt came to.
func (x *exchange) observe(s *step, resp *outbound.Response, err error, began, ended time.Time) {
	outcome, why := x.outcome(s, resp, err)
	x.permit.Report(ended, outcome, x.serial, why)
	x.permit = health.Permit{}
	if x.plan.pool == nil {
		return
	}
	switch {
	case outcome == health.Failure:
		x.plan.pool.Report(ended, s.route, health.Failure, 0)
	case resp == nil:
	case resp.Status < 300:
		x.plan.pool.Report(ended, s.route, health.Success, ended.Sub(began))
	case resp.Status == http.StatusTooManyRequests && s.upstream.Dialect != gatehouse.Mock:
		_, wait := dialect.Retryable(resp.Status, resp.Header.Get, ended)
		x.plan.pool.Throttle(ended, s.route, wait)
	}
}

// outcome decides what an attempt says about the upstream. What a caller can bring about by leaving, by sending slowly or by what
// it asks for is never the upstream's failure.
func (x *exchange) outcome(s *step, resp *outbound.Response, err error) (health.Outcome, string) {
	if resp != nil {
		return x.outcomeOf(s, resp)
	}
	if x.ctx.Err() != nil || errors.Is(err, errDraining) {
		return health.Unknown, ""
	}
	oe, ok := errors.AsType[*outbound.Error](err)
	if !ok {
		if unusable(err) { // its credential cannot be read
			return health.Failure, asError(err).Message
		}
		return health.Unknown, ""
	}
	switch oe.Op {
	case outbound.OpRequest, outbound.OpBody:
		return health.Unknown, ""
	case outbound.OpWrite, outbound.OpHead:
		// A pooled connection may have been closed while it was idle; a body that comes from the caller may have come too slowly.
		if !oe.Timeout && (oe.Reused || x.body.stream != nil) {
			return health.Unknown, ""
		}
	}
	return health.Failure, redactError(err)
}

func (x *exchange) outcomeOf(s *step, resp *outbound.Response) (health.Outcome, string) {
	switch resp.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		// Its body goes to nobody: relay says what the answer means in words of its own.
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // a part of it says enough
		x.answer.refused = dialect.CredentialRefused(resp.Status, text)
		if x.answer.refused && s.upstream.Dialect != gatehouse.Mock { // whose callers ask for such answers
			x.g.endpoints.refused(s.upstream)
			return health.Refused, "the upstream refused the credential it is called with (" + strconv.Itoa(resp.Status) + ")"
		}
	case 500, 502, 503, 504, 529:
		if s.upstream.Dialect != gatehouse.Mock {
			return health.Failure, "answered " + strconv.Itoa(resp.Status)
		}
	}
	return health.Success, ""
}

// maxRefusal is how much of an upstream's refusal is read to know what it is about.
const maxRefusal = 8 << 10

// brokeOff notes that an answer ended before it was complete, by the upstream's doing. A total time that is over may as well be the
// caller's, who asked for much or reads slowly.
func (x *exchange) brokeOff(err error) {
	if s := x.answer.step; s != nil && x.plan.pool != nil && x.ctx.Err() == nil && !errors.Is(err, errRouteTotal) {
		x.plan.pool.Report(x.g.cfg.Now(), s.route, health.Failure, 0)
	}
}

// skip notes in the record that a route was passed over.
func (x *exchange) skip(s *step, why string) {
	s.skipped = true
	x.record.Attempts = append(x.record.Attempts, gatehouse.Attempt{Upstream: s.upstream.Name, Model: s.model, Error: gatehouse.SkippedAttempt + why})
}

func (x *exchange) barred(s *step, now time.Time) string {
	why, since, _ := s.circuit.Barred(now)
	return "circuit open since " + clockTime(since) + ": " + why
}

func clockTime(at gatehouse.Millis) string { return at.Time().Format("15:04:05Z") }

// circuitOpen refuses a request for which no route is left, with the time of the next probe.
func (x *exchange) circuitOpen() error {
	now := x.g.cfg.Now()
	wait := time.Minute
	var names []string
	for i := range x.plan.n {
		s := &x.plan.steps[i]
		_, _, until := s.circuit.Barred(now)
		wait = min(wait, until)
		if name := "`" + s.upstream.Name + "`"; len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	return &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "upstream_circuit_open", RetryAfterMillis: max(wait.Milliseconds(), 1),
		Message: "Upstream " + strings.Join(names, ", ") + " has been failing and is not called until its next probe. Try again then; `gatehouse deployments status` shows since when and why."}
}

// Health returns what this node knows of its upstreams and routes: circuits first, and no routes that are closed and were not used
// lately. What is no longer configured is forgotten.
func (g *Gateway) Health() []gatehouse.RouteHealth {
	g.board.Forget(func(up string) bool { return g.cfg.Catalog.Upstream(up) == nil }, func(dep *gatehouse.Deployment) bool { return !g.cfg.Catalog.Live(dep) })
	g.typicals.forget(g.cfg.Catalog.Live)
	return g.board.Report(g.cfg.Now())
}

// HealthChanged receives after a circuit or a route has changed its state since the last time it did.
func (g *Gateway) HealthChanged() <-chan struct{} { return g.changed }

// healthChanged logs a transition of a circuit or a route.
func (g *Gateway) healthChanged(c health.Change) {
	select {
	case g.changed <- struct{}{}:
	default:
	}
	level := slog.LevelInfo
	if c.To == gatehouse.RouteOpen || c.To == gatehouse.RouteEjected {
		level = slog.LevelWarn
	}
	attrs := make([]slog.Attr, 0, 8)
	what := "circuit of an upstream changed"
	if c.Deployment != "" {
		what = "route changed"
		if up := g.cfg.Catalog.Upstream(c.Upstream); up != nil {
			c.Upstream = up.Name
		}
		attrs = append(attrs, slog.String("deployment", c.Deployment), slog.String("model", c.Model))
	}
	attrs = append(attrs, slog.String("upstream", c.Upstream), slog.String("from", string(c.From)), slog.String("to", string(c.To)),
		slog.String("reason", c.Reason.String()), slog.String("why", c.Why), slog.Duration("for", c.For))
	g.cfg.Logger.LogAttrs(g.endpoints.ctx, level, what, attrs...)
}
