package adminapi

import (
	"context"
	"net/netip"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

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
	q := c.URL.Query()
	filter := store.KeyFilter{Project: q.Get("project_id"), OwnerUser: q.Get("user_id"), OwnerServiceAccount: q.Get("service_account_id")}
	var err error
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
	return listed(c, false, func(page store.Page) ([]admin.KeyInfo, bool, error) {
		return a.cfg.Admin.Keys(ctx, c.who, filter, page)
	}, showKey)
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
	return shown(info, err, showKey)
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
