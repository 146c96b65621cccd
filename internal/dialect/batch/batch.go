// Package batch reads the input file of a batch: one request a line.
//
// It owns the form of a line and what a file may hold, reads a file of any size a line at a time, and says how a line goes to an
// upstream that knows its model and its endpoint by other names. It is pure. What a line's body means, and whether its caller may
// ask for it, is decided as for a live call: by the operation's fields, and by the gateway.
package batch

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/dialect/strictjson"
)

// What a file may hold, as OpenAI bounds it.
const (
	MaxLines = 50_000
	MaxBytes = 200 << 20
	// MaxLine bounds one line, and so the memory that reading takes. OpenAI's bodies end before it.
	MaxLine = 16 << 20
	// maxCustomID bounds a custom_id.
	maxCustomID = 512
)

// The codes of the errors, all of gatehouse.Kind Invalid. An error about a body has the code that it would have in a live call.
const (
	CodeLine      = "invalid_batch_line"   // a line is not a request
	CodeDuplicate = "duplicate_custom_id"  // two lines have one custom_id
	CodeEndpoint  = "mismatched_endpoint"  // a line calls another endpoint than the others, or one that batches do not
	CodeFile      = "invalid_batch_file"   // the file is empty or too large
	CodeUnread    = "batch_file_unread"    // a batch over a file whose lines are not known
	CodeSpread    = "batch_has_no_one_way" // no upstream can take every line
)

// endpoints are the operations that a line may call.
var endpoints = map[string]bool{
	"responses.create": true, "chat.completions.create": true, "embeddings.create": true, "completions.create": true, "moderations.create": true,
	"images.generate": true, "images.edit": true, "videos.create": true,
}

// Endpoint returns how OpenAI writes an endpoint that a line or a batch names, and its operation. Azure leaves out the /v1. It
// returns nil for one that batches do not call.
func Endpoint(url string) (string, *dialect.Op) {
	if !strings.HasPrefix(url, "/") || strings.ContainsAny(url, "?#%") {
		return "", nil
	}
	path := strings.TrimPrefix(url, "/v1")
	call, err := dialect.Parse("POST", "/v1"+path, "")
	if err != nil || call.Op == nil || !endpoints[call.Op.Name] || call.Op.Pattern != path {
		return "", nil
	}
	return "/v1" + path, call.Op
}

// URLFor returns how an upstream wants an endpoint written.
func URLFor(up *gatehouse.Upstream, endpoint string) string {
	if up.Dialect == gatehouse.Azure && endpoint != "/v1/responses" {
		return strings.TrimPrefix(endpoint, "/v1")
	}
	return endpoint
}

// Line is one request of a file. It is valid until the next one is read.
type Line struct {
	Number   int    // from 1
	Endpoint string // as OpenAI writes it
	URL      string // as the line does
	Op       *dialect.Op
	Body     []byte
	Fields   *strictjson.Result // of Body

	raw       []byte
	url, body strictjson.Span
}

// lineSpec is what is read of a line beside its body.
var lineSpec = strictjson.NewSpec(
	strictjson.Field{Path: "custom_id", Kinds: strictjson.String}, strictjson.Field{Path: "method", Kinds: strictjson.String},
	strictjson.Field{Path: "url", Kinds: strictjson.String}, strictjson.Field{Path: "body", Kinds: strictjson.Object})

// Append appends the line as an upstream gets it: calling url, and model where that is not empty. Everything else is as it came.
func (l *Line) Append(dst []byte, url, model string) []byte {
	change := model != "" && !l.Fields.Is(l.Fields.Span(l.Op.At.Model), model)
	body := func(dst []byte) []byte {
		if !change {
			return append(dst, l.Body...)
		}
		for _, part := range l.Fields.Splice(nil, strictjson.Changes{Model: model}) {
			dst = append(dst, part...)
		}
		return dst
	}
	target := func(dst []byte) []byte { return append(append(append(dst, '"'), url...), '"') } // it has nothing that must be escaped
	first, second, one, two := l.url, l.body, target, body
	if l.body.Start < l.url.Start {
		first, second, one, two = l.body, l.url, body, target
	}
	dst = one(append(dst, l.raw[:first.Start]...))
	dst = two(append(dst, l.raw[first.End:second.Start]...))
	return append(dst, l.raw[second.End:]...)
}

// Reader reads a file. Make it with NewReader.
type Reader struct {
	src    *bufio.Reader
	number int
	lines  int
	size   int64
	ids    map[[16]byte]struct{}
	long   []byte // a line that is larger than src's buffer
	outer  strictjson.Result
	inner  strictjson.Result
	line   Line
}

