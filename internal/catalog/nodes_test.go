package catalog_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse"
	"gatehouse/internal/catalog"
	"gatehouse/internal/store"
	"gatehouse/internal/store/storetest"
)

// node is a running node: its own connections to the database and its own catalog.
type node struct {
	*catalog.Catalog
	db   *store.DB
	stop func() // ends Run as a clean shutdown does
}

// database returns the URL of a migrated database with one organization, project, user and membership, and keys 0 to keys-1.
func database(tb testing.TB, url string, keys int) string {
	tb.Helper()
	db := open(tb, url)
	if err := db.Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	change(tb, db, gatehouse.SubjectOrganization, "org-1", func(tx *store.Tx) error {
		return tx.CreateOrganization(&gatehouse.Organization{ID: "org-1", Name: "one"})
	})
	change(tb, db, gatehouse.SubjectProject, "proj_1", func(tx *store.Tx) error {
		return tx.CreateProject(&gatehouse.Project{ID: "proj_1", Organization: "org-1", Name: "one"})
	})
	change(tb, db, gatehouse.SubjectUser, "user-1", func(tx *store.Tx) error {
		return tx.CreateUser(&gatehouse.User{ID: "user-1", Organization: "org-1", Name: "one", Role: gatehouse.RoleOwner})
	})
	change(tb, db, gatehouse.SubjectProjectUser, "proj_1/user-1", func(tx *store.Tx) error {
		return tx.CreateProjectUser(&gatehouse.ProjectUser{Project: "proj_1", User: "user-1", Role: gatehouse.RoleMember})
	})
	for i := range keys {
		createKey(tb, db, i)
	}
	return url
}

