package finance

import (
	"cmp"
	"context"
	"slices"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// TrendQuery asks how costs moved. Periods are days, weeks (from Monday) or months in Zone.
type TrendQuery struct {
	Now    gatehouse.Millis
	Zone   *time.Location
	Period gatehouse.Period // Daily, Weekly or Monthly
	Count  int              // complete periods that are shown, 1 to 60
	Filter
}

// Step is one period.
type Step struct {
	Start, End gatehouse.Millis
	Cost       gatehouse.NanoUSD
	Requests   int64
	Complete   bool // false for the one that now lies in
}

// Mover is somebody whose costs changed from the last period but one to the last that is complete.
type Mover struct {
	By, ID, Name  string
	Before, After gatehouse.NanoUSD
}

// Change is what it costs more, or less.
func (m *Mover) Change() gatehouse.NanoUSD { return m.After - m.Before }

// movers is how many are named of projects, models and keys each.
const movers = 5

// Check reports whether the query can be answered.
func (q *TrendQuery) Check() error {
	switch {
	case q.Period != gatehouse.Daily && q.Period != gatehouse.Weekly && q.Period != gatehouse.Monthly:
		return gatehouse.InvalidParam("period", "Invalid 'period': must be day, week or month.")
	case q.Count < 1 || q.Count > 60:
		return gatehouse.InvalidParam("count", "Invalid 'count': must be between 1 and 60.")
	}
	return nil
}

// Trend returns the costs of the last periods, the oldest first, the running one at the end, and who moved most.
func (b *Books) Trend(ctx context.Context, q *TrendQuery) ([]Step, []Mover, error) {
	if err := q.Check(); err != nil {
		return nil, nil, err
	}
	window := gatehouse.Window{Period: q.Period}
	at, end := window.Bounds(q.Now, q.Zone)
	bounds := []gatehouse.Millis{end, at}
	for range max(q.Count, 2) { // two, to see who moved
		at, _ = window.Bounds(at-1, q.Zone)
		bounds = append(bounds, at)
	}
	slices.Sort(bounds)
	steps := make([]Step, len(bounds)-1)
	for i := range steps {
		steps[i] = Step{Start: bounds[i], End: bounds[i+1], Complete: i < len(steps)-1}
	}
	last := len(steps) - 2
	found := map[[2]string]*Mover{}
	known := b.names()
	err := b.view(ctx, bounds, q.Filter, []string{store.ByProject, store.ByKey, store.ByModel}, func(tx *store.Tx, period int, r *Row) (err error) {
		steps[period].Cost += r.Cost
		steps[period].Requests += r.Requests
		if period < last-1 || period > last {
			return nil
		}
		c := ChargebackQuery{By: []string{ByProject, ByModel, ByKey}}
		ids, called, err := c.groups(tx, known, r)
		if err != nil {
			return err
		}
		for i, by := range c.By {
			m := found[[2]string{by, ids[i]}]
			if m == nil {
				m = &Mover{By: by, ID: ids[i], Name: called[i]}
				found[[2]string{by, ids[i]}] = m
			}
			if period == last {
				m.After += r.Cost
			} else {
				m.Before += r.Cost
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return steps[max(0, len(steps)-1-q.Count):], ranked(found), nil
}

// ranked returns the largest moves of each kind.
func ranked(found map[[2]string]*Mover) []Mover {
	var out []Mover
	for _, by := range []string{ByProject, ByModel, ByKey} {
		var of []Mover
		for _, m := range found {
			if m.By == by && m.Change() != 0 {
				of = append(of, *m)
			}
		}
		size := func(m *Mover) gatehouse.NanoUSD { return max(m.Change(), -m.Change()) }
		slices.SortFunc(of, func(a, b Mover) int { return cmp.Or(cmp.Compare(size(&b), size(&a)), cmp.Compare(a.ID, b.ID)) })
		out = append(out, of[:min(len(of), movers)]...)
	}
	return out
}
