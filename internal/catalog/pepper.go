package catalog

import (
	"context"

	"gatehouse"
)

// PepperKnown returns the highest version of the pepper that this and every live node knows: what is digested under it can be
// checked wherever it is presented. It reads the nodes' rows anew.
func (c *Catalog) PepperKnown(ctx context.Context) (int, error) {
	known := c.pepper()
	if c.single {
		return known, nil
	}
	v, err := c.nodes.list(ctx, c.db, c.nodes.clock.boot())
	if err != nil {
		return 0, err
	}
	for _, s := range v.rows {
		if !s.over(v.began) {
			known = min(known, int(s.pepper))
		}
	}
	return known, nil
}

// KeysByPepper counts the keys that can be used now by the version of the pepper they are digested under. It looks at every key:
// tens of milliseconds for a million.
func (c *Catalog) KeysByPepper(now gatehouse.Millis) map[int]int {
	counts := map[int]int{}
	c.replica.keys.each(func(k *Key) {
		if k.State(now) == gatehouse.Active {
			counts[int(k.PepperVersion)]++
		}
	})
	return counts
}
