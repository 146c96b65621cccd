package admin

import (
	"context"
	"net/mail"

	"gatehouse"
	"gatehouse/internal/store"
)

// UserRequest adds a user.
type UserRequest struct {
	Name  string
	Email string
	Role  gatehouse.Role // owner or reader; empty: reader
}

// CreateUser adds a person to the organization.
func (s *Service) CreateUser(ctx context.Context, who *gatehouse.Principal, req UserRequest) (*gatehouse.User, error) {
	if err := gatehouse.CheckName("name", req.Name); err != nil {
		return nil, err
	}
	if req.Role == "" {
		req.Role = gatehouse.RoleReader
	}
	if err := checkRole(req.Role, gatehouse.RoleOwner, gatehouse.RoleReader); err != nil {
		return nil, err
	}
	if _, err := mail.ParseAddress(req.Email); req.Email != "" && err != nil {
		return nil, gatehouse.InvalidParam("email", "Invalid 'email': not an e-mail address.")
	}
	u := &gatehouse.User{ID: gatehouse.NewID(gatehouse.PrefixUser), Organization: who.Organization, Name: req.Name, Email: req.Email, Role: req.Role}
	ev := gatehouse.Event{Type: "user.added", Subject: gatehouse.SubjectUser, SubjectID: u.ID, Change: detail(map[string]any{"role": u.Role, "name": u.Name})}
	_, err := s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		if err := s.mayGrantRole(tx, who, "", u.Role); err != nil {
			return err
		}
		u.CreatedAt = tx.Now
		return tx.CreateUser(u)
	})
	return u, err
}

// UserUpdate changes a user; absent fields stay.
type UserUpdate struct {
	Role             Optional[gatehouse.Role] // owner or reader
	TechnicalLevel   Optional[string]
	DeveloperPersona Optional[string]
}

// UpdateUser changes a user. The last owner stays one.
func (s *Service) UpdateUser(ctx context.Context, who *gatehouse.Principal, id string, req UserUpdate) (u *gatehouse.User, effect Effect, err error) {
	if req.Role.Set {
		if err := checkRole(req.Role.Value, gatehouse.RoleOwner, gatehouse.RoleReader); err != nil {
			return nil, Effect{}, err
		}
	}
	for name, text := range map[string]string{"technical_level": req.TechnicalLevel.Value, "developer_persona": req.DeveloperPersona.Value} {
		if len(text) > maxPersona {
			return nil, Effect{}, gatehouse.InvalidParam(name, "Invalid '%s': at most %d bytes are kept.", name, maxPersona)
		}
	}
	ev := gatehouse.Event{Type: "user.updated", Subject: gatehouse.SubjectUser, SubjectID: id}
	effect, err = s.change(ctx, who, narrows, ev, func(tx *store.Tx) (err error) {
		if u, err = s.user(tx, who, id); err != nil {
			return err
		}
		changes, before := map[string]any{}, map[string]any{}
		if role := req.Role; role.Set && role.Value != u.Role {
			if role.Value != gatehouse.RoleOwner {
				if err := keepOwner(tx, u); err != nil {
					return err
				}
				// Only an owner's admin keys are accepted.
				if err := s.keepAdminKeys(tx, who.Organization, store.KeyFilter{Organization: who.Organization, OwnerUser: id, Class: gatehouse.ClassAdmin}); err != nil {
					return err
				}
			}
			if err := s.mayGrantRole(tx, who, "", role.Value); err != nil {
				return err
			}
			changes["role"], before["role"] = role.Value, u.Role
			u.Role = role.Value
		}
		for _, f := range []struct {
			name string
			to   *string
			want Optional[string]
		}{{"technical_level", &u.TechnicalLevel, req.TechnicalLevel}, {"developer_persona", &u.DeveloperPersona, req.DeveloperPersona}} {
			if f.want.Set && f.want.Value != *f.to {
				changes[f.name], before[f.name] = f.want.Value, *f.to
				*f.to = f.want.Value
			}
		}
		if len(changes) == 0 {
			return errUnchanged
		}
		changes["before"] = before
		tx.Event().Change = detail(changes)
		return tx.SaveUser(u)
	})
	if err == errUnchanged {
		return u, Effect{Everywhere: true}, nil
	}
	return u, effect, err
}

// maxPersona bounds what users say of themselves, in bytes.
const maxPersona = 256

