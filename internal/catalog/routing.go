package catalog

import (
	"cmp"
	"slices"

	"gatehouse"
)

// routing is what an organization's requests may be sent to, compiled so that one lookup finds the deployment of a name. It is
// immutable; a change of an upstream or a deployment of the organization compiles it again.
type routing struct {
	organization string
	rev          int64                              // rises with every compilation
	upstreams    []*gatehouse.Upstream              // live, by name
	deployments  []*gatehouse.Deployment            // live, by name, those for certain projects before those for all
	byName       map[string][]*gatehouse.Deployment // parts of deployments
}

// anyName is the name of the deployment that serves every name no other deployment has.
const anyName = "*"

// find returns the deployment that serves a name for a project: the name itself before "*", one for certain projects before one
// for all.
func (r *routing) find(project, name string) *gatehouse.Deployment {
	for _, d := range r.byName[name] {
		if d.Serves(project) {
			return d
		}
	}
	for _, d := range r.byName[anyName] {
		if d.Serves(project) {
			return d
		}
	}
	return nil
}

// parts are all upstreams and deployments of an organization by id, removed ones too. Only the writer has them.
type parts struct {
	upstreams   map[string]*gatehouse.Upstream
	deployments map[string]*gatehouse.Deployment
}

func newParts() *parts {
	return &parts{upstreams: map[string]*gatehouse.Upstream{}, deployments: map[string]*gatehouse.Deployment{}}
}

// compile makes the routing of an organization's parts.
func (p *parts) compile(organization string, rev int64) *routing {
	r := &routing{organization: organization, rev: rev, byName: make(map[string][]*gatehouse.Deployment, len(p.deployments))}
	for _, u := range p.upstreams {
		if u.RemovedAt == 0 {
			r.upstreams = append(r.upstreams, u)
		}
	}
	slices.SortFunc(r.upstreams, func(a, b *gatehouse.Upstream) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	for _, d := range p.deployments {
		if d.RemovedAt == 0 {
			r.deployments = append(r.deployments, d)
		}
	}
	general := func(d *gatehouse.Deployment) int { return -min(len(d.Projects), 1) }
	slices.SortFunc(r.deployments, func(a, b *gatehouse.Deployment) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(general(a), general(b)), cmp.Compare(a.CreatedAt, b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	for i, d := range r.deployments {
		r.byName[d.Name] = append(r.byName[d.Name], r.deployments[i])
	}
	return r
}
