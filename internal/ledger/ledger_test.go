package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// book stands where the database stands: it keeps batches by its rules (usage once by id, requests by id), and can be away.
type book struct {
	mu       sync.Mutex
	away     error                  // every batch fails
	poison   func(store.Batch) bool // batches that fail
	usage    map[string]gatehouse.Usage
	offered  map[string]int // how often a usage id was given
	requests map[string]gatehouse.Request
	objects  map[string]gatehouse.Object
	lastUsed map[string]gatehouse.Millis
	work     map[string]gatehouse.Work
	done     []string // work that ended, as often as it was said
	inputs   map[string]gatehouse.BatchInput
	charges  map[string]store.Charge
	batches  int
	largest  int
}

func newBook() *book {
	return &book{usage: map[string]gatehouse.Usage{}, offered: map[string]int{}, requests: map[string]gatehouse.Request{}, objects: map[string]gatehouse.Object{}, lastUsed: map[string]gatehouse.Millis{},
		work: map[string]gatehouse.Work{}, inputs: map[string]gatehouse.BatchInput{}, charges: map[string]store.Charge{}}
}

func (k *book) Record(_ context.Context, b store.Batch) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.away != nil {
		return k.away
	}
	if k.poison != nil && k.poison(b) {
		return errors.New("a value the database does not take")
	}
	k.batches++
	k.largest = max(k.largest, len(b.Usage)+len(b.Requests)+len(b.Objects))
	for _, u := range b.Usage {
		k.offered[u.ID]++
		if _, ok := k.usage[u.ID]; !ok {
			k.usage[u.ID] = u
		}
	}
	for _, c := range b.Charges {
		k.charges[c.Usage] = c
	}
	for _, r := range b.Requests {
		if r.Units != nil { // a batch is good only during the call
			units := *r.Units
			r.Units = &units
		}
		k.requests[r.ID] = r
	}
	for _, o := range b.Objects {
		k.objects[o.ID] = o
	}
	for _, o := range b.Deleted {
		gone := k.objects[o.ID]
		gone.DeletedAt = o.At
		k.objects[o.ID] = gone
	}
	for _, w := range b.Work {
		k.work[w.ID] = w
	}
	k.done = append(k.done, b.WorkDone...)
	for _, in := range b.BatchInputs {
		k.inputs[in.File] = in
	}
	for key, at := range b.LastUsed {
		k.lastUsed[key] = max(k.lastUsed[key], at)
	}
	return nil
}

func (k *book) set(away error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.away = away
}

var errAway = errors.New("the database is away")

// opened is a ledger on dir whose batches go to k. Its segments are small, so that tests see many.
func opened(t testing.TB, dir string, k *book) *Ledger {
	t.Helper()
	return openedWith(t, Config{Dir: dir, Sync: time.Second}, k, nil)
}

func openedWith(t testing.TB, cfg Config, k *book, write func(*os.File, []byte) (int, error)) *Ledger {
	t.Helper()
	l, err := open(t.Context(), cfg, k.Record, write)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { abandon(l) })
	return l
}

// abandon ends a ledger as kill -9 does: nothing is written any more, and its files are closed.
func abandon(l *Ledger) {
	l.journal.mu.Lock()
	defer l.journal.mu.Unlock()
	if !l.journal.closed {
		l.journal.closed = true
		l.journal.close()
	}
	l.drainer.close()
}

func charge(id string) *Charge {
	return &Charge{
		RequestID: id, Organization: "org-1", Project: "proj_1", Key: "key_1", User: "user-1", Product: "completions", Model: "gpt-4o",
		Dialect: gatehouse.OpenAI, Upstream: "upst_1", At: 1_700_000_000_000, Input: 1000, Output: 500,
	}
}

func settlement(id string) *Settlement {
	return &Settlement{
		Units: gatehouse.Units{Input: 19, Output: 10}, Confidence: gatehouse.Reported, UpstreamModel: "gpt-4o-2024-08-06",
		Request: &gatehouse.Request{
			ID: id, Method: "POST", Route: "/v1/chat/completions", Model: "gpt-4o", Deployment: "gpt-4o", Status: 200, Rule: RuleServed, Stream: true,
			ClientRequestID: "mine", Owner: "user-1", IP: "192.0.2.1", UserAgent: "openai/1", Dialect: "openai", BytesIn: 2048, BytesOut: 800, Millis: 15, FirstByteMillis: 9,
			Attempts: []gatehouse.Attempt{{Upstream: "upst_0", Status: 503, Error: "busy", Millis: 3}, {Upstream: "upst_1", Model: "gpt-4o", Status: 200, Millis: 9, RequestID: "req_up"}},
		},
	}
}

