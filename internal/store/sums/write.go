package sums

import "encoding/binary"

// maxRecords is how many sums a page holds at most: some 600 kilobytes.
const maxRecords = 16_384

// Page is a page that is to be stored.
type Page struct {
	Body    []byte
	Records int // how many sums are in it
}

// writer makes pages of numbers that come in the order of their records. Its texts are sorted, and records name their places in them.
type writer struct {
	texts   []string
	dims    int // how many of the dimensions it keeps
	minutes bool

	pages   []Page
	records []written
	numbers []byte
	open    bool   // current is not in records yet
	current record // as it is kept
	sum     tally
	places  []uint32 // of each text in the page that is made, counted from 1; 0: it is not in it
}

type written struct {
	record
	from, to int // in numbers
}

// add adds numbers under a record that is not before the last one.
func (w *writer) add(r *record, numbers []byte) error {
	kept := *r
	for i := w.dims; i < Dims; i++ {
		kept.dims[i] = 0
	}
	if !w.minutes {
		kept.minute = 0
	}
	if w.open && kept != w.current {
		w.end()
	}
	w.open, w.current = true, kept
	return addNumbers(&w.sum, numbers)
}

// put adds a record that is behind the last one, as it stands.
func (w *writer) put(r *record, sum *tally) {
	w.end()
	w.open, w.current, w.sum = true, *r, *sum
}

// end puts the current record behind the others.
func (w *writer) end() {
	if !w.open {
		return
	}
	from := len(w.numbers)
	w.numbers = appendNumbers(w.numbers, &w.sum)
	w.records = append(w.records, written{w.current, from, len(w.numbers)})
	w.open, w.sum = false, tally{}
	if len(w.records) == maxRecords {
		w.flush()
	}
}

// finish returns the pages.
func (w *writer) finish() []Page {
	w.end()
	w.flush()
	return w.pages
}

// flush makes a page of the records.
func (w *writer) flush() {
	if len(w.records) == 0 {
		return
	}
	b := make([]byte, 0, len(w.numbers)+8*len(w.records)+256)
	b = append(b, pageVersion, byte(w.dims))
	b = append(b, letters[:w.dims]...)
	b = w.appendTexts(b)
	b = binary.AppendUvarint(b, uint64(len(w.records)))
	for i := range w.records {
		r := &w.records[i]
		same := 0
		if i > 0 {
			for before := &w.records[i-1]; same < w.dims && before.dims[same] == r.dims[same]; {
				same++
			}
		}
		b = binary.AppendUvarint(b, uint64(same))
		for _, d := range r.dims[same:w.dims] {
			b = binary.AppendUvarint(b, uint64(w.places[d]-1))
		}
		b = binary.AppendUvarint(b, uint64(r.minute))
		b = binary.AppendUvarint(b, uint64(r.to-r.from))
		b = append(b, w.numbers[r.from:r.to]...)
	}
	w.pages = append(w.pages, Page{Body: b, Records: len(w.records)})
	w.records, w.numbers = w.records[:0], w.numbers[:0]
}

// appendTexts appends the texts that the records use, and sets their places.
func (w *writer) appendTexts(b []byte) []byte {
	if w.places == nil {
		w.places = make([]uint32, len(w.texts))
	}
	clear(w.places)
	for i := range w.records {
		for _, d := range w.records[i].dims[:w.dims] {
			w.places[d] = 1
		}
	}
	n := uint32(0)
	for i, used := range w.places {
		if used != 0 {
			n++
			w.places[i] = n
		}
	}
	b = binary.AppendUvarint(b, uint64(n))
	for i, place := range w.places {
		if place != 0 {
			b = binary.AppendUvarint(b, uint64(len(w.texts[i])))
			b = append(b, w.texts[i]...)
		}
	}
	return b
}
