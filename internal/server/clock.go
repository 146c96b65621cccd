package server

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"time"
)

const (
	// clockTolerance is how far two clocks may be apart before somebody should look.
	clockTolerance = 2 * time.Second
	// clockCheck is how often they are compared.
	clockCheck = 10 * time.Second
)

// strictClock is the time by which credentials expire: the latest of what three clocks say, so that one which is set back brings
// no credential to life again. They are the machine's wall clock, the wall clock at start carried on by a clock that nobody sets,
// and the database's clock as it was last seen, carried on in the same way. One that runs ahead ends credentials early until it is
// put right and, where it was wrong at start, until the node is restarted.
type strictClock struct {
	now   func() time.Time
	boot  func() time.Duration // since boot, on a clock that nobody sets; nil: Go's, of which now reads too
	began time.Time            // what now said at start
	first time.Duration        // and boot
	start time.Time            // began as the wall clock's reading alone
	skew  atomic.Int64         // how far the database's clock is ahead of start plus elapsed, in nanoseconds; math.MinInt64: not known
}

// newStrictClock returns a clock that starts now. Boot is the time since boot; nil: Go's monotonic clock.
func newStrictClock(now func() time.Time, boot func() time.Duration) *strictClock {
	c := &strictClock{now: now, boot: boot, began: now()}
	if boot != nil {
		c.first = boot()
	}
	c.start = c.began.Round(0)
	c.skew.Store(math.MinInt64)
	return c
}

// read returns what the wall clock says, and how long it is since the start on the clock that nobody sets. Two times that Go's monotonic
// clock was read for are compared and subtracted by it, whatever the wall clock was set to: so the first is stripped of it.
func (c *strictClock) read() (wall time.Time, elapsed time.Duration) {
	now := c.now()
	if c.boot != nil {
		return now.Round(0), c.boot() - c.first
	}
	return now.Round(0), now.Sub(c.began)
}

// elapsed is read's.
func (c *strictClock) elapsed() time.Duration {
	_, elapsed := c.read()
	return elapsed
}

// Now returns the latest of the clocks. It allocates nothing.
func (c *strictClock) Now() time.Time {
	now, elapsed := c.read()
	carried := c.start.Add(elapsed)
	if skew := c.skew.Load(); skew > 0 {
		carried = carried.Add(time.Duration(skew))
	}
	if carried.After(now) {
		return carried
	}
	return now
}

// observe takes in what the database's clock said between two readings of this node's.
func (c *strictClock) observe(database time.Time, before, after time.Duration) {
	c.skew.Store(int64(database.Sub(c.start.Add(before + (after-before)/2))))
}

// drift returns how far the wall clock is ahead of the one it was at start, and of the database's, whichever is further.
func (c *strictClock) drift() time.Duration {
	now, elapsed := c.read()
	carried := c.start.Add(elapsed)
	drift := now.Sub(carried)
	if skew := c.skew.Load(); skew != math.MinInt64 {
		if d := now.Sub(carried.Add(time.Duration(skew))); d.Abs() > drift.Abs() {
			drift = d
		}
	}
	return drift
}

// watchClock compares the clocks and says when they part and when they agree again. It ends with ctx.
func (s *Server) watchClock(ctx context.Context) {
	defer s.duties.Done()
	ticker := time.NewTicker(clockCheck)
	defer ticker.Stop()
	apart := false
	for {
		s.askDatabaseClock(ctx)
		if drift := s.clock.drift(); drift.Abs() > clockTolerance != apart {
			if apart = !apart; apart {
				s.log.Warn("this node's clock was set, or differs from the database's; keys expire by the one that is ahead", "seconds", drift.Seconds())
			} else {
				s.log.Info("the clocks agree again")
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// askDatabaseClock reads the database's clock where that is another machine's.
func (s *Server) askDatabaseClock(ctx context.Context) {
	ctx, stop := context.WithTimeout(ctx, clockCheck/2)
	defer stop()
	before := s.clock.elapsed()
	database, err := s.db.Clock(ctx)
	after := s.clock.elapsed()
	switch {
	case err != nil:
		if !errors.Is(err, context.Canceled) {
			s.log.Debug("the database's clock cannot be read", "error", err)
		}
	case !database.IsZero() && after-before < clockTolerance:
		s.clock.observe(database, before, after)
	}
}
