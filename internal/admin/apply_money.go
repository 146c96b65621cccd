package admin

import (
	"maps"
	"slices"
	"time"

	"gatehouse"
)

// ManifestOrganization declares the organization itself. What is absent stays.
type ManifestOrganization struct {
	Name     string `yaml:"name"`
	TimeZone string `yaml:"time_zone"` // an IANA name such as Europe/Berlin
	// HeaderLabels are the names of labels that callers may send with a request, all of them.
	HeaderLabels  *[]string             `yaml:"header_labels"`
	Retention     *ManifestRetention    `yaml:"retention"`
	DataRetention string                `yaml:"data_retention"` // as OpenAI's API has it
	SpendLimit    *gatehouse.USD        `yaml:"spend_limit"`    // US dollars a calendar month, 0: none
	SpendAlerts   *[]ManifestSpendAlert `yaml:"spend_alerts"`   // all of them
	Certificates  *[]string             `yaml:"certificates"`   // of which every caller must show one, by name or id
}

// ManifestRetention declares how long measurements are kept, in days; 0 is the default, and what is absent stays.
type ManifestRetention struct {
	Requests *int64 `yaml:"requests_days"`
	Minutes  *int64 `yaml:"minutes_days"`
	Hours    *int64 `yaml:"hours_days"`
	Usage    *int64 `yaml:"usage_days"`
}

// over returns what is declared over what holds.
func (r *ManifestRetention) over(now gatehouse.Retention) gatehouse.Retention {
	for _, f := range []struct{ to, days *int64 }{{&now.Requests, r.Requests}, {&now.Minutes, r.Minutes}, {&now.Hours, r.Hours}, {&now.Usage, r.Usage}} {
		if f.days != nil {
			*f.to = *f.days
		}
	}
	return now
}

// ManifestBudget declares a budget. Scope, subject and window are what a budget is created with; a manifest that changes them is refused.
// What was spent, and temporary increases, are never touched by applying one.
type ManifestBudget struct {
	Name         string         `yaml:"name"`
	Scope        string         `yaml:"scope"`   // organization, project, user, service_account, key or label; absent: organization
	Subject      string         `yaml:"subject"` // as in BudgetSpec
	Amount       *gatehouse.USD `yaml:"amount"`  // US dollars
	Window       ManifestWindow `yaml:"window"`
	Enforcement  string         `yaml:"enforcement"`   // hard or soft; absent: hard
	Uncapped     string         `yaml:"uncapped"`      // limit, refuse or typical; absent: limit
	UnknownPrice string         `yaml:"unknown_price"` // default, meter or refuse; absent: default
	Alerts       []int          `yaml:"alerts"`        // percentages of the amount, ascending
}

// ManifestWindow declares the windows of a budget.
type ManifestWindow struct {
	Period     string `yaml:"period"` // day, week, month, quarter or total; absent: month
	StartDay   int    `yaml:"start_day"`
	StartMonth int    `yaml:"start_month"`
}

// ManifestCredits declares prepayment. Grants are given once: one that exists by name stays as it is, and is never pruned.
type ManifestCredits struct {
	Prepaid *bool           `yaml:"prepaid"` // absent: as it is
	Refill  *ManifestRefill `yaml:"refill"`  // absent: as it is
	Grants  []ManifestGrant `yaml:"grants"`
}

// ManifestRefill declares how credits are refilled.
type ManifestRefill struct {
	Mode       string        `yaml:"mode"` // none, manual or automatic
	Below      gatehouse.USD `yaml:"below"`
	Add        gatehouse.USD `yaml:"add"`
	MonthlyMax gatehouse.USD `yaml:"monthly_max"`
	Days       int           `yaml:"days"`
}

// ManifestGrant declares prepaid credit.
type ManifestGrant struct {
	Name      string         `yaml:"name"`
	Amount    *gatehouse.USD `yaml:"amount"`
	Priority  int            `yaml:"priority"`
	StartsAt  time.Time      `yaml:"starts_at"`
	ExpiresAt time.Time      `yaml:"expires_at"`
	Reference string         `yaml:"reference"`
	Active    bool           `yaml:"active"`
}

