// Package doctor explains refusals: one table of every status, code and rule that Gatehouse answers with, what each means and what
// to do about it, and the reading of what somebody pasted. docs/keys.md and docs/errors.md show the same table.
//
// It owns words. What is checked on a host is in package server.
package doctor

// Cause is one reason for a refusal.
type Cause struct {
	Status string // one status, or several: "401, 403"
	Code   string // error.code; "null" where there is none
	Rule   string // the rule as `gatehouse explain` shows it; "" where it is not a credential's
	What   string
	Fix    string
}

// Credentials are the causes about a credential: the table of docs/keys.md.
var Credentials = []Cause{
	{"401", "null", "", "no credential was sent", "send `Authorization: Bearer KEY`"},
	{"401", "invalid_api_key", "key_malformed", "not the text of a key of ours, or its checksum does not hold", "copy the whole key; the message says how long it should be"},
	{"401", "invalid_api_key", "key_other_installation", "a key of another Gatehouse", "check the base URL"},
	{"401", "invalid_api_key", "key_unknown", "nobody issued this id", "use a key of this installation; a key made after the backup that the database was restored from is gone as well"},
	{"401", "invalid_api_key", "secret_wrong", "the id exists, the secret is not its", "copy the key again, or have a new one made; if it was not you, somebody is guessing or holds an old copy"},
	{"401", "foreign_credential", "key_foreign", "a credential of OpenAI, Azure, Anthropic, AWS or another provider", "treat it as leaked: revoke it at the provider; the audit log has an event with a fingerprint, the first 12 digits of its SHA-256 (`printf %s KEY \\| sha256sum`)"},
	{"429", "too_many_auth_failures", "too_many_failures", "too many wrong keys from one address, or for one id", "stop the client that sends them; the right key is never held up"},
	{"401", "api_key_revoked", "key_revoked", "the key was revoked, or regenerated in its Resource", "make a new one"},
	{"401", "api_key_expired", "key_expired", "its `expires_at` has come", "make a new one"},
	{"401", "api_key_suspended", "key_suspended", "it is suspended", "`gatehouse keys resume`"},
	{"401", "owner_removed", "owner_removed", "the user, service account or resource it belonged to is gone", "make a key for another owner"},
	{"401", "owner_left_project", "owner_left_project", "its owner is not a member of its project", "add the owner to the project"},
	{"401", "owner_role", "owner_role", "an admin key of a user who is not an owner of the organization, or a key of a service account with the role `none`", "give the user the role `owner`, the service account the role `member`"},
	{"401", "missing_scope", "owner_role", "the key's owner is a viewer in the project", "give the owner the role `member`"},
	{"401", "project_archived", "project_archived", "the project is archived", "use a key of another project"},
	{"401", "no_project", "project_missing", "a user's own key, no project named, no default project", "send `OpenAI-Project`"},
	{"401", "no_organization", "organization_gone", "the key's organization is not there", "ask the operator"},
	{"401", "mismatched_organization", "organization_mismatch", "`OpenAI-Organization` is not the key's organization", "unset `OPENAI_ORG_ID` or correct it"},
	{"401", "mismatched_project", "project_mismatch", "`OpenAI-Project` is not the key's project; for a user's own key: not one the owner is a member of", "unset `OPENAI_PROJECT_ID` or correct it"},
	{"401", "ip_not_authorized", "ip_not_allowed", "the address is not among the key's", "the message names the address; add it, or correct `trusted_proxies`"},
	{"401", "missing_scope", "key_class", "an admin key was used to call models", "use a project, service account or user key"},
	{"403", "missing_scope", "key_class", "another key was used to administer", "use an admin key"},
	{"401, 403", "missing_scope", "scope_missing", "the key's scopes do not cover this; 403 on the administration API", "use another key or add the scope"},
	{"403", "model_not_found", "model_not_allowed", "the key's own list of models lacks this one", "use another model or add it"},
	{"503", "auth_unavailable", "authority_not_renewed", "the node has not heard from its database for longer than `max_staleness` and may not decide", "try again; see docs/operations.md"},
	{"503", "auth_unavailable", "pepper_missing", "the key is under a version of the pepper that this node has not got", "put the version into the pepper of that node; the log names it"},
}

