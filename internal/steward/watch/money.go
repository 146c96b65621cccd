package watch

import (
	"fmt"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// zoneOf returns the time zone in which an organization's months begin; one that this host does not know counts as UTC.
func zoneOf(o *gatehouse.Organization) *time.Location {
	if zone, err := time.LoadLocation(o.TimeZone); err == nil {
		return zone
	}
	return time.UTC
}

// spending finds thresholds that spending has reached.
func (l *look) spending() error {
	alerts := map[string][]gatehouse.SpendAlert{}
	err := l.tx.EachSpendAlert(func(a *gatehouse.SpendAlert) error {
		if a.RemovedAt == 0 {
			alerts[a.Organization] = append(alerts[a.Organization], *a)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return l.rulesOf(gatehouse.AlertSpend, func(o *organization, r *gatehouse.AlertRule) error {
		if len(alerts[o.ID]) == 0 {
			return nil
		}
		start, end := gatehouse.Window{Period: gatehouse.Monthly}.Bounds(l.now, o.zone)
		spent, err := l.spentByProject(o, start, end)
		if err != nil {
			return err
		}
		for i := range alerts[o.ID] {
			a := &alerts[o.ID][i]
			if about(r, a.Project) && spent[a.Project] >= a.Threshold {
				if err := l.spendAlert(o, r, a, spent[a.Project], start, end); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// spentByProject returns what an organization spent in a window, by project, and under "" in all of them.
func (l *look) spentByProject(o *organization, start, end gatehouse.Millis) (map[string]gatehouse.NanoUSD, error) {
	buckets, err := l.tx.UsageBuckets(store.UsageQuery{Organization: o.ID, Start: start, End: min(end, l.now+hour), Width: "1h", GroupBy: []string{store.ByProject}})
	if err != nil {
		return nil, err
	}
	spent := map[string]gatehouse.NanoUSD{}
	for _, b := range buckets {
		for _, r := range b.Results {
			spent[r.Project] += r.Cost
			spent[""] += r.Cost
		}
	}
	return spent, nil
}

// spendAlert tells that spending has reached the threshold of one of OpenAI's spend alerts: its own recipients, and everybody else.
func (l *look) spendAlert(o *organization, r *gatehouse.AlertRule, s *gatehouse.SpendAlert, spent gatehouse.NanoUSD, start, end gatehouse.Millis) error {
	a := gatehouse.Alert{Subject: gatehouse.AboutOrganization, SubjectID: o.ID, Project: s.Project, WindowStart: start, WindowEnd: end,
		Unit: gatehouse.UnitNanoUSD, Observed: int64(spent), Threshold: int64(s.Threshold)}
	who := fmt.Sprintf("organization %s", quoted(o.Name))
	if s.Project != "" {
		a.Subject, a.SubjectID = gatehouse.AboutProject, s.Project
		var err error
		if who, err = l.project(s.Project); err != nil {
			return err
		}
	}
	a.Title = fmt.Sprintf("%s has spent %s this month", who, dollars(int64(spent)))
	a.Reason = fmt.Sprintf("Spend alert %s is set to %s in a calendar month, which began at %s.", s.ID, dollars(int64(s.Threshold)), start.Time().In(o.zone).Format("2006-01-02 15:04 MST"))
	f := l.find(o, r, a, fmt.Sprintf("%s/%d/%d", s.ID, s.Threshold, start), end+day)
	f.Channels = append(f.Channels, s.ID)
	return nil
}
