package catalog

import (
	"slices"

	"gatehouse"
)

// access is what roles give the users of an organization beside their own role in it and in its projects. It is
// immutable; a change of a group, a role or an assignment of the organization compiles it again.
type access struct {
	organization string
	rev          int64                 // rises with every compilation
	permissions  map[memberID][]string // by project, where it is empty in the organization, and user
	groups       map[string][]string   // by user: ids of the groups that the user is in
}

type groupUserID struct{ group, user string }

// accessRows are the rows that an organization's access is compiled from, removed ones too. They are the writer's own.
type accessRows struct {
	groups      map[string]*gatehouse.Group
	users       map[groupUserID]*gatehouse.GroupUser
	roles       map[string]*gatehouse.AccessRole
	assignments map[string]*gatehouse.RoleAssignment
}

// Permissions returns what assigned roles, a user's own and those of the user's groups, permit in a project, or where project is empty
// in the organization. What the user's role as a member of the project or of the organization permits is not among them. The slice is
// shared: do not change it.
func (c *Catalog) Permissions(organization, project, user string) []string {
	a := c.replica.access.get(organization)
	if a == nil {
		return nil
	}
	return a.permissions[memberID{project, user}]
}

func (r *replica) accessOf(organization string) *accessRows {
	a := r.accessRows[organization]
	if a == nil {
		a = &accessRows{groups: map[string]*gatehouse.Group{}, users: map[groupUserID]*gatehouse.GroupUser{}, roles: map[string]*gatehouse.AccessRole{}, assignments: map[string]*gatehouse.RoleAssignment{}}
		r.accessRows[organization] = a
	}
	return a
}

// newer puts a row into a map of rows unless it is no newer than the one that is there.
func newer[K comparable, V any](rows map[K]*V, id K, row *V, rev func(*V) int64) outcome {
	prev := rows[id]
	switch {
	case prev == nil:
		rows[id] = row
		return added
	case rev(row) <= rev(prev):
		return ignored
	}
	rows[id] = row
	return replaced
}

func (r *replica) putGroup(g *gatehouse.Group) outcome {
	g.Organization = r.organizationID(g.Organization)
	r.staleAccess[g.Organization] = true
	return newer(r.accessOf(g.Organization).groups, g.ID, g, func(g *gatehouse.Group) int64 { return g.Rev })
}

func (r *replica) putGroupUser(m *gatehouse.GroupUser) outcome {
	m.Organization, m.User = r.organizationID(m.Organization), r.userID(m.User)
	r.staleAccess[m.Organization] = true
	return newer(r.accessOf(m.Organization).users, groupUserID{m.Group, m.User}, m, func(m *gatehouse.GroupUser) int64 { return m.Rev })
}

func (r *replica) putRole(v *gatehouse.AccessRole) outcome {
	v.Organization = r.organizationID(v.Organization)
	r.staleAccess[v.Organization] = true
	return newer(r.accessOf(v.Organization).roles, v.ID, v, func(v *gatehouse.AccessRole) int64 { return v.Rev })
}

func (r *replica) putAssignment(a *gatehouse.RoleAssignment) outcome {
	a.Organization, a.Project, a.User = r.organizationID(a.Organization), r.projectID(a.Project), r.userID(a.User)
	r.staleAccess[a.Organization] = true
	return newer(r.accessOf(a.Organization).assignments, a.ID, a, func(a *gatehouse.RoleAssignment) int64 { return a.Rev })
}

// dropAccess takes a row that is gone out of every organization's, for which it was is not known any more.
func (r *replica) dropAccess(drop func(*accessRows)) {
	for organization, a := range r.accessRows {
		drop(a)
		r.staleAccess[organization] = true
	}
}

func (a *accessRows) compile(organization string, rev int64) *access {
	out := &access{organization: organization, rev: rev, permissions: map[memberID][]string{}, groups: map[string][]string{}}
	users := map[string][]string{} // by group
	for _, m := range a.users {
		if g := a.groups[m.Group]; m.RemovedAt == 0 && g != nil && g.RemovedAt == 0 {
			users[m.Group] = append(users[m.Group], m.User)
			out.groups[m.User] = append(out.groups[m.User], g.ID)
		}
	}
	for _, as := range a.assignments {
		if as.RemovedAt != 0 {
			continue
		}
		permissions := a.permissionsOf(as)
		to := users[as.Group]
		if as.User != "" {
			to = []string{as.User}
		}
		for _, user := range to {
			id := memberID{as.Project, user}
			out.permissions[id] = append(out.permissions[id], permissions...)
		}
	}
	for id, list := range out.permissions {
		slices.Sort(list)
		out.permissions[id] = slices.Clip(slices.Compact(list))
	}
	return out
}

// permissionsOf returns what an assignment's role permits in its place: nothing where the role is gone, or belongs elsewhere.
func (a *accessRows) permissionsOf(as *gatehouse.RoleAssignment) []string {
	level := gatehouse.OrganizationLevel
	if as.Project != "" {
		level = gatehouse.ProjectLevel
	}
	if v := gatehouse.PredefinedRole(level, as.Role); v != nil {
		return v.Permissions
	}
	if v := a.roles[as.Role]; v != nil && v.RemovedAt == 0 && v.Project == as.Project {
		return v.Permissions
	}
	return nil
}
