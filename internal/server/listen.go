package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"gatehouse/internal/gateway/inbound"
)

// listener is one address and what is served there.
type listener struct {
	name string
	net.Listener
	server httpServer
}

// httpServer is our own server or net/http's.
type httpServer interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Close() error
}

// opsListener is the name of the listener of health and metrics.
const opsListener = "ops_listen"

// clientCertListener is the name of the listener that asks for client certificates.
const clientCertListener = "tls.client_cert_listen"

// URL returns where the data plane is reached, without a trailing slash.
func (s *Server) URL() string {
	scheme := "http"
	if s.cfg.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + reachable(s.listeners[0].Addr())
}

// OpsURL returns where health and metrics are, without a trailing slash.
func (s *Server) OpsURL() string { return "http://" + reachable(s.listeners[1].Addr()) }

// reachable writes a listener's address as one that can be called: 127.0.0.1 where it listens on every interface.
func reachable(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// listen binds the addresses: the data plane first, then ops, then the Admin API if it has one of its own.
func (s *Server) listen(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			for _, l := range s.listeners {
				_ = l.Close() // the first error is the one to show
			}
		}
	}()
	if s.cfg.TLS != nil {
		if s.certificates, err = newCertificates(s.cfg.TLS, s.opts.Now, s.log); err != nil {
			return err
		}
	}
	data, administration, ops := s.mount()
	add := func(name, address string, h http.Handler, secure bool, asks tls.ClientAuthType) error {
		ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		var session *tls.Config
		if secure {
			session = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.certificates.get, NextProtos: []string{"h2", "http/1.1"}, ClientAuth: asks}
		}
		server := s.newServer(h, session)
		s.listeners = append(s.listeners, listener{name, ln, server})
		return nil
	}
	if err := add("listen", s.cfg.Listen, data, s.cfg.TLS != nil, tls.NoClientCert); err != nil {
		return err
	}
	if err := add(opsListener, s.cfg.OpsListen, ops, false, tls.NoClientCert); err != nil {
		return err
	}
	if s.cfg.AdminListen != "" {
		if err := add("admin_listen", s.cfg.AdminListen, administration, s.cfg.TLS != nil, tls.NoClientCert); err != nil {
			return err
		}
	}
	if s.cfg.TLS != nil && s.cfg.TLS.ClientCertListen != "" {
		// Who issued the certificate is judged with the key, by what the key's project demands: see authn.
		return add(clientCertListener, s.cfg.TLS.ClientCertListen, data, true, tls.RequestClientCert)
	}
	return nil
}

// newServer returns what serves a listener. Both kinds speak TLS themselves.
func (s *Server) newServer(h http.Handler, session *tls.Config) httpServer {
	const (
		headTime  = 10 * time.Second
		idleTime  = 2 * time.Minute
		headBytes = 64 << 10
	)
	logger := slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)
	if s.cfg.HTTP.Server == ownServer {
		return inbound.New(inbound.Config{Handler: h, TLS: session, ReadHeaderTimeout: headTime, IdleTimeout: idleTime, MaxHeaderBytes: headBytes, ErrorLog: logger})
	}
	return standardServer{&http.Server{Handler: h, TLSConfig: session, ReadHeaderTimeout: headTime, IdleTimeout: idleTime, MaxHeaderBytes: headBytes, ErrorLog: logger}}
}

// standardServer is net/http's, which speaks TLS where it is configured.
type standardServer struct{ *http.Server }

// Serve implements httpServer.
func (s standardServer) Serve(l net.Listener) error {
	if s.TLSConfig != nil {
		l = tls.NewListener(l, s.TLSConfig)
	}
	return s.Server.Serve(l)
}
