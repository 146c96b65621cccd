package gateway

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/dialect/strictjson"
	"gatehouse/internal/gateway/outbound"
)

const (
	// maxAttempts bounds how often one request goes upstream, over all its routes.
	maxAttempts = 4
	// maxHint is the longest an upstream may ask us to wait before we rather tell the caller; SDKs then wait themselves.
	maxHint = 2 * time.Second
	// backoffBase doubles with each attempt; the wait is drawn between zero and it (full jitter).
	backoffBase = 100 * time.Millisecond
)

// answer is what the chosen attempt returned.
type answer struct {
	upstream *gatehouse.Upstream
	model    string
	step     *step
	hide     bool // the usage chunk was asked for by us, not by the caller
	refused  bool // the upstream refused the credential, not the call
}

// forward tries the plan's routes until one answers with something the caller should see. Before each attempt the credential is
// checked once more, so that nothing goes upstream for a key that was revoked meanwhile.
func (x *exchange) forward() (*outbound.Response, error) {
	s := x.ahead()
	if s == nil {
		return nil, x.circuitOpen()
	}
	for {
		if err := x.g.cfg.Auth.Recheck(&x.id); err != nil {
			return nil, err
		}
		resp, err := x.try(s)
		next, wait := x.again(resp, err)
		if err != nil && x.unansweredBy(err) {
			if err := x.lose(next); err != nil {
				return nil, err
			}
		}
		switch {
		case next == nil && err != nil:
			return nil, x.upstreamError(err)
		case next == nil:
			return resp, nil
		}
		if resp != nil {
			resp.Close()
		}
		if wait > 0 && !x.sleep(wait) {
			return nil, x.upstreamError(context.Cause(x.ctx))
		}
		x.look()
		s = next
	}
}

// again decides whether another attempt follows, and after what wait: at once along a route not tried yet, else after the
// upstream's hint or a jittered backoff, as long as the upstream's retry budget lasts. A wait longer than maxHint is left to the
// caller.
func (x *exchange) again(resp *outbound.Response, err error) (next *step, wait time.Duration) {
	if x.tries >= maxAttempts || x.ctx.Err() != nil {
		return nil, 0
	}
	another, same, hint := x.mayFollow(resp, err)
	if another {
		if s := x.ahead(); s != nil {
			return s, 0
		}
	}
	if !same || hint > maxHint {
		return nil, 0
	}
	return x.around(), max(hint, time.Duration(rand.Int64N(int64(backoffBase<<(x.tries-1)))))
}

// mayFollow decides whether an attempt may be followed by one along another route, and by one along the same, for which the
// upstream may want to be given time.
func (x *exchange) mayFollow(resp *outbound.Response, err error) (another, same bool, hint time.Duration) {
	if err != nil {
		same = x.mayTryAgain(err)
		return same || unusable(err) || x.tooSlow(err), same, 0
	}
	switch {
	case x.answer.refused:
		// A refused credential stays refused, whatever a header says; the upstream did nothing with the request.
		return x.body.stream == nil, false, 0
	case x.call.Op.Once, x.body.stream != nil, resp.Status == http.StatusUnauthorized, resp.Status == http.StatusForbidden:
		return false, false, 0
	}
	same, hint = dialect.Retryable(resp.Status, resp.Header.Get, x.at)
	return same, same, hint
}

// tooSlow reports whether a route did not answer in its time and another one may be asked instead: the first may still be at work,
// so not for a create.
func (x *exchange) tooSlow(err error) bool {
	oe, ok := errors.AsType[*outbound.Error](err)
	return ok && oe.Timeout && (oe.Op == outbound.OpHead || oe.Op == outbound.OpWrite) && !x.call.Op.Once && x.body.stream == nil
}

// sleep waits unless the exchange ends first, which it reports with false.
func (x *exchange) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-x.ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// unusable reports whether a route failed before anything was sent along it, for a reason that only another route can mend: its
// credential cannot be read, its address is refused.
func unusable(err error) bool {
	if oe, ok := errors.AsType[*outbound.Error](err); ok {
		return oe.Op == outbound.OpGuard
	}
	kind := gatehouse.KindOf(err)
	return kind == gatehouse.Unavailable || kind == gatehouse.BadUpstream
}

// mayTryAgain reports whether a failed attempt may be followed by another: a create only when not one byte of it was written.
func (x *exchange) mayTryAgain(err error) bool {
	var oe *outbound.Error
	if !errors.As(err, &oe) {
		return false
	}
	if oe.Op == outbound.OpGuard || oe.Op == outbound.OpRequest || oe.Op == outbound.OpBody {
		return false
	}
	if oe.Wrote && (x.call.Op.Once || x.body.stream != nil) {
		return false
	}
	return !oe.Timeout || oe.Op == outbound.OpDial || oe.Op == outbound.OpTLS
}