func open(tb testing.TB, url string) *store.DB {
	tb.Helper()
	db, err := store.Open(tb.Context(), url, store.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	return db
}

func change(tb testing.TB, db *store.DB, subject gatehouse.SubjectKind, id string, fn func(*store.Tx) error) int64 {
	tb.Helper()
	seq, err := db.Update(tb.Context(), gatehouse.Event{Type: "test.changed", Organization: "org-1", Subject: subject, SubjectID: id}, fn)
	if err != nil {
		tb.Fatalf("change %s %s: %v", subject, id, err)
	}
	return seq
}

func publicID(i int) string { return fmt.Sprintf("%011d", i) }

func createKey(tb testing.TB, db *store.DB, i int) int64 {
	tb.Helper()
	id := gatehouse.PrefixKey + publicID(i)
	return change(tb, db, gatehouse.SubjectKey, id, func(tx *store.Tx) error {
		return tx.CreateKey(&gatehouse.Key{ID: id, Class: gatehouse.ClassProject, Organization: "org-1", Project: "proj_1", OwnerUser: "user-1", PepperVersion: 1})
	})
}

func revokeKey(ctx context.Context, db *store.DB, i int) (int64, error) {
	id := gatehouse.PrefixKey + publicID(i)
	return db.Update(ctx, gatehouse.Event{Type: "api_key.deleted", Organization: "org-1", Subject: gatehouse.SubjectKey, SubjectID: id}, func(tx *store.Tx) error {
		k, err := tx.Key(id)
		if err != nil {
			return err
		}
		k.RevokedAt = tx.Now
		return tx.SaveKey(k)
	})
}

// openNode opens a node that does not follow yet.
func openNode(tb testing.TB, url string, cfg catalog.Config) *node {
	tb.Helper()
	n := &node{db: open(tb, url), stop: func() {}}
	cfg.DB = n.db
	c, err := catalog.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	n.Catalog = c
	return n
}

// run lets a node follow until the test ends or stop is called.
func (n *node) run(tb testing.TB) *node {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	done := make(chan struct{})
	go func() { // ends with stop
		defer close(done)
		if err := n.Run(ctx); err != nil {
			tb.Errorf("Run: %v", err)
		}
	}()
	n.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	tb.Cleanup(n.stop)
	return n
}

func startNode(tb testing.TB, url, name string, staleness time.Duration) *node {
	tb.Helper()
	return openNode(tb, url, catalog.Config{Node: name, MaxStaleness: staleness}).run(tb)
}

// accepts is a check as authn makes it: first the lease, then the key.
func (n *node) accepts(i int) bool {
	if !n.Fresh() {
		return false
	}
	k := n.Key(publicID(i))
	return k != nil && k.State(1) == gatehouse.Active
}

// eventually waits until ok holds.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	timeout := time.NewTimer(20 * time.Second)
	defer timeout.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-timeout.C:
			tb.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestEveryKindOfChangeReachesOtherNodes(t *testing.T) {
	url := database(t, storetest.Postgres(t), 1)
	a, b := startNode(t, url, "a", time.Minute), startNode(t, url, "b", time.Minute)
	var narrowed atomic.Int64
	b.OnChange(func() { narrowed.Add(1) })

	steps := []struct {
		subject gatehouse.SubjectKind
		id      string
		do      func(*store.Tx) error
		seen    func() bool
		narrows bool
	}{
		{gatehouse.SubjectOrganization, "org-1", func(tx *store.Tx) error {
			o, err := tx.Organization("org-1")
			if err != nil {
				return err
			}
			o.DefaultProject = "proj_1"
			return tx.SaveOrganization(o)
		}, func() bool { return b.Organization("org-1").DefaultProject == "proj_1" }, true},
		{gatehouse.SubjectServiceAccount, "svc_acct_1", func(tx *store.Tx) error {
			return tx.CreateServiceAccount(&gatehouse.ServiceAccount{ID: "svc_acct_1", Organization: "org-1", Project: "proj_1", Name: "s", Role: gatehouse.RoleMember})
		}, func() bool { return b.ServiceAccount("svc_acct_1") != nil }, false},
		{gatehouse.SubjectKey, "key_service0001", func(tx *store.Tx) error {
			return tx.CreateKey(&gatehouse.Key{ID: "key_service0001", Class: gatehouse.ClassService, Organization: "org-1", Project: "proj_1", OwnerServiceAccount: "svc_acct_1", Scopes: []string{"x"}})
		}, func() bool { k := b.Key("service0001"); return k != nil && k.Policy != nil }, false},
		{gatehouse.SubjectUpstream, "upst_1", func(tx *store.Tx) error {
			return tx.CreateUpstream(&gatehouse.Upstream{ID: "upst_1", Organization: "org-1", Name: "u", Dialect: gatehouse.Mock})
		}, func() bool { return b.Upstream("upst_1") != nil && len(b.Upstreams("org-1")) == 1 }, false},
		{gatehouse.SubjectDeployment, "dep_1", func(tx *store.Tx) error {
			return tx.CreateDeployment(&gatehouse.Deployment{ID: "dep_1", Organization: "org-1", Name: "m", Routes: []gatehouse.Route{{Upstream: "upst_1"}}})
		}, func() bool { return b.Deployment("org-1", "proj_1", "m") != nil }, false},
		{gatehouse.SubjectDeployment, "dep_1", func(tx *store.Tx) error {
			d, err := tx.Deployment("dep_1")
			if err != nil {
				return err
			}
			d.RemovedAt = tx.Now
			return tx.SaveDeployment(d)
		}, func() bool { return b.Deployment("org-1", "proj_1", "m") == nil }, true},
		{gatehouse.SubjectServiceAccount, "svc_acct_1", func(tx *store.Tx) error {
			s, err := tx.ServiceAccount("svc_acct_1")
			if err != nil {
				return err
			}
			s.RemovedAt = tx.Now
			return tx.SaveServiceAccount(s)
		}, func() bool { return b.ServiceAccount("svc_acct_1") == nil }, true},
		{gatehouse.SubjectProjectUser, "proj_1/user-1", func(tx *store.Tx) error {
			m, err := tx.ProjectUser("proj_1", "user-1")
			if err != nil {
				return err
			}
			m.RemovedAt = tx.Now
			return tx.SaveProjectUser(m)
		}, func() bool { return b.Member("proj_1", "user-1") == nil }, true},
		{gatehouse.SubjectUser, "user-1", func(tx *store.Tx) error {
			u, err := tx.User("user-1")
			if err != nil {
				return err
			}
			u.RemovedAt = tx.Now
			return tx.SaveUser(u)
		}, func() bool { return b.User("user-1") == nil }, true},
		{gatehouse.SubjectProject, "proj_1", func(tx *store.Tx) error {
			p, err := tx.Project("proj_1")
			if err != nil {
				return err
			}
			p.ArchivedAt = tx.Now
			return tx.SaveProject(p)
		}, func() bool { return b.Project("proj_1").ArchivedAt != 0 }, true},
		{gatehouse.SubjectNone, "", func(*store.Tx) error { return nil }, func() bool { return true }, false},
		{gatehouse.SubjectKey, "key_that_never_was", func(*store.Tx) error { return nil }, func() bool { return true }, true},
	}
	for _, s := range steps {
		before := narrowed.Load()
		seq := change(t, a.db, s.subject, s.id, s.do)
		if effect := a.Settle(t.Context(), seq); !effect.Everywhere {
			t.Fatalf("%s %s: Settle = %+v, want Everywhere", s.subject, s.id, effect)
		}
		if b.Applied() < seq {
			t.Errorf("%s %s: node b has applied %d, want %d", s.subject, s.id, b.Applied(), seq)
		}
		if !s.seen() {
			t.Errorf("%s %s: node b does not show the change", s.subject, s.id)
		}
		if got := narrowed.Load() > before; got != s.narrows {
			t.Errorf("%s %s: OnChange called: %v, want %v", s.subject, s.id, got, s.narrows)
		}
	}
}

// TestManyEventsAtOnce has more events wait than a batch holds, many about one subject.
func TestManyEventsAtOnce(t *testing.T) {
	url := database(t, storetest.Postgres(t), 0)
	n := openNode(t, url, catalog.Config{Node: "a", MaxStaleness: time.Minute})
	const keys = 700
	seq := change(t, n.db, gatehouse.SubjectNone, "", func(tx *store.Tx) error {
		for i := range keys {
			k := &gatehouse.Key{ID: gatehouse.PrefixKey + publicID(i), Class: gatehouse.ClassProject, Organization: "org-1", Project: "proj_1", OwnerUser: "user-1"}
			if err := tx.CreateKey(k); err != nil {
				return err
			}
			for _, what := range []string{"test.created", "test.looked_at"} {
				tx.Emit(gatehouse.Event{Type: what, Subject: gatehouse.SubjectKey, SubjectID: k.ID})
			}
		}
		return nil
	})
	n.run(t)
	if effect := n.Settle(t.Context(), seq); !effect.Everywhere {
		eventually(t, "everything is applied", func() bool { return n.Applied() == seq })
	}
	for i := range keys {
		if !n.accepts(i) {
			t.Fatalf("key %d is not known", i)
		}
	}
}

// TestNoAcceptAfterRevoke checks keys on two nodes without pause while many revocations run on both. A check that begins after
// Settle said Everywhere must refuse, on any node; and a node that refused a key once never accepts it again.
func TestNoAcceptAfterRevoke(t *testing.T) {
	const keys, revokers, checkers = 60, 8, 1
	url := database(t, storetest.Postgres(t), keys)
	nodes := []*node{startNode(t, url, "a", time.Minute), startNode(t, url, "b", time.Minute)}
	var (
		returned [keys]atomic.Bool // Settle said Everywhere
		accepted [keys]atomic.Int64
		over     atomic.Bool
		checking sync.WaitGroup
	)
	for _, n := range nodes {
		for range checkers {
			checking.Go(func() {
				var refused [keys]bool
				for last := false; !last; {
					last = over.Load() // one more round after the end
					for i := range keys {
						was := returned[i].Load()
						if !n.accepts(i) {
							refused[i] = true
							continue
						}
						accepted[i].Add(1)
						if was {
							t.Errorf("key %d is accepted after its revocation returned", i)
						}
						if refused[i] {
							t.Errorf("key %d is accepted by a node that refused it before", i)
						}
					}
				}
			})
		}
	}
	var next atomic.Int64
	var revoking sync.WaitGroup
	for r := range revokers {
		revoking.Go(func() {
			n := nodes[r%len(nodes)]
			for {
				i := int(next.Add(1)) - 1
				if i >= keys {
					return
				}
				seq, err := revokeKey(t.Context(), n.db, i)
				if err != nil {
					t.Error(err)
					return
				}
				if effect := n.Settle(t.Context(), seq); !effect.Everywhere {
					t.Errorf("key %d: Settle = %+v, want Everywhere", i, effect)
					continue
				}
				returned[i].Store(true)
			}
		})
	}
	revoking.Wait()
	over.Store(true)
	checking.Wait()
	for i := range keys {
		if accepted[i].Load() == 0 {
			t.Errorf("key %d was never accepted: the test saw nothing", i)
		}
	}
}

// proxy passes connections on to a server until it is cut, and again after it is joined.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex // guards the rest
	down  bool
	conns []net.Conn
}

