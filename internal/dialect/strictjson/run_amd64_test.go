package strictjson

import (
	"strings"
	"testing"
)

// FuzzRunVectors compares what looks at 64 bytes at a time with what looks at one.
func FuzzRunVectors(f *testing.F) {
	if !vectors {
		f.Skip("this processor has no AVX2")
	}
	clean := strings.Repeat("a", 200)
	for _, special := range []string{`"`, `\`, "\x00", "\x1f", "\x80", "\xff", " ", "~", "\x7f", ""} {
		for _, at := range []int{0, 31, 32, 63, 64, 127, 128, 199} {
			f.Add([]byte(clean[:at]+special+clean[at:]), at%3)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, i int) {
		i = min(max(i, 0), len(b))
		first := i
		for first < len(b) && b[first] != '"' && b[first] != '\\' && b[first] >= ' ' && b[first] < 0x80 {
			first++
		}
		if got, want := runVectors(b, i), min(first, i+(len(b)-i)/64*64); got != want {
			t.Fatalf("of %q from %d on: got %d, want %d", b, i, got, want)
		}
		if got, want := runWords(b, i), i+(first-i)/32*32; got != want {
			t.Fatalf("of %q from %d on: got %d by words, want %d", b, i, got, want)
		}
	})
}
