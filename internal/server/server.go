// Package server builds a node from its configuration and runs it: it opens the database, the journal and the catalog, wires the
// rooms together, listens, and takes everything down in the order in which nothing is lost. What is served where is the list in
// mount.
//
// It owns configuration, listeners, TLS and the life of a node. It decides nothing about requests or changes.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/authn"
	"gatehouse/internal/catalog"
	"gatehouse/internal/custody"
	"gatehouse/internal/gateway"
	"gatehouse/internal/ledger"
	"gatehouse/internal/otlp"
	"gatehouse/internal/replay"
	"gatehouse/internal/secret"
	"gatehouse/internal/steward"
	"gatehouse/internal/steward/deliver"
	"gatehouse/internal/steward/denials"
	"gatehouse/internal/steward/watch"
	"gatehouse/internal/store"
	"gatehouse/internal/valkey"
)

// Options are what a caller of Open may set beside the configuration.
type Options struct {
	Log     io.Writer // where the log goes; nil: stderr
	Version string    // shown in metrics
	// Now and Boot are the wall clock and the time since boot; nil: the machine's. Tests pass clocks of their own.
	Now  func() time.Time
	Boot func() time.Duration
	// Reload, when something comes on it, has the node read again at once what it looks at every 10 s.
	Reload <-chan os.Signal
	// Timeouts bound exchanges with upstreams; the zero value has defaults. Tests shorten them.
	Timeouts gateway.Timeouts
	// dev allows an empty database, every environment variable but Gatehouse's own as a secret reference, and private upstreams.
	dev bool
}

// Server is one node. Open returns one that listens; Run serves.
type Server struct {
	cfg          *Config
	opts         Options
	log          *slog.Logger
	access       *lineBuffer
	db           *store.DB
	waker        *valkey.Waker // nil without Valkey
	counters     counters
	catalog      *catalog.Catalog
	ledger       *ledger.Ledger
	replay       *replay.Writer // what a restore reads
	gateway      *gateway.Gateway
	steward      *steward.Steward
	watch        *watch.Watch
	deliverer    *deliver.Deliverer
	admin        *admin.Service
	auth         *authn.Authenticator
	policy       custody.Policy
	install      string
	clock        *strictClock
	exporter     *otlp.Exporter // nil: no traces are made
	peppers      pepperKeeper
	trusted      []netip.Prefix
	mock         mockUpstream
	incidents    chan authn.Incident
	denials      *denials.Log
	refused      refusals
	draining     atomic.Bool
	listeners    []listener
	certificates *certificates // nil without TLS
	duties       sync.WaitGroup
}

// errEmpty is returned for a database without an organization.
var errEmpty = errors.New("the database is empty: run `gatehouse init --config FILE` first")

