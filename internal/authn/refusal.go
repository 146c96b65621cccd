package authn

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"gatehouse"
)

// Rule names why a credential was refused. It is for records, metrics and the audit log: some rules tell apart what the caller
// must not be able to tell apart. It is the cause of every error this package returns.
type Rule string

// The rules, a closed set.
const (
	KeyMalformed         Rule = "key_malformed"          // not the text of a key, or its checksum does not hold
	KeyForeign           Rule = "key_foreign"            // another provider's credential
	KeyOtherInstallation Rule = "key_other_installation" // a key of another Gatehouse
	KeyUnknown           Rule = "key_unknown"            // nobody issued this id
	SecretWrong          Rule = "secret_wrong"           // the id is known, the secret is not its
	TooManyFailures      Rule = "too_many_failures"      // any of the above, once too often
	KeyRevoked           Rule = "key_revoked"            // from here on the secret was right
	KeyExpired           Rule = "key_expired"            //
	KeySuspended         Rule = "key_suspended"          //
	KeyClass             Rule = "key_class"              // an admin key that calls models, or another that administers
	OwnerRemoved         Rule = "owner_removed"          // the user or service account is gone
	OwnerLeftProject     Rule = "owner_left_project"     // the user is no longer a member of the key's project
	OwnerRole            Rule = "owner_role"             // the user's role does not reach this far
	ProjectArchived      Rule = "project_archived"       //
	ProjectMissing       Rule = "project_missing"        // a user's own key, no project named, no default project
	OrganizationGone     Rule = "organization_gone"      //
	OrganizationMismatch Rule = "organization_mismatch"  // OpenAI-Organization names another
	ProjectMismatch      Rule = "project_mismatch"       // OpenAI-Project names another
	IPNotAllowed         Rule = "ip_not_allowed"         //
	CertificateMissing   Rule = "certificate_missing"    // the organization or the project demands a client certificate
	CertificateUntrusted Rule = "certificate_untrusted"  // it was shown one that none of those in force issued, or that is not valid
	ScopeMissing         Rule = "scope_missing"          //
	ModelNotAllowed      Rule = "model_not_allowed"      // the key's own list of models
	NotFresh             Rule = "authority_not_renewed"  // this node may not decide: its lease has run out
	PepperMissing        Rule = "pepper_missing"         // nor here: the key's digest is under a pepper this node has not got
)

// Rules lists every rule.
var Rules = []Rule{KeyMalformed, KeyForeign, KeyOtherInstallation, KeyUnknown, SecretWrong, TooManyFailures, KeyRevoked, KeyExpired, KeySuspended, KeyClass,
	OwnerRemoved, OwnerLeftProject, OwnerRole, ProjectArchived, ProjectMissing, OrganizationGone, OrganizationMismatch, ProjectMismatch, IPNotAllowed,
	CertificateMissing, CertificateUntrusted,
	ScopeMissing, ModelNotAllowed, NotFresh, PepperMissing}

// Error returns the rule's name, for logs.
func (r Rule) Error() string { return string(r) }

// RuleOf returns the rule behind an error of this package, "" for any other error.
func RuleOf(err error) Rule {
	r, _ := errors.AsType[Rule](err)
	return r
}

// The texts say what is wrong and then what to do. Where OpenAI has a text for the case it comes first and unchanged, because
// people search for it.

func refused(rule Rule, code, format string, args ...any) *gatehouse.Error {
	return &gatehouse.Error{Kind: gatehouse.Unauthenticated, Code: code, Message: fmt.Sprintf(format, args...), NoRetry: true, Err: rule}
}

// incorrect is the one answer to everybody who does not know a secret. masked is how the presented text is shown.
func incorrect(rule Rule, masked, hint string) *gatehouse.Error {
	return refused(rule, "invalid_api_key", "Incorrect API key provided: %s. %s", masked, hint)
}

const (
	hintWrong     = "Check that you use the key exactly as it was shown when it was created; it cannot be shown again. The administrator of this gateway can create another one (gatehouse keys create)."
	hintChecksum  = "It looks like a key of this gateway, but its checksum does not hold: it was cut or extended. A whole key of its class has %d characters, this one has %d."
	hintMistyped  = "It looks like a key of this gateway and has the right length, but its checksum does not hold: a character of it is wrong. Copy it again."
	hintMalformed = "This gateway accepts the keys it issued itself: they begin with sk-proj-gtk, sk-svcacct-gtk, sk-user-gtk, sk-admin-gtk or sk-azure-gtk. Ask the administrator of this gateway for one."
	hintElsewhere = "It is a well-formed key of another Gatehouse installation. Check the base URL, or ask the administrator of this gateway for a key of this one."
)

