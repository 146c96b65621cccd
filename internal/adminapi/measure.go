package adminapi

import (
	"context"
	"slices"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// explainWait is how long the decision behind a request may take to arrive from another node.
const explainWait = 1200 * time.Millisecond

// explain shows the decision behind one request, by our id or the id its caller gave it.
func (a *API) explain(ctx context.Context, c *call) (any, error) {
	id := c.PathValue("request_id")
	for deadline := time.Now().Add(explainWait); ; {
		if err := a.cfg.Ledger.Flush(ctx); err != nil {
			return nil, &gatehouse.Error{Kind: gatehouse.Unavailable, Message: "Requests cannot be read right now. Try again.", RetryAfterMillis: 1000, Err: err}
		}
		r, err := a.findRequest(ctx, c, id)
		if err == nil || gatehouse.KindOf(err) != gatehouse.NotFound || time.Now().After(deadline) {
			return r, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (a *API) findRequest(ctx context.Context, c *call, id string) (r *gatehouse.Request, err error) {
	notFound := gatehouse.Errorf(gatehouse.NotFound, "No such request: '%s'. Decisions are kept for 7 days, or what the organization's retention says.", clip(id, 128))
	err = a.cfg.DB.View(ctx, func(tx *store.Tx) error {
		if strings.HasPrefix(id, gatehouse.PrefixRequest) {
			r, err = tx.Request(id)
			if err == nil && r.ID == id {
				return nil
			}
		}
		if r, err = tx.RequestNamed(c.who.Organization, id); gatehouse.KindOf(err) == gatehouse.NotFound {
			return notFound
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := a.counted(ctx, r); err != nil {
		return nil, err
	}
	// A request whose credential was not known belongs to no organization: whoever administers this installation may see it.
	if r.Organization != c.who.Organization && r.Organization != "" {
		return nil, notFound
	}
	return r, nil
}

// counted completes the decision behind a request whose work has ended since: the usage is on record under the work's id.
func (a *API) counted(ctx context.Context, r *gatehouse.Request) error {
	if r.Confidence != gatehouse.Pending {
		return nil
	}
	return a.cfg.DB.View(ctx, func(tx *store.Tx) error {
		u, err := tx.Usage(r.Work)
		switch {
		case gatehouse.KindOf(err) == gatehouse.NotFound:
			return nil
		case err != nil:
			return err
		}
		r.Units, r.Confidence, r.Cost, r.CostKnown = &u.Units, u.Confidence, u.Cost, u.CostKnown
		return nil
	})
}

// usageLine is one line of /gatehouse/v1/usage.
type usageLine struct {
	Day         string `json:"day,omitempty"`
	ProjectID   string `json:"project_id,omitempty"`
	KeyID       string `json:"key_id,omitempty"`
	Model       string `json:"model,omitempty"`
	Product     string `json:"product,omitempty"`
	Requests    int64  `json:"requests"`
	CostNanoUSD int64  `json:"cost_nano_usd"`
	Unpriced    int64  `json:"unpriced_requests"`
	gatehouse.Units
}

// products are everything usage is counted in.
var products = []string{"completions", "embeddings", "moderations", "images", "audio_speeches", "audio_transcriptions", "decisions", "videos", "fine_tuning"}

// usage shows what was used between two points in time, by any of day, project, key, model and product.
func (a *API) usage(ctx context.Context, c *call) (any, error) {
	q := c.URL.Query()
	now := nowSeconds()
	start, err := integer(q, "start_time", 0, maxTime, now-30*86400)
	if err != nil {
		return nil, err
	}
	end, err := integer(q, "end_time", 0, maxTime, now+1)
	if err != nil {
		return nil, err
	}
	if end <= start || end-start > 400*86400 {
		return nil, gatehouse.InvalidParam("end_time", "Invalid 'end_time': must be after 'start_time', by at most 400 days.")
	}
	by := map[string]bool{}
	var group []string
	for _, name := range many(q, "group_by") {
		column, ok := map[string]string{"day": "", "product": "", "project": "project_id", "key": "api_key_id", "model": "model"}[name]
		if !ok {
			return nil, gatehouse.InvalidParam("group_by", "Invalid 'group_by': %q is not one of day, project, key, model, product.", clip(name, 64))
		}
		if column != "" && !by[name] {
			group = append(group, column)
		}
		by[name] = true
	}
	if err := a.cfg.Ledger.Flush(ctx); err != nil {
		return nil, &gatehouse.Error{Kind: gatehouse.Unavailable, Message: "Usage cannot be read right now. Try again.", RetryAfterMillis: 1000, Err: err}
	}
	sums := map[usageLine]*usageLine{}
	var order []*usageLine
	err = a.cfg.DB.View(ctx, func(tx *store.Tx) error {
		for _, product := range products {
			buckets, err := tx.UsageBuckets(store.UsageQuery{Organization: c.who.Organization, Product: product, Start: gatehouse.Millis(start * 1000), End: gatehouse.Millis(end * 1000), Width: "1d",
				Projects: many(q, "project_ids"), Keys: many(q, "api_key_ids"), Models: many(q, "models"), GroupBy: group})
			if err != nil {
				return err
			}
			for i := range buckets {
				for j := range buckets[i].Results {
					r := &buckets[i].Results[j]
					if r.Requests == 0 {
						continue
					}
					at := usageLine{ProjectID: r.Project, KeyID: r.Key, Model: r.Model}
					if by["day"] {
						at.Day = buckets[i].Start.Time().Format(time.DateOnly)
					}
					if by["product"] {
						at.Product = product
					}
					line := sums[at]
					if line == nil {
						line = &at
						sums[at] = line
						order = append(order, line)
					}
					line.add(r)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(order, func(a, b *usageLine) int { return strings.Compare(a.Day, b.Day) })
	return map[string]any{"object": "list", "data": append([]*usageLine{}, order...), "start_time": start, "end_time": end}, nil
}

func (l *usageLine) add(r *store.UsageResult) {
	l.Requests += r.Requests
	l.CostNanoUSD += int64(r.Cost)
	l.Unpriced += r.Unpriced
	l.Units.Add(r.Units)
}
