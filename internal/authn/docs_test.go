package authn_test

import (
	"os"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/authn"
	"gatehouse/internal/secret"
)

// docs/keys.md is what users go by: it has the pattern as it is, every class and every rule.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/keys.md")
	must(t, err)
	want := []string{"\n" + secret.KeyPattern + "\n"}
	for _, class := range gatehouse.Classes {
		want = append(want, "`"+class.Prefix()+"gtk`")
	}
	for _, rule := range authn.Rules {
		want = append(want, "| `"+string(rule)+"` |")
	}
	for _, text := range want {
		if !strings.Contains(string(page), text) {
			t.Errorf("docs/keys.md does not have %q", text)
		}
	}
}
