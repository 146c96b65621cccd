package adminapi

import (
	"context"
	"net/http"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// usage is the scope of what is measured.
const usage = "api.usage.read"

// routes is the table of everything the API serves.
func (a *API) routes() {
	on := func(pattern, scope string, h handler) {
		a.mux.Handle(pattern, route{h, scope})
		a.table = append(a.table, Route{pattern, scope})
	}
	const org, prj = "/v1/organization", "/v1/organization/projects/{project_id}"

	on("GET "+org+"/admin_api_keys", "api.api_keys.read", a.listAdminKeys)
	on("POST "+org+"/admin_api_keys", "api.api_keys.write", a.createAdminKey)
	on("GET "+org+"/admin_api_keys/{key_id}", "api.api_keys.read", a.adminKey)
	on("DELETE "+org+"/admin_api_keys/{key_id}", "api.api_keys.write", a.deleteAdminKey)

	on("GET "+org+"/projects", "api.projects.read", a.listProjects)
	on("POST "+org+"/projects", "api.projects.write", a.createProject)
	on("GET "+prj, "api.projects.read", a.project)
	on("POST "+prj, "api.projects.write", a.updateProject)
	on("POST "+prj+"/archive", "api.projects.write", a.archiveProject)

	on("GET "+prj+"/service_accounts", "api.service_accounts.read", a.listServiceAccounts)
	on("POST "+prj+"/service_accounts", "api.service_accounts.write", a.createServiceAccount)
	on("GET "+prj+"/service_accounts/{account_id}", "api.service_accounts.read", a.serviceAccount)
	on("POST "+prj+"/service_accounts/{account_id}", "api.service_accounts.write", a.updateServiceAccount)
	on("DELETE "+prj+"/service_accounts/{account_id}", "api.service_accounts.write", a.deleteServiceAccount)
	on("POST "+prj+"/service_accounts/{account_id}/api_keys", "api.service_accounts.write", a.createServiceAccountKey)

	on("GET "+prj+"/api_keys", "api.api_keys.read", a.listProjectKeys)
	on("GET "+prj+"/api_keys/{key_id}", "api.api_keys.read", a.projectKey)
	on("POST "+prj+"/api_keys/{key_id}", "api.api_keys.write", a.updateProjectKey)
	on("DELETE "+prj+"/api_keys/{key_id}", "api.api_keys.write", a.deleteProjectKey)

	for i := range usageKinds {
		on("GET "+org+"/usage/"+usageKinds[i].name, usage, a.measured(a.usageOf(&usageKinds[i])))
	}
	on("GET "+org+"/costs", usage, a.measured(a.costs))

	on("GET "+org+"/audit_logs", "api.audit_logs.read", a.listAuditLogs)

	a.spendRoutes(on)
	a.policyRoutes(on)
	a.certificateRoutes(on)
	a.federationRoutes(on)
	a.externalRoutes(on)
	a.peopleRoutes(on)
	a.inviteRoutes(on)
	a.groupRoutes(on)
	a.roleRoutes(on)
	a.limitRoutes(on)
	a.ownRoutes(on)
}

func (a *API) listAdminKeys(ctx context.Context, c *call) (any, error) {
	return listed(c, true, func(page store.Page) ([]admin.KeyInfo, bool, error) {
		return a.cfg.Admin.Keys(ctx, c.who, store.KeyFilter{Class: gatehouse.ClassAdmin}, page)
	}, showAdminKey)
}

type createAdminKeyRequest struct {
	Name      string `json:"name"`
	ExpiresIn *int64 `json:"expires_in_seconds"`
}

func (a *API) createAdminKey(ctx context.Context, c *call) (any, error) {
	req, err := body[createAdminKeyRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("name", req.Name != ""); err != nil {
		return nil, err
	}
	expires, err := lifetime(req.ExpiresIn)
	if err != nil {
		return nil, err
	}
	key, err := a.cfg.Admin.CreateKey(ctx, c.who, admin.KeyRequest{Class: gatehouse.ClassAdmin, Name: req.Name, ExpiresIn: expires})
	if err != nil {
		return nil, err
	}
	info, err := a.cfg.Admin.Key(ctx, c.who, "", key.Key.ID)
	if err != nil {
		return nil, err
	}
	v, _ := showAdminKey(info)
	v.Value = key.Value.Reveal()
	return v, nil
}

// lifetime reads expires_in_seconds: absent means never, and zero is not a lifetime.
func lifetime(seconds *int64) (int64, error) {
	if seconds == nil {
		return 0, nil
	}
	if *seconds < 1 || *seconds > 31536000 {
		return 0, gatehouse.InvalidParam("expires_in_seconds", "Invalid 'expires_in_seconds': must be between 1 and 31536000.")
	}
	return *seconds, nil
}

func (a *API) adminKey(ctx context.Context, c *call) (any, error) {
	info, err := a.cfg.Admin.Key(ctx, c.who, "", c.PathValue("key_id"))
	if err != nil {
		return nil, err
	}
	if info.Key.Class != gatehouse.ClassAdmin || info.Key.RevokedAt != 0 {
		return nil, gatehouse.Errorf(gatehouse.NotFound, "No such API key: '%s'.", clip(c.PathValue("key_id"), 64))
	}
	v, _ := showAdminKey(info)
	return v, nil
}

func (a *API) deleteAdminKey(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.RevokeKey(ctx, c.who, "", c.PathValue("key_id"), gatehouse.ClassAdmin)
	if err != nil {
		return nil, err
	}
	return deleted{Object: "organization.admin_api_key.deleted", ID: c.PathValue("key_id"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}

func (a *API) listProjects(ctx context.Context, c *call) (any, error) {
	archived, err := flag(c.URL.Query(), "include_archived")
	if err != nil {
		return nil, err
	}
	return listed(c, false, func(page store.Page) ([]gatehouse.Project, bool, error) {
		return a.cfg.Admin.Projects(ctx, c.who, archived, page)
	}, showProject)
}

type projectRequest struct {
	Name          *string            `json:"name"`
	Residency     *string            `json:"residency"`
	Geography     *string            `json:"geography"`
	ExternalKeyID *string            `json:"external_key_id"`
	Labels        *map[string]string `json:"labels"`
	Region        *string            `json:"region"` // not OpenAI's: see docs/operations.md
}

// supported refuses what cannot be honoured: a key of the customer's that nothing would be encrypted with.
func (r *projectRequest) supported() error {
	if r.ExternalKeyID != nil && *r.ExternalKeyID != "" {
		return gatehouse.InvalidParam("external_key_id", "External keys are not supported by this installation. Leave 'external_key_id' out.")
	}
	return nil
}

func (a *API) createProject(ctx context.Context, c *call) (any, error) {
	req, err := body[projectRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("name", req.Name != nil && *req.Name != ""); err != nil {
		return nil, err
	}
	if err := req.supported(); err != nil {
		return nil, err
	}
	ask := admin.ProjectRequest{Name: *req.Name, Region: value(req.Region)}
	if ask.Residency, err = req.residency(); err != nil {
		return nil, err
	}
	if req.Labels != nil {
		ask.Labels = *req.Labels
	}
	p, err := a.cfg.Admin.CreateProject(ctx, c.who, ask)
	return shown(p, err, showProject)
}

// residency returns the residency a request asks for, "" for none. `geography` is the older field: a region alone.
func (r *projectRequest) residency() (string, error) {
	want := value(r.Residency)
	if region := value(r.Geography); want == "" && region != "" {
		if want = region + "_STORAGE_PROCESSING"; !residencies[want] {
			want = region + "_STORAGE"
		}
		if !residencies[want] {
			return "", gatehouse.InvalidParam("geography", "Invalid 'geography': %q is not a region OpenAI knows. Use 'residency'.", clip(region, 64))
		}
	}
	if want != "" && !residencies[want] {
		return "", gatehouse.InvalidParam("residency", "Invalid 'residency': %q is not a residency OpenAI knows.", clip(want, 64))
	}
	return want, nil
}

// residencies are the values of OpenAI's enumeration. Those that name where data is processed pin the project's requests to that
// geography, unless it has a region of its own.
var residencies = map[string]bool{
	"GLOBAL": true, "US_STORAGE_PROCESSING": true, "EU_STORAGE_PROCESSING": true, "JP_STORAGE": true, "JP_STORAGE_PROCESSING": true, "KR_STORAGE": true,
	"CA_STORAGE": true, "SG_STORAGE": true, "IN_STORAGE": true, "IN_STORAGE_PROCESSING": true, "AU_STORAGE": true, "AU_STORAGE_PROCESSING": true,
	"GB_STORAGE": true, "AE_STORAGE": true, "AE_STORAGE_PROCESSING": true,
}

func (a *API) project(ctx context.Context, c *call) (any, error) {
	p, err := a.cfg.Admin.Project(ctx, c.who, c.PathValue("project_id"))
	return shown(p, err, showProject)
}

func (a *API) updateProject(ctx context.Context, c *call) (any, error) {
	req, err := body[projectRequest](c)
	if err != nil {
		return nil, err
	}
	if err := req.supported(); err != nil {
		return nil, err
	}
	// Where a project's data lives is decided when it is created; nothing that is asked for is dropped without a word.
	if req.Residency != nil || req.Geography != nil {
		return nil, gatehouse.InvalidParam("residency", "The residency of a project cannot change. Create another project, or leave 'residency' and 'geography' out.")
	}
	update := admin.ProjectUpdate{Name: optional(req.Name), Labels: optional(req.Labels), Region: optional(req.Region)}
	return a.changeProject(ctx, c, update)
}

func (a *API) archiveProject(ctx context.Context, c *call) (any, error) {
	p, effect, err := a.cfg.Admin.ArchiveProject(ctx, c.who, c.PathValue("project_id"))
	if err != nil {
		return nil, err
	}
	v, _ := showProject(p)
	v.EffectiveBy = c.effect(effect)
	return v, nil
}

func (a *API) listServiceAccounts(ctx context.Context, c *call) (any, error) {
	return listed(c, false, func(page store.Page) ([]gatehouse.ServiceAccount, bool, error) {
		return a.cfg.Admin.ServiceAccounts(ctx, c.who, c.PathValue("project_id"), page)
	}, showServiceAccount)
}

type createServiceAccountRequest struct {
	Name        string `json:"name"`
	AccountOnly *bool  `json:"create_service_account_only"`
	ExpiresIn   *int64 `json:"expires_in_seconds"`
}

func (a *API) createServiceAccount(ctx context.Context, c *call) (any, error) {
	req, err := body[createServiceAccountRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("name", req.Name != ""); err != nil {
		return nil, err
	}
	only := req.AccountOnly != nil && *req.AccountOnly
	if only && req.ExpiresIn != nil {
		return nil, gatehouse.InvalidParam("expires_in_seconds", "'expires_in_seconds' cannot be used with 'create_service_account_only': no key is created.")
	}
	expires, err := lifetime(req.ExpiresIn)
	if err != nil {
		return nil, err
	}
	account, key, err := a.cfg.Admin.CreateServiceAccount(ctx, c.who, c.PathValue("project_id"), admin.ServiceAccountRequest{Name: req.Name, WithKey: !only, Key: admin.KeyRequest{ExpiresIn: expires}})
	if err != nil {
		return nil, err
	}
	v, _ := showServiceAccount(account)
	out := createdServiceAccount{serviceAccount: *v}
	if key != nil {
		out.APIKey = showNewKey(key)
	}
	return out, nil
}

func (a *API) serviceAccount(ctx context.Context, c *call) (any, error) {
	account, err := a.cfg.Admin.ServiceAccount(ctx, c.who, c.PathValue("project_id"), c.PathValue("account_id"))
	return shown(account, err, showServiceAccount)
}

type updateServiceAccountRequest struct {
	Name *string         `json:"name"`
	Role *gatehouse.Role `json:"role"`
}

func (a *API) updateServiceAccount(ctx context.Context, c *call) (any, error) {
	req, err := body[updateServiceAccountRequest](c)
	if err != nil {
		return nil, err
	}
	var update admin.ServiceAccountUpdate
	if req.Name != nil {
		update.Name = admin.Some(*req.Name)
	}
	if req.Role != nil {
		update.Role = admin.Some(*req.Role)
	}
	account, effect, err := a.cfg.Admin.UpdateServiceAccount(ctx, c.who, c.PathValue("project_id"), c.PathValue("account_id"), update)
	if err != nil {
		return nil, err
	}
	v, _ := showServiceAccount(account)
	v.EffectiveBy = c.effect(effect)
	return v, nil
}

func (a *API) deleteServiceAccount(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.RemoveServiceAccount(ctx, c.who, c.PathValue("project_id"), c.PathValue("account_id"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "organization.project.service_account.deleted", ID: c.PathValue("account_id"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}

type createServiceAccountKeyRequest struct {
	Name      string    `json:"name"`
	Scopes    *[]string `json:"scopes"`
	ExpiresIn *int64    `json:"expires_in_seconds"`
}

func (a *API) createServiceAccountKey(ctx context.Context, c *call) (any, error) {
	req, err := body[createServiceAccountKeyRequest](c)
	if err != nil {
		return nil, err
	}
	ask := admin.KeyRequest{Class: gatehouse.ClassService, Project: c.PathValue("project_id"), ServiceAccount: c.PathValue("account_id"), Name: req.Name}
	if req.Scopes != nil {
		ask.Scopes = *req.Scopes
	}
	if ask.ExpiresIn, err = lifetime(req.ExpiresIn); err != nil {
		return nil, err
	}
	key, err := a.cfg.Admin.CreateKey(ctx, c.who, ask)
	if err != nil {
		return nil, err
	}
	return showNewKey(key), nil
}

func (a *API) listProjectKeys(ctx context.Context, c *call) (any, error) {
	want := c.URL.Query().Get("owner_project_access")
	switch want {
	case "", "any", "active", "inactive":
	default:
		return nil, gatehouse.InvalidParam("owner_project_access", "Invalid 'owner_project_access': must be 'active', 'inactive' or 'any'.")
	}
	return listed(c, false, func(page store.Page) ([]admin.KeyInfo, bool, error) {
		return a.cfg.Admin.KeysByAccess(ctx, c.who, store.KeyFilter{Project: c.PathValue("project_id")}, page, want)
	}, showProjectKey)
}

func (a *API) projectKey(ctx context.Context, c *call) (any, error) {
	info, err := a.cfg.Admin.Key(ctx, c.who, c.PathValue("project_id"), c.PathValue("key_id"))
	if err != nil {
		return nil, err
	}
	if info.Key.RevokedAt != 0 {
		return nil, gatehouse.Errorf(gatehouse.NotFound, "No such API key: '%s'.", clip(c.PathValue("key_id"), 64))
	}
	v, _ := showProjectKey(info)
	return v, nil
}

type updateProjectKeyRequest struct {
	Scopes    *[]string `json:"scopes"`
	ExpiresIn *int64    `json:"expires_in_seconds"`
}

func (a *API) updateProjectKey(ctx context.Context, c *call) (any, error) {
	req, err := body[updateProjectKeyRequest](c)
	if err != nil {
		return nil, err
	}
	if req.Scopes == nil && req.ExpiresIn == nil {
		return nil, gatehouse.Errorf(gatehouse.Invalid, "Give at least one of 'scopes' and 'expires_in_seconds'; neither may be null.")
	}
	var update admin.KeyUpdate
	if req.Scopes != nil {
		update.Scopes = admin.Some(*req.Scopes)
	}
	if req.ExpiresIn != nil {
		update.ExpiresIn = admin.Some(*req.ExpiresIn)
	}
	key, effect, err := a.cfg.Admin.UpdateKey(ctx, c.who, c.PathValue("project_id"), c.PathValue("key_id"), update)
	if err != nil {
		return nil, err
	}
	info, err := a.cfg.Admin.Key(ctx, c.who, c.PathValue("project_id"), key.ID)
	if err != nil {
		return nil, err
	}
	v, _ := showProjectKey(info)
	v.EffectiveBy = c.effect(effect)
	return v, nil
}

func (a *API) deleteProjectKey(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.RevokeKey(ctx, c.who, c.PathValue("project_id"), c.PathValue("key_id"), 0)
	if err != nil {
		return nil, err
	}
	return deleted{Object: "organization.project.api_key.deleted", ID: c.PathValue("key_id"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}

var _ http.Handler = (*API)(nil)
