package sums

import (
	"maps"
	"slices"
)

// Keep says what a merge keeps of its pages.
type Keep struct {
	Minutes bool // their minutes; else all of them are one sum
	Keys    bool // the dimensions from Key on
}

// Merge adds pages up and returns, for each of keeps, pages that hold their sums. Pages whose minutes are kept must begin at one time.
// Its memory is that of the pages and what it returns: one record of each page is looked at at a time.
func Merge(pages [][]byte, keeps ...Keep) ([][]Page, error) {
	sources := make([]source, len(pages))
	all := map[string]uint32{}
	for i, p := range pages {
		if err := sources[i].open(p); err != nil {
			return nil, err
		}
		for _, text := range sources[i].texts {
			all[text] = 0
		}
	}
	texts := slices.Sorted(maps.Keys(all))
	for i, text := range texts {
		all[text] = uint32(i)
	}
	writers := make([]writer, len(keeps))
	for i, keep := range keeps {
		writers[i] = writer{texts: texts, dims: Keyless, minutes: keep.Minutes}
		if keep.Keys {
			writers[i].dims = Dims
		}
	}
	h := heap{}
	for i := range sources {
		s := &sources[i]
		s.places = make([]uint32, len(s.texts))
		for j, text := range s.texts {
			s.places[j] = all[text]
		}
		if s.advance() {
			h.push(s)
		} else if s.err != nil {
			return nil, s.err
		}
	}
	for len(h) > 0 {
		s := h[0]
		for i := range writers {
			if err := writers[i].add(&s.at, s.numbers); err != nil {
				return nil, err
			}
		}
		if s.advance() {
			h.down(0)
			continue
		}
		if s.err != nil {
			return nil, s.err
		}
		h.pop()
	}
	out := make([][]Page, len(writers))
	for i := range writers {
		out[i] = writers[i].finish()
	}
	return out, nil
}

// source is a page that is merged.
type source struct {
	reader
	places []uint32 // where each of its texts is among those of all pages
	at     record   // the record that was read last, in places among those
}

func (s *source) advance() bool {
	if !s.next() {
		return false
	}
	for i, d := range s.dims {
		s.at.dims[i] = s.places[d]
	}
	s.at.minute = s.minute
	return true
}

// heap has the source with the smallest record first.
type heap []*source

func (h *heap) push(s *source) {
	*h = append(*h, s)
	q := *h
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if q[up].at.compare(&q[i].at) <= 0 {
			return
		}
		q[up], q[i] = q[i], q[up]
		i = up
	}
}

func (h *heap) pop() {
	q := *h
	q[0] = q[len(q)-1]
	*h = q[:len(q)-1]
	h.down(0)
}

func (h heap) down(i int) {
	for {
		least, left := i, 2*i+1
		for _, child := range [2]int{left, left + 1} {
			if child < len(h) && h[child].at.compare(&h[least].at) < 0 {
				least = child
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
