package admin_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
	"gatehouse/internal/store/storetest"
)

// bank is an organization that prepays, with a hand on its clock and on what it spends.
type bank struct {
	*office
	t      tester
	settle gatehouse.NanoUSD // what was settled since it began to prepay
	spent  int               // requests
}

// tester is what a test and a check of rapid have in common.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

func (b *bank) info() *admin.CreditsInfo {
	b.t.Helper()
	i, err := b.Credits(context.Background(), b.who)
	if err != nil {
		b.t.Fatal(err)
	}
	return i
}

func (b *bank) grant(req admin.GrantRequest) *gatehouse.Grant {
	b.t.Helper()
	g, _, err := b.Grant(context.Background(), b.who, req)
	if err != nil {
		b.t.Fatal(err)
	}
	return g
}

func (b *bank) left(name string) gatehouse.NanoUSD {
	b.t.Helper()
	g, err := b.ShowGrant(context.Background(), b.who, name)
	if err != nil {
		b.t.Fatal(err)
	}
	return g.Left
}

func (b *bank) prepay(on bool) {
	b.t.Helper()
	if _, err := b.UpdateCredits(context.Background(), b.who, admin.CreditsUpdate{Prepaid: admin.Some(on)}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bank) keep() int {
	b.t.Helper()
	n, err := b.KeepCredits(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

// window is the one window of the credits' budget.
func (b *bank) window() (w gatehouse.BudgetWindow) {
	b.t.Helper()
	err := b.db.View(context.Background(), func(tx *store.Tx) error {
		budget, err := tx.Budget(b.info().Budget)
		if err == nil {
			w.Budget = budget.ID
			w.Start, w.End = budget.WindowAt(tx.Now)
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return w
}

// spend records one settled request of the organization, as a node's drainer does.
func (b *bank) spend(cost gatehouse.NanoUSD) {
	b.t.Helper()
	b.spent++
	id := gatehouse.NewRequestID(gatehouse.MillisOf(time.Now()))
	batch := store.Batch{Usage: []gatehouse.Usage{{ID: id, At: gatehouse.MillisOf(b.now), Organization: b.who.Organization, Project: b.found.Project.ID, Product: "completions", Model: "m", Cost: cost, CostKnown: true}}}
	if b.info().Budget != "" {
		batch.Charges = []store.Charge{{Usage: id, Node: "node", Cost: cost, Windows: []gatehouse.BudgetWindow{b.window()}}}
		b.settle += cost
	}
	if err := b.db.Record(context.Background(), batch); err != nil {
		b.t.Fatal(err)
	}
}

// hold takes a slice as a node does that admits requests, and returns how much it got.
func (b *bank) hold(want gatehouse.NanoUSD) gatehouse.NanoUSD {
	b.t.Helper()
	before := b.info().Reserved
	if _, err := b.db.TakeSlice(context.Background(), store.TakeSlice{Window: b.window(), Node: "node", Now: gatehouse.MillisOf(b.now), Want: want}); err != nil {
		b.t.Fatal(err)
	}
	return b.info().Reserved - before
}

// sound holds the ledger to itself and to what can be spent.
func (b *bank) sound() {
	b.t.Helper()
	trial, err := b.CheckCredits(context.Background(), b.who)
	if err != nil {
		b.t.Fatal(err)
	}
	if len(trial.Faults) > 0 {
		b.t.Fatalf("the ledger does not add up: %v", trial.Faults)
	}
	i := b.info()
	if i.Owed < 0 || i.Owed > 0 && i.Balance > 0 {
		b.t.Fatalf("owes %d and has %d", i.Owed, i.Balance)
	}
	if i.Budget == "" {
		return
	}
	status, err := b.Budget(context.Background(), b.who, i.Budget)
	if err != nil {
		b.t.Fatal(err)
	}
	if status.Spent != b.settle {
		b.t.Fatalf("the budget counts %d, %d was settled", status.Spent, b.settle)
	}
}

func openBank(t *testing.T) *bank { return &bank{office: open(t), t: t} }

func (b *bank) after(d time.Duration) { b.now = b.now.Add(d) }

// TestPrepaidWithoutActiveCreditRefuses: an organization that prepays has nothing to spend until a grant is active, and no more than
// that afterwards: the budget through which it is enforced is what grants come to, always.
func TestPrepaidWithoutActiveCreditRefuses(t *testing.T) {
	b := openBank(t)
	b.grant(admin.GrantRequest{Name: "pilot", Amount: 100})
	b.prepay(true)
	budget := func() *admin.BudgetStatus {
		t.Helper()
		return must[*admin.BudgetStatus](t)(b.Budget(t.Context(), b.who, b.info().Budget))
	}
	if s := budget(); s.Now != 0 || !s.Enforcing() || s.Kind != gatehouse.BudgetCredits || b.hold(1) != 0 {
		t.Errorf("before its activation: %+v", s)
	}
	for range 2 {
		if _, _, err := b.ActivateGrant(t.Context(), b.who, "pilot"); err != nil {
			t.Fatal(err)
		}
		if s := budget(); s.Now != 100 || s.Enforcing() {
			t.Errorf("active: %+v", s)
		}
	}
	if got := b.hold(1000); got != 100 {
		t.Errorf("%d were granted of 100", got)
	}
	b.spend(60)
	if i := b.info(); i.Balance != 40 || i.Unposted != 60 || i.Reserved != 40 || b.left("pilot") != 100 {
		t.Errorf("%+v", i)
	}
	b.after(time.Hour)
	if b.keep() != 1 || b.keep() != 0 {
		t.Error("an hour's spending is not entered once")
	}
	if i := b.info(); i.Balance != 40 || i.Unposted != 0 || i.Accounts[gatehouse.AccountSpent] != 60 || b.left("pilot") != 40 || budget().Now != 100 {
		t.Errorf("%+v", i)
	}
	_, _, err := b.UpdateBudget(t.Context(), b.who, b.info().Budget, admin.BudgetUpdate{Amount: admin.Some[gatehouse.NanoUSD](1e9)})
	if gatehouse.KindOf(err) != gatehouse.Conflict {
		t.Errorf("somebody raised the credits by hand: %v", err)
	}
	b.sound()
}

// TestGrantsAreSpentInOrder: lower priority first, then what expires sooner, then what is older; what no grant covers is owed, and the
// next grant pays it first.
func TestGrantsAreSpentInOrder(t *testing.T) {
	b := openBank(t)
	b.prepay(true)
	at := func(d time.Duration) gatehouse.Millis { return gatehouse.MillisOf(b.now.Add(d)) }
	for _, g := range []admin.GrantRequest{{Name: "older", Amount: 10}, {Name: "later", Amount: 10, ExpiresAt: at(48 * time.Hour)}, {Name: "sooner", Amount: 10, ExpiresAt: at(24 * time.Hour)},
		{Name: "first", Amount: 10, Priority: -1}, {Name: "last", Amount: 10, Priority: 1, ExpiresAt: at(12 * time.Hour)}} {
		g.Activate = true
		b.grant(g)
		b.after(time.Second)
	}
	order := []string{"first", "sooner", "later", "older", "last"}
	for i, name := range order {
		b.spend(5)
		b.after(time.Hour)
		b.keep()
		if b.left(name) != 5 {
			t.Errorf("after %d: %s has %d left", 10*i+5, name, b.left(name))
		}
		b.spend(5)
		b.after(time.Hour)
		b.keep()
	}
	b.spend(7)
	b.after(time.Hour)
	b.keep()
	if i := b.info(); i.Owed != 7 || i.Balance != -7 {
		t.Errorf("%+v", i)
	}
	b.grant(admin.GrantRequest{Name: "more", Amount: 10, Activate: true})
	if i := b.info(); i.Owed != 0 || i.Balance != 3 || b.left("more") != 3 {
		t.Errorf("%+v", i)
	}
	b.sound()
}

// TestExpiryHonoursWhatIsReserved: at its end what is left of a grant goes, but for what open requests reserved before: they are paid
// from it, and nobody gets more of it.
func TestExpiryHonoursWhatIsReserved(t *testing.T) {
	for _, end := range []string{"expired", "revoked"} {
		t.Run(end, func(t *testing.T) {
			b := openBank(t)
			b.grant(admin.GrantRequest{Name: "short", Amount: 100, ExpiresAt: gatehouse.MillisOf(b.now.Add(24 * time.Hour)), Activate: true})
			b.prepay(true)
			if got := b.hold(30); got != 30 {
				t.Fatalf("held %d", got)
			}
			if end == "revoked" {
				if _, _, err := b.RevokeGrant(t.Context(), b.who, "short"); err != nil {
					t.Fatal(err)
				}
			} else {
				b.after(24 * time.Hour)
				b.keep()
			}
			account := map[string]gatehouse.CreditAccount{"expired": gatehouse.AccountExpired, "revoked": gatehouse.AccountRevoked}[end]
			if i := b.info(); i.Accounts[account] != 70 || i.Balance != 0 || b.left("short") != 30 {
				t.Errorf("at its end: %+v", i)
			}
			b.sound()
			if got := b.hold(10); got != 0 {
				t.Errorf("after its end another %d were granted", got)
			}
			b.spend(20) // the request that was open
			b.keep()
			if i := b.info(); i.Accounts[gatehouse.AccountSpent] != 20 || i.Owed != 0 || i.Unposted != 0 {
				t.Errorf("the open request was not paid from it: %+v", i)
			}
			if err := b.db.ReturnSlice(t.Context(), b.window(), "node", 10); err != nil {
				t.Fatal(err)
			}
			b.keep()
			if i := b.info(); i.Accounts[account] != 80 || i.Accounts[gatehouse.AccountBalance] != 0 {
				t.Errorf("when nothing is reserved: %+v", i)
			}
			if b.keep() != 0 {
				t.Error("a grant that is over is looked at again and again")
			}
			b.sound()
		})
	}
}

// TestRefills: automatic ones happen when the balance is low, once, and never grant more in a month than the policy says.
func TestRefills(t *testing.T) {
	b := openBank(t)
	b.prepay(true)
	set := func(p gatehouse.Refill) {
		t.Helper()
		if _, err := b.UpdateCredits(t.Context(), b.who, admin.CreditsUpdate{Refill: admin.Some(p)}); err != nil {
			t.Fatal(err)
		}
	}
	set(gatehouse.Refill{Mode: gatehouse.RefillAutomatic, Below: 10, Add: 20, MonthlyMax: 50, Days: 3})
	if b.keep() != 1 || b.keep() != 0 || b.info().Balance != 20 {
		t.Errorf("the first refill: %+v", b.info())
	}
	b.spend(11)
	if b.keep() != 1 || b.info().Balance != 29 {
		t.Errorf("the second: %+v", b.info())
	}
	b.spend(29)
	if b.keep(); b.info().Balance != 0 {
		t.Errorf("a third, over the month's maximum: %+v", b.info())
	}
	if _, _, err := b.RefillCredits(t.Context(), b.who, 11); gatehouse.KindOf(err) != gatehouse.Invalid {
		t.Errorf("by hand over the maximum: %v", err)
	}
	if g, _, err := b.RefillCredits(t.Context(), b.who, 10); err != nil || g.Amount != 10 || !g.Refill || g.ExpiresAt != gatehouse.MillisOf(b.now.Add(72*time.Hour)) {
		t.Errorf("by hand: %+v, %v", g, err)
	}
	b.after(31 * 24 * time.Hour) // another month
	if b.keep(); b.info().Balance != 20 {
		t.Errorf("next month: %+v", b.info())
	}
	set(gatehouse.Refill{})
	b.spend(20)
	if b.keep(); b.info().Balance != 0 {
		t.Errorf("without a policy: %+v", b.info())
	}
	for param, p := range map[string]gatehouse.Refill{"refill.mode": {Mode: "sometimes"}, "refill.below_usd": {Mode: gatehouse.RefillManual, Below: 1, Add: 1}, "refill.add_usd": {Mode: gatehouse.RefillManual},
		"refill.monthly_max_usd": {Mode: gatehouse.RefillManual, Add: 2, MonthlyMax: 1}, "refill.days": {Mode: gatehouse.RefillManual, Add: 2, Days: -1}} {
		_, err := b.UpdateCredits(t.Context(), b.who, admin.CreditsUpdate{Refill: admin.Some(p)})
		refusedFor(t, fmt.Sprintf("%+v", p), param, err)
	}
	b.sound()
}

// TestCreditLedgerHistories runs random histories of grants, spending, ends and refills on both engines at once: after every step the
// ledger adds up, no balance is below nothing, what was entered as spent is what was settled since the organization began to prepay,
// to the nano-dollar, and both engines hold the same.
func TestCreditLedgerHistories(t *testing.T) {
	urls := map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "g.db"), "postgres": storetest.Postgres(t)}
	offices := map[string]*office{}
	for engine, url := range urls {
		offices[engine] = openAt(t, url)
	}
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 15).Draw(rt, "steps")
		var results []map[string]gatehouse.NanoUSD
		for _, engine := range slices.Sorted(maps.Keys(offices)) {
			results = append(results, history(rt, offices[engine], steps))
		}
		if !maps.Equal(results[0], results[1]) {
			rt.Fatalf("the engines differ:\n%v\n%v", results[0], results[1])
		}
	})
}

// step is one thing that happens, made of numbers so that both engines see the same.
type step struct {
	kind           string
	amount         gatehouse.NanoUSD
	which          int
	starts, lasts  time.Duration
	priority, wait int
	active         bool
}

func drawStep(t *rapid.T) step {
	return step{
		kind:   rapid.SampledFrom([]string{"grant", "grant", "spend", "spend", "spend", "hold", "return", "activate", "revoke", "prepay", "policy", "refill", "keep", "wait"}).Draw(t, "kind"),
		amount: gatehouse.NanoUSD(rapid.Int64Range(1, 100).Draw(t, "amount")), which: rapid.IntRange(0, 4).Draw(t, "which"),
		starts: time.Duration(rapid.IntRange(0, 3).Draw(t, "starts")) * 5 * time.Hour, lasts: time.Duration(rapid.IntRange(0, 5).Draw(t, "lasts")) * 10 * time.Hour,
		priority: rapid.IntRange(-1, 1).Draw(t, "priority"), wait: rapid.IntRange(1, 40).Draw(t, "wait"), active: rapid.Bool().Draw(t, "active"),
	}
}

// history plays steps for a new organization and returns what its accounts come to.
func history(t *rapid.T, base *office, steps []step) map[string]gatehouse.NanoUSD {
	ctx := context.Background()
	base.now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	o := *base
	found, err := o.Found(ctx, gatehouse.Host(""), "Org", "Ann", "ann@example.com")
	if err != nil {
		t.Fatal(err)
	}
	o.found = found
	o.who = &gatehouse.Principal{Organization: found.Organization.ID, Class: gatehouse.ClassAdmin, Actor: gatehouse.Actor{Kind: gatehouse.ActorKey, Key: found.AdminKey.Key.ID}}
	b := &bank{office: &o, t: t}
	b.now = base.now
	entered := gatehouse.NanoUSD(0) // of the times it prepaid before
	grants := []string{}
	b.prepay(true)
	for _, s := range steps {
		prepaid := b.info().Budget != ""
		switch s.kind {
		case "grant":
			name := fmt.Sprint("grant ", len(grants))
			req := admin.GrantRequest{Name: name, Amount: s.amount, Priority: s.priority, Activate: s.active}
			if s.starts > 0 {
				req.StartsAt = gatehouse.MillisOf(b.now.Add(s.starts))
			}
			if s.lasts > 0 {
				req.ExpiresAt = gatehouse.MillisOf(b.now.Add(s.starts + s.lasts))
			}
			b.grant(req)
			grants = append(grants, name)
		case "spend":
			if prepaid {
				b.spend(s.amount)
			}
		case "hold":
			if prepaid {
				b.hold(s.amount)
			}
		case "return":
			if prepaid {
				if err := b.db.ReturnSlice(ctx, b.window(), "node", s.amount); err != nil {
					t.Fatal(err)
				}
			}
		case "activate", "revoke":
			if s.which < len(grants) {
				act := b.ActivateGrant
				if s.kind == "revoke" {
					act = b.RevokeGrant
				}
				if _, _, err := act(ctx, b.who, grants[s.which]); err != nil && gatehouse.KindOf(err) != gatehouse.Conflict {
					t.Fatal(err)
				}
			}
		case "prepay":
			if prepaid != s.active {
				b.prepay(s.active)
				if !s.active {
					entered += b.settle
				}
				b.settle = 0
			}
		case "policy":
			p := gatehouse.Refill{}
			if s.active {
				p = gatehouse.Refill{Mode: gatehouse.RefillAutomatic, Below: s.amount, Add: 50, MonthlyMax: 150, Days: s.which}
			}
			if _, err := b.UpdateCredits(ctx, b.who, admin.CreditsUpdate{Refill: admin.Some(p)}); err != nil {
				t.Fatal(err)
			}
		case "refill":
			if _, _, err := b.RefillCredits(ctx, b.who, s.amount); err != nil && gatehouse.KindOf(err) != gatehouse.Conflict && gatehouse.KindOf(err) != gatehouse.Invalid {
				t.Fatal(err)
			}
		case "keep":
			b.keep()
		case "wait":
			b.after(time.Duration(s.wait) * time.Hour)
			base.now = b.now
			b.keep()
		}
		base.now = b.now
		b.sound()
	}
	b.after(2 * time.Hour)
	base.now = b.now
	b.keep()
	b.sound()
	i := b.info()
	if got, want := i.Accounts[gatehouse.AccountSpent], entered+b.settle; got != want {
		t.Fatalf("%d were entered as spent, %d were settled", got, want)
	}
	out := map[string]gatehouse.NanoUSD{"live balance": i.Balance}
	for account, amount := range i.Accounts {
		out[string(account)] = amount
	}
	for _, name := range grants {
		out[name] = b.left(name)
	}
	return out
}

// TestCreditsAreEnteredOnce: many at once on one database, some of which are cut off in the middle, enter, issue, end and refill each
// thing once.
func TestCreditsAreEnteredOnce(t *testing.T) {
	for engine, url := range map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "g.db"), "postgres": storetest.Postgres(t)} {
		t.Run(engine, func(t *testing.T) {
			b := &bank{office: openAt(t, url), t: t}
			b.prepay(true)
			b.grant(admin.GrantRequest{Name: "pilot", Amount: 1000, Activate: true})
			b.grant(admin.GrantRequest{Name: "later", Amount: 500, StartsAt: gatehouse.MillisOf(b.now.Add(time.Hour)), Activate: true})
			b.grant(admin.GrantRequest{Name: "short", Amount: 70, ExpiresAt: gatehouse.MillisOf(b.now.Add(time.Hour)), Priority: 1, Activate: true})
			if _, err := b.UpdateCredits(t.Context(), b.who, admin.CreditsUpdate{Refill: admin.Some(gatehouse.Refill{Mode: gatehouse.RefillAutomatic, Below: 2000, Add: 100, MonthlyMax: 300})}); err != nil {
				t.Fatal(err)
			}
			b.spend(600)
			b.after(time.Hour)
			var all sync.WaitGroup
			for i := range 24 {
				all.Go(func() {
					ctx, stop := context.WithCancel(context.Background())
					defer stop()
					if i%3 == 0 {
						go stop() // at any moment, as a killed process
					}
					if _, err := b.KeepCredits(ctx); err != nil && ctx.Err() == nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			b.keep()
			b.sound()
			i := b.info()
			want := map[gatehouse.CreditAccount]gatehouse.NanoUSD{gatehouse.AccountSpent: 600, gatehouse.AccountExpired: 70, gatehouse.AccountIssued: -(1000 + 500 + 70 + 300), gatehouse.AccountBalance: 1200}
			if !maps.Equal(i.Accounts, want) {
				t.Errorf("accounts %v, want %v", i.Accounts, want)
			}
		})
	}
}
