package storetest

import (
	"context"
	"sync/atomic"
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
)

// testSlices lets 50 takers share one window: what they are granted together is the amount, not a nano-dollar more, whoever asks at once.
func testSlices(t *testing.T, db *store.DB) {
	seed(t, db)
	budget := &gatehouse.Budget{ID: "budget_1", Organization: "org-a", Scope: gatehouse.ScopeKey, Subject: "key_1", Amount: 1000, Window: gatehouse.Window{Period: gatehouse.Total},
		Enforcement: gatehouse.Hard}
	change(t, db, func(tx *store.Tx) error { return tx.CreateBudget(budget) })
	window := gatehouse.BudgetWindow{Budget: "budget_1", End: 1<<63 - 1}
	ctx := context.WithoutCancel(t.Context())
	take := func(node string, need, want, owed gatehouse.NanoUSD) store.Slice {
		t.Helper()
		s, err := db.TakeSlice(ctx, store.TakeSlice{Window: window, Node: node, Now: 5, Need: need, Want: want, Request: need, Owed: owed})
		if err != nil {
			t.Error(err)
		}
		return s
	}
	var granted, refused atomic.Int64
	atOnce(50, func(i int) {
		node := numbered("node-", i%5)
		for range 3 {
			if take(node, 7, 9, 0).Refused {
				refused.Add(1)
			} else {
				granted.Add(1)
			}
		}
	})
	row := func() *store.WindowRow {
		t.Helper()
		var rows []store.WindowRow
		look(t, db, func(tx *store.Tx) (err error) {
			rows, err = tx.BudgetWindows([]string{"budget_1"}, 5)
			return err
		})
		if len(rows) != 1 {
			t.Fatalf("%d windows", len(rows))
		}
		return &rows[0]
	}
	if w := row(); w.Allotted() != 999 && w.Allotted() != 1000 || granted.Load() != 111 || refused.Load() != 39 {
		t.Errorf("%d grants of 9 come to %d, %d refused; want 111 within 1000 and 39", granted.Load(), w.Allotted(), refused.Load())
	}

	// What is given back can be taken by another; what is spent cannot be given back.
	record(t, db, store.Batch{Usage: []gatehouse.Usage{{ID: "req_1", At: 5, Organization: "org-a", Product: "completions", Cost: 100, CostKnown: true}},
		Charges: []store.Charge{{Usage: "req_1", Node: "node-0", Cost: 100, Windows: []gatehouse.BudgetWindow{window}}}})
	record(t, db, store.Batch{Usage: []gatehouse.Usage{{ID: "req_1", At: 5, Organization: "org-a", Product: "completions", Cost: 100, CostKnown: true}},
		Charges: []store.Charge{{Usage: "req_1", Node: "node-0", Cost: 100, Windows: []gatehouse.BudgetWindow{window}}}}) // a journal that is read again
	var zero store.SliceRow
	for _, s := range row().Slices {
		if s.Node == "node-0" {
			zero = s
		}
	}
	if zero.Used != 100 {
		t.Fatalf("node-0 has used %d, want 100", zero.Used)
	}
	if err := db.ReturnSlice(ctx, window, "node-0", zero.Granted-99); err != nil {
		t.Error(err)
	}
	if w := row(); w.Allotted() < 999 {
		t.Error("a node gave back what it had spent")
	}
	if err := db.ReturnSlice(ctx, window, "node-0", zero.Granted-100); err != nil {
		t.Error(err)
	}
	if s := take("node-9", zero.Granted-100, 0, 0); s.Refused || s.Others < 100 {
		t.Errorf("what was given back cannot be taken: %+v", s)
	}
	// What is owed is granted though there is no room, and then nothing else is.
	if s := take("node-0", 0, 0, 500); s.Granted != 500 || s.Left >= 0 {
		t.Errorf("owed 500: %+v", s)
	}
	before := row().Recall
	if s := take("node-9", 5, 5, 0); !s.Refused || s.Recall != before+1 {
		t.Errorf("a refusal for what others hold unused recalls it: %+v after %d", s, before)
	}
	if _, err := db.TakeSlice(ctx, store.TakeSlice{Window: gatehouse.BudgetWindow{Budget: "budget_none"}, Node: "n"}); gatehouse.KindOf(err) != gatehouse.NotFound {
		t.Errorf("a slice of no budget: %v", err)
	}
}

// testOpenWork follows the bound of work through its life, and through a journal that is read again.
func testOpenWork(t *testing.T, db *store.DB) {
	seed(t, db)
	window := gatehouse.BudgetWindow{Budget: "budget_1", End: 1<<63 - 1}
	w := someWork("resp_1")
	w.Bound, w.Node, w.Budgets = 300, "node-a", []gatehouse.BudgetWindow{window}
	is := func(when string, used, open gatehouse.NanoUSD) {
		t.Helper()
		look(t, db, func(tx *store.Tx) error {
			rows, err := tx.BudgetWindows([]string{"budget_1"}, 5)
			if err != nil || len(rows) != 1 || len(rows[0].Slices) != 1 {
				t.Fatalf("%s: %+v, %v", when, rows, err)
			}
			if s := rows[0].Slices[0]; s.Node != "node-a" || s.Used != used || s.Open != open {
				t.Errorf("%s: %+v, want %d used and %d open", when, s, used, open)
			}
			return nil
		})
	}
	begin := store.Batch{Work: []gatehouse.Work{w}}
	end := store.Batch{Usage: []gatehouse.Usage{{ID: "resp_1", At: 5, Organization: "org-a", Product: "completions", Cost: 120, CostKnown: true}}, WorkDone: []string{"resp_1"},
		Charges: []store.Charge{{Usage: "resp_1", Node: "node-a", Cost: 120, Windows: w.Budgets}}}
	record(t, db, begin)
	is("begun", 0, 300)
	record(t, db, begin)
	is("begun again", 0, 300)
	record(t, db, end)
	is("ended", 120, 0)
	record(t, db, begin)
	record(t, db, end)
	is("read again", 120, 0)
	w.ID = "resp_2"
	both := store.Batch{Work: []gatehouse.Work{w}, Usage: []gatehouse.Usage{{ID: "resp_2", At: 5, Organization: "org-a", Product: "completions", Cost: 30, CostKnown: true}},
		WorkDone: []string{"resp_2"}, Charges: []store.Charge{{Usage: "resp_2", Node: "node-a", Cost: 30, Windows: w.Budgets}}}
	record(t, db, both)
	is("begun and ended at once", 150, 0)
}