func reserve(t testing.TB, l *Ledger, id string) *Hold {
	t.Helper()
	h := new(Hold)
	if err := l.Reserve(context.Background(), charge(id), h); err != nil {
		t.Fatalf("reserve %s: %v", id, err)
	}
	return h
}

func settle(t testing.TB, h *Hold, s *Settlement) {
	t.Helper()
	if err := h.Settle(s); err != nil {
		t.Fatalf("settle: %v", err)
	}
}

func flush(t testing.TB, l *Ledger) {
	t.Helper()
	if err := l.Flush(t.Context()); err != nil {
		t.Fatalf("flush: %v", err)
	}
}

func TestSettledReachesTheDatabaseWhole(t *testing.T) {
	k := newBook()
	l := opened(t, t.TempDir(), k)
	h := reserve(t, l, "req_1")
	if !h.Open() {
		t.Error("a reserved hold is not open")
	}
	s := settlement("req_1")
	settle(t, h, s)
	if s.Cost != 19*2500+10*10000 || !s.CostKnown {
		t.Errorf("Settle priced %d, %v", s.Cost, s.CostKnown)
	}
	again := settlement("req_1")
	again.Units.Output = 99999
	settle(t, h, again) // must change nothing
	settle(t, new(Hold), settlement("nobody"))
	flush(t, l)
	want := gatehouse.Usage{
		ID: "req_1", At: 1_700_000_000_000, Organization: "org-1", Project: "proj_1", Key: "key_1", User: "user-1", Product: "completions", Model: "gpt-4o",
		UpstreamModel: "gpt-4o-2024-08-06", Upstream: "upst_1", Units: gatehouse.Units{Input: 19, Output: 10}, Cost: 147500, CostKnown: true, Parts: gatehouse.Parts{Input: 47500, Output: 100000}, Confidence: gatehouse.Reported,
	}
	if got := k.usage["req_1"]; got != want {
		t.Errorf("usage = %+v\nwant    %+v", got, want)
	}
	r := *s.Request
	r.At, r.Organization, r.Project, r.Key, r.UpstreamModel = want.At, "org-1", "proj_1", "key_1", want.UpstreamModel
	r.Units, r.Confidence, r.Cost, r.CostKnown = &want.Units, want.Confidence, want.Cost, true
	if got := k.requests["req_1"]; fmt.Sprintf("%+v %+v", deref(got), *got.Units) != fmt.Sprintf("%+v %+v", deref(r), *r.Units) {
		t.Errorf("request = %+v\nwant      %+v", got, r)
	}
	if k.lastUsed["key_1"] != want.At || len(k.usage) != 1 || k.offered["req_1"] != 1 {
		t.Errorf("last used %v, usage %v, offered %v", k.lastUsed, k.usage, k.offered)
	}
	if h.Open() || l.Stats().Holds != 0 {
		t.Error("the hold is open after it was settled")
	}
}

func deref(r gatehouse.Request) gatehouse.Request { r.Units = nil; return r }

