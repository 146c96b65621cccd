// Package limit owns counting in memory: how often something may happen for one key (Buckets), and how much of each limit a request
// takes (Counter, Charge, Memory), in bounded memory and without allocation.
//
// It does not own what is limited or what happens then, and does no I/O: what nodes share through Valkey counts by the same rules, in
// package valkey.
package limit

import (
	"hash/maphash"
	"sync"
	"time"
)

// Buckets are token buckets, one for each key: Burst events at once, refilled evenly over Per. They are kept in bounded memory
// and are safe for concurrent use.
//
// When MaxKeys keys have a bucket that is not full, no bucket is given up for a new key: whoever can produce many keys could
// otherwise push out the one that stands in the way. Instead all keys without a bucket share one, of the same size, until
// buckets are full again, which any of them is Per after its last event at the latest. A bucket that is full is worth nothing
// and its place is taken first. So a flood of keys makes refusals more likely for keys not seen before and never less likely for
// a key already counted; use it only where a refusal does no harm to the innocent, as for failed authentication, which the
// holder of the right secret does not meet.
//
// Each bucket is one time: when it will be full again (the generic cell rate algorithm, GCRA).
type Buckets[K comparable] struct {
	seed   maphash.Seed
	shards [shardCount]shard[K]
	cost   int64 // nanoseconds of refill that one event takes
	per    int64 // nanoseconds of refill that a whole bucket takes
}

// Config is the size of every bucket and of the table.
type Config struct {
	Burst   int           // events at once, at least 1
	Per     time.Duration // in which Burst events are refilled
	MaxKeys int           // how many keys are told apart, rounded up to a multiple of 16; a key takes about 50 bytes and its own size
}

const (
	shardCount = 16
	// sweep is how many places a new key looks at for a full bucket, so that an event costs the same under a flood.
	sweep = 8
)

type shard[K comparable] struct {
	mu    sync.Mutex
	index map[K]int32 // place of each key in slots
	slots []slot[K]
	max   int
	hand  int   // where the last sweep ended
	rest  int64 // when the bucket that keys without a place share is full
	_     [40]byte
}

type slot[K comparable] struct {
	key  K
	full int64 // when this bucket is full, in unix nanoseconds
}

// New returns empty buckets. It panics when a number in c is not positive.
func New[K comparable](c Config) *Buckets[K] {
	if c.Burst < 1 || c.Per < time.Duration(c.Burst) || c.MaxKeys < 1 {
		panic("limit: burst, period and number of keys must be positive")
	}
	b := &Buckets[K]{seed: maphash.MakeSeed(), cost: int64(c.Per) / int64(c.Burst), per: int64(c.Per)}
	for i := range b.shards {
		b.shards[i].max = (c.MaxKeys + shardCount - 1) / shardCount
		b.shards[i].index = map[K]int32{}
	}
	return b
}

// Take counts one event for a key at now. It returns 0 when the bucket had room for it; else the event is not counted, and the
// result is how long until there is room. A clock that steps back delays nobody for longer than Per. It does not allocate for a
// key that has a bucket.
func (b *Buckets[K]) Take(key K, now time.Time) time.Duration {
	s := &b.shards[maphash.Comparable(b.seed, key)%shardCount]
	at := now.UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	return b.charge(s.bucket(key, at), at)
}

// Len returns how many keys have a bucket, full ones that nobody replaced included.
func (b *Buckets[K]) Len() int {
	n := 0
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		n += len(s.slots)
		s.mu.Unlock()
	}
	return n
}

// charge takes one event out of the bucket that is full at *full.
func (b *Buckets[K]) charge(full *int64, at int64) time.Duration {
	// A bucket is never further from full than Per, unless the clock went back.
	start := min(max(*full, at), at+b.per)
	if wait := start + b.cost - (at + b.per); wait > 0 {
		return time.Duration(wait)
	}
	*full = start + b.cost
	return 0
}

// bucket returns the key's bucket, a new one, or the shared one. The shard is locked.
func (s *shard[K]) bucket(key K, at int64) *int64 {
	if i, ok := s.index[key]; ok {
		return &s.slots[i].full
	}
	if len(s.slots) < s.max {
		s.index[key] = int32(len(s.slots))
		s.slots = append(s.slots, slot[K]{key: key})
		return &s.slots[len(s.slots)-1].full
	}
	for range min(sweep, s.max) {
		s.hand = (s.hand + 1) % s.max
		old := &s.slots[s.hand]
		if old.full > at {
			continue
		}
		delete(s.index, old.key)
		s.index[key] = int32(s.hand)
		*old = slot[K]{key: key}
		return &old.full
	}
	return &s.rest
}
