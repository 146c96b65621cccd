package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
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
		byID map[string]*ownership // guarded by mu
	}
	mu     sync.Mutex
	shared map[ownership]*ownership // guarded by mu: what many objects have in common is kept once
}

// ownership is who owns an object and where it lives. What is in the cache never changes.
type ownership struct {
	project    string
	upstream   string
	kind       string
	deployment string // what the request that made it asked for as its model, "" if nothing
	model      string // and what the upstream knows that by
	deleted    bool
}

const (
	// objectsPerShard bounds the cache to 32,768 objects, some 4 MB: beyond it a shard starts again empty, and the database answers.
	objectsPerShard = 512
	// maxShared bounds how many ownerships are remembered in order to share them.
	maxShared = 1024
)

func (c *objectCache) init() {
	for i := range c.shards {
		c.shards[i].byID = make(map[string]*ownership)
	}
	c.shared = make(map[ownership]*ownership)
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
	if o := s.byID[id]; o != nil {
		return *o, true
	}
	return ownership{}, false
}

func (c *objectCache) put(id string, o ownership) {
	c.set(id, o, func(*ownership) bool { return true })
}

// add puts what was just made, and reports whether it did: not where another project has an object of that id.
func (c *objectCache) add(id string, o ownership) bool {
	return c.set(id, o, func(old *ownership) bool { return old == nil || old.project == o.project })
}

// set puts o unless the entry that stands there forbids it.
func (c *objectCache) set(id string, o ownership, may func(old *ownership) bool) bool {
	kept := c.share(o)
	s := &c.shards[c.shard(id)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if !may(s.byID[id]) {
		return false
	}
	if len(s.byID) >= objectsPerShard {
		clear(s.byID)
	}
	s.byID[strings.Clone(id)] = kept // it may be a part of a whole request's head
	return true
}

// share returns the one copy of an ownership that all objects with it refer to, with texts of its own.
func (c *objectCache) share(o ownership) *ownership {
	c.mu.Lock()
	defer c.mu.Unlock()
	if kept := c.shared[o]; kept != nil {
		return kept
	}
	for _, text := range []*string{&o.project, &o.upstream, &o.kind, &o.deployment, &o.model} {
		*text = strings.Clone(*text)
	}
	if len(c.shared) >= maxShared {
		clear(c.shared)
	}
	c.shared[o] = &o
	return &o
}

// owner returns who owns id, or ok false when nobody recorded it or it was deleted: from memory, else from the database.
func (g *Gateway) owner(ctx context.Context, id string) (o ownership, ok bool, err error) {
	if o, ok = g.objects.get(id); ok {
		return o, !o.deleted, nil
	}
	obj, err := g.findObject(ctx, id)
	if err == nil {
		o = ownership{obj.Project, obj.Upstream, obj.Kind, obj.Deployment, obj.Model, obj.DeletedAt != 0}
		g.objects.put(id, o)
		return o, !o.deleted, nil
	}
	if gatehouse.KindOf(err) != gatehouse.NotFound {
		return ownership{}, false, &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "ownership_unavailable", RetryAfterMillis: 1000,
			Message: "Who owns this object cannot be looked up right now. Try again.", Err: err}
	}
	return ownership{}, false, nil
}

// findTime bounds one look into the database: one that does not answer is as good as away.
const findTime = 5 * time.Second

func (g *Gateway) findObject(ctx context.Context, id string) (*gatehouse.Object, error) {
	ctx, stop := context.WithTimeout(ctx, findTime)
	defer stop()
	return g.cfg.FindObject(ctx, id)
}

// belongings is what is known of the objects that one call names.
type belongings struct {
	x          *exchange
	pinned     ownership // of the first that was recorded: where all of them are
	decided    bool      // unrecorded and wait are: when the first comes that nobody recorded
	unrecorded bool      // what nobody recorded may be used
	wait       bool      // another node may have recorded it within the last second
}

// check decides whether the caller's project may use an object. One of another project and one that nobody recorded look the
// same: 404.
func (b *belongings) check(id, param string) error {
	x := b.x
	o, known, err := x.g.owner(x.ctx, id)
	if err == nil && !known {
		o, known, err = b.lookAgain(id, o)
	}
	switch {
	case err != nil:
		return err
	case known && o.project != x.id.Principal.Project, !known && !b.unrecorded:
		return objectNotFound(id, param)
	case !known:
		return nil
	case b.pinned.upstream != "" && b.pinned.upstream != o.upstream:
		return gatehouse.InvalidParam(param, "The request refers to objects on different upstreams. Objects that are used together must have been made through the same upstream.")
	}
	if b.pinned.upstream == "" || o.deployment == x.model && x.model != "" {
		b.pinned = o
	}
	return nil
}

// lookAgain decides what becomes of objects that nobody recorded, and looks once more a second later where it matters.
func (b *belongings) lookAgain(id string, o ownership) (ownership, bool, error) {
	x := b.x
	if !b.decided {
		var upstreams int
		b.unrecorded, upstreams = x.mayUseUnrecorded()
		b.decided = true
		b.wait = !b.unrecorded || upstreams > 1 // else it is this project's and there, recorded or not
	}
	if !b.wait || o.deleted {
		return o, false, nil
	}
	select {
	case <-x.ctx.Done():
		return ownership{}, false, context.Cause(x.ctx)
	case <-time.After(time.Second):
	}
	b.wait = false // for every other object of this request as well
	return x.g.owner(x.ctx, id)
}

