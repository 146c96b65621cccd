package admin

import (
	"context"
	"slices"

	"gatehouse"
	"gatehouse/internal/store"
)

// permitted checks in the transaction itself that an admin key and the roles of its owner cover what a call needs, as the node that was
// called has done already by what it had in memory.
func (s *Service) permitted(tx *store.Tx, who *gatehouse.Principal, key *gatehouse.Key) error {
	if who.Need == "" {
		return nil
	}
	a, err := authorityOf(tx, key, who.Within)
	if err != nil {
		return err
	}
	if !a.covers([]string{who.Need}) {
		return &gatehouse.Error{Kind: gatehouse.Forbidden, Code: "missing_scope",
			Message: "You have insufficient permissions for this operation. Missing scopes: " + who.Need + ". Use a key that has it, of an owner whose roles include it (gatehouse roles)."}
	}
	return nil
}

// May returns an error unless who has a permission in the organization beside the one that the call itself needs.
func (s *Service) May(ctx context.Context, who *gatehouse.Principal, permission string) error {
	other := *who
	other.Need, other.Within = permission, ""
	return s.Check(ctx, &other)
}

// authority is what a key may do in the organization, or in one project: what its scopes and its owner's roles both permit.
type authority struct {
	everything  bool     // of an owner of the organization, or of a key without an owner
	permissions []string // of the owner's roles otherwise
	within      []string // of the owner's roles in the project: only what a role of a project may have counts
	scopes      []string // of the key; none: it may do what its owner may
}

func (a *authority) covers(permissions []string) bool {
	if len(a.scopes) > 0 && !gatehouse.PermittedAll(a.scopes, permissions) {
		return false
	}
	if a.everything || gatehouse.PermittedAll(a.permissions, permissions) {
		return true
	}
	for _, p := range permissions {
		one := []string{p}
		if !gatehouse.PermittedAll(a.permissions, one) && (gatehouse.PermissionLevels(p)&gatehouse.ProjectLevel == 0 || !gatehouse.PermittedAll(a.within, one)) {
			return false
		}
	}
	return true
}

// authorityOf returns what a key may do in the organization and, where project is not empty, in that project.
func authorityOf(tx *store.Tx, key *gatehouse.Key, project string) (*authority, error) {
	a := &authority{scopes: key.Scopes}
	if key.OwnerUser == "" {
		a.everything = true
		return a, nil
	}
	u, err := tx.User(key.OwnerUser)
	if err != nil {
		return nil, err
	}
	switch {
	case u.RemovedAt != 0:
		return a, nil
	case u.Role == gatehouse.RoleOwner:
		a.everything = true
		return a, nil
	}
	if a.permissions, err = permissionsOf(tx, u, ""); err != nil || project == "" {
		return a, err
	}
	p, err := tx.Project(project)
	if gatehouse.KindOf(err) == gatehouse.NotFound || err == nil && p.Organization != key.Organization {
		return a, nil
	}
	if err != nil {
		return nil, err
	}
	a.within, err = permissionsOf(tx, u, project)
	return a, err
}