// RemoveUser takes a person out of the organization: the keys they own stop at once. The last owner cannot be removed.
func (s *Service) RemoveUser(ctx context.Context, who *gatehouse.Principal, id string) (Effect, error) {
	ev := gatehouse.Event{Type: "user.deleted", Subject: gatehouse.SubjectUser, SubjectID: id}
	return s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		u, err := s.user(tx, who, id)
		if err != nil {
			return err
		}
		if err := keepOwner(tx, u); err != nil {
			return err
		}
		if err := s.keepAdminKeys(tx, who.Organization, store.KeyFilter{Organization: who.Organization, OwnerUser: id, Class: gatehouse.ClassAdmin}); err != nil {
			return err
		}
		u.RemovedAt = tx.Now
		if err := tx.SaveUser(u); err != nil {
			return err
		}
		if err := s.unassignAll(tx, who, store.AssignmentFilter{Principal: id, Everywhere: true}); err != nil {
			return err
		}
		return s.revokeOwned(tx, who, store.KeyFilter{Organization: who.Organization, OwnerUser: id})
	})
}

// UserInfo is a user with what OpenAI's API shows of them.
type UserInfo struct {
	gatehouse.User
	Projects   []UserProject
	LastUsedAt gatehouse.Millis // of the keys they own; 0: never
}

// UserProject is a project that a user is a member of.
type UserProject struct {
	ID, Name string
	Role     gatehouse.Role
}

// Users lists the organization's users; with emails those with one of these addresses.
func (s *Service) Users(ctx context.Context, who *gatehouse.Principal, emails []string, page store.Page) (list []UserInfo, more bool, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		var users []gatehouse.User
		if len(emails) > 0 {
			users, more, err = tx.UsersByEmail(who.Organization, emails, page)
		} else {
			users, more, err = tx.Users(who.Organization, page)
		}
		if err != nil {
			return err
		}
		list = make([]UserInfo, len(users))
		for i := range users {
			if list[i], err = userInfo(tx, &users[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return list, more, err
}

// User returns a user who was not removed.
func (s *Service) User(ctx context.Context, who *gatehouse.Principal, id string) (info *UserInfo, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		u, err := s.user(tx, who, id)
		if err != nil {
			return err
		}
		all, err := userInfo(tx, u)
		info = &all
		return err
	})
	return info, err
}

func userInfo(tx *store.Tx, u *gatehouse.User) (UserInfo, error) {
	info := UserInfo{User: *u}
	members, err := tx.Memberships(u.ID)
	if err != nil {
		return info, err
	}
	for i := range members {
		m := &members[i]
		p, err := tx.Project(m.Project)
		if err != nil {
			return info, err
		}
		if m.RemovedAt == 0 && p.ArchivedAt == 0 {
			info.Projects = append(info.Projects, UserProject{p.ID, p.Name, m.Role})
		}
	}
	info.LastUsedAt, err = tx.LastUsedBy(u.ID)
	return info, err
}

// Member is a user's membership of a project, and the user.
type Member struct {
	gatehouse.ProjectUser
	Name, Email string
}

// AddProjectUser makes a user, by id or address, a member of a project, or changes the role of one.
func (s *Service) AddProjectUser(ctx context.Context, who *gatehouse.Principal, project, user string, role gatehouse.Role) (m *Member, err error) {
	if role == "" {
		role = gatehouse.RoleMember
	}
	if err := checkMemberRole(role); err != nil {
		return nil, err
	}
	ev := gatehouse.Event{Type: "user.added", Subject: gatehouse.SubjectProjectUser, Project: project, Change: detail(map[string]any{"role": role})}
	_, err = s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		if _, err := s.activeProject(tx, who, project); err != nil {
			return err
		}
		if err := s.mayGrantRole(tx, who, project, role); err != nil {
			return err
		}
		id, err := s.userID(tx, who, user)
		if err != nil {
			return err
		}
		tx.Event().SubjectID = project + "/" + id
		row, err := tx.ProjectUser(project, id)
		switch {
		case gatehouse.KindOf(err) == gatehouse.NotFound:
			row = &gatehouse.ProjectUser{Project: project, User: id, Role: role, AddedAt: tx.Now}
			err = tx.CreateProjectUser(row)
		case err == nil:
			if row.RemovedAt != 0 {
				row.AddedAt, row.RemovedAt = tx.Now, 0
			}
			row.Role = role
			err = tx.SaveProjectUser(row)
		}
		if err != nil {
			return err
		}
		m, err = memberOf(tx, row)
		return err
	})
	return m, err
}

func checkMemberRole(role gatehouse.Role) error {
	return checkRole(role, gatehouse.RoleOwner, gatehouse.RoleMember, gatehouse.RoleViewer)
}

