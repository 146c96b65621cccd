package system_test

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/secret"
)

// single is the configuration of a node on SQLite, founded, with its secrets beside its data.
type single struct {
	founded
	dir    string
	config string
}

// lines returns the lines of a single node's configuration.
func singleLines(dir string, more ...string) []string {
	return append([]string{
		"listen: 127.0.0.1:0", "ops_listen: 127.0.0.1:0", "node: one", "data: " + filepath.Join(dir, "data"),
		"database: sqlite:" + filepath.Join(dir, "data", "gatehouse.db"), "pepper: file://" + filepath.Join(dir, "pepper"), "kek: file://" + filepath.Join(dir, "kek"),
	}, more...)
}

func newSingle(tb testing.TB, more ...string) *single {
	tb.Helper()
	s := &single{dir: tb.TempDir()}
	s.config = configFile(tb, singleLines(s.dir, more...)...)
	s.founded = found(tb, s.config)
	return s
}

// TestStartRefusals: a node that could only run open does not run.
func TestStartRefusals(t *testing.T) {
	const weak = "1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
	for _, c := range []struct {
		name string
		do   func(t *testing.T, s *single) // to a founded installation
		want string                        // what stderr says
	}{
		{"the pepper is gone", func(t *testing.T, s *single) { remove(t, s.dir, "pepper") }, "pepper"},
		{"the KEK is gone", func(t *testing.T, s *single) { remove(t, s.dir, "kek") }, "kek"},
		{"the pepper is empty", func(t *testing.T, s *single) { write(t, s.dir, "pepper", "") }, "pepper"},
		{"the pepper is a placeholder", func(t *testing.T, s *single) { write(t, s.dir, "pepper", weak) }, "not random"},
		{"the KEK is a placeholder", func(t *testing.T, s *single) { write(t, s.dir, "kek", weak) }, "not random"},
		{"an unknown key in the configuration", func(t *testing.T, s *single) { s.config = configFile(t, singleLines(s.dir, "max_stalenes: 2s")...) }, "max_stalenes"},
		{"no pepper in the configuration", func(t *testing.T, s *single) {
			s.config = configFile(t, strings.Split(strings.Replace(strings.Join(singleLines(s.dir), "\n"), "pepper:", "# pepper:", 1), "\n")...)
		}, "pepper is required"},
		{"no database in the configuration", func(t *testing.T, s *single) {
			s.config = configFile(t, strings.Split(strings.Replace(strings.Join(singleLines(s.dir), "\n"), "database:", "# database:", 1), "\n")...)
		}, "database is required"},
		{"an empty database", func(t *testing.T, s *single) {
			s.config = configFile(t, append(singleLines(s.dir)[:4], "database: sqlite:"+filepath.Join(t.TempDir(), "empty.db"), "pepper: file://"+filepath.Join(s.dir, "pepper"), "kek: file://"+filepath.Join(s.dir, "kek"))...)
		}, "gatehouse init"},
		{"no configuration", func(t *testing.T, s *single) { s.config = filepath.Join(s.dir, "none.yaml") }, "none.yaml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSingle(t)
			c.do(t, s)
			n := start(t, nil, "serve", "--config", s.config)
			if code := n.wait(t, patience); code == 0 {
				t.Error("it started and ended with 0")
			}
			text := string(n.log.bytes())
			if !strings.Contains(text, c.want) {
				t.Errorf("stderr does not say %q:\n%s", c.want, text)
			}
			if strings.Contains(text, `"serving"`) || len(n.out.bytes()) != 0 {
				t.Errorf("it served, or wrote to stdout %q", n.out.bytes())
			}
		})
	}
}

func remove(tb testing.TB, dir, name string) {
	tb.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		tb.Fatal(err)
	}
}

func write(tb testing.TB, dir, name, text string) {
	tb.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// TestFilesArePrivate: what init and dev create no other user of the host may read.
func TestFilesArePrivate(t *testing.T) {
	s := newSingle(t)
	data := t.TempDir()
	dev(t, data).kill()
	serve(t, s.config).kill()
	for _, dir := range []string{s.dir, data} {
		files := 0
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err == nil && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			files++
			return err
		})
		if err != nil || files < 4 {
			t.Errorf("%s: %d files, %v", dir, files, err)
		}
	}
}

