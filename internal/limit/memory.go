package limit

import (
	"context"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// counterShards is how many organizations are counted at the same time.
const counterShards = 16

// Memory are the counters of one node. They cost nothing to make and are safe for concurrent use; a call holds one mutex, which only
// organizations that share a shard wait for, and allocates nothing for a counter that is in use. A counter that is full again is
// dropped: memory holds those in use.
//
// It also is what a node knows of counters that are shared between nodes: Store keeps what it was told, TakeShare counts when there is
// nobody to ask (package valkey).
type Memory struct {
	now    func() time.Time
	start  time.Time
	_      [32]byte // so that no shard is in the cache line of what every call reads
	shards [counterShards]counterShard
}

// counterShard is two cache lines long: what one CPU changes in a shard takes no other shard's line from another CPU.
type counterShard struct {
	mu    sync.Mutex
	index map[string]int32 // place of each counter in cells
	cells []cell
	free  []int32
	hand  int
	_     [56]byte
}

// cell is the state of one counter.
type cell struct {
	key   string
	at    int64 // of level, in milliseconds since the start
	level int64
	limit int64 // of the counter that changed it last: what refills it until the next change
	per   int64
	// own is what this node counted while it could not ask anybody, and has told nobody yet. It is refilled as a share of the counter is.
	own    int64
	shares int64 // among how many nodes; 0: own is 0
}

// NewMemory returns counters that are all full. now is the clock; its steps count as time that passes, and those back as none.
func NewMemory(now func() time.Time) *Memory {
	m := &Memory{now: now, start: now()}
	for i := range m.shards {
		m.shards[i].index = map[string]int32{}
	}
	return m
}

// Take counts every charge, or none if one does not fit, and reports which. It sets each charge's Level: of what was taken with it, of
// what was refused as it stands.
func (m *Memory) Take(_ context.Context, charges []Charge) bool { return m.take(charges, 1, false) }

// TakeShare is Take for one of several nodes that cannot ask each other: it lets through one of so many parts of each counter. Where a
// single charge is more than such a part, it fits when the counter is full.
func (m *Memory) TakeShare(charges []Charge, nodes int) bool {
	return m.take(charges, max(int64(nodes), 1), true)
}

// Divided are counters of a node among several that share nothing: each lets through its part, so that together they let through what
// a counter allows. A node that is asked for less than its part leaves the rest unused.
type Divided struct {
	*Memory
	Nodes func() int // this one included
}

// Take counts as Memory.TakeShare does.
func (d Divided) Take(_ context.Context, charges []Charge) bool {
	return d.take(charges, max(int64(d.Nodes()), 1), false)
}

// Correct corrects what Take has counted.
func (d Divided) Correct(charges []Charge) { d.correct(charges, max(int64(d.Nodes()), 1), false) }

// take counts for one of so many nodes; owing keeps in mind what was let through.
func (m *Memory) take(charges []Charge, nodes int64, owing bool) bool {
	if len(charges) == 0 {
		return true
	}
	s := &m.shards[charges[0].Counter.shard]
	now := m.millis()
	s.mu.Lock()
	defer s.mu.Unlock()
	fits := true
	for i := range charges {
		c := &charges[i]
		c.slot = s.slot(c.Counter, now)
		cell := &s.cells[c.slot]
		cell.refill(c.Counter, now)
		c.Level = cell.level
		fits = fits && c.Level+c.shared(nodes) <= c.Counter.Whole()
	}
	if fits {
		for i := range charges {
			c := &charges[i]
			cell := &s.cells[c.slot]
			cell.add(c.shared(nodes))
			c.Level = cell.level
			if owing {
				cell.owe(c.Counter.Scaled(c.Amount), nodes)
			}
		}
	}
	s.sweep(now)
	return fits
}

// shared returns what a charge takes when each of several nodes has a part of the counter.
func (c *Charge) shared(nodes int64) int64 {
	if nodes <= 1 || c.Amount <= 0 {
		return c.Counter.Scaled(c.Amount)
	}
	amount := min(c.Amount, MaxAmount)
	if amount > c.Counter.Limit {
		return c.Counter.Scaled(amount) // it never fits
	}
	return c.Counter.Scaled(min(amount*nodes, c.Counter.Limit))
}

// Correct adds each charge's amount, which may be negative, whether it fits or not: what was counted before turned out to be something
// else. A counter that is used beyond its limit is in debt until it has been refilled.
func (m *Memory) Correct(charges []Charge) { m.correct(charges, 1, false) }

// CorrectShare is Correct for what TakeShare let through.
func (m *Memory) CorrectShare(charges []Charge, nodes int) {
	m.correct(charges, max(int64(nodes), 1), true)
}

func (m *Memory) correct(charges []Charge, nodes int64, owing bool) {
	if len(charges) == 0 {
		return
	}
	now := m.millis()
	s := &m.shards[charges[0].Counter.shard]
	s.mu.Lock()
	defer func() { s.mu.Unlock() }() // of the shard that is locked then
	for i := range charges {
		c := &charges[i]
		if of := &m.shards[c.Counter.shard]; of != s { // most often all are of one organization
			s.mu.Unlock()
			s = of
			s.mu.Lock()
		}
		cell := &s.cells[s.slot(c.Counter, now)]
		cell.refill(c.Counter, now)
		cell.add(c.Counter.Scaled(c.Amount * nodes))
		c.Level = cell.level
		if owing {
			cell.owe(c.Counter.Scaled(c.Amount), nodes)
		}
		s.sweep(now)
	}
}

// Peek sets each charge's Level and counts nothing.
func (m *Memory) Peek(_ context.Context, charges []Charge) {
	now := m.millis()
	for i := range charges {
		c := &charges[i]
		s := &m.shards[c.Counter.shard]
		s.mu.Lock()
		c.Level = 0
		if slot, ok := s.index[c.Counter.Key]; ok {
			cell := s.cells[slot]
			cell.refill(c.Counter, now)
			c.Level = cell.level
		}
		s.mu.Unlock()
	}
}

// Store takes each charge's Level for the truth, but for what this node has counted and told nobody.
func (m *Memory) Store(charges []Charge) {
	if len(charges) == 0 {
		return
	}
	now := m.millis()
	s := &m.shards[charges[0].Counter.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range charges {
		c := &charges[i]
		cell := &s.cells[s.slot(c.Counter, now)]
		cell.refill(c.Counter, now)
		cell.add(c.Level + cell.own*max(cell.shares, 1) - cell.level)
	}
	s.sweep(now)
}

// Owe notes amounts that Correct has counted here already and that nobody else was told.
func (m *Memory) Owe(charges []Charge, nodes int) {
	now := m.millis()
	for i := range charges {
		c := &charges[i]
		s := &m.shards[c.Counter.shard]
		s.mu.Lock()
		cell := &s.cells[s.slot(c.Counter, now)]
		cell.refill(c.Counter, now)
		cell.owe(c.Counter.Scaled(c.Amount), int64(max(nodes, 1)))
		s.mu.Unlock()
	}
}

// Debt is what a node has counted of a counter and told nobody. Own and Before are scaled as levels are.
type Debt struct {
	Key        string
	Own        int64 // what the node itself let through, refilled since
	Before     int64 // the level without it, and without what other nodes' shares of it are
	Limit, Per int64
}

// Owed calls tell with every debt. What it returns true for is told.
func (m *Memory) Owed(tell func(Debt) bool) {
	now := m.millis()
	for i := range m.shards {
		s := &m.shards[i]
		var debts []Debt
		s.mu.Lock()
		for i := range s.cells {
			c := &s.cells[i]
			if c.key == "" || c.own == 0 {
				continue
			}
			c.pass(now)
			if c.own != 0 {
				debts = append(debts, Debt{c.key, c.own, max(c.level-c.own*max(c.shares, 1), 0), c.limit, c.per})
			}
		}
		s.mu.Unlock()
		for _, d := range debts {
			if !tell(d) {
				continue
			}
			s.mu.Lock()
			if slot, ok := s.index[d.Key]; ok {
				s.cells[slot].own -= d.Own
			}
			s.mu.Unlock()
		}
	}
}

// Len returns how many counters are in memory.
func (m *Memory) Len() int {
	n := 0
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += len(s.index)
		s.mu.Unlock()
	}
	return n
}

func (m *Memory) millis() int64 { return m.now().Sub(m.start).Milliseconds() }

// slot returns the place of a counter's cell. The shard is locked.
func (s *counterShard) slot(c *Counter, now int64) int32 {
	if i := atomic.LoadInt32(&c.hint); int(i) < len(s.cells) && s.cells[i].key == c.Key {
		return i
	}
	i, ok := s.index[c.Key]
	if ok {
		atomic.StoreInt32(&c.hint, i)
		return i
	}
	if n := len(s.free); n > 0 {
		i, s.free = s.free[n-1], s.free[:n-1]
	} else {
		i = int32(len(s.cells))
		s.cells = append(s.cells, cell{})
	}
	s.cells[i] = cell{key: c.Key, at: now, limit: c.Limit, per: c.Per()}
	s.index[c.Key] = i
	atomic.StoreInt32(&c.hint, i)
	return i
}

// sweep drops cells that are full again: it looks at two each time, so that every cell is looked at as often as cells are used, and
// no call costs more than another.
func (s *counterShard) sweep(now int64) {
	for range min(2, len(s.cells)) {
		s.hand = (s.hand + 1) % len(s.cells)
		// Not just when it is full: a counter in use is full now and then, and need not lose its place for it.
		if c := &s.cells[s.hand]; c.key != "" && c.own == 0 && c.at+minute < now && decay(c.level, now-c.at-minute, c.limit) == 0 {
			delete(s.index, c.key)
			*c = cell{}
			s.free = append(s.free, int32(s.hand))
		}
	}
}

// pass refills the cell for the time that has passed.
func (c *cell) pass(now int64) {
	elapsed := max(now-c.at, 0)
	c.at = now
	c.level = decay(c.level, elapsed, c.limit)
	if c.own > 0 {
		c.own = decay(c.own, elapsed, c.limit/max(c.shares, 1))
	}
}

// refill brings the cell to now, and to the counter's limit if that has changed: what was used stays used. A limit that is now lower
// than that is used up, and what was debt stays debt.
func (c *cell) refill(counter *Counter, now int64) {
	c.pass(now)
	if counter.Limit < c.limit {
		c.level = Lower(c.level, c.limit*c.per, counter.Whole())
	}
	c.limit = counter.Limit
}

// Lower returns the level of a bucket that was as large as one whole level and now is as large as a smaller one.
func Lower(level, from, to int64) int64 { return min(level, to) + max(level-from, 0) }

// decay returns a level after some milliseconds in which rate of it were refilled each.
func decay(level, elapsed, rate int64) int64 {
	over, refilled := bits.Mul64(uint64(elapsed), uint64(rate))
	if over != 0 || refilled >= uint64(level) {
		return 0
	}
	return level - int64(refilled)
}

func (c *cell) add(scaled int64) {
	c.level = max(sum(c.level, scaled), 0)
}

func (c *cell) owe(scaled, shares int64) { c.own, c.shares = sum(c.own, scaled), shares }
