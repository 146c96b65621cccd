package inbound

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// contenders are the two servers that a benchmark compares, in one run.
var contenders = []struct {
	name  string
	serve func(tb testing.TB, h http.Handler, session *tls.Config) (address string)
}{
	{"own", func(tb testing.TB, h http.Handler, session *tls.Config) string {
		_, address := serving(tb, Config{Handler: h, TLS: session})
		return address
	}},
	{"standard", func(tb testing.TB, h http.Handler, session *tls.Config) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(tb, err)
		s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
		if session != nil {
			l = tls.NewListener(l, session)
		}
		done := make(chan struct{})
		go func() { defer close(done); _ = s.Serve(l) }() // ends when s closes
		tb.Cleanup(func() { s.Close(); <-done })
		return l.Addr().String()
	}},
}

// sdkHead is what an SDK sends, and a body of 2 KB.
var sdkHead = "POST /v1/chat/completions HTTP/1.1\r\nHost: llm.example.com\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nAccept: application/json\r\n" +
	"Content-Type: application/json\r\nUser-Agent: OpenAI/Python 2.8.1\r\nX-Stainless-Lang: python\r\nX-Stainless-Package-Version: 2.8.1\r\nX-Stainless-Os: Linux\r\n" +
	"X-Stainless-Arch: x64\r\nX-Stainless-Retry-Count: 0\r\nAuthorization: Bearer sk-proj-" + strings.Repeat("x", 67) + "\r\nContent-Length: 2048\r\n\r\n"

// BenchmarkRequest is one request of 2 KB and its answer of 0.8 KB over a connection that stays open, client and server together.
// The handler derives a context and sets deadlines as the gateway does.
func BenchmarkRequest(b *testing.B) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(time.Minute)) // it cannot fail here
		var body [4096]byte
		n, _ := io.ReadFull(r.Body, body[:r.ContentLength])
		_ = control.SetReadDeadline(time.Time{})
		h := w.Header()
		h["Content-Type"] = jsonType
		h["Content-Length"] = []string{"800"}
		h["X-Request-Id"] = []string{"req_1"}
		w.WriteHeader(200)
		_, _ = w.Write(body[:min(800, n)]) // the client checks
	})
	server, client := secureBench(b)
	for _, session := range []bool{false, true} {
		for _, c := range contenders {
			b.Run(fmt.Sprintf("tls=%t/%s", session, c.name), func(b *testing.B) {
				cfg := server
				if !session {
					cfg = nil
				}
				nc, err := net.Dial("tcp", c.serve(b, handler, cfg))
				must(b, err)
				defer nc.Close()
				if session {
					nc = tls.Client(nc, client)
				}
				request, buf := []byte(sdkHead+strings.Repeat("x", 2048)), make([]byte, 4096)
				b.ReportAllocs()
				began := cpu(b)
				for b.Loop() {
					_, err := nc.Write(request)
					must(b, err)
					for total := 0; ; {
						n, err := nc.Read(buf)
						must(b, err)
						if total += n; total >= 800 && strings.HasSuffix(string(buf[:n]), "xxxx") {
							break
						}
					}
				}
				b.ReportMetric(float64(cpu(b)-began)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

var jsonType = []string{"application/json"}

func secureBench(b *testing.B) (server, client *tls.Config) {
	b.Helper()
	server, client = secure(b, "http/1.1")
	server.NextProtos = []string{"http/1.1"}
	return server, client
}

// BenchmarkChunk is one event of a stream: written, flushed and read by the client, which asks for the next one.
func BenchmarkChunk(b *testing.B) {
	for _, c := range contenders {
		b.Run(c.name, func(b *testing.B) {
			next := make(chan struct{})
			defer close(next)
			address := c.serve(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				event := []byte("data: {\"choices\":[{\"delta\":{\"content\":\"" + strings.Repeat("x", 150) + "\"}}]}\n\n")
				w.Header().Set("Content-Type", "text/event-stream")
				for range next {
					_, _ = w.Write(event) // the client checks
					w.(http.Flusher).Flush()
				}
			}), nil)
			nc, err := net.Dial("tcp", address)
			must(b, err)
			defer nc.Close()
			_, err = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			must(b, err)
			buf := make([]byte, 4096)
			b.ReportAllocs()
			began := cpu(b)
			for b.Loop() {
				next <- struct{}{}
				_, err := nc.Read(buf)
				must(b, err)
			}
			b.ReportMetric(float64(cpu(b)-began)/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkMemory is what 2,000 connections hold, idle after a request and while each streams, of heap and stacks. The clients are
// bare sockets of the same process and weigh the same for both.
func BenchmarkMemory(b *testing.B) {
	const n = 2000
	for _, streaming := range []bool{false, true} {
		for _, c := range contenders {
			b.Run(fmt.Sprintf("streaming=%t/%s", streaming, c.name), func(b *testing.B) {
				for b.Loop() {
					hold := make(chan struct{})
					address := c.serve(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						var body [2048]byte
						_, _ = io.ReadFull(r.Body, body[:]) // it is whole
						_, _ = io.WriteString(w, "data: x\n\n")
						w.(http.Flusher).Flush()
						if streaming {
							<-hold
						}
					}), nil)
					before := held()
					conns := make([]net.Conn, n)
					buf := make([]byte, 4096)
					for i := range conns {
						var err error
						conns[i], err = net.Dial("tcp", address)
						must(b, err)
						_, err = io.WriteString(conns[i], sdkHead+strings.Repeat("x", 2048))
						must(b, err)
						_, err = conns[i].Read(buf)
						must(b, err)
					}
					b.ReportMetric(float64(held()-before)/n, "B/conn")
					close(hold)
					for _, nc := range conns {
						nc.Close()
					}
				}
			})
		}
	}
}

// cpu returns the processor time that this process has used: on a busy machine it says more than the clock on the wall.
func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	must(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// held returns the bytes of heap and stacks in use.
func held() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// BenchmarkLook is one look at 1,000 connections whose handlers run, as happens five times a second.
func BenchmarkLook(b *testing.B) {
	const n = 1000
	for _, session := range []bool{false, true} {
		b.Run(fmt.Sprintf("tls=%t", session), func(b *testing.B) {
			l := newLasting()
			l.began, l.ended = make(chan struct{}, n), make(chan error, n)
			server, client := secureBench(b)
			if !session {
				server = nil
			}
			s, address := serving(b, Config{Handler: l, TLS: server})
			s.finish.Do(func() { close(s.stop) }) // this is the watching goroutine now
			for range n {
				var nc net.Conn = dial(b, address)
				if session {
					nc = tls.Client(nc, client)
				}
				_, err := io.WriteString(nc, lastingGet)
				must(b, err)
				<-l.began
			}
			var open []*conn
			s.look(time.Now(), nil)
			began := cpu(b)
			for b.Loop() {
				open = s.look(time.Now(), open[:0])
				for _, c := range open {
					if c.callerLeft() {
						b.Fatal("a caller that waits was taken for gone")
					}
				}
			}
			b.ReportMetric(float64(cpu(b)-began)/float64(b.N)/n, "cpu-ns/conn")
			close(l.release)
		})
	}
}
