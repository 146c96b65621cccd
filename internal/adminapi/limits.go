package adminapi

import (
	"context"
	"slices"

	"gatehouse"
	"gatehouse/internal/admin"
)

// limitRoutes are OpenAI's rate limits of a project, and limits of every scope.
func (a *API) limitRoutes(on func(pattern, scope string, h handler)) {
	const project, limits = "/v1/organization/projects/{project_id}/rate_limits", "/gatehouse/v1/limits"
	on("GET "+project, "api.limits.read", a.listProjectLimits)
	on("POST "+project+"/{rate_limit_id}", "api.limits.write", a.updateProjectLimit)

	on("GET "+limits, "api.limits.read", a.listLimits)
	on("POST "+limits, "api.limits.write", a.putLimit)
	on("GET "+limits+"/{limit_id}", "api.limits.read", a.limit)
	on("POST "+limits+"/{limit_id}", "api.limits.write", a.updateLimit)
	on("DELETE "+limits+"/{limit_id}", "api.limits.write", a.removeLimit)
}

// noLimit stands in OpenAI's API for a rate that is not limited, in the two fields that are always there: the largest integer that
// every client can read. Whoever writes it back takes the limit away.
const noLimit = 1<<53 - 1

// projectLimit is OpenAI's: what one deployment of a project may be asked for.
type projectLimit struct {
	Object            string `json:"object"`
	ID                string `json:"id"`
	Model             string `json:"model"`
	RequestsPerMinute int64  `json:"max_requests_per_1_minute"`
	TokensPerMinute   int64  `json:"max_tokens_per_1_minute"`
	ImagesPerMinute   *int64 `json:"max_images_per_1_minute,omitempty"`
	AudioPerMinute    *int64 `json:"max_audio_megabytes_per_1_minute,omitempty"`
	RequestsPerDay    *int64 `json:"max_requests_per_1_day,omitempty"`
	BatchTokensPerDay *int64 `json:"batch_1_day_max_input_tokens,omitempty"`
}

func showProjectLimit(l *admin.ProjectLimit) (*projectLimit, string) {
	always := func(n int64) int64 {
		if n == 0 {
			return noLimit
		}
		return n
	}
	set := func(n int64) *int64 {
		if n == 0 {
			return nil
		}
		return &n
	}
	r := &l.Rates
	return &projectLimit{Object: "project.rate_limit", ID: l.ID(), Model: l.Deployment, RequestsPerMinute: always(r.RequestsPerMinute), TokensPerMinute: always(r.TokensPerMinute),
		ImagesPerMinute: set(r.ImagesPerMinute), AudioPerMinute: set(r.AudioMegabytesPerMinute), RequestsPerDay: set(r.RequestsPerDay), BatchTokensPerDay: set(r.BatchInputTokensPerDay)}, l.ID()
}

func (a *API) listProjectLimits(ctx context.Context, c *call) (any, error) {
	q := c.URL.Query()
	limit, err := integer(q, "limit", 1, 1000, 100)
	if err != nil {
		return nil, err
	}
	after, before := q.Get("after"), q.Get("before")
	if after != "" && before != "" {
		return nil, gatehouse.InvalidParam("before", "Only one of 'after' and 'before' may be given.")
	}
	rows, err := a.cfg.Admin.ProjectLimits(ctx, c.who, c.PathValue("project_id"))
	if err != nil {
		return nil, err
	}
	place := func(id string) int {
		return slices.IndexFunc(rows, func(l admin.ProjectLimit) bool { return l.ID() == id })
	}
	more := false
	switch {
	case after != "":
		i := place(after)
		if i < 0 {
			return nil, gatehouse.InvalidParam("after", "Invalid 'after': no rate limit of the project has this id.")
		}
		rows = rows[i+1:]
	case before != "":
		i := place(before)
		if i < 0 {
			return nil, gatehouse.InvalidParam("before", "Invalid 'before': no rate limit of the project has this id.")
		}
		rows = rows[:i]
		if first := len(rows) - int(limit); first > 0 { // the page that ends just before the cursor
			rows, more = rows[first:], true
		}
	}
	if len(rows) > int(limit) {
		rows, more = rows[:limit], true
	}
	return listOf(rows, more, showProjectLimit), nil
}

// ratesRequest is the rates of a change; in OpenAI's API one that is absent stays as it is.
type ratesRequest struct {
	RequestsPerMinute *int64 `json:"max_requests_per_1_minute"`
	TokensPerMinute   *int64 `json:"max_tokens_per_1_minute"`
	ImagesPerMinute   *int64 `json:"max_images_per_1_minute"`
	AudioPerMinute    *int64 `json:"max_audio_megabytes_per_1_minute"`
	RequestsPerDay    *int64 `json:"max_requests_per_1_day"`
	BatchTokensPerDay *int64 `json:"batch_1_day_max_input_tokens"`
}

func (r *ratesRequest) fields() map[string]*int64 {
	return map[string]*int64{"max_requests_per_1_minute": r.RequestsPerMinute, "max_tokens_per_1_minute": r.TokensPerMinute, "max_images_per_1_minute": r.ImagesPerMinute,
		"max_audio_megabytes_per_1_minute": r.AudioPerMinute, "max_requests_per_1_day": r.RequestsPerDay, "batch_1_day_max_input_tokens": r.BatchTokensPerDay}
}

func (r *ratesRequest) update() admin.RatesUpdate {
	return admin.RatesUpdate{RequestsPerMinute: optional(r.RequestsPerMinute), TokensPerMinute: optional(r.TokensPerMinute), ImagesPerMinute: optional(r.ImagesPerMinute),
		AudioMegabytesPerMinute: optional(r.AudioPerMinute), RequestsPerDay: optional(r.RequestsPerDay), BatchInputTokensPerDay: optional(r.BatchTokensPerDay)}
}

