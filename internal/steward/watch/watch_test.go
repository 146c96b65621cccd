package watch

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// world is a database with one organization, two projects and keys, and a watch whose clock is the test's.
type world struct {
	t          *testing.T
	db         *store.DB
	now        time.Time
	watch      *Watch
	n          int
	fresh      []gatehouse.Alert // what the last look found
	budgetList []admin.BudgetStatus
	creditInfo admin.CreditsInfo
	// suspended are the keys that were to be stopped, with how.
	suspended []string
}

// noon is a Monday.
var noon = time.Date(2026, 3, 2, 12, 30, 0, 0, time.UTC)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: noon}
	var err error
	if w.db, err = store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "g.db"), store.Config{Now: func() time.Time { return w.now }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	if err := w.db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.change(func(tx *store.Tx) error {
		for _, err := range []error{tx.CreateOrganization(&gatehouse.Organization{ID: "org-a", Name: "Example"}),
			tx.CreateUser(&gatehouse.User{ID: "user-a", Organization: "org-a", Role: gatehouse.RoleOwner}),
			tx.CreateProject(&gatehouse.Project{ID: "proj_1", Organization: "org-a", Name: "checkout"}), tx.CreateProject(&gatehouse.Project{ID: "proj_2", Organization: "org-a", Name: "search"}),
			tx.CreateProjectUser(&gatehouse.ProjectUser{Project: "proj_1", User: "user-a"})} {
			if err != nil {
				return err
			}
		}
		for _, k := range []string{"key_1", "key_2", "key_3"} {
			if err := tx.CreateKey(&gatehouse.Key{ID: k, Name: "name of " + k, Class: gatehouse.ClassProject, Organization: "org-a", Project: "proj_1", OwnerUser: "user-a"}); err != nil {
				return err
			}
		}
		return nil
	})
	w.watch = w.another()
	return w
}

// another returns one more watch on the same database.
func (w *world) another() *Watch {
	return New(Config{DB: w.db, Budgets: w.budgets, Credits: w.credits, Holder: gatehouse.RandomBase62(8), Now: func() time.Time { return w.now }, Logger: slog.New(slog.DiscardHandler),
		Suspend: func(_ context.Context, a *gatehouse.Alert, how gatehouse.AlertSuspend) (string, error) {
			w.suspended = append(w.suspended, a.Key+" "+string(how))
			return "suspended", nil
		}})
}

func (w *world) budgets(context.Context, string) ([]admin.BudgetStatus, error) {
	return w.budgetList, nil
}

func (w *world) credits(context.Context, string) (*admin.CreditsInfo, error) {
	return &w.creditInfo, nil
}

func (w *world) change(fn func(*store.Tx) error) {
	w.t.Helper()
	if _, err := w.db.Update(w.t.Context(), gatehouse.Event{Type: "t", Organization: "org-a"}, fn); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) rule(r gatehouse.AlertRule) {
	w.t.Helper()
	r.ID, r.Organization = gatehouse.NewID(gatehouse.PrefixAlertRule), "org-a"
	w.change(func(tx *store.Tx) error { return tx.CreateAlertRule(&r) })
}

// spend records usage of a key and a model in a project, in an hour so many hours before now, in dollars.
func (w *world) spend(hoursAgo int, project, key, model string, dollars float64) {
	w.t.Helper()
	w.n++
	at := gatehouse.MillisOf(w.now) - gatehouse.Millis(hoursAgo)*hour
	w.record(store.Batch{Usage: []gatehouse.Usage{{ID: fmt.Sprintf("req_%d", w.n), At: at, Organization: "org-a", Project: project, Key: key, Product: "completions", Model: model,
		Units: gatehouse.Units{Input: 1}, Cost: gatehouse.NanoUSD(dollars * 1e9), CostKnown: true}}})
}

