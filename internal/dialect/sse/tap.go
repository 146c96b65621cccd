// Package sse reads a stream of server-sent events while it passes through.
//
// It owns the framing of events, what is read from them (package usage says where), which event ends a stream for a client, and
// the two edits that a stream may need: hiding the usage chunk that only Gatehouse asked for, and giving Azure's chunks the form
// that clients of OpenAI expect. All other bytes pass as they came. It does no I/O and starts nothing: the caller feeds what it
// reads and writes what it is given. It does not decide what is to be hidden or when a request is settled.
package sse

import (
	"bytes"

	"gatehouse"
	"gatehouse/internal/dialect/usage"
)

// MaxEvent is the size in bytes up to which an event is held until it is complete. A larger one passes through as it comes and
// is never edited; of it only the line ends are held back that would complete it.
const MaxEvent = 64 << 10

// Options say what is done to a stream.
type Options struct {
	Shape usage.Shape
	// Hands are the kinds of ids that Summary.Made shall hold.
	Hands usage.Made
	// HideUsageChunk drops the chunk of a chat or completions stream that has no choices and a usage object. A chunk that has
	// choices is never dropped.
	HideUsageChunk bool
	// FixAzure gives a stream of Azure the form of OpenAI's: the chunk without choices that only has the prompt's filter results
	// is dropped, and a choice without "delta" gets an empty one; a chunk that got one and says nothing of the answer it belongs to
	// (an empty id, model and object, and no time) says what the chunks before it said.
	FixAzure bool
}

// Emit takes the next bytes of the outgoing stream; they are valid during the call only. The bytes of the one call with final
// set let the client know that the answer is complete: it must be settled before they are written. Bytes may follow, as
// [DONE] follows an error.
type Emit func(b []byte, final bool) error

// Summary is what a stream said so far.
type Summary struct {
	Units       gatehouse.Units
	Reported    bool // the upstream said what it counted (of images perhaps only how many); otherwise Units has calls of tools at most
	ID          string
	Model       string
	ServiceTier string
	Status      string // of a response or run
	Size        string // of images
	Quality     string
	Made        []Made // ids at the places of what the answer may have made
	TextBytes   int64  // size of the text that the model wrote, for an estimate
	Events      int64  // events with data
	Ended       bool   // an event that ends a stream has come
	Failed      bool   // an error has come
}

// Made is an id that stands where a stream names something that it may have made.
type Made struct {
	Kind usage.Made
	ID   string
}

// Tap reads one stream. Reset makes it ready for the next without allocating; the zero Tap hides nothing and counts nothing.
//
// The stream is cut into events at blank lines. An event that is complete is emitted at once, together with its neighbours where
// possible as a slice of what was fed; one that is not complete waits in hold.
//
// An event that ends a stream is emitted with final set. Where several may come, one for each image, the line ends that
// complete such an event are deferred until the next event or the end of the input shows whether it was the last.
type Tap struct {
	opts    Options
	capture usage.Capture // of the current event's data

	// What was fed and not yet emitted, of earlier calls: the deferred line ends (tail bytes), then the current event.
	hold []byte
	tail int

	// The current event.
	size    int  // bytes of it in earlier calls
	passing bool // it is larger than MaxEvent, and its beginning is out
	fields  int  // lines with a field
	lines   int  // lines of data
	head    [len(done)]byte
	headLen int
	event   [64]byte // the event field
	nameLen int      // of event, capped
	over    bool     // the event field is longer

	// The current line.
	at       position
	field    field
	key      [8]byte
	keyLen   int
	skipLF   bool // the last line ended in CR: an LF that follows belongs to it
	fate     fate // what became of the event before: of that LF
	begun    bool // a line has ended: there can be no byte order mark any more
	rewriter rewriter

	// The stream so far.
	id, model, tier, status, usage []byte // JSON
	created                        []byte // JSON; kept where chunks may have to be given it
	made                           []Made
	pictured, quality              []byte          // size and quality of images, JSON
	images                         gatehouse.Units // of the images that are complete
	calls                          usage.Calls     // of hosted tools
	text, events                   int64
	ended, failed, final           bool
}

// done is the data that ends a stream of chat chunks; SDKs compare it whole or as a prefix.
const done = "[DONE]"

