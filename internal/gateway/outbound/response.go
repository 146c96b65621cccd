package outbound

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"time"

	"gatehouse/internal/gateway/http1"
)

// Response is an upstream's answer. Close it.
type Response struct {
	Status int
	Header Header
	// ContentLength is the body's length; -1 when it is not known before its end, 0 when there is none.
	ContentLength int64
	Body          *Body // never nil

	body   Body
	fields [24]Field
}

// Close closes the body.
func (r *Response) Close() { r.Body.Close() }

// Header holds the fields of an answer in the order they came, names as they were spelled. Its strings stay valid after the
// answer is closed.
type Header struct{ fields []Field }

// Get returns the first field of a name, whatever the case, or "".
func (h *Header) Get(name string) string {
	for i := range h.fields {
		if f := &h.fields[i]; len(f.Name) == len(name) && strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Set replaces the fields of a name by one.
func (h *Header) Set(name, value string) {
	kept := h.fields[:0]
	for _, f := range h.fields {
		if !strings.EqualFold(f.Name, name) {
			kept = append(kept, f)
		}
	}
	h.fields = append(kept, Field{Name: name, Value: value})
}

// All yields the fields in order.
func (h *Header) All() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for i := range h.fields {
			if !yield(h.fields[i].Name, h.fields[i].Value) {
				return
			}
		}
	}
}

// Len returns the number of fields.
func (h *Header) Len() int { return len(h.fields) }

// framed says where an answer's body ends and whether the connection outlives it.
type framed struct {
	form  form
	left  int64 // of formLength: its length
	reuse bool
}

// form is how a body is delimited.
type form uint8

const (
	formNone    form = iota // there is none
	formLength              // so many bytes
	formChunked             // chunks
	formClose               // until the connection ends
	formForeign             // net/http knows
)

// malformed returns an error that shows what is wrong without showing the peer's bytes.
func malformed(what string) error { return errors.New("malformed answer: " + what) }

// parseStatus reads the status line of a head: "HTTP/1.x 200" and perhaps a reason.
func parseStatus(head []byte) (status int, http10 bool, err error) {
	line, _, _ := bytes.Cut(head, crlf)
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return 0, false, malformed("no status line of HTTP/1")
	}
	if line[7] != '0' && line[7] != '1' {
		return 0, false, malformed("no status line of HTTP/1")
	}
	for _, d := range line[9:12] {
		if d < '0' || d > '9' {
			return 0, false, malformed("the status is not a number")
		}
		status = status*10 + int(d-'0')
	}
	if status < 100 {
		return 0, false, malformed("the status is below 100")
	}
	if len(line) > 13 && !http1.IsValue(line[13:]) {
		return 0, false, malformed("a control character in the status line")
	}
	return status, line[7] == '0', nil
}

var crlf = []byte("\r\n")

// parse reads a head that was found good by parseStatus into r, and decides the framing of what follows. Each of its lines has its CRLF.
func (r *Response) parse(head []byte, status int, http10 bool, method string) (framed, error) {
	text := string(head[bytes.Index(head, crlf)+len(crlf):]) // one allocation; every field is a part of it
	r.Status, r.ContentLength = status, -1
	r.Body = &r.body
	fields := r.fields[:0]
	chunked, closes := false, http10
	length, spelled := int64(-1), ""
	for text != "" {
		line, err := cutField(text)
		if err != nil {
			return framed{}, err
		}
		text = text[len(line)+len("\r\n"):]
		name, value, err := parseField(line)
		if err != nil {
			return framed{}, err
		}
		switch len(name) {
		case 10:
			if strings.EqualFold(name, "Connection") && hasToken(value, "close") {
				closes = true
			}
		case 14:
			if strings.EqualFold(name, "Content-Length") {
				n, ok := http1.ParseLength(value)
				if !ok || length >= 0 && value != spelled {
					return framed{}, malformed("Content-Length")
				}
				if length >= 0 {
					continue
				}
				length, spelled = n, value
			}
		case 17:
			if strings.EqualFold(name, "Transfer-Encoding") {
				if chunked || http10 || !strings.EqualFold(value, "chunked") {
					return framed{}, malformed("Transfer-Encoding is not chunked alone")
				}
				chunked = true
			}
		}
		fields = append(fields, Field{Name: name, Value: value})
	}
	r.Header.fields = fields
	if chunked && length >= 0 {
		return framed{}, malformed("both Content-Length and Transfer-Encoding")
	}
	switch {
	case method == "HEAD" || status == 304:
		r.ContentLength = max(length, 0)
		return framed{form: formNone, reuse: !closes}, nil
	case status == 204:
		r.ContentLength = 0
		// A body that must not be is not looked for; the connection might bring one.
		return framed{form: formNone, reuse: !closes && !chunked && length <= 0}, nil
	case chunked:
		return framed{form: formChunked, reuse: !closes}, nil
	case length == 0:
		r.ContentLength = 0
		return framed{form: formNone, reuse: !closes}, nil
	case length > 0:
		r.ContentLength = length
		return framed{form: formLength, left: length, reuse: !closes}, nil
	}
	return framed{form: formClose}, nil
}

