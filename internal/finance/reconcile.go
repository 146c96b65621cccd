package finance

import (
	"cmp"
	"math/big"
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/dialect/bill"
)

// Cause is why a provider's number is another than ours.
type Cause string

// The causes, in the order in which they are looked for.
const (
	// NotThrough is traffic of models, projects or keys that Gatehouse never saw.
	NotThrough Cause = "not_through_gatehouse"
	// NotCounted is what the provider bills for and Gatehouse has no meter for, such as storage.
	NotCounted Cause = "not_counted"
	// UnknownPrice is usage that was counted without a price.
	UnknownPrice Cause = "unknown_price"
	// PriceDiffers is the same usage at another price.
	PriceDiffers Cause = "price_differs"
	// EstimatedUsage is usage that the upstream did not report, so that we counted what we saw.
	EstimatedUsage Cause = "estimated_usage"
	// Timing is usage at the edges of the window, which the provider may count on the other side of midnight.
	Timing Cause = "timing"
	// The quantities that differ, by what is billed.
	QuantityInput      Cause = "quantity_input"
	QuantityCached     Cause = "quantity_cached"
	QuantityCacheWrite Cause = "quantity_cache_write"
	QuantityOutput     Cause = "quantity_output"
	QuantityOther      Cause = "quantity_other"
	// Rounding is what both sides lose in their last places.
	Rounding Cause = "rounding"
)

// Causes are all causes, in the order of reports.
var Causes = []Cause{NotThrough, NotCounted, UnknownPrice, PriceDiffers, QuantityInput, QuantityCached, QuantityCacheWrite, QuantityOutput, QuantityOther,
	EstimatedUsage, Timing, Rounding}

// Ours is what we counted of one model and meter.
type Ours struct {
	Model    string
	Meter    string
	Quantity int64
	Unpriced int64 // how much of the quantity has no price
	Cost     gatehouse.NanoUSD
	// Estimated is how much of the cost stands on estimates.
	Estimated gatehouse.NanoUSD
	Requests  int64
	// EdgeInside is what was counted within minutes of the window's ends, EdgeOutside the same beyond them.
	EdgeInside, EdgeOutside gatehouse.NanoUSD
}

// ReconcileOptions say how the two sides are compared.
type ReconcileOptions struct {
	// Projects are the provider's projects that Gatehouse's credentials are of; empty: all of them.
	Projects []string
	// Models says what a model of the bill is called here, where the names do not tell.
	Models map[string]string
	// Tolerance is the share of the bill by which the two may differ, e.g. 0.01.
	Tolerance float64
}

// Variance is one difference: Amount is the provider's cost less ours.
type Variance struct {
	Cause         Cause             `json:"cause"`
	Model         string            `json:"model,omitempty"`
	Meter         string            `json:"meter,omitempty"`
	Amount        gatehouse.NanoUSD `json:"amount_nano_usd"`
	Ours          int64             `json:"our_quantity,omitempty"`
	Theirs        int64             `json:"provider_quantity,omitempty"`
	OurPrice      string            `json:"our_usd_per_million,omitempty"`
	TheirPrice    string            `json:"provider_usd_per_million,omitempty"`
	ProviderText  string            `json:"provider_line,omitempty"`
	ProviderScope string            `json:"provider_project,omitempty"`
}

// Reconciliation is a bill beside our books.
type Reconciliation struct {
	Ours, Theirs gatehouse.NanoUSD
	Causes       map[Cause]gatehouse.NanoUSD // they add up to Theirs less Ours
	Lines        []Variance                  // the largest first; they add up as well
	Within       bool                        // the tolerance
}

// Variance is what the provider bills more than we counted.
func (r *Reconciliation) Variance() gatehouse.NanoUSD { return r.Theirs - r.Ours }

// pair is both sides of one model and meter.
type pair struct {
	model, meter string
	ours         Ours
	cost         gatehouse.NanoUSD
	quantity     int64
	quantified   bool // every line of it has a quantity
	lines        int
	text         string
}

