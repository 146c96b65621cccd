package gateway_test

import (
	"context"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
)

// own records an object for the gate's own project at its upstream, as if it had been made here.
func (g *gate) own(up *gatehouse.Upstream, ids ...string) {
	g.tb.Helper()
	for _, id := range ids {
		must(g.tb, g.ledger.Own(gatehouse.Object{ID: id, Project: g.project, Upstream: up.ID, Kind: "test", CreatedAt: 1}))
	}
	g.flush()
}

func (g *gate) upstreamNamed(name string) *gatehouse.Upstream {
	g.tb.Helper()
	list, err := g.admin.Upstreams(context.Background(), g.who)
	must(g.tb, err)
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	g.tb.Fatalf("no upstream %s", name)
	return nil
}

// TestEveryIDOfAPath is checked, not the first alone.
func TestEveryIDOfAPath(t *testing.T) {
	g, up, other := twoProjects(t)
	g.own(g.upstreamNamed("up"), "vs_mine", "file-mine")
	up.set(respond(200, "application/json", `{"id":"vs_1","object":"vector_store"}`))
	if got := g.do("POST", "/v1/vector_stores", `{}`, other...); got.status != 200 {
		t.Fatalf("create: %d %s", got.status, got.body)
	}
	for path, want := range map[string]int{"/v1/vector_stores/vs_1/files/file-mine": 404, "/v1/vector_stores/vs_mine/files/file-mine": 404, "/v1/vector_stores/vs_1/files/file-none": 404} {
		if got := g.do("GET", path, "", other...); got.status != want {
			t.Errorf("%s of another project: %d %s", path, got.status, got.body)
		}
	}
	if got := g.do("GET", "/v1/vector_stores/vs_mine/files/file-mine", ""); got.status != 200 {
		t.Errorf("its own: %d %s", got.status, got.body)
	}
	// The link is gone, not the file.
	if got := g.do("DELETE", "/v1/vector_stores/vs_mine/files/file-mine", ""); got.status != 200 || g.object("file-mine").DeletedAt != 0 {
		t.Errorf("unlinked: %d, %+v", got.status, g.object("file-mine"))
	}
}

// TestFormsThatNameObjects are judged before a byte of them goes upstream.
func TestFormsThatNameObjects(t *testing.T) {
	g, up, other := twoProjects(t)
	g.own(g.upstreamNamed("up"), "file-mine", "cons_mine", "video_mine", "cntr_mine")
	g.deploy("sora-2", admin.RouteSpec{Upstream: "up"})
	up.set(respond(200, "application/json", `{"id":"cntr_theirs"}`))
	g.do("POST", "/v1/containers", `{"name":"x"}`, other...)
	up.set(respond(200, "application/json", `{"id":"new_1"}`))
	file := "Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx"
	upload := func(name string) string {
		return "Content-Disposition: form-data; name=\"" + name + "\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\nx"
	}
	form := []string{"Content-Type", "multipart/form-data; boundary=b"}
	for _, c := range []struct{ name, path, body, foreign string }{
		{"a consent that comes last", "/v1/audio/voices", multipart(file, field("consent", "cons_mine")), "cons_mine"},
		{"a file for a container", "/v1/containers/cntr_mine/files", multipart(field("file_id", "file-mine")), "cntr_mine"},
		{"a video by id", "/v1/videos/edits", multipart(field("prompt", "x"), field("video[id]", "video_mine")), "video_mine"},
		{"a picture by id", "/v1/videos", multipart(field("prompt", "x"), field("input_reference[file_id]", "file-mine")), "file-mine"},
		{"a picture as a file", "/v1/videos", multipart(upload("input_reference"), field("prompt", "x")), ""},
		{"a picture by address", "/v1/videos", multipart(field("input_reference[image_url]", "https://example.com/a.png"), field("prompt", "x")), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := g.do("POST", c.path, c.body, form...); got.status != 200 || string(up.got().Body) != c.body {
				t.Errorf("its own: %d %s", got.status, got.body)
			}
			before := len(up.Requests())
			got := g.do("POST", c.path, c.body, append(form, other...)...)
			if c.foreign == "" {
				if got.status != 200 {
					t.Errorf("another project: %d %s", got.status, got.body)
				}
				return
			}
			if got.status != 404 || !strings.Contains(got.body, c.foreign) || len(up.Requests()) != before {
				t.Errorf("another project: %d %s", got.status, got.body)
			}
		})
	}
	theirs := multipart(field("file_id", "file-mine"))
	if got := g.do("POST", "/v1/containers/cntr_theirs/files", theirs, append(form, other...)...); got.status != 404 || !strings.Contains(got.body, "file-mine") {
		t.Errorf("a foreign file in a container of one's own: %d %s", got.status, got.body)
	}
	for _, odd := range []string{field("Consent", "x"), field("consent[]", "x"), field("consent.id", "x")} {
		g.wantError(t, g.do("POST", "/v1/audio/voices", multipart(file, odd), form...), 400, "ambiguous_field")
	}
}

