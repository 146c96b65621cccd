package gatehousetest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Upstream is an HTTP/1.1 server on loopback that follows a script: the first request it gets is answered by the first step,
// the second by the second, and the last step answers all that follow. It speaks with the connection itself, not through
// net/http, so that it can misbehave in every way a server can, and records what it got byte for byte.
//
// It is safe for concurrent use. It ends with the test, which waits for it.
type Upstream struct {
	URL  string         // without a trailing slash
	Host string         // host:port
	CA   []byte         // PEM of the authority that signed its certificate; nil without TLS
	Pool *x509.CertPool // the same

	listener net.Listener
	tls      *tls.Config
	script   []Step
	stop     chan struct{}
	wg       sync.WaitGroup

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at every change of what mu guards
	requests []*Recorded
	conns    map[net.Conn]struct{}
	accepted int
	stopped  bool
}

// Recorded is one request as it came.
type Recorded struct {
	Connection int         // the number of the connection, from 1: two requests with one number shared it
	Head       []byte      // exactly: request line, headers, the empty line
	RawBody    []byte      // exactly, with the marks of chunks and trailers
	Complete   bool        // the body came to its end
	Method     string      // of the request line
	Target     string      // of the request line
	Fields     [][2]string // names and values in the order and spelling they came in
	Header     http.Header // the same, canonical
	Body       []byte      // what RawBody says
}

// NewUpstream starts an upstream without TLS. An empty script echoes.
func NewUpstream(tb testing.TB, script ...Step) *Upstream {
	tb.Helper()
	u := &Upstream{script: script}
	u.start(tb, "http://")
	return u
}

// NewTLSUpstream starts an upstream with TLS, a certificate for 127.0.0.1, ::1 and localhost from an authority of its own, and
// ALPN http/1.1.
func NewTLSUpstream(tb testing.TB, script ...Step) *Upstream {
	tb.Helper()
	u := &Upstream{script: script}
	cert, err := u.issue()
	if err != nil {
		tb.Fatalf("make a certificate: %v", err)
	}
	u.tls = &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	u.start(tb, "https://")
	return u
}

func (u *Upstream) start(tb testing.TB, scheme string) {
	tb.Helper()
	if len(u.script) == 0 {
		u.script = []Step{Echo()}
	}
	var err error
	if u.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		tb.Fatal(err)
	}
	u.Host = u.listener.Addr().String()
	u.URL = scheme + u.Host
	u.stop, u.changed, u.conns = make(chan struct{}), make(chan struct{}), map[net.Conn]struct{}{}
	u.wg.Go(u.accept)
	tb.Cleanup(u.close)
}

// Requests returns what came so far, in the order in which the heads came.
func (u *Upstream) Requests() []Recorded {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := make([]Recorded, len(u.requests))
	for i, r := range u.requests {
		out[i] = *r
	}
	return out
}

// Wait returns the first n requests once n have come whole, or ctx's error. One that breaks off never comes whole.
func (u *Upstream) Wait(ctx context.Context, n int) ([]Recorded, error) {
	var got []Recorded
	err := u.until(ctx, func() bool {
		got = got[:0]
		for _, r := range u.requests {
			if r.Complete {
				got = append(got, *r)
			}
		}
		return len(got) >= n
	})
	if err != nil {
		return nil, fmt.Errorf("wait for %d requests: %d came: %w", n, len(got), err)
	}
	return got[:n], nil
}

// OpenConnections returns how many connections neither side has closed.
func (u *Upstream) OpenConnections() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.conns)
}

// Accepted returns how many connections there have been.
func (u *Upstream) Accepted() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.accepted
}

// Closed returns nil once no connection is open, else ctx's error: the way to see that a client that left took its upstream
// request with it.
func (u *Upstream) Closed(ctx context.Context) error {
	return u.until(ctx, func() bool { return len(u.conns) == 0 })
}

