package admin

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/goccy/go-yaml"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/ledger/prices"
	"gatehouse/internal/store"
)

// Manifest is what `gatehouse apply` makes an installation look like. What it does not name is left alone.
type Manifest struct {
	Organization *ManifestOrganization `yaml:"organization" json:"organization,omitempty"`
	Certificates []ManifestCertificate `yaml:"certificates" json:"certificates,omitempty"`
	Users        []ManifestUser        `yaml:"users" json:"users,omitempty"`
	Groups       []ManifestGroup       `yaml:"groups" json:"groups,omitempty"`
	Roles        []ManifestRole        `yaml:"roles" json:"roles,omitempty"`
	Upstreams    []ManifestUpstream    `yaml:"upstreams" json:"upstreams,omitempty"`
	Deployments  []ManifestDeployment  `yaml:"deployments" json:"deployments,omitempty"`
	Projects     []ManifestProject     `yaml:"projects" json:"projects,omitempty"`
	Limits       []ManifestLimit       `yaml:"limits" json:"limits,omitempty"`
	Budgets      []ManifestBudget      `yaml:"budgets" json:"budgets,omitempty"`
	Credits      *ManifestCredits      `yaml:"credits" json:"credits,omitempty"`
	Prices       []ManifestPrice       `yaml:"prices" json:"prices,omitempty"`
	Alerts       ManifestAlerts        `yaml:"alerts" json:"alerts,omitzero"`
	// IdentityProviders are issuers of tokens that workloads elsewhere present.
	IdentityProviders []ManifestIdentityProvider `yaml:"identity_providers" json:"identity_providers,omitempty"`
	// ExternalKeys and ExternalStorage are in cloud accounts of the organization's.
	ExternalKeys    []ManifestExternalKey     `yaml:"external_keys" json:"external_keys,omitempty"`
	ExternalStorage []ManifestExternalStorage `yaml:"external_storage" json:"external_storage,omitempty"`
}

// ManifestUpstream declares an upstream.
type ManifestUpstream struct {
	Name         string             `yaml:"name"`
	Dialect      string             `yaml:"dialect"`  // openai, azure or mock
	BaseURL      string             `yaml:"base_url"` // not for mock
	APIVersion   string             `yaml:"api_version"`
	Region       string             `yaml:"region"`
	Credential   ManifestCredential `yaml:"credential"`
	Projects     []string           `yaml:"projects"`      // whom the credential serves; absent: every project a deployment brings here
	AllowPrivate bool               `yaml:"allow_private"` // the host may resolve to loopback and private addresses
	HTTP2        bool               `yaml:"http2"`         // speak HTTP/2 where the server offers it
	// Timeouts bound an attempt along every route here; what is absent is the gateway's.
	Timeouts gatehouse.TimeoutSpec `yaml:"timeouts"`
}

// ManifestCredential says with what an upstream is called.
type ManifestCredential struct {
	Key    string `yaml:"key"`    // a secret reference
	Header string `yaml:"header"` // the header that carries it; absent: the dialect's own
}

// ManifestDeployment declares a deployment.
type ManifestDeployment struct {
	Name     string          `yaml:"name"`
	Projects []string        `yaml:"projects"` // names or ids; absent: every project
	Routes   []ManifestRoute `yaml:"routes"`
	Sticky   string          `yaml:"sticky"` // none, key, user or prompt_cache_key: what keeps requests on one route; absent: none
}

// ManifestRoute declares one route of a deployment.
type ManifestRoute struct {
	Upstream string `yaml:"upstream"`
	Model    string `yaml:"model"`
	Weight   int    `yaml:"weight"`
	Priority int    `yaml:"priority"`
	PricedAs string `yaml:"priced_as"` // the model's name in the table of prices, where the upstream calls it by another
	// Timeouts bound an attempt along this route; what is absent is its upstream's.
	Timeouts gatehouse.TimeoutSpec `yaml:"timeouts"`
}

