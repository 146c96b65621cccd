package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// defaultMaxIdle bounds the idle connections an endpoint keeps; one more is closed instead.
	defaultMaxIdle = 512
	// defaultIdleTimeout is below what servers and load balancers in front of them keep an idle connection for (75 s and more), so
	// that we close first and no request meets a connection that its peer is just closing.
	defaultIdleTimeout = 60 * time.Second
	// maxAge is how long a connection is used at all, so that a moved name is followed under constant load too.
	maxAge = 10 * time.Minute
	// sweeps is how often an idle connection is looked at while it may be kept.
	sweeps = 4
)

// Config says where an upstream is and how to reach it.
type Config struct {
	// BaseURL gives scheme (http or https), host and port. A path in it is the caller's to put into Request.URI.
	BaseURL string
	// AllowPrivate lets the host resolve to loopback and private addresses. Metadata addresses stay refused.
	AllowPrivate bool
	// HTTP2 uses net/http's transport, which speaks HTTP/2 where the server offers it, and over http without TLS at once.
	HTTP2 bool
	// RootCAs verifies the server; nil means the system's roots.
	RootCAs *x509.CertPool
	// Resolver looks names up; nil means net.DefaultResolver.
	Resolver *net.Resolver
	// MaxIdle bounds the idle connections that are kept; 0 means 512.
	MaxIdle int
	// IdleTimeout is how long an idle connection is kept at most, and three quarters of it at least; 0 means a minute.
	IdleTimeout time.Duration
}

// Endpoint calls one origin. It is built once per upstream and safe for concurrent use.
type Endpoint struct {
	origin       string
	host         string // as the Host field says it: without the scheme's own port
	address      string // host:port to dial
	allowPrivate bool
	dialer       net.Dialer
	tls          *tls.Config     // nil for plain http
	transport    *http.Transport // set for HTTP2, and then used for everything
	maxIdle      int
	idleTimeout  time.Duration

	mu     sync.Mutex
	idle   []*conn     // the longest idle first
	sweep  *time.Timer // closes connections that were idle for too long
	armed  bool        // it runs, as it does while there are idle ones
	closed bool
}

// NewEndpoint returns the endpoint of a base URL. It makes no connection.
func NewEndpoint(cfg Config) (*Endpoint, error) {
	o, err := parseOrigin(cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	e := &Endpoint{
		origin:       o.String(),
		host:         o.hostField(),
		address:      net.JoinHostPort(o.host, o.port),
		allowPrivate: cfg.AllowPrivate,
		maxIdle:      cfg.MaxIdle,
		idleTimeout:  cfg.IdleTimeout,
	}
	if e.maxIdle <= 0 {
		e.maxIdle = defaultMaxIdle
	}
	if e.idleTimeout <= 0 {
		e.idleTimeout = defaultIdleTimeout
	}
	e.dialer = net.Dialer{
		ControlContext:  e.guard,
		Resolver:        cfg.Resolver,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 4},
	}
	if o.scheme == "https" {
		e.tls = &tls.Config{
			MinVersion:         tls.VersionTLS12,
			ServerName:         o.host,
			RootCAs:            cfg.RootCAs,
			NextProtos:         []string{"http/1.1"},
			ClientSessionCache: tls.NewLRUClientSessionCache(32),
			// A request is not read before it is whole: small first records would only cost system calls.
			DynamicRecordSizingDisabled: true,
		}
	}
	if cfg.HTTP2 {
		e.transport = e.newTransport()
	}
	return e, nil
}

// Origin returns scheme, host and port in the form of OriginOf.
func (e *Endpoint) Origin() string { return e.origin }

// Close drops the idle connections. Exchanges under way go on, and their connections are closed when they end.
func (e *Endpoint) Close() {
	e.mu.Lock()
	idle := e.idle
	e.idle, e.closed = nil, true
	if e.sweep != nil {
		e.sweep.Stop()
	}
	e.mu.Unlock()
	for _, c := range idle {
		c.hangUp()
	}
	if e.transport != nil {
		e.transport.CloseIdleConnections()
	}
}

// OriginOf returns the origin of a base URL as scheme://host:port in lower case with the port always written, so that two
// spellings of one origin are equal and no two origins are.
func OriginOf(baseURL string) (string, error) {
	o, err := parseOrigin(baseURL)
	if err != nil {
		return "", err
	}
	return o.String(), nil
}

type origin struct{ scheme, host, port string }

func (o origin) String() string { return o.scheme + "://" + net.JoinHostPort(o.host, o.port) }

