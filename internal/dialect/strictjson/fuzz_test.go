package strictjson_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"gatehouse/internal/dialect/strictjson"
)

// FuzzScan compares Scan with jsontext, a parser that shares no code with it: what Scan accepts, jsontext accepts and reads the
// same model in, and so does encoding/json, which takes any case and the last of two. What jsontext accepts and Scan refuses
// breaks a rule of our own, which the oracle states again in its own words.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		`{"model":"a","stream":true,"stream_options":{"include_usage":false},"n":1,"x":[1,-2.5e+3,null]}`,
		`{"model":"a","model":"b"}`, `{"Model":"a"}`, `{"mo\u0064el":"a"}`, `{"ſtream":true}`,
		`{"model":"\ud83d\ude00\ud800"}`, "{\"a\":\"\xff\"}", `{} {}`, `[]`, `{"a":[{"file_id":"x"},{"file_ids":["y",1]}]}`,
		`{"Conversation":{"id":"c"}}`, `{"tools":[{"type":"x"}],"prompt":{"id":"p"}}`, strings.Repeat(`{"a":`, 70),
		`{"a":"0123456789012345678901234567890123456789é€😀"}`, `{"model":{"a":1}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var r strictjson.Result
		err := strictjson.Scan(body, chat, &r)
		o := read(body)
		if err == nil && o.refuse != "" {
			t.Fatalf("accepted, the oracle refuses: %s", o.refuse)
		}
		if err != nil && o.refuse == "" {
			t.Fatalf("refused (%v), the oracle accepts", err)
		}
		if err != nil {
			return
		}
		model, _ := r.Text(r.Span(chat.Index("model")))
		if model != o.model {
			t.Fatalf("model: got %q, the oracle reads %q", model, o.model)
		}
		var lax struct{ Model *string }
		if json.Unmarshal(body, &lax) == nil && lax.Model != nil && *lax.Model != model {
			t.Fatalf("model: got %q, encoding/json reads %q", model, *lax.Model)
		}
		if len(r.Found) != o.found {
			t.Fatalf("found %d occurrences, the oracle %d", len(r.Found), o.found)
		}
		var again strictjson.Result
		changed := bytes.Join(r.Splice(nil, strictjson.Changes{Model: "new \"model\"", IncludeUsage: true}), nil)
		if err := strictjson.Scan(changed, chat, &again); err != nil {
			t.Fatalf("spliced body refused: %v\n%s", err, changed)
		}
		if !again.Is(again.Span(chat.Index("model")), "new \"model\"") || !again.True(again.Span(chat.Index("stream_options.include_usage"))) {
			t.Fatalf("spliced body reads otherwise: %s", changed)
		}
		if same := bytes.Join(r.Splice(nil, strictjson.Changes{}), nil); !bytes.Equal(same, body) {
			t.Fatalf("nothing changed: got %q, want %q", same, body)
		}
	})
}

// oracle is what jsontext says of a body.
type oracle struct {
	refuse string // empty: accepted
	model  string
	found  int
}

// level is one open object or array: its path, as names with "[]" for elements.
type level struct {
	path   string
	array  bool
	key    string // of the member being read
	exact  bool   // that key is spelled as it reads, in lower case
	names  map[string]int
	atAny  string // the name of the member this container is, when read at any depth
	isOdd  bool   // and spelled otherwise
	isElem bool   // it is an element of an array
}

var fixed = map[string]string{"model": `"n`, "stream": "tfn", "stream_options": "{n", "stream_options.include_usage": "tfn", "n": "0n", "max_tokens": "0n",
	"tools": "[n", "tools[].type": `"`, "prompt.id": `"`}
var anywhere = []string{"file_id", "file_ids", "conversation", "audio"}

