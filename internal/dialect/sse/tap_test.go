package sse_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/dialect/sse"
	"gatehouse/internal/dialect/usage"
)

// load reads a stream of testdata; "{{n}}" in it stands for n characters of base64.
func load(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "streams", name))
	if err != nil {
		tb.Fatal(err)
	}
	return regexp.MustCompile(`\{\{\d+\}\}`).ReplaceAllFunc(b, func(m []byte) []byte {
		n, err := strconv.Atoi(string(m[2 : len(m)-2]))
		if err != nil {
			tb.Fatal(err)
		}
		return bytes.Repeat([]byte("iVBORw0KGgo+"), n/12+1)[:n]
	})
}

// outcome is what came out of a tap.
type outcome struct {
	out    []byte
	before int // bytes of out in front of the final emission; -1 when there was none
	finals int
	sum    sse.Summary
}

// run feeds a stream in pieces of a size (0: at once) through a tap.
func run(tb testing.TB, tap *sse.Tap, o sse.Options, in []byte, size int) outcome {
	tb.Helper()
	tap.Reset(o)
	r := outcome{before: -1}
	emit := func(b []byte, final bool) error {
		if len(b) == 0 {
			tb.Error("empty emission")
		}
		if final {
			r.finals++
			r.before = len(r.out)
		}
		r.out = append(r.out, b...)
		return nil
	}
	if size == 0 {
		size = max(len(in), 1)
	}
	for piece := range slices.Chunk(in, size) {
		if err := tap.Feed(bytes.Clone(piece), emit); err != nil {
			tb.Fatal(err)
		}
	}
	if err := tap.Close(emit); err != nil {
		tb.Fatal(err)
	}
	r.sum = tap.Summary()
	if r.finals > 1 {
		tb.Errorf("%d final emissions", r.finals)
	}
	return r
}

var streams = []struct {
	name, golden string // golden is empty where the stream passes as it is
	options      sse.Options
	last         string // the beginning of the event that must wait for settlement; for images of what completes it
	want         sse.Summary
}{
	{name: "chat.sse", options: sse.Options{Shape: usage.Chat}, last: "data: [DONE]", want: chatSummary},
	{name: "chat.sse", golden: "chat.hidden.golden", options: sse.Options{Shape: usage.Chat, HideUsageChunk: true}, last: "data: [DONE]", want: chatSummary},
	{name: "azure.sse", options: sse.Options{Shape: usage.Chat}, last: "data: [DONE]", want: azureSummary},
	{name: "azure.sse", golden: "azure.fixed.golden", options: sse.Options{Shape: usage.Chat, FixAzure: true}, last: "data: [DONE]", want: azureSummary},
	{name: "responses.sse", options: sse.Options{Shape: usage.Responses, Hands: usage.MadeInside, HideUsageChunk: true, FixAzure: true}, last: "event: response.completed", want: sse.Summary{
		Units: gatehouse.Units{Input: 37, Cached: 4, Output: 11, Reasoning: 6}, Reported: true, ID: "resp_67c9fdce", Model: "gpt-5-2025-08-07",
		ServiceTier: "default", Status: "completed", Made: []sse.Made{{Kind: usage.MadeItem, ID: "msg_67c9fdcf"}}, TextBytes: 8, Events: 9, Ended: true}},
	{name: "images.sse", options: sse.Options{Shape: usage.Images}, last: "\n\n", want: sse.Summary{
		Units:    gatehouse.Units{Input: 100, InputText: 20, InputImage: 80, Output: 110, OutputImage: 110, Images: 2},
		Reported: true, Size: "1024x1024", Quality: "high", Events: 3, Ended: true}},
	{name: "tools.sse", options: sse.Options{Shape: usage.Responses, Hands: usage.MadeContainer}, last: "event: response.completed", want: sse.Summary{
		Units: gatehouse.Units{Input: 37, Output: 11, WebSearchPreviews: 1, Containers: 1}, Reported: true, ID: "resp_t", Model: "gpt-5-2025-08-07",
		Status: "completed", Made: []sse.Made{{Kind: usage.MadeContainer, ID: "cntr_1"}}, Events: 6, Ended: true}},
	{name: "transcription.sse", options: sse.Options{Shape: usage.Transcription}, last: `data: {"type":"transcript.text.done"`, want: sse.Summary{
		Units: gatehouse.Units{Input: 14, InputAudio: 14, Output: 45}, Reported: true, TextBytes: 5, Events: 3, Ended: true}},
	{name: "speech.sse", options: sse.Options{Shape: usage.Speech}, last: `data: {"type":"speech.audio.done"`, want: sse.Summary{
		Units: gatehouse.Units{Input: 14, Output: 101, OutputAudio: 101}, Reported: true, Events: 3, Ended: true}},
	{name: "run.sse", options: sse.Options{Shape: usage.Run}, last: "event: thread.run.completed", want: sse.Summary{
		Units: gatehouse.Units{Input: 20, Output: 11}, Reported: true, ID: "run_123", Model: "gpt-4o", Status: "completed", TextBytes: 5, Events: 6, Ended: true}},
	{name: "error.sse", options: sse.Options{Shape: usage.Chat, HideUsageChunk: true}, last: `data: {"error"`, want: sse.Summary{
		ID: "chatcmpl-1", Model: "m", TextBytes: 3, Events: 3, Ended: true, Failed: true}},
	{name: "responses_error.sse", options: sse.Options{Shape: usage.Responses}, last: "event: error", want: sse.Summary{TextBytes: 2, Events: 2, Ended: true, Failed: true}},
}

