package admin

import (
	"net/mail"
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/store"
)

// ManifestUser declares a user, by address. A user is added and never removed; the name is given where the user is added.
type ManifestUser struct {
	Email string    `yaml:"email"`
	Name  string    `yaml:"name"`  // absent: the first part of the address
	Role  string    `yaml:"role"`  // owner or reader; absent: as it is, reader for who is added
	Roles *[]string `yaml:"roles"` // custom roles of the organization, all of the user's own; absent: as they are
}

// ManifestGroup declares a group. Who is in it and what it may do is as the manifest says where it says it.
type ManifestGroup struct {
	Name  string    `yaml:"name"`
	Users *[]string `yaml:"users"` // by address or id, all of them; absent: as they are
	Roles *[]string `yaml:"roles"` // roles of the organization, all of the group's; absent: as they are
}

// ManifestRole declares a custom role, of the organization or of the project it stands in.
type ManifestRole struct {
	Name        string   `yaml:"name"`
	Description string   `yaml:"description"`
	Permissions []string `yaml:"permissions"`
}

// ManifestMember declares a member of a project. Members that a manifest does not name stay.
type ManifestMember struct {
	User  string    `yaml:"user"`  // by address or id
	Role  string    `yaml:"role"`  // owner, member or viewer; absent: as it is, member for who is added
	Roles *[]string `yaml:"roles"` // custom roles of the project, all of the user's own; absent: as they are
}

// ManifestProjectGroup declares which roles a group has in a project, all of them.
type ManifestProjectGroup struct {
	Group string   `yaml:"group"` // by name or id
	Roles []string `yaml:"roles"`
}

// ManifestCertificate declares a certificate by which clients are known. It is the same where its content is.
type ManifestCertificate struct {
	Name        string `yaml:"name"`
	Certificate string `yaml:"certificate"` // PEM
}

// ManifestTiers declares the service tiers of a project.
type ManifestTiers struct {
	Default string    `yaml:"default"` // standard, fast or scale; absent: what the upstream gives
	Enabled *[]string `yaml:"enabled"` // flex, fast, ultrafast: those that may be asked for; absent: every tier
}

// tell adds to the plan, and to the audit log, what was done to a subject.
func (a *application) tell(action, kind, name string, changes []string, ev gatehouse.Event) {
	a.note(&outcome{action: action, kind: kind, name: name, changes: changes, event: &ev})
}

// once returns a function that refuses a name it has seen.
func once(param, what string) func(name string) error {
	seen := map[string]bool{}
	return func(name string) error {
		if seen[name] {
			return gatehouse.InvalidParam(param, "The manifest declares %s %q twice.", what, name)
		}
		seen[name] = true
		return nil
	}
}

// roles creates and changes the custom roles of a project, or where it is empty of the organization.
func (a *application) roles(project string, want []ManifestRole) error {
	first := once("roles", "role")
	for i := range want {
		w := &want[i]
		if err := first(w.Name); err != nil {
			return err
		}
		list, err := checkPermissions(project, w.Permissions)
		if err != nil {
			return about("Role", w.Name, err)
		}
		ev := gatehouse.Event{Type: "role.created", Project: project, Subject: gatehouse.SubjectRole}
		v, err := a.tx.RoleNamed(a.who.Organization, project, w.Name)
		switch {
		case gatehouse.KindOf(err) == gatehouse.NotFound:
			v = &gatehouse.AccessRole{ID: gatehouse.NewID(gatehouse.PrefixRole), Organization: a.who.Organization, Project: project, Name: w.Name, Description: w.Description, Permissions: list, CreatedAt: a.tx.Now}
			if err := a.mayBe(v, list); err != nil {
				return about("Role", w.Name, err)
			}
			if err := a.tx.CreateRole(v); err != nil {
				return err
			}
			ev.SubjectID, ev.Change = v.ID, detail(map[string]any{"role_name": v.Name, "permissions": list, "resource_type": placeLevel(project).ResourceType(), "resource_id": placeID(a.who, project)})
			a.tell("create", "role", w.Name, nil, ev)
			continue
		case err != nil:
			return err
		}
		var changes []string
		plus, minus := difference(v.Permissions, list)
		if len(plus)+len(minus) > 0 {
			changes = append(changes, "permissions")
		}
		if w.Description != v.Description {
			changes = append(changes, "description")
		}
		if len(changes) == 0 {
			continue
		}
		before := map[string]any{"permissions": v.Permissions, "description": v.Description}
		v.Permissions, v.Description = list, w.Description
		if err := a.mayBe(v, plus); err != nil {
			return about("Role", w.Name, err)
		}
		if err := a.tx.SaveRole(v); err != nil {
			return err
		}
		ev.Type, ev.SubjectID = "role.updated", v.ID
		ev.Change = detail(map[string]any{"description": v.Description, "permissions_added": plus, "permissions_removed": minus, "before": before,
			"resource_type": placeLevel(project).ResourceType(), "resource_id": placeID(a.who, project)})
		a.tell("update", "role", w.Name, changes, ev)
	}
	return nil
}

