package admin

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/store"
)

// BudgetSpec is a budget as it is declared.
type BudgetSpec struct {
	Name  string
	Scope gatehouse.Scope // empty: organization
	// Subject is whom Scope means: nothing for the organization; a project by id or name; a user by id or mail address; a service
	// account by id or as PROJECT/NAME; a key by id; a label as name=value.
	Subject      string
	Amount       gatehouse.NanoUSD
	Window       gatehouse.Window // Period empty: month
	Enforcement  gatehouse.Enforcement
	Uncapped     gatehouse.Uncapped
	UnknownPrice gatehouse.UnknownPrice
	Alerts       []int
}

// The bounds of what a budget may be declared with.
const (
	maxBudgets      = 1000 // of one organization: every request looks at the ones that bind it
	maxBudgetAlerts = 10
	maxIncreases    = 100
	maxIncreaseDays = 366
)

// check validates what can be validated without the database and fills what was left out.
func (b *BudgetSpec) check() error {
	if err := gatehouse.CheckName("name", b.Name); err != nil {
		return err
	}
	if strings.HasPrefix(b.Name, gatehouse.PrefixBudget) {
		return gatehouse.InvalidParam("name", "Invalid 'name': it begins like an id, %s; a name must not be taken for one.", gatehouse.PrefixBudget)
	}
	b.Scope = cmp.Or(b.Scope, gatehouse.ScopeOrganization)
	if !slices.Contains([]gatehouse.Scope{gatehouse.ScopeOrganization, gatehouse.ScopeProject, gatehouse.ScopeUser, gatehouse.ScopeGroup, gatehouse.ScopeServiceAccount, gatehouse.ScopeKey, gatehouse.ScopeLabel}, b.Scope) {
		return gatehouse.InvalidParam("scope", "Invalid 'scope': must be organization, project, user, service_account, key or label.")
	}
	b.Window.Period = cmp.Or(b.Window.Period, gatehouse.Monthly)
	if err := checkWindow(b.Window); err != nil {
		return err
	}
	if b.Window.StartDay == 1 {
		b.Window.StartDay = 0 // one spelling of the same window
	}
	if b.Window.StartMonth == 1 {
		b.Window.StartMonth = 0
	}
	b.Enforcement = cmp.Or(b.Enforcement, gatehouse.Hard)
	return checkTerms(b.Amount, b.Enforcement, b.Uncapped, b.UnknownPrice, b.Alerts)
}

// checkWindow refuses a window that would not be counted as it is written.
func checkWindow(w gatehouse.Window) error {
	switch w.Period {
	case gatehouse.Daily, gatehouse.Weekly, gatehouse.Total:
		if w.StartDay != 0 || w.StartMonth != 0 {
			return gatehouse.InvalidParam("window.start_day", "Invalid 'window': start_day and start_month are for months and quarters.")
		}
		return nil
	case gatehouse.Monthly:
		if w.StartMonth != 0 {
			return gatehouse.InvalidParam("window.start_month", "Invalid 'window.start_month': it is for quarters.")
		}
	case gatehouse.Quarterly:
		if w.StartMonth < 0 || w.StartMonth > 12 {
			return gatehouse.InvalidParam("window.start_month", "Invalid 'window.start_month': must be between 1 and 12.")
		}
	default:
		return gatehouse.InvalidParam("window.period", "Invalid 'window.period': must be day, week, month, quarter or total.")
	}
	if w.StartDay < 0 || w.StartDay > 28 {
		return gatehouse.InvalidParam("window.start_day", "Invalid 'window.start_day': must be between 1 and 28, so that every month has it.")
	}
	return nil
}

