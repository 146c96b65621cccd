package gatehouse

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// IdentityProvider is an issuer of tokens (OpenID Connect) that workloads elsewhere present to become a service account here, in the
// words of OpenAI's workload identity providers. Which token becomes which service account its FederationRules say.
type IdentityProvider struct {
	ID           string
	Organization string
	Name         string
	Issuer       string // the tokens' iss, an https URL
	Audience     string // the tokens' aud
	Description  string
	Disabled     bool
	// Transformations make attributes out of a token's claims, each by an expression in CEL.
	Transformations []AttributeTransformation
	Verification    TokenVerification
	CreatedAt       Millis
	UpdatedAt       Millis
	RemovedAt       Millis
	Rev             int64
}

// AttributeTransformation makes an attribute.
type AttributeTransformation struct {
	Attribute  string `json:"attribute"`
	Expression string `json:"expression"`
}

// TokenVerification is where the keys are that verify a provider's tokens: those that were uploaded, else those that discovery finds.
type TokenVerification struct {
	DiscoveryURL string          `json:"discovery_url,omitempty"` // where the issuer's metadata is; empty: below the issuer, as OpenID Connect Discovery has it
	JWKS         json.RawMessage `json:"jwks,omitempty"`          // a JSON Web Key Set (RFC 7517) of public keys
}

// FederationRule lets the tokens of a provider that match it act as a service account.
type FederationRule struct {
	ID             string
	Organization   string
	Provider       string
	Project        string
	ServiceAccount string
	Matchers       map[string]any // by attribute: the string, number or boolean that it must be
	Name           string
	Description    string
	Disabled       bool
	Scopes         []string // of the tokens it hands out; nil: whatever the service account may do
	CreatedAt      Millis
	UpdatedAt      Millis
	RemovedAt      Millis
	Rev            int64
}

const (
	maxTransformations = 20
	maxMatchers        = 20
	maxAttribute       = 100
	maxExpression      = 2000
)

// Check returns an Invalid error unless a provider can be used as it is.
func (p *IdentityProvider) Check() error {
	if err := CheckName("name", p.Name); err != nil {
		return err
	}
	if err := checkHTTPS("issuer", p.Issuer); err != nil {
		return err
	}
	if p.Audience == "" || len(p.Audience) > 1000 {
		return InvalidParam("audience", "Invalid 'audience': must have 1 to 1000 characters.")
	}
	if len(p.Description) > 1000 {
		return InvalidParam("description", "Invalid 'description': must have at most 1000 characters.")
	}
	if len(p.Transformations) > maxTransformations {
		return InvalidParam("attribute_transformations", "Invalid 'attribute_transformations': at most %d are allowed.", maxTransformations)
	}
	for i, t := range p.Transformations {
		at := fmt.Sprintf("attribute_transformations[%d]", i)
		if err := checkAttribute(at+".attribute", t.Attribute); err != nil {
			return err
		}
		if t.Expression == "" || len(t.Expression) > maxExpression {
			return InvalidParam(at+".expression", "Invalid '%s.expression': must have 1 to %d characters.", at, maxExpression)
		}
		if slices.ContainsFunc(p.Transformations[:i], func(u AttributeTransformation) bool { return u.Attribute == t.Attribute }) {
			return InvalidParam(at+".attribute", "Invalid '%s.attribute': %q is made twice.", at, t.Attribute)
		}
	}
	v := &p.Verification
	if v.DiscoveryURL != "" {
		return checkHTTPS("verification.discovery_url", v.DiscoveryURL)
	}
	if v.JWKS != nil {
		return checkJWKS("verification.jwks", v.JWKS)
	}
	return nil
}

// Check returns an Invalid error unless a rule can match something and its scopes are known. That its project and service account exist
// it does not check.
func (r *FederationRule) Check() error {
	if r.Name != "" {
		if err := CheckName("name", r.Name); err != nil {
			return err
		}
	}
	if len(r.Description) > 1000 {
		return InvalidParam("description", "Invalid 'description': must have at most 1000 characters.")
	}
	if len(r.Matchers) == 0 || len(r.Matchers) > maxMatchers {
		return InvalidParam("attribute_matchers", "Invalid 'attribute_matchers': must have 1 to %d attributes: a rule without any would let in every token of the provider.", maxMatchers)
	}
	for name, value := range r.Matchers {
		if err := checkAttribute("attribute_matchers", name); err != nil {
			return err
		}
		switch v := value.(type) {
		case bool, float64:
		case string:
			if v == "" || len(v) > 1000 {
				return InvalidParam("attribute_matchers", "Invalid 'attribute_matchers': the value of %q must have 1 to 1000 characters.", name)
			}
		default:
			return InvalidParam("attribute_matchers", "Invalid 'attribute_matchers': the value of %q must be a string, a number or a boolean.", name)
		}
	}
	if r.Scopes != nil && len(r.Scopes) == 0 {
		return InvalidParam("permissions.scopes", "Invalid 'permissions.scopes': must have at least one scope.")
	}
	for i, scope := range r.Scopes {
		if PermissionLevels(scope)&ProjectLevel == 0 || Administrative(scope) {
			return InvalidParam("permissions.scopes", "Invalid 'permissions.scopes': %q is no scope of a key that calls models (docs/roles.md lists them).", scope)
		}
		if slices.Contains(r.Scopes[:i], scope) {
			return InvalidParam("permissions.scopes", "Invalid 'permissions.scopes': %q is there twice.", scope)
		}
	}
	return nil
}

func checkAttribute(param, name string) error {
	if name == "" || len(name) > maxAttribute || strings.ContainsAny(name, " \t\r\n\"'") {
		return InvalidParam(param, "Invalid '%s': an attribute's name has 1 to %d characters without spaces and quotes.", param, maxAttribute)
	}
	return nil
}

// checkHTTPS accepts URLs that anybody who follows them may trust for who answers.
func checkHTTPS(param, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(text) > 1000 {
		return InvalidParam(param, "Invalid '%s': must be an https:// URL without a query, a fragment and a credential.", param)
	}
	return nil
}

// checkJWKS accepts a set of public keys that signatures can be verified with.
func checkJWKS(param string, text json.RawMessage) error {
	invalid := func(format string, args ...any) error {
		return InvalidParam(param, "Invalid '%s': "+format, append([]any{param}, args...)...)
	}
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if len(text) > 64<<10 {
		return invalid("it is longer than 64 KiB.")
	}
	if err := json.Unmarshal(text, &set); err != nil || len(set.Keys) == 0 || len(set.Keys) > 50 {
		return invalid("must be an object with 1 to 50 'keys' (RFC 7517).")
	}
	for i, key := range set.Keys {
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
			if _, there := key[private]; there {
				return invalid("keys[%d] has the member %q of a private key. Upload public keys, and replace that one: it was sent over a network.", i, private)
			}
		}
		kind, _ := key["kty"].(string)
		var parts []string
		switch kind {
		case "RSA":
			parts = []string{"n", "e"}
		case "EC":
			parts = []string{"crv", "x", "y"}
		case "OKP":
			parts = []string{"crv", "x"}
		default:
			return invalid("keys[%d].kty must be RSA, EC or OKP.", i)
		}
		for _, part := range parts {
			value, _ := key[part].(string)
			raw, err := base64.RawURLEncoding.DecodeString(value)
			if value == "" || part != "crv" && err != nil {
				return invalid("keys[%d].%s must be base64url.", i, part)
			}
			if part == "n" && len(raw) < 256 {
				return invalid("keys[%d] is an RSA key of less than 2048 bits.", i)
			}
		}
	}
	return nil
}
