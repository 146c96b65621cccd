package adminapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"gatehouse/gatehousetest"
)

// ask sends one request and returns status and decoded body, after checking what every answer must have.
func ask(t *testing.T, s *gatehousetest.Server, method, path, key, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := s.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if id := resp.Header.Get("X-Request-Id"); len(id) != 36 || !strings.HasPrefix(id, "req_") {
		t.Errorf("%s %s: request id %q", method, path, id)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("%s %s: content type %q", method, path, ct)
	}
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s %s: %v in %q", method, path, err, text)
	}
	if resp.StatusCode >= 400 {
		e, ok := v["error"].(map[string]any)
		if !ok {
			t.Fatalf("%s %s: no error object in %s", method, path, text)
		}
		for _, k := range []string{"message", "type", "param", "code"} {
			if _, ok := e[k]; !ok {
				t.Errorf("%s %s: the error has no %s", method, path, k)
			}
		}
		if e["message"] == "" {
			t.Errorf("%s %s: the error says nothing", method, path)
		}
	}
	return resp.StatusCode, v
}

func TestRefusals(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	projects := "/v1/organization/projects"
	mine := projects + "/" + s.ProjectID
	tests := []struct {
		name, method, path, key, body string
		status                        int
		code, param                   any
	}{
		{"no key", "GET", projects, "", "", 401, nil, nil},
		{"wrong key", "GET", projects, "sk-admin-nonsense", "", 401, "invalid_api_key", nil},
		{"a data key", "GET", projects, s.APIKey, "", 403, "missing_scope", nil},
		{"unknown path", "GET", "/v1/organization/nothing", s.AdminKey, "", 404, nil, nil},
		{"trailing slash", "GET", projects + "/", s.AdminKey, "", 404, nil, nil},
		{"double slash", "GET", "/v1/organization//projects", s.AdminKey, "", 404, nil, nil},
		{"dot segment", "GET", "/v1/organization/./projects", s.AdminKey, "", 404, nil, nil},
		{"wrong method", "DELETE", projects, s.AdminKey, "", 405, nil, nil},
		{"unknown parameter", "POST", projects, s.AdminKey, `{"name":"a","nam":"b"}`, 400, "unknown_parameter", "nam"},
		{"repeated parameter", "POST", projects, s.AdminKey, `{"name":"a","name":"b"}`, 400, nil, nil},
		{"wrong type", "POST", projects, s.AdminKey, `{"name":1}`, 400, "invalid_type", "name"},
		{"missing parameter", "POST", projects, s.AdminKey, `{}`, 400, "missing_required_parameter", "name"},
		{"not JSON", "POST", projects, s.AdminKey, `name=a`, 400, nil, nil},
		{"trailing data", "POST", projects, s.AdminKey, `{"name":"a"}{}`, 400, nil, nil},
		{"bad residency", "POST", projects, s.AdminKey, `{"name":"a","residency":"MOON"}`, 400, "invalid_value", "residency"},
		{"bad geography", "POST", projects, s.AdminKey, `{"name":"a","geography":"MOON"}`, 400, "invalid_value", "geography"},
		{"change of residency", "POST", mine, s.AdminKey, `{"geography":"EU"}`, 400, "invalid_value", "residency"},
		{"bad limit", "GET", projects + "?limit=0", s.AdminKey, "", 400, "invalid_value", "limit"},
		{"bad cursor", "GET", projects + "?after=proj_nobody", s.AdminKey, "", 400, nil, nil},
		{"bad order", "GET", "/v1/organization/admin_api_keys?order=up", s.AdminKey, "", 400, "invalid_value", "order"},
		{"bad access", "GET", mine + "/api_keys?owner_project_access=some", s.AdminKey, "", 400, "invalid_value", "owner_project_access"},
		{"unknown project", "GET", projects + "/proj_nobody", s.AdminKey, "", 404, nil, nil},
		{"unknown key", "GET", mine + "/api_keys/key_nobody", s.AdminKey, "", 404, nil, nil},
		{"key update without change", "POST", mine + "/api_keys/key_nobody", s.AdminKey, `{}`, 400, nil, nil},
		{"expiry without key", "POST", mine + "/service_accounts", s.AdminKey, `{"name":"a","create_service_account_only":true,"expires_in_seconds":60}`, 400, "invalid_value", "expires_in_seconds"},
		{"expiry of nothing", "POST", "/v1/organization/admin_api_keys", s.AdminKey, `{"name":"a","expires_in_seconds":0}`, 400, "invalid_value", "expires_in_seconds"},
		{"usage without start", "GET", "/v1/organization/usage/completions", s.AdminKey, "", 400, "missing_required_parameter", "start_time"},
		{"usage by nonsense", "GET", "/v1/organization/usage/completions?start_time=1&group_by[]=colour", s.AdminKey, "", 400, "invalid_value", "group_by"},
		{"usage of a bad page", "GET", "/v1/organization/usage/completions?start_time=1&page=x", s.AdminKey, "", 400, "invalid_value", "page"},
		{"embeddings by tier", "GET", "/v1/organization/usage/embeddings?start_time=1&group_by=service_tier", s.AdminKey, "", 400, "invalid_value", "group_by"},
		{"bad manifest", "POST", "/gatehouse/v1/apply", s.AdminKey, "upstreamz: []", 400, nil, nil},
		{"unknown request", "GET", "/gatehouse/v1/requests/req_00000000000000000000000000000000", s.AdminKey, "", 404, nil, nil},
		{"bad class", "POST", "/gatehouse/v1/keys", s.AdminKey, `{"class":"golden"}`, 400, "invalid_value", "class"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, v := ask(t, s, tt.method, tt.path, tt.key, tt.body)
			if status != tt.status {
				t.Fatalf("status %d, want %d: %v", status, tt.status, v)
			}
			e := v["error"].(map[string]any)
			if tt.code != nil && e["code"] != tt.code {
				t.Errorf("code %v, want %v", e["code"], tt.code)
			}
			if tt.param != nil && e["param"] != tt.param {
				t.Errorf("param %v, want %v", e["param"], tt.param)
			}
		})
	}
}

