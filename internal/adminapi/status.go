package adminapi

import (
	"cmp"
	"context"
	"slices"

	"gatehouse"
	"gatehouse/internal/store"
)

// deploymentStatus is a deployment with what the nodes last said of its routes.
type deploymentStatus struct {
	Object   string        `json:"object"`
	ID       string        `json:"id"`
	Name     string        `json:"name"`
	Projects []string      `json:"projects,omitempty"`
	Sticky   string        `json:"sticky,omitempty"`
	Routes   []routeStatus `json:"routes"`
}

// routeStatus is one route: as it is declared, and on each node that has used it lately or leaves it alone.
type routeStatus struct {
	Upstream string               `json:"upstream"` // name
	Model    string               `json:"model,omitempty"`
	Weight   int                  `json:"weight"`
	Priority int                  `json:"priority"`
	State    gatehouse.RouteState `json:"state"` // the worst of Nodes; closed where no node says anything
	Nodes    []nodeRoute          `json:"nodes"`
}

// nodeRoute is what one node knows of a route. Times are unix seconds.
type nodeRoute struct {
	Node        string               `json:"node"`
	State       gatehouse.RouteState `json:"state"`
	Reason      string               `json:"reason,omitempty"`
	Why         string               `json:"why,omitempty"`
	Since       *int64               `json:"since,omitempty"`
	Until       *int64               `json:"until,omitempty"` // when the next probe may go, or the route is no longer set aside
	Requests    int64                `json:"requests"`        // of the last minute, at most 32
	Failures    int64                `json:"failures"`
	FirstByteMS int64                `json:"first_byte_ms,omitempty"`
	ReportedAt  int64                `json:"reported_at"`
}

// deploymentsStatus answers which routes are closed, open, half-open, ejected or throttled, why, and since when, on every node.
func (a *API) deploymentsStatus(ctx context.Context, c *call) (any, error) {
	ups, err := a.cfg.Admin.Upstreams(ctx, c.who)
	if err != nil {
		return nil, err
	}
	deps, err := a.cfg.Admin.Deployments(ctx, c.who)
	if err != nil {
		return nil, err
	}
	var nodes []gatehouse.NodeHealth
	err = a.cfg.DB.View(ctx, func(tx *store.Tx) (err error) {
		nodes, err = tx.NodeHealth()
		return err
	})
	if err != nil {
		return nil, err
	}
	if a.cfg.Health != nil {
		own := a.cfg.Health()
		nodes = append(slices.DeleteFunc(nodes, func(h gatehouse.NodeHealth) bool { return h.Process == own.Process }), *own)
	}
	slices.SortStableFunc(nodes, func(a, b gatehouse.NodeHealth) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Process, b.Process))
	})
	if name := c.URL.Query().Get("name"); name != "" {
		deps = slices.DeleteFunc(deps, func(d gatehouse.Deployment) bool { return d.Name != name })
		if len(deps) == 0 {
			return nil, gatehouse.Errorf(gatehouse.NotFound, "There is no deployment named %q. `gatehouse deployments list` shows those there are.", name)
		}
	}
	return listOf(deps, false, func(d *gatehouse.Deployment) (*deploymentStatus, string) {
		v := &deploymentStatus{Object: "gatehouse.deployment_status", ID: d.ID, Name: d.Name, Projects: d.Projects, Sticky: string(d.Sticky), Routes: []routeStatus{}}
		for i := range d.Routes {
			r := &d.Routes[i]
			s := routeStatus{Upstream: r.Upstream, Model: r.Model, Weight: max(r.Weight, 1), Priority: r.Priority, State: gatehouse.RouteClosed, Nodes: []nodeRoute{}}
			if at := slices.IndexFunc(ups, func(u gatehouse.Upstream) bool { return u.ID == r.Upstream }); at >= 0 {
				s.Upstream = ups[at].Name
			}
			for j := range nodes {
				if n, ok := routeOn(&nodes[j], d.ID, r); ok {
					s.Nodes = append(s.Nodes, n)
					if gravity(n.State) > gravity(s.State) {
						s.State = n.State
					}
				}
			}
			v.Routes = append(v.Routes, s)
		}
		return v, d.ID
	}), nil
}

// routeOn returns what a node says of a route: its own state, or that of its upstream's circuit where that is worse; false: nothing.
func routeOn(h *gatehouse.NodeHealth, deployment string, r *gatehouse.Route) (nodeRoute, bool) {
	n := nodeRoute{Node: h.Node, State: gatehouse.RouteClosed, ReportedAt: h.At.Seconds()}
	known := false
	for i := range h.Routes {
		said := &h.Routes[i]
		if said.Upstream != r.Upstream || said.Deployment != "" && (said.Deployment != deployment || said.Model != r.Model) {
			continue
		}
		known = true
		if said.Deployment != "" {
			n.Requests, n.Failures, n.FirstByteMS = said.Requests, said.Failures, said.FirstByteMillis
		}
		if gravity(said.State) > gravity(n.State) {
			n.State, n.Reason, n.Why, n.Since, n.Until = said.State, said.Reason, said.Why, seconds(said.Since), seconds(said.Until)
		}
	}
	return n, known
}

// gravity orders states by how little they let through.
func gravity(s gatehouse.RouteState) int {
	return slices.Index([]gatehouse.RouteState{gatehouse.RouteClosed, gatehouse.RouteThrottled, gatehouse.RouteEjected, gatehouse.RouteHalfOpen, gatehouse.RouteOpen}, s)
}