// ManifestProject declares a project. ID says which one is meant where two active projects share a name.
type ManifestProject struct {
	ID              string                   `yaml:"id"`
	Name            string                   `yaml:"name"`
	Labels          map[string]string        `yaml:"labels"`
	Upstream        string                   `yaml:"upstream"`       // where calls without a model go
	Region          string                   `yaml:"region"`         // the region or geography its requests stay in; "global": anywhere; absent: as it is
	Models          *ManifestModels          `yaml:"models"`         // absent: as it is
	DeniedTools     *[]string                `yaml:"denied_tools"`   // hosted tools that no request may use, all others may; absent: as it is
	DataRetention   string                   `yaml:"data_retention"` // as OpenAI's API has it; absent: as it is
	SpendLimit      *gatehouse.USD           `yaml:"spend_limit"`    // US dollars a calendar month, 0: none; absent: as it is
	SpendAlerts     *[]ManifestSpendAlert    `yaml:"spend_alerts"`   // all of them; absent: as they are
	ServiceTiers    *ManifestTiers           `yaml:"service_tiers"`  // absent: as they are
	Certificates    *[]string                `yaml:"certificates"`   // of which a caller must show one, by name or id; absent: as they are
	Roles           []ManifestRole           `yaml:"roles"`
	Members         []ManifestMember         `yaml:"members"`
	Groups          []ManifestProjectGroup   `yaml:"groups"`
	ServiceAccounts []ManifestServiceAccount `yaml:"service_accounts"`
	Resources       []ManifestResource       `yaml:"resources"`
}

// ManifestModels declares the models that a project may ask for: either those, or all but those. Neither: every model.
type ManifestModels struct {
	Allow *[]string `yaml:"allow"`
	Deny  *[]string `yaml:"deny"`
}

// permissions returns what is declared.
func (m *ManifestModels) permissions() (gatehouse.ModelPermissions, error) {
	switch {
	case m.Allow != nil && m.Deny != nil:
		return gatehouse.ModelPermissions{}, gatehouse.InvalidParam("models", "A project's models are either allowed or denied: give 'allow' or 'deny'.")
	case m.Allow != nil:
		return gatehouse.ModelPermissions{Mode: gatehouse.AllowList, Models: *m.Allow}, nil
	case m.Deny != nil && len(*m.Deny) > 0:
		return gatehouse.ModelPermissions{Mode: gatehouse.DenyList, Models: *m.Deny}, nil
	}
	return gatehouse.ModelPermissions{}, nil
}

// policy returns what a project is declared to be allowed.
func (p *ManifestProject) policy() (u PolicyUpdate, err error) {
	if p.Models != nil {
		models, err := p.Models.permissions()
		if err != nil {
			return u, err
		}
		u.Models = Some(models)
	}
	if p.DeniedTools != nil {
		if u.Deny, err = gatehouse.ParseTools("denied_tools", *p.DeniedTools); err != nil {
			return u, err
		}
		u.Allow = gatehouse.AllTools
	}
	if p.DataRetention != "" {
		u.DataRetention = Some(gatehouse.DataRetention(p.DataRetention))
	}
	if t := p.ServiceTiers; t != nil {
		u.DefaultTier = Some(t.Default)
		tiers := gatehouse.ServiceTiers{}
		if t.Enabled != nil {
			tiers.Restricted, tiers.Enabled = true, *t.Enabled
		}
		u.EnabledTiers = Some(tiers)
	}
	return u, nil
}

// ManifestServiceAccount declares a service account. Keys are not declared: they exist once, in the answer that creates them.
type ManifestServiceAccount struct {
	Name string `yaml:"name"`
	Role string `yaml:"role"`
}

// ManifestResource declares an Azure-shaped resource. Its keys are not declared, and apply makes none, for it must not print a
// secret: each is made, and shown once, when it is first regenerated.
type ManifestResource struct {
	Name   string `yaml:"name"`
	Region string `yaml:"region"` // as a project's
}

// ManifestLimit declares a rate limit. A rate that is absent is not limited.
type ManifestLimit struct {
	Scope   string          `yaml:"scope"`   // organization, project, user, service_account, key or label; absent: organization
	Subject string          `yaml:"subject"` // a project by name or id, a user by address or id, a service account as PROJECT/NAME, a key by id, a label as NAME=VALUE
	Model   string          `yaml:"model"`   // a deployment's name; absent: all of them together
	Rates   gatehouse.Rates `yaml:",inline"`
}

