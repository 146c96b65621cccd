package admin_test

import (
	"testing"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// TestRewrapKeys: a digest changes with an event and nothing else does; whatever became of the key meanwhile stands.
func TestRewrapKeys(t *testing.T) {
	o := open(t)
	create := func(name string) *gatehouse.Key {
		k := must[*admin.NewKey](t)(o.CreateKey(t.Context(), o.who, admin.KeyRequest{Class: gatehouse.ClassProject, Project: o.found.Project.ID, User: o.found.Owner.ID, Name: name}))
		return &k.Key
	}
	good, revoked, other, newer := create("good"), create("revoked"), create("other digest"), create("newer")
	if _, err := o.RevokeKey(t.Context(), o.who, "", revoked.ID, gatehouse.ClassProject); err != nil {
		t.Fatal(err)
	}
	rewrap := func(k *gatehouse.Key, version int) secret.Rewrap {
		return secret.Rewrap{Key: k.ID, Organization: k.Organization, Was: k.Digest, Digest: [32]byte{byte(version), 7}, Version: version}
	}
	stray := rewrap(other, 2)
	stray.Was[0]++
	list := []secret.Rewrap{rewrap(revoked, 2), stray, rewrap(newer, 1), {Key: "key_unknownunkn", Version: 2}, rewrap(good, 2)}
	system := &gatehouse.Principal{Actor: gatehouse.Actor{Kind: gatehouse.ActorSystem}, Organization: o.who.Organization}
	if _, err := o.RewrapKeys(t.Context(), o.who, list); gatehouse.KindOf(err) != gatehouse.Forbidden {
		t.Errorf("an admin key may set digests: %v", err)
	}
	before := o.lastSeq(t)
	if n, err := o.RewrapKeys(t.Context(), system, list); err != nil || n != 1 {
		t.Fatalf("%d keys, %v; want the one that is as it was", n, err)
	}
	events := o.eventsAfter(t, before)
	if len(events) != 1 || events[0].Type != "api_key.rewrapped" || events[0].SubjectID != good.ID || events[0].Project != o.found.Project.ID || events[0].Actor.Kind != gatehouse.ActorSystem ||
		string(events[0].Change) != `{"pepper_version":2}` {
		t.Errorf("events: %+v", events)
	}
	read := func(id string) (k *gatehouse.Key) {
		if err := o.db.View(t.Context(), func(tx *store.Tx) (err error) {
			k, err = tx.Key(id)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return k
	}
	if k := read(good.ID); k.PepperVersion != 2 || k.Digest != list[4].Digest || k.Rev != good.Rev+1 || k.Name != good.Name || k.State(k.CreatedAt) != gatehouse.Active {
		t.Errorf("the key is %+v", k)
	}
	for _, k := range []*gatehouse.Key{revoked, other, newer} {
		if got := read(k.ID); got.Digest != k.Digest || got.PepperVersion != 1 {
			t.Errorf("key %q was digested anew", k.Name)
		}
	}
	if k := read(revoked.ID); k.RevokedAt == 0 {
		t.Error("a revoked key came back")
	}
	// Again: nothing to do, and no event.
	before = o.lastSeq(t)
	if n, err := o.RewrapKeys(t.Context(), system, list); err != nil || n != 0 || o.lastSeq(t) != before {
		t.Errorf("a second time: %d keys, %v, %d events", n, err, o.lastSeq(t)-before)
	}
}
