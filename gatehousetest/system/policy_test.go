package system_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestNodesEnforcePolicies: what one node is told that a project may not do is refused by both when the answer has come, and served
// again when it is allowed.
func TestNodesEnforcePolicies(t *testing.T) {
	p := newPair(t, "10s", "")
	project, account := p.project(t, "restricted")
	k := p.key(t, project, account)
	p.everywhere(t, k)
	set := func(n *node, setting string, body any) {
		t.Helper()
		if status := must(t, p.client, http.MethodPost, n.URL+"/v1/organization/projects/"+project+"/"+setting, p.AdminKey, body, nil); status != 200 {
			t.Fatalf("%s: the change does not hold everywhere: %d", setting, status)
		}
	}
	expect := func(what string, body map[string]any, status int, code string) {
		t.Helper()
		for name, n := range map[string]*node{"a": p.a, "b": p.b} {
			r := ask(t.Context(), p.client, http.MethodPost, n.URL+"/v1/chat/completions", k.value, body)
			if r.Err != nil || r.Status != status || !strings.Contains(string(r.Body), code) {
				t.Errorf("%s at node %s: %d %v %s, want %d %s", what, name, r.Status, r.Err, r.Body, status, code)
			}
		}
	}
	search := chat(false)
	search["web_search_options"] = map[string]any{}
	for range 3 {
		set(p.a, "model_permissions", map[string]any{"mode": "allow_list", "model_ids": []string{"gpt-4o"}})
		expect("a denied model", chat(false), 403, "model_not_found")
		set(p.b, "model_permissions", map[string]any{"mode": "deny_list", "model_ids": []string{"gpt-4o"}})
		expect("a model that is allowed again", chat(false), 200, "")
		set(p.b, "hosted_tool_permissions", map[string]any{"web_search": map[string]any{"enabled": false}})
		expect("a denied tool", search, 403, "hosted_tool_not_allowed")
		expect("a request without the tool", chat(false), 200, "")
		set(p.a, "hosted_tool_permissions", map[string]any{"web_search": map[string]any{"enabled": true}})
		expect("a tool that is allowed again", search, 200, "")
	}
}

// TestNodesEnforceRoles changes what a group may do in a project at one node, and uses the key of somebody in it at both: once a change
// has been answered with 200 both do as it says. An open stream of a key whose owner lost the role ends at the other node.
func TestNodesEnforceRoles(t *testing.T) {
	p := newPair(t, "10s", "")
	project, _ := p.project(t, "shared")
	call := func(n *node, method, path string, body any) (out struct{ ID, Value string }) {
		t.Helper()
		if status := must(t, p.client, method, n.URL+path, p.AdminKey, body, &out); status != 200 {
			t.Fatalf("%s %s: the change does not hold everywhere: %d", method, path, status)
		}
		return out
	}
	user := call(p.a, http.MethodPost, "/gatehouse/v1/users", map[string]any{"name": "Ann"}).ID
	group := call(p.a, http.MethodPost, "/v1/organization/groups", map[string]any{"name": "callers"}).ID
	role := call(p.a, http.MethodPost, "/v1/projects/"+project+"/roles", map[string]any{"role_name": "caller", "permissions": []string{"model.request", "api.models.read"}}).ID
	call(p.b, http.MethodPost, "/v1/organization/groups/"+group+"/users", map[string]any{"user_id": user})
	in := func(n *node, method, path string, body any) {
		t.Helper()
		call(n, method, "/v1/projects/"+project+path, body)
	}
	in(p.a, http.MethodPost, "/groups/"+group+"/roles", map[string]any{"role_id": role})
	made := call(p.a, http.MethodPost, "/gatehouse/v1/keys", map[string]any{"class": "project", "project_id": project, "user_id": user, "name": "k"})
	k := &key{id: made.ID, value: made.Value}
	p.everywhere(t, k)
	expect := func(what string, ok bool, code string) {
		t.Helper()
		for name, n := range map[string]*node{"a": p.a, "b": p.b} {
			if got, r := p.accepts(t.Context(), n, k, true); got != ok || !ok && !strings.Contains(string(r.Body), code) {
				t.Errorf("%s at node %s: %d %v %s", what, name, r.Status, r.Err, r.Body)
			}
		}
	}
	ended, _ := p.longStream(t, p.b, k)
	in(p.a, http.MethodPost, "/roles/"+role, map[string]any{"permissions": []string{"api.models.read"}})
	expect("a role that does not permit it any more", false, "missing_scope")
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the open stream goes on")
	}
	for range 3 {
		in(p.b, http.MethodPost, "/roles/"+role, map[string]any{"permissions": []string{"model.request", "api.models.read"}})
		expect("a role that permits it again", true, "")
		call(p.a, http.MethodDelete, "/v1/organization/groups/"+group+"/users/"+user, nil)
		expect("out of the group", false, "owner_left_project")
		call(p.b, http.MethodPost, "/v1/organization/groups/"+group+"/users", map[string]any{"user_id": user})
		p.everywhere(t, k)
		in(p.a, http.MethodDelete, "/groups/"+group+"/roles/"+role, nil)
		expect("the group has the role no more", false, "owner_left_project")
		in(p.a, http.MethodPost, "/groups/"+group+"/roles", map[string]any{"role_id": role})
		p.everywhere(t, k)
		in(p.b, http.MethodPost, "/roles/"+role, map[string]any{"permissions": []string{"api.models.read"}})
		expect("a role that does not permit it any more", false, "missing_scope")
	}
}
