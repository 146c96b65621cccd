// Package usage reads what an upstream says it counted.
//
// It owns where the numbers are in each kind of answer ([Capture]), what they mean ([Extract]) and the rule by which they are
// estimated when there are none ([Estimate]). It is pure: it does not know prices, and it does not buffer answers.
//
// The shapes are those of OpenAI's API reference; Azure's are the same.
package usage

import (
	"bytes"
	"strings"

	"github.com/tidwall/gjson"

	"gatehouse"
)

// Shape is the closed set of kinds of answers that may say what they cost.
type Shape uint8

// The shapes.
const (
	None          Shape = iota // nothing is counted
	Chat                       // usage with prompt_tokens; a stream says so in a chunk without choices, when asked to
	Completions                // as Chat
	Responses                  // usage with input_tokens; a stream says so in its last event
	Embeddings                 // usage with prompt_tokens
	Images                     // usage with input_tokens, for some models only
	Transcription              // usage with tokens or with seconds
	Speech                     // usage with input_tokens, in a stream of events only
	Batch                      // as Responses, for all lines together
	Run                        // an Assistants run, with prompt_tokens
	Container                  // a container for code, which is what is counted
)

// maxCount bounds what is believed: a thousand times the largest context there is, a million times over.
const maxCount = 1_000_000_000_000

// Extract reads a usage object. It reports false when there is none, or when a number in it is negative, not a whole number or
// absurd: then nothing in it can be trusted. A detail that is larger than its total is cut to the total, because details are
// subsets (gatehouse.Units).
func Extract(shape Shape, usageJSON []byte) (gatehouse.Units, bool) {
	if shape == None || len(usageJSON) == 0 || usageJSON[0] != '{' {
		return gatehouse.Units{}, false
	}
	var p plain
	if p.read(usageJSON) {
		return p.units(shape)
	}
	return general(shape, usageJSON)
}

// ofPrompt reports whether an answer of a shape calls its totals prompt_tokens and completion_tokens first. A server that speaks
// both generations says each in its own place.
func ofPrompt(shape Shape) bool {
	return shape == Chat || shape == Completions || shape == Embeddings || shape == Run
}

// oneKind completes the units of a shape that answers in one kind only and says so nowhere else.
func oneKind(shape Shape, u *gatehouse.Units) {
	switch shape {
	case Images:
		u.OutputImage = u.Output
	case Speech:
		u.OutputAudio = u.Output
	}
}

// general reads a usage object however it is written. It stands apart, so that what it needs of the stack is cleared for those alone
// that are not plain.
//
//go:noinline
func general(shape Shape, usageJSON []byte) (gatehouse.Units, bool) {
	if !gjson.ValidBytes(usageJSON) {
		return gatehouse.Units{}, false
	}
	r := reader{ok: true}
	r.totals.read(usageJSON)
	var u gatehouse.Units
	if ofPrompt(shape) {
		u.Input, u.Output = r.first("prompt_tokens", "input_tokens"), r.first("completion_tokens", "output_tokens")
	} else {
		u.Input, u.Output = r.first("input_tokens", "prompt_tokens"), r.first("output_tokens", "completion_tokens")
	}
	if r.found == 0 {
		u.Milliseconds = r.seconds()
		if r.found == 0 && shape == Embeddings {
			u.Input = r.first("total_tokens")
		}
	}

	in := r.details("input_tokens_details", "prompt_tokens_details", "input_token_details")
	u.Cached = r.part(in, "cached_tokens", u.Input)
	u.CacheWrite = r.part(in, "cache_write_tokens", u.Input)
	u.InputText = r.part(in, "text_tokens", u.Input)
	u.InputAudio = r.part(in, "audio_tokens", u.Input)
	u.InputImage = r.part(in, "image_tokens", u.Input)
	var cached *members
	if in != nil {
		if v := in.get("cached_tokens_details"); v.isObject() {
			r.deeper.read(v.raw)
			cached = &r.deeper
		}
	}
	u.CachedAudio = r.part(cached, "audio_tokens", u.Cached)
	u.CachedImage = r.part(cached, "image_tokens", u.Cached)

	out := r.details("output_tokens_details", "completion_tokens_details", "output_token_details")
	u.Reasoning = r.part(out, "reasoning_tokens", u.Output)
	u.OutputText = r.part(out, "text_tokens", u.Output)
	u.OutputAudio = r.part(out, "audio_tokens", u.Output)
	u.OutputImage = r.part(out, "image_tokens", u.Output)
	if out == nil {
		oneKind(shape, &u)
	}
	if !r.ok || r.found == 0 {
		return gatehouse.Units{}, false
	}
	return u, true
}

// Of returns what a whole answer that went through c counted: its usage, its images, its seconds of audio and its calls of hosted
// tools. It reports false when the answer says nothing. Models that are paid by the image report no tokens; then Images stands alone.
func Of(shape Shape, c *Capture) (gatehouse.Units, bool) {
	u, ok := c.units(shape)
	switch shape {
	case Chat:
		if ok {
			Searches(shape, c.Text(Model)).Count(&u)
		}
	case Responses:
		c.Calls().Count(&u)
		u.Containers = c.Containers()
	case Container:
		if c.Text(ID) != "" {
			u.Containers, ok = 1, true
		}
	case Images:
		u.Images = int64(c.Count(Data))
		ok = ok || u.Images > 0
	case Transcription:
		if ok {
			break
		}
		if ms, found := Milliseconds(bytes.Trim(c.Get(Duration), `"`)); found {
			u.Milliseconds, ok = ms, true
		}
	}
	return u, ok
}

