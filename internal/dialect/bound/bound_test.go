package bound

import (
	"fmt"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/dialect/form"
	"gatehouse/internal/dialect/strictjson"
)

// small is a model whose limits are easy to see in a sum.
var small = Model{Name: "o1", Context: 100_000, Output: 5_000}

func read(t testing.TB, path, body string) Ask {
	t.Helper()
	call, err := dialect.Parse("POST", path, "")
	if err != nil {
		t.Fatal(err)
	}
	var f strictjson.Result
	if err := strictjson.Scan([]byte(body), call.Op.Spec, &f); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	refers := false
	for _, ref := range call.Op.References(&f, nil) {
		refers = refers || ref.ID != "" && !ref.Model && !ref.Account
	}
	return Read(call.Op, &f, int64(len(body)), refers)
}

// TestMost is the table of every field that moves a bound: what a request with it may use at most.
func TestMost(t *testing.T) {
	const (
		chat      = "/v1/chat/completions"
		responses = "/v1/responses"
	)
	picture := `"data:image/png;base64,` + strings.Repeat("iVBOR", 2000) + `"`
	sound := `"` + strings.Repeat("UklGR", 2560) + `"` // 12,800 bytes and its quotes
	type units = gatehouse.Units
	for _, tt := range []struct {
		name, path, body string
		model            Model
		want             func(u, base *units) // from what a request without the field may use
		open             Open
		guessed          bool
		calls            int64
	}{
		{name: "text by its bytes", path: chat, body: `{"model":"m","max_tokens":7,"messages":[]}`, want: func(u, base *units) { u.Output = 7 }},
		{name: "the newer name of the cap", path: chat, body: `{"model":"m","max_completion_tokens":8,"messages":[]}`, want: func(u, base *units) { u.Output = 8 }},
		{name: "the greater of two caps", path: chat, body: `{"model":"m","max_completion_tokens":8,"max_tokens":9}`, want: func(u, base *units) { u.Output = 9 }},
		{name: "no cap", path: chat, body: `{"model":"m"}`, want: func(u, base *units) { u.Output = 5_000 }, guessed: true},
		{name: "a cap of nothing is none", path: chat, body: `{"model":"m","max_tokens":0}`, want: func(u, base *units) { u.Output = 5_000 }, guessed: true},
		{name: "a cap that is null", path: chat, body: `{"model":"m","max_tokens":null}`, want: func(u, base *units) { u.Output = 5_000 }, guessed: true},
		{name: "a cap below zero", path: chat, body: `{"model":"m","max_tokens":-5}`, want: func(u, base *units) { u.Output = 5_000 }, guessed: true},
		{name: "a cap above the model's", path: chat, body: `{"model":"m","max_tokens":9000}`, want: func(u, base *units) { u.Output = 9_000 }},
		{name: "no cap and no limit", path: chat, body: `{"model":"m"}`, model: Model{Name: "x"}, want: func(u, base *units) {}, open: OpenOutput, guessed: true},
		{name: "no cap and a context", path: chat, body: `{"model":"m"}`, model: Model{Name: "x", Context: 9_000}, want: func(u, base *units) { u.Output = 9_000 }, guessed: true},
		{name: "several answers", path: chat, body: `{"model":"m","max_tokens":7,"n":3}`, want: func(u, base *units) { u.Output = 21 }},
		{name: "a prediction that is wrong", path: chat, body: `{"model":"m","max_tokens":7,"n":2,"prediction":{"a":"b"}}`, want: func(u, base *units) { u.Output = 2 * (7 + 9) }},
		{name: "answers as audio", path: chat, body: `{"model":"m","max_tokens":7,"modalities":["text","audio"]}`, want: func(u, base *units) { u.Output, u.OutputAudio = 7, 7 }},
		{name: "answers as text", path: chat, body: `{"model":"m","max_tokens":7,"modalities":["text"]}`, want: func(u, base *units) { u.Output = 7 }},
		{name: "a picture as data", path: chat, body: `{"model":"m","max_tokens":7,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":` + picture + `}}]}]}`,
			want: func(u, base *units) { u.Output, u.Input, u.InputImage = 7, base.Input-10_024+1_275, 1_275 }},
		{name: "a picture by its address", path: chat, body: `{"model":"m","max_tokens":7,"messages":[{"content":[{"image_url":{"url":"https://example.com/a.png"}}]}]}`,
			want: func(u, base *units) { u.Output, u.Input, u.InputImage = 7, base.Input+1_275, 1_275 }},
		{name: "text that only says it is a picture", path: chat, body: `{"model":"m","max_tokens":7,"tools":[{"type":"function","function":{"parameters":{"default":{"image_url":` + picture + `}}}}]}`,
			want: func(u, base *units) { u.Output, u.Input, u.InputImage = 7, base.Input+1_275, 1_275 }},
		{name: "a picture for a model of another kind", path: chat, model: Model{Name: "gpt-4o-mini", Context: 100_000, Output: 1}, body: `{"model":"m","max_tokens":7,"messages":[{"content":[{"image_url":{"url":"https://example.com/a.png"}}]}]}`,
			want: func(u, base *units) { u.Output, u.Input, u.InputImage = 7, base.Input+48_169, 48_169 }},
		{name: "a recording", path: chat, body: `{"model":"m","max_tokens":7,"messages":[{"content":[{"type":"input_audio","input_audio":{"format":"mp3","data":` + sound + `}}]}]}`,
			want: func(u, base *units) { u.Output, u.Input, u.InputAudio = 7, base.Input-12_802+116, 116 }},
		{name: "a file as data", path: chat, body: `{"model":"m","max_tokens":7,"messages":[{"content":[{"type":"file","file":{"file_data":"data:application/pdf;base64,AAAA"}}]}]}`,
			want: func(u, base *units) { u.Output, u.Input, u.InputImage, u.InputAudio = 7, 100_000, 100_000, 100_000 }},
		{name: "a file by id", path: chat, body: `{"model":"m","max_tokens":7,"messages":[{"content":[{"type":"file","file":{"file_id":"file-1"}}]}]}`,
			want: func(u, base *units) { u.Output, u.Input, u.InputImage, u.InputAudio = 7, 100_000, 100_000, 100_000 }},
		{name: "audio of an earlier answer", path: chat, body: `{"model":"m","max_tokens":7,"messages":[{"audio":{"id":"audio_1"}}]}`,
			want: func(u, base *units) { u.Output, u.Input, u.InputImage, u.InputAudio = 7, 100_000, 100_000, 100_000 }},
		{name: "a file for a model of unknown context", path: chat, model: Model{Name: "x"}, body: `{"model":"m","max_tokens":7,"messages":[{"content":[{"type":"file","file":{"file_id":"file-1"}}]}]}`,
			want: func(u, base *units) { u.Output, u.Input = 7, 0 }, open: OpenInput},
		{name: "data of one's own", path: chat, body: `{"model":"m","max_tokens":7,"data_sources":[{"type":"azure_search"}]}`,
			want: func(u, base *units) { u.Output, u.Input, u.InputImage, u.InputAudio = 7, 100_000, 100_000, 100_000 }},
		{name: "functions run at the caller", path: chat, body: `{"model":"m","max_tokens":7,"tools":[{"type":"function"},{"type":"custom"}]}`, want: func(u, base *units) { u.Output = 7 }},
		{name: "a search before the answer", path: chat, body: `{"model":"m","max_tokens":7,"web_search_options":{}}`, want: func(u, base *units) { u.Output, u.Input = 7, base.Input+100_000 }, calls: 1},

		{name: "a response", path: responses, body: `{"model":"m","max_output_tokens":7,"input":"x"}`, want: func(u, base *units) { u.Output = 7 }},
		{name: "a response without a cap", path: responses, body: `{"model":"m","input":"x"}`, want: func(u, base *units) { u.Output = 5_000 }, guessed: true},
		{name: "the chain", path: responses, body: `{"model":"m","max_output_tokens":7,"previous_response_id":"resp_1"}`,
			want: func(u, base *units) { u.Output, u.Input, u.InputImage, u.InputAudio = 7, 100_000, 100_000, 100_000 }},
		{name: "a conversation", path: responses, body: `{"model":"m","max_output_tokens":7,"conversation":{"id":"conv_1"}}`,
			want: func(u, base *units) { u.Output, u.Input, u.InputImage, u.InputAudio = 7, 100_000, 100_000, 100_000 }},
		{name: "a stored item", path: responses, body: `{"model":"m","max_output_tokens":7,"input":[{"type":"item_reference","id":"msg_1"}]}`,
			want: func(u, base *units) { u.Output, u.Input, u.InputImage, u.InputAudio = 7, 100_000, 100_000, 100_000 }},
		{name: "a file to fetch", path: responses, body: `{"model":"m","max_output_tokens":7,"input":[{"role":"user","content":[{"type":"input_file","file_url":"https://example.com/a.pdf"}]}]}`,
			want: func(u, base *units) { u.Output, u.Input, u.InputImage, u.InputAudio = 7, 100_000, 100_000, 100_000 }},
		{name: "a picture in a response's input", path: responses, body: `{"model":"m","max_output_tokens":7,"input":[{"role":"user","content":[{"type":"input_image","image_url":` + picture + `}]}]}`,
			want: func(u, base *units) { u.Output, u.Input, u.InputImage = 7, base.Input-10_024+1_275, 1_275 }},
		{name: "a picture that a function returned", path: responses, body: `{"model":"m","max_output_tokens":7,"input":[{"type":"function_call_output","output":[{"type":"input_image","image_url":` + picture + `}]}]}`,
			want: func(u, base *units) { u.Output, u.Input, u.InputImage = 7, base.Input-10_024+1_275, 1_275 }},
		{name: "a screenshot", path: responses, body: `{"model":"m","max_output_tokens":7,"input":[{"type":"computer_call_output","output":{"type":"computer_screenshot","image_url":` + picture + `}}]}`,
			want: func(u, base *units) { u.Output, u.Input, u.InputImage = 7, base.Input-10_024+1_275, 1_275 }},
		{name: "hosted tools", path: responses, body: `{"model":"m","max_output_tokens":7,"max_tool_calls":2,"tools":[{"type":"web_search"}]}`,
			want: func(u, base *units) { u.Output, u.Input = 7, base.Input+200_000 }, calls: 2},
		{name: "hosted tools without a cap of output", path: responses, body: `{"model":"m","max_tool_calls":2,"tools":[{"type":"mcp"}]}`,
			want: func(u, base *units) { u.Output, u.Input = 15_000, base.Input+200_000 }, calls: 2, guessed: true},
		{name: "hosted tools that may not be called", path: responses, body: `{"model":"m","max_output_tokens":7,"max_tool_calls":0,"tools":[{"type":"web_search"}]}`, want: func(u, base *units) { u.Output = 7 }},
		{name: "hosted tools without end", path: responses, body: `{"model":"m","max_output_tokens":7,"tools":[{"type":"file_search","vector_store_ids":[]}]}`, want: func(u, base *units) { u.Output = 7 }, open: OpenTools},
		{name: "a tool nobody knows", path: responses, body: `{"model":"m","max_output_tokens":7,"tools":[{"type":"time_machine"}]}`, want: func(u, base *units) { u.Output = 7 }, open: OpenTools},
		{name: "a tool whose type is no text", path: responses, body: `{"model":"m","max_output_tokens":7,"tools":[{"type":7}]}`, want: func(u, base *units) { u.Output = 7 }, open: OpenTools},
		{name: "a tool that an item adds", path: responses, body: `{"model":"m","max_output_tokens":7,"input":[{"type":"additional_tools","role":"x","tools":[{"type":"web_search"}]}]}`, want: func(u, base *units) { u.Output = 7 }, open: OpenTools},
		{name: "tools of the caller's", path: responses, body: `{"model":"m","max_output_tokens":7,"tools":[{"type":"function"},{"type":"local_shell"},{"type":"apply_patch"},{"type":"computer_use_preview"}]}`, want: func(u, base *units) { u.Output = 7 }},
		{name: "a stored prompt", path: responses, body: `{"max_output_tokens":7,"max_tool_calls":0,"prompt":{"id":"pmpt_1"}}`,
			want: func(u, base *units) { u.Output, u.Input, u.InputImage, u.InputAudio = 7, 100_000, 100_000, 100_000 }},
		{name: "a stored prompt whose tools nobody knows", path: responses, body: `{"max_output_tokens":7,"prompt":{"id":"pmpt_1"}}`,
			want: func(u, base *units) { u.Output, u.Input, u.InputImage, u.InputAudio = 7, 100_000, 100_000, 100_000 }, open: OpenTools},
		{name: "never more than the context", path: responses, model: Model{Name: "o1", Context: 1_030, Output: 9}, body: `{"model":"m","max_output_tokens":7,"input":"` + strings.Repeat("x", 5000) + `"}`,
			want: func(u, base *units) { u.Output, u.Input = 7, 1_030 }},
		{name: "an input limit of its own", path: responses, model: Model{Name: "o1", Context: 9_000, Input: 1_040, Output: 9}, body: `{"model":"m","max_output_tokens":7,"input":"` + strings.Repeat("x", 5000) + `"}`,
			want: func(u, base *units) { u.Output, u.Input = 7, 1_040 }},
		{name: "compaction", path: "/v1/responses/compact", body: `{"model":"m","input":"x"}`, want: func(u, base *units) { u.Output = 5_000 }, guessed: true},

		{name: "a completion", path: "/v1/completions", body: `{"model":"m","max_tokens":7,"prompt":"x"}`, want: func(u, base *units) { u.Output = 7 }},
		{name: "the best of many", path: "/v1/completions", body: `{"model":"m","max_tokens":7,"prompt":"x","n":2,"best_of":5}`, want: func(u, base *units) { u.Output = 35 }},
		{name: "many prompts", path: "/v1/completions", body: `{"model":"m","max_tokens":7,"prompt":["x","y","z"],"n":2}`, want: func(u, base *units) { u.Output = 42 }},
		{name: "many prompts as tokens", path: "/v1/completions", body: `{"model":"m","max_tokens":7,"prompt":[ [1],[2,3]]}`, want: func(u, base *units) { u.Output = 14 }},
		{name: "one prompt as tokens", path: "/v1/completions", body: `{"model":"m","max_tokens":7,"prompt":[1,2,3]}`, want: func(u, base *units) { u.Output = 7 }},
		{name: "no prompts", path: "/v1/completions", body: `{"model":"m","max_tokens":7,"prompt":[]}`, want: func(u, base *units) { u.Output = 7 }},

		{name: "embeddings", path: "/v1/embeddings", model: Model{Name: "e", Context: 8}, body: `{"model":"m","input":["a","b"]}`, want: func(u, base *units) {}},
		{name: "moderations", path: "/v1/moderations", body: `{"input":"x"}`, want: func(u, base *units) {}},
		{name: "speech", path: "/v1/audio/speech", body: `{"model":"m","voice":"alloy","input":"hello"}`, want: func(u, base *units) {
			u.Characters, u.Output, u.OutputAudio = 7, 7*16+1024, 7*16+1024
		}},
		{name: "a picture to be made", path: "/v1/images/generations", model: Model{Name: "gpt-image-1"}, body: `{"model":"m","prompt":"x"}`, want: func(u, base *units) {
			u.Images, u.OutputImage, u.Output = 1, 6_240, 6_240+512
		}},
		{name: "pictures of a size and quality", path: "/v1/images/generations", model: Model{Name: "gpt-image-1-mini"}, body: `{"model":"m","prompt":"x","n":3,"size":"1024x1024","quality":"low"}`, want: func(u, base *units) {
			u.Images, u.OutputImage, u.Output = 3, 3*272, 3*(272+512)
		}},
		{name: "with partial pictures", path: "/v1/images/generations", model: Model{Name: "gpt-image-1"}, body: `{"model":"m","prompt":"x","n":2,"size":"1536x1024","quality":"medium","stream":true,"partial_images":3}`, want: func(u, base *units) {
			u.Images, u.OutputImage, u.Output = 2, 2*(1_584+300), 2*(1_584+300+512)
		}},
		{name: "of a model that takes any size", path: "/v1/images/generations", model: Model{Name: "gpt-image-2"}, body: `{"model":"m","prompt":"x","size":"3840x2160"}`, want: func(u, base *units) {
			u.Images, u.OutputImage, u.Output = 1, 16_384, 16_384+512
		}},
		{name: "pictures to be edited", path: "/v1/images/edits", model: Model{Name: "gpt-image-1"}, body: `{"model":"m","prompt":"x","images":[{"file_id":"file-1"},{"image_url":"https://example.com/a"}],"size":"1024x1024","quality":"high"}`, want: func(u, base *units) {
			u.Input, u.InputImage = base.Input+3*8_192, 3*8_192
			u.Images, u.OutputImage, u.Output = 1, 4_160, 4_160+512
		}},
		{name: "a run", path: "/v1/threads/thread_1/runs", body: `{"assistant_id":"asst_1","max_prompt_tokens":50,"max_completion_tokens":60}`, want: func(u, base *units) {
			u.Input, u.Output, u.InputImage, u.InputAudio = 50, 60, 50, 50
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := tt.model
			if m.Name == "" {
				m = small
			}
			a := read(t, tt.path, tt.body)
			got := a.Of(&m)
			want := gatehouse.Units{Input: int64(len(tt.body)) + framing}
			base := want
			tt.want(&want, &base)
			if got.Units != want {
				t.Errorf("%s\n got %+v\nwant %+v", tt.body, got.Units, want)
			}
			if got.Open != tt.open || got.Guessed != tt.guessed || got.Calls != tt.calls {
				t.Errorf("open %s, guessed %t, calls %d; want %s, %t, %d", got.Open, got.Guessed, got.Calls, tt.open, tt.guessed, tt.calls)
			}
		})
	}
}

