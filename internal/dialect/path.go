package dialect

import (
	"net/url"
	"strings"

	"gatehouse"
	"gatehouse/internal/secret"
)

// The errors of hostile or broken request lines. They are shared and never changed.
var (
	errPath    = &gatehouse.Error{Kind: gatehouse.Invalid, Code: "invalid_url", Message: "Invalid URL: dot segments, empty segments, control characters, backslashes and broken percent escapes are not allowed in a path."}
	errSlash   = &gatehouse.Error{Kind: gatehouse.NotFound, Message: "Invalid URL: remove the slash at the end of the path."}
	errLongURL = &gatehouse.Error{Kind: gatehouse.TooLarge, Code: "invalid_url", Message: "Invalid URL: the path is too long. At most 4096 characters in 16 segments are allowed."}
	errQuery   = &gatehouse.Error{Kind: gatehouse.Invalid, Code: "invalid_url", Message: "Invalid URL: the query must be at most 8192 printable ASCII characters; percent-encode everything else."}
)

// segments are the parts of an escaped path between its slashes. The zero value is the empty path; split fills it.
type segments struct {
	text    string
	start   [maxSegments + 1]int16 // start[i] is where segment i begins in text; start[n] is one past the slash after the last
	lo      int                    // index of the first segment
	n       int
	escaped bool // text has a percent sign in it
}

func firstSegment(path string) string {
	if path == "" || path[0] != '/' {
		return ""
	}
	first, _, _ := strings.Cut(path[1:], "/")
	return first
}

// split validates a path and finds its segments. Accepted are visible ASCII characters, escapes of anything but control
// characters and backslashes, and segments that are neither empty nor, unescaped, dots.
func (s *segments) split(path string) *gatehouse.Error {
	if len(path) > maxPath {
		return errLongURL
	}
	if path == "" || path[0] != '/' {
		return errPath
	}
	s.text = path
	begin := 1
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			switch b := path[i]; {
			case b <= ' ' || b >= 0x7f || b == '\\' || b == '?' || b == '#':
				return errPath
			case b == '%':
				if !goodEscape(path[i+1:]) {
					return errPath
				}
				s.escaped = true
			}
			continue
		}
		if i == begin {
			if i == len(path) {
				return errSlash
			}
			return errPath
		}
		if isDots(path[begin:i]) {
			return errPath
		}
		if s.n == maxSegments {
			return errLongURL
		}
		s.start[s.n] = int16(begin)
		s.n++
		begin = i + 1
	}
	s.start[s.n] = int16(begin)
	return nil
}

// at returns segment i, still escaped.
func (s *segments) at(i int) string {
	return s.text[s.start[s.lo+i] : s.start[s.lo+i+1]-1]
}

// between returns the segments i to j-1 with the slashes between them.
func (s *segments) between(i, j int) string {
	return s.text[s.start[s.lo+i] : s.start[s.lo+j]-1]
}

// from returns the segments without the first i.
func (s segments) from(i int) segments {
	s.lo += i
	s.n -= i
	return s
}

// path returns the segments as a path that begins with a slash.
func (s *segments) path() string {
	if s.n == 0 {
		return ""
	}
	return s.text[s.start[s.lo]-1 : s.start[s.lo+s.n]-1]
}

func (s *segments) endsWith(tail []string) bool {
	if s.n < len(tail) {
		return false
	}
	for i, want := range tail {
		if s.at(s.n-len(tail)+i) != want {
			return false
		}
	}
	return true
}

// goodEscape reports whether two hexadecimal digits follow a percent sign and stand for a character that a path may hold.
func goodEscape(s string) bool {
	if len(s) < 2 || !isHex(s[0]) || !isHex(s[1]) {
		return false
	}
	b := unhex(s[0])<<4 | unhex(s[1])
	return b >= ' ' && b != 0x7f && b != '\\'
}