var (
	chatSummary = sse.Summary{Units: gatehouse.Units{Input: 19, Cached: 16, Output: 10, Reasoning: 2}, Reported: true, ID: "chatcmpl-9nSGuLQG",
		Model: "gpt-4o-mini-2024-07-18", ServiceTier: "default", TextBytes: 37, Events: 6, Ended: true}
	azureSummary = sse.Summary{Units: gatehouse.Units{Input: 12, Output: 3}, Reported: true, ID: "chatcmpl-az1", Model: "gpt-4o-2024-08-06",
		TextBytes: 8, Events: 8, Ended: true}
)

func TestStreams(t *testing.T) {
	for _, c := range streams {
		in := load(t, c.name)
		want := in
		if c.golden != "" {
			want = load(t, c.golden)
		}
		for _, ends := range []string{"\n", "\r\n", "\r"} {
			t.Run(fmt.Sprintf("%s hide=%v fix=%v %q", c.name, c.options.HideUsageChunk, c.options.FixAzure, ends), func(t *testing.T) {
				in, want := bytes.ReplaceAll(in, []byte("\n"), []byte(ends)), bytes.ReplaceAll(want, []byte("\n"), []byte(ends))
				last := strings.ReplaceAll(c.last, "\n", ends)
				var tap sse.Tap
				sizes := []int{0, 1, 2, 3, 5, 7, 64, 100, 255, 1000, 1500, 4096, 16 << 10, 64 << 10, 100 << 10}
				for _, size := range sizes {
					got := run(t, &tap, c.options, in, size)
					if !bytes.Equal(got.out, want) {
						t.Fatalf("pieces of %d: got %s\nwant %s", size, cut(got.out), cut(want))
					}
					if !same(got.sum, c.want) {
						t.Fatalf("pieces of %d: got %+v\nwant %+v", size, got.sum, c.want)
					}
					if got.before < 0 || !bytes.HasPrefix(got.out[got.before:], []byte(last)) {
						t.Fatalf("pieces of %d: the final emission begins at %d of %d, want it at %q", size, got.before, len(got.out), last)
					}
				}
			})
		}
	}
}

func same(a, b sse.Summary) bool { return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b) }

func cut(b []byte) []byte {
	if len(b) > 4000 {
		return append(bytes.Clone(b[:4000]), "..."...)
	}
	return b
}

