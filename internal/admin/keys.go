package admin

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"gatehouse"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// maxExpiry is the longest life OpenAI's API accepts for a key, in seconds: one year.
const maxExpiry = 31536000

// KeyRequest creates a key. Class decides which owner and project are needed: ClassProject a project and a user who is a member of
// it, ClassService a project and a service account of it, ClassUser a user, ClassAdmin nothing (its owner is the caller's).
type KeyRequest struct {
	Class          gatehouse.Class
	Project        string
	User           string
	ServiceAccount string
	Name           string
	Labels         map[string]string
	Scopes         []string
	Models         []string
	AllowedIPs     []string // addresses and CIDR ranges
	ExpiresIn      int64    // seconds, 1 to 31,536,000; 0: never

	resource *gatehouse.Resource // ClassAzure: whose key, and which of its two; see CreateResource and RegenerateKey
	slot     gatehouse.KeySlot
}

// NewKey is a key just created. Value is its text, which exists here and nowhere else.
type NewKey struct {
	Key   gatehouse.Key
	Value secret.Text
}

// KeyInfo is a key with its owner, as lists show it.
type KeyInfo struct {
	Key            gatehouse.Key
	User           *gatehouse.User           // the owner, when a user
	ServiceAccount *gatehouse.ServiceAccount // the owner, when a service account
	Resource       *gatehouse.Resource       // the owner, when a resource
	OwnerActive    bool                      // the owner still has access to the project
}

// CreateKey creates a key of any class but ClassAzure.
func (s *Service) CreateKey(ctx context.Context, who *gatehouse.Principal, req KeyRequest) (*NewKey, error) {
	var key *NewKey
	ev := gatehouse.Event{Type: "api_key.created", Subject: gatehouse.SubjectKey, Project: req.Project}
	_, err := s.change(ctx, who, widens, ev, func(tx *store.Tx) (err error) {
		if req.Class != gatehouse.ClassUser && req.Class != gatehouse.ClassAdmin {
			if _, err := s.activeProject(tx, who, req.Project); err != nil {
				return err
			}
		}
		if key, err = s.mint(tx, who, req); err != nil {
			return err
		}
		created := keyCreated(key.Key)
		tx.Event().SubjectID, tx.Event().Change = created.SubjectID, created.Change
		return nil
	})
	return key, err
}

func keyCreated(k gatehouse.Key) gatehouse.Event {
	return gatehouse.Event{Type: "api_key.created", Organization: k.Organization, Project: k.Project, Subject: gatehouse.SubjectKey, SubjectID: k.ID,
		Change: detail(map[string]any{"name": k.Name, "owner": k.Owner(), "scopes": nonNil(k.Scopes), "models": k.Models, "allowed_ips": k.AllowedIPs, "expires_at": k.ExpiresAt, "labels": k.Labels})}
}

// mint validates a request, creates the key and stores it in tx. The project was checked by the caller.
func (s *Service) mint(tx *store.Tx, who *gatehouse.Principal, req KeyRequest) (*NewKey, error) {
	if req.Name == "" {
		req.Name = "Secret Key"
	}
	k := gatehouse.Key{Class: req.Class, Organization: who.Organization, Name: req.Name, Labels: req.Labels, CreatedAt: tx.Now}
	if err := gatehouse.CheckName("name", req.Name); err != nil {
		return nil, err
	}
	if err := gatehouse.CheckLabels(req.Labels); err != nil {
		return nil, err
	}
	if err := s.setOwner(tx, who, &k, req); err != nil {
		return nil, err
	}
	if err := restrict(&k, req.Scopes, req.Models, req.AllowedIPs); err != nil {
		return nil, err
	}
	if err := expire(&k, req.ExpiresIn, tx.Now); err != nil {
		return nil, err
	}
	if err := s.mayGrantKey(tx, who, &k); err != nil {
		return nil, err
	}
	minted := secret.Mint(req.Class, s.cfg.Install, s.cfg.Peppers)
	k.ID, k.Redacted, k.Digest, k.PepperVersion = minted.ID, minted.Redacted, minted.Digest, minted.PepperVersion
	if err := tx.CreateKey(&k); err != nil {
		return nil, err
	}
	return &NewKey{Key: k, Value: minted.Text}, nil
}

