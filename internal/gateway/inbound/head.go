package inbound

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"gatehouse/internal/gateway/http1"
)

const (
	// inputSize holds the head and the body of most requests, so that one read brings both.
	inputSize = 4 << 10
	// maxFields is how many fields one may have.
	maxFields = 64
)

// input is a read buffer, and what the scan of a head found in it. buf[r:w] was read and not used yet; a head begins at 0.
type input struct {
	buf  []byte
	r, w int

	seen   int // what the scan has searched
	line   int // where the line under way begins
	end    int // of the head, behind its empty line
	first  requestLine
	query  int      // where the target's query begins in it, with its question mark
	parsed *url.URL // the target, where it had to be parsed
	field  [maxFields]span
	n      int // fields
	// known are the names of the head before, on the same connection and in the order in which they were sent. Most often they are this
	// one's too: same is how many of them were, one after the other from the first.
	known []string
	same  int
	// control says that there is a control character in the line under way.
	control bool
	// unusual says that the head is net/http's to serve, if it is anybody's: that is known at its end.
	unusual bool
	framing
}

// requestLine is the first line of a head: buf[:method] and buf[target:targetEnd].
type requestLine struct{ method, target, targetEnd int }

// span is a field: buf[name:nameEnd] and buf[value:valueEnd].
type span struct{ name, nameEnd, value, valueEnd int32 }

// framing is what the fields of a head say about the request's body and its connection.
type framing struct {
	hosts, host int   // how many Host fields there are, and the last one's index
	length      int64 // -1: none
	coded       bool  // there is a Transfer-Encoding
	chunked     bool  // and it is chunked alone
	closes      bool
	connections int
	pragma      bool
}

var inputs = sync.Pool{New: func() any { return &input{buf: make([]byte, inputSize)} }}

// verdict is what is known about a head.
type verdict uint8

const (
	partial   verdict = iota // it has not arrived whole
	own                      // it is served here
	foreign                  // it is net/http's
	ambiguous                // no server should serve it
	broken                   // the connection ended, or took too long
)

// head reads the next request's head. It may take as long as a head may from its first byte; for that, who looks after idle connections
// waits.
func (c *conn) head() verdict {
	if c.in == nil {
		c.in = inputs.Get().(*input)
	}
	in := c.in
	in.begin()
	in.known = c.header.names
	if in.w > 0 && !c.state.CompareAndSwap(stateIdle, stateActive) {
		return broken
	}
	late := false // the deadline of a whole head is in force
	for {
		if v := in.scan(); v != partial {
			return v
		}
		if in.w == len(in.buf) {
			if len(in.buf) >= c.srv.cfg.MaxHeaderBytes {
				return foreign // which knows how to say so
			}
			in.buf = append(in.buf, make([]byte, min(len(in.buf), c.srv.cfg.MaxHeaderBytes-len(in.buf)))...)
		}
		if in.w > 0 && !late {
			late = true
			_ = c.SetReadDeadline(time.Now().Add(c.srv.cfg.ReadHeaderTimeout)) // no read is under way: it cannot fail
		}
		n, err := c.read(in.buf[in.w:])
		if err != nil {
			return broken
		}
		if in.w == 0 && !c.state.CompareAndSwap(stateIdle, stateActive) {
			return broken
		}
		in.w += n
	}
}

// release gives the read buffer back.
func (c *conn) release() {
	if in := c.in; in != nil {
		c.in = nil
		if len(in.buf) > inputSize {
			in.buf = make([]byte, inputSize)
		}
		in.r, in.w, in.parsed, in.known = 0, 0, nil, nil
		inputs.Put(in)
	}
}

