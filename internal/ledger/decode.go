package ledger

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math/bits"
	"strings"
	"unicode/utf8"

	"gatehouse"
	"gatehouse/internal/ledger/budget"
	"gatehouse/internal/ledger/prices"
	"gatehouse/internal/store"
)

// errPayload is a payload whose checksum holds and whose fields do not.
var errPayload = errors.New("record does not decode")

// fields reads a payload from its front. The first field that is not there makes bad true and every later one zero.
type fields struct {
	b    []byte // what is left
	all  string // the payload, which every text is a part of: one allocation for all of them. Empty where seen is not nil
	bad  bool
	seen *seen // nil: nothing is remembered
	n    int   // texts read so far
}

// seen is the texts of the record before, by their order in it: most often the next one says the same but for its ids, and then it is the
// same memory.
type seen [48]string

func fieldsOf(payload []byte) fields { return fields{b: payload, all: string(payload)} }

func (f *fields) flags() byte {
	if len(f.b) == 0 {
		f.bad = true
		return 0
	}
	v := f.b[0]
	f.b = f.b[1:]
	return v
}

func (f *fields) number() int64 {
	u := f.count()
	return int64(u>>1) ^ -int64(u&1) // zig-zag, as binary.Varint has it
}

// count reads a number without a sign. Most are below 128, and then one byte.
func (f *fields) count() uint64 {
	if len(f.b) > 0 && f.b[0] < 0x80 {
		v := uint64(f.b[0])
		f.b = f.b[1:]
		return v
	}
	return f.longCount()
}

func (f *fields) longCount() uint64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 {
		f.bad, f.b = true, nil
		return 0
	}
	f.b = f.b[n:]
	return v
}

func (f *fields) bytes() []byte { return f.take(f.count()) }

func (f *fields) take(n uint64) []byte {
	if n > maxText || n > uint64(len(f.b)) {
		f.bad, f.b = true, nil
		return nil
	}
	v := f.b[:n]
	f.b = f.b[n:]
	return v
}

// text returns the next string. PostgreSQL stores neither NUL nor text that is not UTF-8; a client may have sent both, and one
// such record must not stop all that follow it.
func (f *fields) text() string { return f.textOf(f.bytes()) }

// same returns the next string, which appendSame wrote; of a version before that, appendText.
func (f *fields) same(as string, version byte) string {
	if version < 6 {
		return f.text()
	}
	n := f.count()
	if n == 0 {
		f.n++
		return as
	}
	return f.textOf(f.take(n - 1))
}

func (f *fields) textOf(raw []byte) string {
	k := f.n
	f.n++
	if len(raw) == 0 {
		return ""
	}
	if f.seen == nil {
		end := len(f.all) - len(f.b)
		return storable(f.all[end-len(raw) : end])
	}
	if k >= len(f.seen) {
		return storable(string(raw))
	}
	before := &f.seen[k]
	if *before != string(raw) {
		s := string(raw)
		if *before = storable(s); *before != s {
			s, *before = *before, "" // what was written is not what is kept
			return s
		}
	}
	return *before
}

