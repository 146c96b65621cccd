package gateway

import (
	"context"
	"errors"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/dialect/usage"
	"gatehouse/internal/gateway/outbound"
	"gatehouse/internal/ledger"
)

// holdMore takes more from the budgets for a stream that has used up what is held for it: half as much again. An error means that there
// is no more.
func (x *exchange) holdMore() error {
	for x.tap.TextBytes() > x.watch {
		of := x.pricedAt(x.answer.step)
		more, ok := x.g.cfg.Ledger.Prices().Bound(&of, &gatehouse.Units{Output: x.growth, OutputAudio: x.spokenPart(x.growth)})
		if !ok {
			x.watch = unwatched // its price went away while it ran: it is settled as it comes
			return nil
		}
		if err := x.hold.Extend(x.ctx, more); err != nil {
			return err
		}
		x.charge.Bound += more
		x.watch += x.growth * usualToken
	}
	return nil
}

func (x *exchange) spokenPart(tokens int64) int64 {
	if x.ask.Spoken {
		return tokens
	}
	return 0
}

// cutForMoney ends a stream whose hold and budgets are used up: the caller gets the event of an error, the upstream's connection is
// closed, and what passed is settled.
func (x *exchange) cutForMoney(err error) error {
	if x.ctx.Err() != nil {
		return x.broken(err) // nobody waits for it any more
	}
	e := asError(err)
	if e == nil {
		e = &gatehouse.Error{Kind: gatehouse.Internal, Err: err}
	}
	x.aborted = true
	x.record.Rule, x.record.Detail = firstOf(e.Code, e.Kind.String()), "the stream was cut when what was held for it and the rest of a budget were used up"
	if e.Err != nil {
		x.record.Detail += ": " + redactError(e.Err)
	}
	x.g.metrics.cut.Add(1)
	x.lastEvent(e)
	return nil
}

// lastEvent settles a stream and ends it with the event of an error, which SDKs raise.
func (x *exchange) lastEvent(e *gatehouse.Error) {
	form := dialect.EventNamed
	if x.call.Op.Usage == usage.Chat || x.call.Op.Usage == usage.Completions {
		form = dialect.EventUnnamed
	}
	if err := x.settle(); err != nil {
		x.g.cfg.Logger.Error("settlement waits for the journal", "request_id", x.record.ID, "error", err)
	}
	if x.write(dialect.AppendStreamError(nil, x.call.Face, form, e)) == nil {
		_ = x.flush() // the caller may be gone; nothing more can be done for it
	}
}

// unansweredBy reports whether an attempt was sent whole and never answered, so that nobody knows what became of it. A caller that left
// ended it itself.
func (x *exchange) unansweredBy(err error) bool {
	oe, ok := errors.AsType[*outbound.Error](err)
	return ok && oe.Op == outbound.OpHead && x.held && !x.settled && !x.clientLeft() && context.Cause(x.ctx) != errCut
}

// lose settles an attempt that was never answered as a line of its own, at its bound, and holds again for the next one where there is
// one. An error means that the next attempt must not be made.
func (x *exchange) lose(next *step) error {
	s := x.answer.step
	lost := ledger.Attempt{Dialect: s.upstream.Dialect, Upstream: s.upstream.Name, UpstreamModel: s.model, ServiceTier: x.tier,
		Units: gatehouse.Units{Input: x.charge.Input, Output: x.charge.Output, VideoMilliseconds: x.charge.VideoMilliseconds}}
	if x.batch == nil {
		most, _, _ := x.mostAt(s)
		lost.Units = most.Units
	}
	if next != nil {
		lost.Next = x.charge.Bound
	}
	err := x.hold.Attempt(x.ctx, &lost)
	switch {
	case err == nil:
		x.consumed = false // what it may have cost is counted
		return nil
	case gatehouse.KindOf(err) == gatehouse.RateLimited:
		x.consumed = false
		x.record.Detail = "an attempt was never answered and counts at its bound; no budget had room to hold another: " + redactError(err)
	case next == nil:
		x.g.cfg.Logger.Error("an attempt that was never answered is settled as an estimate", "request_id", x.record.ID, "error", err)
		return nil
	}
	return err
}
