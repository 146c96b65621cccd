package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"gatehouse"
)

// Finding is an alert to be raised, unless it was already: the mark of its rule and subject decides, in the transaction that writes
// the alert and what has to be delivered of it.
type Finding struct {
	Alert gatehouse.Alert
	// Mark names what is found, and Until says up to when it is not found again.
	Mark  string
	Until gatehouse.Millis
	// Channels are the ids of those that are to be told.
	Channels []string
	// Silent sets the mark and raises nothing: what a greater finding of the same moment tells already.
	Silent bool
}

// RaiseAlerts writes alerts that no other node, and no earlier look, has raised, each with its deliveries, and returns them. All of
// them commit together or none.
func (db *DB) RaiseAlerts(ctx context.Context, now gatehouse.Millis, findings []Finding) (raised []gatehouse.Alert, err error) {
	const mark = `INSERT INTO alert_marks (rule, subject, until) VALUES ($1, $2, $3)
		ON CONFLICT (rule, subject) DO UPDATE SET until = excluded.until WHERE alert_marks.until <= $4`
	if len(findings) == 0 {
		return nil, nil
	}
	err = db.measure(ctx, "raise alerts", func(w *writer) error {
		raised = nil
		for i := range findings {
			f := &findings[i]
			n, err := w.exec(mark, f.Alert.Rule, ident(f.Mark), int64(f.Until), int64(now))
			if err != nil {
				return err
			}
			if n == 0 || f.Silent {
				continue
			}
			if err := w.alert(&f.Alert, f.Channels); err != nil {
				return err
			}
			raised = append(raised, f.Alert)
		}
		return nil
	})
	return raised, err
}

// alert writes an alert and what has to be delivered of it.
func (w *writer) alert(a *gatehouse.Alert, channels []string) error {
	const insert = `INSERT INTO alerts (id, organization, at, action, acknowledged_at, acknowledged_by, body) VALUES ($1, $2, $3, $4, 0, '', $5)`
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if _, err := w.exec(insert, a.ID, a.Organization, int64(a.At), a.Action, string(body)); err != nil {
		return err
	}
	for _, channel := range channels {
		if _, err := w.exec(insertDelivery, gatehouse.NewID(gatehouse.PrefixAlertDelivery), a.Organization, a.ID, channel, int64(a.At)); err != nil {
			return err
		}
	}
	return nil
}

const insertDelivery = `INSERT INTO alert_deliveries (id, organization, alert, channel, state, tries, next, claimed_until, error, created_at, ended_at)
	VALUES ($1, $2, $3, $4, 'pending', 0, $5, 0, '', $5, 0)`

const (
	alertSelect    = `SELECT id, organization, at, action, acknowledged_at, acknowledged_by, body FROM alerts`
	deliverySelect = `SELECT id, organization, alert, channel, state, tries, next, error, created_at, ended_at FROM alert_deliveries`
)

func scanAlert(r row, a *gatehouse.Alert) error {
	var id, organization, action, by string
	var at, acknowledged int64
	var body []byte
	if err := r.Scan(&id, &organization, &at, &action, &acknowledged, &by, &body); err != nil {
		return err
	}
	if err := fromJSON("body", body, a); err != nil {
		return err
	}
	a.ID, a.Organization, a.At, a.Action = id, organization, gatehouse.Millis(at), action
	a.AcknowledgedAt, a.AcknowledgedBy = gatehouse.Millis(acknowledged), by
	return nil
}

func scanDelivery(r row, d *gatehouse.AlertDelivery) error {
	return r.Scan(&d.ID, &d.Organization, &d.Alert, &d.Channel, (*string)(&d.State), &d.Tries, (*int64)(&d.NextAt), &d.Error, (*int64)(&d.CreatedAt), (*int64)(&d.EndedAt))
}

// Alert returns one alert.
func (tx *Tx) Alert(id string) (*gatehouse.Alert, error) {
	return one(tx, "alert", id, scanAlert, alertSelect+` WHERE id = $1`, id)
}

// Alerts lists an organization's alerts by age. With open only those that nobody has acknowledged.
func (tx *Tx) Alerts(organization string, open bool, p Page) ([]gatehouse.Alert, bool, error) {
	l := list[gatehouse.Alert]{what: "alerts", query: alertSelect, from: "alerts", age: "at", id: "id", scan: scanAlert}
	l.scope.and("organization = ?", organization)
	if open {
		l.filter = l.scope.clone()
		l.filter.and("acknowledged_at = 0")
	}
	return page(tx, l, p)
}

