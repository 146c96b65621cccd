package usage_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/dialect/usage"
)

var answers = []struct {
	name, body string
	shape      usage.Shape
	want       gatehouse.Units
	id, model  string
	text       int64
	choices    int
	made       []string
}{
	{
		name: "chat", shape: usage.Chat,
		body: `{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant",
			"content":"the \"usage\":{\"prompt_tokens\":999} \\","refusal":null,"audio":{"id":"audio_1","data":"` + strings.Repeat("QUJD", 50) + `"}},"logprobs":null,"finish_reason":"stop"},{"index":1,"message":{"content":"two"}}],
			"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21},"service_tier":"default"}`,
		want: gatehouse.Units{Input: 9, Output: 12}, id: "chatcmpl-1", model: "gpt-4o-2024-08-06", text: 43, choices: 2, made: []string{"item audio_1"},
	},
	{
		name: "responses", shape: usage.Responses,
		body: `{ "id" : "resp_1" , "model":"gpt-5","status":"completed","error":null,"output":[{"id":"msg_1","type":"message","content":[{"type":"output_text","text":"hello"}]},
			{"id":"ci_1","type":"code_interpreter_call","container_id":"cntr_1","code":"x"}],"metadata":{"usage":{"input_tokens":1}},"usage":{"input_tokens":3,"output_tokens":4}}`,
		want: gatehouse.Units{Input: 3, Output: 4, Containers: 1}, id: "resp_1", model: "gpt-5", text: 5, made: []string{"item msg_1", "item ci_1", "container cntr_1"},
	},
	{
		name: "hosted tools", shape: usage.Responses,
		body: `{"id":"resp_2","object":"response","model":"gpt-5","status":"completed","tools":[{"type":"web_search"},{"type":"file_search","vector_store_ids":["vs_1"]}],
			"output":[{"type":"web_search_call","status":"completed","action":{"type":"search","query":"web_search_call"}},
			{"type":"web_search_call","action":{"type":"open_page","url":"https://example.com/"}},{"type":"web_search_call"},
			{"type":"file_search_call","queries":["a","b"]},{"type":"message","content":[{"type":"output_text","text":"hi"}]},
			{"type":["web_search_call"]},{"type":"web_search_call_that_is_none"}],"usage":{"input_tokens":3,"output_tokens":4}}`,
		want: gatehouse.Units{Input: 3, Output: 4, WebSearches: 2, FileSearches: 1}, id: "resp_2", model: "gpt-5", text: 2,
	},
	{
		name: "the preview of a hosted tool, in a line of a batch", shape: usage.Responses,
		body: `{"response":{"body":{"model":"gpt-4.1","tools":[{"type":"web_search_preview"}],"output":[{"type":"web_search_call","action":{"type":"search"}}],
			"usage":{"input_tokens":3,"output_tokens":4}}}}`,
		want: gatehouse.Units{Input: 3, Output: 4, WebSearchPreviews: 1}, model: "gpt-4.1",
	},
	{
		name: "a chat model that searches", shape: usage.Chat,
		body: `{"model":"gpt-4o-search-preview-2025-03-11","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}`,
		want: gatehouse.Units{Input: 3, Output: 4, WebSearchPreviews: 1}, model: "gpt-4o-search-preview-2025-03-11",
	},
	{
		name: "images", shape: usage.Images,
		body: `{"created":1,"data":[{"b64_json":"` + strings.Repeat("iVBOR", 5000) + `"},{"b64_json":"x\\"}],"usage":{"input_tokens":1,"output_tokens":2}}`,
		want: gatehouse.Units{Input: 1, Output: 2, OutputImage: 2, Images: 2},
	},
	{
		name: "images by url", shape: usage.Images,
		body: `{"created":1,"data":[{"url":"https://example.com/1"}]}`,
		want: gatehouse.Units{Images: 1},
	},
	{
		name: "embeddings", shape: usage.Embeddings,
		body: `{"object":"list","data":[{"object":"embedding","index":0,"embedding":[-0.0069,1e-5,[],{}]}],"model":"text-embedding-3-small","usage":{"prompt_tokens":5,"total_tokens":5}}`,
		want: gatehouse.Units{Input: 5}, model: "text-embedding-3-small",
	},
	{
		name: "verbose transcription", shape: usage.Transcription,
		body: `{"task":"transcribe","language":"english","duration":8.470000267028809,"text":"The beach"}`,
		want: gatehouse.Units{Milliseconds: 8471}, text: 9,
	},
	{
		name: "terminal event of a Responses stream", shape: usage.Responses,
		body: `{"type":"response.completed","response":{"id":"resp_2","model":"gpt-5","usage":{"input_tokens":1,"output_tokens":2}}}`,
		want: gatehouse.Units{Input: 1, Output: 2}, id: "resp_2", model: "gpt-5",
	},
}