func TestFees(t *testing.T) {
	a := read(t, "/v1/responses", `{"model":"m","max_output_tokens":7,"max_tool_calls":3,"tools":[{"type":"web_search_2026_01_01"},{"type":"web_search_preview"},{"type":"file_search"},{"type":"code_interpreter"},`+
		`{"type":"image_generation","size":"1024x1024","quality":"low","partial_images":2},{"type":"image_generation","size":"1024x1024","quality":"high"},{"type":"mcp"}]}`)
	m := a.Of(&small)
	var got []string
	for u := range m.Fees {
		got = append(got, fmt.Sprint(u.WebSearches, u.WebSearchPreviews, u.FileSearches, u.Containers))
	}
	if want := "[3 0 0 0 0 3 0 0 0 0 3 0 0 0 0 3]"; fmt.Sprint(got) != want {
		t.Errorf("fees %v, want %s", got, want)
	}
	// The two image tools do not agree on the quality, so that it is the dearest.
	u, ok := m.Pictures("gpt-image-1")
	if want := int64(3 * (4_160 + 200)); !ok || u.Images != 3 || u.OutputImage != want || u.InputImage != 3*3*inputPicture {
		t.Errorf("pictures %+v, %t; want %d tokens", u, ok, want)
	}
	if _, ok := read2(t, `{"model":"m","max_output_tokens":7,"max_tool_calls":3,"tools":[{"type":"web_search"}]}`).Pictures("gpt-image-1"); ok {
		t.Error("a tool that makes no pictures makes some")
	}
}

