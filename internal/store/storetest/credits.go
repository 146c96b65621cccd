package storetest

import (
	"slices"
	"testing"

	"gatehouse"
	"gatehouse/internal/store"
)

// testCreditEntities takes what credits and spend alerts are made of through their lives.
func testCreditEntities(t *testing.T, db *store.DB) {
	seed(t, db)
	t.Run("SpendAlert", func(t *testing.T) {
		run(t, db, entity[gatehouse.SpendAlert]{
			value: func() *gatehouse.SpendAlert {
				return &gatehouse.SpendAlert{ID: "alert_x", Organization: "org-a", Project: "proj_1", Threshold: 5e9, Recipients: []string{"finance@example.com", "b@example.com"},
					SubjectPrefix: "[spend]", CreatedAt: 5}
			},
			change: func(a *gatehouse.SpendAlert) {
				a.Threshold, a.Recipients, a.SubjectPrefix, a.RemovedAt = 0, []string{"c@example.com"}, "", 9
			},
			rev:    func(a *gatehouse.SpendAlert) *int64 { return &a.Rev },
			create: (*store.Tx).CreateSpendAlert, save: (*store.Tx).SaveSpendAlert, each: (*store.Tx).EachSpendAlert,
			get:    func(tx *store.Tx, a *gatehouse.SpendAlert) (*gatehouse.SpendAlert, error) { return tx.SpendAlert(a.ID) },
			rename: func(a *gatehouse.SpendAlert) { a.ID = "alert_none" },
		})
	})
	t.Run("Grant", func(t *testing.T) {
		run(t, db, entity[gatehouse.Grant]{
			value: func() *gatehouse.Grant {
				return &gatehouse.Grant{ID: "grant_x", Organization: "org-a", Name: "pilot", Amount: 1, Priority: -3, StartsAt: 6, ExpiresAt: 1 << 60, Refill: true,
					Reference: "invoice 4711", CreatedAt: 5}
			},
			change: func(g *gatehouse.Grant) {
				g.Name, g.Priority, g.StartsAt, g.ExpiresAt, g.ActivatedAt, g.RevokedAt, g.IssuedAt, g.Reference = "n", 7, 0, 0, 8, 9, 10, ""
			},
			rev:    func(g *gatehouse.Grant) *int64 { return &g.Rev },
			create: (*store.Tx).CreateGrant, save: (*store.Tx).SaveGrant, each: (*store.Tx).EachGrant,
			get:    func(tx *store.Tx, g *gatehouse.Grant) (*gatehouse.Grant, error) { return tx.Grant(g.ID) },
			rename: func(g *gatehouse.Grant) { g.ID = "grant_none" },
		})
	})
	t.Run("Credits", func(t *testing.T) {
		run(t, db, entity[gatehouse.Credits]{
			value: func() *gatehouse.Credits {
				return &gatehouse.Credits{Organization: "org-a", Budget: "budget_1", Since: 5, Posted: 6, PostedAt: 7,
					Refill: gatehouse.Refill{Mode: gatehouse.RefillAutomatic, Below: 1, Add: 2, MonthlyMax: 3, Days: 4}}
			},
			change: func(c *gatehouse.Credits) {
				*c = gatehouse.Credits{Organization: c.Organization, Posted: 9, Rev: c.Rev}
			},
			rev:    func(c *gatehouse.Credits) *int64 { return &c.Rev },
			create: (*store.Tx).CreateCredits, save: (*store.Tx).SaveCredits, each: (*store.Tx).EachCredits,
			get: func(tx *store.Tx, c *gatehouse.Credits) (*gatehouse.Credits, error) {
				return tx.Credits(c.Organization)
			},
			rename: func(c *gatehouse.Credits) { c.Organization = "org-b" },
		})
	})
}

