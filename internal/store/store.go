// Package store owns every row and all SQL: the two engines, the schema and its migrations, the transaction in which a change and
// its event commit together, and the batches in which measurements arrive. It does not decide anything: who may change what is
// admin's, what a request may do is authn's and the gateway's, and what a node believes between two reads is the catalog's.
//
// There are three ways in, and no other:
//
//   - View reads one consistent snapshot.
//   - Update makes a control change: the mutation, its event and the event's number commit together or not at all.
//   - Record writes measurements, which have no event; it reaches no control table. ClaimWork is its twin for the one measurement
//     that nodes share out among themselves, and MergeSums, FoldSums and Prune keep what was recorded small.
//
// SQLite serves one node, PostgreSQL any number. One set of queries serves both (docs/adr/0003-portable-sql.md).
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse"
)

// Config is what Open needs besides the URL.
type Config struct {
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: nothing is logged
	// Exclusive refuses to open a SQLite database that another process holds exclusively: one node, one process. It locks a
	// file beside the database until Close. PostgreSQL ignores it.
	Exclusive bool
}

// DB is an open database. It is safe for concurrent use.
type DB struct {
	engine engine
	write  *sql.DB // Update and Migrate
	record *sql.DB // Record; apart, so that changes waiting for each other cannot keep a node from renewing its lease
	read   *sql.DB // View
	now    func() time.Time
	log    *slog.Logger
	stmts  statements
	trace  func(query string) // tests look at every query; nil otherwise
	// recordedSums is how many pages of sums this process has written since it last merged them.
	recordedSums atomic.Int64

	mu       sync.Mutex
	lock     io.Closer         // guarded by mu; nil without a lock file and after Close
	onCommit []func(seq int64) // guarded by mu
	onRecord []func(*Batch)    // guarded by mu
	// seen is when this process last wrote that a key was used from a network; guarded by mu.
	seen map[NetworkUse]gatehouse.Millis
}

// Open opens the database at url: sqlite:PATH or postgres://... (in pgx's syntax, all parameters included). It does not create
// the schema; Migrate does. A database that cannot be reached is Unavailable, a URL that makes no sense is Invalid.
func Open(ctx context.Context, url string, cfg Config) (*DB, error) {
	db := &DB{now: cfg.Now, log: cfg.Logger}
	if db.now == nil {
		db.now = time.Now
	}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if err := db.open(ctx, url, cfg.Exclusive); err != nil {
		_ = db.Close() // the error that matters is the one that stopped Open
		return nil, err
	}
	return db, nil
}

// Close ends the connections and gives the lock back. Transactions that are not committed are gone. Closing again does nothing.
func (db *DB) Close() error {
	var errs []error
	db.stmts.close()
	// The writer goes last: SQLite moves the write-ahead log into the database when its last connection closes.
	for _, pool := range []*sql.DB{db.read, db.record, db.write} {
		if pool != nil {
			errs = append(errs, pool.Close())
		}
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.lock != nil {
		errs = append(errs, db.lock.Close())
		db.lock = nil
	}
	return errors.Join(errs...)
}

// Engine returns "sqlite" or "postgres".
func (db *DB) Engine() string { return db.engine.name }

// OnCommit registers f to be called after every Update of this DB that committed, with the last event's number. Calls come from
// the goroutines that called Update, possibly at once and out of order; f must not block.
func (db *DB) OnCommit(f func(seq int64)) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.onCommit = append(db.onCommit, f)
}

// OnRecord registers f to be called after every Record of this DB that committed, before it returns, with what was recorded unless
// that was Again. Calls come from the goroutines that called Record, possibly at once.
func (db *DB) OnRecord(f func(*Batch)) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.onRecord = append(db.onRecord, f)
}

// View calls fn with a snapshot: everything fn reads is as of one moment between two commits. A write in fn fails.
func (db *DB) View(ctx context.Context, fn func(*Tx) error) error {
	sqlTx, err := db.begin(ctx, db.read, db.engine.readTx)
	if err != nil {
		return db.fail("begin a read", err)
	}
	defer rollback(sqlTx)
	return fn(db.newTx(ctx, sqlTx, false))
}