// bytesPerToken is the usual size of a token of English text in the vocabularies in use; other languages have smaller ones.
const bytesPerToken = 4

// audioPerText is how many tokens of speech a token of text becomes, about: a voice speaks three words a second in some twenty tokens.
const audioPerText = 6

// EstimateSpeech returns the tokens of audio that a text is taken for, by its characters.
func EstimateSpeech(characters int64) int64 { return audioPerText * Estimate(characters) }

// Estimate returns the tokens that a stretch of text is taken for when the upstream counted nothing: one for every four bytes,
// rounded up. What rests on it must be marked gatehouse.Estimated.
func Estimate(textBytes int64) int64 {
	if textBytes <= 0 {
		return 0
	}
	return (textBytes-1)/bytesPerToken + 1
}

// reader reads the numbers of one usage object.
type reader struct {
	totals members
	inside members // of the breakdown that is read
	deeper members // of the breakdown inside it
	found  int     // how many totals there were
	ok     bool    // no number so far was unusable
}

// members are what an object holds, read once: to look each name up in the text would read it a score of times. Of those beyond
// sixteen, which no usage has, none is seen.
type members struct {
	list [maxMembers]member
	n    int
}

const maxMembers = 16

// member is a name and its value as they are written. Both are parts of what was read.
type member struct {
	name, raw []byte
	kind      gjson.Type
}

// said reports whether the member is there and not null.
func (m member) said() bool { return len(m.raw) > 0 && m.kind != gjson.Null }

func (m member) isObject() bool { return m.kind == gjson.JSON && m.raw[0] == '{' }

// read takes the members of an object that is known to be valid.
func (m *members) read(object []byte) {
	m.n = 0
	gjson.ParseBytes(object).ForEach(func(key, value gjson.Result) bool {
		m.list[m.n] = member{[]byte(key.Str), []byte(value.Raw), value.Type}
		m.n++
		return m.n < len(m.list)
	})
}

// get returns the first member of a name.
func (m *members) get(name string) member {
	for i := range m.n {
		if string(m.list[i].name) == name {
			return m.list[i]
		}
	}
	return member{}
}

// first returns the first of several spellings of a total.
func (r *reader) first(names ...string) int64 {
	for _, name := range names {
		v := r.totals.get(name)
		if !v.said() {
			continue
		}
		r.found++
		return r.number(v)
	}
	return 0
}

// details returns the first of several spellings of a breakdown, nil where there is none.
func (r *reader) details(names ...string) *members {
	for _, name := range names {
		if v := r.totals.get(name); v.isObject() {
			r.inside.read(v.raw)
			return &r.inside
		}
	}
	return nil
}

// part returns a detail, at most its total.
func (r *reader) part(details *members, name string, total int64) int64 {
	if details == nil {
		return 0
	}
	v := details.get(name)
	if !v.said() {
		return 0
	}
	return min(r.number(v), total)
}

func (r *reader) seconds() int64 {
	v := r.totals.get("seconds")
	if !v.said() {
		return 0
	}
	ms, ok := Milliseconds(v.raw)
	r.found++
	r.ok = r.ok && ok
	return ms
}

// number reads a count. A whole number with a point ("12.0") is one, as some servers print it.
func (r *reader) number(v member) int64 {
	n, exact, ok := decimal(string(v.raw), 0)
	r.ok = r.ok && v.kind == gjson.Number && ok && exact
	return n
}

// Milliseconds converts a JSON number of seconds, rounding up to whole milliseconds, without going through floating point. It
// reports false for anything but a number from 0 to a billion seconds.
func Milliseconds(seconds []byte) (int64, bool) {
	ms, exact, ok := decimal(string(seconds), 3)
	if !ok {
		return 0, false
	}
	if !exact {
		ms++
	}
	return ms, true
}

// decimal evaluates a JSON number times ten to the power of shift, rounded down, and says whether that was exact. It reports
// not ok for what is no number, negative or above maxCount.
func decimal(raw string, shift int) (n int64, exact, ok bool) {
	mantissa, exponent := raw, 0
	if e := strings.IndexAny(raw, "eE"); e >= 0 {
		mantissa = raw[:e]
		sign := 1
		figures := strings.TrimPrefix(raw[e+1:], "+")
		if len(figures) > 0 && figures[0] == '-' {
			sign, figures = -1, figures[1:]
		}
		if len(figures) == 0 || len(figures) > 3 {
			return 0, false, false
		}
		for _, c := range []byte(figures) {
			if c < '0' || c > '9' {
				return 0, false, false
			}
			exponent = exponent*10 + int(c-'0')
		}
		exponent *= sign
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	if len(whole) == 0 {
		return 0, false, false
	}
	keep := len(whole) + exponent + shift // figures in front of the point once it has moved
	exact = true
	for i := range len(whole) + len(fraction) {
		c := byte(0)
		if i < len(whole) {
			c = whole[i]
		} else {
			c = fraction[i-len(whole)]
		}
		if c < '0' || c > '9' {
			return 0, false, false
		}
		if i >= keep {
			exact = exact && c == '0'
			continue
		}
		if n = n*10 + int64(c-'0'); n > maxCount {
			return 0, false, false
		}
	}
	for range keep - len(whole) - len(fraction) {
		if n *= 10; n > maxCount {
			return 0, false, false
		}
	}
	return n, exact, true
}

// Whole returns a JSON number that is a whole count, and false for anything else.
func Whole(raw []byte) (int64, bool) {
	n, exact, ok := decimal(string(raw), 0)
	return n, ok && exact
}
