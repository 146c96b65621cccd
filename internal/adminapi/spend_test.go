package adminapi_test

import (
	"fmt"
	"strings"
	"testing"

	"gatehouse/gatehousetest"
)

const alertBody = `{"threshold_amount":%d,"currency":"USD","interval":"month","notification_channel":{"type":"email","recipients":["finance@example.com"]%s}}`

// TestSpendAlerts takes the alerts of an organization and of a project through their lives, apart from each other.
func TestSpendAlerts(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	for object, path := range map[string]string{"organization.spend_alert": "/v1/organization/spend_alerts", "project.spend_alert": "/v1/organization/projects/" + s.ProjectID + "/spend_alerts"} {
		t.Run(object, func(t *testing.T) {
			status, made := ask(t, s, "POST", path, s.AdminKey, fmt.Sprintf(alertBody, 100000, `,"subject_prefix":"[acme]"`))
			channel, _ := made["notification_channel"].(map[string]any)
			if id, _ := made["id"].(string); status != 200 || made["object"] != object || !strings.HasPrefix(id, "alert_") || made["threshold_amount"] != 100000.0 || channel["subject_prefix"] != "[acme]" {
				t.Fatalf("%d %v", status, made)
			}
			one := path + "/" + made["id"].(string)
			if status, got := ask(t, s, "GET", one, s.AdminKey, ""); status != 200 || fmt.Sprint(got) != fmt.Sprint(made) {
				t.Errorf("read back %d %v", status, got)
			}
			status, changed := ask(t, s, "POST", one, s.AdminKey, fmt.Sprintf(alertBody, 0, ""))
			if channel, _ = changed["notification_channel"].(map[string]any); status != 200 || changed["threshold_amount"] != 0.0 || channel["subject_prefix"] != nil {
				t.Errorf("changed %d %v", status, changed)
			}
			if status, gone := ask(t, s, "DELETE", one, s.AdminKey, ""); status != 200 || gone["object"] != object+".deleted" || gone["deleted"] != true {
				t.Errorf("deleted %d %v", status, gone)
			}
			for _, method := range []string{"GET", "DELETE"} {
				if status, v := ask(t, s, method, one, s.AdminKey, ""); status != 404 {
					t.Errorf("%s of what is deleted: %d %v", method, status, v)
				}
			}
			if status, v := ask(t, s, "GET", path+"?limit=0", s.AdminKey, ""); status != 200 || v["first_id"] != nil {
				t.Errorf("a page of nothing: %d %v", status, v)
			}
		})
	}
	_, made := ask(t, s, "POST", "/v1/organization/spend_alerts", s.AdminKey, fmt.Sprintf(alertBody, 1, ""))
	if status, v := ask(t, s, "GET", "/v1/organization/projects/"+s.ProjectID+"/spend_alerts/"+made["id"].(string), s.AdminKey, ""); status != 404 {
		t.Errorf("the organization's alert is a project's: %d %v", status, v)
	}
}

func TestSpendAlertsRefuse(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	const path = "/v1/organization/spend_alerts"
	channel := func(c string) string {
		return `{"threshold_amount":1,"currency":"USD","interval":"month","notification_channel":` + c + `}`
	}
	for _, tt := range []struct {
		name, key, body string
		status          int
		code, param     any
	}{
		{"a project's key", s.APIKey, fmt.Sprintf(alertBody, 1, ""), 403, "missing_scope", nil},
		{"no amount", s.AdminKey, `{"currency":"USD","interval":"month"}`, 400, "missing_required_parameter", "threshold_amount"},
		{"an amount below nothing", s.AdminKey, fmt.Sprintf(alertBody, -1, ""), 400, "invalid_value", "threshold_amount"},
		{"an amount that no number holds", s.AdminKey, fmt.Sprintf(alertBody, 1<<62, ""), 400, "invalid_value", "threshold_amount"},
		{"half a cent", s.AdminKey, strings.Replace(fmt.Sprintf(alertBody, 1, ""), "1", "1.5", 1), 400, "invalid_type", "threshold_amount"},
		{"another currency", s.AdminKey, strings.Replace(fmt.Sprintf(alertBody, 1, ""), "USD", "EUR", 1), 400, "invalid_value", "currency"},
		{"another interval", s.AdminKey, strings.Replace(fmt.Sprintf(alertBody, 1, ""), "month", "day", 1), 400, "invalid_value", "interval"},
		{"no channel", s.AdminKey, `{"threshold_amount":1,"currency":"USD","interval":"month"}`, 400, "missing_required_parameter", "notification_channel"},
		{"another channel", s.AdminKey, channel(`{"type":"pager","recipients":["a@example.com"]}`), 400, "invalid_value", "notification_channel.type"},
		{"nobody", s.AdminKey, channel(`{"type":"email","recipients":[]}`), 400, "invalid_value", "notification_channel.recipients"},
		{"no address", s.AdminKey, channel(`{"type":"email","recipients":["Ann <ann@example.com>"]}`), 400, "invalid_value", "notification_channel.recipients"},
		{"a header in an address", s.AdminKey, channel(`{"type":"email","recipients":["a@example.com\r\nBcc: b@example.com"]}`), 400, "invalid_value", "notification_channel.recipients"},
		{"a header in the subject", s.AdminKey, channel(`{"type":"email","recipients":["a@example.com"],"subject_prefix":"x\r\nBcc: b@example.com"}`), 400, "invalid_value", "notification_channel.subject_prefix"},
		{"somebody twice", s.AdminKey, channel(`{"type":"email","recipients":["a@example.com","a@example.com"]}`), 400, "invalid_value", "notification_channel.recipients"},
		{"a field nobody reads", s.AdminKey, `{"threshold":1}`, 400, "unknown_parameter", "threshold"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, v := ask(t, s, "POST", path, tt.key, tt.body)
			if status != tt.status {
				t.Fatalf("status %d, want %d: %v", status, tt.status, v)
			}
			if e := v["error"].(map[string]any); e["code"] != tt.code || e["param"] != tt.param {
				t.Errorf("error %v, want code %v and param %v", e, tt.code, tt.param)
			}
		})
	}
	if status, v := ask(t, s, "POST", "/v1/organization/projects/proj_nobody/spend_alerts", s.AdminKey, fmt.Sprintf(alertBody, 1, "")); status != 404 {
		t.Errorf("alert of no project: %d %v", status, v)
	}
}
