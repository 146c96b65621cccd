package budget

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// Config is what Accounts need. Every field but Everywhere is required.
type Config struct {
	DB *store.DB
	// Node is whose slices these are. It belongs to the journal: whoever has the one has the other.
	Node   string
	Now    func() time.Time
	Logger *slog.Logger
	// Quiet returns when nothing is being recorded, and everything of earlier processes is, and keeps it so until release is called.
	Quiet func(ctx context.Context) (release func(), err error)
	// Everywhere reports, of a database that was restored from a backup, whether every node knows. nil: there is no other.
	Everywhere func(ctx context.Context) bool
}

// Accounts are what a node may spend. Their methods may be called from any goroutine but where they say otherwise.
type Accounts struct {
	cfg   Config
	stats counters
	// pruned is when kept holds were last deleted; Refresh's own.
	pruned gatehouse.Millis

	mu      sync.Mutex
	budgets map[string]*account
	windows map[windowID]*window
	chains  map[**gatehouse.Budget]*Chain // by the first of a request's budgets in the slice that the catalog made
	epoch   int64                         // of the database; -1: not known
	held    bool                          // no slices are taken: the database was restored and not every node knows
}

// account is a budget that this node has met.
type account struct {
	budget *gatehouse.Budget // the newest that was seen
}

type windowID struct {
	budget string
	start  gatehouse.Millis
}

// window is one window of a budget, as far as this node has to do with it. Its fields are guarded by Accounts.mu but for turn.
//
// What the node may still hold is granted - spent - pending - held.
type window struct {
	id      gatehouse.BudgetWindow
	account *account
	turn    chan struct{} // one token: whoever has it talks to the database about this window

	loaded  bool
	granted gatehouse.NanoUSD // this node's slice
	spent   gatehouse.NanoUSD // of it, as recorded: settled, bounds of open work, kept
	pending gatehouse.NanoUSD // settled and not recorded yet
	held    gatehouse.NanoUSD // by open requests

	others  gatehouse.NanoUSD // what was spent without this node's slice, as of the last look
	left    gatehouse.NanoUSD // what nobody has been granted, as of the last look
	amount  gatehouse.NanoUSD // of the budget, as of the last look
	looked  gatehouse.Millis  // when that was; 0: never
	recall  int64             // the last recall that was answered
	tight   gatehouse.Millis  // until then nobody takes more than is needed
	wanted  gatehouse.NanoUSD // what waiting requests need
	refused gatehouse.NanoUSD // the least that was refused lately
	until   gatehouse.Millis  // until then it is refused again without asking
	failed  gatehouse.Millis  // until then the database is not asked again
	used    gatehouse.Millis  // when it was last held of
}

// New returns accounts that know nothing yet.
func New(cfg Config) *Accounts {
	return &Accounts{cfg: cfg, budgets: map[string]*account{}, windows: map[windowID]*window{}, chains: map[**gatehouse.Budget]*Chain{}, epoch: -1}
}

func (w *window) hard() bool { return w.account.budget.Enforcement != gatehouse.Soft }

func (w *window) free() gatehouse.NanoUSD { return w.granted - w.spent - w.pending - w.held }

// owed is what the node has spent and holds.
func (w *window) owed() gatehouse.NanoUSD { return w.spent + w.pending + w.held }

// Chain is the budgets that bind a request, each in the window that the request was made in, and the node whose slices it spends. It is
// shared by the requests of a key, and immutable but for Segment.
type Chain struct {
	Node    string
	Windows []gatehouse.BudgetWindow
	// Number is this chain's and no other's in this process, and not 0. The journal's records name the chain by it.
	Number uint64
	// Segment is the last of the journal's segments that was told what Number stands for; 0: none. The journal's mutex guards it.
	Segment uint64

	windows []*window // the same; none of NewChain's
	from    gatehouse.Millis
	to      gatehouse.Millis
}

var lastNumber atomic.Uint64 // of a chain

// NewChain returns a chain of windows that this process holds nothing in, as one that was read from a journal or a database: what counts
// in it counts there alone.
func NewChain(node string, windows []gatehouse.BudgetWindow) *Chain {
	return &Chain{Node: node, Windows: windows, Number: lastNumber.Add(1)}
}

