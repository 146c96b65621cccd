package store

import (
	"strings"

	"gatehouse"
)

// WindowRow is one window of a budget and what nodes hold of it.
type WindowRow struct {
	Window    gatehouse.BudgetWindow
	Seed      gatehouse.NanoUSD // spent without slices
	SeededAt  gatehouse.Millis
	CreatedAt gatehouse.Millis
	Recall    int64
	Slices    []SliceRow
}

// Spent returns what counts as spent in it: what is settled, the bounds of open work, and what is kept.
func (w *WindowRow) Spent() gatehouse.NanoUSD {
	sum := w.Seed
	for i := range w.Slices {
		sum += w.Slices[i].Spent()
	}
	return sum
}

// Allotted returns what cannot be granted any more.
func (w *WindowRow) Allotted() gatehouse.NanoUSD {
	sum := w.Seed
	for i := range w.Slices {
		sum += max(w.Slices[i].Granted, w.Slices[i].Spent())
	}
	return sum
}

const windowSelect = `SELECT w.budget, w.window_start, w.window_end, w.seed, w.seeded_at, w.created_at, w.recall, COALESCE(s.node, ''), COALESCE(s.granted, 0),
	COALESCE(s.used, 0), COALESCE(s.open_work, 0), COALESCE(s.kept, 0)
	FROM budget_windows w LEFT JOIN budget_slices s ON s.budget = w.budget AND s.window_start = w.window_start WHERE `

