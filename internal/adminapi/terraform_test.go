package adminapi_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"gatehouse/gatehousetest"
)

// TestInfrastructureAsCode makes the calls that a provider for Terraform makes: create, read, update, read, import (read by id alone), list,
// delete, read. What is read is what was answered and has every field as it was asked for, so that a plan right after shows no
// difference; what is deleted is 404, so that a plan shows it as gone.
func TestInfrastructureAsCode(t *testing.T) {
	c := &conformance{t: t, s: gatehousetest.Start(t, gatehousetest.Options{}), ids: map[string]string{}}
	c.make("project_id", "/organization/projects", `{"name":"Shop"}`)
	c.make("service_account_id", "/organization/projects/"+c.ids["project_id"]+"/service_accounts", `{"name":"robot","create_service_account_only":true}`)
	c.make("group", "/organization/groups", `{"name":"Team"}`)
	c.make("role", "/organization/roles", `{"role_name":"auditor","permissions":["api.audit_logs.read"]}`)
	_, user := ask(t, c.s, "POST", "/gatehouse/v1/users", c.s.AdminKey, `{"name":"Ann","email":"ann@example.com"}`)
	c.ids["user"] = user["id"].(string)
	c.make("provider", "/organization/workload_identity_providers", providerBody)
	const project = "/v1/organization/projects/{project_id}"
	const alert = `{"threshold_amount":100,"currency":"USD","interval":"month","notification_channel":{"type":"email","recipients":["ops@example.com"]}}`
	pem := strings.ReplaceAll(gatehousetest.NewAuthority(t, "ca").PEM, "\n", `\n`)
	for _, r := range []struct {
		name, path, create, update string
		id                         string            // of what has no id of its own in its answer: the path segment
		renamed                    map[string]string // fields that are answered under another name; "-": not at all
		gone                       string            // "": deleting makes it 404; else a field that is not null then
		remove                     string            // what is posted instead of DELETE
	}{
		{name: "project", path: "/v1/organization/projects", create: `{"name":"Lab"}`, update: `{"name":"Labor"}`, gone: "archived_at", remove: "/archive"},
		{name: "service account", path: project + "/service_accounts", create: `{"name":"bot","create_service_account_only":true}`, update: `{"name":"android"}`, renamed: map[string]string{"create_service_account_only": "-"}},
		{name: "member", path: project + "/users", create: `{"user_id":"{user}","role":"member"}`, update: `{"role":"owner"}`, renamed: map[string]string{"user_id": "id"}},
		{name: "group", path: "/v1/organization/groups", create: `{"name":"Ops"}`, update: `{"name":"SRE"}`},
		{name: "group member", path: "/v1/organization/groups/{group}/users", create: `{"user_id":"{user}"}`, id: "{user}", renamed: map[string]string{"user_id": "id"}},
		{name: "role", path: "/v1/organization/roles", create: `{"role_name":"reader of costs","permissions":["api.usage.read"],"description":"d"}`, update: `{"permissions":["api.audit_logs.read","api.usage.read"]}`, renamed: map[string]string{"role_name": "name"}},
		{name: "role of a project", path: "/v1/projects/{project_id}/roles", create: `{"role_name":"caller","permissions":["model.request"]}`, update: `{"description":"calls"}`, renamed: map[string]string{"role_name": "name"}},
		{name: "assignment", path: "/v1/organization/groups/{group}/roles", create: `{"role_id":"{role}"}`, id: "{role}", renamed: map[string]string{"role_id": "id"}},
		{name: "invite", path: "/v1/organization/invites", create: `{"email":"new@example.com","role":"reader","projects":[{"id":"{project_id}","role":"member"}]}`},
		{name: "admin key", path: "/v1/organization/admin_api_keys", create: `{"name":"ci"}`},
		{name: "spend alert", path: project + "/spend_alerts", create: alert, update: strings.Replace(alert, "100", "200", 1)},
		{name: "certificate", path: "/v1/organization/certificates", create: `{"name":"ca","certificate":"` + pem + `"}`, update: `{"name":"root"}`, renamed: map[string]string{"certificate": "-"}},
		{name: "identity provider", path: "/v1/organization/workload_identity_providers", create: `{"type":"oidc","name":"x","issuer":"https://x.example.com","audience":"a","attribute_transformations":[{"attribute":"a","expression":"b"}]}`, update: `{"enabled":false}`},
		{name: "federation rule", path: "/v1/organization/workload_identity_providers/{provider}/federation_rules", create: ruleBody, update: `{"permissions":{"type":"restricted","scopes":["model.request"]}}`},
		{name: "external key", path: "/v1/organization/external_keys", create: externalKeyBody},
	} {
		t.Run(r.name, func(t *testing.T) {
			c.t = t
			call := func(method, path, body string) (int, map[string]any) {
				t.Helper()
				return ask(t, c.s, method, c.path(path), c.s.AdminKey, c.path(body))
			}
			status, made := call("POST", r.path, r.create)
			if status != 200 {
				t.Fatalf("create: %d %v", status, made)
			}
			id := c.path(r.id)
			if id == "" {
				id, _ = made["id"].(string)
			}
			one := r.path + "/" + id
			asked := func(body string, read map[string]any) {
				t.Helper()
				var want map[string]any
				if err := json.Unmarshal([]byte(c.path(body)), &want); err != nil {
					t.Fatal(err)
				}
				for field, value := range want {
					name := field
					if other := r.renamed[field]; other != "" {
						name = other
					}
					if name != "-" && !reflect.DeepEqual(read[name], value) {
						t.Errorf("%s is %v, asked for %v", field, read[name], value)
					}
				}
			}
			read := func() map[string]any {
				t.Helper()
				status, v := call("GET", one, "")
				if status != 200 {
					t.Fatalf("read: %d %v", status, v)
				}
				if status, again := call("GET", one, ""); status != 200 || !reflect.DeepEqual(v, again) {
					t.Errorf("read twice: %v, then %v", v, again)
				}
				return v
			}
			state := read()
			asked(r.create, state)
			for field, value := range made { // what is answered once and never read again is a secret
				if _, there := state[field]; there && r.id == "" && !reflect.DeepEqual(state[field], value) {
					t.Errorf("%s was answered as %v and is read as %v", field, value, state[field])
				}
			}
			if status, list := call("GET", r.path+"?limit=100", ""); status != 200 || !contains(list["data"], id) {
				t.Errorf("the list does not have it: %d %v", status, list)
			}
			if r.update != "" {
				status, changed := call("POST", one, r.update)
				if status != 200 {
					t.Fatalf("update: %d %v", status, changed)
				}
				now := read()
				asked(r.update, now)
				for field, value := range state { // what was not asked for stays
					if !strings.Contains(r.update, `"`+field+`"`) && field != "updated_at" && field != r.renamed["role_name"] && !reflect.DeepEqual(now[field], value) {
						t.Errorf("%s was %v and is %v", field, value, now[field])
					}
				}
				if status, v := call("POST", one, r.update); status != 200 { // applied once more
					t.Errorf("update again: %d %v", status, v)
				}
			}
			method, path := "DELETE", one
			if r.remove != "" {
				method, path = "POST", one+r.remove
			}
			if status, v := call(method, path, ""); status != 200 {
				t.Fatalf("delete: %d %v", status, v)
			}
			status, v := call("GET", one, "")
			if r.gone == "" && status != 404 || r.gone != "" && v[r.gone] == nil {
				t.Errorf("after it was deleted: %d %v", status, v)
			}
		})
	}
	// Settings that are always there: set, read, set again.
	for _, s := range []struct{ name, path, first, second, remove string }{
		{"model permissions", project + "/model_permissions", `{"mode":"allow_list","model_ids":["gpt-4o"]}`, `{"mode":"deny_list","model_ids":["o3"]}`, "DELETE"},
		{"hosted tools", project + "/hosted_tool_permissions", `{"mcp":{"enabled":false}}`, `{"mcp":{"enabled":true}}`, ""},
		{"service tiers", project + "/service_tier_settings", `{"enabled_tiers":["flex"]}`, `{"enabled_tiers":"all"}`, ""},
		{"spend limit", project + "/spend_limit", `{"threshold_amount":5000,"currency":"USD","interval":"month"}`, `{"threshold_amount":6000,"currency":"USD","interval":"month"}`, "DELETE"},
	} {
		for _, body := range []string{s.first, s.second, s.second} {
			if status, v := ask(t, c.s, "POST", c.path(s.path), c.s.AdminKey, body); status != 200 {
				t.Fatalf("%s: %d %v", s.name, status, v)
			}
			_, v := ask(t, c.s, "GET", c.path(s.path), c.s.AdminKey, "")
			var want map[string]any
			if err := json.Unmarshal([]byte(body), &want); err != nil {
				t.Fatal(err)
			}
			for field, value := range want {
				if !reflect.DeepEqual(v[field], value) {
					t.Errorf("%s: %s is %v, asked for %v", s.name, field, v[field], value)
				}
			}
		}
		if s.remove != "" {
			if status, v := ask(t, c.s, s.remove, c.path(s.path), c.s.AdminKey, ""); status != 200 {
				t.Errorf("%s: %d %v", s.name, status, v)
			}
		}
	}
}

// contains reports whether a list has an element with an id.
func contains(list any, id string) bool {
	elements, _ := list.([]any)
	for _, e := range elements {
		if v, _ := e.(map[string]any); v["id"] == id || v["user_id"] == id {
			return true
		}
	}
	return false
}
