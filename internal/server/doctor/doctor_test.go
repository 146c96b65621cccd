package doctor

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/authn"
	"gatehouse/internal/dialect"
	"gatehouse/internal/secret"
)

const root = "../../.."

// rows returns the cells of a page's table below a heading line.
func rows(t *testing.T, page, head string) (out [][]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), head+"\n")
	if !found {
		t.Fatalf("%s has no table %s", page, head)
	}
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "|") {
			return out
		}
		if strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.ReplaceAll(strings.TrimSpace(line), `\|`, "\x00"), "|"), "|")
		for i := range cells {
			cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), "\x00", `\|`)
		}
		out = append(out, cells)
	}
	return out
}

// TestPagesShowTheTable proves that the documentation and the program explain a refusal in the same words.
func TestPagesShowTheTable(t *testing.T) {
	code := func(c *Cause) string { return "`" + c.Code + "`" }
	for _, test := range []struct {
		page, head string
		causes     []Cause
		cells      func(*Cause) []string
	}{
		{"keys.md", "| status | code | rule | what happened | what to do |", Credentials, func(c *Cause) []string {
			rule := ""
			if c.Rule != "" {
				rule = "`" + c.Rule + "`"
			}
			return []string{c.Status, code(c), rule, c.What, c.Fix}
		}},
		{"errors.md", "| status | code | what happened | what to do |", Requests, func(c *Cause) []string { return []string{c.Status, code(c), c.What, c.Fix} }},
	} {
		got := rows(t, test.page, test.head)
		for i := range max(len(got), len(test.causes)) {
			var want, have []string
			if i < len(test.causes) {
				want = test.cells(&test.causes[i])
			}
			if i < len(got) {
				have = got[i]
			}
			if !slices.Equal(have, want) {
				t.Errorf("docs/%s, row %d:\n has  | %s |\n want | %s |", test.page, i+1, strings.Join(have, " | "), strings.Join(want, " | "))
			}
		}
	}
}

