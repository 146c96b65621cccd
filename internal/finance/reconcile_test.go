package finance_test

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"gatehouse"
	"gatehouse/internal/dialect/bill"
	"gatehouse/internal/finance"
)

// line is a line of a bill: quantity at USD for 1,000,000, in micro-USD.
func line(model, meter string, quantity, microPerMillion int64) bill.Line {
	return bill.Line{Model: model, Meter: meter, Text: model + ", " + meter, Quantity: quantity, Quantified: true, Priced: true,
		Cost: gatehouse.NanoUSD(quantity * microPerMillion / 1000)}
}

// TestPlantedCauses gives each cause alone and in company, and finds it, to the nano-dollar.
func TestPlantedCauses(t *testing.T) {
	const m = 1_000_000
	input := finance.Ours{Model: "gpt-4o", Meter: "input", Quantity: 2 * m, Cost: 5 * usd, Requests: 100}
	output := finance.Ours{Model: "gpt-4o", Meter: "output", Quantity: m, Cost: 10 * usd, Requests: 100}
	with := func(o finance.Ours, change func(*finance.Ours)) finance.Ours { change(&o); return o }
	agreed := []bill.Line{line("gpt-4o-2024-08-06", "input", 2*m, 2_500_000), line("gpt-4o-2024-08-06", "output", m, 10_000_000)}
	for _, c := range []struct {
		name    string
		ours    []finance.Ours
		theirs  []bill.Line
		options finance.ReconcileOptions
		want    map[finance.Cause]gatehouse.NanoUSD
	}{
		{name: "they agree", ours: []finance.Ours{input, output}, theirs: agreed, want: map[finance.Cause]gatehouse.NanoUSD{}},
		{name: "a price of ours is too low", ours: []finance.Ours{with(input, func(o *finance.Ours) { o.Cost = 4 * usd }), output}, theirs: agreed,
			want: map[finance.Cause]gatehouse.NanoUSD{finance.PriceDiffers: usd}},
		{name: "a price was unknown", ours: []finance.Ours{with(input, func(o *finance.Ours) { o.Cost, o.Unpriced = 0, o.Quantity }), output}, theirs: agreed,
			want: map[finance.Cause]gatehouse.NanoUSD{finance.UnknownPrice: 5 * usd}},
		{name: "a price was unknown of half", ours: []finance.Ours{with(input, func(o *finance.Ours) { o.Cost, o.Unpriced = 2.5*usd, m }), output}, theirs: agreed,
			want: map[finance.Cause]gatehouse.NanoUSD{finance.UnknownPrice: 2.5 * usd}},
		{name: "cached tokens were counted as input", // litellm #34801
			ours: []finance.Ours{with(input, func(o *finance.Ours) { o.Quantity, o.Cost = 3*m, 7.5*usd })},
			theirs: []bill.Line{line("gpt-4o", "input", 2*m, 2_500_000),
				line("gpt-4o", "input_cached", m, 1_250_000)},
			want: map[finance.Cause]gatehouse.NanoUSD{finance.QuantityInput: -2.5 * usd, finance.QuantityCached: 1.25 * usd}},
		{name: "cache writes were billed at the price of input", // litellm #42663
			ours:   []finance.Ours{{Model: "gpt-5", Meter: "input_cache_write", Quantity: m, Cost: 1.25 * usd, Requests: 4}},
			theirs: []bill.Line{line("gpt-5", "input_cache_write", m, 1_562_500)},
			want:   map[finance.Cause]gatehouse.NanoUSD{finance.PriceDiffers: 312_500_000}},
		{name: "more cache writes than were counted",
			ours:   []finance.Ours{{Model: "gpt-5", Meter: "input_cache_write", Quantity: m, Cost: 2 * usd, Requests: 4}},
			theirs: []bill.Line{line("gpt-5", "input_cache_write", 2*m, 2_000_000)},
			want:   map[finance.Cause]gatehouse.NanoUSD{finance.QuantityCacheWrite: 2 * usd}},
		{name: "streams were counted at nothing", // litellm #37923
			ours: []finance.Ours{input}, theirs: agreed,
			want: map[finance.Cause]gatehouse.NanoUSD{finance.QuantityOutput: 10 * usd}},
		{name: "another model", ours: []finance.Ours{input, output}, theirs: append(slices.Clone(agreed), line("o3-2025-04-16", "output", m, 8_000_000)),
			want: map[finance.Cause]gatehouse.NanoUSD{finance.NotThrough: 8 * usd}},
		{name: "another project", ours: []finance.Ours{input, output},
			theirs:  append(theirProject("proj_ours", agreed), theirProject("proj_lab", agreed[:1])...),
			options: finance.ReconcileOptions{Projects: []string{"proj_ours"}}, want: map[finance.Cause]gatehouse.NanoUSD{finance.NotThrough: 5 * usd}},
		{name: "something without a meter", ours: []finance.Ours{input, output}, theirs: append(slices.Clone(agreed), bill.Line{Text: "file search storage", Cost: 30_000_000}),
			want: map[finance.Cause]gatehouse.NanoUSD{finance.NotCounted: 30_000_000}},
		{name: "a hosted tool that nobody called here", ours: []finance.Ours{input, output}, theirs: append(slices.Clone(agreed), bill.Line{Text: "web search tool calls", Meter: "web_searches", Cost: 30_000_000}),
			want: map[finance.Cause]gatehouse.NanoUSD{finance.NotCounted: 30_000_000}},
		{name: "a hosted tool", ours: []finance.Ours{input, output, {Meter: "web_searches", Quantity: 2, Cost: 20_000_000, Requests: 2}},
			theirs: append(slices.Clone(agreed), bill.Line{Text: "web search tool calls", Meter: "web_searches", Cost: 30_000_000, Quantity: 3, Quantified: true}),
			want:   map[finance.Cause]gatehouse.NanoUSD{finance.QuantityOther: 10_000_000}},
		{name: "the edges", ours: []finance.Ours{input, with(output, func(o *finance.Ours) { o.EdgeOutside, o.EdgeInside = usd, 3*usd })},
			theirs: []bill.Line{agreed[0], line("gpt-4o", "output", m+150_000, 10_000_000)},
			want:   map[finance.Cause]gatehouse.NanoUSD{finance.Timing: usd, finance.QuantityOutput: 500_000_000}},
		{name: "the edges, on the other side", ours: []finance.Ours{input, with(output, func(o *finance.Ours) { o.EdgeOutside, o.EdgeInside = usd, 3*usd })},
			theirs: []bill.Line{agreed[0], line("gpt-4o", "output", m-200_000, 10_000_000)},
			want:   map[finance.Cause]gatehouse.NanoUSD{finance.Timing: -2 * usd}},
		{name: "estimates", ours: []finance.Ours{input, with(output, func(o *finance.Ours) { o.Estimated = 3 * usd })},
			theirs: []bill.Line{agreed[0], line("gpt-4o", "output", m-200_000, 10_000_000)},
			want:   map[finance.Cause]gatehouse.NanoUSD{finance.EstimatedUsage: -2 * usd}},
		{name: "rounding", ours: []finance.Ours{with(input, func(o *finance.Ours) { o.Cost += 37 }), output}, theirs: agreed,
			want: map[finance.Cause]gatehouse.NanoUSD{finance.Rounding: -37}},
		{name: "Azure's names", ours: []finance.Ours{with(input, func(o *finance.Ours) { o.Model = "gpt-4o-2024-08-06" })},
			theirs: []bill.Line{line("gpt-4o-0806", "input", 2*m, 2_750_000)}, want: map[finance.Cause]gatehouse.NanoUSD{finance.PriceDiffers: 500_000_000}},
		{name: "a name that was mapped", ours: []finance.Ours{input}, theirs: []bill.Line{line("contoso-special", "input", 2*m, 2_500_000)},
			options: finance.ReconcileOptions{Models: map[string]string{"contoso-special": "gpt-4o"}}, want: map[finance.Cause]gatehouse.NanoUSD{}},
		{name: "two versions of one model keep their prices", ours: []finance.Ours{with(input, func(o *finance.Ours) { o.Model = "gpt-4o-2024-05-13"; o.Cost = 10 * usd }),
			with(input, func(o *finance.Ours) { o.Model = "gpt-4o-2024-08-06" })},
			theirs: []bill.Line{line("gpt-4o-2024-05-13", "input", 2*m, 5_000_000), line("gpt-4o-2024-08-06", "input", 2*m, 2_500_000)}, want: map[finance.Cause]gatehouse.NanoUSD{}},
		{name: "a cost without a quantity", ours: []finance.Ours{input, output}, theirs: []bill.Line{{Model: "gpt-4o", Meter: "input", Cost: 6 * usd}, agreed[1]},
			want: map[finance.Cause]gatehouse.NanoUSD{finance.PriceDiffers: usd}},
		{name: "all at once", ours: []finance.Ours{with(input, func(o *finance.Ours) { o.Cost = 4 * usd }), with(output, func(o *finance.Ours) { o.Estimated = usd / 2 })},
			theirs: []bill.Line{agreed[0], line("gpt-4o", "output", m+100_000, 10_000_000), line("o3", "input", m, 2_000_000)},
			want:   map[finance.Cause]gatehouse.NanoUSD{finance.PriceDiffers: usd, finance.EstimatedUsage: usd / 2, finance.QuantityOutput: usd / 2, finance.NotThrough: 2 * usd}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := finance.Reconcile(c.ours, c.theirs, &c.options)
			if got := nonZero(r.Causes); !maps.Equal(got, c.want) {
				t.Errorf("causes %v, want %v; lines %+v", got, c.want, r.Lines)
			}
			agree(t, r)
		})
	}
}

