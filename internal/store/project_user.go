package store

import "gatehouse"

const projectUserSelect = `SELECT project, user_id, role, added_at, removed_at, rev FROM project_users`

func scanProjectUser(r row, m *gatehouse.ProjectUser) error {
	return r.Scan(&m.Project, &m.User, (*string)(&m.Role), (*int64)(&m.AddedAt), (*int64)(&m.RemovedAt), &m.Rev)
}

// CreateProjectUser stores a new membership and sets its Rev, and AddedAt where it is 0. Project and user must exist in one
// organization. There is one membership per project and user for good: a removed one comes back by SaveProjectUser.
func (tx *Tx) CreateProjectUser(m *gatehouse.ProjectUser) error {
	const query = `INSERT INTO project_users (project, user_id, organization, role, added_at, removed_at, rev) VALUES ($1, $2, $3, $4, $5, $6, 1)`
	project, err := tx.Project(m.Project)
	if err != nil {
		return err
	}
	if m.User == "" {
		return notFound("user", m.User)
	}
	tx.stamp(&m.AddedAt)
	return tx.create("project user", m.Project+"/"+m.User, &m.Rev, query, m.Project, m.User, project.Organization, string(m.Role), int64(m.AddedAt), int64(m.RemovedAt))
}

// SaveProjectUser stores a changed membership: everything but Project and User.
func (tx *Tx) SaveProjectUser(m *gatehouse.ProjectUser) error {
	const query = `UPDATE project_users SET rev = rev + 1, role = $3, added_at = $4, removed_at = $5 WHERE project = $1 AND rev = $2 AND user_id = $6`
	n, err := tx.exec("save project user", query, m.Project, m.Rev, string(m.Role), int64(m.AddedAt), int64(m.RemovedAt), m.User)
	if err != nil {
		return err
	}
	if n == 0 {
		if _, err := tx.ProjectUser(m.Project, m.User); err != nil {
			return err
		}
		return gatehouse.Errorf(gatehouse.Conflict, "The project user %s has changed since it was read. Read it again and repeat the change.", m.User)
	}
	tx.setRev(&m.Rev, m.Rev+1)
	return nil
}

// ProjectUser returns a membership, removed or not.
func (tx *Tx) ProjectUser(project, user string) (*gatehouse.ProjectUser, error) {
	return one(tx, "project user", user, scanProjectUser, projectUserSelect+` WHERE project = $1 AND user_id = $2`, project, user)
}

// ProjectUsers returns a page of a project's memberships without removed ones and those of removed users; the cursor is the user's id.
func (tx *Tx) ProjectUsers(project string, p Page) ([]gatehouse.ProjectUser, bool, error) {
	l := list[gatehouse.ProjectUser]{what: "project users", query: projectUserSelect, from: "project_users", age: "added_at", id: "user_id", scan: scanProjectUser}
	l.scope.and("project = ?", project)
	l.filter = l.scope.clone()
	l.filter.and("removed_at = 0 AND NOT EXISTS (SELECT 1 FROM users WHERE users.id = project_users.user_id AND users.removed_at <> 0)")
	return page(tx, l, p)
}

// Memberships returns a user's memberships without removed ones, by project.
func (tx *Tx) Memberships(user string) ([]gatehouse.ProjectUser, error) {
	return all(tx, "memberships", scanProjectUser, projectUserSelect+` WHERE user_id = $1 AND removed_at = 0 ORDER BY project`, user)
}

// EachProjectUser calls fn with every membership, removed ones too, in no order.
func (tx *Tx) EachProjectUser(fn func(*gatehouse.ProjectUser) error) error {
	return each(tx, "project users", scanProjectUser, fn, projectUserSelect)
}
