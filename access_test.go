package gatehouse_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"gatehouse"
)

// TestPermitted holds the rules by which one permission covers another.
func TestPermitted(t *testing.T) {
	for _, c := range []struct {
		have, need string
		want       bool
	}{
		{"api.files.read", "api.files.read", true},
		{"api.files.write", "api.files.read", true},
		{"api.files.read", "api.files.write", false},
		{"api.file.write", "api.files.read", false},
		{"api.all.read", "api.usage.read", true},
		{"api.all.read", "api.users.write", false},
		{"api.management.write", "api.users.write", true},
		{"api.management.write", "api.users.read", true},
		{"api.management.read", "api.users.read", true},
		{"api.management.read", "api.users.write", false},
		{"api.management.write", "api.usage.read", false},
		{"api.management.write", "api.files.write", false},
		{"api.management.write", "api.management.write", true},
		{"api.management.write", "api.management.read", true},
		{"api.users.write", "api.management.write", false},
		{"model.request", "api.model.request", true},
		{"anything", "", false},
	} {
		if got := gatehouse.Permitted([]string{"nothing", c.have}, c.need); got != c.want {
			t.Errorf("%s covers %q: %v", c.have, c.need, got)
		}
	}
	if n := testing.AllocsPerRun(100, func() { gatehouse.Permitted([]string{"api.files.write"}, "api.users.read") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestPredefinedRoles holds what they permit in administration: a project's owner administers who is in it and lifts nothing that
// restricts it, and nobody else there administers anything.
func TestPredefinedRoles(t *testing.T) {
	for id, want := range map[string]string{
		gatehouse.RoleIDProjectOwner:  "api.api_keys.write api.groups.write api.roles.write api.service_accounts.write api.users.write",
		gatehouse.RoleIDProjectMember: "",
		gatehouse.RoleIDProjectViewer: "",
	} {
		list := gatehouse.Administration(gatehouse.ProjectLevel, gatehouse.PredefinedRole(gatehouse.ProjectLevel, id).Permissions)
		writes := slices.DeleteFunc(slices.Clone(list), func(p string) bool { return strings.HasSuffix(p, ".read") })
		if got := strings.Join(writes, " "); got != want {
			t.Errorf("%s may change %q, want %q", id, got, want)
		}
		if id == gatehouse.RoleIDProjectMember && len(list) > 0 {
			t.Errorf("a member administers: %v", list)
		}
	}
	all := gatehouse.Administration(gatehouse.OrganizationLevel, gatehouse.PredefinedRole(gatehouse.OrganizationLevel, gatehouse.RoleIDOwner).Permissions)
	for _, a := range gatehouse.Areas {
		for _, kind := range []string{"read", "write"} {
			if p := "api." + a.Name + "." + kind; a.Admin && (a.Only == "" || a.Only == kind) && !slices.Contains(all, p) {
				t.Errorf("an owner may not %s", p)
			}
		}
	}
	if gatehouse.PredefinedRole(gatehouse.ProjectLevel, gatehouse.RoleIDOwner) != nil {
		t.Error("a role of the organization is one of projects")
	}
}

// TestRolesPage holds docs/roles.md to the list of areas.
func TestRolesPage(t *testing.T) {
	page, err := os.ReadFile("docs/roles.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, line := range strings.Split(string(page), "\n") {
		if strings.HasPrefix(line, "| `") {
			rows++
		}
	}
	for _, a := range gatehouse.Areas {
		kinds, places := "read, write", "organization, project"
		if a.Only != "" {
			kinds = a.Only
		}
		switch a.Levels {
		case gatehouse.OrganizationLevel:
			places = "organization"
		case gatehouse.ProjectLevel:
			places = "project"
		}
		if row := fmt.Sprintf("| `%s` | %s | %s | %s |\n", a.Name, kinds, places, a.About); !strings.Contains(string(page), row) {
			t.Errorf("docs/roles.md has no row %s", row)
		}
	}
	if rows != len(gatehouse.Areas) {
		t.Errorf("docs/roles.md has %d rows of areas, want %d", rows, len(gatehouse.Areas))
	}
}