func TestResidencyIsKept(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	for body, want := range map[string]string{
		`{"name":"a"}`:                          "GLOBAL",
		`{"name":"a","residency":"JP_STORAGE"}`: "JP_STORAGE",
		`{"name":"a","geography":"EU"}`:         "EU_STORAGE_PROCESSING",
		`{"name":"a","geography":"KR"}`:         "KR_STORAGE",
	} {
		if _, p := ask(t, s, "POST", "/v1/organization/projects", s.AdminKey, body); p["residency"] != want {
			t.Errorf("%s: residency %v, want %s", body, p["residency"], want)
		}
	}
}

// TestPagesNeitherSkipNorRepeat walks lists in every style the API has while other elements come and go.
func TestPagesNeitherSkipNorRepeat(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	base := "/v1/organization/projects/" + s.ProjectID + "/service_accounts"
	var stay []string
	for i := range 23 {
		_, v := ask(t, s, "POST", base, s.AdminKey, fmt.Sprintf(`{"name":"bot %d"}`, i))
		stay = append(stay, v["id"].(string))
	}
	var seen []string
	after := ""
	for page := 0; ; page++ {
		_, v := ask(t, s, "GET", base+"?limit=5&after="+after, s.AdminKey, "")
		data := v["data"].([]any)
		for _, e := range data {
			seen = append(seen, e.(map[string]any)["id"].(string))
		}
		if len(data) > 0 && (v["last_id"] != seen[len(seen)-1] || v["first_id"] != data[0].(map[string]any)["id"]) {
			t.Errorf("page %d: first_id or last_id is not of the page", page)
		}
		// Meanwhile one comes and goes, and the one that the page ended with is removed.
		_, added := ask(t, s, "POST", base, s.AdminKey, `{"name":"passing"}`)
		ask(t, s, "DELETE", base+"/"+added["id"].(string), s.AdminKey, "")
		if v["has_more"] != true {
			break
		}
		after = v["last_id"].(string)
	}
	for _, id := range stay {
		if n := len(slices.DeleteFunc(slices.Clone(seen), func(s string) bool { return s != id })); n != 1 {
			t.Errorf("%s was listed %d times", id, n)
		}
	}
}

