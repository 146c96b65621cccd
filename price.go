package gatehouse

import "time"

// Price is what a model costs an organization, in the place of the built-in table, from a time on.
type Price struct {
	ID           string
	Organization string
	Upstream     string  // the name of the one upstream it holds for; empty: every upstream of Dialect
	Dialect      Dialect // empty where Upstream is set
	Model        string  // as the upstream calls it, or what a route says it is priced as; "*" for what holds for every model
	From         Millis  // usage of this time and later; 0: always
	Terms        string  // what the units cost, as JSON: prices.Terms
	Note         string  // whoever set it may say where it is from
	CreatedAt    Millis
	RemovedAt    Millis
	Rev          int64
}

// PrefixPrice is the prefix of the ids of prices.
const PrefixPrice = "price_"

// ParseInstant reads a day, which begins at midnight in UTC, or an instant, both as RFC 3339 writes them. Empty text is 0.
func ParseInstant(text string) (Millis, error) {
	if text == "" {
		return 0, nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		t, err = time.Parse(time.RFC3339, text)
	}
	if err != nil {
		return 0, err
	}
	return MillisOf(t), nil
}
