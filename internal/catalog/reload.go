package catalog

import (
	"context"
	"fmt"
	"time"

	"gatehouse/internal/store"
)

// reloadTimeout bounds one attempt to load everything again.
const reloadTimeout = 5 * time.Minute

// sameEpoch returns errRestored when the database is not the one that is in memory.
func (c *Catalog) sameEpoch(tx *store.Tx) error {
	epoch, err := tx.Epoch()
	if err == nil && epoch != c.epoch {
		return errRestored
	}
	return err
}

// reload gives the lease up and loads everything again; the next passes take a new lease. Until it succeeds it is called again.
func (c *Catalog) reload(ctx context.Context) error {
	if c.lease.stands() {
		c.logger.Warn("the database was restored from a backup: nothing is accepted until everything is loaded again", "applied_seq", c.Applied())
	}
	c.lease.suspend()
	c.changed()
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	all, err := load(ctx, c.db)
	if err != nil {
		return fmt.Errorf("load the restored database: %w", err)
	}
	if err := c.keepUp(ctx, all.epoch, all.last); err != nil {
		return fmt.Errorf("keep what the restore changed: %w", err)
	}
	c.replica.adopt(all.replica)
	c.publishPrices()
	c.epoch = all.epoch
	c.nodes.restart()
	c.lag.restart(all.last)
	c.advance(batch{last: all.last, lastID: all.lastID})
	c.logger.Info("the restored database is loaded", "epoch", c.epoch, "applied_seq", c.Applied())
	return nil
}

// keepUp gives the keeper what was committed up to last while this node did not follow.
func (c *Catalog) keepUp(ctx context.Context, epoch, last int64) error {
	if c.keeper == nil {
		return nil
	}
	if c.keeper.Last() == 0 {
		c.keeper.Begin(last)
		return nil
	}
	for c.keeper.Last() < last {
		var keep func()
		err := c.db.View(ctx, func(tx *store.Tx) error {
			events, err := tx.EventsAfter(c.keeper.Last(), 4*batchSize)
			if err != nil {
				return err
			}
			to := last
			if n := len(events); n > 0 {
				to = events[n-1].Seq
			}
			keep, err = c.keeper.Read(tx, epoch, to, events)
			return err
		})
		if err != nil {
			return err
		}
		keep()
	}
	return nil
}

// adopt takes over everything another replica holds. Readers see one table after the other change, so nobody may serve meanwhile.
func (r *replica) adopt(from *replica) {
	r.organizations.adopt(&from.organizations)
	r.projects.adopt(&from.projects)
	r.users.adopt(&from.users)
	r.members.adopt(&from.members)
	r.accounts.adopt(&from.accounts)
	r.resources.adopt(&from.resources)
	r.certificates.adopt(&from.certificates)
	r.keys.adopt(&from.keys)
	r.upstreams.adopt(&from.upstreams)
	r.routes.adopt(&from.routes)
	r.budgets.adopt(&from.budgets)
	r.limits.adopt(&from.limits)
	r.access.adopt(&from.access)
	// Compilations go on counting: a later one must not look older than one of before.
	from.compiled += r.compiled
	r.parts, r.stale, r.compiled, r.policies = from.parts, from.stale, from.compiled, from.policies
	r.budgetRows, r.unbudgeted = from.budgetRows, from.unbudgeted
	r.limitRows, r.staleLimits = from.limitRows, from.staleLimits
	r.accessRows, r.staleAccess = from.accessRows, from.staleAccess
	r.priceRows, r.stalePrices = from.priceRows, from.stalePrices
}

// adopt takes over the values of a table that nothing was removed from.
func (t *table[K, V]) adopt(from *table[K, V]) {
	t.used = from.used
	t.live.Store(from.live.Load())
	t.slots.Store(from.slots.Load())
}
