package adminapi

import (
	"context"
	"encoding/json"
	"strings"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/ledger/prices"
)

// price is what a model costs as /gatehouse/v1 shows and takes it: USD for 1,000,000 units, exact decimals as text.
type price struct {
	Object        string            `json:"object,omitempty"`
	ID            string            `json:"id,omitempty"`     // empty: a built-in one
	Origin        string            `json:"origin,omitempty"` // "organization" or "built_in"
	Upstream      string            `json:"upstream,omitempty"`
	Dialect       gatehouse.Dialect `json:"dialect,omitempty"`
	Model         string            `json:"model"`
	EffectiveFrom int64             `json:"effective_from,omitempty"` // 0: always

	Cost         prices.Cost                 `json:"cost,omitempty"`
	Context      []prices.ContextTerms       `json:"context,omitempty"`
	ServiceTiers map[string]prices.TierTerms `json:"service_tiers,omitempty"`
	Variants     []prices.VariantTerms       `json:"variants,omitempty"`
	Limit        *prices.Limits              `json:"limit,omitempty"`

	Note      string `json:"note,omitempty"`
	Source    string `json:"source,omitempty"` // where the figures of a built-in price are from
	AsOf      string `json:"as_of,omitempty"`  // and the day they were looked at
	CreatedAt int64  `json:"created_at,omitempty"`
}

func (p *price) say(t *prices.Terms) {
	p.Cost, p.Context, p.ServiceTiers, p.Variants, p.Limit = t.Cost, t.Context, t.ServiceTiers, t.Variants, t.Limit
}

func showPrice(p *gatehouse.Price) (*price, string) {
	v := &price{Object: "gatehouse.price", ID: p.ID, Origin: "organization", Upstream: p.Upstream, Dialect: p.Dialect, Model: p.Model,
		EffectiveFrom: p.From.Seconds(), Note: p.Note, CreatedAt: p.CreatedAt.Seconds()}
	var t prices.Terms
	if err := json.Unmarshal([]byte(p.Terms), &t); err == nil { // what a newer version wrote is shown without what it says
		v.say(&t)
	}
	return v, p.ID
}

// listPrices shows the organization's own prices, and behind them the built-in ones: of a model, where one is asked for, and only its
// own with origin=organization.
func (a *API) listPrices(ctx context.Context, c *call) (any, error) {
	q := c.URL.Query()
	model, origin := q.Get("model"), q.Get("origin")
	if origin != "" && origin != "organization" && origin != "built_in" {
		return nil, gatehouse.InvalidParam("origin", "Invalid 'origin': it must be organization or built_in.")
	}
	own, err := a.cfg.Admin.Prices(ctx, c.who)
	if err != nil {
		return nil, err
	}
	var rows []*price
	for i := range own {
		if v, _ := showPrice(&own[i]); origin != "built_in" && (model == "" || strings.EqualFold(model, v.Model)) {
			rows = append(rows, v)
		}
	}
	if origin != "organization" {
		for _, r := range prices.BuiltIn().Rows() {
			if model != "" && !strings.EqualFold(model, r.Model) {
				continue
			}
			v := &price{Object: "gatehouse.price", Origin: "built_in", Dialect: r.Dialect, Model: r.Model, EffectiveFrom: r.From.Seconds(), Source: r.Source, AsOf: r.AsOf}
			v.say(&r.Terms)
			rows = append(rows, v)
		}
	}
	return listOf(rows, false, func(p **price) (*price, string) { return *p, (*p).ID }), nil
}

func (a *API) putPrice(ctx context.Context, c *call) (any, error) {
	req, err := body[price](c)
	if err != nil {
		return nil, err
	}
	p, err := a.cfg.Admin.PutPrice(ctx, c.who, admin.PriceSpec{Upstream: req.Upstream, Dialect: req.Dialect, Model: req.Model, From: gatehouse.Millis(req.EffectiveFrom * 1000),
		Note:  req.Note,
		Terms: prices.Terms{Cost: req.Cost, Context: req.Context, ServiceTiers: req.ServiceTiers, Variants: req.Variants, Limit: req.Limit}})
	return shown(p, err, showPrice)
}

func (a *API) price(ctx context.Context, c *call) (any, error) {
	p, err := a.cfg.Admin.Price(ctx, c.who, c.PathValue("price_id"))
	return shown(p, err, showPrice)
}

func (a *API) removePrice(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.RemovePrice(ctx, c.who, c.PathValue("price_id"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "gatehouse.price.deleted", ID: c.PathValue("price_id"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}
