package admin

import (
	"context"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/store"
)

// ResourceRequest creates an Azure-shaped resource.
type ResourceRequest struct {
	Project string
	Name    string // unique in the project
	Region  string // a region or geography that requests with its keys stay in; empty: the project's own decides
}

// ResourceInfo is a resource with its keys as they are. A slot is nil when its key was revoked, or never made: RegenerateKey fills it.
type ResourceInfo struct {
	Resource   gatehouse.Resource
	Key1, Key2 *gatehouse.Key
}

// slot returns where the info keeps a slot's key.
func (i *ResourceInfo) slot(s gatehouse.KeySlot) **gatehouse.Key {
	if s == gatehouse.Key1 {
		return &i.Key1
	}
	return &i.Key2
}

// CreateResource adds a resource to a project and makes KEY1 and KEY2, in this order.
func (s *Service) CreateResource(ctx context.Context, who *gatehouse.Principal, req ResourceRequest) (*ResourceInfo, [2]*NewKey, error) {
	var keys [2]*NewKey
	r, err := newResource(who, req)
	if err != nil {
		return nil, keys, err
	}
	info := &ResourceInfo{}
	_, err = s.change(ctx, who, widens, resourceCreated(r), func(tx *store.Tx) error {
		if _, err := s.activeProject(tx, who, req.Project); err != nil {
			return err
		}
		r.CreatedAt = tx.Now
		if err := tx.CreateResource(r); err != nil {
			return nameTaken(err, r.Name)
		}
		for i, slot := range []gatehouse.KeySlot{gatehouse.Key1, gatehouse.Key2} {
			var err error
			if keys[i], err = s.mint(tx, who, KeyRequest{Class: gatehouse.ClassAzure, resource: r, slot: slot, Name: r.Name + " " + slot.String()}); err != nil {
				return err
			}
			tx.Emit(keyCreated(keys[i].Key))
			*info.slot(slot) = &keys[i].Key
		}
		info.Resource = *r
		return nil
	})
	if err != nil {
		return nil, [2]*NewKey{}, err
	}
	return info, keys, nil
}

// newResource validates a request and returns the resource it asks for.
func newResource(who *gatehouse.Principal, req ResourceRequest) (*gatehouse.Resource, error) {
	if err := checkResourceName(req.Name); err != nil {
		return nil, err
	}
	region, err := dialect.CheckRegion("region", req.Region)
	if err != nil {
		return nil, err
	}
	return &gatehouse.Resource{ID: gatehouse.NewID(gatehouse.PrefixResource), Organization: who.Organization, Project: req.Project, Name: req.Name, Region: region}, nil
}

// checkResourceName leaves room in a key's name for the slot's.
func checkResourceName(name string) error {
	if err := gatehouse.CheckName("name", name); err != nil {
		return err
	}
	if len(name) > 200 {
		return gatehouse.InvalidParam("name", "Invalid 'name': at most 200 bytes are allowed.")
	}
	return nil
}

func resourceCreated(r *gatehouse.Resource) gatehouse.Event {
	return gatehouse.Event{Type: "resource.created", Organization: r.Organization, Project: r.Project, Subject: gatehouse.SubjectResource, SubjectID: r.ID,
		Change: detail(map[string]any{"name": r.Name, "region": r.Region})}
}

// nameTaken says what a Conflict of the store means for a resource.
func nameTaken(err error, name string) error {
	if gatehouse.KindOf(err) == gatehouse.Conflict {
		return &gatehouse.Error{Kind: gatehouse.Conflict, Code: "resource_exists", Param: "name", Message: "The project has a resource named `" + name + "` already. Choose another name.", Err: err}
	}
	return err
}

// ResourceUpdate changes a resource; absent fields stay.
type ResourceUpdate struct {
	Name   Optional[string]
	Region Optional[string] // "" leaves the region to the project
}

// UpdateResource changes a resource of a project that is not archived. Its keys stay as they are.
func (s *Service) UpdateResource(ctx context.Context, who *gatehouse.Principal, id string, req ResourceUpdate) (*ResourceInfo, Effect, error) {
	if req.Name.Set {
		if err := checkResourceName(req.Name.Value); err != nil {
			return nil, Effect{}, err
		}
	}
	region, err := dialect.CheckRegion("region", req.Region.Value)
	if err != nil {
		return nil, Effect{}, err
	}
	var info *ResourceInfo
	ev := gatehouse.Event{Type: "resource.updated", Subject: gatehouse.SubjectResource, SubjectID: id}
	effect, err := s.change(ctx, who, narrows, ev, func(tx *store.Tx) (err error) {
		if info, err = s.activeResource(tx, who, id); err != nil {
			return err
		}
		r, changes := &info.Resource, map[string]any{}
		if req.Name.Set {
			r.Name = req.Name.Value
			changes["name"] = r.Name
		}
		if req.Region.Set {
			r.Region = region
			changes["region"] = r.Region
		}
		tx.Event().Project, tx.Event().Change = r.Project, detail(changes)
		return nameTaken(tx.SaveResource(r), r.Name)
	})
	return info, effect, err
}

