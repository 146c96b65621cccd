package store

import (
	"context"
	"database/sql"
)

// maxIdle is how many connections of a pool wait for work.
const maxIdle = 4

// begin begins a transaction. A connection that broke while it waited for work, as all do when a database fails over, is found out
// here, before anything was asked for: the next one is taken, until one is new. A database that cannot be connected to is an error
// at once.
func (db *DB) begin(ctx context.Context, pool *sql.DB, options *sql.TxOptions) (*sql.Tx, error) {
	for n := 0; ; n++ {
		tx, err := pool.BeginTx(ctx, options)
		if err == nil || n > maxIdle || ctx.Err() != nil || !db.engine.broken(err) {
			return tx, err
		}
	}
}
