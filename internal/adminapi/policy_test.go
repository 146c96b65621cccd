package adminapi_test

import (
	"testing"

	"gatehouse/gatehousetest"
)

// TestProjectPolicyIsChecked: what makes no sense is a 400 that names the field, and changes nothing.
func TestProjectPolicyIsChecked(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	prj := "/v1/organization/projects/" + s.ProjectID
	for _, c := range []struct {
		method, path, body string
		status             int
		param              any
	}{
		{"POST", prj + "/model_permissions", `{}`, 400, "mode"},
		{"POST", prj + "/model_permissions", `{"mode":"allow_list"}`, 400, "model_ids"},
		{"POST", prj + "/model_permissions", `{"mode":"every","model_ids":[]}`, 400, "mode"},
		{"POST", prj + "/model_permissions", `{"mode":"deny_list","model_ids":[""]}`, 400, "model_ids"},
		{"POST", prj + "/model_permissions", `{"mode":"deny_list","model_ids":["a","a"]}`, 400, "model_ids"},
		{"POST", prj + "/model_permissions", `{"mode":"deny_list","model_ids":"a"}`, 400, "model_ids"},
		{"POST", prj + "/model_permissions", `{"mode":"deny_list","models":["a"]}`, 400, "models"},
		{"POST", prj + "/hosted_tool_permissions", `{"web_search":{}}`, 400, "web_search.enabled"},
		{"POST", prj + "/hosted_tool_permissions", `{"web_search":false}`, 400, "web_search"},
		{"POST", prj + "/hosted_tool_permissions", `{"computer_use":{"enabled":false}}`, 400, "computer_use"},
		{"POST", prj + "/data_retention", `{}`, 400, "retention_type"},
		{"POST", prj + "/data_retention", `{"retention_type":"forever"}`, 400, "retention_type"},
		{"POST", "/v1/organization/data_retention", `{"retention_type":"organization_default"}`, 400, "retention_type"},
		{"GET", "/v1/organization/projects/proj_none/model_permissions", "", 404, nil},
		{"GET", "/v1/organization/projects/proj_none/hosted_tool_permissions", "", 404, nil},
		{"POST", "/v1/organization/projects/proj_none/data_retention", `{"retention_type":"none"}`, 404, nil},
	} {
		status, v := ask(t, s, c.method, c.path, s.AdminKey, c.body)
		if status != c.status || v["error"].(map[string]any)["param"] != c.param {
			t.Errorf("%s %s %s: %d %v", c.method, c.path, c.body, status, v)
		}
	}
	if _, v := ask(t, s, "GET", prj+"/model_permissions", s.AdminKey, ""); v["mode"] != "deny_list" || len(v["model_ids"].([]any)) != 0 {
		t.Errorf("the models after what was refused: %v", v)
	}
	if status, _ := ask(t, s, "POST", prj+"/model_permissions", s.APIKey, `{"mode":"deny_list","model_ids":[]}`); status != 403 {
		t.Errorf("a project's key changes what its project may do: %d", status)
	}
	_, v := ask(t, s, "POST", "/v1/organization/projects", s.AdminKey, `{"name":"Old"}`)
	old := "/v1/organization/projects/" + v["id"].(string)
	if status, v := ask(t, s, "POST", old+"/archive", s.AdminKey, ""); status != 200 {
		t.Fatalf("archive: %d %v", status, v)
	}
	if status, v := ask(t, s, "POST", old+"/model_permissions", s.AdminKey, `{"mode":"deny_list","model_ids":["a"]}`); status != 400 {
		t.Errorf("an archived project was changed: %d %v", status, v)
	}
	// Saying the same again makes no event.
	for range 2 {
		ask(t, s, "POST", prj+"/hosted_tool_permissions", s.AdminKey, `{"mcp":{"enabled":false}}`)
	}
	if _, v := ask(t, s, "GET", "/v1/organization/audit_logs?event_types[]=project.updated", s.AdminKey, ""); len(v["data"].([]any)) != 1 {
		t.Errorf("%d events of one change", len(v["data"].([]any)))
	}
}
