package admin

import (
	"context"
	"fmt"

	"gatehouse"
	"gatehouse/internal/store"
)

// CreditsInfo is an organization's credits at a moment. Spending that is settled and not entered yet is in it all the same.
type CreditsInfo struct {
	gatehouse.Credits
	// Balance is what can be spent: what grants that have not ended hold, without what is spent and what is owed. It is below nothing
	// where more is owed.
	Balance  gatehouse.NanoUSD
	Reserved gatehouse.NanoUSD // of it, what nodes have taken for open requests and in advance
	Unposted gatehouse.NanoUSD // of what was spent, what is not entered yet
	Owed     gatehouse.NanoUSD // what was spent beyond all grants
	Accounts map[gatehouse.CreditAccount]gatehouse.NanoUSD
	Room     gatehouse.NanoUSD // what refills may still grant this month; 0 without a policy
}

// GrantInfo is a grant with what is left of it: what is entered, so that up to an hour's spending may be missing.
type GrantInfo struct {
	gatehouse.Grant
	Left  gatehouse.NanoUSD
	State gatehouse.GrantState
}

// Credits returns what the organization has prepaid. One that never had to do with credits has none.
func (s *Service) Credits(ctx context.Context, who *gatehouse.Principal) (info *CreditsInfo, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		b, err := openBook(tx, who.Organization, "")
		if err != nil {
			return err
		}
		u, err := creditUse(tx, b.credits)
		if err != nil {
			return err
		}
		info = &CreditsInfo{Credits: *b.credits, Balance: b.spendable() - b.unposted(u), Reserved: u.outstanding, Unposted: b.unposted(u), Owed: b.owed,
			Accounts: map[gatehouse.CreditAccount]gatehouse.NanoUSD{}}
		accounts, err := tx.CreditBalances(who.Organization)
		if err != nil {
			return err
		}
		for _, a := range accounts {
			info.Accounts[a.Account] += a.Amount
		}
		if b.credits.Refill.Mode != gatehouse.RefillNone {
			info.Room, err = b.room()
		}
		return err
	})
	return info, err
}

// CreditGrant returns a grant by id or name, whatever became of it.
func (s *Service) CreditGrant(ctx context.Context, who *gatehouse.Principal, ref string) (g *gatehouse.Grant, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		g, err = grantOf(tx, who.Organization, ref)
		return err
	})
	return g, err
}

// CreditGrants lists the organization's grants, whatever became of them.
func (s *Service) CreditGrants(ctx context.Context, who *gatehouse.Principal, page store.Page) (list []GrantInfo, more bool, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		grants, m, err := tx.Grants(who.Organization, page)
		if err != nil {
			return err
		}
		accounts, err := tx.CreditBalances(who.Organization)
		if err != nil {
			return err
		}
		left := map[string]gatehouse.NanoUSD{}
		for _, a := range accounts {
			left[a.Grant] = a.Amount
		}
		list, more = nil, m
		for _, g := range grants {
			list = append(list, GrantInfo{Grant: g, Left: left[g.ID], State: g.State(tx.Now)})
		}
		return nil
	})
	return list, more, err
}

// ShowGrant returns a grant with what is left of it.
func (s *Service) ShowGrant(ctx context.Context, who *gatehouse.Principal, ref string) (info *GrantInfo, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		g, err := grantOf(tx, who.Organization, ref)
		if err != nil {
			return err
		}
		left, err := tx.CreditLeft(g.Organization, g.ID)
		info = &GrantInfo{Grant: *g, Left: left, State: g.State(tx.Now)}
		return err
	})
	return info, err
}

// CreditEntries lists the organization's entries, the newest first, those before a number; 0: the last.
func (s *Service) CreditEntries(ctx context.Context, who *gatehouse.Principal, before int64, limit int) (list []gatehouse.CreditEntry, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		list, err = tx.LastCreditEntries(who.Organization, before, limit)
		return err
	})
	return list, err
}

