package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

	"gatehouse"
)

// WorkLater gives one claimed piece of work back.
type WorkLater struct {
	ID   string
	Next gatehouse.Millis // when it is to be looked at again
}

var insertWork = insert{op: "record work", columns: 32,
	head: `INSERT INTO work (id, kind, request, organization, project, key_id, user_id, service_account, product, model, upstream_id, upstream, dialect,
		upstream_model, service_tier, batch, at, expires, input, output, video_milliseconds, poll, next, tries, claimed_until,
		priced_as, size, quality, bound, node, budgets, labels) VALUES `,
	tail: ` ON CONFLICT (id) DO NOTHING RETURNING id`}

// work inserts what has begun, ends what is counted, and gives back what was claimed. A row whose usage is recorded goes, whoever
// recorded it and when: a journal that is read a second time begins nothing again.
func (r *recorder) work(b *Batch) error {
	const done = `DELETE FROM work WHERE id = $1 AND EXISTS (SELECT 1 FROM usage_ids WHERE usage_ids.id = work.id)
		RETURNING bound, node, budgets`
	const later = `UPDATE work SET next = $2, tries = tries + 1, claimed_until = 0 WHERE id = $1`
	fresh := make(map[string]*gatehouse.Work, len(b.Work))
	began := make(map[string]bool, len(b.Work))
	ends := make(map[string]bool, len(b.Work)+len(b.WorkDone))
	for i := range b.Work {
		w := &b.Work[i]
		if w.ID == "" {
			return fmt.Errorf("record work: no id")
		}
		if id := ident(w.ID); fresh[id] == nil {
			fresh[id], ends[id] = w, true
		}
	}
	err := insertWork.run(r, slices.Sorted(maps.Keys(fresh)), func(id string) []any {
		w := fresh[id]
		return []any{id, string(w.Kind), label(w.Request), label(w.Organization), label(w.Project), label(w.Key), label(w.User), label(w.ServiceAccount),
			label(w.Product), label(w.Model), label(w.UpstreamID), label(w.Upstream), string(w.Dialect), label(w.UpstreamModel), label(w.ServiceTier), truth(w.Batch),
			int64(w.At), int64(w.Expires), w.Input, w.Output, w.VideoMilliseconds, clean(w.Poll), int64(w.Next), w.Tries, 0,
			label(w.PricedAs), label(w.Size), label(w.Quality), int64(w.Bound), w.Node, asJSON(w.Budgets, len(w.Budgets)), clean(w.Labels)}
	}, func(id string) { began[id] = true })
	if err != nil {
		return err
	}
	for _, id := range b.WorkDone {
		ends[ident(id)] = true
	}
	for _, id := range slices.Sorted(maps.Keys(ends)) {
		// What begins here and was counted before is a journal that is read again: nothing of it is open, and nothing was.
		ended, err := r.endWork(done, id, began[id] && !r.settled[id])
		if err != nil {
			return r.db.fail("end work "+id, err)
		}
		if began[id] && (!ended || r.settled[id]) {
			w := fresh[id]
			r.spend(w.Node, w.Budgets, spending{open: w.Bound})
		}
	}
	for _, w := range slices.SortedFunc(slices.Values(b.WorkLater), func(a, b WorkLater) int { return cmp.Compare(ident(a.ID), ident(b.ID)) }) {
		if err := r.exec("give work back "+ident(w.ID), later, ident(w.ID), int64(w.Next)); err != nil {
			return err
		}
	}
	return nil
}

// endWork deletes a piece of work that is counted, and reports whether it was there.
func (r *recorder) endWork(query, id string, replayed bool) (ended bool, err error) {
	r.db.traced(query)
	rows, err := r.tx.QueryContext(r.ctx, query, id)
	if err != nil {
		return false, err
	}
	defer func() { _ = rows.Close() }() // rows.Err below reports what matters
	for rows.Next() {
		ended = true
		if err := r.endedWork(rows, replayed); err != nil {
			return false, err
		}
	}
	return ended, rows.Err()
}

const workColumns = `id, kind, request, organization, project, key_id, user_id, service_account, product, model, upstream_id, upstream, dialect,
	upstream_model, service_tier, batch, at, expires, input, output, video_milliseconds, poll, next, tries,
	priced_as, size, quality, bound, node, budgets, labels`

func scanWork(r row, w *gatehouse.Work) error {
	var budgets []byte
	err := r.Scan(&w.ID, (*string)(&w.Kind), &w.Request, &w.Organization, &w.Project, &w.Key, &w.User, &w.ServiceAccount, &w.Product, &w.Model,
		&w.UpstreamID, &w.Upstream, (*string)(&w.Dialect), &w.UpstreamModel, &w.ServiceTier, &w.Batch, (*int64)(&w.At), (*int64)(&w.Expires),
		&w.Input, &w.Output, &w.VideoMilliseconds, &w.Poll, (*int64)(&w.Next), &w.Tries, &w.PricedAs, &w.Size, &w.Quality, (*int64)(&w.Bound), &w.Node, &budgets, &w.Labels)
	if err != nil {
		return err
	}
	return fromJSON("budgets", budgets, &w.Budgets)
}

