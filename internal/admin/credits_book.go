package admin

import (
	"cmp"
	"slices"

	"gatehouse"
	"gatehouse/internal/store"
)

// book is an organization's credits inside one transaction: what its grants hold, and the one way to move money between accounts.
//
// Money of a grant moves so, each time as one entry: issued to balance when it is active and has started; balance to spent as usage
// is settled; what is left at its end to expired or revoked. Spending takes grants in order: those that ended before, then by priority,
// then what expires sooner, then what is older. What no grant covers is owed (overdrawn to spent), and the next grant that is issued
// pays it first (balance to overdrawn).
type book struct {
	tx        *store.Tx
	credits   *gatehouse.Credits
	fresh     bool              // the organization has no row yet
	grants    []gatehouse.Grant // that are not closed, in the order they are spent from
	left      map[string]gatehouse.NanoUSD
	owed      gatehouse.NanoUSD
	reference string
	moved     map[gatehouse.CreditAccount]gatehouse.NanoUSD // what this transaction put into each account
	changed   map[string]bool                               // grants to store
}

// keepEnded is how long the credit that open requests reserved before a grant's end is kept for them, at most.
const keepEnded = dayMillis

// openBook reads an organization's credits. An organization that never had any has an empty book.
func openBook(tx *store.Tx, organization, reference string) (*book, error) {
	b := &book{tx: tx, reference: reference, left: map[string]gatehouse.NanoUSD{}, moved: map[gatehouse.CreditAccount]gatehouse.NanoUSD{}, changed: map[string]bool{}}
	var err error
	switch b.credits, err = tx.Credits(organization); {
	case gatehouse.KindOf(err) == gatehouse.NotFound:
		b.credits, b.fresh = &gatehouse.Credits{Organization: organization}, true
	case err != nil:
		return nil, err
	}
	if b.grants, err = tx.OpenGrants(organization); err != nil {
		return nil, err
	}
	b.sort()
	accounts, err := tx.CreditBalances(organization)
	if err != nil {
		return nil, err
	}
	for _, a := range accounts {
		switch a.Account {
		case gatehouse.AccountBalance:
			b.left[a.Grant] = a.Amount
		case gatehouse.AccountOverdrawn:
			b.owed = -a.Amount
		}
	}
	return b, nil
}

func (b *book) sort() {
	slices.SortStableFunc(b.grants, func(x, y gatehouse.Grant) int {
		return cmp.Or(cmp.Compare(b.rank(&x), b.rank(&y)), cmp.Compare(x.Priority, y.Priority), cmp.Compare(uint64(x.ExpiresAt)-1, uint64(y.ExpiresAt)-1), // 0 is never: last
			cmp.Compare(x.CreatedAt, y.CreatedAt), cmp.Compare(x.ID, y.ID))
	})
}

// rank puts grants first that had ended when spending was entered the last time: what is kept of them is for requests that were
// admitted before. Of what was spent since, some may have been before an end of later, and is paid in the order of then.
func (b *book) rank(g *gatehouse.Grant) int {
	if b.ended(g) && b.credits.PostedAt >= b.endOf(g) {
		return 0
	}
	return 1
}

func (b *book) ended(g *gatehouse.Grant) bool {
	state := g.State(b.tx.Now)
	return state == gatehouse.GrantExpired || state == gatehouse.GrantRevoked
}

// enter moves an amount; nothing happens for an amount of nothing.
func (b *book) enter(debit, credit gatehouse.CreditAccount, grant string, amount gatehouse.NanoUSD) error {
	if amount == 0 {
		return nil
	}
	e := gatehouse.CreditEntry{Organization: b.credits.Organization, Debit: debit, Credit: credit, Grant: grant, Amount: amount, Reference: b.reference}
	if err := b.tx.Enter(&e); err != nil {
		return err
	}
	b.move(debit, grant, amount)
	b.move(credit, grant, -amount)
	return nil
}

func (b *book) move(account gatehouse.CreditAccount, grant string, by gatehouse.NanoUSD) {
	b.moved[account] += by
	switch account {
	case gatehouse.AccountBalance:
		b.left[grant] += by
	case gatehouse.AccountOverdrawn:
		b.owed -= by
	}
}

// use is what counts against the budget of the credits at a moment: what is settled, and what nodes have taken beyond that, for open
// requests and in advance.
type use struct {
	settled     gatehouse.NanoUSD
	outstanding gatehouse.NanoUSD
}

// unposted returns what is settled and not entered. Settled spending that is corrected downwards waits until it has risen again: no
// entry is ever taken back.
func (b *book) unposted(u use) gatehouse.NanoUSD { return max(0, u.settled-b.credits.Posted) }

// advance brings the book to the present: what is settled is spent, what has started is issued, what has ended is taken out.
func (b *book) advance(u use) error {
	for _, step := range []func(use) error{b.post, b.issue, b.repay, b.end} {
		if err := step(u); err != nil {
			return err
		}
	}
	return b.save()
}

