package store

import (
	"cmp"
	"context"
	"slices"

	"gatehouse"
)

// Hour is the length of the stretches that activity is kept for, in milliseconds.
const Hour = 3_600_000

// Activity is what a subject did in one hour. Of an upstream there are only Errors: how often it refused its credential.
type Activity struct {
	Kind         gatehouse.AlertSubject // AboutKey, AboutProject, AboutModel or AboutUpstream
	Subject      string                 // its id: of a model project/deployment, of an upstream organization/name
	Hour         gatehouse.Millis       // when it began
	Organization string
	Project      string // of a key the one it acted in last
	Model        string
	Requests     int64
	Errors       int64 // requests that were answered with a status of 400 or more
	Unpriced     int64 // usage without a known price
	Cost         gatehouse.NanoUSD
}

var insertActivity = insert{op: "record activity", columns: 10,
	head: `INSERT INTO activity (kind, subject, hour, organization, project, model, requests, errors, unpriced, cost) VALUES `,
	tail: ` ON CONFLICT (kind, subject, hour) DO UPDATE SET project = excluded.project, requests = activity.requests + excluded.requests,
		errors = activity.errors + excluded.errors, unpriced = activity.unpriced + excluded.unpriced, cost = activity.cost + excluded.cost`}

// activityKey is what activity is kept by.
type activityKey struct {
	kind    gatehouse.AlertSubject
	subject string
	hour    int64
}

// tally adds measurements up for activity.
type tally struct {
	sums map[activityKey]*Activity
	last whose
	same [3]*Activity // the sums of last
}

// whose is who did something, and in which hour, as it was measured.
type whose struct {
	organization, project, key, model string
	hour                              int64
}

// at returns the sum of a subject in the hour of at.
func (t *tally) at(kind gatehouse.AlertSubject, subject string, at gatehouse.Millis, organization, project, model string) *Activity {
	key := activityKey{kind, subject, floor(int64(at), Hour)}
	a := t.sums[key]
	if a == nil {
		a = &Activity{Kind: kind, Subject: subject, Hour: gatehouse.Millis(key.hour), Organization: organization, Project: project, Model: model}
		t.sums[key] = a
	}
	return a
}

// of returns the sums that something a key did counts in; nil stands for those that there are not.
func (t *tally) of(at gatehouse.Millis, organization, project, key, model string) *[3]*Activity {
	w := whose{organization, project, key, model, floor(int64(at), Hour)}
	if t.last == w {
		return &t.same
	}
	t.last, t.same = w, [3]*Activity{}
	organization, project, key, model = label(organization), label(project), label(key), label(model)
	if key == "" || organization == "" {
		return &t.same
	}
	t.same[0] = t.at(gatehouse.AboutKey, key, at, organization, project, "")
	if project == "" {
		return &t.same
	}
	t.same[1] = t.at(gatehouse.AboutProject, project, at, organization, project, "")
	if model != "" {
		t.same[2] = t.at(gatehouse.AboutModel, project+"/"+model, at, organization, project, model)
	}
	return &t.same
}

func (t *tally) usage(u *gatehouse.Usage) {
	unpriced := !u.CostKnown && u.Units != (gatehouse.Units{})
	for _, a := range t.of(u.At, u.Organization, u.Project, u.Key, u.Model) {
		if a == nil {
			continue
		}
		a.Cost += u.Cost
		if unpriced {
			a.Unpriced++
		}
	}
}

// statusUnauthorized is what an upstream answers that refuses its credential.
const statusUnauthorized = 401

func (t *tally) request(q *gatehouse.Request) {
	if q.Dialect == "admin" {
		return
	}
	model := q.Model
	if q.Deployment == "" {
		model = "" // what a caller made up is no model of anybody's
	}
	for _, a := range t.of(q.At, q.Organization, q.Project, q.Key, model) {
		if a == nil {
			continue
		}
		a.Requests++
		if q.Status >= 400 && !q.ClientLeft {
			a.Errors++
		}
	}
	for i := range q.Attempts {
		if at := &q.Attempts[i]; at.Status == statusUnauthorized && q.Organization != "" {
			t.at(gatehouse.AboutUpstream, ident(q.Organization+"/"+at.Upstream), q.At, label(q.Organization), "", label(at.Upstream)).Errors++
		}
	}
}

// activity adds what this batch recorded for the first time to the sums of its hours.
func (r *recorder) activity(b *Batch) error {
	t := tally{sums: map[activityKey]*Activity{}}
	for _, u := range r.freshUsage {
		t.usage(u)
	}
	// A request whose usage was recorded before was recorded with it, though its own id is nowhere (see requests).
	var before map[string]bool
	if len(r.freshUsage) < len(b.Usage) {
		before = make(map[string]bool, len(b.Usage))
		for i := range b.Usage {
			if id := ident(b.Usage[i].ID); !r.settled[id] {
				before[id] = true
			}
		}
	}
	for _, q := range r.freshRequests {
		if !before[ident(q.ID)] {
			t.request(q)
		}
	}
	rows := make([]*Activity, 0, len(t.sums))
	for _, a := range t.sums {
		a.Subject = ident(a.Subject)
		rows = append(rows, a)
	}
	slices.SortFunc(rows, func(a, b *Activity) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Hour, b.Hour))
	})
	return insertActivity.rows(r, len(rows), func(args []any, i int) []any {
		a := rows[i]
		return append(args, string(a.Kind), a.Subject, int64(a.Hour), a.Organization, a.Project, a.Model, a.Requests, a.Errors, a.Unpriced, int64(a.Cost))
	}, nil)
}

