// Package anomaly judges whether an hour is unusual, by what the same hours of other days were like. It is arithmetic on integers: no
// I/O, no clock, no state, so that a verdict can be recomputed from what the alert says (docs/adr/0021-anomalies.md).
package anomaly

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gatehouse"
)

const (
	// Lookback is how many days before an hour are compared with it.
	Lookback = 35
	// most is how many of them count, the latest first, so that what is usual may change.
	most = 14

	hour = gatehouse.Millis(time.Hour / time.Millisecond)
	day  = 24 * hour
)

// Point is what one hour was like. Hours in which nothing happened have none: a day off says nothing about what a day of work costs.
type Point struct {
	Hour  gatehouse.Millis
	Value int64
}

// Bar is how far above the usual an hour must be to be unusual.
type Bar struct {
	Floor      int64 // never below this
	Factor     int64 // times the baseline, in hundredths
	Deviations int64 // robust standard deviations over the baseline
	Days       int64 // on how many days there must have been something to compare with
}

// Basis is what an hour was compared with.
type Basis string

// The bases.
const (
	Learning  Basis = ""      // there is too little to compare with, and nothing is unusual
	SameHour  Basis = "hour"  // the busiest of the three hours around the same time on other days
	DailyPeak Basis = "peaks" // the busiest hour of other days: at this time of day there was next to nothing so far
)

// Verdict is what came of a comparison.
type Verdict struct {
	Unusual   bool
	Basis     Basis
	Days      int64 // that were compared
	Baseline  int64 // their median
	Spread    int64 // 1.4826 times the median of the distances from it: the standard deviation, if one hour in two is usual
	Weekday   int64 // the median on the same weekday at the same time; 0: there is none
	Threshold int64 // what the hour had to stay below
}

// Judge compares what was observed in an hour with history, in any order. The hour itself and what follows it are ignored.
//
// The sample of a day is the greatest of its hours around the same time, one before and one after, so that work which begins a little
// sooner or later, and clocks that are set, make no difference. The threshold is the greatest of the floor, Factor times the median,
// Deviations spreads over the median, and Factor times the median of the same weekday, so that what happens once a week is usual in
// its second week. The median and the spread are those of the last 14 days that have a sample: one wild day among them changes neither.
func Judge(history []Point, at gatehouse.Millis, observed int64, bar Bar) Verdict {
	around, peaks := daily(history, at)
	active := int64(0)
	for _, v := range peaks {
		if v > 0 {
			active++
		}
	}
	if active < max(bar.Days, 1) {
		return Verdict{Basis: Learning, Days: active}
	}
	v := Verdict{Basis: SameHour}
	samples := latest(around[:])
	if int64(len(samples)) < max(bar.Days, 1) {
		v.Basis, samples = DailyPeak, latest(peaks[:])
	}
	v.Days = int64(len(samples))
	v.Baseline, v.Spread = middle(samples)
	var weekly []int64
	for d := 7; d <= Lookback; d += 7 {
		if around[d-1] > 0 {
			weekly = append(weekly, around[d-1])
		}
	}
	v.Weekday, _ = middle(weekly)
	v.Threshold = max(bar.Floor, v.Baseline*bar.Factor/100, v.Baseline+bar.Deviations*v.Spread, v.Weekday*bar.Factor/100)
	v.Unusual = observed > v.Threshold
	return v
}

// daily returns for each day before at, the latest first, the greatest of the hours around the same time, and the greatest of all.
func daily(history []Point, at gatehouse.Millis) (around, peaks [Lookback]int64) {
	for _, p := range history {
		back := at - p.Hour
		if back <= 0 {
			continue
		}
		if d := (back - 1) / day; d < Lookback {
			peaks[d] = max(peaks[d], p.Value)
		}
		// Of a day's three hours the last lies an hour nearer.
		if d := (back + hour) / day; d >= 1 && d <= Lookback && (back+hour)%day <= 2*hour {
			around[d-1] = max(around[d-1], p.Value)
		}
	}
	return around, peaks
}

// latest returns the samples of the latest days that have one.
func latest(days []int64) []int64 {
	var out []int64
	for _, v := range days {
		if v > 0 && len(out) < most {
			out = append(out, v)
		}
	}
	return out
}

// middle returns the median of values, of two the smaller, and 1.4826 times the median of their distances from it.
func middle(values []int64) (median, spread int64) {
	if len(values) == 0 {
		return 0, 0
	}
	values = slices.Clone(values)
	slices.Sort(values)
	median = values[(len(values)-1)/2]
	for i, v := range values {
		values[i] = max(v-median, median-v)
	}
	slices.Sort(values)
	return median, values[(len(values)-1)/2] * 14826 / 10_000
}

// Explain says how the threshold came about, with amounts as show writes them.
func (v *Verdict) Explain(bar Bar, show func(int64) string) string {
	var b strings.Builder
	switch v.Basis {
	case Learning:
		return fmt.Sprintf("There are %d days to compare with, and %d are needed.", v.Days, bar.Days)
	case SameHour:
		fmt.Fprintf(&b, "At this time of day it was %s (median of %d days, spread %s).", show(v.Baseline), v.Days, show(v.Spread))
	case DailyPeak:
		fmt.Fprintf(&b, "At this time of day there was next to nothing so far; the busiest hour of a day was %s (median of %d days, spread %s).", show(v.Baseline), v.Days, show(v.Spread))
	}
	if v.Weekday > 0 {
		fmt.Fprintf(&b, " On the same weekday it was %s.", show(v.Weekday))
	}
	fmt.Fprintf(&b, " The alarm is at %s: ", show(v.Threshold))
	switch v.Threshold {
	case bar.Floor:
		b.WriteString("the least that is told of.")
	case v.Weekday * bar.Factor / 100:
		fmt.Fprintf(&b, "%s times what is usual on this weekday.", hundredths(bar.Factor))
	case v.Baseline * bar.Factor / 100:
		fmt.Fprintf(&b, "%s times what is usual.", hundredths(bar.Factor))
	default:
		fmt.Fprintf(&b, "%d spreads over what is usual.", bar.Deviations)
	}
	return b.String()
}

func hundredths(n int64) string {
	if n%100 == 0 {
		return fmt.Sprint(n / 100)
	}
	return strings.TrimRight(fmt.Sprintf("%d.%02d", n/100, n%100), "0")
}