func read2(t *testing.T, body string) *Most {
	a := read(t, "/v1/responses", body)
	m := a.Of(&small)
	return &m
}

func TestForms(t *testing.T) {
	body := func(parts ...string) string {
		return "--b\r\n" + strings.Join(parts, "\r\n--b\r\n") + "\r\n--b--\r\n"
	}
	field := func(name, value string) string {
		return "Content-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value
	}
	file := func(name, value string) string {
		return "Content-Disposition: form-data; name=\"" + name + "\"; filename=\"a\"\r\n\r\n" + value
	}
	of := func(path, text string, head int, m Model) Most {
		call, err := dialect.Parse("POST", path, "")
		if err != nil {
			t.Fatal(err)
		}
		s := form.New("b", call.Op.FormFields)
		s.KeepFiles = "file"
		if _, err := s.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		at := strings.Index(text, "filename=\"a\"\r\n\r\n") + len("filename=\"a\"\r\n\r\n")
		a := ReadForm(call.Op, s, int64(len(text)), []byte(text[at:at+head]))
		return a.Of(&m)
	}
	wav := "RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data"
	text := body(field("model", "m"), file("file", wav+strings.Repeat("x", 160_000-len(wav))))
	got := of("/v1/audio/transcriptions", text, 44, Model{Name: "t"})
	if got.Units.Milliseconds != 11_000 || got.Units.InputAudio != 12*10 || got.Units.Output != 12*25+framing {
		t.Errorf("ten seconds of PCM: %+v", got.Units)
	}
	got = of("/v1/audio/translations", body(field("model", "m"), file("file", strings.Repeat("x", 2_500))), 44, Model{Name: "t", Context: 50, Output: 60})
	if got.Units.Milliseconds != 11_000 || got.Units.InputAudio != 50 || got.Units.Output != 60 {
		t.Errorf("a recording of some kind: %+v", got.Units)
	}
	text = body(field("model", "m"), field("prompt", "a hat"), field("n", "2"), field("quality", "medium"), field("partial_images", "1"), file("image[]", "x"), file("image[]", "y"), file("mask", "z"))
	got = of("/v1/images/edits", text, 1, Model{Name: "gpt-image-1"})
	if want := (gatehouse.Units{Input: int64(len(text)) + framing + 3*inputPicture, InputImage: 3 * inputPicture, Output: 2 * (1_584 + 100 + 512), OutputImage: 2 * (1_584 + 100), Images: 2}); got.Units != want {
		t.Errorf("edits: %+v, want %+v", got.Units, want)
	}
}

