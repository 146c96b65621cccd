package outbound_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/gateway/outbound"
	"gatehouse/internal/secret"
)

// TestRequestBytes pins what goes over the wire.
func TestRequestBytes(t *testing.T) {
	cases := []struct {
		req  *outbound.Request
		want string
	}{
		{get("/v1/models?a=b"), "GET /v1/models?a=b HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{&outbound.Request{Method: "DELETE", URI: "/x", Header: []outbound.Field{{Name: "x-odd_Name", Value: "caf\xc3\xa9\t!"}, {Name: "X-Empty"}}},
			"DELETE /x HTTP/1.1\r\nHost: HOST\r\nx-odd_Name: caf\xc3\xa9\t!\r\nX-Empty: \r\n\r\n"},
		{post(), "POST /v1/x HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n"},
		{post("{}", "", "\r\n"), "POST /v1/x HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n{}\r\n"},
		{&outbound.Request{Method: "PUT", URI: "/", Reader: io.MultiReader(strings.NewReader("abc"), strings.NewReader(long(20))), Length: -1},
			"PUT / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n14\r\n" + long(20) + "\r\n0\r\n\r\n"},
		{&outbound.Request{Method: "PUT", URI: "/", Reader: strings.NewReader("abcdef"), Length: 3}, "PUT / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 3\r\n\r\nabc"},
	}
	for _, tc := range cases {
		got := make(chan string, 1)
		s := serveRaw(t, func(p *peer) {
			want := len(strings.Replace(tc.want, "HOST", p.LocalAddr().String(), 1))
			buf := make([]byte, want)
			n, _ := io.ReadFull(p, buf)
			p.say("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
			got <- string(buf[:n])
		})
		req := *tc.req
		mustFetch(t, endpoint(t, s), &req, 200, "")
		host := strings.TrimPrefix(s.url, "http://")
		if got, want := <-got, strings.Replace(tc.want, "HOST", host, 1); got != want {
			t.Errorf("sent\n%q, want\n%q", got, want)
		}
	}
}

// TestRefusedRequests lists what could say something else on the wire than it says in the Request.
func TestRefusedRequests(t *testing.T) {
	s := serveRaw(t, answering(okAnswer))
	e := endpoint(t, s)
	two := newEndpoint(t, outbound.Config{BaseURL: s.url, AllowPrivate: true, HTTP2: true})
	field := func(name, value string) *outbound.Request {
		return &outbound.Request{Method: "GET", URI: "/", Header: []outbound.Field{{Name: name, Value: value}}}
	}
	credential := func(name, value string) *outbound.Request {
		return &outbound.Request{Method: "GET", URI: "/", Credential: outbound.Credential{Name: name, Value: secret.NewText(value), Origin: e.Origin()}}
	}
	requests := []*outbound.Request{
		{Method: "", URI: "/"}, {Method: "GET /", URI: "/"}, {Method: "GET\r\n", URI: "/"}, {Method: "CONNECT", URI: "/"},
		get(""), get("x"), get("http://other/"), get("*"), get("/a b"), get("/a\r\nX: y"), get("/a\nb"), get("/\x00"), get("/\x7f"), get("/ü"), get("/a#b"), get("/\t"),
		field("", "x"), field("X A", "x"), field("X-A:", "x"), field("X-A\r\nX-B", "x"), field("X-\x00", "x"), field("Ü", "x"), field(" X", "x"),
		field("X-A", "a\r\nX-B: c"), field("X-A", "a\nb"), field("X-A", "a\rb"), field("X-A", "a\x00b"), field("X-A", "\x7f"), field("X-A", "\x1b[0m"),
		{Method: "POST", URI: "/", Reader: strings.NewReader(""), Length: -2},
		credential("Authorization", "Bearer a\r\nX: y"), credential("Authori zation", "x"), credential("", "x"), credential("Host", "x"), credential("Content-Length", "0"),
	}
	for _, name := range []string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Upgrade", "Expect",
		"Authorization", "api-key", "X-Api-Key", "Cookie", "Proxy-Authorization", "Ocp-Apim-Subscription-Key"} {
		requests = append(requests, field(name, "1"), field(strings.ToLower(name), "1"), field(strings.ToUpper(name), "1"))
	}
	for i, req := range requests {
		for _, e := range []*outbound.Endpoint{e, two} {
			_, err := e.Do(t.Context(), req, generous)
			if oe := wantError(t, err, outbound.OpRequest); oe.Wrote || oe.Reused {
				t.Errorf("request %d: got %+v", i, oe)
			}
		}
	}
	if n := s.connections(); n != 0 {
		t.Fatalf("%d connections were made", n)
	}
}

