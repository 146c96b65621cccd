package admin

import (
	"context"
	"strings"

	"gatehouse"
	"gatehouse/internal/store"
)

// CreateGroup makes a group of users, which has nobody in it and no role.
func (s *Service) CreateGroup(ctx context.Context, who *gatehouse.Principal, name string) (*gatehouse.Group, error) {
	g := &gatehouse.Group{ID: gatehouse.NewID(gatehouse.PrefixGroup), Organization: who.Organization, Name: name}
	ev := gatehouse.Event{Type: "group.created", Subject: gatehouse.SubjectGroup, SubjectID: g.ID, Change: detail(map[string]any{"group_name": name})}
	_, err := s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		if err := checkGroupName(tx, g); err != nil {
			return err
		}
		g.CreatedAt = tx.Now
		return tx.CreateGroup(g)
	})
	return g, err
}

func checkGroupName(tx *store.Tx, g *gatehouse.Group) error {
	if err := gatehouse.CheckName("name", g.Name); err != nil {
		return err
	}
	other, err := tx.GroupNamed(g.Organization, g.Name)
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		return nil
	}
	if err == nil && other.ID != g.ID {
		err = &gatehouse.Error{Kind: gatehouse.Conflict, Code: "name_taken", Param: "name", Message: "There is a group of this name already: " + other.ID + "."}
	}
	return err
}

// RenameGroup gives a group another name.
func (s *Service) RenameGroup(ctx context.Context, who *gatehouse.Principal, id, name string) (g *gatehouse.Group, err error) {
	ev := gatehouse.Event{Type: "group.updated", Subject: gatehouse.SubjectGroup, SubjectID: id}
	_, err = s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		if g, err = s.group(tx, who, id); err != nil {
			return err
		}
		if g.Name == name {
			return errUnchanged
		}
		tx.Event().Change = detail(map[string]any{"group_name": name, "before": map[string]any{"group_name": g.Name}})
		g.Name = name
		if err := checkGroupName(tx, g); err != nil {
			return err
		}
		return tx.SaveGroup(g)
	})
	if err == errUnchanged {
		err = nil
	}
	return g, err
}

// DeleteGroup removes a group: who was in it loses the roles it has.
func (s *Service) DeleteGroup(ctx context.Context, who *gatehouse.Principal, id string) (Effect, error) {
	ev := gatehouse.Event{Type: "group.deleted", Subject: gatehouse.SubjectGroup, SubjectID: id}
	return s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		g, err := s.group(tx, who, id)
		if err != nil {
			return err
		}
		g.RemovedAt = tx.Now
		if err := tx.SaveGroup(g); err != nil {
			return err
		}
		return s.unassignAll(tx, who, store.AssignmentFilter{Principal: id, Everywhere: true})
	})
}

// Group returns a group.
func (s *Service) Group(ctx context.Context, who *gatehouse.Principal, id string) (g *gatehouse.Group, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		g, err = s.group(tx, who, id)
		return err
	})
	return g, err
}

// Groups lists the organization's groups, with project not empty those that have a role in it.
func (s *Service) Groups(ctx context.Context, who *gatehouse.Principal, project string, page store.Page) (list []gatehouse.Group, more bool, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		if err := s.knownPlace(tx, who, project); err != nil {
			return err
		}
		list, more, err = tx.Groups(who.Organization, project, page)
		return err
	})
	return list, more, err
}

// GroupMember is a user in a group.
type GroupMember struct {
	gatehouse.GroupUser
	Name, Email string
}

// AddGroupUser puts a user, by id or address, into a group, from whose roles the user then has all. Nobody hands on by it what they do
// not have themselves.
func (s *Service) AddGroupUser(ctx context.Context, who *gatehouse.Principal, group, user string) (m *gatehouse.GroupUser, err error) {
	ev := gatehouse.Event{Type: "group.user.added", Subject: gatehouse.SubjectGroupUser}
	_, err = s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		if _, err := s.group(tx, who, group); err != nil {
			return err
		}
		id, err := s.userID(tx, who, user)
		if err != nil {
			return err
		}
		tx.Event().SubjectID, tx.Event().Change = group+"/"+id, detail(map[string]any{"group_id": group})
		m, err = s.joinGroup(tx, who, group, id)
		return err
	})
	if err == errUnchanged {
		err = nil
	}
	return m, err
}

// joinGroup puts a user into a group, and returns errUnchanged for one who is in it.
func (s *Service) joinGroup(tx *store.Tx, who *gatehouse.Principal, group, user string) (*gatehouse.GroupUser, error) {
	assigned, err := tx.Assignments(who.Organization, store.AssignmentFilter{Principal: group, Everywhere: true})
	if err != nil {
		return nil, err
	}
	for i := range assigned {
		permissions, err := rolePermissions(tx, &assigned[i])
		if err != nil {
			return nil, err
		}
		if err := s.mayGrant(tx, who, assigned[i].Project, permissions); err != nil {
			return nil, err
		}
	}
	m, err := tx.GroupUser(group, user)
	switch {
	case gatehouse.KindOf(err) == gatehouse.NotFound:
		m = &gatehouse.GroupUser{Group: group, User: user, Organization: who.Organization, AddedAt: tx.Now}
		return m, tx.CreateGroupUser(m)
	case err != nil:
		return nil, err
	case m.RemovedAt == 0:
		return m, errUnchanged
	}
	m.AddedAt, m.RemovedAt = tx.Now, 0
	return m, tx.SaveGroupUser(m)
}

