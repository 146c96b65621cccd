package client

import (
	"context"
	"iter"
	"net/http"

	"gatehouse"
)

// Credits is what an organization has prepaid.
type Credits struct {
	Answer
	Prepaid     bool                                      `json:"prepaid"`
	Since       int64                                     `json:"since"` // unix seconds
	BudgetID    string                                    `json:"budget_id"`
	Balance     gatehouse.USD                             `json:"balance_usd"`
	Reserved    gatehouse.USD                             `json:"reserved_usd"`
	Owed        gatehouse.USD                             `json:"owed_usd"`
	Unposted    gatehouse.USD                             `json:"unposted_usd"`
	Accounts    map[gatehouse.CreditAccount]gatehouse.USD `json:"accounts"`
	Refill      Refill                                    `json:"refill"`
	RefillsLeft gatehouse.USD                             `json:"refills_left_usd"`
	EffectiveBy int64                                     `json:"effective_by"`
}

// Refill is how credits are added when they run low.
type Refill struct {
	Mode       string        `json:"mode"` // none, manual or automatic
	Below      gatehouse.USD `json:"below_usd,omitzero"`
	Add        gatehouse.USD `json:"add_usd,omitzero"`
	MonthlyMax gatehouse.USD `json:"monthly_max_usd,omitzero"`
	Days       int           `json:"days,omitempty"`
}

// CreditsUpdate changes how credits are used; what is nil stays.
type CreditsUpdate struct {
	Prepaid *bool   `json:"prepaid,omitempty"`
	Refill  *Refill `json:"refill,omitempty"`
}

// Grant is prepaid credit that was given.
type Grant struct {
	Answer
	ID          string        `json:"id"`
	Name        string        `json:"name"`
	State       string        `json:"state"`
	Amount      gatehouse.USD `json:"amount_usd"`
	Left        gatehouse.USD `json:"left_usd"`
	Priority    int           `json:"priority"`
	StartsAt    int64         `json:"starts_at"`
	ExpiresAt   int64         `json:"expires_at"`
	ActivatedAt int64         `json:"activated_at"`
	RevokedAt   int64         `json:"revoked_at"`
	Refill      bool          `json:"refill"`
	Reference   string        `json:"reference"`
	CreatedAt   int64         `json:"created_at"`
	EffectiveBy int64         `json:"effective_by"`
}

// GrantCreate gives prepaid credit.
type GrantCreate struct {
	Name      string        `json:"name,omitempty"`
	Amount    gatehouse.USD `json:"amount_usd"`
	Priority  int           `json:"priority,omitempty"`
	StartsAt  int64         `json:"starts_at,omitempty"`  // unix seconds
	ExpiresAt int64         `json:"expires_at,omitempty"` // unix seconds
	Reference string        `json:"reference,omitempty"`
	Activate  bool          `json:"activate,omitempty"`
}

// CreditEntry moves an amount from one account to another.
type CreditEntry struct {
	Answer
	Number    int64         `json:"number"`
	At        int64         `json:"at"`
	Debit     string        `json:"debit"`
	Credit    string        `json:"credit"`
	GrantID   string        `json:"grant_id"`
	Amount    gatehouse.USD `json:"amount_usd"`
	Reference string        `json:"reference"`
}

// TrialBalance is what a check of the credits' ledger found.
type TrialBalance struct {
	Answer
	Sound    bool                                      `json:"sound"`
	Entries  int64                                     `json:"entries"`
	Accounts map[gatehouse.CreditAccount]gatehouse.USD `json:"accounts"`
	Faults   []string                                  `json:"faults"`
}

var creditsPath = []string{"gatehouse", "v1", "credits"}

// Credits returns what the organization has prepaid.
func (c *Client) Credits(ctx context.Context) (*Credits, error) {
	return do[Credits](ctx, c, request{method: http.MethodGet, path: creditsPath})
}

// UpdateCredits turns prepayment on or off, and sets the refill policy.
func (c *Client) UpdateCredits(ctx context.Context, update CreditsUpdate) (*Credits, error) {
	return do[Credits](ctx, c, request{method: http.MethodPost, path: creditsPath, body: update})
}

// Grants lists the organization's grants, whatever became of them.
func (c *Client) Grants(ctx context.Context) iter.Seq2[*Grant, error] {
	return all[Grant](ctx, c, nil, under(creditsPath, "grants")...)
}

// CreateGrant gives the organization prepaid credit.
func (c *Client) CreateGrant(ctx context.Context, g GrantCreate) (*Grant, error) {
	return do[Grant](ctx, c, request{method: http.MethodPost, path: under(creditsPath, "grants"), body: g})
}

// Grant returns a grant by id or name.
func (c *Client) Grant(ctx context.Context, grant string) (*Grant, error) {
	return do[Grant](ctx, c, request{method: http.MethodGet, path: under(creditsPath, "grants", grant)})
}

// ActivateGrant makes a grant, by id or name, one that can be spent from.
func (c *Client) ActivateGrant(ctx context.Context, grant string) (*Grant, error) {
	return do[Grant](ctx, c, request{method: http.MethodPost, path: under(creditsPath, "grants", grant, "activate")})
}

// RevokeGrant takes back what is left of a grant, by id or name.
func (c *Client) RevokeGrant(ctx context.Context, grant string) (*Grant, error) {
	return do[Grant](ctx, c, request{method: http.MethodPost, path: under(creditsPath, "grants", grant, "revoke")})
}

// RefillCredits grants one refill; amount 0 is what the policy says.
func (c *Client) RefillCredits(ctx context.Context, amount gatehouse.USD) (*Grant, error) {
	body := struct {
		Amount *gatehouse.USD `json:"amount_usd,omitempty"`
	}{}
	if amount != 0 {
		body.Amount = &amount
	}
	return do[Grant](ctx, c, request{method: http.MethodPost, path: under(creditsPath, "refill"), body: body})
}

// CreditEntries lists the entries of the ledger, the newest first.
func (c *Client) CreditEntries(ctx context.Context) iter.Seq2[*CreditEntry, error] {
	return all[CreditEntry](ctx, c, nil, under(creditsPath, "entries")...)
}

// TrialBalance adds the ledger up again.
func (c *Client) TrialBalance(ctx context.Context) (*TrialBalance, error) {
	return do[TrialBalance](ctx, c, request{method: http.MethodGet, path: under(creditsPath, "trial_balance")})
}