// TestStale has servers that close their idle connections, or talk on them.
func TestStale(t *testing.T) {
	for _, tc := range []struct{ name, parting string }{{"closed", ""}, {"unsolicited answer", okAnswer}, {"a byte", "x"}} {
		for _, kind := range []string{"plain", "tls"} {
			t.Run(tc.name+"/"+kind, func(t *testing.T) {
				parted, release := make(chan struct{}, 2), make(chan struct{})
				handle := func(p *peer) {
					if _, _, err := p.request(); err != nil {
						return
					}
					p.say(okAnswer)
					<-release
					if tc.parting != "" {
						p.say(tc.parting)
						parted <- struct{}{}
						p.untilClosed()
					}
				}
				s := serveRaw(t, handle)
				if kind == "tls" {
					s = serveRawTLS(t, handle)
				}
				e := endpoint(t, s)
				mustFetch(t, e, get("/"), 200, "ok")
				close(release)
				if tc.parting != "" {
					<-parted
				} else {
					s.waitGone(t, 1)
				}
				mustFetch(t, e, post("{}"), 200, "ok")
				if n := s.connections(); n != 2 {
					t.Fatalf("used %d connections, want 2", n)
				}
			})
		}
	}
}

// TestAllStale has a server that closes all of its idle connections, as one that starts again does: one exchange finds that and uses one
// new connection.
func TestAllStale(t *testing.T) {
	const idle = 3
	var asked sync.WaitGroup
	asked.Add(idle)
	release := make(chan struct{})
	var first atomic.Int32
	s := serveRaw(t, func(p *peer) {
		if _, _, err := p.request(); err != nil {
			return
		}
		if first.Add(1) <= idle { // so that none of them serves two
			asked.Done()
			asked.Wait()
		}
		p.say(okAnswer)
		<-release
	})
	e := endpoint(t, s)
	var callers sync.WaitGroup
	for range idle {
		callers.Go(func() {
			if status, body, err := fetch(e, get("/")); status != 200 || body != "ok" || err != nil {
				t.Errorf("got %d, %q, %v", status, body, err)
			}
		})
	}
	callers.Wait()
	close(release)
	s.waitGone(t, idle)
	mustFetch(t, e, post("{}"), 200, "ok")
	if n := s.connections(); n != idle+1 {
		t.Fatalf("used %d connections, want %d", n, idle+1)
	}
}

// TestSpokenFirst has servers that answer before they are asked, as one does that has too many connections: the first exchange gets that
// answer.
func TestSpokenFirst(t *testing.T) {
	const busy = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbusy"
	for _, size := range []int{2, 32 << 10} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			s := serveRaw(t, func(p *peer) {
				p.say(busy)
				p.untilClosed()
			})
			mustFetch(t, endpoint(t, s), post(strings.Repeat("x", size)), 503, "busy")
		})
	}
}

// TestSmuggledAnswer has a TLS server that puts a second answer into the record of the first, where no look at the socket finds
// it. The next caller must not get it.
func TestSmuggledAnswer(t *testing.T) {
	for _, body := range []int{2, 100, 4096, 10 << 10} {
		s := serveRawTLS(t, func(p *peer) {
			for {
				if _, _, err := p.request(); err != nil {
					return
				}
				p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", body, long(body)) + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
			}
		})
		e := endpoint(t, s)
		for range 3 {
			resp, err := e.Do(t.Context(), get("/"), generous)
			if err != nil {
				t.Fatal(err)
			}
			// A large buffer is read into directly, which leaves what follows the body inside the TLS session.
			var got strings.Builder
			if _, err := io.CopyBuffer(struct{ io.Writer }{&got}, resp.Body, make([]byte, 64<<10)); err != nil || got.String() != long(body) {
				t.Fatalf("got %q, %v", clipped(got.String()), err)
			}
			resp.Close()
		}
		if n := s.connections(); n != 3 {
			t.Fatalf("used %d connections, want 3", n)
		}
	}
}

