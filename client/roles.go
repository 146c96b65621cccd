package client

import (
	"context"
	"iter"
	"net/http"
)

// Group is a set of users, to whom a role is assigned at once.
type Group struct {
	Answer
	ID        string `json:"id"`
	Name      string `json:"name"`
	CreatedAt int64  `json:"created_at"` // unix seconds
}

// GroupUser is a user in a group.
type GroupUser struct {
	Answer
	ID      string `json:"id"`
	Name    string `json:"name"`
	Email   string `json:"email"`
	AddedAt int64  `json:"added_at"` // unix seconds
}

var groupsPath = []string{"v1", "organization", "groups"}

func groupPath(below ...string) []string { return append(groupsPath[:3:3], below...) }

// Groups lists the organization's groups, oldest first.
func (c *Client) Groups(ctx context.Context) iter.Seq2[*Group, error] {
	return all[Group](ctx, c, nil, groupsPath...)
}

// CreateGroup makes a group.
func (c *Client) CreateGroup(ctx context.Context, name string) (*Group, error) {
	return do[Group](ctx, c, request{method: http.MethodPost, path: groupsPath, body: map[string]string{"name": name}})
}

// RenameGroup gives a group another name.
func (c *Client) RenameGroup(ctx context.Context, id, name string) (*Group, error) {
	return do[Group](ctx, c, request{method: http.MethodPost, path: groupPath(id), body: map[string]string{"name": name}})
}

// DeleteGroup removes a group: who was in it loses the roles it has.
func (c *Client) DeleteGroup(ctx context.Context, id string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: groupPath(id)})
}

// GroupUsers lists who is in a group.
func (c *Client) GroupUsers(ctx context.Context, group string) iter.Seq2[*GroupUser, error] {
	return all[GroupUser](ctx, c, nil, groupPath(group, "users")...)
}

// AddGroupUser puts a user into a group.
func (c *Client) AddGroupUser(ctx context.Context, group, user string) error {
	_, err := do[Group](ctx, c, request{method: http.MethodPost, path: groupPath(group, "users"), body: map[string]string{"user_id": user}})
	return err
}

// RemoveGroupUser takes a user out of a group.
func (c *Client) RemoveGroupUser(ctx context.Context, group, user string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: groupPath(group, "users", user)})
}

// Role is a set of permissions with a name.
type Role struct {
	Answer
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Permissions []string `json:"permissions"`
	Predefined  bool     `json:"predefined_role"`
	EffectiveBy int64    `json:"effective_by"` // as Deletion.EffectiveBy
}

// RoleChange makes a role, or changes the fields of one that are not nil.
type RoleChange struct {
	Name        *string   `json:"role_name,omitempty"`
	Description *string   `json:"description,omitempty"`
	Permissions *[]string `json:"permissions,omitempty"`
}

// rolesPath is where the roles of a project are, or where project is empty those of the organization.
func rolesPath(project string, below ...string) []string {
	if project == "" {
		return append([]string{"v1", "organization"}, below...)
	}
	return append([]string{"v1", "projects", project}, below...)
}

// Roles lists the roles of a project, or where project is empty of the organization, the predefined ones first.
func (c *Client) Roles(ctx context.Context, project string) iter.Seq2[*Role, error] {
	return all[Role](ctx, c, nil, rolesPath(project, "roles")...)
}

// CreateRole makes a role of a project, or where project is empty of the organization.
func (c *Client) CreateRole(ctx context.Context, project string, r RoleChange) (*Role, error) {
	return do[Role](ctx, c, request{method: http.MethodPost, path: rolesPath(project, "roles"), body: r})
}

// UpdateRole changes a role.
func (c *Client) UpdateRole(ctx context.Context, project, id string, r RoleChange) (*Role, error) {
	return do[Role](ctx, c, request{method: http.MethodPost, path: rolesPath(project, "roles", id), body: r})
}

// DeleteRole removes a role from whoever has it.
func (c *Client) DeleteRole(ctx context.Context, project, id string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: rolesPath(project, "roles", id)})
}

// AssignedRole is a role that a user or a group has, and through whom.
type AssignedRole struct {
	Answer
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Permissions []string `json:"permissions"`
	CreatedAt   int64    `json:"created_at"` // unix seconds
	Sources     []struct {
		ID   string `json:"principal_id"`
		Type string `json:"principal_type"` // user or group
	} `json:"assignment_sources"`
}

// PrincipalKind is to whom roles are assigned.
type PrincipalKind string

// The kinds.
const (
	Users  PrincipalKind = "users"
	Groups PrincipalKind = "groups"
)

// AssignedRoles lists the roles of a user or a group in a project, or where project is empty in the organization.
func (c *Client) AssignedRoles(ctx context.Context, project string, kind PrincipalKind, id string) iter.Seq2[*AssignedRole, error] {
	return all[AssignedRole](ctx, c, nil, rolesPath(project, string(kind), id, "roles")...)
}

// AssignRole gives a role, by its id, to a user or a group.
func (c *Client) AssignRole(ctx context.Context, project string, kind PrincipalKind, id, role string) error {
	_, err := do[Role](ctx, c, request{method: http.MethodPost, path: rolesPath(project, string(kind), id, "roles"), body: map[string]string{"role_id": role}})
	return err
}

// UnassignRole takes a role from a user or a group.
func (c *Client) UnassignRole(ctx context.Context, project string, kind PrincipalKind, id, role string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: rolesPath(project, string(kind), id, "roles", role)})
}
