package mock

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"gatehouse"
	"gatehouse/internal/mock/prose"
	"gatehouse/internal/mock/scan"
)

// item is one input or output item of a response or conversation, with whatever fields it came with.
type item map[string]any

func (i item) id() string { s, _ := i["id"].(string); return s }

// itemPrefixes are the prefixes of item ids, by type; any other type has "item_".
var itemPrefixes = map[string]string{"message": "msg_", "reasoning": "rs_", "function_call": "fc_", "function_call_output": "fco_", "compaction": "cmp_"}

// items reads an input: a string, or an array of items. References are replaced by what they refer to, and every item has an
// id in the end.
func (c *call) items(param string, raw json.RawMessage) ([]item, error) {
	if len(raw) == 0 || scan.IsNull(raw) {
		return nil, nil
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return []item{c.identified(item{"type": "message", "role": "user", "content": []any{item{"type": "input_text", "text": s}}})}, nil
	}
	var list []item
	if json.Unmarshal(raw, &list) != nil {
		return nil, invalidType(param, "a string or an array of objects")
	}
	for i, it := range list {
		if it == nil {
			return nil, invalidType(fmt.Sprintf("%s[%d]", param, i), "an object")
		}
		if it["type"] == "item_reference" {
			found := c.findItem(it.id())
			if found == nil {
				return nil, notFound("Item with id '%s' not found.", it.id())
			}
			list[i] = found
			continue
		}
		if _, ok := it["type"]; !ok {
			it["type"] = "message"
		}
		if it["type"] == "message" {
			if _, ok := it["role"].(string); !ok {
				return nil, missing(fmt.Sprintf("%s[%d].role", param, i))
			}
			if s, ok := it["content"].(string); ok {
				kind := "input_text"
				if it["role"] == "assistant" {
					kind = "output_text"
				}
				it["content"] = []any{item{"type": kind, "text": s}}
			}
		}
		list[i] = c.identified(it)
	}
	var ids []string
	for _, it := range list {
		ids = fileIDs(ids, map[string]any(it))
	}
	return list, c.checkFiles(ids)
}

// identified gives an item an id and, being complete, a status.
func (c *call) identified(it item) item {
	if it.id() == "" {
		t, _ := it["type"].(string)
		prefix := itemPrefixes[t]
		if prefix == "" {
			prefix = "item_"
		}
		it["id"] = gatehouse.NewID(prefix)
	}
	if it["type"] == "message" && it["status"] == nil {
		it["status"] = "completed"
	}
	return it
}

// findItem looks for an item among the project's responses and conversations.
func (c *call) findItem(id string) item {
	has := func(it item) bool { return it.id() == id }
	for _, r := range all[*response](c.s.store, c.project, kindResponse) {
		for _, list := range [][]item{r.input, r.Output} {
			if i := slices.IndexFunc(list, has); i >= 0 {
				return list[i]
			}
		}
	}
	for _, v := range all[*conversation](c.s.store, c.project, kindConversation) {
		if i := slices.IndexFunc(v.items, has); i >= 0 {
			return v.items[i]
		}
	}
	return nil
}

// fileIDs appends the ids of uploaded files that v names at any depth.
func fileIDs(ids []string, v any) []string {
	switch v := v.(type) {
	case item:
		return fileIDs(ids, map[string]any(v))
	case map[string]any:
		if id, ok := v["file_id"].(string); ok && id != "" {
			ids = append(ids, id)
		}
		for _, inner := range v {
			ids = fileIDs(ids, inner)
		}
	case []any:
		for _, inner := range v {
			ids = fileIDs(ids, inner)
		}
	}
	return ids
}

// checkFiles returns the error of the first id that is no file of the project.
func (c *call) checkFiles(ids []string) error {
	for _, id := range ids {
		if _, ok := find[*file](c.s.store, c.project, kindFile, id); !ok {
			return notFound("No such File object: %s", id)
		}
	}
	return nil
}

// measure counts the tokens of items and folds their content into seed. Ids do not count: they are random where the caller
// gave none.
func measure(list []item, seed uint64) (n int, _ uint64) {
	for _, it := range list {
		n += 3
		n, seed = measureValue(map[string]any(it), n, seed)
	}
	return n, seed
}

// counted are the members of items that hold text a model reads.
var counted = map[string]bool{"text": true, "content": true, "arguments": true, "output": true, "name": true, "input": true, "refusal": true, "summary": true, "encrypted_content": true}

func measureValue(v any, n int, seed uint64) (int, uint64) {
	switch v := v.(type) {
	case item:
		return measureValue(map[string]any(v), n, seed)
	case map[string]any:
		switch v["type"] {
		case "input_image", "input_file":
			n += 85
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			switch s, ok := v[key].(string); {
			case key == "id":
			case ok && counted[key]:
				n += prose.Tokens(s)
				seed = prose.Hash(seed, s)
			case ok:
				seed = prose.Hash(seed, s)
			default:
				n, seed = measureValue(v[key], n, seed)
			}
		}
	case []any:
		for _, inner := range v {
			n, seed = measureValue(inner, n, seed)
		}
	case []item:
		for _, inner := range v {
			n, seed = measureValue(inner, n, seed)
		}
	}
	return n, seed
}

// sizeOf is about what items take in memory.
func sizeOf(list []item) int {
	b, err := json.Marshal(list)
	if err != nil {
		return 0 // items came from JSON and go back to it
	}
	return 2*len(b) + 256
}