func TestFraming(t *testing.T) {
	hide := sse.Options{Shape: usage.Chat, HideUsageChunk: true}
	fix := sse.Options{Shape: usage.Chat, FixAzure: true}
	const counted = `{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}`
	cases := []struct {
		name    string
		options sse.Options
		in, out string
		final   string // what the final emission begins with; empty: none
		counted bool
		events  int64
	}{
		{"no space", hide, "data:" + counted + "\n\ndata:[DONE]\n\n", "data:[DONE]\n\n", "data:[DONE]", true, 2},
		{"data in lines", hide, "data: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":1,\ndata:\"completion_tokens\":2}}\n\ndata: [DONE]\n\n", "data: [DONE]\n\n", "data: [DONE]", true, 2},
		{"event behind data", hide, "data: {\"x\":1}\nevent: error\nid: 7\nretry: 5\n\n", "data: {\"x\":1}\nevent: error\nid: 7\nretry: 5\n\n", "data: {", false, 1},
		{"byte order mark", hide, "\ufeffdata: " + counted + "\n\ndata: x\n\n", "data: x\n\n", "", true, 2},
		{"comments", hide, ": a\n:\n\n:b\ndata: x\n: c\n\n", ": a\n:\n\n:b\ndata: x\n: c\n\n", "", false, 1},
		{"mixed ends", hide, "data: x\r\n\ndata: " + counted + "\r\rdata: y\n\r\ndata: [DONE]\r\r\n", "data: x\r\n\ndata: y\n\r\ndata: [DONE]\r\r\n", "data: [DONE]", true, 4},
		{"no end", hide, "data: x\n\ndata: [DONE]", "data: x\n\ndata: [DONE]", "data: [DONE]", false, 2},
		{"no end, hidden", hide, "data: x\n\ndata: " + counted, "data: x\n\n", "", true, 2},
		{"one end", hide, "data: x\n\ndata: [DONE]\n", "data: x\n\ndata: [DONE]\n", "data: [DONE]", false, 2},
		{"choices and usage", hide, `data: {"choices":[{"delta":{}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}` + "\n\n", `data: {"choices":[{"delta":{}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}` + "\n\n", "", true, 1},
		{"no choices and null usage", hide, "data: {\"choices\":[],\"usage\":null}\n\n", "data: {\"choices\":[],\"usage\":null}\n\n", "", false, 1},
		{"usage without choices", hide, "data: {\"usage\":{\"prompt_tokens\":1}}\n\n", "data: {\"usage\":{\"prompt_tokens\":1}}\n\n", "", true, 1},
		{"nothing to fix", fix, "data: {\"choices\":[]}\n\n", "data: {\"choices\":[]}\n\n", "", false, 1},
		{"usage with filters", fix, `data: {"choices":[],"prompt_filter_results":[],"usage":{"prompt_tokens":1}}` + "\n\n", `data: {"choices":[],"prompt_filter_results":[],"usage":{"prompt_tokens":1}}` + "\n\n", "", true, 1},
		{"old name", fix, `data: {"prompt_annotations":[],"choices":[]}` + "\n\n", "", "", false, 1},
		{"delta in lines", fix, "id: 1\ndata: {\"choices\":[\ndata: {\"index\":0}\ndata:]}\r\nevent: x\n\n", "id: 1\ndata: {\"choices\":[\ndata: {\"delta\":{},\"index\":0}\ndata: ]}\nevent: x\n\n", "", false, 1},
		{"delta in bad JSON", fix, "data: {\"choices\":[{\"index\":0}],}\n\n", "data: {\"choices\":[{\"index\":0}],}\n\n", "", false, 1},
		{"unknown lines", hide, "dat\ndata\ndatax: [DONE]\nDATA: [DONE]\n\nx\n\n", "dat\ndata\ndatax: [DONE]\nDATA: [DONE]\n\nx\n\n", "", false, 1},
		{"done is a prefix", hide, "data: [DONE] \n\n", "data: [DONE] \n\n", "data: [DONE]", false, 1},
		{"not done", hide, "data: [DON]\n\n", "data: [DON]\n\n", "", false, 1},
		{"second end", hide, "data: [DONE]\n\ndata: [DONE]\n\n", "data: [DONE]\n\ndata: [DONE]\n\n", "data: [DONE]", false, 2},
		{"type without a name", hide, "data: {\"type\":\"response.completed\"}\n\n", "data: {\"type\":\"response.completed\"}\n\n", "data: {", false, 1},
		{"null error", hide, "data: {\"error\":null}\n\n", "data: {\"error\":null}\n\n", "", false, 1},
		{"empty", hide, "", "", "", false, 0},
		{"blank lines", hide, "\n\r\n\n\r\r", "\n\r\n\n\r\r", "", false, 0},
		{"image, then an error", hide, "data: {\"type\":\"image_edit.completed\"}\n\n:\n\ndata: {\"error\":{}}\n\n", "data: {\"type\":\"image_edit.completed\"}\n\n:\n\ndata: {\"error\":{}}\n\n", "\n\n:\n\ndata: {\"error\"", false, 2},
		{"image and a comment", hide, "data: {\"type\":\"image_edit.completed\"}\r\n\r\n:\r\n\r\n", "data: {\"type\":\"image_edit.completed\"}\r\n\r\n:\r\n\r\n", "\r\n\r\n:\r\n\r\n", false, 1},
		{"image and a hidden chunk", hide, "data: {\"type\":\"image_edit.completed\"}\r\rdata: " + counted + "\r\n\r\n", "data: {\"type\":\"image_edit.completed\"}\r\r", "\r\r", true, 2},
		{"image without an end", hide, "data: {\"type\":\"image_edit.completed\"}\n", "data: {\"type\":\"image_edit.completed\"}\n", "data:", false, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var tap sse.Tap
			for size := range len(c.in) + 1 {
				got := run(t, &tap, c.options, []byte(c.in), size)
				if string(got.out) != c.out {
					t.Fatalf("pieces of %d: got %q, want %q", size, got.out, c.out)
				}
				if got.sum.Reported != c.counted || got.sum.Events != c.events {
					t.Errorf("pieces of %d: got reported %v and %d events, want %v and %d", size, got.sum.Reported, got.sum.Events, c.counted, c.events)
				}
				switch {
				case c.final == "" && got.finals > 0:
					t.Errorf("pieces of %d: a final emission at %d", size, got.before)
				case c.final != "" && (got.finals == 0 || !bytes.HasPrefix(got.out[got.before:], []byte(c.final))):
					t.Errorf("pieces of %d: the final emission is %q at %d, want %q", size, got.out[max(got.before, 0):], got.before, c.final)
				}
			}
		})
	}
}

