package ledger

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// TestAnyHistoryOfBudgets runs random histories of several nodes on one database: requests that reserve, extend, try again, settle below
// and above their hold, begin work that another node ends, or end without a usage; nodes that die and come back, that refresh or do not;
// amounts that are raised and lowered; days that end, at another moment on each
// node, because their clocks differ by up to ten minutes. After each step:
//
//   - what is reserved and settled of each window is at most its amount, plus what requests ran over their holds;
//
// and at the end of each:
//
//   - each request that was settled is in the database once,
//   - what the budgets have counted is what usage comes to, to the nano-dollar.
func TestAnyHistoryOfBudgets(t *testing.T) {
	histories := 400
	if testing.Short() {
		histories = 40
	}
	if n, err := strconv.Atoi(os.Getenv("GATEHOUSE_HISTORIES")); err == nil {
		histories = n
	}
	w := newWorld(t, "")
	w.organization()
	for i := range histories {
		seed := uint64(i)
		h := &budgetHistory{world: w, rand: rand.New(rand.NewPCG(seed, 2)), seed: seed}
		h.run()
		if t.Failed() {
			return
		}
	}
}

type budgetHistory struct {
	*world
	rand     *rand.Rand
	seed     uint64
	requests int
	budgets  []*gatehouse.Budget
	chain    []*gatehouse.Budget // what the catalog would say
	open     map[string]*openRequest
	work     map[string]*openRequest
	kept     map[string]keptRest
	wins     map[gatehouse.BudgetWindow]*modelWindow
	usage    map[string]gatehouse.NanoUSD // what is in the database in the end
	log      []string
}

type openRequest struct {
	node    *ledgerNode
	hold    *Hold
	at      gatehouse.Millis
	bound   gatehouse.NanoUSD
	windows []gatehouse.BudgetWindow
	tries   int
}

type keptRest struct {
	amount  gatehouse.NanoUSD
	windows []gatehouse.BudgetWindow
}

// modelWindow is what must be true of a window.
type modelWindow struct {
	held    gatehouse.NanoUSD // by open requests and open work
	settled gatehouse.NanoUSD
	kept    gatehouse.NanoUSD
	over    gatehouse.NanoUSD // what requests ran over their holds
	lag     gatehouse.NanoUSD // what was given back by others, of which a node hears with its next look
	ceiling gatehouse.NanoUSD
	hard    bool
}

func (h *budgetHistory) run() {
	h.nodes = nil
	h.join(1 + h.rand.IntN(4))
	for _, n := range h.nodes {
		skew := time.Duration(h.rand.IntN(1200)-600) * time.Second
		n.now = func() time.Time { return h.clock.Add(skew) }
		h.kill(n)
		h.start(n)
	}
	defer func() {
		for _, n := range h.nodes {
			h.kill(n)
		}
	}()
	h.open, h.work, h.kept = map[string]*openRequest{}, map[string]*openRequest{}, map[string]keptRest{}
	h.wins, h.usage = map[gatehouse.BudgetWindow]*modelWindow{}, map[string]gatehouse.NanoUSD{}
	amount := func() gatehouse.NanoUSD { return perToken * gatehouse.NanoUSD(20+h.rand.Int64N(400)) }
	// Each history has a key of its own, so that histories do not see each other's usage.
	h.budgets = []*gatehouse.Budget{
		h.budget(gatehouse.Budget{Scope: gatehouse.ScopeKey, Subject: h.key(), Amount: amount()}),
		h.budget(gatehouse.Budget{Scope: gatehouse.ScopeKey, Subject: h.key(), Amount: amount(), Window: gatehouse.Window{Period: gatehouse.Daily}}),
		h.budget(gatehouse.Budget{Scope: gatehouse.ScopeKey, Subject: h.key(), Amount: amount() / 4, Enforcement: gatehouse.Soft, Alerts: []int{50, 100}}),
	}
	h.chain = slices.Clone(h.budgets)
	for range 25 + h.rand.IntN(40) {
		h.step()
		if h.check(); h.t.Failed() {
			h.t.Logf("history %d:\n%v", h.seed, h.log)
			return
		}
	}
	h.finish()
	if h.t.Failed() {
		h.t.Logf("history %d:\n%v", h.seed, h.log)
	}
}

