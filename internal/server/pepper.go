package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"gatehouse"
	"gatehouse/internal/custody"
	"gatehouse/internal/secret"
)

const (
	// pepperCheck is how often the pepper is read again, and pepperStep how often a node looks whether the others know as much.
	pepperCheck = 10 * time.Second
	pepperStep  = 2 * time.Second
	// rewrapEvery is how often keys that were used under an old pepper are digested anew, rewrapBatch how many at once, and
	// maxRewraps how many may wait. One that finds no room comes again with its next use.
	rewrapEvery = 500 * time.Millisecond
	rewrapBatch = 100
	maxRewraps  = 4096
)

// pepperKeeper keeps a node's peppers current.
type pepperKeeper struct {
	peppers *secret.Peppers

	mu   sync.Mutex
	read time.Time // guarded by mu; when the reference was read last

	waiting rewraps
}

// rewraps is a bounded queue of keys that were used under an old pepper, each once.
type rewraps struct {
	mu   sync.Mutex
	keys map[string]*secret.Rewrap // guarded by mu; nil: its digest is being made
}

// claim reports whether a key is to be digested anew. Who gets true calls add.
func (r *rewraps) claim(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, waits := r.keys[key]; waits || len(r.keys) >= maxRewraps {
		return false
	}
	if r.keys == nil {
		r.keys = map[string]*secret.Rewrap{}
	}
	r.keys[key] = nil
	return true
}

func (r *rewraps) add(w secret.Rewrap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys[w.Key] = &w
}

// take returns up to n that wait, of one organization. They stay in the queue until forget.
func (r *rewraps) take(n int) []secret.Rewrap {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []secret.Rewrap
	for _, w := range r.keys {
		if w != nil && len(out) < n && (len(out) == 0 || w.Organization == out[0].Organization) {
			out = append(out, *w)
		}
	}
	return out
}

func (r *rewraps) forget(list []secret.Rewrap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range list {
		delete(r.keys, w.Key)
	}
}

// openPeppers settles which pepper a node begins with: the newest that every live node knows. It refuses to serve without one
// that keys in use were digested under.
func (s *Server) openPeppers(ctx context.Context) error {
	for version, keys := range s.catalog.KeysByPepper(gatehouse.MillisOf(s.opts.Now())) {
		if !s.peppers.peppers.Has(version) {
			return fmt.Errorf("pepper %s: version %d is missing, and %d active keys were made under it; put its line back from your backup", s.cfg.Pepper, version, keys)
		}
	}
	s.peppers.peppers.Hold()
	return s.advancePepper(ctx)
}

// readPepper reads the reference of the pepper again and takes in what is new.
func (s *Server) readPepper(ctx context.Context) error {
	k := &s.peppers
	k.mu.Lock()
	defer k.mu.Unlock()
	return s.readPepperLocked(ctx)
}

// readPepperLocked is readPepper for who holds the keeper's mutex.
func (s *Server) readPepperLocked(ctx context.Context) error {
	k := &s.peppers
	k.read = time.Now()
	ctx, stop := context.WithTimeout(ctx, pepperStep)
	defer stop()
	text, err := custody.New(custody.Config{Allow: custody.Unrestricted()}).Resolve(ctx, s.cfg.Pepper)
	if err != nil {
		return err
	}
	var counts map[int]int
	added, dropped, kept, err := k.peppers.Update(text, func(version int) bool {
		if counts == nil {
			counts = s.catalog.KeysByPepper(gatehouse.MillisOf(s.opts.Now()))
		}
		return counts[version] > 0
	})
	if err != nil {
		return err
	}
	if len(added)+len(dropped) > 0 {
		s.log.Info("pepper read again", "added", added, "dropped", dropped, "newest", k.peppers.Newest())
	}
	kept = slices.DeleteFunc(kept, func(version int) bool { return counts[version] == 0 })
	if len(kept) > 0 {
		return fmt.Errorf("versions %v are gone from it while active keys need them; put their lines back before the next start", kept)
	}
	return nil
}

// missingPepper looks for a version that keys are digested under and this node does not know, at most once a second.
func (s *Server) missingPepper(version int) bool {
	k := &s.peppers
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.peppers.Has(version) {
		return true
	}
	if time.Since(k.read) < time.Second {
		return false
	}
	if err := s.readPepperLocked(context.Background()); err != nil { // bounded by itself; other requests wait for the same
		s.log.Error("the pepper cannot be read again", "reference", s.cfg.Pepper, "error", err)
	}
	if !k.peppers.Has(version) {
		s.log.Error("a key is digested under a version of the pepper that this node has not got", "version", version, "reference", s.cfg.Pepper)
		return false
	}
	return true
}

// advancePepper uses a new version for new digests once every live node knows it.
func (s *Server) advancePepper(ctx context.Context) error {
	p := s.peppers.peppers
	if p.Newest() == p.Current() {
		return nil
	}
	known, err := s.catalog.PepperKnown(ctx)
	if err != nil {
		return err
	}
	was := p.Current()
	if p.Use(known); p.Current() != was {
		s.log.Info("keys are digested under another version of the pepper", "version", p.Current(), "before", was)
	}
	return nil
}

// keepPepper reads the pepper again every 10 s, or when told, and moves on to a new version. It ends with ctx.
func (s *Server) keepPepper(ctx context.Context) {
	defer s.duties.Done()
	ticker := time.NewTicker(pepperStep)
	defer ticker.Stop()
	said := ""
	for {
		told := false
		select {
		case <-ctx.Done():
			return
		case <-s.opts.Reload:
			told = true
		case <-ticker.C:
		}
		s.peppers.mu.Lock()
		due := told || time.Since(s.peppers.read) >= pepperCheck
		s.peppers.mu.Unlock()
		if due {
			err := s.readPepper(ctx)
			if err != nil && err.Error() != said {
				s.log.Warn("the pepper is as it was read before", "reference", s.cfg.Pepper, "error", err)
			}
			said = ""
			if err != nil {
				said = err.Error()
			}
		}
		if err := s.advancePepper(ctx); err != nil && ctx.Err() == nil {
			s.log.Debug("what other nodes know of the pepper cannot be read", "error", err)
		}
	}
}

// rewrapKeys stores new digests of keys that were used under an old pepper, off the request path. It ends with ctx.
func (s *Server) rewrapKeys(ctx context.Context) {
	defer s.duties.Done()
	ticker := time.NewTicker(rewrapEvery)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for list := s.peppers.waiting.take(rewrapBatch); len(list) > 0; list = s.peppers.waiting.take(rewrapBatch) {
			who := &gatehouse.Principal{Actor: gatehouse.Actor{Kind: gatehouse.ActorSystem}, Organization: list[0].Organization}
			n, err := s.admin.RewrapKeys(ctx, who, list)
			if err != nil {
				if !failing && !errors.Is(err, context.Canceled) {
					s.log.Warn("keys cannot be digested under the new pepper yet", "keys", len(list), "error", err)
				}
				failing = true
				break
			}
			failing = false
			s.peppers.waiting.forget(list)
			s.log.Debug("keys digested under the new pepper", "keys", n)
		}
	}
}
