// Package http1 owns what HTTP/1.1 says about single bytes and lines of a message, strictly: what a token is, what may stand in a
// field's value, a Content-Length, the line before a chunk. Both sides of the gateway, inbound and outbound, read messages with
// it, so that they cannot disagree.
//
// It does not own messages: heads, bodies and what their fields mean are its callers'.
package http1

import "strings"

// Field is one field of a head.
type Field struct{ Name, Value string }

// tokenByte says which bytes may stand in a method or the name of a field (RFC 9110, section 5.6.2).
var tokenByte = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0
	}
	return t
}()

// IsToken reports whether s may be a method or the name of a field.
func IsToken[S string | []byte](s S) bool {
	for i := range len(s) {
		if !tokenByte[s[i]] {
			return false
		}
	}
	return len(s) > 0
}

// IsValue reports whether b may be a field's value, which may be empty: whether it has no control character but tabs (RFC 9110, section
// 5.5).
func IsValue(b []byte) bool {
	for {
		i := Control(b)
		if i == len(b) {
			return true
		}
		if b[i] != '\t' {
			return false
		}
		b = b[i+1:]
	}
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
