package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
	"gatehouse/internal/authn"
	"gatehouse/internal/catalog"
	"gatehouse/internal/gateway"
	"gatehouse/internal/gateway/inbound"
	"gatehouse/internal/ledger"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

const (
	install        = "t3st"
	upstreamSecret = "upstream-secret-that-no-caller-may-see"
)

// gate is a gateway over real parts: a database, the catalog that follows it, a ledger with its journal, and an HTTP server.
type gate struct {
	tb      testing.TB
	db      *store.DB
	catalog *catalog.Catalog
	ledger  *ledger.Ledger
	admin   *admin.Service
	gateway *gateway.Gateway
	url     string
	client  *http.Client
	who     *gatehouse.Principal
	project string // the organization's default project
	user    string
	key     *admin.NewKey // of user in project
	log     *lines

	mu        sync.Mutex
	incidents []authn.Incident
}

// lines is the log of a gate.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func deadline(tb testing.TB) context.Context {
	tb.Helper()
	ctx, stop := context.WithTimeout(context.Background(), patience)
	tb.Cleanup(stop)
	return ctx
}

func newGate(tb testing.TB, change ...func(*gateway.Config)) *gate {
	tb.Helper()
	g := &gate{tb: tb, log: &lines{}}
	ctx := context.Background()
	dir := tb.TempDir()
	logger := slog.New(slog.NewTextHandler(g.log, nil))
	var err error
	g.db, err = store.Open(ctx, "sqlite:"+filepath.Join(dir, "gatehouse.db"), store.Config{Logger: logger})
	must(tb, err)
	tb.Cleanup(func() { must(tb, g.db.Close()) })
	must(tb, g.db.Migrate(ctx))
	peppers, err := secret.ParsePeppers(secret.NewPeppers())
	must(tb, err)
	keyring, err := secret.ParseKeyring(secret.NewKeyring())
	must(tb, err)

	g.catalog, err = catalog.Open(ctx, catalog.Config{DB: g.db, Node: "test", MaxStaleness: 2 * time.Minute, SingleNode: true, Logger: logger})
	must(tb, err)
	g.ledger, err = ledger.Open(ctx, ledger.Config{Dir: dir, DB: g.db, Node: "test", Sync: 100 * time.Millisecond, Logger: logger})
	must(tb, err)
	tb.Cleanup(func() { must(tb, g.ledger.Close(context.Background())) })
	g.catalog.OnPrices(g.ledger.SetPrices)
	g.run(g.catalog.Run)
	g.run(g.ledger.Run)

	g.admin = admin.New(admin.Config{DB: g.db, Catalog: g.catalog, Peppers: peppers, Keyring: keyring, Install: install, Now: time.Now,
		CheckReference: func(string) error { return nil }, Logger: logger})
	auth := authn.New(authn.Config{Catalog: g.catalog, Peppers: peppers, Install: install, Now: time.Now, OnIncident: func(i authn.Incident) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.incidents = append(g.incidents, i)
	}})
	spool := filepath.Join(dir, "spool")
	must(tb, os.Mkdir(spool, 0o700))
	cfg := gateway.Config{
		Catalog: g.catalog, Auth: auth, Ledger: g.ledger, Spool: spool, Logger: logger, Now: time.Now,
		Resolve: func(_ context.Context, _, reference string) (secret.Text, error) {
			if !strings.HasPrefix(reference, "env://UPSTREAM_API_KEY") {
				return secret.Text{}, errors.New("no such variable")
			}
			return secret.NewText(upstreamSecret), nil
		},
		FindObject: func(ctx context.Context, id string) (o *gatehouse.Object, err error) {
			err = g.db.View(ctx, func(tx *store.Tx) (err error) {
				o, err = tx.Object(id)
				return err
			})
			return o, err
		},
		Mock: func() (string, secret.Text, error) { return "", secret.Text{}, errors.New("there is no mock here") },
	}
	for _, f := range change {
		f(&cfg)
	}
	g.gateway = gateway.New(cfg)
	tb.Cleanup(g.gateway.Close)
	g.url = serve(tb, g.gateway)
	transport := gatehousetest.Transport(tb)
	transport.DisableCompression = true
	g.client = &http.Client{Transport: transport, Timeout: time.Minute}

	founded, err := g.admin.Found(ctx, gatehouse.Host(""), "Acme", "Owner", "")
	must(tb, err)
	g.who, g.project, g.user = gatehouse.Host(founded.Organization.ID), founded.Project.ID, founded.Owner.ID
	g.key = g.newKey(admin.KeyRequest{Class: gatehouse.ClassProject, Project: g.project, User: g.user, Name: "test"})
	return g
}

