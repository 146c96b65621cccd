package storetest

import (
	"reflect"
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
)

// testNodeHealth keeps what each running process last said, and drops what those said that are gone.
func testNodeHealth(t *testing.T, db *store.DB) {
	want := func(nodes ...gatehouse.NodeHealth) {
		t.Helper()
		look(t, db, func(tx *store.Tx) error {
			got, err := tx.NodeHealth()
			if len(got) != len(nodes) || len(got) > 0 && !reflect.DeepEqual(got, nodes) {
				t.Errorf("health of nodes\n got %+v\nwant %+v", got, nodes)
			}
			return err
		})
	}
	a := gatehouse.NodeHealth{Node: "a", Process: "a/1", At: 5, Routes: []gatehouse.RouteHealth{
		{Upstream: "upst_1", State: gatehouse.RouteOpen, Reason: "failures_in_a_row", Why: "it said \x00 and broke off", Since: 3, Until: 9, Requests: 5, Failures: 5},
		{Deployment: "dep_1", Upstream: "upst_2", Model: "m", State: gatehouse.RouteClosed, Requests: 7, FirstByteMillis: 12}}}
	b := gatehouse.NodeHealth{Node: "b", Process: "b/1", At: 6}
	want()

	// One node, without rows among the nodes: only the process that says something is there.
	record(t, db, store.Batch{Health: &gatehouse.NodeHealth{Node: "a", Process: "a/0", At: 4}})
	record(t, db, store.Batch{Health: &a})
	want(a)

	record(t, db, store.Batch{Node: &store.NodeBeat{ID: "a.1", Incarnation: "a/1"}})
	record(t, db, store.Batch{Node: &store.NodeBeat{ID: "b.1", Incarnation: "b/1"}, Health: &b})
	want(a, b)
	a.At, a.Routes = 8, a.Routes[:1]
	record(t, db, store.Batch{Health: &a})
	want(a, b)
	record(t, db, store.Batch{DropNode: "a.1"})
	want(b)
	record(t, db, store.Batch{Node: &store.NodeBeat{ID: "a.2", Incarnation: "a/1"}})
	want(a, b)
	record(t, db, store.Batch{DropNode: "a.2"})
	record(t, db, store.Batch{Health: &b})
	record(t, db, store.Batch{Node: &store.NodeBeat{ID: "a.3", Incarnation: "a/1"}})
	want(b) // what it had said is gone with it
}
