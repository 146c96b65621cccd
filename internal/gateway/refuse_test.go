package gateway_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
	"gatehouse/internal/gateway"
)

const chatAnswer = `{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"Hello there"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}`

// newChat is a gate with one upstream that answers a chat, and a deployment gpt-4o.
func newChat(tb testing.TB, change ...func(*gateway.Config)) (*gate, *script) {
	tb.Helper()
	up := newScript(tb, respond(200, "application/json", chatAnswer))
	g := newGate(tb, change...)
	g.upstream("up", up.URL)
	g.deploy("gpt-4o", admin.RouteSpec{Upstream: "up"})
	return g, up
}

const chatBody = `{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}`

type errorBody struct {
	Error struct {
		Message string  `json:"message"`
		Type    *string `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	} `json:"error"`
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// wantError checks the envelope, the status and the code of a refusal, and that it can be explained.
func (g *gate) wantError(t *testing.T, a *answer, status int, code string) errorBody {
	t.Helper()
	var e errorBody
	if err := json.Unmarshal([]byte(a.body), &e); err != nil {
		t.Fatalf("status %d and a body that is no error: %v: %s", a.status, err, a.body)
	}
	if a.status != status || text(e.Error.Code) != code || e.Error.Message == "" {
		t.Fatalf("got %d %q (%s), want %d %q", a.status, text(e.Error.Code), a.body, status, code)
	}
	if r := g.explain(a.id()); r.Status != status || r.Rule == "" || r.Rule == "served" {
		t.Errorf("explain says status %d by rule %q, want %d by the rule that refused", r.Status, r.Rule, status)
	}
	return e
}

func gzipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s)) // memory takes everything
	_ = z.Close()
	return b.String()
}

func multipart(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString("--b\r\n" + p + "\r\n")
	}
	return b.String() + "--b--\r\n"
}

func field(name, value string) string {
	return `Content-Disposition: form-data; name="` + name + "\"\r\n\r\n" + value
}

// TestRefusedBeforeUpstream sends what two parsers could read differently, and what may not pass for other reasons: each is
// refused, and nothing of it reaches an upstream.
func TestRefusedBeforeUpstream(t *testing.T) {
	g, up := newChat(t, func(c *gateway.Config) { c.BodyLimit = 100 << 10 })
	const form = "multipart/form-data; boundary=b"
	file := "Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nx"
	for _, c := range []struct {
		name, path, contentType, body string
		status                        int
		header                        []string
	}{
		{name: "duplicate model", body: `{"model":"gpt-4o","model":"gpt-5","messages":[]}`, status: 400},
		{name: "model in another case", body: `{"model":"gpt-4o","Model":"gpt-5","messages":[]}`, status: 400},
		{name: "only another case", body: `{"MODEL":"gpt-4o","messages":[]}`, status: 400},
		{name: "escaped name", body: `{"model":"gpt-4o","m\u006fdel":"gpt-5","messages":[]}`, status: 400},
		{name: "folded name", body: `{"model":"gpt-4o","\u017ftream":true,"ſtream":true,"messages":[]}`, status: 400},
		{name: "duplicate stream", body: `{"model":"gpt-4o","stream":false,"stream":true}`, status: 400},
		{name: "duplicate include_usage", body: `{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true,"include_usage":false}}`, status: 400},
		{name: "duplicate max_tokens", body: `{"model":"gpt-4o","max_tokens":1,"max_tokens":100000}`, status: 400},
		{name: "model is no string", body: `{"model":["gpt-4o"],"messages":[]}`, status: 400},
		{name: "model is empty", body: `{"model":"","messages":[]}`, status: 400},
		{name: "no model", body: `{"messages":[]}`, status: 400},
		{name: "no body", body: "", status: 400},
		{name: "trailing data", body: chatBody + `{"model":"gpt-5"}`, status: 400},
		{name: "trailing garbage", body: chatBody + "x", status: 400},
		{name: "array", body: "[" + chatBody + "]", status: 400},
		{name: "byte order mark", body: "\xef\xbb\xbf" + chatBody, status: 400},
		{name: "bad UTF-8", body: "{\"model\":\"gpt-4o\",\"x\":\"\xff\"}", status: 400},
		{name: "overlong UTF-8", body: "{\"model\":\"gpt-4o\",\"x\":\"\xc0\xaf\"}", status: 400},
		{name: "UTF-16", body: "\xff\xfe{\x00}\x00", status: 400},
		{name: "comment", body: `{"model":"gpt-4o"/*,"model":"gpt-5"*/}`, status: 400},
		{name: "cut off", body: chatBody[:len(chatBody)-3], status: 400},
		{name: "nested too deep", body: `{"model":"gpt-4o","x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`, status: 400},
		{name: "two content types", body: chatBody, status: 400, header: []string{"Content-Type", "application/json", "Content-Type", "text/plain"}},
		{name: "gzip body", body: gzipped(chatBody), status: 415, header: []string{"Content-Encoding", "gzip"}},
		{name: "odd coding", body: chatBody, status: 415, header: []string{"Content-Encoding", "identity, br"}},
		{name: "too large", body: `{"model":"gpt-4o","x":"` + strings.Repeat("x", 100<<10) + `"}`, status: 413},
		{name: "second model part", path: "/v1/audio/transcriptions", contentType: form, body: multipart(field("model", "gpt-4o"), file, field("model", "gpt-5")), status: 400},
		{name: "model part by name*", path: "/v1/audio/transcriptions", contentType: form, body: multipart(field("model", "gpt-4o"), file, "Content-Disposition: form-data; name*=utf-8''model\r\n\r\ngpt-5"), status: 400},
		{name: "model part in another case", path: "/v1/audio/transcriptions", contentType: form, body: multipart(field("model", "gpt-4o"), file, field("Model", "gpt-5")), status: 400},
		{name: "form without a model", path: "/v1/audio/transcriptions", contentType: form, body: multipart(file), status: 400},
		{name: "form cut off", path: "/v1/audio/transcriptions", contentType: form, body: "--b\r\n" + field("model", "gpt-4o"), status: 400},
		{name: "form without boundary", path: "/v1/audio/transcriptions", contentType: "multipart/form-data", body: multipart(field("model", "gpt-4o")), status: 400},
		{name: "a form that says it is text", path: "/v1/images/edits", contentType: "text/plain", body: `{"model":"gpt-5","prompt":"x"}`, status: 415},
		{name: "second model in a form by another name", path: "/v1/images/edits", contentType: "Multipart/Form-Data; boundary=b", body: multipart(field("model", "gpt-4o"), field("model", "gpt-5")), status: 400},
		{name: "unknown path", path: "/v1/nothing/here", body: chatBody, status: 404},
		{name: "path with an encoded slash", path: "/v1/files/a%2Fb", body: "", status: 405},
		{name: "realtime", path: "/v1/realtime/sessions", body: `{"model":"gpt-4o"}`, status: 403},
		{name: "websocket", body: chatBody, status: 403, header: []string{"Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Key", "x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := c.path
			if path == "" {
				path = "/v1/chat/completions"
			}
			req := g.request("POST", path, c.body)
			if c.contentType != "" {
				req.Header.Set("Content-Type", c.contentType)
			}
			for i := 0; i < len(c.header); i += 2 {
				if i == 0 || c.header[i] != c.header[0] {
					req.Header.Del(c.header[i])
				}
				req.Header.Add(c.header[i], c.header[i+1])
			}
			got := g.send(req)
			var e errorBody
			if err := json.Unmarshal([]byte(got.body), &e); err != nil || got.status != c.status || e.Error.Message == "" {
				t.Fatalf("got %d %s, want %d and an error", got.status, got.body, c.status)
			}
			if r := g.explain(got.id()); r.Status != c.status || r.Rule == "served" || len(r.Attempts) != 0 {
				t.Errorf("explain says %d %q with %d attempts", r.Status, r.Rule, len(r.Attempts))
			}
			if g.usage(got.id()) != nil {
				t.Error("a refusal was charged")
			}
		})
	}
	if n := up.Accepted(); n != 0 {
		t.Errorf("the upstream was called %d times", n)
	}
}

// TestStreamedFormRefused breaks off an upload that turns out ambiguous while it is passed on: the caller learns why.
func TestStreamedFormRefused(t *testing.T) {
	g, up := newChat(t)
	_ = up
	body := multipart(field("purpose", "user_data"), "Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n"+strings.Repeat("x", 1<<20), field("purpose", "batch"))
	got := g.do("POST", "/v1/files", body, "Content-Type", "multipart/form-data; boundary=b")
	g.wantError(t, got, 400, "duplicate_field")
	for _, r := range up.Requests() {
		if r.Complete {
			t.Error("the upstream got the whole of a form that was refused")
		}
	}
}

func TestBodyCutOff(t *testing.T) {
	g, up := newChat(t)
	for _, c := range []struct{ name, head, body string }{
		{"length", "Content-Length: " + itoa(len(chatBody)+1), chatBody},
		{"chunks", "Transfer-Encoding: chunked", "1000\r\n" + chatBody},
		{"chunks without the last", "Transfer-Encoding: chunked", itoa16(len(chatBody)) + "\r\n" + chatBody + "\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := g.dial(t)
			conn.write(t, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+g.key.Value.Reveal()+"\r\nX-Client-Request-Id: cut "+c.name+"\r\n"+c.head+"\r\n\r\n"+c.body)
			conn.closeWrite(t)
			if r := g.settled("cut " + c.name); r.Status != 400 {
				t.Errorf("a body that broke off was answered with %d", r.Status)
			}
		})
	}
	if up.Accepted() != 0 {
		t.Error("a body that broke off went upstream")
	}
}