// Requests are the causes about everything else: the table of docs/errors.md.
var Requests = []Cause{
	{"400", "invalid_json", "", "the body is not one JSON object in UTF-8, or it is too deep", "send one JSON object; print what your client sends"},
	{"400", "duplicate_field", "", "a field that decides something is in the body twice, so that two readers could see two requests", "send it once; `param` names it"},
	{"400", "ambiguous_field", "", "a field that decides something is written in another case or with escapes", "write it as the API's reference does; `param` names it"},
	{"400", "invalid_type", "", "a field that decides something has a value of the wrong kind", "send the kind the API's reference says; `param` names it"},
	{"400", "invalid_multipart", "", "the body is no form, or one that parsers read differently", "let an SDK or `curl -F` build the form"},
	{"413", "field_too_large", "", "a field of a form that must be read is too large", "shorten it; `param` names it"},
	{"400", "invalid_batch_line", "", "a line of a batch's file is not a request", "correct the line; the message names it"},
	{"400", "duplicate_custom_id", "", "two lines of a batch's file have one `custom_id`", "give each line its own; the message names them"},
	{"400", "mismatched_endpoint", "", "a line of a batch's file calls another endpoint than the others, or one that batches do not", "one file for each endpoint"},
	{"400", "invalid_batch_file", "", "a batch's file is empty or too large", "split it; the message names the limit"},
	{"400", "batch_file_unread", "", "a batch over a file whose lines the gateway has not read", "upload the file through this gateway with purpose `batch`, then create the batch over it"},
	{"400", "batch_has_no_one_way", "", "no single upstream can take every line of a batch", "one file for each deployment, or a deployment whose upstream has all the models"},
	{"400", "missing_required_parameter", "", "a field is missing; for `model`, the endpoint has no default", "send it; `param` names it"},
	{"400", "duplicate_header", "", "Content-Type is there twice", "send it once"},
	{"400", "incomplete_body", "", "the body ended before its announced length", "send it again; look at proxies in between"},
	{"400", "slow_body", "", "the body arrived too slowly", "send it again, or in smaller requests"},
	{"400", "upstream_ambiguous", "", "the call names no model and the project can reach several upstreams", "set the project's `upstream`, in the manifest or with `gatehouse projects update`"},
	{"400", "upstream_missing", "", "the call names no model and the project can reach no upstream", "declare an upstream, and a deployment that routes to it"},
	{"400", "project_archived", "", "the project is archived, which is final", "use another project"},
	{"400, 413", "invalid_url", "", "the path or the query is malformed or too long", "percent-encode what is no plain character; use the SDK's own methods"},
	{"404", "null", "", "no such path, or no such object in this project: what another project made is not there for this one", "check the base URL (`https://HOST/v1` for OpenAI clients, `https://HOST` for Azure's) and that the key is of the project that made the object"},
	{"404", "model_not_found", "", "no deployment of this name for this project (Azure: `DeploymentNotFound`)", "`gatehouse deployments list` shows the names; declare one, or correct `model`"},
	{"404", "upstream_removed", "", "the upstream that holds the object is no longer configured", "declare the upstream again, or make the object anew"},
	{"403", "model_not_found", "", "the model belongs to another project, as a fine-tuned model does", "use one this project may use: GET /v1/models"},
	{"403", "missing_scope", "", "a credential that does not administer was used on the administration API", "use an admin key"},
	{"403", "shared_upstream", "", "a product whose objects cannot be told apart, and the upstream's credential serves, or has served, several projects", "give the project an upstream with a credential of its own"},
	{"403", "unsupported_endpoint", "", "the endpoint cannot be metered yet and is refused in both dialects", "use another; docs/api.md lists what is served"},
	{"405", "null", "", "the path is there, the method is not", "use the method of the API's reference"},
	{"401", "invalid_api_key", "", "a credential was sent in a form that is not one: an unknown scheme, two that differ, a key in the URL", "send it once, as `Authorization: Bearer KEY` or `api-key: KEY`"},
	{"413", "null", "", "the body or a header is larger than the node's limit", "send less, or raise `limits.body`"},
	{"415", "unsupported_media_type", "", "a body of a type that must be read and cannot be", "send JSON, or the form that the API's reference says"},
	{"415", "unsupported_content_encoding", "", "the request's body is compressed", "send it uncompressed"},
	{"409", "key_revoked", "", "the key is revoked, which is final", "make a new one"},
	{"409", "last_admin_key", "", "it is the organization's last usable admin key", "make another first"},
	{"409", "last_owner", "", "it is the organization's last owner", "make somebody else an owner first"},
	{"409", "resource_exists", "", "the project has a resource of this name", "choose another name"},
	{"409", "upstream_in_use", "", "deployments route to the upstream", "remove the routes first"},
	{"409", "alert_channel_in_use", "", "an alert rule names the channel", "take it out of the rule first"},
	{"429", "rate_limit_exceeded", "", "the upstream's limit of requests or tokens is used up, of every route that could answer", "wait for `retry-after`; ask the provider for more, or add a route to another account"},
	{"429", "insufficient_quota", "", "the upstream's account has no credit", "the operator pays the provider's bill, or routes elsewhere"},
	{"429", "credit_balance_exhausted", "", "the upstream's prepaid credit is used up", "the operator adds credit at the provider"},
	{"429", "organization_spend_limit_exceeded", "", "the upstream's account has reached its spend limit", "the operator raises it at the provider"},
	{"429", "project_spend_limit_exceeded", "", "the upstream's project has reached its spend limit", "the operator raises it at the provider"},
	{"429", "organization_usage_limit_exceeded", "", "the upstream's account has reached its usage limit", "the operator raises it at the provider"},
	{"429, 503", "slow_down", "", "the upstream asks for fewer requests at once", "spread the requests; wait for `retry-after`"},
	{"500", "null", "", "an error of the gateway itself", "give the operator the x-request-id; the node's log has the cause"},
	{"502", "upstream_credential_refused", "", "the upstream does not accept the gateway's credential", "the operator corrects the upstream's credential; `gatehouse doctor --upstreams` tries it"},
	{"502", "upstream_unreachable", "", "no connection to the upstream", "the operator looks at DNS, network and base_url; `gatehouse doctor --upstreams` tries it"},
	{"502", "upstream_address_refused", "", "the upstream's host resolves to an address that is not allowed", "allow_private for an upstream on a private network, and its host in `private_upstreams`"},
	{"502", "upstream_redirect", "", "the upstream answered with a redirect, which is never followed", "the operator sets base_url to where it leads"},
	{"400", "invalid_cost_export", "", "the body is no cost export of Azure that can be read, or its costs are not in USD", "send the CSV as Cost Management wrote it; the message names the line"},
	{"502", "upstream_bill_refused", "", "the provider did not answer with its costs or usage, or with more than is read", "ask for fewer days; the message has the provider's status"},
	{"502", "upstream_encoding", "", "the upstream's answer is compressed in a way that cannot be metered", "try again; the operator looks at proxies before the upstream"},
	{"502", "upstream_misconfigured", "", "the upstream's base_url is not usable", "the operator corrects it"},
	{"503", "upstream_removed", "", "the upstream that holds the object is no longer configured", "declare the upstream again"},
	{"503", "upstream_circuit_open", "", "the upstreams failed again and again and are left alone for a while", "wait for `retry-after`; `gatehouse deployments status` shows why"},
	{"503", "upstream_credential_missing", "", "the reference of the upstream's credential cannot be resolved", "the operator corrects the reference, or what it refers to"},
	{"503", "no_route", "", "no route of the deployment can be tried", "the operator looks at its routes: `gatehouse deployments status`"},
	{"503", "no_route_in_region", "", "the project stays in a region, and no route of the deployment is there", "add a route to an upstream of the region"},
	{"503", "accounting_unavailable", "", "the node cannot write its journal, and what cannot be counted is not served", "the operator looks at the disk below `data`"},
	{"503", "ownership_unavailable", "", "the database is away and this node does not know the object", "try again"},
	{"503", "spool_unavailable", "", "the node cannot write the request's body to disk", "the operator looks at the disk below `data`"},
	{"503", "server_is_overloaded", "", "the node's memory for bodies, or its number of open requests, is used up", "try again; add a node, or raise `limits`"},
	{"503", "draining", "", "the node is shutting down", "try again: another one answers"},
	{"503", "mock_not_running", "", "the built-in mock could not be started", "the node's log says why"},
	{"504", "upstream_timeout", "", "the upstream did not answer, or did not finish, in time", "try again, or ask for less; the operator may raise the route's timeouts"},
}
