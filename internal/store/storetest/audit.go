package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
)

// oneOf returns one of values.
func oneOf[T any](values ...T) T { return values[rand.IntN(len(values))] }

// some returns a few of values, most often none.
func some(values ...string) (list []string) {
	if rand.IntN(3) == 0 {
		for range 1 + rand.IntN(3) {
			list = append(list, oneOf(values...))
		}
		slices.Sort(list)
		list = slices.Compact(list)
	}
	return list
}

var (
	auditTypes    = []string{"api_key.created", "api_key.deleted", "project.updated", "user.added"}
	auditProjects = []string{"proj_1", "proj_2", "proj_3"}
	auditSubjects = []string{"key_1", "key_2", "proj_1", "user-1"}
	auditActors   = []gatehouse.Actor{
		{Kind: gatehouse.ActorHost},
		{Kind: gatehouse.ActorKey, Key: "key_1", User: "user-1"},
		{Kind: gatehouse.ActorKey, Key: "key_2", User: "user-1"},
		{Kind: gatehouse.ActorKey, Key: "key_3", ServiceAccount: "svc_acct_1"},
	}
)

// matches says what store.AuditFilter means.
func matches(f *store.AuditFilter, ev *gatehouse.Event) bool {
	in := func(list []string, values ...string) bool {
		return len(list) == 0 || slices.ContainsFunc(values, func(v string) bool { return v != "" && slices.Contains(list, v) })
	}
	return ev.Organization == f.Organization && in(f.Types, ev.Type) && in(f.Projects, ev.Project) && in(f.Subjects, ev.SubjectID) &&
		in(f.Actors, ev.Actor.Key, ev.Actor.User, ev.Actor.ServiceAccount) && ev.At >= f.From && (f.Until == 0 || ev.At < f.Until)
}

// testAuditLog compares pages of random filters, walked in every direction, with what a reader of all events finds.
func testAuditLog(t *testing.T, db *store.DB) {
	for i := range 300 {
		ev := gatehouse.Event{Type: oneOf(auditTypes...), Organization: oneOf("org-a", "org-a", "org-b"), Project: oneOf(append(auditProjects, "")...), Actor: oneOf(auditActors...),
			SubjectID: oneOf(append(auditSubjects, "")...)}
		if _, err := db.Update(t.Context(), ev, func(*store.Tx) error { return nil }); err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
	var events []gatehouse.Event
	look(t, db, func(tx *store.Tx) (err error) {
		events, err = tx.EventsAfter(0, 1000)
		return err
	})
	slices.SortFunc(events, func(a, b gatehouse.Event) int {
		if a.At != b.At {
			return int(a.At - b.At)
		}
		return strings.Compare(a.ID, b.ID)
	})
	found := 0
	for range 150 {
		f := store.AuditFilter{Organization: oneOf("org-a", "org-b"), Types: some(auditTypes...), Projects: some(auditProjects...), Subjects: some(auditSubjects...),
			Actors: some("key_1", "key_2", "key_3", "user-1", "svc_acct_1", "user-2")}
		if rand.IntN(3) == 0 {
			f.From = oneOf(events...).At
		}
		if rand.IntN(3) == 0 {
			f.Until = oneOf(events...).At
		}
		var want []string
		for i := range events {
			if matches(&f, &events[i]) {
				want = append(want, events[i].ID)
			}
		}
		desc := rand.IntN(2) == 0
		if desc {
			slices.Reverse(want)
		}
		found += len(want)
		for _, back := range []bool{false, true} {
			if got := walkAudit(t, db, f, desc, back, 1+rand.IntN(40)); !slices.Equal(got, want) {
				t.Fatalf("%+v, descending %v, backward %v: got %d events, want %d\n%v\n%v", f, desc, back, len(got), len(want), got, want)
			}
		}
	}
	if found < 500 {
		t.Errorf("the filters found %d events, and were to find more", found)
	}
	look(t, db, func(tx *store.Tx) error {
		_, _, err := tx.AuditLog(store.AuditFilter{Organization: "org-a"}, store.Page{After: "audit_log-none"})
		if e := gatehouse.KindOf(err); e != gatehouse.Invalid {
			t.Errorf("a cursor that is not there: %v", err)
		}
		return nil
	})
}

// walkAudit reads a whole filter page by page and returns the ids in the order of the list.
func walkAudit(t *testing.T, db *store.DB, f store.AuditFilter, desc, back bool, limit int) (ids []string) {
	t.Helper()
	p := store.Page{Limit: limit, Desc: desc}
	if back { // from the list's end, which is the beginning of the list the other way round
		p.Desc = !desc
	}
	for n := 0; ; n++ {
		if n > 1000 {
			t.Fatal(fmt.Errorf("the list of %+v does not end", f))
		}
		var page []gatehouse.Event
		var more bool
		look(t, db, func(tx *store.Tx) (err error) {
			page, more, err = tx.AuditLog(f, p)
			return err
		})
		if back && n > 0 {
			slices.Reverse(page)
		}
		for i := range page {
			ids = append(ids, page[i].ID)
		}
		if !more {
			break
		}
		last := ids[len(ids)-1]
		if back {
			p = store.Page{Limit: limit, Desc: desc, Before: last}
		} else {
			p.After = last
		}
	}
	if back {
		slices.Reverse(ids)
	}
	return ids
}
