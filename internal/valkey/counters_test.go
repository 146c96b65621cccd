package valkey_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"gatehouse"
	"gatehouse/internal/limit"
	"gatehouse/internal/limit/limittest"
	"gatehouse/internal/store/storetest"
	"gatehouse/internal/valkey"
)

// standing is a clock that tests move, the same for a node and its server.
type standing struct{ ms atomic.Int64 }

func (c *standing) now() time.Time { return time.UnixMilli(1_700_000_000_000 + c.ms.Load()) }
func (c *standing) millis() int64  { return c.now().UnixMilli() }

func counters(t testing.TB, address string, nodes int, now func() time.Time) (*valkey.Counters, *lines) {
	t.Helper()
	log := &lines{}
	c, err := valkey.OpenCounters(t.Context(), valkey.CountersConfig{URL: "redis://" + address, Nodes: func() int { return nodes }, Now: now, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c, log
}

func server(t testing.TB) (string, *redis.Client) {
	t.Helper()
	address := storetest.Redis(t)
	client := redis.NewClient(&redis.Options{Addr: address})
	t.Cleanup(func() { _ = client.Close() })
	return address, client
}

// one charge of a counter
func of(c *limit.Counter, amount int64) []limit.Charge {
	return []limit.Charge{{Counter: c, Amount: amount}}
}

func requests(t testing.TB, perMinute int64) *limit.Counter {
	t.Helper()
	return limittest.CountersOf("a", gatehouse.Rates{RequestsPerMinute: perMinute})[0]
}

// passed takes from a counter until nodes in turn have refused, and returns how many were let through.
func passed(ctx context.Context, c *limit.Counter, nodes ...*valkey.Counters) (n int64) {
	for refused := 0; refused < len(nodes); {
		refused = 0
		for _, node := range nodes {
			if node.Take(ctx, of(c, 1)) {
				n++
			} else {
				refused++
			}
		}
	}
	return n
}

func TestCounters(t *testing.T) {
	address := storetest.Redis(t)
	limittest.Run(t, func(tb testing.TB) limittest.Opened {
		var clock standing
		c, log := counters(tb, address, 1, clock.now)
		c.SetClock(clock.millis)
		c.Patient()
		tb.Cleanup(func() {
			if s := c.Stats(); s.Failed != 0 || s.Alone != 0 {
				tb.Errorf("calls failed: %+v\n%s", s, log)
			}
		})
		return limittest.Opened{Counters: c, Advance: func(d time.Duration) { clock.ms.Add(d.Milliseconds()) }, Flush: c.Flush}
	})
}

// TestNodesAgree is pains 54: several nodes count together, exactly, whatever their own clocks say.
func TestNodesAgree(t *testing.T) {
	address := storetest.Redis(t)
	early := func() time.Time { return time.Now().Add(-time.Hour) }
	late := func() time.Time { return time.Now().Add(26 * time.Hour) }
	a, _ := counters(t, address, 3, early)
	b, _ := counters(t, address, 3, late)
	c, _ := counters(t, address, 3, time.Now)
	for _, node := range []*valkey.Counters{a, b, c} {
		node.Patient()
	}
	daily := limittest.CountersOf("a", gatehouse.Rates{RequestsPerDay: 500})[0] // a day: the test's own time refills nothing
	var granted atomic.Int64
	var wg sync.WaitGroup
	for i := range 1000 {
		node := []*valkey.Counters{a, b, c}[i%3]
		wg.Go(func() {
			if node.Take(context.Background(), of(daily, 1)) {
				granted.Add(1)
			}
		})
	}
	wg.Wait()
	if granted.Load() != 500 {
		t.Errorf("granted %d of 500: %+v %+v %+v", granted.Load(), a.Stats(), b.Stats(), c.Stats())
	}
}

// A script that the server has forgotten is sent again.
func TestScriptsAreForgotten(t *testing.T) {
	address, client := server(t)
	c, log := counters(t, address, 1, nil)
	c.Patient()
	counter := limittest.CountersOf("a", gatehouse.Rates{RequestsPerDay: 10})[0]
	for range 3 {
		if !c.Take(t.Context(), of(counter, 1)) {
			t.Error("refused")
		}
		c.Correct(of(counter, 1))
		c.Flush()
		if err := client.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	charge := of(counter, 0)
	if c.Peek(t.Context(), charge); charge[0].Used() != 6 || c.Stats().Failed != 0 {
		t.Errorf("used %d, want 6; %+v\n%s", charge[0].Used(), c.Stats(), log)
	}
}

// TestServerLosesEverything flushes a server in the middle: no node lets through again what it knows to be used.
func TestServerLosesEverything(t *testing.T) {
	address, client := server(t)
	a, _ := counters(t, address, 2, nil)
	b, _ := counters(t, address, 2, nil)
	a.Patient()
	b.Patient()
	daily := limittest.CountersOf("a", gatehouse.Rates{RequestsPerDay: 100})[0]
	n := int64(0)
	for i := range 50 {
		if i%2 == 0 && a.Take(t.Context(), of(daily, 1)) || i%2 == 1 && b.Take(t.Context(), of(daily, 1)) {
			n++
		}
		if i%10 == 9 {
			if err := client.FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	n += passed(t.Context(), daily, a, b)
	// With each loss goes what the other node took since this one asked last: here one request.
	if n < 100 || n > 105 {
		t.Errorf("%d of 100 were let through over 5 losses, want at most 105", n)
	}
}

// TestEachNodeCountsItsShare has the server go away and come back: the nodes together never let through more than the limit, wait for
// nobody, and the server learns what they let through.
func TestEachNodeCountsItsShare(t *testing.T) {
	address, client := server(t)
	gate := newGate(t, address)
	a, aLog := counters(t, gate.address(), 2, nil)
	b, bLog := counters(t, gate.address(), 2, nil)
	a.Patient()
	b.Patient()
	daily := limittest.CountersOf("a", gatehouse.Rates{RequestsPerDay: 100})[0]
	n := int64(0)
	for range 10 {
		for _, node := range []*valkey.Counters{a, b} {
			if node.Take(t.Context(), of(daily, 1)) {
				n++
			}
		}
	}
	gate.cut()
	for range 20 {
		for _, node := range []*valkey.Counters{a, b} {
			if node.Take(t.Context(), of(daily, 1)) {
				n++
			}
		}
	}
	if sa, sb := a.Stats(), b.Stats(); sa.Alone < 20 || sb.Alone < 20 || !sa.Away {
		t.Errorf("decided alone: %+v %+v", sa, sb)
	}
	a.Correct(of(daily, -3)) // what turns out afterwards counts too
	// The server is replaced by an empty one.
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	gate.join()
	waitFor(t, aLog, "is back; rate limits", 1)
	waitFor(t, bLog, "is back; rate limits", 1)
	charge := of(daily, 0)
	a.Peek(t.Context(), charge)
	if used := charge[0].Used(); used < n-3-1 || used > n+1 { // and one, which b took when a had asked last
		t.Errorf("the server heard of %d, want about %d", used, n-3)
	}
	n += passed(t.Context(), daily, a, b)
	if n < 100 || n > 103+2 {
		t.Errorf("%d were let through of 100, and 3 given back", n)
	}
	if text := aLog.String(); strings.Count(text, "valkey is away") != 1 || !strings.Contains(text, "nodes=2") {
		t.Errorf("logged: %s", text)
	}
}

// TestSlowServerSlowsNobody is pains 55: a server that stops answering costs each request that already waits its deadline, once, and no
// request after it anything.
func TestSlowServerSlowsNobody(t *testing.T) {
	gate := newGate(t, storetest.Redis(t))
	c, log := counters(t, gate.address(), 1, nil)
	counter := requests(t, 1_000_000)
	if !c.Take(t.Context(), of(counter, 1)) {
		t.Fatal("refused")
	}
	gate.freeze()
	var wg sync.WaitGroup
	for range 50 { // more than there are connections
		wg.Go(func() { c.Take(context.Background(), of(counter, 1)) })
	}
	wg.Wait()
	failed := c.Stats().Failed
	if failed == 0 || failed > 50 {
		t.Fatalf("%d calls failed, want 1 to 50", failed)
	}
	for range 10_000 {
		if !c.Take(t.Context(), of(counter, 1)) {
			t.Fatal("refused")
		}
	}
	if s := c.Stats(); s.Failed != failed || s.Alone < 10_000 {
		t.Errorf("requests went on asking: %+v, %d failed before", s, failed)
	}
	waitFor(t, log, "valkey is away; rate limits", 1)
}

// A server that answers, but late each time, is left alone as well, until it is fast again.
func TestLateAnswers(t *testing.T) {
	gate := newGate(t, storetest.Redis(t))
	c, log := counters(t, gate.address(), 1, nil)
	counter := requests(t, 1000)
	c.Hurried(time.Minute)
	gate.slowDown(25 * time.Millisecond)
	for range 20 {
		if !c.Take(t.Context(), of(counter, 1)) {
			t.Fatal("refused")
		}
	}
	if s := c.Stats(); !s.Away || s.Shared > 8 {
		t.Errorf("after 20 late answers: %+v", s)
	}
	gate.slowDown(0)
	c.Patient()
	waitFor(t, log, "valkey is back; rate limits", 1)
	shared := c.Stats().Shared
	if c.Take(t.Context(), of(counter, 1)); c.Stats().Shared != shared+1 {
		t.Errorf("the server is not asked again: %+v", c.Stats())
	}
}

// Corrections are gathered: many of them are one call, off the requests' way.
func TestCorrectionsAreGathered(t *testing.T) {
	address, client := server(t)
	c, _ := counters(t, address, 1, nil)
	c.Patient()
	counter := requests(t, 1_000_000)
	c.Take(t.Context(), of(counter, 1000))
	before := commands(t, client)
	for range 500 {
		c.Correct(of(counter, -1))
	}
	c.Flush()
	charge := of(counter, 0)
	if c.Peek(t.Context(), charge); charge[0].Used() > 500 {
		t.Errorf("used %d, want 500 or less", charge[0].Used())
	}
	if calls := commands(t, client) - before; calls > 60 {
		t.Errorf("%d calls of scripts for 500 corrections", calls)
	}
}

func commands(t *testing.T, client *redis.Client) (n int) {
	t.Helper()
	info, err := client.InfoMap(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for name, stats := range info["Commandstats"] {
		if strings.HasPrefix(name, "cmdstat_eval") {
			calls, _, _ := strings.Cut(strings.TrimPrefix(stats, "calls="), ",")
			for _, d := range calls {
				n = n*10 + int(d-'0')
			}
		}
	}
	return n
}

// Counters that are full again leave the server by themselves, and all keys of a call are in one slot of a cluster.
func TestKeysExpireAndStayTogether(t *testing.T) {
	address, client := server(t)
	c, _ := counters(t, address, 1, nil)
	c.Patient()
	l := gatehouse.Limit{Organization: "org-a", Scope: gatehouse.ScopeLabel, Subject: "team={x}", Model: "m", Rates: gatehouse.Rates{RequestsPerMinute: 60, TokensPerMinute: 6000}}
	var charges []limit.Charge
	for _, counter := range limit.CountersOf(&l) {
		charges = append(charges, limit.Charge{Counter: counter, Amount: 30})
	}
	if !c.Take(t.Context(), charges) {
		t.Fatal("refused")
	}
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) != 2 {
		t.Fatalf("keys: %q, %v", keys, err)
	}
	for _, key := range keys {
		if tag, _, _ := strings.Cut(key[strings.Index(key, "{")+1:], "}"); tag != "org-a" {
			t.Errorf("%q: hash tag %q, want the organization", key, tag)
		}
		ttl, err := client.PTTL(t.Context(), key).Result()
		if err != nil || ttl <= 0 || ttl > 90*time.Second {
			t.Errorf("%q lives %v, %v; want at most 90 s", key, ttl, err)
		}
	}
}

func BenchmarkSharedTake4(b *testing.B) {
	c, _ := counters(b, storetest.Redis(b), 1, nil)
	both := limittest.CountersOf("a", gatehouse.Rates{RequestsPerMinute: 1e9, TokensPerMinute: 1e10, RequestsPerDay: 1e9, ImagesPerMinute: 1e9})
	var charges []limit.Charge
	for _, counter := range both {
		charges = append(charges, limit.Charge{Counter: counter, Amount: 1})
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Take(b.Context(), charges)
	}
}
