package adminapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"gatehouse/gatehousetest"
)

// logs returns the entries of a page of the audit log.
func logs(t *testing.T, s *gatehousetest.Server, query string) (entries []map[string]any, more bool) {
	t.Helper()
	status, page := ask(t, s, "GET", "/v1/organization/audit_logs?"+query, s.AdminKey, "")
	if status != 200 || page["object"] != "list" {
		t.Fatalf("%s: %d %v", query, status, page)
	}
	for _, e := range page["data"].([]any) {
		entries = append(entries, e.(map[string]any))
	}
	return entries, page["has_more"] == true
}

// typesOf returns the types of entries.
func typesOf(entries []map[string]any) (types []string) {
	for _, e := range entries {
		types = append(types, e["type"].(string))
	}
	return types
}

// TestAuditLog makes changes and finds each, in OpenAI's shape, by everything it can be looked for by.
func TestAuditLog(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	_, project := ask(t, s, "POST", "/v1/organization/projects", s.AdminKey, `{"name":"Audited"}`)
	id := project["id"].(string)
	ask(t, s, "POST", "/v1/organization/projects/"+id, s.AdminKey, `{"name":"Renamed"}`)
	_, account := ask(t, s, "POST", "/v1/organization/projects/"+id+"/service_accounts", s.AdminKey, `{"name":"bot"}`)
	key := account["api_key"].(map[string]any)
	ask(t, s, "DELETE", "/v1/organization/projects/"+id+"/api_keys/"+key["id"].(string), s.AdminKey, "")

	entries, _ := logs(t, s, "project_ids[]="+id+"&limit=100")
	want := []string{"api_key.deleted", "api_key.created", "service_account.created", "project.updated", "project.created"}
	got := typesOf(entries)
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Fatalf("the project's log has %v, want %v", got, want)
	}
	find := func(kind string) map[string]any {
		i := slices.IndexFunc(entries, func(e map[string]any) bool { return e["type"] == kind })
		if i < 0 {
			t.Fatalf("there is no %s", kind)
		}
		return entries[i]
	}
	created := find("project.created")
	payload := created["project.created"].(map[string]any)
	if data := payload["data"].(map[string]any); payload["id"] != id || data["name"] != "Audited" || data["title"] != "Audited" || created["project"].(map[string]any)["name"] != "Renamed" {
		t.Errorf("%v", created)
	}
	actor := created["actor"].(map[string]any)
	apiKey, _ := actor["api_key"].(map[string]any)
	if user, _ := apiKey["user"].(map[string]any); actor["type"] != "api_key" || apiKey["type"] != "user" || !strings.HasPrefix(apiKey["id"].(string), "key_") || !strings.HasPrefix(user["id"].(string), "user-") {
		t.Errorf("actor %v", actor)
	}
	extra := created["gatehouse"].(map[string]any)
	if extra["seq"].(float64) < 1 || extra["request_id"] == "" || extra["ip_address"] != "127.0.0.1" {
		t.Errorf("%v", extra)
	}
	if changes := find("project.updated")["project.updated"].(map[string]any)["changes_requested"].(map[string]any); changes["title"] != "Renamed" {
		t.Errorf("changes %v", changes)
	}
	if keyOf := find("api_key.created")["api_key.created"].(map[string]any); keyOf["id"] != key["id"] || keyOf["data"].(map[string]any)["scopes"] == nil {
		t.Errorf("the key's creation: %v", keyOf)
	}
	if text := fmt.Sprint(entries); strings.Contains(text, key["value"].(string)[20:]) {
		t.Error("the audit log holds a key")
	}

	at := int64(created["effective_at"].(float64))
	user := apiKey["user"].(map[string]any)["id"].(string)
	for query, n := range map[string]int{
		"event_types[]=project.created&resource_ids[]=" + id:                                          1,
		"event_types[]=project.created&event_types[]=project.updated&resource_ids[]=" + id:            2,
		"event_types=project.created&resource_ids=" + id:                                              1,
		"resource_ids[]=" + key["id"].(string):                                                        2,
		"project_ids[]=" + id + "&actor_ids[]=" + user:                                                5,
		"project_ids[]=" + id + "&actor_ids[]=" + apiKey["id"].(string) + "&actor_ids[]=" + user:      5,
		"project_ids[]=" + id + "&actor_ids[]=user-nobody":                                            0,
		"project_ids[]=" + id + "&actor_emails[]=nobody@example.com":                                  0,
		fmt.Sprintf("project_ids[]=%s&effective_at[gte]=%d&effective_at[lte]=%d", id, at, at+60):      5,
		fmt.Sprintf("project_ids[]=%s&effective_at%%5Bgt%%5D=%d", id, at+60):                          0,
		fmt.Sprintf("resource_ids[]=%s&event_types[]=project.created&effective_at[lt]=%d", id, at):    0,
		fmt.Sprintf("resource_ids[]=%s&event_types[]=project.created&effective_at[gt]=%d", id, at-1):  1,
		fmt.Sprintf("resource_ids[]=%s&event_types[]=project.created&effective_at[lte]=%d", id, at):   1,
		fmt.Sprintf("resource_ids[]=%s&event_types[]=project.created&effective_at[lte]=%d", id, at-1): 0,
		"tenant_only=true": 0,
	} {
		if found, _ := logs(t, s, query); len(found) != n {
			t.Errorf("%s: %d entries, want %d: %v", query, len(found), n, typesOf(found))
		}
	}

	all, _ := logs(t, s, "limit=100")
	if newest := all[0]["id"]; newest != entries[0]["id"] {
		t.Errorf("the newest is %v, want %v", newest, entries[0]["id"])
	}
	var paged []map[string]any
	for after := ""; ; {
		page, more := logs(t, s, "limit=3"+after)
		paged = append(paged, page...)
		if !more {
			break
		}
		after = "&after=" + page[len(page)-1]["id"].(string)
	}
	seen := map[any]bool{}
	for i, e := range paged {
		if seen[e["id"]] || i < len(all) && e["id"] != all[i]["id"] {
			t.Errorf("page by page entry %d is %v", i, e["id"])
		}
		seen[e["id"]] = true
	}
	if len(paged) < len(all) {
		t.Errorf("page by page %d entries, at once %d", len(paged), len(all))
	}
	if before, _ := logs(t, s, "limit=2&before="+all[4]["id"].(string)); len(before) != 2 || before[0]["id"] != all[2]["id"] || before[1]["id"] != all[3]["id"] {
		t.Errorf("before the fifth: %v", before)
	}
}

