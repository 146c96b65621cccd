package adminapi

import (
	"context"
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
