package server

import (
	"gatehouse"
	"gatehouse/internal/finance"
	"gatehouse/internal/ledger/prices"
)

// pricer prices single units for an organization's reports, by the table that is in force. Usage keeps what it cost when it was
// settled: here is only asked how that cost is divided among units.
func (s *Server) pricer(organization string) finance.Pricer {
	table := s.ledger.Prices()
	return func(sku *finance.Sku, u gatehouse.Units) (gatehouse.NanoUSD, bool) {
		of := prices.Of{Organization: organization, Dialect: gatehouse.OpenAI, Tier: sku.ServiceTier, At: sku.At}
		if sku.Upstream != nil {
			of.Dialect, of.Upstream = sku.Upstream.Dialect, sku.Upstream.Name
		}
		if sku.Batch {
			of.Tier = prices.Batch
		}
		for _, model := range []string{sku.Model, sku.Deployment} {
			if of.Model = model; model == "" {
				continue
			}
			if cost, ok := table.Cost(&of, &u); ok {
				return cost, true
			}
		}
		return 0, false
	}
}
