package scan

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func read(b []byte) error {
	s := New(b)
	if _, err := s.Raw(); err != nil {
		return err
	}
	return s.End()
}

func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-0.5e+3,true,false,null,"x\u00e9\ud83d\ude00\n"]}`, `"\ud800"`, `"\u12g4"`, `01`, `1.`, `-`, `[1,]`, `{"a":1,}`, `{,}`, "\"\t\"", ` [ ] `, `{"a"}`, `nul`, `"a`, `[`, ``, `1 2`, `1e`, `.5`, "\x00", `"\`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if strings.Count(string(b), "[")+strings.Count(string(b), "{") > maxDepth {
			return
		}
		err := read(b)
		if want := json.Valid(b); (err == nil) != want {
			t.Fatalf("%q: error %v, encoding/json says valid %v", b, err, want)
		}
		var s string
		if err == nil && utf8.Valid(b) && json.Unmarshal(b, &s) == nil {
			raw, _ := New(b).Raw()
			if IsNull(raw) {
				return
			}
			if got, _ := Unquote(raw, nil); string(got) != s {
				t.Fatalf("%q reads %q, want %q", b, got, s)
			}
		}
	})
}

func TestScanner(t *testing.T) {
	s := New([]byte(` {"a": {"b": [1, "two", {}]}, "c\"": []} x`))
	var log []string
	err := s.Object(func(key []byte) error {
		raw, err := s.Raw()
		log = append(log, string(key)+"="+string(raw))
		return err
	})
	if got, want := strings.Join(log, ";"), `a={"b": [1, "two", {}]};c\"=[]`; got != want || err != nil {
		t.Errorf("members %s (%v), want %s", got, err, want)
	}
	if err := s.End(); err != ErrSyntax {
		t.Errorf("End before x = %v", err)
	}
	deep := strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)
	if err := read([]byte(deep)); err != ErrSyntax {
		t.Errorf("%d levels: %v", maxDepth+1, err)
	}
	if err := read([]byte(deep[1 : len(deep)-1])); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	// What the scratch memory held before is overwritten, and nothing else is.
	scratch := []byte("0123456789")
	got, scratch := Unquote([]byte(`"a\tb"`), scratch)
	if string(got) != "a\tb" || string(scratch[:cap(scratch)][3:10]) != "3456789" {
		t.Errorf("Unquote = %q over %q", got, scratch[:cap(scratch)])
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("plain \"quoted\" \\ \n\x00\x1f\u2028é")
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		var back string
		if b := AppendString(nil, s); json.Unmarshal(b, &back) != nil || back != s {
			t.Fatalf("%q is written as %s", s, b)
		}
	})
}
