package store

import (
	"maps"
	"path/filepath"
	"testing"

	"gatehouse"
)

// TestMigrationOfServed fills in whom an upstream of before that column served, from what is known of it. The same statement runs
// on PostgreSQL, whose text functions used there are the same.
func TestMigrationOfServed(t *testing.T) {
	db, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "g.db"), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.MigrateTo(t.Context(), 8); err != nil {
		t.Fatal(err)
	}
	insert := func(query string, args ...any) {
		t.Helper()
		if _, err := db.write.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	for org, projects := range map[string][]string{"org-one": {"proj_1"}, "org-two": {"proj_2", "proj_3"}} {
		insert(`INSERT INTO organizations (id, name, default_project, created_at, rev) VALUES ($1, 'n', '', 1, 1)`, org)
		for _, p := range projects {
			insert(`INSERT INTO projects (id, organization, name, labels, residency, upstream, created_at, archived_at, rev) VALUES ($1, $2, 'n', '', '', '', 1, 0, 1)`, p, org)
		}
	}
	want := map[string]map[string]string{}
	for _, c := range []struct {
		id, org, dialect, credential, projects string
		removed                                int
		served                                 map[string]string
	}{
		{"a", "org-one", "openai", "env://A", "", 0, map[string]string{"env://A": "proj_1"}},
		{"b", "org-two", "openai", "env://B", "", 0, map[string]string{"env://B": gatehouse.ServedMany}},
		{"c", "org-two", "azure", `file:///a"b\c`, `["proj_2"]`, 7, map[string]string{`file:///a"b\c`: "proj_2"}},
		{"d", "org-two", "openai", "", `["proj_2","proj_3"]`, 0, map[string]string{"https://d.example.com/v1": gatehouse.ServedMany}},
		{"e", "org-one", "mock", "", "", 0, nil},
	} {
		insert(`INSERT INTO upstreams (id, organization, name, dialect, base_url, api_version, region, credential, credential_header, projects, allow_private, http2, created_at, removed_at, rev)
			VALUES ($1, $2, $1, $3, $4, '', '', $5, '', $6, 0, 0, 1, $7, 1)`, c.id, c.org, c.dialect, "https://"+c.id+".example.com/v1", c.credential, c.projects, c.removed)
		want[c.id] = c.served
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = db.View(t.Context(), func(tx *Tx) error {
		return tx.EachUpstream(func(u *gatehouse.Upstream) error {
			seen++
			if !maps.Equal(u.Served, want[u.ID]) {
				t.Errorf("%s served %v, want %v", u.ID, u.Served, want[u.ID])
			}
			return nil
		})
	})
	if err != nil || seen != len(want) {
		t.Errorf("%d upstreams, %v", seen, err)
	}
}
