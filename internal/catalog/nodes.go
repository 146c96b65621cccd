package catalog

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// nodes is what this node knows of itself and the others from the rows that heartbeats write.
type nodes struct {
	clock clock
	// process begins the id of every row of this process. Each row is prefix and a number; a new one is taken when the lease of
	// the last may have run out.
	process string
	turn    chan struct{} // held while the rows are read, so that many waiters share one reading

	mu   sync.Mutex // guards seen and began
	seen map[string]sighting
	// began is when the reading behind seen began; 0: there was none.
	began time.Duration

	// The rest is the follower's own.
	rows   int           // how many rows this process has taken
	self   string        // id of the row it beats in now
	alive  time.Duration // when the last beat in self that succeeded began, or the first attempt
	beaten bool          // a beat in self succeeded
	drop   string        // id of a row to drop with the next beat
	// renewed is when the last renewal that went through all its steps began; 0: none did.
	renewed time.Duration
	told    int // the version of the pepper that the last beat said this node knows
}

// sighting is a row as it was last read.
type sighting struct {
	beat    int64
	applied int64
	length  time.Duration // its max_staleness
	pepper  int64         // the highest version of the pepper it knows
	since   time.Duration // when this node had first read this beat, on its boot clock
}

// view is one reading of the rows.
type view struct {
	began time.Duration // on the boot clock
	rows  map[string]sighting
}

func newNodes(clock clock, process string) nodes {
	return nodes{clock: clock, process: process, turn: make(chan struct{}, 1), seen: map[string]sighting{}}
}

// Process names this process among those that have used the database; a node that starts again is another one. It is the
// incarnation of the node's rows.
func (c *Catalog) Process() string { return c.nodes.process }

// LiveNodes returns how many nodes may be serving, this one included: those whose leases had not run out when they were last seen.
func (c *Catalog) LiveNodes() int {
	n := &c.nodes
	n.mu.Lock()
	defer n.mu.Unlock()
	live := 1
	if len(n.seen) == 0 {
		return live // a request asks: the clock is a system call
	}
	now := n.clock.boot()
	for _, s := range n.seen {
		if !s.over(now) {
			live++
		}
	}
	return live
}

// own reports whether a row is this process's.
func (n *nodes) own(id string) bool { return strings.HasPrefix(id, n.process+".") }

// over reports whether every lease a row stood for when the view was read had run out, so that whatever its node does next will
// have read the feed again first.
func (s *sighting) over(at time.Duration) bool { return at-s.since > s.length+slack }

// forgotten reports whether a row has been silent for so long that it only clutters the list.
func (s *sighting) forgotten(at time.Duration) bool {
	return at-s.since > 10*(s.length+slack)+time.Minute
}

// list returns a reading that began at notBefore or later, its own or another caller's.
func (n *nodes) list(ctx context.Context, db *store.DB, notBefore time.Duration) (view, error) {
	select {
	case n.turn <- struct{}{}:
		defer func() { <-n.turn }()
	case <-ctx.Done():
		return view{}, ctx.Err()
	}
	n.mu.Lock()
	v := view{began: n.began, rows: n.seen}
	n.mu.Unlock()
	if v.began != 0 && v.began >= notBefore {
		return v, nil
	}
	began := n.clock.boot()
	var rows []store.Node
	err := db.View(ctx, func(tx *store.Tx) (err error) {
		rows, err = tx.Nodes()
		return err
	})
	if err != nil {
		return view{}, err
	}
	return n.observe(began, rows), nil
}

// observe takes a reading in.
func (n *nodes) observe(began time.Duration, rows []store.Node) view {
	now := n.clock.boot() // after the reading: what it shows had committed by now
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.began != 0 && began < n.began {
		return view{began: n.began, rows: n.seen}
	}
	seen := make(map[string]sighting, len(rows))
	for _, row := range rows {
		if n.own(row.ID) {
			continue
		}
		s := sighting{beat: row.Beat, applied: row.AppliedSeq, length: time.Duration(row.MaxStalenessMillis) * time.Millisecond, pepper: row.PepperVersion, since: now}
		if prev, ok := n.seen[row.ID]; ok && prev.beat == s.beat {
			s.since = prev.since
		}
		seen[row.ID] = s
	}
	n.seen, n.began = seen, max(began, 1)
	return view{began: n.began, rows: seen}
}

// choose sees to it that the row of a beat that began at a moment is one that others cannot have taken for dead. They may have
// dropped such a row, and beats that count from 1 again must not be mistaken for old ones.
func (n *nodes) choose(began, length time.Duration) {
	if n.rows > 0 && began-n.alive <= length {
		return
	}
	if n.beaten {
		n.drop = n.self
	}
	n.rows++
	n.self, n.alive, n.beaten = n.process+"."+strconv.Itoa(n.rows), began, false
}

// restart takes a new row with the next beat and forgets what was seen of the others: their rows may be older ones now, and beats
// that count again from less must not be taken for those of before.
func (n *nodes) restart() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen, n.began = map[string]sighting{}, 0
	n.alive = -1 << 62
	n.renewed = 0
}

// beat notes that the row's beat, and the drop that went with it, committed.
func (n *nodes) beat(began time.Duration) { n.alive, n.beaten, n.drop = began, true, "" }

// tidy has the next beat drop a forgotten row.
func (n *nodes) tidy(v view) {
	for id, s := range v.rows {
		if s.forgotten(v.began) {
			n.drop = id
			return
		}
	}
}

