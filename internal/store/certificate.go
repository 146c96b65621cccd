package store

import "gatehouse"

const certificateSelect = `SELECT id, organization, name, content, fingerprint, valid_at, expires_at, created_at, removed_at, rev FROM certificates`

func scanCertificate(r row, c *gatehouse.Certificate) error {
	return r.Scan(&c.ID, &c.Organization, &c.Name, &c.Content, &c.Fingerprint, (*int64)(&c.ValidAt), (*int64)(&c.ExpiresAt), (*int64)(&c.CreatedAt), (*int64)(&c.RemovedAt), &c.Rev)
}

// CreateCertificate stores a new certificate and sets its Rev, and CreatedAt where it is 0. The same certificate twice in an
// organization is a Conflict.
func (tx *Tx) CreateCertificate(c *gatehouse.Certificate) error {
	const query = `INSERT INTO certificates (id, organization, name, content, fingerprint, valid_at, expires_at, created_at, removed_at, rev) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)`
	tx.stamp(&c.CreatedAt)
	return tx.create("certificate", c.ID, &c.Rev, query, c.ID, c.Organization, c.Name, c.Content, c.Fingerprint, int64(c.ValidAt), int64(c.ExpiresAt), int64(c.CreatedAt), int64(c.RemovedAt))
}

// SaveCertificate stores a changed certificate: its name and RemovedAt, which once set stays.
func (tx *Tx) SaveCertificate(c *gatehouse.Certificate) error {
	const query = `UPDATE certificates SET rev = rev + 1, name = $3, removed_at = $4 WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $4)`
	const exists = `SELECT rev FROM certificates WHERE id = $1`
	return tx.save("certificate", c.ID, &c.Rev, query, exists, c.Name, int64(c.RemovedAt))
}

// Certificate returns a certificate, removed or not.
func (tx *Tx) Certificate(id string) (*gatehouse.Certificate, error) {
	return one(tx, "certificate", id, scanCertificate, certificateSelect+` WHERE id = $1`, id)
}

// CertificateOf returns an organization's certificate of a fingerprint that was not removed.
func (tx *Tx) CertificateOf(organization, fingerprint string) (*gatehouse.Certificate, error) {
	return one(tx, "certificate", fingerprint, scanCertificate, certificateSelect+` WHERE organization = $1 AND fingerprint = $2 AND removed_at = 0`, organization, fingerprint)
}

// Certificates returns a page of an organization's certificates without removed ones.
func (tx *Tx) Certificates(organization string, p Page) ([]gatehouse.Certificate, bool, error) {
	l := list[gatehouse.Certificate]{what: "certificates", query: certificateSelect, from: "certificates", age: "created_at", id: "id", scan: scanCertificate}
	l.scope.and("organization = ?", organization)
	l.filter = l.scope.clone()
	l.filter.and("removed_at = 0")
	return page(tx, l, p)
}

// EachCertificate calls fn with every certificate, removed ones too, in no order.
func (tx *Tx) EachCertificate(fn func(*gatehouse.Certificate) error) error {
	return each(tx, "certificates", scanCertificate, fn, certificateSelect)
}