func (o origin) hostField() string {
	if o.port == defaultPort(o.scheme) {
		if strings.Contains(o.host, ":") {
			return "[" + o.host + "]"
		}
		return o.host
	}
	return net.JoinHostPort(o.host, o.port)
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// parseOrigin accepts http and https URLs without user, query and fragment, whose host is an IP address or a name of ASCII
// letters, digits, hyphens, underscores and dots. What another parser could read as another host is refused: a trailing dot,
// international names (write them in their ASCII form), zones, and numbers that some resolvers take for addresses.
func parseOrigin(base string) (origin, error) {
	u, err := url.Parse(base)
	if err != nil {
		return origin{}, errors.New("base URL: not a URL") // url.Error repeats the URL, which may hold a password
	}
	o := origin{scheme: u.Scheme, host: strings.ToLower(u.Hostname()), port: u.Port()}
	switch {
	case o.scheme != "http" && o.scheme != "https":
		return origin{}, fmt.Errorf("base URL: the scheme must be http or https, not %q", o.scheme)
	case u.Opaque != "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return origin{}, errors.New("base URL: only scheme, host, port and path are allowed")
	case strings.HasSuffix(u.Host, ":"):
		return origin{}, errors.New("base URL: the port is empty")
	}
	if o.port == "" {
		o.port = defaultPort(o.scheme)
	}
	if n, err := strconv.ParseUint(o.port, 10, 16); err != nil || n == 0 || o.port[0] == '0' {
		return origin{}, fmt.Errorf("base URL: invalid port %q", o.port)
	}
	if ip, err := netip.ParseAddr(o.host); err == nil && ip.Zone() == "" {
		o.host = ip.String()
		return o, nil
	}
	if !validHost(o.host) {
		return origin{}, fmt.Errorf("base URL: invalid host %q", o.host)
	}
	return o, nil
}

func validHost(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
		last = label
	}
	// A name that ends in a number is an IPv4 address to many parsers (0x7f.1, 2130706433), though not to ours.
	return strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x")
}

// take returns the idle connection that was used last, or nil. Whether it is still good its exchange finds out.
func (e *Endpoint) take() *conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(e.idle)
	if n == 0 {
		return nil
	}
	c := e.idle[n-1]
	e.idle[n-1] = nil
	e.idle = e.idle[:n-1]
	return c
}

// put keeps a connection for the next exchange, or closes it. How long it will have been idle the sweeps count, and how old it is was
// seen when its last exchange read the clock: neither asks for the time here.
func (e *Endpoint) put(c *conn) {
	if c.now.IsZero() { // an exchange without limits
		c.now = time.Now()
	}
	young := c.now.Sub(c.born) < maxAge
	c.now, c.reused = time.Time{}, true
	e.mu.Lock()
	keep := !e.closed && len(e.idle) < e.maxIdle && young
	if keep {
		c.looks = 0
		e.idle = append(e.idle, c)
		if !e.armed {
			e.armSweep()
		}
	}
	e.mu.Unlock()
	if !keep {
		c.hangUp()
	}
}

// armSweep plans the next sweep; e.mu is held.
func (e *Endpoint) armSweep() {
	every := e.idleTimeout / sweeps
	e.armed = true
	if e.sweep == nil {
		e.sweep = time.AfterFunc(every, e.sweepIdle)
		return
	}
	e.sweep.Reset(every)
}

// sweepIdle closes what was idle for too long or was closed by its peer: a connection that the fourth sweep finds was idle for more than
// three of the times between two, and for four at most. It runs on the timer's goroutine and ends at once.
func (e *Endpoint) sweepIdle() {
	var gone []*conn
	e.mu.Lock()
	kept := e.idle[:0]
	for _, c := range e.idle {
		c.looks++
		if c.looks < sweeps && c.quiet() {
			kept = append(kept, c)
		} else {
			gone = append(gone, c)
		}
	}
	clear(e.idle[len(kept):])
	e.idle, e.armed = kept, false
	if len(kept) > 0 {
		e.armSweep()
	}
	e.mu.Unlock()
	for _, c := range gone {
		c.hangUp()
	}
}

// dial makes a connection that has spoken TLS where it must. limit 0 leaves the time to ctx.
func (e *Endpoint) dial(ctx context.Context, limit time.Duration) (*conn, *Error) {
	within := ctx
	if limit > 0 {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	nc, err := e.dialer.DialContext(within, "tcp", e.address)
	if err != nil {
		return nil, dialFailure(ctx, OpDial, err)
	}
	raw := nc.(*net.TCPConn)
	c := newConn(e, raw)
	if e.tls == nil {
		return c, nil
	}
	if err := c.handshake(within, e.tls); err != nil {
		_ = raw.Close() // the session never stood
		return nil, dialFailure(ctx, OpTLS, err)
	}
	return c, nil
}

func dialFailure(ctx context.Context, op string, err error) *Error {
	if refused, ok := errors.AsType[*refusedError](err); ok {
		return &Error{Op: OpGuard, Err: refused}
	}
	f := failure(ctx, op, err)
	f.Timeout = f.Timeout || errors.Is(err, context.DeadlineExceeded)
	return f
}
