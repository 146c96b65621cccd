package limit_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse"
	"gatehouse/internal/limit"
	"gatehouse/internal/limit/limittest"
)

// clock is a clock that tests move.
type clock struct{ ms atomic.Int64 }

func (c *clock) now() time.Time          { return start.Add(time.Duration(c.ms.Load()) * time.Millisecond) }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

func TestMemory(t *testing.T) {
	limittest.Run(t, func(testing.TB) limittest.Opened {
		var c clock
		return limittest.Opened{Counters: limit.NewMemory(c.now), Advance: c.advance, Flush: func() {}}
	})
}

// The machine's own clock refills: what a request is told to wait is what it has to wait.
func TestMemoryInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := limit.NewMemory(time.Now)
		c := limittest.CountersOf("a", gatehouse.Rates{RequestsPerMinute: 7})[0]
		passed := 0
		for began := time.Now(); time.Since(began) < 10*time.Minute; {
			charges := []limit.Charge{{Counter: c, Amount: 1}}
			if m.Take(t.Context(), charges) {
				passed++
				continue
			}
			time.Sleep(time.Duration(charges[0].Wait()) * time.Millisecond)
			if !m.Take(t.Context(), charges) {
				t.Fatalf("refused after the wait: %+v", charges)
			}
			passed++
		}
		if passed != 7+70 { // the bucket, and ten minutes of refill
			t.Errorf("%d passed in ten minutes, want 77", passed)
		}
	})
}

// Counters that are full again leave memory, and those in use stay.
func TestMemoryForgetsTheFull(t *testing.T) {
	var c clock
	m := limit.NewMemory(c.now)
	organization := gatehouse.NewID(gatehouse.PrefixOrganization)
	counter := func(subject string) *limit.Counter {
		return limit.CountersOf(&gatehouse.Limit{Organization: organization, Scope: gatehouse.ScopeKey, Subject: subject, Rates: gatehouse.Rates{RequestsPerMinute: 10}})[0]
	}
	busy := counter("busy")
	for i := range 10_000 {
		c.advance(time.Second / 10)
		m.Take(t.Context(), []limit.Charge{{Counter: counter(gatehouse.RandomBase62(8)), Amount: 1}})
		if i%60 == 0 {
			charges := []limit.Charge{{Counter: busy, Amount: 1}}
			if !m.Take(t.Context(), charges) {
				t.Fatalf("busy at its own rate and refused: %+v", charges)
			}
			if charges[0].Used() < 1 {
				t.Fatal("a counter in use was dropped")
			}
		}
	}
	if n := m.Len(); n > 2500 { // 66 s of them are in use; two places are looked at with each call
		t.Errorf("%d counters are in memory", n)
	}
}

// A clock that goes back gives nobody an allowance and holds nobody up.
func TestMemoryClockStepsBack(t *testing.T) {
	var c clock
	m := limit.NewMemory(c.now)
	counter := limittest.CountersOf("a", gatehouse.Rates{RequestsPerMinute: 60})[0]
	if !m.Take(t.Context(), []limit.Charge{{Counter: counter, Amount: 60}}) {
		t.Fatal("refused")
	}
	c.advance(-24 * time.Hour)
	charges := []limit.Charge{{Counter: counter, Amount: 1}}
	if m.Take(t.Context(), charges) || charges[0].Wait() != 1000 {
		t.Fatalf("after a step back: %+v, wait %d", charges, charges[0].Wait())
	}
	c.advance(time.Second)
	if !m.Take(t.Context(), charges) {
		t.Errorf("a second later: %+v", charges)
	}
}

