package system_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse/gatehousetest"
	"gatehouse/internal/server"
)

// patience is how long a test waits for what should take a moment. The machine may be busy.
const patience = 30 * time.Second

// node is one running process of the program. It ends with the test.
type node struct {
	server.Ready // what dev printed; of serve the URLs only
	// ClientCertURL is the listener that asks for client certificates, where there is one.
	ClientCertURL string
	cmd           *exec.Cmd
	out, log      *capture
	exited        chan struct{} // closed once the process has ended and its output is complete
	state         *os.ProcessState
}

// capture is what a process wrote. Lines can be waited for.
type capture struct {
	mu      sync.Mutex
	text    []byte        // guarded by mu
	changed chan struct{} // guarded by mu; closed and replaced with every write
}

func newCapture() *capture { return &capture{changed: make(chan struct{})} }

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = append(c.text, p...)
	close(c.changed)
	c.changed = make(chan struct{})
	return len(p), nil
}

func (c *capture) bytes() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.text)
}

// line waits for the first whole line that accept takes, which it may not find before stop closes.
func (c *capture) line(stop <-chan struct{}, accept func(line []byte) bool) bool {
	seen := 0
	for {
		c.mu.Lock()
		text, changed := c.text, c.changed
		c.mu.Unlock()
		for {
			i := bytes.IndexByte(text[seen:], '\n')
			if i < 0 {
				break
			}
			line := text[seen : seen+i]
			seen += i + 1
			if accept(line) {
				return true
			}
		}
		select {
		case <-changed:
		case <-stop:
			return false
		}
	}
}

// start runs the program. It does not wait for it to serve.
func start(tb testing.TB, env []string, args ...string) *node {
	tb.Helper()
	n := &node{cmd: exec.Command(binary, args...), out: newCapture(), log: newCapture(), exited: make(chan struct{})}
	n.cmd.Stdout, n.cmd.Stderr = n.out, n.log
	// Nothing of the environment of the tests reaches the program but what finds its files.
	n.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + tb.TempDir(), "TMPDIR=" + os.TempDir(), "GOMEMLIMIT=1GiB"}, env...)
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() { // ends with the process
		_ = n.cmd.Wait() // its state says more
		n.state = n.cmd.ProcessState
		close(n.exited)
	}()
	tb.Cleanup(func() {
		n.kill()
		if tb.Failed() {
			tb.Logf("%s: last lines of its log:\n%s", strings.Join(args, " "), tail(n.log.bytes(), 30))
		}
	})
	return n
}

func tail(text []byte, lines int) []byte {
	at := len(text)
	for range lines + 1 {
		i := bytes.LastIndexByte(text[:at], '\n')
		if i < 0 {
			return text
		}
		at = i
	}
	return text[at+1:]
}

// kill ends the process as a power switch would and waits for it.
func (n *node) kill() {
	_ = n.cmd.Process.Kill() // it may have ended
	_ = n.cmd.Process.Signal(syscall.SIGCONT)
	<-n.exited
}

func (n *node) signal(tb testing.TB, sig os.Signal) {
	tb.Helper()
	if err := n.cmd.Process.Signal(sig); err != nil {
		tb.Fatalf("signal %v: %v", sig, err)
	}
}

// wait returns the exit code of a process that is to end by itself within d.
func (n *node) wait(tb testing.TB, d time.Duration) int {
	tb.Helper()
	select {
	case <-n.exited:
		return n.state.ExitCode()
	case <-time.After(d):
		tb.Fatalf("the process has not ended after %v", d)
		return 0
	}
}

// ready waits until dev serves; false: the process ended first.
func (n *node) ready(tb testing.TB) bool {
	tb.Helper()
	stop := n.stopWaiting(tb)
	return n.out.line(stop, func(line []byte) bool { return json.Unmarshal(line, &n.Ready) == nil && n.URL != "" })
}

// stopWaiting closes its channel when the process has ended, or when patience is over.
func (n *node) stopWaiting(tb testing.TB) <-chan struct{} {
	stop := make(chan struct{})
	go func() { // ends with the process, or after patience
		defer close(stop)
		select {
		case <-n.exited:
		case <-time.After(patience):
		case <-tb.Context().Done():
		}
	}()
	return stop
}

