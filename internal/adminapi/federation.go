package adminapi

import (
	"context"
	"encoding/json"

	"github.com/go-json-experiment/json/jsontext"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// federationRoutes are OpenAI's workload identity providers and federation rules.
func (a *API) federationRoutes(on func(pattern, scope string, h handler)) {
	const read, write = "api.workload_identity.read", "api.workload_identity.write"
	const providers = "/v1/organization/workload_identity_providers"
	const rules = providers + "/{provider_id}/federation_rules"
	on("GET "+providers, read, a.listProviders)
	on("POST "+providers, write, a.createProvider)
	on("GET "+providers+"/{provider_id}", read, a.provider)
	on("POST "+providers+"/{provider_id}", write, a.updateProvider)
	on("DELETE "+providers+"/{provider_id}", write, a.deleteProvider)
	on("GET "+rules, read, a.listRules)
	on("POST "+rules, write, a.createRule)
	on("GET "+rules+"/{rule_id}", read, a.rule)
	on("POST "+rules+"/{rule_id}", write, a.updateRule)
	on("DELETE "+rules+"/{rule_id}", write, a.deleteRule)
}

type provider struct {
	Object          string                              `json:"object"`
	ID              string                              `json:"id"`
	Name            string                              `json:"name"`
	Type            string                              `json:"type"`
	Issuer          string                              `json:"issuer"`
	Audience        string                              `json:"audience"`
	Description     *string                             `json:"description"`
	Enabled         bool                                `json:"enabled"`
	CreatedAt       int64                               `json:"created_at"`
	UpdatedAt       int64                               `json:"updated_at"`
	Transformations []gatehouse.AttributeTransformation `json:"attribute_transformations"`
	Verification    any                                 `json:"verification"`
	EffectiveBy     *int64                              `json:"effective_by,omitempty"`
}

// The two kinds of verification, as OpenAI shows them.
type (
	discovery struct {
		Type string  `json:"type"`
		URL  *string `json:"discovery_url"`
	}
	uploadedKeys struct {
		Type string         `json:"type"`
		JWKS jsontext.Value `json:"jwks"`
	}
)

func showProvider(p *gatehouse.IdentityProvider) (*provider, string) {
	v := &provider{Object: "organization.workload_identity_provider", ID: p.ID, Name: p.Name, Type: "oidc", Issuer: p.Issuer, Audience: p.Audience, Description: text(p.Description),
		Enabled: !p.Disabled, CreatedAt: p.CreatedAt.Seconds(), UpdatedAt: p.UpdatedAt.Seconds(), Transformations: append([]gatehouse.AttributeTransformation{}, p.Transformations...)}
	if p.Verification.JWKS != nil {
		v.Verification = uploadedKeys{"uploaded_jwks", jsontext.Value(p.Verification.JWKS)}
	} else {
		v.Verification = discovery{"discovery", text(p.Verification.DiscoveryURL)}
	}
	return v, p.ID
}

// providerRequest makes a provider or changes the fields of one that are there; a description of null is none.
type providerRequest struct {
	Name            *string                              `json:"name"`
	Type            *string                              `json:"type"`
	Issuer          *string                              `json:"issuer"`
	Audience        *string                              `json:"audience"`
	Description     jsontext.Value                       `json:"description"`
	Enabled         *bool                                `json:"enabled"`
	Transformations *[]gatehouse.AttributeTransformation `json:"attribute_transformations"`
	Verification    *verificationRequest                 `json:"verification"`
}

type verificationRequest struct {
	Type string         `json:"type"`
	URL  *string        `json:"discovery_url"`
	JWKS jsontext.Value `json:"jwks"`
}

// clearable reads a text that null takes away.
func clearable(param string, v jsontext.Value) (admin.Optional[string], error) {
	var s *string
	if len(v) == 0 {
		return admin.Optional[string]{}, nil
	}
	if err := json.Unmarshal(v, &s); err != nil {
		return admin.Optional[string]{}, &gatehouse.Error{Kind: gatehouse.Invalid, Code: "invalid_type", Param: param, Message: "Invalid type for '" + param + "'."}
	}
	if s == nil {
		return admin.Some(""), nil
	}
	return admin.Some(*s), nil
}

func (r *providerRequest) update() (u admin.IdentityProviderUpdate, err error) {
	u.Name, u.Issuer, u.Audience, u.Transformations = optional(r.Name), optional(r.Issuer), optional(r.Audience), optional(r.Transformations)
	if u.Description, err = clearable("description", r.Description); err != nil {
		return u, err
	}
	if r.Enabled != nil {
		u.Disabled = admin.Some(!*r.Enabled)
	}
	if r.Type != nil && *r.Type != "oidc" {
		return u, gatehouse.InvalidParam("type", "Invalid 'type': must be oidc.")
	}
	v := r.Verification
	switch {
	case v == nil:
	case v.Type == "discovery" && len(v.JWKS) == 0:
		u.Verification = admin.Some(gatehouse.TokenVerification{DiscoveryURL: value(v.URL)})
	case v.Type == "uploaded_jwks" && v.URL == nil:
		if err := required("verification.jwks", len(v.JWKS) > 0); err != nil {
			return u, err
		}
		u.Verification = admin.Some(gatehouse.TokenVerification{JWKS: json.RawMessage(v.JWKS)})
	default:
		return u, gatehouse.InvalidParam("verification", "Invalid 'verification': its type is discovery, with a discovery_url or null, or uploaded_jwks, with jwks.")
	}
	return u, nil
}

func (a *API) listProviders(ctx context.Context, c *call) (any, error) {
	return listed(c, true, func(page store.Page) ([]gatehouse.IdentityProvider, bool, error) {
		return a.cfg.Admin.IdentityProviders(ctx, c.who, page)
	}, showProvider)
}

func (a *API) createProvider(ctx context.Context, c *call) (any, error) {
	req, err := body[providerRequest](c)
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name  string
		value *string
	}{{"name", req.Name}, {"type", req.Type}, {"issuer", req.Issuer}, {"audience", req.Audience}} {
		if err := required(f.name, value(f.value) != ""); err != nil {
			return nil, err
		}
	}
	u, err := req.update()
	if err != nil {
		return nil, err
	}
	p, err := a.cfg.Admin.CreateIdentityProvider(ctx, c.who, u)
	return shown(p, err, showProvider)
}

