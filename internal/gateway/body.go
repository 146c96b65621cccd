package gateway

import (
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/dialect/strictjson"
	"gatehouse/internal/secret"
)

// body is what the caller sent, in one of three forms: whole in memory (JSON), spooled (a form whose model may come last), or a
// stream that is passed on as it arrives.
type body struct {
	data    []byte  // the whole body; nil when it is elsewhere
	pooled  *[]byte // data's buffer when it came from the pool
	charged int64   // bytes taken from the memory budget
	form    *spool
	sent    *spool // the form as it goes upstream, where lines of a batch's input are changed
	stream  io.Reader
	length  int64 // of stream; -1 unknown
	size    int64 // bytes of the body as far as known, for the estimate of its tokens
}

func (b *body) release(m *memory) {
	switch {
	case b.pooled == nil:
	case len(*b.pooled) == mediumBody:
		mediumPool.Put(b.pooled)
	default:
		bodyPool.Put(b.pooled)
	}
	if b.form != nil {
		b.form.close()
	}
	if b.sent != nil {
		b.sent.close()
	}
	if b.charged > 0 {
		m.give(b.charged)
	}
	*b = body{}
}

// read reads the request body as far as policy must see it, and fills in the model and whether a stream is asked for.
func (x *exchange) read() error {
	op := x.call.Op
	x.model = x.call.Deployment
	if x.call.PathModel != "" {
		x.model = x.call.PathModel
	}
	if op.Body == dialect.BodyNone || x.r.Body == nil || x.r.Body == http.NoBody {
		return x.requireModel()
	}
	if x.r.ContentLength > x.g.cfg.BodyLimit {
		return x.tooLarge()
	}
	if len(x.r.Header["Content-Type"]) > 1 {
		// Both would go upstream, and which of them is believed there nobody knows.
		return &gatehouse.Error{Kind: gatehouse.Invalid, Code: "duplicate_header", Message: "The Content-Type header is there more than once. Send it once."}
	}
	kind := bodyKind(op.Body, x.r.Header.Get("Content-Type"))
	if kind != dialect.BodyAny {
		if coding := x.r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
			return &gatehouse.Error{Kind: gatehouse.Unsupported, Code: "unsupported_content_encoding",
				Message: "Request bodies must be sent without Content-Encoding (got '" + clip(coding) + "'): the gateway reads them."}
		}
	}
	// A body must arrive at 16 KiB a second or faster, after a minute's grace: nobody holds memory by sending slowly.
	slowest := time.Minute + time.Duration(max(x.r.ContentLength, 0)>>14)*time.Second
	if x.r.ContentLength < 0 {
		slowest = x.g.cfg.Timeouts.Total
	}
	waits := !arrived(x.r.Body)
	if waits {
		x.setReadDeadline(slowest)
	}
	var err error
	switch kind {
	case dialect.BodyJSON:
		err = x.readJSON()
	case dialect.BodyForm:
		err = x.readForm()
	default:
		if op.Body != dialect.BodyAny {
			return &gatehouse.Error{Kind: gatehouse.Unsupported, Code: "unsupported_media_type",
				Message: "This endpoint takes application/json or multipart/form-data, not '" + clip(x.r.Header.Get("Content-Type")) + "'."}
		}
		x.passedOn = true
		x.body.stream, x.body.length = &limitedBody{x: x, left: x.g.cfg.BodyLimit}, x.r.ContentLength
	}
	if err != nil {
		return err
	}
	if x.body.stream == nil && waits {
		// The connection is read on in the background to notice a caller that leaves: that has no deadline.
		x.setReadDeadline(0)
	}
	return x.requireModel()
}

// arrived reports whether a body can be read without waiting for its sender. Only our own server can say so.
func arrived(body io.Reader) bool {
	b, ok := body.(interface{ Arrived() bool })
	return ok && b.Arrived()
}

// setReadDeadline bounds the reading of the request's body; 0 removes the bound, and a negative one has passed.
func (x *exchange) setReadDeadline(d time.Duration) {
	var at time.Time
	if d != 0 {
		at = time.Now().Add(d)
	}
	_ = x.control.SetReadDeadline(at) // only a ResponseWriter without a connection, as in tests, cannot
}

// requireModel fills in the endpoint's documented default where the request names no model, and refuses a request that must.
func (x *exchange) requireModel() error {
	if x.model == "" {
		x.model = x.call.Op.DefaultModel
	}
	if x.model == "" && x.call.Op.Model == dialect.ModelRequired {
		return &gatehouse.Error{Kind: gatehouse.Invalid, Code: "missing_required_parameter", Param: "model", Message: "Missing required parameter: 'model'."}
	}
	x.record.Model = clip(x.model)
	if clean := secret.Redact(x.model); clean != x.model {
		// Forwarded, recorded and billed by name, a credential would end up everywhere.
		x.record.Model = clip(clean)
		return gatehouse.InvalidParam("model", "Invalid 'model': it holds what looks like a credential. Check which value went into which field, and treat the credential as leaked.")
	}
	return nil
}

// bodyKind narrows what an operation accepts by the media type of the request.
func bodyKind(kind dialect.BodyKind, contentType string) dialect.BodyKind {
	switch {
	case kind == dialect.BodyJSON || kind == dialect.BodyForm:
		return kind
	case contentType == "" || contentType == "application/json":
		return dialect.BodyJSON
	}
	// A parameter that cannot be read does not make a form something else: some server reads it all the same.
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	switch {
	case media == "multipart/form-data":
		return dialect.BodyForm
	case media == "application/json" || strings.HasSuffix(media, "+json"):
		return dialect.BodyJSON
	}
	return dialect.BodyAny
}

