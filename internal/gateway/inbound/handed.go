package inbound

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// handed is the listener on which net/http accepts the connections that are handed to it.
type handed struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// give hands a connection over. After the end of the service it is closed: whoever sent something unusual in that moment finds out
// that nobody has read it.
func (h *handed) give(nc net.Conn) {
	select {
	case h.conns <- nc:
	case <-h.closed:
		_ = nc.Close() // nobody was promised anything on it
	}
}

// Accept implements net.Listener.
func (h *handed) Accept() (net.Conn, error) {
	select {
	case nc := <-h.conns:
		return nc, nil
	case <-h.closed:
		return nil, http.ErrServerClosed
	}
}

// Close implements net.Listener.
func (h *handed) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr implements net.Listener.
func (h *handed) Addr() net.Addr { return handedAddr{} }

type handedAddr struct{}

func (handedAddr) Network() string { return "inbound" }
func (handedAddr) String() string  { return "inbound" }

// replay is a connection that first gives what was read of it before.
type replay struct {
	net.Conn
	rest []byte
}

// Read implements net.Conn.
func (r *replay) Read(p []byte) (int, error) {
	if len(r.rest) > 0 {
		n := copy(p, r.rest)
		if r.rest = r.rest[n:]; len(r.rest) == 0 {
			r.rest = nil
		}
		return n, nil
	}
	return r.Conn.Read(p)
}

// CloseWrite lets net/http end its side first, so that a caller that still sends finds the answer.
func (r *replay) CloseWrite() error { return closeWrite(r.Conn) }

func closeWrite(nc net.Conn) error {
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// replaySession is replay over TLS: net/http takes Request.TLS from it.
type replaySession struct {
	replay
	session *tls.Conn
}

// ConnectionState implements what net/http asks a connection for that is not a *tls.Conn.
func (r *replaySession) ConnectionState() tls.ConnectionState { return r.session.ConnectionState() }
