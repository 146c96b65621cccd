package dialect

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"gatehouse"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run with -update after checking:\n%s", path, got)
	}
}

func TestErrorBodies(t *testing.T) {
	spend := &gatehouse.Error{Kind: gatehouse.RateLimited, Code: "project_spend_limit_exceeded", Message: "You exceeded your current quota, please check your plan and billing details.", RetryAfterMillis: 5000}
	cases := []struct {
		name string
		e    *gatehouse.Error
	}{
		{"internal error, text hidden", &gatehouse.Error{Message: "pq: password authentication failed"}},
		{"missing parameter", &gatehouse.Error{Kind: gatehouse.Invalid, Code: "missing_required_parameter", Param: "messages", Message: "Missing required parameter: 'messages'."}},
		{"bad key", &gatehouse.Error{Kind: gatehouse.Unauthenticated, Code: "invalid_api_key", Message: "Incorrect API key provided: sk-proj-...sQoA."}},
		{"other project", &gatehouse.Error{Kind: gatehouse.Unauthenticated, Code: "mismatched_project", Message: "OpenAI-Project header should match project for API key"}},
		{"missing scope", &gatehouse.Error{Kind: gatehouse.Forbidden, Code: "missing_scope", Message: "You have insufficient permissions for this operation. Missing scopes: model.request."}},
		{"model not allowed", &gatehouse.Error{Kind: gatehouse.Forbidden, Code: "model_not_found", Param: "model", Message: "Project `proj_x` does not have access to model `gpt-4o`"}},
		{"model unknown", &gatehouse.Error{Kind: gatehouse.NotFound, Code: "model_not_found", Message: "The model `x` does not exist or you do not have access to it."}},
		{"unknown URL", &gatehouse.Error{Kind: gatehouse.NotFound, Message: "Invalid URL (POST /v1/foo)"}},
		{"method", &gatehouse.Error{Kind: gatehouse.MethodNotAllowed, Message: "Not allowed to POST on /v1/models."}},
		{"conflict", &gatehouse.Error{Kind: gatehouse.Conflict, Message: "It changed meanwhile. Read it again."}},
		{"too large", &gatehouse.Error{Kind: gatehouse.TooLarge, Message: "The body is larger than 32 MiB. Send less."}},
		{"unsupported", &gatehouse.Error{Kind: gatehouse.Unsupported, Message: "Content-Encoding gzip cannot be read here. Send the body uncompressed."}},
		{"too many requests", &gatehouse.Error{Kind: gatehouse.RateLimited, Code: "rate_limit_exceeded", Param: "requests", Message: "Rate limit reached. Please try again in 120ms.", RetryAfterMillis: 120}},
		{"too many tokens", &gatehouse.Error{Kind: gatehouse.RateLimited, Code: "rate_limit_exceeded", Param: "tokens", Message: "Rate limit reached. Please try again in 3.89s.", RetryAfterMillis: 3890}},
		{"slow down", &gatehouse.Error{Kind: gatehouse.RateLimited, Code: "slow_down", Message: "Slow down."}},
		{"spend limit", spend},
		{"spend limit, for good", &gatehouse.Error{Kind: gatehouse.RateLimited, Code: "credit_balance_exhausted", Message: "You exceeded your current quota, please check your plan and billing details.", NoRetry: true}},
		{"unavailable", &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "server_is_overloaded", Message: "No memory is left for bodies. Try again."}},
		{"bad upstream", &gatehouse.Error{Kind: gatehouse.BadUpstream, Code: "upstream_credential_refused", Message: "The upstream refused our credential.", NoRetry: true}},
		{"timeout", &gatehouse.Error{Kind: gatehouse.Timeout, Message: "The upstream did not answer within 600 s."}},
		{"hostile text", &gatehouse.Error{Kind: gatehouse.Invalid, Param: "a\"b", Message: "quote \" backslash \\ newline \n tab \t null \x00 bell \a delete \x7f bad \xff\xc3 line \u2028 par \u2029 <script>&amp; 日本"}},
	}
	var out strings.Builder
	for _, c := range cases {
		fmt.Fprintf(&out, "%s: %d\n", c.name, Status(c.e.Kind))
		for _, face := range []Face{FaceOpenAI, FaceAzure} {
			body := AppendError(nil, face, c.e)
			fmt.Fprintf(&out, "  %s\n", body)
			checkEnvelope(t, face, body)
		}
		RetryHeaders(c.e, func(name, value string) { fmt.Fprintf(&out, "  %s: %s\n", name, value) })
	}
	for _, face := range []Face{FaceOpenAI, FaceAzure} {
		fmt.Fprintf(&out, "no credential, %s\n  %s\n", face, AppendError(nil, face, MissingCredential(face)))
	}
	golden(t, "errors.golden", out.String())
}

