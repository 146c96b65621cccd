package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/store"
)

// UpstreamSpec is an upstream as it is declared. Projects are names or ids.
type UpstreamSpec struct {
	Name             string
	Dialect          gatehouse.Dialect
	BaseURL          string
	APIVersion       string
	Region           string
	Credential       string // a secret reference; empty: none
	CredentialHeader string
	Projects         []string
	AllowPrivate     bool
	HTTP2            bool
	Timeouts         gatehouse.TimeoutSpec
}

// DeploymentSpec is a deployment as it is declared. Projects are names or ids, Routes name upstreams by name.
type DeploymentSpec struct {
	Name     string
	Projects []string
	Routes   []RouteSpec
	Sticky   string // none or empty, key, user, prompt_cache_key
}

// RouteSpec is one route of a DeploymentSpec.
type RouteSpec struct {
	Upstream string
	Model    string
	Weight   int
	Priority int
	PricedAs string
	Timeouts gatehouse.TimeoutSpec
}

// PutUpstream creates the upstream of that name or replaces it. It reports whether anything changed.
func (s *Service) PutUpstream(ctx context.Context, who *gatehouse.Principal, spec UpstreamSpec) (*gatehouse.Upstream, error) {
	var up *gatehouse.Upstream
	_, err := s.put(ctx, who, func(tx *store.Tx) (out *outcome, err error) {
		if up, out, err = s.putUpstream(tx, who, spec); err != nil || out.event == nil {
			return out, err
		}
		if err = s.noteServed(tx, who.Organization); err == nil {
			up, err = tx.Upstream(up.ID)
		}
		return out, err
	})
	return up, err
}

// PutDeployment creates the deployment of that name and those projects, or replaces it.
func (s *Service) PutDeployment(ctx context.Context, who *gatehouse.Principal, spec DeploymentSpec) (*gatehouse.Deployment, error) {
	var dep *gatehouse.Deployment
	_, err := s.put(ctx, who, func(tx *store.Tx) (out *outcome, err error) {
		dep, out, err = s.putDeployment(tx, who, spec, nil)
		return out, err
	})
	return dep, err
}

// RemoveUpstream removes an upstream that no deployment routes to.
func (s *Service) RemoveUpstream(ctx context.Context, who *gatehouse.Principal, name string) (Effect, error) {
	return s.put(ctx, who, func(tx *store.Tx) (*outcome, error) { return s.removeUpstream(tx, who, name) })
}

// RemoveDeployment removes every deployment of a name.
func (s *Service) RemoveDeployment(ctx context.Context, who *gatehouse.Principal, name string) (Effect, error) {
	return s.put(ctx, who, func(tx *store.Tx) (*outcome, error) {
		list, err := tx.Deployments(who.Organization)
		if err != nil {
			return nil, err
		}
		var first *outcome
		for i := range list {
			if list[i].Name != name {
				continue
			}
			out, err := s.removeDeployment(tx, who, &list[i])
			if err != nil {
				return nil, err
			}
			if first == nil {
				first = out
			} else {
				tx.Emit(*out.event)
			}
		}
		if first == nil {
			return nil, notFound("deployment", name)
		}
		return first, nil
	})
}

// Upstreams lists the organization's upstreams.
func (s *Service) Upstreams(ctx context.Context, who *gatehouse.Principal) (list []gatehouse.Upstream, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		list, err = tx.Upstreams(who.Organization)
		return err
	})
	return list, err
}

// Deployments lists the organization's deployments.
func (s *Service) Deployments(ctx context.Context, who *gatehouse.Principal) (list []gatehouse.Deployment, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		list, err = tx.Deployments(who.Organization)
		return err
	})
	return list, err
}

// outcome is what one declared thing led to. event is nil when nothing had to change.
type outcome struct {
	action  string // "create", "update", "delete", "" for unchanged
	kind    string
	name    string
	changes []string // the fields that differ
	event   *gatehouse.Event
}

// put runs one declaration: the event is written only when something changed.
func (s *Service) put(ctx context.Context, who *gatehouse.Principal, fn func(*store.Tx) (*outcome, error)) (Effect, error) {
	effect, err := s.change(ctx, who, narrows, gatehouse.Event{Type: "pending"}, func(tx *store.Tx) error {
		out, err := fn(tx)
		if err != nil {
			return err
		}
		if out.event == nil {
			return errUnchanged
		}
		if err := s.noteServed(tx, who.Organization); err != nil {
			return err
		}
		ev := tx.Event()
		ev.Type, ev.Project, ev.Subject, ev.SubjectID, ev.Change = out.event.Type, out.event.Project, out.event.Subject, out.event.SubjectID, out.event.Change
		return nil
	})
	if err == errUnchanged {
		return Effect{Everywhere: true}, nil
	}
	return effect, err
}

