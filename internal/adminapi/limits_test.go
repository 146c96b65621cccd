package adminapi_test

import (
	"fmt"
	"strings"
	"testing"

	"gatehouse/gatehousetest"
)

// TestProjectRateLimits: a row for each deployment under OpenAI's id, with a number that stands for no limit, paged both ways.
func TestProjectRateLimits(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	path := "/v1/organization/projects/" + s.ProjectID + "/rate_limits"
	if _, short := ask(t, s, "GET", path, s.AdminKey, ""); short["has_more"] != true || len(short["data"].([]any)) != 100 {
		t.Errorf("a page has %d rows unless asked otherwise, want 100", len(short["data"].([]any)))
	}
	status, all := ask(t, s, "GET", path+"?limit=1000", s.AdminKey, "")
	rows := all["data"].([]any)
	if status != 200 || all["object"] != "list" || len(rows) < 5 || all["has_more"] != false {
		t.Fatalf("%d %v", status, all)
	}
	first := rows[0].(map[string]any)
	if first["object"] != "project.rate_limit" || first["id"] != "rl-"+first["model"].(string) || first["max_requests_per_1_minute"] != 9007199254740991.0 ||
		first["max_tokens_per_1_minute"] != 9007199254740991.0 || len(first) != 5 {
		t.Errorf("a row that nobody limited: %v", first)
	}
	status, row := ask(t, s, "POST", path+"/rl-gpt-4o", s.AdminKey, `{"max_requests_per_1_minute":500,"max_images_per_1_minute":10}`)
	if status != 200 || row["max_requests_per_1_minute"] != 500.0 || row["max_images_per_1_minute"] != 10.0 || row["max_tokens_per_1_minute"] != 9007199254740991.0 || row["model"] != "gpt-4o" {
		t.Errorf("set: %d %v", status, row)
	}
	status, row = ask(t, s, "POST", path+"/rl-gpt-4o", s.AdminKey, `{"max_requests_per_1_minute":9007199254740991,"max_tokens_per_1_minute":30000}`)
	if status != 200 || row["max_requests_per_1_minute"] != 9007199254740991.0 || row["max_tokens_per_1_minute"] != 30000.0 || row["max_images_per_1_minute"] != 10.0 {
		t.Errorf("one taken away, one added: %d %v", status, row)
	}
	// Walked page by page the list is the same, forward and back.
	id := func(v any) string { return v.(map[string]any)["id"].(string) }
	var walked []string
	for after := ""; ; {
		_, page := ask(t, s, "GET", path+"?limit=50&after="+after, s.AdminKey, "")
		for _, v := range page["data"].([]any) {
			walked = append(walked, id(v))
		}
		if page["has_more"] != true {
			break
		}
		after = page["last_id"].(string)
	}
	if len(walked) != len(rows) || walked[0] != id(rows[0]) {
		t.Errorf("%d rows in pages, want %d", len(walked), len(rows))
	}
	_, page := ask(t, s, "GET", path+"?limit=2&before="+walked[4], s.AdminKey, "")
	if got := page["data"].([]any); len(got) != 2 || id(got[0]) != walked[2] || id(got[1]) != walked[3] || page["has_more"] != true {
		t.Errorf("before %s: %v", walked[4], page)
	}
	for _, c := range []struct {
		method, path, body string
		status             int
		param              any
	}{
		{"POST", path + "/rl-gpt-4o", `{"max_requests_per_1_minute":0}`, 400, "max_requests_per_1_minute"},
		{"POST", path + "/rl-gpt-4o", `{"max_requests_per_1_minute":-1}`, 400, "max_requests_per_1_minute"},
		{"POST", path + "/rl-gpt-4o", `{"max_tokens_per_1_minute":30000000000}`, 400, "max_tokens_per_1_minute"},
		{"POST", path + "/rl-gpt-4o", `{"tokens":1}`, 400, "tokens"},
		{"POST", path + "/rl-nothing", `{}`, 404, nil},
		{"GET", path + "?after=rl-nothing", "", 400, "after"},
		{"GET", path + "?after=a&before=b", "", 400, "before"},
		{"GET", "/v1/organization/projects/proj_none/rate_limits", "", 404, nil},
	} {
		status, v := ask(t, s, c.method, c.path, s.AdminKey, c.body)
		if status != c.status || v["error"].(map[string]any)["param"] != c.param {
			t.Errorf("%s %s %s: %d %v", c.method, c.path, c.body, status, v)
		}
	}
}

