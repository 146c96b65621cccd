package outbound_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gatehouse/internal/gateway/outbound"
)

// TestClientIsGuarded: what administrators name beside upstreams is refused like an upstream, after the name was looked up, and leads
// nowhere else.
func TestClientIsGuarded(t *testing.T) {
	moved := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:1/", http.StatusTemporaryRedirect))
	defer moved.Close()
	if _, err := outbound.NewClient(false).Get(moved.URL); err == nil || !strings.Contains(err.Error(), "private address") {
		t.Errorf("loopback: got %v, want a refusal", err)
	}
	if _, err := outbound.NewClient(true).Get("http://169.254.169.254/"); err == nil || !strings.Contains(err.Error(), "never called") {
		t.Errorf("metadata: got %v, want a refusal", err)
	}
	resp, err := outbound.NewClient(true).Get(moved.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusTemporaryRedirect {
		t.Errorf("status %d, want the redirect itself", resp.StatusCode)
	}
}