func theirProject(project string, lines []bill.Line) []bill.Line {
	out := slices.Clone(lines)
	for i := range out {
		out[i].Project = project
	}
	return out
}

func nonZero(causes map[finance.Cause]gatehouse.NanoUSD) map[finance.Cause]gatehouse.NanoUSD {
	out := map[finance.Cause]gatehouse.NanoUSD{}
	for c, n := range causes {
		if n != 0 {
			out[c] = n
		}
	}
	return out
}

// agree checks that causes and lines add up to the variance.
func agree(t interface{ Errorf(string, ...any) }, r *finance.Reconciliation) {
	var causes, lines gatehouse.NanoUSD
	for _, n := range r.Causes {
		causes += n
	}
	for i := range r.Lines {
		lines += r.Lines[i].Amount
	}
	if causes != r.Variance() || lines != r.Variance() {
		t.Errorf("causes add up to %d and lines to %d, the variance is %d", causes, lines, r.Variance())
	}
}

// TestCausesAddUp compares random books with random bills.
func TestCausesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := rapid.SampledFrom([]string{"gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-0806", "o3", ""})
		meter := rapid.SampledFrom([]string{"input", "input_cached", "output", "images", ""})
		n := rapid.Int64Range(0, 1<<40)
		var ours []finance.Ours
		for range rapid.IntRange(0, 6).Draw(t, "ours") {
			o := finance.Ours{Model: model.Draw(t, "model"), Meter: meter.Draw(t, "meter"), Quantity: n.Draw(t, "n"), Cost: gatehouse.NanoUSD(n.Draw(t, "cost")), Requests: n.Draw(t, "requests"),
				Estimated: gatehouse.NanoUSD(n.Draw(t, "estimated")), EdgeInside: gatehouse.NanoUSD(n.Draw(t, "inside")), EdgeOutside: gatehouse.NanoUSD(n.Draw(t, "outside"))}
			o.Unpriced = rapid.Int64Range(0, o.Quantity).Draw(t, "unpriced")
			ours = append(ours, o)
		}
		var theirs []bill.Line
		for range rapid.IntRange(0, 6).Draw(t, "theirs") {
			theirs = append(theirs, bill.Line{Model: model.Draw(t, "model"), Meter: meter.Draw(t, "meter"), Quantity: rapid.Int64Range(-5, 1<<40).Draw(t, "n"), Quantified: rapid.Bool().Draw(t, "quantified"),
				Cost: gatehouse.NanoUSD(rapid.Int64Range(-1<<30, 1<<50).Draw(t, "cost")), Project: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "project")})
		}
		r := finance.Reconcile(ours, theirs, &finance.ReconcileOptions{Projects: rapid.SampledFrom([][]string{nil, {"a"}}).Draw(t, "projects"), Tolerance: 0.01})
		agree(t, r)
		if again := finance.Reconcile(ours, theirs, &finance.ReconcileOptions{Projects: nil}); again.Ours != r.Ours || again.Theirs != r.Theirs {
			t.Errorf("totals depend on the projects")
		}
	})
}
