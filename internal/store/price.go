package store

import "gatehouse"

const priceSelect = `SELECT id, organization, upstream, dialect, model, effective_from, terms, note, created_at, removed_at, rev FROM prices`

func scanPrice(r row, p *gatehouse.Price) error {
	return r.Scan(&p.ID, &p.Organization, &p.Upstream, (*string)(&p.Dialect), &p.Model, (*int64)(&p.From), &p.Terms, &p.Note, (*int64)(&p.CreatedAt),
		(*int64)(&p.RemovedAt), &p.Rev)
}

// CreatePrice stores a new price and sets its Rev, and CreatedAt where it is 0. A second live price of the same upstream or dialect,
// model and time in the organization is a Conflict.
func (tx *Tx) CreatePrice(p *gatehouse.Price) error {
	const query = `INSERT INTO prices (id, organization, upstream, dialect, model, effective_from, terms, note, created_at, removed_at, rev)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1)`
	tx.stamp(&p.CreatedAt)
	return tx.create("price", p.ID, &p.Rev, query, p.ID, p.Organization, p.Upstream, string(p.Dialect), p.Model, int64(p.From), p.Terms, p.Note,
		int64(p.CreatedAt), int64(p.RemovedAt))
}

// SavePrice stores a changed price: Terms, Note and RemovedAt, which stays once set.
func (tx *Tx) SavePrice(p *gatehouse.Price) error {
	const query = `UPDATE prices SET rev = rev + 1, terms = $3, note = $4, removed_at = $5 WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $5)`
	const exists = `SELECT rev FROM prices WHERE id = $1`
	return tx.save("price", p.ID, &p.Rev, query, exists, p.Terms, p.Note, int64(p.RemovedAt))
}

// Price returns a price, removed or not.
func (tx *Tx) Price(id string) (*gatehouse.Price, error) {
	return one(tx, "price", id, scanPrice, priceSelect+` WHERE id = $1`, id)
}

// Prices returns an organization's prices without removed ones, by model, whose they are and time.
func (tx *Tx) Prices(organization string) ([]gatehouse.Price, error) {
	return all(tx, "prices", scanPrice, priceSelect+` WHERE organization = $1 AND removed_at = 0 ORDER BY model, upstream, dialect, effective_from`, organization)
}

// EachPrice calls fn with every price, removed ones too, in no order.
func (tx *Tx) EachPrice(fn func(*gatehouse.Price) error) error {
	return each(tx, "prices", scanPrice, fn, priceSelect)
}
