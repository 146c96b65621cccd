package adminapi

import (
	"context"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// resource is an Azure-shaped resource. A key is null when it was revoked, or never made: regenerating makes it.
type resource struct {
	Object      string       `json:"object"`
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	ProjectID   string       `json:"project_id"`
	Region      *string      `json:"region"`
	Endpoint    string       `json:"endpoint,omitempty"` // what Azure's clients take; only where the node knows its public URL
	Key1        *resourceKey `json:"key1"`
	Key2        *resourceKey `json:"key2"`
	CreatedAt   int64        `json:"created_at"`
	EffectiveBy *int64       `json:"effective_by,omitempty"`
}

type resourceKey struct {
	ID            string `json:"id"`
	RedactedValue string `json:"redacted_value"`
	Value         string `json:"value,omitempty"` // once, in the answer that makes it
	State         string `json:"state"`
	CreatedAt     int64  `json:"created_at"`
	ExpiresAt     *int64 `json:"expires_at"`
	LastUsedAt    *int64 `json:"last_used_at"`
}

func (a *API) showResource(i *admin.ResourceInfo) (*resource, string) {
	v := &resource{Object: "gatehouse.resource", ID: i.Resource.ID, Name: i.Resource.Name, ProjectID: i.Resource.Project, Endpoint: strings.TrimRight(a.cfg.PublicURL, "/"),
		Key1: showResourceKey(i.Key1), Key2: showResourceKey(i.Key2), CreatedAt: i.Resource.CreatedAt.Seconds()}
	if i.Resource.Region != "" {
		v.Region = &i.Resource.Region
	}
	return v, i.Resource.ID
}

func showResourceKey(k *gatehouse.Key) *resourceKey {
	if k == nil {
		return nil
	}
	return &resourceKey{ID: k.ID, RedactedValue: k.Redacted, State: k.State(gatehouse.MillisOf(time.Now())).String(), CreatedAt: k.CreatedAt.Seconds(),
		ExpiresAt: seconds(k.ExpiresAt), LastUsedAt: seconds(k.LastUsedAt)}
}

func (a *API) listResources(ctx context.Context, c *call) (any, error) {
	return listed(c, false, func(page store.Page) ([]admin.ResourceInfo, bool, error) {
		return a.cfg.Admin.Resources(ctx, c.who, c.URL.Query().Get("project_id"), page)
	}, a.showResource)
}

type resourceRequest struct {
	ProjectID string  `json:"project_id"`
	Name      *string `json:"name"`
	Region    *string `json:"region"`
}

func (a *API) createResource(ctx context.Context, c *call) (any, error) {
	req, err := body[resourceRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("project_id", req.ProjectID != ""); err != nil {
		return nil, err
	}
	info, keys, err := a.cfg.Admin.CreateResource(ctx, c.who, admin.ResourceRequest{Project: req.ProjectID, Name: value(req.Name), Region: value(req.Region)})
	if err != nil {
		return nil, err
	}
	v, _ := a.showResource(info)
	v.Key1.Value, v.Key2.Value = keys[0].Value.Reveal(), keys[1].Value.Reveal()
	return v, nil
}

func (a *API) resource(ctx context.Context, c *call) (any, error) {
	info, err := a.cfg.Admin.Resource(ctx, c.who, c.PathValue("resource_id"))
	return shown(info, err, a.showResource)
}

func (a *API) updateResource(ctx context.Context, c *call) (any, error) {
	req, err := body[resourceRequest](c)
	if err != nil {
		return nil, err
	}
	if req.ProjectID != "" {
		return nil, gatehouse.InvalidParam("project_id", "The project of a resource cannot change. Create another resource.")
	}
	info, effect, err := a.cfg.Admin.UpdateResource(ctx, c.who, c.PathValue("resource_id"), admin.ResourceUpdate{Name: optional(req.Name), Region: optional(req.Region)})
	if err != nil {
		return nil, err
	}
	v, _ := a.showResource(info)
	v.EffectiveBy = c.effect(effect)
	return v, nil
}

func (a *API) removeResource(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.RemoveResource(ctx, c.who, c.PathValue("resource_id"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "gatehouse.resource.deleted", ID: c.PathValue("resource_id"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}

type regenerateRequest struct {
	KeyName string `json:"key_name"` // Key1 or Key2, as Azure's API has it, in any case
}

// regenerateKey answers with the resource and the new key's text. 202 says that a node is silent: it may accept the old key, and
// not yet the new one, until effective_by.
func (a *API) regenerateKey(ctx context.Context, c *call) (any, error) {
	req, err := body[regenerateRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("key_name", req.KeyName != ""); err != nil {
		return nil, err
	}
	slot := gatehouse.Key1
	for !strings.EqualFold(req.KeyName, slot.String()) && slot <= gatehouse.Key2 {
		slot++
	}
	info, key, effect, err := a.cfg.Admin.RegenerateKey(ctx, c.who, c.PathValue("resource_id"), slot)
	if err != nil {
		return nil, err
	}
	v, _ := a.showResource(info)
	made := v.Key1
	if slot == gatehouse.Key2 {
		made = v.Key2
	}
	made.Value = key.Value.Reveal()
	v.EffectiveBy = c.effect(effect)
	return v, nil
}
