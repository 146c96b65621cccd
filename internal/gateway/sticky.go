package gateway

import (
	"cmp"
	"math"
	"slices"

	"gatehouse"
)

// order appends the indexes of a deployment's routes in the order to try: drawn anew, or, where the deployment sticks to something
// of the request that is known, ranked by it.
func (x *exchange) order(dep *gatehouse.Deployment, order []int) []int {
	if value := x.stickTo(dep.Sticky); value != "" && len(dep.Routes) > 1 {
		x.plan.sticky = dep.Sticky
		return rankRoutes(dep.Routes, value, order)
	}
	return orderRoutes(dep.Routes, order)
}

// stickTo returns what keeps the request on a route, "" where nothing does.
func (x *exchange) stickTo(sticky gatehouse.Sticky) string {
	switch sticky {
	case gatehouse.StickyKey:
		return x.record.Key
	case gatehouse.StickyUser:
		return x.record.Owner
	case gatehouse.StickyPromptCacheKey:
		value, _ := x.fields.Text(x.fields.Span(x.call.Op.At.PromptCacheKey))
		return value
	}
	return ""
}

// rankRoutes appends the indexes of routes in the order to try: lower priorities first, and within one priority by weighted
// rendezvous hashing. Each route has a score that follows from the value, the route and its weight alone, so every node ranks
// alike, a route of twice the weight is first for twice as many values, and a route that comes or goes moves no value between the
// others.
func rankRoutes(routes []gatehouse.Route, value string, order []int) []int {
	var scores [maxSteps]float64
	for i := range routes[:min(len(routes), maxSteps)] {
		r := &routes[i]
		h := hashText(hashText(hashText(fnvOffset, value), r.Upstream), r.Model)
		uniform := (float64(mix(h)>>11) + 0.5) / (1 << 53) // in (0, 1)
		scores[i] = float64(weight(r)) / -math.Log(uniform)
		order = append(order, i)
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(routes[a].Priority-routes[b].Priority, cmp.Compare(scores[b], scores[a]))
	})
	return order
}

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// hashText adds a text and its end to an FNV-1a hash.
func hashText(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return (h ^ 0xff) * fnvPrime // no byte of UTF-8
}

// mix spreads a hash over all its bits: FNV leaves the upper ones of texts that end differently alike.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// stickyNames are what the explain record calls what a request sticks to.
var stickyNames = map[gatehouse.Sticky]string{gatehouse.StickyKey: "key", gatehouse.StickyUser: "key's owner", gatehouse.StickyPromptCacheKey: "prompt_cache_key"}
