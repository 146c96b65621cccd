package admin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"gatehouse"
	"gatehouse/internal/ledger/prices"
	"gatehouse/internal/store"
)

// versionLine begins the line of an exported manifest that says which state of the organization it is of.
const versionLine = "# version "

// exportHead says at the top of an exported manifest what is not in it.
const exportHead = `# The manifest of this installation. Applying it here changes nothing (gatehouse apply -f FILE --dry-run).
# Not in it: API keys, admin keys and invites, whose secrets exist once; the values of sealed secrets; webhook endpoints of projects; what
# was spent, archived and removed.
`

// Export returns the manifest of the organization as it is, in YAML: applied where it came from, it changes nothing.
func (s *Service) Export(ctx context.Context, who *gatehouse.Principal) (text []byte, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		text, err = s.export(tx, who)
		return err
	})
	if err != nil {
		return nil, err
	}
	return append([]byte(exportHead+versionLine+manifestVersion(text)+"\n"), text...), nil
}

// export returns the manifest as a transaction sees it, without its head.
func (s *Service) export(tx *store.Tx, who *gatehouse.Principal) ([]byte, error) {
	x := &exporter{s: s, tx: tx, who: who}
	if err := x.names(); err != nil {
		return nil, err
	}
	m, err := x.manifest()
	if err != nil {
		return nil, err
	}
	return yaml.MarshalWithOptions(m, yaml.OmitEmpty(), yaml.OmitZero(), yaml.UseLiteralStyleIfMultiline(true))
}

// manifestVersion names a manifest by what is in it: the same is the same version, whenever it was exported.
func manifestVersion(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}

// unchanged refuses to go on unless the organization is what it was when somebody exported a version of it.
func (s *Service) unchanged(tx *store.Tx, who *gatehouse.Principal, version string) error {
	text, err := s.export(tx, who)
	if err != nil {
		return err
	}
	if now := manifestVersion(text); now != version {
		return &gatehouse.Error{Kind: gatehouse.Conflict, Code: "manifest_changed", NoRetry: true,
			Message: "The organization has changed since version " + clipped(version) + " was exported; it is version " + now + " now. Export it again, and make your changes to that (gatehouse export)."}
	}
	return nil
}

// exporter is one run of Export.
type exporter struct {
	s   *Service
	tx  *store.Tx
	who *gatehouse.Principal

	projects     []gatehouse.Project // active ones
	projectName  map[string]string   // by id: the name, or the id where the name says more than one
	upstreamName map[string]string
	userName     map[string]string // by id: the address, or the id of who has none
	channelName  map[string]string
	accounts     map[string][]gatehouse.ServiceAccount // by project
	accountName  map[string]string                     // by id: PROJECT/NAME
	certificates map[string]string                     // by id: the name, or the id of one without a name of its own
	users        []gatehouse.User
	groups       []gatehouse.Group
}

