package store

import "gatehouse"

const upstreamSelect = `SELECT id, organization, name, dialect, base_url, api_version, region, credential, credential_header, projects,
	allow_private, http2, timeouts, served, created_at, removed_at, rev FROM upstreams`

func scanUpstream(r row, u *gatehouse.Upstream) error {
	var projects, timeouts, served []byte
	var private, http2 int64
	if err := r.Scan(&u.ID, &u.Organization, &u.Name, (*string)(&u.Dialect), &u.BaseURL, &u.APIVersion, &u.Region, &u.Credential, &u.CredentialHeader,
		&projects, &private, &http2, &timeouts, &served, (*int64)(&u.CreatedAt), (*int64)(&u.RemovedAt), &u.Rev); err != nil {
		return err
	}
	u.AllowPrivate, u.HTTP2 = private != 0, http2 != 0
	if err := fromJSON("timeouts", timeouts, &u.Timeouts); err != nil {
		return err
	}
	if err := fromJSON("served", served, &u.Served); err != nil {
		return err
	}
	return fromJSON("projects", projects, &u.Projects)
}

// CreateUpstream stores a new upstream and sets its Rev, and CreatedAt where it is 0. A second live upstream of the same name in
// the organization is a Conflict.
func (tx *Tx) CreateUpstream(u *gatehouse.Upstream) error {
	const query = `INSERT INTO upstreams (id, organization, name, dialect, base_url, api_version, region, credential, credential_header, projects,
		allow_private, http2, timeouts, served, created_at, removed_at, rev) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 1)`
	tx.stamp(&u.CreatedAt)
	return tx.create("upstream", u.ID, &u.Rev, query, u.ID, u.Organization, u.Name, string(u.Dialect), u.BaseURL, u.APIVersion, u.Region, u.Credential,
		u.CredentialHeader, asJSON(u.Projects, len(u.Projects)), truth(u.AllowPrivate), truth(u.HTTP2), timeoutsJSON(u.Timeouts), asJSON(u.Served, len(u.Served)),
		int64(u.CreatedAt), int64(u.RemovedAt))
}

// SaveUpstream stores a changed upstream: everything but ID, Organization and CreatedAt. RemovedAt, once set, stays.
func (tx *Tx) SaveUpstream(u *gatehouse.Upstream) error {
	const query = `UPDATE upstreams SET rev = rev + 1, name = $3, dialect = $4, base_url = $5, api_version = $6, region = $7, credential = $8,
		credential_header = $9, projects = $10, allow_private = $11, http2 = $12, timeouts = $13, served = $14, removed_at = $15
		WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $15)`
	const exists = `SELECT rev FROM upstreams WHERE id = $1`
	return tx.save("upstream", u.ID, &u.Rev, query, exists, u.Name, string(u.Dialect), u.BaseURL, u.APIVersion, u.Region, u.Credential,
		u.CredentialHeader, asJSON(u.Projects, len(u.Projects)), truth(u.AllowPrivate), truth(u.HTTP2), timeoutsJSON(u.Timeouts), asJSON(u.Served, len(u.Served)),
		int64(u.RemovedAt))
}

func timeoutsJSON(t gatehouse.Timeouts) string {
	if t == (gatehouse.Timeouts{}) {
		return ""
	}
	return asJSON(t, 1)
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
