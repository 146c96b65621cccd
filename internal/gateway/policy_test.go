package gateway_test

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
	"gatehouse/internal/gateway"
)

// policy changes what the gate's project may do.
func (g *gate) policy(u admin.PolicyUpdate) {
	g.tb.Helper()
	_, effect, err := g.admin.UpdateProjectPolicy(context.Background(), g.who, g.project, u)
	must(g.tb, err)
	if !effect.Everywhere {
		g.tb.Fatalf("the change holds everywhere by %v", effect)
	}
}

func (g *gate) models(mode gatehouse.ModelMode, names ...string) {
	g.tb.Helper()
	g.policy(admin.PolicyUpdate{Models: admin.Some(gatehouse.ModelPermissions{Mode: mode, Models: names})})
}

// TestDeniedModels asks for models that the project is denied and for one that it is not, in both modes: what is denied answers 403
// model_not_found in every place where a model can be named, and is in no list.
func TestDeniedModels(t *testing.T) {
	g, up := newChat(t)
	g.deploy("gpt-5", admin.RouteSpec{Upstream: "up"})
	g.deploy("gpt-image-1", admin.RouteSpec{Upstream: "up"})
	g.own(g.upstreamNamed("up"), "asst_1")
	_, other := g.newProject("other")
	for _, c := range []struct {
		mode  gatehouse.ModelMode
		names []string
	}{{gatehouse.DenyList, []string{"gpt-5", "gpt-image-1"}}, {gatehouse.AllowList, []string{"gpt-4o", "never-there"}}} {
		g.models(c.mode, c.names...)
		before := len(up.Requests())
		for name, req := range map[string][2]string{
			"chat":            {"/v1/chat/completions", `{"model":"gpt-5","messages":[]}`},
			"responses":       {"/v1/responses", `{"model":"gpt-5","input":"x"}`},
			"classic Azure":   {"/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21", `{"messages":[]}`},
			"a tool's model":  {"/v1/responses", `{"model":"gpt-4o","input":"x","tools":[{"type":"image_generation","model":"gpt-image-1"}]}`},
			"a stored prompt": {"/v1/responses", `{"model":"gpt-4o","prompt":{"id":"pmpt_1"}}`},
			"a run's model":   {"/v1/threads/runs", `{"assistant_id":"asst_1","tools":[]}`}, // which is its assistant's
		} {
			a := g.do("POST", req[0], req[1])
			code := "model_not_found"
			switch name {
			case "a stored prompt", "a run's model":
				code = gateway.CodeToolDenied
			case "classic Azure":
				code = "403" // and the other inside it
			}
			t.Run(string(c.mode)+" "+name, func(t *testing.T) { g.wantError(t, a, 403, code) })
		}
		if n := len(up.Requests()); n != before {
			t.Errorf("%s: %d denied requests reached the upstream", c.mode, n-before)
		}
		if a := g.chat(); a.status != 200 {
			t.Errorf("%s: a model that is allowed: %d %s", c.mode, a.status, a.body)
		}
		var list struct{ Data []struct{ ID string } }
		if err := json.Unmarshal([]byte(g.do("GET", "/v1/models", "").body), &list); err != nil || len(list.Data) != 1 || list.Data[0].ID != "gpt-4o" {
			t.Errorf("%s: the list of models is %v", c.mode, list)
		}
		if a := g.do("GET", "/v1/models/gpt-5", ""); a.status != 403 {
			t.Errorf("%s: a denied model is described: %d", c.mode, a.status)
		}
		if a := g.do("POST", "/v1/chat/completions", `{"model":"gpt-5","messages":[]}`, "Authorization", "Bearer "+other.Value.Reveal()); a.status != 200 {
			t.Errorf("%s: another project: %d %s", c.mode, a.status, a.body)
		}
	}
	g.models(gatehouse.AllowList)
	g.wantError(t, g.chat(), 403, "model_not_found")
	g.models("")
	if a := g.do("POST", "/v1/chat/completions", `{"model":"gpt-5","messages":[]}`); a.status != 200 {
		t.Errorf("with nothing denied: %d %s", a.status, a.body)
	}
}

