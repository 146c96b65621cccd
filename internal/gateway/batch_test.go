package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	mime "mime/multipart"
	"net/http"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/gateway"
	"gatehouse/internal/store"
)

// line is one line of a batch's input.
func line(id, url, body string) string {
	return fmt.Sprintf(`{"custom_id":%q,"method":"POST","url":%q,"body":%s}`+"\n", id, url, body)
}

func chatLine(id, model string) string {
	return line(id, "/v1/chat/completions", `{"model":"`+model+`","messages":[{"role":"user","content":"Hi"}],"max_tokens":7}`)
}

// fileForm is a form as SDKs send it: the file first, its purpose behind it.
func batchForm(tb testing.TB, purpose, content string, more ...string) (body, contentType string) {
	tb.Helper()
	var b bytes.Buffer
	w := mime.NewWriter(&b)
	must(tb, w.SetBoundary("a-boundary-of-the-test"))
	part, err := w.CreateFormFile("file", "input.jsonl")
	must(tb, err)
	_, err = io.WriteString(part, content)
	must(tb, err)
	must(tb, w.WriteField("purpose", purpose))
	for i := 0; i < len(more); i += 2 {
		must(tb, w.WriteField(more[i], more[i+1]))
	}
	must(tb, w.Close())
	return b.String(), w.FormDataContentType()
}

// upload uploads a file for a batch.
func (g *gate) uploadBatch(content string, headers ...string) *answer {
	g.tb.Helper()
	body, contentType := batchForm(g.tb, "batch", content)
	return g.do("POST", "/v1/files", body, append([]string{"Content-Type", contentType}, headers...)...)
}

// sentFile returns the file of a form that an upstream got.
func sentFile(tb testing.TB, contentType string, body []byte) (file, purpose string) {
	tb.Helper()
	_, boundary, _ := strings.Cut(contentType, "boundary=")
	form, err := mime.NewReader(bytes.NewReader(body), boundary).ReadForm(1 << 20)
	must(tb, err)
	f, err := form.File["file"][0].Open()
	must(tb, err)
	text, err := io.ReadAll(f)
	must(tb, err)
	return string(text), form.Value["purpose"][0]
}

func newBatchGate(t *testing.T) (*gate, *script, *gatehouse.Upstream) {
	s := newScript(t, respond(200, "application/json", `{"id":"file-1","object":"file","purpose":"batch"}`))
	var g *gate
	g = newGate(t, func(cfg *gateway.Config) {
		cfg.FindBatchInput = func(ctx context.Context, file string) (in *gatehouse.BatchInput, err error) {
			err = g.db.View(ctx, func(tx *store.Tx) (err error) {
				in, err = tx.BatchInput(file)
				return err
			})
			return in, err
		}
	})
	up := g.upstream("openai", s.URL)
	g.deploy("large", admin.RouteSpec{Upstream: "openai", Model: "gpt-4o"})
	g.deploy("small", admin.RouteSpec{Upstream: "openai", Model: "gpt-4o-mini"})
	g.deploy("gpt-4.1", admin.RouteSpec{Upstream: "openai"})
	return g, s, up
}

// batchInput returns what is on record of an input file.
func (g *gate) batchInput(file string) *gatehouse.BatchInput {
	g.tb.Helper()
	g.flush()
	var in *gatehouse.BatchInput
	err := g.db.View(deadline(g.tb), func(tx *store.Tx) (err error) {
		in, err = tx.BatchInput(file)
		return err
	})
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		return nil
	}
	must(g.tb, err)
	return in
}

