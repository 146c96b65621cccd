package gateway

import (
	"errors"
	"strings"

	"gatehouse"
	"gatehouse/internal/dialect"
)

// inRegion reports whether an upstream lies where the caller's requests have to stay: in the region its project is pinned to and
// in that of the resource whose key it used. Both are read from the catalog as they are now, so that a retry follows a change that
// came after the request was planned.
func (x *exchange) inRegion(up *gatehouse.Upstream) bool {
	project, resource := x.pins()
	return dialect.Holds(up, project) && dialect.Holds(up, resource)
}

// pins returns the regions or geographies that the caller's project and its resource name, "" where they name none.
func (x *exchange) pins() (project, resource string) {
	p := x.id.Project
	if now := x.g.cfg.Catalog.Project(p.ID); now != nil {
		p = now
	}
	if r := x.id.Resource; r != nil {
		resource = r.Region
		if now := x.g.cfg.Catalog.Resource(r.ID); now != nil {
			resource = now.Region
		}
	}
	return dialect.PinOf(p), resource
}

// outOfRegion returns the error for a call whose every way leads out of the region it has to stay in, nil when that is not what
// leaves it without one. what names the thing that has no way; candidates are the upstreams that it could have gone to.
func (x *exchange) outOfRegion(what string, candidates ...*gatehouse.Upstream) error {
	var left []string
	for _, up := range candidates {
		if up == nil || !x.serves(up) || x.inRegion(up) {
			continue
		}
		where := "no region"
		if up.Region != "" {
			where = "region " + up.Region
		}
		left = append(left, up.Name+" ("+where+")")
	}
	if len(left) == 0 {
		return nil
	}
	var pinned []string
	project, resource := x.pins()
	if project != "" && project != dialect.Anywhere {
		pinned = append(pinned, "project `"+x.id.Project.ID+"` is pinned to region `"+project+"`")
	}
	if resource != "" && resource != dialect.Anywhere {
		pinned = append(pinned, "resource `"+x.id.Resource.Name+"` is pinned to region `"+resource+"`")
	}
	return &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "no_route_in_region", NoRetry: true,
		Message: what + " cannot be served: " + strings.Join(pinned, " and ") + ", and no upstream it may use lies there. " +
			"Ask the operator to add a route to an upstream of that region, to say where an upstream is (its `region`), or to change the pin (gatehouse projects update --region).",
		Err: errors.New("left out by region: " + strings.Join(left, ", "))}
}
