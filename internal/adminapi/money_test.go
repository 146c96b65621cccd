package adminapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/gatehousetest"
)

const chatBody = `{"model":"gpt-4o-mini","max_tokens":10,"messages":[{"role":"user","content":"Hello"}]}`

// code returns an error's code.
func code(v map[string]any) any {
	e, _ := v["error"].(map[string]any)
	return e["code"]
}

// current returns a field of a budget's running window.
func current(t *testing.T, s *gatehousetest.Server, budget, field string) string {
	t.Helper()
	status, v := ask(t, s, "GET", "/gatehouse/v1/budgets/"+budget, s.AdminKey, "")
	if status != 200 {
		t.Fatalf("budget %s: %d %v", budget, status, v)
	}
	return fmt.Sprint(v["current"].(map[string]any)[field])
}

// TestBudgetRefusesAndIsRaised: a cap is set, a request that could go over it is refused, the cap is raised, the request is served, and
// what it cost is shown; OpenAI's face and ours say the same.
func TestBudgetRefusesAndIsRaised(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	const budgets = "/gatehouse/v1/budgets"
	status, made := ask(t, s, "POST", budgets, s.AdminKey, `{"name":"monthly","amount_usd":0.000000001}`)
	if status != 200 || made["amount_usd"] != "0.000000001" || made["kind"] != "budget" || made["rev"] != 1.0 {
		t.Fatalf("%d %v", status, made)
	}
	if status, v := ask(t, s, "POST", "/v1/chat/completions", s.APIKey, chatBody); status != 429 || code(v) != "organization_spend_limit_exceeded" {
		t.Fatalf("over the cap: %d %v", status, v)
	}
	if status, v := ask(t, s, "POST", budgets+"/monthly", s.AdminKey, `{"amount_usd":"25","rev":1}`); status != 200 || v["amount_usd"] != "25.00" || v["rev"] != 2.0 {
		t.Fatalf("raised: %d %v", status, v)
	}
	served(t, s)
	settled(t, func() bool { return current(t, s, "monthly", "spent_usd") != "0.00" })
	// The same month as OpenAI's spend limit, which is set after the spending.
	if status, v := ask(t, s, "POST", "/v1/organization/spend_limit", s.AdminKey, `{"threshold_amount":1,"currency":"USD","interval":"month"}`); status != 200 {
		t.Fatalf("spend limit: %d %v", status, v)
	}
	_, list := ask(t, s, "GET", budgets, s.AdminKey, "")
	spent := map[any]any{}
	for _, b := range list["data"].([]any) {
		b := b.(map[string]any)
		spent[b["kind"]] = b["current"].(map[string]any)["spent_usd"]
	}
	if spent["budget"] != spent["spend_limit"] || spent["budget"] == nil {
		t.Errorf("two budgets of one month have seen %v", spent)
	}
	if status, v := ask(t, s, "DELETE", budgets+"/monthly", s.AdminKey, ""); status != 200 {
		t.Errorf("removed: %d %v", status, v)
	}
}

// served makes one request that must be served: a node stands by a refusal for a twentieth of a second.
func served(t *testing.T, s *gatehousetest.Server) {
	t.Helper()
	settled(t, func() bool {
		status, _ := ask(t, s, "POST", "/v1/chat/completions", s.APIKey, chatBody)
		return status == 200
	})
}

// settled waits until what was journaled is in the database.
func settled(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("what was spent is not shown")
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestPrepaidEndToEnd: without active credit every request is refused; with it they are paid from it, to the nano-dollar.
func TestPrepaidEndToEnd(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	const credits = "/gatehouse/v1/credits"
	do := func(path, body string) map[string]any {
		t.Helper()
		status, v := ask(t, s, "POST", credits+path, s.AdminKey, body)
		if status != 200 {
			t.Fatalf("%s: %d %v", path, status, v)
		}
		return v
	}
	if g := do("/grants", `{"name":"pilot","amount_usd":"5"}`); g["state"] != "inactive" {
		t.Errorf("granted %v", g)
	}
	do("", `{"prepaid":true}`)
	if status, v := ask(t, s, "POST", "/v1/chat/completions", s.APIKey, chatBody); status != 429 || code(v) != "credit_balance_exhausted" {
		t.Fatalf("before the activation: %d %v", status, v)
	}
	if g := do("/grants/pilot/activate", ""); g["state"] != "active" || g["left_usd"] != "5.00" {
		t.Errorf("activated %v", g)
	}
	for range 3 {
		served(t, s)
	}
	var costs int64
	settled(t, func() bool {
		_, v := ask(t, s, "GET", "/gatehouse/v1/usage", s.AdminKey, "")
		costs = 0
		requests := 0.0
		for _, l := range v["data"].([]any) {
			l := l.(map[string]any)
			costs += int64(l["cost_nano_usd"].(float64))
			requests += l["requests"].(float64)
		}
		return requests == 3
	})
	_, v := ask(t, s, "GET", credits, s.AdminKey, "")
	if want := fmt.Sprintf("4.%09d", 1_000_000_000-costs); strings.TrimRight(want, "0") != strings.TrimRight(v["balance_usd"].(string), "0") || costs == 0 {
		t.Errorf("usage costs %d, the balance is %v", costs, v["balance_usd"])
	}
	do("", `{"prepaid":false}`) // enters what is left to enter
	_, trial := ask(t, s, "GET", credits+"/trial_balance", s.AdminKey, "")
	if accounts := trial["accounts"].(map[string]any); trial["sound"] != true || accounts["spent"] != fmt.Sprintf("0.%09d", costs) && !strings.HasPrefix(fmt.Sprintf("0.%09d", costs), accounts["spent"].(string)) {
		t.Errorf("usage costs %d: %v", costs, trial)
	}
	if status, v := ask(t, s, "POST", "/v1/chat/completions", s.APIKey, chatBody); status != 200 {
		t.Errorf("without prepayment: %d %v", status, v)
	}
	_, entries := ask(t, s, "GET", credits+"/entries?limit=1", s.AdminKey, "")
	if entries["has_more"] != true || entries["last_id"] != "2" {
		t.Errorf("entries %v", entries)
	}
}
