package health

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse"
)

const (
	// rowLimit is how many requests in a row must fail to open a circuit. Attempts of one request count once, and failures that
	// are further apart than rowAge make no row.
	rowLimit = 5
	rowAge   = instant(time.Minute)
	// A circuit opens as well when at least half of the requests of the last ratioSeconds failed, if those were ratioRequests.
	ratioSeconds  = 10
	ratioRequests = 20
	// A circuit stays open for firstOpen, twice as long each time a probe fails, at most for lastOpen. It is drawn between 4/5 and
	// 6/5 of that, so that nodes do not probe at the same moment.
	firstOpen = instant(time.Second)
	lastOpen  = instant(time.Minute)
	// probePatience is how long a probe may be under way before another one is let through beside it: a model that thinks for
	// minutes must not keep everybody out.
	probePatience = instant(5 * time.Second)
	// A retry takes a whole token; a request adds a fifth of one and a second adds one, up to budgetCap.
	budgetToken   = 1000
	budgetRequest = budgetToken / 5
	budgetSecond  = budgetToken
	budgetCap     = 10 * budgetToken
)

// Upstream is the circuit and the retry budget of one upstream.
//
// The circuit is closed, open or half-open. Closed lets everything through. It opens when requests fail (FailuresInARow,
// FailureRatio) or the credential is refused, and then nothing is let through until its time is over. Half-open lets one request
// at a time through, a probe: if it succeeds the circuit closes, if it fails the circuit opens for twice as long; a probe that
// says nothing makes room for the next. An opening within lastOpen after a closing goes on doubling.
type Upstream struct {
	board *Board
	id    string
	name  string
	rev   int64
	// word is state and generation, for those who ask while the circuit is closed: they need no lock. It changes under mu.
	word atomic.Uint64

	mu       sync.Mutex
	since    instant // when the state was entered
	until    instant // when an open circuit becomes half-open
	level    int     // how often the open time has doubled
	closedAt instant // when it was last closed after an opening
	reason   Reason
	why      string
	row      int     // requests in a row that failed
	rowAt    instant // when the last of them did
	rowOf    uint64  // which
	probing  bool
	probe    uint64  // number of the probe under way
	probedAt instant // when it was let through
	seconds  [ratioSeconds]second
	tokens   int64
	refilled instant
}

// second counts the requests of one second.
type second struct {
	number   int64
	ok, fail int64
}

type circuit uint64

const (
	closed circuit = iota
	open
	halfOpen
)

func (c circuit) state() gatehouse.RouteState {
	return [...]gatehouse.RouteState{gatehouse.RouteClosed, gatehouse.RouteOpen, gatehouse.RouteHalfOpen}[c]
}

// The two lowest bits of word are the circuit, the others its generation, which rises with every change.
func (u *Upstream) circuit() circuit { return circuit(u.word.Load() & 3) }

func newUpstream(b *Board, up *gatehouse.Upstream) *Upstream {
	return &Upstream{board: b, id: up.ID, name: up.Name, rev: up.Rev, tokens: budgetCap, closedAt: -lastOpen}
}

// Permit is the leave to make one attempt. Its holder hands it to Report once, whatever became of the attempt.
type Permit struct {
	up    *Upstream
	word  uint64
	probe uint64 // 0: it is none
	// Retry says that the request had been at this upstream before: it adds nothing to the retry budget.
	Retry bool
}

// Admit asks to make an attempt now.
func (u *Upstream) Admit(now time.Time) (Permit, bool) {
	if word := u.word.Load(); circuit(word&3) == closed {
		return Permit{up: u, word: word}, true
	}
	t := u.board.at(now)
	u.mu.Lock()
	switch u.circuit() {
	case closed:
		p := Permit{up: u, word: u.word.Load()}
		u.mu.Unlock()
		return p, true
	case open:
		if t < u.until {
			u.mu.Unlock()
			return Permit{}, false
		}
		change := u.enter(halfOpen, t)
		p := u.startProbe(t)
		u.mu.Unlock()
		u.board.cfg.OnChange(change)
		return p, true
	}
	defer u.mu.Unlock()
	if u.probing && t-u.probedAt < probePatience {
		return Permit{}, false
	}
	return u.startProbe(t), true
}

func (u *Upstream) startProbe(t instant) Permit {
	u.probe++
	u.probing, u.probedAt = true, t
	return Permit{up: u, word: u.word.Load(), probe: u.probe}
}

// Held reports whether there is a permit that was not handed to Report.
func (p *Permit) Held() bool { return p.up != nil }

// Standing is how an upstream stands for a request that looks for a route.
type Standing uint8

// The standings.
const (
	Clear   Standing = iota // Admit would say yes
	Probing                 // it would, and the attempt would be a probe
	Barred                  // it would say no
)

// Standing looks without asking for anything.
func (u *Upstream) Standing(now time.Time) Standing {
	if u.circuit() == closed {
		return Clear
	}
	t := u.board.at(now)
	u.mu.Lock()
	defer u.mu.Unlock()
	switch c := u.circuit(); {
	case c == closed:
		return Clear
	case c == open && t < u.until, c == halfOpen && u.probing && t-u.probedAt < probePatience:
		return Barred
	}
	return Probing
}

// Closed reports whether the circuit is closed, without asking what time it is.
func (u *Upstream) Closed() bool { return u.circuit() == closed }

// Barred says why nothing is sent to the upstream, since when, and how long it takes until it is tried again.
func (u *Upstream) Barred(now time.Time) (why string, since gatehouse.Millis, wait time.Duration) {
	t := u.board.at(now)
	u.mu.Lock()
	defer u.mu.Unlock()
	until := u.until
	if u.circuit() == halfOpen {
		until = u.probedAt + probePatience
	}
	return u.why, u.board.millis(u.since), time.Duration(max(until-t, 0))
}

