package adminapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/gatehousetest"
)

// TestListsUnderConcurrentChange: whoever reads a list page by page while others create and remove what is in it sees everything that
// was there throughout exactly once, in one order, with OpenAI's cursors in style A (last_id), in style B (the last element's id) and
// backwards where there is `before`.
func TestListsUnderConcurrentChange(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	made := func(path, body string) string {
		t.Helper()
		status, v := ask(t, s, "POST", path, s.AdminKey, body)
		id, _ := v["id"].(string)
		if status != 200 || id == "" {
			t.Fatalf("POST %s: %d %v", path, status, v)
		}
		return id
	}
	const alert = `{"threshold_amount":100,"currency":"USD","interval":"month","notification_channel":{"type":"email","recipients":["ops@example.com"]}}`
	prj := "/v1/organization/projects/" + s.ProjectID
	lists := []struct {
		name, list, create, body string
		remove                   func(id string) (method, path string)
		before                   bool
	}{
		{"projects", "/v1/organization/projects", "/v1/organization/projects", `{"name":"n"}`,
			func(id string) (string, string) { return "POST", "/v1/organization/projects/" + id + "/archive" }, false},
		{"users", "/v1/organization/users", "/gatehouse/v1/users", `{"name":"n"}`, func(id string) (string, string) { return "DELETE", "/v1/organization/users/" + id }, false},
		{"invites", "/v1/organization/invites", "/v1/organization/invites", `{"email":"a{n}@example.com","role":"reader"}`, func(id string) (string, string) { return "DELETE", "/v1/organization/invites/" + id }, false},
		{"groups", "/v1/organization/groups", "/v1/organization/groups", `{"name":"g {n}"}`, func(id string) (string, string) { return "DELETE", "/v1/organization/groups/" + id }, false},
		{"roles", "/v1/organization/roles", "/v1/organization/roles", `{"role_name":"r {n}","permissions":[]}`, func(id string) (string, string) { return "DELETE", "/v1/organization/roles/" + id }, false},
		{"identity providers", "/v1/organization/workload_identity_providers", "/v1/organization/workload_identity_providers", providerBody,
			func(id string) (string, string) {
				return "DELETE", "/v1/organization/workload_identity_providers/" + id
			}, false},
		{"external keys", "/v1/organization/external_keys", "/v1/organization/external_keys", externalKeyBody,
			func(id string) (string, string) { return "DELETE", "/v1/organization/external_keys/" + id }, false},
		{"service accounts", prj + "/service_accounts", prj + "/service_accounts", `{"name":"n","create_service_account_only":true}`,
			func(id string) (string, string) { return "DELETE", prj + "/service_accounts/" + id }, false},
		{"admin keys", "/v1/organization/admin_api_keys", "/v1/organization/admin_api_keys", `{"name":"n"}`,
			func(id string) (string, string) { return "DELETE", "/v1/organization/admin_api_keys/" + id }, false},
		{"spend alerts", prj + "/spend_alerts", prj + "/spend_alerts", alert, func(id string) (string, string) { return "DELETE", prj + "/spend_alerts/" + id }, true},
	}
	var numbers atomic.Int64 // for names that must differ
	number := func(body string) string { return strings.Replace(body, "{n}", fmt.Sprint(numbers.Add(1)), 1) }
	for _, l := range lists {
		t.Run(l.name, func(t *testing.T) {
			stays := map[string]bool{}
			for i := range 24 {
				id := made(l.create, number(l.body))
				if i%2 == 0 {
					stays[id] = true
				} else if method, path := l.remove(id); i%4 == 1 { // some are gone before anybody reads
					ask(t, s, method, path, s.AdminKey, "")
				}
			}
			ctx, stop := context.WithCancel(t.Context())
			var others sync.WaitGroup
			changes := 0
			others.Go(func() { // makes and removes until the reading is over
				send := func(method, path, body string) string {
					req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
					if err != nil {
						t.Error(err)
						return ""
					}
					req.Header.Set("Authorization", "Bearer "+s.AdminKey)
					resp, err := s.Client.Do(req)
					if err != nil {
						t.Error(err)
						return ""
					}
					defer func() { _ = resp.Body.Close() }()
					var v struct{ ID string }
					decodeJSON(t, resp.Body, &v)
					return v.ID
				}
				for ctx.Err() == nil {
					var ids []string
					for range 3 {
						ids = append(ids, send("POST", l.create, number(l.body)))
					}
					for _, id := range ids {
						method, path := l.remove(id)
						send(method, path, "")
					}
					changes += len(ids)
				}
			})
			walk := func(cursor string, next func(page map[string]any) string) {
				t.Helper()
				seen := map[string]int{}
				var order []string
				for at, pages := "", 0; pages < 1000; pages++ {
					path := fmt.Sprintf("%s?limit=3&order=asc", l.list)
					if at != "" {
						path += "&" + cursor + "=" + at
					}
					status, page := ask(t, s, "GET", path, s.AdminKey, "")
					if status != 200 {
						t.Fatalf("%s: %d %v", path, status, page)
					}
					for _, e := range page["data"].([]any) {
						id := e.(map[string]any)["id"].(string)
						seen[id]++
						order = append(order, id)
					}
					if page["has_more"] != true {
						break
					}
					at = next(page)
				}
				for id := range stays {
					if seen[id] != 1 {
						t.Errorf("%s: what was there throughout was seen %d times", cursor, seen[id])
					}
				}
				for id, n := range seen {
					if n > 1 {
						t.Errorf("%s: %s was seen %d times in %v", cursor, id, n, order)
					}
				}
			}
			for range 5 {
				walk("after", func(page map[string]any) string {
					if next, ok := page["next"].(string); ok { // style C
						return next
					}
					return page["last_id"].(string)
				})
				walk("after", func(page map[string]any) string {
					data := page["data"].([]any)
					return data[len(data)-1].(map[string]any)["id"].(string)
				})
			}
			if l.before {
				// From the newest page that there is now back to the beginning.
				var last string
				for at := ""; ; {
					_, page := ask(t, s, "GET", l.list+"?limit=100&order=asc&after="+at, s.AdminKey, "")
					if id, ok := page["last_id"].(string); ok {
						last, at = id, id
					}
					if page["has_more"] != true {
						break
					}
				}
				seen := map[string]int{last: 1}
				for at := last; ; {
					_, page := ask(t, s, "GET", l.list+"?limit=3&order=asc&before="+at, s.AdminKey, "")
					for _, e := range page["data"].([]any) {
						seen[e.(map[string]any)["id"].(string)]++
					}
					if page["has_more"] != true {
						break
					}
					at = page["first_id"].(string)
				}
				for id := range stays {
					if seen[id] != 1 {
						t.Errorf("backwards: what was there throughout was seen %d times", seen[id])
					}
				}
			}
			stop()
			others.Wait()
			if changes == 0 {
				t.Error("nothing changed while the lists were read")
			}
		})
	}
}

