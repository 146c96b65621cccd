//go:build linux

package ledger

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"gatehouse"
)

// TestRoomIsCut holds that what a killed process left ready behind its records is neither damage nor kept.
func TestRoomIsCut(t *testing.T) {
	dir, k := t.TempDir(), newBook()
	k.set(errAway)
	l := opened(t, dir, k)
	for i := range 3 {
		settle(t, reserve(t, l, fmt.Sprintf("req_%d", i)), settlement("x"))
	}
	end := l.journal.segments[0].size
	abandon(l)
	path := segmentFiles(t, dir)[0]
	if info, err := os.Stat(path); err != nil || info.Size() <= end {
		t.Fatalf("the segment is %v, %v: it has no room behind its %d bytes", info, err, end)
	}
	var log strings.Builder
	k.set(nil)
	l = openedWith(t, Config{Dir: dir, Sync: time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil))}, k, nil)
	if s := l.Stats(); len(k.usage) != 3 || s.DamagedBytes != 0 || s.Recovered != 0 || log.Len() > 0 {
		t.Errorf("%d of 3 recorded, %+v, logged %q", len(k.usage), s, &log)
	}
	if info, err := os.Stat(path); err == nil && info.Size() != end {
		t.Errorf("the segment has %d bytes, want %d", info.Size(), end)
	}
}

// TestRoomGrows writes records over the ends of rooms, and one that is larger than a room.
func TestRoomGrows(t *testing.T) {
	dir, k := t.TempDir(), newBook()
	k.set(errAway)
	l := opened(t, dir, k)
	l.journal.segmentBytes = 16 << 20
	const n = 40
	for i := range n {
		s := settlement("x")
		s.Request.Detail = strings.Repeat("d", maxText)
		for range maxAttempts {
			s.Request.Attempts = append(s.Request.Attempts, gatehouse.Attempt{Upstream: "upst_1", Error: strings.Repeat("e", maxText), RequestID: strings.Repeat("r", i*100)})
		}
		settle(t, reserve(t, l, fmt.Sprintf("req_%d", i)), s)
	}
	// As carryFrom writes many at a time.
	var many []byte
	for i := 0; len(many) < roomBytes+roomBytes/2; i++ {
		var start int
		many, start = beginFrame(many, kindHeld)
		many = endFrame(appendCharge(many, charge(fmt.Sprintf("req_many_%d", i))), start)
	}
	if _, err := l.journal.write(many, nil); err != nil {
		t.Fatal(err)
	}
	settle(t, reserve(t, l, "req_last"), settlement("x"))
	if l.journal.cramped || l.journal.segments[0].size < 3*roomBytes {
		t.Fatalf("no rooms were used for %d bytes", l.journal.segments[0].size)
	}
	abandon(l)
	k.set(nil)
	l = opened(t, dir, k)
	if s := l.Stats(); s.DamagedBytes != 0 || k.usage["req_0"].Confidence != gatehouse.Reported || k.usage["req_39"].Confidence != gatehouse.Reported ||
		k.usage["req_last"].Confidence != gatehouse.Reported || k.usage["req_many_0"].Confidence != gatehouse.Recovered {
		t.Errorf("%d rows, %+v", len(k.usage), s)
	}
}

// TestRoomThatIsGone cuts a segment's file under the process that writes it.
func TestRoomThatIsGone(t *testing.T) {
	dir, k := t.TempDir(), newBook()
	l := opened(t, dir, k)
	settle(t, reserve(t, l, "req_1"), settlement("req_1"))
	flush(t, l)
	open := reserve(t, l, "req_open")
	if err := os.Truncate(segmentFiles(t, dir)[0], 0); err != nil {
		t.Fatal(err)
	}
	if err := l.Reserve(context.Background(), charge("req_refused"), new(Hold)); gatehouse.KindOf(err) != gatehouse.Unavailable {
		t.Fatalf("Reserve without a file = %v", err)
	}
	settle(t, reserve(t, l, "req_2"), settlement("req_2"))
	settle(t, open, settlement("req_open"))
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"req_1", "req_2", "req_open"} {
		if k.usage[id].Confidence != gatehouse.Reported {
			t.Errorf("%s is %+v", id, k.usage[id])
		}
	}
}
