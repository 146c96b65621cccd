package system_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // makes a database read-only

	"gatehouse/internal/gateway"
	"gatehouse/internal/server"
	"gatehouse/internal/store/storetest"
)

// outages are the rows of the table, in its order.
var outages = []outage{
	{"PostgreSQL stopped", func(t *testing.T) *scene { return stopped(t, "20s") }},
	{"PostgreSQL stopped for longer than `max_staleness`", func(t *testing.T) *scene { return stopped(t, "2s").untilStale(t) }},
	{"PostgreSQL stopped, under a hard budget", func(t *testing.T) *scene { return stopped(t, "20s").under(t, "1000") }},
	{"PostgreSQL stopped, under a hard budget of which the node's slice is in use", func(t *testing.T) *scene { return stopped(t, "20s").under(t, "0.1") }},
	{"PostgreSQL unreachable, nothing answers", func(t *testing.T) *scene { return unreachable(t) }},
	{"PostgreSQL slow, every answer 100 ms late", slow},
	{"PostgreSQL read-only", func(t *testing.T) *scene { return readOnly(t, "20s") }},
	{"PostgreSQL read-only for longer than `max_staleness`", func(t *testing.T) *scene { return readOnly(t, "2s").untilStale(t) }},
	{"Valkey gone", func(t *testing.T) *scene { return withoutValkey(t, (*proxy).refuse) }},
	{"Valkey slow, nothing answers", func(t *testing.T) *scene { return withoutValkey(t, (*proxy).stall) }},
	{"disk full under `data` (with SQLite: and the database)", fullDisk},
	{"clock set forward an hour", func(t *testing.T) *scene { return clockSet(t, time.Hour) }},
	{"clock set back an hour", func(t *testing.T) *scene { return clockSet(t, -time.Hour) }},
	{"upstream hangs in the middle of a stream", hangingUpstream},
	{"upstream's certificate expired", expiredUpstream},
	{"own certificate unreadable at its renewal", func(t *testing.T) *scene { return ownCertificate(t, nil) }},
	{"own certificate renewed with an expired one", func(t *testing.T) *scene {
		return ownCertificate(t, func(a *authority) ([]byte, []byte) { return a.files(-time.Minute) })
	}},
	{"a secret reference gone", func(t *testing.T) *scene { return lostSecret(t, false) }},
	{"a secret reference gone, and the node restarted", func(t *testing.T) *scene { return lostSecret(t, true) }},
	{"another node silent", silentNode},
	{"trace collector gone", lostCollector},
	{"request memory at its limit", fullMemory},
	{"open requests at their limit", fullStreams},
}

const mockManifest = `
upstreams: [{name: mock, dialect: mock}]
deployments: [{name: gpt-4o-mini, routes: [{upstream: mock}]}]
`

// on makes a scene of a node that serves, with a manifest and a key of its own.
func on(t *testing.T, n *node, f founded, c *http.Client, manifest string) *scene {
	t.Helper()
	must(t, c, http.MethodPost, n.URL+"/gatehouse/v1/apply", f.AdminKey, []byte(manifest), nil)
	p := &pair{founded: f, a: n, client: c}
	project, account := p.project(t, "outage")
	k := p.key(t, project, account)
	return &scene{node: n, client: c, admin: f.AdminKey, key: k.value, keyID: k.id, model: "gpt-4o-mini"}
}

// lines is the configuration of a node on some database, with secrets in a folder.
func lines(t *testing.T, database, secrets string, more ...string) []string {
	return append([]string{"listen: 127.0.0.1:0", "ops_listen: 127.0.0.1:0", "node: one", "data: " + filepath.Join(t.TempDir(), "data"), "database: " + database,
		"pepper: file://" + filepath.Join(secrets, "pepper"), "kek: file://" + filepath.Join(secrets, "kek"), "drain: 1s", "log: {access: false}"}, more...)
}

// onPostgres starts a node on a database.
func onPostgres(t *testing.T, database, staleness string, more ...string) *scene {
	t.Helper()
	config := configFile(t, lines(t, database, t.TempDir(), append(more, "max_staleness: "+staleness)...)...)
	f := found(t, config)
	return on(t, serve(t, config), f, client(t), mockManifest)
}

