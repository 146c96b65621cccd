package system_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/store/storetest"
)

// pair is two nodes on one PostgreSQL, and what the tests need to administer them.
type pair struct {
	founded
	a, b   *node
	client *http.Client
	proxy  *proxy // between node b and the database
}

// newPair founds an installation on an empty database and starts two nodes.
func newPair(tb testing.TB, staleness, valkey string) *pair {
	tb.Helper()
	direct := storetest.Postgres(tb)
	u, err := url.Parse(direct)
	if err != nil {
		tb.Fatal(err)
	}
	p := &pair{client: client(tb), proxy: newProxy(tb, u.Host)}
	u.Host = p.proxy.address
	secrets := tb.TempDir()
	config := func(name, database string) string {
		lines := []string{
			"listen: 127.0.0.1:0", "ops_listen: 127.0.0.1:0", "node: " + name, "data: " + filepath.Join(tb.TempDir(), name), "database: " + database,
			"pepper: file://" + filepath.Join(secrets, "pepper"), "kek: file://" + filepath.Join(secrets, "kek"),
			"max_staleness: " + staleness, "drain: 1s", "log: {access: false}", "trusted_proxies: [127.0.0.1]", "client_cert_header: Client-Cert",
		}
		if valkey != "" {
			lines = append(lines, "valkey: redis://"+valkey)
		}
		return configFile(tb, lines...)
	}
	first := config("a", direct)
	p.founded = found(tb, first)
	p.a, p.b = serve(tb, first), serve(tb, config("b", u.String()))
	must(tb, p.client, http.MethodPost, p.a.URL+"/gatehouse/v1/apply", p.AdminKey, []byte(`
upstreams: [{name: mock, dialect: mock}]
deployments: [{name: gpt-4o-mini, routes: [{upstream: mock}]}]
`), nil)
	return p
}

// project creates a project with a service account through node a.
func (p *pair) project(tb testing.TB, name string) (project, account string) {
	tb.Helper()
	var created struct{ ID string }
	must(tb, p.client, http.MethodPost, p.a.URL+"/v1/organization/projects", p.AdminKey, map[string]any{"name": name}, &created)
	project = created.ID
	must(tb, p.client, http.MethodPost, p.a.URL+"/v1/organization/projects/"+project+"/service_accounts", p.AdminKey,
		map[string]any{"name": "robot", "create_service_account_only": true}, &created)
	return project, created.ID
}

// key is one credential of the tests.
type key struct {
	id, value string
	project   string
	revoked   atomic.Int64 // when the answer to its revocation had come, in nanoseconds since epoch; 0: it has not
	accepted  atomic.Int64 // how often it was accepted
	refused   atomic.Int64
}

func (p *pair) key(tb testing.TB, project, account string) *key {
	tb.Helper()
	var created struct{ ID, Value string }
	must(tb, p.client, http.MethodPost, p.a.URL+"/v1/organization/projects/"+project+"/service_accounts/"+account+"/api_keys", p.AdminKey, map[string]any{"name": "k"}, &created)
	return &key{id: created.ID, value: created.Value, project: project}
}

// keys creates many keys, several at a time, and returns when both nodes accept them.
func (p *pair) keys(tb testing.TB, project, account string, n int) []*key {
	tb.Helper()
	keys := make([]*key, n)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := i; j < n; j += 8 {
				keys[j] = p.key(tb, project, account)
			}
		})
	}
	wg.Wait()
	if tb.Failed() {
		tb.FailNow() // a key was not created
	}
	for _, k := range keys {
		p.everywhere(tb, k)
	}
	return keys
}

// accepts asks a node with a key whether it still accepts it: a call of the model when paid, else the list of models.
func (p *pair) accepts(ctx context.Context, n *node, k *key, paid bool) (bool, reply) {
	var r reply
	if paid {
		r = ask(ctx, p.client, http.MethodPost, n.URL+"/v1/chat/completions", k.value, chat(false))
	} else {
		r = ask(ctx, p.client, http.MethodGet, n.URL+"/v1/models", k.value, nil)
	}
	return r.Status == http.StatusOK, r
}

// everywhere waits until both nodes accept a key: a change that widens authority may take a moment.
func (p *pair) everywhere(tb testing.TB, k *key) {
	tb.Helper()
	for _, n := range []*node{p.a, p.b} {
		eventually(tb, "a new key is accepted", func() bool {
			ok, _ := p.accepts(tb.Context(), n, k, false)
			return ok
		})
	}
}

