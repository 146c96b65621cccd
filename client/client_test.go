package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/client"
	"gatehouse/internal/server"
)

// dev runs a development server for one test and returns a client of it and what it printed.
func dev(t *testing.T) (*client.Client, server.Ready) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	s, err := server.Dev(ctx, server.DevOptions{Options: server.Options{Log: io.Discard}, Listen: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		stop()
		t.Fatal(err)
	}
	ready, ended := make(chan server.Ready, 1), make(chan error, 1)
	go func() { ended <- s.RunDev(ctx, func(r server.Ready) { ready <- r }) }() // ends with ctx; awaited in the cleanup
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	select {
	case r := <-ready:
		return connect(t, r.URL, r.AdminKey), r
	case err := <-ended:
		ended <- nil
		t.Fatalf("the server did not start: %v", err)
	}
	return nil, server.Ready{}
}

func connect(t *testing.T, url, key string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: url, AdminKey: key})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// must returns v, or ends the test.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestAgainstServer(t *testing.T) {
	c, ready := dev(t)
	ctx := t.Context()

	me := must(c.WhoAmI(ctx))(t)
	if me.OrganizationID != ready.OrganizationID || me.DefaultProjectID != ready.ProjectID || me.KeyID == "" {
		t.Errorf("WhoAmI = %+v, want the ids of %+v", me, ready)
	}

	project := must(c.CreateProject(ctx, client.ProjectCreate{Name: "shop", Labels: map[string]string{"env": "prod"}}))(t)
	name, upstream := "store", "mock"
	project = must(c.UpdateProject(ctx, project.ID, client.ProjectUpdate{Name: &name, Upstream: &upstream}))(t)
	if project.Name != "store" || project.Labels["env"] != "prod" || project.Status != "active" {
		t.Errorf("UpdateProject = %+v", project)
	}
	if !strings.Contains(string(project.JSON), `"object":"organization.project"`) {
		t.Errorf("the server's JSON was not kept: %s", project.JSON)
	}

	account := must(c.CreateServiceAccount(ctx, project.ID, client.ServiceAccountCreate{Name: "robot"}))(t)
	if account.APIKey == nil || !strings.HasPrefix(account.APIKey.Value, "sk-svcacct-") {
		t.Errorf("CreateServiceAccount returned no key: %+v", account.APIKey)
	}
	role := gatehouse.RoleNone
	if account = must(c.UpdateServiceAccount(ctx, project.ID, account.ID, client.ServiceAccountUpdate{Role: &role}))(t); account.Role != role {
		t.Errorf("role = %q, want %q", account.Role, role)
	}
	second := must(c.CreateServiceAccountKey(ctx, project.ID, account.ID, client.ServiceAccountKeyCreate{Name: "second", ExpiresIn: 60}))(t)
	if second.ExpiresAt <= second.CreatedAt {
		t.Errorf("the key expires at %d, before it was created at %d", second.ExpiresAt, second.CreatedAt)
	}

	must(c.AddMember(ctx, project.ID, me.UserID, gatehouse.RoleOwner))(t)
	key := must(c.CreateKey(ctx, client.KeyCreate{Class: "project", Project: project.ID, User: me.UserID, Models: []string{"gpt-4o"}, AllowedIPs: []string{"127.0.0.0/8"}}))(t)
	if key.Value == "" || key.State != "active" || key.Owner.User.ID != me.UserID || key.ProjectID != project.ID {
		t.Errorf("CreateKey = %+v", key)
	}
	if got := must(c.Key(ctx, key.ID))(t); got.Value != "" || got.Models[0] != "gpt-4o" || got.AllowedIPs[0] != "127.0.0.0/8" {
		t.Errorf("Key = %+v", got)
	}
	none := []string{}
	if got := must(c.UpdateKey(ctx, key.ID, client.KeyUpdate{Models: &none}))(t); len(got.Models) != 0 {
		t.Errorf("models = %v, want none", got.Models)
	}
	if got := must(c.SuspendKey(ctx, key.ID))(t); got.State != "suspended" || got.EffectiveBy != 0 {
		t.Errorf("SuspendKey: state %q, effective by %d", got.State, got.EffectiveBy)
	}
	if got := must(c.ResumeKey(ctx, key.ID))(t); got.State != "active" {
		t.Errorf("ResumeKey: state %q", got.State)
	}

	id := ask(t, ready.URL, key.Value)
	why := must(c.Explain(ctx, id))(t)
	if why.ID != id || why.Key != key.ID || why.Rule != "served" || why.Units == nil || why.Units.Output == 0 {
		t.Errorf("Explain = %+v", why.Request)
	}
	report := must(c.Usage(ctx, client.UsageQuery{By: []string{"key", "model"}, Keys: []string{key.ID}}))(t)
	if len(report.Lines) != 1 || report.Lines[0].Requests != 1 || report.Lines[0].Units != *why.Units || report.Lines[0].Model != "gpt-4o" {
		t.Errorf("Usage = %+v, want the units of %+v", report.Lines, why.Units)
	}

	if d := must(c.RevokeKey(ctx, key.ID))(t); !d.Deleted || d.ID != key.ID {
		t.Errorf("RevokeKey = %+v", d)
	}
	must(c.RemoveMember(ctx, project.ID, me.UserID))(t)
	must(c.DeleteServiceAccount(ctx, project.ID, account.ID))(t)
	if p := must(c.ArchiveProject(ctx, project.ID))(t); p.Status != "archived" || p.ArchivedAt == 0 {
		t.Errorf("ArchiveProject = %+v", p)
	}

	user := must(c.CreateUser(ctx, client.UserCreate{Name: "Ann", Email: "ann@example.com"}))(t)
	if user = must(c.UpdateUser(ctx, user.ID, gatehouse.RoleOwner))(t); user.Role != gatehouse.RoleOwner {
		t.Errorf("role = %q", user.Role)
	}
	must(c.RemoveUser(ctx, user.ID))(t)

	// Names that would mean something to a path do not.
	for _, odd := range []string{"*", "ft:a/b..c", ".hidden", "a?b#c%2F"} {
		d := must(c.PutDeployment(ctx, client.Deployment{Name: odd, Routes: []client.Route{{Upstream: "mock", Model: "gpt-4o", Weight: 2}}}))(t)
		if d.Name != odd || d.Routes[0] != (client.Route{Upstream: "mock", Model: "gpt-4o", Weight: 2}) {
			t.Errorf("PutDeployment(%q) = %+v", odd, d)
		}
		if _, err := c.RemoveDeployment(ctx, odd); err != nil {
			t.Errorf("RemoveDeployment(%q): %v", odd, err)
		}
	}
	sealed := must(c.Seal(ctx, "provider", "hunter2"))(t)
	up := must(c.PutUpstream(ctx, client.Upstream{Name: "sealed", Dialect: gatehouse.OpenAI, BaseURL: "https://api.example.com/v1", Credential: sealed.Reference}))(t)
	if up.Credential != sealed.Reference || strings.Contains(string(sealed.JSON), "hunter2") {
		t.Errorf("PutUpstream = %+v, Seal = %s", up, sealed.JSON)
	}
	must(c.RemoveUpstream(ctx, "sealed"))(t)

	manifest := []byte("upstreams: [{name: second, dialect: mock}]\n")
	if plan := must(c.Apply(ctx, manifest, client.ApplyOptions{DryRun: true}))(t); !plan.DryRun || len(plan.Items) != 1 || plan.Items[0].Action != "create" {
		t.Errorf("dry run = %+v", plan)
	}
	for i, want := range []int{1, 0} {
		if plan := must(c.Apply(ctx, manifest, client.ApplyOptions{}))(t); len(plan.Items) != want {
			t.Errorf("apply %d changed %v, want %d changes", i+1, plan.Items, want)
		}
	}
}

