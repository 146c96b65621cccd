package admin

import (
	"cmp"
	"context"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/store"
)

// GrantRequest is prepaid credit to be given.
type GrantRequest struct {
	Name      string // unique among the organization's grants for good; empty: one is made up
	Amount    gatehouse.NanoUSD
	Priority  int
	StartsAt  gatehouse.Millis // 0: once it is active
	ExpiresAt gatehouse.Millis // 0: never
	Reference string           // e.g. the invoice it was paid with
	Activate  bool             // at once
}

func (r *GrantRequest) check(now gatehouse.Millis) error {
	if r.Name != "" {
		if err := gatehouse.CheckName("name", r.Name); err != nil {
			return err
		}
		if strings.HasPrefix(r.Name, gatehouse.PrefixGrant) {
			return gatehouse.InvalidParam("name", "Invalid 'name': it begins like an id, %s; a name must not be taken for one.", gatehouse.PrefixGrant)
		}
	}
	if r.Reference != "" {
		if err := gatehouse.CheckName("reference", r.Reference); err != nil {
			return err
		}
	}
	if err := checkAmount("amount_usd", r.Amount, 1); err != nil {
		return err
	}
	switch {
	case r.Priority < -1000 || r.Priority > 1000:
		return gatehouse.InvalidParam("priority", "Invalid 'priority': must be between -1000 and 1000; lower is spent first.")
	case r.StartsAt < 0:
		return gatehouse.InvalidParam("starts_at", "Invalid 'starts_at': must be a time.")
	case r.ExpiresAt != 0 && r.ExpiresAt <= now:
		return gatehouse.InvalidParam("expires_at", "Invalid 'expires_at': it must be in the future.")
	case r.ExpiresAt != 0 && r.ExpiresAt <= r.StartsAt:
		return gatehouse.InvalidParam("expires_at", "Invalid 'expires_at': it must be after 'starts_at'.")
	}
	return nil
}

// withBook runs fn on the organization's book, brought to the present before and after it, and then what is left to do.
func (s *Service) withBook(tx *store.Tx, who *gatehouse.Principal, event string, fn func(*book) error, then func() error) error {
	b, err := openBook(tx, who.Organization, cmp.Or(who.RequestID, event))
	if err != nil {
		return err
	}
	u, err := creditUse(tx, b.credits)
	if err != nil {
		return err
	}
	if err := b.advance(u); err != nil {
		return err
	}
	if err := fn(b); err != nil {
		return err
	}
	b.sort()
	if u, err = creditUse(tx, b.credits); err != nil { // another budget may count from now on, or none
		return err
	}
	if err := b.advance(u); err != nil {
		return err
	}
	return then()
}

// keepGrant is keepCredits for a change of the one grant whose id fn returns, which it returns as the change leaves it.
func (s *Service) keepGrant(ctx context.Context, who *gatehouse.Principal, r reach, event string, fn func(b *book) (id string, change map[string]any, err error)) (g *gatehouse.Grant, effect Effect, err error) {
	effect, err = s.change(ctx, who, r, gatehouse.Event{Type: event, Subject: gatehouse.SubjectGrant}, func(tx *store.Tx) error {
		return s.withBook(tx, who, event, func(b *book) error {
			id, change, err := fn(b)
			if err != nil {
				return err
			}
			tx.Event().SubjectID, tx.Event().Change = id, detail(change)
			return nil
		}, func() (err error) {
			g, err = tx.Grant(tx.Event().SubjectID)
			return err
		})
	})
	return g, effect, err
}

// Grant gives the organization prepaid credit. Nothing of it can be spent before it is activated.
func (s *Service) Grant(ctx context.Context, who *gatehouse.Principal, req GrantRequest) (*gatehouse.Grant, Effect, error) {
	if err := req.check(gatehouse.MillisOf(s.cfg.Now())); err != nil {
		return nil, Effect{}, err
	}
	return s.keepGrant(ctx, who, widens, "credits.granted", func(b *book) (string, map[string]any, error) {
		g, err := b.grant(&req, false)
		if err != nil {
			return "", nil, err
		}
		return g.ID, grantDetail(g), nil
	})
}

