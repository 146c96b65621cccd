package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
)

// testLastOwner lets every owner of an organization leave at once: one must be refused.
func testLastOwner(t *testing.T, db *store.DB) {
	const n = 12
	change(t, db, func(tx *store.Tx) error {
		if err := tx.CreateOrganization(&gatehouse.Organization{ID: "org-a"}); err != nil {
			return err
		}
		for i := range n {
			if err := tx.CreateUser(&gatehouse.User{ID: numbered("user-", i), Organization: "org-a", Role: gatehouse.RoleOwner}); err != nil {
				return err
			}
		}
		return nil
	})
	ctx := context.WithoutCancel(t.Context())
	errs := make([]error, n)
	atOnce(n, func(i int) {
		_, errs[i] = db.Update(ctx, gatehouse.Event{Type: "user.deleted", Organization: "org-a"}, func(tx *store.Tx) error {
			u, err := tx.User(numbered("user-", i))
			if err != nil {
				return err
			}
			owners, err := tx.CountActiveOwners("org-a")
			if err != nil {
				return err
			}
			if owners < 2 {
				return errStop
			}
			u.RemovedAt = tx.Now
			return tx.SaveUser(u)
		})
	})
	kept := 0
	for _, err := range errs {
		if err == errStop {
			kept++
		} else if err != nil {
			t.Error(err)
		}
	}
	look(t, db, func(tx *store.Tx) error {
		owners, err := tx.CountActiveOwners("org-a")
		if owners != 1 || kept != 1 {
			t.Errorf("%d owners are left and %d could not leave, want 1 and 1", owners, kept)
		}
		return err
	})
}

// testRevisions lets 50 writers change one key at once, first with what they read before, then with what they read inside.
func testRevisions(t *testing.T, db *store.DB) {
	seed(t, db)
	const n = 50
	key := serviceKey("key_1")
	change(t, db, func(tx *store.Tx) error { return tx.CreateKey(key) })
	ctx := context.WithoutCancel(t.Context())
	save := func(organization string, read func(*store.Tx) (*gatehouse.Key, error), i int) error {
		_, err := db.Update(ctx, gatehouse.Event{Type: "api_key.updated", Organization: organization}, func(tx *store.Tx) error {
			k, err := read(tx)
			if err != nil {
				return err
			}
			k.Name = numbered("writer-", i)
			return tx.SaveKey(k)
		})
		return err
	}

	var won, lost atomic.Int64
	atOnce(n, func(i int) {
		// Changes that name different organizations do not wait for each other: only the revision decides.
		err := save(numbered("org-", i), func(*store.Tx) (*gatehouse.Key, error) { k := *key; return &k, nil }, i)
		switch {
		case err == nil:
			won.Add(1)
		case gatehouse.KindOf(err) == gatehouse.Conflict:
			lost.Add(1)
		default:
			t.Error(err)
		}
	})
	if won.Load() != 1 || lost.Load() != n-1 {
		t.Errorf("%d writers of one revision succeeded and %d were refused, want 1 and %d", won.Load(), lost.Load(), n-1)
	}

	atOnce(n, func(i int) {
		if err := save("org-a", func(tx *store.Tx) (*gatehouse.Key, error) { return tx.Key("key_1") }, i); err != nil {
			t.Error(err)
		}
	})
	look(t, db, func(tx *store.Tx) error {
		k, err := tx.Key("key_1")
		if err == nil && k.Rev != n+2 {
			t.Errorf("rev is %d, want %d", k.Rev, n+2)
		}
		return err
	})
}

