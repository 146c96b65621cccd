package mock

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"gatehouse/internal/mock/scan"
)

// storedChat is a chat completion that the caller asked to keep.
type storedChat struct {
	id       string
	model    string
	created  int64
	metadata map[string]string
	answer   []byte // without its last brace
	messages []json.RawMessage
}

func (c *call) storeChat(a *chatAnswer, answer []byte, q *chatRequest) error {
	o := &storedChat{id: a.id, model: a.model, created: a.created, metadata: map[string]string{}, answer: answer[: len(answer)-1 : len(answer)-1]}
	if err := json.Unmarshal(bytes.Clone(q.rawMessages), &o.messages); err != nil {
		return badJSON
	}
	if q.metadata != nil && !scan.IsNull(q.metadata) && json.Unmarshal(q.metadata, &o.metadata) != nil {
		return invalidType("metadata", "an object of strings")
	}
	return c.s.store.put(c.project, kindChat, o.id, o, len(o.answer)+len(q.rawMessages)+len(q.metadata)+256)
}

// MarshalJSON renders the completion with its metadata.
func (o *storedChat) MarshalJSON() ([]byte, error) {
	m, err := json.Marshal(o.metadata)
	if err != nil {
		return nil, err
	}
	b := append(bytes.Clone(o.answer), `,"metadata":`...)
	return append(append(b, m...), '}'), nil
}

func (c *call) storedChat() (*storedChat, error) {
	o, ok := find[*storedChat](c.s.store, c.project, kindChat, c.args[0])
	if !ok {
		return nil, notFound("Chat completion with id '%s' not found.", c.args[0])
	}
	return o, nil
}

func (c *call) listChats() error {
	query := c.r.URL.Query()
	var items []*storedChat
next:
	for _, o := range all[*storedChat](c.s.store, c.project, kindChat) {
		if m := query.Get("model"); m != "" && m != o.model {
			continue
		}
		for k, v := range query {
			if name, ok := strings.CutPrefix(k, "metadata["); ok && o.metadata[strings.TrimSuffix(name, "]")] != v[0] {
				continue next
			}
		}
		items = append(items, o)
	}
	out, err := page(items, func(o *storedChat) string { return o.id }, query, "asc", 20, 100)
	if err != nil {
		return err
	}
	return c.json(out)
}

func (c *call) getChat() error {
	o, err := c.storedChat()
	if err != nil {
		return err
	}
	return c.json(o)
}

func (c *call) updateChat() error {
	o, err := c.storedChat()
	if err != nil {
		return err
	}
	var q struct {
		Metadata map[string]string `json:"metadata"`
	}
	if err := c.decode(&q); err != nil {
		return err
	}
	changed := *o
	changed.metadata = q.Metadata
	if err := c.s.store.put(c.project, kindChat, o.id, &changed, len(o.answer)+256); err != nil {
		return err
	}
	return c.json(&changed)
}

func (c *call) deleteChat() error {
	if !c.s.store.remove(c.project, kindChat, c.args[0]) {
		return notFound("Chat completion with id '%s' not found.", c.args[0])
	}
	return c.json(deleted{ID: c.args[0], Object: "chat.completion.deleted", Deleted: true})
}

// deleted is OpenAI's answer to most deletions.
type deleted struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Deleted bool   `json:"deleted"`
}

func (c *call) chatMessages() error {
	o, err := c.storedChat()
	if err != nil {
		return err
	}
	var items []map[string]any
	for i, raw := range o.messages {
		m := map[string]any{}
		if err := json.Unmarshal(raw, &m); err != nil {
			return err
		}
		m["id"] = o.id + "-" + strconv.Itoa(i)
		m["content_parts"] = nil
		if parts, ok := m["content"].([]any); ok {
			m["content"], m["content_parts"] = nil, parts
		}
		items = append(items, m)
	}
	out, err := page(items, func(m map[string]any) string { return m["id"].(string) }, c.r.URL.Query(), "asc", 20, 100)
	if err != nil {
		return err
	}
	return c.json(out)
}
