package store

import (
	"encoding/json"
	"errors"
	"fmt"

	"gatehouse"
)

func scanRequest(r row, q *gatehouse.Request) error {
	var body []byte
	if err := r.Scan(&body); err != nil {
		return err
	}
	if err := json.Unmarshal(body, q); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	return nil
}

// Request returns the record of one request, by our id or else by the id its client gave it (the newest, where a client gave it
// more than once). Clients choose their ids as they like: a caller that answers for one organization uses Requests with
// ClientRequestID, which another organization's requests cannot hide.
func (tx *Tx) Request(id string) (*gatehouse.Request, error) {
	const byID = `SELECT body FROM requests WHERE id = $1`
	const byClient = `SELECT body FROM requests WHERE client_request_id = $1 AND client_request_id <> '' ORDER BY at DESC, id DESC LIMIT 1`
	q, err := one(tx, "request", id, scanRequest, byID, ident(id))
	if e, ok := errors.AsType[*gatehouse.Error](err); ok && e.Kind == gatehouse.NotFound {
		return one(tx, "request", id, scanRequest, byClient, ident(id))
	}
	return q, err
}

// RequestFilter says which requests Requests lists. Organization must be set; what else is set must hold too.
type RequestFilter struct {
	Organization    string
	Project         string
	Key             string
	ClientRequestID string
	Since           gatehouse.Millis // inclusive
	Until           gatehouse.Millis // exclusive; 0: no end
}

// Requests returns a page of request records, ordered by time.
func (tx *Tx) Requests(f RequestFilter, p Page) ([]gatehouse.Request, bool, error) {
	if f.Organization == "" {
		return nil, false, errors.New("list requests: a filter without an organization")
	}
	l := list[gatehouse.Request]{what: "requests", query: `SELECT body FROM requests`, from: "requests", age: "at", id: "id", scan: scanRequest}
	l.scope.and("organization = ?", f.Organization)
	l.filter = l.scope.clone()
	if f.Project != "" {
		l.filter.and("project = ?", f.Project)
	}
	if f.Key != "" {
		l.filter.and("key_id = ? AND key_id <> ''", f.Key)
	}
	if f.ClientRequestID != "" {
		l.filter.and("client_request_id = ? AND client_request_id <> ''", ident(f.ClientRequestID))
	}
	if f.Since != 0 {
		l.filter.and("at >= ?", int64(f.Since))
	}
	if f.Until != 0 {
		l.filter.and("at < ?", int64(f.Until))
	}
	return page(tx, l, p)
}
