package adminapi_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/gatehousetest"
)

// document is what OpenAI's API document says of its Admin API: paths, parameters and schemas, without its words.
type document struct {
	Operations []operation       `json:"operations"`
	Schemas    map[string]schema `json:"schemas"`
}

type operation struct {
	Method   string   `json:"method"`
	Path     string   `json:"path"`
	Query    []string `json:"query"`
	Request  schema   `json:"request"`
	Response schema   `json:"response"`
}

func (o *operation) name() string { return o.Method + " " + o.Path }

// schema is a JSON schema, as far as the document uses it.
type schema map[string]any

// unserved are the operations that Gatehouse does not have, by the beginning of their paths. They answer 404. There are none.
var unserved = []string{}

// unservedYet reports whether an operation is one of those.
func unservedYet(o *operation) bool {
	return slices.ContainsFunc(unserved, func(p string) bool { return strings.HasPrefix(o.Path, p) })
}

// readDocument reads the document that is kept with the tests.
func readDocument(t *testing.T) *document {
	t.Helper()
	text, err := os.ReadFile("testdata/openai-admin.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return &doc
}

// conformance is a Gatehouse with something of everything, whose ids stand in paths.
type conformance struct {
	t   *testing.T
	s   *gatehousetest.Server
	ids map[string]string
}

func (c *conformance) call(method, path, body string) (int, map[string]any) {
	c.t.Helper()
	return ask(c.t, c.s, method, "/v1"+path, c.s.AdminKey, body)
}

// make creates something and remembers its id.
func (c *conformance) make(param, path, body string) {
	c.t.Helper()
	status, v := c.call("POST", path, body)
	id, _ := v["id"].(string)
	if status != 200 || id == "" {
		c.t.Fatalf("POST %s: %d %v", path, status, v)
	}
	c.ids[param] = id
}

// valid are the bodies and queries with which operations succeed; one that is not here takes neither.
var valid = map[string]string{
	"POST /organization/admin_api_keys":                                                       `{"name":"ci","expires_in_seconds":3600}`,
	"POST /organization/data_retention":                                                       `{"retention_type":"zero_data_retention"}`,
	"POST /organization/projects":                                                             `{"name":"Alpha"}`,
	"POST /organization/projects/{project_id}":                                                `{"name":"Beta"}`,
	"POST /organization/projects/{project_id}/data_retention":                                 `{"retention_type":"none"}`,
	"POST /organization/projects/{project_id}/hosted_tool_permissions":                        `{"mcp":{"enabled":false},"web_search":null}`,
	"POST /organization/projects/{project_id}/model_permissions":                              `{"mode":"deny_list","model_ids":["o3"]}`,
	"POST /organization/projects/{project_id}/rate_limits/{rate_limit_id}":                    `{"max_requests_per_1_minute":500}`,
	"POST /organization/projects/{project_id}/service_accounts":                               `{"name":"robot"}`,
	"POST /organization/projects/{project_id}/service_accounts/{service_account_id}":          `{"name":"android"}`,
	"POST /organization/projects/{project_id}/service_accounts/{service_account_id}/api_keys": `{"name":"second"}`,
	"POST /organization/projects/{project_id}/spend_alerts":                                   `{"threshold_amount":500,"currency":"USD","interval":"month","notification_channel":{"type":"email","recipients":["ops@example.com"]}}`,
	"POST /organization/projects/{project_id}/spend_alerts/{alert_id}":                        `{"threshold_amount":600,"currency":"USD","interval":"month","notification_channel":{"type":"email","recipients":["ops@example.com"]}}`,
	"POST /organization/projects/{project_id}/spend_limit":                                    `{"threshold_amount":10000,"currency":"USD","interval":"month"}`,
	"POST /organization/projects/{project_id}/users":                                          `{"user_id":"{new_user}","role":"member"}`,
	"POST /organization/projects/{project_id}/users/{user_id}":                                `{"role":"viewer"}`,
	"POST /organization/spend_alerts":                                                         `{"threshold_amount":500,"currency":"USD","interval":"month","notification_channel":{"type":"email","recipients":["ops@example.com"],"subject_prefix":"spend"}}`,
	"POST /organization/spend_alerts/{alert_id}":                                              `{"threshold_amount":700,"currency":"USD","interval":"month","notification_channel":{"type":"email","recipients":["ops@example.com"]}}`,
	"POST /organization/spend_limit":                                                          `{"threshold_amount":20000,"currency":"USD","interval":"month"}`,
	"POST /organization/users/{user_id}":                                                      `{"role":"owner"}`,
	"POST /organization/invites":                                                              `{"email":"new-{nonce}@example.com","role":"reader","projects":[{"id":"{project_id}","role":"member"}]}`,
	"POST /organization/groups":                                                               `{"name":"Ops {nonce}"}`,
	"POST /organization/groups/{group_id}":                                                    `{"name":"Ops {nonce}"}`,
	"POST /organization/groups/{group_id}/users":                                              `{"user_id":"{new_user}"}`,
	"POST /organization/groups/{group_id}/roles":                                              `{"role_id":"{other_role}"}`,
	"POST /organization/users/{user_id}/roles":                                                `{"role_id":"{other_role}"}`,
	"POST /organization/roles":                                                                `{"role_name":"Auditor {nonce}","permissions":["api.audit_logs.read"],"description":null}`,
	"POST /organization/roles/{role_id}":                                                      `{"permissions":["api.usage.read"],"description":"Looks at costs.","role_name":null}`,
	"POST /organization/projects/{project_id}/groups":                                         `{"group_id":"{new_group}","role":"role-api-project-member"}`,
	"POST /projects/{project_id}/roles":                                                       `{"role_name":"Caller {nonce}","permissions":["model.request"]}`,
	"POST /projects/{project_id}/roles/{role_id}":                                             `{"permissions":["model.request","api.files.write"]}`,
	"POST /projects/{project_id}/users/{user_id}/roles":                                       `{"role_id":"{other_project_role}"}`,
	"POST /projects/{project_id}/groups/{group_id}/roles":                                     `{"role_id":"{other_project_role}"}`,
	"POST /organization/certificates":                                                         `{"certificate":"{pem}","name":"ours"}`,
	"POST /organization/certificates/{certificate_id}":                                        `{"name":"theirs"}`,
	"POST /organization/certificates/activate":                                                `{"certificate_ids":["{certificate_id}"]}`,
	"POST /organization/certificates/deactivate":                                              `{"certificate_ids":["{certificate_id}"]}`,
	"GET /organization/certificates/{certificate_id}":                                         "?include[]=content",
	"POST /organization/projects/{project_id}/certificates/activate":                          `{"certificate_ids":["{certificate_id}"]}`,
	"POST /organization/projects/{project_id}/certificates/deactivate":                        `{"certificate_ids":["{certificate_id}"]}`,
	"GET /organization/groups":                                                                "?limit=2&order=desc",
	"GET /organization/roles":                                                                 "?limit=3",
	"GET /organization/costs":                                                                 "?start_time={start}&group_by[]=project_id&limit=3",
	"GET /organization/audit_logs":                                                            "?limit=100&event_types[]=project.created&event_types[]=api_key.created",
	"GET /organization/projects":                                                              "?limit=2&include_archived=true",
	"GET /organization/users":                                                                 "?limit=2",
	"GET /organization/usage/completions":                                                     "?start_time={start}&bucket_width=1h&group_by[]=model&group_by[]=project_id",
	"GET /organization/projects/{project_id}/rate_limits":                                     "?limit=5",
}

// TestConformance walks OpenAI's document: every operation that is served is called with what is valid, and its answer validated against
// the document's schema; and with what is not, which is refused with the envelope and the field at fault. What is not served is named,
// and answers 404, so that neither can be forgotten.
func TestConformance(t *testing.T) {
	doc := readDocument(t)
	c := &conformance{t: t, s: gatehousetest.Start(t, gatehousetest.Options{}), ids: map[string]string{"start": fmt.Sprint(time.Now().Add(-time.Hour).Unix()), "rate_limit_id": "rl-gpt-4o"}}
	if status, v := ask(t, c.s, "POST", "/v1/chat/completions", c.s.APIKey, `{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`); status != 200 {
		t.Fatal(status, v)
	}
	passed, missing := 0, 0
	for i := range doc.Operations {
		op := &doc.Operations[i]
		c.t = t
		if unservedYet(op) {
			missing++
			if status, v := c.call(op.Method, strings.NewReplacer("{", "", "}", "").Replace(op.Path), ""); status != 404 || v["error"] == nil {
				t.Errorf("%s is said not to be served and answers %d %v", op.name(), status, v)
			}
			continue
		}
		if t.Run(op.name(), func(t *testing.T) {
			c.t = t
			c.prepare(op.Path + valid[op.name()])
			c.refused(doc, op)
			c.served(doc, op)
		}) {
			passed++
		}
	}
	t.Logf("operations passed: %d of %d; %d are not served yet", passed, len(doc.Operations), missing)
	if len(doc.Operations) != 119 {
		t.Errorf("the document has %d operations", len(doc.Operations))
	}
}

// prepare makes whatever may be named in a call, whose path and body text is: little, because it is made for each of the calls.
func (c *conformance) prepare(text string) {
	c.t.Helper()
	needs := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(text, p) })
	}
	c.make("project_id", "/organization/projects", `{"name":"Subject"}`)
	c.ids["nonce"] = c.ids["project_id"]
	prj := "/organization/projects/" + c.ids["project_id"]
	if needs("{service_account_id}", "{api_key_id}", "api_keys", "service_accounts") {
		c.make("service_account_id", prj+"/service_accounts", `{"name":"bot"}`)
		c.make("api_key_id", prj+"/service_accounts/"+c.ids["service_account_id"]+"/api_keys", `{"name":"k"}`)
		c.make("key_id", "/organization/admin_api_keys", `{"name":"admin"}`)
	}
	if needs("workload", "external") {
		c.make("service_account_id", prj+"/service_accounts", `{"name":"bot"}`)
		c.prepareFederation()
	}
	if needs("certificate") {
		c.prepareCertificates()
	}
	if needs("model_permissions") {
		if status, v := c.call("POST", prj+"/model_permissions", `{"mode":"deny_list","model_ids":["gpt-4o"]}`); status != 200 {
			c.t.Fatal(status, v)
		}
	}
	if needs("invite") {
		c.make("invite_id", "/organization/invites", `{"email":"`+c.ids["nonce"]+`@example.com","role":"owner"}`)
	}
	if needs("spend_alerts") {
		const alert = `{"threshold_amount":100,"currency":"USD","interval":"month","notification_channel":{"type":"email","recipients":["ops@example.com"]}}`
		c.make("project alert", prj+"/spend_alerts", alert)
		c.make("alert", "/organization/spend_alerts", alert)
	}
	if needs("spend_limit") {
		for _, path := range []string{"/organization", prj} {
			if status, v := c.call("POST", path+"/spend_limit", `{"threshold_amount":100000,"currency":"USD","interval":"month"}`); status != 200 {
				c.t.Fatal(status, v)
			}
		}
	}
	if needs("user", "group", "role") {
		c.preparePeople(prj)
	}
}

