package gateway_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
)

// fastUpstream is a server that answers every request with the same bytes and does nothing else, so that a profile shows the
// gateway. It reads heads and bodies of a known length only.
func fastUpstream(b *testing.B, wire []byte) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	done := make(chan struct{})
	var conns []net.Conn
	serve := func(c net.Conn) { // ends when the connection closes
		r := bufio.NewReaderSize(c, 256<<10)
		for {
			length := 0
			for {
				line, err := r.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(line) == 2 {
					break
				}
				if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
					length, _ = strconv.Atoi(string(bytes.TrimSpace(value))) // our own client writes it
				}
			}
			if _, err := r.Discard(length); err != nil {
				return
			}
			if _, err := c.Write(wire); err != nil {
				return
			}
		}
	}
	go func() { // ends when the listener closes
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c)
			go serve(c)
		}
	}()
	b.Cleanup(func() {
		l.Close()
		<-done
		for _, c := range conns {
			c.Close()
		}
	})
	return "http://" + l.Addr().String()
}

// writer is a ResponseWriter that keeps nothing, so that the allocations counted are the gateway's and not a server's.
type writer struct {
	header http.Header
	status int
	bytes  int
}

func (w *writer) Header() http.Header         { return w.header }
func (w *writer) WriteHeader(status int)      { w.status = status }
func (w *writer) Write(p []byte) (int, error) { w.bytes += len(p); return len(p), nil }
func (w *writer) Flush()                      {}

func (w *writer) SetReadDeadline(time.Time) error  { return nil }
func (w *writer) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkExchange is one whole exchange, from the parsed request to the settled answer, over a real connection to an upstream
// that costs nothing: authentication, strict scan, routing, hold, forward, metering and settlement.
func BenchmarkExchange(b *testing.B) {
	pad := func(n int) string { return strings.Repeat("All work and no play makes Jack a dull boy. ", n/44+1)[:n] }
	plain := []byte(rawAnswer(200, "application/json", chatAnswer))
	var events strings.Builder
	for i := range 50 {
		events.WriteString(delta("token " + strconv.Itoa(i)))
	}
	events.WriteString(usageChunk + doneEvent)
	stream := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" +
		fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", events.Len(), events.String()))
	for _, c := range []struct {
		name    string
		body    string
		wire    []byte
		model   string
		budgets bool
		limits  bool
	}{
		{"chat-2KB", `{"model":"gpt-4o","messages":[{"role":"user","content":"` + pad(2000) + `"}]}`, plain, "", false, false},
		{"chat-2KB-4-limits", `{"model":"gpt-4o","messages":[{"role":"user","content":"` + pad(2000) + `"}]}`, plain, "", false, true},
		{"chat-2KB-4-budgets", `{"model":"gpt-4o","messages":[{"role":"user","content":"` + pad(2000) + `"}]}`, plain, "", true, false},
		{"chat-2KB-renamed", `{"model":"gpt-4o","messages":[{"role":"user","content":"` + pad(2000) + `"}]}`, plain, "gpt-4o-eu", false, false},
		{"chat-100KB", `{"model":"gpt-4o","messages":[{"role":"user","content":"` + pad(100_000) + `"}]}`, plain, "", false, false},
		{"stream-50-chunks", `{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"` + pad(500) + `"}]}`, stream, "", false, false},
		{"stream-50-chunks-4-budgets", `{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"` + pad(500) + `"}]}`, stream, "", true, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			g := newGate(b)
			g.upstream("up", fastUpstream(b, c.wire))
			g.deploy("gpt-4o", admin.RouteSpec{Upstream: "up", Model: c.model})
			if c.budgets {
				g.budget(1e6)
				for scope, subject := range map[gatehouse.Scope]string{gatehouse.ScopeProject: g.project, gatehouse.ScopeUser: g.user, gatehouse.ScopeKey: g.key.Key.ID} {
					g.budget(1e6, func(b *gatehouse.Budget) { b.Name, b.Scope, b.Subject = string(scope), scope, subject })
				}
			}
			if c.limits {
				g.limit(gatehouse.ScopeOrganization, "", "", gatehouse.Rates{RequestsPerMinute: 1e10})
				g.limit(gatehouse.ScopeProject, g.project, "gpt-4o", gatehouse.Rates{RequestsPerMinute: 1e10, TokensPerMinute: 2e10})
				g.limit(gatehouse.ScopeUser, g.user, "", gatehouse.Rates{TokensPerMinute: 2e10})
			}
			template, err := http.NewRequest("POST", "http://gate/v1/chat/completions", nil)
			must(b, err)
			template.RemoteAddr = "127.0.0.1:5000"
			template.Header.Set("Authorization", "Bearer "+g.key.Value.Reveal())
			template.Header.Set("Content-Type", "application/json")
			template.Header.Set("User-Agent", "OpenAI/JS 6.0.0")
			template.Header.Set("Accept", "application/json")
			template.ContentLength = int64(len(c.body))
			w := &writer{header: http.Header{}}
			reader := strings.NewReader("")
			body := io.NopCloser(reader)
			once := func() {
				r := *template
				reader.Reset(c.body)
				r.Body = body
				clear(w.header)
				w.bytes = 0
				g.gateway.ServeHTTP(w, &r)
			}
			once()
			if w.status != 200 || w.bytes == 0 {
				b.Fatalf("status %d, %d bytes", w.status, w.bytes)
			}
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
	}
}

// BenchmarkServed is the same through a server and a client of net/http.
func BenchmarkServed(b *testing.B) {
	g := newGate(b)
	g.upstream("up", fastUpstream(b, []byte(rawAnswer(200, "application/json", chatAnswer))))
	g.deploy("gpt-4o", admin.RouteSpec{Upstream: "up"})
	body := `{"model":"gpt-4o","messages":[{"role":"user","content":"` + strings.Repeat("x", 2000) + `"}]}`
	head := "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + g.key.Value.Reveal() + "\r\nContent-Type: application/json\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n"
	conn := g.dial(b)
	request := []byte(head + body)
	b.ReportAllocs()
	must(b, conn.SetDeadline(time.Time{}))
	for b.Loop() {
		_, err := conn.Write(request)
		must(b, err)
		resp, err := http.ReadResponse(conn.r, nil)
		must(b, err)
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
			b.Fatalf("%d, %v", resp.StatusCode, err)
		}
	}
}
