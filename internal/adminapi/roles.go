package adminapi

import (
	"context"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// roleRoutes are OpenAI's roles of the organization and of projects, and to whom they are assigned. Those of a project lie below
// /v1/projects, without organization.
func (a *API) roleRoutes(on func(pattern, scope string, h handler)) {
	const read, write = "api.roles.read", "api.roles.write"
	for _, place := range []string{"/v1/organization", "/v1/projects/{project_id}"} {
		on("GET "+place+"/roles", read, a.listRoles)
		on("POST "+place+"/roles", write, a.createRole)
		on("GET "+place+"/roles/{role_id}", read, a.role)
		on("POST "+place+"/roles/{role_id}", write, a.updateRole)
		on("DELETE "+place+"/roles/{role_id}", write, a.deleteRole)
		for _, principal := range []string{"/users/{user_id}", "/groups/{group_id}"} {
			on("GET "+place+principal+"/roles", read, a.listAssignedRoles)
			on("POST "+place+principal+"/roles", write, a.assignRole)
			on("GET "+place+principal+"/roles/{role_id}", read, a.assignedRole)
			on("DELETE "+place+principal+"/roles/{role_id}", write, a.unassignRole)
		}
	}
}

// role is OpenAI's.
type role struct {
	Object       string   `json:"object"`
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Description  *string  `json:"description"`
	Permissions  []string `json:"permissions"`
	ResourceType string   `json:"resource_type"`
	Predefined   bool     `json:"predefined_role"`
	EffectiveBy  *int64   `json:"effective_by,omitempty"`
}

// showRole shows a role of a project, or where that is empty of the organization: a predefined one does not say which.
func showRole(project string) func(*gatehouse.AccessRole) (*role, string) {
	level := gatehouse.OrganizationLevel
	if project != "" {
		level = gatehouse.ProjectLevel
	}
	return func(v *gatehouse.AccessRole) (*role, string) {
		return &role{Object: "role", ID: v.ID, Name: v.Name, Description: text(v.Description), Permissions: nonNil(v.Permissions), ResourceType: level.ResourceType(), Predefined: v.Predefined}, v.ID
	}
}

func (a *API) listRoles(ctx context.Context, c *call) (any, error) {
	project := c.PathValue("project_id")
	return nextListed(c, 1000, 1000, func(page store.Page) ([]gatehouse.AccessRole, bool, error) {
		return a.cfg.Admin.Roles(ctx, c.who, project, page)
	}, showRole(project))
}

type roleRequest struct {
	Name        string    `json:"role_name"`
	Description *string   `json:"description"`
	Permissions *[]string `json:"permissions"`
}

func (a *API) createRole(ctx context.Context, c *call) (any, error) {
	req, err := body[roleRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("permissions", req.Permissions != nil); err != nil {
		return nil, err
	}
	made := admin.RoleRequest{Name: req.Name, Permissions: *req.Permissions}
	if req.Description != nil {
		made.Description = *req.Description
	}
	project := c.PathValue("project_id")
	v, err := a.cfg.Admin.CreateRole(ctx, c.who, project, made)
	return shown(v, err, showRole(project))
}

func (a *API) role(ctx context.Context, c *call) (any, error) {
	project := c.PathValue("project_id")
	v, err := a.cfg.Admin.Role(ctx, c.who, project, c.PathValue("role_id"))
	return shown(v, err, showRole(project))
}

type roleUpdateRequest struct {
	Name        *string   `json:"role_name"`
	Description *string   `json:"description"`
	Permissions *[]string `json:"permissions"`
}

func (a *API) updateRole(ctx context.Context, c *call) (any, error) {
	req, err := body[roleUpdateRequest](c)
	if err != nil {
		return nil, err
	}
	project := c.PathValue("project_id")
	v, effect, err := a.cfg.Admin.UpdateRole(ctx, c.who, project, c.PathValue("role_id"), admin.RoleUpdate{Name: optional(req.Name), Description: optional(req.Description), Permissions: optional(req.Permissions)})
	if err != nil {
		return nil, err
	}
	out, _ := showRole(project)(v)
	out.EffectiveBy = c.effect(effect)
	return out, nil
}

func (a *API) deleteRole(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.DeleteRole(ctx, c.who, c.PathValue("project_id"), c.PathValue("role_id"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "role.deleted", ID: c.PathValue("role_id"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}

// assignedRole is OpenAI's AssignedRoleDetails.
type assignedRole struct {
	ID           string         `json:"id"`
	Name         string         `json:"name"`
	Description  *string        `json:"description"`
	Permissions  []string       `json:"permissions"`
	ResourceType string         `json:"resource_type"`
	Predefined   bool           `json:"predefined_role"`
	CreatedAt    int64          `json:"created_at"`
	UpdatedAt    *int64         `json:"updated_at"`
	CreatedBy    *string        `json:"created_by"`
	CreatedByObj map[string]any `json:"created_by_user_obj"`
	Metadata     map[string]any `json:"metadata"`
	Sources      []roleSource   `json:"assignment_sources"`
}

type roleSource struct {
	ID   string `json:"principal_id"`
	Type string `json:"principal_type"`
}

func showAssigned(project string) func(*admin.AssignedRole) (*assignedRole, string) {
	show := showRole(project)
	return func(v *admin.AssignedRole) (*assignedRole, string) {
		r, id := show(&v.AccessRole)
		out := &assignedRole{ID: r.ID, Name: r.Name, Description: r.Description, Permissions: r.Permissions, ResourceType: r.ResourceType, Predefined: r.Predefined,
			CreatedAt: v.CreatedAt.Seconds(), CreatedBy: text(v.By), Sources: []roleSource{}}
		for _, s := range v.From {
			out.Sources = append(out.Sources, roleSource(s))
		}
		return out, id
	}
}

func (a *API) listAssignedRoles(ctx context.Context, c *call) (any, error) {
	project := c.PathValue("project_id")
	return nextListed(c, 1000, 1000, func(page store.Page) ([]admin.AssignedRole, bool, error) {
		all, err := a.cfg.Admin.AssignedRoles(ctx, c.who, project, c.PathValue("user_id"), c.PathValue("group_id"))
		if err != nil {
			return nil, false, err
		}
		list, more := cut(all, page, func(v *admin.AssignedRole) string { return v.ID })
		return list, more, nil
	}, showAssigned(project))
}

func (a *API) assignedRole(ctx context.Context, c *call) (any, error) {
	project := c.PathValue("project_id")
	v, err := a.cfg.Admin.AssignedRole(ctx, c.who, project, c.PathValue("user_id"), c.PathValue("group_id"), c.PathValue("role_id"))
	return shown(v, err, showAssigned(project))
}

type assignRequest struct {
	RoleID string `json:"role_id"`
}

// assigned is OpenAI's answer to an assignment. A group in it is spelled as OpenAI does there: scim_managed without is.
type assigned struct {
	Object string         `json:"object"` // user.role or group.role
	User   *user          `json:"user,omitempty"`
	Group  *assignedGroup `json:"group,omitempty"`
	Role   *role          `json:"role"`
}

type assignedGroup struct {
	Object    string `json:"object"`
	ID        string `json:"id"`
	Name      string `json:"name"`
	CreatedAt int64  `json:"created_at"`
	SCIM      bool   `json:"scim_managed"`
}

func (a *API) assignRole(ctx context.Context, c *call) (any, error) {
	req, err := body[assignRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("role_id", req.RoleID != ""); err != nil {
		return nil, err
	}
	project := c.PathValue("project_id")
	out, err := a.cfg.Admin.AssignRole(ctx, c.who, project, c.PathValue("user_id"), c.PathValue("group_id"), req.RoleID)
	if err != nil {
		return nil, err
	}
	v := assigned{Object: "user.role"}
	v.Role, _ = showRole(project)(&out.Role)
	if out.Group != nil {
		v.Object, v.Group = "group.role", &assignedGroup{Object: "group", ID: out.Group.ID, Name: out.Group.Name, CreatedAt: out.Group.CreatedAt.Seconds()}
	} else {
		v.User, _ = showUserInfo(out.User)
	}
	return v, nil
}

func (a *API) unassignRole(ctx context.Context, c *call) (any, error) {
	user, group := c.PathValue("user_id"), c.PathValue("group_id")
	effect, err := a.cfg.Admin.UnassignRole(ctx, c.who, c.PathValue("project_id"), user, group, c.PathValue("role_id"))
	if err != nil {
		return nil, err
	}
	object := "user.role.deleted"
	if group != "" {
		object = "group.role.deleted"
	}
	return deleted{Object: object, ID: c.PathValue("role_id"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}
