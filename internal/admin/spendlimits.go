package admin

import (
	"context"

	"gatehouse"
	"gatehouse/internal/store"
)

// A spend limit is OpenAI's: one hard monthly budget of the organization, and one of each project. It is a budget of the kind
// gatehouse.BudgetSpendLimit, so that both faces show and change the same thing.

// SetSpendLimit creates or replaces the spend limit of a project, or where project is empty of the organization. What was spent in the
// running month counts.
func (s *Service) SetSpendLimit(ctx context.Context, who *gatehouse.Principal, project string, amount gatehouse.NanoUSD) (b *gatehouse.Budget, effect Effect, err error) {
	effect, err = s.change(ctx, who, narrows, gatehouse.Event{Type: "budget.updated", Project: project}, func(tx *store.Tx) error {
		b, err = s.spendLimit(tx, who, project, true)
		switch {
		case gatehouse.KindOf(err) == gatehouse.NotFound && b != nil:
			b.Amount, b.CreatedAt = amount, tx.Now
			return s.addBudget(tx, b)
		case err != nil:
			return err
		}
		changed, err := reviseBudget(b, &BudgetUpdate{Amount: Some(amount)})
		if err != nil {
			return err
		}
		if len(changed) == 0 {
			return errUnchanged
		}
		ev := tx.Event()
		ev.Subject, ev.SubjectID, ev.Change = gatehouse.SubjectBudget, b.ID, detail(budgetDetail(b))
		return tx.SaveBudget(b)
	})
	if err == errUnchanged {
		return b, Effect{Everywhere: true}, nil
	}
	return b, effect, err
}

// RemoveSpendLimit ends the spend limit of a project, or where project is empty of the organization.
func (s *Service) RemoveSpendLimit(ctx context.Context, who *gatehouse.Principal, project string) error {
	_, err := s.change(ctx, who, widens, gatehouse.Event{Type: "budget.deleted", Project: project, Subject: gatehouse.SubjectBudget}, func(tx *store.Tx) error {
		b, err := s.spendLimit(tx, who, project, false)
		if err != nil {
			return err
		}
		tx.Event().SubjectID, b.RemovedAt = b.ID, tx.Now
		return tx.SaveBudget(b)
	})
	return err
}

// SpendLimit returns the spend limit of a project, or where project is empty of the organization, and where its month stands.
func (s *Service) SpendLimit(ctx context.Context, who *gatehouse.Principal, project string) (status *BudgetStatus, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		b, err := s.spendLimit(tx, who, project, false)
		if err != nil {
			return err
		}
		status, err = statusOf(tx, b)
		return err
	})
	return status, err
}

// spendLimit returns a spend limit. Where there is none it is NotFound, together with the one that there would be.
func (s *Service) spendLimit(tx *store.Tx, who *gatehouse.Principal, project string, toChange bool) (*gatehouse.Budget, error) {
	b := &gatehouse.Budget{ID: gatehouse.NewID(gatehouse.PrefixBudget), Organization: who.Organization, Kind: gatehouse.BudgetSpendLimit, Scope: gatehouse.ScopeOrganization,
		Subject: who.Organization, Window: gatehouse.Window{Period: gatehouse.Monthly}, Enforcement: gatehouse.Hard}
	if project != "" {
		find := s.project
		if toChange {
			find = s.activeProject
		}
		p, err := find(tx, who, project)
		if err != nil {
			return nil, err
		}
		b.Scope, b.Subject = gatehouse.ScopeProject, p.ID
	}
	list, err := tx.Budgets(who.Organization)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if l := &list[i]; l.Kind == b.Kind && l.Scope == b.Scope && l.Subject == b.Subject {
			return l, nil
		}
	}
	if project != "" {
		return b, gatehouse.Errorf(gatehouse.NotFound, "Project '%s' has no spend limit.", project)
	}
	return b, gatehouse.Errorf(gatehouse.NotFound, "The organization has no spend limit.")
}
