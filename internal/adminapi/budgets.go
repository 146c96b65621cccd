package adminapi

import (
	"context"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// budgetRoutes are budgets of every scope, and what became of what they reserved.
func (a *API) budgetRoutes(on func(pattern, scope string, h handler)) {
	const budgets = "/gatehouse/v1/budgets"
	on("GET "+budgets, "api.spend.read", a.listBudgets)
	on("POST "+budgets, "api.spend.write", a.createBudget)
	on("GET "+budgets+"/{budget}", "api.spend.read", a.budget)
	on("POST "+budgets+"/{budget}", "api.spend.write", a.updateBudget)
	on("DELETE "+budgets+"/{budget}", "api.spend.write", a.removeBudget)
	on("POST "+budgets+"/{budget}/increases", "api.spend.write", a.increaseBudget)
	on("DELETE "+budgets+"/{budget}/increases/{increase_id}", "api.spend.write", a.endIncrease)
	on("GET "+budgets+"/{budget}/holds", "api.spend.read", a.listHolds)
	on("GET /gatehouse/v1/budget_holds", "api.spend.read", a.listHolds)
	on("DELETE /gatehouse/v1/budget_holds/{hold_id}", "api.spend.write", a.releaseHold)
	on("POST /gatehouse/v1/nodes/{node}/write_off", "api.spend.write", a.writeOff)
}

// budget is a budget as it is shown: its terms, and where its running window stands.
type budget struct {
	Object       string           `json:"object"`
	ID           string           `json:"id"`
	Name         string           `json:"name"`
	Kind         string           `json:"kind"` // budget, spend_limit or credits
	Scope        gatehouse.Scope  `json:"scope"`
	Subject      string           `json:"subject"`
	Amount       gatehouse.USD    `json:"amount_usd"`
	Window       gatehouse.Window `json:"window"`
	Enforcement  string           `json:"enforcement"`
	Uncapped     string           `json:"uncapped,omitempty"`      // of a hard one
	UnknownPrice string           `json:"unknown_price,omitempty"` // of a hard one
	Alerts       []int            `json:"alerts"`
	Increases    []increase       `json:"increases"`
	CreatedAt    int64            `json:"created_at"`
	Rev          int64            `json:"rev"`
	Current      *budgetWindow    `json:"current"`
	EffectiveBy  *int64           `json:"effective_by,omitempty"`
}

type increase struct {
	ID     string        `json:"id"`
	Amount gatehouse.USD `json:"amount_usd"`
	From   int64         `json:"from"`
	Until  int64         `json:"until"`
	Reason string        `json:"reason,omitempty"`
}

// budgetWindow is the running window of a budget.
type budgetWindow struct {
	StartsAt  int64         `json:"starts_at"`
	EndsAt    *int64        `json:"ends_at"`    // null for total
	Amount    gatehouse.USD `json:"amount_usd"` // with the increases that last now
	Spent     gatehouse.USD `json:"spent_usd"`
	Reserved  gatehouse.USD `json:"reserved_usd"`  // what nodes have taken for open requests and in advance
	Kept      gatehouse.USD `json:"kept_usd"`      // of requests whose usage is incomplete
	Remaining gatehouse.USD `json:"remaining_usd"` // below nothing where the budget was lowered below what was spent
	Enforcing bool          `json:"enforcing"`     // refuses now whatever comes
	Nodes     []budgetSlice `json:"nodes"`
}

type budgetSlice struct {
	Node    string        `json:"node"`
	Granted gatehouse.USD `json:"granted_usd"`
	Used    gatehouse.USD `json:"used_usd"`
	Free    gatehouse.USD `json:"free_usd"`
}

func showBudget(s *admin.BudgetStatus) (*budget, string) {
	b := &s.Budget
	v := &budget{Object: "gatehouse.budget", ID: b.ID, Name: b.Name, Kind: "budget", Scope: b.Scope, Subject: b.Subject, Amount: gatehouse.USD(b.Amount), Window: b.Window,
		Enforcement: string(b.Enforcement), Alerts: append([]int{}, b.Alerts...), Increases: []increase{}, CreatedAt: b.CreatedAt.Seconds(), Rev: b.Rev}
	if b.Kind != gatehouse.BudgetPlain {
		v.Kind = string(b.Kind)
	}
	if b.Enforcement == gatehouse.Hard {
		v.Uncapped, v.UnknownPrice = uncappedNames[b.Uncapped], unknownPriceNames[b.UnknownPrice]
	}
	for _, i := range b.Increases {
		v.Increases = append(v.Increases, increase{i.ID, gatehouse.USD(i.Amount), i.From.Seconds(), i.Until.Seconds(), i.Reason})
	}
	v.Current = &budgetWindow{StartsAt: s.Start.Seconds(), Amount: gatehouse.USD(s.Now), Spent: gatehouse.USD(s.Spent), Reserved: gatehouse.USD(s.Reserved), Kept: gatehouse.USD(s.Kept),
		Remaining: gatehouse.USD(s.Remaining()), Enforcing: s.Enforcing(), Nodes: []budgetSlice{}}
	if b.Window.Period != gatehouse.Total {
		v.Current.EndsAt = seconds(s.End)
	}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		v.Current.Nodes = append(v.Current.Nodes, budgetSlice{n.Node, gatehouse.USD(n.Granted), gatehouse.USD(n.Used), gatehouse.USD(n.Free())})
	}
	return v, b.ID
}

