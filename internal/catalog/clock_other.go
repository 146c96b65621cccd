//go:build !linux

package catalog

import "time"

var start = time.Now()

// bootTime is the monotonic clock where there is no CLOCK_BOOTTIME. It may stand still while the machine is suspended; the wall
// clock, which a lease is checked against as well, does not.
func bootTime() time.Duration { return time.Since(start) }