// mayBe checks a role's texts, and that whoever applies the manifest has what it permits anew.
func (a *application) mayBe(v *gatehouse.AccessRole, permissions []string) error {
	if err := a.s.checkRoleTexts(a.tx, v); err != nil {
		return err
	}
	return a.s.mayGrant(a.tx, a.who, v.Project, permissions)
}

// userNamed finds a user by address or id.
func (a *application) userNamed(name string) (*gatehouse.User, error) {
	id, err := a.s.userID(a.tx, a.who, name)
	if err != nil {
		return nil, err
	}
	return a.tx.User(id)
}

// users adds users and changes their own role in the organization.
func (a *application) users(want []ManifestUser) error {
	first := once("users", "user")
	for i := range want {
		w := &want[i]
		if err := first(strings.ToLower(w.Email)); err != nil {
			return err
		}
		if _, err := mail.ParseAddress(w.Email); err != nil {
			return gatehouse.InvalidParam("users", "A user of the manifest is known by an e-mail address, and %q is none.", clipped(w.Email))
		}
		role := gatehouse.Role(w.Role)
		if role != "" {
			if err := checkRole(role, gatehouse.RoleOwner, gatehouse.RoleReader); err != nil {
				return about("User", w.Email, err)
			}
		}
		u, err := a.userNamed(w.Email)
		if err != nil && gatehouse.KindOf(err) != gatehouse.NotFound {
			return err
		}
		if err == nil {
			if err := a.userRole(u, role); err != nil {
				return about("User", w.Email, err)
			}
			continue
		}
		if role == "" {
			role = gatehouse.RoleReader
		}
		if err := a.s.mayGrantRole(a.tx, a.who, "", role); err != nil {
			return about("User", w.Email, err)
		}
		u = &gatehouse.User{ID: gatehouse.NewID(gatehouse.PrefixUser), Organization: a.who.Organization, Name: w.Name, Email: w.Email, Role: role, CreatedAt: a.tx.Now}
		if u.Name == "" {
			u.Name, _, _ = strings.Cut(w.Email, "@")
		}
		if err := gatehouse.CheckName("name", u.Name); err != nil {
			return about("User", w.Email, err)
		}
		if err := a.tx.CreateUser(u); err != nil {
			return err
		}
		a.tell("create", "user", w.Email, nil, gatehouse.Event{Type: "user.added", Subject: gatehouse.SubjectUser, SubjectID: u.ID, Change: detail(map[string]any{"role": role, "name": u.Name})})
	}
	return nil
}

// userRole gives a user another role of their own.
func (a *application) userRole(u *gatehouse.User, role gatehouse.Role) error {
	if role == "" || role == u.Role {
		return nil
	}
	if role != gatehouse.RoleOwner {
		if err := keepOwner(a.tx, u); err != nil {
			return err
		}
		if err := a.s.keepAdminKeys(a.tx, a.who.Organization, store.KeyFilter{Organization: a.who.Organization, OwnerUser: u.ID, Class: gatehouse.ClassAdmin}); err != nil {
			return err
		}
	}
	if err := a.s.mayGrantRole(a.tx, a.who, "", role); err != nil {
		return err
	}
	change := detail(map[string]any{"role": role, "before": map[string]any{"role": u.Role}})
	u.Role = role
	if err := a.tx.SaveUser(u); err != nil {
		return err
	}
	a.tell("update", "user", u.Email, []string{"role"}, gatehouse.Event{Type: "user.updated", Subject: gatehouse.SubjectUser, SubjectID: u.ID, Change: change})
	return nil
}

