package store

import (
	"cmp"
	"database/sql"
	"maps"
	"slices"

	"gatehouse"
)

// Charge is what a settled request costs the budgets that bound it.
type Charge struct {
	Usage   string            // the id of the usage in the same batch; it counts where that counts for the first time
	Node    string            // whose slices it counts in
	Cost    gatehouse.NanoUSD // what counts of it: 0 where there is no price
	Kept    gatehouse.NanoUSD // what stays reserved beside, because the usage is incomplete
	Windows []gatehouse.BudgetWindow
}

// sliceKey is a node's slice of a budget's window.
type sliceKey struct {
	budget string
	start  gatehouse.Millis
	node   string
}

func (k sliceKey) compare(o sliceKey) int {
	return cmp.Or(cmp.Compare(k.budget, o.budget), cmp.Compare(k.start, o.start), cmp.Compare(k.node, o.node))
}

// spending is what a batch adds to a slice.
type spending struct{ used, open, kept gatehouse.NanoUSD }

func (r *recorder) spend(node string, windows []gatehouse.BudgetWindow, s spending) {
	if r.spent == nil {
		r.spent, r.ends = map[sliceKey]spending{}, map[sliceKey]gatehouse.Millis{}
	}
	for _, w := range windows {
		r.ends[sliceKey{budget: w.Budget, start: w.Start}] = w.End
		k := sliceKey{w.Budget, w.Start, node}
		have := r.spent[k]
		r.spent[k] = spending{have.used + s.used, have.open + s.open, have.kept + s.kept}
	}
}

var insertKeptHolds = insert{op: "record kept holds", columns: 10,
	head: `INSERT INTO kept_holds (id, organization, project, key_id, model, node, amount, at, until, budgets) VALUES `,
	tail: ` ON CONFLICT (id) DO NOTHING`}

var insertSpending = insert{op: "record what was spent of budgets", columns: 7,
	head: `INSERT INTO budget_slices (budget, window_start, node, used, open_work, kept, granted) VALUES `,
	tail: ` ON CONFLICT (budget, window_start, node) DO UPDATE SET used = budget_slices.used + excluded.used,
		open_work = budget_slices.open_work + excluded.open_work, kept = budget_slices.kept + excluded.kept`}

// A window without its row is one of a soft budget that no node has looked at yet: it is seeded when one does (seeded_at is 0).
var insertWindows = insert{op: "record budget windows", columns: 7,
	head: `INSERT INTO budget_windows (budget, window_start, window_end, seed, seeded_at, recall, created_at) VALUES `,
	tail: ` ON CONFLICT (budget, window_start) DO NOTHING`}

// charges counts, in the slices of the node that spent it, what this batch recorded for the first time. It is the last part of a batch:
// the ones before say what is new.
func (r *recorder) charges(b *Batch) error {
	kept := map[string]*Charge{}
	var last *Charge // most often the next one counts in the same windows
	var sum spending
	for i := range b.Charges {
		c := &b.Charges[i]
		id := ident(c.Usage)
		if !r.settled[id] || len(c.Windows) == 0 {
			continue
		}
		r.settled[id] = false // it is charged once
		if last != nil && (&last.Windows[0] != &c.Windows[0] || len(last.Windows) != len(c.Windows) || last.Node != c.Node) {
			r.spend(last.Node, last.Windows, sum)
			sum = spending{}
		}
		last = c
		sum.used, sum.kept = sum.used+c.Cost, sum.kept+c.Kept
		if c.Kept > 0 {
			kept[id] = c
		}
	}
	if last != nil {
		r.spend(last.Node, last.Windows, sum)
	}
	if len(kept) > 0 {
		usage := make(map[string]*gatehouse.Usage, len(b.Usage))
		for i := range b.Usage {
			if id := ident(b.Usage[i].ID); usage[id] == nil {
				usage[id] = &b.Usage[i]
			}
		}
		err := insertKeptHolds.run(r, slices.Sorted(maps.Keys(kept)), func(id string) []any {
			c, u := kept[id], usage[id]
			until := gatehouse.Millis(0)
			for _, w := range c.Windows {
				until = max(until, w.End)
			}
			return []any{id, label(u.Organization), label(u.Project), label(u.Key), label(u.Model), c.Node, int64(c.Kept), int64(u.At), int64(until),
				asJSON(c.Windows, len(c.Windows))}
		}, nil)
		if err != nil {
			return err
		}
	}
	windows := slices.SortedFunc(maps.Keys(r.ends), sliceKey.compare)
	now := r.db.now().UnixMilli()
	err := insertWindows.rows(r, len(windows), func(args []any, i int) []any {
		w := windows[i]
		return append(args, w.budget, int64(w.start), int64(r.ends[w]), 0, 0, 0, now)
	}, nil)
	if err != nil {
		return err
	}
	keys := slices.SortedFunc(maps.Keys(r.spent), sliceKey.compare)
	return insertSpending.rows(r, len(keys), func(args []any, i int) []any {
		k := keys[i]
		s := r.spent[k]
		return append(args, k.budget, int64(k.start), k.node, int64(s.used), int64(s.open), int64(s.kept), 0)
	}, nil)
}

// endedWork notes that work is over: its bound counts no more, what it cost does.
func (r *recorder) endedWork(rows *sql.Rows, replayed bool) error {
	var bound int64
	var node string
	var budgets []byte
	if err := rows.Scan(&bound, &node, &budgets); err != nil {
		return err
	}
	var windows []gatehouse.BudgetWindow
	if err := fromJSON("budgets", budgets, &windows); err != nil {
		return err
	}
	if !replayed {
		r.spend(node, windows, spending{open: -gatehouse.NanoUSD(bound)})
	}
	return nil
}
