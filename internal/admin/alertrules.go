package admin

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// AlertRuleSpec is a rule as it is declared. What is absent is as in the default rule of the same kind.
type AlertRuleSpec struct {
	Name     string                   `json:"name" yaml:"name"`
	Kind     gatehouse.AlertKind      `json:"kind" yaml:"kind"`
	Disabled bool                     `json:"disabled,omitempty" yaml:"disabled"`
	Per      []gatehouse.AlertSubject `json:"per,omitempty" yaml:"per"`           // of spikes: key, project, model
	Projects []string                 `json:"projects,omitempty" yaml:"projects"` // names or ids; absent: every project
	MinCost  gatehouse.USD            `json:"min_cost,omitzero" yaml:"min_cost"`  // dollars in an hour; of credits what is little
	MinErrs  int64                    `json:"min_errors,omitempty" yaml:"min_errors"`
	Factor   float64                  `json:"factor,omitempty" yaml:"factor"` // times what is usual, to two places
	Spreads  int64                    `json:"deviations,omitempty" yaml:"deviations"`
	Days     int64                    `json:"days,omitempty" yaml:"days"`
	Quiet    string                   `json:"quiet,omitempty" yaml:"quiet"` // a duration such as 12h
	Channels []string                 `json:"channels,omitempty" yaml:"channels"`
	Suspend  gatehouse.AlertSuspend   `json:"suspend,omitempty" yaml:"suspend"` // key or service_account
}

// The bounds of a rule's numbers.
const (
	maxFactor = 1000
	maxDays   = 30
	leastHush = time.Hour // a window is told of once, and the shortest is an hour
	mostHush  = 90 * 24 * time.Hour
	maxAlerts = 200 // rules, and channels, of an organization
)

// AlertRules lists the organization's rules: those that were written down, and the default ones whose place none of them takes.
func (s *Service) AlertRules(ctx context.Context, who *gatehouse.Principal) (list []gatehouse.AlertRule, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		list, err = tx.EffectiveAlertRules(who.Organization)
		return err
	})
	return list, err
}

// PutAlertRule creates the rule of that name or replaces it, a default one too.
func (s *Service) PutAlertRule(ctx context.Context, who *gatehouse.Principal, spec AlertRuleSpec) (*gatehouse.AlertRule, error) {
	var rule *gatehouse.AlertRule
	_, err := s.put(ctx, who, func(tx *store.Tx) (out *outcome, err error) {
		rule, out, err = s.putAlertRule(tx, who, spec)
		return out, err
	})
	return rule, err
}

// RemoveAlertRule removes a rule that was written down, by its name or id. Where it took the place of a default one, that is back.
func (s *Service) RemoveAlertRule(ctx context.Context, who *gatehouse.Principal, name string) (Effect, error) {
	return s.put(ctx, who, func(tx *store.Tx) (*outcome, error) {
		rules, err := tx.AlertRules(who.Organization)
		if err != nil {
			return nil, err
		}
		for i := range rules {
			if r := &rules[i]; r.Name == name || r.ID == name {
				return s.removeAlertRule(tx, r)
			}
		}
		if slices.ContainsFunc(gatehouse.DefaultAlertRules(""), func(r gatehouse.AlertRule) bool { return r.Name == name || r.ID == name }) {
			return nil, gatehouse.InvalidParam("name", "The rule %q is a default one, which cannot be removed. Disable it: write down a rule of the same name with 'disabled'.", name)
		}
		return nil, notFound("alert rule", name)
	})
}

func (s *Service) removeAlertRule(tx *store.Tx, r *gatehouse.AlertRule) (*outcome, error) {
	r.RemovedAt = tx.Now
	return &outcome{action: "delete", kind: "alert_rule", name: r.Name,
		event: &gatehouse.Event{Type: "alert_rule.deleted", Subject: gatehouse.SubjectAlertRule, SubjectID: r.ID}}, tx.SaveAlertRule(r)
}

