package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"gatehouse"
)

// Batch is measurements to record. Every part may be empty.
type Batch struct {
	Usage    []gatehouse.Usage
	Charges  []Charge // of what is in Usage
	Requests []gatehouse.Request
	LastUsed map[string]gatehouse.Millis     // by key id
	Networks map[NetworkUse]gatehouse.Millis // where keys were used from, and when last
	Objects  []gatehouse.Object
	Deleted  []ObjectRef
	// Work is what has begun. What is finished already, because its usage is recorded, stays finished.
	Work []gatehouse.Work
	// WorkDone are the ids of work whose usage is in Usage: it ends with that.
	WorkDone []string
	// WorkLater gives claimed work back, to be looked at again.
	WorkLater   []WorkLater
	BatchInputs []gatehouse.BatchInput
	Node        *NodeBeat // renews the node's row
	DropNode    string    // removes the row of the node with this id
	// DropIncarnation, when set, removes the row of DropNode only while it belongs to this process: another one may have taken the
	// name since.
	DropIncarnation string
	// Health replaces what a process last said of its routes.
	Health *gatehouse.NodeHealth
	Folder *ReplayFolder // renews the row of a node's replay files
	Again  bool          // it was recorded before: OnRecord's functions are not called
}

// ObjectRef names an object that its project deleted.
type ObjectRef struct {
	ID      string
	Project string
	At      gatehouse.Millis
}

// NodeBeat is what a node says of itself when it renews.
type NodeBeat struct {
	ID                 string
	AppliedSeq         int64  // the last event the node has applied
	MaxStalenessMillis int64  // how long the node goes on without a renewal
	Incarnation        string // of the process, new with every start
	PepperVersion      int64  // the highest version of the pepper it knows
}

// Record writes a batch in one transaction, or nothing of it. A batch may be recorded again after an error or a crash: usage
// counts once by its ID (the first one stands), and so do the sums and requests; a key's last use and an object's deletion only move
// forward. Text that no database can store is made storable.
//
// An object whose id another project owns already stays that project's: it is logged and the rest of the batch is recorded.
func (db *DB) Record(ctx context.Context, b Batch) error {
	if err := db.retry(ctx, func() error { return db.recordBatch(ctx, &b) }); err != nil {
		return err
	}
	db.saw(&b)
	db.mu.Lock()
	hooks := db.onRecord
	db.mu.Unlock()
	for _, f := range hooks {
		if !b.Again {
			f(&b)
		}
	}
	return nil
}

func (db *DB) recordBatch(ctx context.Context, b *Batch) error {
	if len(b.Usage)+len(b.Requests)+len(b.LastUsed)+len(b.Networks)+len(b.Objects)+len(b.Deleted)+len(b.Work)+len(b.WorkDone)+len(b.WorkLater)+len(b.BatchInputs) == 0 && b.Node == nil && b.DropNode == "" && b.Folder == nil && b.Health == nil {
		return nil
	}
	stmts, err := db.stmts.prepare(ctx, db.record, db.engine.placeholder)
	if err != nil {
		return db.fail("prepare a record", err)
	}
	sqlTx, err := db.begin(ctx, db.record, db.engine.writeTx)
	if err != nil {
		return db.fail("begin a record", err)
	}
	defer rollback(sqlTx)
	r := recorder{ctx: ctx, db: db, tx: sqlTx, stmts: stmts}
	// Every node takes rows in one order, table by table and by key within: so they wait for each other and never in a circle.
	for _, part := range []func(*Batch) error{r.node, r.health, r.folder, r.measured, r.activity, r.lastUsed, r.networks, r.objects, r.deleted, r.batchInputs, r.work, r.charges} {
		if err := part(b); err != nil {
			return err
		}
	}
	if err := sqlTx.Commit(); err != nil {
		return db.fail("commit a record", err)
	}
	db.recordedSums.Add(r.sums)
	for _, o := range r.foreign {
		db.log.Warn("object belongs to another project already", "object_id", o.ID, "kind", o.Kind, "project", o.Project)
	}
	return nil
}

// recorder writes one batch.
type recorder struct {
	ctx     context.Context // of the call of Record, which it does not outlive
	db      *DB
	tx      *sql.Tx
	stmts   map[statementKey]*sql.Stmt
	foreign []gatehouse.Object // objects refused because another project has them

	args     []any           // for inserts, used again by the next
	inserted int64           // rows by the inserts so far
	page     int64           // where this batch's usage and requests go
	settled  map[string]bool // ids of the usage that this batch recorded, as they are stored; false: its charge is counted
	spent    map[sliceKey]spending
	ends     map[sliceKey]gatehouse.Millis // of the windows in spent, without their nodes
	sums     int64                         // pages of sums that this batch wrote
	// What this batch recorded and none before it.
	freshUsage    []*gatehouse.Usage
	freshRequests []*gatehouse.Request
}

func (r *recorder) exec(op, query string, args ...any) error {
	r.db.traced(query)
	if _, err := r.tx.ExecContext(r.ctx, query, args...); err != nil {
		return r.db.fail(op, err)
	}
	return nil
}

