package gatehousetest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Step is how one request is answered. The connection stays open after it for the next request, unless an action closes it.
type Step struct {
	early   bool
	cut     int // bytes the answer may have; -1: as many as it has
	actions []Action
}

// Action is one move within a step. An error ends the connection.
type Action func(*Exchange) error

// Exchange is what an action works on.
type Exchange struct {
	// Request is what came: whole, but for early steps, whose body has not been read.
	Request Recorded

	conn, tcp net.Conn
	stop      <-chan struct{}
	gone      chan struct{}
	left      int
}

var (
	errCut     = errors.New("cut as the script says")
	errGone    = errors.New("the client left")
	errStopped = errors.New("the test has ended")
)

func (x *Exchange) run(actions []Action) error {
	for _, a := range actions {
		if err := a(x); err != nil {
			return err
		}
	}
	return nil
}

// Write sends b in one write of the connection.
func (x *Exchange) Write(b []byte) error {
	if x.left >= 0 && len(b) >= x.left {
		_, _ = x.conn.Write(b[:x.left]) // cut either way
		x.left = 0
		return errCut
	}
	if x.left >= 0 {
		x.left -= len(b)
	}
	_, err := x.conn.Write(b)
	return err
}

// Gone is closed when the client closes the connection, or its writing half.
func (x *Exchange) Gone() <-chan struct{} { return x.gone }

// Script makes a step of actions that runs once the request has come whole.
func Script(actions ...Action) Step { return Step{cut: -1, actions: actions} }

// Early makes a step of one that answers as soon as the head has come, while the body still comes in. It sends no 100 Continue.
func Early(s Step) Step {
	s.early = true
	return s
}

// CutAfter makes a step of one that closes the connection once n bytes of the answer, its head included, have been sent. The
// connection is closed in good order, so that the client gets every one of them.
func CutAfter(n int, s Step) Step {
	s.cut = n
	return s
}

// Write sends exactly these bytes in one write.
func Write(raw string) Action {
	return func(x *Exchange) error { return x.Write([]byte(raw)) }
}

// Hold waits until gate is closed or gives a value. A client that leaves first ends the connection.
func Hold(gate <-chan struct{}) Action {
	return func(x *Exchange) error {
		select {
		case <-gate:
			return nil
		case <-x.gone:
			return errGone
		case <-x.stop:
			return errStopped
		}
	}
}

// Reached closes done, so that a test knows how far the step is.
func Reached(done chan<- struct{}) Action {
	return func(*Exchange) error {
		close(done)
		return nil
	}
}

// Stall sends nothing more and keeps the connection until the client leaves or the test ends.
func Stall() Action { return Hold(nil) }

// Close closes the connection in good order.
func Close() Action { return func(*Exchange) error { return errCut } }

// Reset ends the connection with a TCP reset. What was sent and has not been read may be lost to the client.
func Reset() Action {
	return func(x *Exchange) error {
		if t, ok := x.tcp.(*net.TCPConn); ok {
			if err := t.SetLinger(0); err != nil {
				return err
			}
		}
		x.tcp.Close()
		return errCut
	}
}

// head returns the head of an answer with the given lines, which are written as they stand.
func head(status int, lines ...string) string {
	return "HTTP/1.1 " + strconv.Itoa(status) + " " + http.StatusText(status) + "\r\n" + strings.Join(append(lines, "", ""), "\r\n")
}

// Respond answers with a body whose length the head says, all in one write. More header lines ("Retry-After: 1") may follow.
func Respond(status int, contentType, body string, lines ...string) Step {
	lines = append([]string{"Content-Type: " + contentType, "Content-Length: " + strconv.Itoa(len(body))}, lines...)
	return Script(Write(head(status, lines...) + body))
}

// Chunked answers with a chunked body: the head in a write of its own, then a write for each chunk, then the last.
func Chunked(status int, contentType string, chunks ...string) Step {
	actions := []Action{ChunkedHead(status, contentType)}
	for _, c := range chunks {
		actions = append(actions, Chunk(c))
	}
	return Script(append(actions, LastChunk())...)
}

// ChunkedHead sends the head of a chunked answer.
func ChunkedHead(status int, contentType string, lines ...string) Action {
	return Write(head(status, append([]string{"Content-Type: " + contentType, "Transfer-Encoding: chunked"}, lines...)...))
}

// Chunk sends one chunk.
func Chunk(data string) Action { return Write(fmt.Sprintf("%x\r\n%s\r\n", len(data), data)) }

// LastChunk ends a chunked body.
func LastChunk() Action { return Write("0\r\n\r\n") }

// UntilClose answers with a body that ends where the connection does.
func UntilClose(status int, contentType, body string) Step {
	return Script(Write(head(status, "Content-Type: "+contentType, "Connection: close")), Write(body), Close())
}

// Gzip answers with a body in gzip, whether or not the client accepts that.
func Gzip(status int, contentType, body string) Step {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	// Neither can fail: the destination is memory.
	_, _ = z.Write([]byte(body))
	_ = z.Close()
	return Respond(status, contentType, b.String(), "Content-Encoding: gzip")
}

// Echoed is the JSON that Echo answers with.
type Echoed struct {
	Method string      `json:"method"`
	Target string      `json:"target"`
	Fields [][2]string `json:"fields"`         // headers, in order and as spelt
	Text   string      `json:"text,omitempty"` // the body, where it is UTF-8
	Bytes  []byte      `json:"bytes,omitempty"`
}

// Echo answers 200 with what came.
func Echo() Step {
	return Script(func(x *Exchange) error {
		e := Echoed{Method: x.Request.Method, Target: x.Request.Target, Fields: x.Request.Fields}
		if utf8.Valid(x.Request.Body) {
			e.Text = string(x.Request.Body)
		} else {
			e.Bytes = x.Request.Body
		}
		b, err := json.Marshal(e)
		if err != nil {
			return err
		}
		return x.run(Respond(200, "application/json", string(b)).actions)
	})
}