// TestTLSReuse checks that honest TLS connections do serve many exchanges, of every framing.
func TestTLSReuse(t *testing.T) {
	s := serveRawTLS(t, func(p *peer) {
		for i := 0; ; i++ {
			if _, _, err := p.request(); err != nil {
				return
			}
			if i%2 == 0 {
				p.say(okAnswer)
			} else {
				p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
				p.say("2\r\nok\r\n")
				p.say("0\r\n\r\n")
			}
		}
	})
	e := endpoint(t, s)
	for range 20 {
		mustFetch(t, e, post(long(30<<10), long(30<<10)), 200, "ok")
	}
	if n := s.connections(); n != 1 {
		t.Fatalf("used %d connections, want 1", n)
	}
}

// TestClosedInsteadOfAnswer: a request that may have been read is not sent twice, and the error says so.
func TestClosedInsteadOfAnswer(t *testing.T) {
	var mu sync.Mutex
	var bodies []string
	s := serveRaw(t, func(p *peer) {
		for i := range 2 {
			_, body, err := p.request()
			if err != nil {
				return
			}
			mu.Lock()
			bodies = append(bodies, body)
			mu.Unlock()
			if i == 0 {
				p.say(okAnswer)
			}
		}
	})
	e := endpoint(t, s)
	mustFetch(t, e, post("first"), 200, "ok")
	_, _, err := fetch(e, post("second"))
	if oe := wantError(t, err, outbound.OpHead); !oe.Wrote || !oe.Reused || oe.Timeout || !errors.Is(oe, io.EOF) {
		t.Fatalf("got %+v", oe)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(bodies, " "); got != "first second" {
		t.Fatalf("the server got %q, want each request once", got)
	}
}

// TestEarlyAnswer has servers that refuse a request before they have read it, and read no more of it.
func TestEarlyAnswer(t *testing.T) {
	refusals := map[string]string{
		"close": "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 7\r\n\r\ntoo big",
		"stay":  "HTTP/1.1 413 Content Too Large\r\nContent-Length: 7\r\n\r\ntoo big",
	}
	huge := make([][]byte, 64)
	for i := range huge {
		huge[i] = make([]byte, 1<<20)
	}
	requests := map[string]func() *outbound.Request{
		"medium": func() *outbound.Request { return post(long(200 << 10)) },
		"large":  func() *outbound.Request { return &outbound.Request{Method: "POST", URI: "/", Body: huge} },
		"reader": func() *outbound.Request {
			return &outbound.Request{Method: "POST", URI: "/", Reader: zeros{}, Length: 1 << 40}
		},
		"chunked": func() *outbound.Request {
			return &outbound.Request{Method: "POST", URI: "/", Reader: zeros{}, Length: -1}
		},
	}
	for name, request := range requests {
		for _, then := range []string{"close", "stay"} {
			for _, kind := range []string{"plain", "tls"} {
				if name == "medium" && then == "stay" {
					continue // what fits the socket's buffers is simply written
				}
				t.Run(name+"/"+then+"/"+kind, func(t *testing.T) {
					handle := func(p *peer) {
						for { // the head only
							line, err := p.ReadString('\n')
							if err != nil {
								return
							}
							if line == "\r\n" {
								break
							}
						}
						p.say(refusals[then])
						if then == "close" {
							// As servers do that want their answer to arrive: say that nothing more comes, then read on for a while.
							if half, ok := p.Conn.(interface{ CloseWrite() error }); ok {
								_ = half.CloseWrite()
							}
							_, _ = io.CopyN(io.Discard, p, 1<<20)
							return
						}
						<-t.Context().Done()
					}
					s := serveRaw(t, handle)
					if kind == "tls" {
						s = serveRawTLS(t, handle)
					}
					e := endpoint(t, s)
					for range 2 {
						// Without a limit on silence: nothing but the answer ends the write.
						resp, err := e.Do(t.Context(), request(), outbound.Timeouts{FirstByte: patience})
						if err != nil {
							t.Fatal(err)
						}
						if got, err := io.ReadAll(resp.Body); err != nil || resp.Status != 413 || string(got) != "too big" {
							t.Fatalf("got %d %q, %v", resp.Status, got, err)
						}
						resp.Close()
					}
					if n := s.connections(); n != 2 {
						t.Fatalf("used %d connections, want 2: the first has half a request on it", n)
					}
				})
			}
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestCancel ends exchanges of many clients at each stage; the upstream must see every one of them.
func TestCancel(t *testing.T) {
	const clients = 50
	stages := map[string]struct {
		say string
		req func() *outbound.Request
	}{
		"before the head": {"", func() *outbound.Request { return post("{}") }},
		"in the head":     {"HTTP/1.1 200", func() *outbound.Request { return post("{}") }},
		"in the stream":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata: \r\n", func() *outbound.Request { return post("{}") }},
		"in the upload": {"", func() *outbound.Request {
			return &outbound.Request{Method: "POST", URI: "/", Reader: zeros{}, Length: -1}
		}},
	}
	for name, stage := range stages {
		for _, kind := range []string{"plain", "tls"} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				got := make(chan struct{}, clients)
				handle := func(p *peer) {
					if _, err := p.ReadString('\n'); err != nil {
						return
					}
					p.say(stage.say)
					got <- struct{}{}
					p.untilClosed()
				}
				s := serveRaw(t, handle)
				if kind == "tls" {
					s = serveRawTLS(t, handle)
				}
				e := endpoint(t, s)
				ctx, cancel := context.WithCancelCause(t.Context())
				errs := make(chan error, clients)
				for range clients {
					go func() {
						resp, err := e.Do(ctx, stage.req(), generous)
						if err == nil {
							_, err = io.Copy(io.Discard, resp.Body)
							resp.Close()
						}
						errs <- err
					}()
				}
				for range clients {
					<-got
				}
				why := errors.New("the client left")
				cancel(why)
				for range clients {
					select {
					case err := <-errs:
						var oe *outbound.Error
						if !errors.As(err, &oe) || !errors.Is(err, why) || !oe.Wrote || oe.Timeout {
							t.Fatalf("got %v, want the context's cause", err)
						}
					case <-time.After(patience):
						t.Fatal("a client hangs")
					}
				}
				s.waitGone(t, clients)
			})
		}
	}
}

// TestCancelledBefore does not even dial.
func TestCancelledBefore(t *testing.T) {
	s := serveRaw(t, answering(okAnswer))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := endpoint(t, s).Do(ctx, get("/"), generous)
	if oe := wantError(t, err, outbound.OpDial); oe.Wrote || !errors.Is(oe, context.Canceled) || s.connections() != 0 {
		t.Fatalf("got %+v and %d connections", oe, s.connections())
	}
}

// TestLimits lets each limit strike.
func TestLimits(t *testing.T) {
	const short = 30 * time.Millisecond
	silent := serveRaw(t, func(p *peer) { p.untilClosed() })
	deaf := serveRaw(t, func(p *peer) { <-t.Context().Done() })
	half := serveRaw(t, func(p *peer) {
		_, _, _ = p.request()
		p.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		p.untilClosed()
	})
	t.Run("tls", func(t *testing.T) {
		e := newEndpoint(t, outbound.Config{BaseURL: "https" + strings.TrimPrefix(silent.url, "http"), AllowPrivate: true})
		_, err := e.Do(t.Context(), get("/"), outbound.Timeouts{Connect: short})
		if oe := wantError(t, err, outbound.OpTLS); !oe.Timeout || oe.Wrote {
			t.Fatalf("got %+v", oe)
		}
	})
	t.Run("first byte", func(t *testing.T) {
		_, err := endpoint(t, silent).Do(t.Context(), get("/"), outbound.Timeouts{FirstByte: short})
		if oe := wantError(t, err, outbound.OpHead); !oe.Timeout || !oe.Wrote {
			t.Fatalf("got %+v", oe)
		}
	})
	t.Run("first byte after an upload", func(t *testing.T) {
		_, err := endpoint(t, silent).Do(t.Context(), &outbound.Request{Method: "POST", URI: "/", Reader: strings.NewReader("x"), Length: 1}, outbound.Timeouts{FirstByte: short})
		if oe := wantError(t, err, outbound.OpHead); !oe.Timeout || !oe.Wrote {
			t.Fatalf("got %+v", oe)
		}
	})
	t.Run("upload", func(t *testing.T) {
		_, err := endpoint(t, deaf).Do(t.Context(), &outbound.Request{Method: "POST", URI: "/", Reader: zeros{}, Length: -1}, outbound.Timeouts{Idle: short})
		if oe := wantError(t, err, outbound.OpWrite); !oe.Timeout || !oe.Wrote {
			t.Fatalf("got %+v", oe)
		}
	})
	t.Run("idle", func(t *testing.T) {
		resp, err := endpoint(t, half).Do(t.Context(), get("/"), outbound.Timeouts{FirstByte: patience, Idle: short})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Close()
		got, err := io.ReadAll(resp.Body)
		if oe := wantError(t, err, outbound.OpRead); !oe.Timeout || string(got) != "half" {
			t.Fatalf("got %q, %+v", got, oe)
		}
		if _, again := resp.Body.Read(make([]byte, 1)); again != err {
			t.Fatalf("a second read gives %v, want the same error", again)
		}
	})
	t.Run("total", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), short)
		defer cancel()
		resp, err := endpoint(t, half).Do(ctx, get("/"), generous)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Close()
		}
		// On a busy machine the whole may be over before the head is there.
		var oe *outbound.Error
		if !errors.As(err, &oe) || !oe.Timeout || !errors.Is(oe, context.DeadlineExceeded) {
			t.Fatalf("got %+v", err)
		}
	})
	// A deadline of one exchange must not strike in the next.
	t.Run("left over", func(t *testing.T) {
		gap := make(chan struct{})
		s := serveRaw(t, func(p *peer) {
			for i := 0; ; i++ {
				if _, _, err := p.request(); err != nil {
					return
				}
				if i == 1 {
					<-gap
				}
				p.say(okAnswer)
			}
		})
		e := endpoint(t, s)
		const limit = 300 * time.Millisecond
		resp, err := e.Do(t.Context(), get("/"), outbound.Timeouts{FirstByte: limit})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); err != nil {
			t.Fatal(err)
		}
		resp.Close()
		timer := time.AfterFunc(limit+limit/3, func() { close(gap) })
		defer timer.Stop()
		mustFetch(t, e, get("/"), 200, "ok")
		if n := s.connections(); n != 1 {
			t.Fatalf("used %d connections, want 1", n)
		}
	})
}

