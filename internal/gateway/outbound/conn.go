package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/internal/gateway/ending"
	"gatehouse/internal/gateway/http1"
	"gatehouse/internal/gateway/socket"
)

const (
	// bufferSize holds the head and body of most answers, so that one read brings both. Bodies of any length pass through it or by it.
	bufferSize = 4 << 10
	// maxHead bounds an answer's head, and all informational heads before it each.
	maxHead = 64 << 10
)

// conn is a connection with its read buffer. One exchange owns it at a time; abort alone may be called from elsewhere.
type conn struct {
	endpoint *Endpoint
	raw      *net.TCPConn
	quick    *socket.Conn // raw with quicker calls; nil where there are none
	nc       net.Conn     // quick or raw, or TLS over wire over that
	wire     *wire        // nil without TLS

	buf  []byte // buf[r:w] was read and not used yet; nil while there is nothing in it
	r, w int

	readBy, writeBy time.Time // deadlines in force; zero: none
	born            time.Time
	now             time.Time // as the exchange last read the clock; zero: it has not
	looks           int       // sweeps that found it idle, without an exchange in between; guarded by the endpoint's mutex
	reused          bool

	// Made once, so that an exchange does not allocate them.
	abort func()
	await func(fd uintptr) bool
	n     int // what await read, and the error it met
	err   error
	vec   net.Buffers

	watched bool        // the end of the exchange closes the connection, by hook or by what stop undoes
	hook    ending.Hook // on the list of a context of our own
	stop    func() bool
	lent    atomic.Int32 // to whom: see lentOut
}

func newConn(e *Endpoint, raw *net.TCPConn) *conn {
	c := &conn{endpoint: e, raw: raw, nc: raw, quick: socket.New(raw), born: time.Now()}
	if c.quick != nil {
		c.nc = c.quick
	}
	c.abort = func() { _ = raw.Close() } // whoever reads or writes it sees that; there is nobody else to tell
	c.await = c.tryRead
	return c
}

func (c *conn) handshake(ctx context.Context, cfg *tls.Config) error {
	c.wire = &wire{Conn: c.nc}
	session := tls.Client(c.wire, cfg)
	if err := session.HandshakeContext(ctx); err != nil {
		return err
	}
	c.nc = session
	return nil
}

// wire is the connection under a TLS session.
type wire struct {
	net.Conn
	dry bool // reads find nothing, without asking the kernel
	cut bool // the connection ended; under a session that had ended before, nobody would have read that far
}

func (w *wire) Read(p []byte) (int, error) {
	if w.dry {
		return 0, os.ErrDeadlineExceeded // which a TLS session survives
	}
	n, err := w.Conn.Read(p)
	if err == io.EOF {
		w.cut = true
	}
	return n, err
}