func TestSettleIsOnceAmongMany(t *testing.T) {
	k := newBook()
	l := opened(t, t.TempDir(), k)
	h := reserve(t, l, "req_1")
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := h.Settle(settlement("req_1")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	flush(t, l)
	if k.offered["req_1"] != 1 || l.Stats().Holds != 0 {
		t.Errorf("settled %d times, %d holds", k.offered["req_1"], l.Stats().Holds)
	}
}

func TestReleasedLeavesOnlyTheDecision(t *testing.T) {
	k := newBook()
	l := opened(t, t.TempDir(), k)
	s := settlement("req_1")
	s.Released, s.Request.Rule, s.Request.Status = true, "upstream_unreachable", 502
	settle(t, reserve(t, l, "req_1"), s)
	settle(t, reserve(t, l, "req_2"), &Settlement{Released: true})
	flush(t, l)
	if len(k.usage) != 0 {
		t.Errorf("usage = %v", k.usage)
	}
	if r := k.requests["req_1"]; r.Rule != "upstream_unreachable" || r.Units != nil || r.Project != "proj_1" {
		t.Errorf("request = %+v", r)
	}
	if _, ok := k.requests["req_2"]; ok {
		t.Error("a request without a decision has an explain record")
	}
}

func TestUsageMayBeKeyedByTheObject(t *testing.T) {
	k := newBook()
	l := opened(t, t.TempDir(), k)
	s := settlement("req_1")
	s.UsageID = "batch_1"
	s.Batch = true
	settle(t, reserve(t, l, "req_1"), s)
	flush(t, l)
	u, ok := k.usage["batch_1"]
	if !ok || len(k.usage) != 1 || k.requests["req_1"].ID != "req_1" {
		t.Errorf("usage = %v, requests = %v", k.usage, k.requests)
	}
	if !u.CostKnown || u.Cost != (19*2500+10*10000)/2 || !u.Batch {
		t.Errorf("a batch costs half: %+v", u)
	}
}

func TestDecisionsObjectsAndLastUse(t *testing.T) {
	k := newBook()
	l := opened(t, t.TempDir(), k)
	l.Decide(&gatehouse.Request{ID: "req_1", At: 5, Key: "key_1", Rule: "key_revoked", Status: 401})
	l.Decide(&gatehouse.Request{ID: "req_2", At: 6, Key: "key_2", Rule: RuleServed, Status: 200, UserAgent: "bad \xff\x00 text"})
	if err := l.Own(gatehouse.Object{ID: "file-1", Project: "proj_1", Upstream: "upst_1", Kind: "file", CreatedAt: 7}); err != nil {
		t.Fatal(err)
	}
	if err := l.Disown(gatehouse.Object{ID: "file-1", Project: "proj_1", DeletedAt: 9}); err != nil {
		t.Fatal(err)
	}
	flush(t, l)
	if k.requests["req_1"].Rule != "key_revoked" || k.requests["req_2"].UserAgent != "bad \uFFFD\uFFFD text" {
		t.Errorf("requests = %+v", k.requests)
	}
	if want := map[string]gatehouse.Millis{"key_2": 6}; !maps.Equal(k.lastUsed, want) {
		t.Errorf("last used = %v, want %v: a refusal is no use", k.lastUsed, want)
	}
	if want := (gatehouse.Object{ID: "file-1", Project: "proj_1", Upstream: "upst_1", Kind: "file", CreatedAt: 7, DeletedAt: 9}); k.objects["file-1"] != want {
		t.Errorf("object = %+v, want %+v", k.objects["file-1"], want)
	}
}

func TestRefusalsAreBounded(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	k := newBook()
	l := openedWith(t, Config{Dir: t.TempDir(), Sync: time.Second, Now: func() time.Time { return now }}, k, (*os.File).Write)
	refuse := func(n int, key string) {
		for i := range n {
			l.Decide(&gatehouse.Request{ID: fmt.Sprintf("req_%s_%d_%d", key, now.UnixMilli(), i), Key: key, Rule: "refused"})
		}
	}
	refuse(1500, "")
	now = now.Add(time.Second)
	refuse(150, "")
	refuse(200, "key_1") // has a bucket of its own
	for i := range 2000 {
		l.Decide(&gatehouse.Request{ID: fmt.Sprintf("req_served_%d", i), Rule: RuleServed}) // is never counted away
	}
	flush(t, l)
	if got, want := len(k.requests), 1000+100+200+2000; got != want {
		t.Errorf("%d decisions are kept, want %d", got, want)
	}
	if got, want := l.Stats().DroppedDecisions, int64(500+50); got != want {
		t.Errorf("%d decisions are counted, want %d", got, want)
	}
}

func TestRecovery(t *testing.T) {
	dir, k := t.TempDir(), newBook()
	k.set(errAway)
	l := opened(t, dir, k)
	settle(t, reserve(t, l, "req_settled"), settlement("req_settled"))
	released := settlement("req_released")
	released.Released = true
	settle(t, reserve(t, l, "req_released"), released)
	reserve(t, l, "req_open")
	abandon(l)

	l = opened(t, dir, k) // recovers while the database is away
	if got := l.Stats().Recovered; got != 1 {
		t.Errorf("recovered %d, want 1", got)
	}
	abandon(l)
	k.set(nil)
	l = opened(t, dir, k)
	if got := l.Stats(); got.Recovered != 0 || got.Holds != 0 {
		t.Errorf("the second recovery found %d open holds", got.Recovered)
	}
	if got := slices.Sorted(maps.Keys(k.usage)); !slices.Equal(got, []string{"req_open", "req_settled"}) {
		t.Errorf("usage of %v", got)
	}
	u := k.usage["req_open"]
	if u.Confidence != gatehouse.Recovered || u.Units != (gatehouse.Units{Input: 1000, Output: 500}) || u.Cost != 1000*2500+500*10000 || !u.CostKnown {
		t.Errorf("recovered usage = %+v", u)
	}
	if r := k.requests["req_open"]; r.Rule != RuleRecovered || r.Project != "proj_1" || r.Confidence != gatehouse.Recovered {
		t.Errorf("recovered request = %+v", r)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if names := segmentFiles(t, dir); len(names) != 0 {
		t.Errorf("a journal with nothing left to do leaves %v", names)
	}
}

func segmentFiles(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "journal", "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestAJournalHasOneProcess(t *testing.T) {
	dir := t.TempDir()
	opened(t, dir, newBook())
	if l, err := open(t.Context(), Config{Dir: dir}, newBook().Record, (*os.File).Write); err == nil {
		abandon(l)
		t.Fatal("a second ledger opened the same directory")
	}
}

func TestANewerJournalIsRefused(t *testing.T) {
	for name, frame := range map[string]func() []byte{
		"version": func() []byte {
			b, start := beginFrame(nil, kindHeld)
			b[3] = payloadVersion + 1
			return endFrame(b, start)
		},
		"kind": func() []byte {
			b, start := beginFrame(nil, lastKind+1)
			return endFrame(b, start)
		},
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "journal"), 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "journal", segmentName(7))
		if err := os.WriteFile(path, frame(), 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err := open(t.Context(), Config{Dir: dir}, newBook().Record, (*os.File).Write); err == nil {
			abandon(l)
			t.Errorf("%s: a newer journal was opened", name)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: its segment is gone: %v", name, err)
		}
	}
}

func TestTornTailIsCut(t *testing.T) {
	t.Run("file", func(t *testing.T) { // write(2) left a part of a record
		testTornTail(t, func(path string, end, cut int64) error { return os.Truncate(path, end-cut) })
	})
	t.Run("room", func(t *testing.T) { // a part of a record was copied; behind it is room
		testTornTail(t, func(path string, end, cut int64) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt(make([]byte, cut), end-cut)
			return errors.Join(err, f.Close())
		})
	})
}

