package ledger

import (
	"encoding/hex"
	"reflect"
	"slices"
	"testing"

	"gatehouse"
	"gatehouse/internal/ledger/budget"
	"gatehouse/internal/store"
)

// TestFirstEncoding reads records that a program wrote before videos and training were counted.
func TestFirstEncoding(t *testing.T) {
	const settled = "0a00057265715f3100056f72672d310670726f6a5f31056b65795f3100000b636f6d706c6574696f6e73016d000000000e02040602000000000000080000000000000a" +
		"0c087265706f7274656400000000000004504f5354000000067365727665640164100000009003010175000000900312"
	const refusal = "40057265715f320e0000000000000600000000000000000000000000000a0000000000000347455400000006736572766564016400000000900300"
	got, err := new(decoder).settled(unhexed(t, settled), 1)
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
	r, err = decodeRefusal(unhexed(t, refusal), 1)
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

// TestFifthEncoding reads a hold and a settlement that say themselves which windows they count in.
func TestFifthEncoding(t *testing.T) {
	const charged = "01057265715f3100056f72672d310670726f6a5f31056b65795f3106757365722d31000b636f6d706c6574696f6e73066770742d346f066f70656e616906757073745f" +
		"31000080a0abfef962d00fe8070000000004746578740c7b227465616d223a2261227d5002066e6f64652d31086275646765745f310612086275646765745f3200feffffff" +
		"ffffffffff01"
	const settled = "0a" + charged + "260000000000000014000000000000000000000000003c14087265706f7274656410046d696e6506757365722d31093139322e302e322e31086f70656e" +
		"61692f31066f70656e616904504f5354142f76312f636861742f636f6d706c6574696f6e73066770742d346f066770742d346f0673657276656400008020c00c1e12900301" +
		"06757073745f31066770742d346f00067265715f7570900312"
	checkEncoding(t, 5, charged, settled, nil)
}

// TestSixthEncoding reads them where they name the windows by a number, and holds that they are written so.
func TestSixthEncoding(t *testing.T) {
	const chain = "ac02066e6f64652d3102086275646765745f310612086275646765745f3200feffffffffffffffff01"
	const charged = "01057265715f3100056f72672d310670726f6a5f31056b65795f3106757365722d31000b636f6d706c6574696f6e73066770742d346f066f70656e616906757073745f" +
		"31000080a0abfef962d00fe8070000000004746578740c7b227465616d223a2261227d50ac02"
	const settled = "0a" + charged + "810226143c140010046d696e6500093139322e302e322e31086f70656e61692f310004504f5354142f76312f636861742f636f6d706c6574696f6e73000000" +
		"00008020c00c1e1290030100076770742d346f00067265715f7570900312"
	const refusal = "40057265715f31000000000000008102261410046d696e6507757365722d31093139322e302e322e31086f70656e61692f31076f70656e616904504f5354142f76312f6368" +
		"61742f636f6d706c6574696f6e73076770742d346f00087265667573656400008020c00c1e1290030107757073745f31076770742d346f00067265715f757090031200"
	known := chains{}
	if err := known.define(unhexed(t, chain)); err != nil || len(known) != 1 {
		t.Fatalf("chain = %v, %v", known, err)
	}
	checkEncoding(t, 6, charged, settled, known)
	r, err := decodeRefusal(unhexed(t, refusal), 6)
	if s := settlement("req_1"); err != nil || *r.Units != s.Units || r.Rule != "refused" || r.Deployment != "gpt-4o" || r.Owner != "user-1" || r.Attempts[0].Upstream != "upst_1" {
		t.Errorf("refusal = %+v, %v", r, err)
	}

	c := bound("req_1", nil)
	c.Bound, c.Labels, c.Source = 40, `{"team":"a"}`, "text"
	c.chain = &budget.Chain{Number: 300, Node: "node-1", Windows: encodedWindows}
	s := settlement("req_1")
	s.Cost, s.CostKnown, s.kept, s.Request.Attempts = 30, true, 10, s.Request.Attempts[1:]
	r = new(*s.Request)
	r.Units, r.Rule = &s.Units, "refused"
	for _, written := range []struct {
		got  []byte
		want string
	}{{appendChain(nil, c.chain), chain}, {appendCharge(nil, c), charged}, {appendSettled(nil, c, s), settled}, {appendRefusal(nil, r), refusal}} {
		if got := hex.EncodeToString(written.got); got != written.want {
			t.Errorf("it is written %s\nwant          %s", got, written.want)
		}
	}
}

func unhexed(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var encodedWindows = []gatehouse.BudgetWindow{{Budget: "budget_1", Start: 3, End: 9}, {Budget: "budget_2", Start: 0, End: 1<<63 - 1}}

// checkEncoding decodes a hold and its settlement that some version wrote.
func checkEncoding(t *testing.T, version byte, held, settled string, known chains) {
	t.Helper()
	want := *charge("req_1")
	want.Bound, want.BoundKnown, want.Labels, want.Source = 40, true, `{"team":"a"}`, "text"
	c, err := decodeCharge(unhexed(t, held), version, known)
	if err != nil || c.chain == nil || c.chain.Node != "node-1" || !slices.Equal(c.chain.Windows, encodedWindows) {
		t.Fatalf("charge = %+v in %+v, %v", c, c.chain, err)
	}
	if c.chain = nil; !reflect.DeepEqual(c, want) {
		t.Errorf("charge = %+v\nwant     %+v", c, want)
	}
	got, err := (&decoder{chains: known}).settled(unhexed(t, settled), version)
	if err != nil {
		t.Fatal(err)
	}
	if u, s := got.usage, settlement("req_1"); u.ID != "req_1" || u.Units != s.Units || u.Cost != 30 || !u.CostKnown || u.Labels != want.Labels || u.Confidence != s.Confidence {
		t.Errorf("usage = %+v", *u)
	}
	wantCharge := store.Charge{Usage: "req_1", Node: "node-1", Cost: 30, Kept: 10, Windows: encodedWindows}
	if !reflect.DeepEqual(*got.charge, wantCharge) || got.counts != 40 {
		t.Errorf("charge = %+v, counts %d; want %+v", *got.charge, got.counts, wantCharge)
	}
	r := *settlement("req_1").Request
	r.Attempts = r.Attempts[1:]
	r.At, r.Organization, r.Project, r.Key, r.Labels = want.At, want.Organization, want.Project, want.Key, want.Labels
	r.Units, r.Cost, r.CostKnown, r.Confidence = got.request.Units, 30, true, gatehouse.Reported
	if !reflect.DeepEqual(*got.request, r) {
		t.Errorf("request = %+v\nwant      %+v", *got.request, r)
	}
}
