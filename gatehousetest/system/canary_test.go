package system_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"gatehouse"
	"gatehouse/gatehousetest"
)

// canary is one planted secret. Where it may appear is decided here and nowhere else.
type canary struct {
	name string
	text string
	// core is the part that makes it a secret: of a key of ours not the prefix, the public id and the last characters, which masks
	// and logs show.
	core string
}

// canaries are the planted secrets.
type canaries struct{ list []canary }

// plant makes a secret of 40 random characters between two texts.
func (c *canaries) plant(name, before, after string) string {
	core := gatehouse.RandomBase62(40)
	c.add(name, before+core+after, core)
	return before + core + after
}

func (c *canaries) add(name, text, core string) { c.list = append(c.list, canary{name, text, core}) }

// addKey plants a key of ours.
func (c *canaries) addKey(name, key string) {
	const sum, secret = 6, 43
	c.add(name, key, key[len(key)-sum-secret:len(key)-sum])
}

// needles are the forms in which a secret is looked for: whole, in the codings that programs put text into, and pieces of 16
// characters, so that one that was cut is found too.
func (c *canary) needles() [][]byte {
	raw := []byte(c.text)
	forms := [][]byte{raw, []byte(base64.StdEncoding.EncodeToString(raw)), []byte(base64.RawURLEncoding.EncodeToString(raw)),
		[]byte(hex.EncodeToString(raw)), []byte(url.QueryEscape(c.text)), fmt.Appendf(nil, "%x", c.core)}
	const piece = 16
	for at := 0; at+piece <= len(c.core); at += 8 {
		forms = append(forms, []byte(c.core[at:at+piece]))
	}
	if len(c.core) >= piece {
		forms = append(forms, []byte(c.core[len(c.core)-piece:]))
	}
	return forms
}

// sink is a place where secrets could end up.
type sink struct {
	name    string
	text    []byte
	control string // stands in it for certain: a sink without it was not searched
}

// search reports every canary in every sink, but for those a sink may show.
func (c *canaries) search(tb testing.TB, sinks []sink, allowed map[string][]string) {
	tb.Helper()
	for _, s := range sinks {
		if s.control == "" || !bytes.Contains(s.text, []byte(s.control)) {
			tb.Errorf("%s (%d bytes): the control %q is not in it: the search proves nothing", s.name, len(s.text), s.control)
		}
		found := 0
		for _, one := range c.list {
			if slices.Contains(allowed[s.name], one.name) {
				continue
			}
			for _, needle := range one.needles() {
				if at := bytes.Index(s.text, needle); at >= 0 {
					found++
					tb.Errorf("%s holds %s: ...%q...", s.name, one.name, s.text[max(0, at-120):min(len(s.text), at+len(needle)+60)])
					break
				}
			}
		}
		tb.Logf("%-28s %9d bytes searched for %d secrets: %d found", s.name, len(s.text), len(c.list), found)
	}
}

