package dialect

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"gatehouse"
)

func mustParse(t testing.TB, method, path, query string) Call {
	t.Helper()
	c, err := Parse(method, path, query)
	if err != nil {
		t.Fatalf("%s %s?%s: %v", method, path, query, err)
	}
	return c
}

var (
	upOpenAI  = &gatehouse.Upstream{Dialect: gatehouse.OpenAI, BaseURL: "https://api.openai.com/v1"}
	upClassic = &gatehouse.Upstream{Dialect: gatehouse.Azure, BaseURL: "https://contoso.openai.azure.com", APIVersion: "2024-10-21"}
	upV1      = &gatehouse.Upstream{Dialect: gatehouse.Azure, BaseURL: "https://contoso.openai.azure.com"}
	upMock    = &gatehouse.Upstream{Dialect: gatehouse.Mock}
)

func TestTarget(t *testing.T) {
	const chat = "/v1/chat/completions"
	azure := func(base, version string) *gatehouse.Upstream {
		return &gatehouse.Upstream{Dialect: gatehouse.Azure, BaseURL: base, APIVersion: version}
	}
	for _, tt := range []struct {
		method, path, query string
		up                  *gatehouse.Upstream
		model, want         string
	}{
		{"POST", chat, "", upOpenAI, "gpt-4o", "/v1/chat/completions"},
		{"POST", chat, "", upMock, "gpt-4o", "/v1/chat/completions"},
		{"POST", chat, "", &gatehouse.Upstream{Dialect: gatehouse.OpenAI, BaseURL: "http://127.0.0.1:8000"}, "m", "/v1/chat/completions"},
		{"POST", chat, "", &gatehouse.Upstream{Dialect: gatehouse.OpenAI, BaseURL: "https://host/team/api/v1"}, "m", "/team/api/v1/chat/completions"},
		{"POST", "/v1/responses", "beta=true", upOpenAI, "m", "/v1/responses?beta=true"},
		{"GET", "/v1/models/a%2fb", "", upOpenAI, "", "/v1/models/a%2Fb"},

		{"POST", chat, "", upClassic, "gpt-4o-eu", "/openai/deployments/gpt-4o-eu/chat/completions?api-version=2024-10-21"},
		{"POST", chat, "x=1", upClassic, "a b/c?", "/openai/deployments/a%20b%2Fc%3F/chat/completions?api-version=2024-10-21&x=1"},
		{"POST", "/v1/responses", "", upClassic, "m", "/openai/responses?api-version=2024-10-21"},
		{"GET", "/v1/files", "limit=3", upClassic, "", "/openai/files?api-version=2024-10-21&limit=3"},
		{"POST", "/v1/images/variations", "", upClassic, "m", "/openai/images/variations?api-version=2024-10-21"},
		{"POST", chat, "", upV1, "m", "/openai/v1/chat/completions"},
		{"GET", "/v1/responses/resp_1", "stream=true", upV1, "", "/openai/v1/responses/resp_1?stream=true"},

		{"POST", chat, "", azure("https://h/openai", "2024-10-21"), "m", "/openai/deployments/m/chat/completions?api-version=2024-10-21"},
		{"POST", chat, "", azure("https://h/openai/v1/", "2024-10-21"), "m", "/openai/deployments/m/chat/completions?api-version=2024-10-21"},
		{"POST", chat, "", azure("https://apim.example/team/openai", "2024-10-21"), "m", "/team/openai/deployments/m/chat/completions?api-version=2024-10-21"},
		{"POST", chat, "", azure("https://h/openai/v1", ""), "m", "/openai/v1/chat/completions"},
		{"POST", chat, "", azure("https://h/openai", "preview"), "m", "/openai/v1/chat/completions?api-version=preview"},
		{"POST", chat, "", azure("https://h", "v1"), "m", "/openai/v1/chat/completions"},

		{"POST", "/openai/deployments/d/chat/completions", "api-version=2023-05-15", upOpenAI, "m", "/v1/chat/completions"},
		{"POST", "/openai/deployments/d/chat/completions", "api-version=2023-05-15", upClassic, "m", "/openai/deployments/m/chat/completions?api-version=2024-10-21"},
		{"POST", "/openai/deployments/d/extensions/chat/completions", "api-version=2023-08-01-preview", upClassic, "m", "/openai/deployments/m/chat/completions?api-version=2024-10-21"},
		{"POST", "/openai/deployments/d/extensions/chat/completions", "api-version=2023-08-01-preview", azure("https://h", "2023-12-01-preview"), "m", "/openai/deployments/m/extensions/chat/completions?api-version=2023-12-01-preview"},
		{"POST", "/openai/deployments/d/extensions/chat/completions", "api-version=2023-08-01-preview", upOpenAI, "m", "/v1/chat/completions"},
		{"POST", "/openai/deployments/d/extensions/chat/completions", "api-version=2023-08-01-preview", upV1, "m", "/openai/v1/chat/completions"},
	} {
		c := mustParse(t, tt.method, tt.path, tt.query)
		got, err := c.Target(tt.up, tt.model)
		if err != nil || got != tt.want {
			t.Errorf("%s?%s at %+v: got %q, %v, want %q", tt.path, tt.query, *tt.up, got, err, tt.want)
		}
	}
	c := mustParse(t, "POST", chat, "")
	_, err := c.Target(upClassic, "")
	var e *gatehouse.Error
	if !errors.As(err, &e) || e.Kind != gatehouse.Invalid || e.Param != "model" {
		t.Errorf("a deployment without a name: got %v", err)
	}
}

