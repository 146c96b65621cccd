package sse

import (
	"bytes"
	"slices"

	"github.com/tidwall/gjson"

	"gatehouse/internal/dialect/usage"
)

// verdict is what becomes of an event.
type verdict uint8

const (
	keep      verdict = iota // it passes
	hide                     // it is dropped
	rewrite                  // it passes in another form
	last                     // it passes and ends the stream
	maybeLast                // it passes and ends the stream unless another follows
)

// ending is what an event means for its stream.
type ending uint8

const (
	goesOn ending = iota
	completion
	failure
	oneImage // one of n images is complete
)

// endings are the events that end a stream, by their name, which is also the "type" of their data.
var endings = map[string]ending{
	"error":                      failure,
	"response.completed":         completion,
	"response.incomplete":        completion,
	"response.cancelled":         completion,
	"response.failed":            failure,
	"transcript.text.done":       completion,
	"speech.audio.done":          completion,
	"image_generation.completed": oneImage,
	"image_edit.completed":       oneImage,
	"thread.run.completed":       completion,
	"thread.run.incomplete":      completion,
	"thread.run.cancelled":       completion,
	"thread.run.expired":         failure,
	"thread.run.failed":          failure,
}

func endingOf(name []byte) ending {
	if len(name) == 0 { // as of every chunk of a chat
		return goesOn
	}
	return endings[string(name)]
}

// judge reads what the current event of a size said, and decides.
func (t *Tap) judge(size int) verdict {
	if t.lines == 0 {
		return keep
	}
	t.events++
	if t.headLen == len(done) && string(t.head[:]) == done {
		t.ended = true
		return t.once(last)
	}
	c := &t.capture
	name, kind := t.event[:t.nameLen], bytes.Trim(c.Get(usage.Type), `"`)
	if t.over {
		name = nil
	}
	usageObject := c.Get(usage.Usage)
	counted := len(usageObject) > 0 && usageObject[0] == '{'
	t.note(kind, counted)
	e := endingOf(kind)
	if e == goesOn {
		e = endingOf(name)
	}
	if t.opts.Shape == usage.Responses {
		t.tools(kind, e)
	}
	v := keep
	switch e {
	case failure:
		t.failed, v = true, last
	case completion:
		v = last
	case oneImage:
		t.image(usageObject)
		v = maybeLast
	}
	if c.Failed() {
		t.failed, v = true, last
	}
	if v != keep {
		t.ended = true
		return t.once(v)
	}
	if size > MaxEvent || c.Count(usage.ChoiceLists) == 0 {
		return keep
	}
	empty := c.Count(usage.Choices) == 0
	switch {
	case empty && counted && t.opts.HideUsageChunk:
		return hide
	case empty && !counted && t.opts.FixAzure && c.Count(usage.PromptFilters) > 0:
		return hide
	case t.opts.FixAzure && t.opts.Shape == usage.Chat && c.Count(usage.Deltas) < c.Count(usage.Choices):
		return rewrite
	}
	return keep
}

// maxMade bounds the ids of one stream that are kept.
const maxMade = 1000

// once lets a stream end only once: what follows its end passes.
func (t *Tap) once(v verdict) verdict {
	if t.final {
		return keep
	}
	return v
}

// note keeps what the event said about the whole answer.
func (t *Tap) note(kind []byte, counted bool) {
	c := &t.capture
	// Audio in base64 is no text, and an event that closes a part repeats what its deltas said.
	if !bytes.HasSuffix(kind, audioDelta) && (!bytes.HasSuffix(kind, partDone) || t.text == 0) {
		t.text += c.TextBytes
	}
	for kind, id := range c.Made {
		if m := (Made{kind, id}); len(t.made) < maxMade && !slices.Contains(t.made, m) {
			t.made = append(t.made, m)
		}
	}
	// Steps and messages of an Assistants run say what they are and cost under the same names as the run.
	if t.opts.Shape == usage.Run && string(c.Get(usage.Object)) != `"thread.run"` {
		return
	}
	if t.opts.FixAzure && len(t.created) == 0 {
		if created := c.Get(usage.Created); len(created) > 0 && created[0] > '0' && created[0] <= '9' {
			t.created = append(t.created, created...)
		}
	}
	first(&t.id, c.Get(usage.ID))
	first(&t.model, c.Get(usage.Model))
	latest(&t.tier, c.Get(usage.ServiceTier))
	latest(&t.status, c.Get(usage.Status))
	if t.opts.Shape == usage.Images {
		latest(&t.pictured, c.Get(usage.Size))
		latest(&t.quality, c.Get(usage.Quality))
	}
	if counted && t.opts.Shape != usage.Images {
		t.usage = append(t.usage[:0], c.Get(usage.Usage)...)
	}
}

var audioDelta, partDone = []byte("audio.delta"), []byte(".done")

// itemDone is the type of the event that closes an item of a response.
const itemDone = "response.output_item.done"

// tools counts the calls of hosted tools: one by one, so that a stream that is cut shows them, until its end shows them all.
func (t *Tap) tools(kind []byte, e ending) {
	switch calls := t.capture.Calls(); {
	case e != goesOn:
		t.calls.Preview = t.calls.Preview || calls.Preview
		t.calls.Web, t.calls.Files = max(t.calls.Web, calls.Web), max(t.calls.Files, calls.Files)
	case string(kind) == itemDone:
		t.calls.Web += calls.Web
		t.calls.Files += calls.Files
	default:
		t.calls.Preview = t.calls.Preview || calls.Preview
	}
}

// image counts an image that is complete. Each reports the tokens of its own generation.
func (t *Tap) image(usageObject []byte) {
	u, _ := usage.Extract(usage.Images, usageObject) // empty when it says nothing
	u.Images = 1
	t.images.Add(u)
}

// first keeps the first JSON string that is not empty.
func first(kept *[]byte, raw []byte) {
	if len(*kept) == 0 && len(raw) > 2 && raw[0] == '"' {
		*kept = append(*kept, raw...)
	}
}

// latest keeps the last JSON string that is not empty.
func latest(kept *[]byte, raw []byte) {
	if len(raw) > 2 && raw[0] == '"' {
		*kept = append((*kept)[:0], raw...)
	}
}

func unquote(raw []byte) string {
	if len(raw) == 0 {
		return ""
	}
	return gjson.ParseBytes(raw).String()
}
