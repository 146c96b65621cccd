package admin

import (
	"maps"
	"slices"

	"gatehouse"
	"gatehouse/internal/store"
)

// noteServed adds to every upstream of an organization which projects its account can serve now (gatehouse.Upstream.Served). Each
// change that may widen that ends with it, in its own transaction: what a project made through an account stays there, whoever has
// the account to itself later.
func (s *Service) noteServed(tx *store.Tx, organization string) error {
	ups, err := tx.Upstreams(organization)
	if err != nil {
		return err
	}
	deps, err := tx.Deployments(organization)
	if err != nil {
		return err
	}
	// Archived ones too: what they made is still there. Two are many.
	everybody, _, err := tx.Projects(organization, true, store.Page{Limit: 2})
	if err != nil {
		return err
	}
	for i := range ups {
		up := &ups[i]
		if up.Dialect == gatehouse.Mock {
			continue
		}
		account := up.Account()
		before := up.Served[account]
		now := before
		sent, err := tx.SentTo(up.ID)
		if err != nil {
			return err
		}
		for _, project := range servedNow(up, deps, everybody, sent) {
			now = alsoServed(now, project)
		}
		if now == before {
			continue
		}
		if up.Served = maps.Clone(up.Served); up.Served == nil {
			up.Served = map[string]string{}
		}
		up.Served[account] = now
		if err := tx.SaveUpstream(up); err != nil {
			return err
		}
		tx.Emit(gatehouse.Event{Type: "upstream.served", Organization: organization, Subject: gatehouse.SubjectUpstream, SubjectID: up.ID,
			Change: detail(map[string]any{"served": now})})
	}
	return nil
}

// servedNow returns the projects that an upstream serves: those it is for, else those that deployments bring to it and those that
// send it their calls without a model. Of many projects everybody and sent hold two.
func servedNow(up *gatehouse.Upstream, deps []gatehouse.Deployment, everybody, sent []gatehouse.Project) (projects []string) {
	if len(up.Projects) > 0 {
		return up.Projects
	}
	for i := range sent {
		projects = append(projects, sent[i].ID)
	}
	for i := range deps {
		d := &deps[i]
		if !slices.ContainsFunc(d.Routes, func(r gatehouse.Route) bool { return r.Upstream == up.ID }) {
			continue
		}
		projects = append(projects, d.Projects...)
		if len(d.Projects) == 0 {
			for j := range everybody {
				projects = append(projects, everybody[j].ID)
			}
		}
	}
	return projects
}

// alsoServed adds a project to who was served.
func alsoServed(who, project string) string {
	if who == "" || who == project {
		return project
	}
	return gatehouse.ServedMany
}
