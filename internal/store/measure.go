package store

import (
	"context"
	"database/sql"
)

// writer is one transaction that changes measurements and not what Record takes: claims, marks, the queue of deliveries.
type writer struct {
	ctx context.Context // of the call that made it, which it does not outlive
	db  *DB
	tx  *sql.Tx
	op  string
}

// measure runs fn in one transaction over measurements, which makes no event. fn may be called again after an engine asked for it.
func (db *DB) measure(ctx context.Context, op string, fn func(*writer) error) error {
	return db.retry(ctx, func() error {
		tx, err := db.begin(ctx, db.record, db.engine.writeTx)
		if err != nil {
			return db.fail(op, err)
		}
		defer rollback(tx)
		if err := fn(&writer{ctx, db, tx, op}); err != nil {
			return db.fail(op, err)
		}
		if err := tx.Commit(); err != nil {
			return db.fail(op, err)
		}
		return nil
	})
}

// exec runs a statement and returns how many rows it touched.
func (w *writer) exec(query string, args ...any) (int64, error) {
	w.db.traced(query)
	res, err := w.tx.ExecContext(w.ctx, query, searchable(args)...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
