package admin_test

import (
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/ledger/prices"
)

const pricesManifest = `
upstreams:
- {name: gpu, dialect: openai, base_url: "https://gpu.example.com/v1", credential: {key: "env://GPU"}}
deployments:
- {name: smart, routes: [{upstream: gpu, model: prod-7, priced_as: our-llama}]}
prices:
- model: gpt-4o
  note: the contract of spring
  cost: {input: 2.25, cache_read: "1.125", output: 9}
- model: gpt-4o
  effective_from: 2026-09-01
  cost: {input: 2.1, output: 8.4}
  service_tiers: {batch: {factor: 0.4}, priority: {cost: {input: 4, output: 16}}}
- upstream: gpu
  model: our-llama
  effective_from: 2026-09-01T12:30:00+02:00
  cost: {input: 0.000000001, output: 0}
  context: [{above: 8000, cost: {input: 1}}]
  variants: [{size: 1024x1024, cost: {images: 1000}}]
  limit: {context: 131072, output: 8192}
- {model: "*", dialect: azure, cost: {web_searches: 8000}}
`

func TestPricesInManifest(t *testing.T) {
	o := open(t)
	all := "create upstream; create deployment; create price; create price; create price; create price"
	if got := kinds(applied(t, o, pricesManifest, admin.ApplyOptions{DryRun: true})); got != all {
		t.Errorf("dry run: %q, want %q", got, all)
	}
	if got := kinds(applied(t, o, pricesManifest, admin.ApplyOptions{})); got != all {
		t.Errorf("plan: %q, want %q", got, all)
	}
	if again := applied(t, o, pricesManifest, admin.ApplyOptions{Prune: true}); len(again) != 0 {
		t.Errorf("applied again: %+v", again)
	}
	list := must[[]gatehouse.Price](t)(o.Prices(t.Context(), o.who))
	var names []string
	for _, p := range list {
		names = append(names, strings.Join([]string{p.Model, p.Upstream, string(p.Dialect), p.Note}, "/"))
	}
	if got, want := strings.Join(names, " "), "*//azure/ gpt-4o//openai/the contract of spring gpt-4o//openai/ our-llama/gpu//"; got != want {
		t.Errorf("prices %q, want %q", got, want)
	}
	if got, want := list[3].Terms, `{"cost":{"input":"0.000000001","output":"0.00"},"context":[{"above":8000,"cost":{"input":"1.00"}}],`+
		`"variants":[{"size":"1024x1024","cost":{"images":"1000.00"}}],"limit":{"context":131072,"output":8192}}`; got != want {
		t.Errorf("terms %s\nwant  %s", got, want)
	}
	if d := must[[]gatehouse.Deployment](t)(o.Deployments(t.Context(), o.who)); d[0].Routes[0].PricedAs != "our-llama" {
		t.Errorf("route %+v", d[0].Routes[0])
	}
	changed := strings.Replace(pricesManifest, "output: 8.4", "output: 8.5", 1)
	if got := kinds(applied(t, o, changed, admin.ApplyOptions{})); got != "update price" {
		t.Errorf("changed: %q", got)
	}
	fewer := changed[:strings.Index(changed, "- upstream: gpu")]
	if got := kinds(applied(t, o, fewer, admin.ApplyOptions{Prune: true})); got != "delete price; delete price" {
		t.Errorf("pruned: %q", got)
	}
	none := fewer[:strings.Index(fewer, "prices:")]
	if got := kinds(applied(t, o, none, admin.ApplyOptions{Prune: true})); got != "" {
		t.Errorf("a manifest without prices prunes %q", got)
	}
	for text, param := range map[string]string{
		`prices: [{model: gpt-4o, cost: {inputs: 1}}]`:                                     "cost",
		`prices: [{model: gpt-4o, cost: {input: -1}}]`:                                     "cost",
		`prices: [{model: "", cost: {input: 1}}]`:                                          "model",
		`prices: [{model: m, upstream: nowhere, cost: {input: 1}}]`:                        "upstream",
		`prices: [{model: m, dialect: acme, cost: {input: 1}}]`:                            "dialect",
		`prices: [{model: m, effective_from: soon, cost: {input: 1}}]`:                     "prices",
		`prices: [{model: "*", cost: {input: 1}}]`:                                         "cost",
		`prices: [{model: m, service_tiers: {express: {factor: 2}}}]`:                      "cost",
		`prices: [{model: m, cost: {input: 1}}, {model: m, cost: {input: 2}}]`:             "prices",
		`prices: [{model: m, note: "` + strings.Repeat("x", 600) + `", cost: {input: 1}}]`: "note",
	} {
		m, err := admin.ParseManifest([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		_, err = o.Apply(t.Context(), o.who, m, admin.ApplyOptions{})
		if e, ok := err.(*gatehouse.Error); !ok || e.Kind != gatehouse.Invalid || e.Param != param {
			t.Errorf("%s: %v, want an error about %s", text, err, param)
		}
	}
	if _, err := admin.ParseManifest([]byte(`prices: [{model: m, cost: {input: 1e3}}]`)); err == nil {
		t.Error("a price with an exponent is read")
	}
}

func kinds(plan []admin.PlanItem) string {
	var out []string
	for _, p := range plan {
		out = append(out, p.Action+" "+p.Kind)
	}
	return strings.Join(out, "; ")
}

// TestPricesAreAudited: what a price was before stands in the event that changed it, and another organization sees none of it.
func TestPricesAreAudited(t *testing.T) {
	o := open(t)
	spec := admin.PriceSpec{Model: "gpt-4o", Terms: prices.Terms{Cost: prices.Cost{"input": 2_000_000_000}}}
	p := must[*gatehouse.Price](t)(o.PutPrice(t.Context(), o.who, spec))
	seq := o.lastSeq(t)
	if again := must[*gatehouse.Price](t)(o.PutPrice(t.Context(), o.who, spec)); again.ID != p.ID || o.lastSeq(t) != seq {
		t.Errorf("the same price again: %+v", again)
	}
	spec.Terms.Cost["input"] = 3_000_000_000
	if changed := must[*gatehouse.Price](t)(o.PutPrice(t.Context(), o.who, spec)); changed.ID != p.ID || changed.Rev != p.Rev+1 {
		t.Errorf("changed: %+v, was %+v", changed, p)
	}
	stranger := *o.who
	stranger.Organization = "org-other"
	stranger.Actor = gatehouse.Actor{Kind: gatehouse.ActorHost}
	if _, err := o.RemovePrice(t.Context(), &stranger, p.ID); gatehouse.KindOf(err) != gatehouse.NotFound {
		t.Errorf("another organization removes it: %v", err)
	}
	if _, err := o.RemovePrice(t.Context(), o.who, p.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Price(t.Context(), o.who, p.ID); gatehouse.KindOf(err) != gatehouse.NotFound {
		t.Errorf("a removed price: %v", err)
	}
	var got []string
	for _, e := range o.eventsAfter(t, seq-1) {
		got = append(got, e.Type)
		if e.Type == "price.updated" && (!strings.Contains(string(e.Change), `"before":{"cost":{"input":"2.00"}}`) || !strings.Contains(string(e.Change), `"price":{"cost":{"input":"3.00"}}`)) {
			t.Errorf("change %s", e.Change)
		}
	}
	if text := strings.Join(got, " "); text != "price.created price.updated price.deleted" {
		t.Errorf("events %s", text)
	}
}