// begin makes ready for the next head: what was read of it moves to the front.
func (in *input) begin() {
	if in.r > 0 {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	in.seen, in.line, in.end, in.n, in.first = 0, 0, 0, 0, requestLine{}
	in.parsed, in.unusual, in.known, in.same, in.control = nil, false, nil, 0, false
	in.framing = framing{length: -1}
}

// scan goes on with what has arrived. A line that does not end in CRLF, and one that continues the line before it, are ambiguous:
// where they end somebody else may see another field, or another request.
//
// It goes from one control character to the next, since those end lines and have no place in them but for tabs: so each byte is looked
// at once.
func (in *input) scan() verdict {
	for {
		in.seen += http1.Control(in.buf[in.seen:in.w])
		if in.seen == in.w {
			return partial
		}
		switch in.buf[in.seen] {
		case '\t':
			in.seen++
			continue
		case '\n':
			return ambiguous
		case '\r':
			if in.seen+1 == in.w {
				return partial
			}
			if in.buf[in.seen+1] == '\n' {
				break
			}
			fallthrough
		default:
			in.control = true
			in.seen++
			continue
		}
		begin, end := in.line, in.seen
		in.seen += len("\r\n")
		in.line = in.seen
		switch {
		case begin == 0:
			if !in.scanRequestLine(end) {
				return foreign
			}
			in.control = false // one in it was found unusual
		case begin == end:
			in.end = in.seen
			return in.judge()
		case in.buf[begin] == ' ' || in.buf[begin] == '\t':
			return ambiguous
		case in.control || !in.scanField(begin, end):
			return foreign
		}
	}
}

const version = " HTTP/1.1"

// scanRequestLine reads buf[:end]: a known method, a space, a path with perhaps a query, and the version. Anything else is unusual;
// false: it is no line of HTTP/1, and no fields need follow it.
func (in *input) scanRequestLine(end int) bool {
	line := in.buf[:end]
	if end < len(version) {
		return false
	}
	in.first = requestLine{method: bytes.IndexByte(line, ' ')}
	in.first.target, in.first.targetEnd = in.first.method+1, end-len(version)
	switch string(line[in.first.targetEnd:]) {
	case version:
		in.unusual = in.first.targetEnd <= in.first.target || methodOf(line[:in.first.method]) == "" || !in.readTarget(line[in.first.target:in.first.targetEnd])
	case " HTTP/1.0":
		in.unusual = true
	default:
		return false
	}
	return true
}

// methodOf returns a method that is served here, "" for any other.
func methodOf(b []byte) string {
	switch string(b) {
	case "POST":
		return http.MethodPost
	case "GET":
		return http.MethodGet
	case "HEAD":
		return http.MethodHead
	case "PUT":
		return http.MethodPut
	case "PATCH":
		return http.MethodPatch
	case "DELETE":
		return http.MethodDelete
	case "OPTIONS":
		return http.MethodOptions
	}
	return ""
}

// scanField reads buf[begin:end], which has no control character but tabs, as one field; false: it is none, which net/http thinks too.
func (in *input) scanField(begin, end int) bool {
	line := in.buf[begin:end]
	colon := in.nameEnd(line)
	if colon <= 0 {
		return false
	}
	from, to := colon+1, len(line)
	for from < to && (line[from] == ' ' || line[from] == '\t') {
		from++
	}
	for to > from && (line[to-1] == ' ' || line[to-1] == '\t') {
		to--
	}
	if in.n == maxFields {
		in.unusual = true
		in.n--
	}
	in.field[in.n] = span{int32(begin), int32(begin + colon), int32(begin + from), int32(begin + to)}
	in.n++
	if !in.note(line[:colon], line[from:to]) {
		in.unusual = true
	}
	return true
}

// nameEnd returns where a field's name ends, at its colon; -1: it has no proper name. One that the head before had at this place is
// proper.
func (in *input) nameEnd(line []byte) int {
	if i := in.same; i == in.n && i < len(in.known) {
		k := len(in.known[i])
		if k < len(line) && line[k] == ':' && string(line[:k]) == in.known[i] {
			in.same++
			return k
		}
	}
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || !http1.IsToken(line[:colon]) {
		return -1
	}
	return colon
}

// note takes what a field says about framing; false: that is unusual.
func (in *input) note(name, value []byte) bool {
	switch len(name) {
	case 4:
		if isName(name, "host") {
			in.hosts++
			in.host = in.n - 1
			return isHost(value)
		}
	case 6:
		in.pragma = in.pragma || isName(name, "pragma")
		return !isName(name, "expect")
	case 7:
		return !isName(name, "upgrade") && !isName(name, "trailer")
	case 10:
		if isName(name, "connection") {
			in.connections++
			in.closes = isName(value, "close")
			return in.connections == 1 && (in.closes || isName(value, "keep-alive"))
		}
	case 14:
		if isName(name, "content-length") {
			known := in.length >= 0
			n, ok := http1.ParseLength(value)
			in.length = n // 0 where it is no number: it is there
			return ok && !known
		}
	case 17:
		if isName(name, "transfer-encoding") {
			known := in.coded
			in.coded, in.chunked = true, isName(value, "chunked")
			return !known && in.chunked
		}
	}
	return true
}

// judge says whether a whole head is served here. One that frames its body twice is refused: net/http would believe one of the two,
// and whoever stands in front of us perhaps the other.
func (in *input) judge() verdict {
	switch {
	case in.coded && in.length >= 0:
		return ambiguous
	case in.unusual || in.hosts != 1:
		return foreign
	}
	return own
}

// isName compares with a name in lower case.
func isName(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// isHost reports whether a Host field is a name or an address with perhaps a port.
func isHost(b []byte) bool {
	for _, c := range b {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == ':' || c == '_' || c == '[' || c == ']') {
			return false
		}
	}
	return len(b) > 0
}

// pathByte says which bytes stand for themselves in a path, read and written.
var pathByte = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("/-_.~:@$&+,;=", byte(c)) >= 0
	}
	return t
}()

