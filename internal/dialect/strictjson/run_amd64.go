package strictjson

import "golang.org/x/sys/cpu"

// vectors says that the processor, and the system on it, have AVX2.
var vectors = cpu.X86.HasAVX2

// runVectors returns the offset of the first byte from b[i] on that needs a look, or where less than 64 bytes are left before it is
// found. It needs AVX2.
//
//go:noescape
func runVectors(b []byte, i int) int

// run returns an offset up to which nothing from b[i] on needs a look.
func run(b []byte, i int) int {
	if vectors {
		return runVectors(b, i)
	}
	return runWords(b, i)
}
