// Package health keeps what a node has seen of its upstreams and routes lately, and says which of them may be called: a circuit
// breaker and a retry budget for each upstream, and for each route of a deployment whether it is set aside because it is far worse
// than its peers or asked to be left alone.
//
// It does not own what counts as a failure, in which order routes are tried, or what a caller is told: that is the gateway's. It
// starts no goroutine, reads no clock and does no I/O: every call says when it happens, on a clock that should be monotonic.
package health

import (
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse"
)

// Reason is why a route is not closed.
type Reason uint8

// The reasons.
const (
	None              Reason = iota
	FailuresInARow           // of a circuit: requests in a row failed
	FailureRatio             // of a circuit: too many of the latest requests failed
	CredentialRefused        // of a circuit: the upstream refused what it is called with
	ManyErrors               // of an ejection
	Slow                     // of an ejection
	RateLimited              // of a throttle

	// Reasons is how many there are.
	Reasons
)

// String returns the reason as metrics and records name it.
func (r Reason) String() string {
	return [Reasons]string{"", "failures_in_a_row", "failure_ratio", "credential_refused", "errors", "latency", "rate_limited"}[r]
}

// Outcome is what an attempt says about its upstream.
type Outcome uint8

// The outcomes.
const (
	Unknown Outcome = iota // nothing: the caller left, the gateway cut it, the request could not be sent as it was
	Success                // it answered, be it with a refusal of the request
	Failure                // it could not be reached, did not answer in time, or said that it failed
	Refused                // it refused the credential
)

// Change is a transition that somebody may want to know of.
type Change struct {
	Deployment string // name; empty: the circuit of an upstream
	Upstream   string // name; of a route the id
	Model      string
	From, To   gatehouse.RouteState
	Reason     Reason
	Why        string
	For        time.Duration // until it is tried again; 0 where that has no time
}

// Config is what a Board is built from.
type Config struct {
	Start    time.Time      // what times are counted from
	OnChange func(Change)   // called after a transition, without a lock held; it must not block. May be nil
	Jitter   func() float64 // in [0, 1); nil: random
}

// Board holds the health of everything a node calls. It is safe for concurrent use.
type Board struct {
	cfg       Config
	openings  [Reasons]atomic.Uint64 // transitions out of closed
	refused   atomic.Uint64          // retries that a budget did not allow
	upstreams atomic.Pointer[map[string]*Upstream]
	pools     atomic.Pointer[map[string]*Pool]
	mu        sync.Mutex // held while either map is replaced
}

// New returns an empty board.
func New(cfg Config) *Board {
	if cfg.Jitter == nil {
		cfg.Jitter = rand.Float64
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func(Change) {}
	}
	b := &Board{cfg: cfg}
	b.upstreams.Store(&map[string]*Upstream{})
	b.pools.Store(&map[string]*Pool{})
	return b
}

// instant is a moment as the time since the board's start: of two moments with a monotonic reading the difference is monotonic.
type instant time.Duration

func (b *Board) at(now time.Time) instant { return instant(now.Sub(b.cfg.Start)) }

func (b *Board) millis(t instant) gatehouse.Millis {
	return gatehouse.MillisOf(b.cfg.Start.Add(time.Duration(t)))
}

// Upstream returns the circuit and budget of an upstream. One that was changed begins anew.
func (b *Board) Upstream(up *gatehouse.Upstream) *Upstream {
	if u := (*b.upstreams.Load())[up.ID]; u != nil && u.rev >= up.Rev {
		return u
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	old := *b.upstreams.Load()
	if u := old[up.ID]; u != nil && u.rev >= up.Rev {
		return u
	}
	next := maps.Clone(old)
	u := newUpstream(b, up)
	next[up.ID] = u
	b.upstreams.Store(&next)
	return u
}

// Pool returns the routes of a deployment. When the deployment was changed, what is known of the routes that it still has stays.
func (b *Board) Pool(dep *gatehouse.Deployment) *Pool {
	if p := (*b.pools.Load())[dep.ID]; p != nil && p.dep.Rev >= dep.Rev {
		return p
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	old := *b.pools.Load()
	if p := old[dep.ID]; p != nil && p.dep.Rev >= dep.Rev {
		return p
	}
	next := maps.Clone(old)
	p := newPool(b, dep, old[dep.ID])
	next[dep.ID] = p
	b.pools.Store(&next)
	return p
}

// Forget drops what is known of upstreams and deployments that are gone.
func (b *Board) Forget(upstreamGone func(id string) bool, deploymentGone func(*gatehouse.Deployment) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ups, pools := maps.Clone(*b.upstreams.Load()), maps.Clone(*b.pools.Load())
	maps.DeleteFunc(ups, func(id string, _ *Upstream) bool { return upstreamGone(id) })
	maps.DeleteFunc(pools, func(_ string, p *Pool) bool { return deploymentGone(p.dep) })
	b.upstreams.Store(&ups)
	b.pools.Store(&pools)
}

// Report returns what is known of every circuit and every route that is not closed or was used lately: circuits first.
func (b *Board) Report(now time.Time) []gatehouse.RouteHealth {
	t := b.at(now)
	var out []gatehouse.RouteHealth
	ups := *b.upstreams.Load()
	for _, id := range sorted(ups) {
		out = ups[id].report(t, out)
	}
	pools := *b.pools.Load()
	for _, id := range sorted(pools) {
		out = pools[id].report(t, out)
	}
	return out
}

// Counts are totals since the start.
type Counts struct {
	Opened  [Reasons]uint64 // circuits opened and routes set aside, by reason
	Refused uint64          // retries that a budget did not allow
}

// Counts returns the totals.
func (b *Board) Counts() (c Counts) {
	for r := range b.openings {
		c.Opened[r] = b.openings[r].Load()
	}
	c.Refused = b.refused.Load()
	return c
}