// checkTerms refuses what a budget could not keep: an accepted field is an enforced one.
func checkTerms(amount gatehouse.NanoUSD, e gatehouse.Enforcement, u gatehouse.Uncapped, p gatehouse.UnknownPrice, alerts []int) error {
	if err := checkAmount("amount_usd", amount, 0); err != nil {
		return err
	}
	switch e {
	case gatehouse.Hard:
		if !slices.Contains([]gatehouse.Uncapped{gatehouse.UncappedLimit, gatehouse.UncappedRefuse, gatehouse.UncappedTypical}, u) {
			return gatehouse.InvalidParam("uncapped", "Invalid 'uncapped': must be limit, refuse or typical.")
		}
		if !slices.Contains([]gatehouse.UnknownPrice{gatehouse.UnknownDefault, gatehouse.UnknownMeter, gatehouse.UnknownRefuse}, p) {
			return gatehouse.InvalidParam("unknown_price", "Invalid 'unknown_price': must be default, meter or refuse.")
		}
	case gatehouse.Soft:
		switch {
		case amount == 0:
			return gatehouse.InvalidParam("amount_usd", "Invalid 'amount_usd': a soft budget of nothing would always be over. Set an amount.")
		case u != gatehouse.UncappedLimit:
			return gatehouse.InvalidParam("uncapped", "Invalid 'uncapped': a soft budget refuses nothing. Leave it out, or make the budget hard.")
		case p != gatehouse.UnknownDefault:
			return gatehouse.InvalidParam("unknown_price", "Invalid 'unknown_price': a soft budget refuses nothing. Leave it out, or make the budget hard.")
		}
	default:
		return gatehouse.InvalidParam("enforcement", "Invalid 'enforcement': must be hard or soft.")
	}
	if len(alerts) > maxBudgetAlerts {
		return gatehouse.InvalidParam("alerts", "Invalid 'alerts': at most %d percentages are allowed.", maxBudgetAlerts)
	}
	for i, a := range alerts {
		if a < 1 || a > 1000 || i > 0 && a <= alerts[i-1] {
			return gatehouse.InvalidParam("alerts", "Invalid 'alerts': percentages from 1 to 1000 are needed, each larger than the one before.")
		}
	}
	return nil
}

// checkAmount refuses an amount below the least that makes sense, and one that no NanoUSD could add up.
func checkAmount(param string, amount, least gatehouse.NanoUSD) error {
	if amount < least || amount > gatehouse.NanoUSD(gatehouse.MaxUSD) {
		return gatehouse.InvalidParam(param, "Invalid '%s': must be between %s and %s US dollars.", param, gatehouse.USD(least), gatehouse.MaxUSD)
	}
	return nil
}

// CreateBudget adds a budget. Its window began before it did: what was spent in it already counts, as far as it is settled.
func (s *Service) CreateBudget(ctx context.Context, who *gatehouse.Principal, spec BudgetSpec) (b *gatehouse.Budget, effect Effect, err error) {
	if err := spec.check(); err != nil {
		return nil, Effect{}, err
	}
	effect, err = s.change(ctx, who, narrows, gatehouse.Event{Type: "budget.created"}, func(tx *store.Tx) error {
		if b, err = s.budgetOf(tx, who, &spec); err != nil {
			return err
		}
		return s.addBudget(tx, b)
	})
	return b, effect, err
}

// budgetOf resolves whom a checked specification means and returns the budget it describes.
func (s *Service) budgetOf(tx *store.Tx, who *gatehouse.Principal, spec *BudgetSpec) (*gatehouse.Budget, error) {
	subject, _, err := s.scopeSubject(tx, who, spec.Scope, spec.Subject)
	if gatehouse.KindOf(err) == gatehouse.NotFound { // what is missing is what the field names, not what the path does
		e, _ := errors.AsType[*gatehouse.Error](err)
		return nil, gatehouse.InvalidParam("subject", "Invalid 'subject': %s A budget for nobody would be kept and never enforced.", e.Message)
	}
	if err != nil {
		return nil, err
	}
	return &gatehouse.Budget{ID: gatehouse.NewID(gatehouse.PrefixBudget), Organization: who.Organization, Name: spec.Name, Scope: spec.Scope, Subject: subject, Amount: spec.Amount,
		Window: spec.Window, Enforcement: spec.Enforcement, Uncapped: spec.Uncapped, UnknownPrice: spec.UnknownPrice, Alerts: slices.Clone(spec.Alerts), CreatedAt: tx.Now}, nil
}

