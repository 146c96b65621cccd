package client

import (
	"context"
	"iter"
	"net/http"

	"gatehouse"
)

// Budget is what may be spent in a stretch of time, and where its running window stands.
type Budget struct {
	Answer
	ID           string           `json:"id"`
	Name         string           `json:"name"` // empty for spend limits and credits
	Kind         string           `json:"kind"` // budget, spend_limit or credits
	Scope        gatehouse.Scope  `json:"scope"`
	Subject      string           `json:"subject"`
	Amount       gatehouse.USD    `json:"amount_usd"`
	Window       gatehouse.Window `json:"window"`
	Enforcement  string           `json:"enforcement"`
	Uncapped     string           `json:"uncapped"`
	UnknownPrice string           `json:"unknown_price"`
	Alerts       []int            `json:"alerts"`
	Increases    []Increase       `json:"increases"`
	CreatedAt    int64            `json:"created_at"` // unix seconds
	Rev          int64            `json:"rev"`
	Current      BudgetWindow     `json:"current"`
	EffectiveBy  int64            `json:"effective_by"` // unix seconds, when a node was silent; else 0
}

// Increase raises a budget for a time.
type Increase struct {
	ID     string        `json:"id"`
	Amount gatehouse.USD `json:"amount_usd"`
	From   int64         `json:"from"`  // unix seconds
	Until  int64         `json:"until"` // unix seconds
	Reason string        `json:"reason"`
}

// BudgetWindow is the running window of a budget.
type BudgetWindow struct {
	StartsAt  int64         `json:"starts_at"` // unix seconds
	EndsAt    int64         `json:"ends_at"`   // unix seconds; 0: never
	Amount    gatehouse.USD `json:"amount_usd"`
	Spent     gatehouse.USD `json:"spent_usd"`
	Reserved  gatehouse.USD `json:"reserved_usd"`
	Kept      gatehouse.USD `json:"kept_usd"`
	Remaining gatehouse.USD `json:"remaining_usd"`
	Enforcing bool          `json:"enforcing"`
	Nodes     []BudgetSlice `json:"nodes"`
}

// BudgetSlice is what one node has taken of a window.
type BudgetSlice struct {
	Node    string        `json:"node"`
	Granted gatehouse.USD `json:"granted_usd"`
	Used    gatehouse.USD `json:"used_usd"`
	Free    gatehouse.USD `json:"free_usd"`
}

// BudgetSpec creates a budget, or changes one: what is nil stays, and scope, subject and window cannot change.
type BudgetSpec struct {
	Name         *string           `json:"name,omitempty"`
	Scope        gatehouse.Scope   `json:"scope,omitempty"`
	Subject      string            `json:"subject,omitempty"`
	Amount       *gatehouse.USD    `json:"amount_usd,omitempty"`
	Window       *gatehouse.Window `json:"window,omitempty"`
	Enforcement  string            `json:"enforcement,omitempty"`
	Uncapped     string            `json:"uncapped,omitempty"`
	UnknownPrice string            `json:"unknown_price,omitempty"`
	Alerts       *[]int            `json:"alerts,omitempty"`
	// Rev, when set in a change, refuses it once there is a newer revision.
	Rev *int64 `json:"rev,omitempty"`
}

var budgetsPath = []string{"gatehouse", "v1", "budgets"}

// Budgets lists the organization's budgets.
func (c *Client) Budgets(ctx context.Context) iter.Seq2[*Budget, error] {
	return all[Budget](ctx, c, nil, budgetsPath...)
}

// Budget returns a budget by id or name.
func (c *Client) Budget(ctx context.Context, budget string) (*Budget, error) {
	return do[Budget](ctx, c, request{method: http.MethodGet, path: under(budgetsPath, budget)})
}

// CreateBudget creates a budget.
func (c *Client) CreateBudget(ctx context.Context, spec BudgetSpec) (*Budget, error) {
	return do[Budget](ctx, c, request{method: http.MethodPost, path: budgetsPath, body: spec})
}

// UpdateBudget changes a budget, by id or name. What was spent stays as it is.
func (c *Client) UpdateBudget(ctx context.Context, budget string, spec BudgetSpec) (*Budget, error) {
	return do[Budget](ctx, c, request{method: http.MethodPost, path: under(budgetsPath, budget), body: spec})
}

// RemoveBudget ends a budget, by id or name.
func (c *Client) RemoveBudget(ctx context.Context, budget string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: under(budgetsPath, budget)})
}

