package gatehousetest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// Dialer returns a dial function that reaches this host only: literal loopback addresses, localhost, and Unix sockets. Every
// other address, a cloud's metadata service at 169.254.169.254 among them, and every other name is refused before a packet or a
// DNS question leaves, and the test fails. Put it wherever a program under test takes a DialContext.
func Dialer(tb testing.TB) func(ctx context.Context, network, address string) (net.Conn, error) {
	tb.Helper()
	g := &guard{tb: tb}
	tb.Cleanup(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.over = true
	})
	return g.dial
}

// Transport returns an HTTP transport that dials through Dialer, takes no proxy from the environment and closes its idle
// connections when the test ends.
func Transport(tb testing.TB) *http.Transport {
	tb.Helper()
	t := &http.Transport{DialContext: Dialer(tb), MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute}
	tb.Cleanup(t.CloseIdleConnections)
	return t
}

// Client returns an HTTP client over Transport. It gives a request one minute, so that a test that hangs says where.
func Client(tb testing.TB) *http.Client {
	tb.Helper()
	return &http.Client{Transport: Transport(tb), Timeout: time.Minute}
}

type guard struct {
	tb     testing.TB
	dialer net.Dialer

	mu   sync.Mutex
	over bool // the test has ended; it cannot be failed any more
}

func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	target, ok := loopback(network, address)
	if ok {
		return g.dialer.DialContext(ctx, network, target)
	}
	err := fmt.Errorf("gatehousetest: refused to dial %s %s: a test may reach this host only", network, address)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.over {
		g.tb.Errorf("%v", err)
	}
	return nil, err
}

// loopback returns the address to dial instead of address, which needs no resolver, and whether it is one of this host's own.
func loopback(network, address string) (string, bool) {
	switch network {
	case "unix", "unixpacket", "unixgram":
		return address, true
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", false
	}
	if host == "localhost" {
		if network == "tcp6" || network == "udp6" {
			return net.JoinHostPort("::1", port), true
		}
		return net.JoinHostPort("127.0.0.1", port), true
	}
	ip, err := netip.ParseAddr(host)
	return address, err == nil && ip.Unmap().IsLoopback()
}
