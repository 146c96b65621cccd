package prices

import (
	"fmt"
	"math"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"gatehouse"
)

// TestFindFindsWhatSearchDoes: whatever was asked before, at whatever times, and however often, an answer is what the table says.
func TestFindFindsWhatSearchDoes(t *testing.T) {
	organizations, upstreams := []string{"", "org-1", "org-2"}, []string{"", "east", "west", "ast"}
	models := []string{"m", "m-2026-01-02", "m-0613", "ft:m:acme::1", "n", AnyModel, "gpt-4o", "gpt-4o-2024-08-06", "nobody"}
	dialects := []gatehouse.Dialect{gatehouse.OpenAI, gatehouse.Azure, gatehouse.Mock}
	rapid.Check(t, func(t *rapid.T) {
		var overrides []Override
		for range rapid.IntRange(0, 12).Draw(t, "prices") {
			o := Override{Organization: rapid.SampledFrom(organizations).Draw(t, "organization"), Upstream: rapid.SampledFrom(upstreams).Draw(t, "upstream"),
				Dialect: rapid.SampledFrom(dialects).Draw(t, "dialect"), Model: rapid.SampledFrom(models).Draw(t, "model"),
				From: gatehouse.Millis(rapid.IntRange(0, 5).Draw(t, "from")), Terms: &Terms{Cost: Cost{"web_searches": usd}}}
			overrides = append(overrides, o)
		}
		table, err := BuiltIn().With(overrides)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			of := Of{Organization: rapid.SampledFrom(organizations).Draw(t, "of organization"), Upstream: rapid.SampledFrom(upstreams).Draw(t, "of upstream"),
				Dialect: rapid.SampledFrom(dialects).Draw(t, "of dialect"), Model: rapid.SampledFrom(models).Draw(t, "of model"),
				At: gatehouse.Millis(rapid.IntRange(0, 6).Draw(t, "at"))}
			got := table.find(&of)
			want, s := table.search(&of)
			if got.text = nil; got != want || of.At < s.from || of.At >= s.until {
				t.Fatalf("%+v: found %+v, the table says %+v from %d until %d", of, got, want, s.from, s.until)
			}
		}
	})
}

// TestAPriceOfAnotherTableIsNotKept: a table that takes another's place prices by its own versions from its first answer on.
func TestAPriceOfAnotherTableIsNotKept(t *testing.T) {
	of, u := Of{Organization: "org-1", Dialect: gatehouse.OpenAI, Model: "m"}, gatehouse.Units{Input: 1}
	table := BuiltIn()
	for _, price := range []gatehouse.NanoUSD{1000, 2000, 5000} {
		var err error
		table, err = table.With([]Override{{Organization: "org-1", Dialect: gatehouse.OpenAI, Model: "m", Terms: &Terms{Cost: Cost{"input": gatehouse.USD(price) * 1_000_000}}}})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got, ok := table.Cost(&of, &u); got != price || !ok {
				t.Errorf("cost = %d, %v; want %d", got, ok, price)
			}
			if got, ok := table.Bound(&of, &u); got != price || !ok {
				t.Errorf("bound = %d, %v; want %d", got, ok, price)
			}
		}
	}
}

