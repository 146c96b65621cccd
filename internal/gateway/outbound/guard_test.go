package outbound_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"gatehouse/internal/gateway/outbound"
	"gatehouse/internal/secret"

	"golang.org/x/net/dns/dnsmessage"
)

// TestGuardTable asks for addresses as literals, for each kind of endpoint. What is refused must be refused before a packet is
// sent; a refused address therefore needs no host behind it.
func TestGuardTable(t *testing.T) {
	never := []string{
		"169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.0.23", "169.254.42.42", "100.100.100.200", "168.63.129.16", "192.0.0.192",
		"[fe80::a9fe:a9fe]", "[fe80::1]", "[fd00:ec2::254]", "[fd00:ec2::23]", "[fd20:ce::254]", "[fd00:42::42]",
		"[::ffff:169.254.169.254]", "[::ffff:168.63.129.16]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a9fe:a9fe]", "[2002:a9fe:a9fe::]",
		"[2002:a83f:8110::1]", "[::a9fe:a9fe]", "[::ffff:0:a9fe:a9fe]", "[64:ff9b::6464:64c8]",
		"0.0.0.0", "0.1.2.3", "[::]", "192.0.2.1", "192.88.99.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"[ff02::1]", "[100::1]", "[2001::1]", "[2001:10::1]", "[2001:db8::1]", "[3fff::1]", "[fec0::1]", "[4000::1]", "[5f00::1]",
	}
	private := []string{
		"127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255", "198.18.0.1", "198.19.255.255",
		"[::1]", "[fc00::1]", "[fd12:3456::1]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[64:ff9b::808:808]", "[64:ff9b::a00:1]", "[2002:808:808::1]",
	}
	check := func(host string, allowed bool) {
		for _, cfg := range []outbound.Config{{BaseURL: "http://" + host}, {BaseURL: "https://" + host}, {BaseURL: "http://" + host, HTTP2: true}, {BaseURL: "https://" + host, HTTP2: true}} {
			cfg.AllowPrivate = allowed
			_, err := newEndpoint(t, cfg).Do(t.Context(), post("{}"), generous)
			if oe := wantError(t, err, outbound.OpGuard); oe.Wrote || oe.Timeout {
				t.Fatalf("%s: got %+v, want nothing written", host, oe)
			}
		}
	}
	for _, host := range never {
		check(host, false)
		check(host, true)
	}
	for _, host := range private {
		check(host, false)
	}
}

// TestGuardHasCallers proves that each kind of endpoint dials through the guard: nothing arrives at a loopback server without
// AllowPrivate, and with it the same request does.
func TestGuardHasCallers(t *testing.T) {
	for _, kind := range []struct {
		name     string
		tls, two bool
	}{{"plain", false, false}, {"tls", true, false}, {"h2c", false, true}, {"h2", true, true}} {
		t.Run(kind.name, func(t *testing.T) {
			var accepted atomic.Int32
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200) }))
			s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					accepted.Add(1)
				}
			}
			start(s, kind.tls, kind.two)
			defer s.Close()
			cfg := outbound.Config{BaseURL: s.URL, HTTP2: kind.two, RootCAs: rootsOf(s)}
			_, err := newEndpoint(t, cfg).Do(t.Context(), get("/"), generous)
			wantError(t, err, outbound.OpGuard)
			if n := accepted.Load(); n != 0 {
				t.Fatalf("%d connections arrived", n)
			}
			cfg.AllowPrivate = true
			mustFetch(t, newEndpoint(t, cfg), get("/"), 200, "")
			if n := accepted.Load(); n != 1 {
				t.Fatalf("%d connections arrived, want 1", n)
			}
		})
	}
}

