package adminapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/secret"
)

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
	Served           string            `json:"served,omitempty"` // whom its account ever served: a project's id, or * for several
	CreatedAt        int64             `json:"created_at,omitempty"`

	Timeouts gatehouse.TimeoutSpec `json:"timeouts,omitzero"`
}

func showUpstream(u *gatehouse.Upstream) (*upstream, string) {
	return &upstream{Object: "gatehouse.upstream", ID: u.ID, Name: u.Name, Dialect: u.Dialect, BaseURL: u.BaseURL, APIVersion: u.APIVersion, Region: u.Region, Credential: u.Credential,
		CredentialHeader: u.CredentialHeader, Projects: u.Projects, AllowPrivate: u.AllowPrivate, HTTP2: u.HTTP2, Served: u.Served[u.Account()], CreatedAt: u.CreatedAt.Seconds(),
		Timeouts: u.Timeouts.Spec()}, u.ID
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
		Credential: req.Credential, CredentialHeader: req.CredentialHeader, Projects: req.Projects, AllowPrivate: req.AllowPrivate, HTTP2: req.HTTP2, Timeouts: req.Timeouts})
	return shown(u, err, showUpstream)
}

func (a *API) removeUpstream(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.RemoveUpstream(ctx, c.who, c.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "gatehouse.upstream.deleted", ID: c.PathValue("name"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}

type deployment struct {
	Object    string            `json:"object,omitempty"`
	ID        string            `json:"id,omitempty"`
	Name      string            `json:"name"`
	Projects  []string          `json:"projects,omitempty"`
	Routes    []deploymentRoute `json:"routes"`
	Sticky    string            `json:"sticky,omitempty"`
	CreatedAt int64             `json:"created_at,omitempty"`
}

type deploymentRoute struct {
	Upstream string                `json:"upstream"` // name
	Model    string                `json:"model,omitempty"`
	Weight   int                   `json:"weight,omitempty"`
	Priority int                   `json:"priority,omitempty"`
	PricedAs string                `json:"priced_as,omitempty"` // the model's name in the table of prices
	Timeouts gatehouse.TimeoutSpec `json:"timeouts,omitzero"`
}

// showDeployments returns a function that shows deployments with their upstreams by name.
func (a *API) showDeployments(ctx context.Context, c *call) (func(*gatehouse.Deployment) (*deployment, string), error) {
	ups, err := a.cfg.Admin.Upstreams(ctx, c.who)
	if err != nil {
		return nil, err
	}
	return func(d *gatehouse.Deployment) (*deployment, string) {
		v := &deployment{Object: "gatehouse.deployment", ID: d.ID, Name: d.Name, Projects: d.Projects, Routes: []deploymentRoute{}, Sticky: string(d.Sticky), CreatedAt: d.CreatedAt.Seconds()}
		for _, r := range d.Routes {
			name := r.Upstream
			if i := slices.IndexFunc(ups, func(u gatehouse.Upstream) bool { return u.ID == r.Upstream }); i >= 0 {
				name = ups[i].Name
			}
			v.Routes = append(v.Routes, deploymentRoute{name, r.Model, r.Weight, r.Priority, r.PricedAs, r.Timeouts.Spec()})
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
	spec := admin.DeploymentSpec{Name: req.Name, Projects: req.Projects, Sticky: req.Sticky}
	for _, r := range req.Routes {
		spec.Routes = append(spec.Routes, admin.RouteSpec(r))
	}
	d, err := a.cfg.Admin.PutDeployment(ctx, c.who, spec)
	if err != nil {
		return nil, err
	}
	show, err := a.showDeployments(ctx, c)
	return shown(d, err, show)
}

func (a *API) removeDeployment(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.RemoveDeployment(ctx, c.who, c.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "gatehouse.deployment.deleted", ID: c.PathValue("name"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
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
	if opts.Version = q.Get("if_version"); opts.Version == "" {
		opts.Version = strings.Trim(c.Header.Get("If-Match"), `"`)
	}
	plan, err := a.cfg.Admin.Apply(ctx, c.who, manifest, opts)
	if err != nil {
		return nil, err
	}
	return applied{Object: "gatehouse.plan", DryRun: opts.DryRun, Plan: plan}, nil
}

// exported is the manifest of an installation.
type exported struct {
	Object   string `json:"object"`
	Manifest string `json:"manifest"` // YAML
}

func (a *API) export(ctx context.Context, c *call) (any, error) {
	text, err := a.cfg.Admin.Export(ctx, c.who)
	if err != nil {
		return nil, err
	}
	return exported{"gatehouse.manifest", string(text)}, nil
}
