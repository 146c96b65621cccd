package sdk

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/conversations"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"

	"gatehouse/gatehousetest"
)

func TestGoChat(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c := client(s)

	t.Run("plain", func(t *testing.T) {
		var res *http.Response
		done := must[*openai.ChatCompletion](t)(c.Chat.Completions.New(t.Context(), ask("gpt-4o"), option.WithResponseInto(&res)))
		wantLabel(t, done.Choices[0].Message.Content, "gpt-4o")
		r := s.Explain(res.Header.Get("X-Request-Id"))
		if r.Rule != "served" || r.Status != 200 || r.Deployment != "gpt-4o" || r.Units == nil || r.Units.Input != done.Usage.PromptTokens || r.Units.Output != done.Usage.CompletionTokens || r.Confidence != "reported" || !r.CostKnown || r.Cost == 0 {
			t.Errorf("explain %+v %+v, want what the client was told: %+v", r, r.Units, done.Usage)
		}
	})

	for _, asked := range []bool{false, true} {
		t.Run("stream", func(t *testing.T) {
			params := ask("gpt-4o")
			if asked {
				params.StreamOptions.IncludeUsage = openai.Bool(true)
			}
			var res *http.Response
			stream := c.Chat.Completions.NewStreaming(t.Context(), params, option.WithResponseInto(&res))
			var acc openai.ChatCompletionAccumulator
			var usage, last openai.ChatCompletionChunk
			count := 0
			for stream.Next() {
				chunk := stream.Current()
				acc.AddChunk(chunk)
				if len(chunk.Choices) == 0 {
					usage = chunk
					count++
				} else {
					last = chunk
				}
			}
			if err := stream.Err(); err != nil {
				t.Fatal(err)
			}
			wantLabel(t, acc.Choices[0].Message.Content, "gpt-4o")
			if last.Choices[0].FinishReason != "stop" {
				t.Errorf("finish reason %q", last.Choices[0].FinishReason)
			}
			r := s.Explain(res.Header.Get("X-Request-Id"))
			if !r.Stream || r.Units == nil || r.Units.Output == 0 || r.Confidence != "reported" {
				t.Fatalf("explain %+v", r)
			}
			switch {
			case !asked && count != 0:
				t.Errorf("%d chunks of usage that nobody asked for", count)
			case asked && (count != 1 || usage.Usage.CompletionTokens != r.Units.Output || usage.Usage.PromptTokens != r.Units.Input):
				t.Errorf("%d chunks of usage, %+v, want one with %+v", count, usage.Usage, r.Units)
			}
		})
	}

	t.Run("a client that leaves", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var res *http.Response
		stream := c.Chat.Completions.NewStreaming(ctx, ask("gpt-4o"), option.WithResponseInto(&res), option.WithHeader("x-mock-tokens", "100000"), option.WithHeader("x-mock-chunk-delay-ms", "20"))
		for range 2 {
			if !stream.Next() {
				t.Fatal(stream.Err())
			}
		}
		cancel()
		for stream.Next() {
			continue
		}
		if err := stream.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("the client saw %v", err)
		}
		r := s.Explain(res.Header.Get("X-Request-Id"))
		if !r.ClientLeft || r.Units == nil || r.Units.Output == 0 || r.Units.Output > 1000 || r.Confidence != "estimated" {
			t.Errorf("explain %+v %+v, want an estimate of what passed", r, r.Units)
		}
	})

	t.Run("legacy completions", func(t *testing.T) {
		params := openai.CompletionNewParams{Model: "gpt-3.5-turbo-instruct", Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("Once")}}
		plain := must[*openai.Completion](t)(c.Completions.New(t.Context(), params))
		wantLabel(t, strings.TrimSpace(plain.Choices[0].Text), "gpt-3.5-turbo-instruct")
		stream := c.Completions.NewStreaming(t.Context(), params)
		var text string
		for _, chunk := range pages(t, stream.Next, stream.Current, stream.Err) {
			text += chunk.Choices[0].Text
		}
		if text != plain.Choices[0].Text {
			t.Errorf("streamed %q, want %q", text, plain.Choices[0].Text)
		}
	})

	t.Run("stored", func(t *testing.T) {
		params := ask("gpt-4o")
		params.Store, params.Metadata = openai.Bool(true), shared.Metadata{"team": "a"}
		stored := must[*openai.ChatCompletion](t)(c.Chat.Completions.New(t.Context(), params))
		found := must[*openai.ChatCompletion](t)(c.Chat.Completions.Get(t.Context(), stored.ID))
		if found.Choices[0].Message.Content != stored.Choices[0].Message.Content {
			t.Errorf("found %s, want %s", found.RawJSON(), stored.RawJSON())
		}
		must[*openai.ChatCompletionDeleted](t)(c.Chat.Completions.Delete(t.Context(), stored.ID))
		_, err := c.Chat.Completions.Get(t.Context(), stored.ID)
		failure{status: 404}.check(t, s, err)
	})
}