// ManifestPrice declares what a model costs from a day on, in the place of the built-in price. docs/prices.md says what can be said.
type ManifestPrice struct {
	Upstream string            `yaml:"upstream" json:"upstream,omitempty"` // the name of the one upstream it holds for
	Dialect  gatehouse.Dialect `yaml:"dialect" json:"dialect,omitempty"`   // or every upstream that speaks this; absent: openai
	Model    string            `yaml:"model" json:"model"`
	From     string            `yaml:"effective_from" json:"effective_from,omitempty"` // a day (UTC) or an instant, as RFC 3339 writes it; absent: always
	Note     string            `yaml:"note" json:"note,omitempty"`
	Terms    prices.Terms      `yaml:",inline" json:",inline"`
}

// ParseManifest reads a manifest in YAML or JSON. An unknown field is an error that names its line.
func ParseManifest(text []byte) (*Manifest, error) {
	var m Manifest
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, gatehouse.Errorf(gatehouse.Invalid, "The manifest is empty.")
	}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&m); err != nil {
		return nil, gatehouse.Errorf(gatehouse.Invalid, "The manifest cannot be read: %s", yaml.FormatError(err, false, false)) // without the source: a secret may stand in it
	}
	return &m, nil
}

// PlanItem is one thing a manifest changes.
type PlanItem struct {
	Action  string   `json:"action"` // create, update or delete
	Kind    string   `json:"kind"`   // organization, upstream, deployment, project, service_account, resource, limit, price, budget, credits or credit_grant
	Name    string   `json:"name"`
	Changes []string `json:"changes,omitempty"` // the fields an update changes
}

// ApplyOptions says how a manifest is applied.
type ApplyOptions struct {
	DryRun bool // change nothing, return the plan
	// Version, where it is not empty, is that of an export: what has changed since then by somebody else is not overwritten.
	Version string
	Prune   bool // also remove upstreams, deployments and rate limits the manifest does not name, and where it has budgets or prices, other budgets or prices
}

// errUnchanged and errDryRun roll a transaction back in which nothing, or nothing lasting, was to happen.
var (
	errUnchanged = errors.New("nothing changed")
	errDryRun    = errors.New("dry run")
)

// Apply makes the organization look like the manifest, in one transaction, and returns what changed. Applied twice it changes
// nothing the second time. Everything it names is checked before anything is committed.
func (s *Service) Apply(ctx context.Context, who *gatehouse.Principal, m *Manifest, opts ApplyOptions) ([]PlanItem, error) {
	var plan []PlanItem
	_, err := s.change(ctx, who, narrows, gatehouse.Event{Type: "manifest.applied"}, func(tx *store.Tx) error {
		plan = []PlanItem{}
		if opts.Version != "" {
			if err := s.unchanged(tx, who, opts.Version); err != nil {
				return err
			}
		}
		a := &application{s: s, tx: tx, who: who, plan: &plan}
		if err := a.run(m, opts.Prune); err != nil {
			return err
		}
		switch {
		case opts.DryRun:
			return errDryRun
		case len(plan) == 0:
			return errUnchanged
		}
		if err := s.noteServed(tx, who.Organization); err != nil {
			return err
		}
		tx.Event().Change = detail(map[string]any{"plan": plan})
		return nil
	})
	if err != nil && !errors.Is(err, errDryRun) && !errors.Is(err, errUnchanged) {
		return nil, err
	}
	return plan, nil
}

// application is one run of Apply.
type application struct {
	s    *Service
	tx   *store.Tx
	who  *gatehouse.Principal
	plan *[]PlanItem
}

func (a *application) note(out *outcome) {
	if out.event == nil {
		return
	}
	out.event.Organization = a.who.Organization
	a.tx.Emit(*out.event)
	*a.plan = append(*a.plan, PlanItem{Action: out.action, Kind: out.kind, Name: out.name, Changes: out.changes})
}

