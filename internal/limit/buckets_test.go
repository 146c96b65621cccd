package limit_test

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatehouse/internal/limit"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// A bucket lets Burst events through at once, then one each Per/Burst, and says exactly when.
func TestTake(t *testing.T) {
	b := limit.New[string](limit.Config{Burst: 5, Per: 10 * time.Second, MaxKeys: 10})
	now := start
	for i := range 5 {
		if wait := b.Take("a", now); wait != 0 {
			t.Fatalf("event %d: wait %v, want 0", i, wait)
		}
	}
	if wait := b.Take("a", now); wait != 2*time.Second {
		t.Fatalf("sixth event: wait %v, want 2s", wait)
	}
	if wait := b.Take("b", now); wait != 0 {
		t.Fatalf("another key: wait %v, want 0", wait)
	}
	now = now.Add(2*time.Second - 1)
	if wait := b.Take("a", now); wait != 1 {
		t.Fatalf("a nanosecond early: wait %v, want 1ns", wait)
	}
	now = now.Add(1)
	if wait := b.Take("a", now); wait != 0 {
		t.Fatalf("in time: wait %v, want 0", wait)
	}
	if wait := b.Take("a", now); wait != 2*time.Second {
		t.Fatalf("at once again: wait %v, want 2s", wait)
	}
	now = now.Add(time.Hour)
	for i := range 5 {
		if wait := b.Take("a", now); wait != 0 {
			t.Fatalf("after an hour, event %d: wait %v, want 0", i, wait)
		}
	}
	if wait := b.Take("a", now); wait == 0 {
		t.Fatal("a full bucket holds more than Burst")
	}
}

// A clock that steps back does not lock a key out for longer than Per.
func TestClockStepsBack(t *testing.T) {
	b := limit.New[int](limit.Config{Burst: 2, Per: time.Second, MaxKeys: 10})
	b.Take(1, start)
	b.Take(1, start)
	early := start.Add(-24 * time.Hour)
	if wait := b.Take(1, early); wait <= 0 || wait > time.Second {
		t.Fatalf("wait %v, want at most 1s", wait)
	}
	if wait := b.Take(1, early.Add(time.Second)); wait > time.Second {
		t.Fatalf("wait %v, want at most 1s", wait)
	}
}

// For any keys and any order of events, also when there are more keys than places, no key gets more than a bucket's worth and its
// refill, and once more when it moved between a place of its own and the shared one.
func TestNeverMoreThanAllowed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		burst := rapid.IntRange(1, 5).Draw(t, "burst")
		per := time.Duration(rapid.IntRange(1, 10).Draw(t, "per")) * time.Second
		b := limit.New[int](limit.Config{Burst: burst, Per: per, MaxKeys: rapid.IntRange(1, 40).Draw(t, "max")})
		taken := map[int][]time.Time{}
		now := start
		for range rapid.IntRange(1, 400).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "pause")) * time.Millisecond / 4)
			key := rapid.IntRange(0, 60).Draw(t, "key")
			if b.Take(key, now) != 0 {
				continue
			}
			taken[key] = append(taken[key], now)
			atOnce, inWindow := 0, 0
			for _, at := range taken[key] {
				if at.Equal(now) {
					atOnce++
				}
				if now.Sub(at) < per {
					inWindow++
				}
			}
			if atOnce > 2*burst || inWindow > 3*burst {
				t.Fatalf("key %d: %d events at once and %d within %v, burst %d", key, atOnce, inWindow, per, burst)
			}
		}
	})
}

// A flood of other keys neither takes more memory than promised nor gives an exhausted key its bucket back.
func TestFloodDoesNotReset(t *testing.T) {
	const places = 64
	b := limit.New[string](limit.Config{Burst: 3, Per: time.Minute, MaxKeys: places})
	now := start
	for range 3 {
		b.Take("attacker", now)
	}
	for i := range 100_000 {
		now = now.Add(100 * time.Microsecond) // 10 s in all: nobody's bucket is full again
		b.Take(fmt.Sprint("other", i), now)
		if i%1000 == 0 && b.Take("attacker", now) == 0 {
			t.Fatalf("after %d other keys the attacker may try again", i)
		}
	}
	if n := b.Len(); n > places {
		t.Fatalf("%d keys have a bucket, want at most %d", n, places)
	}
	// The flood is over: a minute later everybody has a place again, the attacker and people not seen before.
	now = now.Add(time.Minute)
	for _, key := range []string{"attacker", "new"} {
		for i := range 3 {
			if wait := b.Take(key, now); wait != 0 {
				t.Errorf("%s, event %d: wait %v, want 0", key, i, wait)
			}
		}
		if b.Take(key, now) == 0 {
			t.Errorf("%s got more than its burst", key)
		}
	}
	if n := b.Len(); n > places {
		t.Fatalf("%d keys have a bucket, want at most %d", n, places)
	}
}

// Keys that find no place share one bucket: together they get its burst, not each its own.
func TestKeysWithoutAPlaceShareOne(t *testing.T) {
	b := limit.New[int](limit.Config{Burst: 2, Per: time.Minute, MaxKeys: 16})
	for i := range 10_000 {
		b.Take(i, start) // every place is taken by a bucket that is not full
	}
	granted := 0
	for i := range 10_000 {
		if b.Take(100_000+i, start) == 0 {
			granted++
		}
	}
	if granted != 0 { // the shared buckets were used up by the keys that came too late above
		t.Errorf("%d events of new keys were let through, want 0", granted)
	}
}

// Concurrent events of one key are counted exactly.
func TestConcurrent(t *testing.T) {
	b := limit.New[netip.Addr](limit.Config{Burst: 100, Per: time.Hour, MaxKeys: 100})
	addr := netip.MustParseAddr("2001:db8::1")
	var granted atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 50 {
				if b.Take(addr, start) == 0 {
					granted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if granted.Load() != 100 {
		t.Errorf("granted %d, want exactly 100", granted.Load())
	}
}

func TestTakeDoesNotAllocate(t *testing.T) {
	addrs := limit.New[netip.Addr](limit.Config{Burst: 5, Per: time.Second, MaxKeys: 100})
	words := limit.New[string](limit.Config{Burst: 5, Per: time.Second, MaxKeys: 100})
	addr, word := netip.MustParseAddr("2001:db8::1"), "0123456789A"
	if n := testing.AllocsPerRun(1000, func() { addrs.Take(addr, start); words.Take(word, start) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestNewPanics(t *testing.T) {
	for _, c := range []limit.Config{{}, {Burst: 1, Per: time.Second}, {Burst: 1, MaxKeys: 1}, {Per: time.Second, MaxKeys: 1}, {Burst: 2, Per: 1, MaxKeys: 1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("New(%+v) did not panic", c)
				}
			}()
			limit.New[int](c)
		}()
	}
}

func BenchmarkTake(b *testing.B) {
	buckets := limit.New[netip.Addr](limit.Config{Burst: 5, Per: time.Second, MaxKeys: 100_000})
	addrs := make([]netip.Addr, 50_000)
	for i := range addrs {
		addrs[i] = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		buckets.Take(addrs[i], start)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		buckets.Take(addrs[i*7919%len(addrs)], start)
	}
}
