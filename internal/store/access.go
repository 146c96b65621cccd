package store

import (
	"cmp"
	"slices"
	"strings"

	"gatehouse"
)

const roleSelect = `SELECT id, organization, project, name, description, permissions, created_at, removed_at, rev FROM access_roles`

func scanRole(r row, v *gatehouse.AccessRole) error {
	var permissions []byte
	if err := r.Scan(&v.ID, &v.Organization, &v.Project, &v.Name, &v.Description, &permissions, (*int64)(&v.CreatedAt), (*int64)(&v.RemovedAt), &v.Rev); err != nil {
		return err
	}
	return fromJSON("permissions", permissions, &v.Permissions)
}

// CreateRole stores a new role and sets its Rev, and CreatedAt where it is 0. A second live role of the same name in its place is a
// Conflict.
func (tx *Tx) CreateRole(v *gatehouse.AccessRole) error {
	const query = `INSERT INTO access_roles (id, organization, project, name, description, permissions, created_at, removed_at, rev) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1)`
	tx.stamp(&v.CreatedAt)
	return tx.create("role", v.ID, &v.Rev, query, v.ID, v.Organization, v.Project, v.Name, v.Description, asJSON(v.Permissions, len(v.Permissions)), int64(v.CreatedAt), int64(v.RemovedAt))
}

// SaveRole stores a changed role: name, description, permissions and RemovedAt, which once set stays.
func (tx *Tx) SaveRole(v *gatehouse.AccessRole) error {
	const query = `UPDATE access_roles SET rev = rev + 1, name = $3, description = $4, permissions = $5, removed_at = $6 WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $6)`
	const exists = `SELECT rev FROM access_roles WHERE id = $1`
	return tx.save("role", v.ID, &v.Rev, query, exists, v.Name, v.Description, asJSON(v.Permissions, len(v.Permissions)), int64(v.RemovedAt))
}

// Role returns a role that somebody made, removed or not.
func (tx *Tx) Role(id string) (*gatehouse.AccessRole, error) {
	return one(tx, "role", id, scanRole, roleSelect+` WHERE id = $1`, id)
}

// RoleNamed returns the role of a name in a project, or where project is empty in the organization, that was not removed.
func (tx *Tx) RoleNamed(organization, project, name string) (*gatehouse.AccessRole, error) {
	return one(tx, "role", name, scanRole, roleSelect+` WHERE organization = $1 AND project = $2 AND name = $3 AND removed_at = 0`, organization, project, name)
}

// Roles returns a page of the roles that somebody made in a project, or where project is empty in the organization, without removed ones.
func (tx *Tx) Roles(organization, project string, p Page) ([]gatehouse.AccessRole, bool, error) {
	l := list[gatehouse.AccessRole]{what: "roles", query: roleSelect, from: "access_roles", age: "created_at", id: "id", scan: scanRole}
	l.scope.and("organization = ? AND project = ?", organization, project)
	l.filter = l.scope.clone()
	l.filter.and("removed_at = 0")
	return page(tx, l, p)
}

// EachRole calls fn with every role that somebody made, removed ones too, in no order.
func (tx *Tx) EachRole(fn func(*gatehouse.AccessRole) error) error {
	return each(tx, "roles", scanRole, fn, roleSelect)
}

const assignmentSelect = `SELECT id, organization, project, role, kind, principal, assigned_by, created_at, removed_at, rev FROM role_assignments`

func scanAssignment(r row, a *gatehouse.RoleAssignment) error {
	var kind, principal string
	if err := r.Scan(&a.ID, &a.Organization, &a.Project, &a.Role, &kind, &principal, &a.By, (*int64)(&a.CreatedAt), (*int64)(&a.RemovedAt), &a.Rev); err != nil {
		return err
	}
	if kind == "group" {
		a.Group = principal
	} else {
		a.User = principal
	}
	return nil
}

// CreateAssignment stores a new assignment and sets its Rev, and CreatedAt where it is 0. A second live one of the same role to the
// same principal in the same place is a Conflict.
func (tx *Tx) CreateAssignment(a *gatehouse.RoleAssignment) error {
	const query = `INSERT INTO role_assignments (id, organization, project, role, kind, principal, assigned_by, created_at, removed_at, rev) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)`
	kind := "user"
	if a.Group != "" {
		kind = "group"
	}
	tx.stamp(&a.CreatedAt)
	return tx.create("role assignment", a.ID, &a.Rev, query, a.ID, a.Organization, a.Project, a.Role, kind, a.PrincipalID(), a.By, int64(a.CreatedAt), int64(a.RemovedAt))
}

// SaveAssignment stores an assignment's RemovedAt, which once set stays: nothing else of it changes.
func (tx *Tx) SaveAssignment(a *gatehouse.RoleAssignment) error {
	const query = `UPDATE role_assignments SET rev = rev + 1, removed_at = $3 WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $3)`
	const exists = `SELECT rev FROM role_assignments WHERE id = $1`
	return tx.save("role assignment", a.ID, &a.Rev, query, exists, int64(a.RemovedAt))
}

// Assignment returns an assignment, removed or not.
func (tx *Tx) Assignment(id string) (*gatehouse.RoleAssignment, error) {
	return one(tx, "role assignment", id, scanAssignment, assignmentSelect+` WHERE id = $1`, id)
}

// AssignmentFilter says which assignments are asked for; what is empty does not filter.
type AssignmentFilter struct {
	Principal string // id of a user or group
	Role      string
	// Project is the project; with Everywhere not set the empty one means the organization.
	Project    string
	Everywhere bool
}

// Assignments returns the assignments that were not removed, by age.
func (tx *Tx) Assignments(organization string, f AssignmentFilter) ([]gatehouse.RoleAssignment, error) {
	var sel selection
	sel.and("organization = ? AND removed_at = 0", organization)
	if f.Principal != "" {
		sel.and("principal = ?", f.Principal)
	}
	if f.Role != "" {
		sel.and("role = ?", f.Role)
	}
	if !f.Everywhere {
		sel.and("project = ?", f.Project)
	}
	list, err := all(tx, "role assignments", scanAssignment, assignmentSelect+" WHERE "+strings.Join(sel.where, " AND "), sel.args...)
	slices.SortFunc(list, func(a, b gatehouse.RoleAssignment) int {
		return cmp.Or(cmp.Compare(a.CreatedAt, b.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	return list, err
}

// EachAssignment calls fn with every assignment, removed ones too, in no order.
func (tx *Tx) EachAssignment(fn func(*gatehouse.RoleAssignment) error) error {
	return each(tx, "role assignments", scanAssignment, fn, assignmentSelect)
}
