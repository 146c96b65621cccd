package adminapi

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/limit"
	"gatehouse/internal/store"
)

// acceptPath is where an invite is accepted, without a credential: what stands in its link is one.
const acceptPath = "/gatehouse/v1/invites/accept"

// inviteRoutes are OpenAI's invites.
func (a *API) inviteRoutes(on func(pattern, scope string, h handler)) {
	const invites = "/v1/organization/invites"
	a.table = append(a.table, Route{"POST " + acceptPath, Anybody}) // which serve answers before it asks who is calling
	on("GET "+invites, "api.users.read", a.listInvites)
	on("POST "+invites, "api.users.write", a.createInvite)
	on("GET "+invites+"/{invite_id}", "api.users.read", a.invite)
	on("DELETE "+invites+"/{invite_id}", "api.users.write", a.deleteInvite)
}

// invite is OpenAI's. Link is there once, in the answer that makes it: mail is up to whoever sends it.
type invite struct {
	Object     string                    `json:"object"`
	ID         string                    `json:"id"`
	Email      string                    `json:"email"`
	Role       gatehouse.Role            `json:"role"`
	Status     string                    `json:"status"`
	CreatedAt  int64                     `json:"created_at"`
	ExpiresAt  int64                     `json:"expires_at"`
	AcceptedAt *int64                    `json:"accepted_at"`
	Projects   []gatehouse.InviteProject `json:"projects"`
	Link       string                    `json:"link,omitempty"`
}

func showInvite(v *gatehouse.Invite) (*invite, string) {
	out := &invite{Object: "organization.invite", ID: v.ID, Email: v.Email, Role: v.Role, Status: v.Status(gatehouse.MillisOf(time.Now())), CreatedAt: v.CreatedAt.Seconds(),
		ExpiresAt: v.ExpiresAt.Seconds(), Projects: v.Projects}
	if out.Projects == nil {
		out.Projects = []gatehouse.InviteProject{}
	}
	if v.AcceptedAt != 0 {
		at := v.AcceptedAt.Seconds()
		out.AcceptedAt = &at
	}
	return out, v.ID
}

func (a *API) listInvites(ctx context.Context, c *call) (any, error) {
	return listed(c, false, func(page store.Page) ([]gatehouse.Invite, bool, error) {
		return a.cfg.Admin.Invites(ctx, c.who, page)
	}, showInvite)
}

func (a *API) invite(ctx context.Context, c *call) (any, error) {
	v, err := a.cfg.Admin.Invite(ctx, c.who, c.PathValue("invite_id"))
	return shown(v, err, showInvite)
}

type inviteRequest struct {
	Email     string                     `json:"email"`
	Role      *gatehouse.Role            `json:"role"`
	Projects  *[]gatehouse.InviteProject `json:"projects"`
	ExpiresIn *int64                     `json:"expires_in_seconds"`
}

func (a *API) createInvite(ctx context.Context, c *call) (any, error) {
	req, err := body[inviteRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("email", req.Email != ""); err != nil {
		return nil, err
	}
	if err := required("role", req.Role != nil); err != nil {
		return nil, err
	}
	expires, err := lifetime(req.ExpiresIn)
	if err != nil {
		return nil, err
	}
	made, err := a.cfg.Admin.CreateInvite(ctx, c.who, admin.InviteRequest{Email: req.Email, Role: *req.Role, Projects: req.Projects, ExpiresIn: expires})
	if err != nil {
		return nil, err
	}
	v, _ := showInvite(&made.Invite)
	base := a.cfg.PublicURL
	if base == "" {
		scheme := "http://"
		if c.TLS != nil {
			scheme = "https://"
		}
		base = scheme + c.Host
	}
	v.Link = base + acceptPath + "#" + made.Token.Reveal() // behind the #, so that no server and no log gets it with a GET
	return v, nil
}

func (a *API) deleteInvite(ctx context.Context, c *call) (any, error) {
	id := c.PathValue("invite_id")
	if err := a.cfg.Admin.DeleteInvite(ctx, c.who, id); err != nil {
		return nil, err
	}
	return deleted{Object: "organization.invite.deleted", ID: id, Deleted: true}, nil
}

// newAccepts limits how often one address tries to accept invites. Nobody guesses a token; this spares the database those who try.
func newAccepts() *limit.Buckets[netip.Addr] {
	return limit.New[netip.Addr](limit.Config{Burst: 30, Per: time.Minute, MaxKeys: 1 << 14})
}

type acceptRequest struct {
	Token string `json:"token"`
	Name  string `json:"name"`
}

// accepted is what somebody who accepted an invite gets: who they are now, and a key of their own, once.
type accepted struct {
	Object       string      `json:"object"`
	Invite       string      `json:"invite_id"`
	Organization string      `json:"organization_id"`
	User         *user       `json:"user"`
	Key          acceptedKey `json:"api_key"`
}

type acceptedKey struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

// acceptInvite is called without a principal.
func (a *API) acceptInvite(r *http.Request, record *gatehouse.Request, from netip.Addr) (any, error) {
	record.Route = "POST " + acceptPath
	if r.Method != http.MethodPost {
		return nil, &gatehouse.Error{Kind: gatehouse.MethodNotAllowed, Message: "An invite is accepted with POST and a JSON body: token, which is what follows # in its link, and name. `gatehouse invites accept LINK` does it."}
	}
	if wait := a.accepts.Take(from, time.Now()); wait > 0 {
		return nil, &gatehouse.Error{Kind: gatehouse.RateLimited, Code: "rate_limit_exceeded", RetryAfterMillis: wait.Milliseconds() + 1, Message: "Too many invites were tried from this address. Try again a little later."}
	}
	c := &call{Request: r}
	req, err := body[acceptRequest](c)
	if err != nil {
		return nil, err
	}
	if err := required("token", req.Token != ""); err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(r.Context(), answerTime(r))
	defer stop()
	out, err := a.cfg.Admin.AcceptInvite(ctx, req.Token, req.Name, gatehouse.Actor{IP: record.IP, UserAgent: record.UserAgent}, record.ID)
	if err != nil {
		return nil, err
	}
	record.Organization, record.Owner = out.User.Organization, out.User.ID
	v := accepted{Object: "gatehouse.invite.accepted", Invite: out.Invite.ID, Organization: out.User.Organization,
		Key: acceptedKey{out.Key.Key.ID, out.Key.Key.Name, out.Key.Value.Reveal()}}
	v.User, _ = showUser(&out.User)
	return v, nil
}
