package inbound

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain finds goroutines that outlive their test, but for net/http's wait before it closes a connection it refused.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// serving runs a server until the test ends, which waits for all of it.
func serving(tb testing.TB, cfg Config) (*Server, string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(tb, err)
	if cfg.ErrorLog == nil {
		cfg.ErrorLog = log.New(io.Discard, "", 0)
	}
	s := New(cfg)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	tb.Cleanup(func() {
		must(tb, s.Close())
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			tb.Errorf("Serve returned %v", err)
		}
	})
	return s, l.Addr().String()
}

// caller is a connection on which a test writes what it likes.
type caller struct {
	tb testing.TB
	*net.TCPConn
	r *bufio.Reader
}

func dial(tb testing.TB, address string) *caller {
	tb.Helper()
	nc, err := net.Dial("tcp", address)
	must(tb, err)
	tb.Cleanup(func() { nc.Close() })
	must(tb, nc.SetDeadline(time.Now().Add(patience)))
	return &caller{tb, nc.(*net.TCPConn), bufio.NewReader(nc)}
}

func (c *caller) send(s string) {
	c.tb.Helper()
	_, err := io.WriteString(c, s)
	must(c.tb, err)
}

// rest reads until the server closes, which it must.
func (c *caller) rest() string {
	c.tb.Helper()
	text, err := io.ReadAll(c.r)
	must(c.tb, err)
	return string(text)
}

// answer reads one answer.
func (c *caller) answer(method string) (*http.Response, string) {
	c.tb.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	must(c.tb, err)
	text, err := io.ReadAll(resp.Body)
	must(c.tb, err)
	return resp, string(text)
}

// echo answers with what it understood of a request.
func echo(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("X-Server", serverOf(w))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
	}
	fmt.Fprintf(w, "%s %s host=%s close=%t length=%d body=%q err=%v", r.Method, r.RequestURI, r.Host, r.Close, r.ContentLength, text, err)
}

// serverOf says whose ResponseWriter this is.
func serverOf(w http.ResponseWriter) string {
	if _, ok := w.(*response); ok {
		return "own"
	}
	return "net/http"
}