// requests records requests of a key in an hour so many hours before now, of which some failed.
func (w *world) requests(hoursAgo int, project, key string, n, failed int) {
	w.t.Helper()
	at := gatehouse.MillisOf(w.now) - gatehouse.Millis(hoursAgo)*hour
	var b store.Batch
	for i := range n {
		w.n++
		status := 200
		if i < failed {
			status = 502
		}
		b.Requests = append(b.Requests, gatehouse.Request{ID: fmt.Sprintf("req_%d", w.n), At: at, Organization: "org-a", Project: project, Key: key, Model: "gpt-4o", Deployment: "gpt-4o", Status: status, Dialect: "openai"})
	}
	w.record(b)
}

func (w *world) record(b store.Batch) {
	w.t.Helper()
	if err := w.db.Record(w.t.Context(), b); err != nil {
		w.t.Fatal(err)
	}
}

// look looks once and returns the alerts that are there now and were not before, as "kind subject".
func (w *world) look() []string {
	w.t.Helper()
	seen := map[string]bool{}
	for _, a := range w.alerts() {
		seen[a.ID] = true
	}
	if err := w.watch.Look(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.fresh = nil
	var out []string
	for _, a := range w.alerts() {
		if seen[a.ID] {
			continue
		}
		w.fresh = append(w.fresh, a)
		out = append(out, string(a.Kind)+" "+string(a.Subject)+" "+a.SubjectID)
	}
	slices.Sort(out)
	return out
}

func (w *world) alerts() (list []gatehouse.Alert) {
	w.t.Helper()
	err := w.db.View(w.t.Context(), func(tx *store.Tx) (err error) {
		list, _, err = tx.Alerts("org-a", false, store.Page{Limit: store.MaxPage})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func (w *world) found(want ...string) {
	w.t.Helper()
	if got := w.look(); !slices.Equal(got, want) {
		w.t.Errorf("found %q, want %q", got, want)
		for _, a := range w.alerts() {
			w.t.Logf("%s: %s", a.Title, a.Reason)
		}
	}
}

// TestSpendSpike: a key that spends far more than at this time of other days is told of once, with the numbers, and neither its
// project nor its model beside it.
func TestSpendSpike(t *testing.T) {
	w := newWorld(t)
	for d := 1; d <= 20; d++ {
		w.spend(24*d, "proj_1", "key_1", "gpt-4o", 4)
		w.spend(24*d, "proj_1", "key_2", "gpt-4o", 2)
	}
	w.spend(0, "proj_1", "key_1", "gpt-4o", 5)
	w.found()
	w.spend(0, "proj_1", "key_1", "gpt-4o", 60)
	w.found("spend_spike key key_1")
	a := w.fresh[0]
	if a.Observed != 65e9 || a.Baseline != 4e9 || a.Threshold != 12e9 || a.Unit != gatehouse.UnitNanoUSD || a.Project != "proj_1" || a.Key != "key_1" {
		t.Errorf("alert: %+v", a)
	}
	if want := `key "name of key_1" (key_1) spent $65.00 in an hour; usual is $4.00`; a.Title != want {
		t.Errorf("title %q, want %q", a.Title, want)
	}
	if !strings.Contains(a.Reason, "between 2026-03-02 12:00 and 13:00 UTC") || !strings.Contains(a.Reason, "median of 14 days") || !strings.Contains(a.Reason, "The alarm is at $12.00") {
		t.Errorf("reason %q", a.Reason)
	}
	// Again and again, in the hour after, and by another node: nothing more.
	w.spend(0, "proj_1", "key_1", "gpt-4o", 60)
	w.found()
	w.watch = w.another()
	w.found()
	w.now = w.now.Add(35 * time.Minute)
	w.found()
	w.spend(0, "proj_1", "key_1", "gpt-4o", 100)
	w.found()
	// Twelve hours later it is news again.
	w.now = w.now.Add(12 * time.Hour)
	w.spend(0, "proj_1", "key_1", "gpt-4o", 100)
	w.found("spend_spike key key_1")
}

// TestSpikeOfManyKeys is the model's in the project, since no key explains it; that of a new key is the project's.
func TestSpikeOfManyKeys(t *testing.T) {
	w := newWorld(t)
	for d := 1; d <= 10; d++ {
		for _, k := range []string{"key_1", "key_2"} {
			w.spend(24*d, "proj_1", k, "gpt-4o", 3)
		}
		w.spend(24*d, "proj_2", "key_9", "gpt-4o", 3)
		w.spend(24*d, "proj_2", "key_9", "o3", 3)
	}
	for i := range 30 {
		w.spend(0, "proj_1", fmt.Sprintf("key_many%d", i), "gpt-4o", 3)
	}
	w.spend(0, "proj_2", "key_new", "o9", 200)
	w.found("spend_spike model proj_1/gpt-4o", "spend_spike project proj_2")
}

// TestQuietStart: a new key, project and installation alarm nobody, whatever they spend.
func TestQuietStart(t *testing.T) {
	w := newWorld(t)
	for i := range 60 {
		w.spend(0, "proj_1", "key_1", "gpt-4o", float64(i*i))
		w.found()
		w.now = w.now.Add(time.Hour)
	}
}

// TestErrorSpike: it is the share that counts, so that more requests with as many errors among them are none.
func TestErrorSpike(t *testing.T) {
	w := newWorld(t)
	for d := 1; d <= 10; d++ {
		w.requests(24*d, "proj_1", "key_1", 100, 2)
	}
	w.requests(0, "proj_1", "key_1", 3000, 60)
	w.found()
	w.requests(0, "proj_1", "key_1", 1000, 700)
	w.found("error_spike key key_1")
	a := w.fresh[0]
	if a.Unit != gatehouse.UnitPPM || a.Observed != 190_000 || a.Baseline != 20_000 || !strings.Contains(a.Reason, "760 of 4000 requests failed") {
		t.Errorf("alert %+v", a)
	}
}

// TestFewErrors alarm nobody, even if all requests fail.
func TestFewErrors(t *testing.T) {
	w := newWorld(t)
	for d := 1; d <= 10; d++ {
		w.requests(24*d, "proj_1", "key_1", 100, 0)
	}
	w.requests(0, "proj_1", "key_1", 49, 49)
	w.found()
}

// TestRuleInsteadOfTheDefault: the organization's own rule counts, for its projects, until it is disabled.
func TestRuleInsteadOfTheDefault(t *testing.T) {
	w := newWorld(t)
	for d := 1; d <= 10; d++ {
		w.spend(24*d, "proj_1", "key_1", "gpt-4o", 1)
		w.spend(24*d, "proj_2", "key_9", "gpt-4o", 1)
	}
	w.rule(gatehouse.AlertRule{Name: "spend-spike", Kind: gatehouse.AlertSpendSpike, Per: []gatehouse.AlertSubject{gatehouse.AboutProject}, Projects: []string{"proj_2"}, MinCost: 100e9, Factor: 300, Deviations: 6, Days: 3, QuietMillis: 3_600_000})
	w.spend(0, "proj_1", "key_1", "gpt-4o", 500)
	w.spend(0, "proj_2", "key_9", "gpt-4o", 99)
	w.found()
	w.spend(0, "proj_2", "key_9", "gpt-4o", 2)
	w.found("spend_spike project proj_2")
}

// TestSuspend: what a rule says is done once for an alert about a key, also when a node died between finding and doing.
func TestSuspend(t *testing.T) {
	w := newWorld(t)
	for d := 1; d <= 10; d++ {
		w.spend(24*d, "proj_1", "key_1", "gpt-4o", 1)
	}
	w.rule(gatehouse.AlertRule{Name: "stop", Kind: gatehouse.AlertSpendSpike, Per: []gatehouse.AlertSubject{gatehouse.AboutKey}, MinCost: 10e9, Factor: 300, Deviations: 6, Days: 3,
		QuietMillis: 3_600_000, Suspend: gatehouse.SuspendOwner})
	w.rule(gatehouse.AlertRule{Name: "spend-spike", Kind: gatehouse.AlertSpendSpike, Disabled: true})
	w.spend(0, "proj_1", "key_1", "gpt-4o", 100)
	fails := w.another()
	fails.cfg.Suspend = func(context.Context, *gatehouse.Alert, gatehouse.AlertSuspend) (string, error) {
		return "", fmt.Errorf("killed")
	}
	if err := fails.Look(t.Context()); err == nil {
		t.Fatal("the look of a node that dies succeeded")
	}
	if a := w.alerts()[0]; a.Action != gatehouse.ActionPending {
		t.Fatalf("action %q, want it pending", a.Action)
	}
	w.found()
	w.found()
	if want := []string{"key_1 service_account"}; !slices.Equal(w.suspended, want) {
		t.Errorf("suspended %q, want %q", w.suspended, want)
	}
	if a := w.alerts()[0]; a.Action != "suspended" {
		t.Errorf("action %q", a.Action)
	}
}

// TestNewNetwork: the first week of a key teaches where it is used from; a network after that is told of, once a day.
func TestNewNetwork(t *testing.T) {
	w := newWorld(t)
	w.rule(gatehouse.AlertRule{Name: "new-network", Kind: gatehouse.AlertNewNetwork, Days: 7, QuietMillis: 86_400_000})
	use := func(networks ...string) {
		for _, n := range networks {
			at := gatehouse.MillisOf(w.now)
			w.record(store.Batch{LastUsed: map[string]gatehouse.Millis{"key_1": at}, Networks: map[store.NetworkUse]gatehouse.Millis{{Key: "key_1", Network: n}: at}})
		}
	}
	use("192.0.2.0/24")
	w.found()
	w.now = w.now.Add(6 * 24 * time.Hour)
	use("198.51.100.0/24")
	w.found()
	w.now = w.now.Add(2 * 24 * time.Hour)
	use("192.0.2.0/24", "198.51.100.0/24")
	w.found()
	use("2001:db8:1::/48", "203.0.113.0/24")
	w.found("new_network key key_1")
	if a := w.fresh[0]; a.Observed != 2 || a.Baseline != 2 || !strings.Contains(a.Reason, "2001:db8:1::/48, 203.0.113.0/24") {
		t.Errorf("alert %+v", a)
	}
	w.found()
	w.now = w.now.Add(26 * time.Hour)
	use("203.0.113.0/24")
	w.found()
	use("2001:db8:2::/48")
	w.found("new_network key key_1")
	// One that is used from everywhere says nothing by another network, and is not remembered without bound.
	w.now = w.now.Add(26 * time.Hour)
	for i := range 100 {
		use(fmt.Sprintf("2001:db8:%x::/48", 100+i))
	}
	w.found()
	_ = w.db.View(t.Context(), func(tx *store.Tx) error {
		if list, err := tx.NetworksOf("key_1"); err != nil || len(list) != maxNetworks {
			t.Errorf("%d networks are kept, %v", len(list), err)
		}
		return nil
	})
}

// TestWakingKey: a key that slept for a month wakes once; one that was never used before does not.
func TestWakingKey(t *testing.T) {
	w := newWorld(t)
	use := func(key string) {
		w.record(store.Batch{LastUsed: map[string]gatehouse.Millis{key: gatehouse.MillisOf(w.now)}})
	}
	use("key_1")
	use("key_2")
	w.found()
	w.now = w.now.Add(20 * 24 * time.Hour)
	use("key_2")
	w.found()
	w.now = w.now.Add(15 * 24 * time.Hour)
	use("key_1")
	use("key_2")
	use("key_3")
	use("key_gone")
	w.found("waking_key key key_1")
	if a := w.fresh[0]; a.Observed != 35 || a.Title != `key "name of key_1" (key_1) is used again after 35 days` {
		t.Errorf("alert %+v", a)
	}
	w.now = w.now.Add(time.Minute)
	use("key_1")
	w.found()
	w.now = w.now.Add(23 * time.Hour)
	w.found()
}

// TestKeyLives: keys that are made and revoked are told once each, also by another node, where a rule says so; keys that expire soon are
// told without one, unless they never were to live longer.
func TestKeyLives(t *testing.T) {
	w := newWorld(t)
	w.found() // what is there already
	emit := func(kind, key string) {
		w.now = w.now.Add(time.Second)
		if _, err := w.db.Update(t.Context(), gatehouse.Event{Type: kind, Organization: "org-a", Project: "proj_1", Subject: gatehouse.SubjectKey, SubjectID: key, Actor: gatehouse.Actor{Kind: gatehouse.ActorKey, User: "user-a"}},
			func(*store.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	emit("api_key.created", "key_1")
	w.found() // nobody asked
	w.now = w.now.Add(time.Minute)
	w.rule(gatehouse.AlertRule{ID: "alrule_made", Name: "key-created", Kind: gatehouse.AlertKeyCreated, CreatedAt: gatehouse.MillisOf(w.now)})
	w.rule(gatehouse.AlertRule{ID: "alrule_gone", Name: "key-revoked", Kind: gatehouse.AlertKeyRevoked, CreatedAt: gatehouse.MillisOf(w.now), Projects: []string{"proj_2"}})
	w.found()
	emit("api_key.created", "key_1")
	emit("api_key.created", "key_none")
	emit("api_key.deleted", "key_1") // of a project that the rule is not about
	w.found("key_created key key_1")
	if a := w.fresh[0]; a.Title != `key "name of key_1" (key_1) was created` || !strings.Contains(a.Reason, "by user user-a") {
		t.Errorf("alert %+v", a)
	}
	w.found()
	if err := w.another().Look(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.found()
	w.now = w.now.Add(10 * time.Minute)
	emit("api_key.created", "key_2")
	w.found("key_created key key_2")

	expire := func(key string, created, expires time.Duration) {
		w.change(func(tx *store.Tx) error {
			return tx.CreateKey(&gatehouse.Key{ID: key, Class: gatehouse.ClassProject, Organization: "org-a", Project: "proj_1", OwnerUser: "user-a", Name: key, CreatedAt: gatehouse.MillisOf(w.now.Add(created)),
				ExpiresAt: gatehouse.MillisOf(w.now.Add(expires))})
		})
	}
	const aDay = 24 * time.Hour
	expire("key_soon", -30*aDay, 3*aDay)
	expire("key_late", -30*aDay, 9*aDay)
	expire("key_short", -aDay, 2*aDay) // it lives for three days
	expire("key_over", -30*aDay, -aDay)
	w.now = w.now.Add(61 * time.Minute)
	w.found("key_expiring key key_soon")
	if a := w.fresh[0]; a.Observed != 3 || !strings.HasSuffix(a.Title, "expires in 3 days") || !strings.Contains(a.Reason, "never used") {
		t.Errorf("alert %+v", a)
	}
	w.now = w.now.Add(2 * aDay)
	w.found("key_expiring key key_late")
	w.now = w.now.Add(61 * time.Minute)
	w.found()
}

// TestSpendAlerts: each threshold is told of once in a calendar month of the organization, to its own recipients besides.
func TestSpendAlerts(t *testing.T) {
	w := newWorld(t)
	w.now = time.Date(2026, 3, 31, 20, 0, 0, 0, time.UTC)
	w.change(func(tx *store.Tx) error {
		o, err := tx.Organization("org-a")
		if err != nil {
			return err
		}
		o.TimeZone = "Asia/Tokyo" // where April has begun
		for _, err := range []error{tx.SaveOrganization(o),
			tx.CreateSpendAlert(&gatehouse.SpendAlert{ID: "alert_1", Organization: "org-a", Threshold: 10e9, Recipients: []string{"finance@example.com"}}),
			tx.CreateSpendAlert(&gatehouse.SpendAlert{ID: "alert_2", Organization: "org-a", Project: "proj_2", Threshold: 6e9, Recipients: []string{"b@example.com"}}),
			tx.CreateSpendAlert(&gatehouse.SpendAlert{ID: "alert_3", Organization: "org-a", Threshold: 1000e9, Recipients: []string{"b@example.com"}})} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	w.spend(6, "proj_1", "key_1", "gpt-4o", 500) // in March
	w.spend(0, "proj_1", "key_1", "gpt-4o", 5)
	w.spend(0, "proj_2", "key_1", "gpt-4o", 4)
	w.found()
	w.spend(0, "proj_2", "key_1", "gpt-4o", 2)
	w.found("spend_alert organization org-a", "spend_alert project proj_2")
	w.found()
	var channels []string
	_ = w.db.View(t.Context(), func(tx *store.Tx) error {
		for _, a := range w.alerts() {
			list, err := tx.AlertDeliveries(a.ID)
			for _, d := range list {
				channels = append(channels, d.Channel)
			}
			if err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	slices.Sort(channels)
	if want := []string{"alert_1", "alert_2", "log", "log"}; !slices.Equal(channels, want) {
		t.Errorf("told %q, want %q", channels, want)
	}
	w.now = w.now.Add(31 * 24 * time.Hour)
	w.spend(0, "proj_1", "key_1", "gpt-4o", 11)
	w.found("spend_alert organization org-a")
}

// TestRefusedCredential and unpriced usage are told of as they are seen.
func TestRefusedCredentialAndUnpricedUsage(t *testing.T) {
	w := newWorld(t)
	at := gatehouse.MillisOf(w.now)
	w.record(store.Batch{
		Requests: []gatehouse.Request{{ID: "r1", At: at, Organization: "org-a", Project: "proj_1", Key: "key_1", Dialect: "openai", Status: 502, Attempts: []gatehouse.Attempt{{Upstream: "openai", Status: 401}}}},
		Usage:    []gatehouse.Usage{{ID: "u1", At: at, Organization: "org-a", Project: "proj_1", Key: "key_1", Product: "completions", Model: "own-model", Units: gatehouse.Units{Input: 1}}},
	})
	w.found("credential_refused upstream openai", "unpriced_usage model proj_1/own-model")
	w.found()
}

// TestChannels: a rule that names none tells every channel there is, one that names some those, and the log hears of everything.
func TestChannels(t *testing.T) {
	w := newWorld(t)
	w.change(func(tx *store.Tx) error {
		for _, c := range []gatehouse.AlertChannel{{ID: "alch_1", Name: "a"}, {ID: "alch_2", Name: "b"}, {ID: "alch_3", Name: "c", Disabled: true}} {
			c.Organization = "org-a"
			if err := tx.CreateAlertChannel(&c); err != nil {
				return err
			}
		}
		return nil
	})
	w.rule(gatehouse.AlertRule{Name: "credential-refused", Kind: gatehouse.AlertCredentialRefused, QuietMillis: 1, Channels: []string{"alch_2"}})
	w.rule(gatehouse.AlertRule{Name: "unpriced-usage", Kind: gatehouse.AlertUnpriced, QuietMillis: 1, Channels: []string{"log"}})
	at := gatehouse.MillisOf(w.now)
	w.record(store.Batch{
		Requests: []gatehouse.Request{{ID: "r1", At: at, Organization: "org-a", Project: "proj_1", Key: "key_1", Dialect: "openai", Status: 502, Attempts: []gatehouse.Attempt{{Upstream: "openai", Status: 401}}}},
		Usage:    []gatehouse.Usage{{ID: "u1", At: at, Organization: "org-a", Project: "proj_1", Key: "key_1", Product: "completions", Model: "own-model", Units: gatehouse.Units{Input: 1}}},
		LastUsed: map[string]gatehouse.Millis{"key_1": at - 40*day},
	})
	w.record(store.Batch{LastUsed: map[string]gatehouse.Millis{"key_1": at}})
	w.look()
	got := map[string][]string{}
	_ = w.db.View(t.Context(), func(tx *store.Tx) error {
		for _, a := range w.alerts() {
			list, err := tx.AlertDeliveries(a.ID)
			for _, d := range list {
				got[a.RuleName] = append(got[a.RuleName], d.Channel)
			}
			if err != nil {
				t.Error(err)
			}
			slices.Sort(got[a.RuleName])
		}
		return nil
	})
	for rule, want := range map[string][]string{"waking-key": {"alch_1", "alch_2", "log"}, "credential-refused": {"alch_2", "log"}, "unpriced-usage": {"log"}} {
		if !slices.Equal(got[rule], want) {
			t.Errorf("%s told %q, want %q", rule, got[rule], want)
		}
	}
}

// TestOneNodeWatches: of two one looks, and the other takes over once it is gone.
func TestOneNodeWatches(t *testing.T) {
	w := newWorld(t)
	other := w.another()
	watching := func(w *Watch) bool { w.turn(t.Context()); return w.metrics.watching.Load() }
	if !watching(w.watch) || watching(other) || !watching(w.watch) {
		t.Error("both look, or neither")
	}
	w.now = w.now.Add(claimFor - time.Second)
	if watching(other) {
		t.Error("the other looks while the claim of the first stands")
	}
	w.now = w.now.Add(time.Second)
	if !watching(other) || watching(w.watch) {
		t.Error("nobody followed a node that is gone")
	}
}

// TestBudgetThresholds: each percentage is told of once in a window, and one alert stands for those that are reached together.
func TestBudgetThresholds(t *testing.T) {
	w := newWorld(t)
	start, end := gatehouse.Window{Period: gatehouse.Monthly}.Bounds(gatehouse.MillisOf(w.now), time.UTC)
	b := admin.BudgetStatus{Budget: gatehouse.Budget{ID: "budget_1", Organization: "org-a", Name: "team", Scope: gatehouse.ScopeProject, Subject: "proj_1", Amount: 100e9,
		Window: gatehouse.Window{Period: gatehouse.Monthly}, Enforcement: gatehouse.Hard, Alerts: []int{50, 80, 100}}, Start: start, End: end, Now: 100e9}
	spend := func(dollars float64) {
		b.Spent = gatehouse.NanoUSD(dollars * 1e9)
		w.budgetList = []admin.BudgetStatus{b}
	}
	spend(49.99)
	w.found()
	spend(50)
	w.found("budget budget budget_1")
	a := w.fresh[0]
	if a.Title != `budget "team" (budget_1) has reached 50% of $100.00` || a.Project != "proj_1" || a.Threshold != 50e9 || !strings.Contains(a.Reason, "is refused") {
		t.Errorf("alert %+v", a)
	}
	w.found()
	spend(130)
	w.found("budget budget budget_1") // 80 and 100
	if a := w.fresh[0]; !strings.Contains(a.Title, "100%") {
		t.Errorf("title %q", a.Title)
	}
	b.Now = 200e9 // an increase
	spend(170)
	w.found()
	b.Now = 100e9
	b.Start, b.End = end, end+30*day
	w.now = w.now.Add(31 * 24 * time.Hour)
	spend(85)
	w.found("budget budget budget_1")
}

// TestCreditsLow is told of once a day while an organization that prepays has little left.
func TestCreditsLow(t *testing.T) {
	w := newWorld(t)
	w.creditInfo.Balance = 1e9
	w.found() // nothing is prepaid
	w.creditInfo.Budget = "budget_credits"
	w.found("credits_low organization org-a")
	w.found()
	w.now = w.now.Add(24 * time.Hour)
	w.found("credits_low organization org-a")
	w.creditInfo.Balance = 10e9
	w.now = w.now.Add(24 * time.Hour)
	w.found()
}

// TestForecast: a month that is expected to cost more than its budget is told of, where a rule asks for it.
func TestForecast(t *testing.T) {
	w := newWorld(t)
	start, end := gatehouse.Window{Period: gatehouse.Monthly}.Bounds(gatehouse.MillisOf(w.now), time.UTC)
	b := admin.BudgetStatus{Budget: gatehouse.Budget{ID: "budget_1", Organization: "org-a", Name: "all", Scope: gatehouse.ScopeOrganization, Subject: "org-a", Amount: 100e9,
		Window: gatehouse.Window{Period: gatehouse.Monthly}}, Start: start, End: end, Now: 100e9, Spent: 20e9}
	w.budgetList = []admin.BudgetStatus{b}
	for d := range 40 {
		w.spend(24*d, "proj_1", "key_1", "gpt-4o", 10)
	}
	w.found()
	w.rule(gatehouse.AlertRule{Name: "forecast", Kind: gatehouse.AlertForecast, QuietMillis: 7 * 86_400_000})
	w.now = w.now.Add(time.Hour)
	w.found("forecast budget budget_1")
	if a := w.fresh[0]; a.Observed < 250e9 || a.Observed > 350e9 {
		t.Errorf("alert %+v", a)
	}
	w.now = w.now.Add(time.Hour)
	w.found()
	w.budgetList[0].Now = 10_000e9
	w.now = w.now.Add(8 * 24 * time.Hour)
	w.found()
}
