package prices

import (
	"math"
	"math/bits"

	"gatehouse"
)

// Cost returns what u costs, rounded half up to a nano-USD once for the whole usage. It returns false, and no money, unless the table
// knows the price of everything in u: an unknown model or service tier, audio, image or per-item units without a rate, calls of a
// hosted tool without one.
//
// The parts are those of [gatehouse.Units]: cached and cache-write tokens are parts of the input, each at its own rate where there is
// one and at the input's where there is none; audio, and image tokens of models that price them apart, are parts of their total. A
// request whose input exceeds a context's size is priced there as a whole. A model that is priced by images, characters or seconds and
// not by tokens costs those alone; one that is priced by tokens costs no more for the items it counted beside them.
func (t *Table) Cost(of *Of, u *gatehouse.Units) (gatehouse.NanoUSD, bool) {
	f := t.find(of)
	v := f.priced(of)
	tier, ok := tierOf(of.Tier)
	if v == nil && toolsOnly(u) {
		v = &noVersion
	}
	if v == nil || !ok || negative(u) {
		return 0, false
	}
	q := f.quote(v, tier, u.Input)
	q.variant = v.variant(of)
	sum := total{denominator: q.denominator}
	q.tokens(&sum, u)
	q.items(&sum, u)
	f.tools(&q, &sum, u)
	return sum.money(half)
}

// noVersion is the price of what no model did: a container that was made by itself.
var noVersion version

func toolsOnly(u *gatehouse.Units) bool {
	return *u == gatehouse.Units{WebSearches: u.WebSearches, WebSearchPreviews: u.WebSearchPreviews, FileSearches: u.FileSearches, Containers: u.Containers} &&
		*u != gatehouse.Units{}
}

func negative(u *gatehouse.Units) bool {
	return u.Input|u.Cached|u.CacheWrite|u.InputAudio|u.InputImage|u.CachedAudio|u.CachedImage|u.Output|u.OutputAudio|u.OutputImage|u.Images|
		u.Characters|u.Milliseconds|u.VideoMilliseconds|u.Trained|u.WebSearches|u.WebSearchPreviews|u.FileSearches|u.Containers < 0
}

// quote is the prices that hold for one usage.
type quote struct {
	standard *rates
	tier     *rates // what the tier says itself; nil at the standard one
	variant  *rates // what the size and quality say; nil where they say nothing
	// What only the standard rates say costs numerator/denominator of that; numerator 0: it is not known at this tier.
	numerator, denominator int64
	pictures               bool
}

// quote returns the prices of a version at a tier for a request with so much input.
func (f *found) quote(v *version, at tier, size int64) quote {
	q := quote{standard: &v.standard.rates, numerator: 1, denominator: 1, pictures: v.pictures}
	long := false
	for i := range v.standard.contexts {
		if c := &v.standard.contexts[i]; size > c.above {
			q.standard, long = &c.rates, true
		}
	}
	if at == tierStandard {
		return q
	}
	q.numerator = 0
	p := v.tiers[at]
	if p == nil {
		p = f.everywhere(at)
	}
	if p == nil {
		return q
	}
	if p.numerator > 0 {
		q.numerator, q.denominator = p.numerator, p.denominator
	}
	if p.known != 0 && !long { // what it costs there does not follow from what it costs here
		q.tier = &p.rates
	}
	for i := range p.contexts {
		if c := &p.contexts[i]; size > c.above {
			q.tier = &c.rates
		}
	}
	return q
}

// sold reports whether a version has a price at a tier at all.
func (f *found) sold(v *version, at tier) bool {
	return at == tierStandard || v.tiers[at] != nil || f.everywhere(at) != nil
}

// variant returns what the size and quality of a usage cost.
func (v *version) variant(of *Of) *rates {
	for i := range v.variants {
		if v.variants[i].fits(of.Size, of.Quality) {
			return &v.variants[i].rates
		}
	}
	return nil
}

// per returns a rate, as nano-USD for 1,000,000 units times the quote's denominator when it is multiplied by times.
func (q *quote) per(x rate) (nano, times int64, ok bool) {
	switch {
	case q.tier != nil && q.tier.has(x):
		return q.tier.per[x], q.denominator, true
	case q.numerator == 0:
		return 0, 0, false
	case q.variant != nil && q.variant.has(x):
		return q.variant.per[x], q.numerator, true
	case q.standard.has(x):
		return q.standard.per[x], q.numerator, true
	}
	return 0, 0, false
}

// add adds n units at the first of the rates that is known.
func (q *quote) add(sum *total, n int64, order ...rate) {
	if n != 0 { // most often it is
		q.addSome(sum, n, order)
	}
}

