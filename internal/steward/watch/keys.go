package watch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/store"
)

const (
	// maxNetworks is how many networks are kept of a key: the last ones it was used from. A key that is used from more is used from
	// everywhere, and a new network says nothing about it.
	maxNetworks = 64
	// newAtOnce bounds the new networks that one look reads.
	newAtOnce = 10_000
)

// networks finds keys that are used from where they were not used before.
func (l *look) networks() error {
	fresh, err := l.tx.NetworksSince(l.now-memory, newAtOnce)
	if err != nil {
		return err
	}
	byKey := map[string][]store.KeyNetwork{}
	for _, n := range fresh {
		byKey[n.Key] = append(byKey[n.Key], n)
	}
	for key, fresh := range byKey {
		known, err := l.tx.NetworksOf(key)
		if err != nil {
			return err
		}
		if len(known) > maxNetworks {
			slices.SortFunc(known, func(a, b store.KeyNetwork) int {
				return cmp.Or(cmp.Compare(b.LastAt, a.LastAt), strings.Compare(a.Network, b.Network))
			})
			if l.forget == nil {
				l.forget = map[string][]string{}
			}
			for _, n := range known[maxNetworks:] {
				l.forget[key] = append(l.forget[key], n.Network)
			}
			continue
		}
		k, name, err := l.key(key)
		if err != nil {
			return err
		}
		if k == nil {
			continue
		}
		err = l.rulesOf(gatehouse.AlertNewNetwork, func(o *organization, r *gatehouse.AlertRule) error {
			if o.ID == k.Organization && about(r, k.Project) {
				l.newNetworks(o, r, k, name, known, fresh)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// newNetworks tells of a key's new networks, unless it is so new itself that all are.
func (l *look) newNetworks(o *organization, r *gatehouse.AlertRule, k *gatehouse.Key, name string, known, fresh []store.KeyNetwork) {
	earliest := slices.MinFunc(known, func(a, b store.KeyNetwork) int { return cmp.Compare(a.FirstAt, b.FirstAt) }).FirstAt
	// What happened before there was a rule is no news, nor is the first network of all.
	since := max(r.CreatedAt, earliest+max(gatehouse.Millis(r.Days)*day, 1))
	var names []string
	var last gatehouse.Millis
	for _, n := range fresh {
		if n.FirstAt >= since {
			names, last = append(names, n.Network), max(last, n.FirstAt)
		}
	}
	if len(names) == 0 {
		return
	}
	old := len(known) - len(names)
	shown := strings.Join(names[:min(len(names), 5)], ", ")
	if more := len(names) - 5; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	l.find(o, r, gatehouse.Alert{Subject: gatehouse.AboutKey, SubjectID: k.ID, Key: k.ID, Project: k.Project, WindowStart: last / hour * hour, WindowEnd: last/hour*hour + hour,
		Unit: gatehouse.UnitCount, Observed: int64(len(names)), Baseline: int64(old),
		Title:  fmt.Sprintf("%s is used from a new network", name),
		Reason: fmt.Sprintf("It was first used from %s at %s UTC; so far it was used from %d other networks. If nobody moved what uses it, revoke it.", shown, last.Time().Format("2006-01-02 15:04"), old)},
		"network/"+k.ID, l.quiet(r, last+memory+hour))
}

// wakings finds keys that are used after a long time without any use.
func (l *look) wakings() error {
	woken, err := l.tx.WokenSince(l.now - memory)
	if err != nil {
		return err
	}
	for _, w := range woken {
		k, name, err := l.key(w.Key)
		if err != nil {
			return err
		}
		if k == nil {
			continue
		}
		err = l.rulesOf(gatehouse.AlertWakingKey, func(o *organization, r *gatehouse.AlertRule) error {
			slept := int64((w.WokeAt - w.SleptFrom) / day)
			if o.ID != k.Organization || !about(r, k.Project) || slept < max(r.Days, 1) || w.WokeAt < r.CreatedAt {
				return nil
			}
			l.find(o, r, gatehouse.Alert{Subject: gatehouse.AboutKey, SubjectID: k.ID, Key: k.ID, Project: k.Project, WindowStart: w.WokeAt / hour * hour, WindowEnd: w.WokeAt/hour*hour + hour,
				Unit: gatehouse.UnitDays, Observed: slept, Threshold: r.Days,
				Title:  fmt.Sprintf("%s is used again after %d days", name, slept),
				Reason: fmt.Sprintf("It was used at %s UTC, and before that at %s UTC. A key that nobody needs is safer revoked.", w.WokeAt.Time().Format("2006-01-02 15:04"), w.SleptFrom.Time().Format("2006-01-02 15:04"))},
				fmt.Sprintf("waking/%s/%d", k.ID, w.WokeAt), w.WokeAt+memory+hour)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// key returns a key that acts and what to call it, nil where there is none or it only administers.
func (l *look) key(id string) (*gatehouse.Key, string, error) {
	k, err := l.tx.Key(id)
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		return nil, "", nil
	}
	if err != nil || k.Class == gatehouse.ClassAdmin {
		return nil, "", err
	}
	return k, fmt.Sprintf("key %s (%s)", quoted(k.Name), k.ID), nil
}

// keyEvents are the types of events that are told of keys, and by which kind of rule.
var keyEvents = map[gatehouse.AlertKind]string{gatehouse.AlertKeyCreated: "api_key.created", gatehouse.AlertKeyRevoked: "api_key.deleted"}

// livesAtOnce bounds the events that one look reads for a rule; the next look reads on.
const livesAtOnce = 1000

// lives tells of keys that were made or revoked since the last look, or in the last day for who looks first. Each is told once, whoever
// looks.
func (l *look) lives() error {
	since := l.now - memory
	l.told = l.now - minute // what commits late is found by the next look
	if l.w.lives != 0 {
		since = max(since, l.w.lives)
	}
	for kind, event := range keyEvents {
		err := l.rulesOf(kind, func(o *organization, r *gatehouse.AlertRule) error {
			page := store.Page{Limit: 100}
			for n := page.Limit; ; n += page.Limit {
				events, more, err := l.tx.AuditLog(store.AuditFilter{Organization: o.ID, Types: []string{event}, Projects: r.Projects, From: max(since, r.CreatedAt)}, page)
				if err != nil {
					return err
				}
				for i := range events {
					if err := l.life(o, r, &events[i]); err != nil {
						return err
					}
					page.After = events[i].ID
				}
				if !more {
					return nil
				}
				if n >= livesAtOnce {
					l.told = min(l.told, events[len(events)-1].At)
					return nil
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// life tells of one key that was made or revoked. Of admin keys too: who has one can make every other.
func (l *look) life(o *organization, r *gatehouse.AlertRule, ev *gatehouse.Event) error {
	k, err := l.tx.Key(ev.SubjectID)
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	what := "created"
	if r.Kind == gatehouse.AlertKeyRevoked {
		what = "revoked"
	}
	by := "Gatehouse itself"
	switch a := ev.Actor; {
	case a.Kind == gatehouse.ActorHost:
		by = "the command line on the host"
	case a.User != "":
		by = "user " + a.User
	case a.ServiceAccount != "":
		by = "service account " + a.ServiceAccount
	case a.Key != "":
		by = "key " + a.Key
	}
	kind := "key"
	if k.Class == gatehouse.ClassAdmin {
		kind = "admin key"
	}
	where := ""
	if k.Project != "" {
		name, err := l.project(k.Project)
		if err != nil {
			return err
		}
		where = " in " + name
	}
	l.find(o, r, gatehouse.Alert{Subject: gatehouse.AboutKey, SubjectID: k.ID, Key: k.ID, Project: k.Project, WindowStart: ev.At, WindowEnd: ev.At, Unit: gatehouse.UnitCount, Observed: 1,
		Title:  fmt.Sprintf("%s %s (%s) was %s", kind, quoted(k.Name), k.ID, what),
		Reason: fmt.Sprintf("It was %s at %s UTC%s by %s. The audit log has the rest: %s.", what, ev.At.Time().Format("2006-01-02 15:04"), where, by, ev.ID)},
		"life/"+ev.ID, ev.At+2*memory)
	return nil
}

// expiringAtOnce bounds the keys that one look reads of an organization.
const expiringAtOnce = 10_000

// expiries tells of keys that expire soon, each once. A key that was made to live no longer than the warning is no news.
func (l *look) expiries() error {
	if !l.forecasting { // once an hour is often enough
		return nil
	}
	return l.rulesOf(gatehouse.AlertKeyExpiring, func(o *organization, r *gatehouse.AlertRule) error {
		ahead := gatehouse.Millis(r.Days) * day
		keys, err := l.tx.KeysExpiring(o.ID, l.now, l.now+ahead, expiringAtOnce)
		if err != nil {
			return err
		}
		for i := range keys {
			k := &keys[i]
			if k.CreatedAt > k.ExpiresAt-ahead || !about(r, k.Project) {
				continue
			}
			left := k.ExpiresAt - l.now
			in := fmt.Sprintf("in %d days", (left+day-1)/day)
			if left < day {
				in = "within a day"
			}
			used := "It was never used."
			if k.LastUsedAt != 0 {
				used = "It was last used at " + k.LastUsedAt.Time().Format("2006-01-02 15:04") + " UTC."
			}
			l.find(o, r, gatehouse.Alert{Subject: gatehouse.AboutKey, SubjectID: k.ID, Key: k.ID, Project: k.Project, WindowStart: l.now, WindowEnd: k.ExpiresAt, Unit: gatehouse.UnitDays,
				Observed: int64((left + day - 1) / day), Threshold: r.Days,
				Title:  fmt.Sprintf("key %s (%s) expires %s", quoted(k.Name), k.ID, in),
				Reason: fmt.Sprintf("It stops working at %s UTC. %s Make another in time, or rotate it with an overlap (gatehouse keys rotate).", k.ExpiresAt.Time().Format("2006-01-02 15:04"), used)},
				fmt.Sprintf("expiry/%s/%d", k.ID, k.ExpiresAt), k.ExpiresAt+day)
		}
		return nil
	})
}
