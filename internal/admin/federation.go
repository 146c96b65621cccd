package admin

import (
	"context"
	"maps"
	"reflect"
	"slices"

	"gatehouse"
	"gatehouse/internal/store"
)

// IdentityProviderUpdate makes a provider, or changes what is set of one.
type IdentityProviderUpdate struct {
	Name, Issuer, Audience, Description Optional[string]
	Disabled                            Optional[bool]
	Transformations                     Optional[[]gatehouse.AttributeTransformation]
	Verification                        Optional[gatehouse.TokenVerification]
}

// apply changes a provider and returns the names of what changed with their new values, as events have them.
func (u *IdentityProviderUpdate) apply(p *gatehouse.IdentityProvider) map[string]any {
	changes := map[string]any{}
	text := func(name string, to *string, from Optional[string]) {
		if from.Set && *to != from.Value {
			*to = from.Value
			changes[name] = from.Value
		}
	}
	text("name", &p.Name, u.Name)
	text("issuer", &p.Issuer, u.Issuer)
	text("audience", &p.Audience, u.Audience)
	text("description", &p.Description, u.Description)
	if u.Disabled.Set && p.Disabled != u.Disabled.Value {
		p.Disabled = u.Disabled.Value
		changes["enabled"] = !p.Disabled
	}
	if u.Transformations.Set && !slices.Equal(p.Transformations, u.Transformations.Value) {
		p.Transformations = slices.Clone(u.Transformations.Value)
		changes["attribute_transformations"] = p.Transformations
	}
	if v := u.Verification.Value; u.Verification.Set && (v.DiscoveryURL != p.Verification.DiscoveryURL || string(v.JWKS) != string(p.Verification.JWKS)) {
		p.Verification = v
		changes["verification"] = v
	}
	return changes
}

// CreateIdentityProvider registers an issuer of tokens. Nothing comes of its tokens until there is a rule for them.
func (s *Service) CreateIdentityProvider(ctx context.Context, who *gatehouse.Principal, u IdentityProviderUpdate) (*gatehouse.IdentityProvider, error) {
	p := &gatehouse.IdentityProvider{ID: gatehouse.NewID(gatehouse.PrefixProvider), Organization: who.Organization}
	changes := u.apply(p)
	if err := p.Check(); err != nil {
		return nil, err
	}
	ev := gatehouse.Event{Type: "workload_identity_provider.created", Subject: gatehouse.SubjectProvider, SubjectID: p.ID, Change: detail(changes)}
	_, err := s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		p.CreatedAt, p.UpdatedAt = tx.Now, tx.Now
		return tx.CreateIdentityProvider(p)
	})
	return p, err
}

// UpdateIdentityProvider changes an issuer of tokens.
func (s *Service) UpdateIdentityProvider(ctx context.Context, who *gatehouse.Principal, id string, u IdentityProviderUpdate) (p *gatehouse.IdentityProvider, effect Effect, err error) {
	ev := gatehouse.Event{Type: "workload_identity_provider.updated", Subject: gatehouse.SubjectProvider, SubjectID: id}
	effect, err = s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		if p, err = s.identityProvider(tx, who, id); err != nil {
			return err
		}
		changes := u.apply(p)
		if len(changes) == 0 {
			return errUnchanged
		}
		if err := p.Check(); err != nil {
			return err
		}
		// Another issuer, or another key, may speak for every service account that a rule of the provider names.
		if err := s.mayGrantRules(tx, who, id); err != nil {
			return err
		}
		tx.Event().Change = detail(changes)
		p.UpdatedAt = tx.Now
		return tx.SaveIdentityProvider(p)
	})
	return p, settled(effect, err), unlessUnchanged(err)
}

// DeleteIdentityProvider removes an issuer of tokens that no rule names any more.
func (s *Service) DeleteIdentityProvider(ctx context.Context, who *gatehouse.Principal, id string) (Effect, error) {
	ev := gatehouse.Event{Type: "workload_identity_provider.deleted", Subject: gatehouse.SubjectProvider, SubjectID: id}
	return s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		p, err := s.identityProvider(tx, who, id)
		if err != nil {
			return err
		}
		rules, _, err := tx.FederationRules(id, "", store.Page{Limit: 1})
		if err != nil {
			return err
		}
		if len(rules) > 0 {
			return &gatehouse.Error{Kind: gatehouse.Conflict, Code: "provider_in_use", Message: "The provider " + id + " still has federation rules. Delete them first, " + rules[0].ID + " among them."}
		}
		tx.Event().Change = detail(map[string]any{"name": p.Name})
		p.RemovedAt = tx.Now
		return tx.SaveIdentityProvider(p)
	})
}

// IdentityProvider returns an issuer of tokens.
func (s *Service) IdentityProvider(ctx context.Context, who *gatehouse.Principal, id string) (p *gatehouse.IdentityProvider, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		p, err = s.identityProvider(tx, who, id)
		return err
	})
	return p, err
}

