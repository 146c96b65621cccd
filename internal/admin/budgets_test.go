package admin_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// budget creates one that must be taken.
func (o *office) budget(t testing.TB, spec admin.BudgetSpec) *gatehouse.Budget {
	t.Helper()
	b, _, err := o.CreateBudget(t.Context(), o.who, spec)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// refusedFor checks that an error is about a field.
func refusedFor(t *testing.T, what, param string, err error) {
	t.Helper()
	e, ok := errors.AsType[*gatehouse.Error](err)
	if !ok || e.Kind != gatehouse.Invalid || e.Param != param || e.Message == "" {
		t.Errorf("%s: got %v, want a refusal for %s", what, err, param)
	}
}

// TestBudgetSubjects: whom a budget binds is found by id and by name, and must be there: a budget for nobody would be kept and never
// enforced (a field that is accepted is one that is enforced).
func TestBudgetSubjects(t *testing.T) {
	o, ctx := open(t), t.Context()
	project := must[*gatehouse.Project](t)(o.CreateProject(ctx, o.who, admin.ProjectRequest{Name: "checkout-prod"}))
	account, _, err := o.CreateServiceAccount(ctx, o.who, project.ID, admin.ServiceAccountRequest{Name: "recommender"})
	if err != nil {
		t.Fatal(err)
	}
	key := must[*admin.NewKey](t)(o.CreateKey(ctx, o.who, admin.KeyRequest{Class: gatehouse.ClassProject, Project: o.found.Project.ID, User: o.found.Owner.ID}))
	other := must[*admin.Founding](t)(o.Found(ctx, gatehouse.Host(""), "Other", "Bob", "bob@example.com"))
	for i, c := range []struct {
		scope         gatehouse.Scope
		subject, want string
	}{
		{"", "", o.who.Organization}, {gatehouse.ScopeOrganization, o.who.Organization, o.who.Organization}, {gatehouse.ScopeProject, project.ID, project.ID},
		{gatehouse.ScopeProject, "checkout-prod", project.ID}, {gatehouse.ScopeUser, o.found.Owner.ID, o.found.Owner.ID}, {gatehouse.ScopeUser, "Ann@example.com", o.found.Owner.ID},
		{gatehouse.ScopeServiceAccount, account.ID, account.ID}, {gatehouse.ScopeServiceAccount, "checkout-prod/recommender", account.ID}, {gatehouse.ScopeKey, key.Key.ID, key.Key.ID},
		{gatehouse.ScopeLabel, "cost_center=4711", "cost_center=4711"},
	} {
		b := o.budget(t, admin.BudgetSpec{Name: fmt.Sprint("budget ", i), Scope: c.scope, Subject: c.subject, Amount: 1})
		if b.Subject != c.want || b.Window.Period != gatehouse.Monthly || b.Enforcement != gatehouse.Hard {
			t.Errorf("%s %s: %+v", c.scope, c.subject, b)
		}
	}
	for _, c := range []struct {
		scope   gatehouse.Scope
		subject string
	}{
		{gatehouse.ScopeOrganization, other.Organization.ID}, {gatehouse.ScopeProject, ""}, {gatehouse.ScopeProject, "proj_nobody"}, {gatehouse.ScopeProject, other.Project.ID}, {gatehouse.ScopeUser, "user-nobody"},
		{gatehouse.ScopeUser, "nobody@example.com"}, {gatehouse.ScopeUser, other.Owner.ID}, {gatehouse.ScopeServiceAccount, "checkout-prod/nobody"}, {gatehouse.ScopeServiceAccount, "svc_acct_nobody"},
		{gatehouse.ScopeKey, "key_nobody"}, {gatehouse.ScopeLabel, "cost_center"}, {gatehouse.ScopeLabel, "cost_center="},
	} {
		_, _, err := o.CreateBudget(ctx, o.who, admin.BudgetSpec{Name: "n", Scope: c.scope, Subject: c.subject, Amount: 1})
		refusedFor(t, fmt.Sprintf("budget for %s %q", c.scope, c.subject), "subject", err)
	}
}

// TestBudgetsThatCouldNotBeKept are refused, each with the field at fault.
func TestBudgetsThatCouldNotBeKept(t *testing.T) {
	o, ctx := open(t), t.Context()
	for _, c := range []struct {
		param string
		spec  admin.BudgetSpec
	}{
		{"name", admin.BudgetSpec{Amount: 1}},
		{"name", admin.BudgetSpec{Name: "budget_1", Amount: 1}},
		{"scope", admin.BudgetSpec{Name: "n", Scope: "planet", Amount: 1}},
		{"amount_usd", admin.BudgetSpec{Name: "n", Amount: -1}},
		{"amount_usd", admin.BudgetSpec{Name: "n", Amount: gatehouse.NanoUSD(gatehouse.MaxUSD) + 1}},
		{"amount_usd", admin.BudgetSpec{Name: "n", Enforcement: gatehouse.Soft}},
		{"window.period", admin.BudgetSpec{Name: "n", Window: gatehouse.Window{Period: "fortnight"}}},
		{"window.start_day", admin.BudgetSpec{Name: "n", Window: gatehouse.Window{Period: gatehouse.Monthly, StartDay: 29}}},
		{"window.start_day", admin.BudgetSpec{Name: "n", Window: gatehouse.Window{Period: gatehouse.Daily, StartDay: 2}}},
		{"window.start_month", admin.BudgetSpec{Name: "n", Window: gatehouse.Window{Period: gatehouse.Monthly, StartMonth: 2}}},
		{"window.start_month", admin.BudgetSpec{Name: "n", Window: gatehouse.Window{Period: gatehouse.Quarterly, StartMonth: 13}}},
		{"enforcement", admin.BudgetSpec{Name: "n", Enforcement: "firm"}},
		{"uncapped", admin.BudgetSpec{Name: "n", Uncapped: "guess"}},
		{"uncapped", admin.BudgetSpec{Name: "n", Amount: 1, Enforcement: gatehouse.Soft, Uncapped: gatehouse.UncappedRefuse}},
		{"unknown_price", admin.BudgetSpec{Name: "n", UnknownPrice: "free"}},
		{"unknown_price", admin.BudgetSpec{Name: "n", Amount: 1, Enforcement: gatehouse.Soft, UnknownPrice: gatehouse.UnknownRefuse}},
		{"alerts", admin.BudgetSpec{Name: "n", Alerts: []int{80, 50}}},
		{"alerts", admin.BudgetSpec{Name: "n", Alerts: []int{0}}},
		{"alerts", admin.BudgetSpec{Name: "n", Alerts: []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}}},
	} {
		_, _, err := o.CreateBudget(ctx, o.who, c.spec)
		refusedFor(t, fmt.Sprintf("%+v", c.spec), c.param, err)
	}
	o.budget(t, admin.BudgetSpec{Name: "twice", Amount: 1})
	if _, _, err := o.CreateBudget(ctx, o.who, admin.BudgetSpec{Name: "twice", Amount: 2}); gatehouse.KindOf(err) != gatehouse.Conflict {
		t.Errorf("a second budget of one name: %v", err)
	}
	o.budget(t, admin.BudgetSpec{Name: "nothing", Amount: 0}) // refuses everything, which may be what is wanted
}

