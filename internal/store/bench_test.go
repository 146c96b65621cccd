package store_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

func onEnginesB(b *testing.B, bench func(b *testing.B, db *store.DB)) {
	for _, e := range engines {
		b.Run(e.name, func(b *testing.B) { bench(b, open(b, e.url(b), store.Config{})) })
	}
}

// BenchmarkUpdate is one control change after another: a project renamed, with its event. SQLite syncs each to disk; the test's
// PostgreSQL does not.
func BenchmarkUpdate(b *testing.B) {
	onEnginesB(b, func(b *testing.B, db *store.DB) {
		project := &gatehouse.Project{ID: "proj_1", Organization: "org-1"}
		ev := gatehouse.Event{Type: "project.updated", Organization: "org-1"}
		if _, err := db.Update(b.Context(), ev, func(tx *store.Tx) error {
			if err := tx.CreateOrganization(&gatehouse.Organization{ID: "org-1"}); err != nil {
				return err
			}
			return tx.CreateProject(project)
		}); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := db.Update(b.Context(), ev, func(tx *store.Tx) error { return tx.SaveProject(project) }); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
	})
}

// BenchmarkRecord is batches of 256 settled requests of 16 keys and 4 models, each with its decision and its key's last use.
func BenchmarkRecord(b *testing.B) {
	onEnginesB(b, func(b *testing.B, db *store.DB) {
		const size = 256
		n := 0
		b.ReportAllocs()
		for b.Loop() {
			batch := store.Batch{LastUsed: map[string]gatehouse.Millis{}}
			for range size {
				n++
				key, at := fmt.Sprintf("key_%d", n%16), gatehouse.Millis(1_700_000_000_000+n)
				id := gatehouse.NewRequestID(at)
				units := gatehouse.Units{Input: 1000, Cached: 100, Output: 200}
				batch.LastUsed[key] = at
				batch.Usage = append(batch.Usage, gatehouse.Usage{ID: id, At: at, Organization: "org-1", Project: "proj_1", Key: key, ServiceAccount: "svc_acct_1", Product: "completions",
					Model: fmt.Sprintf("gpt-%d", n/16%4), UpstreamModel: "gpt-4o-2024-11-20", Upstream: "upst_1", ServiceTier: "default", Units: units, Cost: 4_500_000, CostKnown: true})
				batch.Requests = append(batch.Requests, gatehouse.Request{ID: id, At: at, Organization: "org-1", Project: "proj_1", Key: key, Method: "POST", Route: "/v1/chat/completions",
					Status: 200, Rule: "served", Units: &units, Attempts: []gatehouse.Attempt{{Upstream: "upst_1", Model: "gpt-4o-2024-11-20", Status: 200, Millis: 312}}})
			}
			if err := db.Record(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "requests/s")
	})
}

// BenchmarkRecordKeys is what recording costs a request: batches of 1,024 settled requests of one key, and of 1,001 keys in turn.
func BenchmarkRecordKeys(b *testing.B) {
	for _, keys := range []int{1, 1001} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			onEnginesB(b, func(b *testing.B, db *store.DB) {
				const size = 1024
				n := 0
				b.ReportAllocs()
				cpu := cpuTime()
				for b.Loop() {
					batch := store.Batch{LastUsed: map[string]gatehouse.Millis{}, Usage: make([]gatehouse.Usage, size)}
					for i := range batch.Usage {
						n++
						key, at := fmt.Sprintf("key_%d", n%keys), gatehouse.Millis(1_700_000_000_000+n/4)
						batch.LastUsed[key] = at
						batch.Usage[i] = gatehouse.Usage{ID: gatehouse.NewRequestID(at), At: at, Organization: "org-1", Project: "proj_1", Key: key, ServiceAccount: "svc_acct_1",
							Product: "completions", Model: "gpt-4o", UpstreamModel: "gpt-4o-2024-11-20", Upstream: "upst_1", ServiceTier: "default",
							Units: gatehouse.Units{Input: 1000, Cached: 100, Output: 200}, Cost: 4_500_000, CostKnown: true, Confidence: gatehouse.Reported}
					}
					if err := db.Record(b.Context(), batch); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N*size), "us-CPU/request")
			})
		})
	}
}

// cpuTime is the time that this process has computed.
func cpuTime() time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		return 0
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// BenchmarkEachKey reads 100,000 keys, as a node does when it starts.
func BenchmarkEachKey(b *testing.B) {
	onEnginesB(b, func(b *testing.B, db *store.DB) {
		const n = 100_000
		ev := gatehouse.Event{Type: "api_key.created", Organization: "org-1"}
		if _, err := db.Update(b.Context(), ev, func(tx *store.Tx) error {
			if err := tx.CreateOrganization(&gatehouse.Organization{ID: "org-1"}); err != nil {
				return err
			}
			if err := tx.CreateProject(&gatehouse.Project{ID: "proj_1", Organization: "org-1"}); err != nil {
				return err
			}
			if err := tx.CreateServiceAccount(&gatehouse.ServiceAccount{ID: "svc_acct_1", Organization: "org-1", Project: "proj_1"}); err != nil {
				return err
			}
			for i := range n {
				if err := tx.CreateKey(&gatehouse.Key{ID: "key_" + gatehouse.RandomBase62(11), Class: gatehouse.ClassService, Organization: "org-1", Project: "proj_1",
					OwnerServiceAccount: "svc_acct_1", Name: fmt.Sprintf("recommender %d", i), Redacted: "sk-svcacct-gtk...sQoA"}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			read := 0
			if err := db.View(b.Context(), func(tx *store.Tx) error {
				return tx.EachKey(func(*gatehouse.Key) error { read++; return nil })
			}); err != nil || read != n {
				b.Fatalf("%d keys, %v", read, err)
			}
		}
		b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "keys/s")
	})
}
