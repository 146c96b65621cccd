package custody_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/custody"
	"gatehouse/internal/secret"
)

const value = "CANARY-v4lue-of-a-secret"

func policy(tb testing.TB, entries ...string) custody.Policy {
	tb.Helper()
	p, err := custody.ParsePolicy(entries)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func write(tb testing.TB, path, content string) string {
	tb.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

func link(tb testing.TB, target, path string) string {
	tb.Helper()
	if err := os.Symlink(target, path); err != nil {
		tb.Fatal(err)
	}
	return path
}

// wantError fails unless err is a gatehouse.Error of a kind whose message holds part, and which does not show the secret.
func wantError(tb testing.TB, what string, err error, kind gatehouse.Kind, part string) {
	tb.Helper()
	e, ok := errors.AsType[*gatehouse.Error](err)
	if !ok || e.Kind != kind || !strings.Contains(e.Message, part) {
		tb.Errorf("%s: got %v (%v), want kind %v with %q", what, err, gatehouse.KindOf(err), kind, part)
	}
	if err != nil && strings.Contains(err.Error(), value) {
		tb.Errorf("%s: the error shows the secret: %v", what, err)
	}
}

// Which variables each policy allows, decided without reading any.
func TestCheckEnv(t *testing.T) {
	def, err := custody.DefaultPolicy("")
	if err != nil {
		t.Fatal(err)
	}
	dev, err := custody.DevPolicy("")
	if err != nil {
		t.Fatal(err)
	}
	own := policy(t, "env://EXACT", "env://AZURE_*", "env://A*Z", "env://GATEHOUSE_ONE", "env://GATEHOUSE_*")
	for _, c := range []struct {
		name   string
		policy custody.Policy
		ref    string
		ok     bool
	}{
		{"default", def, "env://OPENAI_API_KEY", true},
		{"default", def, "env://_API_KEY", true},
		{"default", def, "env://OPENAI_API_KEY_2", false},
		{"default", def, "env://PATH", false},
		{"default", def, "env://GATEHOUSE_API_KEY", false},
		{"default", def, "env://gatehouse_API_KEY", false},
		{"dev", dev, "env://PATH", true},
		{"dev", dev, "env://GATEHOUSE_PEPPER", false},
		{"dev", dev, "env://GateHouse_Pepper", false},
		{"own", own, "env://EXACT", true},
		{"own", own, "env://EXACTLY", false},
		{"own", own, "env://AZURE_", true},
		{"own", own, "env://AZURE_KEY", true},
		{"own", own, "env://MY_AZURE_KEY", false},
		{"own", own, "env://AZ", true},
		{"own", own, "env://AbcZ", true},
		{"own", own, "env://A", false},
		{"own", own, "env://GATEHOUSE_ONE", true},
		{"own", own, "env://GATEHOUSE_TWO", false},
		{"zero", custody.Policy{}, "env://OPENAI_API_KEY", false},
		{"unrestricted", custody.Unrestricted(), "env://GATEHOUSE_PEPPER", true},
		{"files only", policy(t, "file:///run/secrets"), "env://OPENAI_API_KEY", false},
	} {
		err := custody.New(custody.Config{Allow: c.policy}).Check(c.ref)
		if c.ok && err != nil {
			t.Errorf("%s: %s: %v", c.name, c.ref, err)
		}
		if !c.ok {
			wantError(t, c.name+" "+c.ref, err, gatehouse.Invalid, "not allowed")
		}
	}
}

// What is not a reference is refused under every policy, and what may be a secret in the wrong place is not echoed.
func TestCheckMalformed(t *testing.T) {
	r := custody.New(custody.Config{Allow: custody.Unrestricted(), Sealed: func(context.Context, string) (secret.Text, error) { return secret.Text{}, nil }})
	foreign := "ghp_" + strings.Repeat("aB3", 12)
	for ref, part := range map[string]string{
		"":                            "env://NAME",
		value:                         "not the secret itself",
		"sk-proj-" + value:            "not the secret itself",
		"https://" + value:            "not the secret itself",
		"ENV://NAME":                  "not the secret itself",
		"env:NAME":                    "not the secret itself",
		"env://":                      "Malformed",
		"env://" + value:              "Malformed",
		"env://1NAME":                 "Malformed",
		"env://NA ME":                 "Malformed",
		"env://NAME\n":                "Malformed",
		"env://NÄME":                  "Malformed",
		"env://" + foreign:            "Malformed",
		"env://*":                     "Malformed",
		"file://relative/" + value:    "Malformed",
		"file://":                     "Malformed",
		"file:///a/../" + value:       "Malformed",
		"file:///a//b":                "Malformed",
		"file:///a/":                  "Malformed",
		"file:///a/./b":               "Malformed",
		"file:///a\x00b":              "Malformed",
		"file://host/path/" + foreign: "Malformed",
		"sealed://":                   "Malformed",
		"sealed://a/b":                "Malformed",
		"sealed://" + foreign:         "Malformed",
		"vault://kv/contoso#" + value: "does not read vault://",
		"awssm://name#" + value:       "AWS Secrets Manager",
		"azkv://vault/" + value:       "Azure Key Vault",
		"gcpsm://" + value:            "Google Secret Manager",
	} {
		err := r.Check(ref)
		wantError(t, ref, err, gatehouse.Invalid, part)
		if err != nil && strings.Contains(err.Error(), foreign) {
			t.Errorf("%s: the error shows a credential: %v", ref, err)
		}
		_, err = r.Resolve(t.Context(), ref)
		wantError(t, "resolve "+ref, err, gatehouse.Invalid, part)
	}
}

func TestResolveEnv(t *testing.T) {
	r := custody.New(custody.Config{Allow: policy(t, "env://*")})
	for _, c := range []struct{ set, want string }{
		{value, value}, {value + "\n", value}, {value + "\r\n", value}, {value + "\n\n", value + "\n"}, {" " + value + " ", " " + value + " "},
	} {
		t.Setenv("CUSTODY_TEST", c.set)
		if got, err := r.Resolve(t.Context(), "env://CUSTODY_TEST"); err != nil || got.Reveal() != c.want {
			t.Errorf("%q: got %q, %v; want %q", c.set, got.Reveal(), err, c.want)
		}
	}
	t.Setenv("CUSTODY_TEST", "\n")
	_, err := r.Resolve(t.Context(), "env://CUSTODY_TEST")
	wantError(t, "empty", err, gatehouse.Unavailable, "env://CUSTODY_TEST is empty")
	t.Setenv("CUSTODY_TEST", strings.Repeat("x", custody.MaxSize+1))
	_, err = r.Resolve(t.Context(), "env://CUSTODY_TEST")
	wantError(t, "too large", err, gatehouse.Unavailable, "larger than 65536 bytes")
	_, err = r.Resolve(t.Context(), "env://CUSTODY_TEST_THAT_NOBODY_SET")
	wantError(t, "unset", err, gatehouse.Unavailable, "CUSTODY_TEST_THAT_NOBODY_SET is not set")
}

// Files are read below the allowed directory only, whatever links say, and nothing but a regular file of a sane size is.
func TestResolveFile(t *testing.T) {
	tmp, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir, outside := filepath.Join(tmp, "secrets"), filepath.Join(tmp, "outside")
	r := custody.New(custody.Config{Allow: policy(t, "file://"+dir)})

	// As Kubernetes mounts secrets: the file is a link into ..data, which is a link to a directory.
	write(t, filepath.Join(dir, "..2026", "k8s"), value+"\n")
	link(t, "..2026", filepath.Join(dir, "..data"))
	good := map[string]string{
		"plain":            write(t, filepath.Join(dir, "plain"), value+"\n"),
		"no line end":      write(t, filepath.Join(dir, "bare"), value),
		"windows line end": write(t, filepath.Join(dir, "crlf"), value+"\r\n"),
		"deep":             write(t, filepath.Join(dir, "a", "b", "c"), value+"\n"),
		"relative link":    link(t, "plain", filepath.Join(dir, "relative")),
		"absolute link":    link(t, filepath.Join(dir, "plain"), filepath.Join(dir, "absolute")),
		"kubernetes":       link(t, filepath.Join("..data", "k8s"), filepath.Join(dir, "k8s")),
	}
	for name, path := range good {
		if err := r.Check("file://" + path); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := r.Resolve(t.Context(), "file://"+path); err != nil || got.Reveal() != value {
			t.Errorf("%s: got %q, %v", name, got.Reveal(), err)
		}
	}

	out := write(t, filepath.Join(outside, "file"), value)
	beside := write(t, filepath.Join(tmp, "secrets-beside"), value)
	largest := write(t, filepath.Join(dir, "largest"), strings.Repeat("x", custody.MaxSize-1)+"\n")
	if got, err := r.Resolve(t.Context(), "file://"+largest); err != nil || len(got.Reveal()) != custody.MaxSize-1 {
		t.Errorf("largest: %v", err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	bad := map[string]struct {
		path string
		kind gatehouse.Kind
		part string
	}{
		"outside":        {out, gatehouse.Invalid, "not allowed"},
		"beside":         {beside, gatehouse.Invalid, "not allowed"},
		"the directory":  {dir, gatehouse.Invalid, "not allowed"},
		"link out":       {link(t, out, filepath.Join(dir, "out")), gatehouse.Invalid, "leads out"},
		"relative out":   {link(t, "../outside/file", filepath.Join(dir, "out2")), gatehouse.Invalid, "leads out"},
		"linked dir out": {filepath.Join(link(t, outside, filepath.Join(dir, "out3")), "file"), gatehouse.Invalid, "leads out"},
		"chain out":      {link(t, filepath.Join(dir, "out"), filepath.Join(dir, "out4")), gatehouse.Invalid, "leads out"},
		"loop":           {link(t, filepath.Join(dir, "loop"), filepath.Join(dir, "loop")), gatehouse.Unavailable, "cannot be opened"},
		"missing":        {filepath.Join(dir, "missing"), gatehouse.Unavailable, "There is no file"},
		"dangling":       {link(t, "missing", filepath.Join(dir, "dangling")), gatehouse.Unavailable, "There is no file"},
		"folder":         {filepath.Join(dir, "a"), gatehouse.Unavailable, "not a regular file"},
		"named pipe":     {pipe, gatehouse.Unavailable, "not a regular file"},
		"empty":          {write(t, filepath.Join(dir, "empty"), "\n"), gatehouse.Unavailable, "is empty"},
		"too large":      {write(t, filepath.Join(dir, "large"), strings.Repeat("x", custody.MaxSize+1)), gatehouse.Unavailable, "larger than"},
	}
	for name, c := range bad {
		done := make(chan error, 1)
		go func() { _, err := r.Resolve(context.Background(), "file://"+c.path); done <- err }()
		select {
		case err := <-done:
			wantError(t, name, err, c.kind, c.part)
			if err != nil && !strings.Contains(err.Error(), c.path) {
				t.Errorf("%s: the error does not name the file: %v", name, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: still reading after 10 s", name)
		}
	}
}

// The server's own files stay unread below an allowed directory, under any name or link.
func TestForbiddenFiles(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pepper := write(t, filepath.Join(dir, "pepper"), value)
	other := write(t, filepath.Join(dir, "other"), value)
	hard := filepath.Join(dir, "hard")
	if err := os.Link(pepper, hard); err != nil {
		t.Fatal(err)
	}
	r := custody.New(custody.Config{Allow: policy(t, "file://"+dir).Forbid(filepath.Join(dir, "absent"), pepper)})
	for _, path := range []string{pepper, hard, link(t, pepper, filepath.Join(dir, "soft"))} {
		_, err := r.Resolve(t.Context(), "file://"+path)
		wantError(t, path, err, gatehouse.Invalid, "belongs to the server itself")
	}
	if _, err := r.Resolve(t.Context(), "file://"+other); err != nil {
		t.Errorf("another file: %v", err)
	}
}

// The server's own variables and files are also forbidden by the references its config has, and nothing else is.
func TestForbiddenReferences(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "pepper"), value)
	t.Setenv("PEPPER", value)
	t.Setenv("OTHER", value)
	p := policy(t, "env://*", "env://PEPPER", "file://"+filepath.Dir(path))
	open, closed := custody.New(custody.Config{Allow: p}), custody.New(custody.Config{Allow: p.Forbid("env://PEPPER", "file://"+path, "sealed://x", "")})
	for _, ref := range []string{"env://PEPPER", "file://" + path} {
		if _, err := open.Resolve(t.Context(), ref); err != nil {
			t.Errorf("the policy that Forbid was called on changed: %v", err)
		}
		_, err := closed.Resolve(t.Context(), ref)
		wantError(t, ref, err, gatehouse.Invalid, "not allowed here")
	}
	if _, err := closed.Resolve(t.Context(), "env://OTHER"); err != nil {
		t.Errorf("another variable: %v", err)
	}
}

// A relative directory is below the working directory.
func TestRelativeDirectory(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	path := write(t, filepath.Join(dir, "data", "credentials", "key"), value)
	p, err := custody.DefaultPolicy(filepath.Join("data", "credentials"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := custody.New(custody.Config{Allow: p}).Resolve(t.Context(), "file://"+path); err != nil || got.Reveal() != value {
		t.Errorf("got %q, %v", got.Reveal(), err)
	}
}

// An allowed directory may itself be reached through a link.
func TestAllowedDirectoryIsALink(t *testing.T) {
	tmp, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(tmp, "real", "key"), value)
	alias := link(t, filepath.Join(tmp, "real"), filepath.Join(tmp, "alias"))
	r := custody.New(custody.Config{Allow: policy(t, "file://"+alias)})
	if got, err := r.Resolve(t.Context(), "file://"+alias+"/key"); err != nil || got.Reveal() != value {
		t.Errorf("got %q, %v", got.Reveal(), err)
	}
	_, err = r.Resolve(t.Context(), "file://"+filepath.Join(tmp, "real", "key"))
	wantError(t, "by its other name", err, gatehouse.Invalid, "not allowed")
}

func TestResolveSealed(t *testing.T) {
	const id = "seal_0123456789AbCdEfGhIjKlMn"
	broken := errors.New("database is down")
	open := func(_ context.Context, got string) (secret.Text, error) {
		switch got {
		case id:
			return secret.NewText(value), nil
		case "seal_broken":
			return secret.Text{}, broken
		}
		return secret.Text{}, gatehouse.Errorf(gatehouse.NotFound, "no such sealed secret")
	}
	r := custody.New(custody.Config{Allow: policy(t, "sealed://"), Sealed: open})
	if got, err := r.Resolve(t.Context(), "sealed://"+id); err != nil || got.Reveal() != value {
		t.Errorf("got %q, %v", got.Reveal(), err)
	}
	_, err := r.Resolve(t.Context(), "sealed://seal_missing")
	wantError(t, "missing", err, gatehouse.Unavailable, "There is no sealed secret seal_missing")
	_, err = r.Resolve(t.Context(), "sealed://seal_broken")
	wantError(t, "broken", err, gatehouse.Unavailable, "cannot be opened now")
	if !errors.Is(err, broken) {
		t.Errorf("the cause is lost: %v", err)
	}
	for name, c := range map[string]custody.Config{
		"no store":      {Allow: policy(t, "sealed://")},
		"not allowed":   {Allow: policy(t, "env://*"), Sealed: open},
		"operator only": {Allow: custody.Unrestricted()},
	} {
		_, err := custody.New(c).Resolve(t.Context(), "sealed://"+id)
		wantError(t, name, err, gatehouse.Invalid, "not allowed")
	}
}

// The operator's own config may name any file and any variable.
func TestUnrestricted(t *testing.T) {
	r := custody.New(custody.Config{Allow: custody.Unrestricted()})
	path := write(t, filepath.Join(t.TempDir(), "pepper"), value)
	soft := link(t, path, filepath.Join(t.TempDir(), "soft"))
	for _, p := range []string{path, soft} {
		if got, err := r.Resolve(t.Context(), "file://"+p); err != nil || got.Reveal() != value {
			t.Errorf("got %q, %v", got.Reveal(), err)
		}
	}
	_, err := r.Resolve(t.Context(), "file://"+path+"-missing")
	wantError(t, "missing", err, gatehouse.Unavailable, "There is no file")
	t.Setenv("GATEHOUSE_TEST_PEPPER", value)
	if got, err := r.Resolve(t.Context(), "env://GATEHOUSE_TEST_PEPPER"); err != nil || got.Reveal() != value {
		t.Errorf("got %q, %v", got.Reveal(), err)
	}
}

func TestParsePolicyRefuses(t *testing.T) {
	for _, entry := range []string{
		"", "env", "env://", "env://A B", "env://A*B*", "env://-", "file://", "file://relative", "file:///", "file:///..", "sealed://x", "vault://x", "OPENAI_API_KEY", "*",
	} {
		if _, err := custody.ParsePolicy([]string{"env://FINE", entry}); err == nil || !strings.Contains(err.Error(), "secret_refs") {
			t.Errorf("%q: got %v, want an error that names secret_refs", entry, err)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, ref := range []string{"env://OPENAI_API_KEY", "file:///run/secrets/a", "sealed://seal_1", "vault://a#b", "env://", "file:///run/secrets/../x", "x"} {
		f.Add(ref)
	}
	p, err := custody.ParsePolicy([]string{"env://*_API_KEY", "file:///run/secrets", "sealed://"})
	if err != nil {
		f.Fatal(err)
	}
	r := custody.New(custody.Config{Allow: p, Sealed: func(context.Context, string) (secret.Text, error) { return secret.Text{}, nil }})
	f.Fuzz(func(t *testing.T, ref string) {
		if r.Check(ref) != nil {
			return
		}
		name, isEnv := strings.CutPrefix(ref, "env://")
		path, isFile := strings.CutPrefix(ref, "file://")
		if !(isEnv && strings.HasSuffix(name, "_API_KEY") && !strings.HasPrefix(strings.ToUpper(name), "GATEHOUSE_") && !strings.Contains(name, "=")) &&
			!(isFile && strings.HasPrefix(path, "/run/secrets/") && filepath.Clean(path) == path) &&
			!strings.HasPrefix(ref, "sealed://") {
			t.Fatalf("%q is allowed", ref)
		}
	})
}