func (h *budgetHistory) key() string { return fmt.Sprintf("key_h%d", h.seed) }

func (h *budgetHistory) note(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...)+"\n")
}

// node returns a node that lives, or nil.
func (h *budgetHistory) node() *ledgerNode {
	if n := h.nodes[h.rand.IntN(len(h.nodes))]; n.l != nil {
		return n
	}
	return nil
}

func pickOf[V any](h *budgetHistory, m map[string]V) (id string, v V) {
	if len(m) == 0 {
		return "", v
	}
	id = slices.Sorted(maps.Keys(m))[h.rand.IntN(len(m))]
	return id, m[id]
}

func (h *budgetHistory) window(id gatehouse.BudgetWindow) *modelWindow {
	w := h.wins[id]
	if w == nil {
		b := h.budgets[slices.IndexFunc(h.budgets, func(b *gatehouse.Budget) bool { return b.ID == id.Budget })]
		w = &modelWindow{ceiling: b.Amount, hard: b.Enforcement == gatehouse.Hard}
		h.wins[id] = w
	}
	return w
}

func (h *budgetHistory) step() {
	switch p := h.rand.IntN(100); {
	case p < 40:
		h.reserve()
	case p < 58:
		h.settle()
	case p < 62:
		h.extend()
	case p < 66:
		h.attempt()
	case p < 70:
		h.beginWork()
	case p < 74:
		h.endWork()
	case p < 76:
		h.releaseKept()
	case p < 86:
		if n := h.node(); n != nil {
			h.note("refresh %s", n.name)
			h.refresh(n)
		}
	case p < 90:
		h.crash()
	case p < 94:
		if i := slices.IndexFunc(h.nodes, func(n *ledgerNode) bool { return n.l == nil }); i >= 0 {
			h.note("restart %s", h.nodes[i].name)
			h.start(h.nodes[i])
		}
	case p < 97:
		h.change()
	default:
		h.clock = h.clock.Add(time.Duration(h.rand.IntN(3600*30)) * time.Second)
		h.note("it is %v", h.clock)
	}
}

func (h *budgetHistory) reserve() {
	n := h.node()
	if n == nil {
		return
	}
	h.requests++
	id := fmt.Sprintf("req_%d_%d", h.seed, h.requests)
	c := h.request(id, 1+h.rand.Int64N(40), h.chain)
	c.Key, c.At = h.key(), gatehouse.MillisOf(n.now())
	hold := new(Hold)
	err := n.l.Reserve(context.Background(), c, hold)
	h.note("reserve %s %d at %s: %v", id, c.Bound, n.name, err)
	if err != nil {
		if k := gatehouse.KindOf(err); k != gatehouse.RateLimited {
			h.t.Errorf("reserve %s: %v", id, err)
		}
		h.final(c, err)
		return
	}
	r := &openRequest{node: n, hold: hold, at: c.At, bound: c.Bound, windows: c.chain.Windows}
	h.open[id] = r
	h.hold(r, c.Bound)
}

// final holds a final refusal to what it says: no room even without any hold.
func (h *budgetHistory) final(c *Charge, err error) {
	e := err.(*gatehouse.Error)
	if !e.NoRetry {
		return
	}
	for _, b := range h.budgets {
		start, end := b.WindowAt(c.At)
		w := h.window(gatehouse.BudgetWindow{Budget: b.ID, Start: start, End: end})
		spent := w.settled + w.kept + w.lag
		for _, r := range h.work {
			if slices.ContainsFunc(r.windows, func(x gatehouse.BudgetWindow) bool { return x.Budget == b.ID && x.Start == start }) {
				spent += r.bound
			}
		}
		if w.hard && spent+c.Bound > b.Amount {
			return
		}
	}
	h.t.Errorf("%s is refused for good and would fit: %v", c.RequestID, err)
}

