package limit

import (
	"hash/maphash"
	"math"
	"time"

	"gatehouse"
)

// Metric is what a counter counts, and in which time.
type Metric uint8

// The metrics, in the order in which a refusal that is due to several is told.
const (
	Requests    Metric      = iota // requests a minute
	Tokens                         // tokens a minute
	DayRequests                    // requests a day
	Images                         // images a minute
	Audio                          // bytes of audio a minute
	BatchTokens                    // input tokens of batches a day
	Metrics     = int(iota)        // how many there are
)

const (
	minute = int64(time.Minute / time.Millisecond)
	day    = int64(24 * time.Hour / time.Millisecond)
)

// Megabyte is how many bytes gatehouse.Rates takes for one.
const Megabyte = 1_000_000

// MaxAmount is the most that a limit may allow and a request may ask for, in the metric's unit; what is more counts as it. With it no
// sum of a level and an amount overflows.
const MaxAmount = 20_000_000_000

// about is what there is to say of a metric.
var about = [Metrics]struct {
	name, text, short string
	per               int64
	of                func(*gatehouse.Rates) int64
}{
	Requests:    {"requests_per_minute", "requests per min", "RPM", minute, func(r *gatehouse.Rates) int64 { return r.RequestsPerMinute }},
	Tokens:      {"tokens_per_minute", "tokens per min", "TPM", minute, func(r *gatehouse.Rates) int64 { return r.TokensPerMinute }},
	DayRequests: {"requests_per_day", "requests per day", "RPD", day, func(r *gatehouse.Rates) int64 { return r.RequestsPerDay }},
	Images:      {"images_per_minute", "images per min", "IPM", minute, func(r *gatehouse.Rates) int64 { return r.ImagesPerMinute }},
	Audio:       {"audio_bytes_per_minute", "audio bytes per min", "ABPM", minute, func(r *gatehouse.Rates) int64 { return r.AudioMegabytesPerMinute * Megabyte }},
	BatchTokens: {"batch_input_tokens_per_day", "batch input tokens per day", "batch TPD", day, func(r *gatehouse.Rates) int64 { return r.BatchInputTokensPerDay }},
}

// String returns the metric's name as the API and metrics show it.
func (m Metric) String() string { return about[m].name }

// Text returns the metric as OpenAI's errors name it, e.g. "tokens per min (TPM)".
func (m Metric) Text() string { return about[m].text + " (" + about[m].short + ")" }

// Of returns how much of the metric r allows, 0 for what it does not limit.
func (m Metric) Of(r *gatehouse.Rates) int64 { return about[m].of(r) }

// Counter is one number that binds requests: how much of a Metric a Limit allows. It is immutable: a changed limit has another Counter
// with the same Key, and so what was used stays used.
//
// A counter is a bucket of Limit units that is refilled evenly over the metric's time (the generic cell rate algorithm). Its state is
// its level: what is used of it and not refilled yet, in units times milliseconds of that time, so that a millisecond refills Limit of
// them and no arithmetic is rounded. A level over the whole bucket is debt: more turned out to be used than was asked for.
type Counter struct {
	Key          string // what is counted: organization, scope, subject, model and metric
	Organization string // counters that are taken together have the same
	Metric       Metric
	Limit        int64            // units, at least 1
	Rule         *gatehouse.Limit // whose number it is
	shard        uint8
	// hint is where some Memory had the counter last; it is read and written atomically.
	hint int32
}

var seed = maphash.MakeSeed()

// CountersOf returns the counters of a limit, one for each rate it sets.
func CountersOf(l *gatehouse.Limit) []*Counter {
	var out []*Counter
	for m := range Metric(Metrics) {
		units := min(m.Of(&l.Rates), MaxAmount)
		if units <= 0 {
			continue
		}
		// The parts are apart from each other by what is in no id and no label: see admin's checks.
		key := "gatehouse:limit:{" + l.Organization + "}\n" + string(l.Scope) + "\n" + l.Subject + "\n" + l.Model + "\n" + m.String()
		out = append(out, &Counter{Key: key, Organization: l.Organization, Metric: m, Limit: units, Rule: l,
			shard: uint8(maphash.String(seed, l.Organization) % counterShards)})
	}
	return out
}

// Per returns the time in which the whole of the counter is refilled, in milliseconds.
func (c *Counter) Per() int64 { return about[c.Metric].per }

// Whole returns the level of a counter that is used up.
func (c *Counter) Whole() int64 { return c.Limit * c.Per() }

// Scaled returns an amount as a level counts it.
func (c *Counter) Scaled(amount int64) int64 {
	return min(max(amount, -MaxAmount), MaxAmount) * c.Per()
}

// Charge is one counter of a request and how much the request takes of it. Charges that are taken together are of different counters
// of one organization.
type Charge struct {
	Counter *Counter
	Amount  int64 // units; of a correction it may be negative
	// Level is the counter's level after the call it was given to.
	Level int64
	slot  int32
}

// Fits reports whether the counter had room for the charge at its level. After a Take that succeeded it says nothing.
func (c *Charge) Fits() bool { return c.Level+c.Counter.Scaled(c.Amount) <= c.Counter.Whole() }

// Never reports whether the charge is more than the counter allows at all.
func (c *Charge) Never() bool { return c.Amount > c.Counter.Limit }

// Wait returns when the charge fits, in milliseconds from when its Level was read, rounded up; 0: it fits. It has no meaning for one
// that never fits.
func (c *Charge) Wait() int64 {
	return max(0, ceil(c.Level+c.Counter.Scaled(c.Amount)-c.Counter.Whole(), c.Counter.Limit))
}

// Reset returns in how many milliseconds the counter is full again.
func (c *Charge) Reset() int64 { return ceil(c.Level, c.Counter.Limit) }

// Remaining returns how many whole units are left.
func (c *Charge) Remaining() int64 {
	return max(0, c.Counter.Whole()-c.Level) / c.Counter.Per()
}

// Used returns how many units are used, rounded up. It is more than the limit when the counter is in debt.
func (c *Charge) Used() int64 { return ceil(c.Level, c.Counter.Per()) }

// ceil divides by a positive number and rounds up.
func ceil(a, b int64) int64 {
	if a <= 0 {
		return -(-a / b)
	}
	return (a-1)/b + 1
}

// sum adds two levels without overflow.
func sum(a, b int64) int64 {
	if a > 0 && b > math.MaxInt64-a {
		return math.MaxInt64
	}
	return a + b
}
