package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/internal/gateway/socket"
)

const (
	// coalesce is up to what size head and body are copied together and written as one: cheaper than a vector of them, and one
	// record under TLS.
	coalesce = 16 << 10
	// smallBody is what any socket takes without a word from the peer; above it a write may wait and is limited.
	smallBody = 64 << 10
	// largeBody is from where the answer is read while the request is written, because a peer that has answered may read no more.
	largeBody = 256 << 10
	// earlyWait is how long the answer of a peer that broke off our write is waited for: it was sent before.
	earlyWait = 250 * time.Millisecond
	// maxInformational bounds the 1xx heads before an answer.
	maxInformational = 8
)

// buffers are for heads, and bodies that fit behind them.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, coalesce); return &b }}

// Do sends a request and returns the answer once its head is there. The error is an *Error. The end of ctx, also while the body
// is read later, closes the connection.
//
// A connection from the pool that turns out to be closed before one byte was written is replaced by a new one; beyond that
// nothing is tried twice: Error.Wrote and Error.Reused say what trying again would mean.
func (e *Endpoint) Do(ctx context.Context, req *Request, t Timeouts) (*Response, error) {
	if err := req.check(e.origin); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, failure(ctx, OpDial, ctx.Err())
	}
	if e.transport != nil {
		return e.foreignDo(ctx, req, t)
	}
	for c := e.take(); c != nil; c = e.take() {
		resp, err := c.exchange(ctx, req, t)
		if err == nil {
			return resp, nil
		}
		if err.Wrote || err.Op != OpWrite || ctx.Err() != nil {
			return nil, err
		}
		if err.Err != errStale {
			break
		}
	}
	c, err := e.dial(ctx, t.Connect)
	if err != nil {
		return nil, err
	}
	resp, err := c.exchange(ctx, req, t)
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// exchange sends the request on c and reads the answer's head. On failure c is closed.
func (c *conn) exchange(ctx context.Context, req *Request, t Timeouts) (*Response, *Error) {
	c.watch(ctx)
	b := buffers.Get().(*[]byte)
	head := req.appendHead((*b)[:0], c.endpoint.host)
	var resp *Response
	var err *Error
	switch n := req.size(); {
	case req.Reader == nil && c.mayAsk(int64(len(head))+n):
		resp, err = c.ask(ctx, req, head, n, t)
	case c.reused && !c.quiet():
		err = &Error{Op: OpWrite, Err: errStale}
	case req.Reader != nil || n > largeBody:
		resp, err = c.duplex(ctx, req, head, t)
	default:
		resp, err = c.simplex(ctx, req, head, n, t)
	}
	clear(head) // the credential was in it
	if cap(head) <= 2*coalesce {
		*b = head[:0]
		buffers.Put(b)
	}
	if err != nil {
		err.Reused = c.reused
		c.release(false)
		return nil, err
	}
	resp.body.ctx, resp.body.idle, resp.body.c = ctx, t.Idle, c
	resp.body.chunks.MaxExtra = maxExtra
	if resp.body.framed.form == formNone {
		resp.body.err = io.EOF
		resp.body.end(resp.body.framed.reuse)
	}
	return resp, nil
}

// errStale is met on a connection that was closed, or spoken on, while it was idle.
var errStale = errors.New("the connection ended while it was idle")

// mayAsk reports whether a request of that size, head and body, can be asked with ask.
func (c *conn) mayAsk(size int64) bool { return c.direct() && size <= coalesce }

// ask is simplex for a short request on a connection without TLS: it is written as the reader begins to wait for its answer, and a
// connection that was closed while it was idle is found in the same moment.
func (c *conn) ask(ctx context.Context, req *Request, head []byte, size int64, t Timeouts) (*Response, *Error) {
	if err := errors.Join(c.writeLimit(0), c.readLimit(t.FirstByte)); err != nil {
		return nil, failure(ctx, OpWrite, err)
	}
	whole := head
	for _, s := range req.Body {
		whole = append(whole, s...)
	}
	n, err := c.askFresh(whole)
	switch {
	case n == len(whole):
		var resp *Response
		if err == nil {
			resp, err = c.answer(req)
		}
		if err == nil {
			return resp, nil
		}
		f := failure(ctx, OpHead, err)
		f.Wrote = true
		return nil, f
	case err == socket.ErrSpoken && c.reused:
		return nil, &Error{Op: OpWrite, Err: errStale}
	case err == socket.ErrSpoken:
		// A peer that answers before it is asked, as one does that is overloaded: simplex reads what it says.
	case err != nil:
		return c.early(ctx, req, n > 0, err)
	}
	if _, err := c.nc.Write(whole[n:]); err != nil {
		return c.early(ctx, req, n > 0, err)
	}
	return c.awaitAnswer(ctx, req, t)
}

