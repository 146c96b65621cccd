package steward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse"
	"gatehouse/internal/dialect/work"
	"gatehouse/internal/ledger"
	"gatehouse/internal/store"
)

// world is a database, a ledger and an upstream that answers paths with what the test puts there, in a bubble with its own time.
type world struct {
	t      *testing.T
	db     *store.DB
	ledger *ledger.Ledger
	begun  time.Time

	mu      sync.Mutex
	answers map[string]string // by path; a status and a body
	asked   []string          // paths, with the seconds since the beginning
	removed bool
	away    error
}

// inWorld runs fn with a world whose steward is not running.
func inWorld(t *testing.T, fn func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, answers: map[string]string{}, begun: time.Now()}
		var err error
		if w.db, err = store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "g.db"), store.Config{}); err != nil {
			t.Fatal(err)
		}
		if err := w.db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w.ledger, err = ledger.Open(t.Context(), ledger.Config{Dir: t.TempDir(), DB: w.db, Sync: time.Second}); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { _ = w.ledger.Run(ctx) }) // the drainer: ends with ctx
		fn(t, w)
		stop()
		running.Wait()
		if err := errors.Join(w.ledger.Close(context.Background()), w.db.Close()); err != nil {
			t.Error(err)
		}
	})
}

// run starts a steward, and returns it and what stops it.
func (w *world) run() (*Steward, func()) {
	s := New(Config{DB: w.db, Ledger: w.ledger, Fetch: w.fetch, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) }) // ends with ctx
	return s, func() { stop(); running.Wait() }
}

func (w *world) fetch(_ context.Context, _ *gatehouse.Work, path string) (int, io.ReadCloser, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, fmt.Sprintf("%d %s", int(time.Since(w.begun).Seconds()), path))
	switch {
	case w.removed:
		return 0, nil, &gatehouse.Error{Kind: gatehouse.NotFound}
	case w.away != nil:
		return 0, nil, w.away
	}
	answer, ok := w.answers[path]
	if !ok {
		return http.StatusNotFound, io.NopCloser(strings.NewReader(`{"error":{}}`)), nil
	}
	if answer == "500" {
		return http.StatusInternalServerError, io.NopCloser(strings.NewReader("")), nil
	}
	return http.StatusOK, io.NopCloser(strings.NewReader(answer)), nil
}

func (w *world) put(path, answer string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers[path] = answer
}

// begin records open work of a kind, as a request that was just answered does.
func (w *world) begin(kind gatehouse.WorkKind, id string, change func(*gatehouse.Work)) {
	w.t.Helper()
	now := gatehouse.MillisOf(time.Now())
	thread := ""
	if kind == gatehouse.WorkRun {
		thread = "thread_1"
	}
	o := gatehouse.Work{ID: id, Kind: kind, Request: "req_" + id, Organization: "org-1", Project: "proj_1", Key: "key_1", Product: "completions", Model: "gpt-4o",
		UpstreamID: "upst_1", Upstream: "openai", Dialect: gatehouse.OpenAI, UpstreamModel: "gpt-4o", At: now, Expires: gatehouse.MillisOf(time.Now().Add(work.Bound(kind))),
		Input: 4000, Output: 500, Poll: work.Path(kind, id, thread), Next: now + 1000}
	if change != nil {
		change(&o)
	}
	if err := w.db.Record(context.Background(), store.Batch{Work: []gatehouse.Work{o}}); err != nil {
		w.t.Fatal(err)
	}
}

