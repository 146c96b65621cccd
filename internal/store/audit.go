package store

import (
	"cmp"
	"slices"
	"strings"

	"gatehouse"
)

// AuditFilter says which of an organization's events are meant. What is empty does not filter; of several values one is enough.
type AuditFilter struct {
	Organization string
	Types        []string
	Projects     []string
	Actors       []string // ids of keys, users and service accounts
	Subjects     []string // ids of what was changed
	// From and Until bound the time: From is in, Until is not. 0: no bound.
	From, Until gatehouse.Millis
}

// LastEvent returns the id of the last event about a subject, "" where there is none.
func (tx *Tx) LastEvent(organization, subject string) (string, error) {
	// The clocks of nodes differ: of the latest by the clock, the last is the one that was written last.
	const query = `SELECT seq, id FROM events WHERE organization = $1 AND subject_id = $2 AND subject_id <> '' ORDER BY at DESC, id DESC LIMIT 20`
	type event struct {
		seq int64
		id  string
	}
	list, err := all(tx, "events", func(r row, e *event) error { return r.Scan(&e.seq, &e.id) }, query, organization, subject)
	if err != nil || len(list) == 0 {
		return "", err
	}
	return slices.MaxFunc(list, func(a, b event) int { return cmp.Compare(a.seq, b.seq) }).id, nil
}

// actorColumn returns where an actor's id stands.
func actorColumn(id string) string {
	switch {
	case strings.HasPrefix(id, gatehouse.PrefixKey):
		return "actor_key"
	case strings.HasPrefix(id, gatehouse.PrefixServiceAccount):
		return "actor_service_account"
	}
	return "actor_user"
}

// walk is one index that leads to all events of a filter that have one value there, in order.
type walk struct{ column, value string }

// walks returns the indexes that together lead to every event of the filter: those of the filter that leaves the fewest, as a
// rule. Each event is on one of them but for those of a key and its owner, see merge.
func (f *AuditFilter) walks() (list []walk) {
	switch {
	case len(f.Subjects) > 0:
		for _, id := range f.Subjects {
			list = append(list, walk{"subject_id", id})
		}
	case len(f.Actors) > 0:
		for _, id := range f.Actors {
			list = append(list, walk{actorColumn(id), id})
		}
	case len(f.Types) > 0:
		for _, name := range f.Types {
			list = append(list, walk{"type", name})
		}
	case len(f.Projects) > 0:
		for _, id := range f.Projects {
			list = append(list, walk{"project", id})
		}
	default:
		list = []walk{{}}
	}
	return list
}

// on returns what is shown on a walk.
func (f *AuditFilter) on(scope selection, w walk) selection {
	s := scope.clone()
	if w.column != "" {
		s.and(w.column+" = ?", w.value)
		if w.column != "type" {
			s.and(w.column + " <> ''") // which tells the engines that the partial index has it
		}
	}
	if w.column != "type" {
		s.in("type", f.Types)
	}
	if w.column != "project" {
		s.in("project", f.Projects)
	}
	if !strings.HasPrefix(w.column, "actor_") && len(f.Actors) > 0 {
		var each []string
		var ids []any
		for _, id := range f.Actors {
			each, ids = append(each, actorColumn(id)+" = ?"), append(ids, id)
		}
		s.and("("+strings.Join(each, " OR ")+")", ids...)
	}
	if f.From > 0 {
		s.and("at >= ?", int64(f.From))
	}
	if f.Until > 0 {
		s.and("at < ?", int64(f.Until))
	}
	return s
}

// AuditLog returns a page of the events of a filter, ordered by time and then id.
func (tx *Tx) AuditLog(f AuditFilter, p Page) (events []gatehouse.Event, hasMore bool, err error) {
	l := list[gatehouse.Event]{what: "events", query: `SELECT body FROM events`, from: "events", age: "at", id: "id", scan: scanEvent}
	l.scope.and("organization = ?", f.Organization)
	walks := f.walks()
	for _, w := range walks {
		l.filter = f.on(l.scope, w)
		part, more, err := page(tx, l, p)
		if err != nil {
			return nil, false, err
		}
		events, hasMore = append(events, part...), hasMore || more
	}
	if len(walks) == 1 {
		return events, hasMore, nil
	}
	return merge(events, hasMore, p)
}

// merge makes one page of the pages of several walks. An event that was met on two of them counts once.
func merge(events []gatehouse.Event, hasMore bool, p Page) ([]gatehouse.Event, bool, error) {
	slices.SortFunc(events, func(a, b gatehouse.Event) int {
		order := cmp.Or(cmp.Compare(a.At, b.At), strings.Compare(a.ID, b.ID))
		if p.Desc {
			return -order
		}
		return order
	})
	events = slices.CompactFunc(events, func(a, b gatehouse.Event) bool { return a.ID == b.ID })
	limit := cmp.Or(p.Limit, 20)
	if len(events) <= limit {
		return events, hasMore, nil
	}
	if p.Before != "" {
		return events[len(events)-limit:], true, nil
	}
	return events[:limit], true, nil
}
