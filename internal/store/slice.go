package store

import (
	"context"
	"database/sql"
	"errors"

	"gatehouse"
)

// TakeSlice asks for a part of what is left of a budget's window.
type TakeSlice struct {
	Window gatehouse.BudgetWindow
	Node   string
	Now    gatehouse.Millis
	// Seed is what was spent without slices as of some moment before, see Tx.SpentOutside.
	Seed gatehouse.NanoUSD
	// Owed is what the node has spent and holds: its slice becomes that in any case, because it is so.
	Owed gatehouse.NanoUSD
	// Need is the least that is of use, and Want the most. Need 0 takes what there is. Request is what the request may cost that waits for
	// it: Need is what its node lacks for that.
	Need    gatehouse.NanoUSD
	Want    gatehouse.NanoUSD
	Request gatehouse.NanoUSD
}

// Slice is what came of it.
type Slice struct {
	Granted gatehouse.NanoUSD // to the node, in all
	Amount  gatehouse.NanoUSD // of the budget now
	Others  gatehouse.NanoUSD // what was spent but for the node's own slice, what is open and kept included
	Left    gatehouse.NanoUSD // what nobody has been granted and nobody spent
	Recall  int64
	Refused bool // there was not as much as Need
}

// TakeSlice gives a node more of a budget's window. What all nodes have been granted and not given back never comes to more than the
// budget's amount at the time, but for what was owed. The window's row is the lock; nobody else takes it, so that nodes wait for each
// other here and nowhere.
func (db *DB) TakeSlice(ctx context.Context, t TakeSlice) (s Slice, err error) {
	err = db.retry(ctx, func() error {
		s, err = db.takeSlice(ctx, &t)
		return err
	})
	return s, err
}

