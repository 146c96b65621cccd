package usage

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// quote returns the offset of the quote that ends the string going on at p[i], or len(p) when it goes on beyond p, and then
// whether the byte behind p is escaped. Only backslashes in front of a quote matter, so that long strings pass at the speed of
// IndexByte.
func quote(p []byte, i int) (end int, odd bool) {
	if end := near(p, i); end < len(p) && p[end] == '"' {
		return end, false
	}
	for {
		n := bytes.IndexByte(p[i:], '"')
		end := i + n
		if n < 0 {
			end = len(p)
		}
		slashes := 0
		for end-slashes > i && p[end-slashes-1] == '\\' {
			slashes++
		}
		if n < 0 {
			return end, slashes&1 == 1
		}
		if slashes&1 == 0 {
			return end, false
		}
		i = end + 1
	}
}

// valueEnd returns the offset behind the value that begins at p[i], or -1 when p may not hold all of it.
func valueEnd(p []byte, i int) int {
	switch p[i] {
	case '"':
		if end, _ := quote(p, i+1); end < len(p) {
			return end + 1
		}
		return -1
	case '{', '[':
		return containerEnd(p, i)
	}
	for i++; i < len(p); i++ {
		if ends[p[i]] {
			return i
		}
	}
	return -1
}

// containerEnd returns the offset behind the object or array that begins at p[i], or -1 when it goes on beyond p.
func containerEnd(p []byte, i int) int {
	for depth := 0; i < len(p); i++ {
		switch b := p[i]; {
		case !structural[b]:
		case b == '"':
			i, _ = quote(p, i+1)
		case b == '{' || b == '[':
			depth++
		default:
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// near returns the offset of the first quote or backslash from p[i] on, or one without them that it stopped at: it looks at some
// forty bytes, since most strings of a stream are short, eight at a time.
func near(p []byte, i int) int {
	for range 5 {
		if len(p)-i < 8 {
			for i < len(p) && p[i] != '"' && p[i] != '\\' {
				i++
			}
			return i
		}
		if m := marks(binary.LittleEndian.Uint64(p[i:])); m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
		i += 8
	}
	return i
}

// Eight bytes at a time: each byte of one word.
const ones, highs, quotes, slashes, spaces = 0x0101010101010101, 0x8080808080808080, 0x2222222222222222, 0x5c5c5c5c5c5c5c5c, 0x2020202020202020

// marks sets the high bit of each byte of x that is a quote or a backslash. Its lowest mark is exact; marks above it may be false,
// because a borrow runs upwards.
func marks(x uint64) uint64 {
	q, s := x^quotes, x^slashes
	return ((q-ones)&^q | (s-ones)&^s) & highs
}

// ends are the bytes that end a number or literal; structural those that matter inside what is skipped.
var ends, structural = bytesOf(",]} \t\r\n"), bytesOf(`"{}[]`)

func bytesOf(set string) (table [256]bool) {
	for i := range len(set) {
		table[set[i]] = true
	}
	return table
}