func (h *budgetHistory) hold(r *openRequest, n gatehouse.NanoUSD) {
	for _, id := range r.windows {
		h.window(id).held += n
	}
}

func (h *budgetHistory) spend(id string, r *openRequest, cost gatehouse.NanoUSD) {
	h.usage[id] = cost
	for _, w := range r.windows {
		m := h.window(w)
		m.held -= r.bound
		m.settled += cost
		m.over += max(0, cost-r.bound)
	}
}

func (h *budgetHistory) settle() {
	id, r := pickOf(h, h.open)
	if r == nil {
		return
	}
	tokens := int64(r.bound / perToken)
	s := costs(h.rand.Int64N(tokens + 1))
	switch h.rand.IntN(10) {
	case 0:
		s = costs(tokens + h.rand.Int64N(10)) // over its hold
	case 1:
		s.Released = true
	case 2, 3:
		s.Keep, s.Confidence = true, gatehouse.Estimated
	}
	if err := r.hold.Settle(s); err != nil {
		h.t.Errorf("settle %s: %v", id, err)
	}
	_ = r.hold.Settle(costs(1000)) // a second one counts nothing
	delete(h.open, id)
	h.note("settle %s at %d, kept %d, released %v", id, s.Cost, s.kept, s.Released)
	if s.Released {
		h.hold(r, -r.bound)
		return
	}
	h.spend(id, r, s.Cost)
	if s.kept > 0 {
		h.kept[id] = keptRest{s.kept, r.windows}
		for _, w := range r.windows {
			h.window(w).kept += s.kept
		}
	}
}

func (h *budgetHistory) extend() {
	id, r := pickOf(h, h.open)
	if r == nil {
		return
	}
	more := perToken * gatehouse.NanoUSD(1+h.rand.Int64N(20))
	err := r.hold.Extend(context.Background(), more)
	h.note("extend %s by %d: %v", id, more, err)
	if err == nil {
		r.bound += more
		h.hold(r, more)
	}
}

func (h *budgetHistory) attempt() {
	id, r := pickOf(h, h.open)
	if r == nil {
		return
	}
	next := perToken * gatehouse.NanoUSD(1+h.rand.Int64N(20))
	err := r.hold.Attempt(context.Background(), &Attempt{Next: next})
	h.note("attempt of %s, next %d: %v", id, next, err)
	r.tries++
	h.spend(fmt.Sprintf("%s/%d", id, r.tries), r, r.bound)
	if err != nil {
		next = 0
	}
	r.bound = next
	h.hold(r, next)
}

func (h *budgetHistory) beginWork() {
	id, r := pickOf(h, h.open)
	if r == nil {
		return
	}
	name := "work_" + id
	if err := r.hold.Settle(&Settlement{UsageID: name, Work: &gatehouse.Work{ID: name, Kind: gatehouse.WorkResponse}}); err != nil {
		h.t.Errorf("begin %s: %v", name, err)
	}
	h.note("begin %s", name)
	delete(h.open, id)
	h.work[name] = r // its bound goes on counting
}

func (h *budgetHistory) endWork() {
	id, r := pickOf(h, h.work)
	n := h.node()
	if r == nil || n == nil {
		return
	}
	var w *gatehouse.Work
	h.view(func(tx *store.Tx) error {
		w, _ = tx.Work(id)
		return nil
	})
	if w == nil {
		return // not recorded yet
	}
	cost := h.rand.Int64N(int64(r.bound/perToken) + 1)
	if err := n.l.SettleWork(w, &Outcome{Units: gatehouse.Units{Input: cost}, Confidence: gatehouse.Reported}); err != nil {
		h.t.Errorf("end %s: %v", id, err)
	}
	h.note("end %s at %d by %s", id, gatehouse.NanoUSD(cost)*perToken, n.name)
	delete(h.work, id)
	for _, w := range r.windows {
		h.window(w).lag += r.bound - gatehouse.NanoUSD(cost)*perToken
	}
	h.spend(id, r, gatehouse.NanoUSD(cost)*perToken)
}

