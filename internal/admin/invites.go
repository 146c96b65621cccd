package admin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/mail"
	"strings"

	"gatehouse"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

const (
	// inviteLife is how long an invite can be accepted where nobody says, in seconds: a week.
	inviteLife = 7 * 86400
	// inviteToken is how long the token in a link is, in characters of Base62: 256 bits.
	inviteToken = 43
)

// InviteRequest asks somebody to join.
type InviteRequest struct {
	Email     string
	Role      gatehouse.Role             // owner or reader
	Projects  *[]gatehouse.InviteProject // nil: the default project, as a member
	ExpiresIn int64                      // seconds, at most a year; 0: a week
}

// NewInvite is an invite just made. Token is what its link has, which exists here and nowhere else.
type NewInvite struct {
	Invite gatehouse.Invite
	Token  secret.Text
}

// CreateInvite asks somebody to join the organization. Nobody asks for more than they have themselves.
func (s *Service) CreateInvite(ctx context.Context, who *gatehouse.Principal, req InviteRequest) (*NewInvite, error) {
	if _, err := mail.ParseAddress(req.Email); err != nil {
		return nil, gatehouse.InvalidParam("email", "Invalid 'email': not an e-mail address.")
	}
	if err := checkRole(req.Role, gatehouse.RoleOwner, gatehouse.RoleReader); err != nil {
		return nil, err
	}
	if req.ExpiresIn < 0 || req.ExpiresIn > maxExpiry {
		return nil, gatehouse.InvalidParam("expires_in_seconds", "Invalid 'expires_in_seconds': must be between 1 and %d.", maxExpiry)
	}
	if req.ExpiresIn == 0 {
		req.ExpiresIn = inviteLife
	}
	token := gatehouse.RandomBase62(inviteToken)
	v := &NewInvite{Token: secret.NewText(token), Invite: gatehouse.Invite{ID: gatehouse.NewID(gatehouse.PrefixInvite), Organization: who.Organization, Email: req.Email, Role: req.Role,
		Digest: inviteDigest(token), By: who.Actor.User}}
	ev := gatehouse.Event{Type: "invite.sent", Subject: gatehouse.SubjectInvite, SubjectID: v.Invite.ID}
	_, err := s.change(ctx, who, widens, ev, func(tx *store.Tx) error {
		if err := s.mayGrantRole(tx, who, "", req.Role); err != nil {
			return err
		}
		projects, err := s.inviteProjects(tx, who, req.Projects)
		if err != nil {
			return err
		}
		v.Invite.Projects = projects
		users, _, err := tx.UsersByEmail(who.Organization, []string{req.Email}, store.Page{Limit: 1})
		if err != nil {
			return err
		}
		pending, err := tx.PendingInvites(who.Organization, req.Email)
		if err != nil {
			return err
		}
		switch {
		case len(users) > 0:
			return &gatehouse.Error{Kind: gatehouse.Conflict, Code: "already_invited", Param: "email", Message: "There is a user with this address already: " + users[0].ID + "."}
		case pending > 0:
			return &gatehouse.Error{Kind: gatehouse.Conflict, Code: "already_invited", Param: "email", Message: "An invite to this address can still be accepted. Delete it first if its link is lost."}
		}
		v.Invite.CreatedAt, v.Invite.ExpiresAt = tx.Now, tx.Now+gatehouse.Millis(req.ExpiresIn*1000)
		tx.Event().Change = detail(map[string]any{"email": req.Email, "role": req.Role, "projects": projects})
		return tx.CreateInvite(&v.Invite)
	})
	return v, err
}

func inviteDigest(token string) string {
	sum := sha256.Sum256([]byte(token)) // a token has as many bits as its digest: nobody guesses one, with or without a pepper
	return hex.EncodeToString(sum[:])
}

