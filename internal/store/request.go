package store

import (
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