// IdentityProviders lists the organization's issuers of tokens.
func (s *Service) IdentityProviders(ctx context.Context, who *gatehouse.Principal, page store.Page) (list []gatehouse.IdentityProvider, more bool, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		list, more, err = tx.IdentityProviders(who.Organization, page)
		return err
	})
	return list, more, err
}

func (s *Service) identityProvider(tx *store.Tx, who *gatehouse.Principal, id string) (*gatehouse.IdentityProvider, error) {
	p, err := tx.IdentityProvider(id)
	if err != nil || p.Organization != who.Organization || p.RemovedAt != 0 {
		return nil, hide(orNotFound(err), "workload identity provider", clipped(id))
	}
	return p, nil
}

// FederationRuleUpdate makes a rule, or changes what is set of one. Project and ServiceAccount are looked at where it is made.
type FederationRuleUpdate struct {
	Project, ServiceAccount string
	Name, Description       Optional[string]
	Matchers                Optional[map[string]any]
	Disabled                Optional[bool]
	Scopes                  Optional[[]string] // nil: whatever the service account may do
}

func (u *FederationRuleUpdate) apply(r *gatehouse.FederationRule) map[string]any {
	changes := map[string]any{}
	text := func(name string, to *string, from Optional[string]) {
		if from.Set && *to != from.Value {
			*to = from.Value
			changes[name] = from.Value
		}
	}
	text("name", &r.Name, u.Name)
	text("description", &r.Description, u.Description)
	if u.Matchers.Set && !reflect.DeepEqual(r.Matchers, u.Matchers.Value) {
		r.Matchers = maps.Clone(u.Matchers.Value)
		changes["attribute_matchers"] = r.Matchers
	}
	if u.Disabled.Set && r.Disabled != u.Disabled.Value {
		r.Disabled = u.Disabled.Value
		changes["enabled"] = !r.Disabled
	}
	if u.Scopes.Set && !slices.Equal(r.Scopes, u.Scopes.Value) {
		r.Scopes = slices.Clone(u.Scopes.Value)
		changes["scopes"] = r.Scopes
	}
	return changes
}

// accountPermission is what it takes to hand out credentials of a project's service accounts, by whatever way.
const accountPermission = "api.service_accounts.write"

// CreateFederationRule lets tokens of a provider act as a service account. It takes who could make a key of that account.
func (s *Service) CreateFederationRule(ctx context.Context, who *gatehouse.Principal, provider string, u FederationRuleUpdate) (*gatehouse.FederationRule, error) {
	r := &gatehouse.FederationRule{ID: gatehouse.NewID(gatehouse.PrefixRule), Organization: who.Organization, Provider: provider, Project: u.Project, ServiceAccount: u.ServiceAccount}
	changes := u.apply(r)
	if err := r.Check(); err != nil {
		return nil, err
	}
	changes["workload_identity_provider_id"], changes["service_account_id"] = provider, u.ServiceAccount
	ev := gatehouse.Event{Type: "workload_identity_federation_rule.created", Project: u.Project, Subject: gatehouse.SubjectRule, SubjectID: r.ID, Change: detail(changes)}
	_, err := s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		if _, err := s.identityProvider(tx, who, provider); err != nil {
			return err
		}
		if _, err := s.activeProject(tx, who, u.Project); err != nil {
			return err
		}
		a, err := tx.ServiceAccount(u.ServiceAccount)
		if err != nil || a.RemovedAt != 0 || a.Organization != who.Organization || a.Project != u.Project {
			return hide(orNotFound(err), "service account in project "+u.Project, clipped(u.ServiceAccount))
		}
		if err := s.mayGrant(tx, who, u.Project, []string{accountPermission}); err != nil {
			return err
		}
		r.CreatedAt, r.UpdatedAt = tx.Now, tx.Now
		return tx.CreateFederationRule(r)
	})
	return r, err
}

// UpdateFederationRule changes which tokens a rule matches and what they may do.
func (s *Service) UpdateFederationRule(ctx context.Context, who *gatehouse.Principal, provider, id string, u FederationRuleUpdate) (r *gatehouse.FederationRule, effect Effect, err error) {
	ev := gatehouse.Event{Type: "workload_identity_federation_rule.updated", Subject: gatehouse.SubjectRule, SubjectID: id}
	effect, err = s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		if r, err = s.federationRule(tx, who, provider, id); err != nil {
			return err
		}
		changes := u.apply(r)
		if len(changes) == 0 {
			return errUnchanged
		}
		if err := r.Check(); err != nil {
			return err
		}
		if err := s.mayGrant(tx, who, r.Project, []string{accountPermission}); err != nil {
			return err
		}
		tx.Event().Project, tx.Event().Change = r.Project, detail(changes)
		r.UpdatedAt = tx.Now
		return tx.SaveFederationRule(r)
	})
	return r, settled(effect, err), unlessUnchanged(err)
}