// TestRequests sends bytes and wants one answer, from whoever is to give it.
func TestRequests(t *testing.T) {
	_, address := serving(t, Config{Handler: http.HandlerFunc(echo)})
	for _, c := range []struct {
		name, raw, server string
		status            int
		body              string
	}{
		{"get", "GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n", "own", 200, `GET /a?b=c host=x close=false length=0 body="" err=<nil>`},
		{"length", "POST / HTTP/1.1\r\nhost: x:1\r\ncontent-length: 3\r\n\r\nabc", "own", 200, `POST / host=x:1 close=false length=3 body="abc" err=<nil>`},
		{"chunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nA: b\r\n\r\n", "own", 200, `length=-1 body="abc" err=<nil>`},
		{"close", "GET / HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n", "own", 200, "close=true"},
		{"a chunk without its CRLF", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n", "own", 400, "longer than its size"},
		{"a chunk line with a bare LF", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n", "own", 400, "CRLF"},
		{"percent", "GET /a%2fb HTTP/1.1\r\nHost: x\r\n\r\n", "own", 200, "GET /a%2fb "},
		{"bad percent", "GET /a%2 HTTP/1.1\r\nHost: x\r\n\r\n", "net/http", 400, ""},
		{"1.0", "GET / HTTP/1.0\r\nHost: x\r\n\r\n", "net/http", 200, "GET / "},
		{"expect", "POST / HTTP/1.1\r\nHost: x\r\nExpect: 200-maybe\r\nContent-Length: 1\r\n\r\nx", "net/http", 417, ""},
		{"absolute", "GET http://y/z HTTP/1.1\r\nHost: x\r\n\r\n", "net/http", 200, "host=y"},
		{"another method", "PURGE / HTTP/1.1\r\nHost: x\r\n\r\n", "net/http", 200, "PURGE / "},
		{"fold", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", "own", 400, "continue"},
		{"bare LF", "GET / HTTP/1.1\nHost: x\n\n", "own", 400, "CRLF"},
		{"unusual, length and chunked", "POST / HTTP/1.1\r\nHost: x\r\nConnection: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "own", 400, "framing"},
		{"1.0, length and chunked", "POST / HTTP/1.0\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "own", 400, "framing"},
		{"many fields, length and chunked", "POST / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", 100) + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "own", 400, "framing"},
		{"many fields", "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", 100) + "\r\n", "net/http", 200, "GET / "},
		{"no host", "GET / HTTP/1.1\r\nA: b\r\n\r\n", "net/http", 400, ""},
		{"two hosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", "net/http", 400, ""},
		{"two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy", "net/http", 400, ""},
		{"length with a sign", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\nx", "net/http", 400, ""},
		{"length and chunked", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "own", 400, "framing"},
		{"two codings", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "net/http", 501, ""},
		{"space before colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", "net/http", 400, ""},
		{"control character", "GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n", "net/http", 400, ""},
		{"0.9", "GET /\r\n", "net/http", 400, ""},
		{"a large head", "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 10<<10) + "\r\n\r\n", "own", 200, "GET / "},
		{"a larger head", "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 40<<10) + "\r\n\r\n", "own", 200, "GET / "},
		{"too large a head", "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 100<<10) + "\r\n\r\n", "net/http", 431, ""},
	} {
		for _, piecewise := range []bool{false, true} {
			if piecewise && (len(c.raw) > 1000 || c.server == "net/http" && c.status >= 400) {
				continue // net/http refuses and closes while more comes: the reset may take its answer along
			}
			t.Run(fmt.Sprintf("%s/%t", c.name, piecewise), func(t *testing.T) {
				nc := dial(t, address)
				if piecewise {
					for i := range c.raw {
						if _, err := io.WriteString(nc, c.raw[i:i+1]); err != nil {
							break // it was refused before its end
						}
					}
				} else {
					_, _ = io.WriteString(nc, c.raw) // it may be refused before its end
				}
				resp, body := nc.answer("GET")
				if resp.StatusCode != c.status || !strings.Contains(body, c.body) {
					t.Errorf("status %d, body %q; want %d, %q", resp.StatusCode, body, c.status, c.body)
				}
				if got := resp.Header.Get("X-Server"); resp.StatusCode == 200 && got != c.server {
					t.Errorf("served by %s, want %s", got, c.server)
				}
			})
		}
	}
}

// TestPipeline serves requests that arrive together, in order and by their own bodies.
func TestPipeline(t *testing.T) {
	_, address := serving(t, Config{Handler: http.HandlerFunc(echo)})
	c := dial(t, address)
	c.send("POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabGET /2 HTTP/1.1\r\nHost: x\r\n\r\n" +
		"POST /3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nc\r\n0\r\n\r\n" +
		"GET /4 HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\nGET /5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	for i, want := range []string{`POST /1 host=x close=false length=2 body="ab"`, "GET /2 ", `body="c"`, "GET /4 ", "GET /5 "} {
		resp, body := c.answer("GET")
		if !strings.HasPrefix(body, want) && !strings.Contains(body, want) {
			t.Errorf("answer %d is %q, want %q", i, body, want)
		}
		if server := resp.Header.Get("X-Server"); (server == "own") != (i < 3) {
			t.Errorf("answer %d by %s", i, server)
		}
	}
	if rest := c.rest(); rest != "" {
		t.Errorf("more came: %q", rest)
	}
}

// TestAnswers compares the answers of handlers byte by byte with net/http's, but for the order of fields.
func TestAnswers(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 4<<10)
	handlers := map[string]http.HandlerFunc{
		"nothing": func(http.ResponseWriter, *http.Request) {},
		"short":   func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") },
		"declared": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "hello")
		},
		"typed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			w.WriteHeader(201)
			w.Header().Set("X-Late", "1")
			io.WriteString(w, "{}")
		},
		"no content": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			w.WriteHeader(204)
		},
		"not modified": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Etag", "x"); w.WriteHeader(304) },
		"values": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["X-A"] = []string{"1", "2"}
			w.Header()["X-B"] = []string{"a\r\nX-Injected: 1"}
			w.Header()["bad name"] = []string{"1"}
			io.WriteString(w, "x")
		},
		"unknown status": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(599) },
		"closing": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			io.WriteString(w, "x")
		},
		"flushed": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "one")
			w.(http.Flusher).Flush()
			io.WriteString(w, "two")
			w.(http.Flusher).Flush()
			io.WriteString(w, "three")
		},
		"big": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, big) },
		"big, in bits": func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(big); i += 1000 {
				io.WriteString(w, big[i:min(len(big), i+1000)])
			}
		},
		"big, declared": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(big)))
			io.WriteString(w, big[:100])
			io.WriteString(w, big[100:])
		},
		"short of its length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			io.WriteString(w, "hello")
			w.(http.Flusher).Flush()
		},
		"hints": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</a>")
			w.WriteHeader(103)
			io.WriteString(w, "x")
		},
		"broken off": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
	}
	pick := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", "today")
		handlers[r.Header.Get("Pick")](w, r)
	})
	_, ours := serving(t, Config{Handler: pick})
	standard := &http.Server{Handler: pick, ErrorLog: log.New(io.Discard, "", 0)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	go standard.Serve(l)
	t.Cleanup(func() { standard.Close() })
	for name := range handlers {
		for _, method := range []string{"GET", "HEAD"} {
			if method == "HEAD" && (name == "big" || name == "big, in bits") {
				continue // net/http does not know their length, we do
			}
			t.Run(name+"/"+method, func(t *testing.T) {
				var got [2]string
				for i, address := range []string{ours, l.Addr().String()} {
					c := dial(t, address)
					c.send(method + " / HTTP/1.1\r\nHost: x\r\nPick: " + name + "\r\n\r\n")
					must(t, c.CloseWrite())
					got[i] = normal(t, c.rest(), method)
				}
				if got[0] != got[1] {
					t.Errorf("got  %.2000q\nwant %.2000q", got[0], got[1])
				}
			})
		}
	}
}

