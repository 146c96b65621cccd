package store

import (
	"database/sql"
	"fmt"

	"gatehouse"
)

const keySelect = `SELECT id, class, organization, project, owner_user, owner_service_account, owner_resource, slot, name, labels, scopes, models, allowed_ips,
		created_at, expires_at, suspended_at, revoked_at, last_used_at, redacted, digest, pepper_version, rev
		FROM keys LEFT JOIN key_use ON key_id = id`

func scanKey(r row, k *gatehouse.Key) error {
	var (
		class                               string
		labels, scopes, models, ips, digest []byte
		lastUsed                            sql.NullInt64
	)
	if err := r.Scan(&k.ID, &class, &k.Organization, (*text)(&k.Project), (*text)(&k.OwnerUser), (*text)(&k.OwnerServiceAccount), (*text)(&k.OwnerResource), &k.Slot, &k.Name,
		&labels, &scopes, &models, &ips, (*int64)(&k.CreatedAt), (*int64)(&k.ExpiresAt), (*int64)(&k.SuspendedAt), (*int64)(&k.RevokedAt),
		&lastUsed, &k.Redacted, &digest, &k.PepperVersion, &k.Rev); err != nil {
		return err
	}
	if len(class) != 1 || len(digest) != len(k.Digest) {
		return fmt.Errorf("key %s: damaged row", k.ID)
	}
	k.Class, k.LastUsedAt = gatehouse.Class(class[0]), gatehouse.Millis(lastUsed.Int64)
	copy(k.Digest[:], digest)
	for _, err := range []error{fromJSON("labels", labels, &k.Labels), fromJSON("scopes", scopes, &k.Scopes), fromJSON("models", models, &k.Models),
		fromJSON("allowed_ips", ips, &k.AllowedIPs)} {
		if err != nil {
			return fmt.Errorf("key %s: %w", k.ID, err)
		}
	}
	return nil
}

// KeysExpiring returns up to limit keys of an organization that are not revoked and expire after a moment and no later than another, the
// soonest first.
func (tx *Tx) KeysExpiring(organization string, after, until gatehouse.Millis, limit int) ([]gatehouse.Key, error) {
	return all(tx, "keys that expire", scanKey, keySelect+` WHERE organization = $1 AND expires_at > 0 AND expires_at > $2 AND expires_at <= $3 AND revoked_at = 0 ORDER BY expires_at LIMIT $4`,
		organization, int64(after), int64(until), limit)
}

// CreateKey stores a new key and sets its Rev, and CreatedAt where it is 0. Organization, project and owner must exist in one
// organization and be set as Key says for the class, else the error is NotFound or Invalid. A second key in a resource's slot is a
// Conflict until the first is revoked. LastUsedAt is not stored: Record measures it.
func (tx *Tx) CreateKey(k *gatehouse.Key) error {
	const query = `INSERT INTO keys (id, class, organization, project, owner_user, owner_service_account, owner_resource, slot, name, labels, scopes,
		models, allowed_ips, created_at, expires_at, suspended_at, revoked_at, redacted, digest, pepper_version, rev)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, 1)`
	tx.stamp(&k.CreatedAt)
	if k.OwnerResource != "" {
		// What the other owners' foreign keys say, in the place of one: see migration 5. Neither column of a resource ever changes.
		switch owner, err := tx.Resource(k.OwnerResource); {
		case err != nil:
			return err
		case owner.Organization != k.Organization || owner.Project != k.Project:
			return notFound("resource", k.OwnerResource)
		}
	}
	return tx.create("key", k.ID, &k.Rev, query, k.ID, string(rune(k.Class)), k.Organization, null(k.Project), null(k.OwnerUser), null(k.OwnerServiceAccount),
		null(k.OwnerResource), int64(k.Slot), k.Name, asJSON(k.Labels, len(k.Labels)), asJSON(k.Scopes, len(k.Scopes)), asJSON(k.Models, len(k.Models)), asJSON(k.AllowedIPs, len(k.AllowedIPs)),
		int64(k.CreatedAt), int64(k.ExpiresAt), int64(k.SuspendedAt), int64(k.RevokedAt), k.Redacted, k.Digest[:], k.PepperVersion)
}

