package denials

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// world is a log of denials over a database with two organizations, of which org-1 is the older.
type world struct {
	*Log
	db  *store.DB
	now time.Time
}

func newWorld(t *testing.T) *world {
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "gatehouse.db"), store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, id := range []string{"org-1", "org-2"} {
		_, err := db.Update(t.Context(), gatehouse.Event{Type: "organization.created", Organization: id}, func(tx *store.Tx) error {
			return tx.CreateOrganization(&gatehouse.Organization{ID: id, CreatedAt: gatehouse.Millis(i + 1)})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	w := &world{db: db, now: time.Unix(1_800_000_000, 0)}
	w.Log = New(Config{DB: db, Now: func() time.Time { return w.now }, Logger: slog.New(slog.DiscardHandler)})
	return w
}

// written returns an organization's denials, the oldest first, and what each says.
func (w *world) written(t *testing.T, organization string) (events []gatehouse.Event, changes []change) {
	t.Helper()
	err := w.db.View(context.WithoutCancel(t.Context()), func(tx *store.Tx) (err error) {
		events, _, err = tx.AuditLog(store.AuditFilter{Organization: organization, Types: []string{Unauthenticated, Forbidden}}, store.Page{Limit: 1000})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		var c change
		if err := json.Unmarshal(events[i].Change, &c); err != nil {
			t.Fatal(err)
		}
		changes = append(changes, c)
	}
	return events, changes
}

// TestTheSameAgainIsOneEvent: what is refused again and again from one address with one key is counted, with its reasons; what is of no
// organization is in the first one's log.
func TestTheSameAgainIsOneEvent(t *testing.T) {
	w := newWorld(t)
	addr := netip.MustParseAddr("192.0.2.7")
	for i := range 1000 {
		w.Note(Denial{Type: Unauthenticated, Organization: "org-2", Project: "proj_1", Actor: gatehouse.Actor{Kind: gatehouse.ActorNobody, Key: "key_1"}, Addr: addr, Reason: []string{"secret_wrong", "too_many_failures"}[min(i/60, 1)]})
		w.now = w.now.Add(time.Millisecond)
	}
	w.Note(Denial{Type: Unauthenticated, Actor: gatehouse.Actor{Kind: gatehouse.ActorNobody}, Addr: addr, Reason: "key_malformed"})
	w.Note(Denial{Type: Forbidden, Organization: "org-2", Actor: gatehouse.Actor{Kind: gatehouse.ActorKey, Key: "key_2", User: "user-1"}, Addr: addr, Reason: "POST /v1/organization/projects"})
	if full := w.write(t.Context()); full {
		t.Error("three pairs are too many")
	}
	events, changes := w.written(t, "org-2")
	i := slices.IndexFunc(events, func(e gatehouse.Event) bool { return e.Type == Unauthenticated })
	if len(events) != 2 || i < 0 {
		t.Fatalf("events %+v", events)
	}
	if e, c := events[i], changes[i]; e.SubjectID != "key_1" || e.Project != "proj_1" || e.Actor.IP != "192.0.2.7" || e.Actor.Kind != gatehouse.ActorNobody || c.Count != 1000 ||
		c.Reasons["secret_wrong"] != 60 || c.Reasons["too_many_failures"] != 940 || c.FirstAt != 1_800_000_000 {
		t.Errorf("%+v: %+v", e, c)
	}
	if e, c := events[1-i], changes[1-i]; e.Actor.User != "user-1" || e.Actor.Key != "key_2" || c.Reasons["POST /v1/organization/projects"] != 1 {
		t.Errorf("%+v: %+v", e, c)
	}
	if events, changes := w.written(t, "org-1"); len(events) != 1 || changes[0].Reasons["key_malformed"] != 1 {
		t.Errorf("of no organization: %+v", events)
	}
	if w.write(t.Context()); len(w.open) != 0 {
		t.Error("it is counted on")
	}
	if events, _ := w.written(t, "org-2"); len(events) != 2 {
		t.Errorf("it was written twice: %+v", events)
	}
}

// TestAFloodIsBounded: 200,000 refusals from as many addresses are few events, and none is uncounted.
func TestAFloodIsBounded(t *testing.T) {
	w := newWorld(t)
	const n = 200_000
	for i := range n {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		w.Note(Denial{Type: Unauthenticated, Actor: gatehouse.Actor{Kind: gatehouse.ActorNobody, Key: fmt.Sprintf("key_%d", i%70_000)}, Addr: addr, Reason: fmt.Sprintf("rule %d", i%20)})
	}
	if len(w.open) != maxPairs || len(w.rest) != 1 {
		t.Errorf("%d pairs and %d others are kept", len(w.open), len(w.rest))
	}
	if !w.write(t.Context()) {
		t.Error("nobody was told that there are too many")
	}
	events, changes := w.written(t, "org-1")
	var sum int64
	for _, c := range changes {
		sum += c.Count
		if len(c.Reasons) > maxReasons+1 {
			t.Errorf("%d reasons", len(c.Reasons))
		}
	}
	if len(events) != maxPairs+1 || sum != n {
		t.Errorf("%d events that count %d refusals", len(events), sum)
	}
}

// TestWhatWasCountedIsWrittenAtTheEnd: a node that stops takes nothing with it.
func TestWhatWasCountedIsWrittenAtTheEnd(t *testing.T) {
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	w.Note(Denial{Type: Unauthenticated, Organization: "org-2", Actor: gatehouse.Actor{Kind: gatehouse.ActorNobody}, Addr: netip.MustParseAddr("2001:db8::1"), Reason: "key_unknown"})
	stop()
	w.Run(ctx)
	if events, _ := w.written(t, "org-2"); len(events) != 1 {
		t.Errorf("events %+v", events)
	}
}
