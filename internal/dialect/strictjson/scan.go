package strictjson

import (
	"bytes"
	"fmt"

	"gatehouse"
)

// The codes of the errors that Scan returns, all of gatehouse.Kind Invalid.
const (
	CodeJSON      = "invalid_json"    // the body is not one JSON object in UTF-8, or too deep
	CodeDuplicate = "duplicate_field" // a field that is read occurs twice in its object
	CodeAmbiguous = "ambiguous_field" // a field that is read is written in another case or with escapes
	CodeType      = "invalid_type"    // a field that is read has a value of the wrong kind
)

// Span is where a value stands in the body, quotes and brackets included. A zero Span is a field that is absent.
type Span struct {
	Start, End int
	Kind       Kind
	escaped    bool
	// Len is how many elements an array, or members an object has; 0 for every other value.
	Len int32
}

// Found is one occurrence of a field that may have several.
type Found struct {
	Field int
	Span  Span
}

// Result is what one body said. It may be used for one scan after another without allocating; it refers to the last body, and
// what it returned is valid until the next scan.
type Result struct {
	// Found holds the occurrences of every field whose path has "[]" or "**.", each as its value ended in the body.
	Found []Found
	// Inline is how many bytes of the body are files in its strings, as base64, and Inlines how many such strings there are: an image,
	// a recording, a document. Only long strings are looked at.
	Inline  int64
	Inlines int

	body    []byte
	spec    *Spec
	spans   []Span // by field, for those that occur once
	open    int    // the offset of the body's opening brace
	scratch []byte
	stack   [MaxDepth]frame
}

// frame is one open object or array.
type frame struct {
	state *state // nil: nothing inside is read
	via   *edge  // how it was reached; nil when its value is not read
	seen  uint64 // the names of state that occurred in it
	start int
	array bool
	more  int32 // commas so far
	// variant is set below a name of any depth that was written in another case or with escapes: passed over as long as
	// nothing inside it would be read.
	variant bool
}

// Scan reads body once. It returns nil when the body is one JSON object by RFC 8259 in UTF-8 (lone surrogate escapes pass in
// strings that are not read, numbers may be of any size) that spells every field of spec in one way only; otherwise a
// *gatehouse.Error of kind Invalid, and out holds nothing of use.
func Scan(body []byte, spec *Spec, out *Result) error {
	out.reset(body, spec)
	i := space(body, 0)
	if i == len(body) {
		return syntax(i, "the body is empty")
	}
	if body[i] != '{' {
		return syntax(i, "the body is not a JSON object")
	}
	out.open = i
	end, err := out.scan(i)
	if err != nil {
		return err
	}
	if i = space(body, end); i != len(body) {
		return syntax(i, "there is data after the JSON object")
	}
	return nil
}

func (r *Result) reset(body []byte, spec *Spec) {
	r.body, r.spec, r.Found = body, spec, r.Found[:0]
	r.Inline, r.Inlines = 0, 0
	if cap(r.spans) < len(spec.fields) {
		r.spans = make([]Span, len(spec.fields))
	}
	r.spans = r.spans[:len(spec.fields)]
	clear(r.spans)
}

// scan reads the object that opens at i and returns the offset behind it. Each turn of its outer loop reads one member, from
// its key to the comma or to the brackets that close behind it.
func (r *Result) scan(i int) (int, error) {
	b := r.body
	depth := 0
	r.stack[0] = frame{state: r.spec.start(), start: i}
	i = space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1, nil
	}
	for {
		f := &r.stack[depth]
		var via *edge
		var next *state
		variant := f.variant && f.array
		if f.array {
			if f.state != nil {
				next = f.state.elem.next
				if len(f.state.elem.accepts) > 0 {
					via = &f.state.elem
				}
			}
		} else {
			if i >= len(b) || b[i] != '"' {
				return 0, syntax(i, "a key was expected")
			}
			end, flags := scanString(b, i+1)
			if flags&bad != 0 {
				return 0, syntax(end, stringFault(b, end))
			}
			if f.state != nil {
				next = f.state.other
				at, exact := r.match(f.state, b[i+1:end], flags)
				if at >= 0 {
					via = &f.state.names[at]
					next = via.next
					switch {
					case !exact && via.fixed:
						return 0, ambiguous(via, i)
					case !exact:
						variant = true
					case f.seen&(1<<at) != 0:
						return 0, fault(CodeDuplicate, via.param, i, "occurs twice")
					default:
						f.seen |= 1 << at
					}
					variant = variant || f.variant
				}
			}
			i = space(b, end+1)
			if i >= len(b) || b[i] != ':' {
				return 0, syntax(i, "a colon was expected")
			}
			i = space(b, i+1)
		}

		if i >= len(b) {
			return 0, syntax(i, "the body ends inside a value")
		}
		span := Span{Start: i}
		switch c := b[i]; {
		case c == '"':
			end, flags := scanString(b, i+1)
			if flags&bad != 0 {
				return 0, syntax(end, stringFault(b, end))
			}
			if end-i > longString && isFile(b[i+1:end]) {
				r.Inline += int64(end - i)
				r.Inlines++
			}
			i = end + 1
			span.Kind, span.escaped = String, flags&escaped != 0
		case c == '{' || c == '[':
			if depth+1 == MaxDepth {
				return 0, syntax(i, fmt.Sprintf("more than %d objects and arrays are open at once", MaxDepth))
			}
			depth++
			r.stack[depth] = frame{state: next, via: via, start: i, array: c == '[', variant: variant}
			i = space(b, i+1)
			if i >= len(b) || b[i] != closing(c == '[') {
				continue
			}
			i++
			depth--
			span.Kind = containerKind(c == '[')
		case c == '-' || c-'0' <= 9:
			end, ok := scanNumber(b, i)
			if !ok {
				return 0, syntax(end, "a number is malformed")
			}
			i = end
			span.Kind = Number
		default:
			kind, size := literal(b[i:])
			if size == 0 {
				return 0, syntax(i, "a value was expected")
			}
			i += size
			span.Kind = kind
		}
		if via != nil {
			span.End = i
			if err := r.record(via, span, variant); err != nil {
				return 0, err
			}
		}

		for {
			i = space(b, i)
			if i >= len(b) {
				return 0, syntax(i, "the body ends inside an object or array")
			}
			f = &r.stack[depth]
			if b[i] == ',' {
				f.more++
				i = space(b, i+1)
				break
			}
			if b[i] != closing(f.array) {
				return 0, syntax(i, "a comma or a closing bracket was expected")
			}
			i++
			if f.via != nil {
				span := Span{Start: f.start, End: i, Kind: containerKind(f.array), Len: f.more + 1}
				if err := r.record(f.via, span, f.variant); err != nil {
					return 0, err
				}
			}
			if depth == 0 {
				return i, nil
			}
			depth--
		}
	}
}

