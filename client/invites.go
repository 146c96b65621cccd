package client

import (
	"context"
	"iter"
	"net/http"

	"gatehouse"
)

// Invite asks somebody to join the organization.
type Invite struct {
	Answer
	ID        string                    `json:"id"`
	Email     string                    `json:"email"`
	Role      gatehouse.Role            `json:"role"`
	Status    string                    `json:"status"`     // pending, accepted or expired
	CreatedAt int64                     `json:"created_at"` // unix seconds
	ExpiresAt int64                     `json:"expires_at"` // unix seconds
	Projects  []gatehouse.InviteProject `json:"projects"`
	Link      string                    `json:"link"` // only in the answer that makes it
}

// InviteCreate is a new invite.
type InviteCreate struct {
	Email     string                     `json:"email"`
	Role      gatehouse.Role             `json:"role"`
	Projects  *[]gatehouse.InviteProject `json:"projects,omitempty"`           // nil: the default project, as a member
	ExpiresIn int64                      `json:"expires_in_seconds,omitempty"` // 0: a week
}

// Acceptance is who somebody who accepted an invite is now, and a key of their own, whose value exists in this answer and nowhere else.
type Acceptance struct {
	Answer
	OrganizationID string            `json:"organization_id"`
	User           User              `json:"user"`
	APIKey         ServiceAccountKey `json:"api_key"`
}

// Invites lists invites, oldest first.
func (c *Client) Invites(ctx context.Context) iter.Seq2[*Invite, error] {
	return all[Invite](ctx, c, nil, "v1", "organization", "invites")
}

// CreateInvite asks somebody to join; the answer's link is what they need.
func (c *Client) CreateInvite(ctx context.Context, v InviteCreate) (*Invite, error) {
	return do[Invite](ctx, c, request{method: http.MethodPost, path: []string{"v1", "organization", "invites"}, body: v})
}

// DeleteInvite takes an invite back.
func (c *Client) DeleteInvite(ctx context.Context, id string) (*Deletion, error) {
	return do[Deletion](ctx, c, request{method: http.MethodDelete, path: []string{"v1", "organization", "invites", id}})
}

// AcceptInvite accepts an invite by the token in its link. The client needs no admin key for it.
func (c *Client) AcceptInvite(ctx context.Context, token, name string) (*Acceptance, error) {
	return do[Acceptance](ctx, c, request{method: http.MethodPost, path: []string{"gatehouse", "v1", "invites", "accept"}, body: map[string]string{"token": token, "name": name}})
}
