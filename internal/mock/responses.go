package mock

import (
	"encoding/json"
	"net/http"

	"gatehouse"
	"gatehouse/internal/mock/prose"
	"gatehouse/internal/mock/scan"
)

// responseRequest is a request of POST /responses and of its two sisters.
type responseRequest struct {
	Model        string          `json:"model"`
	Input        json.RawMessage `json:"input"`
	Instructions json.RawMessage `json:"instructions"`
	Previous     string          `json:"previous_response_id"`
	Conversation json.RawMessage `json:"conversation"`
	Limit        *int            `json:"max_output_tokens"`
	MaxToolCalls *int            `json:"max_tool_calls"`
	Stream       bool            `json:"stream"`
	Background   bool            `json:"background"`
	Store        *bool           `json:"store"`
	Options      *struct {
		Obfuscation *bool `json:"include_obfuscation"`
	} `json:"stream_options"`
	Reasoning *struct {
		Effort string `json:"effort"`
	} `json:"reasoning"`
	Metadata    json.RawMessage `json:"metadata"`
	Tools       json.RawMessage `json:"tools"`
	ToolChoice  json.RawMessage `json:"tool_choice"`
	Parallel    json.RawMessage `json:"parallel_tool_calls"`
	Temperature json.RawMessage `json:"temperature"`
	TopP        json.RawMessage `json:"top_p"`
	TopLogprobs json.RawMessage `json:"top_logprobs"`
	Text        json.RawMessage `json:"text"`
	Truncation  string          `json:"truncation"`
	Tier        string          `json:"service_tier"`
	User        json.RawMessage `json:"user"`
	CacheKey    json.RawMessage `json:"prompt_cache_key"`
	Safety      json.RawMessage `json:"safety_identifier"`
}

