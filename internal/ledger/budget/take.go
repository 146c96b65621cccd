package budget

import (
	"context"
	"errors"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

const (
	// waitMost bounds how long a request waits for a slice: a database that takes longer is one that does not answer.
	waitMost = 2 * time.Second
	// failFor is how long after a failure the database is not asked again, refuseFor how long a refusal stands unasked.
	failFor   gatehouse.Millis = 1_000
	refuseFor gatehouse.Millis = 50
	// tightFor is how long after a recall nobody takes more than is needed.
	tightFor gatehouse.Millis = 5_000
)

// wait holds n of a chain's windows with more from the database, where lacking is the first that has not enough.
func (a *Accounts) wait(ctx context.Context, c *Chain, lacking *window, n gatehouse.NanoUSD) error {
	a.stats.waits.Add(1)
	ctx, stop := context.WithTimeout(ctx, waitMost)
	defer stop()
	for lacking != nil {
		if err := a.obtain(ctx, lacking, n); err != nil {
			return err
		}
		a.mu.Lock()
		lacking = c.hold(n, gatehouse.MillisOf(a.cfg.Now()))
		a.mu.Unlock()
	}
	return nil
}

// obtain returns nil when a window may have room for n. One caller at a time asks the database, for all that wait.
func (a *Accounts) obtain(ctx context.Context, w *window, n gatehouse.NanoUSD) error {
	a.mu.Lock()
	w.wanted += n
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		w.wanted -= n
		a.mu.Unlock()
	}()
	select {
	case <-w.turn:
		defer func() { w.turn <- struct{}{} }()
	case <-ctx.Done():
		return unavailable(w, ctx.Err())
	}
	if err := a.known(w, n); err != nil || w.enough(a, n) {
		return err
	}
	if err := a.load(ctx, w); err != nil {
		return a.failure(w, err)
	}
	if w.enough(a, n) {
		return nil
	}
	s, err := a.take(ctx, w, n)
	if err != nil {
		return a.failure(w, err)
	}
	if !s.Refused {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := gatehouse.MillisOf(a.cfg.Now())
	w.refused, w.until = n, now+refuseFor
	w.tight = now + tightFor
	return a.refusal(w, n)
}

// known returns the refusal that the last one, or the last failure of the database, still stands for.
func (a *Accounts) known(w *window, n gatehouse.NanoUSD) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := gatehouse.MillisOf(a.cfg.Now())
	switch {
	case w.free() >= n:
	case now < w.failed && now >= w.failed-failFor:
		return unavailable(w, errLately)
	case w.loaded && n >= w.refused && now < w.until && now >= w.until-refuseFor:
		return a.refusal(w, n)
	}
	return nil
}

var (
	errLately   = errors.New("the database did not answer a moment ago")
	errRestored = errors.New("the database was restored from a backup and not every node knows yet")
)

func (w *window) enough(a *Accounts, n gatehouse.NanoUSD) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return w.loaded && w.free() >= n
}

func (a *Accounts) failure(w *window, err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stats.failures++
	if errors.Is(err, context.Canceled) {
		return err // the caller left; the database is not to blame
	}
	w.failed = gatehouse.MillisOf(a.cfg.Now()) + failFor
	return unavailable(w, err)
}

// take asks for n at least and applies what came of it. The caller has the window's turn.
func (a *Accounts) take(ctx context.Context, w *window, n gatehouse.NanoUSD) (store.Slice, error) {
	a.mu.Lock()
	if a.held {
		a.mu.Unlock()
		return store.Slice{}, errRestored
	}
	now := gatehouse.MillisOf(a.cfg.Now())
	t := store.TakeSlice{Window: w.id, Node: a.cfg.Node, Now: now, Owed: w.owed(), Request: n}
	if n > 0 {
		t.Need = max(1, n-w.free())
		t.Want = max(t.Need, w.wanted-w.free())
	}
	if now >= w.tight {
		t.Want = max(t.Want, w.portion())
	}
	a.mu.Unlock()
	s, err := a.cfg.DB.TakeSlice(ctx, t)
	if err != nil {
		return s, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stats.slices++
	w.granted, w.amount, w.others, w.left, w.looked = s.Granted, s.Amount, s.Others, s.Left, now
	if s.Refused {
		w.recall = s.Recall // its own is no call to give back
	}
	return s, nil
}

// portion is how much more than is needed a node takes at once: a part of what is left, so that slices shrink as it does, and few of what
// there is in all. The caller holds Accounts.mu.
func (w *window) portion() gatehouse.NanoUSD { return min(w.left/8, w.amount/20) }

// load reads what the database knows of a window, the first time and after a restore. The caller has the window's turn.
func (a *Accounts) load(ctx context.Context, w *window) error {
	a.mu.Lock()
	loaded, b := w.loaded, w.account.budget
	a.mu.Unlock()
	if loaded {
		return nil
	}
	release, err := a.cfg.Quiet(ctx)
	if err != nil {
		return err
	}
	defer release()
	return a.read(ctx, w, b)
}

// read is load while nothing is being recorded.
func (a *Accounts) read(ctx context.Context, w *window, b *gatehouse.Budget) error {
	now := gatehouse.MillisOf(a.cfg.Now())
	var row *store.WindowRow
	var outside gatehouse.NanoUSD
	var epoch int64
	err := a.cfg.DB.View(ctx, func(tx *store.Tx) (err error) {
		if epoch, err = tx.Epoch(); err != nil {
			return err
		}
		rows, err := tx.BudgetWindows([]string{w.id.Budget}, w.id.Start)
		if err != nil {
			return err
		}
		for i := range rows {
			if rows[i].Window.Start == w.id.Start {
				row = &rows[i]
			}
		}
		if row == nil || row.SeededAt == 0 {
			outside, err = tx.SpentOutside(b, w.id)
		}
		return err
	})
	if err != nil {
		return err
	}
	if row == nil || row.SeededAt == 0 {
		// What is recorded between the snapshot and this arrives with the next look at what was spent outside.
		s, err := a.cfg.DB.TakeSlice(ctx, store.TakeSlice{Window: w.id, Node: a.cfg.Node, Now: now, Seed: outside})
		if err != nil {
			return err
		}
		if row == nil {
			row = &store.WindowRow{Window: w.id, CreatedAt: now, Recall: s.Recall}
		}
		row.Seed, row.SeededAt = outside, now
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.epoch < 0 {
		a.epoch = epoch
	}
	w.apply(row, a.cfg.Node, b.AmountAt(now), now)
	w.recall, w.loaded = row.Recall, true
	return nil
}
