package admin

import (
	"slices"

	"gatehouse"
	"gatehouse/internal/store"
)

// ManifestSpendAlert declares an alert at an amount spent in a calendar month.
type ManifestSpendAlert struct {
	Threshold     gatehouse.USD `yaml:"threshold"` // US dollars
	Recipients    []string      `yaml:"recipients"`
	SubjectPrefix string        `yaml:"subject_prefix"`
}

// spend sets the spend limit and the spend alerts of a project, or where project is empty of the organization; what is nil stays.
func (a *application) spend(project, name string, limit *gatehouse.USD, alerts *[]ManifestSpendAlert) error {
	if limit != nil {
		if err := a.spendLimit(project, name, gatehouse.NanoUSD(*limit)); err != nil {
			return about("Spend limit of", name, err)
		}
	}
	if alerts != nil {
		if err := a.spendAlerts(project, name, *alerts); err != nil {
			return about("Spend alerts of", name, err)
		}
	}
	return nil
}

// spendLimit sets a spend limit; 0 takes it away.
func (a *application) spendLimit(project, name string, amount gatehouse.NanoUSD) error {
	b, err := a.s.spendLimit(a.tx, a.who, project, true)
	ev := gatehouse.Event{Type: "budget.updated", Project: project, Subject: gatehouse.SubjectBudget}
	switch {
	case gatehouse.KindOf(err) == gatehouse.NotFound && b != nil:
		if amount == 0 {
			return nil
		}
		b.CreatedAt = a.tx.Now
		if _, err := reviseBudget(b, &BudgetUpdate{Amount: Some(amount)}); err != nil {
			return err
		}
		if err := a.s.storeBudget(a.tx, b); err != nil {
			return err
		}
		ev.Type, ev.SubjectID, ev.Change = "budget.created", b.ID, detail(budgetDetail(b))
		a.tell("create", "spend_limit", name, nil, ev)
		return nil
	case err != nil:
		return err
	case amount == 0:
		b.RemovedAt = a.tx.Now
		ev.Type, ev.SubjectID = "budget.deleted", b.ID
		a.tell("delete", "spend_limit", name, nil, ev)
		return a.tx.SaveBudget(b)
	}
	changed, err := reviseBudget(b, &BudgetUpdate{Amount: Some(amount)})
	if err != nil || len(changed) == 0 {
		return err
	}
	ev.SubjectID, ev.Change = b.ID, detail(budgetDetail(b))
	a.tell("update", "spend_limit", name, changed, ev)
	return a.tx.SaveBudget(b)
}

// spendAlerts makes the spend alerts of a place those that are wanted. An alert is the same where it says the same.
func (a *application) spendAlerts(project, name string, want []ManifestSpendAlert) error {
	have, err := everyPage(func(p store.Page) ([]gatehouse.SpendAlert, bool, error) {
		return a.tx.SpendAlerts(a.who.Organization, project, p)
	}, func(s *gatehouse.SpendAlert) string { return s.ID })
	if err != nil {
		return err
	}
	same := func(s *gatehouse.SpendAlert, w *ManifestSpendAlert) bool {
		return s.Threshold == gatehouse.NanoUSD(w.Threshold) && slices.Equal(s.Recipients, w.Recipients) && s.SubjectPrefix == w.SubjectPrefix
	}
	for i := range have {
		s := &have[i]
		if slices.ContainsFunc(want, func(w ManifestSpendAlert) bool { return same(s, &w) }) {
			continue
		}
		s.RemovedAt = a.tx.Now
		if err := a.tx.SaveSpendAlert(s); err != nil {
			return err
		}
		a.tell("delete", "spend_alert", name, nil, gatehouse.Event{Type: "spend_alert.deleted", Project: project, Subject: gatehouse.SubjectSpendAlert, SubjectID: s.ID})
	}
	for i := range want {
		w := &want[i]
		if slices.ContainsFunc(have, func(s gatehouse.SpendAlert) bool { return same(&s, w) }) {
			continue
		}
		req := SpendAlertRequest{Threshold: gatehouse.NanoUSD(w.Threshold), Recipients: w.Recipients, SubjectPrefix: w.SubjectPrefix}
		if err := req.check(); err != nil {
			return err
		}
		s := &gatehouse.SpendAlert{ID: gatehouse.NewID(gatehouse.PrefixSpendAlert), Organization: a.who.Organization, Project: project, Threshold: req.Threshold, Recipients: slices.Clone(w.Recipients),
			SubjectPrefix: w.SubjectPrefix, CreatedAt: a.tx.Now}
		if err := a.tx.CreateSpendAlert(s); err != nil {
			return err
		}
		a.tell("create", "spend_alert", name, nil, gatehouse.Event{Type: "spend_alert.created", Project: project, Subject: gatehouse.SubjectSpendAlert, SubjectID: s.ID, Change: detail(req.change())})
	}
	return nil
}
