// Package limittest is the suite that every implementation of shared counters must pass: the same requests at the same times are let
// through, told the same numbers, and told to wait as long.
package limittest

import (
	"context"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatehouse"
	"gatehouse/internal/limit"
)

// Counters is what is tested.
type Counters interface {
	Take(ctx context.Context, charges []limit.Charge) bool
	Correct(charges []limit.Charge)
	Peek(ctx context.Context, charges []limit.Charge)
}

// Opened is one implementation, empty, at some time.
type Opened struct {
	Counters Counters
	Advance  func(time.Duration) // moves the clock that refills
	Flush    func()              // waits until corrections have been counted
}

// Run runs the suite. open is called often; what it returns may share a server with what it returned before, for every test names an
// organization of its own.
func Run(t *testing.T, open func(testing.TB) Opened) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Opened)
	}{
		{"AllOrNothing", testAllOrNothing},
		{"Waits", testWaits},
		{"Debt", testDebt},
		{"ChangedLimit", testChangedLimit},
		{"Peek", testPeek},
		{"Concurrent", testConcurrent},
		{"LargeNumbers", testLargeNumbers},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
	t.Run("Model", func(t *testing.T) {
		o := open(t)
		rapid.Check(t, func(r *rapid.T) { againstModel(r, o) })
	})
}

// CountersOf returns the counters of a limit on a subject of an organization that no other test has.
func CountersOf(subject string, rates gatehouse.Rates) []*limit.Counter {
	return limit.CountersOf(&gatehouse.Limit{ID: gatehouse.NewID(gatehouse.PrefixLimit), Organization: gatehouse.NewID(gatehouse.PrefixOrganization),
		Scope: gatehouse.ScopeProject, Subject: subject, Rates: rates})
}

// changed returns a counter as it is after its limit was edited.
func changed(c *limit.Counter, units int64) *limit.Counter {
	edited := *c
	edited.Limit = units
	return &edited
}

func take(t testing.TB, o Opened, want bool, charges ...limit.Charge) []limit.Charge {
	t.Helper()
	if got := o.Counters.Take(t.Context(), charges); got != want {
		t.Errorf("take: got %v, want %v: %+v", got, want, charges)
	}
	return charges
}

func peek(t testing.TB, o Opened, c *limit.Counter) limit.Charge {
	t.Helper()
	charges := []limit.Charge{{Counter: c}}
	o.Counters.Peek(t.Context(), charges)
	return charges[0]
}

// A request that one of several limits refuses takes nothing of the others.
func testAllOrNothing(t *testing.T, o Opened) {
	both := CountersOf("a", gatehouse.Rates{RequestsPerMinute: 2, TokensPerMinute: 1000})
	requests, tokens := both[0], both[1]
	take(t, o, true, limit.Charge{Counter: requests, Amount: 1}, limit.Charge{Counter: tokens, Amount: 900})
	refused := take(t, o, false, limit.Charge{Counter: requests, Amount: 1}, limit.Charge{Counter: tokens, Amount: 101})
	if refused[0].Remaining() != 1 || refused[1].Remaining() != 100 || !refused[0].Fits() || refused[1].Fits() || refused[1].Used() != 900 {
		t.Errorf("after a refusal: %+v", refused)
	}
	taken := take(t, o, true, limit.Charge{Counter: requests, Amount: 1}, limit.Charge{Counter: tokens, Amount: 100})
	if taken[0].Remaining() != 0 || taken[1].Remaining() != 0 {
		t.Errorf("after all was taken: %+v", taken)
	}
	if !o.Counters.Take(t.Context(), nil) {
		t.Error("a request that nothing limits is refused")
	}
}

// What a request is told to wait is exact: a millisecond earlier it does not pass.
func testWaits(t *testing.T, o Opened) {
	counters := CountersOf("a", gatehouse.Rates{RequestsPerMinute: 500, TokensPerMinute: 30_000})
	requests, tokens := limit.Charge{Counter: counters[0], Amount: 500}, limit.Charge{Counter: counters[1], Amount: 28_039}
	take(t, o, true, requests, tokens)
	refused := take(t, o, false, limit.Charge{Counter: counters[0], Amount: 1}, limit.Charge{Counter: counters[1], Amount: 3906})
	if refused[0].Wait() != 120 || refused[1].Wait() != 3890 || refused[1].Used() != 28_039 || refused[0].Reset() != 60_000 {
		t.Errorf("waits %d and %d ms, want 120 and 3890; used %d, reset %d", refused[0].Wait(), refused[1].Wait(), refused[1].Used(), refused[0].Reset())
	}
	o.Advance(3889 * time.Millisecond)
	if again := take(t, o, false, limit.Charge{Counter: counters[0], Amount: 1}, limit.Charge{Counter: counters[1], Amount: 3906}); again[1].Wait() != 1 {
		t.Errorf("waits %d ms, want 1", again[1].Wait())
	}
	o.Advance(time.Millisecond)
	take(t, o, true, limit.Charge{Counter: counters[0], Amount: 1}, limit.Charge{Counter: counters[1], Amount: 3906})
	o.Advance(time.Minute)
	if full := peek(t, o, counters[0]); full.Level != 0 || full.Remaining() != 500 || full.Reset() != 0 {
		t.Errorf("a minute later: %+v", full)
	}
	if c := (limit.Charge{Counter: counters[1], Amount: 30_001}); !c.Never() {
		t.Error("more than the limit fits some day")
	}
}

