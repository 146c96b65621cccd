package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/ledger/budget"
	"gatehouse/internal/store"
)

// softBudgets are budgets of a key that no database is asked about: they refuse nothing.
func softBudgets(key string) []*gatehouse.Budget {
	month := gatehouse.Window{Period: gatehouse.Monthly}
	return []*gatehouse.Budget{
		{ID: "budget_" + key, Scope: gatehouse.ScopeKey, Subject: key, Enforcement: gatehouse.Soft, Window: month},
		{ID: "budget_all", Scope: gatehouse.ScopeOrganization, Subject: "org-1", Enforcement: gatehouse.Soft, Window: month},
	}
}

// bound is a charge in the windows of budgets.
func bound(id string, budgets []*gatehouse.Budget) *Charge {
	c := charge(id)
	c.Budgets, c.Bound, c.BoundKnown = budgets, 10, true
	return c
}

func reserveBound(t testing.TB, l *Ledger, id string, budgets []*gatehouse.Budget) *Hold {
	t.Helper()
	h := new(Hold)
	if err := l.Reserve(context.Background(), bound(id, budgets), h); err != nil {
		t.Fatalf("reserve %s: %v", id, err)
	}
	return h
}

// windowsOf is what a charge of charge's time says of budgets.
func windowsOf(budgets []*gatehouse.Budget) []gatehouse.BudgetWindow {
	var windows []gatehouse.BudgetWindow
	for _, b := range budgets {
		start, end := b.WindowAt(charge("").At)
		windows = append(windows, gatehouse.BudgetWindow{Budget: b.ID, Start: start, End: end})
	}
	return windows
}

// checkCharge holds the charge of a recorded usage to budgets, of a node without a name.
func checkCharge(t testing.TB, k *book, usage string, budgets []*gatehouse.Budget) {
	t.Helper()
	c, ok := k.charges[usage]
	if want := windowsOf(budgets); !ok && len(want) > 0 || c.Node != "" || !slices.Equal(c.Windows, want) {
		t.Errorf("%s counts in %+v of node %q, want %+v", usage, c.Windows, c.Node, want)
	}
}

// checkChains reads the segments of dir, whose records must not name what does not stand before them in their segment. It returns how
// often each segment defines each number.
func checkChains(t testing.TB, dir string) []map[uint64]int {
	t.Helper()
	var found []map[uint64]int
	for _, path := range segmentFiles(t, dir) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		known, times := chains{}, map[uint64]int{}
		var rd reader
		for rd.open(bytes.NewReader(data), 0, int64(len(data))); ; {
			rec, err := rd.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			switch rec.kind {
			case kindChain:
				if err = known.define(rec.payload); err == nil {
					f := fieldsOf(rec.payload)
					times[f.count()]++
				}
			case kindHeld:
				_, err = decodeCharge(rec.payload, rec.version, known)
			case kindSettled:
				_, err = (&decoder{chains: known}).settled(rec.payload, rec.version)
			}
			if err != nil {
				t.Errorf("%s: a record of kind %d before %d: %v", filepath.Base(path), rec.kind, rd.off, err)
			}
		}
		found = append(found, times)
	}
	return found
}

func TestChainsAreDefinedOncePerSegment(t *testing.T) {
	dir, k := t.TempDir(), newBook()
	k.set(errAway)
	l := small(opened(t, dir, k))
	keys := [][]*gatehouse.Budget{softBudgets("key_1"), softBudgets("key_2"), nil}
	for i := range 120 {
		id := fmt.Sprintf("req_%d", i)
		settle(t, reserveBound(t, l, id, keys[i%3]), settlement(id))
	}
	abandon(l)
	segments := checkChains(t, dir)
	if len(segments) < 4 {
		t.Fatalf("%d segments prove little", len(segments))
	}
	for i, times := range segments {
		for number, n := range times {
			if n != 1 {
				t.Errorf("segment %d defines %d %d times", i, number, n)
			}
		}
		if i < len(segments)-1 && len(times) != 2 {
			t.Errorf("segment %d defines %v, want two chains", i, times)
		}
	}
	k.set(nil)
	l = opened(t, dir, k)
	for i := range 120 {
		checkCharge(t, k, fmt.Sprintf("req_%d", i), keys[i%3])
	}
	if s := l.Stats(); s.Rejected != 0 || s.DamagedBytes != 0 || s.Recovered != 0 {
		t.Errorf("stats = %+v", s)
	}
}

