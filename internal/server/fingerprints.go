package server

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"gatehouse"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// metaFingerprint is where the database keeps the fingerprint of a version of a secret that lives outside it.
func metaFingerprint(name string, version int) string {
	return fmt.Sprintf("fingerprint.%s.%d", name, version)
}

// fingerprints compares the secrets at hand with the ones the database has met: it returns what it has not met yet, by the name it
// is kept under, and says of each that is another.
func fingerprints(tx *store.Tx, peppers *secret.Peppers, keyring *secret.Keyring, other func(name string, version int)) (unknown map[string]string, err error) {
	unknown = map[string]string{}
	for _, s := range []struct {
		name   string
		prints map[int]string
	}{{"pepper", peppers.Fingerprints()}, {"kek", keyring.Fingerprints()}} {
		for _, version := range slices.Sorted(maps.Keys(s.prints)) {
			met, err := tx.Meta(metaFingerprint(s.name, version))
			switch {
			case gatehouse.KindOf(err) == gatehouse.NotFound:
				unknown[metaFingerprint(s.name, version)] = s.prints[version]
			case err != nil:
				return nil, err
			case met != s.prints[version]:
				other(s.name, version)
			}
		}
	}
	return unknown, nil
}

// noteSecrets has the database remember which pepper and kek go with it. One that is not the one it knows is in the log as an error:
// what was made under the other does not verify, or does not open, and the node serves the rest.
func (s *Server) noteSecrets(ctx context.Context, peppers *secret.Peppers, keyring *secret.Keyring) error {
	var unknown map[string]string
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		unknown, err = fingerprints(tx, peppers, keyring, func(name string, version int) {
			s.log.Error("this is not the secret of that version that the database was used with: what was made under that one is refused", "secret", name, "version", version)
		})
		return err
	})
	if err != nil || len(unknown) == 0 {
		return err
	}
	ev := gatehouse.Event{Type: "installation.secrets_noted", Actor: gatehouse.Actor{Kind: gatehouse.ActorSystem}}
	_, err = s.db.Update(ctx, ev, func(tx *store.Tx) error {
		for _, name := range slices.Sorted(maps.Keys(unknown)) {
			if err := tx.SetMeta(name, unknown[name]); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}
