package client

import (
	"context"
	"iter"
	"net/http"
)

// Certificate is one by which clients are known that call models.
type Certificate struct {
	Answer
	ID          string `json:"id"`
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint_sha256"`
	CreatedAt   int64  `json:"created_at"` // unix seconds, as are the times below
	Active      bool   `json:"active"`     // in force in the place that was asked about; of one certificate by itself it is not told
	Details     struct {
		ValidAt   int64  `json:"valid_at"`
		ExpiresAt int64  `json:"expires_at"`
		Content   string `json:"content"` // PEM, of one certificate by itself
	} `json:"certificate_details"`
}

// Toggled is the answer to certificates that were put into force or out of it.
type Toggled struct {
	Answer
	Data        []Certificate `json:"data"`
	EffectiveBy int64         `json:"effective_by"` // as Deletion.EffectiveBy
}

func certificatePath(project string, below ...string) []string {
	if project == "" {
		return append([]string{"v1", "organization", "certificates"}, below...)
	}
	return append(projectPath(project, "certificates"), below...)
}

// Certificates lists the organization's certificates, and whether each is in force in a project, or where project is empty in the
// organization.
func (c *Client) Certificates(ctx context.Context, project string) iter.Seq2[*Certificate, error] {
	return all[Certificate](ctx, c, nil, certificatePath(project)...)
}

// Certificate returns a certificate with its content.
func (c *Client) Certificate(ctx context.Context, id string) (*Certificate, error) {
	return do[Certificate](ctx, c, request{method: http.MethodGet, path: certificatePath("", id), query: map[string][]string{"include[]": {"content"}}})
}

// CreateCertificate stores a certificate, which is in force nowhere; text is PEM.
func (c *Client) CreateCertificate(ctx context.Context, name, text string) (*Certificate, error) {
	body := map[string]string{"certificate": text}
	if name != "" {
		body["name"] = name
	}
	return do[Certificate](ctx, c, request{method: http.MethodPost, path: certificatePath(""), body: body})
}

// DeleteCertificate removes a certificate that is in force nowhere.
func (c *Client) DeleteCertificate(ctx context.Context, id string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: certificatePath("", id)})
}

// ActivateCertificates puts certificates into force in a project, or where project is empty in the organization.
func (c *Client) ActivateCertificates(ctx context.Context, project string, ids ...string) (*Toggled, error) {
	return c.toggleCertificates(ctx, project, "activate", ids)
}

// DeactivateCertificates takes certificates out of force again.
func (c *Client) DeactivateCertificates(ctx context.Context, project string, ids ...string) (*Toggled, error) {
	return c.toggleCertificates(ctx, project, "deactivate", ids)
}

func (c *Client) toggleCertificates(ctx context.Context, project, what string, ids []string) (*Toggled, error) {
	return do[Toggled](ctx, c, request{method: http.MethodPost, path: certificatePath(project, what), body: map[string][]string{"certificate_ids": ids}})
}