func (b *book) post(u use) error {
	amount := b.unposted(u)
	b.credits.Posted += amount
	b.credits.PostedAt = b.tx.Now
	for i := range b.grants {
		g := &b.grants[i]
		part := min(amount, b.left[g.ID])
		if err := b.enter(gatehouse.AccountSpent, gatehouse.AccountBalance, g.ID, part); err != nil {
			return err
		}
		amount -= part
	}
	return b.enter(gatehouse.AccountSpent, gatehouse.AccountOverdrawn, "", amount)
}

// issue puts what may be spent from now on into the balance.
func (b *book) issue(use) error {
	for i := range b.grants {
		g := &b.grants[i]
		if g.IssuedAt != 0 || g.State(b.tx.Now) != gatehouse.GrantActive {
			continue
		}
		g.IssuedAt = b.tx.Now
		b.changed[g.ID] = true
		if err := b.enter(gatehouse.AccountBalance, gatehouse.AccountIssued, g.ID, g.Amount); err != nil {
			return err
		}
	}
	return nil
}

// repay pays what is owed from what can be spent.
func (b *book) repay(use) error {
	for i := range b.grants {
		g := &b.grants[i]
		if b.ended(g) {
			continue
		}
		if err := b.enter(gatehouse.AccountOverdrawn, gatehouse.AccountBalance, g.ID, min(b.owed, b.left[g.ID])); err != nil {
			return err
		}
	}
	return nil
}

// end takes out what is left of grants that have ended, but for what open requests may still need of it, and closes the grants of
// which nothing is left.
func (b *book) end(u use) error {
	reserved := u.outstanding
	for i := range b.grants {
		g := &b.grants[i]
		left := b.left[g.ID]
		if b.ended(g) {
			keep := gatehouse.NanoUSD(0)
			if b.tx.Now < b.endOf(g)+keepEnded {
				keep = min(left, reserved)
				reserved -= keep
			}
			to := gatehouse.AccountExpired
			if g.RevokedAt != 0 {
				to = gatehouse.AccountRevoked
			}
			if err := b.enter(to, gatehouse.AccountBalance, g.ID, left-keep); err != nil {
				return err
			}
		}
		if b.left[g.ID] == 0 && (g.IssuedAt != 0 || b.ended(g)) {
			g.ClosedAt = b.tx.Now
			b.changed[g.ID] = true
		}
	}
	return nil
}

func (b *book) endOf(g *gatehouse.Grant) gatehouse.Millis {
	if g.RevokedAt != 0 && (g.ExpiresAt == 0 || g.RevokedAt < g.ExpiresAt) {
		return g.RevokedAt
	}
	return g.ExpiresAt
}

// spendable returns what the grants that have not ended hold, without what is owed. It is below nothing where more is owed than they
// hold.
func (b *book) spendable() gatehouse.NanoUSD {
	sum := -b.owed
	for i := range b.grants {
		if g := &b.grants[i]; !b.ended(g) {
			sum += b.left[g.ID]
		}
	}
	return sum
}

// due reports whether advance would do anything that cannot wait. What is settled may wait for an hour, but not while a grant that has
// ended is kept for what is not: the budget counts it as spent without cover until it is entered.
func (b *book) due(u use) bool {
	unposted, reserved := b.unposted(u), u.outstanding
	if unposted > 0 && b.tx.Now >= b.credits.PostedAt+postEvery {
		return true
	}
	for i := range b.grants {
		g := &b.grants[i]
		switch left := b.left[g.ID]; {
		case g.IssuedAt == 0 && g.State(b.tx.Now) == gatehouse.GrantActive:
			return true
		case b.ended(g):
			keep := min(left, reserved)
			reserved -= keep
			if left == 0 || unposted > 0 || keep < left || b.tx.Now >= b.endOf(g)+keepEnded {
				return true
			}
		}
	}
	return false
}

// postEvery is how long settled spending may wait to be entered. Balances that are shown include it.
const postEvery = 60 * 60 * 1000

// save stores what changed, and makes the budget of the credits what they come to.
func (b *book) save() error {
	for i := range b.grants {
		if g := &b.grants[i]; b.changed[g.ID] {
			if err := b.tx.SaveGrant(g); err != nil {
				return err
			}
		}
	}
	b.grants = slices.DeleteFunc(b.grants, func(g gatehouse.Grant) bool { return g.ClosedAt != 0 })
	if err := b.saveCredits(); err != nil || b.credits.Budget == "" {
		return err
	}
	budget, err := b.tx.Budget(b.credits.Budget)
	if err != nil {
		return err
	}
	amount := b.spendable() + b.credits.Posted
	if budget.Amount == amount {
		return nil
	}
	budget.Amount = amount
	b.tx.Emit(gatehouse.Event{Type: "budget.updated", Organization: budget.Organization, Subject: gatehouse.SubjectBudget, SubjectID: budget.ID, Change: detail(budgetDetail(budget))})
	return b.tx.SaveBudget(budget)
}

func (b *book) saveCredits() error {
	if b.fresh {
		b.fresh = false
		return b.tx.CreateCredits(b.credits)
	}
	return b.tx.SaveCredits(b.credits)
}

// detail returns what an event keeps of what was moved.
func (b *book) detail(more map[string]any) map[string]any {
	for account, amount := range b.moved {
		if account != gatehouse.AccountBalance && amount != 0 {
			more[string(account)+"_nano_usd"] = amount
		}
	}
	return more
}
