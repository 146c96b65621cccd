package ledger

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
	"strings"
	"sync"

	"gatehouse"
)

// The table is models.dev's (MIT licence, prices/LICENSE), as of the commit it names.
//
//go:embed prices/prices.json
var builtIn []byte

// DefaultPrices returns the built-in table. It is a starting point: prices change.
var DefaultPrices = sync.OnceValue(func() *Prices {
	p, err := ParsePrices(builtIn)
	if err != nil {
		panic(err) // the table is part of the program, and a test parses it
	}
	return p
})

// Prices is an immutable table of what models cost.
type Prices struct {
	models map[gatehouse.Dialect]map[string]*price
}

// rates are nano-USD for 1,000,000 tokens; 0: the table has none.
type rates struct {
	input, cacheRead, cacheWrite, output, inputAudio, outputAudio int64
}

type price struct {
	rates
	tiers  []tier // ascending
	limits Limits
	images bool // it makes images, and their input has a price of its own
}

// tier replaces the rates of a whole request whose input is above a size.
type tier struct {
	above int64
	rates
}

// Limits are a model's own, in tokens; 0: not known.
type Limits struct {
	Context int64 // input and output together
	Input   int64
	Output  int64
}

// ParsePrices reads a table in the form of the built-in one: provider, model, cost in decimal USD for 1,000,000 tokens. Decimals
// are read exactly; more than nine places, a negative price or an unknown provider is an error.
func ParsePrices(data []byte) (*Prices, error) {
	type rawRates struct {
		Input       json.Number `json:"input"`
		Output      json.Number `json:"output"`
		CacheRead   json.Number `json:"cache_read"`
		CacheWrite  json.Number `json:"cache_write"`
		InputAudio  json.Number `json:"input_audio"`
		OutputAudio json.Number `json:"output_audio"`
	}
	type rawTier struct {
		rawRates
		Tier struct {
			Size int64 `json:"size"`
		} `json:"tier"`
	}
	var table struct {
		Providers map[gatehouse.Dialect]map[string]struct {
			Cost *struct {
				rawRates
				Tiers []rawTier `json:"tiers"`
			} `json:"cost"`
			Limit      Limits `json:"limit"`
			Modalities struct {
				Output []string `json:"output"`
			} `json:"modalities"`
		} `json:"providers"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&table); err != nil {
		return nil, fmt.Errorf("parse prices: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("parse prices: there is more than one JSON value")
	}
	exact := func(r rawRates) (out rates, err error) {
		for _, f := range []struct {
			to   *int64
			text json.Number
		}{
			{&out.input, r.Input}, {&out.output, r.Output}, {&out.cacheRead, r.CacheRead},
			{&out.cacheWrite, r.CacheWrite}, {&out.inputAudio, r.InputAudio}, {&out.outputAudio, r.OutputAudio},
		} {
			if f.text == "" {
				continue
			}
			if *f.to, err = parseNano(string(f.text)); err != nil {
				return rates{}, err
			}
		}
		return out, nil
	}
	p := &Prices{models: map[gatehouse.Dialect]map[string]*price{}}
	for provider, models := range table.Providers {
		if provider != gatehouse.OpenAI && provider != gatehouse.Azure {
			return nil, fmt.Errorf("parse prices: unknown provider %q", provider)
		}
		byName := make(map[string]*price, len(models))
		for name, m := range models {
			entry := &price{limits: m.Limit, images: slices.Contains(m.Modalities.Output, "image") || strings.HasPrefix(name, "gpt-image")}
			byName[name] = entry
			if m.Cost == nil {
				continue
			}
			var err error
			if entry.rates, err = exact(m.Cost.rawRates); err != nil {
				return nil, fmt.Errorf("parse prices: %s %s: %w", provider, name, err)
			}
			for _, t := range m.Cost.Tiers {
				r, err := exact(t.rawRates)
				if err != nil {
					return nil, fmt.Errorf("parse prices: %s %s: %w", provider, name, err)
				}
				entry.tiers = append(entry.tiers, tier{above: t.Tier.Size, rates: r})
			}
			slices.SortFunc(entry.tiers, func(a, b tier) int { return int(a.above - b.above) })
		}
		p.models[provider] = byName
	}
	return p, nil
}

// parseNano reads a decimal number of USD as nano-USD, exactly.
func parseNano(s string) (int64, error) {
	whole, frac, _ := strings.Cut(s, ".")
	if len(frac) > 9 {
		if strings.Trim(frac[9:], "0") != "" {
			return 0, fmt.Errorf("price %q has more than nine decimal places", s)
		}
		frac = frac[:9]
	}
	digits := whole + frac + "000000000"[len(frac):]
	var n int64
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("price %q is not a plain decimal number", s)
		}
		if n > (math.MaxInt64-9)/10 {
			return 0, fmt.Errorf("price %q is too large", s)
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}

// Cost returns what u costs at a provider, rounded half up to a nano-USD once for the whole line. It returns false, and no
// money, unless the table knows the price of everything in u: an unknown model, a service tier other than the standard one
// (batch, flex, priority, scale), audio, image or per-item units without a rate. A model is found by its exact name, else
// without the date at its end. The mock is priced as the provider whose model it plays, OpenAI first.
//
// The parts are those of [gatehouse.Units]: cached and cache-write tokens are parts of the input, each at its own rate where
// there is one (a cached rate of 0 counts as none: nobody gives input away) and at the input's where there is none; audio is
// part of its total. A request whose input exceeds a tier's size is priced at that tier as a whole.
func (p *Prices) Cost(provider gatehouse.Dialect, model string, u gatehouse.Units, serviceTier string) (gatehouse.NanoUSD, bool) {
	switch serviceTier {
	case "", "default", "standard", "auto":
	default:
		return 0, false
	}
	m := p.find(provider, model)
	if m == nil {
		return 0, false
	}
	if u.Input < 0 || u.Output < 0 || u.Cached < 0 || u.CacheWrite < 0 || u.InputAudio < 0 || u.OutputAudio < 0 || u.CachedAudio < 0 {
		return 0, false
	}
	if u.Input == 0 && u.Output == 0 && (u.Images != 0 || u.Characters != 0 || u.Milliseconds != 0) {
		return 0, false // counted in something the table has no price for
	}
	if m.images && (u.InputImage != 0 || u.CachedImage != 0) {
		return 0, false
	}
	r := &m.rates
	for i := range m.tiers {
		if u.Input > m.tiers[i].above {
			r = &m.tiers[i].rates
		}
	}
	audio := min(u.InputAudio, u.Input)
	// Cached audio has no rate of its own anywhere in the table: it stays with the audio, which is never less.
	cached := min(max(u.Cached-u.CachedAudio, 0), u.Input-audio)
	written := min(u.CacheWrite, u.Input-audio-cached)
	spoken := min(u.OutputAudio, u.Output)
	var sum total
	sum.add(u.Input-audio-cached-written, r.input)
	sum.add(cached, or(r.cacheRead, r.input))
	sum.add(written, or(r.cacheWrite, r.input))
	sum.add(audio, r.inputAudio)
	sum.add(u.Output-spoken, r.output)
	sum.add(spoken, r.outputAudio)
	return sum.perMillion()
}

func or(rate, otherwise int64) int64 {
	if rate != 0 {
		return rate
	}
	return otherwise
}

// total is a sum of tokens times rates in 128 bits.
type total struct {
	hi, lo  uint64
	unknown bool // some tokens have no rate, or the sum is beyond all reason
}

func (t *total) add(tokens, rate int64) {
	if tokens == 0 {
		return
	}
	if rate == 0 {
		t.unknown = true
		return
	}
	hi, lo := bits.Mul64(uint64(tokens), uint64(rate))
	var carry uint64
	t.lo, carry = bits.Add64(t.lo, lo, 0)
	t.hi, carry = bits.Add64(t.hi, hi, carry)
	t.unknown = t.unknown || carry != 0
}

// perMillion divides by 1,000,000 tokens, rounding half up.
func (t *total) perMillion() (gatehouse.NanoUSD, bool) {
	const million = 1_000_000
	lo, carry := bits.Add64(t.lo, million/2, 0)
	hi := t.hi + carry
	if t.unknown || hi >= million {
		return 0, false
	}
	q, _ := bits.Div64(hi, lo, million)
	if q > math.MaxInt64 {
		return 0, false
	}
	return gatehouse.NanoUSD(q), true
}

// Limits returns what the table knows of a model's limits, found as Cost finds it.
func (p *Prices) Limits(provider gatehouse.Dialect, model string) (Limits, bool) {
	m := p.find(provider, model)
	if m == nil {
		return Limits{}, false
	}
	return m.limits, true
}

// Models returns the names of every model of the table, sorted, each once.
func (p *Prices) Models() []string {
	var names []string
	for _, models := range p.models {
		for name := range models {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (p *Prices) find(provider gatehouse.Dialect, model string) *price {
	if provider == gatehouse.Mock {
		if m := p.find(gatehouse.OpenAI, model); m != nil {
			return m
		}
		provider = gatehouse.Azure
	}
	models := p.models[provider]
	if m := models[model]; m != nil {
		return m
	}
	if base := undated(model); base != model {
		return models[base]
	}
	return nil
}

// undated returns model without the date at its end: -2024-08-06 as OpenAI writes it, -20240806, or -0613 as it once did.
func undated(model string) string {
	for _, form := range []string{"-dddd-dd-dd", "-dddddddd", "-dddd"} {
		at := len(model) - len(form)
		if at > 0 && dated(model[at:], form) {
			return model[:at]
		}
	}
	return model
}

func dated(s, form string) bool {
	for i := range len(form) {
		if form[i] == 'd' && (s[i] < '0' || s[i] > '9') || form[i] != 'd' && s[i] != form[i] {
			return false
		}
	}
	return true
}
