package anomaly

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"gatehouse"
)

var bar = Bar{Floor: 500, Factor: 300, Deviations: 6, Days: 3}

// monday is the first hour of the series: a Monday, 00:00.
var monday = gatehouse.MillisOf(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC))

// series is what the hours of some weeks cost, by a function of weekday (0 is Monday) and hour, with noise.
func series(weeks int, noise float64, usual func(week, weekday, hour int) float64) []Point {
	r := rand.New(rand.NewPCG(1, 2))
	var out []Point
	for i := range weeks * 7 * 24 {
		v := usual(i/168, i/24%7, i%24) * math.Exp(noise*r.NormFloat64())
		if v >= 1 {
			out = append(out, Point{monday + gatehouse.Millis(i)*hour, int64(v)})
		}
	}
	return out
}

// alarms judges every hour of a series by those before it.
func alarms(s []Point) (found []Point) {
	for i, p := range s {
		if Judge(s[max(0, i-Lookback*24):i], p.Hour, p.Value, bar).Unusual {
			found = append(found, p)
		}
	}
	return found
}

func day9to5(hour int) float64 {
	if hour >= 9 && hour < 17 {
		return 3000
	}
	return 100
}

// TestUsualIsQuiet: patterns that repeat raise no alarm, from their first hour on.
func TestUsualIsQuiet(t *testing.T) {
	for name, s := range map[string][]Point{
		"constant":                 series(8, 0.3, func(_, _, _ int) float64 { return 2000 }),
		"by day":                   series(8, 0.3, func(_, _, h int) float64 { return 2000 + 1900*math.Sin(float64(h)/24*2*math.Pi) }),
		"office":                   series(8, 0.3, func(_, d, h int) float64 { return map[bool]float64{true: day9to5(h), false: 20}[d < 5] }),
		"nights only":              series(8, 0.3, func(_, _, h int) float64 { return map[bool]float64{true: 4000}[h < 2] }),
		"small numbers that jump":  series(8, 1, func(_, _, _ int) float64 { return 10 }),
		"doubling every two weeks": series(6, 0.2, func(w, d, h int) float64 { return 50 * math.Pow(1.05, float64(w*7+d)) }),
		"a clock that is set":      series(8, 0.3, func(w, _, h int) float64 { return day9to5((h + w/4) % 24) }),
		"a week off":               series(8, 0.3, func(w, _, h int) float64 { return map[bool]float64{true: day9to5(h)}[w != 4] }),
		"three weeks off":          series(8, 0.3, func(w, _, h int) float64 { return map[bool]float64{true: day9to5(h)}[w < 2 || w > 4] }),
	} {
		if found := alarms(s); len(found) > 0 {
			t.Errorf("%s: %d alarms in %d hours, the first %s: %+v", name, len(found), len(s), found[0].Hour.Time(), Judge(s, found[0].Hour, found[0].Value, bar))
		}
	}
}

// TestWeeklyWork: what happens once a week is news the first time and usual from the second on.
func TestWeeklyWork(t *testing.T) {
	s := series(8, 0.2, func(_, d, h int) float64 {
		if d == 6 && h == 3 {
			return 20_000
		}
		return 300
	})
	found := alarms(s)
	if len(found) != 1 || found[0].Hour != monday+6*day+3*hour {
		t.Errorf("alarms %v, want one in the first week", found)
	}
}

// TestSpikes: an hour far over what is usual is found, whenever it comes; one that is twice the usual is not.
func TestSpikes(t *testing.T) {
	office := series(5, 0.3, func(_, d, h int) float64 { return map[bool]float64{true: day9to5(h), false: 20}[d < 5] })
	at := func(d, h int) gatehouse.Millis { return monday + gatehouse.Millis(d)*day + gatehouse.Millis(h)*hour }
	for _, tt := range []struct {
		name    string
		at      gatehouse.Millis
		value   int64
		unusual bool
	}{
		{"ten times a busy hour", at(35, 11), 30_000, true},
		{"twice a busy hour", at(35, 11), 6_000, false},
		{"a busy hour's worth at night", at(35, 3), 3_500, true},
		{"ten times a quiet hour, below the floor", at(34, 3), 400, false},
		{"on a Sunday", at(34, 11), 9_000, false}, // three times what it is on the other days at this time
		{"far more on a Sunday", at(34, 11), 40_000, true},
	} {
		if v := Judge(office, tt.at, tt.value, bar); v.Unusual != tt.unusual {
			t.Errorf("%s: got %v, want %v: %+v", tt.name, v.Unusual, tt.unusual, v)
		}
	}
}

// TestNewSubject: in its first days nothing is unusual, and afterwards its first days are what is usual.
func TestNewSubject(t *testing.T) {
	var s []Point
	for i := range 3 * 24 {
		at := monday + gatehouse.Millis(i)*hour
		value := int64(i * i * 100) // anything goes
		if v := Judge(s, at, value, bar); v.Unusual || i >= 3*24 && v.Basis == Learning {
			t.Fatalf("hour %d: %+v", i, v)
		}
		s = append(s, Point{at, value})
	}
	if v := Judge(s, monday+3*day, 100_000_000, bar); !v.Unusual || v.Days != 3 {
		t.Errorf("on the fourth day: %+v", v)
	}
}

// TestOneWildDayChangesNothing: the threshold after a spike is that before it.
func TestOneWildDayChangesNothing(t *testing.T) {
	s := series(4, 0, func(_, _, _ int) float64 { return 1000 })
	at := monday + 28*day
	before := Judge(s, at, 0, bar)
	for i := range s {
		if d := at - s[i].Hour; d > 2*day && d <= 3*day {
			s[i].Value *= 1000
		}
	}
	if after := Judge(s, at, 0, bar); after.Threshold != before.Threshold {
		t.Errorf("threshold %d, want %d", after.Threshold, before.Threshold)
	}
}

// TestOrderDoesNotMatter and neither does what lies in the future.
func TestOrderDoesNotMatter(t *testing.T) {
	s := series(5, 0.5, func(_, _, h int) float64 { return day9to5(h) })
	at := monday + 30*day
	want := Judge(s, at, 5000, bar)
	rand.New(rand.NewPCG(3, 4)).Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
	s = append(s, Point{at, 1 << 40}, Point{at + 5*hour, 1 << 40})
	if got := Judge(s, at, 5000, bar); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestExplain(t *testing.T) {
	show := func(n int64) string { return "$" + time.Duration(n).String() }
	s := series(3, 0, func(_, _, _ int) float64 { return 1000 })
	v := Judge(s, monday+21*day, 9999, bar)
	if got := v.Explain(bar, show); !strings.Contains(got, "median of 14 days") || !strings.Contains(got, "3 times what is usual on this weekday") {
		t.Errorf("got %q", got)
	}
	v = Judge(s[:24], monday+day, 9999, bar)
	if got, want := v.Explain(bar, show), "There are 1 days to compare with, and 3 are needed."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