// preparePeople makes users, groups and roles, of which some have others.
func (c *conformance) preparePeople(prj string) {
	c.t.Helper()
	for _, param := range []string{"new_user", "user_id"} {
		status, v := ask(c.t, c.s, "POST", "/gatehouse/v1/users", c.s.AdminKey, `{"name":"Ann"}`)
		if status != 200 {
			c.t.Fatal(status, v)
		}
		c.ids[param] = v["id"].(string)
	}
	if status, v := c.call("POST", prj+"/users", `{"user_id":"`+c.ids["user_id"]+`","role":"member"}`); status != 200 {
		c.t.Fatal(status, v)
	}
	role := func(param, path, permission string) {
		c.make(param, path, `{"role_name":"`+param+" "+c.ids["nonce"]+`","permissions":["`+permission+`"]}`)
	}
	role("org role", "/organization/roles", "api.usage.read")
	role("other_role", "/organization/roles", "api.projects.read")
	role("project role", "/projects/"+c.ids["project_id"]+"/roles", "model.request")
	role("other_project_role", "/projects/"+c.ids["project_id"]+"/roles", "api.files.read")
	c.make("group_id", "/organization/groups", `{"name":"Group `+c.ids["nonce"]+`"}`)
	c.make("new_group", "/organization/groups", `{"name":"New group `+c.ids["nonce"]+`"}`)
	for _, call := range [][2]string{
		{"/organization/groups/" + c.ids["group_id"] + "/users", `{"user_id":"` + c.ids["user_id"] + `"}`},
		{"/organization/groups/" + c.ids["group_id"] + "/roles", `{"role_id":"` + c.ids["org role"] + `"}`},
		{"/organization/users/" + c.ids["user_id"] + "/roles", `{"role_id":"` + c.ids["org role"] + `"}`},
		{"/projects/" + c.ids["project_id"] + "/groups/" + c.ids["group_id"] + "/roles", `{"role_id":"` + c.ids["project role"] + `"}`},
		{"/projects/" + c.ids["project_id"] + "/users/" + c.ids["user_id"] + "/roles", `{"role_id":"` + c.ids["project role"] + `"}`},
	} {
		if status, v := c.call("POST", call[0], call[1]); status != 200 {
			c.t.Fatal(call, status, v)
		}
	}
}