// UpdateProjectUser changes the role of a member.
func (s *Service) UpdateProjectUser(ctx context.Context, who *gatehouse.Principal, project, user string, role Optional[gatehouse.Role]) (m *Member, effect Effect, err error) {
	if role.Set {
		if err := checkMemberRole(role.Value); err != nil {
			return nil, Effect{}, err
		}
	}
	ev := gatehouse.Event{Type: "user.updated", Subject: gatehouse.SubjectProjectUser, SubjectID: project + "/" + user, Project: project}
	effect, err = s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		if _, err := s.activeProject(tx, who, project); err != nil {
			return err
		}
		row, err := member(tx, project, user)
		if err != nil {
			return err
		}
		if m, err = memberOf(tx, row); err != nil {
			return err
		}
		if !role.Set || role.Value == row.Role {
			return errUnchanged
		}
		if err := s.mayGrantRole(tx, who, project, role.Value); err != nil {
			return err
		}
		tx.Event().Change = detail(map[string]any{"role": role.Value, "before": map[string]any{"role": row.Role}})
		row.Role, m.Role = role.Value, role.Value
		return tx.SaveProjectUser(row)
	})
	if err == errUnchanged {
		return m, Effect{Everywhere: true}, nil
	}
	return m, effect, err
}

// member finds a membership that stands.
func member(tx *store.Tx, project, user string) (*gatehouse.ProjectUser, error) {
	m, err := tx.ProjectUser(project, user)
	if err != nil {
		return nil, hide(err, "user in project "+project, user)
	}
	u, err := tx.User(user)
	if err != nil {
		return nil, err
	}
	if m.RemovedAt != 0 || u.RemovedAt != 0 {
		return nil, notFound("user in project "+project, user)
	}
	return m, nil
}

func memberOf(tx *store.Tx, row *gatehouse.ProjectUser) (*Member, error) {
	u, err := tx.User(row.User)
	if err != nil {
		return nil, err
	}
	return &Member{*row, u.Name, u.Email}, nil
}

// ProjectUser returns a member of a project.
func (s *Service) ProjectUser(ctx context.Context, who *gatehouse.Principal, project, user string) (m *Member, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		if _, err := s.project(tx, who, project); err != nil {
			return err
		}
		row, err := member(tx, project, user)
		if err != nil {
			return err
		}
		m, err = memberOf(tx, row)
		return err
	})
	return m, err
}

// RemoveProjectUser ends a membership: the keys the user owns in the project stop at once.
func (s *Service) RemoveProjectUser(ctx context.Context, who *gatehouse.Principal, project, user string) (Effect, error) {
	ev := gatehouse.Event{Type: "user.deleted", Subject: gatehouse.SubjectProjectUser, SubjectID: project + "/" + user, Project: project}
	return s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		if _, err := s.project(tx, who, project); err != nil {
			return err
		}
		m, err := member(tx, project, user)
		if err != nil {
			return err
		}
		m.RemovedAt = tx.Now
		if err := tx.SaveProjectUser(m); err != nil {
			return err
		}
		return s.unassignAll(tx, who, store.AssignmentFilter{Principal: user, Project: project})
	})
}

// ProjectUsers lists a project's members.
func (s *Service) ProjectUsers(ctx context.Context, who *gatehouse.Principal, project string, page store.Page) (list []Member, more bool, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		if _, err := s.project(tx, who, project); err != nil {
			return err
		}
		rows, next, err := tx.ProjectUsers(project, page)
		if err != nil {
			return err
		}
		more, list = next, make([]Member, len(rows))
		for i := range rows {
			m, err := memberOf(tx, &rows[i])
			if err != nil {
				return err
			}
			list[i] = *m
		}
		return nil
	})
	return list, more, err
}

func (s *Service) user(tx *store.Tx, who *gatehouse.Principal, id string) (*gatehouse.User, error) {
	u, err := tx.User(id)
	if err != nil {
		return nil, hide(err, "user", id)
	}
	if u.Organization != who.Organization || u.RemovedAt != 0 {
		return nil, notFound("user", id)
	}
	return u, nil
}

// keepOwner refuses to take the ownership of the organization's last owner.
func keepOwner(tx *store.Tx, u *gatehouse.User) error {
	if u.Role != gatehouse.RoleOwner {
		return nil
	}
	n, err := tx.CountActiveOwners(u.Organization)
	if err != nil {
		return err
	}
	if n <= 1 {
		return &gatehouse.Error{Kind: gatehouse.Conflict, Code: "last_owner", Message: "User " + u.ID + " is the organization's last owner. Make somebody else an owner first."}
	}
	return nil
}

func checkRole(role gatehouse.Role, allowed ...gatehouse.Role) error {
	for _, r := range allowed {
		if role == r {
			return nil
		}
	}
	return gatehouse.InvalidParam("role", "Invalid 'role': %q is not one of %v.", string(role), allowed)
}