func TestDialAndTLSFailures(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	_, err = newEndpoint(t, outbound.Config{BaseURL: "http://" + ln.Addr().String(), AllowPrivate: true}).Do(t.Context(), get("/"), generous)
	if oe := wantError(t, err, outbound.OpDial); oe.Wrote || oe.Timeout {
		t.Fatalf("got %+v", oe)
	}

	// A certificate nobody vouches for, and one for another name.
	s := serveRawTLS(t, answering(okAnswer))
	_, err = newEndpoint(t, outbound.Config{BaseURL: s.url, AllowPrivate: true}).Do(t.Context(), get("/"), generous)
	wantError(t, err, outbound.OpTLS)
	e := newEndpoint(t, outbound.Config{BaseURL: strings.Replace(s.url, "127.0.0.1", "localhost", 1), AllowPrivate: true, RootCAs: s.roots})
	_, err = e.Do(t.Context(), get("/"), generous)
	wantError(t, err, outbound.OpTLS)

	// TLS 1.1, and a server that does not speak HTTP.
	cfg, roots := certificate(t)
	for _, odd := range []*tls.Config{{Certificates: cfg.Certificates, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}, {Certificates: cfg.Certificates, NextProtos: []string{"imap"}}} {
		s := serve(t, odd, answering(okAnswer))
		_, err = newEndpoint(t, outbound.Config{BaseURL: s.url, AllowPrivate: true, RootCAs: roots}).Do(t.Context(), get("/"), generous)
		wantError(t, err, outbound.OpTLS)
	}

	// A TLS stream that is cut, rather than ended, cuts a body that only the end delimits.
	s = serveRawTLS(t, func(p *peer) {
		_, _, _ = p.request()
		p.say("HTTP/1.1 200 OK\r\n\r\nhalf")
		_ = p.Conn.(*tls.Conn).NetConn().Close()
	})
	_, body, err := fetch(endpoint(t, s), get("/"))
	if wantError(t, err, outbound.OpRead); body != "half" {
		t.Fatalf("got %q", body)
	}
}

