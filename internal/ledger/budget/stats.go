package budget

import (
	"sync/atomic"

	"gatehouse"
)

// Stats is the state of a node's accounts, for metrics. Amounts are sums over budgets, hard ones alone.
type Stats struct {
	Windows   int               // windows of budgets this node counts in, soft ones too
	Granted   gatehouse.NanoUSD // this node's slices
	Held      gatehouse.NanoUSD // of them, by open requests
	Spent     gatehouse.NanoUSD // of them, settled
	Final     int64             // refusals that nothing but the next window or an operator ends
	Retryable int64             // refusals for what is held by open requests or other nodes
	Waits     int64             // requests that waited for a slice
	Slices    int64             // slices taken
	Failures  int64             // times the database could not be asked
	Overrun   gatehouse.NanoUSD // what requests cost beyond what they held
}

// counters are what rises. All but waits are guarded by Accounts.mu.
type counters struct {
	final, retry, slices, failures int64
	overrun                        gatehouse.NanoUSD
	waits                          atomic.Int64
}

// Stats returns the state now.
func (a *Accounts) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Stats{Windows: len(a.windows), Final: a.stats.final, Retryable: a.stats.retry, Waits: a.stats.waits.Load(), Slices: a.stats.slices, Failures: a.stats.failures,
		Overrun: a.stats.overrun}
	for _, w := range a.windows {
		if w.hard() {
			s.Granted += w.granted
			s.Held += w.held
			s.Spent += w.spent + w.pending
		}
	}
	return s
}
