package gatehousetest

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestAzureServiceLooksStrictly holds the service to what it must notice: a check that lets everything pass would prove nothing.
func TestAzureServiceLooksStrictly(t *testing.T) {
	const classic, v1 = "/openai/deployments/d/chat/completions?api-version=2024-10-21", "/openai/v1/chat/completions"
	const good = `{"model":"d","messages":[]}`
	for _, tt := range []struct {
		name, method, target, body string
		header                     []string // more, or others, than a good request has
		wrong                      string   // part of the complaint; "" for none
	}{
		{name: "classic", target: classic, body: good},
		{name: "classic without a model", target: classic, body: `{"messages":[]}`},
		{name: "v1", target: v1, body: good},
		{name: "v1 preview", target: v1 + "?api-version=preview", body: good},
		{name: "a read", method: "GET", target: "/openai/responses/r?api-version=2025-03-01-preview"},
		{name: "no key", target: classic, body: good, header: []string{"Api-Key", ""}, wrong: "0 api-key headers"},
		{name: "the caller's bearer", target: classic, body: good, header: []string{"Authorization", "Bearer x"}, wrong: "Authorization"},
		{name: "a cookie", target: classic, body: good, header: []string{"Cookie", "a=b"}, wrong: "Cookie"},
		{name: "the caller's project", target: classic, body: good, header: []string{"Openai-Project", "p"}, wrong: "Openai-Project"},
		{name: "an SDK's fingerprint", target: classic, body: good, header: []string{"X-Stainless-Lang", "go"}, wrong: "X-Stainless-Lang"},
		{name: "compressed answers", target: classic, body: good, header: []string{"Accept-Encoding", "gzip"}, wrong: "accept-encoding"},
		{name: "no api-version", target: "/openai/deployments/d/chat/completions", body: good, wrong: "api-version"},
		{name: "two api-versions", target: classic + "&api-version=2024-10-21", body: good, wrong: "twice"},
		{name: "a date in v1", target: v1 + "?api-version=2024-10-21", body: good, wrong: "in the v1 API"},
		{name: "two models", target: classic, body: `{"model":"other","messages":[]}`, wrong: "the path"},
		{name: "a name twice", target: classic, body: `{"model":"d","model":"d"}`, wrong: "body"},
		{name: "no JSON", target: classic, body: `{"model":"d"`, wrong: "body"},
		{name: "a form", target: classic, body: good, header: []string{"Content-Type", "text/plain"}, wrong: "content-type"},
		{name: "usage of no stream", target: classic, body: `{"model":"d","stream_options":{"include_usage":true}}`, wrong: "without a stream"},
		{name: "a read with a body", method: "GET", target: classic, body: good, wrong: "with a body"},
	} {
		method := tt.method
		if method == "" {
			method = "POST"
		}
		r := httptest.NewRequest(method, tt.target, nil)
		r.Header.Set("Api-Key", "k")
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept-Encoding", "identity")
		for i := 0; i < len(tt.header); i += 2 {
			r.Header.Del(tt.header[i])
			if tt.header[i+1] != "" {
				r.Header.Set(tt.header[i], tt.header[i+1])
			}
		}
		req, wrong := readAzure(r, []byte(tt.body))
		if tt.wrong == "" && len(wrong) != 0 || tt.wrong != "" && (len(wrong) != 1 || !strings.Contains(wrong[0], tt.wrong)) {
			t.Errorf("%s: complaints %q, want %q", tt.name, wrong, tt.wrong)
		}
		if tt.name == "classic" && req.Deployment != "d" || tt.name == "v1" && req.Deployment != "d" {
			t.Errorf("%s: read as %+v", tt.name, req)
		}
	}
}

// TestAzureAnswersAreJSON decodes every answer and every event of a stream.
func TestAzureAnswersAreJSON(t *testing.T) {
	texts := map[string]string{}
	for _, d := range []AzureDeployment{{Model: "m"}, {Model: "m", Async: true}} {
		texts["chat"], texts["response"] = azureChat(&d), azureResponse(&d)
		texts["floats"], texts["base64"] = azureEmbeddings(&d, false), azureEmbeddings(&d, true)
		for name, usage := range map[string]bool{"stream": false, "stream with usage": true} {
			w := httptest.NewRecorder()
			azureStream(w, &d, usage)
			events := strings.Split(strings.TrimSuffix(w.Body.String(), "\n\n"), "\n\n")
			if events[len(events)-1] != "data: [DONE]" {
				t.Errorf("%s ends with %s", name, events[len(events)-1])
			}
			for i, e := range events[:len(events)-1] {
				texts[name+string(rune('a'+i))] = strings.TrimPrefix(e, "data: ")
			}
		}
	}
	for r := range azureRefusals {
		texts[string(r)] = r.Body()
	}
	for name, text := range texts {
		if !json.Valid([]byte(text)) {
			t.Errorf("%s is no JSON: %s", name, text)
		}
	}
}