// BudgetWindows returns the windows of some budgets that have not ended at a time, in order. Of budgets that nothing was spent of there
// are none.
func (tx *Tx) BudgetWindows(budgets []string, at gatehouse.Millis) ([]WindowRow, error) {
	var out []WindowRow
	for len(budgets) > 0 {
		n := min(len(budgets), 200)
		var sel selection
		sel.in("w.budget", budgets[:n])
		sel.and("w.window_end > ?", int64(at))
		budgets = budgets[n:]
		err := each(tx, "budget windows", scanWindow, func(row *windowRow) error {
			if last := len(out) - 1; last < 0 || out[last].Window != row.w.Window {
				out = append(out, row.w)
			}
			if row.s.Node != "" {
				w := &out[len(out)-1]
				w.Slices = append(w.Slices, row.s)
			}
			return nil
		}, windowSelect+strings.Join(sel.where, " AND ")+" ORDER BY w.budget, w.window_start", sel.args...)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

type windowRow struct {
	w WindowRow
	s SliceRow
}

func scanWindow(r row, v *windowRow) error {
	w, s := &v.w, &v.s
	return r.Scan(&w.Window.Budget, (*int64)(&w.Window.Start), (*int64)(&w.Window.End), (*int64)(&w.Seed), (*int64)(&w.SeededAt), (*int64)(&w.CreatedAt), &w.Recall,
		&s.Node, (*int64)(&s.Granted), (*int64)(&s.Used), (*int64)(&s.Open), (*int64)(&s.Kept))
}

// SpentOutside returns what was spent in a window of a budget and is in no slice, as of the snapshot: all that its scope spent in that
// time, less what slices say. A budget's first window counts from its beginning, though the budget came later; and what requests cost
// that it did not bind yet when they were made arrives in the sums like any other, so that asking again finds it.
func (tx *Tx) SpentOutside(b *gatehouse.Budget, w gatehouse.BudgetWindow) (gatehouse.NanoUSD, error) {
	const used = `SELECT COALESCE(CAST(SUM(used) AS BIGINT), 0) FROM budget_slices WHERE budget = $1 AND window_start = $2`
	if b.Kind == gatehouse.BudgetCredits {
		return 0, nil // what was spent before is not paid from credits
	}
	total, err := tx.spentBy(b, w)
	if err != nil {
		return 0, err
	}
	n, err := tx.number("read what slices have spent", used, b.ID, int64(w.Start))
	return max(0, total-gatehouse.NanoUSD(n)), err
}

// spentBy returns what the scope of a budget spent from the beginning of a window to its end.
func (tx *Tx) spentBy(b *gatehouse.Budget, w gatehouse.BudgetWindow) (gatehouse.NanoUSD, error) {
	// A window without an end is as long as a query may be; what ends in the future, as far as any clock may be ahead.
	end := min(w.End, tx.Now+2*dayMillis)
	start := max(w.Start, end-(MaxBuckets-2)*dayMillis)
	q := UsageQuery{Organization: b.Organization}
	counts := func(*UsageResult) bool { return true }
	switch b.Scope {
	case gatehouse.ScopeProject:
		q.Projects = []string{b.Subject}
	case gatehouse.ScopeUser:
		q.Users = []string{b.Subject}
	case gatehouse.ScopeGroup:
		users, err := all(tx, "users of a group", func(r row, id *string) error { return r.Scan(id) }, `SELECT user_id FROM group_users WHERE group_id = $1 AND removed_at = 0`, b.Subject)
		if err != nil || len(users) == 0 {
			return 0, err
		}
		q.Users = users
	case gatehouse.ScopeKey:
		q.Keys = []string{b.Subject}
	case gatehouse.ScopeServiceAccount:
		q.GroupBy = []string{ByServiceAccount}
		counts = func(r *UsageResult) bool { return r.ServiceAccount == label(b.Subject) }
	case gatehouse.ScopeLabel:
		keys, projects, err := tx.labelled(b.Organization, b.Subject)
		if err != nil {
			return 0, err
		}
		q.GroupBy = []string{ByKey, ByProject}
		counts = func(r *UsageResult) bool { return keys[r.Key] || projects[r.Project] }
	}
	var sum gatehouse.NanoUSD
	add := func(width string, from, to gatehouse.Millis) error {
		if from >= to {
			return nil
		}
		q.Width, q.Start, q.End = width, from, to
		buckets, err := tx.UsageBuckets(q)
		for i := range buckets {
			for j := range buckets[i].Results {
				if r := &buckets[i].Results[j]; counts(r) {
					sum += r.Cost
				}
			}
		}
		return err
	}
	// Minutes to the hour, hours to the day, days, and back: a window begins at midnight somewhere.
	up := func(at, width gatehouse.Millis) gatehouse.Millis { return min(end, (at+width-1)/width*width) }
	down := func(at, width, least gatehouse.Millis) gatehouse.Millis { return max(least, at/width*width) }
	hour := up(start, hourMillis)
	day := up(hour, dayMillis)
	lastDay := down(end, dayMillis, day)
	lastHour := down(end, hourMillis, lastDay)
	for _, part := range []struct {
		width    string
		from, to gatehouse.Millis
	}{{"1m", start, hour}, {"1h", hour, day}, {"1d", day, lastDay}, {"1h", lastDay, lastHour}, {"1m", lastHour, end}} {
		if err := add(part.width, part.from, part.to); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// labelled returns the keys and projects of an organization that have a label now.
func (tx *Tx) labelled(organization, subject string) (keys, projects map[string]bool, err error) {
	const ofKeys = `SELECT id, labels FROM keys WHERE organization = $1 AND labels <> '' ORDER BY created_at, id`
	const ofProjects = `SELECT id, labels FROM projects WHERE organization = $1 AND labels <> '' ORDER BY created_at, id`
	name, value, _ := gatehouse.CutLabelSubject(subject)
	with := func(query string) (map[string]bool, error) {
		found := map[string]bool{}
		type labelledRow struct {
			id     string
			labels []byte
		}
		scan := func(r row, l *labelledRow) error { return r.Scan(&l.id, &l.labels) }
		return found, each(tx, "labels", scan, func(l *labelledRow) error {
			var labels map[string]string
			if err := fromJSON("labels", l.labels, &labels); err != nil {
				return err
			}
			if v, has := labels[name]; has && v == value {
				found[label(l.id)] = true
			}
			return nil
		}, query, organization)
	}
	if keys, err = with(ofKeys); err != nil {
		return nil, nil, err
	}
	projects, err = with(ofProjects)
	return keys, projects, err
}
