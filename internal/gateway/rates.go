package gateway

import (
	"context"
	"strconv"

	"gatehouse"
	"gatehouse/internal/catalog"
	"gatehouse/internal/dialect"
	"gatehouse/internal/dialect/strictjson"
	"gatehouse/internal/dialect/usage"
	"gatehouse/internal/limit"
)

// Counters count what requests take of rate limits: limit.Memory on one node, valkey.Counters on several.
type Counters interface {
	// Take takes every charge or none and sets each one's Level. It may wait a moment, and never for longer than that.
	Take(ctx context.Context, charges []limit.Charge) bool
	// Correct adds to what was taken, or gives back. It does not wait.
	Correct(charges []limit.Charge)
}

// inlineTokens is what an image or a recording inside a body is taken for, in tokens, until the upstream has counted it.
const inlineTokens = 1000

// takeRates takes what the request is estimated to need of every rate limit that binds it, or refuses it. It comes before money is
// reserved: what money refuses gives back what was taken here.
func (x *exchange) takeRates() error {
	if x.call.Op.MeterOf(x.model != "") == "" {
		return nil
	}
	amounts := x.estimate()
	model := ""
	if x.plan.deployment != nil {
		model = x.plan.deployment.Name
	}
	x.charges = x.g.cfg.Catalog.Charges(x.charges[:0], x.id.Key, x.id.Project, model, &amounts)
	if x.batch != nil {
		x.chargeModels(amounts[limit.BatchTokens])
	}
	if len(x.charges) == 0 {
		return nil
	}
	for i := range x.charges {
		if x.charges[i].Never() {
			return x.rateRefusal(&x.charges[i])
		}
	}
	if x.ratesTaken = x.g.cfg.Counters.Take(x.ctx, x.charges); x.ratesTaken {
		return nil
	}
	worst := &x.charges[0]
	for i := range x.charges {
		if c := &x.charges[i]; c.Wait() > worst.Wait() {
			worst = c
		}
	}
	return x.rateRefusal(worst)
}

// chargeModels adds the limits of the models that a batch's lines name, each with its lines' share of the batch's tokens.
func (x *exchange) chargeModels(tokens int64) {
	none := catalog.Amounts{-1, -1, -1, -1, -1, -1}
	for _, m := range x.batch.Models {
		amounts := none
		amounts[limit.BatchTokens] = int64(float64(tokens) * float64(m.Lines) / float64(max(x.batch.Lines, 1)))
		x.charges = x.g.cfg.Catalog.ModelCharges(x.charges, x.id.Key, x.id.Project, m.Name, &amounts)
	}
}

// estimate returns what the request is going to take of each metric, as far as it can be told before: its text by its size, its
// output by what it is capped to. Output without a cap is counted once it is there, as OpenAI does.
func (x *exchange) estimate() catalog.Amounts {
	amounts := catalog.Amounts{limit.Requests: 1, limit.DayRequests: 1, limit.Tokens: -1, limit.Images: -1, limit.Audio: -1, limit.BatchTokens: -1}
	op := x.call.Op
	switch {
	case op.Begins == gatehouse.WorkBatch:
		if x.batch != nil {
			amounts[limit.BatchTokens] = usage.Estimate(x.batch.Input)
		}
		return amounts
	case op.Usage == usage.Images:
		amounts[limit.Images] = x.imagesAsked()
	case op.Usage == usage.Transcription:
		amounts[limit.Audio] = max(x.body.size, x.record.BytesIn, x.r.ContentLength, 0)
	}
	text := max(x.text-x.fields.Inline, 0)
	amounts[limit.Tokens] = usage.Estimate(text) + int64(x.fields.Inlines)*inlineTokens + askedOutput(op, x.fields)
	return amounts
}

// imagesAsked returns how many images a call of the images API asks for.
func (x *exchange) imagesAsked() int64 {
	if n, ok := x.fields.Int(x.fields.Span(x.call.Op.At.N)); ok && n > 0 {
		return n
	}
	if x.body.form != nil {
		if text, ok := x.body.form.scanner.Value("n"); ok {
			if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 {
				return n
			}
		}
	}
	return 1
}

