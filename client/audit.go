package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/url"
	"strconv"
	"time"
)

// AuditLog is one audited change.
type AuditLog struct {
	Answer
	ID          string `json:"id"`
	Type        string `json:"type"`
	EffectiveAt int64  `json:"effective_at"` // unix seconds
	Project     struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"project"`
	Actor *struct {
		APIKey struct {
			ID   string `json:"id"`
			User struct {
				ID    string `json:"id"`
				Email string `json:"email"`
			} `json:"user"`
			ServiceAccount struct {
				ID string `json:"id"`
			} `json:"service_account"`
		} `json:"api_key"`
	} `json:"actor"`
	Gatehouse struct {
		Seq       int64  `json:"seq"` // the place in the one order of all changes
		Actor     string `json:"actor"`
		IPAddress string `json:"ip_address"`
		UserAgent string `json:"user_agent"`
		RequestID string `json:"request_id"`
	} `json:"gatehouse"`
}

// By returns who did it, by the most telling name there is: an address, else an id, else the kind of actor.
func (l *AuditLog) By() string {
	if l.Actor == nil {
		return l.Gatehouse.Actor
	}
	for _, name := range []string{l.Actor.APIKey.User.Email, l.Actor.APIKey.User.ID, l.Actor.APIKey.ServiceAccount.ID} {
		if name != "" {
			return name
		}
	}
	return l.Actor.APIKey.ID
}

// Payload returns what happened, as the member of the event's type has it; nil where there is none.
func (l *AuditLog) Payload() json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(l.JSON, &members) != nil {
		return nil
	}
	return members[l.Type]
}

// AuditQuery says which changes are meant. What is empty does not filter; of several values one is enough.
type AuditQuery struct {
	Types, Projects, Actors, Emails, Resources []string  // by id but for types, such as api_key.created, and addresses
	Since, Until                               time.Time // Since is in, Until is not
}

// AuditLogs lists the organization's audit log, the newest first.
func (c *Client) AuditLogs(ctx context.Context, query AuditQuery) iter.Seq2[*AuditLog, error] {
	q := url.Values{}
	for name, values := range map[string][]string{"event_types[]": query.Types, "project_ids[]": query.Projects, "actor_ids[]": query.Actors, "actor_emails[]": query.Emails, "resource_ids[]": query.Resources} {
		if len(values) > 0 {
			q[name] = values
		}
	}
	if !query.Since.IsZero() {
		q.Set("effective_at[gte]", strconv.FormatInt(query.Since.Unix(), 10))
	}
	if !query.Until.IsZero() {
		q.Set("effective_at[lt]", strconv.FormatInt(query.Until.Unix(), 10))
	}
	return all[AuditLog](ctx, c, q, "v1", "organization", "audit_logs")
}
