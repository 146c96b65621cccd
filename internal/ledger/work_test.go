package ledger

import (
	"reflect"
	"testing"

	"gatehouse"
)

func background(id string) *gatehouse.Work {
	return &gatehouse.Work{ID: id, Kind: gatehouse.WorkResponse, UpstreamID: "upst_1", Poll: "/responses/" + id, Next: 2_000, Expires: 9_000}
}

// TestWorkIsOpenAndCountsOnce begins work, loses the process, and settles it twice.
func TestWorkIsOpenAndCountsOnce(t *testing.T) {
	dir, k := t.TempDir(), newBook()
	k.set(errAway)
	l := opened(t, dir, k)
	s := settlement("req_1")
	s.Work = background("resp_1")
	settle(t, reserve(t, l, "req_1"), s)
	abandon(l)

	k.set(nil)
	l = opened(t, dir, k)
	if got := l.Stats(); got.Recovered != 0 || got.Holds != 0 {
		t.Errorf("a request that began work is recovered: %+v", got)
	}
	c := charge("req_1")
	want := *background("resp_1")
	c.settle(settlement("req_1"))
	c.begin(&want)
	w, ok := k.work["resp_1"]
	if !ok || !reflect.DeepEqual(w, want) || len(k.usage) != 0 {
		t.Fatalf("work = %+v\nwant   %+v\nusage  %v", w, want, k.usage)
	}
	if r := k.requests["req_1"]; r.Confidence != gatehouse.Pending || r.Work != "resp_1" || r.Units != nil {
		t.Errorf("the decision does not say that the work goes on: %+v", r)
	}
	if k.lastUsed["key_1"] != c.At {
		t.Errorf("last use %v", k.lastUsed)
	}

	o := Outcome{Units: gatehouse.Units{Input: 100, Output: 20}, Confidence: gatehouse.Reported, UpstreamModel: "gpt-4o-2024-08-06"}
	for range 2 {
		if err := l.SettleWork(&w, &o); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, l)
	u := k.usage["resp_1"]
	if len(k.usage) != 1 || u.Units != o.Units || u.Key != "key_1" || u.At != c.At || u.Confidence != gatehouse.Reported || u.Cost != 100*2500+20*10000 {
		t.Errorf("usage = %+v", k.usage)
	}
	if len(k.done) != 2 || k.done[0] != "resp_1" {
		t.Errorf("work that ended: %v", k.done)
	}
}

func TestWorkThatIsOverAtOnce(t *testing.T) {
	k := newBook()
	l := opened(t, t.TempDir(), k)
	s := settlement("req_1")
	s.UsageID = "resp_1"
	settle(t, reserve(t, l, "req_1"), s)
	flush(t, l)
	if u, ok := k.usage["resp_1"]; !ok || u.Units != s.Units || len(k.done) != 1 || len(k.work) != 0 {
		t.Errorf("usage %v, work %v, done %v", k.usage, k.work, k.done)
	}
	if k.requests["req_1"].Confidence != gatehouse.Reported || k.lastUsed["key_1"] == 0 {
		t.Errorf("request %+v, last use %v", k.requests["req_1"], k.lastUsed)
	}
}

func TestPartsOfABatch(t *testing.T) {
	k := newBook()
	l := opened(t, t.TempDir(), k)
	w := background("batch_1")
	w.Kind, w.Batch, w.Request = gatehouse.WorkBatch, true, "req_1"
	for _, o := range []Outcome{
		{Units: gatehouse.Units{Input: 3}, Confidence: gatehouse.Reported, Model: "small", Part: "small"},
		{Units: gatehouse.Units{Input: 4}, Confidence: gatehouse.Reported, Model: "large"},
	} {
		if err := l.SettleWork(w, &o); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, l)
	if len(k.usage) != 2 || k.usage["batch_1/small"].Model != "small" || k.usage["batch_1"].Model != "large" || !k.usage["batch_1"].Batch {
		t.Errorf("usage = %+v", k.usage)
	}
	if err := l.SettleWork(&gatehouse.Work{}, &Outcome{}); err == nil {
		t.Error("work without an id is settled")
	}
}

func TestBatchInputsAreKept(t *testing.T) {
	k := newBook()
	l := opened(t, t.TempDir(), k)
	in := gatehouse.BatchInput{File: "file-1", Project: "proj_1", Upstream: "upst_1", Endpoint: "/v1/embeddings", Lines: 2, Input: 8, CreatedAt: 7,
		Models: []gatehouse.BatchModel{{Name: "small", Upstream: "text-small", Lines: 2}}}
	if err := l.KeepBatchInput(&in); err != nil {
		t.Fatal(err)
	}
	flush(t, l)
	if got := k.inputs["file-1"]; got.Lines != 2 || len(got.Models) != 1 || got.Models[0] != in.Models[0] {
		t.Errorf("input = %+v", got)
	}
	if l.KeepBatchInput(&gatehouse.BatchInput{}) == nil || l.KeepBatchInput(&gatehouse.BatchInput{File: "f", Models: make([]gatehouse.BatchModel, maxBatchModels+1)}) == nil {
		t.Error("an input without a file, or with too many models, is kept")
	}
}
