package store

import (
	"cmp"
	"errors"
	"fmt"

	"gatehouse"
)

// Usage returns one settled request as it was recorded.
func (tx *Tx) Usage(id string) (*gatehouse.Usage, error) {
	const query = `SELECT body FROM usage_ids JOIN usage_pages ON usage_pages.page = usage_ids.page WHERE id = $1`
	stored := ident(id)
	body, err := one(tx, "usage", id, scanBody, query, stored)
	if err != nil {
		return nil, err
	}
	var found *gatehouse.Usage
	err = eachUsage(*body, func(u *gatehouse.Usage) error {
		if u.ID == stored {
			found, u.ID = u, id
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		return found, nil
	}
	return nil, fmt.Errorf("read usage %s: %w", id, cmp.Or(err, errDamagedPage))
}

// errFound ends the reading of a page.
var errFound = errors.New("found")

// eachUsage calls fn with every record of a page, until it returns an error.
func eachUsage(body []byte, fn func(*gatehouse.Usage) error) (err error) {
	damage := readPage(body, func(p *packer) bool {
		u := new(gatehouse.Usage)
		if p.usage(u); !p.bad {
			err = fn(u)
		}
		return err == nil
	})
	return errors.Join(damage, err)
}

// EachUsage calls fn with every settled request that is recorded, in the order of pages. It reads them all.
func (tx *Tx) EachUsage(fn func(*gatehouse.Usage) error) error {
	const query = `SELECT body FROM usage_pages ORDER BY page`
	return each(tx, "usage", scanBody, func(body *[]byte) error { return eachUsage(*body, fn) }, query)
}

func scanBody(r row, body *[]byte) error { return r.Scan(body) }

// CountUsage returns how many settled requests are recorded. It reads the whole table: for tests and repair.
func (tx *Tx) CountUsage() (int64, error) {
	return tx.number("count usage", `SELECT COUNT(*) FROM usage_ids`)
}
