package storetest

import (
	"reflect"
	"slices"
	"sync"
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
)

// someWork returns work with every field set.
func someWork(id string) gatehouse.Work {
	return gatehouse.Work{
		ID: id, Kind: gatehouse.WorkRun, Request: "req_1", Organization: "org-a", Project: "proj_1", Key: "key_1", User: "user-a", ServiceAccount: "svc_acct_1",
		Product: "completions", Model: "gpt-4o", UpstreamID: "upst_1", Upstream: "openai", Dialect: gatehouse.OpenAI, UpstreamModel: "gpt-4o-2024-08-06",
		ServiceTier: "flex", Batch: true, At: 100, Expires: 90_000, Input: 7, Output: 8, VideoMilliseconds: 9, Poll: "/threads/thread_1/runs/" + id, Next: 1_000,
	}
}

func claim(t testing.TB, db *store.DB, c store.WorkClaim) []gatehouse.Work {
	t.Helper()
	list, err := db.ClaimWork(t.Context(), c)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	return list
}

func testWork(t *testing.T, db *store.DB) {
	first, second := someWork("run_1"), someWork("run_2")
	second.Next, second.At = 500, 50
	record(t, db, store.Batch{Work: []gatehouse.Work{first, second}})
	record(t, db, store.Batch{Work: []gatehouse.Work{first}}) // a journal that is read again
	look(t, db, func(tx *store.Tx) error {
		got, err := tx.Work("run_1")
		if err == nil && !reflect.DeepEqual(*got, first) {
			t.Errorf("work = %+v\nwant   %+v", *got, first)
		}
		if n, oldest, err := tx.OpenWork(); n != 2 || oldest != 50 || err != nil {
			t.Errorf("open work: %d, the oldest of %d, %v", n, oldest, err)
		}
		return err
	})
	if got := claim(t, db, store.WorkClaim{Now: 499, Until: 600, Limit: 9}); len(got) != 0 {
		t.Errorf("work is claimed before it is due: %v", got)
	}
	if got := claim(t, db, store.WorkClaim{Now: 1_000, Until: 2_000, Limit: 1}); len(got) != 1 || !reflect.DeepEqual(got[0], second) {
		t.Errorf("claimed %+v, want what is due longest", got)
	}
	if got := claim(t, db, store.WorkClaim{Now: 1_000, Until: 2_000, Limit: 9}); len(got) != 1 || !reflect.DeepEqual(got[0], first) {
		t.Errorf("claimed %+v, want what is left", got)
	}
	if got := claim(t, db, store.WorkClaim{Now: 1_500, Until: 2_500, ID: "run_1"}); len(got) != 0 {
		t.Errorf("work is claimed twice: %+v", got)
	}
	// A claim lapses, and one that is given back waits for its time or for somebody who asks for it.
	if got := claim(t, db, store.WorkClaim{Now: 2_000, Until: 3_000, Limit: 9}); len(got) != 2 {
		t.Errorf("of a dead node's claims %d lapsed", len(got))
	}
	record(t, db, store.Batch{WorkLater: []store.WorkLater{{ID: "run_1", Next: 5_000}, {ID: "none", Next: 1}}})
	if got := claim(t, db, store.WorkClaim{Now: 2_500, Until: 3_500, Limit: 9}); len(got) != 0 {
		t.Errorf("claimed %+v before its time", got)
	}
	got := claim(t, db, store.WorkClaim{Now: 2_500, Until: 3_500, ID: "run_1"})
	if len(got) != 1 || got[0].Tries != 1 || got[0].Next != 5_000 {
		t.Errorf("claimed %+v", got)
	}
	// It ends with its usage, and not without.
	record(t, db, store.Batch{WorkDone: []string{"run_1"}})
	usage := gatehouse.Usage{ID: "run_1", At: 100, Organization: "org-a", Product: "completions"}
	for range 2 {
		record(t, db, store.Batch{Usage: []gatehouse.Usage{usage}, WorkDone: []string{"run_1", "run_9"}})
		record(t, db, store.Batch{Work: []gatehouse.Work{first}}) // a journal that is read again
		look(t, db, func(tx *store.Tx) error {
			if _, err := tx.Work("run_1"); gatehouse.KindOf(err) != gatehouse.NotFound {
				t.Errorf("work that is counted: %v, want NotFound", err)
			}
			_, err := tx.Work("run_2")
			return err
		})
	}
}

// testWorkIsShared lets nodes ask at once: each row has one taker.
func testWorkIsShared(t *testing.T, db *store.DB) {
	const n, nodes = 40, 6
	var b store.Batch
	for i := range n {
		b.Work = append(b.Work, someWork(numbered("run_", i)))
	}
	record(t, db, b)
	var mu sync.Mutex
	var taken []string
	atOnce(nodes, func(int) {
		for range n {
			list, err := db.ClaimWork(t.Context(), store.WorkClaim{Now: 1_000, Until: 60_000, Limit: 7})
			if err != nil {
				t.Errorf("claim: %v", err)
				return
			}
			mu.Lock()
			for i := range list {
				taken = append(taken, list[i].ID)
			}
			over := len(taken) >= n
			mu.Unlock()
			if over {
				return
			}
		}
	})
	slices.Sort(taken)
	if unique := slices.Compact(slices.Clone(taken)); len(taken) != n || len(unique) != n {
		t.Errorf("%d claims of %d rows, want %d of each", len(taken), len(unique), n)
	}
}

func testBatchInputs(t *testing.T, db *store.DB) {
	in := gatehouse.BatchInput{File: "file-1", Project: "proj_1", Upstream: "upst_1", Endpoint: "/v1/responses", Lines: 3, Input: 4, Output: 5, CreatedAt: 6,
		Models: []gatehouse.BatchModel{{Name: "a \"b\"", Upstream: "c", Lines: 1}, {Name: "d", Upstream: "e", Lines: 2}}}
	other := in
	other.Project, other.Models = "proj_2", nil
	record(t, db, store.Batch{BatchInputs: []gatehouse.BatchInput{in, other}})
	record(t, db, store.Batch{BatchInputs: []gatehouse.BatchInput{other}})
	look(t, db, func(tx *store.Tx) error {
		if _, err := tx.BatchInput("none"); gatehouse.KindOf(err) != gatehouse.NotFound {
			t.Errorf("an input of nobody: %v, want NotFound", err)
		}
		got, err := tx.BatchInput("file-1")
		if err == nil && !reflect.DeepEqual(*got, in) {
			t.Errorf("input = %+v\nwant    %+v", *got, in)
		}
		return err
	})
}
