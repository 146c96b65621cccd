package catalog_test

import (
	"bytes"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/catalog"
	"gatehouse/internal/store"
	"gatehouse/internal/store/storetest"
)

// TestNodesLoadARestoredDatabase proves that nodes which run while their database is restored accept nothing by what was before,
// nor by a restore that has not ended, and go on with what was restored; and that changes reach them as before.
func TestNodesLoadARestoredDatabase(t *testing.T) {
	url := database(t, storetest.Postgres(t), 3)
	host := open(t, url)
	var file bytes.Buffer
	if err := host.Dump(t.Context(), &file, &store.Backup{}); err != nil {
		t.Fatal(err)
	}
	nodes := make([]*node, 2)
	for i := range nodes {
		nodes[i] = openNode(t, url, catalog.Config{Node: string(rune('a' + i)), MaxStaleness: 5 * time.Second}).run(t)
	}
	// What the backup does not have: a key, a revocation, a second change of a row.
	createKey(t, host, 3)
	if _, err := revokeKey(t.Context(), host, 0); err != nil {
		t.Fatal(err)
	}
	last, err := revokeKey(t.Context(), host, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		eventually(t, "the node follows", func() bool { return n.Applied() == last })
	}

	if _, err := host.Restore(t.Context(), bytes.NewReader(file.Bytes()), store.Restoration{Replace: true, Margin: 10}); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		eventually(t, "the node stops accepting", func() bool { return !n.Fresh() })
	}
	// The revocation is made again before anybody serves.
	if _, err := revokeKey(t.Context(), host, 0); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if n.Fresh() {
			t.Error("a node accepts while the restore goes on")
		}
	}
	ended, err := host.EndRestore(t.Context(), gatehouse.Event{Type: "installation.restored"})
	if err != nil {
		t.Fatal(err)
	}
	if ended <= last {
		t.Errorf("the event after the restore has number %d, not above %d", ended, last)
	}
	for _, n := range nodes {
		eventually(t, "the node accepts again", n.Fresh)
		if n.Applied() < ended {
			t.Errorf("a node accepts with %d applied, before %d", n.Applied(), ended)
		}
		now := gatehouse.Millis(0)
		if k := n.Key(publicID(0)); k == nil || k.State(now) != gatehouse.Revoked {
			t.Errorf("key 0, revoked again before the end = %+v", k)
		}
		if k := n.Key(publicID(1)); k == nil || k.State(now) != gatehouse.Active {
			t.Errorf("key 1 as in the backup = %+v", k)
		}
		if k := n.Key(publicID(3)); k != nil {
			t.Errorf("key 3, which the backup does not have = %+v", k)
		}
	}
	seq, err := revokeKey(t.Context(), nodes[0].db, 2)
	if err != nil {
		t.Fatal(err)
	}
	if effect := nodes[0].Settle(t.Context(), seq); !effect.Everywhere && effect.EffectiveBy == 0 {
		t.Errorf("effect = %+v", effect)
	}
	for _, n := range nodes {
		eventually(t, "a change after the restore arrives", func() bool { return n.Key(publicID(2)).State(0) == gatehouse.Revoked })
	}
	// The rows of before are silent for max_staleness; from then on a change is everywhere at once.
	eventually(t, "nobody waits for the rows of before", func() bool { return nodes[1].Settle(t.Context(), seq).Everywhere })
}

// TestOpenRefusesAnUnfinishedRestore proves that no node starts on a database whose restore did not end.
func TestOpenRefusesAnUnfinishedRestore(t *testing.T) {
	url := database(t, "sqlite:"+t.TempDir()+"/db", 1)
	db := open(t, url)
	var file bytes.Buffer
	if err := db.Dump(t.Context(), &file, &store.Backup{}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Restore(t.Context(), bytes.NewReader(file.Bytes()), store.Restoration{Replace: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := catalog.Open(t.Context(), catalog.Config{DB: db, Node: "a", SingleNode: true}); gatehouse.KindOf(err) != gatehouse.Unavailable {
		t.Errorf("Open = %v, want an error of kind unavailable", err)
	}
	if _, err := db.EndRestore(t.Context(), gatehouse.Event{Type: "installation.restored"}); err != nil {
		t.Fatal(err)
	}
	if _, err := catalog.Open(t.Context(), catalog.Config{DB: db, Node: "a", SingleNode: true}); err != nil {
		t.Errorf("Open after the end = %v", err)
	}
}

// TestACutOffNodeStopsAfterARestore proves that a node which cannot reach the database while that is restored accepts what it knew
// until its lease is over and no longer, that the others wait for it until then, and that it loads everything again when it is back.
func TestACutOffNodeStopsAfterARestore(t *testing.T) {
	url := database(t, storetest.Postgres(t), 2)
	host := open(t, url)
	var file bytes.Buffer
	if err := host.Dump(t.Context(), &file, &store.Backup{}); err != nil {
		t.Fatal(err)
	}
	link, through := through(t, url)
	const staleness = 3 * time.Second
	a, b := startNode(t, url, "a", staleness), startNode(t, through, "b", staleness)
	last := createKey(t, host, 2) // what the backup does not have
	eventually(t, "both nodes follow", func() bool { return a.Applied() == last && b.Applied() == last })
	link.cut()
	cut := time.Now()
	if _, err := host.Restore(t.Context(), bytes.NewReader(file.Bytes()), store.Restoration{Replace: true, Margin: 10}); err != nil {
		t.Fatal(err)
	}
	ended, err := host.EndRestore(t.Context(), gatehouse.Event{Type: "installation.restored"})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node that is there serves the backup", func() bool { return a.Fresh() && a.Applied() >= ended && a.Key(publicID(2)) == nil })
	seq, err := revokeKey(t.Context(), a.db, 0)
	if err != nil {
		t.Fatal(err)
	}
	if effect := a.Settle(t.Context(), seq); effect.Everywhere && b.Fresh() {
		t.Error("a revocation was said to be everywhere while a node from before the restore served")
	}
	eventually(t, "the node that is cut off stops", func() bool { return !b.Fresh() })
	if after := time.Since(cut); after > staleness+10*time.Second {
		t.Errorf("it stopped after %v, its lease was %v", after, staleness)
	}
	eventually(t, "nobody waits for it any more", func() bool { return a.Settle(t.Context(), seq).Everywhere })
	link.join()
	eventually(t, "it loads everything again", func() bool { return b.Fresh() && b.Applied() >= seq })
	if b.accepts(0) || b.accepts(2) || !b.accepts(1) {
		t.Errorf("it accepts keys 0, 1, 2: %v, %v, %v; want only 1", b.accepts(0), b.accepts(1), b.accepts(2))
	}
}