// organization changes the organization itself.
func (a *application) organization(want *ManifestOrganization) error {
	if want == nil {
		return nil
	}
	o, err := a.tx.Organization(a.who.Organization)
	if err != nil {
		return err
	}
	var update OrganizationUpdate
	if want.Name != "" {
		update.Name = Some(want.Name)
	}
	if want.TimeZone != "" {
		update.TimeZone = Some(want.TimeZone)
	}
	if want.HeaderLabels != nil {
		update.HeaderLabels = Some(*want.HeaderLabels)
	}
	if want.Retention != nil {
		update.Retention = Some(want.Retention.over(o.Retention))
	}
	if want.DataRetention != "" {
		update.DataRetention = Some(gatehouse.DataRetention(want.DataRetention))
	}
	changes, err := a.s.setOrganization(a.tx, o, update)
	if err != nil {
		return err
	}
	if len(changes) > 0 {
		a.note(&outcome{action: "update", kind: "organization", name: o.Name, changes: slices.Sorted(maps.Keys(changes)),
			event: &gatehouse.Event{Type: "organization.updated", Subject: gatehouse.SubjectOrganization, SubjectID: o.ID, Change: detail(changes)}})
	}
	if want.Certificates == nil {
		return nil
	}
	return a.activeCertificates("", o.Name, *want.Certificates)
}

// budgets creates and changes budgets, and with prune removes those that an operator declared and the manifest does not name.
func (a *application) budgets(want []ManifestBudget, prune bool) error {
	list, err := a.tx.Budgets(a.who.Organization)
	if err != nil {
		return err
	}
	have := map[string]*gatehouse.Budget{}
	for i := range list {
		if list[i].Kind == gatehouse.BudgetPlain {
			have[list[i].Name] = &list[i]
		}
	}
	named := map[string]bool{}
	for i := range want {
		if named[want[i].Name] {
			return gatehouse.InvalidParam("budgets", "The manifest declares budget %q twice.", want[i].Name)
		}
		named[want[i].Name] = true
		if err := a.budget(&want[i], have[want[i].Name]); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if !prune || named[name] {
			continue
		}
		b := have[name]
		b.RemovedAt = a.tx.Now
		if err := a.tx.SaveBudget(b); err != nil {
			return err
		}
		a.note(&outcome{action: "delete", kind: "budget", name: name, event: &gatehouse.Event{Type: "budget.deleted", Project: projectOf(b), Subject: gatehouse.SubjectBudget, SubjectID: b.ID}})
	}
	return nil
}

// budget creates one budget, or changes the terms of the one that has its name.
func (a *application) budget(want *ManifestBudget, have *gatehouse.Budget) error {
	if want.Amount == nil {
		return gatehouse.InvalidParam("budgets", "Budget %q has no amount.", want.Name)
	}
	spec := BudgetSpec{Name: want.Name, Scope: gatehouse.Scope(want.Scope), Subject: want.Subject, Amount: gatehouse.NanoUSD(*want.Amount),
		Window:      gatehouse.Window{Period: gatehouse.Period(want.Window.Period), StartDay: want.Window.StartDay, StartMonth: want.Window.StartMonth},
		Enforcement: gatehouse.Enforcement(want.Enforcement), Uncapped: UncappedNamed(want.Uncapped), UnknownPrice: UnknownPriceNamed(want.UnknownPrice), Alerts: want.Alerts}
	if err := spec.check(); err != nil {
		return about("Budget", want.Name, err)
	}
	made, err := a.s.budgetOf(a.tx, a.who, &spec)
	if err != nil {
		return about("Budget", want.Name, err)
	}
	out := &outcome{kind: "budget", name: want.Name, action: "create"}
	if have == nil {
		if err := a.s.storeBudget(a.tx, made); err != nil {
			return err
		}
		out.event = &gatehouse.Event{Type: "budget.created", Project: projectOf(made), Subject: gatehouse.SubjectBudget, SubjectID: made.ID, Change: detail(budgetDetail(made))}
		a.note(out)
		return nil
	}
	if have.Scope != made.Scope || have.Subject != made.Subject || have.Window != made.Window {
		return gatehouse.InvalidParam("budgets", "Budget %q: its scope, subject and window never change, because what was counted was counted for them. Declare it under another name, and remove this one.", want.Name)
	}
	changed, err := reviseBudget(have, &BudgetUpdate{Amount: Some(made.Amount), Enforcement: Some(made.Enforcement), Uncapped: Some(made.Uncapped), UnknownPrice: Some(made.UnknownPrice), Alerts: Some(made.Alerts)})
	if err != nil || len(changed) == 0 {
		return err
	}
	if err := a.tx.SaveBudget(have); err != nil {
		return err
	}
	out.action, out.changes = "update", changed
	out.event = &gatehouse.Event{Type: "budget.updated", Project: projectOf(have), Subject: gatehouse.SubjectBudget, SubjectID: have.ID, Change: detail(budgetDetail(have))}
	a.note(out)
	return nil
}