// maxChains bounds the chains that are kept.
const maxChains = 1 << 18

// chain returns the chain of budgets at a time. The caller holds mu.
func (a *Accounts) chain(budgets []*gatehouse.Budget, at gatehouse.Millis) *Chain {
	c := a.chains[&budgets[0]]
	if c != nil && c.from <= at && at < c.to {
		return c
	}
	c = NewChain(a.cfg.Node, nil)
	c.from, c.to = -1<<63, 1<<63-1
	for _, b := range budgets {
		w := a.window(b, at)
		c.windows = append(c.windows, w)
		c.Windows = append(c.Windows, w.id)
		c.from, c.to = max(c.from, w.id.Start), min(c.to, w.id.End)
	}
	if len(a.chains) >= maxChains {
		clear(a.chains)
	}
	a.chains[&budgets[0]] = c
	return c
}

// window returns a budget's window at a time. The caller holds mu.
func (a *Accounts) window(b *gatehouse.Budget, at gatehouse.Millis) *window {
	acct := a.budgets[b.ID]
	if acct == nil {
		acct = &account{budget: b}
		a.budgets[b.ID] = acct
	}
	if b.Rev >= acct.budget.Rev {
		acct.budget = b
	}
	start, end := acct.budget.WindowAt(at)
	if at < start {
		end = start // before there were credits: nothing is in it
	}
	id := windowID{b.ID, start}
	w := a.windows[id]
	if w == nil {
		w = &window{id: gatehouse.BudgetWindow{Budget: b.ID, Start: start, End: end}, account: acct, turn: make(chan struct{}, 1)}
		w.turn <- struct{}{}
		a.windows[id] = w
	}
	return w
}

// Reserve holds bound of every budget, or of none, and returns the chain it is held in: nil where there are no budgets. What soft budgets
// hold is only counted. An error is a refusal, or gatehouse.Unavailable when nobody can say.
func (a *Accounts) Reserve(ctx context.Context, budgets []*gatehouse.Budget, at gatehouse.Millis, bound gatehouse.NanoUSD) (*Chain, error) {
	if len(budgets) == 0 {
		return nil, nil
	}
	a.mu.Lock()
	c := a.chain(budgets, at)
	lacking := c.hold(bound, at)
	a.mu.Unlock()
	if lacking == nil {
		return c, nil
	}
	return c, a.wait(ctx, c, lacking, bound)
}

// Extend holds more of every budget of a chain, or of none.
func (a *Accounts) Extend(ctx context.Context, c *Chain, more gatehouse.NanoUSD) error {
	if c == nil || len(c.windows) == 0 {
		return nil
	}
	a.mu.Lock()
	lacking := c.hold(more, 0)
	a.mu.Unlock()
	if lacking == nil {
		return nil
	}
	return a.wait(ctx, c, lacking, more)
}

// hold holds n of every window, or of none and returns the first that lacks it. The caller holds Accounts.mu.
func (c *Chain) hold(n gatehouse.NanoUSD, at gatehouse.Millis) (lacking *window) {
	for _, w := range c.windows {
		if n > 0 && w.free() < n && w.hard() {
			return w
		}
	}
	for _, w := range c.windows {
		w.held += n
		if at > w.used {
			w.used = at
		}
	}
	return nil
}

// Settle ends a hold of bound: what of it was spent counts from now on. kept is part of spent. A chain of NewChain's counts in the database
// alone.
func (a *Accounts) Settle(c *Chain, bound, spent gatehouse.NanoUSD) {
	if c == nil || len(c.windows) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range c.windows {
		w.held -= bound
		w.pending += spent
	}
	if over := spent - bound; over > 0 {
		a.stats.overrun += over
	}
}

// Recorded says that the database has what was settled in some windows: it was pending. Call it while nothing else is being recorded.
func (a *Accounts) Recorded(windows []gatehouse.BudgetWindow, spent gatehouse.NanoUSD) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range windows {
		if w := a.windows[windowID{id.Budget, id.Start}]; w != nil {
			w.pending -= spent
			w.spent += spent
		}
	}
}