// The words of the API for the values that are empty in the vocabulary.
var (
	uncappedNames     = map[gatehouse.Uncapped]string{gatehouse.UncappedLimit: "limit", gatehouse.UncappedRefuse: "refuse", gatehouse.UncappedTypical: "typical"}
	unknownPriceNames = map[gatehouse.UnknownPrice]string{gatehouse.UnknownDefault: "default", gatehouse.UnknownMeter: "meter", gatehouse.UnknownRefuse: "refuse"}
)

type budgetRequest struct {
	Name         *string           `json:"name"`
	Scope        *gatehouse.Scope  `json:"scope"`
	Subject      *string           `json:"subject"`
	Amount       *gatehouse.USD    `json:"amount_usd"`
	Window       *gatehouse.Window `json:"window"`
	Enforcement  *string           `json:"enforcement"`
	Uncapped     *string           `json:"uncapped"`
	UnknownPrice *string           `json:"unknown_price"`
	Alerts       *[]int            `json:"alerts"`
	Rev          *int64            `json:"rev"`
}

func (a *API) listBudgets(ctx context.Context, c *call) (any, error) {
	list, err := a.cfg.Admin.Budgets(ctx, c.who)
	if err != nil {
		return nil, err
	}
	return listOf(list, false, showBudget), nil
}

func (a *API) budget(ctx context.Context, c *call) (any, error) {
	s, err := a.cfg.Admin.Budget(ctx, c.who, c.PathValue("budget"))
	return shown(s, err, showBudget)
}

// showNow answers a change with the budget as it is now.
func (a *API) showNow(ctx context.Context, c *call, b *gatehouse.Budget, effect admin.Effect, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	s, err := a.cfg.Admin.Budget(ctx, c.who, b.ID)
	if err != nil {
		return nil, err
	}
	v, _ := showBudget(s)
	v.EffectiveBy = c.effect(effect)
	return v, nil
}

