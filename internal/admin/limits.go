package admin

import (
	"context"
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/limit"
	"gatehouse/internal/store"
)

// LimitSpec is a rate limit as it is declared.
type LimitSpec struct {
	Scope   gatehouse.Scope // empty: the organization
	Subject string          // see scopeSubject
	Model   string          // a deployment's name; empty: all of them together
	Rates   gatehouse.Rates
}

// RatesUpdate is the rates of a limit that change; 0 takes one away.
type RatesUpdate struct {
	RequestsPerMinute, TokensPerMinute, RequestsPerDay, ImagesPerMinute, AudioMegabytesPerMinute, BatchInputTokensPerDay Optional[int64]
}

// fields returns the rates with their names in the API.
func fields(r *gatehouse.Rates) [6]struct {
	name  string
	value *int64
} {
	return [...]struct {
		name  string
		value *int64
	}{
		{"max_requests_per_1_minute", &r.RequestsPerMinute}, {"max_tokens_per_1_minute", &r.TokensPerMinute}, {"max_requests_per_1_day", &r.RequestsPerDay},
		{"max_images_per_1_minute", &r.ImagesPerMinute}, {"max_audio_megabytes_per_1_minute", &r.AudioMegabytesPerMinute}, {"batch_1_day_max_input_tokens", &r.BatchInputTokensPerDay},
	}
}

func (u *RatesUpdate) apply(r *gatehouse.Rates) {
	for i, v := range [...]Optional[int64]{u.RequestsPerMinute, u.TokensPerMinute, u.RequestsPerDay, u.ImagesPerMinute, u.AudioMegabytesPerMinute, u.BatchInputTokensPerDay} {
		if v.Set {
			*fields(r)[i].value = v.Value
		}
	}
}

func checkRates(r *gatehouse.Rates) error {
	for _, f := range fields(r) {
		most := int64(limit.MaxAmount)
		if f.value == &r.AudioMegabytesPerMinute {
			most /= limit.Megabyte
		}
		if *f.value < 0 || *f.value > most {
			return gatehouse.InvalidParam(f.name, "Invalid '%s': must be between 1 and %d, or 0 for no limit.", f.name, most)
		}
	}
	return nil
}

// Limits lists the organization's rate limits by scope, subject and model.
func (s *Service) Limits(ctx context.Context, who *gatehouse.Principal) (list []gatehouse.Limit, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		list, err = tx.Limits(who.Organization)
		return err
	})
	return list, err
}

// Limit returns a rate limit.
func (s *Service) Limit(ctx context.Context, who *gatehouse.Principal, id string) (l *gatehouse.Limit, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		l, err = s.limit(tx, who, id)
		return err
	})
	return l, err
}

// PutLimit sets the limit of a subject and a model, and replaces the one there is. What was used of it stays used.
func (s *Service) PutLimit(ctx context.Context, who *gatehouse.Principal, spec LimitSpec) (*gatehouse.Limit, error) {
	var l *gatehouse.Limit
	_, err := s.put(ctx, who, func(tx *store.Tx) (out *outcome, err error) {
		l, out, err = s.putLimit(tx, who, spec)
		return out, err
	})
	return l, err
}

// UpdateLimit changes rates of a limit. One that no longer limits anything is removed.
func (s *Service) UpdateLimit(ctx context.Context, who *gatehouse.Principal, id string, update RatesUpdate) (l *gatehouse.Limit, err error) {
	_, err = s.put(ctx, who, func(tx *store.Tx) (out *outcome, err error) {
		if l, err = s.limit(tx, who, id); err != nil {
			return nil, err
		}
		rates := l.Rates
		update.apply(&rates)
		l, out, err = s.setRates(tx, who, l, rates)
		return out, err
	})
	return l, err
}

