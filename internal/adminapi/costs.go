package adminapi

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"gatehouse"
	"gatehouse/internal/store"
)

// costsKind is OpenAI's endpoint for costs.
var costsKind = &usageKind{name: "costs", groups: []string{store.ByProject, store.ByUser, store.ByKey, "line_item", "api_source"}, filters: []string{"user_ids", "api_key_ids", "line_items"}}

// amount is money as a JSON number that is exact to the nano-USD.
type amount struct {
	Value    jsontext.Value `json:"value"`
	Currency string         `json:"currency"`
}

func amountOf(n gatehouse.NanoUSD) amount { return amount{jsontext.Value(decimal(int64(n), 9)), "usd"} }

// decimal writes n divided by ten to the power of places, exactly and no longer than it must be.
func decimal(n int64, places int) string {
	sign := ""
	magnitude := uint64(n)
	if n < 0 {
		sign, magnitude = "-", -magnitude
	}
	text := strconv.FormatUint(magnitude, 10)
	if len(text) <= places {
		text = strings.Repeat("0", places+1-len(text)) + text
	}
	whole, rest := text[:len(text)-places], strings.TrimRight(text[len(text)-places:], "0")
	if rest == "" {
		return sign + whole
	}
	return sign + whole + "." + rest
}

type costsResult struct {
	Object       string             `json:"object"`
	Amount       amount             `json:"amount"`
	LineItem     *string            `json:"line_item"`
	ProjectID    *string            `json:"project_id"`
	APIKeyID     *string            `json:"api_key_id"`
	UserID       *string            `json:"user_id"`
	APISource    *string            `json:"api_source"`
	Quantity     jsontext.Value     `json:"quantity"`
	QuantityUnit *string            `json:"quantity_unit"`
	Labels       map[string]*string `json:"labels,omitempty"`
	// Unpriced is how many requests are not in the amount because their model has no price. It is not OpenAI's, and absent for none.
	Unpriced int64 `json:"unpriced_requests,omitzero"`
}

// notItemized is the part of a cost that is in none.
const notItemized = -1

// lineItem returns what a part of a cost is called: a model's with the model's name, a hosted tool's without.
func lineItem(model string, part int) string {
	if part >= gatehouse.FirstToolPart {
		return gatehouse.PartNames[part]
	}
	return model + ", " + gatehouse.PartNames[part]
}

// quantity shows how much there is of a part, in a unit that OpenAI has, or null.
func quantity(n int64, part int) (jsontext.Value, *string) {
	unit := string(gatehouse.PartUnits[part])
	switch gatehouse.PartUnits[part] {
	case gatehouse.PartMilliseconds:
		unit = "duration_seconds"
		return jsontext.Value(decimal(n, 3)), &unit
	case gatehouse.PartCalls:
		return jsontext.Value(strconv.FormatInt(n, 10)), nil
	}
	return jsontext.Value(strconv.FormatInt(n, 10)), &unit
}

// costs shows what was spent by day: from the same sums as usage, so that the two agree to the nano-USD.
func (a *API) costs(ctx context.Context, c *call) (any, error) {
	v := c.URL.Query()
	q, err := readUsageQuery(v, costsKind, costWidths)
	if err != nil {
		return nil, err
	}
	q.Organization = c.who.Organization
	only := many(v, "line_items")
	itemized := slices.Contains(q.groups, "line_item")
	if itemized || len(only) > 0 {
		q.GroupBy = append(slices.DeleteFunc(q.GroupBy, func(by string) bool { return by == "line_item" }), store.ByModel)
	}
	buckets, err := a.buckets(ctx, q)
	if err != nil {
		return nil, err
	}
	return q.page(buckets, func(results []store.UsageResult) []any { return q.costs(results, only, itemized) }), nil
}

// costLine is what results of costs are summed by.
type costLine struct {
	project, key, user, item, labels string
	part                             int
}

// costs returns the costs of one bucket. Without line items a result is a group; with them it is one line item of a group. Only selects
// line items; then what is summed is those.
func (q *pagedQuery) costs(results []store.UsageResult, only []string, itemized bool) []any {
	type line struct {
		dimensions
		amount             gatehouse.NanoUSD
		quantity, unpriced int64
	}
	lines := map[costLine]*line{}
	var order []costLine
	at := func(r *store.UsageResult, item string, part int) *line {
		k := costLine{r.Project, r.Key, r.User, item, strings.Join(r.Labels(), "\x00"), part}
		if lines[k] == nil {
			d := q.dimensions(r)
			lines[k] = &line{dimensions: d}
			order = append(order, k)
		}
		return lines[k]
	}
	for i := range results {
		r := &results[i]
		if r.Requests == 0 {
			continue
		}
		if !itemized && len(only) == 0 {
			l := at(r, "", 0)
			l.amount, l.unpriced = l.amount+r.Cost, l.unpriced+r.Unpriced
			continue
		}
		quantities := r.Units.Quantities()
		for part, n := range r.Parts.Fields() {
			item := lineItem(r.Model, part)
			// What is counted beside tokens and costs nothing by itself is in the tokens.
			if *n == 0 && (quantities[part] == 0 || part >= gatehouse.FirstItemPart && r.Units.Input+r.Units.Output > 0) || len(only) > 0 && !slices.Contains(only, item) {
				continue
			}
			if !itemized {
				at(r, "", notItemized).amount += *n
				continue
			}
			l := at(r, item, part)
			l.amount, l.quantity = l.amount+*n, l.quantity+quantities[part]
		}
		// Costs of a time before parts were kept, and requests without a price, are in no part.
		item, rest := r.Model+", not itemized", r.Cost-r.Parts.Sum()
		if rest == 0 && r.Unpriced == 0 || len(only) > 0 && !slices.Contains(only, item) {
			continue
		}
		if !itemized {
			item = ""
		}
		l := at(r, item, notItemized)
		l.amount, l.unpriced = l.amount+rest, l.unpriced+r.Unpriced
	}
	out := []any{}
	for _, k := range order {
		l := lines[k]
		v := costsResult{Object: "organization.costs.result", Amount: amountOf(l.amount), ProjectID: l.ProjectID, APIKeyID: l.APIKeyID, UserID: l.UserID,
			Quantity: jsontext.Value("null"), Labels: l.Labels, Unpriced: l.unpriced}
		if itemized {
			v.LineItem = &k.item
		}
		if itemized && k.part != notItemized {
			v.Quantity, v.QuantityUnit = quantity(l.quantity, k.part)
		}
		out = append(out, v)
	}
	return out
}
