package sse

import (
	"bytes"
	"slices"

	"gatehouse/internal/dialect/strictjson"
)

// rewriter gives every choice of a chunk a "delta". Azure's asynchronous filter sends annotations whose choices have none; SDKs
// read choices[0].delta without looking. Such a chunk also has an empty id, model and object and no time of creation, which SDKs
// that add chunks up would take for the answer's: it gets those of the chunks before.
type rewriter struct {
	result strictjson.Result
	data   []byte // the event's data, its lines joined
	edits  []edit
	fixed  []byte // the data with the edits made
	out    []byte // the event
}

// edit puts text in the place of data[start:end].
type edit struct {
	start, end int
	text       []byte
}

// anyKind: what these fields are decides nothing, and a chunk with an odd one still gets its deltas.
const anyKind = strictjson.String | strictjson.Number | strictjson.Bool | strictjson.Null | strictjson.Object | strictjson.Array

var choiceSpec = strictjson.NewSpec(
	strictjson.Field{Path: "choices[]", Kinds: strictjson.Object},
	strictjson.Field{Path: "choices[].delta", Kinds: strictjson.Object | strictjson.Null},
	strictjson.Field{Path: "id", Kinds: anyKind},
	strictjson.Field{Path: "model", Kinds: anyKind},
	strictjson.Field{Path: "object", Kinds: anyKind},
	strictjson.Field{Path: "created", Kinds: anyKind},
)

const (
	choiceField = iota
	deltaField
	idField
	modelField
	objectField
	createdField
)

var (
	emptyDelta  = []byte(`"delta":{}`)
	deltaBefore = []byte(`"delta":{},`)
	chunkObject = []byte(`"chat.completion.chunk"`)
)

// rewrite returns the event with deltas added and what is empty filled in from the JSON of the stream so far, or the event as it
// is when its data is not as expected. The result is valid until the next call.
func (r *rewriter) rewrite(event, id, model, created []byte) []byte {
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
	r.edit(id, model, created)

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

// edit copies the data and makes its edits. A delta is found before the choice around it, because a value is found where it ends.
func (r *rewriter) edit(id, model, created []byte) {
	r.edits = r.edits[:0]
	delta := -1
	for _, f := range r.result.Found {
		switch f.Field {
		case deltaField:
			delta = f.Span.Start
		case choiceField:
			if delta > f.Span.Start {
				continue
			}
			inside, text := f.Span.Start+1, emptyDelta
			if bytes.TrimLeft(r.data[inside:f.Span.End], " \t\r\n")[0] != '}' {
				text = deltaBefore
			}
			r.edits = append(r.edits, edit{inside, inside, text})
		}
	}
	if len(id) > 0 { // a chunk has come before
		r.fill(idField, `""`, id)
		r.fill(modelField, `""`, model)
		r.fill(objectField, `""`, chunkObject)
		r.fill(createdField, `0`, created)
	}
	slices.SortFunc(r.edits, func(a, b edit) int { return a.start - b.start })
	r.fixed = r.fixed[:0]
	at := 0
	for _, e := range r.edits {
		r.fixed = append(append(r.fixed, r.data[at:e.start]...), e.text...)
		at = e.end
	}
	r.fixed = append(r.fixed, r.data[at:]...)
}

// fill puts a value that is known in the place of one that is empty.
func (r *rewriter) fill(field int, empty string, value []byte) {
	if at := r.result.Span(field); len(value) > 0 && string(r.data[at.Start:at.End]) == empty {
		r.edits = append(r.edits, edit{at.Start, at.End, value})
	}
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
