package adminapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

func nowSeconds() int64 { return time.Now().Unix() }

// ownRoutes are what OpenAI has no endpoint for.
func (a *API) ownRoutes(on func(pattern, scope string, h handler)) {
	const own = "/gatehouse/v1"
	on("GET "+own+"/whoami", read, a.whoami)

	on("GET "+own+"/users", read, a.listUsers)
	on("POST "+own+"/users", write, a.createUser)
	on("POST "+own+"/users/{user_id}", write, a.updateUser)
	on("DELETE "+own+"/users/{user_id}", write, a.removeUser)
	on("GET "+own+"/projects/{project_id}/users", read, a.listMembers)
	on("POST "+own+"/projects/{project_id}/users", write, a.addMember)
	on("DELETE "+own+"/projects/{project_id}/users/{user_id}", write, a.removeMember)
	on("POST "+own+"/projects/{project_id}", write, a.updateOwnProject)

	on("GET "+own+"/keys", read, a.listKeys)
	on("POST "+own+"/keys", write, a.createKey)
	on("GET "+own+"/keys/{key_id}", read, a.key)
	on("POST "+own+"/keys/{key_id}", write, a.updateKey)
	on("DELETE "+own+"/keys/{key_id}", write, a.revokeKey)
	on("POST "+own+"/keys/{key_id}/suspend", write, a.suspendKey)
	on("POST "+own+"/keys/{key_id}/resume", write, a.resumeKey)

	on("GET "+own+"/upstreams", read, a.listUpstreams)
	on("POST "+own+"/upstreams", write, a.putUpstream)
	on("DELETE "+own+"/upstreams/{name}", write, a.removeUpstream)
	on("GET "+own+"/deployments", read, a.listDeployments)
	on("POST "+own+"/deployments", write, a.putDeployment)
	on("DELETE "+own+"/deployments/{name}", write, a.removeDeployment)
	on("POST "+own+"/sealed_secrets", write, a.seal)
	on("POST "+own+"/apply", write, a.apply)

	on("GET "+own+"/requests/{request_id}", usage, a.measured(a.explain))
	on("GET "+own+"/usage", usage, a.measured(a.usage))
}

// measured serves a handler that reads measurements: nothing else it does checks the key in the database.
func (a *API) measured(h handler) handler {
	return func(ctx context.Context, c *call) (any, error) {
		if err := a.cfg.Admin.Check(ctx, c.who); err != nil {
			return nil, err
		}
		return h(ctx, c)
	}
}

type whoami struct {
	OrganizationID string `json:"organization_id"`
	Organization   string `json:"organization"`
	DefaultProject string `json:"default_project_id"`
	KeyID          string `json:"key_id"`
	UserID         string `json:"user_id,omitempty"`
}

func (a *API) whoami(ctx context.Context, c *call) (any, error) {
	org, err := a.cfg.Admin.Organization(ctx, c.who)
	if err != nil {
		return nil, err
	}
	return whoami{OrganizationID: org.ID, Organization: org.Name, DefaultProject: org.DefaultProject, KeyID: c.who.Actor.Key, UserID: c.who.Actor.User}, nil
}

// user is a person as /gatehouse/v1 shows them.
type user struct {
	Object  string         `json:"object"`
	ID      string         `json:"id"`
	Name    string         `json:"name"`
	Email   string         `json:"email"`
	Role    gatehouse.Role `json:"role"`
	AddedAt int64          `json:"added_at"`
}

func showUser(u *gatehouse.User) (*user, string) {
	return &user{Object: "organization.user", ID: u.ID, Name: u.Name, Email: u.Email, Role: u.Role, AddedAt: u.CreatedAt.Seconds()}, u.ID
}

func (a *API) listUsers(ctx context.Context, c *call) (any, error) {
	page, err := c.page(false)
	if err != nil {
		return nil, err
	}
	users, more, err := a.cfg.Admin.Users(ctx, c.who, page)
	if err != nil {
		return nil, err
	}
	return listOf(users, more, showUser), nil
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
	if err != nil {
		return nil, err
	}
	v, _ := showUser(u)
	return v, nil
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
	u, err := a.cfg.Admin.UpdateUser(ctx, c.who, c.PathValue("user_id"), req.Role)
	if err != nil {
		return nil, err
	}
	v, _ := showUser(u)
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
	page, err := c.page(false)
	if err != nil {
		return nil, err
	}
	members, more, err := a.cfg.Admin.ProjectUsers(ctx, c.who, c.PathValue("project_id"), page)
	if err != nil {
		return nil, err
	}
	return listOf(members, more, showMember), nil
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
	if err != nil {
		return nil, err
	}
	v, _ := showMember(m)
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
}

