package prices

import (
	"math"

	"gatehouse"
)

// ceiling is the most that a token of text costs at a tier from some size of the input on. Most requests are text alone: what they cost at
// most follows from their model's few ceilings, which are made once, and not from looking through all its prices.
type ceiling struct {
	at            tier
	sold          bool
	size          int64
	input, output price
	denominator   int64
}

// ceilings returns those of a version, nil where its price is not one of tokens alone. One that is never above another where that counts
// too is left out.
func (f *found) ceilings(v *version) (list []ceiling) {
	if v == nil || len(v.variants) > 0 {
		return nil
	}
	for at := range tierCount {
		for size := range v.sizes(at, math.MaxInt64) {
			q := f.quote(v, at, size)
			c := ceiling{at: at, sold: f.sold(v, at), size: size, input: q.dearest(input, cached, cacheWrite), output: q.dearest(output), denominator: q.denominator}
			if !c.below(list) {
				list = append(list, c)
			}
		}
	}
	return list
}

// below reports whether c is never above one of the standard tier: what is asked of any other but a batch's may be served at that.
func (c *ceiling) below(list []ceiling) bool {
	if c.at == tierStandard || c.at == tierBatch || !c.input.known || !c.output.known {
		return false
	}
	for i := range list {
		s := &list[i]
		if s.at == tierStandard && s.size <= c.size && s.input.known && s.output.known &&
			!s.input.beside(c).less(c.input.beside(s)) && !s.output.beside(c).less(c.output.beside(s)) {
			return true
		}
	}
	return false
}

// beside brings a price to the denominators of both its own ceiling and another, so that the two compare.
func (p price) beside(other *ceiling) price {
	p.times *= other.denominator
	return p
}

// textOnly reports whether nothing but tokens of text is in most, as far as Bound looks at it.
func textOnly(most *gatehouse.Units) bool {
	return most.InputAudio|most.InputImage|most.OutputAudio|most.OutputImage|most.Images|most.Characters|most.Milliseconds|most.VideoMilliseconds|
		most.Trained|most.WebSearches|most.WebSearchPreviews|most.FileSearches|most.Containers == 0
}

// boundText is Bound of text, at the tiers of a set and at the one that is asked for.
func boundText(list []ceiling, tiers uint8, asked tier, most *gatehouse.Units) (highest gatehouse.NanoUSD, known bool) {
	known = true
	for i := range list {
		c := &list[i]
		if tiers&(1<<c.at) == 0 || most.Input < c.size || c.at != asked && !c.sold {
			continue
		}
		sum := total{denominator: c.denominator, unknown: most.Input != 0 && !c.input.known || most.Output != 0 && !c.output.known}
		sum.add(most.Input, c.input.nano, c.input.times)
		sum.add(most.Output, c.output.nano, c.output.times)
		cost, ok := sum.money(up)
		highest, known = max(highest, cost), known && ok
	}
	return highest, known
}
