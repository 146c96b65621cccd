package gatehousetest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/server"
)

// Options says how Start runs Gatehouse. The zero value is `gatehouse dev` without TLS.
type Options struct {
	TLS        bool      // serve HTTPS with a certificate of a local authority; see Server.CAFile
	Data       string    // the data folder, to start a second time on what the first left; "": a temporary one
	Log        io.Writer // also gets the log; nil: it is shown only when the test fails
	Listen     string    // address to listen on; "": a free port of 127.0.0.1
	AdminCalls int       // of the Admin API a minute with one key, as the configuration's limits.admin_calls; 0: the default
	HTTP       string    // which server reads HTTP/1.1, as the configuration's http.server; "": the default
}

// Server is a whole Gatehouse inside the test's process, as `gatehouse dev` runs it: SQLite in a folder of the test's own, an
// organization, a project, fresh keys, and the built-in mock as the upstream of every model it declares. It reaches no network.
type Server struct {
	URL            string // of the data plane and the Admin API, without a trailing slash; OpenAI's clients want URL + "/v1"
	APIKey         string // calls models in ProjectID
	AdminKey       string // for the Admin API and /gatehouse/v1
	OrganizationID string
	ProjectID      string
	Azure          Azure          // for clients of Azure OpenAI
	OpsURL         string         // /healthz, /readyz and /metrics
	CAFile         string         // PEM of the authority behind the certificate; "" without TLS
	Pool           *x509.CertPool // the same; nil without TLS
	Data           string         // the data folder
	Client         *http.Client   // reaches loopback only and trusts Pool

	tb   testing.TB
	stop func() error
}

// Azure is what a client of Azure OpenAI is configured with.
type Azure struct {
	Endpoint   string
	APIKey     string
	Deployment string
}

// startTimeout bounds a start, and stopTimeout a stop: one drains open requests for up to five seconds.
const (
	startTimeout = time.Minute
	stopTimeout  = 30 * time.Second
)

// Start runs Gatehouse until the test ends, and waits until it serves. The end waits until everything that was counted is in the
// database; a Gatehouse that cannot start, or that does not stop in good order, fails the test.
func Start(tb testing.TB, opts Options) *Server {
	tb.Helper()
	if opts.Data == "" {
		opts.Data = tb.TempDir()
	}
	if opts.Listen == "" {
		opts.Listen = "127.0.0.1:0"
	}
	log := &logBuffer{also: opts.Log}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), startTimeout)
	defer cancel()
	node, err := server.Dev(ctx, server.DevOptions{Options: server.Options{Log: log, Version: "test"}, Listen: opts.Listen, Data: opts.Data, TLS: opts.TLS, HTTP: server.HTTP{Server: opts.HTTP}, AdminCalls: opts.AdminCalls})
	if err != nil {
		tb.Fatalf("start Gatehouse: %v\n%s", err, log)
	}
	run, interrupt := context.WithCancel(context.Background())
	ready, done := make(chan server.Ready, 1), make(chan error, 1)
	go func() { done <- node.RunDev(run, func(r server.Ready) { ready <- r }) }() // ends when interrupt is called; stop awaits it
	s := &Server{tb: tb, Data: opts.Data, Client: Client(tb)}
	s.stop = sync.OnceValue(func() error {
		interrupt()
		select {
		case err := <-done:
			return err
		case <-time.After(stopTimeout):
			return fmt.Errorf("it still runs %s after it was told to stop", stopTimeout)
		}
	})
	tb.Cleanup(func() {
		s.Client.CloseIdleConnections()
		if err := s.stop(); err != nil {
			tb.Errorf("stop Gatehouse: %v", err)
		}
		if tb.Failed() {
			tb.Logf("the log of Gatehouse:\n%s", log)
		}
	})
	select {
	case r := <-ready:
		s.take(r)
	case err := <-done:
		done <- err
		tb.Fatalf("start Gatehouse: %v", err)
	case <-ctx.Done():
		tb.Fatalf("Gatehouse does not serve after %s", startTimeout)
	}
	return s
}

// take copies what a client needs and makes the client of TLS.
func (s *Server) take(r server.Ready) {
	s.tb.Helper()
	s.URL, s.APIKey, s.AdminKey, s.OrganizationID, s.ProjectID, s.OpsURL, s.CAFile = r.URL, r.APIKey, r.AdminKey, r.OrganizationID, r.ProjectID, r.OpsURL, r.CAFile
	s.Azure = Azure(r.Azure)
	if s.CAFile == "" {
		return
	}
	pem, err := os.ReadFile(filepath.Clean(s.CAFile))
	if err != nil {
		s.tb.Fatal(err)
	}
	s.Pool = x509.NewCertPool()
	if !s.Pool.AppendCertsFromPEM(pem) {
		s.tb.Fatalf("%s holds no certificate", s.CAFile)
	}
	transport := Transport(s.tb)
	transport.TLSClientConfig = &tls.Config{RootCAs: s.Pool}
	transport.ForceAttemptHTTP2 = true
	s.Client.Transport = transport
}