// about names in an error what of a manifest it is about.
func about(kind, name string, err error) error {
	e, ok := err.(*gatehouse.Error)
	if !ok {
		return err
	}
	named := *e
	named.Message = kind + " \"" + clipped(name) + "\": " + e.Message
	return &named
}

// credits turns prepayment on or off, sets the policy, and gives the grants that were not given yet.
func (a *application) credits(want *ManifestCredits) error {
	if want == nil {
		return nil
	}
	b, u, err := bookNow(a.tx, a.who.Organization)
	if err != nil {
		return err
	}
	b.reference = "manifest.applied"
	var update CreditsUpdate
	if want.Prepaid != nil {
		update.Prepaid = Some(*want.Prepaid)
	}
	if r := want.Refill; r != nil {
		p := gatehouse.Refill{Mode: RefillModeNamed(r.Mode), Below: gatehouse.NanoUSD(r.Below), Add: gatehouse.NanoUSD(r.Add), MonthlyMax: gatehouse.NanoUSD(r.MonthlyMax), Days: r.Days}
		if err := checkRefill(p); err != nil {
			return about("Credits", "refill", err)
		}
		update.Refill = Some(p)
	}
	if err := b.advance(u); err != nil {
		return err
	}
	noted := len(*a.plan)
	for i := range want.Grants {
		if err := a.grant(b, &want.Grants[i]); err != nil {
			return err
		}
	}
	changed, err := b.set(update)
	if err != nil {
		return err
	}
	if len(changed) > 0 {
		a.note(&outcome{action: "update", kind: "credits", name: a.who.Organization, changes: changed, event: &gatehouse.Event{Type: "credits.updated", Subject: gatehouse.SubjectCredits,
			SubjectID: a.who.Organization, Change: detail(map[string]any{"prepaid": b.credits.Budget != "", "refill": b.credits.Refill})}})
	}
	if noted == len(*a.plan) {
		return nil
	}
	b.sort()
	if u, err = creditUse(a.tx, b.credits); err != nil { // another budget may count from now on, or none
		return err
	}
	return b.advance(u)
}

// grant gives one grant of a manifest, or activates the one of its name.
func (a *application) grant(b *book, want *ManifestGrant) error {
	if want.Amount == nil || want.Name == "" {
		return gatehouse.InvalidParam("credits", "A grant of the manifest needs a name and an amount.")
	}
	req := GrantRequest{Name: want.Name, Amount: gatehouse.NanoUSD(*want.Amount), Priority: want.Priority, StartsAt: millis(want.StartsAt), ExpiresAt: millis(want.ExpiresAt), Reference: want.Reference, Activate: want.Active}
	have, err := a.tx.GrantNamed(a.who.Organization, want.Name)
	out := &outcome{kind: "credit_grant", name: want.Name}
	switch {
	case gatehouse.KindOf(err) == gatehouse.NotFound:
		if err := req.check(a.tx.Now); err != nil {
			return about("Grant", want.Name, err)
		}
		g, err := b.grant(&req, false)
		if err != nil {
			return err
		}
		out.action, out.event = "create", &gatehouse.Event{Type: "credits.granted", Subject: gatehouse.SubjectGrant, SubjectID: g.ID, Change: detail(grantDetail(g))}
	case err != nil:
		return err
	case have.Amount != req.Amount || have.Priority != req.Priority || have.StartsAt != req.StartsAt || have.ExpiresAt != req.ExpiresAt || have.Reference != req.Reference:
		return gatehouse.InvalidParam("credits", "Grant %q was given already, with other terms: %s US dollars. What was given does not change; declare another grant.", want.Name, gatehouse.USD(have.Amount))
	case want.Active && have.ActivatedAt == 0 && !b.ended(have):
		g, err := b.find(have.ID)
		if err != nil {
			return err
		}
		g.ActivatedAt = a.tx.Now
		b.changed[g.ID] = true
		out.action, out.changes = "update", []string{"active"}
		out.event = &gatehouse.Event{Type: "credits.activated", Subject: gatehouse.SubjectGrant, SubjectID: g.ID, Change: detail(grantDetail(g))}
	}
	a.note(out)
	return nil
}

// millis returns a time of a manifest, 0 for one that is absent.
func millis(t time.Time) gatehouse.Millis {
	if t.IsZero() {
		return 0
	}
	return gatehouse.MillisOf(t)
}
