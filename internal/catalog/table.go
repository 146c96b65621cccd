package catalog

import (
	"hash/maphash"
	"maps"
	"math/bits"
	"sync/atomic"
)

// table is a map that many goroutines read without a lock while one writes. It is cut into a power of two of shards, each an
// immutable map behind an atomic pointer: a reader loads the pointer and looks up; the writer copies one shard, changes the copy
// and swaps it in. A value is immutable once it is in a table.
type table[K comparable, V any] struct {
	shards []atomic.Pointer[map[K]*V]
	shift  int
	hash   func(K) uint64 // its high bits choose the shard
}

func newTable[K comparable, V any](shards int, hash func(K) uint64) table[K, V] {
	return table[K, V]{shards: make([]atomic.Pointer[map[K]*V], shards), shift: 64 - bits.TrailingZeros(uint(shards)), hash: hash}
}

func (t *table[K, V]) shard(k K) *atomic.Pointer[map[K]*V] { return &t.shards[t.hash(k)>>t.shift] }

// get returns the value of k, or nil.
func (t *table[K, V]) get(k K) *V {
	m := t.shard(k).Load()
	if m == nil {
		return nil
	}
	return (*m)[k]
}

// put sets the value of k; nil removes it. Only the writer may call it.
func (t *table[K, V]) put(k K, v *V) {
	shard := t.shard(k)
	var next map[K]*V
	if m := shard.Load(); m != nil {
		next = maps.Clone(*m)
	}
	switch {
	case v == nil:
		delete(next, k)
	case next == nil:
		next = map[K]*V{k: v}
	default:
		next[k] = v
	}
	shard.Store(&next)
}

// len counts the values.
func (t *table[K, V]) len() int {
	n := 0
	for i := range t.shards {
		if m := t.shards[i].Load(); m != nil {
			n += len(*m)
		}
	}
	return n
}

// fill collects the values of an empty table, so that every shard is built once at its final size.
type fill[K comparable, V any] struct {
	into   *table[K, V]
	shards [][]pair[K, V]
}

type pair[K comparable, V any] struct {
	key   K
	value *V
}

func (t *table[K, V]) fill() *fill[K, V] {
	return &fill[K, V]{into: t, shards: make([][]pair[K, V], len(t.shards))}
}

func (f *fill[K, V]) add(k K, v *V) {
	i := f.into.hash(k) >> f.into.shift
	f.shards[i] = append(f.shards[i], pair[K, V]{k, v})
}

func (f *fill[K, V]) done() {
	for i, pairs := range f.shards {
		if len(pairs) == 0 {
			continue
		}
		m := make(map[K]*V, len(pairs))
		for _, p := range pairs {
			m[p.key] = p.value
		}
		f.into.shards[i].Store(&m)
		f.shards[i] = nil
	}
}

var seed = maphash.MakeSeed()

func hashString(s string) uint64 { return maphash.String(seed, s) }

// memberID names a membership.
type memberID struct{ project, user string }

func hashMember(m memberID) uint64 {
	return maphash.String(seed, m.project) ^ bits.RotateLeft64(maphash.String(seed, m.user), 23)
}
