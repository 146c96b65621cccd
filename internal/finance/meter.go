package finance

import (
	"math/big"
	"slices"

	"gatehouse"
)

// Meter is one thing that is billed. The meters of a Units are disjoint: what is cached is not input as well.
type Meter struct {
	Name        string                        // as in reports, e.g. "input_cached"
	Title       string                        // for people, e.g. "Cached Input Tokens"
	Unit        string                        // what is counted, in FOCUS's unit format
	PricingUnit string                        // what a price is for
	Per         int64                         // how many units are one pricing unit
	Of          func(*gatehouse.Units) int64  // how many of its units were used
	only        func(n int64) gatehouse.Units // n units of this meter and nothing else
}

const (
	tokens        = "Tokens"
	millionTokens = "1000000 Tokens"
	million       = 1_000_000
)

// Meters are everything that is billed by a quantity, in the order in which reports show them.
var Meters = []*Meter{
	{"input", "Input Tokens", tokens, millionTokens, million, inputText, func(n int64) gatehouse.Units { return gatehouse.Units{Input: n} }},
	{"input_cached", "Cached Input Tokens", tokens, millionTokens, million, cachedText,
		func(n int64) gatehouse.Units { return gatehouse.Units{Input: n, Cached: n} }},
	{"input_cache_write", "Cache Write Tokens", tokens, millionTokens, million, written,
		func(n int64) gatehouse.Units { return gatehouse.Units{Input: n, CacheWrite: n} }},
	{"input_audio", "Audio Input Tokens", tokens, millionTokens, million, func(u *gatehouse.Units) int64 { return inputAudio(u) - cachedAudio(u) },
		func(n int64) gatehouse.Units { return gatehouse.Units{Input: n, InputAudio: n} }},
	{"input_cached_audio", "Cached Audio Input Tokens", tokens, millionTokens, million, cachedAudio,
		func(n int64) gatehouse.Units {
			return gatehouse.Units{Input: n, InputAudio: n, Cached: n, CachedAudio: n}
		}},
	{"input_image", "Image Input Tokens", tokens, millionTokens, million, func(u *gatehouse.Units) int64 { return inputImage(u) - cachedImage(u) },
		func(n int64) gatehouse.Units { return gatehouse.Units{Input: n, InputImage: n} }},
	{"input_cached_image", "Cached Image Input Tokens", tokens, millionTokens, million, cachedImage,
		func(n int64) gatehouse.Units {
			return gatehouse.Units{Input: n, InputImage: n, Cached: n, CachedImage: n}
		}},
	{"output", "Output Tokens", tokens, millionTokens, million, func(u *gatehouse.Units) int64 { return max(u.Output, 0) - outputAudio(u) - outputImage(u) },
		func(n int64) gatehouse.Units { return gatehouse.Units{Output: n} }},
	{"output_audio", "Audio Output Tokens", tokens, millionTokens, million, outputAudio,
		func(n int64) gatehouse.Units { return gatehouse.Units{Output: n, OutputAudio: n} }},
	{"output_image", "Image Output Tokens", tokens, millionTokens, million, outputImage,
		func(n int64) gatehouse.Units { return gatehouse.Units{Output: n, OutputImage: n} }},
	{"trained", "Training Tokens", tokens, millionTokens, million, func(u *gatehouse.Units) int64 { return max(u.Trained, 0) },
		func(n int64) gatehouse.Units { return gatehouse.Units{Trained: n} }},
	{"images", "Images", "Images", "Images", 1, func(u *gatehouse.Units) int64 { return max(u.Images, 0) },
		func(n int64) gatehouse.Units { return gatehouse.Units{Images: n} }},
	{"characters", "Characters", "Characters", "1000000 Characters", million, func(u *gatehouse.Units) int64 { return max(u.Characters, 0) },
		func(n int64) gatehouse.Units { return gatehouse.Units{Characters: n} }},
	{"audio", "Audio Time", "Milliseconds", "Seconds", 1000, func(u *gatehouse.Units) int64 { return max(u.Milliseconds, 0) },
		func(n int64) gatehouse.Units { return gatehouse.Units{Milliseconds: n} }},
	{"video", "Video Time", "Milliseconds", "Seconds", 1000, func(u *gatehouse.Units) int64 { return max(u.VideoMilliseconds, 0) },
		func(n int64) gatehouse.Units { return gatehouse.Units{VideoMilliseconds: n} }},
	{"web_searches", "Web Searches", "Requests", "1000 Requests", 1000, func(u *gatehouse.Units) int64 { return max(u.WebSearches, 0) },
		func(n int64) gatehouse.Units { return gatehouse.Units{WebSearches: n} }},
	{"web_search_previews", "Web Searches (Preview)", "Requests", "1000 Requests", 1000, func(u *gatehouse.Units) int64 { return max(u.WebSearchPreviews, 0) },
		func(n int64) gatehouse.Units { return gatehouse.Units{WebSearchPreviews: n} }},
	{"file_searches", "File Searches", "Requests", "1000 Requests", 1000, func(u *gatehouse.Units) int64 { return max(u.FileSearches, 0) },
		func(n int64) gatehouse.Units { return gatehouse.Units{FileSearches: n} }},
	{"containers", "Code Containers", "Sessions", "Sessions", 1, func(u *gatehouse.Units) int64 { return max(u.Containers, 0) },
		func(n int64) gatehouse.Units { return gatehouse.Units{Containers: n} }},
}

