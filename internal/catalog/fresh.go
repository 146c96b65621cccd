package catalog

import (
	"sync"
	"sync/atomic"
	"time"
)

// Fresh reports whether the node may serve from memory at this moment: its lease stands. It allocates nothing. Ask it before the
// lookups it is to cover, not after: see the comment of lease.
//
// A single node has no lease, because nobody else commits; it is fresh unless a change of its own has waited longer than
// max_staleness to be applied, which means that the database takes writes and refuses reads.
func (c *Catalog) Fresh() bool {
	if c.single {
		return c.lag.within(c.lease.length)
	}
	return c.lease.stands()
}

// lag is how long a change that this node committed has waited to be applied.
type lag struct {
	boot  func() time.Duration
	since atomic.Int64 // boot clock in nanoseconds; 0: nothing waits

	mu        sync.Mutex // guards the rest and writes of since
	committed int64
	applied   int64
}

func (l *lag) within(limit time.Duration) bool {
	since := l.since.Load()
	return since == 0 || l.boot()-time.Duration(since) < limit
}

func (l *lag) commit(seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.committed = max(l.committed, seq)
	if l.applied < l.committed && l.since.Load() == 0 {
		l.since.Store(max(1, int64(l.boot())))
	}
}

func (l *lag) apply(seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.applied = seq
	if l.applied >= l.committed {
		l.since.Store(0)
	}
}

// restart forgets what waited: it is of a history that is no more.
func (l *lag) restart(seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.committed, l.applied = seq, seq
	l.since.Store(0)
}