func read(body []byte) oracle {
	var o oracle
	refuse := func(why string) oracle { o.refuse = why; return o }
	if !utf8.Valid(body) {
		return refuse("UTF-8")
	}
	d := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if d.PeekKind() != '{' {
		return refuse("not an object")
	}
	var stack []*level
	for {
		var top *level
		isKey := false
		if len(stack) > 0 {
			top = stack[len(stack)-1]
			_, n := d.StackIndex(d.StackDepth())
			isKey = !top.array && n%2 == 0
		}
		kind := d.PeekKind()
		if kind == '}' || kind == ']' {
			if _, err := d.ReadToken(); err != nil {
				return refuse(err.Error())
			}
			stack = stack[:len(stack)-1]
			if len(stack) == 0 {
				break
			}
			continue
		}
		if kind == '{' || kind == '[' {
			if _, err := d.ReadToken(); err != nil {
				return refuse(err.Error())
			}
			next := &level{array: kind == '[', names: map[string]int{}}
			if top != nil {
				why := o.value(top, string(kind), "", false)
				if why != "" {
					return refuse(why)
				}
				next.path, next.atAny, next.isOdd, next.isElem = top.member(), top.anyName(), top.memberOdd(), top.array
			}
			stack = append(stack, next)
			if len(stack) > strictjson.MaxDepth {
				return refuse("depth")
			}
			continue
		}
		raw, err := d.ReadValue()
		if err != nil {
			return refuse(err.Error())
		}
		if isKey {
			text, _ := jsontext.AppendUnquote(nil, raw)
			top.key, top.exact = string(text), `"`+string(text)+`"` == string(raw) && ascii(text)
			lower := ""
			for _, name := range names(top) {
				if strings.EqualFold(top.key, name) {
					lower = name
				}
			}
			if lower == "" {
				top.key, top.exact = "\x00", true // a name nobody reads
				continue
			}
			wrong := !top.exact || top.key != lower
			if wrong && isFixed(top, lower) {
				return refuse("ambiguous " + lower)
			}
			if !wrong {
				if top.names[lower]++; top.names[lower] > 1 {
					return refuse("duplicate " + lower)
				}
			}
			top.key, top.exact = lower, !wrong
			continue
		}
		text := ""
		half := false
		if kind == '"' {
			b, err := jsontext.AppendUnquote(nil, raw)
			text, half = string(b), err != nil
		}
		if why := o.value(top, string(kind), text, half); why != "" {
			return refuse(why)
		}
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return refuse("trailing data")
	}
	return o
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// names returns what is read in the object l.
func names(l *level) []string {
	out := append([]string(nil), anywhere...)
	switch l.path {
	case "":
		out = append(out, "model", "stream", "stream_options", "n", "max_tokens", "tools", "prompt")
	case "stream_options":
		out = append(out, "include_usage")
	case "tools[]":
		out = append(out, "type")
	case "prompt":
		out = append(out, "id")
	}
	if !l.isElem && (l.atAny == "conversation" || l.atAny == "audio") {
		out = append(out, "id")
	}
	return out
}

func isFixed(l *level, name string) bool {
	at := name
	if l.path != "" {
		at = l.path + "." + name
	}
	_, ok := fixed[at]
	return ok || l.path == "" && name == "prompt"
}

// member returns the path of the value being read in l, or one that leads nowhere.
func (l *level) member() string {
	if l.array {
		return l.path + "[]"
	}
	if l.key == "\x00" {
		return "\x00"
	}
	if l.path == "" {
		return l.key
	}
	return l.path + "." + l.key
}

func (l *level) anyName() string {
	if l.array {
		return l.atAny
	}
	return l.key
}

func (l *level) memberOdd() bool {
	if l.array {
		return l.isOdd
	}
	return l.key != "\x00" && (!l.exact || l.isOdd)
}

// value judges one value of the container l.
func (o *oracle) value(l *level, kind, text string, half bool) string {
	at := l.member()
	if kinds, ok := fixed[at]; ok {
		if !strings.Contains(kinds, kind) {
			return "kind of " + at
		}
		if half {
			return "half a pair in " + at
		}
		if at == "model" {
			o.model = text
		}
		if at == "tools[].type" {
			o.found++
		}
	}
	matches := 0
	if kind == `"` {
		switch {
		case !l.array && (l.key == "file_id" || l.key == "conversation"):
			matches++
		case l.array && !l.isElem && l.atAny == "file_ids":
			matches++
		case !l.array && l.key == "id" && !l.isElem && (l.atAny == "conversation" || l.atAny == "audio"):
			matches++
		}
	}
	if matches == 0 {
		return ""
	}
	if l.memberOdd() {
		return "ambiguous reference"
	}
	if half {
		return "half a pair in a reference"
	}
	o.found += matches
	return ""
}
