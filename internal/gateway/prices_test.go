package gateway_test

import (
	"context"
	"testing"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/ledger/prices"
)

const usd = gatehouse.USD(1_000_000_000)

func (g *gate) price(spec admin.PriceSpec) *gatehouse.Price {
	g.tb.Helper()
	p, err := g.admin.PutPrice(context.Background(), g.who, spec)
	must(g.tb, err)
	return p
}

// TestAPriceTypoIsCorrectedAtOnce: a price that is wrong by far makes a hard budget refuse; setting it right, or removing it, is all
// that it takes, and nobody has to touch what was spent.
func TestAPriceTypoIsCorrectedAtOnce(t *testing.T) {
	g, _ := newMoney(t)
	g.budget(10)
	ask := func() int {
		return g.do("POST", "/v1/chat/completions", `{"model":"smart","max_tokens":5,"messages":[]}`).status
	}
	if got := ask(); got != 200 {
		t.Fatalf("before: %d", got)
	}
	typo := admin.PriceSpec{Model: "gpt-4o", Terms: prices.Terms{Cost: prices.Cost{"input": 2_500_000 * usd, "output": 10_000_000 * usd}}}
	p := g.price(typo)
	if got := ask(); got != 429 {
		t.Fatalf("with the typo: %d", got)
	}
	typo.Terms.Cost = prices.Cost{"input": 25 * usd / 10, "output": 10 * usd}
	if q := g.price(typo); q.ID != p.ID {
		t.Errorf("corrected as another price: %+v", q)
	}
	if got := ask(); got != 200 {
		t.Errorf("corrected: %d", got)
	}
	typo.Terms.Cost = prices.Cost{"input": 2_500_000 * usd, "output": 10_000_000 * usd}
	g.price(typo)
	if got := ask(); got != 429 {
		t.Errorf("with the typo again: %d", got)
	}
	if _, err := g.admin.RemovePrice(context.Background(), g.who, p.ID); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got != 200 {
		t.Errorf("removed: %d", got)
	}
}

// TestCachedTokensCostWhatTheyCost keeps the costs of cached and written input apart, where others count all of it at one rate.
func TestCachedTokensCostWhatTheyCost(t *testing.T) {
	g, s := newMoney(t)
	g.price(admin.PriceSpec{Model: "gpt-4o", Terms: prices.Terms{Cost: prices.Cost{"input": 4 * usd, "cache_read": usd / 10, "cache_write": 5 * usd, "output": 10 * usd}}})
	s.set(respond(200, "application/json", chatSays("gpt-4o-2024-08-06", "default", `{"prompt_tokens":1000,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":600,"cache_write_tokens":300}}`)))
	u := g.usage(g.do("POST", "/v1/chat/completions", `{"model":"smart","max_tokens":50,"messages":[]}`).id())
	if want := nano(t, []part{tokens(100, "4"), tokens(600, "0.1"), tokens(300, "5"), tokens(10, "10")}, ""); u == nil || u.Cost != want || !u.CostKnown {
		t.Errorf("usage %+v, want %d", u, want)
	}
}

// TestAStreamCostsWhatItSays: streams are priced as bodies are, whichever of the two endpoints they come from, whether or not their
// caller asked for usage.
func TestAStreamCostsWhatItSays(t *testing.T) {
	g, s := newMoney(t)
	s.set(respond(200, eventStream, "data: {\"id\":\"c\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n"+
		"data: {\"id\":\"c\",\"model\":\"gpt-4o\",\"choices\":[],\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":10}}\n\ndata: [DONE]\n\n"))
	chat := g.usage(g.do("POST", "/v1/chat/completions", `{"model":"smart","stream":true,"max_tokens":50,"messages":[]}`).id())
	s.set(respond(200, eventStream, "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"model\":\"gpt-4o\",\"status\":\"completed\",\"usage\":{\"input_tokens\":1000,\"output_tokens\":10}}}\n\n"))
	response := g.usage(g.do("POST", "/v1/responses", `{"model":"smart","stream":true,"max_output_tokens":50,"input":"x"}`).id())
	want := nano(t, []part{tokens(1000, "2.50"), tokens(10, "10")}, "")
	for _, u := range []*gatehouse.Usage{chat, response} {
		if u == nil || u.Cost != want || !u.CostKnown || u.Confidence != gatehouse.Reported {
			t.Errorf("usage %+v, want %d", u, want)
		}
	}
}

// TestAHoldIsAtTheDearestTier: what the caller leaves to the account may be served as priority, so that is what is held; one that says
// the standard tier is held at its price.
func TestAHoldIsAtTheDearestTier(t *testing.T) {
	g, s := newMoney(t)
	const body = `{"model":"smart","max_tokens":1000000,"messages":[]`
	g.budget(12) // a million tokens of output: 10 USD, and as priority 17
	s.set(respond(200, "application/json", chatSays("gpt-4o-2024-08-06", "default", `{"prompt_tokens":10,"completion_tokens":1}`)))
	if a := g.do("POST", "/v1/chat/completions", body+`}`); a.status != 429 {
		t.Errorf("left to the account: %d %s", a.status, a.body)
	}
	if a := g.do("POST", "/v1/chat/completions", body+`,"service_tier":"default"}`); a.status != 200 {
		t.Errorf("at the standard tier: %d %s", a.status, a.body)
	}
}
