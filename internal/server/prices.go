package server

import (
	"context"

	"gatehouse"
	"gatehouse/internal/catalog"
	"gatehouse/internal/ledger/prices"
	"gatehouse/internal/store"
)

// loadPrices returns the table of prices as it stands now. What the ledger recovers is priced before the catalog is there.
func (s *Server) loadPrices(ctx context.Context) (*prices.Table, error) {
	var rows []*gatehouse.Price
	err := s.db.View(ctx, func(tx *store.Tx) error {
		rows = nil
		return tx.EachPrice(func(p *gatehouse.Price) error {
			rows = append(rows, p)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return catalog.PriceTable(rows, s.log), nil
}
