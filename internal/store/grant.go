package store

import "gatehouse"

const grantSelect = `SELECT id, organization, name, amount, priority, starts_at, expires_at, activated_at, revoked_at, issued_at, closed_at, refill, reference,
	created_at, rev FROM grants`

func scanGrant(r row, g *gatehouse.Grant) error {
	return r.Scan(&g.ID, &g.Organization, &g.Name, (*int64)(&g.Amount), &g.Priority, (*int64)(&g.StartsAt), (*int64)(&g.ExpiresAt), (*int64)(&g.ActivatedAt),
		(*int64)(&g.RevokedAt), (*int64)(&g.IssuedAt), (*int64)(&g.ClosedAt), &g.Refill, &g.Reference, (*int64)(&g.CreatedAt), &g.Rev)
}

// CreateGrant stores a new grant and sets its Rev, and CreatedAt where it is 0. A second grant of a name in the organization is a
// Conflict, for good: what was granted stays on record.
func (tx *Tx) CreateGrant(g *gatehouse.Grant) error {
	const query = `INSERT INTO grants (id, organization, name, amount, priority, starts_at, expires_at, activated_at, revoked_at, issued_at, closed_at, refill,
		reference, created_at, rev) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 1)`
	tx.stamp(&g.CreatedAt)
	return tx.create("grant", g.ID, &g.Rev, query, g.ID, g.Organization, g.Name, int64(g.Amount), g.Priority, int64(g.StartsAt), int64(g.ExpiresAt),
		int64(g.ActivatedAt), int64(g.RevokedAt), int64(g.IssuedAt), int64(g.ClosedAt), truth(g.Refill), g.Reference, int64(g.CreatedAt))
}

// SaveGrant stores a changed grant: everything but ID, Organization, Amount, Refill and CreatedAt. A grant that is closed stays as it
// is, and one that is revoked stays revoked.
func (tx *Tx) SaveGrant(g *gatehouse.Grant) error {
	const query = `UPDATE grants SET rev = rev + 1, name = $3, priority = $4, starts_at = $5, expires_at = $6, activated_at = $7, revoked_at = $8, issued_at = $9,
		closed_at = $10, reference = $11 WHERE id = $1 AND rev = $2 AND closed_at = 0 AND (revoked_at = 0 OR revoked_at = $8)`
	const exists = `SELECT rev FROM grants WHERE id = $1`
	return tx.save("grant", g.ID, &g.Rev, query, exists, g.Name, g.Priority, int64(g.StartsAt), int64(g.ExpiresAt), int64(g.ActivatedAt), int64(g.RevokedAt),
		int64(g.IssuedAt), int64(g.ClosedAt), g.Reference)
}

// Grant returns a grant, whatever became of it.
func (tx *Tx) Grant(id string) (*gatehouse.Grant, error) {
	return one(tx, "grant", id, scanGrant, grantSelect+` WHERE id = $1`, id)
}

// GrantNamed returns the grant of a name in an organization, whatever became of it.
func (tx *Tx) GrantNamed(organization, name string) (*gatehouse.Grant, error) {
	return one(tx, "grant", name, scanGrant, grantSelect+` WHERE organization = $1 AND name = $2`, organization, name)
}

// Grants returns a page of an organization's grants, whatever became of them.
func (tx *Tx) Grants(organization string, p Page) ([]gatehouse.Grant, bool, error) {
	l := list[gatehouse.Grant]{what: "grants", query: grantSelect, from: "grants", age: "created_at", id: "id", scan: scanGrant}
	l.scope.and("organization = ?", organization)
	return page(tx, l, p)
}

// OpenGrants returns an organization's grants that are not closed, oldest first.
func (tx *Tx) OpenGrants(organization string) ([]gatehouse.Grant, error) {
	return all(tx, "grants", scanGrant, grantSelect+` WHERE organization = $1 AND closed_at = 0 ORDER BY created_at, id`, organization)
}

// EachGrant calls fn with every grant, in no order.
func (tx *Tx) EachGrant(fn func(*gatehouse.Grant) error) error {
	return each(tx, "grants", scanGrant, fn, grantSelect)
}

// Refilled returns what an organization's refills granted from a point in time on.
func (tx *Tx) Refilled(organization string, from gatehouse.Millis) (gatehouse.NanoUSD, error) {
	const query = `SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM grants WHERE organization = $1 AND created_at >= $2 AND refill = 1`
	n, err := tx.number("sum refills", query, organization, int64(from))
	return gatehouse.NanoUSD(n), err
}
