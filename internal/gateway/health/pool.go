package health

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse"
)

const (
	// maxRoutes is how many routes of a deployment are watched.
	maxRoutes = 16
	// A route is judged by its last maxSamples attempts within sampleAge, once there are minSamples, against peers that have as many.
	maxSamples = 32
	minSamples = 10
	sampleAge  = instant(time.Minute)
	judgeEvery = instant(time.Second)
	// A route is worse by errors when at least half of its attempts fail and farWorse times as large a share as its peers' do; by
	// latency when its first byte takes longer than slowFrom and farWorse times as long as its peers'.
	farWorse = 3
	slowFrom = time.Second
	// An ejection lasts ejectTime times how often the route was ejected, at most ejectTimes; that is forgotten ejectMemory after one.
	ejectTime   = instant(30 * time.Second)
	ejectTimes  = 10
	ejectMemory = instant(10 * time.Minute)
	// throttleTime is for a 429 that says no time, maxThrottle the longest time one may say.
	throttleTime = instant(time.Second)
	maxThrottle  = instant(time.Minute)
)

// Pool is the routes of one deployment: which of them are set aside. A route set aside is tried after all others; it is never the
// case that more than half of the routes of one priority are ejected.
type Pool struct {
	board *Board
	dep   *gatehouse.Deployment
	mask  atomic.Uint32 // the routes set aside, for those who ask while there are none: they need no lock

	mu     sync.Mutex
	routes []route
	judged instant
}

// route is guarded by its pool's mutex.
type route struct {
	samples  [maxSamples]sample
	next     int // index in samples of the next one
	reason   Reason
	why      string
	since    instant
	until    instant // when it is no longer set aside
	ejected  int     // how often
	ejection instant // when the last one ended
}

// sample is one attempt; the zero value is none.
type sample struct {
	at    instant // 0: there is none
	first time.Duration
	bad   bool
}

func newPool(b *Board, dep *gatehouse.Deployment, before *Pool) *Pool {
	p := &Pool{board: b, dep: dep, routes: make([]route, min(len(dep.Routes), maxRoutes))}
	if before == nil {
		return p
	}
	before.mu.Lock()
	defer before.mu.Unlock()
	for i := range p.routes {
		same := func(r gatehouse.Route) bool {
			return r.Upstream == dep.Routes[i].Upstream && r.Model == dep.Routes[i].Model
		}
		if j := slices.IndexFunc(before.dep.Routes, same); j >= 0 && j < len(before.routes) {
			p.routes[i] = before.routes[j]
		}
	}
	p.remask()
	return p
}

// Calm reports whether no route is set aside, without asking what time it is.
func (p *Pool) Calm() bool { return p.mask.Load() == 0 }

// Aside returns the routes that are set aside, a bit each.
func (p *Pool) Aside(now time.Time) uint32 {
	if p.mask.Load() == 0 {
		return 0
	}
	t := p.board.at(now)
	p.mu.Lock()
	changes := p.expire(t, nil)
	mask := p.mask.Load()
	p.mu.Unlock()
	p.announce(changes)
	return mask
}

// Why says why a route is set aside and since when.
func (p *Pool) Why(i int) (state gatehouse.RouteState, why string, since gatehouse.Millis) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i >= len(p.routes) {
		return gatehouse.RouteClosed, "", 0
	}
	r := &p.routes[i]
	return r.state(), r.why, p.board.millis(r.since)
}

func (r *route) state() gatehouse.RouteState {
	switch r.reason {
	case None:
		return gatehouse.RouteClosed
	case RateLimited:
		return gatehouse.RouteThrottled
	}
	return gatehouse.RouteEjected
}

// Report takes the result of an attempt along a route: Success, with the time to its first byte, or Failure.
func (p *Pool) Report(now time.Time, i int, outcome Outcome, first time.Duration) {
	if i >= len(p.routes) || outcome != Success && outcome != Failure {
		return
	}
	t := p.board.at(now)
	p.mu.Lock()
	r := &p.routes[i]
	r.samples[r.next%maxSamples] = sample{at: max(t, 1), first: first, bad: outcome == Failure}
	r.next++
	var changes []Change
	if len(p.routes) > 1 && t-p.judged >= judgeEvery {
		p.judged = t
		changes = p.judge(t, p.dep.Routes[i].Priority, p.expire(t, nil))
	}
	p.mu.Unlock()
	p.announce(changes)
}

// Throttle sets a route aside that answered 429, for as long as it asked for, within bounds.
func (p *Pool) Throttle(now time.Time, i int, wait time.Duration) {
	if i >= len(p.routes) {
		return
	}
	length := min(instant(wait), maxThrottle)
	if length <= 0 {
		length = throttleTime
	}
	t := p.board.at(now)
	p.mu.Lock()
	changes := p.expire(t, nil)
	if r := &p.routes[i]; r.reason == None || r.reason == RateLimited {
		if r.reason == None {
			changes = append(changes, p.setAside(t, i, RateLimited, "it answered 429", length))
		}
		r.until = max(r.until, t+length)
	}
	p.mu.Unlock()
	p.announce(changes)
}

