package adminapi

import (
	"context"
	"strings"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// peopleRoutes are OpenAI's users of the organization and of projects.
func (a *API) peopleRoutes(on func(pattern, scope string, h handler)) {
	const users, members = "/v1/organization/users", "/v1/organization/projects/{project_id}/users"
	on("GET "+users, "api.users.read", a.listUsers)
	on("GET "+users+"/{user_id}", "api.users.read", a.user)
	on("POST "+users+"/{user_id}", "api.users.write", a.updateUser)
	on("DELETE "+users+"/{user_id}", "api.users.write", a.removeUser)

	on("GET "+members, "api.users.read", a.listMembers)
	on("POST "+members, "api.users.write", a.addMember)
	on("GET "+members+"/{user_id}", "api.users.read", a.member)
	on("POST "+members+"/{user_id}", "api.users.write", a.updateMember)
	on("DELETE "+members+"/{user_id}", "api.users.write", a.removeMember)
}

// user is OpenAI's: a person in the organization.
type user struct {
	Object           string             `json:"object"`
	ID               string             `json:"id"`
	Name             string             `json:"name"`
	Email            *string            `json:"email"`
	Role             gatehouse.Role     `json:"role"`
	AddedAt          int64              `json:"added_at"`
	Created          int64              `json:"created"`
	Default          bool               `json:"is_default"`
	ServiceAccount   bool               `json:"is_service_account"`
	SCIM             bool               `json:"is_scim_managed"`
	Purchaser        *bool              `json:"is_scale_tier_authorized_purchaser"`
	LastUsedAt       *int64             `json:"api_key_last_used_at"`
	TechnicalLevel   *string            `json:"technical_level"`
	DeveloperPersona *string            `json:"developer_persona"`
	User             person             `json:"user"`
	Projects         *list[userProject] `json:"projects,omitempty"`
	EffectiveBy      *int64             `json:"effective_by,omitempty"`
}

// person is who a user is. Gatehouse knows no pictures, and has no other state of a user than being there.
type person struct {
	Object   string  `json:"object"`
	ID       string  `json:"id"`
	Email    *string `json:"email"`
	Name     string  `json:"name"`
	Picture  *string `json:"picture"`
	Enabled  bool    `json:"enabled"`
	Banned   bool    `json:"banned"`
	BannedAt *int64  `json:"banned_at"`
}

type userProject struct {
	ID   string         `json:"id"`
	Name string         `json:"name"`
	Role gatehouse.Role `json:"role"`
}

func showUser(u *gatehouse.User) (*user, string) {
	at, email := u.CreatedAt.Seconds(), text(u.Email)
	return &user{Object: "organization.user", ID: u.ID, Name: u.Name, Email: email, Role: u.Role, AddedAt: at, Created: at, TechnicalLevel: text(u.TechnicalLevel),
		DeveloperPersona: text(u.DeveloperPersona), User: person{Object: "user", ID: u.ID, Email: email, Name: u.Name, Enabled: true}}, u.ID
}

// text is null where nothing is said.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func showUserInfo(u *admin.UserInfo) (*user, string) {
	v, id := showUser(&u.User)
	if u.LastUsedAt != 0 {
		at := u.LastUsedAt.Seconds()
		v.LastUsedAt = &at
	}
	v.Projects = listOf(u.Projects, false, func(p *admin.UserProject) (userProject, string) { return userProject(*p), p.ID })
	return v, id
}

func (a *API) listUsers(ctx context.Context, c *call) (any, error) {
	emails := many(c.URL.Query(), "emails")
	if len(emails) > 100 {
		return nil, gatehouse.InvalidParam("emails", "Invalid 'emails': at most 100 addresses may be given.")
	}
	return listed(c, false, func(page store.Page) ([]admin.UserInfo, bool, error) {
		return a.cfg.Admin.Users(ctx, c.who, emails, page)
	}, showUserInfo)
}

func (a *API) user(ctx context.Context, c *call) (any, error) {
	u, err := a.cfg.Admin.User(ctx, c.who, c.PathValue("user_id"))
	return shown(u, err, showUserInfo)
}

type userRequest struct {
	Name  string         `json:"name"`
	Email string         `json:"email"`
	Role  gatehouse.Role `json:"role"`
}

func (a *API) createUser(ctx context.Context, c *call) (any, error) {
	req, err := body[userRequest](c)
	if err != nil {
		return nil, err
	}
	u, err := a.cfg.Admin.CreateUser(ctx, c.who, admin.UserRequest{Name: req.Name, Email: req.Email, Role: req.Role})
	return shown(u, err, showUser)
}

type userUpdateRequest struct {
	Role             *gatehouse.Role `json:"role"`
	RoleID           *string         `json:"role_id"`
	TechnicalLevel   *string         `json:"technical_level"`
	DeveloperPersona *string         `json:"developer_persona"`
}

func (a *API) updateUser(ctx context.Context, c *call) (any, error) {
	req, err := body[userUpdateRequest](c)
	if err != nil {
		return nil, err
	}
	id := c.PathValue("user_id")
	if req.RoleID != nil {
		if req.Role != nil {
			return nil, gatehouse.InvalidParam("role_id", "Only one of 'role' and 'role_id' may be given.")
		}
		if v := gatehouse.PredefinedRole(gatehouse.OrganizationLevel, *req.RoleID); v != nil {
			role := gatehouse.Role(v.Name)
			req.Role = &role
		} else if _, err := a.cfg.Admin.AssignRole(ctx, c.who, "", id, "", *req.RoleID); err != nil {
			return nil, err
		}
	}
	_, effect, err := a.cfg.Admin.UpdateUser(ctx, c.who, id, admin.UserUpdate{Role: optional(req.Role), TechnicalLevel: optional(req.TechnicalLevel), DeveloperPersona: optional(req.DeveloperPersona)})
	if err != nil {
		return nil, err
	}
	u, err := a.cfg.Admin.User(ctx, c.who, id)
	if err != nil {
		return nil, err
	}
	v, _ := showUserInfo(u)
	v.EffectiveBy = c.effect(effect)
	return v, nil
}