// prepareCertificates stores one, and makes the text of another.
func (c *conformance) prepareCertificates() {
	c.t.Helper()
	c.ids["pem"] = strings.ReplaceAll(gatehousetest.NewAuthority(c.t, "new").PEM, "\n", "\\n")
	c.make("certificate_id", "/organization/certificates", `{"certificate":"`+strings.ReplaceAll(gatehousetest.NewAuthority(c.t, "there").PEM, "\n", "\\n")+`"}`)
}

// path fills the ids into a path.
func (c *conformance) path(path string) string {
	alert := c.ids["alert"]
	if strings.Contains(path, "{project_id}") {
		alert = c.ids["project alert"]
	}
	path = strings.ReplaceAll(path, "{alert_id}", alert)
	role := c.ids["org role"]
	if strings.Contains(path, "{project_id}") {
		role = c.ids["project role"]
	}
	path = strings.ReplaceAll(path, "{role_id}", role)
	for param, id := range c.ids {
		path = strings.ReplaceAll(path, "{"+param+"}", id)
	}
	return path
}

// served makes the valid call.
func (c *conformance) served(doc *document, op *operation) {
	body, query := valid[op.name()], ""
	if strings.HasPrefix(body, "?") {
		body, query = "", c.path(body)
	} else if strings.HasPrefix(op.Path, "/organization/usage/") {
		query = c.path("?start_time={start}&limit=2")
	}
	body = c.path(body)
	if op.Request != nil {
		var v any
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			c.t.Fatalf("the test has no valid body: %v", err)
		}
		if err := doc.validate(op.Request, v, "body"); err != nil {
			c.t.Errorf("the test's own body: %v", err)
		}
	}
	status, v := c.call(op.Method, c.path(op.Path)+query, body)
	if status != 200 {
		c.t.Fatalf("%d %v", status, v)
	}
	if err := doc.validate(op.Response, v, "answer"); err != nil {
		text, _ := json.Marshal(v)
		c.t.Errorf("%v\n%s", err, text)
	}
}

