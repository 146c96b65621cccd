package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// budget gives the gate a hard budget of the organization for all time, as change makes it, and waits until the node counts in it.
func (g *gate) budget(usd float64, change ...func(*gatehouse.Budget)) *gatehouse.Budget {
	g.tb.Helper()
	b := &gatehouse.Budget{ID: gatehouse.NewID(gatehouse.PrefixBudget), Organization: g.who.Organization, Name: "the cap", Scope: gatehouse.ScopeOrganization, Subject: g.who.Organization,
		Amount: gatehouse.NanoUSD(usd * 1e9), Window: gatehouse.Window{Period: gatehouse.Total}, Enforcement: gatehouse.Hard}
	for _, f := range change {
		f(b)
	}
	ctx := deadline(g.tb)
	seq, err := g.db.Update(ctx, gatehouse.Event{Type: "budget.created", Organization: g.who.Organization, Subject: gatehouse.SubjectBudget, SubjectID: b.ID},
		func(tx *store.Tx) error { return tx.CreateBudget(b) })
	must(g.tb, err)
	g.catalog.Settle(ctx, seq)
	return b
}

func uncapped(u gatehouse.Uncapped) func(*gatehouse.Budget) {
	return func(b *gatehouse.Budget) { b.Uncapped = u }
}

func unknownPrice(u gatehouse.UnknownPrice) func(*gatehouse.Budget) {
	return func(b *gatehouse.Budget) { b.UnknownPrice = u }
}

// newMoney returns a gate whose deployment smart is gpt-4o at a scripted upstream, which answers chats.
func newMoney(t *testing.T) (*gate, *script) {
	s := newScript(t, respond(200, "application/json", chatAnswer))
	g := newGate(t)
	g.upstream("openai", s.URL)
	g.deploy("smart", admin.RouteSpec{Upstream: "openai", Model: "gpt-4o"})
	g.deploy("gpt-4o", admin.RouteSpec{Upstream: "openai"})
	g.deploy("nameless", admin.RouteSpec{Upstream: "openai", Model: "model-without-a-price"})
	return g, s
}

// TestABudgetTakesNoRequestWithoutAMost refuses before anything goes upstream, and says in the caller's dialect what to set.
func TestABudgetTakesNoRequestWithoutAMost(t *testing.T) {
	const chat, responses, azure = "/v1/chat/completions", "/v1/responses", "/openai/deployments/smart/chat/completions?api-version=2024-10-21"
	for _, c := range []struct {
		name, path, body string
		uncapped         gatehouse.Uncapped
		param            string // of the refusal; "": it is served
	}{
		{"no cap, the model's is held", chat, `{"model":"smart","messages":[]}`, gatehouse.UncappedLimit, ""},
		{"no cap, refused", chat, `{"model":"smart","messages":[]}`, gatehouse.UncappedRefuse, "max_completion_tokens"},
		{"no cap, refused in Azure's dialect", azure, `{"messages":[]}`, gatehouse.UncappedRefuse, "max_completion_tokens"},
		{"a cap", chat, `{"model":"smart","max_tokens":5,"messages":[]}`, gatehouse.UncappedRefuse, ""},
		{"a response without a cap", responses, `{"model":"smart","input":"x"}`, gatehouse.UncappedRefuse, "max_output_tokens"},
		{"tools without end", responses, `{"model":"smart","input":"x","max_output_tokens":5,"tools":[{"type":"web_search"}]}`, gatehouse.UncappedLimit, "max_tool_calls"},
		{"tools with an end", responses, `{"model":"smart","input":"x","max_output_tokens":5,"max_tool_calls":1,"tools":[{"type":"mcp"}]}`, gatehouse.UncappedRefuse, ""},
		{"tools without end, as they come", responses, `{"model":"smart","input":"x","max_output_tokens":5,"tools":[{"type":"mcp"}]}`, gatehouse.UncappedTypical, ""},
		{"typical of nothing yet", chat, `{"model":"smart","messages":[]}`, gatehouse.UncappedTypical, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, s := newMoney(t)
			g.budget(1000, uncapped(c.uncapped))
			headers := []string{}
			if strings.HasPrefix(c.path, "/openai") {
				headers = []string{"Authorization", "", "api-key", g.key.Value.Reveal()}
			}
			a := g.do("POST", c.path, c.body, headers...)
			if c.param == "" {
				if a.status != 200 || g.usage(a.id()) == nil {
					t.Errorf("answer %d %s, usage %+v", a.status, a.body, g.usage(a.id()))
				}
				return
			}
			if a.status != 400 || !strings.Contains(a.body, "unbounded_request") || !strings.Contains(a.body, c.param) || !strings.Contains(a.body, "the cap") {
				t.Errorf("answer %d %s", a.status, a.body)
			}
			if s.got().Method != "" {
				t.Errorf("the upstream got %s", s.got().Body)
			}
			if r := g.explain(a.id()); r.Rule != "unbounded_request" || !strings.Contains(r.Detail, "budget_") {
				t.Errorf("explain says %q: %q", r.Rule, r.Detail)
			}
		})
	}
}

