package adminapi

import (
	"context"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// certificateRoutes are OpenAI's certificates: by which clients are known that call models, and where one must be shown.
func (a *API) certificateRoutes(on func(pattern, scope string, h handler)) {
	const read, write = "api.certificates.read", "api.certificates.write"
	const certificates, project = "/v1/organization/certificates", "/v1/organization/projects/{project_id}/certificates"
	on("GET "+certificates, read, a.listCertificates)
	on("POST "+certificates, write, a.createCertificate)
	on("POST "+certificates+"/activate", write, a.activateCertificates)
	on("POST "+certificates+"/deactivate", write, a.deactivateCertificates)
	on("GET "+certificates+"/{certificate_id}", read, a.certificate)
	on("POST "+certificates+"/{certificate_id}", write, a.updateCertificate)
	on("DELETE "+certificates+"/{certificate_id}", write, a.deleteCertificate)
	on("GET "+project, read, a.listCertificates)
	on("POST "+project+"/activate", write, a.activateCertificates)
	on("POST "+project+"/deactivate", write, a.deactivateCertificates)
}

// certificate is OpenAI's.
type certificate struct {
	Object      string             `json:"object"`
	ID          string             `json:"id"`
	Name        *string            `json:"name"`
	CreatedAt   int64              `json:"created_at"`
	Details     certificateDetails `json:"certificate_details"`
	Active      *bool              `json:"active,omitempty"`
	Fingerprint string             `json:"fingerprint_sha256"`
}

type certificateDetails struct {
	ValidAt   int64  `json:"valid_at"`
	ExpiresAt int64  `json:"expires_at"`
	Content   string `json:"content,omitempty"`
}

func showCertificate(c *gatehouse.Certificate) (*certificate, string) {
	return &certificate{Object: "certificate", ID: c.ID, Name: text(c.Name), CreatedAt: c.CreatedAt.Seconds(), Fingerprint: c.Fingerprint,
		Details: certificateDetails{ValidAt: c.ValidAt.Seconds(), ExpiresAt: c.ExpiresAt.Seconds()}}, c.ID
}

// placeOf returns what an object of a certificate is called in the place that a call is about.
func placeOf(c *call) string {
	if c.PathValue("project_id") != "" {
		return "organization.project.certificate"
	}
	return "organization.certificate"
}

func showCertificateUse(object string) func(*admin.CertificateUse) (*certificate, string) {
	return func(u *admin.CertificateUse) (*certificate, string) {
		v, id := showCertificate(&u.Certificate)
		v.Object, v.Active = object, &u.Active
		return v, id
	}
}

func (a *API) listCertificates(ctx context.Context, c *call) (any, error) {
	return listed(c, true, func(page store.Page) ([]admin.CertificateUse, bool, error) {
		return a.cfg.Admin.Certificates(ctx, c.who, c.PathValue("project_id"), page)
	}, showCertificateUse(placeOf(c)))
}

type createCertificateRequest struct {
	Name        *string `json:"name"`
	Certificate string  `json:"certificate"`
}

func (a *API) createCertificate(ctx context.Context, c *call) (any, error) {
	req, err := body[createCertificateRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("certificate", req.Certificate != ""); err != nil {
		return nil, err
	}
	name := ""
	if req.Name != nil {
		name = *req.Name
	}
	v, err := a.cfg.Admin.CreateCertificate(ctx, c.who, name, req.Certificate)
	return shown(v, err, showCertificate)
}

// certificate answers with the certificate itself where include asks for it.
func (a *API) certificate(ctx context.Context, c *call) (any, error) {
	var content bool
	for _, what := range many(c.URL.Query(), "include") {
		if what != "content" {
			return nil, gatehouse.InvalidParam("include", "Invalid 'include': the only value is 'content'.")
		}
		content = true
	}
	cert, err := a.cfg.Admin.Certificate(ctx, c.who, c.PathValue("certificate_id"))
	if err != nil {
		return nil, err
	}
	v, _ := showCertificate(cert)
	if content {
		v.Details.Content = cert.Content
	}
	return v, nil
}

type updateCertificateRequest struct {
	Name *string `json:"name"`
}

func (a *API) updateCertificate(ctx context.Context, c *call) (any, error) {
	req, err := body[updateCertificateRequest](c)
	if err != nil {
		return nil, err
	}
	id := c.PathValue("certificate_id")
	if req.Name == nil {
		v, err := a.cfg.Admin.Certificate(ctx, c.who, id)
		return shown(v, err, showCertificate)
	}
	v, err := a.cfg.Admin.RenameCertificate(ctx, c.who, id, *req.Name)
	return shown(v, err, showCertificate)
}

func (a *API) deleteCertificate(ctx context.Context, c *call) (any, error) {
	effect, err := a.cfg.Admin.DeleteCertificate(ctx, c.who, c.PathValue("certificate_id"))
	if err != nil {
		return nil, err
	}
	return deleted{Object: "certificate.deleted", ID: c.PathValue("certificate_id"), Deleted: true, EffectiveBy: c.effect(effect)}, nil
}

type toggleRequest struct {
	IDs []string `json:"certificate_ids"`
}

// toggled is OpenAI's style E: a list without a next page.
type toggled struct {
	Object      string         `json:"object"`
	Data        []*certificate `json:"data"`
	EffectiveBy *int64         `json:"effective_by,omitempty"`
}

func (a *API) activateCertificates(ctx context.Context, c *call) (any, error) {
	return a.toggleCertificates(ctx, c, ".activation", true)
}

func (a *API) deactivateCertificates(ctx context.Context, c *call) (any, error) {
	return a.toggleCertificates(ctx, c, ".deactivation", false)
}

func (a *API) toggleCertificates(ctx context.Context, c *call, suffix string, activate bool) (any, error) {
	req, err := body[toggleRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("certificate_ids", req.IDs != nil); err != nil {
		return nil, err
	}
	list, effect, err := a.cfg.Admin.ToggleCertificates(ctx, c.who, c.PathValue("project_id"), req.IDs, activate)
	if err != nil {
		return nil, err
	}
	object := placeOf(c)
	answer := &toggled{Object: object + suffix, Data: []*certificate{}, EffectiveBy: c.effect(effect)}
	show := showCertificateUse(object)
	for i := range list {
		v, _ := show(&list[i])
		answer.Data = append(answer.Data, v)
	}
	return answer, nil
}