// testSpendAlertLists proves that an organization's own alerts and those of its projects are lists apart.
func testSpendAlertLists(t *testing.T, db *store.DB) {
	seed(t, db)
	change(t, db, func(tx *store.Tx) error {
		for _, a := range []gatehouse.SpendAlert{{ID: "alert_1"}, {ID: "alert_2", RemovedAt: 1}, {ID: "alert_3"}, {ID: "alert_4", Project: "proj_1"}, {ID: "alert_5", Project: "proj_2"}} {
			a.Organization = "org-a"
			if err := tx.CreateSpendAlert(&a); err != nil {
				return err
			}
		}
		return nil
	})
	look(t, db, func(tx *store.Tx) error {
		for _, c := range []struct {
			organization, project string
			page                  store.Page
			want                  []string
			more                  bool
		}{
			{"org-a", "", store.Page{}, []string{"alert_1", "alert_3"}, false},
			{"org-a", "", store.Page{Limit: 1}, []string{"alert_1"}, true},
			{"org-a", "", store.Page{After: "alert_2", Limit: 1}, []string{"alert_3"}, false},
			{"org-a", "", store.Page{Desc: true, Limit: 1}, []string{"alert_3"}, true},
			{"org-a", "proj_1", store.Page{}, []string{"alert_4"}, false},
			{"org-a", "proj_3", store.Page{}, nil, false},
			{"org-b", "", store.Page{}, nil, false},
			{"org-b", "proj_1", store.Page{}, nil, false},
		} {
			list, more, err := tx.SpendAlerts(c.organization, c.project, c.page)
			if err != nil {
				return err
			}
			if got := ids(list, func(a *gatehouse.SpendAlert) string { return a.ID }); !slices.Equal(got, c.want) || more != c.more {
				t.Errorf("alerts of %s %s %+v: got %v %v, want %v %v", c.organization, c.project, c.page, got, more, c.want, c.more)
			}
		}
		return nil
	})
	refused(t, db, gatehouse.NotFound, func(tx *store.Tx) error {
		return tx.CreateSpendAlert(&gatehouse.SpendAlert{ID: "alert_6", Organization: "org-a", Project: "proj_3"})
	})
}

// testCreditLedger proves that entries are numbered without a gap, that accounts come to what their entries say, and that no grant
// and no debt goes below nothing.
func testCreditLedger(t *testing.T, db *store.DB) {
	seed(t, db)
	enter := func(debit, credit gatehouse.CreditAccount, grant string, amount gatehouse.NanoUSD) func(*store.Tx) error {
		return func(tx *store.Tx) error {
			return tx.Enter(&gatehouse.CreditEntry{Organization: "org-a", Debit: debit, Credit: credit, Grant: grant, Amount: amount, Reference: "r"})
		}
	}
	const issued, balance, spent, expired, overdrawn = gatehouse.AccountIssued, gatehouse.AccountBalance, gatehouse.AccountSpent, gatehouse.AccountExpired, gatehouse.AccountOverdrawn
	change(t, db, enter(balance, issued, "grant_1", 10))
	change(t, db, enter(balance, issued, "grant_2", 5))
	change(t, db, enter(spent, balance, "grant_1", 7))
	refused(t, db, gatehouse.Invalid, enter(spent, balance, "grant_1", 4))
	refused(t, db, gatehouse.Invalid, enter(spent, balance, "grant_3", 1))
	refused(t, db, gatehouse.Invalid, enter(spent, balance, "grant_1", 0))
	refused(t, db, gatehouse.Invalid, enter(spent, spent, "", 1))
	change(t, db, enter(expired, balance, "grant_1", 3))
	change(t, db, enter(spent, overdrawn, "", 2))
	refused(t, db, gatehouse.Invalid, enter(overdrawn, balance, "grant_2", 3))
	change(t, db, enter(overdrawn, balance, "grant_2", 2))
	_, err := db.Update(t.Context(), gatehouse.Event{Type: "test.changed", Organization: "org-b"}, enter(spent, balance, "grant_2", 1))
	if err == nil {
		t.Error("an entry was made in a change of another organization")
	}
	look(t, db, func(tx *store.Tx) error {
		got, err := tx.CreditBalances("org-a")
		if err != nil {
			return err
		}
		want := []store.CreditBalance{{Account: balance, Grant: "grant_1", Amount: 0}, {Account: balance, Grant: "grant_2", Amount: 3}, {Account: expired, Amount: 3}, {Account: issued, Amount: -15},
			{Account: overdrawn, Amount: 0}, {Account: spent, Amount: 9}}
		if !slices.Equal(got, want) {
			t.Errorf("accounts\n got %+v\nwant %+v", got, want)
		}
		entries, err := tx.CreditEntries("org-a", 0, 100)
		if err != nil {
			return err
		}
		for i := range entries {
			if e := &entries[i]; e.Number != int64(i+1) || e.At == 0 || e.Reference != "r" {
				t.Errorf("entry %d is %+v", i, e)
			}
		}
		if len(entries) != 6 {
			t.Errorf("%d entries, want 6", len(entries))
		}
		if page, err := tx.CreditEntries("org-a", 2, 2); err != nil || !slices.Equal(page, entries[2:4]) {
			t.Errorf("entries after 2: %+v, %v", page, err)
		}
		if page, err := tx.LastCreditEntries("org-a", 3, 5); err != nil || len(page) != 2 || page[0] != entries[1] || page[1] != entries[0] {
			t.Errorf("entries before 3: %+v, %v", page, err)
		}
		if page, err := tx.LastCreditEntries("org-a", 0, 1); err != nil || len(page) != 1 || page[0] != entries[5] {
			t.Errorf("the last entry: %+v, %v", page, err)
		}
		n := 0
		err = tx.EachCreditEntry("org-a", func(e *gatehouse.CreditEntry) error { n++; return nil })
		if n != 6 {
			t.Errorf("each found %d entries", n)
		}
		return err
	})
}