// groups creates groups and says who is in them.
func (a *application) groups(want []ManifestGroup) error {
	first := once("groups", "group")
	for i := range want {
		w := &want[i]
		if err := first(w.Name); err != nil {
			return err
		}
		g, err := a.tx.GroupNamed(a.who.Organization, w.Name)
		switch {
		case gatehouse.KindOf(err) == gatehouse.NotFound:
			g = &gatehouse.Group{ID: gatehouse.NewID(gatehouse.PrefixGroup), Organization: a.who.Organization, Name: w.Name, CreatedAt: a.tx.Now}
			if err := checkGroupName(a.tx, g); err != nil {
				return about("Group", w.Name, err)
			}
			if err := a.tx.CreateGroup(g); err != nil {
				return err
			}
			a.tell("create", "group", w.Name, nil, gatehouse.Event{Type: "group.created", Subject: gatehouse.SubjectGroup, SubjectID: g.ID, Change: detail(map[string]any{"group_name": g.Name})})
		case err != nil:
			return err
		}
		if w.Users != nil {
			if err := a.groupUsers(g, *w.Users); err != nil {
				return about("Group", w.Name, err)
			}
		}
	}
	return nil
}

// groupUsers makes the users of a group those that are wanted.
func (a *application) groupUsers(g *gatehouse.Group, want []string) error {
	var ids []string
	for _, name := range want {
		u, err := a.userNamed(name)
		if err != nil {
			return err
		}
		ids = append(ids, u.ID)
	}
	ev := func(kind, user string) gatehouse.Event {
		return gatehouse.Event{Type: "group.user." + kind, Subject: gatehouse.SubjectGroupUser, SubjectID: g.ID + "/" + user, Change: detail(map[string]any{"group_id": g.ID})}
	}
	have, err := everyPage(func(p store.Page) ([]gatehouse.GroupUser, bool, error) { return a.tx.GroupUsers(g.ID, p) }, func(m *gatehouse.GroupUser) string { return m.User })
	if err != nil {
		return err
	}
	for i := range have {
		m := &have[i]
		if slices.Contains(ids, m.User) {
			continue
		}
		m.RemovedAt = a.tx.Now
		if err := a.tx.SaveGroupUser(m); err != nil {
			return err
		}
		a.tell("delete", "group_user", g.Name+"/"+m.User, nil, ev("removed", m.User))
	}
	for i, id := range ids {
		if slices.ContainsFunc(have, func(m gatehouse.GroupUser) bool { return m.User == id }) || slices.Contains(ids[:i], id) {
			continue
		}
		if _, err := a.s.joinGroup(a.tx, a.who, g.ID, id); err != nil {
			return err
		}
		a.tell("create", "group_user", g.Name+"/"+want[i], nil, ev("added", id))
	}
	return nil
}

// members adds members to a project and changes their role.
func (a *application) members(project string, want []ManifestMember) error {
	first := once("members", "member")
	for i := range want {
		w := &want[i]
		if err := first(strings.ToLower(w.User)); err != nil {
			return err
		}
		u, err := a.userNamed(w.User)
		if err != nil {
			return about("Member", w.User, err)
		}
		role := gatehouse.Role(w.Role)
		if role != "" {
			if err := checkMemberRole(role); err != nil {
				return about("Member", w.User, err)
			}
		}
		row, err := a.tx.ProjectUser(project, u.ID)
		if err != nil && gatehouse.KindOf(err) != gatehouse.NotFound {
			return err
		}
		ev := gatehouse.Event{Type: "user.added", Project: project, Subject: gatehouse.SubjectProjectUser, SubjectID: project + "/" + u.ID}
		switch {
		case err == nil && row.RemovedAt == 0 && (role == "" || role == row.Role):
			continue
		case role == "":
			role = gatehouse.RoleMember
		}
		if err := a.s.mayGrantRole(a.tx, a.who, project, role); err != nil {
			return about("Member", w.User, err)
		}
		if err == nil && row.RemovedAt == 0 {
			ev.Type, ev.Change = "user.updated", detail(map[string]any{"role": role, "before": map[string]any{"role": row.Role}})
			row.Role = role
			if err := a.tx.SaveProjectUser(row); err != nil {
				return err
			}
			a.tell("update", "member", w.User, []string{"role"}, ev)
			continue
		}
		ev.Change = detail(map[string]any{"role": role})
		if err != nil {
			err = a.tx.CreateProjectUser(&gatehouse.ProjectUser{Project: project, User: u.ID, Role: role, AddedAt: a.tx.Now})
		} else {
			row.AddedAt, row.RemovedAt, row.Role = a.tx.Now, 0, role
			err = a.tx.SaveProjectUser(row)
		}
		if err != nil {
			return err
		}
		a.tell("create", "member", w.User, nil, ev)
	}
	return nil
}