func TestAuditLogRefuses(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	for query, param := range map[string]string{
		"limit=0": "limit", "limit=101": "limit", "effective_at[gt]=x": "effective_at[gt]", "after=audit_log-none": "after", "before=audit_log-none": "before",
		"after=a&before=b": "before", "tenant_only=maybe": "tenant_only", "tenant_only=true&event_types[]=project.created": "event_types", "actor_ids[]=": "actor_ids",
		strings.Repeat("event_types[]=a&", 101): "event_types",
	} {
		status, v := ask(t, s, "GET", "/v1/organization/audit_logs?"+query, s.AdminKey, "")
		e, _ := v["error"].(map[string]any)
		if status != 400 || e["param"] != param {
			t.Errorf("%.60s: %d %v, want 400 about %s", query, status, v, param)
		}
	}
	if status, v := ask(t, s, "GET", "/v1/organization/audit_logs", s.APIKey, ""); status != 403 {
		t.Errorf("with a project's key: %d %v", status, v)
	}
}

// TestAuditLogOfRefusals: who was refused, and what an administrator may not do, is in the log, counted; nothing of the credential is.
func TestAuditLogOfRefusals(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	wrong := s.AdminKey[:len(s.AdminKey)-4] + "0000"
	for range 7 {
		ask(t, s, "GET", "/v1/organization/projects", wrong, "")
	}
	_, key := ask(t, s, "POST", "/gatehouse/v1/keys", s.AdminKey, `{"class":"admin","name":"reads","scopes":["api.management.read"]}`)
	limited, _ := key["value"].(string)
	for range 3 {
		if status, v := ask(t, s, "POST", "/v1/organization/projects", limited, `{"name":"x"}`); status != 403 {
			t.Fatalf("%d %v", status, v)
		}
	}
	s.Stop() // writes what was counted
	again := gatehousetest.Start(t, gatehousetest.Options{Data: s.Data})
	failed, _ := logs(t, again, "event_types[]=authentication.failed")
	if len(failed) != 1 {
		t.Fatalf("failures %v", failed)
	}
	payload := failed[0]["authentication.failed"].(map[string]any)
	if payload["count"] != 7.0 || failed[0]["actor"] != nil || failed[0]["gatehouse"].(map[string]any)["ip_address"] != "127.0.0.1" {
		t.Errorf("%v", failed[0])
	}
	denied, _ := logs(t, again, "event_types[]=access.denied&resource_ids[]="+fmt.Sprint(key["id"]))
	if len(denied) != 1 {
		t.Fatalf("denials %v", denied)
	}
	payload = denied[0]["access.denied"].(map[string]any)
	if reasons := payload["reasons"].(map[string]any); payload["count"] != 3.0 || reasons["POST /v1/organization/projects"] != 3.0 || denied[0]["actor"].(map[string]any)["api_key"].(map[string]any)["id"] != key["id"] {
		t.Errorf("%v", denied[0])
	}
	if text := fmt.Sprint(failed, denied); strings.Contains(text, limited[30:]) || strings.Contains(text, wrong[30:60]) {
		t.Error("a credential is in the log")
	}
}