// askedOutput is the most output that the request's own fields allow, 0 where they set no cap.
func askedOutput(op *dialect.Op, f *strictjson.Result) int64 {
	at := &op.At
	var most int64
	for _, i := range [...]int{at.MaxCompletionTokens, at.MaxTokens, at.MaxOutputTokens} {
		if n, ok := f.Int(f.Span(i)); ok {
			most = max(most, n)
		}
	}
	times := int64(1)
	for _, i := range [...]int{at.N, at.BestOf} {
		if n, ok := f.Int(f.Span(i)); ok {
			times = max(times, n)
		}
	}
	return min(most, limit.MaxAmount) * min(times, 1<<20)
}

// rateRefusal is the error of a request that a counter has no room for, and what the record says of it.
func (x *exchange) rateRefusal(c *limit.Charge) error {
	rule := c.Counter.Rule
	r := dialect.RateLimit{Model: clip(x.model), Organization: x.id.Principal.Organization, Metric: c.Counter.Metric.Text(),
		Tokens: c.Counter.Metric == limit.Tokens || c.Counter.Metric == limit.BatchTokens, Limit: c.Counter.Limit, Used: c.Used(), Requested: c.Amount,
		Never: c.Never(), Whose: whose(rule)}
	if !r.Never {
		r.WaitMillis = c.Wait()
	}
	x.g.metrics.limited[c.Counter.Metric].Add(1)
	x.record.Detail = "limit " + rule.ID + " of " + r.Whose + ", " + r.Metric + ": limit " + strconv.FormatInt(r.Limit, 10) + ", used " + strconv.FormatInt(r.Used, 10) +
		", requested " + strconv.FormatInt(r.Requested, 10)
	if rule.Model != "" {
		x.record.Detail += ", for " + rule.Model + " alone"
	}
	return dialect.RateLimitError(&x.call, &r)
}

// whose says whom a limit binds.
func whose(l *gatehouse.Limit) string {
	switch l.Scope {
	case gatehouse.ScopeOrganization:
		return "the organization"
	case gatehouse.ScopeServiceAccount:
		return "service account " + l.Subject
	}
	return string(l.Scope) + " " + l.Subject
}

// returnRates gives back everything that was taken: the request was not let through after all.
func (x *exchange) returnRates() {
	if !x.ratesTaken {
		return
	}
	x.ratesTaken = false
	for i := range x.charges {
		x.charges[i].Amount = -x.charges[i].Amount
	}
	x.g.cfg.Counters.Correct(x.charges)
}

// settleRates corrects what was estimated by what was used. The request itself stays counted, whatever became of it. It runs after
// the answer, off the caller's way.
func (x *exchange) settleRates() {
	if !x.ratesTaken {
		return
	}
	x.ratesTaken = false
	if x.settlement.Work != nil {
		return // it is used by and by, and nobody knows how much: the estimate stands
	}
	var used catalog.Amounts
	if u := &x.settlement.Units; x.settled && x.held && !x.settlement.Released {
		used[limit.Tokens] = u.Input + u.Output
		used[limit.Images] = u.Images
	}
	n := 0
	for i := range x.charges {
		c := &x.charges[i]
		switch c.Counter.Metric {
		case limit.Tokens, limit.Images:
			c.Amount = used[c.Counter.Metric] - c.Amount
		case limit.Audio:
			c.Amount = x.record.BytesIn - c.Amount
		case limit.BatchTokens:
			if x.record.Status < 300 {
				continue
			}
			c.Amount = -c.Amount // there is no batch
		default:
			continue
		}
		if c.Amount != 0 {
			x.charges[n] = *c
			n++
		}
	}
	x.g.cfg.Counters.Correct(x.charges[:n])
}

// rateHeaders sets the headers that say what is left: of requests and of tokens, each of the limit that is nearest to its end.
func (x *exchange) rateHeaders(set func(name, value string)) {
	if len(x.charges) == 0 {
		return
	}
	var requests, tokens dialect.RateState
	for i := range x.charges {
		c := &x.charges[i]
		to := &requests
		switch c.Counter.Metric {
		case limit.Tokens:
			to = &tokens
		case limit.Requests, limit.DayRequests:
		default:
			continue
		}
		if left := c.Remaining(); to.Limit == 0 || left < to.Remaining || left == to.Remaining && c.Reset() > to.ResetMillis {
			*to = dialect.RateState{Limit: c.Counter.Limit, Remaining: left, ResetMillis: c.Reset()}
		}
	}
	dialect.RateHeaders(x.call.Face, requests, tokens, set)
}
