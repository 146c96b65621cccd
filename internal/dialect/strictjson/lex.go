package strictjson

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// stringFlags is what scanString saw on the way.
type stringFlags uint8

const (
	escaped  stringFlags = 1 << iota // there is a backslash
	nonASCII                         // there is a byte above 0x7F
	bad                              // the string is malformed where scanString stopped
)

// Eight bytes at a time: each byte of one word.
const (
	ones    = 0x0101010101010101
	highs   = ones << 7
	slashes = ones * '\\'
)

// special marks the bytes of x at which a string needs a look: a quote, a backslash, a control character or one above 0x7F. The
// lowest mark is exact; marks above it may be false, because a borrow runs upwards.
//
// A byte below its subtrahend borrows, which sets its high bit. With bit 1 turned over, a quote is a space, and what then is at most
// a space was a quote or a control character: one subtraction finds both. Bytes above 0x7F are marked as they are, whatever the
// differences say of them.
func special(x uint64) uint64 { return touched(x) & highs }

// touched is special with what else the bits of each byte hold.
func touched(x uint64) uint64 {
	low := (x ^ ones*2) - ones*(' '+1)
	slash := (x ^ slashes) - ones
	return low | slash | x
}

// runWords returns the offset behind the blocks of 32 bytes from b[i] on in which nothing needs a look.
func runWords(b []byte, i int) int {
	for len(b)-i >= 32 {
		w := b[i : i+32 : i+32]
		m := touched(binary.LittleEndian.Uint64(w[0:8])) | touched(binary.LittleEndian.Uint64(w[8:16])) |
			touched(binary.LittleEndian.Uint64(w[16:24])) | touched(binary.LittleEndian.Uint64(w[24:32]))
		if m&highs != 0 {
			break
		}
		i += 32
	}
	return i
}

// scanString reads the string whose first byte is b[i] and returns the offset of its closing quote, or with bad set the offset
// at which it cannot go on.
func scanString(b []byte, i int) (int, stringFlags) {
	var flags stringFlags
	for {
		for len(b)-i >= 32 {
			w := b[i : i+32 : i+32]
			m0 := special(binary.LittleEndian.Uint64(w[0:8]))
			if m0 != 0 {
				i += bits.TrailingZeros64(m0) >> 3
				goto look
			}
			m1 := special(binary.LittleEndian.Uint64(w[8:16]))
			m2 := special(binary.LittleEndian.Uint64(w[16:24]))
			m3 := special(binary.LittleEndian.Uint64(w[24:32]))
			if m1|m2|m3 == 0 {
				i = run(b, i+32)
				continue
			}
			switch {
			case m1 != 0:
				i += 8 + bits.TrailingZeros64(m1)>>3
			case m2 != 0:
				i += 16 + bits.TrailingZeros64(m2)>>3
			default:
				i += 24 + bits.TrailingZeros64(m3)>>3
			}
			goto look
		}
		for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= ' ' && b[i] < utf8.RuneSelf {
			i++
		}
	look:
		if i >= len(b) {
			return i, flags | bad
		}
		switch c := b[i]; {
		case c == '"':
			return i, flags
		case c == '\\':
			flags |= escaped
			size := escape(b[i:])
			if size == 0 {
				return i, flags | bad
			}
			i += size
		case c < ' ':
			return i, flags | bad
		default:
			flags |= nonASCII
			end := runes(b, i)
			if end < len(b) && b[end] >= utf8.RuneSelf || end == i {
				return end, flags | bad
			}
			i = end
		}
	}
}

// stringFault says why scanString stopped at i.
func stringFault(b []byte, i int) string {
	switch {
	case i >= len(b):
		return "the body ends inside a string"
	case b[i] == '\\':
		return "a string has an unknown escape"
	case b[i] < ' ':
		return "a string has a control character that is not escaped"
	}
	return "a string is not valid UTF-8"
}

// escape returns the length of the escape sequence at the start of b, or 0 when it is none.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b[2:]); ok {
			return 6
		}
	}
	return 0
}

// runes returns the offset behind the run of valid UTF-8 sequences above ASCII that begins at i. The bounds of the second byte
// are those of RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
func runes(b []byte, i int) int {
	for i < len(b) {
		c := b[i]
		low, high, size := byte(0x80), byte(0xBF), 3
		switch {
		case c < 0xC2:
			return i
		case c < 0xE0:
			size = 2
		case c == 0xE0:
			low = 0xA0
		case c == 0xED:
			high = 0x9F
		case c < 0xF0:
		case c == 0xF0:
			low, size = 0x90, 4
		case c < 0xF4:
			size = 4
		case c == 0xF4:
			high, size = 0x8F, 4
		default:
			return i
		}
		if len(b)-i < size || b[i+1] < low || b[i+1] > high {
			return i
		}
		if size >= 3 && b[i+2]&0xC0 != 0x80 || size == 4 && b[i+3]&0xC0 != 0x80 {
			return i
		}
		i += size
	}
	return i
}

// scanNumber returns the offset behind the number at i, and whether it is one.
func scanNumber(b []byte, i int) (int, bool) {
	if b[i] == '-' {
		i++
	}
	if i >= len(b) {
		return i, false
	}
	if b[i] == '0' {
		i++
	} else if end := digits(b, i); end == i {
		return i, false
	} else {
		i = end
	}
	if i < len(b) && b[i] == '.' {
		end := digits(b, i+1)
		if end == i+1 {
			return end, false
		}
		i = end
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		end := digits(b, i)
		if end == i {
			return end, false
		}
		i = end
	}
	return i, true
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

// literal returns the kind and length of true, false or null at the start of b; length 0 means neither.
func literal(b []byte) (Kind, int) {
	switch {
	case len(b) >= 4 && string(b[:4]) == "true":
		return Bool, 4
	case len(b) >= 5 && string(b[:5]) == "false":
		return Bool, 5
	case len(b) >= 4 && string(b[:4]) == "null":
		return Null, 4
	}
	return 0, 0
}

// space returns the offset of the first byte from i on that is not JSON white space.
func space(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// wholeSurrogates reports whether every surrogate escape in a scanned string is half of a pair.
func wholeSurrogates(raw []byte) bool {
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			i++
			continue
		}
		if _, size, whole := unescape(raw[i:]); whole {
			i += size
			continue
		}
		return false
	}
	return true
}

// appendUnescaped appends the text of a scanned string. It reports false when the string has half a surrogate pair, for which
// U+FFFD stands in the text.
func appendUnescaped(dst, raw []byte) ([]byte, bool) {
	all := true
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			dst = append(dst, raw[i])
			i++
			continue
		}
		r, size, whole := unescape(raw[i:])
		dst = utf8.AppendRune(dst, r)
		all = all && whole
		i += size
	}
	return dst, all
}

// unescape decodes the escape at the start of b, which scanString has checked: its rune, its length, and false for half a
// surrogate pair.
func unescape(b []byte) (r rune, size int, whole bool) {
	switch b[1] {
	case 'b':
		return '\b', 2, true
	case 'f':
		return '\f', 2, true
	case 'n':
		return '\n', 2, true
	case 'r':
		return '\r', 2, true
	case 't':
		return '\t', 2, true
	case 'u':
	default:
		return rune(b[1]), 2, true
	}
	first, _ := hex4(b[2:])
	if !utf16.IsSurrogate(first) {
		return first, 6, true
	}
	if len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
		second, _ := hex4(b[8:])
		if pair := utf16.DecodeRune(first, second); pair != utf8.RuneError {
			return pair, 12, true
		}
	}
	return utf8.RuneError, 6, false
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