// decodeJSON reads one JSON value.
func decodeJSON(t *testing.T, r io.Reader, v any) {
	t.Helper()
	if err := json.NewDecoder(r).Decode(v); err != nil {
		t.Error(err)
	}
}

// TestAssignedRolesWhileTheyChange: the list of somebody's roles goes on where it was when the one it stopped at is taken, and when the
// assignment that a role was first had through is.
func TestAssignedRolesWhileTheyChange(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	call := func(method, path, body string) map[string]any {
		t.Helper()
		status, v := ask(t, s, method, path, s.AdminKey, body)
		if status != 200 {
			t.Fatalf("%s %s: %d %v", method, path, status, v)
		}
		return v
	}
	const org = "/v1/organization"
	user := call("POST", "/gatehouse/v1/users", `{"name":"Ann"}`)["id"].(string)
	group := call("POST", org+"/groups", `{"name":"g"}`)["id"].(string)
	call("POST", org+"/groups/"+group+"/users", `{"user_id":"`+user+`"}`)
	var roles []string
	for i := range 9 {
		id := call("POST", org+"/roles", fmt.Sprintf(`{"role_name":"r%d","permissions":[]}`, i))["id"].(string)
		roles = append(roles, id)
		call("POST", org+"/users/"+user+"/roles", `{"role_id":"`+id+`"}`)
		call("POST", org+"/groups/"+group+"/roles", `{"role_id":"`+id+`"}`)
	}
	slices.Sort(roles)
	for _, order := range []string{"asc", "desc"} {
		var seen []string
		for after := ""; ; {
			page := call("GET", org+"/users/"+user+"/roles?limit=2&order="+order+"&after="+after, "")
			for _, e := range page["data"].([]any) {
				seen = append(seen, e.(map[string]any)["id"].(string))
			}
			if page["has_more"] != true {
				break
			}
			after = page["next"].(string)
			if at := slices.Index(roles, after); order == "asc" && at >= 0 { // where the reader is: to be had through the group alone
				call("DELETE", org+"/users/"+user+"/roles/"+after, "")
			} else if at >= 0 { // gone for good
				call("DELETE", org+"/groups/"+group+"/roles/"+after, "")
			}
		}
		want := append([]string{"role-api-organization-reader"}, roles...)
		if order == "desc" {
			slices.Reverse(want)
		}
		if !slices.Equal(seen, want) {
			t.Errorf("%s: %v, want %v", order, seen, want)
		}
	}
}

