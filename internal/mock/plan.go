package mock

import (
	"bytes"
	"strconv"
	"strings"

	"gatehouse/internal/mock/prose"
	"gatehouse/internal/mock/scan"
)

// maxTokens bounds the text of one answer.
const maxTokens = 100_000

// plan is how much a text model says.
type plan struct {
	reasoning int
	text      int // 0 only when limit left nothing
	limit     int // 0: none
	cut       bool
	json      bool // wrap the text in a JSON object
}

// reasons reports whether a model is one of those that think first.
func reasons(model string) bool {
	return strings.HasPrefix(model, "gpt-5") || len(model) > 1 && model[0] == 'o' && model[1] >= '0' && model[1] <= '9'
}

var efforts = map[string]int{"": 64, "none": 0, "minimal": 16, "low": 32, "medium": 64, "high": 128, "xhigh": 256}

// plan decides the length of an answer: what was asked for, within limit (0: none).
func (c *call) plan(model, effort string, seed uint64, limit int) plan {
	p := plan{text: c.knobs.tokens, limit: limit}
	if p.text == 0 {
		p.text = prose.Tokens(prose.Label(model)) + 8 + int(seed%24)
	}
	if reasons(model) {
		p.reasoning = efforts[effort]
	}
	if limit > 0 && p.reasoning+p.text > limit {
		p.reasoning = min(p.reasoning, limit)
		p.text = limit - p.reasoning
		p.cut = true
	}
	return p
}

// say returns the planned text. In JSON mode that is an object, which takes some tokens more, and which a limit may cut in the
// middle, as it does to real models.
func (p *plan) say(model string, seed uint64) string {
	if p.text == 0 {
		return ""
	}
	t := prose.Of(model, seed, p.text)
	if !p.json {
		return t
	}
	t = string(append(scan.AppendString([]byte(`{"mock": `), t), '}'))
	p.text = prose.Tokens(t)
	if p.limit > 0 && p.reasoning+p.text > p.limit {
		p.text, p.cut = p.limit-p.reasoning, true
		t = prose.First(t, p.text)
	}
	return t
}

// wantsJSON reports whether a response format asks for JSON. The mock answers one object for every schema.
func wantsJSON(format []byte) bool {
	return bytes.Contains(format, []byte(`"json_object"`)) || bytes.Contains(format, []byte(`"json_schema"`))
}

func appendInt(b []byte, n int) []byte { return strconv.AppendInt(b, int64(n), 10) }
