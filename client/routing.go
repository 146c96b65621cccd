package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"

	"gatehouse"
)

// Upstream is a provider account. Its credential is a secret reference such as env://OPENAI_API_KEY, never the secret.
type Upstream struct {
	Answer
	ID               string            `json:"id,omitempty"`
	Name             string            `json:"name"`
	Dialect          gatehouse.Dialect `json:"dialect"`
	BaseURL          string            `json:"base_url,omitempty"`
	APIVersion       string            `json:"api_version,omitempty"`
	Region           string            `json:"region,omitempty"`
	Credential       string            `json:"credential,omitempty"`
	CredentialHeader string            `json:"credential_header,omitempty"`
	Projects         []string          `json:"projects,omitempty"` // whom the credential serves: names or ids; answered as ids
	AllowPrivate     bool              `json:"allow_private,omitempty"`
	HTTP2            bool              `json:"http2,omitempty"`
	CreatedAt        int64             `json:"created_at,omitempty"` // unix seconds
	// Timeouts bound an attempt along every route here; what is empty is the gateway's.
	Timeouts gatehouse.TimeoutSpec `json:"timeouts,omitzero"`
}

// Deployment is a public model name that routes to upstream models.
type Deployment struct {
	Answer
	ID        string   `json:"id,omitempty"`
	Name      string   `json:"name"`
	Projects  []string `json:"projects,omitempty"` // names or ids, answered as ids; empty: every project
	Routes    []Route  `json:"routes"`
	Sticky    string   `json:"sticky,omitempty"`     // key, user or prompt_cache_key: what keeps requests on one route; empty: nothing
	CreatedAt int64    `json:"created_at,omitempty"` // unix seconds
}

// Route is one way to serve a deployment.
type Route struct {
	Upstream string `json:"upstream"`            // name
	Model    string `json:"model,omitempty"`     // empty: the name the caller used
	Weight   int    `json:"weight,omitempty"`    // share of the load; 0 counts as 1
	Priority int    `json:"priority,omitempty"`  // lower first
	PricedAs string `json:"priced_as,omitempty"` // the model's name in the table of prices, where the upstream calls it by another
	// Timeouts bound an attempt along this route; what is empty is its upstream's.
	Timeouts gatehouse.TimeoutSpec `json:"timeouts,omitzero"`
}

// Upstreams lists the organization's upstreams.
func (c *Client) Upstreams(ctx context.Context) iter.Seq2[*Upstream, error] {
	return all[Upstream](ctx, c, nil, "gatehouse", "v1", "upstreams")
}

// PutUpstream creates the upstream of that name or replaces it.
func (c *Client) PutUpstream(ctx context.Context, u Upstream) (*Upstream, error) {
	u.ID, u.CreatedAt = "", 0 // the server's to give
	return do[Upstream](ctx, c, request{method: http.MethodPost, path: []string{"gatehouse", "v1", "upstreams"}, body: u})
}

// RemoveUpstream removes an upstream that no deployment routes to.
func (c *Client) RemoveUpstream(ctx context.Context, name string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: []string{"gatehouse", "v1", "upstreams", name}})
}

// Deployments lists the organization's deployments.
func (c *Client) Deployments(ctx context.Context) iter.Seq2[*Deployment, error] {
	return all[Deployment](ctx, c, nil, "gatehouse", "v1", "deployments")
}

// PutDeployment creates the deployment of that name and those projects, or replaces it.
func (c *Client) PutDeployment(ctx context.Context, d Deployment) (*Deployment, error) {
	d.ID, d.CreatedAt = "", 0 // the server's to give
	return do[Deployment](ctx, c, request{method: http.MethodPost, path: []string{"gatehouse", "v1", "deployments"}, body: d})
}

// RemoveDeployment removes every deployment of a name.
func (c *Client) RemoveDeployment(ctx context.Context, name string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: []string{"gatehouse", "v1", "deployments", name}})
}

// SealedSecret is a secret that Gatehouse keeps encrypted.
type SealedSecret struct {
	Answer
	ID        string `json:"id"`
	Name      string `json:"name"`
	Reference string `json:"reference"` // sealed://..., what an upstream's credential names
}

// Seal stores a secret encrypted. It cannot be read back through the API.
func (c *Client) Seal(ctx context.Context, name, value string) (*SealedSecret, error) {
	body := struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}{name, value}
	return do[SealedSecret](ctx, c, request{method: http.MethodPost, path: []string{"gatehouse", "v1", "sealed_secrets"}, body: body})
}

// Plan is what a manifest changes, or would change.
type Plan struct {
	Answer
	DryRun bool       `json:"dry_run"`
	Items  []PlanItem `json:"plan"`
}

// PlanItem is one thing a manifest changes.
type PlanItem struct {
	Action  string   `json:"action"` // create, update or delete
	Kind    string   `json:"kind"`   // upstream, deployment, project or service_account
	Name    string   `json:"name"`
	Changes []string `json:"changes"` // the fields an update changes
}

// ApplyOptions says how a manifest is applied.
type ApplyOptions struct {
	DryRun bool // change nothing, return the plan
	Prune  bool // also remove upstreams and deployments the manifest does not name
	// Version, where it is not empty, is that of an export: nothing is applied where the organization has changed since.
	Version string
}

// Apply makes the organization look like a manifest in YAML or JSON, in one transaction.
func (c *Client) Apply(ctx context.Context, manifest []byte, opts ApplyOptions) (*Plan, error) {
	q := url.Values{}
	if opts.DryRun {
		q.Set("dry_run", "true")
	}
	if opts.Prune {
		q.Set("prune", "true")
	}
	if opts.Version != "" {
		q.Set("if_version", opts.Version)
	}
	return do[Plan](ctx, c, request{method: http.MethodPost, path: []string{"gatehouse", "v1", "apply"}, query: q, body: manifest})
}

// Manifest is what an organization looks like.
type Manifest struct {
	Answer
	Text string `json:"manifest"` // YAML, as Apply takes it
}

// Manifest returns the manifest of the organization as it is: applied where it came from, it changes nothing.
func (c *Client) Manifest(ctx context.Context) (*Manifest, error) {
	return do[Manifest](ctx, c, request{method: http.MethodGet, path: []string{"gatehouse", "v1", "manifest"}})
}