// cutField returns the first line of a head's fields, without its CRLF. It has no control character but tabs.
func cutField(text string) (line string, err error) {
	end := http1.Control([]byte(text))
	for end < len(text) && text[end] == '\t' {
		end++
		end += http1.Control([]byte(text[end:]))
	}
	if end+1 >= len(text) || text[end] != '\r' || text[end+1] != '\n' {
		return "", malformed("a control character in a header field")
	}
	return text[:end], nil
}

// parseField splits one line of a head, as cutField returns it. A line that begins with a space would continue the one before it in the HTTP
// of old; it is refused, like every name that is not a token.
func parseField(line string) (name, value string, err error) {
	colon := strings.IndexByte(line, ':')
	if colon <= 0 || !http1.IsToken(line[:colon]) {
		return "", "", malformed("a header line without a proper name")
	}
	value = line[colon+1:]
	for value != "" && (value[0] == ' ' || value[0] == '\t') {
		value = value[1:]
	}
	for value != "" && (value[len(value)-1] == ' ' || value[len(value)-1] == '\t') {
		value = value[:len(value)-1]
	}
	return line[:colon], value, nil
}

// hasToken reports whether a comma-separated list has a token, whatever the case.
func hasToken(list, token string) bool {
	for item := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.Trim(item, " \t"), token) {
			return true
		}
	}
	return false
}

// Body reads an answer's body. The connection goes back to the pool when the end was read, and is closed when Close comes first.
// It is for one goroutine.
type Body struct {
	c      *conn           // nil once the exchange is over
	ctx    context.Context // the exchange's, to tell its end from the upstream's: a Body lives no longer than its exchange
	idle   time.Duration
	framed framed
	chunks http1.Chunks
	waited error // what await met, for the Read that follows
	err    error // what every later Read returns
	alien  *foreign
}

// maxExtra bounds what a chunked body may hold beside data.
const maxExtra = 16 << 10

var errClosed = errors.New("read of a closed body")

// Read reads what has arrived, at least one byte, and waits only when there is none. The end may come together with the last
// bytes. A broken body gives an *Error.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	if b.alien != nil {
		n, err := b.alien.read(p)
		b.err = err
		return n, err
	}
	n, err := b.read(p)
	if err != nil {
		err = b.finish(err)
	}
	return n, err
}

// finish ends the exchange, io.EOF because its body has ended, and returns what is said of that from now on.
func (b *Body) finish(err error) error {
	if err == errEOF {
		err = io.ErrUnexpectedEOF
	}
	if err != io.EOF {
		err = failedRead(b.ctx, b.c, err)
	}
	b.end(err == io.EOF && b.framed.reuse)
	b.err = err
	return err
}

func failedRead(ctx context.Context, c *conn, err error) *Error {
	f := failure(ctx, OpRead, err)
	f.Wrote, f.Reused = true, c.reused
	return f
}

