package catalog

import (
	"strings"

	"gatehouse"
)

// replica holds the tables. One goroutine writes, any number read. Every put keeps K4: a row replaces only a row of a lower
// revision, so events applied twice, late or out of order never undo a newer state. What was removed stays as a row that says so.
type replica struct {
	organizations table[string, gatehouse.Organization]
	projects      table[string, gatehouse.Project]
	users         table[string, gatehouse.User]
	members       table[memberID, gatehouse.ProjectUser]
	accounts      table[string, gatehouse.ServiceAccount]
	resources     table[string, gatehouse.Resource]
	certificates  table[string, gatehouse.Certificate]
	keys          table[keyID, Key]
	upstreams     table[string, gatehouse.Upstream]
	routes        table[string, routing]
	budgets       table[string, budgeting]
	limits        table[string, limits]
	access        table[string, access]

	// The rest is the writer's own.
	parts       map[string]*parts                       // by organization
	stale       map[string]bool                         // organizations whose routing is to be compiled
	compiled    int64                                   // how often any was
	budgetRows  map[string]map[string]*gatehouse.Budget // by organization and id, removed ones too
	unbudgeted  map[string]bool                         // organizations whose budgets are to be compiled
	limitRows   map[string]map[string]*gatehouse.Limit  // by organization and id, removed ones too
	staleLimits map[string]bool                         // organizations whose limits are to be compiled
	accessRows  map[string]*accessRows                  // by organization
	staleAccess map[string]bool                         // organizations whose access is to be compiled
	priceRows   map[string]*gatehouse.Price             // by id, removed ones too
	stalePrices bool                                    // they are to be handed on
	policies    map[string]*Policy
	policyText  []byte
}

func newReplica() *replica {
	return &replica{
		organizations: newTable(hashString, func(o *gatehouse.Organization) string { return o.ID }, func(o *gatehouse.Organization) int64 { return o.Rev }),
		projects:      newTable(hashString, func(p *gatehouse.Project) string { return p.ID }, func(p *gatehouse.Project) int64 { return p.Rev }),
		users:         newTable(hashString, func(u *gatehouse.User) string { return u.ID }, func(u *gatehouse.User) int64 { return u.Rev }),
		members:       newTable(hashMember, func(m *gatehouse.ProjectUser) memberID { return memberID{m.Project, m.User} }, func(m *gatehouse.ProjectUser) int64 { return m.Rev }),
		accounts:      newTable(hashString, func(a *gatehouse.ServiceAccount) string { return a.ID }, func(a *gatehouse.ServiceAccount) int64 { return a.Rev }),
		resources:     newTable(hashString, func(v *gatehouse.Resource) string { return v.ID }, func(v *gatehouse.Resource) int64 { return v.Rev }),
		certificates:  newTable(hashString, func(c *gatehouse.Certificate) string { return c.ID }, func(c *gatehouse.Certificate) int64 { return c.Rev }),
		keys:          newTable(hashKeyID, func(k *Key) keyID { return keyID(k.id[len(gatehouse.PrefixKey):]) }, func(k *Key) int64 { return k.Rev }),
		upstreams:     newTable(hashString, func(u *gatehouse.Upstream) string { return u.ID }, func(u *gatehouse.Upstream) int64 { return u.Rev }),
		routes:        newTable(hashString, func(r *routing) string { return r.organization }, func(r *routing) int64 { return r.rev }),
		budgets:       newTable(hashString, func(b *budgeting) string { return b.organization }, func(b *budgeting) int64 { return b.rev }),
		budgetRows:    map[string]map[string]*gatehouse.Budget{},
		unbudgeted:    map[string]bool{},
		limits:        newTable(hashString, func(l *limits) string { return l.organization }, func(l *limits) int64 { return l.rev }),
		access:        newTable(hashString, func(a *access) string { return a.organization }, func(a *access) int64 { return a.rev }),
		accessRows:    map[string]*accessRows{},
		staleAccess:   map[string]bool{},
		parts:         map[string]*parts{},
		limitRows:     map[string]map[string]*gatehouse.Limit{},
		staleLimits:   map[string]bool{},
		stale:         map[string]bool{},
		priceRows:     map[string]*gatehouse.Price{},
		policies:      map[string]*Policy{},
	}
}

func (r *replica) putOrganization(o *gatehouse.Organization) outcome {
	out := r.organizations.put(o)
	if out != ignored && len(r.budgetRows[o.ID]) > 0 {
		r.unbudgeted[o.ID] = true // its time zone may be another
	}
	return out
}

func (r *replica) putProject(p *gatehouse.Project) outcome {
	p.Organization = r.organizationID(p.Organization)
	return r.projects.put(p)
}

func (r *replica) putUser(u *gatehouse.User) outcome {
	u.Organization = r.organizationID(u.Organization)
	return r.users.put(u)
}

func (r *replica) putMember(m *gatehouse.ProjectUser) outcome {
	m.Project, m.User = r.projectID(m.Project), r.userID(m.User)
	return r.members.put(m)
}

