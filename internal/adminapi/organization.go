package adminapi

import (
	"context"

	"gatehouse"
	"gatehouse/internal/admin"
)

// organization is the organization that the caller's key acts in.
type organization struct {
	Object         string `json:"object"`
	ID             string `json:"id"`
	Name           string `json:"name"`
	DefaultProject string `json:"default_project_id"`
	TimeZone       string `json:"time_zone"`
	// HeaderLabels are the names of labels that callers may send with a request.
	HeaderLabels []string `json:"header_labels"`
	// Retention is what holds, with the defaults for what the organization does not say.
	Retention gatehouse.Retention `json:"retention"`
	// DataRetention is what is kept of requests in projects that do not say it themselves.
	DataRetention gatehouse.DataRetention `json:"data_retention"`
	CreatedAt     int64                   `json:"created_at"`
	EffectiveBy   *int64                  `json:"effective_by,omitempty"`
}

func showOrganization(o *gatehouse.Organization) (*organization, string) {
	v := &organization{Object: "gatehouse.organization", ID: o.ID, Name: o.Name, DefaultProject: o.DefaultProject, TimeZone: o.TimeZone, HeaderLabels: append([]string{}, o.HeaderLabels...),
		Retention: o.Retention.Or(gatehouse.DefaultRetention), DataRetention: gatehouse.RetentionOf(o, nil), CreatedAt: o.CreatedAt.Seconds()}
	if v.TimeZone == "" {
		v.TimeZone = "UTC"
	}
	return v, o.ID
}

func (a *API) organization(ctx context.Context, c *call) (any, error) {
	o, err := a.cfg.Admin.Organization(ctx, c.who)
	return shown(o, err, showOrganization)
}

type organizationRequest struct {
	Name     *string `json:"name"`
	TimeZone *string `json:"time_zone"`
	// HeaderLabels replaces all of them. In Retention 0 is the default, and absent is as it is.
	HeaderLabels  *[]string                `json:"header_labels"`
	Retention     *retentionRequest        `json:"retention"`
	DataRetention *gatehouse.DataRetention `json:"data_retention"`
}

func (a *API) updateOrganization(ctx context.Context, c *call) (any, error) {
	req, err := body[organizationRequest](c)
	if err != nil {
		return nil, err
	}
	update := admin.OrganizationUpdate{Name: optional(req.Name), TimeZone: optional(req.TimeZone), HeaderLabels: optional(req.HeaderLabels), DataRetention: optional(req.DataRetention)}
	if req.Retention != nil {
		before, err := a.cfg.Admin.Organization(ctx, c.who)
		if err != nil {
			return nil, err
		}
		if update.Retention, err = req.Retention.over(before.Retention); err != nil {
			return nil, err
		}
	}
	o, effect, err := a.cfg.Admin.UpdateOrganization(ctx, c.who, update)
	if err != nil {
		return nil, err
	}
	v, _ := showOrganization(o)
	v.EffectiveBy = c.effect(effect)
	return v, nil
}

// retentionRequest changes how long measurements are kept, in days.
type retentionRequest struct {
	Requests *int64 `json:"requests_days"`
	Minutes  *int64 `json:"minutes_days"`
	Hours    *int64 `json:"hours_days"`
	Usage    *int64 `json:"usage_days"`
	Days     *int64 `json:"days_days"` // to say why not
}

// over lays what is asked for over what holds.
func (r *retentionRequest) over(before gatehouse.Retention) (admin.Optional[gatehouse.Retention], error) {
	if r.Days != nil {
		return admin.Optional[gatehouse.Retention]{}, gatehouse.InvalidParam("retention.days_days", "Invalid 'retention.days_days': sums of days are kept for ever, because bills, budgets and forecasts are made of them.")
	}
	after := before
	for _, f := range []struct {
		to   *int64
		days *int64
	}{{&after.Requests, r.Requests}, {&after.Minutes, r.Minutes}, {&after.Hours, r.Hours}, {&after.Usage, r.Usage}} {
		if f.days != nil {
			*f.to = *f.days
		}
	}
	return admin.Some(after), nil
}
