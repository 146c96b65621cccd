package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"

	"gatehouse"
)

// Resource is an Azure-shaped pair of keys over a project's deployments. Times are unix seconds, 0 when unset.
type Resource struct {
	Answer
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	ProjectID   string       `json:"project_id"`
	Region      string       `json:"region"`   // the region or geography that requests with its keys stay in; empty: the project's own decides
	Endpoint    string       `json:"endpoint"` // what Azure's clients take; empty where the node does not know its public URL
	Key1        *ResourceKey `json:"key1"`     // nil when it was revoked or never made: RegenerateKey makes it
	Key2        *ResourceKey `json:"key2"`
	CreatedAt   int64        `json:"created_at"`
	EffectiveBy int64        `json:"effective_by"` // as Deletion.EffectiveBy, after a change that narrowed
}

// ResourceKey is one of a resource's two keys.
type ResourceKey struct {
	ID            string `json:"id"`
	RedactedValue string `json:"redacted_value"`
	Value         string `json:"value"` // once, in the answer that makes the key
	State         string `json:"state"` // active, suspended or expired
	CreatedAt     int64  `json:"created_at"`
	ExpiresAt     int64  `json:"expires_at"`
	LastUsedAt    int64  `json:"last_used_at"`
}

// ResourceCreate is a new resource.
type ResourceCreate struct {
	Project string `json:"project_id"`
	Name    string `json:"name"`
	Region  string `json:"region,omitempty"`
}

// ResourceUpdate changes the fields that are not nil.
type ResourceUpdate struct {
	Name   *string `json:"name,omitempty"`
	Region *string `json:"region,omitempty"` // "" leaves the region to the project
}

func resources(rest ...string) []string {
	return append([]string{"gatehouse", "v1", "resources"}, rest...)
}

// Resources lists resources, oldest first: those of a project, or of the whole organization when project is empty.
func (c *Client) Resources(ctx context.Context, project string) iter.Seq2[*Resource, error] {
	q := url.Values{}
	if project != "" {
		q.Set("project_id", project)
	}
	return all[Resource](ctx, c, q, resources()...)
}

// CreateResource creates a resource with both its keys. Their texts are in the answer and nowhere else.
func (c *Client) CreateResource(ctx context.Context, r ResourceCreate) (*Resource, error) {
	return do[Resource](ctx, c, request{method: http.MethodPost, path: resources(), body: r})
}

// Resource returns one resource.
func (c *Client) Resource(ctx context.Context, id string) (*Resource, error) {
	return do[Resource](ctx, c, request{method: http.MethodGet, path: resources(id)})
}

// UpdateResource changes a resource; its keys stay as they are.
func (c *Client) UpdateResource(ctx context.Context, id string, u ResourceUpdate) (*Resource, error) {
	return do[Resource](ctx, c, request{method: http.MethodPost, path: resources(id), body: u})
}

// RemoveResource ends a resource and its keys.
func (c *Client) RemoveResource(ctx context.Context, id string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: resources(id)})
}

// RegenerateKey revokes the key in one slot of a resource and makes another in its place, whose text is in the answer and nowhere
// else. The other key is not touched.
func (c *Client) RegenerateKey(ctx context.Context, id string, slot gatehouse.KeySlot) (*Resource, error) {
	body := struct {
		KeyName string `json:"key_name"`
	}{slot.String()}
	return do[Resource](ctx, c, request{method: http.MethodPost, path: resources(id, "regenerate_key"), body: body})
}