// checkTold decides about an item that a request brings along whole: its id must not be one that another project is known to have.
func (b *belongings) checkTold(id, param string) error {
	if o, ok := b.x.g.objects.get(id); ok && o.project != b.x.id.Principal.Project {
		return objectNotFound(id, param)
	}
	return nil
}

// owned checks every object the call names, in its path, in its body and as its model, and returns the one that says where they
// all are, the zero value when none was recorded. A call that names no object costs nothing here.
func (x *exchange) owned() (ownership, error) {
	op := x.call.Op
	b := belongings{x: x}
	if x.call.Ref != "" && op.Owned {
		if err := b.check(x.call.Ref, ""); err != nil {
			return ownership{}, err
		}
		for _, r := range op.Refs[1:] {
			if err := b.check(x.call.Object(r), ""); err != nil {
				return ownership{}, err
			}
		}
	}
	for i := range x.references {
		ref := &x.references[i]
		var err error
		switch {
		case ref.Account:
			x.account = true
		case ref.Model:
			err = b.checkModel(ref.ID, ref.Param)
		case ref.Told:
			err = b.checkTold(ref.ID, ref.Param)
		case ref.ID != "":
			err = b.check(ref.ID, ref.Param)
		}
		if err != nil {
			return ownership{}, err
		}
	}
	if x.call.Ref == "" || x.call.PathModel == "" {
		if err := b.checkModel(x.model, "model"); err != nil {
			return ownership{}, err
		}
	}
	return b.pinned, nil
}

// checkModel checks that a fine-tuned model is the project's own, where it is called by the name that the provider gave it and no
// deployment does: a deployment that names it has decided who may use it.
func (b *belongings) checkModel(model, param string) error {
	if !dialect.IsFineTuned(model) {
		return nil
	}
	p := &b.x.id.Principal
	dep := b.x.g.cfg.Catalog.Deployment(p.Organization, p.Project, model)
	if dep == nil || dep.Name == model || !slices.ContainsFunc(dep.Routes, func(r gatehouse.Route) bool { return r.Model == "" }) {
		return nil
	}
	err := b.check(model, param)
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		return modelNotFound(model)
	}
	return err
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
				Message: "This endpoint shows what other projects made through the same upstream credential, so it is answered only where the credential serves one project and never served another. " +
					"Ask the operator for an upstream of this project's own: a credential that no other project ever had, and `projects: [...]` of the upstream in the manifest."}
		}
	}
	return nil
}

// maxID is the longest id of an object that is recorded. OpenAI's have some 60 characters; proxies that put theirs around it have
// a few hundred.
const maxID = 1024

// keep records what the answer made so far, before the answer ends: the object itself, and everything else by whose id later
// requests may refer to what it made.
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
	hands := op.Hands
	if op.Stores == dialect.StoreUnlessFalse && op.Creates != "" && !stores {
		hands &^= usage.MadeItem // it kept none
	}
	if hands == 0 || x.record.Status >= 300 {
		return nil
	}
	if x.tapped {
		for _, m := range x.summary.Made {
			if err := x.ownMade(m.ID, m.Kind, hands); err != nil {
				return err
			}
		}
		return nil
	}
	for kind, id := range x.capture.Made {
		if err := x.ownMade(id, kind, hands); err != nil {
			return err
		}
	}
	return nil
}

// ownMade records something that the answer made, unless it is known: an answer that is asked for again says the same again.
func (x *exchange) ownMade(id string, kind, hands usage.Made) error {
	if kind&hands == 0 {
		return nil
	}
	if _, known := x.g.objects.get(id); known {
		if kind == usage.MadeContainer {
			x.containers++ // it costs what it cost when it was made
		}
		return nil
	}
	return x.own(id, kind.Kind())
}

// own records that an object belongs to the caller's project. What another project has stays that project's.
func (x *exchange) own(id, kind string) error {
	if id == "" || len(id) > maxID {
		return nil
	}
	o := ownership{project: x.id.Principal.Project, upstream: x.answer.upstream.ID, kind: kind}
	if x.plan.deployment != nil {
		o.deployment, o.model = x.model, x.answer.model
	}
	if !x.g.objects.add(id, o) {
		x.g.cfg.Logger.Warn("an upstream gave an object an id that another project's has", "request_id", x.record.ID, "object_id", id, "kind", kind)
		return nil
	}
	return x.g.cfg.Ledger.Own(gatehouse.Object{ID: id, Project: o.project, Upstream: o.upstream, Kind: kind, Deployment: o.deployment, Model: o.model,
		CreatedAt: gatehouse.MillisOf(x.g.cfg.Now())})
}

// idempotencyKey returns the key under which an upstream may know a request again. Projects that share a credential choose theirs
// on their own, and one must not get what another was answered.
func (x *exchange) idempotencyKey(key string) string {
	sum := sha256.Sum256([]byte(x.id.Principal.Project + "\x00" + key))
	return hex.EncodeToString(sum[:20])
}

// disown records that the upstream deleted the object the path names. It was the caller's, else it had not come that far.
func (x *exchange) disown() error {
	o := ownership{project: x.id.Principal.Project, upstream: x.answer.upstream.ID, kind: x.call.Op.Deletes, deleted: true}
	x.g.objects.put(x.call.Ref, o)
	return x.g.cfg.Ledger.Disown(gatehouse.Object{ID: x.call.Ref, Project: o.project, Upstream: o.upstream, Kind: o.kind,
		DeletedAt: gatehouse.MillisOf(x.g.cfg.Now())})
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
