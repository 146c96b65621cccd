package store

import "gatehouse"

const deploymentSelect = `SELECT id, organization, name, projects, routes, sticky, created_at, removed_at, rev FROM deployments`

func scanDeployment(r row, d *gatehouse.Deployment) error {
	var projects, routes []byte
	if err := r.Scan(&d.ID, &d.Organization, &d.Name, &projects, &routes, (*string)(&d.Sticky), (*int64)(&d.CreatedAt), (*int64)(&d.RemovedAt), &d.Rev); err != nil {
		return err
	}
	if err := fromJSON("projects", projects, &d.Projects); err != nil {
		return err
	}
	return fromJSON("routes", routes, &d.Routes)
}

// CreateDeployment stores a new deployment and sets its Rev, and CreatedAt where it is 0. Names may repeat: deployments of
// different projects may share one.
func (tx *Tx) CreateDeployment(d *gatehouse.Deployment) error {
	const query = `INSERT INTO deployments (id, organization, name, projects, routes, sticky, created_at, removed_at, rev)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1)`
	tx.stamp(&d.CreatedAt)
	return tx.create("deployment", d.ID, &d.Rev, query, d.ID, d.Organization, d.Name, asJSON(d.Projects, len(d.Projects)), asJSON(d.Routes, len(d.Routes)),
		string(d.Sticky), int64(d.CreatedAt), int64(d.RemovedAt))
}

// SaveDeployment stores a changed deployment: everything but ID, Organization and CreatedAt. RemovedAt, once set, stays.
func (tx *Tx) SaveDeployment(d *gatehouse.Deployment) error {
	const query = `UPDATE deployments SET rev = rev + 1, name = $3, projects = $4, routes = $5, sticky = $6, removed_at = $7
		WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $7)`
	const exists = `SELECT rev FROM deployments WHERE id = $1`
	return tx.save("deployment", d.ID, &d.Rev, query, exists, d.Name, asJSON(d.Projects, len(d.Projects)), asJSON(d.Routes, len(d.Routes)),
		string(d.Sticky), int64(d.RemovedAt))
}

// Deployment returns a deployment, removed or not.
func (tx *Tx) Deployment(id string) (*gatehouse.Deployment, error) {
	return one(tx, "deployment", id, scanDeployment, deploymentSelect+` WHERE id = $1`, id)
}

// Deployments returns an organization's deployments without removed ones, oldest first.
func (tx *Tx) Deployments(organization string) ([]gatehouse.Deployment, error) {
	return all(tx, "deployments", scanDeployment, deploymentSelect+` WHERE organization = $1 AND removed_at = 0 ORDER BY created_at, id`, organization)
}

// EachDeployment calls fn with every deployment, removed ones too, in no order.
func (tx *Tx) EachDeployment(fn func(*gatehouse.Deployment) error) error {
	return each(tx, "deployments", scanDeployment, fn, deploymentSelect)
}