// revoke revokes a key through node a and returns the status, until when a silent node may accept it, and how long it took.
func (p *pair) revoke(tb testing.TB, k *key) (status int, effectiveBy time.Time, took time.Duration) {
	tb.Helper()
	var deleted struct {
		EffectiveBy int64 `json:"effective_by"`
	}
	began := time.Now()
	status = must(tb, p.client, http.MethodDelete, p.a.URL+"/gatehouse/v1/keys/"+k.id, p.AdminKey, nil, &deleted)
	return status, time.Unix(deleted.EffectiveBy, 0), time.Since(began)
}

// longStream opens a stream that would go on for minutes and reports when it has ended, and whether it looked complete.
func (p *pair) longStream(tb testing.TB, n *node, k *key) (ended <-chan time.Time, whole *atomic.Bool) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, n.URL+"/v1/chat/completions",
		strings.NewReader(`{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Go on"}]}`))
	if err != nil {
		tb.Fatal(err)
	}
	for name, value := range map[string]string{"Authorization": "Bearer " + k.value, "Content-Type": "application/json", "X-Mock-Tokens": "5000", "X-Mock-Chunk-Delay-Ms": "50"} {
		req.Header.Set(name, value)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	lines := bufio.NewReader(resp.Body)
	if first, err := lines.ReadString('\n'); err != nil || resp.StatusCode != http.StatusOK {
		tb.Fatalf("open a stream: status %d, %v: %s", resp.StatusCode, err, first)
	}
	done := make(chan time.Time, 1)
	whole = new(atomic.Bool)
	go func() { // ends with the stream, or with the test's context
		defer resp.Body.Close()
		for {
			line, err := lines.ReadBytes('\n')
			if bytes.HasPrefix(line, []byte("data: [DONE]")) {
				whole.Store(true)
			}
			if err != nil {
				done <- time.Now()
				return
			}
		}
	}()
	return done, whole
}

// TestRevocationHoldsOnEveryNode revokes keys through one node while clients hammer both: what begins after the answer to the
// revocation is refused everywhere.
func TestRevocationHoldsOnEveryNode(t *testing.T) {
	t.Run("polling", func(t *testing.T) { testRevocation(t, "") })
	t.Run("Valkey", func(t *testing.T) { testRevocation(t, storetest.Redis(t)) })
}

const (
	revocations = 200
	revokers    = 4
	hammers     = 6
	perStream   = 8 // every so many revocations cut a stream
)

