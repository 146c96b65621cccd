package store

import (
	"context"

	"gatehouse"
)

// IdempotentCall is a call of the administration that its caller gave a name (Idempotency-Key), so that it is not made twice. It commits
// with the change the call makes.
type IdempotentCall struct {
	Organization string
	Actor        string // the key it was made with
	Name         string // the Idempotency-Key
	Hash         string // of what was asked
	Subject      gatehouse.SubjectKind
	SubjectID    string
	Status       int    // 0: nothing was answered yet; negative: the answer was not kept
	Answer       string // JSON
	At           gatehouse.Millis
}

// IdempotentFor is how long the name of a call is remembered.
const IdempotentFor = 24 * 60 * 60 * 1000 // gatehouse.Millis

// CreateIdempotentCall stores a call. Another of the same name and actor is a Conflict.
func (tx *Tx) CreateIdempotentCall(c *IdempotentCall) error {
	const query = `INSERT INTO idempotent_calls (organization, actor, name, hash, subject, subject_id, status, answer, called_at) VALUES ($1, $2, $3, $4, $5, $6, 0, '', $7)`
	_, err := tx.exec("create idempotent call", query, c.Organization, c.Actor, c.Name, c.Hash, string(c.Subject), c.SubjectID, int64(c.At))
	return err
}

// IdempotentCall returns the call of a name that was made within IdempotentFor.
func (tx *Tx) IdempotentCall(organization, actor, name string) (*IdempotentCall, error) {
	const query = `SELECT organization, actor, name, hash, subject, subject_id, status, answer, called_at FROM idempotent_calls WHERE organization = $1 AND actor = $2 AND name = $3 AND called_at > $4`
	return one(tx, "idempotent call", name, func(r row, c *IdempotentCall) error {
		return r.Scan(&c.Organization, &c.Actor, &c.Name, &c.Hash, (*string)(&c.Subject), &c.SubjectID, &c.Status, &c.Answer, (*int64)(&c.At))
	}, query, organization, actor, name, int64(tx.Now)-IdempotentFor)
}

// DropIdempotentCall forgets a call whose time is over, so that its name can be given again.
func (tx *Tx) DropIdempotentCall(organization, actor, name string) error {
	const query = `DELETE FROM idempotent_calls WHERE organization = $1 AND actor = $2 AND name = $3 AND called_at <= $4`
	_, err := tx.exec("drop idempotent call", query, organization, actor, name, int64(tx.Now)-IdempotentFor)
	return err
}

// KeepAnswer keeps what a call was answered.
func (db *DB) KeepAnswer(ctx context.Context, organization, actor, name string, status int, answer string) error {
	const query = `UPDATE idempotent_calls SET status = $4, answer = $5 WHERE organization = $1 AND actor = $2 AND name = $3`
	return db.recordOne(ctx, "keep the answer of an idempotent call", query, organization, actor, name, status, answer)
}

// pruneIdempotentCalls forgets calls whose time is over.
func (db *DB) pruneIdempotentCalls(ctx context.Context, now gatehouse.Millis) error {
	const query = `DELETE FROM idempotent_calls WHERE called_at <= $1`
	return db.recordOne(ctx, "prune idempotent calls", query, int64(now)-IdempotentFor)
}
