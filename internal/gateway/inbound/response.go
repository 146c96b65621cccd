package inbound

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gatehouse/internal/gateway/http1"
)

const (
	// bufferSize is up to what size an answer, head and body, is written as one.
	bufferSize = 16 << 10
	// direct is from what size on a write goes past the buffer, where there is no TLS.
	direct = 8 << 10
	// headGap is kept free between the head and the body for the fields that are known last: Content-Type where it is guessed (at
	// most 64 bytes), Connection, and the framing with the first chunk's size.
	headGap = 160
	// chunkGap is kept free for a chunk's size.
	chunkGap = 18
	// tailRoom is kept free for what follows a chunk.
	tailRoom = 8
)

var bufferPool = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// response is the http.ResponseWriter of one connection's requests, one after the other. It buffers until its buffer is full,
// until Flush, or until the handler returns, and holds a buffer only in between.
//
//	out: [ head | gap, filled from its end when it is sent | body ... ]
type response struct {
	c      *conn
	header http.Header
	keys   []string // of header, sorted

	out     []byte
	pooled  *[]byte
	headEnd int // of the head in out; 0 once it is sent
	bodyAt  int // where the body begins in out

	status   int
	declared int64 // the body's length as the handler says; -1: not said
	written  int64 // bytes of the body so far
	mode     mode
	isHead   bool
	guess    bool // the handler said no Content-Type
	dated    bool // it said a Date
	guessed  string
	closes   bool // the connection ends with this answer
	sent     bool // the head is out
	over     bool // the request has ended
	err      error
}

// mode is how the end of an answer is told.
type mode uint8

const (
	noBody  mode = iota // there is none
	length              // so many bytes
	chunked             // chunks
)

func (w *response) begin(r *http.Request) {
	clear(w.header)
	*w = response{c: w.c, header: w.header, keys: w.keys[:0], declared: -1, isHead: r.Method == http.MethodHead, closes: r.Close}
}

// end makes later use an error, or a panic in tests.
func (w *response) end() {
	w.put()
	w.over = true
	clear(w.header)
}

func (w *response) late() bool {
	if w.over && lateUseIsFatal {
		panic(errLate)
	}
	return w.over
}

// Header returns the map that WriteHeader will write.
func (w *response) Header() http.Header {
	if w.late() {
		return http.Header{}
	}
	return w.header
}

// WriteHeader writes the head into the buffer; what the header map says afterwards is ignored. A 1xx goes out at once, and another
// head may follow.
func (w *response) WriteHeader(status int) {
	if !w.beginHead(status) {
		return
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		w.appendFields(status)
		w.out = append(w.out, "\r\n"...)
		w.err = w.c.writeAll(w.out, nil, "")
		w.put()
		return
	}
	w.status = status
	w.appendFields(status)
	w.endHead()
}

// RequestFields returns the header of the request as a list, in the order in which it was sent: the names in canonical form, "" for Host,
// and the value of each. There is none for a header that is more than such a list, as one in which a name is there twice.
func (w *response) RequestFields() (names, values []string) {
	if w.late() {
		return nil, nil
	}
	h := &w.c.header
	return h.keys, h.values[:len(h.keys)]
}

// WriteHead is WriteHeader with a header that is a list, in the order in which it is written, of names in canonical form; the header map
// is left alone. A Content-Type that is not in it is not guessed. It is for final answers.
func (w *response) WriteHead(status int, fields []http1.Field) {
	if !w.beginHead(status) {
		return
	}
	w.status = status
	for i := range fields {
		w.appendField(status, fields[i].Name, fields[i].Value)
	}
	w.guess = false
	w.appendDate()
	w.endHead()
}

// beginHead writes the first line of a head; false: there is one already, or nobody may write one any more.
func (w *response) beginHead(status int) bool {
	if w.late() {
		return false
	}
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid WriteHeader code %v", status))
	}
	if w.status != 0 {
		w.c.srv.cfg.ErrorLog.Printf("superfluous WriteHeader(%d) after %d", status, w.status)
		return false
	}
	w.take(0)
	w.appendStatus(status)
	return true
}

// endHead leaves room behind the head for what is known last.
func (w *response) endHead() {
	w.headEnd = len(w.out)
	w.out = slices.Grow(w.out, headGap+tailRoom)[:w.headEnd+headGap]
	w.bodyAt = len(w.out)
}