func (s *Service) putAlertRule(tx *store.Tx, who *gatehouse.Principal, spec AlertRuleSpec) (*gatehouse.AlertRule, *outcome, error) {
	want, err := s.alertRule(tx, who, &spec)
	if err != nil {
		return nil, nil, err
	}
	rules, err := tx.AlertRules(who.Organization)
	if err != nil {
		return nil, nil, err
	}
	out := &outcome{kind: "alert_rule", name: spec.Name}
	i := slices.IndexFunc(rules, func(r gatehouse.AlertRule) bool { return r.Name == spec.Name })
	if i < 0 {
		if len(rules) >= maxAlerts {
			return nil, nil, gatehouse.Errorf(gatehouse.Conflict, "An organization may have at most %d alert rules.", maxAlerts)
		}
		want.ID, want.CreatedAt = gatehouse.NewID(gatehouse.PrefixAlertRule), tx.Now
		out.action, out.event = "create", &gatehouse.Event{Type: "alert_rule.created", Subject: gatehouse.SubjectAlertRule, SubjectID: want.ID, Change: detail(spec)}
		return want, out, tx.CreateAlertRule(want)
	}
	old := &rules[i]
	for _, f := range []struct {
		name    string
		differs bool
	}{
		{"kind", old.Kind != want.Kind}, {"disabled", old.Disabled != want.Disabled}, {"per", !slices.Equal(old.Per, want.Per)},
		{"projects", !slices.Equal(old.Projects, want.Projects)}, {"min_cost", old.MinCost != want.MinCost}, {"min_errors", old.MinErrors != want.MinErrors},
		{"factor", old.Factor != want.Factor}, {"deviations", old.Deviations != want.Deviations}, {"days", old.Days != want.Days},
		{"quiet", old.QuietMillis != want.QuietMillis}, {"channels", !slices.Equal(old.Channels, want.Channels)}, {"suspend", old.Suspend != want.Suspend},
	} {
		if f.differs {
			out.changes = append(out.changes, f.name)
		}
	}
	if len(out.changes) == 0 {
		return old, out, nil
	}
	want.ID, want.CreatedAt, want.Rev = old.ID, old.CreatedAt, old.Rev
	out.action, out.event = "update", &gatehouse.Event{Type: "alert_rule.updated", Subject: gatehouse.SubjectAlertRule, SubjectID: want.ID, Change: detail(spec)}
	return want, out, tx.SaveAlertRule(want)
}

// alertRule checks a declaration and completes it from the default rule of its kind.
func (s *Service) alertRule(tx *store.Tx, who *gatehouse.Principal, spec *AlertRuleSpec) (*gatehouse.AlertRule, error) {
	if err := gatehouse.CheckName("name", spec.Name); err != nil {
		return nil, err
	}
	defaults := gatehouse.DefaultAlertRules(who.Organization)
	i := slices.IndexFunc(defaults, func(r gatehouse.AlertRule) bool { return r.Kind == spec.Kind })
	if i < 0 {
		return nil, gatehouse.InvalidParam("kind", "Alert rule %q: kind must be one of %v.", spec.Name, gatehouse.AlertKinds)
	}
	r := defaults[i]
	r.Name, r.Disabled, r.Suspend = spec.Name, spec.Disabled, spec.Suspend
	if other := slices.IndexFunc(defaults, func(d gatehouse.AlertRule) bool { return d.Name == spec.Name }); other >= 0 && defaults[other].Kind != spec.Kind {
		return nil, gatehouse.InvalidParam("kind", "Alert rule %q: this name belongs to the default rule of the kind %s. Take another one.", spec.Name, defaults[other].Kind)
	}
	spikes := r.Kind == gatehouse.AlertSpendSpike || r.Kind == gatehouse.AlertErrorSpike
	switch {
	case len(spec.Per) > 0 && !spikes:
		return nil, gatehouse.InvalidParam("per", "Alert rule %q: per is for spend_spike and error_spike.", spec.Name)
	case spec.MinCost < 0 || spec.MinCost > gatehouse.MaxUSD || spec.MinErrs < 0 || spec.MinErrs > 1_000_000_000:
		return nil, gatehouse.InvalidParam("min_cost", "Alert rule %q: min_cost and min_errors must be between 0 and 1000000000.", spec.Name)
	case spec.Factor != 0 && (spec.Factor < 1 || spec.Factor > maxFactor):
		return nil, gatehouse.InvalidParam("factor", "Alert rule %q: factor must be between 1 and %d.", spec.Name, maxFactor)
	case spec.Spreads < 0 || spec.Spreads > maxFactor:
		return nil, gatehouse.InvalidParam("deviations", "Alert rule %q: deviations must be between 1 and %d.", spec.Name, maxFactor)
	case spec.Days < 0 || spec.Days > maxDays && r.Kind != gatehouse.AlertWakingKey && r.Kind != gatehouse.AlertKeyExpiring || spec.Days > 3650:
		return nil, gatehouse.InvalidParam("days", "Alert rule %q: days must be between 1 and %d, for waking_key and key_expiring 3650.", spec.Name, maxDays)
	}
	for _, per := range spec.Per {
		if per != gatehouse.AboutKey && per != gatehouse.AboutProject && per != gatehouse.AboutModel {
			return nil, gatehouse.InvalidParam("per", "Alert rule %q: per may have key, project and model.", spec.Name)
		}
	}
	if len(spec.Per) > 0 {
		r.Per = slices.Compact(slices.Sorted(slices.Values(spec.Per)))
	}
	for _, f := range []struct {
		to   *int64
		from int64
	}{{(*int64)(&r.MinCost), int64(spec.MinCost)}, {&r.MinErrors, spec.MinErrs}, {&r.Factor, int64(math.Round(spec.Factor * 100))}, {&r.Deviations, spec.Spreads}, {&r.Days, spec.Days}} {
		if f.from != 0 {
			*f.to = f.from
		}
	}
	if spec.Quiet != "" {
		d, err := time.ParseDuration(spec.Quiet)
		if err != nil || d < leastHush || d > mostHush {
			return nil, gatehouse.InvalidParam("quiet", "Alert rule %q: quiet must be a duration between 1h and 2160h, such as 12h.", spec.Name)
		}
		r.QuietMillis = d.Milliseconds()
	}
	switch keys := slices.Contains(r.Per, gatehouse.AboutKey) || r.Kind == gatehouse.AlertNewNetwork || r.Kind == gatehouse.AlertWakingKey; {
	case r.Suspend == gatehouse.SuspendNothing:
	case r.Suspend != gatehouse.SuspendKey && r.Suspend != gatehouse.SuspendOwner:
		return nil, gatehouse.InvalidParam("suspend", "Alert rule %q: suspend must be key or service_account.", spec.Name)
	case !keys:
		return nil, gatehouse.InvalidParam("suspend", "Alert rule %q: only what is found about a key can suspend one: spikes per key, new_network and waking_key.", spec.Name)
	}
	var err error
	if r.Projects, err = s.projectIDs(tx, who, spec.Projects); err != nil {
		return nil, err
	}
	if r.Channels, err = s.channelIDs(tx, who, spec.Channels); err != nil {
		return nil, err
	}
	return &r, nil
}

