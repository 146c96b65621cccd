package usage

import (
	"testing"

	"github.com/tidwall/gjson"
)

// plainSeeds are usage objects as they are written, and as they may be.
var plainSeeds = []string{
	`{}`, `{ }`, `{"a":1}`, ` {"a":1}`, `{"a":1} `, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{"a":01}`, `{"a":1.}`, `{"a":1.5}`, `{"a":1e3}`, `{"a":-1}`,
	`{"a":nul}`, `{"a":null,"b":true,"c":false,"d":"x"}`, `{"a":"\u0061"}`, `{"\u0061":1}`, `{"a":[1]}`, `{"a":{"b":{"c":{"d":{"e":{"f":1}}}}}}`,
	`{"a":1,"a":2}`, `{"a":"é"}`, "{\"a\":\"\x01\"}", `{"a":{"b":2}`, `{"a":1}}`, `{"a":"`, `{"a":1 "b":2}`,
	`{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}`,
	"{\r\n\t\"input_tokens\" : 12.0 , \"output_tokens\":7 , \"input_tokens_details\" : { \"cached_tokens\" : 3 , \"cached_tokens_details\":{\"audio_tokens\":1} } }",
	`{"seconds":12.34,"type":"duration"}`,
	`{"1":1,"2":1,"3":1,"4":1,"5":1,"6":1,"7":1,"8":1,"9":1,"10":1,"11":1,"12":1,"13":1,"14":1,"15":1,"16":1,"17":1,"18":1}`,
}

// FuzzPlain holds that what is read the quick way is valid, and says what the library reads in it.
func FuzzPlain(f *testing.F) {
	for _, s := range plainSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var quick, whole members
		if !quick.plain(b) {
			return
		}
		if !gjson.ValidBytes(b) {
			t.Fatalf("%q is no JSON and was read", b)
		}
		whole.general(b)
		if quick.n != whole.n {
			t.Fatalf("%q: %d members, want %d", b, quick.n, whole.n)
		}
		for i := range quick.n {
			got, want := quick.list[i], whole.list[i]
			if string(got.name) != string(want.name) || string(got.raw) != string(want.raw) || got.kind != want.kind {
				t.Errorf("%q: member %d is %s %s (%v), want %s %s (%v)", b, i, got.name, got.raw, got.kind, want.name, want.raw, want.kind)
			}
		}
	})
}

// TestPlain holds that what providers send is read the quick way, without memory.
func TestPlain(t *testing.T) {
	for _, s := range plainSeeds[len(plainSeeds)-4:] {
		var m members
		if !m.plain([]byte(s)) {
			t.Errorf("%s is not read the quick way", s)
		}
	}
	usage := []byte(plainSeeds[len(plainSeeds)-4])
	if n := testing.AllocsPerRun(100, func() { Extract(Chat, usage) }); n != 0 {
		t.Errorf("reading usage allocates %v times", n)
	}
}
