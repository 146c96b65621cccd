package admin

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"gatehouse"
	"gatehouse/internal/store"
)

// maxDescription bounds what is said of a role, in characters.
const maxDescription = 1000

// RoleRequest makes a role.
type RoleRequest struct {
	Name, Description string
	Permissions       []string
}

// CreateRole makes a role of a project, or where project is empty of the organization. Nobody makes one that permits what they may not
// do themselves.
func (s *Service) CreateRole(ctx context.Context, who *gatehouse.Principal, project string, req RoleRequest) (*gatehouse.AccessRole, error) {
	v := &gatehouse.AccessRole{ID: gatehouse.NewID(gatehouse.PrefixRole), Organization: who.Organization, Project: project, Name: req.Name, Description: req.Description}
	ev := gatehouse.Event{Type: "role.created", Subject: gatehouse.SubjectRole, SubjectID: v.ID, Project: project}
	_, err := s.change(ctx, who, widens, ev, func(tx *store.Tx) (err error) {
		if err := s.rolePlace(tx, who, project); err != nil {
			return err
		}
		if v.Permissions, err = checkPermissions(project, req.Permissions); err != nil {
			return err
		}
		if err := s.checkRoleTexts(tx, v); err != nil {
			return err
		}
		if err := s.mayGrant(tx, who, project, v.Permissions); err != nil {
			return err
		}
		tx.Event().Change = detail(map[string]any{"role_name": v.Name, "permissions": v.Permissions, "resource_type": placeLevel(project).ResourceType(), "resource_id": placeID(who, project)})
		v.CreatedAt = tx.Now
		return tx.CreateRole(v)
	})
	return v, err
}

// RoleUpdate changes a role; absent fields stay.
type RoleUpdate struct {
	Name, Description Optional[string]
	Permissions       Optional[[]string]
}

// UpdateRole changes a role that somebody made; predefined ones stay as they are.
func (s *Service) UpdateRole(ctx context.Context, who *gatehouse.Principal, project, id string, req RoleUpdate) (v *gatehouse.AccessRole, effect Effect, err error) {
	ev := gatehouse.Event{Type: "role.updated", Subject: gatehouse.SubjectRole, SubjectID: id, Project: project}
	effect, err = s.change(ctx, who, narrows, ev, func(tx *store.Tx) (err error) {
		if err := s.rolePlace(tx, who, project); err != nil {
			return err
		}
		if v, err = s.customRole(tx, who, project, id); err != nil {
			return err
		}
		changes, before := map[string]any{}, map[string]any{}
		if req.Name.Set && req.Name.Value != v.Name {
			changes["role_name"], before["role_name"] = req.Name.Value, v.Name
			v.Name = req.Name.Value
		}
		if req.Description.Set && req.Description.Value != v.Description {
			changes["description"], before["description"] = req.Description.Value, v.Description
			v.Description = req.Description.Value
		}
		if req.Permissions.Set {
			list, err := checkPermissions(project, req.Permissions.Value)
			if err != nil {
				return err
			}
			plus, minus := difference(v.Permissions, list)
			if len(plus)+len(minus) > 0 {
				if err := s.mayGrant(tx, who, project, plus); err != nil {
					return err
				}
				changes["permissions_added"], changes["permissions_removed"], before["permissions"] = plus, minus, v.Permissions
				v.Permissions = list
			}
		}
		if len(changes) == 0 {
			return errUnchanged
		}
		if err := s.checkRoleTexts(tx, v); err != nil {
			return err
		}
		changes["resource_type"], changes["resource_id"] = placeLevel(project).ResourceType(), placeID(who, project)
		changes["before"] = before
		tx.Event().Change = detail(changes)
		return tx.SaveRole(v)
	})
	if err == errUnchanged {
		return v, Effect{Everywhere: true}, nil
	}
	return v, effect, err
}

// difference returns what is in the second list and not in the first, and the other way round.
func difference(from, to []string) (plus, minus []string) {
	plus = slices.DeleteFunc(slices.Clone(to), func(p string) bool { return slices.Contains(from, p) })
	minus = slices.DeleteFunc(slices.Clone(from), func(p string) bool { return slices.Contains(to, p) })
	return nonNil(plus), nonNil(minus)
}

