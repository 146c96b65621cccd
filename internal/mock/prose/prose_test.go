package prose

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTokens(t *testing.T) {
	tests := []struct {
		text string
		want []string
	}{
		{"", nil},
		{"a", []string{"a"}},
		{"hello world", []string{"hell", "o", " worl", "d"}},
		{"  a\n\n", []string{" ", " a", "\n", "\n"}},
		{"abcd efgh", []string{"abcd", " efgh"}},
		{"wörld", []string{"wör", "ld"}},
		{"日本", []string{"日", "本"}},
		{"🙂🙂 🙂", []string{"🙂", "🙂", " 🙂"}},
		{"a🙂", []string{"a", "🙂"}},
		{"ab\xf0", []string{"ab", "\xf0"}},
	}
	for _, tt := range tests {
		var got []string
		for rest := tt.text; rest != ""; {
			n := Token(rest)
			got = append(got, rest[:n])
			rest = rest[n:]
		}
		if strings.Join(got, "|") != strings.Join(tt.want, "|") {
			t.Errorf("tokens of %q = %q, want %q", tt.text, got, tt.want)
		}
		if n := Tokens(tt.text); n != len(tt.want) {
			t.Errorf("Tokens(%q) = %d, want %d", tt.text, n, len(tt.want))
		}
	}
}

func TestOf(t *testing.T) {
	for n := 1; n < 200; n++ {
		s := Of("gpt-4o", uint64(n)*7919, n)
		if Tokens(s) != n || !strings.HasPrefix(s, "[mock gpt-4o]") && !strings.HasPrefix("[mock gpt-4o]", s) {
			t.Fatalf("Of(%d) = %q, %d tokens", n, s, Tokens(s))
		}
	}
	if a, b := Of("m", 1, 0), Of("m", 1, 0); a != b || Tokens(a) < 8 {
		t.Errorf("Of is not the same twice: %q, %q", a, b)
	}
	if a, b := Of("m", 1, 20), Of("m", 2, 20); a == b {
		t.Errorf("two seeds have one text %q", a)
	}
}

func TestHash(t *testing.T) {
	if Hash(Hash(Seed, "ab"), "c") == Hash(Hash(Seed, "a"), "bc") {
		t.Error("Hash does not know where a part ends")
	}
	if Hash(Seed, "x") != Hash(Seed, []byte("x")) {
		t.Error("strings and bytes hash differently")
	}
}

func FuzzTokens(f *testing.F) {
	f.Add("hello wörld \n\n🙂")
	f.Add("\xf0\x9f")
	f.Fuzz(func(t *testing.T, s string) {
		n := 0
		for rest := s; rest != ""; n++ {
			k := Token(rest)
			if k < 1 || k > len(rest) || k > 5 {
				t.Fatalf("Token(%q) = %d", rest, k)
			}
			if utf8.ValidString(rest) && !utf8.ValidString(rest[:k]) {
				t.Fatalf("Token(%q) = %d cuts a character", rest, k)
			}
			rest = rest[k:]
		}
		if got := Tokens(s); got != n {
			t.Fatalf("Tokens(%q) = %d, want %d", s, got, n)
		}
	})
}
