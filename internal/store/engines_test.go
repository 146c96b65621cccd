package store_test

import (
	"path/filepath"
	"testing"

	"gatehouse/internal/store"
	"gatehouse/internal/store/storetest"
)

// engines lists how to get the URL of a new database of each engine.
var engines = []struct {
	name string
	url  func(testing.TB) string
}{
	// Every character that means something in a URL.
	{"sqlite", func(tb testing.TB) string { return "sqlite:" + filepath.Join(tb.TempDir(), "a b?c#d%41&é.db") }},
	{"postgres", storetest.Postgres},
}

// onEngines runs a test once per engine.
func onEngines(t *testing.T, test func(t *testing.T, url string)) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) { test(t, e.url(t)) })
	}
}

// open opens the database at url, brings its schema up to date, and closes it when tb ends.
func open(tb testing.TB, url string, cfg store.Config) *store.DB {
	tb.Helper()
	db, err := store.Open(tb.Context(), url, cfg)
	if err != nil {
		tb.Fatalf("open: %v", err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	if err := db.Migrate(tb.Context()); err != nil {
		tb.Fatalf("migrate: %v", err)
	}
	return db
}

func TestSuite(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			storetest.Run(t, func(tb testing.TB) *store.DB { return open(tb, e.url(tb), store.Config{}) })
		})
	}
}
