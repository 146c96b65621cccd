package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
	"gatehouse/internal/store/storetest"
)

// clinic is an installation on disk and how to spoil it.
type clinic struct {
	dir, path string
	cfg       *Config
	lines     []string
	admin     secret.Text
	org       string
}

func newClinic(t *testing.T) *clinic {
	t.Helper()
	return newClinicOn(t, "")
}

// newClinicOn uses a database; "" is one of SQLite below its own folder.
func newClinicOn(t *testing.T, database string) *clinic {
	t.Helper()
	c := &clinic{dir: t.TempDir()}
	if database == "" {
		database = "sqlite:" + filepath.Join(c.dir, "data", "gatehouse.db")
	}
	c.path = filepath.Join(c.dir, "gatehouse.yaml")
	c.lines = []string{"listen: 127.0.0.1:0", "ops_listen: 127.0.0.1:0", "data: " + filepath.Join(c.dir, "data"), "database: " + database,
		"pepper: file://" + filepath.Join(c.dir, "pepper"), "kek: file://" + filepath.Join(c.dir, "kek")}
	c.write(t)
	f, err := Init(t.Context(), c.cfg, InitRequest{Organization: "Acme", Owner: "Ann"})
	if err != nil {
		t.Fatal(err)
	}
	c.admin, c.org = f.AdminKey.Value, f.Organization.ID
	return c
}

