package gateway

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"gatehouse"
)

// TestTypical compares the histogram with the answers themselves: what it returns is not exceeded by 99 of 100, and at most a quarter
// above the least such number.
func TestTypical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all typicals
		dep := &gatehouse.Deployment{ID: "dep_1"}
		answers := rapid.SliceOfN(rapid.Int64Range(0, 1<<rapid.IntRange(1, 40).Draw(t, "scale")), typicalSamples, 400).Draw(t, "answers")
		for i, n := range answers {
			if _, ok := all.most(dep.ID); ok != (i >= typicalSamples) {
				t.Fatalf("after %d answers it says %t", i, ok)
			}
			all.add(dep, n)
		}
		got, ok := all.most(dep.ID)
		if !ok {
			t.Fatal("it does not know")
		}
		slices.Sort(answers)
		want := answers[len(answers)-1-len(answers)/100]
		if got < want || got > want+want/4+1 {
			t.Fatalf("99 of 100 answers have %d or fewer; it says %d", want, got)
		}
	})
}

// TestTypicalFollows a deployment whose answers change: the old ones lose their weight.
func TestTypicalFollows(t *testing.T) {
	var all typicals
	dep := &gatehouse.Deployment{ID: "dep_1"}
	for range typicalWindow {
		all.add(dep, 100_000)
	}
	for range 12 * typicalWindow {
		all.add(dep, 10)
	}
	if got, _ := all.most(dep.ID); got > 12 {
		t.Errorf("after many short answers it says %d", got)
	}
	all.forget(func(*gatehouse.Deployment) bool { return false })
	if _, ok := all.most(dep.ID); ok {
		t.Error("a deployment that is gone is remembered")
	}
}

func TestTypicalBuckets(t *testing.T) {
	last := -1
	for n := int64(0); n < 1<<41; n += 1 + n/16 {
		b := bucketOf(n)
		if b < last || b >= typicalBuckets {
			t.Fatalf("%d is in bucket %d after %d", n, b, last)
		}
		last = b
		if b < typicalBuckets-1 && (n > edgeOf(b) || b > 0 && n <= edgeOf(b-1)) {
			t.Fatalf("%d is in bucket %d, which ends with %d", n, b, edgeOf(b))
		}
	}
}
