package admin_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// alertTypes returns the types of events after seq.
func alertTypes(t *testing.T, o *office, seq int64) (types []string) {
	t.Helper()
	for _, ev := range o.eventsAfter(t, seq) {
		types = append(types, ev.Type)
	}
	return types
}

// TestAlertChannels: a webhook's secret is shown once, rotated with a day's overlap, kept sealed, and gone with its channel.
func TestAlertChannels(t *testing.T) {
	o := open(t)
	seq := o.lastSeq(t)
	hook := admin.AlertChannelSpec{Name: "ops", Kind: gatehouse.ChannelWebhook, URL: "https://hooks.example.com/x"}
	c, first, err := o.PutAlertChannel(t.Context(), o.who, hook)
	if err != nil || !strings.HasPrefix(first.Reveal(), "whsec_") {
		t.Fatalf("channel %+v, %v", c, err)
	}
	if _, again, err := o.PutAlertChannel(t.Context(), o.who, hook); err != nil || !again.IsZero() {
		t.Errorf("declared again: a secret, or %v", err)
	}
	hook.Disabled = true
	if _, again, err := o.PutAlertChannel(t.Context(), o.who, hook); err != nil || !again.IsZero() {
		t.Errorf("changed: a secret, or %v", err)
	}
	c, second, err := o.RotateAlertChannel(t.Context(), o.who, "ops")
	if err != nil || second.Reveal() == first.Reveal() || c.OldUntil != gatehouse.MillisOf(o.now.Add(24*time.Hour)) {
		t.Fatalf("rotated %+v, %v", c, err)
	}
	for ref, want := range map[string]string{c.Secret: second.Reveal(), c.OldSecret: first.Reveal()} {
		got, err := o.OpenSealed(t.Context(), o.who.Organization, strings.TrimPrefix(ref, "sealed://"))
		if err != nil || got.Reveal() != want {
			t.Errorf("%s does not open as what was shown: %v", ref, err)
		}
	}
	if _, err := o.RemoveAlertChannel(t.Context(), o.who, "ops"); err != nil {
		t.Fatal(err)
	}
	if _, err := o.OpenSealed(t.Context(), o.who.Organization, strings.TrimPrefix(c.Secret, "sealed://")); gatehouse.KindOf(err) != gatehouse.NotFound {
		t.Errorf("the secret of a removed channel: %v", err)
	}
	want := []string{"alert_channel.created", "sealed_secret.created", "alert_channel.updated", "alert_channel.secret_rotated", "sealed_secret.created",
		"alert_channel.deleted", "sealed_secret.deleted", "sealed_secret.deleted"}
	if got := alertTypes(t, o, seq); !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	for _, ev := range o.eventsAfter(t, seq) {
		if strings.Contains(string(ev.Change), "whsec_") {
			t.Errorf("event %s holds a secret", ev.Type)
		}
	}
}

// TestAlertsAreChecked: what makes no sense, or leads where it must not, is refused with the field at fault.
func TestAlertsAreChecked(t *testing.T) {
	o := open(t)
	for param, spec := range map[string]admin.AlertChannelSpec{
		"kind":       {Name: "a", Kind: "pigeon"},
		"name":       {Name: "log", Kind: gatehouse.ChannelWebhook, URL: "https://a.example.com"},
		"url":        {Name: "a", Kind: gatehouse.ChannelSlack, URL: "https://hooks.slack.example.com/secret"},
		"recipients": {Name: "a", Kind: gatehouse.ChannelWebhook, URL: "https://a.example.com", Recipients: []string{"a@example.com"}},
	} {
		if _, _, err := o.PutAlertChannel(t.Context(), o.who, spec); paramOf(err) != param {
			t.Errorf("channel %+v: %v, want %s at fault", spec, err, param)
		}
	}
	for _, url := range []string{"", "http://a.example.com", "https://user:password@a.example.com", "https://"} {
		if _, _, err := o.PutAlertChannel(t.Context(), o.who, admin.AlertChannelSpec{Name: "a", Kind: gatehouse.ChannelWebhook, URL: url}); paramOf(err) != "url" {
			t.Errorf("url %q: %v", url, err)
		}
	}
	if _, _, err := o.PutAlertChannel(t.Context(), o.who, admin.AlertChannelSpec{Name: "a", Kind: gatehouse.ChannelSlack, URL: "env://FORBIDDEN"}); gatehouse.KindOf(err) != gatehouse.Invalid {
		t.Errorf("a reference that is not allowed: %v", err)
	}
	if _, _, err := o.PutAlertChannel(t.Context(), o.who, admin.AlertChannelSpec{Name: "a", Kind: gatehouse.ChannelEmail, Recipients: []string{"a@example.com"}}); paramOf(err) != "kind" {
		t.Errorf("mail without a server: %v", err)
	}
	for param, spec := range map[string]admin.AlertRuleSpec{
		"kind":     {Name: "a", Kind: "weather"},
		"per":      {Name: "a", Kind: gatehouse.AlertWakingKey, Per: []gatehouse.AlertSubject{gatehouse.AboutKey}},
		"factor":   {Name: "a", Kind: gatehouse.AlertSpendSpike, Factor: 0.5},
		"quiet":    {Name: "a", Kind: gatehouse.AlertSpendSpike, Quiet: "5m"},
		"suspend":  {Name: "a", Kind: gatehouse.AlertSpendSpike, Per: []gatehouse.AlertSubject{gatehouse.AboutProject}, Suspend: gatehouse.SuspendKey},
		"channels": {Name: "a", Kind: gatehouse.AlertSpendSpike, Channels: []string{"nobody"}},
	} {
		if _, err := o.PutAlertRule(t.Context(), o.who, spec); paramOf(err) != param {
			t.Errorf("rule %+v: %v, want %s at fault", spec, err, param)
		}
	}
}

