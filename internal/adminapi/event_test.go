package adminapi_test

import (
	"database/sql"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/gatehousetest"
)

// ownWrites are bodies with which Gatehouse's own routes make or change something.
var ownWrites = map[string]string{
	"POST /gatehouse/v1/users":                                                                `{"name":"Bo"}`,
	"POST /gatehouse/v1/keys":                                                                 `{"class":"project","name":"k","project_id":"{project_id}","user_id":"{user_id}"}`,
	"POST /gatehouse/v1/keys/{api_key_id}":                                                    `{"name":"renamed"}`,
	"POST /gatehouse/v1/keys/{api_key_id}/suspend":                                            ``,
	"DELETE /gatehouse/v1/keys/{api_key_id}":                                                  ``,
	"POST /gatehouse/v1/limits":                                                               `{"scope":"project","subject":"{project_id}","max_requests_per_1_minute":5}`,
	"POST /gatehouse/v1/budgets":                                                              `{"name":"{start}","amount_usd":5}`,
	"POST /gatehouse/v1/prices":                                                               `{"model":"m","dialect":"openai","cost":{"input":1,"output":2}}`,
	"POST /gatehouse/v1/upstreams":                                                            `{"name":"second","dialect":"mock"}`,
	"POST /gatehouse/v1/deployments":                                                          `{"name":"d","routes":[{"upstream":"mock"}]}`,
	"POST /gatehouse/v1/resources":                                                            `{"name":"contoso","project_id":"{project_id}"}`,
	"POST /gatehouse/v1/organization":                                                         `{"time_zone":"Europe/Berlin"}`,
	"POST /gatehouse/v1/projects/{project_id}":                                                `{"labels":{"a":"b"}}`,
	"POST /gatehouse/v1/sealed_secrets":                                                       `{"name":"s","value":"a value of it"}`,
	"POST /gatehouse/v1/credits/grants":                                                       `{"name":"pilot","amount_usd":5}`,
	"POST /v1/organization/projects/{project_id}/service_tier_settings":                       `{"default":"fast"}`,
	"POST /v1/organization/external_keys":                                                     externalKeyBody,
	"DELETE /v1/organization/external_keys/{external_key}":                                    ``,
	"POST /v1/organization/external_storage":                                                  `{"project_id":"{project_id}","provider":{"type":"aws","bucket":"b","role_arn":"arn:aws:iam::123456789012:role/r"}}`,
	"DELETE /v1/organization/external_storage/{storage}":                                      ``,
	"POST /v1/organization/external_storage/{storage}/validate":                               ``,
	"POST /v1/organization/workload_identity_providers":                                       providerBody,
	"POST /v1/organization/workload_identity_providers/{provider}":                            `{"enabled":false}`,
	"DELETE /v1/organization/workload_identity_providers/{provider}":                          ``,
	"POST /v1/organization/workload_identity_providers/{provider}/federation_rules":           ruleBody,
	"POST /v1/organization/workload_identity_providers/{provider2}/federation_rules/{rule}":   `{"enabled":false,"name":"n"}`,
	"DELETE /v1/organization/workload_identity_providers/{provider2}/federation_rules/{rule}": ``,
	"POST /gatehouse/v1/apply":                                                                `projects: [{name: declared, service_accounts: [{name: robot}]}]`,
}

// webhookWrites are those of webhook endpoints, which a key of the project makes.
var webhookWrites = map[string]string{
	"POST /v1/webhook_endpoints":                          endpointBody,
	"POST /v1/webhook_endpoints/{endpoint}":               `{"name":"renamed"}`,
	"POST /v1/webhook_endpoints/{endpoint}/rotate_secret": ``,
	"DELETE /v1/webhook_endpoints/{endpoint}":             ``,
}

// Bodies with which what OpenAI's document does not have is made.
const (
	externalKeyBody = `{"type":"aws","name":"kms","role_arn":"arn:aws:iam::123456789012:role/r","kms_arn":"arn:aws:kms:eu-west-1:123456789012:key/k","external_id":"e"}`
	providerBody    = `{"type":"oidc","name":"ci","issuer":"https://token.example.com","audience":"gatehouse"}`
	endpointBody    = `{"name":"ours","url":"https://hooks.example.com/x","event_types":["response.completed"]}`
	ruleBody        = `{"project_id":"{project_id}","service_account_id":"{service_account_id}","attribute_matchers":{"sub":"repo:acme/shop","run":3,"protected":true}}`
)

