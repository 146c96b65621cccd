package finance_test

import "runtime"

// counter counts what is written to it, and looks now and then how much memory is in use.
type counter struct {
	n, next int64
	peak    uint64
}

func (c *counter) Write(p []byte) (int, error) {
	if c.n += int64(len(p)); c.n >= c.next {
		c.next = c.n + 4<<20
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		c.peak = max(c.peak, m.HeapAlloc)
	}
	return len(p), nil
}
