package prices

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"gatehouse"
)

// Terms are what a version of a model's price says, as tables, manifests and the API write it.
type Terms struct {
	Cost Cost `json:"cost,omitempty" yaml:"cost,omitempty"`
	// Context replaces prices of a whole request whose input is above a size.
	Context []ContextTerms `json:"context,omitempty" yaml:"context,omitempty"`
	// ServiceTiers are the prices at other tiers than the standard one: flex, priority, scale, batch.
	ServiceTiers map[string]TierTerms `json:"service_tiers,omitempty" yaml:"service_tiers,omitempty"`
	// Variants replace prices for images and videos of a size and quality; the first that fits counts.
	Variants []VariantTerms `json:"variants,omitempty" yaml:"variants,omitempty"`
	Limit    *Limits        `json:"limit,omitempty" yaml:"limit,omitempty"`
}

// ContextTerms are the prices of a request with more input tokens than Above.
type ContextTerms struct {
	Above int64 `json:"above" yaml:"above"`
	Cost  Cost  `json:"cost" yaml:"cost"`
}

// TierTerms are the prices at a service tier: what Cost does not say costs what it does at the standard tier, times Factor. Without a
// Factor what Cost does not say is not known.
type TierTerms struct {
	Factor  gatehouse.USD  `json:"factor,omitempty" yaml:"factor,omitempty"` // a decimal number above 0, e.g. 0.5; written as an amount is, and no money
	Cost    Cost           `json:"cost,omitempty" yaml:"cost,omitempty"`
	Context []ContextTerms `json:"context,omitempty" yaml:"context,omitempty"`
}

// VariantTerms are prices of one size, one quality, or both.
type VariantTerms struct {
	Size    string `json:"size,omitempty" yaml:"size,omitempty"`
	Quality string `json:"quality,omitempty" yaml:"quality,omitempty"`
	Cost    Cost   `json:"cost" yaml:"cost"`
}

// Limits are a model's own, in tokens; 0: not known.
type Limits struct {
	Context int64 `json:"context,omitempty" yaml:"context,omitempty"` // input and output together
	Input   int64 `json:"input,omitempty" yaml:"input,omitempty"`
	Output  int64 `json:"output,omitempty" yaml:"output,omitempty"`
}

// ParseTerms reads the JSON of Terms strictly.
func ParseTerms(data []byte) (*Terms, error) {
	t := &Terms{}
	if err := strict(data, t); err != nil {
		return nil, err
	}
	_, err := t.compile()
	return t, err
}

func strict(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one JSON value")
	}
	return nil
}

// version is Terms made ready, from a time on.
type version struct {
	from     gatehouse.Millis
	source   string
	asOf     string
	standard plan
	tiers    [tierCount]*plan // nil where the terms say nothing; the standard one is never read
	variants []variant
	limits   Limits
	limited  bool
	// pictures says that the model reads or makes images, so that image tokens have a price of their own.
	pictures bool
}

// plan is the prices at one tier.
type plan struct {
	rates
	contexts []context // ascending
	// Tokens that the rates do not name cost numerator/denominator of the standard tier's; 0: their price is not known.
	numerator, denominator int64
}

type context struct {
	above int64
	rates
}

type variant struct {
	size, quality string
	rates
}

func (v *variant) fits(size, quality string) bool {
	return (v.size == "" || v.size == size) && (v.quality == "" || v.quality == quality)
}

const (
	maxContexts = 16
	maxVariants = 256
)