// ask makes one request of a model and returns its id.
func ask(t *testing.T, url, key string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/chat/completions", strings.NewReader(`{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v: %s", resp.StatusCode, err, body)
	}
	return resp.Header.Get("X-Request-Id")
}

func TestListsFollowPages(t *testing.T) {
	c, _ := dev(t)
	const more = 105
	for i := range more {
		must(c.CreateProject(t.Context(), client.ProjectCreate{Name: fmt.Sprintf("p%d", i)}))(t)
	}
	seen := map[string]bool{}
	for p, err := range c.Projects(t.Context(), client.WithoutArchived) {
		if err != nil {
			t.Fatal(err)
		}
		seen[p.ID] = true
	}
	if want := more + 1; len(seen) != want {
		t.Errorf("listed %d projects, want %d", len(seen), want)
	}
	for range c.Projects(t.Context(), client.WithoutArchived) {
		break // a caller that has seen enough is not called again
	}
}

func TestErrors(t *testing.T) {
	c, ready := dev(t)
	wrong := connect(t, ready.URL, "sk-admin-wrong")
	data := connect(t, ready.URL, ready.APIKey)
	for name, tc := range map[string]struct {
		call   func() error
		status int
		code   string
		param  string
	}{
		"wrong key":     {func() error { _, err := wrong.WhoAmI(t.Context()); return err }, 401, "invalid_api_key", ""},
		"not an admin":  {func() error { _, err := data.WhoAmI(t.Context()); return err }, 403, "missing_scope", ""},
		"unknown":       {func() error { _, err := c.Project(t.Context(), "proj_x"); return err }, 404, "", ""},
		"missing field": {func() error { _, err := c.CreateProject(t.Context(), client.ProjectCreate{}); return err }, 400, "missing_required_parameter", "name"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.call()
			e, ok := errors.AsType[*client.Error](err)
			if !ok {
				t.Fatalf("error = %v, want a *client.Error", err)
			}
			if e.Status != tc.status || e.Param != tc.param || tc.code != "" && e.Code != tc.code || e.Message == "" || !strings.HasPrefix(e.RequestID, "req_") {
				t.Errorf("error = %+v, want status %d, code %q, param %q", e, tc.status, tc.code, tc.param)
			}
		})
	}
	for p, err := range c.Members(t.Context(), "proj_x") {
		if err == nil {
			t.Errorf("members of nothing: %+v", p)
		}
	}
	if _, err := c.Key(t.Context(), ""); err == nil {
		t.Error("an empty id was asked for")
	}
}

