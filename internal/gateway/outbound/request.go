package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/gateway/http1"
	"gatehouse/internal/secret"
)

// Field is one header field.
type Field = http1.Field

// Credential is the secret header field an upstream is called with, and the one origin it may be sent to. The zero Credential
// sends none.
type Credential struct {
	Name   string      // e.g. "Authorization" or "api-key"
	Value  secret.Text // the whole value, e.g. "Bearer sk-..."
	Origin string      // what OriginOf gave for the base URL the credential was stored with
}

// Request is what to send. The caller keeps what it points to unchanged until Do returns; Do keeps nothing of it.
type Request struct {
	Method string
	URI    string // path and query, beginning with "/", sent as it stands
	// Header holds every field but those that are this package's to write: Host, Content-Length and whatever else frames a
	// message or belongs to one connection. Fields that carry credentials are refused here: they go in Credential.
	Header []Field
	// Body is the body in memory, in segments that are sent one after the other. It is ignored when Reader is set.
	Body [][]byte
	// Reader is the body as a stream. Do does not read it after it returned, so a Read must end when ctx does: Do waits for it.
	Reader io.Reader
	// Length is how many bytes Reader gives; -1 sends them in chunks.
	Length     int64
	Credential Credential
	// Into is where the answer goes; nil: into a new Response. It belongs to one answer at a time.
	Into *Response
}

// response returns where the answer goes, with nothing in it.
func (r *Request) response() *Response {
	if r.Into == nil {
		return new(Response)
	}
	if r.Into.Status != 0 { // else there is nothing in it
		*r.Into = Response{}
	}
	return r.Into
}

// Timeouts limits the parts of one exchange; the context limits the whole. 0 sets no limit.
type Timeouts struct {
	Connect   time.Duration // name lookup, connection and TLS handshake together
	FirstByte time.Duration // from the last byte of the request to the end of the answer's head
	Idle      time.Duration // the longest silence inside a body, in either direction
}

// The steps at which an exchange fails, the Op of an Error.
const (
	OpRequest = "request"      // the request cannot be sent as it stands; nothing was tried
	OpGuard   = "guard"        // the address, or the credential's origin, is refused; nothing was sent
	OpDial    = "dial"         // no connection
	OpTLS     = "tls"          // no TLS session
	OpWrite   = "write"        // the request was not written whole
	OpBody    = "request body" // Request.Reader failed: not the upstream's failure
	OpHead    = "read head"    // no answer, or not one of HTTP
	OpRead    = "read body"    // the answer's body broke off or is malformed
)

// Error is how an exchange failed. It never holds a header value or bytes of a body.
type Error struct {
	Op      string
	Wrote   bool // bytes of the request may have reached the peer: sending it again may do its work twice
	Timeout bool // a limit of Timeouts or the context's deadline struck
	Reused  bool // on a connection that had served an exchange before: the peer may merely have closed it while idle
	Err     error
}

// Error names the step and the cause.
func (e *Error) Error() string { return "upstream: " + e.Op + ": " + e.Err.Error() }

// Unwrap returns the cause; when the context ended, that is the context's cause.
func (e *Error) Unwrap() error { return e.Err }

