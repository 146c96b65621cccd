package sums

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// A page is
//
//	version | dimensions | letter ... | texts | text ... | records | record ...
//
// where version and letters are bytes, counts are uvarints and a text is its length as uvarint and its bytes. The texts are sorted and
// different. A record is
//
//	same | place ... | minute | size | numbers
//
// all uvarints but the numbers: same is how many dimensions are those of the record before, place is where in the texts each of the
// others is, minute is counted from the page's begin, and the numbers are size bytes: a mask of those that are not zero, and their
// values as zig-zag varints. Records are sorted by their places, which is by their texts, and then by minute; no two are the same.
const pageVersion = 1

// ErrDamaged is the error for bytes that are no page.
var ErrDamaged = errors.New("the page of sums is damaged")

// maxMinute is far above the minutes of any page.
const maxMinute = 1 << 16

// record is where one sum belongs: the places of its dimensions' texts, and its minute.
type record struct {
	dims   [Dims]uint32
	minute uint32
}

func (r *record) compare(o *record) int {
	for i := range r.dims {
		if r.dims[i] != o.dims[i] {
			if r.dims[i] < o.dims[i] {
				return -1
			}
			return 1
		}
	}
	return int(r.minute) - int(o.minute)
}

// reader reads a page record by record.
type reader struct {
	texts []string
	b     []byte
	left  uint64 // records
	begun bool   // the first record was read
	order []Dim  // the dimensions the page has

	record         // the one that was read last
	changed int    // the first of the page's dimensions in which it differs from the one before
	numbers []byte // its own
	err     error
}

// open begins to read a page.
func (r *reader) open(page []byte) error {
	*r = reader{}
	if len(page) < 2 || page[0] != pageVersion {
		return fmt.Errorf("%w: its version is not known", ErrDamaged)
	}
	dims := int(page[1])
	if len(page) < 2+dims {
		return ErrDamaged
	}
	var known [Dims]bool
	for _, letter := range page[2 : 2+dims] {
		d := dimOf(letter)
		if d < 0 || known[d] || len(r.order) > 0 && r.order[len(r.order)-1] > Dim(d) {
			return fmt.Errorf("%w: it has an unknown dimension", ErrDamaged)
		}
		known[d] = true
		r.order = append(r.order, Dim(d))
	}
	r.b = page[2+dims:]
	n := r.uvarint()
	if r.err != nil || n > uint64(len(r.b)) {
		return ErrDamaged
	}
	if err := r.openTexts(int(n)); err != nil {
		return err
	}
	r.left = r.uvarint()
	// A dimension that is younger than the page is empty in it.
	if len(r.order) < Dims {
		empty := uint32(0)
		if n == 0 || r.texts[0] != "" {
			empty = uint32(n)
			r.texts = append(r.texts, "")
		}
		for d := range r.dims {
			if !known[d] {
				r.dims[d] = empty
			}
		}
	}
	return r.err
}

// openTexts reads n texts: one copy of all of them.
func (r *reader) openTexts(n int) error {
	r.texts = make([]string, n, n+1)
	ends := make([]int, n)
	all := make([]byte, 0, min(8*n, len(r.b)))
	for i := range n {
		size := r.uvarint()
		if r.err != nil || size > uint64(len(r.b)) {
			return ErrDamaged
		}
		all = append(all, r.b[:size]...)
		ends[i], r.b = len(all), r.b[size:]
	}
	whole, begin := string(all), 0
	for i, end := range ends {
		r.texts[i] = whole[begin:end]
		if i > 0 && r.texts[i-1] >= r.texts[i] {
			return ErrDamaged
		}
		begin = end
	}
	return nil
}

func dimOf(letter byte) int {
	for d, l := range letters {
		if l == letter {
			return d
		}
	}
	return -1
}

// next reads the next record, until there is none or the page is damaged, see err.
func (r *reader) next() bool {
	if r.left == 0 || r.err != nil {
		return false
	}
	r.left--
	same := int(min(r.uvarint(), uint64(len(r.order))))
	if !r.begun && same > 0 {
		r.err = ErrDamaged
		return false
	}
	r.begun = true
	for _, d := range r.order[same:] {
		n := r.uvarint()
		if n >= uint64(len(r.texts)) {
			r.err = ErrDamaged
			return false
		}
		r.dims[d] = uint32(n)
	}
	r.changed = Dims
	if same < len(r.order) {
		r.changed = int(r.order[same])
	}
	minute, size := r.uvarint(), r.uvarint()
	r.minute = uint32(minute)
	if r.err != nil || size > uint64(len(r.b)) || minute >= maxMinute {
		r.err = ErrDamaged
		return false
	}
	r.numbers, r.b = r.b[:size], r.b[size:]
	return true
}

// add adds the record's numbers to t.
func (r *reader) add(t *tally) {
	if err := addNumbers(t, r.numbers); err != nil {
		r.err = err
	}
}

func addNumbers(t *tally, b []byte) error {
	mask, n := binary.Uvarint(b)
	if n <= 0 {
		return ErrDamaged
	}
	b = b[n:]
	for ; mask != 0; mask &= mask - 1 {
		i := bits.TrailingZeros64(mask)
		v, n := binary.Varint(b)
		if n <= 0 || i >= fields {
			return ErrDamaged
		}
		b = b[n:]
		t[i] += v
	}
	return nil
}

func appendNumbers(b []byte, t *tally) []byte {
	mask := t.mask()
	b = binary.AppendUvarint(b, mask)
	for ; mask != 0; mask &= mask - 1 {
		b = binary.AppendVarint(b, t[bits.TrailingZeros64(mask)])
	}
	return b
}

func (r *reader) uvarint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		v := r.b[0]
		r.b = r.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.err, r.b = ErrDamaged, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Each calls fn with every sum of a page and its minute.
func Each(page []byte, fn func(dims [Dims]string, minute int, s *Sums)) error {
	var r reader
	if err := r.open(page); err != nil {
		return err
	}
	for r.next() {
		var dims [Dims]string
		for i, at := range r.dims {
			dims[i] = r.texts[at]
		}
		var t tally
		r.add(&t)
		s := t.sums()
		fn(dims, int(r.minute), &s)
	}
	return r.err
}
