package admin_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
)

// everything is a manifest with something of all that one can declare. CERT stands for a certificate.
const everything = `
organization:
  name: Acme
  time_zone: Europe/Berlin
  header_labels: [team]
  retention: {usage_days: 500}
  data_retention: zero_data_retention
  certificates: [corporate]
  spend_limit: 1000.50
  spend_alerts: [{threshold: 5, recipients: [finance@example.com], subject_prefix: spend}]
certificates: [{name: corporate, certificate: "CERT"}]
roles: [{name: auditor, description: "Looks, and \"quotes\".", permissions: [api.audit_logs.read, api.usage.read]}]
users:
- {email: ann@example.com, name: Ann, role: owner, roles: [auditor]}
- {email: bo@example.com, name: "Bo: B", roles: []}
groups:
- {name: ops, users: [ann@example.com, bo@example.com], roles: [auditor]}
- {name: empty, users: []}
upstreams:
- {name: openai, dialect: openai, base_url: https://api.openai.com/v1, credential: {key: env://OPENAI_API_KEY}, projects: [shop], timeouts: {connect: 2s}}
- {name: azure, dialect: azure, base_url: https://acme.openai.azure.com, api_version: 2024-10-21, region: eastus, credential: {key: env://AZURE_API_KEY, header: Ocp-Apim-Subscription-Key}, http2: true}
deployments:
- {name: gpt-4o, projects: [shop], sticky: user, routes: [{upstream: openai, model: gpt-4o, weight: 3, priced_as: gpt-4o}, {upstream: azure, priority: 1, timeouts: {idle: 1m30s}}]}
- {name: "*", routes: [{upstream: openai}]}
projects:
- name: shop
  labels: {env: prod}
  upstream: openai
  region: eu
  models: {allow: [gpt-4o, o3]}
  denied_tools: [mcp]
  data_retention: none
  service_tiers: {default: standard, enabled: [flex]}
  certificates: [corporate]
  roles: [{name: caller, permissions: [model.request]}]
  members: [{user: bo@example.com, role: viewer, roles: [caller]}]
  groups: [{group: ops, roles: [member, caller]}]
  service_accounts: [{name: robot}, {name: idle, role: none}]
  resources: [{name: contoso, region: eastus}]
  spend_limit: 12.34
  spend_alerts: [{threshold: 1, recipients: [a@example.com, b@example.com]}]
- {name: lab, models: {deny: [o3]}, service_tiers: {enabled: []}}
limits:
- {scope: project, subject: shop, model: gpt-4o, max_requests_per_1_minute: 10}
- {scope: service_account, subject: shop/robot, max_tokens_per_1_minute: 1000}
- {scope: user, subject: ann@example.com, max_requests_per_1_day: 5}
- {scope: label, subject: team=search, max_images_per_1_minute: 2}
budgets:
- {name: monthly, amount: 500, alerts: [50, 100]}
- {name: shop, scope: project, subject: shop, amount: 99.50, window: {period: quarter, start_month: 2, start_day: 15}, uncapped: refuse, unknown_price: meter}
- {name: operators, scope: group, subject: ops, amount: 7}
- {name: everybody, amount: 800, enforcement: soft}
credits:
  prepaid: true
  refill: {mode: automatic, below: 100, add: 500, monthly_max: 2000, days: 365}
  grants: [{name: pilot, amount: 1000, expires_at: 2099-01-01T00:00:00Z, reference: invoice 4711, active: true}, {name: later, amount: 5, priority: 3}]
prices:
- {model: gpt-4o, effective_from: 2026-09-01, note: negotiated, cost: {input: 2.25, output: 9}}
- {upstream: azure, model: own, cost: {input: 1, output: 2}, service_tiers: {batch: {factor: 0.5}}, limit: {context: 1000}}
alerts:
  channels: [{name: hook, kind: webhook, url: https://hooks.example.com/x}, {name: chat, kind: slack, url: env://SLACK_API_KEY, disabled: true}]
  rules: [{name: spikes, kind: spend_spike, per: [key], factor: 2.5, projects: [shop], channels: [hook], quiet: 12h, suspend: key}, {name: waking, kind: waking_key, days: 100, disabled: true}]
external_keys:
- {name: kms, type: aws, purpose: ekm, settings: {role_arn: "arn:aws:iam::123456789012:role/r", kms_arn: "arn:aws:kms:eu-west-1:123456789012:key/k", external_id: e}}
external_storage:
- {project: shop, type: aws, settings: {bucket: b, role_arn: "arn:aws:iam::123456789012:role/r"}}
identity_providers:
- name: ci
  issuer: https://token.example.com
  audience: gatehouse
  description: builds
  attribute_transformations: [{attribute: repo, expression: 'assertion.repository + "x"'}]
  rules:
  - {project: shop, service_account: robot, attribute_matchers: {sub: "repo:acme/shop", attempt: 1, protected: true}, name: main, scopes: [model.request]}
- {name: keys, issuer: https://keys.example.com, audience: a, disabled: true, jwks: '{"keys":[{"kty":"EC","crv":"P-256","x":"gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0","y":"SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps"}]}'}
`

