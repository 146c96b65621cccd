package store

import (
	"context"
	"encoding/json"
	"slices"

	"gatehouse"
)

const endpointSelect = `SELECT id, organization, project, name, url, event_types, secret, old_secret, old_until, hint, created_at, updated_at, removed_at, rev FROM webhook_endpoints`

func scanEndpoint(r row, e *gatehouse.WebhookEndpoint) error {
	var types []byte
	if err := r.Scan(&e.ID, &e.Organization, &e.Project, &e.Name, &e.URL, &types, &e.Secret, &e.OldSecret, (*int64)(&e.OldUntil), &e.Hint,
		(*int64)(&e.CreatedAt), (*int64)(&e.UpdatedAt), (*int64)(&e.RemovedAt), &e.Rev); err != nil {
		return err
	}
	return fromJSON("event_types", types, &e.EventTypes)
}

// CreateWebhookEndpoint stores a new endpoint and sets its Rev, and CreatedAt and UpdatedAt where they are 0.
func (tx *Tx) CreateWebhookEndpoint(e *gatehouse.WebhookEndpoint) error {
	const query = `INSERT INTO webhook_endpoints (id, organization, project, name, url, event_types, secret, old_secret, old_until, hint, created_at, updated_at, removed_at, rev)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1)`
	tx.stamp(&e.CreatedAt)
	tx.stamp(&e.UpdatedAt)
	return tx.create("webhook endpoint", e.ID, &e.Rev, query, e.ID, e.Organization, e.Project, e.Name, e.URL, asJSON(e.EventTypes, len(e.EventTypes)), e.Secret, e.OldSecret, int64(e.OldUntil), e.Hint,
		int64(e.CreatedAt), int64(e.UpdatedAt), int64(e.RemovedAt))
}

// SaveWebhookEndpoint stores a changed endpoint: everything but ID, Organization, Project and CreatedAt. RemovedAt, once set, stays.
func (tx *Tx) SaveWebhookEndpoint(e *gatehouse.WebhookEndpoint) error {
	const query = `UPDATE webhook_endpoints SET rev = rev + 1, name = $3, url = $4, event_types = $5, secret = $6, old_secret = $7, old_until = $8, hint = $9, updated_at = $10, removed_at = $11
		WHERE id = $1 AND rev = $2 AND (removed_at = 0 OR removed_at = $11)`
	const exists = `SELECT rev FROM webhook_endpoints WHERE id = $1`
	return tx.save("webhook endpoint", e.ID, &e.Rev, query, exists, e.Name, e.URL, asJSON(e.EventTypes, len(e.EventTypes)), e.Secret, e.OldSecret, int64(e.OldUntil), e.Hint, int64(e.UpdatedAt), int64(e.RemovedAt))
}

// WebhookEndpoint returns an endpoint, removed or not.
func (tx *Tx) WebhookEndpoint(id string) (*gatehouse.WebhookEndpoint, error) {
	return one(tx, "webhook endpoint", id, scanEndpoint, endpointSelect+` WHERE id = $1`, id)
}

// WebhookEndpoints returns a page of a project's endpoints without removed ones.
func (tx *Tx) WebhookEndpoints(project string, p Page) ([]gatehouse.WebhookEndpoint, bool, error) {
	l := list[gatehouse.WebhookEndpoint]{what: "webhook endpoints", query: endpointSelect, from: "webhook_endpoints", age: "created_at", id: "id", scan: scanEndpoint}
	l.scope.and("project = ?", project)
	l.filter = l.scope.clone()
	l.filter.and("removed_at = 0")
	return page(tx, l, p)
}

// EachWebhookEndpoint calls fn with every endpoint, removed ones too, in no order.
func (tx *Tx) EachWebhookEndpoint(fn func(*gatehouse.WebhookEndpoint) error) error {
	return each(tx, "webhook endpoints", scanEndpoint, fn, endpointSelect)
}

// ProjectEvent returns an event that endpoints are told of.
func (tx *Tx) ProjectEvent(id string) (*gatehouse.ProjectEvent, error) {
	const query = `SELECT id, organization, project, type, data, at FROM project_events WHERE id = $1`
	return one(tx, "project event", id, func(r row, e *gatehouse.ProjectEvent) error {
		var data []byte
		err := r.Scan(&e.ID, &e.Organization, &e.Project, &e.Type, &data, (*int64)(&e.At))
		e.Data = json.RawMessage(slices.Clone(data))
		return err
	}, query, id)
}

// RaiseProjectEvent writes an event, unless it was written already, and with it what has to be delivered of it: a message for each
// endpoint of its project that asks for its type. raised says that there is any. Nothing is written where no endpoint asks.
func (db *DB) RaiseProjectEvent(ctx context.Context, ev *gatehouse.ProjectEvent) (raised bool, err error) {
	const insert = `INSERT INTO project_events (id, organization, project, type, data, at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING`
	var to []string
	err = db.View(ctx, func(tx *Tx) error {
		list, _, err := tx.WebhookEndpoints(ev.Project, Page{Limit: gatehouse.MaxWebhookEndpoints})
		for i := range list {
			if slices.Contains(list[i].EventTypes, ev.Type) {
				to = append(to, list[i].ID)
			}
		}
		return err
	})
	if err != nil || len(to) == 0 {
		return false, err
	}
	err = db.measure(ctx, "raise project event", func(w *writer) error {
		n, err := w.exec(insert, ev.ID, ev.Organization, ev.Project, ev.Type, string(ev.Data), int64(ev.At))
		if err != nil || n == 0 {
			return err
		}
		raised = true
		for _, endpoint := range to {
			if _, err := w.exec(insertDelivery, gatehouse.NewID(gatehouse.PrefixAlertDelivery), ev.Organization, ev.ID, endpoint, int64(ev.At)); err != nil {
				return err
			}
		}
		return nil
	})
	return raised && err == nil, err
}