// names finds out what things are called.
func (x *exporter) names() (err error) {
	organization := x.who.Organization
	x.projects, err = everyPage(func(p store.Page) ([]gatehouse.Project, bool, error) { return x.tx.Projects(organization, false, p) }, func(p *gatehouse.Project) string { return p.ID })
	if err != nil {
		return err
	}
	slices.SortStableFunc(x.projects, func(a, b gatehouse.Project) int { return strings.Compare(a.Name, b.Name) })
	named := map[string]int{}
	for i := range x.projects {
		named[x.projects[i].Name]++
	}
	x.projectName, x.accounts, x.accountName = map[string]string{}, map[string][]gatehouse.ServiceAccount{}, map[string]string{}
	for i := range x.projects {
		p := &x.projects[i]
		if x.projectName[p.ID] = p.Name; named[p.Name] > 1 {
			x.projectName[p.ID] = p.ID
		}
		list, err := everyPage(func(page store.Page) ([]gatehouse.ServiceAccount, bool, error) {
			return x.tx.ServiceAccounts(p.ID, page)
		}, func(a *gatehouse.ServiceAccount) string { return a.ID })
		if err != nil {
			return err
		}
		slices.SortStableFunc(list, func(a, b gatehouse.ServiceAccount) int { return strings.Compare(a.Name, b.Name) })
		x.accounts[p.ID] = list
		for j := range list {
			a := &list[j]
			x.accountName[a.ID] = x.projectName[p.ID] + "/" + a.Name
			if slices.ContainsFunc(list[:j], func(b gatehouse.ServiceAccount) bool { return b.Name == a.Name }) {
				x.accountName[a.ID] = a.ID
			}
		}
	}
	if x.users, err = everyPage(func(p store.Page) ([]gatehouse.User, bool, error) { return x.tx.Users(organization, p) }, func(u *gatehouse.User) string { return u.ID }); err != nil {
		return err
	}
	slices.SortStableFunc(x.users, func(a, b gatehouse.User) int { return strings.Compare(a.Email, b.Email) })
	x.userName = map[string]string{}
	taken := map[string]bool{}
	for i := range x.users {
		u := &x.users[i]
		if x.userName[u.ID] = u.Email; u.Email == "" || taken[u.Email] {
			x.userName[u.ID] = u.ID
		}
		taken[u.Email] = true
	}
	if x.groups, err = everyPage(func(p store.Page) ([]gatehouse.Group, bool, error) { return x.tx.Groups(organization, "", p) }, func(g *gatehouse.Group) string { return g.ID }); err != nil {
		return err
	}
	slices.SortStableFunc(x.groups, func(a, b gatehouse.Group) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// manifest puts together everything.
func (x *exporter) manifest() (*Manifest, error) {
	m := &Manifest{}
	for _, part := range []func(*Manifest) error{x.organization, x.people, x.routing, x.projectsOf, x.money, x.priced, x.credits, x.alerts, x.federation, x.external} {
		if err := part(m); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (x *exporter) organization(m *Manifest) error {
	o, err := x.tx.Organization(x.who.Organization)
	if err != nil {
		return err
	}
	m.Organization = &ManifestOrganization{Name: o.Name, TimeZone: o.TimeZone, DataRetention: string(o.DataRetention)}
	if m.Organization.TimeZone == "" {
		m.Organization.TimeZone = "UTC"
	}
	if len(o.HeaderLabels) > 0 {
		m.Organization.HeaderLabels = &o.HeaderLabels
	}
	if r := o.Retention; r != (gatehouse.Retention{}) {
		m.Organization.Retention = &ManifestRetention{Requests: &r.Requests, Minutes: &r.Minutes, Hours: &r.Hours, Usage: &r.Usage}
	}
	list, err := everyPage(func(p store.Page) ([]gatehouse.Certificate, bool, error) { return x.tx.Certificates(o.ID, p) }, func(c *gatehouse.Certificate) string { return c.ID })
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	x.certificates = map[string]string{}
	for i := range list {
		c := &list[i]
		name := c.Name
		if name == "" || taken[name] {
			x.certificates[c.ID] = c.ID
			continue
		}
		taken[name], x.certificates[c.ID] = true, name
		m.Certificates = append(m.Certificates, ManifestCertificate{Name: name, Certificate: c.Content})
	}
	slices.SortStableFunc(m.Certificates, func(a, b ManifestCertificate) int { return strings.Compare(a.Name, b.Name) })
	m.Organization.Certificates = x.certified(o.Certificates)
	m.Organization.SpendLimit, err = x.spendLimit(gatehouse.ScopeOrganization, o.ID)
	if err != nil {
		return err
	}
	m.Organization.SpendAlerts, err = x.spendAlerts("")
	return err
}

// certified returns the names of certificates that are in force.
func (x *exporter) certified(ids []string) *[]string {
	names := []string{}
	for _, id := range ids {
		names = append(names, x.certificates[id])
	}
	return &names
}

// roles returns the custom roles of a place.
func (x *exporter) roles(project string) (list []ManifestRole, err error) {
	rows, err := everyPage(func(p store.Page) ([]gatehouse.AccessRole, bool, error) {
		return x.tx.Roles(x.who.Organization, project, p)
	}, func(v *gatehouse.AccessRole) string { return v.ID })
	for i := range rows {
		list = append(list, ManifestRole{Name: rows[i].Name, Description: rows[i].Description, Permissions: rows[i].Permissions})
	}
	slices.SortStableFunc(list, func(a, b ManifestRole) int { return strings.Compare(a.Name, b.Name) })
	return list, err
}

// assigned returns the names of the roles that are assigned to somebody in a place.
func (x *exporter) assigned(project, principal string) (names []string, err error) {
	list, err := x.tx.Assignments(x.who.Organization, store.AssignmentFilter{Principal: principal, Project: project})
	if err != nil {
		return nil, err
	}
	for i := range list {
		v, err := x.s.role(x.tx, x.who, project, list[i].Role)
		if err != nil {
			return nil, err
		}
		names = append(names, v.Name)
	}
	slices.Sort(names)
	return names, nil
}

func (x *exporter) people(m *Manifest) (err error) {
	if m.Roles, err = x.roles(""); err != nil {
		return err
	}
	for i := range x.users {
		u := &x.users[i]
		roles, err := x.assigned("", u.ID)
		if err != nil {
			return err
		}
		if x.userName[u.ID] == u.ID {
			continue // users are declared by address
		}
		m.Users = append(m.Users, ManifestUser{Email: u.Email, Name: u.Name, Role: string(u.Role), Roles: &roles})
	}
	for i := range x.groups {
		g := &x.groups[i]
		in, err := everyPage(func(p store.Page) ([]gatehouse.GroupUser, bool, error) { return x.tx.GroupUsers(g.ID, p) }, func(u *gatehouse.GroupUser) string { return u.User })
		if err != nil {
			return err
		}
		users := []string{}
		for j := range in {
			users = append(users, x.userName[in[j].User])
		}
		slices.Sort(users)
		roles, err := x.assigned("", g.ID)
		if err != nil {
			return err
		}
		m.Groups = append(m.Groups, ManifestGroup{Name: g.Name, Users: &users, Roles: &roles})
	}
	return nil
}

func (x *exporter) named(ids []string) (names []string) {
	for _, id := range ids {
		if name := x.projectName[id]; name != "" { // an archived one serves nobody
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (x *exporter) routing(m *Manifest) error {
	ups, err := x.tx.Upstreams(x.who.Organization)
	if err != nil {
		return err
	}
	x.upstreamName = map[string]string{}
	for i := range ups {
		u := &ups[i]
		x.upstreamName[u.ID] = u.Name
		m.Upstreams = append(m.Upstreams, ManifestUpstream{Name: u.Name, Dialect: string(u.Dialect), BaseURL: u.BaseURL, APIVersion: u.APIVersion, Region: u.Region,
			Credential: ManifestCredential{Key: u.Credential, Header: u.CredentialHeader}, Projects: x.named(u.Projects), AllowPrivate: u.AllowPrivate, HTTP2: u.HTTP2, Timeouts: u.Timeouts.Spec()})
	}
	deps, err := x.tx.Deployments(x.who.Organization)
	if err != nil {
		return err
	}
	for i := range deps {
		d := &deps[i]
		out := ManifestDeployment{Name: d.Name, Projects: x.named(d.Projects), Sticky: string(d.Sticky)}
		if len(d.Projects) > 0 && len(out.Projects) == 0 {
			continue // it serves archived projects alone; without their names it would serve every one
		}
		for _, r := range d.Routes {
			out.Routes = append(out.Routes, ManifestRoute{Upstream: x.upstreamName[r.Upstream], Model: r.Model, Weight: r.Weight, Priority: r.Priority, PricedAs: r.PricedAs, Timeouts: r.Timeouts.Spec()})
		}
		m.Deployments = append(m.Deployments, out)
	}
	slices.SortStableFunc(m.Upstreams, func(a, b ManifestUpstream) int { return strings.Compare(a.Name, b.Name) })
	slices.SortStableFunc(m.Deployments, func(a, b ManifestDeployment) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), slices.Compare(a.Projects, b.Projects))
	})
	return nil
}

func (x *exporter) projectsOf(m *Manifest) error {
	for i := range x.projects {
		p, err := x.project(&x.projects[i])
		if err != nil {
			return err
		}
		m.Projects = append(m.Projects, *p)
	}
	return nil
}

func (x *exporter) project(p *gatehouse.Project) (out *ManifestProject, err error) {
	denied := p.Policy.DeniedTools.Names()
	out = &ManifestProject{Name: p.Name, Labels: p.Labels, Upstream: x.upstreamName[p.Upstream], Region: p.Region, Models: &ManifestModels{}, DeniedTools: &denied,
		DataRetention: string(retentionName(p.Policy.DataRetention)), ServiceTiers: &ManifestTiers{Default: p.Policy.ServiceTiers.Default}, Certificates: x.certified(p.Policy.Certificates)}
	if x.projectName[p.ID] == p.ID {
		out.ID = p.ID
	}
	switch models := p.Policy.Models; models.Mode {
	case gatehouse.AllowList:
		out.Models.Allow = &models.Models
	case gatehouse.DenyList:
		out.Models.Deny = &models.Models
	}
	if t := p.Policy.ServiceTiers; t.Restricted {
		out.ServiceTiers.Enabled = &t.Enabled
	}
	if out.Roles, err = x.roles(p.ID); err != nil {
		return nil, err
	}
	members, err := everyPage(func(page store.Page) ([]gatehouse.ProjectUser, bool, error) { return x.tx.ProjectUsers(p.ID, page) }, func(u *gatehouse.ProjectUser) string { return u.User })
	if err != nil {
		return nil, err
	}
	for i := range members {
		roles, err := x.assigned(p.ID, members[i].User)
		if err != nil {
			return nil, err
		}
		out.Members = append(out.Members, ManifestMember{User: x.userName[members[i].User], Role: string(members[i].Role), Roles: &roles})
	}
	slices.SortStableFunc(out.Members, func(a, b ManifestMember) int { return strings.Compare(a.User, b.User) })
	in, err := everyPage(func(page store.Page) ([]gatehouse.Group, bool, error) {
		return x.tx.Groups(x.who.Organization, p.ID, page)
	}, func(g *gatehouse.Group) string { return g.ID })
	if err != nil {
		return nil, err
	}
	for i := range in {
		roles, err := x.assigned(p.ID, in[i].ID)
		if err != nil {
			return nil, err
		}
		out.Groups = append(out.Groups, ManifestProjectGroup{Group: in[i].Name, Roles: roles})
	}
	slices.SortStableFunc(out.Groups, func(a, b ManifestProjectGroup) int { return strings.Compare(a.Group, b.Group) })
	for _, a := range x.accounts[p.ID] {
		if !slices.ContainsFunc(out.ServiceAccounts, func(b ManifestServiceAccount) bool { return b.Name == a.Name }) {
			out.ServiceAccounts = append(out.ServiceAccounts, ManifestServiceAccount{Name: a.Name, Role: string(a.Role)})
		}
	}
	resources, err := everyPage(func(page store.Page) ([]gatehouse.Resource, bool, error) {
		return x.tx.Resources(x.who.Organization, p.ID, page)
	}, func(r *gatehouse.Resource) string { return r.ID })
	if err != nil {
		return nil, err
	}
	for _, r := range resources {
		out.Resources = append(out.Resources, ManifestResource{Name: r.Name, Region: r.Region})
	}
	slices.SortStableFunc(out.Resources, func(a, b ManifestResource) int { return strings.Compare(a.Name, b.Name) })
	if out.SpendLimit, err = x.spendLimit(gatehouse.ScopeProject, p.ID); err != nil {
		return nil, err
	}
	out.SpendAlerts, err = x.spendAlerts(p.ID)
	return out, err
}

func (x *exporter) spendLimit(scope gatehouse.Scope, subject string) (*gatehouse.USD, error) {
	list, err := x.tx.Budgets(x.who.Organization)
	if err != nil {
		return nil, err
	}
	var amount gatehouse.USD // 0: there is none
	for i := range list {
		if b := &list[i]; b.Kind == gatehouse.BudgetSpendLimit && b.Scope == scope && b.Subject == subject {
			amount = gatehouse.USD(b.Amount)
		}
	}
	return &amount, nil
}

func (x *exporter) spendAlerts(project string) (*[]ManifestSpendAlert, error) {
	list, err := everyPage(func(p store.Page) ([]gatehouse.SpendAlert, bool, error) {
		return x.tx.SpendAlerts(x.who.Organization, project, p)
	}, func(a *gatehouse.SpendAlert) string { return a.ID })
	if err != nil {
		return nil, err
	}
	out := []ManifestSpendAlert{}
	for i := range list {
		out = append(out, ManifestSpendAlert{Threshold: gatehouse.USD(list[i].Threshold), Recipients: list[i].Recipients, SubjectPrefix: list[i].SubjectPrefix})
	}
	return &out, nil
}

// subject is how a manifest names whom a limit or a budget is about; ok is false for what is gone or cannot be named.
func (x *exporter) subject(scope gatehouse.Scope, id string) (name string, ok bool, err error) {
	switch scope {
	case gatehouse.ScopeOrganization:
		return "", true, nil
	case gatehouse.ScopeProject:
		name = x.projectName[id]
	case gatehouse.ScopeUser:
		name = x.userName[id]
	case gatehouse.ScopeGroup:
		if i := slices.IndexFunc(x.groups, func(g gatehouse.Group) bool { return g.ID == id }); i >= 0 {
			name = x.groups[i].Name
		}
	case gatehouse.ScopeServiceAccount:
		name = x.accountName[id]
	case gatehouse.ScopeKey:
		k, err := x.tx.Key(id)
		if err != nil {
			return "", false, err
		}
		if k.RevokedAt == 0 {
			name = id
		}
	default:
		name = id
	}
	return name, name != "", nil
}

func (x *exporter) money(m *Manifest) error {
	limits, err := x.tx.Limits(x.who.Organization)
	if err != nil {
		return err
	}
	for i := range limits {
		l := &limits[i]
		name, ok, err := x.subject(l.Scope, l.Subject)
		if err != nil {
			return err
		}
		if ok {
			m.Limits = append(m.Limits, ManifestLimit{Scope: string(l.Scope), Subject: name, Model: l.Model, Rates: l.Rates})
		}
	}
	budgets, err := x.tx.Budgets(x.who.Organization)
	if err != nil {
		return err
	}
	for i := range budgets {
		b := &budgets[i]
		name, ok, err := x.subject(b.Scope, b.Subject)
		if err != nil {
			return err
		}
		if !ok || b.Kind != gatehouse.BudgetPlain {
			continue
		}
		amount := gatehouse.USD(b.Amount)
		out := ManifestBudget{Name: b.Name, Scope: string(b.Scope), Subject: name, Amount: &amount, Enforcement: string(b.Enforcement), Uncapped: string(b.Uncapped), UnknownPrice: string(b.UnknownPrice), Alerts: b.Alerts,
			Window: ManifestWindow{Period: string(b.Window.Period), StartDay: b.Window.StartDay, StartMonth: b.Window.StartMonth}}
		m.Budgets = append(m.Budgets, out)
	}
	slices.SortStableFunc(m.Limits, func(a, b ManifestLimit) int {
		return cmp.Or(strings.Compare(a.Scope, b.Scope), strings.Compare(a.Subject, b.Subject), strings.Compare(a.Model, b.Model))
	})
	slices.SortStableFunc(m.Budgets, func(a, b ManifestBudget) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

func (x *exporter) priced(m *Manifest) error {
	list, err := x.tx.Prices(x.who.Organization)
	if err != nil {
		return err
	}
	for i := range list {
		p := &list[i]
		var terms prices.Terms
		if err := json.Unmarshal([]byte(p.Terms), &terms); err != nil {
			return err
		}
		out := ManifestPrice{Upstream: p.Upstream, Dialect: p.Dialect, Model: p.Model, Note: p.Note, Terms: terms}
		if p.From != 0 {
			out.From = time.UnixMilli(int64(p.From)).UTC().Format(time.RFC3339Nano)
		}
		m.Prices = append(m.Prices, out)
	}
	return nil
}

func (x *exporter) credits(m *Manifest) error {
	c, err := x.tx.Credits(x.who.Organization)
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	prepaid := c.Budget != ""
	mode := string(c.Refill.Mode)
	if mode == "" {
		mode = "none"
	}
	m.Credits = &ManifestCredits{Prepaid: &prepaid, Refill: &ManifestRefill{Mode: mode, Below: gatehouse.USD(c.Refill.Below), Add: gatehouse.USD(c.Refill.Add), MonthlyMax: gatehouse.USD(c.Refill.MonthlyMax), Days: c.Refill.Days}}
	grants, err := everyPage(func(p store.Page) ([]gatehouse.Grant, bool, error) { return x.tx.Grants(x.who.Organization, p) }, func(g *gatehouse.Grant) string { return g.ID })
	if err != nil {
		return err
	}
	for i := range grants {
		g := &grants[i]
		if g.Refill || g.RevokedAt != 0 || g.ClosedAt != 0 {
			continue
		}
		amount := gatehouse.USD(g.Amount)
		m.Credits.Grants = append(m.Credits.Grants, ManifestGrant{Name: g.Name, Amount: &amount, Priority: g.Priority, StartsAt: instant(g.StartsAt), ExpiresAt: instant(g.ExpiresAt), Reference: g.Reference, Active: g.ActivatedAt != 0})
	}
	slices.SortStableFunc(m.Credits.Grants, func(a, b ManifestGrant) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// instant returns the time of a moment, the zero time for none.
func instant(at gatehouse.Millis) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(at)).UTC()
}

func (x *exporter) alerts(m *Manifest) error {
	channels, err := x.tx.AlertChannels(x.who.Organization)
	if err != nil {
		return err
	}
	x.channelName = map[string]string{}
	for i := range channels {
		c := &channels[i]
		x.channelName[c.ID] = c.Name
		m.Alerts.Channels = append(m.Alerts.Channels, AlertChannelSpec{Name: c.Name, Kind: c.Kind, Disabled: c.Disabled, URL: c.URL, AllowPrivate: c.AllowPrivate, Recipients: c.Recipients, SubjectPrefix: c.SubjectPrefix})
	}
	rules, err := x.tx.AlertRules(x.who.Organization)
	if err != nil {
		return err
	}
	for i := range rules {
		r := &rules[i]
		out := AlertRuleSpec{Name: r.Name, Kind: r.Kind, Disabled: r.Disabled, Projects: x.named(r.Projects), MinCost: gatehouse.USD(r.MinCost), MinErrs: r.MinErrors, Factor: float64(r.Factor) / 100,
			Spreads: r.Deviations, Days: r.Days, Suspend: r.Suspend}
		if r.Kind == gatehouse.AlertSpendSpike || r.Kind == gatehouse.AlertErrorSpike {
			out.Per = r.Per
		}
		if r.QuietMillis != 0 {
			out.Quiet = (time.Duration(r.QuietMillis) * time.Millisecond).String()
		}
		for _, id := range r.Channels {
			if name := x.channelName[id]; name != "" {
				out.Channels = append(out.Channels, name)
			} else {
				out.Channels = append(out.Channels, id) // the log
			}
		}
		slices.Sort(out.Channels)
		m.Alerts.Rules = append(m.Alerts.Rules, out)
	}
	slices.SortStableFunc(m.Alerts.Channels, func(a, b AlertChannelSpec) int { return strings.Compare(a.Name, b.Name) })
	slices.SortStableFunc(m.Alerts.Rules, func(a, b AlertRuleSpec) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
