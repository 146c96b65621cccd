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
		{"no prefix matching", gatehouse.OpenAI, "gpt-4o-of-mine", "", gatehouse.Units{Input: 1}, 0, false},
		{"fine-tuned", gatehouse.OpenAI, "ft:gpt-4o-2024-08-06:acme::1", "", gatehouse.Units{Input: 1}, 3750, true},
		{"fine-tuned from something unknown", gatehouse.OpenAI, "ft:llama-of-mine:acme::1", "", gatehouse.Units{Input: 1}, 0, false},
		{"training", gatehouse.OpenAI, "gpt-4o-mini-2024-07-18", "", gatehouse.Units{Trained: 5768}, 5768 * 3000, true},
		{"training without a price", gatehouse.OpenAI, "o4-mini", "", gatehouse.Units{Trained: 1}, 0, false},
		{"unknown", gatehouse.OpenAI, "llama-of-mine", "", gatehouse.Units{Input: 1}, 0, false},
		{"only a date", gatehouse.OpenAI, "-2024-08-06", "", gatehouse.Units{Input: 1}, 0, false},
		{"empty", gatehouse.OpenAI, "", "", gatehouse.Units{Input: 1}, 0, false},
		{"not of this provider", gatehouse.OpenAI, "grok-4-20-reasoning", "", gatehouse.Units{Input: 1}, 0, false},
		{"mock plays openai", gatehouse.Mock, "gpt-4o", "", gatehouse.Units{Input: 1}, 2500, true},
		{"mock plays azure", gatehouse.Mock, "claude-haiku-4-5", "", gatehouse.Units{Input: 1}, 1000, true},
		{"no price in its row", gatehouse.OpenAI, "gpt-4o", "scale", gatehouse.Units{Input: 1}, 0, false},
		{"image tokens", gatehouse.OpenAI, "gpt-image-1", "", gatehouse.Units{Input: 50, InputText: 10, InputImage: 40, Output: 4160, OutputImage: 4160, Images: 1}, 10*5000 + 40*10000 + 4160*40000, true},
		{"cached image tokens", gatehouse.OpenAI, "gpt-image-1", "", gatehouse.Units{Input: 50, InputImage: 40, Cached: 30, CachedImage: 25}, 5*5000 + 5*1250 + 15*10000 + 25*2500, true},
		{"image tokens of a model that does not price them apart", gatehouse.OpenAI, "gpt-4o", "", gatehouse.Units{Input: 50, InputImage: 40, Cached: 45}, 5*2500 + 45*1250, true},
		{"audio tokens", gatehouse.OpenAI, "gpt-4o-audio-preview", "", gatehouse.Units{Input: 30, InputAudio: 20, Output: 50, OutputAudio: 40}, 10*2500 + 20*40000 + 10*10000 + 40*80000, true},
		{"cached audio tokens", gatehouse.OpenAI, "gpt-realtime", "", gatehouse.Units{Input: 132, InputAudio: 113, Cached: 64, CachedAudio: 63, Output: 121, OutputAudio: 91}, 18*4000 + 1*400 + 50*32000 + 63*400 + 30*16000 + 91*64000, true},
		{"seconds of audio", gatehouse.OpenAI, "whisper-1", "", gatehouse.Units{Milliseconds: 60_000}, 6_000_000, true},
		{"a model priced by seconds that nothing was counted for", gatehouse.OpenAI, "whisper-1", "", gatehouse.Units{Output: 100}, 0, false},
		{"seconds where tokens have the price", gatehouse.OpenAI, "gpt-4o-transcribe", "", gatehouse.Units{Milliseconds: 60_000}, 0, false},
		{"characters", gatehouse.OpenAI, "tts-1", "", gatehouse.Units{Characters: 4096, Input: 900}, 4096 * 15000, true},
		{"characters beside tokens that have the price", gatehouse.OpenAI, "gpt-4o-mini-tts", "", gatehouse.Units{Characters: 400, Input: 100, Output: 600, OutputAudio: 600}, 100*600 + 600*12000, true},
		{"one image", gatehouse.OpenAI, "dall-e-3", "", gatehouse.Units{Images: 1}, 40_000_000, true},
		{"video", gatehouse.OpenAI, "sora-2", "", gatehouse.Units{VideoMilliseconds: 8000}, 800_000_000, true},
		{"moderations are free", gatehouse.OpenAI, "omni-moderation-2024-09-26", "", gatehouse.Units{Input: 100}, 0, true},
		{"hosted tools", gatehouse.OpenAI, "gpt-5", "", gatehouse.Units{Input: 10, Output: 10, WebSearches: 3, FileSearches: 2, Containers: 1}, 10*1250 + 10*10000 + 3*10_000_000 + 2*2_500_000 + 30_000_000, true},
		{"the preview of web search costs what the model says", gatehouse.OpenAI, "gpt-4.1", "", gatehouse.Units{WebSearchPreviews: 1}, 25_000_000, true},
		{"or what any model does", gatehouse.OpenAI, "o3", "", gatehouse.Units{WebSearchPreviews: 1}, 10_000_000, true},
		{"a container of nobody's model", gatehouse.OpenAI, "", "", gatehouse.Units{Containers: 1}, 30_000_000, true},
		{"tools do not make a model known", gatehouse.OpenAI, "llama-of-mine", "", gatehouse.Units{Input: 1, WebSearches: 1}, 0, false},
		{"tools of a provider without a price for them", gatehouse.Azure, "gpt-4o", "", gatehouse.Units{Input: 1, FileSearches: 1}, 0, false},
		{"an image model's text", gatehouse.OpenAI, "gpt-image-2", "", gatehouse.Units{Input: 10, Output: 10, OutputImage: 10}, 10*5000 + 10*30000, true},
		{"an image model's image input", gatehouse.OpenAI, "gpt-image-2", "", gatehouse.Units{Input: 10, InputImage: 4}, 0, false},
		{"audio rate", gatehouse.Azure, "phi-4-multimodal", "", gatehouse.Units{Input: 10, InputAudio: 4, Output: 1}, 6*80 + 4*4000 + 320, true},
		{"audio without a rate", gatehouse.OpenAI, "gpt-4o", "", gatehouse.Units{Input: 10, InputAudio: 4}, 0, false},
		{"spoken without a rate", gatehouse.OpenAI, "gpt-4o", "", gatehouse.Units{Output: 10, OutputAudio: 4}, 0, false},
		{"output without a rate", gatehouse.Azure, "model-router", "", gatehouse.Units{Input: 10, Output: 4}, 0, false},
		{"counted in images", gatehouse.OpenAI, "gpt-4o", "", gatehouse.Units{Images: 1}, 0, false},
		{"flex is half", gatehouse.OpenAI, "gpt-5", "flex", gatehouse.Units{Input: 1000, Cached: 500, Output: 10}, (500*1250 + 500*125 + 10*10000) / 2, true},
		{"batch is half", gatehouse.OpenAI, "gpt-5", "batch", gatehouse.Units{Input: 1}, 625, true},
		{"half of tokens, the whole of tools", gatehouse.OpenAI, "gpt-5", "batch", gatehouse.Units{Input: 2, WebSearches: 1}, 1250 + 10_000_000, true},
		{"half of an odd price stays half", gatehouse.OpenAI, "text-embedding-ada-002", "batch", gatehouse.Units{Input: 1001}, 50050, true},
		{"priority", gatehouse.OpenAI, "gpt-5-2025-08-07", "priority", gatehouse.Units{Input: 1000, Cached: 500, Output: 10}, 500*2500 + 500*250 + 10*20000, true},
		{"priority without a price", gatehouse.OpenAI, "o1", "priority", gatehouse.Units{Input: 1}, 0, false},
		{"priority in a long context is not sold", gatehouse.OpenAI, "gpt-5.4", "priority", gatehouse.Units{Input: 300_000}, 0, false},
		{"a batch in a long context", gatehouse.OpenAI, "gpt-5.4", "batch", gatehouse.Units{Input: 300_000, Output: 2}, 300_000*2500 + 22500, true},
		{"a tier nobody knows", gatehouse.OpenAI, "gpt-5", "express", gatehouse.Units{Input: 1}, 0, false},
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

