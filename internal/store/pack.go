package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"gatehouse"
	"gatehouse/internal/store/sums"
)

// A page is many measured rows in one: what a batch recorded. Its body is
//
//	version | texts | text ... | records | record ...
//
// where version is one byte, texts and records are uvarint counts, a text is its length as uvarint and its bytes, and a record is
// its length as uvarint and its fields in the order of the methods below. Numbers are zig-zag varints, texts that repeat are the
// uvarint of their place among the page's texts, and ids stand in place. A field that is added goes last: what a record is too short
// for is zero.
const pageVersion = 1

// packer writes a page or reads one: the same list of fields serves both, so that they cannot differ.
type packer struct {
	writing bool
	b       []byte // the records written, or what is left of the record that is read
	rest    []byte // what is left to read behind it
	bad     bool

	texts []string
	table []byte         // texts as they are written
	known map[string]int // texts that are in the table, by their place
	// before is the same text of the record before, which most often is the same again.
	before [40]struct {
		s  string
		at int
	}
	field   int
	records int
	scratch []byte
	out     []byte // the page
}

// packers are empty ones that write, with the memory of pages before.
var packers = sync.Pool{New: func() any { return &packer{writing: true, known: map[string]int{}} }}

// maxPackerKept is the largest page whose memory is kept for the next.
const maxPackerKept = 1 << 20

func newPacker() *packer { return packers.Get().(*packer) }

// release gives a packer's memory back. Its body is not used after that.
func (p *packer) release() {
	if cap(p.b)+cap(p.out)+cap(p.table) > maxPackerKept {
		return
	}
	clear(p.texts)
	clear(p.known)
	*p = packer{writing: true, known: p.known, b: p.b[:0], out: p.out[:0], table: p.table[:0], scratch: p.scratch[:0], texts: p.texts[:0]}
	packers.Put(p)
}

// body returns the page that was written.
func (p *packer) body() []byte {
	p.out = append(p.out[:0], pageVersion)
	p.out = binary.AppendUvarint(p.out, uint64(len(p.texts)))
	p.out = append(p.out, p.table...)
	p.out = binary.AppendUvarint(p.out, uint64(p.records))
	p.out = append(p.out, p.b...)
	return p.out
}

// record writes one record, whose fields f lists.
func (p *packer) record(f func()) {
	all := p.b
	p.b, p.field = p.scratch[:0], 0
	f()
	p.scratch = p.b
	p.b = append(binary.AppendUvarint(all, uint64(len(p.scratch))), p.scratch...)
	p.records++
}

var errDamagedPage = errors.New("the page is damaged")

// readPage calls each for every record of a page, which then reads its fields, until it returns false.
func readPage(body []byte, each func(p *packer) bool) error {
	if len(body) == 0 || body[0] != pageVersion {
		return fmt.Errorf("%w: its version is not known", errDamagedPage)
	}
	p := &packer{b: body[1:]}
	n := p.count()
	if n > uint64(len(body)) {
		return errDamagedPage
	}
	p.texts = make([]string, n)
	for i := range p.texts {
		p.id(&p.texts[i])
	}
	n = p.count()
	if p.bad {
		return errDamagedPage
	}
	p.rest = p.b
	for ; n > 0; n-- {
		p.b = p.rest
		size := p.count()
		if p.bad || size > uint64(len(p.b)) {
			return errDamagedPage
		}
		p.b, p.rest = p.b[:size], p.b[size:]
		more := each(p)
		if p.bad {
			return errDamagedPage
		}
		if !more {
			return nil
		}
	}
	return nil
}

func (p *packer) count() uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 {
		p.bad, p.b = true, nil
		return 0
	}
	p.b = p.b[n:]
	return v
}

func (p *packer) number(n *int64) {
	if p.writing {
		p.b = binary.AppendVarint(p.b, *n)
		return
	}
	if len(p.b) == 0 {
		return // a field younger than the record
	}
	v, size := binary.Varint(p.b)
	if size <= 0 {
		p.bad, p.b = true, nil
		return
	}
	*n, p.b = v, p.b[size:]
}

// id is a text that no other record has.
func (p *packer) id(s *string) {
	if p.writing {
		text := clean(*s)
		p.b = append(binary.AppendUvarint(p.b, uint64(len(text))), text...)
		return
	}
	if len(p.b) == 0 {
		return
	}
	n := p.count()
	if n > uint64(len(p.b)) {
		p.bad, p.b = true, nil
		return
	}
	*s, p.b = string(p.b[:n]), p.b[n:]
}