func (w *response) appendStatus(status int) {
	if status == http.StatusOK {
		w.out = append(w.out, "HTTP/1.1 200 OK\r\n"...)
		return
	}
	w.out = append(w.out, "HTTP/1.1 "...)
	w.out = strconv.AppendInt(w.out, int64(status), 10)
	w.out = append(w.out, ' ')
	if text := http.StatusText(status); text != "" {
		w.out = append(w.out, text...)
	} else {
		w.out = append(w.out, "status code "...)
		w.out = strconv.AppendInt(w.out, int64(status), 10)
	}
	w.out = append(w.out, "\r\n"...)
}

// appendFields appends the header map in the order of its names.
func (w *response) appendFields(status int) {
	w.guess, w.dated = bodyAllowed(status), false
	w.keys = w.keys[:0]
	for name := range w.header {
		w.keys = append(w.keys, name)
	}
	slices.Sort(w.keys)
	for _, name := range w.keys {
		if name == "Content-Type" {
			w.guess = false // also where it has no value
		}
		if !http1.IsToken(name) { // among others http.TrailerPrefix
			continue
		}
		for _, v := range w.header[name] {
			w.appendField(status, name, v)
		}
	}
	w.appendDate()
}

// appendField appends one field, but for what says where the answer ends and whether the connection does: those are decided later, from
// what the handler says here.
func (w *response) appendField(status int, name, value string) {
	switch name {
	case "Content-Length":
		if w.declared < 0 && bodyAllowed(status) {
			if n, ok := http1.ParseLength(strings.TrimSpace(value)); ok {
				w.declared = n
			}
		}
		return
	case "Connection":
		w.closes = w.closes || strings.EqualFold(strings.TrimSpace(value), "close")
		return
	case "Transfer-Encoding", "Trailer":
		return
	case "Content-Type":
		if status == http.StatusNotModified {
			return // as net/http has it: it would be about a body that is not there
		}
	case "Content-Encoding":
		w.guess = w.guess && value == ""
	case "Date":
		w.dated = true
	}
	from := len(w.out)
	w.out = append(w.out, name...)
	w.out = append(w.out, ": "...)
	w.out = append(w.out, value...)
	clean(w.out[from:])
	w.out = append(w.out, "\r\n"...)
}

func (w *response) appendDate() {
	if w.dated {
		return
	}
	w.out = append(w.out, "Date: "...)
	w.out = append(w.out, w.c.srv.date.Load().text...)
	w.out = append(w.out, "\r\n"...)
}

