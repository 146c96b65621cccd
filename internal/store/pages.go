package store

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"gatehouse"
)

// pageRandom is how many bits of a page's number are random, so that nodes never choose the same one twice.
const pageRandom = 21

// pageNumber returns a new number for a page whose newest record is as old as at: pages are in the order of time, and one number
// says up to where the old ones are deleted.
func pageNumber(at gatehouse.Millis) int64 {
	return pageAt(at) | rand.Int64N(1<<pageRandom)
}

// pageAt returns the smallest number of a page whose newest record is as old as at.
func pageAt(at gatehouse.Millis) int64 {
	return int64(min(max(at, 0), 1<<(63-pageRandom)-1)) << pageRandom
}

var (
	insertUsageIDs = insert{op: "record usage", columns: 2, head: `INSERT INTO usage_ids (id, page) VALUES `, tail: ` ON CONFLICT (id) DO NOTHING`,
		sizes: manyRows}
	insertUsagePages = insert{op: "record usage", columns: 2, head: `INSERT INTO usage_pages (page, body) VALUES `, sizes: oneRow}

	insertRequestIDs = insert{op: "record requests", columns: 2, head: `INSERT INTO request_ids (id, page) VALUES `, tail: ` ON CONFLICT (id) DO NOTHING`,
		sizes: manyRows}
	insertRequestNames = insert{op: "record requests", columns: 4, head: `INSERT INTO request_names (organization, name, at, id) VALUES `,
		tail: ` ON CONFLICT (organization, name, at, id) DO NOTHING`, sizes: manyRows}
	insertRequestPages = insert{op: "record requests", columns: 2, head: `INSERT INTO request_pages (page, body) VALUES `, sizes: oneRow}
)

// measured records what was settled and decided: a page of each.
func (r *recorder) measured(b *Batch) error {
	var newest gatehouse.Millis
	for i := range b.Usage {
		newest = max(newest, b.Usage[i].At)
	}
	for i := range b.Requests {
		newest = max(newest, b.Requests[i].At)
	}
	r.page = pageNumber(newest)
	if err := r.usage(b); err != nil {
		return err
	}
	return r.requests(b)
}

// usage records what is settled for the first time, and adds that and nothing else to the sums.
func (r *recorder) usage(b *Batch) error {
	if len(b.Usage) == 0 {
		return nil
	}
	rows := make([]*gatehouse.Usage, len(b.Usage))
	before := &gatehouse.Usage{}
	for i := range b.Usage {
		u := &b.Usage[i]
		if u.ID == "" {
			return fmt.Errorf("record usage: no id")
		}
		if !isStorable(u, before) {
			stored := storable(*u)
			u = &stored
		}
		rows[i], before = u, u
	}
	// Rows come nearly in order, which a stable sort makes the most of.
	slices.SortStableFunc(rows, func(a, b *gatehouse.Usage) int { return strings.Compare(a.ID, b.ID) })
	rows = slices.CompactFunc(rows, func(a, b *gatehouse.Usage) bool { return a.ID == b.ID }) // the first one stands
	fresh, err := r.claim(&insertUsageIDs, `SELECT page FROM usage_ids WHERE id = $1`, len(rows), func(i int) string { return rows[i].ID })
	if err != nil {
		return err
	}
	if fresh != nil {
		i := -1
		rows = slices.DeleteFunc(rows, func(*gatehouse.Usage) bool { i++; return !fresh[i] })
	}
	if len(rows) == 0 {
		return nil
	}
	p := newPacker()
	defer p.release()
	r.settled = make(map[string]bool, len(rows))
	for _, u := range rows {
		p.record(func() { p.usage(u) })
		r.settled[u.ID] = true
	}
	if err := insertUsagePages.rows(r, 1, func(args []any, _ int) []any { return append(args, r.page, p.body()) }, nil); err != nil {
		return err
	}
	r.freshUsage = rows
	return r.rollup(rows)
}

// isStorable reports whether a row is stored as it is. Of what is the same as in the row before, which is stored, nothing is asked.
func isStorable(u, before *gatehouse.Usage) bool {
	if ident(u.ID) != u.ID || u.Labels != before.Labels && clean(u.Labels) != u.Labels {
		return false
	}
	have, had := labelsOf(u), labelsOf(before)
	for i, s := range have {
		if *s != *had[i] && label(*s) != *s {
			return false
		}
	}
	return true
}

