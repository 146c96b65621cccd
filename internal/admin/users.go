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
		u.CreatedAt = tx.Now
		return tx.CreateUser(u)
	})
	return u, err
}

// UpdateUser changes a user's role. The last owner keeps it.
func (s *Service) UpdateUser(ctx context.Context, who *gatehouse.Principal, id string, role gatehouse.Role) (*gatehouse.User, Effect, error) {
	if err := checkRole(role, gatehouse.RoleOwner, gatehouse.RoleReader); err != nil {
		return nil, Effect{}, err
	}
	var u *gatehouse.User
	ev := gatehouse.Event{Type: "user.updated", Subject: gatehouse.SubjectUser, SubjectID: id, Change: detail(map[string]any{"role": role})}
	effect, err := s.change(ctx, who, narrows, ev, func(tx *store.Tx) (err error) {
		if u, err = s.user(tx, who, id); err != nil {
			return err
		}
		if role != gatehouse.RoleOwner {
			if err := keepOwner(tx, u); err != nil {
				return err
			}
			// Only an owner's admin keys are accepted.
			if err := s.keepAdminKeys(tx, who.Organization, store.KeyFilter{Organization: who.Organization, OwnerUser: id, Class: gatehouse.ClassAdmin}); err != nil {
				return err
			}
		}
		u.Role = role
		return tx.SaveUser(u)
	})
	return u, effect, err
}

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
		return s.revokeOwned(tx, who, store.KeyFilter{Organization: who.Organization, OwnerUser: id})
	})
}

// Users lists the organization's users.
func (s *Service) Users(ctx context.Context, who *gatehouse.Principal, page store.Page) (list []gatehouse.User, more bool, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		list, more, err = tx.Users(who.Organization, page)
		return err
	})
	return list, more, err
}

// AddProjectUser makes a user a member of a project, or changes the role of one.
func (s *Service) AddProjectUser(ctx context.Context, who *gatehouse.Principal, project, user string, role gatehouse.Role) (*gatehouse.ProjectUser, error) {
	if role == "" {
		role = gatehouse.RoleMember
	}
	if err := checkRole(role, gatehouse.RoleOwner, gatehouse.RoleMember, gatehouse.RoleViewer); err != nil {
		return nil, err
	}
	var m *gatehouse.ProjectUser
	ev := gatehouse.Event{Type: "user.added", Subject: gatehouse.SubjectProjectUser, SubjectID: project + "/" + user, Project: project, Change: detail(map[string]any{"role": role})}
	_, err := s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		if _, err := s.activeProject(tx, who, project); err != nil {
			return err
		}
		if _, err := s.user(tx, who, user); err != nil {
			return err
		}
		old, err := tx.ProjectUser(project, user)
		switch {
		case gatehouse.KindOf(err) == gatehouse.NotFound:
			m = &gatehouse.ProjectUser{Project: project, User: user, Role: role, AddedAt: tx.Now}
			return tx.CreateProjectUser(m)
		case err != nil:
			return err
		}
		m = old
		if m.RemovedAt != 0 {
			m.AddedAt, m.RemovedAt = tx.Now, 0
		}
		m.Role = role
		return tx.SaveProjectUser(m)
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
		m, err := tx.ProjectUser(project, user)
		if err != nil {
			return hide(err, "user in project "+project, user)
		}
		if m.RemovedAt != 0 {
			return notFound("user in project "+project, user)
		}
		m.RemovedAt = tx.Now
		return tx.SaveProjectUser(m)
	})
}

// ProjectUsers lists a project's members.
func (s *Service) ProjectUsers(ctx context.Context, who *gatehouse.Principal, project string, page store.Page) (list []gatehouse.ProjectUser, more bool, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		if _, err := s.project(tx, who, project); err != nil {
			return err
		}
		list, more, err = tx.ProjectUsers(project, page)
		return err
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