// RemoveResource ends a resource and revokes its keys.
func (s *Service) RemoveResource(ctx context.Context, who *gatehouse.Principal, id string) (Effect, error) {
	ev := gatehouse.Event{Type: "resource.deleted", Subject: gatehouse.SubjectResource, SubjectID: id}
	return s.change(ctx, who, narrows, ev, func(tx *store.Tx) error {
		info, err := s.resource(tx, who, id)
		if err != nil {
			return err
		}
		info.Resource.RemovedAt = tx.Now
		tx.Event().Project = info.Resource.Project
		if err := tx.SaveResource(&info.Resource); err != nil {
			return err
		}
		for _, k := range []*gatehouse.Key{info.Key1, info.Key2} {
			if k == nil {
				continue
			}
			if err := revokeOne(tx, who, k, "owner removed"); err != nil {
				return err
			}
		}
		return nil
	})
}

// RegenerateKey revokes the key in one slot of a resource and makes another in its place, in one transaction; the key in the other
// slot is not touched. What narrows the old key narrows the new one, and a key that expires gets the same life from now. When it
// returns with Effect.Everywhere no node accepts the old key any more, and every node accepts the new one.
func (s *Service) RegenerateKey(ctx context.Context, who *gatehouse.Principal, id string, slot gatehouse.KeySlot) (*ResourceInfo, *NewKey, Effect, error) {
	if slot.String() == "" {
		return nil, nil, Effect{}, gatehouse.InvalidParam("key_name", "Invalid 'key_name': must be Key1 or Key2.")
	}
	var info *ResourceInfo
	var key *NewKey
	ev := gatehouse.Event{Type: "resource.key_regenerated", Subject: gatehouse.SubjectResource, SubjectID: id}
	effect, err := s.change(ctx, who, narrows, ev, func(tx *store.Tx) (err error) {
		if info, err = s.activeResource(tx, who, id); err != nil {
			return err
		}
		r, at := &info.Resource, info.slot(slot)
		req := KeyRequest{Class: gatehouse.ClassAzure, resource: r, slot: slot, Name: r.Name + " " + slot.String()}
		replaced := ""
		if old := *at; old != nil {
			replaced = old.ID
			req.Name, req.Labels, req.Scopes, req.Models = old.Name, old.Labels, old.Scopes, old.Models
			for _, p := range old.AllowedIPs {
				req.AllowedIPs = append(req.AllowedIPs, p.String())
			}
			if old.ExpiresAt != 0 {
				req.ExpiresIn = min(max(1, int64(old.ExpiresAt-old.CreatedAt)/1000), maxExpiry)
			}
			if err := revokeOne(tx, who, old, "regenerated"); err != nil {
				return err
			}
		}
		if key, err = s.mint(tx, who, req); err != nil {
			return err
		}
		tx.Emit(keyCreated(key.Key))
		*at = &key.Key
		tx.Event().Project = r.Project
		tx.Event().Change = detail(map[string]any{"key_name": slot.String(), "replaced": replaced, "key": key.Key.ID})
		return nil
	})
	return info, key, effect, err
}

// Resource returns a resource with its keys.
func (s *Service) Resource(ctx context.Context, who *gatehouse.Principal, id string) (info *ResourceInfo, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) (err error) {
		info, err = s.resource(tx, who, id)
		return err
	})
	return info, err
}

// Resources lists the organization's resources, or those of a project when it is not empty.
func (s *Service) Resources(ctx context.Context, who *gatehouse.Principal, project string, page store.Page) (list []ResourceInfo, more bool, err error) {
	err = s.view(ctx, who, func(tx *store.Tx) error {
		list = nil
		if project != "" {
			if _, err := s.project(tx, who, project); err != nil {
				return err
			}
		}
		found, m, err := tx.Resources(who.Organization, project, page)
		if err != nil {
			return err
		}
		more = m
		for i := range found {
			info, err := withKeys(tx, &found[i])
			if err != nil {
				return err
			}
			list = append(list, *info)
		}
		return nil
	})
	return list, more, err
}

// resource returns a resource of the caller's organization that was not removed, with its keys.
func (s *Service) resource(tx *store.Tx, who *gatehouse.Principal, id string) (*ResourceInfo, error) {
	r, err := tx.Resource(id)
	if err != nil {
		return nil, hide(err, "resource", id)
	}
	if r.Organization != who.Organization || r.RemovedAt != 0 {
		return nil, notFound("resource", id)
	}
	return withKeys(tx, r)
}

// activeResource returns a resource of a project that is not archived.
func (s *Service) activeResource(tx *store.Tx, who *gatehouse.Principal, id string) (*ResourceInfo, error) {
	info, err := s.resource(tx, who, id)
	if err != nil {
		return nil, err
	}
	_, err = s.activeProject(tx, who, info.Resource.Project)
	return info, err
}

func withKeys(tx *store.Tx, r *gatehouse.Resource) (*ResourceInfo, error) {
	keys, err := tx.ResourceKeys(r.ID)
	if err != nil {
		return nil, err
	}
	info := &ResourceInfo{Resource: *r}
	for i := range keys {
		*info.slot(keys[i].Slot) = &keys[i]
	}
	return info, nil
}
