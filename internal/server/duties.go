package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse"
	"gatehouse/internal/authn"
	"gatehouse/internal/ledger/prices"
	"gatehouse/internal/mock"
	"gatehouse/internal/secret"
	"gatehouse/internal/steward/denials"
	"gatehouse/internal/store"
)

// refusals counts refused credentials by rule.
type refusals struct {
	once   sync.Once
	counts map[authn.Rule]*atomic.Uint64 // never changes once made
}

func (r *refusals) table() map[authn.Rule]*atomic.Uint64 {
	r.once.Do(func() {
		r.counts = make(map[authn.Rule]*atomic.Uint64, len(authn.Rules))
		for _, rule := range authn.Rules {
			r.counts[rule] = new(atomic.Uint64)
		}
	})
	return r.counts
}

func (r *refusals) count(f authn.Failure) {
	if c := r.table()[f.Rule]; c != nil {
		c.Add(1)
	}
}

func (r *refusals) all() map[authn.Rule]uint64 {
	out := make(map[authn.Rule]uint64, len(authn.Rules))
	for rule, c := range r.table() {
		out[rule] = c.Load()
	}
	return out
}

// incident takes note of a provider's credential that was presented as a key. It must not hold up the request: when the queue is
// full the incident is in the log and in the metrics only.
func (s *Server) incident(i authn.Incident) {
	s.log.Warn("another provider's credential was presented; it was refused and not forwarded", "provider", i.Provider, "fingerprint", i.Fingerprint, "ip", i.Addr.String())
	select {
	case s.incidents <- i:
	default:
	}
}

// recordIncidents writes incidents into the audit log. It ends with ctx.
func (s *Server) recordIncidents(ctx context.Context) {
	defer s.duties.Done()
	for {
		select {
		case <-ctx.Done():
			return
		case i := <-s.incidents:
			ev := gatehouse.Event{Type: "incident.foreign_credential", Actor: gatehouse.Actor{Kind: gatehouse.ActorNobody, IP: i.Addr.String()},
				Change: fmt.Appendf(nil, `{"provider":%q,"fingerprint":%q}`, i.Provider, i.Fingerprint)}
			if _, err := s.db.Update(ctx, ev, (*store.Tx).ToFirstOrganization); err != nil && !errors.Is(err, context.Canceled) {
				s.log.Error("incident is not in the audit log", "provider", i.Provider, "fingerprint", i.Fingerprint, "error", err)
			}
		}
	}
}

// failed takes note of a refused credential.
func (s *Server) failed(f authn.Failure) {
	s.refused.count(f)
	s.denials.Note(denials.Denial{Type: denials.Unauthenticated, Organization: f.Organization, Project: f.Project, Actor: gatehouse.Actor{Kind: gatehouse.ActorNobody, Key: f.Key},
		Addr: f.Addr, Reason: string(f.Rule)})
}

// denied takes note of an administrative call that its credential does not allow.
func (s *Server) denied(who *gatehouse.Principal, project, what string) {
	addr, _ := netip.ParseAddr(who.Actor.IP) // none where the caller's is not known
	s.denials.Note(denials.Denial{Type: denials.Forbidden, Organization: who.Organization, Project: project, Actor: who.Actor, Addr: addr, Reason: what})
}

// recordDenials writes who was refused into the audit log. It ends with ctx.
func (s *Server) recordDenials(ctx context.Context) {
	defer s.duties.Done()
	s.denials.Run(ctx)
}

const pruneEvery = 10 * time.Minute

// prune deletes what organizations do not keep any longer. It ends with ctx.
func (s *Server) prune(ctx context.Context) {
	defer s.duties.Done()
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := s.db.Prune(ctx, gatehouse.MillisOf(s.opts.Now())); err != nil && !errors.Is(err, context.Canceled) {
				s.log.Warn("old measurements cannot be deleted; they stay until the next try", "error", err)
			}
		}
	}
}

// mockUpstream is the built-in mock: it listens on loopback from its first use, behind a token that only this process knows.
type mockUpstream struct {
	mu     sync.Mutex
	server *http.Server // guarded by mu, as are the rest
	url    string
	token  secret.Text
	over   sync.WaitGroup
}

func (s *Server) startMock() (string, secret.Text, error) {
	m := &s.mock
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.server != nil {
		return m.url, m.token, nil
	}
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", secret.Text{}, fmt.Errorf("mock: %w", err)
	}
	m.token, m.url = secret.NewText(rand.Text()), "http://"+ln.Addr().String()
	m.server = &http.Server{Handler: mock.New(mock.Config{Token: m.token.Reveal(), Models: mockModels(s.ledger.Prices())}), ReadHeaderTimeout: 10 * time.Second}
	m.over.Add(1)
	go func() { // ends when close shuts the server down
		defer m.over.Done()
		if err := m.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the mock upstream ended", "error", err)
		}
	}()
	return m.url, m.token, nil
}

func (m *mockUpstream) close() {
	m.mu.Lock()
	server := m.server
	m.mu.Unlock()
	if server != nil {
		_ = server.Close() // nobody is left to be answered
		m.over.Wait()
	}
}

// mockModels are the mock's own and every model that has a price, so that costs can be tried out for each.
func mockModels(table *prices.Table) []mock.Model {
	models := mock.DefaultModels()
	known := map[string]bool{}
	for _, m := range models {
		known[m.ID] = true
	}
	for _, name := range table.Models() {
		if !known[name] {
			known[name] = true
			models = append(models, mock.Model{ID: name})
		}
	}
	return models
}

// knownEverywhere reports whether every node reads the database that this one reads now: none acts on what it knows from before a
// restore any more.
func (s *Server) knownEverywhere(ctx context.Context) bool {
	var seq int64
	err := s.db.View(ctx, func(tx *store.Tx) (err error) {
		seq, err = tx.LastSeq()
		return err
	})
	return err == nil && s.catalog.Settle(ctx, seq).Everywhere
}

// nodeIdentity returns the id kept in the data folder, which the journal's lock makes this process's own.
func nodeIdentity(data string) (string, error) {
	path := filepath.Join(data, "node-id")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		id := gatehouse.RandomBase62(22)
		return id, os.WriteFile(path, []byte(id+"\n"), 0o600)
	}
	return strings.TrimSpace(string(text)), err
}
