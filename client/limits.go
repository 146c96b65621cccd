package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"

	"gatehouse"
)

// Limit is how much a subject may ask for, and how much of it is used.
type Limit struct {
	Answer
	ID      string          `json:"id"`
	Scope   gatehouse.Scope `json:"scope"`
	Subject string          `json:"subject"`
	Model   string          `json:"model"` // empty: all deployments together
	gatehouse.Rates
	Use       []LimitUse `json:"use"`
	CreatedAt int64      `json:"created_at"` // unix seconds
}

// LimitUse is one rate of a limit.
type LimitUse struct {
	Name         string  `json:"name"` // e.g. requests_per_minute
	Limit        int64   `json:"limit"`
	Used         int64   `json:"used"` // more than Limit: in debt
	Remaining    int64   `json:"remaining"`
	ResetSeconds float64 `json:"reset_seconds"` // until all of it is there again
}

// LimitSpec sets a limit: what is 0 is not limited.
type LimitSpec struct {
	Scope   gatehouse.Scope `json:"scope"`             // empty: the organization
	Subject string          `json:"subject,omitempty"` // a project by name or id, a user by address or id, a service account as PROJECT/NAME or id, a key by id, a label as NAME=VALUE
	Model   string          `json:"model,omitempty"`
	gatehouse.Rates
}

var limitsPath = []string{"gatehouse", "v1", "limits"}

// Limits lists the organization's rate limits, those of a scope and a subject (an id) where these are not empty.
func (c *Client) Limits(ctx context.Context, scope gatehouse.Scope, subject string) iter.Seq2[*Limit, error] {
	q := url.Values{}
	if scope != "" {
		q.Set("scope", string(scope))
	}
	if subject != "" {
		q.Set("subject", subject)
	}
	return all[Limit](ctx, c, q, limitsPath...)
}

// Limit returns a limit.
func (c *Client) Limit(ctx context.Context, id string) (*Limit, error) {
	return do[Limit](ctx, c, request{method: http.MethodGet, path: under(limitsPath, id)})
}

// PutLimit sets the limit of a subject and a model, and replaces the one there is. What was used of it stays used.
func (c *Client) PutLimit(ctx context.Context, spec LimitSpec) (*Limit, error) {
	return do[Limit](ctx, c, request{method: http.MethodPost, path: limitsPath, body: spec})
}

// RemoveLimit removes a limit.
func (c *Client) RemoveLimit(ctx context.Context, id string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: under(limitsPath, id)})
}
