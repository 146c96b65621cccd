package adminapi

import (
	"context"
	"time"
)

func nowSeconds() int64 { return time.Now().Unix() }

// ownRoutes are what OpenAI has no endpoint for.
func (a *API) ownRoutes(on func(pattern, scope string, h handler)) {
	const own = "/gatehouse/v1"
	on("GET "+own+"/whoami", read, a.whoami)

	on("GET "+own+"/users", read, a.listUsers)
	on("POST "+own+"/users", write, a.createUser)
	on("POST "+own+"/users/{user_id}", write, a.updateUser)
	on("DELETE "+own+"/users/{user_id}", write, a.removeUser)
	on("GET "+own+"/projects/{project_id}/users", read, a.listMembers)
	on("POST "+own+"/projects/{project_id}/users", write, a.addMember)
	on("DELETE "+own+"/projects/{project_id}/users/{user_id}", write, a.removeMember)
	on("POST "+own+"/projects/{project_id}", write, a.updateOwnProject)

	on("GET "+own+"/keys", read, a.listKeys)
	on("POST "+own+"/keys", write, a.createKey)
	on("GET "+own+"/keys/{key_id}", read, a.key)
	on("POST "+own+"/keys/{key_id}", write, a.updateKey)
	on("DELETE "+own+"/keys/{key_id}", write, a.revokeKey)
	on("POST "+own+"/keys/{key_id}/suspend", write, a.suspendKey)
	on("POST "+own+"/keys/{key_id}/resume", write, a.resumeKey)

	on("GET "+own+"/resources", read, a.listResources)
	on("POST "+own+"/resources", write, a.createResource)
	on("GET "+own+"/resources/{resource_id}", read, a.resource)
	on("POST "+own+"/resources/{resource_id}", write, a.updateResource)
	on("DELETE "+own+"/resources/{resource_id}", write, a.removeResource)
	on("POST "+own+"/resources/{resource_id}/regenerate_key", write, a.regenerateKey)

	on("GET "+own+"/upstreams", read, a.listUpstreams)
	on("POST "+own+"/upstreams", write, a.putUpstream)
	on("DELETE "+own+"/upstreams/{name}", write, a.removeUpstream)
	on("GET "+own+"/deployments", read, a.listDeployments)
	on("GET "+own+"/deployments/status", read, a.deploymentsStatus)
	on("POST "+own+"/deployments", write, a.putDeployment)
	on("DELETE "+own+"/deployments/{name}", write, a.removeDeployment)
	on("GET "+own+"/prices", read, a.listPrices)
	on("POST "+own+"/prices", write, a.putPrice)
	on("GET "+own+"/prices/{price_id}", read, a.price)
	on("DELETE "+own+"/prices/{price_id}", write, a.removePrice)
	on("POST "+own+"/sealed_secrets", write, a.seal)
	on("POST "+own+"/apply", write, a.apply)
	a.alertRoutes(on)

	on("GET "+own+"/organization", read, a.organization)
	on("POST "+own+"/organization", write, a.updateOrganization)
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
