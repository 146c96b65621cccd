package admin_test

import (
	"context"
	"maps"
	"testing"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// TestServed grows with every change that lets another project reach an account, and with none does it shrink.
func TestServed(t *testing.T) {
	o := open(t)
	ctx := t.Context()
	first := o.found.Project.ID
	check := func(name string, want map[string]string) {
		t.Helper()
		found := 0
		err := o.db.View(context.Background(), func(tx *store.Tx) error {
			return tx.EachUpstream(func(u *gatehouse.Upstream) error {
				if u.Name == name && u.RemovedAt == 0 {
					found++
					if !maps.Equal(u.Served, want) {
						t.Errorf("%s served %v, want %v", name, u.Served, want)
					}
				}
				return nil
			})
		})
		if err != nil || found != 1 {
			t.Fatalf("%d upstreams %s, %v", found, name, err)
		}
	}
	put := func(name, credential string, projects ...string) *gatehouse.Upstream {
		t.Helper()
		return must[*gatehouse.Upstream](t)(o.PutUpstream(ctx, o.who, admin.UpstreamSpec{Name: name, Dialect: gatehouse.OpenAI, BaseURL: "https://api.example.com/v1", Credential: credential, Projects: projects}))
	}
	deploy := func(name, upstream string, projects ...string) {
		t.Helper()
		must[*gatehouse.Deployment](t)(o.PutDeployment(ctx, o.who, admin.DeploymentSpec{Name: name, Projects: projects, Routes: []admin.RouteSpec{{Upstream: upstream}}}))
	}
	project := func(name string) string {
		t.Helper()
		return must[*gatehouse.Project](t)(o.CreateProject(ctx, o.who, admin.ProjectRequest{Name: name})).ID
	}
	put("open", "env://OPEN")
	check("open", nil)
	deploy("m", "open")
	check("open", map[string]string{"env://OPEN": first})
	put("mine", "env://MINE", first)
	second := project("second")
	check("open", map[string]string{"env://OPEN": gatehouse.ServedMany})
	check("mine", map[string]string{"env://MINE": first})
	deploy("m", "open", first) // narrower: what was made is still there
	check("open", map[string]string{"env://OPEN": gatehouse.ServedMany})
	put("open", "env://OPEN2", first)
	check("open", map[string]string{"env://OPEN": gatehouse.ServedMany, "env://OPEN2": first})
	put("mine", "env://MINE", second)
	check("mine", map[string]string{"env://MINE": gatehouse.ServedMany})

	// A project's calls without a model reach an upstream that no deployment routes to.
	sent := put("sent", "")
	for i, want := range []string{second, gatehouse.ServedMany} {
		_, _, err := o.UpdateProject(ctx, o.who, []string{second, first}[i], admin.ProjectUpdate{Upstream: admin.Some(sent.ID)})
		if err != nil {
			t.Fatal(err)
		}
		check("sent", map[string]string{"https://api.example.com/v1": want})
	}
	m := must[*admin.Manifest](t)(admin.ParseManifest([]byte("upstreams:\n- {name: declared, dialect: openai, base_url: https://b.example.com/v1}\nprojects:\n- {name: third, upstream: declared}\n")))
	must[[]admin.PlanItem](t)(o.Apply(ctx, o.who, m, admin.ApplyOptions{}))
	var third string
	for _, p := range must[[]gatehouse.Project](t)(o.projects(ctx)) {
		if p.Name == "third" {
			third = p.ID
		}
	}
	check("declared", map[string]string{"https://b.example.com/v1": third})
	before := len(o.events(t))
	put("mine", "env://MINE", second)
	if n := len(o.events(t)); n != before {
		t.Errorf("what changes nothing wrote %d events", n-before)
	}
}

func (o *office) projects(ctx context.Context) (list []gatehouse.Project, err error) {
	err = o.db.View(ctx, func(tx *store.Tx) (err error) {
		list, _, err = tx.Projects(o.who.Organization, false, store.Page{Limit: 100})
		return err
	})
	return list, err
}