// standard runs the tests over net/http's server instead of our own.
var standard = flag.Bool("standard", false, "serve by net/http")

// serve serves a handler until the test ends, which waits for what is open, and returns its URL.
func serve(tb testing.TB, h http.Handler) string {
	tb.Helper()
	quiet := log.New(io.Discard, "", 0)
	if *standard {
		srv := httptest.NewUnstartedServer(h)
		srv.Config.ErrorLog = quiet
		srv.Start()
		tb.Cleanup(srv.Close)
		return srv.URL
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	srv := inbound.New(inbound.Config{Handler: h, ErrorLog: quiet})
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }() // ends when srv is shut down
	tb.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.Background(), patience)
		defer stop()
		must(tb, srv.Shutdown(ctx))
		<-done
	})
	return "http://" + l.Addr().String()
}

// run runs a part of the node until the test ends.
func (g *gate) run(part func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- part(ctx) }()
	g.tb.Cleanup(func() {
		stop()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			g.tb.Error(err)
		}
	})
}

func (g *gate) newKey(req admin.KeyRequest) *admin.NewKey {
	g.tb.Helper()
	key, err := g.admin.CreateKey(context.Background(), g.who, req)
	must(g.tb, err)
	return key
}

// newProject returns a project beside the default one and a key of a service account in it.
func (g *gate) newProject(name string) (project string, key *admin.NewKey) {
	g.tb.Helper()
	p, err := g.admin.CreateProject(context.Background(), g.who, admin.ProjectRequest{Name: name})
	must(g.tb, err)
	_, key, err = g.admin.CreateServiceAccount(context.Background(), g.who, p.ID, admin.ServiceAccountRequest{Name: name, WithKey: true})
	must(g.tb, err)
	return p.ID, key
}

// upstream declares one of OpenAI's dialect at a loopback URL; change may make it another.
func (g *gate) upstream(name, url string, change ...func(*admin.UpstreamSpec)) *gatehouse.Upstream {
	g.tb.Helper()
	spec := admin.UpstreamSpec{Name: name, Dialect: gatehouse.OpenAI, BaseURL: url + "/v1", Credential: "env://UPSTREAM_API_KEY", AllowPrivate: true}
	for _, f := range change {
		f(&spec)
	}
	up, err := g.admin.PutUpstream(context.Background(), g.who, spec)
	must(g.tb, err)
	return up
}

// ownAccount gives an upstream a credential that no project had before, for the gate's project alone.
func (g *gate) ownAccount(s *admin.UpstreamSpec) {
	s.Credential, s.Projects = "env://UPSTREAM_API_KEY_OF_ONE", []string{g.project}
}

func azure(version string) func(*admin.UpstreamSpec) {
	return func(s *admin.UpstreamSpec) {
		s.Dialect, s.APIVersion, s.Region = gatehouse.Azure, version, "eastus"
		s.BaseURL = strings.TrimSuffix(s.BaseURL, "/v1")
	}
}

func (g *gate) deploy(name string, routes ...admin.RouteSpec) {
	g.tb.Helper()
	_, err := g.admin.PutDeployment(context.Background(), g.who, admin.DeploymentSpec{Name: name, Routes: routes})
	must(g.tb, err)
}

// answer is what a caller got.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // the body broke off
}

func (a *answer) id() string { return a.header.Get("X-Request-Id") }

// request makes a request with the gate's key; headers are name, value pairs and may replace the key.
func (g *gate) request(method, path, body string, headers ...string) *http.Request {
	g.tb.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(deadline(g.tb), method, g.url+path, r)
	must(g.tb, err)
	req.Header.Set("Authorization", "Bearer "+g.key.Value.Reveal())
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Del(headers[i])
		if headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	return req
}

func (g *gate) do(method, path, body string, headers ...string) *answer {
	g.tb.Helper()
	return g.send(g.request(method, path, body, headers...))
}

func (g *gate) send(req *http.Request) *answer {
	g.tb.Helper()
	resp, err := g.client.Do(req)
	must(g.tb, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return &answer{resp.StatusCode, resp.Header, string(text), err}
}

// flush brings everything that was recorded so far into the database.
func (g *gate) flush() {
	g.tb.Helper()
	must(g.tb, g.ledger.Flush(deadline(g.tb)))
}

// explain returns the decision behind a request.
func (g *gate) explain(id string) *gatehouse.Request {
	g.tb.Helper()
	g.flush()
	var out *gatehouse.Request
	must(g.tb, g.db.View(deadline(g.tb), func(tx *store.Tx) (err error) {
		out, err = g.named(tx, id)
		return err
	}))
	return out
}

// named returns the record of a request by our id, else by its client's.
func (g *gate) named(tx *store.Tx, id string) (*gatehouse.Request, error) {
	r, err := tx.Request(id)
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		return tx.RequestNamed(g.who.Organization, id)
	}
	return r, err
}

