package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"

	"gatehouse"
)

// AlertRule says what is looked for and who is told. What is empty is as in the default rule of the same kind.
type AlertRule struct {
	Answer
	ID         string                   `json:"id,omitempty"`
	Name       string                   `json:"name"`
	Kind       gatehouse.AlertKind      `json:"kind"`
	Default    bool                     `json:"default,omitempty"` // nobody wrote it down
	Disabled   bool                     `json:"disabled,omitempty"`
	Per        []gatehouse.AlertSubject `json:"per,omitempty"`
	Projects   []string                 `json:"projects,omitempty"` // names or ids, answered as ids; empty: every project
	MinCost    gatehouse.USD            `json:"min_cost,omitzero"`
	MinErrors  int64                    `json:"min_errors,omitempty"`
	Factor     float64                  `json:"factor,omitempty"` // times what is usual
	Deviations int64                    `json:"deviations,omitempty"`
	Days       int64                    `json:"days,omitempty"`
	Quiet      string                   `json:"quiet,omitempty"`    // a duration such as 12h
	Channels   []string                 `json:"channels,omitempty"` // names or ids, answered as ids; empty: all of them
	Suspend    gatehouse.AlertSuspend   `json:"suspend,omitempty"`
	CreatedAt  int64                    `json:"created_at,omitempty"` // unix seconds
}

// AlertChannel is where alerts are sent.
type AlertChannel struct {
	Answer
	ID            string                `json:"id,omitempty"`
	Name          string                `json:"name"`
	Kind          gatehouse.ChannelKind `json:"kind"`
	Disabled      bool                  `json:"disabled,omitempty"`
	URL           string                `json:"url,omitempty"` // of slack a secret reference, of webhook it may be one
	AllowPrivate  bool                  `json:"allow_private,omitempty"`
	Recipients    []string              `json:"recipients,omitempty"`
	SubjectPrefix string                `json:"subject_prefix,omitempty"`
	// Secret is what a webhook is signed with, in the answer that makes it alone.
	Secret         string `json:"secret,omitempty"`
	OldSecretUntil int64  `json:"old_secret_until,omitempty"` // unix seconds
	CreatedAt      int64  `json:"created_at,omitempty"`       // unix seconds
}

// Alert is something that a rule found.
type Alert struct {
	Answer
	ID             string                 `json:"id"`
	Kind           gatehouse.AlertKind    `json:"kind"`
	Rule           string                 `json:"rule"`
	Subject        gatehouse.AlertSubject `json:"subject"`
	SubjectID      string                 `json:"subject_id"`
	Project        string                 `json:"project_id"`
	Key            string                 `json:"key_id"`
	Model          string                 `json:"model"`
	CreatedAt      int64                  `json:"created_at"`   // unix seconds
	WindowStart    int64                  `json:"window_start"` // unix seconds
	WindowEnd      int64                  `json:"window_end"`   // unix seconds
	Unit           gatehouse.AlertUnit    `json:"unit"`
	Observed       int64                  `json:"observed"` // in Unit, as the two below
	Baseline       int64                  `json:"baseline"`
	Threshold      int64                  `json:"threshold"`
	Title          string                 `json:"title"`
	Reason         string                 `json:"reason"`
	Action         string                 `json:"action"`
	AcknowledgedAt int64                  `json:"acknowledged_at"` // unix seconds
	AcknowledgedBy string                 `json:"acknowledged_by"`
}

// AlertDelivery is one alert on its way to one channel.
type AlertDelivery struct {
	Answer
	ID        string                  `json:"id"`
	Alert     string                  `json:"alert_id"`
	Channel   string                  `json:"channel"`
	State     gatehouse.DeliveryState `json:"state"`
	Tries     int64                   `json:"tries"`
	NextAt    int64                   `json:"next_at"` // unix seconds
	Error     string                  `json:"error"`
	CreatedAt int64                   `json:"created_at"` // unix seconds
	EndedAt   int64                   `json:"ended_at"`   // unix seconds
}

// AlertRules lists the organization's rules, default ones too.
func (c *Client) AlertRules(ctx context.Context) iter.Seq2[*AlertRule, error] {
	return all[AlertRule](ctx, c, nil, "gatehouse", "v1", "alert_rules")
}

