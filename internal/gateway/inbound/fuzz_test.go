package inbound

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// memory is a connection that gives what it holds in pieces, and then its end.
type memory struct {
	rest  []byte
	piece int
}

func (m *memory) Read(p []byte) (int, error) {
	if len(m.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), m.piece)], m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

func (m *memory) Write(p []byte) (int, error)      { return len(p), nil }
func (m *memory) Close() error                     { return nil }
func (m *memory) LocalAddr() net.Addr              { return handedAddr{} }
func (m *memory) RemoteAddr() net.Addr             { return handedAddr{} }
func (m *memory) SetDeadline(time.Time) error      { return nil }
func (m *memory) SetReadDeadline(time.Time) error  { return nil }
func (m *memory) SetWriteDeadline(time.Time) error { return nil }

// compare reads raw as the requests of one connection, ours and net/http's way. Ours may leave to net/http what it likes, from the
// byte at which it lies on; what ours serves, net/http must take too and read as the same method, target, fields, body and, where
// the connection goes on, the same bytes left for the next request. It returns how many requests ours served.
func compare(t *testing.T, raw []byte, piece uint8) (served int) {
	t.Helper()
	m := &memory{rest: raw, piece: int(piece)}
	if piece == 0 {
		m.piece = len(raw) + 1
	}
	c := &conn{srv: New(Config{}), raw: m, nc: m}
	c.ctx = newRequestContext(c)
	c.base = (&http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(c.ctx)
	defer func() { c.release() }()
	theirs := bufio.NewReader(bytes.NewReader(raw))
	for {
		v := c.head()
		if v != own {
			if v == foreign {
				left := append(slices.Clone(c.in.buf[c.in.r:c.in.w]), m.rest...)
				if want, _ := io.ReadAll(theirs); !bytes.Equal(left, want) { // of memory: it does not fail
					t.Fatalf("of %q we hand over %q, not %q", raw, left, want)
				}
			}
			return served
		}
		served++
		c.begin()
		r := c.req
		their, err := http.ReadRequest(theirs)
		if err != nil {
			t.Fatalf("we serve %s %s of %q, net/http does not: %v", r.Method, r.RequestURI, raw, err)
		}
		if r.Method != their.Method || r.RequestURI != their.RequestURI || !reflect.DeepEqual(r.URL, their.URL) || r.URL.EscapedPath() != their.URL.EscapedPath() ||
			r.Host != their.Host || r.ContentLength != their.ContentLength || r.Close != their.Close || r.Proto != their.Proto || !slices.Equal(r.TransferEncoding, their.TransferEncoding) {
			t.Fatalf("of %q we read\n%+v %+v\nnet/http\n%+v %+v", raw, r, r.URL, their, their.URL)
		}
		if !reflect.DeepEqual(r.Header, their.Header) {
			t.Fatalf("of %q we read the fields %q, net/http %q", raw, r.Header, their.Header)
		}
		if names, values := c.res.RequestFields(); len(names) > 0 {
			listed := http.Header{}
			for i, name := range names {
				if name != "" {
					listed[name] = append(listed[name], values[i])
				}
			}
			if !reflect.DeepEqual(listed, their.Header) {
				t.Fatalf("of %q we list the fields %q, net/http %q", raw, listed, their.Header)
			}
		}
		body, err := readPiecewise(r.Body, int(piece)*100+1)
		theirBody, theirErr := io.ReadAll(their.Body)
		if err != nil {
			if !bytes.HasPrefix(theirBody, body) {
				t.Fatalf("of %q we read the body %q before %v, net/http %q", raw, body, err, theirBody)
			}
			return served // the connection ends
		}
		if theirErr != nil || !bytes.Equal(body, theirBody) {
			t.Fatalf("of %q we read the body %q, net/http %q, %v", raw, body, theirBody, theirErr)
		}
		c.ctx.end()
		c.forget()
		if their.Close {
			return served
		}
		c.state.Store(stateIdle)
	}
}

// readPiecewise is io.ReadAll through a buffer of a size.
func readPiecewise(r io.Reader, size int) (all []byte, err error) {
	buf := make([]byte, size)
	for {
		n, err := r.Read(buf)
		all = append(all, buf[:n]...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

// The parts of requests that TestCombinations puts together.
var (
	starts = []string{
		"GET / HTTP/1.1\r\n", "POST /v1/chat/completions?a=b HTTP/1.1\r\n", "POST /a%2Fb%zz HTTP/1.1\r\n", "GET /a%2fb/../c?x=%zz HTTP/1.1\r\n", "GET //a HTTP/1.1\r\n",
		"GET / HTTP/1.0\r\n", "GET  / HTTP/1.1\r\n", "GET / HTTP/1.1 \r\n", "GET / http/1.1\r\n", "GET /#a HTTP/1.1\r\n", "GET /? HTTP/1.1\r\n", "GET /?? HTTP/1.1\r\n", "GET /(a)*'!|\" HTTP/1.1\r\n",
		"GET * HTTP/1.1\r\n", "get / HTTP/1.1\r\n", "GET / HTTP/1.1\n", "\r\nGET / HTTP/1.1\r\n", "GET http://y/ HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n", "GET /\r\n", "GET /\x80 HTTP/1.1\r\n", "CONNECT a:1 HTTP/1.1\r\n",
	}
	hosts  = []string{"Host: x\r\n", "host:x:80\r\n", "Host: x\r\nHost: y\r\n", "", "Host: u@x\r\n", "Host: [::1]:1\r\n", "Host: \r\n", "Host : x\r\n", "HOST:\tx \r\n"}
	frames = []string{
		"", "Content-Length: 5\r\n", "Content-Length: 0\r\n", "content-length:5\r\n", "Content-Length: +5\r\n", "Content-Length: -5\r\n", "Content-Length: 5, 5\r\n", "Content-Length: 5 5\r\n", "Content-Length: 0x5\r\n",
		"Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 99999999999999999999\r\n", "Content-Length: \r\n", "Content-Length: 05\r\n", "Content-Length: 5\x00\r\n", "Content_Length: 5\r\n",
		"Transfer-Encoding: chunked\r\n", "transfer-encoding: CHUNKED\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked, chunked\r\n",
		"Transfer-Encoding: identity\r\n", "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: \x0bchunked\r\n", "Transfer-Encoding:\tchunked\t\r\n", "Transfer-Encoding : chunked\r\n", "Transfer-Encoding: \"chunked\"\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding:\r\n chunked\r\n", "X: y\r\n\tTransfer-Encoding: chunked\r\n", "X: y\nTransfer-Encoding: chunked\r\n", "X: y\rTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked;a=b\r\n",
	}
	others = []string{
		"", "Connection: close\r\n", "Connection: keep-alive\r\n", "Connection: Content-Length\r\n", "Connection: upgrade\r\nUpgrade: h2c\r\n", "Expect: 100-continue\r\n", "Trailer: X\r\n", "Pragma: no-cache\r\n", "TE: trailers\r\n",
		"A: b\r\nA: c\r\na: d\r\n", "A\x00: b\r\n", ": b\r\n", "A: b\x7f\r\n", "A: \x80\xff\r\n", "A:\r\n", "x-a_b-C: d\r\n", " A: b\r\n", "Connection: close\r\nConnection: keep-alive\r\n",
	}
	bodies = []string{"", "hello", "5\r\nhello\r\n0\r\n\r\n", "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n", "05\r\nhello\r\n00\r\nX: y\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n", "5\r\nhello0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n",
		"10000000000000005\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\nContent-Length: 7\r\n\r\n", "5\r\nhello\r\n0\r\n X: y\r\n\r\n", "5;" + strings.Repeat("a", 5000) + "\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\nX: " + strings.Repeat("a", 5000) + "\r\n\r\n"}
)

const follower = "GET /next HTTP/1.1\r\nHost: n\r\n\r\n"

// TestCombinations compares with net/http every combination of a plain request with two unusual parts.
func TestCombinations(t *testing.T) {
	parts := [][]string{starts, hosts, frames, others, bodies}
	served, all := 0, 0
	try := func(choice [5]int, piece uint8) {
		var b strings.Builder
		for i, p := range parts[:4] {
			b.WriteString(p[choice[i]])
		}
		b.WriteString("\r\n" + bodies[choice[4]] + follower)
		served += compare(t, []byte(b.String()), piece)
		all++
	}
	for i := range parts {
		for j := i + 1; j < len(parts); j++ {
			for a := range parts[i] {
				for b := range parts[j] {
					var choice [5]int
					choice[i], choice[j] = a, b
					try(choice, 0)
					if a%5 == b%5 {
						try(choice, 1)
					}
				}
			}
		}
	}
	for f := range frames {
		for o := range others {
			for b := range bodies {
				try([5]int{1, 0, f, o, b}, 0)
			}
		}
	}
	t.Logf("%d connections, %d requests served by us", all, served)
	if served < 1000 {
		t.Errorf("only %d requests were served by us", served)
	}
}

// FuzzInbound holds our reading of requests against net/http's: see compare.
func FuzzInbound(f *testing.F) {
	for _, start := range starts {
		f.Add([]byte(start+"Host: x\r\n\r\n"+follower), uint8(0))
	}
	for i, frame := range frames {
		for _, body := range bodies[:6] {
			f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\n"+frame+others[i%len(others)]+"\r\n"+body+follower), uint8(i%4))
		}
	}
	for _, host := range hosts {
		f.Add([]byte("PUT /a?b HTTP/1.1\r\n"+host+"\r\n"+follower), uint8(1))
	}
	f.Fuzz(func(t *testing.T, raw []byte, piece uint8) { compare(t, raw, piece) })
}
