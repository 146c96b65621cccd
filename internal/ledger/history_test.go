package ledger

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gatehouse"
	"pgregory.net/rapid"
)

// TestAnyHistory runs random histories of holds, settlements, crashes, failing disks and failing databases against the rule
// that matters: in the end each request that was held and not released is in the database exactly once.
func TestAnyHistory(t *testing.T) {
	root := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		dir := fmt.Sprintf("%s/%d", root, n)
		k, d := newBook(), &disk{}
		var l *Ledger
		start := func() {
			var err error
			l, err = open(context.Background(), Config{Dir: dir, Sync: time.Second}, k.Record, d.write)
			if err != nil {
				t.Fatalf("open: %v", err)
			}
			l.journal.segmentBytes = int64(rapid.SampledFrom([]int{600, 2000, 20000}).Draw(t, "segment"))
		}
		start()
		defer func() { abandon(l) }()
		open := map[string]*Hold{}
		want := map[string][]gatehouse.Confidence{} // what the usage of a request may be
		released := map[string]bool{}
		counts := map[string][]*gatehouse.Budget{} // what binds a request
		one, two := softBudgets("key_1"), softBudgets("key_2")
		next := 0
		pick := func() (string, *Hold) {
			id := rapid.SampledFrom(slices.Sorted(maps.Keys(open))).Draw(t, "id")
			return id, open[id]
		}
		finish := func(release bool) {
			if len(open) == 0 {
				return
			}
			id, h := pick()
			s := settlement(id)
			s.Released = release
			err := h.Settle(s)
			if again := h.Settle(settlement(id)); again != nil {
				t.Fatalf("second settle: %v", again)
			}
			delete(open, id)
			switch {
			case err != nil: // kept in memory: written later, or lost with the process and then recovered
				if release {
					want[id] = []gatehouse.Confidence{gatehouse.Recovered, ""}
				} else {
					want[id] = []gatehouse.Confidence{gatehouse.Reported, gatehouse.Recovered}
				}
			case release:
				released[id] = true
				delete(want, id)
			default:
				want[id] = []gatehouse.Confidence{gatehouse.Reported}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"reserve": func(t *rapid.T) {
				next++
				id, h := fmt.Sprintf("req_%d", next), new(Hold)
				budgets := rapid.SampledFrom([][]*gatehouse.Budget{nil, one, two}).Draw(t, "budgets")
				if err := l.Reserve(context.Background(), bound(id, budgets), h); err == nil {
					counts[id] = budgets
					open[id] = h
					want[id] = []gatehouse.Confidence{gatehouse.Recovered}
				}
			},
			"settle":  func(*rapid.T) { finish(false) },
			"release": func(*rapid.T) { finish(true) },
			"drain":   func(*rapid.T) { _ = l.Flush(context.Background()) }, // may fail: that is the point
			"crash": func(t *rapid.T) {
				abandon(l)
				clear(open)
				tear(t, dir, rapid.IntRange(0, 300).Draw(t, "torn"))
				start()
			},
			"database goes":  func(*rapid.T) { k.set(errAway) },
			"database comes": func(*rapid.T) { k.set(nil) },
			"disk breaks": func(t *rapid.T) {
				d.set(rapid.SampledFrom([]error{io.ErrShortWrite, os.ErrInvalid}).Draw(t, "error"), rapid.IntRange(0, 400).Draw(t, "after"))
			},
			"disk heals": func(*rapid.T) { d.set(nil, 0) },
		})
		k.set(nil)
		d.set(nil, 0)
		abandon(l)
		start()
		if err := l.Flush(context.Background()); err != nil {
			t.Fatalf("the last flush: %v", err)
		}
		for id, may := range want {
			if u := k.usage[id]; !slices.Contains(may, u.Confidence) {
				t.Errorf("usage of %s is %q, want one of %q", id, u.Confidence, may)
			}
		}
		for id := range k.usage {
			if want[id] == nil {
				t.Errorf("%s was never held, or released (%v), and has usage", id, released[id])
			}
			if got, budgets := k.charges[id].Windows, windowsOf(counts[id]); !slices.Equal(got, budgets) {
				t.Errorf("%s counts in %+v, want %+v", id, got, budgets)
			}
		}
		if s := l.Stats(); s.Holds != 0 || s.Unwritten != 0 || s.DamagedBytes != 0 || s.Rejected != 0 {
			t.Errorf("stats = %+v", s)
		}
	})
}

// tear leaves the first n bytes of a record at the end of the journal, as a process does that ends inside its write.
func tear(t *rapid.T, dir string, n int) {
	names, err := filepath.Glob(filepath.Join(dir, "journal", "*"+segmentSuffix))
	if err != nil || len(names) == 0 {
		return
	}
	b, start := beginFrame(nil, kindHeld)
	b = endFrame(appendCharge(b, charge("req_torn")), start)
	f, err := os.OpenFile(names[len(names)-1], os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b[:min(n, len(b)-1)]); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