// compile checks terms and makes them ready.
func (t *Terms) compile() (*version, error) {
	v := &version{}
	var err error
	if v.standard.rates, err = t.Cost.read(); err != nil {
		return nil, err
	}
	if v.standard.contexts, err = contextsOf(t.Context, &v.standard.rates); err != nil {
		return nil, err
	}
	for name, terms := range t.ServiceTiers {
		tier, ok := tierOf(name)
		if !ok || tier == tierStandard {
			return nil, fmt.Errorf("%q is not a service tier that has prices of its own; those are flex, priority, scale and batch", name)
		}
		p := &plan{}
		if terms.Factor != 0 {
			if p.numerator, p.denominator, err = fraction(terms.Factor); err != nil {
				return nil, fmt.Errorf("service tier %s: %w", name, err)
			}
		}
		if p.rates, err = terms.Cost.read(); err != nil {
			return nil, fmt.Errorf("service tier %s: %w", name, err)
		}
		if p.contexts, err = contextsOf(terms.Context, &p.rates); err != nil {
			return nil, fmt.Errorf("service tier %s: %w", name, err)
		}
		v.tiers[tier] = p
	}
	if len(t.Variants) > maxVariants {
		return nil, fmt.Errorf("a price has at most %d variants", maxVariants)
	}
	for _, terms := range t.Variants {
		r, err := terms.Cost.read()
		if err != nil {
			return nil, fmt.Errorf("variant %s %s: %w", terms.Size, terms.Quality, err)
		}
		if terms.Size == "" && terms.Quality == "" {
			return nil, errors.New("a variant has a size, a quality or both")
		}
		v.variants = append(v.variants, variant{terms.Size, terms.Quality, r})
	}
	if t.Limit != nil {
		if t.Limit.Context < 0 || t.Limit.Input < 0 || t.Limit.Output < 0 {
			return nil, errors.New("a limit is not negative")
		}
		v.limits, v.limited = *t.Limit, true
	}
	v.pictures = v.standard.has(inputImage) || v.standard.has(outputImage)
	return v, nil
}

// contextsOf reads contexts; what one does not say it has from the base.
func contextsOf(list []ContextTerms, base *rates) ([]context, error) {
	if len(list) > maxContexts {
		return nil, fmt.Errorf("a price has at most %d context sizes", maxContexts)
	}
	var out []context
	for _, terms := range list {
		r, err := terms.Cost.read()
		if err != nil {
			return nil, fmt.Errorf("context above %d: %w", terms.Above, err)
		}
		if terms.Above <= 0 {
			return nil, errors.New("a context's size is above 0")
		}
		out = append(out, context{terms.Above, r.over(base)})
	}
	slices.SortFunc(out, func(a, b context) int { return int(min(max(a.above-b.above, -1), 1)) })
	for i := 1; i < len(out); i++ {
		if out[i].above == out[i-1].above {
			return nil, fmt.Errorf("there are two prices for a context above %d", out[i].above)
		}
	}
	return out, nil
}

// fraction returns a decimal factor as a fraction.
func fraction(factor gatehouse.USD) (numerator, denominator int64, err error) {
	n := int64(factor)
	if n < 0 || n > 1000*unit || n%(unit/maxDenominator) != 0 {
		return 0, 0, fmt.Errorf("factor %s must be above 0, at most 1000 and have at most six decimal places", factor)
	}
	numerator, denominator = n/(unit/maxDenominator), maxDenominator
	for _, d := range []int64{2, 5} {
		for numerator%d == 0 && denominator%d == 0 {
			numerator, denominator = numerator/d, denominator/d
		}
	}
	return numerator, denominator, nil
}

const (
	unit           = 1_000_000_000 // what a factor of 1 is written as
	maxDenominator = 1_000_000
)

// over lays v over an earlier version: what v does not say stays.
func (v *version) over(before *version) *version {
	out := *before
	out.from, out.pictures = v.from, v.pictures || before.pictures
	if v.source != "" {
		out.source, out.asOf = v.source, v.asOf
	}
	out.standard.rates = v.standard.rates.over(&before.standard.rates)
	switch {
	case v.standard.contexts != nil:
		out.standard.contexts = slices.Clone(v.standard.contexts)
	default:
		out.standard.contexts = slices.Clone(before.standard.contexts)
	}
	for i := range out.standard.contexts {
		c := &out.standard.contexts[i]
		if v.standard.contexts != nil {
			c.rates = c.rates.over(&out.standard.rates)
		} else {
			// What is new beside the long context's own prices holds there too.
			c.rates = c.rates.over(&v.standard.rates)
		}
	}
	for i, p := range v.tiers {
		if p != nil {
			out.tiers[i] = p
		}
	}
	if v.variants != nil {
		out.variants = v.variants
	}
	if v.limited {
		out.limits, out.limited = v.limits, true
	}
	return &out
}

// date reads a day as its first instant in UTC.
func date(s string) (gatehouse.Millis, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a day such as 2026-09-01", s)
	}
	return gatehouse.MillisOf(t), nil
}