// dev starts the development server on a data folder.
func dev(tb testing.TB, data string) *node {
	tb.Helper()
	n := startDev(tb, data)
	if !n.ready(tb) {
		tb.Fatalf("dev did not start:\n%s", n.log.bytes())
	}
	return n
}

func startDev(tb testing.TB, data string) *node {
	return start(tb, nil, "dev", "--listen", "127.0.0.1:0", "--data", data, "--json")
}

// serve starts a production node and waits until it serves.
func serve(tb testing.TB, config string, env ...string) *node {
	tb.Helper()
	n := start(tb, env, "serve", "--config", config)
	served := n.log.line(n.stopWaiting(tb), func(line []byte) bool {
		var entry struct {
			Msg, URL, Ops string
			ClientCertURL string `json:"client_cert_url"`
		}
		if json.Unmarshal(line, &entry) != nil || entry.Msg != "serving" {
			return false
		}
		n.URL, n.OpsURL, n.ClientCertURL = entry.URL, entry.Ops, entry.ClientCertURL
		return true
	})
	if !served {
		tb.Fatalf("serve did not start:\n%s", n.log.bytes())
	}
	return n
}

// founded is what init prints.
type founded struct {
	OrganizationID string `json:"organization_id"`
	ProjectID      string `json:"project_id"`
	UserID         string `json:"user_id"`
	AdminKey       string `json:"admin_key"`
}

// found runs init.
func found(tb testing.TB, config string, env ...string) founded {
	tb.Helper()
	n := start(tb, env, "init", "--config", config, "--owner", "Test Owner", "--json")
	if code := n.wait(tb, patience); code != 0 {
		tb.Fatalf("init exited with %d:\n%s", code, n.log.bytes())
	}
	var f founded
	if err := json.Unmarshal(n.out.bytes(), &f); err != nil || f.AdminKey == "" {
		tb.Fatalf("init printed %q: %v", n.out.bytes(), err)
	}
	return f
}

// configFile writes a configuration and returns its path.
func configFile(tb testing.TB, lines ...string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "gatehouse.yaml")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// reply is an answer, read to its end as far as it came.
type reply struct {
	Status int
	Header http.Header
	Body   []byte
	Err    error // the request failed or its answer broke off
}

// ask makes one request. An empty key sends none; a nil body none either; anything but bytes is sent as JSON.
func ask(ctx context.Context, c *http.Client, method, url, key string, body any, header ...string) reply {
	var r io.Reader
	raw, isRaw := body.([]byte)
	switch {
	case isRaw:
		r = bytes.NewReader(raw)
	case body != nil:
		text, err := json.Marshal(body)
		if err != nil {
			return reply{Err: err}
		}
		r = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, r)
	if err != nil {
		return reply{Err: err}
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return reply{Err: err}
	}
	defer resp.Body.Close()
	out := reply{Status: resp.StatusCode, Header: resp.Header}
	out.Body, out.Err = io.ReadAll(resp.Body)
	return out
}

// must is ask for a request that has to be answered with one of two statuses, 200 or 202, whose body it decodes into out.
func must(tb testing.TB, c *http.Client, method, url, key string, body, out any) int {
	tb.Helper()
	r := ask(tb.Context(), c, method, url, key, body)
	if r.Err != nil || r.Status != http.StatusOK && r.Status != http.StatusAccepted {
		tb.Fatalf("%s %s: status %d, %v: %s", method, url, r.Status, r.Err, r.Body)
	}
	if out != nil {
		if err := json.Unmarshal(r.Body, out); err != nil {
			tb.Fatalf("%s %s: %v: %s", method, url, err, r.Body)
		}
	}
	return r.Status
}

// eventually waits until ok returns true, and fails the test after patience.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		if ok() {
			return
		}
		if time.Now().After(end) {
			tb.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// chat is the body of a small request to the mock.
func chat(stream bool) map[string]any {
	return map[string]any{"model": "gpt-4o-mini", "stream": stream, "messages": []map[string]string{{"role": "user", "content": "Say something short."}}}
}

// client returns a client of many connections to this host and nowhere else.
func client(tb testing.TB) *http.Client {
	tb.Helper()
	t := gatehousetest.Transport(tb)
	t.MaxIdleConnsPerHost = 64
	return &http.Client{Transport: t, Timeout: 2 * time.Minute}
}
