package system_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse/gatehousetest"
)

// maxGrowth is how much memory one attack may cost, beyond what the node held before.
const maxGrowth = 64 << 20

// arena is a node with an upstream behind it that echoes, and what attacks it.
type arena struct {
	t        *testing.T
	node     *node
	upstream *gatehousetest.Upstream
	client   *http.Client
	address  string
	session  *tls.Config // nil: without TLS
	own      bool        // the node's own server reads HTTP/1.1
	key      string
	seen     int // requests of the upstream that are accounted for
}

// upstreamCredential is what the echo upstream is called with: it must be the only credential that arrives there.
const upstreamCredential = "credential-of-the-echo-upstream"

// enter starts a node. Its bodies may have 1 MiB, so that an attack need not send more.
func enter(t *testing.T, server string, secure bool) *arena {
	t.Helper()
	a := &arena{t: t, own: server == "own"}
	dir := t.TempDir()
	lines := []string{"private_upstreams: [127.0.0.1]", "limits: {body: 1MiB, memory: 32MiB}", "http: {server: " + server + "}", "drain: 1s"}
	if secure {
		authority := newAuthority(t)
		cert, key := authority.files(time.Hour)
		write(t, dir, "tls.pem", string(cert))
		write(t, dir, "tls.key", string(key))
		lines = append(lines, "tls: {cert: "+filepath.Join(dir, "tls.pem")+", key: "+filepath.Join(dir, "tls.key")+"}")
		a.session = &tls.Config{RootCAs: authority.pool(), ServerName: "127.0.0.1"}
	}
	config := configFile(t, singleLines(dir, lines...)...)
	f := found(t, config)
	a.node, a.client = serve(t, config, "UPSTREAM_API_KEY="+upstreamCredential), client(t)
	a.address = strings.TrimPrefix(strings.TrimPrefix(a.node.URL, "https://"), "http://")
	transport := a.client.Transport.(*http.Transport)
	transport.TLSClientConfig, transport.ForceAttemptHTTP2 = a.session, secure

	a.upstream = gatehousetest.NewUpstream(t, gatehousetest.Script(func(x *gatehousetest.Exchange) error {
		if bytes.Contains(x.Request.Body, []byte(`"bomb"`)) {
			return bomb(x)
		}
		const answer = `{"id":"c","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`
		return x.Write(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer))
	}))
	must(t, a.client, http.MethodPost, a.node.URL+"/gatehouse/v1/apply", f.AdminKey, fmt.Appendf(nil, `
upstreams: [{name: echo, dialect: openai, base_url: %s/v1, allow_private: true, credential: {key: "env://UPSTREAM_API_KEY"}}]
deployments: [{name: echo, routes: [{upstream: echo}]}, {name: bomb, routes: [{upstream: echo}]}, {name: smuggled, routes: [{upstream: echo}]}]
`, a.upstream.URL), nil)
	var created struct{ Value string }
	must(t, a.client, http.MethodPost, a.node.URL+"/gatehouse/v1/keys", f.AdminKey, map[string]any{"class": "project", "project_id": f.ProjectID, "user_id": f.UserID, "name": "k"}, &created)
	a.key = created.Value
	return a
}

