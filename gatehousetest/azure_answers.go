package gatehousetest

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// What an AzureService says, and what it counts for it.
const (
	AzureText        = "Hello from the far side."
	AzurePrompt      = 19 // tokens of every prompt
	AzureCompletion  = 7  // tokens of every answer
	azureFingerprint = "fp_67802d9a6d"
)

// The verdicts of the content filter, of a prompt and of an answer. In an error the name is singular; see AzureFiltered.
const (
	azurePromptVerdict = `{"hate":{"filtered":false,"severity":"safe"},"jailbreak":{"filtered":false,"detected":false},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}`
	azureVerdict       = `{"hate":{"filtered":false,"severity":"safe"},"protected_material_code":{"filtered":false,"detected":false},"protected_material_text":{"filtered":false,"detected":false},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}`
	azurePromptResults = `[{"prompt_index":0,"content_filter_results":` + azurePromptVerdict + `}]`
)

// AzureRefusal names one way in which the service refuses.
type AzureRefusal string

// The refusals, as they were recorded. The status, code and text of each are in azureRefusals.
const (
	AzureWrongKey        AzureRefusal = "wrong key"
	AzureExpiredToken    AzureRefusal = "expired token" // flat, without an error object
	AzureNoRole          AzureRefusal = "no role"       // 401, not 403
	AzureNoDataAction    AzureRefusal = "no data action"
	AzureLocalAuthOff    AzureRefusal = "local auth off"
	AzureFirewall        AzureRefusal = "firewall"
	AzureNoDeployment    AzureRefusal = "no deployment"
	AzureWrongPath       AzureRefusal = "wrong path"
	AzureWrongOperation  AzureRefusal = "wrong operation"
	AzureUnknownArgument AzureRefusal = "unknown argument"
	AzureFiltered        AzureRefusal = "filtered"
	AzureTokenLimit      AzureRefusal = "token limit"
	AzureDayLimit        AzureRefusal = "day limit" // retry-after of a day
	AzureFlatLimit       AzureRefusal = "flat limit"
	AzureInternal        AzureRefusal = "internal"
)

type azureRefusal struct {
	status int
	body   string
	header [][2]string
}

var azureRefusals = map[AzureRefusal]azureRefusal{
	AzureWrongKey: {401, `{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource."}}`, nil},
	AzureExpiredToken: {401, `{"statusCode":401,"message":"Unauthorized. Access token is missing, invalid, audience is incorrect (https://cognitiveservices.azure.com), or have expired."}`,
		[][2]string{{"WWW-Authenticate", `Bearer authorization_uri="https://login.example.com/"`}}},
	AzureNoRole:       {401, `{"error":{"code":"PermissionDenied","message":"Principal does not have access to API/Operation."}}`, nil},
	AzureNoDataAction: {401, "{\"error\":{\"code\":\"PermissionDenied\",\"message\":\"The principal `11111111-2222-3333-4444-555555555555` lacks the required data action `Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/action` to perform `POST /openai/deployments/{deployment-id}/chat/completions` operation.\"}}", nil},
	AzureLocalAuthOff: {403, `{"error":{"code":"AuthenticationTypeDisabled","message":"Key based authentication is disabled for this resource."}}`, nil},
	AzureFirewall: {403, `{"error":{"code":"403","message":"Access denied due to Virtual Network/Firewall rules."}}`,
		[][2]string{{"policy-id", "ThrowExceptionDueToTrafficDenied"}}},
	AzureNoDeployment:    {404, `{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again."}}`, nil},
	AzureWrongPath:       {404, `{"error":{"code":"404","message":"Resource not found"}}`, nil},
	AzureWrongOperation:  {400, `{"error":{"code":"OperationNotSupported","message":"The chatCompletion operation does not work with the specified model, text-embedding-3-small. Please choose different model and try again."}}`, nil},
	AzureUnknownArgument: {400, `{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error","param":null,"code":null}}`, nil},
	AzureFiltered: {400, `{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry. To learn more about our content filtering policies please read our documentation: https://go.microsoft.com/fwlink/?linkid=2198766","type":null,"param":"prompt","code":"content_filter","status":400,` +
		`"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"hate":{"filtered":false,"severity":"safe"},"jailbreak":{"filtered":true,"detected":true},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}}}}`, nil},
	AzureTokenLimit: {429, `{"error":{"code":"429","message":"Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 6 seconds. Please go here: https://aka.ms/oai/quotaincrease if you would like to further increase the default rate limit."}}`,
		[][2]string{{"Retry-After", "6"}, {"Retry-After-Ms", "5750"}, {"X-Ratelimit-Reset-Requests", "6"}}},
	AzureDayLimit: {429, `{"error":{"code":"RateLimitReached","message":"Your requests to gpt-5.1 for gpt-5.1 in East US 2 have exceeded the token rate limit for your current AIServices S0 pricing tier. Please retry after 86400 seconds."}}`,
		[][2]string{{"Retry-After", "86400"}}},
	AzureFlatLimit: {429, `{"statusCode":429,"message":"Rate limit is exceeded. Try again in 3 seconds."}`, [][2]string{{"Retry-After", "3"}}},
	AzureInternal:  {500, `{"error":{"code":"InternalServerError","message":"Backend returned unexpected response. Please contact Microsoft for help."}}`, nil},
}

