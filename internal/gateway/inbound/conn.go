package inbound

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gatehouse/internal/gateway/socket"
)

// The states of a connection, for who wants to close it while nothing is under way.
const (
	stateIdle   int32 = iota // waits for the first byte of a request
	stateActive              // a request has begun
	stateClosed
)

// conn is one caller's connection and all that its requests need. Its goroutine owns it, but for what says otherwise.
type conn struct {
	srv     *Server
	raw     net.Conn
	sys     syscall.RawConn
	nc      net.Conn  // raw, with quicker calls where there are any, or the session over that
	session *tls.Conn // nil without TLS

	state   atomic.Int32
	serial  atomic.Uint64 // odd while a handler runs
	watched uint64        // guarded by Server.mu, as are the two that follow: serial at the last look
	idle    waiting       // for a request
	slow    waiting       // for a write
	ctx     *requestContext
	look    func(fd uintptr) // the watching goroutine's, as is gone
	gone    bool

	in      *input // nil while there is nothing to read into
	reading limits
	writing limits

	base   *http.Request // what every request on this connection has in common
	req    *http.Request
	url    url.URL
	header requestHeader
	body   body
	res    *response

	vector net.Buffers
	pieces [3][]byte
}

// errUnwatchable refuses a connection that is no socket.
var errUnwatchable = errors.New("the kernel cannot be asked about this connection")

func newConn(s *Server, nc net.Conn) (*conn, error) {
	asked, ok := nc.(syscall.Conn)
	if !ok || !canWatch {
		return nil, errUnwatchable
	}
	sys, err := asked.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &conn{srv: s, raw: nc, nc: nc, sys: sys}
	if tcp, ok := nc.(*net.TCPConn); ok {
		if quick := socket.New(tcp); quick != nil {
			c.nc = quick
		}
	}
	c.ctx = newRequestContext(c)
	if s.cfg.TLS != nil {
		c.session = tls.Server(c.nc, s.cfg.TLS)
		c.nc = c.session
	}
	return c, nil
}

// serve serves requests until the connection ends or is handed over.
func (c *conn) serve() {
	defer func() {
		c.srv.forget(c)
		c.release()
	}()
	if c.session != nil && !c.handshake() {
		return
	}
	c.base = (&http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: c.raw.RemoteAddr().String()}).WithContext(c.ctx)
	if c.session != nil {
		state := c.session.ConnectionState()
		c.base.TLS = &state
	}
	_ = c.SetReadDeadline(time.Now().Add(c.srv.cfg.ReadHeaderTimeout)) // for the first byte; no read is under way: it cannot fail
	for {
		switch c.head() {
		case foreign:
			c.handOver()
			return
		case ambiguous:
			const answer = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request: lines must end in CRLF and not continue, and a body has one framing"
			if c.writeAll([]byte(answer), nil, "") == nil {
				c.linger()
			}
			c.close()
			return
		case broken:
			c.close()
			return
		}
		if !c.exchange() {
			c.close()
			return
		}
		c.reading.reset()
		if !c.state.CompareAndSwap(stateActive, stateIdle) || c.srv.draining.Load() {
			c.close()
			return
		}
	}
}