func (x *exchange) readJSON() error {
	if err := x.buffer(); err != nil {
		return err
	}
	x.body.size = int64(len(x.body.data))
	x.text = x.body.size
	if len(x.body.data) == 0 {
		x.body.data = nil
		return nil
	}
	if err := strictjson.Scan(x.body.data, x.call.Op.Spec, x.fields); err != nil {
		return err
	}
	if err := x.refuseUpload(); err != nil {
		return err
	}
	return x.readFields()
}

// buffer reads the whole body into memory, from the pool when it is small, charged to the memory budget as it grows.
func (x *exchange) buffer() error {
	size := x.r.ContentLength
	if size < 0 || size <= smallBody {
		x.body.pooled = bodyPool.Get().(*[]byte)
		buf := *x.body.pooled
		if err := x.take(smallBody); err != nil {
			return err
		}
		n, err := readFull(x.r.Body, buf[:bufferSize(size)])
		x.record.BytesIn = int64(n)
		switch {
		case err == io.EOF && size <= int64(n), err == nil && size >= 0:
			if int64(n) > x.g.cfg.BodyLimit {
				return x.tooLarge()
			}
			x.body.data = buf[:n]
			return nil
		case err != nil:
			return x.bodyError(err)
		}
		return x.grow(buf[:n])
	}
	held := size
	if size <= mediumBody {
		held = mediumBody
	}
	if err := x.take(held); err != nil {
		return err
	}
	var data []byte
	if size <= mediumBody {
		x.body.pooled = mediumPool.Get().(*[]byte)
		data = (*x.body.pooled)[:size]
	} else {
		data = make([]byte, size)
	}
	n, err := io.ReadFull(x.r.Body, data)
	x.record.BytesIn = int64(n)
	if err != nil {
		return x.bodyError(err)
	}
	x.body.data = data
	return nil
}

// readFull reads until p is full or r ends, and returns r's own error: one that says that a body was cut off is not taken for its
// end, as io.ReadFull's would be.
func readFull(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	if n == len(p) && err == io.EOF {
		err = nil
	}
	return n, err
}

func bufferSize(contentLength int64) int64 {
	if contentLength < 0 {
		return smallBody
	}
	return contentLength
}

// grow goes on reading a body of unknown length that is larger than a pooled buffer.
func (x *exchange) grow(start []byte) error {
	data := append(make([]byte, 0, 4*smallBody), start...)
	if err := x.take(int64(cap(data))); err != nil {
		return err
	}
	for {
		if len(data) == cap(data) {
			if err := x.take(int64(cap(data))); err != nil {
				return err
			}
			data = append(make([]byte, 0, 2*cap(data)), data...)
		}
		n, err := x.r.Body.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		x.record.BytesIn = int64(len(data))
		switch {
		case int64(len(data)) > x.g.cfg.BodyLimit:
			return x.tooLarge()
		case err == io.EOF:
			x.body.data = data
			return nil
		case err != nil:
			return x.bodyError(err)
		}
	}
}

func (x *exchange) take(n int64) error {
	if err := x.g.memory.take(n); err != nil {
		return err
	}
	x.body.charged += n
	return nil
}

func (x *exchange) tooLarge() error {
	return gatehouse.Errorf(gatehouse.TooLarge, "The request body is larger than this gateway accepts (%d bytes). Send less, or ask the operator to raise limits.body.", x.g.cfg.BodyLimit)
}

// bodyError says why a body could not be read: what was found wrong in it, else that it broke off.
func (x *exchange) bodyError(err error) error {
	if known := asError(err); known != nil {
		return known
	}
	if x.clientLeft() {
		x.record.ClientLeft = true
	}
	if os.IsTimeout(err) {
		return &gatehouse.Error{Kind: gatehouse.Invalid, Code: "slow_body", Message: "The request body arrived too slowly. Send it again, or in smaller requests.", Err: err}
	}
	return &gatehouse.Error{Kind: gatehouse.Invalid, Code: "incomplete_body", Message: "The request body ended before its announced length, or could not be read.", Err: err}
}

// limitedBody reads a body that is passed on unread, up to the limit.
type limitedBody struct {
	x    *exchange
	left int64
}

func (l *limitedBody) Read(p []byte) (int, error) {
	n, err := l.x.r.Body.Read(p)
	l.x.record.BytesIn += int64(n)
	if l.left -= int64(n); l.left < 0 {
		return 0, l.x.tooLarge()
	}
	if err == io.EOF {
		l.x.bodyRead = true
		// From here on the connection is read only to notice a caller that leaves, and that may take as long as the answer does.
		l.x.setReadDeadline(0)
		if context.Cause(l.x.ctx) != nil {
			l.x.setReadDeadline(-1) // it was cut meanwhile: see Gateway.cut
		}
	}
	return n, err
}

// unread reports whether the caller may still be sending a body that nobody reads any more: it was passed on, and the answer came
// before its end. Only HTTP/1 has to be told; in HTTP/2 a stream is reset alone.
func (x *exchange) unread() bool {
	return x.passedOn && !x.bodyRead && x.r.ProtoMajor == 1
}

// lingerTime is how long a body that nobody wants is still read, so that its sender finds the answer.
const lingerTime = 500 * time.Millisecond

// linger reads on for a moment after an early answer. A connection that is closed while its peer sends is reset, and the reset
// takes the answer with it; net/http waits for that too, but not where the caller asked for 100 Continue.
func (x *exchange) linger() {
	if x.control.Flush() != nil {
		return
	}
	x.setReadDeadline(lingerTime)
	_, _ = io.Copy(io.Discard, x.r.Body) // its end is the deadline, or the caller's
}
