package admin_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// office is an installation without a node: a database, and the service that changes it.
type office struct {
	*admin.Service
	db    *store.DB
	now   time.Time
	found *admin.Founding
	who   *gatehouse.Principal
}

func open(t testing.TB) *office {
	t.Helper()
	return openAt(t, "sqlite:"+filepath.Join(t.TempDir(), "g.db"))
}

// openAt is open with a database of any engine.
func openAt(t testing.TB, url string) *office {
	t.Helper()
	o := &office{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return o.now }
	db, err := store.Open(t.Context(), url, store.Config{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	peppers, err := secret.ParsePeppers(secret.NewPeppers())
	if err != nil {
		t.Fatal(err)
	}
	keyring, err := secret.ParseKeyring(secret.NewKeyring())
	if err != nil {
		t.Fatal(err)
	}
	o.db = db
	o.Service = admin.New(admin.Config{DB: db, Peppers: peppers, Keyring: keyring, Install: secret.NewInstall(), Now: clock, CheckReference: func(ref string) error {
		if ref == "env://FORBIDDEN" {
			return gatehouse.Errorf(gatehouse.Invalid, "not allowed")
		}
		return nil
	}})
	if o.found, err = o.Found(t.Context(), gatehouse.Host(""), "Acme", "Ann", "ann@example.com"); err != nil {
		t.Fatal(err)
	}
	o.who = &gatehouse.Principal{Organization: o.found.Organization.ID, Class: gatehouse.ClassAdmin,
		Actor: gatehouse.Actor{Kind: gatehouse.ActorKey, Key: o.found.AdminKey.Key.ID, User: o.found.Owner.ID}}
	return o
}

func (o *office) events(t testing.TB) []gatehouse.Event {
	t.Helper()
	return o.eventsAfter(t, 0)
}

func (o *office) eventsAfter(t testing.TB, seq int64) (list []gatehouse.Event) {
	t.Helper()
	if err := o.db.View(context.Background(), func(tx *store.Tx) (err error) {
		list, err = tx.EventsAfter(seq, 100000)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

func (o *office) lastSeq(t testing.TB) (seq int64) {
	t.Helper()
	if err := o.db.View(context.Background(), func(tx *store.Tx) (err error) {
		seq, err = tx.LastSeq()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return seq
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestFoundingIsWholeAndAudited(t *testing.T) {
	o := open(t)
	var types []string
	for i, ev := range o.events(t) {
		if ev.Seq != int64(i+1) {
			t.Errorf("event %d has number %d: the sequence has a gap", i, ev.Seq)
		}
		if ev.Organization != o.found.Organization.ID {
			t.Errorf("%s belongs to organization %q", ev.Type, ev.Organization)
		}
		types = append(types, ev.Type)
	}
	slices.Sort(types)
	want := []string{"api_key.created", "organization.created", "project.created", "user.added", "user.added"}
	if !slices.Equal(types, want) {
		t.Errorf("events %v, want %v", types, want)
	}
	if _, err := o.Found(t.Context(), o.who, "Other", "Bob", ""); gatehouse.KindOf(err) != gatehouse.Forbidden {
		t.Errorf("an admin key founded an organization: %v", err)
	}
}

func TestTheLastOwnerAndTheLastAdminKeyStay(t *testing.T) {
	o := open(t)
	ctx := t.Context()
	owner, key := o.found.Owner.ID, o.found.AdminKey.Key.ID
	refused := func(what, code string, err error) {
		t.Helper()
		e, ok := errors.AsType[*gatehouse.Error](err)
		if !ok || e.Kind != gatehouse.Conflict || e.Code != code {
			t.Errorf("%s: got %v, want a conflict %s", what, err, code)
		}
	}
	_, err := o.RemoveUser(ctx, o.who, owner)
	refused("remove the last owner", "last_owner", err)
	_, _, err = o.UpdateUser(ctx, o.who, owner, admin.UserUpdate{Role: admin.Some(gatehouse.RoleReader)})
	refused("demote the last owner", "last_owner", err)
	_, err = o.RevokeKey(ctx, o.who, "", key, 0)
	refused("revoke the last admin key", "last_admin_key", err)
	_, _, err = o.SuspendKey(ctx, o.who, key)
	refused("suspend the last admin key", "last_admin_key", err)

	bob := must[*gatehouse.User](t)(o.CreateUser(ctx, o.who, admin.UserRequest{Name: "Bob", Role: gatehouse.RoleOwner}))
	_, err = o.RemoveUser(ctx, o.who, owner)
	refused("remove the owner of the last admin key", "last_admin_key", err)
	_, _, err = o.UpdateUser(ctx, o.who, owner, admin.UserUpdate{Role: admin.Some(gatehouse.RoleReader)})
	refused("demote the owner of the last admin key", "last_admin_key", err)

	must[*admin.NewKey](t)(o.CreateKey(ctx, o.who, admin.KeyRequest{Class: gatehouse.ClassAdmin, User: bob.ID}))
	if _, err := o.RemoveUser(ctx, o.who, owner); err != nil {
		t.Fatalf("with another owner and another admin key: %v", err)
	}
	if _, err := o.CreateProject(ctx, o.who, admin.ProjectRequest{Name: "late"}); gatehouse.KindOf(err) != gatehouse.Unauthenticated {
		t.Errorf("a revoked admin key changed something: %v", err)
	}
}

func TestOrganizationsDoNotSeeEachOther(t *testing.T) {
	o := open(t)
	ctx := t.Context()
	other := must[*admin.Founding](t)(o.Found(ctx, gatehouse.Host(""), "Other", "Eve", ""))
	eve := &gatehouse.Principal{Organization: other.Organization.ID, Class: gatehouse.ClassAdmin, Actor: gatehouse.Actor{Kind: gatehouse.ActorKey, Key: other.AdminKey.Key.ID, User: other.Owner.ID}}
	project := o.found.Project.ID
	account, key, err := o.CreateServiceAccount(ctx, o.who, project, admin.ServiceAccountRequest{Name: "bot", WithKey: true})
	if err != nil {
		t.Fatal(err)
	}
	up := must[*gatehouse.Upstream](t)(o.PutUpstream(ctx, o.who, admin.UpstreamSpec{Name: "openai", Dialect: gatehouse.OpenAI, BaseURL: "https://api.example.com/v1"}))
	before := len(o.events(t))
	attempts := map[string]func() error{
		"read project": func() error { _, err := o.Project(ctx, eve, project); return err },
		"rename project": func() error {
			_, _, err := o.UpdateProject(ctx, eve, project, admin.ProjectUpdate{Name: admin.Some("x")})
			return err
		},
		"archive project": func() error { _, _, err := o.ArchiveProject(ctx, eve, project); return err },
		"list accounts":   func() error { _, _, err := o.ServiceAccounts(ctx, eve, project, store.Page{}); return err },
		"remove account":  func() error { _, err := o.RemoveServiceAccount(ctx, eve, project, account.ID); return err },
		"read key":        func() error { _, err := o.Key(ctx, eve, "", key.Key.ID); return err },
		"revoke key":      func() error { _, err := o.RevokeKey(ctx, eve, "", key.Key.ID, 0); return err },
		"suspend key":     func() error { _, _, err := o.SuspendKey(ctx, eve, key.Key.ID); return err },
		"update key": func() error {
			_, _, err := o.UpdateKey(ctx, eve, "", key.Key.ID, admin.KeyUpdate{Name: admin.Some("x")})
			return err
		},
		"list keys": func() error {
			_, _, err := o.Keys(ctx, eve, store.KeyFilter{Project: project}, store.Page{})
			return err
		},
		"remove user":  func() error { _, err := o.RemoveUser(ctx, eve, o.found.Owner.ID); return err },
		"join project": func() error { _, err := o.AddProjectUser(ctx, eve, project, other.Owner.ID, ""); return err },
		"key in project": func() error {
			_, err := o.CreateKey(ctx, eve, admin.KeyRequest{Class: gatehouse.ClassProject, Project: project, User: other.Owner.ID})
			return err
		},
		"route to project": func() error {
			_, err := o.PutUpstream(ctx, eve, admin.UpstreamSpec{Name: "u", Dialect: gatehouse.Mock, Projects: []string{project}})
			return err
		},
		"route upstream": func() error {
			_, err := o.PutDeployment(ctx, eve, admin.DeploymentSpec{Name: "m", Routes: []admin.RouteSpec{{Upstream: up.Name}}})
			return err
		},
		"open sealed": func() error { _, err := o.OpenSealed(ctx, eve.Organization, "seal_unknown"); return err },
	}
	for name, attempt := range attempts {
		if kind := gatehouse.KindOf(attempt()); kind != gatehouse.NotFound && kind != gatehouse.Invalid {
			t.Errorf("%s: got kind %v, want not_found or invalid", name, kind)
		}
	}
	if after := len(o.events(t)); after != before {
		t.Errorf("refused attempts wrote %d events", after-before)
	}
}

const manifest = `
upstreams:
- name: openai
  dialect: openai
  base_url: https://api.example.com/v1
  credential: {key: env://OPENAI_API_KEY}
- name: play
  dialect: mock
deployments:
- name: gpt-4o
  projects: [checkout]
  routes:
  - {upstream: openai, model: gpt-4o-eu, weight: 3}
  - {upstream: play}
- name: "*"
  routes: [{upstream: play}]
projects:
- name: checkout
  labels: {env: prod}
  upstream: openai
  service_accounts: [{name: recommender}]
`

func TestApply(t *testing.T) {
	o := open(t)
	ctx := t.Context()
	m := must[*admin.Manifest](t)(admin.ParseManifest([]byte(manifest)))
	before := len(o.events(t))
	plan := must[[]admin.PlanItem](t)(o.Apply(ctx, o.who, m, admin.ApplyOptions{DryRun: true}))
	if len(plan) != 7 {
		t.Errorf("the plan has %d items, want 7: %v", len(plan), plan)
	}
	if n := len(o.events(t)); n != before {
		t.Errorf("a dry run wrote %d events", n-before)
	}
	applied := must[[]admin.PlanItem](t)(o.Apply(ctx, o.who, m, admin.ApplyOptions{}))
	if len(applied) != len(plan) {
		t.Errorf("applied %v, planned %v", applied, plan)
	}
	after := len(o.events(t))
	if served := 1; after != before+1+len(applied)+served { // the upstream can serve the project from now on
		t.Errorf("%d events for %d changes and the manifest", after-before, len(applied))
	}
	if again := must[[]admin.PlanItem](t)(o.Apply(ctx, o.who, m, admin.ApplyOptions{Prune: true})); len(again) != 0 {
		t.Errorf("a second time changed %v", again)
	}
	if n := len(o.events(t)); n != after {
		t.Errorf("a second time wrote %d events", n-after)
	}

	m.Deployments = m.Deployments[1:]
	m.Upstreams[0].Region = "eu"
	pruned := must[[]admin.PlanItem](t)(o.Apply(ctx, o.who, m, admin.ApplyOptions{Prune: true}))
	if len(pruned) != 2 || pruned[0].Action != "update" || !slices.Equal(pruned[0].Changes, []string{"region"}) || pruned[1].Action != "delete" || pruned[1].Name != "gpt-4o" {
		t.Errorf("pruned %v", pruned)
	}
}

func TestApplyIsAllOrNothing(t *testing.T) {
	o := open(t)
	before := len(o.events(t))
	for name, text := range map[string]string{
		"unknown upstream":    "upstreams: [{name: a, dialect: mock}]\ndeployments: [{name: m, routes: [{upstream: b}]}]",
		"no routes":           "upstreams: [{name: a, dialect: mock}]\ndeployments: [{name: m}]",
		"unknown project":     "upstreams: [{name: a, dialect: mock, projects: [nobody]}]",
		"bad dialect":         "upstreams: [{name: a, dialect: soap, base_url: https://example.com}]",
		"credential by http":  "upstreams: [{name: a, dialect: openai, base_url: http://example.com, credential: {key: env://K}}]",
		"credential in url":   "upstreams: [{name: a, dialect: openai, base_url: https://user:pass@example.com}]",
		"forbidden reference": "upstreams: [{name: a, dialect: openai, base_url: https://example.com, credential: {key: env://FORBIDDEN}}]",
		"declared twice":      "upstreams: [{name: a, dialect: mock}, {name: a, dialect: mock}]",
		"bad version":         "upstreams: [{name: a, dialect: azure, base_url: https://example.com, api_version: yesterday}]",
	} {
		m, err := admin.ParseManifest([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := o.Apply(t.Context(), o.who, m, admin.ApplyOptions{}); gatehouse.KindOf(err) != gatehouse.Invalid {
			t.Errorf("%s: got %v, want an invalid error", name, err)
		}
	}
	for name, text := range map[string]string{"unknown field": "upstreamz: []", "empty": "  ", "no yaml": "a: b: c"} {
		if _, err := admin.ParseManifest([]byte(text)); gatehouse.KindOf(err) != gatehouse.Invalid {
			t.Errorf("%s: got %v, want an invalid error", name, err)
		}
	}
	if n := len(o.events(t)); n != before {
		t.Errorf("refused manifests wrote %d events", n-before)
	}
}

func TestSealedSecretsOpenAsThemselvesOnly(t *testing.T) {
	o := open(t)
	id := must[string](t)(o.Seal(t.Context(), o.who, "openai", secret.NewText("the value")))
	text := must[secret.Text](t)(o.OpenSealed(t.Context(), o.who.Organization, id))
	if text.Reveal() != "the value" {
		t.Error("the secret came back changed")
	}
	if _, err := o.OpenSealed(t.Context(), "org-other", id); gatehouse.KindOf(err) != gatehouse.NotFound {
		t.Errorf("another organization opened it: %v", err)
	}
}

// modelKey is what the property test knows of a key.
type modelKey struct {
	id        string
	rev       int64
	revoked   bool
	expiresAt gatehouse.Millis
	suspended bool
	scopes    []string
}

func (k *modelKey) state(now gatehouse.Millis) gatehouse.State {
	switch {
	case k.revoked:
		return gatehouse.Revoked
	case k.expiresAt != 0 && now >= k.expiresAt:
		return gatehouse.Expired
	case k.suspended:
		return gatehouse.Suspended
	}
	return gatehouse.Active
}

// TestKeyLife drives keys through random lives and compares them with a model: terminal states absorb (K1), the state is a
// function of the moment and of nothing that sweeps (K3), revisions rise with every change and only then (K4), scopes change only by
// an audited update (K7), and every transition is exactly one event (K8).
func TestKeyLife(t *testing.T) {
	o := open(t)
	rapid.Check(t, func(rt *rapid.T) {
		ctx := context.Background()
		project := o.found.Project.ID
		account, _, err := o.CreateServiceAccount(ctx, o.who, project, admin.ServiceAccountRequest{Name: "bot"})
		if err != nil {
			rt.Fatal(err)
		}
		var keys []*modelKey
		pick := func(rt *rapid.T) *modelKey {
			if len(keys) == 0 {
				rt.Skip("no key yet")
			}
			return keys[rapid.IntRange(0, len(keys)-1).Draw(rt, "key")]
		}
		seen := o.lastSeq(t)
		// happened checks that exactly these events are new, all about one key.
		happened := func(rt *rapid.T, id string, types ...string) {
			list := o.eventsAfter(t, seen)
			seen += int64(len(list))
			var got []string
			for _, ev := range list {
				got = append(got, ev.Type)
				if ev.SubjectID != id {
					rt.Fatalf("event %s is about %s, want %s", ev.Type, ev.SubjectID, id)
				}
			}
			if !slices.Equal(got, types) {
				rt.Fatalf("events %v, want %v", got, types)
			}
		}
		final := func(k *modelKey) bool {
			s := k.state(gatehouse.MillisOf(o.now))
			return s == gatehouse.Revoked || s == gatehouse.Expired
		}
		rt.Repeat(map[string]func(*rapid.T){
			"create": func(rt *rapid.T) {
				seconds := rapid.SampledFrom([]int64{0, 1, 60, 3600}).Draw(rt, "expires")
				key, err := o.CreateKey(ctx, o.who, admin.KeyRequest{Class: gatehouse.ClassService, Project: project, ServiceAccount: account.ID, ExpiresIn: seconds})
				if err != nil {
					rt.Fatal(err)
				}
				keys = append(keys, &modelKey{id: key.Key.ID, rev: 1, expiresAt: key.Key.ExpiresAt})
				happened(rt, key.Key.ID, "api_key.created")
			},
			"revoke": func(rt *rapid.T) {
				k := pick(rt)
				_, err := o.RevokeKey(ctx, o.who, project, k.id, 0)
				switch {
				case k.revoked:
					if gatehouse.KindOf(err) != gatehouse.NotFound {
						rt.Fatalf("revoking twice: %v", err)
					}
					happened(rt, k.id)
				case err != nil:
					rt.Fatal(err)
				default:
					k.revoked = true
					k.rev++
					happened(rt, k.id, "api_key.deleted")
				}
			},
			"suspend": func(rt *rapid.T) {
				k := pick(rt)
				_, _, err := o.SuspendKey(ctx, o.who, k.id)
				if k.revoked {
					if err == nil {
						rt.Fatal("a revoked key was suspended")
					}
					happened(rt, k.id)
					return
				}
				if err != nil {
					rt.Fatal(err)
				}
				k.suspended = true
				k.rev++
				happened(rt, k.id, "api_key.suspended")
			},
			"resume": func(rt *rapid.T) {
				k := pick(rt)
				_, _, err := o.ResumeKey(ctx, o.who, k.id)
				if k.revoked {
					if err == nil {
						rt.Fatal("a revoked key was resumed")
					}
					happened(rt, k.id)
					return
				}
				if err != nil {
					rt.Fatal(err)
				}
				k.suspended = false
				k.rev++
				happened(rt, k.id, "api_key.resumed")
			},
			"restrict": func(rt *rapid.T) {
				k := pick(rt)
				scopes := rapid.SampledFrom([][]string{{}, {"model.request"}, {"api.all.read"}, {"api.files.read", "model.request"}}).Draw(rt, "scopes")
				_, _, err := o.UpdateKey(ctx, o.who, project, k.id, admin.KeyUpdate{Scopes: admin.Some(scopes)})
				if final(k) {
					if err == nil {
						rt.Fatal("a key that is over was changed")
					}
					happened(rt, k.id)
					return
				}
				if err != nil {
					rt.Fatal(err)
				}
				k.scopes = scopes
				k.rev++
				happened(rt, k.id, "api_key.updated")
			},
			"wait": func(rt *rapid.T) {
				o.now = o.now.Add(time.Duration(rapid.IntRange(1, 4000).Draw(rt, "seconds")) * time.Second)
			},
			"": func(rt *rapid.T) {
				for _, k := range keys {
					info, err := o.Key(ctx, o.who, project, k.id)
					if err != nil {
						rt.Fatal(err)
					}
					now := gatehouse.MillisOf(o.now)
					if got, want := info.Key.State(now), k.state(now); got != want {
						rt.Fatalf("key is %v, want %v", got, want)
					}
					if info.Key.Rev != k.rev {
						rt.Fatalf("revision %d, want %d", info.Key.Rev, k.rev)
					}
					if !slices.Equal(info.Key.Scopes, k.scopes) {
						rt.Fatalf("scopes %v, want %v", info.Key.Scopes, k.scopes)
					}
				}
			},
		})
	})
}

func TestRemovingAnOwnerRevokesItsKeysInTheSameChange(t *testing.T) {
	o := open(t)
	ctx := t.Context()
	project := o.found.Project.ID
	account, first, err := o.CreateServiceAccount(ctx, o.who, project, admin.ServiceAccountRequest{Name: "bot", WithKey: true})
	if err != nil {
		t.Fatal(err)
	}
	second := must[*admin.NewKey](t)(o.CreateKey(ctx, o.who, admin.KeyRequest{Class: gatehouse.ClassService, Project: project, ServiceAccount: account.ID}))
	before := len(o.events(t))
	if _, err := o.RemoveServiceAccount(ctx, o.who, project, account.ID); err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, ev := range o.events(t)[before:] {
		types = append(types, ev.Type)
	}
	slices.Sort(types)
	if want := []string{"api_key.deleted", "api_key.deleted", "service_account.deleted"}; !slices.Equal(types, want) {
		t.Errorf("events %v, want %v", types, want)
	}
	for _, id := range []string{first.Key.ID, second.Key.ID} {
		info, err := o.Key(ctx, o.who, "", id)
		if err != nil || info.Key.RevokedAt == 0 {
			t.Errorf("key %s is not revoked (%v)", id, err)
		}
	}
}

func TestBadInputIsExplained(t *testing.T) {
	o := open(t)
	ctx := t.Context()
	project := o.found.Project.ID
	tests := map[string]struct {
		param string
		do    func() error
	}{
		"empty name":      {"name", func() error { _, err := o.CreateProject(ctx, o.who, admin.ProjectRequest{}); return err }},
		"control in name": {"name", func() error { _, err := o.CreateProject(ctx, o.who, admin.ProjectRequest{Name: "a\x00b"}); return err }},
		"bidi in name": {"name", func() error {
			_, err := o.CreateProject(ctx, o.who, admin.ProjectRequest{Name: "a\u202eb"})
			return err
		}},
		"bad label": {"labels", func() error {
			_, err := o.CreateProject(ctx, o.who, admin.ProjectRequest{Name: "a", Labels: map[string]string{"A b": "c"}})
			return err
		}},
		"bad role": {"role", func() error {
			_, err := o.CreateUser(ctx, o.who, admin.UserRequest{Name: "B", Role: "king"})
			return err
		}},
		"bad email": {"email", func() error {
			_, err := o.CreateUser(ctx, o.who, admin.UserRequest{Name: "B", Email: "nobody"})
			return err
		}},
		"bad scope": {"scopes", func() error {
			_, err := o.CreateKey(ctx, o.who, admin.KeyRequest{Class: gatehouse.ClassUser, User: o.found.Owner.ID, Scopes: []string{"a b"}})
			return err
		}},
		"bad range": {"allowed_ips", func() error {
			_, err := o.CreateKey(ctx, o.who, admin.KeyRequest{Class: gatehouse.ClassUser, User: o.found.Owner.ID, AllowedIPs: []string{"10.0.0.0/33"}})
			return err
		}},
		"too long a life": {"expires_in_seconds", func() error {
			_, err := o.CreateKey(ctx, o.who, admin.KeyRequest{Class: gatehouse.ClassUser, User: o.found.Owner.ID, ExpiresIn: 31536001})
			return err
		}},
		"not a member": {"user_id", func() error {
			bob, err := o.CreateUser(ctx, o.who, admin.UserRequest{Name: "Bob"})
			if err != nil {
				return err
			}
			_, err = o.CreateKey(ctx, o.who, admin.KeyRequest{Class: gatehouse.ClassProject, Project: project, User: bob.ID})
			return err
		}},
		"azure by itself": {"class", func() error {
			_, err := o.CreateKey(ctx, o.who, admin.KeyRequest{Class: gatehouse.ClassAzure, Project: project})
			return err
		}},
	}
	for name, tt := range tests {
		e, ok := errors.AsType[*gatehouse.Error](tt.do())
		if !ok || e.Kind != gatehouse.Invalid || e.Param != tt.param || e.Message == "" {
			t.Errorf("%s: got %v, want an invalid error about %s", name, e, tt.param)
		}
	}
	if _, _, err := o.ArchiveProject(ctx, o.who, project); gatehouse.KindOf(err) != gatehouse.Invalid {
		t.Errorf("the default project was archived: %v", err)
	}
	p := must[*gatehouse.Project](t)(o.CreateProject(ctx, o.who, admin.ProjectRequest{Name: "old"}))
	if _, _, err := o.ArchiveProject(ctx, o.who, p.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.CreateServiceAccount(ctx, o.who, p.ID, admin.ServiceAccountRequest{Name: "late"}); gatehouse.KindOf(err) != gatehouse.Invalid {
		t.Errorf("an archived project got a service account: %v", err)
	}
}
