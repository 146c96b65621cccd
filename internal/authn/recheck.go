package authn

import (
	"slices"

	"gatehouse"
	"gatehouse/internal/catalog"
)

// Authorize checks that an authenticated caller may use a scope, and a model when model is not empty, by its key, by its owner's roles
// and by its project, and remembers both in id for Recheck. The model is the deployment's public name. It returns a *gatehouse.Error
// that the face shows as OpenAI does: 401 for a scope, 403 for a model. It writes to id: call it before another goroutine may call
// Recheck.
func (a *Authenticator) Authorize(id *Identity, scope, model string) error {
	id.scope, id.model, id.authorized = scope, model, true
	if err := a.authorize(id, id.Project, id.Key.Policy); err != nil {
		return err
	}
	return nil
}

// authorize decides by a project and a policy, which are the caller's own or, for Recheck, those that have replaced them.
func (a *Authenticator) authorize(id *Identity, project *gatehouse.Project, p *catalog.Policy) *gatehouse.Error {
	if p != nil && !Allowed(p.Scopes, id.scope) {
		return missingScope(id.plane, id.scope)
	}
	if id.Project != nil && id.Key.OwnerUser() != "" && !a.permitted(id.Project, id.Org, id.Key, id.scope) {
		return roleLacks(id.plane, id.scope)
	}
	if id.model != "" && p != nil && len(p.Models) > 0 && !slices.Contains(p.Models, id.model) {
		return modelRefused(id.model)
	}
	if id.model != "" && project != nil && !project.Policy.Models.Allows(id.model) {
		return modelDenied(project.ID, id.model)
	}
	return nil
}

// AuthorizeAdmin checks that an authenticated caller of the administration may use a scope: by its key, and by its owner's roles in the
// organization, or, where the call is about one project, in that project. An admin key without an owner has no role to lack. It returns
// a *gatehouse.Error of kind Forbidden.
func (a *Authenticator) AuthorizeAdmin(id *Identity, scope, project string) error {
	id.scope, id.within, id.authorized = scope, project, true
	if err := a.authorizeAdmin(id, id.Key, id.Org); err != nil {
		return err
	}
	return nil
}

// authorizeAdmin decides by a key and an organization, which are the caller's own or, for Recheck, those that have replaced them.
func (a *Authenticator) authorizeAdmin(id *Identity, key *catalog.Key, org *gatehouse.Organization) *gatehouse.Error {
	scope, project := id.scope, id.within
	if p := key.Policy; p != nil && !Allowed(p.Scopes, scope) {
		return missingScope(adminPlane, scope)
	}
	owner := key.OwnerUser()
	if owner == "" {
		return nil
	}
	user := a.cfg.Catalog.User(owner)
	if user != nil && (user.Role == gatehouse.RoleOwner || gatehouse.Permitted(a.cfg.Catalog.Permissions(key.Organization, "", owner), scope)) {
		return nil
	}
	// What no role of a project may have, none has, however much it stands for.
	if p := a.cfg.Catalog.Project(project); user != nil && gatehouse.PermissionLevels(scope)&gatehouse.ProjectLevel != 0 && project != "" && p != nil && p.Organization == key.Organization && a.permitted(p, org, key, scope) {
		return nil
	}
	return roleLacks(adminPlane, scope)
}

// permitted reports whether the roles in a project of the user a key belongs to cover a scope.
func (a *Authenticator) permitted(project *gatehouse.Project, org *gatehouse.Organization, key *catalog.Key, scope string) bool {
	role := a.role(project, org, key)
	if (role == gatehouse.RoleOwner || role == gatehouse.RoleMember) && !gatehouse.Administrative(scope) {
		return true // whatever products there are
	}
	if v := gatehouse.PredefinedNamed(gatehouse.ProjectLevel, role); v != nil && gatehouse.Permitted(v.Permissions, scope) {
		return true
	}
	return gatehouse.Permitted(a.cfg.Catalog.Permissions(key.Organization, project.ID, key.Owner), scope)
}

// Recheck checks an identity once more against what is in force now: just before the first byte goes to an upstream, and for
// every open stream after a change. It repeats everything but the secret, which cannot have become wrong, and what Authorize
// granted, if it was called. It returns an error as Authenticate and Authorize do. It reads id and changes nothing, so any
// goroutine may call it; it allocates nothing when the identity stands.
func (a *Authenticator) Recheck(id *Identity) error {
	if err := a.recheck(id); err != nil {
		return err
	}
	return nil
}

func (a *Authenticator) recheck(id *Identity) *gatehouse.Error {
	if id.Key == nil {
		return keyRevoked(0)
	}
	if !a.cfg.Catalog.Fresh() {
		return stale()
	}
	key := a.cfg.Catalog.Key(id.Key.PublicID())
	// A digest under another pepper may be of the same secret; another digest under the same pepper cannot.
	if key == nil || key.Digest != id.Key.Digest && key.PepperVersion == id.Key.PepperVersion {
		return keyRevoked(id.Key.Class)
	}
	if key != id.Key && (key.Class != id.Key.Class || key.Organization != id.Key.Organization || key.Project != id.Key.Project || key.Owner != id.Key.Owner) {
		return keyRevoked(id.Key.Class)
	}
	if err := usable(key, id.plane, gatehouse.MillisOf(a.cfg.Now())); err != nil {
		return err
	}
	org := a.cfg.Catalog.Organization(key.Organization)
	if org == nil {
		return organizationGone()
	}
	var project *gatehouse.Project
	if id.Project != nil {
		if project = a.cfg.Catalog.Project(id.Project.ID); project == nil {
			return projectArchived(id.Project.ID)
		}
	}
	if err := a.stands(key, project, org); err != nil {
		return err
	}
	if key.Policy != id.Key.Policy && !addressAllowed(key.Policy, id.addr) {
		return addressRefused(id.addr)
	}
	if err := a.certified(&id.certificate, org, project); err != nil {
		return err
	}
	if !id.authorized {
		return nil
	}
	if id.plane == adminPlane {
		return a.authorizeAdmin(id, key, org)
	}
	return a.authorize(id, project, key.Policy)
}