// TestAnswersOfOthers proves what happens when what answers is not a Gatehouse.
func TestAnswersOfOthers(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	var calls atomic.Int32
	gone := make(chan struct{})
	odd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		switch r.URL.Path {
		case "/redirect/gatehouse/v1/whoami":
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		case "/html/gatehouse/v1/whoami":
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, "<html>")
		case "/nonsense/gatehouse/v1/whoami":
			_, _ = io.WriteString(w, "<html>")
		case "/endless/v1/organization/users":
			_, _ = io.WriteString(w, `{"data":[{"id":"user-1"}],"last_id":"user-1","has_more":true}`)
		case "/slow/v1/organization/projects":
			<-gone
		case "/drop/v1/organization/projects":
			panic(http.ErrAbortHandler)
		}
	}))
	defer odd.Close()
	defer close(gone)

	_, err := connect(t, odd.URL+"/redirect", "sk-admin-x").WhoAmI(t.Context())
	if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != http.StatusTemporaryRedirect || elsewhere.Load() != 0 {
		t.Errorf("redirect: %v, and the other server was called %d times", err, elsewhere.Load())
	}
	_, err = connect(t, odd.URL+"/html", "sk-admin-x").WhoAmI(t.Context())
	if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != http.StatusBadGateway || !strings.Contains(e.Message, "502") {
		t.Errorf("html: %v", err)
	}
	if _, err = connect(t, odd.URL+"/nonsense", "sk-admin-x").WhoAmI(t.Context()); err == nil {
		t.Error("nonsense was taken for an answer")
	}
	n := 0
	for _, err := range connect(t, odd.URL+"/endless", "sk-admin-x").Users(t.Context()) {
		if n++; n > 10 || err != nil {
			t.Fatalf("a list that does not move on: element %d, %v", n, err)
		}
	}
	slow, err := client.New(client.Config{URL: odd.URL + "/slow", AdminKey: "sk-admin-x", Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := slow.CreateProject(t.Context(), client.ProjectCreate{Name: "x"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("slow: %v, want a deadline", err)
	}
	// A create that was lost is not repeated.
	calls.Store(0)
	if _, err := connect(t, odd.URL+"/drop", "sk-admin-x").CreateProject(t.Context(), client.ProjectCreate{Name: "x"}); err == nil || calls.Load() != 1 {
		t.Errorf("drop: %v after %d calls, want an error after one", err, calls.Load())
	}
}

func TestNew(t *testing.T) {
	for _, url := range []string{"", "127.0.0.1:4180", "ftp://x", "http://", "http://u:p@x", "http://x?q=1", "http://x#f"} {
		if _, err := client.New(client.Config{URL: url}); err == nil {
			t.Errorf("New accepted %q", url)
		}
	}
	const key = "sk-admin-planted"
	c := connect(t, "http://127.0.0.1:1/v1/", key)
	if text := fmt.Sprintf("%v %+v %#v", c, *c, c); strings.Contains(text, key) {
		t.Errorf("a printed client shows its key: %s", text)
	}
	_, err := c.WhoAmI(t.Context())
	if err == nil || strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "v1/gatehouse") {
		t.Errorf("error = %v", err)
	}
}