// updateOwnProject changes what OpenAI's projects do not have: labels, and where calls without a model go.
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
	p, err := a.cfg.Admin.UpdateProject(ctx, c.who, c.PathValue("project_id"), update)
	if err != nil {
		return nil, err
	}
	v, _ := showProject(p)
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

// key is a key of any class as /gatehouse/v1 shows it.
type key struct {
	Object        string            `json:"object"`
	ID            string            `json:"id"`
	Class         string            `json:"class"`
	Name          string            `json:"name"`
	RedactedValue string            `json:"redacted_value"`
	Value         string            `json:"value,omitempty"` // once, in the answer that creates it
	State         string            `json:"state"`
	ProjectID     *string           `json:"project_id"`
	Owner         owner             `json:"owner"`
	OwnerActive   bool              `json:"owner_active"`
	Labels        map[string]string `json:"labels"`
	Scopes        []string          `json:"scopes"`
	Models        []string          `json:"models"`
	AllowedIPs    []netip.Prefix    `json:"allowed_ips"`
	CreatedAt     int64             `json:"created_at"`
	ExpiresAt     *int64            `json:"expires_at"`
	SuspendedAt   *int64            `json:"suspended_at"`
	RevokedAt     *int64            `json:"revoked_at"`
	LastUsedAt    *int64            `json:"last_used_at"`
	EffectiveBy   *int64            `json:"effective_by,omitempty"`
}

// classNames are the classes of keys by the names the API and the command line use.
var classNames = map[string]gatehouse.Class{"project": gatehouse.ClassProject, "service_account": gatehouse.ClassService, "user": gatehouse.ClassUser, "admin": gatehouse.ClassAdmin, "azure": gatehouse.ClassAzure}

func className(class gatehouse.Class) string {
	for name, c := range classNames {
		if c == class {
			return name
		}
	}
	return ""
}

func showKey(k *admin.KeyInfo) (*key, string) {
	v := &key{Object: "gatehouse.key", ID: k.Key.ID, Class: className(k.Key.Class), Name: k.Key.Name, RedactedValue: k.Key.Redacted, State: k.Key.State(gatehouse.MillisOf(time.Now())).String(),
		Owner: showOwner(k), OwnerActive: k.OwnerActive, Labels: k.Key.Labels, Scopes: nonNil(k.Key.Scopes), Models: nonNil(k.Key.Models), AllowedIPs: k.Key.AllowedIPs,
		CreatedAt: k.Key.CreatedAt.Seconds(), ExpiresAt: seconds(k.Key.ExpiresAt), SuspendedAt: seconds(k.Key.SuspendedAt), RevokedAt: seconds(k.Key.RevokedAt), LastUsedAt: seconds(k.Key.LastUsedAt)}
	if k.Key.Project != "" {
		v.ProjectID = &k.Key.Project
	}
	if v.Labels == nil {
		v.Labels = map[string]string{}
	}
	if v.AllowedIPs == nil {
		v.AllowedIPs = []netip.Prefix{}
	}
	return v, k.Key.ID
}

func (a *API) listKeys(ctx context.Context, c *call) (any, error) {
	page, err := c.page(false)
	if err != nil {
		return nil, err
	}
	q := c.URL.Query()
	filter := store.KeyFilter{Project: q.Get("project_id"), OwnerUser: q.Get("user_id"), OwnerServiceAccount: q.Get("service_account_id")}
	if filter.IncludeRevoked, err = flag(q, "include_revoked"); err != nil {
		return nil, err
	}
	if name := q.Get("class"); name != "" {
		class, ok := classNames[name]
		if !ok {
			return nil, gatehouse.InvalidParam("class", "Invalid 'class': must be project, service_account, user, admin or azure.")
		}
		filter.Class = class
	}
	keys, more, err := a.cfg.Admin.Keys(ctx, c.who, filter, page)
	if err != nil {
		return nil, err
	}
	return listOf(keys, more, showKey), nil
}

