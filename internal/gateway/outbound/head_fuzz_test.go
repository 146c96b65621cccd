package outbound

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
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
func (m *memory) LocalAddr() net.Addr              { return nil }
func (m *memory) RemoteAddr() net.Addr             { return nil }
func (m *memory) SetDeadline(time.Time) error      { return nil }
func (m *memory) SetReadDeadline(time.Time) error  { return nil }
func (m *memory) SetWriteDeadline(time.Time) error { return nil }

// FuzzResponseHead compares this package's parser with net/http's. Ours may refuse what net/http takes; what ours takes, net/http
// must take too and read as the same status, the same fields, the same body and, where the connection would be used again, the
// same bytes left for the next answer.
func FuzzResponseHead(f *testing.F) {
	for _, raw := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}HTTP/1.1 200 OK\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX-Sum: 1\r\n\r\nrest",
		"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\nuntil the end",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 20\r\nETag: \"x\"\r\n\r\n",
		"HTTP/1.1 500\r\nContent-Length: 1\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
		"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
		"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		for _, piece := range []uint8{0, 1} {
			f.Add([]byte(raw), piece, false)
		}
		f.Add([]byte(raw), uint8(7), true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, piece uint8, isHead bool) {
		method := http.MethodPost
		if isHead {
			method = http.MethodHead
		}
		m := &memory{rest: raw, piece: int(piece)}
		if piece == 0 {
			m.piece = len(raw) + 1
		}
		c := &conn{endpoint: &Endpoint{closed: true}, nc: m, buf: make([]byte, bufferSize), abort: func() {}}
		resp, err := c.answer(&Request{Method: method})
		if err != nil {
			return
		}
		resp.body.c, resp.body.chunks.MaxExtra = c, maxExtra
		reuse := resp.body.framed.reuse
		var body []byte
		if resp.body.framed.form != formNone {
			buf := make([]byte, int(piece)*100+1)
			for err == nil {
				var n int
				n, err = resp.body.read(buf)
				body = append(body, buf[:n]...)
			}
			if err != io.EOF {
				return
			}
		}
		left := append(slices.Clone(c.buf[c.r:c.w]), m.rest...)
		if resp.body.framed.form == formChunked {
			if pumped, rest := decodeAll(raw, m.piece); !bytes.Equal(pumped, body) || !bytes.Equal(rest, left) {
				t.Fatalf("of %q a pump makes %q and leaves %q, Read %q and %q", raw, pumped, rest, body, left)
			}
		}

		br := bufio.NewReader(bytes.NewReader(raw))
		var theirs *http.Response
		for {
			theirs, err = http.ReadResponse(br, &http.Request{Method: method})
			if err != nil {
				t.Fatalf("we accept %q with status %d, net/http does not: %v", raw, resp.Status, err)
			}
			if theirs.StatusCode >= 200 {
				break
			}
		}
		theirBody, err := io.ReadAll(theirs.Body)
		if err != nil {
			t.Fatalf("we read a body of %q, net/http does not: %v", raw, err)
		}
		if resp.Status != theirs.StatusCode || !bytes.Equal(body, theirBody) {
			t.Fatalf("of %q we read %d %q, net/http %d %q", raw, resp.Status, body, theirs.StatusCode, theirBody)
		}
		for name, value := range resp.Header.All() {
			key := http.CanonicalHeaderKey(name)
			if key == "Transfer-Encoding" || key == "Trailer" || key == "Connection" {
				continue // net/http takes these out
			}
			if !slices.Contains(theirs.Header[key], value) {
				t.Fatalf("of %q we read the field %q: %q, net/http %q", raw, name, value, theirs.Header[key])
			}
		}
		if reuse {
			theirLeft, _ := io.ReadAll(br) // of memory
			if theirs.Close || !bytes.Equal(left, theirLeft) {
				t.Fatalf("of %q we leave %q for the next answer, net/http %q (close: %t)", raw, left, theirLeft, theirs.Close)
			}
		}
	})
}

// decodeAll reads a chunked answer as a pump does, and returns its body and what is left behind it.
func decodeAll(raw []byte, piece int) (body, left []byte) {
	m := &memory{rest: raw, piece: piece}
	c := &conn{endpoint: &Endpoint{closed: true}, nc: m, abort: func() {}}
	resp, err := c.answer(&Request{Method: http.MethodPost})
	if err != nil {
		return nil, nil
	}
	resp.body.c, resp.body.chunks.MaxExtra = c, maxExtra
	for {
		data, err := resp.body.decode()
		body = append(body, data...)
		if err != nil {
			return body, append(slices.Clone(c.buf[c.r:c.w]), m.rest...)
		}
		n, err := m.Read(c.room())
		if err != nil || n == 0 {
			return body, nil
		}
		c.w += n
	}
}
