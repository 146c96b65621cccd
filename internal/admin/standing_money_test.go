package admin_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// TestReapplyNarrowsMoney: what was lowered, made hard, ended or taken back after a backup is so again in what is restored of it, and
// what was raised is not.
func TestReapplyNarrowsMoney(t *testing.T) {
	o, ctx := open(t), t.Context()
	lowered, raised := o.budget(t, admin.BudgetSpec{Name: "lowered", Amount: 100}), o.budget(t, admin.BudgetSpec{Name: "raised", Amount: 100})
	hardened := o.budget(t, admin.BudgetSpec{Name: "hardened", Amount: 100, Enforcement: gatehouse.Soft})
	increased, _, err := o.IncreaseBudget(ctx, o.who, "raised", admin.IncreaseRequest{Amount: 5, Until: gatehouse.MillisOf(o.now) + 1000})
	if err != nil {
		t.Fatal(err)
	}
	bank := &bank{office: o, t: t}
	revoked := bank.grant(admin.GrantRequest{Name: "revoked", Amount: 10, Activate: true})
	kept := bank.grant(admin.GrantRequest{Name: "kept", Amount: 10, Activate: true})
	var file bytes.Buffer
	if err := o.db.Dump(ctx, &file, &store.Backup{}); err != nil {
		t.Fatal(err)
	}
	change := func(b *gatehouse.Budget, u admin.BudgetUpdate) {
		t.Helper()
		if _, _, err := o.UpdateBudget(ctx, o.who, b.ID, u); err != nil {
			t.Fatal(err)
		}
	}
	change(lowered, admin.BudgetUpdate{Amount: admin.Some[gatehouse.NanoUSD](7)})
	change(raised, admin.BudgetUpdate{Amount: admin.Some[gatehouse.NanoUSD](700)})
	change(hardened, admin.BudgetUpdate{Enforcement: admin.Some(gatehouse.Hard)})
	if _, err := o.EndIncrease(ctx, o.who, "raised", increased.Increases[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.RevokeGrant(ctx, o.who, revoked.ID); err != nil {
		t.Fatal(err)
	}
	var after []later
	for _, b := range []*gatehouse.Budget{lowered, raised, hardened} {
		after = append(after, later{gatehouse.SubjectBudget, b.ID, standing(t, o.db, gatehouse.SubjectBudget, b.ID)})
	}
	for _, g := range []*gatehouse.Grant{revoked, kept} {
		after = append(after, later{gatehouse.SubjectGrant, g.ID, standing(t, o.db, gatehouse.SubjectGrant, g.ID)})
	}

	r := openAt(t, "sqlite:"+filepath.Join(t.TempDir(), "r.db"))
	if _, err := r.db.Restore(ctx, bytes.NewReader(file.Bytes()), store.Restoration{Replace: true}); err != nil {
		t.Fatal(err)
	}
	r.who = o.who
	for i, l := range after {
		out, err := r.Reapply(ctx, gatehouse.Host(o.who.Organization), int64(i+1), "test.changed", l.kind, l.id, l.state)
		want := admin.Narrowed
		if l.id == kept.ID {
			want = admin.AsItWas
		}
		if err != nil || out != want {
			t.Errorf("%s %s: %v, %v", l.kind, l.id, out, err)
		}
	}
	if s := r.status(t, "lowered"); s.Amount != 7 {
		t.Errorf("lowered: %+v", s.Budget)
	}
	if s := r.status(t, "raised"); s.Amount != 100 || len(s.Increases) != 0 {
		t.Errorf("raised: %+v", s.Budget)
	}
	if s := r.status(t, "hardened"); s.Enforcement != gatehouse.Hard {
		t.Errorf("hardened: %+v", s.Budget)
	}
	back := *bank
	back.office = r
	back.keep() // the duty takes out what was taken back
	if i := back.info(); i.Balance != 10 || i.Accounts[gatehouse.AccountRevoked] != 10 {
		t.Errorf("credits: %+v", i)
	}
	back.sound()
}

// TestReapplyMakesRestrictionsAgain: a cap that was set after the backup, and prepayment that began after it, are back; what restricts
// nobody stays as the backup has it, and is no loss.
func TestReapplyMakesRestrictionsAgain(t *testing.T) {
	o, ctx := open(t), t.Context()
	var file bytes.Buffer
	if err := o.db.Dump(ctx, &file, &store.Backup{}); err != nil {
		t.Fatal(err)
	}
	capped, gone := o.budget(t, admin.BudgetSpec{Name: "capped", Amount: 100}), o.budget(t, admin.BudgetSpec{Name: "gone", Amount: 100})
	if _, err := o.RemoveBudget(ctx, o.who, "gone"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.SetSpendLimit(ctx, o.who, "", 500); err != nil {
		t.Fatal(err)
	}
	limit, err := o.SpendLimit(ctx, o.who, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.UpdateCredits(ctx, o.who, admin.CreditsUpdate{Prepaid: admin.Some(true)}); err != nil {
		t.Fatal(err)
	}
	r := openAt(t, "sqlite:"+filepath.Join(t.TempDir(), "r.db"))
	if _, err := r.db.Restore(ctx, bytes.NewReader(file.Bytes()), store.Restoration{Replace: true}); err != nil {
		t.Fatal(err)
	}
	r.who = o.who
	organization := o.who.Organization
	for i, c := range []struct {
		kind       gatehouse.SubjectKind
		id         string
		want, then admin.Reapplied
	}{
		{gatehouse.SubjectBudget, capped.ID, admin.Narrowed, admin.AsItWas},
		{gatehouse.SubjectBudget, gone.ID, admin.Unknown, admin.Unknown},
		{gatehouse.SubjectBudget, limit.ID, admin.Narrowed, admin.AsItWas},
		{gatehouse.SubjectCredits, organization, admin.Narrowed, admin.AsItWas},
		{gatehouse.SubjectSpendAlert, "alert_1", admin.AsItWas, admin.AsItWas},
		{gatehouse.SubjectPrice, "price_1", admin.AsItWas, admin.AsItWas},
	} {
		state := standing(t, o.db, c.kind, c.id)
		if len(state) == 0 {
			t.Errorf("%s %s: nothing is kept of it, which a restore takes for a loss", c.kind, c.id)
		}
		for _, want := range []admin.Reapplied{c.want, c.then} {
			if out, err := r.Reapply(ctx, gatehouse.Host(organization), int64(i+1), "test.changed", c.kind, c.id, state); err != nil || out != want {
				t.Errorf("%s %s: %v, %v, want %v", c.kind, c.id, out, err, want)
			}
		}
	}
	if s := r.status(t, "capped"); s.Amount != 100 || s.Enforcement != gatehouse.Hard {
		t.Errorf("capped: %+v", s.Budget)
	}
	if again, err := r.SpendLimit(ctx, r.who, ""); err != nil || again.Amount != limit.Amount {
		t.Errorf("spend limit: %+v, %v", again, err)
	}
	back := &bank{office: r, t: t}
	if i := back.info(); i.Credits.Budget == "" {
		t.Errorf("credits: %+v", i)
	}
}
