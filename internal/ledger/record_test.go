package ledger

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/ledger/budget"
	"gatehouse/internal/store"
	"pgregory.net/rapid"
)

// anyOf draws a value of every exported field it knows how to fill, so that a field added to a type and forgotten in the
// encoding fails here.
func anyOf(t *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(rapid.StringN(0, 40, 300).Draw(t, "text"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "number"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "flag"))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		anyOf(t, v.Elem())
	case reflect.Slice:
		n := rapid.IntRange(1, 4).Draw(t, "count")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			anyOf(t, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			anyOf(t, v.Field(i))
		}
	default:
		t.Fatalf("a %s is not encoded", v.Type())
	}
}

func TestRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Charge
		v := reflect.ValueOf(&c).Elem()
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "Budgets" { // whoever reads a journal reads windows in their place
				anyOf(t, v.Field(i))
			}
		}
		var windows []gatehouse.BudgetWindow
		anyOf(t, reflect.ValueOf(&windows).Elem())
		c.chain = budget.NewChain("node", cleaned(windows))
		known := chains{}
		if err := known.define(appendChain(nil, c.chain)); err != nil {
			t.Fatal(err)
		}
		c.work = rapid.Bool().Draw(t, "work")
		{
			b := appendCharge(nil, &c)
			if _, err := decodeCharge(b, payloadVersion, nil); err == nil {
				t.Fatal("a charge decodes without its chain")
			}
			got, err := decodeCharge(b, payloadVersion, known)
			want := cleaned(c)
			want.Budgets, want.chain = nil, known[c.chain.Number]
			if want.chain.Node != c.chain.Node || !slices.Equal(want.chain.Windows, c.chain.Windows) {
				t.Fatalf("chain = %+v, want %+v", want.chain, c.chain)
			}
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("charge = %+v, %v\nwant     %+v", got, err, want)
			}
			if id, err := heldID(b); err != nil || string(id) != c.RequestID {
				t.Fatalf("heldID = %q, %v; want %q", id, err, c.RequestID)
			}
		}
		var o gatehouse.Object
		anyOf(t, reflect.ValueOf(&o).Elem())
		if got, err := decodeObject(appendObject(nil, &o), payloadVersion); err != nil || got != cleaned(o) {
			t.Fatalf("object = %+v, %v; want %+v", got, err, o)
		}
		var r gatehouse.Request
		anyOf(t, reflect.ValueOf(&r).Elem())
		if got, err := decodeRefusal(appendRefusal(nil, &r), payloadVersion); err != nil || !reflect.DeepEqual(*got, cleaned(r)) {
			t.Fatalf("request = %+v, %v\nwant      %+v", got, err, r)
		}
		s := Settlement{Request: &r, CostKnown: rapid.Bool().Draw(t, "known")}
		anyOf(t, reflect.ValueOf(&s.Units).Elem())
		anyOf(t, reflect.ValueOf(&s.Confidence).Elem())
		s.Cost = gatehouse.NanoUSD(rapid.Int64().Draw(t, "cost"))
		if rapid.Bool().Draw(t, "same") { // as most are
			r.Owner, r.Dialect, r.Model, r.Deployment, r.Rule = cmp.Or(c.User, c.ServiceAccount), string(c.Dialect), c.Model, c.Model, RuleServed
			r.Attempts[0].Upstream, r.Attempts[0].Model, s.Confidence = c.Upstream, c.UpstreamModel, gatehouse.Reported
			s.Units = gatehouse.Units{Output: s.Units.Output}
		}
		c.RequestID += "x" // never empty
		b := appendSettled(nil, &c, &s)
		got, err := (&decoder{chains: known}).settled(b, payloadVersion)
		u, q := got.usage, got.request
		if err != nil {
			t.Fatal(err)
		}
		if id, err := settledID(b); err != nil || string(id) != c.RequestID {
			t.Fatalf("settledID = %q, %v; want %q", id, err, c.RequestID)
		}
		c = cleaned(c)
		want := gatehouse.Usage{
			ID: c.UsageID, At: c.At, Organization: c.Organization, Project: c.Project, Key: c.Key, User: c.User, ServiceAccount: c.ServiceAccount,
			Product: c.Product, Model: c.Model, UpstreamModel: c.UpstreamModel, Upstream: c.Upstream, ServiceTier: c.ServiceTier, Batch: c.Batch,
			Size: c.Size, Quality: c.Quality, Source: c.Source, Labels: c.Labels,
			Units: s.Units, Cost: s.Cost, CostKnown: s.CostKnown, Confidence: cleaned(s.Confidence),
		}
		if want.ID == "" {
			want.ID = c.RequestID
		}
		ends := c.UsageID
		if strings.HasPrefix(ends, c.RequestID+"/") {
			ends = "" // an attempt
		}
		if got.ends != ends || got.work != nil {
			t.Fatalf("a settlement ends %q, begins %+v", got.ends, got.work)
		}
		if *u != want {
			t.Fatalf("usage = %+v\nwant    %+v", *u, want)
		}
		r = cleaned(r)
		r.ID, r.At, r.Organization, r.Project, r.Key, r.UpstreamModel = c.RequestID, c.At, c.Organization, c.Project, c.Key, c.UpstreamModel
		r.Labels = c.Labels
		r.Units, r.Cost, r.CostKnown, r.Confidence = &s.Units, s.Cost, s.CostKnown, want.Confidence
		if !reflect.DeepEqual(*q, r) {
			t.Fatalf("request = %+v\nwant      %+v", *q, r)
		}
		var w gatehouse.Work
		anyOf(t, reflect.ValueOf(&w).Elem())
		c.begin(&w)
		w.Tries = 0
		got, err = (&decoder{chains: known}).settled(appendSettled(nil, &c, &Settlement{Work: &w}), payloadVersion)
		if err != nil || got.usage != nil || got.work == nil || !reflect.DeepEqual(*got.work, cleaned(w)) {
			t.Fatalf("work = %+v, %v\nwant   %+v", got.work, err, w)
		}
		var in gatehouse.BatchInput
		anyOf(t, reflect.ValueOf(&in).Elem())
		if got, err := decodeBatchInput(appendBatchInput(nil, &in), payloadVersion); err != nil || !reflect.DeepEqual(*got, cleaned(in)) {
			t.Fatalf("batch input = %+v, %v\nwant %+v", got, err, in)
		}
	})
}

