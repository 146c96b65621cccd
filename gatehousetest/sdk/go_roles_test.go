package sdk

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/openai/openai-go/v3"

	"gatehouse/gatehousetest"
)

// TestGoGroupsAndRoles calls every method of groups, roles and invites of openai-go.
func TestGoGroupsAndRoles(t *testing.T) {
	s := gatehousetest.Start(t, gatehousetest.Options{})
	c := client(s)
	org, ctx := c.Admin.Organization, t.Context()
	var made struct{ ID string }
	s.Admin("POST", "/gatehouse/v1/users", `{"name":"Ann","email":"ann@example.com"}`, &made)
	user, project := made.ID, s.ProjectID

	var groups []string
	for i := range 5 {
		groups = append(groups, must[*openai.Group](t)(org.Groups.New(ctx, openai.AdminOrganizationGroupNewParams{Name: fmt.Sprint("group ", i)})).ID)
	}
	var listed []string
	pages := org.Groups.ListAutoPaging(ctx, openai.AdminOrganizationGroupListParams{Limit: openai.Int(2)})
	for pages.Next() {
		listed = append(listed, pages.Current().ID)
	}
	if err := pages.Err(); err != nil || !slices.Equal(listed, groups) {
		t.Fatalf("%v: %v, want %v", err, listed, groups)
	}
	group := groups[0]
	if g := must[*openai.AdminOrganizationGroupUpdateResponse](t)(org.Groups.Update(ctx, group, openai.AdminOrganizationGroupUpdateParams{Name: "Ops"})); g.Name != "Ops" || g.CreatedAt == 0 {
		t.Error(g.RawJSON())
	}
	if g := must[*openai.Group](t)(org.Groups.Get(ctx, group)); g.Name != "Ops" || g.GroupType != "group" {
		t.Error(g.RawJSON())
	}
	if m := must[*openai.AdminOrganizationGroupUserNewResponse](t)(org.Groups.Users.New(ctx, group, openai.AdminOrganizationGroupUserNewParams{UserID: user})); m.UserID != user || m.GroupID != group {
		t.Error(m.RawJSON())
	}
	if m := must[*openai.AdminOrganizationGroupUserGetResponse](t)(org.Groups.Users.Get(ctx, group, user)); m.ID != user || m.Email != "ann@example.com" {
		t.Error(m.RawJSON())
	}
	if page, err := org.Groups.Users.List(ctx, group, openai.AdminOrganizationGroupUserListParams{}); err != nil || len(page.Data) != 1 || page.Data[0].ID != user {
		t.Errorf("%v %+v", err, page)
	}

	role := must[*openai.Role](t)(org.Roles.New(ctx, openai.AdminOrganizationRoleNewParams{RoleName: "Auditor", Permissions: []string{"api.audit_logs.read"}}))
	if role.ResourceType != "api.organization" || role.PredefinedRole {
		t.Error(role.RawJSON())
	}
	if r := must[*openai.Role](t)(org.Roles.Update(ctx, role.ID, openai.AdminOrganizationRoleUpdateParams{Description: openai.String("Looks.")})); r.Description != "Looks." || !slices.Equal(r.Permissions, role.Permissions) {
		t.Error(r.RawJSON())
	}
	if page, err := org.Roles.List(ctx, openai.AdminOrganizationRoleListParams{}); err != nil || len(page.Data) != 3 || page.Data[0].Name != "owner" {
		t.Errorf("%v %+v", err, page)
	}
	if a := must[*openai.AdminOrganizationGroupRoleNewResponse](t)(org.Groups.Roles.New(ctx, group, openai.AdminOrganizationGroupRoleNewParams{RoleID: role.ID})); a.Group.ID != group || a.Role.ID != role.ID {
		t.Error(a.RawJSON())
	}
	if a := must[*openai.AdminOrganizationUserRoleNewResponse](t)(org.Users.Roles.New(ctx, user, openai.AdminOrganizationUserRoleNewParams{RoleID: role.ID})); a.User.ID != user || a.Role.ID != role.ID {
		t.Error(a.RawJSON())
	}
	if a := must[*openai.AdminOrganizationUserRoleGetResponse](t)(org.Users.Roles.Get(ctx, user, role.ID)); len(a.AssignmentSources) != 2 {
		t.Error(a.RawJSON())
	}
	if a := must[*openai.AdminOrganizationGroupRoleGetResponse](t)(org.Groups.Roles.Get(ctx, group, role.ID)); a.Name != "Auditor" || a.CreatedAt == 0 {
		t.Error(a.RawJSON())
	}
	if page, err := org.Users.Roles.List(ctx, user, openai.AdminOrganizationUserRoleListParams{Limit: openai.Int(1)}); err != nil || len(page.Data) != 1 || !page.HasMore || page.Next == "" {
		t.Errorf("%v %+v", err, page)
	}

	if page, err := org.Groups.Roles.List(ctx, group, openai.AdminOrganizationGroupRoleListParams{}); err != nil || len(page.Data) != 1 {
		t.Errorf("%v %+v", err, page)
	}
	if r := must[*openai.Role](t)(org.Roles.Get(ctx, role.ID)); r.Name != "Auditor" || r.Description != "Looks." {
		t.Error(r.RawJSON())
	}

	caller := must[*openai.Role](t)(org.Projects.Roles.New(ctx, project, openai.AdminOrganizationProjectRoleNewParams{RoleName: "Caller", Permissions: []string{"model.request"}}))
	if r := must[*openai.Role](t)(org.Projects.Roles.Update(ctx, project, caller.ID, openai.AdminOrganizationProjectRoleUpdateParams{Permissions: []string{"model.request", "api.files.read"}})); len(r.Permissions) != 2 {
		t.Error(r.RawJSON())
	}
	if r := must[*openai.Role](t)(org.Projects.Roles.Get(ctx, project, caller.ID)); r.ResourceType != "api.project" {
		t.Error(r.RawJSON())
	}
	if g := must[*openai.ProjectGroup](t)(org.Projects.Groups.New(ctx, project, openai.AdminOrganizationProjectGroupNewParams{GroupID: group, Role: caller.ID})); g.GroupName != "Ops" || g.ProjectID != project {
		t.Error(g.RawJSON())
	}
	if g := must[*openai.ProjectGroup](t)(org.Projects.Groups.Get(ctx, project, group, openai.AdminOrganizationProjectGroupGetParams{})); g.GroupID != group {
		t.Error(g.RawJSON())
	}
	if a := must[*openai.AdminOrganizationProjectUserRoleNewResponse](t)(org.Projects.Users.Roles.New(ctx, project, user, openai.AdminOrganizationProjectUserRoleNewParams{RoleID: "role-api-project-viewer"})); a.Role.Name != "viewer" {
		t.Error(a.RawJSON())
	}
	if page, err := org.Projects.Users.Roles.List(ctx, project, user, openai.AdminOrganizationProjectUserRoleListParams{}); err != nil || len(page.Data) != 2 {
		t.Errorf("%v %+v", err, page)
	}
	if page, err := org.Projects.Groups.Roles.List(ctx, project, group, openai.AdminOrganizationProjectGroupRoleListParams{}); err != nil || len(page.Data) != 1 {
		t.Errorf("%v %+v", err, page)
	}
	if page, err := org.Projects.Roles.List(ctx, project, openai.AdminOrganizationProjectRoleListParams{}); err != nil || len(page.Data) != 4 {
		t.Errorf("%v %+v", err, page)
	}
	_ = must[*openai.ProjectGroup](t)(org.Projects.Groups.New(ctx, project, openai.AdminOrganizationProjectGroupNewParams{GroupID: groups[1], Role: caller.ID}))
	if page, err := org.Projects.Groups.List(ctx, project, openai.AdminOrganizationProjectGroupListParams{}); err != nil || len(page.Data) != 2 {
		t.Errorf("%v %+v", err, page)
	}
	if a := must[*openai.AdminOrganizationProjectGroupRoleNewResponse](t)(org.Projects.Groups.Roles.New(ctx, project, group, openai.AdminOrganizationProjectGroupRoleNewParams{RoleID: "role-api-project-member"})); a.Role.Name != "member" {
		t.Error(a.RawJSON())
	}
	if a := must[*openai.AdminOrganizationProjectGroupRoleGetResponse](t)(org.Projects.Groups.Roles.Get(ctx, project, group, "role-api-project-member")); a.Name != "member" {
		t.Error(a.RawJSON())
	}
	if a := must[*openai.AdminOrganizationProjectUserRoleGetResponse](t)(org.Projects.Users.Roles.Get(ctx, project, user, caller.ID)); a.Name != "Caller" {
		t.Error(a.RawJSON())
	}
	_, err := org.Projects.Groups.Roles.New(ctx, project, group, openai.AdminOrganizationProjectGroupRoleNewParams{RoleID: role.ID})
	var e *openai.Error
	if !errors.As(err, &e) || e.StatusCode != 404 {
		t.Errorf("a role of the organization in a project: %v", err)
	}
	for what, err := range map[string]error{ // one after the other, as they stand here
		"a user's role in a project": second(org.Projects.Users.Roles.Delete(ctx, project, user, "role-api-project-viewer")),
		"a group's role here":        second(org.Groups.Roles.Delete(ctx, group, role.ID)),
		"a group's place here":       second(org.Projects.Groups.Delete(ctx, project, groups[1])),
		"a group's role":             second(org.Projects.Groups.Roles.Delete(ctx, project, group, caller.ID)),
		"a role of a project":        second(org.Projects.Roles.Delete(ctx, project, caller.ID)),
		"a user's role":              second(org.Users.Roles.Delete(ctx, user, role.ID)),
		"a group's place":            second(org.Groups.Users.Delete(ctx, group, user)),
		"a group":                    second(org.Groups.Delete(ctx, group)),
		"a role":                     second(org.Roles.Delete(ctx, role.ID)),
	} {
		if err != nil {
			t.Errorf("delete %s: %v", what, err)
		}
	}

	invite := must[*openai.Invite](t)(org.Invites.New(ctx, openai.AdminOrganizationInviteNewParams{Email: "bo@example.com", Role: "reader"}))
	if got := must[*openai.Invite](t)(org.Invites.Get(ctx, invite.ID)); got.Status != "pending" || len(got.Projects) != 1 || got.ExpiresAt == 0 {
		t.Error(got.RawJSON())
	}
	if page, err := org.Invites.List(ctx, openai.AdminOrganizationInviteListParams{}); err != nil || len(page.Data) != 1 {
		t.Errorf("%v %+v", err, page)
	}
	if d := must[*openai.AdminOrganizationInviteDeleteResponse](t)(org.Invites.Delete(ctx, invite.ID)); !d.Deleted {
		t.Error(d.RawJSON())
	}
}

func second[T any](_ T, err error) error { return err }