func everythingManifest(t *testing.T) string {
	t.Helper()
	return strings.ReplaceAll(everything, "CERT", strings.ReplaceAll(gatehousetest.NewAuthority(t, "corporate").PEM, "\n", `\n`))
}

// TestExportChangesNothing declares something of everything, exports it and applies the export: nothing changes, also with what it does
// not name removed. Applied to another installation it makes the same.
func TestExportChangesNothing(t *testing.T) {
	o, ctx := open(t), t.Context()
	apply := func(o *office, text string, opts admin.ApplyOptions) []admin.PlanItem {
		t.Helper()
		m, err := admin.ParseManifest([]byte(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		plan, err := o.Apply(ctx, o.who, m, opts)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		return plan
	}
	manifest := everythingManifest(t)
	kinds := map[string]bool{}
	for _, i := range apply(o, manifest, admin.ApplyOptions{}) {
		kinds[i.Kind] = true
	}
	for _, kind := range []string{"organization", "certificate", "role", "user", "group", "group_user", "role_assignment", "member", "project", "service_account", "resource", "upstream", "deployment", "limit", "budget",
		"credits", "credit_grant", "price", "alert_channel", "alert_rule", "spend_limit", "spend_alert", "identity_provider", "federation_rule", "external_key", "external_storage"} {
		if !kinds[kind] {
			t.Errorf("the manifest makes no %s, and proves nothing for it", kind)
		}
	}
	if plan := apply(o, manifest, admin.ApplyOptions{}); len(plan) != 0 {
		t.Errorf("applied twice: %+v", plan)
	}
	// What cannot be declared by name alone is there too.
	for _, name := range []string{"twin", "twin"} {
		must[*gatehouse.Project](t)(o.CreateProject(ctx, o.who, admin.ProjectRequest{Name: name}))
	}
	nobody := must[*gatehouse.User](t)(o.CreateUser(ctx, o.who, admin.UserRequest{Name: "Without an address"}))
	must[*admin.Member](t)(o.AddProjectUser(ctx, o.who, o.found.Project.ID, nobody.ID, gatehouse.RoleMember))
	unnamed := must[*gatehouse.Certificate](t)(o.CreateCertificate(ctx, o.who, "", gatehousetest.NewAuthority(t, "x").PEM))
	if _, _, err := o.ToggleCertificates(ctx, o.who, o.found.Project.ID, []string{unnamed.ID}, true); err != nil {
		t.Fatal(err)
	}
	export := func(o *office) string {
		t.Helper()
		return string(must[[]byte](t)(o.Export(ctx, o.who)))
	}
	text := export(o)
	for _, opts := range []admin.ApplyOptions{{DryRun: true}, {DryRun: true, Prune: true}} {
		if plan := apply(o, text, opts); len(plan) != 0 {
			t.Errorf("%+v: %+v\n%s", opts, plan, text)
		}
	}
	// Who has exported first, and applies last, does not undo what another has changed meanwhile.
	version, _, _ := strings.Cut(strings.SplitN(text, "# version ", 2)[1], "\n")
	m, err := admin.ParseManifest([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Apply(ctx, o.who, m, admin.ApplyOptions{Version: version}); err != nil {
		t.Errorf("unchanged: %v", err)
	}
	if _, _, err := o.UpdateProjectPolicy(ctx, o.who, o.found.Project.ID, admin.PolicyUpdate{Deny: gatehouse.ToolMCP}); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Apply(ctx, o.who, m, admin.ApplyOptions{Version: version}); gatehouse.KindOf(err) != gatehouse.Conflict || !strings.Contains(err.Error(), "has changed since") {
		t.Errorf("changed: %v", err)
	}
	if strings.Contains(text, "sk-") {
		t.Errorf("there is a key in it:\n%s", text)
	}

	other := open(t)
	apply(other, manifest, admin.ApplyOptions{})
	if plan := apply(other, export(other), admin.ApplyOptions{DryRun: true, Prune: true}); len(plan) != 0 {
		t.Errorf("another installation: %+v", plan)
	}
	third := open(t)
	apply(third, export(other), admin.ApplyOptions{})
	if a, b := export(other), export(third); a != b {
		t.Errorf("what an export makes is not what it came from:\n%s\n---\n%s", a, b)
	}
}

// TestManifestPage: the example in the manual can be read, and shows every part of a manifest.
func TestManifestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "## The manifest\n\n```yaml\n")
	text, _, ok := strings.Cut(text, "```")
	if !ok {
		t.Fatal("docs/api.md has no example of a manifest")
	}
	m, err := admin.ParseManifest([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() && name != "Limits" && name != "Alerts" { // they have pages of their own
			t.Errorf("the example shows no %s", name)
		}
	}
}
