package prices

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatehouse"
)

const usd = gatehouse.USD(1_000_000_000)

var update = flag.Bool("update", false, "write the golden files")

// TestTable holds the whole built-in table to a golden file, so that a change of any price is seen where it is reviewed.
func TestTable(t *testing.T) {
	var out bytes.Buffer
	line := func(indent, what string, r *rates) {
		if r.known == 0 {
			return
		}
		fmt.Fprintf(&out, "%s%s:", indent, what)
		for x := range rateCount {
			if r.has(x) {
				fmt.Fprintf(&out, " %s %s", rateNames[x], gatehouse.USD(r.per[x]).String())
			}
		}
		out.WriteByte('\n')
	}
	table := BuiltIn()
	for _, provider := range slices.Sorted(maps.Keys(table.builtIn)) {
		for _, model := range slices.Sorted(maps.Keys(table.builtIn[provider])) {
			for _, v := range table.builtIn[provider][model] {
				fmt.Fprintf(&out, "%s %s", provider, model)
				if v.from != 0 {
					fmt.Fprintf(&out, " from %s", v.from.Time().UTC().Format("2006-01-02"))
				}
				if v.asOf != "" {
					fmt.Fprintf(&out, " as of %s", v.asOf)
				}
				if v.limits != (Limits{}) {
					fmt.Fprintf(&out, " limits %d/%d/%d", v.limits.Context, v.limits.Input, v.limits.Output)
				}
				out.WriteByte('\n')
				line("\t", "standard", &v.standard.rates)
				for i := range v.standard.contexts {
					line("\t", fmt.Sprintf("above %d", v.standard.contexts[i].above), &v.standard.contexts[i].rates)
				}
				for at, p := range v.tiers {
					if p != nil && p.numerator != 0 {
						fmt.Fprintf(&out, "\t%s: %d/%d of the standard price\n", tierNames[at], p.numerator, p.denominator)
					}
					if p != nil {
						line("\t", tierNames[at], &p.rates)
					}
				}
				for i := range v.variants {
					line("\t", strings.TrimSpace(v.variants[i].size+" "+v.variants[i].quality), &v.variants[i].rates)
				}
			}
		}
	}
	name := filepath.Join("testdata", "table.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		got, want := strings.Split(out.String(), "\n"), strings.Split(string(want), "\n")
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("%s:%d: got %q, want %q (go test -update writes it)", name, i+1, got[i], want[i])
			}
		}
		t.Fatalf("the table has %d lines, %s %d (go test -update writes it)", len(got), name, len(want))
	}
}

