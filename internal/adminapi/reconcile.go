package adminapi

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"gatehouse"
	"gatehouse/internal/dialect/bill"
	"gatehouse/internal/finance"
)

// reconcileRequest asks for OpenAI's own numbers. An export of Azure comes as the body instead, as text/csv, with the same names in the
// query.
type reconcileRequest struct {
	Upstream  string            `json:"upstream"`   // whose account it is
	AdminKey  string            `json:"admin_key"`  // a secret reference: an admin key of that account
	StartTime int64             `json:"start_time"` // midnight UTC
	EndTime   int64             `json:"end_time"`
	Tolerance *float64          `json:"tolerance"` // a share of the bill; default 0.01
	Projects  []string          `json:"provider_projects"`
	Models    map[string]string `json:"models"`
}

type reconcileAnswer struct {
	Object    string             `json:"object"`
	Provider  string             `json:"provider"`
	Upstreams []string           `json:"upstreams"`
	StartTime int64              `json:"start_time"`
	EndTime   int64              `json:"end_time"`
	Ours      int64              `json:"our_nano_usd"`
	Theirs    int64              `json:"provider_nano_usd"`
	Variance  int64              `json:"variance_nano_usd"`
	Tolerance float64            `json:"tolerance"`
	Within    bool               `json:"within_tolerance"`
	Causes    []reconcileCause   `json:"causes"`
	Lines     []finance.Variance `json:"lines"`
	Estimated struct {
		Requests int64 `json:"requests"`
		Cost     int64 `json:"cost_nano_usd"`
	} `json:"estimated"`
	Hints []string `json:"hints"`
}

type reconcileCause struct {
	Cause  finance.Cause `json:"cause"`
	Amount int64         `json:"amount_nano_usd"`
}

const (
	// maxExportBody is the most an export may hold. It is read as it comes.
	maxExportBody = 1 << 30
	// maxBillPages bounds what is asked of a provider for one reconciliation.
	maxBillPages = 400
	// maxBillLines bounds what is kept of a bill, after lines of one model, meter and project were added up.
	maxBillLines = 50_000
)

// reconcile compares a provider's bill with our books.
func (a *API) reconcile(ctx context.Context, c *call) (any, error) {
	if kind, _, err := mime.ParseMediaType(c.Header.Get("Content-Type")); err == nil && kind == "text/csv" {
		return a.reconcileAzure(ctx, c)
	}
	req, err := body[reconcileRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("upstream", req.Upstream != ""); err != nil {
		return nil, err
	}
	if err := required("admin_key", req.AdminKey != ""); err != nil {
		return nil, err
	}
	if err := a.cfg.Admin.May(ctx, c.who, gatehouse.ManagementWrite); err != nil {
		return nil, err // it uses a secret of the server
	}
	if a.cfg.Bill == nil {
		return nil, gatehouse.Errorf(gatehouse.Unavailable, "This node cannot read bills.")
	}
	run := reconciliation{provider: "openai", options: finance.ReconcileOptions{Projects: req.Projects, Models: req.Models, Tolerance: 0.01}}
	if req.Tolerance != nil {
		run.options.Tolerance = *req.Tolerance
	}
	if err := run.window(req.StartTime, req.EndTime); err != nil {
		return nil, err
	}
	ups, err := a.cfg.Admin.Upstreams(ctx, c.who)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(ups, func(u gatehouse.Upstream) bool { return u.Name == req.Upstream })
	if i < 0 {
		return nil, gatehouse.InvalidParam("upstream", "Invalid 'upstream': there is no upstream %q.", clip(req.Upstream, 64))
	}
	up := &ups[i]
	// The account is the credential's: upstreams that share it, and the host, are on one bill.
	run.mine = func(u *gatehouse.Upstream) bool { return u.Name == up.Name || u.Account() == up.Account() }
	lines, err := readOpenAI(func(path string) ([]byte, error) { return a.cfg.Bill(ctx, up, req.AdminKey, path) }, run.start, run.end)
	if err != nil {
		return nil, err
	}
	return a.compare(ctx, c, &run, lines)
}

// reconciliation is one comparison that is being made.
type reconciliation struct {
	provider   string
	start, end gatehouse.Millis
	options    finance.ReconcileOptions
	mine       func(*gatehouse.Upstream) bool
}

// window sets whole days, UTC, of which providers' bills are made.
func (r *reconciliation) window(start, end int64) error {
	switch {
	case start < 0 || start > maxTime || start%86400 != 0:
		return gatehouse.InvalidParam("start_time", "Invalid 'start_time': must be midnight UTC, in unix seconds.")
	case end <= start || end > maxTime || end%86400 != 0 || end-start > 92*86400:
		return gatehouse.InvalidParam("end_time", "Invalid 'end_time': must be midnight UTC, in unix seconds, after 'start_time' by at most 92 days.")
	case !(r.options.Tolerance >= 0 && r.options.Tolerance <= 1):
		return gatehouse.InvalidParam("tolerance", "Invalid 'tolerance': must be between 0 and 1.")
	}
	r.start, r.end = gatehouse.Millis(start*1000), gatehouse.Millis(end*1000)
	return nil
}

// readOpenAI reads costs, and the quantities of what costs have none for.
func readOpenAI(get func(path string) ([]byte, error), start, end gatehouse.Millis) ([]bill.Line, error) {
	pages := 0
	all := func(path func(page string) string, read func([]byte) (next string, err error)) error {
		seen := map[string]bool{}
		for page := ""; ; {
			if pages++; pages > maxBillPages || seen[page] {
				return &gatehouse.Error{Kind: gatehouse.BadUpstream, Code: "upstream_bill_refused", Message: "The provider's pages have no end. Ask for fewer days."}
			}
			seen[page] = true
			text, err := get(path(page))
			if err != nil {
				return err
			}
			if page, err = read(text); err != nil {
				return &gatehouse.Error{Kind: gatehouse.BadUpstream, Code: "upstream_bill_refused", Message: "The provider's answer cannot be read: " + err.Error() + ".", Err: err}
			}
			if page == "" {
				return nil
			}
		}
	}
	var sums billSums
	err := all(func(page string) string { return bill.CostsPath(start, end, page) }, func(text []byte) (string, error) {
		lines, next, err := bill.Costs(text)
		for i := range lines {
			sums.add(&lines[i])
		}
		return next, err
	})
	for _, endpoint := range bill.UsageEndpoints {
		if err != nil || !sums.lack() {
			break
		}
		err = all(func(page string) string { return bill.UsagePath(endpoint, start, end, page) }, func(text []byte) (string, error) {
			usage, next, err := bill.ReadUsage(text)
			for i := range usage {
				sums.quantities(&usage[i])
			}
			return next, err
		})
	}
	if err != nil {
		return nil, err
	}
	return sums.lines()
}

// reconcileAzure compares a cost export with the books of Azure's upstreams.
func (a *API) reconcileAzure(ctx context.Context, c *call) (any, error) {
	q := c.URL.Query()
	run := reconciliation{provider: "azure", options: finance.ReconcileOptions{Tolerance: 0.01, Models: map[string]string{}}}
	if text := q.Get("tolerance"); text != "" {
		t, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, gatehouse.InvalidParam("tolerance", "Invalid 'tolerance': must be between 0 and 1.")
		}
		run.options.Tolerance = t
	}
	for _, pair := range many(q, "models") {
		theirs, ours, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, gatehouse.InvalidParam("models", "Invalid 'models': %q is not THEIRS=OURS.", clip(pair, 64))
		}
		run.options.Models[theirs] = ours
	}
	start, err := integer(q, "start_time", 0, maxTime, 0)
	if err != nil {
		return nil, err
	}
	end, err := integer(q, "end_time", 0, maxTime, 0)
	if err != nil {
		return nil, err
	}
	if err := run.window(start, end); err != nil {
		return nil, err
	}
	upstream := q.Get("upstream")
	run.mine = func(u *gatehouse.Upstream) bool {
		return u.Dialect == gatehouse.Azure && (upstream == "" || u.Name == upstream)
	}
	var sums billSums
	err = bill.Azure(http.MaxBytesReader(nil, c.Body, maxExportBody), q.Get("resource"), func(l *bill.Line) error {
		if l.Start >= run.start && l.Start < run.end {
			sums.add(l)
		}
		if sums.full() {
			return errors.New("it has too many different lines")
		}
		return ctx.Err()
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &gatehouse.Error{Kind: gatehouse.Invalid, Code: "invalid_cost_export", Message: "The cost export cannot be read: " + clip(err.Error(), 300) + ".", Err: err}
	}
	lines, err := sums.lines()
	if err != nil {
		return nil, err
	}
	return a.compare(ctx, c, &run, lines)
}