func TestPool(t *testing.T) {
	t.Run("idle connections end", func(t *testing.T) {
		s := serveRaw(t, answering(okAnswer))
		e := newEndpoint(t, outbound.Config{BaseURL: s.url, AllowPrivate: true, IdleTimeout: 20 * time.Millisecond})
		mustFetch(t, e, get("/"), 200, "ok")
		s.waitGone(t, 1)
		mustFetch(t, e, get("/"), 200, "ok")
		s.waitGone(t, 1)
	})
	t.Run("no more than MaxIdle are kept", func(t *testing.T) {
		const clients, kept = 8, 3
		var all sync.WaitGroup
		all.Add(clients)
		s := serveRaw(t, func(p *peer) {
			for {
				if _, _, err := p.request(); err != nil {
					return
				}
				all.Done()
				all.Wait()
				p.say(okAnswer)
			}
		})
		e := newEndpoint(t, outbound.Config{BaseURL: s.url, AllowPrivate: true, MaxIdle: kept})
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() { mustFetch(t, e, get("/"), 200, "ok") })
		}
		wg.Wait()
		s.waitGone(t, clients-kept)
		e.Close()
		s.waitGone(t, kept)
	})
	t.Run("closed endpoints keep nothing", func(t *testing.T) {
		s := serveRaw(t, answering(okAnswer))
		e := endpoint(t, s)
		e.Close()
		mustFetch(t, e, get("/"), 200, "ok")
		s.waitGone(t, 1)
	})
	t.Run("an unread body costs the connection", func(t *testing.T) {
		s := serveRaw(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"+long(100000)))
		e := endpoint(t, s)
		resp, err := e.Do(t.Context(), get("/"), generous)
		if err != nil {
			t.Fatal(err)
		}
		resp.Close()
		resp.Close() // a second time does nothing
		s.waitGone(t, 1)
	})
	t.Run("a stream whose end has arrived does not", func(t *testing.T) {
		s := serveRaw(t, answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"))
		e := endpoint(t, s)
		for range 3 {
			resp, err := e.Do(t.Context(), get("/"), generous)
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 14)
			if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "data: [DONE]\n\n" {
				t.Fatalf("got %q, %v", buf, err)
			}
			resp.Close()
		}
		if n := s.connections(); n != 1 {
			t.Fatalf("used %d connections, want 1", n)
		}
	})
}

