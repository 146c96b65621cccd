package prices

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"gatehouse"
)

var tierTexts = []string{"", "auto", "default", "flex", "priority", "batch", "scale"}

// drawn is a table that somebody may write, with everything in it.
func drawn(t *rapid.T) *Table {
	cost := func(label string, names ...string) Cost {
		c := Cost{}
		for _, name := range names {
			if rapid.IntRange(0, 3).Draw(t, label+" says "+name) > 0 {
				c[name] = gatehouse.USD(rapid.Int64Range(0, 99_999_999).Draw(t, label+" "+name) * 1000)
			}
		}
		return c
	}
	terms := &Terms{Cost: cost("standard", rateNames[:]...), ServiceTiers: map[string]TierTerms{}}
	for i := range rapid.IntRange(0, 2).Draw(t, "contexts") {
		terms.Context = append(terms.Context, ContextTerms{Above: int64(1000 * (i + 1)), Cost: cost("context", rateNames[:firstItem]...)})
	}
	for _, name := range []string{"flex", "priority", "batch"} {
		if rapid.Bool().Draw(t, name) {
			tier := TierTerms{Cost: cost(name, rateNames[:firstTool]...)}
			if rapid.Bool().Draw(t, name+" has a factor") {
				tier.Factor = gatehouse.USD(rapid.Int64Range(1, 3_000_000).Draw(t, name+" factor") * 1000)
			}
			terms.ServiceTiers[name] = tier
		}
	}
	for _, size := range []string{"small", "large"} {
		if rapid.Bool().Draw(t, size) {
			terms.Variants = append(terms.Variants, VariantTerms{Size: size, Cost: cost(size, "images", "video_seconds")})
		}
	}
	table, err := BuiltIn().With([]Override{{Organization: "org-1", Dialect: gatehouse.OpenAI, Model: "m", Terms: terms}})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestBoundIsNeverLessThanCost: whatever an answer turns out to have used within what it may use, at whatever tier, size and context it
// was served, its cost is not above the bound; and where the bound is known a usage with tokens has a price.
func TestBoundIsNeverLessThanCost(t *testing.T) {
	models := []string{"gpt-4o", "gpt-5", "gpt-5.4", "gpt-image-1", "gpt-4o-audio-preview", "gpt-realtime", "dall-e-3", "sora-2-pro", "whisper-1", "tts-1", "o3"}
	rapid.Check(t, func(t *rapid.T) {
		of := Of{Organization: "org-1", Dialect: gatehouse.OpenAI, Model: "m", Tier: rapid.SampledFrom(tierTexts).Draw(t, "asked"),
			Size: rapid.SampledFrom([]string{"", "auto", "small", "large", "1024x1792"}).Draw(t, "size")}
		table := BuiltIn()
		if rapid.Bool().Draw(t, "a table of its own") {
			table = drawn(t)
		} else {
			of.Model = rapid.SampledFrom(models).Draw(t, "model")
		}
		number := func(label string, most int64) int64 { return rapid.Int64Range(0, most).Draw(t, label) }
		some := func(label string, most int64) int64 {
			if rapid.Bool().Draw(t, "no "+label) {
				return 0
			}
			return number(label, most)
		}
		most := gatehouse.Units{Input: number("input", 400_000), Output: number("output", 5000), Images: some("images", 5), Characters: some("characters", 5000),
			Milliseconds: some("audio", 90_000), VideoMilliseconds: some("video", 12_000), Trained: some("trained", 9000), WebSearches: some("searches", 9),
			WebSearchPreviews: some("previews", 9), FileSearches: some("file searches", 9), Containers: some("containers", 3)}
		most.InputAudio, most.InputImage = some("audio in", most.Input), some("image in", most.Input)
		most.OutputAudio, most.OutputImage = some("audio out", most.Output), some("image out", most.Output)
		bound, known := table.Bound(&of, &most)
		if !known {
			return
		}
		u := gatehouse.Units{Input: number("used input", most.Input), Output: number("used output", most.Output), Images: number("used images", most.Images),
			Characters: number("used characters", most.Characters), Milliseconds: number("used audio", most.Milliseconds),
			VideoMilliseconds: number("used video", most.VideoMilliseconds), Trained: number("used trained", most.Trained),
			WebSearches: number("used searches", most.WebSearches), WebSearchPreviews: number("used previews", most.WebSearchPreviews),
			FileSearches: number("used file searches", most.FileSearches), Containers: number("used containers", most.Containers)}
		u.InputAudio = number("used audio in", min(most.InputAudio, u.Input))
		u.InputImage = number("used image in", min(most.InputImage, u.Input-u.InputAudio))
		u.OutputAudio = number("used audio out", min(most.OutputAudio, u.Output))
		u.OutputImage = number("used image out", min(most.OutputImage, u.Output-u.OutputAudio))
		u.Cached, u.CacheWrite = number("cached", u.Input), number("written", u.Input)
		u.CachedAudio, u.CachedImage = number("cached audio", min(u.Cached, u.InputAudio)), number("cached image", min(u.Cached, u.InputImage))
		served := of
		if open(of.Size) {
			served.Size = rapid.SampledFrom([]string{"small", "large", "1792x1024"}).Draw(t, "size served")
		}
		reached, _ := reach(of.Tier)
		for at := range tierCount {
			if reached&(1<<at) == 0 {
				continue
			}
			served.Tier = tierNames[at]
			if cost, ok := table.Cost(&served, &u); ok && cost > bound {
				t.Fatalf("%+v at %q costs %d, its bound was %d\nof %+v\nmost %+v", u, served.Tier, cost, bound, of, most)
			}
		}
	})
}

// TestCostIsExact compares the arithmetic with that of fractions of any size.
func TestCostIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, out := rapid.Int64Range(0, 1<<40).Draw(t, "input rate"), rapid.Int64Range(0, 1<<40).Draw(t, "output rate")
		factor := rapid.Int64Range(1, 2_000_000).Draw(t, "millionths")
		terms := &Terms{Cost: Cost{"input": gatehouse.USD(in), "output": gatehouse.USD(out)},
			ServiceTiers: map[string]TierTerms{"flex": {Factor: gatehouse.USD(factor * 1000)}}}
		table, err := BuiltIn().With([]Override{{Dialect: gatehouse.OpenAI, Model: "m", Terms: terms}})
		if err != nil {
			t.Fatal(err)
		}
		u := gatehouse.Units{Input: rapid.Int64Range(0, 1<<30).Draw(t, "input"), Output: rapid.Int64Range(0, 1<<30).Draw(t, "output")}
		got, ok := table.Cost(&Of{Dialect: gatehouse.OpenAI, Model: "m", Tier: "flex"}, &u)
		sum := new(big.Int).Add(new(big.Int).Mul(big.NewInt(u.Input), big.NewInt(in)), new(big.Int).Mul(big.NewInt(u.Output), big.NewInt(out)))
		sum.Mul(sum, big.NewInt(factor))
		per := big.NewInt(1_000_000 * 1_000_000)
		want := sum.Add(sum.Mul(sum, big.NewInt(2)), per).Div(sum, per.Mul(per, big.NewInt(2))) // half up
		if !ok || want.Cmp(big.NewInt(int64(got))) != 0 {
			t.Fatalf("cost = %d, %v; want %s", got, ok, want)
		}
	})
}

