package store

import (
	"context"
	"database/sql"
	"errors"

	"gatehouse"
)

// Request returns the record of one request by our id.
func (tx *Tx) Request(id string) (*gatehouse.Request, error) {
	// Which of the two has an id is known only when one is asked. Where both do, the request's own page is the one with its decision.
	const query = `SELECT body FROM request_ids JOIN request_pages ON request_pages.page = request_ids.page WHERE id = $1`
	const settled = `SELECT body FROM usage_ids JOIN request_pages ON request_pages.page = usage_ids.page WHERE id = $1`
	id = ident(id)
	for _, query := range []string{query, settled} {
		body, err := one(tx, "request", id, scanBody, query, id)
		if gatehouse.KindOf(err) == gatehouse.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		var found *gatehouse.Request
		err = eachRequest(*body, func(q *gatehouse.Request, _ bool) error {
			if q.ID == id {
				found = q
				return errFound
			}
			return nil
		})
		if errors.Is(err, errFound) {
			return found, nil
		}
		if err != nil {
			return nil, tx.db.fail("read request "+id, err)
		}
	}
	return nil, notFound("request", id)
}

// RequestNamed returns the newest request of an organization that its client gave this id.
func (tx *Tx) RequestNamed(organization, name string) (*gatehouse.Request, error) {
	const query = `SELECT id FROM request_names WHERE organization = $1 AND name = $2 ORDER BY at DESC, id DESC LIMIT 1`
	name = ident(name)
	id, err := one(tx, "request", name, func(r row, id *string) error { return r.Scan(id) }, query, label(organization), name)
	if err != nil {
		return nil, err
	}
	return tx.Request(*id)
}

// eachRequest calls fn with every record of a page and whether its id is in request_ids, until it returns an error.
func eachRequest(body []byte, fn func(q *gatehouse.Request, own bool) error) (err error) {
	damage := readPage(body, func(p *packer) bool {
		q, own := new(gatehouse.Request), false
		if p.request(q, &own); !p.bad {
			err = fn(q, own)
		}
		return err == nil
	})
	return errors.Join(damage, err)
}

// EachRequest calls fn with every decision that is recorded, in the order of pages. It reads them all.
func (tx *Tx) EachRequest(fn func(*gatehouse.Request) error) error {
	const query = `SELECT body FROM request_pages ORDER BY page`
	return each(tx, "requests", scanBody, func(body *[]byte) error {
		return eachRequest(*body, func(q *gatehouse.Request, _ bool) error { return fn(q) })
	}, query)
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