// until waits for a condition of what mu guards.
func (u *Upstream) until(ctx context.Context, ok func() bool) error {
	for {
		u.mu.Lock()
		done, changed := ok(), u.changed
		u.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// change runs f under mu and wakes who waits.
func (u *Upstream) change(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f()
	close(u.changed)
	u.changed = make(chan struct{})
}

func (u *Upstream) close() {
	u.change(func() {
		u.stopped = true
		for c := range u.conns {
			c.Close()
		}
	})
	close(u.stop)
	u.listener.Close()
	u.wg.Wait()
}

// accept is the goroutine that takes connections; it ends when the listener closes.
func (u *Upstream) accept() {
	for {
		conn, err := u.listener.Accept()
		if err != nil {
			return
		}
		var number int
		u.change(func() {
			if u.stopped {
				conn.Close()
			}
			u.conns[conn] = struct{}{}
			u.accepted++
			number = u.accepted
		})
		u.wg.Go(func() { u.serve(conn, number) })
	}
}

// serve is the goroutine of one connection; it ends when either side closes it.
func (u *Upstream) serve(tcp net.Conn, number int) {
	defer u.change(func() { delete(u.conns, tcp) })
	defer tcp.Close()
	conn := tcp
	if u.tls != nil {
		conn = tls.Server(tcp, u.tls)
	}
	r := bufio.NewReader(conn)
	for {
		rec, err := readHead(r)
		if err != nil {
			return
		}
		rec.Connection = number
		x := &Exchange{conn: conn, tcp: tcp, stop: u.stop, gone: make(chan struct{}), left: -1}
		var step Step
		u.change(func() {
			step = u.script[min(len(u.requests), len(u.script)-1)]
			u.requests = append(u.requests, rec)
			x.Request = *rec
		})
		if err := u.exchange(r, rec, x, step); err != nil {
			return
		}
	}
}

// exchange reads a request's body and takes the step. While the step runs a goroutine reads on, which notices a client that
// leaves; where the step is an early one it reads the body as well. The exchange ends when both have.
func (u *Upstream) exchange(r *bufio.Reader, rec *Recorded, x *Exchange, step Step) error {
	body := func() error {
		b, raw, err := readBody(r, rec.Header)
		u.change(func() { rec.Body, rec.RawBody, rec.Complete = b, raw, err == nil })
		return err
	}
	if !step.early {
		if strings.EqualFold(rec.Header.Get("Expect"), "100-continue") {
			if _, err := io.WriteString(x.conn, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
				return err
			}
		}
		if err := body(); err != nil {
			return err
		}
		x.Request = *rec
	}
	var watch sync.WaitGroup
	var left error // why nothing more can be read
	watch.Go(func() {
		if step.early {
			left = body()
		}
		if left == nil {
			_, left = r.Peek(1)
		}
		if left != nil {
			close(x.gone)
		}
	})
	x.left = step.cut
	err := x.run(step.actions)
	if err != nil {
		x.conn.Close() // TLS says goodbye first
	}
	watch.Wait()
	return errors.Join(err, left)
}

// readHead reads a request's head as it stands.
func readHead(r *bufio.Reader) (*Recorded, error) {
	rec := &Recorded{Header: http.Header{}}
	for first := true; ; first = false {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		rec.Head = append(rec.Head, line...)
		text := strings.TrimRight(string(line), "\r\n")
		switch {
		case first:
			parts := strings.SplitN(text, " ", 3)
			if len(parts) != 3 {
				return nil, fmt.Errorf("request line %q", text)
			}
			rec.Method, rec.Target = parts[0], parts[1]
		case text == "":
			return rec, nil
		default:
			name, value, _ := strings.Cut(text, ":")
			value = strings.Trim(value, " \t")
			rec.Fields = append(rec.Fields, [2]string{name, value})
			rec.Header.Add(name, value)
		}
	}
}

// readBody reads a body and returns what it says and how it stood on the wire, as far as it came.
func readBody(r *bufio.Reader, h http.Header) (body, raw []byte, err error) {
	if strings.EqualFold(h.Get("Transfer-Encoding"), "chunked") {
		return readChunks(r)
	}
	length := h.Get("Content-Length")
	if length == "" {
		return nil, nil, nil
	}
	n, err := strconv.ParseInt(length, 10, 64)
	if err != nil || n < 0 {
		return nil, nil, fmt.Errorf("content-length %q", length)
	}
	var b bytes.Buffer
	_, err = io.CopyN(&b, r, n)
	return b.Bytes(), b.Bytes(), err
}

func readChunks(r *bufio.Reader) (body, raw []byte, err error) {
	for {
		line, err := r.ReadBytes('\n')
		raw = append(raw, line...)
		if err != nil {
			return body, raw, err
		}
		size, _, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), ";")
		n, err := strconv.ParseInt(strings.TrimSpace(size), 16, 63)
		if err != nil || n < 0 {
			return body, raw, fmt.Errorf("chunk size %q", size)
		}
		if n == 0 {
			break
		}
		var b bytes.Buffer
		_, err = io.CopyN(&b, r, n+2)
		raw = append(raw, b.Bytes()...)
		body = append(body, b.Bytes()[:min(int64(b.Len()), n)]...)
		if err != nil {
			return body, raw, err
		}
		if !bytes.HasSuffix(b.Bytes(), []byte("\r\n")) {
			return body, raw, errors.New("a chunk does not end where it says")
		}
	}
	for {
		line, err := r.ReadBytes('\n')
		raw = append(raw, line...)
		if err != nil || len(bytes.TrimRight(line, "\r\n")) == 0 {
			return body, raw, err
		}
	}
}
