package store_test

import (
	"fmt"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
	"gatehouse/internal/store/sums"
)

// BenchmarkMonth is reports of a month by day over what 100 million requests leave: 50 projects with 20 keys each, 5 models a key, evenly
// spread. The last hour of the last day is recorded, merged and folded as a node does it, and its last ten minutes are not folded yet.
func BenchmarkMonth(b *testing.B) {
	onEnginesB(b, func(b *testing.B, db *store.DB) {
		hundredMillion(b, db)
		begin := foldDay
		for _, c := range []struct {
			name  string
			query store.UsageQuery
		}{
			{"project,model", store.UsageQuery{GroupBy: []string{store.ByProject, store.ByModel}}},
			{"key,model", store.UsageQuery{GroupBy: []string{store.ByKey, store.ByModel}}},
			{"one project by key", store.UsageQuery{Projects: []string{"proj_7"}, GroupBy: []string{store.ByKey}}},
			{"nothing", store.UsageQuery{}},
		} {
			b.Run(c.name, func(b *testing.B) {
				q := c.query
				q.Organization, q.Product, q.Width, q.Start, q.End = "org-1", "completions", "1d", begin, begin+30*86_400_000
				b.ReportAllocs()
				for b.Loop() {
					var requests int64
					err := db.View(b.Context(), func(tx *store.Tx) error {
						buckets, err := tx.UsageBuckets(q)
						for i := range buckets {
							for j := range buckets[i].Results {
								requests += buckets[i].Results[j].Requests
							}
						}
						return err
					})
					if err != nil || requests == 0 || len(q.Projects) == 0 && requests < 99_000_000 {
						b.Fatalf("%d requests, %v", requests, err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/report")
			})
		}
	})
}

// hundredMillion makes the sums of 100 million requests.
func hundredMillion(b *testing.B, db *store.DB) {
	b.Helper()
	began := time.Now()
	const projects, keys, models = 50, 20, 5
	const perDay = 100_000_000 / 30 / (projects * keys * models)
	usage := func(project, key, model int) gatehouse.Usage {
		return gatehouse.Usage{Organization: "org-1", Product: "completions", Project: fmt.Sprintf("proj_%d", project), Key: fmt.Sprintf("key_%d_%d", project, key), ServiceAccount: fmt.Sprintf("svc_acct_%d_%d", project, key),
			Model: fmt.Sprintf("model-%d", (key+model)%20), UpstreamModel: fmt.Sprintf("model-%d-2026", (key+model)%20), Upstream: "upst_1", ServiceTier: "default", Confidence: gatehouse.Reported}
	}
	whole := func(requests int64) []sums.Page {
		var builder sums.Builder
		for p := range projects {
			for k := range keys {
				for m := range models {
					u := usage(p, k, m)
					s := sums.Sums{Requests: requests, Cost: gatehouse.NanoUSD(requests * 4_500_007), Units: gatehouse.Units{Input: requests * 1009, Cached: requests * 101, Output: requests * 211}}
					builder.AddSums(sums.Of(&u), 0, &s)
				}
			}
		}
		return builder.Pages()
	}
	add := func(width string, bucket gatehouse.Millis, pages []sums.Page) {
		if err := db.AddSums(b.Context(), "org-1", width, bucket, pages); err != nil {
			b.Fatal(err)
		}
	}
	day, hour := whole(perDay), whole(perDay/24)
	for d := range gatehouse.Millis(29) {
		add("1d", foldDay+d*86_400_000, day)
	}
	last := foldDay + 29*86_400_000
	for h := range gatehouse.Millis(23) {
		add("1h", last+h*3_600_000, hour)
		if err := db.FoldSums(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	// The last hour: 139,000 requests, one after another by each key and model, through Record's own way.
	const perBatch = 100_000_000 / 30 / 86_400 / 4
	n := 0
	for second := range 3600 {
		for quarter := range 4 {
			batch := store.Batch{Usage: make([]gatehouse.Usage, perBatch)}
			for i := range batch.Usage {
				u := usage(n%projects, n/projects%keys, n/(projects*keys)%models)
				u.ID, u.At = fmt.Sprintf("req_%d", n), last+23*3_600_000+gatehouse.Millis(second*1000+quarter*250)
				u.Cost, u.CostKnown, u.Units = 4_500_007, true, gatehouse.Units{Input: 1009, Cached: 101, Output: 211}
				batch.Usage[i] = u
				n++
			}
			if err := db.Record(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
		}
		if second%2 == 1 { // the duty
			if err := db.MergeSums(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		if second%600 == 0 {
			if err := db.FoldSums(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	pages, err := db.SumPages(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("made in %v: pages (minutes of a bucket/open/without keys) %v", time.Since(began).Round(time.Second), pages)
}
