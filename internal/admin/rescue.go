package admin

import (
	"context"
	"errors"

	"gatehouse"
	"gatehouse/internal/store"
)

// RescueAdmin makes an admin key of an owner in an organization that has no usable one: after a restore the last ones may have been
// made, or revoked, after the backup. It returns nil where there is one. Only the host may; an organization without an owner gets
// none.
func (s *Service) RescueAdmin(ctx context.Context, who *gatehouse.Principal) (*NewKey, error) {
	if who.Actor.Kind != gatehouse.ActorHost {
		return nil, NotAdmin()
	}
	var key *NewKey
	ev := gatehouse.Event{Type: "api_key.created", Subject: gatehouse.SubjectKey}
	_, err := s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		key = nil
		n, err := tx.CountActiveAdminKeys(who.Organization)
		if err != nil {
			return err
		}
		if n > 0 {
			return errUnchanged
		}
		owner := ""
		if err := tx.EachUser(func(u *gatehouse.User) error {
			if owner == "" && u.Organization == who.Organization && u.Role == gatehouse.RoleOwner && u.RemovedAt == 0 {
				owner = u.ID
			}
			return nil
		}); err != nil {
			return err
		}
		if owner == "" {
			return errUnchanged
		}
		if key, err = s.mint(tx, who, KeyRequest{Class: gatehouse.ClassAdmin, User: owner, Name: "made by a restore"}); err != nil {
			return err
		}
		created := keyCreated(key.Key)
		tx.Event().SubjectID, tx.Event().Change = created.SubjectID, created.Change
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return nil, nil
	}
	return key, err
}