// Reconcile compares a bill with what was counted, and divides the whole difference among its causes.
//
// For a model and a meter that both sides have, with quantities q (theirs) and o (ours), of which u had no price, and p the price that
// the bill implies, the difference is p*u (unknown price) and p*(o-u) less our cost (price differs) and p*(q-o) (quantity differs).
// What is estimated, and what lies at the edges of the window, explains a difference of quantity as far as it goes. Rounding to
// nano-USD is left to the last part, so that the causes add up to the difference exactly.
func Reconcile(ours []Ours, theirs []bill.Line, o *ReconcileOptions) *Reconciliation {
	r := &Reconciliation{Causes: map[Cause]gatehouse.NanoUSD{}}
	known := modelsOf(ours)
	pairs := map[[2]string]*pair{}
	at := func(model, meter string) *pair {
		p := pairs[[2]string{model, meter}]
		if p == nil {
			p = &pair{model: model, meter: meter, quantified: true}
			pairs[[2]string{model, meter}] = p
		}
		return p
	}
	for i := range ours {
		w := &ours[i]
		r.Ours += w.Cost
		p := at(w.Model, w.Meter)
		p.ours.add(w)
	}
	for i := range theirs {
		l := &theirs[i]
		r.Theirs += l.Cost
		model, found := known.find(l.Model, o.Models)
		switch {
		case len(o.Projects) > 0 && !slices.Contains(o.Projects, l.Project):
			r.put(Variance{Cause: NotThrough, Model: l.Model, Meter: l.Meter, Amount: l.Cost, Theirs: l.Quantity, ProviderText: l.Text, ProviderScope: l.Project})
		case l.Meter == "", !found && l.Model == "":
			r.put(Variance{Cause: NotCounted, Amount: l.Cost, Theirs: l.Quantity, ProviderText: l.Text, ProviderScope: l.Project})
		case !found:
			r.put(Variance{Cause: NotThrough, Model: l.Model, Meter: l.Meter, Amount: l.Cost, Theirs: l.Quantity, ProviderText: l.Text, ProviderScope: l.Project})
		default:
			p := at(model, l.Meter)
			p.cost += l.Cost
			p.lines++
			p.text = l.Text
			p.quantity += l.Quantity
			p.quantified = p.quantified && (l.Quantified || l.Cost == 0)
		}
	}
	for _, p := range pairs {
		r.compare(p)
	}
	r.sort()
	variance := max(r.Variance(), -r.Variance())
	r.Within = float64(variance) <= o.Tolerance*float64(max(r.Theirs, -r.Theirs)) // a small bill may differ by its share, not by a cent
	return r
}

func (o *Ours) add(w *Ours) {
	o.Quantity += w.Quantity
	o.Unpriced += w.Unpriced
	o.Cost += w.Cost
	o.Estimated += w.Estimated
	o.Requests += w.Requests
	o.EdgeInside += w.EdgeInside
	o.EdgeOutside += w.EdgeOutside
}

func (r *Reconciliation) put(v Variance) {
	if v.Amount == 0 && v.Cause != NotThrough {
		return
	}
	r.Causes[v.Cause] += v.Amount
	for i := range r.Lines {
		if l := &r.Lines[i]; l.Cause == v.Cause && l.Model == v.Model && l.Meter == v.Meter && l.ProviderText == v.ProviderText && l.ProviderScope == v.ProviderScope {
			l.Amount += v.Amount
			l.Theirs += v.Theirs
			return
		}
	}
	r.Lines = append(r.Lines, v)
}

// compare divides the difference of one pair.
func (r *Reconciliation) compare(p *pair) {
	w := &p.ours
	rest := p.cost - w.Cost
	put := func(cause Cause, amount gatehouse.NanoUSD) {
		rest -= amount
		r.put(Variance{Cause: cause, Model: p.model, Meter: p.meter, Amount: amount, Ours: w.Quantity, Theirs: p.quantity, ProviderText: p.text,
			OurPrice: perMillion(w.Cost, w.Quantity-w.Unpriced), TheirPrice: perMillion(p.cost, p.quantity)})
	}
	switch {
	case p.lines == 0 || p.quantified && p.quantity == 0:
		// The bill has none of it, or all of it for nothing: the whole of ours is too much.
	case !p.quantified:
		// A cost without a quantity: what had no price at all explains it, else there is no telling a price from a quantity.
		if w.Unpriced > 0 && w.Unpriced == w.Quantity {
			put(UnknownPrice, rest)
		} else if !p.small(rest) {
			put(PriceDiffers, rest)
		}
	default:
		price := new(big.Rat).SetFrac(bigOf(p.cost), big.NewInt(p.quantity))
		put(UnknownPrice, times(price, w.Unpriced))
		if w.Quantity > w.Unpriced {
			if differs := times(price, w.Quantity-w.Unpriced) - w.Cost; !p.small(differs) {
				put(PriceDiffers, differs)
			}
		}
		if p.quantity == w.Quantity {
			put(Rounding, rest)
		}
	}
	if p.small(rest) {
		put(Rounding, rest)
	}
	put(EstimatedUsage, within(rest, w.Estimated, w.Estimated))
	put(Timing, within(rest, w.EdgeInside, w.EdgeOutside))
	put(quantityCause(p.meter), rest)
}

