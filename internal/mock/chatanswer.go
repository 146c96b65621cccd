package mock

import (
	"net/http"
	"strconv"

	"gatehouse"
	"gatehouse/internal/mock/prose"
	"gatehouse/internal/mock/scan"
)

// chatAnswer is what the mock has decided to say.
type chatAnswer struct {
	id      string
	created int64
	model   string
	tier    string
	finish  string
	texts   []string
	usage   []byte // JSON; nil when left out
}

func (c *call) answerChat(q *chatRequest) error {
	seed := prose.Hash(q.seed, q.model)
	a := chatAnswer{id: gatehouse.NewID("chatcmpl-"), created: c.started.Unix(), model: q.model, tier: q.tier, finish: "stop"}
	if a.tier == "" || a.tier == "auto" {
		a.tier = "default"
	}
	out, reasoning := 0, 0
	a.texts = make([]string, 0, 4)
	for range q.n {
		p := c.plan(q.model, q.effort, seed, q.limit)
		p.json = q.json
		t := p.say(q.model, seed)
		if p.cut {
			a.finish = "length"
		}
		out += p.reasoning + p.text
		reasoning += p.reasoning
		a.texts = append(a.texts, t)
		seed = prose.Mix(seed)
	}
	if !c.knobs.noUsage {
		a.usage = appendChatUsage(make([]byte, 0, 320), q.prompt, min(c.knobs.cached, q.prompt), q.audio, out, reasoning)
	}
	b := a.appendJSON(make([]byte, 0, 1024))
	if q.store {
		if err := c.storeChat(&a, b, q); err != nil {
			return err
		}
	}
	if q.stream {
		return c.streamChat(&a, q)
	}
	return c.write(http.StatusOK, "application/json", b)
}

func appendChatUsage(b []byte, prompt, cached, audio, out, reasoning int) []byte {
	b = appendInt(append(b, `{"prompt_tokens":`...), prompt)
	b = appendInt(append(b, `,"completion_tokens":`...), out)
	b = appendInt(append(b, `,"total_tokens":`...), prompt+out)
	b = appendInt(append(b, `,"prompt_tokens_details":{"cached_tokens":`...), cached)
	b = appendInt(append(b, `,"audio_tokens":`...), audio)
	b = appendInt(append(b, `},"completion_tokens_details":{"reasoning_tokens":`...), reasoning)
	return append(b, `,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`...)
}

func (a *chatAnswer) appendJSON(b []byte) []byte {
	b = append(append(append(b, `{"id":"`...), a.id...), `","object":"chat.completion","created":`...)
	b = strconv.AppendInt(b, a.created, 10)
	b = scan.AppendString(append(b, `,"model":`...), a.model)
	b = append(b, `,"choices":[`...)
	for i, t := range a.texts {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendInt(append(b, `{"index":`...), i)
		b = scan.AppendString(append(b, `,"message":{"role":"assistant","content":`...), t)
		b = append(append(append(b, `,"refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"`...), a.finish...), `"}`...)
	}
	b = append(b, ']')
	if a.usage != nil {
		b = append(append(b, `,"usage":`...), a.usage...)
	}
	b = scan.AppendString(append(b, `,"service_tier":`...), a.tier)
	return append(b, `,"system_fingerprint":"`+fingerprint+`"}`...)
}

// streamChat sends the answer as chunks: the role of each choice, a token at a time of each in turn, how each ended, and the
// usage where it was asked for.
func (c *call) streamChat(a *chatAnswer, q *chatRequest) error {
	head := append(append(append([]byte(nil), `{"id":"`...), a.id...), `","object":"chat.completion.chunk","created":`...)
	head = strconv.AppendInt(head, a.created, 10)
	head = scan.AppendString(append(head, `,"model":`...), a.model)
	head = scan.AppendString(append(head, `,"service_tier":`...), a.tier)
	head = append(head, `,"system_fingerprint":"`+fingerprint+`","choices":[`...)
	usage := q.usage && a.usage != nil
	e := c.stream()
	var b []byte
	chunk := func(i int, delta, content, finish string) error {
		b = appendInt(append(append(b[:0], head...), `{"index":`...), i)
		b = append(append(b, `,"delta":`...), delta...)
		if content != "" {
			b = append(scan.AppendString(append(b, `{"content":`...), content), '}')
		}
		b = append(b, `,"logprobs":null,"finish_reason":`...)
		if finish == "" {
			b = append(b, "null}]"...)
		} else {
			b = append(scan.AppendString(b, finish), "}]"...)
		}
		if usage {
			b = append(b, `,"usage":null`...)
		}
		if q.obfuscate {
			// OpenAI pads every chunk so that its length does not tell that of the text.
			b = append(append(append(b, `,"obfuscation":"`...), "mockmockmockmock"[:16-min(len(content), 15)]...), '"')
		}
		return e.send("", append(b, '}'))
	}
	for i := range a.texts {
		if err := chunk(i, `{"role":"assistant","content":"","refusal":null}`, "", ""); err != nil {
			return err
		}
	}
	rest := append([]string(nil), a.texts...)
	for left := true; left; {
		left = false
		for i, t := range rest {
			if t == "" {
				continue
			}
			n := prose.Token(t)
			if err := chunk(i, "", t[:n], ""); err != nil {
				return err
			}
			rest[i] = t[n:]
			left = left || rest[i] != ""
		}
	}
	for i := range a.texts {
		if err := chunk(i, "{}", "", a.finish); err != nil {
			return err
		}
	}
	if usage {
		b = append(append(b[:0], head...), `],"usage":`...)
		if err := e.send("", append(append(b, a.usage...), '}')); err != nil {
			return err
		}
	}
	return e.done()
}