// run declares people and projects first, because the rest refers to them, then upstreams, deployments, limits, prices, budgets and credits.
func (a *application) run(m *Manifest, prune bool) error {
	for _, declare := range []func() error{
		func() error { return a.certificates(m.Certificates) },
		func() error { return a.organization(m.Organization) },
		func() error { return a.roles("", m.Roles) },
		func() error { return a.users(m.Users) },
		func() error { return a.groups(m.Groups) },
	} {
		if err := declare(); err != nil {
			return err
		}
	}
	pending := map[string]string{} // project id to the name of the upstream its calls without a model go to
	var ids []string               // of the projects
	for i := range m.Projects {
		id, err := a.project(&m.Projects[i])
		if err != nil {
			return err
		}
		ids = append(ids, id)
		if up := m.Projects[i].Upstream; up != "" {
			pending[id] = up
		}
	}
	if err := a.assign(m, ids); err != nil {
		return err
	}
	named := map[string]bool{}
	for _, u := range m.Upstreams {
		if named[u.Name] {
			return gatehouse.InvalidParam("upstreams", "The manifest declares upstream %q twice.", u.Name)
		}
		named[u.Name] = true
		_, out, err := a.s.putUpstream(a.tx, a.who, UpstreamSpec{Name: u.Name, Dialect: gatehouse.Dialect(u.Dialect), BaseURL: u.BaseURL, APIVersion: u.APIVersion, Region: u.Region,
			Credential: u.Credential.Key, CredentialHeader: u.Credential.Header, Projects: u.Projects, AllowPrivate: u.AllowPrivate, HTTP2: u.HTTP2, Timeouts: u.Timeouts})
		if err != nil {
			return err
		}
		a.note(out)
	}
	placed := map[string]bool{}
	for _, d := range m.Deployments {
		spec := DeploymentSpec{Name: d.Name, Projects: d.Projects, Sticky: d.Sticky}
		for _, r := range d.Routes {
			spec.Routes = append(spec.Routes, RouteSpec(r))
		}
		dep, out, err := a.s.putDeployment(a.tx, a.who, spec, placed)
		if err != nil {
			return err
		}
		if placed[dep.ID] {
			return gatehouse.InvalidParam("deployments", "The manifest declares deployment %q twice for the same projects.", d.Name)
		}
		placed[dep.ID] = true
		a.note(out)
	}
	if err := a.alerts(&m.Alerts, prune); err != nil {
		return err
	}
	set, err := a.limits(m.Limits)
	if err != nil {
		return err
	}
	priced, err := a.prices(m.Prices)
	if err != nil {
		return err
	}
	if prune {
		if err := a.prune(named, placed, set); err != nil {
			return err
		}
		if m.Prices != nil {
			if err := a.prunePrices(priced); err != nil {
				return err
			}
		}
	}
	for id, name := range pending {
		if err := a.projectUpstream(id, name); err != nil {
			return err
		}
	}
	if err := a.budgets(m.Budgets, prune && m.Budgets != nil); err != nil {
		return err
	}
	if o := m.Organization; o != nil {
		if err := a.spend("", "the organization", o.SpendLimit, o.SpendAlerts); err != nil {
			return err
		}
	}
	for i, id := range ids {
		if err := a.spend(id, m.Projects[i].Name, m.Projects[i].SpendLimit, m.Projects[i].SpendAlerts); err != nil {
			return err
		}
	}
	if err := a.identityProviders(m.IdentityProviders); err != nil {
		return err
	}
	if err := a.externals(m); err != nil {
		return err
	}
	return a.credits(m.Credits)
}

// limits sets rate limits and returns their ids.
func (a *application) limits(want []ManifestLimit) (map[string]bool, error) {
	set := map[string]bool{}
	for _, w := range want {
		l, out, err := a.s.putLimit(a.tx, a.who, LimitSpec{Scope: gatehouse.Scope(w.Scope), Subject: w.Subject, Model: w.Model, Rates: w.Rates})
		if err != nil {
			return nil, err
		}
		if set[l.ID] {
			return nil, gatehouse.InvalidParam("limits", "The manifest declares the limit of %s twice.", limitName(l))
		}
		if l.ID != "" {
			set[l.ID] = true
		}
		a.note(out)
	}
	return set, nil
}

// prune removes the upstreams, deployments and limits that the manifest does not name. Projects, accounts and keys are never pruned:
// what is behind them cannot be brought back by applying an older manifest.
func (a *application) prune(upstreams, deployments, limits map[string]bool) error {
	set, err := a.tx.Limits(a.who.Organization)
	if err != nil {
		return err
	}
	for i := range set {
		if limits[set[i].ID] {
			continue
		}
		out, err := a.s.removeLimit(a.tx, a.who, &set[i])
		if err != nil {
			return err
		}
		a.note(out)
	}
	deps, err := a.tx.Deployments(a.who.Organization)
	if err != nil {
		return err
	}
	for i := range deps {
		if deployments[deps[i].ID] {
			continue
		}
		out, err := a.s.removeDeployment(a.tx, a.who, &deps[i])
		if err != nil {
			return err
		}
		a.note(out)
	}
	ups, err := a.tx.Upstreams(a.who.Organization)
	if err != nil {
		return err
	}
	for i := range ups {
		if upstreams[ups[i].Name] {
			continue
		}
		out, err := a.s.removeUpstream(a.tx, a.who, ups[i].Name)
		if err != nil {
			return err
		}
		a.note(out)
	}
	return nil
}

