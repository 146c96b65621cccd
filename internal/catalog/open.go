package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// Config is what a Catalog is opened with. DB and Node are required.
type Config struct {
	DB *store.DB
	// Node is the node's name. Processes that share one by mistake do no harm: each has a row of its own among the nodes.
	Node string
	// Lock names something only one live process can hold, and this one does: an id kept in the data directory whose lock file is
	// held. Rows of earlier holders are dropped, so that after a crash and a restart nobody waits for a lease that died with its
	// process. Empty: such rows count as possibly live until max_staleness has passed.
	Lock string
	// MaxStaleness is how long the node serves without hearing from the database; 0: DefaultMaxStaleness.
	MaxStaleness time.Duration
	// SingleNode says that no other process uses the database (SQLite): there are no leases and no rows among the nodes.
	SingleNode bool
	// Pepper returns the highest version of the pepper that this node knows, which it tells the others; nil: it says nothing.
	Pepper func() int
	Now    func() time.Time     // the wall clock; nil: time.Now
	Boot   func() time.Duration // time since boot, suspension included; nil: CLOCK_BOOTTIME
	Logger *slog.Logger         // nil: nothing is logged
	Waker  Waker                // nil: a Loopback
	// Keeper is told every event in order, before any other node hears that it is applied. Nil: nobody is.
	Keeper *Keeper
}

// Keeper keeps what the node applies, for a restore of the database.
type Keeper struct {
	// Last returns the number of the last event that was kept, 0 before the first.
	Last func() int64
	// Begin says that keeping begins after an event.
	Begin func(seq int64)
	// Read looks at events up to a number in the snapshot in which the catalog read them. What it returns is called once they are
	// applied.
	Read func(tx *store.Tx, epoch, last int64, events []gatehouse.Event) (keep func(), err error)
}

// Open loads everything and, unless the node is single, takes the first lease: a Catalog that Open returned is Fresh. The
// database must be there. Call Run next.
func Open(ctx context.Context, cfg Config) (*Catalog, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Boot == nil {
		cfg.Boot = bootTime
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Waker == nil {
		cfg.Waker = NewLoopback()
	}
	cfg.MaxStaleness = cmp.Or(cfg.MaxStaleness, DefaultMaxStaleness)
	if cfg.MaxStaleness < 0 {
		return nil, gatehouse.InvalidParam("max_staleness", "Invalid 'max_staleness': it must be positive.")
	}
	if cfg.Pepper == nil {
		cfg.Pepper = func() int { return 0 }
	}
	clock := clock{boot: cfg.Boot, wall: cfg.Now}
	place := cfg.Node + "/" + cfg.Lock + "/"
	c := &Catalog{
		db:       cfg.DB,
		logger:   cfg.Logger,
		waker:    cfg.Waker,
		single:   cfg.SingleNode,
		pepper:   cfg.Pepper,
		keeper:   cfg.Keeper,
		lease:    leaseholder{clock: clock, length: cfg.MaxStaleness},
		lag:      lag{boot: cfg.Boot},
		nodes:    newNodes(clock, place+gatehouse.RandomBase62(8)),
		advanced: make(chan struct{}),
		batch:    batchSize,
	}
	all, err := load(ctx, c.db)
	if err != nil {
		return nil, fmt.Errorf("load the catalog: %w", err)
	}
	c.replica, c.epoch, c.lastID = all.replica, all.epoch, all.lastID
	c.lag.apply(all.last)
	c.applied.Store(all.last)
	if err := c.keepUp(ctx, all.epoch, all.last); err != nil {
		return nil, fmt.Errorf("keep what was committed before this start: %w", err)
	}
	c.db.OnCommit(func(seq int64) {
		c.lag.commit(seq)
		c.waker.Wake(seq)
	})
	if c.single {
		return c, nil
	}
	if cfg.Lock != "" {
		if err := c.dropHolders(ctx, place); err != nil {
			return nil, fmt.Errorf("drop the rows of earlier processes: %w", err)
		}
	}
	// Events of the time it took to load may have to be applied before the lease counts, and more may commit meanwhile.
	for range 10 {
		if _, err := c.pass(ctx); err != nil {
			return nil, fmt.Errorf("take the first lease: %w", err)
		}
		if c.lease.stands() {
			return c, nil
		}
	}
	return nil, errors.New("take the first lease: the database changes faster than this node can follow, or answers more slowly than max_staleness")
}

// dropHolders drops the rows of earlier processes in a place that this process holds now.
func (c *Catalog) dropHolders(ctx context.Context, place string) error {
	view, err := c.nodes.list(ctx, c.db, c.nodes.clock.boot())
	if err != nil {
		return err
	}
	for id := range view.rows {
		if strings.HasPrefix(id, place) {
			if err := c.db.Record(ctx, store.Batch{DropNode: id}); err != nil {
				return err
			}
		}
	}
	return nil
}

// loaded is a whole database in memory.
type loaded struct {
	replica *replica
	epoch   int64
	last    int64  // the sequence of the last event
	lastID  string // and its id
}

// load reads everything. The sequence is read first: what commits later is in the rows already or is applied again, which K4
// makes harmless. Owners are read before what they own, so that their ids are shared.
func load(ctx context.Context, db *store.DB) (loaded, error) {
	r := newReplica()
	l := loaded{replica: r}
	err := db.View(ctx, func(tx *store.Tx) (err error) {
		if l.epoch, err = tx.Epoch(); err != nil {
			return err
		}
		if err := tx.Restoring(); err != nil {
			return err
		}
		if l.last, err = tx.LastSeq(); err != nil {
			return err
		}
		events, err := tx.EventsAfter(max(l.last-1, 0), 1)
		if err != nil {
			return err
		}
		if len(events) == 1 && events[0].Seq == l.last {
			l.lastID = events[0].ID
		}
		err = errors.Join(
			loadAll(r, tx.EachOrganization, (*replica).putOrganization),
			loadAll(r, tx.EachProject, (*replica).putProject),
			loadAll(r, tx.EachUser, (*replica).putUser),
			loadAll(r, tx.EachProjectUser, (*replica).putMember),
			loadAll(r, tx.EachGroup, (*replica).putGroup),
			loadAll(r, tx.EachGroupUser, (*replica).putGroupUser),
			loadAll(r, tx.EachRole, (*replica).putRole),
			loadAll(r, tx.EachAssignment, (*replica).putAssignment),
			loadAll(r, tx.EachServiceAccount, (*replica).putAccount),
			loadAll(r, tx.EachResource, (*replica).putResource),
			loadAll(r, tx.EachCertificate, (*replica).putCertificate),
			loadAll(r, tx.LoadKeys, (*replica).putKey),
			loadAll(r, tx.EachUpstream, (*replica).putUpstream),
			loadAll(r, tx.EachDeployment, (*replica).putDeployment),
			loadAll(r, tx.EachBudget, (*replica).putBudget),
			loadAll(r, tx.EachLimit, (*replica).putLimit),
			loadAll(r, tx.EachPrice, (*replica).putPrice),
		)
		if err != nil {
			return err
		}
		r.compile()
		return nil
	})
	return l, err
}

func loadAll[V any](r *replica, each func(func(*V) error) error, put func(*replica, *V) outcome) error {
	return each(func(row *V) error {
		put(r, row)
		return nil
	})
}
