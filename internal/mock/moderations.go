package mock

import (
	"encoding/json"
	"strings"

	"gatehouse"
	"gatehouse/internal/mock/prose"
	"gatehouse/internal/mock/scan"
)

var categories = []string{
	"harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm", "self-harm/instructions",
	"self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
}

// moderations answers POST /moderations. The mock does not judge: a text is flagged for a category when it holds "flag:" and the
// category's name, e.g. flag:violence/graphic, and for nothing else.
func (c *call) moderations() error {
	var q struct {
		Model string          `json:"model"`
		Input json.RawMessage `json:"input"`
	}
	if err := c.decode(&q); err != nil {
		return err
	}
	if q.Model == "" {
		q.Model = "omni-moderation-latest" // OpenAI's default, answered even where it is not declared
	} else if err := c.model(q.Model); err != nil {
		return err
	}
	var results []any
	var one string
	var parts []struct {
		Type, Text string
	}
	var several []string
	switch {
	case len(q.Input) == 0 || scan.IsNull(q.Input):
		return missing("input")
	case json.Unmarshal(q.Input, &one) == nil:
		results = append(results, judge(one, "text"))
	case json.Unmarshal(q.Input, &several) == nil:
		for _, s := range several {
			results = append(results, judge(s, "text"))
		}
	case json.Unmarshal(q.Input, &parts) == nil:
		var all strings.Builder
		types := map[string]bool{}
		for _, p := range parts {
			switch p.Type {
			case "text":
				types["text"] = true
				all.WriteString(p.Text + "\n")
			case "image_url":
				types["image"] = true
			default:
				return invalid("input", "a part must be of type 'text' or 'image_url'.")
			}
		}
		var kinds []string
		for _, t := range []string{"text", "image"} {
			if types[t] {
				kinds = append(kinds, t)
			}
		}
		results = append(results, judge(all.String(), kinds...))
	default:
		return invalidType("input", "a string, or an array of strings or of objects")
	}
	if len(results) == 0 {
		return missing("input")
	}
	return c.json(map[string]any{"id": gatehouse.NewID("modr-"), "model": q.Model, "results": results})
}

func judge(text string, types ...string) any {
	flags, scores, applied := map[string]bool{}, map[string]float64{}, map[string][]string{}
	flagged := false
	words := map[string]bool{}
	for _, w := range strings.Fields(text) {
		words[strings.TrimRight(w, ".,;:!?")] = true
	}
	for _, name := range categories {
		hit := words["flag:"+name]
		flagged = flagged || hit
		flags[name] = hit
		scores[name] = float64(prose.Hash(prose.Hash(prose.Seed, text), name)%1000+1) / 1e6
		if hit {
			scores[name] = 0.99
		}
		applied[name] = types
	}
	return map[string]any{"flagged": flagged, "categories": flags, "category_scores": scores, "category_applied_input_types": applied}
}
