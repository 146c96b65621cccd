package ledger

import (
	"context"
	"errors"
	"strconv"

	"gatehouse"
)

// Extend raises the bound of an open hold by more, as a stream needs it. An error is as of [Ledger.Reserve], and means that it was not
// raised: what is held already stands. It must not be called at once with Settle or another Extend of the hold.
func (h *Hold) Extend(ctx context.Context, more gatehouse.NanoUSD) error {
	if !h.Open() {
		return errNotHeld
	}
	l := h.ledger
	if err := l.accounts.Extend(ctx, h.charge.chain, more); err != nil {
		return err
	}
	raised := h.charge
	raised.Bound += more
	err := h.again(&raised, nil)
	if err != nil {
		l.accounts.Settle(h.charge.chain, more, 0)
	}
	return err
}

// Attempt is a try at a route that was sent and never answered: nobody knows what became of it, so it costs its bound.
type Attempt struct {
	Dialect       gatehouse.Dialect
	Upstream      string
	UpstreamModel string
	ServiceTier   string
	Units         gatehouse.Units // at their bounds
	// Next is what the next attempt may cost at most.
	Next gatehouse.NanoUSD
}

// Attempt settles what is held as a line of its own, at its bound, whose usage counts under the request's id, a slash and the number of
// the attempt; and holds a.Next for the next one, in the windows that the request was made in. An error is as of [Ledger.Reserve], and
// means that the next attempt must not be made. The hold stays open all the same: the request is yet to be settled.
func (h *Hold) Attempt(ctx context.Context, a *Attempt) error {
	if !h.Open() {
		return errNotHeld
	}
	l := h.ledger
	refused := l.accounts.Extend(ctx, h.charge.chain, a.Next)
	h.attempts++
	line, next := h.charge, h.charge
	line.UsageID = line.RequestID + "/" + strconv.Itoa(h.attempts)
	s := Settlement{Units: a.Units, Confidence: gatehouse.Unanswered, Bound: true, Dialect: a.Dialect, Upstream: a.Upstream, UpstreamModel: a.UpstreamModel,
		ServiceTier: a.ServiceTier}
	line.settle(&s)
	l.price(&line, &s)
	next.Bound = a.Next
	if refused != nil {
		next.Bound = 0
	}
	err := h.again(&next, func(b []byte) []byte {
		b, start := beginFrame(b, kindSettled)
		return endFrame(appendSettled(b, &line, &s), start)
	})
	if err != nil {
		// Nothing of it is journaled: the hold is what it was, and its settlement is the request's.
		h.attempts--
		l.accounts.Settle(h.charge.chain, next.Bound, 0)
		return err
	}
	l.accounts.Settle(line.chain, line.Bound, s.Cost)
	return refused
}

var errNotHeld = errors.New("the hold is not open")

// again journals what first appends, and the hold anew as c has it, in one write.
func (h *Hold) again(c *Charge, first func([]byte) []byte) error {
	l := h.ledger
	buf := l.bufs.Get().(*[]byte)
	defer l.bufs.Put(buf)
	b := (*buf)[:0]
	if first != nil {
		b = first(b)
	}
	b, start := beginFrame(b, kindHeld)
	b = endFrame(appendCharge(b, c), start)
	*buf = b
	end, err := l.journal.holdAgain(b, c, h)
	if err != nil || l.cfg.Sync > 0 {
		return err
	}
	return l.journal.syncTo(end)
}

// holdAgain appends b and makes c the charge of an open hold.
func (j *journal) holdAgain(b []byte, c *Charge, h *Hold) (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !h.open {
		return 0, errNotHeld
	}
	if err := j.append(b, c.chain); err != nil {
		return 0, unavailable(err)
	}
	h.charge = *c
	j.unlink(h)
	j.link(h)
	return j.written, nil
}