func TestMemoryBudget(t *testing.T) {
	g, up := newChat(t, func(c *gateway.Config) { c.MemoryLimit = 128 << 10 })
	got := g.do("POST", "/v1/chat/completions", `{"model":"gpt-4o","x":"`+strings.Repeat("x", 200<<10)+`"}`)
	g.wantError(t, got, 503, "server_is_overloaded")
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	// What was refused is given back.
	for range 5 {
		if got := g.do("POST", "/v1/chat/completions", chatBody); got.status != 200 {
			t.Fatalf("got %d %s", got.status, got.body)
		}
	}
	if n := len(up.Requests()); n != 5 {
		t.Errorf("%d requests went upstream, want 5", n)
	}
}

func TestTooManyOpen(t *testing.T) {
	release, reached := make(chan struct{}), make(chan struct{})
	g, up := newChat(t, func(c *gateway.Config) { c.StreamLimit = 1 })
	up.set(func(x *gatehousetest.Exchange) error {
		close(reached)
		if err := gatehousetest.Hold(release)(x); err != nil {
			return err
		}
		return x.Write([]byte(rawAnswer(200, "application/json", chatAnswer)))
	})
	first := make(chan *answer, 1)
	req := g.request("POST", "/v1/chat/completions", chatBody)
	go func() { first <- g.try(req) }()
	<-reached
	got := g.do("POST", "/openai/v1/chat/completions", chatBody)
	if got.status != 503 || !strings.Contains(got.body, `"code":"ServiceUnavailable"`) {
		t.Errorf("got %d %s, want 503 in Azure's words", got.status, got.body)
	}
	close(release)
	if got := <-first; got.status != 200 {
		t.Errorf("the open request ended with %d", got.status)
	}
}