// text is a text that other records are likely to have too.
func (p *packer) text(s *string) {
	if p.writing {
		p.b = binary.AppendUvarint(p.b, uint64(p.place(*s)))
		return
	}
	if len(p.b) == 0 {
		return
	}
	n := p.count()
	if n >= uint64(len(p.texts)) {
		p.bad = true
		return
	}
	*s = p.texts[n]
}

// place returns where a text is in the page's table, and puts it there first when it is new.
func (p *packer) place(s string) int {
	slot := &p.before[p.field%len(p.before)]
	p.field++
	if slot.s == s && len(p.texts) > 0 && p.texts[slot.at] == s {
		return slot.at
	}
	at, ok := p.known[s]
	if !ok {
		text := clean(s)
		if text != s {
			at, ok = p.known[text]
		}
		if !ok {
			at = len(p.texts)
			p.texts = append(p.texts, text)
			p.table = append(binary.AppendUvarint(p.table, uint64(len(text))), text...)
		}
		p.known[s], p.known[text] = at, at
	}
	slot.s, slot.at = s, at
	return at
}

func (p *packer) flags(set ...*bool) {
	var n int64
	for i, f := range set {
		if *f {
			n |= 1 << i
		}
	}
	p.number(&n)
	for i, f := range set {
		*f = n&(1<<i) != 0
	}
}

// units are a set of those that are not zero, and their values.
func (p *packer) units(u *gatehouse.Units) {
	fields := sums.UnitFields(u)
	var set int64
	for i, n := range fields {
		if *n != 0 {
			set |= 1 << i
		}
	}
	p.number(&set)
	for i, n := range fields {
		if set&(1<<i) != 0 {
			p.number(n)
		}
	}
}

// usage is one settled request.
func (p *packer) usage(u *gatehouse.Usage) {
	p.id(&u.ID)
	p.number((*int64)(&u.At))
	p.text(&u.Organization)
	p.text(&u.Project)
	p.text(&u.Key)
	p.text(&u.User)
	p.text(&u.ServiceAccount)
	p.text(&u.Product)
	p.text(&u.Model)
	p.text(&u.UpstreamModel)
	p.text(&u.Upstream)
	p.text(&u.ServiceTier)
	p.text((*string)(&u.Confidence))
	p.flags(&u.Batch, &u.CostKnown)
	p.number((*int64)(&u.Cost))
	p.units(&u.Units)
	p.text(&u.Size)
	p.text(&u.Quality)
	p.text(&u.Source)
	p.text(&u.Labels)
	p.parts(&u.Parts)
}

// parts are a set of those that are not zero, and their values.
func (p *packer) parts(parts *gatehouse.Parts) {
	fields := parts.Fields()
	var set int64
	for i, n := range fields {
		if *n != 0 {
			set |= 1 << i
		}
	}
	p.number(&set)
	for i, n := range fields {
		if set&(1<<i) != 0 {
			p.number((*int64)(n))
		}
	}
}

// request is the decision behind one request. Own says that its id is in request_ids.
func (p *packer) request(q *gatehouse.Request, own *bool) {
	p.id(&q.ID)
	counted := q.Units != nil
	p.flags(own, &q.Stream, &q.CostKnown, &q.ClientLeft, &counted)
	p.id(&q.ClientRequestID)
	p.number((*int64)(&q.At))
	for _, s := range []*string{&q.Organization, &q.Project, &q.Key, &q.Owner, &q.IP, &q.UserAgent, &q.Dialect, &q.Method, &q.Route, &q.Model,
		&q.Deployment, &q.Rule, &q.Detail, &q.UpstreamModel, (*string)(&q.Confidence), &q.Work} {
		p.text(s)
	}
	status, attempts := int64(q.Status), int64(len(q.Attempts))
	for _, n := range []*int64{&status, (*int64)(&q.Cost), &q.BytesIn, &q.BytesOut, &q.Millis, &q.FirstByteMillis, &attempts} {
		p.number(n)
	}
	q.Status = int(status)
	if !p.writing && counted {
		q.Units = &gatehouse.Units{}
	}
	if counted {
		p.units(q.Units)
	}
	if !p.writing {
		if attempts < 0 || attempts > int64(len(p.b)) {
			p.bad = true
			return
		}
		if attempts > 0 {
			q.Attempts = make([]gatehouse.Attempt, attempts)
		}
	}
	for i := range q.Attempts {
		a := &q.Attempts[i]
		status := int64(a.Status)
		p.text(&a.Upstream)
		p.text(&a.Model)
		p.text(&a.Error)
		p.id(&a.RequestID)
		p.number(&status)
		p.number(&a.Millis)
		a.Status = int(status)
	}
	p.text(&q.Labels)
}