type position uint8

const (
	lineStart position = iota
	inKey
	valueStart
	inValue
)

type field uint8

const (
	otherField field = iota
	commentField
	dataField
	eventField
)

type fate uint8

const (
	passed fate = iota
	hidden
	deferred
)

// Reset makes the tap ready for a new stream.
func (t *Tap) Reset(o Options) {
	t.capture.Reset()
	t.capture.Want, t.capture.Alike = o.Hands, true
	*t = Tap{opts: o, capture: t.capture, rewriter: t.rewriter, hold: t.hold[:0], id: t.id[:0], model: t.model[:0], tier: t.tier[:0],
		status: t.status[:0], usage: t.usage[:0], created: t.created[:0], pictured: t.pictured[:0], quality: t.quality[:0]}
}

// Feed reads the next piece of the stream, of any size, and emits what can go out. An error is emit's own; after one the tap
// must be reset.
func (t *Tap) Feed(p []byte, emit Emit) error {
	w := window{p: p, emit: emit}
	lf, cr := -1, -1 // the next of each in p; cr only up to lf
	for i := 0; i < len(p); {
		if t.skipLF {
			t.skipLF = false
			if p[i] == '\n' {
				i++
				if err := t.lateLF(&w, i); err != nil {
					return err
				}
				continue
			}
		}
		switch t.at {
		case lineStart:
			if p[i] == '\n' || p[i] == '\r' {
				i = t.lineEnd(p, i)
				if err := t.endEvent(&w, i); err != nil {
					return err
				}
				continue
			}
			if p[i] == 'd' && len(p)-i > 5 && string(p[i:i+5]) == "data:" {
				i += 5
				t.begin(dataField)
				t.at = valueStart
				continue
			}
			t.at, t.keyLen = inKey, 0
		case inKey:
			for i < len(p) && p[i] != ':' && p[i] != '\n' && p[i] != '\r' {
				if t.keyLen < len(t.key) {
					t.key[t.keyLen] = p[i]
				}
				t.keyLen = min(t.keyLen+1, len(t.key)+1)
				i++
			}
			if i == len(p) {
				continue
			}
			t.begin(t.fieldOf())
			t.at = inValue
			if p[i] == ':' {
				i++
				t.at = valueStart
			}
		case valueStart:
			if p[i] == ' ' {
				i++
			}
			t.at = inValue
		case inValue:
			if lf < i {
				lf = find(p, i, len(p), '\n')
				cr = -1
			}
			if cr < i {
				cr = find(p, i, lf, '\r')
			}
			end := min(lf, cr)
			t.take(p[i:end])
			i = end
			if i == len(p) {
				continue
			}
			i = t.lineEnd(p, i)
			if t.field == commentField && t.fields == 0 && t.tail == 0 {
				if err := t.pass(&w, i); err != nil { // a sign of life must not wait for an event
					return err
				}
			}
		}
	}
	return t.keep(&w)
}

// Close emits what is left when the input has ended. An event without its blank line counts for what it says, but it ends the
// stream only when its data is whole.
func (t *Tap) Close(emit Emit) error {
	w := window{emit: emit}
	if t.at == inKey {
		t.begin(t.fieldOf())
	}
	ended, images := t.ended, t.images
	v := t.judge(t.size)
	if string(t.head[:t.headLen]) != done && !t.capture.Complete() {
		t.ended, t.images = ended, images
	}
	if v == hide {
		t.hold = t.hold[:t.tail]
	}
	final := (v == last || v == maybeLast || t.tail > 0) && !t.final
	t.final = t.final || final
	var err error
	if v == rewrite {
		t.hold = append(t.hold[:t.tail], t.rewriter.rewrite(t.hold[t.tail:], t.id, t.model, t.created)...)
	}
	if len(t.hold) > 0 {
		err = w.emit(t.hold, final)
	}
	t.hold, t.tail = t.hold[:0], 0
	t.next()
	return err
}

// TextBytes returns the size so far of the text that the model wrote, as Summary does.
func (t *Tap) TextBytes() int64 { return t.text }

