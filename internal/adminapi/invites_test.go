package adminapi_test

import (
	"fmt"
	"strings"
	"testing"

	"gatehouse/gatehousetest"
)

// TestInvites: whoever has the link becomes a user, once and in time, with the roles it names and a key that calls models.
func TestInvites(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	const invites, accept = "/v1/organization/invites", "/gatehouse/v1/invites/accept"
	send := func(email, more string) (id, token string) {
		t.Helper()
		status, v := ask(t, s, "POST", invites, s.AdminKey, `{"email":"`+email+`","role":"reader"`+more+`}`)
		link, _ := v["link"].(string)
		_, token, ok := strings.Cut(link, "/gatehouse/v1/invites/accept#")
		if status != 200 || !ok || len(token) != 43 || v["status"] != "pending" || !strings.HasPrefix(link, s.URL) {
			t.Fatalf("%d %v", status, v)
		}
		return v["id"].(string), token
	}
	refused := func(what string, status int, code any, v map[string]any, got int) {
		t.Helper()
		e, _ := v["error"].(map[string]any)
		if got != status || e == nil || e["code"] != code {
			t.Errorf("%s: %d %v", what, got, v)
		}
	}
	id, token := send("ann@example.com", "")
	if _, v := ask(t, s, "GET", invites+"/"+id, s.AdminKey, ""); v["link"] != nil {
		t.Errorf("the link is shown again: %v", v)
	}
	status, v := ask(t, s, "POST", invites, s.AdminKey, `{"email":"Ann@Example.com","role":"reader"}`)
	refused("a second invite to the same address", 409, "already_invited", v, status)
	for what, body := range map[string]string{"another token": `{"token":"` + strings.Repeat("a", 43) + `"}`, "half a token": `{"token":"` + token[:20] + `"}`} {
		status, v := ask(t, s, "POST", accept, "", body)
		refused(what, 404, "invite_not_found", v, status)
	}
	status, v = ask(t, s, "POST", accept, "", `{}`)
	refused("no token", 400, "missing_required_parameter", v, status)
	status, v = ask(t, s, "GET", accept, "", "")
	refused("looking at the link", 405, nil, v, status)
	status, v = ask(t, s, "POST", accept, "", `{"token":"`+token+`","name":"Ann\u202e"}`)
	refused("a name that is none", 400, "invalid_value", v, status)

	status, v = ask(t, s, "POST", accept, "", `{"token":"`+token+`","name":"Ann"}`)
	if status != 200 {
		t.Fatalf("accept: %d %v", status, v)
	}
	user := v["user"].(map[string]any)
	key := v["api_key"].(map[string]any)["value"].(string)
	if user["name"] != "Ann" || user["email"] != "ann@example.com" || user["role"] != "reader" || !strings.HasPrefix(key, "sk-user-") {
		t.Errorf("%v", v)
	}
	if status, v := ask(t, s, "POST", "/v1/chat/completions", key, `{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`); status != 200 {
		t.Errorf("the key does not call: %d %v", status, v)
	}
	if _, v := ask(t, s, "GET", "/v1/organization/users/"+user["id"].(string), s.AdminKey, ""); len(v["projects"].(map[string]any)["data"].([]any)) != 1 {
		t.Errorf("the projects of who was invited without any: %v", v["projects"])
	}
	status, v = ask(t, s, "POST", accept, "", `{"token":"`+token+`","name":"Eve"}`)
	refused("accepted twice", 404, "invite_not_found", v, status)
	if _, v := ask(t, s, "GET", invites+"/"+id, s.AdminKey, ""); v["status"] != "accepted" || v["accepted_at"] == nil {
		t.Errorf("after it: %v", v)
	}
	status, v = ask(t, s, "DELETE", invites+"/"+id, s.AdminKey, "")
	refused("an accepted invite is taken back", 400, nil, v, status)
	status, v = ask(t, s, "POST", invites, s.AdminKey, `{"email":"ANN@example.com","role":"reader"}`)
	refused("somebody who is a user", 409, "already_invited", v, status)

	id, token = send("bo@example.com", `,"projects":[]`)
	if status, v := ask(t, s, "DELETE", invites+"/"+id, s.AdminKey, ""); status != 200 || v["deleted"] != true {
		t.Errorf("%d %v", status, v)
	}
	status, v = ask(t, s, "POST", accept, "", `{"token":"`+token+`"}`)
	refused("taken back", 404, "invite_not_found", v, status)

	// Who sent it must still be able to.
	_, made := ask(t, s, "POST", "/gatehouse/v1/users", s.AdminKey, `{"name":"Oz","role":"owner"}`)
	oz := made["id"].(string)
	_, ozKey := ask(t, s, "POST", "/gatehouse/v1/keys", s.AdminKey, `{"class":"admin","name":"k","user_id":"`+oz+`"}`)
	_, v = ask(t, s, "POST", invites, ozKey["value"].(string), `{"email":"cy@example.com","role":"owner"}`)
	_, token, _ = strings.Cut(v["link"].(string), "#")
	if status, v := ask(t, s, "POST", "/v1/organization/users/"+oz, s.AdminKey, `{"role":"reader"}`); status != 200 {
		t.Fatal(status, v)
	}
	status, v = ask(t, s, "POST", accept, "", `{"token":"`+token+`"}`)
	refused("of an owner no more", 403, "invite_void", v, status)

	if _, v := ask(t, s, "GET", "/v1/organization/audit_logs?event_types[]=invite.accepted", s.AdminKey, ""); len(v["data"].([]any)) != 1 || strings.Contains(fmt.Sprint(v), token) {
		t.Errorf("the audit log: %v", v)
	}
	for what, body := range map[string]string{"email": `{"email":"nobody","role":"reader"}`, "role": `{"email":"x@example.com","role":"king"}`, "projects": `{"email":"x@example.com","role":"reader","projects":[{"id":"` + s.ProjectID + `","role":"king"}]}`} {
		if status, v := ask(t, s, "POST", invites, s.AdminKey, body); status != 400 || v["error"].(map[string]any)["param"] != what {
			t.Errorf("%s: %d %v", body, status, v)
		}
	}
	limited := 0
	for range 40 {
		if status, _ := ask(t, s, "POST", accept, "", `{"token":"`+strings.Repeat("b", 43)+`"}`); status == 429 {
			limited++
		}
	}
	if limited == 0 {
		t.Error("nobody is kept from trying tokens")
	}
}
