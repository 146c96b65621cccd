package outbound

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// NewDialer returns a dialer for what is called besides upstreams, which refuses the addresses that an endpoint refuses.
func NewDialer(allowPrivate bool) *net.Dialer {
	e := &Endpoint{allowPrivate: allowPrivate}
	return &net.Dialer{ControlContext: e.guard, Timeout: 10 * time.Second}
}

// NewClient returns a client for addresses that administrators name and that are no upstreams, such as webhooks: its dialer is guarded,
// it follows no redirect, uses no proxy and keeps no cookie.
func NewClient(allowPrivate bool) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            NewDialer(allowPrivate).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    10 * time.Second,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHead,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        30 * time.Second,
		},
	}
}
