package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse"
	"gatehouse/internal/ledger/budget"
	"gatehouse/internal/ledger/prices"
	"gatehouse/internal/store"
)

const (
	drainEvery     = 250 * time.Millisecond
	drainRetryMost = 5 * time.Second
	// refreshMost bounds how long bringing the budgets up to date may keep the journal from being recorded.
	refreshMost     = 5 * time.Second
	checkpointEvery = time.Second
	batchRecords    = 1024
	// isolateAfter is how many times in a row a batch fails before the drainer asks whether one record is the reason, and
	// isolateTries how many attempts without one success tell it that the database is.
	isolateAfter = 3
	isolateTries = 24
)

// entry is one record of a batch and where it lies.
type entry struct {
	usage   *gatehouse.Usage
	request *gatehouse.Request
	object  *gatehouse.Object
	gone    bool // the object is disowned
	work    *gatehouse.Work
	ends    string // the work whose usage this is
	charge  *store.Charge
	chain   uint64            // what its segment calls the windows of its charge, or of its work
	counts  gatehouse.NanoUSD // what counts as spent since a hold was settled
	batch   *gatehouse.BatchInput
	lastUse gatehouse.Millis
	key     string

	segment uint64
	offset  int64
	size    int
}

// drainer copies the journal into the database, in order. A batch that failed is kept and tried again; nothing is read beyond
// it, so its memory is bounded however long the database is away. Recording a batch twice changes nothing.
type drainer struct {
	l        *Ledger
	turn     chan struct{} // holds one token: whoever has it drains and owns what follows
	pos      position      // everything before it is recorded
	entries  []entry       // the batch: read and not recorded
	read     position      // where reading goes on
	file     *os.File      // the segment being read
	rd       reader
	decode   decoder // whose memory the batch's entries are in
	failed   int     // attempts at this batch in a row
	noted    time.Time
	usage    []gatehouse.Usage
	requests []gatehouse.Request
	errors   atomic.Int64
	rejected atomic.Int64
	own      position // where what this process held and settled begins

	mu       sync.Mutex
	recorded position // pos, for everybody else
}

func (d *drainer) init(l *Ledger) {
	d.l = l
	d.turn = make(chan struct{}, 1)
	d.turn <- struct{}{}
}

// start makes the drainer begin at p.
func (d *drainer) start(p position) {
	d.pos, d.read = p, p
	d.publish()
}

func (d *drainer) publish() {
	d.mu.Lock()
	d.recorded = d.pos
	d.mu.Unlock()
}

// at returns the position before which everything is in the database.
func (d *drainer) at() position {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.recorded
}

// runDrain drains every 250 ms, and sooner when much has come together, until ctx ends.
func (l *Ledger) runDrain(ctx context.Context) {
	pause := drainEvery
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		wake := l.journal.wake
		if pause > drainEvery {
			wake = nil // the database is away: more records do not bring it back sooner
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-wake:
		}
		l.journal.retryUnwritten()
		l.journal.probe()
		err := l.drainer.drain(ctx)
		if err == nil {
			l.refresh(ctx)
		}
		switch {
		case err == nil && pause > drainEvery:
			l.cfg.Logger.Info("journal is recorded in the database again")
			pause = drainEvery
		case err != nil && ctx.Err() == nil:
			if pause == drainEvery {
				l.cfg.Logger.Warn("journal cannot be recorded in the database; it is kept and tried again", "pending_bytes", l.Stats().PendingBytes, "error", err)
			}
			pause = min(2*pause, drainRetryMost)
		}
		timer.Reset(pause)
	}
}