// SaveKey stores a changed key: everything but ID, Class, Organization, Project, owner, CreatedAt and LastUsedAt. The terminal
// states absorb: RevokedAt, once set, stays, and ExpiresAt does not change any more once it has passed; such a save is a
// Conflict.
func (tx *Tx) SaveKey(k *gatehouse.Key) error {
	const query = `UPDATE keys SET rev = rev + 1, name = $3, labels = $4, scopes = $5, models = $6, allowed_ips = $7, expires_at = $8,
		suspended_at = $9, revoked_at = $10, redacted = $11, digest = $12, pepper_version = $13
		WHERE id = $1 AND rev = $2 AND (revoked_at = 0 OR revoked_at = $10) AND (expires_at = 0 OR expires_at > $14 OR expires_at = $8)`
	const exists = `SELECT rev FROM keys WHERE id = $1`
	return tx.save("key", k.ID, &k.Rev, query, exists, k.Name, asJSON(k.Labels, len(k.Labels)), asJSON(k.Scopes, len(k.Scopes)), asJSON(k.Models, len(k.Models)),
		asJSON(k.AllowedIPs, len(k.AllowedIPs)), int64(k.ExpiresAt), int64(k.SuspendedAt), int64(k.RevokedAt), k.Redacted, k.Digest[:], k.PepperVersion, int64(tx.Now))
}

// Key returns a key, revoked or not.
func (tx *Tx) Key(id string) (*gatehouse.Key, error) {
	return one(tx, "key", id, scanKey, keySelect+` WHERE id = $1`, id)
}

// KeyFilter says whose keys Keys lists. At least one of Organization, Project and the owners must be set; what is set must all
// hold.
type KeyFilter struct {
	Organization        string
	Project             string
	Class               gatehouse.Class // 0: every class
	OwnerUser           string
	OwnerServiceAccount string
	IncludeRevoked      bool
}

// Keys returns a page of keys. Expired and suspended keys are listed; revoked ones when the filter says so.
func (tx *Tx) Keys(f KeyFilter, p Page) ([]gatehouse.Key, bool, error) {
	l := list[gatehouse.Key]{what: "keys", query: keySelect, from: "keys", age: "created_at", id: "id", scan: scanKey}
	for _, c := range []struct{ condition, value string }{
		{"organization = ?", f.Organization}, {"project = ?", f.Project}, {"owner_user = ?", f.OwnerUser}, {"owner_service_account = ?", f.OwnerServiceAccount},
	} {
		if c.value != "" {
			l.scope.and(c.condition, c.value)
		}
	}
	if len(l.scope.where) == 0 {
		return nil, false, fmt.Errorf("list keys: a filter without an organization, project or owner")
	}
	if f.Class != 0 {
		l.scope.and("class = ?", string(rune(f.Class)))
	}
	if !f.IncludeRevoked {
		l.filter = l.scope.clone()
		l.filter.and("revoked_at = 0")
	}
	return page(tx, l, p)
}

// EachKey calls fn with every key, revoked and expired ones too, in no order.
func (tx *Tx) EachKey(fn func(*gatehouse.Key) error) error {
	return each(tx, "keys", scanKey, fn, keySelect)
}

// LastUsedBy returns when any of a user's keys, those that were revoked too, was last used; 0: never.
func (tx *Tx) LastUsedBy(user string) (gatehouse.Millis, error) {
	n, err := tx.number("last use", `SELECT COALESCE(MAX(u.last_used_at), 0) FROM keys k JOIN key_use u ON u.key_id = k.id WHERE k.owner_user = $1`, user)
	return gatehouse.Millis(n), err
}

// CountActiveAdminKeys returns how many admin keys of an organization can be used now and can do everything: without scopes, and of an
// owner or of nobody. Inside Update the answer holds until
// commit, as with CountActiveOwners.
func (tx *Tx) CountActiveAdminKeys(organization string) (int64, error) {
	const query = `SELECT COUNT(*) FROM keys WHERE organization = $1 AND class = 'a' AND revoked_at = 0 AND suspended_at = 0
		AND (expires_at = 0 OR expires_at > $2) AND scopes = '' AND (owner_user IS NULL OR EXISTS (SELECT 1 FROM users u WHERE u.id = keys.owner_user AND u.role = 'owner' AND u.removed_at = 0))`
	if err := tx.serial("count admin keys", organization); err != nil {
		return 0, err
	}
	return tx.number("count admin keys", query, organization, int64(tx.Now))
}