// bomb answers with 256 MiB of zeros in 256 KiB of gzip.
func bomb(x *gatehousetest.Exchange) error {
	var small bytes.Buffer
	z := gzip.NewWriter(&small)
	zeros := make([]byte, 1<<20)
	for range 256 {
		if _, err := z.Write(zeros); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return x.Write(append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", small.Len()), small.Bytes()...))
}

// dial connects as HTTP/1.1, or over TLS as the protocols say.
func (a *arena) dial(protocols ...string) net.Conn {
	a.t.Helper()
	nc, err := net.Dial("tcp", a.address)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		a.t.Fatal(err)
	}
	if a.session == nil {
		return nc
	}
	cfg := a.session.Clone()
	cfg.NextProtos = append([]string{}, protocols...)
	session := tls.Client(nc, cfg)
	if err := session.Handshake(); err != nil {
		a.t.Fatal(err)
	}
	return session
}

// outcome is what became of an attack.
type outcome struct {
	statuses []int // of the answers, in order; 0: the connection ended without one
	closed   bool  // the node ended the connection
}

func (o outcome) String() string {
	parts := make([]string, 0, 3)
	for _, s := range o.statuses {
		parts = append(parts, strconv.Itoa(s))
	}
	if o.closed {
		parts = append(parts, "closed")
	}
	return strings.Join(parts, " ")
}

// quiet is how long a connection is watched for another answer.
const quiet = 150 * time.Millisecond

// send sends bytes on a connection of their own and reads what comes.
func (a *arena) send(raw string) (o outcome) {
	a.t.Helper()
	nc := a.dial("http/1.1")
	defer nc.Close()
	// The node may refuse before it has read everything: the answer is read meanwhile, and a failed write is no failure.
	go func() { _, _ = io.WriteString(nc, raw) }() // ends with the connection
	return a.answers(nc)
}

// answers reads the answers on a connection until it ends or nothing more comes.
func (a *arena) answers(nc net.Conn) (o outcome) {
	a.t.Helper()
	r := bufio.NewReader(nc)
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			o.closed = !errors.Is(err, os.ErrDeadlineExceeded)
			return o
		}
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 8<<20))
		if resp.StatusCode >= 200 {
			o.statuses = append(o.statuses, resp.StatusCode)
		}
		if err != nil {
			o.closed = !errors.Is(err, os.ErrDeadlineExceeded)
			return o
		}
		if err := nc.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			a.t.Fatal(err)
		}
	}
}

// arrived returns what has come to the upstream since it was asked last. What was answered has arrived.
func (a *arena) arrived() []gatehousetest.Recorded {
	all := a.upstream.Requests()
	fresh := all[a.seen:]
	a.seen = len(all)
	return fresh
}

// clean checks that a request at the upstream is one of ours and nobody else's: one line, one Host, one framing, one credential, and
// no field that the caller should not have.
func (a *arena) clean(r *gatehousetest.Recorded) error {
	if !r.Complete || r.Method != http.MethodPost || r.Target != "/v1/chat/completions" {
		return fmt.Errorf("the upstream saw %s %q, whole: %t", r.Method, r.Target, r.Complete)
	}
	if bytes.Contains(bytes.ReplaceAll(r.Head, []byte("\r\n"), nil), []byte("\n")) || bytes.Contains(bytes.ReplaceAll(r.Head, []byte("\r\n"), nil), []byte("\r")) {
		return fmt.Errorf("the upstream saw a bare line end in %q", r.Head)
	}
	count := map[string]int{}
	for _, f := range r.Fields {
		name := strings.ToLower(f[0])
		count[name]++
		if !allowedFields.MatchString(name) {
			return fmt.Errorf("the upstream saw the field %q: %q", f[0], f[1])
		}
	}
	if count["host"] != 1 || count["content-length"]+count["transfer-encoding"] != 1 || count["authorization"] != 1 {
		return fmt.Errorf("the upstream saw the fields %q", r.Fields)
	}
	if r.Header.Get("Authorization") != "Bearer "+upstreamCredential || r.Header.Get("Host") != a.upstream.Host {
		return fmt.Errorf("the upstream saw Authorization or Host of somebody else: %q", r.Fields)
	}
	if bytes.Contains(r.Head, []byte(a.key)) || bytes.Contains(r.Body, []byte(a.key)) {
		return errors.New("the upstream saw the caller's key")
	}
	return nil
}

// allowedFields are the names of fields that may go upstream in these tests.
var allowedFields = regexp.MustCompile(`^(host|content-length|transfer-encoding|authorization|content-type|accept|accept-encoding|user-agent|x-client-request-id|idempotency-key|openai-beta)$`)

