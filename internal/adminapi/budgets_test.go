package adminapi_test

import (
	"net/http"
	"testing"

	"gatehouse/gatehousetest"
)

// TestMoneyRefusals: what is not understood is refused, with the field at fault; a reader changes nothing.
func TestMoneyRefusals(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	_, reader := ask(t, s, "POST", "/gatehouse/v1/keys", s.AdminKey, `{"class":"admin","name":"reader","scopes":["api.management.read"]}`)
	key, _ := reader["value"].(string)
	ask(t, s, "POST", "/gatehouse/v1/budgets", s.AdminKey, `{"name":"taken","amount_usd":1}`)
	for _, tt := range []struct {
		method, path, key, body string
		status                  int
		code, param             any
	}{
		{"POST", "budgets", s.AdminKey, `{"name":"a","amount_usd":1,"budget":5}`, 400, "unknown_parameter", "budget"},
		{"POST", "budgets", s.AdminKey, `{"name":"a","amount":1}`, 400, "unknown_parameter", "amount"},
		{"POST", "budgets", s.AdminKey, `{"name":"a"}`, 400, "missing_required_parameter", "amount_usd"},
		{"POST", "budgets", s.AdminKey, `{"name":"a","amount_usd":"1e3"}`, 400, "invalid_type", "amount_usd"},
		{"POST", "budgets", s.AdminKey, `{"name":"a","amount_usd":0.0000000001}`, 400, "invalid_type", "amount_usd"},
		{"POST", "budgets", s.AdminKey, `{"name":"a","amount_usd":-1}`, 400, "invalid_value", "amount_usd"},
		{"POST", "budgets", s.AdminKey, `{"name":"a","amount_usd":1,"window":{"period":"month","hour":3}}`, 400, "unknown_parameter", "window.hour"},
		{"POST", "budgets", s.AdminKey, `{"name":"a","amount_usd":1,"scope":"project","subject":"proj_nobody"}`, 400, "invalid_value", "subject"},
		{"POST", "budgets", s.AdminKey, `{"name":"taken","amount_usd":1}`, 409, "budget_exists", "name"},
		{"POST", "budgets/taken", s.AdminKey, `{"window":{"period":"day"}}`, 400, "invalid_value", "window"},
		{"POST", "budgets/taken", s.AdminKey, `{"amount_usd":2,"rev":7}`, 409, "budget_changed", "rev"},
		{"POST", "budgets/nobody", s.AdminKey, `{"amount_usd":2}`, 404, nil, nil},
		{"POST", "budgets/taken/increases", s.AdminKey, `{"amount_usd":2}`, 400, "missing_required_parameter", "until"},
		{"DELETE", "budgets/taken/increases/incr_nothing", s.AdminKey, "", 404, nil, nil},
		{"GET", "budgets/nobody/holds", s.AdminKey, "", 404, nil, nil},
		{"DELETE", "budget_holds/req_nothing", s.AdminKey, "", 404, nil, nil},
		{"POST", "credits/grants", s.AdminKey, `{"amount_usd":0}`, 400, "invalid_value", "amount_usd"},
		{"POST", "credits/grants", s.AdminKey, `{"amount_usd":1,"expires_at":1}`, 400, "invalid_value", "expires_at"},
		{"POST", "credits/grants/nobody/activate", s.AdminKey, "", 404, nil, nil},
		{"POST", "credits/refill", s.AdminKey, "", 409, "no_refill_policy", nil},
		{"POST", "credits", s.AdminKey, `{"refill":{"mode":"automatic","add_usd":1}}`, 400, "invalid_value", "refill.below_usd"},
		{"POST", "organization", s.AdminKey, `{"time_zone":"Mars/Olympus"}`, 400, "invalid_value", "time_zone"},
		{"POST", "budgets", s.APIKey, `{"name":"a","amount_usd":1}`, 403, "missing_scope", nil},
		{"POST", "budgets", key, `{"name":"a","amount_usd":1}`, 403, "missing_scope", nil},
		{"POST", "budgets/taken", key, `{"amount_usd":2}`, 403, "missing_scope", nil},
		{"DELETE", "budgets/taken", key, "", 403, "missing_scope", nil},
		{"POST", "credits/grants", key, `{"amount_usd":1}`, 403, "missing_scope", nil},
		{"POST", "nodes/n/write_off", key, "", 403, "missing_scope", nil},
		{"POST", "organization", key, `{"name":"x"}`, 403, "missing_scope", nil},
	} {
		t.Run(tt.method+" "+tt.path+" "+tt.body, func(t *testing.T) {
			status, v := ask(t, s, tt.method, "/gatehouse/v1/"+tt.path, tt.key, tt.body)
			if status != tt.status {
				t.Fatalf("status %d, want %d: %v", status, tt.status, v)
			}
			if e := v["error"].(map[string]any); tt.code != nil && e["code"] != tt.code || tt.param != nil && e["param"] != tt.param {
				t.Errorf("%v, want code %v and param %v", e, tt.code, tt.param)
			}
		})
	}
	if status, v := ask(t, s, http.MethodGet, "/gatehouse/v1/budgets/taken", key, ""); status != 200 {
		t.Errorf("a reader reads: %d %v", status, v)
	}
}
