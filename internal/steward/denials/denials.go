// Package denials writes into the audit log who was refused: credentials that are not accepted, and changes that a credential may not
// make. Whoever is refused without end must not fill a disk, so what happens again is counted, and written once in a while.
//
// It owns the counting and its bounds. It does not own who is refused (authn, adminapi) or the audit log (store).
package denials

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// The types of events.
const (
	Unauthenticated = "authentication.failed" // the credential was refused
	Forbidden       = "access.denied"         // the credential is good, and not for this
)

// The bounds: how many pairs of an address and a key are told apart at once, and how many reasons of each; how long is counted before
// it is written, which doubles as long as the first bound is met.
const (
	maxPairs   = 32
	maxReasons = 8
	minWait    = time.Minute
	maxWait    = 64 * time.Minute
)

// Denial is one refusal. It holds nothing secret.
type Denial struct {
	Type         string // Unauthenticated or Forbidden
	Organization string // of the key, "" where nobody knows it
	Project      string
	Actor        gatehouse.Actor // its Key may be an id that does not exist
	Addr         netip.Addr      // of the caller; what is counted together has one
	Reason       string          // a rule, or a rule and what it refused
}

// pair is what is counted together.
type pair struct {
	kind, organization, project, key string
	addr                             netip.Addr
}

// count is what is known of a pair.
type count struct {
	actor       gatehouse.Actor
	n           int64
	first, last time.Time
	reasons     map[string]int64
}

// Config is what a Log needs. Every field is required.
type Config struct {
	DB     *store.DB
	Now    func() time.Time
	Logger *slog.Logger
}

// Log counts denials. Note may be called concurrently.
type Log struct {
	cfg  Config
	mu   sync.Mutex
	open map[pair]*count   // guarded by mu; at most maxPairs
	rest map[string]*count // guarded by mu: by type, those for which there was no room
}

// New returns a log. Nothing is written before Run.
func New(cfg Config) *Log {
	return &Log{cfg: cfg, open: map[pair]*count{}, rest: map[string]*count{}}
}

// Note counts a denial. It does not wait for anything.
func (l *Log) Note(d Denial) {
	now := l.cfg.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	p := pair{d.Type, d.Organization, d.Project, d.Actor.Key, d.Addr}
	c := l.open[p]
	switch {
	case c != nil:
	case len(l.open) < maxPairs:
		c = &count{actor: d.Actor, first: now, reasons: map[string]int64{}}
		c.actor.IP = d.Addr.String()
		l.open[p] = c
	default:
		if c = l.rest[d.Type]; c == nil {
			c = &count{actor: gatehouse.Actor{Kind: gatehouse.ActorNobody}, first: now, reasons: map[string]int64{}}
			l.rest[d.Type] = c
		}
	}
	reason := d.Reason
	if _, known := c.reasons[reason]; !known && len(c.reasons) >= maxReasons {
		reason = "others"
	}
	c.reasons[reason]++
	c.n, c.last = c.n+1, now
}

// Run writes what was counted, until ctx ends, and then once more.
func (l *Log) Run(ctx context.Context) {
	wait := minWait
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer stop()
			l.write(ctx)
			return
		case <-timer.C:
			if full := l.write(ctx); full {
				wait = min(2*wait, maxWait)
			} else {
				wait = minWait
			}
		}
	}
}

// write writes what was counted since the last time. full says that there was no room for some of it.
func (l *Log) write(ctx context.Context) (full bool) {
	l.mu.Lock()
	open, rest := l.open, l.rest
	l.open, l.rest = map[pair]*count{}, map[string]*count{}
	l.mu.Unlock()
	for p, c := range open {
		l.event(ctx, p, c, false)
	}
	for kind, c := range rest {
		l.event(ctx, pair{kind: kind}, c, true)
	}
	return len(rest) > 0
}

// change is what an event says of a count.
type change struct {
	Count   int64            `json:"count"`
	Reasons map[string]int64 `json:"reasons"`
	FirstAt int64            `json:"first_at"` // unix seconds
	LastAt  int64            `json:"last_at"`
	Others  bool             `json:"others,omitempty"` // of many addresses and keys, for which there was no room
}

// event writes one count.
func (l *Log) event(ctx context.Context, p pair, c *count, others bool) {
	text, err := json.Marshal(change{Count: c.n, Reasons: c.reasons, FirstAt: c.first.Unix(), LastAt: c.last.Unix(), Others: others})
	if err != nil {
		panic("denials: a count does not encode: " + err.Error()) // it is numbers
	}
	ev := gatehouse.Event{Type: p.kind, Organization: p.organization, Project: p.project, Actor: c.actor, SubjectID: p.key, Change: text}
	if _, err := l.cfg.DB.Update(ctx, ev, (*store.Tx).ToFirstOrganization); err != nil {
		l.cfg.Logger.Warn("refusals are not in the audit log", "type", p.kind, "key", p.key, "address", p.addr.String(), "count", c.n,
			"reasons", slices.Sorted(maps.Keys(c.reasons)), "error", err)
	}
}