// Summary returns what the stream said so far. It allocates.
func (t *Tap) Summary() Summary {
	s := Summary{ID: unquote(t.id), Model: unquote(t.model), ServiceTier: unquote(t.tier), Status: unquote(t.status), Made: t.made,
		TextBytes: t.text, Events: t.events, Ended: t.ended, Failed: t.failed, Size: unquote(t.pictured), Quality: unquote(t.quality)}
	if t.opts.Shape == usage.Images {
		s.Units, s.Reported = t.images, t.images.Images > 0
		return s
	}
	s.Units, s.Reported = usage.Extract(t.opts.Shape, t.usage)
	t.calls.Count(&s.Units)
	if s.Reported {
		usage.Searches(t.opts.Shape, s.Model).Count(&s.Units)
	}
	for i := range t.made {
		if t.made[i].Kind == usage.MadeContainer && t.opts.Shape == usage.Responses {
			s.Units.Containers++ // each is there once
		}
	}
	return s
}

// window is what Feed has read of one piece: p[run:start] are complete events that go out as one slice, p[start:] is the
// current event. While anything is held, run equals start.
type window struct {
	p          []byte
	run, start int
	emit       Emit
}

// flush emits the complete events.
func (w *window) flush() error {
	if w.run == w.start {
		return nil
	}
	b := w.p[w.run:w.start]
	w.run = w.start
	return w.emit(b, false)
}

// skip moves on behind an event that has been dealt with.
func (w *window) skip(end int) { w.run, w.start = end, end }

// lineEnd ends a line at p[i], which is its CR or LF, and returns the offset behind it.
func (t *Tap) lineEnd(p []byte, i int) int {
	t.at, t.begun = lineStart, true
	i++
	if p[i-1] == '\n' {
		return i
	}
	if i == len(p) {
		t.skipLF = true
		return i
	}
	if p[i] == '\n' {
		i++
	}
	return i
}

// lateLF deals with an LF that was cut off from its CR; end is the offset behind it. Within an event it is a byte like others;
// between two it shares the fate of the one before.
func (t *Tap) lateLF(w *window, end int) error {
	if t.size > 0 {
		return nil
	}
	switch t.fate {
	case hidden:
		w.skip(end)
	case deferred:
		t.hold = append(t.hold, '\n')
		t.tail = len(t.hold)
		w.skip(end)
	default:
		w.start = end
	}
	return nil
}

// fieldOf returns the field that the collected key names.
func (t *Tap) fieldOf() field {
	if t.keyLen > len(t.key) {
		return otherField
	}
	key := t.key[:t.keyLen]
	if !t.begun {
		key = bytes.TrimPrefix(key, byteOrderMark)
	}
	switch string(key) {
	case "":
		return commentField
	case "data":
		return dataField
	case "event":
		return eventField
	}
	return otherField
}

// begin starts the value of a field.
func (t *Tap) begin(f field) {
	t.field = f
	if f != commentField {
		t.fields++
	}
	switch f {
	case dataField:
		if t.lines > 0 {
			_, _ = t.capture.Write(newline) // a Capture takes everything
		}
		t.lines++
	case eventField:
		t.nameLen, t.over = 0, false
	}
}

var (
	newline       = []byte("\n")
	byteOrderMark = []byte("\ufeff")
)

// take reads more of the current field's value.
func (t *Tap) take(b []byte) {
	switch t.field {
	case dataField:
		if t.headLen < len(t.head) {
			t.headLen += copy(t.head[t.headLen:], b)
		}
		_, _ = t.capture.Write(b) // a Capture takes everything
	case eventField:
		n := copy(t.event[t.nameLen:], b)
		t.over = t.over || n < len(b)
		t.nameLen += n
	}
}