// TestDrainBeginsBehindChains reads on from a checkpoint what names chains that stand before it.
func TestDrainBeginsBehindChains(t *testing.T) {
	dir, k, budgets := t.TempDir(), newBook(), softBudgets("key_1")
	l := opened(t, dir, k)
	settle(t, reserveBound(t, l, "req_1", budgets), settlement("req_1"))
	flush(t, l)
	k.set(errAway)
	settle(t, reserveBound(t, l, "req_2", budgets), settlement("req_2"))
	abandon(l)
	if segments := checkChains(t, dir); len(segments) != 1 || len(segments[0]) != 1 {
		t.Fatalf("segments define %v, want one chain in one", segments)
	}
	k.set(nil)
	l = opened(t, dir, k)
	checkCharge(t, k, "req_2", budgets)
	if k.offered["req_1"] != 1 || l.Stats().Rejected != 0 {
		t.Errorf("req_1 was recorded %d times, %+v", k.offered["req_1"], l.Stats())
	}
	// So does one that has to read its batch again.
	settle(t, reserveBound(t, l, "req_3", budgets), settlement("req_3"))
	flush(t, l)
	settle(t, reserveBound(t, l, "req_4", budgets), settlement("req_4"))
	l.drainer.rewind()
	flush(t, l)
	checkCharge(t, k, "req_4", budgets)
}

// TestOpenHoldsKeepTheirChains leaves holds open in segments that are long over, where they are carried and where they are not.
func TestOpenHoldsKeepTheirChains(t *testing.T) {
	for _, away := range []error{nil, errAway} {
		t.Run(fmt.Sprint(away), func(t *testing.T) {
			dir, k := t.TempDir(), newBook()
			k.set(away)
			l := small(opened(t, dir, k))
			var all [][]*gatehouse.Budget
			var first *Hold
			for i := range 6 { // of two keys of one chain each, and four more
				all = append(all, softBudgets(fmt.Sprintf("key_%d", min(i, 4))))
				h := reserveBound(t, l, fmt.Sprintf("req_open_%d", i), all[i])
				if i == 0 {
					first = h
				}
			}
			for i := range 60 {
				fill(t, l, i*10, 10)
				_ = l.Flush(t.Context()) // fails where the database is away
			}
			settle(t, first, settlement("req_open_0")) // its hold's chain is another segment's
			checkChains(t, dir)
			abandon(l)
			k.set(nil)
			l = opened(t, dir, k)
			if got := l.Stats(); got.Recovered != 5 || got.Rejected != 0 {
				t.Errorf("stats = %+v", got)
			}
			for i, budgets := range all {
				checkCharge(t, k, fmt.Sprintf("req_open_%d", i), budgets)
			}
			checkChains(t, dir)
		})
	}
}

// TestUnwrittenSettlementsFindTheirChains keeps settlements that a broken disk refused until a later segment takes them.
func TestUnwrittenSettlementsFindTheirChains(t *testing.T) {
	for _, failure := range []error{syscall.ENOSPC, syscall.EIO} {
		t.Run(failure.Error(), func(t *testing.T) {
			dir, k, d := t.TempDir(), newBook(), &disk{}
			k.set(errAway)
			l := openedWith(t, Config{Dir: dir, Sync: time.Second}, k, d.write)
			one, two := softBudgets("key_1"), softBudgets("key_2")
			a, b := reserveBound(t, l, "req_a", one), reserveBound(t, l, "req_b", one)
			d.set(failure, 10)
			for _, h := range []*Hold{a, b} {
				if err := h.Settle(settlement("x")); gatehouse.KindOf(err) != gatehouse.Unavailable {
					t.Fatalf("Settle on a broken disk = %v", err)
				}
			}
			d.set(nil, 0)
			small(l)
			fill(t, l, 0, 30) // rolls
			settle(t, reserveBound(t, l, "req_c", two), settlement("req_c"))
			if n := l.journal.retryUnwritten(); n != 0 {
				t.Fatalf("%d settlements still wait", n)
			}
			if n := len(l.journal.segments); n < 2 {
				t.Fatalf("%d segments", n)
			}
			checkChains(t, dir)
			k.set(nil)
			flush(t, l)
			for id, budgets := range map[string][]*gatehouse.Budget{"req_a": one, "req_b": one, "req_c": two} {
				checkCharge(t, k, id, budgets)
			}
			if s := l.Stats(); s.Holds != 0 || s.Rejected != 0 {
				t.Errorf("stats = %+v", s)
			}
		})
	}
}