// Body returns what the service answers with.
func (r AzureRefusal) Body() string { return azureRefusals[r].body }

func (r AzureRefusal) write(w http.ResponseWriter) {
	answer, ok := azureRefusals[r]
	if !ok {
		panic("gatehousetest: no refusal of Azure's is called " + string(r))
	}
	for _, h := range answer.header {
		w.Header().Set(h[0], h[1])
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(answer.status)
	_, _ = io.WriteString(w, answer.body) // the caller may be gone
}

// azureHeaders sets what stands on every answer. The limits are of the kind that misleads: -1 for unknown, and a reset in whole
// seconds.
func azureHeaders(h http.Header, region, clientID string) {
	const id = "7d3a4c1e-6c0f-4b0e-9d1c-1f4f9f5b2a10"
	if clientID == "" {
		clientID = id
	}
	for name, value := range map[string]string{
		"Cache-Control": "no-cache, must-revalidate", "Access-Control-Allow-Origin": "*", "Apim-Request-Id": id,
		"Strict-Transport-Security": "max-age=31536000; includeSubDomains; preload", "X-Content-Type-Options": "nosniff", "X-Ms-Region": region,
		"X-Ratelimit-Remaining-Requests": "-1", "X-Ratelimit-Remaining-Tokens": "61353", "X-Ratelimit-Limit-Requests": "-1", "X-Ratelimit-Limit-Tokens": "80000",
		"X-Ratelimit-Reset-Requests": "0", "X-Ratelimit-Reset-Tokens": "57", "X-Accel-Buffering": "no", "X-Request-Id": "3f0cb4a8-37a1-4a0e-8f0a-06ae05e1b0aa",
		"X-Ms-Client-Request-Id": clientID, "Azureml-Model-Session": "d008-20240215231538", "Azure-Openai-Deployment-Utilization": "12.3%", "X-Ms-Deployment-Name": "internal",
		"Set-Cookie": "affinity=1; path=/",
	} {
		h.Set(name, value)
	}
}

func azureUsage() string {
	return fmt.Sprintf(`{"completion_tokens":%d,"completion_tokens_details":{"accepted_prediction_tokens":0,"audio_tokens":0,"reasoning_tokens":0,"rejected_prediction_tokens":0},"prompt_tokens":%d,"prompt_tokens_details":{"audio_tokens":0,"cached_tokens":0},"total_tokens":%d}`,
		AzureCompletion, AzurePrompt, AzurePrompt+AzureCompletion)
}

// azureChat is a whole answer, with the keys in the service's order: choices first.
func azureChat(d *AzureDeployment) string {
	return `{"choices":[{"content_filter_results":` + azureVerdict + `,"finish_reason":"stop","index":0,"logprobs":null,"message":{"annotations":[],"content":"` + AzureText +
		`","refusal":null,"role":"assistant"}}],"created":1741569952,"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","model":"` + d.Model + `","object":"chat.completion","prompt_filter_results":` +
		azurePromptResults + `,"system_fingerprint":"` + azureFingerprint + `","usage":` + azureUsage() + "}\n"
}

// azureStream streams an answer: what the filter says of the prompt comes first and without a choice; every later chunk repeats the
// usage as null where it was asked for.
func azureStream(w http.ResponseWriter, d *AzureDeployment, usage bool) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	send := func(chunk string) {
		_, _ = io.WriteString(w, "data: "+chunk+"\n\n") // the caller may be gone
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
	tail := `}`
	if usage {
		tail = `,"usage":null}`
	}
	chunk := func(choice string) string {
		return `{"choices":[` + choice + `],"created":1741569952,"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","model":"` + d.Model + `","object":"chat.completion.chunk","system_fingerprint":"` + azureFingerprint + `"` + tail
	}
	annotation := func(from, to int) string {
		return fmt.Sprintf(`{"choices":[{"content_filter_offsets":{"check_offset":%d,"start_offset":%d,"end_offset":%d},"content_filter_results":%s,"finish_reason":null,"index":0,"logprobs":null}],"created":0,"id":"","model":"","object":""}`, from, from, to, azureVerdict)
	}
	verdict := azureVerdict
	if d.Async {
		verdict = `{}`
	}
	send(`{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":` + azurePromptResults + tail)
	send(chunk(`{"content_filter_results":{},"delta":{"content":"","refusal":null,"role":"assistant"},"finish_reason":null,"index":0,"logprobs":null}`))
	words := strings.SplitAfter(AzureText, " ")
	for i, word := range words {
		send(chunk(`{"content_filter_results":` + verdict + `,"delta":{"content":"` + word + `"},"finish_reason":null,"index":0,"logprobs":null}`))
		if d.Async && i == len(words)/2 {
			send(annotation(44, 99))
		}
	}
	send(chunk(`{"content_filter_results":{},"delta":{},"finish_reason":"stop","index":0,"logprobs":null}`))
	if d.Async {
		send(annotation(99, 198)) // after the end of the text
	}
	if usage {
		send(strings.TrimSuffix(chunk(""), `,"usage":null}`) + `,"usage":` + azureUsage() + `}`)
	}
	send("[DONE]")
}

// azureEmbeddings is one vector of three numbers.
func azureEmbeddings(d *AzureDeployment, inBase64 bool) string {
	vector := []float32{0.25, -0.5, 1}
	text := "[0.25,-0.5,1.0]"
	if inBase64 {
		var raw []byte
		for _, f := range vector {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
		}
		text = strconv.Quote(base64.StdEncoding.EncodeToString(raw))
	}
	return `{"object":"list","data":[{"object":"embedding","index":0,"embedding":` + text + `}],"model":"` + d.Model + `","usage":{"prompt_tokens":` + strconv.Itoa(AzurePrompt) + `,"total_tokens":` + strconv.Itoa(AzurePrompt) + `}}`
}

const azureResponseID = "resp_67cb32528d6881909eb2859a55e18a85"

func azureResponseBody(d *AzureDeployment, status, output, usage string) string {
	return `{"id":"` + azureResponseID + `","object":"response","created_at":1741369938,"status":"` + status + `","background":false,"content_filters":null,"error":null,"incomplete_details":null,"instructions":null,"max_output_tokens":null,"model":"` + d.Model +
		`","output":[` + output + `],"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{"effort":null,"summary":null},"store":true,"temperature":1.0,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":1.0,"truncation":"disabled","usage":` + usage + `,"user":null,"metadata":{}}`
}

func azureMessage() string {
	return `{"id":"msg_67cb3252cfac8190865744873aada798","type":"message","status":"completed","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"` + AzureText + `"}],"role":"assistant"}`
}

func azureResponse(d *AzureDeployment) string {
	return azureResponseBody(d, "completed", azureMessage(), azureResponseUsage())
}

func azureResponseUsage() string {
	return fmt.Sprintf(`{"input_tokens":%d,"input_tokens_details":{"cached_tokens":0},"output_tokens":%d,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":%d}`, AzurePrompt, AzureCompletion, AzurePrompt+AzureCompletion)
}

func azureResponseStream(w http.ResponseWriter, d *AzureDeployment) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	n := 0
	send := func(kind, rest string) {
		_, _ = fmt.Fprintf(w, "event: %s\ndata: {\"type\":%q,\"sequence_number\":%d,%s}\n\n", kind, kind, n, rest) // the caller may be gone
		n++
	}
	const at = `"item_id":"msg_67cb3252cfac8190865744873aada798","output_index":0,"content_index":0,`
	send("response.created", `"response":`+azureResponseBody(d, "in_progress", "", "null"))
	for _, word := range strings.SplitAfter(AzureText, " ") {
		send("response.output_text.delta", at+`"logprobs":[],"delta":"`+word+`"`)
	}
	send("response.output_text.done", at+`"logprobs":[],"text":"`+AzureText+`"`)
	send("response.completed", `"response":`+azureResponse(d))
}