func TestBodyModel(t *testing.T) {
	openai := mustParse(t, "POST", "/v1/chat/completions", "")
	classic := mustParse(t, "POST", "/openai/deployments/d/chat/completions", "api-version=2024-10-21")
	moderation := mustParse(t, "POST", "/v1/moderations", "")
	files := mustParse(t, "GET", "/v1/files", "")
	for _, tt := range []struct {
		name    string
		c       *Call
		up      *gatehouse.Upstream
		present bool
		body    string
		model   string
		want    ModelEdit
	}{
		{"same name", &openai, upOpenAI, true, "gpt-4o", "gpt-4o", ModelKeep},
		{"renamed", &openai, upOpenAI, true, "fast", "gpt-4o", ModelReplace},
		{"renamed, in the path too", &openai, upClassic, true, "fast", "gpt-4o-eu", ModelReplace},
		{"Azure caller without model to OpenAI", &classic, upOpenAI, false, "", "gpt-4o", ModelInsert},
		{"Azure caller without model to v1", &classic, upV1, false, "", "d", ModelInsert},
		{"Azure caller without model to classic", &classic, upClassic, false, "", "d", ModelKeep},
		{"Azure caller whose body says another", &classic, upOpenAI, true, "other", "d", ModelReplace},
		{"the endpoint's default", &moderation, upOpenAI, false, "", "omni-moderation-latest", ModelKeep},
		{"the endpoint's default, renamed", &moderation, upOpenAI, false, "", "my-moderation", ModelInsert},
		{"no model at all", &moderation, upOpenAI, false, "", "", ModelKeep},
		{"no model in this operation", &files, upOpenAI, false, "", "x", ModelKeep},
	} {
		if got := tt.c.BodyModel(tt.up, tt.present, tt.body, tt.model); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestUpstreamFacts(t *testing.T) {
	azure := func(version string) *gatehouse.Upstream {
		return &gatehouse.Upstream{Dialect: gatehouse.Azure, APIVersion: version}
	}
	for _, tt := range []struct {
		up    *gatehouse.Upstream
		known bool
		face  Face
	}{
		{upOpenAI, true, FaceOpenAI}, {upMock, true, FaceOpenAI}, {upV1, true, FaceAzureV1}, {azure("preview"), true, FaceAzureV1},
		{azure("2024-08-01-preview"), false, FaceAzure}, {azure("2024-06-01"), false, FaceAzure},
		{azure("2024-09-01-preview"), true, FaceAzure}, {azure("2024-10-21"), true, FaceAzure}, {azure("2025-04-01-preview"), true, FaceAzure},
	} {
		if got := IncludeUsageKnown(tt.up); got != tt.known {
			t.Errorf("%s %s: include_usage known: got %v", tt.up.Dialect, tt.up.APIVersion, got)
		}
		if got := FaceOf(tt.up); got != tt.face {
			t.Errorf("%s %s: got face %s", tt.up.Dialect, tt.up.APIVersion, got)
		}
	}
	for _, tt := range []struct {
		dialect      gatehouse.Dialect
		header       string
		name, prefix string
	}{
		{gatehouse.OpenAI, "", "Authorization", "Bearer "},
		{gatehouse.Mock, "", "Authorization", "Bearer "},
		{gatehouse.Azure, "", "api-key", ""},
		{gatehouse.Azure, "Ocp-Apim-Subscription-Key", "Ocp-Apim-Subscription-Key", ""},
		{gatehouse.Azure, "authorization", "Authorization", "Bearer "},
		{gatehouse.OpenAI, "X-Api-Key", "X-Api-Key", ""},
	} {
		name, prefix := CredentialHeader(&gatehouse.Upstream{Dialect: tt.dialect, CredentialHeader: tt.header})
		if name != tt.name || prefix != tt.prefix {
			t.Errorf("%s %q: got %q %q", tt.dialect, tt.header, name, prefix)
		}
	}
}

// FuzzParse checks what must hold of every accepted request line, whatever stands in it: another parser sees the same segments in
// what is forwarded, no key stays in the query, and what is forwarded means the same when it is read again.
func FuzzParse(f *testing.F) {
	for _, s := range []struct{ method, path, query string }{
		{"POST", "/v1/chat/completions", ""},
		{"GET", "/v1/files/file-1/content", "api-key=x&limit=2"},
		{"GET", "/v1/models/org%2Fmodel", ""},
		{"GET", "/v1/files/%2e%2e/x", ""},
		{"GET", "/v1/files/a%252e", "a=b&&api-version=1&c"},
		{"DELETE", "/v1/models/ft:a:b::c", "beta=true"},
		{"POST", "/openai/deployments/dep%20e/1/embeddings", "api-version=2024-10-21"},
		{"POST", "/openai/deployments/a%2Fb/extensions/chat/completions", "api-version=2023-08-01-preview&Api%2DKey=k"},
		{"POST", "/openai/v1/responses", "api-version=preview&beta=true"},
		{"GET", "/openai/deployments/d", "x=1&api-version=2022-12-01&api-version=2022-12-01"},
	} {
		f.Add(s.method, s.path, s.query)
	}
	f.Fuzz(func(t *testing.T, method, path, query string) {
		c, err := Parse(method, path, query)
		if err != nil {
			if err != ErrNotDataPlane {
				checkEnvelope(t, c.Face, AppendError(nil, c.Face, err.(*gatehouse.Error)))
			}
			return
		}
		for _, up := range []*gatehouse.Upstream{upOpenAI, upClassic, upV1} {
			target, err := c.Target(up, "m/../x y")
			if err != nil {
				t.Fatalf("Target: %v", err)
			}
			u, err := url.ParseRequestURI(target)
			if err != nil {
				t.Fatalf("target %q: %v", target, err)
			}
			for part := range strings.SplitSeq(u.EscapedPath(), "/") {
				if text, err := url.PathUnescape(part); err != nil || text == "." || text == ".." {
					t.Fatalf("target %q has segment %q: %v", target, part, err)
				}
			}
			if strings.Contains(u.Path, "\x00") || strings.Contains(u.EscapedPath(), "//") || u.Fragment != "" {
				t.Fatalf("target %q", target)
			}
			for _, pair := range strings.Split(u.RawQuery, "&") {
				name, _, _ := strings.Cut(pair, "=")
				if n, err := url.QueryUnescape(name); err == nil && (strings.EqualFold(n, "api-key") || strings.EqualFold(n, "subscription-key")) {
					t.Fatalf("query %q keeps a key", u.RawQuery)
				}
			}
		}
		if c.Ref != "" && !goodID(c.Ref) {
			t.Fatalf("id %q", c.Ref)
		}
		if c.Path == extensionsPath || c.Op.azureOnly {
			return
		}
		again, err := Parse(method, "/v1"+c.Path, c.Query)
		if err != nil || again.Op != c.Op || again.Ref != c.Ref || again.PathModel != c.PathModel || again.Path != c.Path || again.Query != c.Query {
			t.Fatalf("read again:\n%+v\n%+v, %v", c, again, err)
		}
	})
}
