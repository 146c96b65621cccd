package ledger

import (
	"bytes"
	"context"
	"errors"

	"gatehouse"
	"gatehouse/internal/ledger/budget"
	"gatehouse/internal/ledger/prices"
)

// Charge is what a request may cost, before its first byte goes upstream. Its strings must not change until the hold is
// settled.
type Charge struct {
	RequestID      string
	UsageID        string // for work that outlives its request the upstream object's id; empty: RequestID
	Organization   string
	Project        string
	Key            string
	User           string // owner of the key, when a user
	ServiceAccount string // owner of the key, when a service account
	Product        string // "completions", "embeddings", ...: OpenAI's usage endpoint this counts in
	Model          string // the deployment the caller asked for
	// Dialect, Upstream, UpstreamModel and ServiceTier are the first route's, as far as they are known.
	Dialect       gatehouse.Dialect
	Upstream      string
	UpstreamModel string // empty: Model is what the price is looked up by
	ServiceTier   string
	PricedAs      string // the model's name in the table of prices, where the route says one
	Size          string // of images and videos, as asked for, then as answered
	Quality       string // of images
	Source        string // of images, as in gatehouse.Usage
	Labels        string // what the caller said in headers, as in gatehouse.Usage; nothing that decides looks at it
	Batch         bool
	At            gatehouse.Millis
	Input         int64 // upper bound in tokens
	Output        int64 // upper bound in tokens
	// VideoMilliseconds is the length of the videos asked for.
	VideoMilliseconds int64
	// Bound is what the request may cost at most, whatever is made of it, and BoundKnown that there is such an amount. A request without
	// one reserves nothing in a budget.
	Bound      gatehouse.NanoUSD
	BoundKnown bool
	// Budgets bind the request: what [catalog.Catalog.Budgets] says of its key. The slice is not changed.
	Budgets []*gatehouse.Budget

	chain *budget.Chain // Budgets in the windows the request was made in; nil: none
	work  bool          // it is the end of work, settled without a hold
}

// Settlement is what a request turned out to be.
type Settlement struct {
	// Request is the decision behind the request. What the charge and the settlement say already (id, time, organization, project,
	// key, upstream model, units, cost, confidence) is taken from there. nil: there is no explain record.
	Request *gatehouse.Request
	// Released says that the upstream never consumed anything: no usage row, only the decision.
	Released bool
	// Work, when set, says that the upstream goes on: no usage row now, the decision says Pending, and the work is recorded as open.
	// Its ID, Kind, UpstreamID, Expires, Poll and Next are the caller's; the rest is the charge's, as the settlement corrects it.
	Work       *gatehouse.Work
	Units      gatehouse.Units
	Confidence gatehouse.Confidence
	// Bound says that the request costs what was reserved, because nobody knows better: not what its units come to.
	Bound bool
	// Keep says that the usage is incomplete: what stays of the hold is kept until it is released or its windows end.
	Keep bool
	// What follows replaces the charge's value when it is not empty.
	UsageID       string
	Product       string
	Dialect       gatehouse.Dialect
	Upstream      string
	UpstreamModel string // what the upstream says it ran, and what the price is looked up by
	ServiceTier   string
	Size          string
	Quality       string
	Batch         bool
	// PricedAs goes with Upstream: where that is set, it replaces the charge's also when it is empty.
	PricedAs string
	// Cost and CostKnown are filled in by Settle.
	Cost      gatehouse.NanoUSD
	CostKnown bool

	kept gatehouse.NanoUSD
}

// Hold is one reservation. It is a value of the caller's: the zero Hold is ready for Reserve, and a settled one may be used for
// the next request. It must not be copied or reused between Reserve and Settle.
type Hold struct {
	ledger *Ledger
	charge Charge

	// Guarded by the journal's mutex.
	open       bool
	attempts   int    // that were settled as lines of their own
	segment    uint64 // where its newest held record is
	prev, next *Hold  // the journal's list of open holds
	settled    []byte // a settlement that could not be written yet; the hold then belongs to the journal
}

// Reserve holds what the request of c may cost at most in its budgets, journals it, and makes h its hold. It allocates nothing. An error is
// a refusal of a budget, gatehouse.RateLimited, which may be final or not; or [gatehouse.Unavailable]: the journal cannot be written, or a
// budget has to be asked for in the database and that does not answer. Either way the request must not be served.
//
// ctx bounds the waiting for the database, which only a request waits for that would else be refused.
func (l *Ledger) Reserve(ctx context.Context, c *Charge, h *Hold) error {
	if c.RequestID == "" {
		return errors.New("reserve: the charge has no request id")
	}
	if !c.BoundKnown {
		if err := budget.Unpriced(c.Budgets); err != nil {
			return err
		}
	}
	var err error
	if c.chain, err = l.accounts.Reserve(ctx, c.Budgets, c.At, c.Bound); err != nil {
		c.chain = nil
		return err
	}
	buf := l.bufs.Get().(*[]byte)
	b, start := beginFrame((*buf)[:0], kindHeld)
	b = endFrame(appendCharge(b, c), start)
	end, err := l.journal.hold(b, l, c, h)
	*buf = b
	l.bufs.Put(buf)
	if err != nil {
		l.accounts.Settle(c.chain, c.Bound, 0)
		return err
	}
	if l.cfg.Sync > 0 {
		return nil
	}
	if err := l.journal.syncTo(end); err != nil {
		// The record may be on disk or not. Nothing goes upstream, so if it is, it must not be recovered as a cost.
		_ = h.Settle(&Settlement{Released: true}) // when this fails too the journal keeps it and tries again
		return err
	}
	return nil
}

