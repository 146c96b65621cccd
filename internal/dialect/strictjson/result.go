package strictjson

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Reset forgets the last body: every field is absent until the next scan, as in a zero Result.
func (r *Result) Reset() {
	r.body, r.spans, r.Found, r.Inline, r.Inlines = nil, r.spans[:0], r.Found[:0], 0, 0
}

// Span returns where the value of a field stands that occurs at most once; a zero Span when it is absent, or nothing was scanned.
func (r *Result) Span(field int) Span {
	if field < 0 || field >= len(r.spans) {
		return Span{}
	}
	return r.spans[field]
}

// Raw returns the bytes of a value as they stand in the body.
func (r *Result) Raw(s Span) []byte { return r.body[s.Start:s.End] }

// Text returns the text of a string value, and false when the value is not a string. It allocates one string.
func (r *Result) Text(s Span) (string, bool) {
	if s.Kind != String {
		return "", false
	}
	raw := r.body[s.Start+1 : s.End-1]
	if !s.escaped {
		return string(raw), true
	}
	r.scratch, _ = appendUnescaped(r.scratch[:0], raw)
	return string(r.scratch), true
}

// Is reports whether a value is a string with this text.
func (r *Result) Is(s Span, text string) bool {
	if s.Kind != String {
		return false
	}
	raw := r.body[s.Start+1 : s.End-1]
	if s.escaped {
		r.scratch, _ = appendUnescaped(r.scratch[:0], raw)
		raw = r.scratch
	}
	return string(raw) == text
}

// True reports whether a value is the literal true.
func (r *Result) True(s Span) bool { return s.Kind == Bool && r.body[s.Start] == 't' }

// Int returns the value of a number that is an integer in the range of int64, however it is written (2, 2.0, 0.2e1). It reports
// false for every other value.
func (r *Result) Int(s Span) (int64, bool) {
	if s.Kind != Number {
		return 0, false
	}
	return integer(r.body[s.Start:s.End])
}

// integer evaluates a number by RFC 8259 exactly.
func integer(raw []byte) (int64, bool) {
	negative := raw[0] == '-'
	if negative {
		raw = raw[1:]
	}
	var figures [20]byte // more significant figures than int64 has
	count, point, exponent, pointSeen := 0, 0, 0, false
	i := 0
	for ; i < len(raw) && raw[i]|0x20 != 'e'; i++ {
		if raw[i] == '.' {
			pointSeen = true
			continue
		}
		switch {
		case count == 0 && raw[i] == '0': // a leading zero says nothing
		case count < len(figures):
			figures[count] = raw[i]
			count++
		case raw[i] != '0' || !pointSeen:
			return 0, false
		default:
			continue // a zero behind the point, beyond the figures kept
		}
		if pointSeen {
			point++
		}
	}
	if count == 0 {
		return 0, true
	}
	if i < len(raw) {
		n, err := strconv.Atoi(string(raw[i+1:]))
		if err != nil {
			return 0, false
		}
		exponent = n
	}
	for count > 1 && figures[count-1] == '0' {
		count--
		point--
	}
	shift := exponent - point
	if shift < 0 || shift > len(figures)-count {
		return 0, false
	}
	for range shift {
		figures[count] = '0'
		count++
	}
	text := string(figures[:count])
	if negative {
		text = "-" + text
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, false
	}
	return n, true
}

// Changes is what Gatehouse writes into a body that it forwards. The zero value changes nothing.
type Changes struct {
	Model        string // the new value of model; added when the body has none; empty leaves it as it is
	IncludeUsage bool   // set stream_options.include_usage to true
	ServiceTier  string // the new value of service_tier; added when the body has none; empty leaves it as it is
}

// Splice appends to dst the forwarded body as segments, in order. Long stretches are slices of the scanned body, so that nothing
// large is copied; what is new lives in r and is valid until its next use. All bytes outside the changed values are the same.
//
// The Spec of the scan must read "model" where Model is changed, "stream_options" and "stream_options.include_usage" where
// IncludeUsage is, and "service_tier" where ServiceTier is; Splice panics otherwise, because the body could then hold a second one.
func (r *Result) Splice(dst [][]byte, c Changes) [][]byte {
	if c.Model != "" && r.spec.model < 0 || c.IncludeUsage && (r.spec.streamOptions < 0 || r.spec.includeUsage < 0) || c.ServiceTier != "" && r.spec.serviceTier < 0 {
		panic("strictjson: the spec does not read what is to be changed")
	}
	var edits [3]edit
	n := 0
	r.scratch = r.scratch[:0]
	if c.Model != "" {
		edits[n] = r.set(r.Span(r.spec.model), r.open, `"model":`, func(b []byte) []byte { return AppendQuoted(b, c.Model) })
		n++
	}
	if options := r.Span(r.spec.streamOptions); c.IncludeUsage && !r.True(r.Span(r.spec.includeUsage)) {
		if options.Kind == Object {
			edits[n] = r.set(r.Span(r.spec.includeUsage), options.Start, `"include_usage":`, literalTrue)
		} else {
			edits[n] = r.set(options, r.open, `"stream_options":`, usageOptions)
		}
		n++
	}
	if c.ServiceTier != "" {
		edits[n] = r.set(r.Span(r.spec.serviceTier), r.open, `"service_tier":`, func(b []byte) []byte { return AppendQuoted(b, c.ServiceTier) })
		n++
	}
	for i := 1; i < n; i++ { // in the order of the body; what is inserted at one place stays in the order of this function
		for j := i; j > 0 && edits[j].from < edits[j-1].from; j-- {
			edits[j], edits[j-1] = edits[j-1], edits[j]
		}
	}
	// Into an empty object an insertion follows another without one of its members between them.
	for i := 1; i < n; i++ {
		if edits[i-1].from == edits[i].from && edits[i-1].last && edits[i].last {
			edits[i-1].comma = true
		}
	}
	at := 0
	for _, e := range edits[:n] {
		dst = append(dst, r.body[at:e.from], r.scratch[e.start:e.end])
		if e.comma {
			dst = append(dst, comma)
		}
		at = e.to
	}
	return append(dst, r.body[at:])
}

var comma = []byte(",")

func literalTrue(b []byte) []byte { return append(b, "true"...) }

func usageOptions(b []byte) []byte { return append(b, `{"include_usage":true}`...) }

// edit replaces body[from:to] by scratch[start:end].
type edit struct {
	from, to, start, end int
	comma                bool // a member follows the inserted one
	last                 bool // it was inserted into an empty object
}

// set plans a value: in place of the one at old, or where there is none as the first member of the object that opens at open.
func (r *Result) set(old Span, open int, key string, value func([]byte) []byte) edit {
	e := edit{from: old.Start, to: old.End, start: len(r.scratch)}
	if old.Kind == 0 {
		e.from, e.to = open+1, open+1
		e.last = r.body[space(r.body, open+1)] == '}'
		e.comma = !e.last
		r.scratch = append(r.scratch, key...)
	}
	r.scratch = value(r.scratch)
	e.end = len(r.scratch)
	return e
}

// AppendQuoted appends text as a JSON string. A byte that is not UTF-8 becomes U+FFFD, as in encoding/json.
func AppendQuoted(b []byte, text string) []byte {
	b = append(b, '"')
	if plain(text) {
		return append(append(b, text...), '"')
	}
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', byte(c))
		case c < ' ':
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, string(c)...)
		}
	}
	return append(b, '"')
}

// plain reports whether text is ASCII that JSON writes as it stands.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