// longString is how long a string is that may be a file, and fileTail how much of its end tells.
const (
	longString = 4096
	fileTail   = 512
)

// isFile reports whether a long string ends like base64: text has a space, a line's end or a letter beyond ASCII before long.
func isFile(s []byte) bool {
	for _, c := range s[len(s)-fileTail:] {
		if !(c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_' || c == '=') {
			return false
		}
	}
	return true
}

// match finds a key among the names of a state: its index or -1, and whether it is written exactly so.
func (r *Result) match(s *state, key []byte, flags stringFlags) (at int, exact bool) {
	if flags != 0 {
		return r.matchOdd(s, key, flags)
	}
	if len(key) == 0 || len(key) > maxName {
		return -1, false
	}
	letter := key[0] & 31
	if s.filter[letter]>>len(key)&1 == 0 {
		return -1, false
	}
	for n := int(s.first[letter]); n < int(s.first[letter+1]); n++ {
		name := s.names[n].name
		if string(key) == name {
			return n, true
		}
		if len(name) == len(key) && foldASCII(key, name) {
			return n, false
		}
	}
	return -1, false
}

// matchOdd matches keys with escapes or with letters outside ASCII, two of which (U+017F and U+212A) fold to s and k.
func (r *Result) matchOdd(s *state, key []byte, flags stringFlags) (int, bool) {
	if len(key) > maxName*12 {
		return -1, false
	}
	if flags&escaped != 0 {
		r.scratch, _ = appendUnescaped(r.scratch[:0], key)
		key = r.scratch
	}
	for n := range s.names {
		if bytes.EqualFold(key, []byte(s.names[n].name)) {
			return n, false
		}
	}
	return -1, false
}

// foldASCII reports whether an ASCII key of the same length equals a lower-case name but for case.
func foldASCII(key []byte, name string) bool {
	for i := range name {
		c := key[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != name[i] {
			return false
		}
	}
	return true
}

// record notes a value for every field that via accepts.
func (r *Result) record(via *edge, span Span, variant bool) error {
	for _, field := range via.accepts {
		if r.spec.fields[field].Kinds&span.Kind == 0 {
			if via.fixed && !anyDepth(r.spec.fields[field].Path) {
				return wrongKind(via, r.spec.fields[field].Kinds, span)
			}
			continue
		}
		if variant {
			return ambiguous(via, span.Start)
		}
		if span.escaped && !wholeSurrogates(r.body[span.Start+1:span.End-1]) {
			return fault(CodeJSON, via.param, span.Start, "has half a surrogate pair in its value")
		}
		if r.spec.many[field] {
			r.Found = append(r.Found, Found{field, span})
			continue
		}
		r.spans[field] = span
	}
	return nil
}

func anyDepth(path string) bool { return path[0] == '*' }

func closing(array bool) byte {
	if array {
		return ']'
	}
	return '}'
}

func containerKind(array bool) Kind {
	if array {
		return Array
	}
	return Object
}

func syntax(offset int, what string) error {
	return &gatehouse.Error{Kind: gatehouse.Invalid, Code: CodeJSON,
		Message: fmt.Sprintf("We could not parse the JSON body of your request: %s (at byte %d).", what, offset)}
}

func fault(code, param string, offset int, what string) error {
	return &gatehouse.Error{Kind: gatehouse.Invalid, Code: code, Param: param,
		Message: fmt.Sprintf("The field '%s' %s (at byte %d).", param, what, offset)}
}

func ambiguous(via *edge, offset int) error {
	return fault(CodeAmbiguous, via.param, offset, "must be written exactly so, without escapes and in lower case")
}

func wrongKind(via *edge, want Kind, got Span) error {
	return fault(CodeType, via.param, got.Start, fmt.Sprintf("must be %s, not %s", want, got.Kind))
}