// Each of several nodes that cannot ask each other lets through its share, and all of them together what the counter allows.
func TestMemoryShares(t *testing.T) {
	var c clock
	counter := limittest.CountersOf("a", gatehouse.Rates{RequestsPerMinute: 100})[0]
	const nodes = 4
	passed := 0
	var all []*limit.Memory
	for range nodes {
		m := limit.NewMemory(c.now)
		m.Store([]limit.Charge{{Counter: counter, Level: counter.Scaled(20)}}) // what was heard last
		all = append(all, m)
	}
	for range 100 {
		for _, m := range all {
			if m.TakeShare([]limit.Charge{{Counter: counter, Amount: 1}}, nodes) {
				passed++
			}
		}
	}
	if passed != 80 {
		t.Errorf("%d passed, want the 80 that remained", passed)
	}
	owed := int64(0)
	for _, m := range all {
		m.Owed(func(d limit.Debt) bool {
			if d.Key != counter.Key || d.Limit != 100 || d.Per != 60_000 || d.Before != counter.Scaled(20) {
				t.Errorf("owed: %+v", d)
			}
			owed += d.Own
			return true
		})
		m.Owed(func(limit.Debt) bool { t.Error("told twice"); return true })
	}
	if owed != counter.Scaled(80) {
		t.Errorf("%d are owed, want %d", owed, counter.Scaled(80))
	}
	// A charge that is larger than a share passes alone.
	big := limittest.CountersOf("b", gatehouse.Rates{TokensPerMinute: 1000})[0]
	m := all[0]
	if !m.TakeShare([]limit.Charge{{Counter: big, Amount: 900}}, nodes) || m.TakeShare([]limit.Charge{{Counter: big, Amount: 1}}, nodes) {
		t.Error("900 of 1000 for one of four nodes: want it to pass, and nothing after it")
	}
	if m.TakeShare([]limit.Charge{{Counter: limittest.CountersOf("c", gatehouse.Rates{TokensPerMinute: 1000})[0], Amount: 1001}}, nodes) {
		t.Error("more than the limit passes")
	}
}

func four() []limit.Charge {
	organization := gatehouse.NewID(gatehouse.PrefixOrganization)
	var charges []limit.Charge
	for _, l := range []gatehouse.Limit{
		{Scope: gatehouse.ScopeOrganization, Subject: organization, Rates: gatehouse.Rates{RequestsPerMinute: 1e9}},
		{Scope: gatehouse.ScopeProject, Subject: "proj_0123456789abcdef01234567", Model: "gpt-4o-mini", Rates: gatehouse.Rates{RequestsPerMinute: 1e9, TokensPerMinute: 1e10}},
		{Scope: gatehouse.ScopeUser, Subject: "user-0123456789abcdef01234567", Rates: gatehouse.Rates{TokensPerMinute: 1e10}},
	} {
		l.Organization = organization
		for _, c := range limit.CountersOf(&l) {
			charges = append(charges, limit.Charge{Counter: c, Amount: 10})
		}
	}
	return charges
}

func TestMemoryDoesNotAllocate(t *testing.T) {
	m := limit.NewMemory(time.Now)
	charges, ctx := four(), t.Context()
	m.Take(ctx, charges)
	if n := testing.AllocsPerRun(1000, func() { m.Take(ctx, charges); m.Correct(charges); m.Peek(ctx, charges) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkMemoryTake4(b *testing.B) {
	m := limit.NewMemory(time.Now)
	charges, ctx := four(), b.Context()
	if len(charges) != 4 {
		b.Fatal(len(charges))
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Take(ctx, charges)
	}
}

func BenchmarkMemoryTake4Parallel(b *testing.B) {
	m := limit.NewMemory(time.Now)
	shared := four()
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		charges := append([]limit.Charge(nil), shared...)
		for p.Next() {
			m.Take(b.Context(), charges)
		}
	})
}

// BenchmarkMemoryParallel takes and corrects for an organization of each goroutine's own.
func BenchmarkMemoryParallel(b *testing.B) {
	m := limit.NewMemory(time.Now)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		charges := four()
		for p.Next() {
			m.Take(b.Context(), charges)
			m.Correct(charges)
		}
	})
}
