package gatehouse

import (
	"strings"
	"time"
)

// Scope is whom a Budget or a Limit binds.
type Scope string

// The scopes. A key is bound by every budget and limit of what it belongs to: its organization, its project, its owner, itself and its
// labels.
const (
	ScopeOrganization   Scope = "organization"
	ScopeProject        Scope = "project"
	ScopeUser           Scope = "user"            // across all keys the user owns, in every project
	ScopeGroup          Scope = "group"           // across all keys that users own who are in the group; of budgets only
	ScopeServiceAccount Scope = "service_account" // across all its keys
	ScopeKey            Scope = "key"
	ScopeLabel          Scope = "label" // "name=value" among the labels of the key or its project; never a header's
)

// Budget is what may be spent in a stretch of time. A hard one refuses what could go over it; a soft one only tells.
type Budget struct {
	ID           string
	Organization string
	Name         string
	Kind         BudgetKind
	Scope        Scope
	Subject      string // the id of what Scope says, or "name=value" for a label
	Amount       NanoUSD
	Window       Window
	Enforcement  Enforcement
	// Uncapped is what a hard budget does with a request whose output has no cap of its own.
	Uncapped Uncapped
	// UnknownPrice is what a hard budget does with a model that has no price.
	UnknownPrice UnknownPrice
	Increases    []Increase // temporary; they add up while they last
	// Alerts are percentages of the amount at which somebody is told, ascending, e.g. 50, 80, 100.
	Alerts []int
	// Zone is the time zone its windows begin in, which is its organization's: whoever reads a budget to count in it sets it; it is not
	// stored. nil is UTC.
	Zone      *time.Location `json:"-"`
	CreatedAt Millis
	RemovedAt Millis
	Rev       int64
}

// BudgetKind is who declares a budget.
type BudgetKind string

// The kinds of budgets.
const (
	// BudgetPlain is declared by an operator.
	BudgetPlain BudgetKind = ""
	// BudgetSpendLimit is OpenAI's spend limit of an organization or a project: hard, by calendar month, one for each scope.
	BudgetSpendLimit BudgetKind = "spend_limit"
	// BudgetCredits enforces an organization's prepaid credits: hard, one window without end, its amount is what all grants came to
	// so far without what expired or was taken back. It refuses with the code credit_balance_exhausted. Only Gatehouse changes it.
	BudgetCredits BudgetKind = "credits"
)

// Enforcement is whether a budget refuses.
type Enforcement string

// The enforcements.
const (
	Hard Enforcement = "hard"
	Soft Enforcement = "soft"
)

// Uncapped is how output is reserved of a request that does not say how much there may be.
type Uncapped string

// The ways to reserve output without a cap.
const (
	UncappedLimit   Uncapped = ""        // the model's output limit; where it has none the request is refused
	UncappedRefuse  Uncapped = "refuse"  // a request must say how much
	UncappedTypical Uncapped = "typical" // what the deployment's answers recently took, 99 of 100; the stream is cut where hold and budget end
)

// UnknownPrice is what happens to a request for which the table has no price.
type UnknownPrice string

// The policies for unknown prices.
const (
	UnknownDefault UnknownPrice = ""       // refuse under a hard budget, meter under a soft one
	UnknownMeter   UnknownPrice = "meter"  // serve and mark it as unpriced
	UnknownRefuse  UnknownPrice = "refuse" // do not serve
)

// Increase raises a budget's amount for a time.
type Increase struct {
	ID     string  `json:"id"`
	Amount NanoUSD `json:"amount"`
	From   Millis  `json:"from"`
	Until  Millis  `json:"until"`
	Reason string  `json:"reason,omitempty"`
}

// WindowAt returns the window that at lies in: the first instant in it and the first after it.
func (b *Budget) WindowAt(at Millis) (start, end Millis) {
	zone := b.Zone
	if zone == nil {
		zone = time.UTC
	}
	start, end = b.Window.Bounds(at, zone)
	if b.Kind == BudgetCredits {
		start = b.CreatedAt // what was spent before is not paid from credits
	}
	return start, end
}

// AmountAt returns what may be spent in the window that at lies in, increases included that last at at.
func (b *Budget) AmountAt(at Millis) NanoUSD {
	sum := b.Amount
	for i := range b.Increases {
		if in := &b.Increases[i]; in.From <= at && at < in.Until {
			sum += in.Amount
		}
	}
	return sum
}

// Period is how long a budget's windows are.
type Period string

// The periods.
const (
	Daily     Period = "day"
	Weekly    Period = "week" // begins on Monday
	Monthly   Period = "month"
	Quarterly Period = "quarter"
	Total     Period = "total" // one window without end
)

