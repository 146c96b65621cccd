package gateway_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
	"gatehouse/internal/dialect/work"
	"gatehouse/internal/gateway"
	"gatehouse/internal/store"
)

// sightings are the ends of work that a gateway told.
type sightings struct {
	mu   sync.Mutex
	seen map[string]work.Report
}

func (s *sightings) take(id string, r work.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string]work.Report{}
	}
	s.seen[id] = r
}

func (s *sightings) get(id string) (work.Report, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.seen[id]
	return r, ok
}

// openWork returns work that is open, nil when there is none of that id.
func (g *gate) openWork(id string) *gatehouse.Work {
	g.tb.Helper()
	g.flush()
	var w *gatehouse.Work
	err := g.db.View(deadline(g.tb), func(tx *store.Tx) (err error) {
		w, err = tx.Work(id)
		return err
	})
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		return nil
	}
	must(g.tb, err)
	return w
}

// newWorkGate is a gate with one upstream, a deployment on it, and a watch on what it tells of work.
func newWorkGate(t *testing.T) (*gate, *script, *gatehouse.Upstream, *sightings) {
	s := newScript(t, respond(200, "application/json", "{}"))
	var ends sightings
	g := newGate(t, func(cfg *gateway.Config) { cfg.WorkSeen = ends.take })
	up := g.upstream("openai", s.URL)
	g.deploy("smart", admin.RouteSpec{Upstream: "openai", Model: "gpt-4o"})
	return g, s, up, &ends
}