func testRevocation(t *testing.T, valkey string) {
	p := newPair(t, "30s", valkey)
	project, account := p.project(t, "storm")
	epoch := time.Now() // begin and end of everything are on this monotonic clock
	keys := p.keys(t, project, account, revocations)

	// First in peace: what a revocation costs where nothing else runs.
	var alone []time.Duration
	for _, k := range p.keys(t, project, account, 40) {
		status, _, d := p.revoke(t, k)
		if status != http.StatusOK {
			t.Errorf("with two idle nodes a revocation is answered %d", status)
		}
		alone = append(alone, d)
	}
	slices.Sort(alone)
	t.Logf("idle: a revocation took p50 %v, p99 %v", quantile(alone, 50), quantile(alone, 99))

	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var hot [revokers]atomic.Pointer[key] // what the revokers are about to revoke
	var requests, violations atomic.Int64
	// try makes one request and judges it: begun after the revocation was answered it must be refused.
	try := func(ctx context.Context, n *node, k *key, paid bool) {
		after := k.revoked.Load()
		began := int64(time.Since(epoch))
		ok, r := p.accepts(ctx, n, k, paid)
		if r.Err != nil {
			if ctx.Err() == nil {
				t.Errorf("request failed: %v", r.Err)
			}
			return
		}
		requests.Add(1)
		switch {
		case !ok:
			k.refused.Add(1)
			if r.Status != http.StatusUnauthorized {
				t.Errorf("refused with %d: %s", r.Status, r.Body)
			}
		case after != 0:
			violations.Add(1)
			t.Errorf("key %s was accepted by a request that began %v after its revocation was answered", k.id, time.Duration(began-after))
		default:
			k.accepted.Add(1)
		}
	}
	for i := range hammers {
		running.Go(func() {
			n := p.b
			if i%3 == 0 {
				n = p.a
			}
			for ctx.Err() == nil {
				if k := hot[rand.IntN(revokers)].Load(); k != nil {
					try(ctx, n, k, i%2 == 0)
				}
			}
		})
	}
	var mu sync.Mutex
	var took, cuts []time.Duration // guarded by mu
	accepted202 := 0               // guarded by mu
	next := make(chan *key, len(keys))
	for _, k := range keys {
		next <- k
	}
	close(next)
	var work sync.WaitGroup
	began := time.Now()
	for i := range revokers {
		work.Go(func() {
			done := 0
			for k := range next {
				hot[i].Store(k)
				for range 2 {
					try(ctx, p.b, k, true)
				}
				var ended <-chan time.Time
				var whole *atomic.Bool
				if done++; done%perStream == 0 {
					ended, whole = p.longStream(t, p.b, k)
				}
				status, _, d := p.revoke(t, k)
				at := time.Now()
				if status == http.StatusOK {
					k.revoked.Store(int64(at.Sub(epoch)))
				}
				mu.Lock()
				took = append(took, d)
				if status != http.StatusOK {
					accepted202++
				}
				mu.Unlock()
				for _, n := range []*node{p.b, p.a, p.b} {
					try(ctx, n, k, false)
				}
				if ended == nil {
					continue
				}
				select {
				case end := <-ended:
					mu.Lock()
					cuts = append(cuts, max(0, end.Sub(at)))
					mu.Unlock()
					if whole.Load() {
						t.Errorf("the stream of a revoked key looked complete")
					}
				case <-time.After(5 * time.Second):
					t.Errorf("the stream of a revoked key goes on 5 s after its revocation")
				}
			}
			hot[i].Store(nil)
		})
	}
	work.Wait()
	elapsed := time.Since(began)
	stop()
	running.Wait()

	unseen := 0
	for _, k := range keys {
		if k.accepted.Load() == 0 || k.refused.Load() == 0 {
			unseen++
		}
	}
	slices.Sort(took)
	slices.Sort(cuts)
	t.Logf("%d revocations in %v (%d answered 202), %d requests, %d violations; a revocation took p50 %v, p99 %v, at most %v; %d streams ended at most %v after it",
		len(took), elapsed.Round(time.Millisecond), accepted202, requests.Load(), violations.Load(), quantile(took, 50), quantile(took, 99), took[len(took)-1].Round(time.Microsecond), len(cuts), cuts[len(cuts)-1].Round(time.Millisecond))
	if len(took)-accepted202 < revocations*9/10 {
		t.Errorf("%d of %d revocations were answered 202 though both nodes are alive", accepted202, len(took))
	}
	if unseen > 0 {
		t.Errorf("%d keys were not seen accepted before and refused after: the run proves nothing about them", unseen)
	}
	if len(cuts) < revocations/perStream/2 || cuts[len(cuts)-1] > time.Second {
		t.Errorf("%d streams were cut, the last %v after its key was revoked; want 1 s", len(cuts), cuts[len(cuts)-1])
	}
	p.suspendAndArchive(t, project, account)
}

func quantile(sorted []time.Duration, percent int) time.Duration {
	return sorted[min(len(sorted)-1, len(sorted)*percent/100)].Round(10 * time.Microsecond)
}

