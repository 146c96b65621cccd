package catalog

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/limit"
)

func limitRow(id string, scope gatehouse.Scope, subject, model string, rates gatehouse.Rates) *gatehouse.Limit {
	return &gatehouse.Limit{ID: id, Organization: "org-1", Scope: scope, Subject: subject, Model: model, Rates: rates, Rev: 1}
}

// TestLimitsFollowWhoCalls is the wish for limits of a person: a user's limit binds each of their keys in every project, and so a new key
// has no new allowance.
func TestLimitsFollowWhoCalls(t *testing.T) {
	r := newReplica()
	one := gatehouse.Rates{RequestsPerMinute: 1}
	for _, l := range []*gatehouse.Limit{
		limitRow("org", gatehouse.ScopeOrganization, "org-1", "", one),
		limitRow("project", gatehouse.ScopeProject, "proj_1", "", one),
		limitRow("project-mini", gatehouse.ScopeProject, "proj_1", "mini", gatehouse.Rates{TokensPerMinute: 5, ImagesPerMinute: 2}),
		limitRow("user", gatehouse.ScopeUser, "user-1", "", one),
		limitRow("account", gatehouse.ScopeServiceAccount, "svc_acct_1", "", one),
		limitRow("key", gatehouse.ScopeKey, "key_00000000001", "", one),
		limitRow("team", gatehouse.ScopeLabel, "team=a", "", one),
		limitRow("env", gatehouse.ScopeLabel, "env=prod", "", one),
		{ID: "foreign", Organization: "org-2", Scope: gatehouse.ScopeUser, Subject: "user-1", Rates: one, Rev: 1},
		{ID: "gone", Organization: "org-1", Scope: gatehouse.ScopeUser, Subject: "user-1", Rates: one, Rev: 1, RemovedAt: 5},
	} {
		if got := r.putLimit(l); got != added {
			t.Fatalf("put %s: %v", l.ID, got)
		}
	}
	r.compile()
	service := testKey(3)
	service.OwnerUser, service.OwnerServiceAccount, service.Class = "", "svc_acct_1", gatehouse.ClassService
	labelled := testKey(4)
	labelled.OwnerUser, labelled.Labels = "user-2", map[string]string{"team": "a", "x": "y"}
	for _, k := range []*gatehouse.Key{testKey(1), testKey(2), service, labelled} {
		r.putKey(k)
	}
	c := &Catalog{replica: r}
	first := &gatehouse.Project{ID: "proj_1", Organization: "org-1"}
	second := &gatehouse.Project{ID: "proj_2", Organization: "org-1", Labels: map[string]string{"env": "prod", "team": "b"}}
	all := Amounts{limit.Requests: 1, limit.Tokens: 7, limit.Images: -1}
	for _, test := range []struct {
		key     int
		project *gatehouse.Project
		model   string
		want    string
	}{
		{1, first, "", "org project user key"},
		{1, first, "mini", "org project user key project-mini"},
		{2, first, "large", "org project user"},
		{2, second, "mini", "org user env"},
		{3, first, "", "org project account"},
		{4, first, "", "org project team"},
		{4, second, "", "org env team"},
	} {
		var got []string
		for _, charge := range c.Charges(nil, c.Key(testKey(test.key).ID[4:]), test.project, test.model, &all) {
			got = append(got, charge.Counter.Rule.ID)
			if charge.Amount != all[charge.Counter.Metric] || charge.Amount < 0 {
				t.Errorf("%s takes %d of %s", charge.Counter.Rule.ID, charge.Amount, charge.Counter.Metric)
			}
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("key %d in %s for %q: %q, want %q", test.key, test.project.ID, test.model, got, test.want)
		}
	}
	if got := c.ModelCharges(nil, c.Key(testKey(1).ID[4:]), first, "mini", &all); len(got) != 1 || got[0].Counter.Rule.ID != "project-mini" {
		t.Errorf("of the model alone: %+v", got)
	}

	// An edited limit counts what it counted before, and one that is taken out binds nobody.
	before := c.Counters("org-1")
	edited := limitRow("user", gatehouse.ScopeUser, "user-1", "", gatehouse.Rates{RequestsPerMinute: 50})
	edited.Rev = 2
	r.putLimit(edited)
	r.dropLimit("env")
	r.compile()
	after := c.Counters("org-1")
	key := func(of []*limit.Counter, id string) string {
		if i := slices.IndexFunc(of, func(c *limit.Counter) bool { return c.Rule.ID == id }); i >= 0 {
			return of[i].Key
		}
		return ""
	}
	if key(before, "user") == "" || key(before, "user") != key(after, "user") || key(after, "env") != "" || len(after) != len(before)-1 {
		t.Errorf("counters before and after the edit: %d and %d", len(before), len(after))
	}
	if r.putLimit(limitRow("user", gatehouse.ScopeUser, "user-1", "", one)) != ignored {
		t.Error("an older row took the place of a newer one")
	}

	dst := make([]limit.Charge, 0, 16)
	k := c.Key(testKey(1).ID[4:])
	if n := testing.AllocsPerRun(100, func() { dst = c.Charges(dst[:0], k, second, "mini", &all) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// TestLimitsOfAKeyFollowEveryChange: what binds a key is kept until a limit, the key or its project is another, and not a request longer.
func TestLimitsOfAKeyFollowEveryChange(t *testing.T) {
	r := newReplica()
	c := &Catalog{replica: r}
	r.putOrganization(&gatehouse.Organization{ID: "org-1", Rev: 1})
	for _, id := range []string{"proj_1", "proj_2"} {
		r.putProject(&gatehouse.Project{ID: id, Organization: "org-1", Rev: 1})
	}
	row := testKey(1)
	r.putKey(row)
	amounts := Amounts{limit.Requests: 1, limit.Tokens: 5}
	check := func(what, want string) {
		t.Helper()
		r.compile()
		for range 2 {
			var got []string
			k := c.Key(row.ID[len(gatehouse.PrefixKey):])
			for _, charge := range c.Charges(nil, k, c.Project(k.Project), "mini", &amounts) {
				got = append(got, charge.Counter.Rule.ID+" "+strconv.FormatInt(charge.Counter.Limit, 10))
			}
			if strings.Join(got, ", ") != want {
				t.Errorf("%s: %q, want %q", what, strings.Join(got, ", "), want)
			}
		}
	}
	change := func(id string, rev int64, scope gatehouse.Scope, subject, model string, n int64, removed gatehouse.Millis) {
		l := limitRow(id, scope, subject, model, gatehouse.Rates{RequestsPerMinute: n})
		l.Rev, l.RemovedAt = rev, removed
		r.putLimit(l)
	}
	check("no limit", "")
	change("org", 1, gatehouse.ScopeOrganization, "org-1", "", 9, 0)
	check("one is set", "org 9")
	change("mini", 1, gatehouse.ScopeUser, "user-1", "mini", 3, 0)
	check("one of a model", "org 9, mini 3")
	change("org", 2, gatehouse.ScopeOrganization, "org-1", "", 7, 0)
	check("an edited one", "org 7, mini 3")
	change("one", 1, gatehouse.ScopeProject, "proj_1", "", 5, 0)
	change("two", 1, gatehouse.ScopeProject, "proj_2", "", 6, 0)
	check("of projects", "org 7, one 5, mini 3")

	moved := *row
	moved.Project, moved.Rev = "proj_2", 2
	r.putKey(&moved)
	check("the key is in another project", "org 7, two 6, mini 3")
	change("team", 1, gatehouse.ScopeLabel, "team=a", "", 2, 0)
	check("a label that nothing has", "org 7, two 6, mini 3")
	r.putProject(&gatehouse.Project{ID: "proj_2", Organization: "org-1", Labels: map[string]string{"team": "a"}, Rev: 2})
	check("a label of the project", "org 7, two 6, team 2, mini 3")
	r.putProject(&gatehouse.Project{ID: "proj_2", Organization: "org-1", Labels: map[string]string{"team": "b"}, Rev: 3})
	check("another label of the project", "org 7, two 6, mini 3")
	labelled := moved
	labelled.Labels, labelled.Rev = map[string]string{"team": "a"}, 3
	r.putKey(&labelled)
	check("a label of the key", "org 7, two 6, team 2, mini 3")
	given := labelled
	given.OwnerUser, given.Rev = "user-2", 4
	r.putKey(&given)
	check("the key is another user's", "org 7, two 6, team 2")
	change("two", 2, gatehouse.ScopeProject, "proj_2", "", 6, 5)
	check("one is removed", "org 7, team 2")
	r.dropLimit("org")
	r.dropLimit("team")
	check("none is left", "")
}

func BenchmarkCharges(b *testing.B) {
	r := newReplica()
	for _, l := range []*gatehouse.Limit{limitRow("a", gatehouse.ScopeOrganization, "org-1", "", gatehouse.Rates{RequestsPerMinute: 1}), limitRow("b", gatehouse.ScopeProject, "proj_1", "mini", gatehouse.Rates{RequestsPerMinute: 1, TokensPerMinute: 5}),
		limitRow("c", gatehouse.ScopeUser, "user-1", "", gatehouse.Rates{TokensPerMinute: 5})} {
		r.putLimit(l)
	}
	r.compile()
	r.putKey(testKey(1))
	c := &Catalog{replica: r}
	k, project := c.Key(testKey(1).ID[4:]), &gatehouse.Project{ID: "proj_1"}
	var amounts Amounts
	dst := make([]limit.Charge, 0, 16)
	b.ReportAllocs()
	for b.Loop() {
		dst = c.Charges(dst[:0], k, project, "mini", &amounts)
	}
}