func TestAnswersThatBeginWork(t *testing.T) {
	g, s, up, ends := newWorkGate(t)
	for _, object := range []string{"thread_1", "asst_1", "file-1", "video_0"} {
		must(t, g.ledger.Own(gatehouse.Object{ID: object, Project: g.project, Upstream: up.ID, Kind: "object", CreatedAt: 1}))
	}
	g.flush()
	const sse = "text/event-stream"
	for _, c := range []struct {
		name, path, body, contentType string
		answer                        string
		id                            string
		kind                          gatehouse.WorkKind // "": it is over, and counted under the id
		poll                          string
		units                         gatehouse.Units // of what is over
		product                       string
		video                         int64 // reserved
		own                           bool  // it counts under the request's id: it is no long work
	}{
		{name: "a background response", path: "/v1/responses", body: `{"model":"smart","input":"x","background":true,"max_output_tokens":50}`,
			answer: `{"id":"resp_1","object":"response","status":"queued","model":"gpt-4o","usage":null}`, id: "resp_1", kind: gatehouse.WorkResponse, poll: "/responses/resp_1", product: "completions"},
		{name: "one that is over at once", path: "/v1/responses", body: `{"model":"smart","input":"x","background":true}`,
			answer: `{"id":"resp_2","object":"response","status":"completed","model":"gpt-4o-2024-08-06","usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}`, id: "resp_2",
			units: gatehouse.Units{Input: 3, Output: 4}, product: "completions"},
		{name: "a response in the foreground", path: "/v1/responses", body: `{"model":"smart","input":"x"}`,
			answer: `{"id":"resp_3","object":"response","status":"completed","model":"gpt-4o","usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}`, own: true,
			units: gatehouse.Units{Input: 3, Output: 4}, product: "completions"},
		{name: "one that an upstream put in the background", path: "/v1/responses", body: `{"model":"smart","input":"x"}`,
			answer: `{"id":"resp_4","object":"response","status":"in_progress","model":"gpt-4o"}`, id: "resp_4", kind: gatehouse.WorkResponse, poll: "/responses/resp_4", product: "completions"},
		{name: "a background stream to its end", path: "/v1/responses", body: `{"model":"smart","input":"x","background":true,"stream":true}`, contentType: sse,
			answer: "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_5\",\"status\":\"queued\"}}\n\n" +
				"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_5\",\"status\":\"completed\",\"usage\":{\"input_tokens\":5,\"output_tokens\":6,\"total_tokens\":11}}}\n\n",
			id: "resp_5", units: gatehouse.Units{Input: 5, Output: 6}, product: "completions"},
		{name: "a run", path: "/v1/threads/thread_1/runs", body: `{"assistant_id":"asst_1"}`,
			answer: `{"id":"run_1","object":"thread.run","thread_id":"thread_1","status":"queued","model":"gpt-4o","usage":null}`, id: "run_1", kind: gatehouse.WorkRun,
			poll: "/threads/thread_1/runs/run_1", product: "completions"},
		{name: "a run's stream to its end", path: "/v1/threads/thread_1/runs", body: `{"assistant_id":"asst_1","stream":true}`, contentType: sse,
			answer: "event: thread.run.created\ndata: {\"id\":\"run_2\",\"object\":\"thread.run\",\"thread_id\":\"thread_1\",\"status\":\"queued\",\"usage\":null}\n\n" +
				"event: thread.run.completed\ndata: {\"id\":\"run_2\",\"object\":\"thread.run\",\"thread_id\":\"thread_1\",\"status\":\"completed\",\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":8,\"total_tokens\":15}}\n\nevent: done\ndata: [DONE]\n\n",
			id: "run_2", units: gatehouse.Units{Input: 7, Output: 8}, product: "completions"},
		{name: "a run's stream that waits for tools", path: "/v1/threads/runs", body: `{"assistant_id":"asst_1","stream":true}`, contentType: sse,
			answer: "event: thread.created\ndata: {\"id\":\"thread_2\",\"object\":\"thread\"}\n\n" +
				"event: thread.run.requires_action\ndata: {\"id\":\"run_3\",\"object\":\"thread.run\",\"thread_id\":\"thread_2\",\"status\":\"requires_action\",\"usage\":null}\n\nevent: done\ndata: [DONE]\n\n",
			id: "run_3", kind: gatehouse.WorkRun, poll: "/threads/thread_2/runs/run_3", product: "completions"},
		{name: "a thread and its run", path: "/v1/threads/runs", body: `{"assistant_id":"asst_1"}`,
			answer: `{"id":"run_4","object":"thread.run","thread_id":"thread_3","status":"queued"}`, id: "run_4", kind: gatehouse.WorkRun, poll: "/threads/thread_3/runs/run_4", product: "completions"},
		{name: "a video", path: "/v1/videos", body: `{"model":"smart","prompt":"a cat","seconds":"8"}`,
			answer: `{"id":"video_1","object":"video","status":"queued","model":"gpt-4o","seconds":"8"}`, id: "video_1", kind: gatehouse.WorkVideo, poll: "/videos/video_1", product: "videos", video: 8000},
		{name: "a video of the usual length", path: "/v1/videos", body: `{"model":"smart","prompt":"a cat"}`,
			answer: `{"id":"video_2","object":"video","status":"queued","seconds":"4"}`, id: "video_2", kind: gatehouse.WorkVideo, poll: "/videos/video_2", product: "videos", video: 4000},
		{name: "a video that is there", path: "/v1/videos", body: `{"model":"smart","prompt":"a cat","seconds":4}`,
			answer: `{"id":"video_3","object":"video","status":"completed","seconds":"4"}`, id: "video_3", units: gatehouse.Units{VideoMilliseconds: 4000}, product: "videos"},
		{name: "a remix", path: "/v1/videos/video_0/remix", body: `{"prompt":"a dog"}`,
			answer: `{"id":"video_4","object":"video","status":"queued","seconds":"4"}`, id: "video_4", kind: gatehouse.WorkVideo, poll: "/videos/video_4", product: "videos", video: 12000},
		{name: "a fine-tuning job", path: "/v1/fine_tuning/jobs", body: `{"model":"smart","training_file":"file-1"}`,
			answer: `{"id":"ftjob-1","object":"fine_tuning.job","status":"validating_files","trained_tokens":null}`, id: "ftjob-1", kind: gatehouse.WorkFineTuning, poll: "/fine_tuning/jobs/ftjob-1", product: "fine_tuning"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.contentType == "" {
				c.contentType = "application/json"
			}
			s.set(respond(200, c.contentType, c.answer))
			a := g.do("POST", c.path, c.body)
			if a.status != 200 || a.body != c.answer {
				t.Fatalf("answer %d %s", a.status, a.body)
			}
			r, w := g.explain(a.id()), g.openWork(c.id)
			if c.kind == "" {
				id := c.id
				if c.own {
					id = a.id()
				}
				u := g.usage(id)
				if u == nil || u.Units != c.units || u.Product != c.product || u.Confidence != gatehouse.Reported || w != nil || r.Confidence != gatehouse.Reported {
					t.Fatalf("usage = %+v, work = %+v, request = %+v", u, w, r)
				}
				if !c.own && g.usage(a.id()) != nil {
					t.Error("it is counted twice")
				}
				return
			}
			if w == nil || w.Kind != c.kind || w.Poll != c.poll || w.Request != a.id() || w.Project != g.project || w.Key != g.key.Key.ID || w.Product != c.product ||
				w.UpstreamID != up.ID || w.Upstream != "openai" || w.VideoMilliseconds != c.video {
				t.Fatalf("work = %+v", w)
			}
			if d := w.Expires.Time().Sub(w.At.Time()); d < work.Bound(c.kind) || d > work.Bound(c.kind)+time.Minute {
				t.Errorf("it is waited for %v", d)
			}
			if r.Confidence != gatehouse.Pending || r.Work != c.id || r.Rule != "served" || g.usage(a.id()) != nil || g.usage(c.id) != nil {
				t.Errorf("request = %+v", r)
			}
			if stats := g.ledger.Stats(); stats.Holds != 0 {
				t.Errorf("%d holds are open", stats.Holds)
			}
		})
	}
	if w := g.openWork("resp_1"); w.Output != 50 || w.Input == 0 {
		t.Errorf("reserved: %+v", w)
	}
	if len(ends.seen) != 0 {
		t.Errorf("answers that begin work are told as its end: %v", ends.seen)
	}
}

