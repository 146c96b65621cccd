package ledger

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// perToken is what one input token of the model in charges costs: whole amounts of it are what requests in these tests cost.
const perToken = gatehouse.NanoUSD(2500)

// world is nodes that share a database.
type world struct {
	t     testing.TB
	dir   string
	db    *store.DB
	clock time.Time
	nodes []*ledgerNode
}

type ledgerNode struct {
	dir  string
	name string
	l    *Ledger // nil: dead
	now  func() time.Time
}

// memoryDir returns a folder that is fast to sync to where there is one: these tests are about order, not about disks.
func memoryDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "gatehouse")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func newWorld(t testing.TB, url string) *world {
	t.Helper()
	w := &world{t: t, dir: memoryDir(t), clock: time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)}
	if url == "" {
		url = "sqlite:" + filepath.Join(w.dir, "db")
	}
	db, err := store.Open(context.Background(), url, store.Config{Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.db = db
	return w
}

func (w *world) now() time.Time { return w.clock }

func (w *world) at() gatehouse.Millis { return gatehouse.MillisOf(w.clock) }

// join adds nodes of new names.
func (w *world) join(n int) {
	for range n {
		name := fmt.Sprintf("node-%s", gatehouse.RandomBase62(12))
		w.nodes = append(w.nodes, &ledgerNode{dir: filepath.Join(w.dir, name), name: name, now: w.now})
	}
	for _, n := range w.nodes {
		if n.l == nil {
			w.start(n)
		}
	}
}

func (w *world) start(n *ledgerNode) {
	w.t.Helper()
	var err error
	n.l, err = open(context.Background(), Config{Dir: n.dir, DB: w.db, Node: n.name, Sync: time.Second, Now: n.now}, w.db.Record, nil)
	if err != nil {
		w.t.Fatalf("open %s: %v", n.name, err)
	}
}

// kill ends a node as kill -9 does.
func (w *world) kill(n *ledgerNode) {
	if n.l != nil {
		abandon(n.l)
		n.l = nil
	}
}

// refresh does what a node does every 250 ms.
func (w *world) refresh(n *ledgerNode) {
	w.t.Helper()
	ctx := context.Background()
	if err := n.l.Flush(ctx); err != nil {
		w.t.Fatalf("flush %s: %v", n.name, err)
	}
	if err := n.l.drainer.refresh(ctx); err != nil {
		w.t.Fatalf("refresh %s: %v", n.name, err)
	}
}

func (w *world) update(fn func(*store.Tx) error) {
	w.t.Helper()
	if _, err := w.db.Update(context.Background(), gatehouse.Event{Type: "test.changed", Organization: "org-1"}, fn); err != nil {
		w.t.Fatalf("update: %v", err)
	}
}

func (w *world) view(fn func(*store.Tx) error) {
	w.t.Helper()
	if err := w.db.View(context.Background(), fn); err != nil {
		w.t.Fatalf("view: %v", err)
	}
}

// budget makes a budget.
func (w *world) budget(b gatehouse.Budget) *gatehouse.Budget {
	w.t.Helper()
	b.Organization, b.Zone = "org-1", time.UTC
	if b.ID == "" {
		b.ID = gatehouse.NewID(gatehouse.PrefixBudget)
	}
	if b.Window.Period == "" {
		b.Window.Period = gatehouse.Monthly
	}
	if b.Enforcement == "" {
		b.Enforcement = gatehouse.Hard
	}
	b.CreatedAt = w.at()
	w.update(func(tx *store.Tx) error { return tx.CreateBudget(&b) })
	return &b
}

// organization makes the organization that budgets belong to.
func (w *world) organization() {
	w.update(func(tx *store.Tx) error { return tx.CreateOrganization(&gatehouse.Organization{ID: "org-1"}) })
}

// request is a charge of one key whose bound is so many tokens.
func (w *world) request(id string, tokens int64, budgets []*gatehouse.Budget) *Charge {
	c := charge(id)
	c.At, c.Input, c.Output = w.at(), tokens, 0
	c.Bound, c.BoundKnown, c.Budgets = gatehouse.NanoUSD(tokens)*perToken, true, budgets
	return c
}

// costs is a settlement of so many tokens.
func costs(tokens int64) *Settlement {
	return &Settlement{Units: gatehouse.Units{Input: tokens}, Confidence: gatehouse.Reported}
}

// windowOf returns what the database knows of a budget's window at the world's time.
func (w *world) windowOf(b *gatehouse.Budget, at gatehouse.Millis) *store.WindowRow {
	w.t.Helper()
	start, _ := b.WindowAt(at)
	row := new(store.WindowRow)
	w.view(func(tx *store.Tx) error {
		rows, err := tx.BudgetWindows([]string{b.ID}, start)
		for _, r := range rows {
			if r.Window.Start == start {
				*row = r
			}
		}
		return err
	})
	return row
}
