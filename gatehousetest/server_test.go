package gatehousetest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// chat makes one request and returns the status, the headers and the body.
func chat(t *testing.T, s *Server, key, body string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, s.URL+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	res, err := s.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(text)
}

const hello = `{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`

func TestServer(t *testing.T) {
	for _, tls := range []bool{false, true} {
		s := Start(t, Options{TLS: tls})
		if want := map[bool]string{false: "http://127.0.0.1:", true: "https://127.0.0.1:"}[tls]; !strings.HasPrefix(s.URL, want) || (s.Pool != nil) != tls || (s.CAFile != "") != tls {
			t.Errorf("TLS %v: URL %s, CA file %q", tls, s.URL, s.CAFile)
		}
		status, h, text := chat(t, s, s.APIKey, hello)
		if status != 200 || !strings.Contains(text, "[mock gpt-4o]") {
			t.Fatalf("%d %s", status, text)
		}
		r := s.Explain(h.Get("X-Request-Id"))
		if r.Rule != "served" || r.Project != s.ProjectID || r.Organization != s.OrganizationID || r.Units == nil {
			t.Fatalf("explain %+v", r)
		}
		got := s.Usage("model", "project")
		if len(got) != 1 || got[0].Model != "gpt-4o" || got[0].ProjectID != s.ProjectID || got[0].Requests != 1 || got[0].Units != *r.Units {
			t.Errorf("usage %+v, want one request with %+v", got, r.Units)
		}
		res, err := s.Client.Get(s.OpsURL + "/readyz")
		if err != nil || res.StatusCode != 200 {
			t.Errorf("readyz %v (%v)", res, err)
		}
		if err == nil {
			res.Body.Close()
		}
	}
}

func TestServerForwards(t *testing.T) {
	const answer = `{"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}`
	s := Start(t, Options{})
	for _, dialect := range []string{"openai", "azure"} {
		u := NewUpstream(t, Respond(200, "application/json", answer))
		s.Forward(u, dialect, "one", "two")
		if status, _, text := chat(t, s, s.APIKey, strings.Replace(hello, "gpt-4o", "two", 1)); status != 200 || text != answer {
			t.Fatalf("%s: %d %s", dialect, status, text)
		}
		got, err := u.Wait(deadline(t), 1)
		if err != nil {
			t.Fatal(err)
		}
		var body struct {
			Model string `json:"model"`
		}
		if err := json.Unmarshal(got[0].Body, &body); err != nil || body.Model != "two" {
			t.Errorf("%s: the upstream got %s (%v)", dialect, got[0].Body, err)
		}
		if header := map[string]string{"openai": "Bearer " + UpstreamKey, "azure": UpstreamKey}[dialect]; got[0].Header.Get(map[string]string{"openai": "Authorization", "azure": "Api-Key"}[dialect]) != header {
			t.Errorf("%s: the upstream got %s", dialect, got[0].Head)
		}
	}
}

func TestServerStartsAgain(t *testing.T) {
	first := Start(t, Options{})
	if status, _, text := chat(t, first, first.APIKey, hello); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	first.Stop()
	if _, err := first.Client.Get(first.URL); err == nil {
		t.Fatal("it still answers")
	}
	second := Start(t, Options{Data: first.Data})
	if second.OrganizationID != first.OrganizationID || second.ProjectID != first.ProjectID || second.APIKey == first.APIKey {
		t.Errorf("second start: %s %s, want %s %s and a new key", second.OrganizationID, second.ProjectID, first.OrganizationID, first.ProjectID)
	}
	for _, key := range []string{first.APIKey, second.APIKey} {
		if status, _, text := chat(t, second, key, hello); status != 200 {
			t.Errorf("%d %s", status, text)
		}
	}
	if got := second.Usage(); len(got) != 1 || got[0].Requests != 3 {
		t.Errorf("usage %+v, want 3 requests", got)
	}
}

func TestServerThatCannotStart(t *testing.T) {
	s := Start(t, Options{})
	failed := &doomed{TB: t}
	done := make(chan struct{})
	go func() { // ends with Fatalf's Goexit
		defer close(done)
		Start(failed, Options{Listen: strings.TrimPrefix(s.URL, "http://")})
	}()
	<-done
	if len(failed.fatal) != 1 || !strings.Contains(failed.fatal[0], "address already in use") {
		t.Errorf("a Gatehouse on a port that is taken told its test %q", failed.fatal)
	}
}

// doomed is a test that may fail without failing the one it is part of.
type doomed struct {
	testing.TB
	fatal []string
}

func (d *doomed) Helper() {}

func (d *doomed) Fatalf(format string, args ...any) {
	d.fatal = append(d.fatal, fmt.Sprintf(format, args...))
	runtime.Goexit()
}