// setOwner fills in who the key belongs to and where it acts.
func (s *Service) setOwner(tx *store.Tx, who *gatehouse.Principal, k *gatehouse.Key, req KeyRequest) error {
	switch req.Class {
	case gatehouse.ClassProject:
		if _, err := s.user(tx, who, req.User); err != nil {
			return err
		}
		in, err := inProject(tx, req.User, req.Project)
		if err != nil {
			return err
		}
		if !in {
			return gatehouse.InvalidParam("user_id", "User %s is not a member of project %s. Add the user to the project first.", req.User, req.Project)
		}
		k.Project, k.OwnerUser = req.Project, req.User
	case gatehouse.ClassService:
		if _, err := s.serviceAccount(tx, who, req.Project, req.ServiceAccount); err != nil {
			return err
		}
		k.Project, k.OwnerServiceAccount = req.Project, req.ServiceAccount
	case gatehouse.ClassUser:
		if _, err := s.user(tx, who, req.User); err != nil {
			return err
		}
		k.OwnerUser = req.User
	case gatehouse.ClassAdmin:
		owner := req.User
		if owner == "" {
			owner = who.Actor.User
		}
		if owner == "" {
			return gatehouse.InvalidParam("user_id", "An admin key needs an owner: name a user.")
		}
		u, err := s.user(tx, who, owner)
		if err != nil {
			return err
		}
		k.OwnerUser = u.ID
	case gatehouse.ClassAzure:
		if req.resource == nil {
			return gatehouse.InvalidParam("class", "The keys of a resource are not created one by one: create a resource, or regenerate one of its keys (POST /gatehouse/v1/resources).")
		}
		k.Project, k.OwnerResource, k.Slot = req.resource.Project, req.resource.ID, req.slot
	default:
		return gatehouse.InvalidParam("class", "Invalid 'class': it is none of the classes of keys.")
	}
	return nil
}

// restrict validates and sets what narrows a key.
func restrict(k *gatehouse.Key, scopes, models, ips []string) error {
	if len(scopes) > 64 || len(models) > 256 || len(ips) > 256 {
		return gatehouse.Errorf(gatehouse.Invalid, "A key may have at most 64 scopes, 256 models and 256 address ranges.")
	}
	for _, scope := range scopes {
		if scope == "" || len(scope) > 128 || strings.Trim(scope, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
			return gatehouse.InvalidParam("scopes", "Invalid 'scopes': %q is not a scope; docs/keys.md lists them.", scope)
		}
	}
	for _, model := range models {
		if err := gatehouse.CheckName("models", model); err != nil {
			return err
		}
	}
	prefixes := make([]netip.Prefix, 0, len(ips))
	for _, text := range ips {
		p, err := parsePrefix(text)
		if err != nil {
			return gatehouse.InvalidParam("allowed_ips", "Invalid 'allowed_ips': %q is neither an address nor a CIDR range such as 203.0.113.0/24.", text)
		}
		prefixes = append(prefixes, p)
	}
	k.Scopes, k.Models, k.AllowedIPs = unique(scopes), unique(models), prefixes
	return nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, err
	}
	return p.Masked(), nil
}

