package admin

import (
	"context"

	"gatehouse"
	"gatehouse/internal/store"
)

// ServiceAccountRequest creates a service account.
type ServiceAccountRequest struct {
	Name    string
	Role    gatehouse.Role // member (the default), owner or none
	WithKey bool           // also create its first key
	Key     KeyRequest     // of the first key: Name, Scopes, ExpiresIn and the restrictions; the owner is filled in
}

// CreateServiceAccount adds a program's identity to a project, and its first key when that is asked for. The key is nil otherwise.
func (s *Service) CreateServiceAccount(ctx context.Context, who *gatehouse.Principal, project string, req ServiceAccountRequest) (*gatehouse.ServiceAccount, *NewKey, error) {
	if err := gatehouse.CheckName("name", req.Name); err != nil {
		return nil, nil, err
	}
	if req.Role == "" {
		req.Role = gatehouse.RoleMember
	}
	if err := checkRole(req.Role, gatehouse.RoleMember, gatehouse.RoleOwner, gatehouse.RoleNone); err != nil {
		return nil, nil, err
	}
	a := &gatehouse.ServiceAccount{ID: gatehouse.NewID(gatehouse.PrefixServiceAccount), Organization: who.Organization, Project: project, Name: req.Name, Role: req.Role}
	var key *NewKey
	ev := gatehouse.Event{Type: "service_account.created", Subject: gatehouse.SubjectServiceAccount, SubjectID: a.ID, Project: project, Change: detail(map[string]any{"role": a.Role, "name": a.Name})}
	_, err := s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		if _, err := s.activeProject(tx, who, project); err != nil {
			return err
		}
		a.CreatedAt = tx.Now
		if err := tx.CreateServiceAccount(a); err != nil {
			return err
		}
		if !req.WithKey {
			return nil
		}
		req.Key.Class, req.Key.Project, req.Key.ServiceAccount, req.Key.User = gatehouse.ClassService, project, a.ID, ""
		var err error
		if key, err = s.mint(tx, who, req.Key); err != nil {
			return err
		}
		tx.Emit(keyCreated(key.Key))
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return a, key, nil
}

// ServiceAccountUpdate changes a service account; absent fields stay.
type ServiceAccountUpdate struct {
	Name Optional[string]
	Role Optional[gatehouse.Role]
}

// UpdateServiceAccount changes a service account of a project that is not archived.
func (s *Service) UpdateServiceAccount(ctx context.Context, who *gatehouse.Principal, project, id string, req ServiceAccountUpdate) (*gatehouse.ServiceAccount, Effect, error) {
	if req.Name.Set {
		if err := gatehouse.CheckName("name", req.Name.Value); err != nil {
			return nil, Effect{}, err
		}
	}
	if req.Role.Set {
		if err := checkRole(req.Role.Value, gatehouse.RoleMember, gatehouse.RoleOwner, gatehouse.RoleNone); err != nil {
			return nil, Effect{}, err
		}
	}
	var a *gatehouse.ServiceAccount
	ev := gatehouse.Event{Type: "service_account.updated", Subject: gatehouse.SubjectServiceAccount, SubjectID: id, Project: project}
	effect, err := s.change(ctx, who, narrows, ev, func(tx *store.Tx) (err error) {
		if _, err := s.activeProject(tx, who, project); err != nil {
			return err
		}
		if a, err = s.serviceAccount(tx, who, project, id); err != nil {
			return err
		}
		changes := map[string]any{}
		if req.Name.Set {
			a.Name = req.Name.Value
			changes["name"] = a.Name
		}
		if req.Role.Set {
			a.Role = req.Role.Value
			changes["role"] = a.Role
		}
		tx.Event().Change = detail(changes)
		return tx.SaveServiceAccount(a)
	})
	return a, effect, err
}

// RemoveServiceAccount ends a service account and revokes its keys.
func (s *Service) RemoveServiceAccount(ctx context.Context, who *gatehouse.Principal, project, id string) (Effect, error) {
	ev := gatehouse.Event{Type: "service_account.deleted", Subject: gatehouse.SubjectServiceAccount, SubjectID: id, Project: project}
	return s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		a, err := s.serviceAccount(tx, who, project, id)
		if err != nil {
			return err
		}
		a.RemovedAt = tx.Now
		if err := tx.SaveServiceAccount(a); err != nil {
			return err
		}
		return s.revokeOwned(tx, who, store.KeyFilter{Organization: who.Organization, OwnerServiceAccount: id})
	})
}

// ServiceAccount returns a service account of a project.
func (s *Service) ServiceAccount(ctx context.Context, who *gatehouse.Principal, project, id string) (a *gatehouse.ServiceAccount, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		a, err = s.serviceAccount(tx, who, project, id)
		return err
	})
	return a, err
}

// ServiceAccounts lists a project's service accounts.
func (s *Service) ServiceAccounts(ctx context.Context, who *gatehouse.Principal, project string, page store.Page) (list []gatehouse.ServiceAccount, more bool, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		if _, err := s.project(tx, who, project); err != nil {
			return err
		}
		list, more, err = tx.ServiceAccounts(project, page)
		return err
	})
	return list, more, err
}

func (s *Service) serviceAccount(tx *store.Tx, who *gatehouse.Principal, project, id string) (*gatehouse.ServiceAccount, error) {
	a, err := tx.ServiceAccount(id)
	if err != nil {
		return nil, hide(err, "service account", id)
	}
	if a.Organization != who.Organization || a.Project != project || a.RemovedAt != 0 {
		return nil, notFound("service account", id)
	}
	return a, nil
}