// Report takes the result of the attempt that a permit was given for. request tells requests apart; why says for people what went
// wrong, without a secret. Results of attempts that began before the circuit last changed change nothing.
func (p Permit) Report(now time.Time, outcome Outcome, request uint64, why string) {
	u := p.up
	t := u.board.at(now)
	u.mu.Lock()
	if !p.Retry {
		u.tokens = min(u.tokens+budgetRequest, budgetCap)
	}
	change, changed := u.take(p, t, outcome, request, why)
	u.mu.Unlock()
	if changed {
		u.board.cfg.OnChange(change)
	}
}

func (u *Upstream) take(p Permit, t instant, outcome Outcome, request uint64, why string) (Change, bool) {
	if p.word != u.word.Load() {
		return Change{}, false
	}
	if p.probe != 0 {
		switch outcome {
		case Success:
			u.row, u.closedAt = 0, t
			u.seconds = [ratioSeconds]second{}
			return u.enter(closed, t), true
		case Failure:
			// The reason it opened for stands; what was seen last is worth more than what was seen first.
			u.level++
			return u.trip(t, u.reason, "a probe failed: "+why), true
		case Refused:
			u.level++
			return u.trip(t, CredentialRefused, why), true
		}
		if p.probe == u.probe {
			u.probing = false
		}
		return Change{}, false
	}
	s := u.second(t)
	switch outcome {
	case Success:
		s.ok++
		u.row = 0
	case Failure:
		s.fail++
		if t-u.rowAt > rowAge {
			u.row = 0
		}
		if u.row == 0 || u.rowOf != request {
			u.row++
		}
		u.rowAt, u.rowOf = t, request
		if u.row >= rowLimit {
			return u.opened(t, FailuresInARow, fmt.Sprintf("%d requests in a row failed, the last: %s", u.row, why)), true
		}
		if ok, fail := u.lately(t); ok+fail >= ratioRequests && fail >= ok {
			return u.opened(t, FailureRatio, fmt.Sprintf("%d of %d requests failed within %d s, the last: %s", fail, ok+fail, ratioSeconds, why)), true
		}
	case Refused:
		return u.opened(t, CredentialRefused, why), true
	}
	return Change{}, false
}

// opened opens a closed circuit.
func (u *Upstream) opened(t instant, reason Reason, why string) Change {
	if t-u.closedAt < lastOpen {
		u.level++
	} else {
		u.level = 0
	}
	return u.trip(t, reason, why)
}

// trip opens the circuit for the time of its level.
func (u *Upstream) trip(t instant, reason Reason, why string) Change {
	length := lastOpen
	if u.level < 6 {
		length = min(firstOpen<<u.level, lastOpen)
	}
	length = length*4/5 + instant(float64(length)*2/5*u.board.cfg.Jitter())
	u.until = t + length
	u.reason, u.why = reason, why
	u.row = 0
	u.board.openings[reason].Add(1)
	change := u.enter(open, t)
	change.For = time.Duration(length)
	return change
}

// enter changes the circuit. What is still under way belongs to the generation before. An open circuit whose probes fail keeps the
// moment at which it first opened.
func (u *Upstream) enter(c circuit, t instant) Change {
	word := u.word.Load()
	from := circuit(word & 3)
	if from == closed || c == closed {
		u.since = t
	}
	u.probing = false
	change := Change{Upstream: u.name, From: from.state(), To: c.state(), Reason: u.reason, Why: u.why}
	if c == closed {
		u.reason, u.why = None, ""
	}
	u.word.Store((word>>2+1)<<2 | uint64(c))
	return change
}

// second returns the counter of a moment, empty when it counted another second.
func (u *Upstream) second(t instant) *second {
	number := int64(t / instant(time.Second))
	s := &u.seconds[uint64(number)%ratioSeconds]
	if s.number != number {
		*s = second{number: number}
	}
	return s
}

// lately sums the window.
func (u *Upstream) lately(t instant) (ok, fail int64) {
	number := int64(t / instant(time.Second))
	for i := range u.seconds {
		if s := &u.seconds[i]; s.number > number-ratioSeconds && s.number <= number {
			ok, fail = ok+s.ok, fail+s.fail
		}
	}
	return ok, fail
}

// Withdraw takes a retry from the budget, or reports that there is none left.
func (u *Upstream) Withdraw(now time.Time) bool {
	t := u.board.at(now)
	u.mu.Lock()
	defer u.mu.Unlock()
	if more := (t - u.refilled) / (instant(time.Second) / budgetSecond); more > 0 {
		u.tokens = min(u.tokens+int64(more), budgetCap)
		u.refilled += more * (instant(time.Second) / budgetSecond)
	}
	if u.tokens < budgetToken {
		u.board.refused.Add(1)
		return false
	}
	u.tokens -= budgetToken
	return true
}

func (u *Upstream) report(t instant, out []gatehouse.RouteHealth) []gatehouse.RouteHealth {
	u.mu.Lock()
	defer u.mu.Unlock()
	ok, fail := u.lately(t)
	c := u.circuit()
	if c == closed && ok+fail == 0 {
		return out
	}
	h := gatehouse.RouteHealth{Upstream: u.id, State: c.state(), Reason: u.reason.String(), Why: u.why, Requests: ok + fail, Failures: fail}
	if c != closed || u.since != 0 {
		h.Since = u.board.millis(u.since)
	}
	switch c {
	case open:
		h.Until = u.board.millis(u.until)
	case halfOpen:
		if u.probing {
			h.Until = u.board.millis(u.probedAt + probePatience)
		}
	}
	return append(out, h)
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
