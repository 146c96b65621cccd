package store_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"gatehouse/internal/store"
)

// BenchmarkAuditLog asks for pages of an audit log of 200,000 events, or as many as GATEHOUSE_BENCH_EVENTS says: most of one key and one
// type, in 50 projects, and one event in a thousand of another type and by another user.
func BenchmarkAuditLog(b *testing.B) {
	n := 200_000
	if text := os.Getenv("GATEHOUSE_BENCH_EVENTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	const fill = `WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < $2)
		INSERT INTO events (seq, id, type, at, organization, project, actor_kind, actor_key, actor_user, actor_service_account, request_id, subject, subject_id, body)
		SELECT i, 'audit_log-' || i, CASE WHEN i % 1000 = 0 THEN 'api_key.deleted' ELSE 'api_key.updated' END, 1790000000000 + i * 100, 'org-1', 'proj_' || (i % 50),
			'api_key', 'key_' || (i % 20), CASE WHEN i % 1000 = 0 THEN 'user-rare' ELSE 'user-' || (i % 20) END, '', 'req_' || i, 'key', 'key_of_' || (i % 100000),
			'{"seq":' || i || ',"id":"audit_log-' || i || '","type":"api_key.updated","at":' || (1790000000000 + i * 100) || ',"organization":"org-1","actor":{"kind":"api_key","key":"key_1"},"subject":"key","change":{"name":"a name that is of usual length","scopes":["model.request"],"labels":{"team":"search"}}}'
		FROM n`
	middle := fmt.Sprintf("audit_log-%d", n/2)
	onEnginesB(b, func(b *testing.B, db *store.DB) {
		for from := 1; from <= n; from += 100_000 {
			if err := db.Exec(b.Context(), fill, from, min(from+99_999, n)); err != nil {
				b.Fatal(err)
			}
		}
		if err := db.Exec(b.Context(), "ANALYZE"); err != nil {
			b.Fatal(err)
		}
		for _, c := range []struct {
			name   string
			filter store.AuditFilter
			page   store.Page
		}{
			{"newest", store.AuditFilter{}, store.Page{}},
			{"from the middle", store.AuditFilter{}, store.Page{After: middle}},
			{"before the middle", store.AuditFilter{}, store.Page{Before: middle}},
			{"rare type", store.AuditFilter{Types: []string{"api_key.deleted"}}, store.Page{}},
			{"rare user", store.AuditFilter{Actors: []string{"user-rare"}}, store.Page{}},
			{"one subject", store.AuditFilter{Subjects: []string{"key_of_77"}}, store.Page{}},
			{"project and day", store.AuditFilter{Projects: []string{"proj_7"}, From: 1790000000000, Until: 1790086400000}, store.Page{}},
			{"nothing there", store.AuditFilter{Types: []string{"user.deleted"}, Projects: []string{"proj_7"}}, store.Page{}},
		} {
			b.Run(c.name, func(b *testing.B) {
				c.filter.Organization, c.page.Limit, c.page.Desc = "org-1", 100, true
				for b.Loop() {
					if err := db.View(b.Context(), func(tx *store.Tx) error {
						_, _, err := tx.AuditLog(c.filter, c.page)
						return err
					}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	})
}
