package inbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// lasting is a handler whose requests last until their context ends or release is closed. It says on began that one has begun, and
// on ended why it ended.
type lasting struct {
	began   chan struct{}
	release chan struct{}
	ended   chan error
}

func newLasting() *lasting {
	return &lasting{make(chan struct{}, 8), make(chan struct{}), make(chan error, 8)}
}

func (l *lasting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/quick" {
		return
	}
	_, _ = io.Copy(io.Discard, r.Body) // it is small and whole
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	l.began <- struct{}{}
	var err error
	select {
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-l.release:
	}
	_, _ = io.WriteString(w, "done") // the caller may be gone
	l.ended <- err
}

const lastingGet = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

// secure returns a server's and a client's configuration for TLS.
func secure(t testing.TB, protocols ...string) (server, client *tls.Config) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.StartTLS()
	t.Cleanup(s.Close)
	client = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	client.NextProtos, client.ServerName = protocols, "example.com"
	return &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}, client
}

// TestCallerLeaves cancels the request of a caller that goes, whatever it sent before and however it goes.
func TestCallerLeaves(t *testing.T) {
	server, client := secure(t, "http/1.1")
	for _, c := range []struct {
		name    string
		session bool
		raw     string
		leave   func(nc *net.TCPConn, session net.Conn)
	}{
		{"closes", false, lastingGet, func(nc *net.TCPConn, _ net.Conn) { nc.Close() }},
		{"closes its half", false, lastingGet, func(nc *net.TCPConn, _ net.Conn) { nc.CloseWrite() }},
		{"after a body", false, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", func(nc *net.TCPConn, _ net.Conn) { nc.Close() }},
		{"after other requests", false, "GET /quick HTTP/1.1\r\nHost: x\r\n\r\n" + lastingGet, func(nc *net.TCPConn, _ net.Conn) { nc.Close() }},
		{"resets", false, lastingGet, func(nc *net.TCPConn, _ net.Conn) { nc.SetLinger(0); nc.Close() }},
		{"closes its session", true, lastingGet, func(_ *net.TCPConn, session net.Conn) { session.Close() }},
		{"closes under its session", true, lastingGet, func(nc *net.TCPConn, _ net.Conn) { nc.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLasting()
			cfg := Config{Handler: l}
			if c.session {
				cfg.TLS = server
			}
			_, address := serving(t, cfg)
			nc := dial(t, address)
			var session net.Conn = nc.TCPConn
			if c.session {
				session = tls.Client(nc.TCPConn, client)
			}
			_, err := io.WriteString(session, c.raw)
			must(t, err)
			<-l.began
			c.leave(nc.TCPConn, session)
			select {
			case err := <-l.ended:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("ended with %v", err)
				}
			case <-time.After(patience):
				t.Error("nobody noticed")
				close(l.release)
			}
		})
	}
}

// TestManyCallersLeave notices a crowd that leaves at once, and nobody of the one that stays.
func TestManyCallersLeave(t *testing.T) {
	const n = 500
	l := newLasting()
	l.began, l.ended = make(chan struct{}, 2*n), make(chan error, 2*n)
	_, address := serving(t, Config{Handler: l})
	var leavers []*caller
	for i := range 2 * n {
		c := dial(t, address)
		c.send(lastingGet)
		if i%2 == 0 {
			leavers = append(leavers, c)
		}
	}
	for range 2 * n {
		<-l.began
	}
	for _, c := range leavers {
		c.Close()
	}
	left := time.Now()
	for range n {
		if err := <-l.ended; !errors.Is(err, context.Canceled) {
			t.Fatalf("ended with %v", err)
		}
	}
	t.Logf("%d of %d callers left; the last request was cancelled after %v", n, 2*n, time.Since(left).Round(time.Millisecond))
	close(l.release)
	for range n {
		if err := <-l.ended; err != nil {
			t.Fatalf("a caller that stayed ended with %v", err)
		}
	}
}

// TestCallerStays leaves a caller alone that waits, and one that sends its next request meanwhile.
func TestCallerStays(t *testing.T) {
	l := newLasting()
	_, address := serving(t, Config{Handler: l})
	c := dial(t, address)
	c.send(lastingGet + "GET /quick HTTP/1.1\r\nHost: x\r\n")
	<-l.began
	other := dial(t, address) // by the time its departure is noticed, c was looked at too
	other.send(lastingGet)
	<-l.began
	other.Close()
	if err := <-l.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	close(l.release)
	if err := <-l.ended; err != nil {
		t.Errorf("ended with %v", err)
	}
	c.send("\r\n")
	for _, want := range []string{"done", ""} {
		if _, body := c.answer("GET"); body != want {
			t.Errorf("got %q, want %q", body, want)
		}
	}
}

