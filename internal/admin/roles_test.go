package admin_test

import (
	"strings"
	"testing"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// TestNobodyGivesWhatTheyDoNotHave: whoever may change roles, groups, users or keys, and nothing else, cannot become more by it.
func TestNobodyGivesWhatTheyDoNotHave(t *testing.T) {
	o := open(t)
	ctx := t.Context()
	reader := must[*gatehouse.User](t)(o.CreateUser(ctx, o.who, admin.UserRequest{Name: "Rae"}))
	limited := must[*gatehouse.AccessRole](t)(o.CreateRole(ctx, o.who, "", admin.RoleRequest{Name: "people", Permissions: []string{"api.users.write", "api.groups.write", "api.roles.write", "api.api_keys.write"}}))
	_ = must[*admin.RoleAssigned](t)(o.AssignRole(ctx, o.who, "", reader.ID, "", limited.ID))
	key := must[*admin.NewKey](t)(o.CreateKey(ctx, o.who, admin.KeyRequest{Class: gatehouse.ClassAdmin, User: reader.ID}))
	as := &gatehouse.Principal{Actor: gatehouse.Actor{Kind: gatehouse.ActorKey, Key: key.Key.ID, User: reader.ID}, Organization: o.who.Organization, Class: gatehouse.ClassAdmin}
	owner := must[*gatehouse.User](t)(o.CreateUser(ctx, o.who, admin.UserRequest{Name: "Oz", Role: gatehouse.RoleOwner}))
	group := must[*gatehouse.Group](t)(o.CreateGroup(ctx, o.who, "owners"))
	_ = must[*admin.RoleAssigned](t)(o.AssignRole(ctx, o.who, "", "", group.ID, gatehouse.RoleIDOwner))

	refused := func(name string, err error) {
		t.Helper()
		if gatehouse.KindOf(err) != gatehouse.Forbidden || !strings.Contains(err.Error(), "cannot give what you do not have") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := o.CreateRole(ctx, as, "", admin.RoleRequest{Name: "more", Permissions: []string{"api.users.read", "api.spend.write"}})
	refused("a role with more", err)
	_, err = o.CreateRole(ctx, as, "", admin.RoleRequest{Name: "reads all", Permissions: []string{gatehouse.ReadEverything}})
	refused("a role that reads everything", err)
	_, _, err = o.UpdateRole(ctx, as, "", limited.ID, admin.RoleUpdate{Permissions: admin.Some([]string{"api.users.write", gatehouse.ManagementWrite})})
	refused("more in their own role", err)
	_, err = o.AssignRole(ctx, as, "", reader.ID, "", gatehouse.RoleIDOwner)
	refused("owner by assignment", err)
	_, _, err = o.UpdateUser(ctx, as, reader.ID, admin.UserUpdate{Role: admin.Some(gatehouse.RoleOwner)})
	refused("owner by update", err)
	_, err = o.CreateUser(ctx, as, admin.UserRequest{Name: "Puppet", Role: gatehouse.RoleOwner})
	refused("another owner", err)
	_, err = o.AddGroupUser(ctx, as, group.ID, reader.ID)
	refused("into a group of owners", err)
	_, err = o.CreateKey(ctx, as, admin.KeyRequest{Class: gatehouse.ClassAdmin, User: owner.ID})
	refused("an owner's key", err)
	_, err = o.CreateKey(ctx, as, admin.KeyRequest{Class: gatehouse.ClassAdmin, User: owner.ID, Scopes: []string{"api.spend.write"}})
	refused("an owner's key for what they may not do", err)
	narrow := must[*admin.NewKey](t)(o.CreateKey(ctx, o.who, admin.KeyRequest{Class: gatehouse.ClassAdmin, User: owner.ID, Scopes: []string{"api.users.read"}}))
	_, _, err = o.UpdateKey(ctx, as, "", narrow.Key.ID, admin.KeyUpdate{Scopes: admin.Some([]string{})})
	refused("an owner's key without its scopes", err)

	// Who owns a project has authority in it that no role in the organization shows: a key of theirs is not to be had for less.
	project := must[*gatehouse.Project](t)(o.CreateProject(ctx, o.who, admin.ProjectRequest{Name: "theirs"}))
	lead := must[*gatehouse.User](t)(o.CreateUser(ctx, o.who, admin.UserRequest{Name: "Lea"}))
	_ = must[*admin.Member](t)(o.AddProjectUser(ctx, o.who, project.ID, lead.ID, gatehouse.RoleOwner))
	_, err = o.CreateKey(ctx, as, admin.KeyRequest{Class: gatehouse.ClassAdmin, User: lead.ID})
	refused("a project owner's key", err)
	_, err = o.CreateKey(ctx, as, admin.KeyRequest{Class: gatehouse.ClassAdmin, User: lead.ID, Scopes: []string{"api.service_accounts.write"}})
	refused("a project owner's key for what they may not do", err)
	_, err = o.AddProjectUser(ctx, as, project.ID, reader.ID, gatehouse.RoleOwner)
	refused("owner of a project", err)
	_, _, err = o.UpdateKey(ctx, as, "", must[*admin.NewKey](t)(o.CreateKey(ctx, o.who, admin.KeyRequest{Class: gatehouse.ClassAdmin, User: owner.ID, AllowedIPs: []string{"203.0.113.7"}})).Key.ID, admin.KeyUpdate{AllowedIPs: admin.Some([]string{})})
	refused("an owner's key from anywhere", err)

	// A token of a provider that becomes a service account is a credential of it: it takes who could make a key.
	account, _, err := o.CreateServiceAccount(ctx, o.who, project.ID, admin.ServiceAccountRequest{Name: "robot"})
	if err != nil {
		t.Fatal(err)
	}
	provider := must[*gatehouse.IdentityProvider](t)(o.CreateIdentityProvider(ctx, as, admin.IdentityProviderUpdate{Name: admin.Some("ci"), Issuer: admin.Some("https://token.example.com"), Audience: admin.Some("a")}))
	rule := admin.FederationRuleUpdate{Project: project.ID, ServiceAccount: account.ID, Matchers: admin.Some(map[string]any{"sub": "x"})}
	_, err = o.CreateFederationRule(ctx, as, provider.ID, rule)
	refused("a federation rule", err)
	made := must[*gatehouse.FederationRule](t)(o.CreateFederationRule(ctx, o.who, provider.ID, rule))
	_, _, err = o.UpdateFederationRule(ctx, as, provider.ID, made.ID, admin.FederationRuleUpdate{Matchers: admin.Some(map[string]any{"sub": "y"})})
	refused("what a federation rule matches", err)
	_, _, err = o.UpdateIdentityProvider(ctx, as, provider.ID, admin.IdentityProviderUpdate{Issuer: admin.Some("https://evil.example.com")})
	refused("whose tokens a rule believes", err)

	// What they have they may give, and who calls models is theirs to say.
	if _, err := o.AddProjectUser(ctx, as, project.ID, reader.ID, gatehouse.RoleMember); err != nil {
		t.Error(err)
	}
	if _, err := o.CreateRole(ctx, as, "", admin.RoleRequest{Name: "less", Permissions: []string{"api.users.read"}}); err != nil {
		t.Error(err)
	}
	if _, err := o.CreateKey(ctx, as, admin.KeyRequest{Class: gatehouse.ClassAdmin, User: owner.ID, Scopes: []string{"api.users.read"}}); err != nil {
		t.Error(err)
	}
	manager := must[*admin.NewKey](t)(o.CreateKey(ctx, o.who, admin.KeyRequest{Class: gatehouse.ClassAdmin, User: owner.ID, Scopes: []string{gatehouse.ManagementWrite}}))
	managing := &gatehouse.Principal{Actor: gatehouse.Actor{Kind: gatehouse.ActorKey, Key: manager.Key.ID, User: owner.ID}, Organization: o.who.Organization, Class: gatehouse.ClassAdmin}
	for _, role := range []gatehouse.Role{gatehouse.RoleViewer, gatehouse.RoleMember, gatehouse.RoleOwner} {
		if _, err := o.AddProjectUser(ctx, managing, project.ID, reader.ID, role); err != nil {
			t.Errorf("%s by a key for all management: %v", role, err)
		}
	}
	_, err = o.CreateKey(ctx, managing, admin.KeyRequest{Class: gatehouse.ClassAdmin})
	refused("a key without its scopes, for oneself", err)
	if _, err := o.RemoveProjectUser(ctx, o.who, project.ID, reader.ID); err != nil {
		t.Fatal(err)
	}
	// A call is checked against its need where it reads and writes, by the rows as they are.
	as.Need = "api.users.write"
	if _, err := o.CreateUser(ctx, as, admin.UserRequest{Name: "New"}); err != nil {
		t.Error(err)
	}
	if _, err := o.UnassignRole(ctx, o.who, "", reader.ID, "", limited.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := o.CreateUser(ctx, as, admin.UserRequest{Name: "Too late"}); gatehouse.KindOf(err) != gatehouse.Forbidden {
		t.Errorf("after the role was taken: %v", err)
	}
	if _, _, err := o.Users(ctx, as, nil, store.Page{}); gatehouse.KindOf(err) != gatehouse.Forbidden {
		t.Errorf("reading after the role was taken: %v", err)
	}
}

// TestRolesOfAUser: predefined roles are the user's own, others are beside them, and what a group has is shown with where it is from.
func TestRolesOfAUser(t *testing.T) {
	o := open(t)
	ctx := t.Context()
	u := must[*gatehouse.User](t)(o.CreateUser(ctx, o.who, admin.UserRequest{Name: "Ann"}))
	p := must[*gatehouse.Project](t)(o.CreateProject(ctx, o.who, admin.ProjectRequest{Name: "checkout"}))
	names := func() string {
		t.Helper()
		var out []string
		for _, v := range must[[]admin.AssignedRole](t)(o.AssignedRoles(ctx, o.who, p.ID, u.ID, "")) {
			text := v.Name
			for _, from := range v.From {
				text += " " + from.Type
			}
			out = append(out, text)
		}
		return strings.Join(out, ", ")
	}
	check := func(want string) {
		t.Helper()
		if got := names(); got != want {
			t.Errorf("the roles are %q, want %q", got, want)
		}
	}
	check("")
	assign := func(user, group, role string) {
		t.Helper()
		_ = must[*admin.RoleAssigned](t)(o.AssignRole(ctx, o.who, p.ID, user, group, role))
		o.now = o.now.Add(1e9)
	}
	assign(u.ID, "", gatehouse.RoleIDProjectMember)
	assign(u.ID, "", gatehouse.RoleIDProjectViewer) // which is less
	check("member user")
	assign(u.ID, "", gatehouse.RoleIDProjectOwner)
	check("owner user")
	v := must[*gatehouse.AccessRole](t)(o.CreateRole(ctx, o.who, p.ID, admin.RoleRequest{Name: "filer", Permissions: []string{"api.files.write"}}))
	g := must[*gatehouse.Group](t)(o.CreateGroup(ctx, o.who, "filers"))
	_ = must[*gatehouse.GroupUser](t)(o.AddGroupUser(ctx, o.who, g.ID, u.ID))
	assign("", g.ID, v.ID)
	check("owner user, filer group")
	assign(u.ID, "", v.ID)
	assign(u.ID, "", v.ID) // once
	check("owner user, filer user group")
	if _, err := o.RemoveProjectUser(ctx, o.who, p.ID, u.ID); err != nil {
		t.Fatal(err)
	}
	check("filer group")
	if _, err := o.DeleteRole(ctx, o.who, p.ID, v.ID); err != nil {
		t.Fatal(err)
	}
	check("")
	for name, err := range map[string]error{
		"a role of another place":          second(o.AssignRole(ctx, o.who, p.ID, u.ID, "", gatehouse.RoleIDOwner)),
		"a role that was deleted":          second(o.AssignRole(ctx, o.who, p.ID, u.ID, "", v.ID)),
		"a group that is none":             second(o.AssignRole(ctx, o.who, p.ID, "", "group_none", gatehouse.RoleIDProjectMember)),
		"a user of nobody":                 second(o.AssignRole(ctx, o.who, p.ID, "user-none", "", gatehouse.RoleIDProjectMember)),
		"a role that the user has not got": second(o.UnassignRole(ctx, o.who, p.ID, u.ID, "", gatehouse.RoleIDProjectMember)),
	} {
		if gatehouse.KindOf(err) != gatehouse.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"a permission that is none":              second(o.CreateRole(ctx, o.who, "", admin.RoleRequest{Name: "x", Permissions: []string{"api.nothing.read"}})),
		"a permission of projects":               second(o.CreateRole(ctx, o.who, "", admin.RoleRequest{Name: "x", Permissions: []string{"model.request"}})),
		"a permission of the organization":       second(o.CreateRole(ctx, o.who, p.ID, admin.RoleRequest{Name: "x", Permissions: []string{"api.routing.read"}})),
		"a predefined role's name":               second(o.CreateRole(ctx, o.who, "", admin.RoleRequest{Name: "Owner", Permissions: []string{}})),
		"a predefined role is deleted":           second(o.DeleteRole(ctx, o.who, "", gatehouse.RoleIDReader)),
		"the last of what every user is is gone": second(o.UnassignRole(ctx, o.who, "", u.ID, "", gatehouse.RoleIDReader)),
	} {
		if gatehouse.KindOf(err) != gatehouse.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
