package adminapi

import (
	"context"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// user is a person as /gatehouse/v1 shows them.
type user struct {
	Object      string         `json:"object"`
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	Email       string         `json:"email"`
	Role        gatehouse.Role `json:"role"`
	AddedAt     int64          `json:"added_at"`
	EffectiveBy *int64         `json:"effective_by,omitempty"`
}

func showUser(u *gatehouse.User) (*user, string) {
	return &user{Object: "organization.user", ID: u.ID, Name: u.Name, Email: u.Email, Role: u.Role, AddedAt: u.CreatedAt.Seconds()}, u.ID
}

func (a *API) listUsers(ctx context.Context, c *call) (any, error) {
	return listed(c, false, func(page store.Page) ([]gatehouse.User, bool, error) {
		return a.cfg.Admin.Users(ctx, c.who, page)
	}, showUser)
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

type roleRequest struct {
	UserID string         `json:"user_id"`
	Role   gatehouse.Role `json:"role"`
}

func (a *API) updateUser(ctx context.Context, c *call) (any, error) {
	req, err := body[roleRequest](c)
	if err != nil {
		return nil, err
	}
	u, effect, err := a.cfg.Admin.UpdateUser(ctx, c.who, c.PathValue("user_id"), req.Role)
	if err != nil {
		return nil, err
	}
	v, _ := showUser(u)
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

type member struct {
	Object    string         `json:"object"`
	ID        string         `json:"id"`
	ProjectID string         `json:"project_id"`
	Role      gatehouse.Role `json:"role"`
	AddedAt   int64          `json:"added_at"`
}

func showMember(m *gatehouse.ProjectUser) (*member, string) {
	return &member{Object: "organization.project.user", ID: m.User, ProjectID: m.Project, Role: m.Role, AddedAt: m.AddedAt.Seconds()}, m.User
}

func (a *API) listMembers(ctx context.Context, c *call) (any, error) {
	return listed(c, false, func(page store.Page) ([]gatehouse.ProjectUser, bool, error) {
		return a.cfg.Admin.ProjectUsers(ctx, c.who, c.PathValue("project_id"), page)
	}, showMember)
}

func (a *API) addMember(ctx context.Context, c *call) (any, error) {
	req, err := body[roleRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("user_id", req.UserID != ""); err != nil {
		return nil, err
	}
	m, err := a.cfg.Admin.AddProjectUser(ctx, c.who, c.PathValue("project_id"), req.UserID, req.Role)
	return shown(m, err, showMember)
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
