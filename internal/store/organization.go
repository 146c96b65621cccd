package store

import "gatehouse"

const organizationSelect = `SELECT id, name, default_project, time_zone, header_labels, retention, data_retention, certificates, created_at, rev FROM organizations`

func scanOrganization(r row, o *gatehouse.Organization) error {
	var labels, retention, certificates []byte
	if err := r.Scan(&o.ID, &o.Name, &o.DefaultProject, &o.TimeZone, &labels, &retention, (*string)(&o.DataRetention), &certificates, (*int64)(&o.CreatedAt), &o.Rev); err != nil {
		return err
	}
	if err := fromJSON("header_labels", labels, &o.HeaderLabels); err != nil {
		return err
	}
	if err := fromJSON("certificates", certificates, &o.Certificates); err != nil {
		return err
	}
	return fromJSON("retention", retention, &o.Retention)
}

// retentionJSON returns the text of the column: empty where everything is the default.
func retentionJSON(r gatehouse.Retention) string {
	n := 0
	if r != (gatehouse.Retention{}) {
		n = 1
	}
	return asJSON(r, n)
}

// CreateOrganization stores a new organization and sets its Rev, and CreatedAt where it is 0.
func (tx *Tx) CreateOrganization(o *gatehouse.Organization) error {
	const query = `INSERT INTO organizations (id, name, default_project, time_zone, header_labels, retention, data_retention, certificates, created_at, rev)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)`
	tx.stamp(&o.CreatedAt)
	return tx.create("organization", o.ID, &o.Rev, query, o.ID, o.Name, o.DefaultProject, o.TimeZone, asJSON(o.HeaderLabels, len(o.HeaderLabels)),
		retentionJSON(o.Retention), string(o.DataRetention), asJSON(o.Certificates, len(o.Certificates)), int64(o.CreatedAt))
}

// SaveOrganization stores a changed organization: everything but ID and CreatedAt.
func (tx *Tx) SaveOrganization(o *gatehouse.Organization) error {
	const query = `UPDATE organizations SET rev = rev + 1, name = $3, default_project = $4, time_zone = $5, header_labels = $6, retention = $7, data_retention = $8, certificates = $9 WHERE id = $1 AND rev = $2`
	const exists = `SELECT rev FROM organizations WHERE id = $1`
	return tx.save("organization", o.ID, &o.Rev, query, exists, o.Name, o.DefaultProject, o.TimeZone, asJSON(o.HeaderLabels, len(o.HeaderLabels)), retentionJSON(o.Retention), string(o.DataRetention), asJSON(o.Certificates, len(o.Certificates)))
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
