package store

import (
	"gatehouse"
)

// --- Upstreams ---

const upstreamSelect = `SELECT id, organization, name, dialect, base_url, api_version, region, credential, credential_header, projects,
	allow_private, created_at, removed_at, rev FROM upstreams`

func scanUpstream(r row, u *gatehouse.Upstream) error {
	var projects []byte
	var private int64
	if err := r.Scan(&u.ID, &u.Organization, &u.Name, (*string)(&u.Dialect), &u.BaseURL, &u.APIVersion, &u.Region, &u.Credential, &u.CredentialHeader,
		&projects, &private, (*int64)(&u.CreatedAt), (*int64)(&u.RemovedAt), &u.Rev); err != nil {
		return err
	}
	u.AllowPrivate = private != 0
	return fromJSON("projects", projects, &u.Projects)
}

// CreateUpstream stores a new upstream and sets its Rev, and CreatedAt where it is 0. A second live upstream of the same name in
// the organization is a Conflict.
func (tx *Tx) CreateUpstream(u *gatehouse.Upstream) error {
	const query = `INSERT INTO upstreams (id, organization, name, dialect, base_url, api_version, region, credential, credential_header, projects,
		allow_private, created_at, removed_at, rev) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1)`
	tx.stamp(&u.CreatedAt)
	return tx.create("upstream", u.ID, &u.Rev, query, u.ID, u.Organization, u.Name, string(u.Dialect), u.BaseURL, u.APIVersion, u.Region, u.Credential,
		u.CredentialHeader, asJSON(u.Projects, len(u.Projects)), truth(u.AllowPrivate), int64(u.CreatedAt), int64(u.RemovedAt))
}

// SaveUpstream stores a changed upstream: everything but ID, Organization and CreatedAt. RemovedAt, once set, stays.
func (tx *Tx) SaveUpstream(u *gatehouse.Upstream) error {
	const query = `UPDATE upstreams SET rev = rev + 1, name = $3, dialect = $4, base_url = $5, api_version = $6, region = $7, credential = $8,
		credential_header = $9, projects = $10, allow_private = $11, removed_at = $12 WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $12)`
	const exists = `SELECT rev FROM upstreams WHERE id = $1`
	return tx.save("upstream", u.ID, &u.Rev, query, exists, u.Name, string(u.Dialect), u.BaseURL, u.APIVersion, u.Region, u.Credential,
		u.CredentialHeader, asJSON(u.Projects, len(u.Projects)), truth(u.AllowPrivate), int64(u.RemovedAt))
}

// Upstream returns an upstream, removed or not.
func (tx *Tx) Upstream(id string) (*gatehouse.Upstream, error) {
	return one(tx, "upstream", id, scanUpstream, upstreamSelect+` WHERE id = $1`, id)
}

// Upstreams returns an organization's upstreams without removed ones, oldest first.
func (tx *Tx) Upstreams(organization string) ([]gatehouse.Upstream, error) {
	return all(tx, "upstreams", scanUpstream, upstreamSelect+` WHERE organization = $1 AND removed_at = 0 ORDER BY created_at, id`, organization)
}

// EachUpstream calls fn with every upstream, removed ones too, in no order.
func (tx *Tx) EachUpstream(fn func(*gatehouse.Upstream) error) error {
	return each(tx, "upstreams", scanUpstream, fn, upstreamSelect)
}

// --- Deployments ---

const deploymentSelect = `SELECT id, organization, name, projects, routes, created_at, removed_at, rev FROM deployments`