// TestPrompt checks that nothing that is complete waits, and that little waits of what is not.
func TestPrompt(t *testing.T) {
	var tap sse.Tap
	tap.Reset(sse.Options{Shape: usage.Responses})
	var out []byte
	var final bool
	emit := func(b []byte, f bool) error {
		out, final = append(out, b...), final || f
		return nil
	}
	feed := func(in, want string) {
		t.Helper()
		out = nil
		if err := tap.Feed([]byte(in), emit); err != nil {
			t.Fatal(err)
		}
		if string(out) != want {
			t.Fatalf("after %.40q: got %.80q (%d bytes), want %.80q (%d bytes)", in, out, len(out), want, len(want))
		}
	}
	feed(": alive\n", ": alive\n")
	feed("data: {}\n", "")
	feed("\ndata: {\"a", "data: {}\n\n")
	feed("\":1}\n\n: x\n", "data: {\"a\":1}\n\n: x\n")
	big := strings.Repeat("x", sse.MaxEvent)
	feed(`data: {"type":"response.completed","b64":"`+big, `data: {"type":"response.completed","b64":"`+big)
	feed(big, big)
	feed("\"}", "\"}")
	feed("\r", "")
	feed("\n", "")
	feed("id: 1\n", "\r\nid: 1")
	if final {
		t.Fatal("final before the event's end")
	}
	feed("\n", "\n\n")
	if !final {
		t.Fatal("not final at the event's end")
	}
}