// TestDeniedModelEndsStreams denies a model while it answers: the stream ends.
func TestDeniedModelEndsStreams(t *testing.T) {
	g, up := newChat(t)
	up.set(streaming(gatehousetest.Chunk(delta("one")), gatehousetest.Stall()))
	res, r := g.open(streamBody)
	defer func() { _ = res.Body.Close() }()
	event(t, r)
	g.models(gatehouse.DenyList, "gpt-4o")
	if rest, err := io.ReadAll(r); err == nil || !strings.Contains(string(rest), `"error"`) {
		t.Errorf("the stream ended with %v: %q", err, rest)
	}
}

// hosted are requests that make an upstream run a hosted tool, each by another way.
var hosted = []struct {
	name, path, body string
	tool             gatehouse.ToolSet
	param            string
}{
	{"responses, web search", "/v1/responses", `{"model":"gpt-4o","input":"x","tools":[{"type":"web_search"}]}`, gatehouse.ToolWebSearch, "tools"},
	{"responses, web search of another version", "/v1/responses", `{"model":"gpt-4o","input":"x","tools":[{"type":"function","name":"f"},{"type":"web_search_preview_2025_03_11"}]}`, gatehouse.ToolWebSearch, "tools"},
	{"responses, file search", "/v1/responses", `{"model":"gpt-4o","input":"x","tools":[{"type":"file_search","vector_store_ids":[]}]}`, gatehouse.ToolFileSearch, "tools"},
	{"responses, code interpreter", "/v1/responses", `{"model":"gpt-4o","input":"x","tools":[{"type":"code_interpreter","container":{"type":"auto"}}]}`, gatehouse.ToolCodeInterpreter, "tools"},
	{"responses, shell", "/v1/responses", `{"model":"gpt-4o","input":"x","tools":[{"type":"shell"}]}`, gatehouse.ToolCodeInterpreter, "tools"},
	{"responses, MCP", "/v1/responses", `{"model":"gpt-4o","input":"x","tools":[{"type":"mcp","server_label":"a","server_url":"https://mcp.example.com"}]}`, gatehouse.ToolMCP, "tools"},
	{"responses, pictures", "/v1/responses", `{"model":"gpt-4o","input":"x","tools":[{"type":"image_generation"}]}`, gatehouse.ToolImageGeneration, "tools"},
	{"responses, an item's tools", "/v1/responses", `{"model":"gpt-4o","input":[{"type":"additional_tools","tools":[{"type":"mcp","server_url":"https://mcp.example.com"}]}]}`, gatehouse.ToolMCP, "model"},
	{"a tool whose type is no text", "/v1/responses", `{"model":"gpt-4o","input":"x","tools":[{"type":["mcp"]}]}`, gatehouse.ToolMCP, "tools"},
	{"a tool of a type that nobody knows", "/v1/responses", `{"model":"gpt-4o","input":"x","tools":[{"type":"deep_crawl"}]}`, gatehouse.ToolMCP, "tools"},
	{"chat, web search options", "/v1/chat/completions", `{"model":"gpt-4o","messages":[],"web_search_options":{}}`, gatehouse.ToolWebSearch, "web_search_options"},
	{"chat, a search model", "/v1/chat/completions", `{"model":"gpt-4o-search-preview","messages":[]}`, gatehouse.ToolWebSearch, "model"},
	{"chat, a search model by another name", "/v1/chat/completions", `{"model":"lookup","messages":[]}`, gatehouse.ToolWebSearch, "model"},
	{"an assistant", "/v1/assistants", `{"model":"gpt-4o","tools":[{"type":"code_interpreter"}]}`, gatehouse.ToolCodeInterpreter, "tools"},
	{"a run that brings tools", "/v1/threads/runs", `{"assistant_id":"asst_1","model":"gpt-4o","tools":[{"type":"file_search"}]}`, gatehouse.ToolFileSearch, "tools"},
	{"a run with an assistant's tools", "/v1/threads/runs", `{"assistant_id":"asst_1","model":"gpt-4o"}`, gatehouse.ToolMCP, "assistant_id"},
	{"a stored prompt", "/v1/responses", `{"model":"gpt-4o","prompt":{"id":"pmpt_1"}}`, gatehouse.ToolFileSearch, "prompt"},
	{"a container", "/v1/containers", `{"name":"c"}`, gatehouse.ToolCodeInterpreter, "model"},
	{"an eval", "/v1/evals/eval_1/runs", `{"data_source":{"type":"responses","model":"gpt-4o","sampling_params":{"tools":[{"type":"web_search"}]}}}`, gatehouse.ToolWebSearch, "model"},
}