// DeleteRole removes a role that somebody made; who had it has it no longer.
func (s *Service) DeleteRole(ctx context.Context, who *gatehouse.Principal, project, id string) (Effect, error) {
	ev := gatehouse.Event{Type: "role.deleted", Subject: gatehouse.SubjectRole, SubjectID: id, Project: project}
	return s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		if err := s.rolePlace(tx, who, project); err != nil {
			return err
		}
		v, err := s.customRole(tx, who, project, id)
		if err != nil {
			return err
		}
		v.RemovedAt = tx.Now
		if err := tx.SaveRole(v); err != nil {
			return err
		}
		return s.unassignAll(tx, who, store.AssignmentFilter{Role: id, Project: project})
	})
}

// Role returns a role of a project, or where project is empty of the organization: predefined or made by somebody.
func (s *Service) Role(ctx context.Context, who *gatehouse.Principal, project, id string) (v *gatehouse.AccessRole, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		if err := s.knownPlace(tx, who, project); err != nil {
			return err
		}
		v, err = s.role(tx, who, project, id)
		return err
	})
	return v, err
}

// Roles lists the roles of a project, or where project is empty of the organization: the predefined ones, which are the oldest, and
// those that somebody made.
func (s *Service) Roles(ctx context.Context, who *gatehouse.Principal, project string, page store.Page) (list []gatehouse.AccessRole, more bool, err error) {
	predefined := slices.Clone(gatehouse.PredefinedRoles[placeLevel(project)])
	if page.Desc {
		slices.Reverse(predefined)
	}
	at := slices.IndexFunc(predefined, func(v gatehouse.AccessRole) bool { return v.ID == page.After })
	err = s.view(ctx, who, func(tx *store.Tx) error {
		if err := s.knownPlace(tx, who, project); err != nil {
			return err
		}
		limit := page.Limit
		if !page.Desc && (page.After == "" || at >= 0) {
			list = predefined[at+1:]
			page.After = ""
		}
		if page.Desc && at >= 0 {
			list = predefined[at+1:]
		} else if room := limit - len(list); room > 0 {
			page.Limit = room
			custom, further, err := tx.Roles(who.Organization, project, page)
			if err != nil {
				return err
			}
			list, more = append(list, custom...), further
			if page.Desc && !more {
				list = append(list, predefined...)
			}
		} else {
			custom, _, err := tx.Roles(who.Organization, project, store.Page{Limit: 1})
			if err != nil {
				return err
			}
			more = len(custom) > 0
		}
		if len(list) > limit {
			list, more = list[:limit], true
		}
		return nil
	})
	return list, more, err
}

// AssignedRole is a role that a user or a group has, and from whom: of a user also what the user's groups have.
type AssignedRole struct {
	gatehouse.AccessRole
	CreatedAt gatehouse.Millis // of the oldest assignment
	By        string           // id of the user who made that one, where there is one
	From      []RoleSource
}

// RoleSource is a user or a group to whom a role is assigned.
type RoleSource struct{ ID, Type string }

// RoleAssigned is the answer to an assignment: the role, and to whom it was assigned.
type RoleAssigned struct {
	Role  gatehouse.AccessRole
	User  *UserInfo
	Group *gatehouse.Group
}

// AssignRole gives a role to a user or a group, one of which is set, in a project, or where project is empty in the organization. A
// predefined role of a user is the user's own role there: assigning one that permits less than the user has changes nothing.
func (s *Service) AssignRole(ctx context.Context, who *gatehouse.Principal, project, user, group, role string) (out *RoleAssigned, err error) {
	out = &RoleAssigned{}
	a := &gatehouse.RoleAssignment{ID: gatehouse.NewID(gatehouse.PrefixAssignment), Organization: who.Organization, Project: project, Role: role, User: user, Group: group, By: who.Actor.User}
	ev := gatehouse.Event{Type: "role.assignment.created", Subject: gatehouse.SubjectAssignment, SubjectID: a.ID, Project: project}
	_, err = s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		if err := s.rolePlace(tx, who, project); err != nil {
			return err
		}
		v, err := s.role(tx, who, project, role)
		if err != nil {
			return err
		}
		out.Role = *v
		if err := s.mayGrant(tx, who, project, v.Permissions); err != nil {
			return err
		}
		if group != "" {
			if out.Group, err = s.group(tx, who, group); err != nil {
				return err
			}
		} else {
			u, err := s.user(tx, who, user)
			if err != nil {
				return err
			}
			var set error // errUnchanged: the user has it
			if v.Predefined {
				if set = s.setPredefined(tx, u, project, gatehouse.Role(v.Name)); set != nil && set != errUnchanged {
					return set
				}
			}
			info, err := userInfo(tx, u)
			if err != nil {
				return err
			}
			if out.User = &info; v.Predefined {
				return set
			}
		}
		have, err := tx.Assignments(who.Organization, store.AssignmentFilter{Principal: a.PrincipalID(), Role: role, Project: project})
		if err != nil {
			return err
		}
		if len(have) > 0 {
			return errUnchanged
		}
		tx.Event().Change = assignmentDetail(who, a)
		a.CreatedAt = tx.Now
		return tx.CreateAssignment(a)
	})
	if err == errUnchanged {
		err = nil
	}
	return out, err
}