type keyRequest struct {
	Class            string             `json:"class"`
	ProjectID        string             `json:"project_id"`
	UserID           string             `json:"user_id"`
	ServiceAccountID string             `json:"service_account_id"`
	Name             *string            `json:"name"`
	Labels           *map[string]string `json:"labels"`
	Scopes           *[]string          `json:"scopes"`
	Models           *[]string          `json:"models"`
	AllowedIPs       *[]string          `json:"allowed_ips"`
	ExpiresIn        *int64             `json:"expires_in_seconds"`
}

func (a *API) createKey(ctx context.Context, c *call) (any, error) {
	req, err := body[keyRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("class", req.Class != ""); err != nil {
		return nil, err
	}
	class, ok := classNames[req.Class]
	if !ok {
		return nil, gatehouse.InvalidParam("class", "Invalid 'class': must be project, service_account, user or admin.")
	}
	ask := admin.KeyRequest{Class: class, Project: req.ProjectID, User: req.UserID, ServiceAccount: req.ServiceAccountID,
		Name: value(req.Name), Labels: value(req.Labels), Scopes: value(req.Scopes), Models: value(req.Models), AllowedIPs: value(req.AllowedIPs)}
	if ask.ExpiresIn, err = lifetime(req.ExpiresIn); err != nil {
		return nil, err
	}
	created, err := a.cfg.Admin.CreateKey(ctx, c.who, ask)
	if err != nil {
		return nil, err
	}
	info, err := a.cfg.Admin.Key(ctx, c.who, "", created.Key.ID)
	if err != nil {
		return nil, err
	}
	v, _ := showKey(info)
	v.Value = created.Value.Reveal()
	return v, nil
}

// value returns what a pointer points to, the zero value for nil.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

func optional[T any](p *T) admin.Optional[T] {
	return admin.Optional[T]{Set: p != nil, Value: value(p)}
}

func (a *API) key(ctx context.Context, c *call) (any, error) {
	info, err := a.cfg.Admin.Key(ctx, c.who, "", c.PathValue("key_id"))
	if err != nil {
		return nil, err
	}
	v, _ := showKey(info)
	return v, nil
}

func (a *API) updateKey(ctx context.Context, c *call) (any, error) {
	req, err := body[keyRequest](c)
	if err != nil {
		return nil, err
	}
	if req.Class != "" || req.ProjectID != "" || req.UserID != "" || req.ServiceAccountID != "" {
		return nil, gatehouse.Errorf(gatehouse.Invalid, "The class, project and owner of a key cannot change. Create another key.")
	}
	_, effect, err := a.cfg.Admin.UpdateKey(ctx, c.who, "", c.PathValue("key_id"), admin.KeyUpdate{Name: optional(req.Name), Labels: optional(req.Labels),
		Scopes: optional(req.Scopes), Models: optional(req.Models), AllowedIPs: optional(req.AllowedIPs), ExpiresIn: optional(req.ExpiresIn)})
	return a.showChanged(ctx, c, effect, err)
}

// showChanged answers a change of a key with the key as it is now.
func (a *API) showChanged(ctx context.Context, c *call, effect admin.Effect, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	info, err := a.cfg.Admin.Key(ctx, c.who, "", c.PathValue("key_id"))
	if err != nil {
		return nil, err
	}
	v, _ := showKey(info)
	v.EffectiveBy = c.effect(effect)
	return v, nil
}

func (a *API) revokeKey(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.RevokeKey(ctx, c.who, "", c.PathValue("key_id"), 0)
	if err != nil {
		return nil, err
	}
	return deleted{Object: "gatehouse.key.deleted", ID: c.PathValue("key_id"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}

func (a *API) suspendKey(ctx context.Context, c *call) (any, error) {
	_, effect, err := a.cfg.Admin.SuspendKey(ctx, c.who, c.PathValue("key_id"))
	return a.showChanged(ctx, c, effect, err)
}

func (a *API) resumeKey(ctx context.Context, c *call) (any, error) {
	// A node that resumes later refuses meanwhile, which harms nobody who was told so: the answer is 200.
	_, _, err := a.cfg.Admin.ResumeKey(ctx, c.who, c.PathValue("key_id"))
	return a.showChanged(ctx, c, admin.Effect{Everywhere: true}, err)
}

// upstream is an upstream as /gatehouse/v1 shows and takes it. Its credential is a reference, never a secret.
type upstream struct {
	Object           string            `json:"object,omitempty"`
	ID               string            `json:"id,omitempty"`
	Name             string            `json:"name"`
	Dialect          gatehouse.Dialect `json:"dialect"`
	BaseURL          string            `json:"base_url,omitempty"`
	APIVersion       string            `json:"api_version,omitempty"`
	Region           string            `json:"region,omitempty"`
	Credential       string            `json:"credential,omitempty"`
	CredentialHeader string            `json:"credential_header,omitempty"`
	Projects         []string          `json:"projects,omitempty"`
	AllowPrivate     bool              `json:"allow_private,omitempty"`
	HTTP2            bool              `json:"http2,omitempty"`
	CreatedAt        int64             `json:"created_at,omitempty"`
}

func showUpstream(u *gatehouse.Upstream) (*upstream, string) {
	return &upstream{Object: "gatehouse.upstream", ID: u.ID, Name: u.Name, Dialect: u.Dialect, BaseURL: u.BaseURL, APIVersion: u.APIVersion, Region: u.Region, Credential: u.Credential,
		CredentialHeader: u.CredentialHeader, Projects: u.Projects, AllowPrivate: u.AllowPrivate, HTTP2: u.HTTP2, CreatedAt: u.CreatedAt.Seconds()}, u.ID
}

func (a *API) listUpstreams(ctx context.Context, c *call) (any, error) {
	list, err := a.cfg.Admin.Upstreams(ctx, c.who)
	if err != nil {
		return nil, err
	}
	return listOf(list, false, showUpstream), nil
}

func (a *API) putUpstream(ctx context.Context, c *call) (any, error) {
	req, err := body[upstream](c)
	if err != nil {
		return nil, err
	}
	u, err := a.cfg.Admin.PutUpstream(ctx, c.who, admin.UpstreamSpec{Name: req.Name, Dialect: req.Dialect, BaseURL: req.BaseURL, APIVersion: req.APIVersion, Region: req.Region,
		Credential: req.Credential, CredentialHeader: req.CredentialHeader, Projects: req.Projects, AllowPrivate: req.AllowPrivate, HTTP2: req.HTTP2})
	if err != nil {
		return nil, err
	}
	v, _ := showUpstream(u)
	return v, nil
}

func (a *API) removeUpstream(ctx context.Context, c *call) (any, error) {
	if err := a.cfg.Admin.RemoveUpstream(ctx, c.who, c.PathValue("name")); err != nil {
		return nil, err
	}
	return deleted{Object: "gatehouse.upstream.deleted", ID: c.PathValue("name"), Deleted: true}, nil
}

type deployment struct {
	Object    string            `json:"object,omitempty"`
	ID        string            `json:"id,omitempty"`
	Name      string            `json:"name"`
	Projects  []string          `json:"projects,omitempty"`
	Routes    []deploymentRoute `json:"routes"`
	CreatedAt int64             `json:"created_at,omitempty"`
}

type deploymentRoute struct {
	Upstream string `json:"upstream"` // name
	Model    string `json:"model,omitempty"`
	Weight   int    `json:"weight,omitempty"`
	Priority int    `json:"priority,omitempty"`
}

// showDeployments returns a function that shows deployments with their upstreams by name.
func (a *API) showDeployments(ctx context.Context, c *call) (func(*gatehouse.Deployment) (*deployment, string), error) {
	ups, err := a.cfg.Admin.Upstreams(ctx, c.who)
	if err != nil {
		return nil, err
	}
	return func(d *gatehouse.Deployment) (*deployment, string) {
		v := &deployment{Object: "gatehouse.deployment", ID: d.ID, Name: d.Name, Projects: d.Projects, Routes: []deploymentRoute{}, CreatedAt: d.CreatedAt.Seconds()}
		for _, r := range d.Routes {
			name := r.Upstream
			if i := slices.IndexFunc(ups, func(u gatehouse.Upstream) bool { return u.ID == r.Upstream }); i >= 0 {
				name = ups[i].Name
			}
			v.Routes = append(v.Routes, deploymentRoute{name, r.Model, r.Weight, r.Priority})
		}
		return v, d.ID
	}, nil
}

func (a *API) listDeployments(ctx context.Context, c *call) (any, error) {
	show, err := a.showDeployments(ctx, c)
	if err != nil {
		return nil, err
	}
	list, err := a.cfg.Admin.Deployments(ctx, c.who)
	if err != nil {
		return nil, err
	}
	return listOf(list, false, show), nil
}

func (a *API) putDeployment(ctx context.Context, c *call) (any, error) {
	req, err := body[deployment](c)
	if err != nil {
		return nil, err
	}
	spec := admin.DeploymentSpec{Name: req.Name, Projects: req.Projects}
	for _, r := range req.Routes {
		spec.Routes = append(spec.Routes, admin.RouteSpec(r))
	}
	d, err := a.cfg.Admin.PutDeployment(ctx, c.who, spec)
	if err != nil {
		return nil, err
	}
	show, err := a.showDeployments(ctx, c)
	if err != nil {
		return nil, err
	}
	v, _ := show(d)
	return v, nil
}

func (a *API) removeDeployment(ctx context.Context, c *call) (any, error) {
	if err := a.cfg.Admin.RemoveDeployment(ctx, c.who, c.PathValue("name")); err != nil {
		return nil, err
	}
	return deleted{Object: "gatehouse.deployment.deleted", ID: c.PathValue("name"), Deleted: true}, nil
}

type sealRequest struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type sealedSecret struct {
	Object    string `json:"object"`
	ID        string `json:"id"`
	Name      string `json:"name"`
	Reference string `json:"reference"`
}

func (a *API) seal(ctx context.Context, c *call) (any, error) {
	req, err := body[sealRequest](c)
	if err != nil {
		return nil, err
	}
	id, err := a.cfg.Admin.Seal(ctx, c.who, req.Name, secret.NewText(req.Value))
	if err != nil {
		return nil, err
	}
	return sealedSecret{Object: "gatehouse.sealed_secret", ID: id, Name: req.Name, Reference: "sealed://" + id}, nil
}

type applied struct {
	Object string           `json:"object"`
	DryRun bool             `json:"dry_run"`
	Plan   []admin.PlanItem `json:"plan"`
}

// apply takes a manifest in YAML or JSON as its body.
func (a *API) apply(ctx context.Context, c *call) (any, error) {
	text, err := io.ReadAll(http.MaxBytesReader(nil, c.Body, maxBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, gatehouse.Errorf(gatehouse.TooLarge, "The manifest is larger than %d bytes.", maxBody)
		}
		return nil, &gatehouse.Error{Kind: gatehouse.Invalid, Message: "The request body could not be read.", Err: err}
	}
	manifest, err := admin.ParseManifest(text)
	if err != nil {
		return nil, err
	}
	var opts admin.ApplyOptions
	q := c.URL.Query()
	if opts.DryRun, err = flag(q, "dry_run"); err != nil {
		return nil, err
	}
	if opts.Prune, err = flag(q, "prune"); err != nil {
		return nil, err
	}
	plan, err := a.cfg.Admin.Apply(ctx, c.who, manifest, opts)
	if err != nil {
		return nil, err
	}
	return applied{Object: "gatehouse.plan", DryRun: opts.DryRun, Plan: plan}, nil
}

// explainWait is how long the decision behind a request may take to arrive from another node.
const explainWait = 1200 * time.Millisecond

// explain shows the decision behind one request, by our id or the id its caller gave it.
func (a *API) explain(ctx context.Context, c *call) (any, error) {
	id := c.PathValue("request_id")
	for deadline := time.Now().Add(explainWait); ; {
		if err := a.cfg.Ledger.Flush(ctx); err != nil {
			return nil, &gatehouse.Error{Kind: gatehouse.Unavailable, Message: "Requests cannot be read right now. Try again.", RetryAfterMillis: 1000, Err: err}
		}
		r, err := a.findRequest(ctx, c, id)
		if err == nil || gatehouse.KindOf(err) != gatehouse.NotFound || time.Now().After(deadline) {
			return r, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (a *API) findRequest(ctx context.Context, c *call, id string) (r *gatehouse.Request, err error) {
	notFound := gatehouse.Errorf(gatehouse.NotFound, "No such request: '%s'. Decisions are kept for 7 days.", clip(id, 128))
	err = a.cfg.DB.View(ctx, func(tx *store.Tx) error {
		if strings.HasPrefix(id, gatehouse.PrefixRequest) {
			r, err = tx.Request(id)
			if err == nil && r.ID == id {
				return nil
			}
		}
		list, _, err := tx.Requests(store.RequestFilter{Organization: c.who.Organization, ClientRequestID: id}, store.Page{Limit: 1, Desc: true})
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return notFound
		}
		r = &list[0]
		return nil
	})
	if err != nil {
		return nil, err
	}
	// A request whose credential was not known belongs to no organization: whoever administers this installation may see it.
	if r.Organization != c.who.Organization && r.Organization != "" {
		return nil, notFound
	}
	return r, nil
}

// usageLine is one line of /gatehouse/v1/usage.
type usageLine struct {
	Day         string `json:"day,omitempty"`
	ProjectID   string `json:"project_id,omitempty"`
	KeyID       string `json:"key_id,omitempty"`
	Model       string `json:"model,omitempty"`
	Product     string `json:"product,omitempty"`
	Requests    int64  `json:"requests"`
	CostNanoUSD int64  `json:"cost_nano_usd"`
	Unpriced    int64  `json:"unpriced_requests"`
	gatehouse.Units
}

// products are everything usage is counted in.
var products = []string{"completions", "embeddings", "moderations", "images", "audio_speeches", "audio_transcriptions", "decisions"}

// usage shows what was used between two points in time, by any of day, project, key, model and product.
func (a *API) usage(ctx context.Context, c *call) (any, error) {
	q := c.URL.Query()
	now := nowSeconds()
	start, err := integer(q, "start_time", 0, maxTime, now-30*86400)
	if err != nil {
		return nil, err
	}
	end, err := integer(q, "end_time", 0, maxTime, now+1)
	if err != nil {
		return nil, err
	}
	if end <= start || end-start > 400*86400 {
		return nil, gatehouse.InvalidParam("end_time", "Invalid 'end_time': must be after 'start_time', by at most 400 days.")
	}
	by := map[string]bool{}
	var group []string
	for _, name := range many(q, "group_by") {
		column, ok := map[string]string{"day": "", "product": "", "project": "project_id", "key": "api_key_id", "model": "model"}[name]
		if !ok {
			return nil, gatehouse.InvalidParam("group_by", "Invalid 'group_by': %q is not one of day, project, key, model, product.", clip(name, 64))
		}
		if column != "" && !by[name] {
			group = append(group, column)
		}
		by[name] = true
	}
	if err := a.cfg.Ledger.Flush(ctx); err != nil {
		return nil, &gatehouse.Error{Kind: gatehouse.Unavailable, Message: "Usage cannot be read right now. Try again.", RetryAfterMillis: 1000, Err: err}
	}
	sums := map[usageLine]*usageLine{}
	var order []*usageLine
	err = a.cfg.DB.View(ctx, func(tx *store.Tx) error {
		for _, product := range products {
			buckets, err := tx.UsageBuckets(store.UsageQuery{Organization: c.who.Organization, Product: product, Start: gatehouse.Millis(start * 1000), End: gatehouse.Millis(end * 1000), Width: "1d",
				Projects: many(q, "project_ids"), Keys: many(q, "api_key_ids"), Models: many(q, "models"), GroupBy: group})
			if err != nil {
				return err
			}
			for i := range buckets {
				for j := range buckets[i].Results {
					r := &buckets[i].Results[j]
					if r.Requests == 0 {
						continue
					}
					at := usageLine{ProjectID: r.Project, KeyID: r.Key, Model: r.Model}
					if by["day"] {
						at.Day = buckets[i].Start.Time().Format(time.DateOnly)
					}
					if by["product"] {
						at.Product = product
					}
					line := sums[at]
					if line == nil {
						line = &at
						sums[at] = line
						order = append(order, line)
					}
					line.add(r)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(order, func(a, b *usageLine) int { return strings.Compare(a.Day, b.Day) })
	return map[string]any{"object": "list", "data": append([]*usageLine{}, order...), "start_time": start, "end_time": end}, nil
}

func (l *usageLine) add(r *store.UsageResult) {
	l.Requests += r.Requests
	l.CostNanoUSD += int64(r.Cost)
	l.Unpriced += r.Unpriced
	l.Units.Add(r.Units)
}
