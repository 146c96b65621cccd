package finance

import (
	"cmp"
	"context"
	"math/big"
	"slices"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// CostCenter is the label of projects and keys that chargeback knows by itself.
const CostCenter = "cost_center"

// Unlabelled is where the costs of what has no such label go: they are shown, never left out.
const Unlabelled = "(unlabelled)"

// What chargeback can be by, besides "label:NAME".
const (
	ByCostCenter = "cost_center"
	ByProject    = "project"
	ByKey        = "key"
	ByUser       = "user"
	ByModel      = "model"
)

// labelPrefix begins what stands for a label of projects and keys.
const labelPrefix = "label:"

// ChargebackQuery says whose costs to charge to whom.
type ChargebackQuery struct {
	// Start and End are the stretch of time; periods in it are calendar months in Zone.
	Start, End gatehouse.Millis
	Zone       *time.Location
	By         []string // of the By constants, or "label:NAME"; in the order of the report
	Filter
	// Spread divides what has no label among what has, in proportion to its costs in the same month; what cannot be divided stays.
	Spread bool
}

// Charge is one line of a chargeback.
type Charge struct {
	Month    gatehouse.Millis `json:"-"` // its first instant
	Groups   []string         `json:"groups"`
	Names    []string         `json:"names"` // what people call the groups
	Requests int64            `json:"requests"`
	Unpriced int64            `json:"unpriced_requests"`
	// Direct is what was recorded, Shared what was spread over it; the sum over all charges of Direct, and of Total, is the costs.
	Direct gatehouse.NanoUSD `json:"direct_nano_usd"`
	Shared gatehouse.NanoUSD `json:"shared_nano_usd"`
}

// Total is what is charged.
func (c *Charge) Total() gatehouse.NanoUSD { return c.Direct + c.Shared }

// Check reports whether the query can be answered.
func (q *ChargebackQuery) Check() error {
	if q.End <= q.Start || q.Start < 0 || q.End-q.Start > 400*day {
		return gatehouse.InvalidParam("end_time", "Invalid 'end_time': must be after 'start_time', by at most 400 days.")
	}
	if len(q.By) == 0 || len(q.By) > 6 {
		return gatehouse.InvalidParam("by", "Invalid 'by': give one to six of project, key, user, model, cost_center and label:NAME.")
	}
	labelled := false
	for _, by := range q.By {
		switch name, isLabel := strings.CutPrefix(by, labelPrefix); {
		case isLabel && name != "", by == ByCostCenter:
			labelled = true
		case by == ByProject, by == ByKey, by == ByUser, by == ByModel:
		default:
			return gatehouse.InvalidParam("by", "Invalid 'by': give one to six of project, key, user, model, cost_center and label:NAME.")
		}
	}
	if q.Spread && !labelled {
		return gatehouse.InvalidParam("unlabelled", "Invalid 'unlabelled': only what is by cost_center or a label can be spread.")
	}
	return nil
}

// Chargeback divides the costs of a stretch of time. Labels are those that projects and keys have now; a key's own win over its
// project's. Charges are ordered by month and then by cost, the largest first.
func (b *Books) Chargeback(ctx context.Context, q *ChargebackQuery) ([]Charge, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	bounds := []gatehouse.Millis{q.Start}
	for at := q.Start; ; {
		_, next := month(at, q.Zone)
		if next >= q.End {
			break
		}
		bounds = append(bounds, next)
		at = next
	}
	bounds = append(bounds, q.End)

	type sums map[string]*Charge
	months := make([]sums, len(bounds)-1)
	known := b.names()
	err := b.view(ctx, bounds, q.Filter, chargebackGroups(q.By), func(tx *store.Tx, period int, r *Row) (err error) {
		ids, called, err := q.groups(tx, known, r)
		if err != nil {
			return err
		}
		if months[period] == nil {
			months[period] = sums{}
		}
		id := strings.Join(ids, "\x00")
		c := months[period][id]
		if c == nil {
			c = &Charge{Month: bounds[period], Groups: ids, Names: called}
			months[period][id] = c
		}
		c.Requests += r.Requests
		c.Unpriced += r.Unpriced
		c.Direct += r.Cost
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []Charge
	for _, m := range months {
		charges := make([]Charge, 0, len(m))
		for _, c := range m {
			charges = append(charges, *c)
		}
		slices.SortFunc(charges, func(a, b Charge) int { return slices.Compare(a.Groups, b.Groups) })
		if q.Spread {
			spread(charges)
		}
		slices.SortStableFunc(charges, func(a, b Charge) int { return cmp.Compare(b.Total(), a.Total()) })
		out = append(out, charges...)
	}
	return out, nil
}

// chargebackGroups are the dimensions that sums must be kept apart by.
func chargebackGroups(by []string) []string {
	need := map[string]bool{}
	for _, name := range by {
		switch name {
		case ByProject:
			need[store.ByProject] = true
		case ByUser:
			need[store.ByUser] = true
		case ByModel:
			need[store.ByModel] = true
		case ByKey:
			need[store.ByKey] = true
		default: // labels are a project's and a key's
			need[store.ByProject], need[store.ByKey] = true, true
		}
	}
	var out []string
	for _, name := range []string{store.ByProject, store.ByUser, store.ByKey, store.ByModel} {
		if need[name] {
			out = append(out, name)
		}
	}
	return out
}

// groups returns what a row is charged to, by id and by name.
func (q *ChargebackQuery) groups(tx *store.Tx, known *names, r *Row) (ids, called []string, err error) {
	var p *gatehouse.Project
	var k *gatehouse.Key
	if p, err = known.project(tx, r.Project); err != nil {
		return nil, nil, err
	}
	if k, err = known.key(tx, r.Key); err != nil {
		return nil, nil, err
	}
	for _, by := range q.By {
		id, name := "", ""
		switch by {
		case ByProject:
			if id = r.Project; p != nil {
				name = p.Name
			}
		case ByKey:
			if id = r.Key; k != nil {
				name = k.Name
			}
		case ByUser:
			id = r.User
		case ByModel:
			id = r.Model
		default:
			if id = labels(p, k)[strings.TrimPrefix(by, labelPrefix)]; id == "" {
				id = Unlabelled
			}
		}
		ids, called = append(ids, id), append(called, cmp.Or(name, id))
	}
	return ids, called, nil
}

// spread divides the costs of charges without a label among those with all of theirs.
func spread(charges []Charge) {
	var shared gatehouse.NanoUSD
	weights := make([]*big.Int, len(charges))
	for i := range charges {
		c := &charges[i]
		weights[i] = new(big.Int)
		if slices.Contains(c.Groups, Unlabelled) {
			shared += c.Direct
		} else if c.Direct > 0 {
			weights[i] = bigOf(c.Direct)
		}
	}
	parts, ok := allocate(shared, weights)
	if !ok {
		return // nothing has a label: nobody to charge it to
	}
	for i := range charges {
		c := &charges[i]
		c.Shared += parts[i]
		if slices.Contains(c.Groups, Unlabelled) {
			c.Shared -= c.Direct
		}
	}
}