func (s *Service) inviteProjects(tx *store.Tx, who *gatehouse.Principal, want *[]gatehouse.InviteProject) ([]gatehouse.InviteProject, error) {
	if want == nil {
		org, err := tx.Organization(who.Organization)
		if err != nil || org.DefaultProject == "" {
			return nil, err
		}
		want = &[]gatehouse.InviteProject{{ID: org.DefaultProject, Role: gatehouse.RoleMember}}
	}
	seen := map[string]bool{}
	for _, p := range *want {
		if _, err := s.activeProject(tx, who, p.ID); err != nil {
			return nil, err
		}
		if err := checkMemberRole(p.Role); err != nil {
			return nil, gatehouse.InvalidParam("projects", "Invalid 'projects': the role in project %s must be owner, member or viewer.", p.ID)
		}
		if seen[p.ID] {
			return nil, gatehouse.InvalidParam("projects", "Invalid 'projects': project %s is named twice.", p.ID)
		}
		seen[p.ID] = true
		if err := s.mayGrantRole(tx, who, p.ID, p.Role); err != nil {
			return nil, err
		}
	}
	return *want, nil
}

// Invite returns an invite.
func (s *Service) Invite(ctx context.Context, who *gatehouse.Principal, id string) (v *gatehouse.Invite, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		v, err = s.invite(tx, who, id)
		return err
	})
	return v, err
}

// Invites lists the organization's invites, accepted and expired ones too.
func (s *Service) Invites(ctx context.Context, who *gatehouse.Principal, page store.Page) (list []gatehouse.Invite, more bool, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		list, more, err = tx.Invites(who.Organization, page)
		return err
	})
	return list, more, err
}

// DeleteInvite takes an invite back: its link leads nowhere from then on. One that was accepted cannot be taken back.
func (s *Service) DeleteInvite(ctx context.Context, who *gatehouse.Principal, id string) error {
	ev := gatehouse.Event{Type: "invite.deleted", Subject: gatehouse.SubjectInvite, SubjectID: id}
	_, err := s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		v, err := s.invite(tx, who, id)
		if err != nil {
			return err
		}
		if v.AcceptedAt != 0 {
			return gatehouse.Errorf(gatehouse.Invalid, "Invite %s was accepted and cannot be taken back. Remove user %s instead.", id, v.AcceptedBy)
		}
		v.RemovedAt = tx.Now
		return tx.SaveInvite(v)
	})
	return err
}

func (s *Service) invite(tx *store.Tx, who *gatehouse.Principal, id string) (*gatehouse.Invite, error) {
	v, err := tx.Invite(id)
	if err != nil || v.Organization != who.Organization || v.RemovedAt != 0 {
		return nil, hide(orNotFound(err), "invite", clipped(id))
	}
	return v, nil
}

// Accepted is what came of an invite: the user, and a key of their own, shown once.
type Accepted struct {
	Invite gatehouse.Invite
	User   gatehouse.User
	Key    NewKey
}

