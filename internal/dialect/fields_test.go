package dialect

import (
	"slices"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/dialect/strictjson"
)

func TestReferences(t *testing.T) {
	for _, tt := range []struct {
		name, path, body string
		want             []string // kind id @param, sorted; models as "model"
	}{
		{"none", "/v1/responses", `{"model":"m","input":"hi"}`, nil},
		{"the chain", "/v1/responses", `{"model":"m","previous_response_id":"resp_1","conversation":"conv_1"}`,
			[]string{"conversation conv_1 @conversation", "response resp_1 @previous_response_id"}},
		{"objects where an id may stand", "/v1/responses", `{"conversation":{"id":"conv_1"},"prompt":{"id":"pmpt_1","variables":{"f":{"type":"input_file","file_id":"file-9"}}}}`,
			[]string{"conversation conv_1 @conversation.id", "file file-9 @file_id", "prompt pmpt_1 @prompt.id"}},
		{"tools", "/v1/responses", `{"model":"m","tools":[{"type":"file_search","vector_store_ids":["vs_1","vs_2"]},{"type":"code_interpreter","container":"cntr_1"},` +
			`{"type":"code_interpreter","container":{"type":"auto","file_ids":["file-1"]}},{"type":"image_generation","model":"gpt-image-1","input_image_mask":{"file_id":"file-2"}}]}`,
			[]string{"container cntr_1 @tools[].container", "file file-1 @file_ids[]", "file file-2 @file_id", "model gpt-image-1 @tools[].model", "vector_store vs_1 @vector_store_ids[]", "vector_store vs_2 @vector_store_ids[]"}},
		{"files in the input", "/v1/responses", `{"input":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"},{"type":"input_image","file_id":"file-2"}]}]}`,
			[]string{"file file-1 @file_id", "file file-2 @file_id"}},
		{"items that are only an id", "/v1/responses", `{"tools":[{"type":"function"}],"input":[{"id":"msg_1"},{"type":"item_reference","id":"rs_2"},{"type":null,"id":"rs_3"},` +
			`{"type":"message","role":"assistant","id":"msg_4","content":[]},{"role":"user","id":"msg_5","content":"x"},{"type":"function_call","id":"fc_6","arguments":"{}"},{"role":"user","content":"x"}]}`,
			[]string{"item msg_1 @input[]", "item rs_2 @input[]", "item rs_3 @input[]"}},
		{"items whose content the upstream has", "/v1/responses", `{"input":[{"type":"reasoning","id":"rs_1","summary":[]},{"type":"image_generation_call","id":"ig_2"},` +
			`{"type":"reasoning","id":"rs_3","summary":[],"encrypted_content":"gAAA"},{"type":"reasoning","id":"rs_4","content":[{"type":"reasoning_text","text":"x"}]},{"result":"iVBOR","id":"ig_5","type":"image_generation_call"}]}`,
			[]string{"item ig_2 @input[]", "item rs_1 @input[]", "told ig_5 @input[]", "told rs_3 @input[]", "told rs_4 @input[]"}},
		{"an escaped item type", "/v1/responses", `{"input":[{"type":"item\u005freference","id":"rs_1"}]}`, []string{"item rs_1 @input[]"}},
		{"items of a conversation", "/v1/conversations/conv_1/items", `{"items":[{"type":"item_reference","id":"msg_1"},{"type":"message","role":"user","content":[{"type":"input_file","file_id":"file-1"}]}]}`,
			[]string{"file file-1 @file_id", "item msg_1 @items[]"}},
		{"metadata is the caller's", "/v1/responses", `{"metadata":{"file_id":"a","thread_id":"b"},"previous_response_id":"resp_1","input":[{"metadata":{"file_ids":["x"]},"role":"user"}]}`,
			[]string{"response resp_1 @previous_response_id"}},
		{"beside metadata", "/v1/responses", `{"input":[{"metadata":{"file_id":"a"},"role":"user","content":[{"file_id":"file-1"}]}],"metadata":{}}`,
			[]string{"file file-1 @file_id"}},
		{"a schema is no reference", "/v1/responses", `{"tools":[{"type":"function","parameters":{"type":"object","properties":{"file_id":{"type":"string"},"thread_id":{"type":"string"},"container":{"type":"string"}}}}]}`, nil},
		{"null and empty are none", "/v1/responses", `{"previous_response_id":null,"conversation":null,"tools":[{"type":"x","container":null}],"input":[{"content":[{"file_id":""}]}]}`, nil},
		{"an answer's audio", "/v1/chat/completions", `{"model":"m","messages":[{"role":"assistant","audio":{"id":"audio_1"}},{"role":"user","content":[{"type":"file","file":{"file_id":"file-1"}}]}],"moderation":{"model":"omni"}}`,
			[]string{"audio audio_1 @messages[].audio.id", "file file-1 @file_id", "model omni @moderation.model"}},
		{"a voice of one's own", "/v1/audio/speech", `{"model":"m","input":"x","voice":{"id":"voice_1"}}`, []string{"audio.voice voice_1 @voice.id"}},
		{"a named voice", "/v1/audio/speech", `{"model":"m","input":"x","voice":"alloy"}`, nil},
		{"images", "/v1/images/edits", `{"images":[{"file_id":"file-1"},{"image_url":"x"}],"mask":{"file_id":"file-2"}}`, []string{"file file-1 @file_id", "file file-2 @file_id"}},
		{"a batch", "/v1/batches", `{"input_file_id":"file-1","endpoint":"/v1/responses"}`, []string{"file file-1 @input_file_id"}},
		{"fine-tuning", "/v1/fine_tuning/jobs", `{"model":"m","training_file":"file-1","validation_file":"file-2"}`, []string{"file file-1 @training_file", "file file-2 @validation_file"}},
		{"an upload", "/v1/uploads/upload_1/complete", `{"part_ids":["part_1"]}`, []string{"upload.part part_1 @part_ids[]"}},
		{"a run", "/v1/threads/runs", `{"assistant_id":"asst_1","thread":{"messages":[{"attachments":[{"file_id":"file-1"}]}]}}`, []string{"assistant asst_1 @assistant_id", "file file-1 @file_id"}},
		{"a voice of one's own by name", "/v1/audio/speech", `{"model":"m","input":"x","voice":"voice_1"}`, []string{"audio.voice voice_1 @voice"}},
		{"a voice that answers", "/v1/chat/completions", `{"model":"m","audio":{"voice":"voice_1"}}`, []string{"audio.voice voice_1 @audio.voice"}},
		{"a video of characters", "/v1/videos", `{"prompt":"x","characters":[{"id":"char_1"}],"input_reference":{"file_id":"file-1"}}`, []string{"file file-1 @file_id", "video.character char_1 @characters[].id"}},
		{"a video to go on with", "/v1/videos/extensions", `{"prompt":"x","video":{"id":"video_1"}}`, []string{"video video_1 @video.id"}},
		{"a run of an eval", "/v1/evals/eval_1/runs", `{"data_source":{"type":"responses","model":"gpt-5","source":{"type":"file_id","id":"file-1"}}}`, []string{"file file-1 @data_source.source.id", "model gpt-5 @data_source.model"}},
		{"a run over what everybody made", "/v1/evals/eval_1/runs", `{"data_source":{"type":"responses","source":{"type":"responses"}}}`, []string{"account responses @data_source.source.type"}},
		{"an eval over what everybody made", "/v1/evals", `{"data_source_config":{"type":"logs"},"testing_criteria":[{"type":"score_model","model":"gpt-5"}]}`, []string{"account logs @data_source_config.type", "model gpt-5 @testing_criteria[].model"}},
		{"an eval of one's own data", "/v1/evals", `{"data_source_config":{"type":"custom"}}`, nil},
		{"a grader", "/v1/fine_tuning/jobs", `{"model":"m","training_file":"file-1","method":{"reinforcement":{"grader":{"model":"gpt-5"}}}}`, []string{"file file-1 @training_file", "model gpt-5 @method.reinforcement.grader.model"}},
		{"a session", "/v1/agents/sessions", `{"agent_id":"agent_1","environment":{"type":"openai_hosted","environment_id":"env_1","files":[{"file_id":"file-1"}]},"vault_ids":["vault_1"]}`,
			[]string{"agent agent_1 @agent_id", "agent.environment env_1 @environment_id", "file file-1 @file_id", "vault vault_1 @vault_ids[]"}},
		{"an endpoint we do not know", "/v1/responses/resp_1/new", `{"deep":{"er":[{"file_id":"file-1"}]}}`, []string{"file file-1 @file_id"}},
	} {
		c := mustParse(t, "POST", tt.path, "")
		var r strictjson.Result
		if err := strictjson.Scan([]byte(tt.body), c.Op.Spec, &r); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var got []string
		for _, ref := range c.Op.References(&r, nil) {
			kind := ref.Kind
			switch {
			case ref.Model:
				kind = "model"
			case ref.Account:
				kind = "account"
			case ref.Told:
				kind = "told"
			}
			got = append(got, kind+" "+ref.ID+" @"+ref.Param)
		}
		slices.Sort(got)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n got %q\nwant %q", tt.name, got, tt.want)
		}
	}
}

