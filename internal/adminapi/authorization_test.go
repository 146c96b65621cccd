package adminapi_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/adminapi"
)

var update = flag.Bool("update", false, "write the golden files")

// principal is one kind of caller: with which credential, and what of each route it may use.
type principal struct {
	name string
	key  string
	// allowed says by the scope of a route, and whether it is about the one project that exists here, whether this caller may use it; nil:
	// nothing. refused is the status of what it may not.
	allowed func(scope string, inProject bool) bool
	refused int
}

// scopeForm is what the scope of a route looks like.
var scopeForm = regexp.MustCompile(`^api\.([a-z_]+)\.(read|write)$`)

func everything(string, bool) bool { return true }

// ending are those whose scopes end so, or are one of some others.
func ending(suffix string, but ...string) func(string, bool) bool {
	return func(scope string, _ bool) bool {
		return strings.HasSuffix(scope, suffix) && !slices.Contains(but, scope)
	}
}

// among are those with certain scopes.
func among(scopes ...string) func(string, bool) bool {
	return func(scope string, _ bool) bool { return slices.Contains(scopes, scope) }
}

// inProject are those with certain scopes where they are about the project.
func inProject(scopes ...string) func(string, bool) bool {
	return func(scope string, in bool) bool { return in && slices.Contains(scopes, scope) }
}

var placeholder = regexp.MustCompile(`\{[a-z_]+\.{0,3}\}`)

