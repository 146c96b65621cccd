package secret

import (
	"strings"
	"testing"

	"gatehouse"
)

func TestRedact(t *testing.T) {
	content := NewPeppers()
	peppers, err := ParsePeppers(content)
	if err != nil {
		t.Fatal(err)
	}
	credentials := map[string]string{
		"cut":       "",
		"openai":    "sk-proj-" + strings.Repeat("a", 74) + openAIMark + strings.Repeat("b", 74),
		"anthropic": "sk-ant-api03-" + strings.Repeat("x", 40),
		"github":    "ghp_" + strings.Repeat("Z", 36),
		"azure":     strings.Repeat("q", 52) + "JQQJ99BAACAC" + strings.Repeat("w", 16) + "+/AA",
	}
	for _, class := range gatehouse.Classes {
		key := Mint(class, "TEST", peppers).Text.Reveal()
		credentials[class.Prefix()] = key
		credentials["cut"] = key[:len(key)-9]
	}
	for name, secret := range credentials {
		for _, around := range [][2]string{{"", ""}, {"my-app/1.0 (key ", ")"}, {"session=", "; a=b"}, {"https://host/v1?key=", "&x=1"}, {`"`, `"`}, {"protocol.", ""}, {"Bearer ", ", and again: Bearer " + secret}} {
			text := around[0] + secret + around[1]
			got := Redact(text)
			if strings.Contains(got, secret) || strings.Contains(got, secret[len(secret)/2:len(secret)-4]) {
				t.Errorf("%s: %q is left in %q", name, secret, got)
			}
			if !strings.HasPrefix(got, around[0]) || !strings.HasSuffix(got, around[1]) && around[0] != "Bearer " {
				t.Errorf("%s: what stands around it changed: %q", name, got)
			}
			if Redact(got) != got {
				t.Errorf("%s: a redacted text is redacted again: %q", name, Redact(got))
			}
		}
	}
}

func TestRedactLeavesOtherTextAlone(t *testing.T) {
	for _, text := range []string{
		"", "gtk", "sk-proj-gtk", "OpenAI/Python 1.99.1", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
		"3f2504e0-4f89-11d3-9a0c-0305e82c3301", "key_1zX1S9wliZo", "org-LeeKTKf64qVDgIKdYpjWMoA9", "text-embedding-3-small", "sk-proj-...Ab12", "lib-gtk4-devel/4.12.1-release-candidate-very-long-name",
		strings.Repeat("A", 300),
	} {
		if got := Redact(text); got != text {
			t.Errorf("Redact(%q) = %q", text, got)
		}
		if n := testing.AllocsPerRun(100, func() { _ = Redact(text) }); n != 0 {
			t.Errorf("Redact(%q) allocates %v times", text, n)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("my-app (sk-proj-gtk" + strings.Repeat("a", 64) + ")")
	f.Add("x.sk-ant-api03-" + strings.Repeat("x", 40) + "~")
	f.Add(strings.Repeat("q", 52) + "JQQJ99BAACAC" + strings.Repeat("w", 20))
	f.Fuzz(func(t *testing.T, text string) {
		got := Redact(text)
		if again := Redact(got); again != got {
			t.Errorf("Redact(%q) = %q, and of that %q", text, got, again)
		}
		if _, ours := ParseKey(text); ours && got == text {
			t.Errorf("the key %q is not redacted", text)
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	const agent = "OpenAI/JS 7.55.0 (linux; x64) node/22.11.0"
	b.ReportAllocs()
	for b.Loop() {
		_ = Redact(agent)
	}
}