// priced are what a gateway asks again and again: one of a few models, of a few organizations and upstreams.
var priced = func() (list []Of) {
	for _, model := range []string{"gpt-4o-mini", "gpt-4o-2024-11-20", "gpt-5.4", "text-embedding-3-small"} {
		list = append(list, Of{Organization: "org-7Hq2mVx0", Upstream: "openai-east", Dialect: gatehouse.OpenAI, Model: model, At: 1_790_000_000_000},
			Of{Organization: "org-9Zk1bTe4", Upstream: "openai-west", Dialect: gatehouse.OpenAI, Model: model, At: 1_790_000_000_000})
	}
	return list
}()

func BenchmarkBound(b *testing.B) {
	table, most, i := BuiltIn(), gatehouse.Units{Input: 1200, Output: 300}, 0
	b.ReportAllocs()
	for b.Loop() {
		of := &priced[i%len(priced)]
		i++
		table.Limits(of)
		table.Bound(of, &most)
	}
}

func BenchmarkCosts(b *testing.B) {
	table, u, i := BuiltIn(), gatehouse.Units{Input: 1200, Cached: 1024, Output: 300}, 0
	b.ReportAllocs()
	for b.Loop() {
		of := &priced[i%len(priced)]
		i++
		table.Cost(of, &u)
	}
}

func BenchmarkSplit(b *testing.B) {
	table, u, i := BuiltIn(), gatehouse.Units{Input: 1200, Cached: 1024, Output: 300}, 0
	of := priced[0]
	cost, _ := table.Cost(&of, &u)
	b.ReportAllocs()
	for b.Loop() {
		of := &priced[i%2]
		i++
		table.Split(of, &u, cost)
	}
}
