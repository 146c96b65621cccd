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