// simplex writes the request and then reads the answer.
func (c *conn) simplex(ctx context.Context, req *Request, head []byte, size int64, t Timeouts) (*Response, *Error) {
	limit := t.Idle
	if size <= smallBody {
		limit = 0
	}
	wrote, werr := false, c.writeLimit(limit)
	if werr == nil {
		wrote, werr = c.writeMemory(head, req.Body, size)
	}
	if werr != nil {
		return c.early(ctx, req, wrote, werr)
	}
	return c.awaitAnswer(ctx, req, t)
}

// awaitAnswer reads the answer to what was written.
func (c *conn) awaitAnswer(ctx context.Context, req *Request, t Timeouts) (*Response, *Error) {
	err := c.readLimit(t.FirstByte)
	if err == nil {
		var resp *Response
		if resp, err = c.answer(req); err == nil {
			return resp, nil
		}
	}
	f := failure(ctx, OpHead, err)
	f.Wrote = true
	return nil, f
}

// early ends an exchange whose request could not be written, wrote says whether any byte of it was: a peer that refuses a request may
// answer and close before it has read it all, and its answer says more than our error.
func (c *conn) early(ctx context.Context, req *Request, wrote bool, werr error) (*Response, *Error) {
	if wrote && ctx.Err() == nil && c.readLimit(earlyWait) == nil {
		if resp, err := c.answer(req); err == nil {
			resp.body.framed.reuse = false
			return resp, nil
		}
	}
	f := failure(ctx, OpWrite, werr)
	f.Wrote = wrote
	return nil, f
}

// writeMemory writes the head and a body in memory; wrote reports whether any byte left. Under TLS that means a whole record:
// of a part of one the peer can read nothing.
func (c *conn) writeMemory(head []byte, body [][]byte, size int64) (wrote bool, err error) {
	if int64(len(head))+size <= coalesce {
		for _, s := range body {
			head = append(head, s...)
		}
		n, err := c.nc.Write(head)
		return n > 0, err
	}
	if c.wire == nil {
		c.vec = append(c.vec[:0], head)
		c.vec = append(c.vec, body...)
		all := c.vec
		n, err := c.vec.WriteTo(c.nc)
		clear(all[:cap(all)])
		c.vec = all[:0]
		return n > 0, err
	}
	// Under TLS each write is a record: fill the first one.
	if len(body) > 0 && len(head) < coalesce {
		k := min(len(body[0]), coalesce-len(head))
		head = append(head, body[0][:k]...)
		n, err := c.nc.Write(head)
		if err != nil {
			return n > 0, err
		}
		if _, err := c.nc.Write(body[0][k:]); err != nil {
			return true, err
		}
		body = body[1:]
		head = nil
	}
	if len(head) > 0 {
		n, err := c.nc.Write(head)
		if err != nil {
			return n > 0, err
		}
	}
	for _, s := range body {
		if _, err := c.nc.Write(s); err != nil {
			return true, err
		}
	}
	return true, nil
}

// The states of a duplex exchange: whoever leaves writing first decides.
const (
	duplexWriting int32 = iota
	duplexWritten       // the whole request is on its way; the answer is awaited
	duplexEarly         // the answer, or the connection's end, came before that
	duplexBroken        // the write failed first
)

// duplex writes the request on the caller's goroutine, so that Request.Reader is never read by another, while a second goroutine
// waits for the answer's head and stops the write when it comes early. The second goroutine ends before duplex returns.
func (c *conn) duplex(ctx context.Context, req *Request, head []byte, t Timeouts) (*Response, *Error) {
	if err := errors.Join(c.readLimit(0), c.writeLimit(t.Idle)); err != nil {
		return nil, failure(ctx, OpWrite, err)
	}
	// The first write finds out whether an idle connection was still there, before anything is read from Reader.
	if n, err := c.nc.Write(head); err != nil {
		f := failure(ctx, OpWrite, err)
		f.Wrote = n > 0
		return nil, f
	}
	var state atomic.Int32
	var resp *Response
	var rerr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		resp, rerr = c.answer(req)
		if state.CompareAndSwap(duplexWriting, duplexEarly) {
			_ = c.raw.SetWriteDeadline(time.Unix(1, 0)) // it fails on a closed connection only, and then so does the write
		}
	}()
	op, werr := c.writeBody(req, &state, t.Idle)
	whole := werr == nil && state.CompareAndSwap(duplexWriting, duplexWritten)
	switch {
	case whole:
		if err := c.readLimit(t.FirstByte); err != nil {
			c.abort()
		}
	case op == OpBody:
		c.abort() // the peer must not wait for the rest
	case state.CompareAndSwap(duplexWriting, duplexBroken):
		// As in simplex: the answer may be there all the same.
		if c.readLimit(earlyWait) != nil {
			c.abort()
		}
	}
	<-done
	switch {
	case op == OpBody:
		f := failure(ctx, OpBody, werr)
		f.Wrote = true
		return nil, f
	case rerr == nil:
		resp.body.framed.reuse = resp.body.framed.reuse && whole
		return resp, nil
	case state.Load() == duplexBroken:
		f := failure(ctx, OpWrite, werr)
		f.Wrote = true
		return nil, f
	}
	f := failure(ctx, OpHead, rerr)
	f.Wrote = true
	return nil, f
}

