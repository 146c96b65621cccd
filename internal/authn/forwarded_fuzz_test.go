package authn

import (
	"testing"
)

// FuzzParseForwarded: whatever a header holds, reading it ends, and what it returns without an error is at least one certificate.
func FuzzParseForwarded(f *testing.F) {
	for _, text := range []string{"", ":eA==:", "-----BEGIN%20CERTIFICATE-----%0A", `By=a;Hash=b;Cert="c";Chain="d",By=e;Cert="\"`, `Hash=a;;=,"`, "a,b,,", "%zz"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		chain, err := parseForwarded(text)
		if err == nil && (len(chain) == 0 || len(chain) > maxForwardChain) {
			t.Errorf("%q: %d certificates", text, len(chain))
		}
		for _, c := range chain {
			if c == nil {
				t.Errorf("%q: a certificate is nil", text)
			}
		}
	})
}