// True usage follows the estimate: less gives back, more puts the counter into debt, and nothing makes it hold more than it allows.
func testDebt(t *testing.T, o Opened) {
	tokens := CountersOf("a", gatehouse.Rates{TokensPerMinute: 600})[0]
	take(t, o, true, limit.Charge{Counter: tokens, Amount: 500})
	o.Counters.Correct([]limit.Charge{{Counter: tokens, Amount: -400}})
	o.Flush()
	if left := peek(t, o, tokens); left.Remaining() != 500 {
		t.Errorf("%d remain after tokens were given back, want 500", left.Remaining())
	}
	o.Counters.Correct([]limit.Charge{{Counter: tokens, Amount: 1100}})
	o.Flush()
	refused := take(t, o, false, limit.Charge{Counter: tokens, Amount: 10})
	if refused[0].Used() != 1200 || refused[0].Wait() != 61_000 || refused[0].Remaining() != 0 || refused[0].Reset() != 120_000 {
		t.Errorf("in debt: used %d, wait %d, remaining %d, reset %d", refused[0].Used(), refused[0].Wait(), refused[0].Remaining(), refused[0].Reset())
	}
	if nothing := take(t, o, false, limit.Charge{Counter: tokens}); nothing[0].Wait() != 60_000 {
		t.Errorf("a request of no tokens waits %d ms for a counter in debt, want 60000", nothing[0].Wait())
	}
	o.Advance(61 * time.Second)
	take(t, o, true, limit.Charge{Counter: tokens, Amount: 10})
	o.Counters.Correct([]limit.Charge{{Counter: tokens, Amount: -5000}})
	o.Flush()
	if left := peek(t, o, tokens); left.Level != 0 || left.Remaining() != 600 {
		t.Errorf("more was given back than taken: %+v", left)
	}
}

// Editing a limit gives nobody a new allowance, and takes no more than there is.
func testChangedLimit(t *testing.T, o Opened) {
	tokens := CountersOf("a", gatehouse.Rates{TokensPerMinute: 1000})[0]
	take(t, o, true, limit.Charge{Counter: tokens, Amount: 900})
	for _, c := range []struct{ limit, remaining int64 }{{1000, 100}, {2000, 1100}, {1000, 100}, {900, 0}, {1000, 100}, {600, 0}, {1000, 400}} {
		got := take(t, o, true, limit.Charge{Counter: changed(tokens, c.limit)})
		if got[0].Remaining() != c.remaining {
			t.Errorf("with a limit of %d remain %d, want %d", c.limit, got[0].Remaining(), c.remaining)
		}
	}
	o.Counters.Correct([]limit.Charge{{Counter: tokens, Amount: 600}}) // 200 of debt
	o.Flush()
	if got := peek(t, o, changed(tokens, 60)); got.Used() != 260 || got.Wait() != 200_000 {
		t.Errorf("debt under a lower limit: used %d, wait %d", got.Used(), got.Wait())
	}
	// What passed before the edit was refilled at the old rate.
	other := CountersOf("b", gatehouse.Rates{TokensPerMinute: 60})[0]
	take(t, o, true, limit.Charge{Counter: other, Amount: 60})
	o.Advance(10 * time.Second)
	if got := peek(t, o, changed(other, 6000)); got.Used() != 50 {
		t.Errorf("used %d after 10 s at 60 a minute, want 50", got.Used())
	}
}

// Looking takes nothing, and knows counters that nobody has used.
func testPeek(t *testing.T, o Opened) {
	c := CountersOf("a", gatehouse.Rates{RequestsPerDay: 10})[0]
	for range 20 {
		if got := peek(t, o, c); got.Remaining() != 10 {
			t.Fatalf("remaining %d, want 10", got.Remaining())
		}
	}
	take(t, o, true, limit.Charge{Counter: c, Amount: 4})
	o.Advance(1439 * time.Second) // a second before a sixtieth of a day
	if got := peek(t, o, c); got.Used() != 4 || got.Remaining() != 6 {
		t.Errorf("used %d, remaining %d", got.Used(), got.Remaining())
	}
}