// TestKeysLiveUnderGatehouse drives what OpenAI has no endpoint for.
func TestKeysLiveUnderGatehouse(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	_, users := ask(t, s, "GET", "/v1/organization/users", s.AdminKey, "")
	user := users["data"].([]any)[0].(map[string]any)["id"].(string)
	create := fmt.Sprintf(`{"class":"project","project_id":%q,"user_id":%q,"name":"laptop","labels":{"team":"search"},"models":["gpt-4o-mini"],"allowed_ips":["127.0.0.0/8"]}`, s.ProjectID, user)
	status, key := ask(t, s, "POST", "/gatehouse/v1/keys", s.AdminKey, create)
	if status != 200 {
		t.Fatalf("status %d: %v", status, key)
	}
	value, id := key["value"].(string), key["id"].(string)
	if key["state"] != "active" || !strings.HasPrefix(value, "sk-proj-") {
		t.Errorf("created %v", key)
	}
	call := func(model string) int {
		status, _ := ask(t, s, "POST", "/v1/chat/completions", value, fmt.Sprintf(`{"model":%q,"max_tokens":2,"messages":[{"role":"user","content":"hi"}]}`, model))
		return status
	}
	step := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: status %d, want %d", what, got, want)
		}
	}
	step("a model it may use", call("gpt-4o-mini"), 200)
	step("a model it may not use", call("gpt-4o"), 403)
	ask(t, s, "POST", "/gatehouse/v1/keys/"+id+"/suspend", s.AdminKey, "")
	step("suspended", call("gpt-4o-mini"), 401)
	ask(t, s, "POST", "/gatehouse/v1/keys/"+id+"/resume", s.AdminKey, "")
	step("resumed", call("gpt-4o-mini"), 200)
	ask(t, s, "POST", "/gatehouse/v1/keys/"+id, s.AdminKey, `{"allowed_ips":["203.0.113.0/24"]}`)
	step("from elsewhere", call("gpt-4o-mini"), 401)
	ask(t, s, "POST", "/gatehouse/v1/keys/"+id, s.AdminKey, `{"allowed_ips":[],"scopes":["api.all.read"]}`)
	step("read-only", call("gpt-4o-mini"), 401)
	ask(t, s, "POST", "/gatehouse/v1/keys/"+id, s.AdminKey, `{"scopes":[]}`)
	step("everything", call("gpt-4o-mini"), 200)
	_, shown := ask(t, s, "GET", "/gatehouse/v1/keys/"+id, s.AdminKey, "")
	if _, leaked := shown["value"]; leaked {
		t.Error("the secret was shown a second time")
	}
	status, gone := ask(t, s, "DELETE", "/gatehouse/v1/keys/"+id, s.AdminKey, "")
	if status != 200 || gone["deleted"] != true {
		t.Errorf("revoked: %d %v", status, gone)
	}
	step("revoked", call("gpt-4o-mini"), 401)
}

// TestEveryAnswerCanBeExplained looks the decisions behind answers up again, by our id and by the caller's own.
func TestEveryAnswerCanBeExplained(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	for i, tt := range []struct{ path, key, rule, route string }{
		{"/v1/models", s.APIKey, "served", "models.list"},
		{"/v1/models", "sk-proj-nonsense", "key_malformed", "models.list"},
		{"/v1/models/none", s.APIKey, "model_not_found", "models.retrieve"},
		{"/v1/organization/projects", s.AdminKey, "served", "GET /v1/organization/projects"},
		{"/openai/v1/models", s.Azure.APIKey, "served", "models.list"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		own := fmt.Sprintf("mine-%d", i)
		req.Header.Set("Authorization", "Bearer "+tt.key)
		req.Header.Set("X-Client-Request-Id", own)
		resp, err := s.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		ids := []string{resp.Header.Get("X-Request-Id")}
		if tt.rule == "served" {
			ids = append(ids, own)
		}
		for _, id := range ids {
			status, v := ask(t, s, "GET", "/gatehouse/v1/requests/"+id, s.AdminKey, "")
			if status != 200 || v["rule"] != tt.rule || v["route"] != tt.route || v["status"] != float64(resp.StatusCode) {
				t.Errorf("%s: explained as %v", tt.path, v)
			}
		}
	}
}