// Close ends the exchange. A body that was not read to its end costs the connection, which tells the upstream that nobody
// listens; an end that has already arrived is taken note of first.
func (b *Body) Close() {
	if b.alien != nil {
		b.alien.close()
	}
	if b.c != nil {
		b.end(b.arrived() && b.framed.reuse)
	}
	if b.err == nil {
		b.err = errClosed
	}
}

// arrived reports whether all that is missing of the body is its end, and that is in the buffer. A reader that stops at the last
// event of a stream leaves it so.
func (b *Body) arrived() bool {
	if b.framed.form != formChunked || b.chunks.Left > 0 {
		return false
	}
	return bytes.HasSuffix(b.c.buf[b.c.r:b.c.w], lastChunk) && b.c.w-b.c.r <= len(lastChunk)+2 && b.skipEnd()
}

var lastChunk = []byte("0\r\n\r\n")

func (b *Body) skipEnd() bool {
	var p [1]byte
	n, err := b.readChunked(p[:])
	return n == 0 && err == io.EOF
}

func (b *Body) end(reuse bool) {
	c := b.c
	b.c = nil
	c.release(reuse)
}

// errEOF is the connection's end where the body's is not.
var errEOF = errors.New("the connection ended")

// fill reads more into the buffer.
func (b *Body) fill() error {
	if err := b.waited; err != nil {
		return err
	}
	if err := b.c.readLimit(b.idle); err != nil {
		return err
	}
	return inside(b.c.fill())
}

// direct reads into p, past the buffer, which is empty.
func (b *Body) direct(p []byte) (int, error) {
	if err := b.waited; err != nil {
		return 0, err
	}
	if err := b.c.readLimit(b.idle); err != nil {
		return 0, err
	}
	n, err := b.c.read(p)
	return n, inside(err)
}

func inside(err error) error {
	if err == io.EOF {
		return errEOF
	}
	return err
}

// read returns io.EOF for the body's end and nothing else.
func (b *Body) read(p []byte) (int, error) {
	switch b.framed.form {
	case formChunked:
		return b.readChunked(p)
	case formLength:
		n, err := b.readData(p[:min(int64(len(p)), b.framed.left)])
		b.framed.left -= int64(n)
		if b.framed.left == 0 {
			return n, io.EOF
		}
		return n, err
	case formClose:
		n, err := b.readData(p)
		// Under TLS the end must be the session's: one of the connection alone may be somebody's on the way (RFC 9112, 9.8).
		if err == errEOF && (b.c.wire == nil || !b.c.wire.cut) {
			err = io.EOF
		}
		return n, err
	}
	return 0, io.EOF
}

// readData reads bytes that need no decoding: what is buffered, else from the connection, straight into p when it is large.
func (b *Body) readData(p []byte) (int, error) {
	c := b.c
	if c.r == c.w {
		if len(p) >= bufferSize {
			return b.direct(p)
		}
		if err := b.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.buf[c.r:c.w])
	c.r += n
	return n, nil
}

// readChunked decodes as much as is there; it waits only while p is empty.
func (b *Body) readChunked(p []byte) (n int, err error) {
	c := b.c
	for n < len(p) {
		if left := b.chunks.Left; left > 0 {
			if c.r == c.w && n > 0 {
				return n, nil
			}
			m, err := b.readData(p[n:][:min(int64(len(p)-n), left)])
			n += m
			b.chunks.Left -= int64(m)
			if err != nil {
				return n, err
			}
			continue
		}
		line, whole, err := http1.CutLine(c.buf[c.r:c.w])
		switch {
		case err != nil:
			return n, malformed(err.Error())
		case whole == 0 && n > 0:
			return n, nil
		case whole == 0:
			if err := b.fill(); err != nil {
				return n, err
			}
			continue
		}
		c.r += whole
		switch err := b.chunks.Line(line); {
		case err == io.EOF:
			return n, err
		case err != nil:
			return n, malformed(err.Error())
		}
	}
	return n, nil
}