// TestFineTunedModels belong to the project that trained them, unless a deployment says who may call them.
func TestFineTunedModels(t *testing.T) {
	const tuned = "ft:gpt-4o-mini:acme::1a2b"
	g, up, other := twoProjects(t)
	g.deploy("*", admin.RouteSpec{Upstream: "up"})
	up.set(respond(200, "application/json", `{"id":"ftjob-1","object":"fine_tuning.job","fine_tuned_model":null,"result_files":[]}`))
	g.own(g.upstreamNamed("up"), "file-train")
	if got := g.do("POST", "/v1/fine_tuning/jobs", `{"model":"gpt-4o","training_file":"file-train"}`); got.status != 200 {
		t.Fatalf("create: %d %s", got.status, got.body)
	}
	up.set(respond(200, "application/json", `{"id":"ftjob-1","status":"succeeded","fine_tuned_model":"`+tuned+`","result_files":["file-result"]}`))
	chat := `{"model":"` + tuned + `","messages":[]}`
	g.wantError(t, g.do("POST", "/v1/chat/completions", chat), 404, "model_not_found")
	for range 2 { // asked for again, it says the same again
		if got := g.do("GET", "/v1/fine_tuning/jobs/ftjob-1", ""); got.status != 200 {
			t.Fatalf("retrieve: %d %s", got.status, got.body)
		}
	}
	if o := g.object(tuned); o == nil || o.Kind != "model" || g.object("file-result") == nil {
		t.Fatalf("recorded: %+v, %+v", o, g.object("file-result"))
	}
	for _, c := range []struct{ name, path, body string }{
		{"a chat", "/v1/chat/completions", chat},
		{"in another case", "/v1/chat/completions", `{"model":"FT:gpt-4o-mini:acme::1a2b","messages":[]}`},
		{"a tool", "/v1/responses", `{"model":"gpt-4o","input":"x","tools":[{"type":"image_generation","model":"` + tuned + `"}]}`},
		{"a job on top of it", "/v1/fine_tuning/jobs", `{"model":"` + tuned + `","training_file":"x"}`},
		{"an assistant", "/v1/assistants", `{"model":"` + tuned + `"}`},
	} {
		if got := g.do("POST", c.path, c.body, other...); got.status != 404 {
			t.Errorf("%s of another project: %d %s", c.name, got.status, got.body)
		}
	}
	for _, path := range []string{"/v1/models/" + tuned, "/v1/fine_tuning/checkpoints/" + tuned + "/permissions/cp_1"} {
		if got := g.do("DELETE", path, "", other...); got.status != 404 {
			t.Errorf("%s by another project: %d %s", path, got.status, got.body)
		}
	}
	if got := g.do("POST", "/v1/chat/completions", chat); got.status != 200 || string(up.got().Body) != chat {
		t.Errorf("its own: %d %s", got.status, got.body)
	}
	// An operator who routes a name of their own to it has decided who may use it.
	g.deploy("support", admin.RouteSpec{Upstream: "up", Model: tuned})
	if got := g.do("POST", "/v1/chat/completions", `{"model":"support","messages":[]}`, other...); got.status != 200 {
		t.Errorf("by a deployment: %d %s", got.status, got.body)
	}
	up.set(respond(200, "application/json", `{"id":"`+tuned+`","object":"model","deleted":true}`))
	if got := g.do("DELETE", "/v1/models/"+tuned, ""); got.status != 200 || up.got().Target != "/v1/models/"+tuned || g.object(tuned).DeletedAt == 0 {
		t.Errorf("deleted: %d %s %+v", got.status, got.body, g.object(tuned))
	}
	if got := g.do("POST", "/v1/chat/completions", chat); got.status != 404 {
		t.Errorf("after its deletion: %d", got.status)
	}
}