// suspendAndArchive: what is suspended stops everywhere and resumes; an archived project's keys stop everywhere.
func (p *pair) suspendAndArchive(t *testing.T, project, account string) {
	k := p.key(t, project, account)
	p.everywhere(t, k)
	stop := func(what, path string) {
		t.Helper()
		ended, _ := p.longStream(t, p.b, k)
		if status := must(t, p.client, http.MethodPost, p.a.URL+path, p.AdminKey, nil, nil); status != http.StatusOK {
			t.Errorf("%s: status %d", what, status)
		}
		at := time.Now()
		for range 5 {
			for _, n := range []*node{p.a, p.b} {
				if ok, r := p.accepts(t.Context(), n, k, true); ok || r.Err != nil || r.Status != http.StatusUnauthorized {
					t.Errorf("%s: then answered %d, %v: %s", what, r.Status, r.Err, r.Body)
				}
			}
		}
		select {
		case end := <-ended:
			if d := end.Sub(at); d > time.Second {
				t.Errorf("%s: the stream ended %v after it", what, d)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s: the stream goes on", what)
		}
	}
	stop("suspended", "/gatehouse/v1/keys/"+k.id+"/suspend")
	must(t, p.client, http.MethodPost, p.a.URL+"/gatehouse/v1/keys/"+k.id+"/resume", p.AdminKey, nil, nil)
	p.everywhere(t, k)
	stop("archived", "/v1/organization/projects/"+project+"/archive")
}

// TestSilentNode stops node b as a suspended machine stops, and revokes meanwhile.
func TestSilentNode(t *testing.T) {
	p := newPair(t, "2s", "")
	project, account := p.project(t, "silent")
	keep, first, second := p.key(t, project, account), p.key(t, project, account), p.key(t, project, account)
	for _, k := range []*key{keep, first, second} {
		p.everywhere(t, k)
	}

	t.Run("it comes back before its lease is over", func(t *testing.T) {
		p.b.signal(t, syscall.SIGSTOP)
		time.AfterFunc(500*time.Millisecond, func() { _ = p.b.cmd.Process.Signal(syscall.SIGCONT) }) // it ends at the latest with kill
		status, by, took := p.revoke(t, first)
		t.Logf("answered %d after %v", status, took.Round(time.Millisecond))
		if status == http.StatusAccepted {
			waitUntil(t, by)
		}
		for range 20 {
			if ok, _ := p.accepts(t.Context(), p.b, first, false); ok {
				t.Fatal("a revoked key was accepted")
			}
		}
	})

	t.Run("it comes back after its lease is over", func(t *testing.T) {
		// Connections that are open and warm, so that the requests lie in the stopped process's sockets.
		conns := make([]*rawConn, 20)
		for i := range conns {
			conns[i] = dialRaw(t, p.b.URL)
			if status, err := conns[i].roundTrip(second.value); err != nil || status != http.StatusOK {
				t.Fatalf("before: status %d, %v", status, err)
			}
		}
		p.b.signal(t, syscall.SIGSTOP)
		status, by, took := p.revoke(t, second)
		if status != http.StatusAccepted || by.IsZero() || time.Until(by) > 5*time.Second {
			t.Fatalf("with a silent node the answer is %d after %v, effective by %v; want 202 and a moment within 5 s", status, took, by)
		}
		t.Logf("answered 202 after %v, effective %v later", took.Round(time.Millisecond), time.Until(by).Round(time.Millisecond))
		waitUntil(t, by)
		for _, c := range conns {
			if err := c.send(second.value); err != nil {
				t.Fatal(err)
			}
		}
		p.b.signal(t, syscall.SIGCONT)
		statuses := map[int]int{}
		for _, c := range conns {
			status, err := c.status()
			if err != nil {
				t.Fatal(err)
			}
			statuses[status]++
		}
		t.Logf("requests that waited in a stopped node: %v", statuses)
		if statuses[http.StatusOK] != 0 {
			t.Errorf("%d requests with a revoked key were accepted by a node that woke up", statuses[http.StatusOK])
		}
		p.everywhere(t, keep)
		for range 20 {
			if ok, r := p.accepts(t.Context(), p.b, second, true); ok || r.Status != http.StatusUnauthorized {
				t.Fatalf("awake again it answers a revoked key %d", r.Status)
			}
		}
	})
}

// waitUntil waits for a moment on the wall clock.
func waitUntil(tb testing.TB, at time.Time) {
	tb.Helper()
	select {
	case <-time.After(time.Until(at)):
	case <-tb.Context().Done():
	}
}

// rawConn is a connection on which request and answer are separate steps.
type rawConn struct {
	net.Conn
	host string
	r    *bufio.Reader
}

func dialRaw(tb testing.TB, base string) *rawConn {
	tb.Helper()
	host := strings.TrimPrefix(base, "http://")
	c, err := net.Dial("tcp", host)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() }) // nothing is owed on it
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	return &rawConn{c, host, bufio.NewReader(c)}
}

func (c *rawConn) send(key string) error {
	_, err := fmt.Fprintf(c, "GET /v1/models HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", c.host, key)
	return err
}

