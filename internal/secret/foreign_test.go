package secret_test

import (
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/secret"
)

// Every format of the table is told, with its provider, and its near misses are not. The samples are made up.
func TestForeign(t *testing.T) {
	x := func(n int) string { return strings.Repeat("aB3", n/3+1)[:n] }
	up := func(n int) string { return strings.Repeat("AB3", n/3+1)[:n] }
	hexa := func(n int) string { return strings.Repeat("0af", n/3+1)[:n] }
	cask := x(52) + "JQQJ9" + "9" + "9" + "AL" + x(15) + "A" + x(7)
	cases := []struct{ provider, text string }{
		{"openai", "sk-" + x(20) + "T3BlbkFJ" + x(20)},
		{"openai", "sk-proj-" + x(74) + "T3BlbkFJ" + x(74)},
		{"openai", "sk-proj-" + x(40) + "-_-" + x(31) + "T3BlbkFJ" + x(74)},
		{"openai", "sk-svcacct-" + x(58) + "T3BlbkFJ" + x(58)},
		{"openai", "sk-admin-" + x(58) + "T3BlbkFJ" + x(58)},
		{"openai", "sk-proj-gtk" + x(71) + "T3BlbkFJ" + x(74)}, // begins like ours and is not
		{"azure", cask},
		{"azure", cask + "AB=="},
		{"entra", "aB3" + "8" + "Q~" + x(34)},
		{"anthropic", "sk-ant-api03-" + x(93) + "AA"},
		{"anthropic", "sk-ant-admin01-" + x(93) + "AA"},
		{"openrouter", "sk-or-v1-" + hexa(64)},
		{"aws", "AKIA" + up(16)},
		{"aws", "ASIA" + up(16)},
		{"aws-bedrock", "ABSK" + x(109)},
		{"github", "ghp_" + x(36)},
		{"github", "ghs_" + x(36)},
		{"github", "github_pat_" + x(22) + "_" + x(59)},
		{"gitlab", "glpat-" + x(20)},
		{"google", "AIza" + x(35)},
		{"google", "ya29." + x(60)},
		{"huggingface", "hf_" + x(34)},
		{"groq", "gsk_" + x(52)},
		{"xai", "xai-" + x(80)},
		{"perplexity", "pplx-" + x(48)},
		{"nvidia", "nvapi-" + x(64)},
		{"replicate", "r8_" + x(37)},
		{"databricks", "dapi" + hexa(32)},
		{"stripe", "sk_live_" + x(24)},
		{"stripe", "rk_test_" + x(99)},
		{"slack", "xoxb-123456789012-123456789012-" + x(24)},
		{"slack", "xapp-1-" + x(60)},
		{"npm", "npm_" + x(36)},
		{"vault", "hvs." + x(90)},
		{"tailscale", "tskey-api-" + x(30)},
		{"digitalocean", "dop_v1_" + hexa(64)},
		{"sendgrid", "SG." + x(22) + "." + x(43)},
	}
	for _, c := range cases {
		if provider, ok := secret.Foreign(c.text); !ok || provider != c.provider {
			t.Errorf("Foreign(%q) = %q, %v; want %q", c.text, provider, ok, c.provider)
		}
		// The format is the whole of the credential: around it, or with a space inside, it is something else.
		for _, text := range []string{" " + c.text, c.text + "!", c.text[:len(c.text)/2] + " " + c.text[len(c.text)/2:]} {
			if provider, ok := secret.Foreign(text); ok {
				t.Errorf("Foreign(%q) = %q, want none", text, provider)
			}
		}
	}
	for _, text := range []string{
		"", "sk-", "sk-proj-", "hello", "ghp_short", "AKIA", "AKIA" + strings.ToLower(up(16)), hexa(32), x(84), strings.Repeat("a", 5000),
		"sk-" + x(48), "sk-T3BlbkFJ" + x(60), "sk-" + x(60) + "T3BlbkFJ", "eyJhbGciOiJSUzI1NiJ9.e30." + x(40),
		strings.Replace(cask, "99AL", "9XZL", 1),
	} {
		if provider, ok := secret.Foreign(text); ok {
			t.Errorf("Foreign(%q) = %q, want none", text, provider)
		}
	}
	p := newPeppers(t)
	for _, class := range gatehouse.Classes {
		for range 2000 {
			if text := secret.Mint(class, "t3st", p).Text.Reveal(); foreign(text) {
				t.Fatalf("a key of ours is foreign: %q", text)
			}
		}
	}
}

func foreign(text string) bool {
	_, ok := secret.Foreign(text)
	return ok
}
