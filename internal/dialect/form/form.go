// Package form finds the fields of a multipart/form-data body that policy or money depends on while the body passes.
//
// It owns the framing of such a body (RFC 7578 over RFC 2046), read strictly: what two parsers could read differently around a
// field that matters is refused. It sees every byte once, in pieces of any size, keeps the values of the wanted fields and where
// they stand, and skips files at the speed of a search for the boundary. It does not store the body, and does not look into
// files; file names are neither kept nor reported.
package form

import (
	"bytes"
	"fmt"
	"mime"
	"slices"
	"strings"
	"unicode/utf8"

	"gatehouse"
)

// MaxValue is the size in bytes up to which the value of a wanted field may be.
const MaxValue = 64 << 10

const (
	maxHeader   = 8 << 10 // bytes of one part's header
	maxParts    = 10_000
	maxBoundary = 70 // RFC 2046 section 5.1.1
)

// The codes of the errors, all of gatehouse.Kind Invalid but for a value that is too large.
const (
	CodeForm      = "invalid_multipart" // the body is not a multipart/form-data body, or one that parsers read differently
	CodeDuplicate = "duplicate_field"   // a wanted field has two parts
	CodeAmbiguous = "ambiguous_field"   // a wanted field is named in another way, is sent as a file or is encoded
	CodeTooLarge  = "field_too_large"   // a wanted field is larger than MaxValue
)