// fill makes a request of the head that was scanned. Its strings are parts of one, which has nothing that they do not have.
func (c *conn) fill(r *http.Request) {
	in := c.in
	text := in.text()
	in.r = in.end
	r.Method = methodOf(in.buf[:in.first.method])
	target := in.first.targetEnd - in.first.target
	r.RequestURI = text[:target]
	r.URL = c.target(r.RequestURI)
	r.Header, r.Host = c.header.of(in, text[target:])
	r.Close = in.closes
	c.body = body{c: c, left: max(in.length, 0), chunked: in.chunked, chunks: http1.Chunks{MaxExtra: maxExtra}}
	switch {
	case in.chunked:
		r.TransferEncoding = chunkedAlone
		r.ContentLength = -1
		r.Body = c.openBody()
	case in.length > 0:
		r.ContentLength = in.length
		r.Body = c.openBody()
	default:
		r.Body = http.NoBody
		c.body.err = io.EOF
		c.emptied()
	}
}

// text returns the target and the values of the fields, one after the other.
func (in *input) text() string {
	size := in.first.targetEnd - in.first.target
	for i := range in.n {
		size += in.field[i].size()
	}
	var b strings.Builder
	b.Grow(size)
	b.Write(in.buf[in.first.target:in.first.targetEnd])
	for i := range in.n {
		f := &in.field[i]
		b.Write(in.buf[f.value:f.valueEnd])
	}
	return b.String()
}

// size returns the length of the value.
func (f *span) size() int { return int(f.valueEnd - f.value) }

var chunkedAlone = []string{"chunked"}

// requestHeader is the header of a connection's requests, one after the other. Most often the next one has the same fields in the same
// order, since one program sends them all: then the map stays as it is, and only the values it shows are others.
type requestHeader struct {
	fields http.Header
	values []string // of the fields in the order in which they were sent, Host's too; those of fields are parts of it

	// Where fields may serve the next request too, each field's name as it was sent and as fields has it, "" for Host: in memory of their
	// own, that no value is in.
	names, keys []string
}

// of returns the header of a head, and its Host. text holds the values of the fields, one after the other.
func (h *requestHeader) of(in *input, text string) (fields http.Header, host string) {
	fits := in.same == in.n && in.n == len(h.names) && !in.chunked && !in.pragma
	if !fits && cap(h.values) < in.n {
		h.values, h.names, h.keys = make([]string, in.n), make([]string, 0, in.n), make([]string, 0, in.n)
	}
	h.values = h.values[:in.n]
	for i := range h.values {
		k := in.field[i].size()
		h.values[i], text = text[:k], text[k:]
	}
	if !fits {
		h.build(in)
	}
	return h.fields, h.values[in.host]
}