func (r *replica) putAccount(a *gatehouse.ServiceAccount) outcome {
	a.Organization, a.Project = r.organizationID(a.Organization), r.projectID(a.Project)
	return r.accounts.put(a)
}

func (r *replica) putResource(v *gatehouse.Resource) outcome {
	v.Organization, v.Project = r.organizationID(v.Organization), r.projectID(v.Project)
	return r.resources.put(v)
}

func (r *replica) putCertificate(c *gatehouse.Certificate) outcome {
	c.Organization = r.organizationID(c.Organization)
	return r.certificates.put(c)
}

// putKey ignores a row whose id no key's text can hold.
func (r *replica) putKey(row *gatehouse.Key) outcome {
	k := new(Key)
	if !r.setKey(k, row) {
		return ignored
	}
	return r.keys.put(k)
}

// putUpstream also marks the organization's routing; compile renews it.
func (r *replica) putUpstream(u *gatehouse.Upstream) outcome {
	u.Organization = r.organizationID(u.Organization)
	out := r.upstreams.put(u)
	if out != ignored {
		r.partsOf(u.Organization).upstreams[u.ID] = u
	}
	return out
}

// putDeployment also marks the organization's routing; compile renews it.
func (r *replica) putDeployment(d *gatehouse.Deployment) outcome {
	d.Organization = r.organizationID(d.Organization)
	of := r.parts[d.Organization]
	out := added
	if of != nil {
		if prev := of.deployments[d.ID]; prev != nil {
			if d.Rev <= prev.Rev {
				return ignored
			}
			out = replaced
		}
	}
	r.partsOf(d.Organization).deployments[d.ID] = d
	return out
}

// putBudget also marks the organization's budgets; compile renews them.
func (r *replica) putBudget(b *gatehouse.Budget) outcome {
	b.Organization = r.organizationID(b.Organization)
	of := r.budgetRows[b.Organization]
	if of == nil {
		of = map[string]*gatehouse.Budget{}
		r.budgetRows[b.Organization] = of
	}
	out := added
	if prev := of[b.ID]; prev != nil {
		if b.Rev <= prev.Rev {
			return ignored
		}
		out = replaced
	}
	of[b.ID] = b
	r.unbudgeted[b.Organization] = true
	return out
}

func (r *replica) dropBudget(id string) {
	for organization, of := range r.budgetRows {
		if of[id] != nil {
			delete(of, id)
			r.unbudgeted[organization] = true
		}
	}
}

func (r *replica) dropKey(id string) {
	if id, ok := keyIDOf(strings.TrimPrefix(id, gatehouse.PrefixKey)); ok {
		r.keys.remove(id)
	}
}

func (r *replica) dropUpstream(id string) {
	if u := r.upstreams.get(id); u != nil {
		delete(r.partsOf(u.Organization).upstreams, id)
		r.upstreams.remove(id)
	}
}

func (r *replica) dropDeployment(id string) {
	for organization, p := range r.parts {
		if p.deployments[id] != nil {
			delete(r.partsOf(organization).deployments, id)
		}
	}
}

// partsOf returns an organization's parts, which the caller is about to change.
func (r *replica) partsOf(organization string) *parts {
	r.stale[organization] = true
	p := r.parts[organization]
	if p == nil {
		p = newParts()
		r.parts[organization] = p
	}
	return p
}

// compile renews the routing of the organizations whose upstreams or deployments changed, and the budgets, limits and access of
// those of which something else did.
func (r *replica) compile() {
	for organization := range r.stale {
		r.compiled++
		r.routes.put(r.parts[organization].compile(organization, r.compiled))
	}
	clear(r.stale)
	for organization := range r.staleAccess { // before the budgets, some of which are a group's
		r.compiled++
		r.access.put(r.accessRows[organization].compile(organization, r.compiled))
		if b := r.budgets.get(organization); b != nil && len(b.bySubject[gatehouse.ScopeGroup]) > 0 {
			r.unbudgeted[organization] = true
		}
	}
	clear(r.staleAccess)
	for organization := range r.unbudgeted {
		r.compiled++
		r.budgets.put(compileBudgets(r.organizations.get(organization), organization, r.budgetRows[organization], r.access.get(organization), r.compiled))
	}
	clear(r.unbudgeted)
	for organization := range r.staleLimits {
		r.compiled++
		r.limits.put(compileLimits(organization, r.limitRows[organization], r.compiled))
	}
	clear(r.staleLimits)
}

// The functions below return the one copy of an id that a table holds already, so that the many rows that name it share it.

func (r *replica) organizationID(id string) string {
	if o := r.organizations.get(id); o != nil {
		return o.ID
	}
	return id
}

func (r *replica) projectID(id string) string {
	if p := r.projects.get(id); p != nil {
		return p.ID
	}
	return id
}

func (r *replica) userID(id string) string {
	if u := r.users.get(id); u != nil {
		return u.ID
	}
	return id
}

func (r *replica) accountID(id string) string {
	if a := r.accounts.get(id); a != nil {
		return a.ID
	}
	return id
}

func (r *replica) resourceID(id string) string {
	if v := r.resources.get(id); v != nil {
		return v.ID
	}
	return id
}
