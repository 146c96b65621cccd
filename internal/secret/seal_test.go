package secret_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gatehouse/internal/secret"
)

const (
	base64A = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" // 32 bytes, 0 to 31
	base64B = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=" // 32 bytes, 32 to 63
)

func keyring(tb testing.TB, content string) *secret.Keyring {
	tb.Helper()
	k, err := secret.ParseKeyring(secret.NewText(content))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// What was sealed opens under its context and its keyring, and in no other way: no byte may change.
func TestSeal(t *testing.T) {
	k := keyring(t, secret.NewKeyring().Reveal())
	other := keyring(t, secret.NewKeyring().Reveal())
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "plain")
		context := rapid.String().Draw(t, "context")
		sealed, err := k.Seal(plain, context)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.Open(sealed, context); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("opened %q, %v; want %q", got, err, plain)
		}
		if len(plain) > 8 && bytes.Contains(sealed, plain) {
			t.Fatal("the plaintext stands in the ciphertext")
		}
		if again, err := k.Seal(plain, context); err != nil || bytes.Equal(again, sealed) {
			t.Fatal("sealed twice to the same bytes")
		}
		if _, err := k.Open(sealed, context+"x"); !errors.Is(err, secret.ErrSealed) {
			t.Fatalf("opened under another context: %v", err)
		}
		if _, err := other.Open(sealed, context); !errors.Is(err, secret.ErrSealed) {
			t.Fatalf("opened under another keyring: %v", err)
		}
		i := rapid.IntRange(0, len(sealed)-1).Draw(t, "at")
		changed := bytes.Clone(sealed)
		changed[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := k.Open(changed, context); !errors.Is(err, secret.ErrSealed) {
			t.Fatalf("opened with byte %d changed: %v", i, err)
		}
		if _, err := k.Open(sealed[:i], context); !errors.Is(err, secret.ErrSealed) {
			t.Fatalf("opened when cut at %d: %v", i, err)
		}
	})
}

// After a new version became current, what older ones sealed still opens; without them it does not, and the error says why.
func TestKeyringRotation(t *testing.T) {
	one := keyring(t, "1 "+base64A+"\n")
	both := keyring(t, "1 "+base64A+"\n2 "+base64B+"\n")
	two := keyring(t, "2 "+base64B+"\n")
	sealed, err := one.Seal([]byte("value"), "row")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := both.Open(sealed, "row"); err != nil || string(got) != "value" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := two.Open(sealed, "row"); !errors.Is(err, secret.ErrSealed) || !strings.Contains(err.Error(), "version 1") {
		t.Errorf("got %v, want an error that names version 1", err)
	}
	sealed, err = both.Seal([]byte("value"), "row")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := two.Open(sealed, "row"); err != nil || string(got) != "value" || both.Current() != 2 {
		t.Errorf("got %q, %v; current %d", got, err, both.Current())
	}
}

// Key files are read strictly, and no error shows what stands in them.
func TestParseFiles(t *testing.T) {
	good := map[string]string{
		"one":              "1 " + base64A,
		"line end":         "1 " + base64A + "\n",
		"comments":         "# text\n\n1 " + base64A + "\n# more\n",
		"several":          "1 " + base64A + "\n3 " + base64B + "\n",
		"large number":     "2147483647 " + base64A,
		"what New... gave": secret.NewKeyring().Reveal(),
	}
	bad := map[string]string{
		"empty":               "",
		"comments only":       "# 1 " + base64A + "\n",
		"no number":           base64A,
		"version 0":           "0 " + base64A,
		"negative":            "-1 " + base64A,
		"plus":                "+1 " + base64A,
		"leading zero":        "01 " + base64A,
		"too large":           "2147483648 " + base64A,
		"hexadecimal":         "0x1 " + base64A,
		"two spaces":          "1  " + base64A,
		"tab":                 "1\t" + base64A,
		"leading space":       " 1 " + base64A,
		"trailing space":      "1 " + base64A + " ",
		"carriage return":     "1 " + base64A + "\r\n",
		"no padding":          "1 " + strings.TrimRight(base64A, "="),
		"URL alphabet":        "1 " + strings.Replace(base64A, "AAEC", "AA-_", 1),
		"padding bits set":    "1 " + base64A[:42] + "9=",
		"too short":           "1 " + base64A[:40],
		"falling":             "2 " + base64A + "\n1 " + base64B,
		"twice the version":   "1 " + base64A + "\n1 " + base64B,
		"twice the material":  "1 " + base64A + "\n2 " + base64A,
		"zeros":               "1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"byte order mark":     "\ufeff1 " + base64A,
		"one good, one wrong": "1 " + base64A + "\nnonsense",
	}
	parsers := map[string]func(secret.Text) error{
		"peppers": func(t secret.Text) error { _, err := secret.ParsePeppers(t); return err },
		"keyring": func(t secret.Text) error { _, err := secret.ParseKeyring(t); return err },
	}
	for what, parse := range parsers {
		for name, content := range good {
			if err := parse(secret.NewText(content)); err != nil {
				t.Errorf("%s, %s: %v", what, name, err)
			}
		}
		for name, content := range bad {
			err := parse(secret.NewText(content))
			if err == nil {
				t.Errorf("%s, %s: accepted", what, name)
				continue
			}
			for _, part := range []string{base64A[:8], base64B[:8], "nonsense"} {
				if strings.Contains(err.Error(), part) {
					t.Errorf("%s, %s: the error shows the file: %v", what, name, err)
				}
			}
		}
	}
	long := "1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v"
	if err := parsers["peppers"](secret.NewText(long)); err != nil {
		t.Errorf("a pepper of 48 bytes: %v", err)
	}
	if err := parsers["keyring"](secret.NewText(long)); err == nil {
		t.Error("a key-encryption key of 48 bytes was accepted")
	}
	if strings.Contains(secret.NewPeppers().Reveal(), secret.NewPeppers().Reveal()) {
		t.Error("two pepper files are the same")
	}
}