func (h *budgetHistory) releaseKept() {
	id, k := pickOf(h, h.kept)
	if k.amount == 0 {
		return
	}
	released := false
	_, err := h.db.Update(context.Background(), gatehouse.Event{Type: "test.released", Organization: "org-1"}, func(tx *store.Tx) error {
		_, err := tx.ReleaseKept("org-1", id)
		released = err == nil
		return err
	})
	if err != nil && gatehouse.KindOf(err) != gatehouse.NotFound {
		h.t.Errorf("release %s: %v", id, err)
	}
	if !released {
		return // not recorded yet
	}
	h.note("release what %s kept", id)
	delete(h.kept, id)
	for _, w := range k.windows {
		h.window(w).kept -= k.amount
		h.window(w).lag += k.amount
	}
}

func (h *budgetHistory) crash() {
	n := h.node()
	if n == nil {
		return
	}
	h.note("kill %s", n.name)
	h.kill(n)
	for id, r := range h.open {
		if r.node == n { // settled at its bound when the node comes back
			delete(h.open, id)
			h.spend(id, r, r.bound)
		}
	}
}

// change raises or lowers an amount. Lowering binds what was not given to a node yet, and what nodes hold without need once they have
// looked; what is left with dead ones stays theirs.
func (h *budgetHistory) change() {
	i := h.rand.IntN(2)
	b := *h.budgets[i]
	b.Amount = perToken * gatehouse.NanoUSD(10+h.rand.Int64N(400))
	h.note("%s has %d", b.ID, b.Amount)
	h.update(func(tx *store.Tx) error { return tx.SaveBudget(&b) })
	h.budgets[i] = &b
	h.chain = slices.Clone(h.budgets)
	for _, n := range h.nodes {
		if n.l != nil {
			h.refresh(n)
		}
	}
	for id, w := range h.wins {
		if id.Budget == b.ID {
			row := h.windowOf(&b, id.Start)
			w.ceiling = max(b.Amount, row.Allotted()-w.over)
		}
	}
}

// check holds every window to its amount.
func (h *budgetHistory) check() {
	for id, w := range h.wins {
		if sum := w.held + w.settled + w.kept; w.hard && sum > w.ceiling+w.over {
			h.t.Errorf("budget %s of %d: %d held, %d settled and %d kept, of which %d ran over its hold", id.Budget, w.ceiling, w.held, w.settled, w.kept, w.over)
		}
	}
}

// finish ends everything and compares what is counted.
func (h *budgetHistory) finish() {
	for _, n := range h.nodes {
		if n.l == nil {
			h.start(n)
		}
	}
	for len(h.open) > 0 {
		h.settle()
	}
	for _, n := range h.nodes {
		h.refresh(n)
	}
	for id, cost := range h.usage {
		h.view(func(tx *store.Tx) error {
			u, err := tx.Usage(id)
			if err != nil {
				h.t.Errorf("usage of %s: %v", id, err)
			} else if u.Cost != cost {
				h.t.Errorf("usage of %s costs %d, want %d", id, u.Cost, cost)
			}
			return nil
		})
	}
	for id, m := range h.wins {
		b := h.budgets[slices.IndexFunc(h.budgets, func(b *gatehouse.Budget) bool { return b.ID == id.Budget })]
		row := h.windowOf(b, id.Start)
		var used, open, kept gatehouse.NanoUSD
		for _, s := range row.Slices {
			used, open, kept = used+s.Used, open+s.Open, kept+s.Kept
		}
		if row.Seed+used != m.settled || open != m.held || kept != m.kept {
			h.t.Errorf("budget %s has counted %d (%d of it outside), open %d, kept %d; want %d, %d, %d", id.Budget, row.Seed+used, row.Seed, open, kept, m.settled, m.held, m.kept)
		}
	}
	var sum, usage gatehouse.NanoUSD
	for _, cost := range h.usage {
		usage += cost
	}
	for id, m := range h.wins {
		if id.Budget == h.budgets[0].ID {
			sum += m.settled
		}
	}
	if sum != usage {
		h.t.Errorf("the windows of a budget come to %d, usage to %d", sum, usage)
	}
}