// Stop stops Gatehouse before the test ends and fails the test where that does not go well. The data folder stays, so that Start
// can begin where this one ended.
func (s *Server) Stop() {
	s.tb.Helper()
	s.Client.CloseIdleConnections()
	if err := s.stop(); err != nil {
		s.tb.Fatalf("stop Gatehouse: %v", err)
	}
}

// Apply makes the installation look like a manifest, in YAML or JSON, as `gatehouse apply` does; when it returns the node serves
// it. Upstreams on loopback need allow_private. What the manifest does not name stays, so dev's own deployments go on unless the
// manifest has one of the same name.
func (s *Server) Apply(manifest string) {
	s.tb.Helper()
	s.Admin(http.MethodPost, "/gatehouse/v1/apply", manifest, nil)
}

// Forward sends models to an upstream of NewUpstream, which speaks the dialect: "openai" below /v1, or "azure" in its v1 API. It is
// called with UpstreamKey. Each name becomes a deployment with that one route and the same name upstream; an api-version, several
// routes and other names upstream are for Apply.
func (s *Server) Forward(u *Upstream, dialect string, models ...string) {
	s.tb.Helper()
	type object = map[string]any
	base := u.URL
	if dialect == "openai" {
		base += "/v1"
	}
	name := "test-" + u.Host
	var sealed struct {
		Reference string `json:"reference"`
	}
	s.Admin(http.MethodPost, "/gatehouse/v1/sealed_secrets", `{"name":"`+name+`","value":"`+UpstreamKey+`"}`, &sealed)
	m := object{"upstreams": []object{{"name": name, "dialect": dialect, "base_url": base, "allow_private": true, "credential": object{"key": sealed.Reference}}}}
	var deployments []object
	for _, model := range models {
		deployments = append(deployments, object{"name": model, "routes": []object{{"upstream": name, "model": model}}})
	}
	m["deployments"] = deployments
	text, err := json.Marshal(m)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.Apply(string(text))
}

// UpstreamKey is the credential that Forward gives to an upstream under test. It opens nothing.
const UpstreamKey = "upstream-key-of-a-test"

// Explain returns the decision behind a request, found by the x-request-id of its answer or by the id the caller gave it.
func (s *Server) Explain(id string) *gatehouse.Request {
	s.tb.Helper()
	var r gatehouse.Request
	s.Admin(http.MethodGet, "/gatehouse/v1/requests/"+url.PathEscape(id), "", &r)
	return &r
}

// Usage is what was used by one group of requests. Fields the query does not group by are empty.
type Usage struct {
	Day         string `json:"day"` // 2026-01-31, in UTC
	ProjectID   string `json:"project_id"`
	KeyID       string `json:"key_id"`
	Model       string `json:"model"`
	Product     string `json:"product"` // OpenAI's usage endpoint: completions, embeddings, ...
	Requests    int64  `json:"requests"`
	CostNanoUSD int64  `json:"cost_nano_usd"`
	Unpriced    int64  `json:"unpriced_requests"` // how many of them have no known price
	gatehouse.Units
}

// Usage returns what was used since the start, grouped by any of day, project, key, model and product. A request is in it as soon
// as its answer has ended.
func (s *Server) Usage(groupBy ...string) []Usage {
	s.tb.Helper()
	var list struct {
		Data []Usage `json:"data"`
	}
	query := url.Values{"group_by[]": groupBy}
	s.Admin(http.MethodGet, "/gatehouse/v1/usage?"+query.Encode(), "", &list)
	return list.Data
}

// Admin calls the administration with AdminKey and decodes the answer into out, unless that is nil. An answer other than 200 and
// 202 fails the test.
func (s *Server) Admin(method, path, body string, out any) {
	s.tb.Helper()
	req, err := http.NewRequest(method, s.URL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		s.tb.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.AdminKey)
	res, err := s.Client.Do(req)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.tb.Fatalf("%s %s: %v", method, path, err)
	}
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusAccepted {
		s.tb.Fatalf("%s %s: %d %s", method, path, res.StatusCode, text)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(text, out); err != nil {
		s.tb.Fatalf("%s %s: %v in %s", method, path, err, text)
	}
}

// logBuffer keeps the log until it is known whether the test fails.
type logBuffer struct {
	also io.Writer

	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

// Write adds to the log.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.also != nil {
		_, _ = b.also.Write(p) // what is kept is what counts
	}
	return b.text.Write(p)
}

// String returns what was logged so far.
func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