// PendingActions returns up to limit alerts whose action is still to be taken, oldest first.
func (tx *Tx) PendingActions(limit int) ([]gatehouse.Alert, error) {
	return all(tx, "alerts", scanAlert, alertSelect+` WHERE action = 'pending' ORDER BY at, id LIMIT $1`, limit)
}

// AlertDeliveries returns the deliveries of one alert, oldest first.
func (tx *Tx) AlertDeliveries(alert string) ([]gatehouse.AlertDelivery, error) {
	return all(tx, "deliveries", scanDelivery, deliverySelect+` WHERE alert = $1 ORDER BY created_at, id`, alert)
}

// DeliveriesIn lists an organization's deliveries in a state by age.
func (tx *Tx) DeliveriesIn(organization string, state gatehouse.DeliveryState, p Page) ([]gatehouse.AlertDelivery, bool, error) {
	l := list[gatehouse.AlertDelivery]{what: "deliveries", query: deliverySelect, from: "alert_deliveries", age: "created_at", id: "id", scan: scanDelivery}
	l.scope.and("organization = ? AND state = ?", organization, string(state))
	return page(tx, l, p)
}

// AlertDelivery returns one delivery.
func (tx *Tx) AlertDelivery(id string) (*gatehouse.AlertDelivery, error) {
	return one(tx, "delivery", id, scanDelivery, deliverySelect+` WHERE id = $1`, id)
}

// CountDeliveries returns how many deliveries to channels wait, and when the longest began to. Whether a project's endpoint answers is its own
// matter.
func (tx *Tx) CountDeliveries() (pending int64, oldest gatehouse.Millis, err error) {
	if pending, err = tx.number("count deliveries", `SELECT COUNT(*) FROM alert_deliveries WHERE state = 'pending' AND substr(channel, 1, 4) <> 'whe_'`); err != nil || pending == 0 {
		return 0, 0, err
	}
	at, err := tx.number("find the oldest delivery", `SELECT COALESCE(MIN(created_at), 0) FROM alert_deliveries WHERE state = 'pending' AND substr(channel, 1, 4) <> 'whe_'`)
	return pending, gatehouse.Millis(at), err
}

// AcknowledgeAlert notes who has seen an alert. It is a part of a change, so that its event says so too.
func (tx *Tx) AcknowledgeAlert(id, by string) error {
	const query = `UPDATE alerts SET acknowledged_at = $2, acknowledged_by = $3 WHERE id = $1 AND acknowledged_at = 0`
	_, err := tx.exec("acknowledge alert "+id, query, id, int64(tx.Now), by)
	return err
}

// ReplayDelivery puts a delivery that was given up, or has ended, back into the queue under its own id.
func (tx *Tx) ReplayDelivery(id string) error {
	const query = `UPDATE alert_deliveries SET state = 'pending', tries = 0, next = $2, claimed_until = 0, error = '', ended_at = 0 WHERE id = $1 AND state <> 'pending'`
	_, err := tx.exec("replay delivery "+id, query, id, int64(tx.Now))
	return err
}

// CreateTestAlert writes an alert that tests a channel, with its delivery.
func (tx *Tx) CreateTestAlert(a *gatehouse.Alert, channel string) error {
	const insert = `INSERT INTO alerts (id, organization, at, action, acknowledged_at, acknowledged_by, body) VALUES ($1, $2, $3, '', 0, '', $4)`
	if _, err := tx.exec("test channel "+channel, insert, a.ID, a.Organization, int64(a.At), asJSON(a, 1)); err != nil {
		return err
	}
	_, err := tx.exec("test channel "+channel, insertDelivery, gatehouse.NewID(gatehouse.PrefixAlertDelivery), a.Organization, a.ID, channel, int64(a.At))
	return err
}

// EndAction notes what came of an alert's action. It changes nothing where that was noted already.
func (db *DB) EndAction(ctx context.Context, alert, outcome string) error {
	const query = `UPDATE alerts SET action = $2 WHERE id = $1 AND action = 'pending'`
	return db.measure(ctx, "end action of alert "+alert, func(w *writer) error {
		_, err := w.exec(query, alert, outcome)
		return err
	})
}

// DeliveryClaim says which deliveries a node asks for.
type DeliveryClaim struct {
	Now   gatehouse.Millis
	Until gatehouse.Millis // when the claim lapses, so that others may take what a dead node held
	Limit int
	// Endpoints asks for what goes to webhook endpoints of projects; otherwise it is for what goes to channels. Neither waits for the other.
	Endpoints bool
}