func unique(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func expire(k *gatehouse.Key, seconds int64, now gatehouse.Millis) error {
	if seconds == 0 {
		return nil
	}
	if seconds < 0 || seconds > maxExpiry {
		return gatehouse.InvalidParam("expires_in_seconds", "Invalid 'expires_in_seconds': must be between 1 and %d.", maxExpiry)
	}
	k.ExpiresAt = now + gatehouse.Millis(seconds*1000)
	return nil
}

// KeyUpdate changes a key; absent fields stay. Lists replace what was there.
type KeyUpdate struct {
	Name       Optional[string]
	Labels     Optional[map[string]string]
	Scopes     Optional[[]string]
	Models     Optional[[]string]
	AllowedIPs Optional[[]string]
	ExpiresIn  Optional[int64] // seconds from now
}

// UpdateKey changes a key that is neither revoked nor expired. With project not empty the key must be one of that project.
func (s *Service) UpdateKey(ctx context.Context, who *gatehouse.Principal, project, id string, req KeyUpdate) (*gatehouse.Key, Effect, error) {
	var k *gatehouse.Key
	ev := gatehouse.Event{Type: "api_key.updated", Subject: gatehouse.SubjectKey, SubjectID: id, Project: project}
	effect, err := s.change(ctx, who, narrows, ev, func(tx *store.Tx) (err error) {
		if k, err = s.key(tx, who, project, id); err != nil {
			return err
		}
		if state := k.State(tx.Now); state == gatehouse.Revoked || state == gatehouse.Expired {
			return gatehouse.Errorf(gatehouse.Invalid, "Key %s is %s and cannot be changed.", id, state)
		}
		if req.Name.Set {
			if err := gatehouse.CheckName("name", req.Name.Value); err != nil {
				return err
			}
			k.Name = req.Name.Value
		}
		if req.Labels.Set {
			if err := gatehouse.CheckLabels(req.Labels.Value); err != nil {
				return err
			}
			k.Labels = req.Labels.Value
		}
		ips := make([]string, len(k.AllowedIPs))
		for i, p := range k.AllowedIPs {
			ips[i] = p.String()
		}
		lasts, err := administers(tx, k)
		if err != nil {
			return err
		}
		if err := restrict(k, pick(req.Scopes, k.Scopes), pick(req.Models, k.Models), pick(req.AllowedIPs, ips)); err != nil {
			return err
		}
		if req.ExpiresIn.Set {
			if req.ExpiresIn.Value == 0 {
				return gatehouse.InvalidParam("expires_in_seconds", "Invalid 'expires_in_seconds': must be between 1 and %d.", maxExpiry)
			}
			if err := expire(k, req.ExpiresIn.Value, tx.Now); err != nil {
				return err
			}
		}
		if req.Scopes.Set || req.AllowedIPs.Set || req.ExpiresIn.Set {
			if err := s.mayGrantKey(tx, who, k); err != nil {
				return err
			}
			if lasts && len(k.Scopes) > 0 {
				if err := s.keepAdminKeys(tx, who.Organization, store.KeyFilter{}); err != nil {
					return err
				}
			}
		}
		tx.Event().Project = k.Project
		tx.Event().Change = detail(map[string]any{"name": k.Name, "scopes": nonNil(k.Scopes), "models": k.Models, "allowed_ips": k.AllowedIPs, "expires_at": k.ExpiresAt, "labels": k.Labels})
		return tx.SaveKey(k)
	})
	return k, effect, err
}

func pick[T any](o Optional[T], present T) T {
	if o.Set {
		return o.Value
	}
	return present
}

// RevokeKey ends a key for good. When it returns with Effect.Everywhere, no node accepts the key any more. Revoking a revoked key
// changes nothing. The last usable admin key cannot be revoked. With project not empty the key must be one of that project.
func (s *Service) RevokeKey(ctx context.Context, who *gatehouse.Principal, project, id string, class gatehouse.Class) (Effect, error) {
	ev := gatehouse.Event{Type: "api_key.deleted", Subject: gatehouse.SubjectKey, SubjectID: id, Project: project}
	return s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		k, err := s.key(tx, who, project, id)
		if err != nil {
			return err
		}
		if k.RevokedAt != 0 || class != 0 && k.Class != class {
			return notFound("API key", id)
		}
		if err := s.spareAdminKey(tx, k); err != nil {
			return err
		}
		k.RevokedAt = tx.Now
		tx.Event().Project = k.Project
		return tx.SaveKey(k)
	})
}

