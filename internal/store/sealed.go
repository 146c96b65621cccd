package store

import "gatehouse"

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