// A thousand requests at once are counted exactly.
func testConcurrent(t *testing.T, o Opened) {
	counters := CountersOf("a", gatehouse.Rates{RequestsPerMinute: 400, TokensPerMinute: 3000, RequestsPerDay: 5000})
	var granted atomic.Int64
	var wg sync.WaitGroup
	ctx := t.Context()
	for range 1000 {
		wg.Go(func() {
			if o.Counters.Take(ctx, []limit.Charge{{Counter: counters[0], Amount: 1}, {Counter: counters[1], Amount: 10}, {Counter: counters[2], Amount: 1}}) {
				granted.Add(1)
			}
		})
	}
	wg.Wait()
	if granted.Load() != 300 {
		t.Errorf("granted %d, want exactly 300", granted.Load())
	}
	for i, want := range []int64{100, 0, 4700} {
		if got := peek(t, o, counters[i]); got.Remaining() != want {
			t.Errorf("%s: %d remain, want %d", counters[i].Metric, got.Remaining(), want)
		}
	}
}

// The largest limits count as exactly as need be: to a millionth.
func testLargeNumbers(t *testing.T, o Opened) {
	c := CountersOf("a", gatehouse.Rates{BatchInputTokensPerDay: limit.MaxAmount * 10})[0]
	if c.Limit != limit.MaxAmount {
		t.Fatalf("limit %d, want %d", c.Limit, int64(limit.MaxAmount))
	}
	take(t, o, true, limit.Charge{Counter: c, Amount: limit.MaxAmount})
	take(t, o, false, limit.Charge{Counter: c, Amount: 1_000_000})
	for range 20 {
		o.Counters.Correct([]limit.Charge{{Counter: c, Amount: 1 << 62}})
		o.Flush()
	}
	if got := peek(t, o, c); got.Level <= c.Whole() || got.Remaining() != 0 || got.Wait() < 0 {
		t.Errorf("far in debt: %+v", got)
	}
}

// model is one counter as a definition would have it: a bucket whose contents are a fraction, refilled continuously.
type model struct {
	counter *limit.Counter
	used    *big.Rat
}

func (m *model) advance(ms int64) {
	m.used.Sub(m.used, big.NewRat(ms*m.counter.Limit, m.counter.Per()))
	if m.used.Sign() < 0 {
		m.used.SetInt64(0)
	}
}

// againstModel draws requests, corrections and pauses, and compares every answer with the models'.
func againstModel(t *rapid.T, o Opened) {
	rates := gatehouse.Rates{
		RequestsPerMinute: rapid.Int64Range(1, 50).Draw(t, "rpm"),
		TokensPerMinute:   rapid.Int64Range(1, 100_000).Draw(t, "tpm"),
		RequestsPerDay:    rapid.Int64Range(1, 200).Draw(t, "rpd"),
		ImagesPerMinute:   rapid.Int64Range(0, 3).Draw(t, "ipm"),
	}
	var models []*model
	for _, c := range CountersOf("a", rates) {
		models = append(models, &model{c, new(big.Rat)})
	}
	for range rapid.IntRange(1, 60).Draw(t, "steps") {
		ms := rapid.Int64Range(0, 5000).Draw(t, "pause")
		o.Advance(time.Duration(ms) * time.Millisecond)
		for _, m := range models {
			m.advance(ms)
		}
		var charges []limit.Charge
		var of []*model
		for _, m := range models {
			if rapid.Bool().Draw(t, "in") {
				charges = append(charges, limit.Charge{Counter: m.counter, Amount: rapid.Int64Range(0, max(m.counter.Limit/5, 1)).Draw(t, "amount")})
				of = append(of, m)
			}
		}
		if len(charges) == 0 {
			continue
		}
		if rapid.IntRange(0, 3).Draw(t, "correct") == 0 {
			for i := range charges {
				if rapid.Bool().Draw(t, "back") {
					charges[i].Amount = -charges[i].Amount
				}
				of[i].used.Add(of[i].used, big.NewRat(charges[i].Amount, 1))
				if of[i].used.Sign() < 0 {
					of[i].used.SetInt64(0)
				}
			}
			o.Counters.Correct(charges)
			o.Flush()
			continue
		}
		fits := true
		for i, m := range of {
			after := new(big.Rat).Add(m.used, big.NewRat(charges[i].Amount, 1))
			fits = fits && after.Cmp(big.NewRat(m.counter.Limit, 1)) <= 0
		}
		if got := o.Counters.Take(context.Background(), charges); got != fits {
			t.Fatalf("take: got %v, want %v of %+v", got, fits, charges)
		}
		for i, m := range of {
			if fits {
				m.used.Add(m.used, big.NewRat(charges[i].Amount, 1))
			}
			level := new(big.Rat).Mul(m.used, big.NewRat(m.counter.Per(), 1))
			if !level.IsInt() || level.Num().Int64() != charges[i].Level {
				t.Fatalf("%s: level %d, want %s", m.counter.Metric, charges[i].Level, level)
			}
		}
	}
}