func testTornTail(t *testing.T, tear func(path string, end, cut int64) error) {
	for cut := 1; cut < 40; cut += 3 {
		dir, k := t.TempDir(), newBook()
		k.set(errAway)
		l := opened(t, dir, k)
		settle(t, reserve(t, l, "req_1"), settlement("req_1"))
		h := reserve(t, l, "req_2")
		settle(t, h, settlement("req_2"))
		abandon(l)
		path := segmentFiles(t, dir)[0]
		if err := tear(path, l.journal.segments[0].size, int64(cut)); err != nil {
			t.Fatal(err)
		}
		k.set(nil)
		l = opened(t, dir, k)
		if got := k.usage["req_1"].Confidence; got != gatehouse.Reported {
			t.Errorf("cut %d: the record before the torn one is %q", cut, got)
		}
		if got := k.usage["req_2"].Confidence; got != gatehouse.Recovered {
			t.Errorf("cut %d: the torn settlement's hold is %q, want recovered", cut, got)
		}
		if got := l.Stats(); got.DamagedBytes != 0 || got.Recovered != 1 {
			t.Errorf("cut %d: stats = %+v", cut, got)
		}
		abandon(l)
	}
}

func TestDamageInTheMiddleIsToldAndTheRestKept(t *testing.T) {
	dir, k := t.TempDir(), newBook()
	k.set(errAway)
	l := opened(t, dir, k)
	for i := range 5 {
		settle(t, reserve(t, l, fmt.Sprintf("req_%d", i)), settlement("x"))
	}
	abandon(l)
	path := segmentFiles(t, dir)[0]
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(data), "req_2") // in the held record of the third request
	copy(data[at-8:], make([]byte, 20))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	k.set(nil)
	l = opened(t, dir, k)
	if len(k.usage) != 5 {
		t.Errorf("usage of %v", slices.Sorted(maps.Keys(k.usage)))
	}
	if l.Stats().DamagedBytes == 0 {
		t.Error("the damage is not counted")
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept, err := filepath.Glob(filepath.Join(dir, "journal", "*"+damagedSuffix))
	if err != nil || len(kept) != 1 {
		t.Errorf("damaged segments kept: %v, %v", kept, err)
	}
}

