package store

import "gatehouse"

const budgetSelect = `SELECT id, organization, name, kind, scope, subject, amount, period, start_day, start_month, enforcement, uncapped, unknown_price,
	increases, alerts, created_at, removed_at, rev FROM budgets`

func scanBudget(r row, b *gatehouse.Budget) error {
	var increases, alerts []byte
	if err := r.Scan(&b.ID, &b.Organization, &b.Name, (*string)(&b.Kind), (*string)(&b.Scope), &b.Subject, (*int64)(&b.Amount), (*string)(&b.Window.Period), &b.Window.StartDay,
		&b.Window.StartMonth, (*string)(&b.Enforcement), (*string)(&b.Uncapped), (*string)(&b.UnknownPrice), &increases, &alerts,
		(*int64)(&b.CreatedAt), (*int64)(&b.RemovedAt), &b.Rev); err != nil {
		return err
	}
	if err := fromJSON("increases", increases, &b.Increases); err != nil {
		return err
	}
	return fromJSON("alerts", alerts, &b.Alerts)
}

// CreateBudget stores a new budget and sets its Rev, and CreatedAt where it is 0. A second live budget of the same name in the
// organization is a Conflict, and so is a second one of credits, and a second spend limit of one scope and subject.
func (tx *Tx) CreateBudget(b *gatehouse.Budget) error {
	const query = `INSERT INTO budgets (id, organization, name, kind, scope, subject, amount, period, start_day, start_month, enforcement, uncapped, unknown_price,
		increases, alerts, created_at, removed_at, rev) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, 1)`
	tx.stamp(&b.CreatedAt)
	return tx.create("budget", b.ID, &b.Rev, query, b.ID, b.Organization, b.Name, string(b.Kind), string(b.Scope), b.Subject, int64(b.Amount), string(b.Window.Period),
		b.Window.StartDay, b.Window.StartMonth, string(b.Enforcement), string(b.Uncapped), string(b.UnknownPrice), asJSON(b.Increases, len(b.Increases)),
		asJSON(b.Alerts, len(b.Alerts)), int64(b.CreatedAt), int64(b.RemovedAt))
}

// SaveBudget stores a changed budget: everything but ID, Organization, Kind, Scope, Subject and CreatedAt. RemovedAt, once set,
// stays. What was spent is kept apart and is never touched by it.
func (tx *Tx) SaveBudget(b *gatehouse.Budget) error {
	const query = `UPDATE budgets SET rev = rev + 1, name = $3, amount = $4, period = $5, start_day = $6, start_month = $7, enforcement = $8, uncapped = $9,
		unknown_price = $10, increases = $11, alerts = $12, removed_at = $13 WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $13)`
	const exists = `SELECT rev FROM budgets WHERE id = $1`
	return tx.save("budget", b.ID, &b.Rev, query, exists, b.Name, int64(b.Amount), string(b.Window.Period), b.Window.StartDay, b.Window.StartMonth,
		string(b.Enforcement), string(b.Uncapped), string(b.UnknownPrice), asJSON(b.Increases, len(b.Increases)), asJSON(b.Alerts, len(b.Alerts)), int64(b.RemovedAt))
}

// Budget returns a budget, removed or not, without its Zone.
func (tx *Tx) Budget(id string) (*gatehouse.Budget, error) {
	return one(tx, "budget", id, scanBudget, budgetSelect+` WHERE id = $1`, id)
}

// BudgetsNamed returns the budgets of some ids, removed or not, without their Zone, in no order.
func (tx *Tx) BudgetsNamed(ids []string) ([]gatehouse.Budget, error) {
	var out []gatehouse.Budget
	for len(ids) > 0 {
		n := min(len(ids), 200)
		var sel selection
		sel.in("id", ids[:n])
		ids = ids[n:]
		some, err := all(tx, "budgets", scanBudget, budgetSelect+" WHERE "+sel.where[0], sel.args...)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return out, nil
}

// Budgets returns an organization's budgets without removed ones and without their Zone, oldest first.
func (tx *Tx) Budgets(organization string) ([]gatehouse.Budget, error) {
	return all(tx, "budgets", scanBudget, budgetSelect+` WHERE organization = $1 AND removed_at = 0 ORDER BY created_at, id`, organization)
}

// EachBudget calls fn with every budget, removed ones too, in no order, without its Zone.
func (tx *Tx) EachBudget(fn func(*gatehouse.Budget) error) error {
	return each(tx, "budgets", scanBudget, fn, budgetSelect)
}