// cleaned returns v with every string as the database takes it.
func cleaned[T any](v T) T {
	out := reflect.New(reflect.TypeOf(v)).Elem()
	out.Set(reflect.ValueOf(v))
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			if !v.CanSet() {
				return
			}
			v.SetString(strings.ToValidUTF8(strings.ReplaceAll(v.String(), "\x00", "\uFFFD"), "\uFFFD"))
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i))
			}
		case reflect.Slice:
			copied := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			reflect.Copy(copied, v)
			v.Set(copied)
			for i := range v.Len() {
				walk(v.Index(i))
			}
		}
	}
	walk(out)
	return out.Interface().(T)
}

func TestLongTextIsCutAtACharacter(t *testing.T) {
	r := gatehouse.Request{ID: "req_1", UserAgent: strings.Repeat("é", maxText), Detail: "after"}
	for range maxAttempts + 10 {
		r.Attempts = append(r.Attempts, gatehouse.Attempt{Error: strings.Repeat("x", 2*maxText), Model: strings.Repeat("y", 2*maxText), Upstream: strings.Repeat("z", 2*maxText), RequestID: strings.Repeat("r", 2*maxText)})
	}
	b, start := beginFrame(nil, kindDecision)
	b = endFrame(appendRefusal(b, &r), start)
	f, _, ok := parseFrame(b)
	if !ok {
		t.Fatal("the largest record is no record")
	}
	got, err := decodeRefusal(f.payload, f.version)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Repeat("é", maxText/2); got.UserAgent != want || got.Detail != "after" || len(got.Attempts) != maxAttempts {
		t.Errorf("user agent of %d bytes, detail %q, %d attempts", len(got.UserAgent), got.Detail, len(got.Attempts))
	}
}