// TestACallerThatLeavesWorkInTheBackground leaves streams whose work goes on, and one whose work does not.
func TestACallerThatLeavesWorkInTheBackground(t *testing.T) {
	g, s, up, _ := newWorkGate(t)
	must(t, g.ledger.Own(gatehouse.Object{ID: "thread_1", Project: g.project, Upstream: up.ID, Kind: "thread", CreatedAt: 1}))
	g.flush()
	for _, c := range []struct {
		name, path, body, first, id string
		open                        bool
	}{
		{"background", "/v1/responses", `{"model":"smart","input":"x","background":true,"stream":true}`,
			"event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"status\":\"in_progress\"}}\n\n", "resp_1", true},
		{"foreground", "/v1/responses", `{"model":"smart","input":"x","stream":true}`,
			"event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_2\",\"status\":\"in_progress\"}}\n\n", "resp_2", false},
		{"run", "/v1/threads/thread_1/runs", `{"assistant_id":"a","stream":true}`,
			"event: thread.run.created\ndata: {\"id\":\"run_1\",\"object\":\"thread.run\",\"thread_id\":\"thread_1\",\"status\":\"queued\"}\n\n", "run_1", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "run" {
				must(t, g.ledger.Own(gatehouse.Object{ID: "a", Project: g.project, Upstream: up.ID, Kind: "assistant", CreatedAt: 1}))
				g.flush()
			}
			s.set(func(x *gatehousetest.Exchange) error {
				if err := x.Write([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + c.first)); err != nil {
					return err
				}
				return gatehousetest.Stall()(x)
			})
			ctx, leave := context.WithCancel(deadline(t))
			req := g.request("POST", c.path, c.body, "X-Client-Request-Id", "left-"+c.name).WithContext(ctx)
			resp, err := g.client.Do(req)
			must(t, err)
			_, err = io.ReadFull(resp.Body, make([]byte, len(c.first)))
			must(t, err)
			leave()
			_ = resp.Body.Close()
			r := g.settled("left-" + c.name)
			w := g.openWork(c.id)
			if c.open && (w == nil || r.Confidence != gatehouse.Pending || !r.ClientLeft) {
				t.Errorf("work = %+v, request = %+v", w, r)
			}
			if !c.open && (w != nil || g.usage(r.ID) == nil || r.Confidence != gatehouse.Estimated) {
				t.Errorf("work = %+v, request = %+v", w, r)
			}
		})
	}
}

