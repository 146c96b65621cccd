package valkey

import (
	"context"
	"time"
)

// SetClock has the server count by a clock of the test's in place of its own, in milliseconds.
func (c *Counters) SetClock(clock func() int64) { c.clock = clock }

// Patient has calls wait as long as a busy machine needs.
func (c *Counters) Patient() { c.timeout, c.slowAfter = time.Minute, time.Minute }

// Hurried has calls wait, and still counts the slow ones.
func (c *Counters) Hurried(timeout time.Duration) { c.timeout = timeout }

// Flush sends the corrections that wait.
func (c *Counters) Flush() { c.flush(context.Background()) }
