package store

import (
	"strings"

	"gatehouse"
)

const inviteSelect = `SELECT id, organization, email, role, projects, digest, invited_by, created_at, expires_at, accepted_at, accepted_by, removed_at, rev FROM invites`

func scanInvite(r row, v *gatehouse.Invite) error {
	var projects []byte
	if err := r.Scan(&v.ID, &v.Organization, &v.Email, (*string)(&v.Role), &projects, &v.Digest, &v.By, (*int64)(&v.CreatedAt), (*int64)(&v.ExpiresAt),
		(*int64)(&v.AcceptedAt), &v.AcceptedBy, (*int64)(&v.RemovedAt), &v.Rev); err != nil {
		return err
	}
	return fromJSON("projects", projects, &v.Projects)
}

// CreateInvite stores a new invite and sets its Rev, and CreatedAt where it is 0.
func (tx *Tx) CreateInvite(v *gatehouse.Invite) error {
	const query = `INSERT INTO invites (id, organization, email, role, projects, digest, invited_by, created_at, expires_at, accepted_at, accepted_by, removed_at, rev)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1)`
	tx.stamp(&v.CreatedAt)
	return tx.create("invite", v.ID, &v.Rev, query, v.ID, v.Organization, v.Email, string(v.Role), asJSON(v.Projects, len(v.Projects)), v.Digest, v.By,
		int64(v.CreatedAt), int64(v.ExpiresAt), int64(v.AcceptedAt), v.AcceptedBy, int64(v.RemovedAt))
}

// SaveInvite stores what became of an invite: AcceptedAt, AcceptedBy and RemovedAt, each of which once set stays.
func (tx *Tx) SaveInvite(v *gatehouse.Invite) error {
	const query = `UPDATE invites SET rev = rev + 1, accepted_at = $3, accepted_by = $4, removed_at = $5
		WHERE id = $1 AND rev = $2 AND (accepted_at = 0 OR accepted_at = $3) AND (removed_at = 0 OR removed_at = $5)`
	const exists = `SELECT rev FROM invites WHERE id = $1`
	return tx.save("invite", v.ID, &v.Rev, query, exists, int64(v.AcceptedAt), v.AcceptedBy, int64(v.RemovedAt))
}

// Invite returns an invite, removed or not.
func (tx *Tx) Invite(id string) (*gatehouse.Invite, error) {
	return one(tx, "invite", id, scanInvite, inviteSelect+` WHERE id = $1`, id)
}

// InviteByDigest returns the invite whose link has a token of a digest, removed or not.
func (tx *Tx) InviteByDigest(digest string) (*gatehouse.Invite, error) {
	return one(tx, "invite", "", scanInvite, inviteSelect+` WHERE digest = $1`, digest)
}

// PendingInvites returns how many invites of an address, in whatever case, can still be accepted. Inside Update the answer holds until
// commit, as with CountActiveOwners.
func (tx *Tx) PendingInvites(organization, email string) (int64, error) {
	const query = `SELECT COUNT(*) FROM invites WHERE organization = $1 AND LOWER(email) = $2 AND accepted_at = 0 AND removed_at = 0 AND expires_at > $3`
	if err := tx.serial("count invites", organization); err != nil {
		return 0, err
	}
	return tx.number("count invites", query, organization, strings.ToLower(email), int64(tx.Now))
}

// Invites returns a page of an organization's invites without removed ones.
func (tx *Tx) Invites(organization string, p Page) ([]gatehouse.Invite, bool, error) {
	l := list[gatehouse.Invite]{what: "invites", query: inviteSelect, from: "invites", age: "created_at", id: "id", scan: scanInvite}
	l.scope.and("organization = ?", organization)
	l.filter = l.scope.clone()
	l.filter.and("removed_at = 0")
	return page(tx, l, p)
}

// EachInvite calls fn with every invite, removed ones too, in no order.
func (tx *Tx) EachInvite(fn func(*gatehouse.Invite) error) error {
	return each(tx, "invites", scanInvite, fn, inviteSelect)
}
