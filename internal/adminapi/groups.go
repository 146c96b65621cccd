package adminapi

import (
	"context"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// groupRoutes are OpenAI's groups of users, and their place in projects.
func (a *API) groupRoutes(on func(pattern, scope string, h handler)) {
	const read, write = "api.groups.read", "api.groups.write"
	const groups, members, project = "/v1/organization/groups", "/v1/organization/groups/{group_id}/users", "/v1/organization/projects/{project_id}/groups"
	on("GET "+groups, read, a.listGroups)
	on("POST "+groups, write, a.createGroup)
	on("GET "+groups+"/{group_id}", read, a.group)
	on("POST "+groups+"/{group_id}", write, a.updateGroup)
	on("DELETE "+groups+"/{group_id}", write, a.deleteGroup)
	on("GET "+members, read, a.listGroupUsers)
	on("POST "+members, write, a.addGroupUser)
	on("GET "+members+"/{user_id}", read, a.groupUser)
	on("DELETE "+members+"/{user_id}", write, a.removeGroupUser)
	on("GET "+project, read, a.listProjectGroups)
	on("POST "+project, write, a.addProjectGroup)
	on("GET "+project+"/{group_id}", read, a.projectGroup)
	on("DELETE "+project+"/{group_id}", write, a.removeProjectGroup)
}

// group is OpenAI's. No group here comes from elsewhere.
type group struct {
	Object    string `json:"object"`
	ID        string `json:"id"`
	Name      string `json:"name"`
	CreatedAt int64  `json:"created_at"`
	SCIM      bool   `json:"is_scim_managed"`
	Type      string `json:"group_type"`
}

func showGroup(g *gatehouse.Group) (*group, string) {
	return &group{Object: "group", ID: g.ID, Name: g.Name, CreatedAt: g.CreatedAt.Seconds(), Type: "group"}, g.ID
}

func (a *API) listGroups(ctx context.Context, c *call) (any, error) {
	return nextListed(c, 1000, 100, func(page store.Page) ([]gatehouse.Group, bool, error) {
		return a.cfg.Admin.Groups(ctx, c.who, "", page)
	}, showGroup)
}

type groupRequest struct {
	Name string `json:"name"`
}

func (a *API) createGroup(ctx context.Context, c *call) (any, error) {
	req, err := body[groupRequest](c)
	if err != nil {
		return nil, err
	}
	g, err := a.cfg.Admin.CreateGroup(ctx, c.who, req.Name)
	return shown(g, err, showGroup)
}

func (a *API) group(ctx context.Context, c *call) (any, error) {
	g, err := a.cfg.Admin.Group(ctx, c.who, c.PathValue("group_id"))
	return shown(g, err, showGroup)
}

func (a *API) updateGroup(ctx context.Context, c *call) (any, error) {
	req, err := body[groupRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("name", req.Name != ""); err != nil {
		return nil, err
	}
	g, err := a.cfg.Admin.RenameGroup(ctx, c.who, c.PathValue("group_id"), req.Name)
	return shown(g, err, showGroup)
}

func (a *API) deleteGroup(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.DeleteGroup(ctx, c.who, c.PathValue("group_id"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "group.deleted", ID: c.PathValue("group_id"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}

// groupMember is OpenAI's: a user in a group.
type groupMember struct {
	ID             string  `json:"id"`
	Name           string  `json:"name"`
	Email          *string `json:"email"`
	Picture        *string `json:"picture"`
	ServiceAccount bool    `json:"is_service_account"`
	Type           string  `json:"user_type"`
	AddedAt        int64   `json:"added_at"`
}

func showGroupMember(m *admin.GroupMember) (*groupMember, string) {
	return &groupMember{ID: m.User, Name: m.Name, Email: text(m.Email), Type: "user", AddedAt: m.AddedAt.Seconds()}, m.User
}

func (a *API) listGroupUsers(ctx context.Context, c *call) (any, error) {
	return nextListed(c, 1000, 100, func(page store.Page) ([]admin.GroupMember, bool, error) {
		return a.cfg.Admin.GroupUsers(ctx, c.who, c.PathValue("group_id"), page)
	}, showGroupMember)
}

type groupUserRequest struct {
	UserID string `json:"user_id"`
}

// groupUserAssigned is OpenAI's answer to a user who was put into a group.
type groupUserAssigned struct {
	Object string `json:"object"`
	User   string `json:"user_id"`
	Group  string `json:"group_id"`
}

func (a *API) addGroupUser(ctx context.Context, c *call) (any, error) {
	req, err := body[groupUserRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("user_id", req.UserID != ""); err != nil {
		return nil, err
	}
	m, err := a.cfg.Admin.AddGroupUser(ctx, c.who, c.PathValue("group_id"), req.UserID)
	if err != nil {
		return nil, err
	}
	return groupUserAssigned{"group.user", m.User, m.Group}, nil
}

func (a *API) groupUser(ctx context.Context, c *call) (any, error) {
	m, err := a.cfg.Admin.GroupUser(ctx, c.who, c.PathValue("group_id"), c.PathValue("user_id"))
	return shown(m, err, showGroupMember)
}

func (a *API) removeGroupUser(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.RemoveGroupUser(ctx, c.who, c.PathValue("group_id"), c.PathValue("user_id"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "group.user.deleted", ID: c.PathValue("user_id"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}

// projectGroup is OpenAI's: a group that has a role in a project.
type projectGroup struct {
	Object    string `json:"object"`
	Project   string `json:"project_id"`
	Group     string `json:"group_id"`
	Name      string `json:"group_name"`
	Type      string `json:"group_type"`
	CreatedAt int64  `json:"created_at"`
}

func showProjectGroup(project string) func(g *gatehouse.Group) (*projectGroup, string) {
	return func(g *gatehouse.Group) (*projectGroup, string) {
		return &projectGroup{Object: "project.group", Project: project, Group: g.ID, Name: g.Name, Type: "group", CreatedAt: g.CreatedAt.Seconds()}, g.ID
	}
}

func (a *API) listProjectGroups(ctx context.Context, c *call) (any, error) {
	project := c.PathValue("project_id")
	return nextListed(c, 100, 20, func(page store.Page) ([]gatehouse.Group, bool, error) {
		return a.cfg.Admin.Groups(ctx, c.who, project, page)
	}, showProjectGroup(project))
}

type projectGroupRequest struct {
	GroupID string `json:"group_id"`
	Role    string `json:"role"` // id of a role of the project, or its name
}

func (a *API) addProjectGroup(ctx context.Context, c *call) (any, error) {
	req, err := body[projectGroupRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("group_id", req.GroupID != ""); err != nil {
		return nil, err
	}
	if err := required("role", req.Role != ""); err != nil {
		return nil, err
	}
	project := c.PathValue("project_id")
	role, err := a.cfg.Admin.ProjectRoleID(ctx, c.who, project, req.Role)
	if err != nil {
		return nil, err
	}
	out, err := a.cfg.Admin.AssignRole(ctx, c.who, project, "", req.GroupID, role)
	if err != nil {
		return nil, err
	}
	return shown(out.Group, nil, showProjectGroup(project))
}

func (a *API) projectGroup(ctx context.Context, c *call) (any, error) {
	if kind := c.URL.Query().Get("group_type"); kind != "" && kind != "group" && kind != "tenant_group" {
		return nil, gatehouse.InvalidParam("group_type", "Invalid 'group_type': must be 'group' or 'tenant_group'.")
	}
	project := c.PathValue("project_id")
	g, err := a.cfg.Admin.ProjectGroup(ctx, c.who, project, c.PathValue("group_id"))
	return shown(g, err, showProjectGroup(project))
}

func (a *API) removeProjectGroup(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.RemoveProjectGroup(ctx, c.who, c.PathValue("project_id"), c.PathValue("group_id"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "project.group.deleted", ID: c.PathValue("group_id"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}
