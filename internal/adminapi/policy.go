package adminapi

import (
	"context"
	"encoding/json"

	"github.com/go-json-experiment/json/jsontext"

	"gatehouse"
	"gatehouse/internal/admin"
)

// policyRoutes are OpenAI's settings of what a project's requests may do, and of what is kept of them.
func (a *API) policyRoutes(on func(pattern, scope string, h handler)) {
	const org, project = "/v1/organization", "/v1/organization/projects/{project_id}"
	on("GET "+project+"/model_permissions", "api.policies.read", a.modelPermissions)
	on("POST "+project+"/model_permissions", "api.policies.write", a.updateModelPermissions)
	on("DELETE "+project+"/model_permissions", "api.policies.write", a.deleteModelPermissions)
	on("GET "+project+"/hosted_tool_permissions", "api.policies.read", a.toolPermissions)
	on("POST "+project+"/hosted_tool_permissions", "api.policies.write", a.updateToolPermissions)
	on("GET "+project+"/service_tier_settings", "api.policies.read", a.serviceTiers)
	on("POST "+project+"/service_tier_settings", "api.policies.write", a.updateServiceTiers)
	on("GET "+project+"/data_retention", "api.policies.read", a.projectRetention)
	on("POST "+project+"/data_retention", "api.policies.write", a.updateProjectRetention)
	on("GET "+org+"/data_retention", "api.policies.read", a.dataRetention)
	on("POST "+org+"/data_retention", "api.policies.write", a.updateDataRetention)
}

type modelPermissions struct {
	Object      string              `json:"object"`
	Mode        gatehouse.ModelMode `json:"mode"`
	Models      []string            `json:"model_ids"`
	EffectiveBy *int64              `json:"effective_by,omitempty"`
}

// showModelPermissions shows a project that nothing is set for as one that denies no model: OpenAI's shape has no third mode.
func showModelPermissions(p *gatehouse.Project) *modelPermissions {
	v := &modelPermissions{Object: "project.model_permissions", Mode: p.Policy.Models.Mode, Models: append([]string{}, p.Policy.Models.Models...)}
	if v.Mode == "" {
		v.Mode = gatehouse.DenyList
	}
	return v
}

func (a *API) modelPermissions(ctx context.Context, c *call) (any, error) {
	p, err := a.cfg.Admin.Project(ctx, c.who, c.PathValue("project_id"))
	if err != nil {
		return nil, err
	}
	return showModelPermissions(p), nil
}

type modelPermissionsRequest struct {
	Mode   gatehouse.ModelMode `json:"mode"`
	Models *[]string           `json:"model_ids"`
}

