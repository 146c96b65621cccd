package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/ledger/budget"
	"gatehouse/internal/store"
	"gatehouse/internal/store/storetest"
)

// refusal returns the refusal that an error is.
func refusal(t testing.TB, err error) *gatehouse.Error {
	t.Helper()
	e, ok := errors.AsType[*gatehouse.Error](err)
	if !ok || e.Kind != gatehouse.RateLimited {
		t.Fatalf("got %v, want a budget's refusal", err)
	}
	return e
}

// hold reserves a request of so many tokens.
func (w *world) hold(n *ledgerNode, id string, tokens int64, budgets ...*gatehouse.Budget) (*Hold, error) {
	h := new(Hold)
	return h, n.l.Reserve(context.Background(), w.request(id, tokens, budgets), h)
}

// buy is a whole request.
func (w *world) buy(n *ledgerNode, id string, tokens int64, budgets ...*gatehouse.Budget) error {
	h, err := w.hold(n, id, tokens, budgets...)
	if err != nil {
		return err
	}
	return h.Settle(costs(tokens))
}

// TestConcurrentRequestsCannotOverdraw lets 1,000 goroutines spend one key's budget through one node: what is reserved and settled never
// exceeds it, and what it comes to is what usage says.
func TestConcurrentRequestsCannotOverdraw(t *testing.T) {
	w := newWorld(t, "")
	w.organization()
	w.join(1)
	n := w.nodes[0]
	const each, cap = 10, 5000 // tokens
	b := w.budget(gatehouse.Budget{Scope: gatehouse.ScopeKey, Subject: "key_1", Amount: cap * perToken})
	var live, most, served, spent, final, again atomic.Int64
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			for try := range 3 {
				h, err := w.hold(n, fmt.Sprintf("req_%d_%d", i, try), each, b)
				if err != nil {
					if refusal(t, err).NoRetry {
						final.Add(1)
						return
					}
					again.Add(1)
					continue
				}
				now := live.Add(each)
				for m := most.Load(); now+spent.Load() > m && !most.CompareAndSwap(m, now+spent.Load()); m = most.Load() {
				}
				cost := int64(i % (each + 1))
				// What is spent is counted before the hold ends here, as the ledger does it; so the sum is never less than the truth.
				spent.Add(cost)
				if err := h.Settle(costs(cost)); err != nil {
					t.Error(err)
				}
				live.Add(-each)
				served.Add(1)
			}
		})
	}
	wg.Wait()
	w.refresh(n)
	row := w.windowOf(b, w.at())
	t.Logf("%d requests served, %d refused for good, %d for now; %d of %d tokens spent; overshoot: %d nano-USD", served.Load(), final.Load(), again.Load(), spent.Load(), cap,
		max(0, spent.Load()-cap)*int64(perToken))
	if spent.Load() > cap {
		t.Errorf("%d tokens are spent of a budget of %d", spent.Load(), cap)
	}
	if got := row.Spent(); got != gatehouse.NanoUSD(spent.Load())*perToken {
		t.Errorf("the budget has counted %d, usage comes to %d", got, gatehouse.NanoUSD(spent.Load())*perToken)
	}
	w.view(func(tx *store.Tx) error {
		rows, err := tx.CountUsage()
		if rows != served.Load() {
			t.Errorf("%d rows of usage for %d requests", rows, served.Load())
		}
		return err
	})
}

// TestReplicasShareOneBudget gives four nodes one budget: together they spend it once, all of it, and not four times.
func TestReplicasShareOneBudget(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			url := ""
			if engine == "postgres" {
				url = storetest.Postgres(t)
			}
			w := newWorld(t, url)
			w.organization()
			w.join(4)
			b := w.budget(gatehouse.Budget{Scope: gatehouse.ScopeOrganization, Subject: "org-1", Amount: 1000 * perToken})
			spent, idle := int64(0), 0
			for i := 0; idle < 8; i++ {
				n := w.nodes[i%4]
				switch err := w.buy(n, fmt.Sprintf("req_%d", i), 7, b); {
				case err == nil:
					spent, idle = spent+7, 0
				default:
					idle++
					if e := refusal(t, err); !e.NoRetry {
						for _, n := range w.nodes { // what it waits for: that the others give back what they do not need
							w.refresh(n)
						}
					}
				}
			}
			if spent != 994 { // 142 times 7: the next one would go over
				t.Errorf("%d of 1,000 tokens are spent, want 994", spent)
			}
		})
	}
}