func (r *recorder) node(b *Batch) error {
	const renew = `INSERT INTO nodes (id, incarnation, applied_seq, beat, max_staleness_millis, pepper_version) VALUES ($1, $2, $3, 1, $4, $5)
		ON CONFLICT (id) DO UPDATE SET incarnation = excluded.incarnation, applied_seq = excluded.applied_seq, beat = nodes.beat + 1,
		max_staleness_millis = excluded.max_staleness_millis, pepper_version = excluded.pepper_version`
	const drop = `DELETE FROM nodes WHERE id = $1`
	const dropOwn = `DELETE FROM nodes WHERE id = $1 AND incarnation = $2`
	if n := b.Node; n != nil {
		if err := r.exec("renew node "+n.ID, renew, n.ID, n.Incarnation, n.AppliedSeq, n.MaxStalenessMillis, n.PepperVersion); err != nil {
			return err
		}
	}
	switch {
	case b.DropNode == "":
		return nil
	case b.DropIncarnation == "":
		return r.exec("drop node "+b.DropNode, drop, b.DropNode)
	}
	return r.exec("drop node "+b.DropNode, dropOwn, b.DropNode, b.DropIncarnation)
}

var insertLastUsed = insert{op: "record last use", columns: 2,
	head: `INSERT INTO key_use (key_id, last_used_at) VALUES `,
	tail: ` ON CONFLICT (key_id) DO UPDATE SET last_used_at = excluded.last_used_at,
		slept_from = CASE WHEN excluded.last_used_at - key_use.last_used_at >= 86400000 THEN key_use.last_used_at ELSE key_use.slept_from END,
		woke_at = CASE WHEN excluded.last_used_at - key_use.last_used_at >= 86400000 THEN excluded.last_used_at ELSE key_use.woke_at END
		WHERE key_use.last_used_at < excluded.last_used_at`}

func (r *recorder) lastUsed(b *Batch) error {
	return insertLastUsed.run(r, slices.Sorted(maps.Keys(b.LastUsed)), func(key string) []any {
		return []any{key, int64(b.LastUsed[key])}
	}, nil)
}

var insertObjects = insert{op: "record objects", columns: 8,
	head: `INSERT INTO objects (id, project, upstream, kind, deployment, model, created_at, deleted_at) VALUES `,
	tail: ` ON CONFLICT (id) DO NOTHING RETURNING id`}

// objects inserts the objects that are new and finds out which of the others are another project's.
func (r *recorder) objects(b *Batch) error {
	const owner = `SELECT project FROM objects WHERE id = $1`
	first := make(map[string]*gatehouse.Object, len(b.Objects))
	for i := range b.Objects {
		o := &b.Objects[i]
		if o.ID == "" {
			return fmt.Errorf("record object: no id")
		}
		if _, twice := first[ident(o.ID)]; !twice {
			first[ident(o.ID)] = o
		}
	}
	r.foreign = nil
	fresh := make(map[string]bool, len(first))
	err := insertObjects.run(r, slices.Sorted(maps.Keys(first)), func(id string) []any {
		o := first[id]
		return []any{id, label(o.Project), label(o.Upstream), label(o.Kind), label(o.Deployment), label(o.Model), int64(o.CreatedAt), int64(o.DeletedAt)}
	}, func(id string) { fresh[id] = true })
	if err != nil {
		return err
	}
	for i := range b.Objects {
		o := &b.Objects[i]
		id := ident(o.ID)
		if fresh[id] && first[id].Project == o.Project {
			continue
		}
		var project string
		r.db.traced(owner)
		if err := r.tx.QueryRowContext(r.ctx, owner, id).Scan(&project); err != nil {
			return r.db.fail("record object "+id, err)
		}
		if project != label(o.Project) {
			r.foreign = append(r.foreign, *o)
		}
	}
	return nil
}

func (r *recorder) deleted(b *Batch) error {
	const query = `UPDATE objects SET deleted_at = $3 WHERE id = $1 AND project = $2 AND deleted_at = 0`
	refs := slices.SortedFunc(slices.Values(b.Deleted), func(a, b ObjectRef) int { return cmp.Compare(ident(a.ID), ident(b.ID)) })
	for _, ref := range refs {
		if err := r.exec("delete object "+ident(ref.ID), query, ident(ref.ID), label(ref.Project), int64(ref.At)); err != nil {
			return err
		}
	}
	return nil
}

// maxLabel bounds a text that is part of a key: PostgreSQL refuses index entries over 2,704 bytes, and the key of the sums has
// eight texts.
const maxLabel = 256

// label returns s as it is stored where it describes a measurement: valid, and at most maxLabel bytes.
func label(s string) string {
	s = clean(s)
	if len(s) <= maxLabel {
		return s
	}
	end := maxLabel
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

// ident returns an id that others made as it is stored: itself, or its hash where it is too long or no text, so that two ids never
// become one.
func ident(id string) string {
	if len(id) <= maxLabel && clean(id) == id {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "sha256:" + hex.EncodeToString(sum[:])
}