func assignmentDetail(who *gatehouse.Principal, a *gatehouse.RoleAssignment) []byte {
	kind := "user"
	if a.Group != "" {
		kind = "group"
	}
	return detail(map[string]any{"principal_id": a.PrincipalID(), "principal_type": kind, "role_id": a.Role, "resource_id": placeID(who, a.Project), "resource_type": placeLevel(a.Project).ResourceType()})
}

// setPredefined gives a user one of the predefined roles, unless the user's own permits as much already: the event becomes one about
// the user, or the user's membership. What a user info shows is changed in u too.
func (s *Service) setPredefined(tx *store.Tx, u *gatehouse.User, project string, role gatehouse.Role) error {
	ev := tx.Event()
	if project == "" {
		if rank(role) <= rank(u.Role) {
			return errUnchanged
		}
		ev.Type, ev.Subject, ev.SubjectID = "user.updated", gatehouse.SubjectUser, u.ID
		ev.Change = detail(map[string]any{"role": role, "before": map[string]any{"role": u.Role}})
		u.Role = role
		return tx.SaveUser(u)
	}
	ev.Subject, ev.SubjectID = gatehouse.SubjectProjectUser, project+"/"+u.ID
	m, err := tx.ProjectUser(project, u.ID)
	switch {
	case gatehouse.KindOf(err) == gatehouse.NotFound:
		ev.Type, ev.Change = "user.added", detail(map[string]any{"role": role})
		return tx.CreateProjectUser(&gatehouse.ProjectUser{Project: project, User: u.ID, Role: role, AddedAt: tx.Now})
	case err != nil:
		return err
	case m.RemovedAt != 0:
		ev.Type, ev.Change = "user.added", detail(map[string]any{"role": role})
		m.AddedAt, m.RemovedAt = tx.Now, 0
	case rank(role) <= rank(m.Role):
		return errUnchanged
	default:
		ev.Type, ev.Change = "user.updated", detail(map[string]any{"role": role, "before": map[string]any{"role": m.Role}})
	}
	m.Role = role
	return tx.SaveProjectUser(m)
}

// UnassignRole takes a role from a user or a group, one of which is set. What a user has through a group stays.
func (s *Service) UnassignRole(ctx context.Context, who *gatehouse.Principal, project, user, group, role string) (Effect, error) {
	ev := gatehouse.Event{Type: "role.assignment.deleted", Subject: gatehouse.SubjectAssignment, Project: project}
	return s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		if err := s.rolePlace(tx, who, project); err != nil {
			return err
		}
		if group != "" {
			if _, err := s.group(tx, who, group); err != nil {
				return err
			}
		} else {
			u, err := s.user(tx, who, user)
			if err != nil {
				return err
			}
			if v := gatehouse.PredefinedRole(placeLevel(project), role); v != nil {
				return s.dropPredefined(tx, who, u, project, gatehouse.Role(v.Name))
			}
		}
		have, err := tx.Assignments(who.Organization, store.AssignmentFilter{Principal: user + group, Role: role, Project: project})
		if err != nil {
			return err
		}
		if len(have) == 0 {
			return notFound("role of "+user+group, clipped(role))
		}
		tx.Event().SubjectID, tx.Event().Change = have[0].ID, assignmentDetail(who, &have[0])
		have[0].RemovedAt = tx.Now
		return tx.SaveAssignment(&have[0])
	})
}

