package gatehouse

// Credits is what an organization has prepaid. The balance is kept by double entry: every CreditEntry takes an amount from one
// account and puts it into another, so that the sum over all accounts is always zero.
type Credits struct {
	Organization string
	// Budget is the budget that refuses what the credits do not cover; empty: the organization does not prepay, and grants wait.
	Budget string
	// Since is when the organization began to prepay: a request admitted later is paid from credits.
	Since Millis
	// Posted is how much of what counts against Budget has been entered as spent.
	Posted   NanoUSD
	PostedAt Millis
	Refill   Refill
	Rev      int64
}

// Refill is how credits are added when they run low. The zero value adds none.
type Refill struct {
	Mode RefillMode `json:"mode,omitempty"`
	// Below is the balance under which an automatic refill happens.
	Below NanoUSD `json:"below,omitempty"`
	// Add is how much one refill grants.
	Add NanoUSD `json:"add,omitempty"`
	// MonthlyMax is the most that refills of either mode may grant in a calendar month of the organization; 0: no more than Add.
	MonthlyMax NanoUSD `json:"monthly_max,omitempty"`
	// Days is how long a refill's grant lasts; 0: it does not expire.
	Days int `json:"days,omitempty"`
}

// RefillMode is who starts a refill.
type RefillMode string

// The modes.
const (
	RefillNone      RefillMode = ""
	RefillManual    RefillMode = "manual"    // somebody who administers
	RefillAutomatic RefillMode = "automatic" // Gatehouse, when the balance falls below Below
)

// Grant is credit that an organization was given. It can be spent from when it is active and has started until it expires.
type Grant struct {
	ID           string
	Organization string
	Name         string // unique among the organization's grants, those that ended too
	Amount       NanoUSD
	// Priority orders what is spent first: lower first, then what expires sooner, then what is older.
	Priority    int
	StartsAt    Millis // 0: with its activation
	ExpiresAt   Millis // 0: never
	ActivatedAt Millis // 0: nobody activated it, and nothing of it may be spent
	RevokedAt   Millis
	IssuedAt    Millis // when it was entered into the ledger; 0: not yet
	ClosedAt    Millis // when the last of it was spent, expired or taken back after its end; nothing is entered after that
	Refill      bool   // a refill made it
	Reference   string // what it was paid with, in the operator's words
	CreatedAt   Millis
	Rev         int64
}

// GrantState is what a grant is worth at a moment. It is derived by Grant.State, never stored.
type GrantState string

// The states.
const (
	GrantInactive  GrantState = "inactive"  // nobody activated it
	GrantScheduled GrantState = "scheduled" // active, and its time has not come
	GrantActive    GrantState = "active"
	GrantExpired   GrantState = "expired"
	GrantRevoked   GrantState = "revoked"
)

// State returns the grant's state at now.
func (g *Grant) State(now Millis) GrantState {
	switch {
	case g.RevokedAt != 0:
		return GrantRevoked
	case g.ExpiresAt != 0 && now >= g.ExpiresAt:
		return GrantExpired
	case g.ActivatedAt == 0:
		return GrantInactive
	case now < g.StartsAt:
		return GrantScheduled
	}
	return GrantActive
}

// CreditAccount is where credit is.
type CreditAccount string

// The accounts. Issued is where all credit comes from, and so its balance is negative.
const (
	AccountIssued    CreditAccount = "issued"
	AccountBalance   CreditAccount = "balance"   // what can be spent, for each grant apart
	AccountSpent     CreditAccount = "spent"     // what was used
	AccountExpired   CreditAccount = "expired"   // what nobody used in time
	AccountRevoked   CreditAccount = "revoked"   // what was taken back
	AccountOverdrawn CreditAccount = "overdrawn" // what was used beyond all grants, and is owed; never positive
)

// CreditEntry moves an amount from one account to another. Entries are numbered from 1 in each organization without a gap, and none
// is ever changed or removed.
type CreditEntry struct {
	Organization string
	Number       int64
	At           Millis
	Debit        CreditAccount // rises by Amount
	Credit       CreditAccount // falls by Amount
	Grant        string        // whose balance it is about; empty where no account of the entry is AccountBalance
	Amount       NanoUSD       // positive
	Reference    string        // what it is for, e.g. the request of the change that made it
}