// TestTheStrictestBudgetDecides when several bind one key.
func TestTheStrictestBudgetDecides(t *testing.T) {
	g, _ := newMoney(t)
	g.budget(1000, uncapped(gatehouse.UncappedTypical))
	g.budget(1000, uncapped(gatehouse.UncappedRefuse), func(b *gatehouse.Budget) {
		b.Name, b.Scope, b.Subject = "the project's", gatehouse.ScopeProject, g.project
	})
	a := g.do("POST", "/v1/chat/completions", `{"model":"smart","messages":[]}`)
	if a.status != 400 || !strings.Contains(a.body, "the project's") {
		t.Errorf("answer %d %s", a.status, a.body)
	}
}

// TestAModelWithoutAPriceIsNeverFree: under a hard budget it is refused, else served and marked.
func TestAModelWithoutAPriceIsNeverFree(t *testing.T) {
	for _, c := range []struct {
		name   string
		change []func(*gatehouse.Budget)
		none   bool
		status int
	}{
		{name: "without a budget", none: true, status: 200},
		{name: "under a hard one", status: 403},
		{name: "under a hard one that counts", change: []func(*gatehouse.Budget){unknownPrice(gatehouse.UnknownMeter)}, status: 200},
		{name: "under a soft one", change: []func(*gatehouse.Budget){func(b *gatehouse.Budget) { b.Enforcement = gatehouse.Soft }}, status: 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, s := newMoney(t)
			s.set(respond(200, "application/json", strings.Replace(chatAnswer, "gpt-4o-2024-08-06", "model-without-a-price", 1)))
			if !c.none {
				g.budget(1000, c.change...)
			}
			a := g.do("POST", "/v1/chat/completions", `{"model":"nameless","max_tokens":5,"messages":[]}`)
			if a.status != c.status {
				t.Fatalf("answer %d %s", a.status, a.body)
			}
			u := g.usage(a.id())
			if c.status != 200 {
				if !strings.Contains(a.body, "model_price_unknown") || a.header.Get("X-Should-Retry") != "false" || u != nil {
					t.Errorf("answer %s, %v, usage %+v", a.body, a.header, u)
				}
				return
			}
			if u == nil || u.CostKnown || u.Cost != 0 || u.Units.Input == 0 {
				t.Errorf("usage %+v", u)
			}
		})
	}
}

// TestPassThroughCountsAndIsBound keeps what nobody described out of no budget: an endpoint of a known product that calls a model is
// metered, held at the model's own limits, and refused where nobody could say what it costs.
func TestPassThroughCountsAndIsBound(t *testing.T) {
	g, s := newMoney(t)
	own := g.upstream("own", s.URL, g.ownAccount)
	g.deploy("mine", admin.RouteSpec{Upstream: "own", Model: "gpt-4o"})
	_, _, err := g.admin.UpdateProject(context.Background(), g.who, g.project, admin.ProjectUpdate{Upstream: admin.Optional[string]{Set: true, Value: own.ID}})
	must(t, err)
	s.set(respond(200, "application/json", `{"usage":{"input_tokens":11,"output_tokens":3}}`))
	a := g.do("POST", "/v1/completions/of_tomorrow", `{"model":"mine"}`)
	if u := g.usage(a.id()); a.status != 200 || u == nil || u.Units.Input != 11 || u.Units.Output != 3 || !u.CostKnown || u.Product != "completions" {
		t.Errorf("without a budget: %d %s, usage %+v", a.status, a.body, u)
	}
	g.budget(1000)
	a = g.do("POST", "/v1/chat/of_tomorrow", `{"model":"mine"}`)
	if u := g.usage(a.id()); a.status != 200 || u == nil || u.Units.Input != 11 {
		t.Errorf("with a model: %d %s, usage %+v", a.status, a.body, u)
	}
	a = g.do("POST", "/v1/chat/of_tomorrow", `{"anything":"else"}`)
	if a.status != 403 || !strings.Contains(a.body, "model_price_unknown") {
		t.Errorf("without a model: %d %s", a.status, a.body)
	}
	a = g.do("POST", "/v1/files/of_tomorrow/x", `{"model":"mine"}`)
	if a.status == 200 && g.usage(a.id()) == nil {
		t.Errorf("a product that calls no models, with one: %s, usage %+v", a.body, g.usage(a.id()))
	}
}

