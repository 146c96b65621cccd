package storetest

import (
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
)

// testPriceEntities takes a price through its life.
func testPriceEntities(t *testing.T, db *store.DB) {
	seed(t, db)
	run(t, db, entity[gatehouse.Price]{
		value: func() *gatehouse.Price {
			return &gatehouse.Price{ID: "price_x", Organization: "org-a", Upstream: "gpu", Model: "m", From: 7, Terms: `{"cost":{"input":"1.00"}}`, Note: "n", CreatedAt: 5}
		},
		change: func(p *gatehouse.Price) { p.Terms, p.Note, p.RemovedAt = `{}`, "", 9 },
		rev:    func(p *gatehouse.Price) *int64 { return &p.Rev },
		create: (*store.Tx).CreatePrice, save: (*store.Tx).SavePrice, each: (*store.Tx).EachPrice,
		get:    func(tx *store.Tx, p *gatehouse.Price) (*gatehouse.Price, error) { return tx.Price(p.ID) },
		rename: func(p *gatehouse.Price) { p.ID = "price_none" },
	})
	create := func(p gatehouse.Price) error {
		p.Organization, p.Terms = "org-a", "{}"
		_, err := db.Update(t.Context(), gatehouse.Event{Type: "price.created", Organization: "org-a"}, func(tx *store.Tx) error { return tx.CreatePrice(&p) })
		return err
	}
	for _, c := range []struct {
		price    gatehouse.Price
		conflict bool
	}{
		{gatehouse.Price{ID: "price_1", Dialect: gatehouse.OpenAI, Model: "m"}, false},
		{gatehouse.Price{ID: "price_2", Dialect: gatehouse.OpenAI, Model: "m"}, true},
		{gatehouse.Price{ID: "price_3", Dialect: gatehouse.OpenAI, Model: "m", From: 1}, false},
		{gatehouse.Price{ID: "price_4", Dialect: gatehouse.Azure, Model: "m"}, false},
		{gatehouse.Price{ID: "price_5", Upstream: "gpu", Model: "m"}, false},
	} {
		if err := create(c.price); (gatehouse.KindOf(err) == gatehouse.Conflict) != c.conflict || err != nil && !c.conflict {
			t.Errorf("create %s: %v, want conflict: %v", c.price.ID, err, c.conflict)
		}
	}
	look(t, db, func(tx *store.Tx) error {
		list, err := tx.Prices("org-a")
		if len(list) != 4 || list[0].ID != "price_4" {
			t.Errorf("live prices: %+v", list)
		}
		return err
	})
}