// TestTwoWhoChangeOneBudget: of two that read the same revision one is refused, and neither takes anything from what was spent: a
// change of the terms never writes where spending is counted.
func TestTwoWhoChangeOneBudget(t *testing.T) {
	o, ctx := open(t), t.Context()
	b := o.budget(t, admin.BudgetSpec{Name: "monthly", Amount: 5})
	read := admin.Some(b.Rev)
	if _, _, err := o.UpdateBudget(ctx, o.who, "monthly", admin.BudgetUpdate{Amount: admin.Some[gatehouse.NanoUSD](6), Rev: read}); err != nil {
		t.Fatal(err)
	}
	_, _, err := o.UpdateBudget(ctx, o.who, b.ID, admin.BudgetUpdate{Amount: admin.Some[gatehouse.NanoUSD](7), Rev: read})
	if e, ok := errors.AsType[*gatehouse.Error](err); !ok || e.Kind != gatehouse.Conflict || e.Param != "rev" {
		t.Errorf("the second change: %v", err)
	}
	seq := o.lastSeq(t)
	got, _, err := o.UpdateBudget(ctx, o.who, b.ID, admin.BudgetUpdate{Amount: admin.Some[gatehouse.NanoUSD](6)})
	if err != nil || got.Amount != 6 || o.lastSeq(t) != seq {
		t.Errorf("a change of nothing: %+v, %v, %d events", got, err, o.lastSeq(t)-seq)
	}
}