// TestEveryRefusalIsExplained proves that no rule and no code of the program is missing from the table, nor its status.
func TestEveryRefusalIsExplained(t *testing.T) {
	all := slices.Concat(Credentials, Requests)
	for _, rule := range authn.Rules {
		if !slices.ContainsFunc(all, func(c Cause) bool { return c.Rule == string(rule) }) {
			t.Errorf("rule %s is not in the table", rule)
		}
	}
	for _, c := range all {
		if c.Rule != "" && !slices.Contains(authn.Rules, authn.Rule(c.Rule)) {
			t.Errorf("rule %s is in the table and nowhere else", c.Rule)
		}
		if c.What == "" || c.Fix == "" {
			t.Errorf("%s %s says too little", c.Status, c.Code)
		}
	}
	kinds := map[string]gatehouse.Kind{}
	for k := gatehouse.Kind(0); k <= gatehouse.MethodNotAllowed; k++ {
		kinds[strings.ReplaceAll(k.String(), "_", "")] = k
	}
	codes := regexp.MustCompile(`Code: *"(\w+)"|refused\(\w+, "(\w+)"|Code[A-Z]\w* *= *"(\w+)"`)
	withKind := regexp.MustCompile(`Kind: *gatehouse\.(\w+), Code: *"(\w+)"`)
	seen := map[string]bool{}
	for _, room := range []string{"gateway", "authn", "dialect", "ledger", "admin", "adminapi"} {
		err := filepath.WalkDir(filepath.Join(root, "internal", room), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range codes.FindAllStringSubmatch(string(text), -1) {
				code := m[1] + m[2] + m[3]
				seen[code] = true
				if !slices.ContainsFunc(all, func(c Cause) bool { return c.Code == code }) {
					t.Errorf("%s answers with code %s, which is not in the table: add it to causes.go and docs/errors.md", path, code)
				}
			}
			for _, m := range withKind.FindAllStringSubmatch(string(text), -1) {
				status := strconv.Itoa(dialect.Status(kinds[strings.ToLower(m[1])]))
				if !slices.ContainsFunc(all, func(c Cause) bool { return c.Code == m[2] && strings.Contains(c.Status, status) }) {
					t.Errorf("%s answers with %s %s, which the table has with another status only", path, status, m[2])
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) < 50 {
		t.Errorf("only %d codes were found in the program: the search is wrong", len(seen))
	}
}

func TestRead(t *testing.T) {
	peppers, err := secret.ParsePeppers(secret.NewPeppers())
	if err != nil {
		t.Fatal(err)
	}
	key := secret.Mint(gatehouse.ClassProject, "abcd", peppers)
	for name, test := range map[string]struct {
		text string
		want Reading // what is set must be so
		code string  // of the first cause
		hint string
	}{
		"curl -i": {text: "HTTP/1.1 401 Unauthorized\r\nx-request-id: req_0123456789abcdef0123456789abcdef\r\n\r\n{\"error\":{\"message\":\"This API key was revoked\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"api_key_revoked\"}}",
			want: Reading{Status: "401", Code: "api_key_revoked", Message: "This API key was revoked", RequestIDs: []string{"req_0123456789abcdef0123456789abcdef"}}, code: "api_key_revoked"},
		"HTTP/2": {text: "HTTP/2 503 \ncontent-type: application/json\n\n{\"error\":{\"code\":\"no_route_in_region\"}}", want: Reading{Status: "503"}, code: "no_route_in_region"},
		"Python SDK": {text: "openai.AuthenticationError: Error code: 401 - {'error': {'message': 'Incorrect API key provided: sk-proj-***.', 'type': 'invalid_request_error', 'param': None, 'code': 'invalid_api_key'}}",
			want: Reading{Status: "401", Code: "invalid_api_key", Message: "Incorrect API key provided: sk-proj-***."}, code: "invalid_api_key"},
		"Python SDK without a code": {text: "openai.NotFoundError: Error code: 404 - {'error': {'message': 'No such file', 'code': None}}", want: Reading{Status: "404", Code: "null"}, code: "null"},
		"Node SDK":                  {text: "AuthenticationError: 401 ...\n  status: 401,\n  code: 'api_key_expired',", want: Reading{Status: "401"}, code: "null"},
		"Azure":                     {text: `HTTP/1.1 404 Not Found` + "\n\n" + `{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}`, want: Reading{Status: "404", Code: "model_not_found"}, code: "model_not_found"},
		"a log line":                {text: `{"msg":"request","request_id":"req_0123456789abcdef0123456789abcdef","status":401,"rule":"ip_not_allowed"}`, want: Reading{Status: "401", Rule: "ip_not_allowed"}, code: "ip_not_authorized"},
		"only an id":                {text: "req_0123456789abcdef0123456789abcdef", want: Reading{RequestIDs: []string{"req_0123456789abcdef0123456789abcdef"}}},
		"nothing":                   {text: "it does not work", hint: "Paste the whole answer"},
		"a proxy's":                 {text: "HTTP/1.1 502 Bad Gateway\nServer: nginx\n\n<html>", want: Reading{Status: "502"}, code: "upstream_credential_refused", hint: "something in between"},
		"the provider's address":    {text: "POST https://api.openai.com/v1/chat/completions\nHTTP/1.1 401\nx-request-id: req_abc", hint: "provider's own address"},
		"a doubled path":            {text: "POST https://llm.example.com/v1/v1/chat/completions -> HTTP/1.1 404", hint: "twice"},
		"our key":                   {text: "curl -H 'Authorization: Bearer " + key.Text.Reveal() + "'", want: Reading{Keys: []string{key.ID}}, hint: "replace it"},
		"a foreign key":             {text: "Authorization: Bearer sk-ant-api03-" + strings.Repeat("Ab1_", 23) + "AAAA", hint: "Treat it as leaked"},
		"a trace id is none":        {text: "HTTP/1.1 429 Too Many Requests\ntrace: 0123456789abcdef0123456789abcdef\n{\"error\":{\"code\":\"rate_limit_exceeded\"}}", want: Reading{Status: "429"}, code: "rate_limit_exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Read(test.text)
			w := &test.want
			if w.Status != "" && r.Status != w.Status || w.Code != "" && r.Code != w.Code || w.Rule != "" && r.Rule != w.Rule || w.Message != "" && r.Message != w.Message ||
				w.RequestIDs != nil && !slices.Equal(r.RequestIDs, w.RequestIDs) || w.Keys != nil && !slices.Equal(r.Keys, w.Keys) {
				t.Errorf("read %+v\nwant %+v", r, *w)
			}
			first := ""
			if len(r.Causes) > 0 {
				first = r.Causes[0].Code
			}
			if first != test.code && (test.code != "" || test.hint == "") {
				t.Errorf("the first cause has code %q, want %q", first, test.code)
			}
			if test.hint != "" && !strings.Contains(strings.Join(r.Hints, " "), test.hint) {
				t.Errorf("hints %q, want one with %q", r.Hints, test.hint)
			}
			if strings.Contains(name, "trace") && len(r.Foreign) > 0 {
				t.Errorf("found credentials of %v", r.Foreign)
			}
			for _, said := range append([]string{r.Message}, r.Hints...) {
				if strings.Contains(said, key.Text.Reveal()[20:60]) {
					t.Error("a secret that was pasted is repeated")
				}
			}
		})
	}
}