func grantDetail(g *gatehouse.Grant) map[string]any {
	return map[string]any{"name": g.Name, "amount_nano_usd": g.Amount, "priority": g.Priority, "starts_at": g.StartsAt, "expires_at": g.ExpiresAt, "active": g.ActivatedAt != 0,
		"refill": g.Refill, "reference": g.Reference}
}

// grant adds a checked grant to the book.
func (b *book) grant(req *GrantRequest, refill bool) (*gatehouse.Grant, error) {
	g := gatehouse.Grant{ID: gatehouse.NewID(gatehouse.PrefixGrant), Organization: b.credits.Organization, Name: req.Name, Amount: req.Amount, Priority: req.Priority, StartsAt: req.StartsAt,
		ExpiresAt: req.ExpiresAt, Reference: req.Reference, Refill: refill, CreatedAt: b.tx.Now}
	if g.Name == "" {
		g.Name = "credit " + g.ID[len(gatehouse.PrefixGrant):]
	}
	if req.Activate {
		g.ActivatedAt = b.tx.Now
	}
	if err := b.tx.CreateGrant(&g); err != nil {
		if gatehouse.KindOf(err) == gatehouse.Conflict {
			return nil, &gatehouse.Error{Kind: gatehouse.Conflict, Code: "grant_exists", Param: "name", Message: "A grant was named `" + g.Name + "` before. Choose another name: a name says for good which credit was given.", Err: err}
		}
		return nil, err
	}
	b.grants = append(b.grants, g)
	return &g, nil
}

// ActivateGrant makes a grant one that can be spent from, at once or when it starts. One that is active already stays as it is.
func (s *Service) ActivateGrant(ctx context.Context, who *gatehouse.Principal, ref string) (*gatehouse.Grant, Effect, error) {
	g, effect, err := s.keepGrant(ctx, who, widens, "credits.activated", func(b *book) (string, map[string]any, error) {
		g, err := b.find(ref)
		if err != nil {
			return "", nil, err
		}
		if b.ended(g) {
			return "", nil, grantOver(g, g.State(b.tx.Now))
		}
		if g.ActivatedAt != 0 {
			return "", nil, errUnchanged
		}
		g.ActivatedAt = b.tx.Now
		b.changed[g.ID] = true
		return g.ID, grantDetail(g), nil
	})
	if err == errUnchanged {
		g, err := s.CreditGrant(ctx, who, ref)
		return g, Effect{Everywhere: true}, err
	}
	return g, effect, err
}

// RevokeGrant takes back what is left of a grant. What open requests have reserved is theirs.
func (s *Service) RevokeGrant(ctx context.Context, who *gatehouse.Principal, ref string) (*gatehouse.Grant, Effect, error) {
	return s.keepGrant(ctx, who, narrows, "credits.revoked", func(b *book) (string, map[string]any, error) {
		g, err := b.find(ref)
		if err != nil {
			return "", nil, err
		}
		if g.RevokedAt != 0 {
			return "", nil, grantOver(g, gatehouse.GrantRevoked)
		}
		g.RevokedAt = b.tx.Now
		b.changed[g.ID] = true
		return g.ID, map[string]any{"name": g.Name, "left_nano_usd": b.left[g.ID]}, nil
	})
}

func grantOver(g *gatehouse.Grant, state gatehouse.GrantState) error {
	return &gatehouse.Error{Kind: gatehouse.Conflict, Code: "grant_over", Message: "Grant `" + g.Name + "` is " + string(state) + ". Grant new credit instead."}
}

// find returns an open grant of the book by id or name.
func (b *book) find(ref string) (*gatehouse.Grant, error) {
	for i := range b.grants {
		if g := &b.grants[i]; g.ID == ref || g.Name == ref {
			return g, nil
		}
	}
	g, err := grantOf(b.tx, b.credits.Organization, ref)
	if err != nil {
		return nil, err
	}
	state := g.State(b.tx.Now)
	if state == gatehouse.GrantActive {
		return nil, &gatehouse.Error{Kind: gatehouse.Conflict, Code: "grant_over", Message: "Grant `" + g.Name + "` is used up. Grant new credit instead."}
	}
	return nil, grantOver(g, state)
}

