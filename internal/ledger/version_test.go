package ledger

import (
	"encoding/hex"
	"reflect"
	"testing"

	"gatehouse"
)

// TestFirstEncoding reads records that a program wrote before videos and training were counted.
func TestFirstEncoding(t *testing.T) {
	const settled = "0a00057265715f3100056f72672d310670726f6a5f31056b65795f3100000b636f6d706c6574696f6e73016d000000000e02040602000000000000080000000000000a" +
		"0c087265706f7274656400000000000004504f5354000000067365727665640164100000009003010175000000900312"
	const refusal = "40057265715f320e0000000000000600000000000000000000000000000a0000000000000347455400000006736572766564016400000000900300"
	payload := func(text string) []byte {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	got, err := new(decoder).settled(payload(settled), 1)
	if err != nil {
		t.Fatal(err)
	}
	u, r := got.usage, got.request
	units := gatehouse.Units{Input: 3, Cached: 1, Output: 4, Milliseconds: 5}
	want := gatehouse.Usage{ID: "req_1", At: 7, Organization: "org-1", Project: "proj_1", Key: "key_1", Product: "completions", Model: "m",
		Units: units, Confidence: gatehouse.Reported, Cost: 6, CostKnown: true}
	if *u != want {
		t.Errorf("usage = %+v\nwant    %+v", *u, want)
	}
	if r.Detail != "d" || r.BytesIn != 8 || len(r.Attempts) != 1 || r.Attempts[0].Millis != 9 {
		t.Errorf("request = %+v", *r)
	}
	r, err = decodeRefusal(payload(refusal), 1)
	if err != nil {
		t.Fatal(err)
	}
	if units := (gatehouse.Units{Input: 3, Milliseconds: 5}); !reflect.DeepEqual(r.Units, &units) || r.Rule != RuleServed {
		t.Errorf("request = %+v with %+v", *r, r.Units)
	}
}

// TestSecondEncoding reads an object of before it was kept what made it.
func TestSecondEncoding(t *testing.T) {
	want := gatehouse.Object{ID: "file-1", Project: "proj_1", Upstream: "upst_1", Kind: "file", CreatedAt: 7, DeletedAt: 9}
	payload := appendObject(nil, &want)
	if o, err := decodeObject(payload[:len(payload)-2], 2); err != nil || o != want { // the two texts are empty
		t.Errorf("object = %+v, %v; want %+v", o, err, want)
	}
	if _, err := decodeObject(payload, 2); err == nil {
		t.Error("a second encoding with more behind it is read")
	}
}
