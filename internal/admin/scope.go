package admin

import (
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/store"
)

// scopeSubject returns whom a scope and a name of it mean, as limits and budgets keep it: the organization's own id (the name may be
// empty), a project by id or name, a user by id or address, a group by id or name, a service account by id or PROJECT/NAME, a key by id, a label as NAME=VALUE.
// project is the one it belongs to, "" where that is none in particular.
func (s *Service) scopeSubject(tx *store.Tx, who *gatehouse.Principal, scope gatehouse.Scope, name string) (subject, project string, err error) {
	if name == "" && slices.Contains([]gatehouse.Scope{gatehouse.ScopeProject, gatehouse.ScopeUser, gatehouse.ScopeGroup, gatehouse.ScopeServiceAccount, gatehouse.ScopeKey, gatehouse.ScopeLabel}, scope) {
		return "", "", gatehouse.InvalidParam("subject", "Invalid 'subject': say which %s is meant.", scope)
	}
	switch scope {
	case gatehouse.ScopeOrganization:
		if name != "" && name != who.Organization {
			return "", "", notFound("organization", clipped(name))
		}
		return who.Organization, "", nil
	case gatehouse.ScopeProject:
		ids, err := s.projectIDs(tx, who, []string{name})
		if err != nil {
			return "", "", err
		}
		return ids[0], ids[0], nil
	case gatehouse.ScopeUser:
		id, err := s.userID(tx, who, name)
		return id, "", err
	case gatehouse.ScopeGroup:
		g, err := s.groupNamed(tx, who, name)
		if err != nil {
			return "", "", err
		}
		return g.ID, "", nil
	case gatehouse.ScopeServiceAccount:
		a, err := s.namedAccount(tx, who, name)
		if err != nil {
			return "", "", err
		}
		return a.ID, a.Project, nil
	case gatehouse.ScopeKey:
		k, err := tx.Key(name)
		if err != nil || k.Organization != who.Organization {
			return "", "", hide(orNotFound(err), "key", clipped(name))
		}
		if k.RevokedAt != 0 {
			return "", "", &gatehouse.Error{Kind: gatehouse.Conflict, Code: "key_revoked", Message: "Key " + name + " is revoked, which is final."}
		}
		return k.ID, k.Project, nil
	case gatehouse.ScopeLabel:
		label, value, ok := gatehouse.CutLabelSubject(name)
		if !ok || value == "" {
			return "", "", gatehouse.InvalidParam("subject", "Invalid 'subject': a label is meant as NAME=VALUE, e.g. team=search.")
		}
		return name, "", gatehouse.CheckLabels(map[string]string{label: value})
	}
	return "", "", gatehouse.InvalidParam("scope", "Invalid 'scope': must be organization, project, user, group, service_account, key or label.")
}

// orNotFound stands in for an error that a foreign row did not give.
func orNotFound(err error) error {
	if err == nil {
		return notFound("thing", "")
	}
	return err
}

// userID finds a user who was not removed by id or address.
func (s *Service) userID(tx *store.Tx, who *gatehouse.Principal, name string) (string, error) {
	if !strings.Contains(name, "@") {
		u, err := s.user(tx, who, name)
		if err != nil {
			return "", err
		}
		return u.ID, nil
	}
	list, _, err := tx.UsersByEmail(who.Organization, []string{name}, store.Page{Limit: 1})
	if err != nil {
		return "", err
	}
	if len(list) == 0 {
		return "", notFound("user", clipped(name))
	}
	return list[0].ID, nil
}

// namedAccount finds a service account that was not removed by id, or by its project's name or id, a slash and its own name.
func (s *Service) namedAccount(tx *store.Tx, who *gatehouse.Principal, name string) (*gatehouse.ServiceAccount, error) {
	slash := strings.LastIndexByte(name, '/')
	if slash < 0 {
		a, err := tx.ServiceAccount(name)
		if err != nil || a.Organization != who.Organization || a.RemovedAt != 0 {
			return nil, hide(orNotFound(err), "service account", clipped(name))
		}
		return a, nil
	}
	ids, err := s.projectIDs(tx, who, []string{name[:slash]})
	if err != nil {
		return nil, err
	}
	for page := (store.Page{Limit: 100}); ; {
		list, more, err := tx.ServiceAccounts(ids[0], page)
		if err != nil {
			return nil, err
		}
		for i := range list {
			if list[i].Name == name[slash+1:] {
				return &list[i], nil
			}
			page.After = list[i].ID
		}
		if !more {
			return nil, notFound("service account", clipped(name))
		}
	}
}
