package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/dialect/strictjson"
)

// chat is a list of fields like the one of an endpoint.
var chat = strictjson.NewSpec(
	strictjson.Field{Path: "model", Kinds: strictjson.String | strictjson.Null},
	strictjson.Field{Path: "stream", Kinds: strictjson.Bool | strictjson.Null},
	strictjson.Field{Path: "stream_options", Kinds: strictjson.Object | strictjson.Null},
	strictjson.Field{Path: "stream_options.include_usage", Kinds: strictjson.Bool | strictjson.Null},
	strictjson.Field{Path: "n", Kinds: strictjson.Number | strictjson.Null},
	strictjson.Field{Path: "max_tokens", Kinds: strictjson.Number | strictjson.Null},
	strictjson.Field{Path: "tools", Kinds: strictjson.Array | strictjson.Null},
	strictjson.Field{Path: "tools[].type", Kinds: strictjson.String},
	strictjson.Field{Path: "prompt.id", Kinds: strictjson.String},
	strictjson.Field{Path: "**.file_id", Kinds: strictjson.String},
	strictjson.Field{Path: "**.file_ids[]", Kinds: strictjson.String},
	strictjson.Field{Path: "**.conversation", Kinds: strictjson.String},
	strictjson.Field{Path: "**.conversation.id", Kinds: strictjson.String},
	strictjson.Field{Path: "**.audio.id", Kinds: strictjson.String},
)

func TestScanFinds(t *testing.T) {
	body := []byte(`{ "model":"gpt-\u0034o","stream" : true, "n":2.0e0,
		"stream_options":{"include_usage":false, "x":1},
		"tools":[{"type":"code_interpreter","container":{"file_ids":["file-1","file-2"]}},{"type":"function","function":{"parameters":
			{"properties":{"file_id":{"type":"string"},"Conversation":{"type":"object"},"model":1,"model":2,"Stream":3}}}}],
		"messages":[{"content":[{"type":"file","file":{"file_id":"file-3"}}],"audio":{"id":"audio_1"}}],
		"conversation":{"id":"conv_1"},"huge":123456789012345678901234567890e999, "odd":"\ud800 \u00e9 é"}`)
	var r strictjson.Result
	if err := strictjson.Scan(body, chat, &r); err != nil {
		t.Fatal(err)
	}
	if got, ok := r.Text(r.Span(chat.Index("model"))); !ok || got != "gpt-4o" {
		t.Errorf("model: got %q %v, want gpt-4o", got, ok)
	}
	if !r.Is(r.Span(chat.Index("model")), "gpt-4o") {
		t.Error("Is(model, gpt-4o) is false")
	}
	if !r.True(r.Span(chat.Index("stream"))) {
		t.Error("stream is not true")
	}
	if got, ok := r.Int(r.Span(chat.Index("n"))); !ok || got != 2 {
		t.Errorf("n: got %d %v, want 2", got, ok)
	}
	if got := r.Span(chat.Index("max_tokens")); got != (strictjson.Span{}) {
		t.Errorf("max_tokens: got %+v, want a zero Span", got)
	}
	if got := string(r.Raw(r.Span(chat.Index("stream_options")))); got != `{"include_usage":false, "x":1}` {
		t.Errorf("stream_options: got %s", got)
	}
	type found struct{ path, text string }
	paths := []string{"tools[].type", "**.file_id", "**.file_ids[]", "**.conversation", "**.conversation.id", "**.audio.id"}
	var got []found
	for _, f := range r.Found {
		text, _ := r.Text(f.Span)
		for _, p := range paths {
			if chat.Index(p) == f.Field {
				got = append(got, found{p, text})
			}
		}
	}
	want := []found{{"tools[].type", "code_interpreter"}, {"**.file_ids[]", "file-1"}, {"**.file_ids[]", "file-2"},
		{"tools[].type", "function"}, {"**.file_id", "file-3"}, {"**.audio.id", "audio_1"}, {"**.conversation.id", "conv_1"}}
	if len(got) != len(want) {
		t.Fatalf("found: got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("found %d: got %v, want %v", i, got[i], want[i])
		}
	}
}

