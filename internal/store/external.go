package store

import "gatehouse"

const externalSelect = `SELECT id, organization, kind, project, name, provider, purpose, settings, status, created_at, removed_at, rev FROM externals`

func scanExternal(r row, e *gatehouse.External) error {
	var settings []byte
	if err := r.Scan(&e.ID, &e.Organization, (*string)(&e.Kind), &e.Project, &e.Name, &e.Provider, &e.Purpose, &settings, &e.Status,
		(*int64)(&e.CreatedAt), (*int64)(&e.RemovedAt), &e.Rev); err != nil {
		return err
	}
	return fromJSON("settings", settings, &e.Settings)
}

// CreateExternal stores a new external key or storage and sets its Rev, and CreatedAt where it is 0.
func (tx *Tx) CreateExternal(e *gatehouse.External) error {
	const query = `INSERT INTO externals (id, organization, kind, project, name, provider, purpose, settings, status, created_at, removed_at, rev) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1)`
	tx.stamp(&e.CreatedAt)
	return tx.create("external", e.ID, &e.Rev, query, e.ID, e.Organization, string(e.Kind), e.Project, e.Name, e.Provider, e.Purpose, asJSON(e.Settings, len(e.Settings)), e.Status,
		int64(e.CreatedAt), int64(e.RemovedAt))
}

// SaveExternal stores a changed external key or storage: Status, and RemovedAt, which once set stays.
func (tx *Tx) SaveExternal(e *gatehouse.External) error {
	const query = `UPDATE externals SET rev = rev + 1, status = $3, removed_at = $4 WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $4)`
	const exists = `SELECT rev FROM externals WHERE id = $1`
	return tx.save("external", e.ID, &e.Rev, query, exists, e.Status, int64(e.RemovedAt))
}

// External returns an external key or storage, removed or not.
func (tx *Tx) External(id string) (*gatehouse.External, error) {
	return one(tx, "external", id, scanExternal, externalSelect+` WHERE id = $1`, id)
}

// ExternalFilter says which external keys or storages a list has; what is empty does not matter.
type ExternalFilter struct {
	Kind             gatehouse.ExternalKind
	Project, Purpose string
}

// Externals returns a page of an organization's external keys or storages without removed ones.
func (tx *Tx) Externals(organization string, f ExternalFilter, p Page) ([]gatehouse.External, bool, error) {
	l := list[gatehouse.External]{what: "externals", query: externalSelect, from: "externals", age: "created_at", id: "id", scan: scanExternal}
	l.scope.and("organization = ?", organization)
	l.scope.and("kind = ?", string(f.Kind))
	l.filter = l.scope.clone()
	l.filter.and("removed_at = 0")
	if f.Project != "" {
		l.filter.and("project = ?", f.Project)
	}
	if f.Purpose != "" {
		l.filter.and("purpose = ?", f.Purpose)
	}
	return page(tx, l, p)
}

// EachExternal calls fn with every external key and storage, removed ones too, in no order.
func (tx *Tx) EachExternal(fn func(*gatehouse.External) error) error {
	return each(tx, "externals", scanExternal, fn, externalSelect)
}
