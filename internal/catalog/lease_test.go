package catalog

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatehouse/internal/store"
)

// testClock is a boot clock and a wall clock that stand still until a test moves them.
type testClock struct {
	boot time.Duration
	wall time.Time
}

func (c *testClock) clock() clock {
	return clock{boot: func() time.Duration { return c.boot }, wall: func() time.Time { return c.wall }}
}

func (c *testClock) move(d time.Duration) { c.boot, c.wall = c.boot+d, c.wall.Add(d) }

func TestLease(t *testing.T) {
	const length = 2 * time.Second
	start := time.Unix(1_700_000_000, 0)
	tests := []struct {
		name string
		do   func(c *testClock, h *leaseholder)
		want bool
	}{
		{"before it is granted", func(c *testClock, h *leaseholder) {}, false},
		{"granted", func(c *testClock, h *leaseholder) { h.grant(5) }, true},
		{"too little applied", func(c *testClock, h *leaseholder) { h.grant(4) }, false},
		{"too little, then enough", func(c *testClock, h *leaseholder) { h.grant(4); h.grant(6) }, true},
		{"until its last moment", func(c *testClock, h *leaseholder) { h.grant(5); c.move(length - 1) }, true},
		{"not at its end", func(c *testClock, h *leaseholder) { h.grant(5); c.move(length) }, false},
		{"counted from the renewal's begin", func(c *testClock, h *leaseholder) { c.move(length); h.grant(5) }, false},
		{"only the boot clock moved", func(c *testClock, h *leaseholder) { h.grant(5); c.boot += length }, false},
		{"only the wall clock moved", func(c *testClock, h *leaseholder) { h.grant(5); c.wall = c.wall.Add(length) }, false},
		{"the wall clock was set back", func(c *testClock, h *leaseholder) {
			h.grant(5)
			c.boot += length
			c.wall = c.wall.Add(-time.Hour)
		}, false},
		{"given up", func(c *testClock, h *leaseholder) { h.grant(5); h.end() }, false},
		{"given up before it was granted", func(c *testClock, h *leaseholder) { h.end(); h.grant(5) }, false},
		{"a renewal that waits does not end the one before", func(c *testClock, h *leaseholder) {
			h.grant(5)
			h.renew(h.clock.read(), 9)
			h.grant(8)
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &testClock{boot: time.Hour, wall: start}
			h := &leaseholder{clock: c.clock(), length: length}
			h.renew(h.clock.read(), 5)
			tt.do(c, h)
			if got := h.stands(); got != tt.want {
				t.Errorf("stands = %v, want %v", got, tt.want)
			}
		})
	}
}

// TestLeaseProtocol runs the protocol in the comment of lease as a model, every step of every node on its own, in any order and
// with any pauses: no node accepts what a settled change forbids, and none does so after the time that was promised.
func TestLeaseProtocol(t *testing.T) {
	for range 100 { // rapid alone tries 100 histories; breaking the protocol in one place shows in one of a few thousand
		checkLeaseProtocol(t)
	}
}

func checkLeaseProtocol(t *testing.T) {
	const length = 10 * time.Second
	type node struct {
		clock   testClock
		lease   leaseholder
		nodes   nodes
		step    int
		began   reading
		fetched int64
		applied int64
	}
	type promise struct {
		seq int64
		at  time.Duration // model time
	}
	rapid.Check(t, func(t *rapid.T) {
		var (
			now      time.Duration
			seq      int64
			settled  int64
			promises []promise
			rows     = map[string]store.Node{}
			all      []*node
		)
		for i := range 3 {
			n := &node{clock: testClock{boot: time.Duration(i+1) * time.Hour, wall: time.Unix(int64(i)*1e6, 0)}}
			n.lease = leaseholder{clock: n.clock.clock(), length: length}
			n.nodes = newNodes(n.clock.clock(), fmt.Sprintf("node%d", i))
			all = append(all, n)
		}
		observer := all[0]
		var looking struct {
			open  bool
			began time.Duration
			now   time.Duration
			seq   int64
			rows  []store.Node
		}
		renew := func(n *node) {
			switch n.step {
			case 0:
				n.began = n.lease.clock.read()
				n.nodes.choose(n.began.boot, length)
			case 1:
				row := rows[n.nodes.self]
				row.ID, row.AppliedSeq, row.MaxStalenessMillis = n.nodes.self, n.applied, length.Milliseconds()
				row.Beat++
				rows[row.ID] = row
				delete(rows, n.nodes.drop)
				n.nodes.beat(n.began.boot)
			case 2:
				n.lease.renew(n.began, seq)
				n.lease.grant(n.applied)
			}
			n.step = (n.step + 1) % 3
		}
		apply := func(n *node) {
			n.applied = max(n.applied, n.fetched)
			n.lease.grant(n.applied)
		}
		look := func() {
			if !looking.open {
				looking.open, looking.began, looking.now, looking.seq, looking.rows = true, observer.clock.boot, now, seq, nil
				for _, row := range rows {
					looking.rows = append(looking.rows, row)
				}
				return
			}
			looking.open = false
			v := observer.nodes.observe(looking.began, looking.rows)
			observer.nodes.tidy(v)
			for s := settled + 1; s <= looking.seq; s++ {
				limit := v.limit(s, looking.began)
				switch {
				case limit != 0:
					promises = append(promises, promise{s, looking.now + limit - looking.began})
				case observer.applied >= s:
					settled = s
				}
			}
		}
		check := func() {
			for i, n := range all {
				if !n.lease.stands() {
					continue
				}
				if n.applied < settled {
					t.Fatalf("node %d accepts with %d applied, and %d is settled", i, n.applied, settled)
				}
				for _, p := range promises {
					if n != observer && now >= p.at && n.applied < p.seq {
						t.Fatalf("node %d accepts with %d applied at %v; %d was promised by %v", i, n.applied, now, p.seq, p.at)
					}
				}
			}
		}
		someone := rapid.SampledFrom(all)
		step := rapid.SampledFrom([]string{"time", "commit", "renewal", "step of a renewal", "read", "apply", "follow", "look", "step of a look"})
		for range 60 {
			switch step.Draw(t, "step") {
			case "time":
				d := time.Duration(rapid.SampledFrom([]int64{1, 2500, 5000, 11_500, 400_000}).Draw(t, "milliseconds")) * time.Millisecond
				now += d
				for _, n := range all {
					n.clock.move(d)
				}
			case "commit":
				seq++
			case "renewal":
				n := someone.Draw(t, "node")
				for range 3 {
					renew(n)
				}
			case "step of a renewal":
				renew(someone.Draw(t, "node"))
			case "read":
				someone.Draw(t, "node").fetched = seq
			case "apply":
				apply(someone.Draw(t, "node"))
			case "follow":
				n := someone.Draw(t, "node")
				n.fetched = seq
				apply(n)
			case "look":
				look()
				look()
			case "step of a look":
				look()
			}
			check()
		}
	})
}