// dropPredefined takes a user's own role: an owner of the organization becomes a reader, a member leaves the project.
func (s *Service) dropPredefined(tx *store.Tx, who *gatehouse.Principal, u *gatehouse.User, project string, role gatehouse.Role) error {
	ev := tx.Event()
	if project == "" {
		if role == gatehouse.RoleReader && u.Role == role {
			return gatehouse.InvalidParam("role_id", "Every user of the organization is a reader at least. Remove the user instead.")
		}
		if u.Role != role {
			return notFound("role of "+u.ID, string(role))
		}
		if err := keepOwner(tx, u); err != nil {
			return err
		}
		if err := s.keepAdminKeys(tx, who.Organization, store.KeyFilter{Organization: who.Organization, OwnerUser: u.ID, Class: gatehouse.ClassAdmin}); err != nil {
			return err
		}
		ev.Type, ev.Subject, ev.SubjectID = "user.updated", gatehouse.SubjectUser, u.ID
		ev.Change = detail(map[string]any{"role": gatehouse.RoleReader, "before": map[string]any{"role": u.Role}})
		u.Role = gatehouse.RoleReader
		return tx.SaveUser(u)
	}
	m, err := member(tx, project, u.ID)
	if err != nil {
		return err
	}
	if m.Role != role {
		return notFound("role of "+u.ID, string(role))
	}
	ev.Type, ev.Subject, ev.SubjectID = "user.deleted", gatehouse.SubjectProjectUser, project+"/"+u.ID
	m.RemovedAt = tx.Now
	return tx.SaveProjectUser(m)
}

// AssignedRoles lists the roles that a user or a group, one of which is set, has in a project, or where project is empty in the
// organization: all of them, by id.
func (s *Service) AssignedRoles(ctx context.Context, who *gatehouse.Principal, project, user, group string) (list []AssignedRole, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		if err := s.knownPlace(tx, who, project); err != nil {
			return err
		}
		list, err = s.assignedRoles(tx, who, project, user, group)
		return err
	})
	return list, err
}

func (s *Service) assignedRoles(tx *store.Tx, who *gatehouse.Principal, project, user, group string) (list []AssignedRole, err error) {
	principals := []string{user + group}
	if group != "" {
		if _, err := s.group(tx, who, group); err != nil {
			return nil, err
		}
	} else {
		u, err := s.user(tx, who, user)
		if err != nil {
			return nil, err
		}
		role, at := u.Role, u.CreatedAt
		if project != "" {
			m, err := tx.ProjectUser(project, user)
			if err != nil && gatehouse.KindOf(err) != gatehouse.NotFound {
				return nil, err
			}
			if role = ""; err == nil && m.RemovedAt == 0 {
				role, at = m.Role, m.AddedAt
			}
		}
		if v := gatehouse.PredefinedNamed(placeLevel(project), role); v != nil {
			list = append(list, AssignedRole{AccessRole: *v, CreatedAt: at, From: []RoleSource{{user, "user"}}})
		}
		groups, err := tx.GroupsOf(user)
		if err != nil {
			return nil, err
		}
		principals = append(principals, groups...)
	}
	for _, principal := range principals {
		assigned, err := tx.Assignments(who.Organization, store.AssignmentFilter{Principal: principal, Project: project})
		if err != nil {
			return nil, err
		}
		for i := range assigned {
			a := &assigned[i]
			from := RoleSource{principal, "user"}
			if a.Group != "" {
				from.Type = "group"
			}
			if at := slices.IndexFunc(list, func(v AssignedRole) bool { return v.ID == a.Role }); at >= 0 {
				list[at].From = append(list[at].From, from)
				continue
			}
			v, err := s.role(tx, who, project, a.Role)
			if err != nil {
				return nil, err
			}
			list = append(list, AssignedRole{AccessRole: *v, CreatedAt: a.CreatedAt, By: a.By, From: []RoleSource{from}})
		}
	}
	// By id, and not by age: the oldest of several assignments of one role may go while somebody pages, and its place must stay.
	slices.SortFunc(list, func(a, b AssignedRole) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// AssignedRole returns one of the roles that AssignedRoles lists.
func (s *Service) AssignedRole(ctx context.Context, who *gatehouse.Principal, project, user, group, role string) (*AssignedRole, error) {
	list, err := s.AssignedRoles(ctx, who, project, user, group)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].ID == role {
			return &list[i], nil
		}
	}
	return nil, notFound("role of "+user+group, clipped(role))
}

