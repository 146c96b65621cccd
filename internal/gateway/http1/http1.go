// Package http1 owns what HTTP/1.1 says about single bytes and lines of a message, strictly: what a token is, what may stand in a
// field's value, a Content-Length, the line before a chunk. Both sides of the gateway, inbound and outbound, read messages with
// it, so that they cannot disagree.
//
// It does not own messages: heads, bodies and what their fields mean are its callers'.
package http1

import "strings"

// Field is one field of a head.
type Field struct{ Name, Value string }

// The classes of bytes, RFC 9110 sections 5.5 and 5.6.2.
const (
	tokenByte = 1 << iota // may stand in a method or a field name
	valueByte             // may stand in a field value: visible, space, tab, and bytes over 0x7f
)

var class = func() (t [256]uint8) {
	for c := range t {
		if c >= ' ' && c != 0x7f || c == '\t' {
			t[c] |= valueByte
		}
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0 {
			t[c] |= tokenByte
		}
	}
	return t
}()

// IsToken reports whether s may be a method or the name of a field.
func IsToken[S string | []byte](s S) bool {
	for i := range len(s) {
		if class[s[i]]&tokenByte == 0 {
			return false
		}
	}
	return len(s) > 0
}

// IsValue reports whether s may be a field's value, which may be empty.
func IsValue[S string | []byte](s S) bool {
	for i := range len(s) {
		if class[s[i]]&valueByte == 0 {
			return false
		}
	}
	return true
}

// ParseLength reads a Content-Length: digits alone, and at most 18 of them.
func ParseLength[S string | []byte](s S) (int64, bool) {
	if len(s) == 0 || len(s) > 18 {
		return 0, false
	}
	n := int64(0)
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}