// FuzzRecord feeds payloads to every decoder: none may panic or accept what it would not write again the same way.
func FuzzRecord(f *testing.F) {
	s := settlement("req_1")
	f.Add(byte(kindHeld), appendCharge(nil, charge("req_1")))
	f.Add(byte(kindSettled), appendSettled(nil, charge("req_1"), s))
	f.Add(byte(kindSettled), appendSettled(nil, charge("req_1"), &Settlement{Released: true}))
	f.Add(byte(kindDecision), appendRefusal(nil, s.Request))
	f.Add(byte(kindOwn), appendObject(nil, &gatehouse.Object{ID: "file-1", Project: "proj_1", CreatedAt: 5}))
	f.Add(byte(kindSettled), appendSettled(nil, charge("req_1"), &Settlement{Work: &gatehouse.Work{ID: "resp_1", Kind: gatehouse.WorkResponse, Poll: "/responses/resp_1", Next: 5}}))
	f.Add(byte(kindBatchInput), appendBatchInput(nil, &gatehouse.BatchInput{File: "file-1", Lines: 2, Models: []gatehouse.BatchModel{{Name: "a", Upstream: "b", Lines: 2}}}))
	one := budget.NewChain("node-1", []gatehouse.BudgetWindow{{Budget: "budget_1", Start: 3, End: 9}})
	f.Add(byte(kindChain), appendChain(nil, one))
	f.Add(byte(kindCheckpoint), appendCheckpoint(nil, position{segment: 3, offset: 4096}))
	f.Fuzz(func(t *testing.T, k byte, payload []byte) {
		switch kind(k) {
		case kindHeld:
			known := chains{1: one}
			if c, err := decodeCharge(payload, payloadVersion, known); err == nil {
				again, err := decodeCharge(appendCharge(nil, &c), payloadVersion, chains{one.Number: one})
				if err != nil || !reflect.DeepEqual(again, c) {
					t.Fatalf("charge %+v becomes %+v, %v", c, again, err)
				}
			}
		case kindSettled:
			_, err := (&decoder{chains: chains{1: one}}).settled(payload, payloadVersion)
			if _, iderr := settledID(payload); err == nil && iderr != nil {
				t.Fatalf("a settlement that decodes has no id: %v", iderr)
			}
		case kindDecision:
			if r, err := decodeRefusal(payload, payloadVersion); err == nil {
				again, err := decodeRefusal(appendRefusal(nil, r), payloadVersion)
				if err != nil || !reflect.DeepEqual(again, r) {
					t.Fatalf("request %+v becomes %+v, %v", r, again, err)
				}
			}
		case kindChain:
			known := chains{}
			if known.define(payload) != nil {
				return
			}
			for number, c := range known {
				again := chains{}
				if err := again.define(appendChain(nil, c)); err != nil || number == 0 || len(again) != 1 || !slices.Equal(again[c.Number].Windows, c.Windows) || again[c.Number].Node != c.Node {
					t.Fatalf("chain %+v becomes %+v, %v", c, again, err)
				}
			}
		case kindCheckpoint:
			if p, err := decodeCheckpoint(payload); err == nil {
				if again, err := decodeCheckpoint(appendCheckpoint(nil, p)); err != nil || again != p {
					t.Fatalf("checkpoint %v becomes %v, %v", p, again, err)
				}
			}
		case kindBatchInput:
			if in, err := decodeBatchInput(payload, payloadVersion); err == nil {
				if again, err := decodeBatchInput(appendBatchInput(nil, in), payloadVersion); err != nil || !reflect.DeepEqual(again, in) {
					t.Fatalf("batch input %+v becomes %+v, %v", in, again, err)
				}
			}
		default:
			_, _ = decodeObject(payload, payloadVersion) // must not panic
		}
	})
}

// FuzzSegment puts bytes before, between and behind intact records: the reader finds every record that the bytes do not hide,
// and accounts for every byte.
func FuzzSegment(f *testing.F) {
	b, start := beginFrame(nil, kindHeld)
	whole := endFrame(appendCharge(b, charge("req_1")), start)
	f.Add([]byte{}, []byte{}, []byte{})
	f.Add([]byte("noise"), []byte{magic0, magic1, 1, 1}, whole[:20])
	f.Add([]byte{magic0}, []byte{magic0, magic1, 1, 1, 0, 0, 1, 0, 9, 9, 9, 9}, bytes.Repeat([]byte{0}, 100))
	f.Add(whole, whole[1:], whole)
	f.Fuzz(func(t *testing.T, before, between, behind []byte) {
		data := bytes.Join([][]byte{before, whole, between, whole, behind}, nil)
		var rd reader
		rd.open(bytes.NewReader(data), 0, int64(len(data)))
		found, size := 0, int64(0)
		for {
			rec, err := rd.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			size += int64(rec.size)
			if bytes.Equal(rec.payload, whole[frameHeader:]) {
				found++
			}
		}
		if found < 2 {
			t.Errorf("%d of 2 records found", found)
		}
		room := data[max(rd.junk, rd.lastGood):]
		if got := size + rd.damaged + rd.torn + int64(len(room)); got != int64(len(data)) || len(bytes.Trim(room, "\x00")) > 0 {
			t.Errorf("%d bytes in records, %d damaged, %d torn, %d of room: of %d", size, rd.damaged, rd.torn, len(room), len(data))
		}
	})
}

func TestHotPathAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("allocations are not countable under the race detector")
	}
	l := openedWith(t, Config{Dir: t.TempDir(), Sync: time.Hour}, newBook(), (*os.File).Write)
	var h Hold
	c, s := charge("req_1"), settlement("req_1")
	if n := testing.AllocsPerRun(200, func() {
		if l.Reserve(context.Background(), c, &h) != nil || h.Settle(s) != nil {
			t.Fatal("reserve and settle failed")
		}
	}); n != 0 {
		t.Errorf("reserve and settle allocate %v times", n)
	}
}

// benchmarkLedger appends held and settled records to dir.
func benchmarkLedger(b *testing.B, dir string, write func(*os.File, []byte) (int, error)) {
	l := openedWith(b, Config{Dir: dir, Sync: time.Hour}, newBook(), write)
	var h Hold
	c, s := charge("req_1"), settlement("req_1")
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		if err := l.Reserve(context.Background(), c, &h); err != nil {
			b.Fatal(err)
		}
		if err := h.Settle(s); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	n := l.journal.written
	b.ReportMetric(float64(n)/float64(b.N), "journal-B/op")
}

// BenchmarkReserveSettle is one request's share: memory writes nothing, shm writes to a file in memory, disk to a file on disk
// without waiting for it, and room copies into one, as a node does.
func BenchmarkReserveSettle(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		benchmarkLedger(b, b.TempDir(), func(_ *os.File, p []byte) (int, error) { return len(p), nil })
	})
	b.Run("shm", func(b *testing.B) {
		dir, err := os.MkdirTemp("/dev/shm", "gatehouse-ledger-")
		if err != nil {
			b.Skip("no /dev/shm here")
		}
		b.Cleanup(func() { _ = os.RemoveAll(dir) })
		benchmarkLedger(b, dir, (*os.File).Write)
	})
	b.Run("disk", func(b *testing.B) { benchmarkLedger(b, b.TempDir(), (*os.File).Write) })
	b.Run("room", func(b *testing.B) { benchmarkLedger(b, b.TempDir(), nil) })
}

// BenchmarkDrain is the drainer's share of one request: read, check, decode and make the batch. With budgets, as many keys call in turn as
// it says.
func BenchmarkDrain(b *testing.B) {
	for _, c := range []struct {
		name string
		keys int
	}{{"no budgets", 0}, {"one key", 1}, {"100 keys", 100}} {
		b.Run(c.name, func(b *testing.B) {
			w := newWorld(b, "")
			w.organization()
			budgets := w.four()
			l := openedWith(b, Config{Dir: b.TempDir(), DB: w.db, Node: "node-1", Sync: time.Hour, Now: w.now}, newBook(), (*os.File).Write)
			l.record = func(context.Context, store.Batch) error { return nil }
			var keys [][]*gatehouse.Budget
			for range c.keys {
				keys = append(keys, slices.Clone(budgets))
			}
			const requests = 2000
			var h Hold
			for i := range requests {
				id := fmt.Sprintf("req_fill_%d", i)
				r := charge(id)
				if c.keys > 0 {
					r = w.request(id, 10, keys[i%c.keys])
				}
				if err := l.Reserve(b.Context(), r, &h); err != nil {
					b.Fatal(err)
				}
				settle(b, &h, settlement(id))
			}
			b.ReportAllocs()
			for b.Loop() {
				l.drainer.start(position{})
				l.drainer.closeFile()
				if err := l.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/requests, "ns/request")
		})
	}
}

func TestSegmentsArePrivate(t *testing.T) {
	dir := t.TempDir()
	l := opened(t, dir, newBook())
	settle(t, reserve(t, l, "req_1"), settlement("req_1"))
	for _, path := range append(segmentFiles(t, dir), filepath.Join(dir, "journal", "lock")) {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", path, info.Mode(), err)
		}
	}
}
