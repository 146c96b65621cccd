// Package scan reads JSON front to back, and writes its strings, without reflection. encoding/json would cost more than all the rest of a chat answer, and
// the mock stands in for upstreams when a gateway is measured. It owns the grammar of JSON (RFC 8259, save that strings are not
// checked to be UTF-8) and knows nothing of what the values mean.
package scan

import (
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrSyntax is what a Scanner returns for anything that is not JSON.
var ErrSyntax = errors.New("not valid JSON")

// maxDepth bounds the nesting a scanner follows.
const maxDepth = 512

// Scanner reads one JSON text. The zero value has nothing to read.
type Scanner struct {
	b     []byte
	i     int
	depth int
}

// New returns a scanner of b.
func New(b []byte) *Scanner { return &Scanner{b: b} }

// Peek returns the byte the next value or mark begins with, 0 at the end.
func (s *Scanner) Peek() byte {
	for s.i < len(s.b) {
		if c := s.b[s.i]; c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
		s.i++
	}
	return 0
}

// Object calls field for each member of the object that comes next. field must read the member's value. The key is as it stands
// in the text, without quotes, escapes and all.
func (s *Scanner) Object(field func(key []byte) error) error {
	return s.list('{', '}', func() error {
		if s.Peek() != '"' {
			return ErrSyntax
		}
		key, err := s.Raw()
		if err != nil {
			return err
		}
		if s.Peek() != ':' {
			return ErrSyntax
		}
		s.i++
		return field(key[1 : len(key)-1])
	})
}

// Array calls element for each element of the array that comes next. element must read it.
func (s *Scanner) Array(element func() error) error { return s.list('[', ']', element) }

func (s *Scanner) list(open, closing byte, one func() error) error {
	if s.Peek() != open {
		return ErrSyntax
	}
	if s.depth++; s.depth > maxDepth {
		return ErrSyntax
	}
	s.i++
	if s.Peek() == closing {
		s.i++
		s.depth--
		return nil
	}
	for {
		if err := one(); err != nil {
			return err
		}
		switch s.Peek() {
		case ',':
			s.i++
		case closing:
			s.i++
			s.depth--
			return nil
		default:
			return ErrSyntax
		}
	}
}

// Raw reads the value that comes next and returns its text.
func (s *Scanner) Raw() ([]byte, error) {
	first := s.Peek()
	start := s.i
	var err error
	switch first {
	case '"':
		err = s.skipString()
	case '{':
		err = s.Object(func([]byte) error { _, err := s.Raw(); return err })
	case '[':
		err = s.Array(func() error { _, err := s.Raw(); return err })
	case 't':
		err = s.literal("true")
	case 'f':
		err = s.literal("false")
	case 'n':
		err = s.literal("null")
	default:
		err = s.number()
	}
	return s.b[start:s.i], err
}

func (s *Scanner) literal(word string) error {
	if len(s.b)-s.i < len(word) || string(s.b[s.i:s.i+len(word)]) != word {
		return ErrSyntax
	}
	s.i += len(word)
	return nil
}

func (s *Scanner) skipString() error {
	for i := s.i + 1; i < len(s.b); i++ {
		switch c := s.b[i]; {
		case c == '"':
			s.i = i + 1
			return nil
		case c < 0x20:
			return ErrSyntax
		case c == '\\':
			i++
			if i == len(s.b) {
				return ErrSyntax
			}
			switch s.b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if _, ok := hex4(s.b[i+1:]); !ok {
					return ErrSyntax
				}
				i += 4
			default:
				return ErrSyntax
			}
		}
	}
	return ErrSyntax
}

func (s *Scanner) number() error {
	digits := func() bool {
		from := s.i
		for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
			s.i++
		}
		return s.i > from
	}
	next := func(set string) bool {
		for i := range len(set) {
			if s.i < len(s.b) && s.b[s.i] == set[i] {
				s.i++
				return true
			}
		}
		return false
	}
	next("-")
	if !next("0") && !digits() {
		return ErrSyntax
	}
	if next(".") && !digits() {
		return ErrSyntax
	}
	if next("eE") {
		next("+-")
		if !digits() {
			return ErrSyntax
		}
	}
	return nil
}

// Pos returns how far the text is read.
func (s *Scanner) Pos() int { return s.i }

// End reports an error unless nothing but white space is left.
func (s *Scanner) End() error {
	if s.Peek(); s.i < len(s.b) {
		return ErrSyntax
	}
	return nil
}

// IsNull reports whether a value's text is null.
func IsNull(raw []byte) bool { return len(raw) > 0 && raw[0] == 'n' }

// Unquote returns what the JSON string raw says. It returns a part of raw where there is no escape, else it writes over
// scratch.
func Unquote(raw, scratch []byte) (text []byte, _ []byte) {
	raw = raw[1 : len(raw)-1]
	i := 0
	for i < len(raw) && raw[i] != '\\' {
		i++
	}
	if i == len(raw) {
		return raw, scratch
	}
	out := scratch[:0]
	from := 0
	for i < len(raw) {
		if raw[i] != '\\' {
			i++
			continue
		}
		out = append(out, raw[from:i]...)
		i += 2
		switch c := raw[i-1]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, _ := hex4(raw[i:])
			i += 4
			if utf16.IsSurrogate(r) {
				low, ok := rune(0), false
				if i+1 < len(raw) && raw[i] == '\\' && raw[i+1] == 'u' {
					low, ok = hex4(raw[i+2:])
				}
				r = utf16.DecodeRune(r, low)
				if ok && r != utf8.RuneError {
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
		from = i
	}
	out = append(out, raw[from:]...)
	return out, out
}

// AppendString appends s as a JSON string. s is valid UTF-8.
func AppendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := range len(s) {
		ch := s[i]
		if ch >= 0x20 && ch != '"' && ch != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		if ch < 0x20 {
			b = append(b, '\\', 'u', '0', '0', hex[ch>>4], hex[ch&15])
		} else {
			b = append(b, '\\', ch)
		}
		from = i + 1
	}
	return append(append(b, s[from:]...), '"')
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}