func TestABatchIsJudgedByItsLines(t *testing.T) {
	g, s, up := newBatchGate(t)
	first, second := chatLine("1", "large"), chatLine("2", "small")
	a := g.uploadBatch(first + second + "\n")
	if a.status != 200 {
		t.Fatalf("upload: %d %s", a.status, a.body)
	}
	got := s.got()
	file, purpose := sentFile(t, got.Header.Get("Content-Type"), got.Body)
	if want := strings.Replace(first, `"large"`, `"gpt-4o"`, 1) + strings.Replace(second, `"small"`, `"gpt-4o-mini"`, 1); file != want || purpose != "batch" {
		t.Errorf("the upstream got\n%s\nwant\n%s", file, want)
	}
	if n := got.Header.Get("Content-Length"); n != itoa(len(got.Body)) {
		t.Errorf("the form of %d bytes is announced with %s", len(got.Body), n)
	}
	in := g.batchInput("file-1")
	if in == nil || in.Project != g.project || in.Upstream != up.ID || in.Endpoint != "/v1/chat/completions" || in.Lines != 2 || in.Output != 14 || in.Input < 100 ||
		len(in.Models) != 2 || in.Models[0] != (gatehouse.BatchModel{Name: "large", Upstream: "gpt-4o", Lines: 1, Most: gatehouse.Units{Input: in.Input / 2, Output: 7}}) || in.Models[1].Name != "small" {
		t.Fatalf("on record: %+v", in)
	}
	if o := g.object("file-1"); o == nil || o.Project != g.project {
		t.Errorf("the file belongs to %+v", o)
	}

	s.set(respond(200, "application/json", `{"id":"batch_1","object":"batch","status":"validating","input_file_id":"file-1"}`))
	create := `{"input_file_id":"file-1","endpoint":"/v1/chat/completions","completion_window":"24h"}`
	if a = g.do("POST", "/v1/batches", create); a.status != 200 || string(s.got().Body) != create {
		t.Fatalf("create: %d %s; the upstream got %s", a.status, a.body, s.got().Body)
	}
	w := g.openWork("batch_1")
	if w == nil || w.Kind != gatehouse.WorkBatch || !w.Batch || w.Product != "completions" || w.Input != in.Input || w.Output != 14 || w.Model != "" || w.Poll != "/batches/batch_1" {
		t.Errorf("work = %+v", w)
	}
	if r := g.explain(a.id()); r.Confidence != gatehouse.Pending || r.Work != "batch_1" {
		t.Errorf("request = %+v", r)
	}
}

func TestABatchOfOneModelThatIsNotRenamed(t *testing.T) {
	g, s, _ := newBatchGate(t)
	content := chatLine("1", "gpt-4.1") + "\n" + chatLine("2", "gpt-4.1")
	body, contentType := batchForm(t, "batch", content)
	if a := g.do("POST", "/v1/files", body, "Content-Type", contentType); a.status != 200 {
		t.Fatalf("upload: %d %s", a.status, a.body)
	}
	if got := s.got(); string(got.Body) != body {
		t.Errorf("what needs no change is changed:\n%s", got.Body)
	}
	s.set(respond(200, "application/json", `{"id":"batch_1","status":"validating"}`))
	if a := g.do("POST", "/v1/batches", `{"input_file_id":"file-1","endpoint":"/chat/completions"}`); a.status != 200 {
		t.Fatalf("create: %d %s", a.status, a.body)
	}
	if got := string(s.got().Body); got != `{"input_file_id":"file-1","endpoint":"/v1/chat/completions"}` {
		t.Errorf("the upstream got %s", got)
	}
	if w := g.openWork("batch_1"); w == nil || w.Model != "gpt-4.1" || w.UpstreamModel != "gpt-4.1" {
		t.Errorf("work = %+v", w)
	}
}

func TestABatchOnAzure(t *testing.T) {
	g, s, _ := newBatchGate(t)
	g.upstream("contoso", s.URL, azure("2024-10-21"))
	g.deploy("european", admin.RouteSpec{Upstream: "contoso", Model: "gpt-4o-eu"})
	if a := g.uploadBatch(chatLine("1", "european")); a.status != 200 {
		t.Fatalf("upload: %d %s", a.status, a.body)
	}
	got := s.got()
	file, _ := sentFile(t, got.Header.Get("Content-Type"), got.Body)
	want := strings.NewReplacer(`"european"`, `"gpt-4o-eu"`, `"/v1/chat`, `"/chat`).Replace(chatLine("1", "european"))
	if file != want || got.Target != "/openai/files?api-version=2024-10-21" {
		t.Errorf("%s got\n%s\nwant\n%s", got.Target, file, want)
	}
	s.set(respond(200, "application/json", `{"id":"batch_1","status":"validating"}`))
	if a := g.do("POST", "/openai/v1/batches", `{"endpoint":"/v1/chat/completions","input_file_id":"file-1"}`); a.status != 200 {
		t.Fatalf("create: %d %s", a.status, a.body)
	}
	if got := s.got(); got.Target != "/openai/batches?api-version=2024-10-21" || string(got.Body) != `{"endpoint":"/chat/completions","input_file_id":"file-1"}` {
		t.Errorf("%s got %s", got.Target, got.Body)
	}
	if w := g.openWork("batch_1"); w == nil || w.UpstreamModel != "gpt-4o-eu" || w.Dialect != gatehouse.Azure {
		t.Errorf("work = %+v", w)
	}
}