// write writes the configuration with more lines and reads it.
func (c *clinic) write(t *testing.T, more ...string) {
	t.Helper()
	c.lines = append(c.lines, more...)
	if err := os.WriteFile(c.path, []byte(strings.Join(c.lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.cfg, err = ReadConfig(c.path); err != nil {
		t.Fatal(err)
	}
}

// service opens the database and returns what changes it.
func (c *clinic) service(t *testing.T) (*store.DB, *admin.Service) {
	t.Helper()
	db, err := c.cfg.beside(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // a database of this test
	peppers, keyring, err := c.cfg.secrets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return db, admin.New(admin.Config{DB: db, Peppers: peppers, Keyring: keyring, Install: "abcd", Now: time.Now, CheckReference: func(string) error { return nil }})
}

func TestCheckupFindsWhatIsWrong(t *testing.T) {
	file := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		spoil   func(t *testing.T, c *clinic)
		area    string
		verdict Verdict
		found   string
	}{
		"nothing":           {func(*testing.T, *clinic) {}, "database", Good, "takes changes"},
		"an unknown key":    {func(t *testing.T, c *clinic) { file(t, c.path, "listne: x\n") }, "config", Bad, "listne"},
		"no such file":      {func(t *testing.T, c *clinic) { c.path += ".x" }, "config", Bad, "no such file"},
		"an open listener":  {func(t *testing.T, c *clinic) { c.lines[1] = "ops_listen: 0.0.0.0:0"; c.write(t) }, "config", Worth, "no authentication"},
		"everybody's proxy": {func(t *testing.T, c *clinic) { c.write(t, "trusted_proxies: [0.0.0.0/0]") }, "config", Worth, "believes everybody"},
		"an open folder":    {func(t *testing.T, c *clinic) { _ = os.Chmod(c.cfg.Data, 0o755) }, "data", Worth, "may look into"},
		"no pepper":         {func(t *testing.T, c *clinic) { _ = os.Remove(filepath.Join(c.dir, "pepper")) }, "secrets", Bad, "pepper"},
		"another version": {func(t *testing.T, c *clinic) {
			file(t, filepath.Join(c.dir, "pepper"), strings.Replace(secret.NewPeppers().Reveal(), "\n1 ", "\n2 ", 1))
		}, "secrets", Bad, "1 active keys are under pepper version 1"},
		"another pepper": {func(t *testing.T, c *clinic) {
			s, err := Open(t.Context(), c.cfg, Options{Log: io.Discard})
			if err != nil {
				t.Fatal(err)
			}
			closeOpened(t, s)
			file(t, filepath.Join(c.dir, "pepper"), secret.NewPeppers().Reveal())
		}, "secrets", Bad, "version 1 of the pepper is not the one"},
		"another kek": {func(t *testing.T, c *clinic) {
			_, s := c.service(t)
			if _, err := s.Seal(t.Context(), gatehouse.Host(c.org), "s", secret.NewText("sealed-value")); err != nil {
				t.Fatal(err)
			}
			file(t, filepath.Join(c.dir, "kek"), secret.NewKeyring().Reveal())
		}, "secrets", Bad, "1 of 1 sealed secrets do not open"},
		"no database": {func(t *testing.T, c *clinic) { _ = os.Remove(filepath.Join(c.cfg.Data, "gatehouse.db")) }, "database", Bad, "no such file"},
		"a restore that did not end": {func(t *testing.T, c *clinic) {
			if _, err := Backup(t.Context(), c.cfg, filepath.Join(c.dir, "b"), "test"); err != nil {
				t.Fatal(err)
			}
			db, _ := c.service(t)
			f, err := os.Open(filepath.Join(c.dir, "b"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := db.Restore(t.Context(), f, store.Restoration{Replace: true}); err != nil {
				t.Fatal(err)
			}
		}, "database", Bad, "run gatehouse restore to its end"},
		"no backup": {func(*testing.T, *clinic) {}, "backup", Worth, "no backup was ever made"},
		"a backup": {func(t *testing.T, c *clinic) {
			if _, err := Backup(t.Context(), c.cfg, c.dir, "test"); err != nil {
				t.Fatal(err)
			}
		}, "backup", Good, "the newest is of"},
		"no certificate": {func(t *testing.T, c *clinic) { c.write(t, "tls: {cert: /nowhere/cert.pem, key: /nowhere/key.pem}") }, "certificate", Bad, "no such file"},
		"no valkey":      {func(t *testing.T, c *clinic) { c.write(t, "valkey: redis://:hunter2secret@127.0.0.1:1/0") }, "valkey", Worth, "refused"},
		"a taken port": {func(t *testing.T, c *clinic) {
			taken := httptest.NewServer(http.NotFoundHandler())
			t.Cleanup(taken.Close)
			c.lines[0] = "listen: " + taken.Listener.Addr().String()
			c.write(t)
		}, "listeners", Bad, "in use"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClinic(t)
			test.spoil(t, c)
			checks := Checkup(t.Context(), c.path, CheckupRequest{})
			i := slices.IndexFunc(checks, func(check Check) bool {
				return check.Area == test.area && check.Verdict == test.verdict && strings.Contains(check.Found, test.found)
			})
			if i < 0 {
				t.Fatalf("no check of %s is %s with %q; found:\n%s", test.area, test.verdict, test.found, checksText(checks))
			}
			if test.verdict != Good && checks[i].Fix == "" {
				t.Errorf("%+v does not say what to do", checks[i])
			}
			if text := checksText(checks); strings.Contains(text, "hunter2secret") {
				t.Errorf("a password is shown:\n%s", text)
			}
			if name == "nothing" && slices.ContainsFunc(checks, func(check Check) bool { return check.Verdict == Bad }) {
				t.Errorf("something is wrong with a fresh installation:\n%s", checksText(checks))
			}
		})
	}
}

// TestCheckupOnPostgres proves that another machine's database and clock are looked at, and that one that takes no changes shows.
func TestCheckupOnPostgres(t *testing.T) {
	url := storetest.Postgres(t)
	c := newClinicOn(t, url)
	wants := func(area string, verdict Verdict, found string) {
		t.Helper()
		checks := Checkup(t.Context(), c.path, CheckupRequest{})
		if !slices.ContainsFunc(checks, func(check Check) bool {
			return check.Area == area && check.Verdict == verdict && strings.Contains(check.Found, found)
		}) {
			t.Errorf("no check of %s is %s with %q; found:\n%s", area, verdict, found, checksText(checks))
		}
	}
	wants("database", Good, "postgres answers in")
	wants("clock", Good, "of the database's")
	c.lines[3] = "database: " + url + "?default_transaction_read_only=on"
	c.write(t)
	wants("database", Bad, "it takes no changes")
	c.lines[3] = "database: postgres://nobody:hunter2secret@127.0.0.1:1/none"
	c.write(t)
	wants("database", Bad, "not available")
	if text := checksText(Checkup(t.Context(), c.path, CheckupRequest{})); strings.Contains(text, "hunter2secret") {
		t.Errorf("a password is shown:\n%s", text)
	}
}

func checksText(checks []Check) string {
	var b strings.Builder
	for _, c := range checks {
		fmt.Fprintf(&b, "%s %s: %s (%s)\n", c.Verdict, c.Area, c.Found, c.Fix)
	}
	return b.String()
}

// TestCheckupCallsUpstreams proves that the one call goes out with the credential and that its answer is understood, and that no
// address is called that a request could not reach.
func TestCheckupCallsUpstreams(t *testing.T) {
	c := newClinic(t)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/models") || r.Header.Get("Authorization") != "Bearer good-credential" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(upstream.Close)
	_, s := c.service(t)
	host := gatehouse.Host(c.org)
	seal := func(value string) string {
		id, err := s.Seal(context.Background(), host, "s", secret.NewText(value))
		if err != nil {
			t.Fatal(err)
		}
		return "sealed://" + id
	}
	for _, u := range []admin.UpstreamSpec{
		{Name: "well", Dialect: gatehouse.OpenAI, BaseURL: upstream.URL + "/v1", Credential: seal("good-credential"), AllowPrivate: true},
		{Name: "refused", Dialect: gatehouse.OpenAI, BaseURL: upstream.URL + "/v1", Credential: seal("bad-credential"), AllowPrivate: true},
		{Name: "guarded", Dialect: gatehouse.OpenAI, BaseURL: strings.Replace(upstream.URL, "http:", "https:", 1) + "/v1", Credential: seal("good-credential")},
		{Name: "unresolved", Dialect: gatehouse.OpenAI, BaseURL: upstream.URL + "/v1", Credential: "env://NOT_SET_API_KEY", AllowPrivate: true},
	} {
		if _, err := s.PutUpstream(t.Context(), host, u); err != nil {
			t.Fatal(err)
		}
	}
	checks := Checkup(t.Context(), c.path, CheckupRequest{Upstreams: true})
	for name, want := range map[string]struct {
		verdict Verdict
		found   string
	}{"well": {Good, "accepts the credential"}, "refused": {Bad, "refuses the credential with 401"}, "guarded": {Bad, "private address"}, "unresolved": {Bad, "cannot be read"}} {
		if !slices.ContainsFunc(checks, func(check Check) bool {
			return check.Area == "upstreams" && check.Verdict == want.verdict && strings.HasPrefix(check.Found, name) && strings.Contains(check.Found, want.found)
		}) {
			t.Errorf("upstream %s: want %s with %q; found:\n%s", name, want.verdict, want.found, checksText(checks))
		}
	}
	if text := checksText(checks); strings.Contains(text, "good-credential") || strings.Contains(text, "bad-credential") {
		t.Errorf("a credential is shown:\n%s", text)
	}
}
