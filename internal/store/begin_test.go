package store_test

import (
	"database/sql"
	"errors"
	"sync"
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
	"gatehouse/internal/store/storetest"
)

// TestBrokenConnections ends every connection that a DB has while none is in use, as a failover does: nobody who asks next notices.
func TestBrokenConnections(t *testing.T) {
	url := storetest.Postgres(t)
	db := open(t, url, store.Config{})
	view := func() error {
		return db.View(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Meta("a")
			return err
		})
	}
	change := func() error {
		_, err := db.Update(t.Context(), gatehouse.Event{Type: "t", Organization: "org-a"}, func(tx *store.Tx) error { return tx.SetMeta("a", "b") })
		return err
	}
	record := func() error {
		return db.Record(t.Context(), store.Batch{Objects: []gatehouse.Object{{ID: "file-1", Project: "proj_a"}}})
	}

	// As many as a pool keeps, all busy at once, so that all of them are there.
	var inside, done sync.WaitGroup
	inside.Add(4)
	for range 4 {
		done.Go(func() {
			if err := db.View(t.Context(), func(*store.Tx) error { inside.Done(); inside.Wait(); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	if err := errors.Join(change(), record()); err != nil {
		t.Fatal(err)
	}

	admin, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	var ended int
	const end = `SELECT COUNT(*) FROM (SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'gatehouse') AS ended`
	if err := admin.QueryRowContext(t.Context(), end).Scan(&ended); err != nil {
		t.Fatal(err)
	}
	if ended < 6 {
		t.Fatalf("%d connections were ended, want those of all pools", ended)
	}
	if err := view(); err != nil {
		t.Errorf("a read after its connections broke: %v", err)
	}
	if err := change(); err != nil {
		t.Errorf("a change after its connections broke: %v", err)
	}
	if err := record(); err != nil {
		t.Errorf("a record after its connections broke: %v", err)
	}
}