// untilStale waits after the failure until the node may not decide any more.
func (s *scene) untilStale(t *testing.T) *scene {
	s.settled = func() {
		eventually(t, "the node's lease runs out", func() bool { return answerText(s.readyz()) == "503 stale" })
	}
	return s
}

func stopped(t *testing.T, staleness string) *scene {
	own := storetest.OwnPostgres(t)
	s := onPostgres(t, own.URL, staleness)
	s.fail, s.mend = own.Stop, own.Start
	return s
}

// under binds the scene by a hard budget.
func (s *scene) under(t *testing.T, amount string) *scene {
	t.Helper()
	must(t, s.client, http.MethodPost, s.node.URL+"/gatehouse/v1/apply", s.admin, []byte("budgets: [{name: cap, amount: "+amount+", window: {period: total}}]"), nil)
	return s
}

// behindProxy starts a node that reaches its database through a relay.
func behindProxy(t *testing.T, staleness string) (*scene, *proxy) {
	u, err := url.Parse(storetest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(t, u.Host)
	u.Host = p.address
	return onPostgres(t, u.String(), staleness), p
}

func unreachable(t *testing.T) *scene {
	s, p := behindProxy(t, "1m")
	s.fail, s.mend = p.stall, p.restore
	return s
}

func slow(t *testing.T) *scene {
	s, p := behindProxy(t, "10s")
	s.fail, s.mend = func() { p.late.Store(int64(100 * time.Millisecond)) }, func() { p.late.Store(0) }
	// Longer than the lease: what holds then holds without limit.
	s.settled = func() {
		from := time.Now()
		eventually(t, "it stays ready", func() bool {
			if got := answerText(s.readyz()); got != "200" {
				t.Errorf("%v after the database became slow: %s", time.Since(from), got)
			}
			return time.Since(from) > 12*time.Second
		})
	}
	return s
}

func readOnly(t *testing.T, staleness string) *scene {
	database := storetest.Postgres(t)
	s := onPostgres(t, database, staleness)
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	set := func(value string) func() {
		return func() {
			db, err := sql.Open("pgx", u.String())
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			for _, query := range []string{"ALTER DATABASE " + name + " SET default_transaction_read_only = " + value,
				"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '" + name + "'"} {
				if _, err := db.ExecContext(t.Context(), query); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	s.fail, s.mend = set("on"), set("off")
	// Its connections were broken, as by a failover.
	s.settled = func() { eventually(t, "it is connected again", func() bool { return answerText(s.read()) == "200" }) }
	return s
}

func withoutValkey(t *testing.T, fail func(*proxy)) *scene {
	p := newProxy(t, storetest.Redis(t))
	s := onPostgres(t, storetest.Postgres(t), "2s", "valkey: redis://"+p.address)
	const limits = "limits: [{scope: organization, max_requests_per_1_minute: 1000000, max_tokens_per_1_minute: 1000000000}]" // every request asks Valkey
	must(t, s.client, http.MethodPost, s.node.URL+"/gatehouse/v1/apply", s.admin, []byte(limits), nil)
	s.fail, s.mend = func() { fail(p) }, p.restore
	return s
}

func fullDisk(t *testing.T) *scene {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=32m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	config := configFile(t, singleLines(dir)...)
	f := found(t, config)
	n := serve(t, config)
	t.Cleanup(n.kill) // before the file system goes
	s := on(t, n, f, client(t), mockManifest)
	ballast := filepath.Join(data, "ballast")
	s.fail = func() { fill(t, ballast) }
	s.settled = func() {
		eventually(t, "the journal is full", func() bool { return answerText(s.request()) != "200" && answerText(s.change()) != "200" })
	}
	s.mend = func() {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// inProcess runs a node inside the test, where it takes a clock and timeouts of the test's.
func inProcess(t *testing.T, config string, opts server.Options) *node {
	t.Helper()
	cfg, err := server.ReadConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	log := newCapture()
	opts.Log = log
	s, err := server.Open(t.Context(), cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }() // ends with stop
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("stop the node: %v", err)
		}
		if t.Failed() {
			t.Logf("last lines of its log:\n%s", tail(log.bytes(), 30))
		}
	})
	n := &node{log: log}
	n.URL, n.OpsURL = s.URL(), s.OpsURL()
	return n
}

func clockSet(t *testing.T, by time.Duration) *scene {
	config := configFile(t, lines(t, storetest.Postgres(t), t.TempDir(), "max_staleness: 1m")...)
	f := found(t, config)
	var offset atomic.Int64
	n := inProcess(t, config, server.Options{Now: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }})
	s := on(t, n, f, client(t), mockManifest)
	short := s.expiring(t, 1)
	long := s.expiring(t, 1800)
	models := func(key string) string { return answerText(s.ask(http.MethodGet, n.URL+"/v1/models", key, nil)) }
	eventually(t, "a key expires", func() bool { return models(short) == "401 api_key_expired" })
	s.fail = func() { offset.Store(int64(by)) }
	s.mend = func() { offset.Store(0) }
	s.settled = func() {
		began := time.Now()
		eventually(t, "the node is ready", func() bool { return answerText(s.readyz()) == "200" && models(s.key) == "200" })
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("after the clock was set the node was not ready for %v", took)
		}
		if got := models(short); got != "401 api_key_expired" {
			t.Errorf("a key that had expired is answered %s", got)
		}
		want := "200"
		if by > 30*time.Minute {
			want = "401 api_key_expired"
		}
		if got := models(long); got != want {
			t.Errorf("a key with half an hour to live is answered %s, want %s", got, want)
		}
		if drift := metric(t, s.client, n, "gatehouse_clock_drift_seconds"); drift < by.Seconds()-5 || drift > by.Seconds()+5 {
			t.Errorf("gatehouse_clock_drift_seconds is %v, want about %v", drift, by.Seconds())
		}
	}
	s.after = func() {
		if got := models(long); got != "200" {
			t.Errorf("with the clock put right a key with half an hour to live is answered %s", got)
		}
	}
	return s
}

// expiring creates a key that lives for so many seconds.
func (s *scene) expiring(t *testing.T, seconds int) string {
	t.Helper()
	var list struct{ Data []struct{ ID, Name string } }
	must(t, s.client, http.MethodGet, s.node.URL+"/v1/organization/projects", s.admin, nil, &list)
	for _, project := range list.Data {
		if project.Name != "outage" {
			continue
		}
		var accounts struct{ Data []struct{ ID string } }
		path := s.node.URL + "/v1/organization/projects/" + project.ID + "/service_accounts"
		must(t, s.client, http.MethodGet, path, s.admin, nil, &accounts)
		var created struct{ Value string }
		must(t, s.client, http.MethodPost, path+"/"+accounts.Data[0].ID+"/api_keys", s.admin, map[string]any{"name": "short", "expires_in_seconds": seconds}, &created)
		return created.Value
	}
	t.Fatal("the project is not there")
	return ""
}

// model is an upstream whose answers can be held up and refused.
type model struct {
	hang   atomic.Bool // from now on nothing is sent any more
	refuse atomic.Bool // answer 401
}

// ServeHTTP answers a chat completion; a stream goes on until its caller leaves.
func (m *model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Stream bool }
	if json.NewDecoder(r.Body).Decode(&asked) != nil || m.refuse.Load() {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	wait := func() bool { // until the caller leaves, while m hangs
		for m.hang.Load() {
			select {
			case <-r.Context().Done():
				return false
			case <-time.After(20 * time.Millisecond):
			}
		}
		return true
	}
	if !asked.Stream {
		if wait() {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello."},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}`)
		}
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for r.Context().Err() == nil && wait() {
		_, _ = io.WriteString(w, `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"on "},"finish_reason":null}]}`+"\n\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-time.After(30 * time.Millisecond):
		}
	}
}

// toModel is the manifest of a deployment that only a model serves.
func toModel(base, credential string) string {
	text := "upstreams: [{name: far, dialect: openai, base_url: '" + base + "/v1', allow_private: true"
	if credential != "" {
		text += ", credential: {key: '" + credential + "'}"
	}
	return text + "}, {name: mock, dialect: mock}]\ndeployments: [{name: far, routes: [{upstream: far}]}, {name: gpt-4o-mini, routes: [{upstream: mock}]}]\n"
}

func hangingUpstream(t *testing.T) *scene {
	m := &model{}
	up := httptest.NewServer(m)
	t.Cleanup(up.Close)
	config := configFile(t, singleLines(t.TempDir(), "private_upstreams: [127.0.0.1]")...)
	f := found(t, config)
	n := inProcess(t, config, server.Options{Timeouts: gateway.Timeouts{FirstByte: 2 * time.Second, Idle: 2 * time.Second}})
	s := on(t, n, f, client(t), toModel(up.URL, ""))
	s.model = "far"
	s.fail, s.mend = func() { m.hang.Store(true) }, func() { m.hang.Store(false) }
	t.Cleanup(s.mend)
	return s
}

// authority issues certificates for this host.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"}, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

// files returns a certificate that expires after a while, and its key.
func (a *authority) files(expires time.Duration) (cert, key []byte) {
	a.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(expires),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.cert, &k.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func (a *authority) certificate(expires time.Duration) *tls.Certificate {
	a.t.Helper()
	pair, err := tls.X509KeyPair(a.files(expires))
	if err != nil {
		a.t.Fatal(err)
	}
	return &pair
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func expiredUpstream(t *testing.T) *scene {
	a := newAuthority(t)
	var current atomic.Pointer[tls.Certificate]
	current.Store(a.certificate(time.Hour))
	up := httptest.NewUnstartedServer(&model{})
	up.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{*current.Load()}, SessionTicketsDisabled: true}, nil // a ticket is as good as the certificate it was issued under
	}}
	up.Config.ErrorLog = nil
	up.StartTLS()
	t.Cleanup(up.Close)
	dir := t.TempDir()
	write(t, dir, "ca.pem", string(a.pem))
	config := configFile(t, singleLines(dir, "private_upstreams: [127.0.0.1]")...)
	f := found(t, config)
	s := on(t, serve(t, config, "SSL_CERT_FILE="+filepath.Join(dir, "ca.pem")), f, client(t), toModel(up.URL, ""))
	s.model = "far"
	set := func(expires time.Duration) func() {
		return func() {
			current.Store(a.certificate(expires))
			up.Config.SetKeepAlivesEnabled(false) // what is idle is closed: the next request shakes hands
			up.Config.SetKeepAlivesEnabled(true)
		}
	}
	s.fail, s.mend = set(-time.Minute), set(time.Hour)
	return s
}

// ownCertificate has a node's certificate files renewed with what bad returns; nil: with rubbish.
func ownCertificate(t *testing.T, bad func(*authority) (cert, key []byte)) *scene {
	a := newAuthority(t)
	dir := t.TempDir()
	put := func(cert, key []byte) {
		write(t, dir, "tls.key", string(key))
		write(t, dir, "tls.pem", string(cert))
	}
	put(a.files(time.Hour))
	config := configFile(t, singleLines(dir, "tls: {cert: "+filepath.Join(dir, "tls.pem")+", key: "+filepath.Join(dir, "tls.key")+"}")...)
	f := found(t, config)
	n := serve(t, config)
	c := client(t)
	c.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: a.pool()}
	s := on(t, n, f, c, mockManifest)
	serial := func() *big.Int {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(n.URL, "https://"), &tls.Config{RootCAs: a.pool()})
		if err != nil {
			t.Errorf("shake hands: %v", err)
			return nil
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber
	}
	first := serial()
	s.fail = func() {
		if bad == nil {
			write(t, dir, "tls.pem", "rubbish")
			return
		}
		put(bad(a))
	}
	s.settled = func() {
		eventually(t, "the node has looked at the files", func() bool {
			serial()
			return bytes.Contains(n.log.bytes(), []byte("the certificate files hold nothing valid"))
		})
		c.CloseIdleConnections()
	}
	s.mend = func() { put(a.files(time.Hour)) }
	s.after = func() {
		eventually(t, "the renewed certificate is served", func() bool { now := serial(); return now != nil && now.Cmp(first) != 0 })
	}
	return s
}

