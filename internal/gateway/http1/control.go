package http1

import (
	"encoding/binary"
	"math/bits"
)

const (
	everyByte = 0x0101010101010101
	highBits  = 0x80 * everyByte
)

// Control returns where the first control character in b is, a tab included; len(b): nowhere. It looks at eight bytes at a time.
func Control(b []byte) int {
	rest := b
	for len(rest) >= 8 {
		v := binary.LittleEndian.Uint64(rest)
		low := v &^ highBits // so that no sum of two bytes reaches the next one
		// The high bit of a byte is set where it is below a space or DEL, and was not set before.
		if found := (^(low + (0x80-' ')*everyByte) | (low + everyByte)) & highBits &^ v; found != 0 {
			return len(b) - len(rest) + bits.TrailingZeros64(found)/8
		}
		rest = rest[8:]
	}
	for i, c := range rest {
		if c < ' ' || c == 0x7f {
			return len(b) - len(rest) + i
		}
	}
	return len(b)
}