type responseUsage struct {
	Input        int `json:"input_tokens"`
	InputDetails struct {
		Cached int `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	Output        int `json:"output_tokens"`
	OutputDetails struct {
		Reasoning int `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
	Total int `json:"total_tokens"`
}

// reference is an object that holds an id alone.
type reference struct {
	ID string `json:"id"`
}

// response is a response as the API shows it, and what it grew from. It is never changed once it is stored.
type response struct {
	ID           string             `json:"id"`
	Object       string             `json:"object"`
	CreatedAt    int64              `json:"created_at"`
	Status       string             `json:"status"`
	Background   bool               `json:"background"`
	CompletedAt  *int64             `json:"completed_at"`
	Error        *string            `json:"error"` // never there
	Incomplete   *map[string]string `json:"incomplete_details"`
	Instructions json.RawMessage    `json:"instructions"`
	Limit        *int               `json:"max_output_tokens"`
	MaxToolCalls *int               `json:"max_tool_calls"`
	Model        string             `json:"model"`
	Output       []item             `json:"output"`
	Parallel     json.RawMessage    `json:"parallel_tool_calls"`
	Previous     *string            `json:"previous_response_id"`
	CacheKey     json.RawMessage    `json:"prompt_cache_key"`
	Reasoning    map[string]any     `json:"reasoning"`
	Safety       json.RawMessage    `json:"safety_identifier"`
	Tier         string             `json:"service_tier"`
	Store        bool               `json:"store"`
	Temperature  json.RawMessage    `json:"temperature"`
	Text         json.RawMessage    `json:"text"`
	ToolChoice   json.RawMessage    `json:"tool_choice"`
	Tools        json.RawMessage    `json:"tools"`
	TopLogprobs  json.RawMessage    `json:"top_logprobs"`
	TopP         json.RawMessage    `json:"top_p"`
	Truncation   string             `json:"truncation"`
	Usage        *responseUsage     `json:"usage"`
	User         json.RawMessage    `json:"user"`
	Metadata     json.RawMessage    `json:"metadata"`
	Conversation *reference         `json:"conversation,omitempty"`

	history []item    // what the model had read before this turn
	input   []item    // this turn's input
	final   *response // of a background response that is not finished: what it will be
}

// or returns raw, or d where raw is absent or null.
func or(raw json.RawMessage, d string) json.RawMessage {
	if len(raw) == 0 || scan.IsNull(raw) {
		return json.RawMessage(d)
	}
	return raw
}

// turn is a request with all it refers to.
type turn struct {
	q            responseRequest
	history      []item
	input        []item
	conversation *conversation
	tokens       int
	seed         uint64
}

// turn reads a request's body and resolves what it names.
func (c *call) turn() (*turn, error) {
	t := &turn{}
	q := &t.q
	if err := c.decode(q); err != nil {
		return nil, err
	}
	if q.Previous != "" {
		prev, ok := find[*response](c.s.store, c.project, kindResponse, q.Previous)
		if !ok {
			return nil, &apiError{status: 404, code: "previous_response_not_found", param: "previous_response_id", message: "Previous response with id '" + q.Previous + "' not found."}
		}
		if prev.final != nil {
			prev = prev.final
		}
		t.history = append(append(append(t.history, prev.history...), prev.input...), prev.Output...)
		if q.Model == "" {
			q.Model = prev.Model
		}
	}
	if id := conversationID(q.Conversation); id != "" {
		if q.Previous != "" {
			return nil, invalid("conversation", "it cannot be used together with 'previous_response_id'.")
		}
		v, err := c.conversation(id)
		if err != nil {
			return nil, err
		}
		t.conversation, t.history = v, v.items
	}
	if err := c.model(q.Model); err != nil {
		return nil, err
	}
	var err error
	if t.input, err = c.items("input", q.Input); err != nil {
		return nil, err
	}
	n, seed := measure(t.history, prose.Hash(prose.Seed, q.Model))
	m, seed := measure(t.input, seed)
	t.tokens, t.seed = n+m+3, seed
	for _, raw := range []json.RawMessage{q.Tools, q.Instructions} {
		if len(raw) > 0 && !scan.IsNull(raw) {
			var s string
			if json.Unmarshal(raw, &s) != nil {
				s = string(raw)
			}
			t.tokens += prose.Tokens(s)
			t.seed = prose.Hash(t.seed, s)
		}
	}
	return t, nil
}

func conversationID(raw json.RawMessage) string {
	var id string
	if json.Unmarshal(raw, &id) == nil {
		return id
	}
	var ref reference
	if json.Unmarshal(raw, &ref) == nil {
		return ref.ID
	}
	return ""
}

// createResponse answers POST /responses.
func (c *call) createResponse() error {
	t, err := c.turn()
	if err != nil {
		return err
	}
	q := &t.q
	if len(t.input) == 0 && len(t.history) == 0 {
		return missing("input")
	}
	limit := orDefault(q.Limit, 0)
	if q.Limit != nil && limit < 1 {
		return invalid("max_output_tokens", "must be at least 1.")
	}
	effort := ""
	if q.Reasoning != nil {
		effort = q.Reasoning.Effort
	}
	if _, ok := efforts[effort]; !ok {
		return invalid("reasoning.effort", "%q is no effort the mock knows.", effort)
	}
	store := q.Store == nil || *q.Store
	if q.Background && !store {
		return invalid("background", "a background response must be stored.")
	}
	r := c.newResponse(t, effort, limit)
	r.Store = store
	if t.conversation != nil {
		r.Conversation = &reference{ID: t.conversation.ID}
		if err := c.extend(t.conversation, append(append([]item(nil), r.input...), r.Output...)); err != nil {
			return err
		}
	}
	kept := r
	if q.Background && !q.Stream {
		queued := *r
		queued.Status, queued.CompletedAt, queued.Output, queued.Usage, queued.Incomplete, queued.final = "queued", nil, []item{}, nil, nil, r
		kept = &queued
	}
	if store {
		if err := c.s.store.put(c.project, kindResponse, r.ID, kept, 1024+sizeOf(r.history)+sizeOf(r.input)+sizeOf(r.Output)); err != nil {
			return err
		}
	}
	if q.Stream {
		return c.streamResponse(r, -1, q.Options == nil || q.Options.Obfuscation == nil || *q.Options.Obfuscation)
	}
	return c.json(kept)
}

// newResponse says what the mock has to say in this turn.
func (c *call) newResponse(t *turn, effort string, limit int) *response {
	q := &t.q
	p := c.plan(q.Model, effort, t.seed, limit)
	p.json = wantsJSON(q.Text)
	said := p.say(q.Model, t.seed)
	now := c.started.Unix()
	r := &response{
		ID: gatehouse.NewID("resp_"), Object: "response", CreatedAt: now, Status: "completed", Background: q.Background, CompletedAt: &now,
		Instructions: q.Instructions, Limit: q.Limit, MaxToolCalls: q.MaxToolCalls, Model: q.Model, Output: []item{},
		Parallel: or(q.Parallel, "true"), CacheKey: q.CacheKey, Reasoning: map[string]any{"effort": nil, "summary": nil},
		Safety: q.Safety, Tier: q.Tier, Temperature: or(q.Temperature, "1.0"), Text: or(q.Text, `{"format":{"type":"text"},"verbosity":"medium"}`),
		ToolChoice: or(q.ToolChoice, `"auto"`), Tools: or(q.Tools, "[]"), TopLogprobs: or(q.TopLogprobs, "0"), TopP: or(q.TopP, "1.0"),
		Truncation: q.Truncation, User: q.User, Metadata: or(q.Metadata, "{}"), history: t.history, input: t.input,
	}
	if q.Previous != "" {
		r.Previous = &q.Previous
	}
	if r.Tier == "" || r.Tier == "auto" {
		r.Tier = "default"
	}
	if r.Truncation == "" {
		r.Truncation = "disabled"
	}
	if reasons(q.Model) {
		r.Reasoning["effort"] = "medium"
		if effort != "" {
			r.Reasoning["effort"] = effort
		}
		r.Output = append(r.Output, item{"type": "reasoning", "id": gatehouse.NewID("rs_"), "summary": []any{}})
	}
	status := "completed"
	if p.cut {
		status = "incomplete"
		r.Status, r.Incomplete, r.CompletedAt = status, &map[string]string{"reason": "max_output_tokens"}, nil
	}
	if p.text > 0 {
		r.Output = append(r.Output, item{"type": "message", "id": gatehouse.NewID("msg_"), "status": status, "role": "assistant", "content": []any{outputText(said)}})
	}
	if !c.knobs.noUsage {
		u := &responseUsage{Input: t.tokens, Output: p.reasoning + p.text, Total: t.tokens + p.reasoning + p.text}
		u.InputDetails.Cached = min(c.knobs.cached, t.tokens)
		u.OutputDetails.Reasoning = p.reasoning
		r.Usage = u
	}
	return r
}

func outputText(s string) item {
	return item{"type": "output_text", "annotations": []any{}, "logprobs": []any{}, "text": s}
}

// streamResponse sends the events a finished response came about with; those up to the sequence number after are left out.
func (c *call) streamResponse(r *response, after int, obfuscate bool) error {
	e := c.stream()
	seq := -1
	send := func(name string, data map[string]any) error {
		if seq++; seq <= after {
			return nil
		}
		data["type"], data["sequence_number"] = name, seq
		b, err := json.Marshal(data)
		if err != nil {
			return err
		}
		return e.send(name, b)
	}
	early := *r
	early.Status, early.CompletedAt, early.Output, early.Usage, early.Incomplete = "in_progress", nil, []item{}, nil, nil
	if r.Background {
		queued := early
		queued.Status = "queued"
		if err := send("response.created", map[string]any{"response": &queued}); err != nil {
			return err
		}
		if err := send("response.queued", map[string]any{"response": &queued}); err != nil {
			return err
		}
	} else if err := send("response.created", map[string]any{"response": &early}); err != nil {
		return err
	}
	if err := send("response.in_progress", map[string]any{"response": &early}); err != nil {
		return err
	}
	for i, it := range r.Output {
		if err := streamItem(send, i, it, obfuscate); err != nil {
			return err
		}
	}
	return send("response."+r.Status, map[string]any{"response": r})
}

// streamItem sends the events of one output item, the text of a message token by token.
func streamItem(send func(string, map[string]any) error, index int, it item, obfuscate bool) error {
	if it["type"] != "message" {
		if err := send("response.output_item.added", map[string]any{"output_index": index, "item": it}); err != nil {
			return err
		}
		return send("response.output_item.done", map[string]any{"output_index": index, "item": it})
	}
	part := it["content"].([]any)[0].(item)
	full := part["text"].(string)
	start := item{"type": "message", "id": it.id(), "status": "in_progress", "role": "assistant", "content": []any{}}
	if err := send("response.output_item.added", map[string]any{"output_index": index, "item": start}); err != nil {
		return err
	}
	at := func(more map[string]any) map[string]any {
		more["item_id"], more["output_index"], more["content_index"] = it.id(), index, 0
		return more
	}
	if err := send("response.content_part.added", at(map[string]any{"part": outputText("")})); err != nil {
		return err
	}
	for rest := full; rest != ""; {
		n := prose.Token(rest)
		delta := at(map[string]any{"delta": rest[:n], "logprobs": []any{}})
		if obfuscate {
			delta["obfuscation"] = "mockmockmockmock"[:16-n]
		}
		if err := send("response.output_text.delta", delta); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if err := send("response.output_text.done", at(map[string]any{"text": full, "logprobs": []any{}})); err != nil {
		return err
	}
	if err := send("response.content_part.done", at(map[string]any{"part": part})); err != nil {
		return err
	}
	return send("response.output_item.done", map[string]any{"output_index": index, "item": it})
}

// countInput answers POST /responses/input_tokens.
func (c *call) countInput() error {
	t, err := c.turn()
	if err != nil {
		return err
	}
	return c.json(map[string]any{"object": "response.input_tokens", "input_tokens": t.tokens})
}

// compact answers POST /responses/compact: the user's messages, and one item that stands for all the rest.
func (c *call) compact() error {
	t, err := c.turn()
	if err != nil {
		return err
	}
	output := []item{}
	for _, it := range append(append([]item(nil), t.history...), t.input...) {
		if it["type"] == "message" && it["role"] == "user" {
			output = append(output, it)
		}
	}
	p := c.plan(t.q.Model, "", t.seed, 0)
	output = append(output, c.identified(item{"type": "compaction", "encrypted_content": p.say(t.q.Model, t.seed)}))
	out := map[string]any{"id": gatehouse.NewID("resp_"), "object": "response.compaction", "created_at": c.started.Unix(), "output": output}
	if !c.knobs.noUsage {
		u := responseUsage{Input: t.tokens, Output: p.reasoning + p.text, Total: t.tokens + p.reasoning + p.text}
		u.InputDetails.Cached = min(c.knobs.cached, t.tokens)
		u.OutputDetails.Reasoning = p.reasoning
		out["usage"] = u
	}
	return c.json(out)
}

func (c *call) response() (*response, error) {
	r, ok := find[*response](c.s.store, c.project, kindResponse, c.args[0])
	if !ok {
		return nil, notFound("Response with id '%s' not found.", c.args[0])
	}
	return r, nil
}

// getResponse answers GET /responses/{id}. A background response was queued until now, and is finished from the first look on.
func (c *call) getResponse() error {
	r, err := c.response()
	if err != nil {
		return err
	}
	if r.final != nil {
		r = r.final
		if err := c.s.store.put(c.project, kindResponse, r.ID, r, 1024+sizeOf(r.history)+sizeOf(r.input)+sizeOf(r.Output)); err != nil {
			return err
		}
	}
	query := c.r.URL.Query()
	if query.Get("stream") != "true" {
		return c.json(r)
	}
	after := -1
	if v := query.Get("starting_after"); v != "" {
		s := scan.New([]byte(v))
		if after, err = readInt(s, "starting_after", 0, 1<<31-1); err != nil || s.End() != nil {
			return invalidType("starting_after", "an integer")
		}
	}
	if r.Status == "cancelled" {
		return c.json(r)
	}
	return c.streamResponse(r, after, query.Get("include_obfuscation") != "false")
}

// deleteResponse answers DELETE /responses/{id}, which OpenAI answers with an empty body.
func (c *call) deleteResponse() error {
	if !c.s.store.remove(c.project, kindResponse, c.args[0]) {
		return notFound("Response with id '%s' not found.", c.args[0])
	}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// cancelResponse answers POST /responses/{id}/cancel.
func (c *call) cancelResponse() error {
	r, err := c.response()
	if err != nil {
		return err
	}
	if !r.Background {
		return &apiError{status: 400, message: "Cannot cancel a synchronous response."}
	}
	if r.final != nil {
		cancelled := *r
		cancelled.Status, cancelled.final = "cancelled", nil
		r = &cancelled
		if err := c.s.store.put(c.project, kindResponse, r.ID, r, 1024+sizeOf(r.history)+sizeOf(r.input)); err != nil {
			return err
		}
	}
	return c.json(r)
}

func (c *call) listInputItems() error {
	r, err := c.response()
	if err != nil {
		return err
	}
	out, err := page(append(append([]item(nil), r.history...), r.input...), item.id, c.r.URL.Query(), "desc", 20, 100)
	if err != nil {
		return err
	}
	return c.json(out)
}
