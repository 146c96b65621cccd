package adminapi

import (
	"context"
	"time"

	"gatehouse"
)

func nowSeconds() int64 { return time.Now().Unix() }

// ownRoutes are what OpenAI has no endpoint for.
func (a *API) ownRoutes(on func(pattern, scope string, h handler)) {
	const own = "/gatehouse/v1"
	on("GET "+own+"/whoami", "api.organization.read", a.whoami)

	on("POST "+own+"/users", "api.users.write", a.createUser)
	on("POST "+own+"/projects/{project_id}", "api.projects.write", a.updateOwnProject)

	on("GET "+own+"/keys", "api.api_keys.read", a.listKeys)
	on("POST "+own+"/keys", "api.api_keys.write", a.createKey)
	on("GET "+own+"/keys/{key_id}", "api.api_keys.read", a.key)
	on("POST "+own+"/keys/{key_id}", "api.api_keys.write", a.updateKey)
	on("DELETE "+own+"/keys/{key_id}", "api.api_keys.write", a.revokeKey)
	on("POST "+own+"/keys/{key_id}/suspend", "api.api_keys.write", a.suspendKey)
	on("POST "+own+"/keys/{key_id}/resume", "api.api_keys.write", a.resumeKey)

	on("GET "+own+"/resources", "api.service_accounts.read", a.listResources)
	on("POST "+own+"/resources", "api.service_accounts.write", a.createResource)
	on("GET "+own+"/resources/{resource_id}", "api.service_accounts.read", a.resource)
	on("POST "+own+"/resources/{resource_id}", "api.service_accounts.write", a.updateResource)
	on("DELETE "+own+"/resources/{resource_id}", "api.service_accounts.write", a.removeResource)
	on("POST "+own+"/resources/{resource_id}/regenerate_key", "api.service_accounts.write", a.regenerateKey)

	on("GET "+own+"/upstreams", "api.routing.read", a.listUpstreams)
	on("POST "+own+"/upstreams", "api.routing.write", a.putUpstream)
	on("DELETE "+own+"/upstreams/{name}", "api.routing.write", a.removeUpstream)
	on("GET "+own+"/deployments", "api.routing.read", a.listDeployments)
	on("GET "+own+"/deployments/status", "api.routing.read", a.deploymentsStatus)
	on("POST "+own+"/deployments", "api.routing.write", a.putDeployment)
	on("DELETE "+own+"/deployments/{name}", "api.routing.write", a.removeDeployment)
	on("GET "+own+"/prices", "api.spend.read", a.listPrices)
	on("POST "+own+"/prices", "api.spend.write", a.putPrice)
	on("GET "+own+"/prices/{price_id}", "api.spend.read", a.price)
	on("DELETE "+own+"/prices/{price_id}", "api.spend.write", a.removePrice)
	on("POST "+own+"/sealed_secrets", "api.routing.write", a.seal)
	on("POST "+own+"/apply", gatehouse.ManagementWrite, a.apply)
	on("GET "+own+"/manifest", gatehouse.ManagementRead, a.export)
	a.alertRoutes(on)

	on("GET "+own+"/organization", "api.organization.read", a.organization)
	on("POST "+own+"/organization", "api.organization.write", a.updateOrganization)
	a.budgetRoutes(on)
	a.creditRoutes(on)

	on("GET "+own+"/requests/{request_id}", usage, a.measured(a.explain))
	on("GET "+own+"/usage", usage, a.measured(a.usage))
	a.financeRoutes(on)
}

// measured serves a handler that reads measurements: nothing else it does checks the key in the database.
func (a *API) measured(h handler) handler {
	return func(ctx context.Context, c *call) (any, error) {
		if err := a.cfg.Admin.Check(ctx, c.who); err != nil {
			return nil, err
		}
		return h(ctx, c)
	}
}

type whoami struct {
	OrganizationID string `json:"organization_id"`
	Organization   string `json:"organization"`
	DefaultProject string `json:"default_project_id"`
	KeyID          string `json:"key_id"`
	UserID         string `json:"user_id,omitempty"`
}

func (a *API) whoami(ctx context.Context, c *call) (any, error) {
	org, err := a.cfg.Admin.Organization(ctx, c.who)
	if err != nil {
		return nil, err
	}
	return whoami{OrganizationID: org.ID, Organization: org.Name, DefaultProject: org.DefaultProject, KeyID: c.who.Actor.Key, UserID: c.who.Actor.User}, nil
}