// refused makes calls that cannot succeed.
func (c *conformance) refused(doc *document, op *operation) {
	type probe struct {
		path, body string
		status     int
		param      string
	}
	var probes []probe
	path := c.path(op.Path)
	if i := strings.LastIndexByte(op.Path, '{'); i >= 0 { // something that is not there
		probes = append(probes, probe{c.path(op.Path[:i]) + "nothing" + op.Path[i+strings.IndexByte(op.Path[i:], '}')+1:], c.path(strings.TrimPrefix(valid[op.name()], "?")), 404, ""})
		if strings.HasPrefix(valid[op.name()], "?") {
			probes[0].body = ""
		}
	}
	if slices.Contains(op.Query, "limit") {
		probes = append(probes, probe{path + "?limit=-1&start_time=" + c.ids["start"], "", 400, "limit"}, probe{path + "?limit=x&start_time=" + c.ids["start"], "", 400, "limit"})
	}
	if slices.Contains(op.Query, "start_time") {
		probes = append(probes, probe{path, "", 400, "start_time"}, probe{path + "?start_time=" + c.ids["start"] + "&bucket_width=1y", "", 400, "bucket_width"})
	}
	if op.Request != nil {
		probes = append(probes, probe{path, `{"no_such_field":1}`, 400, "no_such_field"}, probe{path, `[]`, 400, ""}, probe{path, `{`, 400, ""})
		for _, name := range doc.required(op.Request) {
			probes = append(probes, probe{path, doc.without(c.path(valid[op.name()]), name), 400, name})
		}
	}
	for _, p := range probes {
		status, v := c.call(op.Method, p.path, p.body)
		e, _ := v["error"].(map[string]any)
		if status != p.status || e == nil || e["message"] == "" || e["type"] == nil {
			c.t.Errorf("%s %s: %d %v, want %d and an error", p.path, p.body, status, v, p.status)
			continue
		}
		if got, _ := e["param"].(string); p.param != "" && got != p.param && !strings.HasPrefix(got, p.param) {
			c.t.Errorf("%s %s: the field at fault is %q, want %q", p.path, p.body, got, p.param)
		}
	}
	if status, v := ask(c.t, c.s, op.Method, "/v1"+path, "", ""); status != 401 || v["error"] == nil {
		c.t.Errorf("without a credential: %d %v", status, v)
	}
	if status, v := ask(c.t, c.s, op.Method, "/v1"+path, c.s.APIKey, ""); status != 403 || v["error"] == nil {
		c.t.Errorf("with a project's key: %d %v", status, v)
	}
}