// usage returns what is counted for an id.
func (w *world) usage(id string) *gatehouse.Usage {
	w.t.Helper()
	if err := w.ledger.Flush(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	var u *gatehouse.Usage
	err := w.db.View(context.Background(), func(tx *store.Tx) (err error) {
		u, err = tx.Usage(id)
		if gatehouse.KindOf(err) == gatehouse.NotFound {
			return nil
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

func (w *world) open() (n int64) {
	w.t.Helper()
	err := w.db.View(context.Background(), func(tx *store.Tx) (err error) {
		n, _, err = tx.OpenWork()
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (w *world) calls() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asked)
}

const done = `{"id":"resp_1","object":"response","status":"completed","model":"gpt-4o-2024-08-06","usage":{"input_tokens":30,"output_tokens":9,"total_tokens":39}}`

func TestAResponseNobodyAsksFor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.put("/responses/resp_1", `{"id":"resp_1","object":"response","status":"queued","usage":null}`)
		w.begin(gatehouse.WorkResponse, "resp_1", nil)
		_, stop := w.run()
		time.Sleep(20 * time.Second)
		if u := w.usage("resp_1"); u != nil {
			t.Errorf("counted before it ended: %+v", u)
		}
		w.put("/responses/resp_1", done)
		time.Sleep(20 * time.Second)
		// It is looked at after 1 s, 2 s later, then 4, 8, 16.
		if want := []string{"1 /responses/resp_1", "3 /responses/resp_1", "7 /responses/resp_1", "15 /responses/resp_1", "31 /responses/resp_1"}; !slices.Equal(w.calls(), want) {
			t.Errorf("looked at %q\nwant      %q", w.calls(), want)
		}
		u := w.usage("resp_1")
		if u == nil || u.Units != (gatehouse.Units{Input: 30, Output: 9}) || u.Confidence != gatehouse.Reported || u.UpstreamModel != "gpt-4o-2024-08-06" || u.Model != "gpt-4o" ||
			u.Key != "key_1" || !u.CostKnown {
			t.Errorf("usage = %+v", u)
		}
		time.Sleep(time.Hour)
		if n := len(w.calls()); n != 5 || w.open() != 0 {
			t.Errorf("%d looks, %d open", n, w.open())
		}
		stop()
	})
}

// TestEndpointsAreTold: the end of work is told once to the endpoints of its project that ask for it, whoever saw it.
func TestEndpointsAreTold(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, err := w.db.Update(t.Context(), gatehouse.Event{Type: "t", Organization: "org-1"}, func(tx *store.Tx) error {
			return errors.Join(tx.CreateOrganization(&gatehouse.Organization{ID: "org-1"}),
				tx.CreateWebhookEndpoint(&gatehouse.WebhookEndpoint{ID: "whe_1", Organization: "org-1", Project: "proj_1", EventTypes: []string{"response.completed", "batch.failed"}}))
		})
		if err != nil {
			t.Fatal(err)
		}
		w.put("/responses/resp_1", done)
		w.put("/responses/resp_2", `{"id":"resp_2","object":"response","status":"failed","usage":null}`) // nobody asks for these
		w.put("/batches/batch_1", `{"id":"batch_1","object":"batch","status":"failed"}`)
		w.begin(gatehouse.WorkResponse, "resp_1", nil)
		w.begin(gatehouse.WorkResponse, "resp_2", nil)
		w.begin(gatehouse.WorkBatch, "batch_1", nil)
		w.begin(gatehouse.WorkResponse, "resp_3", nil) // a request shows its end
		s, stop := w.run()
		s.Seen("resp_3", work.Report{Ended: true, Status: "completed"})
		s.Ended(&gatehouse.Work{ID: "resp_4", Kind: gatehouse.WorkResponse, Organization: "org-1", Project: "proj_1", UpstreamID: "upst_1"}, "completed")
		s.Ended(&gatehouse.Work{ID: "resp_1", Kind: gatehouse.WorkResponse, Organization: "org-1", Project: "proj_1", UpstreamID: "upst_1"}, "completed") // another node saw it too
		time.Sleep(time.Minute)
		stop()
		deliveries, err := w.db.ClaimDeliveries(t.Context(), store.DeliveryClaim{Now: gatehouse.MillisOf(time.Now()), Until: gatehouse.MillisOf(time.Now()) + 1, Limit: 100, Endpoints: true})
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		err = w.db.View(t.Context(), func(tx *store.Tx) error {
			for _, d := range deliveries {
				ev, err := tx.ProjectEvent(d.Alert)
				if err != nil {
					return err
				}
				told = append(told, d.Channel+" "+ev.Type+" "+string(ev.Data))
			}
			return nil
		})
		slices.Sort(told)
		want := []string{`whe_1 batch.failed {"id":"batch_1"}`, `whe_1 response.completed {"id":"resp_1"}`, `whe_1 response.completed {"id":"resp_3"}`, `whe_1 response.completed {"id":"resp_4"}`}
		if err != nil || !slices.Equal(told, want) {
			t.Errorf("told %q, %v\nwant %q", told, err, want)
		}
		if w.open() != 0 || w.usage("resp_1") == nil {
			t.Error("what was told was not counted")
		}
	})
}

func TestSeveralNodesLookOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var ids []string
		for i := range 40 {
			id := fmt.Sprintf("resp_%d", i)
			ids = append(ids, id)
			w.put("/responses/"+id, strings.Replace(done, "resp_1", id, 1))
			w.begin(gatehouse.WorkResponse, id, nil)
		}
		_, stop1 := w.run()
		_, stop2 := w.run()
		time.Sleep(30 * time.Second)
		stop1()
		stop2()
		seen := map[string]int{}
		for _, call := range w.calls() {
			_, path, _ := strings.Cut(call, " ")
			seen[path]++
		}
		for _, id := range ids {
			if seen["/responses/"+id] != 1 || w.usage(id) == nil {
				t.Errorf("%s was looked at %d times, usage %v", id, seen["/responses/"+id], w.usage(id))
			}
		}
	})
}