func TestCapture(t *testing.T) {
	for _, c := range answers {
		t.Run(c.name, func(t *testing.T) {
			var capture usage.Capture
			for size := range 40 {
				capture.Reset()
				capture.Want = usage.MadeInside
				feed(&capture, []byte(c.body), size)
				units, ok := usage.Of(c.shape, &capture)
				if units != c.want || !ok {
					t.Fatalf("pieces of %d: units: got %+v %v, want %+v", size, units, ok, c.want)
				}
				if got := capture.Text(usage.ID); got != c.id {
					t.Errorf("pieces of %d: id: got %q, want %q", size, got, c.id)
				}
				if got := capture.Text(usage.Model); got != c.model {
					t.Errorf("pieces of %d: model: got %q, want %q", size, got, c.model)
				}
				if capture.TextBytes != c.text {
					t.Errorf("pieces of %d: text: got %d bytes, want %d", size, capture.TextBytes, c.text)
				}
				if got := capture.Count(usage.Choices); got != c.choices {
					t.Errorf("pieces of %d: choices: got %d, want %d", size, got, c.choices)
				}
				if got := madeBy(&capture); !slices.Equal(got, c.made) {
					t.Errorf("pieces of %d: made: got %v, want %v", size, got, c.made)
				}
				if !capture.Complete() {
					t.Errorf("pieces of %d: not complete", size)
				}
				if capture.Failed() {
					t.Errorf("pieces of %d: failed", size)
				}
			}
		})
	}
}

func madeBy(c *usage.Capture) (got []string) {
	for kind, id := range c.Made {
		got = append(got, kind.Kind()+" "+id)
	}
	return got
}