// TestPricesHoldFromADay: a usage is priced by the price of its own time, an operator's as well as a built-in one.
func TestPricesHoldFromADay(t *testing.T) {
	table, err := Parse([]byte(`{"providers": {"openai": {"m": {"cost": {"input": 1, "output": 4}, "limit": {"output": 9}}}}}`),
		[]byte(`{"providers": {"openai": {"m": [{"from": "2026-03-01", "source": "example.com", "as_of": "2026-03-02", "cost": {"input": "2"}}]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	day := func(s string) gatehouse.Millis {
		at, err := date(s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	table, err = table.With([]Override{
		{Organization: "org-1", Dialect: gatehouse.OpenAI, Model: "m", From: day("2026-06-01"), Terms: &Terms{Cost: Cost{"input": 3 * usd, "output": 3 * usd}}},
		{Organization: "org-1", Dialect: gatehouse.OpenAI, Model: "m", From: day("2026-05-01"), Terms: &Terms{Cost: Cost{"input": 5 * usd}}},
		{Organization: "org-1", Upstream: "east", Model: "m", From: day("2026-06-01"), Terms: &Terms{Cost: Cost{"input": 0}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	u := gatehouse.Units{Input: 1}
	for _, tt := range []struct {
		organization, upstream, at string
		want                       gatehouse.NanoUSD
	}{
		{"org-1", "", "2026-01-01", 1000}, {"org-1", "", "2026-02-28", 1000}, {"org-1", "", "2026-03-01", 2000},
		{"org-1", "", "2026-05-01", 5000}, {"org-1", "", "2026-06-01", 3000}, {"org-2", "", "2026-06-01", 2000},
		{"org-1", "east", "2026-05-31", 5000}, {"org-1", "east", "2026-06-01", 0}, {"org-1", "west", "2026-06-01", 3000},
	} {
		of := Of{Organization: tt.organization, Upstream: tt.upstream, Dialect: gatehouse.OpenAI, Model: "m", At: day(tt.at)}
		if got, ok := table.Cost(&of, &u); !ok || got != tt.want {
			t.Errorf("%+v: cost = %d, %v; want %d", tt, got, ok, tt.want)
		}
		if l, ok := table.Limits(&of); !ok || l.Output != 9 {
			t.Errorf("%+v: limits = %+v, %v", tt, l, ok)
		}
	}
	// What an override does not say is not known: it does not mix with the price it replaces.
	of := Of{Organization: "org-1", Dialect: gatehouse.OpenAI, Model: "m", At: day("2026-05-02")}
	if got, ok := table.Cost(&of, &gatehouse.Units{Output: 1}); ok {
		t.Errorf("output without a price costs %d", got)
	}
}

func TestOverridesOfToolsAndTiers(t *testing.T) {
	table, err := BuiltIn().With([]Override{{Organization: "org-1", Dialect: gatehouse.OpenAI, Model: AnyModel,
		Terms: &Terms{Cost: Cost{"web_searches": 8000 * usd}, ServiceTiers: map[string]TierTerms{"batch": {Factor: usd * 4 / 10}}}}})
	if err != nil {
		t.Fatal(err)
	}
	of := Of{Organization: "org-1", Dialect: gatehouse.OpenAI, Model: "gpt-4o", Tier: Batch}
	if got, ok := table.Cost(&of, &gatehouse.Units{Input: 1000, WebSearches: 1, FileSearches: 1}); !ok || got != 1_000_000+8_000_000+2_500_000 {
		t.Errorf("cost = %d, %v", got, ok)
	}
	if _, err := BuiltIn().With([]Override{{Model: AnyModel, Terms: &Terms{Cost: Cost{"input": usd}}}}); err == nil {
		t.Error("a price of tokens for any model is taken")
	}
}

func TestParseTermsRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"an unknown unit":          `{"cost": {"inputs": "1"}}`,
		"an unknown field":         `{"costs": {}}`,
		"a negative price":         `{"cost": {"input": "-1"}}`,
		"a text":                   `{"cost": {"input": "cheap"}}`,
		"an exponent":              `{"cost": {"input": 1e3}}`,
		"too fine a price of time": `{"cost": {"audio_seconds": "0.0000001"}}`,
		"an unknown tier":          `{"service_tiers": {"express": {"factor": "0.5"}}}`,
		"the standard tier":        `{"service_tiers": {"default": {"factor": "0.5"}}}`,
		"a negative factor":        `{"service_tiers": {"flex": {"factor": "-1"}}}`,
		"too fine a factor":        `{"service_tiers": {"flex": {"factor": "0.33333333"}}}`,
		"a context of nothing":     `{"context": [{"above": 0, "cost": {"input": "1"}}]}`,
		"two contexts of one size": `{"context": [{"above": 5, "cost": {"input": "1"}}, {"above": 5, "cost": {"input": "2"}}]}`,
		"a variant of nothing":     `{"variants": [{"cost": {"images": "1"}}]}`,
		"a negative limit":         `{"limit": {"output": -1}}`,
		"two values":               `{} {}`,
	} {
		if _, err := ParseTerms([]byte(text)); err == nil {
			t.Errorf("%s is taken: %s", name, text)
		}
	}
}

func FuzzTable(f *testing.F) {
	f.Add([]byte(`{"providers": {"openai": {"m": {"cost": {"input": 1, "tiers": [{"input": 2, "tier": {"size": 5}}]}}}}}`), []byte(nil))
	f.Add([]byte(nil), []byte(`{"providers": {"azure": {"*": [{"source": "example.com", "as_of": "2026-01-01", "service_tiers": {"batch": {"factor": "0.5"}}}]}}}`))
	f.Add([]byte(nil), []byte(`{"providers": {"openai": {"m": [{"source": "example.com", "as_of": "2026-01-01", "cost": {"images": "1"}, "variants": [{"size": "a", "cost": {"images": "2"}}]}]}}}`))
	f.Fuzz(func(t *testing.T, tokens, units []byte) {
		table, err := Parse(tokens, units)
		if err != nil {
			return
		}
		u := gatehouse.Units{Input: 10, Output: 10, Images: 1, WebSearches: 1}
		for _, model := range table.Models() {
			for _, tier := range tierTexts {
				of := Of{Dialect: gatehouse.OpenAI, Model: model, Tier: tier}
				cost, ok := table.Cost(&of, &u)
				bound, sure := table.Bound(&of, &u)
				if cost < 0 || bound < 0 || ok && sure && cost > bound {
					t.Errorf("%s at %q costs %d, %v; bound %d, %v", model, tier, cost, ok, bound, sure)
				}
			}
		}
	})
}

func FuzzTerms(f *testing.F) {
	f.Add([]byte(`{"cost": {"input": "2.5", "audio_seconds": 100}, "service_tiers": {"priority": {"cost": {"input": "4.25"}, "context": [{"above": 1, "cost": {}}]}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		terms, err := ParseTerms(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(terms)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseTerms(again); err != nil {
			t.Errorf("%s is read, what it is written as is not: %v", text, err)
		}
	})
}