// TestLimits takes a limit through its life and shows what is used of it.
func TestLimits(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	const path = "/gatehouse/v1/limits"
	status, made := ask(t, s, "POST", path, s.AdminKey, fmt.Sprintf(`{"scope":"project","subject":%q,"model":"gpt-4o","max_requests_per_1_minute":2,"max_requests_per_1_day":10}`, s.ProjectID))
	if id, _ := made["id"].(string); status != 200 || made["object"] != "gatehouse.limit" || !strings.HasPrefix(id, "rl-") || made["scope"] != "project" || made["model"] != "gpt-4o" ||
		made["max_requests_per_1_day"] != 10.0 || made["max_tokens_per_1_minute"] != nil {
		t.Fatalf("%d %v", status, made)
	}
	one := path + "/" + made["id"].(string)
	chat := func() int {
		status, _ := ask(t, s, "POST", "/v1/chat/completions", s.APIKey, `{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`)
		return status
	}
	if a, b, c := chat(), chat(), chat(); a != 200 || b != 200 || c != 429 {
		t.Errorf("three requests: %d %d %d, want the third refused", a, b, c)
	}
	_, got := ask(t, s, "GET", one, s.AdminKey, "")
	use := got["use"].([]any)
	if day := use[1].(map[string]any); day["name"] != "requests_per_day" || day["limit"] != 10.0 || day["used"] != 2.0 || day["remaining"] != 8.0 {
		t.Errorf("use: %v", use)
	}
	status, changed := ask(t, s, "POST", one, s.AdminKey, `{"max_requests_per_1_minute":0,"max_tokens_per_1_minute":1000}`)
	if status != 200 || changed["max_requests_per_1_minute"] != nil || changed["max_tokens_per_1_minute"] != 1000.0 || changed["max_requests_per_1_day"] != 10.0 {
		t.Errorf("changed: %d %v", status, changed)
	}
	if status := chat(); status != 200 {
		t.Errorf("a request after the change: %d", status)
	}
	_, list := ask(t, s, "GET", path+"?scope=project&subject="+s.ProjectID, s.AdminKey, "")
	if data := list["data"].([]any); len(data) != 1 {
		t.Errorf("list: %v", list)
	}
	if _, list = ask(t, s, "GET", path+"?scope=user", s.AdminKey, ""); len(list["data"].([]any)) != 0 {
		t.Errorf("list of users' limits: %v", list)
	}
	if status, gone := ask(t, s, "DELETE", one, s.AdminKey, ""); status != 200 || gone["deleted"] != true || gone["object"] != "gatehouse.limit.deleted" {
		t.Errorf("deleted: %d %v", status, gone)
	}
	for _, c := range []struct{ method, path, body string }{{"GET", one, ""}, {"POST", one, "{}"}, {"DELETE", one, ""}} {
		if status, v := ask(t, s, c.method, c.path, s.AdminKey, c.body); status != 404 {
			t.Errorf("%s of what is gone: %d %v", c.method, status, v)
		}
	}
	// Set again it goes on where it was.
	_, again := ask(t, s, "POST", path, s.AdminKey, fmt.Sprintf(`{"scope":"project","subject":%q,"model":"gpt-4o","max_requests_per_1_day":10}`, s.ProjectID))
	if use := again["use"].([]any)[0].(map[string]any); use["used"] != 3.0 {
		t.Errorf("set again: %v", again)
	}
	for body, param := range map[string]string{
		`{"scope":"project","subject":"proj_none","max_requests_per_1_minute":1}`: "",
		`{"scope":"organization"}`:                                       "max_requests_per_1_minute",
		`{"scope":"galaxy","max_requests_per_1_minute":1}`:               "scope",
		`{"model":"nothing","max_requests_per_1_minute":1}`:              "model",
		`{"scope":"user","subject":"x","max_requests_per_1_minute":"1"}`: "max_requests_per_1_minute",
	} {
		status, v := ask(t, s, "POST", path, s.AdminKey, body)
		if got := v["error"].(map[string]any)["param"]; status < 400 || param != "" && got != param {
			t.Errorf("%s: %d %v, want an error about %s", body, status, v, param)
		}
	}
}
