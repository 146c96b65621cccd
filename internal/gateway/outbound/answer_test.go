package outbound_test

import (
	"fmt"
	"strings"
	"testing"

	"gatehouse/internal/gateway/outbound"
)

// TestAnswers feeds every kind of answer, whole and byte by byte, and checks what the caller gets, by Read and by Pieces, and whether
// the connection serves a second request.
func TestAnswers(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\n"
	cases := []struct {
		name   string
		method string
		raw    string
		hangUp bool // the server closes after it
		status int
		body   string
		op     string // the step that fails; empty: none
		reused bool
		last   int // bytes at the end that are sent at once: what follows an answer is there when it ends
	}{
		{name: "length", raw: okAnswer, status: 200, body: "ok", reused: true},
		{name: "no reason", raw: "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok", reused: true},
		{name: "empty", raw: head + "content-length: 0\r\n\r\n", status: 200, reused: true},
		{name: "same length twice", raw: head + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok", reused: true},
		{name: "chunked", raw: head + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n", status: 200, body: "ok!", reused: true},
		{name: "chunked in capitals", raw: head + "TRANSFER-ENCODING: Chunked\r\n\r\n0A\r\n0123456789\r\n000\r\n\r\n", status: 200, body: "0123456789", reused: true},
		{name: "chunk extensions", raw: head + "Transfer-Encoding: chunked\r\n\r\n2;a=b;c=\"0\"\r\nok\r\n0 ; x\r\n\r\n", status: 200, body: "ok", reused: true},
		{name: "trailers", raw: head + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nContent-Length: 7\r\n\r\n", status: 200, body: "ok", reused: true},
		{name: "head", method: "HEAD", raw: head + "Content-Length: 20\r\n\r\n", status: 200, reused: true},
		{name: "head chunked", method: "HEAD", raw: head + "Transfer-Encoding: chunked\r\n\r\n", status: 200, reused: true},
		{name: "204", raw: "HTTP/1.1 204 No Content\r\n\r\n", status: 204, reused: true},
		{name: "304 with a length", raw: "HTTP/1.1 304 Not Modified\r\nContent-Length: 20\r\n\r\n", status: 304, reused: true},
		{name: "204 that claims a body", raw: "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", status: 204},
		{name: "until close", raw: head + "\r\nall of it", hangUp: true, status: 200, body: "all of it"},
		{name: "connection close", raw: head + "Connection: foo, Close\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok"},
		{name: "http/1.0", raw: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok"},
		{name: "informational", raw: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + okAnswer, status: 200, body: "ok", reused: true},
		{name: "redirect", raw: "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n", status: 302, reused: true},
		{name: "bytes after the answer", raw: okAnswer + "HTTP/1.1 200 OK\r\n", last: 18, status: 200, body: "ok"},
		{name: "bytes after the last chunk", raw: head + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nx", last: 2, status: 200},
		{name: "long head", raw: head + "X-A: " + long(20<<10) + "\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok", reused: true},
		{name: "empty value", raw: head + "X-Empty:\r\nX-Blank: \t \r\nContent-Length:\t2 \r\n\r\nok", status: 200, body: "ok", reused: true},

		{name: "nothing", raw: "", hangUp: true, op: outbound.OpHead},
		{name: "half a head", raw: head + "X-A: b", hangUp: true, op: outbound.OpHead},
		{name: "bare LF after the status", raw: "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", op: outbound.OpHead},
		{name: "bare LF in the head", raw: head + "X-A: b\nContent-Length: 2\r\n\r\nok", op: outbound.OpHead},
		{name: "bare LF as the end", raw: head + "Content-Length: 2\r\n\nok", op: outbound.OpHead},
		{name: "folded line", raw: head + "X-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok", op: outbound.OpHead},
		{name: "length and chunked", raw: head + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", op: outbound.OpHead},
		{name: "chunked and length", raw: head + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", op: outbound.OpHead},
		{name: "204 with length and chunked", raw: "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n", op: outbound.OpHead},
		{name: "two lengths", raw: head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!", op: outbound.OpHead},
		{name: "one length in two spellings", raw: head + "Content-Length: 02\r\nContent-Length: 2\r\n\r\nok", op: outbound.OpHead},
		{name: "a list of lengths", raw: head + "Content-Length: 2, 2\r\n\r\nok", op: outbound.OpHead},
		{name: "signed length", raw: head + "Content-Length: +2\r\n\r\nok", op: outbound.OpHead},
		{name: "negative length", raw: head + "Content-Length: -2\r\n\r\nok", op: outbound.OpHead},
		{name: "hexadecimal length", raw: head + "Content-Length: 0x2\r\n\r\nok", op: outbound.OpHead},
		{name: "no length", raw: head + "Content-Length: \r\n\r\nok", op: outbound.OpHead},
		{name: "overflowing length", raw: head + "Content-Length: 18446744073709551618\r\n\r\nok", op: outbound.OpHead},
		{name: "gzip coding", raw: head + "Transfer-Encoding: gzip\r\n\r\nok", op: outbound.OpHead},
		{name: "gzip and chunked", raw: head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", op: outbound.OpHead},
		{name: "chunked twice", raw: head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", op: outbound.OpHead},
		{name: "chunked in http/1.0", raw: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", op: outbound.OpHead},
		{name: "http/2 status line", raw: "HTTP/2.0 200 OK\r\n\r\n", op: outbound.OpHead},
		{name: "http/1.2 status line", raw: "HTTP/1.2 200 OK\r\n\r\n", op: outbound.OpHead},
		{name: "two spaces", raw: "HTTP/1.1  200 OK\r\n\r\n", op: outbound.OpHead},
		{name: "two digits", raw: "HTTP/1.1 20 OK\r\n\r\n", op: outbound.OpHead},
		{name: "status 099", raw: "HTTP/1.1 099 OK\r\n\r\n", op: outbound.OpHead},
		{name: "control in the reason", raw: "HTTP/1.1 200 O\x00K\r\n\r\n", op: outbound.OpHead},
		{name: "not http", raw: "SSH-2.0-OpenSSH_9.2\r\n\r\n", op: outbound.OpHead},
		{name: "empty line first", raw: "\r\n" + okAnswer, op: outbound.OpHead},
		{name: "space before the colon", raw: head + "Content-Length : 2\r\n\r\nok", op: outbound.OpHead},
		{name: "no name", raw: head + ": x\r\n\r\n", op: outbound.OpHead},
		{name: "no colon", raw: head + "Content-Length\r\n\r\n", op: outbound.OpHead},
		{name: "NUL in a value", raw: head + "X-A: a\x00b\r\n\r\n", op: outbound.OpHead},
		{name: "CR in a value", raw: head + "X-A: a\rContent-Length: 2\r\n\r\nok", op: outbound.OpHead},
		{name: "switching protocols", raw: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", op: outbound.OpHead},
		{name: "informational without end", raw: strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 20), op: outbound.OpHead},
		{name: "malformed informational head", raw: "HTTP/1.1 103 Early Hints\r\nLink\r\n\r\n" + okAnswer, op: outbound.OpHead},
		{name: "informational head with a body", raw: "HTTP/1.1 103 Early Hints\r\nContent-Length: 2\r\n\r\nok" + okAnswer, op: outbound.OpHead},
		{name: "endless head", raw: head + "X-A: " + long(70<<10), op: outbound.OpHead},
		{name: "cut length", raw: head + "Content-Length: 5\r\n\r\nok", hangUp: true, status: 200, body: "ok", op: outbound.OpRead},
		{name: "cut chunk", raw: head + "Transfer-Encoding: chunked\r\n\r\n5\r\nok", hangUp: true, status: 200, body: "ok", op: outbound.OpRead},
		{name: "cut before the last chunk", raw: head + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", hangUp: true, status: 200, body: "ok", op: outbound.OpRead},
		{name: "cut trailers", raw: head + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n", hangUp: true, status: 200, body: "ok", op: outbound.OpRead},
		{name: "chunk size is no number", raw: head + "Transfer-Encoding: chunked\r\n\r\n2g\r\nok\r\n0\r\n\r\n", status: 200, op: outbound.OpRead},
		{name: "chunk without size", raw: head + "Transfer-Encoding: chunked\r\n\r\n;x\r\nok\r\n0\r\n\r\n", status: 200, op: outbound.OpRead},
		{name: "negative chunk", raw: head + "Transfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n", status: 200, op: outbound.OpRead},
		{name: "prefixed chunk", raw: head + "Transfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n", status: 200, op: outbound.OpRead},
		{name: "overflowing chunk", raw: head + "Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\nok\r\n0\r\n\r\n", status: 200, op: outbound.OpRead},
		{name: "chunk longer than its size", raw: head + "Transfer-Encoding: chunked\r\n\r\n2\r\nok!\r\n0\r\n\r\n", status: 200, body: "ok", op: outbound.OpRead},
		{name: "bare LF after a size", raw: head + "Transfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n", status: 200, op: outbound.OpRead},
		{name: "bare LF after a chunk", raw: head + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\n0\r\n\r\n", status: 200, body: "ok", op: outbound.OpRead},
		{name: "bare LF in an extension", raw: head + "Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\nok\r\n0\r\n\r\n", status: 200, op: outbound.OpRead},
		{name: "CR in an extension", raw: head + "Transfer-Encoding: chunked\r\n\r\n2;a\rb\r\nok\r\n0\r\n\r\n", status: 200, op: outbound.OpRead},
		{name: "long extension", raw: head + "Transfer-Encoding: chunked\r\n\r\n2;" + long(8<<10) + "\r\nok\r\n0\r\n\r\n", status: 200, op: outbound.OpRead},
		{name: "endless extensions", raw: head + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+long(1<<10)+"\r\nx\r\n", 20), status: 200, body: long(15), op: outbound.OpRead},
		{name: "endless trailers", raw: head + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X-A: "+long(1<<10)+"\r\n", 20), status: 200, op: outbound.OpRead},
		{name: "folded trailer", raw: head + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: a\r\n b\r\n\r\n", status: 200, op: outbound.OpRead},
	}
	for _, tc := range cases {
		for _, piece := range []int{1 << 20, 1, 7} {
			if piece == 1 && len(tc.raw) > 4<<10 {
				continue // a system call for each byte says nothing new
			}
			for how, fetch := range map[string]func(*outbound.Endpoint, *outbound.Request) (int, string, error){"read": fetch, "pieces": fetchPieces} {
				t.Run(fmt.Sprintf("%s/%d/%s", tc.name, piece, how), func(t *testing.T) {
					t.Parallel()
					s := serveRaw(t, func(p *peer) {
						for {
							if _, _, err := p.request(); err != nil {
								return
							}
							for raw := tc.raw; raw != ""; {
								n := min(piece, len(raw))
								if len(raw) <= tc.last {
									n = len(raw)
								}
								p.say(raw[:n])
								raw = raw[n:]
							}
							if tc.hangUp {
								return
							}
						}
					})
					e := endpoint(t, s)
					for range 2 {
						req := get("/")
						if tc.method != "" {
							req.Method = tc.method
						}
						status, body, err := fetch(e, req)
						if status != tc.status || body != tc.body {
							t.Fatalf("got %d %q, %v, want %d %q", status, clipped(body), err, tc.status, tc.body)
						}
						if tc.op == "" && err != nil {
							t.Fatal(err)
						}
						if tc.op != "" {
							if oe := wantError(t, err, tc.op); !oe.Wrote || oe.Timeout {
								t.Fatalf("got %+v, want Wrote and no Timeout", oe)
							}
						}
					}
					want := 2
					if tc.reused {
						want = 1
					}
					if got := s.connections(); got != want {
						t.Fatalf("two exchanges used %d connections, want %d", got, want)
					}
				})
			}
		}
	}
}

func TestHeader(t *testing.T) {
	s := serveRaw(t, answering("HTTP/1.1 200 OK\r\nX-B: 1\r\nx-a:  two words \r\nX-B: 3\r\nContent-Length: 2\r\n\r\nok"))
	e := endpoint(t, s)
	resp, err := e.Do(t.Context(), get("/"), generous)
	if err != nil {
		t.Fatal(err)
	}
	resp.Close()
	mustFetch(t, e, get("/"), 200, "ok") // another exchange must not change the first one's header
	if got := resp.Header.Get("X-A"); got != "two words" {
		t.Fatalf("got %q, want %q", got, "two words")
	}
	if got := resp.Header.Get("x-b"); got != "1" {
		t.Fatalf("got %q, want the first of two fields", got)
	}
	if got := resp.Header.Get("X-C"); got != "" {
		t.Fatalf("got %q for a field that is not there", got)
	}
	resp.Header.Set("x-B", "4")
	resp.Header.Set("X-D", "5")
	var all []string
	for name, value := range resp.Header.All() {
		all = append(all, name+"="+value)
	}
	if got, want := strings.Join(all, " "), "x-a=two words Content-Length=2 x-B=4 X-D=5"; got != want || resp.Header.Len() != 4 {
		t.Fatalf("got %q, want %q", got, want)
	}
	if resp.ContentLength != 2 {
		t.Fatalf("got length %d, want 2", resp.ContentLength)
	}
}

// TestManyFields has more fields than a Response has room for without allocating.
func TestManyFields(t *testing.T) {
	var raw strings.Builder
	raw.WriteString("HTTP/1.1 200 OK\r\n")
	for i := range 300 {
		fmt.Fprintf(&raw, "X-%d: %d\r\n", i, i)
	}
	s := serveRaw(t, answering(raw.String()+"Content-Length: 2\r\n\r\nok"))
	resp, err := endpoint(t, s).Do(t.Context(), get("/"), generous)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Close()
	if got := resp.Header.Get("x-299"); got != "299" || resp.Header.Len() != 301 {
		t.Fatalf("got %q and %d fields, want 299 and 301", got, resp.Header.Len())
	}
}