func TestGoResponses(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c := client(s)
	params := responses.ResponseNewParams{Model: "gpt-4o", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Say hello.")}}

	plain := must[*responses.Response](t)(c.Responses.New(t.Context(), params))
	wantLabel(t, plain.OutputText(), "gpt-4o")
	if plain.Usage.TotalTokens == 0 {
		t.Errorf("usage %+v", plain.Usage)
	}

	stream := c.Responses.NewStreaming(t.Context(), params)
	events := pages(t, stream.Next, stream.Current, stream.Err)
	last := events[len(events)-1]
	if events[0].Type != "response.created" || last.Type != "response.completed" || last.Response.OutputText() != plain.OutputText() || last.Response.Usage.OutputTokens != plain.Usage.OutputTokens {
		t.Errorf("events from %q to %q: %s", events[0].Type, last.Type, last.RawJSON())
	}

	found := must[*responses.Response](t)(c.Responses.Get(t.Context(), plain.ID, responses.ResponseGetParams{}))
	if found.OutputText() != plain.OutputText() {
		t.Errorf("found %s", found.RawJSON())
	}
	items := c.Responses.InputItems.ListAutoPaging(t.Context(), plain.ID, responses.InputItemListParams{})
	if got := pages(t, items.Next, items.Current, items.Err); len(got) != 1 {
		t.Errorf("%d input items, want 1", len(got))
	}
	if err := c.Responses.Delete(t.Context(), plain.ID); err != nil {
		t.Fatal(err)
	}
	_, err := c.Responses.Get(t.Context(), plain.ID, responses.ResponseGetParams{})
	failure{status: 404}.check(t, s, err)

	conversation := must[*conversations.Conversation](t)(c.Conversations.New(t.Context(), conversations.ConversationNewParams{
		Metadata: shared.Metadata{"topic": "a"},
		Items:    []responses.ResponseInputItemUnionParam{responses.ResponseInputItemParamOfMessage("Hi", "user"), responses.ResponseInputItemParamOfMessage("there", "user"), responses.ResponseInputItemParamOfMessage("you", "user")},
	}))
	got := must[*conversations.Conversation](t)(c.Conversations.Get(t.Context(), conversation.ID))
	if got.ID != conversation.ID {
		t.Errorf("conversation %s", got.RawJSON())
	}
	list := c.Conversations.Items.ListAutoPaging(t.Context(), conversation.ID, conversations.ItemListParams{Limit: openai.Int(1)})
	if got := pages(t, list.Next, list.Current, list.Err); len(got) != 3 {
		t.Errorf("%d items, want 3", len(got))
	}
	must[*conversations.ConversationDeletedResource](t)(c.Conversations.Delete(t.Context(), conversation.ID))
}

func TestGoMedia(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c := client(s)

	t.Run("embeddings", func(t *testing.T) {
		params := openai.EmbeddingNewParams{Model: "text-embedding-3-small", Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"one", "two"}}}
		made := must[*openai.CreateEmbeddingResponse](t)(c.Embeddings.New(t.Context(), params))
		if len(made.Data) != 2 || len(made.Data[0].Embedding) != 1536 || made.Data[0].Embedding[0] == 0 || made.Usage.PromptTokens == 0 {
			t.Errorf("embeddings %.200s", made.RawJSON())
		}
	})

	t.Run("moderations", func(t *testing.T) {
		made := must[*openai.ModerationNewResponse](t)(c.Moderations.New(t.Context(), openai.ModerationNewParams{Input: openai.ModerationNewParamsInputUnion{OfString: openai.String("Hello")}}))
		if len(made.Results) != 1 || made.Results[0].Flagged {
			t.Errorf("moderation %s", made.RawJSON())
		}
	})

	t.Run("images", func(t *testing.T) {
		png := func(made *openai.ImagesResponse, err error) []byte {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			b, err := base64.StdEncoding.DecodeString(made.Data[0].B64JSON)
			if err != nil || !bytes.HasPrefix(b, []byte("\x89PNG")) {
				t.Fatalf("picture %q (%v)", b[:min(8, len(b))], err)
			}
			return b
		}
		made := png(c.Images.Generate(t.Context(), openai.ImageGenerateParams{Model: "gpt-image-1", Prompt: "A gate"}))
		file := func() io.Reader { return openai.File(bytes.NewReader(made), "gate.png", "image/png") }
		png(c.Images.Edit(t.Context(), openai.ImageEditParams{Model: "gpt-image-1", Prompt: "Paint it", Image: openai.ImageEditParamsImageUnion{OfFile: file()}}))
		png(c.Images.Edit(t.Context(), openai.ImageEditParams{Model: "gpt-image-1", Prompt: "Join them", Image: openai.ImageEditParamsImageUnion{OfFileArray: []io.Reader{file(), file()}}}))
		stream := c.Images.GenerateStreaming(t.Context(), openai.ImageGenerateParams{Model: "gpt-image-1", Prompt: "A gate", PartialImages: openai.Int(1)})
		if events := pages(t, stream.Next, stream.Current, stream.Err); len(events) != 2 || events[1].Type != "image_generation.completed" {
			t.Errorf("%d events", len(events))
		}
	})

	t.Run("audio", func(t *testing.T) {
		res := must[*http.Response](t)(c.Audio.Speech.New(t.Context(), openai.AudioSpeechNewParams{Model: "gpt-4o-mini-tts", Input: "The gate is open.", Voice: openai.AudioSpeechNewParamsVoiceUnion{OfString: openai.String("alloy")}, ResponseFormat: "wav"}))
		defer res.Body.Close()
		sound, err := io.ReadAll(res.Body)
		if err != nil || !bytes.HasPrefix(sound, []byte("RIFF")) || !strings.HasPrefix(res.Header.Get("Content-Type"), "audio/wav") {
			t.Fatalf("%s, %d bytes (%v)", res.Header.Get("Content-Type"), len(sound), err)
		}
		params := openai.AudioTranscriptionNewParams{Model: "whisper-1", File: openai.File(bytes.NewReader(sound), "speech.wav", "audio/wav"), ResponseFormat: "verbose_json", TimestampGranularities: []string{"word", "segment"}}
		heard := must[*openai.AudioTranscriptionNewResponseUnion](t)(c.Audio.Transcriptions.New(t.Context(), params))
		if heard.Text == "" || heard.Duration == 0 || len(heard.Words) == 0 || len(heard.Segments) == 0 {
			t.Errorf("transcription %+v", heard)
		}
		params = openai.AudioTranscriptionNewParams{Model: "gpt-4o-transcribe", File: openai.File(bytes.NewReader(sound), "speech.wav", "audio/wav"), Include: []openai.TranscriptionInclude{"logprobs"}}
		stream := c.Audio.Transcriptions.NewStreaming(t.Context(), params)
		events := pages(t, stream.Next, stream.Current, stream.Err)
		if events[len(events)-1].Type != "transcript.text.done" {
			t.Errorf("the last event is %q", events[len(events)-1].Type)
		}
	})
}