// Window is the stretches of time a budget is counted in. They begin at midnight in the organization's time zone.
type Window struct {
	Period Period `json:"period"`
	// StartDay is the day of the month on which months and quarters begin, 1 to 28; 0 counts as 1.
	StartDay int `json:"start_day,omitempty"`
	// StartMonth is a month in which a quarter begins, 1 to 12; 0 counts as 1.
	StartMonth int `json:"start_month,omitempty"`
}

// BudgetWindow names one window of a budget: the first instant in it and the first after it.
type BudgetWindow struct {
	Budget string `json:"budget"`
	Start  Millis `json:"start"`
	End    Millis `json:"end"`
}

// Bounds returns the window that at lies in: the first instant in it and the first after it. A window of Total begins at 0 and ends
// at the end of time.
func (w Window) Bounds(at Millis, zone *time.Location) (start, end Millis) {
	if w.Period == Total {
		return 0, 1<<63 - 1
	}
	t := at.Time().In(zone)
	day := max(w.StartDay, 1)
	midnight := func(year int, month time.Month, day int) time.Time {
		return firstInstant(time.Date(year, month, day, 0, 0, 0, 0, zone))
	}
	var first, next time.Time
	switch w.Period {
	case Daily:
		first = midnight(t.Year(), t.Month(), t.Day())
		next = midnight(t.Year(), t.Month(), t.Day()+1)
	case Weekly:
		back := (int(t.Weekday()) + 6) % 7
		first = midnight(t.Year(), t.Month(), t.Day()-back)
		next = midnight(t.Year(), t.Month(), t.Day()-back+7)
	default:
		month, months := t.Month(), time.Month(1)
		if t.Day() < day {
			month--
		}
		if w.Period == Quarterly {
			months = 3
			start := time.Month(max(w.StartMonth, 1))
			month -= ((month-start)%3 + 3) % 3
		}
		first = midnight(t.Year(), month, day)
		next = midnight(t.Year(), month+months, day)
	}
	return MillisOf(first), MillisOf(next)
}

// firstInstant returns the beginning of the day that midnight, as time.Date found it, belongs to. Where clocks change at midnight a day
// may have none, and then begins where the clocks have gone forward to; or have it twice, and then begins with the first.
func firstInstant(midnight time.Time) time.Time {
	if midnight.Hour() != 0 {
		_, changed := midnight.ZoneBounds()
		return changed
	}
	changed, _ := midnight.ZoneBounds()
	if changed.IsZero() {
		return midnight
	}
	_, now := midnight.Zone()
	_, before := changed.Add(-1).Zone()
	if earlier := midnight.Add(time.Duration(now-before) * time.Second); earlier.Before(changed) {
		return earlier
	}
	return midnight
}

// Limit is how much may be asked for in a time, in OpenAI's terms. What is 0 is not limited.
type Limit struct {
	ID           string
	Organization string
	Scope        Scope
	Subject      string // the id of what Scope says, or "name=value" for a label
	Model        string // the deployment it is for; empty: all of them together
	Rates        Rates
	CreatedAt    Millis
	RemovedAt    Millis
	Rev          int64
}

// Rates are the amounts of a Limit. A megabyte is 1,000,000 bytes.
type Rates struct {
	RequestsPerMinute       int64 `json:"max_requests_per_1_minute,omitzero" yaml:"max_requests_per_1_minute"`
	TokensPerMinute         int64 `json:"max_tokens_per_1_minute,omitzero" yaml:"max_tokens_per_1_minute"`
	RequestsPerDay          int64 `json:"max_requests_per_1_day,omitzero" yaml:"max_requests_per_1_day"`
	ImagesPerMinute         int64 `json:"max_images_per_1_minute,omitzero" yaml:"max_images_per_1_minute"`
	AudioMegabytesPerMinute int64 `json:"max_audio_megabytes_per_1_minute,omitzero" yaml:"max_audio_megabytes_per_1_minute"`
	BatchInputTokensPerDay  int64 `json:"batch_1_day_max_input_tokens,omitzero" yaml:"batch_1_day_max_input_tokens"`
}

// LabelSubject returns the Subject of a budget or limit for one label.
func LabelSubject(name, value string) string { return name + "=" + value }

// CutLabelSubject returns the label a Subject names.
func CutLabelSubject(subject string) (name, value string, ok bool) { return strings.Cut(subject, "=") }

// SpendAlert is OpenAI's: it tells somebody by mail once a month when what an organization or a project spent in the calendar month,
// which begins in the organization's time zone, has reached an amount. It refuses nothing.
type SpendAlert struct {
	ID            string
	Organization  string
	Project       string // empty: everything the organization spends
	Threshold     NanoUSD
	Recipients    []string // addresses
	SubjectPrefix string
	CreatedAt     Millis
	RemovedAt     Millis
	Rev           int64
}

// The prefixes of what limits spending.
const (
	PrefixBudget     = "budget_"
	PrefixLimit      = "rl-"
	PrefixSpendAlert = "alert_"
	PrefixGrant      = "grant_"
	PrefixIncrease   = "incr_"
)
