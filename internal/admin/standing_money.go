package admin

import (
	"context"
	"slices"

	"gatehouse"
	"gatehouse/internal/store"
)

// budgetStanding is put back with the smaller of both amounts, hard where either was, and with the increases that both have. One that
// was removed after the backup binds again: that takes nothing from what was decided but an end of a restriction.
func budgetStanding(tx *store.Tx, b *gatehouse.Budget) *subject {
	if b == nil {
		return nil
	}
	return &subject{
		project: projectOf(b),
		standing: func() standing {
			if b.RemovedAt != 0 {
				return standing{Gone: true}
			}
			row := *b
			row.Rev, row.Increases, row.Alerts = 0, slices.Clone(b.Increases), slices.Clone(b.Alerts)
			return standing{Budget: &row}
		},
		narrow: func(_ *store.Tx, to *standing) error {
			if to.Gone || to.Budget == nil || b.Kind == gatehouse.BudgetCredits {
				return nil // credits: what grants come to says what may be spent
			}
			b.Amount = min(b.Amount, to.Budget.Amount)
			if to.Budget.Enforcement == gatehouse.Hard && b.Enforcement == gatehouse.Soft {
				b.Enforcement, b.Uncapped, b.UnknownPrice = gatehouse.Hard, to.Budget.Uncapped, to.Budget.UnknownPrice
			}
			b.Increases = slices.DeleteFunc(b.Increases, func(i gatehouse.Increase) bool {
				return !slices.ContainsFunc(to.Budget.Increases, func(o gatehouse.Increase) bool { return o.ID == i.ID })
			})
			return nil
		},
		save: func() error { return tx.SaveBudget(b) },
	}
}

// budgetAgain makes a budget that was set after the backup, as it was last: without it more could be spent than was decided. One that
// has its name, or its place, by now was there at the time of the backup.
func budgetAgain(tx *store.Tx, b *gatehouse.Budget) error {
	list, err := tx.Budgets(b.Organization)
	if err != nil {
		return err
	}
	for i := range list {
		o := &list[i]
		if o.Name != "" && o.Name == b.Name || o.Kind == b.Kind && o.Kind != gatehouse.BudgetPlain && o.Scope == b.Scope && o.Subject == b.Subject {
			return errUnchanged
		}
	}
	row := *b
	tx.Event().Project = projectOf(&row)
	return tx.CreateBudget(&row)
}

// prepayAgain has an organization prepay again that began to after the backup: else it could spend what its credits do not cover.
func (s *Service) prepayAgain(ctx context.Context, who *gatehouse.Principal, prepaid bool) (Reapplied, error) {
	var c *gatehouse.Credits
	err := s.cfg.DB.View(ctx, func(tx *store.Tx) (err error) {
		c, err = tx.Credits(who.Organization)
		return err
	})
	switch {
	case err != nil && gatehouse.KindOf(err) != gatehouse.NotFound:
		return 0, err
	case !prepaid || err == nil && c.Budget != "":
		return AsItWas, nil
	}
	_, err = s.UpdateCredits(ctx, who, CreditsUpdate{Prepaid: Some(true)})
	return Narrowed, err
}

// grantStanding is taken back when it was revoked, and ends when it was to end. What is entered of it follows with the next step of
// the credits' duty.
func grantStanding(tx *store.Tx, g *gatehouse.Grant) *subject {
	if g == nil {
		return nil
	}
	return &subject{
		standing: func() standing {
			return standing{Gone: g.RevokedAt != 0, ExpiresAt: g.ExpiresAt}
		},
		narrow: func(tx *store.Tx, to *standing) error {
			if to.Gone {
				g.RevokedAt = tx.Now
			}
			if to.ExpiresAt != 0 && (g.ExpiresAt == 0 || to.ExpiresAt < g.ExpiresAt) {
				g.ExpiresAt = to.ExpiresAt
			}
			return nil
		},
		save: func() error { return tx.SaveGrant(g) },
	}
}
