package admin

import (
	"context"
	"errors"

	"gatehouse"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// errNothing ends a change that has nothing to do.
var errNothing = errors.New("nothing to change")

// RewrapKeys stores new digests of keys of the principal's organization, each with an event of its own, and returns how many. A
// key that was revoked, has expired, has another digest by now or is under that pepper or a newer one already stays as it is. The
// change narrows nothing: the same secret is right before and after it. Only the system may ask for it.
func (s *Service) RewrapKeys(ctx context.Context, who *gatehouse.Principal, list []secret.Rewrap) (int, error) {
	if who.Actor.Kind != gatehouse.ActorSystem {
		return 0, NotAdmin()
	}
	done := 0
	ev := gatehouse.Event{Type: "api_key.rewrapped", Organization: who.Organization, Actor: who.Actor, Subject: gatehouse.SubjectKey}
	_, err := s.cfg.DB.Update(ctx, ev, func(tx *store.Tx) error {
		done = 0
		for _, r := range list {
			k, err := tx.Key(r.Key)
			if gatehouse.KindOf(err) == gatehouse.NotFound {
				continue
			}
			if err != nil {
				return err
			}
			if state := k.State(tx.Now); k.Organization != who.Organization || state == gatehouse.Revoked || state == gatehouse.Expired || k.PepperVersion >= r.Version || k.Digest != r.Was {
				continue
			}
			k.Digest, k.PepperVersion = r.Digest, r.Version
			if err := tx.SaveKey(k); err != nil {
				return err
			}
			e := ev
			if done == 0 {
				e = *tx.Event()
			}
			e.Project, e.SubjectID, e.Change = k.Project, k.ID, detail(map[string]any{"pepper_version": r.Version})
			if done++; done == 1 {
				*tx.Event() = e
			} else {
				tx.Emit(e)
			}
		}
		if done == 0 {
			return errNothing
		}
		return nil
	})
	if errors.Is(err, errNothing) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return done, nil
}