// Requests is the meter of what cannot be divided among others: requests whose units nobody prices one by one.
var Requests = &Meter{Name: "requests", Title: "Requests", Unit: "Requests", PricingUnit: "Requests", Per: 1}

// hosted reports whether it is calls of a tool that the provider hosts: bills have them for no model.
func (m *Meter) hosted() bool { return m.Unit == "Searches" || m.Unit == "Sessions" }

// The parts of a total. Each is cut to what is left of it, as where they are priced: a provider that says more cached than input was
// sent is billed for its input.
func inputAudio(u *gatehouse.Units) int64  { return part(u.InputAudio, u.Input) }
func inputImage(u *gatehouse.Units) int64  { return part(u.InputImage, u.Input-inputAudio(u)) }
func cachedAudio(u *gatehouse.Units) int64 { return part(u.CachedAudio, inputAudio(u)) }
func cachedImage(u *gatehouse.Units) int64 { return part(u.CachedImage, inputImage(u)) }

func cachedText(u *gatehouse.Units) int64 {
	return part(u.Cached-cachedAudio(u)-cachedImage(u), u.Input-inputAudio(u)-inputImage(u))
}

func written(u *gatehouse.Units) int64 {
	return part(u.CacheWrite, u.Input-inputAudio(u)-inputImage(u)-cachedText(u))
}

func inputText(u *gatehouse.Units) int64 {
	return max(u.Input-inputAudio(u)-inputImage(u)-cachedText(u)-written(u), 0)
}

func outputAudio(u *gatehouse.Units) int64 { return part(u.OutputAudio, u.Output) }
func outputImage(u *gatehouse.Units) int64 { return part(u.OutputImage, u.Output-outputAudio(u)) }

func part(n, of int64) int64 { return max(min(n, of), 0) }

// Sku is what a price is looked up by.
type Sku struct {
	Upstream    *gatehouse.Upstream // nil where it is not known
	Model       string              // as the upstream knows it, empty where nobody said
	Deployment  string              // as callers know it
	ServiceTier string
	Batch       bool
	At          gatehouse.Millis
}

// Pricer returns what units of a Sku cost, and false where that is not known.
type Pricer func(s *Sku, u gatehouse.Units) (gatehouse.NanoUSD, bool)