// fill makes the journal rotate by settling n requests.
func fill(t testing.TB, l *Ledger, from, n int) {
	t.Helper()
	for i := range n {
		id := fmt.Sprintf("req_fill_%d", from+i)
		settle(t, reserve(t, l, id), settlement(id))
	}
}

func small(l *Ledger) *Ledger {
	l.journal.mu.Lock()
	defer l.journal.mu.Unlock()
	l.journal.segmentBytes = 8 << 10
	return l
}

func TestSegmentsGoAndOpenHoldsAreCarried(t *testing.T) {
	dir, k := t.TempDir(), newBook()
	l := small(opened(t, dir, k))
	long := reserve(t, l, "req_long")
	other := reserve(t, l, "req_long_too")
	for i := range 50 {
		fill(t, l, i*10, 10)
		flush(t, l)
		if got := l.Stats().Segments; got > 2 {
			t.Fatalf("%d segments after round %d: an open hold keeps old ones", got, i)
		}
	}
	settle(t, other, settlement("req_long_too"))
	flush(t, l)
	abandon(l)
	l = opened(t, dir, k)
	if l.Stats().Recovered != 1 || k.usage["req_long"].Confidence != gatehouse.Recovered {
		t.Errorf("the carried hold is not recovered: %+v, %+v", l.Stats(), k.usage["req_long"])
	}
	if k.usage["req_long_too"].Confidence != gatehouse.Reported || len(k.usage) != 502 {
		t.Errorf("%d usage rows; the carried and settled one is %+v", len(k.usage), k.usage["req_long_too"])
	}
	_ = long
}

func TestCheckpointSparesRecordedBatches(t *testing.T) {
	dir, k := t.TempDir(), newBook()
	l := opened(t, dir, k)
	fill(t, l, 0, 1000)
	flush(t, l)
	reserve(t, l, "req_open")
	abandon(l)
	opened(t, dir, k)
	for id, n := range k.offered {
		if n != 1 {
			t.Fatalf("%s was recorded %d times", id, n)
		}
	}
	if k.usage["req_open"].Confidence != gatehouse.Recovered || len(k.usage) != 1001 {
		t.Errorf("%d usage rows", len(k.usage))
	}
}

func TestDatabaseAwayKeepsMemoryBounded(t *testing.T) {
	k := newBook()
	l := small(opened(t, t.TempDir(), k))
	k.set(errAway)
	const n = 6 * batchRecords
	fill(t, l, 0, n)
	if err := l.Flush(t.Context()); !errors.Is(err, errAway) {
		t.Errorf("Flush without a database = %v", err)
	}
	if got := len(l.drainer.entries); got > batchRecords {
		t.Errorf("the drainer keeps %d records", got)
	}
	if s := l.Stats(); s.PendingBytes < n*200 || s.RecordErrors == 0 {
		t.Errorf("stats = %+v", s)
	}
	k.set(nil)
	flush(t, l)
	if len(k.usage) != n || k.largest > 2*batchRecords {
		t.Errorf("%d usage rows, the largest batch has %d", len(k.usage), k.largest)
	}
	if s := l.Stats(); s.Segments > 2 || s.PendingBytes > 100 {
		t.Errorf("stats after the database came back = %+v", s)
	}
}

