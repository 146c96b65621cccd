package finance_test

import (
	"fmt"
	"testing"

	"gatehouse"
	"gatehouse/internal/finance"
	"gatehouse/internal/store"
)

// within adds up what was used from one minute to another.
func within(t testing.TB, b *finance.Books, start, end gatehouse.Millis) (sum gatehouse.NanoUSD) {
	t.Helper()
	err := b.DB.View(t.Context(), func(tx *store.Tx) error {
		for at := start; at < end; at += 7 * day {
			buckets, err := tx.UsageBuckets(store.UsageQuery{Organization: org, Start: at, End: min(end, at+7*day), Width: "1m"})
			if err != nil {
				return err
			}
			for _, bucket := range buckets {
				for _, r := range bucket.Results {
					sum += r.Cost
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// TestChargebackIsCosts shows that charges add up to the costs of their month, in time zones whose months begin within hours and
// minutes of UTC, shared costs or not.
func TestChargebackIsCosts(t *testing.T) {
	onEngines(t, 2000, func(t *testing.T, b *finance.Books) {
		for _, name := range []string{"UTC", "America/New_York", "Asia/Kolkata", "Australia/Eucla"} {
			z := zone(t, name)
			start, december := gatehouse.Window{Period: gatehouse.Monthly}.Bounds(begin+14*day, z)
			_, end := gatehouse.Window{Period: gatehouse.Monthly}.Bounds(december, z)
			want := map[gatehouse.Millis]gatehouse.NanoUSD{start: within(t, b, start, december), december: within(t, b, december, end)}
			for _, by := range [][]string{{finance.ByProject}, {finance.ByCostCenter}, {"label:team", finance.ByModel}, {finance.ByKey, finance.ByUser}} {
				for _, spread := range []bool{false, true} {
					q := finance.ChargebackQuery{Start: start, End: end, Zone: z, By: by, Spread: spread}
					charges, err := b.Chargeback(t.Context(), &q)
					if spread && q.Check() != nil {
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					direct, total := map[gatehouse.Millis]gatehouse.NanoUSD{}, map[gatehouse.Millis]gatehouse.NanoUSD{}
					for i := range charges {
						direct[charges[i].Month] += charges[i].Direct
						total[charges[i].Month] += charges[i].Total()
					}
					if fmt.Sprint(direct) != fmt.Sprint(want) || fmt.Sprint(total) != fmt.Sprint(want) {
						t.Errorf("%s by %v, spread %v: direct %v, total %v, want %v", name, by, spread, direct, total, want)
					}
				}
			}
		}
	})
}

// TestCostCenters shows whose label counts, and where what has none stands.
func TestCostCenters(t *testing.T) {
	b := books(t, sqlite(t), 600)
	q := finance.ChargebackQuery{Start: begin, End: begin + 45*day, Zone: zone(t, "UTC"), By: []string{finance.ByCostCenter, finance.ByProject}}
	charges := must[[]finance.Charge](t)(b.Chargeback(t.Context(), &q))
	found := map[string]bool{}
	for _, c := range charges {
		found[c.Groups[0]+" "+c.Groups[1]] = true
	}
	want := []string{"4711 proj_0", "4712 proj_1", "4713 proj_1", finance.Unlabelled + " proj_2"} // a key's own label wins
	if len(found) != len(want) {
		t.Errorf("%v, want %v", found, want)
	}
	for _, w := range want {
		if !found[w] {
			t.Errorf("%s is missing among %v", w, found)
		}
	}
	q.Spread = true
	for _, c := range must[[]finance.Charge](t)(b.Chargeback(t.Context(), &q)) {
		if none := c.Groups[0] == finance.Unlabelled; none != (c.Total() == 0) || none != (c.Shared < 0) {
			t.Errorf("spread: %+v", c)
		}
	}
}

func TestChargebackRefuses(t *testing.T) {
	b := books(t, sqlite(t), 1)
	for name, q := range map[string]finance.ChargebackQuery{
		"by nothing":     {Start: 0, End: day},
		"by anything":    {Start: 0, End: day, By: []string{"weather"}},
		"by no label":    {Start: 0, End: day, By: []string{"label:"}},
		"backwards":      {Start: day, End: 0, By: []string{"project"}},
		"spread nothing": {Start: 0, End: day, By: []string{"project"}, Spread: true},
	} {
		if _, err := b.Chargeback(t.Context(), &q); gatehouse.KindOf(err) != gatehouse.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestForecastOfBooks shows that a forecast has the month's spent costs in it, and that the parts are those of the whole.
func TestForecastOfBooks(t *testing.T) {
	onEngines(t, 2000, func(t *testing.T, b *finance.Books) {
		for _, name := range []string{"UTC", "Asia/Kolkata"} {
			q := finance.ForecastQuery{Now: begin + 35*day + 9*hour, Zone: zone(t, name), By: finance.ByProject}
			forecasts := must[[]finance.Forecast](t)(b.Forecast(t.Context(), &q))
			all := forecasts[0]
			if want := within(t, b, all.Start, q.Now); all.Spent < want || len(forecasts) != 4 {
				t.Fatalf("%s: spent %d of %d forecasts, want at least %d", name, all.Spent, len(forecasts), want)
			}
			var parts gatehouse.NanoUSD
			for _, f := range forecasts[1:] {
				parts += f.Spent
				if f.Name == f.ID || f.Low < f.Spent || f.Expected < f.Low || f.High < f.Expected {
					t.Errorf("%s: %+v", name, f)
				}
			}
			if parts != all.Spent {
				t.Errorf("%s: the parts spent %d, the whole %d", name, parts, all.Spent)
			}
			if again := must[[]finance.Forecast](t)(b.Forecast(t.Context(), &q)); fmt.Sprint(again) != fmt.Sprint(forecasts) {
				t.Errorf("%s: asked again the forecast is another", name)
			}
		}
	})
}

func TestTrendOfBooks(t *testing.T) {
	b := books(t, sqlite(t), 2000)
	for _, period := range []gatehouse.Period{gatehouse.Daily, gatehouse.Weekly, gatehouse.Monthly} {
		q := finance.TrendQuery{Now: begin + 36*day, Zone: zone(t, "Asia/Kolkata"), Period: period, Count: 1}
		steps, moved, err := b.Trend(t.Context(), &q)
		if err != nil || len(steps) != 2 || !steps[0].Complete || steps[1].Complete {
			t.Fatalf("%s: %+v %v", period, steps, err)
		}
		for _, s := range steps {
			if want := within(t, b, s.Start, s.End); s.Cost != want {
				t.Errorf("%s from %d: %d, want %d", period, s.Start, s.Cost, want)
			}
		}
		var change, projects gatehouse.NanoUSD
		change = steps[0].Cost - within(t, b, before(steps[0].Start, period, &q), steps[0].Start)
		for i := range moved {
			if moved[i].By == finance.ByProject {
				projects += moved[i].Change()
			}
		}
		if projects != change {
			t.Errorf("%s: projects moved by %d, everything by %d", period, projects, change)
		}
	}
}

func before(at gatehouse.Millis, period gatehouse.Period, q *finance.TrendQuery) gatehouse.Millis {
	start, _ := gatehouse.Window{Period: period}.Bounds(at-1, q.Zone)
	return start
}

// TestOursIsCosts shows that what is compared with a bill is the costs of that provider's upstreams, and that both providers together
// are everything.
func TestOursIsCosts(t *testing.T) {
	onEngines(t, 2000, func(t *testing.T, b *finance.Books) {
		want, _, _, _ := costs(t, b, begin, begin+30*day)
		var got gatehouse.NanoUSD
		for _, dialect := range []gatehouse.Dialect{gatehouse.OpenAI, gatehouse.Azure} {
			ours, estimates, err := b.Ours(t.Context(), begin, begin+30*day, func(u *gatehouse.Upstream) bool { return u.Dialect == dialect })
			if err != nil || estimates.Requests == 0 || estimates.Cost == 0 {
				t.Fatal(estimates, err)
			}
			unpriced := int64(0)
			for _, o := range ours {
				got += o.Cost
				unpriced += o.Unpriced
			}
			if unpriced == 0 {
				t.Error("nothing without a price was found")
			}
		}
		if got != want {
			t.Errorf("%d, costs are %d", got, want)
		}
	})
}