// Settle journals what the request cost, prices it (s.Cost), and ends the hold. Only the first call does; every other returns
// nil, as does one on a zero Hold. An error is [gatehouse.Unavailable]: the settlement is not on disk yet, so the answer must
// not be completed; the ledger keeps it and writes it as soon as it can, and should the process die before, recovery settles the
// reserved amount. Either way the hold is over.
func (h *Hold) Settle(s *Settlement) error {
	l := h.ledger
	if l == nil {
		return nil
	}
	c := h.charge
	c.settle(s)
	s.kept = 0
	if s.Work != nil {
		s.Units, s.Confidence = gatehouse.Units{}, gatehouse.Pending
		c.begin(s.Work)
		if s.Request != nil {
			s.Request.Work = s.Work.ID
		}
	} else if !s.Released {
		l.price(&c, s)
	}
	buf := l.bufs.Get().(*[]byte)
	b, start := beginFrame((*buf)[:0], kindSettled)
	b = endFrame(appendSettled(b, &c, s), start)
	end, first, err := l.journal.settle(b, h)
	*buf = b
	l.bufs.Put(buf)
	if first {
		l.accounts.Settle(c.chain, c.Bound, c.counts(s))
	}
	if err != nil || l.cfg.Sync > 0 || end == 0 {
		return err
	}
	return l.journal.syncTo(end)
}

// price fills in what a settlement costs, and what is kept of the hold.
func (l *Ledger) price(c *Charge, s *Settlement) {
	if s.Bound && c.BoundKnown {
		s.Cost, s.CostKnown = c.Bound, true
		return
	}
	of := c.Priced()
	s.Cost, s.CostKnown = l.Prices().Cost(&of, &s.Units)
	if s.Confidence == gatehouse.Estimated && s.Units == (gatehouse.Units{}) {
		s.CostKnown = false // nothing could be counted, which is not to say that it cost nothing
	}
	if !s.CostKnown {
		s.Cost = 0
	}
	s.kept = 0
	if s.Keep {
		s.kept = max(0, c.Bound-s.Cost)
	}
}

// counts returns what of a hold counts as spent once it is settled: of work that goes on its bound.
func (c *Charge) counts(s *Settlement) gatehouse.NanoUSD {
	switch {
	case s.Work != nil:
		return c.Bound
	case s.Released:
		return 0
	}
	return s.Cost + s.kept
}

// Open reports whether the hold is reserved and not settled.
func (h *Hold) Open() bool {
	if h.ledger == nil {
		return false
	}
	j := &h.ledger.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	return h.open
}

// settle overlays what the settlement knows better.
func (c *Charge) settle(s *Settlement) {
	set := func(to *string, v string) {
		if v != "" {
			*to = v
		}
	}
	if s.Upstream != "" {
		c.PricedAs = s.PricedAs
	}
	set(&c.UsageID, s.UsageID)
	set(&c.Product, s.Product)
	set(&c.Upstream, s.Upstream)
	set(&c.UpstreamModel, s.UpstreamModel)
	set(&c.ServiceTier, s.ServiceTier)
	set(&c.Size, s.Size)
	set(&c.Quality, s.Quality)
	if s.Dialect != "" {
		c.Dialect = s.Dialect
	}
	c.Batch = c.Batch || s.Batch
}

// begin fills in what work inherits from the request that began it.
func (c *Charge) begin(w *gatehouse.Work) {
	w.Request, w.Organization, w.Project, w.Key, w.User, w.ServiceAccount = c.RequestID, c.Organization, c.Project, c.Key, c.User, c.ServiceAccount
	w.Product, w.Model, w.Upstream, w.Dialect, w.UpstreamModel, w.ServiceTier = c.Product, c.Model, c.Upstream, c.Dialect, c.UpstreamModel, c.ServiceTier
	w.PricedAs, w.Size, w.Quality, w.Labels = c.PricedAs, c.Size, c.Quality, c.Labels
	w.Batch, w.At, w.Input, w.Output, w.VideoMilliseconds = c.Batch, c.At, c.Input, c.Output, c.VideoMilliseconds
	w.Bound = c.Bound
	if c.chain != nil {
		w.Node, w.Budgets = c.chain.Node, c.chain.Windows
	}
}

// Priced says what is priced, for the table.
func (c *Charge) Priced() prices.Of {
	of := prices.Of{Organization: c.Organization, Dialect: c.Dialect, Upstream: c.Upstream, Model: c.Model, Tier: c.ServiceTier,
		Size: c.Size, Quality: c.Quality, At: c.At}
	switch {
	case c.PricedAs != "":
		of.Model = c.PricedAs
	case c.UpstreamModel != "":
		of.Model = c.UpstreamModel
	}
	if c.Batch {
		of.Tier = prices.Batch
	}
	return of
}