// RemoveLimit removes a limit. What was used of it stays used, should it be set again before it is refilled.
func (s *Service) RemoveLimit(ctx context.Context, who *gatehouse.Principal, id string) (Effect, error) {
	return s.put(ctx, who, func(tx *store.Tx) (*outcome, error) {
		l, err := s.limit(tx, who, id)
		if err != nil {
			return nil, err
		}
		return s.removeLimit(tx, who, l)
	})
}

// ProjectLimit is what one deployment of a project may be asked for, as OpenAI's API shows it: Rates is zero where nothing is set.
type ProjectLimit struct {
	Deployment string
	Rates      gatehouse.Rates
}

// ID returns the limit's id in OpenAI's API, which follows from the deployment whether a limit is set or not.
func (l *ProjectLimit) ID() string { return gatehouse.PrefixLimit + l.Deployment }

// ProjectLimits lists the deployments of a project by name, each with its limits there.
func (s *Service) ProjectLimits(ctx context.Context, who *gatehouse.Principal, project string) (list []ProjectLimit, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		list, err = s.projectLimits(tx, who, project)
		return err
	})
	return list, err
}

func (s *Service) projectLimits(tx *store.Tx, who *gatehouse.Principal, project string) ([]ProjectLimit, error) {
	if _, err := s.project(tx, who, project); err != nil {
		return nil, err
	}
	deployments, err := tx.Deployments(who.Organization)
	if err != nil {
		return nil, err
	}
	limits, err := tx.Limits(who.Organization)
	if err != nil {
		return nil, err
	}
	var list []ProjectLimit
	for i := range deployments {
		d := &deployments[i]
		if !d.Serves(project) || slices.ContainsFunc(list, func(l ProjectLimit) bool { return l.Deployment == d.Name }) {
			continue
		}
		row := ProjectLimit{Deployment: d.Name}
		for j := range limits {
			if l := &limits[j]; l.Scope == gatehouse.ScopeProject && l.Subject == project && l.Model == d.Name {
				row.Rates = l.Rates
			}
		}
		list = append(list, row)
	}
	slices.SortFunc(list, func(a, b ProjectLimit) int { return strings.Compare(a.Deployment, b.Deployment) })
	return list, nil
}

// UpdateProjectLimit changes what a deployment of a project may be asked for; id is as ProjectLimit.ID says.
func (s *Service) UpdateProjectLimit(ctx context.Context, who *gatehouse.Principal, project, id string, update RatesUpdate) (row ProjectLimit, err error) {
	_, err = s.put(ctx, who, func(tx *store.Tx) (out *outcome, err error) {
		if _, err := s.activeProject(tx, who, project); err != nil {
			return nil, err
		}
		rows, err := s.projectLimits(tx, who, project)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(rows, func(r ProjectLimit) bool { return r.ID() == id })
		if i < 0 {
			return nil, gatehouse.Errorf(gatehouse.NotFound, "No such rate limit: '%s'. The list of the project's rate limits has one for each of its deployments.", clipped(id))
		}
		row = rows[i]
		update.apply(&row.Rates)
		_, out, err = s.putLimit(tx, who, LimitSpec{Scope: gatehouse.ScopeProject, Subject: project, Model: row.Deployment, Rates: row.Rates})
		return out, err
	})
	return row, err
}

// limit finds a live limit of the organization.
func (s *Service) limit(tx *store.Tx, who *gatehouse.Principal, id string) (*gatehouse.Limit, error) {
	l, err := tx.Limit(id)
	if err != nil {
		return nil, hide(err, "limit", clipped(id))
	}
	if l.Organization != who.Organization || l.RemovedAt != 0 {
		return nil, notFound("limit", clipped(id))
	}
	return l, nil
}