func newProxy(tb testing.TB, target string) *proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{listener: l, target: target}
	go p.serve() // ends when the listener closes
	tb.Cleanup(func() {
		_ = l.Close() // ends serve
		p.cut()
	})
	return p
}

func (p *proxy) serve() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		p.mu.Lock()
		if err != nil || p.down {
			_ = in.Close() // refused
			if out != nil {
				_ = out.Close()
			}
			p.mu.Unlock()
			continue
		}
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		pass := func(to, from net.Conn) { // ends with either connection
			_, _ = io.Copy(to, from)
			_, _ = to.Close(), from.Close()
		}
		go pass(in, out)
		go pass(out, in)
	}
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for _, c := range p.conns {
		_ = c.Close() // the other side notices
	}
	p.conns = nil
}

func (p *proxy) join() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}

// through returns a database's URL with the proxy's address in it.
func through(tb testing.TB, raw string) (*proxy, string) {
	tb.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	p := newProxy(tb, u.Host)
	u.Host = p.listener.Addr().String()
	return p, u.String()
}

func TestCutOffNode(t *testing.T) {
	const staleness = 2 * time.Second
	direct := database(t, storetest.Postgres(t), 2)
	p, proxied := through(t, direct)
	a := startNode(t, direct, "a", staleness)
	logs := &lines{}
	b := openNode(t, proxied, catalog.Config{Node: "b", MaxStaleness: staleness, Logger: slog.New(slog.NewTextHandler(logs, nil))})
	var told atomic.Int64
	b.OnChange(func() { told.Add(1) })
	b.run(t)
	if !a.accepts(0) || !b.accepts(0) {
		t.Fatal("a good key is refused")
	}

	p.cut()
	seq, err := revokeKey(t.Context(), a.db, 0)
	if err != nil {
		t.Fatal(err)
	}
	committed := time.Now()
	if !b.accepts(0) {
		t.Error("the cut-off node does not serve from memory while its lease lasts")
	}
	ctx, cancel := context.WithTimeout(t.Context(), staleness/2)
	defer cancel()
	effect := a.Settle(ctx, seq)
	if effect.Everywhere || effect.EffectiveBy == 0 {
		t.Fatalf("Settle = %+v, want a time, because a node is silent", effect)
	}
	if a.accepts(0) {
		t.Error("the node that revoked the key accepts it")
	}
	if by := effect.EffectiveBy.Time(); by.After(committed.Add(staleness + staleness/4)) {
		t.Errorf("EffectiveBy is %v after the commit, want max_staleness %v or little more", by.Sub(committed), staleness)
	}
	timer := time.NewTimer(time.Until(effect.EffectiveBy.Time()))
	defer timer.Stop()
	<-timer.C
	if b.accepts(0) || b.Fresh() {
		t.Error("the cut-off node still serves at EffectiveBy")
	}
	eventually(t, "the cut-off node tells its listeners", func() bool { return told.Load() == 1 })
	// Once its lease is over for certain nobody waits for it.
	effect = a.Settle(t.Context(), seq)
	if !effect.Everywhere {
		t.Errorf("Settle = %+v after the silent node's lease, want Everywhere", effect)
	}

	p.join()
	eventually(t, "the node serves again", b.Fresh)
	if b.accepts(0) || !b.accepts(1) {
		t.Error("the node serves again without having caught up")
	}
	if effect := a.Settle(t.Context(), seq); !effect.Everywhere {
		t.Errorf("Settle = %+v after the node came back, want Everywhere", effect)
	}
	eventually(t, "the lease watch notices", func() bool { return logs.count("the lease stands again") > 0 })
	b.stop()
	for _, message := range []string{"cannot follow the database", "following the database again", "the lease ran out", "the lease stands again"} {
		if n := logs.count(message); n != 1 {
			t.Errorf("%q is logged %d times, want once", message, n)
		}
	}
}

