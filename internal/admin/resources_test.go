package admin_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// TestResourceLife takes a resource from its creation to its end and looks at the events of each step.
func TestResourceLife(t *testing.T) {
	o := open(t)
	ctx := t.Context()
	project := o.found.Project.ID
	since := o.lastSeq(t)
	// types returns the types and subjects of what happened since it was last called, and checks that one transaction made it.
	types := func() (out []string) {
		t.Helper()
		at := gatehouse.Millis(0)
		for _, ev := range o.eventsAfter(t, since) {
			since = ev.Seq
			out = append(out, ev.Type+" "+ev.SubjectID)
			if at != 0 && ev.At != at {
				t.Error("events of one change have two times")
			}
			at = ev.At
			if ev.Project != project || ev.Organization != o.who.Organization {
				t.Errorf("event %s is of %s/%s", ev.Type, ev.Organization, ev.Project)
			}
		}
		o.now = o.now.Add(time.Hour)
		return out
	}
	info, keys, err := o.CreateResource(ctx, o.who, admin.ResourceRequest{Project: project, Name: "contoso", Region: "West Europe"})
	if err != nil {
		t.Fatal(err)
	}
	id := info.Resource.ID
	if info.Resource.Region != "westeurope" || info.Key1.ID != keys[0].Key.ID || info.Key2.ID != keys[1].Key.ID || keys[0].Value.Reveal() == keys[1].Value.Reveal() {
		t.Errorf("created %+v", info)
	}
	for i, k := range keys {
		if k.Key.Class != gatehouse.ClassAzure || k.Key.Slot != gatehouse.KeySlot(i+1) || k.Key.Owner() != id || k.Key.Project != project || k.Value.Reveal()[:12] != "sk-azure-gtk" {
			t.Errorf("key %d: %+v", i+1, k.Key)
		}
	}
	if got, want := types(), []string{"resource.created " + id, "api_key.created " + keys[0].Key.ID, "api_key.created " + keys[1].Key.ID}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}

	// What narrows a key narrows the one that takes its place.
	if _, _, err := o.UpdateKey(ctx, o.who, "", keys[0].Key.ID, admin.KeyUpdate{Models: admin.Some([]string{"gpt-4o"}), Scopes: admin.Some([]string{"model.request"}),
		AllowedIPs: admin.Some([]string{"10.0.0.0/8"}), Labels: admin.Some(map[string]string{"team": "a"}), Name: admin.Some("blue"), ExpiresIn: admin.Some(int64(7200))}); err != nil {
		t.Fatal(err)
	}
	types()
	after, fresh, effect, err := o.RegenerateKey(ctx, o.who, id, gatehouse.Key1)
	if err != nil || !effect.Everywhere {
		t.Fatalf("%+v, %v", effect, err)
	}
	if got, want := types(), []string{"resource.key_regenerated " + id, "api_key.deleted " + keys[0].Key.ID, "api_key.created " + fresh.Key.ID}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	k := fresh.Key
	if k.Slot != gatehouse.Key1 || k.Name != "blue" || k.Labels["team"] != "a" || !slices.Equal(k.Models, []string{"gpt-4o"}) || !slices.Equal(k.Scopes, []string{"model.request"}) ||
		len(k.AllowedIPs) != 1 || k.ExpiresAt-k.CreatedAt != 3*3600*1000 {
		t.Errorf("the new key is %+v", k)
	}
	if after.Key1.ID != k.ID || after.Key2.ID != keys[1].Key.ID || after.Key2.Rev != 1 {
		t.Errorf("after: %+v", after)
	}
	if old := must[*admin.KeyInfo](t)(o.Key(ctx, o.who, "", keys[0].Key.ID)); old.Key.State(gatehouse.MillisOf(o.now)) != gatehouse.Revoked || old.Resource.ID != id || !old.OwnerActive {
		t.Errorf("the old key: %+v", old)
	}

	// A key that was revoked by itself leaves its slot empty, and regenerating fills it.
	if _, err := o.RevokeKey(ctx, o.who, project, keys[1].Key.ID, 0); err != nil {
		t.Fatal(err)
	}
	types()
	if got := must[*admin.ResourceInfo](t)(o.Resource(ctx, o.who, id)); got.Key2 != nil || got.Key1 == nil {
		t.Errorf("after revoking: %+v", got)
	}
	_, second, _, err := o.RegenerateKey(ctx, o.who, id, gatehouse.Key2)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := types(), []string{"resource.key_regenerated " + id, "api_key.created " + second.Key.ID}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}

	if _, _, err := o.UpdateResource(ctx, o.who, id, admin.ResourceUpdate{Name: admin.Some("fabrikam"), Region: admin.Some("US")}); err != nil {
		t.Fatal(err)
	}
	if got, want := types(), []string{"resource.updated " + id}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	list, _, err := o.Resources(ctx, o.who, project, store.Page{})
	if err != nil || len(list) != 1 || list[0].Resource.Name != "fabrikam" || list[0].Resource.Region != "us" || list[0].Key1 == nil || list[0].Key2 == nil {
		t.Errorf("list %+v, %v", list, err)
	}
	if got, _, err := o.Keys(ctx, o.who, store.KeyFilter{Class: gatehouse.ClassAzure}, store.Page{}); err != nil || len(got) != 2 || got[0].Resource == nil {
		t.Errorf("keys %+v, %v", got, err)
	}

	if _, err := o.RemoveResource(ctx, o.who, id); err != nil {
		t.Fatal(err)
	}
	if got, want := types(), []string{"resource.deleted " + id, "api_key.deleted " + k.ID, "api_key.deleted " + second.Key.ID}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	for name, try := range map[string]func() error{
		"get":        func() error { _, err := o.Resource(ctx, o.who, id); return err },
		"regenerate": func() error { _, _, _, err := o.RegenerateKey(ctx, o.who, id, gatehouse.Key1); return err },
		"remove":     func() error { _, err := o.RemoveResource(ctx, o.who, id); return err },
		"update":     func() error { _, _, err := o.UpdateResource(ctx, o.who, id, admin.ResourceUpdate{}); return err },
	} {
		if err := try(); gatehouse.KindOf(err) != gatehouse.NotFound {
			t.Errorf("%s after its end: %v, want NotFound", name, err)
		}
	}
}

