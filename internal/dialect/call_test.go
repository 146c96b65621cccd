package dialect

import (
	"errors"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"gatehouse"
)

// TestEveryOperation walks the operations of OpenAI's own description of its API: each is a row of the table, not a guess.
func TestEveryOperation(t *testing.T) {
	text, err := os.ReadFile("testdata/operations.txt")
	if err != nil {
		t.Fatal(err)
	}
	param := regexp.MustCompile(`\{[^}]*\}`)
	n := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Fields(line)
		path, query, _ := strings.Cut(param.ReplaceAllString(f[1], "abc_123"), "?")
		for face, prefix := range map[Face]string{FaceOpenAI: "/v1", FaceAzureV1: "/openai/v1", FaceAzure: "/openai"} {
			q := query
			if face == FaceAzure {
				q = strings.TrimPrefix(query+"&api-version=2025-04-01-preview", "&")
			}
			c, err := Parse(f[0], prefix+path, q)
			switch {
			case err != nil:
				t.Errorf("%s %s%s: %v", f[0], prefix, path, err)
			case strings.Contains(c.Op.Pattern, "*"):
				t.Errorf("%s %s%s is served by the generic row %s", f[0], prefix, path, c.Op.Pattern)
			case c.Face != face || c.Query != query || c.Path != path:
				t.Errorf("%s %s%s: got face %s, path %q, query %q", f[0], prefix, path, c.Face, c.Path, c.Query)
			}
		}
		n++
	}
	t.Logf("%d operations", n)
	if n != 169 {
		t.Errorf("walked %d operations, want the 169 of the document", n)
	}
}

// TestNewerOperations are the paths that clients know and the document does not.
func TestNewerOperations(t *testing.T) {
	for _, tt := range []struct{ method, path, op string }{
		{"POST", "/decisions", "decisions.create"},
		{"DELETE", "/audio/voices/voice_1", "audio.voices.delete"},
		{"POST", "/evals/e/runs/r/cancel", "evals.runs.cancel"},
		{"POST", "/agents", "agents.create"},
		{"GET", "/agents", "agents.list"},
		{"DELETE", "/agents/agent_1", "agents.delete"},
		{"GET", "/agents/sessions/s/events", "agents.sessions.events.list"},
		{"POST", "/agents/sessions/s/events", "agents.sessions.events.create"},
		{"POST", "/agents/environments/templates", "agents.environments.templates.create"},
		{"GET", "/agents/automations", "agents.automations.list"},
		{"POST", "/vaults/v/credentials", "vaults.credentials.create"},
		{"POST", "/webhook_endpoints/w/rotate_secret", "webhook_endpoints.rotate_secret"},
		{"POST", "/webhook_endpoints/w/test", "webhook_endpoints.test"},
		{"GET", "/webhook_event_types", "webhook_event_types.list"},
		{"GET", "/safety/alerts/a", "safety.alerts.retrieve"},
		{"GET", "/safety/cases/c", "safety.cases.retrieve"},
		{"POST", "/live/sessions/s/fork", "live.sessions.fork"},
		{"GET", "/live/sessions/s/content", "live.sessions.content"},
		{"GET", "/realtime", "realtime.connect"},
	} {
		c, err := Parse(tt.method, "/v1"+tt.path, "")
		if err != nil || c.Op.Name != tt.op {
			t.Errorf("%s %s: got %v, %v, want %s", tt.method, tt.path, c.Op, err, tt.op)
		}
	}
}