// TestDeniedHostedTools makes every request with its tool denied, and with every other tool denied.
func TestDeniedHostedTools(t *testing.T) {
	g, up := newChat(t)
	g.deploy("gpt-4o-search-preview", admin.RouteSpec{Upstream: "up"})
	g.deploy("lookup", admin.RouteSpec{Upstream: "up", Model: "gpt-5-search-api"})
	u := g.upstreamNamed("up")
	g.own(u, "asst_1", "pmpt_1", "eval_1")
	for _, c := range hosted {
		t.Run(c.name, func(t *testing.T) {
			g.policy(admin.PolicyUpdate{Deny: c.tool, Allow: gatehouse.AllTools})
			before := len(up.Requests())
			e := g.wantError(t, g.do("POST", c.path, c.body), 403, gateway.CodeToolDenied)
			if text(e.Error.Param) != c.param {
				t.Errorf("param is %q, want %q: %s", text(e.Error.Param), c.param, e.Error.Message)
			}
			if n := len(up.Requests()); n != before {
				t.Error("it reached the upstream")
			}
			if strings.HasPrefix(c.name, "a stored prompt") || strings.HasPrefix(c.name, "a run with") || strings.HasPrefix(c.name, "a tool whose") || strings.HasPrefix(c.name, "a tool of a type") {
				return // refused whatever is denied
			}
			g.policy(admin.PolicyUpdate{Deny: gatehouse.AllTools, Allow: gatehouse.AllTools})
			g.policy(admin.PolicyUpdate{Allow: c.tool})
			a := g.do("POST", c.path, c.body)
			if a.status == 403 && strings.Contains(a.body, gateway.CodeToolDenied) {
				t.Errorf("with its tool allowed: %d %s", a.status, a.body)
			}
		})
	}
	g.policy(admin.PolicyUpdate{Deny: gatehouse.AllTools})
	for name, body := range map[string]string{
		"tools of the caller": `{"model":"gpt-4o","messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"tools":{"type":"array","items":{"type":"mcp"}}}}}},{"type":"custom"},{"type":"tool_search"}]}`,
		"metadata":            `{"model":"gpt-4o","messages":[],"metadata":{"tools":[{"type":"mcp"}]}}`,
	} {
		if a := g.do("POST", "/v1/chat/completions", body); a.status != 200 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := g.do("POST", "/v1/threads/runs", `{"assistant_id":"asst_1","tools":[]}`); strings.Contains(a.body, gateway.CodeToolDenied) {
		t.Errorf("a run that replaces its assistant's tools by none: %d %s", a.status, a.body)
	}
}

// TestDeniedInBatches: a line is judged as it is uploaded, and the file again when the batch is made.
func TestDeniedInBatches(t *testing.T) {
	g, s, _ := newBatchGate(t)
	search := line("1", "/v1/responses", `{"model":"large","input":"x","max_output_tokens":5,"max_tool_calls":1,"tools":[{"type":"web_search"}]}`)
	g.policy(admin.PolicyUpdate{Deny: gatehouse.ToolWebSearch})
	g.wantError(t, g.uploadBatch(search), 403, gateway.CodeToolDenied)
	g.models(gatehouse.DenyList, "large")
	g.wantError(t, g.uploadBatch(chatLine("1", "large")), 403, "model_not_found")
	if n := len(s.Requests()); n != 0 {
		t.Fatalf("%d uploads reached the upstream", n)
	}
	g.models("")
	g.policy(admin.PolicyUpdate{Allow: gatehouse.ToolWebSearch})
	if a := g.uploadBatch(search); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	create := func() *answer {
		return g.do("POST", "/v1/batches", `{"input_file_id":"file-1","endpoint":"/v1/responses","completion_window":"24h"}`)
	}
	g.policy(admin.PolicyUpdate{Deny: gatehouse.ToolWebSearch})
	g.wantError(t, create(), 403, gateway.CodeToolDenied)
	g.policy(admin.PolicyUpdate{Allow: gatehouse.ToolWebSearch, Deny: gatehouse.ToolMCP})
	s.set(respond(200, "application/json", `{"id":"batch_1","object":"batch","status":"validating","input_file_id":"file-1"}`))
	if a := create(); a.status != 200 {
		t.Errorf("with another tool denied: %d %s", a.status, a.body)
	}
}

// TestZeroDataRetention: what is recorded of a request says from where it came unless the project, or its organization, keeps nothing.
func TestZeroDataRetention(t *testing.T) {
	access := &lines{}
	g, _ := newChat(t, func(c *gateway.Config) { c.AccessLog = access })
	call := func() *gatehouse.Request {
		a := g.do("POST", "/v1/chat/completions", chatBody, "User-Agent", "acme/1", "X-Client-Request-Id", "mine")
		if a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return g.explain(a.id())
	}
	callers := func(r *gatehouse.Request) bool {
		return r.IP != "" && r.UserAgent == "acme/1" && r.ClientRequestID == "mine"
	}
	nobody := func(r *gatehouse.Request) bool { return r.IP == "" && r.UserAgent == "" && r.ClientRequestID == "" }
	if r := call(); !callers(r) {
		t.Errorf("by default: %+v", r)
	}
	g.policy(admin.PolicyUpdate{DataRetention: admin.Some(gatehouse.ZeroDataRetention)})
	logged := len(access.String())
	if r := call(); !nobody(r) || r.Units == nil || r.Rule != "served" {
		t.Errorf("a project of zero data retention: %+v", r)
	}
	all := access.String()
	if !strings.Contains(all[:logged], `"ip":"127.0.0.1"`) || strings.Contains(all[logged:], "127.0.0.1") || len(all) == logged {
		t.Errorf("the access log:\n%s", all)
	}
	for line := range strings.Lines(all) {
		if !json.Valid([]byte(line)) {
			t.Errorf("a line of the access log is no JSON: %s", line)
		}
	}
	if refused := g.explain(g.do("POST", "/v1/chat/completions", `{"model":"none","messages":[]}`, "User-Agent", "acme/1").id()); !nobody(refused) || refused.Rule == "" {
		t.Errorf("a refusal: %+v", refused)
	}
	_, _, err := g.admin.UpdateOrganization(context.Background(), g.who, admin.OrganizationUpdate{DataRetention: admin.Some(gatehouse.EnhancedZeroDataRetention)})
	must(t, err)
	g.policy(admin.PolicyUpdate{DataRetention: admin.Some(gatehouse.NoControls)})
	if r := call(); !callers(r) {
		t.Errorf("a project that differs from its organization: %+v", r)
	}
	g.policy(admin.PolicyUpdate{DataRetention: admin.Some(gatehouse.OrganizationDefault)})
	if r := call(); !nobody(r) {
		t.Errorf("an organization of zero data retention: %+v", r)
	}
}

// TestServiceTiers: a project's requests ask for the tiers it may use, in every place that takes one; and one that leaves the choice to
// its project goes upstream with what the project has chosen.
func TestServiceTiers(t *testing.T) {
	g, up := newChat(t)
	tiers := func(enabled ...string) admin.PolicyUpdate {
		return admin.PolicyUpdate{EnabledTiers: admin.Some(gatehouse.ServiceTiers{Restricted: true, Enabled: enabled})}
	}
	const chat, responses, azure = "/v1/chat/completions", "/v1/responses", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
	call := func(path, tier string) *answer {
		body := `{"model":"gpt-4o","messages":[]`
		if path == responses {
			body = `{"model":"gpt-4o","input":"x"`
		}
		if tier != "" {
			body += `,"service_tier":"` + tier + `"`
		}
		return g.do("POST", path, body+"}")
	}
	g.policy(tiers("flex"))
	before := len(up.Requests())
	for _, tier := range []string{"fast", "priority", "ultrafast", "PRIORITY", "turbo"} {
		for _, path := range []string{chat, responses} {
			if e := g.wantError(t, call(path, tier), 400, gateway.CodeTierDenied); text(e.Error.Param) != "service_tier" || !strings.Contains(e.Error.Message, "not allowed for this project") {
				t.Errorf("%s, %s: %+v", path, tier, e)
			}
		}
		if a := call(azure, tier); a.status != 400 {
			t.Errorf("classic Azure, %s: %d %s", tier, a.status, a.body)
		}
	}
	if n := len(up.Requests()); n != before {
		t.Errorf("%d denied requests reached the upstream", n-before)
	}
	for _, tier := range []string{"", "auto", "default", "flex", "scale"} {
		if a := call(chat, tier); a.status != 200 {
			t.Errorf("%q: %d %s", tier, a.status, a.body)
		}
	}
	sent := func(path, tier string) string {
		t.Helper()
		if a := call(path, tier); a.status != 200 {
			t.Fatalf("%q: %d %s", tier, a.status, a.body)
		}
		reqs := up.Requests()
		var got struct {
			Tier *string `json:"service_tier"`
		}
		must(t, json.Unmarshal(reqs[len(reqs)-1].Body, &got))
		if got.Tier == nil {
			return "none"
		}
		return *got.Tier
	}
	every := admin.PolicyUpdate{EnabledTiers: admin.Some(gatehouse.ServiceTiers{})}
	for _, c := range []struct{ chosen, asked, sent string }{
		{"", "", "none"}, {"", "auto", "auto"}, {"", "flex", "flex"},
		{"fast", "", "priority"}, {"fast", "auto", "priority"}, {"fast", "default", "default"}, {"fast", "flex", "flex"},
		{"standard", "", "default"}, {"standard", "auto", "default"}, {"standard", "priority", "priority"},
		{"scale", "", "none"}, {"scale", "auto", "auto"},
	} {
		u := every
		u.DefaultTier = admin.Some(c.chosen)
		g.policy(u)
		for _, path := range []string{chat, responses, azure} {
			if got := sent(path, c.asked); got != c.sent {
				t.Errorf("%s: chosen %q, asked for %q, sent %q, want %q", path, c.chosen, c.asked, got, c.sent)
			}
		}
	}
	g.policy(admin.PolicyUpdate{DefaultTier: admin.Some("fast")})
	if a := g.do("POST", "/v1/embeddings", `{"model":"gpt-4o","input":"x"}`); a.status != 200 || strings.Contains(string(up.Requests()[len(up.Requests())-1].Body), "service_tier") {
		t.Errorf("an operation without tiers: %d %s", a.status, a.body)
	}
}

// TestServiceTiersOfBatches: a line is judged as it is uploaded, and the file again when the batch is made.
func TestServiceTiersOfBatches(t *testing.T) {
	g, s, _ := newBatchGate(t)
	only := func(enabled ...string) {
		g.policy(admin.PolicyUpdate{EnabledTiers: admin.Some(gatehouse.ServiceTiers{Restricted: true, Enabled: enabled})})
	}
	fast := line("1", "/v1/responses", `{"model":"large","input":"x","max_output_tokens":5,"service_tier":"priority"}`)
	only("flex")
	g.wantError(t, g.uploadBatch(fast), 400, gateway.CodeTierDenied)
	only("fast")
	if a := g.uploadBatch(fast); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	create := func() *answer {
		return g.do("POST", "/v1/batches", `{"input_file_id":"file-1","endpoint":"/v1/responses","completion_window":"24h"}`)
	}
	only()
	g.wantError(t, create(), 400, gateway.CodeTierDenied)
	only("fast")
	s.set(respond(200, "application/json", `{"id":"batch_1","object":"batch","status":"validating","input_file_id":"file-1"}`))
	if a := create(); a.status != 200 {
		t.Errorf("with the tier allowed: %d %s", a.status, a.body)
	}
}
