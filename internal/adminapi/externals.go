package adminapi

import (
	"context"
	"maps"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	json "github.com/go-json-experiment/json"

	"gatehouse"
	"gatehouse/internal/store"
)

// externalRoutes are OpenAI's external keys and external storage.
func (a *API) externalRoutes(on func(pattern, scope string, h handler)) {
	const keys, storage = "/v1/organization/external_keys", "/v1/organization/external_storage"
	on("GET "+keys, "api.external_keys.read", a.listExternalKeys)
	on("POST "+keys, "api.external_keys.write", a.createExternalKey)
	on("GET "+keys+"/{external_id}", "api.external_keys.read", a.externalKey)
	on("DELETE "+keys+"/{external_id}", "api.external_keys.write", a.deleteExternalKey)
	on("POST "+keys+"/{external_id}/validate", "api.external_keys.write", a.validateExternalKey)
	on("GET "+storage, "api.external_storage.read", a.listExternalStorage)
	on("POST "+storage, "api.external_storage.write", a.createExternalStorage)
	on("GET "+storage+"/{external_id}", "api.external_storage.read", a.externalStorage)
	on("DELETE "+storage+"/{external_id}", "api.external_storage.write", a.deleteExternalStorage)
	on("POST "+storage+"/{external_id}/validate", "api.external_storage.write", a.validateExternalStorage)
}

// why says to who asked for a validation what it came to. OpenAI's answers have no member for it.
const why = "Gatehouse has no identity in this provider's cloud, so that it cannot use what was registered here. Nothing is encrypted or stored with it."

// showExternalKey has the provider's fields beside the common ones.
func showExternalKey(e *gatehouse.External) (map[string]any, string) {
	v := map[string]any{"object": "organization.external_key", "id": e.ID, "name": e.Name, "type": e.Provider, "created_at": e.CreatedAt.Seconds(),
		"workspace_id": e.Organization, "api_project_ids": []string{}}
	if e.Purpose != "" {
		v["purpose"] = e.Purpose
	}
	for name, value := range e.Settings {
		v[name] = value
	}
	return v, e.ID
}

func (a *API) listExternalKeys(ctx context.Context, c *call) (any, error) {
	f := store.ExternalFilter{Kind: gatehouse.ExternalKey, Purpose: c.URL.Query().Get("purpose")}
	if f.Purpose != "" && f.Purpose != "ekm" && f.Purpose != "psp_decryption" {
		return nil, gatehouse.InvalidParam("purpose", "Invalid 'purpose': must be ekm or psp_decryption.")
	}
	return listed(c, true, func(page store.Page) ([]gatehouse.External, bool, error) {
		return a.cfg.Admin.Externals(ctx, c.who, f, page)
	}, showExternalKey)
}

// settings splits an object of texts into its type and the other fields.
func settings(param string, fields map[string]jsontext.Value) (kind string, rest map[string]string, err error) {
	rest = map[string]string{}
	for name, value := range fields {
		var s string
		if json.Unmarshal(value, &s) != nil {
			return "", nil, &gatehouse.Error{Kind: gatehouse.Invalid, Code: "invalid_type", Param: param + name, Message: "Invalid type for '" + clip(param+name, 128) + "': it must be a string."}
		}
		rest[name] = s
	}
	kind = rest["type"]
	delete(rest, "type")
	return kind, rest, required(param+"type", kind != "")
}

func (a *API) createExternalKey(ctx context.Context, c *call) (any, error) {
	fields, err := body[map[string]jsontext.Value](c)
	if err != nil {
		return nil, err
	}
	kind, rest, err := settings("", *fields)
	if err != nil {
		return nil, err
	}
	e := &gatehouse.External{Kind: gatehouse.ExternalKey, Provider: kind, Name: rest["name"], Purpose: rest["purpose"], Settings: rest}
	delete(rest, "name")
	delete(rest, "purpose")
	if err := required("name", e.Name != ""); err != nil {
		return nil, err
	}
	if err := gatehouse.CheckName("name", e.Name); err != nil {
		return nil, err
	}
	if err := e.Check(""); err != nil {
		return nil, err
	}
	err = a.cfg.Admin.CreateExternal(ctx, c.who, e)
	return shown(e, err, showExternalKey)
}

func (a *API) externalKey(ctx context.Context, c *call) (any, error) {
	e, err := a.cfg.Admin.External(ctx, c.who, gatehouse.ExternalKey, c.PathValue("external_id"))
	return shown(e, err, showExternalKey)
}

