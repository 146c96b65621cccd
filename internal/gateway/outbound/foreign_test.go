package outbound_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"gatehouse/internal/gateway/outbound"
)

// start starts a server of net/http's; two makes it speak HTTP/2, without TLS as h2c.
func start(s *httptest.Server, withTLS, two bool) {
	s.EnableHTTP2 = two
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // connections that a test gives up are no news
	if withTLS {
		s.StartTLS()
		return
	}
	if two {
		s.Config.Protocols = &http.Protocols{}
		s.Config.Protocols.SetUnencryptedHTTP2(true)
	}
	s.Start()
}

func rootsOf(s *httptest.Server) *x509.CertPool {
	if s.Certificate() == nil {
		return nil
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return roots
}

// TestTransports runs the same calls over each kind of endpoint against net/http's server.
func TestTransports(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if r.URL.Path == "/gzip" {
			w.Header().Set("Content-Encoding", "gzip")
		}
		w.Header().Set("X-Encoding", r.Header.Get("Accept-Encoding"))
		w.Header().Set("X-Proto", r.Proto)
		w.Header().Set("X-Request", r.Method+" "+r.URL.RequestURI()+" "+r.Host)
		w.Header().Set("X-Agent", r.UserAgent())
		w.Header()["X-Two"] = []string{"1", "2"}
		_, _ = w.Write(in)
	})
	for _, kind := range []struct {
		name     string
		tls, two bool
		proto    string
	}{{"plain", false, false, "HTTP/1.1"}, {"tls", true, false, "HTTP/1.1"}, {"h2c", false, true, "HTTP/2.0"}, {"h2", true, true, "HTTP/2.0"}} {
		t.Run(kind.name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(handler)
			start(s, kind.tls, kind.two)
			defer s.Close()
			e := newEndpoint(t, outbound.Config{BaseURL: s.URL, AllowPrivate: true, HTTP2: kind.two, RootCAs: rootsOf(s)})
			half := len(body) / 2
			reader := func(n int64, r io.Reader) *outbound.Request {
				return &outbound.Request{Method: "POST", URI: "/", Reader: r, Length: n}
			}
			requests := map[string]struct {
				req  *outbound.Request
				want string
			}{
				"none":             {get("/"), ""},
				"no body to post":  {post(), ""},
				"small":            {post("a", "", "bc"), "abc"},
				"some":             {post(body[:10<<10], body[10<<10:30<<10]), body[:30<<10]},
				"medium":           {post(body[:100<<10], "x"), body[:100<<10] + "x"},
				"large":            {post(body[:half], body[half:]), body},
				"reader":           {reader(int64(len(body)), strings.NewReader(body)), body},
				"short reader":     {reader(10, iotest.OneByteReader(strings.NewReader(body))), body[:10]},
				"empty reader":     {reader(0, strings.NewReader("")), ""},
				"chunked":          {reader(-1, iotest.DataErrReader(strings.NewReader(body))), body},
				"chunked, nothing": {reader(-1, strings.NewReader("")), ""},
			}
			for name, tc := range requests {
				status, got, err := fetch(e, tc.req)
				if err != nil || status != 200 || got != tc.want {
					t.Fatalf("%s: got %d and %d bytes, %v, want 200 and %d bytes", name, status, len(got), err, len(tc.want))
				}
			}
			resp, err := e.Do(t.Context(), get("/a%2Fb//c?q=1&r=%20&s=a+b"), generous)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Close()
			if got, want := resp.Header.Get("X-Request"), "GET /a%2Fb//c?q=1&r=%20&s=a+b "+s.Listener.Addr().String(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if got := resp.Header.Get("x-proto"); got != kind.proto {
				t.Errorf("got %q, want %q", got, kind.proto)
			}
			if got := resp.Header.Get("X-Encoding"); got != "" {
				t.Errorf("got an Accept-Encoding nobody set: %q", got)
			}
			if got := resp.Header.Get("X-Agent"); got != "" {
				t.Errorf("got a User-Agent nobody set: %q", got)
			}
			var two []string
			for name, value := range resp.Header.All() {
				if strings.EqualFold(name, "x-two") {
					two = append(two, value)
				}
			}
			if strings.Join(two, " ") != "1 2" {
				t.Errorf("got %q, want both fields", two)
			}

			zipped := post("\x1f\x8b what looks like gzip passes as it is")
			zipped.URI = "/gzip"
			mustFetch(t, e, zipped, 200, string(zipped.Body[0]))

			_, _, err = fetch(e, reader(10, strings.NewReader("short")))
			if oe := wantError(t, err, outbound.OpBody); !errors.Is(oe, io.ErrUnexpectedEOF) {
				t.Errorf("got %v, want an unexpected EOF", oe)
			}
			broken := errors.New("the client left")
			_, _, err = fetch(e, reader(-1, io.MultiReader(strings.NewReader("x"), iotest.ErrReader(broken))))
			if oe := wantError(t, err, outbound.OpBody); !errors.Is(oe, broken) {
				t.Errorf("got %v, want the reader's error", oe)
			}
		})
	}
}

