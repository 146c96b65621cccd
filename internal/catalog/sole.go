package catalog

import (
	"slices"

	"gatehouse"
)

// SoleProject returns the one project that an upstream's credential serves and, since it was stored, has served, "" when it serves
// none, or there were more than one. Upstreams with the same credential are one account of the provider, in whichever organization
// they are or were declared; of those without a credential, the ones with the same address. A deployment for every project serves the archived ones too: what they made is still
// there. It reads every project of the organizations concerned: it is for the rare calls that reach objects Gatehouse cannot tell
// apart, not for every request.
func (c *Catalog) SoleProject(upstream string) string {
	up := c.Upstream(upstream)
	if up == nil {
		return ""
	}
	var sole projectSet
	account := up.Account()
	c.replica.upstreams.each(func(u *gatehouse.Upstream) { // removed ones too
		switch who := u.Served[account]; who {
		case "":
		case gatehouse.ServedMany:
			sole.many = true
		default:
			sole.add(who)
		}
	})
	if sole.many {
		return ""
	}
	c.replica.routes.each(func(r *routing) {
		for _, u := range r.upstreams {
			if u.ID == up.ID || u.Account() == account {
				c.addServed(&sole, r, u)
			}
		}
	})
	if sole.many {
		return ""
	}
	return sole.one
}

// addServed adds the projects that one upstream serves now: those it names, else those that deployments or their own calls without a
// model bring to it.
func (c *Catalog) addServed(sole *projectSet, r *routing, u *gatehouse.Upstream) {
	for _, p := range u.Projects {
		sole.add(p)
	}
	if len(u.Projects) > 0 {
		return
	}
	c.replica.projects.each(func(p *gatehouse.Project) { // those that send it their calls without a model
		if p.Upstream == u.ID {
			sole.add(p.ID)
		}
	})
	for _, d := range r.deployments {
		if !slices.ContainsFunc(d.Routes, func(route gatehouse.Route) bool { return route.Upstream == u.ID }) {
			continue
		}
		for _, p := range d.Projects {
			sole.add(p)
		}
		if len(d.Projects) == 0 {
			c.replica.projects.each(func(p *gatehouse.Project) {
				if p.Organization == u.Organization {
					sole.add(p.ID)
				}
			})
		}
	}
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
