package admin

import (
	"context"
	"slices"
	"strings"

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
	if !a.covers(who.Need) {
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

func (a *authority) covers(need string) bool {
	if len(a.scopes) > 0 && !gatehouse.Permitted(a.scopes, need) {
		return false
	}
	return a.everything || gatehouse.Permitted(a.permissions, need) || gatehouse.PermissionLevels(need)&gatehouse.ProjectLevel != 0 && gatehouse.Permitted(a.within, need)
}

// lacks returns those of some permissions that are not covered.
func (a *authority) lacks(permissions []string) (missing []string) {
	for _, p := range permissions {
		if !a.covers(p) {
			missing = append(missing, p)
		}
	}
	return missing
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
	if v := gatehouse.PredefinedNamed(level, role); v != nil {
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
	if v := gatehouse.PredefinedRole(placeLevel(a.Project), a.Role); v != nil {
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

// mayGrant refuses to let somebody hand on, in a project or where it is empty in the organization, administration that they may not do
// themselves: authority only narrows. Calls of models are not among it: who administers users decides who makes them, and makes none with
// an admin key. The host has everything.
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
	missing := a.lacks(gatehouse.Administration(placeLevel(project), permissions))
	if len(missing) == 0 {
		return nil
	}
	if len(missing) > 3 {
		missing = append(missing[:3], "...")
	}
	return &gatehouse.Error{Kind: gatehouse.Forbidden, Code: "missing_scope",
		Message: "You cannot give what you do not have yourself. Missing scopes: " + strings.Join(missing, ", ") + ". Ask an owner of the organization to do it."}
}

// mayGrantRole is mayGrant for a predefined role by its name.
func (s *Service) mayGrantRole(tx *store.Tx, who *gatehouse.Principal, project string, role gatehouse.Role) error {
	if v := gatehouse.PredefinedNamed(placeLevel(project), role); v != nil {
		return s.mayGrant(tx, who, project, v.Permissions)
	}
	return nil
}

// mayGrantKey refuses to make, or to widen, an admin key that could do more than who does it. A key with scopes can do no more than they
// say; one without can do what its owner may in the organization and in any project, which only the owner themselves, with a key as
// free, and who may do everything, may hand out.
func (s *Service) mayGrantKey(tx *store.Tx, who *gatehouse.Principal, k *gatehouse.Key) error {
	if k.Class != gatehouse.ClassAdmin {
		return nil
	}
	if len(k.Scopes) > 0 {
		return s.mayGrant(tx, who, "", k.Scopes)
	}
	if who.Actor.User == k.OwnerUser && who.Actor.Key != "" {
		own, err := tx.Key(who.Actor.Key)
		if err != nil || len(own.Scopes) == 0 {
			return err
		}
	}
	return s.mayGrantRole(tx, who, "", gatehouse.RoleOwner)
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