// SuspendKey stops a key until ResumeKey; its caller may rely on it like on a revocation.
func (s *Service) SuspendKey(ctx context.Context, who *gatehouse.Principal, id string) (*gatehouse.Key, Effect, error) {
	return s.setSuspended(ctx, who, id, narrows, "api_key.suspended", func(tx *store.Tx, k *gatehouse.Key) error {
		if err := s.spareAdminKey(tx, k); err != nil {
			return err
		}
		k.SuspendedAt = tx.Now
		return nil
	})
}

// ResumeKey makes a suspended key usable again.
func (s *Service) ResumeKey(ctx context.Context, who *gatehouse.Principal, id string) (*gatehouse.Key, Effect, error) {
	return s.setSuspended(ctx, who, id, widens, "api_key.resumed", func(_ *store.Tx, k *gatehouse.Key) error {
		if !s.cfg.Peppers.Has(k.PepperVersion) {
			return gatehouse.Errorf(gatehouse.Conflict, "Key %s cannot be resumed: the version of the pepper it was made under (%d) is retired. Create another key.", id, k.PepperVersion)
		}
		k.SuspendedAt = 0
		return nil
	})
}

func (s *Service) setSuspended(ctx context.Context, who *gatehouse.Principal, id string, r reach, event string, set func(*store.Tx, *gatehouse.Key) error) (*gatehouse.Key, Effect, error) {
	var k *gatehouse.Key
	ev := gatehouse.Event{Type: event, Subject: gatehouse.SubjectKey, SubjectID: id}
	effect, err := s.change(ctx, who, r, ev, func(tx *store.Tx) (err error) {
		if k, err = s.key(tx, who, "", id); err != nil {
			return err
		}
		if k.RevokedAt != 0 {
			return &gatehouse.Error{Kind: gatehouse.Conflict, Code: "key_revoked", Message: "Key " + id + " is revoked, which is final."}
		}
		if err := set(tx, k); err != nil {
			return err
		}
		tx.Event().Project = k.Project
		return tx.SaveKey(k)
	})
	return k, effect, err
}

// Key returns a key. With project not empty it must be one of that project.
func (s *Service) Key(ctx context.Context, who *gatehouse.Principal, project, id string) (info *KeyInfo, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		k, err := s.key(tx, who, project, id)
		if err != nil {
			return err
		}
		info, err = describe(tx, k)
		return err
	})
	return info, err
}

// Keys lists keys of the organization that match the filter.
func (s *Service) Keys(ctx context.Context, who *gatehouse.Principal, filter store.KeyFilter, page store.Page) (list []KeyInfo, more bool, err error) {
	filter.Organization = who.Organization
	err = s.view(ctx, who, func(tx *store.Tx) error {
		if filter.Project != "" {
			if _, err := s.project(tx, who, filter.Project); err != nil {
				return err
			}
		}
		keys, m, err := tx.Keys(filter, page)
		if err != nil {
			return err
		}
		more = m
		for i := range keys {
			info, err := describe(tx, &keys[i])
			if err != nil {
				return err
			}
			list = append(list, *info)
		}
		return nil
	})
	return list, more, err
}

// describe adds the owner to a key.
func describe(tx *store.Tx, k *gatehouse.Key) (*KeyInfo, error) {
	info := &KeyInfo{Key: *k}
	var err error
	if k.OwnerServiceAccount != "" {
		if info.ServiceAccount, err = tx.ServiceAccount(k.OwnerServiceAccount); err != nil {
			return nil, err
		}
		info.OwnerActive = info.ServiceAccount.RemovedAt == 0
		return info, nil
	}
	if k.OwnerResource != "" {
		if info.Resource, err = tx.Resource(k.OwnerResource); err != nil {
			return nil, err
		}
		info.OwnerActive = info.Resource.RemovedAt == 0
		return info, nil
	}
	if info.User, err = tx.User(k.OwnerUser); err != nil {
		return nil, err
	}
	info.OwnerActive = info.User.RemovedAt == 0
	if info.OwnerActive && k.Project != "" {
		if info.OwnerActive, err = inProject(tx, k.OwnerUser, k.Project); err != nil {
			return nil, err
		}
	}
	return info, nil
}

