package sums

import (
	"cmp"
	"slices"
)

// MaxColumns is how many columns a report can have.
const MaxColumns = 12

// Column is what a report is grouped by: a dimension, or a text made of several.
type Column struct {
	Dim Dim
	// Value, when it is set, is called with the texts of a record's dimensions and returns the column's text.
	Value func(dims *[Dims]string) string
}

// Filter selects records whose column has one of the texts.
type Filter struct {
	Column
	Texts map[string]bool
}

// Report adds up what pages hold of a stretch of time, in buckets of one width, by its columns. It allocates for groups, not for
// records.
type Report struct {
	begin, end, width int64
	columns           []Column
	filters           []Filter
	deepest           int // the last dimension that decides about a record's group

	places map[string]uint32
	texts  []string
	groups map[group]int
	keys   []group
	tally  [][]tally // in slabs, so that what grows is not copied
}

const slab = 512

func (r *Report) at(i int) *tally { return &r.tally[i/slab][i%slab] }

type group struct {
	bucket  uint32
	columns [MaxColumns]uint32
}

// NewReport returns a report of the buckets of width milliseconds from begin on, a multiple of width, to before end.
func NewReport(begin, end, width int64, columns []Column, filters []Filter) *Report {
	r := &Report{begin: begin, end: end, width: width, columns: columns, filters: filters, deepest: -1, places: map[string]uint32{}, groups: map[group]int{}}
	for _, c := range columns {
		r.deepest = max(r.deepest, c.last())
	}
	for i := range filters {
		r.deepest = max(r.deepest, filters[i].last())
	}
	return r
}

func (c *Column) last() int {
	if c.Value != nil {
		return Dims - 1
	}
	return int(c.Dim)
}

// Keyless reports whether pages without keys are enough for it.
func (r *Report) Keyless() bool { return r.deepest < Keyless }

// Add adds a page that begins at begin, in unix milliseconds.
func (r *Report) Add(page []byte, begin int64) error {
	var in reader
	if err := in.open(page); err != nil {
		return err
	}
	p := paged{r: r, in: &in, columns: make([][]uint32, len(r.columns)), filters: make([][]int8, len(r.filters))}
	for i := range p.columns {
		p.columns[i] = make([]uint32, len(in.texts))
	}
	for i := range p.filters {
		p.filters[i] = make([]int8, len(in.texts))
	}
	var sum *tally
	selected, fresh := false, true
	bucket := int64(-1)
	for in.next() {
		again := !fresh && in.changed > r.deepest // the same group, but for the bucket
		fresh = false
		if !again {
			selected = p.selects()
			sum = nil
		}
		at := begin + int64(in.minute)*60_000
		if !selected || at < r.begin || at >= r.end {
			continue
		}
		if b := (at - r.begin) / r.width; sum == nil || b != bucket {
			bucket = b
			sum = p.group(uint32(b))
		}
		in.add(sum)
	}
	return in.err
}

// paged is what a report knows of the page that is read: per text of it, what was found out before.
type paged struct {
	r       *Report
	in      *reader
	columns [][]uint32 // place among the report's texts, counted from 1
	filters [][]int8   // 1: selected, -1: not
	dims    [Dims]string
}

// selects reports whether the filters let the current record through.
func (p *paged) selects() bool {
	whole := false
	for i := range p.r.filters {
		f := &p.r.filters[i]
		if f.Value != nil {
			if !whole {
				p.resolve()
				whole = true
			}
			if !f.Texts[f.Value(&p.dims)] {
				return false
			}
			continue
		}
		known := &p.filters[i][p.in.dims[f.Dim]]
		if *known == 0 {
			*known = -1
			if f.Texts[p.in.texts[p.in.dims[f.Dim]]] {
				*known = 1
			}
		}
		if *known < 0 {
			return false
		}
	}
	return true
}

func (p *paged) resolve() {
	for i, at := range p.in.dims {
		p.dims[i] = p.in.texts[at]
	}
}

// group returns the sum that the current record belongs to.
func (p *paged) group(bucket uint32) *tally {
	g := group{bucket: bucket}
	whole := false
	for i := range p.r.columns {
		c := &p.r.columns[i]
		if c.Value != nil {
			if !whole {
				p.resolve()
				whole = true
			}
			g.columns[i] = p.r.place(c.Value(&p.dims))
			continue
		}
		known := &p.columns[i][p.in.dims[c.Dim]]
		if *known == 0 {
			*known = p.r.place(p.in.texts[p.in.dims[c.Dim]])
		}
		g.columns[i] = *known
	}
	at, ok := p.r.groups[g]
	if !ok {
		at = len(p.r.keys)
		p.r.groups[g] = at
		p.r.keys = append(p.r.keys, g)
		if at%slab == 0 {
			p.r.tally = append(p.r.tally, make([]tally, slab))
		}
	}
	return p.r.at(at)
}

// place returns where a text is among the report's, counted from 1.
func (r *Report) place(text string) uint32 {
	at, ok := r.places[text]
	if !ok {
		r.texts = append(r.texts, text)
		at = uint32(len(r.texts))
		r.places[text] = at
	}
	return at
}

// Each calls fn with every group, in the order of buckets and texts: its bucket, counted from the report's begin, one text for each column,
// which fn may not keep, and its sums.
func (r *Report) Each(fn func(bucket int, texts []string, s *Sums)) {
	sorted := make([]uint32, len(r.texts))
	for i := range sorted {
		sorted[i] = uint32(i)
	}
	slices.SortFunc(sorted, func(i, j uint32) int { return cmp.Compare(r.texts[i], r.texts[j]) })
	rank := make([]uint32, len(r.texts))
	for i, place := range sorted {
		rank[place] = uint32(i)
	}
	order := make([]int, len(r.keys))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := &r.keys[i], &r.keys[j]
		if a.bucket != b.bucket {
			return cmp.Compare(a.bucket, b.bucket)
		}
		for c := range r.columns {
			if a.columns[c] != b.columns[c] {
				return cmp.Compare(rank[a.columns[c]-1], rank[b.columns[c]-1])
			}
		}
		return 0
	})
	texts := make([]string, len(r.columns))
	for _, i := range order {
		g := &r.keys[i]
		for c := range texts {
			texts[c] = r.texts[g.columns[c]-1]
		}
		s := r.at(i).sums()
		fn(int(g.bucket), texts, &s)
	}
}