func TestBatchInputsThatAreRefused(t *testing.T) {
	g, s, _ := newBatchGate(t)
	other := newScript(t, respond(200, "application/json", `{}`))
	g.upstream("elsewhere", other.URL)
	g.deploy("far", admin.RouteSpec{Upstream: "elsewhere", Model: "far"})
	project, _ := g.newProject("other")
	_, err := g.admin.PutDeployment(deadline(t), g.who, admin.DeploymentSpec{Name: "theirs", Projects: []string{project}, Routes: []admin.RouteSpec{{Upstream: "openai"}}})
	must(t, err)
	must(t, g.ledger.Own(gatehouse.Object{ID: "file-theirs", Project: project, Upstream: g.catalog.Upstreams(g.who.Organization)[0].ID, Kind: "file", CreatedAt: 1}))
	g.flush()
	narrow := g.newKey(admin.KeyRequest{Class: gatehouse.ClassProject, Project: g.project, User: g.user, Name: "narrow", Models: []string{"small"}})
	noModels := g.newKey(admin.KeyRequest{Class: gatehouse.ClassProject, Project: g.project, User: g.user, Name: "files", Scopes: []string{"api.files.write"}})
	as := func(k *admin.NewKey) []string { return []string{"Authorization", "Bearer " + k.Value.Reveal()} }
	ok := chatLine("1", "small")
	for _, c := range []struct {
		name, content string
		headers       []string
		status        int
		code, message string
	}{
		{"no JSON", ok + "nonsense\n", nil, 400, "invalid_json", "Line 2"},
		{"a model twice", line("1", "/v1/chat/completions", `{"model":"small","model":"large","messages":[]}`), nil, 400, "duplicate_field", "Line 1"},
		{"one id twice", ok + ok, nil, 400, "duplicate_custom_id", "Line 2"},
		{"two endpoints", ok + line("2", "/v1/embeddings", `{"model":"small","input":"x"}`), nil, 400, "mismatched_endpoint", "Line 2"},
		{"an endpoint of no batch", line("1", "/v1/files", `{"model":"small"}`), nil, 400, "mismatched_endpoint", "Line 1"},
		{"nothing", "", nil, 400, "invalid_batch_file", "no lines"},
		{"a model nobody declared", ok + chatLine("2", "gpt-9"), nil, 404, "model_not_found", "Line 2"},
		{"a model of another project", chatLine("1", "theirs"), nil, 404, "model_not_found", "Line 1"},
		{"a model the key may not call", ok + chatLine("2", "large"), as(narrow), 403, "", "Line 2"},
		{"a key that may call no model", ok, as(noModels), 401, "", "Line 1"},
		{"a file of another project", line("1", "/v1/responses", `{"model":"small","input":[{"role":"user","content":[{"type":"input_file","file_id":"file-theirs"}]}]}`), nil, 404, "", "Line 1"},
		{"an inner model", line("1", "/v1/responses", `{"model":"small","input":"x","tools":[{"type":"image_generation","model":"gpt-image-9"}]}`), nil, 403, "model_not_found", "Line 1"},
		{"the background", line("1", "/v1/responses", `{"model":"small","input":"x","background":true}`), nil, 400, "", "Line 1"},
		{"no model", line("1", "/v1/responses", `{"input":"x"}`), nil, 400, "missing_required_parameter", "Line 1"},
		{"two upstreams", ok + chatLine("2", "far"), nil, 400, "batch_has_no_one_way", "Line 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.set(respond(200, "application/json", `{"id":"file-never"}`))
			a := g.uploadBatch(c.content, c.headers...)
			var e struct {
				Error struct{ Code, Message string }
			}
			if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != c.status || c.code != "" && e.Error.Code != c.code || !strings.Contains(e.Error.Message, c.message) {
				t.Errorf("%d %s", a.status, a.body)
			}
			if s.got().Method != "" {
				t.Error("it went upstream")
			}
		})
	}

	for name, c := range map[string]func() (body, contentType string){
		"two files": func() (string, string) {
			body, contentType := batchForm(t, "batch", ok)
			part := "--a-boundary-of-the-test\r\nContent-Disposition: form-data; name=\"other\"; filename=\"b\"\r\n\r\nx\r\n"
			return part + body, contentType
		},
		"a second field of that name": func() (string, string) { return batchForm(t, "batch", ok, "file", chatLine("1", "large")) },
		"an encoded file": func() (string, string) {
			body, contentType := batchForm(t, "batch", ok)
			return strings.Replace(body, "Content-Type: application/octet-stream", "Content-Transfer-Encoding: base64", 1), contentType
		},
		"another field": func() (string, string) {
			body, contentType := batchForm(t, "batch", ok)
			return strings.Replace(body, `name="file"`, `name="File"`, 1), contentType
		},
	} {
		body, contentType := c()
		s.set(respond(200, "application/json", `{"id":"file-never"}`))
		if a := g.do("POST", "/v1/files", body, "Content-Type", contentType); a.status != 400 || s.got().Method != "" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

func TestOtherFilesPassAsTheyAre(t *testing.T) {
	g, s, _ := newBatchGate(t)
	body, contentType := batchForm(t, "fine-tune", "any bytes\x00\xff"+strings.Repeat("x", 3<<20))
	if a := g.do("POST", "/v1/files", body, "Content-Type", contentType); a.status != 200 || string(s.got().Body) != body {
		t.Errorf("%d %s; %d bytes of %d went upstream", a.status, a.body, len(s.got().Body), len(body))
	}
	if in := g.batchInput("file-1"); in != nil {
		t.Errorf("on record: %+v", in)
	}
	s.set(respond(200, "application/json", `{"id":"upload_1"}`))
	if a := g.do("POST", "/v1/uploads", `{"purpose":"fine-tune","filename":"a","bytes":1,"mime_type":"text/plain"}`); a.status != 200 {
		t.Errorf("an upload: %d %s", a.status, a.body)
	}
	if a := g.do("POST", "/v1/uploads", `{"purpose":"batch","filename":"a","bytes":1,"mime_type":"text/plain"}`); a.status != 400 || !strings.Contains(a.body, "POST /v1/files") {
		t.Errorf("an upload for a batch: %d %s", a.status, a.body)
	}
}

func TestBatchesThatAreRefused(t *testing.T) {
	g, s, up := newBatchGate(t)
	if a := g.uploadBatch(chatLine("1", "small") + chatLine("2", "large")); a.status != 200 {
		t.Fatal(a.body)
	}
	must(t, g.ledger.Own(gatehouse.Object{ID: "file-unread", Project: g.project, Upstream: up.ID, Kind: "file", CreatedAt: 1}))
	g.flush()
	_, theirs := g.newProject("other")
	narrow := g.newKey(admin.KeyRequest{Class: gatehouse.ClassProject, Project: g.project, User: g.user, Name: "narrow", Models: []string{"small"}})
	for _, c := range []struct {
		name, body string
		key        *admin.NewKey
		status     int
		code       string
	}{
		{"a file nobody has read", `{"input_file_id":"file-unread","endpoint":"/v1/chat/completions"}`, nil, 400, "batch_file_unread"},
		{"another project's", `{"input_file_id":"file-1","endpoint":"/v1/chat/completions"}`, theirs, 404, ""},
		{"another endpoint", `{"input_file_id":"file-1","endpoint":"/v1/responses"}`, nil, 400, "mismatched_endpoint"},
		{"no endpoint of a batch", `{"input_file_id":"file-1","endpoint":"/v1/files"}`, nil, 400, "mismatched_endpoint"},
		{"no endpoint", `{"input_file_id":"file-1"}`, nil, 400, "missing_required_parameter"},
		{"no file", `{"endpoint":"/v1/chat/completions"}`, nil, 400, "missing_required_parameter"},
		{"two files", `{"input_file_id":"file-1","x":{"input_file_id":"file-unread"},"endpoint":"/v1/chat/completions"}`, nil, 400, ""},
		{"Azure's blob", `{"input_blob":"https://contoso.example.com/x","input_file_id":"file-1","endpoint":"/v1/chat/completions"}`, nil, 400, ""},
		{"a model the key may not call", `{"input_file_id":"file-1","endpoint":"/v1/chat/completions"}`, narrow, 403, ""},
		{"an endpoint twice", `{"input_file_id":"file-1","endpoint":"/v1/chat/completions","endpoint":"/v1/responses"}`, nil, 400, "duplicate_field"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.set(respond(200, "application/json", `{"id":"batch_never","status":"validating"}`))
			var headers []string
			if c.key != nil {
				headers = []string{"Authorization", "Bearer " + c.key.Value.Reveal()}
			}
			a := g.do("POST", "/v1/batches", c.body, headers...)
			var e struct {
				Error struct{ Code, Message string }
			}
			if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != c.status || c.code != "" && e.Error.Code != c.code || s.got().Method != "" {
				t.Errorf("%d %s; upstream got %q", a.status, a.body, s.got().Method)
			}
		})
	}
	// What the models on record were deployed as is gone.
	_, err := g.admin.RemoveDeployment(deadline(t), g.who, "large")
	must(t, err)
	if a := g.do("POST", "/v1/batches", `{"input_file_id":"file-1","endpoint":"/v1/chat/completions"}`); a.status != http.StatusNotFound || !strings.Contains(a.body, "model_not_found") {
		t.Errorf("a model that is gone: %d %s", a.status, a.body)
	}
}
