package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain registers the real main as the command gatehouse, for scripts and for tests that start it.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gatehouse": main})
}

// TestStories runs testdata/*.txt. Beside testscript's own commands there are:
//
//	start ARGS...        starts `gatehouse ARGS...` (dev --json or serve) and waits until it serves; sets GATEHOUSE_URL, and after
//	                     dev also GATEHOUSE_ADMIN_KEY, API_KEY, CA_FILE and PORT (host and port)
//	stop                 sends SIGTERM to what was started and waits until it ends with exit code 0
//	exits CODE ARGS...   runs `gatehouse ARGS...`, which must end with that exit code
//	get VAR PATH         sets VAR to a field of the JSON on stdout, e.g. data.0.id
//	ask KEY MODEL [CODE] asks MODEL through the gateway; sets REQUEST_ID
//	expand FILE          replaces $WORK in a file
//	onedoc               stdout is exactly one JSON document on one line
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:      "testdata",
		Deadline: time.Now().Add(12 * time.Minute), // a command that should have failed must not serve for ever
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start": start, "stop": stop, "exits": exits, "eventually": eventually, "get": get, "ask": ask, "expand": expand, "onedoc": oneDocument,
		},
	})
}

// node is a gatehouse process that a script started.
type node struct {
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	copied chan struct{} // closed when its output has ended
}

func start(ts *testscript.TestScript, _ bool, args []string) {
	n, line := startProcess(ts, args)
	setNode(ts, n)
	switch args[0] {
	case "dev":
		var ready struct {
			URL      string `json:"url"`
			APIKey   string `json:"api_key"`
			AdminKey string `json:"admin_key"`
			CAFile   string `json:"ca_file"`
		}
		ts.Check(json.Unmarshal([]byte(line), &ready))
		ts.Setenv("GATEHOUSE_URL", ready.URL)
		ts.Setenv("GATEHOUSE_ADMIN_KEY", ready.AdminKey)
		ts.Setenv("API_KEY", ready.APIKey)
		ts.Setenv("CA_FILE", ready.CAFile)
		ts.Setenv("PORT", strings.TrimPrefix(strings.TrimPrefix(ready.URL, "https://"), "http://"))
	case "serve":
		var serving struct {
			URL string `json:"url"`
			Ops string `json:"ops"`
		}
		ts.Check(json.Unmarshal([]byte(line), &serving))
		ts.Setenv("GATEHOUSE_URL", serving.URL)
		ts.Setenv("OPS_URL", serving.Ops)
	}
}

// nodes holds the process of each running script, by its working folder.
var nodes = make(chan map[string]*node, 1)

func init() { nodes <- map[string]*node{} }

func setNode(ts *testscript.TestScript, n *node) {
	all := <-nodes
	all[ts.Getenv("WORK")] = n
	nodes <- all
}

func getNode(ts *testscript.TestScript) *node {
	all := <-nodes
	defer func() { nodes <- all }()
	return all[ts.Getenv("WORK")]
}

// startProcess starts gatehouse and returns the line that says it serves.
func startProcess(ts *testscript.TestScript, args []string) (*node, string) {
	path, err := exec.LookPath("gatehouse")
	ts.Check(err)
	cmd := exec.Command(path, args...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"))
	n := &node{cmd: cmd, stderr: new(bytes.Buffer), copied: make(chan struct{})}
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	stderr, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Kill() // it has ended already when the script stopped it
		<-n.copied
		_ = cmd.Wait()
	})
	ready := make(chan string, 1)
	go func() { // reads both outputs until the process ends
		defer close(n.copied)
		if args[0] == "dev" {
			go func() { _, _ = io.Copy(io.Discard, stderr) }() // ends with the process
			scan(stdout, ready, func(string) bool { return true }, nil)
			return
		}
		scan(stderr, ready, func(line string) bool { return strings.Contains(line, `"msg":"serving"`) }, n.stderr)
	}()
	select {
	case line := <-ready:
		return n, line
	case <-n.copied:
		ts.Fatalf("gatehouse %s ended before it served: %s", args[0], n.stderr)
	case <-time.After(time.Minute):
		ts.Fatalf("gatehouse %s did not serve within a minute", args[0])
	}
	return nil, ""
}

// scan sends the first line that matches and reads on to the end.
func scan(r io.Reader, first chan<- string, matches func(string) bool, kept *bytes.Buffer) {
	found := false
	for s := bufio.NewScanner(r); s.Scan(); {
		if kept != nil {
			kept.WriteString(s.Text() + "\n")
		}
		if !found && matches(s.Text()) {
			found = true
			first <- s.Text()
		}
	}
}

func stop(ts *testscript.TestScript, _ bool, _ []string) {
	n := getNode(ts)
	ts.Check(n.cmd.Process.Signal(syscall.SIGTERM))
	<-n.copied
	if err := n.cmd.Wait(); err != nil {
		ts.Fatalf("after SIGTERM: %v\n%s", err, n.stderr)
	}
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec("gatehouse", args[1:]...); err != nil {
		failed, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("gatehouse: %v", err)
		}
		got = failed.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code = %d, want %d", got, want)
	}
}