// Update makes one control change. It calls fn in a transaction, then writes ev and every event that fn emitted with the next
// numbers, then commits: when any of it fails, nothing has happened. It returns the number of the last event, after the
// functions of OnCommit have run.
//
// Update fills the event's Seq, ID and At; Type must be set. Changes of one organization (ev.Organization) run one after another,
// so that fn may read and decide; changes of different organizations may overlap. PostgreSQL may ask for another try, so fn may
// be called more than once, each time with nothing done: it must have no effect but through its Tx.
//
// An error of fn is returned as it is. When the connection broke during commit the error is Unavailable and the change may or may
// not have happened: the caller reads again before it concludes anything.
func (db *DB) Update(ctx context.Context, ev gatehouse.Event, fn func(*Tx) error) (int64, error) {
	if ev.Type == "" {
		return 0, errors.New("update without an event type")
	}
	var seq int64
	err := db.retry(ctx, func() (err error) {
		seq, err = db.update(ctx, ev, fn)
		return err
	})
	if err != nil {
		return 0, err
	}
	db.mu.Lock()
	hooks := db.onCommit
	db.mu.Unlock()
	for _, f := range hooks {
		f(seq)
	}
	return seq, nil
}

func (db *DB) update(ctx context.Context, ev gatehouse.Event, fn func(*Tx) error) (seq int64, err error) {
	sqlTx, err := db.begin(ctx, db.write, db.engine.writeTx)
	if err != nil {
		return 0, db.fail("begin a change", err)
	}
	defer rollback(sqlTx)
	if err := db.engine.serialize(ctx, sqlTx, ev.Organization); err != nil {
		return 0, db.fail("begin a change", err)
	}
	tx := db.newTx(ctx, sqlTx, true)
	tx.begin(ev)
	defer func() {
		if err != nil {
			tx.undo()
		}
	}()
	if err := fn(tx); err != nil {
		if errors.Is(tx.failed, errAgain) {
			return 0, tx.failed // whatever fn made of it
		}
		return 0, err
	}
	if tx.failed != nil {
		return 0, tx.failed
	}
	if seq, err = tx.writeEvents(); err != nil {
		return 0, err
	}
	if err := sqlTx.Commit(); err != nil {
		return 0, db.fail("commit a change", err)
	}
	return seq, nil
}

// maxTries bounds how often a transaction that the engine asks to repeat is tried. Retries wait up to 10 ms, 20 ms, 40 ms, ...
// 640 ms with full jitter: about 0.6 s in all on average.
const maxTries = 8

// retry calls try until it does not ask for another try.
func (db *DB) retry(ctx context.Context, try func() error) error {
	for n := 0; ; n++ {
		err := try()
		if err == nil || !errors.Is(err, errAgain) {
			return err
		}
		if n+1 == maxTries {
			return &gatehouse.Error{Kind: gatehouse.Unavailable, Message: "The database is too busy to make this change. Try again.", Err: err}
		}
		wait := time.NewTimer(rand.N(10 * time.Millisecond << n))
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-wait.C:
		}
	}
}

// errAgain marks an error after which the whole transaction may be tried again.
var errAgain = errors.New("transaction must be repeated")

// fail says what an engine's error means. op is what was being done, in the form "save project proj_1".
func (db *DB) fail(op string, err error) error {
	if _, ok := errors.AsType[*gatehouse.Error](err); ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	err = fmt.Errorf("%s: %w", op, err)
	switch db.engine.classify(err) {
	case faultAgain:
		return errors.Join(errAgain, err)
	case faultDuplicate:
		return &gatehouse.Error{Kind: gatehouse.Conflict, Message: "It exists already.", Err: err}
	case faultReference:
		return &gatehouse.Error{Kind: gatehouse.NotFound, Message: "It names something that does not exist in this organization.", Err: err}
	case faultCheck:
		return &gatehouse.Error{Kind: gatehouse.Invalid, Message: "The combination of fields is not allowed.", Err: err}
	case faultUnavailable:
		return &gatehouse.Error{Kind: gatehouse.Unavailable, Message: "The database is not available. Try again.", Err: err}
	}
	return err
}

// rollback ends a transaction that did not commit. After a commit, and after a cancelled context, there is nothing left to end.
func rollback(tx *sql.Tx) { _ = tx.Rollback() }