func TestOneBadRecordDoesNotStopTheOthers(t *testing.T) {
	dir, k := t.TempDir(), newBook()
	l := opened(t, dir, k)
	k.poison = func(b store.Batch) bool {
		return slices.ContainsFunc(b.Usage, func(u gatehouse.Usage) bool { return u.ID == "req_fill_77" })
	}
	fill(t, l, 0, 700)
	var err error
	for range isolateAfter {
		err = l.Flush(t.Context())
	}
	if err != nil {
		t.Fatalf("Flush = %v", err)
	}
	if len(k.usage) != 699 || l.Stats().Rejected != 1 {
		t.Errorf("%d usage rows, %d rejected", len(k.usage), l.Stats().Rejected)
	}
	data, err := os.ReadFile(filepath.Join(dir, "journal", rejectedName))
	if err != nil {
		t.Fatal(err)
	}
	f, _, ok := parseFrame(data)
	got, err := new(decoder).settled(f.payload, f.version)
	u := got.usage
	if !ok || err != nil || u.ID != "req_fill_77" {
		t.Errorf("the rejected file holds %+v, %v", u, err)
	}
	// A database that is away altogether must not look like bad records.
	k.poison = nil
	k.set(errAway)
	fill(t, l, 1000, 100)
	for range 3 * isolateAfter {
		if err := l.Flush(t.Context()); err == nil {
			t.Fatal("Flush without a database succeeded")
		}
	}
	k.set(nil)
	flush(t, l)
	if len(k.usage) != 799 || l.Stats().Rejected != 1 {
		t.Errorf("%d usage rows, %d rejected", len(k.usage), l.Stats().Rejected)
	}
}

func TestRunRecordsSoonAndAllAtTheEnd(t *testing.T) {
	k := newBook()
	l := openedWith(t, Config{Dir: t.TempDir(), Sync: 5 * time.Millisecond}, k, (*os.File).Write)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }() // ends with ctx, below
	fill(t, l, 0, 10)
	deadline := time.After(10 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		k.mu.Lock()
		n := len(k.usage)
		k.mu.Unlock()
		if n == 10 {
			tick.Stop()
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("only %d of 10 reached the database by themselves", n)
		}
	}
	fill(t, l, 10, 10)
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(k.usage) != 20 {
		t.Errorf("%d of 20 after Close", len(k.usage))
	}
	if err := l.Reserve(context.Background(), charge("req_late"), new(Hold)); gatehouse.KindOf(err) != gatehouse.Unavailable {
		t.Errorf("Reserve after Close = %v", err)
	}
}

func TestReserveMisuse(t *testing.T) {
	l := opened(t, t.TempDir(), newBook())
	if err := l.Reserve(context.Background(), &Charge{}, new(Hold)); err == nil {
		t.Error("a charge without a request id was reserved")
	}
	h := reserve(t, l, "req_1")
	if err := l.Reserve(context.Background(), charge("req_2"), h); err == nil {
		t.Error("a hold in use was reserved again")
	}
	settle(t, h, settlement("req_1"))
	if err := l.Reserve(context.Background(), charge("req_3"), h); err != nil {
		t.Errorf("a settled hold cannot be reserved again: %v", err)
	}
}

// disk is a write(2) that can fail like a full or a broken disk, in the middle of a record.
type disk struct {
	mu  sync.Mutex
	err error
	at  int // bytes written before it fails
}

func (d *disk) write(f *os.File, b []byte) (int, error) {
	d.mu.Lock()
	err, at := d.err, d.at
	d.mu.Unlock()
	if err == nil {
		return f.Write(b)
	}
	n, werr := f.Write(b[:min(at, len(b))])
	return n, errors.Join(werr, err)
}

func (d *disk) set(err error, at int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err, d.at = err, at
}

