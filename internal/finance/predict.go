package finance

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"gatehouse"
)

// Series is what was spent on days that follow each other.
type Series struct {
	First   time.Weekday        // of the first day
	Days    []gatehouse.NanoUSD // complete days, the oldest first
	Today   gatehouse.NanoUSD   // so far
	Elapsed float64             // how much of today has passed, 0 to 1
}

// Prediction is what the days to come will cost, today's rest included.
type Prediction struct {
	Expected, Low, High gatehouse.NanoUSD
	Days                int    // of history that were used
	Seasonal            bool   // days of the week were told apart
	Trend               bool   // a trend was found, and goes on, less and less
	Note                string // what the reader must know, e.g. how little data there is
}

const (
	history      = 56 // days that are looked at
	seasonDays   = 21 // from which on days of the week are told apart
	trendDays    = 14 // from which on a trend is looked for, and how many days back it is looked for at most: twice
	fewDays      = 7  // below which there is no sample to draw from
	draws        = 2000
	blockDays    = 3    // residuals are drawn in runs of so many days, as bad days come together
	damping      = 0.95 // of a trend, from day to day
	quietFactor  = 0.2  // days of the week with less than this of an average day say nothing about the level
	outlierMADs  = 5.0
	madToSigma   = 1.4826
	medianSpread = 1.2533 // of a median's error, against a mean's
	hiddenTrend  = 0.7    // how much of a slope's error stays where no trend was seen
	seedOffset   = 0x9e3779b97f4a7c15
)

// Predict says what ahead days, today the first of them, will cost together, and the interval that holds it with a probability of
// level (0.5 to 0.99).
//
// The method: each day of the week has a factor, the median of what that day cost against the seven days around it (from three weeks
// of history on). What remains is a level and a trend, both medians (Theil and Sen), so that a single bad day moves neither; the trend
// counts only where Kendall's test sees one, and fades. The interval draws days to come from how far past days were off, in runs of
// three, with the level itself as uncertain as so many days make it. The draws are seeded with the costs: the same history gives the
// same answer. With less than a week of history the interval is Student's, and wide.
func Predict(s *Series, ahead int, level float64) Prediction {
	days := s.Days
	for len(days) > 0 && days[0] == 0 {
		days = days[1:] // before the first use
	}
	first := (int(s.First) + len(s.Days) - len(days)) % 7
	if cut := len(days) - history; cut > 0 {
		days, first = days[cut:], (first+cut)%7
	}
	y := make([]float64, len(days))
	for i, d := range days {
		y[i] = float64(d)
	}
	if len(y) < fewDays {
		return predictFew(s, y, ahead, level)
	}
	m := fit(y, first)
	totals := m.simulate(y, ahead, 1-s.Elapsed, seed(days, ahead))
	var sum float64
	for _, t := range totals {
		sum += t
	}
	slices.Sort(totals)
	p := Prediction{Expected: nano(sum / float64(len(totals))), Low: nano(quantile(totals, (1-level)/2)), High: nano(quantile(totals, (1+level)/2)),
		Days: len(y), Seasonal: m.seasonal, Trend: m.slope != 0}
	if !m.seasonal {
		p.Note = "Less than three weeks of history: days of the week are not told apart."
	}
	return p
}

// predictFew is for histories that are no sample: Student's interval around the mean, never narrower than half of it.
func predictFew(s *Series, y []float64, ahead int, level float64) Prediction {
	rest := float64(ahead) - s.Elapsed
	if len(y) < 2 {
		rate := float64(s.Today)
		if len(y) == 1 {
			rate = y[0]
		} else if s.Elapsed > 0.05 {
			rate /= s.Elapsed
		}
		p := Prediction{Expected: nano(rate * rest), High: nano(3 * rate * rest), Days: len(y),
			Note: "Less than two days of history: the interval is a guess, from nothing to three times the last day's pace."}
		if rate == 0 {
			p.Note = "Nothing was spent yet: there is nothing to go by."
		}
		return p
	}
	mean, n := meanOf(y), float64(len(y))
	var square float64
	for _, v := range y {
		square += (v - mean) * (v - mean)
	}
	sigma := max(math.Sqrt(square/(n-1)), mean/2)
	half := student(len(y)-1, level) * sigma * math.Sqrt(rest+rest*rest/n)
	return Prediction{Expected: nano(mean * rest), Low: nano(mean*rest - half), High: nano(mean*rest + half), Days: len(y),
		Note: "Less than a week of history: the interval is wide."}
}

// model is a level, a trend and a factor for each day of the week.
type model struct {
	first     int // day of the week of the first day
	n         int
	season    [7]float64
	seasonal  bool
	level     float64 // at day 0
	slope     float64 // a day
	residuals []float64
}

func (m *model) factor(i int) float64 { return m.season[(m.first+i)%7] }

func fit(y []float64, first int) *model {
	m := &model{first: first, n: len(y)}
	m.season, m.seasonal = season(y, first)
	// What is left of each day without its day of the week.
	var at, z []float64
	for i, v := range y {
		if f := m.factor(i); f >= quietFactor {
			at, z = append(at, float64(i)), append(z, v/f)
		}
	}
	if recent := 2 * trendDays; len(z) > recent {
		at, z = at[len(at)-recent:], z[len(z)-recent:]
	}
	if len(z) >= trendDays {
		m.slope = theilSen(at, z)
	}
	off := make([]float64, len(z))
	for i := range z {
		off[i] = z[i] - m.slope*at[i]
	}
	m.level = median(off)
	for i := range off {
		off[i] -= m.level
	}
	m.residuals = tame(off)
	return m
}