// project creates or changes one project and its service accounts and returns its id.
func (a *application) project(want *ManifestProject) (string, error) {
	if err := gatehouse.CheckName("name", want.Name); err != nil {
		return "", err
	}
	if err := gatehouse.CheckLabels(want.Labels); err != nil {
		return "", err
	}
	region, err := dialect.CheckRegion("region", want.Region)
	if err != nil {
		return "", err
	}
	policy, err := want.policy()
	if err != nil {
		return "", err
	}
	p, err := a.findProject(want)
	if err != nil {
		return "", err
	}
	out := &outcome{kind: "project", name: want.Name}
	if p == nil {
		p = &gatehouse.Project{ID: gatehouse.NewID(gatehouse.PrefixProject), Organization: a.who.Organization, Name: want.Name, Labels: want.Labels, Residency: "GLOBAL", Region: region, CreatedAt: a.tx.Now}
		change, _, err := policy.apply(p)
		if err != nil {
			return "", err
		}
		maps.Copy(change, map[string]any{"name": p.Name, "title": p.Name, "labels": p.Labels, "region": p.Region})
		out.action, out.event = "create", &gatehouse.Event{Type: "project.created", Project: p.ID, Subject: gatehouse.SubjectProject, SubjectID: p.ID, Change: detail(change)}
		if err := a.tx.CreateProject(p); err != nil {
			return "", err
		}
	} else {
		if p.Name != want.Name {
			p.Name = want.Name
			out.changes = append(out.changes, "name")
		}
		if want.Labels != nil && !maps.Equal(p.Labels, want.Labels) {
			p.Labels = want.Labels
			out.changes = append(out.changes, "labels")
		}
		if region != "" && p.Region != region {
			p.Region = region
			out.changes = append(out.changes, "region")
		}
		change, before, err := policy.apply(p)
		if err != nil {
			return "", err
		}
		if out.changes = append(out.changes, slices.Sorted(maps.Keys(change))...); len(out.changes) > 0 {
			if len(before) > 0 {
				change["before"] = before
			}
			maps.Copy(change, map[string]any{"title": p.Name, "labels": p.Labels, "region": p.Region})
			out.action, out.event = "update", &gatehouse.Event{Type: "project.updated", Project: p.ID, Subject: gatehouse.SubjectProject, SubjectID: p.ID, Change: detail(change)}
			if err := a.tx.SaveProject(p); err != nil {
				return "", err
			}
		}
	}
	a.note(out)
	if err := a.accounts(p.ID, want.ServiceAccounts); err != nil {
		return "", err
	}
	if err := a.roles(p.ID, want.Roles); err != nil {
		return "", err
	}
	if err := a.members(p.ID, want.Members); err != nil {
		return "", err
	}
	if want.Certificates != nil {
		if err := a.activeCertificates(p.ID, p.Name, *want.Certificates); err != nil {
			return "", err
		}
	}
	return p.ID, a.resources(p.ID, want.Resources)
}

func (a *application) findProject(want *ManifestProject) (*gatehouse.Project, error) {
	if want.ID != "" {
		return a.s.activeProject(a.tx, a.who, want.ID)
	}
	byName, err := a.s.projectsByName(a.tx, a.who)
	if err != nil {
		return nil, err
	}
	switch found := byName[want.Name]; len(found) {
	case 0:
		return nil, nil
	case 1:
		return &found[0], nil
	default:
		return nil, gatehouse.InvalidParam("projects", "There are %d active projects named %q. Say which one is meant with `id: proj_...`.", len(found), want.Name)
	}
}

