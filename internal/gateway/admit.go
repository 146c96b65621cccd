package gateway

import (
	"fmt"
	"io"
	"math"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/dialect/bound"
	"gatehouse/internal/dialect/usage"
	"gatehouse/internal/ledger"
	"gatehouse/internal/ledger/budget"
	"gatehouse/internal/ledger/prices"
)

// allowance is what a request asks for and what was held for it.
type allowance struct {
	ask bound.Ask
	// Of a stream that a hard budget binds: the bytes of text at which what is held may be used up, and the tokens by which it then grows.
	watch  int64
	growth int64
	typed  bool // what is held is what is typical: the caller did not say how much there may be
	capped bool // a hard budget binds it
}

// unwatched is the watch of a stream that is never cut for money.
const unwatched = math.MaxInt64

// reserve holds what the request may cost at most. Operations that cost nothing are not held.
func (x *exchange) reserve() error {
	meter := x.call.Op.MeterOf(x.model != "")
	if meter == "" {
		return nil
	}
	first := &x.plan.steps[0]
	p := &x.id.Principal
	x.charge = ledger.Charge{
		RequestID: x.record.ID, Organization: p.Organization, Project: p.Project, Key: p.Actor.Key, User: p.Actor.User, ServiceAccount: p.Actor.ServiceAccount,
		Product: meter, Model: x.record.Model, Dialect: first.upstream.Dialect, Upstream: first.upstream.Name, UpstreamModel: first.model, ServiceTier: x.tier,
		PricedAs: first.pricedAs,
		At:       x.record.At, VideoMilliseconds: x.videoBound(), Budgets: x.g.cfg.Catalog.Budgets(x.id.Key, p.Project),
		Source: imageSources[x.call.Op.Name], Labels: x.g.labels(x.r.Header, p.Organization, p.Project, x.record.At),
	}
	x.record.Labels = x.charge.Labels
	x.allowance = allowance{watch: unwatched}
	x.readAsk()
	if x.batch != nil {
		x.batch.charge(&x.charge)
	}
	if err := x.spend(); err != nil {
		return err
	}
	if err := x.g.cfg.Ledger.Reserve(x.ctx, &x.charge, &x.hold); err != nil {
		if e := asError(err); e != nil && e.Kind == gatehouse.RateLimited {
			x.record.Detail = e.Message // which budget, what was asked and what was left
		}
		return err
	}
	x.held = true
	return nil
}

// readAsk reads what the request asks for from what was found in its body.
func (x *exchange) readAsk() {
	op := x.call.Op
	switch {
	case x.body.form != nil:
		var head [48]byte
		n := 0
		if files := x.body.form.scanner.Files; len(files) > 0 {
			n, _ = io.NewSectionReader(x.body.form, files[0].Start, files[0].End-files[0].Start).Read(head[:]) // what cannot be read says nothing
		}
		x.ask = bound.ReadForm(op, x.body.form.scanner, x.body.form.size, head[:n])
	default:
		x.ask = bound.Read(op, x.fields, x.body.size, refers(x.references))
	}
	x.ask.Video, x.ask.Unknown = x.charge.VideoMilliseconds, op.Unknown
	x.charge.Size, x.charge.Quality = clip(x.ask.Size), clip(x.ask.Quality)
}

// refers reports whether references name something whose content may be given to a model.
func refers(references []dialect.Reference) bool {
	for i := range references {
		if ref := &references[i]; !ref.Model && !ref.Account && ref.Kind != "" && ref.Kind != "audio.voice" {
			return true
		}
	}
	return false
}

// spend fills in what the request may cost at most, at the dearest route that it can reach, and refuses what a hard budget cannot hold:
// what has no price, and what has no end.
func (x *exchange) spend() error {
	rule := ruleOf(x.charge.Budgets)
	x.capped = rule.binding != nil
	all := x.most()
	if !x.capped {
		return nil
	}
	switch {
	case !all.priced && rule.unpriced != nil:
		return x.unpriced(rule.unpriced)
	case all.open == 0 && !all.guessed:
	case rule.refuse != nil:
		return x.unbounded(rule.refuse, all.open, all.guessed)
	case rule.limit != nil && all.open != 0:
		return x.unbounded(rule.limit, all.open, false)
	case rule.limit == nil:
		if err := x.holdTypical(rule.typical, all); err != nil {
			return err
		}
	}
	if x.ask.Texts() == 0 || !x.charge.BoundKnown {
		return nil
	}
	// A token of text is sixteen bytes or fewer but in text that nobody reads: a stream beyond them does not keep to its cap.
	bytes := int64(longToken)
	if x.typed {
		bytes = usualToken
	}
	x.watch, x.growth = saturated(x.charge.Output, bytes), max(x.charge.Output/2, leastGrowth)
	return nil
}