// clean makes spaces of control characters, but for tabs: a field cannot end before its end.
func clean(line []byte) {
	for {
		i := http1.Control(line)
		if i == len(line) {
			return
		}
		if line[i] != '\t' {
			line[i] = ' '
		}
		line = line[i+1:]
	}
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// Write adds to the body.
func (w *response) Write(p []byte) (int, error) {
	if err := w.mayWrite(int64(len(p))); err != nil {
		return 0, err
	}
	if w.guess && len(p) > 0 {
		w.guess, w.guessed = false, http.DetectContentType(p)
	}
	if w.isHead {
		return len(p), nil
	}
	whole := len(p)
	if w.out == nil {
		w.take(chunkGap)
	}
	for len(w.out)+len(p)+tailRoom > cap(w.out) {
		if w.c.session == nil && len(p) >= direct {
			return whole, w.send(p, false)
		}
		k := max(0, cap(w.out)-tailRoom-len(w.out))
		w.out = append(w.out, p[:k]...)
		p = p[k:]
		if err := w.send(nil, false); err != nil {
			return whole - len(p), err
		}
		w.take(chunkGap)
	}
	w.out = append(w.out, p...)
	return whole, nil
}

// WriteString is Write.
func (w *response) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// mayWrite counts n more bytes of the body, and says why they may not be written.
func (w *response) mayWrite(n int64) error {
	if w.late() {
		return errLate
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.err != nil:
		return w.err
	case n == 0:
		return nil
	case !bodyAllowed(w.status):
		return http.ErrBodyNotAllowed
	case w.declared >= 0 && w.written+n > w.declared:
		return http.ErrContentLength
	}
	w.written += n
	return nil
}

// FlushError writes what is buffered.
func (w *response) FlushError() error {
	if w.late() {
		return errLate
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.send(nil, false)
}

// Flush is FlushError for http.Flusher.
func (w *response) Flush() { _ = w.FlushError() } // the interface has no error; the next write has it

// SetReadDeadline bounds the reading of the request's body.
func (w *response) SetReadDeadline(t time.Time) error { return w.c.SetReadDeadline(t) }

// SetWriteDeadline bounds the writing of the answer.
func (w *response) SetWriteDeadline(t time.Time) error { return w.c.SetWriteDeadline(t) }

// EnableFullDuplex does nothing: a handler may always read while it answers.
func (w *response) EnableFullDuplex() error { return nil }

// take gets a buffer and leaves a gap at its beginning.
func (w *response) take(gap int) {
	if w.out == nil {
		w.pooled = bufferPool.Get().(*[]byte)
		w.out = (*w.pooled)[:gap]
		w.headEnd, w.bodyAt = 0, gap
	}
}

// put gives the buffer back.
func (w *response) put() {
	if w.out != nil {
		bufferPool.Put(w.pooled)
		w.out, w.pooled = nil, nil
	}
}

// send writes the head if it is not out, what is buffered, and extra, in one piece; the last one ends the answer.
func (w *response) send(extra []byte, last bool) error {
	if w.err != nil {
		return w.err
	}
	if w.out == nil {
		if w.mode != chunked && len(extra) == 0 {
			return nil
		}
		w.take(chunkGap)
	}
	n := len(w.out) - w.bodyAt + len(extra)
	var scratch [headGap]byte
	gap := scratch[:0]
	if !w.sent {
		gap = w.appendFraming(gap, last)
		w.sent = true
	}
	tail := ""
	if w.mode == chunked {
		if n > 0 {
			gap = append(strconv.AppendInt(gap, int64(n), 16), '\r', '\n')
			tail = "\r\n"
		}
		if last {
			tail += "0\r\n\r\n"
		}
	}
	at := w.bodyAt - len(gap) - w.headEnd
	copy(w.out[at:], w.out[:w.headEnd])
	copy(w.out[at+w.headEnd:], gap)
	if len(extra) == 0 {
		w.out = append(w.out, tail...)
		tail = ""
	}
	if head := w.out[at:]; len(head) > 0 || len(extra) > 0 {
		w.err = w.c.writeAll(head, extra, tail)
	}
	w.put()
	return w.err
}

// appendFraming decides how the answer's end is told, and appends the fields that say so and the empty line.
func (w *response) appendFraming(b []byte, last bool) []byte {
	if w.guessed != "" {
		b = append(append(append(b, "Content-Type: "...), w.guessed...), "\r\n"...)
	}
	w.closes = w.closes || w.c.srv.draining.Load()
	if w.closes {
		b = append(b, "Connection: close\r\n"...)
	}
	say := w.declared
	switch {
	case !bodyAllowed(w.status):
		w.mode, say = noBody, -1
	case w.isHead:
		w.mode = noBody
		if last && say < 0 && w.written > 0 {
			say = w.written
		}
	case w.declared >= 0:
		w.mode = length
	case last:
		w.mode, w.declared, say = length, w.written, w.written
	default:
		w.mode = chunked
	}
	switch {
	case say >= 0:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, say, 10)
		b = append(b, "\r\n"...)
	case w.mode == chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	return append(b, "\r\n"...)
}

// finish ends the answer; false: the connection ends with it.
func (w *response) finish() bool {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if b := &w.c.body; !w.sent && !b.ended() && !b.chunked && b.left > maxSkip {
		w.closes = true // too much to skip for the next request
	}
	if w.send(nil, true) != nil {
		return false
	}
	return !w.closes && (w.mode != length || w.written == w.declared)
}

// abort writes what the handler has written so far, unless that would be a whole answer.
func (w *response) abort() {
	whole := w.isHead || !bodyAllowed(w.status) || w.declared >= 0 && w.written >= w.declared
	if w.status != 0 && !whole {
		_ = w.send(nil, false) // the caller may be gone; the connection ends either way
	}
}
