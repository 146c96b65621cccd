package prices

import (
	"math/big"
	"math/bits"

	"gatehouse"
)

// partRates are the rates a part of a cost is priced at, by the part: the first that is known.
var partRates = [gatehouse.PartCount][]rate{
	{input}, {cached, input}, {cacheWrite, input}, {inputAudio}, {cachedAudio, inputAudio}, {inputImage}, {cachedImage, inputImage},
	{output}, {outputAudio}, {outputImage, output}, {images}, {characters}, {audioTime}, {videoTime}, {trained},
	{webSearches}, {webSearchPreviews}, {fileSearches}, {containers},
}

// Split says which part of what u costs is for what. The parts sum to cost exactly: each is rounded down, and what is left over goes, a
// nano-USD each, to those that lost most by it, the earlier first. Where the table says nothing of a cost that was settled otherwise, at
// a bound or under other prices, the parts are in proportion to what they would cost, and all of it is input where nothing would.
func (t *Table) Split(of *Of, u *gatehouse.Units, cost gatehouse.NanoUSD) (parts gatehouse.Parts) {
	if cost == 0 {
		return parts
	}
	fields := parts.Fields()
	var weights [gatehouse.PartCount]total
	denominator := t.weigh(of, u, &weights)
	left := cost
	var lost [gatehouse.PartCount]uint64
	count := gatehouse.NanoUSD(0)
	exact := cost > 0
	by := uint64(1_000_000 * denominator)
	for i := range weights {
		w := &weights[i]
		if w.hi|w.lo == 0 {
			continue
		}
		if w.unknown || w.hi >= by {
			exact = false
			break
		}
		q, rest := bits.Div64(w.hi, w.lo, by)
		if q > uint64(max(left, 0)) {
			exact = false
			break
		}
		*fields[i], lost[i] = gatehouse.NanoUSD(q), rest
		left -= gatehouse.NanoUSD(q)
		count++
	}
	if !exact || left > count {
		return proportional(&weights, cost)
	}
	for ; left > 0; left-- {
		most := -1
		for i := range weights {
			if weights[i].hi|weights[i].lo != 0 && (most < 0 || lost[i] > lost[most]) {
				most = i
			}
		}
		*fields[most]++
		lost[most] = 0
	}
	return parts
}

// weigh adds what each part costs by itself, as Cost adds them up, times the denominator that it returns.
func (t *Table) weigh(of *Of, u *gatehouse.Units, weights *[gatehouse.PartCount]total) (denominator int64) {
	f := t.find(of)
	v := f.priced(of)
	tier, ok := tierOf(of.Tier)
	if v == nil || !ok || negative(u) {
		return 1
	}
	q := f.quote(v, tier, u.Input)
	q.variant = v.variant(of)
	tokens := q.standard.tokens() || !q.countsItems(u)
	for i, n := range u.Quantities() {
		if n == 0 || i < gatehouse.FirstItemPart && !tokens {
			continue
		}
		w := &weights[i]
		if i >= gatehouse.FirstToolPart {
			nano, ok := q.standard.per[firstTool+rate(i-gatehouse.FirstToolPart)], q.standard.has(firstTool+rate(i-gatehouse.FirstToolPart))
			if !ok {
				nano, ok = f.tool(firstTool + rate(i-gatehouse.FirstToolPart))
			}
			if ok {
				w.add(n, nano, q.denominator)
			}
			continue
		}
		order := partRates[i]
		if !q.pictures && (order[0] == inputImage || order[0] == cachedImage) {
			order = partRates[0] // priced as text
			if partRates[i][0] == cachedImage {
				order = partRates[1]
			}
		}
		for _, x := range order {
			if nano, times, ok := q.per(x); ok {
				w.add(n, nano, times)
				break
			}
		}
	}
	return q.denominator
}

// proportional divides a cost by weights, with largest remainders.
func proportional(weights *[gatehouse.PartCount]total, cost gatehouse.NanoUSD) (parts gatehouse.Parts) {
	fields := parts.Fields()
	var all big.Int
	var each, rests [gatehouse.PartCount]big.Int
	for i := range weights {
		each[i].SetUint64(weights[i].hi)
		each[i].Lsh(&each[i], 64)
		each[i].Or(&each[i], new(big.Int).SetUint64(weights[i].lo))
		all.Add(&all, &each[i])
	}
	if all.Sign() == 0 {
		parts.Input = cost
		return parts
	}
	left := cost
	for i := range weights {
		var share big.Int
		share.QuoRem(each[i].Mul(&each[i], big.NewInt(int64(cost))), &all, &rests[i])
		*fields[i] = gatehouse.NanoUSD(share.Int64())
		left -= *fields[i]
	}
	one := gatehouse.NanoUSD(1)
	if left < 0 {
		one = -1
	}
	for ; left != 0; left -= one {
		most := 0
		for i := range rests {
			if rests[i].CmpAbs(&rests[most]) > 0 {
				most = i
			}
		}
		*fields[most] += one
		rests[most].SetInt64(0)
	}
	return parts
}
