package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"gatehouse"
)

// UsageQuery says what usage to sum up, and by what.
type UsageQuery struct {
	Since, Until           time.Time // zero: the last 30 days
	By                     []string  // any of day, project, key, model, product; empty: one sum
	Projects, Keys, Models []string  // ids and names; empty: all
}

// UsageReport is usage between two points in time.
type UsageReport struct {
	Answer
	StartTime int64       `json:"start_time"` // unix seconds
	EndTime   int64       `json:"end_time"`
	Lines     []UsageLine `json:"data"`
}

// UsageLine is the usage of one combination of what the query sums by.
type UsageLine struct {
	Day       string            `json:"day"` // YYYY-MM-DD, UTC
	ProjectID string            `json:"project_id"`
	KeyID     string            `json:"key_id"`
	Model     string            `json:"model"`
	Product   string            `json:"product"`
	Requests  int64             `json:"requests"`
	Cost      gatehouse.NanoUSD `json:"cost_nano_usd"`     // of the requests whose price is known
	Unpriced  int64             `json:"unpriced_requests"` // requests whose price is not known
	gatehouse.Units
}

// Usage sums up usage. Requests that have ended are in it within a second.
func (c *Client) Usage(ctx context.Context, u UsageQuery) (*UsageReport, error) {
	q := url.Values{"group_by": u.By, "project_ids": u.Projects, "api_key_ids": u.Keys, "models": u.Models}
	if !u.Since.IsZero() {
		q.Set("start_time", strconv.FormatInt(u.Since.Unix(), 10))
	}
	if !u.Until.IsZero() {
		q.Set("end_time", strconv.FormatInt(u.Until.Unix(), 10))
	}
	return do[UsageReport](ctx, c, request{method: http.MethodGet, path: []string{"gatehouse", "v1", "usage"}, query: q})
}

// Explanation is the decision behind one request.
type Explanation struct {
	Answer
	gatehouse.Request
}

// Explain returns the decision behind a request, by its x-request-id or the id its caller gave it.
func (c *Client) Explain(ctx context.Context, id string) (*Explanation, error) {
	return do[Explanation](ctx, c, request{method: http.MethodGet, path: []string{"gatehouse", "v1", "requests", id}})
}