func foreignCredential(provider string) *gatehouse.Error {
	return refused(KeyForeign, "foreign_credential", "This is a credential of another provider (%s), not a key of this gateway. It was neither forwarded nor logged. "+
		"Treat it as leaked: revoke it at the provider. Then ask the administrator of this gateway for a key of your own; the provider's credential stays with the gateway.", provider)
}

func tooMany(wait time.Duration) *gatehouse.Error {
	return &gatehouse.Error{Kind: gatehouse.RateLimited, Code: "too_many_auth_failures", Param: "requests", NoRetry: true, RetryAfterMillis: max(1, wait.Milliseconds()), Err: TooManyFailures,
		Message: "Too many requests with a wrong API key. Stop the client that sends them and check its key; requests with the right key are not affected and are answered at once."}
}

func stale() *gatehouse.Error {
	return &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "auth_unavailable", RetryAfterMillis: 1000, Err: NotFresh,
		Message: "This node cannot check keys at the moment, because it has not heard from its database for too long. Try again; if it persists, give the administrator of this gateway the x-request-id of this answer."}
}

func pepperMissing() *gatehouse.Error {
	return &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "auth_unavailable", RetryAfterMillis: 1000, Err: PepperMissing,
		Message: "This node cannot check this key at the moment, because it lacks the version of the pepper that the key was digested under. Try again; if it persists, give the administrator of this gateway the x-request-id of this answer."}
}

func keyRevoked(class gatehouse.Class) *gatehouse.Error {
	if class == gatehouse.ClassAzure {
		return refused(KeyRevoked, "api_key_revoked", "This API key was revoked, or made anew in its resource, and will never work again. Use the resource's other key, or ask the administrator of this gateway for the new one (gatehouse resources regenerate-key).")
	}
	return refused(KeyRevoked, "api_key_revoked", "This API key was revoked and will never work again. Ask the administrator of this gateway for a new one (gatehouse keys create).")
}

func keyExpired(at gatehouse.Millis) *gatehouse.Error {
	return refused(KeyExpired, "api_key_expired", "This API key expired on %s. Ask the administrator of this gateway for a new one (gatehouse keys create).", at.Time().Format("2006-01-02 15:04:05 UTC"))
}

func keySuspended() *gatehouse.Error {
	return refused(KeySuspended, "api_key_suspended", "This API key is suspended. The administrator of this gateway can resume it (gatehouse keys resume).")
}

func adminKeyOnData() *gatehouse.Error {
	return refused(KeyClass, "missing_scope", "You have insufficient permissions for this operation. Missing scopes: %s. This is an admin key: it administers and cannot call models. Use a project, service account or user key.", gatehouse.ModelRequest)
}

func notAdminKey() *gatehouse.Error {
	e := refused(KeyClass, "missing_scope", "You have insufficient permissions for this operation. Missing scopes: api.management.read. This is not an admin key; administration takes one that begins with sk-admin-.")
	e.Kind = gatehouse.Forbidden
	return e
}

func missingScope(pl plane, scope string) *gatehouse.Error {
	e := refused(ScopeMissing, "missing_scope", "You have insufficient permissions for this operation. Missing scopes: %s. This API key is restricted; use another one, or ask the administrator of this gateway to add the scope (gatehouse keys update).", scope)
	if pl == adminPlane {
		e.Kind = gatehouse.Forbidden
	}
	return e
}

func roleLacks(pl plane, scope string) *gatehouse.Error {
	where := "project"
	if pl == adminPlane {
		where = "organization"
	}
	e := refused(OwnerRole, "missing_scope", "You have insufficient permissions for this operation. Missing scopes: %s. The owner of this API key has no role in the %s that includes it. Ask an owner of the organization for one (gatehouse roles assign).", scope, where)
	if pl == adminPlane {
		e.Kind = gatehouse.Forbidden
	}
	return e
}

