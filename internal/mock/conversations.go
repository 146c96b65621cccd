package mock

import (
	"encoding/json"
	"slices"

	"gatehouse"
)

// maxItems bounds how many items one request may add to a conversation, as OpenAI does.
const maxItems = 20

// conversation is a conversation as the API shows it, and its items, oldest first. It is never changed, only replaced.
type conversation struct {
	ID        string          `json:"id"`
	Object    string          `json:"object"`
	CreatedAt int64           `json:"created_at"`
	Metadata  json.RawMessage `json:"metadata"`

	items []item
}

func (c *call) keepConversation(v *conversation) error {
	return c.s.store.put(c.project, kindConversation, v.ID, v, 256+len(v.Metadata)+sizeOf(v.items))
}

func (c *call) conversation(id string) (*conversation, error) {
	v, ok := find[*conversation](c.s.store, c.project, kindConversation, id)
	if !ok {
		return nil, notFound("Conversation with id '%s' not found.", id)
	}
	return v, nil
}

// extend adds items to a conversation. When two calls extend one at the same moment, the later one wins.
func (c *call) extend(v *conversation, more []item) error {
	changed := *v
	changed.items = append(slices.Clone(v.items), more...)
	return c.keepConversation(&changed)
}

func (c *call) createConversation() error {
	var q struct {
		Items    json.RawMessage `json:"items"`
		Metadata json.RawMessage `json:"metadata"`
	}
	if err := c.decode(&q); err != nil {
		return err
	}
	list, err := c.newItems(q.Items)
	if err != nil {
		return err
	}
	v := &conversation{ID: gatehouse.NewID("conv_"), Object: "conversation", CreatedAt: c.started.Unix(), Metadata: or(q.Metadata, "{}"), items: list}
	if err := c.keepConversation(v); err != nil {
		return err
	}
	return c.json(v)
}

func (c *call) newItems(raw json.RawMessage) ([]item, error) {
	list, err := c.items("items", raw)
	if err == nil && len(list) > maxItems {
		err = invalid("items", "at most %d items may be added at once.", maxItems)
	}
	return list, err
}

func (c *call) getConversation() error {
	v, err := c.conversation(c.args[0])
	if err != nil {
		return err
	}
	return c.json(v)
}

func (c *call) updateConversation() error {
	v, err := c.conversation(c.args[0])
	if err != nil {
		return err
	}
	var q struct {
		Metadata json.RawMessage `json:"metadata"`
	}
	if err := c.decode(&q); err != nil {
		return err
	}
	changed := *v
	changed.Metadata = or(q.Metadata, "{}")
	if err := c.keepConversation(&changed); err != nil {
		return err
	}
	return c.json(&changed)
}

func (c *call) deleteConversation() error {
	if !c.s.store.remove(c.project, kindConversation, c.args[0]) {
		return notFound("Conversation with id '%s' not found.", c.args[0])
	}
	return c.json(deleted{ID: c.args[0], Object: "conversation.deleted", Deleted: true})
}

func (c *call) addItems() error {
	v, err := c.conversation(c.args[0])
	if err != nil {
		return err
	}
	var q struct {
		Items json.RawMessage `json:"items"`
	}
	if err := c.decode(&q); err != nil {
		return err
	}
	list, err := c.newItems(q.Items)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return missing("items")
	}
	if err := c.extend(v, list); err != nil {
		return err
	}
	out, err := page(list, item.id, nil, "asc", maxItems, maxItems)
	if err != nil {
		return err
	}
	return c.json(out)
}

func (c *call) listItems() error {
	v, err := c.conversation(c.args[0])
	if err != nil {
		return err
	}
	out, err := page(v.items, item.id, c.r.URL.Query(), "desc", 20, 100)
	if err != nil {
		return err
	}
	return c.json(out)
}

// item finds an item of a conversation and its place in it.
func (c *call) item() (*conversation, int, error) {
	v, err := c.conversation(c.args[0])
	if err != nil {
		return nil, 0, err
	}
	i := slices.IndexFunc(v.items, func(it item) bool { return it.id() == c.args[1] })
	if i < 0 {
		return nil, 0, notFound("Conversation item with id '%s' not found.", c.args[1])
	}
	return v, i, nil
}

func (c *call) getItem() error {
	v, i, err := c.item()
	if err != nil {
		return err
	}
	return c.json(v.items[i])
}

// deleteItem answers with the conversation, as OpenAI does.
func (c *call) deleteItem() error {
	v, i, err := c.item()
	if err != nil {
		return err
	}
	changed := *v
	changed.items = slices.Delete(slices.Clone(v.items), i, i+1)
	if err := c.keepConversation(&changed); err != nil {
		return err
	}
	return c.json(&changed)
}