// resident returns the node's resident memory, and its peak since the last mark.
func (a *arena) resident() (now, peak int64) {
	a.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.node.cmd.Process.Pid))
	if err != nil {
		a.t.Fatal(err)
	}
	read := func(name string) int64 {
		found := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(text)
		if found == nil {
			a.t.Fatalf("no %s in the status of the process", name)
		}
		n, err := strconv.ParseInt(string(found[1]), 10, 64)
		if err != nil {
			a.t.Fatal(err)
		}
		return n << 10
	}
	return read("VmRSS"), read("VmHWM")
}

// mark begins a measurement of memory and returns what is held.
func (a *arena) mark() int64 {
	a.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", a.node.cmd.Process.Pid), []byte("5"), 0); err != nil {
		a.t.Fatal(err)
	}
	now, _ := a.resident()
	return now
}

// alive checks that the node goes on serving.
func (a *arena) alive() {
	a.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	r := ask(ctx, a.client, http.MethodPost, a.node.URL+"/v1/chat/completions", a.key, []byte(good))
	if r.Err != nil || r.Status != http.StatusOK {
		a.t.Fatalf("the node does not serve any more: %d, %v: %s\n%s", r.Status, r.Err, r.Body, tail(a.node.log.bytes(), 10))
	}
	a.arrived()
}

// TestAbuse runs every attack against a whole node: over its own server and net/http's, with and without TLS, and over HTTP/2. For
// each the upstream must have seen nothing, or exactly the requests that the node judged, and memory must not have grown by more than
// maxGrowth. It prints what became of each.
func TestAbuse(t *testing.T) {
	for _, server := range []string{"own", "standard"} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tls=%t", server, secure), func(t *testing.T) {
				t.Parallel()
				a := enter(t, server, secure)
				a.alive()
				var worst int64
				worstName, n := "", 0
				for _, row := range attacks {
					if row.http2 && !secure {
						continue
					}
					t.Run(row.name, func(t *testing.T) {
						before := a.mark()
						row.run(t, a)
						_, peak := a.resident()
						n++
						if peak-before > worst {
							worst, worstName = peak-before, row.name
						}
						if peak-before > maxGrowth {
							t.Errorf("memory grew by %d MiB", (peak-before)>>20)
						}
					})
				}
				a.t = t
				a.alive()
				t.Logf("%d attacks; the worst for memory: %s, %.1f MiB", n, worstName, float64(worst)/(1<<20))
			})
		}
	}
}

// run makes one attack and judges it.
func (row attack) run(t *testing.T, a *arena) {
	a.t = t
	var o outcome
	if row.do != nil {
		o = row.do(a)
	} else {
		o = a.send(strings.ReplaceAll(row.raw, "{key}", a.key))
	}
	want := row.want
	if !a.own && row.standard.means != 0 {
		want = row.standard
	}
	arrived := a.arrived()
	t.Logf("%s; %d at the upstream", o, len(arrived))
	if len(o.statuses) == 0 && !o.closed && want.means != silent {
		t.Error("no answer and no end")
	}
	refusedOnly := !slices.ContainsFunc(o.statuses, func(s int) bool { return s < 400 })
	switch want.means {
	case refused:
		if !refusedOnly || len(o.statuses) == 0 {
			t.Errorf("want a refusal")
		}
	case closed:
		if !refusedOnly || !o.closed {
			t.Errorf("want the end of the connection")
		}
	case served:
		ok := 0
		for _, s := range o.statuses {
			if s == http.StatusOK {
				ok++
			}
		}
		if ok != len(want.bodies) || len(o.statuses) == 0 || o.statuses[0] != http.StatusOK {
			t.Errorf("want %d answers of 200", len(want.bodies))
		}
	}
	if len(arrived) != len(want.bodies) {
		for _, r := range arrived {
			t.Logf("arrived: %.2000q %.2000q", r.Head, r.Body)
		}
		t.Fatalf("%d requests came to the upstream, want %d", len(arrived), len(want.bodies))
	}
	for i, r := range arrived {
		if err := a.clean(&r); err != nil {
			t.Error(err)
		}
		if string(r.Body) != want.bodies[i] {
			t.Errorf("the upstream saw the body %.500q, want %q", r.Body, want.bodies[i])
		}
	}
}
