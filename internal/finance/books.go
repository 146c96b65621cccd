package finance

import (
	"context"
	"sort"

	"gatehouse"
	"gatehouse/internal/store"
)

// Books are the recorded usage of one organization. They are read as sums only.
type Books struct {
	DB           *store.DB
	Organization string
	// Price prices single units; a nil one knows no price, and exports and reconciliations divide nothing.
	Price Pricer
}

// Row is the sums of one group in one stretch of time. What a report does not group by is empty.
type Row struct {
	Start, End gatehouse.Millis
	store.UsageResult
}

// Filter selects usage; an empty list selects everything.
type Filter struct {
	Projects, Keys, Models []string
}

const (
	minute gatehouse.Millis = 60_000
	hour                    = 60 * minute
	day                     = 24 * hour
)

// widths are the widths of the sums that are kept, the widest first.
var widths = []struct {
	millis gatehouse.Millis
	name   string
}{{day, "1d"}, {hour, "1h"}, {minute, "1m"}}

// span is a stretch of time that is read in buckets of one width.
type span struct {
	start, end gatehouse.Millis
	width      int // in widths
}

// spans divides a stretch of time into the fewest that whole buckets make: days where days fit, hours and minutes at the ends. What
// begins or ends within a minute begins or ends with that minute.
func spans(start, end gatehouse.Millis, width int) []span {
	w := widths[width].millis
	first, last := (start+w-1)/w*w, end/w*w
	if width == len(widths)-1 {
		return append([]span(nil), span{start / w * w, (end + w - 1) / w * w, width})
	}
	if first >= last {
		return spans(start, end, width+1)
	}
	var out []span
	if start < first {
		out = spans(start, first, width+1)
	}
	out = append(out, span{first, last, width})
	if last < end {
		out = append(out, spans(last, end, width+1)...)
	}
	return out
}

// view reads the sums of stretches of time that follow each other: the i-th begins at bounds[i] and ends at bounds[i+1]. It calls
// fn with each row and the number of its period, in one view of the database. A period that does not begin at midnight UTC is added
// up from hours and minutes.
func (b *Books) view(ctx context.Context, bounds []gatehouse.Millis, f Filter, by []string, fn func(tx *store.Tx, period int, r *Row) error) error {
	var todo []span
	for i := range len(bounds) - 1 {
		for _, s := range spans(bounds[i], bounds[i+1], 0) {
			if n := len(todo); n > 0 && todo[n-1].width == s.width && todo[n-1].end == s.start {
				todo[n-1].end = s.end
				continue
			}
			todo = append(todo, s)
		}
	}
	return b.DB.View(ctx, func(tx *store.Tx) error {
		for _, s := range todo {
			err := b.read(tx, s, f, by, func(r *Row) error {
				// The bucket lies in one period, because periods begin where buckets do.
				return fn(tx, sort.Search(len(bounds), func(i int) bool { return bounds[i] > r.Start })-1, r)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// read calls fn with the rows of a stretch of time, ordered by time and then by group.
func (b *Books) read(tx *store.Tx, s span, f Filter, by []string, fn func(*Row) error) error {
	w := widths[s.width]
	for at := s.start; at < s.end; at += store.MaxBuckets * w.millis {
		buckets, err := tx.UsageBuckets(store.UsageQuery{Organization: b.Organization, Start: at, End: min(s.end, at+store.MaxBuckets*w.millis), Width: w.name,
			Projects: f.Projects, Keys: f.Keys, Models: f.Models, GroupBy: by})
		if err != nil {
			return err
		}
		for i := range buckets {
			for j := range buckets[i].Results {
				if r := (Row{buckets[i].Start, buckets[i].End, buckets[i].Results[j]}); r.Requests != 0 || r.Cost != 0 {
					if err := fn(&r); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// names is what is known of whom usage belongs to. It forgets when it has become large, and reads again.
type names struct {
	organization string
	projects     map[string]*gatehouse.Project
	keys         map[string]*gatehouse.Key
	upstreams    map[string]*gatehouse.Upstream // by name, nil until one is looked for
}

// maxNames is how many keys are remembered at a time.
const maxNames = 20_000

func (b *Books) names() *names {
	return &names{organization: b.Organization, projects: map[string]*gatehouse.Project{}, keys: map[string]*gatehouse.Key{}}
}

// project returns a project, nil when there is none of that id.
func (n *names) project(tx *store.Tx, id string) (*gatehouse.Project, error) {
	return remember(n.projects, id, tx.Project)
}

// key returns a key, nil when there is none of that id.
func (n *names) key(tx *store.Tx, id string) (*gatehouse.Key, error) {
	return remember(n.keys, id, tx.Key)
}

// upstream returns what stands behind a name that usage was recorded with: the organization's upstream of that name, the newest that
// was removed where there is none any more, nil where there never was one.
func (n *names) upstream(tx *store.Tx, name string) (*gatehouse.Upstream, error) {
	if n.upstreams == nil {
		n.upstreams = map[string]*gatehouse.Upstream{}
		err := tx.EachUpstream(func(u *gatehouse.Upstream) error {
			if u.Organization != n.organization {
				return nil
			}
			if was := n.upstreams[u.Name]; was == nil || was.RemovedAt != 0 && (u.RemovedAt == 0 || u.CreatedAt > was.CreatedAt) {
				kept := *u
				n.upstreams[u.Name] = &kept
			}
			return nil
		})
		if err != nil {
			n.upstreams = nil
			return nil, err
		}
	}
	return n.upstreams[name], nil
}

func remember[T any](known map[string]*T, id string, read func(string) (*T, error)) (*T, error) {
	if id == "" {
		return nil, nil
	}
	v, ok := known[id]
	if ok {
		return v, nil
	}
	v, err := read(id)
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		v, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(known) >= maxNames {
		clear(known)
	}
	known[id] = v
	return v, nil
}

// labels returns the labels of a key and its project; the key's own win.
func labels(p *gatehouse.Project, k *gatehouse.Key) map[string]string {
	all := map[string]string{}
	if p != nil {
		for name, value := range p.Labels {
			all[name] = value
		}
	}
	if k != nil {
		for name, value := range k.Labels {
			all[name] = value
		}
	}
	return all
}
