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
	`{"prompt_tokens":null,"prompt_tokens":5}`, `{"prompt_tokens":5,"prompt_tokens":6}`, `{"prompt_tokens":1,"input_tokens":2,"total_tokens":3}`,
	`{"prompt_tokens":1,"seconds":1.0005}`, `{"seconds":1.00050,"input_tokens_details":{"text_tokens":1}}`, `{"prompt_tokens":01}`, `{"prompt_tokens":1000000000000}`,
	`{"prompt_tokens":1000000000001}`, `{"prompt_tokens":1.5}`, `{"prompt_tokens":"1"}`, `{"prompt_tokens":1,"prompt_tokens_details":null,"input_tokens_details":{"text_tokens":1}}`,
	`{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":1},"input_tokens_details":{"text_tokens":1}}`, `{"prompt_tokens":1,"prompt_tokens_details":7}`,
	`{"completion_tokens":9,"completion_tokens_details":{"cached_tokens_details":{"audio_tokens":1},"reasoning_tokens":12,"audio_tokens":2.0,"text_tokens":3,"image_tokens":4}}`,
	`{"input_tokens":9,"input_tokens_details":{"cached_tokens":8,"cached_tokens_details":{"audio_tokens":1,"cached_tokens_details":{"image_tokens":3},"image_tokens":2}}}`,
	`{"1":1,"2":1,"3":1,"4":1,"5":1,"6":1,"7":1,"8":1,"9":1,"10":1,"11":1,"12":1,"13":1,"14":1,"15":1,"16":1,"prompt_tokens":1}`,
	// What follows is plain.
	`{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}`,
	"{\r\n\t\"input_tokens\" : 12.0 , \"output_tokens\":7 , \"input_tokens_details\" : { \"cached_tokens\" : 3 , \"cached_tokens_details\":{\"audio_tokens\":1} } }",
	`{"seconds":12.34,"type":"duration"}`,
	`{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6,"prompt_tokens_details":null,"completion_tokens_details":{"reasoning_tokens":null},"cost":0.00012,"cost_details":{"upstream":null}}`,
	`{"1":1,"2":1,"3":1,"4":1,"5":1,"6":1,"7":1,"8":1,"9":1,"10":1,"11":1,"12":1,"13":1,"14":1,"15":1,"prompt_tokens":1}`,
}

// FuzzExtract holds that what is read the plain way is valid, and counts what the general way counts.
func FuzzExtract(f *testing.F) {
	for _, s := range plainSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p plain
		if len(b) == 0 || b[0] != '{' || !p.read(b) {
			return
		}
		if !gjson.ValidBytes(b) {
			t.Fatalf("%q is no JSON and was read", b)
		}
		for shape := None + 1; shape <= Container; shape++ {
			got, ok := p.units(shape)
			if want, found := general(shape, b); got != want || ok != found {
				t.Errorf("%q as shape %d: got %+v %v, want %+v %v", b, shape, got, ok, want, found)
			}
		}
	})
}

// TestPlain holds that what providers send is read the plain way, without memory.
func TestPlain(t *testing.T) {
	for _, s := range plainSeeds[len(plainSeeds)-5:] {
		var p plain
		if !p.read([]byte(s)) {
			t.Errorf("%s is not read the plain way", s)
		}
		usage := []byte(s)
		if n := testing.AllocsPerRun(100, func() { Extract(Chat, usage) }); n != 0 {
			t.Errorf("reading %s allocates %v times", s, n)
		}
	}
}
