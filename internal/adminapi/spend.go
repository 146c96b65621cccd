package adminapi

import (
	"context"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// spendRoutes are OpenAI's spend limits and spend alerts, of the organization and of a project.
func (a *API) spendRoutes(on func(pattern, scope string, h handler)) {
	for _, of := range []string{"/v1/organization", "/v1/organization/projects/{project_id}"} {
		on("GET "+of+"/spend_limit", "api.spend.read", a.spendLimit)
		on("POST "+of+"/spend_limit", "api.spend.write", a.setSpendLimit)
		on("DELETE "+of+"/spend_limit", "api.spend.write", a.deleteSpendLimit)
		on("GET "+of+"/spend_alerts", "api.spend.read", a.listSpendAlerts)
		on("POST "+of+"/spend_alerts", "api.spend.write", a.createSpendAlert)
		on("GET "+of+"/spend_alerts/{alert_id}", "api.spend.read", a.spendAlert)
		on("POST "+of+"/spend_alerts/{alert_id}", "api.spend.write", a.updateSpendAlert)
		on("DELETE "+of+"/spend_alerts/{alert_id}", "api.spend.write", a.deleteSpendAlert)
	}
}

// scoped returns the object type of something that exists for organizations and for projects.
func (c *call) scoped(object string) string {
	if c.PathValue("project_id") != "" {
		return "project." + object
	}
	return "organization." + object
}

type spendLimit struct {
	Object      string      `json:"object"`
	Threshold   int64       `json:"threshold_amount"` // cents
	Currency    string      `json:"currency"`
	Interval    string      `json:"interval"`
	Enforcement enforcement `json:"enforcement"`
	EffectiveBy *int64      `json:"effective_by,omitempty"`
}

type enforcement struct {
	Status string `json:"status"` // enforcing while the limit refuses, else inactive
}

func (a *API) spendLimit(ctx context.Context, c *call) (any, error) {
	return a.showSpendLimit(ctx, c, admin.Effect{Everywhere: true})
}

func (a *API) showSpendLimit(ctx context.Context, c *call, effect admin.Effect) (any, error) {
	s, err := a.cfg.Admin.SpendLimit(ctx, c.who, c.PathValue("project_id"))
	if err != nil {
		return nil, err
	}
	v := spendLimit{Object: c.scoped("spend_limit"), Threshold: int64(s.Amount / gatehouse.Cents), Currency: "USD", Interval: "month", Enforcement: enforcement{"inactive"}, EffectiveBy: c.effect(effect)}
	if s.Enforcing() {
		v.Enforcement.Status = "enforcing"
	}
	return v, nil
}

func (a *API) setSpendLimit(ctx context.Context, c *call) (any, error) {
	req, err := body[monthly](c)
	if err != nil {
		return nil, err
	}
	amount, err := req.amount(1)
	if err != nil {
		return nil, err
	}
	_, effect, err := a.cfg.Admin.SetSpendLimit(ctx, c.who, c.PathValue("project_id"), amount)
	if err != nil {
		return nil, err
	}
	return a.showSpendLimit(ctx, c, effect)
}

func (a *API) deleteSpendLimit(ctx context.Context, c *call) (any, error) {
	if err := a.cfg.Admin.RemoveSpendLimit(ctx, c.who, c.PathValue("project_id")); err != nil {
		return nil, err
	}
	return struct {
		Object  string `json:"object"`
		Deleted bool   `json:"deleted"`
	}{c.scoped("spend_limit.deleted"), true}, nil
}

type spendAlert struct {
	ID        string              `json:"id"`
	Object    string              `json:"object"`
	Threshold int64               `json:"threshold_amount"` // cents
	Currency  string              `json:"currency"`
	Interval  string              `json:"interval"`
	Channel   notificationChannel `json:"notification_channel"`
}

type notificationChannel struct {
	Type          string   `json:"type"`
	Recipients    []string `json:"recipients"`
	SubjectPrefix *string  `json:"subject_prefix,omitempty"`
}

func showSpendAlert(s *gatehouse.SpendAlert) (*spendAlert, string) {
	v := &spendAlert{ID: s.ID, Object: "organization.spend_alert", Threshold: int64(s.Threshold / gatehouse.Cents), Currency: "USD", Interval: "month",
		Channel: notificationChannel{Type: "email", Recipients: nonNil(s.Recipients)}}
	if s.Project != "" {
		v.Object = "project.spend_alert"
	}
	if s.SubjectPrefix != "" {
		v.Channel.SubjectPrefix = &s.SubjectPrefix
	}
	return v, s.ID
}

// monthly is the part that spend limits and spend alerts have in common: an amount in a calendar month.
type monthly struct {
	Threshold *int64  `json:"threshold_amount"` // cents
	Currency  *string `json:"currency"`
	Interval  *string `json:"interval"`
}

// amount returns the amount that is asked for. Everything must be there, and every value must be one that is enforced.
func (m *monthly) amount(least int64) (gatehouse.NanoUSD, error) {
	const most = int64(gatehouse.MaxUSD) / int64(gatehouse.Cents)
	for _, f := range []struct {
		param string
		there bool
	}{{"threshold_amount", m.Threshold != nil}, {"currency", m.Currency != nil}, {"interval", m.Interval != nil}} {
		if err := required(f.param, f.there); err != nil {
			return 0, err
		}
	}
	switch {
	case *m.Threshold < least || *m.Threshold > most:
		return 0, gatehouse.InvalidParam("threshold_amount", "Invalid 'threshold_amount': must be between %d and %d cents.", least, most)
	case *m.Currency != "USD":
		return 0, gatehouse.InvalidParam("currency", "Invalid 'currency': must be 'USD'.")
	case *m.Interval != "month":
		return 0, gatehouse.InvalidParam("interval", "Invalid 'interval': must be 'month'.")
	}
	return gatehouse.NanoUSD(*m.Threshold) * gatehouse.Cents, nil
}

type spendAlertRequest struct {
	monthly
	Channel *notificationChannel `json:"notification_channel"`
}

func (a *API) readSpendAlert(c *call) (req admin.SpendAlertRequest, err error) {
	r, err := body[spendAlertRequest](c)
	if err != nil {
		return req, err
	}
	if req.Threshold, err = r.amount(0); err != nil {
		return req, err
	}
	if err := required("notification_channel", r.Channel != nil); err != nil {
		return req, err
	}
	if r.Channel.Type != "email" {
		return req, gatehouse.InvalidParam("notification_channel.type", "Invalid 'notification_channel.type': must be 'email'. For other channels use alert rules.")
	}
	req.Recipients, req.SubjectPrefix = r.Channel.Recipients, value(r.Channel.SubjectPrefix)
	return req, nil
}

func (a *API) listSpendAlerts(ctx context.Context, c *call) (any, error) {
	if c.URL.Query().Get("limit") == "0" { // OpenAI's least; a page of nothing
		return listOf[gatehouse.SpendAlert](nil, false, showSpendAlert), nil
	}
	return listed(c, false, func(page store.Page) ([]gatehouse.SpendAlert, bool, error) {
		return a.cfg.Admin.SpendAlerts(ctx, c.who, c.PathValue("project_id"), page)
	}, showSpendAlert)
}

func (a *API) createSpendAlert(ctx context.Context, c *call) (any, error) {
	req, err := a.readSpendAlert(c)
	if err != nil {
		return nil, err
	}
	s, err := a.cfg.Admin.CreateSpendAlert(ctx, c.who, c.PathValue("project_id"), req)
	return shown(s, err, showSpendAlert)
}

func (a *API) spendAlert(ctx context.Context, c *call) (any, error) {
	s, err := a.cfg.Admin.SpendAlert(ctx, c.who, c.PathValue("project_id"), c.PathValue("alert_id"))
	return shown(s, err, showSpendAlert)
}

func (a *API) updateSpendAlert(ctx context.Context, c *call) (any, error) {
	req, err := a.readSpendAlert(c)
	if err != nil {
		return nil, err
	}
	s, err := a.cfg.Admin.UpdateSpendAlert(ctx, c.who, c.PathValue("project_id"), c.PathValue("alert_id"), req)
	return shown(s, err, showSpendAlert)
}

func (a *API) deleteSpendAlert(ctx context.Context, c *call) (any, error) {
	if err := a.cfg.Admin.RemoveSpendAlert(ctx, c.who, c.PathValue("project_id"), c.PathValue("alert_id")); err != nil {
		return nil, err
	}
	return deleted{Object: c.scoped("spend_alert.deleted"), ID: c.PathValue("alert_id"), Deleted: true}, nil
}
