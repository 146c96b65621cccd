package store

import (
	"context"
	"database/sql"
	"errors"

	"gatehouse"
)

// Prune deletes what organizations no longer keep at now (gatehouse.Retention): decisions behind requests, single settled requests, sums
// of minutes and of hours. It goes in small pieces, a page or a bucket in a transaction, the oldest first, so that it holds nobody up
// and may end at any moment. What is in no wider sum yet stays, and so do the sums of days.
func (db *DB) Prune(ctx context.Context, now gatehouse.Millis) error {
	kept := map[string]gatehouse.Retention{}
	var longest gatehouse.Retention
	err := db.View(ctx, func(tx *Tx) error {
		return tx.EachOrganization(func(o *gatehouse.Organization) error {
			kept[o.ID] = o.Retention.Or(gatehouse.DefaultRetention)
			longest = longest.Longer(kept[o.ID])
			return nil
		})
	})
	if err != nil {
		return err
	}
	if err := db.pruneIdempotentCalls(ctx, now); err != nil {
		return err
	}
	longest = longest.Or(gatehouse.DefaultRetention)
	before := func(days int64) gatehouse.Millis { return max(now-gatehouse.Millis(days)*dayMillis, 0) }
	err = db.eachSumOrganization(ctx, func(organization string) error {
		r := kept[organization].Or(gatehouse.DefaultRetention)
		if err := db.pruneSums(ctx, organization, minuteMillis, before(r.Minutes)); err != nil {
			return err
		}
		return db.pruneSums(ctx, organization, hourMillis, before(r.Hours))
	})
	if err != nil {
		return err
	}
	if err := db.pruneRequests(ctx, before(longest.Requests)); err != nil {
		return err
	}
	return db.pruneUsage(ctx, before(longest.Usage))
}

// pruneSums deletes an organization's closed sums of a width that are older than before, a bucket in a transaction.
func (db *DB) pruneSums(ctx context.Context, organization string, width int64, before gatehouse.Millis) error {
	for _, keyless := range []bool{true, false} {
		for more := true; more; {
			err := db.retry(ctx, func() (err error) {
				more, err = db.pruneSumBucket(ctx, organization, width, keyless, int64(before))
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// pruneSumBucket deletes the oldest bucket that ends before before, if there is one.
func (db *DB) pruneSumBucket(ctx context.Context, organization string, width int64, keyless bool, before int64) (more bool, err error) {
	const oldest = `SELECT bucket FROM rollup_pages WHERE organization = $1 AND width = $2 AND keyless = $3 AND open = 0 AND bucket < $4 ORDER BY bucket LIMIT 1`
	const drop = `DELETE FROM rollup_pages WHERE organization = $1 AND width = $2 AND keyless = $3 AND open = 0 AND bucket = $4`
	tx, err := db.begin(ctx, db.record, db.engine.writeTx)
	if err != nil {
		return false, db.fail("prune sums", err)
	}
	defer rollback(tx)
	var bucket int64
	db.traced(oldest)
	err = tx.QueryRowContext(ctx, oldest, organization, width, truth(keyless), before-max(width, hourMillis)).Scan(&bucket)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, db.fail("prune sums", err)
	}
	db.traced(drop)
	if _, err := tx.ExecContext(ctx, drop, organization, width, truth(keyless), bucket); err != nil {
		return false, db.fail("prune sums", err)
	}
	if err := tx.Commit(); err != nil {
		return false, db.fail("prune sums", err)
	}
	return true, nil
}

// pruneRequests deletes the pages whose newest request is older than before, with what finds the requests in them, a page in a
// transaction. A page that cannot be read goes all the same: what named its requests then names nothing.
func (db *DB) pruneRequests(ctx context.Context, before gatehouse.Millis) error {
	for more := true; more; {
		err := db.retry(ctx, func() (err error) {
			more, err = db.prunePage(ctx, pageAt(before))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// prunePage deletes the oldest page with a number below end, if there is one.
func (db *DB) prunePage(ctx context.Context, end int64) (more bool, err error) {
	const oldest = `SELECT page, body FROM request_pages WHERE page < $1 ORDER BY page LIMIT 1`
	const dropID = `DELETE FROM request_ids WHERE id = $1 AND page = $2`
	const dropName = `DELETE FROM request_names WHERE organization = $1 AND name = $2 AND at = $3 AND id = $4`
	const drop = `DELETE FROM request_pages WHERE page = $1`
	tx, err := db.begin(ctx, db.record, db.engine.writeTx)
	if err != nil {
		return false, db.fail("prune requests", err)
	}
	defer rollback(tx)
	var page int64
	var body []byte
	db.traced(oldest)
	switch err := tx.QueryRowContext(ctx, oldest, end).Scan(&page, &body); {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, db.fail("prune requests", err)
	}
	exec := func(query string, args ...any) error {
		db.traced(query)
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	}
	err = eachRequest(body, func(q *gatehouse.Request, own bool) error {
		if own {
			if err := exec(dropID, q.ID, page); err != nil {
				return err
			}
		}
		if q.ClientRequestID == "" {
			return nil
		}
		return exec(dropName, label(q.Organization), ident(q.ClientRequestID), int64(q.At), q.ID)
	})
	if errors.Is(err, errDamagedPage) {
		db.log.Error("page of explain records cannot be read; it is deleted with its time", "page", page, "error", err)
		err = nil
	}
	if err == nil {
		err = exec(drop, page)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return false, db.fail("prune requests", err)
	}
	return true, nil
}

// pruneUsage deletes the pages of settled requests whose newest is older than before, with their ids, a page in a transaction. Their
// sums stay.
func (db *DB) pruneUsage(ctx context.Context, before gatehouse.Millis) error {
	for more := true; more; {
		err := db.retry(ctx, func() (err error) {
			more, err = db.pruneUsagePage(ctx, pageAt(before))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// pruneUsagePage deletes the oldest page of usage with a number below end, if there is one.
func (db *DB) pruneUsagePage(ctx context.Context, end int64) (more bool, err error) {
	const oldest = `SELECT page, body FROM usage_pages WHERE page < $1 ORDER BY page LIMIT 1`
	const dropID = `DELETE FROM usage_ids WHERE id = $1 AND page = $2`
	const drop = `DELETE FROM usage_pages WHERE page = $1`
	tx, err := db.begin(ctx, db.record, db.engine.writeTx)
	if err != nil {
		return false, db.fail("prune usage", err)
	}
	defer rollback(tx)
	var page int64
	var body []byte
	db.traced(oldest)
	switch err := tx.QueryRowContext(ctx, oldest, end).Scan(&page, &body); {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, db.fail("prune usage", err)
	}
	db.traced(dropID)
	err = eachUsage(body, func(u *gatehouse.Usage) error {
		_, err := tx.ExecContext(ctx, dropID, u.ID, page)
		return err
	})
	if errors.Is(err, errDamagedPage) {
		db.log.Error("page of usage cannot be read; it is deleted with its time", "page", page, "error", err)
		err = nil
	}
	if err == nil {
		db.traced(drop)
		_, err = tx.ExecContext(ctx, drop, page)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return false, db.fail("prune usage", err)
	}
	return true, nil
}
