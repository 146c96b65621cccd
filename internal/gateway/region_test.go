package gateway_test

import (
	"context"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
)

// region declares where an upstream lies.
func region(name string) func(*admin.UpstreamSpec) {
	return func(s *admin.UpstreamSpec) { s.Region = name }
}

// pin pins the gate's project to a region, or takes the pin away.
func (g *gate) pin(region string) {
	g.tb.Helper()
	_, effect, err := g.admin.UpdateProject(context.Background(), g.who, g.project, admin.ProjectUpdate{Region: admin.Some(region)})
	must(g.tb, err)
	if !effect.Everywhere {
		g.tb.Fatalf("the pin holds nowhere yet: %+v", effect)
	}
}

// threeRegions is a gate with upstreams in Europe, in the United States and of no known place, and how each counts its requests.
func threeRegions(tb testing.TB) (g *gate, eu, us, nowhere *script) {
	tb.Helper()
	g = newGate(tb)
	make := func(name, where string) *script {
		s := newScript(tb, respond(200, "application/json", chatAnswer))
		g.upstream(name, s.URL, region(where))
		return s
	}
	return g, make("eu", "West Europe"), make("us", "eastus"), make("nowhere", "")
}

// TestPinnedProject never reaches an upstream of another region: not by weight, not by priority, not by retrying.
func TestPinnedProject(t *testing.T) {
	g, eu, us, nowhere := threeRegions(t)
	g.deploy("spread", admin.RouteSpec{Upstream: "us", Weight: 1000}, admin.RouteSpec{Upstream: "nowhere", Weight: 1000}, admin.RouteSpec{Upstream: "eu", Weight: 1})
	g.deploy("eu-last", admin.RouteSpec{Upstream: "us"}, admin.RouteSpec{Upstream: "nowhere", Priority: 1}, admin.RouteSpec{Upstream: "eu", Priority: 2})
	g.deploy("us-only", admin.RouteSpec{Upstream: "us"}, admin.RouteSpec{Upstream: "nowhere"})
	g.pin("eu")
	chat := func(model string) *answer {
		return g.do("POST", "/v1/chat/completions", strings.Replace(chatBody, "gpt-4o", model, 1))
	}
	for range 20 {
		for _, model := range []string{"spread", "eu-last"} {
			if got := chat(model); got.status != 200 {
				t.Fatalf("%s: %d %s", model, got.status, got.body)
			}
		}
	}
	got := chat("us-only")
	g.wantError(t, got, 503, "no_route_in_region")
	for _, want := range []string{"`us-only`", "region `eu`", "project `" + g.project + "`", "--region"} {
		if !strings.Contains(got.body, want) {
			t.Errorf("the error does not say %s: %s", want, got.body)
		}
	}
	r := g.explain(got.id())
	if r.Rule != "no_route_in_region" || len(r.Attempts) != 0 || !strings.Contains(r.Detail, "us (region eastus)") || !strings.Contains(r.Detail, "nowhere (no region)") {
		t.Errorf("explained as %+v", r)
	}
	// What it could not use is not offered to it.
	if list := g.do("GET", "/v1/models", ""); strings.Contains(list.body, "us-only") || !strings.Contains(list.body, "eu-last") || !strings.Contains(list.body, "spread") {
		t.Errorf("models: %s", list.body)
	}
	// Its only upstream fails: there is no other to try, however many routes there are.
	eu.set(respond(500, "application/json", `{"error":{"message":"x"}}`))
	if got := chat("eu-last"); got.status != 500 {
		t.Errorf("with its region down: %d %s", got.status, got.body)
	}
	for _, other := range []*script{us, nowhere} {
		if n := other.Accepted(); n != 0 {
			t.Errorf("an upstream elsewhere had %d connections", n)
		}
	}
	// One region, and no pin at all.
	g.pin("eastus")
	if got := chat("us-only"); got.status != 200 || us.Accepted() == 0 {
		t.Errorf("pinned to eastus: %d %s", got.status, got.body)
	}
	g.pin("global")
	nowhere.set(respond(200, "application/json", chatAnswer))
	us.set(respond(500, "application/json", `{"error":{"message":"x"}}`))
	if got := chat("us-only"); got.status != 200 {
		t.Errorf("pinned nowhere: %d %s", got.status, got.body)
	}
}

