package secret

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"gatehouse"
)

// TestScannerRule: the file that users copy has the pattern of the code and the manual, finds every key, and nothing redacted.
func TestScannerRule(t *testing.T) {
	rule, err := os.ReadFile("../../docs/gatehouse.gitleaks.toml")
	if err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile("../../docs/keys.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^regex = '''(.*)'''$`).FindAllStringSubmatch(string(rule), -1)
	if len(found) != 1 || found[0][1] != KeyPattern || !strings.Contains(string(manual), "\n"+KeyPattern+"\n") {
		t.Fatalf("the rule's pattern is %q, the code's %q; docs/keys.md must have it too", found, KeyPattern)
	}
	keyword := regexp.MustCompile(`(?m)^keywords = \["(.*)"\]$`).FindStringSubmatch(string(rule))
	if keyword == nil {
		t.Fatal("the rule has no keyword")
	}
	var allowed []*regexp.Regexp
	for _, a := range regexp.MustCompile(`(?m)^  '''(.*)''',$`).FindAllStringSubmatch(string(rule), -1) {
		allowed = append(allowed, regexp.MustCompile(a[1]))
	}
	pattern := regexp.MustCompile(KeyPattern)
	peppers, err := ParsePeppers(NewPeppers())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		key := Mint(gatehouse.Classes[i%len(gatehouse.Classes)], NewInstall(), peppers)
		text := key.Text.Reveal()
		in := `{\"api_key\":\n` + text + `\n}`
		if got := pattern.FindString(in); got != text || !strings.Contains(in, keyword[1]) {
			t.Fatalf("a key of class %c is not found: %q", gatehouse.Classes[i%len(gatehouse.Classes)], Mask(text))
		}
		for _, a := range allowed {
			if a.MatchString(text) {
				t.Fatalf("a key is allowed by %s", a)
			}
		}
		if pattern.MatchString(key.Redacted) || !allowed[0].MatchString(key.Redacted) {
			t.Fatalf("the redacted form %q is taken for a key", key.Redacted)
		}
	}
	for _, a := range allowed[1:] {
		if !a.MatchString("sk-proj-gtk" + strings.Repeat("x", 64)) {
			t.Errorf("%s does not allow a placeholder", a)
		}
	}
}
