package client

import (
	"context"
	"iter"
	"net/url"

	"gatehouse"
)

// DeploymentStatus is a deployment with what the nodes last said of its routes.
type DeploymentStatus struct {
	Answer
	ID       string        `json:"id"`
	Name     string        `json:"name"`
	Projects []string      `json:"projects"`
	Sticky   string        `json:"sticky"`
	Routes   []RouteStatus `json:"routes"`
}

// RouteStatus is one route: as it is declared, and on each node that has used it lately or leaves it alone.
type RouteStatus struct {
	Upstream string               `json:"upstream"` // name
	Model    string               `json:"model"`
	Weight   int                  `json:"weight"`
	Priority int                  `json:"priority"`
	State    gatehouse.RouteState `json:"state"` // the worst of Nodes
	Nodes    []NodeRoute          `json:"nodes"`
}

// NodeRoute is what one node knows of a route. Times are unix seconds, 0 where there is none.
type NodeRoute struct {
	Node            string               `json:"node"`
	State           gatehouse.RouteState `json:"state"`
	Reason          string               `json:"reason"`
	Why             string               `json:"why"`
	Since           int64                `json:"since"`
	Until           int64                `json:"until"` // when the next probe may go, or the route is no longer set aside
	Requests        int64                `json:"requests"`
	Failures        int64                `json:"failures"`
	FirstByteMillis int64                `json:"first_byte_ms"`
	ReportedAt      int64                `json:"reported_at"`
}

// DeploymentsStatus lists what is closed, open, half-open, ejected or throttled, why, and since when: of the deployments of a name,
// of all where it is empty.
func (c *Client) DeploymentsStatus(ctx context.Context, name string) iter.Seq2[*DeploymentStatus, error] {
	q := url.Values{}
	if name != "" {
		q.Set("name", name)
	}
	return all[DeploymentStatus](ctx, c, q, "gatehouse", "v1", "deployments", "status")
}