// TestConcurrent has many callers share few connections; each must get its own answer.
func TestConcurrent(t *testing.T) {
	s := serveRaw(t, func(p *peer) {
		for {
			r, body, err := p.request()
			if err != nil {
				return
			}
			p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Path: %s\r\nTransfer-Encoding: chunked\r\n\r\n", r.URL.Path))
			p.say(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body))
		}
	})
	e := endpoint(t, s)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 50 {
				body := fmt.Sprintf("body of %d.%d %s", i, j, long(j*100))
				ctx, cancel := context.WithCancel(t.Context())
				resp, err := e.Do(ctx, &outbound.Request{Method: "POST", URI: fmt.Sprintf("/%d/%d", i, j), Body: [][]byte{[]byte(body)}}, generous)
				if err != nil {
					t.Error(err)
					cancel()
					return
				}
				got, err := io.ReadAll(resp.Body)
				if err != nil || string(got) != body || resp.Header.Get("X-Path") != fmt.Sprintf("/%d/%d", i, j) {
					t.Errorf("got %q for %s, %v, want %q", clipped(string(got)), resp.Header.Get("X-Path"), err, clipped(body))
				}
				resp.Close()
				cancel()
			}
		})
	}
	wg.Wait()
}

// TestLargeBodies moves a body of many megabytes in each framing.
func TestLargeBodies(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // 8 MiB
	for _, kind := range []string{"plain", "tls"} {
		handle := func(p *peer) {
			for {
				r, err := http.ReadRequest(p.Reader)
				if err != nil {
					return
				}
				switch r.URL.Path {
				case "/length":
					p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(big)))
					_, _ = p.Conn.Write(big)
				case "/chunked":
					p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
					for rest := big; len(rest) > 0; {
						n := min(len(rest), 70_001)
						p.say(fmt.Sprintf("%x\r\n", n))
						_, _ = p.Conn.Write(rest[:n])
						p.say("\r\n")
						rest = rest[n:]
					}
					p.say("0\r\n\r\n")
				default:
					p.say("HTTP/1.1 200 OK\r\n\r\n")
					_, _ = p.Conn.Write(big)
					return
				}
			}
		}
		s := serveRaw(t, handle)
		if kind == "tls" {
			s = serveRawTLS(t, handle)
		}
		e := endpoint(t, s)
		for _, uri := range []string{"/length", "/chunked", "/close"} {
			status, got, err := fetch(e, get(uri))
			if err != nil || status != 200 || got != string(big) {
				t.Fatalf("%s %s: got %d and %d bytes, %v", kind, uri, status, len(got), err)
			}
		}
		if n := s.connections(); n != 1 {
			t.Fatalf("%s: used %d connections, want 1", kind, n)
		}
	}
}