// TestForeignLimits checks the time limits and the end of the context over HTTP/2.
func TestForeignLimits(t *testing.T) {
	left := make(chan struct{}, 10)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/half" {
			_, _ = io.WriteString(w, "half")
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
		left <- struct{}{}
	}))
	start(s, true, true)
	defer s.Close()
	e := newEndpoint(t, outbound.Config{BaseURL: s.URL, AllowPrivate: true, HTTP2: true, RootCAs: rootsOf(s)})
	gone := func() {
		t.Helper()
		select {
		case <-left:
		case <-time.After(patience):
			t.Fatal("the upstream was not told")
		}
	}

	_, err := e.Do(t.Context(), get("/"), outbound.Timeouts{FirstByte: 20 * time.Millisecond})
	if oe := wantError(t, err, outbound.OpHead); !oe.Timeout || !oe.Wrote {
		t.Fatalf("got %+v, want a timeout", oe)
	}
	gone()

	resp, err := e.Do(t.Context(), get("/half"), outbound.Timeouts{Idle: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	if oe := wantError(t, err, outbound.OpRead); !oe.Timeout || string(got) != "half" {
		t.Fatalf("got %q, %+v, want a timeout after half", got, oe)
	}
	gone()
	resp.Close()

	ctx, cancel := context.WithCancelCause(t.Context())
	resp, err = e.Do(ctx, get("/half"), generous)
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("revoked")
	cancel(why)
	_, err = io.ReadAll(resp.Body)
	if oe := wantError(t, err, outbound.OpRead); !errors.Is(oe, why) || oe.Timeout {
		t.Fatalf("got %v, want the context's cause", oe)
	}
	gone()
	resp.Close()

	resp, err = e.Do(t.Context(), get("/half"), generous)
	if err != nil {
		t.Fatal(err)
	}
	resp.Close()
	gone()
	if _, err := resp.Body.Read(make([]byte, 1)); err == nil {
		t.Fatal("a closed body can be read")
	}
}

// TestForeignEarlyAnswer has an upstream that refuses an upload it does not read, and a caller that takes its body back at once.
func TestForeignEarlyAnswer(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(413) }))
	start(s, true, true)
	defer s.Close()
	e := newEndpoint(t, outbound.Config{BaseURL: s.URL, AllowPrivate: true, HTTP2: true, RootCAs: rootsOf(s)})
	for range 20 {
		body := bytes.Repeat([]byte("x"), 4<<20)
		resp, err := e.Do(t.Context(), &outbound.Request{Method: "POST", URI: "/", Body: [][]byte{body}}, generous)
		if err != nil {
			t.Fatal(err)
		}
		clear(body) // the race detector sees whoever still reads it
		if resp.Status != 413 {
			t.Fatalf("got %d, want 413", resp.Status)
		}
		resp.Close()
	}
}