func TestUnknownDeployment(t *testing.T) {
	g, up := newChat(t)
	e := g.wantError(t, g.do("POST", "/v1/chat/completions", `{"model":"nope","messages":[]}`), 404, "model_not_found")
	if text(e.Error.Param) != "model" || text(e.Error.Type) != "invalid_request_error" || !strings.Contains(e.Error.Message, "`nope`") {
		t.Errorf("error %+v", e)
	}
	got := g.do("POST", "/openai/deployments/nope/chat/completions?api-version=2024-10-21", `{"messages":[]}`)
	if got.status != 404 || !strings.Contains(got.body, `{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist.`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	// The key's own list narrows what the project has.
	narrow := g.newKey(admin.KeyRequest{Class: gatehouse.ClassProject, Project: g.project, User: g.user, Name: "narrow", Models: []string{"other"}})
	got = g.do("POST", "/v1/chat/completions", chatBody, "Authorization", "Bearer "+narrow.Value.Reveal())
	if got.status != 403 {
		t.Errorf("a model the key may not use: got %d %s", got.status, got.body)
	}
	if up.Accepted() != 0 {
		t.Error("the upstream was called")
	}
}

func TestCredentials(t *testing.T) {
	g, up := newChat(t)
	key := g.key.Value.Reveal()
	for _, c := range []struct {
		name   string
		header []string
		status int
		code   string
	}{
		{"none", []string{"Authorization", ""}, 401, ""},
		{"malformed", []string{"Authorization", "Bearer sk-proj-nonsense"}, 401, "invalid_api_key"},
		{"wrong secret", []string{"Authorization", "Bearer " + flip(key)}, 401, "invalid_api_key"},
		{"other organization", []string{"OpenAI-Organization", "org-other"}, 401, "mismatched_organization"},
		{"other project", []string{"OpenAI-Project", "proj_other"}, 401, "mismatched_project"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := g.do("POST", "/v1/chat/completions", chatBody, c.header...)
			g.wantError(t, got, c.status, c.code)
			if got.header.Get("Www-Authenticate") == "" {
				t.Error("no WWW-Authenticate")
			}
		})
	}
	if up.Accepted() != 0 {
		t.Error("the upstream was called")
	}
	for _, h := range [][2]string{{"Authorization", "Bearer " + key}, {"Api-Key", key}, {"Ocp-Apim-Subscription-Key", key}} {
		if got := g.do("POST", "/v1/chat/completions", chatBody, "Authorization", "", h[0], h[1]); got.status != 200 {
			t.Errorf("%s: %d %s", h[0], got.status, got.body)
		}
	}
	req := g.request("POST", "/v1/chat/completions", chatBody)
	req.SetBasicAuth("", key)
	if got := g.send(req); got.status != 200 {
		t.Errorf("basic: %d %s", got.status, got.body)
	}
}