// TestObjectsOwnUpstream goes on answering for what it made when the deployment goes elsewhere.
func TestObjectsOwnUpstream(t *testing.T) {
	g, first := newChat(t)
	second := newScript(t, respond(200, "application/json", `{"id":"resp_2","usage":{"input_tokens":1,"output_tokens":1}}`))
	g.upstream("second", second.URL, func(s *admin.UpstreamSpec) { s.Credential = "" })
	g.deploy("house", admin.RouteSpec{Upstream: "up", Model: "gpt-old"})
	first.set(respond(200, "application/json", `{"id":"resp_1","output":[{"id":"msg_1"}],"usage":{"input_tokens":1,"output_tokens":1}}`))
	if got := g.do("POST", "/v1/responses", `{"model":"house","input":"x"}`); got.status != 200 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	if o := g.object("resp_1"); o == nil || o.Deployment != "house" || o.Model != "gpt-old" {
		t.Fatalf("recorded: %+v", o)
	}
	g.deploy("house", admin.RouteSpec{Upstream: "second", Model: "gpt-new"})
	g.deploy("gpt-4o", admin.RouteSpec{Upstream: "second"})
	for _, body := range []string{`{"model":"house","input":"x","previous_response_id":"resp_1"}`, `{"model":"house","input":[{"type":"item_reference","id":"msg_1"}]}`} {
		first.set(respond(200, "application/json", `{"id":"resp_1b","usage":{"input_tokens":1,"output_tokens":1}}`))
		got := g.do("POST", "/v1/responses", body)
		if sent := string(first.got().Body); got.status != 200 || sent != strings.Replace(body, `"house"`, `"gpt-old"`, 1) {
			t.Errorf("%s: %d %s, sent %s", body, got.status, got.body, sent)
		}
	}
	if got := g.do("POST", "/v1/responses", `{"model":"house","input":"x"}`); got.status != 200 || !strings.Contains(string(second.got().Body), "gpt-new") {
		t.Errorf("a new one: %d %s", got.status, got.body)
	}
	if got := g.do("GET", "/v1/responses/resp_1", ""); got.status != 200 || first.got().Target != "/v1/responses/resp_1" {
		t.Errorf("by its path: %d %s", got.status, got.body)
	}
	g.wantError(t, g.do("POST", "/v1/responses", `{"model":"gpt-4o","input":"x","previous_response_id":"resp_1"}`), 400, "invalid_value")
	_, err := g.admin.RemoveUpstream(context.Background(), g.who, "up")
	must(t, err)
	g.wantError(t, g.do("POST", "/v1/responses", `{"model":"house","input":"x","previous_response_id":"resp_1"}`), 503, "upstream_removed")
	g.wantError(t, g.do("GET", "/v1/responses/resp_1", ""), 503, "upstream_removed")
}