// IncreaseBudget raises a budget, by id or name, from a time (0: now) until another, in unix seconds.
func (c *Client) IncreaseBudget(ctx context.Context, budget string, amount gatehouse.USD, from, until int64, reason string) (*Budget, error) {
	body := struct {
		Amount gatehouse.USD `json:"amount_usd"`
		From   int64         `json:"from,omitempty"`
		Until  int64         `json:"until"`
		Reason string        `json:"reason,omitempty"`
	}{amount, from, until, reason}
	return do[Budget](ctx, c, request{method: http.MethodPost, path: under(budgetsPath, budget, "increases"), body: body})
}

// EndIncrease takes an increase back.
func (c *Client) EndIncrease(ctx context.Context, budget, increase string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: under(budgetsPath, budget, "increases", increase)})
}

// KeptHold is what stays reserved of a request whose usage is incomplete.
type KeptHold struct {
	Answer
	ID        string        `json:"id"`
	ProjectID string        `json:"project_id"`
	KeyID     string        `json:"key_id"`
	Model     string        `json:"model"`
	Node      string        `json:"node"`
	Amount    gatehouse.USD `json:"amount_usd"`
	At        int64         `json:"at"`    // unix seconds
	Until     int64         `json:"until"` // unix seconds; 0: never
	Budgets   []string      `json:"budgets"`
}

// KeptHolds lists what is kept, of a budget by id or name, or where that is empty of the organization.
func (c *Client) KeptHolds(ctx context.Context, budget string) iter.Seq2[*KeptHold, error] {
	if budget == "" {
		return all[KeptHold](ctx, c, nil, "gatehouse", "v1", "budget_holds")
	}
	return all[KeptHold](ctx, c, nil, under(budgetsPath, budget, "holds")...)
}

// ReleaseHold ends a kept hold in every budget that it counts in.
func (c *Client) ReleaseHold(ctx context.Context, id string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: []string{"gatehouse", "v1", "budget_holds", id}})
}

// WrittenOff is what a dead node's slices gave back.
type WrittenOff struct {
	Answer
	Node     string        `json:"node"`
	Released gatehouse.USD `json:"released_usd"`
	Windows  []struct {
		BudgetID string        `json:"budget_id"`
		StartsAt int64         `json:"starts_at"`
		Released gatehouse.USD `json:"released_usd"`
	} `json:"windows"`
}

// WriteOff gives back what a dead node holds unused of the organization's budgets.
func (c *Client) WriteOff(ctx context.Context, node string) (*WrittenOff, error) {
	return do[WrittenOff](ctx, c, request{method: http.MethodPost, path: []string{"gatehouse", "v1", "nodes", node, "write_off"}})
}

// under returns a path below another.
func under(path []string, more ...string) []string {
	return append(append([]string(nil), path...), more...)
}

// Organization is the organization that the admin key acts in.
type Organization struct {
	Answer
	ID             string `json:"id"`
	Name           string `json:"name"`
	DefaultProject string `json:"default_project_id"`
	TimeZone       string `json:"time_zone"` // an IANA name; days and months of budgets begin in it
	// HeaderLabels are the names of labels that callers may send with a request, see gatehouse.LabelHeader.
	HeaderLabels []string `json:"header_labels"`
	// Retention is how long measurements are kept.
	Retention     gatehouse.Retention     `json:"retention"`
	DataRetention gatehouse.DataRetention `json:"data_retention"` // of requests in projects that do not say it themselves
	EffectiveBy   int64                   `json:"effective_by"`
}

// OrganizationUpdate changes the organization; what is nil stays.
type OrganizationUpdate struct {
	Name     *string `json:"name,omitempty"`
	TimeZone *string `json:"time_zone,omitempty"`
	// HeaderLabels replaces all of them.
	HeaderLabels *[]string `json:"header_labels,omitempty"`
	// Retention changes what it names: requests_days, minutes_days, hours_days, usage_days. 0 is the default.
	Retention     map[string]int64         `json:"retention,omitempty"`
	DataRetention *gatehouse.DataRetention `json:"data_retention,omitempty"`
}

// Organization returns the organization that the admin key acts in.
func (c *Client) Organization(ctx context.Context) (*Organization, error) {
	return do[Organization](ctx, c, request{method: http.MethodGet, path: []string{"gatehouse", "v1", "organization"}})
}

// UpdateOrganization changes the organization.
func (c *Client) UpdateOrganization(ctx context.Context, update OrganizationUpdate) (*Organization, error) {
	return do[Organization](ctx, c, request{method: http.MethodPost, path: []string{"gatehouse", "v1", "organization"}, body: update})
}
