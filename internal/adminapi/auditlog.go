package adminapi

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/store"
)

// auditLog is one event in OpenAI's shape: what happened stands in a member that is called as the event's type is.
type auditLog map[string]any

// auditActor is who did it.
type auditActor struct {
	Type   string      `json:"type"`
	APIKey auditAPIKey `json:"api_key"`
}

type auditAPIKey struct {
	ID             string        `json:"id"`
	Type           string        `json:"type"` // user or service_account
	User           *auditUser    `json:"user,omitempty"`
	ServiceAccount *auditAccount `json:"service_account,omitempty"`
}

type auditUser struct {
	ID    string `json:"id"`
	Email string `json:"email"`
}

type auditAccount struct {
	ID string `json:"id"`
}

// auditExtra is what OpenAI has no member for. Seq is the event's place in the one order of all changes.
type auditExtra struct {
	Seq       int64               `json:"seq"`
	Actor     gatehouse.ActorKind `json:"actor"`
	IP        string              `json:"ip_address,omitempty"`
	UserAgent string              `json:"user_agent,omitempty"`
	RequestID string              `json:"request_id,omitempty"`
	// Before are the old values of what was changed, where they are known.
	Before any `json:"before,omitempty"`
}

func (a *API) listAuditLogs(ctx context.Context, c *call) (any, error) {
	q := c.URL.Query()
	req := admin.AuditRequest{Types: many(q, "event_types"), Projects: many(q, "project_ids"), Actors: many(q, "actor_ids"), Emails: many(q, "actor_emails"), Subjects: many(q, "resource_ids")}
	var err error
	if req.From, req.Until, err = effective(q); err != nil {
		return nil, err
	}
	tenant, err := flag(q, "tenant_only")
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(req.Types, func(name string) bool { return !ofTenant(name) }); tenant && i >= 0 {
		return nil, gatehouse.InvalidParam("event_types", "Invalid 'event_types': with tenant_only every type must be one of a tenant's, and '%s' is none.", clip(req.Types[i], 64))
	}
	return listed(c, true, func(page store.Page) ([]admin.AuditEntry, bool, error) {
		if tenant {
			return nil, false, nil // an organization here belongs to no tenant
		}
		return a.cfg.Admin.AuditLog(ctx, c.who, req, page)
	}, showAuditLog)
}

// ofTenant reports whether a type of event is one of a tenant's.
func ofTenant(name string) bool {
	return strings.HasPrefix(name, "tenant.") || name == "role.bound_to_resource" || name == "role.unbound_from_resource"
}

// effective reads the bounds of effective_at, in seconds, as events lie between them.
func effective(q url.Values) (from, until gatehouse.Millis, err error) {
	bound := func(name string, add int64) (gatehouse.Millis, bool, error) {
		name = "effective_at[" + name + "]"
		if q.Get(name) == "" {
			return 0, false, nil
		}
		n, err := integer(q, name, 0, maxTime, 0)
		return gatehouse.Millis((n + add) * 1000), err == nil, err
	}
	for _, b := range []struct {
		name  string
		add   int64 // a second is left out, or ends after its last millisecond
		lower bool
	}{{"gt", 1, true}, {"gte", 0, true}, {"lt", 0, false}, {"lte", 1, false}} {
		at, ok, err := bound(b.name, b.add)
		switch {
		case err != nil:
			return 0, 0, err
		case ok && b.lower:
			from = max(from, at)
		case ok && until == 0, ok && at < until:
			until = max(at, 1)
		}
	}
	return from, until, nil
}

func showAuditLog(e *admin.AuditEntry) (auditLog, string) {
	what, before := payload(&e.Event)
	v := auditLog{"id": e.ID, "type": e.Type, "effective_at": e.At.Seconds(), "actor": showActor(e), e.Type: what,
		"gatehouse": auditExtra{Seq: e.Seq, Actor: e.Actor.Kind, IP: e.Actor.IP, UserAgent: e.Actor.UserAgent, RequestID: e.RequestID, Before: before}}
	if e.Project != "" {
		v["project"] = map[string]string{"id": e.Project, "name": e.ProjectName}
	}
	return v, e.ID
}

// showActor returns the actor; nil for the host and for Gatehouse itself, which OpenAI's shape cannot name, and for a caller whose
// credential was refused, who may have had nothing to do with the key they named.
func showActor(e *admin.AuditEntry) *auditActor {
	if e.Actor.Kind != gatehouse.ActorKey || e.Actor.Key == "" {
		return nil
	}
	v := &auditActor{Type: "api_key", APIKey: auditAPIKey{ID: e.Actor.Key, Type: "user"}}
	switch {
	case e.Actor.ServiceAccount != "":
		v.APIKey.Type, v.APIKey.ServiceAccount = "service_account", &auditAccount{e.Actor.ServiceAccount}
	case e.Actor.User != "":
		v.APIKey.User = &auditUser{e.Actor.User, e.ActorEmail}
	}
	return v
}

// payload returns what happened: the subject's id, and what was asked for. What makes something has it in data, what changes it in
// changes_requested, everything else beside the id. before is what the changed fields were, nil where that is not known.
func payload(ev *gatehouse.Event) (v map[string]any, before any) {
	id := ev.SubjectID
	if ev.Subject == gatehouse.SubjectProjectUser {
		_, id, _ = strings.Cut(id, "/")
	}
	v = map[string]any{"id": id}
	var change map[string]any
	if len(ev.Change) == 0 || json.Unmarshal(ev.Change, &change) != nil || change == nil {
		return v, nil
	}
	before = change["before"]
	delete(change, "before")
	if ev.Subject == gatehouse.SubjectGroupUser {
		v["group_id"], v["id"], _ = strings.Cut(ev.SubjectID, "/")
	}
	if strings.HasPrefix(ev.Type, "certificates.") {
		delete(v, "id") // the certificates have theirs
	}
	flat := ev.Subject == gatehouse.SubjectCertificate || ev.Type == "role.created" || ev.Subject == gatehouse.SubjectAssignment || ev.Subject == gatehouse.SubjectGroupUser // as OpenAI has roles
	switch last := ev.Type[strings.LastIndexByte(ev.Type, '.')+1:]; {
	case !flat && (last == "created" || last == "added" || last == "sent" || last == "registered"):
		v["data"] = change
	case !flat && last == "updated":
		if asked, ok := change["changes_requested"]; ok {
			v["changes_requested"] = asked
		} else {
			v["changes_requested"] = change
		}
	default:
		for name, value := range change {
			if name != "id" {
				v[name] = value
			}
		}
	}
	return v, before
}
