package sdk

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/azure"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	"gatehouse/gatehousetest"
)

// recorded runs a Gatehouse in front of a service that answers as Azure OpenAI was recorded to, once for each of its APIs. The
// deployments' public names are chat, async, embed and gone, which the service does not have. again declares the service as an
// upstream that nothing has happened to yet: one that refuses its credential is left alone for a while.
func recorded(t *testing.T, fn func(t *testing.T, s *gatehousetest.Server, a *gatehousetest.AzureService, version string, again func())) {
	for _, version := range []string{"2024-02-01", "2024-10-21", "2025-03-01-preview", ""} {
		t.Run("api-version "+version, func(t *testing.T) {
			s := gatehousetest.Start(t, gatehousetest.Options{TLS: true})
			a := gatehousetest.NewAzureService(t, map[string]gatehousetest.AzureDeployment{
				"gpt-4o-east": {Model: "gpt-4o-2024-08-06"}, "gpt-4o-async": {Model: "gpt-4o-2024-11-20", Async: true}, "ada": {Model: "text-embedding-3-small", Embeddings: true}})
			var sealed struct{ Reference string }
			s.Admin(http.MethodPost, "/gatehouse/v1/sealed_secrets", `{"name":"azure","value":"`+a.Key+`"}`, &sealed)
			n := 0
			again := func() {
				n++
				s.Apply(a.Manifest(fmt.Sprintf("azure-%d", n), version, sealed.Reference, map[string]string{"chat": "gpt-4o-east", "async": "gpt-4o-async", "embed": "ada", "gone": "nobody-has-this"}))
			}
			again()
			fn(t, s, a, version, again)
		})
	}
}

// faces are the official clients of both dialects.
func faces(s *gatehousetest.Server) map[string]openai.Client {
	return map[string]openai.Client{
		"openai":   client(s),
		"azure":    openai.NewClient(azure.WithEndpoint(s.Azure.Endpoint, "2025-04-01-preview"), azure.WithAPIKey(s.Azure.APIKey), option.WithHTTPClient(s.Client), option.WithMaxRetries(0)),
		"azure v1": client(s, option.WithBaseURL(s.URL+"/openai/v1/")),
	}
}

// counted checks what Gatehouse recorded of an answer of the service's.
func counted(t *testing.T, s *gatehousetest.Server, res *http.Response, model string) {
	t.Helper()
	r := s.Explain(res.Header.Get("X-Request-Id"))
	if r.Units == nil || r.Units.Input != gatehousetest.AzurePrompt || r.Units.Output != gatehousetest.AzureCompletion || r.Confidence != "reported" || r.UpstreamModel != model {
		t.Errorf("explain %+v %+v, want %d and %d tokens of %s", r, r.Units, gatehousetest.AzurePrompt, gatehousetest.AzureCompletion, model)
	}
	for _, private := range []string{"Azureml-Model-Session", "X-Ms-Deployment-Name", "X-Ratelimit-Remaining-Tokens", "Set-Cookie", "Azure-Openai-Deployment-Utilization"} {
		if v := res.Header.Get(private); v != "" {
			t.Errorf("the answer tells of the account: %s: %s", private, v)
		}
	}
}

// TestGoRecordedAzure asks for everything a client of either dialect asks Azure for.
func TestGoRecordedAzure(t *testing.T) {
	recorded(t, func(t *testing.T, s *gatehousetest.Server, a *gatehousetest.AzureService, version string, _ func()) {
		for face, c := range faces(s) {
			t.Run(face, func(t *testing.T) {
				var res *http.Response
				done := must[*openai.ChatCompletion](t)(c.Chat.Completions.New(t.Context(), ask("chat"), option.WithResponseInto(&res)))
				if done.Choices[0].Message.Content != gatehousetest.AzureText || done.Model != "gpt-4o-2024-08-06" || !strings.Contains(done.RawJSON(), "prompt_filter_results") {
					t.Errorf("chat %s", done.RawJSON())
				}
				if region := res.Header.Get("X-Ms-Region"); face != "openai" && region != "eastus2" {
					t.Errorf("region %q", region)
				}
				counted(t, s, res, "gpt-4o-2024-08-06")
				got := a.Requests()
				if last := got[len(got)-1]; last.Deployment != "gpt-4o-east" || last.Version != version {
					t.Errorf("Azure got %+v", last)
				}
				testRecordedStreams(t, s, &c, face, version)
				testRecordedRest(t, s, &c, version)
			})
		}
	})
}

