package outbound

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// brokenPipe is a connection whose writes fail after some bytes, and that has an answer all the same. Over a real one that
// depends on how the kernels' packets cross.
type brokenPipe struct {
	memory
	accepts int
}

func (b *brokenPipe) Write(p []byte) (int, error) {
	n := min(b.accepts, len(p))
	b.accepts -= n
	if n < len(p) {
		return n, syscall.EPIPE
	}
	return n, nil
}

// TestBrokenWrites puts such connections into the pool of an endpoint.
func TestBrokenWrites(t *testing.T) {
	var served atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	}))
	defer s.Close()
	const refusal = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 7\r\n\r\ntoo big"
	body := strings.Repeat("x", 100<<10)
	memoryBody := func() *Request { return &Request{Method: "POST", URI: "/", Body: [][]byte{[]byte(body)}} }
	readerBody := func() *Request {
		return &Request{Method: "POST", URI: "/", Reader: strings.NewReader(body), Length: int64(len(body))}
	}
	for _, tc := range []struct {
		name    string
		req     *Request
		accepts int
		has     string // what can be read from it
		status  int
		body    string
		wrote   bool
		served  int32 // by a new connection
	}{
		{"nothing written, in memory", memoryBody(), 0, refusal, 200, body, false, 1},
		{"nothing written, from a reader", readerBody(), 0, refusal, 200, body, false, 1},
		{"some written and answered", memoryBody(), 1000, refusal, 413, "too big", false, 0},
		{"some written and answered, from a reader", readerBody(), 1000, refusal, 413, "too big", false, 0},
		{"some written and not answered", memoryBody(), 1000, "", 0, "", true, 0},
		{"one byte written and not answered, from a reader", readerBody(), 1, "", 0, "", true, 0},
		{"some written and not answered, from a reader", readerBody(), 1000, "", 0, "", true, 0},
		{"some written and badly answered", memoryBody(), 1000, "HTTP/1.1 200 OK\n\n", 0, "", true, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			served.Store(0)
			e, err := NewEndpoint(Config{BaseURL: s.URL, AllowPrivate: true})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			c, xerr := e.dial(t.Context(), 0)
			if xerr != nil {
				t.Fatal(xerr)
			}
			c.nc = &brokenPipe{memory: memory{rest: []byte(tc.has), piece: 1 << 20}, accepts: tc.accepts}
			e.put(c)

			resp, err := e.Do(context.Background(), tc.req, Timeouts{})
			if tc.status == 0 {
				oe, ok := errors.AsType[*Error](err)
				if !ok || oe.Wrote != tc.wrote || !oe.Reused || oe.Timeout {
					t.Fatalf("got %+v", err)
				}
			} else {
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				if err != nil || resp.Status != tc.status || string(got) != tc.body {
					t.Fatalf("got %d and %d bytes, %v, want %d and %d bytes", resp.Status, len(got), err, tc.status, len(tc.body))
				}
				resp.Close()
			}
			if got := served.Load(); got != tc.served {
				t.Fatalf("a new connection served %d requests, want %d", got, tc.served)
			}
			if _, err := c.raw.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Fatalf("the broken connection was not closed: %v", err)
			}
		})
	}
}