// AcceptInvite makes a user of whoever has the token of an invite that is pending, with the roles it names and a key of class user. It
// asks for no credential: the token is one. Who invited them must still be able to; who is that goes into the event.
func (s *Service) AcceptInvite(ctx context.Context, token, name string, actor gatehouse.Actor, requestID string) (out *Accepted, err error) {
	unknown := &gatehouse.Error{Kind: gatehouse.NotFound, Code: "invite_not_found",
		Message: "This invite is not known, was taken back or accepted, or its time is over. Ask whoever sent it for another."}
	if len(token) != inviteToken || strings.Trim(token, gatehouse.Base62) != "" {
		return nil, unknown
	}
	var organization string
	err = s.cfg.DB.View(ctx, func(tx *store.Tx) error {
		v, err := tx.InviteByDigest(inviteDigest(token))
		if err == nil {
			organization = v.Organization
		}
		return err
	})
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		return nil, unknown
	}
	if err != nil {
		return nil, err
	}
	out = &Accepted{User: gatehouse.User{ID: gatehouse.NewID(gatehouse.PrefixUser), Organization: organization, Name: name}}
	actor.Kind, actor.User = gatehouse.ActorNobody, out.User.ID
	who := &gatehouse.Principal{Actor: gatehouse.Actor{Kind: gatehouse.ActorSystem}, Organization: organization, RequestID: requestID}
	ev := gatehouse.Event{Type: "invite.accepted", Organization: organization, Subject: gatehouse.SubjectInvite, Actor: actor, RequestID: requestID}
	seq, err := s.cfg.DB.Update(ctx, ev, func(tx *store.Tx) error {
		v, err := tx.InviteByDigest(inviteDigest(token))
		if err != nil {
			return err
		}
		if v.RemovedAt != 0 || v.Status(tx.Now) != "pending" {
			return unknown
		}
		if err := s.inviterMay(tx, v); err != nil {
			return err
		}
		u := &out.User
		if u.Name == "" {
			u.Name, _, _ = strings.Cut(v.Email, "@")
		}
		if err := gatehouse.CheckName("name", u.Name); err != nil {
			return err
		}
		u.Email, u.Role, u.CreatedAt = v.Email, v.Role, tx.Now
		if err := tx.CreateUser(u); err != nil {
			return err
		}
		emit := func(ev gatehouse.Event) {
			ev.Organization, ev.Actor, ev.RequestID = organization, actor, requestID
			tx.Emit(ev)
		}
		emit(gatehouse.Event{Type: "user.added", Subject: gatehouse.SubjectUser, SubjectID: u.ID, Change: detail(map[string]any{"role": u.Role, "name": u.Name})})
		for _, p := range v.Projects {
			row, err := tx.Project(p.ID)
			if err != nil {
				return err
			}
			if row.ArchivedAt != 0 {
				continue // it was archived since
			}
			if err := tx.CreateProjectUser(&gatehouse.ProjectUser{Project: p.ID, User: u.ID, Role: p.Role, AddedAt: tx.Now}); err != nil {
				return err
			}
			emit(gatehouse.Event{Type: "user.added", Subject: gatehouse.SubjectProjectUser, SubjectID: p.ID + "/" + u.ID, Project: p.ID, Change: detail(map[string]any{"role": p.Role})})
		}
		key, err := s.mint(tx, who, KeyRequest{Class: gatehouse.ClassUser, User: u.ID, Name: "first key"})
		if err != nil {
			return err
		}
		out.Key = *key
		emit(keyCreated(key.Key))
		v.AcceptedAt, v.AcceptedBy = tx.Now, u.ID
		out.Invite = *v
		tx.Event().SubjectID, tx.Event().Change = v.ID, detail(map[string]any{"user_id": u.ID})
		return tx.SaveInvite(v)
	})
	if err != nil {
		return nil, err
	}
	s.settle(ctx, widens, seq)
	return out, nil
}

// inviterMay refuses an invite of somebody who could not send it any more.
func (s *Service) inviterMay(tx *store.Tx, v *gatehouse.Invite) error {
	if v.By == "" {
		return nil
	}
	asked := map[string]gatehouse.Role{"": v.Role}
	for _, p := range v.Projects {
		asked[p.ID] = p.Role
	}
	for project, role := range asked {
		a, err := authorityOf(tx, &gatehouse.Key{Organization: v.Organization, OwnerUser: v.By}, project)
		if err != nil {
			return err
		}
		permissions := []string{"api.users.write"}
		if r := gatehouse.PredefinedNamed(placeLevel(project), role); r != nil {
			permissions = append(permissions, gatehouse.Administration(placeLevel(project), r.Permissions)...)
		}
		if len(a.lacks(permissions)) > 0 {
			return &gatehouse.Error{Kind: gatehouse.Forbidden, Code: "invite_void", Message: "Whoever sent this invite may not do so any more. Ask an owner of the organization for another."}
		}
	}
	return nil
}
