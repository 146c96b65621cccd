package store_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
	"gatehouse/internal/store/storetest"
)

// TestDeadlock makes two changes take two rows in opposite order: PostgreSQL ends one of them, and it must be tried again without
// its caller noticing.
func TestDeadlock(t *testing.T) {
	url := storetest.Postgres(t)
	db := open(t, url, store.Config{})
	tries := make(chan string, 16)
	met := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	results := make(chan error)
	for i, order := range [][2]string{{"a", "b"}, {"b", "a"}} {
		go func() { // ends with its change
			first := true
			_, err := db.Update(context.WithoutCancel(t.Context()), gatehouse.Event{Type: "t", Organization: "org-" + order[0]}, func(tx *store.Tx) error {
				tries <- order[0]
				for n, name := range order {
					if err := tx.SetMeta(name, order[0]); err != nil {
						return errors.New("lost: " + err.Error()) // a caller that hides what happened is tried again all the same
					}
					if n == 0 && first { // both hold their first row before either wants its second
						first = false
						close(met[i])
						<-met[1-i]
					}
				}
				return nil
			})
			results <- err
		}()
	}
	for range 2 {
		if err := <-results; err != nil {
			t.Errorf("a change that met a deadlock: %v", err)
		}
	}
	if n := len(tries); n < 3 { // a busy server may find both at fault, or the loser again
		t.Errorf("%d tries, want each once and the loser twice", n)
	}
	err := db.View(t.Context(), func(tx *store.Tx) error {
		a, errA := tx.Meta("a")
		b, errB := tx.Meta("b")
		if a != b {
			t.Errorf("a is %q and b is %q, want both of the same change", a, b)
		}
		return errors.Join(errA, errB)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestLostConnection ends a change's connection in the middle: the error says that the database is not available, nothing has
// happened, and the next change works.
func TestLostConnection(t *testing.T) {
	url := storetest.Postgres(t)
	db := open(t, url, store.Config{})
	side := raw(t, url)
	create := func(tx *store.Tx) error { return tx.CreateOrganization(&gatehouse.Organization{ID: "org-1"}) }
	_, err := db.Update(t.Context(), gatehouse.Event{Type: "t"}, func(tx *store.Tx) error {
		if err := create(tx); err != nil {
			return err
		}
		mustExec(t, side, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gatehouse'`)
		return nil
	})
	if gatehouse.KindOf(err) != gatehouse.Unavailable {
		t.Errorf("update over a lost connection: %v (kind %v), want Unavailable", err, gatehouse.KindOf(err))
	}
	if seq, err := db.Update(t.Context(), gatehouse.Event{Type: "t"}, create); seq != 1 || err != nil {
		t.Errorf("update after it: %d, %v; want 1", seq, err)
	}
	if err := db.Record(t.Context(), store.Batch{Node: &store.NodeBeat{ID: "n"}}); err != nil {
		t.Errorf("record after it: %v", err)
	}
}

// TestForeignObject proves that an object which another project has already is reported.
func TestForeignObject(t *testing.T) {
	onEngines(t, func(t *testing.T, url string) {
		var log bytes.Buffer
		db := open(t, url, store.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		o := gatehouse.Object{ID: "file-1", Project: "proj_1", Kind: "file"}
		for range 2 {
			if err := db.Record(t.Context(), store.Batch{Objects: []gatehouse.Object{o}}); err != nil {
				t.Fatal(err)
			}
		}
		if log.Len() != 0 {
			t.Errorf("an object recorded twice by its own project was reported: %s", &log)
		}
		o.Project = "proj_2"
		if err := db.Record(t.Context(), store.Batch{Objects: []gatehouse.Object{o}}); err != nil {
			t.Fatal(err)
		}
		if s := log.String(); !strings.Contains(s, "file-1") || !strings.Contains(s, "proj_2") || !strings.Contains(s, "WARN") {
			t.Errorf("another project's claim was logged as %q", s)
		}
	})
}
