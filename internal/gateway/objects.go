package gateway

import (
	"context"
	"sync"
	"time"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/dialect/strictjson"
	"gatehouse/internal/dialect/usage"
)

// objectCache is what this node knows of who owns what. It holds only what was recorded: a miss is answered by the database.
// Owners never change, so an entry is good until it is deleted; deletion leaves a tombstone, because an id is never reused.
type objectCache struct {
	shards [64]struct {
		mu   sync.Mutex
		byID map[string]ownership // guarded by mu
	}
}

// ownership is who owns an object and where it lives.
type ownership struct {
	project  string
	upstream string
	kind     string
	deleted  bool
}

// objectsPerShard bounds the cache: beyond it a shard starts again empty, and the database answers.
const objectsPerShard = 4096

func (c *objectCache) init() {
	for i := range c.shards {
		c.shards[i].byID = make(map[string]ownership)
	}
}

func (c *objectCache) shard(id string) int {
	var h uint32 = 2166136261
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return int(h % uint32(len(c.shards)))
}

func (c *objectCache) get(id string) (ownership, bool) {
	s := &c.shards[c.shard(id)]
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.byID[id]
	return o, ok
}

func (c *objectCache) put(id string, o ownership) {
	s := &c.shards[c.shard(id)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byID) >= objectsPerShard {
		clear(s.byID)
	}
	s.byID[id] = o
}

// owner returns who owns id, or ok false when nobody recorded it. A miss in memory reads the database, and where looks is 2 once
// more a second later: another node may have recorded the object within the last second.
func (g *Gateway) owner(ctx context.Context, id string, looks int) (ownership, bool, error) {
	if o, ok := g.objects.get(id); ok {
		return o, !o.deleted, nil
	}
	for try := range looks {
		if try > 0 {
			select {
			case <-ctx.Done():
				return ownership{}, false, context.Cause(ctx)
			case <-time.After(time.Second):
			}
		}
		obj, err := g.cfg.FindObject(ctx, id)
		if err == nil {
			o := ownership{obj.Project, obj.Upstream, obj.Kind, obj.DeletedAt != 0}
			g.objects.put(id, o)
			return o, !o.deleted, nil
		}
		if gatehouse.KindOf(err) != gatehouse.NotFound {
			return ownership{}, false, &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "ownership_unavailable", RetryAfterMillis: 1000,
				Message: "Who owns this object cannot be looked up right now. Try again.", Err: err}
		}
	}
	return ownership{}, false, nil
}

// owned checks every object the call names, in its path and in its body, and returns the upstream that holds them ("" when the
// call names none). An object of another project and one that nobody recorded look the same: 404.
func (x *exchange) owned() (upstream string, err error) {
	var unrecorded bool // what nobody recorded may be used; decided when the first object comes
	looks := 0
	check := func(id, param string) error {
		if looks == 0 {
			var upstreams int
			unrecorded, upstreams = x.mayUseUnrecorded()
			looks = 2
			if unrecorded && upstreams == 1 {
				looks = 1 // it is this project's and there, recorded or not: nothing to wait for
			}
		}
		o, known, err := x.g.owner(x.ctx, id, looks)
		if err != nil {
			return err
		}
		switch {
		case known && o.project != x.id.Principal.Project, !known && !unrecorded:
			return objectNotFound(id, param)
		case !known:
			return nil
		case upstream != "" && upstream != o.upstream:
			return gatehouse.InvalidParam(param, "The request refers to objects on different upstreams. Objects that are used together must have been made through the same upstream.")
		}
		upstream = o.upstream
		return nil
	}
	if x.call.Ref != "" && x.call.Op.Owned {
		if err := check(x.call.Ref, ""); err != nil {
			return "", err
		}
	}
	for i := range x.references {
		if ref := &x.references[i]; !ref.Model && ref.ID != "" {
			if err := check(ref.ID, ref.Param); err != nil {
				return "", err
			}
		}
	}
	return upstream, nil
}

func objectNotFound(id, param string) error {
	return &gatehouse.Error{Kind: gatehouse.NotFound, Param: param,
		Message: "No such object: '" + clip(id) + "'. Objects belong to the project whose key made them."}
}