// judge sets the worst route of a priority aside if it is far worse than its peers and they remain the majority.
func (p *Pool) judge(t instant, priority int, changes []Change) []Change {
	type score struct {
		route        int
		n, bad, good int
		median       time.Duration
	}
	var scores [maxRoutes]score
	var first [maxSamples]time.Duration
	size, out, n := 0, 0, 0 // routes of the priority; of them ejected; of the rest those with enough samples
	for i := range p.routes {
		if p.dep.Routes[i].Priority != priority {
			continue
		}
		size++
		r := &p.routes[i]
		if r.state() == gatehouse.RouteEjected {
			out++
			continue
		}
		s := score{route: i}
		for _, q := range r.samples {
			switch {
			case q.at == 0 || t-q.at > sampleAge:
				continue
			case q.bad:
				s.bad++
			default:
				first[s.good] = q.first
				s.good++
			}
			s.n++
		}
		s.median = median(first[:s.good])
		if s.n >= minSamples {
			scores[n] = s
			n++
		}
	}
	if out+1 > size/2 {
		return changes
	}
	worst, reason, why := -1, None, ""
	var slowest time.Duration
	for i := range n {
		s := &scores[i]
		var shares, medians [maxRoutes]time.Duration // shares in millionths
		others, timed := 0, 0
		for j := range n {
			if o := &scores[j]; j != i {
				shares[others] = time.Duration(o.bad * 1e6 / o.n)
				others++
				if o.good >= minSamples {
					medians[timed] = o.median
					timed++
				}
			}
		}
		share := time.Duration(s.bad * 1e6 / s.n)
		if others > 0 && s.bad*2 >= s.n && share > farWorse*median(shares[:others]) {
			worst, reason = s.route, ManyErrors
			why = fmt.Sprintf("%d of its last %d attempts failed, far more than of other routes", s.bad, s.n)
			break
		}
		if peers := median(medians[:timed]); timed > 0 && s.good >= minSamples && s.median > slowFrom && s.median > farWorse*peers && s.median > slowest {
			worst, reason, slowest = s.route, Slow, s.median
			why = fmt.Sprintf("its first byte takes %d ms, that of other routes %d ms", s.median.Milliseconds(), peers.Milliseconds())
		}
	}
	if worst < 0 {
		return changes
	}
	r := &p.routes[worst]
	if r.ejected > 0 && t-r.ejection > ejectMemory {
		r.ejected = 0
	}
	r.ejected = min(r.ejected+1, ejectTimes)
	length := ejectTime * instant(r.ejected)
	changes = append(changes, p.setAside(t, worst, reason, why, length))
	r.ejection = r.until
	r.samples, r.next = [maxSamples]sample{}, 0 // it will be judged by what it does after
	return changes
}

// median returns the middle value, the larger one of two; it sorts its argument. Of nothing it is 0.
func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)/2]
}

func (p *Pool) setAside(t instant, i int, reason Reason, why string, length instant) Change {
	r := &p.routes[i]
	from := r.state()
	r.reason, r.why, r.since, r.until = reason, why, t, t+length
	p.board.openings[reason].Add(1)
	p.remask()
	return p.change(i, from, time.Duration(length))
}

// change describes what a route has become.
func (p *Pool) change(i int, from gatehouse.RouteState, length time.Duration) Change {
	r, declared := &p.routes[i], &p.dep.Routes[i]
	return Change{Deployment: p.dep.Name, Upstream: declared.Upstream, Model: declared.Model, From: from, To: r.state(), Reason: r.reason, Why: r.why, For: length}
}

// expire takes back routes whose time is over.
func (p *Pool) expire(t instant, changes []Change) []Change {
	if p.mask.Load() == 0 {
		return changes
	}
	for i := range p.routes {
		r := &p.routes[i]
		if r.reason == None || t < r.until {
			continue
		}
		from := r.state()
		r.reason, r.why, r.since = None, "", t
		changes = append(changes, p.change(i, from, 0))
	}
	p.remask()
	return changes
}

func (p *Pool) remask() {
	mask := uint32(0)
	for i := range p.routes {
		if p.routes[i].reason != None {
			mask |= 1 << i
		}
	}
	p.mask.Store(mask)
}

func (p *Pool) announce(changes []Change) {
	for _, c := range changes {
		p.board.cfg.OnChange(c)
	}
}

func (p *Pool) report(t instant, out []gatehouse.RouteHealth) []gatehouse.RouteHealth {
	p.mu.Lock()
	changes := p.expire(t, nil)
	var first [maxSamples]time.Duration
	for i := range p.routes {
		r := &p.routes[i]
		declared := &p.dep.Routes[i]
		h := gatehouse.RouteHealth{Deployment: p.dep.ID, Upstream: declared.Upstream, Model: declared.Model, State: r.state(), Reason: r.reason.String(), Why: r.why}
		good := 0
		for _, q := range r.samples {
			if q.at == 0 || t-q.at > sampleAge {
				continue
			}
			h.Requests++
			if q.bad {
				h.Failures++
			} else {
				first[good] = q.first
				good++
			}
		}
		if h.State == gatehouse.RouteClosed && h.Requests == 0 {
			continue
		}
		h.FirstByteMillis = median(first[:good]).Milliseconds()
		if r.since != 0 {
			h.Since = p.board.millis(r.since)
		}
		if r.reason != None {
			h.Until = p.board.millis(r.until)
		}
		out = append(out, h)
	}
	p.mu.Unlock()
	p.announce(changes)
	return out
}