// try sends the call along one route and records the attempt.
func (x *exchange) try(s *step) (*outbound.Response, error) {
	at := gatehouse.Attempt{Upstream: s.upstream.Name, Model: s.model}
	x.tries++
	s.tried = true
	x.answer = answer{upstream: s.upstream, model: s.model, step: s}
	began := x.at // as it was let through
	resp, err := x.send(s)
	ended := x.look()
	at.Millis = ended.Sub(began).Milliseconds()
	if err != nil {
		at.Error = redactError(err)
		if oe, ok := errors.AsType[*outbound.Error](err); ok && oe.Op == outbound.OpHead {
			x.consumed = true // it had the whole request
		}
	} else {
		at.Status = resp.Status
		at.RequestID = clip(firstOf(resp.Header.Get("x-request-id"), resp.Header.Get("apim-request-id")))
	}
	x.record.Attempts = append(x.record.Attempts, at)
	x.observe(s, resp, err, began, ended)
	return resp, err
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (x *exchange) send(s *step) (*outbound.Response, error) {
	if !x.inRegion(s.upstream) {
		return nil, x.outOfRegion("This request", s.upstream) // the pin was set after the plan was made
	}
	ep, credential, err := x.g.endpoints.get(x.ctx, s.upstream)
	if err != nil {
		return nil, err
	}
	d := x.draft
	if d.target, err = x.call.AppendTarget(d.target[:0], s.upstream, s.model); err != nil {
		return nil, err
	}
	req := &d.outgoing
	*req = outbound.Request{Method: x.call.Method, URI: string(d.target), Credential: credential, Into: &x.response}
	req.Header = x.outgoingHeader(s.upstream, d.header[:0])
	if err := x.outgoingBody(s, req); err != nil {
		return nil, err
	}
	ctx, limits := x.limits(s)
	return ep.client.Do(ctx, req, limits)
}

// errRouteTotal ends an attempt that took longer than its route may.
var errRouteTotal = errors.New("the route's total time is over")

// limits returns what bounds an attempt along a route: the route's own, else its upstream's, else the gateway's timeouts. A total
// of the route's ends the context, also while the answer is relayed; it begins anew with each attempt.
func (x *exchange) limits(s *step) (context.Context, outbound.Timeouts) {
	out := outbound.Timeouts{Connect: x.g.cfg.Timeouts.Connect, FirstByte: x.g.cfg.Timeouts.FirstByte, Idle: x.g.cfg.Timeouts.Idle}
	if x.endRoute != nil {
		x.endRoute()
		x.endRoute = nil
	}
	var t gatehouse.Timeouts
	if s.timeouts != nil {
		t = *s.timeouts
	}
	if s.upstream.Timeouts != (gatehouse.Timeouts{}) {
		t = t.Or(s.upstream.Timeouts)
	}
	if t == (gatehouse.Timeouts{}) {
		return x.ctx, out
	}
	set := func(d *time.Duration, millis int64) {
		if millis > 0 {
			*d = time.Duration(millis) * time.Millisecond
		}
	}
	set(&out.Connect, t.ConnectMillis)
	set(&out.FirstByte, t.FirstByteMillis)
	set(&out.Idle, t.IdleMillis)
	ctx := context.Context(x.ctx)
	if t.TotalMillis > 0 {
		ctx, x.endRoute = context.WithTimeoutCause(x.ctx, time.Duration(t.TotalMillis)*time.Millisecond, errRouteTotal)
	}
	return ctx, out
}

// outgoingHeader builds the header that goes upstream from an allow list; nothing of the caller's credential is in reach of it.
func (x *exchange) outgoingHeader(up *gatehouse.Upstream, h []outbound.Field) []outbound.Field {
	names, sent := x.sentFields()
	for i, name := range names {
		if goesUpstream(up, name) {
			h = append(h, x.outgoingField(name, sent[i]))
		}
	}
	if len(names) == 0 {
		for name, values := range x.r.Header {
			if !goesUpstream(up, name) {
				continue
			}
			for _, value := range values {
				h = append(h, x.outgoingField(name, value))
			}
		}
	}
	if coding := x.r.Header["Content-Encoding"]; x.body.stream != nil && len(coding) > 0 && coding[0] != "" {
		h = append(h, outbound.Field{Name: "Content-Encoding", Value: coding[0]}) // of a body that is passed on unread: see read
	}
	h = append(h, outbound.Field{Name: "Accept-Encoding", Value: "identity"}, outbound.Field{Name: "User-Agent", Value: "gatehouse"},
		outbound.Field{Name: "X-Client-Request-Id", Value: x.record.ID})
	if up.Dialect == gatehouse.Mock {
		// The mock keeps what projects make apart by this header.
		h = append(h, outbound.Field{Name: "OpenAI-Project", Value: x.id.Principal.Project})
	}
	return h
}

// sentFields returns the caller's header as a list of names and one of their values, where our own server has it so: a map is walked slowly.
func (x *exchange) sentFields() (names, values []string) {
	if own := x.control.own; own != nil {
		return own.RequestFields()
	}
	return nil, nil
}

// goesUpstream reports whether a field of the caller's is on the list.
func goesUpstream(up *gatehouse.Upstream, name string) bool {
	return dialect.RequestHeader(name) || up.Dialect == gatehouse.Mock && strings.HasPrefix(name, "X-Mock-")
}

func (x *exchange) outgoingField(name, value string) outbound.Field {
	if name == "Idempotency-Key" {
		value = x.idempotencyKey(value)
	}
	return outbound.Field{Name: name, Value: value}
}

// outgoingBody gives the request the caller's bytes, but for the fields the gateway owns.
func (x *exchange) outgoingBody(s *step, req *outbound.Request) (err error) {
	edit := x.call.BodyModel(s.upstream, x.hasModel, x.bodyModel, s.model)
	switch {
	case x.body.stream != nil:
		req.Reader, req.Length = x.body.stream, x.body.length
	case x.body.form != nil && x.batch != nil:
		err = x.batchForm(s, req)
	case x.batch != nil:
		x.batchBody(s, req)
	case x.body.form != nil:
		req.Reader, req.Length, err = x.formBody(edit, s.model)
	case x.body.data != nil:
		var changes strictjson.Changes
		if edit != dialect.ModelKeep {
			changes.Model = s.model
		}
		changes.ServiceTier = x.setTier
		x.answer.hide = false
		if x.stream && !x.asked && x.call.Op.InjectUsage && dialect.IncludeUsageKnown(s.upstream) {
			changes.IncludeUsage, x.answer.hide = true, true
		}
		if changes == (strictjson.Changes{}) {
			req.Body = append(x.draft.segments[:0], x.body.data)
		} else {
			req.Body = x.fields.Splice(x.draft.segments[:0], changes)
		}
	}
	return err
}

// upstreamError says to the caller what an upstream's failure means, without what only the operator may see.
func (x *exchange) upstreamError(err error) error {
	if cause := context.Cause(x.ctx); cause != nil {
		switch {
		case cause == errCut:
			if err := x.g.cfg.Auth.Recheck(&x.id); err != nil {
				return err
			}
			// It is accepted again by now.
			return &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "auth_unavailable", RetryAfterMillis: 1000, Message: "This key was not accepted for a moment. Try again.", Err: cause}
		case cause == errDraining:
			return &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "draining", RetryAfterMillis: 1000, Message: "This node is shutting down. Try again: another one answers.", Err: cause}
		case x.clientLeft():
			x.record.ClientLeft, x.record.Rule = true, "client_left"
			return errClientGone
		case errors.Is(cause, context.DeadlineExceeded):
			return &gatehouse.Error{Kind: gatehouse.Timeout, Code: "upstream_timeout", Message: "The upstream did not finish in time. Try again, or ask for less in one request.", Err: err}
		}
	}
	var oe *outbound.Error
	if errors.As(err, &oe) {
		switch {
		case oe.Op == outbound.OpBody:
			return x.bodyError(err)
		case oe.Op == outbound.OpGuard:
			return &gatehouse.Error{Kind: gatehouse.BadUpstream, Code: "upstream_address_refused", NoRetry: true, Err: err,
				Message: "The upstream's host resolves to an address that Gatehouse does not call. The operator can allow private addresses for this upstream (`allow_private`); metadata services are never called."}
		case oe.Timeout:
			return &gatehouse.Error{Kind: gatehouse.Timeout, Code: "upstream_timeout", Message: "The upstream did not answer in time. Try again.", Err: err}
		}
		return &gatehouse.Error{Kind: gatehouse.BadUpstream, Code: "upstream_unreachable", Err: err,
			Message: "The upstream could not be reached or broke the connection before it answered. Try again; `gatehouse explain " + x.record.ID + "` shows what was tried."}
	}
	var ge *gatehouse.Error
	if errors.As(err, &ge) {
		return ge
	}
	return &gatehouse.Error{Kind: gatehouse.BadUpstream, Code: "upstream_unreachable", Message: "The upstream could not be called.", Err: err}
}

// redactError keeps of a transport error what helps at 3 a.m.: the step, and the cause without addresses' credentials, for it
// never contains header or body bytes.
func redactError(err error) string {
	var oe *outbound.Error
	if errors.As(err, &oe) {
		return oe.Op + ": " + clip(oe.Err.Error())
	}
	if errors.Is(err, context.Canceled) {
		return "cancelled"
	}
	return clip(err.Error())
}

// clientLeft reports whether the caller closed its connection. The deadlines of an exchange that we end look the same from below,
// so the cause decides.
func (x *exchange) clientLeft() bool {
	cause := context.Cause(x.ctx)
	return x.r.Context().Err() != nil && cause != errCut && cause != errDraining
}
