package inbound

import (
	"errors"
	"fmt"
	"io"
	"time"

	"gatehouse/internal/gateway/http1"
)

// body reads a request's body from its connection, which it never leaves ahead of: where it ends the next request begins.
type body struct {
	c       *conn
	left    int64 // of a body that is not chunked: bytes until its end
	chunked bool
	chunks  http1.Chunks
	err     error // what every later Read returns; io.EOF: the body was read to its end
}

// maxExtra bounds what a chunked body may hold beside data, below what net/http takes.
const maxExtra = 2 << 10

var (
	errBodyClosed = errors.New("read of a request body that was closed")
	errLongLine   = errors.New("a line is too long")
	errLate       = errors.New("inbound: the request has ended")
)

// openBody returns the body as its handler reads it.
func (c *conn) openBody() io.ReadCloser {
	if lateUseIsFatal {
		return &guardedBody{c: c, serial: c.serial.Load()}
	}
	return &c.body
}

// guardedBody fails whoever reads the body of a request that has ended.
type guardedBody struct {
	c      *conn
	serial uint64
}

func (g *guardedBody) Read(p []byte) (int, error) {
	if g.c.serial.Load() > g.serial+1 {
		panic(errLate)
	}
	return g.c.body.Read(p)
}

func (g *guardedBody) Close() error { return g.c.body.Close() }

func (g *guardedBody) Arrived() bool { return g.c.body.Arrived() }

// Read reads what has arrived, at least one byte, and waits only when there is none. The end may come together with the last
// bytes.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	if b.c == nil {
		return 0, errLate
	}
	n, err := b.read(p)
	if err != nil {
		b.err = err
		if err == io.EOF {
			b.c.emptied()
		}
	}
	return n, err
}

// Close makes later reads fail. What was not read is skipped when the handler has returned.
func (b *body) Close() error {
	if b.err == nil {
		b.err = errBodyClosed
	}
	return nil
}

// Arrived reports whether all of the body is in memory: reading it waits for nobody.
func (b *body) Arrived() bool {
	return b.c != nil && b.err == nil && !b.chunked && b.left <= int64(b.c.in.w-b.c.in.r)
}

func (b *body) read(p []byte) (int, error) {
	if b.chunked {
		return b.readChunked(p)
	}
	n, err := b.readData(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if b.left == 0 {
		return n, io.EOF
	}
	return n, err
}

// readData reads bytes that need no decoding: what is buffered, else straight from the connection when p is large.
func (b *body) readData(p []byte) (int, error) {
	in := b.c.in
	if in.r == in.w {
		if len(p) >= inputSize/4 {
			n, err := b.c.read(p)
			return n, inside(err)
		}
		if err := b.c.more(); err != nil {
			return 0, err
		}
	}
	n := copy(p, in.buf[in.r:in.w])
	in.r += n
	return n, nil
}

// more reads into the buffer, moving what is there to its beginning when there is no room behind it.
func (c *conn) more() error {
	in := c.in
	switch {
	case in.r == in.w:
		in.r, in.w = 0, 0
	case in.w == len(in.buf):
		if in.r == 0 {
			return malformed(errLongLine)
		}
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	n, err := c.read(in.buf[in.w:])
	in.w += n
	return inside(err)
}

// inside turns the end of the connection into what it is in the middle of a body.
func inside(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// emptied gives the read buffer back once nothing is left in it, so that it is not held while the handler waits.
func (c *conn) emptied() {
	if c.in.r == c.in.w {
		c.release()
	}
}

// readChunked decodes as much as is there; it waits only while p is empty.
func (b *body) readChunked(p []byte) (n int, err error) {
	in := b.c.in
	for n < len(p) {
		if left := b.chunks.Left; left > 0 {
			if in.r == in.w && n > 0 {
				return n, nil
			}
			m, err := b.readData(p[n:][:min(int64(len(p)-n), left)])
			n += m
			b.chunks.Left -= int64(m)
			if err != nil {
				return n, err
			}
			continue
		}
		line, whole, err := http1.CutLine(in.buf[in.r:in.w])
		switch {
		case err != nil:
			return n, malformed(err)
		case whole == 0 && n > 0:
			return n, nil
		case whole == 0:
			if err := b.c.more(); err != nil {
				return n, err
			}
			continue
		}
		in.r += whole
		if err := b.chunks.Line(line); err != nil {
			return n, malformed(err)
		}
	}
	return n, nil
}

// malformed says what the error is about, unless it is the end.
func malformed(err error) error {
	if err == io.EOF {
		return err
	}
	return fmt.Errorf("malformed request body: %w", err)
}

// ended reports whether the body was read to its end.
func (b *body) ended() bool { return b.err == io.EOF }

// skip reads what the handler did not want, as far as that is worth the connection; true: the next request may come.
func (b *body) skip() bool {
	if b.ended() {
		return true
	}
	if b.err != nil && b.err != errBodyClosed || !b.chunked && b.left > maxSkip {
		return false
	}
	b.err = nil
	b.c.reading.reset()
	_ = b.c.SetReadDeadline(time.Now().Add(skipTime)) // no read is under way: it cannot fail
	scratch := bufferPool.Get().(*[]byte)
	defer bufferPool.Put(scratch)
	for total := 0; total <= maxSkip; {
		n, err := b.Read((*scratch)[:cap(*scratch)])
		if total += n; err != nil {
			return err == io.EOF
		}
	}
	return false
}
