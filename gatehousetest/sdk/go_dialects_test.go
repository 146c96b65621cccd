package sdk

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/azure"
	"github.com/openai/openai-go/v3/option"

	"gatehouse/gatehousetest"
)

// azureStream is how Azure OpenAI streams: first what the filter says about the prompt, without a choice, at last a verdict of the
// filter without a delta. Gatehouse asked for the usage, which comes before the end.
var azureStream = []string{
	`data: {"id":"","object":"","created":0,"model":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}],"choices":[]}` + "\n\n",
	`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"},"finish_reason":null}]}` + "\n\n",
	`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":"stop"}]}` + "\n\n",
	`data: {"id":"","object":"","created":0,"model":"","choices":[{"index":0,"finish_reason":null,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}},"content_filter_offsets":{"check_offset":44,"start_offset":44,"end_offset":198}}]}` + "\n\n",
	`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024-08-06","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":2,"total_tokens":13}}` + "\n\n",
	"data: [DONE]\n\n",
}

// openaiStream is the same from OpenAI.
var openaiStream = []string{azureStream[1], azureStream[2], azureStream[4], azureStream[5]}

// TestGoAcrossDialects lets each of openai-go's clients stream from an upstream that speaks the other's dialect.
func TestGoAcrossDialects(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{TLS: true})
	plain := client(s)
	classic := openai.NewClient(azure.WithEndpoint(s.Azure.Endpoint, "2024-10-21"), azure.WithAPIKey(s.Azure.APIKey), option.WithHTTPClient(s.Client), option.WithMaxRetries(0))
	tests := []struct {
		name    string
		client  openai.Client
		dialect string
		stream  []string
		target  string
		chunks  int // that a client in this dialect gets, when it did not ask for the usage
	}{
		{"openai to azure", plain, "azure", azureStream, "/openai/v1/chat/completions", 3},
		{"azure to openai", classic, "openai", openaiStream, "/v1/chat/completions", 2},
		{"azure to azure", classic, "azure", azureStream, "/openai/v1/chat/completions", 4},
		{"openai to openai", plain, "openai", openaiStream, "/v1/chat/completions", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := gatehousetest.NewUpstream(t, gatehousetest.Chunked(200, "text/event-stream", tt.stream...))
			s.Forward(u, tt.dialect, "far away")
			var res *http.Response
			stream := tt.client.Chat.Completions.NewStreaming(t.Context(), ask("far away"), option.WithResponseInto(&res))
			chunks := pages(t, stream.Next, stream.Current, stream.Err)
			var text strings.Builder
			for _, c := range chunks {
				if len(c.Choices) == 1 {
					text.WriteString(c.Choices[0].Delta.Content)
				}
				if strings.HasPrefix(tt.name, "openai") && (len(c.Choices) != 1 || !c.Choices[0].JSON.Delta.Valid()) {
					t.Errorf("chunk %s", c.RawJSON())
				}
			}
			if text.String() != "Hello" || len(chunks) != tt.chunks {
				t.Errorf("%d chunks, text %q, want %d and Hello", len(chunks), text.String(), tt.chunks)
			}
			got, err := u.Wait(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			if got[0].Target != tt.target || !strings.Contains(string(got[0].Body), `"include_usage":true`) {
				t.Errorf("the upstream got %s%s, want %s", got[0].Head, got[0].Body, tt.target)
			}
			for _, header := range []string{"X-Stainless-Lang", "User-Agent", "Cookie", "Openai-Project"} {
				if v := got[0].Header.Get(header); strings.Contains(strings.ToLower(v), "openai/go") || header != "User-Agent" && v != "" {
					t.Errorf("the upstream got %s: %s", header, v)
				}
			}
			if r := s.Explain(res.Header.Get("X-Request-Id")); r.Units == nil || r.Units.Input != 11 || r.Units.Output != 2 || r.Confidence != "reported" {
				t.Errorf("explain %+v %+v", r, r.Units)
			}
		})
	}
}

