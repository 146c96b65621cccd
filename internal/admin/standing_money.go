package admin

import (
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