// checkEnvelope fails unless body is what the SDKs of a face decode.
func checkEnvelope(t *testing.T, face Face, body []byte) {
	t.Helper()
	var got struct {
		Error map[string]any `json:"error"`
	}
	if err := json.Unmarshal(body, &got); err != nil || got.Error == nil {
		t.Fatalf("%s: %v", body, err)
	}
	keys := []string{"message", "type", "param", "code"}
	if face.IsAzure() {
		keys = []string{"message", "code"}
	}
	for _, k := range keys {
		if _, ok := got.Error[k]; !ok {
			t.Errorf("%s: no key %q", body, k)
		}
	}
	if m, ok := got.Error["message"].(string); !ok || m == "" {
		t.Errorf("%s: no message", body)
	}
}

func TestEveryKindHasALook(t *testing.T) {
	for k := gatehouse.Internal; k <= gatehouse.MethodNotAllowed; k++ {
		if http.StatusText(Status(k)) == "" {
			t.Errorf("%s: status %d", k, Status(k))
		}
		checkEnvelope(t, FaceOpenAI, AppendError(nil, FaceOpenAI, &gatehouse.Error{Kind: k}))
	}
	if Status(gatehouse.Kind(200)) != 500 {
		t.Error("an unknown kind is not 500")
	}
	checkEnvelope(t, FaceAzure, AppendError(nil, FaceAzure, &gatehouse.Error{Kind: gatehouse.Kind(200)}))
}

func TestStreamError(t *testing.T) {
	e := gatehouse.Errorf(gatehouse.BadUpstream, "gone")
	const data = `data: {"error":{"message":"gone","type":"server_error","param":null,"code":null}}` + "\n\n"
	if got := string(AppendStreamError(nil, FaceOpenAI, EventUnnamed, e)); got != data {
		t.Errorf("got %q", got)
	}
	if got := string(AppendStreamError(nil, FaceOpenAI, EventNamed, e)); got != "event: error\n"+data {
		t.Errorf("got %q", got)
	}
}

func FuzzAppendError(f *testing.F) {
	f.Add("plain", "code", "param")
	f.Add("\x00\xff\u2028\"\\", "", "a\nb")
	f.Fuzz(func(t *testing.T, message, code, param string) {
		for kind := gatehouse.Internal; kind <= gatehouse.MethodNotAllowed; kind++ {
			for _, face := range []Face{FaceOpenAI, FaceAzure} {
				body := AppendError(nil, face, &gatehouse.Error{Kind: kind, Message: message, Code: code, Param: param})
				if !json.Valid(body) || !utf8.Valid(body) {
					t.Fatalf("not JSON: %q", body)
				}
				for _, b := range body {
					if b < ' ' {
						t.Fatalf("a control character: %q", body)
					}
				}
			}
		}
		var back string
		if err := json.Unmarshal(appendString(nil, message), &back); err != nil || back != strings.ToValidUTF8(message, "\uFFFD") && utf8.ValidString(message) {
			t.Fatalf("%q came back as %q: %v", message, back, err)
		}
	})
}

