package admin

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/store"
)

// ManifestIdentityProvider declares an issuer of tokens by its name, and, where it has rules, all of them.
type ManifestIdentityProvider struct {
	Name            string                    `yaml:"name"`
	Issuer          string                    `yaml:"issuer"`
	Audience        string                    `yaml:"audience"`
	Description     string                    `yaml:"description"`
	Disabled        bool                      `yaml:"disabled"`
	Transformations []ManifestTransformation  `yaml:"attribute_transformations"`
	DiscoveryURL    string                    `yaml:"discovery_url"`
	JWKS            string                    `yaml:"jwks"` // JSON, in the place of discovery
	Rules           *[]ManifestFederationRule `yaml:"rules"`
}

// ManifestTransformation declares how an attribute is made.
type ManifestTransformation struct {
	Attribute  string `yaml:"attribute"`
	Expression string `yaml:"expression"`
}

// ManifestFederationRule declares which tokens become a service account.
type ManifestFederationRule struct {
	Project        string         `yaml:"project"`         // by name or id
	ServiceAccount string         `yaml:"service_account"` // by name or id
	Matchers       map[string]any `yaml:"attribute_matchers"`
	Name           string         `yaml:"name"`
	Description    string         `yaml:"description"`
	Disabled       bool           `yaml:"disabled"`
	Scopes         []string       `yaml:"scopes"` // absent: whatever the service account may do
}

// identityProviders creates and changes issuers of tokens and their rules.
func (a *application) identityProviders(want []ManifestIdentityProvider) error {
	if len(want) == 0 {
		return nil
	}
	have, err := everyPage(func(p store.Page) ([]gatehouse.IdentityProvider, bool, error) {
		return a.tx.IdentityProviders(a.who.Organization, p)
	}, func(p *gatehouse.IdentityProvider) string { return p.ID })
	if err != nil {
		return err
	}
	first := once("identity_providers", "identity provider")
	for i := range want {
		w := &want[i]
		if err := first(w.Name); err != nil {
			return err
		}
		u := IdentityProviderUpdate{Name: Some(w.Name), Issuer: Some(w.Issuer), Audience: Some(w.Audience), Description: Some(w.Description), Disabled: Some(w.Disabled),
			Verification: Some(gatehouse.TokenVerification{DiscoveryURL: w.DiscoveryURL})}
		if w.JWKS != "" {
			u.Verification.Value.JWKS = json.RawMessage(w.JWKS)
		}
		made := []gatehouse.AttributeTransformation{}
		for _, t := range w.Transformations {
			made = append(made, gatehouse.AttributeTransformation(t))
		}
		u.Transformations = Some(made)
		p := &gatehouse.IdentityProvider{Organization: a.who.Organization}
		at := slices.IndexFunc(have, func(p gatehouse.IdentityProvider) bool { return p.Name == w.Name })
		if at >= 0 {
			p = &have[at]
		}
		changes := u.apply(p)
		if err := p.Check(); err != nil {
			return about("Identity provider", w.Name, err)
		}
		ev := gatehouse.Event{Type: "workload_identity_provider.created", Subject: gatehouse.SubjectProvider, SubjectID: p.ID, Change: detail(changes)}
		switch {
		case at < 0:
			p.ID, p.CreatedAt, p.UpdatedAt = gatehouse.NewID(gatehouse.PrefixProvider), a.tx.Now, a.tx.Now
			if err := a.tx.CreateIdentityProvider(p); err != nil {
				return err
			}
			ev.SubjectID = p.ID
			a.tell("create", "identity_provider", w.Name, nil, ev)
		case len(changes) > 0:
			if err := a.s.mayGrantRules(a.tx, a.who, p.ID); err != nil {
				return about("Identity provider", w.Name, err)
			}
			p.UpdatedAt = a.tx.Now
			if err := a.tx.SaveIdentityProvider(p); err != nil {
				return err
			}
			ev.Type = "workload_identity_provider.updated"
			a.tell("update", "identity_provider", w.Name, sortedKeys(changes), ev)
		}
		if w.Rules != nil {
			if err := a.federationRules(p, *w.Rules); err != nil {
				return about("Identity provider", w.Name, err)
			}
		}
	}
	return nil
}