func TestIncreasesEnd(t *testing.T) {
	o, ctx := open(t), t.Context()
	b := o.budget(t, admin.BudgetSpec{Name: "monthly", Amount: 100})
	now := gatehouse.MillisOf(o.now)
	hour := gatehouse.Millis(time.Hour / time.Millisecond)
	raised, _, err := o.IncreaseBudget(ctx, o.who, "monthly", admin.IncreaseRequest{Amount: 50, Until: now + 2*hour, Reason: "launch"})
	if err != nil {
		t.Fatal(err)
	}
	later, _, err := o.IncreaseBudget(ctx, o.who, b.ID, admin.IncreaseRequest{Amount: 7, From: now + hour, Until: now + 3*hour})
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[gatehouse.Millis]gatehouse.NanoUSD{now: 150, now + hour: 157, now + 2*hour: 107, now + 3*hour: 100} {
		if got := later.AmountAt(at); got != want {
			t.Errorf("the amount after %d hours is %d, want %d", (at-now)/hour, got, want)
		}
	}
	for param, req := range map[string]admin.IncreaseRequest{"amount_usd": {Until: now + 1}, "until": {Amount: 1, Until: now}, "from": {Amount: 1, From: now + 5, Until: now + 5}} {
		_, _, err := o.IncreaseBudget(ctx, o.who, "monthly", req)
		refusedFor(t, fmt.Sprintf("%+v", req), param, err)
	}
	if _, err := o.EndIncrease(ctx, o.who, "monthly", raised.Increases[0].ID); err != nil {
		t.Fatal(err)
	}
	status := must[*admin.BudgetStatus](t)(o.Budget(ctx, o.who, "monthly"))
	if len(status.Increases) != 1 || status.AmountAt(now) != 100 {
		t.Errorf("after its end: %+v", status.Budget)
	}
	if _, err := o.EndIncrease(ctx, o.who, "monthly", raised.Increases[0].ID); gatehouse.KindOf(err) != gatehouse.NotFound {
		t.Errorf("ended twice: %v", err)
	}
}

// TestSpendLimitsAreBudgets: both faces show and change the same thing.
func TestSpendLimitsAreBudgets(t *testing.T) {
	o, ctx := open(t), t.Context()
	if _, err := o.SpendLimit(ctx, o.who, ""); gatehouse.KindOf(err) != gatehouse.NotFound {
		t.Errorf("a limit that nobody set: %v", err)
	}
	for _, project := range []string{"", o.found.Project.ID} {
		limit, _, err := o.SetSpendLimit(ctx, o.who, project, 5*gatehouse.Cents)
		if err != nil {
			t.Fatal(err)
		}
		if again, _, err := o.SetSpendLimit(ctx, o.who, project, 7*gatehouse.Cents); err != nil || again.ID != limit.ID || again.Amount != 7*gatehouse.Cents {
			t.Errorf("replaced: %+v, %v", again, err)
		}
		if _, _, err := o.UpdateBudget(ctx, o.who, limit.ID, admin.BudgetUpdate{Amount: admin.Some(9 * gatehouse.Cents)}); err != nil {
			t.Error(err)
		}
		if status := must[*admin.BudgetStatus](t)(o.SpendLimit(ctx, o.who, project)); status.Amount != 9*gatehouse.Cents || status.Window.Period != gatehouse.Monthly || status.Enforcement != gatehouse.Hard {
			t.Errorf("%+v", status.Budget)
		}
		_, _, err = o.UpdateBudget(ctx, o.who, limit.ID, admin.BudgetUpdate{Amount: admin.Some(gatehouse.Cents + 1)})
		refusedFor(t, "a limit of a cent and a bit", "amount_usd", err)
		_, _, err = o.UpdateBudget(ctx, o.who, limit.ID, admin.BudgetUpdate{Enforcement: admin.Some(gatehouse.Soft)})
		refusedFor(t, "a soft spend limit", "enforcement", err)
		if err := o.RemoveSpendLimit(ctx, o.who, project); err != nil {
			t.Error(err)
		}
		if err := o.RemoveSpendLimit(ctx, o.who, project); gatehouse.KindOf(err) != gatehouse.NotFound {
			t.Errorf("removed twice: %v", err)
		}
	}
}

