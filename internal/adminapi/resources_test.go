package adminapi_test

import (
	"net/http"
	"strings"
	"testing"

	"gatehouse/gatehousetest"
)

// TestResources drives a resource over HTTP: its shape, when its keys are shown, and what is refused.
func TestResources(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	const path = "/gatehouse/v1/resources"
	status, made := ask(t, s, http.MethodPost, path, s.AdminKey, `{"project_id":"`+s.ProjectID+`","name":"contoso","region":"West Europe"}`)
	if status != 200 || made["object"] != "gatehouse.resource" || made["name"] != "contoso" || made["project_id"] != s.ProjectID || made["region"] != "westeurope" {
		t.Fatalf("created: %d %v", status, made)
	}
	one := path + "/" + made["id"].(string)
	value := func(r map[string]any, key string) string {
		v, _ := r[key].(map[string]any)["value"].(string)
		return v
	}
	key1, key2 := value(made, "key1"), value(made, "key2")
	if !strings.HasPrefix(key1, "sk-azure-gtk") || !strings.HasPrefix(key2, "sk-azure-gtk") || key1 == key2 {
		t.Fatal("the keys are not shown, or are one")
	}
	use := func(key string) int {
		status, _ := ask(t, s, http.MethodGet, "/v1/models", key, "")
		return status
	}
	for _, name := range []string{"Key1", "key1", "KEY1"} {
		status, again := ask(t, s, http.MethodPost, one+"/regenerate_key", s.AdminKey, `{"key_name":"`+name+`"}`)
		if status != 200 || value(again, "key2") != "" || value(again, "key1") == "" {
			t.Fatalf("%s: %d, or the wrong keys are shown", name, status)
		}
		if got := use(key1); got != 401 {
			t.Errorf("%s: the old key gets %d", name, got)
		}
		if key1 = value(again, "key1"); use(key1) != 200 || use(key2) != 200 {
			t.Errorf("%s: a key in use is refused", name)
		}
	}
	status, got := ask(t, s, http.MethodGet, one, s.AdminKey, "")
	if status != 200 || value(got, "key1") != "" || value(got, "key2") != "" || got["key1"].(map[string]any)["redacted_value"] == "" {
		t.Errorf("read back: %d %v", status, got)
	}
	// In OpenAI's list of a project's keys the owner has a shape that its clients know.
	status, list := ask(t, s, http.MethodGet, "/v1/organization/projects/"+s.ProjectID+"/api_keys?limit=100", s.AdminKey, "")
	seen := 0
	for _, k := range list["data"].([]any) {
		owner := k.(map[string]any)["owner"].(map[string]any)
		if account, ok := owner["service_account"].(map[string]any); ok && account["id"] == made["id"] && owner["type"] == "service_account" {
			seen++
		}
	}
	if status != 200 || seen != 2 {
		t.Errorf("OpenAI's list: %d, %d of its keys", status, seen)
	}
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		code, param              any
	}{
		{"no project", "POST", path, `{"name":"x"}`, 400, "missing_required_parameter", "project_id"},
		{"no name", "POST", path, `{"project_id":"` + s.ProjectID + `"}`, 400, "missing_required_parameter", "name"},
		{"unknown project", "POST", path, `{"project_id":"proj_x","name":"x"}`, 404, nil, nil},
		{"bad region", "POST", path, `{"project_id":"` + s.ProjectID + `","name":"x","region":"a,b"}`, 400, "invalid_value", "region"},
		{"name taken", "POST", path, `{"project_id":"` + s.ProjectID + `","name":"contoso"}`, 409, "resource_exists", "name"},
		{"unknown field", "POST", path, `{"project_id":"` + s.ProjectID + `","name":"x","kind":"OpenAI"}`, 400, "unknown_parameter", "kind"},
		{"another project", "POST", one, `{"project_id":"proj_x"}`, 400, "invalid_value", "project_id"},
		{"no key name", "POST", one + "/regenerate_key", `{}`, 400, "missing_required_parameter", "key_name"},
		{"a third key", "POST", one + "/regenerate_key", `{"key_name":"Key3"}`, 400, "invalid_value", "key_name"},
		{"unknown resource", "GET", path + "/res_x", "", 404, nil, nil},
		{"unknown project's list", "GET", path + "?project_id=proj_x", "", 404, nil, nil},
		{"project's bad region", "POST", "/gatehouse/v1/projects/" + s.ProjectID, `{"region":"a,b"}`, 400, "invalid_value", "region"},
		{"a class that is not created", "POST", "/gatehouse/v1/keys", `{"class":"azure","project_id":"` + s.ProjectID + `"}`, 400, "invalid_value", "class"},
	} {
		status, v := ask(t, s, c.method, c.path, s.AdminKey, c.body)
		e, _ := v["error"].(map[string]any)
		if status != c.status || e["code"] != c.code || e["param"] != c.param {
			t.Errorf("%s: %d %v, want %d %v %v", c.name, status, e, c.status, c.code, c.param)
		}
	}
	if status, v := ask(t, s, http.MethodGet, path, key1, ""); status != 403 {
		t.Errorf("administration with a resource's key: %d %v", status, v)
	}
	if status, v := ask(t, s, http.MethodDelete, one, s.AdminKey, ""); status != 200 || v["deleted"] != true || v["object"] != "gatehouse.resource.deleted" {
		t.Errorf("delete: %d %v", status, v)
	}
	if use(key1) != 401 || use(key2) != 401 {
		t.Error("a removed resource's key is accepted")
	}
	status, list = ask(t, s, http.MethodGet, path+"?project_id="+s.ProjectID, s.AdminKey, "")
	if status != 200 || len(list["data"].([]any)) != 0 {
		t.Errorf("after it: %d %v", status, list)
	}
}

// TestProjectsRegion is set and shown by both APIs, and what OpenAI's residency says stays beside it.
func TestProjectsRegion(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	status, p := ask(t, s, http.MethodPost, "/v1/organization/projects", s.AdminKey, `{"name":"pinned","residency":"EU_STORAGE_PROCESSING","region":"France Central"}`)
	if status != 200 || p["region"] != "francecentral" || p["residency"] != "EU_STORAGE_PROCESSING" {
		t.Fatalf("created: %d %v", status, p)
	}
	for _, path := range []string{"/v1/organization/projects/", "/gatehouse/v1/projects/"} {
		if status, p := ask(t, s, http.MethodPost, path+p["id"].(string), s.AdminKey, `{"region":"EU"}`); status != 200 || p["region"] != "eu" || p["effective_by"] != nil {
			t.Errorf("%s: %d %v", path, status, p)
		}
		if status, p := ask(t, s, http.MethodPost, path+p["id"].(string), s.AdminKey, `{"name":"still"}`); status != 200 || p["region"] != "eu" {
			t.Errorf("%s: another field: %d %v", path, status, p)
		}
		if status, p := ask(t, s, http.MethodPost, path+p["id"].(string), s.AdminKey, `{"region":""}`); status != 200 || p["region"] != nil {
			t.Errorf("%s: taken away: %d %v", path, status, p)
		}
	}
}