// federationRules makes the rules of a provider those that are wanted. A rule is the same where it says the same.
func (a *application) federationRules(p *gatehouse.IdentityProvider, want []ManifestFederationRule) error {
	have, err := everyPage(func(page store.Page) ([]gatehouse.FederationRule, bool, error) {
		return a.tx.FederationRules(p.ID, "", page)
	}, func(r *gatehouse.FederationRule) string { return r.ID })
	if err != nil {
		return err
	}
	same := func(r, q *gatehouse.FederationRule) bool {
		return r.Project == q.Project && r.ServiceAccount == q.ServiceAccount && reflect.DeepEqual(r.Matchers, q.Matchers) && r.Name == q.Name && r.Description == q.Description &&
			r.Disabled == q.Disabled && slices.Equal(r.Scopes, q.Scopes)
	}
	var wanted []*gatehouse.FederationRule
	for i := range want {
		r, err := a.federationRule(p, &want[i])
		if err != nil {
			return err
		}
		wanted = append(wanted, r)
	}
	for i := range have {
		r := &have[i]
		if slices.ContainsFunc(wanted, func(q *gatehouse.FederationRule) bool { return same(r, q) }) {
			continue
		}
		r.RemovedAt = a.tx.Now
		if err := a.tx.SaveFederationRule(r); err != nil {
			return err
		}
		a.tell("delete", "federation_rule", r.ID, nil, gatehouse.Event{Type: "workload_identity_federation_rule.deleted", Project: r.Project, Subject: gatehouse.SubjectRule, SubjectID: r.ID,
			Change: detail(map[string]any{"workload_identity_provider_id": p.ID})})
	}
	for _, r := range wanted {
		if slices.ContainsFunc(have, func(q gatehouse.FederationRule) bool { return same(r, &q) }) {
			continue
		}
		if err := a.s.mayGrant(a.tx, a.who, r.Project, []string{accountPermission}); err != nil {
			return err
		}
		r.ID, r.CreatedAt, r.UpdatedAt = gatehouse.NewID(gatehouse.PrefixRule), a.tx.Now, a.tx.Now
		if err := a.tx.CreateFederationRule(r); err != nil {
			return err
		}
		a.tell("create", "federation_rule", r.ID, nil, gatehouse.Event{Type: "workload_identity_federation_rule.created", Project: r.Project, Subject: gatehouse.SubjectRule, SubjectID: r.ID,
			Change: detail(map[string]any{"workload_identity_provider_id": p.ID, "service_account_id": r.ServiceAccount, "attribute_matchers": r.Matchers})})
	}
	return nil
}

// federationRule reads a declared rule.
func (a *application) federationRule(p *gatehouse.IdentityProvider, w *ManifestFederationRule) (*gatehouse.FederationRule, error) {
	projects, err := a.s.projectIDs(a.tx, a.who, []string{w.Project})
	if err != nil {
		return nil, err
	}
	account, err := a.s.namedAccount(a.tx, a.who, w.Project+"/"+w.ServiceAccount)
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		account, err = a.s.namedAccount(a.tx, a.who, w.ServiceAccount)
	}
	if err != nil {
		return nil, err
	}
	if account.Project != projects[0] {
		return nil, notFound("service account in project "+w.Project, clipped(w.ServiceAccount))
	}
	r := &gatehouse.FederationRule{Organization: a.who.Organization, Provider: p.ID, Project: account.Project, ServiceAccount: account.ID, Name: w.Name, Description: w.Description, Disabled: w.Disabled}
	if len(w.Scopes) > 0 {
		r.Scopes = slices.Clone(w.Scopes)
	}
	// Numbers are what JSON takes them for, as in the API and in what is stored.
	if err := json.Unmarshal(detail(w.Matchers), &r.Matchers); err != nil {
		return nil, err
	}
	return r, r.Check()
}

// federation exports what identityProviders declares.
func (x *exporter) federation(m *Manifest) error {
	list, err := everyPage(func(p store.Page) ([]gatehouse.IdentityProvider, bool, error) {
		return x.tx.IdentityProviders(x.who.Organization, p)
	}, func(p *gatehouse.IdentityProvider) string { return p.ID })
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	for i := range list {
		p := &list[i]
		if taken[p.Name] {
			continue // a manifest knows a provider by its name
		}
		taken[p.Name] = true
		out := ManifestIdentityProvider{Name: p.Name, Issuer: p.Issuer, Audience: p.Audience, Description: p.Description, Disabled: p.Disabled, DiscoveryURL: p.Verification.DiscoveryURL, JWKS: string(p.Verification.JWKS)}
		for _, t := range p.Transformations {
			out.Transformations = append(out.Transformations, ManifestTransformation(t))
		}
		rules, err := everyPage(func(page store.Page) ([]gatehouse.FederationRule, bool, error) {
			return x.tx.FederationRules(p.ID, "", page)
		}, func(r *gatehouse.FederationRule) string { return r.ID })
		if err != nil {
			return err
		}
		declared := []ManifestFederationRule{}
		for _, r := range rules {
			project := x.projectName[r.Project]
			account := r.ServiceAccount
			if in := x.accounts[r.Project]; project == "" || !slices.ContainsFunc(in, func(a gatehouse.ServiceAccount) bool { return a.ID == account }) {
				continue
			}
			if name := x.accountName[account]; name != account {
				account = strings.TrimPrefix(name, project+"/")
			}
			declared = append(declared, ManifestFederationRule{Project: project, ServiceAccount: account, Matchers: r.Matchers, Name: r.Name, Description: r.Description, Disabled: r.Disabled, Scopes: r.Scopes})
		}
		if len(declared) == len(rules) {
			out.Rules = &declared
		}
		m.IdentityProviders = append(m.IdentityProviders, out)
	}
	slices.SortStableFunc(m.IdentityProviders, func(a, b ManifestIdentityProvider) int { return strings.Compare(a.Name, b.Name) })
	return nil
}
