package mock

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// host is a mock on a real listener and a caller of it.
type host struct {
	testing.TB
	url     string
	project string
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func serve(t testing.TB) *host {
	t.Helper()
	s := httptest.NewServer(New(Config{Token: "sesame", Now: func() time.Time { return noon }}))
	t.Cleanup(s.Close)
	return &host{TB: t, url: s.URL, project: "proj_one"}
}

// in returns the caller as another project.
func (h *host) in(project string) *host { return &host{h.TB, h.url, project} }

// do sends a request with headers given in pairs. body is a string, or anything that JSON can hold.
func (h *host) do(method, path string, body any, headers ...string) (*http.Response, []byte) {
	h.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	case *bytes.Buffer:
		r = b
	default:
		j, err := json.Marshal(b)
		if err != nil {
			h.Fatal(err)
		}
		r = bytes.NewReader(j)
	}
	req, err := http.NewRequestWithContext(h.Context(), method, h.url+path, r)
	if err != nil {
		h.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer sesame")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("OpenAI-Project", h.project)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil && !strings.Contains(strings.Join(headers, " "), "x-mock-break-after") {
		h.Fatalf("%s %s: %v", method, path, err)
	}
	if res.Header.Get("x-gatehouse-mock") != "1" || !strings.HasPrefix(res.Header.Get("x-request-id"), "req_") {
		h.Errorf("%s %s: headers %v lack x-gatehouse-mock or x-request-id", method, path, res.Header)
	}
	return res, b
}

type object = map[string]any

// json sends a request that must succeed and returns its answer.
func (h *host) json(method, path string, body any, headers ...string) object {
	h.Helper()
	res, b := h.do(method, path, body, headers...)
	var out object
	if err := json.Unmarshal(b, &out); err != nil || res.StatusCode != 200 {
		h.Fatalf("%s %s = %d %s (%v)", method, path, res.StatusCode, b, err)
	}
	return out
}

// at walks into v: strings are keys, ints are indices, -1 is the last.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(object)
			if !ok {
				return nil
			}
			v = m[p]
		case int:
			l, ok := v.([]any)
			if p < 0 {
				p += len(l)
			}
			if !ok || p < 0 || p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func (h *host) want(what string, got, want any) {
	h.Helper()
	// JSON has one kind of number.
	if n, ok := want.(int); ok {
		want = float64(n)
	}
	if n, ok := got.(int); ok {
		got = float64(n)
	}
	if got != want {
		h.Errorf("%s = %v (%T), want %v (%T)", what, got, got, want, want)
	}
}

// event is one server-sent event.
type event struct {
	name string
	data string
}

func (e event) json(t testing.TB) object {
	t.Helper()
	var out object
	if err := json.Unmarshal([]byte(e.data), &out); err != nil {
		t.Fatalf("event %q is not JSON: %v", e.data, err)
	}
	return out
}

func parseEvents(t testing.TB, b []byte) []event {
	t.Helper()
	var out []event
	for block := range strings.SplitSeq(strings.TrimSuffix(string(b), "\n\n"), "\n\n") {
		var e event
		for line := range strings.SplitSeq(block, "\n") {
			name, value, ok := strings.Cut(line, ": ")
			switch {
			case ok && name == "event":
				e.name = value
			case ok && name == "data":
				e.data = value
			default:
				t.Fatalf("odd line %q in the stream", line)
			}
		}
		out = append(out, e)
	}
	return out
}

func (h *host) events(method, path string, body any, headers ...string) []event {
	h.Helper()
	res, b := h.do(method, path, body, headers...)
	if res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		h.Fatalf("%s %s = %d %s %s", method, path, res.StatusCode, res.Header.Get("Content-Type"), b)
	}
	return parseEvents(h, b)
}

