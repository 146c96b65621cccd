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
