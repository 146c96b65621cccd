//go:build linux

package ledger

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"gatehouse"
)

// TestFullDisk fills a real file system of 256 KiB. Who may not mount one skips it; TestAJournalThatCannotBeWritten covers the
// same with a write(2) that fails.
func TestFullDisk(t *testing.T) {
	t.Run("write", func(t *testing.T) { testFullDisk(t, (*os.File).Write) })
	t.Run("room", func(t *testing.T) { testFullDisk(t, nil) }) // for which there is not enough of it
}

func testFullDisk(t *testing.T, write func(*os.File, []byte) (int, error)) {
	dir, k := t.TempDir(), newBook()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 128<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	k.set(errAway)
	l := openedWith(t, Config{Dir: dir, Sync: time.Second}, k, write)
	want := map[string]bool{}
	var held []*Hold
	var full error
	for i := 0; full == nil; i++ {
		id := fmt.Sprintf("req_%d", i)
		h := new(Hold)
		if full = l.Reserve(context.Background(), charge(id), h); full != nil {
			break
		}
		want[id] = true
		held = append(held, h)
		if len(held) > 20 {
			full = held[0].Settle(settlement(id))
			held = held[1:]
		}
	}
	if gatehouse.KindOf(full) != gatehouse.Unavailable {
		t.Fatalf("on a full disk: %v", full)
	}
	for _, h := range held {
		_ = h.Settle(settlement("x")) // some still fit, the ledger keeps the others
	}
	// A restart on the full disk serves nothing and loses nothing.
	abandon(l)
	l = openedWith(t, Config{Dir: dir, Sync: time.Second}, k, write)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	k.set(nil)
	settle(t, reserve(t, l, "req_after"), settlement("req_after"))
	want["req_after"] = true
	flush(t, l)
	if got := slices.Sorted(maps.Keys(k.usage)); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		t.Errorf("%d usage rows, want %d", len(got), len(want))
	}
	if s := l.Stats(); s.Unwritten != 0 || s.Holds != 0 || s.DamagedBytes != 0 || s.Recovered == 0 {
		t.Errorf("stats = %+v", s)
	}
}
