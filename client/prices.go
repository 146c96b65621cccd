package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"

	"gatehouse"
)

// Price is what a model costs: USD for 1,000,000 units, by the names of units that docs/prices.md lists.
type Price struct {
	Answer
	ID            string            `json:"id,omitempty"`       // empty: a built-in one
	Origin        string            `json:"origin,omitempty"`   // organization or built_in
	Upstream      string            `json:"upstream,omitempty"` // the name of the one upstream it holds for
	Dialect       gatehouse.Dialect `json:"dialect,omitempty"`  // or every upstream that speaks this
	Model         string            `json:"model"`
	EffectiveFrom int64             `json:"effective_from,omitempty"` // unix seconds; 0: always

	Cost         map[string]gatehouse.USD `json:"cost,omitempty"`
	Context      []PriceContext           `json:"context,omitempty"`
	ServiceTiers map[string]PriceTier     `json:"service_tiers,omitempty"`
	Variants     []PriceVariant           `json:"variants,omitempty"`
	Limit        *PriceLimit              `json:"limit,omitempty"`

	Note      string `json:"note,omitempty"`
	Source    string `json:"source,omitempty"` // where the figures of a built-in price are from
	AsOf      string `json:"as_of,omitempty"`  // and the day they were looked at
	CreatedAt int64  `json:"created_at,omitempty"`
}

// PriceContext is the prices of a request with more input tokens than Above.
type PriceContext struct {
	Above int64                    `json:"above"`
	Cost  map[string]gatehouse.USD `json:"cost"`
}

// PriceTier is the prices at a service tier: what Cost does not say is Factor times the standard price.
type PriceTier struct {
	Factor  gatehouse.USD            `json:"factor,omitempty"` // a number, e.g. 0.5
	Cost    map[string]gatehouse.USD `json:"cost,omitempty"`
	Context []PriceContext           `json:"context,omitempty"`
}

// PriceVariant is the prices of one size, quality, or both.
type PriceVariant struct {
	Size    string                   `json:"size,omitempty"`
	Quality string                   `json:"quality,omitempty"`
	Cost    map[string]gatehouse.USD `json:"cost"`
}

// PriceLimit is what a model can take and give, in tokens; 0: not known.
type PriceLimit struct {
	Context int64 `json:"context,omitempty"`
	Input   int64 `json:"input,omitempty"`
	Output  int64 `json:"output,omitempty"`
}

// PriceQuery narrows a list of prices; what is empty does not.
type PriceQuery struct {
	Model  string
	Origin string // organization or built_in
}

// Prices lists the organization's own prices, then the built-in ones.
func (c *Client) Prices(ctx context.Context, q PriceQuery) iter.Seq2[*Price, error] {
	values := url.Values{}
	if q.Model != "" {
		values.Set("model", q.Model)
	}
	if q.Origin != "" {
		values.Set("origin", q.Origin)
	}
	return all[Price](ctx, c, values, "gatehouse", "v1", "prices")
}

// Price returns one of the organization's own prices.
func (c *Client) Price(ctx context.Context, id string) (*Price, error) {
	return do[Price](ctx, c, request{method: http.MethodGet, path: []string{"gatehouse", "v1", "prices", id}})
}

// PutPrice sets what a model costs from a time on, in the place of what was set for that time.
func (c *Client) PutPrice(ctx context.Context, p Price) (*Price, error) {
	p.ID, p.Origin, p.Source, p.AsOf, p.CreatedAt = "", "", "", "", 0 // the server's to give
	return do[Price](ctx, c, request{method: http.MethodPost, path: []string{"gatehouse", "v1", "prices"}, body: p})
}

// RemovePrice removes one of the organization's own prices.
func (c *Client) RemovePrice(ctx context.Context, id string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: []string{"gatehouse", "v1", "prices", id}})
}
