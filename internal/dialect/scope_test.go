package dialect_test

import (
	"testing"

	"gatehouse"
	"gatehouse/internal/dialect"
)

// TestScopesArePermissions: every operation needs a permission that roles of a project may have, and there is none that none needs.
func TestScopesArePermissions(t *testing.T) {
	used := map[string]bool{}
	for _, op := range dialect.Ops() {
		used[op.Scope] = true
		if gatehouse.PermissionLevels(op.Scope) != gatehouse.ProjectLevel {
			t.Errorf("%s needs %q, which is no permission of projects alone: see gatehouse.Areas", op.Name, op.Scope)
		}
		member := gatehouse.PredefinedRole(gatehouse.ProjectLevel, gatehouse.RoleIDProjectMember)
		if !gatehouse.Permitted(member.Permissions, op.Scope) {
			t.Errorf("a member may not %s", op.Name)
		}
	}
	for _, a := range gatehouse.Areas {
		for _, kind := range []string{"read", "write"} {
			if p := "api." + a.Name + "." + kind; !a.Admin && (a.Only == "" || a.Only == kind) && !used[p] {
				t.Errorf("no operation needs %s", p)
			}
		}
	}
}
