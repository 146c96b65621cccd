package store

import (
	"context"
	"time"
)

// Clock returns the time of the database's machine, and the zero time where that is this process's own.
func (db *DB) Clock(ctx context.Context) (time.Time, error) {
	if db.engine.clock == "" {
		return time.Time{}, nil
	}
	var millis int64
	db.traced(db.engine.clock)
	if err := db.read.QueryRowContext(ctx, db.engine.clock).Scan(&millis); err != nil {
		return time.Time{}, db.fail("read the database's clock", err)
	}
	return time.UnixMilli(millis), nil
}
