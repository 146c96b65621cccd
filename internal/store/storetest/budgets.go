package storetest

import (
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
)

// testBudgetEntities takes a budget through its life.
func testBudgetEntities(t *testing.T, db *store.DB) {
	seed(t, db)
	run(t, db, entity[gatehouse.Budget]{
		value: func() *gatehouse.Budget {
			return &gatehouse.Budget{ID: "budget_x", Organization: "org-a", Name: "team", Kind: gatehouse.BudgetSpendLimit, Scope: gatehouse.ScopeProject, Subject: "proj_1",
				Amount: 5e9, Window: gatehouse.Window{Period: gatehouse.Quarterly, StartDay: 15, StartMonth: 2}, Enforcement: gatehouse.Hard, Uncapped: gatehouse.UncappedTypical,
				UnknownPrice: gatehouse.UnknownMeter, Increases: []gatehouse.Increase{{Amount: 1, From: 2, Until: 3, Reason: "launch"}}, Alerts: []int{50, 80, 100}, CreatedAt: 5}
		},
		change: func(b *gatehouse.Budget) {
			b.Name, b.Amount, b.Window, b.Enforcement, b.Uncapped, b.UnknownPrice, b.Increases, b.Alerts, b.RemovedAt = "n", 0, gatehouse.Window{Period: gatehouse.Total},
				gatehouse.Soft, "", gatehouse.UnknownRefuse, nil, nil, 9
		},
		rev:    func(b *gatehouse.Budget) *int64 { return &b.Rev },
		create: (*store.Tx).CreateBudget, save: (*store.Tx).SaveBudget, each: (*store.Tx).EachBudget,
		get:    func(tx *store.Tx, b *gatehouse.Budget) (*gatehouse.Budget, error) { return tx.Budget(b.ID) },
		rename: func(b *gatehouse.Budget) { b.ID = "budget_none" },
	})
	// One live budget per name, one spend limit and one of credits for whom they bind.
	create := func(b gatehouse.Budget) error {
		b.Organization = "org-a"
		_, err := db.Update(t.Context(), gatehouse.Event{Type: "budget.created", Organization: "org-a"}, func(tx *store.Tx) error { return tx.CreateBudget(&b) })
		return err
	}
	for _, c := range []struct {
		budget   gatehouse.Budget
		conflict bool
	}{
		{gatehouse.Budget{ID: "budget_1", Name: "a", Scope: gatehouse.ScopeKey, Subject: "key_1"}, false},
		{gatehouse.Budget{ID: "budget_2", Name: "a", Scope: gatehouse.ScopeKey, Subject: "key_2"}, true},
		{gatehouse.Budget{ID: "budget_3", Name: "b", Scope: gatehouse.ScopeKey, Subject: "key_1"}, false},
		{gatehouse.Budget{ID: "budget_4", Kind: gatehouse.BudgetSpendLimit, Scope: gatehouse.ScopeProject, Subject: "proj_1"}, false},
		{gatehouse.Budget{ID: "budget_5", Kind: gatehouse.BudgetSpendLimit, Scope: gatehouse.ScopeProject, Subject: "proj_1"}, true},
		{gatehouse.Budget{ID: "budget_6", Kind: gatehouse.BudgetSpendLimit, Scope: gatehouse.ScopeProject, Subject: "proj_2"}, false},
	} {
		if err := create(c.budget); (gatehouse.KindOf(err) == gatehouse.Conflict) != c.conflict || err != nil && !c.conflict {
			t.Errorf("create %s: %v, want conflict: %v", c.budget.ID, err, c.conflict)
		}
	}
	look(t, db, func(tx *store.Tx) error {
		list, err := tx.Budgets("org-a")
		if len(list) != 4 {
			t.Errorf("%d live budgets, want 4", len(list))
		}
		return err
	})
}
