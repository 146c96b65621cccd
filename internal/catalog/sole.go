package catalog

import (
	"slices"

	"gatehouse"
)

// SoleProject returns the one project that an upstream's credential serves, "" when it serves none, or more than one. Upstreams of
// an organization with the same credential and address are one account of the provider. A deployment for every project serves the
// archived ones too: what they made is still there. It reads every project of the organization: it is for the rare calls that
// reach objects Gatehouse cannot tell apart, not for every request.
func (c *Catalog) SoleProject(upstream string) string {
	up := c.Upstream(upstream)
	if up == nil {
		return ""
	}
	r := c.replica.routes.get(up.Organization)
	if r == nil {
		return ""
	}
	var sole projectSet
	for _, u := range r.upstreams {
		if u.ID != up.ID && (u.Credential != up.Credential || u.BaseURL != up.BaseURL) {
			continue
		}
		for _, p := range u.Projects {
			sole.add(p)
		}
		if len(u.Projects) > 0 {
			continue
		}
		for _, d := range r.deployments {
			if !slices.ContainsFunc(d.Routes, func(route gatehouse.Route) bool { return route.Upstream == u.ID }) {
				continue
			}
			for _, p := range d.Projects {
				sole.add(p)
			}
			if len(d.Projects) == 0 {
				c.replica.projects.each(func(p *gatehouse.Project) {
					if p.Organization == up.Organization {
						sole.add(p.ID)
					}
				})
			}
		}
	}
	if sole.many {
		return ""
	}
	return sole.one
}

// projectSet tells one project from several.
type projectSet struct {
	one  string
	many bool
}

func (s *projectSet) add(project string) {
	if s.one != "" && s.one != project {
		s.many = true
	}
	s.one = project
}
