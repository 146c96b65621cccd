//go:build !amd64

package strictjson

// run returns an offset up to which nothing from b[i] on needs a look.
func run(b []byte, i int) int { return runWords(b, i) }