func scanDeployment(r row, d *gatehouse.Deployment) error {
	var projects, routes []byte
	if err := r.Scan(&d.ID, &d.Organization, &d.Name, &projects, &routes, (*int64)(&d.CreatedAt), (*int64)(&d.RemovedAt), &d.Rev); err != nil {
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
	const query = `INSERT INTO deployments (id, organization, name, projects, routes, created_at, removed_at, rev) VALUES ($1, $2, $3, $4, $5, $6, $7, 1)`
	tx.stamp(&d.CreatedAt)
	return tx.create("deployment", d.ID, &d.Rev, query, d.ID, d.Organization, d.Name, asJSON(d.Projects, len(d.Projects)), asJSON(d.Routes, len(d.Routes)),
		int64(d.CreatedAt), int64(d.RemovedAt))
}

// SaveDeployment stores a changed deployment: everything but ID, Organization and CreatedAt. RemovedAt, once set, stays.
func (tx *Tx) SaveDeployment(d *gatehouse.Deployment) error {
	const query = `UPDATE deployments SET rev = rev + 1, name = $3, projects = $4, routes = $5, removed_at = $6
		WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $6)`
	const exists = `SELECT rev FROM deployments WHERE id = $1`
	return tx.save("deployment", d.ID, &d.Rev, query, exists, d.Name, asJSON(d.Projects, len(d.Projects)), asJSON(d.Routes, len(d.Routes)), int64(d.RemovedAt))
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

// --- Sealed secrets ---

// Sealed is a secret of Gatehouse's own encrypted store: what sealed://ID refers to. The store never sees it open.
type Sealed struct {
	ID           string
	Organization string
	Name         string
	Ciphertext   []byte
	CreatedAt    gatehouse.Millis
	Rev          int64
}

const sealedSelect = `SELECT id, organization, name, ciphertext, created_at, rev FROM sealed`

func scanSealed(r row, s *Sealed) error {
	return r.Scan(&s.ID, &s.Organization, &s.Name, &s.Ciphertext, (*int64)(&s.CreatedAt), &s.Rev)
}

// CreateSealed stores a new sealed secret and sets its Rev, and CreatedAt where it is 0.
func (tx *Tx) CreateSealed(s *Sealed) error {
	const query = `INSERT INTO sealed (id, organization, name, ciphertext, created_at, rev) VALUES ($1, $2, $3, $4, $5, 1)`
	tx.stamp(&s.CreatedAt)
	return tx.create("sealed secret", s.ID, &s.Rev, query, s.ID, s.Organization, s.Name, s.Ciphertext, int64(s.CreatedAt))
}

// SaveSealed stores a changed sealed secret: its Name and Ciphertext.
func (tx *Tx) SaveSealed(s *Sealed) error {
	const query = `UPDATE sealed SET rev = rev + 1, name = $3, ciphertext = $4 WHERE id = $1 AND rev = $2`
	const exists = `SELECT rev FROM sealed WHERE id = $1`
	return tx.save("sealed secret", s.ID, &s.Rev, query, exists, s.Name, s.Ciphertext)
}

// DeleteSealed removes a sealed secret for good, ciphertext and all, where its Rev is still the one that was read.
func (tx *Tx) DeleteSealed(s *Sealed) error {
	const query = `DELETE FROM sealed WHERE id = $1 AND rev = $2`
	const exists = `SELECT rev FROM sealed WHERE id = $1`
	return tx.save("sealed secret", s.ID, &s.Rev, query, exists)
}

// Sealed returns a sealed secret.
func (tx *Tx) Sealed(id string) (*Sealed, error) {
	return one(tx, "sealed secret", id, scanSealed, sealedSelect+` WHERE id = $1`, id)
}

// Sealeds returns an organization's sealed secrets, oldest first.
func (tx *Tx) Sealeds(organization string) ([]Sealed, error) {
	return all(tx, "sealed secrets", scanSealed, sealedSelect+` WHERE organization = $1 ORDER BY created_at, id`, organization)
}

// EachSealed calls fn with every sealed secret, in no order.
func (tx *Tx) EachSealed(fn func(*Sealed) error) error {
	return each(tx, "sealed secrets", scanSealed, fn, sealedSelect)
}

// --- Installation ---

// Meta returns a fact about the installation, such as its tag, or NotFound.
func (tx *Tx) Meta(name string) (string, error) {
	value, err := one(tx, "installation fact", name, func(r row, s *string) error { return r.Scan(s) }, `SELECT value FROM meta WHERE name = $1`, name)
	if err != nil {
		return "", err
	}
	return *value, nil
}

// SetMeta stores a fact about the installation.
func (tx *Tx) SetMeta(name, value string) error {
	const query = `INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`
	_, err := tx.exec("set "+name, query, name, value)
	return err
}
