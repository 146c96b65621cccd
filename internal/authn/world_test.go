package authn_test

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/authn"
	"gatehouse/internal/catalog"
	"gatehouse/internal/limit"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

const install = "t3st"

var here = netip.MustParseAddr("203.0.113.5")

// world is a real database, the catalog that follows it, and an Authenticator over both, with one organization in it: its default
// project and another, an owner, a member of the other project, a viewer of it, a stranger to it and a service account in it.
type world struct {
	tb      testing.TB
	db      *store.DB
	catalog *catalog.Catalog
	peppers *secret.Peppers
	auth    *authn.Authenticator
	now     atomic.Int64 // what the Authenticator takes for the time, in unix milliseconds

	failures  []authn.Failure
	incidents []authn.Incident

	org, otherOrg                    *gatehouse.Organization
	defaultProject, project, foreign *gatehouse.Project // foreign is the other organization's
	owner, member, viewer, stranger  *gatehouse.User
	account                          *gatehouse.ServiceAccount
	resource                         *gatehouse.Resource
}

func newWorld(tb testing.TB, change ...func(*authn.Config)) *world {
	tb.Helper()
	w := &world{tb: tb}
	ctx := context.Background()
	db, err := store.Open(ctx, "sqlite:"+filepath.Join(tb.TempDir(), "gatehouse.db"), store.Config{})
	must(tb, err)
	tb.Cleanup(func() { must(tb, db.Close()) })
	must(tb, db.Migrate(ctx))
	w.db = db
	w.peppers, err = secret.ParsePeppers(secret.NewPeppers())
	must(tb, err)

	w.catalog, err = catalog.Open(ctx, catalog.Config{DB: db, Node: "test", MaxStaleness: 2 * time.Minute, SingleNode: true})
	must(tb, err)
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- w.catalog.Run(running) }() // ends with the test
	tb.Cleanup(func() {
		stop()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			tb.Error(err)
		}
	})

	w.now.Store(time.Now().UnixMilli())
	c := authn.Config{
		Catalog: w.catalog, Peppers: w.peppers, Install: install, Now: func() time.Time { return time.UnixMilli(w.now.Load()) },
		AddressFailures: limit.Config{Burst: 1 << 20, Per: time.Minute, MaxKeys: 16},
		IDFailures:      limit.Config{Burst: 1 << 20, Per: time.Minute, MaxKeys: 16},
		OnFailure:       func(f authn.Failure) { w.failures = append(w.failures, f) },
		OnIncident:      func(i authn.Incident) { w.incidents = append(w.incidents, i) },
	}
	for _, f := range change {
		f(&c)
	}
	w.auth = authn.New(c)
	w.populate()
	return w
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func (w *world) populate() {
	w.tb.Helper()
	w.org = &gatehouse.Organization{ID: gatehouse.NewID(gatehouse.PrefixOrganization), Name: "one", DefaultProject: gatehouse.NewID(gatehouse.PrefixProject)}
	w.otherOrg = &gatehouse.Organization{ID: gatehouse.NewID(gatehouse.PrefixOrganization), Name: "two"}
	w.defaultProject = &gatehouse.Project{ID: w.org.DefaultProject, Organization: w.org.ID, Name: "default"}
	w.project = &gatehouse.Project{ID: gatehouse.NewID(gatehouse.PrefixProject), Organization: w.org.ID, Name: "project"}
	w.foreign = &gatehouse.Project{ID: gatehouse.NewID(gatehouse.PrefixProject), Organization: w.otherOrg.ID, Name: "foreign"}
	user := func(name string, role gatehouse.Role) *gatehouse.User {
		return &gatehouse.User{ID: gatehouse.NewID(gatehouse.PrefixUser), Organization: w.org.ID, Name: name, Role: role}
	}
	w.owner, w.member = user("owner", gatehouse.RoleOwner), user("member", gatehouse.RoleReader)
	w.viewer, w.stranger = user("viewer", gatehouse.RoleReader), user("stranger", gatehouse.RoleReader)
	w.account = &gatehouse.ServiceAccount{ID: gatehouse.NewID(gatehouse.PrefixServiceAccount), Organization: w.org.ID, Project: w.project.ID, Name: "account", Role: gatehouse.RoleMember}

	w.update(gatehouse.SubjectOrganization, w.org.ID, func(tx *store.Tx) error { return tx.CreateOrganization(w.org) })
	w.update(gatehouse.SubjectOrganization, w.otherOrg.ID, func(tx *store.Tx) error { return tx.CreateOrganization(w.otherOrg) })
	for _, p := range []*gatehouse.Project{w.defaultProject, w.project, w.foreign} {
		w.update(gatehouse.SubjectProject, p.ID, func(tx *store.Tx) error { return tx.CreateProject(p) })
	}
	for _, u := range []*gatehouse.User{w.owner, w.member, w.viewer, w.stranger} {
		w.update(gatehouse.SubjectUser, u.ID, func(tx *store.Tx) error { return tx.CreateUser(u) })
	}
	w.resource = &gatehouse.Resource{ID: gatehouse.NewID(gatehouse.PrefixResource), Organization: w.org.ID, Project: w.project.ID, Name: "resource"}
	w.update(gatehouse.SubjectResource, w.resource.ID, func(tx *store.Tx) error { return tx.CreateResource(w.resource) })
	w.join(w.owner, gatehouse.RoleOwner)
	w.join(w.member, gatehouse.RoleMember)
	w.join(w.viewer, gatehouse.RoleViewer)
	w.update(gatehouse.SubjectServiceAccount, w.account.ID, func(tx *store.Tx) error { return tx.CreateServiceAccount(w.account) })
}

