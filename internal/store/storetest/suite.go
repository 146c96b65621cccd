package storetest

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
)

// Run runs the suite that every engine must pass. open returns a new database with the schema in place, which is closed when tb
// ends.
func Run(t *testing.T, open func(tb testing.TB) *store.DB) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *store.DB)
	}{
		{"Entities", testEntities},
		{"TerminalStates", testTerminalStates},
		{"References", testReferences},
		{"TextThatCannotBeStored", testBadText},
		{"SearchesForNothing", testBadSearches},
		{"Lists", testLists},
		{"ListsWhileChanging", testListsWhileChanging},
		{"KeyFilters", testKeyFilters},
		{"LoadKeys", testLoadKeys},
		{"ResourceKeys", testResourceKeys},
		{"OrderIsByBytes", testByteOrder},
		{"Counts", testCounts},
		{"LastOwner", testLastOwner},
		{"Revisions", testRevisions},
		{"Meta", testMeta},
		{"AuditLog", testAuditLog},
		{"Events", testEvents},
		{"FailedChanges", testFailedChanges},
		{"DenseSequence", testDenseSequence},
		{"Snapshot", testSnapshot},
		{"UsageOnce", testUsageOnce},
		{"UsageOnceAtOnce", testUsageOnceAtOnce},
		{"ForeignText", testForeignText},
		{"UsageBuckets", testUsageBuckets},
		{"Requests", testRequests},
		{"PruneRequests", testPruneRequests},
		{"LastUsed", testLastUsed},
		{"Objects", testObjects},
		{"Work", testWork},
		{"WorkIsShared", testWorkIsShared},
		{"BatchInputs", testBatchInputs},
		{"Nodes", testNodes},
		{"NodeHealth", testNodeHealth},
		{"AlertsOnce", testAlertsOnce},
		{"Deliveries", testDeliveries},
		{"Duty", testDuty},
		{"Activity", testActivity},
		{"KeyUses", testKeyUses},
		{"AlertRules", testAlertRules},
		{"RecordAllOrNothing", testRecordAllOrNothing},
		{"BudgetEntities", testBudgetEntities},
		{"PriceEntities", testPriceEntities},
		{"Slices", testSlices},
		{"OpenWork", testOpenWork},
		{"CreditEntities", testCreditEntities},
		{"SpendAlertLists", testSpendAlertLists},
		{"CreditLedger", testCreditLedger},
		{"Grants", testGrants},
		{"MigrateAgain", testMigrateAgain},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// change makes a change of org-a that must succeed.
func change(t testing.TB, db *store.DB, fn func(*store.Tx) error) int64 {
	t.Helper()
	seq, err := db.Update(t.Context(), gatehouse.Event{Type: "test.changed", Organization: "org-a"}, fn)
	if err != nil {
		t.Fatalf("update: %v", err)
	}
	return seq
}

// refused makes a change of org-a that must fail with a kind.
func refused(t testing.TB, db *store.DB, want gatehouse.Kind, fn func(*store.Tx) error) {
	t.Helper()
	_, err := db.Update(t.Context(), gatehouse.Event{Type: "test.changed", Organization: "org-a"}, fn)
	if err == nil {
		t.Errorf("update succeeded, want an error of kind %v", want)
	} else if got := gatehouse.KindOf(err); got != want {
		t.Errorf("update: %v (kind %v), want kind %v", err, got, want)
	}
}

// look reads; nothing in it may fail.
func look(t testing.TB, db *store.DB, fn func(*store.Tx) error) {
	t.Helper()
	if err := db.View(t.Context(), fn); err != nil {
		t.Fatalf("view: %v", err)
	}
}

// record records a batch that must be taken.
func record(t testing.TB, db *store.DB, b store.Batch) {
	t.Helper()
	if err := db.Record(t.Context(), b); err != nil {
		t.Fatalf("record: %v", err)
	}
}

// seed makes two organizations, org-a with two projects and org-b with one, each project with a service account and each
// organization with a user.
func seed(t testing.TB, db *store.DB) {
	t.Helper()
	for _, org := range []struct {
		name     string
		projects []string
	}{{"a", []string{"1", "2"}}, {"b", []string{"3"}}} {
		change(t, db, func(tx *store.Tx) error {
			if err := tx.CreateOrganization(&gatehouse.Organization{ID: "org-" + org.name, Name: org.name}); err != nil {
				return err
			}
			if err := tx.CreateUser(&gatehouse.User{ID: "user-" + org.name, Organization: "org-" + org.name, Role: gatehouse.RoleOwner}); err != nil {
				return err
			}
			for _, p := range org.projects {
				if err := tx.CreateProject(&gatehouse.Project{ID: "proj_" + p, Organization: "org-" + org.name, Name: p}); err != nil {
					return err
				}
				if err := tx.CreateServiceAccount(&gatehouse.ServiceAccount{ID: "svc_acct_" + p, Organization: "org-" + org.name, Project: "proj_" + p}); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// serviceKey returns a key of project 1's service account.
func serviceKey(id string) *gatehouse.Key {
	k := &gatehouse.Key{ID: id, Class: gatehouse.ClassService, Organization: "org-a", Project: "proj_1", OwnerServiceAccount: "svc_acct_1", Name: id}
	copy(k.Digest[:], id)
	return k
}

// resourceKey returns a key of one of project 1's resources.
func resourceKey(id, resource string, slot gatehouse.KeySlot) *gatehouse.Key {
	k := &gatehouse.Key{ID: id, Class: gatehouse.ClassAzure, Organization: "org-a", Project: "proj_1", OwnerResource: resource, Slot: slot, Name: id}
	copy(k.Digest[:], id)
	return k
}

// fullKey returns a key with every field set that may be.
func fullKey(id string) *gatehouse.Key {
	k := serviceKey(id)
	k.Name = "Schlüssel 鍵 🔑 'quoted\" \\ <&>"
	k.Labels = map[string]string{"env": "prod", "cost_center": "4711", "note": "ünï"}
	k.Scopes = []string{"model.request", "api.all.read"}
	k.Models = []string{"gpt-4o", "*"}
	k.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	k.CreatedAt, k.ExpiresAt, k.SuspendedAt, k.RevokedAt = 1_700_000_000_001, 4_000_000_000_002, 1_700_000_000_003, 0
	k.Redacted, k.PepperVersion = "sk-svcacct-gtk...sQoA", 7
	for i := range k.Digest {
		k.Digest[i] = byte(255 - i)
	}
	return k
}

// ids returns what id makes of each element.
func ids[T any](list []T, id func(*T) string) []string {
	out := []string{}
	for i := range list {
		out = append(out, id(&list[i]))
	}
	return out
}

// atOnce runs fn n times at once and waits.
func atOnce(n int, fn func(i int)) {
	done := make(chan struct{})
	for i := range n {
		go func() { // ends with fn
			defer func() { done <- struct{}{} }()
			fn(i)
		}()
	}
	for range n {
		<-done
	}
}

func numbered(prefix string, i int) string { return fmt.Sprintf("%s%03d", prefix, i) }

func testMigrateAgain(t *testing.T, db *store.DB) {
	seed(t, db)
	errs := make([]error, 4)
	atOnce(len(errs), func(i int) { errs[i] = db.Migrate(context.WithoutCancel(t.Context())) })
	for _, err := range errs {
		if err != nil {
			t.Errorf("migrate again: %v", err)
		}
	}
	look(t, db, func(tx *store.Tx) error { _, err := tx.Project("proj_1"); return err })
}
