// Package steward does what nobody asks for and somebody must: it looks after work that outlives the request that began it, until
// its usage is counted.
//
// Open work is in a table that all nodes share. A node claims what is due, reads the object at its own upstream, and journals what it
// used once it has ended; a claim lapses, so what a dead node held is taken up by the others, and two that look at once count once,
// because usage counts by the object's id. There is no election and no state in memory that matters.
//
// It owns when to look, and what to make of what it sees. It does not know how an object is read (the gateway does, with the
// upstream's credential), what the object means (dialect/work), or how usage is kept (ledger). Nothing here is on a request's way.
package steward

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"gatehouse"
	"gatehouse/internal/dialect/work"
	"gatehouse/internal/ledger"
	"gatehouse/internal/store"
)

// Config is what a Steward needs. Every field but Told is required.
type Config struct {
	DB     *store.DB
	Ledger *ledger.Ledger
	// Fetch reads an object of a piece of work at its upstream; path is below /v1. Its error is gatehouse.NotFound when that upstream is
	// no longer configured: then nobody can read it. The body is closed by the caller.
	Fetch func(ctx context.Context, w *gatehouse.Work, path string) (status int, body io.ReadCloser, err error)
	// Told is called when there is an event to deliver. Nil: whoever delivers looks in its own time.
	Told   func()
	Now    func() time.Time
	Logger *slog.Logger
}

const (
	// tick is how often the table is asked for what is due.
	tick = time.Second
	// looksAtOnce bounds the objects one node reads at the same time.
	looksAtOnce = 16
	// claimFor is how long a claim holds: longer than nearly every look takes, and short enough that nobody misses a dead node. A look
	// that takes longer may be repeated by another node, which costs a request.
	claimFor = 30 * time.Second
	// lookTimeout bounds a look at an object, filesTimeout the reading of a batch's files.
	lookTimeout  = time.Minute
	filesTimeout = 15 * time.Minute
	// seenFor is how long the end of work that a request has shown is kept for a row that is not in the table yet, and seenMost how
	// many such ends.
	seenFor  = 30 * time.Second
	seenMost = 4096
	// countEvery is how often the table is counted, for metrics.
	countEvery = 15 * time.Second
)

// Steward looks after work. Create it with New and run it with Run.
type Steward struct {
	cfg     Config
	wake    chan struct{}
	slots   chan struct{}
	looks   sync.WaitGroup
	metrics metrics

	mu      sync.Mutex
	looking map[string]bool // work that this node looks at now
	seen    map[string]sighting
	ended   []ending
}

// sighting is an end that a request has shown.
type sighting struct {
	report work.Report
	until  time.Time
}

// New returns a steward that is not running yet.
func New(cfg Config) *Steward {
	return &Steward{cfg: cfg, wake: make(chan struct{}, 1), slots: make(chan struct{}, looksAtOnce), looking: map[string]bool{}, seen: map[string]sighting{}}
}