// TestContext gives every request a context that ends with it, and costs nothing before somebody asks.
func TestContext(t *testing.T) {
	c := &conn{raw: &memory{}}
	x := newRequestContext(c)
	x.begin()
	if allocs := testing.AllocsPerRun(100, func() { x.end(); x.begin() }); allocs != 0 {
		t.Errorf("a request whose context nobody uses costs %v allocations", allocs)
	}
	x.cancel(c.serial.Load() - 2) // of a request before
	if x.Err() != nil {
		t.Error("a late departure cancelled the next request")
	}
	x.end()
	<-x.Done()
	if x.Err() == nil {
		t.Error("it did not end with its request")
	}
	late, cancel := context.WithCancel(x)
	defer cancel()
	<-late.Done()
	if x.Value(http.LocalAddrContextKey) == nil || x.Value("x") != nil {
		t.Error("values")
	}
}

// TestShutdown closes idle connections, lets a busy one finish, and then ends.
func TestShutdown(t *testing.T) {
	l := newLasting()
	s, address := serving(t, Config{Handler: l})
	fresh, idle, busy, foreign := dial(t, address), dial(t, address), dial(t, address), dial(t, address)
	idle.send("GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
	idle.answer("GET")
	busy.send(lastingGet)
	<-l.began
	foreign.send("GET / HTTP/1.0\r\nHost: x\r\n\r\n")
	<-l.began
	soon, stop := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer stop()
	if err := s.Shutdown(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shut down with %v while requests are open", err)
	}
	for _, c := range []*caller{fresh, idle} {
		if rest := c.rest(); rest != "" {
			t.Errorf("an idle connection got %q", rest)
		}
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("a new connection was accepted")
	}
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	close(l.release)
	must(t, <-done)
	if resp, body := busy.answer("GET"); body != "done" || !resp.Close {
		t.Errorf("got %q, close %t", body, resp.Close)
	}
	if rest := foreign.rest(); !strings.HasSuffix(rest, "done") {
		t.Errorf("got %q", rest)
	}
	if err := s.Serve(listen(t)); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("a server that was shut down served: %v", err)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	return l
}

// TestClose cancels what is open.
func TestClose(t *testing.T) {
	l := newLasting()
	s, address := serving(t, Config{Handler: l})
	c := dial(t, address)
	c.send(lastingGet)
	<-l.began
	must(t, s.Close())
	if err := <-l.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

// TestTimeouts ends connections on which nothing happens, or too little.
func TestTimeouts(t *testing.T) {
	_, address := serving(t, Config{Handler: http.HandlerFunc(echo), ReadHeaderTimeout: 100 * time.Millisecond, IdleTimeout: 100 * time.Millisecond})
	for name, raw := range map[string]string{
		"silent": "", "half a line": "GET / HT", "half a head": "GET / HTTP/1.1\r\nHost: x\r\n", "idle": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"half a second head": "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / ",
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, address)
			c.send(raw)
			if strings.Contains(raw, "\r\n\r\n") {
				c.answer("GET")
			}
			if rest := c.rest(); rest != "" {
				t.Errorf("got %q", rest)
			}
		})
	}
	t.Run("a byte at a time", func(t *testing.T) {
		c := dial(t, address)
		tick := time.NewTicker(30 * time.Millisecond)
		defer tick.Stop()
		for _, b := range "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 600) {
			<-tick.C
			if _, err := io.WriteString(c, string(b)); err != nil {
				return
			}
		}
		t.Error("a head may take as long as it likes")
	})
}

// TestDeadlines strike in the middle of a body and of an answer, set before and meanwhile, and do not outlive their request.
func TestDeadlines(t *testing.T) {
	failed := make(chan error, 1)
	waits := make(chan *http.ResponseController, 1)
	_, address := serving(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		var err error
		switch r.URL.Path {
		case "/read":
			must(t, control.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
			_, err = io.Copy(io.Discard, r.Body)
		case "/read/meanwhile":
			waits <- control
			_, err = io.Copy(io.Discard, r.Body)
		case "/write":
			must(t, control.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
			_, err = w.Write(make([]byte, 64<<20))
		case "/write/meanwhile":
			waits <- control
			_, err = w.Write(make([]byte, 64<<20))
		case "/past":
			must(t, control.SetReadDeadline(time.Unix(1, 0)))
			must(t, control.SetWriteDeadline(time.Now().Add(time.Hour)))
			must(t, control.EnableFullDuplex())
			_, err = io.WriteString(w, "fine")
		}
		failed <- err
	})})
	for _, path := range []string{"/read", "/read/meanwhile", "/write", "/write/meanwhile"} {
		t.Run(path, func(t *testing.T) {
			c := dial(t, address)
			c.send("POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
			if strings.HasSuffix(path, "meanwhile") {
				control := <-waits
				must(t, control.SetReadDeadline(time.Unix(1, 0)))
				must(t, control.SetWriteDeadline(time.Unix(1, 0)))
			}
			if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("ended with %v", err)
			}
		})
	}
	c := dial(t, address)
	for range 3 {
		c.send("GET /past HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, body := c.answer("GET"); body != "fine" || <-failed != nil {
			t.Errorf("got %q", body)
		}
	}
}

