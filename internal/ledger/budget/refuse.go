package budget

import (
	"fmt"
	"time"

	"gatehouse"
)

// The codes of refusals, in OpenAI's words of 2026.
const (
	CodeOrganization = "organization_spend_limit_exceeded"
	CodeProject      = "project_spend_limit_exceeded"
	CodeUsage        = "organization_usage_limit_exceeded" // of users, service accounts, keys and labels
	CodeCredits      = "credit_balance_exhausted"
	// CodeUnavailable is of a request for which nobody can say whether a budget has room.
	CodeUnavailable = "budget_unavailable"
	// CodePrice is of a request that a budget does not serve because its model has no price.
	CodePrice = "model_price_unknown"
)

// retryAfter is when a refusal for what others hold is worth another try: after they were asked to give back what they do not need.
const retryAfter = 500 * time.Millisecond

// refusal says that a window has no room for need. The caller holds Accounts.mu. It is final when it would stand even if every hold of
// every node settled at nothing: when what is spent for certain leaves no room.
func (a *Accounts) refusal(w *window, need gatehouse.NanoUSD) *gatehouse.Error {
	b := w.account.budget
	e := &gatehouse.Error{Kind: gatehouse.RateLimited, Code: code(b)}
	what := "The budget " + name(b)
	if b.Kind == gatehouse.BudgetCredits {
		what = "The organization's prepaid credit"
	}
	if w.others+w.spent+w.pending+need > w.amount {
		e.NoRetry = true
		a.stats.final++
		e.Message = fmt.Sprintf("%s does not cover this request, which may cost up to %s: %s of %s is spent. %s", what, dollars(need),
			dollars(w.others+w.spent+w.pending), dollars(w.amount), advice(b, w))
		return e
	}
	a.stats.retry++
	e.RetryAfterMillis = retryAfter.Milliseconds()
	e.Message = fmt.Sprintf("%s has no room for this request now, which may cost up to %s: what is left of %s is reserved for requests that are open. Try again shortly.",
		what, dollars(need), dollars(w.amount))
	return e
}

func code(b *gatehouse.Budget) string {
	switch {
	case b.Kind == gatehouse.BudgetCredits:
		return CodeCredits
	case b.Scope == gatehouse.ScopeOrganization:
		return CodeOrganization
	case b.Scope == gatehouse.ScopeProject:
		return CodeProject
	}
	return CodeUsage
}

func name(b *gatehouse.Budget) string {
	if b.Name != "" {
		return "'" + b.Name + "'"
	}
	return "of the " + string(b.Scope)
}

func advice(b *gatehouse.Budget, w *window) string {
	switch {
	case b.Kind == gatehouse.BudgetCredits:
		return "An administrator can add credits."
	case w.id.End == 1<<63-1:
		return "An administrator can raise it."
	}
	zone := b.Zone
	if zone == nil {
		zone = time.UTC
	}
	return "It begins anew on " + w.id.End.Time().In(zone).Format("2 January 2006") + "; an administrator can raise it."
}

// dollars writes an amount with as many digits as it has, two at least.
func dollars(n gatehouse.NanoUSD) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	rest := fmt.Sprintf("%09d", n%1e9)
	for len(rest) > 2 && rest[len(rest)-1] == '0' {
		rest = rest[:len(rest)-1]
	}
	return fmt.Sprintf("%s$%d.%s", sign, n/1e9, rest)
}

// unavailable says that the database could not be asked.
func unavailable(w *window, err error) error {
	return &gatehouse.Error{
		Kind: gatehouse.Unavailable, Code: CodeUnavailable,
		Message:          "Nobody can say now whether the budget " + name(w.account.budget) + " has room for this request, so it is not served: the database does not answer. Try again shortly.",
		RetryAfterMillis: 1000, Err: err,
	}
}

// Unpriced refuses a request whose cost nobody can bound, where one of its budgets does not allow that; nil: it may be served, and counts
// as nothing until its cost is known.
func Unpriced(budgets []*gatehouse.Budget) error {
	for _, b := range budgets {
		if b.UnknownPrice == gatehouse.UnknownRefuse || b.UnknownPrice == gatehouse.UnknownDefault && b.Enforcement != gatehouse.Soft {
			return &gatehouse.Error{Kind: gatehouse.Forbidden, Code: CodePrice, NoRetry: true,
				Message: "The budget " + name(b) + " does not serve what has no known upper price, and this request has none: its model has no price, or nothing limits what it may use. " +
					"An administrator can give the model a price, or let the budget meter what has none."}
		}
	}
	return nil
}