// Seen takes note that a request has shown the end of work, and what it used. It does not block: where there is no room for it, the
// next look finds the same.
func (s *Steward) Seen(id string, r work.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.seen[id]; !known && len(s.seen) >= seenMost {
		return
	}
	s.seen[id] = sighting{r, s.cfg.Now().Add(seenFor)}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run looks after work until ctx ends, and returns when the last look has.
func (s *Steward) Run(ctx context.Context) {
	defer s.looks.Wait()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var counted time.Time
	for {
		s.tellEnded(ctx)
		s.takeSeen(ctx)
		s.takeDue(ctx)
		if now := s.cfg.Now(); now.Sub(counted) >= countEvery {
			counted = now
			s.count(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-s.wake:
		}
	}
}

// takeDue claims what is due and begins to look at it.
func (s *Steward) takeDue(ctx context.Context) {
	free := looksAtOnce - len(s.slots)
	if free == 0 {
		return
	}
	now := s.cfg.Now()
	list, err := s.cfg.DB.ClaimWork(ctx, store.WorkClaim{Now: gatehouse.MillisOf(now), Until: gatehouse.MillisOf(now.Add(claimFor)), Limit: free})
	if err != nil {
		if ctx.Err() == nil {
			s.cfg.Logger.Warn("work that is due cannot be claimed; it is tried again", "error", err)
		}
		return
	}
	for i := range list {
		s.begin(ctx, &list[i], nil)
	}
}

// takeSeen settles what requests have shown the end of. A row may not be in the table yet, or another node's: then it is tried again
// for a while.
func (s *Steward) takeSeen(ctx context.Context) {
	now := s.cfg.Now()
	s.mu.Lock()
	ends := make(map[string]work.Report, len(s.seen))
	for id, end := range s.seen {
		if now.After(end.until) {
			delete(s.seen, id)
		} else {
			ends[id] = end.report
		}
	}
	s.mu.Unlock()
	for id, r := range ends {
		list, err := s.cfg.DB.ClaimWork(ctx, store.WorkClaim{Now: gatehouse.MillisOf(now), Until: gatehouse.MillisOf(now.Add(claimFor)), ID: id})
		if err != nil || len(list) == 0 {
			continue
		}
		s.mu.Lock()
		delete(s.seen, id)
		s.mu.Unlock()
		s.begin(ctx, &list[0], &r)
	}
}

// begin looks at claimed work in a goroutine of its own, which ends with the look; Run waits for it. A look that takes longer than
// its claim is not begun a second time.
func (s *Steward) begin(ctx context.Context, w *gatehouse.Work, seen *work.Report) {
	s.mu.Lock()
	again := s.looking[w.ID]
	s.looking[w.ID] = true
	s.mu.Unlock()
	if again {
		return
	}
	s.slots <- struct{}{} // there is room for what was due; what was seen may wait for it
	s.looks.Go(func() {
		defer func() {
			s.mu.Lock()
			delete(s.looking, w.ID)
			s.mu.Unlock()
			<-s.slots
		}()
		s.look(ctx, w, seen)
	})
}

// look reads an object, unless a request has shown its end, and settles the work or gives it back.
func (s *Steward) look(ctx context.Context, w *gatehouse.Work, seen *work.Report) {
	log := s.cfg.Logger.With("work", w.ID, "kind", string(w.Kind), "request_id", w.Request, "upstream", w.Upstream)
	var r work.Report
	var err error
	if seen != nil {
		r = *seen
	} else if r, err = s.read(ctx, w); err == nil && !r.Ended {
		err = errGoesOn
	}
	if err == nil {
		err = s.tell(ctx, w, r.Status) // before it is settled, so that who dies in between is followed by who tells
	}
	if err == nil {
		err = s.settle(ctx, w, &r)
	}
	if err == nil {
		return
	}
	if ctx.Err() != nil {
		s.giveBack(context.WithoutCancel(ctx), log, w, s.cfg.Now()) // the node ends: another one may have it at once
		return
	}
	late := s.cfg.Now().After(w.Expires.Time())
	switch {
	case errors.Is(err, errJournal):
	case errors.Is(err, errGone) && w.Tries+1 >= goneLooks, errors.Is(err, errRemoved), late:
		log.Warn("work cannot be read to its end; it is settled at what was reserved", "error", err, "began", w.At.Time())
		if err = s.settleReserve(w); err == nil {
			return
		}
	case !errors.Is(err, errGoesOn):
		s.metrics.failed(w.Kind)
		log.Info("work could not be looked at; it is tried again", "error", err, "tries", w.Tries+1)
	}
	s.giveBack(ctx, log, w, s.cfg.Now().Add(pause(w.Kind, w.Tries+1)))
}

// tell raises the event that work has ended, for the webhook endpoints of its project.
func (s *Steward) tell(ctx context.Context, w *gatehouse.Work, status string) error {
	ev := gatehouse.WorkEvent(w, status, gatehouse.MillisOf(s.cfg.Now()))
	if ev == nil {
		return nil
	}
	raised, err := s.cfg.DB.RaiseProjectEvent(ctx, ev)
	if raised && s.cfg.Told != nil {
		s.cfg.Told()
	}
	return err
}

// Ended takes note that work has ended with the answer that began it, so that there was never a row of it. It does not block, and what is
// noted when the node dies is not told.
func (s *Steward) Ended(w *gatehouse.Work, status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ended) < seenMost {
		s.ended = append(s.ended, ending{*w, status})
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// ending is work that ended with its answer.
type ending struct {
	work   gatehouse.Work
	status string
}

// tellEnded raises the events of work that ended with its answer. What cannot be written is tried again.
func (s *Steward) tellEnded(ctx context.Context) {
	s.mu.Lock()
	list := s.ended
	s.ended = nil
	s.mu.Unlock()
	for i := range list {
		if err := s.tell(ctx, &list[i].work, list[i].status); err != nil {
			s.mu.Lock()
			s.ended = append(list[i:], s.ended...)
			s.mu.Unlock()
			return
		}
	}
}

// giveBackTimeout bounds the giving back of a claim: it lapses anyway.
const giveBackTimeout = 2 * time.Second

// giveBack ends a claim.
func (s *Steward) giveBack(ctx context.Context, log *slog.Logger, w *gatehouse.Work, next time.Time) {
	ctx, stop := context.WithTimeout(ctx, giveBackTimeout)
	defer stop()
	if err := s.cfg.DB.Record(ctx, store.Batch{WorkLater: []store.WorkLater{{ID: w.ID, Next: gatehouse.MillisOf(next)}}}); err != nil {
		log.Info("work could not be given back; its claim lapses", "error", err)
	}
}

// goneLooks is how many looks in a row must not find an object before it is gone: the first may come before it is there.
const goneLooks = 3

var (
	errGoesOn  = errors.New("it goes on")
	errGone    = errors.New("the upstream does not know the object")
	errRemoved = errors.New("the upstream is no longer configured")
	errJournal = errors.New("the journal cannot be written")
)

// pause is how long after a look the next one comes: it doubles, from what somebody who waits would choose to what a gateway with
// thousands of open pieces can bear.
func pause(k gatehouse.WorkKind, tries int64) time.Duration {
	most := time.Minute
	if k == gatehouse.WorkBatch || k == gatehouse.WorkFineTuning {
		most = 5 * time.Minute
	}
	if tries >= 9 {
		return most
	}
	return min(time.Second<<tries, most)
}