// handshake makes the session; false: the connection is over, or net/http's.
func (c *conn) handshake() bool {
	_ = c.raw.SetDeadline(time.Now().Add(c.srv.cfg.ReadHeaderTimeout)) // it fails on a closed connection, and so does the handshake
	if err := c.session.Handshake(); err != nil {
		if re, ok := errors.AsType[tls.RecordHeaderError](err); ok && re.Conn != nil && looksLikeHTTP(re.RecordHeader) {
			_, _ = io.WriteString(re.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n") // best effort
			err = errors.New("the client speaks HTTP without TLS")
		}
		c.srv.cfg.ErrorLog.Printf("TLS handshake with %s: %v", c.raw.RemoteAddr(), err)
		c.close()
		return false
	}
	_ = c.raw.SetDeadline(time.Time{}) // it fails on a closed connection, and so does the next read
	if c.session.ConnectionState().NegotiatedProtocol == "h2" {
		if c.state.CompareAndSwap(stateIdle, stateActive) {
			c.srv.handed.give(c.session)
		}
		return false
	}
	return true
}

// looksLikeHTTP reports whether the first bytes of a connection that should speak TLS are those of a request.
func looksLikeHTTP(b [5]byte) bool {
	switch string(b[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PATCH", "DELET":
		return true
	}
	return false
}

// handOver gives the connection to net/http with what was read of it.
func (c *conn) handOver() {
	rest := append([]byte(nil), c.in.buf[c.in.r:c.in.w]...)
	c.release()
	_ = c.raw.SetDeadline(time.Time{}) // it fails on a closed connection, and so does the next read
	if c.session != nil {
		c.srv.handed.give(&replaySession{replay: replay{Conn: c.session, rest: rest}, session: c.session})
		return
	}
	c.srv.handed.give(&replay{Conn: c.raw, rest: rest}) // whose calls many goroutines may make at a time
}

// exchange calls the handler with the request that was read, and brings the connection to the end of it; false: the connection
// ends too.
func (c *conn) exchange() (again bool) {
	c.begin()
	ended := false
	defer func() {
		if ended {
			return
		}
		// The handler panicked: what is out must not look complete.
		reason := recover()
		if reason != nil && reason != http.ErrAbortHandler {
			c.srv.cfg.ErrorLog.Printf("panic serving %s: %v\n%s", c.raw.RemoteAddr(), reason, debug.Stack())
		}
		c.ctx.end()
		c.res.abort()
		c.res.end()
		again = false
	}()
	c.srv.cfg.Handler.ServeHTTP(c.res, c.req)
	c.ctx.end()
	again = c.res.finish()
	ended = true
	if again = again && c.body.skip(); !again {
		c.linger()
	}
	c.forget()
	return again
}

// begin makes the objects of the next request ready.
func (c *conn) begin() {
	if c.req == nil || lateUseIsFatal {
		c.req, c.res = new(http.Request), &response{c: c, header: make(http.Header, 8)}
	}
	c.reading.reset()
	c.writing.reset()
	*c.req = *c.base
	c.fill(c.req)
	c.res.begin(c.req)
	c.ctx.begin()
}

// forget drops what belongs to the last request, so that an idle connection holds nothing of it.
func (c *conn) forget() {
	c.res.end()
	if lateUseIsFatal && len(c.header.names) > 0 {
		c.header.mustBeWhole()
	}
	c.header.forget()
	*c.req = http.Request{}
	c.url = url.URL{}
	c.body = body{}
}

// closeIdle closes the connection unless a request is under way.
func (c *conn) closeIdle() {
	if c.state.CompareAndSwap(stateIdle, stateClosed) {
		_ = c.raw.Close() // nobody was promised anything on it
	}
}

// expire ends a connection that waits for a request, unless one is under way after all: the read fails, and who waits for it says
// goodbye.
func (c *conn) expire() {
	if c.state.CompareAndSwap(stateIdle, stateClosed) {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // it fails where the connection is closed already
	}
}

// kill closes the connection whatever is under way, and cancels that. It may be called from anywhere.
func (c *conn) kill() {
	c.state.Store(stateClosed)
	_ = c.raw.Close() // it is over either way
	c.ctx.cancel(c.serial.Load())
}

// callerLeft reports whether the caller has closed its side. Only the watching goroutine may ask.
func (c *conn) callerLeft() bool {
	if c.look == nil {
		c.look = func(fd uintptr) { c.gone = callerGone(fd, c.session != nil) }
	}
	return c.sys.Control(c.look) != nil || c.gone
}

// close ends the connection, with TLS's goodbye where there is TLS.
func (c *conn) close() {
	if c.session != nil {
		_ = c.raw.SetWriteDeadline(time.Now().Add(time.Second)) // for the goodbye; it is over either way
	}
	_ = c.nc.Close() // likewise
}

const (
	// lingerTime is how long a connection that ends is still read, so that a caller that sends finds the answer: one that is closed
	// while its peer sends is reset, and the reset takes the answer with it.
	lingerTime = 500 * time.Millisecond
	// lingerSize is how much of it is read. A caller that writes fast must have time to find the answer, too.
	lingerSize = 16 << 20
	// maxSkip is how much of a body that its handler did not want is read for the sake of the connection.
	maxSkip = 256 << 10
	// skipTime is how long that may take.
	skipTime = 5 * time.Second
)

// linger ends our side and reads for a moment what the caller may still be sending.
func (c *conn) linger() {
	if c.body.ended() {
		return
	}
	if closeWrite(c.nc) != nil {
		return
	}
	c.reading.reset()
	_ = c.SetReadDeadline(time.Now().Add(lingerTime)) // no read is under way: it cannot fail
	scratch := bufferPool.Get().(*[]byte)
	defer bufferPool.Put(scratch)
	for total := 0; total < lingerSize; {
		n, err := c.read((*scratch)[:cap(*scratch)])
		if total += n; err != nil {
			return
		}
	}
}

// limits are the deadlines of one direction. A deadline that is asked for is put in force when something waits, or is about to.
type limits struct {
	mu    sync.Mutex
	busy  bool      // guarded by mu, as are the rest; a call is under way
	calls uint64    // that were made
	want  time.Time // zero: none
	force time.Time // what the connection was told
}

func (l *limits) reset() {
	l.mu.Lock()
	l.want = time.Time{}
	l.mu.Unlock()
}

// ask changes what is wanted, at once where a call is under way. It may be called from anywhere.
func (l *limits) ask(t time.Time, set func(time.Time) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.want = t
	if l.busy && !l.force.Equal(t) {
		l.force = t
		return set(t)
	}
	return nil
}

// enter puts in force what is wanted.
func (l *limits) enter(set func(time.Time) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = true
	l.calls++
	if l.force.Equal(l.want) {
		return nil
	}
	l.force = l.want
	return set(l.want)
}

// expire makes the call under way fail if it has lasted for span and nobody has asked for a deadline; w measures it, at each look, and
// now is when the look began.
func (l *limits) expire(w *waiting, now time.Time, span time.Duration, set func(time.Time) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	call := l.calls
	if !l.busy || !l.want.IsZero() {
		call = 0
	}
	if w.over(call, now, span) {
		l.force = time.Unix(1, 0)
		_ = set(l.force) // it fails on a closed connection, where the call fails too
	}
}

func (l *limits) leave() {
	l.mu.Lock()
	l.busy = false
	l.mu.Unlock()
}

// SetReadDeadline bounds the reading of the request's body.
func (c *conn) SetReadDeadline(t time.Time) error { return c.reading.ask(t, c.raw.SetReadDeadline) }

// SetWriteDeadline bounds the writing of the answer.
func (c *conn) SetWriteDeadline(t time.Time) error { return c.writing.ask(t, c.raw.SetWriteDeadline) }

// read reads from the connection: at least one byte, or an error.
func (c *conn) read(p []byte) (int, error) {
	if err := c.reading.enter(c.raw.SetReadDeadline); err != nil {
		c.reading.leave()
		return 0, err
	}
	n, err := c.nc.Read(p)
	c.reading.leave()
	if n > 0 {
		return n, nil // the error comes again with the next read
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return 0, err
}

// writeAll writes pieces with one system call; under TLS there is only a head. A failure cancels the request.
func (c *conn) writeAll(head, middle []byte, tail string) error {
	if err := c.writing.enter(c.raw.SetWriteDeadline); err != nil {
		c.writing.leave()
		return err
	}
	var err error
	if len(middle) == 0 {
		_, err = c.nc.Write(head)
	} else {
		c.pieces = [3][]byte{head, middle, []byte(tail)}
		c.vector = c.pieces[:]
		_, err = c.vector.WriteTo(c.nc)
		c.pieces = [3][]byte{}
	}
	c.writing.leave()
	if err != nil {
		c.ctx.cancel(c.serial.Load())
	}
	return err
}