func (s *Service) putLimit(tx *store.Tx, who *gatehouse.Principal, spec LimitSpec) (*gatehouse.Limit, *outcome, error) {
	if spec.Scope == "" {
		spec.Scope = gatehouse.ScopeOrganization
	}
	if spec.Scope == gatehouse.ScopeGroup {
		return nil, nil, gatehouse.InvalidParam("scope", "Invalid 'scope': a group has budgets and no rate limits. Limit its users, or the project.")
	}
	subject, _, err := s.scopeSubject(tx, who, spec.Scope, spec.Subject)
	if err != nil {
		return nil, nil, err
	}
	old, err := tx.LimitOf(who.Organization, spec.Scope, subject, spec.Model)
	if err == nil {
		return s.setRates(tx, who, old, spec.Rates)
	}
	if gatehouse.KindOf(err) != gatehouse.NotFound {
		return nil, nil, err
	}
	if spec.Model != "" {
		deployments, err := tx.Deployments(who.Organization)
		if err != nil {
			return nil, nil, err
		}
		if !slices.ContainsFunc(deployments, func(d gatehouse.Deployment) bool { return d.Name == spec.Model }) {
			return nil, nil, gatehouse.InvalidParam("model", "Invalid 'model': there is no deployment named %q. `gatehouse deployments list` shows the names.", clipped(spec.Model))
		}
	}
	l := &gatehouse.Limit{Organization: who.Organization, Scope: spec.Scope, Subject: subject, Model: spec.Model}
	return s.setRates(tx, who, l, spec.Rates)
}

// setRates gives a limit, which has no id when it is new, its rates.
func (s *Service) setRates(tx *store.Tx, who *gatehouse.Principal, l *gatehouse.Limit, rates gatehouse.Rates) (*gatehouse.Limit, *outcome, error) {
	if err := checkRates(&rates); err != nil {
		return nil, nil, err
	}
	out := &outcome{kind: "limit", name: limitName(l)}
	was := l.Rates
	for i, f := range fields(&rates) {
		if *f.value != *fields(&was)[i].value {
			out.changes = append(out.changes, f.name)
		}
	}
	l.Rates = rates
	switch {
	case len(out.changes) == 0 && l.ID == "" || rates == (gatehouse.Rates{}) && l.ID == "":
		return l, out, nil // nothing was set, and nothing is
	case rates == (gatehouse.Rates{}):
		out, err := s.removeLimit(tx, who, l)
		return l, out, err
	case len(out.changes) == 0:
		return l, out, nil
	}
	var err error
	if out.action = "update"; l.ID == "" {
		out.action, out.changes = "create", nil
		l.ID, l.CreatedAt = gatehouse.NewID(gatehouse.PrefixLimit), tx.Now
		err = tx.CreateLimit(l)
	} else {
		err = tx.SaveLimit(l)
	}
	// OpenAI's log knows no making of a limit, only its change.
	out.event = &gatehouse.Event{Type: "rate_limit.updated", Organization: who.Organization, Project: limitProject(l), Subject: gatehouse.SubjectLimit, SubjectID: l.ID,
		Change: detail(map[string]any{"id": l.ID, "scope": l.Scope, "subject": l.Subject, "model": l.Model, "changes_requested": rates})}
	return l, out, err
}

func (s *Service) removeLimit(tx *store.Tx, who *gatehouse.Principal, l *gatehouse.Limit) (*outcome, error) {
	l.RemovedAt = tx.Now
	return &outcome{action: "delete", kind: "limit", name: limitName(l),
		event: &gatehouse.Event{Type: "rate_limit.deleted", Organization: who.Organization, Project: limitProject(l), Subject: gatehouse.SubjectLimit, SubjectID: l.ID,
			Change: detail(map[string]any{"id": l.ID, "scope": l.Scope, "subject": l.Subject, "model": l.Model})}}, tx.SaveLimit(l)
}

func limitProject(l *gatehouse.Limit) string {
	if l.Scope == gatehouse.ScopeProject {
		return l.Subject
	}
	return ""
}

// limitName says in a plan which limit is meant.
func limitName(l *gatehouse.Limit) string {
	name := string(l.Scope) + " " + l.Subject
	if l.Model != "" {
		name += " " + l.Model
	}
	return name
}