// testRecordedStreams streams from both kinds of filter, with and without the usage.
func testRecordedStreams(t *testing.T, s *gatehousetest.Server, c *openai.Client, face, version string) {
	t.Helper()
	for name, model := range map[string]string{"chat": "gpt-4o-2024-08-06", "async": "gpt-4o-2024-11-20"} {
		for _, asked := range []bool{false, true} {
			var res *http.Response
			params := ask(name)
			if asked {
				params.StreamOptions.IncludeUsage = openai.Bool(true)
			}
			if asked && version == "2024-02-01" { // it does not know the option, and its own words say so
				err := c.Chat.Completions.NewStreaming(t.Context(), params).Err()
				failure{status: 400, text: "Unrecognized request argument supplied: stream_options"}.check(t, s, err)
				continue
			}
			stream := c.Chat.Completions.NewStreaming(t.Context(), params, option.WithResponseInto(&res))
			var text strings.Builder
			filters, usages, bare := 0, 0, 0
			for _, chunk := range pages(t, stream.Next, stream.Current, stream.Err) {
				if face == "openai" && (chunk.ID == "" || chunk.Model != model || chunk.Created == 0) {
					t.Errorf("%s: a chunk of no answer: %s", name, chunk.RawJSON())
				}
				if strings.Contains(chunk.RawJSON(), "prompt_filter_results") {
					filters++
				}
				switch {
				case chunk.JSON.Usage.Valid() && len(chunk.Choices) == 0:
					usages++
				case len(chunk.Choices) == 1:
					text.WriteString(chunk.Choices[0].Delta.Content)
					if !chunk.Choices[0].JSON.Delta.Valid() {
						bare++
					}
				case face == "openai":
					t.Errorf("%s: a chunk without a choice: %s", name, chunk.RawJSON())
				}
			}
			wantFilters, wantUsages, wantBare := 1, 0, 0
			if face == "openai" {
				wantFilters = 0
			} else if name == "async" {
				wantBare = 2
			}
			if asked {
				wantUsages = 1
			}
			if text.String() != gatehousetest.AzureText || filters != wantFilters || usages != wantUsages || bare != wantBare {
				t.Errorf("%s, usage asked for: %v: text %q, %d chunks of the prompt's filter, %d of usage, %d without a delta; want %d, %d, %d", name, asked, text.String(), filters, usages, bare, wantFilters, wantUsages, wantBare)
			}
			if version != "2024-02-01" {
				counted(t, s, res, model)
			} else if r := s.Explain(res.Header.Get("X-Request-Id")); r.Units == nil || r.Units.Output == 0 || r.Confidence != "estimated" {
				t.Errorf("an answer whose upstream cannot say what it used: %+v %+v", r, r.Units)
			}
		}
	}
}

// testRecordedRest asks for embeddings in both forms and for responses where the upstream's version has them.
func testRecordedRest(t *testing.T, s *gatehousetest.Server, c *openai.Client, version string) {
	t.Helper()
	for _, format := range []openai.EmbeddingNewParamsEncodingFormat{"float", "base64"} {
		var res *http.Response
		var raw []byte
		params := openai.EmbeddingNewParams{Model: "embed", Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("one")}, EncodingFormat: format}
		if format == "base64" { // openai-go decodes numbers only
			if _, err := c.Embeddings.New(t.Context(), params, option.WithResponseInto(&res), option.WithResponseBodyInto(&raw)); err != nil || !strings.Contains(string(raw), `"embedding":"AACAPgAAAL8AAIA/"`) {
				t.Errorf("embedding in base64: %v %s", err, raw)
			}
		} else if made := must[*openai.CreateEmbeddingResponse](t)(c.Embeddings.New(t.Context(), params, option.WithResponseInto(&res))); len(made.Data[0].Embedding) != 3 || made.Model != "text-embedding-3-small" {
			t.Errorf("embedding %s", made.RawJSON())
		}
		if r := s.Explain(res.Header.Get("X-Request-Id")); r.Units == nil || r.Units.Input != gatehousetest.AzurePrompt || r.Confidence != "reported" {
			t.Errorf("explain %+v %+v", r, r.Units)
		}
	}
	params := responses.ResponseNewParams{Model: "chat", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Hi")}}
	var res *http.Response
	if version != "" && version < "2025-03-01" {
		_, err := c.Responses.New(t.Context(), params)
		failure{status: 404, text: "Resource not found"}.check(t, s, err)
		return
	}
	done := must[*responses.Response](t)(c.Responses.New(t.Context(), params, option.WithResponseInto(&res)))
	if done.OutputText() != gatehousetest.AzureText || done.Model != "gpt-4o-2024-08-06" {
		t.Errorf("response %s", done.RawJSON())
	}
	counted(t, s, res, "gpt-4o-2024-08-06")
	stream := c.Responses.NewStreaming(t.Context(), params, option.WithResponseInto(&res))
	var text strings.Builder
	events := pages(t, stream.Next, stream.Current, stream.Err)
	for _, e := range events {
		if e.Type == "response.output_text.delta" {
			text.WriteString(e.Delta)
		}
	}
	if text.String() != gatehousetest.AzureText || events[len(events)-1].Type != "response.completed" {
		t.Errorf("streamed %q in %d events", text.String(), len(events))
	}
	counted(t, s, res, "gpt-4o-2024-08-06")
}

