package server

import (
	"testing"
	"time"
)

// TestStrictClock: credentials expire by the clock that is ahead, and what drifts is seen.
func TestStrictClock(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name        string
		wall        time.Duration // how far the wall clock has come
		boot        time.Duration // and the one nobody sets
		database    time.Duration // how far the database's is ahead of the node's at start; negative: behind
		asked       bool          // the database has a clock
		now, drifts time.Duration
	}{
		{"all agree", time.Hour, time.Hour, 0, true, time.Hour, 0},
		{"no other clock", time.Hour, time.Hour, 0, false, time.Hour, 0},
		{"set forward", 3 * time.Hour, time.Hour, 0, false, 3 * time.Hour, 2 * time.Hour},
		{"set back", -time.Hour, time.Hour, 0, false, time.Hour, -2 * time.Hour},
		{"suspended", time.Hour, time.Minute, 0, false, time.Hour, 59 * time.Minute},
		{"behind the database from the start", time.Hour, time.Hour, 10 * time.Minute, true, 70 * time.Minute, -10 * time.Minute},
		{"ahead of the database from the start", time.Hour, time.Hour, -10 * time.Minute, true, time.Hour, 10 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			wall, boot := start, 5*time.Hour
			clock := newStrictClock(func() time.Time { return wall }, func() time.Duration { return boot })
			if c.asked {
				clock.observe(start.Add(c.database), 0, 0)
			}
			wall, boot = start.Add(c.wall), boot+c.boot
			if got := clock.Now().Sub(start); got != c.now {
				t.Errorf("Now is %v after the start, want %v", got, c.now)
			}
			if got := clock.drift(); got != c.drifts {
				t.Errorf("drift is %v, want %v", got, c.drifts)
			}
		})
	}
}
