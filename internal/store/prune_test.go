package store_test

import (
	"fmt"
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
)

// TestCleanupKeepsWhatFinanceNeeds ages two organizations' measurements: each kind goes after its own time, an organization's sums after
// that organization's, what shares pages after the longest; nothing goes that is in no wider sum, and days never do.
func TestCleanupKeepsWhatFinanceNeeds(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		db := open(t, url, store.Config{})
		ev := gatehouse.Event{Type: "t"}
		_, err := db.Update(t.Context(), ev, func(tx *store.Tx) error {
			if err := tx.CreateOrganization(&gatehouse.Organization{ID: "org-1", Retention: gatehouse.Retention{Minutes: 2, Requests: 20}}); err != nil {
				return err
			}
			return tx.CreateOrganization(&gatehouse.Organization{ID: "org-2"})
		})
		if err != nil {
			t.Fatal(err)
		}
		const days = 500
		for d := range gatehouse.Millis(days) {
			if d%10 != 0 {
				continue
			}
			var b store.Batch
			for _, org := range []string{"org-1", "org-2"} {
				id := fmt.Sprintf("req_%s_%d", org, d)
				b.Usage = append(b.Usage, gatehouse.Usage{ID: id, Organization: org, Product: "completions", Key: "key_1", At: foldDay + d*86_400_000, Cost: 1, CostKnown: true})
				b.Requests = append(b.Requests, gatehouse.Request{ID: id, Organization: org, At: foldDay + d*86_400_000})
			}
			if err := db.Record(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		now := foldDay + days*86_400_000
		count := func(org, width string) (n int64) {
			t.Helper()
			err := db.View(t.Context(), func(tx *store.Tx) error {
				for at := foldDay; at < now; at += 5 * 86_400_000 {
					buckets, err := tx.UsageBuckets(store.UsageQuery{Organization: org, Width: width, Start: at, End: at + 5*86_400_000})
					if err != nil {
						return err
					}
					for i := range buckets {
						for j := range buckets[i].Results {
							n += buckets[i].Results[j].Requests
						}
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		check := func(what string, got, want int64) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %d, want %d", what, got, want)
			}
		}
		// Nothing is folded: no sum may go, however old it is.
		if err := db.Prune(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		check("sums of minutes before they are folded", count("org-1", "1m"), days/10)
		if err := db.FoldSums(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := db.Prune(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		check("minutes kept for 2 days", count("org-1", "1m"), 0)
		check("minutes kept for 31 days", count("org-2", "1m"), 3)
		check("hours kept for 400 days", count("org-1", "1h"), 40)
		check("days of the first", count("org-1", "1d"), days/10)
		check("days of the second", count("org-2", "1d"), days/10)
		err = db.View(t.Context(), func(tx *store.Tx) error {
			usage, err := tx.CountUsage()
			check("settled requests kept for 400 days, of both", usage, 80)
			requests := int64(0)
			if err := tx.EachRequest(func(*gatehouse.Request) error { requests++; return nil }); err != nil {
				return err
			}
			check("decisions kept for the longer of 7 and 20 days, of both", requests, 4)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
