package store

import (
	"fmt"
	"strings"

	"gatehouse"
)

// keyLoad reads what a check needs of every key, in as few columns as it takes: at a million rows each column of each row is felt,
// on SQLite above all. What many keys have in common comes as one text, so that it is taken apart once for all of them.
const keyLoad = `SELECT id, class || '` + unit + `' || organization || '` + unit + `' || COALESCE(project, '') || '` + unit + `' || COALESCE(owner_user, '') || '` + unit +
	`' || COALESCE(owner_service_account, '') || '` + unit + `' || COALESCE(owner_resource, '') || '` + unit + `' || scopes || '` + unit + `' || models || '` + unit + `' || allowed_ips || '` + unit + `' || labels,
	expires_at, CASE WHEN revoked_at <> 0 THEN 2 WHEN suspended_at <> 0 THEN 1 ELSE 0 END, digest, pepper_version, rev FROM keys`

// unit separates the parts of a text. It is in no id, and JSON escapes it.
const unit = "\x1f"

// maxShared bounds how many different texts are remembered while keys are loaded.
const maxShared = 100_000

// LoadKeys calls fn with every key, revoked and expired ones too, in no order, as far as checking one needs it: without Slot, Name,
// Redacted, CreatedAt and LastUsedAt, and with 1 for the time of a suspension or revocation. A key is fn's during the call
// only; its texts and lists stay valid, are shared between keys, and must not be changed.
func (tx *Tx) LoadKeys(fn func(*gatehouse.Key) error) error {
	var k gatehouse.Key
	shared := map[string]*gatehouse.Key{}
	tx.db.traced(keyLoad)
	rows, err := tx.tx.QueryContext(tx.ctx, keyLoad)
	if err != nil {
		return tx.db.fail("load keys", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err below reports what matters
	var id, common string
	var digest []byte
	var expires, state, pepper, rev int64
	dest := []any{&id, &common, &expires, &state, &digest, &pepper, &rev}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return tx.db.fail("load keys", err)
		}
		known := shared[common]
		if known == nil {
			if known, err = sharedKey(common); err != nil {
				return fmt.Errorf("key %s: %w", id, err)
			}
			if len(shared) == maxShared {
				clear(shared)
			}
			shared[common] = known
		}
		if len(digest) != len(k.Digest) {
			return fmt.Errorf("key %s: damaged row", id)
		}
		k = *known
		k.ID, k.ExpiresAt, k.PepperVersion, k.Rev = id, gatehouse.Millis(expires), int(pepper), rev
		copy(k.Digest[:], digest)
		switch state {
		case 2:
			k.RevokedAt = 1
		case 1:
			k.SuspendedAt = 1
		}
		if err := fn(&k); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return tx.db.fail("load keys", err)
	}
	return nil
}

// sharedKey takes the text apart that keyLoad makes of what keys have in common.
func sharedKey(common string) (*gatehouse.Key, error) {
	parts := strings.Split(common, unit)
	if len(parts) != 10 || len(parts[0]) != 1 {
		return nil, fmt.Errorf("damaged row")
	}
	k := &gatehouse.Key{Class: gatehouse.Class(parts[0][0]), Organization: parts[1], Project: parts[2], OwnerUser: parts[3], OwnerServiceAccount: parts[4], OwnerResource: parts[5]}
	for _, err := range []error{fromJSON("scopes", []byte(parts[6]), &k.Scopes), fromJSON("models", []byte(parts[7]), &k.Models), fromJSON("allowed_ips", []byte(parts[8]), &k.AllowedIPs),
		fromJSON("labels", []byte(parts[9]), &k.Labels)} {
		if err != nil {
			return nil, err
		}
	}
	return k, nil
}
