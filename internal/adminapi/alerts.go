package adminapi

import (
	"context"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
)

// alertRoutes are what is looked for, who is told, and what was found.
func (a *API) alertRoutes(on func(pattern, scope string, h handler)) {
	const own = "/gatehouse/v1"
	on("GET "+own+"/alert_rules", "api.alerts.read", a.listAlertRules)
	on("POST "+own+"/alert_rules", "api.alerts.write", a.putAlertRule)
	on("DELETE "+own+"/alert_rules/{name}", "api.alerts.write", a.removeAlertRule)
	on("GET "+own+"/alert_channels", "api.alerts.read", a.listAlertChannels)
	on("POST "+own+"/alert_channels", "api.alerts.write", a.putAlertChannel)
	on("DELETE "+own+"/alert_channels/{name}", "api.alerts.write", a.removeAlertChannel)
	on("POST "+own+"/alert_channels/{name}/test", "api.alerts.write", a.testAlertChannel)
	on("POST "+own+"/alert_channels/{name}/rotate", "api.alerts.write", a.rotateAlertChannel)
	on("GET "+own+"/alerts", "api.alerts.read", a.listAlerts)
	on("GET "+own+"/alerts/{alert_id}", "api.alerts.read", a.alert)
	on("POST "+own+"/alerts/{alert_id}/acknowledge", "api.alerts.write", a.acknowledgeAlert)
	on("GET "+own+"/alerts/{alert_id}/deliveries", "api.alerts.read", a.listAlertDeliveries)
	on("GET "+own+"/alert_deliveries", "api.alerts.read", a.listDeliveries)
	on("POST "+own+"/alert_deliveries/{delivery_id}/replay", "api.alerts.write", a.replayDelivery)
}

type alertRule struct {
	Object    string                   `json:"object"`
	ID        string                   `json:"id"`
	Name      string                   `json:"name"`
	Kind      gatehouse.AlertKind      `json:"kind"`
	Default   bool                     `json:"default"` // nobody wrote it down
	Disabled  bool                     `json:"disabled"`
	Per       []gatehouse.AlertSubject `json:"per,omitempty"`
	Projects  []string                 `json:"projects,omitempty"`
	MinCost   gatehouse.USD            `json:"min_cost,omitzero"`
	MinErrors int64                    `json:"min_errors,omitzero"`
	Factor    float64                  `json:"factor,omitzero"`
	Spreads   int64                    `json:"deviations,omitzero"`
	Days      int64                    `json:"days,omitzero"`
	Quiet     string                   `json:"quiet,omitempty"`
	Channels  []string                 `json:"channels,omitempty"` // ids; absent: all of them
	Suspend   gatehouse.AlertSuspend   `json:"suspend,omitempty"`
	CreatedAt *int64                   `json:"created_at"`
}

func showAlertRule(r *gatehouse.AlertRule) (*alertRule, string) {
	v := &alertRule{Object: "gatehouse.alert_rule", ID: r.ID, Name: r.Name, Kind: r.Kind, Default: r.Default(), Disabled: r.Disabled, Per: r.Per, Projects: r.Projects,
		MinCost: gatehouse.USD(r.MinCost), MinErrors: r.MinErrors, Factor: float64(r.Factor) / 100, Spreads: r.Deviations, Days: r.Days, Channels: r.Channels,
		Suspend: r.Suspend, CreatedAt: seconds(r.CreatedAt)}
	if r.QuietMillis != 0 {
		v.Quiet = (time.Duration(r.QuietMillis) * time.Millisecond).String()
	}
	return v, r.ID
}

func (a *API) listAlertRules(ctx context.Context, c *call) (any, error) {
	list, err := a.cfg.Admin.AlertRules(ctx, c.who)
	if err != nil {
		return nil, err
	}
	return listOf(list, false, showAlertRule), nil
}

func (a *API) putAlertRule(ctx context.Context, c *call) (any, error) {
	req, err := body[admin.AlertRuleSpec](c)
	if err != nil {
		return nil, err
	}
	r, err := a.cfg.Admin.PutAlertRule(ctx, c.who, *req)
	return shown(r, err, showAlertRule)
}