func TestGoFilesAndModels(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c := client(s)
	content := strings.Repeat(`{"n": 12345678901234567890}`+"\n", 1000)
	var made []string
	for range 43 {
		file := must[*openai.FileObject](t)(c.Files.New(t.Context(), openai.FileNewParams{File: openai.File(strings.NewReader(content), "data.jsonl", "application/jsonl"), Purpose: openai.FilePurposeUserData}))
		made = append(made, file.ID)
	}
	for limit := range int64(5) {
		list := c.Files.ListAutoPaging(t.Context(), openai.FileListParams{Limit: openai.Int(limit + 3), Order: "asc"})
		var ids []string
		for _, f := range pages(t, list.Next, list.Current, list.Err) {
			ids = append(ids, f.ID)
		}
		if strings.Join(ids, " ") != strings.Join(made, " ") {
			t.Errorf("limit %d: %d files, want the %d that were made, in order", limit+3, len(ids), len(made))
		}
	}
	if f := must[*openai.FileObject](t)(c.Files.Get(t.Context(), made[0])); f.Bytes != int64(len(content)) || f.Filename != "data.jsonl" {
		t.Errorf("file %s", f.RawJSON())
	}
	res := must[*http.Response](t)(c.Files.Content(t.Context(), made[0]))
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != content {
		t.Errorf("%d bytes of content (%v), want %d", len(b), err, len(content))
	}
	if d := must[*openai.FileDeleted](t)(c.Files.Delete(t.Context(), made[0])); !d.Deleted || d.ID != made[0] {
		t.Errorf("deleted %s", d.RawJSON())
	}
	_, err := c.Files.Get(t.Context(), made[0])
	failure{status: 404}.check(t, s, err)

	models := c.Models.ListAutoPaging(t.Context())
	found := false
	for _, m := range pages(t, models.Next, models.Current, models.Err) {
		found = found || m.ID == "gpt-4o"
	}
	if !found {
		t.Error("gpt-4o is not among the models")
	}
	if m := must[*openai.Model](t)(c.Models.Get(t.Context(), "gpt-4o")); m.ID != "gpt-4o" || m.Created == 0 {
		t.Errorf("model %s", m.RawJSON())
	}
	_, err = c.Models.Get(t.Context(), "gpt-nobody-declared")
	failure{status: 404, code: "model_not_found"}.check(t, s, err)
}