// isDots reports whether a segment, unescaped, is "." or "..", also between encoded slashes.
func isDots(seg string) bool {
	if len(seg) > 2 && strings.IndexByte(seg, '%') < 0 {
		return false
	}
	for part := range strings.SplitSeq(unescape(seg), "/") {
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}

func isHex(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F'
}

func unhex(b byte) byte {
	switch {
	case b <= '9':
		return b - '0'
	case b >= 'a':
		return b - 'a' + 10
	}
	return b - 'A' + 10
}

// canonical writes the path with every segment escaped in one way, so that what was read and what is forwarded cannot differ.
func canonical(s segments, o *Op) (string, bool) {
	var b strings.Builder
	for i := 0; i < s.n; i++ {
		part := segment{kind: segmentRest}
		if i < len(o.segments) {
			part = o.segments[i]
		}
		text := unescape(s.at(i))
		if part.text != "model" && strings.Contains(text, "/") {
			return "", false
		}
		b.WriteByte('/')
		b.WriteString(url.PathEscape(text))
	}
	return b.String(), true
}

// goodID reports whether an unescaped segment may be an object's id: visible ASCII without separators of paths and queries.
func goodID(id string) bool {
	if id == "" || len(id) > 512 {
		return false
	}
	for i := 0; i < len(id); i++ {
		switch b := id[i]; {
		case b <= ' ' || b >= 0x7f:
			return false
		case b == '/' || b == '?' || b == '#' || b == '%' || b == '\\' || b == '"' || b == '<' || b == '>':
			return false
		}
	}
	return true
}

func goodQuery(q string) bool {
	if len(q) > maxQuery {
		return false
	}
	for i := 0; i < len(q); i++ {
		if q[i] <= ' ' || q[i] >= 0x7f || q[i] == '#' {
			return false
		}
	}
	return true
}

// forwardQuery returns the query without what Gatehouse reads itself (api-version) and without what could carry a key. It
// allocates only when something in the middle of a query has to go, or a name is escaped. ok is false for an Azure api-version
// that is none, or two that differ.
func forwardQuery(q string, azure bool) (forward, version string, ok bool) {
	kept := "" // what is forwarded so far
	end := -1  // where kept ends in q, while it is one piece of it
	for at := 0; at < len(q); {
		pair := q[at:]
		if i := strings.IndexByte(pair, '&'); i >= 0 {
			pair = pair[:i]
		}
		name, value, _ := strings.Cut(pair, "=")
		switch name = unescapeQuery(name); {
		case pair == "":
		case strings.EqualFold(name, "api-version"):
			if value = unescapeQuery(value); azure && (!goodVersion(value) || version != "" && version != value) {
				return "", "", false
			}
			version = value
		case strings.EqualFold(name, "api-key"), strings.EqualFold(name, "subscription-key"), strings.EqualFold(name, "access_token"):
		case holdsCredential(unescapeQuery(pair)):
		case kept == "":
			kept, end = pair, at+len(pair)
		case end >= 0 && at == end+1:
			kept, end = q[end-len(kept):at+len(pair)], at+len(pair)
		default:
			kept, end = kept+"&"+pair, -1
		}
		at += len(pair) + 1
	}
	if !azure {
		version = ""
	}
	return kept, version, true
}

// holdsCredential reports whether a credential stands in text, under whatever name.
func holdsCredential(text string) bool { return secret.Redact(text) != text }

func unescapeQuery(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	text, err := url.QueryUnescape(s)
	if err != nil {
		return s
	}
	return text
}

// goodVersion reports whether v has the form of an api-version: YYYY-MM-DD, YYYY-MM-DD-preview, v1, preview or latest.
func goodVersion(v string) bool {
	switch v {
	case "v1", "preview", "latest":
		return true
	}
	date, _ := strings.CutSuffix(v, "-preview")
	if len(date) != 10 {
		return false
	}
	for i := 0; i < len(date); i++ {
		if dash := i == 4 || i == 7; dash != (date[i] == '-') || !dash && (date[i] < '0' || date[i] > '9') {
			return false
		}
	}
	month, day := date[5:7], date[8:]
	return month >= "01" && month <= "12" && day >= "01" && day <= "31"
}

// isDated reports whether an api-version names a dated version, and so the classic API.
func isDated(v string) bool { return len(v) >= 10 }