func TestTable(t *testing.T) {
	type row struct{ method, pattern string }
	seen := map[row]bool{}
	for _, o := range Ops() {
		if seen[row{o.Method, o.Pattern}] {
			t.Errorf("two rows for %s %s", o.Method, o.Pattern)
		}
		seen[row{o.Method, o.Pattern}] = true
		if o.Name == "" || o.Scope == "" || o.Product == "" {
			t.Errorf("%s %s lacks a name, scope or product", o.Method, o.Pattern)
		}
		if o.Owned && o.Creates == "" && len(o.Refs) == 0 {
			t.Errorf("%s is owned and names no object", o.Name)
		}
		if len(o.Refs) > 0 && !o.Owned && !o.SoleTenant && o.Refused == "" {
			t.Errorf("%s names an object in its path and asks nobody whose it is", o.Name)
		}
		if o.List && !o.SoleTenant {
			t.Errorf("%s lists what belongs to everybody", o.Name)
		}
		if (o.Body == BodyJSON || o.Body == BodyJSONOrForm) && o.Refused == "" && o.Spec == nil {
			t.Errorf("%s has a JSON body that nobody reads", o.Name)
		}
		if o.Model == ModelRequired && o.Spec == nil && len(o.FormFields) == 0 {
			t.Errorf("%s needs a model that nobody reads", o.Name)
		}
		// A row that an earlier one hides would never be used.
		path := strings.ReplaceAll(regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(o.Pattern, "x"), "*", "x/x/x/x/x/x")
		method, face := o.Method, FaceOpenAI
		if method == other {
			method = "PATCH"
		}
		switch {
		case o.azureOnly:
			face = FaceAzure
		case o.inference == inferenceOnly:
			face = FaceAzureAI
		}
		var s segments
		if err := s.split(path); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if got, _ := find(method, s, face); got != o {
			t.Errorf("%s %s is hidden by another row", o.Method, o.Pattern)
		}
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		method, path, query string
		want                Call // Op is compared by op
		op                  string
	}{
		{"POST", "/v1/chat/completions", "", Call{Path: "/chat/completions"}, "chat.completions.create"},
		{"POST", "/v1/responses", "beta=true", Call{Path: "/responses", Query: "beta=true"}, "responses.create"},
		{"GET", "/v1/responses/resp_1", "stream=true&starting_after=4", Call{Path: "/responses/resp_1", Query: "stream=true&starting_after=4", Ref: "resp_1"}, "responses.retrieve"},
		{"GET", "/v1/responses/resp_1/input_items", "", Call{Path: "/responses/resp_1/input_items", Ref: "resp_1"}, "responses.input_items.list"},
		{"GET", "/v1/responses/resp_1/new/thing", "", Call{Path: "/responses/resp_1/new/thing", Ref: "resp_1"}, "responses.other.read"},
		{"PATCH", "/v1/files/file-1/new", "", Call{Path: "/files/file-1/new", Ref: "file-1"}, "files.other.write"},
		{"POST", "/v1/audio/dubbing", "", Call{Path: "/audio/dubbing"}, "audio.other.write"},
		{"GET", "/v1/models", "", Call{Path: "/models"}, "models.list"},
		{"GET", "/v1/models/gpt-4o", "", Call{Path: "/models/gpt-4o", PathModel: "gpt-4o"}, "models.retrieve"},
		{"GET", "/v1/models/org%2Fmodel", "", Call{Path: "/models/org%2Fmodel", PathModel: "org/model"}, "models.retrieve"},
		{"GET", "/v1/models/org/model", "", Call{Path: "/models/org/model", PathModel: "org/model"}, "models.retrieve"},
		{"DELETE", "/v1/models/ft%3agpt-4o:acme::a1", "", Call{Path: "/models/ft:gpt-4o:acme::a1", Ref: "ft:gpt-4o:acme::a1", PathModel: "ft:gpt-4o:acme::a1"}, "models.delete"},
		{"GET", "/v1/files/file%2d1", "", Call{Path: "/files/file-1", Ref: "file-1"}, "files.retrieve"},
		{"DELETE", "/v1/conversations/conv_1/items/msg_1", "", Call{Path: "/conversations/conv_1/items/msg_1", Ref: "conv_1"}, "conversations.items.delete"},
		{"GET", "/v1/chat/completions/chatcmpl-1/messages", "limit=2", Call{Path: "/chat/completions/chatcmpl-1/messages", Query: "limit=2", Ref: "chatcmpl-1"}, "chat.completions.messages.list"},
		{"POST", "/v1/threads/runs", "", Call{Path: "/threads/runs"}, "threads.create_and_run"},
		{"GET", "/v1/files", "api-key=sk-secret&purpose=batch&api-version=x&limit=2", Call{Path: "/files", Query: "purpose=batch&limit=2"}, "files.list"},

		{"POST", "/openai/deployments/dep1/chat/completions", "api-version=2024-10-21", Call{Face: FaceAzure, Path: "/chat/completions", Deployment: "dep1", APIVersion: "2024-10-21"}, "chat.completions.create"},
		{"POST", "/openai/deployments/my%20dep/embeddings", "api-version=2023-05-15", Call{Face: FaceAzure, Path: "/embeddings", Deployment: "my dep", APIVersion: "2023-05-15"}, "embeddings.create"},
		{"POST", "/openai/deployments/dep%20e/1/embeddings", "api-version=2024-10-21", Call{Face: FaceAzure, Path: "/embeddings", Deployment: "dep e/1", APIVersion: "2024-10-21"}, "embeddings.create"},
		{"POST", "/openai/deployments/a%2Fb/completions", "api-version=2024-10-21", Call{Face: FaceAzure, Path: "/completions", Deployment: "a/b", APIVersion: "2024-10-21"}, "completions.create"},
		{"POST", "/openai/deployments/chat/completions", "api-version=2024-10-21", Call{Face: FaceAzure, Path: "/completions", Deployment: "chat", APIVersion: "2024-10-21"}, "completions.create"},
		{"POST", "/openai/deployments/d/extensions/chat/completions", "api-version=2023-08-01-preview", Call{Face: FaceAzure, Path: "/extensions/chat/completions", Deployment: "d", APIVersion: "2023-08-01-preview"}, "chat.completions.create"},
		{"POST", "/openai/deployments/d/images/edits", "api-version=2025-04-01-preview", Call{Face: FaceAzure, Path: "/images/edits", Deployment: "d", APIVersion: "2025-04-01-preview"}, "images.edit"},
		{"POST", "/openai/deployments/d/batches", "api-version=2025-04-01-preview", Call{Face: FaceAzure, Path: "/batches", Deployment: "d", APIVersion: "2025-04-01-preview"}, "batches.create"},
		{"POST", "/openai/images/edits", "api-version=2025-04-01-preview", Call{Face: FaceAzure, Path: "/images/edits", APIVersion: "2025-04-01-preview"}, "images.edit"},
		{"POST", "/openai/chat/completions", "api-version=preview", Call{Face: FaceAzure, Path: "/chat/completions", APIVersion: "preview"}, "chat.completions.create"},
		{"GET", "/openai/deployments", "api-version=2022-12-01", Call{Face: FaceAzure, Path: "/deployments", APIVersion: "2022-12-01"}, "deployments.list"},
		{"GET", "/openai/deployments/d1", "api-version=2022-12-01", Call{Face: FaceAzure, Path: "/deployments/d1", PathModel: "d1", APIVersion: "2022-12-01"}, "deployments.retrieve"},
		{"GET", "/openai/files/file-1", "limit=1&API-Version=2024-10-21&order=asc", Call{Face: FaceAzure, Path: "/files/file-1", Query: "limit=1&order=asc", Ref: "file-1", APIVersion: "2024-10-21"}, "files.retrieve"},
		{"POST", "/openai/realtimeapi/sessions", "api-version=2025-04-01-preview", Call{Face: FaceAzure, Path: "/realtimeapi/sessions", APIVersion: "2025-04-01-preview"}, "realtimeapi.sessions.create"},
		{"POST", "/openai/v1/chat/completions", "", Call{Face: FaceAzureV1, Path: "/chat/completions"}, "chat.completions.create"},
		{"POST", "/openai/v1/responses", "api-version=preview", Call{Face: FaceAzureV1, Path: "/responses", APIVersion: "preview"}, "responses.create"},
		{"GET", "/openai/v1/models", "api-version=v1", Call{Face: FaceAzureV1, Path: "/models", APIVersion: "v1"}, "models.list"},
	} {
		got, err := Parse(tt.method, tt.path, tt.query)
		if err != nil {
			t.Errorf("%s %s?%s: %v", tt.method, tt.path, tt.query, err)
			continue
		}
		if got.Op.Name != tt.op {
			t.Errorf("%s %s: got %s, want %s", tt.method, tt.path, got.Op.Name, tt.op)
		}
		tt.want.Op, tt.want.Method = got.Op, tt.method
		if got != tt.want {
			t.Errorf("%s %s?%s:\n got %+v\nwant %+v", tt.method, tt.path, tt.query, got, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		method, path, query string
		kind                gatehouse.Kind
		says                string
	}{
		{"POST", "/v1/foo", "", gatehouse.NotFound, "Invalid URL (POST /v1/foo)"},
		{"POST", "/v1", "", gatehouse.NotFound, "Invalid URL (POST /v1)"},
		{"GET", "/v1/models/", "", gatehouse.NotFound, "remove the slash"},
		{"GET", "/v1/", "", gatehouse.NotFound, "remove the slash"},
		{"GET", "/v1/chat", "", gatehouse.NotFound, "Invalid URL"},
		{"GET", "/v1/deployments", "", gatehouse.NotFound, "Invalid URL"},
		{"POST", "/v1/Chat/completions", "", gatehouse.NotFound, "Invalid URL"},
		{"POST", "/v1/chat%2Fcompletions", "", gatehouse.NotFound, "Invalid URL"},
		{"POST", "/v1/models", "", gatehouse.MethodNotAllowed, "Not allowed to POST on /v1/models"},
		{"GET", "/v1/embeddings", "", gatehouse.MethodNotAllowed, "HINT"},
		{"PUT", "/v1/files/file-1", "", gatehouse.MethodNotAllowed, "HINT"},
		{"HEAD", "/v1/models", "", gatehouse.MethodNotAllowed, "HINT"},
		{"OPTIONS", "/v1/files/f/new", "", gatehouse.MethodNotAllowed, "HINT"},
		{"GET", "/v1/responses/input_tokens", "", gatehouse.MethodNotAllowed, "HINT"},
		{"GET", "/v1//models", "", gatehouse.Invalid, "empty segments"},
		{"GET", "/v1/files/../models", "", gatehouse.Invalid, "dot segments"},
		{"GET", "/v1/files/./x", "", gatehouse.Invalid, "dot segments"},
		{"GET", "/v1/files/%2e%2e/models", "", gatehouse.Invalid, "dot segments"},
		{"GET", "/v1/files/%2E./models", "", gatehouse.Invalid, "dot segments"},
		{"GET", "/v1/models/a%2F..%2Fb", "", gatehouse.Invalid, "dot segments"},
		{"GET", "/v1/files/a%2Fb", "", gatehouse.Invalid, "Invalid URL"},
		{"GET", "/v1/files/file-1%2Fcontent", "", gatehouse.Invalid, "Invalid URL"},
		{"GET", "/v1/files/a%5Cb", "", gatehouse.Invalid, "backslashes"},
		{"GET", `/v1/files/a\b`, "", gatehouse.Invalid, "backslashes"},
		{"GET", "/v1/files/a%00b", "", gatehouse.Invalid, "control"},
		{"GET", "/v1/files/a%0D%0Ab", "", gatehouse.Invalid, "control"},
		{"GET", "/v1/files/a\x00b", "", gatehouse.Invalid, "control"},
		{"GET", "/v1/files/\xff", "", gatehouse.Invalid, "control"},
		{"GET", "/v1/files/a%zz", "", gatehouse.Invalid, "escapes"},
		{"GET", "/v1/files/a%2", "", gatehouse.Invalid, "escapes"},
		{"GET", "/v1/files/a%3Fb", "", gatehouse.NotFound, "Invalid URL"},
		{"GET", "/v1/files/a%2520b", "", gatehouse.NotFound, "Invalid URL"},
		{"GET", "/v1/files/caf%C3%A9", "", gatehouse.NotFound, "Invalid URL"},
		{"GET", "/v1/files/" + strings.Repeat("a", 5000), "", gatehouse.TooLarge, "too long"},
		{"GET", "/v1" + strings.Repeat("/a", 20), "", gatehouse.TooLarge, "too long"},
		{"GET", "/v1/files", "a=\x01", gatehouse.Invalid, "query"},
		{"GET", "/v1/files", "a=b c", gatehouse.Invalid, "query"},
		{"GET", "/v1/files", "a=" + strings.Repeat("b", 9000), gatehouse.Invalid, "query"},
		{"POST", "/openai/deployments/d/chat/completions", "", gatehouse.NotFound, "Resource not found. The api-version is missing"},
		{"POST", "/openai/deployments/d/chat/completions", "api-version=", gatehouse.NotFound, "Resource not found"},
		{"POST", "/openai/deployments/d/chat/completions", "api-version=2024-13-01", gatehouse.NotFound, "is not one"},
		{"POST", "/openai/deployments/d/chat/completions", "api-version=2024-10-21-beta", gatehouse.NotFound, "is not one"},
		{"POST", "/openai/deployments/d/chat/completions", "api-version=2024-10-21&api-version=2023-05-15", gatehouse.NotFound, "is not one"},
		{"POST", "/openai/v1/responses", "api-version=banana", gatehouse.NotFound, "is not one"},
		{"POST", "/openai/deployments/d/foo", "api-version=2024-10-21", gatehouse.NotFound, "Resource not found (POST"},
		{"GET", "/openai/deployments/d/chat/completions/../../x/embeddings", "api-version=2024-10-21", gatehouse.Invalid, "dot segments"},
		{"GET", "/openai/v1/deployments", "", gatehouse.NotFound, "Resource not found"},
		{"GET", "/openai/v1/info", "", gatehouse.NotFound, "Resource not found"},
		{"GET", "/openai/v1/deployments/d", "", gatehouse.NotFound, "Resource not found"},
		{"POST", "/openai/deployments", "api-version=2022-12-01", gatehouse.MethodNotAllowed, "HINT"},
		{"GET", "/models/chat/completions", "", gatehouse.MethodNotAllowed, "HINT"},
		{"POST", "/models/chat/completions", "api-version=banana", gatehouse.NotFound, "is not one"},
		{"POST", "/models/chat", "", gatehouse.NotFound, "Resource not found"},
		{"GET", "/models/info/", "", gatehouse.NotFound, "remove the slash"},
		{"GET", "/models/chat/../info", "", gatehouse.Invalid, "dot segments"},
		{"GET", "/openai/v1/organization/projects", "", gatehouse.NotFound, "Resource not found"},
	} {
		c, err := Parse(tt.method, tt.path, tt.query)
		var e *gatehouse.Error
		if !errors.As(err, &e) || e.Kind != tt.kind || !strings.Contains(e.Message, tt.says) {
			t.Errorf("%s %.80q?%.40q: got %v (%v), want %v saying %q", tt.method, tt.path, tt.query, err, gatehouse.KindOf(err), tt.kind, tt.says)
		}
		if c.Face.IsAzure() != (strings.HasPrefix(tt.path, "/openai") || strings.HasPrefix(tt.path, "/models")) {
			t.Errorf("%s: the error would be shown in face %s", tt.path, c.Face)
		}
	}
}

func TestParseLeavesToOthers(t *testing.T) {
	for _, path := range []string{"/v1/organization/projects", "/v1/projects/p/roles", "/v1/organization", "/v1/organization/", "/v1/projects/../x", "/gatehouse/v1/keys", "/", "", "x", "//v1/models", "/chat/completions", "/%761/models", "/models", "/models/", "/models/gpt-4o", "/models/responses", "/models/files", "/models//chat/completions"} {
		if _, err := Parse("GET", path, ""); err != ErrNotDataPlane {
			t.Errorf("%q: got %v, want ErrNotDataPlane", path, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct{ method, path, query string }{
		{"GET", "/v1/realtime", "model=gpt-realtime"},
		{"POST", "/v1/realtime/client_secrets", ""},
		{"POST", "/v1/realtime/calls", ""},
		{"POST", "/v1/realtime/brand/new", ""},
		{"POST", "/v1/live/sessions", ""},
		{"POST", "/v1/chatkit/sessions", ""},
		{"GET", "/openai/realtime", "api-version=2025-04-01-preview&deployment=d"},
		{"POST", "/openai/v1/realtime/client_secrets", ""},
		{"GET", "/openai/v1/realtime", "model=d"},
	} {
		c, err := Parse(tt.method, tt.path, tt.query)
		if err != nil {
			t.Fatalf("%s: %v", tt.path, err)
		}
		if e := c.Op.Refusal(); e == nil || e.Kind != gatehouse.Forbidden || !strings.Contains(e.Message, c.Op.Pattern) {
			t.Errorf("%s %s: got %v, want a refusal that names the path", tt.method, tt.path, e)
		}
	}
	c, err := Parse("POST", "/v1/chat/completions", "")
	if err != nil || c.Op.Refusal() != nil {
		t.Errorf("chat: got %v, %v", err, c.Op.Refusal())
	}
	socket := http.Header{"Upgrade": {"WebSocket"}, "Sec-Websocket-Key": {"x"}}
	if RefuseUpgrade(socket) == nil || RefuseUpgrade(http.Header{"Upgrade": {"websocket"}}) == nil {
		t.Error("a WebSocket is not refused")
	}
	if RefuseUpgrade(http.Header{"Upgrade": {"h2c"}}) != nil || RefuseUpgrade(http.Header{}) != nil {
		t.Error("an ordinary request is refused")
	}
}

func TestObject(t *testing.T) {
	c, err := Parse("GET", "/v1/vector_stores/vs_1/files/file-2/content", "")
	if err != nil {
		t.Fatal(err)
	}
	want := []struct{ id, kind string }{{"vs_1", "vector_store"}, {"file-2", "file"}}
	if len(c.Op.Refs) != len(want) {
		t.Fatalf("got %d references, want %d", len(c.Op.Refs), len(want))
	}
	for i, r := range c.Op.Refs {
		if c.Object(r) != want[i].id || r.Kind != want[i].kind {
			t.Errorf("got %s %s, want %v", r.Kind, c.Object(r), want[i])
		}
	}
	if c.Ref != "vs_1" {
		t.Errorf("got Ref %q", c.Ref)
	}
}

func TestWhatFollowsFromARow(t *testing.T) {
	for _, tt := range []struct {
		method, path, scope string
		read, once          bool
		deletes             string
	}{
		{"POST", "/chat/completions", "model.request", false, false, ""},
		{"POST", "/responses", "api.responses.write", false, false, ""},
		{"GET", "/responses/r", "api.responses.read", true, false, ""},
		{"DELETE", "/responses/r", "api.responses.write", false, false, "response"},
		{"POST", "/files", "api.files.write", false, true, ""},
		{"GET", "/files", "api.files.read", true, false, ""},
		{"DELETE", "/files/f", "api.files.write", false, false, "file"},
		{"DELETE", "/vector_stores/v/files/f", "api.vector_stores.write", false, false, ""},
		{"DELETE", "/conversations/c/items/i", "api.conversations.write", false, false, ""},
		{"DELETE", "/chat/completions/c", "api.chat.completions.write", false, false, "chat.completion"},
		{"POST", "/batches", "api.batches.write", false, true, ""},
		{"POST", "/threads/t/runs", "api.threads.write", false, true, ""},
		{"POST", "/videos", "api.videos.write", false, true, ""},
		{"GET", "/models", "api.models.read", true, false, ""},
		{"POST", "/embeddings", "model.request", false, false, ""},
	} {
		c, err := Parse(tt.method, "/v1"+tt.path, "")
		if err != nil {
			t.Fatal(err)
		}
		if o := c.Op; o.Scope != tt.scope || o.Read != tt.read || o.Once != tt.once || o.Deletes != tt.deletes {
			t.Errorf("%s %s: got scope %s, read %v, once %v, deletes %q, want %+v", tt.method, tt.path, o.Scope, o.Read, o.Once, o.Deletes, tt)
		}
	}
}

var hot = []struct{ method, path, query string }{
	{"POST", "/v1/chat/completions", ""},
	{"POST", "/v1/responses", ""},
	{"POST", "/v1/embeddings", ""},
	{"GET", "/v1/responses/resp_68af296e8e40", "stream=true"},
	{"POST", "/openai/deployments/gpt-4o/chat/completions", "api-version=2024-10-21"},
	{"POST", "/openai/v1/chat/completions", "api-version=preview"},
}

func TestParseDoesNotAllocate(t *testing.T) {
	for _, h := range hot {
		if n := testing.AllocsPerRun(100, func() {
			if _, err := Parse(h.method, h.path, h.query); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s?%s: %v allocations, want 0", h.path, h.query, n)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, h := range hot {
		b.Run(strings.NewReplacer("/", "_").Replace(h.path[1:]), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = Parse(h.method, h.path, h.query)
			}
		})
	}
}
