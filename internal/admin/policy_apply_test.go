package admin_test

import (
	"slices"
	"testing"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// TestManifestOfPolicies: what a project may do is declared with it, changed by the next manifest, left alone where it is absent, and
// applied twice changes nothing.
func TestManifestOfPolicies(t *testing.T) {
	o, ctx := open(t), t.Context()
	apply := func(text string) (out []string) {
		t.Helper()
		m, err := admin.ParseManifest([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range must[[]admin.PlanItem](t)(o.Apply(ctx, o.who, m, admin.ApplyOptions{})) {
			out = append(out, i.Action+" "+i.Kind)
			out = append(out, i.Changes...)
		}
		return out
	}
	policy := func() gatehouse.ProjectPolicy {
		t.Helper()
		list, _, err := o.Projects(ctx, o.who, false, store.Page{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		return list[slices.IndexFunc(list, func(p gatehouse.Project) bool { return p.Name == "shop" })].Policy
	}
	const first = `projects: [{name: shop, models: {allow: [gpt-4o, o3]}, denied_tools: [mcp, web_search], data_retention: zero_data_retention}]
organization: {header_labels: [team], retention: {usage_days: 500}, data_retention: zero_data_retention}`
	for _, c := range []struct {
		manifest string
		plan     []string
	}{
		{first, []string{"update organization", "data_retention", "header_labels", "retention", "create project"}},
		{first, nil},
		{`projects: [{name: shop}]`, nil},
		{`projects: [{name: shop, models: {allow: [o3, gpt-4o]}}]`, nil}, // in another order
		{`projects: [{name: shop, models: {deny: [o3]}, denied_tools: [mcp]}]`, []string{"update project", "denied_tools", "model_permissions"}},
		{`projects: [{name: shop, models: {}, denied_tools: [], data_retention: organization_default}]`, []string{"update project", "data_retention", "denied_tools", "model_permissions"}},
	} {
		if got := apply(c.manifest); !slices.Equal(got, c.plan) {
			t.Errorf("%s: the plan is %v, want %v", c.manifest, got, c.plan)
		}
	}
	if p := policy(); p.Restricts() || p.DataRetention != "" {
		t.Errorf("at the end: %+v", p)
	}
	for _, bad := range []string{
		`projects: [{name: shop, models: {allow: [a], deny: [b]}}]`,
		`projects: [{name: shop, models: {allow: [a, a]}}]`,
		`projects: [{name: shop, denied_tools: [computer]}]`,
		`projects: [{name: new, data_retention: forever}]`,
		`organization: {data_retention: none}`,
	} {
		m, err := admin.ParseManifest([]byte(bad))
		if err == nil {
			_, err = o.Apply(ctx, o.who, m, admin.ApplyOptions{})
		}
		if gatehouse.KindOf(err) != gatehouse.Invalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