func TestResourceRefusals(t *testing.T) {
	o := open(t)
	ctx := t.Context()
	project := o.found.Project.ID
	info, _, err := o.CreateResource(ctx, o.who, admin.ResourceRequest{Project: project, Name: "contoso"})
	if err != nil {
		t.Fatal(err)
	}
	id := info.Resource.ID
	archived := must[*gatehouse.Project](t)(o.CreateProject(ctx, o.who, admin.ProjectRequest{Name: "old"}))
	ghost, _, err := o.CreateResource(ctx, o.who, admin.ResourceRequest{Project: archived.ID, Name: "ghost"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.ArchiveProject(ctx, o.who, archived.ID); err != nil {
		t.Fatal(err)
	}
	other := must[*admin.Founding](t)(o.Found(ctx, gatehouse.Host(""), "Other", "Eve", "eve@example.com"))
	eve := gatehouse.Host(other.Organization.ID)
	create := func(who *gatehouse.Principal, req admin.ResourceRequest) error {
		_, keys, err := o.CreateResource(ctx, who, req)
		if err != nil && (keys[0] != nil || keys[1] != nil) {
			t.Error("keys of a resource that was not made")
		}
		return err
	}
	seq := o.lastSeq(t)
	for name, c := range map[string]struct {
		want gatehouse.Kind
		err  error
	}{
		"no name":                        {gatehouse.Invalid, create(o.who, admin.ResourceRequest{Project: project})},
		"bad region":                     {gatehouse.Invalid, create(o.who, admin.ResourceRequest{Project: project, Name: "x", Region: "a/b"})},
		"no project":                     {gatehouse.NotFound, create(o.who, admin.ResourceRequest{Name: "x"})},
		"archived project":               {gatehouse.Invalid, create(o.who, admin.ResourceRequest{Project: archived.ID, Name: "x"})},
		"another organization's project": {gatehouse.NotFound, create(eve, admin.ResourceRequest{Project: project, Name: "x"})},
		"a name that is taken":           {gatehouse.Conflict, create(o.who, admin.ResourceRequest{Project: project, Name: "contoso"})},
		"no slot":                        {gatehouse.Invalid, func() error { _, _, _, err := o.RegenerateKey(ctx, o.who, id, 3); return err }()},
		"another organization's":         {gatehouse.NotFound, func() error { _, _, _, err := o.RegenerateKey(ctx, eve, id, gatehouse.Key1); return err }()},
		"of an archived project": {gatehouse.Invalid, func() error {
			_, _, _, err := o.RegenerateKey(ctx, o.who, ghost.Resource.ID, gatehouse.Key1)
			return err
		}()},
		"one key by itself": {gatehouse.Invalid, func() error {
			_, err := o.CreateKey(ctx, o.who, admin.KeyRequest{Class: gatehouse.ClassAzure, Project: project})
			return err
		}()},
		"as a project key": {gatehouse.Forbidden, create(&gatehouse.Principal{Organization: o.who.Organization, Class: gatehouse.ClassAzure, Actor: gatehouse.Actor{Kind: gatehouse.ActorKey, Key: info.Key1.ID}},
			admin.ResourceRequest{Project: project, Name: "x"})},
	} {
		if got := gatehouse.KindOf(c.err); got != c.want {
			t.Errorf("%s: %v (kind %v), want kind %v", name, c.err, got, c.want)
		}
	}
	if o.lastSeq(t) != seq {
		t.Error("a refusal changed something")
	}
}

// TestApplyResources declares resources and regions: no key is made, nothing is printed, and twice changes nothing.
func TestApplyResources(t *testing.T) {
	o := open(t)
	apply := func(text string) []admin.PlanItem {
		t.Helper()
		m, err := admin.ParseManifest([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return must[[]admin.PlanItem](t)(o.Apply(t.Context(), o.who, m, admin.ApplyOptions{}))
	}
	const manifest = "projects: [{name: shop, region: EU, resources: [{name: contoso, region: West Europe}, {name: fabrikam}]}]"
	plan, err := json.Marshal(apply(manifest))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(plan), `[{"action":"create","kind":"project","name":"shop"},{"action":"create","kind":"resource","name":"contoso"},{"action":"create","kind":"resource","name":"fabrikam"}]`; got != want {
		t.Errorf("plan %s\nwant %s", got, want)
	}
	if again := apply(manifest); len(again) != 0 {
		t.Errorf("the second time: %+v", again)
	}
	list, _, err := o.Resources(t.Context(), o.who, "", store.Page{})
	slices.SortFunc(list, func(a, b admin.ResourceInfo) int { return strings.Compare(a.Resource.Name, b.Resource.Name) })
	if err != nil || len(list) != 2 || list[0].Key1 != nil || list[0].Key2 != nil || list[0].Resource.Region != "westeurope" {
		t.Fatalf("resources %+v, %v", list, err)
	}
	p := must[*gatehouse.Project](t)(o.Project(t.Context(), o.who, list[0].Resource.Project))
	if p.Region != "eu" {
		t.Errorf("the project's region is %q", p.Region)
	}
	// What the manifest does not say is left alone; what it says differently changes.
	if got := apply("projects: [{name: shop, resources: [{name: contoso}]}]"); len(got) != 0 {
		t.Errorf("without regions: %+v", got)
	}
	changed := apply("projects: [{name: shop, region: us, resources: [{name: contoso, region: global}]}]")
	if len(changed) != 2 || changed[0].Changes[0] != "region" || changed[1].Kind != "resource" || changed[1].Changes[0] != "region" {
		t.Errorf("changed: %+v", changed)
	}
	for _, bad := range []string{
		"projects: [{name: shop, region: a/b}]", "projects: [{name: shop, resources: [{name: x, region: a/b}]}]", "projects: [{name: shop, resources: [{name: x}, {name: x}]}]",
		"projects: [{name: shop, resources: [{region: eu}]}]", "upstreams: [{name: a, dialect: mock, region: a/b}]",
	} {
		m, err := admin.ParseManifest([]byte(bad))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Apply(t.Context(), o.who, m, admin.ApplyOptions{}); gatehouse.KindOf(err) != gatehouse.Invalid {
			t.Errorf("%s: %v, want Invalid", bad, err)
		}
	}
	_, fresh, _, err := o.RegenerateKey(t.Context(), o.who, list[1].Resource.ID, gatehouse.Key2)
	if err != nil || fresh.Key.Name != "fabrikam Key2" {
		t.Errorf("the first key of a declared resource: %+v, %v", fresh, err)
	}
}