func (q *quote) addSome(sum *total, n int64, order []rate) {
	for _, x := range order {
		if nano, times, ok := q.per(x); ok {
			sum.add(n, nano, times)
			return
		}
	}
	sum.unknown = true
}

// tokens adds the tokens of u, unless the model is priced by items alone.
func (q *quote) tokens(sum *total, u *gatehouse.Units) {
	if u.Input == 0 && u.Output == 0 || !q.standard.tokens() && q.countsItems(u) {
		return
	}
	audio := min(u.InputAudio, u.Input)
	image := int64(0)
	if q.pictures {
		image = min(u.InputImage, u.Input-audio)
	}
	text := u.Input - audio - image
	cachedAudioTokens := min(u.CachedAudio, audio)
	cachedImageTokens := min(u.CachedImage, image)
	cachedText := min(max(u.Cached-cachedAudioTokens-cachedImageTokens, 0), text)
	written := min(u.CacheWrite, text-cachedText)
	q.add(sum, text-cachedText-written, input)
	q.add(sum, cachedText, cached, input)
	q.add(sum, written, cacheWrite, input)
	q.add(sum, audio-cachedAudioTokens, inputAudio)
	q.add(sum, cachedAudioTokens, cachedAudio, inputAudio)
	q.add(sum, image-cachedImageTokens, inputImage)
	q.add(sum, cachedImageTokens, cachedImage, inputImage)
	spoken := min(u.OutputAudio, u.Output)
	drawn := min(u.OutputImage, u.Output-spoken)
	q.add(sum, u.Output-spoken-drawn, output)
	q.add(sum, spoken, outputAudio)
	q.add(sum, drawn, outputImage, output)
}

// countsItems reports whether something in u has a price by the item.
func (q *quote) countsItems(u *gatehouse.Units) bool {
	for x, n := range itemsOf(u) {
		if _, _, ok := q.per(firstItem + rate(x)); ok && n > 0 {
			return true
		}
	}
	return false
}

// itemsOf returns the units that are counted in items, in the order of their rates.
func itemsOf(u *gatehouse.Units) [firstTool - firstItem]int64 {
	return [...]int64{u.Images, u.Characters, u.Milliseconds, u.VideoMilliseconds, u.Trained}
}

// items adds what has a price by the item. What has none is in the tokens, where there are any.
func (q *quote) items(sum *total, u *gatehouse.Units) {
	for i, n := range itemsOf(u) {
		if n == 0 {
			continue
		}
		x := firstItem + rate(i)
		if nano, times, ok := q.per(x); ok {
			sum.add(n, nano, times)
		} else if u.Input == 0 && u.Output == 0 && !q.countsItems(u) {
			sum.unknown = true
		}
	}
}

// tools adds calls of hosted tools, which cost the same at every tier.
func (f *found) tools(q *quote, sum *total, u *gatehouse.Units) {
	for i, n := range [...]int64{u.WebSearches, u.WebSearchPreviews, u.FileSearches, u.Containers} {
		if n == 0 {
			continue
		}
		x := firstTool + rate(i)
		if q.standard.has(x) {
			sum.add(n, q.standard.per[x], q.denominator)
		} else if nano, ok := f.tool(x); ok {
			sum.add(n, nano, q.denominator)
		} else {
			sum.unknown = true
		}
	}
}

// total is a sum of units times rates times the denominator of their factor, in 128 bits.
type total struct {
	hi, lo      uint64
	denominator int64
	unknown     bool // some units have no rate, or the sum is beyond all reason
}

func (t *total) add(n, nano, times int64) {
	hi, lo := bits.Mul64(uint64(n), uint64(nano))
	over, hi2 := bits.Mul64(hi, uint64(times))
	carry, lo := bits.Mul64(lo, uint64(times))
	hi, carry = bits.Add64(hi2, carry, 0)
	t.unknown = t.unknown || over != 0 || carry != 0
	t.lo, carry = bits.Add64(t.lo, lo, 0)
	t.hi, carry = bits.Add64(t.hi, hi, carry)
	t.unknown = t.unknown || carry != 0
}

// rounding is how a sum becomes whole nano-USD.
type rounding bool

const (
	half rounding = false // half up
	up   rounding = true
)

// money divides by 1,000,000 units and the denominator, rounding once.
func (t *total) money(r rounding) (gatehouse.NanoUSD, bool) {
	by := 1_000_000 * uint64(t.denominator)
	extra := by / 2
	if r == up {
		extra = by - 1
	}
	lo, carry := bits.Add64(t.lo, extra, 0)
	hi := t.hi + carry
	if t.unknown || hi >= by {
		return 0, false
	}
	q, _ := bits.Div64(hi, lo, by)
	if q > math.MaxInt64 {
		return 0, false
	}
	return gatehouse.NanoUSD(q), true
}
