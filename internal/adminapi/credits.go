package adminapi

import (
	"context"
	"strconv"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// creditRoutes are prepaid credits.
func (a *API) creditRoutes(on func(pattern, scope string, h handler)) {
	const credits = "/gatehouse/v1/credits"
	on("GET "+credits, "api.spend.read", a.credits)
	on("POST "+credits, "api.spend.write", a.updateCredits)
	on("GET "+credits+"/grants", "api.spend.read", a.listGrants)
	on("POST "+credits+"/grants", "api.spend.write", a.createGrant)
	on("GET "+credits+"/grants/{grant}", "api.spend.read", a.grant)
	on("POST "+credits+"/grants/{grant}/activate", "api.spend.write", a.activateGrant)
	on("POST "+credits+"/grants/{grant}/revoke", "api.spend.write", a.revokeGrant)
	on("POST "+credits+"/refill", "api.spend.write", a.refill)
	on("GET "+credits+"/entries", "api.spend.read", a.listEntries)
	on("GET "+credits+"/trial_balance", "api.spend.read", a.trialBalance)
}

type credits struct {
	Object      string                                    `json:"object"`
	Prepaid     bool                                      `json:"prepaid"`
	Since       *int64                                    `json:"since"`
	BudgetID    string                                    `json:"budget_id,omitempty"`
	Balance     gatehouse.USD                             `json:"balance_usd"`
	Reserved    gatehouse.USD                             `json:"reserved_usd"`
	Owed        gatehouse.USD                             `json:"owed_usd"`
	Unposted    gatehouse.USD                             `json:"unposted_usd"`
	Accounts    map[gatehouse.CreditAccount]gatehouse.USD `json:"accounts"`
	Refill      refillPolicy                              `json:"refill"`
	RefillsLeft gatehouse.USD                             `json:"refills_left_usd"` // this month
	EffectiveBy *int64                                    `json:"effective_by,omitempty"`
}

type refillPolicy struct {
	Mode       string        `json:"mode"` // none, manual or automatic
	Below      gatehouse.USD `json:"below_usd,omitzero"`
	Add        gatehouse.USD `json:"add_usd,omitzero"`
	MonthlyMax gatehouse.USD `json:"monthly_max_usd,omitzero"`
	Days       int           `json:"days,omitempty"`
}

func (a *API) credits(ctx context.Context, c *call) (any, error) {
	return a.showCredits(ctx, c, admin.Effect{Everywhere: true})
}

func (a *API) showCredits(ctx context.Context, c *call, effect admin.Effect) (any, error) {
	i, err := a.cfg.Admin.Credits(ctx, c.who)
	if err != nil {
		return nil, err
	}
	v := credits{Object: "gatehouse.credits", Prepaid: i.Budget != "", Since: seconds(i.Since), BudgetID: i.Budget, Balance: gatehouse.USD(i.Balance), Reserved: gatehouse.USD(i.Reserved),
		Owed: gatehouse.USD(i.Owed), Unposted: gatehouse.USD(i.Unposted), Accounts: inUSD(i.Accounts), RefillsLeft: gatehouse.USD(i.Room), EffectiveBy: c.effect(effect),
		Refill: refillPolicy{"none", gatehouse.USD(i.Refill.Below), gatehouse.USD(i.Refill.Add), gatehouse.USD(i.Refill.MonthlyMax), i.Refill.Days}}
	if i.Refill.Mode != gatehouse.RefillNone {
		v.Refill.Mode = string(i.Refill.Mode)
	}
	return v, nil
}

func inUSD(accounts map[gatehouse.CreditAccount]gatehouse.NanoUSD) map[gatehouse.CreditAccount]gatehouse.USD {
	out := map[gatehouse.CreditAccount]gatehouse.USD{}
	for account, amount := range accounts {
		out[account] = gatehouse.USD(amount)
	}
	return out
}

type creditsRequest struct {
	Prepaid *bool         `json:"prepaid"`
	Refill  *refillPolicy `json:"refill"`
}

func (a *API) updateCredits(ctx context.Context, c *call) (any, error) {
	req, err := body[creditsRequest](c)
	if err != nil {
		return nil, err
	}
	update := admin.CreditsUpdate{Prepaid: optional(req.Prepaid)}
	if r := req.Refill; r != nil {
		update.Refill = admin.Some(gatehouse.Refill{Mode: admin.RefillModeNamed(r.Mode), Below: gatehouse.NanoUSD(r.Below), Add: gatehouse.NanoUSD(r.Add), MonthlyMax: gatehouse.NanoUSD(r.MonthlyMax), Days: r.Days})
	}
	effect, err := a.cfg.Admin.UpdateCredits(ctx, c.who, update)
	if err != nil {
		return nil, err
	}
	return a.showCredits(ctx, c, effect)
}

type grant struct {
	Object      string               `json:"object"`
	ID          string               `json:"id"`
	Name        string               `json:"name"`
	State       gatehouse.GrantState `json:"state"`
	Amount      gatehouse.USD        `json:"amount_usd"`
	Left        gatehouse.USD        `json:"left_usd"` // without spending that is not entered yet
	Priority    int                  `json:"priority"`
	StartsAt    *int64               `json:"starts_at"`
	ExpiresAt   *int64               `json:"expires_at"`
	ActivatedAt *int64               `json:"activated_at"`
	RevokedAt   *int64               `json:"revoked_at"`
	Refill      bool                 `json:"refill"`
	Reference   string               `json:"reference,omitempty"`
	CreatedAt   int64                `json:"created_at"`
	EffectiveBy *int64               `json:"effective_by,omitempty"`
}

func showGrant(g *admin.GrantInfo) (*grant, string) {
	return &grant{Object: "gatehouse.credit_grant", ID: g.ID, Name: g.Name, State: g.State, Amount: gatehouse.USD(g.Amount), Left: gatehouse.USD(g.Left), Priority: g.Priority,
		StartsAt: seconds(g.StartsAt), ExpiresAt: seconds(g.ExpiresAt), ActivatedAt: seconds(g.ActivatedAt), RevokedAt: seconds(g.RevokedAt), Refill: g.Refill, Reference: g.Reference,
		CreatedAt: g.CreatedAt.Seconds()}, g.ID
}

func (a *API) listGrants(ctx context.Context, c *call) (any, error) {
	return listed(c, false, func(page store.Page) ([]admin.GrantInfo, bool, error) {
		return a.cfg.Admin.CreditGrants(ctx, c.who, page)
	}, showGrant)
}

func (a *API) grant(ctx context.Context, c *call) (any, error) {
	g, err := a.cfg.Admin.ShowGrant(ctx, c.who, c.PathValue("grant"))
	return shown(g, err, showGrant)
}

// granted answers a change of a grant with the grant as it is now.
func (a *API) granted(ctx context.Context, c *call, g *gatehouse.Grant, effect admin.Effect, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	info, err := a.cfg.Admin.ShowGrant(ctx, c.who, g.ID)
	if err != nil {
		return nil, err
	}
	v, _ := showGrant(info)
	v.EffectiveBy = c.effect(effect)
	return v, nil
}

type grantRequest struct {
	Name      string         `json:"name"`
	Amount    *gatehouse.USD `json:"amount_usd"`
	Priority  int            `json:"priority"`
	StartsAt  *int64         `json:"starts_at"`
	ExpiresAt *int64         `json:"expires_at"`
	Reference string         `json:"reference"`
	Activate  bool           `json:"activate"`
}

func (a *API) createGrant(ctx context.Context, c *call) (any, error) {
	req, err := body[grantRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("amount_usd", req.Amount != nil); err != nil {
		return nil, err
	}
	starts, err := moment("starts_at", req.StartsAt)
	if err != nil {
		return nil, err
	}
	expires, err := moment("expires_at", req.ExpiresAt)
	if err != nil {
		return nil, err
	}
	g, effect, err := a.cfg.Admin.Grant(ctx, c.who, admin.GrantRequest{Name: req.Name, Amount: gatehouse.NanoUSD(*req.Amount), Priority: req.Priority, StartsAt: starts, ExpiresAt: expires,
		Reference: req.Reference, Activate: req.Activate})
	return a.granted(ctx, c, g, effect, err)
}

func (a *API) activateGrant(ctx context.Context, c *call) (any, error) {
	if _, err := body[struct{}](c); err != nil {
		return nil, err
	}
	g, effect, err := a.cfg.Admin.ActivateGrant(ctx, c.who, c.PathValue("grant"))
	return a.granted(ctx, c, g, effect, err)
}

func (a *API) revokeGrant(ctx context.Context, c *call) (any, error) {
	if _, err := body[struct{}](c); err != nil {
		return nil, err
	}
	g, effect, err := a.cfg.Admin.RevokeGrant(ctx, c.who, c.PathValue("grant"))
	return a.granted(ctx, c, g, effect, err)
}

type refillRequest struct {
	Amount *gatehouse.USD `json:"amount_usd"`
}

func (a *API) refill(ctx context.Context, c *call) (any, error) {
	req, err := body[refillRequest](c)
	if err != nil {
		return nil, err
	}
	amount := gatehouse.NanoUSD(0)
	if req.Amount != nil {
		if amount = gatehouse.NanoUSD(*req.Amount); amount <= 0 {
			return nil, gatehouse.InvalidParam("amount_usd", "Invalid 'amount_usd': must be above nothing; leave it out for what the policy says.")
		}
	}
	g, effect, err := a.cfg.Admin.RefillCredits(ctx, c.who, amount)
	return a.granted(ctx, c, g, effect, err)
}

type creditEntry struct {
	Object    string                  `json:"object"`
	Number    int64                   `json:"number"`
	At        int64                   `json:"at"`
	Debit     gatehouse.CreditAccount `json:"debit"`
	Credit    gatehouse.CreditAccount `json:"credit"`
	GrantID   *string                 `json:"grant_id"`
	Amount    gatehouse.USD           `json:"amount_usd"`
	Reference string                  `json:"reference"`
}

func showEntry(e *gatehouse.CreditEntry) (*creditEntry, string) {
	v := &creditEntry{Object: "gatehouse.credit_entry", Number: e.Number, At: e.At.Seconds(), Debit: e.Debit, Credit: e.Credit, Amount: gatehouse.USD(e.Amount), Reference: e.Reference}
	if e.Grant != "" {
		v.GrantID = &e.Grant
	}
	return v, strconv.FormatInt(e.Number, 10)
}

// listEntries lists the newest entries first; after is the number of the last one that was seen.
func (a *API) listEntries(ctx context.Context, c *call) (any, error) {
	q := c.URL.Query()
	limit, err := integer(q, "limit", 1, 100, 20)
	if err != nil {
		return nil, err
	}
	before, err := integer(q, "after", 1, 1<<62, 0)
	if err != nil {
		return nil, err
	}
	list, err := a.cfg.Admin.CreditEntries(ctx, c.who, before, int(limit)+1)
	if err != nil {
		return nil, err
	}
	more := len(list) > int(limit)
	return listOf(list[:min(len(list), int(limit))], more, showEntry), nil
}

type trialBalance struct {
	Object   string                                    `json:"object"`
	Sound    bool                                      `json:"sound"`
	Entries  int64                                     `json:"entries"`
	Accounts map[gatehouse.CreditAccount]gatehouse.USD `json:"accounts"`
	Faults   []string                                  `json:"faults"`
}

func (a *API) trialBalance(ctx context.Context, c *call) (any, error) {
	t, err := a.cfg.Admin.CheckCredits(ctx, c.who)
	if err != nil {
		return nil, err
	}
	return trialBalance{Object: "gatehouse.trial_balance", Sound: len(t.Faults) == 0, Entries: t.Entries, Accounts: inUSD(t.Accounts), Faults: nonNil(t.Faults)}, nil
}
