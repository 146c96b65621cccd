package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"

	"gatehouse"
)

// Key is a key of any class. Times are unix seconds, 0 when unset.
type Key struct {
	Answer
	ID            string            `json:"id"`
	Class         string            `json:"class"` // project, service_account, user, admin or azure
	Name          string            `json:"name"`
	RedactedValue string            `json:"redacted_value"`
	Value         string            `json:"value"` // once, in the answer that creates the key
	State         string            `json:"state"` // active, suspended, expired or revoked
	ProjectID     string            `json:"project_id"`
	Owner         Owner             `json:"owner"`
	OwnerActive   bool              `json:"owner_active"` // the owner still has access to the project
	Labels        map[string]string `json:"labels"`
	Scopes        []string          `json:"scopes"`      // empty: everything its class allows
	Models        []string          `json:"models"`      // empty: every deployment its project may use
	AllowedIPs    []string          `json:"allowed_ips"` // CIDR; empty: any address
	CreatedAt     int64             `json:"created_at"`
	ExpiresAt     int64             `json:"expires_at"`
	SuspendedAt   int64             `json:"suspended_at"`
	RevokedAt     int64             `json:"revoked_at"`
	LastUsedAt    int64             `json:"last_used_at"`
	EffectiveBy   int64             `json:"effective_by"` // as Deletion.EffectiveBy, after a change that narrowed the key
}

// Owner is who a key belongs to: a user, a service account or a resource.
type Owner struct {
	Type           string       `json:"type"`
	User           *OwnerObject `json:"user"`
	ServiceAccount *OwnerObject `json:"service_account"`
	Resource       *OwnerObject `json:"resource"`
}

// OwnerObject is a user, service account or resource that owns a key. A resource has no role.
type OwnerObject struct {
	ID   string         `json:"id"`
	Name string         `json:"name"`
	Role gatehouse.Role `json:"role"`
}

// KeyFilter says which keys to list; empty fields do not restrict.
type KeyFilter struct {
	Project        string
	User           string
	ServiceAccount string
	Class          string
	Revoked        bool // also those that are revoked
}

// KeyCreate is a new key. Class decides what else is needed: project a project and a user in it, service_account a project and a
// service account of it, user a user, admin nothing.
type KeyCreate struct {
	Class          string            `json:"class"`
	Project        string            `json:"project_id,omitempty"`
	User           string            `json:"user_id,omitempty"`
	ServiceAccount string            `json:"service_account_id,omitempty"`
	Name           string            `json:"name,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	Scopes         []string          `json:"scopes,omitempty"`
	Models         []string          `json:"models,omitempty"`
	AllowedIPs     []string          `json:"allowed_ips,omitempty"`
	ExpiresIn      int64             `json:"expires_in_seconds,omitempty"` // 0: never
}

// KeyUpdate changes the fields that are not nil.
type KeyUpdate struct {
	Name       *string            `json:"name,omitempty"`
	Labels     *map[string]string `json:"labels,omitempty"` // replaces all of them, as do the lists
	Scopes     *[]string          `json:"scopes,omitempty"`
	Models     *[]string          `json:"models,omitempty"`
	AllowedIPs *[]string          `json:"allowed_ips,omitempty"`
	ExpiresIn  *int64             `json:"expires_in_seconds,omitempty"` // from now
}

func keys(rest ...string) []string { return append([]string{"gatehouse", "v1", "keys"}, rest...) }

// Keys lists keys, oldest first.
func (c *Client) Keys(ctx context.Context, f KeyFilter) iter.Seq2[*Key, error] {
	q := url.Values{}
	for name, value := range map[string]string{"project_id": f.Project, "user_id": f.User, "service_account_id": f.ServiceAccount, "class": f.Class} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if f.Revoked {
		q.Set("include_revoked", "true")
	}
	return all[Key](ctx, c, q, keys()...)
}

// CreateKey creates a key. Its text is in Value of the answer and nowhere else.
func (c *Client) CreateKey(ctx context.Context, k KeyCreate) (*Key, error) {
	return do[Key](ctx, c, request{method: http.MethodPost, path: keys(), body: k})
}

// Key returns one key.
func (c *Client) Key(ctx context.Context, id string) (*Key, error) {
	return do[Key](ctx, c, request{method: http.MethodGet, path: keys(id)})
}

// UpdateKey changes a key.
func (c *Client) UpdateKey(ctx context.Context, id string, u KeyUpdate) (*Key, error) {
	return do[Key](ctx, c, request{method: http.MethodPost, path: keys(id), body: u})
}

// SuspendKey stops a key until it is resumed.
func (c *Client) SuspendKey(ctx context.Context, id string) (*Key, error) {
	return do[Key](ctx, c, request{method: http.MethodPost, path: keys(id, "suspend")})
}

// ResumeKey lets a suspended key work again.
func (c *Client) ResumeKey(ctx context.Context, id string) (*Key, error) {
	return do[Key](ctx, c, request{method: http.MethodPost, path: keys(id, "resume")})
}

// RevokeKey stops a key for good.
func (c *Client) RevokeKey(ctx context.Context, id string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: keys(id)})
}