// failure returns an Error for a step that failed with err under ctx. A context that ended explains whatever else went wrong.
func failure(ctx context.Context, op string, err error) *Error {
	if done := ctx.Err(); done != nil {
		return &Error{Op: op, Timeout: errors.Is(done, context.DeadlineExceeded), Err: context.Cause(ctx)}
	}
	return &Error{Op: op, Timeout: isTimeout(err), Err: err}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// check refuses a request that could say something else on the wire than it says here, and a credential that is not this
// origin's.
func (r *Request) check(origin string) *Error {
	if r.Method == "" || !http1.IsToken(r.Method) || r.Method == "CONNECT" {
		return &Error{Op: OpRequest, Err: fmt.Errorf("invalid method %q", r.Method)}
	}
	if !validURI(r.URI) {
		return &Error{Op: OpRequest, Err: errors.New("the request's URI is not a path and query of visible ASCII characters")}
	}
	for i := range r.Header {
		f := &r.Header[i]
		if !http1.IsToken(f.Name) || !http1.IsValue([]byte(f.Value)) {
			return &Error{Op: OpRequest, Err: fmt.Errorf("invalid header field %q", f.Name)}
		}
		if owned(f.Name) {
			return &Error{Op: OpRequest, Err: fmt.Errorf("header field %q is not the caller's to set", f.Name)}
		}
	}
	if r.Reader != nil && r.Length < -1 {
		return &Error{Op: OpRequest, Err: fmt.Errorf("invalid body length %d", r.Length)}
	}
	return r.Credential.check(origin)
}

// check is the binding of a credential to its origin: it holds whatever was routed, and for both kinds of transport.
func (c *Credential) check(origin string) *Error {
	if c.Value.IsZero() {
		return nil
	}
	if c.Origin != origin {
		return &Error{Op: OpGuard, Err: fmt.Errorf("a credential bound to %q does not go to %q", c.Origin, origin)}
	}
	if !http1.IsToken(c.Name) || framing(c.Name) || !http1.IsValue([]byte(c.Value.Reveal())) {
		return &Error{Op: OpRequest, Err: errors.New("the credential cannot be a header field")}
	}
	return nil
}

// size returns the length of the body in memory.
func (r *Request) size() (n int64) {
	if r.Reader != nil {
		return 0
	}
	for _, s := range r.Body {
		n += int64(len(s))
	}
	return n
}

// appendHead appends the request line and the header, up to and with the empty line.
func (r *Request) appendHead(b []byte, host string) []byte {
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.URI...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	b = append(b, "\r\n"...)
	for i := range r.Header {
		b = appendField(b, r.Header[i].Name, r.Header[i].Value)
	}
	if !r.Credential.Value.IsZero() {
		b = appendField(b, r.Credential.Name, r.Credential.Value.Reveal())
	}
	switch n := r.size(); {
	case r.Reader != nil && r.Length < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case r.Reader != nil:
		b = appendLength(b, r.Length)
	case n > 0 || r.Method == "POST" || r.Method == "PUT" || r.Method == "PATCH":
		b = appendLength(b, n)
	}
	return append(b, "\r\n"...)
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

func appendLength(b []byte, n int64) []byte {
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, "\r\n"...)
}

// owned reports whether a field of Request.Header is refused: it frames the message, belongs to the connection, or carries a
// credential, which only Request.Credential may.
func owned(name string) bool {
	return framing(name) || credential(name)
}

// credential reports whether a field carries a credential in any dialect we know.
func credential(name string) bool {
	switch len(name) {
	case 6:
		return strings.EqualFold(name, "Cookie")
	case 7:
		return strings.EqualFold(name, "api-key")
	case 9:
		return strings.EqualFold(name, "x-api-key")
	case 13:
		return strings.EqualFold(name, "Authorization")
	case 19:
		return strings.EqualFold(name, "Proxy-Authorization")
	case 25:
		return strings.EqualFold(name, "Ocp-Apim-Subscription-Key")
	}
	return false
}

// framing reports whether a field says where a message ends, whom it is for, or what holds for this connection only.
func framing(name string) bool {
	switch len(name) {
	case 2:
		return strings.EqualFold(name, "TE")
	case 4:
		return strings.EqualFold(name, "Host")
	case 6:
		return strings.EqualFold(name, "Expect")
	case 7:
		return strings.EqualFold(name, "Trailer") || strings.EqualFold(name, "Upgrade")
	case 10:
		return strings.EqualFold(name, "Connection") || strings.EqualFold(name, "Keep-Alive")
	case 14:
		return strings.EqualFold(name, "Content-Length")
	case 16:
		return strings.EqualFold(name, "Proxy-Connection")
	case 17:
		return strings.EqualFold(name, "Transfer-Encoding")
	}
	return false
}

func validURI(s string) bool {
	if s == "" || s[0] != '/' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return true
}
