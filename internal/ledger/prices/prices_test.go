package prices

import (
	"math"
	"slices"
	"strings"
	"testing"

	"gatehouse"
)

func TestCost(t *testing.T) {
	p := BuiltIn()
	tests := []struct {
		name     string
		provider gatehouse.Dialect
		model    string
		tier     string
		units    gatehouse.Units
		want     gatehouse.NanoUSD
		known    bool
	}{
		{"a million in", gatehouse.OpenAI, "gpt-4o", "", gatehouse.Units{Input: 1_000_000}, 2_500_000_000, true},
		{"in and out", gatehouse.OpenAI, "gpt-4o-mini", "default", gatehouse.Units{Input: 19, Output: 10}, 19*150 + 10*600, true},
		{"nothing consumed of a known model", gatehouse.OpenAI, "gpt-4o", "", gatehouse.Units{}, 0, true},
		{"cached at its rate", gatehouse.OpenAI, "gpt-4o", "", gatehouse.Units{Input: 2000, Cached: 1024}, 976*2500 + 1024*1250, true},
		{"cached more than input", gatehouse.OpenAI, "gpt-4o", "", gatehouse.Units{Input: 10, Cached: 1024}, 10 * 1250, true},
		{"a cached rate of 0 is none", gatehouse.OpenAI, "gpt-3.5-turbo", "", gatehouse.Units{Input: 1000, Cached: 1000}, 1000 * 500, true},
		{"no cached rate", gatehouse.OpenAI, "gpt-4", "", gatehouse.Units{Input: 1000, Cached: 1000}, 1000 * 30000, true},
		{"cache write", gatehouse.Azure, "claude-haiku-4-5", "", gatehouse.Units{Input: 1000, Cached: 400, CacheWrite: 100}, 500*1000 + 400*100 + 100*1250, true},
		{"reasoning is part of output", gatehouse.OpenAI, "o3", "", gatehouse.Units{Output: 100, Reasoning: 90}, 100 * 8000, true},
		{"embeddings", gatehouse.OpenAI, "text-embedding-3-small", "", gatehouse.Units{Input: 5}, 100, true},
		{"dated row wins", gatehouse.OpenAI, "gpt-4o-2024-05-13", "", gatehouse.Units{Input: 1}, 5000, true},
		{"dated name without a row", gatehouse.OpenAI, "gpt-4o-mini-2024-07-18", "", gatehouse.Units{Input: 1}, 150, true},
		{"dated name on azure", gatehouse.Azure, "gpt-4o-2024-08-06", "", gatehouse.Units{Input: 1}, 2500, true},
		{"short date", gatehouse.OpenAI, "gpt-4-0613", "", gatehouse.Units{Input: 1}, 30000, true},
		{"no prefix matching", gatehouse.OpenAI, "gpt-4o-audio-preview", "", gatehouse.Units{Input: 1}, 0, false},
		{"fine-tuned", gatehouse.OpenAI, "ft:gpt-4o-2024-08-06:acme::1", "", gatehouse.Units{Input: 1}, 0, false},
		{"unknown", gatehouse.OpenAI, "llama-of-mine", "", gatehouse.Units{Input: 1}, 0, false},
		{"only a date", gatehouse.OpenAI, "-2024-08-06", "", gatehouse.Units{Input: 1}, 0, false},
		{"empty", gatehouse.OpenAI, "", "", gatehouse.Units{Input: 1}, 0, false},
		{"not of this provider", gatehouse.OpenAI, "grok-4-20-reasoning", "", gatehouse.Units{Input: 1}, 0, false},
		{"mock plays openai", gatehouse.Mock, "gpt-4o", "", gatehouse.Units{Input: 1}, 2500, true},
		{"mock plays azure", gatehouse.Mock, "claude-haiku-4-5", "", gatehouse.Units{Input: 1}, 1000, true},
		{"no price in its row", gatehouse.OpenAI, "gpt-image-1", "", gatehouse.Units{Input: 1}, 0, false},
		{"an image model's text", gatehouse.OpenAI, "gpt-image-2", "", gatehouse.Units{Input: 10, Output: 10, OutputImage: 10}, 10*5000 + 10*30000, true},
		{"an image model's image input", gatehouse.OpenAI, "gpt-image-2", "", gatehouse.Units{Input: 10, InputImage: 4}, 0, false},
		{"audio rate", gatehouse.Azure, "phi-4-multimodal", "", gatehouse.Units{Input: 10, InputAudio: 4, Output: 1}, 6*80 + 4*4000 + 320, true},
		{"audio without a rate", gatehouse.OpenAI, "gpt-4o", "", gatehouse.Units{Input: 10, InputAudio: 4}, 0, false},
		{"spoken without a rate", gatehouse.OpenAI, "gpt-4o", "", gatehouse.Units{Output: 10, OutputAudio: 4}, 0, false},
		{"output without a rate", gatehouse.Azure, "model-router", "", gatehouse.Units{Input: 10, Output: 4}, 0, false},
		{"counted in images", gatehouse.OpenAI, "gpt-4o", "", gatehouse.Units{Images: 1}, 0, false},
		{"flex", gatehouse.OpenAI, "gpt-5", "flex", gatehouse.Units{Input: 1}, 0, false},
		{"batch", gatehouse.OpenAI, "gpt-5", "batch", gatehouse.Units{Input: 1}, 0, false},
		{"at the long-context size", gatehouse.Azure, "claude-opus-4-6", "", gatehouse.Units{Input: 200_000}, 200_000 * 5000, true},
		{"above it the whole request", gatehouse.Azure, "claude-opus-4-6", "", gatehouse.Units{Input: 200_001, Output: 2}, 200_001*10000 + 2*37500, true},
		{"negative", gatehouse.OpenAI, "gpt-4o", "", gatehouse.Units{Input: -1}, 0, false},
		{"beyond reason", gatehouse.OpenAI, "gpt-4o", "", gatehouse.Units{Input: math.MaxInt64, Output: math.MaxInt64}, 0, false},
		{"large and exact", gatehouse.OpenAI, "gpt-4o", "", gatehouse.Units{Input: 3_000_000_000_000_001}, 7_500_000_000_000_002_500, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, known := p.Cost(&Of{Dialect: tt.provider, Model: tt.model, Tier: tt.tier}, &tt.units)
			if got != tt.want || known != tt.known {
				t.Errorf("Cost(%s, %s, %+v, %q) = %d, %v; want %d, %v", tt.provider, tt.model, tt.units, tt.tier, got, known, tt.want, tt.known)
			}
		})
	}
}