// TestWorkWhoseAnswerNeverCame lets the upstream break off after it had the whole request: what it may cost at most stands, on a
// line of its own, for nobody knows what became of it.
func TestWorkWhoseAnswerNeverCame(t *testing.T) {
	g, s, _, _ := newWorkGate(t)
	for name, c := range map[string]struct {
		path, body string
		units      func(u *gatehouse.Units, sent int64) bool
	}{
		"a background response": {"/v1/responses", `{"model":"smart","input":"x","background":true,"max_output_tokens":70000}`,
			func(u *gatehouse.Units, sent int64) bool { return u.Output == 70000 && u.Input >= sent }},
		"a video": {"/v1/videos", `{"model":"smart","prompt":"a cat","seconds":"8"}`,
			func(u *gatehouse.Units, _ int64) bool { return u.VideoMilliseconds == 8000 }},
		"a response in the foreground": {"/v1/responses", `{"model":"smart","input":"x","max_output_tokens":70000}`,
			func(u *gatehouse.Units, sent int64) bool { return u.Output == 70000 && u.Input >= sent }},
	} {
		t.Run(name, func(t *testing.T) {
			s.set(func(*gatehousetest.Exchange) error { return errors.New("the server ends before it answers") })
			a := g.do("POST", c.path, c.body)
			if a.status != http.StatusBadGateway {
				t.Fatalf("answer %d %s", a.status, a.body)
			}
			g.flush()
			if u := g.usage(a.id()); u != nil {
				t.Errorf("the request itself has %+v", u)
			}
			u := g.usage(a.id() + "/1")
			if u == nil || u.Confidence != gatehouse.Unanswered || !u.CostKnown || u.Cost == 0 || !c.units(&u.Units, int64(len(c.body))) {
				t.Errorf("usage = %+v", u)
			}
		})
	}
}

func TestRetrievesCostNothingAndShowTheEnd(t *testing.T) {
	g, s, up, ends := newWorkGate(t)
	for _, object := range []string{"resp_1", "thread_1", "run_1", "video_1", "ftjob-1", "batch_1"} {
		must(t, g.ledger.Own(gatehouse.Object{ID: object, Project: g.project, Upstream: up.ID, Kind: "object", CreatedAt: 1}))
	}
	g.flush()
	usage := `"usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}`
	run := `{"id":"run_1","object":"thread.run","thread_id":"thread_1","status":"completed","model":"gpt-4o","usage":{"prompt_tokens":3,"completion_tokens":4}}`
	for _, c := range []struct {
		name, method, path, contentType, answer, id string
		want                                        gatehouse.Units
		quiet                                       bool // nothing has ended
	}{
		{name: "a response", method: "GET", path: "/v1/responses/resp_1", answer: `{"id":"resp_1","object":"response","status":"completed","model":"gpt-4o",` + usage + `}`, id: "resp_1", want: gatehouse.Units{Input: 3, Output: 4}},
		{name: "one that goes on", method: "GET", path: "/v1/responses/resp_1", answer: `{"id":"resp_1","object":"response","status":"in_progress"}`, id: "resp_1", quiet: true},
		{name: "its stream", method: "GET", path: "/v1/responses/resp_1?stream=true", contentType: "text/event-stream", id: "resp_1", want: gatehouse.Units{Input: 3, Output: 4},
			answer: "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\"," + usage + "}}\n\n"},
		{name: "a cancelled one", method: "POST", path: "/v1/responses/resp_1/cancel", answer: `{"id":"resp_1","object":"response","status":"cancelled","usage":null}`, id: "resp_1"},
		{name: "a run", method: "GET", path: "/v1/threads/thread_1/runs/run_1", answer: run, id: "run_1", want: gatehouse.Units{Input: 3, Output: 4}},
		{name: "tools of a run", method: "POST", path: "/v1/threads/thread_1/runs/run_1/submit_tool_outputs", contentType: "text/event-stream", id: "run_1", want: gatehouse.Units{Input: 3, Output: 4},
			answer: "event: thread.run.completed\ndata: " + run + "\n\nevent: done\ndata: [DONE]\n\n"},
		{name: "a video", method: "GET", path: "/v1/videos/video_1", answer: `{"id":"video_1","object":"video","status":"completed","seconds":"12"}`, id: "video_1", want: gatehouse.Units{VideoMilliseconds: 12000}},
		{name: "a job", method: "GET", path: "/v1/fine_tuning/jobs/ftjob-1", answer: `{"id":"ftjob-1","status":"succeeded","trained_tokens":9,"fine_tuned_model":"ft:gpt-4o:acme::1"}`, id: "ftjob-1", want: gatehouse.Units{Trained: 9}},
		{name: "a batch", method: "GET", path: "/v1/batches/batch_1", answer: `{"id":"batch_1","status":"completed","output_file_id":"file-out",` + usage + `}`, id: "batch_1", want: gatehouse.Units{Input: 3, Output: 4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ends.mu.Lock()
			ends.seen = nil
			ends.mu.Unlock()
			if c.contentType == "" {
				c.contentType = "application/json"
			}
			s.set(respond(200, c.contentType, c.answer))
			body := ""
			if strings.HasSuffix(c.path, "outputs") {
				body = `{"tool_outputs":[],"stream":true}`
			}
			a := g.do(c.method, c.path, body)
			if a.status != 200 || a.body != c.answer {
				t.Fatalf("answer %d %s", a.status, a.body)
			}
			r, ok := ends.get(c.id)
			if ok == c.quiet || ok && r.Units != c.want {
				t.Errorf("told: %v %+v, want %+v", ok, r, c.want)
			}
			if g.usage(a.id()) != nil || g.usage(c.id) != nil || g.explain(a.id()).Confidence != "" {
				t.Error("reading costs something")
			}
		})
	}
	if o := g.object("file-out"); o == nil || o.Project != g.project {
		t.Errorf("a batch's output belongs to %+v", o)
	}
}