// addBudget stores a new budget and fills the change's event.
func (s *Service) addBudget(tx *store.Tx, b *gatehouse.Budget) error {
	if err := s.storeBudget(tx, b); err != nil {
		return err
	}
	ev := tx.Event()
	ev.Type, ev.Project, ev.Subject, ev.SubjectID, ev.Change = "budget.created", projectOf(b), gatehouse.SubjectBudget, b.ID, detail(budgetDetail(b))
	return nil
}

// storeBudget stores a new budget, where there is room for one more.
func (s *Service) storeBudget(tx *store.Tx, b *gatehouse.Budget) error {
	list, err := tx.Budgets(b.Organization)
	if err != nil {
		return err
	}
	if len(list) >= maxBudgets {
		return &gatehouse.Error{Kind: gatehouse.Conflict, Code: "too_many_budgets", Message: "An organization has at most 1000 budgets. Remove one first, or use a budget for a label."}
	}
	return budgetTaken(tx.CreateBudget(b), b.Name)
}

// budgetTaken says what a Conflict of the store means for a new budget.
func budgetTaken(err error, name string) error {
	if gatehouse.KindOf(err) == gatehouse.Conflict {
		return &gatehouse.Error{Kind: gatehouse.Conflict, Code: "budget_exists", Param: "name", Message: "There is a budget named `" + name + "` already. Change it, or choose another name.", Err: err}
	}
	return err
}

// projectOf returns the project that an event about a budget is about, if any.
func projectOf(b *gatehouse.Budget) string {
	if b.Scope == gatehouse.ScopeProject {
		return b.Subject
	}
	return ""
}

func budgetDetail(b *gatehouse.Budget) map[string]any {
	return map[string]any{"name": b.Name, "kind": b.Kind, "scope": b.Scope, "subject": b.Subject, "amount_nano_usd": b.Amount, "window": b.Window, "enforcement": b.Enforcement,
		"uncapped": b.Uncapped, "unknown_price": b.UnknownPrice, "alerts": b.Alerts}
}

// BudgetUpdate changes a budget; absent fields stay. A budget's scope, subject and window never change: what was counted was counted
// for them.
type BudgetUpdate struct {
	Name         Optional[string]
	Amount       Optional[gatehouse.NanoUSD]
	Enforcement  Optional[gatehouse.Enforcement]
	Uncapped     Optional[gatehouse.Uncapped]
	UnknownPrice Optional[gatehouse.UnknownPrice]
	Alerts       Optional[[]int]
	// Rev, when set, is the revision that the caller has read: the change is a Conflict once there is a newer one.
	Rev Optional[int64]
}

// UpdateBudget changes the terms of a budget, by id or name. What was spent, reserved and kept stays as it is, whatever the change.
func (s *Service) UpdateBudget(ctx context.Context, who *gatehouse.Principal, ref string, req BudgetUpdate) (b *gatehouse.Budget, effect Effect, err error) {
	effect, err = s.change(ctx, who, narrows, gatehouse.Event{Type: "budget.updated", Subject: gatehouse.SubjectBudget}, func(tx *store.Tx) error {
		if b, err = s.ownBudget(tx, who, ref); err != nil {
			return err
		}
		if req.Rev.Set && req.Rev.Value != b.Rev {
			return &gatehouse.Error{Kind: gatehouse.Conflict, Code: "budget_changed", Param: "rev", Message: "The budget has changed since it was read. Read it again and repeat the change."}
		}
		changed, err := reviseBudget(b, &req)
		if err != nil {
			return err
		}
		if len(changed) == 0 {
			return errUnchanged
		}
		ev := tx.Event()
		ev.Project, ev.SubjectID, ev.Change = projectOf(b), b.ID, detail(budgetDetail(b))
		return budgetTaken(tx.SaveBudget(b), b.Name)
	})
	if err == errUnchanged {
		return b, Effect{Everywhere: true}, nil
	}
	return b, effect, err
}