// TestAPriceBeginsAtItsTime: what was found until then is found no longer, and again for what is of the time before.
func TestAPriceBeginsAtItsTime(t *testing.T) {
	table, err := BuiltIn().With([]Override{
		{Organization: "org-1", Dialect: gatehouse.OpenAI, Model: "gpt-4o", From: 1000, Terms: &Terms{Cost: Cost{"input": 7 * usd, "output": 0}}},
		{Organization: "org-1", Upstream: "east", Model: "gpt-4o-2024-08-06", From: 2000, Terms: &Terms{Cost: Cost{"input": 9 * usd, "output": 0}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	u := gatehouse.Units{Input: 1}
	for range 3 {
		for at, want := range map[gatehouse.Millis]gatehouse.NanoUSD{0: 2500, 999: 2500, 1000: 7000, 1999: 7000, 2000: 9000, math.MaxInt64 - 1: 9000, math.MaxInt64: 9000} {
			of := Of{Organization: "org-1", Upstream: "east", Dialect: gatehouse.OpenAI, Model: "gpt-4o-2024-08-06", Tier: "default", At: at}
			if got, ok := table.Cost(&of, &u); got != want || !ok {
				t.Errorf("at %d: cost = %d, %v; want %d", at, got, ok, want)
			}
			if got, ok := table.Bound(&of, &u); got != want || !ok {
				t.Errorf("at %d: bound = %d, %v; want %d", at, got, ok, want)
			}
		}
	}
}

// TestNamesMadeUpKeepNothingOut: callers who make up one name after another cost next to no memory, and a model that is asked for again
// and again is kept beside them. What is kept is a copy: the name of a request is in memory that the next one uses again.
func TestNamesMadeUpKeepNothingOut(t *testing.T) {
	table, n := BuiltIn(), 0
	table = &Table{builtIn: table.builtIn}
	name := make([]byte, 0, 64)
	one := func() {
		n++
		name = fmt.Appendf(name[:0], "gpt-4o-%08d", n)
		of := Of{Organization: "org-1", Dialect: gatehouse.OpenAI, Model: unsafe.String(&name[0], len(name))}
		if cost, ok := table.Cost(&of, &gatehouse.Units{Input: 1}); cost != 2500 || !ok {
			t.Fatalf("%s: cost = %d, %v", name, cost, ok)
		}
	}
	for range 20 * cachePlaces {
		one()
	}
	for i := range table.cache.places {
		if k := table.cache.places[i].Load(); k == nil || len(k.model) != len("gpt-4o-00000001") {
			t.Fatalf("place %d has %+v", i, k)
		}
	}
	if allocations := testing.AllocsPerRun(1000, one); allocations > 1 { // one is of Appendf's
		t.Errorf("a name made up allocates %v times", allocations)
	}
	often := Of{Organization: "org-1", Dialect: gatehouse.OpenAI, Model: "gpt-5.4"}
	for i := 0; ; i++ {
		table.Limits(&often)
		if f := table.find(&often); f.text != nil {
			break
		}
		if i > 100*keepEvery {
			t.Fatal("a model that is asked for again and again is not kept")
		}
	}
	long := Of{Model: string(make([]byte, maxKeptName+1))}
	empty := &Table{}
	for range 2 {
		empty.Limits(&long)
	}
	for i := range empty.cache.places {
		if empty.cache.places[i].Load() != nil {
			t.Fatal("a name that is too long is kept")
		}
	}
}

// TestTheBoundOfTextIsTheBound compares what ceilings say with what all prices say.
func TestTheBoundOfTextIsTheBound(t *testing.T) {
	builtIn := BuiltIn().Models()
	rapid.Check(t, func(t *rapid.T) {
		table, of := drawn(t), Of{Organization: "org-1", Dialect: gatehouse.OpenAI, Model: "m", Tier: rapid.SampledFrom(tierTexts).Draw(t, "asked")}
		if rapid.Bool().Draw(t, "a built-in model") {
			of.Model, of.Dialect = rapid.SampledFrom(builtIn).Draw(t, "model"), rapid.SampledFrom([]gatehouse.Dialect{gatehouse.OpenAI, gatehouse.Azure}).Draw(t, "dialect")
		}
		number := rapid.OneOf(rapid.Int64Range(0, 3000), rapid.Int64Range(0, 1_000_000), rapid.Int64Range(math.MaxInt64-2, math.MaxInt64))
		most := gatehouse.Units{Input: number.Draw(t, "input"), Output: number.Draw(t, "output")}
		table.find(&of)
		got, known := table.Bound(&of, &most)
		f, _ := table.search(&of)
		v := f.priced(&of)
		if v == nil {
			if known {
				t.Fatalf("%+v has a bound", of)
			}
			return
		}
		tiers, _ := reach(of.Tier)
		asked, _ := tierOf(of.Tier)
		if want, wantKnown := f.bound(&of, v, tiers, asked, &most); known != wantKnown || got != want && (known || max(most.Input, most.Output) < 1<<40) {
			t.Fatalf("%+v, %+v: bound %d, %v; of all prices %d, %v", of, most, got, known, want, wantKnown)
		}
	})
}