// lostSecret takes the file away that holds an upstream's credential, from a node that goes on or from one that starts again.
func lostSecret(t *testing.T, restart bool) *scene {
	m := &model{}
	up := httptest.NewServer(m)
	t.Cleanup(up.Close)
	dir := t.TempDir()
	write(t, dir, "upstream", "sk-of-an-upstream")
	config := configFile(t, singleLines(dir, "private_upstreams: [127.0.0.1]", "secret_refs: ['file://"+dir+"']")...)
	f := found(t, config)
	s := on(t, serve(t, config), f, client(t), toModel(up.URL, "file://"+filepath.Join(dir, "upstream")))
	s.model = "far"
	s.mend = func() { write(t, dir, "upstream", "sk-of-an-upstream") }
	if restart {
		s.live = "gpt-4o-mini"
		s.before = func() {
			remove(t, dir, "upstream")
			s.node.signal(t, syscall.SIGTERM)
			s.node.wait(t, patience)
			s.node = serve(t, config)
		}
		s.fail = func() {}
		return s
	}
	s.fail = func() { remove(t, dir, "upstream") }
	s.settled = func() {
		// An upstream that refuses the credential has it read again at once, rather than after a minute.
		m.refuse.Store(true)
		if got := answerText(s.request()); got != "502 upstream_credential_refused" {
			t.Errorf("a refused credential: %s", got)
		}
		m.refuse.Store(false)
		eventually(t, "the reference is read again", func() bool {
			s.request()
			return bytes.Contains(s.node.log.bytes(), []byte("cannot be read again"))
		})
	}
	return s
}