// TestGoErrorsAcrossDialects shows what each client sees of an upstream's refusals.
func TestGoErrorsAcrossDialects(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{TLS: true})
	const filtered = `{"error":{"message":"The response was filtered.","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}`
	c := client(s)

	t.Run("a filter's refusal stays what it is", func(t *testing.T) {
		u := gatehousetest.NewUpstream(t, gatehousetest.Respond(400, "application/json", filtered))
		s.Forward(u, "azure", "filtered")
		_, err := c.Chat.Completions.New(t.Context(), ask("filtered"))
		failure{status: 400, code: "content_filter", param: "prompt", text: "The response was filtered."}.check(t, s, err)
		e := err.(*openai.Error)
		if !strings.Contains(e.RawJSON(), "ResponsibleAIPolicyViolation") {
			t.Errorf("error %s", e.RawJSON())
		}
	})

	t.Run("a flat refusal gets an envelope", func(t *testing.T) {
		u := gatehousetest.NewUpstream(t, gatehousetest.Respond(429, "application/json", `{"statusCode":429,"message":"Rate limit is exceeded. Try again in 1 seconds."}`, "Retry-After-Ms: 5"))
		s.Forward(u, "azure", "flat")
		_, err := c.Chat.Completions.New(t.Context(), ask("flat"))
		failure{status: 429, text: "Rate limit is exceeded.", header: "Retry-After-Ms", headerText: "5"}.check(t, s, err)
	})

	t.Run("a page of HTML gets an envelope", func(t *testing.T) {
		u := gatehousetest.NewUpstream(t, gatehousetest.Respond(502, "text/html", "<html>Bad Gateway</html>"))
		s.Forward(u, "openai", "page")
		_, err := c.Chat.Completions.New(t.Context(), ask("page"))
		e, ok := err.(*openai.Error)
		if !ok || e.StatusCode != 502 || e.Message == "" {
			t.Errorf("error %T %v", err, err)
		}
	})

	t.Run("an upstream that is not there", func(t *testing.T) {
		u := gatehousetest.NewUpstream(t, gatehousetest.Script(gatehousetest.Reset()))
		s.Forward(u, "openai", "gone")
		_, err := c.Chat.Completions.New(t.Context(), ask("gone"))
		failure{status: 502, typ: "server_error"}.check(t, s, err)
	})
}

// TestGoRequestIDs finds a decision by the id its caller chose.
func TestGoRequestIDs(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c := client(s)
	var res *http.Response
	must[*openai.ChatCompletion](t)(c.Chat.Completions.New(t.Context(), ask("gpt-4o"), option.WithHeader("X-Client-Request-Id", "trace-1"), option.WithResponseInto(&res)))
	if r := s.Explain("trace-1"); r.ID != res.Header.Get("X-Request-Id") || r.ClientRequestID != "trace-1" {
		t.Errorf("explain %+v, want %s", r, res.Header.Get("X-Request-Id"))
	}
}

// TestGoLargeForms sends forms that do not fit into what the gateway holds in memory.
func TestGoLargeForms(t *testing.T) {
	for _, tls := range []bool{false, true} { // HTTP/1.1 and HTTP/2
		t.Run(fmt.Sprintf("tls=%v", tls), func(t *testing.T) { testLargeForms(t, gatehousetest.Start(t, gatehousetest.Options{TLS: tls})) })
	}
}

func testLargeForms(t *testing.T, s *gatehousetest.Server) {
	c := client(s)
	content := strings.Repeat("0123456789abcdef", 8<<16) // 8 MiB
	file := must[*openai.FileObject](t)(c.Files.New(t.Context(), openai.FileNewParams{File: openai.File(strings.NewReader(content), "large.txt", "text/plain"), Purpose: openai.FilePurposeUserData}))
	res := must[*http.Response](t)(c.Files.Content(t.Context(), file.ID))
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != content {
		t.Errorf("%d bytes came back (%v), want the %d that were sent", len(b), err, len(content))
	}

	// openai-go writes a form's fields by name: the file stands before the model.
	speech := must[*http.Response](t)(c.Audio.Speech.New(t.Context(), openai.AudioSpeechNewParams{Model: "gpt-4o-mini-tts", Input: "Hello", Voice: openai.AudioSpeechNewParamsVoiceUnion{OfString: openai.String("alloy")}, ResponseFormat: "wav"}, option.WithHeader("x-mock-tokens", "3000")))
	defer speech.Body.Close()
	sound, err := io.ReadAll(speech.Body)
	if err != nil || len(sound) < 2<<20 {
		t.Fatalf("%d bytes of sound (%v)", len(sound), err)
	}
	heard := must[*openai.AudioTranscriptionNewResponseUnion](t)(c.Audio.Transcriptions.New(t.Context(), openai.AudioTranscriptionNewParams{Model: "whisper-1", File: openai.File(strings.NewReader(string(sound)), "speech.wav", "audio/wav")}))
	if heard.Text == "" {
		t.Errorf("transcription %+v", heard)
	}
	for _, u := range s.Usage("product") {
		if u.Product == "audio_transcriptions" && u.Milliseconds == 60_000 {
			return
		}
	}
	t.Errorf("usage %+v, want 60 seconds of transcription", s.Usage("product"))
}
