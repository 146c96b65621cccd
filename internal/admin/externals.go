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
	ev := gatehouse.Event{Type: "external_key.registered", Project: e.Project, Subject: gatehouse.SubjectExternal}
	e.ID = gatehouse.NewID(gatehouse.PrefixExternalKey)
	if e.Kind == gatehouse.ExternalStorage {
		ev.Type, e.ID, e.Status = "external_storage.registered", gatehouse.NewID(gatehouse.PrefixStorage), "pending"
	}
	ev.SubjectID, ev.Change = e.ID, detail(map[string]any{"name": e.Name, "type": e.Provider, "settings": e.Settings})
	_, err := s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
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