// drain records everything that is in the journal now.
func (d *drainer) drain(ctx context.Context) error {
	select {
	case <-d.turn:
		defer func() { d.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	j := &d.l.journal
	now := d.l.cfg.Now()
	segments := j.snapshot()
	if len(segments) == 0 {
		return nil
	}
	last := segments[len(segments)-1]
	end := position{segment: last.number, offset: last.size}
	some := false
	for d.pos.before(end) {
		if err := d.load(segments); err != nil {
			d.rewind()
			return fmt.Errorf("read journal: %w", err)
		}
		if len(d.entries) > 0 {
			some = true
			if err := d.store(ctx); err != nil {
				return err
			}
		}
		d.pos = d.read
		d.publish()
	}
	j.recordedTo(d.pos, gatehouse.MillisOf(now))
	if some && now.Sub(d.noted) >= checkpointEvery {
		d.noted = now
		b, start := beginFrame(nil, kindCheckpoint)
		// Without it a restart records again what is recorded already, which changes nothing.
		_, _ = j.write(endFrame(appendCheckpoint(b, d.pos), start), nil)
	}
	if err := j.release(d.pos); err != nil {
		d.l.cfg.Logger.Warn("recorded segments of the journal are not released yet", "error", err)
	}
	return nil
}

// load reads on from where the batch ends until the batch is full or the segments are read.
func (d *drainer) load(segments []segment) error {
	for i := range segments {
		s := &segments[i]
		if s.number < d.read.segment {
			continue
		}
		if s.number > d.read.segment {
			d.closeFile()
			d.read = position{segment: s.number}
		}
		if d.file == nil {
			f, err := os.Open(s.path)
			if err != nil {
				return err
			}
			d.file = f
			if d.decode.chains, err = d.rd.chains(f, d.read.offset); err != nil {
				return err
			}
			d.rd.open(f, d.read.offset, s.size)
		}
		d.rd.end = s.size
		for len(d.entries) < batchRecords {
			rec, err := d.rd.next()
			if errors.Is(err, io.EOF) {
				d.read.offset = s.size
				break
			}
			if err != nil {
				return err
			}
			d.add(rec, s.number)
			d.read.offset = d.rd.off
		}
		if d.read.offset < s.size {
			return nil // the batch is full
		}
		if lost := d.rd.damaged + d.rd.torn; lost > s.damaged {
			d.l.journal.addDamage(s.number, lost-s.damaged)
		}
	}
	return nil
}

// rewind forgets the batch and reads it again next time.
func (d *drainer) rewind() {
	d.entries = d.entries[:0]
	d.decode.reset()
	d.read = d.pos
	d.closeFile()
}

func (d *drainer) closeFile() {
	if d.file != nil {
		_ = d.file.Close() // it was only read
		d.file = nil
	}
}

// close ends the drainer.
func (d *drainer) close() {
	<-d.turn
	d.closeFile()
	d.turn <- struct{}{}
}

// add decodes a record into the batch.
func (d *drainer) add(rec frame, segment uint64) {
	e := entry{segment: segment, offset: d.rd.off - int64(rec.size), size: rec.size}
	var err error
	switch rec.kind {
	case kindSettled:
		err = e.settled(&d.decode, rec, d.l.Prices())
	case kindDecision:
		e.request, err = decodeRefusal(rec.payload, rec.version)
		if err == nil && e.request.Rule == RuleServed {
			e.key, e.lastUse = e.request.Key, e.request.At
		}
	case kindOwn, kindDisown:
		var o gatehouse.Object
		o, err = decodeObject(rec.payload, rec.version)
		e.object, e.gone = &o, rec.kind == kindDisown
	case kindBatchInput:
		e.batch, err = decodeBatchInput(rec.payload, rec.version)
	case kindChain:
		err = d.decode.chains.define(rec.payload)
	default:
		return // held records and checkpoints are for recovery
	}
	if err != nil {
		d.reject(&e, err)
		return
	}
	if e.usage == nil && e.request == nil && e.object == nil && e.work == nil && e.batch == nil {
		return // a chain, or released without a decision
	}
	d.entries = append(d.entries, e)
}

// settled takes what a settled record says.
func (e *entry) settled(d *decoder, rec frame, table *prices.Table) error {
	s, err := d.settled(rec.payload, rec.version)
	if err != nil {
		return err
	}
	e.usage, e.request, e.work, e.ends, e.charge, e.chain, e.counts = s.usage, s.request, s.work, s.ends, s.charge, s.chain, s.counts
	if e.usage != nil && e.usage.CostKnown {
		e.usage.Parts = table.Split(&s.of, &e.usage.Units, e.usage.Cost)
	}
	switch {
	case s.request != nil:
		e.key, e.lastUse = s.request.Key, s.request.At
	case s.usage != nil && s.ends == "": // the end of work is no use of a key
		e.key, e.lastUse = s.usage.Key, s.usage.At
	}
	return nil
}

// batchOf makes one batch of entries, which is good until it is called again: its longest lists are kept for the next.
func (d *drainer) batchOf(entries []entry) store.Batch {
	b := store.Batch{Usage: slices.Grow(d.usage[:0], len(entries)), Requests: slices.Grow(d.requests[:0], len(entries))}
	d.usage, d.requests = b.Usage, b.Requests
	var key, ip, network string // most often the next request is of the same key and comes from the same address
	var last, seen gatehouse.Millis
	note := func() { // what was seen of key
		if key == "" {
			return
		}
		if b.LastUsed == nil {
			b.LastUsed, b.Networks = map[string]gatehouse.Millis{}, map[store.NetworkUse]gatehouse.Millis{}
		}
		b.LastUsed[key] = max(b.LastUsed[key], last)
		if network != "" && seen != 0 {
			use := store.NetworkUse{Key: key, Network: network}
			b.Networks[use] = max(b.Networks[use], seen)
		}
		last, seen = 0, 0
	}
	for i := range entries {
		e := &entries[i]
		if e.usage != nil {
			b.Usage = append(b.Usage, *e.usage)
		}
		if e.request != nil {
			b.Requests = append(b.Requests, *e.request)
		}
		if e.key != "" {
			if e.key != key || e.request != nil && e.request.IP != ip {
				note()
				key = e.key
				if e.request != nil && e.request.IP != ip {
					ip, network = e.request.IP, networkOf(e.request.IP)
				}
			}
			if last = max(last, e.lastUse); e.request != nil {
				seen = max(seen, e.lastUse)
			}
		}
		if e.object != nil && e.gone {
			b.Deleted = append(b.Deleted, store.ObjectRef{ID: e.object.ID, Project: e.object.Project, At: e.object.DeletedAt})
		} else if e.object != nil {
			b.Objects = append(b.Objects, *e.object)
		}
		if e.work != nil {
			b.Work = append(b.Work, *e.work)
		}
		if e.charge != nil {
			b.Charges = append(b.Charges, *e.charge)
		}
		if e.ends != "" {
			b.WorkDone = append(b.WorkDone, e.ends)
		}
		if e.batch != nil {
			b.BatchInputs = append(b.BatchInputs, *e.batch)
		}
	}
	note()
	return b
}

// emptied returns a list's memory for the next batch after one of used records.
func emptied[T any](list []T, used int) []T {
	list = list[:cap(list)]
	clear(list)
	if n := kept(len(list), used); n < len(list) {
		return make([]T, 0, n)
	}
	return list[:0]
}

// networkOf returns the network that an address is in: as much of it as tells who is calling from where, and not which machine.
func networkOf(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	a = a.Unmap().WithZone("")
	bits := 48
	if a.Is4() {
		bits = 24
	}
	return netip.PrefixFrom(a, bits).Masked().String()
}

// store records the batch and empties it.
func (d *drainer) store(ctx context.Context) error {
	err := d.l.record(ctx, d.batchOf(d.entries))
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		d.errors.Add(1)
		d.failed++
		if d.failed < isolateAfter || !d.isolate(ctx) {
			return err
		}
	}
	d.failed = 0
	d.settled()
	n := len(d.entries)
	clear(d.entries)
	d.entries = d.entries[:0]
	d.usage, d.requests = emptied(d.usage, n), emptied(d.requests, n)
	d.decode.reset()
	return nil
}

// settled tells the accounts that the database has what the batch settled.
func (d *drainer) settled() {
	var windows []gatehouse.BudgetWindow // most often the next request counts in the same
	var sum gatehouse.NanoUSD
	for i := range d.entries {
		e := &d.entries[i]
		if e.counts == 0 || (position{e.segment, e.offset}).before(d.own) {
			continue
		}
		var of []gatehouse.BudgetWindow
		if e.work != nil {
			of = e.work.Budgets
		} else {
			of = e.charge.Windows
		}
		if len(windows) != len(of) || len(of) > 0 && &windows[0] != &of[0] {
			d.l.accounts.Recorded(windows, sum)
			windows, sum = of, 0
		}
		sum += e.counts
	}
	d.l.accounts.Recorded(windows, sum)
}

// quiet returns when nothing is being recorded, everything of earlier processes is, and keeps it so until release is called.
func (d *drainer) quiet(ctx context.Context) (release func(), err error) {
	select {
	case <-d.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if d.pos.before(d.own) {
		d.turn <- struct{}{}
		return nil, errors.New("the journal of the process before is not recorded yet")
	}
	return func() { d.turn <- struct{}{} }, nil
}

// refresh brings the budgets up to date, and logs when that begins to fail and when it works again.
func (l *Ledger) refresh(ctx context.Context) {
	err := l.drainer.refresh(ctx)
	switch failing := err != nil && ctx.Err() == nil; {
	case failing && !l.stale:
		l.cfg.Logger.Warn("budgets cannot be brought up to date; this node spends what it was given and takes no more", "error", err)
		l.stale = true
	case err == nil && l.stale:
		l.cfg.Logger.Info("budgets are up to date again")
		l.stale = false
	}
}

// refresh brings the accounts up to date.
func (d *drainer) refresh(ctx context.Context) error {
	release, err := d.quiet(ctx)
	if err != nil {
		return err
	}
	defer release()
	ctx, stop := context.WithTimeout(ctx, refreshMost)
	defer stop()
	return d.l.accounts.Refresh(ctx)
}

// isolate records a batch that failed in halves of halves, and sets aside the single records that fail while others succeed: one
// record that the database will never take must not stop every one behind it. It reports whether the batch is dealt with.
func (d *drainer) isolate(ctx context.Context) bool {
	tries, successes := 0, 0
	var bad []*entry
	var badErr error
	var try func(entries []entry) bool
	try = func(entries []entry) bool {
		if ctx.Err() != nil || tries >= isolateTries && successes == 0 {
			return false
		}
		tries++
		err := d.l.record(ctx, d.batchOf(entries))
		if err == nil {
			successes++
			return true
		}
		if len(entries) == 1 {
			bad, badErr = append(bad, &entries[0]), err
			return true
		}
		half := len(entries) / 2
		return try(entries[:half]) && try(entries[half:])
	}
	if !try(d.entries) || successes == 0 {
		return false
	}
	// The database may have come or gone while the halves were tried. A record is set aside only when it fails again between two
	// successes of all the others.
	good := slices.DeleteFunc(slices.Clone(d.entries), func(e entry) bool {
		return slices.ContainsFunc(bad, func(b *entry) bool { return b.segment == e.segment && b.offset == e.offset })
	})
	if len(bad) == 0 {
		return true
	}
	if d.l.record(ctx, d.batchOf(good)) != nil {
		return false
	}
	bad = slices.DeleteFunc(bad, func(e *entry) bool {
		err := d.l.record(ctx, d.batchOf([]entry{*e}))
		if err != nil {
			badErr = err
		}
		return err == nil
	})
	if d.l.record(ctx, d.batchOf(good)) != nil {
		return false
	}
	for _, e := range bad {
		d.reject(e, badErr)
	}
	return true
}

// rejectedName is the file in the journal's directory that keeps, as they were journaled, records that cannot be recorded.
const rejectedName = "rejected"

// chained returns the record of the chain that a record names, to go before it where its segment does not.
func (e *entry) chained() []byte {
	c := budget.Chain{Number: e.chain}
	switch {
	case e.chain == 0:
		return nil
	case e.work != nil:
		c.Node, c.Windows = e.work.Node, e.work.Budgets
	default:
		c.Node, c.Windows = e.charge.Node, e.charge.Windows
	}
	b, start := beginFrame(nil, kindChain)
	return endFrame(appendChain(b, &c), start)
}

// reject sets a record aside.
func (d *drainer) reject(e *entry, cause error) {
	d.rejected.Add(1)
	id := ""
	if e.request != nil {
		id = e.request.ID
	} else if e.usage != nil {
		id = e.usage.ID
	}
	err := d.l.journal.setAside(e.segment, e.offset, e.size, e.chained())
	d.l.cfg.Logger.Error("record of the journal cannot be recorded in the database and is set aside", "request_id", id, "file", filepath.Join(d.l.journal.dir, rejectedName), "cause", cause, "error", err)
}