// lines collects a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), message)
}

// TestStalledNode holds a node up as a process is that the system does not let run: its connections stand, its beats stop.
func TestStalledNode(t *testing.T) {
	const staleness = time.Second
	url := database(t, storetest.Postgres(t), 2)
	a := startNode(t, url, "a", staleness)
	b := openNode(t, url, catalog.Config{Node: "b", MaxStaleness: staleness})
	stalled, release := make(chan struct{}), make(chan struct{})
	b.OnChange(sync.OnceFunc(func() { // holds up the follower and the lease watch
		close(stalled)
		<-release
	}))
	b.run(t)
	first, err := revokeKey(t.Context(), a.db, 0)
	if err != nil {
		t.Fatal(err)
	}
	<-stalled
	second, err := revokeKey(t.Context(), a.db, 1)
	if err != nil {
		t.Fatal(err)
	}
	if b.accepts(0) {
		t.Error("an applied revocation does not hold before it is acknowledged")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	effect := a.Settle(ctx, second)
	if effect.Everywhere {
		t.Fatal("Settle says Everywhere while a node stands still")
	}
	timer := time.NewTimer(time.Until(effect.EffectiveBy.Time()))
	defer timer.Stop()
	<-timer.C
	if b.accepts(1) {
		t.Error("the stalled node accepts a revoked key at EffectiveBy")
	}
	close(release)
	eventually(t, "the node catches up", func() bool { return b.Fresh() && b.Applied() >= second })
	if b.accepts(1) {
		t.Error("the node caught up and accepts a revoked key")
	}
	for _, seq := range []int64{first, second} {
		if effect := a.Settle(t.Context(), seq); !effect.Everywhere {
			t.Errorf("Settle(%d) = %+v, want Everywhere", seq, effect)
		}
	}
}

func TestNodesThatEnded(t *testing.T) {
	url := database(t, storetest.Postgres(t), 4)
	a := startNode(t, url, "a", time.Minute)
	revoke := func(i int) catalog.Effect {
		t.Helper()
		seq, err := revokeKey(t.Context(), a.db, i)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		return a.Settle(ctx, seq)
	}

	b := startNode(t, url, "b", time.Minute)
	b.stop()
	if b.Fresh() {
		t.Error("a node that was shut down is fresh")
	}
	if effect := revoke(0); !effect.Everywhere {
		t.Errorf("after a clean shutdown Settle = %+v, want Everywhere", effect)
	}

	openNode(t, url, catalog.Config{Node: "b", Lock: "place", MaxStaleness: time.Minute}) // and then nothing, like a crash
	if effect := revoke(1); effect.Everywhere {
		t.Error("Settle says Everywhere although a crashed node may be live")
	}
	openNode(t, url, catalog.Config{Node: "b", Lock: "elsewhere", MaxStaleness: time.Minute}).run(t)
	if effect := revoke(2); effect.Everywhere {
		t.Error("a process that holds another lock made Settle forget the crashed one")
	}
	openNode(t, url, catalog.Config{Node: "b", Lock: "place", MaxStaleness: time.Minute}).run(t)
	if effect := revoke(3); !effect.Everywhere {
		t.Errorf("after the restart of the crashed node Settle = %+v, want Everywhere", effect)
	}
}

// sqlOf returns a raw connection for damage that the store does not allow.
func sqlOf(tb testing.TB, url string) *sql.DB {
	tb.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

func execute(tb testing.TB, db *sql.DB, query string) {
	tb.Helper()
	if _, err := db.ExecContext(tb.Context(), query); err != nil {
		tb.Fatal(err)
	}
}

func TestUnreadableSubjectHoldsTheSequence(t *testing.T) {
	url := database(t, storetest.Postgres(t), 2)
	logs := &lines{}
	a := openNode(t, url, catalog.Config{Node: "a", MaxStaleness: time.Minute, Logger: slog.New(slog.NewTextHandler(logs, nil))}).run(t)
	raw := sqlOf(t, url)
	other := open(t, url) // commits without waking a, and so as one batch
	before := a.Applied()
	execute(t, raw, `UPDATE keys SET digest = '\x00' WHERE id = 'key_00000000000'`)
	seq, err := revokeKey(t.Context(), other, 1)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a applies what it can read", func() bool { return a.Applied() == seq })
	seq = change(t, other, gatehouse.SubjectKey, "key_00000000000", func(*store.Tx) error { return nil })
	eventually(t, "a notices the damage", func() bool { return logs.count("cannot follow") == 1 })
	if a.Applied() != seq-1 || before >= seq-1 {
		t.Errorf("applied = %d, want %d: a subject that cannot be read must not be skipped", a.Applied(), seq-1)
	}
	execute(t, raw, `UPDATE keys SET digest = decode(repeat('00', 32), 'hex'), revoked_at = 1, rev = rev + 1 WHERE id = 'key_00000000000'`)
	eventually(t, "a goes on", func() bool { return a.Applied() == seq })
	if a.accepts(0) {
		t.Error("the revocation behind the damage was lost")
	}
}

func TestAnotherHistoryEndsRun(t *testing.T) {
	for name, damage := range map[string]string{
		"an event is another": `UPDATE events SET body = replace(body, '"id":"audit_log-', '"id":"audit_log-x') WHERE seq = (SELECT max(seq) FROM events)`,
		"events are gone":     `WITH gone AS (DELETE FROM events WHERE seq > 2) UPDATE counters SET value = 2 WHERE name = 'event'`,
	} {
		t.Run(name, func(t *testing.T) {
			url := database(t, storetest.Postgres(t), 1)
			a := openNode(t, url, catalog.Config{Node: "a", MaxStaleness: time.Minute})
			result := make(chan error, 1)
			go func() { result <- a.Run(t.Context()) }() // ends with the history
			execute(t, sqlOf(t, url), damage)
			if err := <-result; err == nil {
				t.Error("Run ended without an error")
			}
			if a.Fresh() {
				t.Error("the node serves from another history")
			}
		})
	}
}

func TestSingleNode(t *testing.T) {
	url := database(t, "sqlite:"+filepath.Join(t.TempDir(), "db"), 2)
	n := openNode(t, url, catalog.Config{Node: "a", SingleNode: true, MaxStaleness: 50 * time.Millisecond})
	// Nobody follows yet: what was committed and cannot be applied is served for max_staleness and no longer.
	seq, err := revokeKey(t.Context(), n.db, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if effect := n.Settle(ctx, seq); effect.Everywhere || effect.EffectiveBy == 0 {
		t.Errorf("Settle = %+v before the change is applied", effect)
	}
	eventually(t, "the node stops", func() bool { return !n.Fresh() })
	n.run(t)
	if effect := n.Settle(t.Context(), seq); !effect.Everywhere {
		t.Errorf("Settle = %+v, want Everywhere", effect)
	}
	if n.accepts(0) || !n.accepts(1) {
		t.Error("the change is not applied")
	}
	// A quiet single node stays fresh without end.
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	<-timer.C
	if !n.Fresh() {
		t.Error("a single node without changes is not fresh")
	}
	seq, err = revokeKey(t.Context(), n.db, 1)
	if err != nil {
		t.Fatal(err)
	}
	if effect := n.Settle(t.Context(), seq); !effect.Everywhere || n.accepts(1) {
		t.Errorf("Settle = %+v, accepts = %v", effect, n.accepts(1))
	}
}