func TestTranslateError(t *testing.T) {
	const filter = `{"error":{"message":"The response was filtered.","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"hate":{"filtered":false,"severity":"safe"}}}}}`
	const openai = `{"error":{"message":"m","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`
	for _, tt := range []struct {
		name     string
		from, to Face
		status   int
		body     string
		want     string
	}{
		{"same wire, untouched", FaceOpenAI, FaceOpenAI, 400, " " + openai + "\n", " " + openai + "\n"},
		{"same wire between v1 and classic", FaceAzureV1, FaceAzure, 400, filter, filter},
		{"content filter to OpenAI", FaceAzure, FaceOpenAI, 400, filter,
			`{"error":{"message":"The response was filtered.","type":"invalid_request_error","param":"prompt","code":"content_filter","innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"hate":{"filtered":false,"severity":"safe"}}},"status":400}}`},
		{"token limit to OpenAI", FaceAzure, FaceOpenAI, 429, `{"error":{"code":"429","message":"have exceeded token rate limit. Please retry after 6 seconds."}}`,
			`{"error":{"message":"have exceeded token rate limit. Please retry after 6 seconds.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`},
		{"no deployment to OpenAI", FaceAzure, FaceOpenAI, 404, `{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}`,
			`{"error":{"message":"The API deployment for this resource does not exist.","type":"invalid_request_error","param":null,"code":"model_not_found"}}`},
		{"no resource to OpenAI", FaceAzure, FaceOpenAI, 404, `{"error":{"code":"404","message":"Resource not found"}}`,
			`{"error":{"message":"Resource not found","type":"invalid_request_error","param":null,"code":null}}`},
		{"flat form to OpenAI", FaceAzure, FaceOpenAI, 500, `{"statusCode":500,"message":"Internal server error","activityId":"x"}`,
			`{"error":{"message":"Internal server error","type":"server_error","param":null,"code":null}}`},
		{"flat form to Azure", FaceAzure, FaceAzure, 503, `{"statusCode":503,"message":"busy"}`, `{"error":{"code":"ServiceUnavailable","message":"busy"}}`},
		{"OpenAI to Azure", FaceOpenAI, FaceAzure, 400, openai, `{"error":{"code":"context_length_exceeded","message":"m","type":"invalid_request_error","param":"messages"}}`},
		{"OpenAI's 429 to Azure", FaceOpenAI, FaceAzureV1, 429, `{"error":{"message":"m","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`,
			`{"error":{"code":"429","message":"m","type":"tokens","param":null}}`},
		{"unknown model to Azure", FaceOpenAI, FaceAzure, 404, `{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"model_not_found"}}`,
			`{"error":{"code":"DeploymentNotFound","message":"m","type":"invalid_request_error","param":null}}`},
		{"bare string", FaceOpenAI, FaceOpenAI, 403, `{"error":"You have insufficient permissions."}`,
			`{"error":{"message":"You have insufficient permissions.","type":"invalid_request_error","param":null,"code":null}}`},
		{"vLLM's old form", FaceOpenAI, FaceOpenAI, 400, `{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400}`,
			`{"error":{"message":"too long","type":"BadRequestError","param":null,"code":null}}`},
		{"FastAPI", FaceOpenAI, FaceOpenAI, 404, `{"detail":"Not Found"}`, `{"error":{"message":"Not Found","type":"invalid_request_error","param":null,"code":null}}`},
		{"plain text", FaceOpenAI, FaceOpenAI, 404, "404 page\n not found\n", `{"error":{"message":"404 page not found","type":"invalid_request_error","param":null,"code":null}}`},
		{"page of a proxy", FaceOpenAI, FaceOpenAI, 502, "<html><b>Bad Gateway nginx/1.2</b></html>",
			`{"error":{"message":"The upstream answered with status 502 and no error that can be read. Try again, and if it persists give the administrator of this gateway the x-request-id of this answer.","type":"server_error","param":null,"code":null}}`},
		{"nothing, to Azure", FaceOpenAI, FaceAzure, 504, "",
			`{"error":{"code":"GatewayTimeout","message":"The upstream answered with status 504 and no error that can be read. Try again, and if it persists give the administrator of this gateway the x-request-id of this answer."}}`},
		{"a message that is no text", FaceAzure, FaceOpenAI, 400, `{"error":{"code":"x","message":["a", "b"]}}`,
			`{"error":{"message":"[\"a\", \"b\"]","type":"invalid_request_error","param":null,"code":"x"}}`},
		{"null", FaceOpenAI, FaceOpenAI, 418, `{"error":null}`,
			`{"error":{"message":"The upstream answered with status 418 and no error that can be read. Try again, and if it persists give the administrator of this gateway the x-request-id of this answer.","type":"invalid_request_error","param":null,"code":null}}`},
	} {
		if got := string(TranslateError(tt.from, tt.to, tt.status, []byte(tt.body))); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func FuzzTranslateError(f *testing.F) {
	f.Add(400, []byte(`{"error":{"message":"m","type":null,"param":1,"code":{"a":[]}}}`))
	f.Add(500, []byte("<html>"))
	f.Add(429, []byte(`{"error":"x","message":2}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		for _, from := range []Face{FaceOpenAI, FaceAzure} {
			for _, to := range []Face{FaceOpenAI, FaceAzureV1} {
				out := TranslateError(from, to, status, body)
				if !HasErrorObject(out) {
					t.Fatalf("no error object: %q", out)
				}
				if from.IsAzure() != to.IsAzure() {
					checkEnvelope(t, to, out)
				}
			}
		}
	})
}