// WorkClaim says which work a node asks for.
type WorkClaim struct {
	Now   gatehouse.Millis
	Until gatehouse.Millis // when the claim lapses, so that others may take what a dead node held
	Limit int              // at most so many rows, those that are due longest
	// ID, when set, claims this work alone, due or not.
	ID string
}

// ClaimWork takes work that is due and that nobody holds, and returns it. Of nodes that ask at once each gets other rows. It writes
// only where something is to be had.
func (db *DB) ClaimWork(ctx context.Context, c WorkClaim) (claimed []gatehouse.Work, err error) {
	err = db.retry(ctx, func() error {
		claimed, err = db.claimWork(ctx, c)
		return err
	})
	return claimed, err
}

func (db *DB) claimWork(ctx context.Context, c WorkClaim) ([]gatehouse.Work, error) {
	const due = `SELECT id FROM work WHERE next <= $1 AND claimed_until <= $1 ORDER BY next, id LIMIT $2`
	const claim = `UPDATE work SET claimed_until = $2 WHERE id = $3 AND claimed_until <= $1 RETURNING ` + workColumns
	ids := []string{ident(c.ID)}
	if c.ID == "" {
		ids = nil
		err := db.View(ctx, func(tx *Tx) (err error) {
			ids, err = all(tx, "work", func(r row, id *string) error { return r.Scan(id) }, due, int64(c.Now), c.Limit)
			return err
		})
		if err != nil || len(ids) == 0 {
			return nil, err
		}
	}
	sqlTx, err := db.begin(ctx, db.record, db.engine.writeTx)
	if err != nil {
		return nil, db.fail("claim work", err)
	}
	defer rollback(sqlTx)
	slices.Sort(ids) // every node takes rows in one order
	var list []gatehouse.Work
	for _, id := range ids {
		db.traced(claim)
		var w gatehouse.Work
		switch err := scanWork(sqlTx.QueryRowContext(ctx, claim, int64(c.Now), int64(c.Until), id), &w); {
		case err == sql.ErrNoRows: // another node was quicker, or it is done
		case err != nil:
			return nil, db.fail("claim work "+id, err)
		default:
			list = append(list, w)
		}
	}
	if err := sqlTx.Commit(); err != nil {
		return nil, db.fail("claim work", err)
	}
	return list, nil
}

// Work returns one open piece of work.
func (tx *Tx) Work(id string) (*gatehouse.Work, error) {
	const query = `SELECT ` + workColumns + ` FROM work WHERE id = $1`
	return one(tx, "work", id, scanWork, query, ident(id))
}

// OpenWork returns how much work is open and when the oldest began (0: there is none).
func (tx *Tx) OpenWork() (count int64, oldest gatehouse.Millis, err error) {
	if count, err = tx.number("count work", `SELECT COUNT(*) FROM work`); err != nil {
		return 0, 0, err
	}
	at, err := tx.number("find the oldest work", `SELECT COALESCE(MIN(at), 0) FROM work`)
	return count, gatehouse.Millis(at), err
}

var insertBatchInputs = insert{op: "record batch inputs", columns: 9,
	head: `INSERT INTO batch_inputs (file, project, upstream, endpoint, lines, input, output, models, created_at) VALUES `,
	tail: ` ON CONFLICT (file) DO NOTHING`}

func (r *recorder) batchInputs(b *Batch) error {
	first := make(map[string]*gatehouse.BatchInput, len(b.BatchInputs))
	for i := range b.BatchInputs {
		in := &b.BatchInputs[i]
		if in.File == "" {
			return fmt.Errorf("record batch input: no file")
		}
		if id := ident(in.File); first[id] == nil {
			first[id] = in
		}
	}
	return insertBatchInputs.run(r, slices.Sorted(maps.Keys(first)), func(id string) []any {
		in := first[id]
		return []any{id, label(in.Project), label(in.Upstream), label(in.Endpoint), in.Lines, in.Input, in.Output, asJSON(in.Models, len(in.Models)), int64(in.CreatedAt)}
	}, nil)
}

// BatchInput returns what was read of a batch's input file.
func (tx *Tx) BatchInput(file string) (*gatehouse.BatchInput, error) {
	const query = `SELECT project, upstream, endpoint, lines, input, output, models, created_at FROM batch_inputs WHERE file = $1`
	return one(tx, "batch input", file, func(r row, in *gatehouse.BatchInput) error {
		in.File = file
		var models []byte
		if err := r.Scan(&in.Project, &in.Upstream, &in.Endpoint, &in.Lines, &in.Input, &in.Output, &models, (*int64)(&in.CreatedAt)); err != nil {
			return err
		}
		return fromJSON("models", models, &in.Models)
	}, query, ident(file))
}
