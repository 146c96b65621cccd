package admin

import (
	"context"
	"slices"

	"gatehouse"
	"gatehouse/internal/store"
)

// BudgetStatus is a budget and where its running window stands.
type BudgetStatus struct {
	gatehouse.Budget
	Start, End gatehouse.Millis  // of the window
	Now        gatehouse.NanoUSD // the amount, with the increases that last
	Spent      gatehouse.NanoUSD // settled, and the bounds of work that goes on
	Reserved   gatehouse.NanoUSD // what nodes have taken beyond that, for open requests and in advance
	Kept       gatehouse.NanoUSD // of requests whose usage is incomplete: it counts as spent until it is released
	Nodes      []BudgetNode
}

// BudgetNode is what one node has of a window.
type BudgetNode struct {
	Node    string
	Granted gatehouse.NanoUSD
	Used    gatehouse.NanoUSD // of it: settled, open work and kept
}

// Free returns what the node has for requests.
func (n *BudgetNode) Free() gatehouse.NanoUSD { return max(0, n.Granted-n.Used) }

// Remaining returns what can still be spent: below nothing where the amount was lowered below what was spent already.
func (s *BudgetStatus) Remaining() gatehouse.NanoUSD { return s.Now - s.Spent - s.Kept }

// Enforcing reports whether a hard budget refuses now whatever comes: what is left, should every open request turn out to cost nothing,
// is less than a cent.
func (s *BudgetStatus) Enforcing() bool {
	left := s.Remaining()
	return s.Enforcement == gatehouse.Hard && (left <= 0 || left < gatehouse.Cents && s.Now >= gatehouse.Cents)
}

// Budgets lists the organization's budgets, oldest first.
func (s *Service) Budgets(ctx context.Context, who *gatehouse.Principal) (list []BudgetStatus, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		budgets, err := tx.Budgets(who.Organization)
		if err != nil {
			return err
		}
		list, err = statusesOf(tx, who.Organization, budgets)
		return err
	})
	return list, err
}

// Budget returns a budget by id or name.
func (s *Service) Budget(ctx context.Context, who *gatehouse.Principal, ref string) (status *BudgetStatus, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		b, err := s.budget(tx, who, ref)
		if err != nil {
			return err
		}
		status, err = statusOf(tx, b)
		return err
	})
	return status, err
}

// statusOf returns where a budget's running window stands.
func statusOf(tx *store.Tx, b *gatehouse.Budget) (*BudgetStatus, error) {
	list, err := statusesOf(tx, b.Organization, []gatehouse.Budget{*b})
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

// statusesOf returns where the running windows of an organization's budgets stand.
func statusesOf(tx *store.Tx, organization string, budgets []gatehouse.Budget) ([]BudgetStatus, error) {
	zone, err := zoneOf(tx, organization)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(budgets))
	for i := range budgets {
		ids[i] = budgets[i].ID
	}
	rows, err := tx.BudgetWindows(ids, tx.Now)
	if err != nil {
		return nil, err
	}
	list := make([]BudgetStatus, len(budgets))
	for i := range budgets {
		s := &list[i]
		s.Budget, s.Now = budgets[i], budgets[i].AmountAt(tx.Now)
		s.Zone = zone
		s.Start, s.End = s.WindowAt(tx.Now)
		at := slices.IndexFunc(rows, func(r store.WindowRow) bool { return r.Window.Budget == s.ID && r.Window.Start == s.Start })
		if at < 0 {
			// Nothing was reserved in it yet. What was spent before the budget was made counts all the same.
			if s.Spent, err = tx.SpentOutside(&s.Budget, gatehouse.BudgetWindow{Budget: s.ID, Start: s.Start, End: s.End}); err != nil {
				return nil, err
			}
			continue
		}
		s.Spent = rows[at].Seed
		for _, n := range rows[at].Slices {
			s.Spent += n.Used + n.Open
			s.Kept += n.Kept
			s.Reserved += max(0, n.Granted-n.Spent())
			s.Nodes = append(s.Nodes, BudgetNode{Node: n.Node, Granted: n.Granted, Used: n.Spent()})
		}
	}
	return list, nil
}

// creditUse returns what counts against the budget of an organization's credits.
func creditUse(tx *store.Tx, c *gatehouse.Credits) (use, error) {
	var u use
	if c.Budget == "" {
		return u, nil
	}
	rows, err := tx.BudgetWindows([]string{c.Budget}, tx.Now)
	for i := range rows {
		u.settled += rows[i].Seed
		for _, n := range rows[i].Slices {
			u.settled += n.Used
			u.outstanding += max(n.Granted, n.Spent()) - n.Used
		}
	}
	return u, err
}

// Holds lists what is kept of requests whose usage is incomplete, of a budget by id or name, or where that is empty of the organization.
func (s *Service) Holds(ctx context.Context, who *gatehouse.Principal, ref string, page store.Page) (list []store.KeptHold, more bool, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		list = nil
		if ref == "" {
			list, more, err = tx.KeptHolds(who.Organization, page)
			return err
		}
		b, err := s.budget(tx, who, ref)
		if err != nil {
			return err
		}
		// Those of one budget are picked from all: few are kept at any time.
		limit := page.Limit
		for page.Limit = store.MaxPage; ; {
			all, further, err := tx.KeptHolds(who.Organization, page)
			if err != nil {
				return err
			}
			for i := range all {
				page.After = all[i].ID
				if !countsIn(&all[i], b.ID) {
					continue
				}
				if len(list) == limit {
					more = true
					return nil
				}
				list = append(list, all[i])
			}
			if !further {
				return nil
			}
		}
	})
	return list, more, err
}

func countsIn(k *store.KeptHold, budget string) bool {
	return slices.ContainsFunc(k.Windows, func(w gatehouse.BudgetWindow) bool { return w.Budget == budget })
}

// ReleaseHold ends a kept hold: what it kept is free again in every budget that it counts in. It is for an operator who knows that the
// provider charged no more than what was settled.
func (s *Service) ReleaseHold(ctx context.Context, who *gatehouse.Principal, id string) (k *store.KeptHold, err error) {
	ev := gatehouse.Event{Type: "budget.hold_released", Subject: gatehouse.SubjectNone, SubjectID: id}
	_, err = s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		if k, err = tx.ReleaseKept(who.Organization, id); err != nil {
			return hide(err, "kept hold", id)
		}
		tx.Event().Project = k.Project
		tx.Event().Change = detail(map[string]any{"amount_nano_usd": k.Amount, "key": k.Key, "model": k.Model, "node": k.Node})
		return nil
	})
	return k, err
}

// WriteOff gives back what a dead node holds unused of the organization's budgets. What it settled stays spent; what it had not written
// down before it died is lost to the budgets, unless it comes back under its name and replays its journal, which then counts on top.
func (s *Service) WriteOff(ctx context.Context, who *gatehouse.Principal, node string) (list []store.WriteOff, err error) {
	_, err = s.change(ctx, who, widens, gatehouse.Event{Type: "budget.written_off"}, func(tx *store.Tx) error {
		if list, err = tx.WriteOffSlices(who.Organization, node); err != nil {
			return err
		}
		if len(list) == 0 {
			return errUnchanged
		}
		sum := gatehouse.NanoUSD(0)
		for i := range list {
			sum += list[i].Released
		}
		tx.Event().Change = detail(map[string]any{"node": node, "windows": len(list), "released_nano_usd": sum})
		return nil
	})
	if err == errUnchanged {
		return nil, nil
	}
	return list, err
}