// Share is a part of a sum of costs: so much of one meter.
type Share struct {
	Meter    *Meter
	Quantity int64
	Cost     gatehouse.NanoUSD
	// UnitPrice is the price of one pricing unit, 0 when it is not known or does not explain the cost: where the sum was priced at
	// several rates.
	UnitPrice gatehouse.NanoUSD
}

// Split divides a cost among the meters of what was used, in proportion to what each costs alone. The shares add up to the cost
// exactly. A meter without a price of its own gets none of it and no share, unless none has one: then the shares say what was used,
// and a cost that is known all the same stands on one share of Requests.
func Split(price Pricer, s *Sku, u *gatehouse.Units, requests int64, cost gatehouse.NanoUSD) []Share {
	var shares, priced []Share
	var weights []*big.Int
	for _, m := range Meters {
		n := m.Of(u)
		if n == 0 {
			continue
		}
		share := Share{Meter: m, Quantity: n}
		shares = append(shares, share)
		if rate, ok := rateOf(price, s, m); ok && cost != 0 {
			share.UnitPrice = rate
			priced = append(priced, share)
			weights = append(weights, new(big.Int).Mul(big.NewInt(n), new(big.Int).Mul(bigOf(rate), big.NewInt(million/m.Per))))
		}
	}
	costs, ok := allocate(cost, weights)
	switch {
	case ok:
		for i := range priced {
			priced[i].Cost = costs[i]
			if !priced[i].explained(requests) {
				priced[i].UnitPrice = 0
			}
		}
		return priced
	case cost != 0 || len(shares) == 0:
		return []Share{{Meter: Requests, Quantity: requests, Cost: cost}}
	}
	return shares
}

// explained reports whether quantity times price is the cost, but for what rounding each request can have made.
func (s *Share) explained(requests int64) bool {
	want := new(big.Int).Mul(big.NewInt(s.Quantity), bigOf(s.UnitPrice))
	off := want.Sub(want, new(big.Int).Mul(bigOf(s.Cost), big.NewInt(s.Meter.Per)))
	return off.Abs(off).Cmp(new(big.Int).Mul(big.NewInt(requests/2+2), big.NewInt(s.Meter.Per))) <= 0
}

// rateOf returns what one pricing unit of a meter costs. It asks for less than that at a time: the price of a large request may be
// another than that of many small ones.
func rateOf(price Pricer, s *Sku, m *Meter) (gatehouse.NanoUSD, bool) {
	const few = 1000
	n := min(m.Per, few)
	cost, ok := price(s, m.only(n))
	if !ok || cost <= 0 {
		return 0, false
	}
	return cost * gatehouse.NanoUSD(m.Per/n), true
}

func bigOf(n gatehouse.NanoUSD) *big.Int { return big.NewInt(int64(n)) }

// allocate divides a sum in proportion to weights that are not negative, by the largest remainders, so that the parts add up to it.
// It returns false when the weights are all zero.
func allocate(sum gatehouse.NanoUSD, weights []*big.Int) ([]gatehouse.NanoUSD, bool) {
	total := new(big.Int)
	for _, w := range weights {
		total.Add(total, w)
	}
	if total.Sign() == 0 {
		return nil, false
	}
	sign := gatehouse.NanoUSD(1)
	if sum < 0 {
		sign, sum = -1, -sum
	}
	parts := make([]gatehouse.NanoUSD, len(weights))
	rests := make([]*big.Int, len(weights))
	order := make([]int, len(weights))
	left := sum
	for i, w := range weights {
		q, r := new(big.Int).QuoRem(new(big.Int).Mul(bigOf(sum), w), total, new(big.Int))
		parts[i], rests[i], order[i] = gatehouse.NanoUSD(q.Int64()), r, i
		left -= parts[i]
	}
	slices.SortStableFunc(order, func(a, b int) int { return rests[b].Cmp(rests[a]) })
	for _, i := range order[:left] {
		parts[i]++
	}
	for i := range parts {
		parts[i] *= sign
	}
	return parts, true
}