// renewInterval is the time between renewals: a quarter of max_staleness, so that several may fail, and at most 30 s.
func (c *Catalog) renewInterval() time.Duration { return min(c.lease.length/4, 30*time.Second) }

func (c *Catalog) renewalDue() bool {
	n := &c.nodes
	return n.renewed == 0 || n.clock.boot()-n.renewed >= c.renewInterval() ||
		!c.lease.stands() || // a clock was set
		n.told != c.pepper()
}

// renew beats, which also acknowledges what is applied, and renews the lease: the steps are in the comment of lease. It returns the
// last sequence committed.
func (c *Catalog) renew(ctx context.Context) (last int64, err error) {
	n := &c.nodes
	began := n.clock.read()
	n.choose(began.boot, c.lease.length)
	pepper := c.pepper()
	err = c.db.Record(ctx, store.Batch{
		Node: &store.NodeBeat{
			ID:                 n.self,
			Incarnation:        n.process,
			AppliedSeq:         c.Applied(),
			MaxStalenessMillis: c.lease.length.Milliseconds(),
			PepperVersion:      int64(pepper),
		},
		DropNode: n.drop,
	})
	if err != nil {
		return 0, err
	}
	n.beat(began.boot)
	n.told = pepper
	reading := n.clock.boot()
	var rows []store.Node
	err = c.db.View(ctx, func(tx *store.Tx) error {
		if err := c.sameEpoch(tx); err != nil {
			return err
		}
		if last, err = tx.LastSeq(); err != nil {
			return err
		}
		rows, err = tx.Nodes()
		return err
	})
	if err != nil {
		return 0, err
	}
	n.renewed = max(began.boot, 1)
	c.lease.renew(began, last)
	c.lease.grant(c.Applied())
	n.tidy(n.observe(reading, rows))
	return last, nil
}

// leave gives the lease up and then takes the node's row away.
func (c *Catalog) leave(ctx context.Context) {
	c.lease.end()
	n := &c.nodes
	if c.single || !n.beaten {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := c.db.Record(ctx, store.Batch{DropNode: n.self}); err != nil {
		c.logger.Warn("cannot take this node off the list; until its lease is over others wait for it", "error", err)
	}
}

// Effect is how far a change has reached.
type Effect struct {
	// Everywhere: every node that may serve has applied the change. No request that begins later is judged without it.
	Everywhere bool
	// EffectiveBy is when the change holds on the nodes that were not heard of as well, at the latest. 0 when Everywhere.
	EffectiveBy gatehouse.Millis
}

const (
	settleTimeout = 2 * time.Second
	firstLook     = 5 * time.Millisecond
	lastLook      = 50 * time.Millisecond
)

// Settle waits until this and every live node has applied the change of a sequence number that is committed, for at most 2 s or
// until ctx ends. Call it after the commit, from any goroutine but the follower's (OnChange).
//
// When the database fails between the commit and the reading of the nodes, EffectiveBy rests on the nodes this one knew of.
func (c *Catalog) Settle(ctx context.Context, seq int64) Effect {
	entered := c.nodes.clock.read() // after the commit, so every bound that is counted from here is on the safe side
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()

	// Own node: what is not applied here in time is forbidden here no later than the lease, or lag, allows.
	limit := time.Duration(0)
	if !c.await(ctx, seq) {
		limit = entered.boot + c.lease.length
	}
	if c.single {
		return effect(entered, limit)
	}
	others, known := time.Duration(0), false
	for look := firstLook; ; look = min(2*look, lastLook) {
		v, err := c.nodes.list(ctx, c.db, c.nodes.clock.boot())
		if err == nil {
			known = true
			if others = v.limit(seq, entered.boot); others == 0 {
				break
			}
		}
		timer := time.NewTimer(look)
		select {
		case <-timer.C:
			continue
		case <-ctx.Done():
			timer.Stop()
		}
		break
	}
	if !known {
		others = c.worst(entered.boot)
	}
	return effect(entered, max(limit, others))
}

// await waits until seq is applied here; false: ctx ended first.
func (c *Catalog) await(ctx context.Context, seq int64) bool {
	for {
		c.advancing.Lock()
		advanced := c.advanced
		c.advancing.Unlock()
		if c.Applied() >= seq {
			return true
		}
		select {
		case <-advanced:
		case <-ctx.Done():
			return c.Applied() >= seq
		}
	}
}

// drift is how far two clocks that count the same lease may part: the kernel slews by at most 500 ppm, either way.
func drift(length time.Duration) time.Duration { return length / 500 }

// limit returns when the last node that may serve without seq will have stopped, on the boot clock; 0: all have applied it.
func (v *view) limit(seq int64, committed time.Duration) time.Duration {
	var limit time.Duration
	for _, s := range v.rows {
		if s.applied < seq && !s.over(v.began) {
			limit = max(limit, committed, min(committed, s.since)+s.length+drift(s.length))
		}
	}
	return limit
}

// worst is limit when the rows cannot be read.
func (c *Catalog) worst(committed time.Duration) time.Duration {
	longest := c.lease.length
	c.nodes.mu.Lock()
	defer c.nodes.mu.Unlock()
	for _, s := range c.nodes.seen {
		longest = max(longest, s.length)
	}
	return committed + longest + drift(longest)
}

// effect turns a limit on the boot clock into an Effect.
func effect(entered reading, limit time.Duration) Effect {
	if limit == 0 {
		return Effect{Everywhere: true}
	}
	wall := entered.wall + int64(limit-entered.boot)
	return Effect{EffectiveBy: gatehouse.Millis(wall/int64(time.Millisecond) + 1)}
}
