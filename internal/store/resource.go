package store

import "gatehouse"

const resourceSelect = `SELECT id, organization, project, name, region, created_at, removed_at, rev FROM resources`

func scanResource(r row, v *gatehouse.Resource) error {
	return r.Scan(&v.ID, &v.Organization, &v.Project, &v.Name, &v.Region, (*int64)(&v.CreatedAt), (*int64)(&v.RemovedAt), &v.Rev)
}

// CreateResource stores a new resource and sets its Rev, and CreatedAt where it is 0. Its project must exist in its organization;
// a second live resource of the same name in the project is a Conflict.
func (tx *Tx) CreateResource(r *gatehouse.Resource) error {
	const query = `INSERT INTO resources (id, organization, project, name, region, created_at, removed_at, rev) VALUES ($1, $2, $3, $4, $5, $6, $7, 1)`
	tx.stamp(&r.CreatedAt)
	return tx.create("resource", r.ID, &r.Rev, query, r.ID, r.Organization, r.Project, r.Name, r.Region, int64(r.CreatedAt), int64(r.RemovedAt))
}

// SaveResource stores a changed resource: Name, Region and RemovedAt, which stays once set.
func (tx *Tx) SaveResource(r *gatehouse.Resource) error {
	const query = `UPDATE resources SET rev = rev + 1, name = $3, region = $4, removed_at = $5
		WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $5)`
	const exists = `SELECT rev FROM resources WHERE id = $1`
	return tx.save("resource", r.ID, &r.Rev, query, exists, r.Name, r.Region, int64(r.RemovedAt))
}

// Resource returns a resource, removed or not.
func (tx *Tx) Resource(id string) (*gatehouse.Resource, error) {
	return one(tx, "resource", id, scanResource, resourceSelect+` WHERE id = $1`, id)
}

// Resources returns a page of an organization's resources, or of one of its projects, without removed ones.
func (tx *Tx) Resources(organization, project string, p Page) ([]gatehouse.Resource, bool, error) {
	l := list[gatehouse.Resource]{what: "resources", query: resourceSelect, from: "resources", age: "created_at", id: "id", scan: scanResource}
	if l.scope.and("organization = ?", organization); project != "" {
		l.scope.and("project = ?", project)
	}
	l.filter = l.scope.clone()
	l.filter.and("removed_at = 0")
	return page(tx, l, p)
}

// EachResource calls fn with every resource, removed ones too, in no order.
func (tx *Tx) EachResource(fn func(*gatehouse.Resource) error) error {
	return each(tx, "resources", scanResource, fn, resourceSelect)
}

// ResourceKeys returns the keys of a resource that are not revoked, at most one in each slot, in the order of slots.
func (tx *Tx) ResourceKeys(resource string) ([]gatehouse.Key, error) {
	return all(tx, "keys of a resource", scanKey, keySelect+` WHERE owner_resource = $1 AND revoked_at = 0 ORDER BY slot`, resource)
}