// assignments makes the roles that are assigned to a user or a group, one of which is set, in a place those that are wanted.
func (a *application) assignments(project, user, group, name string, want []string) error {
	have, err := a.tx.Assignments(a.who.Organization, store.AssignmentFilter{Principal: user + group, Project: project})
	if err != nil {
		return err
	}
	var ids []string
	for _, role := range want {
		id, err := a.s.roleID(a.tx, a.who, project, role)
		if err != nil {
			return about("Roles of", name, err)
		}
		if user != "" && gatehouse.PredefinedRole(placeLevel(project), id) != nil {
			return gatehouse.InvalidParam("roles", "The roles of %q: %s is predefined; a user has it as 'role'.", clipped(name), clipped(role))
		}
		ids = append(ids, id)
	}
	for i := range have {
		as := &have[i]
		if slices.Contains(ids, as.Role) {
			continue
		}
		as.RemovedAt = a.tx.Now
		if err := a.tx.SaveAssignment(as); err != nil {
			return err
		}
		a.tell("delete", "role_assignment", name, []string{as.Role}, gatehouse.Event{Type: "role.assignment.deleted", Project: project, Subject: gatehouse.SubjectAssignment, SubjectID: as.ID, Change: assignmentDetail(a.who, as)})
	}
	for i, id := range ids {
		if slices.ContainsFunc(have, func(as gatehouse.RoleAssignment) bool { return as.Role == id }) || slices.Contains(ids[:i], id) {
			continue
		}
		v, err := a.s.role(a.tx, a.who, project, id)
		if err != nil {
			return err
		}
		if err := a.s.mayGrant(a.tx, a.who, project, v.Permissions); err != nil {
			return about("Roles of", name, err)
		}
		as := &gatehouse.RoleAssignment{ID: gatehouse.NewID(gatehouse.PrefixAssignment), Organization: a.who.Organization, Project: project, Role: id, User: user, Group: group, By: a.who.Actor.User, CreatedAt: a.tx.Now}
		if err := a.tx.CreateAssignment(as); err != nil {
			return err
		}
		a.tell("create", "role_assignment", name, []string{want[i]}, gatehouse.Event{Type: "role.assignment.created", Project: project, Subject: gatehouse.SubjectAssignment, SubjectID: as.ID, Change: assignmentDetail(a.who, as)})
	}
	return nil
}

// assign gives users and groups their roles in the organization, and in projects, once all of them are there.
func (a *application) assign(m *Manifest, projects []string) error {
	for i := range m.Users {
		if w := &m.Users[i]; w.Roles != nil {
			u, err := a.userNamed(w.Email)
			if err != nil {
				return err
			}
			if err := a.assignments("", u.ID, "", w.Email, *w.Roles); err != nil {
				return err
			}
		}
	}
	for i := range m.Groups {
		if w := &m.Groups[i]; w.Roles != nil {
			g, err := a.s.groupNamed(a.tx, a.who, w.Name)
			if err != nil {
				return err
			}
			if err := a.assignments("", "", g.ID, w.Name, *w.Roles); err != nil {
				return err
			}
		}
	}
	for i, project := range projects {
		p := &m.Projects[i]
		for j := range p.Members {
			if w := &p.Members[j]; w.Roles != nil {
				u, err := a.userNamed(w.User)
				if err != nil {
					return err
				}
				if err := a.assignments(project, u.ID, "", w.User, *w.Roles); err != nil {
					return err
				}
			}
		}
		for j := range p.Groups {
			g, err := a.s.groupNamed(a.tx, a.who, p.Groups[j].Group)
			if err != nil {
				return err
			}
			if err := a.assignments(project, "", g.ID, p.Groups[j].Group, p.Groups[j].Roles); err != nil {
				return err
			}
		}
	}
	return nil
}