func TestADeadNodesClaimsLapse(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.put("/responses/resp_1", done)
		w.begin(gatehouse.WorkResponse, "resp_1", nil)
		now := gatehouse.MillisOf(time.Now())
		if list, err := w.db.ClaimWork(t.Context(), store.WorkClaim{Now: now + 1000, Until: now + 31_000, Limit: 9}); err != nil || len(list) != 1 {
			t.Fatalf("claimed %v, %v", list, err)
		}
		_, stop := w.run() // the node that claimed is dead
		defer stop()
		time.Sleep(29 * time.Second)
		if calls := w.calls(); len(calls) != 0 {
			t.Errorf("a claim is not kept: %v", calls)
		}
		time.Sleep(4 * time.Second)
		if u := w.usage("resp_1"); u == nil {
			t.Error("a claim does not lapse")
		}
	})
}

func TestEveryKind(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.put("/threads/thread_1/runs/run_1", `{"id":"run_1","object":"thread.run","thread_id":"thread_1","status":"completed","model":"gpt-4o","usage":{"prompt_tokens":5,"completion_tokens":6,"total_tokens":11}}`)
		w.put("/videos/video_1", `{"id":"video_1","object":"video","status":"completed","model":"sora-2","seconds":"8"}`)
		w.put("/videos/video_2", `{"id":"video_2","object":"video","status":"completed","model":"sora-2"}`)
		w.put("/fine_tuning/jobs/ftjob-1", `{"id":"ftjob-1","object":"fine_tuning.job","status":"succeeded","model":"gpt-4o-mini-2024-07-18","trained_tokens":77,"fine_tuned_model":"ft:gpt-4o-mini:acme::1","result_files":["file-r"]}`)
		w.put("/responses/resp_2", `{"id":"resp_2","object":"response","status":"failed","model":"gpt-4o","usage":null}`)
		w.begin(gatehouse.WorkRun, "run_1", func(o *gatehouse.Work) { o.Model, o.UpstreamModel = "", "" }) // the assistant's own
		w.begin(gatehouse.WorkVideo, "video_1", func(o *gatehouse.Work) { o.Product, o.VideoMilliseconds = "videos", 4000 })
		w.begin(gatehouse.WorkVideo, "video_2", func(o *gatehouse.Work) { o.Product, o.VideoMilliseconds, o.Input, o.Output = "videos", 4000, 0, 0 })
		w.begin(gatehouse.WorkFineTuning, "ftjob-1", func(o *gatehouse.Work) { o.Product = "fine_tuning" })
		w.begin(gatehouse.WorkResponse, "resp_2", nil)
		_, stop := w.run()
		time.Sleep(5 * time.Second)
		stop()
		for id, want := range map[string]gatehouse.Usage{
			"run_1":   {Units: gatehouse.Units{Input: 5, Output: 6}, Confidence: gatehouse.Reported, Model: "gpt-4o"},
			"video_1": {Units: gatehouse.Units{VideoMilliseconds: 8000}, Confidence: gatehouse.Reported, Model: "gpt-4o"},
			"video_2": {Units: gatehouse.Units{VideoMilliseconds: 4000}, Confidence: gatehouse.Estimated, Model: "gpt-4o"},
			"ftjob-1": {Units: gatehouse.Units{Trained: 77}, Confidence: gatehouse.Reported, Model: "gpt-4o"},
			"resp_2":  {Units: gatehouse.Units{Input: 1000}, Confidence: gatehouse.Estimated, Model: "gpt-4o"},
		} {
			if u := w.usage(id); u == nil || u.Units != want.Units || u.Confidence != want.Confidence || u.Model != want.Model {
				t.Errorf("%s: %+v, want %+v", id, u, want)
			}
		}
		err := w.db.View(t.Context(), func(tx *store.Tx) error {
			for id, kind := range map[string]string{"ft:gpt-4o-mini:acme::1": "model", "file-r": "file"} {
				if o, err := tx.Object(id); err != nil || o.Kind != kind || o.Project != "proj_1" || o.Upstream != "upst_1" {
					t.Errorf("what the job made: %+v, %v", o, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestWhatCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		arrange func(*world)
		after   time.Duration // when it is settled at its reserve
		looks   int
	}{
		"gone":                  {func(*world) {}, 10 * time.Second, 3},
		"the upstream removed":  {func(w *world) { w.removed = true }, 3 * time.Second, 1},
		"an upstream that errs": {func(w *world) { w.put("/responses/resp_1", "500") }, 0, 0},
		"an upstream away":      {func(w *world) { w.away = errors.New("connection refused") }, 0, 0},
		"something else":        {func(w *world) { w.put("/responses/resp_1", `<html>`) }, 0, 0},
		"another object":        {func(w *world) { w.put("/responses/resp_1", strings.Replace(done, "resp_1", "resp_2", 1)) }, 0, 0},
		"work without end":      {func(w *world) { w.put("/responses/resp_1", `{"id":"resp_1","status":"in_progress"}`) }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c.arrange(w)
				w.begin(gatehouse.WorkResponse, "resp_1", func(o *gatehouse.Work) { o.Expires = o.At + gatehouse.Millis(time.Hour.Milliseconds()) })
				_, stop := w.run()
				defer stop()
				if c.looks == 0 {
					time.Sleep(time.Hour)
					if u := w.usage("resp_1"); u != nil {
						t.Fatalf("given up already: %+v", u)
					}
					if n := len(w.calls()); n < 55 || n > 66 {
						t.Errorf("%d looks in an hour, want about one a minute", n)
					}
					time.Sleep(2 * time.Minute)
				} else {
					time.Sleep(c.after)
					if n := len(w.calls()); n != c.looks {
						t.Errorf("%d looks, want %d", n, c.looks)
					}
				}
				u := w.usage("resp_1")
				if u == nil || u.Units != (gatehouse.Units{Input: 4000, Output: 500}) || u.Confidence != gatehouse.Estimated || w.open() != 0 {
					t.Errorf("usage = %+v, %d open", u, w.open())
				}
			})
		})
	}
}

func TestAnUpstreamThatComesBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.away = errors.New("connection refused")
		w.put("/responses/resp_1", done)
		w.begin(gatehouse.WorkResponse, "resp_1", nil)
		s, stop := w.run()
		defer stop()
		time.Sleep(time.Hour)
		w.mu.Lock()
		w.away = nil
		w.mu.Unlock()
		time.Sleep(61 * time.Second)
		if u := w.usage("resp_1"); u == nil || u.Confidence != gatehouse.Reported {
			t.Errorf("usage = %+v", u)
		}
		time.Sleep(countEvery)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(s)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if v := m.GetGauge().GetValue() + m.GetCounter().GetValue(); v != 0 {
					got[f.GetName()] += v
				}
			}
		}
		if got["gatehouse_work_failures_total"] < 50 || got["gatehouse_work_polls_total"] != got["gatehouse_work_failures_total"]+1 || got["gatehouse_work_settled_total"] != 1 || got["gatehouse_work_open"] != 0 {
			t.Errorf("metrics = %v", got)
		}
	})
}

func TestSeenAtItsEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.put("/responses/resp_1", `{"id":"resp_1","status":"in_progress"}`)
		s, stop := w.run()
		defer stop()
		report := work.Report{Ended: true, Reported: true, Units: gatehouse.Units{Input: 1, Output: 2}, Model: "gpt-4o-2024-08-06"}
		s.Seen("resp_1", report) // a second before it is in the table
		time.Sleep(time.Second)
		w.begin(gatehouse.WorkResponse, "resp_1", func(o *gatehouse.Work) { o.Next += 50_000 })
		time.Sleep(1500 * time.Millisecond)
		if u := w.usage("resp_1"); u == nil || u.Units != report.Units || len(w.calls()) != 0 {
			t.Errorf("usage = %+v after looks %v", u, w.calls())
		}
		// It is forgotten, and what nobody began is too.
		s.Seen("resp_1", report)
		s.Seen("resp_of_nobody", report)
		time.Sleep(2 * seenFor)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.seen) != 0 {
			t.Errorf("%d ends are kept", len(s.seen))
		}
	})
}

func TestSeenIsBounded(t *testing.T) {
	s := New(Config{Now: time.Now})
	for i := range 2 * seenMost {
		s.Seen(fmt.Sprint(i), work.Report{})
	}
	if len(s.seen) != seenMost {
		t.Errorf("%d ends are kept, want %d", len(s.seen), seenMost)
	}
}