// Decide journals the decision behind a request that was never held: a refusal, or an operation that costs nothing. It never
// fails a request. Refusals beyond 100 a second (1,000 at once) of callers without a good credential, and beyond 1,000 a second
// (10,000 at once) of others, are counted and not kept, so that nobody can fill a disk by being refused.
func (l *Ledger) Decide(r *gatehouse.Request) {
	if r.ID == "" {
		return // nobody could ask for it
	}
	if r.Rule != RuleServed {
		b := &l.known
		if r.Key == "" {
			b = &l.anonymous
		}
		if !b.take(l.cfg.Now()) {
			return
		}
	}
	buf := l.bufs.Get().(*[]byte)
	b, start := beginFrame((*buf)[:0], kindDecision)
	b = endFrame(appendRefusal(b, r), start)
	if _, err := l.journal.write(b, nil); err != nil {
		l.anonymous.dropped.Add(1)
	}
	*buf = b
	l.bufs.Put(buf)
}

// RuleServed is the rule of a request that was served; any other says why one was not.
const RuleServed = "served"

// RuleRecovered is the rule of a request whose node ended before it settled.
const RuleRecovered = "recovered"

// Own journals that an object belongs to a project. An error is [gatehouse.Unavailable]: the answer that names the object must
// not be completed.
func (l *Ledger) Own(o gatehouse.Object) error { return l.object(kindOwn, &o) }

// Disown journals that a project's object is gone: o.ID and o.Project say which, o.DeletedAt when.
func (l *Ledger) Disown(o gatehouse.Object) error { return l.object(kindDisown, &o) }

func (l *Ledger) object(k kind, o *gatehouse.Object) error {
	if o.ID == "" {
		return errors.New("journal an object: it has no id")
	}
	b, start := beginFrame(nil, k)
	end, err := l.journal.write(endFrame(appendObject(b, o), start), nil)
	if err != nil || l.cfg.Sync > 0 {
		return err
	}
	return l.journal.syncTo(end)
}

// hold appends b and links h as open.
func (j *journal) hold(b []byte, l *Ledger, c *Charge, h *Hold) (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if h.open {
		return 0, errors.New("reserve: the hold is in use")
	}
	if err := j.append(b, c.chain); err != nil {
		return 0, unavailable(err)
	}
	h.ledger, h.charge, h.open, h.attempts, h.settled = l, *c, true, 0, nil
	j.link(h)
	return j.written, nil
}

// settle appends b and unlinks h, unless h was settled before: first says that it was not.
func (j *journal) settle(b []byte, h *Hold) (end int64, first bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !h.open {
		return 0, false, nil
	}
	h.open = false
	err = j.append(b, h.charge.chain)
	if err == nil {
		j.unlink(h)
		return j.written, true, nil
	}
	// The caller's Hold is about to be reused; one of the journal's own takes its place until the record can be written.
	kept := &Hold{ledger: h.ledger, charge: h.charge.clone(), open: true, segment: h.segment, settled: bytes.Clone(b)}
	j.replace(h, kept)
	j.unwritten++
	return 0, true, unavailable(err)
}

// retryUnwritten writes the settlements that could not be written before, and returns how many still wait.
func (j *journal) retryUnwritten() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.unwritten == 0 || j.closed {
		return 0
	}
	for h := j.first; h != nil; {
		next := h.next
		if h.settled != nil {
			if err := j.append(h.settled, h.charge.chain); err != nil {
				break
			}
			j.unlink(h)
			j.unwritten--
		}
		h = next
	}
	return j.unwritten
}

// link puts h at the end of the list of open holds, which is in the order of their segments.
func (j *journal) link(h *Hold) {
	h.segment = j.segments[len(j.segments)-1].number
	h.prev, h.next = j.last, nil
	if j.last == nil {
		j.first = h
	} else {
		j.last.next = h
	}
	j.last = h
	j.holds++
}

func (j *journal) unlink(h *Hold) {
	if h.prev == nil {
		j.first = h.next
	} else {
		h.prev.next = h.next
	}
	if h.next == nil {
		j.last = h.prev
	} else {
		h.next.prev = h.prev
	}
	h.prev, h.next = nil, nil
	j.holds--
}

// replace puts by in h's place.
func (j *journal) replace(h, by *Hold) {
	by.prev, by.next = h.prev, h.next
	if h.prev == nil {
		j.first = by
	} else {
		h.prev.next = by
	}
	if h.next == nil {
		j.last = by
	} else {
		h.next.prev = by
	}
	h.prev, h.next = nil, nil
}

// clone returns c with strings of its own.
func (c *Charge) clone() Charge {
	texts := *c
	texts.chain = nil
	d, err := decodeCharge(appendCharge(nil, &texts), payloadVersion, nil)
	if err != nil {
		// What appendCharge wrote decodes; TestRecords holds it to that.
		return *c
	}
	d.Budgets, d.chain = c.Budgets, c.chain // the one part that nobody reuses
	return d
}