const (
	longToken   = 16
	usualToken  = 4 // as usage.Estimate has it
	leastGrowth = 256
)

// saturated multiplies two numbers that are not negative.
func saturated(a, b int64) int64 {
	if a > unwatched/b {
		return unwatched
	}
	return a * b
}

// reach is what a request may come to over all its routes.
type reach struct {
	open    bound.Open
	guessed bool
	priced  bool // every route has a price
}

// most fills the charge from every route the request can reach.
func (x *exchange) most() reach {
	if x.batch != nil {
		return x.batch.most(x)
	}
	c := &x.charge
	all := reach{priced: true}
	c.Bound, c.Input, c.Output = 0, 0, 0
	for i := range x.plan.n {
		most, money, priced := x.mostAt(&x.plan.steps[i])
		all.open, all.guessed, all.priced = all.open|most.Open, all.guessed || most.Guessed, all.priced && priced
		c.Bound, c.Input, c.Output = max(c.Bound, money), max(c.Input, most.Units.Input), max(c.Output, most.Units.Output)
	}
	if x.call.Op.Indirect() || x.call.Op.Begins == gatehouse.WorkFineTuning {
		all.open |= bound.OpenWork
	}
	c.BoundKnown = all.priced && all.open == 0
	c.Input = max(c.Input, x.body.size, 1)
	return all
}

// mostAt returns what the request may use and cost at most along one route.
func (x *exchange) mostAt(s *step) (bound.Most, gatehouse.NanoUSD, bool) {
	of := x.pricedAt(s)
	table := x.g.cfg.Ledger.Prices()
	limits, _ := table.Limits(&of)
	most := x.ask.Of(&bound.Model{Name: of.Model, Context: limits.Context, Input: limits.Input, Output: limits.Output})
	money, priced := priceOf(table, &of, &most)
	return most, money, priced
}

// pricedAt says what is priced along a route.
func (x *exchange) pricedAt(s *step) prices.Of {
	of := prices.Of{Organization: x.charge.Organization, Dialect: s.upstream.Dialect, Upstream: s.upstream.Name, Model: s.model, Tier: x.tier,
		Size: x.charge.Size, Quality: x.charge.Quality, At: x.charge.At}
	switch {
	case s.pricedAs != "":
		of.Model = s.pricedAs
	case of.Model == "":
		of.Model = x.charge.Model
	}
	return of
}

// imageModels are those that a tool may make pictures with where the request does not say.
var imageModels = [...]string{"gpt-image-1", "gpt-image-1.5", "gpt-image-2"}

// priceOf turns what a request may use at most into money.
func priceOf(table *prices.Table, of *prices.Of, most *bound.Most) (gatehouse.NanoUSD, bool) {
	money, priced := table.Bound(of, &most.Units)
	if most.Calls == 0 {
		return money, priced
	}
	var fee gatehouse.NanoUSD
	for u := range most.Fees {
		cost, ok := table.Bound(of, &u)
		fee, priced = max(fee, cost), priced && ok
	}
	if most.Tools&bound.ImageTool != 0 {
		known := false
		for _, model := range imageModels {
			made := *of
			made.Model, made.Size, made.Quality = model, most.Tool.Size, most.Tool.Quality
			u, _ := most.Pictures(model)
			cost, ok := table.Bound(&made, &u)
			fee, known = max(fee, cost), known || ok
		}
		priced = priced && known
	}
	return money + fee, priced
}

// rule is what the hard budgets of a chain ask of a request: of each kind the first that asks it. binding is nil where there is none.
type rule struct {
	binding, refuse, limit, typical, unpriced *gatehouse.Budget
}

