package store

import "gatehouse"

const projectSelect = `SELECT id, organization, name, labels, residency, region, upstream, header_labels, policy, created_at, archived_at, rev FROM projects`

func scanProject(r row, p *gatehouse.Project) error {
	var labels, headers, policy []byte
	if err := r.Scan(&p.ID, &p.Organization, &p.Name, &labels, &p.Residency, &p.Region, &p.Upstream, &headers, &policy, (*int64)(&p.CreatedAt), (*int64)(&p.ArchivedAt), &p.Rev); err != nil {
		return err
	}
	if err := fromJSON("header_labels", headers, &p.HeaderLabels); err != nil {
		return err
	}
	if err := fromJSON("policy", policy, &p.Policy); err != nil {
		return err
	}
	return fromJSON("labels", labels, &p.Labels)
}

// CreateProject stores a new project and sets its Rev, and CreatedAt where it is 0. Its organization must exist.
func (tx *Tx) CreateProject(p *gatehouse.Project) error {
	const query = `INSERT INTO projects (id, organization, name, labels, residency, region, upstream, header_labels, policy, created_at, archived_at, rev)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1)`
	tx.stamp(&p.CreatedAt)
	return tx.create("project", p.ID, &p.Rev, query, p.ID, p.Organization, p.Name, asJSON(p.Labels, len(p.Labels)), p.Residency, p.Region, p.Upstream,
		asJSON(p.HeaderLabels, len(p.HeaderLabels)), policyJSON(&p.Policy), int64(p.CreatedAt), int64(p.ArchivedAt))
}

// SaveProject stores a changed project: everything but ID, Organization and CreatedAt. ArchivedAt, once set, stays.
func (tx *Tx) SaveProject(p *gatehouse.Project) error {
	const query = `UPDATE projects SET rev = rev + 1, name = $3, labels = $4, residency = $5, region = $6, upstream = $7, archived_at = $8, header_labels = $9, policy = $10
		WHERE id = $1 AND rev = $2 AND (archived_at = 0 OR archived_at = $8)`
	const exists = `SELECT rev FROM projects WHERE id = $1`
	return tx.save("project", p.ID, &p.Rev, query, exists, p.Name, asJSON(p.Labels, len(p.Labels)), p.Residency, p.Region, p.Upstream, int64(p.ArchivedAt),
		asJSON(p.HeaderLabels, len(p.HeaderLabels)), policyJSON(&p.Policy))
}

// policyJSON returns the text of the column: empty where everything is allowed.
func policyJSON(p *gatehouse.ProjectPolicy) string {
	n := 0
	if !p.IsZero() {
		n = 1
	}
	return asJSON(p, n)
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

// SentTo returns two of the projects that send their calls without a model to an upstream, archived ones too, or fewer where there
// are fewer.
func (tx *Tx) SentTo(upstream string) ([]gatehouse.Project, error) {
	const query = ` WHERE upstream = $1 AND upstream <> '' ORDER BY id LIMIT 2`
	return all(tx, "projects", scanProject, projectSelect+query, upstream)
}

// EachProject calls fn with every project, archived ones too, in no order.
func (tx *Tx) EachProject(fn func(*gatehouse.Project) error) error {
	return each(tx, "projects", scanProject, fn, projectSelect)
}