// TestAuthorization calls every route of the API as every kind of principal. What a principal may not use is refused before anything
// else is looked at: with nothing in the paths that exists, and no body. The table is a golden file: a route that is new, or whose scope
// changed, is in its difference.
func TestAuthorization(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	create := func(path, body string) map[string]any {
		t.Helper()
		status, v := ask(t, s, "POST", path, s.AdminKey, body)
		if status != 200 {
			t.Fatalf("%s: %d %v", path, status, v)
		}
		return v
	}
	value := func(v map[string]any) string { t.Helper(); return v["value"].(string) }
	user := func(role string) string {
		return create("/gatehouse/v1/users", `{"name":"Ann","role":"`+role+`"}`)["id"].(string)
	}
	admin := func(owner string, scopes ...string) string {
		list, _ := json.Marshal(scopes) // strings
		return value(create("/gatehouse/v1/keys", fmt.Sprintf(`{"class":"admin","name":"k","user_id":%q,"scopes":%s}`, owner, list)))
	}
	owner := user("owner")
	member := user("reader")
	create("/v1/organization/projects/"+s.ProjectID+"/users", `{"user_id":"`+member+`","role":"owner"}`)
	demoted := user("owner")
	ofDemoted := admin(demoted)
	create("/v1/organization/users/"+demoted, `{"role":"reader"}`)
	account := create("/v1/organization/projects/"+s.ProjectID+"/service_accounts", `{"name":"bot"}`)
	resource := create("/gatehouse/v1/resources", `{"name":"contoso","project_id":"`+s.ProjectID+`"}`)
	role := func(place, permission string) string {
		return create(place+"/roles", `{"role_name":"of `+permission+`","permissions":["`+permission+`"]}`)["id"].(string)
	}
	org, prj := "/v1/organization", "/v1/projects/"+s.ProjectID
	auditor := user("reader")
	create(org+"/users/"+auditor+"/roles", `{"role_id":"`+role(org, "api.audit_logs.read")+`"}`)
	grouped := user("reader")
	group := create(org+"/groups", `{"name":"limiters"}`)["id"].(string)
	create(org+"/groups/"+group+"/users", `{"user_id":"`+grouped+`"}`)
	create(org+"/groups/"+group+"/roles", `{"role_id":"`+role(org, "api.limits.write")+`"}`)
	create(prj+"/groups/"+group+"/roles", `{"role_id":"`+role(prj, "api.api_keys.write")+`"}`)
	promoted := user("reader")
	create(org+"/groups", `{"name":"owners"}`)
	owners := create(org+"/groups", `{"name":"more owners"}`)["id"].(string)
	create(org+"/groups/"+owners+"/roles", `{"role_id":"role-api-organization-owner"}`)
	create(org+"/groups/"+owners+"/users", `{"user_id":"`+promoted+`"}`)
	management := func(level string) func(string, bool) bool {
		return func(scope string, in bool) bool {
			return scope != "api.usage.read" && (strings.HasSuffix(scope, ".read") || level == ".write")
		}
	}
	memberScopes := []string{"api.projects.read", "api.policies.read", "api.certificates.read", "api.limits.read", "api.spend.read"}
	for _, area := range []string{"users", "groups", "roles", "api_keys", "service_accounts"} {
		memberScopes = append(memberScopes, "api."+area+".read", "api."+area+".write")
	}
	principals := []principal{
		{"nobody", "", nil, 401},
		{"a wrong key", "sk-admin-" + strings.Repeat("x", 40), nil, 401},
		{"project key of a project owner", value(create("/gatehouse/v1/keys", fmt.Sprintf(`{"class":"project","name":"k","project_id":%q,"user_id":%q}`, s.ProjectID, member))), nil, 403},
		{"user key of an owner", value(create("/gatehouse/v1/keys", fmt.Sprintf(`{"class":"user","name":"k","user_id":%q}`, owner))), nil, 403},
		{"service account key", account["api_key"].(map[string]any)["value"].(string), nil, 403},
		{"resource key", resource["key1"].(map[string]any)["value"].(string), nil, 403},
		{"admin key of somebody who is no owner any more", ofDemoted, nil, 403},
		{"admin key without an area of administration", admin(owner, "model.request"), nil, 403},
		{"admin key, api.management.read", admin(owner, "api.management.read"), management(".read"), 403},
		{"admin key, api.management.write", admin(owner, "api.management.write"), management(".write"), 403},
		{"admin key, api.usage.read", admin(owner, "api.usage.read"), among("api.usage.read"), 403},
		{"admin key, api.all.read", admin(owner, "api.all.read"), ending(".read"), 403},
		{"admin key, api.users.write", admin(owner, "api.users.write"), among("api.users.read", "api.users.write"), 403},
		{"admin key", admin(owner), everything, 403},
		{"admin key of the project's owner", admin(member), inProject(memberScopes...), 403},
		{"the same, api.users.read", admin(member, "api.users.read"), inProject("api.users.read"), 403},
		{"admin key of an auditor", admin(auditor), among("api.audit_logs.read"), 403},
		{"admin key of somebody in a group with roles", admin(grouped), func(scope string, in bool) bool {
			return strings.HasPrefix(scope, "api.limits.") || in && strings.HasPrefix(scope, "api.api_keys.")
		}, 403},
		{"admin key of somebody in a group of owners", admin(promoted), everything, 403},
	}
	routes := adminapi.Routes()
	var table strings.Builder
	cells := 0
	for _, r := range routes {
		method, path, _ := strings.Cut(r.Pattern, " ")
		anybody := r.Scope == adminapi.Anybody
		if m := scopeForm.FindStringSubmatch(r.Scope); !anybody && (m == nil || r.Scope != gatehouse.ManagementWrite && gatehouse.PermissionLevels(r.Scope)&gatehouse.OrganizationLevel == 0) {
			t.Errorf("%s has the scope %q, which is none of administration", r.Pattern, r.Scope)
		}
		if method != http.MethodGet && !strings.HasSuffix(r.Scope, ".write") && !strings.HasSuffix(path, "/reconcile") && !anybody {
			t.Errorf("%s changes something and needs only %s", r.Pattern, r.Scope)
		}
		within := strings.Contains(path, "{project_id}")
		fmt.Fprintf(&table, "%-28s %s\n", r.Scope, r.Pattern)
		path = placeholder.ReplaceAllString(strings.Replace(path, "{project_id}", s.ProjectID, 1), "nothing")
		for _, p := range principals {
			cells++
			body := ""
			if method == http.MethodPost {
				body = `{"no_such_field":1}` // nothing is made, whoever may
			}
			req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if p.key != "" {
				req.Header.Set("Authorization", "Bearer "+p.key)
			}
			resp, err := s.Client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			denied := resp.StatusCode == 401 || resp.StatusCode == 403
			if may := anybody || p.allowed != nil && p.allowed(r.Scope, within); may == denied || denied && resp.StatusCode != p.refused {
				t.Errorf("%s as %s: %d", r.Pattern, p.name, resp.StatusCode)
			}
		}
	}
	t.Logf("%d routes by %d kinds of principals: %d cells", len(routes), len(principals), cells)
	const golden = "testdata/routes.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := table.String(); got != string(want) {
		had := strings.Split(string(want), "\n")
		for _, line := range strings.Split(got, "\n") {
			if !slices.Contains(had, line) {
				t.Errorf("not in %s: %s", golden, line)
			}
		}
		t.Errorf("the routes are not those of %s: look at each that is new, then run go test ./internal/adminapi -run TestAuthorization -update", golden)
	}
}