func testEvents(t *testing.T, db *store.DB) {
	var committed []int64
	var mu sync.Mutex
	db.OnCommit(func(seq int64) { mu.Lock(); defer mu.Unlock(); committed = append(committed, seq) })

	actor := gatehouse.Actor{Kind: gatehouse.ActorKey, Key: "key_1", User: "user-1", IP: "::1", UserAgent: "curl/8\x00\xff <&> ü"}
	primary := gatehouse.Event{Type: "api_key.created", Organization: "org-a", Project: "proj_1", Actor: actor, RequestID: "req_1", Subject: gatehouse.SubjectKey,
		Seq: 99, ID: "mine", At: 1}
	seq, err := db.Update(t.Context(), primary, func(tx *store.Tx) error {
		tx.Event().SubjectID = "key_2"
		tx.Event().Change = json.RawMessage(`{"b": 1, "a": "<&> 1e400 \u0000 \ud800", "n": 12345678901234567890}`)
		tx.Emit(gatehouse.Event{Type: "project.updated", Subject: gatehouse.SubjectProject, SubjectID: "proj_1"})
		tx.Emit(gatehouse.Event{Type: "test.other", Organization: "org-b", Actor: gatehouse.Actor{Kind: gatehouse.ActorSystem}, RequestID: "req_2"})
		return nil
	})
	if err != nil || seq != 3 {
		t.Fatalf("update: %d, %v; want 3", seq, err)
	}
	if want := []int64{3}; !reflect.DeepEqual(committed, want) {
		t.Errorf("OnCommit heard %v, want %v", committed, want)
	}
	look(t, db, func(tx *store.Tx) error {
		if tx.Event() != nil {
			t.Error("a view has an event")
		}
		events, err := tx.EventsAfter(0, 100)
		if err != nil || len(events) != 3 {
			t.Fatalf("events: %d, %v; want 3", len(events), err)
		}
		e := events[0]
		if !strings.HasPrefix(e.ID, gatehouse.PrefixEvent) || e.At == 1 || e.At == 0 || e.Seq != 1 || e.ID == events[1].ID {
			t.Errorf("event is not filled in: %+v", e)
		}
		want := primary
		want.Seq, want.ID, want.At, want.SubjectID = 1, e.ID, e.At, "key_2"
		want.Change = json.RawMessage(`{"b":1,"a":"<&> 1e400 \u0000 \ud800","n":12345678901234567890}`)
		want.Actor.UserAgent = "curl/8\x00\uFFFD <&> ü"
		if !reflect.DeepEqual(e, want) {
			t.Errorf("event\n got %+v\nwant %+v", e, want)
		}
		if e := events[1]; e.Seq != 2 || e.Organization != "org-a" || e.Actor != want.Actor || e.RequestID != "req_1" || e.Project != "" {
			t.Errorf("event does not inherit: %+v", e)
		}
		if e := events[2]; e.Seq != 3 || e.Organization != "org-b" || e.Actor.Kind != gatehouse.ActorSystem || e.RequestID != "req_2" {
			t.Errorf("event was overwritten: %+v", e)
		}
		body, err := tx.EventBytes(1)
		if err != nil {
			return err
		}
		wantBody := fmt.Sprintf(`{"seq":1,"id":"%s","type":"api_key.created","at":%d,"organization":"org-a","project":"proj_1","actor":{"kind":"api_key",`+
			`"key":"key_1","user":"user-1","ip":"::1","user_agent":"curl/8\u0000`+"\uFFFD"+` <&> ü"},"request_id":"req_1","subject":"api_key","subject_id":"key_2",`+
			`"change":{"b":1,"a":"<&> 1e400 \u0000 \ud800","n":12345678901234567890}}`, e.ID, e.At)
		wantBody = strings.Replace(wantBody, `"subject":"api_key"`, `"subject":"key"`, 1)
		// The replacement character is spelled out or escaped, as the encoder likes; it means the same.
		if got := strings.ReplaceAll(string(body), `\ufffd`, "\uFFFD"); got != wantBody {
			t.Errorf("canonical bytes\n got %s\nwant %s", got, wantBody)
		}
		if _, err := tx.EventBytes(4); gatehouse.KindOf(err) != gatehouse.NotFound {
			t.Errorf("bytes of no event: %v, want NotFound", err)
		}
		for _, c := range []struct {
			after int64
			limit int
			want  int
		}{{0, 2, 2}, {2, 10, 1}, {3, 10, 0}} {
			if events, err := tx.EventsAfter(c.after, c.limit); err != nil || len(events) != c.want {
				t.Errorf("events after %d, limit %d: %d, %v; want %d", c.after, c.limit, len(events), err, c.want)
			}
		}
		if last, err := tx.LastSeq(); last != 3 || err != nil {
			t.Errorf("last is %d, %v; want 3", last, err)
		}
		return nil
	})
}

// testFailedChanges proves that whatever stops a change leaves nothing of it: no row, no event, no number, no call of OnCommit.
func testFailedChanges(t *testing.T, db *store.DB) {
	seed(t, db)
	var before int64
	look(t, db, func(tx *store.Tx) (err error) { before, err = tx.LastSeq(); return err })
	db.OnCommit(func(seq int64) { t.Errorf("OnCommit heard %d", seq) })

	create := func(tx *store.Tx) error {
		return tx.CreateProject(&gatehouse.Project{ID: "proj_n", Organization: "org-a"})
	}
	ctx, cancel := context.WithCancel(t.Context())
	for _, c := range []struct {
		name  string
		event gatehouse.Event
		fn    func(*store.Tx) error
	}{
		{"no type", gatehouse.Event{}, create},
		{"an error of the function", gatehouse.Event{Type: "t"}, func(tx *store.Tx) error { _ = create(tx); return errStop }},
		{"an emitted event without a type", gatehouse.Event{Type: "t"}, func(tx *store.Tx) error { tx.Emit(gatehouse.Event{}); return create(tx) }},
		{"a type that was taken away", gatehouse.Event{Type: "t"}, func(tx *store.Tx) error { tx.Event().Type = ""; return create(tx) }},
		{"a change that is not JSON", gatehouse.Event{Type: "t", Change: json.RawMessage("{")}, create},
		{"a failed write that the function forgot", gatehouse.Event{Type: "t"}, func(tx *store.Tx) error {
			_ = tx.CreateProject(&gatehouse.Project{ID: "proj_1", Organization: "org-a"})
			_ = create(tx)
			return nil
		}},
		{"a cancelled context", gatehouse.Event{Type: "t"}, func(tx *store.Tx) error { err := create(tx); cancel(); return err }},
	} {
		t.Run(c.name, func(t *testing.T) {
			seq, err := db.Update(ctx, c.event, c.fn)
			if err == nil || seq != 0 {
				t.Errorf("update: %d, %v; want an error", seq, err)
			}
			look(t, db, func(tx *store.Tx) error {
				if _, err := tx.Project("proj_n"); gatehouse.KindOf(err) != gatehouse.NotFound {
					t.Errorf("the project is there: %v", err)
				}
				after, err := tx.LastSeq()
				if after != before {
					t.Errorf("the last number went from %d to %d", before, after)
				}
				return err
			})
		})
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the function's panic was swallowed")
			}
		}()
		_, _ = db.Update(t.Context(), gatehouse.Event{Type: "t"}, func(tx *store.Tx) error { _ = create(tx); panic("stop") })
	}()
	// The database is as usable as before; the number is the next.
	if err := db.View(t.Context(), func(tx *store.Tx) error { return create(tx) }); err == nil {
		t.Error("a view can write")
	}
	look(t, db, func(tx *store.Tx) error {
		if _, err := tx.Project("proj_n"); gatehouse.KindOf(err) != gatehouse.NotFound {
			t.Errorf("the project is there: %v", err)
		}
		return nil
	})
}