// TestDuration says what the formats take that a law bounds, and what an odd header is worth.
func TestDuration(t *testing.T) {
	for _, tt := range []struct {
		name string
		head string
		size int64
		want int64 // milliseconds
	}{
		{"mp3 with a tag", "ID3\x04", 8_000, 9_000},
		{"mp3", "\xff\xfb\x90\x00", 8_000, 9_000},
		{"wav, compressed", "RIFF....WAVEfmt \x10\x00\x00\x00\x11\x00", 8_000, 9_000},
		{"ogg", "OggS", 8_000, 33_000},
		{"nothing", "", 0, 1_000},
		{"wav that says one sample a second", "RIFF....WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00\x08\x00", 8_000, 33_000},
	} {
		if got := Duration(tt.size, []byte(tt.head)); got != tt.want {
			t.Errorf("%s: %d ms, want %d", tt.name, got, tt.want)
		}
	}
}

// FuzzRead holds the bound to what cannot be otherwise, whatever the body: nothing is negative, nothing overflows, and a request that
// brings along text alone is bounded by its bytes.
func FuzzRead(f *testing.F) {
	paths := []string{"/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/embeddings", "/v1/images/generations", "/v1/images/edits", "/v1/audio/speech", "/v1/moderations", "/v1/threads/runs", "/v1/responses/x/y"}
	for i := range paths {
		f.Add(byte(i), []byte(`{"model":"m","max_tokens":3,"n":2,"max_tool_calls":9223372036854775807,"tools":[{"type":"x","size":"1x1"}],"messages":[{"content":[{"image_url":{"url":"data:image/png;base64,AAAA"}}]}],"prompt":["a"],"input":"b"}`), int64(8))
	}
	f.Fuzz(func(t *testing.T, which byte, body []byte, limit int64) {
		call, err := dialect.Parse("POST", paths[int(which)%len(paths)], "")
		if err != nil {
			t.Fatal(err)
		}
		var r strictjson.Result
		if strictjson.Scan(body, call.Op.Spec, &r) != nil {
			return
		}
		a := Read(call.Op, &r, int64(len(body)), false)
		a.Unknown = strings.Contains(call.Op.Name, ".other.")
		m := Model{Name: "gpt-image-1", Context: max(limit, 0), Output: max(limit, 0) / 2}
		got := a.Of(&m)
		u := got.Units
		if u.Input < 0 || u.Output < 0 || u.Images < 0 || u.Characters < 0 || got.Calls < 0 || u.Input > 1<<60 || u.Output > 1<<60 {
			t.Fatalf("%s: %+v", body, got)
		}
		if u.InputImage < 0 || u.InputAudio < 0 || u.OutputAudio > u.Output || u.OutputImage > u.Output {
			t.Fatalf("%s: parts are not parts: %+v", body, got)
		}
		if a.Text < framing {
			t.Fatalf("%s: the text is %d tokens", body, a.Text)
		}
	})
}