// clean reports whether nothing of the peer's is left over in our buffers: bytes after an answer would be taken for the head of
// the next one, which is another caller's. What may still lie in the kernel is quiet's to see, before the next exchange.
func (c *conn) clean() bool {
	if c.r != c.w {
		return false
	}
	if c.wire == nil {
		return true
	}
	var b [1]byte
	c.wire.dry = true
	n, err := c.nc.Read(b[:])
	c.wire.dry = false
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

// quiet reports whether an idle connection has nothing to read. The end of the connection counts as something, and so does an
// answer nobody asked for.
//
// Where the kernel cannot be asked, a connection that its peer closed is found when it is used, and Error.Reused says so.
func (c *conn) quiet() bool { return c.quick == nil || c.quick.Quiet() }

// watch makes the end of ctx close the connection; release undoes it.
func (c *conn) watch(ctx context.Context) {
	c.stop = ending.Link(ctx, &c.hook, (*cancelled)(c))
	c.watched = true
}

// cancelled closes a connection whose exchange has ended before its time.
type cancelled conn

// Tell implements ending.Teller. Under a pump the connection is shut down, which its peer sees as well, and closed when the pump has
// stopped.
func (c *cancelled) Tell() {
	if c.lent.Swap(lentCancelled) == lentOut {
		_ = c.raw.CloseRead() // they fail where the peer has gone; there is nobody else to tell
		_ = c.raw.CloseWrite()
		return
	}
	c.abort()
}

// unwatch reports whether the connection was left alone: false means that it is being closed.
func (c *conn) unwatch() bool {
	watched, stop := c.watched, c.stop
	c.watched, c.stop = false, nil
	switch {
	case !watched:
		return true
	case stop == nil:
		return c.hook.Off()
	}
	return stop()
}

// release ends the exchange: a connection that may serve another one goes back to the pool.
func (c *conn) release(reusable bool) {
	if !c.unwatch() || !reusable || !c.clean() {
		c.abort()
		c.dropBuffer()
		return
	}
	c.r, c.w = 0, 0
	c.dropBuffer()
	c.endpoint.put(c)
}

// inputs are read buffers. A connection has one only while there is something in it: thousands of streams wait at a time.
var inputs = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// takeBuffer makes sure that there is a buffer.
func (c *conn) takeBuffer() {
	if c.buf == nil {
		c.buf = inputs.Get().(*[bufferSize]byte)[:]
	}
}

// dropBuffer gives the buffer back. What was in it may be somebody's answer: it is not read again before it is overwritten.
func (c *conn) dropBuffer() {
	if len(c.buf) == bufferSize {
		inputs.Put((*[bufferSize]byte)(c.buf))
	}
	c.buf = nil
}

// fresh reads into an empty buffer, which is not held while nothing comes.
func (c *conn) fresh() error {
	if !c.direct() { // a session has buffers of its own
		c.r, c.w = 0, 0
		c.takeBuffer()
		n, err := c.read(c.buf)
		c.w = n
		return err
	}
	c.begin()
	if err := c.quick.Await(c.await); err != nil {
		return err
	}
	return c.arrived()
}

// askFresh is fresh once p is written: see socket.Conn.Ask.
func (c *conn) askFresh(p []byte) (int, error) {
	c.begin()
	n, err := c.quick.Ask(p, c.await)
	if n == len(p) && err == nil {
		err = c.arrived()
	}
	return n, err
}

// direct reports whether what is read and written are the bytes of the socket.
func (c *conn) direct() bool { return c.quick != nil && c.nc == net.Conn(c.quick) }

// begin makes the connection ready for await.
func (c *conn) begin() {
	c.r, c.w = 0, 0
	if len(c.buf) > bufferSize {
		c.buf = nil // a head had needed it
	}
	c.n, c.err = 0, nil
}

// arrived takes what await read.
func (c *conn) arrived() error {
	c.w = c.n
	if c.err == nil && c.n == 0 {
		return io.EOF
	}
	return c.err
}

// tryRead reads what is there and reports whether that was anything, the end of the connection included.
func (c *conn) tryRead(fd uintptr) bool {
	c.takeBuffer()
	c.n, c.err = socket.TryRead(fd, c.buf)
	if c.err == socket.ErrNothing {
		c.dropBuffer()
		return false
	}
	return true
}

// hangUp closes an idle connection, with TLS's own goodbye where there is TLS.
func (c *conn) hangUp() {
	_ = c.nc.Close() // nothing is under way on it
}

// readLimit makes reads fail after between d and 5/4 d of silence; 0 means never. A deadline in that range is left alone, so
// that a stream of chunks sets one a few times per d and not for each.
func (c *conn) readLimit(d time.Duration) error {
	if d <= 0 {
		if c.readBy.IsZero() {
			return nil
		}
		c.readBy = time.Time{}
		return c.raw.SetReadDeadline(c.readBy)
	}
	now := time.Now()
	c.now = now
	if left := c.readBy.Sub(now); left >= d && left <= d+d/4 {
		return nil
	}
	c.readBy = now.Add(d + d/4)
	return c.raw.SetReadDeadline(c.readBy)
}

// readWithin makes reads fail after d.
func (c *conn) readWithin(d time.Duration) error {
	c.readBy = time.Now().Add(d)
	return c.raw.SetReadDeadline(c.readBy)
}

// writeLimit is readLimit for writes.
func (c *conn) writeLimit(d time.Duration) error {
	if d <= 0 {
		if c.writeBy.IsZero() {
			return nil
		}
		c.writeBy = time.Time{}
		return c.raw.SetWriteDeadline(c.writeBy)
	}
	now := time.Now()
	if left := c.writeBy.Sub(now); left >= d && left <= d+d/4 {
		return nil
	}
	c.writeBy = now.Add(d + d/4)
	return c.raw.SetWriteDeadline(c.writeBy)
}

var (
	errBareLF    = malformed(http1.ErrBareLF.Error())
	errLongLine  = errors.New("malformed answer: a line is too long")
	errLongHead  = fmt.Errorf("malformed answer: its head is longer than %d bytes", maxHead)
	errNoMessage = errors.New("malformed answer: it begins with an empty line")
)

// read reads from the connection into p. At least one byte or an error.
func (c *conn) read(p []byte) (int, error) {
	n, err := c.nc.Read(p)
	if n > 0 {
		return n, nil // the error comes again with the next read
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return 0, err
}

// fill reads more into the buffer, moving what is there to its beginning when there is no room behind it.
func (c *conn) fill() error {
	switch {
	case c.r == c.w:
		return c.fresh()
	case c.w == len(c.buf):
		if c.r == 0 {
			return errLongLine
		}
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	}
	n, err := c.read(c.buf[c.w:])
	c.w += n
	return err
}

// head reads the next head and returns its lines, each with its CRLF, without the empty line that ends them. It is valid until
// the next read. The buffer grows for a head that needs it, up to maxHead.
func (c *conn) head() ([]byte, error) {
	if c.r == c.w {
		if err := c.fresh(); err != nil {
			return nil, err
		}
	}
	if c.r > 0 {
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	}
	begin, seen := 0, 0 // of the line under way; what was searched
	for {
		for {
			i := bytes.IndexByte(c.buf[seen:c.w], '\n')
			if i < 0 {
				seen = c.w
				break
			}
			lf := seen + i
			if lf == begin || c.buf[lf-1] != '\r' {
				return nil, errBareLF
			}
			if lf-1 == begin {
				if begin == 0 {
					return nil, errNoMessage
				}
				c.r = lf + 1
				return c.buf[:begin], nil
			}
			begin, seen = lf+1, lf+1
		}
		if c.w >= maxHead {
			return nil, errLongHead
		}
		if c.w == len(c.buf) {
			grown := make([]byte, min(2*len(c.buf), maxHead))
			copy(grown, c.buf[:c.w])
			c.buf = grown
		}
		n, err := c.read(c.buf[c.w:])
		if err != nil {
			if err == io.EOF && c.w > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		c.w += n
	}
}