func silentNode(t *testing.T) *scene {
	p := newPair(t, "10s", "")
	s := on(t, p.a, p.founded, p.client, mockManifest)
	s.fail = func() { p.b.signal(t, syscall.SIGSTOP) }
	s.mend = func() { p.b.signal(t, syscall.SIGCONT) }
	return s
}

func lostCollector(t *testing.T) *scene {
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(collector.Close)
	p := newProxy(t, strings.TrimPrefix(collector.URL, "http://"))
	config := configFile(t, singleLines(t.TempDir(), "otlp: {endpoint: 'http://"+p.address+"', insecure: true, timeout: 1s}")...)
	f := found(t, config)
	n := serve(t, config)
	s := on(t, n, f, client(t), mockManifest)
	s.fail, s.mend = p.refuse, p.restore
	s.settled = func() {
		eventually(t, "traces are dropped", func() bool {
			s.request()
			return bytes.Contains(n.log.bytes(), []byte("traces are dropped"))
		})
	}
	s.after = func() {
		eventually(t, "traces are sent again", func() bool { s.request(); return bytes.Contains(n.log.bytes(), []byte("traces are sent again")) })
	}
	return s
}

func fullMemory(t *testing.T) *scene {
	config := configFile(t, singleLines(t.TempDir(), "limits: {memory: 1MiB}")...)
	f := found(t, config)
	n := serve(t, config)
	s := on(t, n, f, client(t), mockManifest)
	var conn net.Conn
	s.fail = func() {
		var err error
		if conn, err = net.Dial("tcp", strings.TrimPrefix(n.URL, "http://")); err != nil {
			t.Fatal(err)
		}
		const size = 1<<20 - 32<<10
		if _, err := fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", s.key, size); err != nil {
			t.Fatal(err)
		}
	}
	s.settled = func() {
		eventually(t, "the memory is taken", func() bool { return metric(t, s.client, n, "gatehouse_body_memory_bytes") > 900<<10 })
	}
	s.mend = func() { _ = conn.Close() } // it has served its purpose
	return s
}

