package gatehousetest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// spy is a test whose failures are looked at instead of reported.
type spy struct {
	testing.TB
	errors   []string
	cleanups []func()
}

func (s *spy) Helper()                   {}
func (s *spy) Cleanup(f func())          { s.cleanups = append(s.cleanups, f) }
func (s *spy) Errorf(f string, a ...any) { s.errors = append(s.errors, fmt.Sprintf(f, a...)) }

func TestGuardRefuses(t *testing.T) {
	for _, address := range []string{
		"169.254.169.254:80", "[::ffff:169.254.169.254]:80", "[fe80::1]:80", "10.0.0.1:443", "192.168.1.1:80", "8.8.8.8:53", "0.0.0.0:80", "[::]:80",
		"api.openai.com:443", "localhost.example.com:80", "LOCALHOST:80", "2130706433:80", "127.1:80", "nonsense", "", ":80",
	} {
		t.Run(address, func(t *testing.T) {
			s := &spy{TB: t}
			conn, err := Dialer(s)(t.Context(), "tcp", address)
			if err == nil {
				conn.Close()
				t.Fatal("dialled")
			}
			if len(s.errors) != 1 || !strings.Contains(s.errors[0], "refused to dial tcp "+address) {
				t.Errorf("the test was told %q", s.errors)
			}
		})
	}
}

func TestGuardReachesThisHost(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
		}
	}))
	defer server.Close()
	port := server.Listener.Addr().(*net.TCPAddr).Port
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
		res, err := Client(t).Get(fmt.Sprintf("http://%s:%d/", host, port))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}

	s := &spy{TB: t}
	client := Client(s)
	if res, err := client.Get(server.URL + "/away"); err == nil {
		res.Body.Close()
		t.Error("a redirect led off this host")
	}
	if len(s.errors) != 1 {
		t.Errorf("after a redirect the test was told %q", s.errors)
	}
	for _, f := range s.cleanups {
		f()
	}
	if res, err := client.Get("http://10.1.2.3/"); err == nil {
		res.Body.Close()
		t.Error("dialled after the test")
	}
	if len(s.errors) != 1 {
		t.Errorf("a test that was over was failed: %q", s.errors)
	}
}

func TestGuardUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := Dialer(t)(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestGuardIgnoresProxies(t *testing.T) {
	if Transport(t).Proxy != nil {
		t.Error("the transport would take a proxy from the environment")
	}
}
