package store

import (
	"gatehouse"
)

// --- Organizations ---

const organizationSelect = `SELECT id, name, default_project, created_at, rev FROM organizations`

func scanOrganization(r row, o *gatehouse.Organization) error {
	return r.Scan(&o.ID, &o.Name, &o.DefaultProject, (*int64)(&o.CreatedAt), &o.Rev)
}

// CreateOrganization stores a new organization and sets its Rev, and CreatedAt where it is 0.
func (tx *Tx) CreateOrganization(o *gatehouse.Organization) error {
	const query = `INSERT INTO organizations (id, name, default_project, created_at, rev) VALUES ($1, $2, $3, $4, 1)`
	tx.stamp(&o.CreatedAt)
	return tx.create("organization", o.ID, &o.Rev, query, o.ID, o.Name, o.DefaultProject, int64(o.CreatedAt))
}

// SaveOrganization stores a changed organization: everything but ID and CreatedAt.
func (tx *Tx) SaveOrganization(o *gatehouse.Organization) error {
	const query = `UPDATE organizations SET rev = rev + 1, name = $3, default_project = $4 WHERE id = $1 AND rev = $2`
	const exists = `SELECT rev FROM organizations WHERE id = $1`
	return tx.save("organization", o.ID, &o.Rev, query, exists, o.Name, o.DefaultProject)
}

// Organization returns an organization.
func (tx *Tx) Organization(id string) (*gatehouse.Organization, error) {
	return one(tx, "organization", id, scanOrganization, organizationSelect+` WHERE id = $1`, id)
}

// Organizations returns every organization, oldest first.
func (tx *Tx) Organizations() ([]gatehouse.Organization, error) {
	return all(tx, "organizations", scanOrganization, organizationSelect+` ORDER BY created_at, id`)
}

// EachOrganization calls fn with every organization, in no order.
func (tx *Tx) EachOrganization(fn func(*gatehouse.Organization) error) error {
	return each(tx, "organizations", scanOrganization, fn, organizationSelect)
}

// stamp sets a time of creation that its caller left open.
func (tx *Tx) stamp(at *gatehouse.Millis) {
	if *at == 0 {
		*at = tx.Now
	}
}

// --- Projects ---

const projectSelect = `SELECT id, organization, name, labels, residency, upstream, created_at, archived_at, rev FROM projects`

func scanProject(r row, p *gatehouse.Project) error {
	var labels []byte
	if err := r.Scan(&p.ID, &p.Organization, &p.Name, &labels, &p.Residency, &p.Upstream, (*int64)(&p.CreatedAt), (*int64)(&p.ArchivedAt), &p.Rev); err != nil {
		return err
	}
	return fromJSON("labels", labels, &p.Labels)
}

// CreateProject stores a new project and sets its Rev, and CreatedAt where it is 0. Its organization must exist.
func (tx *Tx) CreateProject(p *gatehouse.Project) error {
	const query = `INSERT INTO projects (id, organization, name, labels, residency, upstream, created_at, archived_at, rev)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1)`
	tx.stamp(&p.CreatedAt)
	return tx.create("project", p.ID, &p.Rev, query, p.ID, p.Organization, p.Name, asJSON(p.Labels, len(p.Labels)), p.Residency, p.Upstream,
		int64(p.CreatedAt), int64(p.ArchivedAt))
}

// SaveProject stores a changed project: everything but ID, Organization and CreatedAt. ArchivedAt, once set, stays.
func (tx *Tx) SaveProject(p *gatehouse.Project) error {
	const query = `UPDATE projects SET rev = rev + 1, name = $3, labels = $4, residency = $5, upstream = $6, archived_at = $7
		WHERE id = $1 AND rev = $2 AND (archived_at = 0 OR archived_at = $7)`
	const exists = `SELECT rev FROM projects WHERE id = $1`
	return tx.save("project", p.ID, &p.Rev, query, exists, p.Name, asJSON(p.Labels, len(p.Labels)), p.Residency, p.Upstream, int64(p.ArchivedAt))
}

// Project returns a project, archived or not.
func (tx *Tx) Project(id string) (*gatehouse.Project, error) {
	return one(tx, "project", id, scanProject, projectSelect+` WHERE id = $1`, id)
}

// Projects returns a page of an organization's projects.
func (tx *Tx) Projects(organization string, includeArchived bool, p Page) ([]gatehouse.Project, bool, error) {
	l := list[gatehouse.Project]{what: "projects", query: projectSelect, from: "projects", age: "created_at", id: "id", scan: scanProject}
	l.scope.and("organization = ?", organization)
	if !includeArchived {
		l.filter = l.scope.clone()
		l.filter.and("archived_at = 0")
	}
	return page(tx, l, p)
}

// EachProject calls fn with every project, archived ones too, in no order.
func (tx *Tx) EachProject(fn func(*gatehouse.Project) error) error {
	return each(tx, "projects", scanProject, fn, projectSelect)
}

// --- Users ---

const userSelect = `SELECT id, organization, name, email, role, created_at, removed_at, rev FROM users`

func scanUser(r row, u *gatehouse.User) error {
	return r.Scan(&u.ID, &u.Organization, &u.Name, &u.Email, (*string)(&u.Role), (*int64)(&u.CreatedAt), (*int64)(&u.RemovedAt), &u.Rev)
}

// CreateUser stores a new user and sets its Rev, and CreatedAt where it is 0. A second live user with the same Email in the
// organization is a Conflict; users without an Email are not compared.
func (tx *Tx) CreateUser(u *gatehouse.User) error {
	const query = `INSERT INTO users (id, organization, name, email, role, created_at, removed_at, rev) VALUES ($1, $2, $3, $4, $5, $6, $7, 1)`
	tx.stamp(&u.CreatedAt)
	return tx.create("user", u.ID, &u.Rev, query, u.ID, u.Organization, u.Name, u.Email, string(u.Role), int64(u.CreatedAt), int64(u.RemovedAt))
}

// SaveUser stores a changed user: everything but ID, Organization and CreatedAt. RemovedAt, once set, stays.
func (tx *Tx) SaveUser(u *gatehouse.User) error {
	const query = `UPDATE users SET rev = rev + 1, name = $3, email = $4, role = $5, removed_at = $6
		WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $6)`
	const exists = `SELECT rev FROM users WHERE id = $1`
	return tx.save("user", u.ID, &u.Rev, query, exists, u.Name, u.Email, string(u.Role), int64(u.RemovedAt))
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

// --- Memberships ---

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

// ProjectUsers returns a page of a project's memberships without removed ones; the cursor is the user's id.
func (tx *Tx) ProjectUsers(project string, p Page) ([]gatehouse.ProjectUser, bool, error) {
	l := list[gatehouse.ProjectUser]{what: "project users", query: projectUserSelect, from: "project_users", age: "added_at", id: "user_id", scan: scanProjectUser}
	l.scope.and("project = ?", project)
	l.filter = l.scope.clone()
	l.filter.and("removed_at = 0")
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

// --- Service accounts ---

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