// flip changes the secret of a key so that its checksum no longer holds.
func flip(key string) string {
	i := len(key) - 20
	c := byte('a')
	if key[i] == c {
		c = 'b'
	}
	return key[:i] + string(c) + key[i+1:]
}

// TestProvidersKey presents a provider's own key: it is refused, not passed on, and an incident.
func TestProvidersKey(t *testing.T) {
	g, up := newChat(t)
	foreign := "sk-proj-" + strings.Repeat("A1b2", 18) + "ab" + "T3Blbk" + "FJ" + strings.Repeat("Z9y8", 18) + "ab"
	got := g.do("POST", "/v1/chat/completions", chatBody, "Authorization", "Bearer "+foreign)
	g.wantError(t, got, 401, "foreign_credential")
	if up.Accepted() != 0 {
		t.Error("it went upstream")
	}
	if strings.Contains(g.log.String(), foreign) || strings.Contains(got.body, foreign) {
		t.Error("it was logged or shown")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.incidents) != 1 {
		t.Errorf("%d incidents, want 1", len(g.incidents))
	}
}

// TestModels lists and shows deployments, never what an upstream has.
// TestModelsInAzuresShapes lists deployments as each of Azure's faces does, and one of them.
func TestModelsInAzuresShapes(t *testing.T) {
	g, up := newChat(t)
	dep, err := g.admin.Deployments(deadline(t), g.who)
	must(t, err)
	at := strconv.FormatInt(dep[0].CreatedAt.Seconds(), 10)
	model := `{"capabilities":{"fine_tune":false,"inference":true},"lifecycle_status":"generally-available","id":"gpt-4o","status":"succeeded","created_at":` + at + `,"updated_at":` + at +
		`,"object":"model","created":` + at + `,"owned_by":"gatehouse"}`
	deployment := `{"scale_settings":{"scale_type":"standard"},"model":"gpt-4o","owner":"organization-owner","id":"gpt-4o","status":"succeeded","created_at":` + at + `,"updated_at":` + at + `,"object":"deployment"}`
	openai := `{"id":"gpt-4o","object":"model","created":` + at + `,"owned_by":"gatehouse"}`
	for _, c := range []struct{ path, want string }{
		{"/openai/models?api-version=2024-10-21", `{"object":"list","data":[` + model + `]}`},
		{"/openai/models/gpt-4o?api-version=2024-10-21", model},
		{"/openai/deployments?api-version=2022-12-01", `{"object":"list","data":[` + deployment + `]}`},
		{"/openai/deployments/gpt-4o?api-version=2022-12-01", deployment},
		{"/openai/v1/models", `{"object":"list","data":[` + openai + `]}`},
		{"/models/info?api-version=2024-05-01-preview", `{"model_name":"gpt-4o","model_type":"chat-completion","model_provider_name":"gatehouse"}`},
	} {
		if got := g.do("GET", c.path, ""); got.status != 200 || got.body != c.want {
			t.Errorf("%s: %d %s\nwant %s", c.path, got.status, got.body, c.want)
		}
	}
	g.deploy("text-embedding-3-small", admin.RouteSpec{Upstream: "up"})
	if got := g.do("GET", "/models/info?api-version=2024-05-01-preview", ""); got.status != 400 || !strings.Contains(got.body, "may use 2 models") {
		t.Errorf("of two models: %d %s", got.status, got.body)
	}
	if got := g.do("GET", "/models/info?model=text-embedding-3-small", ""); got.status != 200 || !strings.Contains(got.body, `"model_type":"embeddings"`) {
		t.Errorf("of one of two: %d %s", got.status, got.body)
	}
	for _, path := range []string{"/openai/deployments/unknown?api-version=2022-12-01", "/models/info?model=unknown"} {
		if got := g.do("GET", path, ""); got.status != 404 || !strings.Contains(got.body, `"code":"DeploymentNotFound"`) {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if up.Accepted() != 0 {
		t.Error("the upstream was asked")
	}
}

// TestInference calls through the paths of Azure AI model inference.
func TestInference(t *testing.T) {
	g, up := newChat(t)
	const version = "?api-version=2024-05-01-preview"
	got := g.do("POST", "/models/chat/completions"+version, chatBody, "Authorization", "", "api-key", g.key.Value.Reveal(), "extra-parameters", "pass-through")
	if got.status != 200 || got.body != chatAnswer || up.got().Target != "/v1/chat/completions" || string(up.got().Body) != chatBody {
		t.Errorf("chat: %d %s; upstream had %s %s", got.status, got.body, up.got().Target, up.got().Body)
	}
	if got.header.Get("Apim-Request-Id") == "" {
		t.Error("the answer has not Azure's headers")
	}
	if r := g.explain(got.id()); r.Dialect != "azure_ai" || r.Route != "chat.completions.create" {
		t.Errorf("explained as %+v", r)
	}
	got = g.do("POST", "/models/embeddings"+version, `{"model":"gpt-4o","input":["a"]}`)
	if got.status != 200 || up.got().Target != "/v1/embeddings" {
		t.Errorf("embeddings: %d %s", got.status, got.body)
	}
	if got := g.do("POST", "/models/chat/completions"+version, `{"model":"unknown","messages":[]}`); got.status != 404 || !strings.Contains(got.body, "DeploymentNotFound") {
		t.Errorf("unknown: %d %s", got.status, got.body)
	}
	if got := g.do("POST", "/models/chat/completions"+version, `{"messages":[]}`); got.status != 400 || !strings.Contains(got.body, "model") {
		t.Errorf("no model: %d %s", got.status, got.body)
	}
	// An OpenAI client whose base URL lacks its /v1 is told so.
	if got := g.do("GET", "/models", ""); got.status != 404 || !strings.Contains(got.body, "base URL") {
		t.Errorf("/models: %d %s", got.status, got.body)
	}
	for _, c := range [][2]string{{"POST", "/openai/images/generations:submit"}, {"GET", "/openai/operations/images/op_1"}, {"DELETE", "/openai/operations/images/op_1"}} {
		if got := g.do(c[0], c[1]+"?api-version=2023-06-01-preview", ""); got.status != 403 || !strings.Contains(got.body, "/images/generations, which answers at once") {
			t.Errorf("%s: %d %s", c, got.status, got.body)
		}
	}
}

func TestModels(t *testing.T) {
	g, up := newChat(t)
	g.deploy("*", admin.RouteSpec{Upstream: "up"})
	got := g.do("GET", "/v1/models", "")
	var list struct {
		Object string
		Data   []struct{ ID, Object string }
	}
	if err := json.Unmarshal([]byte(got.body), &list); err != nil || got.status != 200 || len(list.Data) != 1 || list.Data[0].ID != "gpt-4o" || list.Object != "list" {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if got := g.do("GET", "/v1/models/gpt-4o", ""); got.status != 200 || !strings.Contains(got.body, `"object":"model"`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if up.Accepted() != 0 {
		t.Error("the upstream was asked")
	}
	if r := g.explain(got.id()); r.Rule != "served" || r.Status != http.StatusOK {
		t.Errorf("explain: %+v", r)
	}
}
