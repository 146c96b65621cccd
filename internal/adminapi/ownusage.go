package adminapi

import (
	"context"
	"slices"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// usageLine is one line of /gatehouse/v1/usage. What it is not grouped by is absent.
type usageLine struct {
	Day            string            `json:"day,omitempty"`
	ProjectID      string            `json:"project_id,omitempty"`
	KeyID          string            `json:"key_id,omitempty"`
	UserID         string            `json:"user_id,omitempty"`
	ServiceAccount string            `json:"service_account_id,omitempty"`
	Model          string            `json:"model,omitempty"`
	Product        string            `json:"product,omitempty"`
	Upstream       string            `json:"upstream,omitempty"`
	UpstreamModel  string            `json:"upstream_model,omitempty"`
	ServiceTier    string            `json:"service_tier,omitempty"`
	Source         string            `json:"usage_source,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	Requests       int64             `json:"requests"`
	CostNanoUSD    int64             `json:"cost_nano_usd"`
	Unpriced       int64             `json:"unpriced_requests"`
	Parts          gatehouse.Parts   `json:"cost_parts_nano_usd"`
	gatehouse.Units
}

// ownGroups are what /gatehouse/v1/usage can be grouped by, beside day and label:NAME, and what the store calls it.
var ownGroups = map[string]string{"project": store.ByProject, "key": store.ByKey, "user": store.ByUser, "service_account": store.ByServiceAccount, "model": store.ByModel,
	"product": store.ByProduct, "upstream": store.ByUpstream, "upstream_model": store.ByUpstreamModel, "service_tier": store.ByServiceTier, "usage_source": store.ByConfidence}

const ownGroupNames = "day, project, key, user, service_account, model, product, upstream, upstream_model, service_tier, usage_source and label:NAME"

// usage shows what was used between two points in time, by day and by anything that sums are kept by.
func (a *API) usage(ctx context.Context, c *call) (any, error) {
	v := c.URL.Query()
	now := nowSeconds()
	start, err := integer(v, "start_time", 0, maxTime, now-30*86400)
	if err != nil {
		return nil, err
	}
	end, err := integer(v, "end_time", 0, maxTime, now+1)
	if err != nil {
		return nil, err
	}
	if end <= start || end-start > 400*86400 {
		return nil, gatehouse.InvalidParam("end_time", "Invalid 'end_time': must be after 'start_time', by at most 400 days.")
	}
	q := &pagedQuery{UsageQuery: store.UsageQuery{Organization: c.who.Organization, Start: gatehouse.Millis(start * 1000), End: gatehouse.Millis(end * 1000), Width: "1d",
		Projects: many(v, "project_ids"), Users: many(v, "user_ids"), Keys: many(v, "api_key_ids"), Models: many(v, "models")}}
	byDay := false
	for _, name := range many(v, "group_by") {
		by, ok := ownGroups[name]
		if label, isLabel := strings.CutPrefix(name, "label:"); isLabel && label != "" && len(label) <= 63 {
			by, ok = store.ByLabel(label), true
		}
		switch {
		case name == "day":
			byDay = true
		case !ok:
			return nil, gatehouse.InvalidParam("group_by", "Invalid 'group_by': %q is not one of %s.", clip(name, 64), ownGroupNames)
		default:
			q.GroupBy = append(q.GroupBy, by)
		}
	}
	for _, label := range many(v, "labels") {
		name, value, ok := gatehouse.CutLabelSubject(label)
		if !ok || name == "" {
			return nil, gatehouse.InvalidParam("labels", "Invalid 'labels': %q is not name=value.", clip(label, 128))
		}
		if q.Labels == nil {
			q.Labels = map[string][]string{}
		}
		q.Labels[name] = append(q.Labels[name], value)
	}
	q.groups = slices.Compact(slices.Sorted(slices.Values(q.GroupBy)))
	buckets, err := a.buckets(ctx, q)
	if err != nil {
		return nil, err
	}
	return map[string]any{"object": "list", "data": q.lines(buckets, byDay), "start_time": start, "end_time": end}, nil
}

// lines adds buckets up, unless they are shown by day.
func (q *pagedQuery) lines(buckets []store.UsageBucket, byDay bool) []*usageLine {
	type group struct {
		day  string
		dims store.UsageResult
	}
	lines := map[group]*usageLine{}
	order := []*usageLine{}
	for i := range buckets {
		day := ""
		if byDay {
			day = buckets[i].Start.Time().Format(time.DateOnly)
		}
		for j := range buckets[i].Results {
			r := &buckets[i].Results[j]
			if r.Requests == 0 {
				continue
			}
			g := group{day, *r}
			g.dims.Sums = store.Sums{}
			l := lines[g]
			if l == nil {
				l = &usageLine{Day: day, ProjectID: r.Project, KeyID: r.Key, UserID: r.User, ServiceAccount: r.ServiceAccount, Model: r.Model, Product: r.Product, Upstream: r.Upstream,
					UpstreamModel: r.UpstreamModel, ServiceTier: r.ServiceTier, Source: string(r.Confidence)}
				labels := r.Labels()
				for _, by := range q.groups {
					if name, ok := store.LabelColumn(by); ok {
						if l.Labels == nil {
							l.Labels = map[string]string{}
						}
						l.Labels[name], labels = labels[0], labels[1:]
					}
				}
				lines[g] = l
				order = append(order, l)
			}
			l.Requests += r.Requests
			l.CostNanoUSD += int64(r.Cost)
			l.Unpriced += r.Unpriced
			l.Parts.Add(&r.Parts)
			l.Units.Add(r.Units)
		}
	}
	return order
}