// prepareFederation makes what federation rules need, and what stands beside them.
func (c *conformance) prepareFederation() {
	c.t.Helper()
	const path = "/organization/workload_identity_providers"
	c.make("provider", path, providerBody)
	c.make("provider2", path, providerBody)
	c.make("rule", path+"/"+c.ids["provider2"]+"/federation_rules", c.path(ruleBody))
	c.make("external_key", "/organization/external_keys", externalKeyBody)
	c.make("storage", "/organization/external_storage", c.path(ownWrites["POST /v1/organization/external_storage"]))
}

// TestNoChangeWithoutItsEvent calls every operation that writes while no event can be written: it fails, and every row of what Gatehouse
// knows is as it was. Then it calls it again, and something is not.
func TestNoChangeWithoutItsEvent(t *testing.T) {
	doc := readDocument(t)
	writes := maps.Clone(ownWrites)
	maps.Copy(writes, webhookWrites)
	for i := range doc.Operations {
		op := &doc.Operations[i]
		if op.Method != "GET" && !unservedYet(op) {
			writes[op.Method+" /v1"+op.Path] = valid[op.name()]
		}
	}
	c := &conformance{t: t, s: gatehousetest.Start(t, gatehousetest.Options{}), ids: map[string]string{"start": fmt.Sprint(time.Now().Unix()), "rate_limit_id": "rl-gpt-4o"}}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(c.s.Data, "gatehouse.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	exec := func(statement string) {
		t.Helper()
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	names := slices.Sorted(maps.Keys(writes))
	slices.SortStableFunc(names, func(a, b string) int { // before certificates are demanded of who calls models
		return strings.Compare(fmt.Sprint(!strings.Contains(a, "webhook")), fmt.Sprint(!strings.Contains(b, "webhook")))
	})
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			c.t = t
			c.prepare(name + writes[name])
			method, path, _ := strings.Cut(name, " ")
			path, body := c.path(path), c.path(writes[name])
			ask := func(t *testing.T, s *gatehousetest.Server, method, path, key, body string) (int, map[string]any) {
				t.Helper()
				if strings.HasPrefix(path, "/v1/webhook_endpoints") {
					key = s.APIKey // which is not for who administers
				}
				return ask(t, s, method, path, key, body)
			}
			if strings.Contains(name, "{endpoint}") {
				_, made := ask(t, c.s, "POST", "/v1/webhook_endpoints", "", endpointBody)
				path = strings.Replace(path, "{endpoint}", fmt.Sprint(made["id"]), 1)
			}
			if before, ok := strings.CutSuffix(path, "/deactivate"); ok {
				if status, v := ask(t, c.s, "POST", before+"/activate", c.s.AdminKey, body); status != 200 {
					t.Fatal(status, v)
				}
			}
			before := snapshot(t, db)
			exec(`CREATE TRIGGER no_event BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no event today'); END`)
			status, v := ask(t, c.s, method, path, c.s.AdminKey, body)
			exec(`DROP TRIGGER no_event`)
			if status < 500 {
				t.Errorf("without its event: %d %v", status, v)
			}
			if after := snapshot(t, db); after != before {
				t.Errorf("something changed without its event:\n%s", difference(before, after))
			}
			if status, v := ask(t, c.s, method, path, c.s.AdminKey, body); status != 200 {
				t.Errorf("with its event: %d %v", status, v)
			}
			if snapshot(t, db) == before {
				t.Error("the call changes nothing, and proves nothing")
			}
		})
	}
}

// snapshot is every row of the tables that are changed by events: those whose rows have a revision. When a key was last used is
// recorded beside.
func snapshot(t *testing.T, db *sql.DB) string {
	t.Helper()
	strs := func(query string) (out []string) {
		t.Helper()
		rows, err := db.Query(query)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				t.Fatal(err)
			}
			out = append(out, s)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return out
	}
	var b strings.Builder
	for _, table := range strs(`SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c ON c.name = 'rev' WHERE m.type = 'table' ORDER BY m.name`) {
		var columns []string
		for _, column := range strs(`SELECT name FROM pragma_table_info('` + table + `')`) {
			if column != "last_used_at" {
				columns = append(columns, "quote("+column+")")
			}
		}
		for _, row := range strs(`SELECT ` + strings.Join(columns, " || ' ' || ") + ` FROM ` + table + ` ORDER BY 1`) {
			fmt.Fprintln(&b, table, row)
		}
	}
	if b.Len() == 0 {
		t.Fatal("no table has revisions")
	}
	return b.String()
}

// difference lists the lines that are in one text and not in the other.
func difference(before, after string) string {
	var b strings.Builder
	a, z := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, line := range z {
		if !slices.Contains(a, line) {
			b.WriteString("+ " + line + "\n")
		}
	}
	for _, line := range a {
		if !slices.Contains(z, line) {
			b.WriteString("- " + line + "\n")
		}
	}
	return b.String()
}
