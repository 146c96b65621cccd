package adminapi_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/gatehousetest"
)

// editBodies change an object that has a GET of its own, each time to something else: %d is a number that was not there before.
var editBodies = map[string]string{
	"/gatehouse/v1/keys/{api_key_id}":                                                  `{"name":"k%d"}`,
	"/gatehouse/v1/budgets/{budget}":                                                   `{"amount_usd":%d}`,
	"/gatehouse/v1/limits/{limit}":                                                     `{"max_requests_per_1_minute":%d}`,
	"/gatehouse/v1/resources/{resource}":                                               `{"region":"r%d"}`,
	"/v1/organization/certificates/{certificate_id}":                                   `{"name":"c%d"}`,
	"/v1/organization/groups/{group_id}":                                               `{"name":"g%d"}`,
	"/v1/organization/projects/{project_id}":                                           `{"name":"p%d"}`,
	"/v1/organization/projects/{project_id}/api_keys/{api_key_id}":                     `{"expires_in_seconds":%d}`,
	"/v1/organization/projects/{project_id}/service_accounts/{service_account_id}":     `{"name":"s%d"}`,
	"/v1/organization/projects/{project_id}/spend_alerts/{alert_id}":                   editedAlert,
	"/v1/organization/projects/{project_id}/users/{user_id}":                           `{"role":"ROLE"}`,
	"/v1/organization/roles/{role_id}":                                                 `{"role_name":"r%d"}`,
	"/v1/organization/spend_alerts/{alert_id}":                                         editedAlert,
	"/v1/organization/users/{user_id}":                                                 `{"role":"ROLE"}`,
	"/v1/organization/workload_identity_providers/{provider}":                          `{"name":"p%d"}`,
	"/v1/organization/workload_identity_providers/{provider2}/federation_rules/{rule}": `{"name":"f%d"}`,
	"/v1/projects/{project_id}/roles/{role_id}":                                        `{"role_name":"r%d"}`,
}

const editedAlert = `{"threshold_amount":%d,"currency":"USD","interval":"month","notification_channel":{"type":"email","recipients":["ops@example.com"]}}`

// TestOneOfTwoEditors: of two who read an object and change it, the second is told so, whatever the object; and of many at once one
// succeeds.
func TestOneOfTwoEditors(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c := &conformance{t: t, s: s, ids: map[string]string{"start": fmt.Sprint(time.Now().Unix())}}
	call := func(method, path, match, body string) (status int, tag, text string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return 0, "", ""
		}
		req.Header.Set("Authorization", "Bearer "+s.AdminKey)
		if match != "" {
			req.Header.Set("If-Match", match)
		}
		resp, err := s.Client.Do(req)
		if err != nil {
			t.Error(err)
			return 0, "", ""
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		return resp.StatusCode, resp.Header.Get("ETag"), string(answer)
	}
	n := 1000
	edit := func(pattern string) string {
		n++
		role := "owner"
		if n%2 == 0 && strings.Contains(pattern, "{project_id}") {
			role = "member"
		} else if n%2 == 0 {
			role = "reader"
		}
		return strings.NewReplacer("%d", fmt.Sprint(n), "ROLE", role).Replace(editBodies[pattern])
	}
	prepared := func(pattern string) string {
		t.Helper()
		c.prepare(pattern)
		n += n % 2 // whoever is edited first becomes an owner
		made := func(param, path, body string) {
			t.Helper()
			status, v := ask(c.t, s, "POST", path, s.AdminKey, body)
			if status != 200 {
				c.t.Fatal(status, v)
			}
			c.ids[param] = fmt.Sprint(v["id"])
		}
		switch {
		case strings.Contains(pattern, "{budget}"):
			made("budget", "/gatehouse/v1/budgets", fmt.Sprintf(`{"name":"b%d","amount_usd":5}`, n))
		case strings.Contains(pattern, "{limit}"):
			made("limit", "/gatehouse/v1/limits", `{"scope":"project","subject":"`+c.ids["project_id"]+`","max_requests_per_1_minute":5}`)
		case strings.Contains(pattern, "{resource}"):
			made("resource", "/gatehouse/v1/resources", fmt.Sprintf(`{"name":"r%d","project_id":"%s"}`, n, c.ids["project_id"]))
		}
		return c.path(pattern)
	}
	for _, pattern := range slices.Sorted(maps.Keys(editBodies)) {
		t.Run(pattern, func(t *testing.T) {
			c.t = t
			path := prepared(pattern)
			status, first, text := call("GET", path, "", "")
			if status != 200 || first == "" {
				t.Fatalf("%d, ETag %q: %s", status, first, text)
			}
			if status, _, text = call("POST", path, first, edit(pattern)); status != 200 {
				t.Fatalf("the first editor: %d %s", status, text)
			}
			_, second, before := call("GET", path, "", "")
			if second == first {
				t.Error("the ETag is the same after a change")
			}
			for _, method := range []string{"POST", "DELETE"} {
				if method == "DELETE" && path == "/v1/organization/projects/"+c.ids["project_id"] {
					continue // projects are archived
				}
				if status, _, text = call(method, path, first, edit(pattern)); status != 409 || !strings.Contains(text, `"changed_meanwhile"`) {
					t.Errorf("the second editor's %s: %d %s", method, status, text)
				}
			}
			if _, tag, after := call("GET", path, "", ""); tag != second || after != before {
				t.Errorf("what was refused changed something: %s\n%s", before, after)
			}

			var over sync.WaitGroup
			var mu sync.Mutex
			outcomes := map[int]int{}
			for range 4 {
				body := edit(pattern)
				if strings.Contains(pattern, "users/") {
					body = strings.NewReplacer("member", "owner", "reader", "owner").Replace(body) // the first alone changes something
				}
				over.Go(func() {
					status, _, _ := call("POST", path, second, body)
					mu.Lock()
					defer mu.Unlock()
					outcomes[status]++
				})
			}
			over.Wait()
			if !strings.Contains(pattern, "users/") && (outcomes[200] != 1 || outcomes[409] != 3) {
				t.Errorf("of four editors at once: %v, want one success", outcomes)
			}
		})
	}
	// No object that is read and changed is left out.
	routes, err := os.ReadFile("testdata/routes.txt")
	if err != nil {
		t.Fatal(err)
	}
	param := regexp.MustCompile(`\{[^}]*\}`)
	tried := map[string]bool{}
	for pattern := range editBodies {
		tried[param.ReplaceAllString(pattern, "{}")] = true
	}
	has := regexp.MustCompile(`(?m)GET (\S+\})$`)
	for _, m := range has.FindAllStringSubmatch(string(routes), -1) {
		if strings.Contains(string(routes), "POST "+m[1]+"\n") && !tried[param.ReplaceAllString(m[1], "{}")] {
			t.Errorf("nobody edits %s", m[1])
		}
	}

	const path = "/v1/organization/admin_api_keys"
	for match, want := range map[string]int{`*`: 200, `"x"`: 400, `x`: 400} {
		if status, _, text := call("POST", path, match, `{"name":"k"}`); status != want {
			t.Errorf("If-Match %s where nothing has one: %d %s", match, status, text)
		}
	}
	project := "/v1/organization/projects/" + c.ids["project_id"]
	for match, want := range map[string]int{`*`: 200, `"x", "y"`: 409, `x`: 400, `W/"x"`: 400} {
		if status, _, text := call("POST", project, match, `{"name":"again"}`); status != want {
			t.Errorf("If-Match %s: %d %s", match, status, text)
		}
	}
}