func TestCostRoundsOnceHalfUp(t *testing.T) {
	// 0.0000005 USD for a million tokens are 500 nano-USD for a million: one token is a two-thousandth of one nano-USD.
	p, err := Parse([]byte(`{"providers": {"openai": {"m": {"cost": {"input": 0.0000005, "output": 0.0000005}}}}}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		units gatehouse.Units
		want  gatehouse.NanoUSD
	}{
		{gatehouse.Units{Input: 999}, 0},
		{gatehouse.Units{Input: 1000}, 1},
		{gatehouse.Units{Input: 500, Output: 500}, 1}, // rounded apart they were 0
		{gatehouse.Units{Input: 2999}, 1},
		{gatehouse.Units{Input: 3000}, 2},
	} {
		if got, known := p.Cost(&Of{Dialect: gatehouse.OpenAI, Model: "m"}, &tt.units); got != tt.want || !known {
			t.Errorf("Cost(%+v) = %d, %v; want %d", tt.units, got, known, tt.want)
		}
	}
}

func TestParsePricesRefuses(t *testing.T) {
	row := func(cost string) string { return `{"providers": {"openai": {"m": {"cost": {"input": ` + cost + `}}}}}` }
	for name, table := range map[string]string{
		"ten places":       row("0.0000000001"),
		"negative":         row("-1"),
		"exponent":         row("1e-3"),
		"too large":        row("99999999999"),
		"text":             row(`"cheap"`),
		"unknown provider": `{"providers": {"acme": {}}}`,
		"two values":       `{} {}`,
		"no json":          `input: 1`,
	} {
		if _, err := Parse([]byte(table), nil); err == nil {
			t.Errorf("%s: Parse(%s) succeeded", name, table)
		}
	}
	if n, err := ParseUSD("2.500000000000"); err != nil || n != 2_500_000_000 {
		t.Errorf("ParseUSD of trailing zeros = %d, %v", n, err)
	}
}

func TestModelsAndLimits(t *testing.T) {
	p := BuiltIn()
	names := p.Models()
	if !slices.IsSorted(names) || !slices.Contains(names, "gpt-4o") || !slices.Contains(names, "claude-opus-4-6") {
		t.Errorf("Models() = %v", names)
	}
	if got := len(slices.Compact(slices.Clone(names))); got != len(names) {
		t.Errorf("Models() repeats names: %d of %d differ", got, len(names))
	}
	if strings.Contains(strings.Join(names, " "), "*") {
		t.Error("Models() has a wildcard")
	}
	got, ok := p.Limits(&Of{Dialect: gatehouse.OpenAI, Model: "gpt-4o-2024-08-06"})
	if want := (Limits{Context: 128000, Output: 16384}); got != want || !ok {
		t.Errorf("Limits(gpt-4o-2024-08-06) = %+v, %v; want %+v", got, ok, want)
	}
	if _, ok := p.Limits(&Of{Dialect: gatehouse.OpenAI, Model: "nobody"}); ok {
		t.Error("Limits of an unknown model are known")
	}
}

func BenchmarkCost(b *testing.B) {
	p := BuiltIn()
	u := gatehouse.Units{Input: 1200, Cached: 1024, Output: 300}
	b.ReportAllocs()
	of := Of{Dialect: gatehouse.OpenAI, Model: "gpt-4o-2024-08-06"}
	for b.Loop() {
		if _, ok := p.Cost(&of, &u); !ok {
			b.Fatal("unknown")
		}
	}
}
