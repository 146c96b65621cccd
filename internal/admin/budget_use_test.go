package admin_test

import (
	"sync"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// usage records one settled request, with what it counts in budgets.
func (o *office) usage(t testing.TB, cost, kept gatehouse.NanoUSD, windows ...gatehouse.BudgetWindow) (id string) {
	t.Helper()
	id = gatehouse.NewRequestID(gatehouse.MillisOf(time.Now()))
	b := store.Batch{Usage: []gatehouse.Usage{{ID: id, At: gatehouse.MillisOf(o.now), Organization: o.who.Organization, Project: o.found.Project.ID, Product: "completions", Model: "m", Cost: cost, CostKnown: true}}}
	if len(windows) > 0 {
		b.Charges = []store.Charge{{Usage: id, Node: "node", Cost: cost, Kept: kept, Windows: windows}}
	}
	if err := o.db.Record(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return id
}

func (o *office) status(t testing.TB, ref string) *admin.BudgetStatus {
	t.Helper()
	s, err := o.Budget(t.Context(), o.who, ref)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func windowOf(s *admin.BudgetStatus) gatehouse.BudgetWindow {
	return gatehouse.BudgetWindow{Budget: s.ID, Start: s.Start, End: s.End}
}

// TestAHardLimitCountsTheWholeMonth: a limit that is set in the middle of a month below what was spent in it refuses at once, so that
// the bill of the month is not the limit on top of what was there before.
func TestAHardLimitCountsTheWholeMonth(t *testing.T) {
	o, ctx := open(t), t.Context()
	o.now = time.Date(2026, 3, 20, 12, 0, 0, 0, time.UTC)
	o.usage(t, 80e9, 0)
	if _, _, err := o.SetSpendLimit(ctx, o.who, "", 100e9); err != nil {
		t.Fatal(err)
	}
	s := must[*admin.BudgetStatus](t)(o.SpendLimit(ctx, o.who, ""))
	if s.Spent != 80e9 || s.Remaining() != 20e9 || s.Enforcing() {
		t.Errorf("%+v", s)
	}
	if _, _, err := o.SetSpendLimit(ctx, o.who, "", 80e9+gatehouse.Cents); err != nil {
		t.Fatal(err)
	}
	o.usage(t, 1, 0)
	if s = must[*admin.BudgetStatus](t)(o.SpendLimit(ctx, o.who, "")); !s.Enforcing() || s.Remaining() != gatehouse.Cents-1 {
		t.Errorf("less than a cent is left: %+v", s)
	}
	if _, _, err := o.SetSpendLimit(ctx, o.who, "", 20e9); err != nil {
		t.Fatal(err)
	}
	if s = must[*admin.BudgetStatus](t)(o.SpendLimit(ctx, o.who, "")); !s.Enforcing() || s.Remaining() >= 0 {
		t.Errorf("far over: %+v", s)
	}
	o.now = time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	if s = must[*admin.BudgetStatus](t)(o.SpendLimit(ctx, o.who, "")); s.Enforcing() || s.Spent != 0 {
		t.Errorf("next month: %+v", s)
	}
}

// TestATimeZoneResetsNothing: when the midnights move, the running window is the one that the present lies in by the new clock, and what
// was spent in it counts.
func TestATimeZoneResetsNothing(t *testing.T) {
	o, ctx := open(t), t.Context()
	o.now = time.Date(2026, 2, 20, 12, 0, 0, 0, time.UTC)
	o.usage(t, 3, 0)
	o.now = time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	o.budget(t, admin.BudgetSpec{Name: "monthly", Amount: 100})
	o.usage(t, 5, 0, windowOf(o.status(t, "monthly")))
	if s := o.status(t, "monthly"); s.Spent != 5 || s.Start.Time() != time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC) {
		t.Errorf("in UTC: %+v", s)
	}
	set := func(zone string) {
		t.Helper()
		if _, _, err := o.UpdateOrganization(ctx, o.who, admin.OrganizationUpdate{TimeZone: admin.Some(zone)}); err != nil {
			t.Fatal(err)
		}
	}
	set("America/New_York") // where it is February still
	if s := o.status(t, "monthly"); s.Spent != 8 || s.Start.Time() != time.Date(2026, 2, 1, 5, 0, 0, 0, time.UTC) || s.End.Time() != time.Date(2026, 3, 1, 5, 0, 0, 0, time.UTC) {
		t.Errorf("in New York: %+v, it began %v", s, s.Start.Time())
	}
	set("Europe/Berlin") // where March began an hour before
	if s := o.status(t, "monthly"); s.Spent != 5 || s.Start.Time() != time.Date(2026, 2, 28, 23, 0, 0, 0, time.UTC) {
		t.Errorf("in Berlin: %+v, it began %v", s, s.Start.Time())
	}
	for _, zone := range []string{"Mars/Olympus", "Local", "../../etc/passwd", "UTC\n"} {
		_, _, err := o.UpdateOrganization(ctx, o.who, admin.OrganizationUpdate{TimeZone: admin.Some(zone)})
		refusedFor(t, zone, "time_zone", err)
	}
	set("UTC")
	if org := must[*gatehouse.Organization](t)(o.Organization(ctx, o.who)); org.TimeZone != "" {
		t.Errorf("UTC is kept as %q", org.TimeZone)
	}
}

// TestChangesOfTermsLoseNoSpending: whatever is changed of a budget while it is spent from, everything that was spent counts.
func TestChangesOfTermsLoseNoSpending(t *testing.T) {
	o, ctx := open(t), t.Context()
	o.budget(t, admin.BudgetSpec{Name: "monthly", Amount: 1e9})
	w := windowOf(o.status(t, "monthly"))
	const each = 40
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range each {
				o.usage(t, 7, 0, w)
			}
		})
	}
	all.Go(func() {
		m, err := admin.ParseManifest([]byte("budgets: [{name: monthly, amount: 5}]"))
		if err != nil {
			t.Error(err)
			return
		}
		for i := range 20 {
			if _, _, err := o.UpdateBudget(ctx, o.who, "monthly", admin.BudgetUpdate{Amount: admin.Some(gatehouse.NanoUSD(i + 1))}); err != nil {
				t.Error(err)
			}
			if _, err := o.Apply(ctx, o.who, m, admin.ApplyOptions{}); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	if s := o.status(t, "monthly"); s.Spent != 4*each*7 || s.Now != 5e9 {
		t.Errorf("%d counts of %d: %+v", s.Spent, 4*each*7, s)
	}
}

// TestKeptHolds: what is kept counts as spent until it is released, by whoever administers the organization and nobody else, and with
// an event.
func TestKeptHolds(t *testing.T) {
	o, ctx := open(t), t.Context()
	o.budget(t, admin.BudgetSpec{Name: "monthly", Amount: 100})
	o.budget(t, admin.BudgetSpec{Name: "daily", Amount: 100, Window: gatehouse.Window{Period: gatehouse.Daily}})
	monthly, daily := windowOf(o.status(t, "monthly")), windowOf(o.status(t, "daily"))
	both, one := o.usage(t, 10, 30, monthly, daily), o.usage(t, 1, 2, monthly)
	if s := o.status(t, "monthly"); s.Spent != 11 || s.Kept != 32 || s.Remaining() != 57 {
		t.Errorf("%+v", s)
	}
	for ref, want := range map[string]int{"": 2, "monthly": 2, "daily": 1} {
		list, more, err := o.Holds(ctx, o.who, ref, store.Page{Limit: 20})
		if err != nil || len(list) != want || more {
			t.Errorf("holds of %q: %d %v, %v", ref, len(list), more, err)
		}
	}
	if list, more, err := o.Holds(ctx, o.who, "monthly", store.Page{Limit: 1}); err != nil || len(list) != 1 || !more {
		t.Errorf("a page of one: %d %v, %v", len(list), more, err)
	}
	other := must[*admin.Founding](t)(o.Found(ctx, gatehouse.Host(""), "Other", "Bob", "bob@example.com"))
	if _, err := o.ReleaseHold(ctx, gatehouse.Host(other.Organization.ID), both); gatehouse.KindOf(err) != gatehouse.NotFound {
		t.Errorf("another organization released it: %v", err)
	}
	seq := o.lastSeq(t)
	if _, err := o.ReleaseHold(ctx, o.who, both); err != nil {
		t.Fatal(err)
	}
	if events := o.eventsAfter(t, seq); len(events) != 1 || events[0].Type != "budget.hold_released" || events[0].SubjectID != both {
		t.Errorf("events %+v", events)
	}
	if m, d := o.status(t, "monthly"), o.status(t, "daily"); m.Kept != 2 || d.Kept != 0 || m.Spent != 11 || d.Spent != 10 {
		t.Errorf("%+v\n%+v", m, d)
	}
	if _, err := o.ReleaseHold(ctx, o.who, both); gatehouse.KindOf(err) != gatehouse.NotFound {
		t.Errorf("released twice: %v", err)
	}
	if _, err := o.ReleaseHold(ctx, o.who, one); err != nil {
		t.Error(err)
	}
}

// TestWriteOff: what a dead node holds unused is given back, what it spent is not, and of a node that lives nothing.
func TestWriteOff(t *testing.T) {
	o, ctx := open(t), t.Context()
	o.budget(t, admin.BudgetSpec{Name: "monthly", Amount: 100})
	w := windowOf(o.status(t, "monthly"))
	if _, err := o.db.TakeSlice(ctx, store.TakeSlice{Window: w, Node: "node", Now: gatehouse.MillisOf(o.now), Want: 60}); err != nil {
		t.Fatal(err)
	}
	o.usage(t, 10, 0, w)
	s := o.status(t, "monthly")
	if s.Spent != 10 || s.Reserved != 50 || len(s.Nodes) != 1 || s.Nodes[0] != (admin.BudgetNode{Node: "node", Granted: 60, Used: 10}) || s.Nodes[0].Free() != 50 {
		t.Errorf("%+v", s)
	}
	if list, err := o.WriteOff(ctx, o.who, "nobody"); err != nil || len(list) != 0 {
		t.Errorf("a node that holds nothing: %+v, %v", list, err)
	}
	list, err := o.WriteOff(ctx, o.who, "node")
	if err != nil || len(list) != 1 || list[0].Released != 50 {
		t.Errorf("written off: %+v, %v", list, err)
	}
	if s := o.status(t, "monthly"); s.Spent != 10 || s.Reserved != 0 || s.Remaining() != 90 {
		t.Errorf("%+v", s)
	}
}
