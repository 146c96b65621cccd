package catalog

import (
	"reflect"
	"testing"

	"gatehouse"
)

// TestAdoptTakesEverything proves that adopt forgets no table: one that stayed as it was would keep what a restore took away.
func TestAdoptTakesEverything(t *testing.T) {
	to, from := newReplica(), newReplica()
	to.putOrganization(&gatehouse.Organization{ID: "org-1", Rev: 9})
	to.putKey(testKey(1))
	from.putOrganization(&gatehouse.Organization{ID: "org-2", Rev: 1})
	from.putUpstream(&gatehouse.Upstream{ID: "up_1", Organization: "org-2", Rev: 1})
	from.putLimit(&gatehouse.Limit{ID: "rl-1", Organization: "org-2", Rev: 1})
	from.compile()
	fillTables(from)
	to.adopt(from)
	fields, was := reflect.ValueOf(from).Elem(), reflect.ValueOf(to).Elem()
	for i := range fields.NumField() {
		f, g := fields.Field(i), was.Field(i)
		name := fields.Type().Field(i).Name
		switch {
		case f.Kind() == reflect.Struct && f.FieldByName("slots").IsValid(): // it has an array because it has had a row
			p, q := f.FieldByName("slots").FieldByName("v").Pointer(), g.FieldByName("slots").FieldByName("v").Pointer()
			if p == 0 || p != q {
				t.Errorf("table %s is not adopted", name)
			}
		case f.Kind() == reflect.Map && f.Pointer() != g.Pointer():
			t.Errorf("map %s is not adopted", name)
		}
	}
	if to.organizations.get("org-1") != nil || to.keys.live.Load() != 0 || to.organizations.get("org-2") == nil {
		t.Error("what was there before is still there, or what was adopted is not")
	}
}

// fillTables puts a row into every table.
func fillTables(r *replica) {
	r.putProject(&gatehouse.Project{ID: "proj_1", Organization: "org-2", Rev: 1})
	r.putUser(&gatehouse.User{ID: "user-1", Organization: "org-2", Rev: 1})
	r.putMember(&gatehouse.ProjectUser{Project: "proj_1", User: "user-1", Rev: 1})
	r.putAccount(&gatehouse.ServiceAccount{ID: "svc_acct_1", Organization: "org-2", Project: "proj_1", Rev: 1})
	r.putGroup(&gatehouse.Group{ID: "group_1", Organization: "org-2", Rev: 1})
	r.putBudget(&gatehouse.Budget{ID: "budget_1", Organization: "org-2", Rev: 1})
	r.compile()
	r.putResource(&gatehouse.Resource{ID: "res_1", Organization: "org-2", Project: "proj_1", Rev: 1})
	r.putCertificate(&gatehouse.Certificate{ID: "cert_1", Organization: "org-2", Rev: 1})
	key := testKey(2)
	r.putKey(key)
	r.dropKey(key.ID)
}
