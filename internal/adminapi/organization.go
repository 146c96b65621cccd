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
	CreatedAt      int64  `json:"created_at"`
	EffectiveBy    *int64 `json:"effective_by,omitempty"`
}

func showOrganization(o *gatehouse.Organization) (*organization, string) {
	v := &organization{Object: "gatehouse.organization", ID: o.ID, Name: o.Name, DefaultProject: o.DefaultProject, TimeZone: o.TimeZone, CreatedAt: o.CreatedAt.Seconds()}
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
}

func (a *API) updateOrganization(ctx context.Context, c *call) (any, error) {
	req, err := body[organizationRequest](c)
	if err != nil {
		return nil, err
	}
	o, effect, err := a.cfg.Admin.UpdateOrganization(ctx, c.who, admin.OrganizationUpdate{Name: optional(req.Name), TimeZone: optional(req.TimeZone)})
	if err != nil {
		return nil, err
	}
	v, _ := showOrganization(o)
	v.EffectiveBy = c.effect(effect)
	return v, nil
}
