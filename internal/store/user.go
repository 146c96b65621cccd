package store

import (
	"strings"

	"gatehouse"
)

const userSelect = `SELECT id, organization, name, email, role, technical_level, developer_persona, created_at, removed_at, rev FROM users`

func scanUser(r row, u *gatehouse.User) error {
	return r.Scan(&u.ID, &u.Organization, &u.Name, &u.Email, (*string)(&u.Role), &u.TechnicalLevel, &u.DeveloperPersona, (*int64)(&u.CreatedAt), (*int64)(&u.RemovedAt), &u.Rev)
}

// CreateUser stores a new user and sets its Rev, and CreatedAt where it is 0. A second live user with the same Email in the
// organization is a Conflict; users without an Email are not compared.
func (tx *Tx) CreateUser(u *gatehouse.User) error {
	const query = `INSERT INTO users (id, organization, name, email, role, technical_level, developer_persona, created_at, removed_at, rev)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)`
	tx.stamp(&u.CreatedAt)
	return tx.create("user", u.ID, &u.Rev, query, u.ID, u.Organization, u.Name, u.Email, string(u.Role), u.TechnicalLevel, u.DeveloperPersona, int64(u.CreatedAt), int64(u.RemovedAt))
}

// SaveUser stores a changed user: everything but ID, Organization and CreatedAt. RemovedAt, once set, stays.
func (tx *Tx) SaveUser(u *gatehouse.User) error {
	const query = `UPDATE users SET rev = rev + 1, name = $3, email = $4, role = $5, removed_at = $6, technical_level = $7, developer_persona = $8
		WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $6)`
	const exists = `SELECT rev FROM users WHERE id = $1`
	return tx.save("user", u.ID, &u.Rev, query, exists, u.Name, u.Email, string(u.Role), int64(u.RemovedAt), u.TechnicalLevel, u.DeveloperPersona)
}

// User returns a user, removed or not.
func (tx *Tx) User(id string) (*gatehouse.User, error) {
	return one(tx, "user", id, scanUser, userSelect+` WHERE id = $1`, id)
}

// Users returns a page of an organization's users without removed ones.
func (tx *Tx) Users(organization string, p Page) ([]gatehouse.User, bool, error) {
	l := list[gatehouse.User]{what: "users", query: userSelect, from: "users", age: "created_at", id: "id", scan: scanUser}
	l.scope.and("organization = ?", organization)
	l.filter = l.scope.clone()
	l.filter.and("removed_at = 0")
	return page(tx, l, p)
}

// UsersByEmail returns a page of an organization's users without removed ones, those with one of some addresses in whatever case.
func (tx *Tx) UsersByEmail(organization string, emails []string, p Page) ([]gatehouse.User, bool, error) {
	lower := make([]string, len(emails))
	for i, e := range emails {
		lower[i] = strings.ToLower(e)
	}
	l := list[gatehouse.User]{what: "users", query: userSelect, from: "users", age: "created_at", id: "id", scan: scanUser}
	l.scope.and("organization = ?", organization)
	l.filter = l.scope.clone()
	l.filter.and("removed_at = 0")
	l.filter.in("LOWER(email)", lower)
	return page(tx, l, p)
}

// EachUser calls fn with every user, removed ones too, in no order.
func (tx *Tx) EachUser(fn func(*gatehouse.User) error) error {
	return each(tx, "users", scanUser, fn, userSelect)
}

// CountActiveOwners returns how many owners an organization has. Inside Update, whose event must name the organization, the answer
// holds until commit: no other change of the organization comes between.
func (tx *Tx) CountActiveOwners(organization string) (int64, error) {
	const query = `SELECT COUNT(*) FROM users WHERE organization = $1 AND role = 'owner' AND removed_at = 0`
	if err := tx.serial("count owners", organization); err != nil {
		return 0, err
	}
	return tx.number("count owners", query, organization)
}