// TestPinComesWhileTrying: a pin that is set between two attempts of one request holds for the second.
func TestPinComesWhileTrying(t *testing.T) {
	g, _, us, nowhere := threeRegions(t)
	g.deploy("gpt-4o", admin.RouteSpec{Upstream: "us"}, admin.RouteSpec{Upstream: "nowhere", Priority: 1})
	us.set(func(x *gatehousetest.Exchange) error {
		g.pin("us")
		return respond(500, "application/json", `{"error":{"message":"x"}}`)(x)
	})
	got := g.do("POST", "/v1/chat/completions", chatBody)
	if nowhere.Accepted() != 0 {
		t.Errorf("it went elsewhere: %d %s", got.status, got.body)
	}
	r := g.explain(got.id())
	if len(r.Attempts) < 2 || !strings.Contains(r.Attempts[1].Error, "region") {
		t.Errorf("attempts %+v", r.Attempts)
	}
}

// TestPinnedCallsWithoutAModel go to the only upstream of the region, and never to where an object lives elsewhere.
func TestPinnedCallsWithoutAModel(t *testing.T) {
	g, eu, us, nowhere := threeRegions(t)
	g.deploy("spread", admin.RouteSpec{Upstream: "us"}, admin.RouteSpec{Upstream: "nowhere"}, admin.RouteSpec{Upstream: "eu"})
	conversation := func(id string) gatehousetest.Action {
		return respond(200, "application/json", `{"id":"`+id+`","object":"conversation"}`)
	}
	eu.set(conversation("conv_eu"))
	us.set(conversation("conv_us"))
	g.wantError(t, g.do("POST", "/v1/conversations", `{}`), 400, "upstream_ambiguous")
	g.pin("us")
	if got := g.do("POST", "/v1/conversations", `{}`); got.status != 200 || !strings.Contains(got.body, "conv_us") {
		t.Fatalf("pinned to us: %d %s", got.status, got.body)
	}
	g.pin("eu")
	if got := g.do("POST", "/v1/conversations", `{}`); got.status != 200 || !strings.Contains(got.body, "conv_eu") {
		t.Fatalf("pinned to eu: %d %s", got.status, got.body)
	}
	seen := us.Accepted()
	// What it made while it was pinned elsewhere is out of its reach, by path and by reference.
	got := g.do("GET", "/v1/conversations/conv_us", "")
	g.wantError(t, got, 503, "no_route_in_region")
	if r := g.explain(got.id()); !strings.Contains(r.Detail, "us (region eastus)") {
		t.Errorf("explained as %+v", r)
	}
	g.wantError(t, g.do("POST", "/v1/responses", `{"model":"spread","input":"x","conversation":"conv_us"}`), 503, "no_route_in_region")
	// The project's own upstream for such calls does not lift the pin.
	list, err := g.admin.Upstreams(context.Background(), g.who)
	must(t, err)
	for _, up := range list {
		if up.Name == "us" {
			_, _, err := g.admin.UpdateProject(context.Background(), g.who, g.project, admin.ProjectUpdate{Upstream: admin.Some(up.ID)})
			must(t, err)
		}
	}
	if got := g.do("POST", "/v1/conversations", `{}`); got.status != 200 || !strings.Contains(got.body, "conv_eu") {
		t.Errorf("with an upstream elsewhere: %d %s", got.status, got.body)
	}
	g.pin("jp")
	g.wantError(t, g.do("POST", "/v1/conversations", `{}`), 503, "no_route_in_region")
	if us.Accepted() != seen || nowhere.Accepted() != 0 {
		t.Error("a request left the region")
	}
}

// TestResidencyPins where it names where data is processed, and nowhere else.
func TestResidencyPins(t *testing.T) {
	g, eu, us, _ := threeRegions(t)
	g.deploy("gpt-4o", admin.RouteSpec{Upstream: "us"}, admin.RouteSpec{Upstream: "eu", Priority: 1})
	for _, c := range []struct {
		residency, region string
		want              *script
	}{
		{"GLOBAL", "", us}, {"JP_STORAGE", "", us}, {"EU_STORAGE_PROCESSING", "", eu}, {"US_STORAGE_PROCESSING", "", us},
		{"EU_STORAGE_PROCESSING", "us", us}, {"EU_STORAGE_PROCESSING", "global", us}, {"GLOBAL", "eu", eu},
	} {
		p, err := g.admin.CreateProject(context.Background(), g.who, admin.ProjectRequest{Name: "p", Residency: c.residency, Region: c.region})
		must(t, err)
		_, key, err := g.admin.CreateServiceAccount(context.Background(), g.who, p.ID, admin.ServiceAccountRequest{Name: "a", WithKey: true})
		must(t, err)
		before := c.want.Requests()
		got := g.do("POST", "/v1/chat/completions", chatBody, "Authorization", "Bearer "+key.Value.Reveal())
		if got.status != 200 || len(c.want.Requests()) != len(before)+1 {
			t.Errorf("residency %s, region %q: %d %s, or another upstream", c.residency, c.region, got.status, got.body)
		}
	}
}

