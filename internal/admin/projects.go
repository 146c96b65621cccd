package admin

import (
	"context"
	"maps"
	"slices"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/store"
)

// ProjectRequest creates a project.
type ProjectRequest struct {
	Name      string
	Labels    map[string]string
	Residency string // empty: GLOBAL
	Region    string // the region or geography its requests stay in; empty: what the residency says
}

// CreateProject adds a project. Two projects may have the same name.
func (s *Service) CreateProject(ctx context.Context, who *gatehouse.Principal, req ProjectRequest) (*gatehouse.Project, error) {
	if err := gatehouse.CheckName("name", req.Name); err != nil {
		return nil, err
	}
	if err := gatehouse.CheckLabels(req.Labels); err != nil {
		return nil, err
	}
	if req.Residency == "" {
		req.Residency = "GLOBAL"
	}
	region, err := dialect.CheckRegion("region", req.Region)
	if err != nil {
		return nil, err
	}
	p := &gatehouse.Project{ID: gatehouse.NewID(gatehouse.PrefixProject), Organization: who.Organization, Name: req.Name, Labels: req.Labels, Residency: req.Residency, Region: region}
	ev := gatehouse.Event{Type: "project.created", Subject: gatehouse.SubjectProject, SubjectID: p.ID, Project: p.ID,
		Change: detail(map[string]any{"name": p.Name, "title": p.Name, "labels": p.Labels, "residency": p.Residency, "region": p.Region})}
	_, err = s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		p.CreatedAt = tx.Now
		if err := tx.CreateProject(p); err != nil {
			return err
		}
		return s.noteServed(tx, who.Organization) // deployments for every project are for this one too
	})
	return p, err
}

// ProjectUpdate changes a project; absent fields stay.
type ProjectUpdate struct {
	Name     Optional[string]
	Labels   Optional[map[string]string]
	Upstream Optional[string] // an upstream's id, "" to clear
	Region   Optional[string] // as in ProjectRequest
	// HeaderLabels are names of labels that its callers may send beside the organization's.
	HeaderLabels Optional[[]string]
}

// UpdateProject changes a project. An archived project cannot be changed. A change of its region is one that narrows: when it
// returns with Effect.Everywhere, no node sends another request out of the region.
func (s *Service) UpdateProject(ctx context.Context, who *gatehouse.Principal, id string, req ProjectUpdate) (*gatehouse.Project, Effect, error) {
	if req.Name.Set {
		if err := gatehouse.CheckName("name", req.Name.Value); err != nil {
			return nil, Effect{}, err
		}
	}
	if err := gatehouse.CheckLabels(req.Labels.Value); err != nil {
		return nil, Effect{}, err
	}
	region, err := dialect.CheckRegion("region", req.Region.Value)
	if err != nil {
		return nil, Effect{}, err
	}
	if err := gatehouse.CheckHeaderLabels(req.HeaderLabels.Value); err != nil {
		return nil, Effect{}, err
	}
	var p *gatehouse.Project
	ev := gatehouse.Event{Type: "project.updated", Subject: gatehouse.SubjectProject, SubjectID: id, Project: id}
	effect, err := s.change(ctx, who, reach(req.Region.Set), ev, func(tx *store.Tx) (err error) {
		if p, err = s.activeProject(tx, who, id); err != nil {
			return err
		}
		changes := map[string]any{}
		if req.Name.Set {
			p.Name = req.Name.Value
			changes["title"] = p.Name
		}
		if req.Labels.Set {
			p.Labels = maps.Clone(req.Labels.Value)
			changes["labels"] = p.Labels
		}
		if req.Upstream.Set {
			if req.Upstream.Value != "" {
				if _, err := s.upstream(tx, who, req.Upstream.Value); err != nil {
					return err
				}
			}
			p.Upstream = req.Upstream.Value
			changes["upstream"] = p.Upstream
		}
		if req.HeaderLabels.Set {
			p.HeaderLabels = slices.Clone(req.HeaderLabels.Value)
			changes["header_labels"] = p.HeaderLabels
		}
		if req.Region.Set {
			p.Region = region
			changes["region"] = p.Region
		}
		tx.Event().Change = detail(changes)
		if err := tx.SaveProject(p); err != nil || !req.Upstream.Set {
			return err
		}
		return s.noteServed(tx, who.Organization)
	})
	if !req.Region.Set {
		effect = Effect{Everywhere: true} // nobody relies on the rest
	}
	return p, effect, err
}

// ArchiveProject ends a project for good: its keys stop at once. The organization's default project cannot be archived, because
// users' own keys act there.
func (s *Service) ArchiveProject(ctx context.Context, who *gatehouse.Principal, id string) (*gatehouse.Project, Effect, error) {
	var p *gatehouse.Project
	ev := gatehouse.Event{Type: "project.archived", Subject: gatehouse.SubjectProject, SubjectID: id, Project: id}
	effect, err := s.change(ctx, who, narrows, ev, func(tx *store.Tx) (err error) {
		if p, err = s.activeProject(tx, who, id); err != nil {
			return err
		}
		org, err := tx.Organization(who.Organization)
		if err != nil {
			return err
		}
		if org.DefaultProject == id {
			return gatehouse.Errorf(gatehouse.Invalid, "Project %s is the organization's default project and cannot be archived.", id)
		}
		p.ArchivedAt = tx.Now
		return tx.SaveProject(p)
	})
	return p, effect, err
}

// Project returns a project of the caller's organization.
func (s *Service) Project(ctx context.Context, who *gatehouse.Principal, id string) (p *gatehouse.Project, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		p, err = s.project(tx, who, id)
		return err
	})
	return p, err
}

// Projects lists the organization's projects.
func (s *Service) Projects(ctx context.Context, who *gatehouse.Principal, includeArchived bool, page store.Page) (list []gatehouse.Project, more bool, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		list, more, err = tx.Projects(who.Organization, includeArchived, page)
		return err
	})
	return list, more, err
}

func (s *Service) project(tx *store.Tx, who *gatehouse.Principal, id string) (*gatehouse.Project, error) {
	p, err := tx.Project(id)
	if err != nil {
		return nil, hide(err, "project", id)
	}
	if p.Organization != who.Organization {
		return nil, notFound("project", id)
	}
	return p, nil
}

// activeProject returns a project that may still be used and changed.
func (s *Service) activeProject(tx *store.Tx, who *gatehouse.Principal, id string) (*gatehouse.Project, error) {
	p, err := s.project(tx, who, id)
	if err != nil {
		return nil, err
	}
	if p.ArchivedAt != 0 {
		return nil, &gatehouse.Error{Kind: gatehouse.Invalid, Code: "project_archived", Message: "Project " + id + " is archived: it cannot be used or changed any more."}
	}
	return p, nil
}
