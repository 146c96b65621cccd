package store

import (
	"context"
	"slices"
	"strings"

	"gatehouse"
)

// KeptHold is what stays reserved of a request whose usage is incomplete.
type KeptHold struct {
	ID           string // of the usage
	Organization string
	Project      string
	Key          string
	Model        string
	Node         string
	Amount       gatehouse.NanoUSD
	At           gatehouse.Millis // of the request
	Until        gatehouse.Millis // when the last of its windows ends, and with it the hold
	Windows      []gatehouse.BudgetWindow
}

const keptColumns = `id, organization, project, key_id, model, node, amount, at, until, budgets`

func scanKept(r row, k *KeptHold) error {
	var budgets []byte
	if err := r.Scan(&k.ID, &k.Organization, &k.Project, &k.Key, &k.Model, &k.Node, (*int64)(&k.Amount), (*int64)(&k.At), (*int64)(&k.Until), &budgets); err != nil {
		return err
	}
	return fromJSON("budgets", budgets, &k.Windows)
}

// KeptHolds returns a page of an organization's kept holds.
func (tx *Tx) KeptHolds(organization string, p Page) ([]KeptHold, bool, error) {
	l := list[KeptHold]{what: "kept holds", query: `SELECT ` + keptColumns + ` FROM kept_holds`, from: "kept_holds", age: "at", id: "id", scan: scanKept}
	l.scope.and("organization = ?", organization)
	return page(tx, l, p)
}

// ReleaseKept ends a kept hold: what it kept of budgets is free again at its node within a refresh. It returns what it was. One that is
// not there, of this organization, is NotFound.
func (tx *Tx) ReleaseKept(organization, id string) (*KeptHold, error) {
	const find = `SELECT ` + keptColumns + ` FROM kept_holds WHERE id = $1 AND organization = $2`
	const drop = `DELETE FROM kept_holds WHERE id = $1`
	const release = `UPDATE budget_slices SET kept = kept - $4 WHERE budget = $1 AND window_start = $2 AND node = $3`
	k, err := one(tx, "kept hold", id, scanKept, find, ident(id), organization)
	if err != nil {
		return nil, err
	}
	n, err := tx.exec("release kept hold "+id, drop, ident(id))
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, notFound("kept hold", id) // another released it
	}
	slices.SortFunc(k.Windows, func(a, b gatehouse.BudgetWindow) int { return strings.Compare(a.Budget, b.Budget) }) // every writer takes rows in one order
	for _, w := range k.Windows {
		if _, err := tx.exec("release kept hold "+id, release, w.Budget, int64(w.Start), k.Node, int64(k.Amount)); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// PruneKept deletes the kept holds whose windows have all ended, at most some at a time, and returns how many.
func (db *DB) PruneKept(ctx context.Context, now gatehouse.Millis) (n int64, err error) {
	const query = `DELETE FROM kept_holds WHERE id IN (SELECT id FROM kept_holds WHERE until <= $1 ORDER BY until, id LIMIT 1000)`
	err = db.retry(ctx, func() error {
		db.traced(query)
		done, err := db.record.ExecContext(ctx, query, int64(now))
		if err != nil {
			return db.fail("delete kept holds", err)
		}
		n, err = done.RowsAffected()
		return err
	})
	return n, err
}

// WriteOff is what a dead node's slice of a window gave back.
type WriteOff struct {
	Window   gatehouse.BudgetWindow
	Released gatehouse.NanoUSD
}

// WriteOffSlices gives back what a node holds unused of every window of an organization's budgets: what it spent, and what of its work
// goes on, stays charged. It is for a node that is dead and whose journal is lost; of one that is alive it is a Conflict, as far as the
// list of nodes tells. Should the node come back all the same, what it records counts, and may then go over the amount.
func (tx *Tx) WriteOffSlices(organization, node string) ([]WriteOff, error) {
	const find = `SELECT s.budget, s.window_start, s.granted - (s.used + s.open_work + s.kept) FROM budget_slices s JOIN budgets b ON b.id = s.budget
		WHERE s.node = $1 AND b.organization = $2 AND s.granted > s.used + s.open_work + s.kept ORDER BY s.budget, s.window_start`
	const write = `UPDATE budget_slices SET granted = used + open_work + kept WHERE budget = $1 AND window_start = $2 AND node = $3`
	if node == "" {
		return nil, gatehouse.InvalidParam("node", "Name the node whose slices are written off.")
	}
	nodes, err := tx.Nodes()
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		if strings.Contains(n.ID, "/"+node+"/") {
			return nil, gatehouse.Errorf(gatehouse.Conflict, "The node %s is on the list of nodes and may still spend what it holds. Stop it, or wait until the list forgets it, and write its slices off then.", node)
		}
	}
	list, err := all(tx, "slices", func(r row, w *WriteOff) error {
		return r.Scan(&w.Window.Budget, (*int64)(&w.Window.Start), (*int64)(&w.Released))
	}, find, node, organization)
	if err != nil {
		return nil, err
	}
	for _, w := range list {
		if _, err := tx.exec("write off a slice of budget "+w.Window.Budget, write, w.Window.Budget, int64(w.Window.Start), node); err != nil {
			return nil, err
		}
	}
	return list, nil
}