// TestRebinding changes what a name resolves to between two connections, to an address that may not be dialled.
func TestRebinding(t *testing.T) {
	s := serveRaw(t, func(p *peer) {
		if _, _, err := p.request(); err == nil {
			p.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	dns, answer := serveDNS(t)
	for _, two := range []bool{false, true} {
		answer.Store(&[4]byte{127, 0, 0, 1})
		e := newEndpoint(t, outbound.Config{BaseURL: strings.Replace(s.url, "127.0.0.1", "models.example.com", 1), AllowPrivate: true, HTTP2: two, Resolver: dns})
		if !two {
			mustFetch(t, e, get("/"), 200, "ok")
		}
		answer.Store(&[4]byte{169, 254, 169, 254})
		_, err := e.Do(t.Context(), get("/"), generous)
		wantError(t, err, outbound.OpGuard)
	}
	// And the other way round: a name that is public for whoever checks it first is refused when it is dialled.
	e := newEndpoint(t, outbound.Config{BaseURL: "http://models.example.com", Resolver: dns})
	answer.Store(&[4]byte{127, 0, 0, 1})
	_, err := e.Do(t.Context(), get("/"), generous)
	wantError(t, err, outbound.OpGuard)
}

// serveDNS answers every question for an IPv4 address with what the pointer holds.
func serveDNS(t *testing.T) (*net.Resolver, *atomic.Pointer[[4]byte]) {
	t.Helper()
	pc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	answer := &atomic.Pointer[[4]byte]{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &dnsmessage.AResource{A: *answer.Load()}}}
			}
			out, err := m.Pack()
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(out, from)
		}
	}()
	t.Cleanup(func() { pc.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}, answer
}