func (a *API) provider(ctx context.Context, c *call) (any, error) {
	p, err := a.cfg.Admin.IdentityProvider(ctx, c.who, c.PathValue("provider_id"))
	return shown(p, err, showProvider)
}

func (a *API) updateProvider(ctx context.Context, c *call) (any, error) {
	req, err := body[providerRequest](c)
	if err != nil {
		return nil, err
	}
	u, err := req.update()
	if err != nil {
		return nil, err
	}
	p, effect, err := a.cfg.Admin.UpdateIdentityProvider(ctx, c.who, c.PathValue("provider_id"), u)
	if err != nil {
		return nil, err
	}
	v, _ := showProvider(p)
	v.EffectiveBy = c.effect(effect)
	return v, nil
}

func (a *API) deleteProvider(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.DeleteIdentityProvider(ctx, c.who, c.PathValue("provider_id"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "organization.workload_identity_provider.deleted", ID: c.PathValue("provider_id"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}

type federationRule struct {
	Object         string          `json:"object"`
	ID             string          `json:"id"`
	Provider       string          `json:"workload_identity_provider_id"`
	Project        string          `json:"project_id"`
	ServiceAccount string          `json:"service_account_id"`
	Matchers       map[string]any  `json:"attribute_matchers"`
	Enabled        bool            `json:"enabled"`
	Name           *string         `json:"name"`
	Description    *string         `json:"description"`
	Permissions    rulePermissions `json:"permissions"`
	CreatedAt      int64           `json:"created_at"`
	UpdatedAt      int64           `json:"updated_at"`
	EffectiveBy    *int64          `json:"effective_by,omitempty"`
}

// rulePermissions are service_account_default, or restricted to scopes.
type rulePermissions struct {
	Type   string   `json:"type"`
	Scopes []string `json:"scopes,omitempty"`
}

func showRule(r *gatehouse.FederationRule) (*federationRule, string) {
	v := &federationRule{Object: "organization.workload_identity_federation_rule", ID: r.ID, Provider: r.Provider, Project: r.Project, ServiceAccount: r.ServiceAccount, Matchers: r.Matchers,
		Enabled: !r.Disabled, Name: text(r.Name), Description: text(r.Description), CreatedAt: r.CreatedAt.Seconds(), UpdatedAt: r.UpdatedAt.Seconds(),
		Permissions: rulePermissions{Type: "service_account_default"}}
	if r.Scopes != nil {
		v.Permissions = rulePermissions{"restricted", r.Scopes}
	}
	return v, r.ID
}

// ruleRequest makes a rule or changes the fields of one that are there; a name or description of null is none.
type ruleRequest struct {
	Project        string           `json:"project_id"`
	ServiceAccount string           `json:"service_account_id"`
	Matchers       *map[string]any  `json:"attribute_matchers"`
	Name           jsontext.Value   `json:"name"`
	Description    jsontext.Value   `json:"description"`
	Enabled        *bool            `json:"enabled"`
	Permissions    *rulePermissions `json:"permissions"`
}

func (r *ruleRequest) update() (u admin.FederationRuleUpdate, err error) {
	u.Project, u.ServiceAccount, u.Matchers = r.Project, r.ServiceAccount, optional(r.Matchers)
	if u.Name, err = clearable("name", r.Name); err != nil {
		return u, err
	}
	if u.Description, err = clearable("description", r.Description); err != nil {
		return u, err
	}
	if r.Enabled != nil {
		u.Disabled = admin.Some(!*r.Enabled)
	}
	p := r.Permissions
	switch {
	case p == nil:
	case p.Type == "service_account_default" && p.Scopes == nil:
		u.Scopes = admin.Some[[]string](nil)
	case p.Type == "restricted":
		u.Scopes = admin.Some(append([]string{}, p.Scopes...))
	default:
		return u, gatehouse.InvalidParam("permissions", "Invalid 'permissions': its type is service_account_default, without scopes, or restricted, with scopes.")
	}
	return u, nil
}

func (a *API) listRules(ctx context.Context, c *call) (any, error) {
	return listed(c, true, func(page store.Page) ([]gatehouse.FederationRule, bool, error) {
		return a.cfg.Admin.FederationRules(ctx, c.who, c.PathValue("provider_id"), c.URL.Query().Get("service_account_id"), page)
	}, showRule)
}

func (a *API) createRule(ctx context.Context, c *call) (any, error) {
	req, err := body[ruleRequest](c)
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name  string
		there bool
	}{{"attribute_matchers", req.Matchers != nil}, {"project_id", req.Project != ""}, {"service_account_id", req.ServiceAccount != ""}} {
		if err := required(f.name, f.there); err != nil {
			return nil, err
		}
	}
	u, err := req.update()
	if err != nil {
		return nil, err
	}
	r, err := a.cfg.Admin.CreateFederationRule(ctx, c.who, c.PathValue("provider_id"), u)
	return shown(r, err, showRule)
}

func (a *API) rule(ctx context.Context, c *call) (any, error) {
	r, err := a.cfg.Admin.FederationRule(ctx, c.who, c.PathValue("provider_id"), c.PathValue("rule_id"))
	return shown(r, err, showRule)
}

func (a *API) updateRule(ctx context.Context, c *call) (any, error) {
	req, err := body[ruleRequest](c)
	if err != nil {
		return nil, err
	}
	if req.Project != "" || req.ServiceAccount != "" {
		return nil, gatehouse.InvalidParam("service_account_id", "A federation rule stays with its project and service account. Make another rule, and delete this one.")
	}
	u, err := req.update()
	if err != nil {
		return nil, err
	}
	r, effect, err := a.cfg.Admin.UpdateFederationRule(ctx, c.who, c.PathValue("provider_id"), c.PathValue("rule_id"), u)
	if err != nil {
		return nil, err
	}
	v, _ := showRule(r)
	v.EffectiveBy = c.effect(effect)
	return v, nil
}

func (a *API) deleteRule(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.DeleteFederationRule(ctx, c.who, c.PathValue("provider_id"), c.PathValue("rule_id"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "organization.workload_identity_federation_rule.deleted", ID: c.PathValue("rule_id"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}