// TestOneProcessPerDataFolder: a second process on the same data is refused, and the first does not notice.
func TestOneProcessPerDataFolder(t *testing.T) {
	data := t.TempDir()
	first, c := dev(t, data), client(t)
	second := startDev(t, data)
	if code := second.wait(t, patience); code != 1 {
		t.Errorf("the second process ended with %d", code)
	}
	if text := second.log.bytes(); !bytes.Contains(text, []byte("another gatehouse process")) || !bytes.Contains(text, fmt.Appendf(nil, "pid %d", first.cmd.Process.Pid)) {
		t.Errorf("it does not say who has the data:\n%s", text)
	}
	if len(second.out.bytes()) != 0 {
		t.Errorf("it printed %q", second.out.bytes())
	}
	must(t, c, http.MethodPost, first.URL+"/v1/chat/completions", first.APIKey, chat(false), nil)
}

// TestDrain: after SIGTERM an open stream finishes, nobody new is served, and the process ends with 0. A stream that takes longer
// than the node waits is cut and counted.
func TestDrain(t *testing.T) {
	s := newSingle(t, "drain: 4s")
	n, c := serve(t, s.config), client(t)
	value := s.ready(t, c, n)
	type result struct {
		text []byte
		err  error
		id   string
	}
	stream := func(tokens, delay string) <-chan result {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, n.URL+"/v1/chat/completions",
			strings.NewReader(`{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Go on"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range map[string]string{"Authorization": "Bearer " + value, "Content-Type": "application/json", "X-Mock-Tokens": tokens, "X-Mock-Chunk-Delay-Ms": delay} {
			req.Header.Set(name, v)
		}
		resp, err := c.Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("open a stream: %v", err)
		}
		done := make(chan result, 1)
		go func() { // ends with the stream
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			done <- result{text, err, resp.Header.Get("X-Request-Id")}
		}()
		return done
	}
	short, long := stream("30", "50"), stream("5000", "50")
	// A connection that is open and idle must not hold the process up.
	idle := dialRaw(t, n.URL)
	if status, err := idle.roundTrip(value); err != nil || status != http.StatusOK {
		t.Fatalf("status %d, %v", status, err)
	}
	n.signal(t, syscall.SIGTERM)
	at := time.Now()
	eventually(t, "nobody new is served", func() bool {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(n.URL, "http://"), time.Second)
		if err == nil {
			_ = conn.Close() // it was only to see
		}
		return err != nil
	})
	refusedAfter := time.Since(at)
	got := <-short
	if got.err != nil || !bytes.Contains(got.text, []byte("data: [DONE]")) {
		t.Errorf("a stream that had begun before SIGTERM did not finish: %v", got.err)
	}
	cut := <-long
	cutAfter := time.Since(at)
	if cut.err == nil || bytes.Contains(cut.text, []byte("[DONE]")) || cutAfter < 3*time.Second || cutAfter > 6*time.Second {
		t.Errorf("a stream longer than the drain ended after %v with %v", cutAfter, cut.err)
	}
	if code := n.wait(t, patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	t.Logf("new connections refused after %v, long stream cut after %v, process gone after %v", refusedAfter.Round(time.Millisecond), cutAfter.Round(time.Millisecond), time.Since(at).Round(time.Millisecond))
	rows := readUsage(t, filepath.Join(s.dir, "data"))
	if rows[got.id].Confidence != gatehouse.Reported || rows[cut.id].Confidence != gatehouse.Estimated {
		t.Errorf("usage of the finished stream: %q, of the cut one: %q", rows[got.id].Confidence, rows[cut.id].Confidence)
	}
}

// ready declares the mock and returns a project key.
func (s *single) ready(tb testing.TB, c *http.Client, n *node) string {
	tb.Helper()
	must(tb, c, http.MethodPost, n.URL+"/gatehouse/v1/apply", s.AdminKey, []byte(`
upstreams: [{name: mock, dialect: mock}]
deployments: [{name: gpt-4o-mini, routes: [{upstream: mock}]}]
`), nil)
	var created struct{ Value string }
	must(tb, c, http.MethodPost, n.URL+"/gatehouse/v1/keys", s.AdminKey, map[string]any{"class": "project", "project_id": s.ProjectID, "user_id": s.UserID, "name": "k"}, &created)
	return created.Value
}

// TestFullDisk: while the journal cannot be written nothing new is served; when there is room again the node serves without a
// restart, and what was served is counted.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	n, c := dev(t, data), client(t)
	t.Cleanup(n.kill) // before the file system goes
	post := func() reply {
		return ask(t.Context(), c, http.MethodPost, n.URL+"/v1/chat/completions", n.APIKey, chat(false))
	}
	served := map[string]bool{}
	note := func(r reply) bool {
		if r.Status == http.StatusOK && r.Err == nil {
			served[r.Header.Get("X-Request-Id")] = true
		}
		return r.Status == http.StatusOK
	}
	if r := post(); !note(r) {
		t.Fatalf("before: %d %s", r.Status, r.Body)
	}
	ballast := filepath.Join(data, "ballast")
	fill(t, ballast)
	var full reply
	eventually(t, "a full disk refuses", func() bool { full = post(); return !note(full) })
	if full.Status != http.StatusServiceUnavailable || !bytes.Contains(full.Body, []byte("accounting_unavailable")) || full.Header.Get("Retry-After") == "" {
		t.Errorf("on a full disk: %d %v %s", full.Status, full.Err, full.Body)
	}
	refused := 0
	for range 20 {
		if r := post(); r.Status == http.StatusServiceUnavailable {
			refused++
		} else if !note(r) {
			t.Errorf("on a full disk: %d %v %s", r.Status, r.Err, r.Body)
		}
	}
	if refused < 15 {
		t.Errorf("%d of 20 requests were refused on a full disk", refused)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it serves again", func() bool { return note(post()) })
	for range 10 {
		if r := post(); !note(r) {
			t.Errorf("with room again: %d %s", r.Status, r.Body)
		}
	}
	n.signal(t, syscall.SIGTERM)
	if code := n.wait(t, patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	rows := readUsage(t, data)
	for id := range served {
		if rows[id].Confidence != gatehouse.Reported {
			t.Errorf("%s was answered and usage says %q", id, rows[id].Confidence)
		}
	}
	t.Logf("%d answered, %d refused on the full disk, %d usage rows", len(served), refused+1, len(rows))
	checkSums(t, data)
}

// fill takes all that is left of a file system.
func fill(tb testing.TB, path string) {
	tb.Helper()
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

// TestFloodOfWrongKeys: whoever presents wrong keys is slowed down; the right key works all the while, from the same address and
// under the same id.
func TestFloodOfWrongKeys(t *testing.T) {
	n, c := dev(t, t.TempDir()), client(t)
	right := n.APIKey
	parsed, ok := secret.ParseKey(right)
	if !ok {
		t.Fatal("the key of dev does not parse")
	}
	// A wrong secret under the right id, as somebody who has seen the id would try.
	wrong := withSecret(t, right, strings.Repeat("x", 43))
	if p, ok := secret.ParseKey(wrong); !ok || p.PublicID != parsed.PublicID {
		t.Fatal("the wrong key does not parse as one of the same id")
	}
	bad := []string{wrong, withSecret(t, right, strings.Repeat("y", 43)), right[:len(right)-1] + "!", "sk-nonsense"}
	ctx, stop := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	var refused, limited, other atomic.Int64
	for i := range 4 {
		flood.Go(func() {
			for ctx.Err() == nil {
				r := ask(ctx, c, http.MethodGet, n.URL+"/v1/models", bad[i], nil)
				switch {
				case r.Err != nil:
				case r.Status == http.StatusUnauthorized:
					refused.Add(1)
				case r.Status == http.StatusTooManyRequests:
					limited.Add(1)
				default:
					other.Add(1)
				}
			}
		})
	}
	eventually(t, "a flood is limited", func() bool { return limited.Load() > 1000 })
	const asked = 300
	failed := 0
	for range asked {
		if r := ask(t.Context(), c, http.MethodPost, n.URL+"/v1/chat/completions", right, chat(false)); r.Status != http.StatusOK {
			failed++
			t.Errorf("the right key was answered %d, %v: %s", r.Status, r.Err, r.Body)
		}
	}
	// And an admin key, whose class is another door.
	if r := ask(t.Context(), c, http.MethodGet, n.URL+"/gatehouse/v1/whoami", n.AdminKey, nil); r.Status != http.StatusOK {
		t.Errorf("the admin key was answered %d: %s", r.Status, r.Body)
	}
	stop()
	flood.Wait()
	t.Logf("wrong keys: %d refused with 401, %d with 429, %d otherwise; the right key: %d of %d", refused.Load(), limited.Load(), other.Load(), asked-failed, asked)
	if other.Load() != 0 || refused.Load() == 0 {
		t.Errorf("%d answers were neither 401 nor 429, %d were 401", other.Load(), refused.Load())
	}
}

// withSecret returns a key with another secret and the checksum that belongs to it.
func withSecret(tb testing.TB, key, text string) string {
	tb.Helper()
	const sum = 6
	head := key[:len(key)-sum-len(text)] + text
	return head + checksum(head)
}

// checksum is the IEEE CRC-32 of a key's text as the six base62 digits that end it, as docs/keys.md has it.
func checksum(head string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	n := crc32.ChecksumIEEE([]byte(head))
	var out [6]byte
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = digits[n%62]
		n /= 62
	}
	return string(out[:])
}
