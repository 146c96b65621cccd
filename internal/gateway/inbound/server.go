package inbound

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Config is what a Server is built from. Handler is required.
type Config struct {
	Handler http.Handler
	// ReadHeaderTimeout bounds the TLS handshake, and the time from a connection's or a request's first byte to the end of its
	// head; 0: 10 s.
	ReadHeaderTimeout time.Duration
	// IdleTimeout is how long a connection may wait for its next request; 0: 2 min. It and WriteTimeout are kept to within a second, and
	// never shorter than they say.
	IdleTimeout time.Duration
	// WriteTimeout bounds each write that the handler has set no deadline for, so that a caller that does not read holds nothing
	// for ever; 0: 2 min.
	WriteTimeout time.Duration
	// MaxHeaderBytes bounds a request's head; 0: 64 KiB.
	MaxHeaderBytes int
	// TLS makes the server speak TLS. Its NextProtos say whether HTTP/2 is offered.
	TLS *tls.Config
	// ErrorLog gets panics of the handler and failed handshakes; nil: the log package's.
	ErrorLog *log.Logger
}

// Server serves HTTP/1.1 on the connections of a listener. Create it with New; it is used once.
type Server struct {
	cfg      Config
	standard *http.Server
	handed   *handed
	date     atomic.Pointer[date]
	draining atomic.Bool
	start    sync.Once
	finish   sync.Once
	stop     chan struct{} // closed when nothing is left to look after
	left     chan struct{} // has a token after a connection has ended
	watched  sync.WaitGroup

	mu        sync.Mutex
	listeners map[net.Listener]struct{} // guarded by mu
	conns     map[*conn]struct{}        // guarded by mu
}

// headSlop is what net/http reads of a head beyond MaxHeaderBytes. Without it, net/http refuses every head that was too large to be
// judged here.
const headSlop = 4 << 10

// New returns a server. It runs nothing before Serve.
func New(cfg Config) *Server {
	if cfg.ReadHeaderTimeout == 0 {
		cfg.ReadHeaderTimeout = 10 * time.Second
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = 2 * time.Minute
	}
	if cfg.WriteTimeout == 0 {
		cfg.WriteTimeout = 2 * time.Minute
	}
	if cfg.MaxHeaderBytes == 0 {
		cfg.MaxHeaderBytes = 64 << 10
	}
	if cfg.ErrorLog == nil {
		cfg.ErrorLog = log.Default()
	}
	s := &Server{
		cfg: cfg,
		standard: &http.Server{
			Handler:           cfg.Handler,
			ReadHeaderTimeout: cfg.ReadHeaderTimeout,
			IdleTimeout:       cfg.IdleTimeout,
			MaxHeaderBytes:    max(cfg.MaxHeaderBytes-headSlop, 1),
			TLSConfig:         cfg.TLS.Clone(), // net/http changes it
			ErrorLog:          cfg.ErrorLog,
		},
		handed:    &handed{conns: make(chan net.Conn), closed: make(chan struct{})},
		stop:      make(chan struct{}),
		left:      make(chan struct{}, 1),
		listeners: make(map[net.Listener]struct{}),
		conns:     make(map[*conn]struct{}),
	}
	s.keepDate(time.Now())
	return s
}

// Serve accepts connections until Shutdown or Close, and then returns http.ErrServerClosed. It closes l. Where the kernel cannot be
// asked whether a caller has left, net/http serves everything.
func (s *Server) Serve(l net.Listener) error {
	defer func() { _ = l.Close() }() // it may be closed already
	s.start.Do(func() {
		s.keepDate(time.Now()) // New may be long ago
		s.watched.Add(2)
		go func() { // net/http's accepting of what is handed to it: ends when standard is shut down
			defer s.watched.Done()
			_ = s.standard.Serve(s.handed) // it ends for this reason only
		}()
		go func() { // notices callers that leave: ends when stop is closed
			defer s.watched.Done()
			s.watch()
		}()
	})
	if !s.listen(l) {
		return http.ErrServerClosed
	}
	var wait time.Duration
	for {
		nc, err := l.Accept()
		if err != nil {
			if s.draining.Load() {
				return http.ErrServerClosed
			}
			if te, ok := errors.AsType[net.Error](err); ok && te.Timeout() || isPassing(err) {
				// Too many open files, or a peer that was faster: what is open goes on, and the next may come.
				wait = min(max(2*wait, 5*time.Millisecond), time.Second)
				s.cfg.ErrorLog.Printf("accept: %v; again in %v", err, wait)
				select {
				case <-time.After(wait):
				case <-s.stop:
				}
				continue
			}
			return err
		}
		wait = 0
		s.accept(nc)
	}
}

// isPassing reports whether accepting may work again.
func isPassing(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

func (s *Server) listen(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

// accept serves a connection on a goroutine of its own, which ends with it.
func (s *Server) accept(nc net.Conn) {
	c, err := newConn(s, nc)
	if err != nil {
		if s.cfg.TLS != nil {
			nc = tls.Server(nc, s.cfg.TLS)
		}
		go s.handed.give(nc) // ends as soon as net/http has taken it, or is closed
		return
	}
	s.mu.Lock()
	serve := !s.draining.Load()
	if serve {
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	if !serve {
		_ = nc.Close() // nobody was promised anything on it
		return
	}
	go c.serve()
}

// forget takes a connection off the list: it has ended, or is net/http's.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	select {
	case s.left <- struct{}{}:
	default:
	}
}

// Shutdown stops accepting, closes idle connections and waits for busy ones to finish their request, HTTP/2 streams and connections
// of net/http included, or for ctx. It may be called again after ctx ended.
func (s *Server) Shutdown(ctx context.Context) error {
	s.drain()
	standard := make(chan error, 1)
	go func() { standard <- s.standard.Shutdown(ctx) }() // ends when ctx does at the latest; it is awaited
	err := s.await(ctx)
	err = errors.Join(err, <-standard)
	if err == nil {
		s.end()
	}
	return err
}

// drain begins to end the service: no new connections, and none that waits for a request.
func (s *Server) drain() {
	s.mu.Lock()
	s.draining.Store(true)
	for l := range s.listeners {
		_ = l.Close() // Serve finds out
	}
	idle := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		idle = append(idle, c)
	}
	s.mu.Unlock()
	for _, c := range idle {
		c.closeIdle()
	}
}

// await waits until every connection has ended.
func (s *Server) await(ctx context.Context) error {
	for {
		s.mu.Lock()
		n := len(s.conns)
		s.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-s.left:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close closes every connection at once and cancels the requests on them. It does not wait for handlers.
func (s *Server) Close() error {
	s.drain()
	s.mu.Lock()
	open := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		c.kill()
	}
	err := s.standard.Close()
	s.end()
	return err
}

// end stops what Serve started and waits for it.
func (s *Server) end() {
	s.finish.Do(func() { close(s.stop) })
	s.start.Do(func() {}) // Serve was never called: it must not start anything now
	_ = s.handed.Close()
	s.watched.Wait()
}

// date is the Date field of answers, formatted once a second.
type date struct {
	second int64
	text   string
}

// keepDate makes the date that of now. Who answers takes what was kept at the last look at the connections, and does not ask the clock.
func (s *Server) keepDate(now time.Time) {
	second := now.Unix()
	if d := s.date.Load(); d == nil || d.second != second {
		s.date.Store(&date{second, now.UTC().Format(http.TimeFormat)})
	}
}
