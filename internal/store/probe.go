package store

import "context"

// CheckWritable returns why the database does not take a change, nil when it does. It leaves nothing behind.
func (db *DB) CheckWritable(ctx context.Context) error {
	const query = `UPDATE counters SET value = value WHERE name = 'event'`
	tx, err := db.begin(ctx, db.write, db.engine.writeTx)
	if err != nil {
		return db.fail("begin a change", err)
	}
	defer rollback(tx)
	db.traced(query)
	if _, err := tx.ExecContext(ctx, query); err != nil {
		return db.fail("write", err)
	}
	return nil
}
