package catalog

import (
	"fmt"
	"log/slog"

	"gatehouse"
	"gatehouse/internal/ledger/prices"
)

// putPrice takes a price in, removed ones too, so that an older row never replaces it.
func (r *replica) putPrice(p *gatehouse.Price) outcome {
	if have := r.priceRows[p.ID]; have != nil && have.Rev >= p.Rev {
		return ignored
	}
	r.priceRows[p.ID], r.stalePrices = p, true
	return added // nobody's authority is narrower
}

func (r *replica) dropPrice(id string) {
	delete(r.priceRows, id)
	r.stalePrices = true
}

// OnPrices registers the function that is given the table of prices: at once, and after every change of a price before that is
// acknowledged. Register before Run, and one function only.
func (c *Catalog) OnPrices(f func(*prices.Table)) {
	c.onPrices = f
	c.publishPrices()
}

// publishPrices hands on the table with the prices of operators. One that a newer version of this program wrote and this one cannot
// read is left out, and what it stood for costs what it did before: a price locks nobody out.
func (c *Catalog) publishPrices() {
	if c.onPrices == nil {
		return
	}
	var list []*gatehouse.Price
	for _, p := range c.replica.priceRows {
		list = append(list, p)
	}
	c.replica.stalePrices = false
	c.onPrices(PriceTable(list, c.logger))
}

// PriceTable returns the built-in table with the prices of rows that are not removed. What cannot be read is logged and left out.
func PriceTable(rows []*gatehouse.Price, logger *slog.Logger) *prices.Table {
	table := prices.BuiltIn()
	var overrides []prices.Override
	for _, p := range rows {
		if p.RemovedAt != 0 {
			continue
		}
		terms, err := prices.ParseTerms([]byte(p.Terms))
		if err == nil {
			o := prices.Override{Organization: p.Organization, Upstream: p.Upstream, Dialect: p.Dialect, Model: p.Model, From: p.From, Terms: terms}
			if _, err = table.With([]prices.Override{o}); err == nil {
				overrides = append(overrides, o)
			}
		}
		if err != nil {
			logger.Error("a price cannot be read and is left out", "price_id", p.ID, "model", p.Model, "error", err)
		}
	}
	with, err := table.With(overrides)
	if err != nil {
		panic(fmt.Sprintf("prices that are good one by one are not together: %v", err))
	}
	return with
}
