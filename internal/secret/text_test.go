package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/secret"
)

const canary = "CANARY-5ecr3t-v4lue"

// forms are the ways a formatter might write the canary.
var forms = []string{
	canary,
	hex.EncodeToString([]byte(canary)),
	strings.ToUpper(hex.EncodeToString([]byte(canary))),
	base64.StdEncoding.EncodeToString([]byte(canary)),
	strings.Trim(fmt.Sprint([]byte(canary)), "[]"),
	strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(canary)), "[]byte{"), "}"),
	fmt.Sprintf("% x", canary),
	strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%U", []rune(canary)), "["), "]"),
}

func leaks(s string) bool {
	for _, f := range forms {
		if strings.Contains(s, f) {
			return true
		}
	}
	return false
}

type exported struct {
	Secret secret.Text
	Name   string
}

type hidden struct {
	secret secret.Text
	inner  struct{ deep secret.Text }
	ptr    *secret.Text
	list   []secret.Text
	byName map[string]secret.Text
	any    any
	name   string
}

type embedding struct{ secret.Text }

type embeddingHidden struct{ hidden }

// holders puts one secret everywhere a formatter may find it.
func holders() map[string]any {
	t := secret.NewText(canary)
	h := hidden{secret: t, ptr: &t, list: []secret.Text{t}, byName: map[string]secret.Text{"k": t}, any: t, name: "n"}
	h.inner.deep = t
	return map[string]any{
		"value":          t,
		"pointer":        &t,
		"exported field": exported{t, "n"},
		"pointer to it":  &exported{t, "n"},
		"hidden fields":  h,
		"pointer to h":   &h,
		"slice":          []secret.Text{t},
		"array":          [1]secret.Text{t},
		"map":            map[string]secret.Text{"k": t},
		"slice of any":   []any{t, &t, exported{t, "n"}, h},
		"reflect value":  reflect.ValueOf(t),
		"error":          fmt.Errorf("wrap %v: %w", t, errors.New("x")),
		"deep pointers":  &[]*exported{{t, "n"}},
		"minted":         secret.Minted{Text: t},
		"method value":   t.String,
		"embedded":       embedding{t},
		"hidden embed":   embeddingHidden{h},
	}
}

// No verb, no flag and no nesting prints a secret.
func TestTextNeverPrints(t *testing.T) {
	for name, v := range holders() {
		for _, verb := range "vTtbcdoOqxXUeEfFgGspw" {
			for _, flags := range []string{"", "+", "#", "-", " ", "0", "20", ".5", "+#", "# ", "020.3"} {
				format := "%" + flags + string(verb)
				if got := fmt.Sprintf(format, v); leaks(got) {
					t.Errorf("%s with %s: %s", name, format, got)
				}
			}
		}
		if got := fmt.Sprint(v) + fmt.Sprintln(v); leaks(got) {
			t.Errorf("%s: Sprint gave %s", name, got)
		}
	}
	if got := fmt.Sprintf("%s %v %q %#v %d", secret.NewText(canary), secret.NewText(canary), secret.NewText(canary), secret.NewText(canary), secret.NewText(canary)); got != strings.TrimSpace(strings.Repeat("[redacted] ", 5)) {
		t.Errorf("a secret prints as %s", got)
	}
}

