package prices

import (
	"maps"
	"slices"

	"gatehouse"
)

// Row is one version of a built-in price as people read it.
type Row struct {
	Dialect gatehouse.Dialect
	Model   string
	From    gatehouse.Millis
	Source  string
	AsOf    string // a day; empty: as of what the source says
	Terms   Terms
}

// Rows returns every built-in price, by provider, model and time.
func (t *Table) Rows() []Row {
	var rows []Row
	for _, provider := range slices.Sorted(maps.Keys(t.builtIn)) {
		for _, model := range slices.Sorted(maps.Keys(t.builtIn[provider])) {
			for _, v := range t.builtIn[provider][model] {
				rows = append(rows, Row{Dialect: provider, Model: model, From: v.from, Source: v.source, AsOf: v.asOf, Terms: v.terms()})
			}
		}
	}
	return rows
}

// terms says again what a version was made of.
func (v *version) terms() Terms {
	t := Terms{Cost: v.standard.cost(), Context: contextTerms(v.standard.contexts)}
	for at, p := range v.tiers {
		if p == nil {
			continue
		}
		if t.ServiceTiers == nil {
			t.ServiceTiers = map[string]TierTerms{}
		}
		tier := TierTerms{Cost: p.cost(), Context: contextTerms(p.contexts)}
		if p.numerator != 0 {
			tier.Factor = gatehouse.USD(p.numerator * (unit / p.denominator))
		}
		t.ServiceTiers[tierNames[at]] = tier
	}
	for i := range v.variants {
		t.Variants = append(t.Variants, VariantTerms{Size: v.variants[i].size, Quality: v.variants[i].quality, Cost: v.variants[i].cost()})
	}
	if v.limits != (Limits{}) {
		limits := v.limits
		t.Limit = &limits
	}
	return t
}

func contextTerms(list []context) (out []ContextTerms) {
	for i := range list {
		out = append(out, ContextTerms{Above: list[i].above, Cost: list[i].cost()})
	}
	return out
}

func (r *rates) cost() Cost {
	if r.known == 0 {
		return nil
	}
	c := Cost{}
	for x := range rateCount {
		if !r.has(x) {
			continue
		}
		nano := r.per[x]
		if x == audioTime || x == videoTime {
			nano *= 1000
		}
		c[rateNames[x]] = gatehouse.USD(nano)
	}
	return c
}