// testGrants proves that a name is given to one grant for good, and that a closed grant stays as it is.
func testGrants(t *testing.T, db *store.DB) {
	seed(t, db)
	closed := &gatehouse.Grant{ID: "grant_2", Organization: "org-a", Name: "b", Amount: 1, ClosedAt: 5}
	revoked := &gatehouse.Grant{ID: "grant_3", Organization: "org-a", Name: "c", Amount: 1, RevokedAt: 5}
	change(t, db, func(tx *store.Tx) error {
		for _, g := range []*gatehouse.Grant{{ID: "grant_1", Organization: "org-a", Name: "a", Amount: 1}, closed, revoked, {ID: "grant_4", Organization: "org-b", Name: "a", Amount: 1}} {
			if err := tx.CreateGrant(g); err != nil {
				return err
			}
		}
		return nil
	})
	refused(t, db, gatehouse.Conflict, func(tx *store.Tx) error {
		return tx.CreateGrant(&gatehouse.Grant{ID: "grant_5", Organization: "org-a", Name: "b", Amount: 1})
	})
	refused(t, db, gatehouse.Invalid, func(tx *store.Tx) error {
		return tx.CreateGrant(&gatehouse.Grant{ID: "grant_5", Organization: "org-a", Name: "d"})
	})
	refused(t, db, gatehouse.Conflict, func(tx *store.Tx) error { g := *closed; return tx.SaveGrant(&g) })
	refused(t, db, gatehouse.Conflict, func(tx *store.Tx) error { g := *revoked; g.RevokedAt = 0; return tx.SaveGrant(&g) })
	look(t, db, func(tx *store.Tx) error {
		open, err := tx.OpenGrants("org-a")
		if err != nil {
			return err
		}
		id := func(g *gatehouse.Grant) string { return g.ID }
		if got, want := ids(open, id), []string{"grant_1", "grant_3"}; !slices.Equal(got, want) {
			t.Errorf("open grants: got %v, want %v", got, want)
		}
		list, more, err := tx.Grants("org-a", store.Page{Limit: 2})
		if err != nil {
			return err
		}
		if got, want := ids(list, id), []string{"grant_1", "grant_2"}; !slices.Equal(got, want) || !more {
			t.Errorf("grants: got %v %v, want %v", got, more, want)
		}
		g, err := tx.GrantNamed("org-b", "a")
		if err == nil && g.ID != "grant_4" {
			t.Errorf("the grant named a of org-b is %s", g.ID)
		}
		return err
	})
}