// testDenseSequence lets many change at once, some in vain, while a follower reads: the follower never meets a gap, which is what
// "commit order is sequence order" means to it, and every number belongs to exactly one change that happened.
func testDenseSequence(t *testing.T, db *store.DB) {
	const writers, changes = 8, 25
	for i := range 3 {
		change(t, db, func(tx *store.Tx) error {
			return tx.CreateOrganization(&gatehouse.Organization{ID: fmt.Sprintf("org-%d", i)})
		})
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	followed := make(chan int64)
	go func() { // ends after stop, with everything read
		var last int64
		for done := false; !done; {
			done = ctx.Err() != nil
			err := db.View(context.WithoutCancel(ctx), func(tx *store.Tx) error {
				events, err := tx.EventsAfter(last, 1000)
				for _, ev := range events {
					if ev.Seq != last+1 {
						t.Errorf("event %d follows %d", ev.Seq, last)
					}
					last = ev.Seq
				}
				return err
			})
			if err != nil {
				t.Error(err)
				break
			}
		}
		followed <- last
	}()
	var mu sync.Mutex
	seqs := map[int64]bool{1: true, 2: true, 3: true}
	atOnce(writers, func(w int) {
		for i := range changes {
			org := fmt.Sprintf("org-%d", (w+i)%3)
			seq, err := db.Update(context.WithoutCancel(ctx), gatehouse.Event{Type: "project.created", Organization: org}, func(tx *store.Tx) error {
				id := fmt.Sprintf("proj_%d_%d", w, i)
				tx.Event().SubjectID = id
				if err := tx.CreateProject(&gatehouse.Project{ID: id, Organization: org}); err != nil {
					return err
				}
				if i%5 == 4 {
					return errStop
				}
				if i%5 == 3 {
					tx.Emit(gatehouse.Event{Type: "test.more"})
				}
				return nil
			})
			switch {
			case i%5 == 4 && err != errStop, i%5 != 4 && err != nil:
				t.Error(err)
			case err == nil:
				mu.Lock()
				for n := range int64(1 + i%5/3) {
					if seqs[seq-n] {
						t.Errorf("number %d was given twice", seq-n)
					}
					seqs[seq-n] = true
				}
				mu.Unlock()
			}
		}
	})
	stop()
	last := <-followed
	if want := int64(3 + writers*changes/5*5); last != want || len(seqs) != int(want) {
		t.Errorf("the follower read up to %d and %d numbers were given, want %d", last, len(seqs), want)
	}
	look(t, db, func(tx *store.Tx) error {
		projects := 0
		err := tx.EachProject(func(*gatehouse.Project) error { projects++; return nil })
		if want := writers * changes / 5 * 4; projects != want {
			t.Errorf("%d projects, want %d", projects, want)
		}
		return err
	})
}

// testSnapshot proves that a view does not see what commits while it reads.
func testSnapshot(t *testing.T, db *store.DB) {
	seed(t, db)
	look(t, db, func(tx *store.Tx) error {
		count := func() (n int) {
			if err := tx.EachKey(func(*gatehouse.Key) error { n++; return nil }); err != nil {
				t.Fatal(err)
			}
			return n
		}
		seq, err := tx.LastSeq()
		if err != nil {
			return err
		}
		change(t, db, func(tx *store.Tx) error { return tx.CreateKey(serviceKey("key_1")) })
		if n := count(); n != 0 {
			t.Errorf("the view sees %d keys of a later commit", n)
		}
		if again, err := tx.LastSeq(); again != seq || err != nil {
			t.Errorf("the last number went from %d to %d in one view (%v)", seq, again, err)
		}
		return nil
	})
	look(t, db, func(tx *store.Tx) error { _, err := tx.Key("key_1"); return err })
}