func (a *API) removeUser(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.RemoveUser(ctx, c.who, c.PathValue("user_id"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "organization.user.deleted", ID: c.PathValue("user_id"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}

// member is OpenAI's: a user in a project.
type member struct {
	Object      string         `json:"object"`
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	Email       *string        `json:"email"`
	ProjectID   string         `json:"project_id"`
	Role        gatehouse.Role `json:"role"`
	AddedAt     int64          `json:"added_at"`
	EffectiveBy *int64         `json:"effective_by,omitempty"`
}

func showMember(m *admin.Member) (*member, string) {
	return &member{Object: "organization.project.user", ID: m.User, Name: m.Name, Email: text(m.Email), ProjectID: m.Project, Role: m.Role, AddedAt: m.AddedAt.Seconds()}, m.User
}

func (a *API) listMembers(ctx context.Context, c *call) (any, error) {
	return listed(c, false, func(page store.Page) ([]admin.Member, bool, error) {
		return a.cfg.Admin.ProjectUsers(ctx, c.who, c.PathValue("project_id"), page)
	}, showMember)
}

func (a *API) member(ctx context.Context, c *call) (any, error) {
	m, err := a.cfg.Admin.ProjectUser(ctx, c.who, c.PathValue("project_id"), c.PathValue("user_id"))
	return shown(m, err, showMember)
}

type memberRequest struct {
	UserID string          `json:"user_id"`
	Email  string          `json:"email"`
	Role   *gatehouse.Role `json:"role"`
}

func (a *API) addMember(ctx context.Context, c *call) (any, error) {
	req, err := body[memberRequest](c)
	if err != nil {
		return nil, err
	}
	if req.UserID != "" && req.Email != "" {
		return nil, gatehouse.InvalidParam("email", "Only one of 'user_id' and 'email' may be given.")
	}
	user := req.UserID
	if req.Email != "" {
		if user = req.Email; !strings.Contains(user, "@") {
			return nil, gatehouse.InvalidParam("email", "Invalid 'email': not an e-mail address.")
		}
	}
	if err := required("user_id", user != ""); err != nil {
		return nil, err
	}
	if err := required("role", req.Role != nil); err != nil {
		return nil, err
	}
	m, err := a.cfg.Admin.AddProjectUser(ctx, c.who, c.PathValue("project_id"), user, *req.Role)
	return shown(m, err, showMember)
}

type memberUpdateRequest struct {
	Role *gatehouse.Role `json:"role"`
}

func (a *API) updateMember(ctx context.Context, c *call) (any, error) {
	req, err := body[memberUpdateRequest](c)
	if err != nil {
		return nil, err
	}
	m, effect, err := a.cfg.Admin.UpdateProjectUser(ctx, c.who, c.PathValue("project_id"), c.PathValue("user_id"), optional(req.Role))
	if err != nil {
		return nil, err
	}
	v, _ := showMember(m)
	v.EffectiveBy = c.effect(effect)
	return v, nil
}

func (a *API) removeMember(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.RemoveProjectUser(ctx, c.who, c.PathValue("project_id"), c.PathValue("user_id"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "organization.project.user.deleted", ID: c.PathValue("user_id"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}

type ownProjectRequest struct {
	Name     *string            `json:"name"`
	Labels   *map[string]string `json:"labels"`
	Upstream *string            `json:"upstream"` // name
	Region   *string            `json:"region"`
	// HeaderLabels are names of labels that callers may send beside the organization's.
	HeaderLabels *[]string `json:"header_labels"`
}

// updateOwnProject changes what OpenAI's projects do not have: labels, those that callers may send, the region requests stay in, and where calls without a
// model go.
func (a *API) updateOwnProject(ctx context.Context, c *call) (any, error) {
	req, err := body[ownProjectRequest](c)
	if err != nil {
		return nil, err
	}
	var update admin.ProjectUpdate
	if req.Name != nil {
		update.Name = admin.Some(*req.Name)
	}
	if req.Labels != nil {
		update.Labels = admin.Some(*req.Labels)
	}
	if req.Upstream != nil {
		id := ""
		if *req.Upstream != "" {
			if id, err = a.upstreamID(ctx, c, *req.Upstream); err != nil {
				return nil, err
			}
		}
		update.Upstream = admin.Some(id)
	}
	update.Region, update.HeaderLabels = optional(req.Region), optional(req.HeaderLabels)
	return a.changeProject(ctx, c, update)
}

// changeProject makes a change and answers it with the project as it is now.
func (a *API) changeProject(ctx context.Context, c *call, update admin.ProjectUpdate) (any, error) {
	p, effect, err := a.cfg.Admin.UpdateProject(ctx, c.who, c.PathValue("project_id"), update)
	if err != nil {
		return nil, err
	}
	v, _ := showProject(p)
	v.EffectiveBy = c.effect(effect)
	return v, nil
}

func (a *API) upstreamID(ctx context.Context, c *call, name string) (string, error) {
	list, err := a.cfg.Admin.Upstreams(ctx, c.who)
	if err != nil {
		return "", err
	}
	for _, u := range list {
		if u.Name == name {
			return u.ID, nil
		}
	}
	return "", gatehouse.Errorf(gatehouse.NotFound, "No such upstream: '%s'.", clip(name, 128))
}