// TestCut checks that a stream that breaks off is not taken for one that ended.
func TestCut(t *testing.T) {
	for _, c := range []struct {
		in    string
		ended bool
	}{
		{"data: {\"type\":\"response.completed\",\"response\":{\"id\"", false},
		{"data: {\"type\":\"response.completed\"}", true},
		{"data: {\"type\":\"image_edit.completed\",\"b64_json\":\"iV", false},
		{"data: [DON", false},
		{"data: [DONE]", true},
		{"data: {}\n\n", false},
		{"data: [DONE]\n\ndata: {\"x", true},
	} {
		var tap sse.Tap
		for size := range len(c.in) {
			got := run(t, &tap, sse.Options{Shape: usage.Images}, []byte(c.in), size)
			if got.sum.Reported {
				t.Fatalf("%s: pieces of %d: reported %+v", c.in, size, got.sum.Units)
			}
			if got.sum.Ended != c.ended || string(got.out) != c.in {
				t.Fatalf("%s: pieces of %d: got ended %v, %q; want %v", c.in, size, got.sum.Ended, got.out, c.ended)
			}
		}
	}
}

func TestFeedReturnsTheErrorOfEmit(t *testing.T) {
	broken := errors.New("connection reset")
	var tap sse.Tap
	for _, in := range []string{"data: x\n\n", "data: [DONE]\n\n", ": c\n", "data: {\"type\":\"image_edit.completed\"}\n\n", "data: " + strings.Repeat("x", 70<<10)} {
		tap.Reset(sse.Options{})
		if err := tap.Feed([]byte(in), func([]byte, bool) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("%.20q: got %v, want %v", in, err, broken)
		}
	}
}

func TestTapAllocatesNothing(t *testing.T) {
	chunk := chunkOf(300)
	var tap sse.Tap
	tap.Reset(sse.Options{Shape: usage.Chat, HideUsageChunk: true, FixAzure: true})
	emit := func([]byte, bool) error { return nil }
	allocs := testing.AllocsPerRun(200, func() {
		for _, piece := range [][]byte{chunk, chunk[:100], chunk[100:]} {
			if err := tap.Feed(piece, emit); err != nil {
				t.Fatal(err)
			}
		}
	})
	if allocs != 0 {
		t.Errorf("got %v allocations an event, want 0", allocs)
	}
}

// chunkOf builds a chat chunk of about size bytes.
func chunkOf(size int) []byte {
	head := `data: {"id":"chatcmpl-9nSGuLQGV8mbzXiGcYBgK5mTDAPPA","object":"chat.completion.chunk","created":1721596428,"model":"gpt-4o-mini-2024-07-18","system_fingerprint":"fp_44132a4de3","choices":[{"index":0,"delta":{"content":"`
	tail := `"},"logprobs":null,"finish_reason":null}],"usage":null}` + "\n\n"
	return []byte(head + strings.Repeat("x", max(size-len(head)-len(tail), 1)) + tail)
}

// TestCutStreamsShowTools keeps the calls of hosted tools of a stream that breaks off before it says what it used.
func TestCutStreamsShowTools(t *testing.T) {
	in := load(t, "tools.sse")
	in = in[:bytes.Index(in, []byte("event: response.completed"))]
	var tap sse.Tap
	got := run(t, &tap, sse.Options{Shape: usage.Responses, Hands: usage.MadeContainer}, in, 100)
	if want := (gatehouse.Units{WebSearchPreviews: 1, Containers: 1}); got.sum.Units != want || got.sum.Reported {
		t.Errorf("units = %+v, reported %v; want %+v, unreported", got.sum.Units, got.sum.Reported, want)
	}
}