// TestRefusalsSayWhetherToTryAgain tells what is used up from what is only held.
func TestRefusalsSayWhetherToTryAgain(t *testing.T) {
	w := newWorld(t, "")
	w.organization()
	w.join(1)
	n := w.nodes[0]
	b := w.budget(gatehouse.Budget{Scope: gatehouse.ScopeProject, Subject: "proj_1", Amount: 100 * perToken})
	h, err := w.hold(n, "req_1", 80, b)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.hold(n, "req_2", 30, b)
	if e := refusal(t, err); e.NoRetry || e.RetryAfterMillis == 0 || e.Code != budget.CodeProject {
		t.Errorf("while 80 are held: %+v", e)
	}
	if err := h.Settle(costs(80)); err != nil {
		t.Fatal(err)
	}
	_, err = w.hold(n, "req_3", 30, b)
	if e := refusal(t, err); !e.NoRetry || e.RetryAfterMillis != 0 || !strings.Contains(e.Message, "1 April 2026") {
		t.Errorf("once 80 are spent: %+v", e)
	}
	if err := w.buy(n, "req_4", 20, b); err != nil {
		t.Errorf("the last 20 are refused: %v", err)
	}
	for _, c := range []struct {
		budget gatehouse.Budget
		code   string
	}{
		{gatehouse.Budget{Scope: gatehouse.ScopeOrganization, Subject: "org-1"}, budget.CodeOrganization},
		{gatehouse.Budget{Scope: gatehouse.ScopeUser, Subject: "user-1"}, budget.CodeUsage},
		{gatehouse.Budget{Scope: gatehouse.ScopeLabel, Subject: "team=search"}, budget.CodeUsage},
		{gatehouse.Budget{Scope: gatehouse.ScopeOrganization, Subject: "org-1", Kind: gatehouse.BudgetCredits, Window: gatehouse.Window{Period: gatehouse.Total}}, budget.CodeCredits},
	} {
		_, err := w.hold(n, "req_5", 1, w.budget(c.budget))
		if e := refusal(t, err); e.Code != c.code || !e.NoRetry {
			t.Errorf("a budget of a %s without money: %+v", c.budget.Scope, e)
		}
	}
}

// TestNewUsersFirstRequestsAreReserved holds the first requests of somebody nobody has seen to the budget at once.
func TestNewUsersFirstRequestsAreReserved(t *testing.T) {
	w := newWorld(t, "")
	w.organization()
	w.join(1)
	b := w.budget(gatehouse.Budget{Scope: gatehouse.ScopeUser, Subject: "user-new", Amount: 100 * perToken})
	var served atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if _, err := w.hold(w.nodes[0], fmt.Sprintf("req_%d", i), 60, b); err == nil {
				served.Add(1)
			}
		})
	}
	wg.Wait()
	if served.Load() != 1 {
		t.Errorf("%d of 8 first requests of 60 tokens fit into 100", served.Load())
	}
}

