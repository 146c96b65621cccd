package outbound

import (
	"testing"
	"time"
)

// TestSweeps holds that the fourth sweep in a row that finds a connection idle ends it, and none before; and that one that is too old is
// not kept.
func TestSweeps(t *testing.T) {
	e := &Endpoint{maxIdle: 2, idleTimeout: time.Hour}
	t.Cleanup(e.Close)
	c := &conn{endpoint: e, nc: &memory{}, born: time.Now()}
	swept := func(times int) {
		t.Helper()
		e.put(c)
		for range times {
			e.sweepIdle()
		}
	}
	for range 3 { // an exchange in between begins anew
		swept(sweeps - 1)
		if got := e.take(); got != c {
			t.Fatalf("after %d sweeps: got %p, want %p", sweeps-1, got, c)
		}
	}
	swept(sweeps)
	if got := e.take(); got != nil {
		t.Errorf("after %d sweeps it is still there", sweeps)
	}
	c.now = c.born.Add(maxAge)
	swept(0)
	if got := e.take(); got != nil {
		t.Error("one that is too old is kept")
	}
}
