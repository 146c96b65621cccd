package catalog

import (
	"slices"

	"gatehouse"
)

// The lookups answer from memory: no lock, no allocation, no I/O. What they return is shared and immutable.

// Key returns the key with a public id (the 11 characters in the key's text), nil when there never was one. Revoked, expired and
// suspended keys are returned: ask Key.State.
func (c *Catalog) Key(publicID string) *Key {
	id, ok := keyIDOf(publicID)
	if !ok {
		return nil
	}
	return c.replica.keys.get(id)
}

// Organization returns an organization, or nil.
func (c *Catalog) Organization(id string) *gatehouse.Organization {
	return c.replica.organizations.get(id)
}

// Project returns a project, or nil. Archived projects are returned: look at ArchivedAt.
func (c *Catalog) Project(id string) *gatehouse.Project { return c.replica.projects.get(id) }

// User returns a user, nil when there is none or they were removed.
func (c *Catalog) User(id string) *gatehouse.User {
	if u := c.replica.users.get(id); u != nil && u.RemovedAt == 0 {
		return u
	}
	return nil
}

// Member returns a user's membership in a project, nil when there is none or it ended.
func (c *Catalog) Member(project, user string) *gatehouse.ProjectUser {
	if m := c.replica.members.get(memberID{project, user}); m != nil && m.RemovedAt == 0 {
		return m
	}
	return nil
}

// ServiceAccount returns a service account, nil when there is none or it was removed.
func (c *Catalog) ServiceAccount(id string) *gatehouse.ServiceAccount {
	if a := c.replica.accounts.get(id); a != nil && a.RemovedAt == 0 {
		return a
	}
	return nil
}

// Resource returns a resource, nil when there is none or it was removed.
func (c *Catalog) Resource(id string) *gatehouse.Resource {
	if v := c.replica.resources.get(id); v != nil && v.RemovedAt == 0 {
		return v
	}
	return nil
}

// Certificate returns a certificate by which clients are known, nil when there is none or it was removed.
func (c *Catalog) Certificate(id string) *gatehouse.Certificate {
	if v := c.replica.certificates.get(id); v != nil && v.RemovedAt == 0 {
		return v
	}
	return nil
}

// Upstream returns an upstream, nil when there is none or it was removed.
func (c *Catalog) Upstream(id string) *gatehouse.Upstream {
	if u := c.replica.upstreams.get(id); u != nil && u.RemovedAt == 0 {
		return u
	}
	return nil
}

// Upstreams returns an organization's upstreams by name. The slice is shared: do not change it.
func (c *Catalog) Upstreams(organization string) []*gatehouse.Upstream {
	if r := c.replica.routes.get(organization); r != nil {
		return r.upstreams
	}
	return nil
}

// Deployment returns the deployment that serves a name for a project, or nil: the deployment of that name, else "*"; one that is
// for certain projects before one that is for all.
func (c *Catalog) Deployment(organization, project, name string) *gatehouse.Deployment {
	if r := c.replica.routes.get(organization); r != nil {
		return r.find(project, name)
	}
	return nil
}

// Live reports whether a deployment, as it is or as it was, has not been removed.
func (c *Catalog) Live(d *gatehouse.Deployment) bool {
	r := c.replica.routes.get(d.Organization)
	return r != nil && slices.ContainsFunc(r.deployments, func(live *gatehouse.Deployment) bool { return live.ID == d.ID })
}

// Deployments returns, by name, the deployments a project's requests reach, each the one that Deployment finds for its name; "*"
// is among them where there is one. Unlike the lookups it allocates its answer.
func (c *Catalog) Deployments(organization, project string) []*gatehouse.Deployment {
	r := c.replica.routes.get(organization)
	if r == nil {
		return nil
	}
	var out []*gatehouse.Deployment
	for _, d := range r.deployments {
		if d.Serves(project) && (len(out) == 0 || out[len(out)-1].Name != d.Name) {
			out = append(out, d)
		}
	}
	return out
}
