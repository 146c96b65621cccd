package gatehousetest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// deadline gives a wait that should be short an end.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func get(t *testing.T, client *http.Client, url string) (*http.Response, string, error) {
	t.Helper()
	res, err := client.Get(url)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

// raw is a connection that speaks for itself.
func raw(t *testing.T, u *Upstream) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := Dialer(t)(deadline(t), "tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, bufio.NewReader(conn)
}

func send(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

func TestUpstreamRecordsEveryByte(t *testing.T) {
	u := NewUpstream(t)
	conn, r := raw(t, u)
	head1 := "POST /v1/%41?b=1&b=2 HTTP/1.1\r\nhost: x\r\nX-ODD:  two  spaces \r\nContent-Length: 5\r\nx-odd: again\r\n\r\n"
	head2 := "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	body2 := "3;ext=1\r\nab\x00\r\n0A\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n"
	send(t, conn, head1+"hello"+head2+body2) // the second follows without waiting

	var echoes []Echoed
	for range 2 {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		var e Echoed
		if err := json.NewDecoder(res.Body).Decode(&e); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		echoes = append(echoes, e)
	}
	got, err := u.Wait(deadline(t), 2)
	if err != nil {
		t.Fatal(err)
	}
	want := []Recorded{
		{
			Connection: 1, Head: []byte(head1), RawBody: []byte("hello"), Body: []byte("hello"), Complete: true, Method: "POST", Target: "/v1/%41?b=1&b=2",
			Fields: [][2]string{{"host", "x"}, {"X-ODD", "two  spaces"}, {"Content-Length", "5"}, {"x-odd", "again"}},
			Header: http.Header{"Host": {"x"}, "X-Odd": {"two  spaces", "again"}, "Content-Length": {"5"}},
		},
		{
			Connection: 1, Head: []byte(head2), RawBody: []byte(body2), Body: []byte("ab\x000123456789"), Complete: true, Method: "PUT", Target: "/",
			Fields: [][2]string{{"Host", "x"}, {"Transfer-Encoding", "chunked"}},
			Header: http.Header{"Host": {"x"}, "Transfer-Encoding": {"chunked"}},
		},
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("request %d\n got %+v\nwant %+v", i, got[i], want[i])
		}
		e := Echoed{Method: want[i].Method, Target: want[i].Target, Fields: want[i].Fields, Text: string(want[i].Body)}
		if !reflect.DeepEqual(echoes[i], e) {
			t.Errorf("echo %d\n got %+q\nwant %+q", i, echoes[i], e)
		}
	}
	if n := u.Accepted(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestEchoOfBytes(t *testing.T) {
	u := NewUpstream(t)
	res, err := Client(t).Post(u.URL, "application/octet-stream", strings.NewReader("\xff\xfe"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var e Echoed
	if err := json.NewDecoder(res.Body).Decode(&e); err != nil || string(e.Bytes) != "\xff\xfe" || e.Text != "" {
		t.Errorf("echo %+q (%v)", e, err)
	}
}

func TestScriptInOrder(t *testing.T) {
	u := NewUpstream(t, Respond(429, "application/json", `{}`, "Retry-After: 1"), Chunked(200, "text/plain", "a", "bc"), Gzip(200, "text/plain", "packed"), UntilClose(200, "text/plain", "open end"), Respond(500, "text/plain", "last"))
	client := Client(t)
	want := []struct {
		status int
		body   string
	}{{429, "{}"}, {200, "abc"}, {200, "packed"}, {200, "open end"}, {500, "last"}, {500, "last"}}
	for i, w := range want {
		res, body, err := get(t, client, u.URL)
		if err != nil || res.StatusCode != w.status || body != w.body {
			t.Fatalf("answer %d = %v %q (%v), want %d %q", i, res, body, err, w.status, w.body)
		}
		switch i {
		case 0:
			if res.Header.Get("Retry-After") != "1" {
				t.Errorf("headers %v", res.Header)
			}
		case 1:
			if !slices.Equal(res.TransferEncoding, []string{"chunked"}) {
				t.Errorf("transfer encoding %v", res.TransferEncoding)
			}
		case 2:
			if !res.Uncompressed {
				t.Error("the answer was not in gzip")
			}
		case 3:
			if res.ContentLength != -1 || !res.Close {
				t.Errorf("length %d, close %v", res.ContentLength, res.Close)
			}
		}
	}
	got := u.Requests()
	if got[0].Connection != got[2].Connection || got[3].Connection == got[4].Connection || got[4].Connection != got[5].Connection {
		t.Errorf("the fourth answer did not close its connection, or another did: %+v", got)
	}
}

func TestExactBytesAndGates(t *testing.T) {
	const answer = "HTTP/1.1 299 Odd Words\r\nX-a:1\r\nContent-Length: 6\r\n\r\n"
	gate, reached := make(chan struct{}), make(chan struct{})
	u := NewUpstream(t, Script(Write(answer+"abc"), Reached(reached), Hold(gate), Write("def")))
	conn, r := raw(t, u)
	send(t, conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	first := make([]byte, len(answer)+3)
	if _, err := io.ReadFull(r, first); err != nil || string(first) != answer+"abc" {
		t.Fatalf("first write %q (%v)", first, err)
	}
	<-reached
	if n := r.Buffered(); n != 0 {
		t.Fatalf("%d bytes came before the gate opened", n)
	}
	close(gate)
	rest := make([]byte, 3)
	if _, err := io.ReadFull(r, rest); err != nil || string(rest) != "def" {
		t.Fatalf("second write %q (%v)", rest, err)
	}
}

func TestCutAfter(t *testing.T) {
	full := Respond(200, "text/plain", "0123456789")
	headLen := len("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n")
	for _, n := range []int{0, 5, headLen, headLen + 4, headLen + 9} {
		u := NewUpstream(t, CutAfter(n, full))
		conn, r := raw(t, u)
		send(t, conn, "GET / HTTP/1.1\r\n\r\n")
		b, err := io.ReadAll(r)
		if err != nil || len(b) != n {
			t.Errorf("cut after %d: got %q (%v)", n, b, err)
		}
		if err := u.Closed(deadline(t)); err != nil {
			t.Errorf("cut after %d: %v", n, err)
		}
	}
	u := NewUpstream(t, CutAfter(headLen+11, full))
	if _, body, err := get(t, Client(t), u.URL); err != nil || body != "0123456789" {
		t.Errorf("cut after the end: %q (%v)", body, err)
	}
}

func TestReset(t *testing.T) {
	u := NewUpstream(t, Script(Reset()))
	conn, r := raw(t, u)
	send(t, conn, "GET / HTTP/1.1\r\n\r\n")
	if _, err := r.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after a reset: %v", err)
	}
}

func TestClientLeavesAStall(t *testing.T) {
	left := make(chan struct{})
	reached := []chan struct{}{make(chan struct{}), make(chan struct{})}
	u := NewUpstream(t, Script(ChunkedHead(200, "text/event-stream"), Chunk("data: 1\n\n"), Reached(reached[0]), func(x *Exchange) error {
		<-x.Gone()
		close(left)
		return nil
	}), Script(Reached(reached[1]), Stall()))
	for i := range 2 {
		ctx, cancel := context.WithCancel(deadline(t))
		req, err := http.NewRequestWithContext(ctx, "POST", u.URL, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { // ends when the request is cancelled
			res, err := Client(t).Do(req)
			if err == nil {
				_, err = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
			done <- err
		}()
		<-reached[i]
		if got, err := u.Wait(ctx, i+1); err != nil || string(got[i].Body) != "x" {
			t.Fatalf("recorded %+v (%v)", got, err)
		}
		if n := u.OpenConnections(); n != 1 {
			t.Errorf("%d open connections, want 1", n)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the client saw %v", err)
		}
		if err := u.Closed(deadline(t)); err != nil {
			t.Fatalf("the upstream does not see that the client left: %v", err)
		}
	}
	<-left
}

func TestExpectContinue(t *testing.T) {
	u := NewUpstream(t)
	conn, r := raw(t, u)
	send(t, conn, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	line, err := r.ReadString('\n')
	if err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("interim answer %q (%v)", line, err)
	}
	if got := u.Requests(); len(got) != 1 || got[0].Complete {
		t.Errorf("before the body: %+v", got)
	}
	send(t, conn, "ab")
	got, err := u.Wait(deadline(t), 1)
	if err != nil || string(got[0].Body) != "ab" {
		t.Errorf("body %+v (%v)", got, err)
	}
}

func TestEarly(t *testing.T) {
	u := NewUpstream(t, Early(Respond(413, "text/plain", "too large")), Respond(200, "text/plain", "next"))
	conn, r := raw(t, u)
	send(t, conn, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 10))
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != 413 {
		t.Fatalf("answer %v (%v), want 413 before the body", res, err)
	}
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "too large" {
		t.Fatalf("body %q (%v)", b, err)
	}
	if u.Requests()[0].Complete {
		t.Error("a request that is not whole is said to be")
	}
	send(t, conn, strings.Repeat("x", 100000-10)+"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	got, err := u.Wait(deadline(t), 2)
	if err != nil || len(got[0].Body) != 100000 {
		t.Fatalf("%v", err)
	}
	if res, err := http.ReadResponse(r, nil); err != nil || res.StatusCode != 200 {
		t.Fatalf("second answer %v (%v)", res, err)
	}
}

func TestBrokenOffRequests(t *testing.T) {
	for _, part := range []string{"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"} {
		for _, step := range []Step{Echo(), Early(Script(Stall()))} {
			u := NewUpstream(t, step)
			conn, _ := raw(t, u)
			send(t, conn, part)
			conn.Close()
			ctx, cancel := context.WithTimeout(deadline(t), 10*time.Second)
			if err := u.until(ctx, func() bool { return u.accepted == 1 && len(u.conns) == 0 }); err != nil {
				t.Fatalf("%q: %v", part, err)
			}
			cancel()
			if got := u.Requests(); len(got) != 1 || got[0].Complete || !bytes.Equal(append(got[0].Head, got[0].RawBody...), []byte(part)) {
				t.Errorf("%q: recorded %+v", part, got)
			}
		}
	}
	u := NewUpstream(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := u.Wait(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v", err)
	}
}

func TestTLSUpstream(t *testing.T) {
	u := NewTLSUpstream(t, CutAfter(1<<20, Respond(200, "text/plain", "sealed")), Script(Close()))
	if !strings.HasPrefix(u.URL, "https://127.0.0.1:") || !bytes.Contains(u.CA, []byte("BEGIN CERTIFICATE")) {
		t.Fatalf("URL %s, CA %s", u.URL, u.CA)
	}
	transport := Transport(t)
	transport.TLSClientConfig = &tls.Config{RootCAs: u.Pool}
	transport.ForceAttemptHTTP2 = true
	client := &http.Client{Transport: transport}
	res, body, err := get(t, client, u.URL)
	if err != nil || body != "sealed" || res.Proto != "HTTP/1.1" || res.TLS.NegotiatedProtocol != "http/1.1" {
		t.Fatalf("%v %q (%v)", res, body, err)
	}
	if _, _, err := get(t, client, u.URL); !errors.Is(err, io.EOF) {
		t.Errorf("after Close: %v", err)
	}
	if _, _, err := get(t, Client(t), u.URL); err == nil {
		t.Error("a client that does not know the authority was served")
	}
}

func TestUpstreamEndsWithItsTest(t *testing.T) {
	s := &spy{TB: t}
	u := NewUpstream(s, Script(Stall()))
	conn, r := raw(t, u)
	send(t, conn, "GET / HTTP/1.1\r\n\r\n")
	if _, err := u.Wait(deadline(t), 1); err != nil {
		t.Fatal(err)
	}
	for _, f := range s.cleanups {
		f()
	}
	if b, err := r.ReadByte(); err == nil {
		t.Errorf("read %q after the end", b)
	}
	if n := u.OpenConnections(); n != 0 {
		t.Errorf("%d connections stay open", n)
	}
}