// accounts creates the service accounts that a project does not have yet, and changes the role of those it has.
func (a *application) accounts(project string, want []ManifestServiceAccount) error {
	if len(want) == 0 {
		return nil
	}
	var have []gatehouse.ServiceAccount
	page := store.Page{Limit: 100}
	for {
		list, more, err := a.tx.ServiceAccounts(project, page)
		if err != nil {
			return err
		}
		have = append(have, list...)
		if !more {
			break
		}
		page.After = list[len(list)-1].ID
	}
	for _, w := range want {
		if err := gatehouse.CheckName("service_accounts", w.Name); err != nil {
			return err
		}
		role := gatehouse.Role(w.Role)
		if role == "" {
			role = gatehouse.RoleMember
		}
		if err := checkRole(role, gatehouse.RoleMember, gatehouse.RoleOwner, gatehouse.RoleNone); err != nil {
			return err
		}
		i := slices.IndexFunc(have, func(h gatehouse.ServiceAccount) bool { return h.Name == w.Name })
		out := &outcome{kind: "service_account", name: w.Name}
		if i < 0 {
			acc := gatehouse.ServiceAccount{ID: gatehouse.NewID(gatehouse.PrefixServiceAccount), Organization: a.who.Organization, Project: project, Name: w.Name, Role: role, CreatedAt: a.tx.Now}
			if err := a.tx.CreateServiceAccount(&acc); err != nil {
				return err
			}
			have = append(have, acc)
			out.action, out.event = "create", &gatehouse.Event{Type: "service_account.created", Project: project, Subject: gatehouse.SubjectServiceAccount, SubjectID: acc.ID, Change: detail(map[string]any{"role": role, "name": w.Name})}
		} else if have[i].Role != role {
			have[i].Role = role
			if err := a.tx.SaveServiceAccount(&have[i]); err != nil {
				return err
			}
			out.action, out.changes = "update", []string{"role"}
			out.event = &gatehouse.Event{Type: "service_account.updated", Project: project, Subject: gatehouse.SubjectServiceAccount, SubjectID: have[i].ID, Change: detail(map[string]any{"role": role})}
		}
		a.note(out)
	}
	return nil
}

// resources creates the resources that a project does not have yet, without keys, and changes the region of those it has.
func (a *application) resources(project string, want []ManifestResource) error {
	if len(want) == 0 {
		return nil
	}
	have := map[string]gatehouse.Resource{}
	page := store.Page{Limit: 100}
	for {
		list, more, err := a.tx.Resources(a.who.Organization, project, page)
		if err != nil {
			return err
		}
		for _, r := range list {
			have[r.Name], page.After = r, r.ID
		}
		if !more {
			break
		}
	}
	named := map[string]bool{}
	for _, w := range want {
		if named[w.Name] {
			return gatehouse.InvalidParam("resources", "The manifest declares resource %q of one project twice.", w.Name)
		}
		named[w.Name] = true
		made, err := newResource(a.who, ResourceRequest{Project: project, Name: w.Name, Region: w.Region})
		if err != nil {
			return err
		}
		out := &outcome{kind: "resource", name: w.Name}
		r, there := have[w.Name]
		switch {
		case !there:
			made.CreatedAt = a.tx.Now
			if err := a.tx.CreateResource(made); err != nil {
				return err
			}
			ev := resourceCreated(made)
			out.action, out.event = "create", &ev
		case made.Region != "" && r.Region != made.Region:
			r.Region = made.Region
			if err := a.tx.SaveResource(&r); err != nil {
				return err
			}
			out.action, out.changes = "update", []string{"region"}
			out.event = &gatehouse.Event{Type: "resource.updated", Project: project, Subject: gatehouse.SubjectResource, SubjectID: r.ID, Change: detail(map[string]any{"region": r.Region})}
		}
		a.note(out)
	}
	return nil
}

// projectUpstream sets where a project's calls without a model go, once the upstreams exist.
func (a *application) projectUpstream(id, name string) error {
	up, err := a.s.upstreamNamed(a.tx, a.who, name)
	if err != nil {
		return err
	}
	if up == nil {
		return gatehouse.InvalidParam("upstream", "A project names upstream %q, which does not exist.", name)
	}
	p, err := a.tx.Project(id)
	if err != nil {
		return err
	}
	if p.Upstream == up.ID {
		return nil
	}
	p.Upstream = up.ID
	if err := a.tx.SaveProject(p); err != nil {
		return err
	}
	a.note(&outcome{action: "update", kind: "project", name: p.Name, changes: []string{"upstream"},
		event: &gatehouse.Event{Type: "project.updated", Project: id, Subject: gatehouse.SubjectProject, SubjectID: id, Change: detail(map[string]any{"upstream": name})}})
	return nil
}
