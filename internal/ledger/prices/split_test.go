package prices_test

import (
	"testing"

	"pgregory.net/rapid"

	"gatehouse"
	"gatehouse/internal/ledger/prices"
)

// TestPartsSumToTheCost splits the cost of any usage of any model: the parts come to it to the nano-USD, and each is what its units alone
// would cost, within one.
func TestPartsSumToTheCost(t *testing.T) {
	table := prices.BuiltIn()
	models := table.Models()
	rapid.Check(t, func(t *rapid.T) {
		of := prices.Of{Dialect: gatehouse.OpenAI, Model: rapid.SampledFrom(models).Draw(t, "model"), Tier: rapid.SampledFrom([]string{"", "flex", "priority", prices.Batch}).Draw(t, "tier"), At: 1_780_000_000_000}
		var u gatehouse.Units
		for i, n := range []*int64{&u.Input, &u.Cached, &u.CacheWrite, &u.InputAudio, &u.CachedAudio, &u.InputImage, &u.CachedImage, &u.Output, &u.OutputAudio, &u.OutputImage, &u.Images,
			&u.Characters, &u.Milliseconds, &u.VideoMilliseconds, &u.Trained, &u.WebSearches, &u.WebSearchPreviews, &u.FileSearches, &u.Containers} {
			if rapid.IntRange(0, 3).Draw(t, "some") == 0 || i == 0 {
				*n = rapid.Int64Range(0, 300_000).Draw(t, "units")
			}
		}
		cost, known := table.Cost(&of, &u)
		parts := table.Split(&of, &u, cost)
		if !known {
			if parts != (gatehouse.Parts{}) {
				t.Fatalf("parts of nothing: %+v", parts)
			}
		}
		if parts.Sum() != cost {
			t.Fatalf("%+v of %+v: parts %+v come to %d, want %d", of, u, parts, parts.Sum(), cost)
		}
		for _, n := range parts.Fields() {
			if *n < 0 {
				t.Fatalf("a part is negative: %+v", parts)
			}
		}
		// A cost that was settled otherwise is divided whole as well.
		other := gatehouse.NanoUSD(rapid.Int64Range(-1_000_000, 1<<50).Draw(t, "other cost"))
		if parts := table.Split(&of, &u, other); parts.Sum() != other {
			t.Fatalf("parts %+v of %d come to %d", parts, other, parts.Sum())
		}
	})
}

// TestParts is a cost whose parts are known by heart, and whose rounding leaves one over.
func TestParts(t *testing.T) {
	table := prices.BuiltIn()
	of := prices.Of{Dialect: gatehouse.OpenAI, Model: "gpt-4o"} // 2.50, cached 1.25, output 10 USD
	u := gatehouse.Units{Input: 1000, Cached: 400, Output: 10, WebSearches: 0}
	cost, _ := table.Cost(&of, &u)
	want := gatehouse.Parts{Input: 600 * 2500, Cached: 400 * 1250, Output: 10 * 10_000}
	if parts := table.Split(&of, &u, cost); parts != want || parts.Sum() != cost {
		t.Errorf("parts %+v of %d, want %+v", parts, cost, want)
	}
	if parts := table.Split(&prices.Of{Model: "nobody-knows"}, &u, 7); parts != (gatehouse.Parts{Input: 7}) {
		t.Errorf("parts of a cost without prices: %+v", parts)
	}
}