// TestStoppedInTheMiddle stops a node while it looks: another one may look at once.
func TestStoppedInTheMiddle(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.begin(gatehouse.WorkResponse, "resp_1", nil)
		ctx, stop := context.WithCancel(t.Context())
		s := New(Config{DB: w.db, Ledger: w.ledger, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
			Fetch: func(ctx context.Context, _ *gatehouse.Work, _ string) (int, io.ReadCloser, error) {
				<-ctx.Done()
				return 0, nil, ctx.Err()
			}})
		var running sync.WaitGroup
		running.Go(func() { s.Run(ctx) }) // ends with ctx
		time.Sleep(2 * time.Second)
		stop()
		running.Wait()
		w.put("/responses/resp_1", done)
		_, stop2 := w.run()
		defer stop2()
		time.Sleep(1500 * time.Millisecond)
		if u := w.usage("resp_1"); u == nil {
			t.Error("what a stopped node held waits for its claim to lapse")
		}
	})
}

const outputLines = `{"custom_id":"1","response":{"status_code":200,"body":{"model":"gpt-4o-2024-08-06","usage":{"prompt_tokens":10,"completion_tokens":2}}}}
{"custom_id":"2","response":{"status_code":200,"body":{"model":"gpt-4o-mini-2024-07-18","usage":{"prompt_tokens":20,"completion_tokens":4}}}}
{"custom_id":"3","response":{"status_code":200,"body":{"model":"gpt-4o-2024-08-06","usage":{"prompt_tokens":30,"completion_tokens":6}}}}
`