func TestGoErrors(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	chat := func(model string, opts ...option.RequestOption) error {
		c := client(s)
		_, err := c.Chat.Completions.New(t.Context(), ask(model), opts...)
		return err
	}
	tests := []struct {
		name  string
		model string
		opts  []option.RequestOption
		want  failure
	}{
		{"a wrong key", "gpt-4o", []option.RequestOption{option.WithAPIKey("sk-proj-wrong")}, failure{status: 401, code: "invalid_api_key", typ: "invalid_request_error", text: "Incorrect API key provided"}},
		{"a key of another", "gpt-4o", []option.RequestOption{option.WithAPIKey("sk-ant-api03-" + strings.Repeat("a", 93) + "AA")}, failure{status: 401, code: "foreign_credential"}},
		{"an admin key", "gpt-4o", []option.RequestOption{option.WithAPIKey(s.AdminKey)}, failure{status: 401, code: "missing_scope"}},
		{"another organization", "gpt-4o", []option.RequestOption{option.WithOrganization("org-another")}, failure{status: 401, code: "mismatched_organization"}},
		{"another project", "gpt-4o", []option.RequestOption{option.WithProject("proj_another")}, failure{status: 401, code: "mismatched_project"}},
		{"an unknown model", "gpt-nobody-declared", nil, failure{status: 404, code: "model_not_found", text: "The model `gpt-nobody-declared` does not exist"}},
		{"no messages", "gpt-4o", []option.RequestOption{option.WithJSONSet("messages", "none")}, failure{status: 400, param: "messages"}},
		{"a rate limit", "gpt-4o", status("429"), failure{status: 429, code: "rate_limit_exceeded"}},
		{"overload", "gpt-4o", status("503"), failure{status: 503}},
		{"failure", "gpt-4o", status("500"), failure{status: 500}},
		{"the upstream's 401", "gpt-4o", status("401"), failure{status: 502, header: "X-Should-Retry", headerText: "false"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.want.check(t, s, chat(tt.model, tt.opts...)) })
	}

	t.Run("an unknown path", func(t *testing.T) {
		c := client(s)
		failure{status: 404, text: "Invalid URL (GET /v1/nothing/here)"}.check(t, s, c.Get(t.Context(), "nothing/here", nil, nil))
	})

	t.Run("a model that the key may not use", func(t *testing.T) {
		key := newKey(t, s, map[string]any{"models": []string{"gpt-4o-mini"}})
		failure{status: 403, code: "model_not_found", param: "model"}.check(t, s, chat("gpt-4o", option.WithAPIKey(key.Value)))
		if err := chat("gpt-4o-mini", option.WithAPIKey(key.Value)); err != nil {
			t.Error(err)
		}
	})

	t.Run("a scope that the key does not have", func(t *testing.T) {
		key := newKey(t, s, map[string]any{"scopes": []string{"api.all.read"}})
		failure{status: 401, code: "missing_scope", text: "Missing scopes: model.request"}.check(t, s, chat("gpt-4o", option.WithAPIKey(key.Value)))
	})

	t.Run("retries", func(t *testing.T) {
		if err := chat("gpt-4o", option.WithMaxRetries(5), option.WithHeader("x-mock-error-rate", "0.5"), option.WithHeader("x-mock-retry-after-ms", "0")); err != nil {
			t.Error(err)
		}
	})

	t.Run("a timeout", func(t *testing.T) {
		if err := chat("gpt-4o", option.WithRequestTimeout(200*time.Millisecond), option.WithHeader("x-mock-latency-ms", "20000")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want a deadline", err)
		}
	})

	t.Run("a stream that breaks off", func(t *testing.T) {
		c := client(s)
		stream := c.Chat.Completions.NewStreaming(t.Context(), ask("gpt-4o"), option.WithHeader("x-mock-break-after", "3"))
		for stream.Next() {
			continue
		}
		if stream.Err() == nil {
			t.Error("it ended as if it were whole")
		}
	})

	t.Run("without a credential", func(t *testing.T) {
		// openai-go sends an admin call with only an API key, and a data call with only an admin key, without any header.
		c := openai.NewClient(option.WithBaseURL(s.URL+"/v1/"), option.WithAPIKey(s.APIKey), option.WithHTTPClient(s.Client), option.WithMaxRetries(0))
		_, err := c.Admin.Organization.Projects.List(t.Context(), openai.AdminOrganizationProjectListParams{})
		failure{status: 401, text: "You didn't provide an API key."}.check(t, s, err)
		c = openai.NewClient(option.WithBaseURL(s.URL+"/v1/"), option.WithAdminAPIKey(s.AdminKey), option.WithHTTPClient(s.Client), option.WithMaxRetries(0))
		_, err = c.Chat.Completions.New(t.Context(), ask("gpt-4o"))
		failure{status: 401, text: "You didn't provide an API key."}.check(t, s, err)
	})
}