func TestAJournalThatCannotBeWritten(t *testing.T) {
	for _, failure := range []error{syscall.ENOSPC, syscall.EIO} {
		for _, at := range []int{0, 1, 13, 100, 1 << 20} {
			t.Run(fmt.Sprintf("%v after %d bytes", failure, at), func(t *testing.T) {
				dir, k, d := t.TempDir(), newBook(), &disk{}
				l := openedWith(t, Config{Dir: dir, Sync: time.Second}, k, d.write)
				settle(t, reserve(t, l, "req_before"), settlement("req_before"))
				open := reserve(t, l, "req_open")
				d.set(failure, at)
				for range 5 {
					if err := l.Reserve(context.Background(), charge("req_refused"), new(Hold)); gatehouse.KindOf(err) != gatehouse.Unavailable || !errors.Is(err, failure) {
						t.Fatalf("Reserve on a broken disk = %v", err)
					}
				}
				if err := open.Settle(settlement("req_open")); gatehouse.KindOf(err) != gatehouse.Unavailable {
					t.Fatalf("Settle on a broken disk = %v", err)
				}
				if err := open.Settle(settlement("req_open")); err != nil {
					t.Errorf("second Settle = %v", err)
				}
				if err := l.Own(gatehouse.Object{ID: "file-1"}); gatehouse.KindOf(err) != gatehouse.Unavailable {
					t.Errorf("Own on a broken disk = %v", err)
				}
				l.Decide(&gatehouse.Request{ID: "req_decided", Rule: RuleServed})
				if err := l.Flush(t.Context()); err == nil {
					t.Error("Flush with an unwritten settlement succeeded")
				}
				if s := l.Stats(); s.Unwritten != 1 || s.WriteErrors == 0 || s.DroppedDecisions != 1 || s.Segments > 2 {
					t.Errorf("stats = %+v", s)
				}
				d.set(nil, 0)
				settle(t, reserve(t, l, "req_after"), settlement("req_after"))
				flush(t, l)
				want := []string{"req_after", "req_before", "req_open"}
				if got := slices.Sorted(maps.Keys(k.usage)); !slices.Equal(got, want) {
					t.Errorf("usage of %v, want %v", got, want)
				}
				if k.usage["req_open"].Confidence != gatehouse.Reported {
					t.Errorf("the settlement that waited is %+v", k.usage["req_open"])
				}
				abandon(l)
				l = opened(t, dir, k)
				if s := l.Stats(); s.Recovered != 0 || s.DamagedBytes != 0 || len(k.usage) != 3 {
					t.Errorf("after a restart: %+v, %d usage rows", s, len(k.usage))
				}
			})
		}
	}
}

func TestEveryRecordSynced(t *testing.T) {
	k := newBook()
	l := openedWith(t, Config{Dir: t.TempDir()}, k, (*os.File).Write)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 5 {
				id := fmt.Sprintf("req_%d_%d", i, n)
				h := new(Hold)
				if err := l.Reserve(context.Background(), charge(id), h); err != nil {
					t.Error(err)
				}
				if err := h.Settle(settlement(id)); err != nil {
					t.Error(err)
				}
				l.journal.syncing.Lock()
				synced := l.journal.synced
				l.journal.syncing.Unlock()
				if synced == 0 {
					t.Error("a settlement returned before anything was synced")
				}
			}
		})
	}
	wg.Wait()
	flush(t, l)
	if len(k.usage) != 40 {
		t.Errorf("%d of 40", len(k.usage))
	}
}

func TestASyncThatFails(t *testing.T) {
	dir, k := t.TempDir(), newBook()
	l := openedWith(t, Config{Dir: dir}, k, (*os.File).Write)
	var broken atomic.Bool
	l.journal.fsync = func(f *os.File) error {
		if broken.Load() {
			return syscall.EIO
		}
		return f.Sync()
	}
	open := reserve(t, l, "req_open")
	broken.Store(true)
	if err := open.Settle(settlement("req_open")); gatehouse.KindOf(err) != gatehouse.Unavailable || !errors.Is(err, syscall.EIO) {
		t.Errorf("Settle without fsync = %v", err)
	}
	var wg sync.WaitGroup
	for i := range 8 { // none of those that wait together may be told that it is safe
		wg.Go(func() {
			if err := l.Reserve(context.Background(), charge(fmt.Sprintf("req_refused_%d", i)), new(Hold)); gatehouse.KindOf(err) != gatehouse.Unavailable {
				t.Errorf("Reserve without fsync = %v", err)
			}
		})
	}
	wg.Wait()
	broken.Store(false)
	settle(t, reserve(t, l, "req_after"), settlement("req_after"))
	flush(t, l)
	abandon(l)
	l = opened(t, dir, k)
	if got, want := slices.Sorted(maps.Keys(k.usage)), []string{"req_after", "req_open"}; !slices.Equal(got, want) {
		t.Errorf("usage of %v, want %v: what was refused must not be charged", got, want)
	}
	if s := l.Stats(); s.Recovered != 0 || s.DamagedBytes != 0 {
		t.Errorf("stats = %+v", s)
	}
}