// mayUseUnrecorded reports whether objects that nobody recorded may be used: only where every upstream the project can reach
// serves this project alone, so that whatever is there is its own. It also returns how many those are.
func (x *exchange) mayUseUnrecorded() (ok bool, upstreams int) {
	for _, up := range x.g.cfg.Catalog.Upstreams(x.id.Principal.Organization) {
		if !x.mayReach(up) || !x.reaches(up) {
			continue
		}
		upstreams++
		if !x.g.servesAlone(up, x.id.Principal.Project) {
			return false, upstreams
		}
	}
	return upstreams > 0, upstreams
}

// servesAlone reports whether the upstream's credential serves this project and no other. The built-in mock keeps projects apart
// itself.
func (g *Gateway) servesAlone(up *gatehouse.Upstream, project string) bool {
	if up.Dialect == gatehouse.Mock {
		return true
	}
	return g.cfg.Catalog.SoleProject(up.ID) == project
}

// soleTenant refuses a call that reaches objects Gatehouse does not tell apart, unless nobody else uses the same credential.
func (x *exchange) soleTenant() error {
	for i := range x.plan.n {
		if !x.g.servesAlone(x.plan.steps[i].upstream, x.id.Principal.Project) {
			return &gatehouse.Error{Kind: gatehouse.Forbidden, Code: "shared_upstream",
				Message: "This endpoint shows what other projects made through the same upstream credential, so it is answered only where the credential serves one project. " +
					"Ask the operator for an upstream of this project's own (`projects: [...]` of the upstream in the manifest)."}
		}
	}
	return nil
}

// maxID is the longest id of an object that is recorded. OpenAI's have some 60 characters; proxies that put theirs around it have
// a few hundred.
const maxID = 1024

// keep records what the answer made so far, before the answer ends: the object itself, and the things inside it by whose ids later
// requests may refer to them (output items, containers, audio).
func (x *exchange) keep() error {
	op := x.call.Op
	if x.tapped {
		x.summary = x.tap.Summary()
	}
	stores := x.stores()
	if stores {
		if err := x.own(x.answerID(), op.Creates); err != nil {
			return err
		}
	}
	if op.Meter == "" || op.Stores == dialect.StoreUnlessFalse && op.Creates != "" && !stores {
		return nil
	}
	if x.tapped {
		for _, id := range x.summary.Made {
			if err := x.own(id, kindItem); err != nil {
				return err
			}
		}
		return nil
	}
	for id := range x.capture.Made {
		if err := x.own(id, kindItem); err != nil {
			return err
		}
	}
	return nil
}

// kindItem is the kind of what is inside another object.
const kindItem = "item"

func (x *exchange) own(id, kind string) error {
	if id == "" || len(id) > maxID {
		return nil
	}
	up := x.answer.upstream.ID
	x.g.objects.put(id, ownership{x.id.Principal.Project, up, kind, false})
	return x.g.cfg.Ledger.Own(gatehouse.Object{ID: id, Project: x.id.Principal.Project, Upstream: up, Kind: kind,
		CreatedAt: gatehouse.MillisOf(x.g.cfg.Now())})
}

// disown records that the upstream deleted the object the path names.
func (x *exchange) disown() error {
	o, ok := x.g.objects.get(x.call.Ref)
	if !ok {
		return nil
	}
	o.deleted = true
	x.g.objects.put(x.call.Ref, o)
	err := x.g.cfg.Ledger.Disown(gatehouse.Object{ID: x.call.Ref, Project: o.project, Upstream: o.upstream, Kind: o.kind,
		DeletedAt: gatehouse.MillisOf(x.g.cfg.Now())})
	return err
}

// stores reports whether the answer created an object that later requests name by id.
func (x *exchange) stores() bool {
	op := x.call.Op
	if op.Creates == "" || x.record.Status >= 300 {
		return false
	}
	switch op.Stores {
	case dialect.StoreIfTrue:
		return x.storeTrue
	case dialect.StoreUnlessFalse:
		return x.store.Kind != strictjson.Bool || x.storeTrue
	}
	return true
}

// answerID is the id of what the answer created.
func (x *exchange) answerID() string {
	if x.tapped {
		return x.summary.ID
	}
	return x.capture.Text(usage.ID)
}