// reviseBudget applies an update to a budget that was read and returns which fields it changed.
func reviseBudget(b *gatehouse.Budget, req *BudgetUpdate) (changed []string, err error) {
	set := func(name string, differs bool, apply func()) {
		if differs {
			changed = append(changed, name)
			apply()
		}
	}
	if req.Name.Set && req.Name.Value != b.Name {
		if b.Kind == gatehouse.BudgetSpendLimit {
			return nil, gatehouse.InvalidParam("name", "A spend limit has no name of its own.")
		}
		if err := (&BudgetSpec{Name: req.Name.Value, Amount: b.Amount}).check(); err != nil {
			return nil, err
		}
		set("name", true, func() { b.Name = req.Name.Value })
	}
	set("amount", req.Amount.Set && req.Amount.Value != b.Amount, func() { b.Amount = req.Amount.Value })
	set("enforcement", req.Enforcement.Set && req.Enforcement.Value != b.Enforcement, func() { b.Enforcement = req.Enforcement.Value })
	set("uncapped", req.Uncapped.Set && req.Uncapped.Value != b.Uncapped, func() { b.Uncapped = req.Uncapped.Value })
	set("unknown_price", req.UnknownPrice.Set && req.UnknownPrice.Value != b.UnknownPrice, func() { b.UnknownPrice = req.UnknownPrice.Value })
	set("alerts", req.Alerts.Set && !slices.Equal(req.Alerts.Value, b.Alerts), func() { b.Alerts = slices.Clone(req.Alerts.Value) })
	if b.Kind == gatehouse.BudgetSpendLimit {
		switch {
		case b.Enforcement != gatehouse.Hard:
			return nil, gatehouse.InvalidParam("enforcement", "Invalid 'enforcement': a spend limit is hard. Declare a soft budget beside it.")
		case b.Amount < gatehouse.Cents || b.Amount%gatehouse.Cents != 0:
			return nil, gatehouse.InvalidParam("amount_usd", "Invalid 'amount_usd': a spend limit is one cent or more, in whole cents.")
		}
	}
	return changed, checkTerms(b.Amount, b.Enforcement, b.Uncapped, b.UnknownPrice, b.Alerts)
}

// RemoveBudget ends a budget, by id or name. Holds that it has granted are settled as ever.
func (s *Service) RemoveBudget(ctx context.Context, who *gatehouse.Principal, ref string) (b *gatehouse.Budget, err error) {
	_, err = s.change(ctx, who, widens, gatehouse.Event{Type: "budget.deleted", Subject: gatehouse.SubjectBudget}, func(tx *store.Tx) error {
		if b, err = s.ownBudget(tx, who, ref); err != nil {
			return err
		}
		tx.Event().Project, tx.Event().SubjectID = projectOf(b), b.ID
		b.RemovedAt = tx.Now
		return tx.SaveBudget(b)
	})
	return b, err
}

// IncreaseRequest raises a budget for a time.
type IncreaseRequest struct {
	Amount gatehouse.NanoUSD
	From   gatehouse.Millis // 0: now
	Until  gatehouse.Millis
	Reason string
}

