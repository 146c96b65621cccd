package catalog

import (
	"hash/maphash"
	"math/bits"
	"sync/atomic"
)

// table is a set of immutable values, found by key, that many goroutines read without a lock while one writes. It is one array
// with open addressing, at most half full: a cold lookup of a key among a million touches little more than the slot and the value
// itself, and a change stores one pointer. (Copying a shard of a Go map per change read two more cold lines and took 50 us.)
//
// A value has a revision, and only a higher one takes its place, in its slot. A removed one leaves a mark in it, which the next
// array drops. A reader that holds an array while the writer moves to another sees the state from when its lookup began.
type table[K comparable, V any] struct {
	slots atomic.Pointer[[]atomic.Pointer[V]] // the length is a power of two
	hash  func(K) uint64                      // its high bits choose the slot
	key   func(*V) K
	rev   func(*V) int64
	mark  *V // stands where a value was removed

	live atomic.Int64 // slots that hold a value
	used int          // slots that hold a value or a mark; the writer's own
}

const firstSlots = 64

func newTable[K comparable, V any](hash func(K) uint64, key func(*V) K, rev func(*V) int64) table[K, V] {
	return table[K, V]{hash: hash, key: key, rev: rev, mark: new(V)}
}

// find returns the slot that holds k, else the empty one where it would go.
func (t *table[K, V]) find(slots []atomic.Pointer[V], k K) (*atomic.Pointer[V], *V) {
	mask := len(slots) - 1
	for i := int(t.hash(k) >> (64 - bits.TrailingZeros(uint(len(slots))))); ; i++ {
		slot := &slots[i&mask]
		v := slot.Load()
		if v == nil || v != t.mark && t.key(v) == k {
			return slot, v
		}
	}
}

// get returns the value of k, or nil.
func (t *table[K, V]) get(k K) *V {
	slots := t.slots.Load()
	if slots == nil {
		return nil
	}
	_, v := t.find(*slots, k)
	return v
}

// each calls f with every value, in no order. A change meanwhile may or may not be seen.
func (t *table[K, V]) each(f func(*V)) {
	slots := t.slots.Load()
	if slots == nil {
		return
	}
	for i := range *slots {
		if v := (*slots)[i].Load(); v != nil && v != t.mark {
			f(v)
		}
	}
}

// outcome is what a put did.
type outcome uint8

const (
	ignored  outcome = iota // the value present is as new or newer
	added                   // there was none
	replaced                // an older value went: authority may have narrowed
)

// put stores a value, unless the one with its key has the same revision or a higher one. Only the writer may call it.
func (t *table[K, V]) put(v *V) outcome {
	slots := t.slots.Load()
	if slots == nil || 2*t.used >= len(*slots) {
		slots = t.grow(slots)
	}
	slot, prev := t.find(*slots, t.key(v))
	if prev != nil && t.rev(v) <= t.rev(prev) {
		return ignored
	}
	slot.Store(v)
	if prev != nil {
		return replaced
	}
	t.used++
	t.live.Add(1)
	return added
}

// remove takes the value of k out. Only the writer may call it.
func (t *table[K, V]) remove(k K) {
	slots := t.slots.Load()
	if slots == nil {
		return
	}
	if slot, v := t.find(*slots, k); v != nil {
		slot.Store(t.mark)
		t.live.Add(-1)
	}
}

// grow publishes an array at most half full, and without marks.
func (t *table[K, V]) grow(from *[]atomic.Pointer[V]) *[]atomic.Pointer[V] {
	live := int(t.live.Load())
	size := firstSlots
	for size <= 2*live {
		size *= 2
	}
	to := make([]atomic.Pointer[V], size)
	if from != nil {
		for i := range *from {
			if v := (*from)[i].Load(); v != nil && v != t.mark {
				slot, _ := t.find(to, t.key(v))
				slot.Store(v)
			}
		}
	}
	t.used = live
	t.slots.Store(&to)
	return &to
}

var seed = maphash.MakeSeed()

func hashString(s string) uint64 { return maphash.String(seed, s) }

// memberID names a membership.
type memberID struct{ project, user string }

func hashMember(m memberID) uint64 {
	return maphash.String(seed, m.project) ^ bits.RotateLeft64(maphash.String(seed, m.user), 23)
}