// TestFailsClosedWithoutDatabase spends what the node was given while the database is away, and not a token more.
func TestFailsClosedWithoutDatabase(t *testing.T) {
	w := newWorld(t, "")
	w.organization()
	w.join(1)
	n := w.nodes[0]
	b := w.budget(gatehouse.Budget{Scope: gatehouse.ScopeKey, Subject: "key_1", Amount: 1000 * perToken})
	if err := w.buy(n, "req_0", 1, b); err != nil {
		t.Fatal(err)
	}
	granted := int64(w.windowOf(b, w.at()).Slices[0].Granted / perToken)
	_ = w.db.Close()
	spent := int64(1)
	for i := 1; ; i++ {
		err := w.buy(n, fmt.Sprintf("req_%d", i), 1, b)
		if err == nil {
			spent++
			continue
		}
		if e, ok := errors.AsType[*gatehouse.Error](err); !ok || e.Kind != gatehouse.Unavailable || e.Code != budget.CodeUnavailable || e.NoRetry {
			t.Errorf("without a database: %v", err)
		}
		break
	}
	if spent != granted {
		t.Errorf("%d tokens are spent of a slice of %d", spent, granted)
	}
	// A budget that this node has never met is no reason to serve.
	if err := w.buy(n, "req_x", 1, &gatehouse.Budget{ID: "budget_unseen", Scope: gatehouse.ScopeKey, Subject: "key_1", Amount: 1e12, Window: b.Window, Enforcement: gatehouse.Hard}); gatehouse.KindOf(err) != gatehouse.Unavailable {
		t.Errorf("a budget nobody can look up: %v", err)
	}
}

