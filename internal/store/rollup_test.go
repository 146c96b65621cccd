package store_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"gatehouse"
	"gatehouse/internal/store"
)

// TestSumsAreSums records random usage in random batches, repeats and all, and compares random reports with plain addition.
func TestSumsAreSums(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		db := open(t, url, store.Config{})
		round := 0
		rapid.Check(t, func(rt *rapid.T) {
			round++
			checkSums(rt, db, fmt.Sprintf("org-%d", round))
		})
	})
}

var widthMillis = map[string]gatehouse.Millis{"1m": 60_000, "1h": 3_600_000, "1d": 86_400_000}

func checkSums(t *rapid.T, db *store.DB, org string) {
	const begin gatehouse.Millis = 20_000 * 86_400_000
	of := func(values ...string) *rapid.Generator[string] { return rapid.SampledFrom(values) }
	var recorded []gatehouse.Usage
	for range rapid.IntRange(1, 4).Draw(t, "batches") {
		var b store.Batch
		for range rapid.IntRange(0, 40).Draw(t, "rows") {
			if len(recorded) > 0 && rapid.IntRange(0, 4).Draw(t, "again") == 0 {
				b.Usage = append(b.Usage, recorded[rapid.IntRange(0, len(recorded)-1).Draw(t, "which")])
				continue
			}
			u := gatehouse.Usage{
				ID:           fmt.Sprintf("%s/%d", org, len(recorded)),
				At:           begin + gatehouse.Millis(rapid.Int64Range(0, 2*86_400_000).Draw(t, "at")),
				Organization: org, Product: of("completions", "embeddings").Draw(t, "product"),
				Project: of("proj_1", "proj_2").Draw(t, "project"), Key: of("key_1", "key_2", "").Draw(t, "key"),
				Model: of("a", "B", "ä").Draw(t, "model"), ServiceTier: of("", "flex").Draw(t, "tier"), Batch: rapid.Bool().Draw(t, "batch"),
				CostKnown: rapid.Bool().Draw(t, "priced"), Cost: gatehouse.NanoUSD(rapid.Int64Range(0, 1<<50).Draw(t, "cost")),
				Units: gatehouse.Units{Input: rapid.Int64Range(0, 1<<40).Draw(t, "input"), Cached: 1, Output: rapid.Int64Range(0, 9).Draw(t, "output"), Milliseconds: 3},
			}
			if rapid.Bool().Draw(t, "person") {
				u.User = "user-1"
			} else {
				u.ServiceAccount = "svc_acct_1"
			}
			recorded = append(recorded, u)
			b.Usage = append(b.Usage, u)
		}
		if err := db.Record(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		// Whatever is there is folded at some time, and what comes later for the same hours too.
		if rapid.Bool().Draw(t, "fold") {
			if err := db.FoldSums(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}

	q := store.UsageQuery{Organization: org, Product: of("completions", "embeddings").Draw(t, "product"), Width: of("1m", "1h", "1d").Draw(t, "width"),
		Start: begin + gatehouse.Millis(rapid.Int64Range(-1000, 86_400_000).Draw(t, "start"))}
	q.End = q.Start + gatehouse.Millis(rapid.Int64Range(1, 2*86_400_000).Draw(t, "length"))
	q.GroupBy = rapid.SliceOfDistinct(of(store.ByProject, store.ByUser, store.ByKey, store.ByModel, store.ByBatch, store.ByServiceTier), rapid.ID).Draw(t, "by")
	if rapid.Bool().Draw(t, "filter") {
		q.Models, q.Projects = []string{"a", "ä"}, []string{"proj_1"}
	}
	var got []store.UsageBucket
	err := db.View(context.Background(), func(tx *store.Tx) (err error) { got, err = tx.UsageBuckets(q); return err })
	if err != nil {
		t.Fatal(err)
	}

	width := widthMillis[q.Width]
	want := []store.UsageBucket{}
	for start := q.Start / width * width; start < q.End; start += width {
		groups := map[store.UsageResult]store.Sums{}
		for _, u := range recorded {
			if u.At < start || u.At >= start+width || u.Product != q.Product ||
				len(q.Models) > 0 && (!slices.Contains(q.Models, u.Model) || !slices.Contains(q.Projects, u.Project)) {
				continue
			}
			var dims store.UsageResult
			for _, by := range q.GroupBy {
				switch by {
				case store.ByProject:
					dims.Project = u.Project
				case store.ByUser:
					dims.User = u.User
				case store.ByKey:
					dims.Key = u.Key
				case store.ByModel:
					dims.Model = u.Model
				case store.ByBatch:
					dims.Batch = u.Batch
				case store.ByServiceTier:
					dims.ServiceTier = u.ServiceTier
				}
			}
			s := groups[dims]
			s.Requests++
			if u.CostKnown {
				s.Cost += u.Cost
			} else {
				s.Unpriced++
			}
			s.Units.Input += u.Units.Input
			s.Units.Cached += u.Units.Cached
			s.Units.Output += u.Units.Output
			s.Units.Milliseconds += u.Units.Milliseconds
			groups[dims] = s
		}
		b := store.UsageBucket{Start: start, End: start + width}
		for dims := range maps.Keys(groups) {
			r := dims
			r.Sums = groups[dims]
			b.Results = append(b.Results, r)
		}
		want = append(want, b)
	}
	// The order within a bucket is the store's own.
	for _, buckets := range [][]store.UsageBucket{got, want} {
		for _, b := range buckets {
			slices.SortFunc(b.Results, func(a, b store.UsageResult) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("query %+v\n got %+v\nwant %+v", q, got, want)
	}
}