// No encoder writes a secret: where it can be told, it writes [redacted].
func TestTextNeverEncodes(t *testing.T) {
	for name, v := range holders() {
		if b, err := json.Marshal(v); err == nil && leaks(string(b)) {
			t.Errorf("%s: json %s", name, b)
		}
		if b, err := xml.Marshal(v); err == nil && leaks(string(b)) {
			t.Errorf("%s: xml %s", name, b)
		}
		var g bytes.Buffer
		if err := gob.NewEncoder(&g).Encode(v); err == nil && leaks(g.String()) {
			t.Errorf("%s: gob %q", name, g.String())
		}
		for _, h := range []func(*bytes.Buffer) slog.Handler{
			func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
			func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		} {
			var b bytes.Buffer
			slog.New(h(&b)).With("before", v).Info("message", "value", v, slog.Group("g", "deep", v))
			if leaks(b.String()) {
				t.Errorf("%s: slog %s", name, b.String())
			}
		}
	}
	v := exported{Secret: secret.NewText(canary), Name: "n"}
	if b, err := json.Marshal(v); err != nil || string(b) != `{"Secret":"[redacted]","Name":"n"}` {
		t.Errorf("json %s, %v", b, err)
	}
	if b, err := json.Marshal(map[string]any{"s": &v.Secret}); err != nil || string(b) != `{"s":"[redacted]"}` {
		t.Errorf("json %s, %v", b, err)
	}
	var g bytes.Buffer
	if err := gob.NewEncoder(&g).Encode(v); err != nil || !strings.Contains(g.String(), "[redacted]") {
		t.Errorf("gob %q, %v", g.String(), err)
	}
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "s", v.Secret)
	if !strings.Contains(b.String(), `"s":"[redacted]"`) {
		t.Errorf("slog %s", b.String())
	}
	if text, err := v.Secret.MarshalBinary(); err != nil || string(text) != "[redacted]" {
		t.Errorf("binary %q, %v", text, err)
	}
	if err := json.Unmarshal([]byte(`{"Secret":"x"}`), &v); err == nil {
		t.Error("a Text was decoded into; want an error, so that [redacted] never becomes a secret")
	}
}

// Panic values print their String method's result.
func TestTextInPanic(t *testing.T) {
	defer func() {
		if got := fmt.Sprint(recover()); leaks(got) {
			t.Errorf("recovered %s", got)
		}
	}()
	panic(secret.NewText(canary))
}

func TestTextReveals(t *testing.T) {
	s := secret.NewText(canary)
	if s.Reveal() != canary || s.IsZero() {
		t.Errorf("got %d characters, zero %v", len(s.Reveal()), s.IsZero())
	}
	for _, zero := range []secret.Text{{}, secret.NewText("")} {
		if zero.Reveal() != "" || !zero.IsZero() {
			t.Error("an empty Text is not zero")
		}
	}
	if reflect.TypeFor[secret.Text]().Comparable() {
		t.Error("a Text can be compared with ==, which is not constant time")
	}
}

// The types that carry secrets without being Text do not print them either, as themselves or inside another value.
func TestCarriersNeverPrint(t *testing.T) {
	file := secret.NewPeppers().Reveal()
	encoded := strings.Fields(strings.Split(file, "\n")[1])[1]
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	peppers, err := secret.ParsePeppers(secret.NewText(file))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := secret.ParseKeyring(secret.NewText(file))
	if err != nil {
		t.Fatal(err)
	}
	m := secret.Mint(gatehouse.ClassProject, "t3st", peppers)
	text := m.Text.Reveal()
	parsed, _ := secret.ParseKey(text)
	peppers.Verify(parsed, 1, &m.Digest) // fills the pool

	material := func(b []byte) []string {
		return []string{
			string(b), hex.EncodeToString(b), base64.StdEncoding.EncodeToString(b), strings.Trim(fmt.Sprint(b), "[]"),
			strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", b), "[]byte{"), "}"), fmt.Sprintf("% x", b),
		}
	}
	// Eight bytes are enough to be a leak.
	secrets := append(material(raw[:8]), material([]byte(text[len(text)-49:][:20]))...)
	type inner struct {
		peppers *secret.Peppers
		ring    *secret.Keyring
		parsed  secret.Parsed
		minted  secret.Minted
	}
	in := inner{peppers, ring, parsed, m}
	for name, v := range map[string]any{"peppers": peppers, "keyring": ring, "parsed": parsed, "minted": m, "inner": in, "list": []any{peppers, ring, &parsed, m, &in}} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x"} {
			got := fmt.Sprintf(format, v)
			for _, s := range secrets {
				if strings.Contains(got, s) {
					t.Errorf("%s with %s: %s", name, format, got)
				}
			}
		}
		if b, err := json.Marshal(v); err == nil {
			for _, s := range secrets {
				if strings.Contains(string(b), s) {
					t.Errorf("%s: json %s", name, b)
				}
			}
		}
	}
}
