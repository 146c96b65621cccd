package http1

import (
	"bytes"
	"testing"
)

// TestControl asks about every byte at every place of eight and behind them, between neighbours that a sum over eight bytes at a time may
// mistake.
func TestControl(t *testing.T) {
	for _, beside := range []byte{'a', ' ', '~', 0x80, 0xff, 0xa0, 0x9f} {
		for size := range 20 {
			for at := range size {
				for c := range 256 {
					line := bytes.Repeat([]byte{beside}, size)
					line[at] = byte(c)
					want := size
					if c < ' ' || c == 0x7f {
						want = at
					}
					if got := Control(line); got != want {
						t.Fatalf("Control(%q) = %d, want %d", line, got, want)
					}
					if got, want := IsValue(line), want == size || c == '\t'; got != want {
						t.Fatalf("IsValue(%q) = %t, want %t", line, got, want)
					}
				}
			}
		}
	}
	if got := Control([]byte("12345678\x7f\x00")); got != 8 {
		t.Errorf("the second of two is found: %d", got)
	}
}
