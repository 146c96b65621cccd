package mock

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/conversations"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	"gatehouse/internal/mock/media"
)

// sdk is OpenAI's own client, unmodified, pointed at a mock.
func sdk(t *testing.T, more ...option.RequestOption) openai.Client {
	t.Helper()
	h := serve(t)
	return openai.NewClient(append([]option.RequestOption{option.WithBaseURL(h.url + "/v1"), option.WithAPIKey("sesame"), option.WithProject("proj_sdk")}, more...)...)
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestSDKChat(t *testing.T) {
	client := sdk(t)
	params := openai.ChatCompletionNewParams{Model: "gpt-4o", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Hello")}}
	plain := must(client.Chat.Completions.New(t.Context(), params))(t)
	params.StreamOptions.IncludeUsage = openai.Bool(true)
	stream := client.Chat.Completions.NewStreaming(t.Context(), params)
	var acc openai.ChatCompletionAccumulator
	for stream.Next() {
		if !acc.AddChunk(stream.Current()) {
			t.Fatalf("chunk %s does not fit", stream.Current().RawJSON())
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if got, want := acc.Choices[0].Message.Content, plain.Choices[0].Message.Content; got != want || !strings.HasPrefix(want, "[mock gpt-4o]") {
		t.Errorf("streamed %q, plain %q", got, want)
	}
	if acc.Usage.TotalTokens != plain.Usage.TotalTokens || plain.Usage.TotalTokens == 0 {
		t.Errorf("streamed usage %d, plain %d", acc.Usage.TotalTokens, plain.Usage.TotalTokens)
	}

	params.StreamOptions = openai.ChatCompletionStreamOptionsParam{}
	params.Store = openai.Bool(true)
	for range 3 {
		must(client.Chat.Completions.New(t.Context(), params))(t)
	}
	pages := client.Chat.Completions.ListAutoPaging(t.Context(), openai.ChatCompletionListParams{Limit: openai.Int(1)})
	n := 0
	for pages.Next() {
		n++
	}
	if n != 3 || pages.Err() != nil {
		t.Errorf("auto-pagination found %d of 3 (%v)", n, pages.Err())
	}
}

func TestSDKErrors(t *testing.T) {
	params := openai.ChatCompletionNewParams{Model: "gpt-4o", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Hello")}}
	var attempts int
	count := option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
		attempts++
		return next(r)
	})
	client := sdk(t, count)
	_, err := client.Chat.Completions.New(t.Context(), params, option.WithHeader("x-mock-status", "429"), option.WithHeader("x-mock-retry-after-ms", "1"))
	e, ok := errors.AsType[*openai.Error](err)
	if !ok || e.StatusCode != 429 || e.Code != "rate_limit_exceeded" || e.Type != "requests" || attempts != 3 {
		t.Errorf("after %d attempts: %v", attempts, err)
	}
	// Every second request fails: the client's own retry saves it.
	attempts = 0
	for range 4 {
		must(client.Chat.Completions.New(t.Context(), params, option.WithHeader("x-mock-error-rate", "0.5"), option.WithHeader("x-mock-retry-after-ms", "1")))(t)
	}
	if attempts != 7 {
		t.Errorf("%d attempts for 4 answers, want 7", attempts)
	}
	_, err = client.Chat.Completions.New(t.Context(), openai.ChatCompletionNewParams{Model: "gpt-9", Messages: params.Messages})
	if e, ok := errors.AsType[*openai.Error](err); !ok || e.StatusCode != 404 || e.Code != "model_not_found" {
		t.Errorf("unknown model: %v", err)
	}
	stream := client.Chat.Completions.NewStreaming(t.Context(), params, option.WithHeader("x-mock-break-after", "2"))
	n := 0
	for stream.Next() {
		n++
	}
	if n != 2 || stream.Err() == nil {
		t.Errorf("broken stream: %d chunks, %v", n, stream.Err())
	}
}

func TestSDKResponses(t *testing.T) {
	client := sdk(t)
	params := responses.ResponseNewParams{Model: "gpt-5", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Hello")}}
	plain := must(client.Responses.New(t.Context(), params))(t)
	stream := client.Responses.NewStreaming(t.Context(), params)
	text := ""
	var last responses.ResponseStreamEventUnion
	for stream.Next() {
		last = stream.Current()
		if last.Type == "response.output_text.delta" {
			text += last.Delta
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if text != plain.OutputText() || text == "" || last.Type != "response.completed" || last.Response.Usage.OutputTokens != plain.Usage.OutputTokens {
		t.Errorf("streamed %q, last event %s; plain %q", text, last.Type, plain.OutputText())
	}
	got := must(client.Responses.Get(t.Context(), plain.ID, responses.ResponseGetParams{}))(t)
	if got.OutputText() != text {
		t.Errorf("kept %q", got.OutputText())
	}
	items := client.Responses.InputItems.ListAutoPaging(t.Context(), plain.ID, responses.InputItemListParams{})
	n := 0
	for items.Next() {
		n++
	}
	if n != 1 || items.Err() != nil {
		t.Errorf("%d input items (%v)", n, items.Err())
	}
	if c := must(client.Responses.InputTokens.Count(t.Context(), responses.InputTokenCountParams{Model: openai.String("gpt-5"), Input: responses.InputTokenCountParamsInputUnion{OfString: openai.String("Hello")}}))(t); c.InputTokens != plain.Usage.InputTokens {
		t.Errorf("counted %d, used %d", c.InputTokens, plain.Usage.InputTokens)
	}
	params.Background = openai.Bool(true)
	queued := must(client.Responses.New(t.Context(), params))(t)
	if done := must(client.Responses.Get(t.Context(), queued.ID, responses.ResponseGetParams{}))(t); queued.Status != "queued" || done.Status != "completed" {
		t.Errorf("background: %s, then %s", queued.Status, done.Status)
	}
	if err := client.Responses.Delete(t.Context(), plain.ID); err != nil {
		t.Error(err)
	}
	v := must(client.Conversations.New(t.Context(), conversations.ConversationNewParams{}))(t)
	params.Background = openai.Bool(false)
	params.Conversation = responses.ResponseNewParamsConversationUnion{OfString: openai.String(v.ID)}
	must(client.Responses.New(t.Context(), params))(t)
	kept := client.Conversations.Items.ListAutoPaging(t.Context(), v.ID, conversations.ItemListParams{})
	n = 0
	for kept.Next() {
		n++
	}
	if n != 3 || kept.Err() != nil {
		t.Errorf("%d items in the conversation (%v), want the question, the reasoning and the answer", n, kept.Err())
	}
}

func TestSDKProducts(t *testing.T) {
	client := sdk(t)
	e := must(client.Embeddings.New(t.Context(), openai.EmbeddingNewParams{Model: "text-embedding-3-small", Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"a", "b"}}}))(t)
	if len(e.Data) != 2 || len(e.Data[1].Embedding) != 1536 || e.Usage.TotalTokens != 2 {
		t.Errorf("embeddings %s", e.RawJSON()[:80])
	}
	m := must(client.Moderations.New(t.Context(), openai.ModerationNewParams{Input: openai.ModerationNewParamsInputUnion{OfString: openai.String("flag:hate")}}))(t)
	if !m.Results[0].Flagged || !m.Results[0].Categories.Hate {
		t.Errorf("moderation %s", m.RawJSON())
	}
	list := client.Models.ListAutoPaging(t.Context())
	n := 0
	for list.Next() {
		n++
	}
	if n != len(DefaultModels()) || list.Err() != nil {
		t.Errorf("%d models (%v)", n, list.Err())
	}
	i := must(client.Images.Generate(t.Context(), openai.ImageGenerateParams{Model: "gpt-image-1", Prompt: "a door"}))(t)
	checkPicture(t, i.Data[0].B64JSON, "png")
	if i.Usage.OutputTokens != 1056 {
		t.Errorf("image usage %+v", i.Usage)
	}
	edit := must(client.Images.Edit(t.Context(), openai.ImageEditParams{Model: "gpt-image-1", Prompt: "open", Image: openai.ImageEditParamsImageUnion{OfFileArray: []io.Reader{strings.NewReader("a"), strings.NewReader("b")}}}))(t)
	if edit.Usage.InputTokensDetails.ImageTokens != 2*194 {
		t.Errorf("edit usage %+v", edit.Usage)
	}
	images := client.Images.GenerateStreaming(t.Context(), openai.ImageGenerateParams{Model: "gpt-image-1", Prompt: "a door", PartialImages: openai.Int(1)})
	last := ""
	for n = 0; images.Next(); n++ {
		last = images.Current().Type
	}
	if n != 2 || last != "image_generation.completed" || images.Err() != nil {
		t.Errorf("%d image events, last %s (%v)", n, last, images.Err())
	}
}

func TestSDKAudioAndFiles(t *testing.T) {
	client := sdk(t)
	res := must(client.Audio.Speech.New(t.Context(), openai.AudioSpeechNewParams{Model: "tts-1", Input: "Hello there", Voice: openai.AudioSpeechNewParamsVoiceUnion{OfString: openai.String("alloy")}, ResponseFormat: "wav"}))(t)
	sound := must(io.ReadAll(res.Body))(t)
	res.Body.Close()
	if media.Millis(sound) == 0 {
		t.Errorf("%d bytes that play nothing", len(sound))
	}
	heard := must(client.Audio.Transcriptions.New(t.Context(), openai.AudioTranscriptionNewParams{Model: "gpt-4o-transcribe", File: bytes.NewReader(sound)}))(t)
	if !strings.HasPrefix(heard.Text, "[mock gpt-4o-transcribe]") || heard.Usage.TotalTokens == 0 {
		t.Errorf("transcription %s", heard.RawJSON())
	}
	stream := client.Audio.Transcriptions.NewStreaming(t.Context(), openai.AudioTranscriptionNewParams{Model: "gpt-4o-transcribe", File: bytes.NewReader(sound)})
	text := ""
	for stream.Next() {
		text += stream.Current().Delta
	}
	if text != heard.Text || stream.Err() != nil {
		t.Errorf("streamed %q (%v), want %q", text, stream.Err(), heard.Text)
	}

	var last string
	for range 3 {
		f := must(client.Files.New(t.Context(), openai.FileNewParams{File: openai.File(strings.NewReader("{}\n"), "lines.jsonl", "application/jsonl"), Purpose: openai.FilePurposeBatch}))(t)
		if f.Filename != "lines.jsonl" || f.Bytes != 3 {
			t.Errorf("file %s", f.RawJSON())
		}
		last = f.ID
	}
	files := client.Files.ListAutoPaging(t.Context(), openai.FileListParams{Limit: openai.Int(2)})
	n := 0
	for files.Next() {
		n++
	}
	if n != 3 || files.Err() != nil {
		t.Errorf("%d files (%v)", n, files.Err())
	}
	content := must(client.Files.Content(t.Context(), last))(t)
	defer content.Body.Close()
	if b := must(io.ReadAll(content.Body))(t); string(b) != "{}\n" {
		t.Errorf("content %q", b)
	}
	if d := must(client.Files.Delete(t.Context(), last))(t); !d.Deleted || !json.Valid([]byte(d.RawJSON())) {
		t.Errorf("deletion %s", d.RawJSON())
	}
}