// small reports whether an amount is no more than what rounding makes: half a nano-USD for each of our requests, and a millionth of
// each line of the bill, for which providers round to six places and more.
func (p *pair) small(amount gatehouse.NanoUSD) bool {
	bound := gatehouse.NanoUSD(p.ours.Requests/2+1) + gatehouse.NanoUSD(p.lines)*500 + max(p.cost, -p.cost)/1_000_000
	return max(amount, -amount) <= bound
}

// within returns as much of an amount as can be explained: down to -less where the bill is lower, up to more where it is higher.
func within(amount, less, more gatehouse.NanoUSD) gatehouse.NanoUSD {
	return min(max(amount, -max(less, 0)), max(more, 0))
}

func quantityCause(meter string) Cause {
	switch meter {
	case "input":
		return QuantityInput
	case "input_cached":
		return QuantityCached
	case "input_cache_write":
		return QuantityCacheWrite
	case "output":
		return QuantityOutput
	}
	return QuantityOther
}

// times rounds a price times a quantity to nano-USD, half up.
func times(price *big.Rat, n int64) gatehouse.NanoUSD {
	v := new(big.Rat).Mul(price, new(big.Rat).SetInt64(n))
	v.Add(v, big.NewRat(1, 2))
	q := new(big.Int).Div(v.Num(), v.Denom()) // Euclid's: rounds down, also below 0
	if !q.IsInt64() {
		return 0
	}
	return gatehouse.NanoUSD(q.Int64())
}

// perMillion writes what 1,000,000 units cost in USD, "" where there were none.
func perMillion(cost gatehouse.NanoUSD, n int64) string {
	if n == 0 {
		return ""
	}
	text := new(big.Rat).SetFrac(new(big.Int).Mul(bigOf(cost), big.NewInt(million)), new(big.Int).Mul(big.NewInt(n), big.NewInt(1_000_000_000))).FloatString(6)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

func (r *Reconciliation) sort() {
	size := func(v *Variance) gatehouse.NanoUSD { return max(v.Amount, -v.Amount) }
	slices.SortFunc(r.Lines, func(a, b Variance) int {
		return cmp.Or(cmp.Compare(size(&b), size(&a)), cmp.Compare(slices.Index(Causes, a.Cause), slices.Index(Causes, b.Cause)), cmp.Compare(a.Model, b.Model),
			cmp.Compare(a.Meter, b.Meter), cmp.Compare(a.ProviderText, b.ProviderText), cmp.Compare(a.ProviderScope, b.ProviderScope))
	})
}

// modelNames finds our models by what a bill may call them.
type modelNames struct {
	exact map[string]string   // by every name but the undated, the most exact first come
	loose map[string][]string // by the name without a date
}

func modelsOf(ours []Ours) *modelNames {
	m := &modelNames{exact: map[string]string{}, loose: map[string][]string{}}
	for i := range ours {
		names := bill.Names(ours[i].Model)
		for _, name := range names {
			if _, ok := m.exact[name]; !ok && (name == names[0] || len(names) > 2 && name == names[1]) {
				m.exact[name] = ours[i].Model
			}
		}
		base := names[len(names)-1]
		if !slices.Contains(m.loose[base], ours[i].Model) {
			m.loose[base] = append(m.loose[base], ours[i].Model)
		}
	}
	return m
}

// find returns our model for one of a bill: the one it is mapped to, of the same name, or the only one of the same name without dates.
func (m *modelNames) find(theirs string, mapped map[string]string) (string, bool) {
	if name, ok := mapped[theirs]; ok {
		theirs = name
	}
	names := bill.Names(theirs)
	for _, name := range names {
		if model, ok := m.exact[name]; ok {
			return model, true
		}
	}
	if same := m.loose[names[len(names)-1]]; len(same) == 1 {
		return same[0], true
	}
	return "", false
}