func (a *API) removeAlertRule(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.RemoveAlertRule(ctx, c.who, c.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "gatehouse.alert_rule.deleted", ID: c.PathValue("name"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}

type alertChannel struct {
	Object        string                `json:"object"`
	ID            string                `json:"id"`
	Name          string                `json:"name"`
	Kind          gatehouse.ChannelKind `json:"kind"`
	Disabled      bool                  `json:"disabled"`
	URL           string                `json:"url,omitempty"`
	AllowPrivate  bool                  `json:"allow_private,omitzero"`
	Recipients    []string              `json:"recipients,omitempty"`
	SubjectPrefix string                `json:"subject_prefix,omitempty"`
	// Secret is what messages are signed with, in the answer that makes it and in no other.
	Secret string `json:"secret,omitempty"`
	// OldSecretUntil is up to when messages are signed with the secret before as well.
	OldSecretUntil *int64 `json:"old_secret_until,omitempty"`
	CreatedAt      int64  `json:"created_at"`
}

func showAlertChannel(v *gatehouse.AlertChannel) (*alertChannel, string) {
	return &alertChannel{Object: "gatehouse.alert_channel", ID: v.ID, Name: v.Name, Kind: v.Kind, Disabled: v.Disabled, URL: v.URL, AllowPrivate: v.AllowPrivate,
		Recipients: v.Recipients, SubjectPrefix: v.SubjectPrefix, OldSecretUntil: seconds(v.OldUntil), CreatedAt: v.CreatedAt.Seconds()}, v.ID
}

func (a *API) listAlertChannels(ctx context.Context, c *call) (any, error) {
	list, err := a.cfg.Admin.AlertChannels(ctx, c.who)
	if err != nil {
		return nil, err
	}
	return listOf(list, false, showAlertChannel), nil
}

func (a *API) putAlertChannel(ctx context.Context, c *call) (any, error) {
	req, err := body[admin.AlertChannelSpec](c)
	if err != nil {
		return nil, err
	}
	channel, minted, err := a.cfg.Admin.PutAlertChannel(ctx, c.who, *req)
	if err != nil {
		return nil, err
	}
	v, _ := showAlertChannel(channel)
	v.Secret = minted.Reveal()
	return v, nil
}

func (a *API) rotateAlertChannel(ctx context.Context, c *call) (any, error) {
	channel, minted, err := a.cfg.Admin.RotateAlertChannel(ctx, c.who, c.PathValue("name"))
	if err != nil {
		return nil, err
	}
	v, _ := showAlertChannel(channel)
	v.Secret = minted.Reveal()
	return v, nil
}

func (a *API) removeAlertChannel(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.RemoveAlertChannel(ctx, c.who, c.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "gatehouse.alert_channel.deleted", ID: c.PathValue("name"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}

func (a *API) testAlertChannel(ctx context.Context, c *call) (any, error) {
	v, err := a.cfg.Admin.TestAlertChannel(ctx, c.who, c.PathValue("name"))
	return shown(v, err, showAlert)
}

type alert struct {
	Object         string                 `json:"object"`
	ID             string                 `json:"id"`
	Kind           gatehouse.AlertKind    `json:"kind"`
	Rule           string                 `json:"rule"`
	RuleID         string                 `json:"rule_id,omitempty"`
	Subject        gatehouse.AlertSubject `json:"subject"`
	SubjectID      string                 `json:"subject_id"`
	Project        string                 `json:"project_id,omitempty"`
	Key            string                 `json:"key_id,omitempty"`
	Model          string                 `json:"model,omitempty"`
	CreatedAt      int64                  `json:"created_at"`
	WindowStart    *int64                 `json:"window_start"`
	WindowEnd      *int64                 `json:"window_end"`
	Unit           gatehouse.AlertUnit    `json:"unit,omitempty"`
	Observed       int64                  `json:"observed"`
	Baseline       int64                  `json:"baseline"`
	Threshold      int64                  `json:"threshold"`
	Title          string                 `json:"title"`
	Reason         string                 `json:"reason"`
	Action         string                 `json:"action,omitempty"`
	AcknowledgedAt *int64                 `json:"acknowledged_at"`
	AcknowledgedBy string                 `json:"acknowledged_by,omitempty"`
}

func showAlert(v *gatehouse.Alert) (*alert, string) {
	return &alert{Object: "gatehouse.alert", ID: v.ID, Kind: v.Kind, Rule: v.RuleName, RuleID: v.Rule, Subject: v.Subject, SubjectID: v.SubjectID, Project: v.Project, Key: v.Key,
		Model: v.Model, CreatedAt: v.At.Seconds(), WindowStart: seconds(v.WindowStart), WindowEnd: seconds(v.WindowEnd), Unit: v.Unit, Observed: v.Observed,
		Baseline: v.Baseline, Threshold: v.Threshold, Title: v.Title, Reason: v.Reason, Action: v.Action, AcknowledgedAt: seconds(v.AcknowledgedAt),
		AcknowledgedBy: v.AcknowledgedBy}, v.ID
}

func (a *API) listAlerts(ctx context.Context, c *call) (any, error) {
	open, err := flag(c.URL.Query(), "open")
	if err != nil {
		return nil, err
	}
	page, err := c.page(true)
	if err != nil {
		return nil, err
	}
	list, more, err := a.cfg.Admin.Alerts(ctx, c.who, open, page)
	if err != nil {
		return nil, err
	}
	return listOf(list, more, showAlert), nil
}

func (a *API) alert(ctx context.Context, c *call) (any, error) {
	v, err := a.cfg.Admin.Alert(ctx, c.who, c.PathValue("alert_id"))
	return shown(v, err, showAlert)
}

func (a *API) acknowledgeAlert(ctx context.Context, c *call) (any, error) {
	v, err := a.cfg.Admin.AcknowledgeAlert(ctx, c.who, c.PathValue("alert_id"))
	return shown(v, err, showAlert)
}

type alertDelivery struct {
	Object    string                  `json:"object"`
	ID        string                  `json:"id"`
	Alert     string                  `json:"alert_id"`
	Channel   string                  `json:"channel"` // its id, or log
	State     gatehouse.DeliveryState `json:"state"`
	Tries     int64                   `json:"tries"`
	NextAt    *int64                  `json:"next_at"`
	Error     string                  `json:"error,omitempty"`
	CreatedAt int64                   `json:"created_at"`
	EndedAt   *int64                  `json:"ended_at"`
}

func showAlertDelivery(d *gatehouse.AlertDelivery) (*alertDelivery, string) {
	v := &alertDelivery{Object: "gatehouse.alert_delivery", ID: d.ID, Alert: d.Alert, Channel: d.Channel, State: d.State, Tries: d.Tries, Error: d.Error,
		CreatedAt: d.CreatedAt.Seconds(), EndedAt: seconds(d.EndedAt)}
	if d.State == gatehouse.DeliveryPending {
		v.NextAt = seconds(d.NextAt)
	}
	return v, d.ID
}

func (a *API) listAlertDeliveries(ctx context.Context, c *call) (any, error) {
	list, err := a.cfg.Admin.AlertDeliveries(ctx, c.who, c.PathValue("alert_id"))
	if err != nil {
		return nil, err
	}
	return listOf(list, false, showAlertDelivery), nil
}

func (a *API) listDeliveries(ctx context.Context, c *call) (any, error) {
	state := gatehouse.DeliveryState(c.URL.Query().Get("state"))
	if state == "" {
		state = gatehouse.DeliveryDead
	}
	page, err := c.page(true)
	if err != nil {
		return nil, err
	}
	list, more, err := a.cfg.Admin.DeliveriesIn(ctx, c.who, state, page)
	if err != nil {
		return nil, err
	}
	return listOf(list, more, showAlertDelivery), nil
}

func (a *API) replayDelivery(ctx context.Context, c *call) (any, error) {
	d, err := a.cfg.Admin.ReplayDelivery(ctx, c.who, c.PathValue("delivery_id"))
	return shown(d, err, showAlertDelivery)
}
