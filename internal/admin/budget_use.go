package admin

import (
	"context"

	"gatehouse"
	"gatehouse/internal/store"
)

// BudgetStatus is a budget and where its running window stands.
type BudgetStatus struct {
	gatehouse.Budget
}

// Budgets lists the organization's budgets, oldest first.
func (s *Service) Budgets(ctx context.Context, who *gatehouse.Principal) (list []BudgetStatus, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		budgets, err := tx.Budgets(who.Organization)
		list = nil
		if err != nil {
			return err
		}
		for i := range budgets {
			status, err := statusOf(tx, &budgets[i])
			if err != nil {
				return err
			}
			list = append(list, *status)
		}
		return nil
	})
	return list, err
}

// Budget returns a budget by id or name.
func (s *Service) Budget(ctx context.Context, who *gatehouse.Principal, ref string) (status *BudgetStatus, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		b, err := s.budget(tx, who, ref)
		if err != nil {
			return err
		}
		status, err = statusOf(tx, b)
		return err
	})
	return status, err
}

// statusOf returns where a budget's running window stands.
func statusOf(tx *store.Tx, b *gatehouse.Budget) (*BudgetStatus, error) {
	return &BudgetStatus{*b}, nil
}

// Enforcing reports whether a hard budget refuses now whatever comes: less than a cent is left even if every open request turned out
// to cost nothing.
func (s *BudgetStatus) Enforcing() bool { return false }

// creditUse returns what counts against the budget of an organization's credits.
func creditUse(tx *store.Tx, c *gatehouse.Credits) (use, error) { return use{}, nil }
