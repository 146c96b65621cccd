package adminapi_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"gatehouse/gatehousetest"
)

// TestDeploymentsStatus shows a route that asked to be left alone and one whose upstream refuses its credential, beside one that works.
func TestDeploymentsStatus(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	busy := gatehousetest.NewUpstream(t, gatehousetest.Respond(429, "application/json", `{"error":{"message":"slow down"}}`, "Retry-After: 50"))
	locked := gatehousetest.NewUpstream(t, gatehousetest.Respond(401, "application/json", `{"error":{"message":"Incorrect API key provided"}}`))
	put := func(path, body string) {
		t.Helper()
		if status, v := ask(t, s, "POST", "/gatehouse/v1/"+path, s.AdminKey, body); status != http.StatusOK {
			t.Fatalf("%s: %d %v", path, status, v)
		}
	}
	for name, url := range map[string]string{"busy": busy.URL, "locked": locked.URL} {
		put("upstreams", fmt.Sprintf(`{"name":%q,"dialect":"openai","base_url":"%s/v1","allow_private":true,"timeouts":{"connect":"5s"}}`, name, url))
	}
	put("upstreams", `{"name":"works","dialect":"mock"}`)
	put("deployments", `{"name":"chat","sticky":"none","routes":[{"upstream":"busy"},{"upstream":"locked","priority":1,"timeouts":{"total":"90s"}},{"upstream":"works","model":"gpt-4o","weight":2,"priority":2}]}`)
	if status, v := ask(t, s, "POST", "/v1/chat/completions", s.APIKey, `{"model":"chat","messages":[{"role":"user","content":"hi"}]}`); status != http.StatusOK {
		t.Fatalf("%d %v", status, v)
	}
	if status, _ := ask(t, s, "GET", "/gatehouse/v1/deployments/status", s.APIKey, ""); status != http.StatusForbidden {
		t.Errorf("a data key: %d", status)
	}
	if status, _ := ask(t, s, "GET", "/gatehouse/v1/deployments/status?name=none", s.AdminKey, ""); status != http.StatusNotFound {
		t.Errorf("a deployment that is not there: %d", status)
	}
	var got []string
	for began := time.Now(); time.Since(began) < 20*time.Second; { // a node records what it knows within a second or two
		_, v := ask(t, s, "GET", "/gatehouse/v1/deployments/status?name=chat", s.AdminKey, "")
		got = nil
		for _, d := range v["data"].([]any) {
			for _, r := range d.(map[string]any)["routes"].([]any) {
				r := r.(map[string]any)
				line := fmt.Sprint(r["upstream"], " ", r["weight"], " ", r["priority"], " ", r["state"])
				for _, n := range r["nodes"].([]any) {
					n := n.(map[string]any)
					line += fmt.Sprint(" ", n["reason"], " ", n["since"] != nil, " ", n["until"] != nil)
				}
				got = append(got, line)
			}
		}
		// The circuit may be asked when its second is over; it is open until somebody calls again.
		want := []string{"busy 1 0 throttled rate_limited true true", "locked 1 1 open credential_refused true true", "works 2 2 closed <nil> false false"}
		if fmt.Sprint(got) == fmt.Sprint(want) {
			return
		}
	}
	t.Errorf("got %q", got)
}