// TestFetch reads an object as the steward does.
func TestFetch(t *testing.T) {
	g, s, up, _ := newWorkGate(t)
	w := &gatehouse.Work{ID: "run_1", Kind: gatehouse.WorkRun, Request: "req_1", Organization: g.who.Organization, Project: g.project, UpstreamID: up.ID}
	s.set(respond(200, "application/json", `{"id":"run_1"}`))
	status, body, err := g.gateway.Fetch(deadline(t), w, "/threads/thread_1/runs/run_1")
	must(t, err)
	text, err := io.ReadAll(body)
	must(t, err)
	must(t, body.Close())
	got := s.got()
	if status != 200 || string(text) != `{"id":"run_1"}` || got.Method != "GET" || got.Target != "/v1/threads/thread_1/runs/run_1" ||
		got.Header.Get("Authorization") != "Bearer "+upstreamSecret || got.Header.Get("OpenAI-Beta") != "assistants=v2" {
		t.Errorf("status %d, body %s, request\n%s", status, text, got.Head)
	}
	var azureUp *gatehouse.Upstream
	for version, want := range map[string]string{"2024-10-21": "/openai/batches/batch_1?api-version=2024-10-21", "": "/openai/v1/batches/batch_1"} {
		azureUp = g.upstream("contoso", s.URL, azure(version))
		s.set(respond(404, "application/json", `{}`))
		status, body, err := g.gateway.Fetch(deadline(t), &gatehouse.Work{Kind: gatehouse.WorkBatch, Organization: g.who.Organization, UpstreamID: azureUp.ID}, "/batches/batch_1")
		must(t, err)
		must(t, body.Close())
		if got := s.got(); status != 404 || got.Target != want || got.Header.Get("Api-Key") != upstreamSecret {
			t.Errorf("status %d, request\n%s", status, got.Head)
		}
	}
	for name, w := range map[string]*gatehouse.Work{
		"removed":         {Organization: g.who.Organization, UpstreamID: "upst_gone"},
		"somebody else's": {Organization: "org-other", UpstreamID: up.ID},
	} {
		if _, _, err := g.gateway.Fetch(deadline(t), w, "/responses/resp_1"); !errors.Is(err, gateway.ErrUpstreamRemoved) || gatehouse.KindOf(err) != gatehouse.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.set(gatehousetest.Write("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"))
	if status, body, err := g.gateway.Fetch(deadline(t), w, "/responses/resp_1"); err != nil || status != http.StatusFound {
		t.Errorf("a redirect: %d, %v", status, err)
	} else {
		must(t, body.Close())
	}
}