// DeleteFederationRule removes a rule.
func (s *Service) DeleteFederationRule(ctx context.Context, who *gatehouse.Principal, provider, id string) (Effect, error) {
	ev := gatehouse.Event{Type: "workload_identity_federation_rule.deleted", Subject: gatehouse.SubjectRule, SubjectID: id}
	return s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		r, err := s.federationRule(tx, who, provider, id)
		if err != nil {
			return err
		}
		tx.Event().Project, tx.Event().Change = r.Project, detail(map[string]any{"workload_identity_provider_id": provider})
		r.RemovedAt = tx.Now
		return tx.SaveFederationRule(r)
	})
}

// FederationRule returns a rule of a provider.
func (s *Service) FederationRule(ctx context.Context, who *gatehouse.Principal, provider, id string) (r *gatehouse.FederationRule, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		r, err = s.federationRule(tx, who, provider, id)
		return err
	})
	return r, err
}

// FederationRules lists a provider's rules, with account not empty those for that service account.
func (s *Service) FederationRules(ctx context.Context, who *gatehouse.Principal, provider, account string, page store.Page) (list []gatehouse.FederationRule, more bool, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		if _, err := s.identityProvider(tx, who, provider); err != nil {
			return err
		}
		list, more, err = tx.FederationRules(provider, account, page)
		return err
	})
	return list, more, err
}

func (s *Service) federationRule(tx *store.Tx, who *gatehouse.Principal, provider, id string) (*gatehouse.FederationRule, error) {
	if _, err := s.identityProvider(tx, who, provider); err != nil {
		return nil, err
	}
	r, err := tx.FederationRule(id)
	if err != nil || r.Organization != who.Organization || r.Provider != provider || r.RemovedAt != 0 {
		return nil, hide(orNotFound(err), "federation rule", clipped(id))
	}
	return r, nil
}

// mayGrantRules checks that who could hand out what every rule of a provider hands out.
func (s *Service) mayGrantRules(tx *store.Tx, who *gatehouse.Principal, provider string) error {
	projects := map[string]bool{}
	for after := ""; ; {
		rules, more, err := tx.FederationRules(provider, "", store.Page{After: after, Limit: 100})
		if err != nil {
			return err
		}
		for i := range rules {
			if projects[rules[i].Project] {
				continue
			}
			projects[rules[i].Project] = true
			if err := s.mayGrant(tx, who, rules[i].Project, []string{accountPermission}); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		after = rules[len(rules)-1].ID
	}
}

// providerSubject is put back to what was trusted last, and to being disabled.
func providerSubject(tx *store.Tx, p *gatehouse.IdentityProvider) *subject {
	if p == nil {
		return nil
	}
	return &subject{
		standing: func() standing {
			row := *p
			row.Rev, row.UpdatedAt = 0, 0
			return standing{Gone: p.RemovedAt != 0, Provider: &row}
		},
		narrow: func(tx *store.Tx, to *standing) error {
			if to.Gone || to.Provider == nil {
				p.RemovedAt = tx.Now
				return nil
			}
			p.Issuer, p.Audience, p.Transformations, p.Verification = to.Provider.Issuer, to.Provider.Audience, to.Provider.Transformations, to.Provider.Verification
			p.Disabled = p.Disabled || to.Provider.Disabled
			return nil
		},
		save: func() error { return tx.SaveIdentityProvider(p) },
	}
}

// ruleSubject is put back to what matched last, with no more scopes than the backup has.
func ruleSubject(tx *store.Tx, r *gatehouse.FederationRule) *subject {
	if r == nil {
		return nil
	}
	return &subject{
		project: r.Project,
		standing: func() standing {
			row := *r
			row.Rev, row.UpdatedAt, row.Scopes = 0, 0, slices.Clone(r.Scopes)
			return standing{Gone: r.RemovedAt != 0, Rule: &row}
		},
		narrow: func(tx *store.Tx, to *standing) error {
			if to.Gone || to.Rule == nil {
				r.RemovedAt = tx.Now
				return nil
			}
			r.Matchers, r.Disabled = to.Rule.Matchers, r.Disabled || to.Rule.Disabled
			r.Scopes = narrowed(r.Scopes, to.Rule.Scopes, equal)
			return nil
		},
		save: func() error { return tx.SaveFederationRule(r) },
	}
}

// unlessUnchanged is nil for a change that had nothing to change.
func unlessUnchanged(err error) error {
	if err == errUnchanged {
		return nil
	}
	return err
}

// settled is the effect of a change, which holds everywhere where there was nothing to change.
func settled(effect Effect, err error) Effect {
	if err == errUnchanged {
		return Effect{Everywhere: true}
	}
	return effect
}