func modelRefused(model string) *gatehouse.Error {
	return &gatehouse.Error{Kind: gatehouse.Forbidden, Code: "model_not_found", Param: "model", NoRetry: true, Err: ModelNotAllowed,
		Message: fmt.Sprintf("This API key does not have access to model `%s`. Use one of the models it may use (GET /v1/models lists them), or ask the administrator of this gateway to add it (gatehouse keys update).", printable(model))}
}

// modelDenied is as OpenAI answers.
func modelDenied(project, model string) *gatehouse.Error {
	return &gatehouse.Error{Kind: gatehouse.Forbidden, Code: "model_not_found", Param: "model", NoRetry: true, Err: ModelNotAllowed,
		Message: fmt.Sprintf("Project `%s` does not have access to model `%s`. GET /v1/models lists the models it may use; the administrator of this gateway says which those are (gatehouse projects permissions).", project, printable(model))}
}

func ownerRemoved(what string) *gatehouse.Error {
	return refused(OwnerRemoved, "owner_removed", "This API key no longer works, because the %s it belonged to was removed. Ask the administrator of this gateway for a new key.", what)
}

func ownerLeft(project string) *gatehouse.Error {
	return refused(OwnerLeftProject, "owner_left_project", "This API key does not work, because its owner is not a member of project %s. It works again when the administrator of this gateway adds the owner back to the project.", project)
}

func accountWithoutRole() *gatehouse.Error {
	return refused(OwnerRole, "owner_role", "This API key does not work, because the service account it belongs to has the role none in its project. It works again when the service account is given the role member.")
}

func projectArchived(project string) *gatehouse.Error {
	return refused(ProjectArchived, "project_archived", "Project %s is archived, and its API keys stopped for good. Use a key of another project.", project)
}

func organizationGone() *gatehouse.Error {
	return refused(OrganizationGone, "no_organization", "You must be a member of an organization to use the API. The organization of this API key is not there; ask the administrator of this gateway.")
}

func noProject() *gatehouse.Error {
	return refused(ProjectMissing, "no_project", "This is a user's own API key and the organization has no default project. Name a project with the OpenAI-Project header.")
}

func mismatchedOrganization() *gatehouse.Error {
	return refused(OrganizationMismatch, "mismatched_organization", "OpenAI-Organization header should match organization for API key. Leave the header out (OPENAI_ORG_ID in SDKs), or send the id of the key's organization.")
}

func mismatchedProject(class gatehouse.Class) *gatehouse.Error {
	const text = "OpenAI-Project header should match project for API key. "
	if class == gatehouse.ClassUser {
		return refused(ProjectMismatch, "mismatched_project", text+"This is a user's own key: send the id of a project that its owner is a member of (OPENAI_PROJECT_ID in SDKs), or leave the header out for the organization's default project.")
	}
	return refused(ProjectMismatch, "mismatched_project", text+"Leave the header out (OPENAI_PROJECT_ID in SDKs), or send the id of the key's project.")
}

func addressRefused(addr netip.Addr) *gatehouse.Error {
	from := "an address that is not known"
	if addr.IsValid() {
		from = addr.Unmap().String()
	}
	return refused(IPNotAllowed, "ip_not_authorized", "Your IP is not authorized to access this organization. The request comes from %s, which is not among the addresses this API key may be used from. Ask the administrator of this gateway to add it (gatehouse keys update).", from)
}

func certificateMissing() *gatehouse.Error {
	return refused(CertificateMissing, "client_certificate_required", "This project demands a client certificate (mutual TLS), and the connection bears none. Call the listener that asks for one with a certificate of your own; the administrator of this gateway says which and where (gatehouse certificates).")
}

func certificateUntrusted() *gatehouse.Error {
	return refused(CertificateUntrusted, "client_certificate_not_trusted", "The client certificate of this connection is not one this project accepts: none of the certificates in force issued it for use by clients, or it is not valid at this time. Ask the administrator of this gateway (gatehouse certificates).")
}

// printable returns a client's text for a message, cut and without control characters.
func printable(s string) string {
	out := make([]rune, 0, 64)
	for _, r := range s {
		if len(out) == 100 {
			return string(out) + "..."
		}
		if r < ' ' || r == 0x7f || r == '`' || r == '\ufffd' {
			r = '?'
		}
		out = append(out, r)
	}
	return string(out)
}