// grantOf returns a grant of an organization by id or name, whatever became of it.
func grantOf(tx *store.Tx, organization, ref string) (*gatehouse.Grant, error) {
	if !strings.HasPrefix(ref, gatehouse.PrefixGrant) {
		g, err := tx.GrantNamed(organization, ref)
		return g, hide(err, "grant", ref)
	}
	g, err := tx.Grant(ref)
	if err != nil {
		return nil, hide(err, "grant", ref)
	}
	if g.Organization != organization {
		return nil, notFound("grant", ref)
	}
	return g, nil
}

// CreditsUpdate changes how the organization's credits are used; absent fields stay.
type CreditsUpdate struct {
	Prepaid Optional[bool]
	Refill  Optional[gatehouse.Refill]
}

// UpdateCredits turns prepayment on or off, and sets how credits are refilled. From the moment prepayment is on, every request is
// paid from credits, and refused with credit_balance_exhausted where no active grant covers it; requests that were admitted before
// are not charged to them.
func (s *Service) UpdateCredits(ctx context.Context, who *gatehouse.Principal, req CreditsUpdate) (Effect, error) {
	if req.Refill.Set {
		if err := checkRefill(req.Refill.Value); err != nil {
			return Effect{}, err
		}
	}
	ev := gatehouse.Event{Type: "credits.updated", Subject: gatehouse.SubjectCredits, SubjectID: who.Organization}
	effect, err := s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		return s.withBook(tx, who, ev.Type, func(b *book) error {
			changed, err := b.set(req)
			if err == nil && len(changed) == 0 {
				return errUnchanged
			}
			tx.Event().Change = detail(map[string]any{"prepaid": b.credits.Budget != "", "refill": b.credits.Refill})
			return err
		}, func() error { return nil })
	})
	if err == errUnchanged {
		return Effect{Everywhere: true}, nil
	}
	return effect, err
}

// set applies an update whose refill is checked, and returns what it changed.
func (b *book) set(req CreditsUpdate) (changed []string, err error) {
	if req.Refill.Set && req.Refill.Value != b.credits.Refill {
		b.credits.Refill = req.Refill.Value
		changed = append(changed, "refill")
	}
	if !req.Prepaid.Set || req.Prepaid.Value == (b.credits.Budget != "") {
		return changed, nil
	}
	changed = append(changed, "prepaid")
	if req.Prepaid.Value {
		return changed, b.begin()
	}
	return changed, b.stop()
}

// begin makes the budget through which the balance is enforced. It counts from nothing: what was used before is not paid from credits.
func (b *book) begin() error {
	budget := &gatehouse.Budget{ID: gatehouse.NewID(gatehouse.PrefixBudget), Organization: b.credits.Organization, Kind: gatehouse.BudgetCredits, Scope: gatehouse.ScopeOrganization,
		Subject: b.credits.Organization, Amount: b.spendable(), Window: gatehouse.Window{Period: gatehouse.Total}, Enforcement: gatehouse.Hard, CreatedAt: b.tx.Now}
	b.credits.Budget, b.credits.Since, b.credits.Posted, b.credits.PostedAt = budget.ID, b.tx.Now, 0, b.tx.Now
	b.tx.Emit(gatehouse.Event{Type: "budget.created", Organization: budget.Organization, Subject: gatehouse.SubjectBudget, SubjectID: budget.ID, Change: detail(budgetDetail(budget))})
	return b.tx.CreateBudget(budget)
}

// stop ends the budget. What was settled is entered already; open requests are not charged to credits any more.
func (b *book) stop() error {
	budget, err := b.tx.Budget(b.credits.Budget)
	if err != nil {
		return err
	}
	budget.RemovedAt = b.tx.Now
	b.credits.Budget, b.credits.Since, b.credits.Posted = "", 0, 0
	b.tx.Emit(gatehouse.Event{Type: "budget.deleted", Organization: budget.Organization, Subject: gatehouse.SubjectBudget, SubjectID: budget.ID})
	return b.tx.SaveBudget(budget)
}