func TestBatches(t *testing.T) {
	object := func(id, more string) string {
		return `{"id":"` + id + `","object":"batch","status":"completed","input_file_id":"file-in","model":"gpt-4o-2024-08-06"` + more + `}`
	}
	for name, c := range map[string]struct {
		more   string
		model  string // of the work; "" for several
		inputs []gatehouse.BatchModel
		want   map[string]gatehouse.Usage
	}{
		"says it itself": {`,"output_file_id":"file-out","usage":{"input_tokens":60,"output_tokens":12}`, "large", nil, map[string]gatehouse.Usage{
			"batch_1": {Model: "large", UpstreamModel: "gpt-4o-2024-08-06", Units: gatehouse.Units{Input: 60, Output: 12}}}},
		"says it in its lines": {`,"output_file_id":"file-out","error_file_id":"file-err"`, "", []gatehouse.BatchModel{{Name: "large", Upstream: "gpt-4o"}, {Name: "small", Upstream: "gpt-4o-mini"}}, map[string]gatehouse.Usage{
			"batch_1":                        {Model: "large", UpstreamModel: "gpt-4o-2024-08-06", Units: gatehouse.Units{Input: 40, Output: 8}},
			"batch_1/gpt-4o-mini-2024-07-18": {Model: "small", UpstreamModel: "gpt-4o-mini-2024-07-18", Units: gatehouse.Units{Input: 20, Output: 4}}}},
		"says nothing and has a line": {`,"output_file_id":"file-one","usage":{"input_tokens":0,"output_tokens":0}`, "large", []gatehouse.BatchModel{{Name: "large", Upstream: "renamed"}}, map[string]gatehouse.Usage{
			"batch_1": {Model: "large", UpstreamModel: "gpt-4o-2024-08-06", Units: gatehouse.Units{Input: 10, Output: 2}}}},
		"says nothing and has no file": {`,"usage":null`, "large", nil, map[string]gatehouse.Usage{"batch_1": {Model: "large", UpstreamModel: "gpt-4o-2024-08-06"}}},
		"every line failed":            {`,"error_file_id":"file-err"`, "large", nil, map[string]gatehouse.Usage{"batch_1": {Model: "large", UpstreamModel: "gpt-4o"}}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.put("/batches/batch_1", object("batch_1", c.more))
				w.put("/files/file-out/content", outputLines)
				w.put("/files/file-one/content", outputLines[:strings.Index(outputLines, "\n")])
				w.put("/files/file-err/content", `{"custom_id":"4","response":{"status_code":400,"body":{"error":{"message":"no"}}}}`+"\n")
				if c.inputs != nil {
					if err := w.ledger.KeepBatchInput(&gatehouse.BatchInput{File: "file-in", Models: c.inputs}); err != nil {
						t.Fatal(err)
					}
				}
				w.begin(gatehouse.WorkBatch, "batch_1", func(o *gatehouse.Work) { o.Batch, o.Model = true, c.model })
				_, stop := w.run()
				time.Sleep(3 * time.Second)
				stop()
				var n int64
				if err := w.db.View(t.Context(), func(tx *store.Tx) (err error) { n, err = tx.CountUsage(); return err }); err != nil {
					t.Fatal(err)
				}
				for id, want := range c.want {
					u := w.usage(id)
					if u == nil || u.Units != want.Units || u.Model != want.Model || u.UpstreamModel != want.UpstreamModel || u.Confidence != gatehouse.Reported || !u.Batch {
						t.Errorf("%s: %+v\nwant %+v", id, u, want)
					}
				}
				if n != int64(len(c.want)) || w.open() != 0 {
					t.Errorf("%d usages, want %v; %d open", n, slices.Sorted(maps.Keys(c.want)), w.open())
				}
			})
		})
	}
}

func TestPauses(t *testing.T) {
	for tries, want := range map[int64]time.Duration{1: 2 * time.Second, 5: 32 * time.Second, 6: time.Minute, 100: time.Minute} {
		if got := pause(gatehouse.WorkRun, tries); got != want {
			t.Errorf("after %d looks: %v, want %v", tries, got, want)
		}
	}
	for tries, want := range map[int64]time.Duration{1: 2 * time.Second, 8: 256 * time.Second, 9: 5 * time.Minute, 1 << 40: 5 * time.Minute} {
		if got := pause(gatehouse.WorkBatch, tries); got != want {
			t.Errorf("of a batch after %d looks: %v, want %v", tries, got, want)
		}
	}
}
