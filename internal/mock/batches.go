package mock

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"

	"gatehouse"
)

// batch is a batch as the API shows it. Its lines are run when it is looked at for the first time, like a background response.
type batch struct {
	ID         string          `json:"id"`
	Object     string          `json:"object"`
	Endpoint   string          `json:"endpoint"`
	Model      *string         `json:"model"`
	Errors     any             `json:"errors"`
	Input      string          `json:"input_file_id"`
	Window     string          `json:"completion_window"`
	Status     string          `json:"status"`
	Output     *string         `json:"output_file_id"`
	ErrorFile  *string         `json:"error_file_id"`
	CreatedAt  int64           `json:"created_at"`
	InProgress *int64          `json:"in_progress_at"`
	ExpiresAt  int64           `json:"expires_at"`
	Completed  *int64          `json:"completed_at"`
	Failed     *int64          `json:"failed_at"`
	Cancelled  *int64          `json:"cancelled_at"`
	Counts     batchCounts     `json:"request_counts"`
	Usage      *responseUsage  `json:"usage"`
	Metadata   json.RawMessage `json:"metadata"`

	run *sync.Once // shared by all copies: the lines are run once
}

type batchCounts struct {
	Total     int `json:"total"`
	Completed int `json:"completed"`
	Failed    int `json:"failed"`
}

// batchEndpoints are what the lines of a batch may call here: what has no body but JSON and keeps nothing.
var batchEndpoints = map[string]bool{"/v1/chat/completions": true, "/v1/responses": true, "/v1/embeddings": true, "/v1/completions": true, "/v1/moderations": true, "/v1/images/generations": true}

func (c *call) createBatch() error {
	var q struct {
		Input    string          `json:"input_file_id"`
		Endpoint string          `json:"endpoint"`
		Window   string          `json:"completion_window"`
		Metadata json.RawMessage `json:"metadata"`
	}
	if err := c.decode(&q); err != nil {
		return err
	}
	for _, p := range [][2]string{{"input_file_id", q.Input}, {"endpoint", q.Endpoint}, {"completion_window", q.Window}} {
		if p[1] == "" {
			return missing(p[0])
		}
	}
	if !batchEndpoints[q.Endpoint] {
		return invalid("endpoint", "%q is not one that the mock can run in a batch.", q.Endpoint)
	}
	if q.Window != "24h" {
		return invalid("completion_window", "must be '24h'.")
	}
	f, ok := find[*file](c.s.store, c.project, kindFile, q.Input)
	if !ok || c.expired(f) || f.Purpose != "batch" {
		return invalid("input_file_id", "there is no file %q with the purpose 'batch'.", q.Input)
	}
	now := c.started.Unix()
	b := &batch{ID: gatehouse.NewID("batch_"), Object: "batch", Endpoint: q.Endpoint, Input: q.Input, Window: q.Window, Status: "validating",
		CreatedAt: now, ExpiresAt: now + 24*60*60, Metadata: or(q.Metadata, "null"), run: new(sync.Once)}
	if err := c.keepBatch(b); err != nil {
		return err
	}
	return c.json(b)
}

func (c *call) keepBatch(b *batch) error {
	return c.s.store.put(c.project, kindBatch, b.ID, b, 1024+len(b.Metadata))
}

func (c *call) batch() (*batch, error) {
	b, ok := find[*batch](c.s.store, c.project, kindBatch, c.args[0])
	if !ok {
		return nil, notFound("No batch found with id '%s'.", c.args[0])
	}
	return b, nil
}

func (c *call) listBatches() error {
	out, err := page(all[*batch](c.s.store, c.project, kindBatch), func(b *batch) string { return b.ID }, c.r.URL.Query(), "desc", 20, 100)
	if err != nil {
		return err
	}
	return c.json(out)
}

// getBatch answers GET /batches/{id}: its lines are run now, if they were not.
func (c *call) getBatch() error {
	b, err := c.batch()
	if err != nil {
		return err
	}
	if b.Status == "validating" {
		b.run.Do(func() { err = c.runBatch(b) })
		if err != nil {
			return err
		}
		if b, err = c.batch(); err != nil {
			return err
		}
	}
	return c.json(b)
}

func (c *call) cancelBatch() error {
	b, err := c.batch()
	if err != nil {
		return err
	}
	if b.Status != "validating" {
		return &apiError{status: 409, message: "Cannot cancel a batch with status '" + b.Status + "'."}
	}
	b.run.Do(func() {
		over := *b
		now := c.started.Unix()
		over.Status, over.Cancelled = "cancelled", &now
		err = c.keepBatch(&over)
	})
	if err != nil {
		return err
	}
	if b, err = c.batch(); err != nil {
		return err
	}
	return c.json(b)
}

