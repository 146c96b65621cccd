package gatehousetest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"
)

// AzureService is a resource of Azure OpenAI on loopback, for tests of what stands between it and a client. It answers in the
// shapes that the service was recorded in, with its headers, filter results and refusals (azure_answers.go), and looks strictly at
// what it gets: a request that no correct gateway sends fails the test, whatever it is answered with. It shares nothing with
// Upstream and with the built-in mock. It is safe for concurrent use and ends with the test.
type AzureService struct {
	URL    string // without a trailing slash
	Key    string // what it takes as api-key
	Region string // as x-ms-region shows it

	tb          testing.TB
	deployments map[string]AzureDeployment

	mu       sync.Mutex
	refusals []AzureRefusal // answers of the next requests
	requests []AzureRequest
}

// AzureDeployment is one deployment of an AzureService.
type AzureDeployment struct {
	Model      string // what answers call it: the model behind the deployment
	Embeddings bool   // it embeds, and does not chat
	Async      bool   // its filter runs beside the stream and annotates it late
}

// AzureRequest is one request that an AzureService got.
type AzureRequest struct {
	Method     string
	Path       string
	Version    string // the api-version; "" for none
	Deployment string // of the path in the classic API, of the body in v1 and for responses
	Body       map[string]any
}

// NewAzureService starts a service with deployments by name.
func NewAzureService(tb testing.TB, deployments map[string]AzureDeployment) *AzureService {
	tb.Helper()
	a := &AzureService{Key: "0123456789abcdef0123456789abcdef", Region: "East US 2", tb: tb, deployments: deployments}
	server := httptest.NewServer(a)
	tb.Cleanup(server.Close)
	a.URL = server.URL
	return a
}

// Refuse makes the service answer the next requests with refusals, one each, after it has looked at them as ever.
func (a *AzureService) Refuse(refusals ...AzureRefusal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refusals = append(a.refusals, refusals...)
}

// Requests returns what came so far.
func (a *AzureService) Requests() []AzureRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.requests)
}

// Manifest returns a manifest that makes Gatehouse call the service under names of its own: routes maps a deployment's public name
// to the service's. credential is a secret reference that yields Key.
func (a *AzureService) Manifest(upstream, version, credential string, routes map[string]string) string {
	text := fmt.Sprintf("upstreams:\n- {name: %q, dialect: azure, base_url: %q, api_version: %q, region: eastus2, allow_private: true, credential: {key: %q}}\ndeployments:\n",
		upstream, a.URL, version, credential)
	for public, name := range routes {
		text += fmt.Sprintf("- {name: %q, routes: [{upstream: %q, model: %q}]}\n", public, upstream, name)
	}
	return text
}

// ServeHTTP implements http.Handler.
func (a *AzureService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		return // the caller left
	}
	req, complaints := readAzure(r, text)
	for _, c := range complaints {
		a.tb.Errorf("Azure got %s %s, which no gateway should send: %s", r.Method, r.RequestURI, c)
	}
	a.mu.Lock()
	a.requests = append(a.requests, req)
	var refusal AzureRefusal
	if len(a.refusals) > 0 {
		refusal, a.refusals = a.refusals[0], a.refusals[1:]
	}
	a.mu.Unlock()
	azureHeaders(w.Header(), a.Region, r.Header.Get("X-Ms-Client-Request-Id"))
	switch {
	case refusal != "":
	case r.Header.Get("Api-Key") != a.Key:
		refusal = AzureWrongKey
	default:
		refusal = a.answer(w, &req)
	}
	if refusal != "" {
		refusal.write(w)
	}
}

var (
	azureClassic = regexp.MustCompile(`^/openai/deployments/([^/]+)/(chat/completions|completions|embeddings)$`)
	azureVersion = regexp.MustCompile(`^20\d\d-\d\d-\d\d(-preview)?$`)
)