func TestBound(t *testing.T) {
	tests := []struct {
		name  string
		of    Of
		most  gatehouse.Units
		want  gatehouse.NanoUSD
		known bool
	}{
		{"the dearest tier that auto may reach", Of{Model: "gpt-4o"}, gatehouse.Units{Input: 10, Output: 10}, 10*4250 + 10*17000, true},
		{"the standard tier alone", Of{Model: "gpt-4o", Tier: "default"}, gatehouse.Units{Input: 10, Output: 10}, 10*2500 + 10*10000, true},
		{"flex may be served at the standard tier", Of{Model: "gpt-4o", Tier: "flex"}, gatehouse.Units{Input: 10}, 10 * 2500, true},
		{"a tier that is asked for and has no price", Of{Model: "o1", Tier: "priority"}, gatehouse.Units{Input: 10}, 10 * 15000, false},
		{"a tier that is not sold is not reached", Of{Model: "o1"}, gatehouse.Units{Input: 10}, 10 * 15000, true},
		{"a batch", Of{Model: "o1", Tier: Batch}, gatehouse.Units{Input: 10}, 10 * 7500, true},
		{"the long context that the input may reach", Of{Model: "gpt-5.4", Tier: "default"}, gatehouse.Units{Input: 272_001}, 272_001 * 5000, true},
		{"and one that it may not", Of{Model: "gpt-5.4", Tier: "default"}, gatehouse.Units{Input: 272_000}, 272_000 * 2500, true},
		{"writing to a cache is the dearest input", Of{Model: "claude-haiku-4-5", Dialect: gatehouse.Azure}, gatehouse.Units{Input: 100}, 100 * 1250, true},
		{"audio that may be in it", Of{Model: "gpt-4o-audio-preview"}, gatehouse.Units{Input: 100, InputAudio: 60}, 40*2500 + 60*40000, true},
		{"a size that is left to the model", Of{Model: "dall-e-3"}, gatehouse.Units{Images: 1}, 120_000_000, true},
		{"a size that is said", Of{Model: "dall-e-3", Size: "1792x1024", Quality: "standard"}, gatehouse.Units{Images: 1}, 80_000_000, true},
		{"an unknown model", Of{Model: "llama-of-mine"}, gatehouse.Units{Input: 1}, 0, false},
		{"audio without a price", Of{Model: "gpt-4o"}, gatehouse.Units{Input: 1, InputAudio: 1}, 0, false},
		{"tools", Of{Model: "gpt-5", Tier: "default"}, gatehouse.Units{WebSearches: 2, Containers: 1}, 2*10_000_000 + 30_000_000, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.of.Dialect == "" {
				tt.of.Dialect = gatehouse.OpenAI
			}
			if got, known := BuiltIn().Bound(&tt.of, &tt.most); known != tt.known || known && got != tt.want {
				t.Errorf("Bound(%+v, %+v) = %d, %v; want %d, %v", tt.of, tt.most, got, known, tt.want, tt.known)
			}
		})
	}
}

func TestPricingAllocatesNothing(t *testing.T) {
	table, err := BuiltIn().With([]Override{{Organization: "org-1", Upstream: "east", Model: "gpt-4o", Terms: &Terms{Cost: Cost{"input": usd, "output": 2 * usd}}}})
	if err != nil {
		t.Fatal(err)
	}
	of := Of{Organization: "org-1", Upstream: "west", Dialect: gatehouse.OpenAI, Model: "gpt-4o-mini-2024-07-18"}
	u := gatehouse.Units{Input: 1200, Cached: 1024, Output: 300, WebSearches: 1}
	if n := testing.AllocsPerRun(100, func() {
		table.Cost(&of, &u)
		table.Bound(&of, &u)
		table.Limits(&of)
	}); n != 0 {
		t.Errorf("pricing one usage allocates %v times", n)
	}
}
