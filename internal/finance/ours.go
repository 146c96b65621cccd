package finance

import (
	"context"
	"math/big"
	"slices"

	"gatehouse"
	"gatehouse/internal/store"
)

// edge is how far from the ends of a window usage may be counted on the other side of them: a provider counts a request when it ended
// there, we when it began here.
const edge = 5 * minute

// byUpstream is what a bill can be compared with: no bill knows our projects and keys.
var byUpstream = []string{store.ByUpstream, store.ByUpstreamModel, store.ByModel, store.ByServiceTier, store.ByBatch, store.ByConfidence}

// Estimates are what a reconciliation can settle: requests of a window whose usage their upstream did not report.
type Estimates struct {
	Requests int64
	Cost     gatehouse.NanoUSD
}

// Ours returns what was counted from start to end, by model and meter, of the upstreams that mine selects.
func (b *Books) Ours(ctx context.Context, start, end gatehouse.Millis, mine func(*gatehouse.Upstream) bool) ([]Ours, Estimates, error) {
	var estimates Estimates
	all := map[[2]string]*Ours{}
	known := b.names()
	// each calls fn with the shares of every row, numbered.
	each := func(bounds []gatehouse.Millis, fn func(period int, r *Row, n int, s *Share, o *Ours)) error {
		return b.view(ctx, bounds, Filter{}, byUpstream, func(tx *store.Tx, period int, r *Row) error {
			up, err := known.upstream(tx, r.Upstream)
			if err != nil {
				return err
			}
			if up == nil || !mine(up) {
				return nil
			}
			model := r.UpstreamModel
			if model == "" {
				model = r.Model
			}
			shares := b.measured(r, up)
			for i := range shares {
				at := [2]string{model, shares[i].Meter.Name}
				if shares[i].Meter.hosted() {
					at[0] = ""
				}
				if all[at] == nil {
					all[at] = &Ours{Model: at[0], Meter: at[1]}
				}
				fn(period, r, i, &shares[i], all[at])
			}
			return nil
		})
	}
	err := each([]gatehouse.Millis{start, end}, func(_ int, r *Row, n int, s *Share, o *Ours) {
		o.Quantity += s.Quantity
		o.Cost += s.Cost
		o.Requests += r.Requests
		if r.Requests > 0 {
			o.Unpriced += muldiv(s.Quantity, r.Unpriced, r.Requests)
		}
		if r.Confidence == gatehouse.Estimated || r.Confidence == gatehouse.Recovered {
			o.Estimated += s.Cost
			estimates.Cost += s.Cost
			if n == 0 {
				estimates.Requests += r.Requests
			}
		}
	})
	if err == nil {
		err = each([]gatehouse.Millis{start - edge, start, start + edge}, func(period int, _ *Row, _ int, s *Share, o *Ours) { o.near(period == 1, s.Cost) })
	}
	if err == nil {
		err = each([]gatehouse.Millis{end - edge, end, end + edge}, func(period int, _ *Row, _ int, s *Share, o *Ours) { o.near(period == 0, s.Cost) })
	}
	if err != nil {
		return nil, Estimates{}, err
	}
	out := make([]Ours, 0, len(all))
	for _, o := range all {
		out = append(out, *o)
	}
	slices.SortFunc(out, func(a, b Ours) int { return slices.Compare([]string{a.Model, a.Meter}, []string{b.Model, b.Meter}) })
	return out, estimates, nil
}

func (o *Ours) near(inside bool, cost gatehouse.NanoUSD) {
	if inside {
		o.EdgeInside += cost
	} else {
		o.EdgeOutside += cost
	}
}

// measured divides a row among its meters. Where none has a price of its own the cost is divided by quantity: the bill says the price.
func (b *Books) measured(r *Row, up *gatehouse.Upstream) []Share {
	shares := b.split(r, up)
	if len(shares) != 1 || shares[0].Meter != Requests {
		return shares
	}
	var parts []Share
	var weights []*big.Int
	for _, m := range Meters {
		if n := m.Of(&r.Units); n > 0 {
			parts, weights = append(parts, Share{Meter: m, Quantity: n}), append(weights, big.NewInt(n))
		}
	}
	costs, ok := allocate(r.Cost, weights)
	if !ok {
		return shares
	}
	for i := range parts {
		parts[i].Cost = costs[i]
	}
	return parts
}

// muldiv returns n * times / by without overflow, rounded down.
func muldiv(n, times, by int64) int64 {
	v := new(big.Int).Mul(big.NewInt(n), big.NewInt(times))
	return v.Div(v, big.NewInt(by)).Int64()
}
