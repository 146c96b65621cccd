package outbound_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/gateway/ending"
	"gatehouse/internal/gateway/outbound"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// rawServer is a server that does on each connection what a test says, byte by byte.
type rawServer struct {
	url   string
	roots *x509.CertPool
	// gone gets one value for each connection that has ended.
	gone chan struct{}

	mu       sync.Mutex
	accepted int
	conns    map[net.Conn]bool
}

// peer is one accepted connection. n counts them from 1.
type peer struct {
	net.Conn
	*bufio.Reader
	n int
}

func (p *peer) Read(b []byte) (int, error) { return p.Reader.Read(b) }

// request reads one request with its body.
func (p *peer) request() (*http.Request, string, error) {
	r, err := http.ReadRequest(p.Reader)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(r.Body)
	return r, string(body), err
}

func (p *peer) say(text string) { _, _ = io.WriteString(p.Conn, text) }

// untilClosed reads until the client closes.
func (p *peer) untilClosed() { _, _ = io.Copy(io.Discard, p.Reader) }

func serveRaw(t testing.TB, handle func(p *peer)) *rawServer { return serve(t, nil, handle) }

func serveRawTLS(t testing.TB, handle func(p *peer)) *rawServer {
	cfg, roots := certificate(t)
	s := serve(t, cfg, handle)
	s.roots = roots
	return s
}

func serve(t testing.TB, cfg *tls.Config, handle func(p *peer)) *rawServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &rawServer{url: "http://" + ln.Addr().String(), gone: make(chan struct{}, 4096), conns: map[net.Conn]bool{}}
	if cfg != nil {
		ln = tls.NewListener(ln, cfg)
		s.url = "https://" + ln.Addr().String()
	}
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.accepted++
			p := &peer{Conn: c, Reader: bufio.NewReader(c), n: s.accepted}
			s.conns[c] = true
			s.mu.Unlock()
			wg.Add(1)
			go func() {
				defer wg.Done()
				handle(p)
				c.Close()
				s.mu.Lock()
				delete(s.conns, c)
				s.mu.Unlock()
				s.gone <- struct{}{}
			}()
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		s.mu.Lock()
		for c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		wg.Wait()
	})
	return s
}

func (s *rawServer) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// waitGone waits until n connections have ended.
func (s *rawServer) waitGone(t testing.TB, n int) {
	t.Helper()
	for i := range n {
		select {
		case <-s.gone:
		case <-time.After(patience):
			t.Fatalf("%d of %d connections ended", i, n)
		}
	}
}

var certificate = func() func(testing.TB) (*tls.Config, *x509.CertPool) {
	var once sync.Once
	var cfg *tls.Config
	roots := x509.NewCertPool()
	return func(t testing.TB) (*tls.Config, *x509.CertPool) {
		once.Do(func() {
			s := httptest.NewTLSServer(nil)
			defer s.Close()
			cfg = &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"http/1.1"}, DynamicRecordSizingDisabled: true}
			roots.AddCert(s.Certificate())
		})
		return cfg, roots
	}
}()

func endpoint(t testing.TB, s *rawServer) *outbound.Endpoint {
	t.Helper()
	return newEndpoint(t, outbound.Config{BaseURL: s.url, AllowPrivate: true, RootCAs: s.roots})
}

func newEndpoint(t testing.TB, cfg outbound.Config) *outbound.Endpoint {
	t.Helper()
	e, err := outbound.NewEndpoint(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// exchange is the context of an exchange, as the gateway has it.
type exchange struct {
	ending.End
	context.Context
}

func (x *exchange) Done() <-chan struct{} { return x.End.Done() }
func (x *exchange) Err() error            { return x.End.Err() }

var generous = outbound.Timeouts{Connect: patience, FirstByte: patience, Idle: patience}

func get(uri string) *outbound.Request { return &outbound.Request{Method: "GET", URI: uri} }

func post(body ...string) *outbound.Request {
	r := &outbound.Request{Method: "POST", URI: "/v1/x", Header: []outbound.Field{{Name: "Content-Type", Value: "application/json"}}}
	for _, s := range body {
		r.Body = append(r.Body, []byte(s))
	}
	return r
}

// fetch sends a request and reads the whole answer.
func fetch(e *outbound.Endpoint, req *outbound.Request) (status int, body string, err error) {
	resp, err := e.Do(context.Background(), req, generous)
	if err != nil {
		return 0, "", err
	}
	defer resp.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.Status, string(b), err
}

// fetchPieces is fetch by way of Pieces.
func fetchPieces(e *outbound.Endpoint, req *outbound.Request) (status int, body string, err error) {
	resp, err := e.Do(context.Background(), req, generous)
	if err != nil {
		return 0, "", err
	}
	defer resp.Close()
	body, err = pieces(resp)
	return resp.Status, body, err
}

// pieces reads a body piece by piece.
func pieces(resp *outbound.Response) (body string, err error) {
	for p, err := range resp.Body.Pieces() {
		if err != nil {
			return body, err
		}
		body += string(p)
	}
	return body, nil
}

func mustFetch(t testing.TB, e *outbound.Endpoint, req *outbound.Request, wantStatus int, wantBody string) {
	t.Helper()
	status, body, err := fetch(e, req)
	if err != nil || status != wantStatus || body != wantBody {
		t.Fatalf("got %d %q, %v, want %d %q", status, clipped(body), err, wantStatus, clipped(wantBody))
	}
}

func clipped(s string) string {
	if len(s) > 200 {
		return s[:200] + "..."
	}
	return s
}

// wantError checks the step of a failure and returns it.
func wantError(t testing.TB, err error, op string) *outbound.Error {
	t.Helper()
	var oe *outbound.Error
	if !errors.As(err, &oe) {
		t.Fatalf("got %v, want an *outbound.Error at %q", err, op)
	}
	if oe.Op != op {
		t.Fatalf("got a failure at %q (%v), want one at %q", oe.Op, err, op)
	}
	return oe
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// answering answers each request with text and keeps the connection.
func answering(text string) func(*peer) {
	return func(p *peer) {
		for {
			if _, _, err := p.request(); err != nil {
				return
			}
			p.say(text)
		}
	}
}

func long(n int) string { return strings.Repeat("x", n) }
