package admin

import (
	"context"
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/store"
)

// maxAuditValues is the most values that one filter of the audit log may have: each is looked up by itself.
const maxAuditValues = 100

// AuditRequest says which events are asked for. What is empty does not filter; of several values one is enough.
type AuditRequest struct {
	Types, Projects []string
	Actors          []string // ids of keys, users and service accounts
	Emails          []string // of users, those who were removed too; beside Actors more of the same
	Subjects        []string // ids of what was changed
	From, Until     gatehouse.Millis
}

// AuditEntry is an event with the names of what it mentions, as they are now.
type AuditEntry struct {
	gatehouse.Event
	ProjectName string
	ActorEmail  string
}

// AuditLog returns a page of the organization's audit log, the newest first where the page says so.
func (s *Service) AuditLog(ctx context.Context, who *gatehouse.Principal, req AuditRequest, page store.Page) (list []AuditEntry, more bool, err error) {
	for name, values := range map[string][]string{"event_types": req.Types, "project_ids": req.Projects, "actor_ids": req.Actors, "actor_emails": req.Emails, "resource_ids": req.Subjects} {
		if len(values) > maxAuditValues {
			return nil, false, gatehouse.InvalidParam(name, "Invalid '%s': it may have at most %d values.", name, maxAuditValues)
		}
		if slices.Contains(values, "") {
			return nil, false, gatehouse.InvalidParam(name, "Invalid '%s': a value is empty.", name)
		}
	}
	f := store.AuditFilter{Organization: who.Organization, Types: unique(req.Types), Projects: unique(req.Projects), Actors: unique(req.Actors),
		Subjects: unique(req.Subjects), From: req.From, Until: req.Until}
	err = s.view(ctx, who, func(tx *store.Tx) error {
		users := people{tx: tx, organization: who.Organization}
		if len(req.Emails) > 0 {
			ids, err := users.with(req.Emails)
			if err != nil {
				return err
			}
			if f.Actors = unique(append(f.Actors, ids...)); len(f.Actors) == 0 {
				return nil // nobody has such an address
			}
		}
		events, further, err := tx.AuditLog(f, page)
		if err != nil {
			return err
		}
		more, list = further, make([]AuditEntry, len(events))
		projects := map[string]string{}
		for i, ev := range events {
			list[i].Event = ev
			if list[i].ActorEmail, err = users.email(ev.Actor.User); err != nil {
				return err
			}
			if list[i].ProjectName, err = projectName(tx, projects, ev.Project); err != nil {
				return err
			}
		}
		return nil
	})
	return list, more, err
}

// projectName returns a project's name, "" for none, from known or else from the database.
func projectName(tx *store.Tx, known map[string]string, id string) (string, error) {
	if name, ok := known[id]; ok || id == "" {
		return name, nil
	}
	p, err := tx.Project(id)
	if err != nil && gatehouse.KindOf(err) != gatehouse.NotFound {
		return "", err
	}
	if err == nil {
		known[id] = p.Name
	} else {
		known[id] = ""
	}
	return known[id], nil
}

// people are the users of an organization that one call has looked up.
type people struct {
	tx           *store.Tx
	organization string
	known        map[string]string // addresses by id
}

// email returns a user's address, "" for none.
func (p *people) email(id string) (string, error) {
	if address, ok := p.known[id]; ok || id == "" {
		return address, nil
	}
	u, err := p.tx.User(id)
	if err != nil && gatehouse.KindOf(err) != gatehouse.NotFound {
		return "", err
	}
	address := ""
	if err == nil && u.Organization == p.organization {
		address = u.Email
	}
	if p.known == nil {
		p.known = map[string]string{}
	}
	p.known[id] = address
	return address, nil
}

// with returns the ids of everybody who has one of the addresses, those who were removed too.
func (p *people) with(emails []string) (ids []string, err error) {
	err = p.tx.EachUser(func(u *gatehouse.User) error {
		if u.Organization == p.organization && slices.ContainsFunc(emails, func(e string) bool { return strings.EqualFold(e, u.Email) }) {
			ids = append(ids, u.ID)
		}
		return nil
	})
	return ids, err
}
