package sums

import (
	"cmp"
	"slices"

	"gatehouse"
)

// Builder adds up usage as it comes. The zero value is ready. Its usage must be within what one page covers: an hour.
type Builder struct {
	texts  []string
	places map[string]uint32
	before [Dims]uint32 // places of the usage before: most often the next one's texts are the same
	sums   map[record]int
	tally  []tally
	last   record
	at     int // where in tally the last one's sum is
}

// Add adds one settled request, minute minutes after the page's begin.
func (b *Builder) Add(u *gatehouse.Usage, minute int) {
	dims := Of(u)
	b.put(&dims, minute).usage(u)
}

// AddSums adds what is a sum already.
func (b *Builder) AddSums(dims [Dims]string, minute int, s *Sums) {
	t := tally{fieldRequests: s.Requests, fieldUnpriced: s.Unpriced, fieldCost: int64(s.Cost), fieldSearches: s.Searches}
	for i, n := range s.Parts.Fields() {
		t[fieldParts+i] = int64(*n)
	}
	for i, n := range UnitFields(&s.Units) {
		t[fieldUnits+i] = *n
	}
	b.put(&dims, minute).add(&t)
}

func (b *Builder) put(dims *[Dims]string, minute int) *tally {
	if b.sums == nil {
		b.places, b.sums = map[string]uint32{}, map[record]int{}
		for i := range b.before {
			b.before[i] = b.place("")
		}
		b.at = -1
	}
	r := record{minute: uint32(minute)}
	for i, text := range dims {
		if b.texts[b.before[i]] != text {
			b.before[i] = b.place(text)
		}
		r.dims[i] = b.before[i]
	}
	if b.at >= 0 && r == b.last {
		return &b.tally[b.at]
	}
	at, ok := b.sums[r]
	if !ok {
		at = len(b.tally)
		b.sums[r] = at
		b.tally = append(b.tally, tally{})
	}
	b.last, b.at = r, at
	return &b.tally[at]
}

func (b *Builder) place(text string) uint32 {
	at, ok := b.places[text]
	if !ok {
		at = uint32(len(b.texts))
		b.places[text] = at
		b.texts = append(b.texts, text)
	}
	return at
}

// Len returns how many sums there are.
func (b *Builder) Len() int { return len(b.tally) }

// Pages returns what was added as pages with minutes and keys. The Builder is not used after it.
func (b *Builder) Pages() []Page {
	sorted := make([]uint32, len(b.texts)) // the places, in the order of their texts
	for i := range sorted {
		sorted[i] = uint32(i)
	}
	slices.SortFunc(sorted, func(i, j uint32) int { return cmp.Compare(b.texts[i], b.texts[j]) })
	rank := make([]uint32, len(b.texts))
	texts := make([]string, len(b.texts))
	for i, place := range sorted {
		rank[place], texts[i] = uint32(i), b.texts[place]
	}
	type sum struct {
		record
		at int
	}
	rows := make([]sum, 0, len(b.sums))
	for r, at := range b.sums {
		for i, d := range r.dims {
			r.dims[i] = rank[d]
		}
		rows = append(rows, sum{r, at})
	}
	slices.SortFunc(rows, func(a, b sum) int { return a.compare(&b.record) })
	w := writer{texts: texts, dims: Dims, minutes: true}
	for i := range rows {
		w.put(&rows[i].record, &b.tally[rows[i].at])
	}
	return w.finish()
}
