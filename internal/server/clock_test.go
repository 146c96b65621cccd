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

// TestStrictClockComparesWallClocks: two readings of Go's clock are compared by its monotonic part, in which no clock was ever set. What
// the clock says, and compares, has none.
func TestStrictClockComparesWallClocks(t *testing.T) {
	clock := newStrictClock(time.Now, nil)
	before := time.Now()
	got := clock.Now()
	if got != got.Round(0) || clock.start != clock.start.Round(0) {
		t.Errorf("%v and %v have monotonic readings", got, clock.start)
	}
	if d := got.Sub(before.Round(0)).Abs(); d > time.Minute || clock.drift().Abs() > time.Minute {
		t.Errorf("it is %v off, and says %v", d, clock.drift())
	}
	// The wall clock is 40 minutes ahead of where it was carried to, as after a suspension, in which the other stands still.
	clock.start = clock.start.Add(-40 * time.Minute)
	if d := clock.Now().Sub(before.Round(0)).Abs(); d > time.Minute {
		t.Errorf("a wall clock that went on is %v behind", d)
	}
	if d := clock.drift(); d < 39*time.Minute {
		t.Errorf("drift is %v, want 40 minutes", d)
	}
	clock.start = clock.start.Add(80 * time.Minute) // and now it was set back by as much
	if d := clock.Now().Sub(before.Round(0)); d < 39*time.Minute {
		t.Errorf("a wall clock that was set back is believed: %v", d)
	}
}
