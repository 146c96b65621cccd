package client

import (
	"context"
	"net/http"

	"gatehouse"
)

// ModelPermissions are the models that a project may ask for.
type ModelPermissions struct {
	Answer
	gatehouse.ModelPermissions
	EffectiveBy int64 `json:"effective_by"` // as Deletion.EffectiveBy
}

// HostedTools says of each hosted tool whether a project may use it.
type HostedTools struct {
	Answer
	FileSearch      ToolPermission `json:"file_search"`
	WebSearch       ToolPermission `json:"web_search"`
	ImageGeneration ToolPermission `json:"image_generation"`
	MCP             ToolPermission `json:"mcp"`
	CodeInterpreter ToolPermission `json:"code_interpreter"`
	EffectiveBy     int64          `json:"effective_by"` // as Deletion.EffectiveBy
}

// ToolPermission is whether a tool may be used.
type ToolPermission struct {
	Enabled bool `json:"enabled"`
}

// Denied returns the tools that may not be used.
func (t *HostedTools) Denied() gatehouse.ToolSet {
	var set gatehouse.ToolSet
	for i, p := range []ToolPermission{t.FileSearch, t.WebSearch, t.ImageGeneration, t.MCP, t.CodeInterpreter} {
		if !p.Enabled {
			set |= 1 << i
		}
	}
	return set
}

// DataRetention is what is kept of requests.
type DataRetention struct {
	Answer
	Type        gatehouse.DataRetention `json:"type"`
	EffectiveBy int64                   `json:"effective_by"` // as Deletion.EffectiveBy
}

func projectPath(project, setting string) []string {
	return []string{"v1", "organization", "projects", project, setting}
}

// ModelPermissions returns the models that a project may ask for; a deny list without models is every model.
func (c *Client) ModelPermissions(ctx context.Context, project string) (*ModelPermissions, error) {
	return do[ModelPermissions](ctx, c, request{method: http.MethodGet, path: projectPath(project, "model_permissions")})
}

// SetModelPermissions replaces the models that a project may ask for.
func (c *Client) SetModelPermissions(ctx context.Context, project string, p gatehouse.ModelPermissions) (*ModelPermissions, error) {
	if p.Models == nil {
		p.Models = []string{}
	}
	return do[ModelPermissions](ctx, c, request{method: http.MethodPost, path: projectPath(project, "model_permissions"), body: p})
}

// DeleteModelPermissions lets a project ask for every model again.
func (c *Client) DeleteModelPermissions(ctx context.Context, project string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: projectPath(project, "model_permissions")})
}

// HostedTools returns which hosted tools a project may use.
func (c *Client) HostedTools(ctx context.Context, project string) (*HostedTools, error) {
	return do[HostedTools](ctx, c, request{method: http.MethodGet, path: projectPath(project, "hosted_tool_permissions")})
}

// SetHostedTools denies and allows hosted tools; what is in neither stays as it is.
func (c *Client) SetHostedTools(ctx context.Context, project string, deny, allow gatehouse.ToolSet) (*HostedTools, error) {
	body := map[string]ToolPermission{}
	for _, name := range deny.Names() {
		body[name] = ToolPermission{false}
	}
	for _, name := range allow.Names() {
		body[name] = ToolPermission{true}
	}
	return do[HostedTools](ctx, c, request{method: http.MethodPost, path: projectPath(project, "hosted_tool_permissions"), body: body})
}

type retentionUpdate struct {
	Type gatehouse.DataRetention `json:"retention_type"`
}

// ProjectDataRetention returns what is kept of a project's requests.
func (c *Client) ProjectDataRetention(ctx context.Context, project string) (*DataRetention, error) {
	return do[DataRetention](ctx, c, request{method: http.MethodGet, path: projectPath(project, "data_retention")})
}

// SetProjectDataRetention says what is kept of a project's requests.
func (c *Client) SetProjectDataRetention(ctx context.Context, project string, d gatehouse.DataRetention) (*DataRetention, error) {
	return do[DataRetention](ctx, c, request{method: http.MethodPost, path: projectPath(project, "data_retention"), body: retentionUpdate{d}})
}

// DataRetention returns what is kept of the requests of projects that do not say it themselves.
func (c *Client) DataRetention(ctx context.Context) (*DataRetention, error) {
	return do[DataRetention](ctx, c, request{method: http.MethodGet, path: []string{"v1", "organization", "data_retention"}})
}

// SetDataRetention says what is kept of the requests of projects that do not say it themselves.
func (c *Client) SetDataRetention(ctx context.Context, d gatehouse.DataRetention) (*DataRetention, error) {
	return do[DataRetention](ctx, c, request{method: http.MethodPost, path: []string{"v1", "organization", "data_retention"}, body: retentionUpdate{d}})
}

// ServiceTiers are the service tiers that a project's requests may ask for, and which they get that ask for none.
type ServiceTiers struct {
	Answer
	Default     string `json:"default"`
	Enabled     any    `json:"enabled_tiers"` // "all", or a list of names
	EffectiveBy int64  `json:"effective_by"`  // as Deletion.EffectiveBy
}

// ServiceTiersUpdate changes the fields that are set.
type ServiceTiersUpdate struct {
	Default string `json:"default,omitempty"`
	Enabled any    `json:"enabled_tiers,omitempty"`
}

// ServiceTiers returns which service tiers a project's requests may ask for.
func (c *Client) ServiceTiers(ctx context.Context, project string) (*ServiceTiers, error) {
	return do[ServiceTiers](ctx, c, request{method: http.MethodGet, path: projectPath(project, "service_tier_settings")})
}

// SetServiceTiers changes which service tiers a project's requests may ask for.
func (c *Client) SetServiceTiers(ctx context.Context, project string, u ServiceTiersUpdate) (*ServiceTiers, error) {
	return do[ServiceTiers](ctx, c, request{method: http.MethodPost, path: projectPath(project, "service_tier_settings"), body: u})
}