// channelIDs turns names and ids of channels into sorted ids. The log is told always, so that naming it alone means nobody else.
func (s *Service) channelIDs(tx *store.Tx, who *gatehouse.Principal, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	list, err := tx.AlertChannels(who.Organization)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, name := range names {
		if name == gatehouse.LogChannel {
			ids = append(ids, name)
			continue
		}
		i := slices.IndexFunc(list, func(c gatehouse.AlertChannel) bool { return c.Name == name || c.ID == name })
		if i < 0 {
			return nil, gatehouse.InvalidParam("channels", "There is no alert channel named %q. Create it first.", name)
		}
		ids = append(ids, list[i].ID)
	}
	return slices.Compact(slices.Sorted(slices.Values(ids))), nil
}

// SuspendForAlert stops the key that an alert is about and, where the rule says so and a service account owns it, that account's other
// keys: each with an event of its own, whose actor is the system and whose reason is the alert. An admin key is never stopped. It
// returns what came of it; called again it changes nothing.
func (s *Service) SuspendForAlert(ctx context.Context, a *gatehouse.Alert, how gatehouse.AlertSuspend) (string, error) {
	who := &gatehouse.Principal{Actor: gatehouse.Actor{Kind: gatehouse.ActorSystem}, Organization: a.Organization}
	result := "suspended"
	ev := gatehouse.Event{Type: "api_key.suspended", Subject: gatehouse.SubjectKey, SubjectID: a.Key}
	_, err := s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		k, err := s.key(tx, who, "", a.Key)
		if err != nil {
			return err
		}
		change := detail(map[string]any{"reason": "alert", "alert": a.ID, "rule": a.RuleName})
		tx.Event().Project, tx.Event().Change = k.Project, change
		if k.Class == gatehouse.ClassAdmin {
			result = "nothing suspended: it is an admin key"
			return errUnchanged
		}
		var others []*gatehouse.Key
		if how == gatehouse.SuspendOwner && k.OwnerServiceAccount != "" {
			err := eachKey(tx, store.KeyFilter{OwnerServiceAccount: k.OwnerServiceAccount}, func(other *gatehouse.Key) error {
				if other.ID != k.ID && other.Class != gatehouse.ClassAdmin && other.State(tx.Now) == gatehouse.Active {
					copied := *other
					others = append(others, &copied)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		switch state := k.State(tx.Now); {
		case state != gatehouse.Active && len(others) == 0:
			result = "nothing suspended: the key is " + state.String()
			return errUnchanged
		case state == gatehouse.Active:
			k.SuspendedAt = tx.Now
			if err := tx.SaveKey(k); err != nil {
				return err
			}
		default:
			first := others[0]
			others = others[1:]
			tx.Event().SubjectID = first.ID
			first.SuspendedAt = tx.Now
			if err := tx.SaveKey(first); err != nil {
				return err
			}
		}
		for _, other := range others {
			other.SuspendedAt = tx.Now
			if err := tx.SaveKey(other); err != nil {
				return err
			}
			tx.Emit(gatehouse.Event{Type: "api_key.suspended", Project: other.Project, Subject: gatehouse.SubjectKey, SubjectID: other.ID, Change: change})
		}
		return nil
	})
	switch {
	case errors.Is(err, errUnchanged):
		return result, nil
	case gatehouse.KindOf(err) == gatehouse.NotFound:
		return "nothing suspended: the key is gone", nil
	}
	return result, err
}