func checkRefill(r gatehouse.Refill) error {
	switch r.Mode {
	case gatehouse.RefillNone:
		if r != (gatehouse.Refill{}) {
			return gatehouse.InvalidParam("refill.mode", "Invalid 'refill.mode': say manual or automatic, or leave the rest out to add nothing.")
		}
		return nil
	case gatehouse.RefillAutomatic:
		if err := checkAmount("refill.below_usd", r.Below, 1); err != nil {
			return err
		}
	case gatehouse.RefillManual:
		if r.Below != 0 {
			return gatehouse.InvalidParam("refill.below_usd", "Invalid 'refill.below_usd': it is for automatic refills.")
		}
	default:
		return gatehouse.InvalidParam("refill.mode", "Invalid 'refill.mode': must be none, manual or automatic.")
	}
	if err := checkAmount("refill.add_usd", r.Add, 1); err != nil {
		return err
	}
	if r.MonthlyMax != 0 {
		if err := checkAmount("refill.monthly_max_usd", r.MonthlyMax, r.Add); err != nil {
			return err
		}
	}
	if r.Days < 0 || r.Days > 3660 {
		return gatehouse.InvalidParam("refill.days", "Invalid 'refill.days': must be between 1 and 3660, or absent for credit that does not expire.")
	}
	return nil
}

// RefillCredits grants one refill now, as the policy says, or another amount within the month's maximum. Both modes allow it.
func (s *Service) RefillCredits(ctx context.Context, who *gatehouse.Principal, amount gatehouse.NanoUSD) (*gatehouse.Grant, Effect, error) {
	if amount != 0 {
		if err := checkAmount("amount_usd", amount, 1); err != nil {
			return nil, Effect{}, err
		}
	}
	return s.keepGrant(ctx, who, widens, "credits.refilled", func(b *book) (string, map[string]any, error) {
		p := b.credits.Refill
		if p.Mode == gatehouse.RefillNone {
			return "", nil, &gatehouse.Error{Kind: gatehouse.Conflict, Code: "no_refill_policy", Message: "There is no refill policy. Set one (gatehouse credits policy), or grant credit (gatehouse credits grant)."}
		}
		room, err := b.room()
		if err != nil {
			return "", nil, err
		}
		want := cmp.Or(amount, p.Add)
		if want > room {
			return "", nil, gatehouse.InvalidParam("amount_usd", "Refills of this month may grant another %s US dollars, not %s. Raise the policy's monthly maximum, or grant credit.", gatehouse.USD(room), gatehouse.USD(want))
		}
		g, err := b.refill(want)
		if err != nil {
			return "", nil, err
		}
		return g.ID, grantDetail(g), nil
	})
}

// room returns how much refills may still grant in the calendar month.
func (b *book) room() (gatehouse.NanoUSD, error) {
	zone, err := zoneOf(b.tx, b.credits.Organization)
	if err != nil {
		return 0, err
	}
	first, _ := gatehouse.Window{Period: gatehouse.Monthly}.Bounds(b.tx.Now, zone)
	granted, err := b.tx.Refilled(b.credits.Organization, first)
	if err != nil {
		return 0, err
	}
	return max(0, cmp.Or(b.credits.Refill.MonthlyMax, b.credits.Refill.Add)-granted), nil
}

func (b *book) refill(amount gatehouse.NanoUSD) (*gatehouse.Grant, error) {
	req := GrantRequest{Amount: amount, Activate: true}
	if days := b.credits.Refill.Days; days > 0 {
		req.ExpiresAt = b.tx.Now + gatehouse.Millis(days)*dayMillis
	}
	id := gatehouse.RandomBase62(8)
	req.Name = "refill " + b.tx.Now.Time().Format(time.DateOnly) + " " + id
	return b.grant(&req, true)
}

// zoneOf returns the time zone in which an organization's days and months begin.
func zoneOf(tx *store.Tx, organization string) (*time.Location, error) {
	o, err := tx.Organization(organization)
	if err != nil {
		return nil, err
	}
	return zoneNamed(o.TimeZone), nil
}

// zoneNamed returns a zone; one that this binary does not know is UTC, as it is to the catalog.
func zoneNamed(name string) *time.Location {
	if zone, err := time.LoadLocation(name); err == nil {
		return zone
	}
	return time.UTC
}

// RefillModeNamed returns the mode of a name; none and nothing are the same.
func RefillModeNamed(name string) gatehouse.RefillMode {
	if name == "none" {
		return gatehouse.RefillNone
	}
	return gatehouse.RefillMode(name)
}