// storable returns s without what a database would refuse.
func storable(s string) string {
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	}
	if utf8.ValidString(s) { // asking first is a fraction of the work
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// units reads what appendUnits wrote, in the encoding of a payload of that version, into u, which has none yet.
func (f *fields) units(u *gatehouse.Units, version byte) {
	all := unitFields(u)
	if version >= 6 {
		some := f.count()
		if some >= 1<<len(all) {
			f.bad = true
			return
		}
		for ; some != 0; some &= some - 1 {
			*all[bits.TrailingZeros64(some)] = f.number()
		}
		return
	}
	have := all[:]
	switch {
	case version < 2:
		have = have[:16] // without videos and training
	case version < 4:
		have = have[:18] // without tools
	}
	for _, n := range have {
		*n = f.number()
	}
}

// done returns errPayload unless the payload was read exactly.
func (f *fields) done() error {
	if f.bad || len(f.b) > 0 {
		return errPayload
	}
	return nil
}

// charge reads what appendCharge wrote. It returns the number of the charge's chain in its segment, which is known; 0: none.
func (f *fields) charge(c *Charge, version byte, known chains) uint64 {
	flags := f.flags()
	c.Batch = flags&flagBatch != 0
	c.RequestID = f.text()
	c.UsageID = f.text()
	c.Organization = f.text()
	c.Project = f.text()
	c.Key = f.text()
	c.User = f.text()
	c.ServiceAccount = f.text()
	c.Product = f.text()
	c.Model = f.text()
	c.Dialect = gatehouse.Dialect(f.text())
	c.Upstream = f.text()
	c.UpstreamModel = f.text()
	c.ServiceTier = f.text()
	c.At = gatehouse.Millis(f.number())
	c.Input = f.number()
	c.Output = f.number()
	if version >= 2 {
		c.VideoMilliseconds = f.number()
	}
	if version >= 4 {
		c.PricedAs = f.text()
		c.Size = f.text()
		c.Quality = f.text()
	}
	if version < 5 {
		return 0
	}
	c.Source = f.text()
	c.Labels = f.text()
	c.BoundKnown, c.work = flags&flagBoundKnown != 0, flags&flagWorkEnds != 0
	c.Bound = gatehouse.NanoUSD(f.number())
	n := f.count()
	switch {
	case n == 0:
	case version == 5: // n windows follow
		node := f.text()
		c.chain = budget.NewChain(node, f.windows(n))
		n = 0
	default:
		if c.chain = known[n]; c.chain == nil {
			f.bad = true
		}
	}
	return n
}

func (f *fields) decision(r *gatehouse.Request, c *Charge, version byte) {
	flags := f.flags()
	r.Stream = flags&flagStream != 0
	r.ClientLeft = flags&flagLeft != 0
	r.ClientRequestID = f.text()
	r.Owner = f.same(cmp.Or(c.User, c.ServiceAccount), version)
	r.IP = f.text()
	r.UserAgent = f.text()
	r.Dialect = f.same(string(c.Dialect), version)
	r.Method = f.text()
	r.Route = f.text()
	r.Model = f.same(c.Model, version)
	r.Deployment = f.same(r.Model, version)
	r.Rule = f.same(RuleServed, version)
	r.Detail = f.text()
	if version >= 2 {
		r.Work = f.text()
	}
	for _, n := range decisionNumbers(r) {
		*n = f.number()
	}
	r.Status = int(f.number())
	n := f.count()
	if n > maxAttempts {
		f.bad = true
		return
	}
	if n == 0 {
		return
	}
	r.Attempts = make([]gatehouse.Attempt, n)
	for i := range r.Attempts {
		a := &r.Attempts[i]
		a.Upstream = f.same(c.Upstream, version)
		a.Model = f.same(c.UpstreamModel, version)
		a.Error = f.text()
		a.RequestID = f.text()
		a.Status = int(f.number())
		a.Millis = f.number()
	}
}

// decodeCharge reads the payload of a held record of a segment with those chains.
func decodeCharge(payload []byte, version byte, known chains) (Charge, error) {
	f := fieldsOf(payload)
	var c Charge
	f.charge(&c, version, known)
	return c, f.done()
}

// settledRecord is what a settled payload says.
type settledRecord struct {
	usage   *gatehouse.Usage   // nil when the request was released, and when work goes on
	request *gatehouse.Request // nil when no decision was given
	work    *gatehouse.Work    // nil but when work goes on
	ends    string             // the work whose usage this is
	charge  *store.Charge      // what the usage costs budgets; nil: none bound it
	counts  gatehouse.NanoUSD  // what counts as spent of a hold that this settles, in the windows of its charge or its work
	of      prices.Of          // what the usage is priced as
	chain   uint64             // the number of its charge's chain; 0: none
}

// decoder reads one record after another into memory that it uses again. What it returned is good until reset.
type decoder struct {
	chains chains // of the segment that is read, as far as it is
	seen   seen
	taken  int
	slots  []*decoded
}

// decoded is the memory of one record.
type decoded struct {
	usage   gatehouse.Usage
	request gatehouse.Request
	charge  store.Charge
}

// leastKept is how many records' memory is kept even where fewer were read.
const leastKept = 64

// kept returns how much of memory for have records stays after a batch of used: one large batch must not be paid for ever after.
func kept(have, used int) int { return min(have, max(2*used, leastKept)) }

func (d *decoder) slot() *decoded {
	if d.taken == len(d.slots) {
		d.slots = append(d.slots, &decoded{})
	}
	s := d.slots[d.taken]
	d.taken++
	return s
}

// reset takes back what was returned, and lets go of the texts in it.
func (d *decoder) reset() {
	for _, s := range d.slots[:d.taken] {
		*s = decoded{}
	}
	n := kept(len(d.slots), d.taken)
	clear(d.slots[n:])
	d.slots, d.taken = d.slots[:n], 0
}

// settled reads the payload of a settled record.
func (d *decoder) settled(payload []byte, version byte) (settledRecord, error) {
	f := fields{b: payload, seen: &d.seen}
	flags := f.flags()
	slot := d.slot()
	var c Charge
	chain := f.charge(&c, version, d.chains)
	var s Settlement
	f.units(&s.Units, version)
	s.Cost = gatehouse.NanoUSD(f.number())
	if version >= 5 {
		s.kept = gatehouse.NanoUSD(f.number())
	}
	s.Confidence = gatehouse.Confidence(f.same(string(gatehouse.Reported), version))
	s.CostKnown = flags&flagCostKnown != 0
	var r *gatehouse.Request
	if flags&flagDecision != 0 {
		r = &slot.request
		*r = gatehouse.Request{ID: c.RequestID, At: c.At, Organization: c.Organization, Project: c.Project, Key: c.Key, UpstreamModel: c.UpstreamModel, Labels: c.Labels}
		f.decision(r, &c, version)
	}
	var w *gatehouse.Work
	if flags&flagWork != 0 {
		w = &gatehouse.Work{}
		c.begin(w)
		f.work(w)
	}
	if err := f.done(); err != nil {
		return settledRecord{}, err
	}
	if w != nil {
		if r != nil {
			r.Confidence = gatehouse.Pending
		}
		return settledRecord{request: r, work: w, counts: w.Bound, chain: chain}, nil
	}
	if flags&flagReleased != 0 {
		return settledRecord{request: r}, nil
	}
	u := &slot.usage
	*u = gatehouse.Usage{
		ID: c.UsageID, At: c.At, Organization: c.Organization, Project: c.Project, Key: c.Key, User: c.User,
		ServiceAccount: c.ServiceAccount, Product: c.Product, Model: c.Model, UpstreamModel: c.UpstreamModel, Upstream: c.Upstream,
		ServiceTier: c.ServiceTier, Batch: c.Batch, Size: c.Size, Quality: c.Quality, Source: c.Source, Labels: c.Labels, Units: s.Units, Cost: s.Cost, CostKnown: s.CostKnown, Confidence: s.Confidence,
	}
	if u.ID == "" {
		u.ID = c.RequestID
	}
	if r != nil {
		r.Units, r.Cost, r.CostKnown, r.Confidence = &u.Units, u.Cost, u.CostKnown, u.Confidence
	}
	out := settledRecord{usage: u, request: r, of: c.Priced(), chain: chain}
	if !strings.HasPrefix(c.UsageID, c.RequestID+"/") { // that is an attempt
		out.ends = c.UsageID
	}
	if c.chain != nil {
		out.charge = &slot.charge
		*out.charge = store.Charge{Usage: u.ID, Node: c.chain.Node, Kept: s.kept, Windows: c.chain.Windows}
		if u.CostKnown {
			out.charge.Cost = u.Cost
		}
		if !c.work { // what work costs was never held by this process: it is in the database alone
			out.counts = out.charge.Cost + s.kept
		}
	}
	return out, nil
}

// settledID returns the request id of a settled payload without decoding the rest. It aliases the payload.
func settledID(payload []byte) ([]byte, error) {
	if len(payload) == 0 {
		return nil, errPayload
	}
	return heldID(payload[1:])
}

// heldID returns the request id of a held payload. It aliases the payload.
func heldID(payload []byte) ([]byte, error) {
	f := fields{b: payload}
	f.flags()
	id := f.bytes()
	if f.bad {
		return nil, errPayload
	}
	return id, nil
}

func decodeRefusal(payload []byte, version byte) (*gatehouse.Request, error) {
	f := fieldsOf(payload)
	flags := f.flags()
	r := &gatehouse.Request{CostKnown: flags&flagCostKnown != 0}
	r.ID = f.text()
	r.At = gatehouse.Millis(f.number())
	r.Organization = f.text()
	r.Project = f.text()
	r.Key = f.text()
	r.UpstreamModel = f.text()
	r.Confidence = gatehouse.Confidence(f.text())
	r.Cost = gatehouse.NanoUSD(f.number())
	if flags&flagUnits != 0 {
		r.Units = &gatehouse.Units{}
		f.units(r.Units, version)
	}
	f.decision(r, &Charge{}, version)
	if version >= 5 {
		r.Labels = f.text()
	}
	return r, f.done()
}

func decodeObject(payload []byte, version byte) (gatehouse.Object, error) {
	f := fieldsOf(payload)
	o := gatehouse.Object{ID: f.text(), Project: f.text(), Upstream: f.text(), Kind: f.text()}
	o.CreatedAt = gatehouse.Millis(f.number())
	o.DeletedAt = gatehouse.Millis(f.number())
	if version >= 3 {
		o.Deployment = f.text()
		o.Model = f.text()
	}
	return o, f.done()
}

// position is a place in the journal.
type position struct {
	segment uint64
	offset  int64
}

func (p position) before(q position) bool {
	return p.segment < q.segment || p.segment == q.segment && p.offset < q.offset
}

func appendCheckpoint(b []byte, p position) []byte {
	return binary.AppendVarint(binary.AppendUvarint(b, p.segment), p.offset)
}

func decodeCheckpoint(payload []byte) (position, error) {
	f := fields{b: payload}
	p := position{segment: f.count(), offset: f.number()}
	return p, f.done()
}
