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
	"gatehouse/internal/admin"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

const limitsManifest = `
upstreams:
- {name: mock, dialect: mock}
deployments:
- {name: gpt-4o, routes: [{upstream: mock}]}
projects:
- name: checkout
  service_accounts: [{name: robot}]
limits:
- {scope: organization, max_requests_per_1_day: 100000}
- {scope: project, subject: checkout, model: gpt-4o, max_requests_per_1_minute: 500, max_tokens_per_1_minute: 30000}
- {scope: service_account, subject: checkout/robot, max_requests_per_1_minute: 60}
- {scope: label, subject: team=search, max_tokens_per_1_minute: 1000}
`

func applied(t testing.TB, o *office, text string, opts admin.ApplyOptions) []admin.PlanItem {
	t.Helper()
	m, err := admin.ParseManifest([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return must[[]admin.PlanItem](t)(o.Apply(t.Context(), o.who, m, opts))
}

func planOf(items []admin.PlanItem) string {
	var out []string
	for _, i := range items {
		if i.Kind == "limit" {
			name, _, _ := strings.Cut(i.Name, " ")
			out = append(out, strings.TrimSpace(i.Action+" "+name+" "+strings.Join(i.Changes, ",")))
		}
	}
	return strings.Join(out, "; ")
}

// Limits in a manifest are set once, changed where they differ, and pruned where they are not named.
func TestLimitsInManifest(t *testing.T) {
	o := open(t)
	all := "create organization; create project; create service_account; create label"
	if got := planOf(applied(t, o, limitsManifest, admin.ApplyOptions{DryRun: true})); got != all {
		t.Errorf("dry run: %q, want %q", got, all)
	}
	if got := planOf(applied(t, o, limitsManifest, admin.ApplyOptions{})); got != all {
		t.Errorf("plan: %q, want %q", got, all)
	}
	before := must[[]gatehouse.Limit](t)(o.Limits(t.Context(), o.who))
	if again := applied(t, o, limitsManifest, admin.ApplyOptions{Prune: true}); len(again) != 0 {
		t.Errorf("applied again: %+v", again)
	}
	changed := strings.Replace(limitsManifest, "max_tokens_per_1_minute: 30000", "max_tokens_per_1_minute: 60000", 1)
	if got, want := planOf(applied(t, o, changed, admin.ApplyOptions{})), "update project max_tokens_per_1_minute"; got != want {
		t.Errorf("changed: %q, want %q", got, want)
	}
	fewer := changed[:strings.Index(changed, "- {scope: service_account")]
	if got, want := planOf(applied(t, o, fewer, admin.ApplyOptions{})), ""; got != want {
		t.Errorf("without two, not pruned: %q", got)
	}
	if got, want := planOf(applied(t, o, fewer, admin.ApplyOptions{Prune: true})), "delete label; delete service_account"; got != want {
		t.Errorf("pruned: %q, want %q", got, want)
	}
	after := must[[]gatehouse.Limit](t)(o.Limits(t.Context(), o.who))
	if len(before) != 4 || len(after) != 2 || before[1].ID != after[0].ID || before[2].ID != after[1].ID {
		t.Errorf("limits before and after: %+v, %+v", before, after)
	}
	for text, param := range map[string]string{
		"limits: [{scope: project, subject: nowhere, max_requests_per_1_minute: 1}]":                                                           "projects",
		"limits: [{scope: project, subject: checkout, model: gpt-5, max_requests_per_1_minute: 1}]":                                            "model",
		"limits: [{scope: everybody, max_requests_per_1_minute: 1}]":                                                                           "scope",
		"limits: [{scope: label, subject: team, max_requests_per_1_minute: 1}]":                                                                "subject",
		"limits: [{scope: user, max_requests_per_1_minute: 1}]":                                                                                "subject",
		"limits: [{scope: organization, max_requests_per_1_minute: -1}]":                                                                       "max_requests_per_1_minute",
		"limits: [{scope: organization, max_audio_megabytes_per_1_minute: 20001}]":                                                             "max_audio_megabytes_per_1_minute",
		"limits: [{scope: organization, max_requests_per_1_minute: 1}, {scope: organization, max_requests_per_1_minute: 2}]":                   "limits",
		"limits: [{scope: label, subject: team=x, max_requests_per_1_minute: 1}, {scope: label, subject: team=x, max_images_per_1_minute: 2}]": "limits",
	} {
		m, err := admin.ParseManifest([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		_, err = o.Apply(t.Context(), o.who, m, admin.ApplyOptions{})
		if e, ok := err.(*gatehouse.Error); !ok || e.Kind != gatehouse.Invalid || e.Param != param {
			t.Errorf("%s: %v, want an error about %s", text, err, param)
		}
	}
}

// OpenAI's API has a row for each deployment a project reaches, whether limited or not, under an id that does not change.
func TestProjectLimits(t *testing.T) {
	o, ctx := open(t), t.Context()
	applied(t, o, limitsManifest, admin.ApplyOptions{})
	other := must[*gatehouse.Project](t)(o.CreateProject(ctx, o.who, admin.ProjectRequest{Name: "other"}))
	must[*gatehouse.Deployment](t)(o.PutDeployment(ctx, o.who, admin.DeploymentSpec{Name: "private", Projects: []string{"other"}, Routes: []admin.RouteSpec{{Upstream: "mock"}}}))
	must[*gatehouse.Deployment](t)(o.PutDeployment(ctx, o.who, admin.DeploymentSpec{Name: "gpt-4o", Projects: []string{"other"}, Routes: []admin.RouteSpec{{Upstream: "mock"}}}))
	rows := must[[]admin.ProjectLimit](t)(o.ProjectLimits(ctx, o.who, other.ID))
	if len(rows) != 2 || rows[0].ID() != "rl-gpt-4o" || rows[1].ID() != "rl-private" || rows[0].Rates != (gatehouse.Rates{}) {
		t.Fatalf("rows: %+v", rows)
	}
	seen := o.lastSeq(t)
	row := must[admin.ProjectLimit](t)(o.UpdateProjectLimit(ctx, o.who, other.ID, "rl-private", admin.RatesUpdate{RequestsPerMinute: admin.Some(int64(5))}))
	if row.Rates.RequestsPerMinute != 5 {
		t.Errorf("updated: %+v", row)
	}
	must[admin.ProjectLimit](t)(o.UpdateProjectLimit(ctx, o.who, other.ID, "rl-private", admin.RatesUpdate{TokensPerMinute: admin.Some(int64(7))}))
	must[admin.ProjectLimit](t)(o.UpdateProjectLimit(ctx, o.who, other.ID, "rl-private", admin.RatesUpdate{TokensPerMinute: admin.Some(int64(7))}))
	rows = must[[]admin.ProjectLimit](t)(o.ProjectLimits(ctx, o.who, other.ID))
	if rows[1].Rates != (gatehouse.Rates{RequestsPerMinute: 5, TokensPerMinute: 7}) {
		t.Errorf("after two updates: %+v", rows[1])
	}
	must[admin.ProjectLimit](t)(o.UpdateProjectLimit(ctx, o.who, other.ID, "rl-private", admin.RatesUpdate{RequestsPerMinute: admin.Some(int64(0)), TokensPerMinute: admin.Some(int64(0))}))
	must[admin.ProjectLimit](t)(o.UpdateProjectLimit(ctx, o.who, other.ID, "rl-private", admin.RatesUpdate{TokensPerMinute: admin.Some(int64(0))}))
	var types []string
	for _, e := range o.eventsAfter(t, seen) {
		types = append(types, e.Type)
		var change struct {
			ID               string          `json:"id"`
			ChangesRequested gatehouse.Rates `json:"changes_requested"`
		}
		if err := json.Unmarshal(e.Change, &change); err != nil || change.ID != e.SubjectID || e.Project != other.ID || e.Subject != gatehouse.SubjectLimit {
			t.Errorf("event: %+v %s, %v", e, e.Change, err)
		}
	}
	if want := []string{"rate_limit.updated", "rate_limit.updated", "rate_limit.deleted"}; !slices.Equal(types, want) {
		t.Errorf("events %v, want %v", types, want)
	}
	if _, err := o.UpdateProjectLimit(ctx, o.who, other.ID, "rl-nothing", admin.RatesUpdate{}); gatehouse.KindOf(err) != gatehouse.NotFound {
		t.Errorf("of no deployment: %v", err)
	}
	if _, err := o.ProjectLimits(ctx, o.who, "proj_none"); gatehouse.KindOf(err) != gatehouse.NotFound {
		t.Errorf("of no project: %v", err)
	}
}

// A limit takes away, so a restore puts back the lower of each rate, and a limit that the backup does not have.
func TestReapplyLimits(t *testing.T) {
	o, ctx := open(t), t.Context()
	put := func(label string, rates gatehouse.Rates) *gatehouse.Limit {
		t.Helper()
		return must[*gatehouse.Limit](t)(o.PutLimit(ctx, o.who, admin.LimitSpec{Scope: gatehouse.ScopeLabel, Subject: "l=" + label, Rates: rates}))
	}
	lowered, raised, removed := put("lowered", gatehouse.Rates{RequestsPerMinute: 10, TokensPerMinute: 5}), put("raised", gatehouse.Rates{RequestsPerMinute: 10}), put("removed", gatehouse.Rates{RequestsPerMinute: 10})
	var file bytes.Buffer
	if err := o.db.Dump(ctx, &file, &store.Backup{}); err != nil {
		t.Fatal(err)
	}
	seq := o.lastSeq(t)
	put("lowered", gatehouse.Rates{RequestsPerMinute: 3, RequestsPerDay: 9})
	put("raised", gatehouse.Rates{RequestsPerMinute: 100})
	if _, err := o.RemoveLimit(ctx, o.who, removed.ID); err != nil {
		t.Fatal(err)
	}
	made := put("made", gatehouse.Rates{RequestsPerMinute: 1})
	var changes []later
	for _, e := range o.eventsAfter(t, seq) {
		changes = append(changes, later{e.Subject, e.SubjectID, standing(t, o.db, e.Subject, e.SubjectID)})
	}
	db, err := store.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "restored.db"), store.Config{Now: func() time.Time { return o.now }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Restore(ctx, bytes.NewReader(file.Bytes()), store.Restoration{}); err != nil {
		t.Fatal(err)
	}
	peppers := must[*secret.Peppers](t)(secret.ParsePeppers(secret.NewPeppers()))
	s := admin.New(admin.Config{DB: db, Peppers: peppers, Install: "abcd", Now: func() time.Time { return o.now }})
	system := &gatehouse.Principal{Actor: gatehouse.Actor{Kind: gatehouse.ActorSystem}, Organization: o.found.Organization.ID}
	for round, want := range []map[string]admin.Reapplied{{lowered.ID: admin.Narrowed, made.ID: admin.Narrowed}, {}} {
		for _, c := range changes {
			got := must[admin.Reapplied](t)(s.Reapply(ctx, system, seq+1, "rate_limit.updated", c.kind, c.id, c.state))
			if got != want[c.id] {
				t.Errorf("round %d, %s: outcome %d, want %d", round, c.id, got, want[c.id])
			}
		}
	}
	got := map[string]gatehouse.Rates{}
	for _, l := range must[[]gatehouse.Limit](t)(s.Limits(ctx, system)) {
		got[l.ID] = l.Rates
	}
	for id, want := range map[string]gatehouse.Rates{lowered.ID: {RequestsPerMinute: 3, TokensPerMinute: 5, RequestsPerDay: 9}, raised.ID: {RequestsPerMinute: 10},
		removed.ID: {RequestsPerMinute: 10}, made.ID: {RequestsPerMinute: 1}} {
		if got[id] != want {
			t.Errorf("%s: %+v, want %+v", id, got[id], want)
		}
	}
}