// PutAlertRule creates the rule of that name or replaces it.
func (c *Client) PutAlertRule(ctx context.Context, r AlertRule) (*AlertRule, error) {
	r.ID, r.CreatedAt, r.Default = "", 0, false // the server's to give
	return do[AlertRule](ctx, c, request{method: http.MethodPost, path: []string{"gatehouse", "v1", "alert_rules"}, body: r})
}

// RemoveAlertRule removes a rule by its name or id.
func (c *Client) RemoveAlertRule(ctx context.Context, name string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: []string{"gatehouse", "v1", "alert_rules", name}})
}

// AlertChannels lists the organization's channels.
func (c *Client) AlertChannels(ctx context.Context) iter.Seq2[*AlertChannel, error] {
	return all[AlertChannel](ctx, c, nil, "gatehouse", "v1", "alert_channels")
}

// PutAlertChannel creates the channel of that name or replaces it. The answer to a new webhook has its secret.
func (c *Client) PutAlertChannel(ctx context.Context, v AlertChannel) (*AlertChannel, error) {
	v.ID, v.CreatedAt, v.Secret, v.OldSecretUntil = "", 0, "", 0 // the server's to give
	return do[AlertChannel](ctx, c, request{method: http.MethodPost, path: []string{"gatehouse", "v1", "alert_channels"}, body: v})
}

// RotateAlertChannel gives a webhook a new secret, which is in the answer.
func (c *Client) RotateAlertChannel(ctx context.Context, name string) (*AlertChannel, error) {
	return do[AlertChannel](ctx, c, request{method: http.MethodPost, path: []string{"gatehouse", "v1", "alert_channels", name, "rotate"}})
}

// TestAlertChannel sends an alert of the kind test to a channel. What came of it stands in the alert's deliveries.
func (c *Client) TestAlertChannel(ctx context.Context, name string) (*Alert, error) {
	return do[Alert](ctx, c, request{method: http.MethodPost, path: []string{"gatehouse", "v1", "alert_channels", name, "test"}})
}

// RemoveAlertChannel removes a channel by its name or id.
func (c *Client) RemoveAlertChannel(ctx context.Context, name string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: []string{"gatehouse", "v1", "alert_channels", name}})
}

// Alerts lists the organization's alerts, the newest first; with open those alone that nobody has acknowledged.
func (c *Client) Alerts(ctx context.Context, open bool) iter.Seq2[*Alert, error] {
	q := url.Values{}
	if open {
		q.Set("open", "true")
	}
	return all[Alert](ctx, c, q, "gatehouse", "v1", "alerts")
}

// Alert returns an alert.
func (c *Client) Alert(ctx context.Context, id string) (*Alert, error) {
	return do[Alert](ctx, c, request{method: http.MethodGet, path: []string{"gatehouse", "v1", "alerts", id}})
}

// AcknowledgeAlert notes that somebody has seen an alert.
func (c *Client) AcknowledgeAlert(ctx context.Context, id string) (*Alert, error) {
	return do[Alert](ctx, c, request{method: http.MethodPost, path: []string{"gatehouse", "v1", "alerts", id, "acknowledge"}})
}

// AlertDeliveries lists the deliveries of an alert.
func (c *Client) AlertDeliveries(ctx context.Context, alert string) iter.Seq2[*AlertDelivery, error] {
	return all[AlertDelivery](ctx, c, nil, "gatehouse", "v1", "alerts", alert, "deliveries")
}

// DeliveriesIn lists the organization's deliveries in a state, the newest first.
func (c *Client) DeliveriesIn(ctx context.Context, state gatehouse.DeliveryState) iter.Seq2[*AlertDelivery, error] {
	return all[AlertDelivery](ctx, c, url.Values{"state": {string(state)}}, "gatehouse", "v1", "alert_deliveries")
}

// ReplayDelivery sends what was given up, or was received, once more under the same id.
func (c *Client) ReplayDelivery(ctx context.Context, id string) (*AlertDelivery, error) {
	return do[AlertDelivery](ctx, c, request{method: http.MethodPost, path: []string{"gatehouse", "v1", "alert_deliveries", id, "replay"}})
}