const moneyManifest = `
organization: {time_zone: Europe/Berlin}
projects:
- name: checkout-prod
  service_accounts: [{name: recommender}]
budgets:
- name: monthly
  amount: 500
  alerts: [50, 80, 100]
- name: checkout
  scope: project
  subject: checkout-prod
  amount: 0.3
  window: {period: quarter, start_month: 2, start_day: 15}
  uncapped: typical
- name: bot
  scope: service_account
  subject: checkout-prod/recommender
  amount: "99.99"
  enforcement: soft
credits:
  refill: {mode: automatic, below: 10, add: 50, monthly_max: 200, days: 365}
  grants:
  - {name: pilot, amount: 100, expires_at: 2030-01-01T00:00:00Z, reference: invoice 4711, active: true}
`

// TestManifestOfMoney applies budgets and credits, and applies them again: the second time nothing changes, what was spent and what was
// raised for a time stays, and budgets that the manifest does not name go only where it has budgets at all.
func TestManifestOfMoney(t *testing.T) {
	o, ctx := open(t), t.Context()
	apply := func(text string, opts admin.ApplyOptions) []admin.PlanItem {
		t.Helper()
		m, err := admin.ParseManifest([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return must[[]admin.PlanItem](t)(o.Apply(ctx, o.who, m, opts))
	}
	kinds := func(plan []admin.PlanItem) (out []string) {
		for _, i := range plan {
			out = append(out, i.Action+" "+i.Kind+" "+i.Name)
		}
		return out
	}
	want := []string{"update organization Acme", "create project checkout-prod", "create service_account recommender", "create budget monthly", "create budget checkout", "create budget bot",
		"create credit_grant pilot", "update credits " + o.who.Organization}
	if got := kinds(apply(moneyManifest, admin.ApplyOptions{DryRun: true})); !slices.Equal(got, want) {
		t.Errorf("plan\n got %v\nwant %v", got, want)
	}
	if got := kinds(apply(moneyManifest, admin.ApplyOptions{})); !slices.Equal(got, want) {
		t.Errorf("applied\n got %v\nwant %v", got, want)
	}
	if _, _, err := o.IncreaseBudget(ctx, o.who, "monthly", admin.IncreaseRequest{Amount: 1, Until: gatehouse.MillisOf(o.now.Add(time.Hour))}); err != nil {
		t.Fatal(err)
	}
	seq := o.lastSeq(t)
	if got := apply(moneyManifest, admin.ApplyOptions{Prune: true}); len(got) != 0 || o.lastSeq(t) != seq {
		t.Errorf("applied again: %v, %d events", got, o.lastSeq(t)-seq)
	}
	monthly := must[*admin.BudgetStatus](t)(o.Budget(ctx, o.who, "monthly"))
	checkout := must[*admin.BudgetStatus](t)(o.Budget(ctx, o.who, "checkout"))
	if len(monthly.Increases) != 1 || checkout.Amount != 300_000_000 || checkout.Window != (gatehouse.Window{Period: gatehouse.Quarterly, StartMonth: 2, StartDay: 15}) {
		t.Errorf("%+v\n%+v", monthly.Budget, checkout.Budget)
	}
	if got := kinds(apply(strings.Replace(moneyManifest, "amount: 500", "amount: 400", 1), admin.ApplyOptions{})); !slices.Equal(got, []string{"update budget monthly"}) {
		t.Errorf("another amount: %v", got)
	}
	if got := apply("projects: [{name: checkout-prod}]", admin.ApplyOptions{Prune: true}); len(got) != 0 {
		t.Errorf("a manifest without budgets pruned %v", kinds(got))
	}
	if got := kinds(apply("budgets: [{name: monthly, amount: 400, alerts: [50, 80, 100]}]", admin.ApplyOptions{Prune: true})); !slices.Equal(got, []string{"delete budget bot", "delete budget checkout"}) {
		t.Errorf("pruned: %v", got)
	}
	if got := kinds(apply("budgets: []", admin.ApplyOptions{Prune: true})); !slices.Equal(got, []string{"delete budget monthly"}) {
		t.Errorf("pruned to none: %v", got)
	}
	for text, says := range map[string]string{
		"budgets: [{name: a, amount: 1}, {name: a, amount: 2}]": "twice",
		"budgets: [{name: a}]":                            "no amount",
		"budgets: [{name: a, amount: 1e3}]":               "not an amount",
		"budgets: [{name: a, amount: 1, budget: 5}]":      "budget",
		"budgets: [{name: a, amount: 1, scope: key}]":     "subject",
		"credits: {grants: [{name: pilot, amount: 101}]}": "given already",
		"credits: {refill: {mode: automatic}}":            "below_usd",
		"organization: {time_zone: Mars/Olympus}":         "IANA",
	} {
		m, err := admin.ParseManifest([]byte(text))
		if err == nil {
			_, err = o.Apply(ctx, o.who, m, admin.ApplyOptions{})
		}
		if gatehouse.KindOf(err) != gatehouse.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
	m, err := admin.ParseManifest([]byte(moneyManifest))
	if err != nil {
		t.Fatal(err)
	}
	m.Budgets[0].Window.Period = "day"
	apply("budgets: [{name: monthly, amount: 1}]", admin.ApplyOptions{})
	if _, err := o.Apply(ctx, o.who, m, admin.ApplyOptions{}); gatehouse.KindOf(err) != gatehouse.Invalid || !strings.Contains(err.Error(), "never change") {
		t.Errorf("another window: %v", err)
	}
}

// TestMoneyIsForAdministrators: neither a project's key nor an admin key that was revoked changes or reads anything of it.
func TestMoneyIsForAdministrators(t *testing.T) {
	o, ctx := open(t), t.Context()
	o.budget(t, admin.BudgetSpec{Name: "monthly", Amount: 1})
	who := &gatehouse.Principal{Organization: o.who.Organization, Class: gatehouse.ClassProject, Actor: gatehouse.Actor{Kind: gatehouse.ActorKey, Key: o.found.AdminKey.Key.ID}}
	for name, call := range map[string]func() error{
		"create": func() error {
			_, _, err := o.CreateBudget(ctx, who, admin.BudgetSpec{Name: "n", Amount: 1})
			return err
		},
		"update": func() error { _, _, err := o.UpdateBudget(ctx, who, "monthly", admin.BudgetUpdate{}); return err },
		"remove": func() error { _, err := o.RemoveBudget(ctx, who, "monthly"); return err },
		"increase": func() error {
			_, _, err := o.IncreaseBudget(ctx, who, "monthly", admin.IncreaseRequest{Amount: 1})
			return err
		},
		"list":         func() error { _, err := o.Budgets(ctx, who); return err },
		"spend limit":  func() error { _, _, err := o.SetSpendLimit(ctx, who, "", gatehouse.Cents); return err },
		"grant":        func() error { _, _, err := o.Grant(ctx, who, admin.GrantRequest{Amount: 1}); return err },
		"activate":     func() error { _, _, err := o.ActivateGrant(ctx, who, "x"); return err },
		"revoke":       func() error { _, _, err := o.RevokeGrant(ctx, who, "x"); return err },
		"prepaid":      func() error { _, err := o.UpdateCredits(ctx, who, admin.CreditsUpdate{}); return err },
		"refill":       func() error { _, _, err := o.RefillCredits(ctx, who, 1); return err },
		"balance":      func() error { _, err := o.Credits(ctx, who); return err },
		"entries":      func() error { _, err := o.CreditEntries(ctx, who, 0, 1); return err },
		"organization": func() error { _, _, err := o.UpdateOrganization(ctx, who, admin.OrganizationUpdate{}); return err },
		"spend alert": func() error {
			_, err := o.CreateSpendAlert(ctx, who, "", admin.SpendAlertRequest{Recipients: []string{"a@example.com"}})
			return err
		},
		"spend alerts": func() error { _, _, err := o.SpendAlerts(ctx, who, "", store.Page{}); return err },
	} {
		if err := call(); gatehouse.KindOf(err) != gatehouse.Forbidden {
			t.Errorf("%s: %v", name, err)
		}
	}
}