// TestChainsOfAFailedWrite fails writes of a chain and the first record that names it at every byte: what is written later defines it.
func TestChainsOfAFailedWrite(t *testing.T) {
	for _, failure := range []error{syscall.ENOSPC, syscall.EIO} {
		for at := 0; at < 200; at += 7 {
			dir, k, d, budgets := t.TempDir(), newBook(), &disk{}, softBudgets("key_1")
			l := openedWith(t, Config{Dir: dir, Sync: time.Second}, k, d.write)
			fill(t, l, 0, 1)
			d.set(failure, at)
			if err := l.Reserve(context.Background(), bound("req_refused", budgets), new(Hold)); gatehouse.KindOf(err) != gatehouse.Unavailable {
				t.Fatalf("Reserve on a broken disk = %v", err)
			}
			d.set(nil, 0)
			settle(t, reserveBound(t, l, "req_1", budgets), settlement("req_1"))
			checkChains(t, dir)
			flush(t, l)
			checkCharge(t, k, "req_1", budgets)
			if s := l.Stats(); len(k.usage) != 2 || s.Rejected != 0 || s.Segments > 2 {
				t.Errorf("%v after %d bytes: %d rows, %+v", failure, at, len(k.usage), s)
			}
			abandon(l)
		}
	}
}

// TestChainsAreOfTheirSegment reads segments that mean different things by one number.
func TestChainsAreOfTheirSegment(t *testing.T) {
	dir, k := t.TempDir(), newBook()
	if err := os.Mkdir(filepath.Join(dir, "journal"), 0o700); err != nil {
		t.Fatal(err)
	}
	a, b := softBudgets("key_a"), softBudgets("key_b")
	chain := func(number uint64, budgets []*gatehouse.Budget) *budget.Chain {
		return &budget.Chain{Number: number, Windows: windowsOf(budgets)}
	}
	defines := func(c *budget.Chain) []byte {
		f, start := beginFrame(nil, kindChain)
		return endFrame(appendChain(f, c), start)
	}
	holds := func(id string, c *budget.Chain) []byte {
		h := charge(id)
		h.chain = c
		f, start := beginFrame(nil, kindHeld)
		return endFrame(appendCharge(f, h), start)
	}
	settles := func(id string, c *budget.Chain) []byte {
		h := charge(id)
		h.chain = c
		f, start := beginFrame(nil, kindSettled)
		return endFrame(appendSettled(f, h, settlement(id)), start)
	}
	for i, records := range [][][]byte{
		{defines(chain(1, a)), defines(chain(2, b)), holds("req_a", chain(1, a)), holds("req_b", chain(2, b)), holds("req_open_a", chain(1, a)), settles("req_first", chain(1, a))},
		{defines(chain(1, b)), settles("req_b", chain(1, b)), defines(chain(7, a)), settles("req_a", chain(7, a)), holds("req_open_b", chain(1, b))},
		{holds("req_lost", chain(7, a)), settles("req_bad", chain(1, a)), settles("req_plain", nil)}, // it defines nothing
	} {
		if err := os.WriteFile(filepath.Join(dir, "journal", segmentName(uint64(i+1))), slices.Concat(records...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := opened(t, dir, k)
	for id, budgets := range map[string][]*gatehouse.Budget{"req_a": a, "req_b": b, "req_first": a, "req_open_a": a, "req_open_b": b, "req_plain": nil} {
		checkCharge(t, k, id, budgets)
		if k.usage[id].ID == "" {
			t.Errorf("%s has no usage", id)
		}
	}
	// What names a number that its segment does not define is a record that does not decode.
	if s := l.Stats(); len(k.usage) != 6 || s.Recovered != 2 || s.Rejected != 1 {
		t.Errorf("%d rows, %+v", len(k.usage), s)
	}
}

// TestDamagedChain destroys a chain: what names it is set aside, and the rest recorded.
func TestDamagedChain(t *testing.T) {
	dir, k, budgets := t.TempDir(), newBook(), softBudgets("key_1")
	k.set(errAway)
	l := opened(t, dir, k)
	fill(t, l, 0, 1)
	for _, id := range []string{"req_1", "req_2"} {
		settle(t, reserveBound(t, l, id, budgets), settlement(id))
	}
	settle(t, reserveBound(t, l, "req_3", softBudgets("key_2")), settlement("req_3"))
	abandon(l)
	path := segmentFiles(t, dir)[0]
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.Index(data, []byte("budget_key_1"))] = 'B'
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	k.set(nil)
	l = opened(t, dir, k)
	checkCharge(t, k, "req_3", softBudgets("key_2"))
	if s := l.Stats(); s.Rejected != 2 || s.DamagedBytes == 0 || len(k.usage) != 2 {
		t.Errorf("%d rows, %+v", len(k.usage), s)
	}
	rejected, err := os.ReadFile(filepath.Join(dir, "journal", rejectedName))
	if err != nil || !strings.Contains(string(rejected), "req_1") || !strings.Contains(string(rejected), "req_2") {
		t.Errorf("set aside are %q, %v", rejected, err)
	}
}

// TestTornChain ends the journal at every byte of a chain and the held record behind it.
func TestTornChain(t *testing.T) {
	budgets := softBudgets("key_1")
	for cut := 0; ; cut += 3 {
		dir, k := t.TempDir(), newBook()
		k.set(errAway)
		l := opened(t, dir, k)
		fill(t, l, 0, 1)
		begins := l.journal.segments[0].size
		h := reserveBound(t, l, "req_1", budgets)
		ends := l.journal.segments[0].size
		_ = h
		abandon(l)
		if begins+int64(cut) >= ends {
			return
		}
		if err := os.Truncate(segmentFiles(t, dir)[0], begins+int64(cut)); err != nil {
			t.Fatal(err)
		}
		k.set(nil)
		l = opened(t, dir, k)
		settle(t, reserveBound(t, l, "req_2", budgets), settlement("req_2"))
		flush(t, l)
		checkCharge(t, k, "req_2", budgets)
		if s := l.Stats(); len(k.usage) != 2 || s.DamagedBytes != 0 || s.Recovered != 0 || s.Rejected != 0 {
			t.Errorf("cut at %d: %d rows, %+v", cut, len(k.usage), s)
		}
		abandon(l)
	}
}

// TestAttemptsAndWorkNameTheirChains settles what does not end its hold, and what was never held here.
func TestAttemptsAndWorkNameTheirChains(t *testing.T) {
	dir, k, budgets := t.TempDir(), newBook(), softBudgets("key_1")
	l := small(opened(t, dir, k))
	h := reserveBound(t, l, "req_1", budgets)
	fill(t, l, 0, 30) // rolls
	if err := h.Attempt(t.Context(), &Attempt{Upstream: "upst_1", Next: 20}); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 30, 30)
	if err := h.Extend(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 60, 30)
	s := settlement("req_1")
	s.Work = background("resp_1")
	settle(t, h, s)
	flush(t, l)
	checkCharge(t, k, "req_1/1", budgets)
	w := k.work["resp_1"]
	if !slices.Equal(w.Budgets, windowsOf(budgets)) {
		t.Fatalf("work counts in %+v", w.Budgets)
	}
	w.Node = "node-other"
	if err := l.SettleWork(&w, &Outcome{Units: gatehouse.Units{Input: 1}, Confidence: gatehouse.Reported}); err != nil {
		t.Fatal(err)
	}
	checkChains(t, dir)
	flush(t, l)
	if c := k.charges["resp_1"]; c.Node != "node-other" || !slices.Equal(c.Windows, w.Budgets) {
		t.Errorf("the end of work counts in %+v", c)
	}
}

// TestSetAsideWithItsChain holds that a record is set aside with what its number stands for.
func TestSetAsideWithItsChain(t *testing.T) {
	dir, k, budgets := t.TempDir(), newBook(), softBudgets("key_1")
	l := opened(t, dir, k)
	k.poison = func(b store.Batch) bool {
		return slices.ContainsFunc(b.Usage, func(u gatehouse.Usage) bool { return u.ID == "req_bad" })
	}
	fill(t, l, 0, 3)
	settle(t, reserveBound(t, l, "req_bad", budgets), settlement("req_bad"))
	for range isolateAfter {
		_ = l.Flush(t.Context()) // the last one succeeds
	}
	data, err := os.ReadFile(filepath.Join(dir, "journal", rejectedName))
	if err != nil {
		t.Fatal(err)
	}
	known := chains{}
	def, _, _ := parseFrame(data)
	if err := known.define(def.payload); err != nil || def.kind != kindChain {
		t.Fatalf("a record of kind %d stands first: %v", def.kind, err)
	}
	rec, _, _ := parseFrame(data[def.size:])
	got, err := (&decoder{chains: known}).settled(rec.payload, rec.version)
	if err != nil || got.usage.ID != "req_bad" || !slices.Equal(got.charge.Windows, windowsOf(budgets)) {
		t.Errorf("set aside is %+v, %v", got, err)
	}
}