// provider answers as an upstream that gossips: what it was told the credential is stands in its errors. The prompt says how.
func provider(completion string) gatehousetest.Step {
	return gatehousetest.Script(func(x *gatehousetest.Exchange) error {
		credential := strings.TrimPrefix(x.Request.Header.Get("Authorization"), "Bearer ")
		if credential == "" {
			credential = x.Request.Header.Get("Api-Key")
		}
		head := func(status, kind string, body string, more ...string) error {
			return x.Write(fmt.Appendf(nil, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n%s", status, kind, len(body), strings.Join(more, ""), body))
		}
		gossip := `{"error":{"message":"something about key ` + credential + `","type":"invalid_request_error","param":null,"code":"bad"}}`
		has := func(mode string) bool { return bytes.Contains(x.Request.Body, []byte(mode)) }
		switch {
		case has("mode-400"):
			return head("400 Bad Request", "application/json", gossip)
		case has("mode-401"):
			return head("401 Unauthorized", "application/json", gossip, "Www-Authenticate: Bearer "+credential+"\r\n")
		case has("mode-403"):
			return head("403 Forbidden", "application/json", gossip)
		case has("mode-429"):
			return head("429 Too Many Requests", "application/json", gossip, "X-Should-Retry: false\r\n")
		case has("mode-500"):
			return head("500 Oops "+credential, "text/plain", "proxy says: Authorization: Bearer "+credential)
		case has("mode-302"):
			return head("302 Found", "text/plain", "", "Location: https://elsewhere.example/?key="+credential+"\r\n", "Set-Cookie: session="+credential+"\r\n")
		case has("mode-status"):
			return x.Write([]byte("HTTP/1.1 " + credential + "\r\n\r\n"))
		case has("mode-header"):
			return x.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: " + credential + "\r\n\r\n"))
		case has("mode-line"):
			return x.Write([]byte("HTTP/1.1 200 OK\r\n" + credential + " broken\r\n\r\n"))
		case has("mode-chunk"):
			return x.Write([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + credential + "\r\nx\r\n"))
		case has("mode-gzip"):
			return head("200 OK", "application/json", credential, "Content-Encoding: gzip\r\n")
		case has("mode-coding"):
			return head("200 OK", "application/json", "{}", "Content-Encoding: "+credential+"\r\n")
		case has("mode-stream"):
			chunk := func(delta, finish string) string {
				return `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":` + delta + `,"finish_reason":` + finish + `}]}` + "\n\n"
			}
			return head("200 OK", "text/event-stream", chunk(`{"role":"assistant","content":"`+completion+`"}`, "null")+chunk("{}", `"stop"`)+"data: [DONE]\n\n")
		case has("mode-broken-stream"):
			return errors.Join(x.Write([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9999\r\nConnection: close\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\""+completion+"\n\n")), errors.New("the connection ends here"))
		case strings.Contains(x.Request.Target, "/embeddings"):
			return head("200 OK", "application/json", `{"object":"list","data":[],"model":"m","usage":{"prompt_tokens":5,"total_tokens":5}}`)
		}
		return head("200 OK", "application/json", `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"`+completion+
			`"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}`, "X-Request-Id: upstream-request-1\r\n", "Set-Cookie: s="+credential+"\r\n")
	})
}

// TestNoSecretAnywhere plants secrets in every path a request, an answer or a configuration can take and looks for them in all
// that the process writes, shows and keeps.
//
// What is kept on purpose: a caller's own id for a request (X-Client-Request-Id and its likes), because it is what the caller looks
// the decision up by, its User-Agent, and the model it asked for. They are kept as they come, with one exception: a credential of
// ours or of a provider's form in them is not.
func TestNoSecretAnywhere(t *testing.T) {
	var c canaries
	completion := c.plant("completion", "The answer is ", ".")
	upstream := gatehousetest.NewUpstream(t, provider(completion))
	credential := c.plant("upstream credential", "cred-", "")
	sealed := c.plant("sealed secret", "sealed-", "")
	s := newSingle(t, "log: {level: debug}", "private_upstreams: [127.0.0.1]", "drain: 1s")
	for _, file := range []string{"pepper", "kek"} {
		text, err := os.ReadFile(filepath.Join(s.dir, file))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if _, material, ok := strings.Cut(strings.TrimSpace(line), "1 "); ok && !strings.HasPrefix(line, "#") {
				raw, err := base64.StdEncoding.DecodeString(material)
				if err != nil {
					t.Fatal(err)
				}
				c.add(file, material, strings.TrimRight(material, "="))
				c.add(file+" (bytes)", string(raw), string(raw))
			}
		}
	}
	n, web := serve(t, s.config, "UPSTREAM_API_KEY="+credential), client(t)
	admin := func(path string, body, out any) {
		t.Helper()
		must(t, web, http.MethodPost, n.URL+path, s.AdminKey, body, out)
	}
	c.addKey("first admin key", s.AdminKey)

	var made struct{ ID, Value, Reference string }
	admin("/gatehouse/v1/sealed_secrets", map[string]string{"name": "azure", "value": sealed}, &made)
	admin("/gatehouse/v1/apply", fmt.Appendf(nil, `
upstreams:
- {name: mock, dialect: mock}
- {name: real, dialect: openai, base_url: %[1]s/v1, allow_private: true, credential: {key: "env://UPSTREAM_API_KEY"}}
- {name: vaulted, dialect: azure, base_url: %[1]s, allow_private: true, credential: {key: "%[2]s"}}
deployments:
- {name: gpt-4o-mini, routes: [{upstream: mock}]}
- {name: real, routes: [{upstream: real}]}
- {name: vaulted, routes: [{upstream: vaulted}]}
`, upstream.URL, made.Reference), nil)
	control := "control-" + gatehouse.RandomBase62(20)
	admin("/v1/organization/projects", map[string]string{"name": control}, &made)
	var account struct{ ID string }
	admin("/v1/organization/projects/"+s.ProjectID+"/service_accounts", map[string]any{"name": "robot", "create_service_account_only": true}, &account)
	keys := map[string]string{}
	for _, class := range []struct {
		name string
		body map[string]any
	}{
		{"project", map[string]any{"class": "project", "project_id": s.ProjectID, "user_id": s.UserID}},
		{"service_account", map[string]any{"class": "service_account", "project_id": s.ProjectID, "service_account_id": account.ID}},
		{"user", map[string]any{"class": "user", "user_id": s.UserID}},
		{"admin", map[string]any{"class": "admin", "user_id": s.UserID}},
		{"revoked", map[string]any{"class": "project", "project_id": s.ProjectID, "user_id": s.UserID}},
	} {
		class.body["name"] = class.name
		admin("/gatehouse/v1/keys", class.body, &made)
		keys[class.name] = made.Value
		c.addKey(class.name+" key", made.Value)
		if class.name == "project" {
			keys["id"] = made.ID
		}
	}
	must(t, web, http.MethodDelete, n.URL+"/gatehouse/v1/keys/"+made.ID, s.AdminKey, nil, nil)
	var contoso struct {
		ID         string
		Key1, Key2 struct{ Value string }
	}
	admin("/gatehouse/v1/resources", map[string]any{"project_id": s.ProjectID, "name": "contoso"}, &contoso)
	c.addKey("KEY1", contoso.Key1.Value)
	c.addKey("KEY2", contoso.Key2.Value)
	keys["old KEY1"], keys["KEY2"] = contoso.Key1.Value, contoso.Key2.Value
	admin("/gatehouse/v1/resources/"+contoso.ID+"/regenerate_key", map[string]any{"key_name": "Key1"}, &contoso)
	c.addKey("new KEY1", contoso.Key1.Value)
	keys["new KEY1"] = contoso.Key1.Value

	// Everything that is answered is looked at: refusals whole, of the others the header.
	var refusals, headers bytes.Buffer
	var ids []string
	total := 0
	send := func(method, path, key string, body any, header ...string) reply {
		t.Helper()
		r := ask(t.Context(), web, method, n.URL+path, key, body, header...)
		total++
		if r.Header == nil {
			t.Errorf("%s %s: %v", method, path, r.Err)
			return r
		}
		if r.Status >= 300 {
			fmt.Fprintf(&refusals, "%d %s\n", r.Status, r.Body)
		}
		_ = r.Header.Write(&headers) // a buffer takes everything
		ids = append(ids, r.Header.Get("X-Request-Id"))
		return r
	}
	messages := func(model, text string, stream bool) map[string]any {
		return map[string]any{"model": model, "stream": stream, "messages": []map[string]string{{"role": "user", "content": text}}}
	}
	const chatPath = "/v1/chat/completions"

	// Prompts and completions, on every way out and with every way an upstream can fail.
	prompt := c.plant("prompt", "Tell me about ", "?")
	for _, model := range []string{"real", "vaulted", "gpt-4o-mini"} {
		for _, mode := range []string{"", "mode-400", "mode-401", "mode-403", "mode-429", "mode-500", "mode-302", "mode-status", "mode-header", "mode-line", "mode-chunk", "mode-gzip", "mode-coding", "mode-stream", "mode-broken-stream"} {
			send(http.MethodPost, chatPath, keys["project"], messages(model, prompt+mode, strings.Contains(mode, "stream")))
		}
		send(http.MethodPost, "/v1/embeddings", keys["service_account"], map[string]any{"model": model, "input": prompt})
		send(http.MethodPost, "/v1/responses", keys["user"], map[string]any{"model": model, "input": prompt, "metadata": map[string]string{"secret": prompt}})
		send(http.MethodPost, "/openai/deployments/"+model+"/chat/completions?api-version=2024-10-21", "", messages(model, prompt, false), "Api-Key", keys["project"])
		for _, name := range []string{"old KEY1", "new KEY1", "KEY2"} {
			send(http.MethodPost, "/openai/deployments/"+model+"/chat/completions?api-version=2024-10-21", "", messages(model, prompt, false), "Api-Key", keys[name])
		}
	}
	// Bodies that are refused: the reasons must not quote them.
	for _, text := range []string{
		`{"model":"real","model":"` + prompt + `"}`, `{"model":"real","messages":"` + prompt, `{"model":["` + prompt + `"]}`, `{"model":"real","stream":"` + prompt + `"}`,
		`{"model":"real","n":"` + prompt + `"}`, prompt, `"` + prompt + `"`, `{"model":"real","max_tokens":"` + prompt + `","messages":[]}`,
	} {
		send(http.MethodPost, chatPath, keys["project"], []byte(text))
		send(http.MethodPost, "/gatehouse/v1/keys", s.AdminKey, []byte(text))
		send(http.MethodPost, "/gatehouse/v1/apply", s.AdminKey, []byte(text))
		send(http.MethodPost, "/v1/organization/projects", s.AdminKey, []byte(text))
	}
	// A secret where a reference belongs.
	misplaced := c.plant("credential instead of a reference", "sk-", "")
	send(http.MethodPost, "/gatehouse/v1/upstreams", s.AdminKey, map[string]any{"name": "x", "dialect": "openai", "base_url": "https://api.example.com/v1", "credential": misplaced})
	send(http.MethodPost, "/gatehouse/v1/apply", s.AdminKey, fmt.Appendf(nil, "upstreams: [{name: x, dialect: openai, base_url: 'https://api.example.com/v1', credential: {key: %q}}]", misplaced))
	send(http.MethodPost, "/gatehouse/v1/apply", s.AdminKey, fmt.Appendf(nil, "upstreams: [{name: x, dialect: openai, base_url: 'https://user:%s@api.example.com/v1'}]", misplaced))
	send(http.MethodPost, "/gatehouse/v1/apply", s.AdminKey, fmt.Appendf(nil, "upstreams: [{name: x, dialect: openai, credential: %q}]", misplaced))
	send(http.MethodPost, "/gatehouse/v1/sealed_secrets", s.AdminKey, map[string]any{"name": "", "value": misplaced})
	send(http.MethodPost, "/gatehouse/v1/sealed_secrets", s.AdminKey, map[string]any{"name": "n", "value": misplaced, "more": misplaced})

	// Wrong and foreign credentials, through every header that may bear one.
	random := func(n int) string { return gatehouse.RandomBase62(n) }
	wrong := withSecret(t, keys["project"], random(43))
	c.addKey("wrong secret", wrong)
	head := keys["project"][:len(keys["project"])-60] + random(54)
	unknown := head + checksum(head)
	c.addKey("key with an unknown id", unknown)
	typo := keys["service_account"][:len(keys["service_account"])-1] + "!"
	presented := map[string]string{"wrong secret": wrong, "unknown id": unknown, "mistyped": typo, "revoked": keys["revoked"]}
	for name, parts := range map[string][2]string{
		"junk": {"my-password-", ""}, "OpenAI key": {"sk-proj-" + random(20), "T3BlbkFJ" + random(60)}, "Anthropic key": {"sk-ant-api03-", "AA"}, "GitHub token": {"ghp_", ""},
		"Hugging Face token": {"hf_", ""}, "Slack token": {"xoxb-", ""}, "GitLab token": {"glpat-", ""},
	} {
		presented[name] = c.plant(name, parts[0], parts[1])
	}
	azure := random(52) + "JQQJ99BAACAC" + random(20)
	c.add("Azure key", azure, azure[:52])
	presented["Azure key"] = azure
	google := "AIza" + random(35)
	c.add("Google key", google, google[4:])
	presented["Google key"] = google
	for _, key := range presented {
		basic := base64.StdEncoding.EncodeToString([]byte(":" + key))
		c.add("Basic of "+key[:6], basic, basic[len(basic)/2:])
		for _, path := range []string{chatPath, "/v1/models", "/openai/v1/models", "/v1/organization/projects", "/gatehouse/v1/whoami"} {
			send(http.MethodGet, path, key, nil)
			send(http.MethodGet, path, "", nil, "Api-Key", key)
			send(http.MethodGet, path, "", nil, "Ocp-Apim-Subscription-Key", key)
			send(http.MethodGet, path, "", nil, "Authorization", "Basic "+basic)
			send(http.MethodGet, path, "", nil, "Authorization", "Token "+key)
			send(http.MethodGet, path, "", nil, "Authorization", key)
		}
	}
	// Good keys where they do not belong.
	for class, key := range keys {
		if class == "id" {
			continue
		}
		escaped := url.QueryEscape(key)
		for _, path := range []string{"/v1/models?api-key=" + escaped, "/v1/models?api_key=" + escaped, chatPath + "?key=" + escaped, "/v1/files/" + key, "/v1/responses/" + key, "/v1/nonsense/" + key,
			"/" + key, "/v1/organization/projects/" + key, "/v1/organization/" + key, "/gatehouse/v1/keys/" + key, "/gatehouse/v1/requests/" + key, "/openai/deployments/" + key + "/chat/completions?api-version=2024-10-21",
			"/v1/models/" + key, "/openai/v1/models?api-version=" + escaped, "/v1/organization/projects?after=" + escaped, "/gatehouse/v1/keys?class=" + escaped, "/gatehouse/v1/usage?group_by=" + escaped} {
			send(http.MethodGet, path, "", nil)
			send(http.MethodGet, path, keys["project"], nil)
			if class == "project" {
				send(http.MethodPost, path, keys["project"], messages("real", "x", false))
			}
			send(http.MethodGet, path, s.AdminKey, nil)
		}
		// All but those that are passed on to the upstream as they come: Idempotency-Key, Accept-Language and the like.
		for _, header := range []string{"X-Api-Key", "X-Goog-Api-Key", "Cookie", "Proxy-Authorization", "Sec-Websocket-Protocol", "Openai-Organization", "Openai-Project", "User-Agent", "X-Client-Request-Id", "X-Request-Id",
			"X-Ms-Client-Request-Id", "X-Stainless-Helper", "Referer", "Origin", "X-Forwarded-For", "Traceparent", "Content-Encoding"} {
			value := key
			switch header {
			case "Cookie":
				value = "session=" + key
			case "Sec-Websocket-Protocol":
				value = "realtime, openai-insecure-api-key." + key
			case "User-Agent":
				value = "my-app/1.0 (key " + key + ")"
			}
			send(http.MethodPost, chatPath, keys["project"], messages("gpt-4o-mini", "x", false), header, value)
			send(http.MethodPost, "/openai/deployments/real/chat/completions?api-version=2024-10-21", keys["project"], messages("real", "x", false), header, value)
			send(http.MethodGet, "/v1/organization/projects", s.AdminKey, nil, header, value)
			send(http.MethodPost, "/v1/organization/projects", s.AdminKey, map[string]string{"name": "p"}, header, value)
			send(http.MethodGet, "/v1/models", "", nil, header, value)
		}
	}
	// Foreign credentials and prompts in the texts that are kept.
	for _, text := range []string{presented["OpenAI key"], presented["Anthropic key"], azure, presented["GitHub token"]} {
		send(http.MethodPost, chatPath, keys["project"], messages("gpt-4o-mini", "x", false), "User-Agent", "tool/2 "+text, "X-Client-Request-Id", text)
	}
	// Forms: names, file names and contents, small and spooled.
	for _, size := range []int{100, 3 << 20} {
		var form bytes.Buffer
		w := multipart.NewWriter(&form)
		file, err := w.CreateFormFile("file", c.plant("file name", "voice-", ".wav"))
		if err != nil {
			t.Fatal(err)
		}
		content := c.plant("file content", "", "")
		if _, err := file.Write(append(bytes.Repeat([]byte("x"), size), content...)); err != nil {
			t.Fatal(err)
		}
		for _, field := range [][2]string{{"prompt", prompt}, {"model", "real"}} {
			if err := w.WriteField(field[0], field[1]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/v1/audio/transcriptions", "/v1/images/edits", "/v1/files"} {
			send(http.MethodPost, path, keys["project"], form.Bytes(), "Content-Type", w.FormDataContentType())
			send(http.MethodPost, path, keys["project"], form.Bytes()[:form.Len()-len(content)], "Content-Type", w.FormDataContentType())
		}
	}

	// What the caller may say of itself is kept: it is the control that the places above are looked at.
	mine := "my-request-" + random(20)
	agent := "agent-" + random(20)
	marked := send(http.MethodPost, chatPath, keys["project"], messages("gpt-4o-mini", "x", false), "X-Client-Request-Id", mine, "User-Agent", agent)

	// The decisions behind all of it.
	var explained bytes.Buffer
	missing := 0
	for i, id := range append(slices.Clone(ids), mine) {
		if i%7 != 0 && i < len(ids)-20 {
			continue // a part through the API, which is slow; all of them out of the database below
		}
		r := ask(t.Context(), web, http.MethodGet, n.URL+"/gatehouse/v1/requests/"+id, s.AdminKey, nil)
		if r.Status != http.StatusOK {
			missing++
			continue
		}
		explained.Write(append(r.Body, '\n'))
	}
	profiles := bytes.Buffer{}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/heap?debug=1", "/debug/pprof/allocs?debug=1", "/debug/pprof/cmdline"} {
		profiles.Write(ask(t.Context(), web, http.MethodGet, n.OpsURL+path, "", nil).Body)
	}
	for _, path := range []string{"/debug/pprof/heap?dump=1", "/debug/pprof/cmdline"} {
		if r := ask(t.Context(), web, http.MethodGet, n.OpsURL+path, "", nil); r.Status == http.StatusOK {
			t.Errorf("%s is served", path)
		}
	}
	goroutines := ask(t.Context(), web, http.MethodGet, n.OpsURL+"/debug/pprof/goroutine?debug=2", "", nil)
	metrics := ask(t.Context(), web, http.MethodGet, n.OpsURL+"/metrics", "", nil)
	ready := ask(t.Context(), web, http.MethodGet, n.OpsURL+"/readyz", "", nil)

	// It dies with a stack dump and an open request, and leaves everything as it lies.
	p := &pair{client: web}
	_, _ = p.longStream(t, n, &key{value: keys["project"]})
	n.signal(t, syscall.SIGQUIT)
	n.wait(t, patience)

	sinks := []sink{
		{"stderr", n.log.bytes(), keys["id"]},
		{"stdout (empty)", append([]byte("control:"), n.out.bytes()...), "control:"},
		{"metrics", append(metrics.Body, ready.Body...), "gatehouse_requests_total"},
		{"goroutine dump", goroutines.Body, "goroutine 1 "},
		{"profiles", profiles.Bytes(), "heap profile"},
		{"refusals", refusals.Bytes(), "invalid_api_key"},
		{"response headers", headers.Bytes(), marked.Header.Get("X-Request-Id")},
		{"explain", explained.Bytes(), agent},
		{"crash output", n.log.bytes(), "SIGQUIT"},
	}
	var files, journal bytes.Buffer
	data := filepath.Join(s.dir, "data")
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&files, "\nfile %s\n", filepath.Base(path))
		files.Write(text)
		if strings.Contains(path, "journal") {
			journal.Write(text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sinks = append(sinks, sink{"files below data", files.Bytes(), control}, sink{"journal", journal.Bytes(), "gpt-4o-mini"})
	for _, table := range []struct{ name, query, control string }{
		{"audit events", `SELECT body FROM events`, "api_key.created"},
		{"explain records", `SELECT body FROM request_pages`, mine},
		{"usage rows", `SELECT body FROM usage_pages`, keys["id"]},
		{"upstreams", `SELECT name || ' ' || base_url || ' ' || COALESCE(credential, '') FROM upstreams`, "env://UPSTREAM_API_KEY"},
	} {
		sinks = append(sinks, sink{table.name, rowsText(t, data, table.query), table.control})
	}
	t.Logf("%d requests; %d explained through the API, %d of those asked not found; the upstream got %d", total, bytes.Count(explained.Bytes(), []byte("\n")), missing, len(upstream.Requests()))

	c.search(t, sinks, nil)

	// Upstream goes what belongs there, the prompt and its credential, and nothing of the caller's.
	var sent bytes.Buffer
	for _, r := range upstream.Requests() {
		sent.Write(r.Head)
	}
	var ours canaries
	for _, one := range c.list {
		if one.name != "upstream credential" && one.name != "sealed secret" {
			ours.list = append(ours.list, one)
		}
	}
	ours.search(t, []sink{{"heads sent upstream", sent.Bytes(), credential}}, nil)
}

// rowsText returns the rows of a query of one text column.
func rowsText(tb testing.TB, data, query string) []byte {
	tb.Helper()
	list, err := database(tb, data).QueryContext(tb.Context(), query)
	if err != nil {
		tb.Fatal(err)
	}
	defer list.Close()
	var out bytes.Buffer
	for list.Next() {
		var text []byte
		if err := list.Scan(&text); err != nil {
			tb.Fatal(err)
		}
		out.Write(append(text, '\n'))
	}
	if err := list.Err(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}
