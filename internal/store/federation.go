package store

import "gatehouse"

const providerSelect = `SELECT id, organization, name, issuer, audience, description, disabled, transformations, verification, created_at, updated_at, removed_at, rev FROM identity_providers`

func scanProvider(r row, p *gatehouse.IdentityProvider) error {
	var disabled int64
	var transformations, verification []byte
	if err := r.Scan(&p.ID, &p.Organization, &p.Name, &p.Issuer, &p.Audience, &p.Description, &disabled, &transformations, &verification,
		(*int64)(&p.CreatedAt), (*int64)(&p.UpdatedAt), (*int64)(&p.RemovedAt), &p.Rev); err != nil {
		return err
	}
	p.Disabled = disabled != 0
	if err := fromJSON("transformations", transformations, &p.Transformations); err != nil {
		return err
	}
	return fromJSON("verification", verification, &p.Verification)
}

func verificationJSON(v *gatehouse.TokenVerification) string {
	return asJSON(v, len(v.DiscoveryURL)+len(v.JWKS))
}

// CreateIdentityProvider stores a new provider and sets its Rev, and CreatedAt and UpdatedAt where they are 0.
func (tx *Tx) CreateIdentityProvider(p *gatehouse.IdentityProvider) error {
	const query = `INSERT INTO identity_providers (id, organization, name, issuer, audience, description, disabled, transformations, verification, created_at, updated_at, removed_at, rev)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1)`
	tx.stamp(&p.CreatedAt)
	tx.stamp(&p.UpdatedAt)
	return tx.create("identity provider", p.ID, &p.Rev, query, p.ID, p.Organization, p.Name, p.Issuer, p.Audience, p.Description, truth(p.Disabled),
		asJSON(p.Transformations, len(p.Transformations)), verificationJSON(&p.Verification), int64(p.CreatedAt), int64(p.UpdatedAt), int64(p.RemovedAt))
}

// SaveIdentityProvider stores a changed provider: everything but ID, Organization and CreatedAt. RemovedAt, once set, stays.
func (tx *Tx) SaveIdentityProvider(p *gatehouse.IdentityProvider) error {
	const query = `UPDATE identity_providers SET rev = rev + 1, name = $3, issuer = $4, audience = $5, description = $6, disabled = $7, transformations = $8, verification = $9, updated_at = $10, removed_at = $11
		WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $11)`
	const exists = `SELECT rev FROM identity_providers WHERE id = $1`
	return tx.save("identity provider", p.ID, &p.Rev, query, exists, p.Name, p.Issuer, p.Audience, p.Description, truth(p.Disabled),
		asJSON(p.Transformations, len(p.Transformations)), verificationJSON(&p.Verification), int64(p.UpdatedAt), int64(p.RemovedAt))
}

// IdentityProvider returns a provider, removed or not.
func (tx *Tx) IdentityProvider(id string) (*gatehouse.IdentityProvider, error) {
	return one(tx, "identity provider", id, scanProvider, providerSelect+` WHERE id = $1`, id)
}

// IdentityProviders returns a page of an organization's providers without removed ones.
func (tx *Tx) IdentityProviders(organization string, p Page) ([]gatehouse.IdentityProvider, bool, error) {
	l := list[gatehouse.IdentityProvider]{what: "identity providers", query: providerSelect, from: "identity_providers", age: "created_at", id: "id", scan: scanProvider}
	l.scope.and("organization = ?", organization)
	l.filter = l.scope.clone()
	l.filter.and("removed_at = 0")
	return page(tx, l, p)
}

// EachIdentityProvider calls fn with every provider, removed ones too, in no order.
func (tx *Tx) EachIdentityProvider(fn func(*gatehouse.IdentityProvider) error) error {
	return each(tx, "identity providers", scanProvider, fn, providerSelect)
}

const ruleSelect = `SELECT id, organization, provider, project, service_account, matchers, name, description, disabled, scopes, created_at, updated_at, removed_at, rev FROM federation_rules`

func scanRule(r row, v *gatehouse.FederationRule) error {
	var disabled int64
	var matchers, scopes []byte
	if err := r.Scan(&v.ID, &v.Organization, &v.Provider, &v.Project, &v.ServiceAccount, &matchers, &v.Name, &v.Description, &disabled, &scopes,
		(*int64)(&v.CreatedAt), (*int64)(&v.UpdatedAt), (*int64)(&v.RemovedAt), &v.Rev); err != nil {
		return err
	}
	v.Disabled = disabled != 0
	if err := fromJSON("matchers", matchers, &v.Matchers); err != nil {
		return err
	}
	return fromJSON("scopes", scopes, &v.Scopes)
}

// CreateFederationRule stores a new rule and sets its Rev, and CreatedAt and UpdatedAt where they are 0. Its provider must exist in its
// organization.
func (tx *Tx) CreateFederationRule(v *gatehouse.FederationRule) error {
	const query = `INSERT INTO federation_rules (id, organization, provider, project, service_account, matchers, name, description, disabled, scopes, created_at, updated_at, removed_at, rev)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1)`
	tx.stamp(&v.CreatedAt)
	tx.stamp(&v.UpdatedAt)
	return tx.create("federation rule", v.ID, &v.Rev, query, v.ID, v.Organization, v.Provider, v.Project, v.ServiceAccount, asJSON(v.Matchers, len(v.Matchers)), v.Name, v.Description,
		truth(v.Disabled), asJSON(v.Scopes, len(v.Scopes)), int64(v.CreatedAt), int64(v.UpdatedAt), int64(v.RemovedAt))
}

// SaveFederationRule stores a changed rule: its matchers, name, description, scopes, whether it is disabled, and RemovedAt, which once set
// stays.
func (tx *Tx) SaveFederationRule(v *gatehouse.FederationRule) error {
	const query = `UPDATE federation_rules SET rev = rev + 1, matchers = $3, name = $4, description = $5, disabled = $6, scopes = $7, updated_at = $8, removed_at = $9
		WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $9)`
	const exists = `SELECT rev FROM federation_rules WHERE id = $1`
	return tx.save("federation rule", v.ID, &v.Rev, query, exists, asJSON(v.Matchers, len(v.Matchers)), v.Name, v.Description, truth(v.Disabled),
		asJSON(v.Scopes, len(v.Scopes)), int64(v.UpdatedAt), int64(v.RemovedAt))
}

// FederationRule returns a rule, removed or not.
func (tx *Tx) FederationRule(id string) (*gatehouse.FederationRule, error) {
	return one(tx, "federation rule", id, scanRule, ruleSelect+` WHERE id = $1`, id)
}

// FederationRules returns a page of a provider's rules without removed ones, with account not empty those for that service account.
func (tx *Tx) FederationRules(provider, account string, p Page) ([]gatehouse.FederationRule, bool, error) {
	l := list[gatehouse.FederationRule]{what: "federation rules", query: ruleSelect, from: "federation_rules", age: "created_at", id: "id", scan: scanRule}
	l.scope.and("provider = ?", provider)
	l.filter = l.scope.clone()
	l.filter.and("removed_at = 0")
	if account != "" {
		l.filter.and("service_account = ?", account)
	}
	return page(tx, l, p)
}

// EachFederationRule calls fn with every rule, removed ones too, in no order.
func (tx *Tx) EachFederationRule(fn func(*gatehouse.FederationRule) error) error {
	return each(tx, "federation rules", scanRule, fn, ruleSelect)
}
