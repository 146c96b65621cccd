package sse

import (
	"bytes"

	"gatehouse/internal/dialect/strictjson"
)

// rewriter gives every choice of a chunk a "delta". Azure's asynchronous filter sends annotations whose choices have none; SDKs
// read choices[0].delta without looking.
type rewriter struct {
	result strictjson.Result
	data   []byte // the event's data, its lines joined
	fixed  []byte // the same with the deltas added
	out    []byte // the event
}

var choiceSpec = strictjson.NewSpec(
	strictjson.Field{Path: "choices[]", Kinds: strictjson.Object},
	strictjson.Field{Path: "choices[].delta", Kinds: strictjson.Object | strictjson.Null},
)

const (
	choiceField = iota
	deltaField
)

// rewrite returns the event with deltas added, or as it is when its data is not as expected. The result is valid until the next
// call.
func (r *rewriter) rewrite(event []byte) []byte {
	r.data = r.data[:0]
	for rest := event; len(rest) > 0; {
		var value []byte
		var isData bool
		_, value, isData, rest = cutLine(rest)
		if !isData {
			continue
		}
		if len(r.data) > 0 {
			r.data = append(r.data, '\n')
		}
		r.data = append(r.data, value...)
	}
	if strictjson.Scan(r.data, choiceSpec, &r.result) != nil {
		return event
	}
	r.addDeltas()

	r.out = r.out[:0]
	written := false
	for rest := event; len(rest) > 0; {
		var line []byte
		var isData bool
		before := rest
		line, _, isData, rest = cutLine(rest)
		whole := before[:len(before)-len(rest)]
		if !isData {
			r.out = append(r.out, whole...)
			continue
		}
		if written {
			continue
		}
		written = true
		for part := range bytes.SplitSeq(r.fixed, newline) {
			r.out = append(r.out, "data: "...)
			r.out = append(r.out, part...)
			r.out = append(r.out, whole[len(line):]...)
		}
	}
	return r.out
}

// addDeltas copies the data and adds what is missing. A delta is found before the choice around it, because a value is found
// where it ends.
func (r *rewriter) addDeltas() {
	r.fixed = r.fixed[:0]
	at, delta := 0, -1
	for _, f := range r.result.Found {
		if f.Field == deltaField {
			delta = f.Span.Start
			continue
		}
		if delta > f.Span.Start {
			continue
		}
		inside := f.Span.Start + 1
		r.fixed = append(r.fixed, r.data[at:inside]...)
		r.fixed = append(r.fixed, `"delta":{}`...)
		if bytes.TrimLeft(r.data[inside:f.Span.End], " \t\r\n")[0] != '}' {
			r.fixed = append(r.fixed, ',')
		}
		at = inside
	}
	r.fixed = append(r.fixed, r.data[at:]...)
}

// cutLine cuts the first line off an event: the line without its end, and its value when it is data.
func cutLine(b []byte) (line, value []byte, isData bool, rest []byte) {
	end := bytes.IndexAny(b, "\r\n")
	line = b
	if end >= 0 {
		line = b[:end]
		end++
		if b[end-1] == '\r' && end < len(b) && b[end] == '\n' {
			end++
		}
		rest = b[end:]
	}
	key, value, _ := bytes.Cut(line, []byte(":"))
	if string(key) != "data" {
		return line, nil, false, rest
	}
	return line, bytes.TrimPrefix(value, []byte(" ")), true, rest
}
