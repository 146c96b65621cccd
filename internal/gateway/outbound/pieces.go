package outbound

import (
	"errors"
	"io"
	"iter"
	"net"
	"os"
	"sync"
	"time"

	"gatehouse/internal/gateway/http1"
	"gatehouse/internal/gateway/socket"
)

// pieceBuffers are what bodies are read through that cannot be handed on where they lie.
var pieceBuffers = sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}

// Pieces yields what r gives, each piece as soon as it is there, and then r's error unless that is io.EOF. A piece is valid until
// the next.
func Pieces(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) { pull(r, func() {}, yield) }
}

// Pieces yields the rest of the body like the function, for bodies whose pieces are small and wait for each other: it costs less
// than Read, and nothing is held while nothing comes. That the connection ended together with a piece may be noticed up to a second
// after that. The body must not be closed before the loop over it has ended.
func (b *Body) Pieces() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if b.err == nil && b.alien == nil && b.framed.form == formChunked && b.c.direct() {
			b.pump(yield)
			return
		}
		pull(b, b.await, yield)
	}
}

// pull reads r to its end; await waits until there is something to read.
func pull(r io.Reader, await func(), yield func([]byte, error) bool) {
	for more := true; more; {
		await()
		more = pullOne(r, yield)
	}
}

func pullOne(r io.Reader, yield func([]byte, error) bool) (more bool) {
	p := pieceBuffers.Get().(*[]byte)
	defer pieceBuffers.Put(p)
	n, err := r.Read(*p)
	if n > 0 && !yield((*p)[:n], nil) {
		return false
	}
	if err != nil && err != io.EOF {
		yield(nil, err)
	}
	return err == nil
}

// await waits until there is something to read, if only the news that the body is broken, so that a buffer to read it into need not
// be held meanwhile.
func (b *Body) await() {
	if b.err == nil && b.alien == nil && b.waited == nil && b.c.r == b.c.w && b.framed.form != formNone {
		b.waited = b.fill()
	}
}

// pump hands on a chunked body from within one wait for its connection, which lasts as long as the body. The runtime forgets at the
// beginning of a wait what the kernel told it before, so that each wait must begin with a read, most of which find nothing. Within one
// wait a read that did not fill its buffer has taken all there was, and whatever comes later wakes us.
//
// All but the end, or the failure, of a connection that came together with the last bytes: the kernel has told of both at once. So when
// nothing else has come for a while, a read makes up for the one that was left out.
type pump struct {
	b      *Body
	yield  func([]byte, error) bool
	more   bool  // yield wants more
	err    error // why it is over; io.EOF: the body has ended
	doubts bool  // the deadline in force is that of doubt
}

// doubt is how much later a pump may find out that the connection ended with the last bytes.
const doubt = time.Second

func (b *Body) pump(yield func([]byte, error) bool) {
	p := &pump{b: b, yield: yield, more: true}
	if b.c.lend() {
		p.run()
		b.c.giveBack() // a loop that panics leaves it lent: a connection whose body was left is closed
	} else {
		p.err = net.ErrClosed
	}
	if p.err == nil {
		return // who ranges over it had enough
	}
	if err := b.finish(p.err); err != io.EOF && p.more {
		yield(nil, err)
	}
}

func (p *pump) run() {
	c := p.b.c
	for more := p.handOn(); more; more = p.more && p.err == nil { // at first what came with the head
		if p.err = c.readLimit(p.b.idle); p.err != nil {
			return
		}
		p.doubts = false
		if err := c.quick.Await(p.step); err != nil && !(p.doubts && errors.Is(err, os.ErrDeadlineExceeded)) {
			p.err = err
		}
	}
}

// step reads and hands on all there is, and reports whether that was the last of it.
func (p *pump) step(fd uintptr) (over bool) {
	c := p.b.c
	for {
		room := c.room()
		switch {
		case len(room) == 0:
			p.err = errLongLine
			return true
		case c.lent.Load() != lentOut:
			p.err = net.ErrClosed
			return true
		}
		n, err := socket.TryRead(fd, room)
		switch {
		case err == socket.ErrNothing:
			c.rest()
			return false
		case err != nil:
			p.err = err
			return true
		case n == 0:
			p.err = errEOF
			return true
		}
		c.w += n
		if !p.handOn() {
			return true
		}
		if n == len(room) {
			continue
		}
		if !p.doubts {
			p.doubts = true
			if p.err = c.readWithin(p.doubt()); p.err != nil {
				return true
			}
		}
		c.rest()
		return false
	}
}

// doubt is short beside the body's own limit, which begins anew after it.
func (p *pump) doubt() time.Duration {
	if p.b.idle > 0 {
		return min(doubt, p.b.idle/4)
	}
	return doubt
}

// handOn yields what is buffered, and reports whether to go on.
func (p *pump) handOn() bool {
	var data []byte
	if data, p.err = p.b.decode(); len(data) > 0 {
		p.more = p.yield(data, nil)
	}
	return p.more && p.err == nil
}

// decode takes the data of a chunked body out of the buffer, moved together where it lies. The error is io.EOF with the last of it.
func (b *Body) decode() ([]byte, error) {
	c := b.c
	from, to := c.r, c.r // where the data is
	for c.r < c.w {
		if left := b.chunks.Left; left > 0 {
			n := int(min(int64(c.w-c.r), left))
			if to == from {
				from, to = c.r, c.r+n
			} else {
				to += copy(c.buf[to:], c.buf[c.r:c.r+n])
			}
			c.r += n
			b.chunks.Left -= int64(n)
			continue
		}
		line, whole, err := http1.CutLine(c.buf[c.r:c.w])
		if err != nil {
			return c.buf[from:to], malformed(err.Error())
		}
		if whole == 0 {
			break
		}
		c.r += whole
		switch err := b.chunks.Line(line); {
		case err == io.EOF:
			return c.buf[from:to], err
		case err != nil:
			return c.buf[from:to], malformed(err.Error())
		}
	}
	return c.buf[from:to], nil
}

// Where a connection is, for who cancels its exchange: one that is waited on cannot be closed without waiting in turn.
const (
	lentNot       int32 = iota
	lentOut             // to a pump
	lentCancelled       // the exchange has been cancelled
)

// lend reports whether a pump may wait on the connection; giveBack ends that.
func (c *conn) lend() bool { return c.lent.CompareAndSwap(lentNot, lentOut) }

func (c *conn) giveBack() { c.lent.CompareAndSwap(lentOut, lentNot) } // once cancelled it stays so: release closes it

// room returns what the next read may fill behind what is buffered; nothing: a line is longer than the buffer.
func (c *conn) room() []byte {
	switch {
	case c.r == c.w:
		c.rest()
		c.takeBuffer()
	case c.w == len(c.buf) && c.r > 0:
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	}
	return c.buf[c.w:]
}

// rest drops the buffer unless something is in it.
func (c *conn) rest() {
	if c.r == c.w {
		c.r, c.w = 0, 0
		c.dropBuffer()
	}
}
