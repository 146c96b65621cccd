package store

import "gatehouse"

const serviceAccountSelect = `SELECT id, organization, project, name, role, created_at, removed_at, rev FROM service_accounts`

func scanServiceAccount(r row, s *gatehouse.ServiceAccount) error {
	return r.Scan(&s.ID, &s.Organization, &s.Project, &s.Name, (*string)(&s.Role), (*int64)(&s.CreatedAt), (*int64)(&s.RemovedAt), &s.Rev)
}

// CreateServiceAccount stores a new service account and sets its Rev, and CreatedAt where it is 0. Its project must exist in its
// organization.
func (tx *Tx) CreateServiceAccount(s *gatehouse.ServiceAccount) error {
	const query = `INSERT INTO service_accounts (id, organization, project, name, role, created_at, removed_at, rev) VALUES ($1, $2, $3, $4, $5, $6, $7, 1)`
	tx.stamp(&s.CreatedAt)
	return tx.create("service account", s.ID, &s.Rev, query, s.ID, s.Organization, s.Project, s.Name, string(s.Role), int64(s.CreatedAt), int64(s.RemovedAt))
}

// SaveServiceAccount stores a changed service account: Name, Role and RemovedAt, which stays once set.
func (tx *Tx) SaveServiceAccount(s *gatehouse.ServiceAccount) error {
	const query = `UPDATE service_accounts SET rev = rev + 1, name = $3, role = $4, removed_at = $5
		WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $5)`
	const exists = `SELECT rev FROM service_accounts WHERE id = $1`
	return tx.save("service account", s.ID, &s.Rev, query, exists, s.Name, string(s.Role), int64(s.RemovedAt))
}

// ServiceAccount returns a service account, removed or not.
func (tx *Tx) ServiceAccount(id string) (*gatehouse.ServiceAccount, error) {
	return one(tx, "service account", id, scanServiceAccount, serviceAccountSelect+` WHERE id = $1`, id)
}

// ServiceAccounts returns a page of a project's service accounts without removed ones.
func (tx *Tx) ServiceAccounts(project string, p Page) ([]gatehouse.ServiceAccount, bool, error) {
	l := list[gatehouse.ServiceAccount]{what: "service accounts", query: serviceAccountSelect, from: "service_accounts", age: "created_at", id: "id", scan: scanServiceAccount}
	l.scope.and("project = ?", project)
	l.filter = l.scope.clone()
	l.filter.and("removed_at = 0")
	return page(tx, l, p)
}

// EachServiceAccount calls fn with every service account, removed ones too, in no order.
func (tx *Tx) EachServiceAccount(fn func(*gatehouse.ServiceAccount) error) error {
	return each(tx, "service accounts", scanServiceAccount, fn, serviceAccountSelect)
}