// NewReader returns a reader of a whole file.
func NewReader(r io.Reader) *Reader {
	return &Reader{src: bufio.NewReaderSize(r, 64<<10), ids: map[[16]byte]struct{}{}}
}

// Next returns the next line, io.EOF after the last. Lines with nothing in them are passed over. An error about the file is a
// *gatehouse.Error that names the line.
func (r *Reader) Next() (*Line, error) {
	for {
		text, err := r.read()
		if err != nil && (err != io.EOF || len(text) == 0) {
			if err == io.EOF && r.lines == 0 {
				return nil, fileError("it has no lines")
			}
			return nil, err
		}
		r.number++
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		if r.lines++; r.lines > MaxLines {
			return nil, fileError(fmt.Sprintf("it has more than %d lines", MaxLines))
		}
		return r.parse(text)
	}
}

// read returns the bytes of the next line without its line end.
func (r *Reader) read() ([]byte, error) {
	text, err := r.src.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		r.long = r.long[:0]
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(r.long)+len(text) > MaxLine {
				return nil, lineError(r.number+1, CodeLine, "", fmt.Sprintf("it is longer than %d bytes", MaxLine))
			}
			r.long = append(r.long, text...)
			text, err = r.src.ReadSlice('\n')
		}
		r.long = append(r.long, text...)
		text = r.long
	}
	if r.size += int64(len(text)); r.size > MaxBytes {
		return nil, fileError(fmt.Sprintf("it is larger than %d MB", MaxBytes>>20))
	}
	if err != nil && err != io.EOF {
		return nil, err
	}
	return bytes.TrimSuffix(text, []byte("\n")), err
}

func (r *Reader) parse(text []byte) (*Line, error) {
	if err := strictjson.Scan(text, lineSpec, &r.outer); err != nil {
		return nil, r.wrap(err)
	}
	o := &r.outer
	span := func(name string) strictjson.Span { return o.Span(lineSpec.Index(name)) }
	for _, name := range []string{"custom_id", "method", "url", "body"} {
		if span(name).Kind == 0 {
			return nil, lineError(r.number, CodeLine, name, "it has no '"+name+"'")
		}
	}
	id, _ := o.Text(span("custom_id"))
	switch {
	case id == "" || len(id) > maxCustomID:
		return nil, lineError(r.number, CodeLine, "custom_id", fmt.Sprintf("its 'custom_id' must have 1 to %d bytes", maxCustomID))
	case !o.Is(span("method"), "POST"):
		return nil, lineError(r.number, CodeLine, "method", "its 'method' must be POST")
	}
	sum := sha256.Sum256([]byte(id))
	key := [16]byte(sum[:16])
	if _, twice := r.ids[key]; twice {
		return nil, lineError(r.number, CodeDuplicate, "custom_id", "an earlier line has the same 'custom_id'")
	}
	r.ids[key] = struct{}{}
	url, _ := o.Text(span("url"))
	endpoint, op := Endpoint(url)
	switch {
	case op == nil:
		return nil, lineError(r.number, CodeEndpoint, "url", "its 'url' is not an endpoint that a batch can call, such as /v1/chat/completions")
	case r.line.Op != nil && r.line.Endpoint != endpoint:
		return nil, lineError(r.number, CodeEndpoint, "url", "it calls "+endpoint+", and the lines before it "+r.line.Endpoint+": all lines of a file call one endpoint")
	}
	r.line = Line{Number: r.number, Endpoint: endpoint, URL: url, Op: op, Fields: &r.inner, raw: text, url: span("url"), body: span("body")}
	r.line.Body = o.Raw(r.line.body)
	if err := strictjson.Scan(r.line.Body, op.Spec, &r.inner); err != nil {
		return nil, r.wrap(err)
	}
	return &r.line, nil
}

// wrap names the line in an error about it.
func (r *Reader) wrap(err error) error { return Wrap(r.number, err) }

// Wrap names a line in an error about it.
func Wrap(number int, err error) error {
	e, ok := errors.AsType[*gatehouse.Error](err)
	if !ok {
		return err
	}
	named := *e
	named.Message = fmt.Sprintf("Line %d of the batch's input file: %s", number, e.Message)
	return &named
}

func lineError(number int, code, param, what string) error {
	return &gatehouse.Error{Kind: gatehouse.Invalid, Code: code, Param: param, Message: fmt.Sprintf("Line %d of the batch's input file cannot be read: %s.", number, what)}
}

func fileError(what string) error {
	return &gatehouse.Error{Kind: gatehouse.Invalid, Code: CodeFile, Param: "file", Message: "The batch's input file cannot be used: " + what + "."}
}