// TestUsagePagesWhileUsageArrives reads usage and costs page by page (style D) while requests are made: the buckets of a walk follow one
// another without a gap, a page token stands for the same buckets however often and late it is used, and what has been told of a bucket
// that is over stays.
func TestUsagePagesWhileUsageArrives(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	ctx, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	defer others.Wait()
	defer stop()
	var calls atomic.Int64
	others.Go(func() { // calls until the reading is over
		for ctx.Err() == nil {
			if status, _ := ask(t, s, "POST", "/v1/chat/completions", s.APIKey, `{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`); status == 200 {
				calls.Add(1)
			}
		}
	})
	type bucket struct {
		Start   float64 `json:"start_time"`
		End     float64 `json:"end_time"`
		Results []any   `json:"results"`
	}
	get := func(path, token string) (buckets []bucket, next string) {
		t.Helper()
		if token != "" {
			path += "&page=" + token
		}
		status, v := ask(t, s, "GET", path, s.AdminKey, "")
		if status != 200 {
			t.Fatal(status, v)
		}
		text, err := json.Marshal(v["data"])
		if err != nil {
			t.Fatal(err)
		}
		decodeJSON(t, strings.NewReader(string(text)), &buckets)
		next, _ = v["next_page"].(string)
		return buckets, next
	}
	now := time.Now().Unix()
	for _, c := range []struct {
		path  string
		width float64
	}{
		{fmt.Sprintf("/v1/organization/usage/completions?bucket_width=1m&limit=7&start_time=%d", now-40*60), 60},
		{fmt.Sprintf("/v1/organization/usage/completions?bucket_width=1h&limit=5&start_time=%d&group_by[]=model", now-30*3600), 3600},
		{fmt.Sprintf("/v1/organization/costs?limit=3&start_time=%d", now-12*86400), 86400},
	} {
		pages := map[string][]bucket{} // by token
		for range 5 {
			last, token := 0.0, ""
			for n := 0; ; n++ {
				buckets, next := get(c.path, token)
				if before, seen := pages[token]; seen {
					for i := range min(len(before), len(buckets)) {
						if before[i].Start != buckets[i].Start {
							t.Fatalf("%s: page %q began bucket %d at %v, and now at %v", c.path, token, i, before[i].Start, buckets[i].Start)
						}
						if over := before[i].End < float64(now)-60; over && fmt.Sprint(before[i].Results) != fmt.Sprint(buckets[i].Results) {
							t.Errorf("%s: a bucket that was over changed: %v, now %v", c.path, before[i], buckets[i])
						}
					}
				}
				pages[token] = buckets
				for _, b := range buckets {
					if last != 0 && b.Start != last {
						t.Fatalf("%s: a bucket begins at %v, the one before ended at %v", c.path, b.Start, last)
					}
					last = b.End
				}
				if token = next; token == "" {
					if last < float64(now) {
						t.Errorf("%s: the last bucket ends at %v, before now", c.path, last)
					}
					break
				}
				if n > 50 {
					t.Fatal("the pages have no end")
				}
			}
		}
		if len(pages) < 4 {
			t.Errorf("%s: %d pages", c.path, len(pages))
		}
	}
	if calls.Load() == 0 {
		t.Error("no usage arrived while it was read")
	}
}