func (s *Service) key(tx *store.Tx, who *gatehouse.Principal, project, id string) (*gatehouse.Key, error) {
	k, err := tx.Key(id)
	if err != nil {
		return nil, hide(err, "API key", id)
	}
	if k.Organization != who.Organization || project != "" && k.Project != project {
		return nil, notFound("API key", id)
	}
	return k, nil
}

// spareAdminKey refuses to take the last admin key that can do everything.
func (s *Service) spareAdminKey(tx *store.Tx, k *gatehouse.Key) error {
	one, err := administers(tx, k)
	if err != nil || !one {
		return err
	}
	return s.keepAdminKeys(tx, k.Organization, store.KeyFilter{})
}

// keepAdminKeys refuses a change after which no usable admin key would be left, when the ones that lose stands for the keys the
// change takes away (one key when the filter is empty).
func (s *Service) keepAdminKeys(tx *store.Tx, organization string, loses store.KeyFilter) error {
	left, err := tx.CountActiveAdminKeys(organization)
	if err != nil {
		return err
	}
	lost := int64(1)
	if loses.Organization != "" {
		lost = 0
		if err := eachKey(tx, loses, func(k *gatehouse.Key) error {
			one, err := administers(tx, k)
			if one {
				lost++
			}
			return err
		}); err != nil {
			return err
		}
	}
	if lost > 0 && left-lost < 1 {
		return &gatehouse.Error{Kind: gatehouse.Conflict, Code: "last_admin_key", Message: "This would leave the organization without an admin key that can do everything. Create another one first, for an owner and without scopes."}
	}
	return nil
}

// revokeOwned revokes every key that matches, each with its own event, in the transaction that took its owner away.
func (s *Service) revokeOwned(tx *store.Tx, who *gatehouse.Principal, filter store.KeyFilter) error {
	return eachKey(tx, filter, func(k *gatehouse.Key) error { return revokeOne(tx, who, k, "owner removed") })
}

// revokeOne revokes a key with its own event, as a part of a larger change.
func revokeOne(tx *store.Tx, who *gatehouse.Principal, k *gatehouse.Key, reason string) error {
	k.RevokedAt = tx.Now
	if err := tx.SaveKey(k); err != nil {
		return err
	}
	tx.Emit(gatehouse.Event{Type: "api_key.deleted", Organization: k.Organization, Project: k.Project, Actor: who.Actor, RequestID: who.RequestID,
		Subject: gatehouse.SubjectKey, SubjectID: k.ID, Change: detail(map[string]any{"reason": reason})})
	return nil
}

// eachKey calls fn for every key that matches and is not revoked.
func eachKey(tx *store.Tx, filter store.KeyFilter, fn func(*gatehouse.Key) error) error {
	page := store.Page{Limit: 100}
	for {
		keys, more, err := tx.Keys(filter, page)
		if err != nil {
			return err
		}
		for i := range keys {
			page.After = keys[i].ID
			if err := fn(&keys[i]); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
}

// KeysByAccess lists like Keys, only those whose owner has ("active") or no longer has ("inactive") access to the project; any other
// value lists all. It reads on until the page is full, so that a page is short only at the end.
func (s *Service) KeysByAccess(ctx context.Context, who *gatehouse.Principal, filter store.KeyFilter, page store.Page, access string) ([]KeyInfo, bool, error) {
	if access != "active" && access != "inactive" {
		return s.Keys(ctx, who, filter, page)
	}
	var out []KeyInfo
	for {
		list, more, err := s.Keys(ctx, who, filter, page)
		if err != nil {
			return nil, false, err
		}
		for i := range list {
			page.After = list[i].Key.ID
			if list[i].OwnerActive != (access == "active") {
				continue
			}
			if len(out) == page.Limit {
				return out, true, nil
			}
			out = append(out, list[i])
		}
		if !more {
			return out, false, nil
		}
	}
}