func fullStreams(t *testing.T) *scene {
	config := configFile(t, singleLines(t.TempDir(), "limits: {streams: 3}")...)
	f := found(t, config)
	n := serve(t, config)
	s := on(t, n, f, client(t), mockManifest)
	var others [2]*liveStream
	s.fail = func() {
		for i := range others {
			others[i] = s.stream(t)
		}
	}
	s.mend = func() {
		for _, o := range others {
			o.stop()
		}
	}
	return s
}

// TestReadOnlyFolder: a node on SQLite whose disk can only be read does not start, and says why.
func TestReadOnlyFolder(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=32m"); err != nil {
		t.Skipf("cannot mount a file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	config := configFile(t, singleLines(dir)...)
	f := found(t, config)
	if err := syscall.Mount("", data, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	n := start(t, nil, "serve", "--config", config)
	if code := n.wait(t, patience); code != 1 || !bytes.Contains(n.log.bytes(), []byte("read-only")) {
		t.Errorf("on a read-only disk: exit code %d: %s", code, n.log.bytes())
	}
	if err := syscall.Mount("", data, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	s := on(t, serve(t, config), f, client(t), mockManifest)
	t.Cleanup(s.node.kill)
	eventually(t, "it serves once it can write", func() bool { return s.inOrder(t) })
}