func (db *DB) takeSlice(ctx context.Context, t *TakeSlice) (Slice, error) {
	const budget = budgetSelect + ` WHERE id = $1`
	const window = `INSERT INTO budget_windows (budget, window_start, window_end, seed, seeded_at, recall, created_at) VALUES ($1, $2, $3, $4, $5, 0, $6)
		ON CONFLICT (budget, window_start) DO UPDATE SET seed = CASE WHEN budget_windows.seed < excluded.seed THEN excluded.seed ELSE budget_windows.seed END,
		seeded_at = CASE WHEN budget_windows.seeded_at = 0 THEN excluded.seeded_at ELSE budget_windows.seeded_at END
		RETURNING seed, recall`
	const grant = `INSERT INTO budget_slices (budget, window_start, node, granted, used, open_work, kept) VALUES ($1, $2, $3, $4, 0, 0, 0)
		ON CONFLICT (budget, window_start, node) DO UPDATE SET granted = excluded.granted`
	const recall = `UPDATE budget_windows SET recall = recall + 1 WHERE budget = $1 AND window_start = $2`
	tx, err := db.begin(ctx, db.record, db.engine.writeTx)
	if err != nil {
		return Slice{}, db.fail("take a slice", err)
	}
	defer rollback(tx)
	fail := func(err error) (Slice, error) {
		return Slice{}, db.fail("take a slice of budget "+t.Window.Budget, err)
	}
	var b gatehouse.Budget
	db.traced(budget)
	if err := scanBudget(tx.QueryRowContext(ctx, budget, t.Window.Budget), &b); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			return Slice{}, notFound("budget", t.Window.Budget)
		}
		return fail(err)
	}
	s := Slice{Amount: b.AmountAt(t.Now)}
	var seed gatehouse.NanoUSD
	db.traced(window)
	err = tx.QueryRowContext(ctx, window, t.Window.Budget, int64(t.Window.Start), int64(t.Window.End), int64(t.Seed), int64(t.Now), int64(t.Now)).Scan((*int64)(&seed), &s.Recall)
	if err != nil {
		return fail(err)
	}
	var own gatehouse.NanoUSD
	s.Left, s.Others = s.Amount-seed, seed
	err = db.eachSlice(ctx, tx, t.Window, func(row *SliceRow) {
		if row.Node == t.Node {
			s.Granted, own = row.Granted, row.Spent()
			return
		}
		s.Others += row.Spent()
		s.Left -= max(row.Granted, row.Spent())
	})
	if err != nil {
		return fail(err)
	}
	before := s.Granted
	s.Granted = max(s.Granted, own, t.Owed)
	s.Left -= s.Granted
	switch {
	case t.Need > 0 && s.Left < t.Need:
		s.Refused = true
		if s.Others+own+t.Request <= s.Amount {
			// Others may hold it without need.
			db.traced(recall)
			if _, err := tx.ExecContext(ctx, recall, t.Window.Budget, int64(t.Window.Start)); err != nil {
				return fail(err)
			}
			s.Recall++
		}
	case s.Left > 0:
		n := min(s.Left, max(t.Need, t.Want))
		s.Granted += n
		s.Left -= n
	}
	if s.Granted != before {
		db.traced(grant)
		if _, err := tx.ExecContext(ctx, grant, t.Window.Budget, int64(t.Window.Start), t.Node, int64(s.Granted)); err != nil {
			return fail(err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fail(err)
	}
	return s, nil
}

// SliceRow is what a node holds of a window.
type SliceRow struct {
	Node    string
	Granted gatehouse.NanoUSD
	Used    gatehouse.NanoUSD
	Open    gatehouse.NanoUSD // the bounds of work that goes on
	Kept    gatehouse.NanoUSD // of holds whose usage is incomplete
}

// Spent returns what counts as spent of it.
func (s *SliceRow) Spent() gatehouse.NanoUSD { return s.Used + s.Open + s.Kept }

func (db *DB) eachSlice(ctx context.Context, tx *sql.Tx, w gatehouse.BudgetWindow, fn func(*SliceRow)) error {
	const query = `SELECT node, granted, used, open_work, kept FROM budget_slices WHERE budget = $1 AND window_start = $2`
	db.traced(query)
	rows, err := tx.QueryContext(ctx, query, w.Budget, int64(w.Start))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err below reports what matters
	for rows.Next() {
		var s SliceRow
		if err := rows.Scan(&s.Node, (*int64)(&s.Granted), (*int64)(&s.Used), (*int64)(&s.Open), (*int64)(&s.Kept)); err != nil {
			return err
		}
		fn(&s)
	}
	return rows.Err()
}

// ReturnSlice gives back what a node does not need of a window, unless more of its slice is spent than would stay.
func (db *DB) ReturnSlice(ctx context.Context, w gatehouse.BudgetWindow, node string, back gatehouse.NanoUSD) error {
	const query = `UPDATE budget_slices SET granted = granted - $4 WHERE budget = $1 AND window_start = $2 AND node = $3 AND granted - $4 >= used + open_work + kept`
	return db.recordOne(ctx, "give back a slice of budget "+w.Budget, query, w.Budget, int64(w.Start), node, int64(back))
}

// RaiseSeed raises what a window says was spent without slices to what was found to be, and notes when.
func (db *DB) RaiseSeed(ctx context.Context, w gatehouse.BudgetWindow, seed gatehouse.NanoUSD, at gatehouse.Millis) error {
	const query = `UPDATE budget_windows SET seeded_at = $4, seed = CASE WHEN seed < $3 THEN $3 ELSE seed END WHERE budget = $1 AND window_start = $2`
	return db.recordOne(ctx, "seed budget "+w.Budget, query, w.Budget, int64(w.Start), int64(seed), int64(at))
}

// recordOne runs one statement that measures.
func (db *DB) recordOne(ctx context.Context, op, query string, args ...any) error {
	return db.retry(ctx, func() error {
		db.traced(query)
		if _, err := db.record.ExecContext(ctx, query, args...); err != nil {
			return db.fail(op, err)
		}
		return nil
	})
}
