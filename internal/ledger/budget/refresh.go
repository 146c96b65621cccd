package budget

import (
	"context"
	"errors"
	"slices"

	"gatehouse"
	"gatehouse/internal/store"
)

const (
	// activeFor is how long after its last hold a window is looked at with every refresh; then its slice goes back.
	activeFor gatehouse.Millis = 10_000
	// forgetAfter is how long after its last hold a window is forgotten: the database knows all of it.
	forgetAfter gatehouse.Millis = 600_000
	// seedFor is how long after a window's row was made what was spent outside of slices is looked for, at growing intervals: usage of
	// requests that the budget did not bind yet may arrive late.
	seedFor gatehouse.Millis = 3_600_000
	// pruneEvery is how often kept holds whose windows have ended are deleted, and how long after.
	pruneEvery gatehouse.Millis = 60_000
)

// Refresh brings what this node knows and what the database knows together: it learns of amounts, of what other nodes spent, of what was
// credited and released; gives back what others need or this node does not; takes more before it is needed; and tells of thresholds. The
// caller records nothing meanwhile, and everything of earlier processes is recorded.
func (a *Accounts) Refresh(ctx context.Context) error {
	now := gatehouse.MillisOf(a.cfg.Now())
	busy := a.due(now)
	defer func() {
		for _, w := range busy {
			w.turn <- struct{}{}
		}
	}()
	if len(busy) == 0 {
		return nil
	}
	if now-a.pruned >= pruneEvery || now < a.pruned {
		a.pruned = now
		if _, err := a.cfg.DB.PruneKept(ctx, now-pruneEvery); err != nil {
			return err
		}
	}
	rows, err := a.look(ctx, busy, now)
	if err != nil {
		return err
	}
	var errs []error
	for _, w := range busy {
		if rows[w] == nil || rows[w].SeededAt == 0 {
			if err := a.read(ctx, w, a.budgetOf(w)); err != nil {
				errs = append(errs, err)
			}
			continue
		}
		errs = append(errs, a.balance(ctx, w, rows[w], now), a.seed(ctx, w, rows[w], now))
	}
	return errors.Join(errs...)
}

func (a *Accounts) budgetOf(w *window) *gatehouse.Budget {
	a.mu.Lock()
	defer a.mu.Unlock()
	return w.account.budget
}

// due returns the windows that are to be looked at, with their turns, and forgets what is over.
func (a *Accounts) due(now gatehouse.Millis) (busy []*window) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, w := range a.windows {
		idle := now - w.used
		empty := w.held == 0 && w.pending == 0
		if empty && (w.id.End <= now && idle > activeFor || idle > forgetAfter) {
			delete(a.windows, id)
			clear(a.chains)
			continue
		}
		if empty && idle > 2*activeFor && w.loaded {
			continue // it gave its slice back
		}
		select {
		case <-w.turn:
			busy = append(busy, w)
		default: // a request waits for it: it sees the database soon enough
		}
	}
	slices.SortFunc(busy, func(x, y *window) int {
		if x.id.Budget != y.id.Budget {
			if x.id.Budget < y.id.Budget {
				return -1
			}
			return 1
		}
		return int(min(1, max(-1, x.id.Start-y.id.Start)))
	})
	return busy
}

