package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
	"gatehouse/internal/store/sums"
)

const foldDay gatehouse.Millis = 20_000 * 86_400_000

// someUsage returns n settled requests spread over two days.
func someUsage(random *rand.Rand, first, n int) []gatehouse.Usage {
	list := make([]gatehouse.Usage, n)
	for i := range list {
		list[i] = gatehouse.Usage{ID: fmt.Sprintf("req_%d", first+i), At: foldDay + gatehouse.Millis(random.Int64N(2*86_400_000)), Organization: fmt.Sprintf("org-%d", i%2), Project: fmt.Sprintf("proj_%d", random.IntN(3)),
			Key: fmt.Sprintf("key_%d", random.IntN(5)), Product: "completions", Model: fmt.Sprintf("gpt-%d", random.IntN(2)), Cost: gatehouse.NanoUSD(random.Int64N(1e9)), CostKnown: random.IntN(9) > 0,
			Units: gatehouse.Units{Input: random.Int64N(1000), Output: random.Int64N(1000)}}
	}
	return list
}

// checkSumsOf compares the sums of every width with plain addition.
func checkSumsOf(t *testing.T, db *store.DB, rows []gatehouse.Usage) {
	t.Helper()
	type key struct {
		organization string
		bucket       gatehouse.Millis
		dims         [sums.Dims]string
	}
	for name, width := range widthMillis {
		want := map[key]store.Sums{}
		for i := range rows {
			u := &rows[i]
			k := key{u.Organization, u.At / width * width, sums.Of(u)}
			s := want[k]
			s.Add(u)
			want[k] = s
		}
		err := db.View(t.Context(), func(tx *store.Tx) error {
			return tx.EachSum(name, func(organization string, bucket gatehouse.Millis, dims [sums.Dims]string, s *store.Sums) error {
				k := key{organization, bucket, dims}
				if want[k] != *s {
					t.Errorf("%s %v\n got %+v\nwant %+v", name, k, *s, want[k])
				}
				delete(want, k)
				return nil
			})
		})
		if err != nil || len(want) > 0 {
			t.Errorf("%d sums of %s are missing: %v", len(want), name, err)
		}
	}
	// The sums without keys, which reports read that do not ask for keys, agree with them.
	var all, keyless store.Sums
	for i := range rows {
		if rows[i].Organization == "org-0" {
			all.Add(&rows[i])
		}
	}
	err := db.View(t.Context(), func(tx *store.Tx) error {
		buckets, err := tx.UsageBuckets(store.UsageQuery{Organization: "org-0", Start: foldDay, End: foldDay + 2*86_400_000, Width: "1d", GroupBy: []string{store.ByProject, store.ByModel}})
		for _, b := range buckets {
			for i := range b.Results {
				keyless.Merge(&b.Results[i].Sums)
			}
		}
		return err
	})
	if err != nil || all != keyless {
		t.Errorf("sums without keys: %+v, want %+v (%v)", keyless, all, err)
	}
}

// TestFoldsAtOnce records on two nodes while both merge and fold, some of it late, and some of the folds end in the middle.
func TestFoldsAtOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		one := open(t, url, store.Config{})
		two := one
		if one.Engine() == "postgres" {
			two = open(t, url, store.Config{})
		}
		const nodes, batches, size = 2, 25, 40
		var all []gatehouse.Usage
		var recording, folding sync.WaitGroup
		done := make(chan struct{})
		for n, db := range []*store.DB{one, two} {
			random := rand.New(rand.NewPCG(1, uint64(n)))
			rows := someUsage(random, n*batches*size, batches*size)
			all = append(all, rows...)
			recording.Go(func() {
				for ; len(rows) > 0; rows = rows[size:] {
					if err := db.Record(t.Context(), store.Batch{Usage: rows[:size]}); err != nil {
						t.Error(err)
					}
				}
			})
			folding.Go(func() {
				for i := int64(0); ; i++ {
					select {
					case <-done:
						return
					default:
					}
					// Whatever a fold has done when its context ends stands, and nothing else.
					ctx, cancel := context.WithCancel(t.Context())
					if i%3 == 0 {
						stop := context.AfterFunc(ctx, func() {})
						go cancel()
						defer stop()
					}
					err := errors.Join(db.MergeSums(ctx), db.FoldSums(ctx))
					cancel()
					if err != nil && !errors.Is(err, context.Canceled) && i%3 != 0 {
						t.Error(err)
					}
				}
			})
		}
		recording.Wait()
		close(done)
		folding.Wait()
		checkSumsOf(t, one, all)
		// When everything is over nothing is open, and pages are few.
		if err := one.FoldSums(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkSumsOf(t, one, all)
		pages, err := one.SumPages(t.Context())
		if err != nil || pages["1/1/0"]+pages["60/1/0"]+pages["60/1/1"] > 0 {
			t.Errorf("pages after everything is folded: %v, %v", pages, err)
		}
		// Days: two organizations, two days, and fewer than 8 pages of each size.
		if n := pages["1440/0/0"]; n < 4 || n > 4*3*8 || pages["1440/0/1"] != n {
			t.Errorf("pages of days: %v", pages)
		}
	})
}