// batchLine is one line of an input file.
type batchLine struct {
	ID     string          `json:"custom_id"`
	Method string          `json:"method"`
	URL    string          `json:"url"`
	Body   json.RawMessage `json:"body"`
}

// runBatch answers every line as the mock answers a request, and keeps the answers in two files.
func (c *call) runBatch(b *batch) error {
	over := *b
	now := c.started.Unix()
	f, ok := find[*file](c.s.store, c.project, kindFile, b.Input)
	if !ok {
		over.Status, over.Failed = "failed", &now
		over.Errors = map[string]any{"object": "list", "data": []any{map[string]any{"code": "invalid_file", "message": "The input file is gone."}}}
		return c.keepBatch(&over)
	}
	var good, bad bytes.Buffer
	usage := &responseUsage{}
	for text := range bytes.Lines(f.data) {
		if err := c.r.Context().Err(); err != nil {
			return errGone
		}
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		var l batchLine
		if json.Unmarshal(text, &l) != nil || l.ID == "" || l.URL != b.Endpoint {
			over.Status, over.Failed = "failed", &now
			over.Errors = map[string]any{"object": "list", "data": []any{map[string]any{"code": "invalid_json_line", "message": "A line is no request of the batch's endpoint.", "line": over.Counts.Total + 1}}}
			over.Counts = batchCounts{}
			return c.keepBatch(&over)
		}
		over.Counts.Total++
		status, body := c.runLine(&l)
		out, counted := &good, &over.Counts.Completed
		if status != http.StatusOK {
			out, counted = &bad, &over.Counts.Failed
		}
		*counted++
		line, err := json.Marshal(map[string]any{"id": gatehouse.NewID("batch_req_"), "custom_id": l.ID, "error": nil,
			"response": map[string]any{"status_code": status, "request_id": gatehouse.NewID(gatehouse.PrefixRequest), "body": json.RawMessage(body)}})
		if err != nil {
			return err
		}
		out.Write(append(line, '\n'))
		over.add(usage, body)
	}
	for _, part := range []struct {
		data []byte
		id   **string
		name string
	}{{good.Bytes(), &over.Output, "_output.jsonl"}, {bad.Bytes(), &over.ErrorFile, "_error.jsonl"}} {
		if len(part.data) == 0 {
			continue
		}
		made := &file{ID: gatehouse.NewID("file-"), Object: "file", Bytes: len(part.data), CreatedAt: now, Filename: b.ID + part.name, Purpose: "batch_output", Status: "processed", data: part.data}
		if err := c.s.store.put(c.project, kindFile, made.ID, made, len(made.data)+len(made.Filename)+256); err != nil {
			return err
		}
		*part.id = &made.ID
	}
	if !c.knobs.noUsage {
		over.Usage = usage
	}
	over.Status, over.InProgress, over.Completed = "completed", &now, &now
	return c.keepBatch(&over)
}

// runLine answers one line as a request of the batch's project.
func (c *call) runLine(l *batchLine) (status int, body []byte) {
	r, err := http.NewRequestWithContext(c.r.Context(), http.MethodPost, l.URL, bytes.NewReader(l.Body))
	if err != nil {
		return http.StatusBadRequest, []byte(`{"error":{"message":"The line is no request.","type":"invalid_request_error","param":null,"code":null}}`)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("OpenAI-Project", c.project)
	r.Header.Set("Authorization", c.r.Header.Get("Authorization"))
	w := &lineAnswer{header: http.Header{}, status: http.StatusOK}
	c.s.lines.ServeHTTP(w, r)
	return w.status, w.body.Bytes()
}

// lineAnswer is an http.ResponseWriter that keeps what is written.
type lineAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *lineAnswer) Header() http.Header         { return w.header }
func (w *lineAnswer) WriteHeader(status int)      { w.status = status }
func (w *lineAnswer) Write(p []byte) (int, error) { return w.body.Write(p) }

// add adds what one answer used, and notes the model that gave it.
func (b *batch) add(sum *responseUsage, body []byte) {
	var answer struct {
		Model *string `json:"model"`
		Usage struct {
			Input      int `json:"input_tokens"`
			Prompt     int `json:"prompt_tokens"`
			Output     int `json:"output_tokens"`
			Completion int `json:"completion_tokens"`
		} `json:"usage"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return
	}
	if b.Model == nil {
		b.Model = answer.Model
	}
	u := &answer.Usage
	sum.Input += u.Input + u.Prompt
	sum.Output += u.Output + u.Completion
	sum.Total = sum.Input + sum.Output
}
