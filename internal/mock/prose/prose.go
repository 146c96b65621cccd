// Package prose makes the texts of the mock upstream and counts tokens. It owns what a token is, the label every text bears and
// how a seed becomes words; it knows nothing of HTTP.
//
// A token is one optional white-space byte followed by up to four bytes that are not white space, never cutting a UTF-8
// sequence; a white-space byte with no such bytes after it is a token of its own.
package prose

import "strings"

// words are what mock texts are made of. With the space before it each is exactly one token, so that a text of n tokens can be
// built without counting.
var words = [64]string{
	" a", " ache", " ago", " air", " all", " and", " ash", " at", " away", " back", " bell", " bird", " blue", " boat", " book", " by",
	" calm", " cold", " day", " deep", " door", " down", " dust", " east", " edge", " far", " fire", " fog", " from", " gate", " glow", " hand",
	" hill", " in", " key", " lake", " lamp", " late", " leaf", " line", " long", " moon", " near", " new", " note", " of", " old", " on",
	" open", " over", " path", " rain", " road", " salt", " sea", " slow", " snow", " song", " star", " the", " tide", " to", " wind", " wood",
}

// width is how many bytes the UTF-8 sequence takes that a byte begins, as far as that byte tells; 0 for white space.
var width = func() (w [256]uint8) {
	for i := range w {
		switch {
		case i >= 0xf0:
			w[i] = 4
		case i >= 0xe0:
			w[i] = 3
		case i >= 0xc0:
			w[i] = 2
		default:
			w[i] = 1
		}
	}
	w[' '], w['\n'], w['\t'], w['\r'] = 0, 0, 0, 0
	return w
}()

// Token returns the length of the first token of s, which must not be empty.
func Token[T ~string | ~[]byte](s T) int {
	i := 0
	if width[s[0]] == 0 {
		i = 1
	}
	for end := i + 4; i < len(s); {
		w := int(width[s[i]])
		if w == 0 || i+w > end {
			break
		}
		i += w
	}
	return min(i, len(s))
}

// Tokens counts the tokens of s.
func Tokens[T ~string | ~[]byte](s T) int {
	n := 0
	// This is Token in a loop; written out it takes half the time, and long prompts are counted in every request.
	for i := 0; i < len(s); n++ {
		if width[s[i]] == 0 {
			i++
		}
		for end := i + 4; i < len(s); {
			w := int(width[s[i]])
			if w == 0 || i+w > end {
				break
			}
			i += w
		}
	}
	return n
}

// First returns the first n tokens of s, which has as many.
func First(s string, n int) string {
	end := 0
	for range n {
		end += Token(s[end:])
	}
	return s[:end]
}

// Label is what every text begins with.
func Label(model string) string { return "[mock " + model + "]" }

// Of returns a text of exactly n tokens that follows from model and seed; n of 0 lets the seed choose between 8 and 31 more
// than the label has. A label that does not fit is cut.
func Of(model string, seed uint64, n int) string {
	var b strings.Builder
	head := Label(model)
	have := Tokens(head)
	if n == 0 {
		n = have + 8 + int(seed%24)
	}
	if have > n {
		return First(head, n)
	}
	b.Grow(len(head) + 5*(n-have))
	b.WriteString(head)
	for ; have < n; have++ {
		seed = Mix(seed)
		b.WriteString(words[seed>>58])
	}
	return b.String()
}

// Seed is where hashes begin: FNV-1a's, 64 bits, as is its prime.
const (
	Seed  uint64 = 14695981039346656037
	prime uint64 = 1099511628211
)

// Hash folds s into h with FNV-1a. It must give the same in every process, which hash/maphash does not.
func Hash[T ~string | ~[]byte](h uint64, s T) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * prime
	}
	return (h ^ 0xff) * prime // an end mark: "ab","c" is not "a","bc"
}

// Mix is one step of splitmix64.
func Mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