func (a *API) compare(ctx context.Context, c *call, run *reconciliation, lines []bill.Line) (any, error) {
	b, _, err := a.books(ctx, c)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	ours, estimates, err := b.Ours(ctx, run.start, run.end, func(u *gatehouse.Upstream) bool {
		ok := run.mine(u)
		if ok {
			used[u.Name] = true
		}
		return ok
	})
	if err != nil {
		return nil, err
	}
	r := finance.Reconcile(ours, lines, &run.options)
	answer := &reconcileAnswer{Object: "gatehouse.reconciliation", Provider: run.provider, Upstreams: []string{}, StartTime: run.start.Seconds(), EndTime: run.end.Seconds(),
		Ours: int64(r.Ours), Theirs: int64(r.Theirs), Variance: int64(r.Variance()), Tolerance: run.options.Tolerance, Within: r.Within, Lines: r.Lines, Hints: []string{}}
	for name := range used {
		answer.Upstreams = append(answer.Upstreams, name)
	}
	slices.Sort(answer.Upstreams)
	if answer.Lines == nil {
		answer.Lines = []finance.Variance{}
	}
	for _, cause := range finance.Causes {
		answer.Causes = append(answer.Causes, reconcileCause{cause, int64(r.Causes[cause])})
		if n := r.Causes[cause]; n != 0 && advice[cause] != "" {
			answer.Hints = append(answer.Hints, string(cause)+": "+advice[cause])
		}
	}
	answer.Estimated.Requests, answer.Estimated.Cost = estimates.Requests, int64(estimates.Cost)
	if estimates.Requests > 0 {
		answer.Hints = append(answer.Hints, "estimated: "+strconv.FormatInt(estimates.Requests, 10)+" requests of these days stand on an estimate, and what else they may have cost is held. Where the bill settles "+
			"the doubt, `gatehouse budgets holds` lists those holds and `gatehouse budgets release` gives them back; the end of the budget's window does as well.")
	}
	return answer, nil
}

// advice is what to do about a cause.
var advice = map[finance.Cause]string{
	finance.NotThrough:     "something calls the provider beside the gateway; name its project, rotate what it uses, or leave it out with provider_projects.",
	finance.NotCounted:     "the provider bills for what Gatehouse has no meter for; add it to your costs by hand.",
	finance.UnknownPrice:   "give these models a price: `gatehouse prices`.",
	finance.PriceDiffers:   "the bill implies another price than the table has; the lines show both. Correct it with `gatehouse prices`.",
	finance.EstimatedUsage: "some answers did not report their usage and were counted from what passed.",
	finance.Timing:         "usage within five minutes of the first and last midnight may be on the other day's bill; compare a longer time.",
}