// Open builds a node and binds its listeners. On failure everything it opened is closed again.
func Open(ctx context.Context, cfg *Config, opts Options) (_ *Server, err error) {
	if opts.Log == nil {
		opts.Log = os.Stderr
	}
	level, err := cfg.level()
	if err != nil {
		return nil, err
	}
	trusted, err := cfg.trusted()
	if err != nil {
		return nil, err
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Server{cfg: cfg, opts: opts, trusted: trusted, clock: newStrictClock(opts.Now, opts.Boot), incidents: make(chan authn.Incident, 64)}
	s.log = slog.New(slog.NewJSONHandler(opts.Log, &slog.HandlerOptions{Level: level}))
	var undo []func()
	defer func() {
		if err != nil {
			for _, f := range slices.Backward(undo) {
				f()
			}
		}
	}()
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	peppers, keyring, err := cfg.secrets(ctx)
	if err != nil {
		return nil, err
	}
	if s.db, err = cfg.openStoreAt(ctx, opts.Now, s.log); err != nil {
		return nil, err
	}
	undo = append(undo, func() { _ = s.db.Close() }) // the first error is the one to show
	if s.install, err = installTag(ctx, s.db); err != nil {
		return nil, err
	}
	if !opts.dev {
		if err := founded(ctx, s.db); err != nil {
			return nil, err
		}
	}
	if s.install == "" {
		if s.install, err = newInstallation(ctx, s.db); err != nil {
			return nil, err
		}
	}
	if s.policy, err = s.references(); err != nil {
		return nil, err
	}
	if err := s.noteSecrets(ctx, peppers, keyring); err != nil {
		return nil, err
	}
	// Before the ledger, which records what an earlier process left.
	if err := s.openReplay(); err != nil {
		return nil, err
	}
	undo = append(undo, s.replay.Close)
	node, err := nodeIdentity(cfg.Data)
	if err != nil {
		return nil, fmt.Errorf("node id: %w", err)
	}
	table, err := s.loadPrices(ctx)
	if err != nil {
		return nil, err
	}
	s.ledger, err = ledger.Open(ctx, ledger.Config{Dir: cfg.Data, DB: s.db, Prices: table, Sync: time.Duration(*cfg.JournalSync), Now: opts.Now, Logger: s.log,
		Node: node, Everywhere: s.knownEverywhere})
	if err != nil {
		return nil, err
	}
	undo = append(undo, func() { _ = s.ledger.Close(ctx) })
	s.peppers.peppers = peppers
	// After the ledger, whose lock makes this process the only holder of the data folder and of the node id in it.
	if err := s.openCatalog(ctx); err != nil {
		return nil, err
	}
	if s.waker != nil {
		undo = append(undo, func() { _ = s.waker.Close() })
	}
	if err := s.openPeppers(ctx); err != nil {
		return nil, err
	}
	if err := s.joinReplay(ctx); err != nil {
		return nil, err
	}
	s.admin = admin.New(admin.Config{DB: s.db, Catalog: s.catalog, Peppers: peppers, Keyring: keyring, Install: s.install, Now: opts.Now,
		CheckReference: s.resolver("").Check, AllowPrivate: s.allowPrivate(), Logger: s.log,
		Mail: cfg.SMTP != nil, WakeAlerts: func() { s.deliverer.Wake() }})
	s.denials = denials.New(denials.Config{DB: s.db, Now: s.clock.Now, Logger: s.log})
	s.auth = authn.New(authn.Config{Catalog: s.catalog, Peppers: peppers, Install: s.install, Now: s.clock.Now, OnFailure: s.failed, OnIncident: s.incident,
		MissingPepper: s.missingPepper, OnOldPepper: s.peppers.waiting.claim, OnRewrap: s.peppers.waiting.add})
	if err := s.openCounters(ctx); err != nil {
		return nil, err
	}
	undo = append(undo, func() { _ = s.counters.close() })
	if err := s.openGateway(); err != nil {
		return nil, err
	}
	if err := s.openAlerts(); err != nil {
		return nil, err
	}
	if err := s.listen(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// secrets reads the peppers and the keys that encrypt what is stored sealed.
func (c *Config) secrets(ctx context.Context) (*secret.Peppers, *secret.Keyring, error) {
	operator := custody.New(custody.Config{Allow: custody.Unrestricted()})
	text, err := operator.Resolve(ctx, c.Pepper)
	if err != nil {
		return nil, nil, fmt.Errorf("pepper: %w", err)
	}
	peppers, err := secret.ParsePeppers(text)
	if err != nil {
		return nil, nil, fmt.Errorf("pepper %s: %w", c.Pepper, err)
	}
	if text, err = operator.Resolve(ctx, c.KEK); err != nil {
		return nil, nil, fmt.Errorf("kek: %w", err)
	}
	keyring, err := secret.ParseKeyring(text)
	if err != nil {
		return nil, nil, fmt.Errorf("kek %s: %w", c.KEK, err)
	}
	return peppers, keyring, nil
}

// openStore opens the database and brings its schema up to date.
func (c *Config) openStore(ctx context.Context, log *slog.Logger) (*store.DB, error) {
	return c.openStoreAt(ctx, time.Now, log)
}

// openStoreAt is openStore with a clock.
func (c *Config) openStoreAt(ctx context.Context, now func() time.Time, log *slog.Logger) (*store.DB, error) {
	location, err := c.database(ctx)
	if err != nil {
		return nil, err
	}
	db, err := store.Open(ctx, location, store.Config{Now: now, Logger: log, Exclusive: true})
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// database returns the database's URL, read through its reference where it is one.
func (c *Config) database(ctx context.Context) (string, error) {
	return c.reference(ctx, "database", c.Database, "sqlite:", "postgres://", "postgresql://")
}

// reference returns a value of the configuration that may be written out, when it begins with one of plain, or be a secret
// reference.
func (c *Config) reference(ctx context.Context, key, value string, plain ...string) (string, error) {
	if slices.ContainsFunc(plain, func(prefix string) bool { return strings.HasPrefix(value, prefix) }) {
		return value, nil
	}
	text, err := custody.New(custody.Config{Allow: custody.Unrestricted()}).Resolve(ctx, value)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	return text.Reveal(), nil
}

const metaInstall = "install"

// installTag returns the tag in the text of every key this installation issues, "" while there is no installation.
func installTag(ctx context.Context, db *store.DB) (tag string, err error) {
	err = db.View(ctx, func(tx *store.Tx) (err error) {
		tag, err = tx.Meta(metaInstall)
		return err
	})
	if gatehouse.KindOf(err) == gatehouse.NotFound {
		return "", nil
	}
	return tag, err
}

// founded returns errEmpty for a database without an organization, which is also what an init that failed half-way leaves behind,
// and an error for one whose restore has not ended.
func founded(ctx context.Context, db *store.DB) error {
	return db.View(ctx, func(tx *store.Tx) error {
		if err := tx.Restoring(); err != nil {
			return err
		}
		orgs, err := tx.Organizations()
		if err == nil && len(orgs) == 0 {
			err = errEmpty
		}
		return err
	})
}

// references returns which secret references administrators may use, never one of Gatehouse's own secrets.
func (s *Server) references() (policy custody.Policy, err error) {
	switch {
	case len(s.cfg.SecretRefs) > 0:
		policy, err = custody.ParsePolicy(s.cfg.SecretRefs)
	case s.opts.dev:
		policy, err = custody.DevPolicy(filepath.Join(s.cfg.Data, "credentials"))
	default:
		policy, err = custody.DefaultPolicy(filepath.Join(s.cfg.Data, "credentials"))
	}
	if err != nil {
		return policy, fmt.Errorf("secret_refs: %w", err)
	}
	own := []string{s.cfg.Pepper, s.cfg.KEK, s.cfg.Database, s.cfg.Valkey}
	if path, ok := strings.CutPrefix(s.cfg.Database, "sqlite:"); ok {
		own = append(own, path, path+"-wal")
	}
	if s.cfg.path != "" {
		own = append(own, s.cfg.path)
	}
	if s.cfg.TLS != nil {
		own = append(own, s.cfg.TLS.Key)
	}
	if s.cfg.OTLP != nil && s.cfg.OTLP.Headers != "" {
		own = append(own, s.cfg.OTLP.Headers)
	}
	if s.cfg.SMTP != nil && s.cfg.SMTP.Password != "" {
		own = append(own, s.cfg.SMTP.Password)
	}
	return policy.Forbid(own...), nil
}

// resolver returns the resolver of one organization's secret references: what it keeps sealed is its own.
func (s *Server) resolver(organization string) *custody.Resolver {
	return custody.New(custody.Config{Allow: s.policy, Sealed: func(ctx context.Context, id string) (secret.Text, error) {
		return s.admin.OpenSealed(ctx, organization, id)
	}})
}

// allowPrivate returns the rule for upstreams on private addresses: under dev every host, else those the configuration lists.
func (s *Server) allowPrivate() func(host string) bool {
	if s.opts.dev {
		return nil
	}
	return func(host string) bool { return slices.Contains(s.cfg.PrivateUpstreams, host) }
}

func (s *Server) openCatalog(ctx context.Context) error {
	cfg := catalog.Config{DB: s.db, Node: s.cfg.Node, MaxStaleness: time.Duration(s.cfg.MaxStaleness), SingleNode: single(s.cfg.Database), Now: s.opts.Now, Boot: s.opts.Boot, Logger: s.log,
		Pepper: s.peppers.peppers.Newest, Keeper: s.keeper()}
	if !cfg.SingleNode {
		lock, err := nodeIdentity(s.cfg.Data)
		if err != nil {
			return err
		}
		cfg.Lock = lock
	}
	if s.cfg.Valkey != "" {
		address, err := s.valkey(ctx)
		if err != nil {
			return err
		}
		if s.waker, err = valkey.Open(ctx, address, s.log); err != nil {
			return fmt.Errorf("valkey: %w", err)
		}
		cfg.Waker = s.waker
	}
	var err error
	if s.catalog, err = catalog.Open(ctx, cfg); err != nil {
		return err
	}
	s.catalog.OnPrices(s.ledger.SetPrices)
	return nil
}

func (s *Server) openGateway() error {
	spool := filepath.Join(s.cfg.Data, "spool")
	if err := os.MkdirAll(spool, 0o700); err != nil {
		return fmt.Errorf("spool folder: %w", err)
	}
	var access io.Writer
	if s.cfg.Log.Access == nil || *s.cfg.Log.Access {
		s.access = newLineBuffer(s.opts.Log)
		access = s.access
	}
	s.steward = steward.New(steward.Config{
		DB: s.db, Ledger: s.ledger, Told: func() { s.deliverer.Wake() }, Now: s.opts.Now, Logger: s.log,
		Fetch: func(ctx context.Context, w *gatehouse.Work, path string) (int, io.ReadCloser, error) {
			return s.gateway.Fetch(ctx, w, path)
		},
	})
	var trace func(otlp.Exchange)
	if s.exporter = s.newExporter(); s.exporter != nil {
		trace = s.exporter.Add
	}
	s.gateway = gateway.New(gateway.Config{
		Catalog: s.catalog, Auth: s.auth, Ledger: s.ledger, Counters: s.counters,
		Resolve: func(ctx context.Context, organization, reference string) (secret.Text, error) {
			return s.resolver(organization).Resolve(ctx, reference)
		},
		FindObject: func(ctx context.Context, id string) (o *gatehouse.Object, err error) {
			err = s.db.View(ctx, func(tx *store.Tx) (err error) {
				o, err = tx.Object(id)
				return err
			})
			return o, err
		},
		FindBatchInput: func(ctx context.Context, file string) (in *gatehouse.BatchInput, err error) {
			err = s.db.View(ctx, func(tx *store.Tx) (err error) {
				in, err = tx.BatchInput(file)
				return err
			})
			return in, err
		},
		WorkSeen: s.steward.Seen, WorkEnded: s.steward.Ended, Webhooks: s.webhooks,
		Mock:  s.startMock,
		Spool: spool, BodyLimit: int64(s.cfg.Limits.Body), MemoryLimit: int64(s.cfg.Limits.Memory), StreamLimit: s.cfg.Limits.Streams,
		TrustedProxies: s.trusted, CertificateHeader: s.cfg.ClientCertHeader, AccessLog: access, Trace: trace, Logger: s.log, Now: s.opts.Now, Timeouts: s.opts.Timeouts,
	})
	return nil
}

// Run serves until ctx ends, then drains: no new connections, open requests may finish within the configured time, what is left
// is cut, everything counted is recorded, and the node takes itself off the list.
func (s *Server) Run(ctx context.Context) error {
	// The node's own work outlives the signal: it ends in the order below, not all at once.
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	failed := make(chan error, len(s.listeners)+2)
	catalogDone, ledgerDone := make(chan struct{}), make(chan struct{})
	catalogCtx, stopCatalog := context.WithCancel(work)
	ledgerCtx, stopLedger := context.WithCancel(work)
	defer stopCatalog()
	defer stopLedger()
	go func() { // the follower: ends when stopCatalog is called
		defer close(catalogDone)
		if err := s.catalog.Run(catalogCtx); err != nil {
			failed <- fmt.Errorf("catalog: %w", err)
		}
	}()
	go func() { // the drainer: ends when stopLedger is called
		defer close(ledgerDone)
		if err := s.ledger.Run(ledgerCtx); err != nil && !errors.Is(err, context.Canceled) {
			failed <- fmt.Errorf("ledger: %w", err)
		}
	}()
	stewardCtx, stopSteward := context.WithCancel(work)
	defer stopSteward()
	stewardDone := make(chan struct{})
	go func() { // the steward: ends when stopSteward is called
		defer close(stewardDone)
		s.steward.Run(stewardCtx)
	}()
	duties := []func(context.Context){ // each a goroutine of its own that ends with work
		s.keepReplay, s.keepAlerts, s.watchClock, s.keepPepper, s.rewrapKeys, s.recordIncidents, s.recordDenials, s.prune, s.keepSums, s.keepCredits, s.reportHealth,
	}
	if s.exporter != nil {
		duties = append(duties, s.exportTraces)
	}
	for _, duty := range duties {
		s.duties.Add(1)
		go duty(work)
	}
	for _, l := range s.listeners {
		go func() { // one per listener: ends when its server is shut down
			if err := l.server.Serve(l.Listener); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("%s: %w", l.name, err)
			}
		}()
	}
	about := []any{"node", s.cfg.Node, "url", s.URL(), "ops", s.OpsURL(), "engine", s.db.Engine()}
	for _, l := range s.listeners {
		if l.name == clientCertListener {
			about = append(about, "client_cert_url", "https://"+reachable(l.Addr()))
		}
	}
	s.log.Info("serving", about...)
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-failed:
		s.log.Error("stopping", "error", failure)
	}
	stopSteward()
	<-stewardDone
	s.drain()
	stopLedger()
	<-ledgerDone
	closing, stop := context.WithTimeout(work, 10*time.Second)
	defer stop()
	errs := []error{failure, s.ledger.Close(closing)}
	stopWork()
	<-catalogDone
	s.duties.Wait()
	s.mock.close()
	errs = append(errs, s.counters.close())
	if s.waker != nil {
		errs = append(errs, s.waker.Close())
	}
	s.replay.Close()
	errs = append(errs, s.db.Close())
	if s.access != nil {
		s.access.close()
	}
	s.log.Info("stopped", "node", s.cfg.Node)
	return errors.Join(errs...)
}

// drain stops accepting, waits for open requests and cuts what is left. The ops listener closes last, so that who asks /readyz
// meanwhile learns that the node is draining.
func (s *Server) drain() {
	s.draining.Store(true)
	s.log.Info("draining", "for", time.Duration(s.cfg.Drain).String())
	soft, stop := context.WithTimeout(context.Background(), time.Duration(s.cfg.Drain))
	defer stop()
	var wait sync.WaitGroup
	for _, l := range s.listeners {
		if l.name == opsListener {
			defer func() { _ = l.server.Close() }() // nobody counts on the end of an answer about health
			continue
		}
		wait.Go(func() {
			if err := l.server.Shutdown(soft); err == nil {
				return
			}
			s.gateway.Close()
			hard, stop := context.WithTimeout(context.Background(), 2*time.Second)
			defer stop()
			if err := l.server.Shutdown(hard); err != nil {
				_ = l.server.Close() // the connections that are left do not react to anything else
			}
		})
	}
	wait.Wait()
	s.gateway.Close()
}