// permissionsOf returns what a user's roles permit in a project, or where project is empty in the organization: the predefined role of
// the membership, and what is assigned to the user or to a group the user is in.
func permissionsOf(tx *store.Tx, u *gatehouse.User, project string) (list []string, err error) {
	level, role := gatehouse.OrganizationLevel, u.Role
	if project != "" {
		level = gatehouse.ProjectLevel
		m, err := tx.ProjectUser(project, u.ID)
		switch {
		case err == nil && m.RemovedAt == 0:
			role = m.Role
		case err == nil || gatehouse.KindOf(err) == gatehouse.NotFound:
			role = ""
		default:
			return nil, err
		}
	}
	if v, _ := gatehouse.PredefinedRole(gatehouse.PredefinedID(level, role)); v != nil {
		list = append(list, v.Permissions...)
	}
	groups, err := tx.GroupsOf(u.ID)
	if err != nil {
		return nil, err
	}
	for _, principal := range append(groups, u.ID) {
		assigned, err := tx.Assignments(u.Organization, store.AssignmentFilter{Principal: principal, Project: project})
		if err != nil {
			return nil, err
		}
		for i := range assigned {
			permissions, err := rolePermissions(tx, &assigned[i])
			if err != nil {
				return nil, err
			}
			list = append(list, permissions...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// rolePermissions returns what the role of an assignment permits, nothing where it is gone.
func rolePermissions(tx *store.Tx, a *gatehouse.RoleAssignment) ([]string, error) {
	if v, _ := gatehouse.PredefinedRole(a.Role); v != nil {
		return v.Permissions, nil
	}
	v, err := tx.Role(a.Role)
	if err != nil {
		return nil, err
	}
	if v.RemovedAt != 0 {
		return nil, nil
	}
	return v.Permissions, nil
}

// mayGrant refuses to let somebody hand on what they do not have themselves: authority only narrows. The host has everything.
func (s *Service) mayGrant(tx *store.Tx, who *gatehouse.Principal, project string, permissions []string) error {
	if who.Actor.Kind == gatehouse.ActorHost || who.Actor.Kind == gatehouse.ActorSystem {
		return nil
	}
	key, err := tx.Key(who.Actor.Key)
	if err != nil {
		return err
	}
	a, err := authorityOf(tx, key, project)
	if err != nil {
		return err
	}
	if a.covers(permissions) {
		return nil
	}
	missing := slices.DeleteFunc(slices.Clone(permissions), func(p string) bool { return a.covers([]string{p}) })
	if len(missing) > 3 {
		missing = append(missing[:3], "...")
	}
	e := &gatehouse.Error{Kind: gatehouse.Forbidden, Code: "missing_scope", Message: "You cannot give what you do not have yourself. Missing scopes:"}
	for i, p := range missing {
		if i > 0 {
			e.Message += ","
		}
		e.Message += " " + p
	}
	e.Message += ". Ask an owner of the organization to do it."
	return e
}

// mayGrantRole is mayGrant for a predefined role by its name.
func (s *Service) mayGrantRole(tx *store.Tx, who *gatehouse.Principal, project string, role gatehouse.Role) error {
	level := gatehouse.OrganizationLevel
	if project != "" {
		level = gatehouse.ProjectLevel
	}
	if v, _ := gatehouse.PredefinedRole(gatehouse.PredefinedID(level, role)); v != nil {
		return s.mayGrant(tx, who, project, v.Permissions)
	}
	return nil
}

// mayGrantKey refuses an admin key that could do more than who makes or changes it.
func (s *Service) mayGrantKey(tx *store.Tx, who *gatehouse.Principal, k *gatehouse.Key) error {
	if k.Class != gatehouse.ClassAdmin {
		return nil
	}
	of, err := authorityOf(tx, k, "")
	if err != nil {
		return err
	}
	owner, _ := gatehouse.PredefinedRole(gatehouse.RoleIDOwner)
	permissions := of.permissions
	if of.everything {
		permissions = owner.Permissions
	}
	if len(of.scopes) > 0 {
		permissions = slices.DeleteFunc(slices.Clone(of.scopes), func(p string) bool { return !of.covers([]string{p}) })
	}
	return s.mayGrant(tx, who, "", permissions)
}

// administers reports whether an admin key can do everything in its organization: whether it counts as one that must be left.
func administers(tx *store.Tx, k *gatehouse.Key) (bool, error) {
	if k.Class != gatehouse.ClassAdmin || k.State(tx.Now) != gatehouse.Active || len(k.Scopes) > 0 {
		return false, nil
	}
	a, err := authorityOf(tx, k, "")
	return err == nil && a.everything, err
}

// inProject reports whether a user has any place in a project: a membership, or a role there that permits something.
func inProject(tx *store.Tx, user, project string) (bool, error) {
	m, err := tx.ProjectUser(project, user)
	if err == nil && m.RemovedAt == 0 {
		return true, nil
	}
	if err != nil && gatehouse.KindOf(err) != gatehouse.NotFound {
		return false, err
	}
	u, err := tx.User(user)
	if err != nil {
		return false, err
	}
	permissions, err := permissionsOf(tx, u, project)
	return len(permissions) > 0, err
}
