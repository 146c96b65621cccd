package ledger

import (
	"sync"
	"sync/atomic"
	"time"
)

// bucket lets through burst at once and perSecond after that, and counts what it does not.
type bucket struct {
	perSecond, burst int64
	dropped          atomic.Int64

	mu     sync.Mutex
	spent  time.Duration // time it takes to earn back what was let through
	latest time.Time
}

func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	each := time.Second / time.Duration(b.perSecond)
	if passed := now.Sub(b.latest); passed > 0 {
		b.spent = max(0, b.spent-passed)
		b.latest = now
	}
	if b.spent+each > each*time.Duration(b.burst) {
		b.dropped.Add(1)
		return false
	}
	b.spent += each
	return true
}
