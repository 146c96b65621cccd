package finance_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/finance"
)

const usd = 1_000_000_000

// world makes days whose law is known.
type world struct {
	name    string
	base    float64 // USD a day
	growth  float64 // a day, of base
	weekend float64 // what Saturdays and Sundays cost against other days
	noise   func(*rand.Rand) float64
	days    int
	least   float64 // bounds of how often the interval must hold what came
	most    float64
	spike   bool // one day in the history cost twenty times as much
}

func gauss(sigma float64) func(*rand.Rand) float64 {
	return func(r *rand.Rand) float64 { return 1 + sigma*r.NormFloat64() }
}

// skewed is log-normal: mean 1, with a long tail, as costs are.
func skewed(sigma float64) func(*rand.Rand) float64 {
	return func(r *rand.Rand) float64 { return math.Exp(sigma*r.NormFloat64() - sigma*sigma/2) }
}

// TestCoverage predicts hundreds of months of each of several laws whose law is known and counts how often the 80 % interval holds what they cost.
func TestCoverage(t *testing.T) {
	const months = 250
	for _, w := range []world{
		{name: "flat", base: 100, weekend: 1, noise: gauss(0.2), days: 56, least: 0.68, most: 0.93},
		{name: "weekends", base: 100, weekend: 0.3, noise: gauss(0.2), days: 56, least: 0.68, most: 0.93},
		{name: "idle weekends", base: 100, weekend: 0, noise: gauss(0.2), days: 56, least: 0.68, most: 0.93},
		{name: "skewed", base: 40, weekend: 0.5, noise: skewed(0.5), days: 56, least: 0.68, most: 0.93},
		{name: "growing", base: 100, growth: 0.005, weekend: 0.6, noise: gauss(0.15), days: 56, least: 0.68, most: 0.93},
		{name: "a bad day", base: 100, weekend: 0.6, noise: gauss(0.2), days: 56, spike: true, least: 0.68, most: 0.93},
		{name: "two weeks", base: 100, weekend: 1, noise: gauss(0.3), days: 14, least: 0.68, most: 0.93},
		{name: "three days", base: 100, weekend: 1, noise: gauss(0.3), days: 3, least: 0.75, most: 1},
	} {
		t.Run(w.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, uint64(len(w.name))))
			held, off := 0, 0.0
			for range months {
				const ahead = 15
				s := finance.Series{First: time.Weekday(r.IntN(7))}
				spike := w.days / 2
				draw := func(i int) gatehouse.NanoUSD {
					v := w.base * (1 + w.growth*float64(i)) * w.noise(r)
					if d := (int(s.First) + i) % 7; d == 0 || d == 6 {
						v *= w.weekend
					}
					if w.spike && i == spike {
						v *= 20
					}
					return gatehouse.NanoUSD(max(v, 0) * usd)
				}
				for i := range w.days {
					s.Days = append(s.Days, draw(i))
				}
				p := finance.Predict(&s, ahead, 0.8)
				var came gatehouse.NanoUSD
				for i := range ahead {
					came += draw(w.days + i)
				}
				if p.Low <= came && came <= p.High {
					held++
				}
				if p.Low > p.Expected || p.Expected > p.High {
					t.Fatalf("expected %d is not within %d to %d", p.Expected, p.Low, p.High)
				}
				off += float64(p.Expected-came) / float64(came)
			}
			coverage, bias := float64(held)/months, off/months
			t.Logf("held %.1f %% of the time, %.1f %% off on average", 100*coverage, 100*bias)
			if coverage < w.least || coverage > w.most {
				t.Errorf("the interval held %.3f of the time, want %.2f to %.2f", coverage, w.least, w.most)
			}
			if math.Abs(bias) > 0.08 {
				t.Errorf("the expectation is %.3f off on average", bias)
			}
		})
	}
}

func TestPredictionIsTheSameAgain(t *testing.T) {
	s := finance.Series{First: time.Monday, Elapsed: 0.5, Today: 3 * usd}
	for i := range 40 {
		s.Days = append(s.Days, gatehouse.NanoUSD(i%9)*usd)
	}
	if a, b := finance.Predict(&s, 10, 0.8), finance.Predict(&s, 10, 0.8); a != b {
		t.Errorf("%+v, then %+v", a, b)
	}
}

// TestLittleData shows that a prediction says when it has little to go by, and is wide then.
func TestLittleData(t *testing.T) {
	for n := range 7 {
		s := finance.Series{First: time.Monday, Today: usd, Elapsed: 0.5}
		for range n {
			s.Days = append(s.Days, 10*usd)
		}
		p := finance.Predict(&s, 10, 0.8)
		if p.Note == "" {
			t.Errorf("%d days: no note", n)
		}
		if p.High-p.Low < p.Expected/2 {
			t.Errorf("%d days that were all the same: %d to %d is too sure", n, p.Low, p.High)
		}
	}
	nothing := finance.Predict(&finance.Series{}, 10, 0.8)
	if nothing.Expected != 0 || nothing.High != 0 || nothing.Note == "" {
		t.Errorf("of nothing: %+v", nothing)
	}
}

// TestTodayCountsOnce shows that what is left of today is what is predicted of it.
func TestTodayCountsOnce(t *testing.T) {
	s := finance.Series{First: time.Monday}
	for range 28 {
		s.Days = append(s.Days, 10*usd)
	}
	for _, elapsed := range []float64{0, 0.25, 1} {
		s.Elapsed = elapsed
		want := gatehouse.NanoUSD((5 - elapsed) * 10 * usd)
		if p := finance.Predict(&s, 5, 0.8); p.Expected != want || p.Low != want || p.High != want {
			t.Errorf("%.2f of today passed: %+v, want %d", elapsed, p, want)
		}
	}
}
