package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
)

// finding is an alert with a mark of its own.
func finding(mark string, until gatehouse.Millis, channels ...string) store.Finding {
	return store.Finding{Mark: mark, Until: until, Channels: channels, Alert: gatehouse.Alert{ID: gatehouse.NewID(gatehouse.PrefixAlert), Organization: "org-a", Rule: "r", RuleName: "rule",
		Kind: gatehouse.AlertSpendSpike, Subject: gatehouse.AboutKey, SubjectID: "key_1", Key: "key_1", At: 1000, Observed: 7, Baseline: 1, Threshold: 3, Unit: gatehouse.UnitNanoUSD, Title: "t", Reason: "r"}}
}

func raise(t testing.TB, db *store.DB, now gatehouse.Millis, findings ...store.Finding) []gatehouse.Alert {
	t.Helper()
	raised, err := db.RaiseAlerts(t.Context(), now, findings)
	if err != nil {
		t.Fatalf("raise: %v", err)
	}
	return raised
}

// testAlertsOnce: of what many find at once one alert comes, with its deliveries, until the mark ends.
func testAlertsOnce(t *testing.T, db *store.DB) {
	seed(t, db)
	var wait sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for range 16 {
		wait.Go(func() {
			raised, err := db.RaiseAlerts(t.Context(), 1000, []store.Finding{finding("a", 5000, "log", "alch_1"), finding("b", 5000, "log")})
			mu.Lock()
			defer mu.Unlock()
			total += len(raised)
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if total != 2 {
		t.Fatalf("raised %d alerts, want 2", total)
	}
	if got := raise(t, db, 4999, finding("a", 9000)); len(got) != 0 {
		t.Errorf("raised %v before the mark ended", got)
	}
	silent := finding("a", 9000)
	silent.Silent = true
	if got := raise(t, db, 5000, silent); len(got) != 0 {
		t.Errorf("raised %v though it was to be silent", got)
	}
	if got := raise(t, db, 5001, finding("a", 9000)); len(got) != 0 {
		t.Errorf("raised %v after the silent mark", got)
	}
	if got := raise(t, db, 9000, finding("a", 10000)); len(got) != 1 {
		t.Errorf("raised %v once the mark had ended, want one", got)
	}
	look(t, db, func(tx *store.Tx) error {
		list, more, err := tx.Alerts("org-a", false, store.Page{})
		if err != nil || more || len(list) != 3 {
			t.Errorf("alerts: %d, %v, %v", len(list), more, err)
		}
		deliveries := 0
		for _, a := range list {
			d, err := tx.AlertDeliveries(a.ID)
			if err != nil {
				return err
			}
			deliveries += len(d)
			if a.Observed != 7 || a.Title != "t" || a.Key != "key_1" || a.RuleName != "rule" {
				t.Errorf("alert as read: %+v", a)
			}
		}
		if deliveries != 3 {
			t.Errorf("%d deliveries, want 3", deliveries)
		}
		other, _, err := tx.Alerts("org-b", false, store.Page{})
		if len(other) != 0 {
			t.Errorf("another organization sees %v", other)
		}
		return err
	})
	id := ""
	look(t, db, func(tx *store.Tx) error {
		list, _, err := tx.Alerts("org-a", true, store.Page{Limit: 1})
		id = list[0].ID
		return err
	})
	change(t, db, func(tx *store.Tx) error { return tx.AcknowledgeAlert(id, "user-a") })
	look(t, db, func(tx *store.Tx) error {
		a, err := tx.Alert(id)
		if err != nil || a.AcknowledgedBy != "user-a" || a.AcknowledgedAt == 0 {
			t.Errorf("acknowledged: %+v, %v", a, err)
		}
		open, _, err := tx.Alerts("org-a", true, store.Page{})
		if len(open) != 2 {
			t.Errorf("%d open, want 2", len(open))
		}
		return err
	})
}

// testDeliveries: each is had by one node at a time, its claim lapses, and what an earlier claim came to does not count.
func testDeliveries(t *testing.T, db *store.DB) {
	seed(t, db)
	for i := range 20 {
		raise(t, db, 1000, finding(fmt.Sprint(i), 5000, "log"))
	}
	claim := func(now, until gatehouse.Millis, limit int) []gatehouse.AlertDelivery {
		t.Helper()
		list, err := db.ClaimDeliveries(t.Context(), store.DeliveryClaim{Now: now, Until: until, Limit: limit})
		if err != nil {
			t.Error(err)
		}
		return list
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]int{}
	for range 8 {
		wait.Go(func() {
			for _, d := range claim(1000, 2000, 5) {
				mu.Lock()
				seen[d.ID]++
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was claimed %d times", id, n)
		}
	}
	for _, d := range claim(1000, 2000, 100) {
		seen[d.ID]++
	}
	if len(seen) != 20 {
		t.Errorf("%d deliveries claimed, want 20", len(seen))
	}
	if again := claim(1999, 3000, 100); len(again) != 0 {
		t.Errorf("%d claimed while others hold them", len(again))
	}
	lapsed := claim(2000, 3000, 100)
	if len(lapsed) != 20 || lapsed[0].Tries != 2 {
		t.Fatalf("%d claimed once the claims had lapsed, the first %+v", len(lapsed), lapsed[0])
	}
	end := func(d gatehouse.AlertDelivery, tries int64, state gatehouse.DeliveryState, next gatehouse.Millis) {
		t.Helper()
		d.Tries, d.State, d.NextAt, d.Error = tries, state, next, "e"
		if err := db.EndDelivery(t.Context(), &d); err != nil {
			t.Fatal(err)
		}
	}
	late, now := lapsed[0], lapsed[1]
	end(late, 1, gatehouse.DeliveryDelivered, 0) // of the first claim
	end(now, 2, gatehouse.DeliveryDead, 0)
	end(lapsed[2], 2, gatehouse.DeliveryPending, 9000)
	look(t, db, func(tx *store.Tx) error {
		d, err := tx.AlertDelivery(late.ID)
		if err != nil || d.State != gatehouse.DeliveryPending {
			t.Errorf("the end of an earlier claim counted: %+v, %v", d, err)
		}
		dead, _, err := tx.DeliveriesIn("org-a", gatehouse.DeliveryDead, store.Page{})
		if err != nil {
			return err
		}
		if len(dead) != 1 || dead[0].ID != now.ID || dead[0].Error != "e" {
			t.Errorf("dead: %+v", dead)
		}
		n, oldest, err := tx.CountDeliveries()
		if n != 19 || oldest != 1000 {
			t.Errorf("%d pending since %d, want 19 since 1000", n, oldest)
		}
		return err
	})
	change(t, db, func(tx *store.Tx) error { return tx.ReplayDelivery(now.ID) })
	again := claim(gatehouse.Millis(1)<<50, gatehouse.Millis(1)<<51, 100)
	if i := slices.IndexFunc(again, func(d gatehouse.AlertDelivery) bool { return d.ID == now.ID }); i < 0 || again[i].Tries != 1 {
		t.Errorf("the replayed delivery is not claimed anew: %+v", again)
	}
	if err := db.PruneAlerts(t.Context(), store.AlertRetention{Alerts: 1001, Marks: 5001}); err != nil {
		t.Fatal(err)
	}
	look(t, db, func(tx *store.Tx) error {
		n, _, err := tx.CountDeliveries()
		if n != 0 {
			t.Errorf("%d deliveries are left of alerts that are pruned", n)
		}
		return err
	})
}

// testDuty: one holds it, goes on holding it, and loses it at the moment it named.
func testDuty(t *testing.T, db *store.DB) {
	claim := func(holder string, now, until gatehouse.Millis) bool {
		t.Helper()
		mine, err := db.ClaimDuty(t.Context(), "d", holder, now, until)
		if err != nil {
			t.Error(err)
		}
		return mine
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	holders := 0
	for i := range 8 {
		wait.Go(func() {
			if claim(fmt.Sprint(i), 100, 200) {
				mu.Lock()
				holders++
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	if holders != 1 {
		t.Fatalf("%d hold the duty at once", holders)
	}
	if !claim("x", 200, 300) || claim("y", 299, 400) || !claim("x", 299, 400) || claim("y", 399, 500) || !claim("y", 400, 500) {
		t.Error("the duty did not move as its holders said")
	}
	if err := db.DropDuty(t.Context(), "d", "x"); err != nil || claim("z", 450, 500) {
		t.Errorf("it was dropped by one who does not hold it: %v", err)
	}
	if err := db.DropDuty(t.Context(), "d", "y"); err != nil || !claim("z", 450, 500) {
		t.Errorf("it was not free once its holder dropped it: %v", err)
	}
}

// testActivity: the sums by hour count what is recorded once, and agree with the sums that reports read.
func testActivity(t *testing.T, db *store.DB) {
	const at = 10 * store.Hour
	use := func(id, key, project, model string, at gatehouse.Millis, cost int64) gatehouse.Usage {
		return gatehouse.Usage{ID: id, At: at, Organization: "org-a", Project: project, Key: key, Product: "completions", Model: model, Units: gatehouse.Units{Input: 1},
			Cost: gatehouse.NanoUSD(cost), CostKnown: cost > 0}
	}
	request := func(id, key, project, model string, at gatehouse.Millis, status int) gatehouse.Request {
		return gatehouse.Request{ID: id, At: at, Organization: "org-a", Project: project, Key: key, Model: model, Deployment: model, Status: status, Rule: "served", Dialect: "openai"}
	}
	b := store.Batch{
		Usage: []gatehouse.Usage{use("1", "key_1", "proj_1", "m", at, 5), use("2", "key_1", "proj_1", "m", at+1, 7), use("3", "key_2", "proj_1", "n", at+2, 0), use("4", "key_1", "proj_1", "m", at+store.Hour, 11)},
		Requests: []gatehouse.Request{request("1", "key_1", "proj_1", "m", at, 200), request("2", "key_1", "proj_1", "m", at+1, 200), request("5", "key_1", "proj_1", "m", at+2, 502),
			{ID: "6", At: at, Organization: "org-a", Key: "key_9", Dialect: "admin", Status: 404}, {ID: "7", At: at, Status: 401, Dialect: "openai"},
			{ID: "8", At: at, Organization: "org-a", Project: "proj_1", Key: "key_1", Model: "made up", Status: 404, Dialect: "openai", Attempts: []gatehouse.Attempt{{Upstream: "up", Status: 401}, {Upstream: "up", Status: 401}, {Upstream: "other", Status: 200}}}},
	}
	record(t, db, b)
	record(t, db, b) // as after a crash
	look(t, db, func(tx *store.Tx) error {
		rows, err := tx.ActivityIn(at)
		if err != nil {
			return err
		}
		got := map[string]string{}
		for _, a := range rows {
			got[string(a.Kind)+" "+a.Subject] = fmt.Sprintf("requests %d errors %d unpriced %d cost %d", a.Requests, a.Errors, a.Unpriced, a.Cost)
		}
		want := map[string]string{
			"key key_1":         "requests 4 errors 2 unpriced 0 cost 12",
			"key key_2":         "requests 0 errors 0 unpriced 1 cost 0",
			"project proj_1":    "requests 4 errors 2 unpriced 1 cost 12",
			"model proj_1/m":    "requests 3 errors 1 unpriced 0 cost 12",
			"model proj_1/n":    "requests 0 errors 0 unpriced 1 cost 0",
			"upstream org-a/up": "requests 0 errors 2 unpriced 0 cost 0",
		}
		if len(got) != len(want) {
			t.Errorf("activity %v, want %v", got, want)
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s: %s, want %s", k, got[k], v)
			}
		}
		past, err := tx.ActivityOf(gatehouse.AboutKey, "key_1", 0, at+2*store.Hour)
		if err != nil || len(past) != 2 || past[0].Cost != 12 || past[1].Cost != 11 {
			t.Errorf("activity of a key: %+v, %v", past, err)
		}
		buckets, err := tx.UsageBuckets(store.UsageQuery{Organization: "org-a", Start: at, End: at + 1, Width: "1h", GroupBy: []string{store.ByProject}})
		if err != nil || len(buckets[0].Results) != 1 || buckets[0].Results[0].Cost != 12 {
			t.Errorf("the sums that reports read: %+v, %v", buckets, err)
		}
		return err
	})
	if err := db.PruneAlerts(t.Context(), store.AlertRetention{Activity: at + store.Hour}); err != nil {
		t.Fatal(err)
	}
	look(t, db, func(tx *store.Tx) error {
		rows, err := tx.ActivityIn(at)
		later, laterErr := tx.ActivityIn(at + store.Hour)
		if len(rows) != 0 || len(later) == 0 || laterErr != nil {
			t.Errorf("after pruning: %v and %v, %v", rows, later, laterErr)
		}
		return err
	})
}

// testKeyUses: networks are kept by key with their first and last use, and a use after a day or more is a waking.
func testKeyUses(t *testing.T, db *store.DB) {
	const day = 24 * store.Hour
	use := func(network string, at gatehouse.Millis) {
		t.Helper()
		record(t, db, store.Batch{LastUsed: map[string]gatehouse.Millis{"key_1": at}, Networks: map[store.NetworkUse]gatehouse.Millis{{Key: "key_1", Network: network}: at}})
	}
	use("192.0.2.0/24", 1000)
	use("192.0.2.0/24", 1000+store.Hour)
	use("198.51.100.0/24", 2000+store.Hour)
	use("192.0.2.0/24", 500) // late
	look(t, db, func(tx *store.Tx) error {
		list, err := tx.NetworksOf("key_1")
		want := []store.KeyNetwork{{Key: "key_1", Network: "192.0.2.0/24", FirstAt: 1000, LastAt: 1000 + store.Hour}, {Key: "key_1", Network: "198.51.100.0/24", FirstAt: 2000 + store.Hour, LastAt: 2000 + store.Hour}}
		if !slices.Equal(list, want) {
			t.Errorf("networks %+v, want %+v", list, want)
		}
		fresh, freshErr := tx.NetworksSince(1001, 10)
		if len(fresh) != 1 || fresh[0].Network != "198.51.100.0/24" || freshErr != nil {
			t.Errorf("new networks %+v, %v", fresh, freshErr)
		}
		woken, wokenErr := tx.WokenSince(0)
		if len(woken) != 0 || wokenErr != nil {
			t.Errorf("woken %+v, %v", woken, wokenErr)
		}
		return err
	})
	use("192.0.2.0/24", 2000+store.Hour+3*day)
	use("192.0.2.0/24", 2001+store.Hour+3*day) // the waking stays
	look(t, db, func(tx *store.Tx) error {
		woken, err := tx.WokenSince(0)
		if want := []store.Waking{{Key: "key_1", SleptFrom: 2000 + store.Hour, WokeAt: 2000 + store.Hour + 3*day}}; !slices.Equal(woken, want) {
			t.Errorf("woken %+v, want %+v", woken, want)
		}
		return err
	})
	if err := db.DropNetworks(t.Context(), "key_1", []string{"198.51.100.0/24"}); err != nil {
		t.Fatal(err)
	}
	look(t, db, func(tx *store.Tx) error {
		list, err := tx.NetworksOf("key_1")
		if len(list) != 1 {
			t.Errorf("networks %+v after one was dropped", list)
		}
		return err
	})
}

// testAlertRules: a rule that is written down takes the place of the default one of its name until it is removed.
func testAlertRules(t *testing.T, db *store.DB) {
	seed(t, db)
	rule := gatehouse.AlertRule{ID: "alrule_1", Organization: "org-a", Name: "spend-spike", Kind: gatehouse.AlertSpendSpike, Per: []gatehouse.AlertSubject{gatehouse.AboutKey}, MinCost: 5, QuietMillis: 7,
		Channels: []string{"log"}, Suspend: gatehouse.SuspendKey, Projects: []string{"proj_1"}, Factor: 200, Deviations: 3, Days: 2, MinErrors: 1}
	channel := gatehouse.AlertChannel{ID: "alch_1", Organization: "org-a", Name: "ops", Kind: gatehouse.ChannelWebhook, URL: "https://hooks.example.com", Secret: "sealed://1", OldSecret: "sealed://2", OldUntil: 9,
		Recipients: []string{"a@example.com"}, SubjectPrefix: "p", AllowPrivate: true}
	change(t, db, func(tx *store.Tx) error { return tx.CreateAlertRule(&rule) })
	change(t, db, func(tx *store.Tx) error { return tx.CreateAlertChannel(&channel) })
	refused(t, db, gatehouse.Conflict, func(tx *store.Tx) error {
		second := gatehouse.AlertRule{ID: "alrule_2", Organization: "org-a", Name: "spend-spike"}
		return tx.CreateAlertRule(&second)
	})
	look(t, db, func(tx *store.Tx) error {
		read, err := tx.AlertRule("alrule_1")
		if err != nil || fmt.Sprintf("%+v", *read) != fmt.Sprintf("%+v", rule) {
			t.Errorf("rule %+v, %v, want %+v", read, err, rule)
		}
		rules, err := tx.EffectiveAlertRules("org-a")
		n := 0
		for _, r := range rules {
			if r.Name == "spend-spike" {
				n++
			}
		}
		if err != nil || n != 1 || len(rules) != len(gatehouse.DefaultAlertRules("")) {
			t.Errorf("%d rules of that name among %d, %v", n, len(rules), err)
		}
		got, err := tx.AlertChannel("alch_1")
		if err != nil || fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", channel) {
			t.Errorf("channel %+v, %v, want %+v", got, err, channel)
		}
		return nil
	})
	rule.RemovedAt, channel.RemovedAt = 5, 5
	change(t, db, func(tx *store.Tx) error { return tx.SaveAlertRule(&rule) })
	change(t, db, func(tx *store.Tx) error { return tx.SaveAlertChannel(&channel) })
	look(t, db, func(tx *store.Tx) error {
		rules, err := tx.EffectiveAlertRules("org-a")
		i := slices.IndexFunc(rules, func(r gatehouse.AlertRule) bool { return r.Name == "spend-spike" })
		if err != nil || i < 0 || !rules[i].Default() {
			t.Errorf("the default rule is not back: %+v, %v", rules, err)
		}
		channels, err := tx.AlertChannels("org-a")
		if len(channels) != 0 {
			t.Errorf("removed channels are listed: %+v", channels)
		}
		return err
	})
}