// TestPanic ends the connection and says why in the log, but for http.ErrAbortHandler.
func TestPanic(t *testing.T) {
	var logged syncBuffer
	_, address := serving(t, Config{ErrorLog: log.New(&logged, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/quiet":
			panic(http.ErrAbortHandler)
		case "/whole":
			w.Header().Set("Content-Length", "2")
			_, _ = io.WriteString(w, "ab") // the panic is the point
		case "/stream":
			_, _ = io.WriteString(w, "ab")
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, "cd")
		}
		panic("as planned")
	})})
	for path, want := range map[string]string{"/quiet": "", "/loud": "", "/whole": "", "/stream": "2\r\nab\r\n2\r\ncd\r\n"} {
		c := dial(t, address)
		c.send("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
		rest := c.rest()
		if _, body, _ := strings.Cut(rest, "\r\n\r\n"); body != want {
			t.Errorf("%s: got %q, want %q", path, rest, want)
		}
	}
	if n := strings.Count(logged.String(), "as planned"); n != 3 {
		t.Errorf("the log has %d panics:\n%s", n, logged.String())
	}
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// TestTLS serves HTTP/1.1 itself, HTTP/2 and the unusual by net/http, and tells who speaks without TLS.
func TestTLS(t *testing.T) {
	server, client := secure(t)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		must(t, err)
		w.Header().Set("X-Server", serverOf(w)+" "+r.Proto)
		if r.TLS == nil || !r.TLS.HandshakeComplete {
			t.Errorf("%s %s without TLS", r.Proto, r.RequestURI)
		}
		_, err = w.Write(bytes.Repeat(text, 100))
		must(t, err)
	})
	_, address := serving(t, Config{Handler: handler, TLS: server})
	body := strings.Repeat("0123456789", 1000)
	for _, c := range []struct {
		protocol, expect, server string
	}{{"http/1.1", "", "own HTTP/1.1"}, {"http/1.1", "100-continue", "net/http HTTP/1.1"}, {"h2", "", "net/http HTTP/2.0"}} {
		cfg := client.Clone()
		cfg.NextProtos = []string{c.protocol}
		transport := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: c.protocol == "h2", ExpectContinueTimeout: time.Second}
		req, err := http.NewRequest("POST", "https://"+address+"/", strings.NewReader(body))
		must(t, err)
		if c.expect != "" {
			req.Header.Set("Expect", c.expect)
		}
		resp, err := transport.RoundTrip(req)
		must(t, err)
		text, err := io.ReadAll(resp.Body)
		must(t, err)
		resp.Body.Close()
		transport.CloseIdleConnections()
		if got := resp.Header.Get("X-Server"); got != c.server || string(text) != strings.Repeat(body, 100) {
			t.Errorf("%s: served by %s, want %s; %d bytes", c.protocol, got, c.server, len(text))
		}
	}
	plain := dial(t, address)
	plain.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if rest := plain.rest(); !strings.Contains(rest, "HTTP request to an HTTPS server") {
		t.Errorf("got %q", rest)
	}
}

// TestNotASocket leaves a connection that the kernel knows nothing of to net/http.
func TestNotASocket(t *testing.T) {
	s, _ := serving(t, Config{Handler: http.HandlerFunc(echo)})
	client, server := net.Pipe()
	s.accept(server)
	must(t, client.SetDeadline(time.Now().Add(patience)))
	_, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	must(t, err)
	text, err := io.ReadAll(client)
	must(t, err)
	if !strings.Contains(string(text), "X-Server: net/http") {
		t.Errorf("got %q", text)
	}
}

// TestLateUse fails a handler that uses its writer after it has returned; builds without the race detector cannot tell.
func TestLateUse(t *testing.T) {
	if !lateUseIsFatal {
		t.Skip("without the race detector")
	}
	type kept struct {
		w http.ResponseWriter
		r *http.Request
	}
	keep := make(chan kept, 1)
	_, address := serving(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keep" {
			keep <- kept{w, r}
		}
	})})
	c := dial(t, address)
	c.send("POST /keep HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na")
	c.answer("POST")
	c.send("POST /next HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na")
	c.answer("POST")
	k := <-keep
	for name, use := range map[string]func(){
		"Write":       func() { _, _ = k.w.Write([]byte("late")) },
		"Header":      func() { k.w.Header().Set("X-Late", "1") },
		"WriteHeader": func() { k.w.WriteHeader(500) },
		"Flush":       func() { k.w.(http.Flusher).Flush() },
		"the request": func() { _ = k.r.URL.Path },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was possible", name)
				}
			}()
			use()
		}()
	}
}
