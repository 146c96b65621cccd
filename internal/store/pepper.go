package store

import "gatehouse"

// PepperUse is how many keys are digested under one version of the pepper.
type PepperUse struct {
	Version  int
	Active   int64            // can be used now
	Inactive int64            // suspended, expired or revoked
	Unused   int64            // of the active, those not used since the moment asked about
	LastUsed gatehouse.Millis // the last use of any of them; 0: none was used
}

// PeppersInUse returns the versions that keys are digested under, rising. It looks at every key.
func (tx *Tx) PeppersInUse(unusedSince gatehouse.Millis) ([]PepperUse, error) {
	const query = `SELECT pepper_version,
		SUM(CASE WHEN revoked_at = 0 AND suspended_at = 0 AND (expires_at = 0 OR expires_at > $1) THEN 1 ELSE 0 END),
		SUM(CASE WHEN revoked_at = 0 AND suspended_at = 0 AND (expires_at = 0 OR expires_at > $2) THEN 0 ELSE 1 END),
		SUM(CASE WHEN revoked_at = 0 AND suspended_at = 0 AND (expires_at = 0 OR expires_at > $3) AND COALESCE(last_used_at, created_at) < $4 THEN 1 ELSE 0 END),
		MAX(COALESCE(last_used_at, 0))
		FROM keys LEFT JOIN key_use ON key_id = id GROUP BY pepper_version ORDER BY pepper_version`
	return all(tx, "peppers in use", func(r row, u *PepperUse) error {
		return r.Scan(&u.Version, &u.Active, &u.Inactive, &u.Unused, (*int64)(&u.LastUsed))
	}, query, int64(tx.Now), int64(tx.Now), int64(tx.Now), int64(unusedSince))
}

// ActiveKeysUnderPepper returns up to limit keys that can be used now and are digested under a version, by id and after the one
// with the id after.
func (tx *Tx) ActiveKeysUnderPepper(version int, after string, limit int) ([]gatehouse.Key, error) {
	const query = keySelect + ` WHERE pepper_version = $1 AND id > $2 AND revoked_at = 0 AND suspended_at = 0 AND (expires_at = 0 OR expires_at > $3)
		ORDER BY id LIMIT $4`
	return all(tx, "keys under a pepper", scanKey, query, version, after, int64(tx.Now), limit)
}