// Boundary returns the boundary that a Content-Type header names.
func Boundary(contentType string) (string, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || kind != "multipart/form-data" {
		return "", malformed("the Content-Type header must be multipart/form-data with a boundary")
	}
	boundary := params["boundary"]
	// Continuations (boundary*0=) and escapes are decoded by some readers and not by others.
	odd := strings.Contains(contentType, `\`) || strings.Contains(strings.ToLower(contentType), "boundary*")
	if odd || boundary == "" || len(boundary) > maxBoundary || strings.HasSuffix(boundary, " ") || strings.ContainsFunc(boundary, notBoundaryRune) {
		return "", malformed("the Content-Type header has no valid boundary")
	}
	return boundary, nil
}

// notBoundaryRune reports what RFC 2046 does not allow in a boundary.
func notBoundaryRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("'()+_,-./:=? ", r)
}

// Value is a wanted field that the body has.
type Value struct {
	Name  string
	Text  string
	Start int64 // where its bytes begin in the body
	End   int64 // and where they end
}

// File is a part of the body that is a file.
type File struct {
	Name    string
	Start   int64 // where its bytes begin in the body
	End     int64 // and where they end
	Plain   bool  // they are the file's own: they have no transfer encoding
	HasName bool  // it has a file name
}

// Part is a stretch of the body to forward: either the bytes from Start to End as they came, or Text.
type Part struct {
	Start, End int64
	Text       string
}

// Scanner reads one body. It is made by New.
type Scanner struct {
	// Values are the wanted fields found so far, in the order of the body.
	Values []Value
	// MayBeFile are the wanted fields that may be sent as a file: it is passed over, as any other.
	MayBeFile []string
	// Files are the first parts that are files, or are called as one that KeepFiles names; two of them, because whoever wants one must
	// see that there is no other. None are kept while KeepFiles is empty.
	Files     []File
	KeepFiles string
	// Sent is how many parts so far are files, wanted or not.
	Sent int

	wanted []string
	dash   []byte // "--" and the boundary
	at     position
	offset int64 // of the next byte to be read
	parts  int
	buf    []byte // what is collected: a header, a value, or the bytes behind a boundary
	edge   []byte // in a part's body: the last bytes before offset, in which a boundary may have begun
	value  *Value // the wanted field being read, or nil
	file   bool   // the part being read is the last of Files
	err    error
}

type position uint8

const (
	opening   position = iota // at the first boundary
	delimiter                 // behind a boundary: CRLF or "--" follows
	header
	content
	epilogue // behind the last boundary
)

// New returns a scanner that looks for the wanted names in a body with this boundary. Wanted names are in lower case. One may be a
// member of another, in the brackets by which readers of nested names know it: "video[id]" beside "video".
func New(boundary string, wanted []string) *Scanner {
	return &Scanner{wanted: wanted, dash: []byte("--" + boundary)}
}

// Write reads the next piece of the body. Its error is a *gatehouse.Error, and the same from then on.
func (s *Scanner) Write(p []byte) (int, error) {
	rest := p
	for len(rest) > 0 && s.err == nil {
		var n int
		switch s.at {
		case opening:
			n = s.readOpening(rest)
		case delimiter:
			n = s.readDelimiter(rest)
		case header:
			n = s.readHeader(rest)
		case content:
			n = s.readContent(rest)
		case epilogue:
			n = s.readEpilogue(rest)
		}
		rest = rest[n:]
		s.offset += int64(n)
	}
	if s.err != nil {
		return len(p) - len(rest), s.err
	}
	return len(p), nil
}

// Close reports whether the body was complete: an error when it ended before its last boundary.
func (s *Scanner) Close() error {
	if s.err == nil && s.at != epilogue {
		s.fail(malformed("the body ends before its last boundary"))
	}
	return s.err
}

// Value returns the text of a wanted field, and false when the body has none (so far).
func (s *Scanner) Value(name string) (string, bool) {
	for _, v := range s.Values {
		if v.Name == name {
			return v.Text, true
		}
	}
	return "", false
}

// Replace returns the body, once it was read to its end, with another value of a field: in the place of the old one, or in a
// part of its own in front of the others. All other bytes are the same.
func (s *Scanner) Replace(name, text string) []Part {
	for _, v := range s.Values {
		if v.Name == name {
			return []Part{{End: v.Start}, {Text: text}, {Start: v.End, End: s.offset}}
		}
	}
	part := fmt.Sprintf("%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n", s.dash, name, text)
	return []Part{{Text: part}, {End: s.offset}}
}

// Size returns how many bytes parts have together: the length of the forwarded body.
func Size(parts []Part) int64 {
	var n int64
	for _, p := range parts {
		n += p.End - p.Start + int64(len(p.Text))
	}
	return n
}

// readOpening reads the first boundary. Text in front of it, which RFC 2046 allows and no client sends, would be a place to
// hide one.
func (s *Scanner) readOpening(p []byte) int {
	n := min(len(p), len(s.dash)-len(s.buf))
	if !bytes.Equal(p[:n], s.dash[len(s.buf):len(s.buf)+n]) {
		s.fail(malformed("the body must begin with its boundary"))
		return 0
	}
	if s.buf = append(s.buf, p[:n]...); len(s.buf) == len(s.dash) {
		s.at, s.buf = delimiter, s.buf[:0]
	}
	return n
}

// readDelimiter reads the two bytes behind a boundary.
func (s *Scanner) readDelimiter(p []byte) int {
	n := min(len(p), 2-len(s.buf))
	s.buf = append(s.buf, p[:n]...)
	if len(s.buf) < 2 {
		return n
	}
	switch string(s.buf) {
	case "\r\n":
		s.at = header
		if s.parts++; s.parts > maxParts {
			s.fail(malformed(fmt.Sprintf("the body has more than %d parts", maxParts)))
		}
	case "--":
		s.at = epilogue
		if s.parts == 0 {
			s.fail(malformed("the body has no parts"))
		}
	default:
		s.fail(malformed("a boundary must be followed by a line end"))
	}
	s.buf = s.buf[:0]
	return n
}

// readHeader collects a part's header up to its blank line.
func (s *Scanner) readHeader(p []byte) int {
	old := len(s.buf)
	n := min(len(p), maxHeader+4-old)
	s.buf = append(s.buf, p[:n]...)
	from := max(old-3, 0)
	end := bytes.Index(s.buf[from:], []byte("\r\n\r\n"))
	if end < 0 {
		if len(s.buf) == maxHeader+4 {
			s.fail(malformed("a part's header is too large"))
		}
		return n
	}
	end += from
	n = end + 4 - old
	d, err := parseHeader(s.buf[:end])
	s.buf = s.buf[:0]
	if err == nil {
		err = s.beginContent(d, s.offset+int64(n))
	}
	if err != nil {
		s.fail(err)
	}
	return n
}

// beginContent decides whether a part is wanted; start is where its body begins.
func (s *Scanner) beginContent(d disposition, start int64) error {
	s.at, s.edge = content, s.edge[:0]
	base, _ := nestedName(d.name)
	if d.file {
		s.Sent++
	}
	if s.file = s.KeepFiles != "" && len(s.Files) < 2 && (d.file || strings.EqualFold(base, s.KeepFiles)); s.file {
		s.Files = append(s.Files, File{Name: d.name, Start: start, Plain: !d.encoded, HasName: d.file})
	}
	name, exact := s.wants(d.name)
	switch {
	case name == "":
		return nil
	case !exact:
		return fault(CodeAmbiguous, name, "must be named exactly so, in lower case and without brackets")
	case d.file && slices.Contains(s.MayBeFile, name):
		return nil
	case d.file:
		return fault(CodeAmbiguous, name, "must not be sent as a file")
	case d.encoded:
		return fault(CodeAmbiguous, name, notPlain)
	}
	if _, twice := s.Value(name); twice {
		return fault(CodeDuplicate, name, "is sent twice")
	}
	s.value = &Value{Name: name, Start: start}
	return nil
}

// wants returns the wanted field that a part's name is, "" for none. It is not exact when the part is called otherwise and some
// reader could take it for that field: readers of nested names take "model[]" and "model.x" for model. Where a member of a field
// is wanted, the field's other members are not.
func (s *Scanner) wants(part string) (name string, exact bool) {
	if slices.Contains(s.wanted, part) {
		return part, true
	}
	base, member := nestedName(part)
	for _, w := range s.wanted {
		wantedBase, wantedMember := nestedName(w)
		switch {
		case !strings.EqualFold(base, wantedBase):
		case wantedMember == "" && name == "":
			name = w
		case wantedMember != "" && (member == "" || base != wantedBase || strings.EqualFold(member, wantedMember)):
			return w, false
		case wantedMember != "":
			return "", false // another member
		}
	}
	return name, false
}

// nestedName splits "video[id]", and "video.id" as others write it, into the field and its first member.
func nestedName(name string) (base, member string) {
	i := strings.IndexAny(name, "[.")
	if i < 0 {
		return name, ""
	}
	member = name[i+1:]
	if end := strings.IndexAny(member, "][."); end >= 0 {
		member = member[:end]
	}
	return name[:i], strings.TrimSpace(member)
}

// readContent reads a part's body up to and with the boundary behind it.
func (s *Scanner) readContent(p []byte) int {
	// A boundary that began in an earlier piece ends within the first len(dash)-1 bytes of this one.
	if len(s.edge) > 0 {
		head := min(len(p), len(s.dash)-1)
		old := len(s.edge)
		s.edge = append(s.edge, p[:head]...)
		for from := 0; ; {
			i := bytes.Index(s.edge[from:], s.dash)
			if i < 0 || from+i >= old {
				break
			}
			i += from
			if i+len(s.dash) <= old { // judged when it was read
				from = i + 1
				continue
			}
			if s.isBoundary(s.edge[:i]) {
				n := i + len(s.dash) - old
				s.collect(p[:n])
				s.endContent(s.offset + int64(i-old))
				return n
			}
			if s.err != nil {
				return 0
			}
			from = i + 1
		}
		s.edge = s.edge[:old]
	}
	for from := 0; ; {
		i := bytes.Index(p[from:], s.dash)
		if i < 0 {
			break
		}
		i += from
		before := p[:i]
		if i < 2 {
			before = append(s.edge, p[:i]...)
		}
		if s.isBoundary(before) {
			n := i + len(s.dash)
			s.collect(p[:n])
			s.endContent(s.offset + int64(i))
			return n
		}
		if s.err != nil {
			return 0
		}
		from = i + 1
	}
	s.collect(p)
	keep := len(s.dash) + 1 // a boundary that is all but complete, and the line end in front of it
	if len(p) >= keep {
		s.edge = append(s.edge[:0], p[len(p)-keep:]...)
		return len(p)
	}
	s.edge = append(s.edge, p...)
	if drop := len(s.edge) - keep; drop > 0 {
		s.edge = append(s.edge[:0], s.edge[drop:]...)
	}
	return len(p)
}

// isBoundary reports whether the text of a boundary, found behind these bytes of a part's body, is one. It is at the beginning of
// a line. Where other parsers see a line and we do not, at a bare CR or LF or without any line end at the beginning of the body,
// it fails.
func (s *Scanner) isBoundary(before []byte) bool {
	n := len(before)
	if n >= 2 && before[n-2] == '\r' && before[n-1] == '\n' {
		return true
	}
	if n == 0 || before[n-1] == '\n' || before[n-1] == '\r' {
		s.fail(malformed("a boundary must stand behind CR and LF"))
	}
	return false
}

// collect keeps bytes of a wanted value. They may end in a boundary, or in a part of one.
func (s *Scanner) collect(p []byte) {
	if s.value == nil {
		return
	}
	if len(s.buf)+len(p) > MaxValue+len(s.dash)+2 {
		s.fail(tooLarge(s.value.Name))
		return
	}
	s.buf = append(s.buf, p...)
}

// endContent ends a part's body, whose boundary begins at an offset of the body.
func (s *Scanner) endContent(boundary int64) {
	s.at = delimiter
	if s.file {
		s.Files[len(s.Files)-1].End = max(boundary-2, s.Files[len(s.Files)-1].Start)
	}
	if s.value == nil || s.err != nil {
		return
	}
	v := *s.value
	v.End = boundary - 2
	text := s.buf[:v.End-v.Start]
	v.Text = string(text)
	s.buf, s.value = s.buf[:0], nil
	switch {
	case len(text) > MaxValue:
		s.fail(tooLarge(v.Name))
	case !utf8.Valid(text):
		s.fail(fault(CodeAmbiguous, v.Name, notPlain))
	default:
		s.Values = append(s.Values, v)
	}
}

// readEpilogue allows one line end behind the last boundary.
func (s *Scanner) readEpilogue(p []byte) int {
	const end = "\r\n"
	n := min(len(p), len(end)-len(s.buf))
	if n < len(p) || string(p[:n]) != end[len(s.buf):len(s.buf)+n] {
		s.fail(malformed("there is data behind the last boundary"))
		return 0
	}
	s.buf = append(s.buf, p...)
	return n
}

func (s *Scanner) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

const notPlain = "must be sent as plain UTF-8 text, without a transfer encoding"

func tooLarge(name string) error {
	return &gatehouse.Error{Kind: gatehouse.TooLarge, Code: CodeTooLarge, Param: name,
		Message: fmt.Sprintf("The field '%s' is larger than %d bytes.", name, MaxValue)}
}

func malformed(what string) error {
	return &gatehouse.Error{Kind: gatehouse.Invalid, Code: CodeForm, Message: "We could not parse the multipart body of your request: " + what + "."}
}

func fault(code, param, what string) error {
	return &gatehouse.Error{Kind: gatehouse.Invalid, Code: code, Param: param, Message: fmt.Sprintf("The field '%s' %s.", param, what)}
}