func (a *API) updateProjectLimit(ctx context.Context, c *call) (any, error) {
	req, err := body[ratesRequest](c)
	if err != nil {
		return nil, err
	}
	for name, v := range req.fields() {
		switch {
		case v == nil:
		case *v <= 0:
			return nil, gatehouse.InvalidParam(name, "Invalid '%s': must be at least 1. To take a limit away send %d.", name, int64(noLimit))
		case *v >= noLimit:
			*v = 0
		}
	}
	row, err := a.cfg.Admin.UpdateProjectLimit(ctx, c.who, c.PathValue("project_id"), c.PathValue("rate_limit_id"), req.update())
	return shown(&row, err, showProjectLimit)
}

// limitShown is a rate limit of any scope, and how much of it is used now.
type limitShown struct {
	Object  string          `json:"object"`
	ID      string          `json:"id"`
	Scope   gatehouse.Scope `json:"scope"`
	Subject string          `json:"subject"`
	Model   *string         `json:"model"` // null: all deployments together
	gatehouse.Rates
	Use       []limitUse `json:"use"`
	CreatedAt int64      `json:"created_at"`
}

// limitUse is one rate of a limit.
type limitUse struct {
	Name         string  `json:"name"`
	Limit        int64   `json:"limit"`
	Used         int64   `json:"used"` // more than limit: in debt
	Remaining    int64   `json:"remaining"`
	ResetSeconds float64 `json:"reset_seconds"` // until all of it is there again
}

// showLimits returns a function that shows limits with what is used of them.
func (a *API) showLimits(ctx context.Context, c *call) func(*gatehouse.Limit) (*limitShown, string) {
	use := a.cfg.LimitUse(ctx, c.who.Organization)
	return func(l *gatehouse.Limit) (*limitShown, string) {
		v := &limitShown{Object: "gatehouse.limit", ID: l.ID, Scope: l.Scope, Subject: l.Subject, Rates: l.Rates, Use: []limitUse{}, CreatedAt: l.CreatedAt.Seconds()}
		if l.Model != "" {
			v.Model = &l.Model
		}
		for i := range use {
			if u := &use[i]; u.Counter.Rule.ID == l.ID {
				v.Use = append(v.Use, limitUse{u.Counter.Metric.String(), u.Counter.Limit, u.Used(), u.Remaining(), float64(u.Reset()) / 1000})
			}
		}
		return v, l.ID
	}
}

func (a *API) listLimits(ctx context.Context, c *call) (any, error) {
	list, err := a.cfg.Admin.Limits(ctx, c.who)
	if err != nil {
		return nil, err
	}
	scope, subject := gatehouse.Scope(c.URL.Query().Get("scope")), c.URL.Query().Get("subject")
	list = slices.DeleteFunc(list, func(l gatehouse.Limit) bool {
		return scope != "" && l.Scope != scope || subject != "" && l.Subject != subject
	})
	return listOf(list, false, a.showLimits(ctx, c)), nil
}

type limitRequest struct {
	Scope   gatehouse.Scope `json:"scope"`
	Subject string          `json:"subject"`
	Model   string          `json:"model"`
	ratesRequest
}

// putLimit sets the limit of a subject: what is absent is not limited afterwards.
func (a *API) putLimit(ctx context.Context, c *call) (any, error) {
	req, err := body[limitRequest](c)
	if err != nil {
		return nil, err
	}
	spec := admin.LimitSpec{Scope: req.Scope, Subject: req.Subject, Model: req.Model, Rates: gatehouse.Rates{RequestsPerMinute: value(req.RequestsPerMinute), TokensPerMinute: value(req.TokensPerMinute),
		RequestsPerDay: value(req.RequestsPerDay), ImagesPerMinute: value(req.ImagesPerMinute), AudioMegabytesPerMinute: value(req.AudioPerMinute), BatchInputTokensPerDay: value(req.BatchTokensPerDay)}}
	if spec.Rates == (gatehouse.Rates{}) {
		return nil, gatehouse.InvalidParam("max_requests_per_1_minute", "A limit needs at least one rate: max_requests_per_1_minute, max_tokens_per_1_minute, max_requests_per_1_day, "+
			"max_images_per_1_minute, max_audio_megabytes_per_1_minute or batch_1_day_max_input_tokens.")
	}
	l, err := a.cfg.Admin.PutLimit(ctx, c.who, spec)
	if err != nil {
		return nil, err
	}
	return shown(l, nil, a.showLimits(ctx, c))
}

func (a *API) limit(ctx context.Context, c *call) (any, error) {
	l, err := a.cfg.Admin.Limit(ctx, c.who, c.PathValue("limit_id"))
	if err != nil {
		return nil, err
	}
	return shown(l, nil, a.showLimits(ctx, c))
}

// updateLimit changes the rates it is given; 0 takes one away, and the last of them the limit.
func (a *API) updateLimit(ctx context.Context, c *call) (any, error) {
	req, err := body[ratesRequest](c)
	if err != nil {
		return nil, err
	}
	l, err := a.cfg.Admin.UpdateLimit(ctx, c.who, c.PathValue("limit_id"), req.update())
	if err != nil {
		return nil, err
	}
	return shown(l, nil, a.showLimits(ctx, c))
}

func (a *API) removeLimit(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.RemoveLimit(ctx, c.who, c.PathValue("limit_id"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "gatehouse.limit.deleted", ID: c.PathValue("limit_id"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}