// errEarly stops a write that nobody waits for any more.
var errEarly = errors.New("answered before the request was written")

// writeBody writes a body in pieces; op tells the reader's failure from the connection's.
func (c *conn) writeBody(req *Request, state *atomic.Int32, idle time.Duration) (op string, err error) {
	write := func(p []byte) error {
		for len(p) > 0 {
			piece := p[:min(len(p), largeBody)]
			if err := c.writeLimit(idle); err != nil {
				return err
			}
			// After the limit is set: the answer's goroutine changes the state first and then the limit, so that no order of the
			// two leaves a write waiting that was to be stopped.
			if state.Load() != duplexWriting {
				return errEarly
			}
			if _, err := c.nc.Write(piece); err != nil {
				return err
			}
			p = p[len(piece):]
		}
		return nil
	}
	if req.Reader == nil {
		for _, s := range req.Body {
			if err := write(s); err != nil {
				return OpWrite, err
			}
		}
		return OpWrite, nil
	}
	return c.copyBody(req, write)
}

const (
	pieceSize = 32 << 10
	pieceHead = 10 // room for a chunk's size and CRLF before the data
)

var pieces = sync.Pool{New: func() any { b := make([]byte, pieceHead+pieceSize+len("\r\n")); return &b }}

// copyBody copies Request.Reader, as it is or in chunks.
func (c *conn) copyBody(req *Request, write func([]byte) error) (op string, err error) {
	bp := pieces.Get().(*[]byte)
	defer pieces.Put(bp)
	buf := *bp
	left := req.Length
	for left != 0 {
		room := buf[pieceHead : pieceHead+pieceSize]
		if left > 0 {
			room = room[:min(int64(len(room)), left)]
		}
		n, rerr := req.Reader.Read(room)
		if n > 0 {
			piece := room[:n]
			if left < 0 {
				piece = inChunk(buf, n)
			} else {
				left -= int64(n)
			}
			if err := write(piece); err != nil {
				return OpWrite, err
			}
		}
		switch {
		case rerr == io.EOF && left > 0:
			return OpBody, errShort(left)
		case rerr == io.EOF && left < 0:
			if err := write([]byte("0\r\n\r\n")); err != nil {
				return OpWrite, err
			}
			return OpWrite, nil
		case rerr != nil && rerr != io.EOF:
			return OpBody, rerr
		}
	}
	return OpWrite, nil
}

// errShort is the failure of a Reader that gives less than was announced.
func errShort(missing int64) error {
	return fmt.Errorf("the body ends %d bytes before its announced length: %w", missing, io.ErrUnexpectedEOF)
}

// inChunk puts a chunk's frame around the n bytes at buf[pieceHead:].
func inChunk(buf []byte, n int) []byte {
	var size [pieceHead]byte
	line := append(strconv.AppendInt(size[:0], int64(n), 16), '\r', '\n')
	begin := pieceHead - len(line)
	copy(buf[begin:], line)
	end := pieceHead + n
	buf[end], buf[end+1] = '\r', '\n'
	return buf[begin : end+2]
}

// answer reads heads until one is final.
func (c *conn) answer(req *Request) (*Response, error) {
	for range maxInformational + 1 {
		head, err := c.head()
		if err != nil {
			return nil, err
		}
		status, http10, err := parseStatus(head)
		if err != nil {
			return nil, err
		}
		if status == 101 {
			return nil, malformed("it switches protocols, which was not asked for")
		}
		resp := req.response()
		resp.body.framed, err = resp.parse(head, status, http10, req.Method)
		if err != nil {
			return nil, err
		}
		if status >= 200 {
			return resp, nil
		}
		if resp.body.framed.form == formLength || resp.body.framed.form == formChunked {
			return nil, malformed("an informational head announces a body")
		}
	}
	return nil, malformed("too many informational heads")
}