// TestAnAttemptThatWasNeverAnswered counts at its bound, on a line of its own, and the answer of the next on the request's.
func TestAnAttemptThatWasNeverAnswered(t *testing.T) {
	for _, budgeted := range []bool{false, true} {
		t.Run(fmt.Sprintf("under a budget: %t", budgeted), func(t *testing.T) {
			silent := newScript(t, func(*gatehousetest.Exchange) error { return errors.New("the connection ends") })
			talks := newScript(t, respond(200, "application/json", chatAnswer))
			g := newGate(t)
			g.upstream("silent", silent.URL)
			g.upstream("talks", talks.URL)
			g.deploy("smart", admin.RouteSpec{Upstream: "silent", Model: "gpt-4o", Priority: 1}, admin.RouteSpec{Upstream: "talks", Model: "gpt-4o-mini", Priority: 2})
			if budgeted {
				g.budget(1000)
			}
			body := `{"model":"smart","max_tokens":50,"n":2,"messages":[]}`
			a := g.do("POST", "/v1/chat/completions", body)
			if a.status != 200 {
				t.Fatalf("answer %d %s", a.status, a.body)
			}
			lost, own := g.usage(a.id()+"/1"), g.usage(a.id())
			if lost == nil || lost.Confidence != gatehouse.Unanswered || lost.Upstream != "silent" || lost.Units.Output != 100 || lost.Units.Input < int64(len(body)) || !lost.CostKnown || lost.Cost == 0 {
				t.Errorf("the attempt: %+v", lost)
			}
			if own == nil || own.Confidence != gatehouse.Reported || own.Upstream != "talks" || own.Cost == 0 || lost != nil && own.Cost >= lost.Cost {
				t.Errorf("the answer: %+v", own)
			}
			if g.usage(a.id()+"/2") != nil {
				t.Error("there is a third line")
			}
			if n := g.ledger.Stats().Holds; n != 0 {
				t.Errorf("%d holds are open", n)
			}
		})
	}
}

// TestNobodyAnswered leaves a line for each attempt and none for the request.
func TestNobodyAnswered(t *testing.T) {
	silent := newScript(t, func(*gatehousetest.Exchange) error { return errors.New("the connection ends") })
	g := newGate(t)
	for _, name := range []string{"one", "two"} {
		g.upstream(name, silent.URL)
	}
	g.deploy("smart", admin.RouteSpec{Upstream: "one", Model: "gpt-4o"}, admin.RouteSpec{Upstream: "two", Model: "gpt-4o"})
	a := g.do("POST", "/v1/chat/completions", `{"model":"smart","max_tokens":50,"messages":[]}`)
	if a.status != http.StatusBadGateway {
		t.Fatalf("answer %d %s", a.status, a.body)
	}
	if u := g.usage(a.id()); u != nil {
		t.Errorf("the request itself has %+v", u)
	}
	r := g.explain(a.id())
	for i := range r.Attempts {
		if u := g.usage(fmt.Sprintf("%s/%d", a.id(), i+1)); u == nil || u.Confidence != gatehouse.Unanswered || u.Units.Output != 50 {
			t.Errorf("attempt %d of %d: %+v", i+1, len(r.Attempts), u)
		}
	}
}

// TestABudgetOfAGroup binds together all who are in it, and nobody else; who leaves it is bound no longer.
func TestABudgetOfAGroup(t *testing.T) {
	g, _ := newMoney(t)
	ctx := t.Context()
	group, err := g.admin.CreateGroup(ctx, g.who, "research")
	must(t, err)
	person := func(name string) (string, string) {
		t.Helper()
		u, err := g.admin.CreateUser(ctx, g.who, admin.UserRequest{Name: name})
		must(t, err)
		_, err = g.admin.AddProjectUser(ctx, g.who, g.project, u.ID, gatehouse.RoleMember)
		must(t, err)
		k, err := g.admin.CreateKey(ctx, g.who, admin.KeyRequest{Class: gatehouse.ClassProject, Project: g.project, User: u.ID})
		must(t, err)
		return u.ID, k.Value.Reveal()
	}
	ann, annKey := person("Ann")
	bo, boKey := person("Bo")
	_, otherKey := person("Cy")
	for _, u := range []string{ann, bo} {
		_, err := g.admin.AddGroupUser(ctx, g.who, group.ID, u)
		must(t, err)
	}
	g.budget(0.000001, func(b *gatehouse.Budget) { b.Scope, b.Subject = gatehouse.ScopeGroup, group.ID })
	ask := func(key string) *answer {
		return g.do("POST", "/v1/chat/completions", `{"model":"smart","max_tokens":5,"messages":[]}`, "Authorization", "Bearer "+key)
	}
	for name, key := range map[string]string{"Ann": annKey, "Bo": boKey} {
		if a := ask(key); a.status != 429 || !strings.Contains(a.body, "organization_usage_limit_exceeded") {
			t.Errorf("%s, in the group: %d %s", name, a.status, a.body)
		}
	}
	if a := ask(otherKey); a.status != 200 {
		t.Errorf("somebody else: %d %s", a.status, a.body)
	}
	if _, err := g.admin.RemoveGroupUser(ctx, g.who, group.ID, bo); err != nil {
		t.Fatal(err)
	}
	if a := ask(boKey); a.status != 200 {
		t.Errorf("who has left: %d %s", a.status, a.body)
	}
}