// resolve follows a reference.
func (d *document) resolve(s schema) schema {
	for s["$ref"] != nil {
		s = d.Schemas[s["$ref"].(string)[strings.LastIndexByte(s["$ref"].(string), '/')+1:]]
	}
	return s
}

// required lists the fields that a body must have and that null cannot stand for.
func (d *document) required(s schema) (names []string) {
	list, _ := d.resolve(s)["required"].([]any)
	for _, n := range list {
		names = append(names, n.(string))
	}
	return names
}

// without returns a body without one field.
func (d *document) without(body, field string) string {
	var v map[string]any
	if json.Unmarshal([]byte(body), &v) != nil {
		return "{}"
	}
	delete(v, field)
	text, _ := json.Marshal(v) // what was read is written
	return string(text)
}

// validate says in what a value is not what a schema asks for. Fields that a schema does not know are allowed, as every SDK allows them.
func (d *document) validate(s schema, v any, at string) error {
	s = d.resolve(s)
	for _, kind := range []string{"anyOf", "oneOf"} {
		options, ok := s[kind].([]any)
		if !ok {
			continue
		}
		var failures []string
		for _, o := range options {
			err := d.validate(o.(map[string]any), v, at)
			if err == nil {
				failures = nil
				break
			}
			failures = append(failures, err.Error())
		}
		if failures != nil {
			return fmt.Errorf("%s fits none of %d: %s", at, len(options), strings.Join(failures, "; "))
		}
	}
	if all, ok := s["allOf"].([]any); ok {
		for _, o := range all {
			if err := d.validate(o.(map[string]any), v, at); err != nil {
				return err
			}
		}
	}
	if options, ok := s["enum"].([]any); ok && !slices.Contains(options, v) {
		return fmt.Errorf("%s is %v, which is none of %v", at, v, options)
	}
	if s["nullable"] == true && v == nil {
		return nil
	}
	kind, _ := s["type"].(string)
	ok := true
	switch kind {
	case "object":
		members, is := v.(map[string]any)
		if ok = is; !ok {
			break
		}
		for _, name := range d.required(s) {
			if _, there := members[name]; !there {
				return fmt.Errorf("%s has no %s", at, name)
			}
		}
		properties, _ := s["properties"].(map[string]any)
		for name, p := range properties {
			if value, there := members[name]; there {
				if err := d.validate(p.(map[string]any), value, at+"."+name); err != nil {
					return err
				}
			}
		}
	case "array":
		elements, is := v.([]any)
		if ok = is; !ok {
			break
		}
		if items, has := s["items"].(map[string]any); has {
			for i, e := range elements {
				if err := d.validate(items, e, fmt.Sprintf("%s[%d]", at, i)); err != nil {
					return err
				}
			}
		}
	case "string":
		_, ok = v.(string)
	case "boolean":
		_, ok = v.(bool)
	case "number":
		_, ok = v.(float64)
	case "integer":
		n, is := v.(float64)
		ok = is && n == float64(int64(n))
	case "null":
		ok = v == nil
	}
	if !ok {
		return fmt.Errorf("%s is %T, want %s", at, v, kind)
	}
	return nil
}