// look reads what the database knows of windows. A database that was restored since is another one: what this node held of the last it
// holds no more, and takes nothing until every node knows.
func (a *Accounts) look(ctx context.Context, busy []*window, now gatehouse.Millis) (map[*window]*store.WindowRow, error) {
	byID := make(map[gatehouse.BudgetWindow]*window, len(busy))
	var budgets []string
	earliest := now
	for _, w := range busy {
		byID[w.id] = w
		earliest = min(earliest, max(0, w.id.End-1)) // of windows that have ended too
		if len(budgets) == 0 || budgets[len(budgets)-1] != w.id.Budget {
			budgets = append(budgets, w.id.Budget)
		}
	}
	var rows []store.WindowRow
	var known []gatehouse.Budget
	var epoch int64
	err := a.cfg.DB.View(ctx, func(tx *store.Tx) (err error) {
		if epoch, err = tx.Epoch(); err != nil {
			return err
		}
		if known, err = tx.BudgetsNamed(budgets); err != nil {
			return err
		}
		rows, err = tx.BudgetWindows(budgets, earliest)
		return err
	})
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	for i := range known {
		b := &known[i]
		if acct := a.budgets[b.ID]; acct != nil && acct.budget.Rev < b.Rev {
			b.Zone = acct.budget.Zone // the catalog says when that becomes another
			acct.budget = b
		}
	}
	if a.epoch >= 0 && epoch != a.epoch {
		a.cfg.Logger.Warn("the database was restored: budgets are counted from what it knows, and no slices are taken until every node knows")
		a.held = true
		for _, w := range a.windows {
			w.loaded, w.granted = false, 0
		}
	}
	a.epoch = epoch
	held := a.held
	a.mu.Unlock()
	if held && (a.cfg.Everywhere == nil || a.cfg.Everywhere(ctx)) {
		a.mu.Lock()
		a.held = false
		a.mu.Unlock()
	}
	found := make(map[*window]*store.WindowRow, len(rows))
	for i := range rows {
		if w := byID[rows[i].Window]; w != nil {
			found[w] = &rows[i]
		}
	}
	return found, nil
}

// apply takes in what the database says. The caller holds Accounts.mu and nothing is being recorded.
func (w *window) apply(row *store.WindowRow, node string, amount gatehouse.NanoUSD, now gatehouse.Millis) {
	w.granted, w.spent, w.others = 0, 0, row.Spent()
	for i := range row.Slices {
		if s := &row.Slices[i]; s.Node == node {
			w.granted, w.spent = s.Granted, s.Spent()
			w.others -= w.spent
		}
	}
	w.amount, w.left, w.looked = amount, amount-row.Allotted(), now
	w.until = 0 // what was refused may be free now
}

// balance applies a window's row, then gives back or takes what follows from it.
func (a *Accounts) balance(ctx context.Context, w *window, row *store.WindowRow, now gatehouse.Millis) error {
	a.mu.Lock()
	w.apply(row, a.cfg.Node, w.account.budget.AmountAt(now), now)
	w.loaded = true
	if !w.hard() {
		a.mu.Unlock()
		return nil
	}
	recalled := row.Recall > w.recall
	w.recall = row.Recall
	idle := now-w.used > activeFor
	if recalled {
		w.tight = now + tightFor
	}
	back, more := gatehouse.NanoUSD(0), false
	switch free := w.free(); {
	case free > 0 && (recalled || idle || w.left < 0):
		back = free
		w.granted -= back // nobody holds it any more, whatever becomes of the query
	case free < 0:
		more = true // it is spent and held: what others may have must be less by that
	case !idle && now >= w.tight && free < w.portion()/2:
		more = true
	}
	if a.held {
		more = false
	}
	a.mu.Unlock()
	switch {
	case back > 0:
		return a.cfg.DB.ReturnSlice(ctx, w.id, a.cfg.Node, back)
	case more:
		_, err := a.take(ctx, w, 0)
		return err
	}
	return nil
}

// seed looks again for what was spent without slices, as long as it may still arrive.
func (a *Accounts) seed(ctx context.Context, w *window, row *store.WindowRow, now gatehouse.Millis) error {
	age, looked := now-row.CreatedAt, row.SeededAt-row.CreatedAt
	if age > seedFor && looked > seedFor/2 || age < 2*looked+1_000 {
		return nil
	}
	b := a.budgetOf(w)
	var outside gatehouse.NanoUSD
	err := a.cfg.DB.View(ctx, func(tx *store.Tx) (err error) {
		outside, err = tx.SpentOutside(b, w.id)
		return err
	})
	if err != nil {
		return err
	}
	return a.cfg.DB.RaiseSeed(ctx, w.id, outside, now)
}
