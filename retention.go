package gatehouse

// Retention is how long an organization's measurements are kept, in days; 0 is the default. Sums of days are kept for ever: finance
// reads them. Usage and decisions of several organizations lie together, so they stay as long as the longest of their retentions.
type Retention struct {
	Requests int64 `json:"requests_days,omitempty"` // decisions behind requests, which explain shows
	Minutes  int64 `json:"minutes_days,omitempty"`  // sums by minute
	Hours    int64 `json:"hours_days,omitempty"`    // sums by hour
	Usage    int64 `json:"usage_days,omitempty"`    // single settled requests
}

// DefaultRetention is what counts where an organization says nothing.
var DefaultRetention = Retention{Requests: 7, Minutes: 31, Hours: 400, Usage: 400}

// retentionBounds are the least and most days of each. A usage is known for longer than any journal or replay file can bring it again,
// and for longer than a month, of which a bill is.
var retentionBounds = []struct {
	param       string
	least, most int64
	of          func(*Retention) *int64
}{
	{"requests_days", 1, 3650, func(r *Retention) *int64 { return &r.Requests }},
	{"minutes_days", 1, 3650, func(r *Retention) *int64 { return &r.Minutes }},
	{"hours_days", 32, 3650, func(r *Retention) *int64 { return &r.Hours }},
	{"usage_days", 62, 36500, func(r *Retention) *int64 { return &r.Usage }},
}

// Check returns an Invalid error for a number of days that is out of bounds. Decisions are not kept longer than the usage they go with.
func (r Retention) Check() error {
	for _, b := range retentionBounds {
		if n := *b.of(&r); n != 0 && (n < b.least || n > b.most) {
			return InvalidParam("retention."+b.param, "Invalid 'retention.%s': must be 0 for the default, or between %d and %d days.", b.param, b.least, b.most)
		}
	}
	if all := r.Or(DefaultRetention); all.Requests > all.Usage {
		return InvalidParam("retention.requests_days", "Invalid 'retention.requests_days': decisions are not kept longer than usage (%d days).", all.Usage)
	}
	return nil
}

// Or returns r with what it does not say taken from other.
func (r Retention) Or(other Retention) Retention {
	for _, b := range retentionBounds {
		if n := b.of(&r); *n == 0 {
			*n = *b.of(&other)
		}
	}
	return r
}

// Longer returns the longer of each.
func (r Retention) Longer(other Retention) Retention {
	for _, b := range retentionBounds {
		n := b.of(&r)
		*n = max(*n, *b.of(&other))
	}
	return r
}
