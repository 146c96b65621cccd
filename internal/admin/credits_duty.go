package admin

import (
	"context"
	"errors"
	"fmt"

	"gatehouse"
	"gatehouse/internal/store"
)

// KeepCredits brings the credits of every organization to the present where that cannot wait: it enters spending that has been settled
// for an hour, issues grants that have started, takes out what has ended, and refills what has run low. Every node may call it at any
// time: each step is decided in the transaction that makes it, so it happens once. It returns how many organizations it changed; one
// that fails does not keep it from the others.
func (s *Service) KeepCredits(ctx context.Context) (changed int, err error) {
	var due []string
	err = s.cfg.DB.View(ctx, func(tx *store.Tx) error {
		due = due[:0]
		var all []string
		if err := tx.EachCredits(func(c *gatehouse.Credits) error { all = append(all, c.Organization); return nil }); err != nil {
			return err
		}
		for _, organization := range all {
			b, u, err := bookNow(tx, organization)
			if err != nil {
				return err
			}
			low, err := b.low(u)
			if err != nil {
				return err
			}
			if low || b.due(u) {
				due = append(due, organization)
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("look at the credits: %w", err)
	}
	var errs []error
	for _, organization := range due {
		switch err := s.keepUp(ctx, organization); {
		case err == nil:
			changed++
		case !errors.Is(err, errUnchanged): // another node was quicker
			errs = append(errs, fmt.Errorf("keep the credits of %s: %w", organization, err))
		}
	}
	return changed, errors.Join(errs...)
}

func bookNow(tx *store.Tx, organization string) (*book, use, error) {
	b, err := openBook(tx, organization, "")
	if err != nil {
		return nil, use{}, err
	}
	u, err := creditUse(tx, b.credits)
	return b, u, err
}

// maxRefills bounds the refills of one step: a policy may add little to what is far below.
const maxRefills = 100

// keepUp does for one organization what is due.
func (s *Service) keepUp(ctx context.Context, organization string) error {
	who := &gatehouse.Principal{Actor: gatehouse.Actor{Kind: gatehouse.ActorSystem}, Organization: organization}
	ev := gatehouse.Event{Type: "credits.kept", Subject: gatehouse.SubjectCredits, SubjectID: organization}
	_, err := s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		b, u, err := bookNow(tx, organization)
		if err != nil {
			return err
		}
		low, err := b.low(u)
		if err != nil {
			return err
		}
		if !low && !b.due(u) {
			return errUnchanged
		}
		b.reference = ev.Type
		if err := b.advance(u); err != nil {
			return err
		}
		for range maxRefills {
			if low, err = b.low(u); err != nil {
				return err
			}
			if !low {
				break
			}
			g, err := b.refill(b.credits.Refill.Add)
			if err != nil {
				return err
			}
			tx.Emit(gatehouse.Event{Type: "credits.refilled", Organization: organization, Subject: gatehouse.SubjectGrant, SubjectID: g.ID, Change: detail(grantDetail(g))})
			b.sort()
			if err := b.advance(u); err != nil {
				return err
			}
		}
		tx.Event().Change = detail(b.detail(map[string]any{}))
		return nil
	})
	return err
}

// low reports whether the credits are to be refilled and the month still allows it.
func (b *book) low(u use) (bool, error) {
	p := b.credits.Refill
	if p.Mode != gatehouse.RefillAutomatic || b.credits.Budget == "" || b.spendable()-b.unposted(u) >= p.Below {
		return false, nil
	}
	room, err := b.room()
	return room >= p.Add, err
}