var apiVersion = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}(-preview)?$`)

func (s *Service) checkUpstream(spec *UpstreamSpec) error {
	if err := gatehouse.CheckName("name", spec.Name); err != nil {
		return err
	}
	if _, err := dialect.CheckRegion("region", spec.Region); err != nil {
		return err // kept as it was written: Azure's callers are shown it
	}
	if spec.Dialect == gatehouse.Mock {
		if spec.BaseURL != "" || spec.Credential != "" {
			return gatehouse.InvalidParam("base_url", "Upstream %q: the built-in mock has neither a base_url nor a credential.", spec.Name)
		}
		return nil
	}
	if spec.Dialect != gatehouse.OpenAI && spec.Dialect != gatehouse.Azure {
		return gatehouse.InvalidParam("dialect", "Upstream %q: dialect must be openai, azure or mock.", spec.Name)
	}
	spec.BaseURL = strings.TrimRight(spec.BaseURL, "/")
	u, err := url.Parse(spec.BaseURL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return gatehouse.InvalidParam("base_url", "Upstream %q: base_url must be an http or https URL with a host.", spec.Name)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return gatehouse.InvalidParam("base_url", "Upstream %q: base_url must not contain credentials, a query or a fragment.", spec.Name)
	}
	if u.Scheme == "http" && !spec.AllowPrivate && spec.Credential != "" {
		return gatehouse.InvalidParam("base_url", "Upstream %q: a credential is sent over https only. For a server on your own network set allow_private.", spec.Name)
	}
	if spec.APIVersion != "" && (spec.Dialect != gatehouse.Azure || !apiVersion.MatchString(spec.APIVersion)) {
		return gatehouse.InvalidParam("api_version", "Upstream %q: api_version is for azure and looks like 2024-10-21 or 2025-04-01-preview; leave it out for the v1 API.", spec.Name)
	}
	if spec.AllowPrivate && s.cfg.AllowPrivate != nil && !s.cfg.AllowPrivate(u.Hostname()) {
		return gatehouse.InvalidParam("allow_private", "Upstream %q: the configuration does not list %q under private_upstreams. The operator of this host must add it.", spec.Name, u.Hostname())
	}
	if spec.Credential != "" {
		if err := s.cfg.CheckReference(spec.Credential); err != nil {
			return err
		}
	}
	if strings.ContainsAny(spec.CredentialHeader, " \t\r\n:") || len(spec.CredentialHeader) > 64 {
		return gatehouse.InvalidParam("credential_header", "Upstream %q: credential_header is not the name of a header.", spec.Name)
	}
	return nil
}

func (s *Service) putUpstream(tx *store.Tx, who *gatehouse.Principal, spec UpstreamSpec) (*gatehouse.Upstream, *outcome, error) {
	if err := s.checkUpstream(&spec); err != nil {
		return nil, nil, err
	}
	projects, err := s.projectIDs(tx, who, spec.Projects)
	if err != nil {
		return nil, nil, err
	}
	timeouts, err := checkTimeouts(fmt.Sprintf("Upstream %q: ", spec.Name), spec.Timeouts)
	if err != nil {
		return nil, nil, err
	}
	want := gatehouse.Upstream{Organization: who.Organization, Name: spec.Name, Dialect: spec.Dialect, BaseURL: spec.BaseURL, APIVersion: spec.APIVersion,
		Region: spec.Region, Credential: spec.Credential, CredentialHeader: spec.CredentialHeader, Projects: projects, AllowPrivate: spec.AllowPrivate, HTTP2: spec.HTTP2,
		Timeouts: timeouts}
	out := &outcome{kind: "upstream", name: spec.Name}
	old, err := s.upstreamNamed(tx, who, spec.Name)
	if err != nil {
		return nil, nil, err
	}
	if old == nil {
		want.ID, want.CreatedAt = gatehouse.NewID(gatehouse.PrefixUpstream), tx.Now
		out.action, out.event = "create", &gatehouse.Event{Type: "upstream.created", Subject: gatehouse.SubjectUpstream, SubjectID: want.ID, Change: detail(spec)}
		return &want, out, tx.CreateUpstream(&want)
	}
	note := func(field string, differs bool) {
		if differs {
			out.changes = append(out.changes, field)
		}
	}
	note("dialect", old.Dialect != want.Dialect)
	note("base_url", old.BaseURL != want.BaseURL)
	note("api_version", old.APIVersion != want.APIVersion)
	note("region", old.Region != want.Region)
	note("credential", old.Credential != want.Credential)
	note("credential_header", old.CredentialHeader != want.CredentialHeader)
	note("projects", !slices.Equal(old.Projects, want.Projects))
	note("allow_private", old.AllowPrivate != want.AllowPrivate)
	note("http2", old.HTTP2 != want.HTTP2)
	note("timeouts", old.Timeouts != want.Timeouts)
	if len(out.changes) == 0 {
		return old, out, nil
	}
	want.ID, want.CreatedAt, want.Served, want.Rev = old.ID, old.CreatedAt, old.Served, old.Rev
	out.action, out.event = "update", &gatehouse.Event{Type: "upstream.updated", Subject: gatehouse.SubjectUpstream, SubjectID: want.ID, Change: detail(spec)}
	return &want, out, tx.SaveUpstream(&want)
}

// putDeployment replaces the deployment of the same name. Several may share a name when they are for different projects: a
// declaration then replaces the one for the same projects, and never one in placed, which the same manifest declared.
func (s *Service) putDeployment(tx *store.Tx, who *gatehouse.Principal, spec DeploymentSpec, placed map[string]bool) (*gatehouse.Deployment, *outcome, error) {
	if err := gatehouse.CheckName("name", spec.Name); err != nil {
		return nil, nil, err
	}
	if len(spec.Routes) == 0 || len(spec.Routes) > 16 {
		return nil, nil, gatehouse.InvalidParam("routes", "Deployment %q needs between 1 and 16 routes.", spec.Name)
	}
	projects, err := s.projectIDs(tx, who, spec.Projects)
	if err != nil {
		return nil, nil, err
	}
	sticky, err := checkSticky(&spec)
	if err != nil {
		return nil, nil, err
	}
	want := gatehouse.Deployment{Organization: who.Organization, Name: spec.Name, Projects: projects, Sticky: sticky}
	for _, r := range spec.Routes {
		up, err := s.upstreamNamed(tx, who, r.Upstream)
		if err != nil {
			return nil, nil, err
		}
		if up == nil {
			return nil, nil, gatehouse.InvalidParam("routes", "Deployment %q routes to upstream %q, which does not exist. Declare it under upstreams.", spec.Name, r.Upstream)
		}
		if r.Weight < 0 || r.Weight > 1_000_000 || r.Priority < 0 || r.Priority > 1000 {
			return nil, nil, gatehouse.InvalidParam("routes", "Deployment %q: a weight is 0 to 1000000, a priority 0 to 1000.", spec.Name)
		}
		timeouts, err := checkTimeouts(fmt.Sprintf("Deployment %q, the route to %q: ", spec.Name, r.Upstream), r.Timeouts)
		if err != nil {
			return nil, nil, err
		}
		if len(r.PricedAs) > 256 {
			return nil, nil, gatehouse.InvalidParam("routes", "Deployment %q: 'priced_as' is the name of a model in the table of prices, at most 256 bytes.", spec.Name)
		}
		want.Routes = append(want.Routes, gatehouse.Route{Upstream: up.ID, Model: r.Model, Weight: r.Weight, Priority: r.Priority, PricedAs: r.PricedAs, Timeouts: timeouts})
	}
	out := &outcome{kind: "deployment", name: spec.Name}
	list, err := tx.Deployments(who.Organization)
	if err != nil {
		return nil, nil, err
	}
	var old *gatehouse.Deployment
	for i := range list {
		if list[i].Name != spec.Name || placed[list[i].ID] {
			continue
		}
		if old == nil || slices.Equal(list[i].Projects, projects) {
			old = &list[i]
		}
	}
	if old == nil {
		want.ID, want.CreatedAt = gatehouse.NewID(gatehouse.PrefixDeployment), tx.Now
		out.action, out.event = "create", &gatehouse.Event{Type: "deployment.created", Subject: gatehouse.SubjectDeployment, SubjectID: want.ID, Change: detail(spec)}
		return &want, out, tx.CreateDeployment(&want)
	}
	if !slices.Equal(old.Projects, want.Projects) {
		out.changes = append(out.changes, "projects")
	}
	if !slices.Equal(old.Routes, want.Routes) {
		out.changes = append(out.changes, "routes")
	}
	if old.Sticky != want.Sticky {
		out.changes = append(out.changes, "sticky")
	}
	if len(out.changes) == 0 {
		return old, out, nil
	}
	want.ID, want.CreatedAt, want.Rev = old.ID, old.CreatedAt, old.Rev
	out.action, out.event = "update", &gatehouse.Event{Type: "deployment.updated", Subject: gatehouse.SubjectDeployment, SubjectID: want.ID, Change: detail(spec)}
	return &want, out, tx.SaveDeployment(&want)
}

// checkTimeouts reads timeouts; where says whose they are.
func checkTimeouts(where string, spec gatehouse.TimeoutSpec) (gatehouse.Timeouts, error) {
	t, err := spec.Timeouts()
	if e, ok := errors.AsType[*gatehouse.Error](err); ok {
		named := *e
		named.Message = where + e.Message
		return t, &named
	}
	return t, err
}

// checkSticky reads what a deployment sticks to.
func checkSticky(spec *DeploymentSpec) (gatehouse.Sticky, error) {
	switch sticky := gatehouse.Sticky(spec.Sticky); sticky {
	case "none":
		return gatehouse.StickyNone, nil
	case gatehouse.StickyNone, gatehouse.StickyKey, gatehouse.StickyUser, gatehouse.StickyPromptCacheKey:
		return sticky, nil
	}
	return "", gatehouse.InvalidParam("sticky", "Deployment %q: sticky must be none, key, user or prompt_cache_key.", spec.Name)
}

func (s *Service) removeUpstream(tx *store.Tx, who *gatehouse.Principal, name string) (*outcome, error) {
	up, err := s.upstreamNamed(tx, who, name)
	if err != nil {
		return nil, err
	}
	if up == nil {
		return nil, notFound("upstream", name)
	}
	deps, err := tx.Deployments(who.Organization)
	if err != nil {
		return nil, err
	}
	for i := range deps {
		if slices.ContainsFunc(deps[i].Routes, func(r gatehouse.Route) bool { return r.Upstream == up.ID }) {
			return nil, &gatehouse.Error{Kind: gatehouse.Conflict, Code: "upstream_in_use", Message: "Deployment `" + deps[i].Name + "` routes to upstream `" + name + "`. Remove the route first."}
		}
	}
	up.RemovedAt = tx.Now
	return &outcome{action: "delete", kind: "upstream", name: name,
		event: &gatehouse.Event{Type: "upstream.deleted", Subject: gatehouse.SubjectUpstream, SubjectID: up.ID}}, tx.SaveUpstream(up)
}

func (s *Service) removeDeployment(tx *store.Tx, who *gatehouse.Principal, dep *gatehouse.Deployment) (*outcome, error) {
	dep.RemovedAt = tx.Now
	return &outcome{action: "delete", kind: "deployment", name: dep.Name,
		event: &gatehouse.Event{Type: "deployment.deleted", Organization: who.Organization, Subject: gatehouse.SubjectDeployment, SubjectID: dep.ID}}, tx.SaveDeployment(dep)
}

func (s *Service) upstream(tx *store.Tx, who *gatehouse.Principal, id string) (*gatehouse.Upstream, error) {
	up, err := tx.Upstream(id)
	if err != nil {
		return nil, hide(err, "upstream", id)
	}
	if up.Organization != who.Organization || up.RemovedAt != 0 {
		return nil, notFound("upstream", id)
	}
	return up, nil
}

// upstreamNamed returns the organization's upstream of a name, nil when there is none.
func (s *Service) upstreamNamed(tx *store.Tx, who *gatehouse.Principal, name string) (*gatehouse.Upstream, error) {
	list, err := tx.Upstreams(who.Organization)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Name == name {
			return &list[i], nil
		}
	}
	return nil, nil
}

// projectIDs turns names and ids of projects into sorted ids.
func (s *Service) projectIDs(tx *store.Tx, who *gatehouse.Principal, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	byName, err := s.projectsByName(tx, who)
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, name := range names {
		if strings.HasPrefix(name, gatehouse.PrefixProject) {
			p, err := s.activeProject(tx, who, name)
			if err != nil {
				return nil, err
			}
			ids[p.ID] = true
			continue
		}
		switch found := byName[name]; len(found) {
		case 0:
			return nil, gatehouse.InvalidParam("projects", "There is no active project named %q.", name)
		case 1:
			ids[found[0].ID] = true
		default:
			return nil, gatehouse.InvalidParam("projects", "There are %d active projects named %q. Name the one that is meant by its id (proj_...).", len(found), name)
		}
	}
	return slices.Sorted(maps.Keys(ids)), nil
}

// projectsByName returns the organization's active projects.
func (s *Service) projectsByName(tx *store.Tx, who *gatehouse.Principal) (map[string][]gatehouse.Project, error) {
	out := map[string][]gatehouse.Project{}
	page := store.Page{Limit: 100}
	for {
		list, more, err := tx.Projects(who.Organization, false, page)
		if err != nil {
			return nil, err
		}
		for _, p := range list {
			out[p.Name] = append(out[p.Name], p)
			page.After = p.ID
		}
		if !more {
			return out, nil
		}
	}
}