func ruleOf(budgets []*gatehouse.Budget) (r rule) {
	first := func(to **gatehouse.Budget, b *gatehouse.Budget) {
		if *to == nil {
			*to = b
		}
	}
	for _, b := range budgets {
		if b.Enforcement != gatehouse.Hard {
			if b.UnknownPrice == gatehouse.UnknownRefuse {
				first(&r.unpriced, b)
			}
			continue
		}
		first(&r.binding, b)
		switch b.Uncapped {
		case gatehouse.UncappedRefuse:
			first(&r.refuse, b)
		case gatehouse.UncappedTypical:
			first(&r.typical, b)
		default:
			first(&r.limit, b)
		}
		if b.UnknownPrice != gatehouse.UnknownMeter {
			first(&r.unpriced, b)
		}
	}
	return r
}

// holdTypical makes the charge what is typical where nothing caps it: the output that 99 of 100 answers of the deployment lately kept
// to, and one call of tools. What runs over it is taken as it runs, or settled as it came.
func (x *exchange) holdTypical(b *gatehouse.Budget, all reach) error {
	x.typed = true
	if all.guessed {
		typical, ok := int64(0), false
		if x.plan.deployment != nil {
			typical, ok = x.g.typicals.most(x.plan.deployment.ID)
		}
		if all.open&bound.OpenOutput != 0 && !ok {
			return x.unbounded(b, bound.OpenOutput, true)
		}
		if ok {
			x.ask.Cap = max(typical, 1)
		}
	}
	if all.open&bound.OpenTools != 0 {
		x.ask.Calls = 1
	}
	again := x.most()
	x.charge.BoundKnown = again.priced
	return nil
}

// unpriced refuses a request for which the table has no price.
func (x *exchange) unpriced(b *gatehouse.Budget) error {
	what := "model `" + clip(x.charge.Model) + "`"
	if x.charge.Model == "" {
		what = "this call, which names no model,"
	}
	return &gatehouse.Error{Kind: gatehouse.Forbidden, Code: budget.CodePrice, NoRetry: true,
		Message: fmt.Sprintf("No price is known for %s and spend limit `%s` refuses what it cannot price. Ask the operator to set a price (`gatehouse prices set`), "+
			"or to let the limit count such requests without one (its `unknown_price`: `meter`).", what, clip(b.Name)),
		Err: fmt.Errorf("budget %s (%s) refuses what has no price", b.ID, b.Name)}
}

// unbounded refuses a request that could cost anything.
func (x *exchange) unbounded(b *gatehouse.Budget, open bound.Open, guessed bool) error {
	param, say := "", ""
	switch {
	case open&bound.OpenWork != 0:
		say = "what it costs is decided by what only the upstream knows. Ask the operator to let the limit take it as it comes (its `uncapped`: `typical`)."
	case open&bound.OpenTools != 0:
		param = "max_tool_calls"
		say = "the upstream may call its tools without end. Set `max_tool_calls`."
		if x.ask.Shape == usage.Chat {
			param, say = "tools", "the upstream may call its tools without end. Use the Responses API with `max_tool_calls`."
		}
	case open&bound.OpenInput != 0:
		say = "it refers to content that is not in it, and how much model `" + clip(x.charge.Model) + "` reads at most is not known. Send the content itself, or ask the operator for a price with the model's limits."
	case guessed || open&bound.OpenOutput != 0:
		param = capOf(x.ask.Shape)
		say = "nothing caps its output. Set `" + param + "`."
	}
	return &gatehouse.Error{Kind: gatehouse.Invalid, Code: CodeUnbounded, Param: param,
		Message: fmt.Sprintf("Spend limit `%s` holds what a request may cost at most before it is sent, and this one has no most: %s", clip(b.Name), say),
		Err:     fmt.Errorf("budget %s (%s) takes no request without an upper bound: of %s there is none", b.ID, b.Name, openText(open, guessed))}
}

func openText(open bound.Open, guessed bool) string {
	if guessed {
		open |= bound.OpenOutput
	}
	return open.String()
}

// capOf returns the field that caps the output of a kind of call.
func capOf(shape usage.Shape) string {
	switch shape {
	case usage.Responses:
		return "max_output_tokens"
	case usage.Completions:
		return "max_tokens"
	}
	return "max_completion_tokens"
}

// CodeUnbounded refuses what a hard budget cannot hold because it has no most.
const CodeUnbounded = "unbounded_request"
