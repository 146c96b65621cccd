package admin

import (
	"context"

	"gatehouse"
	"gatehouse/internal/store"
)

// Founding is a new organization with what it needs to be used.
type Founding struct {
	Organization gatehouse.Organization
	Project      gatehouse.Project // the default project
	Owner        gatehouse.User
	AdminKey     NewKey
}

// Found creates an organization with its default project, its first owner, who is a member of that project, and an admin key of
// theirs. Only a principal of the host may: there is no API for it.
func (s *Service) Found(ctx context.Context, who *gatehouse.Principal, name, owner, email string) (*Founding, error) {
	if who.Actor.Kind != gatehouse.ActorHost {
		return nil, NotAdmin()
	}
	if err := gatehouse.CheckName("organization", name); err != nil {
		return nil, err
	}
	if err := gatehouse.CheckName("owner", owner); err != nil {
		return nil, err
	}
	f := &Founding{}
	f.Organization = gatehouse.Organization{ID: gatehouse.NewID(gatehouse.PrefixOrganization), Name: name}
	f.Project = gatehouse.Project{ID: gatehouse.NewID(gatehouse.PrefixProject), Organization: f.Organization.ID, Name: "default", Residency: "GLOBAL"}
	f.Owner = gatehouse.User{ID: gatehouse.NewID(gatehouse.PrefixUser), Organization: f.Organization.ID, Name: owner, Email: email, Role: gatehouse.RoleOwner}
	f.Organization.DefaultProject = f.Project.ID
	host := *who
	host.Organization = f.Organization.ID
	ev := gatehouse.Event{Type: "organization.created", Subject: gatehouse.SubjectOrganization, SubjectID: f.Organization.ID, Change: detail(map[string]any{"name": name})}
	_, err := s.change(ctx, &host, widens, ev, func(tx *store.Tx) error {
		f.Organization.CreatedAt, f.Project.CreatedAt, f.Owner.CreatedAt = tx.Now, tx.Now, tx.Now
		member := gatehouse.ProjectUser{Project: f.Project.ID, User: f.Owner.ID, Role: gatehouse.RoleOwner, AddedAt: tx.Now}
		for _, create := range []func() error{
			func() error { return tx.CreateOrganization(&f.Organization) },
			func() error { return tx.CreateProject(&f.Project) },
			func() error { return tx.CreateUser(&f.Owner) },
			func() error { return tx.CreateProjectUser(&member) },
		} {
			if err := create(); err != nil {
				return err
			}
		}
		key, err := s.mint(tx, &host, KeyRequest{Class: gatehouse.ClassAdmin, User: f.Owner.ID, Name: "first admin key"})
		if err != nil {
			return err
		}
		f.AdminKey = *key
		for _, ev := range []gatehouse.Event{
			{Type: "project.created", Project: f.Project.ID, Subject: gatehouse.SubjectProject, SubjectID: f.Project.ID, Change: detail(map[string]any{"name": f.Project.Name, "title": f.Project.Name})},
			{Type: "user.added", Subject: gatehouse.SubjectUser, SubjectID: f.Owner.ID, Change: detail(map[string]any{"role": f.Owner.Role, "name": owner})},
			{Type: "user.added", Project: f.Project.ID, Subject: gatehouse.SubjectProjectUser, SubjectID: f.Project.ID + "/" + f.Owner.ID, Change: detail(map[string]any{"role": member.Role})},
			keyCreated(key.Key),
		} {
			ev.Organization = f.Organization.ID
			tx.Emit(ev)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Organizations lists every organization, for commands on the host.
func (s *Service) Organizations(ctx context.Context, who *gatehouse.Principal) (list []gatehouse.Organization, err error) {
	if who.Actor.Kind != gatehouse.ActorHost {
		return nil, NotAdmin()
	}
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		list, err = tx.Organizations()
		return err
	})
	return list, err
}

// Organization returns the caller's organization.
func (s *Service) Organization(ctx context.Context, who *gatehouse.Principal) (org *gatehouse.Organization, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		org, err = tx.Organization(who.Organization)
		return err
	})
	return org, err
}