// TestNoFalseRefusalUnderLoad lets many requests at once use a budget that has room for all of them: none is refused.
func TestNoFalseRefusalUnderLoad(t *testing.T) {
	w := newWorld(t, "")
	w.organization()
	w.join(2)
	b := w.budget(gatehouse.Budget{Scope: gatehouse.ScopeOrganization, Subject: "org-1", Amount: 2 * 200 * 10 * perToken})
	var wg sync.WaitGroup
	for i := range 400 {
		wg.Go(func() {
			if err := w.buy(w.nodes[i%2], fmt.Sprintf("req_%d", i), 10, b); err != nil {
				if e, ok := errors.AsType[*gatehouse.Error](err); !ok || e.Kind != gatehouse.RateLimited || e.NoRetry {
					t.Errorf("request %d of a budget with room: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestRestartLosesNoUsage kills a node with settled and open requests: nothing settled is lost, the open ones count at their bound, and
// the node goes on with the slice it had.
func TestRestartLosesNoUsage(t *testing.T) {
	w := newWorld(t, "")
	w.organization()
	w.join(1)
	n := w.nodes[0]
	b := w.budget(gatehouse.Budget{Scope: gatehouse.ScopeKey, Subject: "key_1", Amount: 100 * perToken})
	if err := w.buy(n, "req_1", 30, b); err != nil {
		t.Fatal(err)
	}
	if _, err := w.hold(n, "req_2", 50, b); err != nil {
		t.Fatal(err)
	}
	w.kill(n)
	w.start(n)
	_, err := w.hold(n, "req_3", 21, b)
	if e := refusal(t, err); !e.NoRetry {
		t.Errorf("80 of 100 are spent and a request of 21 may be tried again: %v", e)
	}
	if err := w.buy(n, "req_4", 20, b); err != nil {
		t.Errorf("20 are left and refused: %v", err)
	}
	w.refresh(n)
	if row := w.windowOf(b, w.at()); row.Spent() != 100*perToken || len(row.Slices) != 1 {
		t.Errorf("after the restart %d is spent in %d slices", row.Spent(), len(row.Slices))
	}
}

// TestAmountChangesNeverTouchSpend changes a budget's amount while it is spent, as an operator or a manifest does: what was spent stays.
func TestAmountChangesNeverTouchSpend(t *testing.T) {
	w := newWorld(t, "")
	w.organization()
	w.join(2)
	b := w.budget(gatehouse.Budget{Scope: gatehouse.ScopeKey, Subject: "key_1", Amount: 1000 * perToken})
	spent := int64(0)
	for i := range 40 {
		n := w.nodes[i%2]
		if err := w.buy(n, fmt.Sprintf("req_%d", i), 5, b); err == nil {
			spent += 5
		}
		changed := *b
		changed.Amount = gatehouse.NanoUSD(300+100*(i%5)) * perToken
		w.update(func(tx *store.Tx) error { return tx.SaveBudget(&changed) })
		b = &changed
		w.refresh(n)
	}
	for _, n := range w.nodes {
		w.refresh(n)
	}
	if got := w.windowOf(b, w.at()).Spent(); got != gatehouse.NanoUSD(spent)*perToken || spent == 0 {
		t.Errorf("the budget has counted %d, %d tokens were spent", got, spent)
	}
	// Lowered below what is spent it refuses at once, for good.
	lowered := *b
	lowered.Amount = gatehouse.NanoUSD(spent) * perToken
	w.update(func(tx *store.Tx) error { return tx.SaveBudget(&lowered) })
	for _, n := range w.nodes {
		w.refresh(n)
		_, err := w.hold(n, "req_last_"+n.name, 1, &lowered)
		if e := refusal(t, err); !e.NoRetry {
			t.Errorf("after it was lowered to what is spent: %v", e)
		}
	}
}

// TestBudgetCountsWhatWasSpentBefore makes budgets in the middle of their window: they count what was spent in it, once, and also what was
// not recorded yet when they were made.
func TestBudgetCountsWhatWasSpentBefore(t *testing.T) {
	w := newWorld(t, "")
	w.organization()
	w.join(1)
	n := w.nodes[0]
	w.clock = time.Date(2026, 2, 27, 23, 0, 0, 0, time.UTC)
	if err := w.buy(n, "req_last_month", 11, nil...); err != nil {
		t.Fatal(err)
	}
	w.clock = time.Date(2026, 3, 1, 0, 30, 0, 0, time.UTC)
	if err := w.buy(n, "req_early", 17); err != nil {
		t.Fatal(err)
	}
	w.clock = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	if err := w.buy(n, "req_recorded", 20); err != nil {
		t.Fatal(err)
	}
	w.refresh(n)
	late, err := w.hold(n, "req_late", 13) // it is open while the budgets are made, and none of them binds it
	if err != nil {
		t.Fatal(err)
	}
	budgets := []*gatehouse.Budget{
		w.budget(gatehouse.Budget{Scope: gatehouse.ScopeOrganization, Subject: "org-1", Amount: 1000 * perToken}),
		w.budget(gatehouse.Budget{Scope: gatehouse.ScopeProject, Subject: "proj_1", Amount: 1000 * perToken}),
		w.budget(gatehouse.Budget{Scope: gatehouse.ScopeKey, Subject: "key_1", Amount: 1000 * perToken}),
		w.budget(gatehouse.Budget{Scope: gatehouse.ScopeUser, Subject: "user-1", Amount: 1000 * perToken, Enforcement: gatehouse.Soft}),
		w.budget(gatehouse.Budget{Scope: gatehouse.ScopeKey, Subject: "key_1", Amount: 1000 * perToken, Window: gatehouse.Window{Period: gatehouse.Daily}}),
	}
	if err := w.buy(n, "req_bound", 7, budgets...); err != nil {
		t.Fatal(err)
	}
	if err := late.Settle(costs(13)); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		w.clock = w.clock.Add(4 * time.Second)
		if err := w.buy(n, "req_"+gatehouse.RandomBase62(6), 1, budgets...); err != nil {
			t.Fatal(err)
		}
		w.refresh(n)
	}
	for i, b := range budgets {
		want := gatehouse.NanoUSD(17+20+13+7+4) * perToken
		if b.Window.Period == gatehouse.Daily {
			want -= 17 * perToken
		}
		if row := w.windowOf(b, w.at()); row.Spent() != want {
			t.Errorf("budget %d of a %s has counted %d, want %d", i, b.Scope, row.Spent(), want)
		}
	}
	if err := w.buy(n, "req_prepaid", 1, w.budget(gatehouse.Budget{Kind: gatehouse.BudgetCredits, Scope: gatehouse.ScopeOrganization, Subject: "org-1", Amount: perToken,
		Window: gatehouse.Window{Period: gatehouse.Total}})); err != nil {
		t.Errorf("credits pay for what was spent before them: %v", err)
	}
}

// TestIncompleteUsageKeepsItsReservation settles a request whose usage is incomplete: the estimate counts, and the rest of its hold stays
// until somebody releases it or its windows end.
func TestIncompleteUsageKeepsItsReservation(t *testing.T) {
	w := newWorld(t, "")
	w.organization()
	w.join(1)
	n := w.nodes[0]
	b := w.budget(gatehouse.Budget{Scope: gatehouse.ScopeKey, Subject: "key_1", Amount: 100 * perToken})
	h, err := w.hold(n, "req_1", 80, b)
	if err != nil {
		t.Fatal(err)
	}
	s := costs(10)
	s.Keep, s.Confidence = true, gatehouse.Estimated
	if err := h.Settle(s); err != nil {
		t.Fatal(err)
	}
	_, err = w.hold(n, "req_2", 30, b)
	if e := refusal(t, err); !e.NoRetry {
		t.Errorf("what is kept does not count as spent: %v", e)
	}
	w.refresh(n)
	var kept []store.KeptHold
	w.view(func(tx *store.Tx) (err error) {
		kept, _, err = tx.KeptHolds("org-1", store.Page{Limit: 10})
		return err
	})
	if len(kept) != 1 || kept[0].ID != "req_1" || kept[0].Amount != 70*perToken || kept[0].Project != "proj_1" {
		t.Fatalf("kept: %+v", kept)
	}
	w.update(func(tx *store.Tx) error {
		_, err := tx.ReleaseKept("org-1", "req_1")
		return err
	})
	w.refresh(n)
	if err := w.buy(n, "req_3", 90, b); err != nil {
		t.Errorf("what was released is not free again: %v", err)
	}
	// Another one goes with its window.
	w.clock = w.clock.AddDate(0, 1, 0)
	h, err = w.hold(n, "req_4", 80, b)
	if err != nil {
		t.Fatal(err)
	}
	s = costs(10)
	s.Keep = true
	if err := h.Settle(s); err != nil {
		t.Fatal(err)
	}
	w.refresh(n)
	w.clock = w.clock.AddDate(0, 1, 0)
	if err := w.buy(n, "req_5", 100, b); err != nil {
		t.Errorf("the next window: %v", err)
	}
	if gone, err := w.db.PruneKept(t.Context(), w.at()); gone != 1 || err != nil {
		t.Errorf("%d kept holds of past windows are deleted, %v; want 1", gone, err)
	}
}

// TestDeadNodeIsChargedUntilWrittenOff leaves a node's slice charged when it dies, until an operator writes off what it had not spent.
func TestDeadNodeIsChargedUntilWrittenOff(t *testing.T) {
	w := newWorld(t, "")
	w.organization()
	w.join(2)
	dead, alive := w.nodes[0], w.nodes[1]
	b := w.budget(gatehouse.Budget{Scope: gatehouse.ScopeKey, Subject: "key_1", Amount: 100 * perToken})
	if err := w.buy(dead, "req_1", 10, b); err != nil {
		t.Fatal(err)
	}
	if _, err := w.hold(dead, "req_2", 60, b); err != nil {
		t.Fatal(err)
	}
	w.refresh(dead)
	w.kill(dead)
	_, err := w.hold(alive, "req_3", 50, b)
	if e := refusal(t, err); e.NoRetry {
		t.Errorf("what a dead node holds counts as spent: %v", e)
	}
	var off []store.WriteOff
	w.update(func(tx *store.Tx) (err error) {
		off, err = tx.WriteOffSlices("org-1", dead.name)
		return err
	})
	if len(off) != 1 || off[0].Window.Budget != b.ID || off[0].Released < 60*perToken {
		t.Errorf("written off: %+v", off)
	}
	w.clock = w.clock.Add(time.Second)
	if err := w.buy(alive, "req_4", 50, b); err != nil {
		t.Errorf("after the write-off: %v", err)
	}
	// A node that is listed may be alive.
	if err := w.db.Record(t.Context(), store.Batch{Node: &store.NodeBeat{ID: "name/" + alive.name + "/x.1"}}); err != nil {
		t.Fatal(err)
	}
	_, err = w.db.Update(t.Context(), gatehouse.Event{Type: "test.changed", Organization: "org-1"}, func(tx *store.Tx) error {
		_, err := tx.WriteOffSlices("org-1", alive.name)
		return err
	})
	if gatehouse.KindOf(err) != gatehouse.Conflict {
		t.Errorf("a listed node is written off: %v", err)
	}
}

// TestSlicesAllocateNothing holds a request within its slice to no allocation, whatever binds it.
func TestSlicesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	w := newWorld(t, "")
	w.organization()
	w.join(1)
	n := w.nodes[0]
	c := w.request("req_1", 10, w.four())
	var h Hold
	s := Settlement{Units: gatehouse.Units{Input: 10}, Confidence: gatehouse.Reported}
	if got := testing.AllocsPerRun(200, func() {
		if err := n.l.Reserve(context.Background(), c, &h); err != nil {
			t.Fatal(err)
		}
		if err := h.Settle(&s); err != nil {
			t.Fatal(err)
		}
	}); got > 0 {
		t.Errorf("reserve and settle allocate %v times", got)
	}
}

// four is a chain of four budgets with much in them.
func (w *world) four() []*gatehouse.Budget {
	return []*gatehouse.Budget{
		w.budget(gatehouse.Budget{Scope: gatehouse.ScopeOrganization, Subject: "org-1", Amount: 1 << 60}),
		w.budget(gatehouse.Budget{Scope: gatehouse.ScopeProject, Subject: "proj_1", Amount: 1 << 60}),
		w.budget(gatehouse.Budget{Scope: gatehouse.ScopeUser, Subject: "user-1", Amount: 1 << 60}),
		w.budget(gatehouse.Budget{Scope: gatehouse.ScopeKey, Subject: "key_1", Amount: 1 << 60, Window: gatehouse.Window{Period: gatehouse.Daily}}),
	}
}

// BenchmarkReserveSettleBudgets is BenchmarkReserveSettle with four budgets: the accounts alone, with the journal's records made and not
// written, and with them copied into their file, as a node does.
func BenchmarkReserveSettleBudgets(b *testing.B) {
	w := newWorld(b, "")
	w.organization()
	budgets := w.four()
	for _, c := range []struct {
		name  string
		write func(*os.File, []byte) (int, error)
	}{{"journal not written", func(_ *os.File, p []byte) (int, error) { return len(p), nil }}, {"journal written", nil}} {
		b.Run(c.name, func(b *testing.B) {
			l, err := open(context.Background(), Config{Dir: filepath.Join(b.TempDir(), "node"), DB: w.db, Node: gatehouse.RandomBase62(8), Sync: time.Hour, Now: w.now}, w.db.Record, c.write)
			if err != nil {
				b.Fatal(err)
			}
			defer abandon(l)
			charge := w.request("req_1", 10, budgets)
			var h Hold
			s := settlement("req_1")
			b.ReportAllocs()
			for b.Loop() {
				if err := l.Reserve(context.Background(), charge, &h); err != nil {
					b.Fatal(err)
				}
				if err := h.Settle(s); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(l.journal.written)/float64(b.N), "journal-B/op")
		})
	}
	b.Run("accounts alone", func(b *testing.B) {
		l, err := open(context.Background(), Config{Dir: filepath.Join(b.TempDir(), "node"), DB: w.db, Node: gatehouse.RandomBase62(8), Sync: time.Hour, Now: w.now}, w.db.Record, nil)
		if err != nil {
			b.Fatal(err)
		}
		defer abandon(l)
		b.ReportAllocs()
		for b.Loop() {
			chain, err := l.accounts.Reserve(context.Background(), budgets, w.at(), 10*perToken)
			if err != nil {
				b.Fatal(err)
			}
			l.accounts.Settle(chain, 10*perToken, 7*perToken)
		}
	})
}
