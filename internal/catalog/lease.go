package catalog

import (
	"sync"
	"sync/atomic"
	"time"
)

// lease is the permission to serve from memory, and until when.
//
// The law is: once Settle has said Everywhere for sequence s, no node accepts what s forbids. A node renews its lease in four
// steps, in this order:
//
//  1. read the clock: b
//  2. commit a heartbeat: the node's row counts one more beat
//  3. read the last sequence committed: l
//  4. once everything up to l is applied, the lease lasts until b + max_staleness
//
// Let event s commit at time T, and let a node accept at time t under the lease of such a renewal, so t <= b + max_staleness.
//
//   - If step 3 came after T then l >= s, and step 4 had s applied before the lease counted: the accept obeyed s.
//   - Else step 3, and with it step 1, came before T: b < T, so t < T + max_staleness.
//
// Hence every accept after T obeys s or happens before T + max_staleness. That is the bound of a node nobody hears of
// (Effect.EffectiveBy). It remains to see when Settle may say Everywhere, for each node:
//
//   - Its row says that s is applied. What is applied stays applied.
//   - Its row has shown the same beat c since Settle's node first saw it, at time t0 on that node's own clock, until a reading of
//     the rows at t1 > t0 + max_staleness that began after T. The leases of beats up to c were begun before t0 and are over at
//     t1. A later beat had not committed when the reading at t1 began, so its step 3 comes after T, and the first case holds.
//   - It has no row. Its first beat is yet to commit, so its step 3 comes after T, as before. A node drops its own row only after it gave
//     up its lease; other nodes drop a row only long after its leases ended, and a node whose lease ran out takes a new row, under
//     an id of its own, so that a beat is never taken for an older one of the same number.
//
// A restore (store.Restore) replaces the history, in the middle of all this. Let it commit at time R. A node that reads after R, in
// any step, sees another epoch, gives its lease up, and renews only once it has loaded everything again; so what it knows from
// before R it uses until R + max_staleness at most, and every step 3 after R is of a node in the new epoch. The rows of nodes
// outlive the restore, and sequence numbers go on above all that were seen, so to a Settle after R a node from before R is one
// that has not applied s: it waits for it as for any other.
//
// No clock of one node is ever compared with another's; only rates matter, and slack covers their difference.
//
// A reader asks Fresh first and looks up afterwards: a lease that stands when a request has begun means that the lookups which
// follow see every event that was settled before the request began. The other way round a node that slept between the two
// could judge by a state from before its sleep under a lease from after it.
//
// The lease is counted on the boot clock and on the wall clock at once and ends with the first: a suspended machine, or a clock
// that stood still, ends it early, never late.
type lease struct {
	boot time.Duration // ends at this reading of the boot clock
	wall int64         // and at this reading of the wall clock, in unix nanoseconds
}

// DefaultMaxStaleness is how long a node serves without the database unless told otherwise.
const DefaultMaxStaleness = 2 * time.Minute

// slack is added to another node's max_staleness before its lease counts as over. It covers clocks that run at different rates
// (the kernel slews by at most 500 ppm: 60 ms in two minutes) many times.
const slack = time.Second

// clock is where a node takes the time from.
type clock struct {
	boot func() time.Duration
	wall func() time.Time
}

// reading is both clocks at one moment.
type reading struct {
	boot time.Duration
	wall int64
}

func (c *clock) read() reading { return reading{boot: c.boot(), wall: c.wall().UnixNano()} }

// leaseholder holds a node's lease.
type leaseholder struct {
	clock   clock
	length  time.Duration
	current atomic.Pointer[lease] // nil: none

	mu      sync.Mutex // guards the rest
	pending lease      // counts once needs is applied
	needs   int64      // 0: nothing is pending
	ended   bool       // the node stopped; no lease any more
}

// stands reports whether there is a lease at this moment.
func (h *leaseholder) stands() bool {
	l := h.current.Load() // before the clock: a lease that is renewed in between was longer, so the answer errs to no
	return l != nil && h.clock.boot() < l.boot && h.clock.wall().UnixNano() < l.wall
}

// renew proposes the lease of a renewal that began at a reading and counts once everything up to needs is applied.
func (h *leaseholder) renew(began reading, needs int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending = lease{boot: began.boot + h.length, wall: began.wall + int64(h.length)}
	h.needs = needs
}

// grant lets a pending lease count when enough is applied.
func (h *leaseholder) grant(applied int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended || h.pending == (lease{}) || applied < h.needs {
		return
	}
	granted := h.pending
	h.pending = lease{}
	h.current.Store(&granted)
}

// suspend gives the lease up until the next renewal.
func (h *leaseholder) suspend() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pending = lease{}
	h.current.Store(nil)
}

// end gives the lease up for good.
func (h *leaseholder) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	h.current.Store(nil)
}
