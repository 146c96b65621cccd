package gateway

import (
	"math/rand/v2"
	"slices"

	"gatehouse"
	"gatehouse/internal/gateway/health"
)

// maxSteps bounds how many routes one request may have to choose from.
const maxSteps = 16

// plan is where an exchange may go: the routes of its deployment in the order to try, or the one upstream that holds the object
// it names.
type plan struct {
	deployment *gatehouse.Deployment // nil for calls without a model
	pool       *health.Pool          // of the deployment
	steps      [maxSteps]step
	n          int
	next       int              // the first step that was not looked at
	last       int              // the step tried last
	sticky     gatehouse.Sticky // what decided their order
}

// noRoute is the index of what is no route of a deployment: calls without a model, and an object's own upstream.
const noRoute = maxSteps

type step struct {
	upstream *gatehouse.Upstream
	model    string              // the upstream's own name; empty: the call has no model
	pricedAs string              // what the table of prices calls it, where the route says so
	route    int                 // index among the deployment's routes, or noRoute
	timeouts *gatehouse.Timeouts // the route's own; nil: there are none
	circuit  *health.Upstream    // set by consult
	tried    bool
	skipped  bool // the record says why
}

func (p *plan) add(up *gatehouse.Upstream, model, pricedAs string, route int, timeouts *gatehouse.Timeouts) {
	if p.n < maxSteps {
		p.steps[p.n] = step{upstream: up, model: model, pricedAs: pricedAs, route: route, timeouts: timeouts}
		p.n++
	}
}

// route decides which upstreams may serve the call. Everything it reads is in the catalog, but for objects this node does not
// know, which it looks up (DESIGN section 4, "Objects have owners").
func (x *exchange) route() error {
	switch {
	case x.isBatchInput():
		return x.routeBatchInput()
	case x.call.Op.Begins == gatehouse.WorkBatch:
		return x.routeBatch()
	}
	pinned, err := x.owned()
	if err != nil {
		return err
	}
	switch {
	case pinned.upstream != "" && !x.chosenModel():
		err = x.routePinned(pinned.upstream)
	case x.model != "":
		err = x.routeModel(pinned)
	default:
		err = x.routeModelless()
	}
	if err != nil {
		return err
	}
	if err := x.mayRunAt(); err != nil {
		return err
	}
	if x.call.Op.SoleTenant || x.call.Op.List || x.account {
		if err := x.soleTenant(); err != nil {
			return err
		}
	}
	return x.consult()
}

// chosenModel reports whether the caller says which model is to work: not where the path names it as an object, and not where the
// endpoint's default stands for it and no deployment serves that.
func (x *exchange) chosenModel() bool {
	if x.model == "" || x.call.PathModel != "" && x.call.Ref != "" {
		return false
	}
	return x.hasModel || x.call.Deployment != "" || x.g.cfg.Catalog.Deployment(x.id.Principal.Organization, x.id.Principal.Project, x.model) != nil
}

// routePinned sends a call to the upstream that holds the objects it names.
func (x *exchange) routePinned(upstream string) error {
	up, err := x.objectsUpstream(upstream)
	if err == nil {
		x.plan.add(up, "", "", noRoute, nil)
	}
	return err
}

// objectsUpstream returns the upstream that holds objects, where the caller's project may still reach it.
func (x *exchange) objectsUpstream(id string) (*gatehouse.Upstream, error) {
	up := x.g.cfg.Catalog.Upstream(id)
	if err := x.outOfRegion("This object", up); err != nil {
		return nil, err
	}
	if up == nil || !x.mayReach(up) {
		return nil, &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "upstream_removed", NoRetry: true,
			Message: "The upstream that holds this object is no longer configured for this project. Ask the operator to add it again."}
	}
	return up, nil
}

// routeModel fills the plan from the deployment the call names. With objects pinned to an upstream only the routes there remain:
// the objects a request refers to exist there and nowhere else. Where the deployment has none any more, but made the objects, it
// still answers for them as it did then.
func (x *exchange) routeModel(pinned ownership) error {
	dep := x.g.cfg.Catalog.Deployment(x.id.Principal.Organization, x.id.Principal.Project, x.model)
	if dep == nil {
		return modelNotFound(x.model)
	}
	x.plan.deployment, x.plan.pool = dep, x.g.board.Pool(dep)
	x.record.Deployment = dep.Name
	var order [maxSteps]int
	for _, i := range x.order(dep, order[:0]) {
		route := &dep.Routes[i]
		if pinned.upstream != "" && route.Upstream != pinned.upstream {
			continue
		}
		up := x.g.cfg.Catalog.Upstream(route.Upstream)
		if up == nil || !x.mayReach(up) {
			continue
		}
		model := route.Model
		if model == "" {
			model = x.model
		}
		x.plan.add(up, model, route.PricedAs, i, &route.Timeouts)
	}
	switch {
	case x.plan.n > 0:
		return nil
	case pinned.upstream == "":
		if err := x.outOfRegion("Deployment `"+clip(x.model)+"`", x.routesTo(dep)...); err != nil {
			return err
		}
		return &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "no_route", NoRetry: true,
			Message: "Deployment `" + x.model + "` has no route this project may use. Ask the operator to add one (gatehouse deployments)."}
	case pinned.deployment != x.model && (x.hasModel || x.call.Deployment != ""):
		if err := x.outOfRegion("This object", x.g.cfg.Catalog.Upstream(pinned.upstream)); err != nil {
			return err
		}
		return gatehouse.InvalidParam("model", "The request refers to an object on an upstream that deployment `%s` does not route to. "+
			"Use a model of the deployment that made the object.", x.model)
	}
	up, err := x.objectsUpstream(pinned.upstream)
	if err != nil {
		return err
	}
	model := ""
	if pinned.deployment == x.model {
		model = pinned.model
	}
	x.plan.add(up, model, "", noRoute, nil)
	return nil
}

