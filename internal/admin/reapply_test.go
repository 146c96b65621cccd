package admin_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/gatehousetest"
	"gatehouse/internal/admin"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// later is a subject as it was when the database was lost.
type later struct {
	kind  gatehouse.SubjectKind
	id    string
	state json.RawMessage
}

func standing(t testing.TB, db *store.DB, kind gatehouse.SubjectKind, id string) (state json.RawMessage) {
	t.Helper()
	if err := db.View(t.Context(), func(tx *store.Tx) (err error) {
		state, err = admin.Standing(tx, kind, id)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return state
}

// TestReapplyTakesAwayAgain: after a backup everything that grants something is narrowed in every way there is. In the restored
// backup the same is taken away again, and what was granted after it is not granted.
func TestReapplyTakesAwayAgain(t *testing.T) {
	o, ctx := open(t), t.Context()
	owner, org := o.found.Owner.ID, o.found.Organization.ID
	project := must[*gatehouse.Project](t)(o.CreateProject(ctx, o.who, admin.ProjectRequest{Name: "kept"}))
	archived := must[*gatehouse.Project](t)(o.CreateProject(ctx, o.who, admin.ProjectRequest{Name: "archived"}))
	key := func(req admin.KeyRequest) string {
		t.Helper()
		req.Class, req.Project, req.User = gatehouse.ClassProject, o.found.Project.ID, owner
		return must[*admin.NewKey](t)(o.CreateKey(ctx, o.who, req)).Key.ID
	}
	keys := map[string]string{"revoked": key(admin.KeyRequest{}), "suspended": key(admin.KeyRequest{}), "restricted": key(admin.KeyRequest{}), "shortened": key(admin.KeyRequest{}),
		"other models": key(admin.KeyRequest{Models: []string{"a", "b"}}), "widened": key(admin.KeyRequest{Models: []string{"a"}}), "untouched": key(admin.KeyRequest{Scopes: []string{"model.request"}})}
	removed := must[*gatehouse.User](t)(o.CreateUser(ctx, o.who, admin.UserRequest{Name: "Bob", Role: gatehouse.RoleOwner}))
	demoted := must[*gatehouse.User](t)(o.CreateUser(ctx, o.who, admin.UserRequest{Name: "Cem", Role: gatehouse.RoleOwner}))
	promoted := must[*gatehouse.User](t)(o.CreateUser(ctx, o.who, admin.UserRequest{Name: "Dee", Role: gatehouse.RoleReader}))
	for _, u := range []string{removed.ID, demoted.ID} {
		must[*admin.Member](t)(o.AddProjectUser(ctx, o.who, project.ID, u, gatehouse.RoleOwner))
	}
	account, _, err := o.CreateServiceAccount(ctx, o.who, project.ID, admin.ServiceAccountRequest{Name: "robot"})
	if err != nil {
		t.Fatal(err)
	}
	resource, _, err := o.CreateResource(ctx, o.who, admin.ResourceRequest{Project: project.ID, Name: "contoso"})
	if err != nil {
		t.Fatal(err)
	}
	put := func(name, base, credential string) *gatehouse.Upstream {
		t.Helper()
		return must[*gatehouse.Upstream](t)(o.PutUpstream(ctx, o.who, admin.UpstreamSpec{Name: name, Dialect: gatehouse.OpenAI, BaseURL: base, Credential: credential}))
	}
	moved, gone := put("moved", "https://old.example.com/v1", "env://OLD_API_KEY"), put("gone", "https://gone.example.com/v1", "env://GONE_API_KEY")
	deploy := func(name string, projects []string, upstreams ...string) *gatehouse.Deployment {
		t.Helper()
		spec := admin.DeploymentSpec{Name: name, Projects: projects}
		for _, u := range upstreams {
			spec.Routes = append(spec.Routes, admin.RouteSpec{Upstream: u})
		}
		return must[*gatehouse.Deployment](t)(o.PutDeployment(ctx, o.who, spec))
	}
	routed, ended, elsewhere := deploy("routed", nil, "moved", "gone"), deploy("ended", nil, "moved"), deploy("elsewhere", nil, "moved")
	sealed := must[string](t)(o.Seal(ctx, o.who, "s", secret.NewText("value-of-it")))

	role := func(name string, permissions ...string) string {
		t.Helper()
		return must[*gatehouse.AccessRole](t)(o.CreateRole(ctx, o.who, "", admin.RoleRequest{Name: name, Permissions: permissions})).ID
	}
	lessRole, goneRole := role("less", "api.users.write", "api.groups.read"), role("gone", "api.users.write")
	group, goneGroup := must[*gatehouse.Group](t)(o.CreateGroup(ctx, o.who, "group")), must[*gatehouse.Group](t)(o.CreateGroup(ctx, o.who, "gone"))
	for _, g := range []string{group.ID, goneGroup.ID} {
		must[*gatehouse.GroupUser](t)(o.AddGroupUser(ctx, o.who, g, promoted.ID))
		for _, r := range []string{lessRole, goneRole} {
			must[*admin.RoleAssigned](t)(o.AssignRole(ctx, o.who, "", "", g, r))
		}
	}

	invited, takenBack := must[*admin.NewInvite](t)(o.CreateInvite(ctx, o.who, admin.InviteRequest{Email: "a@example.com", Role: gatehouse.RoleReader})), must[*admin.NewInvite](t)(o.CreateInvite(ctx, o.who, admin.InviteRequest{Email: "b@example.com", Role: gatehouse.RoleReader}))

	provider := must[*gatehouse.IdentityProvider](t)(o.CreateIdentityProvider(ctx, o.who, admin.IdentityProviderUpdate{Name: admin.Some("ci"), Issuer: admin.Some("https://old.example.com"), Audience: admin.Some("a")}))
	looser := must[*gatehouse.FederationRule](t)(o.CreateFederationRule(ctx, o.who, provider.ID, admin.FederationRuleUpdate{Project: project.ID, ServiceAccount: account.ID, Matchers: admin.Some(map[string]any{"sub": "any"})}))
	bucket := &gatehouse.External{Kind: gatehouse.ExternalStorage, Project: project.ID, Provider: "aws", Settings: map[string]string{"bucket": "b", "role_arn": "arn:aws:iam::123456789012:role/r"}}
	if err := o.CreateExternal(ctx, o.who, bucket); err != nil {
		t.Fatal(err)
	}
	inProject := &gatehouse.Principal{Organization: org, Project: o.found.Project.ID, Class: gatehouse.ClassProject, Actor: gatehouse.Actor{Kind: gatehouse.ActorKey, Key: keys["untouched"]}}
	endpoint := func(name string) string {
		t.Helper()
		e, _, err := o.CreateEndpoint(ctx, inProject, admin.EndpointUpdate{Name: admin.Some(name), URL: admin.Some("https://old.example.com"), EventTypes: admin.Some([]string{"response.completed", "response.failed"})})
		if err != nil {
			t.Fatal(err)
		}
		return e.ID
	}
	aimed, dropped, rotated := endpoint("aimed"), endpoint("dropped"), endpoint("rotated")
	pem := func(name string) string { return gatehousetest.NewAuthority(t, name).PEM }
	kept, deleted := must[*gatehouse.Certificate](t)(o.CreateCertificate(ctx, o.who, "kept", pem("kept"))), must[*gatehouse.Certificate](t)(o.CreateCertificate(ctx, o.who, "gone", pem("gone")))

	var file bytes.Buffer
	if err := o.db.Dump(ctx, &file, &store.Backup{}); err != nil {
		t.Fatal(err)
	}
	seq := o.lastSeq(t)

	// From here on is what the backup does not have.
	do := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(o.RevokeKey(ctx, o.who, "", keys["revoked"], 0))
	_, _, err = o.SuspendKey(ctx, o.who, keys["suspended"])
	do(nil, err)
	update := func(id string, u admin.KeyUpdate) { _, _, err := o.UpdateKey(ctx, o.who, "", id, u); do(nil, err) }
	update(keys["restricted"], admin.KeyUpdate{Models: admin.Some([]string{"gpt-4o"}), AllowedIPs: admin.Some([]string{"203.0.113.0/24"}), Scopes: admin.Some([]string{"api.files.read"})})
	update(keys["shortened"], admin.KeyUpdate{ExpiresIn: admin.Some(int64(60))})
	update(keys["other models"], admin.KeyUpdate{Models: admin.Some([]string{"b", "c"})})
	update(keys["widened"], admin.KeyUpdate{Models: admin.Some([]string{})})
	do(o.RemoveUser(ctx, o.who, removed.ID))
	_, _, err = o.UpdateUser(ctx, o.who, demoted.ID, admin.UserUpdate{Role: admin.Some(gatehouse.RoleReader)})
	do(nil, err)
	_, _, err = o.UpdateUser(ctx, o.who, promoted.ID, admin.UserUpdate{Role: admin.Some(gatehouse.RoleOwner)})
	do(nil, err)
	do(o.AddProjectUser(ctx, o.who, project.ID, demoted.ID, gatehouse.RoleMember))
	_, _, err = o.UpdateRole(ctx, o.who, "", lessRole, admin.RoleUpdate{Permissions: admin.Some([]string{"api.groups.read"})})
	do(nil, err)
	do(nil, o.DeleteInvite(ctx, o.who, takenBack.Invite.ID))
	accepted := must[*admin.Accepted](t)(o.AcceptInvite(ctx, invited.Token.Reveal(), "Ann", gatehouse.Actor{}, "req_1"))
	do(o.DeleteRole(ctx, o.who, "", goneRole))
	do(o.DeleteGroup(ctx, o.who, goneGroup.ID))
	do(o.RemoveGroupUser(ctx, o.who, group.ID, promoted.ID))
	do(o.UnassignRole(ctx, o.who, "", "", group.ID, lessRole))
	do(o.RemoveServiceAccount(ctx, o.who, project.ID, account.ID))
	do(o.RemoveResource(ctx, o.who, resource.Resource.ID))
	_, _, err = o.UpdateProjectPolicy(ctx, o.who, project.ID, admin.PolicyUpdate{Models: admin.Some(gatehouse.ModelPermissions{Mode: gatehouse.AllowList, Models: []string{"gpt-4o"}}), Deny: gatehouse.ToolMCP,
		DataRetention: admin.Some(gatehouse.ZeroDataRetention)})
	do(nil, err)
	_, _, err = o.UpdateProjectPolicy(ctx, o.who, project.ID, admin.PolicyUpdate{EnabledTiers: admin.Some(gatehouse.ServiceTiers{Restricted: true, Enabled: []string{"flex"}})})
	do(nil, err)
	_, _, err = o.UpdateIdentityProvider(ctx, o.who, provider.ID, admin.IdentityProviderUpdate{Issuer: admin.Some("https://new.example.com"), Disabled: admin.Some(true)})
	do(nil, err)
	_, _, err = o.UpdateFederationRule(ctx, o.who, provider.ID, looser.ID, admin.FederationRuleUpdate{Matchers: admin.Some(map[string]any{"sub": "one"}), Scopes: admin.Some([]string{"model.request"})})
	do(nil, err)
	_, _, err = o.DeleteExternal(ctx, o.who, gatehouse.ExternalStorage, bucket.ID)
	do(nil, err)
	do(o.UpdateEndpoint(ctx, inProject, aimed, admin.EndpointUpdate{URL: admin.Some("https://new.example.com"), EventTypes: admin.Some([]string{"response.failed"})}))
	do(nil, o.DeleteEndpoint(ctx, inProject, dropped))
	resigned, _, err := o.RotateEndpoint(ctx, inProject, rotated, admin.Some(false))
	do(nil, err)
	minted := strings.TrimPrefix(resigned.Secret, "sealed://")
	fresh := must[*gatehouse.Certificate](t)(o.CreateCertificate(ctx, o.who, "fresh", pem("fresh")))
	for _, place := range []string{"", project.ID} {
		_, _, err = o.ToggleCertificates(ctx, o.who, place, []string{kept.ID, fresh.ID}, true)
		do(nil, err)
	}
	do(o.DeleteCertificate(ctx, o.who, deleted.ID))
	_, _, err = o.ArchiveProject(ctx, o.who, archived.ID)
	do(nil, err)
	put("moved", "https://new.example.com/v1", "env://NEW_API_KEY")
	late := put("late", "https://late.example.com/v1", "env://LATE_API_KEY")
	deploy("routed", []string{project.ID}, "moved")
	deploy("elsewhere", nil, "late")
	do(o.RemoveDeployment(ctx, o.who, "ended"))
	do(o.RemoveUpstream(ctx, o.who, "gone"))
	_, err = o.db.Update(ctx, gatehouse.Event{Type: "sealed_secret.deleted", Organization: org, Subject: gatehouse.SubjectSealed, SubjectID: sealed}, func(tx *store.Tx) error {
		row, err := tx.Sealed(sealed)
		if err != nil {
			return err
		}
		return tx.DeleteSealed(row)
	})
	do(nil, err)
	var changes []later
	for _, e := range o.eventsAfter(t, seq) {
		l := later{e.Subject, e.SubjectID, standing(t, o.db, e.Subject, e.SubjectID)}
		if !slices.ContainsFunc(changes, func(c later) bool { return c.kind == l.kind && c.id == l.id }) {
			changes = append(changes, l)
		}
	}

	db, err := store.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "restored.db"), store.Config{Now: func() time.Time { return o.now }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Restore(ctx, bytes.NewReader(file.Bytes()), store.Restoration{}); err != nil {
		t.Fatal(err)
	}
	peppers, err := secret.ParsePeppers(secret.NewPeppers())
	if err != nil {
		t.Fatal(err)
	}
	s := admin.New(admin.Config{DB: db, Peppers: peppers, Install: "abcd", Now: func() time.Time { return o.now }})
	system := &gatehouse.Principal{Actor: gatehouse.Actor{Kind: gatehouse.ActorSystem}, Organization: org}
	if _, err := s.Reapply(ctx, o.who, 1, "x", gatehouse.SubjectKey, keys["revoked"], json.RawMessage(`{"gone":true}`)); gatehouse.KindOf(err) != gatehouse.Forbidden {
		t.Errorf("an admin key may make changes again: %v", err)
	}
	for round, want := range []map[string]admin.Reapplied{
		{keys["widened"]: admin.AsItWas, promoted.ID: admin.AsItWas, late.ID: admin.Unknown, minted: admin.Unknown, accepted.User.ID: admin.Unknown, accepted.Key.Key.ID: admin.Unknown,
			o.found.Project.ID + "/" + accepted.User.ID: admin.Unknown},
		nil, // a second time there is nothing left to take away
	} {
		for _, c := range changes {
			got, err := s.Reapply(ctx, system, seq+1, "test.changed", c.kind, c.id, c.state)
			if err != nil {
				t.Fatalf("%s %s: %v", c.kind, c.id, err)
			}
			expect, ok := want[c.id]
			if !ok {
				expect = admin.Narrowed
				if round > 0 {
					expect = admin.AsItWas
				}
			}
			if round > 0 && (c.kind == gatehouse.SubjectSealed || c.id == late.ID || strings.HasSuffix(c.id, accepted.User.ID) || c.id == accepted.Key.Key.ID) {
				expect = admin.Unknown
			}
			if c.kind == gatehouse.SubjectProjectUser && expect == admin.Narrowed && got == admin.AsItWas {
				continue // a membership whose state is in the user's removal
			}
			if got != expect {
				t.Errorf("round %d: %s %s: outcome %d, want %d (%s)", round, c.kind, c.id, got, expect, c.state)
			}
		}
	}
	for _, c := range changes {
		if c.id == rotated || c.id == minted || c.id == keys["widened"] || c.id == keys["other models"] || c.id == promoted.ID || c.id == late.ID || c.id == elsewhere.ID || strings.HasSuffix(c.id, accepted.User.ID) || c.id == accepted.Key.Key.ID {
			continue
		}
		var got, want map[string]any
		if err := json.Unmarshal(standing(t, db, c.kind, c.id), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(c.state, &want); err != nil {
			t.Fatal(err)
		}
		for _, field := range []string{"gone", "suspended", "expires_at", "scopes", "models", "allowed_ips", "role", "policy", "permissions", "certificates", "identity_provider", "federation_rule"} {
			if g, w := asText(got[field]), asText(want[field]); g != w {
				t.Errorf("%s %s: %s is %s, want %s", c.kind, c.id, field, g, w)
			}
		}
	}
	err = db.View(ctx, func(tx *store.Tx) error {
		e, err := tx.WebhookEndpoint(aimed)
		if err != nil || e.RemovedAt != 0 || e.URL != "https://new.example.com" || !slices.Equal(e.EventTypes, []string{"response.failed"}) {
			t.Errorf("the endpoint that was aimed elsewhere: %+v, %v", e, err)
		}
		for _, id := range []string{dropped, rotated} {
			if e, err := tx.WebhookEndpoint(id); err != nil || e.RemovedAt == 0 {
				t.Errorf("an endpoint whose secret may be known: %+v, %v", e, err)
			}
		}
		k, err := tx.Key(keys["widened"])
		if err != nil || !slices.Equal(k.Models, []string{"a"}) {
			t.Errorf("the key that was widened later: %v, %v; want models [a]", k, err)
		}
		if k, err = tx.Key(keys["other models"]); err != nil || !slices.Equal(k.Models, []string{"b"}) {
			t.Errorf("the key that was given others: %v, %v; want models [b]", k, err)
		}
		u, err := tx.Upstream(moved.ID)
		if err != nil || u.BaseURL != "https://new.example.com/v1" || u.Credential != "env://NEW_API_KEY" {
			t.Errorf("the upstream that moved: %+v, %v", u, err)
		}
		d, err := tx.Deployment(routed.ID)
		if err != nil || !slices.Equal(d.Projects, []string{project.ID}) || len(d.Routes) != 1 || d.Routes[0].Upstream != moved.ID {
			t.Errorf("the deployment that was narrowed: %+v, %v", d, err)
		}
		if d, err = tx.Deployment(elsewhere.ID); err != nil || d.RemovedAt == 0 {
			t.Errorf("the deployment whose only upstream is not in the backup: %+v, %v; want it removed", d, err)
		}
		if d, err = tx.Deployment(ended.ID); err != nil || d.RemovedAt == 0 {
			t.Errorf("the deployment that ended: %+v, %v", d, err)
		}
		if u, err = tx.Upstream(gone.ID); err != nil || u.RemovedAt == 0 {
			t.Errorf("the upstream that was removed: %+v, %v", u, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func asText(v any) string {
	b, _ := json.Marshal(v) // it was JSON
	return string(b)
}

// TestRescueAdmin proves that an organization without a usable admin key gets one and that no other does.
func TestRescueAdmin(t *testing.T) {
	o, ctx := open(t), t.Context()
	host := gatehouse.Host(o.found.Organization.ID)
	if key, err := o.RescueAdmin(ctx, host); key != nil || err != nil {
		t.Errorf("with an admin key: %v, %v", key, err)
	}
	if _, err := o.RescueAdmin(ctx, o.who); gatehouse.KindOf(err) != gatehouse.Forbidden {
		t.Errorf("for an admin key: %v", err)
	}
	system := &gatehouse.Principal{Actor: gatehouse.Actor{Kind: gatehouse.ActorSystem}, Organization: o.found.Organization.ID}
	if _, err := o.Reapply(ctx, system, 1, "api_key.deleted", gatehouse.SubjectKey, o.found.AdminKey.Key.ID, json.RawMessage(`{"gone":true}`)); err != nil {
		t.Fatal(err)
	}
	key, err := o.RescueAdmin(ctx, host)
	if err != nil || key == nil || key.Key.Class != gatehouse.ClassAdmin || key.Key.OwnerUser != o.found.Owner.ID {
		t.Fatalf("without one: %+v, %v", key, err)
	}
	events := o.events(t)
	if last := events[len(events)-1]; last.Type != "api_key.created" || last.SubjectID != key.Key.ID {
		t.Errorf("event %+v", last)
	}
}