// unassignAll removes every assignment that a filter finds, each with its own event, as a part of a larger change.
func (s *Service) unassignAll(tx *store.Tx, who *gatehouse.Principal, f store.AssignmentFilter) error {
	list, err := tx.Assignments(who.Organization, f)
	if err != nil {
		return err
	}
	for i := range list {
		a := &list[i]
		a.RemovedAt = tx.Now
		if err := tx.SaveAssignment(a); err != nil {
			return err
		}
		tx.Emit(gatehouse.Event{Type: "role.assignment.deleted", Organization: who.Organization, Project: a.Project, Actor: who.Actor, RequestID: who.RequestID,
			Subject: gatehouse.SubjectAssignment, SubjectID: a.ID, Change: assignmentDetail(who, a)})
	}
	return nil
}

// placeLevel is where a role of a project, or where it is empty of the organization, holds.
func placeLevel(project string) gatehouse.Level {
	if project != "" {
		return gatehouse.ProjectLevel
	}
	return gatehouse.OrganizationLevel
}

func placeID(who *gatehouse.Principal, project string) string {
	if project != "" {
		return project
	}
	return who.Organization
}

// rolePlace checks that roles of a project may be changed.
func (s *Service) rolePlace(tx *store.Tx, who *gatehouse.Principal, project string) error {
	if project == "" {
		return nil
	}
	_, err := s.activeProject(tx, who, project)
	return err
}

// knownPlace checks that roles of a project may be looked at.
func (s *Service) knownPlace(tx *store.Tx, who *gatehouse.Principal, project string) error {
	if project == "" {
		return nil
	}
	_, err := s.project(tx, who, project)
	return err
}

// role finds a role that holds in a place.
func (s *Service) role(tx *store.Tx, who *gatehouse.Principal, project, id string) (*gatehouse.AccessRole, error) {
	if v := gatehouse.PredefinedRole(placeLevel(project), id); v != nil {
		return v, nil
	}
	v, err := tx.Role(id)
	if err != nil || v.Organization != who.Organization || v.Project != project || v.RemovedAt != 0 {
		return nil, hide(orNotFound(err), "role", clipped(id))
	}
	return v, nil
}

func (s *Service) customRole(tx *store.Tx, who *gatehouse.Principal, project, id string) (*gatehouse.AccessRole, error) {
	v, err := s.role(tx, who, project, id)
	if err == nil && v.Predefined {
		return nil, gatehouse.InvalidParam("role_id", "Role %s is predefined and cannot be changed. Make one of your own.", v.Name)
	}
	return v, err
}

// checkPermissions returns the permissions in order and without repetition; each must be one that a role of the place may have.
func checkPermissions(project string, list []string) ([]string, error) {
	level := placeLevel(project)
	for _, p := range list {
		switch levels := gatehouse.PermissionLevels(p); {
		case levels == 0:
			return nil, gatehouse.InvalidParam("permissions", "Invalid 'permissions': %q is not a permission; docs/roles.md lists them.", clipped(p))
		case levels&level == 0:
			return nil, gatehouse.InvalidParam("permissions", "Invalid 'permissions': %q cannot be in a role of %s; docs/roles.md says where each may be.", p, level.ResourceType())
		}
	}
	return unique(list), nil
}

func (s *Service) checkRoleTexts(tx *store.Tx, v *gatehouse.AccessRole) error {
	if err := gatehouse.CheckName("role_name", v.Name); err != nil {
		return err
	}
	if utf8.RuneCountInString(v.Description) > maxDescription {
		return gatehouse.InvalidParam("description", "Invalid 'description': at most %d characters are kept.", maxDescription)
	}
	for _, predefined := range gatehouse.PredefinedRoles[placeLevel(v.Project)] {
		if strings.EqualFold(v.Name, predefined.Name) {
			return gatehouse.InvalidParam("role_name", "Invalid 'role_name': %s is the name of a predefined role.", predefined.Name)
		}
	}
	other, err := tx.RoleNamed(v.Organization, v.Project, v.Name)
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		return nil
	}
	if err == nil && other.ID != v.ID {
		err = &gatehouse.Error{Kind: gatehouse.Conflict, Code: "name_taken", Param: "role_name", Message: "There is a role of this name already: " + other.ID + "."}
	}
	return err
}
