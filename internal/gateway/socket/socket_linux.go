package socket

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// Conn is a TCP connection whose Read and Write are quiet. What it does not override is the connection's own. One goroutine at a time
// may read, and one may write.
type Conn struct {
	*net.TCPConn
	sys   syscall.RawConn
	in    call
	out   call
	peek  func(fd uintptr)
	still bool // what peek found
	asked func(fd uintptr) bool
	step  func(fd uintptr) bool // of what was asked; nil: it is still to be asked
	then  func(fd uintptr) bool // what step becomes
}

// call is one direction: the bytes and what came of them. step is made once, so that a call allocates nothing.
type call struct {
	p    []byte
	n    int
	err  error
	step func(fd uintptr) bool
}

// New returns a connection with quiet calls in place of c's own; nil where there are none.
func New(c *net.TCPConn) *Conn {
	sys, err := c.SyscallConn()
	if err != nil {
		return nil // it is closed, as the next call will say
	}
	s := &Conn{TCPConn: c, sys: sys}
	s.in.step = func(fd uintptr) bool {
		s.in.n, s.in.err = TryRead(fd, s.in.p)
		return s.in.err != ErrNothing
	}
	s.out.step = func(fd uintptr) bool { return s.out.write(fd) }
	s.peek = func(fd uintptr) { s.still = nothingToRead(fd) }
	s.asked = func(fd uintptr) bool {
		if s.step != nil {
			return s.step(fd)
		}
		return s.ask(fd)
	}
	return s
}

// ErrNothing says that there is nothing to read at the moment.
var ErrNothing = errors.New("nothing to read")

// TryRead reads from a socket that does not block, without waiting. No bytes and no error are the end of the connection.
func TryRead(fd uintptr, p []byte) (int, error) {
	for {
		n, err := read(fd, p)
		switch err {
		case 0:
			return n, nil
		case syscall.EAGAIN:
			return 0, ErrNothing
		case syscall.EINTR:
		default:
			return 0, os.NewSyscallError("read", err)
		}
	}
}

// Await calls step, which reads with TryRead, and calls it again each time that there may be something to read, until it returns true.
func (c *Conn) Await(step func(fd uintptr) bool) error { return c.sys.Read(step) }

// ErrSpoken says that a connection had something to read before it was asked.
var ErrSpoken = errors.New("there was something to read before anything was asked")

// Ask writes p, and then waits for what comes and calls step, as Await does. A Write and an Await would look for the answer before it
// can be there. It returns how much was written: with all of it, the error is Await's. With less and no error the socket took no more, and
// the rest is to be written as usual. Where there is something to read already nothing is written, and the error is ErrSpoken.
func (c *Conn) Ask(p []byte, step func(fd uintptr) bool) (int, error) {
	out := &c.out
	out.p, out.n, out.err = p, 0, nil
	c.step, c.then = nil, step
	// What comes from here on wakes the reader, whenever it comes: the runtime forgets what came before, and that ask looks for.
	err := c.sys.Read(c.asked)
	out.p, c.then = nil, nil
	switch {
	case out.err == ErrSpoken:
		return 0, ErrSpoken
	case out.err != nil && err == nil:
		err = c.failed("write", out.err)
	}
	return out.n, err
}

// ask writes, and reports whether there is nothing to wait for.
func (c *Conn) ask(fd uintptr) bool {
	if !nothingToRead(fd) {
		c.out.err = ErrSpoken
		return true
	}
	if !c.out.write(fd) || c.out.err != nil {
		return true
	}
	c.step = c.then
	return false
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	in := &c.in
	in.p, in.n, in.err = p, 0, nil
	err := c.sys.Read(in.step)
	in.p = nil
	switch {
	case err != nil:
		return 0, err
	case in.err != nil:
		return 0, c.failed("read", in.err)
	case in.n == 0:
		return 0, io.EOF
	}
	return in.n, nil
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	out := &c.out
	out.p, out.n, out.err = p, 0, nil
	err := c.sys.Write(out.step)
	out.p = nil
	if err == nil && out.err != nil {
		err = c.failed("write", out.err)
	}
	return out.n, err
}

// write writes what the socket takes, and reports whether that is all, or all there will be.
func (o *call) write(fd uintptr) bool {
	for o.n < len(o.p) {
		n, err := write(fd, o.p[o.n:])
		switch {
		case err == syscall.EAGAIN:
			return false
		case err == syscall.EINTR:
		case err != 0:
			o.err = os.NewSyscallError("write", err)
			return true
		case n == 0:
			o.err = io.ErrUnexpectedEOF
			return true
		default:
			o.n += n
		}
	}
	return true
}

func (c *Conn) failed(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// Quiet reports whether the connection has neither bytes nor its end for us.
func (c *Conn) Quiet() bool {
	c.still = false
	return c.sys.Control(c.peek) == nil && c.still
}

func nothingToRead(fd uintptr) bool {
	for {
		if _, err := peek(fd); err != syscall.EINTR {
			return err == syscall.EAGAIN
		}
	}
}