// IncreaseBudget raises a budget, by id or name, from a point in time until another. When it ends the budget is what it was before;
// what was spent on top stays spent, so that the budget may then refuse until its window ends.
func (s *Service) IncreaseBudget(ctx context.Context, who *gatehouse.Principal, ref string, req IncreaseRequest) (b *gatehouse.Budget, effect Effect, err error) {
	if err := checkAmount("amount_usd", req.Amount, 1); err != nil {
		return nil, Effect{}, err
	}
	if req.Reason != "" {
		if err := gatehouse.CheckName("reason", req.Reason); err != nil {
			return nil, Effect{}, err
		}
	}
	effect, err = s.change(ctx, who, widens, gatehouse.Event{Type: "budget.increased", Subject: gatehouse.SubjectBudget}, func(tx *store.Tx) error {
		if b, err = s.ownBudget(tx, who, ref); err != nil {
			return err
		}
		made := gatehouse.Increase{ID: gatehouse.NewID(gatehouse.PrefixIncrease), Amount: req.Amount, From: cmp.Or(req.From, tx.Now), Until: req.Until, Reason: req.Reason}
		switch {
		case made.Until <= tx.Now:
			return gatehouse.InvalidParam("until", "Invalid 'until': it must be in the future.")
		case made.From >= made.Until:
			return gatehouse.InvalidParam("from", "Invalid 'from': it must be before 'until'.")
		case made.Until-made.From > maxIncreaseDays*dayMillis:
			return gatehouse.InvalidParam("until", "Invalid 'until': an increase lasts at most %d days. Change the budget's amount instead.", maxIncreaseDays)
		}
		// What has ended long ago is in the audit log.
		b.Increases = slices.DeleteFunc(b.Increases, func(i gatehouse.Increase) bool { return i.Until < tx.Now-90*dayMillis })
		if len(b.Increases) >= maxIncreases {
			return &gatehouse.Error{Kind: gatehouse.Conflict, Code: "too_many_increases", Message: "The budget has 100 increases already. Remove one, or change its amount."}
		}
		var sum gatehouse.NanoUSD
		for _, i := range b.Increases {
			sum += i.Amount
		}
		if err := checkAmount("amount_usd", b.Amount+sum+made.Amount, 0); err != nil {
			return err
		}
		b.Increases = append(b.Increases, made)
		ev := tx.Event()
		ev.Project, ev.SubjectID, ev.Change = projectOf(b), b.ID, detail(map[string]any{"increase": made})
		return tx.SaveBudget(b)
	})
	return b, effect, err
}

const dayMillis = 24 * 60 * 60 * 1000

// EndIncrease takes an increase back before its time, and one that has ended out of the budget's list.
func (s *Service) EndIncrease(ctx context.Context, who *gatehouse.Principal, ref, id string) (effect Effect, err error) {
	return s.change(ctx, who, narrows, gatehouse.Event{Type: "budget.increase_ended", Subject: gatehouse.SubjectBudget}, func(tx *store.Tx) error {
		b, err := s.ownBudget(tx, who, ref)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(b.Increases, func(i gatehouse.Increase) bool { return i.ID == id })
		if i < 0 {
			return notFound("increase", id)
		}
		ev := tx.Event()
		ev.Project, ev.SubjectID, ev.Change = projectOf(b), b.ID, detail(map[string]any{"increase": b.Increases[i]})
		b.Increases = slices.Delete(b.Increases, i, i+1)
		return tx.SaveBudget(b)
	})
}

// budget returns a live budget of the caller's organization by id or name.
func (s *Service) budget(tx *store.Tx, who *gatehouse.Principal, ref string) (*gatehouse.Budget, error) {
	if strings.HasPrefix(ref, gatehouse.PrefixBudget) {
		b, err := tx.Budget(ref)
		if err != nil {
			return nil, hide(err, "budget", ref)
		}
		if b.Organization != who.Organization || b.RemovedAt != 0 {
			return nil, notFound("budget", ref)
		}
		return b, nil
	}
	list, err := tx.Budgets(who.Organization)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Name == ref && ref != "" {
			return &list[i], nil
		}
	}
	return nil, notFound("budget", ref)
}

// ownBudget returns a budget that an operator may change: what credits come to follows from grants.
func (s *Service) ownBudget(tx *store.Tx, who *gatehouse.Principal, ref string) (*gatehouse.Budget, error) {
	b, err := s.budget(tx, who, ref)
	if err == nil && b.Kind == gatehouse.BudgetCredits {
		return nil, &gatehouse.Error{Kind: gatehouse.Conflict, Code: "budget_of_credits", Message: "This budget follows the organization's credits. Grant or revoke credits to change it (gatehouse credits)."}
	}
	return b, err
}

// UncappedNamed returns the policy of a name; limit and nothing are the same.
func UncappedNamed(name string) gatehouse.Uncapped {
	if name == "limit" {
		return gatehouse.UncappedLimit
	}
	return gatehouse.Uncapped(name)
}

// UnknownPriceNamed returns the policy of a name; default and nothing are the same.
func UnknownPriceNamed(name string) gatehouse.UnknownPrice {
	if name == "default" {
		return gatehouse.UnknownDefault
	}
	return gatehouse.UnknownPrice(name)
}