func get(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for _, name := range strings.Split(args[1], ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[name]
		case []any:
			i, err := strconv.Atoi(name)
			ts.Check(err)
			if i >= len(at) {
				ts.Fatalf("%s: only %d elements", args[1], len(at))
			}
			v = at[i]
		default:
			v = nil
		}
	}
	text, ok := v.(string)
	if !ok {
		ts.Fatalf("%s is %v, not a string", args[1], v)
	}
	ts.Setenv(args[0], text)
}

// eventually runs gatehouse until what it prints matches: what a node knows takes a moment until it is told.
//
//	eventually PATTERN ARGUMENTS...
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually PATTERN ARGUMENTS...")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for began := time.Now(); ; {
		err := ts.Exec("gatehouse", args[1:]...)
		if err == nil && pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Since(began) > time.Minute {
			ts.Fatalf("gatehouse %s never printed %s: %v\n%s", strings.Join(args[1:], " "), args[0], err, ts.ReadFile("stdout"))
		}
	}
}

func ask(ts *testscript.TestScript, _ bool, args []string) {
	want := http.StatusOK
	if len(args) > 2 {
		var err error
		want, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	body := `{"model":"` + args[1] + `","messages":[{"role":"user","content":"Hello"}]}`
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, ts.Getenv("GATEHOUSE_URL")+"/v1/chat/completions", strings.NewReader(body))
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+args[0])
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if resp.StatusCode != want {
		ts.Fatalf("status = %d, want %d: %s", resp.StatusCode, want, answer)
	}
	ts.Setenv("REQUEST_ID", resp.Header.Get("X-Request-Id"))
}

func expand(ts *testscript.TestScript, _ bool, args []string) {
	text := strings.ReplaceAll(ts.ReadFile(args[0]), "$WORK", ts.Getenv("WORK"))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

func oneDocument(ts *testscript.TestScript, _ bool, _ []string) {
	out := ts.ReadFile("stdout")
	if strings.Count(out, "\n") != 1 || !strings.HasSuffix(out, "\n") || !json.Valid([]byte(out)) {
		ts.Fatalf("stdout is not one JSON document on one line: %q", out)
	}
}

// process returns the command line as a process: testscript.Main runs main when this program is called by that name.
func process(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Args[0] = "gatehouse"
	return cmd
}

// TestPage pastes the page's curl line into bash, over HTTP and over TLS from a folder whose name needs quoting.
func TestPage(t *testing.T) {
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	for name, args := range map[string][]string{"http": nil, "tls": {"--tls"}} {
		t.Run(name, func(t *testing.T) {
			cmd := process(append([]string{"dev", "--listen", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "it's data")}, args...)...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Process.Kill() }() // it has ended unless the test failed
			var page, curl []string
			for s := bufio.NewScanner(stdout); s.Scan(); {
				line := s.Text()
				page = append(page, line)
				if strings.HasPrefix(line, "curl ") || len(curl) > 0 && strings.HasSuffix(curl[len(curl)-1], "\\") {
					curl = append(curl, line)
				}
				if strings.Contains(line, "Ctrl-C stops") {
					break
				}
			}
			whole := strings.Join(page, "\n")
			for _, want := range []string{"sk-proj-", "sk-admin-", "Azure endpoint", "Health, metrics", "it's data", "GATEHOUSE_URL="} {
				if !strings.Contains(whole, want) {
					t.Errorf("the page lacks %q:\n%s", want, whole)
				}
			}
			answer, err := exec.Command("bash", "-c", strings.Join(curl, "\n")).Output()
			if err != nil || strings.Count(string(answer), "data: {") < 3 || !strings.Contains(string(answer), "data: [DONE]") {
				t.Errorf("the curl line printed %v, %q", err, answer)
			}
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
				t.Errorf("it ended with %v and logged %q", err, stderr.String())
			}
		})
	}
}

// TestSecondSignalEnds proves that a drain that takes long can be cut short: the first signal begins it, the next one ends the process.
func TestSecondSignalEnds(t *testing.T) {
	cmd := process("dev", "--listen", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data"), "--json")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }() // it has ended unless the test failed
	var ready struct {
		URL string `json:"url"`
		Ops string `json:"ops_url"`
	}
	if err := json.NewDecoder(stdout).Decode(&ready); err != nil {
		t.Fatal(err)
	}
	// A request whose body never ends keeps the drain waiting.
	conn, err := net.Dial("tcp", strings.TrimPrefix(ready.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the process
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended since
		select {
		case <-ended:
			if took := time.Since(begun); took > 4*time.Second {
				t.Errorf("the process ended after %v: only when its drain was over", took)
			}
			return
		case <-tick.C:
		}
	}
}