// season returns what each day of the week costs against an average day.
func season(y []float64, first int) (factors [7]float64, ok bool) {
	for d := range factors {
		factors[d] = 1
	}
	if len(y) < seasonDays {
		return factors, false
	}
	var ratios [7][]float64
	for i, v := range y {
		from := min(max(i-3, 0), len(y)-7)
		if around := meanOf(y[from : from+7]); around > 0 {
			ratios[(first+i)%7] = append(ratios[(first+i)%7], v/around)
		}
	}
	var found [7]float64
	var sum float64
	for d := range found {
		if len(ratios[d]) == 0 {
			return factors, false
		}
		found[d] = median(ratios[d])
		sum += found[d]
	}
	if sum <= 0 {
		return factors, false
	}
	for d := range found {
		factors[d] = found[d] * 7 / sum
	}
	return factors, true
}

// theilSen returns the median slope of all pairs, 0 where Kendall's test does not see a trend at four to one.
func theilSen(at, z []float64) float64 {
	var slopes []float64
	s := 0
	for i := range z {
		for j := i + 1; j < len(z); j++ {
			slopes = append(slopes, (z[j]-z[i])/(at[j]-at[i]))
			switch {
			case z[j] > z[i]:
				s++
			case z[j] < z[i]:
				s--
			}
		}
	}
	n := float64(len(z))
	if math.Abs(float64(s)) < 1.28*math.Sqrt(n*(n-1)*(2*n+5)/18) {
		return 0
	}
	return median(slopes)
}

// tame cuts residuals that are outliers, and widens all for what fitting took away from them.
func tame(off []float64) []float64 {
	abs := make([]float64, len(off))
	for i, e := range off {
		abs[i] = math.Abs(e)
	}
	bound := outlierMADs * madToSigma * median(abs)
	n := float64(len(off))
	widen := math.Sqrt(n / max(n-2, 1))
	out := make([]float64, len(off))
	for i, e := range off {
		if bound > 0 {
			e = min(max(e, -bound), bound)
		}
		out[i] = e * widen
	}
	return out
}

// simulate draws what the days to come cost together. today is how much of the first is left.
func (m *model) simulate(y []float64, ahead int, today float64, seed uint64) []float64 {
	random := rand.New(rand.NewPCG(seed, seed^seedOffset))
	n := len(m.residuals)
	var mean, square float64
	for _, e := range m.residuals {
		mean += e / float64(n)
	}
	for _, e := range m.residuals {
		square += (e - mean) * (e - mean)
	}
	slopeError := 0.0 // a trend that was not seen may be there all the same
	if n >= trendDays {
		slopeError = math.Sqrt(square/float64(n)) * math.Sqrt(12/math.Pow(float64(n), 3)) * medianSpread
		if m.slope == 0 {
			slopeError *= hiddenTrend
		}
	}
	totals := make([]float64, draws)
	for d := range totals {
		var drawn float64
		for range n {
			drawn += m.residuals[random.IntN(n)]
		}
		levelOff := (drawn/float64(n) - mean) * medianSpread
		slopeOff := slopeError * random.NormFloat64()
		moved, fade, at := float64(len(y)-1), 1.0, 0
		var total float64
		for k := range ahead {
			fade *= damping
			moved += fade
			if k%blockDays == 0 {
				at = random.IntN(n)
			}
			e := m.residuals[(at+k%blockDays)%n]
			v := max(m.factor(len(y)+k)*(m.level+m.slope*moved+levelOff+slopeOff*(float64(k+1)+float64(n)/2)+e), 0)
			if k == 0 {
				v *= today
			}
			total += v
		}
		totals[d] = total
	}
	return totals
}

func seed(days []gatehouse.NanoUSD, ahead int) uint64 {
	h := fnv.New64a()
	var b [8]byte
	for _, d := range days {
		binary.LittleEndian.PutUint64(b[:], uint64(d))
		_, _ = h.Write(b[:]) // a hash takes everything
	}
	return h.Sum64() + uint64(ahead)
}

func meanOf(v []float64) float64 {
	var sum float64
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return quantile(sorted, 0.5)
}

// quantile returns a quantile of sorted values.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

// student returns how many deviations hold level of Student's distribution, by Hill's expansion: within 2 % of the tables from two
// degrees of freedom on.
func student(freedom int, level float64) float64 {
	tail := (1 - level) / 2
	if freedom == 1 {
		return math.Tan(math.Pi * (0.5 - tail))
	}
	if freedom == 2 {
		a := 1 - 2*tail
		return a * math.Sqrt(2/(1-a*a))
	}
	z, f := math.Sqrt2*math.Erfinv(1-2*tail), float64(freedom)
	return z + (z*z*z+z)/(4*f) + (5*math.Pow(z, 5)+16*z*z*z+3*z)/(96*f*f)
}

// nano rounds a number of nano-USD; costs to come are not negative.
func nano(v float64) gatehouse.NanoUSD {
	if v <= 0 || math.IsNaN(v) {
		return 0
	}
	if v >= math.MaxInt64/4 {
		return math.MaxInt64 / 4
	}
	return gatehouse.NanoUSD(math.Round(v))
}