func TestRefusals(t *testing.T) {
	h := serve(t)
	chat := `{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}`
	tests := []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		typ, code, param, in     any
	}{
		{"no token", "POST", "/v1/chat/completions", chat, []string{"Authorization", ""}, 401, "invalid_request_error", "invalid_api_key", nil, "Incorrect API key"},
		{"wrong token", "POST", "/v1/chat/completions", chat, []string{"Authorization", "Bearer sesamE"}, 401, "invalid_request_error", "invalid_api_key", nil, ""},
		{"basic", "POST", "/v1/chat/completions", chat, []string{"Authorization", "Basic sesame"}, 401, "invalid_request_error", "invalid_api_key", nil, ""},
		{"unknown path", "POST", "/v1/foo", "", nil, 404, "invalid_request_error", nil, nil, "Invalid URL (POST /v1/foo)"},
		{"outside", "GET", "/", "", nil, 404, "invalid_request_error", nil, nil, "Invalid URL (GET /)"},
		{"double slash", "GET", "/v1//models", "", nil, 404, "invalid_request_error", nil, nil, ""},
		{"slash at the end", "GET", "/v1/models/", "", nil, 404, "invalid_request_error", nil, nil, ""},
		{"method", "PUT", "/v1/models", "", nil, 405, "invalid_request_error", nil, nil, "Not allowed to PUT on /v1/models"},
		{"model", "POST", "/v1/chat/completions", `{"model":"gpt-9","messages":[{"role":"user","content":""}]}`, nil, 404, "invalid_request_error", "model_not_found", nil, "`gpt-9` does not exist"},
		{"no model", "POST", "/v1/chat/completions", `{"messages":[{"role":"user","content":""}]}`, nil, 400, "invalid_request_error", "missing_required_parameter", "model", ""},
		{"no messages", "POST", "/v1/chat/completions", `{"model":"gpt-4o"}`, nil, 400, "invalid_request_error", "missing_required_parameter", "messages", "Missing required parameter: 'messages'."},
		{"empty messages", "POST", "/v1/chat/completions", `{"model":"gpt-4o","messages":[]}`, nil, 400, "invalid_request_error", "empty_array", "messages", ""},
		{"odd messages", "POST", "/v1/chat/completions", `{"model":"gpt-4o","messages":"hi"}`, nil, 400, "invalid_request_error", "invalid_type", "messages", ""},
		{"no role", "POST", "/v1/chat/completions", `{"model":"gpt-4o","messages":[{"role":"user","content":"a"},{"content":"b"}]}`, nil, 400, "invalid_request_error", "missing_required_parameter", "messages[1].role", ""},
		{"bad JSON", "POST", "/v1/chat/completions", `{"model":"gpt-4o","messages":[}`, nil, 400, "invalid_request_error", nil, nil, "could not parse"},
		{"trailing", "POST", "/v1/chat/completions", chat + "x", nil, 400, "invalid_request_error", nil, nil, "could not parse"},
		{"not an object", "POST", "/v1/chat/completions", `[]`, nil, 400, "invalid_request_error", nil, nil, ""},
		{"empty body", "POST", "/v1/chat/completions", ``, nil, 400, "invalid_request_error", nil, nil, ""},
		{"stream options", "POST", "/v1/chat/completions", `{"model":"gpt-4o","messages":[{"role":"user","content":"a"}],"stream_options":{"include_usage":true}}`, nil, 400, "invalid_request_error", nil, "stream_options", "only allowed when 'stream'"},
		{"n", "POST", "/v1/chat/completions", `{"model":"gpt-4o","n":129,"messages":[{"role":"user","content":"a"}]}`, nil, 400, "invalid_request_error", "invalid_value", "n", ""},
		{"max_tokens", "POST", "/v1/chat/completions", `{"model":"gpt-4o","max_tokens":0,"messages":[{"role":"user","content":"a"}]}`, nil, 400, "invalid_request_error", "invalid_value", "max_tokens", ""},
		{"max_tokens type", "POST", "/v1/chat/completions", `{"model":"gpt-4o","max_tokens":"9","messages":[{"role":"user","content":"a"}]}`, nil, 400, "invalid_request_error", "invalid_type", "max_tokens", ""},
		{"effort", "POST", "/v1/chat/completions", `{"model":"gpt-5","reasoning_effort":"huge","messages":[{"role":"user","content":"a"}]}`, nil, 400, "invalid_request_error", "invalid_value", "reasoning_effort", ""},
		{"encoding", "POST", "/v1/chat/completions", chat, []string{"Content-Encoding", "gzip"}, 415, "invalid_request_error", nil, nil, ""},
		{"unknown knob", "POST", "/v1/chat/completions", chat, []string{"x-mock-latency", "1"}, 400, "invalid_request_error", "invalid_value", "x-mock-latency", "no such knob"},
		{"bad knob", "POST", "/v1/chat/completions", chat, []string{"x-mock-tokens", "0"}, 400, "invalid_request_error", "invalid_value", "x-mock-tokens", "from 1 to 100000"},
		{"bad rate", "POST", "/v1/chat/completions", chat, []string{"x-mock-error-rate", "1.5"}, 400, "invalid_request_error", "invalid_value", "x-mock-error-rate", ""},
		{"bad status", "POST", "/v1/chat/completions", chat, []string{"x-mock-status", "200"}, 400, "invalid_request_error", "invalid_value", "x-mock-status", ""},
		{"responses input", "POST", "/v1/responses", `{"model":"gpt-4o"}`, nil, 400, "invalid_request_error", "missing_required_parameter", "input", ""},
		{"responses type", "POST", "/v1/responses", `{"model":7,"input":"x"}`, nil, 400, "invalid_request_error", "invalid_type", "model", ""},
		{"responses previous", "POST", "/v1/responses", `{"model":"gpt-4o","input":"x","previous_response_id":"resp_no"}`, nil, 404, "invalid_request_error", "previous_response_not_found", "previous_response_id", ""},
		{"responses conversation", "POST", "/v1/responses", `{"model":"gpt-4o","input":"x","conversation":"conv_no"}`, nil, 404, "invalid_request_error", nil, nil, "Conversation with id 'conv_no' not found."},
		{"responses file", "POST", "/v1/responses", `{"model":"gpt-4o","input":[{"role":"user","content":[{"type":"input_file","file_id":"file-no"}]}]}`, nil, 404, "invalid_request_error", nil, nil, "No such File object: file-no"},
		{"chat file", "POST", "/v1/chat/completions", `{"model":"gpt-4o","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file-no"}}]}]}`, nil, 404, "invalid_request_error", nil, nil, "No such File object: file-no"},
		{"item reference", "POST", "/v1/responses", `{"model":"gpt-4o","input":[{"type":"item_reference","id":"msg_no"}]}`, nil, 404, "invalid_request_error", nil, nil, "msg_no"},
		{"embedding input", "POST", "/v1/embeddings", `{"model":"text-embedding-3-small"}`, nil, 400, "invalid_request_error", "missing_required_parameter", "input", ""},
		{"embedding empty", "POST", "/v1/embeddings", `{"model":"text-embedding-3-small","input":["a",""]}`, nil, 400, "invalid_request_error", "invalid_value", "input[1]", ""},
		{"embedding ada", "POST", "/v1/embeddings", `{"model":"text-embedding-ada-002","input":"a","dimensions":5}`, nil, 400, "invalid_request_error", "unsupported_parameter", "dimensions", ""},
		{"image prompt", "POST", "/v1/images/generations", `{}`, nil, 400, "invalid_request_error", "missing_required_parameter", "prompt", ""},
		{"image webp", "POST", "/v1/images/generations", `{"prompt":"x","output_format":"webp"}`, nil, 400, "invalid_request_error", "unsupported_value", "output_format", ""},
		{"image size", "POST", "/v1/images/generations", `{"model":"gpt-image-1","prompt":"x","size":"17x4"}`, nil, 400, "invalid_request_error", "invalid_value", "size", ""},
		{"speech format", "POST", "/v1/audio/speech", `{"model":"tts-1","input":"x","voice":"alloy","response_format":"tape"}`, nil, 400, "invalid_request_error", "invalid_value", "response_format", ""},
		{"speech voice", "POST", "/v1/audio/speech", `{"model":"tts-1","input":"x"}`, nil, 400, "invalid_request_error", "missing_required_parameter", "voice", ""},
		{"speech long", "POST", "/v1/audio/speech", `{"model":"tts-1","voice":"alloy","input":"` + strings.Repeat("é", 4097) + `"}`, nil, 400, "invalid_request_error", "string_above_max_length", "input", ""},
		{"transcription form", "POST", "/v1/audio/transcriptions", `{}`, nil, 400, "invalid_request_error", nil, nil, "multipart/form-data"},
		{"moderation input", "POST", "/v1/moderations", `{}`, nil, 400, "invalid_request_error", "missing_required_parameter", "input", ""},
		{"file", "GET", "/v1/files/file-no", "", nil, 404, "invalid_request_error", nil, nil, "No such File object: file-no"},
		{"response", "GET", "/v1/responses/resp_no", "", nil, 404, "invalid_request_error", nil, nil, "Response with id 'resp_no' not found."},
		{"model by id", "GET", "/v1/models/ft%3Agpt%2F4o", "", nil, 404, "invalid_request_error", "model_not_found", nil, "`ft:gpt/4o`"},
		{"list limit", "GET", "/v1/files?limit=0", "", nil, 400, "invalid_request_error", "invalid_value", "limit", ""},
		{"list order", "GET", "/v1/files?order=up", "", nil, 400, "invalid_request_error", "invalid_value", "order", ""},
		{"list after", "GET", "/v1/files?after=file-no", "", nil, 400, "invalid_request_error", "invalid_value", "after", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := &host{t, h.url, h.project}
			res, b := h.do(tt.method, tt.path, tt.body, tt.headers...)
			var out object
			if err := json.Unmarshal(b, &out); err != nil {
				t.Fatalf("%s: %v", b, err)
			}
			h.want("status", res.StatusCode, tt.status)
			e, _ := out["error"].(object)
			if len(e) != 4 {
				t.Fatalf("error %s has not the four keys", b)
			}
			h.want("type", e["type"], tt.typ)
			h.want("code", e["code"], tt.code)
			h.want("param", e["param"], tt.param)
			if in, _ := tt.in.(string); !strings.Contains(e["message"].(string), in) {
				t.Errorf("message %q lacks %q", e["message"], in)
			}
			if tt.status == 405 && res.Header.Get("Allow") != "GET" {
				t.Errorf("Allow = %q", res.Header.Get("Allow"))
			}
		})
	}
}