// TestResourcesRegion narrows what its project may reach, and never widens it.
func TestResourcesRegion(t *testing.T) {
	g, eu, us, _ := threeRegions(t)
	g.deploy("gpt-4o", admin.RouteSpec{Upstream: "us"}, admin.RouteSpec{Upstream: "eu", Priority: 1})
	info, keys, err := g.admin.CreateResource(context.Background(), g.who, admin.ResourceRequest{Project: g.project, Name: "contoso", Region: "West Europe"})
	must(t, err)
	chat := func() *answer {
		return g.do("POST", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", chatBody, "Authorization", "", "api-key", keys[0].Value.Reveal())
	}
	got := chat()
	if got.status != 200 || us.Accepted() != 0 || len(eu.Requests()) != 1 || got.header.Get("X-Ms-Region") != "West Europe" {
		t.Fatalf("its region: %d %s (region %q)", got.status, got.body, got.header.Get("X-Ms-Region"))
	}
	if r := g.explain(got.id()); r.Owner != info.Resource.ID || r.Key != keys[0].Key.ID || r.Project != g.project {
		t.Errorf("explained as %+v", r)
	}
	g.pin("us")
	got = chat()
	if got.status != 503 || !strings.Contains(got.body, "region `us`") || !strings.Contains(got.body, "resource `contoso` is pinned to region `westeurope`") {
		t.Errorf("both pins: %d %s", got.status, got.body)
	}
	_, _, err = g.admin.UpdateResource(context.Background(), g.who, info.Resource.ID, admin.ResourceUpdate{Region: admin.Some("")})
	must(t, err)
	if got := chat(); got.status != 200 || us.Accepted() == 0 {
		t.Errorf("the project's pin alone: %d %s", got.status, got.body)
	}
}

// TestResourcesKeys call in both dialects and in every header, the deployment's models and no administration.
func TestResourcesKeys(t *testing.T) {
	g, _ := newChat(t)
	info, keys, err := g.admin.CreateResource(context.Background(), g.who, admin.ResourceRequest{Project: g.project, Name: "contoso"})
	must(t, err)
	for _, header := range [][]string{{"Authorization", "", "api-key"}, {"Authorization", "", "Ocp-Apim-Subscription-Key"}, {"Authorization"}} {
		for _, k := range keys {
			for _, path := range []string{"/v1/chat/completions", "/openai/v1/chat/completions", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"} {
				value := k.Value.Reveal()
				if len(header) == 1 {
					value = "Bearer " + value
				}
				if got := g.do("POST", path, chatBody, append(append([]string{}, header...), value)...); got.status != 200 {
					t.Errorf("%s in %v of %s: %d %s", k.Key.Slot, header, path, got.status, got.body)
				}
			}
		}
	}
	call := func(k *admin.NewKey) *answer {
		return g.do("POST", "/v1/chat/completions", chatBody, "Authorization", "", "api-key", k.Value.Reveal())
	}
	_, fresh, effect, err := g.admin.RegenerateKey(context.Background(), g.who, info.Resource.ID, gatehouse.Key1)
	must(t, err)
	if !effect.Everywhere {
		t.Errorf("effect %+v", effect)
	}
	g.wantError(t, call(keys[0]), 401, "api_key_revoked")
	for _, k := range []*admin.NewKey{keys[1], fresh} {
		if got := call(k); got.status != 200 {
			t.Errorf("%s: %d %s", k.Key.Slot, got.status, got.body)
		}
	}
	_, err = g.admin.RemoveResource(context.Background(), g.who, info.Resource.ID)
	must(t, err)
	for _, k := range []*admin.NewKey{keys[1], fresh} {
		g.wantError(t, call(k), 401, "api_key_revoked")
	}
}