// TestMade finds what an answer made at its place, and only the kinds that were asked for.
func TestMade(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       usage.Made
		made       []string
	}{
		{"a batch", `{"id":"batch_1","input_file_id":"file-in","output_file_id":"file-out","error_file_id":null,"metadata":{"output_file_id":"file-no"}}`, usage.MadeFile, []string{"file file-out"}},
		{"an upload", `{"id":"upload_1","file":{"id":"file-1","object":"file"}}`, usage.MadeFile, []string{"file file-1"}},
		{"a job", `{"id":"ftjob-1","training_file":"file-in","fine_tuned_model":"ft:m:acme::1","result_files":["file-1","file-2"]}`, usage.MadeFile | usage.MadeModel,
			[]string{"model ft:m:acme::1", "file file-1", "file file-2"}},
		{"checkpoints", `{"object":"list","data":[{"id":"ftckpt_1","fine_tuned_model_checkpoint":"ft:m:acme::1:ckpt-1"},{"fine_tuned_model_checkpoint":"ft:m:acme::1:ckpt-2"}]}`, usage.MadeModel,
			[]string{"model ft:m:acme::1:ckpt-1", "model ft:m:acme::1:ckpt-2"}},
		{"a run", `{"id":"run_1","thread_id":"thread_1","assistant_id":"asst_1"}`, usage.MadeThread, []string{"thread thread_1"}},
		{"messages", `{"data":[{"id":"msg_1","content":[{"type":"image_file","image_file":{"file_id":"file-1"}},{"type":"text","text":{"value":"x","annotations":[{"type":"file_path","file_path":{"file_id":"file-2"}},` +
			`{"type":"file_citation","file_citation":{"file_id":"file-cited"}}]}}]}]}`, usage.MadeFile, []string{"file file-1", "file file-2"}},
		{"a message of a stream", `{"id":"msg_1","object":"thread.message.delta","delta":{"content":[{"index":0,"type":"image_file","image_file":{"file_id":"file-1"}}]}}`, usage.MadeFile, []string{"file file-1"}},
		{"a step", `{"id":"step_1","step_details":{"type":"tool_calls","tool_calls":[{"code_interpreter":{"outputs":[{"type":"image","image":{"file_id":"file-1"}}]}}]}}`, usage.MadeFile, []string{"file file-1"}},
		{"a list of items", `{"object":"list","data":[{"id":"msg_1"},{"id":"rs_1"}],"first_id":"msg_1"}`, usage.MadeListed, []string{"item msg_1", "item rs_1"}},
		{"a session", `{"id":"sess_1","environment":{"type":"openai_hosted","id":"env_1"}}`, usage.MadeSession | usage.MadeEnvironment, []string{"agent.environment env_1"}},
		{"a session's first event", `{"type":"agent.session.created","session":{"id":"sess_1","environment":{"environment_id":"env_1"}}}`, usage.MadeSession | usage.MadeEnvironment,
			[]string{"agent.session sess_1", "agent.environment env_1"}},
		{"a thread with a store of its own", `{"id":"thread_1","tool_resources":{"code_interpreter":{"file_ids":["file-1"]},"file_search":{"vector_store_ids":["vs_1"]}}}`, usage.MadeStore, []string{"vector_store vs_1"}},
		{"a cited file", `{"output":[{"type":"message","id":"msg_1","content":[{"type":"output_text","text":"x","annotations":[{"type":"container_file_citation","container_id":"cntr_1","file_id":"cfile_1"}]}]}]}`, usage.MadeCited, []string{"container.file cfile_1"}},
		{"a cited file in a stream", `{"type":"response.output_text.annotation.added","annotation":{"type":"container_file_citation","file_id":"cfile_1"}}`, usage.MadeCited, []string{"container.file cfile_1"}},
		{"not asked for", `{"output":[{"id":"msg_1"}],"output_file_id":"file-1","thread_id":"thread_1","data":[{"id":"x"}]}`, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var capture usage.Capture
			for size := range 20 {
				capture.Reset()
				capture.Want = c.want
				feed(&capture, []byte(c.body), size)
				if got := madeBy(&capture); !slices.Equal(got, c.made) {
					t.Errorf("pieces of %d: got %v, want %v", size, got, c.made)
				}
			}
		})
	}
}

// feed writes body in pieces of a size; 0 writes it at once.
func feed(c *usage.Capture, body []byte, size int) {
	if size == 0 {
		size = len(body)
	}
	for piece := range slices.Chunk(body, max(size, 1)) {
		_, _ = c.Write(piece) // a Capture takes everything
	}
}

func TestCaptureFailed(t *testing.T) {
	for body, want := range map[string]bool{
		`{"error":{"message":"x"}}`: true, `{"error":"x"}`: true, `{"error":true}`: true, `{"error":[]}`: true,
		`{"error":null}`: false, `{"error":""}`: false, `{"error":false}`: false, `{"error":0 }`: false, `{"a":{"error":{}}}`: false, `{}`: false,
	} {
		var c usage.Capture
		feed(&c, []byte(body), 0)
		if got := c.Failed(); got != want {
			t.Errorf("%s: got %v, want %v", body, got, want)
		}
	}
}