func (c *rawConn) status() (int, error) {
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func (c *rawConn) roundTrip(key string) (int, error) {
	if err := c.send(key); err != nil {
		return 0, err
	}
	return c.status()
}

// TestDatabaseOutage cuts node b off from its database: it serves for max_staleness, then refuses, says so to probes, and
// recovers by itself.
func TestDatabaseOutage(t *testing.T) {
	p := newPair(t, "2s", "")
	project, account := p.project(t, "outage")
	keep := p.key(t, project, account)
	for _, how := range []struct {
		name string
		cut  func()
	}{{"connections are refused", p.proxy.refuse}, {"nothing answers", p.proxy.stall}} {
		t.Run(how.name, func(t *testing.T) {
			doomed := p.key(t, project, account)
			p.everywhere(t, keep)
			p.everywhere(t, doomed)
			how.cut()
			at := time.Now()
			// Until the first refusal: served; from then on: refused.
			served, last := 0, time.Duration(0)
			eventually(t, "a node without a database refuses", func() bool {
				began := time.Since(at)
				ok, r := p.accepts(t.Context(), p.b, keep, true)
				if ok {
					served, last = served+1, began
					return false
				}
				if r.Status != http.StatusServiceUnavailable || !bytes.Contains(r.Body, []byte("auth_unavailable")) {
					t.Errorf("refused with %d, %v: %s", r.Status, r.Err, r.Body)
				}
				return true
			})
			t.Logf("served %d requests, the last began %v after the cut", served, last.Round(time.Millisecond))
			if last > 2*time.Second+200*time.Millisecond || served == 0 {
				t.Errorf("%d requests were served, the last %v after the cut; want some, until max_staleness (2 s)", served, last)
			}
			if r := ask(t.Context(), p.client, http.MethodGet, p.b.OpsURL+"/readyz", "", nil); r.Status != http.StatusServiceUnavailable {
				t.Errorf("/readyz of a node that refuses: %d %s", r.Status, r.Body)
			}
			if r := ask(t.Context(), p.client, http.MethodGet, p.b.OpsURL+"/healthz", "", nil); r.Status != http.StatusOK {
				t.Errorf("/healthz of a node whose database is away: %d %s", r.Status, r.Body)
			}
			if status, by, _ := p.revoke(t, doomed); status == http.StatusAccepted {
				waitUntil(t, by)
			}
			if ok, _ := p.accepts(t.Context(), p.a, keep, true); !ok {
				t.Error("the other node does not serve")
			}
			p.proxy.restore()
			eventually(t, "/readyz follows the database back", func() bool {
				return ask(t.Context(), p.client, http.MethodGet, p.b.OpsURL+"/readyz", "", nil).Status == http.StatusOK
			})
			back := time.Since(at)
			for range 20 {
				if ok, r := p.accepts(t.Context(), p.b, doomed, false); ok || r.Status != http.StatusUnauthorized {
					t.Errorf("back again it answers a key that was revoked meanwhile %d", r.Status)
				}
			}
			p.everywhere(t, keep)
			t.Logf("ready again %v after the cut", back.Round(time.Millisecond))
			// What was served without a database is recorded in it, once.
			eventually(t, "the journal of the outage is recorded", func() bool { return metric(t, p.client, p.b, "gatehouse_journal_pending_bytes") == 0 })
		})
	}
}

// proxy is a TCP relay that can be cut.
type proxy struct {
	address, target string

	late    atomic.Int64 // how long every answer of the target is held back, in nanoseconds
	mu      sync.Mutex
	mode    proxyMode             // guarded by mu
	conns   map[net.Conn]struct{} // guarded by mu
	changed chan struct{}         // guarded by mu; closed and replaced when mode changes
	wg      sync.WaitGroup
}

type proxyMode int

const (
	relaying proxyMode = iota
	refusing           // connections are closed as soon as they are made
	stalling           // nothing moves, nothing is closed
)

func newProxy(tb testing.TB, target string) *proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{address: l.Addr().String(), target: target, conns: map[net.Conn]struct{}{}, changed: make(chan struct{})}
	p.wg.Go(func() { // ends when the listener closes
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.relay(c) })
		}
	})
	tb.Cleanup(func() {
		_ = l.Close() // the relay is over
		p.refuse()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) set(m proxyMode, close_ bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	close(p.changed)
	p.changed = make(chan struct{})
	if close_ {
		for c := range p.conns {
			_ = c.Close() // that is the point
		}
	}
}

func (p *proxy) refuse() { p.set(refusing, true) }
func (p *proxy) stall()  { p.set(stalling, false) }

// restore lets new connections through. Those that stalled are closed, as a network that lost their state does.
func (p *proxy) restore() { p.set(relaying, true) }

// may waits while the proxy stalls; false: the connection is not to go on.
func (p *proxy) may() bool {
	for {
		p.mu.Lock()
		mode, changed := p.mode, p.changed
		p.mu.Unlock()
		switch mode {
		case relaying:
			return true
		case refusing:
			return false
		}
		<-changed
	}
}

func (p *proxy) track(c net.Conn, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on {
		p.conns[c] = struct{}{}
	} else {
		delete(p.conns, c)
	}
}

func (p *proxy) relay(in net.Conn) {
	defer in.Close()
	p.track(in, true)
	defer p.track(in, false)
	if !p.may() {
		return
	}
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer out.Close()
	p.track(out, true)
	defer p.track(out, false)
	var both sync.WaitGroup
	for i, way := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			buf := make([]byte, 32<<10)
			for {
				n, err := way[0].Read(buf)
				if late := time.Duration(p.late.Load()); late > 0 && i == 1 {
					<-time.After(late)
				}
				if !p.may() {
					break
				}
				if n > 0 {
					if _, werr := way[1].Write(buf[:n]); werr != nil {
						break
					}
				}
				if err != nil {
					break
				}
			}
			_ = way[0].Close() // ends the other way too
			_ = way[1].Close()
		})
	}
	both.Wait()
}