func (a *API) updateModelPermissions(ctx context.Context, c *call) (any, error) {
	req, err := body[modelPermissionsRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("mode", req.Mode != ""); err != nil {
		return nil, err
	}
	if err := required("model_ids", req.Models != nil); err != nil {
		return nil, err
	}
	p, effect, err := a.setPolicy(ctx, c, admin.PolicyUpdate{Models: admin.Some(gatehouse.ModelPermissions{Mode: req.Mode, Models: *req.Models})})
	if err != nil {
		return nil, err
	}
	v := showModelPermissions(p)
	v.EffectiveBy = effect
	return v, nil
}

func (a *API) deleteModelPermissions(ctx context.Context, c *call) (any, error) {
	_, effect, err := a.setPolicy(ctx, c, admin.PolicyUpdate{Models: admin.Some(gatehouse.ModelPermissions{})})
	if err != nil {
		return nil, err
	}
	return struct {
		Object      string `json:"object"`
		Deleted     bool   `json:"deleted"`
		EffectiveBy *int64 `json:"effective_by,omitempty"`
	}{"project.model_permissions.deleted", true, effect}, nil
}

// setPolicy changes a project's policy, and returns when the change holds on every node where that is not yet so.
func (a *API) setPolicy(ctx context.Context, c *call, u admin.PolicyUpdate) (*gatehouse.Project, *int64, error) {
	p, effect, err := a.cfg.Admin.UpdateProjectPolicy(ctx, c.who, c.PathValue("project_id"), u)
	if err != nil {
		return nil, nil, err
	}
	return p, c.effect(effect), nil
}

// toolPermission is whether a hosted tool may be used.
type toolPermission struct {
	Enabled *bool `json:"enabled"`
}

type toolPermissions struct {
	FileSearch      toolPermission `json:"file_search"`
	WebSearch       toolPermission `json:"web_search"`
	ImageGeneration toolPermission `json:"image_generation"`
	MCP             toolPermission `json:"mcp"`
	CodeInterpreter toolPermission `json:"code_interpreter"`
	EffectiveBy     *int64         `json:"effective_by,omitempty"`
}

func showToolPermissions(p *gatehouse.Project) *toolPermissions {
	enabled := func(t gatehouse.ToolSet) toolPermission {
		yes := p.Policy.DeniedTools&t == 0
		return toolPermission{&yes}
	}
	return &toolPermissions{FileSearch: enabled(gatehouse.ToolFileSearch), WebSearch: enabled(gatehouse.ToolWebSearch), ImageGeneration: enabled(gatehouse.ToolImageGeneration),
		MCP: enabled(gatehouse.ToolMCP), CodeInterpreter: enabled(gatehouse.ToolCodeInterpreter)}
}

func (a *API) toolPermissions(ctx context.Context, c *call) (any, error) {
	p, err := a.cfg.Admin.Project(ctx, c.who, c.PathValue("project_id"))
	if err != nil {
		return nil, err
	}
	return showToolPermissions(p), nil
}

// toolPermissionsRequest changes the tools it names; null is as absent.
type toolPermissionsRequest struct {
	FileSearch      *toolPermission `json:"file_search"`
	WebSearch       *toolPermission `json:"web_search"`
	ImageGeneration *toolPermission `json:"image_generation"`
	MCP             *toolPermission `json:"mcp"`
	CodeInterpreter *toolPermission `json:"code_interpreter"`
}

func (a *API) updateToolPermissions(ctx context.Context, c *call) (any, error) {
	req, err := body[toolPermissionsRequest](c)
	if err != nil {
		return nil, err
	}
	var u admin.PolicyUpdate
	for i, t := range []*toolPermission{req.FileSearch, req.WebSearch, req.ImageGeneration, req.MCP, req.CodeInterpreter} {
		if t == nil {
			continue
		}
		if err := required(gatehouse.ToolNames[i]+".enabled", t.Enabled != nil); err != nil {
			return nil, err
		}
		if tool := gatehouse.ToolSet(1 << i); *t.Enabled {
			u.Allow |= tool
		} else {
			u.Deny |= tool
		}
	}
	p, effect, err := a.setPolicy(ctx, c, u)
	if err != nil {
		return nil, err
	}
	v := showToolPermissions(p)
	v.EffectiveBy = effect
	return v, nil
}

// retention is what is kept of requests. The field that is written is called otherwise than the one that is read.
type retention struct {
	Object      string                  `json:"object"`
	Type        gatehouse.DataRetention `json:"type"`
	EffectiveBy *int64                  `json:"effective_by,omitempty"`
}

type dataRetentionRequest struct {
	Type gatehouse.DataRetention `json:"retention_type"`
}

func showProjectRetention(p *gatehouse.Project) *retention {
	v := &retention{Object: "project.data_retention", Type: p.Policy.DataRetention}
	if v.Type == "" {
		v.Type = gatehouse.OrganizationDefault
	}
	return v
}

func (a *API) projectRetention(ctx context.Context, c *call) (any, error) {
	p, err := a.cfg.Admin.Project(ctx, c.who, c.PathValue("project_id"))
	if err != nil {
		return nil, err
	}
	return showProjectRetention(p), nil
}

func (a *API) updateProjectRetention(ctx context.Context, c *call) (any, error) {
	req, err := body[dataRetentionRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("retention_type", req.Type != ""); err != nil {
		return nil, err
	}
	p, effect, err := a.setPolicy(ctx, c, admin.PolicyUpdate{DataRetention: admin.Some(req.Type)})
	if err != nil {
		return nil, err
	}
	v := showProjectRetention(p)
	v.EffectiveBy = effect
	return v, nil
}

func showRetention(o *gatehouse.Organization) *retention {
	return &retention{Object: "organization.data_retention", Type: gatehouse.RetentionOf(o, nil)}
}

func (a *API) dataRetention(ctx context.Context, c *call) (any, error) {
	o, err := a.cfg.Admin.Organization(ctx, c.who)
	if err != nil {
		return nil, err
	}
	return showRetention(o), nil
}

func (a *API) updateDataRetention(ctx context.Context, c *call) (any, error) {
	req, err := body[dataRetentionRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("retention_type", req.Type != ""); err != nil {
		return nil, err
	}
	o, effect, err := a.cfg.Admin.UpdateOrganization(ctx, c.who, admin.OrganizationUpdate{DataRetention: admin.Some(req.Type)})
	if err != nil {
		return nil, err
	}
	v := showRetention(o)
	v.EffectiveBy = c.effect(effect)
	return v, nil
}

// tierSettings are OpenAI's: which service tiers a project's requests may ask for, and which they get that ask for none.
type tierSettings struct {
	Object      string `json:"object"`
	Default     string `json:"default"`
	Enabled     any    `json:"enabled_tiers"`
	EffectiveBy *int64 `json:"effective_by,omitempty"`
}

func showTierSettings(p *gatehouse.Project) *tierSettings {
	v := &tierSettings{Object: "project.service_tier_settings", Default: p.Policy.ServiceTiers.Default, Enabled: p.Policy.ServiceTiers.Listed()}
	if v.Default == "" {
		v.Default = gatehouse.TierStandard
	}
	return v
}

func (a *API) serviceTiers(ctx context.Context, c *call) (any, error) {
	p, err := a.cfg.Admin.Project(ctx, c.who, c.PathValue("project_id"))
	if err != nil {
		return nil, err
	}
	return showTierSettings(p), nil
}

type tierSettingsRequest struct {
	Default *string        `json:"default"`
	Enabled jsontext.Value `json:"enabled_tiers"`
}

func (a *API) updateServiceTiers(ctx context.Context, c *call) (any, error) {
	req, err := body[tierSettingsRequest](c)
	if err != nil {
		return nil, err
	}
	given := len(req.Enabled) > 0 && string(req.Enabled) != "null"
	if err := required("default", req.Default != nil || given); err != nil {
		return nil, err
	}
	var u admin.PolicyUpdate
	if req.Default != nil {
		u.DefaultTier = admin.Some(*req.Default)
	}
	if given {
		var tiers gatehouse.ServiceTiers
		if err := tiers.ParseTiers(json.RawMessage(req.Enabled)); err != nil {
			return nil, err
		}
		u.EnabledTiers = admin.Some(tiers)
	}
	p, effect, err := a.setPolicy(ctx, c, u)
	if err != nil {
		return nil, err
	}
	v := showTierSettings(p)
	v.EffectiveBy = effect
	return v, nil
}
