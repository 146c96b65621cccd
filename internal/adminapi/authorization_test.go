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

	"gatehouse/gatehousetest"
	"gatehouse/internal/adminapi"
)

var update = flag.Bool("update", false, "write the golden files")

// principal is one kind of caller: with which credential, and what of each scope it may use.
type principal struct {
	name string
	key  string
	// allowed says by the scope of a route whether this caller may use it; nil: nothing. refused is the status of what it may not.
	allowed map[string]bool
	refused int
}

// The scopes of routes.
const (
	readScope  = "api.management.read"
	writeScope = "api.management.write"
	usageScope = "api.usage.read"
)

var placeholder = regexp.MustCompile(`\{[a-z_]+\.{0,3}\}`)

// TestAuthorization calls every route of the API as every kind of principal. What a principal may not use is refused before anything
// else is looked at: with nothing in the paths that exists, and no body. The table is a golden file: a route that is new, or whose scope
// changed, is in its difference.
func TestAuthorization(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	make := func(path, body string) map[string]any {
		t.Helper()
		status, v := ask(t, s, "POST", path, s.AdminKey, body)
		if status != 200 {
			t.Fatalf("%s: %d %v", path, status, v)
		}
		return v
	}
	value := func(v map[string]any) string { t.Helper(); return v["value"].(string) }
	user := func(role string) string {
		return make("/gatehouse/v1/users", `{"name":"Ann","role":"`+role+`"}`)["id"].(string)
	}
	admin := func(owner string, scopes ...string) string {
		list, _ := json.Marshal(scopes) // strings
		return value(make("/gatehouse/v1/keys", fmt.Sprintf(`{"class":"admin","name":"k","user_id":%q,"scopes":%s}`, owner, list)))
	}
	owner := user("owner")
	member := user("reader")
	make("/v1/organization/projects/"+s.ProjectID+"/users", `{"user_id":"`+member+`","role":"owner"}`)
	demoted := user("owner")
	ofDemoted := admin(demoted)
	make("/v1/organization/users/"+demoted, `{"role":"reader"}`)
	account := make("/v1/organization/projects/"+s.ProjectID+"/service_accounts", `{"name":"bot"}`)
	resource := make("/gatehouse/v1/resources", `{"name":"contoso","project_id":"`+s.ProjectID+`"}`)
	all := map[string]bool{readScope: true, writeScope: true, usageScope: true}
	principals := []principal{
		{"nobody", "", nil, 401},
		{"a wrong key", "sk-admin-" + strings.Repeat("x", 40), nil, 401},
		{"project key of a project owner", value(make("/gatehouse/v1/keys", fmt.Sprintf(`{"class":"project","name":"k","project_id":%q,"user_id":%q}`, s.ProjectID, member))), nil, 403},
		{"user key of an owner", value(make("/gatehouse/v1/keys", fmt.Sprintf(`{"class":"user","name":"k","user_id":%q}`, owner))), nil, 403},
		{"service account key", account["api_key"].(map[string]any)["value"].(string), nil, 403},
		{"resource key", resource["key1"].(map[string]any)["value"].(string), nil, 403},
		{"admin key of somebody who is no owner any more", ofDemoted, nil, 401},
		{"admin key without an area of administration", admin(owner, "model.request"), nil, 403},
		{"admin key, api.management.read", admin(owner, readScope), map[string]bool{readScope: true}, 403},
		{"admin key, api.management.write", admin(owner, writeScope), map[string]bool{readScope: true, writeScope: true}, 403},
		{"admin key, api.usage.read", admin(owner, usageScope), map[string]bool{usageScope: true}, 403},
		{"admin key, api.all.read", admin(owner, "api.all.read"), map[string]bool{readScope: true, usageScope: true}, 403},
		{"admin key", admin(owner), all, 403},
	}
	routes := adminapi.Routes()
	var table strings.Builder
	cells := 0
	for _, r := range routes {
		method, path, _ := strings.Cut(r.Pattern, " ")
		if !all[r.Scope] {
			t.Errorf("%s has the scope %q, of which the matrix knows nothing", r.Pattern, r.Scope)
		}
		if method != http.MethodGet && r.Scope != writeScope && !strings.HasSuffix(path, "/reconcile") {
			t.Errorf("%s changes something and needs only %s", r.Pattern, r.Scope)
		}
		fmt.Fprintf(&table, "%-22s %s\n", r.Scope, r.Pattern)
		path = placeholder.ReplaceAllString(path, "nothing")
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
			if p.allowed[r.Scope] == denied || denied && resp.StatusCode != p.refused {
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
