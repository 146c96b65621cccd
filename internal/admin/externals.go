package admin

import (
	"context"
	"strings"

	"gatehouse"
	"gatehouse/internal/store"
)

// CreateExternal registers an external key or storage, whose kind, provider, settings and, of a storage, project are filled in.
func (s *Service) CreateExternal(ctx context.Context, who *gatehouse.Principal, e *gatehouse.External) error {
	e.Organization = who.Organization
	_, err := s.change(ctx, who, widens, registered(e), func(tx *store.Tx) error {
		if e.Kind == gatehouse.ExternalStorage {
			if _, err := s.activeProject(tx, who, e.Project); err != nil {
				return err
			}
		}
		e.CreatedAt = tx.Now
		return tx.CreateExternal(e)
	})
	return err
}

// registered makes an external key or storage a new one, and returns the event that it is registered.
func registered(e *gatehouse.External) gatehouse.Event {
	prefix := gatehouse.PrefixExternalKey
	if e.Kind == gatehouse.ExternalStorage {
		prefix, e.Status = gatehouse.PrefixStorage, "pending"
	}
	e.ID = gatehouse.NewID(prefix)
	return gatehouse.Event{Type: "external_" + string(e.Kind) + ".registered", Project: e.Project, Subject: gatehouse.SubjectExternal, SubjectID: e.ID,
		Change: detail(map[string]any{"name": e.Name, "type": e.Provider, "settings": e.Settings})}
}

// DeleteExternal forgets an external key or storage. What is in the cloud account stays as it is.
func (s *Service) DeleteExternal(ctx context.Context, who *gatehouse.Principal, kind gatehouse.ExternalKind, id string) (e *gatehouse.External, effect Effect, err error) {
	ev := gatehouse.Event{Type: "external_" + string(kind) + ".removed", Subject: gatehouse.SubjectExternal, SubjectID: id}
	effect, err = s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		if e, err = s.external(tx, who, kind, id); err != nil {
			return err
		}
		tx.Event().Project, tx.Event().Change = e.Project, detail(map[string]any{"name": e.Name})
		e.RemovedAt = tx.Now
		return tx.SaveExternal(e)
	})
	return e, effect, err
}

// ValidateExternal says whether an external key or storage can be used. To find out takes an identity in the provider's cloud, of which
// Gatehouse has none, so that it cannot: a storage is unhealthy from then on.
func (s *Service) ValidateExternal(ctx context.Context, who *gatehouse.Principal, kind gatehouse.ExternalKind, id string) (e *gatehouse.External, err error) {
	ev := gatehouse.Event{Type: "external_" + string(kind) + ".validated", Subject: gatehouse.SubjectExternal, SubjectID: id}
	_, err = s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		if e, err = s.external(tx, who, kind, id); err != nil {
			return err
		}
		tx.Event().Project, tx.Event().Change = e.Project, detail(map[string]any{"status": "unhealthy"})
		if kind == gatehouse.ExternalKey || e.Status == "unhealthy" {
			return errUnchanged
		}
		e.Status = "unhealthy"
		return tx.SaveExternal(e)
	})
	return e, unlessUnchanged(err)
}

// External returns an external key or storage.
func (s *Service) External(ctx context.Context, who *gatehouse.Principal, kind gatehouse.ExternalKind, id string) (e *gatehouse.External, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		e, err = s.external(tx, who, kind, id)
		return err
	})
	return e, err
}

// Externals lists the organization's external keys or storages.
func (s *Service) Externals(ctx context.Context, who *gatehouse.Principal, f store.ExternalFilter, page store.Page) (list []gatehouse.External, more bool, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		list, more, err = tx.Externals(who.Organization, f, page)
		return err
	})
	return list, more, err
}

func (s *Service) external(tx *store.Tx, who *gatehouse.Principal, kind gatehouse.ExternalKind, id string) (*gatehouse.External, error) {
	e, err := tx.External(id)
	if err != nil || e.Organization != who.Organization || e.Kind != kind || e.RemovedAt != 0 {
		return nil, hide(orNotFound(err), "external "+strings.ReplaceAll(string(kind), "_", " "), clipped(id))
	}
	return e, nil
}