func TestModels(t *testing.T) {
	h := serve(t)
	list := h.json("GET", "/v1/models", nil)
	h.want("object", list["object"], "list")
	h.want("models", len(list["data"].([]any)), len(DefaultModels()))
	h.want("first", at(list, "data", 0, "id"), "gpt-4o")
	one := h.json("GET", "/v1/models/gpt%2D4o", nil)
	h.want("object", one["object"], "model")
	h.want("owner", one["owned_by"], "gatehouse-mock")
}

func TestWithoutToken(t *testing.T) {
	s := httptest.NewServer(New(Config{Models: []Model{{ID: "a/b", Created: 5, OwnedBy: "me"}, {ID: "a/b"}}}))
	defer s.Close()
	h := &host{TB: t, url: s.URL}
	m := h.json("GET", "/v1/models/a%2Fb", nil, "Authorization", "")
	h.want("created", m["created"], 5)
	h.want("owner", m["owned_by"], "me")
	h.want("models", len(h.json("GET", "/v1/models", nil)["data"].([]any)), 1)
}

func itoa(n int) string { return strconv.Itoa(n) }

func mustUnmarshal(t testing.TB, b []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
}

// TestUnreadableBody sends chunks that are not framed as HTTP wants them: an answer must say so, not pretend.
func TestUnreadableBody(t *testing.T) {
	h := serve(t)
	for _, contentType := range []string{"application/json", "multipart/form-data; boundary=x"} {
		path := map[bool]string{true: "/v1/chat/completions", false: "/v1/files"}[contentType == "application/json"]
		conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sesame\r\nContent-Type: "+contentType+"\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		h.want("status", res.StatusCode, 400)
	}
}