// TestGoSendsNumbersUnchanged asks for fields openai-go does not know, with numbers a float64 does not hold, and looks at what an
// upstream of the test's own gets.
func TestGoSendsNumbersUnchanged(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	const answer = `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o","big":123456789012345678901234567890,"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"hi"}}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}`
	u := gatehousetest.NewUpstream(t, gatehousetest.Respond(200, "application/json", answer))
	s.Forward(u, "openai", "far away")
	c := client(s)
	done := must[*openai.ChatCompletion](t)(c.Chat.Completions.New(t.Context(), ask("far away"), option.WithJSONSet("frobnicate", json.RawMessage(`[1e400,100000000000000000001]`))))
	if done.RawJSON() != answer {
		t.Errorf("answer %s, want %s", done.RawJSON(), answer)
	}
	got, err := u.Wait(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(got[0].Body), `"frobnicate":[1e400,100000000000000000001]`) || got[0].Header.Get("Authorization") != "Bearer "+gatehousetest.UpstreamKey || got[0].Target != "/v1/chat/completions" {
		t.Errorf("the upstream got %s%s", got[0].Head, got[0].Body)
	}
	for _, usage := range s.Usage("model") {
		if usage.Model == "far away" && usage.Requests == 1 && usage.Input == 3 && usage.Output == 2 {
			return
		}
	}
	t.Errorf("usage %+v", s.Usage("model"))
}
