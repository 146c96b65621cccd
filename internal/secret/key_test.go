package secret_test

import (
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gatehouse"
	"gatehouse/internal/secret"
)

func newPeppers(tb testing.TB) *secret.Peppers {
	tb.Helper()
	p, err := secret.ParsePeppers(secret.NewPeppers())
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

var keyPattern = regexp.MustCompile(`^(?:` + secret.KeyPattern + `)$`)

// A key has the published form, parses back into what it was minted from, and verifies under its own digest only.
func TestMint(t *testing.T) {
	p := newPeppers(t)
	rapid.Check(t, func(t *rapid.T) {
		class := rapid.SampledFrom(gatehouse.Classes).Draw(t, "class")
		install := rapid.StringMatching(`[0-9A-Za-z]{4}`).Draw(t, "install")
		m := secret.Mint(class, install, p)
		text := m.Text.Reveal()

		if !keyPattern.MatchString(text) {
			t.Fatalf("%q does not match the published pattern", text)
		}
		if want := class.Prefix() + "gtk" + install; !strings.HasPrefix(text, want) || len(text) != len(want)+60 {
			t.Fatalf("%q: want it to begin with %q and to be %d long", text, want, len(want)+60)
		}
		k, ok := secret.ParseKey(text)
		if !ok {
			t.Fatalf("%q does not parse", text)
		}
		if k.Class != class || k.Install != install || "key_"+k.PublicID != m.ID || m.ID != "key_"+text[len(class.Prefix())+7:][:11] {
			t.Fatalf("parsed %+v from %q with id %s", k, text, m.ID)
		}
		if m.Redacted != class.Prefix()+"..."+text[len(text)-4:] {
			t.Fatalf("redacted is %q", m.Redacted)
		}
		if m.PepperVersion != 1 || !p.Verify(k, 1, &m.Digest) {
			t.Fatal("a minted key does not verify")
		}
		wrong := m.Digest
		wrong[rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if p.Verify(k, 1, &wrong) {
			t.Fatal("verified against another digest")
		}
		if p.Verify(k, 2, &m.Digest) {
			t.Fatal("verified under a version the set does not hold")
		}
	})
}

// The checksum is the documented one, computed here a second way: IEEE CRC-32 in six base62 digits over all before them.
func TestChecksumAsDocumented(t *testing.T) {
	const body = "sk-proj-gtkA1b20123456789Aabcdefghijklmnopqrstuvwxyzabcdefghijklmnopq"
	if n := len(body); n != 8+3+4+11+43 {
		t.Fatalf("body has %d characters", n)
	}
	sum := crc32.ChecksumIEEE([]byte(body))
	digits := ""
	for range 6 {
		digits = string(gatehouse.Base62[sum%62]) + digits
		sum /= 62
	}
	if want := "1WdZdr"; digits != want {
		t.Fatalf("the documented example's checksum is %s, want %s", digits, want)
	}
	if _, ok := secret.ParseKey(body + digits); !ok {
		t.Error("the documented example does not parse")
	}
}

// No change of one character, no swap of class, no cut and no addition survives the parse.
func TestParseKeyRefusesEveryChange(t *testing.T) {
	p := newPeppers(t)
	const alphabet = gatehouse.Base62 + "-_ .~\x00\xff"
	tried := 0
	for range 200 {
		for _, class := range gatehouse.Classes {
			text := secret.Mint(class, "t3st", p).Text.Reveal()
			for i := range len(text) {
				c := alphabet[rand.IntN(len(alphabet))]
				if c == text[i] {
					continue
				}
				tried++
				if changed := text[:i] + string([]byte{c}) + text[i+1:]; parses(changed) {
					t.Fatalf("%q parses after %q became %q at %d", changed, text[i], c, i)
				}
			}
			for _, other := range gatehouse.Classes {
				if swapped := other.Prefix() + strings.TrimPrefix(text, class.Prefix()); other != class && parses(swapped) {
					t.Fatalf("%q parses after its class changed", swapped)
				}
			}
			for _, changed := range []string{text[1:], text[:len(text)-1], text + "0", " " + text, text + "\n", strings.ToUpper(text), strings.Replace(text, "gtk", "gt", 1)} {
				if parses(changed) {
					t.Fatalf("%q parses", changed)
				}
			}
		}
	}
	if tried < 70_000 {
		t.Fatalf("only %d changes tried", tried)
	}
}

// What is not a key of ours is refused, also where its checksum is right.
func TestParseKeyRefusesOtherForms(t *testing.T) {
	withSum := func(body string) string {
		sum := crc32.ChecksumIEEE([]byte(body))
		var d [6]byte
		for i := 5; i >= 0; i-- {
			d[i] = gatehouse.Base62[sum%62]
			sum /= 62
		}
		return body + string(d[:])
	}
	fill := strings.Repeat("a", 58)
	cases := map[string]string{
		"empty":                    "",
		"prefix only":              "sk-proj-",
		"client secret":            withSum("ek_gtk" + fill),
		"unknown class":            withSum("sk-root-gtk" + fill),
		"no class":                 withSum("sk-gtk" + fill),
		"another mark":             withSum("sk-proj-gtx" + fill),
		"a dash inside":            withSum("sk-proj-gtk" + fill[:30] + "-" + fill[31:]),
		"a NUL inside":             withSum("sk-proj-gtk" + fill[:30] + "\x00" + fill[31:]),
		"bytes that are not ASCII": withSum("sk-proj-gtk" + fill[:30] + "é" + fill[32:]),
		"one too many":             withSum("sk-proj-gtk" + fill + "a"),
		"one too few":              withSum("sk-proj-gtk" + fill[1:]),
		"openai":                   "sk-proj-" + strings.Repeat("a", 74) + "T3BlbkFJ" + strings.Repeat("b", 74),
	}
	for name, text := range cases {
		if parses(text) {
			t.Errorf("%s: %q parses", name, text)
		}
	}
	if !parses(withSum("sk-proj-gtk" + fill)) {
		t.Fatal("the control case does not parse: the cases above prove nothing")
	}
}

func parses(text string) bool {
	_, ok := secret.ParseKey(text)
	return ok
}

// A key verifies under the pepper it was made with after another one became current, and no other way.
func TestPepperVersions(t *testing.T) {
	first := secret.NewPeppers()
	one, err := secret.ParsePeppers(first)
	if err != nil {
		t.Fatal(err)
	}
	old := secret.Mint(gatehouse.ClassProject, "t3st", one)

	second := base64.StdEncoding.EncodeToString([]byte("0123456789abcdefghijklmnopqrstuvwxyz"))
	two, err := secret.ParsePeppers(secret.NewText(first.Reveal() + "7 " + second + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if two.Current() != 7 || !two.Has(1) || two.Has(2) {
		t.Fatalf("current %d, has 1 %v, has 2 %v", two.Current(), two.Has(1), two.Has(2))
	}
	k, _ := secret.ParseKey(old.Text.Reveal())
	if !two.Verify(k, 1, &old.Digest) {
		t.Error("an old key no longer verifies under its own version")
	}
	if two.Verify(k, 7, &old.Digest) {
		t.Error("an old key's digest verifies under the new version")
	}
	if digest, version := two.Digest(k); version != 7 || digest == old.Digest || !two.Verify(k, 7, &digest) {
		t.Error("a key does not move to the current version")
	}
	// The pepper is what makes a digest: the same key under another installation's pepper has another one.
	if newPeppers(t).Verify(k, 1, &old.Digest) {
		t.Error("verified under another pepper")
	}
	// The class enters the digest beside the text's checksum.
	forged := k
	forged.Class = gatehouse.ClassAdmin
	if one.Verify(forged, 1, &old.Digest) {
		t.Error("verified as another class")
	}
	if one.Verify(secret.Parsed{}, 1, &old.Digest) {
		t.Error("an empty Parsed verified")
	}
}

func TestMask(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "..."},
		{"abc", "..."},
		{"sk-proj-short", "sk-proj-..."},
		{"sk-proj-" + strings.Repeat("x", 60) + "sQoA", "sk-proj-...sQoA"},
		{"sk-" + strings.Repeat("x", 44) + "abcd", "sk-...abcd"},
		{"ek_" + strings.Repeat("x", 44) + "abcd", "ek_...abcd"},
		{strings.Repeat("x", 40) + "ab\r\n", "...ab**"},
		{strings.Repeat("x", 40) + "é<", "...x***"},
	} {
		if got := secret.Mask(c.in); got != c.want {
			t.Errorf("Mask(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestKeyLength(t *testing.T) {
	p := newPeppers(t)
	for _, class := range gatehouse.Classes {
		text := secret.Mint(class, "t3st", p).Text.Reveal()
		if got := secret.KeyLength(text[:len(class.Prefix())+3]); got != len(text) {
			t.Errorf("%s: %d, want %d", class.Prefix(), got, len(text))
		}
		if got := secret.KeyLength(class.Prefix() + "abc"); got != 0 {
			t.Errorf("%s without the mark: %d, want 0", class.Prefix(), got)
		}
	}
}

func TestMintPanicsOnProgrammerError(t *testing.T) {
	p := newPeppers(t)
	for _, c := range []struct {
		class   gatehouse.Class
		install string
	}{{0, "t3st"}, {'x', "t3st"}, {gatehouse.ClassProject, ""}, {gatehouse.ClassProject, "abc"}, {gatehouse.ClassProject, "ab-d"}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Mint(%q, %q) did not panic", c.class, c.install)
				}
			}()
			secret.Mint(c.class, c.install, p)
		}()
	}
	for range 100 {
		if tag := secret.NewInstall(); !secret.ValidInstall(tag) {
			t.Fatalf("NewInstall gave %q", tag)
		}
	}
}

// Parsing, verifying, refusing and telling foreign keys allocate nothing.
func TestNoAllocation(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops items under the race detector")
	}
	p := newPeppers(t)
	m := secret.Mint(gatehouse.ClassProject, "t3st", p)
	text := m.Text.Reveal()
	junk := text[:len(text)-1] + "!"
	k, _ := secret.ParseKey(text)
	for name, f := range map[string]func(){
		"parse":   func() { secret.ParseKey(text) },
		"junk":    func() { secret.ParseKey(junk) },
		"verify":  func() { p.Verify(k, 1, &m.Digest) },
		"dummy":   func() { p.Dummy(k) },
		"digest":  func() { p.Digest(k) },
		"foreign": func() { secret.Foreign(junk) },
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	p, err := secret.ParsePeppers(secret.NewPeppers())
	if err != nil {
		f.Fatal(err)
	}
	for _, class := range gatehouse.Classes {
		f.Add(secret.Mint(class, "fuzz", p).Text.Reveal())
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, ok := secret.ParseKey(text)
		if ok != (keyPattern.MatchString(text) && crcHolds(text)) {
			t.Fatalf("ParseKey(%q) = %v, the published pattern and checksum say otherwise", text, ok)
		}
		if ok {
			rebuilt := k.Class.Prefix() + "gtk" + k.Install + k.PublicID
			if !strings.HasPrefix(text, rebuilt) || len(text) != len(rebuilt)+49 {
				t.Fatalf("parsed %q into class %c install %q id %q", text, k.Class, k.Install, k.PublicID)
			}
			p.Dummy(k)
		}
		if provider, foreign := secret.Foreign(text); ok && foreign {
			t.Fatalf("%q is ours and %s's", text, provider)
		}
		if masked := secret.Mask(text); len(text) > 24 && len(masked) >= len(text) || strings.ContainsFunc(masked, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("Mask(%q) = %q", text, masked)
		}
	})
}

// crcHolds is the documented checksum, written a second time.
func crcHolds(text string) bool {
	body, digits := text[:len(text)-6], text[len(text)-6:]
	var n uint64
	for _, c := range digits {
		n = n*62 + uint64(strings.IndexRune(gatehouse.Base62, c))
	}
	return n == uint64(crc32.ChecksumIEEE([]byte(body)))
}

func ExampleMask() {
	fmt.Println(secret.Mask("sk-proj-gtkA1b20123456789Aabcdefghijklmnopqrstuvwxyzabcdefghijklmnopq1WdZdr"))
	// Output: sk-proj-...dZdr
}

func BenchmarkParseKey(b *testing.B) {
	text := secret.Mint(gatehouse.ClassProject, "t3st", newPeppers(b)).Text.Reveal()
	b.ReportAllocs()
	for b.Loop() {
		secret.ParseKey(text)
	}
}

func BenchmarkParseKeyJunk(b *testing.B) {
	text := secret.Mint(gatehouse.ClassProject, "t3st", newPeppers(b)).Text.Reveal()
	text = text[:40] + "!" + text[41:]
	b.ReportAllocs()
	for b.Loop() {
		secret.ParseKey(text)
	}
}

func BenchmarkVerify(b *testing.B) {
	p := newPeppers(b)
	m := secret.Mint(gatehouse.ClassProject, "t3st", p)
	k, _ := secret.ParseKey(m.Text.Reveal())
	b.ReportAllocs()
	for b.Loop() {
		p.Verify(k, 1, &m.Digest)
	}
}

func BenchmarkForeign(b *testing.B) {
	text := "sk-proj-" + strings.Repeat("a", 74) + "T3BlbkFJ" + strings.Repeat("b", 74)
	b.ReportAllocs()
	for b.Loop() {
		secret.Foreign(text)
	}
}
