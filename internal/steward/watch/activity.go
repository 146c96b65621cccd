package watch

import (
	"cmp"
	"fmt"
	"slices"

	"gatehouse"
	"gatehouse/internal/steward/anomaly"
	"gatehouse/internal/store"
)

const (
	// leastShare is the share of errors that is never unusual, in millionths, and leastRequests how many requests an hour needs for
	// its share to say something.
	leastShare    = 50_000
	leastRequests = 20
	million       = 1_000_000
)

// verdictKey names a comparison: within an hour what is usual does not change.
type verdictKey struct {
	rule    string
	kind    gatehouse.AlertSubject
	subject string
	hour    gatehouse.Millis
}

// hit is a subject whose hour is unusual.
type hit struct {
	store.Activity
	verdict  anomaly.Verdict
	observed int64
	excess   int64 // what of the hour is beyond the usual: cost, or errors
}

// activity looks at this hour, and at the last one for a while.
func (l *look) activity() error {
	hours := []gatehouse.Millis{l.now / hour * hour}
	if l.now-hours[0] < lateFor {
		hours = append(hours, hours[0]-hour)
	}
	for _, at := range hours {
		rows, err := l.tx.ActivityIn(at)
		if err != nil {
			return err
		}
		byOrg := map[string][]store.Activity{}
		for _, a := range rows {
			byOrg[a.Organization] = append(byOrg[a.Organization], a)
		}
		for i := range l.orgs {
			o := &l.orgs[i]
			for j := range o.rules {
				if err := l.ask(o, &o.rules[j], at, byOrg[o.ID]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// ask asks one rule about the hour of one organization.
func (l *look) ask(o *organization, r *gatehouse.AlertRule, at gatehouse.Millis, rows []store.Activity) error {
	switch r.Kind {
	case gatehouse.AlertSpendSpike, gatehouse.AlertErrorSpike:
		return l.spikes(o, r, at, rows)
	case gatehouse.AlertCredentialRefused:
		for _, a := range rows {
			if a.Kind == gatehouse.AboutUpstream && a.Errors > 0 {
				l.refused(o, r, &a)
			}
		}
	case gatehouse.AlertUnpriced:
		for _, a := range rows {
			if a.Kind == gatehouse.AboutModel && a.Unpriced > 0 && about(r, a.Project) {
				l.unpriced(o, r, &a)
			}
		}
	}
	return nil
}

// spikes finds the subjects whose hour is unusual. What a key explains of its project's hour, or of a model's in it, is told as the
// key's alone.
func (l *look) spikes(o *organization, r *gatehouse.AlertRule, at gatehouse.Millis, rows []store.Activity) error {
	var hits []hit
	for _, a := range rows {
		if !slices.Contains(r.Per, a.Kind) || !about(r, a.Project) {
			continue
		}
		h, err := l.judge(r, &a)
		if err != nil {
			return err
		}
		if h.verdict.Unusual {
			hits = append(hits, h)
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(order(a.Kind), order(b.Kind)) })
	explained := map[string]int64{} // by project: the excess of its keys
	for i := range hits {
		h := &hits[i]
		if h.Kind == gatehouse.AboutKey {
			explained[h.Project] += h.excess
		} else if 2*explained[h.Project] >= h.excess {
			continue
		} else if h.Kind == gatehouse.AboutModel {
			explained[h.Project] += h.excess
		}
		if err := l.spike(o, r, h); err != nil {
			return err
		}
	}
	return nil
}

// order is that in which subjects explain each other.
func order(kind gatehouse.AlertSubject) int {
	return slices.Index([]gatehouse.AlertSubject{gatehouse.AboutKey, gatehouse.AboutModel, gatehouse.AboutProject}, kind)
}

// judge compares a subject's hour with those before.
func (l *look) judge(r *gatehouse.AlertRule, a *store.Activity) (hit, error) {
	h, bar := hit{Activity: *a}, barOf(r)
	if r.Kind == gatehouse.AlertSpendSpike {
		if h.observed = int64(a.Cost); h.observed <= bar.Floor {
			return h, nil
		}
	} else {
		if a.Errors < r.MinErrors || a.Requests < leastRequests {
			return h, nil
		}
		h.observed = share(a)
	}
	key := verdictKey{r.ID, a.Kind, a.Subject, a.Hour}
	v, known := l.w.verdicts[key]
	if !known {
		past, err := l.tx.ActivityOf(a.Kind, a.Subject, a.Hour-(anomaly.Lookback+1)*day, a.Hour)
		if err != nil {
			return h, err
		}
		v = anomaly.Judge(points(r.Kind, past), a.Hour, 0, bar)
		l.w.verdicts[key] = v
	}
	h.verdict = v
	h.verdict.Unusual = v.Basis != anomaly.Learning && h.observed > v.Threshold
	h.excess = h.observed - v.Baseline
	if r.Kind == gatehouse.AlertErrorSpike {
		h.excess = h.excess * a.Requests / million
	}
	return h, nil
}

func barOf(r *gatehouse.AlertRule) anomaly.Bar {
	bar := anomaly.Bar{Floor: int64(r.MinCost), Factor: r.Factor, Deviations: r.Deviations, Days: r.Days}
	if r.Kind == gatehouse.AlertErrorSpike {
		bar.Floor = leastShare
	}
	return bar
}

// share returns the share of errors in millionths, at least one, since an hour without errors is one to compare with.
func share(a *store.Activity) int64 { return max(a.Errors*million/a.Requests, 1) }

func points(kind gatehouse.AlertKind, past []store.Activity) []anomaly.Point {
	list := make([]anomaly.Point, 0, len(past))
	for i := range past {
		a := &past[i]
		switch {
		case kind == gatehouse.AlertSpendSpike && a.Cost > 0:
			list = append(list, anomaly.Point{Hour: a.Hour, Value: int64(a.Cost)})
		case kind == gatehouse.AlertErrorSpike && a.Requests >= leastRequests:
			list = append(list, anomaly.Point{Hour: a.Hour, Value: share(a)})
		}
	}
	return list
}

// spike tells of an unusual hour.
func (l *look) spike(o *organization, r *gatehouse.AlertRule, h *hit) error {
	name, err := l.name(h.Kind, &h.Activity)
	if err != nil {
		return err
	}
	a := gatehouse.Alert{Subject: h.Kind, SubjectID: h.Subject, Project: h.Project, Model: h.Model, WindowStart: h.Hour, WindowEnd: h.Hour + hour,
		Observed: h.observed, Baseline: h.verdict.Baseline, Threshold: h.verdict.Threshold}
	if h.Kind == gatehouse.AboutKey {
		a.Key = h.Subject
	}
	when := fmt.Sprintf("between %s and %s UTC", h.Hour.Time().Format("2006-01-02 15:04"), (h.Hour + hour).Time().Format("15:04"))
	if r.Kind == gatehouse.AlertSpendSpike {
		a.Unit = gatehouse.UnitNanoUSD
		a.Title = fmt.Sprintf("%s spent %s in an hour; usual is %s", name, dollars(h.observed), dollars(a.Baseline))
		a.Reason = fmt.Sprintf("%s was spent %s. ", dollars(h.observed), when) + h.verdict.Explain(barOf(r), dollars)
	} else {
		a.Unit = gatehouse.UnitPPM
		a.Title = fmt.Sprintf("%s: %s of its requests fail; usual is %s", name, percent(h.observed), percent(a.Baseline))
		a.Reason = fmt.Sprintf("%d of %d requests failed %s. ", h.Errors, h.Requests, when) + h.verdict.Explain(barOf(r), percent) +
			" `gatehouse explain` shows the decision behind a request."
	}
	// The hour is looked at for a while after its end: it must not be found twice.
	l.find(o, r, a, string(h.Kind)+"/"+h.Subject, l.quiet(r, h.Hour+2*hour))
	return nil
}

// refused tells of an upstream that does not take its credential.
func (l *look) refused(o *organization, r *gatehouse.AlertRule, a *store.Activity) {
	l.find(o, r, gatehouse.Alert{Subject: gatehouse.AboutUpstream, SubjectID: a.Model, WindowStart: a.Hour, WindowEnd: a.Hour + hour, Unit: gatehouse.UnitCount, Observed: a.Errors,
		Title:  fmt.Sprintf("upstream %s refuses its credential", quoted(a.Model)),
		Reason: fmt.Sprintf("It answered 401 to %d attempts since %s UTC. Replace the credential, or see whether its account was closed; requests fall over to other routes where there are any.", a.Errors, a.Hour.Time().Format("15:04"))},
		"upstream/"+a.Model, l.quiet(r, a.Hour+2*hour))
}

// unpriced tells of a model whose use costs nobody knows what.
func (l *look) unpriced(o *organization, r *gatehouse.AlertRule, a *store.Activity) {
	l.find(o, r, gatehouse.Alert{Subject: gatehouse.AboutModel, SubjectID: a.Subject, Project: a.Project, Model: a.Model, WindowStart: a.Hour, WindowEnd: a.Hour + hour,
		Unit: gatehouse.UnitCount, Observed: a.Unpriced,
		Title:  fmt.Sprintf("no price is known for %s", quoted(a.Model)),
		Reason: fmt.Sprintf("%d requests since %s UTC were counted without a cost, so that spending is more than reports say. Set a price for the model.", a.Unpriced, a.Hour.Time().Format("15:04"))},
		"unpriced/"+a.Model, l.quiet(r, a.Hour+2*hour))
}