// certificates stores certificates that are not there yet, and names them.
func (a *application) certificates(want []ManifestCertificate) error {
	first := once("certificates", "certificate")
	for i := range want {
		w := &want[i]
		made := &gatehouse.Certificate{ID: gatehouse.NewID(gatehouse.PrefixCertificate), Organization: a.who.Organization, Name: w.Name, CreatedAt: a.tx.Now}
		if err := gatehouse.CheckName("name", w.Name); err != nil {
			return about("Certificate", w.Name, err)
		}
		if err := first(w.Name); err != nil {
			return err
		}
		have, err := a.parsed(w, made)
		if err != nil {
			return about("Certificate", w.Name, err)
		}
		switch {
		case have == nil:
			if err := a.tx.CreateCertificate(made); err != nil {
				return err
			}
			a.tell("create", "certificate", w.Name, nil, gatehouse.Event{Type: "certificate.created", Subject: gatehouse.SubjectCertificate, SubjectID: made.ID, Change: detail(map[string]any{"name": w.Name})})
		case have.Name != w.Name:
			change := detail(map[string]any{"name": w.Name, "before": map[string]any{"name": have.Name}})
			have.Name = w.Name
			if err := a.tx.SaveCertificate(have); err != nil {
				return err
			}
			a.tell("update", "certificate", w.Name, []string{"name"}, gatehouse.Event{Type: "certificate.updated", Subject: gatehouse.SubjectCertificate, SubjectID: have.ID, Change: change})
		}
	}
	return nil
}

// parsed reads a declared certificate into made, and returns the one that is there already, nil where there is none. One that is there may
// have expired since.
func (a *application) parsed(w *ManifestCertificate, made *gatehouse.Certificate) (*gatehouse.Certificate, error) {
	_, err := gatehouse.ParseCertificate(w.Certificate, a.s.cfg.Now(), made)
	if fingerprint := gatehouse.CertificateFingerprint(w.Certificate); fingerprint != "" {
		have, findErr := a.tx.CertificateOf(a.who.Organization, fingerprint)
		if findErr == nil {
			return have, nil
		}
		if gatehouse.KindOf(findErr) != gatehouse.NotFound {
			return nil, findErr
		}
	}
	return nil, err
}

// activeCertificates makes the certificates in force in a project, or where it is empty in the organization, those that are wanted, by name,
// id or fingerprint.
func (a *application) activeCertificates(project, place string, want []string) error {
	all, err := everyPage(func(p store.Page) ([]gatehouse.Certificate, bool, error) {
		return a.tx.Certificates(a.who.Organization, p)
	}, func(c *gatehouse.Certificate) string { return c.ID })
	if err != nil {
		return err
	}
	var on []CertificateUse
	for _, name := range want {
		i := slices.IndexFunc(all, func(c gatehouse.Certificate) bool { return c.ID == name || c.Name == name || c.Fingerprint == name })
		if i < 0 {
			return about("Certificates of", place, notFound("certificate", clipped(name)))
		}
		on = append(on, CertificateUse{all[i], true})
	}
	active, err := a.s.activeCertificates(a.tx, a.who, project)
	if err != nil {
		return err
	}
	var off []CertificateUse
	for _, id := range active {
		if !slices.ContainsFunc(on, func(c CertificateUse) bool { return c.ID == id }) {
			c, err := a.tx.Certificate(id)
			if err != nil {
				return err
			}
			off = append(off, CertificateUse{Certificate: *c})
		}
	}
	for _, toggle := range []struct {
		list     []CertificateUse
		activate bool
		kind     string
	}{{on, true, "certificates.activated"}, {off, false, "certificates.deactivated"}} {
		changed, err := a.s.setActive(a.tx, a.who, project, toggle.list, toggle.activate)
		if err != nil {
			return err
		}
		if changed == nil {
			continue
		}
		ev := gatehouse.Event{Type: toggle.kind, Project: project, Subject: gatehouse.SubjectOrganization, SubjectID: a.who.Organization, Change: changed}
		if project != "" {
			ev.Subject, ev.SubjectID = gatehouse.SubjectProject, project
		}
		kind := "project"
		if project == "" {
			kind = "organization"
		}
		a.tell("update", kind, place, []string{"certificates"}, ev)
	}
	return nil
}

// everyPage returns all of a list.
func everyPage[E any](get func(store.Page) ([]E, bool, error), id func(*E) string) (all []E, err error) {
	page := store.Page{Limit: 100}
	for {
		list, more, err := get(page)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
		if !more {
			return all, nil
		}
		page.After = id(&list[len(list)-1])
	}
}
