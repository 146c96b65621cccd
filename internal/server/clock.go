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
	now     func() time.Time
	elapsed func() time.Duration // since start, on a clock that nobody sets
	start   time.Time            // by the wall clock alone, see wall
	skew    atomic.Int64         // how far the database's clock is ahead of start plus elapsed, in nanoseconds; math.MinInt64: not known
}

// newStrictClock returns a clock that starts now. Boot is the time since boot; nil: Go's monotonic clock.
func newStrictClock(now func() time.Time, boot func() time.Duration) *strictClock {
	began := time.Now()
	c := &strictClock{now: now, elapsed: func() time.Duration { return time.Since(began) }}
	if boot != nil {
		first := boot()
		c.elapsed = func() time.Duration { return boot() - first }
	}
	c.start = c.wall()
	c.skew.Store(math.MinInt64)
	return c
}

// wall returns what the wall clock says and nothing else: two times for which Go read its monotonic clock as well are compared and
// subtracted by that, whatever the wall clock was set to.
func (c *strictClock) wall() time.Time { return c.now().Round(0) }

// Now returns the latest of the clocks. It allocates nothing.
func (c *strictClock) Now() time.Time {
	now, carried := c.wall(), c.start.Add(c.elapsed())
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
	now, carried := c.wall(), c.start.Add(c.elapsed())
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
