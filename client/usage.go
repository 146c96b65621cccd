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
	Since, Until time.Time // zero: the last 30 days
	// By is any of day, project, key, user, service_account, model, product, upstream, upstream_model, service_tier, usage_source and
	// label:NAME; empty: one sum.
	By                            []string
	Projects, Users, Keys, Models []string // ids and names; empty: all
	Labels                        []string // "name=value"; of one name any, of several all
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
	Day       string `json:"day"` // YYYY-MM-DD, UTC
	ProjectID string `json:"project_id"`
	KeyID     string `json:"key_id"`
	Model     string `json:"model"`
	Product   string `json:"product"`
	UserID    string `json:"user_id"`
	// ServiceAccountID owns the key, where no user does.
	ServiceAccountID string `json:"service_account_id"`
	Upstream         string `json:"upstream"`
	UpstreamModel    string `json:"upstream_model"`
	ServiceTier      string `json:"service_tier"`
	// Source is where the numbers come from: what providers report, or an estimate.
	Source gatehouse.Confidence `json:"usage_source"`
	// Labels are the values of labels that were asked for, empty where a request, its key and its project have none.
	Labels   map[string]string `json:"labels"`
	Requests int64             `json:"requests"`
	Cost     gatehouse.NanoUSD `json:"cost_nano_usd"`       // of the requests whose price is known
	Unpriced int64             `json:"unpriced_requests"`   // requests whose price is not known
	Parts    gatehouse.Parts   `json:"cost_parts_nano_usd"` // of Cost
	gatehouse.Units
}

// Usage sums up usage. Requests that have ended are in it within a second.
func (c *Client) Usage(ctx context.Context, u UsageQuery) (*UsageReport, error) {
	q := url.Values{"group_by": u.By, "project_ids": u.Projects, "api_key_ids": u.Keys, "models": u.Models, "user_ids": u.Users, "labels": u.Labels}
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