// usage returns what a request cost, nil when it cost nothing.
func (g *gate) usage(id string) *gatehouse.Usage {
	g.tb.Helper()
	g.flush()
	var out *gatehouse.Usage
	err := g.db.View(deadline(g.tb), func(tx *store.Tx) (err error) {
		out, err = tx.Usage(id)
		return err
	})
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		return nil
	}
	must(g.tb, err)
	return out
}

// object returns who owns an object, nil when nobody recorded it.
func (g *gate) object(id string) *gatehouse.Object {
	g.tb.Helper()
	g.flush()
	var out *gatehouse.Object
	err := g.db.View(deadline(g.tb), func(tx *store.Tx) (err error) {
		out, err = tx.Object(id)
		return err
	})
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		return nil
	}
	must(g.tb, err)
	return out
}

// settled waits until a request is settled, however it ended, and returns its record: an exchange that its caller left ends after
// the caller is gone.
func (g *gate) settled(clientID string) *gatehouse.Request {
	g.tb.Helper()
	ctx := deadline(g.tb)
	for {
		must(g.tb, g.ledger.Flush(ctx))
		var out *gatehouse.Request
		err := g.db.View(ctx, func(tx *store.Tx) (err error) {
			out, err = g.named(tx, clientID)
			return err
		})
		if err == nil {
			return out
		}
		if gatehouse.KindOf(err) != gatehouse.NotFound {
			g.tb.Fatal(err)
		}
	}
}

// script is an upstream whose next answers a test sets.
type script struct {
	*gatehousetest.Upstream
	mu   sync.Mutex
	next func(*gatehousetest.Exchange) error
	last gatehousetest.Recorded
}

func newScript(tb testing.TB, first gatehousetest.Action) *script {
	tb.Helper()
	s := &script{next: first}
	s.Upstream = gatehousetest.NewUpstream(tb, gatehousetest.Script(func(x *gatehousetest.Exchange) error {
		s.mu.Lock()
		s.last = x.Request
		next := s.next
		s.mu.Unlock()
		return next(x)
	}))
	return s
}

func (s *script) set(next gatehousetest.Action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next, s.last = next, gatehousetest.Recorded{}
}

// got returns the last request that came whole since set.
func (s *script) got() gatehousetest.Recorded {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// respond answers with a body whose length the head says.
func respond(status int, contentType, body string, lines ...string) gatehousetest.Action {
	return gatehousetest.Write(rawAnswer(status, contentType, body, lines...))
}

func rawAnswer(status int, contentType, body string, lines ...string) string {
	var b strings.Builder
	b.WriteString("HTTP/1.1 " + itoa(status) + " " + http.StatusText(status) + "\r\n")
	if contentType != "" {
		b.WriteString("Content-Type: " + contentType + "\r\n")
	}
	for _, l := range lines {
		b.WriteString(l + "\r\n")
	}
	b.WriteString("Content-Length: " + itoa(len(body)) + "\r\n\r\n" + body)
	return b.String()
}

// try is send for other goroutines: a request that fails gives an answer with its error.
func (g *gate) try(req *http.Request) *answer {
	resp, err := g.client.Do(req)
	if err != nil {
		return &answer{err: err, header: http.Header{}}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return &answer{resp.StatusCode, resp.Header, string(text), err}
}

// rawConn is a connection to a gate on which a test writes what it likes.
type rawConn struct {
	*net.TCPConn
	r *bufio.Reader
}

func (g *gate) dial(tb testing.TB) *rawConn {
	tb.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	must(tb, err)
	tb.Cleanup(func() { conn.Close() })
	must(tb, conn.SetDeadline(time.Now().Add(patience)))
	return &rawConn{conn.(*net.TCPConn), bufio.NewReader(conn)}
}

func (c *rawConn) write(tb testing.TB, s string) {
	tb.Helper()
	_, err := io.WriteString(c, s)
	must(tb, err)
}

func (c *rawConn) closeWrite(tb testing.TB) {
	tb.Helper()
	must(tb, c.CloseWrite())
}

func itoa16(n int) string { return strconv.FormatInt(int64(n), 16) }
