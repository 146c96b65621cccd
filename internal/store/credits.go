package store

import (
	"encoding/json"
	"fmt"

	"gatehouse"
)

const creditsSelect = `SELECT organization, budget, since, posted, posted_at, refill, rev FROM credits`

func scanCredits(r row, c *gatehouse.Credits) error {
	var refill []byte
	if err := r.Scan(&c.Organization, &c.Budget, (*int64)(&c.Since), (*int64)(&c.Posted), (*int64)(&c.PostedAt), &refill, &c.Rev); err != nil {
		return err
	}
	return fromJSON("refill", refill, &c.Refill)
}

// refillText returns a policy as it is stored: empty for none.
func refillText(r gatehouse.Refill) (string, error) {
	if r == (gatehouse.Refill{}) {
		return "", nil
	}
	b, err := json.Marshal(r)
	return string(b), err
}

// CreateCredits stores the row of an organization that has none yet and sets its Rev.
func (tx *Tx) CreateCredits(c *gatehouse.Credits) error {
	const query = `INSERT INTO credits (organization, budget, since, posted, posted_at, refill, rev) VALUES ($1, $2, $3, $4, $5, $6, 1)`
	refill, err := refillText(c.Refill)
	if err != nil {
		return err
	}
	return tx.create("credits", c.Organization, &c.Rev, query, c.Organization, c.Budget, int64(c.Since), int64(c.Posted), int64(c.PostedAt), refill)
}

// SaveCredits stores changed credits: everything but Organization.
func (tx *Tx) SaveCredits(c *gatehouse.Credits) error {
	const query = `UPDATE credits SET rev = rev + 1, budget = $3, since = $4, posted = $5, posted_at = $6, refill = $7 WHERE organization = $1 AND rev = $2`
	const exists = `SELECT rev FROM credits WHERE organization = $1`
	refill, err := refillText(c.Refill)
	if err != nil {
		return err
	}
	return tx.save("credits", c.Organization, &c.Rev, query, exists, c.Budget, int64(c.Since), int64(c.Posted), int64(c.PostedAt), refill)
}

// Credits returns an organization's credits; NotFound where it never had any.
func (tx *Tx) Credits(organization string) (*gatehouse.Credits, error) {
	return one(tx, "credits", organization, scanCredits, creditsSelect+` WHERE organization = $1`, organization)
}

// EachCredits calls fn with the credits of every organization that has or had any, in no order.
func (tx *Tx) EachCredits(fn func(*gatehouse.Credits) error) error {
	return each(tx, "credits", scanCredits, fn, creditsSelect)
}

// Enter writes an entry, gives it its Number and moves its amount between the two accounts. The change's event must name the
// organization, so that no two changes take one number. An entry that would take more from a grant than is left of it, or repay more
// than is owed, is Invalid.
func (tx *Tx) Enter(e *gatehouse.CreditEntry) error {
	const last = `SELECT COALESCE(MAX(number), 0) FROM credit_entries WHERE organization = $1`
	const insert = `INSERT INTO credit_entries (organization, number, at, debit, credit, grant_id, amount, reference) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`
	if err := tx.serial("credit entries", e.Organization); err != nil {
		return err
	}
	n, err := tx.number("number a credit entry", last, e.Organization)
	if err != nil {
		return err
	}
	tx.stamp(&e.At)
	e.Number = n + 1
	op := fmt.Sprintf("enter credit entry %d of %s", e.Number, e.Organization)
	if _, err := tx.exec(op, insert, e.Organization, e.Number, int64(e.At), string(e.Debit), string(e.Credit), e.Grant, int64(e.Amount), e.Reference); err != nil {
		return err
	}
	if err := tx.move(op, e, e.Credit, -e.Amount); err != nil {
		return err
	}
	return tx.move(op, e, e.Debit, e.Amount)
}

// move changes what an account comes to. The row is updated before one is made: a row to be inserted is checked as it stands, before
// it is found to be there.
func (tx *Tx) move(op string, e *gatehouse.CreditEntry, account gatehouse.CreditAccount, by gatehouse.NanoUSD) error {
	const update = `UPDATE credit_accounts SET balance = balance + $4 WHERE organization = $1 AND account = $2 AND grant_id = $3`
	const insert = `INSERT INTO credit_accounts (organization, account, grant_id, balance) VALUES ($1, $2, $3, $4)`
	grant := ""
	if account == gatehouse.AccountBalance {
		grant = e.Grant
	}
	n, err := tx.exec(op, update, e.Organization, string(account), grant, int64(by))
	if err != nil || n > 0 {
		return err
	}
	_, err = tx.exec(op, insert, e.Organization, string(account), grant, int64(by))
	return err
}

// CreditBalance is what the entries of one account come to.
type CreditBalance struct {
	Account gatehouse.CreditAccount
	Grant   string // empty but for AccountBalance
	Amount  gatehouse.NanoUSD
}

func scanBalance(r row, b *CreditBalance) error {
	return r.Scan((*string)(&b.Account), &b.Grant, (*int64)(&b.Amount))
}

// CreditBalances returns what an organization's accounts come to, by account and grant.
func (tx *Tx) CreditBalances(organization string) ([]CreditBalance, error) {
	const query = `SELECT account, grant_id, balance FROM credit_accounts WHERE organization = $1 ORDER BY account, grant_id`
	return all(tx, "credit accounts", scanBalance, query, organization)
}

// CreditLeft returns what a grant holds.
func (tx *Tx) CreditLeft(organization, grant string) (gatehouse.NanoUSD, error) {
	const query = `SELECT CAST(COALESCE(SUM(balance), 0) AS BIGINT) FROM credit_accounts WHERE organization = $1 AND account = 'balance' AND grant_id = $2`
	n, err := tx.number("read what is left of grant "+grant, query, organization, grant)
	return gatehouse.NanoUSD(n), err
}

func scanEntry(r row, e *gatehouse.CreditEntry) error {
	return r.Scan(&e.Organization, &e.Number, (*int64)(&e.At), (*string)(&e.Debit), (*string)(&e.Credit), &e.Grant, (*int64)(&e.Amount), &e.Reference)
}

const entrySelect = `SELECT organization, number, at, debit, credit, grant_id, amount, reference FROM credit_entries WHERE organization = $1`

// CreditEntries returns at most limit of an organization's entries in the order of their numbers, those after a number.
func (tx *Tx) CreditEntries(organization string, after int64, limit int) ([]gatehouse.CreditEntry, error) {
	return all(tx, "credit entries", scanEntry, entrySelect+` AND number > $2 ORDER BY number LIMIT $3`, organization, after, limit)
}

// LastCreditEntries returns at most limit of an organization's entries, the newest first, those before a number; 0: the last.
func (tx *Tx) LastCreditEntries(organization string, before int64, limit int) ([]gatehouse.CreditEntry, error) {
	if before <= 0 {
		before = 1<<63 - 1
	}
	return all(tx, "credit entries", scanEntry, entrySelect+` AND number < $2 ORDER BY number DESC LIMIT $3`, organization, before, limit)
}

// EachCreditEntry calls fn with every entry of an organization in the order of their numbers.
func (tx *Tx) EachCreditEntry(organization string, fn func(*gatehouse.CreditEntry) error) error {
	return each(tx, "credit entries", scanEntry, fn, entrySelect+` ORDER BY number`, organization)
}