// TestWhatAnswersHandOut is the caller's from then on.
func TestWhatAnswersHandOut(t *testing.T) {
	g, up, other := twoProjects(t)
	g.own(g.upstreamNamed("up"), "file-in", "asst_1")
	stream := func(events ...string) gatehousetest.Action {
		return respond(200, "text/event-stream", strings.Join(events, ""))
	}
	event := func(name, data string) string { return "event: " + name + "\ndata: " + data + "\n\n" }
	for _, c := range []struct {
		name, method, path, body string
		answer                   gatehousetest.Action
		made                     []string
	}{
		{"a run with its thread", "POST", "/v1/threads/runs", `{"assistant_id":"asst_1"}`, respond(200, "application/json", `{"id":"run_1","object":"thread.run","thread_id":"thread_1","usage":null}`), []string{"run_1", "thread_1"}},
		{"a run with its thread in a stream", "POST", "/v1/threads/runs", `{"assistant_id":"asst_1","stream":true}`, stream(
			event("thread.created", `{"id":"thread_2","object":"thread"}`),
			event("thread.run.created", `{"id":"run_2","object":"thread.run","thread_id":"thread_2"}`),
			event("thread.message.completed", `{"id":"msg_2","object":"thread.message","content":[{"type":"image_file","image_file":{"file_id":"file-drawn"}}]}`),
			event("thread.run.completed", `{"id":"run_2","object":"thread.run","thread_id":"thread_2","usage":{"prompt_tokens":1,"completion_tokens":1}}`)), []string{"run_2", "thread_2", "file-drawn"}},
		{"a message's picture", "GET", "/v1/threads/thread_1/messages", "", respond(200, "application/json", `{"data":[{"id":"msg_1","content":[{"type":"image_file","image_file":{"file_id":"file-seen"}}]}]}`), []string{"file-seen"}},
		{"a batch that is done", "GET", "/v1/batches/batch_1", "", respond(200, "application/json", `{"id":"batch_1","output_file_id":"file-out","error_file_id":"file-err"}`), []string{"file-out", "file-err"}},
		{"an upload", "POST", "/v1/uploads", `{"purpose":"user_data"}`, respond(200, "application/json", `{"id":"upload_1","object":"upload"}`), []string{"upload_1"}},
		{"its part", "POST", "/v1/uploads/upload_1/parts", "", respond(200, "application/json", `{"id":"part_1","object":"upload.part"}`), []string{"part_1"}},
		{"its file", "POST", "/v1/uploads/upload_1/complete", `{"part_ids":["part_1"]}`, respond(200, "application/json", `{"id":"upload_1","file":{"id":"file-whole"}}`), []string{"file-whole"}},
		{"checkpoints", "GET", "/v1/fine_tuning/jobs/ftjob-1/checkpoints", "", respond(200, "application/json", `{"data":[{"id":"ftckpt_1","fine_tuned_model_checkpoint":"ft:m:acme::1:ckpt-1"}]}`), []string{"ft:m:acme::1:ckpt-1"}},
		{"a container of a response that keeps nothing", "POST", "/v1/responses", `{"model":"gpt-4o","input":"x","store":false}`, respond(200, "application/json", `{"id":"resp_1","output":[{"id":"ci_1","container_id":"cntr_1"}]}`), []string{"cntr_1"}},
		{"a file that a response cites", "POST", "/v1/responses", `{"model":"gpt-4o","input":"x","store":false}`, respond(200, "application/json",
			`{"id":"resp_1","output":[{"id":"msg_c","type":"message","content":[{"type":"output_text","text":"x","annotations":[{"type":"container_file_citation","container_id":"cntr_1","file_id":"cfile_1"}]}]}]}`), []string{"cfile_1"}},
		{"and that goes back with its history", "POST", "/v1/responses", `{"model":"gpt-4o","store":false,"input":[{"id":"msg_c","type":"message","role":"assistant","content":[{"type":"output_text","text":"x","annotations":[{"type":"container_file_citation","container_id":"cntr_1","file_id":"cfile_1"}]}]}]}`,
			respond(200, "application/json", `{"id":"resp_2","output":[]}`), nil},
		{"items of a response that ran on", "GET", "/v1/responses/resp_bg", "", respond(200, "application/json", `{"id":"resp_bg","output":[{"id":"msg_bg"}]}`), []string{"msg_bg"}},
		{"items of a conversation", "POST", "/v1/conversations/conv_1/items", `{"items":[]}`, respond(200, "application/json", `{"data":[{"id":"msg_conv"}]}`), []string{"msg_conv"}},
		{"a session", "POST", "/v1/agents/sessions", `{"environment":{"type":"none"}}`, respond(200, "application/json", `{"id":"sess_1","environment":{"id":"env_1"}}`), []string{"sess_1", "env_1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			switch c.path {
			case "/v1/fine_tuning/jobs/ftjob-1/checkpoints":
				g.own(g.upstreamNamed("up"), "ftjob-1")
			case "/v1/batches/batch_1":
				g.own(g.upstreamNamed("up"), "batch_1")
			case "/v1/responses/resp_bg":
				g.own(g.upstreamNamed("up"), "resp_bg")
			case "/v1/conversations/conv_1/items":
				g.own(g.upstreamNamed("up"), "conv_1")
			}
			up.set(c.answer)
			headers := []string{"X-Test", "1"}
			if strings.HasSuffix(c.path, "/parts") {
				headers, c.body = []string{"Content-Type", "multipart/form-data; boundary=b"}, multipart("Content-Disposition: form-data; name=\"data\"; filename=\"a\"\r\n\r\nx")
			}
			if got := g.do(c.method, c.path, c.body, headers...); got.status != 200 || got.err != nil {
				t.Fatalf("got %d %s", got.status, got.body)
			}
			for _, id := range c.made {
				if o := g.object(id); o == nil || o.Project != g.project {
					t.Errorf("%s: %+v", id, o)
				}
			}
		})
	}
	if g.object("msg_1") != nil || g.object("ci_1") != nil {
		t.Error("more is recorded than later requests may name")
	}
	g.wantError(t, g.do("GET", "/v1/files/file-out/content", "", other...), 404, "")
}

