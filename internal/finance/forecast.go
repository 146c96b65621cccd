package finance

import (
	"cmp"
	"context"
	"slices"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// ForecastQuery asks what the month that now lies in will have cost at its end.
type ForecastQuery struct {
	Now  gatehouse.Millis
	Zone *time.Location
	// By is "" for one forecast of everything, or ByProject, ByModel or ByKey for one of each as well.
	By    string
	Level float64 // of the interval, 0.5 to 0.99; 0: 0.8
	Filter
}

// Forecast is what a month will have cost. Each is made from its own history: those of the parts do not add up to that of the whole.
type Forecast struct {
	ID, Name   string            // of what it is for, empty for everything
	Start, End gatehouse.Millis  // of the month
	Spent      gatehouse.NanoUSD // in it, so far
	Unpriced   int64             // requests in it whose price is not known, and that are in no figure
	Prediction                   // of the whole month: what is spent is in it
}

// maxForecasts is how many parts are forecast, those that spent most.
const maxForecasts = 50

// Check reports whether the query can be answered.
func (q *ForecastQuery) Check() error {
	switch {
	case q.Level != 0 && (q.Level < 0.5 || q.Level > 0.99):
		return gatehouse.InvalidParam("interval", "Invalid 'interval': must be between 0.5 and 0.99.")
	case q.By != "" && q.By != ByProject && q.By != ByModel && q.By != ByKey:
		return gatehouse.InvalidParam("group_by", "Invalid 'group_by': must be project, model or key.")
	}
	return nil
}

// Forecast returns the forecast of everything, and with By those of the parts that spent most, the largest first.
func (b *Books) Forecast(ctx context.Context, q *ForecastQuery) ([]Forecast, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	start, end := month(q.Now, q.Zone)
	daily := gatehouse.Window{Period: gatehouse.Daily}
	today, tomorrow := daily.Bounds(q.Now, q.Zone)
	// The days that the history is, and those of the month before today, each by its first instant.
	bounds := []gatehouse.Millis{today, tomorrow}
	for at, n := today, 0; n < history || at > start; n++ {
		at, _ = daily.Bounds(at-1, q.Zone)
		bounds = append(bounds, at)
		if at <= 0 {
			break
		}
	}
	slices.Sort(bounds)
	past := len(bounds) - 2 // how many complete days there are

	type part struct {
		Forecast
		days []gatehouse.NanoUSD
	}
	parts := map[string]*part{}
	var total part
	var by []string
	if q.By != "" {
		by = chargebackGroups([]string{q.By})
	}
	total.days = make([]gatehouse.NanoUSD, past+1)
	known := b.names()
	err := b.view(ctx, bounds, q.Filter, by, func(tx *store.Tx, period int, r *Row) (err error) {
		add := func(p *part) {
			p.days[period] += r.Cost
			if bounds[period] >= start {
				p.Spent += r.Cost
				p.Unpriced += r.Unpriced
			}
		}
		add(&total)
		if q.By == "" {
			return nil
		}
		id, name, err := q.name(tx, known, r)
		if err != nil {
			return err
		}
		p := parts[id]
		if p == nil {
			p = &part{days: make([]gatehouse.NanoUSD, past+1)}
			p.ID, p.Name = id, name
			parts[id] = p
		}
		add(p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	ranked := make([]*part, 0, len(parts))
	for _, p := range parts {
		ranked = append(ranked, p)
	}
	slices.SortFunc(ranked, func(a, b *part) int { return cmp.Or(cmp.Compare(b.Spent, a.Spent), cmp.Compare(a.ID, b.ID)) })
	ranked = append([]*part{&total}, ranked[:min(len(ranked), maxForecasts)]...)

	ahead := 0
	for at := today; at < end; ahead++ {
		_, at = daily.Bounds(at, q.Zone)
	}
	var out []Forecast
	for _, p := range ranked {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		p.Start, p.End = start, end
		p.Prediction = Predict(&Series{First: bounds[0].Time().In(q.Zone).Weekday(), Days: p.days[:past], Today: p.days[past],
			Elapsed: float64(q.Now-today) / float64(tomorrow-today)}, ahead, cmp.Or(q.Level, 0.8))
		p.Expected, p.Low, p.High = p.Expected+p.Spent, p.Low+p.Spent, p.High+p.Spent
		out = append(out, p.Forecast)
	}
	return out, nil
}

func (q *ForecastQuery) name(tx *store.Tx, known *names, r *Row) (id, name string, err error) {
	c := ChargebackQuery{By: []string{q.By}}
	ids, called, err := c.groups(tx, known, r)
	if err != nil {
		return "", "", err
	}
	return ids[0], called[0], nil
}