// TrialBalance is what a check of the ledger found.
type TrialBalance struct {
	Entries  int64
	Accounts map[gatehouse.CreditAccount]gatehouse.NanoUSD // what the entries come to
	// Faults says what does not agree; empty for a sound ledger.
	Faults []string
}

// CheckCredits adds all entries of the organization up again and holds the sums against the accounts, the grants and the budget.
func (s *Service) CheckCredits(ctx context.Context, who *gatehouse.Principal) (t *TrialBalance, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		t = &TrialBalance{Accounts: map[gatehouse.CreditAccount]gatehouse.NanoUSD{}}
		return t.check(tx, who.Organization)
	})
	return t, err
}

func (t *TrialBalance) check(tx *store.Tx, organization string) error {
	fault := func(format string, args ...any) { t.Faults = append(t.Faults, fmt.Sprintf(format, args...)) }
	type account struct {
		of    gatehouse.CreditAccount
		grant string
	}
	sums := map[account]gatehouse.NanoUSD{}
	add := func(of gatehouse.CreditAccount, grant string, by gatehouse.NanoUSD) {
		t.Accounts[of] += by
		if of != gatehouse.AccountBalance {
			grant = ""
		}
		sums[account{of, grant}] += by
	}
	issued := map[string]gatehouse.NanoUSD{}
	err := tx.EachCreditEntry(organization, func(e *gatehouse.CreditEntry) error {
		if t.Entries++; e.Number != t.Entries {
			fault("entry %d is missing", t.Entries)
			t.Entries = e.Number
		}
		add(e.Debit, e.Grant, e.Amount)
		add(e.Credit, e.Grant, -e.Amount)
		if e.Credit == gatehouse.AccountIssued {
			issued[e.Grant] += e.Amount
		}
		return nil
	})
	if err != nil {
		return err
	}
	total := gatehouse.NanoUSD(0)
	for _, sum := range t.Accounts {
		total += sum
	}
	if total != 0 {
		fault("the accounts come to %s and not to nothing", gatehouse.USD(total))
	}
	accounts, err := tx.CreditBalances(organization)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		of := account{a.Account, a.Grant}
		if a.Amount != sums[of] {
			fault("account %s %s holds %s, its entries come to %s", a.Account, a.Grant, gatehouse.USD(a.Amount), gatehouse.USD(sums[of]))
		}
		delete(sums, of)
	}
	for of, sum := range sums {
		if sum != 0 {
			fault("account %s %s is missing, its entries come to %s", of.of, of.grant, gatehouse.USD(sum))
		}
	}
	return t.checkGrants(tx, organization, issued, fault)
}

// checkGrants holds what was issued against the grants, and the budget of the credits against the balance.
func (t *TrialBalance) checkGrants(tx *store.Tx, organization string, issued map[string]gatehouse.NanoUSD, fault func(string, ...any)) error {
	for page := (store.Page{Limit: store.MaxPage}); ; {
		grants, more, err := tx.Grants(organization, page)
		if err != nil {
			return err
		}
		for i := range grants {
			g := &grants[i]
			page.After = g.ID
			want := gatehouse.NanoUSD(0)
			if g.IssuedAt != 0 {
				want = g.Amount
			}
			if issued[g.ID] != want {
				fault("grant %s came to %s, and %s was issued", g.ID, gatehouse.USD(want), gatehouse.USD(issued[g.ID]))
			}
			delete(issued, g.ID)
		}
		if !more {
			break
		}
	}
	for id := range issued {
		fault("something was issued for grant %s, which does not exist", id)
	}
	b, err := openBook(tx, organization, "")
	if err != nil || b.credits.Budget == "" {
		return err
	}
	budget, err := tx.Budget(b.credits.Budget)
	if err != nil {
		return err
	}
	// A grant that has ended and is not taken out yet is in the budget still, for the seconds until it is.
	if want := b.spendable() + b.credits.Posted; budget.Amount != want && !b.due(use{}) {
		fault("the budget of the credits is %s, the ledger says %s", gatehouse.USD(budget.Amount), gatehouse.USD(want))
	}
	return nil
}
