package store

import (
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"gatehouse"
	"gatehouse/internal/store/sums"
)

// TestPlans asks SQLite how it would run every query of the store: none but those that read a table on purpose may scan one, and
// no list may be sorted after it is read.
func TestPlans(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gatehouse.db")
	db, err := Open(t.Context(), "sqlite:"+path, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	queries := map[string]bool{}
	db.trace = func(query string) { mu.Lock(); defer mu.Unlock(); queries[query] = true }
	useEverything(t, db)
	for _, i := range inserts {
		queries[i.query(1, postgresEngine.placeholder)] = true
	}
	if len(queries) < 60 {
		t.Errorf("only %d queries were seen", len(queries))
	}

	side, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path}).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = side.Close() }()
	wholeTables := []string{
		organizationSelect, projectSelect, userSelect, projectUserSelect, serviceAccountSelect, resourceSelect, keySelect, keyLoad, upstreamSelect, deploymentSelect, sealedSelect, limitSelect,
		spendAlertSelect, grantSelect, creditsSelect, budgetSelect,
		organizationSelect + ` ORDER BY created_at, id`, // a handful
		`SELECT COUNT(*) FROM usage_ids`, `SELECT body FROM usage_pages ORDER BY page`, `SELECT body FROM request_pages ORDER BY page`, allSums, `SELECT COUNT(*) FROM work`,
		// These two read a partial index that holds nothing but what they look for.
		alertSelect + ` WHERE action = 'pending' ORDER BY at, id LIMIT $1`, `SELECT COUNT(*) FROM alert_deliveries WHERE state = 'pending' AND substr(channel, 1, 4) <> 'whe_'`,
	}
	for query := range queries {
		if slices.Contains(wholeTables, query) || strings.Contains(query, "FROM nodes") || strings.Contains(query, "FROM node_health") {
			continue
		}
		rows, err := side.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, make([]any, placeholders(query))...) // the plan is made without the values
		if err != nil {
			t.Fatalf("%v\n%s", err, query)
		}
		for rows.Next() {
			var id, parent, unused int
			var step string
			if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
				t.Fatal(err)
			}
			grouped := strings.Contains(query, "GROUP BY") && strings.Contains(step, "FOR GROUP BY") // the rows of one report
			if strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "CONSTANT ROW") && !strings.HasPrefix(step, "SCAN excluded") || strings.Contains(step, "TEMP B-TREE") && !grouped {
				t.Errorf("%s\n%s", step, query)
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// placeholders returns the highest $N of a query.
func placeholders(query string) int {
	highest := 0
	for _, part := range strings.Split(query, "$")[1:] {
		n := 0
		for _, c := range part {
			if c < '0' || c > '9' {
				break
			}
			n = n*10 + int(c-'0')
		}
		highest = max(highest, n)
	}
	return highest
}

// useAlerts runs every statement about alerts that is no change.
func useAlerts(t *testing.T, db *DB) {
	t.Helper()
	rule := gatehouse.AlertRule{ID: "alrule_1", Organization: "org-1", Name: "r"}
	channel := gatehouse.AlertChannel{ID: "alch_1", Organization: "org-1", Name: "c"}
	_, err := db.Update(t.Context(), gatehouse.Event{Type: "t", Organization: "org-1"}, func(tx *Tx) error {
		return errors.Join(tx.CreateAlertRule(&rule), tx.SaveAlertRule(&rule), tx.CreateAlertChannel(&channel), tx.SaveAlertChannel(&channel),
			tx.AcknowledgeAlert("a", "b"), tx.ReplayDelivery("d"), tx.CreateTestAlert(&gatehouse.Alert{ID: "alrt_0", Organization: "org-1"}, "c"))
	})
	if err != nil {
		t.Fatal(err)
	}
	found := []Finding{{Alert: gatehouse.Alert{ID: "alrt_1", Organization: "org-1", Rule: "r", At: 1, Action: gatehouse.ActionPending}, Mark: "m", Until: 2, Channels: []string{"log"}}}
	if _, err := db.RaiseAlerts(t.Context(), 1, found); err != nil {
		t.Fatal(err)
	}
	claimed, err := db.ClaimDeliveries(t.Context(), DeliveryClaim{Now: 2, Until: 3, Limit: 1})
	if err != nil || len(claimed) != 1 {
		t.Fatalf("claimed %v, %v", claimed, err)
	}
	if _, err := db.ClaimDeliveries(t.Context(), DeliveryClaim{Now: 2, Until: 3, Limit: 1, Endpoints: true}); err != nil {
		t.Fatal(err)
	}
	_, err = db.ClaimDuty(t.Context(), "d", "h", 1, 2)
	for _, err := range []error{err, db.DropDuty(t.Context(), "d", "h"), db.EndDelivery(t.Context(), &claimed[0]), db.EndAction(t.Context(), "alrt_1", "suspended"),
		db.DropNetworks(t.Context(), "k", []string{"n"}), db.PruneAlerts(t.Context(), AlertRetention{Alerts: 1, Activity: 1, Networks: 1, Marks: 1})} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// useEverything runs every query of the store at least once.
func useEverything(t *testing.T, db *DB) {
	t.Helper()
	_, err := db.Update(t.Context(), gatehouse.Event{Type: "t", Organization: "org-1"}, func(tx *Tx) error {
		org := &gatehouse.Organization{ID: "org-1"}
		project := &gatehouse.Project{ID: "proj_1", Organization: "org-1"}
		user := &gatehouse.User{ID: "user-1", Organization: "org-1"}
		member := &gatehouse.ProjectUser{Project: "proj_1", User: "user-1"}
		account := &gatehouse.ServiceAccount{ID: "svc_acct_1", Organization: "org-1", Project: "proj_1"}
		resource := &gatehouse.Resource{ID: "res_1", Organization: "org-1", Project: "proj_1"}
		key := &gatehouse.Key{ID: "key_1", Class: gatehouse.ClassAdmin, Organization: "org-1"}
		upstream := &gatehouse.Upstream{ID: "upst_1", Organization: "org-1"}
		deployment := &gatehouse.Deployment{ID: "dep_1", Organization: "org-1"}
		limit := &gatehouse.Limit{ID: "rl-1", Organization: "org-1"}
		sealed := &Sealed{ID: "seal_1", Organization: "org-1", Ciphertext: []byte{1}}
		alert := &gatehouse.SpendAlert{ID: "alert_1", Organization: "org-1"}
		grant := &gatehouse.Grant{ID: "grant_1", Organization: "org-1", Amount: 1}
		credits := &gatehouse.Credits{Organization: "org-1"}
		budget := &gatehouse.Budget{ID: "budget_1", Organization: "org-1"}
		entry := &gatehouse.CreditEntry{Organization: "org-1", Debit: gatehouse.AccountBalance, Credit: gatehouse.AccountIssued, Grant: "grant_1", Amount: 1}
		stale := *project
		stale.Rev = 9
		for _, err := range []error{tx.CreateOrganization(org), tx.SaveOrganization(org), tx.CreateProject(project), tx.SaveProject(project), tx.CreateUser(user), tx.SaveUser(user),
			tx.CreateProjectUser(member), tx.SaveProjectUser(member), tx.CreateServiceAccount(account), tx.SaveServiceAccount(account), tx.CreateResource(resource), tx.SaveResource(resource), tx.CreateKey(key), tx.SaveKey(key),
			tx.CreateUpstream(upstream), tx.SaveUpstream(upstream), tx.CreateDeployment(deployment), tx.SaveDeployment(deployment), tx.CreateSealed(sealed), tx.SaveSealed(sealed),
			tx.DeleteSealed(sealed), tx.CreateLimit(limit), tx.SaveLimit(limit), tx.SetMeta("a", "b"), tx.CreateSpendAlert(alert), tx.SaveSpendAlert(alert),
			tx.CreateGrant(grant), tx.SaveGrant(grant), tx.CreateCredits(credits), tx.SaveCredits(credits), tx.CreateBudget(budget), tx.SaveBudget(budget), tx.Enter(entry)} {
			if err != nil {
				return err
			}
		}
		if err := tx.SaveProject(&stale); gatehouse.KindOf(err) != gatehouse.Conflict {
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Record(t.Context(), Batch{Usage: []gatehouse.Usage{{ID: "u"}}, Requests: []gatehouse.Request{{ID: "r", Organization: "org-1", Key: "k"}}, Networks: map[NetworkUse]gatehouse.Millis{{Key: "k", Network: "n"}: 1}, LastUsed: map[string]gatehouse.Millis{"k": 1},
		Objects: []gatehouse.Object{{ID: "o"}}, Deleted: []ObjectRef{{ID: "o"}}, Node: &NodeBeat{ID: "n"}, Health: &gatehouse.NodeHealth{Process: "p"}, DropNode: "x",
		Work: []gatehouse.Work{{ID: "w"}}, WorkDone: []string{"u"}, WorkLater: []WorkLater{{ID: "w"}}, BatchInputs: []gatehouse.BatchInput{{File: "f"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Record(t.Context(), Batch{Objects: []gatehouse.Object{{ID: "o"}}, DropNode: "n", DropIncarnation: "x"}); err != nil {
		t.Fatal(err)
	}
	for range mergeAt {
		if err := db.Record(t.Context(), Batch{Usage: []gatehouse.Usage{{ID: gatehouse.NewRequestID(1), At: 1}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(db.MergeSums(t.Context()), db.FoldSums(t.Context()), db.Prune(t.Context(), 1000*dayMillis)); err != nil {
		t.Fatal(err)
	}
	window := gatehouse.BudgetWindow{Budget: "budget_1", End: 9}
	if _, err := db.TakeSlice(t.Context(), TakeSlice{Window: window, Node: "n", Need: 1, Want: 1, Owed: 1}); err != nil {
		t.Fatal(err)
	}
	_, pruneErr := db.PruneKept(t.Context(), 1)
	if err := errors.Join(pruneErr, db.ReturnSlice(t.Context(), window, "n", 1), db.RaiseSeed(t.Context(), window, 1, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ClaimWork(t.Context(), WorkClaim{Now: 1, Until: 2, Limit: 1}); err != nil {
		t.Fatal(err)
	}
	useAlerts(t, db)
	yes := true
	err = db.View(t.Context(), func(tx *Tx) error {
		var errs []error
		note := func(err error) {
			if err != nil && gatehouse.KindOf(err) != gatehouse.NotFound && gatehouse.KindOf(err) != gatehouse.Invalid {
				errs = append(errs, err)
			}
		}
		noted := func(_ any, err error) { note(err) }
		noted(tx.Organization(""))
		noted(tx.Organizations())
		noted(tx.Project(""))
		noted(tx.User(""))
		noted(tx.ProjectUser("", ""))
		noted(tx.Memberships(""))
		noted(tx.ServiceAccount(""))
		noted(tx.Resource(""))
		noted(tx.ResourceKeys(""))
		noted(tx.Key(""))
		noted(tx.Upstream(""))
		noted(tx.Upstreams(""))
		noted(tx.Deployment(""))
		noted(tx.Deployments(""))
		noted(tx.Limit(""))
		noted(tx.LimitOf("", "", "", ""))
		noted(tx.Limits(""))
		noted(tx.Sealed(""))
		noted(tx.Sealeds(""))
		noted(tx.SpendAlert(""))
		noted(tx.Grant(""))
		noted(tx.GrantNamed("", ""))
		noted(tx.OpenGrants(""))
		noted(tx.Refilled("", 1))
		noted(tx.Credits(""))
		noted(tx.Budget(""))
		noted(tx.Budgets(""))
		noted(tx.BudgetsNamed([]string{"a"}))
		noted(tx.BudgetWindows([]string{"a"}, 1))
		noted(tx.SpentOutside(&gatehouse.Budget{ID: "a", Organization: "org-1", Scope: gatehouse.ScopeLabel, Subject: "a=b"}, gatehouse.BudgetWindow{Budget: "a", End: 9}))
		noted(tx.SpentOutside(&gatehouse.Budget{ID: "a", Organization: "org-1", Scope: gatehouse.ScopeGroup, Subject: "group_1"}, gatehouse.BudgetWindow{Budget: "a", End: 9}))
		note(tx.EachBudget(func(*gatehouse.Budget) error { return nil }))
		noted(tx.CreditBalances(""))
		noted(tx.CreditLeft("", ""))
		noted(tx.CreditEntries("", 1, 1))
		noted(tx.LastCreditEntries("", 1, 1))
		note(tx.EachSpendAlert(func(*gatehouse.SpendAlert) error { return nil }))
		note(tx.EachGrant(func(*gatehouse.Grant) error { return nil }))
		note(tx.EachCredits(func(*gatehouse.Credits) error { return nil }))
		note(tx.EachCreditEntry("", func(*gatehouse.CreditEntry) error { return nil }))
		noted(tx.KeysExpiring("", 1, 2, 1))
		noted(tx.Group(""))
		noted(tx.GroupNamed("", ""))
		noted(tx.GroupUser("", ""))
		noted(tx.GroupsOf(""))
		noted(tx.Role(""))
		noted(tx.RoleNamed("", "", ""))
		noted(tx.Assignment(""))
		for _, f := range []AssignmentFilter{{Principal: "p"}, {Principal: "p", Project: "q"}, {Principal: "p", Everywhere: true}, {Role: "r"}, {Principal: "p", Role: "r"}} {
			noted(tx.Assignments("", f))
		}
		noted(tx.Invite(""))
		noted(tx.Certificate(""))
		noted(tx.CertificateOf("", ""))
		noted(tx.IdentityProvider(""))
		noted(tx.FederationRule(""))
		noted(tx.External(""))
		noted(tx.IdempotentCall("", "", ""))
		for _, p := range []Page{{Limit: 1}, {Limit: 1, Desc: true}, {Limit: 1, After: "x"}} {
			for _, list := range []func() (any, bool, error){
				func() (any, bool, error) { return tx.Groups("", "", p) },
				func() (any, bool, error) { return tx.Groups("", "proj_1", p) },
				func() (any, bool, error) { return tx.GroupUsers("", p) },
				func() (any, bool, error) { return tx.Roles("", "", p) },
				func() (any, bool, error) { return tx.Invites("", p) },
				func() (any, bool, error) { return tx.Certificates("", p) },
				func() (any, bool, error) { return tx.WebhookEndpoints("", p) },
				func() (any, bool, error) { return tx.IdentityProviders("", p) },
				func() (any, bool, error) { return tx.FederationRules("", "", p) },
				func() (any, bool, error) { return tx.FederationRules("", "svc_acct_1", p) },
				func() (any, bool, error) {
					return tx.Externals("", ExternalFilter{Kind: gatehouse.ExternalKey, Purpose: "ekm"}, p)
				},
			} {
				_, _, err := list()
				note(err)
			}
		}
		noted(tx.Meta(""))
		noted(tx.CountActiveOwners(""))
		noted(tx.CountActiveAdminKeys(""))
		noted(tx.LastSeq())
		noted(tx.LastEvent("org-1", "key_1"))
		noted(tx.EventsAfter(0, 1))
		for _, f := range []AuditFilter{{}, {Types: []string{"t"}}, {Projects: []string{"p"}}, {Subjects: []string{"s"}}, {Actors: []string{"key_1"}}, {Actors: []string{"user-1"}}, {Actors: []string{"svc_acct_1"}},
			{Types: []string{"t"}, Projects: []string{"p"}, Subjects: []string{"s"}, Actors: []string{"key_1"}, From: 1, Until: 2}} {
			f.Organization = "org-1"
			for _, p := range []Page{{}, {Desc: true}} {
				_, _, err := tx.AuditLog(f, p)
				noted(nil, err)
			}
		}
		noted(tx.EventBytes(0))
		noted(tx.Request(""))
		noted(tx.SentTo("x"))
		noted(tx.Object(""))
		noted(tx.Work(""))
		noted(tx.BatchInput(""))
		_, _, err := tx.OpenWork()
		note(err)
		_, _, err = tx.CountDeliveries()
		note(err)
		noted(tx.AlertRule(""))
		noted(tx.EffectiveAlertRules("org-1"))
		noted(tx.AlertChannel(""))
		noted(tx.AlertChannels(""))
		noted(tx.Alert(""))
		noted(tx.AlertDeliveries(""))
		noted(tx.WebhookEndpoint(""))
		noted(tx.ProjectEvent(""))
		noted(tx.AlertDelivery(""))
		noted(tx.PendingActions(1))
		noted(tx.ActivityIn(0))
		noted(tx.ActivityOf(gatehouse.AboutKey, "k", 0, 1))
		noted(tx.NetworksSince(0, 1))
		noted(tx.NetworksOf("k"))
		noted(tx.WokenSince(0))
		noted(tx.Nodes())
		noted(tx.Usage(""))
		noted(tx.CountUsage())
		noted(nil, tx.EachSum("1d", func(string, gatehouse.Millis, [sums.Dims]string, *Sums) error { return nil }))
		noted(tx.UsageBuckets(UsageQuery{Organization: "o", Product: "p", Width: "1m", End: 1, Projects: []string{"a"}, Users: []string{"a"}, Keys: []string{"a"}, Models: []string{"a"},
			Batch: &yes, GroupBy: []string{ByProject, ByKey}}))
		noted(tx.UsageBuckets(UsageQuery{Organization: "o", Product: "p", Width: "1d", End: 1}))
		noted(tx.UsageBuckets(UsageQuery{Organization: "o", Width: "1h", End: 1, GroupBy: []string{ByLabel("team")}, Labels: map[string][]string{"env": {"prod"}}}))
		note(tx.EachOrganization(func(*gatehouse.Organization) error { return nil }))
		note(tx.EachProject(func(*gatehouse.Project) error { return nil }))
		note(tx.EachUser(func(*gatehouse.User) error { return nil }))
		note(tx.EachProjectUser(func(*gatehouse.ProjectUser) error { return nil }))
		note(tx.EachServiceAccount(func(*gatehouse.ServiceAccount) error { return nil }))
		note(tx.EachResource(func(*gatehouse.Resource) error { return nil }))
		note(tx.EachKey(func(*gatehouse.Key) error { return nil }))
		note(tx.LoadKeys(func(*gatehouse.Key) error { return nil }))
		note(tx.EachUpstream(func(*gatehouse.Upstream) error { return nil }))
		note(tx.EachDeployment(func(*gatehouse.Deployment) error { return nil }))
		note(tx.EachLimit(func(*gatehouse.Limit) error { return nil }))
		note(tx.EachSealed(func(*Sealed) error { return nil }))
		for _, cursor := range []func(string) Page{func(string) Page { return Page{} }, func(id string) Page { return Page{After: id} },
			func(id string) Page { return Page{Before: id, Desc: true} }, func(id string) Page { return Page{After: id, Desc: true} }} {
			paged := func(_ any, _ bool, err error) { note(err) }
			paged(tx.Projects("org-1", true, cursor("proj_1")))
			paged(tx.Projects("org-1", false, cursor("proj_1")))
			paged(tx.Users("org-1", cursor("user-1")))
			paged(tx.ProjectUsers("proj_1", cursor("user-1")))
			paged(tx.Alerts("org-1", true, cursor("alrt_0")))
			paged(tx.Alerts("org-1", false, cursor("alrt_0")))
			paged(tx.DeliveriesIn("org-1", gatehouse.DeliveryPending, cursor("msg_0")))
			paged(tx.ServiceAccounts("proj_1", cursor("svc_acct_1")))
			paged(tx.SpendAlerts("org-1", "", cursor("alert_1")))
			paged(tx.SpendAlerts("org-1", "proj_1", cursor("alert_1")))
			paged(tx.Grants("org-1", cursor("grant_1")))
			paged(tx.Resources("org-1", "", cursor("res_1")))
			paged(tx.Resources("org-1", "proj_1", cursor("res_1")))
			for _, f := range []KeyFilter{{Organization: "org-1"}, {Organization: "org-1", Class: gatehouse.ClassAdmin}, {Organization: "org-1", IncludeRevoked: true}, {Project: "proj_1"},
				{Organization: "org-1", Project: "proj_1"}, {OwnerUser: "user-1"}, {OwnerServiceAccount: "s"}} {
				paged(tx.Keys(f, cursor("key_1")))
			}
		}
		return errors.Join(errs...)
	})
	if err != nil {
		t.Fatal(err)
	}
}
