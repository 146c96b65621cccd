package watch

import (
	"context"
	"fmt"
	"math/bits"
	"slices"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/finance"
)

// money looks at budgets and credits, each organization's through admin's own reading of them, so that an alert and a report never
// disagree.
func (l *look) money(ctx context.Context) error {
	for i := range l.orgs {
		o := &l.orgs[i]
		asked := func(kind gatehouse.AlertKind) bool {
			return slices.ContainsFunc(o.rules, func(r gatehouse.AlertRule) bool { return r.Kind == kind })
		}
		ahead := asked(gatehouse.AlertForecast) && l.forecasting
		if ahead || asked(gatehouse.AlertBudget) {
			budgets, err := l.w.cfg.Budgets(ctx, o.ID)
			if err != nil {
				return err
			}
			for j := range budgets {
				if err := l.budget(ctx, o, &budgets[j], ahead); err != nil {
					return err
				}
			}
		}
		if asked(gatehouse.AlertCreditsLow) {
			if err := l.credits(ctx, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// budget asks the rules of an organization about one budget.
func (l *look) budget(ctx context.Context, o *organization, b *admin.BudgetStatus, ahead bool) error {
	for i := range o.rules {
		r := &o.rules[i]
		switch {
		case b.Scope == gatehouse.ScopeProject && !about(r, b.Subject) || b.Scope != gatehouse.ScopeProject && len(r.Projects) > 0:
		case r.Kind == gatehouse.AlertBudget:
			l.thresholds(o, r, b)
		case r.Kind == gatehouse.AlertForecast && ahead:
			if err := l.forecast(ctx, o, r, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// thresholds tells of the greatest percentage that a budget has reached, each once in its window. Those below it are marked too, so
// that a budget which reaches several at once is one alert.
func (l *look) thresholds(o *organization, r *gatehouse.AlertRule, b *admin.BudgetStatus) {
	spent := b.Spent + b.Kept
	var reached []int
	for _, percent := range b.Alerts {
		if spent > 0 && atLeast(spent, b.Now, percent) {
			reached = append(reached, percent)
		}
	}
	slices.Sort(reached)
	for i, percent := range slices.Backward(reached) {
		a := gatehouse.Alert{Subject: gatehouse.AboutBudget, SubjectID: b.ID, WindowStart: b.Start, WindowEnd: b.End, Unit: gatehouse.UnitNanoUSD,
			Observed: int64(spent), Baseline: int64(b.Now), Threshold: int64(part(b.Now, percent)),
			Title:  fmt.Sprintf("%s has reached %d%% of %s", budgetName(b), percent, dollars(int64(b.Now))),
			Reason: fmt.Sprintf("%s of %s is spent in the window that began at %s.", dollars(int64(spent)), dollars(int64(b.Now)), b.Start.Time().In(o.zone).Format("2006-01-02 15:04 MST"))}
		place(&a, b)
		if b.Enforcement == gatehouse.Hard {
			a.Reason += " What could go over it is refused."
		}
		f := l.find(o, r, a, fmt.Sprintf("%s/%d/%d", b.ID, b.Start, percent), b.End)
		f.Silent = i < len(reached)-1
	}
}

// forecast tells of a budget of calendar months that is expected not to last.
func (l *look) forecast(ctx context.Context, o *organization, r *gatehouse.AlertRule, b *admin.BudgetStatus) error {
	q := finance.ForecastQuery{Now: l.now, Zone: o.zone}
	switch {
	case b.Window.Period != gatehouse.Monthly || b.Window.StartDay > 1 || b.Now <= 0:
		return nil
	case b.Scope == gatehouse.ScopeProject:
		q.Projects = []string{b.Subject}
	case b.Scope == gatehouse.ScopeKey:
		q.Keys = []string{b.Subject}
	case b.Scope != gatehouse.ScopeOrganization:
		return nil
	}
	books := finance.Books{DB: l.w.cfg.DB, Organization: o.ID}
	list, err := books.Forecast(ctx, &q)
	if err != nil || len(list) == 0 || list[0].Expected <= b.Now || b.Spent > b.Now {
		return err
	}
	f := &list[0]
	a := gatehouse.Alert{Subject: gatehouse.AboutBudget, SubjectID: b.ID, WindowStart: b.Start, WindowEnd: b.End, Unit: gatehouse.UnitNanoUSD,
		Observed: int64(f.Expected), Baseline: int64(b.Spent), Threshold: int64(b.Now),
		Title: fmt.Sprintf("%s will not last: %s of %s are expected", budgetName(b), dollars(int64(f.Expected)), dollars(int64(b.Now))),
		Reason: fmt.Sprintf("%s is spent so far. At its end the month is expected to have cost %s, most likely between %s and %s.", dollars(int64(b.Spent)),
			dollars(int64(f.Expected)), dollars(int64(f.Low)), dollars(int64(f.High)))}
	place(&a, b)
	l.find(o, r, a, "forecast/"+b.ID, l.quiet(r, l.now+hour))
	return nil
}

// credits tells of prepaid credits that run low.
func (l *look) credits(ctx context.Context, o *organization) error {
	info, err := l.w.cfg.Credits(ctx, o.ID)
	if err != nil || info.Budget == "" {
		return err
	}
	for i := range o.rules {
		r := &o.rules[i]
		if r.Kind != gatehouse.AlertCreditsLow || info.Balance >= r.MinCost {
			continue
		}
		l.find(o, r, gatehouse.Alert{Subject: gatehouse.AboutOrganization, SubjectID: o.ID, Unit: gatehouse.UnitNanoUSD, Observed: int64(info.Balance), Threshold: int64(r.MinCost),
			Title:  fmt.Sprintf("%s of prepaid credits are left", dollars(int64(info.Balance))),
			Reason: fmt.Sprintf("The rule tells below %s. With nothing left requests are refused; `gatehouse credits` shows grants and adds to them.", dollars(int64(r.MinCost)))},
			"credits", l.quiet(r, l.now+hour))
	}
	return nil
}

// place says of an alert about a budget whom the budget binds, as far as an alert names such.
func place(a *gatehouse.Alert, b *admin.BudgetStatus) {
	switch b.Scope {
	case gatehouse.ScopeProject:
		a.Project = b.Subject
	case gatehouse.ScopeKey:
		a.Key = b.Subject
	}
}

// budgetName says which budget it is in words.
func budgetName(b *admin.BudgetStatus) string {
	if b.Name != "" {
		return fmt.Sprintf("budget %s (%s)", quoted(b.Name), b.ID)
	}
	return fmt.Sprintf("the %s of %s %s (%s)", orElse(string(b.Kind), "budget"), b.Scope, b.Subject, b.ID)
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// atLeast reports whether spent is at least so many percent of amount.
func atLeast(spent, amount gatehouse.NanoUSD, percent int) bool {
	if amount < 0 {
		return true
	}
	hi, lo := bits.Mul64(uint64(max(0, spent)), 100)
	wantHi, wantLo := bits.Mul64(uint64(amount), uint64(max(0, percent)))
	return hi > wantHi || hi == wantHi && lo >= wantLo
}

// part returns so many percent of an amount.
func part(amount gatehouse.NanoUSD, percent int) gatehouse.NanoUSD {
	p := gatehouse.NanoUSD(percent)
	return amount/100*p + amount%100*p/100
}
