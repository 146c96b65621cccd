package admin

import (
	"context"
	"net/url"
	"slices"

	"gatehouse"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// Webhook endpoints are a project's own: whoever calls models in it, with a scope that covers them, says where its events go.

// ofProject authorizes, in the transaction itself, somebody who acts in a project with a key that calls models.
func (s *Service) ofProject(tx *store.Tx, who *gatehouse.Principal) error {
	if who.Project == "" || who.Class == gatehouse.ClassAdmin || who.Class == 0 {
		return &gatehouse.Error{Kind: gatehouse.Forbidden, Code: "missing_scope", Message: "Webhook endpoints are a project's: use a key of the project."}
	}
	key, err := tx.Key(who.Actor.Key)
	if err != nil {
		return err
	}
	if key.Organization != who.Organization || key.State(tx.Now) != gatehouse.Active {
		return &gatehouse.Error{Kind: gatehouse.Unauthenticated, Code: "invalid_api_key", Message: "This key is no longer active. Use another one."}
	}
	_, err = s.activeProject(tx, who, who.Project)
	return err
}

// EndpointUpdate makes an endpoint, or changes what is set of one.
type EndpointUpdate struct {
	Name, URL  Optional[string]
	EventTypes Optional[[]string]
}

// apply changes an endpoint and returns what changed, as events have it.
func (u *EndpointUpdate) apply(s *Service, e *gatehouse.WebhookEndpoint) (map[string]any, error) {
	changes := map[string]any{}
	made := e.CreatedAt == 0 // then everything is new, also what is empty
	if u.Name.Set && (made || u.Name.Value != e.Name) {
		if err := gatehouse.CheckName("name", u.Name.Value); err != nil {
			return nil, err
		}
		e.Name = u.Name.Value
		changes["name"] = e.Name
	}
	if u.URL.Set && (made || u.URL.Value != e.URL) {
		if err := s.checkEndpointURL(u.URL.Value); err != nil {
			return nil, err
		}
		e.URL = u.URL.Value
		if at, err := url.Parse(e.URL); err == nil {
			changes["host"] = at.Host // what follows it may be a secret of the receiver's
		}
	}
	if u.EventTypes.Set && (made || !slices.Equal(u.EventTypes.Value, e.EventTypes)) {
		if err := gatehouse.CheckEventTypes(u.EventTypes.Value); err != nil {
			return nil, err
		}
		e.EventTypes = slices.Clone(u.EventTypes.Value)
		changes["event_types"] = e.EventTypes
	}
	return changes, nil
}

// checkEndpointURL accepts what may be called: the dialer looks at the address itself when it is. A host of one's own network, over http too,
// only where the operator of this installation has listed it.
func (s *Service) checkEndpointURL(text string) error {
	u, err := url.Parse(text)
	own := err == nil && u.Scheme == "http" && (s.cfg.AllowPrivate == nil || s.cfg.AllowPrivate(u.Hostname()))
	if err != nil || u.Scheme != "https" && !own || u.Host == "" || u.User != nil || u.Fragment != "" || len(text) > 2000 {
		return gatehouse.InvalidParam("url", "Invalid 'url': must be an https:// URL without a credential and a fragment.")
	}
	return nil
}

// CreateEndpoint makes a webhook endpoint of the caller's project, and returns the secret that its messages are signed with, once.
func (s *Service) CreateEndpoint(ctx context.Context, who *gatehouse.Principal, u EndpointUpdate) (*gatehouse.WebhookEndpoint, secret.Text, error) {
	e := &gatehouse.WebhookEndpoint{ID: gatehouse.NewID(gatehouse.PrefixEndpoint), Organization: who.Organization, Project: who.Project}
	changes, err := u.apply(s, e)
	if err != nil {
		return nil, secret.Text{}, err
	}
	var minted secret.Text
	ev := gatehouse.Event{Type: "webhook_endpoint.created", Project: who.Project, Subject: gatehouse.SubjectEndpoint, SubjectID: e.ID, Change: detail(changes)}
	_, err = s.changeProject(ctx, who, ev, func(tx *store.Tx) error {
		list, more, err := tx.WebhookEndpoints(who.Project, store.Page{Limit: gatehouse.MaxWebhookEndpoints})
		if err != nil {
			return err
		}
		if more || len(list) >= gatehouse.MaxWebhookEndpoints {
			return gatehouse.Errorf(gatehouse.Conflict, "A project has at most %d webhook endpoints. Delete one that is not used any more.", gatehouse.MaxWebhookEndpoints)
		}
		e.CreatedAt, e.UpdatedAt = tx.Now, tx.Now
		if e.Secret, minted, err = s.mintWebhookSecret(tx, who, e.Name); err != nil {
			return err
		}
		e.Hint = secretHint(minted)
		return tx.CreateWebhookEndpoint(e)
	})
	return e, minted, err
}

// secretHint is how a secret is told from others.
func secretHint(minted secret.Text) string {
	text := minted.Reveal()
	return webhookSecret + "..." + text[len(text)-4:]
}

// changeProject is change for somebody who acts in a project.
func (s *Service) changeProject(ctx context.Context, who *gatehouse.Principal, ev gatehouse.Event, fn func(*store.Tx) error) (Effect, error) {
	ev.Organization, ev.Actor, ev.RequestID = who.Organization, who.Actor, who.RequestID
	seq, err := s.cfg.DB.Update(ctx, ev, func(tx *store.Tx) error {
		if err := s.ofProject(tx, who); err != nil {
			return err
		}
		return fn(tx)
	})
	if err != nil {
		return Effect{}, err
	}
	return s.settle(ctx, widens, seq), nil
}

// UpdateEndpoint changes a webhook endpoint.
func (s *Service) UpdateEndpoint(ctx context.Context, who *gatehouse.Principal, id string, u EndpointUpdate) (e *gatehouse.WebhookEndpoint, err error) {
	ev := gatehouse.Event{Type: "webhook_endpoint.updated", Project: who.Project, Subject: gatehouse.SubjectEndpoint, SubjectID: id}
	_, err = s.changeProject(ctx, who, ev, func(tx *store.Tx) error {
		if e, err = s.endpoint(tx, who, id); err != nil {
			return err
		}
		changes, err := u.apply(s, e)
		if err != nil {
			return err
		}
		if len(changes) == 0 {
			return errUnchanged
		}
		tx.Event().Change = detail(changes)
		e.UpdatedAt = tx.Now
		return tx.SaveWebhookEndpoint(e)
	})
	return e, unlessUnchanged(err)
}

// RotateEndpoint gives a webhook endpoint a new secret, which is returned once. With keepOld its messages are signed with the old one too
// for 24 hours.
func (s *Service) RotateEndpoint(ctx context.Context, who *gatehouse.Principal, id string, keepOld Optional[bool]) (e *gatehouse.WebhookEndpoint, minted secret.Text, err error) {
	ev := gatehouse.Event{Type: "webhook_endpoint.secret_rotated", Project: who.Project, Subject: gatehouse.SubjectEndpoint, SubjectID: id}
	_, err = s.changeProject(ctx, who, ev, func(tx *store.Tx) error {
		if e, err = s.endpoint(tx, who, id); err != nil {
			return err
		}
		if err := s.dropSealed(tx, e.OldSecret); err != nil {
			return err
		}
		e.OldSecret, e.OldUntil = "", 0
		if keepOld.Value {
			e.OldSecret, e.OldUntil = e.Secret, tx.Now+gatehouse.Millis(overlap.Milliseconds())
		} else if err := s.dropSealed(tx, e.Secret); err != nil {
			return err
		}
		if e.Secret, minted, err = s.mintWebhookSecret(tx, who, e.Name); err != nil {
			return err
		}
		e.Hint, e.UpdatedAt = secretHint(minted), tx.Now
		tx.Event().Change = detail(map[string]any{"old_until": e.OldUntil})
		return tx.SaveWebhookEndpoint(e)
	})
	return e, minted, err
}

// DeleteEndpoint removes a webhook endpoint and its secrets. What was on its way to it is given up.
func (s *Service) DeleteEndpoint(ctx context.Context, who *gatehouse.Principal, id string) error {
	ev := gatehouse.Event{Type: "webhook_endpoint.deleted", Project: who.Project, Subject: gatehouse.SubjectEndpoint, SubjectID: id}
	_, err := s.changeProject(ctx, who, ev, func(tx *store.Tx) error {
		e, err := s.endpoint(tx, who, id)
		if err != nil {
			return err
		}
		for _, ref := range []string{e.Secret, e.OldSecret} {
			if err := s.dropSealed(tx, ref); err != nil {
				return err
			}
		}
		e.RemovedAt, e.Secret, e.OldSecret, e.OldUntil = tx.Now, "", "", 0
		return tx.SaveWebhookEndpoint(e)
	})
	return err
}

// Endpoint returns a webhook endpoint of the caller's project.
func (s *Service) Endpoint(ctx context.Context, who *gatehouse.Principal, id string) (e *gatehouse.WebhookEndpoint, err error) {
	err = s.cfg.DB.View(ctx, func(tx *store.Tx) error {
		if err := s.ofProject(tx, who); err != nil {
			return err
		}
		e, err = s.endpoint(tx, who, id)
		return err
	})
	return e, err
}

// Endpoints lists the webhook endpoints of the caller's project.
func (s *Service) Endpoints(ctx context.Context, who *gatehouse.Principal, page store.Page) (list []gatehouse.WebhookEndpoint, more bool, err error) {
	err = s.cfg.DB.View(ctx, func(tx *store.Tx) error {
		if err := s.ofProject(tx, who); err != nil {
			return err
		}
		list, more, err = tx.WebhookEndpoints(who.Project, page)
		return err
	})
	return list, more, err
}

func (s *Service) endpoint(tx *store.Tx, who *gatehouse.Principal, id string) (*gatehouse.WebhookEndpoint, error) {
	e, err := tx.WebhookEndpoint(id)
	if err != nil || e.Organization != who.Organization || e.Project != who.Project || e.RemovedAt != 0 {
		return nil, hide(orNotFound(err), "webhook endpoint", clipped(id))
	}
	return e, nil
}

// endpointSubject is put back to where events were sent last. A secret that was rotated since is not in the backup: the old one may be known
// to somebody, so that the endpoint ends and has to be made again.
func endpointSubject(tx *store.Tx, e *gatehouse.WebhookEndpoint) *subject {
	if e == nil {
		return nil
	}
	return &subject{
		project: e.Project,
		standing: func() standing {
			row := *e
			row.Rev, row.UpdatedAt, row.EventTypes = 0, 0, slices.Clone(e.EventTypes)
			return standing{Gone: e.RemovedAt != 0, Endpoint: &row}
		},
		narrow: func(tx *store.Tx, to *standing) error {
			if to.Gone || to.Endpoint == nil || to.Endpoint.Secret != e.Secret {
				e.RemovedAt = tx.Now
				return nil
			}
			e.URL, e.EventTypes = to.Endpoint.URL, to.Endpoint.EventTypes
			return nil
		},
		save: func() error { return tx.SaveWebhookEndpoint(e) },
	}
}