func TestStrictFields(t *testing.T) {
	for _, tt := range []struct {
		path, body string
		ok         bool
	}{
		{"/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"model stream n"}],"temperature":1e400,"metadata":{"model":"x"}}`, true},
		{"/v1/chat/completions", `{"model":"m","model":"n"}`, false},
		{"/v1/chat/completions", `{"model":"m","Model":"n"}`, false},
		{"/v1/chat/completions", `{"model":"m","mod\u0065l":"n"}`, false},
		{"/v1/chat/completions", `{"model":"m","max_tokens":1,"max_tokens":100000}`, false},
		{"/v1/chat/completions", `{"model":"m","stream_options":{"include_usage":true,"include_usage":false}}`, false},
		{"/v1/chat/completions", `{"model":null}`, false},
		{"/v1/chat/completions", `{"model":["m"]}`, false},
		{"/v1/chat/completions", `{"model":"m","stream":null,"stream_options":null,"max_tokens":null,"tools":null,"store":null,"service_tier":null,"modalities":null}`, true},
		{"/v1/chat/completions", `{"model":"m","service_tier":"flex","service_tier":"priority"}`, false},
		{"/v1/chat/completions", `{"model":"m","tools":[{"type":"function","function":{"parameters":{"properties":{"model":{},"n":{},"Model":{}}}}}]}`, true},
		{"/v1/responses", `{"input":"x","background":true,"Background":false}`, false},
		{"/v1/responses", `{"model":null,"input":"x"}`, true},
		{"/v1/responses", `{"input":[{"content":[{"file_id":"a","file_id":"b"}]}]}`, false},
		{"/v1/responses", `{"tools":[{"type":"image_generation","model":"a","model":"b"}]}`, false},
		{"/v1/embeddings", `{"model":"m","input":["a"],"input":["b"]}`, true},
		{"/v1/images/generations", `{"prompt":"x","background":"transparent","size":"auto","n":2}`, true},
		{"/v1/images/generations", `{"prompt":"x","n":1,"n":10}`, false},
		{"/v1/completions", `{"model":"m","prompt":[1,2,3],"best_of":2}`, true},
		{"/v1/completions", `{"model":"m","prompt":"a","prompt":"b"}`, false},
	} {
		c := mustParse(t, "POST", tt.path, "")
		var r strictjson.Result
		err := strictjson.Scan([]byte(tt.body), c.Op.Spec, &r)
		if (err == nil) != tt.ok {
			t.Errorf("%s %s: got %v, want ok %v", tt.path, tt.body, err, tt.ok)
		}
		if err != nil && gatehouse.KindOf(err) != gatehouse.Invalid {
			t.Errorf("%s: got kind %s", tt.body, gatehouse.KindOf(err))
		}
	}
}

// TestFieldIndex proves that every position says where its own field is: a slip there would read one field as another.
func TestFieldIndex(t *testing.T) {
	for _, o := range Ops() {
		at := o.At
		for path, i := range map[string]int{
			"model": at.Model, "stream": at.Stream, "stream_options": at.StreamOptions, "stream_options.include_usage": at.IncludeUsage,
			"max_tokens": at.MaxTokens, "max_completion_tokens": at.MaxCompletionTokens, "max_output_tokens": at.MaxOutputTokens, "n": at.N, "best_of": at.BestOf,
			"service_tier": at.ServiceTier, "tools": at.Tools, "max_tool_calls": at.MaxToolCalls, "background": at.Background, "store": at.Store,
			"modalities": at.Modalities, "web_search_options": at.WebSearchOptions, "prediction": at.Prediction, "size": at.Size, "quality": at.Quality,
			"seconds": at.Seconds, "partial_images": at.PartialImages, "input_fidelity": at.InputFidelity, "prompt": at.Prompt, "input": at.Input,
			"stream_format": at.StreamFormat, "**.previous_response_id": at.PreviousResponse, "tools[].type": at.ToolType,
		} {
			want := slices.IndexFunc(o.Fields(), func(f FieldRule) bool { return f.Path == path })
			if i != want {
				t.Errorf("%s: %s at %d, want %d", o.Name, path, i, want)
			}
		}
		var paths []string
		for _, f := range o.Fields() {
			if slices.Contains(paths, f.Path) {
				t.Errorf("%s reads %s twice", o.Name, f.Path)
			}
			paths = append(paths, f.Path)
		}
		if (o.Model == ModelNone) != (at.Model < 0) && o.Spec != nil {
			t.Errorf("%s: model rule %d, model at %d", o.Name, o.Model, at.Model)
		}
		if o.InjectUsage && !strings.Contains(o.Name, "completions.create") {
			t.Errorf("%s would get stream_options", o.Name)
		}
	}
	c := mustParse(t, "POST", "/v1/chat/completions", "")
	if at := c.Op.At; at.Model < 0 || at.IncludeUsage < 0 || at.MaxCompletionTokens < 0 || !c.Op.InjectUsage {
		t.Errorf("chat: got %+v", at)
	}
}

// TestReferencesOfNothing is a request without a body, whose result was used for another one before.
func TestReferencesOfNothing(t *testing.T) {
	c := mustParse(t, "POST", "/v1/responses", "")
	var r strictjson.Result
	if got := c.Op.References(&r, nil); got != nil {
		t.Errorf("got %v", got)
	}
	if err := strictjson.Scan([]byte(`{"previous_response_id":"resp_1","tools":[{"container":"c"}]}`), c.Op.Spec, &r); err != nil {
		t.Fatal(err)
	}
	if got := c.Op.References(&r, nil); len(got) != 2 {
		t.Errorf("got %v", got)
	}
	r.Reset()
	retrieve := mustParse(t, "GET", "/v1/responses/resp_1", "")
	if got := append(c.Op.References(&r, nil), retrieve.Op.References(&r, nil)...); len(got) != 0 {
		t.Errorf("after a reset: got %v", got)
	}
}

// TestReferencesAreLinear guards against a body that makes every reference look at every metadata object.
func TestReferencesAreLinear(t *testing.T) {
	const n = 100_000
	body := `{"input":[` + strings.Repeat(`{"metadata":{"a":"b"},"file_id":"f"},`, n) + `{}]}`
	c := mustParse(t, "POST", "/v1/responses", "")
	var r strictjson.Result
	if err := strictjson.Scan([]byte(body), c.Op.Spec, &r); err != nil {
		t.Fatal(err)
	}
	if got := len(c.Op.References(&r, nil)); got != n {
		t.Errorf("got %d references, want %d", got, n)
	}
}

func BenchmarkReferences(b *testing.B) {
	body := []byte(`{"model":"gpt-4o","messages":[{"role":"user","content":"` + strings.Repeat("word ", 400) + `"}],"stream":true}`)
	c := mustParse(b, "POST", "/v1/chat/completions", "")
	var r strictjson.Result
	b.ReportAllocs()
	for b.Loop() {
		if err := strictjson.Scan(body, c.Op.Spec, &r); err != nil {
			b.Fatal(err)
		}
		if c.Op.References(&r, nil) != nil {
			b.Fatal("a reference out of nothing")
		}
	}
}
