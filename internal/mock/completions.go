package mock

import (
	"bytes"
	"encoding/json"

	"gatehouse"
	"gatehouse/internal/mock/prose"
	"gatehouse/internal/mock/scan"
)

// prompts is an input that may be one string, several, the tokens of one, or those of several. Tokens that come as numbers
// count as many as they are.
type prompts struct {
	list []promptText
}

type promptText struct {
	text   string // the numbers as JSON, for tokens
	tokens int
	zero   bool // empty
}

// UnmarshalJSON reads any of the four forms.
func (p *prompts) UnmarshalJSON(b []byte) error {
	if scan.IsNull(b) {
		return nil
	}
	if b[0] != '[' {
		return p.add(b)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(b, &items); err != nil {
		return err
	}
	if len(items) > 0 && items[0][0] != '"' && items[0][0] != '[' {
		return p.add(b)
	}
	for _, item := range items {
		if err := p.add(item); err != nil {
			return err
		}
	}
	return nil
}

func (p *prompts) add(b []byte) error {
	if b[0] == '[' {
		var numbers []uint32
		if err := json.Unmarshal(b, &numbers); err != nil {
			return err
		}
		p.list = append(p.list, promptText{text: string(bytes.Clone(b)), tokens: len(numbers), zero: len(numbers) == 0})
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	p.list = append(p.list, promptText{text: s, tokens: prose.Tokens(s), zero: s == ""})
	return nil
}

func (p *prompts) tokens() int {
	n := 0
	for _, t := range p.list {
		n += t.tokens
	}
	return n
}

type chatUsage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
}

type textChoice struct {
	Text     string  `json:"text"`
	Index    int     `json:"index"`
	Logprobs *string `json:"logprobs"` // never there
	Finish   *string `json:"finish_reason"`
}

type textCompletion struct {
	ID          string       `json:"id"`
	Object      string       `json:"object"`
	Created     int64        `json:"created"`
	Model       string       `json:"model"`
	Choices     []textChoice `json:"choices"`
	Usage       *chatUsage   `json:"usage,omitempty"`
	Fingerprint string       `json:"system_fingerprint"`
}

// completions answers POST /completions, the API before chat.
func (c *call) completions() error {
	var q struct {
		Model     string  `json:"model"`
		Prompt    prompts `json:"prompt"`
		N         *int    `json:"n"`
		BestOf    *int    `json:"best_of"`
		MaxTokens *int    `json:"max_tokens"`
		Echo      bool    `json:"echo"`
		Stream    bool    `json:"stream"`
		Options   *struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
	}
	if err := c.decode(&q); err != nil {
		return err
	}
	if err := c.model(q.Model); err != nil {
		return err
	}
	n, bestOf, limit := orDefault(q.N, 1), orDefault(q.BestOf, 0), orDefault(q.MaxTokens, 16)
	if bestOf == 0 {
		bestOf = n
	}
	switch {
	case n < 1 || n > maxChoices:
		return invalid("n", "must be an integer from 1 to %d.", maxChoices)
	case bestOf < n || bestOf > maxChoices:
		return invalid("best_of", "must be an integer from n to %d.", maxChoices)
	case limit < 0:
		return invalid("max_tokens", "must not be negative.")
	case len(q.Prompt.list) > 2048:
		return invalid("prompt", "at most 2048 prompts are allowed.")
	case q.Options != nil && !q.Stream:
		return &apiError{status: 400, param: "stream_options", message: "The 'stream_options' parameter is only allowed when 'stream' is enabled."}
	}
	if len(q.Prompt.list) == 0 {
		q.Prompt.list = []promptText{{text: "<|endoftext|>", tokens: 1}} // OpenAI's default prompt
	}
	out := textCompletion{ID: gatehouse.NewID("cmpl-"), Object: "text_completion", Created: c.started.Unix(), Model: q.Model, Choices: []textChoice{}, Fingerprint: fingerprint}
	usage := &chatUsage{Prompt: q.Prompt.tokens()}
	for _, prompt := range q.Prompt.list {
		seed := prose.Hash(prose.Hash(prose.Seed, prompt.text), q.Model)
		for i := range bestOf {
			if i > 0 {
				seed = prose.Mix(seed)
			}
			p := plan{}
			if limit > 0 {
				p = c.plan(q.Model, "none", seed, limit)
			}
			usage.Completion += p.text
			if i >= n {
				continue // made, paid for, and not shown
			}
			finish := "stop"
			if p.cut || limit == 0 {
				finish = "length"
			}
			t := p.say(q.Model, seed)
			if q.Echo {
				t = prompt.text + t
			}
			out.Choices = append(out.Choices, textChoice{Text: t, Index: len(out.Choices), Finish: &finish})
		}
	}
	usage.Total = usage.Prompt + usage.Completion
	if !c.knobs.noUsage {
		out.Usage = usage
	}
	if !q.Stream {
		return c.json(out)
	}
	return c.streamCompletion(out, q.Options != nil && q.Options.IncludeUsage)
}

// streamCompletion sends each choice a token at a time, then how it ended.
func (c *call) streamCompletion(out textCompletion, withUsage bool) error {
	e := c.stream()
	usage := out.Usage
	out.Usage = nil
	send := func(choices ...textChoice) error {
		out.Choices = choices
		b, err := json.Marshal(out)
		if err != nil {
			return err
		}
		if withUsage && usage != nil && out.Usage == nil {
			b = append(b[:len(b)-1], `,"usage":null}`...)
		}
		return e.send("", b)
	}
	for _, choice := range out.Choices {
		for rest := choice.Text; rest != ""; {
			n := prose.Token(rest)
			if err := send(textChoice{Text: rest[:n], Index: choice.Index}); err != nil {
				return err
			}
			rest = rest[n:]
		}
		if err := send(textChoice{Index: choice.Index, Finish: choice.Finish}); err != nil {
			return err
		}
	}
	if withUsage && usage != nil {
		out.Usage = usage
		if err := send([]textChoice{}...); err != nil {
			return err
		}
	}
	return e.done()
}

func orDefault(p *int, d int) int {
	if p == nil {
		return d
	}
	return *p
}