// TestAnIDOfAnotherProject stays that project's, whatever an upstream says.
func TestAnIDOfAnotherProject(t *testing.T) {
	g, up, other := twoProjects(t)
	g.upload(up, "file-mine")
	g.upload(up, "file-mine", other...)
	up.set(respond(200, "application/json", `{"id":"file-mine"}`))
	if got := g.do("GET", "/v1/files/file-mine", "", other...); got.status != 404 {
		t.Errorf("the other project: %d %s", got.status, got.body)
	}
	if got := g.do("GET", "/v1/files/file-mine", ""); got.status != 200 || g.object("file-mine").Project != g.project {
		t.Errorf("its own: %d %s", got.status, got.body)
	}
}

// TestEvalsOverTheAccount read what every project stored, so they are answered only where there is one.
func TestEvalsOverTheAccount(t *testing.T) {
	g, up, _ := twoProjects(t)
	up.set(respond(201, "application/json", `{"id":"eval_1"}`))
	for body, want := range map[string]int{
		`{"data_source_config":{"type":"custom"},"testing_criteria":[]}`:            201,
		`{"data_source_config":{"type":"logs"},"testing_criteria":[]}`:              403,
		`{"data_source_config":{"type":"stored_completions"}}`:                      403,
		`{"testing_criteria":[{"type":"score_model","model":"a-model-of-others"}]}`: 403,
	} {
		if got := g.do("POST", "/v1/evals", body); got.status != want {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
	run := `{"data_source":{"type":"completions","source":{"type":"stored_completions"}}}`
	g.wantError(t, g.do("POST", "/v1/evals/eval_1/runs", run), 403, "shared_upstream")
	g.upstream("up", up.URL, g.ownAccount)
	if got := g.do("POST", "/v1/evals/eval_1/runs", run); got.status != 201 {
		t.Errorf("alone: %d %s", got.status, got.body)
	}
}

// TestDefaultModelsAndObjects sends a call without a model to the upstream of the object it names before it thinks of a default.
func TestDefaultModelsAndObjects(t *testing.T) {
	g, up := newChat(t)
	second := newScript(t, respond(200, "application/json", `{"data":[]}`))
	g.upstream("second", second.URL, func(s *admin.UpstreamSpec) { s.Credential = "" })
	g.own(g.upstreamNamed("second"), "file-second")
	body := `{"prompt":"x","images":[{"file_id":"file-second"}]}`
	if got := g.do("POST", "/v1/images/edits", body); got.status != 200 || string(second.got().Body) != body {
		t.Errorf("no deployment serves the default: %d %s", got.status, got.body)
	}
	g.deploy("gpt-image-1.5", admin.RouteSpec{Upstream: "up", Model: "a"}, admin.RouteSpec{Upstream: "second", Model: "pictures"})
	if got := g.do("POST", "/v1/images/edits", body); got.status != 200 || !strings.Contains(string(second.got().Body), `"model":"pictures"`) {
		t.Errorf("a deployment serves it there: %d %s, sent %s", got.status, got.body, second.got().Body)
	}
	g.deploy("gpt-image-1.5", admin.RouteSpec{Upstream: "up"})
	second.set(respond(200, "application/json", `{"data":[]}`))
	if got := g.do("POST", "/v1/images/edits", body); got.status != 200 || string(second.got().Body) != body || up.Accepted() != 0 {
		t.Errorf("a deployment serves it elsewhere: %d %s", got.status, got.body)
	}
	g.wantError(t, g.do("POST", "/v1/images/edits", strings.Replace(body, "{", `{"model":"gpt-image-1.5",`, 1)), 400, "invalid_value")
}