// build makes the map for a head, whose values are there.
func (h *requestHeader) build(in *input) {
	h.drop()
	if h.fields == nil {
		h.fields = make(http.Header, 16)
	}
	var room [1 << 10]byte
	sent := room[:0]
	for i := range in.n {
		f := &in.field[i]
		sent = append(sent, in.buf[f.name:f.nameEnd]...)
		canonical(in.buf[f.name:f.nameEnd])
		sent = append(sent, in.buf[f.name:f.nameEnd]...)
	}
	again := !in.chunked && !in.pragma // which change the map
	names := string(sent)
	for i := range in.n {
		f := &in.field[i]
		k := f.nameEnd - f.name
		key := names[k : 2*k]
		if i == in.host {
			key = ""
		}
		h.names, h.keys, names = append(h.names, names[:k]), append(h.keys, key), names[2*k:]
		if i == in.host {
			continue
		}
		if same, twice := h.fields[key]; twice {
			h.fields[key], again = append(same, h.values[i]), false
			continue
		}
		h.fields[key] = h.values[i : i+1 : i+1]
	}
	if in.pragma && h.fields["Cache-Control"] == nil && h.fields.Get("Pragma") == "no-cache" {
		h.fields["Cache-Control"] = []string{"no-cache"} // as net/http has it
	}
	if in.chunked {
		delete(h.fields, "Transfer-Encoding") // likewise
	}
	if !again {
		h.names, h.keys = h.names[:0], h.keys[:0]
	}
}

// forget lets go of what the last request said: an idle connection holds nothing of it.
func (h *requestHeader) forget() {
	if len(h.names) == 0 {
		h.drop()
	}
	clear(h.values)
}

// drop empties the map.
func (h *requestHeader) drop() {
	clear(h.fields)
	clear(h.names)
	clear(h.keys)
	h.names, h.keys = h.names[:0], h.keys[:0]
}

// mustBeWhole panics where a handler has changed the map.
func (h *requestHeader) mustBeWhole() {
	shown := 0
	for name, values := range h.fields {
		if len(values) != 1 {
			panic("inbound: the handler changed the header of its request: " + name)
		}
		for i := range h.values {
			if &values[0] == &h.values[i] {
				shown++
			}
		}
	}
	if shown != len(h.names)-1 || shown != len(h.fields) { // Host is not in it
		panic("inbound: the handler changed the header of its request")
	}
}

// canonical writes a field's name as net/http does.
func canonical(name []byte) {
	upper := true
	for i, c := range name {
		if upper && 'a' <= c && c <= 'z' {
			name[i] = c - ('a' - 'A')
		} else if !upper && 'A' <= c && c <= 'Z' {
			name[i] = c + ('a' - 'A')
		}
		upper = c == '-'
	}
}

// readTarget reads a target. What stands for itself is taken as it is, anything else is url.ParseRequestURI's to read; false: it
// cannot be read.
func (in *input) readTarget(target []byte) bool {
	if target[0] != '/' || len(target) > 1 && target[1] == '/' {
		return false
	}
	in.query = len(target)
	plain := target[len(target)-1] != '?'
	for i, b := range target {
		if b <= ' ' || b >= 0x7f || b == '#' {
			return false
		}
		if b == '?' && in.query == len(target) {
			in.query = i
		}
		plain = plain && (pathByte[b] || i >= in.query)
	}
	if !plain {
		in.parsed, _ = url.ParseRequestURI(string(target)) // nil says enough
	}
	return plain || in.parsed != nil
}

// target returns the URL of a request.
func (c *conn) target(uri string) *url.URL {
	if c.in.parsed != nil {
		return c.in.parsed
	}
	u := &c.url
	if lateUseIsFatal {
		u = new(url.URL)
	}
	*u = url.URL{Path: uri[:c.in.query], RawQuery: strings.TrimPrefix(uri[c.in.query:], "?")}
	return u
}
