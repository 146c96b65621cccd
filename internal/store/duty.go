package store

import (
	"context"

	"gatehouse"
)

// ClaimDuty makes holder the one that does what only one node should do at a time, until a moment, and reports whether it is. It is
// refused while another holds it. Holders that ask again in time keep it; a holder that is gone loses it at the moment it named.
// Claims are compared by the clocks of those who ask, so what is done under one must be guarded by itself against being done twice.
func (db *DB) ClaimDuty(ctx context.Context, name, holder string, now, until gatehouse.Millis) (mine bool, err error) {
	const query = `INSERT INTO duties (name, holder, until) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until WHERE duties.holder = excluded.holder OR duties.until <= $4`
	err = db.measure(ctx, "claim duty "+name, func(w *writer) error {
		n, err := w.exec(query, name, holder, int64(until), int64(now))
		mine = n == 1
		return err
	})
	return mine, err
}

// DropDuty ends a claim of holder, so that another may begin at once.
func (db *DB) DropDuty(ctx context.Context, name, holder string) error {
	const query = `DELETE FROM duties WHERE name = $1 AND holder = $2`
	return db.measure(ctx, "drop duty "+name, func(w *writer) error {
		_, err := w.exec(query, name, holder)
		return err
	})
}