func (w *world) join(u *gatehouse.User, role gatehouse.Role) *gatehouse.ProjectUser {
	w.tb.Helper()
	m := &gatehouse.ProjectUser{Project: w.project.ID, User: u.ID, Role: role}
	w.update(gatehouse.SubjectProjectUser, m.Project+"/"+m.User, func(tx *store.Tx) error { return tx.CreateProjectUser(m) })
	return m
}

// update commits one change and waits until the catalog has applied it.
func (w *world) update(kind gatehouse.SubjectKind, id string, fn func(*store.Tx) error) {
	w.tb.Helper()
	ev := gatehouse.Event{Type: "test.changed", Organization: w.org.ID, Actor: gatehouse.Actor{Kind: gatehouse.ActorHost}, Subject: kind, SubjectID: id}
	seq, err := w.db.Update(context.Background(), ev, fn)
	must(w.tb, err)
	w.settle(seq)
}

func (w *world) settle(seq int64) {
	w.tb.Helper()
	if effect := w.catalog.Settle(context.Background(), seq); !effect.Everywhere {
		w.tb.Fatalf("change %d was not applied: %+v", seq, effect)
	}
}

// issued is a key with its text.
type issued struct {
	gatehouse.Key
	text string
}

// in presents the key from an ordinary address.
func (k *issued) in() *authn.Presented { return &authn.Presented{Key: k.text, Addr: here} }

// draft makes a key of a class, owned as its class wants, without storing it.
func (w *world) draft(class gatehouse.Class, change ...func(*gatehouse.Key)) *issued {
	m := secret.Mint(class, install, w.peppers)
	k := &issued{text: m.Text.Reveal(), Key: gatehouse.Key{
		ID: m.ID, Class: class, Organization: w.org.ID, Name: "test", Redacted: m.Redacted, Digest: m.Digest, PepperVersion: m.PepperVersion,
	}}
	switch class {
	case gatehouse.ClassProject:
		k.Project, k.OwnerUser = w.project.ID, w.member.ID
	case gatehouse.ClassService:
		k.Project, k.OwnerServiceAccount = w.project.ID, w.account.ID
	case gatehouse.ClassUser:
		k.OwnerUser = w.member.ID
	case gatehouse.ClassAdmin:
		k.OwnerUser = w.owner.ID
	case gatehouse.ClassAzure:
		k.Project, k.OwnerResource, k.Slot = w.project.ID, w.resource.ID, gatehouse.Key1
	}
	for _, f := range change {
		f(&k.Key)
	}
	return k
}

// issue makes a key and stores it.
func (w *world) issue(class gatehouse.Class, change ...func(*gatehouse.Key)) *issued {
	w.tb.Helper()
	k := w.draft(class, change...)
	w.update(gatehouse.SubjectKey, k.ID, func(tx *store.Tx) error { return tx.CreateKey(&k.Key) })
	return k
}

// change changes a stored key.
func (w *world) change(k *issued, fn func(*gatehouse.Key)) {
	w.tb.Helper()
	fn(&k.Key)
	w.update(gatehouse.SubjectKey, k.ID, func(tx *store.Tx) error { return tx.SaveKey(&k.Key) })
}

// wrongSecret returns the text of another key with this key's id: well formed, and with a secret nobody issued.
func wrongSecret(k *issued) string {
	other := []byte(k.text)
	i := len(other) - 20
	if other[i] == 'A' {
		other[i] = 'B'
	} else {
		other[i] = 'A'
	}
	return resum(string(other))
}