func (a *API) createBudget(ctx context.Context, c *call) (any, error) {
	req, err := body[budgetRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("amount_usd", req.Amount != nil); err != nil {
		return nil, err
	}
	if req.Rev != nil {
		return nil, gatehouse.InvalidParam("rev", "Invalid 'rev': a budget that is created has none.")
	}
	b, effect, err := a.cfg.Admin.CreateBudget(ctx, c.who, admin.BudgetSpec{Name: value(req.Name), Scope: value(req.Scope), Subject: value(req.Subject), Amount: gatehouse.NanoUSD(*req.Amount),
		Window: value(req.Window), Enforcement: gatehouse.Enforcement(value(req.Enforcement)), Uncapped: admin.UncappedNamed(value(req.Uncapped)),
		UnknownPrice: admin.UnknownPriceNamed(value(req.UnknownPrice)), Alerts: value(req.Alerts)})
	return a.showNow(ctx, c, b, effect, err)
}

func (a *API) updateBudget(ctx context.Context, c *call) (any, error) {
	req, err := body[budgetRequest](c)
	if err != nil {
		return nil, err
	}
	for param, there := range map[string]bool{"scope": req.Scope != nil, "subject": req.Subject != nil, "window": req.Window != nil} {
		if there {
			return nil, gatehouse.InvalidParam(param, "Invalid '%s': it never changes, because what was counted was counted for it. Create another budget.", param)
		}
	}
	update := admin.BudgetUpdate{Name: optional(req.Name), Alerts: optional(req.Alerts), Rev: optional(req.Rev)}
	if req.Amount != nil {
		update.Amount = admin.Some(gatehouse.NanoUSD(*req.Amount))
	}
	if req.Enforcement != nil {
		update.Enforcement = admin.Some(gatehouse.Enforcement(*req.Enforcement))
	}
	if req.Uncapped != nil {
		update.Uncapped = admin.Some(admin.UncappedNamed(*req.Uncapped))
	}
	if req.UnknownPrice != nil {
		update.UnknownPrice = admin.Some(admin.UnknownPriceNamed(*req.UnknownPrice))
	}
	b, effect, err := a.cfg.Admin.UpdateBudget(ctx, c.who, c.PathValue("budget"), update)
	return a.showNow(ctx, c, b, effect, err)
}

func (a *API) removeBudget(ctx context.Context, c *call) (any, error) {
	b, err := a.cfg.Admin.RemoveBudget(ctx, c.who, c.PathValue("budget"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "gatehouse.budget.deleted", ID: b.ID, Deleted: true}, nil
}

type increaseRequest struct {
	Amount *gatehouse.USD `json:"amount_usd"`
	From   *int64         `json:"from"`  // unix seconds; absent: now
	Until  *int64         `json:"until"` // unix seconds
	Reason string         `json:"reason"`
}

func (a *API) increaseBudget(ctx context.Context, c *call) (any, error) {
	req, err := body[increaseRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("amount_usd", req.Amount != nil); err != nil {
		return nil, err
	}
	if err := required("until", req.Until != nil); err != nil {
		return nil, err
	}
	from, err := moment("from", req.From)
	if err != nil {
		return nil, err
	}
	until, err := moment("until", req.Until)
	if err != nil {
		return nil, err
	}
	b, effect, err := a.cfg.Admin.IncreaseBudget(ctx, c.who, c.PathValue("budget"), admin.IncreaseRequest{Amount: gatehouse.NanoUSD(*req.Amount), From: from, Until: until, Reason: req.Reason})
	return a.showNow(ctx, c, b, effect, err)
}

// moment reads a point in time in unix seconds; absent is 0.
func moment(param string, at *int64) (gatehouse.Millis, error) {
	if at == nil {
		return 0, nil
	}
	if *at < 1 || *at > maxTime {
		return 0, gatehouse.InvalidParam(param, "Invalid '%s': must be a time in unix seconds.", param)
	}
	return gatehouse.Millis(*at * 1000), nil
}

func (a *API) endIncrease(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.EndIncrease(ctx, c.who, c.PathValue("budget"), c.PathValue("increase_id"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "gatehouse.budget.increase.deleted", ID: c.PathValue("increase_id"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}

// keptHold is what stays reserved of a request whose usage is incomplete.
type keptHold struct {
	Object    string        `json:"object"`
	ID        string        `json:"id"` // of the usage; `gatehouse explain` takes it
	ProjectID string        `json:"project_id"`
	KeyID     string        `json:"key_id"`
	Model     string        `json:"model"`
	Node      string        `json:"node"`
	Amount    gatehouse.USD `json:"amount_usd"`
	At        int64         `json:"at"`
	Until     *int64        `json:"until"` // when the last of its windows ends, and with it the hold; null: never
	Budgets   []string      `json:"budgets"`
}

func showHold(k *store.KeptHold) (*keptHold, string) {
	v := &keptHold{Object: "gatehouse.budget_hold", ID: k.ID, ProjectID: k.Project, KeyID: k.Key, Model: k.Model, Node: k.Node, Amount: gatehouse.USD(k.Amount), At: k.At.Seconds(), Budgets: []string{}}
	if k.Until.Seconds() < maxTime {
		v.Until = seconds(k.Until)
	}
	for _, w := range k.Windows {
		v.Budgets = append(v.Budgets, w.Budget)
	}
	return v, k.ID
}

func (a *API) listHolds(ctx context.Context, c *call) (any, error) {
	return listed(c, false, func(page store.Page) ([]store.KeptHold, bool, error) {
		return a.cfg.Admin.Holds(ctx, c.who, c.PathValue("budget"), page)
	}, showHold)
}

func (a *API) releaseHold(ctx context.Context, c *call) (any, error) {
	k, err := a.cfg.Admin.ReleaseHold(ctx, c.who, c.PathValue("hold_id"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "gatehouse.budget_hold.deleted", ID: k.ID, Deleted: true}, nil
}

type writtenOff struct {
	Object   string           `json:"object"`
	Node     string           `json:"node"`
	Released gatehouse.USD    `json:"released_usd"` // of all windows together: one request counts in several budgets
	Windows  []writtenOffPart `json:"windows"`
}

type writtenOffPart struct {
	BudgetID string        `json:"budget_id"`
	StartsAt int64         `json:"starts_at"`
	Released gatehouse.USD `json:"released_usd"`
}

func (a *API) writeOff(ctx context.Context, c *call) (any, error) {
	if _, err := body[struct{}](c); err != nil {
		return nil, err
	}
	list, err := a.cfg.Admin.WriteOff(ctx, c.who, c.PathValue("node"))
	if err != nil {
		return nil, err
	}
	v := writtenOff{Object: "gatehouse.write_off", Node: c.PathValue("node"), Windows: []writtenOffPart{}}
	for _, w := range list {
		v.Released += gatehouse.USD(w.Released)
		v.Windows = append(v.Windows, writtenOffPart{w.Window.Budget, w.Window.Start.Seconds(), gatehouse.USD(w.Released)})
	}
	return v, nil
}
