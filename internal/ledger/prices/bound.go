package prices

import (
	"iter"
	"math/bits"

	"gatehouse"
)

// Bound returns the most that any usage within most may cost, rounded up: at the dearest service tier that a request which asks for
// of.Tier may be served at, the dearest context its input may reach, the dearest of plain, cached and cache-write input, and where size
// or quality are not said the dearest of those. It returns false where it knows no bound: some of most has no price.
//
// A usage is within most when none of its units is more. InputAudio, InputImage, OutputAudio and OutputImage say how much of their
// total may be that; how much is cached or written to a cache is not looked at. Time is most's in of.At: the price that holds then.
func (t *Table) Bound(of *Of, most *gatehouse.Units) (gatehouse.NanoUSD, bool) {
	f := t.find(of)
	v := f.priced(of)
	tiers, ok := reach(of.Tier)
	if v == nil && toolsOnly(most) {
		v = &noVersion
	}
	if v == nil || !ok || negative(most) {
		return 0, false
	}
	asked, _ := tierOf(of.Tier)
	if f.text != nil && textOnly(most) {
		return boundText(*f.text, tiers, asked, most)
	}
	return f.bound(of, v, tiers, asked, most)
}

// bound is Bound of anything, at the tiers of a set and at the one that is asked for.
func (f *found) bound(of *Of, v *version, tiers uint8, asked tier, most *gatehouse.Units) (gatehouse.NanoUSD, bool) {
	highest, known := gatehouse.NanoUSD(0), true
	for at := range tierCount {
		if tiers&(1<<at) == 0 || at != asked && !f.sold(v, at) {
			continue
		}
		cost, ok := f.boundAt(of, v, at, most)
		highest, known = max(highest, cost), known && ok
	}
	return highest, known
}

// boundAt is Bound at one tier.
func (f *found) boundAt(of *Of, v *version, at tier, most *gatehouse.Units) (highest gatehouse.NanoUSD, known bool) {
	known = true
	for size := range v.sizes(at, most.Input) {
		q := f.quote(v, at, size)
		cost, ok := f.boundOf(of, v, &q, most)
		highest, known = max(highest, cost), known && ok
	}
	return highest, known
}

// sizes yields the inputs, up to most, from which on the price of a version at a tier may be another.
func (v *version) sizes(at tier, most int64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		if !yield(0) {
			return
		}
		for _, p := range [...]*plan{&v.standard, v.tiers[at]} {
			if p == nil {
				continue
			}
			for i := range p.contexts {
				if above := p.contexts[i].above; most > above && !yield(above+1) {
					return
				}
			}
		}
	}
}

// boundOf is Bound at one quote.
func (f *found) boundOf(of *Of, v *version, q *quote, most *gatehouse.Units) (highest gatehouse.NanoUSD, known bool) {
	known = true
	try := func(r *rates) (ok bool) {
		q.variant = r
		sum := total{denominator: q.denominator}
		q.mostTokens(&sum, most)
		q.items(&sum, most)
		f.tools(q, &sum, most)
		cost, ok := sum.money(up)
		highest = max(highest, cost)
		return ok
	}
	fits := false
	for i := range v.variants {
		v := &v.variants[i]
		if (open(of.Size) || v.size == "" || v.size == of.Size) && (open(of.Quality) || v.quality == "" || v.quality == of.Quality) {
			known = try(&v.rates) && known
			fits = true
		}
	}
	if base := try(nil); !fits { // else a size that no variant names is priced so, if at all
		known = base
	}
	return highest, known
}

// open reports whether a size or quality is left to the model.
func open(s string) bool { return s == "" || s == "auto" }

// mostTokens adds the tokens of most, each taken for the dearest that it may be.
func (q *quote) mostTokens(sum *total, most *gatehouse.Units) {
	if most.Input == 0 && most.Output == 0 || !q.standard.tokens() && q.countsItems(most) {
		return
	}
	audio := min(most.InputAudio, most.Input)
	image := int64(0)
	if q.pictures {
		image = min(most.InputImage, most.Input)
	}
	text := q.dearest(input, cached, cacheWrite)
	q.split(sum, most.Input, text, part{audio, q.dearest(inputAudio, cachedAudio)}, part{image, q.dearest(inputImage, cachedImage)})
	drawn := q.dearest(outputImage)
	if !drawn.known {
		drawn = q.dearest(output)
	}
	q.split(sum, most.Output, q.dearest(output), part{min(most.OutputAudio, most.Output), q.dearest(outputAudio)}, part{min(most.OutputImage, most.Output), drawn})
}

// price is a rate and what it is multiplied by, see quote.per.
type price struct {
	nano, times int64
	known       bool
}

func (p price) less(o price) bool {
	hi, lo := bits.Mul64(uint64(p.nano), uint64(p.times))
	otherHi, otherLo := bits.Mul64(uint64(o.nano), uint64(o.times))
	return hi < otherHi || hi == otherHi && lo < otherLo
}

// part is how much of a total may have a price of its own.
type part struct {
	n int64
	price
}

// dearest returns the dearest of rates; the first must be known.
func (q *quote) dearest(first rate, others ...rate) (p price) {
	p.nano, p.times, p.known = q.per(first)
	for _, x := range others {
		if nano, times, ok := q.per(x); ok && p.known {
			if o := (price{nano, times, true}); p.less(o) {
				p = o
			}
		}
	}
	return p
}

// split adds n tokens, of which two parts may have other prices than the rest, so that the sum is the greatest.
func (q *quote) split(sum *total, n int64, rest price, a, b part) {
	if a.less(b.price) {
		a, b = b, a
	}
	for _, p := range [...]part{a, b} {
		if p.n == 0 {
			continue
		}
		if !p.known {
			sum.unknown = true
			return
		}
		if rest.known && p.less(rest) {
			continue
		}
		take := min(p.n, n)
		sum.add(take, p.nano, p.times)
		n -= take
	}
	if n == 0 {
		return
	}
	if !rest.known {
		sum.unknown = true
		return
	}
	sum.add(n, rest.nano, rest.times)
}