// routesTo returns the upstreams a deployment routes to.
func (x *exchange) routesTo(dep *gatehouse.Deployment) []*gatehouse.Upstream {
	list := make([]*gatehouse.Upstream, len(dep.Routes))
	for i := range dep.Routes {
		list[i] = x.g.cfg.Catalog.Upstream(dep.Routes[i].Upstream)
	}
	return list
}

// routeModelless sends a call without a model to the project's upstream, else to the only one its project can reach.
func (x *exchange) routeModelless() error {
	c, p := x.g.cfg.Catalog, &x.id.Principal
	if id := x.id.Project.Upstream; id != "" {
		if up := c.Upstream(id); up != nil && x.mayReach(up) {
			x.plan.add(up, "", "", noRoute, nil)
			return nil
		}
	}
	var only *gatehouse.Upstream
	var elsewhere []*gatehouse.Upstream
	for _, up := range c.Upstreams(p.Organization) {
		if !x.serves(up) || !x.reaches(up) {
			continue
		}
		if !x.inRegion(up) {
			elsewhere = append(elsewhere, up)
			continue
		}
		if only != nil {
			return &gatehouse.Error{Kind: gatehouse.Invalid, Code: "upstream_ambiguous",
				Message: "This call names no model and the project can reach more than one upstream. Set the project's `upstream` in the manifest (gatehouse apply) to say where such calls go."}
		}
		only = up
	}
	if only == nil {
		if err := x.outOfRegion("This call, which names no model,", elsewhere...); err != nil {
			return err
		}
		return &gatehouse.Error{Kind: gatehouse.Invalid, Code: "upstream_missing",
			Message: "This call names no model and the project can reach no upstream. Add an upstream and a deployment (gatehouse apply)."}
	}
	x.plan.add(only, "", "", noRoute, nil)
	return nil
}

// mayReach reports whether the caller's requests may go to an upstream: its credential serves the project, and it lies in the
// region the project and its resource are pinned to. Every way to an upstream asks it first.
func (x *exchange) mayReach(up *gatehouse.Upstream) bool { return x.serves(up) && x.inRegion(up) }

// serves reports whether the upstream's credential serves the caller's project.
func (x *exchange) serves(up *gatehouse.Upstream) bool {
	return up.Organization == x.id.Principal.Organization && (len(up.Projects) == 0 || slices.Contains(up.Projects, x.id.Principal.Project))
}

// reaches reports whether a deployment of the caller's project routes to the upstream.
func (x *exchange) reaches(up *gatehouse.Upstream) bool {
	if slices.Contains(up.Projects, x.id.Principal.Project) {
		return true
	}
	for _, dep := range x.g.cfg.Catalog.Deployments(x.id.Principal.Organization, x.id.Principal.Project) {
		for i := range dep.Routes {
			if dep.Routes[i].Upstream == up.ID {
				return true
			}
		}
	}
	return false
}

func modelNotFound(model string) error {
	return &gatehouse.Error{Kind: gatehouse.NotFound, Code: "model_not_found", Param: "model",
		Message: "The model `" + clip(model) + "` does not exist or you do not have access to it. GET /v1/models lists the models this key may use."}
}

// clip shortens text of a caller that is shown back to it.
func clip(s string) string {
	if len(s) <= 128 {
		return s
	}
	return s[:128] + "..."
}

// orderRoutes appends the indexes of routes in the order to try: lower priorities first, and within one priority drawn by weight
// without putting back, so that weights share load and every route is tried before a request fails.
func orderRoutes(routes []gatehouse.Route, order []int) []int {
	if len(routes) == 1 {
		return append(order, 0)
	}
	for i := range routes[:min(len(routes), maxSteps)] {
		order = append(order, i)
	}
	slices.SortStableFunc(order, func(a, b int) int { return routes[a].Priority - routes[b].Priority })
	for start := 0; start < len(order); {
		end := start + 1
		for end < len(order) && routes[order[end]].Priority == routes[order[start]].Priority {
			end++
		}
		for i := start; i < end-1; i++ {
			total := 0
			for _, r := range order[i:end] {
				total += weight(&routes[r])
			}
			draw := rand.IntN(total)
			for j := i; j < end; j++ {
				if draw -= weight(&routes[order[j]]); draw < 0 {
					order[i], order[j] = order[j], order[i]
					break
				}
			}
		}
		start = end
	}
	return order
}

func weight(r *gatehouse.Route) int {
	if r.Weight <= 0 {
		return 1
	}
	return r.Weight
}