func TestScanRefuses(t *testing.T) {
	deep := func(n int) string { return `{"x":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}` }
	cases := []struct{ name, body, code, param string }{
		{"empty", ``, "invalid_json", ""},
		{"white space", " \n", "invalid_json", ""},
		{"array", `[]`, "invalid_json", ""},
		{"byte order mark", "\ufeff{}", "invalid_json", ""},
		{"two objects", `{"model":"a"}{"model":"b"}`, "invalid_json", ""},
		{"trailing comma", `{"model":"a",}`, "invalid_json", ""},
		{"trailing comma in array", `{"x":[1,]}`, "invalid_json", ""},
		{"no comma", `{"a":1 "b":2}`, "invalid_json", ""},
		{"no colon", `{"a" 1}`, "invalid_json", ""},
		{"wrong bracket", `{"a":[1}}`, "invalid_json", ""},
		{"bare word", `{"a":nil}`, "invalid_json", ""},
		{"single quotes", `{'a':1}`, "invalid_json", ""},
		{"comment", `{/**/"a":1}`, "invalid_json", ""},
		{"ends in key", `{"a`, "invalid_json", ""},
		{"ends in string", `{"a":"b`, "invalid_json", ""},
		{"ends in escape", `{"a":"b\`, "invalid_json", ""},
		{"ends in object", `{"a":1`, "invalid_json", ""},
		{"ends after opening", `{"a":[`, "invalid_json", ""},
		{"control character", "{\"a\":\"0123456789012345678901234567890\n\"}", "invalid_json", ""},
		{"control character in key", "{\"a\t\":1}", "invalid_json", ""},
		{"unknown escape", `{"a":"\x41"}`, "invalid_json", ""},
		{"short escape", `{"a":"\u00e"}`, "invalid_json", ""},
		{"leading zero", `{"a":01}`, "invalid_json", ""},
		{"plus", `{"a":+1}`, "invalid_json", ""},
		{"bare point", `{"a":1.}`, "invalid_json", ""},
		{"bare exponent", `{"a":1e}`, "invalid_json", ""},
		{"minus", `{"a":-}`, "invalid_json", ""},
		{"infinity", `{"a":-Infinity}`, "invalid_json", ""},
		{"form feed", "{\f}", "invalid_json", ""},
		{"lone continuation", "{\"a\":\"\x80\"}", "invalid_json", ""},
		{"overlong", "{\"a\":\"\xc0\xaf\"}", "invalid_json", ""},
		{"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", "invalid_json", ""},
		{"beyond Unicode", "{\"a\":\"\xf4\x90\x80\x80\"}", "invalid_json", ""},
		{"cut rune", "{\"a\":\"\xe2\x82\"}", "invalid_json", ""},
		{"bad UTF-8 in key", "{\"\xff\":1}", "invalid_json", ""},
		{"too deep", deep(strictjson.MaxDepth + 1), "invalid_json", ""},
		{"half a pair in model", `{"model":"a\ud800"}`, "invalid_json", "model"},

		{"model twice", `{"model":"a","x":{},"model":"b"}`, "duplicate_field", "model"},
		{"model twice, null", `{"model":null,"model":"b"}`, "duplicate_field", "model"},
		{"include_usage twice", `{"stream_options":{"include_usage":true,"include_usage":true}}`, "duplicate_field", "stream_options.include_usage"},
		{"tool type twice", `{"tools":[{"type":"a","type":"b"}]}`, "duplicate_field", "tools[].type"},
		{"file_id twice", `{"m":[{"file_id":"a","file_id":"b"}]}`, "duplicate_field", "file_id"},
		{"prompt twice", `{"prompt":{"id":"a"},"prompt":{}}`, "duplicate_field", "prompt"},

		{"case", `{"Model":"a"}`, "ambiguous_field", "model"},
		{"upper case", `{"MODEL":"a","model":"b"}`, "ambiguous_field", "model"},
		{"escape", `{"mo\u0064el":"a"}`, "ambiguous_field", "model"},
		{"escaped case", `{"\u004dodel":"a"}`, "ambiguous_field", "model"},
		{"long s", `{"ſtream":true}`, "ambiguous_field", "stream"},
		{"escaped long s", `{"\u017ftream":true}`, "ambiguous_field", "stream"},
		{"Kelvin sign", `{"max_to` + "\u212a" + `ens":1}`, "ambiguous_field", "max_tokens"},
		{"reference in another case", `{"m":[{"File_ID":"file-1"}]}`, "ambiguous_field", "file_id"},
		{"reference below another case", `{"m":[{"Conversation":{"id":"conv_1"}}]}`, "ambiguous_field", "conversation.id"},
		{"references in another case", `{"m":[{"file_IDs":["file-1"]}]}`, "ambiguous_field", "file_ids[]"},
		{"below an ambiguous tool", `{"tools":[{"Type":"x"}]}`, "ambiguous_field", "tools[].type"},

		{"model number", `{"model":1}`, "invalid_type", "model"},
		{"model array", `{"model":["a"]}`, "invalid_type", "model"},
		{"stream text", `{"stream":"true"}`, "invalid_type", "stream"},
		{"tools object", `{"tools":{}}`, "invalid_type", "tools"},
		{"tool type number", `{"tools":[{"type":1}]}`, "invalid_type", "tools[].type"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var r strictjson.Result
			err := strictjson.Scan([]byte(c.body), chat, &r)
			e, ok := errors.AsType[*gatehouse.Error](err)
			if !ok {
				t.Fatalf("got %v, want a *gatehouse.Error", err)
			}
			if e.Kind != gatehouse.Invalid || e.Code != c.code || e.Param != c.param {
				t.Errorf("got %v %s %q (%s), want invalid %s %q", e.Kind, e.Code, e.Param, e.Message, c.code, c.param)
			}
		})
	}
}

func TestScanPasses(t *testing.T) {
	cases := []struct{ name, body string }{
		{"empty object", ` { } `},
		{"names deeper down", `{"metadata":{"model":"a","Model":"b","model":"c"},"x":[{"stream":1,"n":"x"}]}`},
		{"unknown twice", `{"x":1,"x":2,"X":3,"\u0078":4}`},
		{"half a pair not read", `{"x":"\udc00\ud800","y":{"\ud800":1}}`},
		{"numbers", `{"a":-0,"b":1E+400,"c":0.000000000000000000000000001,"d":99999999999999999999999999999999}`},
		{"nulls", `{"model":null,"stream":null,"stream_options":null,"n":null,"tools":null}`},
		{"deepest", `{"x":` + strings.Repeat("[", strictjson.MaxDepth-1) + strings.Repeat("]", strictjson.MaxDepth-1) + `}`},
		{"prefixes of names", `{"mode":1,"modell":2,"mod":{"e":3},"fileid":4,"stream_option":5}`},
		{"schema with names of references", `{"tools":[{"type":"function","p":{"file_id":{},"File_Ids":{"a":[]},"file_ids":"x","Audio":{"ids":1}}}]}`},
		{"DEL and separators", "{\"a\":\"\x7f\u2028\u2029\u0085\"}"},
		{"every length of rune", `{"a":"aé€😀` + strings.Repeat("日本語", 30) + `"}`},
		{"empty key", `{"":1}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var r strictjson.Result
			if err := strictjson.Scan([]byte(c.body), chat, &r); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestInt(t *testing.T) {
	cases := []struct {
		raw  string
		want int64
		ok   bool
	}{
		{"0", 0, true}, {"-0", 0, true}, {"1", 1, true}, {"-17", -17, true}, {"2.0", 2, true}, {"0.2e1", 2, true}, {"20e-1", 2, true},
		{"0.0", 0, true}, {"1e3", 1000, true}, {"100", 100, true}, {"1.50e1", 15, true}, {"9223372036854775807", 1<<63 - 1, true},
		{"-9223372036854775808", -1 << 63, true}, {"9223372036854775808", 0, false}, {"1.5", 0, false}, {"1e400", 0, false},
		{"1e-1", 0, false}, {"1e99999999999999999999", 0, false}, {"3.00000000000000000000000000", 3, true},
		{"3.00000000000000000000000001", 0, false}, {"100000000000000000000000", 0, false},
	}
	var r strictjson.Result
	for _, c := range cases {
		if err := strictjson.Scan([]byte(`{"n":`+c.raw+`}`), chat, &r); err != nil {
			t.Fatal(err)
		}
		if got, ok := r.Int(r.Span(chat.Index("n"))); got != c.want || ok != c.ok {
			t.Errorf("%s: got %d %v, want %d %v", c.raw, got, ok, c.want, c.ok)
		}
	}
}

func TestSplice(t *testing.T) {
	both := strictjson.Changes{Model: "m2", IncludeUsage: true}
	cases := []struct {
		name, body string
		changes    strictjson.Changes
		want       string
	}{
		{"nothing", ` {"model" : "a"} `, strictjson.Changes{}, ` {"model" : "a"} `},
		{"model", ` {"x":1, "model" : "a" ,"y":2} `, strictjson.Changes{Model: "b"}, ` {"x":1, "model" : "b" ,"y":2} `},
		{"model needs escapes", `{"model":"a"}`, strictjson.Changes{Model: "a\"\\\n\x1fé"}, `{"model":"a\"\\\u000a\u001fé"}`},
		{"model was null", `{"model":null}`, strictjson.Changes{Model: "b"}, `{"model":"b"}`},
		{"no model", `{"x":1}`, strictjson.Changes{Model: "b"}, `{"model":"b","x":1}`},
		{"no model, spaced", "{\n \"x\":1}", strictjson.Changes{Model: "b"}, "{\"model\":\"b\",\n \"x\":1}"},
		{"no model in nothing", `{ }`, strictjson.Changes{Model: "b"}, `{"model":"b" }`},
		{"usage", `{"x":1}`, strictjson.Changes{IncludeUsage: true}, `{"stream_options":{"include_usage":true},"x":1}`},
		{"usage in options", `{"stream_options":{"a":1}}`, strictjson.Changes{IncludeUsage: true}, `{"stream_options":{"include_usage":true,"a":1}}`},
		{"usage in empty options", `{"stream_options":{ }}`, strictjson.Changes{IncludeUsage: true}, `{"stream_options":{"include_usage":true }}`},
		{"usage false", `{"stream_options":{"include_usage": false}}`, strictjson.Changes{IncludeUsage: true}, `{"stream_options":{"include_usage": true}}`},
		{"usage null", `{"stream_options":{"include_usage":null}}`, strictjson.Changes{IncludeUsage: true}, `{"stream_options":{"include_usage":true}}`},
		{"usage true", `{"stream_options":{"include_usage":true}}`, strictjson.Changes{IncludeUsage: true}, `{"stream_options":{"include_usage":true}}`},
		{"options null", `{"stream_options": null,"x":1}`, strictjson.Changes{IncludeUsage: true}, `{"stream_options": {"include_usage":true},"x":1}`},
		{"both", `{"stream_options":{},"model":"m"}`, both, `{"stream_options":{"include_usage":true},"model":"m2"}`},
		{"both, other order", `{"model":"m","stream_options":{}}`, both, `{"model":"m2","stream_options":{"include_usage":true}}`},
		{"both new", `{"x":1}`, both, `{"model":"m2","stream_options":{"include_usage":true},"x":1}`},
		{"both new in nothing", `{}`, both, `{"model":"m2","stream_options":{"include_usage":true}}`},
		{"model new, options there", `{"stream_options":{"a":{}}}`, both, `{"model":"m2","stream_options":{"include_usage":true,"a":{}}}`},
	}
	var r strictjson.Result
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := strictjson.Scan([]byte(c.body), chat, &r); err != nil {
				t.Fatal(err)
			}
			got := bytes.Join(r.Splice(nil, c.changes), nil)
			if string(got) != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if !json.Valid(got) {
				t.Errorf("not JSON: %s", got)
			}
		})
	}
}

// TestSpliceTier changes the service tier too: what is inserted in one place, or at the beginning of nothing, stays apart.
func TestSpliceTier(t *testing.T) {
	text := strictjson.String | strictjson.Null
	spec := strictjson.NewSpec(strictjson.Field{Path: "model", Kinds: text}, strictjson.Field{Path: "service_tier", Kinds: text},
		strictjson.Field{Path: "stream_options", Kinds: strictjson.Object | strictjson.Null}, strictjson.Field{Path: "stream_options.include_usage", Kinds: strictjson.Bool | strictjson.Null})
	all := strictjson.Changes{Model: "m2", IncludeUsage: true, ServiceTier: "priority"}
	var r strictjson.Result
	for body, want := range map[string]string{
		`{}`: `{"model":"m2","stream_options":{"include_usage":true},"service_tier":"priority"}`,
		`{"service_tier":"auto","stream_options":{},"model":"m"}`: `{"service_tier":"priority","stream_options":{"include_usage":true},"model":"m2"}`,
		`{"x":1,"service_tier":null}`:                             `{"model":"m2","stream_options":{"include_usage":true},"x":1,"service_tier":"priority"}`,
		`{"stream_options":{"a":1},"model":"m"}`:                  `{"service_tier":"priority","stream_options":{"include_usage":true,"a":1},"model":"m2"}`,
		`{"model":"m","service_tier":"auto"}`:                     `{"stream_options":{"include_usage":true},"model":"m2","service_tier":"priority"}`,
	} {
		if err := strictjson.Scan([]byte(body), spec, &r); err != nil {
			t.Fatal(err)
		}
		if got := string(bytes.Join(r.Splice(nil, all), nil)); got != want {
			t.Errorf("%s: got %s, want %s", body, got, want)
		}
	}
}

func TestScanAllocatesNothing(t *testing.T) {
	body := request(2048)
	var r strictjson.Result
	segments := make([][]byte, 0, 8)
	allocs := testing.AllocsPerRun(100, func() {
		if err := strictjson.Scan(body, chat, &r); err != nil {
			t.Fatal(err)
		}
		segments = r.Splice(segments[:0], strictjson.Changes{Model: "gpt-4o-eu", IncludeUsage: true})
	})
	if allocs != 0 {
		t.Errorf("got %v allocations, want 0", allocs)
	}
}

// request builds a chat request of about size bytes, as an SDK sends it.
func request(size int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"model":"gpt-4o","stream":true,"temperature":0.7,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}],"messages":[{"role":"system","content":"You are a helpful assistant."}`)
	turn := `,{"role":"user","content":"` + strings.Repeat(`Tell me about the sea,\n and say \"hello\" to everyone you meet there. `, 8) + `"}`
	for b.Len()+len(turn) < size {
		b.WriteString(turn)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

// upload builds a request whose weight is one long string, as an image in base64 makes it.
func upload(size int) []byte {
	return []byte(`{"model":"gpt-4o","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` +
		strings.Repeat("iVBORw0KGgoAAAANSUhEUgAA", size/24) + `"}}]}]}`)
}

// TestScanEveryByte holds that each byte is seen at each place of a long string, of which eight and more are looked at together.
func TestScanEveryByte(t *testing.T) {
	const key, size = `{"x":"`, 300
	body := []byte(key + strings.Repeat("a", size) + `"}`)
	var r strictjson.Result
	for at := len(key); at < len(key)+size; at++ {
		for c := range 256 {
			body[at] = byte(c)
			refuse := c < ' ' || c == '"' || c == '\\' || c > '~'+1 // \a is no escape
			if err := strictjson.Scan(body, chat, &r); (err != nil) != refuse {
				t.Errorf("byte %#x at %d: got %v, want it refused: %v", c, at, err, refuse)
			}
		}
		body[at] = 'a'
	}
}
