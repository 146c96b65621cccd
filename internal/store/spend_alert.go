package store

import (
	"fmt"

	"gatehouse"
)

const spendAlertSelect = `SELECT id, organization, project, threshold, recipients, subject_prefix, created_at, removed_at, rev FROM spend_alerts`

func scanSpendAlert(r row, a *gatehouse.SpendAlert) error {
	var recipients []byte
	if err := r.Scan(&a.ID, &a.Organization, (*text)(&a.Project), (*int64)(&a.Threshold), &recipients, &a.SubjectPrefix, (*int64)(&a.CreatedAt),
		(*int64)(&a.RemovedAt), &a.Rev); err != nil {
		return err
	}
	if err := fromJSON("recipients", recipients, &a.Recipients); err != nil {
		return fmt.Errorf("spend alert %s: %w", a.ID, err)
	}
	return nil
}

// CreateSpendAlert stores a new spend alert and sets its Rev, and CreatedAt where it is 0. Its project, if any, must exist in its
// organization.
func (tx *Tx) CreateSpendAlert(a *gatehouse.SpendAlert) error {
	const query = `INSERT INTO spend_alerts (id, organization, project, threshold, recipients, subject_prefix, created_at, removed_at, rev)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1)`
	tx.stamp(&a.CreatedAt)
	return tx.create("spend alert", a.ID, &a.Rev, query, a.ID, a.Organization, null(a.Project), int64(a.Threshold), asJSON(a.Recipients, len(a.Recipients)),
		a.SubjectPrefix, int64(a.CreatedAt), int64(a.RemovedAt))
}

// SaveSpendAlert stores a changed spend alert: Threshold, Recipients, SubjectPrefix and RemovedAt, which stays once set.
func (tx *Tx) SaveSpendAlert(a *gatehouse.SpendAlert) error {
	const query = `UPDATE spend_alerts SET rev = rev + 1, threshold = $3, recipients = $4, subject_prefix = $5, removed_at = $6
		WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $6)`
	const exists = `SELECT rev FROM spend_alerts WHERE id = $1`
	return tx.save("spend alert", a.ID, &a.Rev, query, exists, int64(a.Threshold), asJSON(a.Recipients, len(a.Recipients)), a.SubjectPrefix, int64(a.RemovedAt))
}

// SpendAlert returns a spend alert, removed or not.
func (tx *Tx) SpendAlert(id string) (*gatehouse.SpendAlert, error) {
	return one(tx, "spend alert", id, scanSpendAlert, spendAlertSelect+` WHERE id = $1`, id)
}

// SpendAlerts returns a page of a project's spend alerts, or where project is empty of the organization's own, without removed ones.
func (tx *Tx) SpendAlerts(organization, project string, p Page) ([]gatehouse.SpendAlert, bool, error) {
	l := list[gatehouse.SpendAlert]{what: "spend alerts", query: spendAlertSelect, from: "spend_alerts", age: "created_at", id: "id", scan: scanSpendAlert}
	if project == "" {
		l.scope.and("project IS NULL AND organization = ?", organization)
	} else {
		l.scope.and("organization = ? AND project = ?", organization, project)
	}
	l.filter = l.scope.clone()
	l.filter.and("removed_at = 0")
	return page(tx, l, p)
}

// EachSpendAlert calls fn with every spend alert, removed ones too, in no order.
func (tx *Tx) EachSpendAlert(fn func(*gatehouse.SpendAlert) error) error {
	return each(tx, "spend alerts", scanSpendAlert, fn, spendAlertSelect)
}