func TestCaptureBounds(t *testing.T) {
	var c usage.Capture
	feed(&c, []byte(`{"id":"`+strings.Repeat("x", 9<<10)+`","model":"m","usage":{"a":"`+strings.Repeat("y", 9<<10)+`"}}`), 100)
	if c.Get(usage.ID) != nil || c.Get(usage.Usage) != nil {
		t.Error("a value above the limit was kept")
	}
	if got := c.Text(usage.Model); got != "m" {
		t.Errorf("model behind it: got %q, want m", got)
	}
	if got := len(c.Get(usage.Model)); got != 3 {
		t.Errorf("model: got %d bytes, want 3", got)
	}
}

func TestCaptureCut(t *testing.T) {
	body := []byte(answers[0].body)
	var c usage.Capture
	for end := range body {
		c.Reset()
		feed(&c, body[:end], 0)
		if c.Complete() {
			t.Fatalf("complete after %d of %d bytes", end, len(body))
		}
	}
}

func TestCaptureAllocatesNothing(t *testing.T) {
	body := []byte(answers[0].body)
	var c usage.Capture
	allocs := testing.AllocsPerRun(100, func() {
		c.Reset()
		feed(&c, body, 0)
	})
	if allocs != 0 {
		t.Errorf("got %v allocations, want 0", allocs)
	}
}

// TestCaptureCutInASecond holds that a second usage that does not end leaves the first as it was.
func TestCaptureCutInASecond(t *testing.T) {
	var c usage.Capture
	feed(&c, []byte(`{"usage":{"prompt_tokens":1},"usage":{"prompt_tokens":2`), 0)
	if u, ok := usage.Of(usage.Chat, &c); u != (gatehouse.Units{Input: 1}) || !ok {
		t.Errorf("got %+v %v, want an input of 1", u, ok)
	}
}

// told is all that a Capture says.
type told struct {
	values   [usage.Quality + 1]string
	counts   [usage.PromptFilters + 1]int
	units    [usage.Container + 1]gatehouse.Units
	counted  [usage.Container + 1]bool
	calls    usage.Calls
	made     string
	text     int64
	complete bool
}

func tellings(c *usage.Capture) (all told) {
	for s := range all.values {
		all.values[s] = string(c.Get(usage.Slot(s)))
	}
	for n := range all.counts {
		all.counts[n] = c.Count(usage.Count(n))
	}
	for shape := range all.units {
		all.units[shape], all.counted[shape] = usage.Of(usage.Shape(shape), c)
	}
	all.calls, all.made, all.text, all.complete = c.Calls(), strings.Join(madeBy(c), "\n"), c.TextBytes, c.Complete()
	return all
}

// FuzzCapture checks that splitting changes nothing, and that top-level values are those that encoding/json finds. In pieces of one
// byte no value comes whole, so that this compares the two ways of reading one, too.
func FuzzCapture(f *testing.F) {
	for _, a := range answers {
		if len(a.body) < 4000 {
			f.Add([]byte(a.body), uint8(7))
		}
	}
	f.Add([]byte(answer), uint8(200))
	f.Add([]byte(`{"usage":1,"usage":{"a":[{}]},"id":"\\\"","model":tru`), uint8(1))
	f.Add([]byte(`{"usage":{"prompt_tokens":1},"usage":{"prompt_tokens":2`), uint8(30))
	f.Add([]byte(`{"usage":{"prompt_tokens":1},"usage":{"prompt_tokens":2,"a":[]}}`), uint8(0))
	f.Add([]byte(`[]]}{"usage":{}`), uint8(3))
	f.Fuzz(func(t *testing.T, body []byte, size uint8) {
		var whole, split usage.Capture
		whole.Want = 1<<16 - 1
		feed(&whole, body, 0)
		said := tellings(&whole)
		for _, pieces := range []int{1, int(size)} {
			split.Reset()
			split.Want = whole.Want
			feed(&split, body, pieces)
			if got := tellings(&split); got != said {
				t.Fatalf("in pieces of %d: got %+v, at once %+v", pieces, got, said)
			}
		}
		split.Reset()
		split.Want = whole.Want
		for rest, next := body, int(size); len(rest) > 0; next = (next*7 + 3) % 61 {
			n := min(next, len(rest))
			feed(&split, rest[:n], 0)
			rest = rest[n:]
		}
		if got := tellings(&split); got != said {
			t.Fatalf("in uneven pieces: got %+v, at once %+v", got, said)
		}
		slots := []usage.Slot{usage.Usage, usage.ID, usage.Object, usage.Model, usage.ServiceTier, usage.Status, usage.Error, usage.Type}
		var members map[string]json.RawMessage
		if json.Unmarshal(body, &members) != nil || bytes.Contains(body, []byte(`\u`)) || members["response"] != nil {
			return
		}
		for i, name := range []string{"usage", "id", "object", "model", "service_tier", "status", "error", "type"} {
			want := members[name]
			if len(want) > 8<<10 {
				want = nil
			}
			if got := whole.Get(slots[i]); !bytes.Equal(got, want) {
				t.Fatalf("%s: got %q, encoding/json finds %q", name, got, want)
			}
		}
	})
}

