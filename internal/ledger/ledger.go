package ledger

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse"
	"gatehouse/internal/ledger/budget"
	"gatehouse/internal/ledger/prices"
	"gatehouse/internal/store"
)

// Config is what a Ledger needs.
type Config struct {
	// Dir is the node's data directory; the journal lives in its sub-directory "journal". It must survive a restart and belong to
	// one process: a second one that opens it is refused.
	Dir string
	// DB is where records end up.
	DB *store.DB
	// Sync is how long a record may wait for its fsync, and so what a power failure may lose; a killed process loses nothing either
	// way. 0 waits for the disk with every hold, settlement and object.
	Sync time.Duration
	// Prices is the price table to begin with; nil: the built-in one.
	Prices *prices.Table
	// Node is whose slices of budgets this ledger spends. It belongs to Dir: the slices are what the journal there is about.
	Node string
	// Everywhere reports, of a database that was restored from a backup, whether every node knows. nil: there is no other node.
	Everywhere func(context.Context) bool
	Now        func() time.Time // nil: time.Now
	Logger     *slog.Logger     // nil: no logs
}

// Ledger holds, settles and records what requests cost. Its methods may be called from any goroutine.
type Ledger struct {
	cfg      Config
	journal  journal
	accounts *budget.Accounts
	record   func(context.Context, store.Batch) error
	prices   atomic.Pointer[prices.Table]

	bufs      sync.Pool // *[]byte: records being encoded
	anonymous bucket    // refusals of callers nobody knows
	known     bucket    // refusals of callers with a good credential

	drainer drainer
	stale   bool // budgets could not be brought up to date the last time; runDrain's own
	// recovered is set while Open runs and never again.
	recovered int64
}

// Open opens the journal in cfg.Dir and recovers what an earlier process left there: torn bytes at its end are cut, requests
// that were held and never settled are settled at the reserved amount with [gatehouse.Recovered], and everything is recorded in
// the database. A database that is not there now is not an error: Run records it later. Open fails when the directory cannot be
// used, when another process has it, or when a newer Gatehouse wrote it.
func Open(ctx context.Context, cfg Config) (*Ledger, error) {
	return open(ctx, cfg, cfg.DB.Record, nil)
}

// open is Open with the two doors to the outside that tests hold shut: the database and write(2). nil: records are copied into their
// segment's room, and written with write(2) only where there is none.
func open(ctx context.Context, cfg Config, record func(context.Context, store.Batch) error, write func(*os.File, []byte) (int, error)) (*Ledger, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Prices == nil {
		cfg.Prices = prices.BuiltIn()
	}
	l := &Ledger{
		cfg:       cfg,
		record:    record,
		bufs:      sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }},
		anonymous: bucket{perSecond: 100, burst: 1000},
		known:     bucket{perSecond: 1000, burst: 10000},
	}
	l.prices.Store(cfg.Prices)
	l.drainer.init(l)
	l.accounts = budget.New(budget.Config{DB: cfg.DB, Node: cfg.Node, Now: cfg.Now, Logger: cfg.Logger, Quiet: l.drainer.quiet, Everywhere: cfg.Everywhere})
	if err := l.journal.open(&l.cfg, write); err != nil {
		return nil, err
	}
	if err := l.recover(); err != nil {
		l.journal.close()
		return nil, err
	}
	if err := l.Flush(ctx); err != nil {
		cfg.Logger.Warn("journal is not yet recorded in the database", "pending_bytes", l.Stats().PendingBytes, "error", err)
	}
	return l, nil
}

// Run records the journal in the database and syncs it to disk until ctx ends. While the database is away it tries again with
// growing pauses of at most 5 s, for as long as that takes. Run is called once and returns nil.
func (l *Ledger) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	if l.cfg.Sync > 0 {
		wg.Go(func() { l.runSync(ctx) }) // the syncer: ends with ctx
	}
	l.runDrain(ctx)
	wg.Wait()
	return nil
}

func (l *Ledger) runSync(ctx context.Context) {
	tick := time.NewTicker(l.cfg.Sync)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			// A failure is counted and logged where it happens; the journal goes on in a new segment.
			_ = l.journal.sync()
		}
	}
}

// Flush returns nil when everything journaled before it was called is in the database. It does not wait for a database that is
// away: it returns that error.
func (l *Ledger) Flush(ctx context.Context) error {
	if n := l.journal.retryUnwritten(); n > 0 {
		return unavailable(errors.New("settlements wait for a journal that can be written"))
	}
	return l.drainer.drain(ctx)
}

// Close records what can be recorded before ctx ends and closes the journal. What is left, open holds among it, is recovered by
// the next Open. Every hold and settlement after it is refused. Call it after Run has returned.
func (l *Ledger) Close(ctx context.Context) error {
	err := l.Flush(ctx)
	if err == nil {
		err = l.Flush(ctx) // passes over the checkpoint that the first may have written
	}
	if serr := l.journal.sync(); err == nil {
		err = serr
	}
	l.journal.finish(l.drainer.at())
	l.drainer.close()
	return err
}

// Prices returns the price table in use.
func (l *Ledger) Prices() *prices.Table { return l.prices.Load() }

// SetPrices makes a table the one in use: what is reserved and settled from now on is priced by it.
func (l *Ledger) SetPrices(t *prices.Table) { l.prices.Store(t) }

// Stats is the ledger's state for metrics.
type Stats struct {
	Holds            int   // requests held and not settled
	Segments         int   // files of the journal
	PendingBytes     int64 // journaled and not yet in the database
	LagMillis        int64 // age of the oldest of those, at most
	Unwritten        int   // settlements that wait for a journal that can be written
	Failing          bool  // the last write of the journal failed: nothing is admitted
	WriteErrors      int64 // failed writes and syncs of the journal
	RecordErrors     int64 // failed attempts to write a batch to the database
	Rejected         int64 // records the database refused for good, set aside in the journal's directory
	Recovered        int64 // requests settled by recovery when the ledger was opened
	DamagedBytes     int64 // bytes in the middle of the journal that could not be read
	DroppedDecisions int64 // explain records not kept: refusals beyond the rate, and any while the journal could not be written
}

// Budgets returns the state of the node's accounts.
func (l *Ledger) Budgets() budget.Stats { return l.accounts.Stats() }

// Stats returns the ledger's state now.
func (l *Ledger) Stats() Stats {
	s := l.journal.stats(l.drainer.at(), gatehouse.MillisOf(l.cfg.Now()))
	s.RecordErrors = l.drainer.errors.Load()
	s.Rejected = l.drainer.rejected.Load()
	s.Recovered = l.recovered
	s.DroppedDecisions = l.anonymous.dropped.Load() + l.known.dropped.Load()
	return s
}

// unavailable is what callers see when the journal cannot be written.
func unavailable(err error) error {
	return &gatehouse.Error{
		Kind:             gatehouse.Unavailable,
		Code:             "accounting_unavailable",
		Message:          "This request cannot be accounted for now, so it is not served: the gateway's journal cannot be written. Try again shortly; an operator should check the disk of this node.",
		RetryAfterMillis: 1000,
		Err:              err,
	}
}