func TestOrigin(t *testing.T) {
	good := map[string]string{
		"https://api.openai.com/v1":           "https://api.openai.com:443",
		"HTTPS://API.OpenAI.com":              "https://api.openai.com:443",
		"https://api.openai.com:443/":         "https://api.openai.com:443",
		"http://api.openai.com":               "http://api.openai.com:80",
		"http://127.0.0.1:11434/v1":           "http://127.0.0.1:11434",
		"http://[::1]:8080":                   "http://[::1]:8080",
		"http://[0:0:0:0:0:0:0:1]":            "http://[::1]:80",
		"https://my_host.internal-1:8443":     "https://my_host.internal-1:8443",
		"http://localhost:1":                  "http://localhost:1",
		"https://xn--mnchen-3ya.example.com/": "https://xn--mnchen-3ya.example.com:443",
	}
	for in, want := range good {
		if got, err := outbound.OriginOf(in); err != nil || got != want {
			t.Errorf("OriginOf(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	bad := []string{"", "api.openai.com", "//api.openai.com", "ftp://h", "unix:///x", "https://", "https://user@h", "https://user:pw@h/", "https://@h", "https://h.", "https://h..x", "https://.h",
		"https://h:", "https://h:0", "https://h:65536", "https://h:080", "https://h:http", "https://h?q", "https://h?", "https://h#f", "https://münchen.example", "https://h%41", "https://h\\@x",
		"https://[fe80::1%25eth0]", "https://127.1", "https://0x7f.0.0.1", "https://2130706433", "https://0x7f000001", "https://1.2.3.0x4", "https://127.0.0.01", "https://h h", "https://h\n", "https:h", "https:///x"}
	for _, in := range bad {
		if got, err := outbound.OriginOf(in); err == nil {
			t.Errorf("OriginOf(%q) = %q, want an error", in, got)
		}
		if _, err := outbound.NewEndpoint(outbound.Config{BaseURL: in}); err == nil {
			t.Errorf("NewEndpoint(%q): want an error", in)
		}
	}
	if _, err := outbound.OriginOf("https://u:hunter2@h\x7f"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v, want an error without the password", err)
	}
}

// FuzzOrigin checks that an origin is what it says: it parses to itself, net/url reads the same host in it as in the base URL, and
// nothing in it could be read as another host.
func FuzzOrigin(f *testing.F) {
	for _, s := range []string{"https://api.openai.com/v1", "http://[::1]:8080", "https://a@b", "https://h.:443", "HTTP://H\\@x", "https://127.1", "https://h%2e:1", "http://[::ffff:1.2.3.4]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, base string) {
		origin, err := outbound.OriginOf(base)
		if err != nil {
			return
		}
		if again, err := outbound.OriginOf(origin); err != nil || again != origin {
			t.Fatalf("the origin %q of %q has the origin %q, %v", origin, base, again, err)
		}
		if strings.ContainsAny(strings.TrimPrefix(strings.TrimPrefix(origin, "https://"), "http://"), "/\\@?#% \t\r\n") {
			t.Fatalf("the origin %q of %q", origin, base)
		}
		a, errA := url.Parse(base)
		b, errB := url.Parse(origin)
		if errA != nil || errB != nil || a.Scheme != b.Scheme || b.Port() == "" || a.Port() != "" && a.Port() != b.Port() {
			t.Fatalf("the origin %q of %q: %v, %v", origin, base, errA, errB)
		}
		ipA, _ := netip.ParseAddr(a.Hostname())
		ipB, _ := netip.ParseAddr(b.Hostname())
		if ipA != ipB || !ipA.IsValid() && !strings.EqualFold(a.Hostname(), b.Hostname()) {
			t.Fatalf("the origin %q of %q has another host", origin, base)
		}
	})
}

// TestCredentialBinding is law 9: whatever the router decided, a credential goes to the origin it is bound to and nowhere else.
func TestCredentialBinding(t *testing.T) {
	for _, kind := range []struct {
		name     string
		tls, two bool
	}{{"plain", false, false}, {"tls", true, false}, {"h2c", false, true}, {"h2", true, true}} {
		t.Run(kind.name, func(t *testing.T) {
			var seen atomic.Pointer[http.Header]
			var calls atomic.Int32
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				seen.Store(&r.Header)
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(307)
			}))
			start(s, kind.tls, kind.two)
			defer s.Close()
			e := newEndpoint(t, outbound.Config{BaseURL: s.URL, AllowPrivate: true, HTTP2: kind.two, RootCAs: rootsOf(s)})
			if got, err := outbound.OriginOf(s.URL + "/v1"); err != nil || got != e.Origin() {
				t.Fatalf("got origin %q, %v, want %q", got, err, e.Origin())
			}
			host := strings.TrimPrefix(s.URL[strings.Index(s.URL, ":"):], "://")
			for _, origin := range []string{"", "https://api.openai.com:443", "http://" + host + "0", "https://127.0.0.1:443", "http://127.0.0.1:80", "http://localhost" + host[strings.Index(host, ":"):],
				flipScheme(e.Origin()), e.Origin() + "/", strings.ToUpper(e.Origin()), e.Origin() + "."} {
				req := get("/")
				req.Credential = outbound.Credential{Name: "Authorization", Value: secret.NewText("Bearer sk-canary"), Origin: origin}
				_, err := e.Do(t.Context(), req, generous)
				oe := wantError(t, err, outbound.OpGuard)
				if oe.Wrote || strings.Contains(oe.Error(), "canary") {
					t.Fatalf("origin %q: got %+v", origin, oe)
				}
			}
			if n := calls.Load(); n != 0 {
				t.Fatalf("%d requests arrived", n)
			}
			req := get("/")
			req.Credential = outbound.Credential{Name: "api-key", Value: secret.NewText("sk-canary"), Origin: e.Origin()}
			mustFetch(t, e, req, 307, "")
			if got := seen.Load().Get("Api-Key"); got != "sk-canary" || calls.Load() != 1 {
				t.Fatalf("got %q in %d requests, want the credential in one: a redirect must not be followed", got, calls.Load())
			}
		})
	}
}

func flipScheme(origin string) string {
	if rest, ok := strings.CutPrefix(origin, "https"); ok {
		return "http" + rest
	}
	return "https" + strings.TrimPrefix(origin, "http")
}
