// Package admin is every mutation of what Gatehouse knows: organizations, projects, users, service accounts, resources, keys,
// upstreams, deployments and sealed secrets. Each is one method that authorizes the principal, validates what was asked for, and commits the
// change together with its audit event in one transaction. Nothing else changes a control table, so whoever reads this package
// knows all that can happen to one.
//
// It does not own shapes on a wire (adminapi), SQL (store) or what a running node does with a change (catalog, gateway).
package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"gatehouse"
	"gatehouse/internal/catalog"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// Config is what the mutations need. Every field but Logger is required.
type Config struct {
	DB      *store.DB
	Catalog *catalog.Catalog // waits until nodes have applied a change; nil on the host before a node runs
	Peppers *secret.Peppers
	Keyring *secret.Keyring
	Install string // the install tag in every key's text, 4 characters of Base62
	Now     func() time.Time
	// CheckReference returns an Invalid error for a secret reference that this installation does not allow.
	CheckReference func(reference string) error
	// AllowPrivate reports whether an upstream may be declared with allow_private for a host. Nil: every host (dev).
	AllowPrivate func(host string) bool
	// Mail says whether mail can be sent: whether the configuration has a server that takes it.
	Mail bool
	// WakeAlerts is called when there is something in the queue of alerts. Nil: whoever works on it looks in its own time.
	WakeAlerts func()
	Logger     *slog.Logger
}

// Service performs mutations. Its methods may be called concurrently.
type Service struct{ cfg Config }

// New returns a service.
func New(cfg Config) *Service {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg}
}

// Effect says how far a change has reached when its call returns.
type Effect = catalog.Effect

// Optional is a field of an update: absent, or present with a value (which may be the zero value).
type Optional[T any] struct {
	Set   bool
	Value T
}

// Some returns a present field.
func Some[T any](v T) Optional[T] { return Optional[T]{Set: true, Value: v} }

// settleWider is how long a change that only widens authority waits for other nodes: long enough for those that are there, short
// enough that one that is not does not hold up a caller who loses nothing by it.
const settleWider = 250 * time.Millisecond

// reach says whether a change narrows authority, and so must have reached every node before its caller may rely on it.
type reach bool

const (
	widens  reach = false
	narrows reach = true
)

// change authorizes who inside the transaction, runs fn, commits it with its event and waits until nodes apply it.
func (s *Service) change(ctx context.Context, who *gatehouse.Principal, r reach, ev gatehouse.Event, fn func(*store.Tx) error) (Effect, error) {
	ev.Organization, ev.Actor, ev.RequestID = who.Organization, who.Actor, who.RequestID
	seq, err := s.cfg.DB.Update(ctx, ev, func(tx *store.Tx) error {
		if err := s.authorize(tx, who); err != nil {
			return err
		}
		if err := fn(tx); err != nil {
			return err
		}
		if err := unlessChanged(tx, who); err != nil {
			return err
		}
		return noteOnce(tx, who)
	})
	if err != nil {
		return Effect{}, err
	}
	if who.Once != nil {
		who.Once.Made = true
	}
	return s.settle(ctx, r, seq), nil
}

func (s *Service) settle(ctx context.Context, r reach, seq int64) Effect {
	if s.cfg.Catalog == nil {
		return Effect{Everywhere: true}
	}
	if r == widens {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, settleWider)
		defer stop()
	}
	return s.cfg.Catalog.Settle(ctx, seq)
}

// authorize checks in the transaction itself that who may administer: an admin key is good for nothing once it is revoked,
// whatever the node it called still has in memory.
func (s *Service) authorize(tx *store.Tx, who *gatehouse.Principal) error {
	if who.Actor.Kind == gatehouse.ActorHost || who.Actor.Kind == gatehouse.ActorSystem {
		return nil
	}
	if who.Class != gatehouse.ClassAdmin {
		return NotAdmin()
	}
	key, err := tx.Key(who.Actor.Key)
	if err != nil {
		return err
	}
	if key.Organization != who.Organization || key.State(tx.Now) != gatehouse.Active {
		return &gatehouse.Error{Kind: gatehouse.Unauthenticated, Code: "invalid_api_key", Message: "This admin key is no longer active. Use another one, or create one on the host with gatehouse init."}
	}
	return s.permitted(tx, who, key)
}

// NotAdmin is the error for a principal that may not administer.
func NotAdmin() error {
	return &gatehouse.Error{Kind: gatehouse.Forbidden, Code: "missing_scope",
		Message: "You have insufficient permissions for this operation. It needs an admin key (sk-admin-...)."}
}

// Check returns an error unless who may administer at this moment, by the database itself. Calls that read measurements and not
// the directory ask it first.
func (s *Service) Check(ctx context.Context, who *gatehouse.Principal) error {
	return s.view(ctx, who, func(*store.Tx) error { return nil })
}

// view authorizes who and reads.
func (s *Service) view(ctx context.Context, who *gatehouse.Principal, fn func(*store.Tx) error) error {
	return s.cfg.DB.View(ctx, func(tx *store.Tx) error {
		if err := s.authorize(tx, who); err != nil {
			return err
		}
		return fn(tx)
	})
}

// detail encodes what an event keeps of a change. Values are plain data without secrets, which always encode.
func detail(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("admin: event detail %T does not encode: %v", v, err))
	}
	return b
}

// notFound is the error for a thing that is not there, or that belongs to another organization or project, which is the same to
// the caller.
func notFound(what, id string) error {
	return gatehouse.Errorf(gatehouse.NotFound, "No such %s: '%s'.", what, id)
}

// hide turns any NotFound of the store into one that names what was asked for.
func hide(err error, what, id string) error {
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		return notFound(what, id)
	}
	return err
}
