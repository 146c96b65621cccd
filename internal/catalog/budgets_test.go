package catalog

import (
	"slices"
	"testing"

	"gatehouse"
)

// TestBudgetsThatBindAKey holds the chain to what binds a key: its organization, project, owner, itself and the labels of both, and
// nothing that was removed or is another's.
func TestBudgetsThatBindAKey(t *testing.T) {
	r := newReplica()
	c := &Catalog{replica: r}
	r.putOrganization(&gatehouse.Organization{ID: "org-1", TimeZone: "Asia/Tokyo", Rev: 1})
	r.putProject(&gatehouse.Project{ID: "proj_1", Organization: "org-1", Labels: map[string]string{"team": "search", "env": "prod"}, Rev: 1})
	r.putProject(&gatehouse.Project{ID: "proj_2", Organization: "org-1", Rev: 1})
	row := testKey(1)
	row.Organization, row.Project, row.OwnerUser, row.OwnerServiceAccount = "org-1", "proj_1", "user-1", ""
	row.Labels, row.Rev = map[string]string{"env": "test", "tier": "gold"}, 1
	r.putKey(row)
	for _, b := range []gatehouse.Budget{
		{ID: "b_org", Scope: gatehouse.ScopeOrganization, Subject: "org-1"},
		{ID: "b_project", Scope: gatehouse.ScopeProject, Subject: "proj_1"},
		{ID: "b_other_project", Scope: gatehouse.ScopeProject, Subject: "proj_2"},
		{ID: "b_user", Scope: gatehouse.ScopeUser, Subject: "user-1"},
		{ID: "b_account", Scope: gatehouse.ScopeServiceAccount, Subject: "user-1"},
		{ID: "b_key", Scope: gatehouse.ScopeKey, Subject: row.ID},
		{ID: "b_key_gone", Scope: gatehouse.ScopeKey, Subject: row.ID, RemovedAt: 1},
		{ID: "b_label_project", Scope: gatehouse.ScopeLabel, Subject: "env=prod"},
		{ID: "b_label_key", Scope: gatehouse.ScopeLabel, Subject: "tier=gold"},
		{ID: "b_label_none", Scope: gatehouse.ScopeLabel, Subject: "team=ads"},
	} {
		b.Organization, b.Rev = "org-1", 1
		r.putBudget(&b)
	}
	r.compile()
	binds := func(project string) (ids []string) {
		t.Helper()
		for _, b := range c.Budgets(c.Key(row.ID[len(gatehouse.PrefixKey):]), project) {
			ids = append(ids, b.ID)
			if b.Zone == nil || b.Zone.String() != "Asia/Tokyo" {
				t.Errorf("budget %s is counted in zone %v", b.ID, b.Zone)
			}
		}
		slices.Sort(ids)
		return ids
	}
	if got, want := binds("proj_1"), []string{"b_key", "b_label_key", "b_label_project", "b_org", "b_project", "b_user"}; !slices.Equal(got, want) {
		t.Errorf("in proj_1: %v, want %v", got, want)
	}
	if got, want := binds("proj_2"), []string{"b_key", "b_label_key", "b_org", "b_other_project", "b_user"}; !slices.Equal(got, want) {
		t.Errorf("in proj_2: %v, want %v", got, want)
	}
	key := c.Key(row.ID[len(gatehouse.PrefixKey):])
	if n := testing.AllocsPerRun(100, func() { c.Budgets(key, "proj_1") }); n > 0 {
		t.Errorf("a chain that is known allocates %v times", n)
	}

	// Every change is seen: of a label, of a budget.
	project := *c.Project("proj_1")
	project.Labels, project.Rev = map[string]string{"team": "ads"}, 2
	r.putProject(&project)
	if got := binds("proj_1"); !slices.Contains(got, "b_label_none") || slices.Contains(got, "b_label_project") {
		t.Errorf("after another label of the project: %v", got)
	}
	// A group's budget binds the keys of who is in it, as long as they are and there is one.
	group := func(rev int64, removed gatehouse.Millis) {
		r.putGroup(&gatehouse.Group{ID: "group_1", Organization: "org-1", Rev: rev, RemovedAt: removed})
		r.compile()
	}
	in := func(rev int64, removed gatehouse.Millis) {
		r.putGroupUser(&gatehouse.GroupUser{Group: "group_1", User: "user-1", Organization: "org-1", Rev: rev, RemovedAt: removed})
		r.compile()
	}
	group(1, 0)
	in(1, 0)
	r.putBudget(&gatehouse.Budget{ID: "b_group", Organization: "org-1", Scope: gatehouse.ScopeGroup, Subject: "group_1", Rev: 1})
	r.putBudget(&gatehouse.Budget{ID: "b_other_group", Organization: "org-1", Scope: gatehouse.ScopeGroup, Subject: "group_2", Rev: 1})
	r.compile()
	bound := func(what string, want bool) {
		t.Helper()
		if got := binds("proj_1"); slices.Contains(got, "b_group") != want || slices.Contains(got, "b_other_group") {
			t.Errorf("%s: %v", what, got)
		}
	}
	bound("in the group", true)
	in(2, 7)
	bound("out of the group", false)
	in(3, 0)
	bound("in it again", true)
	group(2, 9)
	bound("the group is gone", false)
	r.putBudget(&gatehouse.Budget{ID: "b_org", Organization: "org-1", Scope: gatehouse.ScopeOrganization, Subject: "org-1", RemovedAt: 5, Rev: 2})
	r.compile()
	if got := binds("proj_1"); slices.Contains(got, "b_org") {
		t.Errorf("after a budget was removed: %v", got)
	}
}