// FuzzAlike checks that what is remembered of an answer's beginning changes nothing in what the next one says.
func FuzzAlike(f *testing.F) {
	for _, a := range answers {
		if len(a.body) < 4000 {
			f.Add([]byte(a.body), []byte(` "x"}]}`), len(a.body)/2, uint8(1))
		}
	}
	f.Add([]byte(`{"id":"a","usage":{"prompt_tokens":1},"choices":[{"delta":{"content":"one"}}]}`), []byte(`null,"refusal":"no"}}],"usage":{"prompt_tokens":2}}`), 65, uint8(0))
	f.Add([]byte(`{"type":"response.output_text.delta","sequence_number":4,"delta":"one"}`), []byte(`{"content":[{"text":{"value":"two"}}]}}`), 65, uint8(0))
	f.Add([]byte(`{"object":"list","data":[{"id":"file-1"}],"text":"a","id":"b"}`), []byte(``), 50, uint8(40))
	f.Fuzz(func(t *testing.T, body, rest []byte, cut int, size uint8) {
		cut = min(max(cut, 0), len(body))
		other := append(bytes.Clone(body[:cut]), rest...)
		alike := usage.Capture{Alike: true}
		for n, b := range [][]byte{body, other, other, body, rest, other, body} {
			alike.Reset()
			var fresh usage.Capture
			fresh.Want = 1<<16 - 1
			if n < 5 {
				fresh.Want = 1
			}
			alike.Want = fresh.Want
			feed(&fresh, b, 0)
			feed(&alike, b, int(size)*(n%2))
			if got, want := tellings(&alike), tellings(&fresh); got != want {
				t.Fatalf("the %dth answer: got %+v, want %+v", n, got, want)
			}
		}
	})
}

func BenchmarkCapture(b *testing.B) {
	floats := []byte(`{"object":"list","data":[{"object":"embedding","index":0,"embedding":[` + strings.Repeat("-0.006929283495992422,", 1535) +
		`0.1]}],"model":"text-embedding-3-small","usage":{"prompt_tokens":5,"total_tokens":5}}`)
	image := fmt.Appendf(nil, `{"created":1,"data":[{"b64_json":"%s"}],"usage":{"input_tokens":1,"output_tokens":2}}`, strings.Repeat("iVBORw0K", 1<<17))
	chunk := []byte(`{"id":"chatcmpl-9nSGuLQGV8mbzXiGcYBgK5mTDAPPA","object":"chat.completion.chunk","created":1721596428,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_44132a4de3","choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}],"usage":null}`)
	for _, c := range []struct {
		name string
		body []byte
	}{{"Chat", []byte(answers[0].body)}, {"Chunk", chunk}, {"ChunkAlike", chunk}, {"EmbeddingFloats", floats}, {"Image1MB", image}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.body)))
			capture := usage.Capture{Alike: strings.HasSuffix(c.name, "Alike")}
			for b.Loop() {
				capture.Reset()
				_, _ = capture.Write(c.body) // a Capture takes everything
			}
		})
	}
}
