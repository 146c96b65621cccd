package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"

	"gatehouse"
)

// TestCarryRows migrates a database that an earlier binary filled.
func TestCarryRows(t *testing.T) {
	db, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "gatehouse.db"), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	steps, err := migrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	before := 0
	for steps[before].name != "0006_pages.sql" {
		before++
	}
	if err := db.migrate(t.Context(), steps[:before]); err != nil {
		t.Fatal(err)
	}
	const n = 2*carriedRows + 7
	for i := range n {
		for _, query := range []string{
			fmt.Sprintf(`INSERT INTO usage VALUES ('req_%05d', %d, 'org-a', 'proj_1', 'key_%d', 'user-1', '', 'completions', 'gpt-4o', 'gpt-4o-2', 'openai', 'default', %d, 'reported', 1, 77,
				1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, %d)`, i, 1000+i, i%3, i%2, i),
			fmt.Sprintf(`INSERT INTO requests VALUES ('req_%05d', 'mine', %d, 'org-a', 'proj_1', 'key_1', '{"id":"req_%05d","client_request_id":"mine","at":%d,"organization":"org-a","method":"POST","status":200,"rule":"served","attempts":[{"upstream":"openai","ms":3}],"cost_known":true,"bytes_in":%d,"bytes_out":0,"ms":0}')`,
				i, 1000+i, i, 1000+i, i),
		} {
			if _, err := db.write.ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := db.migrate(t.Context(), steps); err != nil {
		t.Fatal(err)
	}
	err = db.View(t.Context(), func(tx *Tx) error {
		for _, i := range []int{0, carriedRows, n - 1} {
			id := fmt.Sprintf("req_%05d", i)
			u, err := tx.Usage(id)
			if err != nil {
				return err
			}
			want := gatehouse.Usage{ID: id, At: gatehouse.Millis(1000 + i), Organization: "org-a", Project: "proj_1", Key: fmt.Sprintf("key_%d", i%3), User: "user-1", Product: "completions",
				Model: "gpt-4o", UpstreamModel: "gpt-4o-2", Upstream: "openai", ServiceTier: "default", Batch: i%2 == 1, Confidence: gatehouse.Reported, CostKnown: true, Cost: 77,
				Units: gatehouse.Units{Input: 1, Cached: 2, CacheWrite: 3, InputText: 4, InputAudio: 5, InputImage: 6, CachedAudio: 7, CachedImage: 8, Output: 9, Reasoning: 10, OutputText: 11,
					OutputAudio: 12, OutputImage: 13, Images: 14, Characters: 15, Milliseconds: 16, VideoMilliseconds: 17, Trained: int64(i)}}
			if *u != want {
				t.Errorf("usage\n got %+v\nwant %+v", *u, want)
			}
			q, err := tx.Request(id)
			if err != nil {
				return err
			}
			wantRequest := gatehouse.Request{ID: id, ClientRequestID: "mine", At: u.At, Organization: "org-a", Method: "POST", Status: 200, Rule: "served",
				Attempts: []gatehouse.Attempt{{Upstream: "openai", Millis: 3}}, CostKnown: true, BytesIn: int64(i)}
			if !reflect.DeepEqual(*q, wantRequest) {
				t.Errorf("request\n got %+v\nwant %+v", *q, wantRequest)
			}
		}
		if q, err := tx.RequestNamed("org-a", "mine"); err != nil || q.ID != fmt.Sprintf("req_%05d", n-1) {
			t.Errorf("the newest of a client's id: %+v, %v", q, err)
		}
		count, err := tx.CountUsage()
		if count != n {
			t.Errorf("%d settled requests, want %d", count, n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCarrySums migrates sums that an earlier binary kept as rows, and adds usage to the same day.
func TestCarrySums(t *testing.T) {
	db, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "gatehouse.db"), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	steps, err := migrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	before := 0
	for steps[before].name != "0016_rollup_pages.sql" {
		before++
	}
	if err := db.migrate(t.Context(), steps[:before]); err != nil {
		t.Fatal(err)
	}
	const begin = 20_000 * dayMillis
	for _, width := range []int64{minuteMillis, hourMillis, dayMillis} {
		for i := range int64(2) {
			_, err := db.write.ExecContext(t.Context(), `INSERT INTO rollups VALUES ('org-1', 'completions', $1, $2, 'proj_1', $3, '', 'svc_acct_1', 'gpt-4o', 'default', $4, 3, 1, 77,
				1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)`, width, floor(begin+i*125_000, width), fmt.Sprintf("key_%d", i), i)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := db.migrate(t.Context(), steps); err != nil {
		t.Fatal(err)
	}
	err = db.Record(t.Context(), Batch{Usage: []gatehouse.Usage{{ID: "req_1", At: begin + 5, Organization: "org-1", Product: "completions", Project: "proj_1", Cost: 1, CostKnown: true}}})
	if err != nil {
		t.Fatal(err)
	}
	units := gatehouse.Units{Input: 1, Cached: 2, CacheWrite: 3, InputText: 4, InputAudio: 5, InputImage: 6, CachedAudio: 7, CachedImage: 8, Output: 9, Reasoning: 10, OutputText: 11,
		OutputAudio: 12, OutputImage: 13, Images: 14, Characters: 15, Milliseconds: 16, VideoMilliseconds: 17, Trained: 18}
	for round := range 2 {
		err = db.View(t.Context(), func(tx *Tx) error {
			for name, results := range map[string]int{"1m": 2, "1h": 1, "1d": 1} {
				buckets, err := tx.UsageBuckets(UsageQuery{Organization: "org-1", Start: begin, End: begin + dayMillis, Width: name, GroupBy: []string{ByProject}})
				if err != nil {
					return err
				}
				var all Sums
				n := 0
				for _, b := range buckets {
					for i := range b.Results {
						all.Merge(&b.Results[i].Sums)
						n++
					}
				}
				want := Sums{Requests: 7, Unpriced: 2, Cost: 155, Units: units}
				want.Units.Add(units)
				if all != want || n != results {
					t.Errorf("%d: sums of %s in %d buckets\n got %+v\nwant %+v", round, name, n, all, want)
				}
			}
			return nil
		})
		if err := errors.Join(err, db.FoldSums(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
}
