package sdk

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/azure"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	"gatehouse/gatehousetest"
)

// encode writes a value as JSON.
func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestGoAzure runs openai-go's Azure client, which insists on TLS, against a certificate of dev's own authority. HTTP/2 comes with it.
func TestGoAzure(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{TLS: true})
	newClient := func(version string) openai.Client {
		return openai.NewClient(azure.WithEndpoint(s.Azure.Endpoint, version), azure.WithAPIKey(s.Azure.APIKey), option.WithHTTPClient(s.Client), option.WithMaxRetries(0))
	}
	c := newClient("2024-10-21")
	ctx := t.Context()

	t.Run("chat", func(t *testing.T) {
		var res *http.Response
		done := must[*openai.ChatCompletion](t)(c.Chat.Completions.New(ctx, ask(s.Azure.Deployment), option.WithResponseInto(&res)))
		wantLabel(t, done.Choices[0].Message.Content, "gpt-4o")
		if want := "/openai/deployments/" + s.Azure.Deployment + "/chat/completions"; res.Request.URL.Path != want || res.ProtoMajor != 2 || res.Header.Get("Apim-Request-Id") == "" {
			t.Errorf("%s %s, want %s with HTTP/2: %v", res.Proto, res.Request.URL.Path, want, res.Header)
		}
		if r := s.Explain(res.Header.Get("X-Request-Id")); !strings.HasPrefix(r.Dialect, "azure") {
			t.Errorf("explain %+v", r)
		}
	})

	t.Run("stream", func(t *testing.T) {
		stream := c.Chat.Completions.NewStreaming(ctx, ask(s.Azure.Deployment))
		var text string
		for _, chunk := range pages(t, stream.Next, stream.Current, stream.Err) {
			if len(chunk.Choices) != 1 {
				t.Fatalf("chunk %s", chunk.RawJSON())
			}
			text += chunk.Choices[0].Delta.Content
		}
		wantLabel(t, text, "gpt-4o")
	})

	t.Run("embeddings", func(t *testing.T) {
		made := must[*openai.CreateEmbeddingResponse](t)(c.Embeddings.New(ctx, openai.EmbeddingNewParams{Model: "text-embedding-3-small", Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("one")}}))
		if len(made.Data[0].Embedding) != 1536 {
			t.Errorf("embedding %.200s", made.RawJSON())
		}
	})

	t.Run("forms", func(t *testing.T) {
		res := must[*http.Response](t)(c.Audio.Speech.New(ctx, openai.AudioSpeechNewParams{Model: "gpt-4o-mini-tts", Input: "Hello", Voice: openai.AudioSpeechNewParamsVoiceUnion{OfString: openai.String("alloy")}, ResponseFormat: "wav"}))
		defer res.Body.Close()
		var sound bytes.Buffer
		if _, err := sound.ReadFrom(res.Body); err != nil {
			t.Fatal(err)
		}
		heard := must[*openai.AudioTranscriptionNewResponseUnion](t)(c.Audio.Transcriptions.New(ctx, openai.AudioTranscriptionNewParams{Model: "whisper-1", File: openai.File(&sound, "speech.wav", "audio/wav")}))
		if heard.Text == "" {
			t.Errorf("transcription %+v", heard)
		}
	})

	t.Run("responses and files", func(t *testing.T) {
		preview := newClient("2025-03-01-preview")
		done := must[*responses.Response](t)(preview.Responses.New(ctx, responses.ResponseNewParams{Model: s.Azure.Deployment, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Hi")}}))
		wantLabel(t, done.OutputText(), "gpt-4o")
		file := must[*openai.FileObject](t)(preview.Files.New(ctx, openai.FileNewParams{File: openai.File(strings.NewReader("{}"), "a.jsonl", "application/jsonl"), Purpose: openai.FilePurposeUserData}))
		must[*openai.FileDeleted](t)(preview.Files.Delete(ctx, file.ID))
	})

	t.Run("errors", func(t *testing.T) {
		_, err := c.Chat.Completions.New(ctx, ask("nobody-made-this"))
		failure{status: 404, code: "DeploymentNotFound", text: "The API deployment for this resource does not exist."}.check(t, s, err)
		wrong := openai.NewClient(azure.WithEndpoint(s.Azure.Endpoint, "2024-10-21"), azure.WithAPIKey("wrong"), option.WithHTTPClient(s.Client), option.WithMaxRetries(0))
		_, err = wrong.Chat.Completions.New(ctx, ask(s.Azure.Deployment))
		failure{status: 401, code: "401", text: "Access denied due to invalid subscription key"}.check(t, s, err)
		_, err = c.Chat.Completions.New(ctx, ask(s.Azure.Deployment), status("429")...)
		failure{status: 429}.check(t, s, err)
	})

	t.Run("v1", func(t *testing.T) {
		v1 := openai.NewClient(option.WithBaseURL(s.URL+"/openai/v1/"), option.WithAPIKey(s.Azure.APIKey), option.WithHTTPClient(s.Client), option.WithMaxRetries(0))
		done := must[*openai.ChatCompletion](t)(v1.Chat.Completions.New(ctx, ask(s.Azure.Deployment)))
		wantLabel(t, done.Choices[0].Message.Content, "gpt-4o")
	})
}
