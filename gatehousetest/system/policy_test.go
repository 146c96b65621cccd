package system_test

import (
	"net/http"
	"strings"
	"testing"
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
