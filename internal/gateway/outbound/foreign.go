package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync"
	"time"
)

// newTransport returns net/http's transport with this package's rules: the guarded dialer, no proxy, no decompression. Redirects
// are not followed because a RoundTripper never does.
func (e *Endpoint) newTransport() *http.Transport {
	protocols := &http.Protocols{}
	tr := &http.Transport{
		Proxy:                  nil,
		DialContext:            e.dialer.DialContext,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    e.maxIdle,
		IdleConnTimeout:        e.idleTimeout,
		MaxResponseHeaderBytes: maxHead,
		Protocols:              protocols,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
	if e.tls == nil {
		protocols.SetUnencryptedHTTP2(true)
		return tr
	}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	tr.TLSClientConfig = e.tls.Clone()
	tr.TLSClientConfig.NextProtos = nil // the transport's to set
	return tr
}

// The causes with which a limit ends a foreign exchange.
var (
	errFirstByte = &limitError{"no answer within the time limit"}
	errIdle      = &limitError{"silence for longer than the time limit"}
	errConnect   = &limitError{"no connection within the time limit"}
)

type limitError struct{ text string }

func (e *limitError) Error() string { return e.text }

// Timeout is true, as for the deadline of a connection.
func (e *limitError) Timeout() bool { return true }

// phase is how far a foreign exchange has come; it only rises.
type phase uint8

const (
	connecting phase = iota
	writing
	waiting
	reading
)

// foreign is an exchange of net/http's, whose limits are kept by a timer that cancels its context.
type foreign struct {
	outer  context.Context // the caller's; inner ends when a limit strikes, too
	inner  context.Context
	cancel context.CancelCauseFunc
	rc     io.ReadCloser
	idle   time.Duration
	body   gate

	// net/http reports on its own goroutines, and some of it late.
	mu        sync.Mutex
	phase     phase
	timer     *time.Timer
	reused    bool
	handshake bool // the TLS handshake failed
}

// foreignDo is Do over net/http's transport.
func (e *Endpoint) foreignDo(ctx context.Context, req *Request, t Timeouts) (*Response, error) {
	x := &foreign{outer: ctx, idle: t.Idle}
	x.inner, x.cancel = context.WithCancelCause(ctx)
	hr, err := x.request(e, req, t)
	if err != nil {
		x.cancel(nil)
		return nil, &Error{Op: OpRequest, Err: err}
	}
	x.enter(connecting, t.Connect, errConnect)
	r, err := e.transport.RoundTrip(hr)
	// From here on the caller may use its body again: the gate waits for a read under way and admits none after.
	x.body.shut()
	if err != nil {
		f := x.failed(err)
		x.enter(reading, 0, nil)
		x.cancel(nil)
		return nil, f
	}
	x.enter(reading, 0, nil)
	x.rc = r.Body
	resp := req.response()
	resp.Status, resp.ContentLength = r.StatusCode, r.ContentLength
	resp.Body = &resp.body
	resp.body.alien, resp.body.framed.form = x, formForeign
	resp.Header.fields = foreignFields(r.Header, resp.fields[:0])
	return resp, nil
}

// enter begins a phase with its limit. One that comes late, as the report of a write that an answer overtook, changes nothing.
func (x *foreign) enter(p phase, limit time.Duration, cause error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if p < x.phase {
		return
	}
	x.phase = p
	if x.timer != nil {
		x.timer.Stop()
		x.timer = nil
	}
	if limit > 0 {
		x.timer = time.AfterFunc(limit, func() { x.cancel(cause) })
	}
}

// request returns req for net/http, with hooks that follow its phases.
func (x *foreign) request(e *Endpoint, req *Request, t Timeouts) (*http.Request, error) {
	target, err := url.ParseRequestURI(req.URI)
	if err != nil {
		return nil, errors.New("the request's URI cannot be parsed") // url.Error repeats it
	}
	target.Scheme, target.Host = "http", e.host
	if e.tls != nil {
		target.Scheme = "https"
	}
	ctx := httptrace.WithClientTrace(x.inner, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			x.mu.Lock()
			x.reused = info.Reused
			x.mu.Unlock()
			x.enter(writing, 0, nil)
		},
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			x.mu.Lock()
			x.handshake = err != nil
			x.mu.Unlock()
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				x.enter(waiting, t.FirstByte, errFirstByte)
			}
		},
	})
	hr := (&http.Request{
		Method: req.Method, URL: target, Host: e.host, Header: make(http.Header, len(req.Header)+2),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	hr.Header["User-Agent"] = []string{""} // none of net/http's
	for _, f := range req.Header {
		name := http.CanonicalHeaderKey(f.Name)
		if name == "User-Agent" {
			hr.Header.Del(name)
		}
		hr.Header[name] = append(hr.Header[name], f.Value)
	}
	if !req.Credential.Value.IsZero() {
		hr.Header[http.CanonicalHeaderKey(req.Credential.Name)] = []string{req.Credential.Value.Reveal()}
	}
	switch size := req.size(); {
	case req.Reader != nil && req.Length != 0:
		hr.Body, hr.ContentLength = &gated{gate: &x.body, r: req.Reader, left: req.Length}, req.Length
	case size > 0:
		open := func() (io.ReadCloser, error) {
			segments := make(net.Buffers, 0, len(req.Body))
			for _, s := range req.Body {
				segments = append(segments, s)
			}
			return &gated{gate: &x.body, r: &segments, left: size}, nil
		}
		hr.Body, _ = open()
		hr.ContentLength, hr.GetBody = size, open
	}
	return hr, nil
}

func foreignFields(h http.Header, fields []Field) []Field {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			fields = append(fields, Field{Name: name, Value: value})
		}
	}
	return fields
}