// readAzure reads a request and returns what is wrong with it, whatever the service makes of it.
func readAzure(r *http.Request, text []byte) (req AzureRequest, wrong []string) {
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	query := r.URL.Query()
	req = AzureRequest{Method: r.Method, Path: r.URL.Path, Version: query.Get("api-version")}
	if n := len(r.Header["Api-Key"]); n != 1 {
		complain("%d api-key headers", n)
	}
	for name := range r.Header {
		switch {
		case name == "Authorization", name == "Cookie", name == "Ocp-Apim-Subscription-Key", strings.HasPrefix(name, "Openai-") && name != "Openai-Beta",
			strings.HasPrefix(name, "X-Stainless-"), strings.HasPrefix(name, "X-Forwarded-"):
			complain("header %s", name)
		}
	}
	if coding := r.Header.Get("Accept-Encoding"); coding != "identity" {
		complain("accept-encoding %q: an answer must be readable", coding)
	}
	if len(query["api-version"]) > 1 {
		complain("api-version twice")
	}
	v1 := strings.HasPrefix(r.URL.Path, "/openai/v1/")
	switch {
	case v1 && req.Version != "" && req.Version != "preview" && req.Version != "latest":
		complain("api-version %q in the v1 API", req.Version)
	case !v1 && !azureVersion.MatchString(req.Version):
		complain("api-version %q in the classic API", req.Version)
	}
	if m := azureClassic.FindStringSubmatch(r.URL.Path); m != nil {
		req.Deployment = m[1]
	}
	if r.Method != http.MethodPost {
		if len(text) > 0 {
			complain("a %s with a body", r.Method)
		}
		return req, wrong
	}
	if r.Header.Get("Content-Type") != "application/json" {
		complain("content-type %q", r.Header.Get("Content-Type"))
	}
	// Repeated names and bad UTF-8 are errors of this decoder.
	if err := json.Unmarshal(text, &req.Body); err != nil {
		complain("body: %v", err)
		return req, wrong
	}
	model, _ := req.Body["model"].(string)
	switch {
	case req.Deployment == "":
		req.Deployment = model
	case req.Body["model"] != nil && model != req.Deployment:
		complain("the body says model %q and the path %q", model, req.Deployment)
	}
	if req.Body["stream_options"] != nil && req.Body["stream"] != true {
		complain("stream_options without a stream")
	}
	return req, wrong
}

// answer answers a request as its deployment does, or returns how it is refused.
func (a *AzureService) answer(w http.ResponseWriter, req *AzureRequest) AzureRefusal {
	op := strings.TrimPrefix(req.Path, "/openai/v1")
	if m := azureClassic.FindStringSubmatch(req.Path); m != nil {
		op = "/" + m[2]
	}
	op = strings.TrimPrefix(op, "/openai")
	if req.Method != http.MethodPost || !slices.Contains([]string{"/chat/completions", "/embeddings", "/responses"}, op) {
		return AzureWrongPath
	}
	d, known := a.deployments[req.Deployment]
	dated := req.Version != "" && req.Version[0] == '2'
	switch {
	case !known:
		return AzureNoDeployment
	case op == "/responses" && dated && req.Version < "2025-03-01":
		return AzureWrongPath
	case d.Embeddings != (op == "/embeddings"):
		return AzureWrongOperation
	case req.Body["stream_options"] != nil && dated && req.Version < "2024-09-01":
		return AzureUnknownArgument
	}
	switch stream := req.Body["stream"] == true; {
	case op == "/embeddings":
		writeJSON(w, azureEmbeddings(&d, req.Body["encoding_format"] == "base64"))
	case op == "/responses" && stream:
		azureResponseStream(w, &d)
	case op == "/responses":
		writeJSON(w, azureResponse(&d))
	case stream:
		options, _ := req.Body["stream_options"].(map[string]any)
		azureStream(w, &d, options["include_usage"] == true)
	default:
		writeJSON(w, azureChat(&d))
	}
	return ""
}

func writeJSON(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, text) // the caller may be gone
}