// paramOf returns the field that an error is about.
func paramOf(err error) string {
	if e, ok := err.(*gatehouse.Error); ok {
		return e.Param
	}
	return ""
}

// TestAlertsInManifest: declared twice they change nothing, and pruned they are as in the beginning.
func TestAlertsInManifest(t *testing.T) {
	o := open(t)
	m, err := admin.ParseManifest([]byte(`
alerts:
  channels:
  - {name: ops, kind: webhook, url: https://hooks.example.com/gatehouse}
  rules:
  - {name: spend-spike, kind: spend_spike, per: [key, project], min_cost: "20", factor: 4, channels: [ops], suspend: key}
  - {name: waking-key, kind: waking_key, disabled: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	if plan, err := o.Apply(t.Context(), o.who, m, admin.ApplyOptions{}); err != nil || len(plan) != 3 {
		t.Fatalf("plan %+v, %v", plan, err)
	}
	if plan, err := o.Apply(t.Context(), o.who, m, admin.ApplyOptions{}); err != nil || len(plan) != 0 {
		t.Errorf("applied twice: %+v, %v", plan, err)
	}
	rules := must[[]gatehouse.AlertRule](t)(o.AlertRules(t.Context(), o.who))
	i := slices.IndexFunc(rules, func(r gatehouse.AlertRule) bool { return r.Name == "spend-spike" })
	if r := rules[i]; r.Default() || r.MinCost != 20e9 || r.Factor != 400 || r.Deviations != 6 || r.Suspend != gatehouse.SuspendKey || len(r.Channels) != 1 {
		t.Errorf("rule %+v", r)
	}
	if _, err := o.RemoveAlertChannel(t.Context(), o.who, "ops"); gatehouse.KindOf(err) != gatehouse.Conflict {
		t.Errorf("a channel that a rule names was removed: %v", err)
	}
	if _, err := o.Apply(t.Context(), o.who, &admin.Manifest{}, admin.ApplyOptions{Prune: true}); err != nil {
		t.Fatal(err)
	}
	rules = must[[]gatehouse.AlertRule](t)(o.AlertRules(t.Context(), o.who))
	if len(rules) != len(gatehouse.DefaultAlertRules("")) || slices.ContainsFunc(rules, func(r gatehouse.AlertRule) bool { return !r.Default() }) {
		t.Errorf("rules after pruning: %+v", rules)
	}
}

// TestSuspendForAlert: the key of an alert is stopped by the system with the alert as its reason, its account's other keys where the
// rule says so, an admin key never, and resuming works as ever.
func TestSuspendForAlert(t *testing.T) {
	o := open(t)
	project := o.found.Organization.DefaultProject
	account, first, err := o.CreateServiceAccount(t.Context(), o.who, project, admin.ServiceAccountRequest{Name: "bot", WithKey: true})
	if err != nil {
		t.Fatal(err)
	}
	second, err := o.CreateKey(t.Context(), o.who, admin.KeyRequest{Class: gatehouse.ClassService, Name: "second", Project: project, ServiceAccount: account.ID})
	if err != nil {
		t.Fatal(err)
	}
	alert := &gatehouse.Alert{ID: "alrt_1", Organization: o.who.Organization, RuleName: "runaway", Key: first.Key.ID}
	states := func() string {
		var out []string
		for _, id := range []string{first.Key.ID, second.Key.ID, o.found.AdminKey.Key.ID} {
			k := must[*admin.KeyInfo](t)(o.Key(t.Context(), o.who, "", id))
			out = append(out, k.Key.State(gatehouse.MillisOf(o.now)).String())
		}
		return strings.Join(out, " ")
	}
	for _, step := range []struct {
		key     string
		how     gatehouse.AlertSuspend
		outcome string
		states  string
		events  int
	}{
		{first.Key.ID, gatehouse.SuspendKey, "suspended", "suspended active active", 1},
		{first.Key.ID, gatehouse.SuspendKey, "nothing suspended: the key is suspended", "suspended active active", 0},
		{first.Key.ID, gatehouse.SuspendOwner, "suspended", "suspended suspended active", 1},
		{o.found.AdminKey.Key.ID, gatehouse.SuspendKey, "nothing suspended: it is an admin key", "suspended suspended active", 0},
		{"key_gone", gatehouse.SuspendKey, "nothing suspended: the key is gone", "suspended suspended active", 0},
	} {
		seq := o.lastSeq(t)
		alert.Key = step.key
		outcome, err := o.SuspendForAlert(t.Context(), alert, step.how)
		if err != nil || outcome != step.outcome || states() != step.states {
			t.Errorf("%+v: %q, %v, keys %s", step, outcome, err, states())
		}
		events := o.eventsAfter(t, seq)
		if len(events) != step.events {
			t.Errorf("%+v: %d events", step, len(events))
		}
		for _, ev := range events {
			if ev.Type != "api_key.suspended" || ev.Actor.Kind != gatehouse.ActorSystem || !strings.Contains(string(ev.Change), "alrt_1") || ev.Project != project {
				t.Errorf("event %+v", ev)
			}
		}
	}
	if _, _, err := o.ResumeKey(t.Context(), o.who, first.Key.ID); err != nil || states() != "active suspended active" {
		t.Errorf("resumed: %v, keys %s", err, states())
	}
}

// TestAlertsOfOthers: an organization sees, acknowledges and replays its own alerts alone.
func TestAlertsOfOthers(t *testing.T) {
	o := open(t)
	a := must[*gatehouse.Alert](t)(o.TestAlertChannel(t.Context(), o.who, "log"))
	list, err := o.AlertDeliveries(t.Context(), o.who, a.ID)
	if err != nil || len(list) != 1 || list[0].State != gatehouse.DeliveryPending {
		t.Fatalf("deliveries %+v, %v", list, err)
	}
	other := must[*admin.Founding](t)(o.Found(t.Context(), gatehouse.Host(""), "Other", "Bo", "bo@example.com"))
	they := &gatehouse.Principal{Organization: other.Organization.ID, Class: gatehouse.ClassAdmin, Actor: gatehouse.Actor{Kind: gatehouse.ActorKey, Key: other.AdminKey.Key.ID}}
	if _, err := o.Alert(t.Context(), they, a.ID); gatehouse.KindOf(err) != gatehouse.NotFound {
		t.Errorf("another's alert: %v", err)
	}
	if _, err := o.AcknowledgeAlert(t.Context(), they, a.ID); gatehouse.KindOf(err) != gatehouse.NotFound {
		t.Errorf("another's acknowledgement: %v", err)
	}
	if _, err := o.ReplayDelivery(t.Context(), they, list[0].ID); gatehouse.KindOf(err) != gatehouse.NotFound {
		t.Errorf("another's replay: %v", err)
	}
	if mine, _, err := o.Alerts(t.Context(), they, false, store.Page{}); err != nil || len(mine) != 0 {
		t.Errorf("another's list: %v, %v", mine, err)
	}
	acked, err := o.AcknowledgeAlert(t.Context(), o.who, a.ID)
	if err != nil || acked.AcknowledgedBy != o.found.Owner.ID {
		t.Errorf("acknowledged %+v, %v", acked, err)
	}
}