// RemoveGroupUser takes a user out of a group: the roles the user had through it alone are gone at once.
func (s *Service) RemoveGroupUser(ctx context.Context, who *gatehouse.Principal, group, user string) (Effect, error) {
	ev := gatehouse.Event{Type: "group.user.removed", Subject: gatehouse.SubjectGroupUser, SubjectID: group + "/" + user, Change: detail(map[string]any{"group_id": group})}
	return s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		m, err := s.groupUser(tx, who, group, user)
		if err != nil {
			return err
		}
		m.RemovedAt = tx.Now
		return tx.SaveGroupUser(&m.GroupUser)
	})
}

// GroupUser returns a user of a group.
func (s *Service) GroupUser(ctx context.Context, who *gatehouse.Principal, group, user string) (m *GroupMember, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		m, err = s.groupUser(tx, who, group, user)
		return err
	})
	return m, err
}

// GroupUsers lists who is in a group.
func (s *Service) GroupUsers(ctx context.Context, who *gatehouse.Principal, group string, page store.Page) (list []GroupMember, more bool, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		if _, err := s.group(tx, who, group); err != nil {
			return err
		}
		rows, next, err := tx.GroupUsers(group, page)
		if err != nil {
			return err
		}
		more, list = next, make([]GroupMember, len(rows))
		for i := range rows {
			u, err := tx.User(rows[i].User)
			if err != nil {
				return err
			}
			list[i] = GroupMember{rows[i], u.Name, u.Email}
		}
		return nil
	})
	return list, more, err
}

func (s *Service) groupUser(tx *store.Tx, who *gatehouse.Principal, group, user string) (*GroupMember, error) {
	if _, err := s.group(tx, who, group); err != nil {
		return nil, err
	}
	m, err := tx.GroupUser(group, user)
	if err != nil {
		return nil, hide(err, "user in group "+group, clipped(user))
	}
	u, err := tx.User(user)
	if err != nil {
		return nil, err
	}
	if m.RemovedAt != 0 || u.RemovedAt != 0 {
		return nil, notFound("user in group "+group, clipped(user))
	}
	return &GroupMember{*m, u.Name, u.Email}, nil
}

// group finds a group that was not removed.
func (s *Service) group(tx *store.Tx, who *gatehouse.Principal, id string) (*gatehouse.Group, error) {
	g, err := tx.Group(id)
	if err != nil || g.Organization != who.Organization || g.RemovedAt != 0 {
		return nil, hide(orNotFound(err), "group", clipped(id))
	}
	return g, nil
}

// groupNamed finds a group by its name or id.
func (s *Service) groupNamed(tx *store.Tx, who *gatehouse.Principal, name string) (*gatehouse.Group, error) {
	if strings.HasPrefix(name, gatehouse.PrefixGroup) {
		return s.group(tx, who, name)
	}
	g, err := tx.GroupNamed(who.Organization, name)
	return g, hide(err, "group", clipped(name))
}

// ProjectGroup returns a group that has a role in a project.
func (s *Service) ProjectGroup(ctx context.Context, who *gatehouse.Principal, project, group string) (g *gatehouse.Group, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		if err := s.knownPlace(tx, who, project); err != nil {
			return err
		}
		if g, err = s.group(tx, who, group); err != nil {
			return err
		}
		assigned, err := tx.Assignments(who.Organization, store.AssignmentFilter{Principal: group, Project: project})
		if err == nil && len(assigned) == 0 {
			err = notFound("group in project "+project, clipped(group))
		}
		return err
	})
	return g, err
}

// RemoveProjectGroup takes every role that a group has in a project.
func (s *Service) RemoveProjectGroup(ctx context.Context, who *gatehouse.Principal, project, group string) (Effect, error) {
	ev := gatehouse.Event{Type: "role.assignment.deleted", Subject: gatehouse.SubjectAssignment, Project: project}
	return s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		if err := s.rolePlace(tx, who, project); err != nil {
			return err
		}
		if _, err := s.group(tx, who, group); err != nil {
			return err
		}
		f := store.AssignmentFilter{Principal: group, Project: project}
		assigned, err := tx.Assignments(who.Organization, f)
		if err != nil {
			return err
		}
		if len(assigned) == 0 {
			return notFound("group in project "+project, clipped(group))
		}
		first := &assigned[0] // the change's own event; the others follow it
		tx.Event().SubjectID, tx.Event().Change = first.ID, assignmentDetail(who, first)
		first.RemovedAt = tx.Now
		if err := tx.SaveAssignment(first); err != nil {
			return err
		}
		return s.unassignAll(tx, who, f)
	})
}

// ProjectRoleID finds the role of a project that a client means by an id or by a name: a predefined one's, or a custom one's.
func (s *Service) ProjectRoleID(ctx context.Context, who *gatehouse.Principal, project, name string) (id string, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		if err := s.knownPlace(tx, who, project); err != nil {
			return err
		}
		id, err = s.roleID(tx, who, project, name)
		return err
	})
	return id, err
}

// roleID finds a role of a place by its id or name.
func (s *Service) roleID(tx *store.Tx, who *gatehouse.Principal, project, name string) (string, error) {
	if v := gatehouse.PredefinedNamed(placeLevel(project), gatehouse.Role(name)); v != nil {
		return v.ID, nil
	}
	if v, err := s.role(tx, who, project, name); err == nil {
		return v.ID, nil
	} else if gatehouse.KindOf(err) != gatehouse.NotFound {
		return "", err
	}
	v, err := tx.RoleNamed(who.Organization, project, name)
	if err != nil {
		return "", hide(err, "role", clipped(name))
	}
	return v.ID, nil
}