// ClaimDeliveries takes deliveries that are due and that nobody holds. Of nodes that ask at once each gets other rows.
func (db *DB) ClaimDeliveries(ctx context.Context, c DeliveryClaim) (claimed []gatehouse.AlertDelivery, err error) {
	due := `SELECT id FROM alert_deliveries WHERE state = 'pending' AND substr(channel, 1, 4) <> 'whe_' AND next <= $1 AND claimed_until <= $1 ORDER BY next, id LIMIT $2`
	if c.Endpoints {
		due = `SELECT id FROM alert_deliveries WHERE state = 'pending' AND substr(channel, 1, 4) = 'whe_' AND next <= $1 AND claimed_until <= $1 ORDER BY next, id LIMIT $2`
	}
	const claim = `UPDATE alert_deliveries SET claimed_until = $2, tries = tries + 1 WHERE id = $3 AND state = 'pending' AND next <= $1 AND claimed_until <= $1`
	var ids []string
	err = db.View(ctx, func(tx *Tx) (err error) {
		ids, err = all(tx, "deliveries", func(r row, id *string) error { return r.Scan(id) }, due, int64(c.Now), c.Limit)
		return err
	})
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	var mine []string
	err = db.measure(ctx, "claim deliveries", func(w *writer) error {
		mine = nil
		for _, id := range ids {
			n, err := w.exec(claim, int64(c.Now), int64(c.Until), id)
			if err != nil {
				return err
			}
			if n == 1 {
				mine = append(mine, id)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = db.View(ctx, func(tx *Tx) error {
		for _, id := range mine {
			d, err := tx.AlertDelivery(id)
			if err != nil {
				return err
			}
			claimed = append(claimed, *d)
		}
		return nil
	})
	return claimed, err
}

// EndDelivery notes what came of a try: d's State, NextAt and Error. It changes nothing where the delivery is no longer claimed for
// this try.
func (db *DB) EndDelivery(ctx context.Context, d *gatehouse.AlertDelivery) error {
	const query = `UPDATE alert_deliveries SET state = $2, next = $3, error = $4, ended_at = $5, claimed_until = 0 WHERE id = $1 AND state = 'pending' AND tries = $6`
	return db.measure(ctx, "end delivery "+d.ID, func(w *writer) error {
		_, err := w.exec(query, d.ID, string(d.State), int64(d.NextAt), d.Error, int64(d.EndedAt), d.Tries)
		return err
	})
}

// AlertRetention says what is deleted: everything older than these moments.
type AlertRetention struct {
	Alerts   gatehouse.Millis
	Activity gatehouse.Millis
	Networks gatehouse.Millis // not used since
	Marks    gatehouse.Millis // that ended before
}

// PruneAlerts deletes what is old, in transactions of a bounded size.
func (db *DB) PruneAlerts(ctx context.Context, r AlertRetention) error {
	const oldAlerts = `SELECT id FROM alerts WHERE at < $1 ORDER BY at, id LIMIT 500`
	steps := []struct {
		queries []string
		before  gatehouse.Millis
	}{
		{[]string{`DELETE FROM alert_deliveries WHERE alert IN (` + oldAlerts + `)`, `DELETE FROM alerts WHERE id IN (` + oldAlerts + `)`}, r.Alerts},
		{[]string{`DELETE FROM alert_deliveries WHERE alert IN (SELECT id FROM project_events WHERE at < $1 ORDER BY at, id LIMIT 500)`,
			`DELETE FROM project_events WHERE id IN (SELECT id FROM project_events WHERE at < $1 ORDER BY at, id LIMIT 500)`}, r.Alerts},
		{[]string{`DELETE FROM activity WHERE hour = (SELECT MIN(hour) FROM activity WHERE hour < $1)`}, r.Activity},
		{[]string{`DELETE FROM key_networks WHERE last_at < $1`}, r.Networks},
		{[]string{`DELETE FROM alert_marks WHERE until < $1`}, r.Marks},
	}
	for _, step := range steps {
		for touched := int64(1); touched > 0; {
			err := db.measure(ctx, "prune alerts", func(w *writer) (err error) {
				for _, query := range step.queries {
					if touched, err = w.exec(query, int64(step.before)); err != nil {
						return fmt.Errorf("%s: %w", strings.Fields(query)[2], err)
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