// normal reads answers and says what they mean.
func normal(t *testing.T, raw, method string) string {
	var out strings.Builder
	r := bufio.NewReader(strings.NewReader(raw))
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			fmt.Fprintf(&out, "then %v", err)
			return out.String()
		}
		text, err := io.ReadAll(resp.Body)
		delete(resp.Header, "Bad name")
		if v := resp.Header["X-B"]; len(v) > 0 {
			resp.Header["X-B"] = []string{strings.Join(strings.Fields(v[0]), " ")} // how many spaces a line end becomes
		}
		fmt.Fprintf(&out, "%s %v length=%d te=%v close=%t %q %v\n", resp.Status, resp.Header, resp.ContentLength, resp.TransferEncoding, resp.Close, text, err)
	}
}

// TestUnreadBody keeps a connection whose handler wanted nothing of a body of moderate size, and ends the others.
func TestUnreadBody(t *testing.T) {
	_, address := serving(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Method) })})
	for _, c := range []struct {
		name  string
		raw   string
		again bool
	}{
		{"small", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100000), true},
		{"chunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", true},
		{"large", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1000000), false},
		{"sent for a while", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + strings.Repeat("x", 9000000), false},
		{"malformed", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			nc := dial(t, address)
			nc.send(c.raw)
			if resp, body := nc.answer("POST"); body != "POST" || c.name == "large" && !resp.Close {
				t.Errorf("got %q, close %t", body, resp.Close)
			}
			if !c.again {
				if rest := nc.rest(); rest != "" {
					t.Errorf("more came: %q", rest)
				}
				return
			}
			nc.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			if _, body := nc.answer("GET"); body != "GET" {
				t.Errorf("got %q", body)
			}
		})
	}
}

// TestArrived: only a body that is all there needs no deadline for its reading.
func TestArrived(t *testing.T) {
	_, address := serving(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strconv.FormatBool(r.Body.(interface{ Arrived() bool }).Arrived())) // the caller sees what is missing
	})})
	for _, c := range []struct{ name, first, rest, want string }{
		{"whole", "Content-Length: 4\r\n\r\nbody", "", "true"},
		{"a part", "Content-Length: 4\r\n\r\nbo", "dy", "false"},
		{"nothing of it", "Content-Length: 4\r\n\r\n", "body", "false"},
		{"chunked", "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", "", "false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			peer := dial(t, address)
			peer.send("POST / HTTP/1.1\r\nHost: a\r\n" + c.first)
			if _, got := peer.answer("POST"); got != c.want { // it comes before the body's rest is read
				t.Errorf("got %s, want %s", got, c.want)
			}
			peer.send(c.rest)
		})
	}
}