// TestGoRecordedRefusals shows what the clients of both dialects make of every refusal: its class, code and text, and what a
// credential that Azure refuses tells nobody.
func TestGoRecordedRefusals(t *testing.T) {
	tests := []struct {
		refusal       gatehousetest.AzureRefusal
		openai, azure failure
		times         int // how often it is asked before the caller is told
	}{
		{gatehousetest.AzureFiltered, failure{status: 400, code: "content_filter", param: "prompt", typ: "invalid_request_error", text: "The response was filtered"},
			failure{status: 400, code: "content_filter", param: "prompt", text: "The response was filtered"}, 1},
		{gatehousetest.AzureWrongOperation, failure{status: 400, code: "OperationNotSupported", typ: "invalid_request_error", text: "choose different model"}, failure{status: 400, code: "OperationNotSupported"}, 1},
		{gatehousetest.AzureUnknownArgument, failure{status: 400, typ: "invalid_request_error", text: "Unrecognized request argument"}, failure{status: 400, text: "Unrecognized request argument"}, 1},
		{gatehousetest.AzureNoDeployment, failure{status: 404, code: "model_not_found", text: "The API deployment for this resource does not exist."}, failure{status: 404, code: "DeploymentNotFound"}, 1},
		{gatehousetest.AzureTokenLimit, failure{status: 429, code: "rate_limit_exceeded", typ: "tokens", text: "exceeded token rate limit", header: "Retry-After-Ms", headerText: "5750"},
			failure{status: 429, code: "429", text: "exceeded token rate limit", header: "Retry-After", headerText: "6"}, 1},
		{gatehousetest.AzureDayLimit, failure{status: 429, code: "rate_limit_exceeded", text: "Please retry after 86400 seconds", header: "Retry-After", headerText: "86400"}, failure{status: 429, code: "RateLimitReached"}, 1},
		{gatehousetest.AzureFlatLimit, failure{status: 429, text: "Rate limit is exceeded. Try again in 3 seconds."}, failure{status: 429, text: "Rate limit is exceeded."}, 1},
		{gatehousetest.AzureWrongKey, failure{status: 502, typ: "server_error"}, failure{status: 502}, 1},
		{gatehousetest.AzureExpiredToken, failure{status: 502, typ: "server_error"}, failure{status: 502}, 1},
		{gatehousetest.AzureNoRole, failure{status: 502, typ: "server_error"}, failure{status: 502}, 1},
		{gatehousetest.AzureNoDataAction, failure{status: 502, typ: "server_error"}, failure{status: 502}, 1},
		{gatehousetest.AzureLocalAuthOff, failure{status: 502, typ: "server_error"}, failure{status: 502}, 1},
		{gatehousetest.AzureFirewall, failure{status: 502, typ: "server_error"}, failure{status: 502}, 1},
		{gatehousetest.AzureInternal, failure{status: 500, code: "InternalServerError", typ: "server_error", text: "Backend returned unexpected response."}, failure{status: 500, code: "InternalServerError"}, 4},
	}
	recorded(t, func(t *testing.T, s *gatehousetest.Server, a *gatehousetest.AzureService, _ string, again func()) {
		for face, c := range faces(s) {
			for _, tt := range tests {
				again()
				for range tt.times {
					a.Refuse(tt.refusal)
				}
				want := tt.azure
				if face == "openai" {
					want = tt.openai
				}
				before := len(a.Requests())
				_, err := c.Chat.Completions.New(t.Context(), ask("chat"))
				want.check(t, s, err)
				if n := len(a.Requests()) - before; n != tt.times {
					t.Errorf("%s, %s: it was asked %d times, want %d", face, tt.refusal, n, tt.times)
				}
				e := err.(*openai.Error)
				if tt.refusal == gatehousetest.AzureFiltered && !strings.Contains(e.RawJSON(), `"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"hate"`) {
					t.Errorf("%s: the verdicts are lost: %s", face, e.RawJSON())
				}
				if want.status == 502 && (strings.Contains(e.RawJSON(), "subscription") || strings.Contains(e.RawJSON(), "rincipal") || strings.Contains(e.RawJSON(), "Firewall")) {
					t.Errorf("%s, %s: the caller is told about the operator's account: %s", face, tt.refusal, e.RawJSON())
				}
				if face == "openai" && e.Type == "" {
					t.Errorf("%s: an error without a type: %s", tt.refusal, e.RawJSON())
				}
			}
			// What the service says by itself, and an answer after all of it.
			again()
			_, err := c.Chat.Completions.New(t.Context(), ask("gone"))
			failure{status: 404}.check(t, s, err)
			_, err = c.Chat.Completions.New(t.Context(), ask("embed"))
			failure{status: 400, code: "OperationNotSupported"}.check(t, s, err)
			must[*openai.ChatCompletion](t)(c.Chat.Completions.New(t.Context(), ask("chat")))
		}
	})
}