// endEvent deals with the current event, whose blank line ends at end.
func (t *Tap) endEvent(w *window, end int) error {
	v := t.judge(t.size + end - w.start)
	if t.tail > 0 && t.lines == 0 && len(t.hold) < MaxEvent {
		t.hold = append(t.hold, w.p[w.start:end]...) // what says nothing waits behind the event that may be the last
		t.tail = len(t.hold)
		w.skip(end)
		t.fate = deferred
		t.next()
		return nil
	}
	switch v {
	case hide:
		if err := w.flush(); err != nil {
			return err
		}
		t.hold = t.hold[:t.tail]
		w.skip(end)
		t.fate = hidden
		t.next()
		return nil
	case last:
		return t.emitLast(w, end)
	case maybeLast:
		return t.deferEnd(w, end)
	case rewrite:
		if err := w.flush(); err != nil {
			return err
		}
		t.hold = append(t.hold, w.p[w.start:end]...)
		t.hold = append(t.hold[:t.tail], t.rewriter.rewrite(t.hold[t.tail:], t.id, t.model, t.created)...)
		w.skip(end)
		return t.pass(w, end)
	}
	return t.pass(w, end)
}

// pass lets everything up to end go out.
func (t *Tap) pass(w *window, end int) error {
	if len(t.hold) > 0 {
		if err := w.emit(t.hold, false); err != nil {
			return err
		}
		t.hold, t.tail = t.hold[:0], 0
	}
	w.start = end
	t.fate = passed
	t.next()
	return nil
}

// emitLast emits the event that ends the stream, whole and alone.
func (t *Tap) emitLast(w *window, end int) error {
	if err := w.flush(); err != nil {
		return err
	}
	b := w.p[w.start:end]
	if len(t.hold) > 0 {
		t.hold = append(t.hold, b...)
		b = t.hold
	}
	w.skip(end)
	if err := w.emit(b, true); err != nil {
		return err
	}
	t.hold, t.tail, t.final, t.fate = t.hold[:0], 0, true, passed
	t.next()
	return nil
}

// deferEnd emits an event that may be the last but for the line ends that complete it.
func (t *Tap) deferEnd(w *window, end int) error {
	if len(t.hold) > 0 {
		t.hold = append(t.hold, w.p[w.start:end]...)
		w.skip(end)
		front := len(t.hold) - lineEnds(t.hold, 2)
		if front > 0 {
			if err := w.emit(t.hold[:front], false); err != nil {
				return err
			}
		}
		t.hold = append(t.hold[:0], t.hold[front:]...)
	} else {
		w.start = end - lineEnds(w.p[:end], 2)
		if err := w.flush(); err != nil {
			return err
		}
		t.hold = append(t.hold, w.p[w.start:end]...)
		w.skip(end)
	}
	t.tail, t.fate = len(t.hold), deferred
	t.next()
	return nil
}

// keep stores the current event until more of it comes, or lets a large one through.
func (t *Tap) keep(w *window) error {
	if err := w.flush(); err != nil {
		return err
	}
	rest := w.p[w.start:]
	if len(rest) == 0 {
		return nil
	}
	t.size += len(rest)
	if t.size <= MaxEvent {
		t.hold = append(t.hold, rest...)
		return nil
	}
	t.passing, t.tail = true, 0
	back := 0
	if t.at == lineStart {
		if len(rest) == 1 && len(t.hold) == 1 { // the LF of a CR that is held
			t.hold = append(t.hold, rest...)
			return nil
		}
		back = lineEnds(rest, 1)
	}
	if len(t.hold) > 0 {
		if err := w.emit(t.hold, false); err != nil {
			return err
		}
	}
	t.hold = append(t.hold[:0], rest[len(rest)-back:]...)
	if len(rest) == back {
		return nil
	}
	return w.emit(rest[:len(rest)-back], false)
}

// next forgets the current event.
func (t *Tap) next() {
	if t.lines > 0 {
		t.capture.Reset()
		t.capture.Want = t.opts.Hands
	}
	t.size, t.passing, t.fields, t.lines, t.headLen, t.nameLen, t.over = 0, false, 0, 0, 0, 0, false
}

// lineEnds returns the size of the last n line ends of b.
func lineEnds(b []byte, n int) int {
	end := len(b)
	for range n {
		switch {
		case end > 1 && b[end-1] == '\n' && b[end-2] == '\r':
			end -= 2
		case end > 0 && (b[end-1] == '\n' || b[end-1] == '\r'):
			end--
		}
	}
	return len(b) - end
}

// find returns the offset of c in p[i:end], or end.
func find(p []byte, i, end int, c byte) int {
	if n := bytes.IndexByte(p[i:end], c); n >= 0 {
		return i + n
	}
	return end
}