// failed tells what net/http's error means.
func (x *foreign) failed(err error) *Error {
	if refused, ok := errors.AsType[*refusedError](err); ok {
		return &Error{Op: OpGuard, Err: refused}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	op := OpDial
	switch {
	case x.body.failed() != nil:
		op, err = OpBody, x.body.failed()
	case x.phase == connecting && x.handshake:
		op = OpTLS
	case x.phase == writing:
		op = OpWrite
	case x.phase > writing:
		op = OpHead
	}
	f := x.failure(op, err)
	// net/http does not say how much it wrote: assume that it did.
	f.Wrote, f.Reused = x.phase > connecting, x.reused
	return f
}

// failure is the function failure, for a context that may have ended by our own limit.
func (x *foreign) failure(op string, err error) *Error {
	if limit, ok := errors.AsType[*limitError](context.Cause(x.inner)); ok && x.outer.Err() == nil {
		return &Error{Op: op, Timeout: true, Err: limit}
	}
	return failure(x.outer, op, err)
}

func (x *foreign) read(p []byte) (int, error) {
	x.enter(reading, x.idle, errIdle)
	n, err := x.rc.Read(p)
	x.enter(reading, 0, nil)
	if err == nil || err == io.EOF {
		return n, err
	}
	f := x.failure(OpRead, err)
	f.Wrote, f.Reused = true, x.reused
	return n, f
}

func (x *foreign) close() {
	x.cancel(nil)
	_ = x.rc.Close() // what was not read is given up
}

// gate lets net/http read a request's body until Do returns.
type gate struct {
	mu   sync.Mutex
	done bool
	err  error // why the body could not be read
}

// gated is one reading of a body.
type gated struct {
	gate *gate
	r    io.Reader
	left int64 // how many bytes are to come; -1: whatever comes
}

func (g *gated) Read(p []byte) (int, error) {
	g.gate.mu.Lock()
	defer g.gate.mu.Unlock()
	if g.gate.done {
		return 0, errEarly
	}
	if g.left == 0 {
		return 0, io.EOF
	}
	if g.left > 0 {
		p = p[:min(int64(len(p)), g.left)]
	}
	n, err := g.r.Read(p)
	if g.left > 0 {
		g.left -= int64(n)
		if err == io.EOF && g.left > 0 {
			err = errShort(g.left)
		}
	}
	if err != nil && err != io.EOF {
		g.gate.err = err
	}
	return n, err
}

// Close does nothing: the body is the caller's.
func (g *gated) Close() error { return nil }

func (g *gate) shut() {
	g.mu.Lock()
	g.done = true
	g.mu.Unlock()
}

func (g *gate) failed() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}
