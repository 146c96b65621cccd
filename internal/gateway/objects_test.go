package gateway_test

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
	"gatehouse/internal/gateway"
)

// twoProjects is a gate with one upstream that two projects share, and the header of the second one's key.
func twoProjects(tb testing.TB) (g *gate, up *script, other []string) {
	tb.Helper()
	g, up = newChat(tb)
	_, key := g.newProject("other")
	return g, up, []string{"Authorization", "Bearer " + key.Value.Reveal()}
}

// upload creates a file whose id the upstream says is id.
func (g *gate) upload(up *script, id string, headers ...string) {
	g.tb.Helper()
	up.set(respond(200, "application/json", `{"object":"file","id":"`+id+`"}`))
	body := multipart(field("purpose", "user_data"), "Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx")
	if got := g.do("POST", "/v1/files", body, append([]string{"Content-Type", "multipart/form-data; boundary=b"}, headers...)...); got.status != 200 {
		g.tb.Fatalf("upload: %d %s", got.status, got.body)
	}
}

// TestObjectsBelongToProjects shows a file to the project that made it and to nobody else.
func TestObjectsBelongToProjects(t *testing.T) {
	g, up, other := twoProjects(t)
	g.upload(up, "file-mine")
	if o := g.object("file-mine"); o == nil || o.Project != g.project || o.Kind != "file" || o.DeletedAt != 0 {
		t.Fatalf("recorded: %+v", o)
	}
	up.set(respond(200, "application/json", `{"id":"file-mine"}`))
	own := g.do("GET", "/v1/files/file-mine", "")
	if own.status != 200 {
		t.Errorf("its own: %d %s", own.status, own.body)
	}
	if r := g.explain(own.id()); r.Status != 200 || r.Rule != "served" || r.Route != "files.retrieve" || r.BytesOut != int64(len(own.body)) || g.usage(own.id()) != nil {
		t.Errorf("record %+v", r)
	}
	before := len(up.Requests())
	for _, c := range []struct{ name, method, path, body string }{
		{"read", "GET", "/v1/files/file-mine", ""},
		{"content", "GET", "/v1/files/file-mine/content", ""},
		{"delete", "DELETE", "/v1/files/file-mine", ""},
		{"escaped", "GET", "/v1/files/file%2Dmine", ""},
		{"in Azure's face", "GET", "/openai/v1/files/file-mine", ""},
		{"in a chat", "POST", "/v1/chat/completions", `{"model":"gpt-4o","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file-mine"}}]}]}`},
		{"in a response", "POST", "/v1/responses", `{"model":"gpt-4o","input":[{"role":"user","content":[{"type":"input_file","file_id":"file-mine"}]}]}`},
		{"in an escaped spelling", "POST", "/v1/responses", `{"model":"gpt-4o","input":[{"role":"user","content":[{"type":"input_file","file_id":"file\u002dmine"}]}]}`},
		{"in a container of a tool", "POST", "/v1/responses", `{"model":"gpt-4o","input":"x","tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":["file-mine"]}}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := g.do(c.method, c.path, c.body, other...)
			if got.status != 404 || !strings.Contains(got.body, "file-mine") {
				t.Errorf("got %d %s, want 404", got.status, got.body)
			}
			if r := g.explain(got.id()); len(r.Attempts) != 0 || g.usage(got.id()) != nil {
				t.Errorf("it went upstream: %+v", r)
			}
		})
	}
	if n := len(up.Requests()); n != before {
		t.Errorf("%d requests went upstream", n-before)
	}
	up.set(respond(200, "application/json", `{"id":"file-mine","deleted":true}`))
	if got := g.do("DELETE", "/v1/files/file-mine", ""); got.status != 200 {
		t.Fatalf("delete: %d %s", got.status, got.body)
	}
	if o := g.object("file-mine"); o == nil || o.DeletedAt == 0 {
		t.Errorf("after its deletion: %+v", o)
	}
	if got := g.do("GET", "/v1/files/file-mine", ""); got.status != 404 {
		t.Errorf("after its deletion: %d", got.status)
	}
}

// TestUnrecordedObjects are nobody's where a credential is shared, and its own where it is not.
func TestUnrecordedObjects(t *testing.T) {
	g, up, _ := twoProjects(t)
	if got := g.do("GET", "/v1/files/file-unheard-of", ""); got.status != 404 || up.Accepted() != 0 {
		t.Errorf("shared: %d %s", got.status, got.body)
	}
	g.upstream("up", up.URL, g.ownAccount)
	if got := g.do("GET", "/v1/files/file-from-before", ""); got.status != 200 || up.got().Target != "/v1/files/file-from-before" {
		t.Errorf("alone: %d %s", got.status, got.body)
	}
}

// TestUnrecordedObjectsAreLookedUpOnce does not make a project wait for each of the files it had before it had a gateway.
func TestUnrecordedObjectsAreLookedUpOnce(t *testing.T) {
	var looks atomic.Int32
	g, up := newChat(t, func(c *gateway.Config) {
		find := c.FindObject
		c.FindObject = func(ctx context.Context, id string) (*gatehouse.Object, error) {
			looks.Add(1)
			return find(ctx, id)
		}
	})
	body := `{"model":"gpt-4o","input":"x","tools":[{"type":"code_interpreter","container":{"type":"auto","file_ids":["file-1","file-2","file-3"]}}]}`
	if got := g.do("POST", "/v1/responses", body); got.status != 200 || string(up.got().Body) != body {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if n := looks.Load(); n != 3 {
		t.Errorf("%d looks at the database for 3 files", n)
	}
}

// TestLists are refused where they would show what others made.
func TestLists(t *testing.T) {
	g, up, other := twoProjects(t)
	paths := []string{"/v1/files", "/v1/batches", "/v1/vector_stores?limit=2", "/v1/chat/completions", "/v1/assistants", "/v1/videos", "/v1/vaults/vault_1", "/v1/files/future/thing"}
	for _, path := range paths[:7] {
		g.wantError(t, g.do("GET", path, ""), 403, "shared_upstream")
	}
	if up.Accepted() != 0 {
		t.Error("a list went upstream")
	}
	// A credential that others had before still shows what they made.
	g.upstream("up", up.URL, func(s *admin.UpstreamSpec) { s.Projects = []string{g.project} })
	g.wantError(t, g.do("GET", paths[0], ""), 403, "shared_upstream")
	g.upstream("up", up.URL, g.ownAccount)
	for _, path := range paths[:7] {
		if got := g.do("GET", path, ""); got.status != 200 || up.got().Target != path {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if got := g.do("GET", "/v1/files", "", other...); got.status != 400 || !strings.Contains(got.body, "upstream_missing") {
		t.Errorf("the other project reaches no upstream: %d %s", got.status, got.body)
	}
}

// TestModellessCalls go to the project's upstream, or the only one, or say what is missing.
func TestModellessCalls(t *testing.T) {
	g, first := newChat(t)
	second := newScript(t, respond(200, "application/json", `{"id":"conv_2","object":"conversation"}`))
	first.set(respond(200, "application/json", `{"id":"conv_1","object":"conversation"}`))
	if got := g.do("POST", "/v1/conversations", `{}`); got.status != 200 || first.got().Target != "/v1/conversations" {
		t.Fatalf("the only upstream: %d %s", got.status, got.body)
	}
	up2 := g.upstream("second", second.URL)
	g.deploy("gpt-5", admin.RouteSpec{Upstream: "second"})
	g.wantError(t, g.do("POST", "/v1/conversations", `{}`), 400, "upstream_ambiguous")
	_, _, err := g.admin.UpdateProject(context.Background(), g.who, g.project, admin.ProjectUpdate{Upstream: admin.Some(up2.ID)})
	must(t, err)
	if got := g.do("POST", "/v1/conversations", `{}`); got.status != 200 || second.got().Target != "/v1/conversations" {
		t.Fatalf("the project's upstream: %d %s", got.status, got.body)
	}
	// What an upstream made stays with it, whatever the project's upstream is.
	if got := g.do("GET", "/v1/conversations/conv_1", ""); got.status != 200 || first.got().Target != "/v1/conversations/conv_1" {
		t.Errorf("an object of the first upstream: %d %s", got.status, got.body)
	}
	// A call with a model follows the object it names, if its deployment goes there.
	first.set(respond(200, "application/json", `{"id":"resp_1","usage":{"input_tokens":1,"output_tokens":1}}`))
	if got := g.do("POST", "/v1/responses", `{"model":"gpt-4o","input":"x","conversation":"conv_1"}`); got.status != 200 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	g.wantError(t, g.do("POST", "/v1/responses", `{"model":"gpt-5","input":"x","conversation":"conv_1"}`), 400, "invalid_value")
	g.wantError(t, g.do("POST", "/v1/responses", `{"model":"gpt-5","input":"x","conversation":{"id":"conv_1"},"previous_response_id":"resp_1"}`), 400, "invalid_value")
	// An upstream that no longer serves the project does not serve what it made there either.
	other, _ := g.newProject("other")
	g.upstream("up", first.URL, func(s *admin.UpstreamSpec) { s.Projects = []string{other} })
	g.wantError(t, g.do("GET", "/v1/conversations/conv_1", ""), 503, "upstream_removed")
}

// TestResponsesAreRecorded: what an answer made can be named by later requests, as far as it was stored.
func TestResponsesAreRecorded(t *testing.T) {
	long := "resp_" + strings.Repeat("x", 300)
	answer := func(id, item string) string {
		return `{"id":"` + id + `","output":[{"type":"message","id":"` + item + `"}],"usage":{"input_tokens":1,"output_tokens":1}}`
	}
	g, up, other := twoProjects(t)
	for _, c := range []struct {
		name, body, answer string
		recorded, not      []string
	}{
		{"stored", `{"model":"gpt-4o","input":"x"}`, answer("resp_a", "msg_a"), []string{"resp_a", "msg_a"}, nil},
		{"not stored", `{"model":"gpt-4o","input":"x","store":false}`, answer("resp_b", "msg_b"), nil, []string{"resp_b", "msg_b"}},
		{"a long id", `{"model":"gpt-4o","input":"x"}`, answer(long, "msg_c"), []string{long}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			up.set(respond(200, "application/json", c.answer))
			if got := g.do("POST", "/v1/responses", c.body); got.status != 200 {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			for _, id := range c.recorded {
				if o := g.object(id); o == nil || o.Project != g.project {
					t.Errorf("%s: %+v", id, o)
				}
			}
			for _, id := range c.not {
				if o := g.object(id); o != nil {
					t.Errorf("%s: %+v", id, o)
				}
			}
		})
	}
	up.set(respond(200, "application/json", answer("resp_d", "msg_d")))
	follow := `{"model":"gpt-4o","previous_response_id":"resp_a","input":[{"type":"item_reference","id":"msg_a"}]}`
	if got := g.do("POST", "/v1/responses", follow); got.status != 200 {
		t.Errorf("its own: %d %s", got.status, got.body)
	}
	if got := g.do("POST", "/v1/responses", follow, other...); got.status != 404 {
		t.Errorf("another project: %d %s", got.status, got.body)
	}
	if got := g.do("POST", "/v1/responses", `{"model":"gpt-4o","input":[{"type":"item_reference","id":"msg_a"}]}`, other...); got.status != 404 {
		t.Errorf("another project's item: %d %s", got.status, got.body)
	}
	chat := `{"model":"gpt-4o","messages":[{"role":"user","content":"x"}],"store":`
	for _, c := range []struct{ store, id string }{{"true", "chatcmpl-kept"}, {"false", "chatcmpl-not"}} {
		up.set(respond(200, "application/json", `{"id":"`+c.id+`","choices":[{"message":{"audio":{"id":"audio_`+c.store+`"}}}]}`))
		g.do("POST", "/v1/chat/completions", chat+c.store+"}")
		if o := g.object(c.id); (o != nil) != (c.store == "true") {
			t.Errorf("%s: %+v", c.id, o)
		}
		if o := g.object("audio_" + c.store); o == nil {
			t.Errorf("the audio of %s is not recorded", c.id)
		}
	}
}

// TestResponseOfAStreamThatWasLeft is recorded: its caller comes back for it.
func TestResponseOfAStreamThatWasLeft(t *testing.T) {
	g, up := newChat(t)
	up.set(streaming(gatehousetest.Chunk("event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_left\",\"status\":\"queued\"}}\n\n"), gatehousetest.Stall()))
	resp, err := g.client.Do(g.request("POST", "/v1/responses", `{"model":"gpt-4o","input":"x","stream":true,"background":true}`, "X-Client-Request-Id", "left"))
	must(t, err)
	if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	g.settled("left")
	if o := g.object("resp_left"); o == nil || o.Project != g.project {
		t.Errorf("recorded: %+v", o)
	}
}

// TestSharedCredential counts two upstreams with one credential as one account.
func TestSharedCredential(t *testing.T) {
	g, up := newChat(t)
	g.upstream("up", up.URL, g.ownAccount)
	other, _ := g.newProject("other")
	if got := g.do("GET", "/v1/files", ""); got.status != 200 {
		t.Fatalf("alone: %d %s", got.status, got.body)
	}
	g.upstream("twin", up.URL, g.ownAccount, func(s *admin.UpstreamSpec) { s.Projects = []string{other} })
	g.wantError(t, g.do("GET", "/v1/files", ""), 403, "shared_upstream")
	// What a removed one served stays, also when it had another credential last.
	g.upstream("twin", up.URL, func(s *admin.UpstreamSpec) { s.Credential, s.Projects = "env://UPSTREAM_API_KEY_3", []string{other} })
	g.wantError(t, g.do("GET", "/v1/files", ""), 403, "shared_upstream")
	_, err := g.admin.RemoveUpstream(context.Background(), g.who, "twin")
	must(t, err)
	g.wantError(t, g.do("GET", "/v1/files", ""), 403, "shared_upstream")
	g.upstream("up", up.URL, g.ownAccount, func(s *admin.UpstreamSpec) { s.Credential = "env://UPSTREAM_API_KEY_4" })
	if got := g.do("GET", "/v1/files", ""); got.status != 200 {
		t.Errorf("with a credential of its own: %d %s", got.status, got.body)
	}
}

// TestMetering counts what each shape of answer says, in a body and in a stream.
func TestMetering(t *testing.T) {
	const form = "multipart/form-data; boundary=b"
	audio := multipart("Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx", field("model", "gpt-4o"))
	usage := func(s string) string { return `{"id":"x","model":"m-1","usage":` + s + `}` }
	for _, c := range []struct {
		name, path, contentType, body, answerType, answer string
		product                                           string
		want                                              gatehouse.Units
		confidence                                        gatehouse.Confidence
	}{
		{name: "chat", path: "chat/completions", body: chatBody, product: "completions",
			answer: usage(`{"prompt_tokens":100,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":40,"audio_tokens":5},"completion_tokens_details":{"reasoning_tokens":30,"audio_tokens":3}}`),
			want:   gatehouse.Units{Input: 100, Cached: 40, InputAudio: 5, Output: 50, Reasoning: 30, OutputAudio: 3}},
		{name: "cache writes", path: "chat/completions", body: chatBody, product: "completions",
			answer: usage(`{"prompt_tokens":100,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":1,"cache_write_tokens":60}}`),
			want:   gatehouse.Units{Input: 100, Cached: 1, CacheWrite: 60, Output: 1}},
		{name: "completions", path: "completions", body: `{"model":"gpt-4o","prompt":"x"}`, product: "completions", answer: usage(`{"prompt_tokens":3,"completion_tokens":4}`), want: gatehouse.Units{Input: 3, Output: 4}},
		{name: "responses", path: "responses", body: `{"model":"gpt-4o","input":"x"}`, product: "completions",
			answer: usage(`{"input_tokens":36,"output_tokens":87,"input_tokens_details":{"cached_tokens":6},"output_tokens_details":{"reasoning_tokens":7}}`),
			want:   gatehouse.Units{Input: 36, Cached: 6, Output: 87, Reasoning: 7}},
		{name: "a stream of a response", path: "responses", body: `{"model":"gpt-4o","input":"x","stream":true}`, product: "completions", answerType: "text/event-stream",
			answer: "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_s\",\"model\":\"m-1\",\"usage\":{\"input_tokens\":5,\"output_tokens\":6}}}\n\n",
			want:   gatehouse.Units{Input: 5, Output: 6}},
		{name: "embeddings", path: "embeddings", body: `{"model":"gpt-4o","input":"x"}`, product: "embeddings", answer: usage(`{"prompt_tokens":8,"total_tokens":8}`), want: gatehouse.Units{Input: 8}},
		{name: "images", path: "images/generations", body: `{"model":"gpt-4o","prompt":"x","n":2}`, product: "images",
			answer: `{"data":[{"b64_json":""},{"b64_json":""}],"usage":{"input_tokens":50,"output_tokens":60,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}`,
			want:   gatehouse.Units{Input: 50, InputText: 10, InputImage: 40, Output: 60, OutputImage: 60, Images: 2}},
		{name: "transcription in tokens", path: "audio/transcriptions", contentType: form, body: audio, product: "audio_transcriptions",
			answer: `{"text":"x","usage":{"type":"tokens","input_tokens":14,"output_tokens":45,"input_token_details":{"audio_tokens":14,"text_tokens":0}}}`,
			want:   gatehouse.Units{Input: 14, InputAudio: 14, Output: 45}},
		{name: "transcription in seconds", path: "audio/transcriptions", contentType: form, body: audio, product: "audio_transcriptions",
			answer: `{"text":"x","usage":{"type":"duration","seconds":3}}`, want: gatehouse.Units{Milliseconds: 3000}},
		{name: "speech", path: "audio/speech", body: `{"model":"gpt-4o","input":"naïve","voice":"alloy"}`, answerType: "audio/mpeg", answer: "ID3", product: "audio_speeches",
			want: gatehouse.Units{Characters: 5, Input: 13, Output: 12, OutputAudio: 12}, confidence: gatehouse.Estimated},
		{name: "no usage", path: "chat/completions", body: chatBody, product: "completions", answer: `{"id":"x","model":"m-1","choices":[{"message":{"content":"sixteen letters."}}]}`,
			want: gatehouse.Units{Input: 16, Output: 4}, confidence: gatehouse.Estimated},
		{name: "absurd usage", path: "chat/completions", body: chatBody, product: "completions", answer: usage(`{"prompt_tokens":-5,"completion_tokens":1e30}`),
			want: gatehouse.Units{Input: 16}, confidence: gatehouse.Estimated},
		{name: "a stream without usage", path: "chat/completions", body: streamBody, answerType: "text/event-stream", product: "completions",
			answer: delta("sixteen letters.") + doneEvent, want: gatehouse.Units{Input: 19, Output: 4}, confidence: gatehouse.Estimated},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, up := newChat(t)
			if c.answerType == "" {
				c.answerType = "application/json"
			}
			if c.contentType == "" {
				c.contentType = "application/json"
			}
			if c.confidence == "" {
				c.confidence = gatehouse.Reported
			}
			up.set(respond(200, c.answerType, c.answer))
			got := g.do("POST", "/v1/"+c.path, c.body, "Content-Type", c.contentType)
			if got.status != 200 || got.err != nil {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			u := g.usage(got.id())
			if u == nil || u.Units != c.want || u.Confidence != c.confidence || u.Product != c.product {
				t.Fatalf("usage %+v\nwant  %+v, %s, %s", u, c.want, c.confidence, c.product)
			}
			if u.Organization != g.who.Organization || u.Project != g.project || u.Key != g.key.Key.ID || u.User != g.user || u.Model != "gpt-4o" || u.Upstream != "up" {
				t.Errorf("usage %+v", u)
			}
			r := g.explain(got.id())
			if r.Status != 200 || r.Rule != "served" || r.Confidence != c.confidence || r.Units == nil || *r.Units != c.want || r.BytesOut != int64(len(got.body)) || r.BytesIn != int64(len(c.body)) {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// TestUsageOption asks for a stream's usage where the caller did not and the server knows how, and hides the answer to it.
func TestUsageOption(t *testing.T) {
	for _, c := range []struct {
		name, body string
		change     func(*admin.UpstreamSpec)
		injected   bool
		hidden     bool
	}{
		{"not asked", streamBody, func(*admin.UpstreamSpec) {}, true, true},
		{"asked", `{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true}}`, func(*admin.UpstreamSpec) {}, false, false},
		{"an Azure that knows it", streamBody, azure("2024-10-21"), true, true},
		{"an Azure that does not", streamBody, azure("2024-06-01"), false, false},
		{"Azure's v1", streamBody, azure(""), true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			up := newScript(t, streaming(gatehousetest.Chunk(delta("a")+usageChunk+doneEvent), gatehousetest.LastChunk()))
			g := newGate(t)
			g.upstream("up", up.URL, c.change)
			g.deploy("gpt-4o", admin.RouteSpec{Upstream: "up"})
			got := g.do("POST", "/v1/chat/completions", c.body)
			if sent := string(up.got().Body); (sent != c.body) != c.injected {
				t.Errorf("the upstream got %s", sent)
			}
			if want := delta("a") + map[bool]string{false: usageChunk}[c.hidden] + doneEvent; got.body != want {
				t.Errorf("the caller got %q, want %q", got.body, want)
			}
			if u := g.usage(got.id()); u == nil || u.Units.Input != 9 || u.Confidence != gatehouse.Reported {
				t.Errorf("usage %+v", u)
			}
		})
	}
}

// TestOneCredentialInTwoOrganizations is one account of the provider: neither may see what it cannot tell from the other's.
func TestOneCredentialInTwoOrganizations(t *testing.T) {
	g, up := newChat(t)
	up.set(respond(200, "application/json", `{"object":"list","data":[]}`))
	if got := g.do("GET", "/v1/files", ""); got.status != 200 {
		t.Fatalf("alone: %d %s", got.status, got.body)
	}
	ctx := context.Background()
	founded, err := g.admin.Found(ctx, gatehouse.Host(""), "Other", "Eve", "")
	must(t, err)
	eve := gatehouse.Host(founded.Organization.ID)
	_, err = g.admin.PutUpstream(ctx, eve, admin.UpstreamSpec{Name: "mine", Dialect: gatehouse.OpenAI, BaseURL: "https://api.example.com/v1", Credential: "env://UPSTREAM_API_KEY"})
	must(t, err)
	if got := g.do("GET", "/v1/files", ""); got.status != 200 {
		t.Errorf("nothing routes to the other one yet: %d %s", got.status, got.body)
	}
	_, err = g.admin.PutDeployment(ctx, eve, admin.DeploymentSpec{Name: "m", Routes: []admin.RouteSpec{{Upstream: "mine"}}})
	must(t, err)
	g.wantError(t, g.do("GET", "/v1/files", ""), 403, "shared_upstream")
	g.wantError(t, g.do("GET", "/v1/files/file-unrecorded", ""), 404, "")
}