// labelsOf lists the texts of a row that are stored as labels.
func labelsOf(u *gatehouse.Usage) [14]*string {
	return [...]*string{&u.Organization, &u.Project, &u.Key, &u.User, &u.ServiceAccount, &u.Product, &u.Model, &u.UpstreamModel, &u.Upstream, &u.ServiceTier,
		&u.Size, &u.Quality, &u.Source, (*string)(&u.Confidence)}
}

// storable returns a row as it is stored.
func storable(u gatehouse.Usage) gatehouse.Usage {
	u.ID, u.Labels = ident(u.ID), clean(u.Labels)
	for _, s := range labelsOf(&u) {
		*s = label(*s)
	}
	return u
}

// claim inserts ids for the page and returns which of them no page had; nil means all. The ids must be sorted and different.
func (r *recorder) claim(i *insert, find string, n int, id func(int) string) (fresh []bool, err error) {
	before := r.inserted
	var page any = r.page // made once, for all rows
	if err := i.rows(r, n, func(args []any, k int) []any { return append(args, id(k), page) }, nil); err != nil {
		return nil, err
	}
	if r.inserted-before == int64(n) {
		return nil, nil
	}
	fresh = make([]bool, n)
	for k := range fresh {
		var page int64
		r.db.traced(find)
		if err := r.tx.QueryRowContext(r.ctx, find, id(k)).Scan(&page); err != nil {
			return nil, r.db.fail(i.op, err)
		}
		fresh[k] = page == r.page
	}
	return fresh, nil
}

// requests records decisions that are not recorded yet. The one that goes with a usage of this page is found by the usage's id, any
// other by its own.
func (r *recorder) requests(b *Batch) error {
	if len(b.Requests) == 0 {
		return nil
	}
	type row struct {
		id  string // as it is stored
		q   *gatehouse.Request
		own bool // no usage of this page has its id
	}
	rows := make([]row, len(b.Requests))
	for i := range b.Requests {
		q := &b.Requests[i]
		if q.ID == "" {
			return fmt.Errorf("record request: no id")
		}
		rows[i] = row{id: ident(q.ID), q: q}
	}
	slices.SortStableFunc(rows, func(a, b row) int { return strings.Compare(a.id, b.id) })
	rows = slices.CompactFunc(rows, func(a, b row) bool { return a.id == b.id }) // the first one stands
	var own []string
	settled := r.freshUsage // in the same order
	for i := range rows {
		w := &rows[i]
		for len(settled) > 0 && settled[0].ID < w.id {
			settled = settled[1:]
		}
		if w.own = len(settled) == 0 || settled[0].ID != w.id; w.own {
			own = append(own, w.id)
		}
	}
	if len(own) > 0 {
		fresh, err := r.claim(&insertRequestIDs, `SELECT page FROM request_ids WHERE id = $1`, len(own), func(i int) string { return own[i] })
		if err != nil {
			return err
		}
		if fresh != nil {
			known := map[string]bool{}
			for i, id := range own {
				known[id] = !fresh[i]
			}
			rows = slices.DeleteFunc(rows, func(w row) bool { return known[w.id] })
		}
	}
	if len(rows) == 0 {
		return nil
	}
	p := newPacker()
	defer p.release()
	r.freshRequests = make([]*gatehouse.Request, 0, len(rows))
	var named []*gatehouse.Request
	for i := range rows {
		w := &rows[i]
		stored := *w.q
		stored.ID = w.id
		p.record(func() { p.request(&stored, &w.own) })
		r.freshRequests = append(r.freshRequests, w.q)
		if w.q.ClientRequestID != "" {
			named = append(named, w.q)
		}
	}
	slices.SortFunc(named, func(a, b *gatehouse.Request) int {
		return cmp.Or(cmp.Compare(label(a.Organization), label(b.Organization)), cmp.Compare(ident(a.ClientRequestID), ident(b.ClientRequestID)), cmp.Compare(a.At, b.At), cmp.Compare(ident(a.ID), ident(b.ID)))
	})
	err := insertRequestNames.rows(r, len(named), func(args []any, i int) []any {
		q := named[i]
		return append(args, label(q.Organization), ident(q.ClientRequestID), int64(q.At), ident(q.ID))
	}, nil)
	if err != nil {
		return err
	}
	return insertRequestPages.rows(r, 1, func(args []any, _ int) []any { return append(args, r.page, p.body()) }, nil)
}