const activitySelect = `SELECT kind, subject, hour, organization, project, model, requests, errors, unpriced, cost FROM activity`

func scanActivity(r row, a *Activity) error {
	return r.Scan((*string)(&a.Kind), &a.Subject, (*int64)(&a.Hour), &a.Organization, &a.Project, &a.Model, &a.Requests, &a.Errors, &a.Unpriced, (*int64)(&a.Cost))
}

// ActivityIn returns what every subject of every organization did in one hour.
func (tx *Tx) ActivityIn(hour gatehouse.Millis) ([]Activity, error) {
	return all(tx, "activity", scanActivity, activitySelect+` WHERE hour = $1 ORDER BY kind, subject`, int64(hour))
}

// ActivityOf returns what one subject did in the hours from from to before end, in order, without those in which it did nothing.
func (tx *Tx) ActivityOf(kind gatehouse.AlertSubject, subject string, from, end gatehouse.Millis) ([]Activity, error) {
	return all(tx, "activity", scanActivity, activitySelect+` WHERE kind = $1 AND subject = $2 AND hour >= $3 AND hour < $4 ORDER BY hour`, string(kind), ident(subject), int64(from), int64(end))
}

// KeyNetwork is a network that a key is used from.
type KeyNetwork struct {
	Key     string
	Network string // a prefix: /24 of IPv4, /48 of IPv6
	FirstAt gatehouse.Millis
	LastAt  gatehouse.Millis
}

var insertNetworks = insert{op: "record networks", columns: 4,
	head: `INSERT INTO key_networks (key_id, network, first_at, last_at) VALUES `,
	tail: ` ON CONFLICT (key_id, network) DO UPDATE SET last_at = excluded.last_at WHERE key_networks.last_at < excluded.last_at`}

// maxSeen bounds what a process remembers of networks it has written already.
const maxSeen = 1 << 16

// NetworkUse is a network that a key was used from.
type NetworkUse struct{ Key, Network string }

// networks writes the networks of this batch that this process has not written in this hour.
func (r *recorder) networks(b *Batch) error {
	var rows []KeyNetwork
	r.db.mu.Lock()
	for use, at := range b.Networks {
		if seen, known := r.db.seen[use]; !known || floor(int64(at), Hour) > floor(int64(seen), Hour) {
			rows = append(rows, KeyNetwork{Key: label(use.Key), Network: label(use.Network), FirstAt: at, LastAt: at})
		}
	}
	r.db.mu.Unlock()
	slices.SortFunc(rows, func(a, b KeyNetwork) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Network, b.Network)) })
	return insertNetworks.rows(r, len(rows), func(args []any, i int) []any {
		return append(args, rows[i].Key, rows[i].Network, int64(rows[i].FirstAt), int64(rows[i].LastAt))
	}, nil)
}

// saw remembers the networks of a batch that committed.
func (db *DB) saw(b *Batch) {
	if len(b.Networks) == 0 {
		return
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.seen == nil || len(db.seen)+len(b.Networks) > maxSeen {
		db.seen = make(map[NetworkUse]gatehouse.Millis, len(b.Networks))
	}
	for use, at := range b.Networks {
		db.seen[use] = max(db.seen[use], at)
	}
}

func scanNetwork(r row, n *KeyNetwork) error {
	return r.Scan(&n.Key, &n.Network, (*int64)(&n.FirstAt), (*int64)(&n.LastAt))
}

// NetworksSince returns up to limit networks that keys were first used from at from or later, the earliest first.
func (tx *Tx) NetworksSince(from gatehouse.Millis, limit int) ([]KeyNetwork, error) {
	const query = `SELECT key_id, network, first_at, last_at FROM key_networks WHERE first_at >= $1 ORDER BY first_at, key_id, network LIMIT $2`
	return all(tx, "networks", scanNetwork, query, int64(from), limit)
}

// NetworksOf returns the networks that a key is used from.
func (tx *Tx) NetworksOf(key string) ([]KeyNetwork, error) {
	const query = `SELECT key_id, network, first_at, last_at FROM key_networks WHERE key_id = $1 ORDER BY network`
	return all(tx, "networks", scanNetwork, query, key)
}

// Waking is the use of a key after a time without any.
type Waking struct {
	Key       string
	SleptFrom gatehouse.Millis // when it was used before
	WokeAt    gatehouse.Millis
}

// WokenSince returns the keys that were used again after at least a day, at from or later.
func (tx *Tx) WokenSince(from gatehouse.Millis) ([]Waking, error) {
	const query = `SELECT key_id, slept_from, woke_at FROM key_use WHERE woke_at > 0 AND woke_at >= $1 ORDER BY woke_at, key_id`
	return all(tx, "uses", func(r row, w *Waking) error { return r.Scan(&w.Key, (*int64)(&w.SleptFrom), (*int64)(&w.WokeAt)) }, query, int64(from))
}

// DropNetworks forgets networks of a key.
func (db *DB) DropNetworks(ctx context.Context, key string, networks []string) error {
	const query = `DELETE FROM key_networks WHERE key_id = $1 AND network = $2`
	return db.measure(ctx, "forget networks of "+key, func(w *writer) error {
		for _, n := range networks {
			if _, err := w.exec(query, key, n); err != nil {
				return err
			}
		}
		return nil
	})
}