// deleteExternalKey answers with the key itself, as OpenAI does.
func (a *API) deleteExternalKey(ctx context.Context, c *call) (any, error) {
	e, effect, err := a.cfg.Admin.DeleteExternal(ctx, c.who, gatehouse.ExternalKey, c.PathValue("external_id"))
	if err != nil {
		return nil, err
	}
	c.effect(effect)
	return shown(e, nil, showExternalKey)
}

func (a *API) validateExternalKey(ctx context.Context, c *call) (any, error) {
	if _, err := a.cfg.Admin.ValidateExternal(ctx, c.who, gatehouse.ExternalKey, c.PathValue("external_id")); err != nil {
		return nil, err
	}
	return map[string]string{"status": "failed", "reason": why}, nil
}

type externalStorage struct {
	Object    string            `json:"object"`
	ID        string            `json:"id"`
	CreatedAt int64             `json:"created_at"`
	Geography string            `json:"geography"`
	Project   string            `json:"project_id"`
	Provider  map[string]string `json:"provider"`
	Status    string            `json:"status"`
	Reason    string            `json:"reason,omitempty"`
}

// showExternalStorage adds the fields that OpenAI derives, empty where only the provider could say what they are.
func showExternalStorage(e *gatehouse.External) (*externalStorage, string) {
	p := maps.Clone(e.Settings)
	p["type"] = e.Provider
	switch e.Provider {
	case "aws":
		p["account_id"], p["external_id"], p["region"] = strings.Split(e.Settings["role_arn"], ":")[4], e.ID, ""
	case "azure":
		p["region"] = ""
	case "gcp":
		p["region"] = ""
		p["audience"] = "//iam.googleapis.com/projects/" + p["workload_identity_project_number"] + "/locations/global/workloadIdentityPools/" + p["workload_identity_pool_id"] +
			"/providers/" + p["workload_identity_provider_id"]
	}
	return &externalStorage{Object: "organization.external_storage", ID: e.ID, CreatedAt: e.CreatedAt.Seconds(), Geography: "GLOBAL", Project: e.Project, Provider: p, Status: e.Status}, e.ID
}

func (a *API) listExternalStorage(ctx context.Context, c *call) (any, error) {
	f := store.ExternalFilter{Kind: gatehouse.ExternalStorage, Project: c.URL.Query().Get("project_id")}
	return listed(c, true, func(page store.Page) ([]gatehouse.External, bool, error) {
		return a.cfg.Admin.Externals(ctx, c.who, f, page)
	}, showExternalStorage)
}

type externalStorageRequest struct {
	Project  string                    `json:"project_id"`
	Provider map[string]jsontext.Value `json:"provider"`
}

func (a *API) createExternalStorage(ctx context.Context, c *call) (any, error) {
	req, err := body[externalStorageRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("project_id", req.Project != ""); err != nil {
		return nil, err
	}
	if err := required("provider", req.Provider != nil); err != nil {
		return nil, err
	}
	kind, rest, err := settings("provider.", req.Provider)
	if err != nil {
		return nil, err
	}
	e := &gatehouse.External{Kind: gatehouse.ExternalStorage, Project: req.Project, Provider: kind, Settings: rest}
	if err := e.Check("provider."); err != nil {
		return nil, err
	}
	err = a.cfg.Admin.CreateExternal(ctx, c.who, e)
	return shown(e, err, showExternalStorage)
}

func (a *API) externalStorage(ctx context.Context, c *call) (any, error) {
	e, err := a.cfg.Admin.External(ctx, c.who, gatehouse.ExternalStorage, c.PathValue("external_id"))
	return shown(e, err, showExternalStorage)
}

func (a *API) deleteExternalStorage(ctx context.Context, c *call) (any, error) {
	e, effect, err := a.cfg.Admin.DeleteExternal(ctx, c.who, gatehouse.ExternalStorage, c.PathValue("external_id"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "organization.external_storage.deleted", ID: e.ID, Deleted: true, EffectiveBy: c.effect(effect)}, nil
}

func (a *API) validateExternalStorage(ctx context.Context, c *call) (any, error) {
	e, err := a.cfg.Admin.ValidateExternal(ctx, c.who, gatehouse.ExternalStorage, c.PathValue("external_id"))
	if err != nil {
		return nil, err
	}
	v, _ := showExternalStorage(e)
	v.Reason = why
	return v, nil
}
