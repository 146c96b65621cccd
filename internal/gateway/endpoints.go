package gateway

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/gateway/outbound"
	"gatehouse/internal/secret"
)

const (
	// credentialAge is how long a resolved credential is used before its reference is read again, so that a rotated file or
	// variable is picked up without a restart.
	credentialAge = time.Minute
	// credentialRetry is the least time between two reads after an upstream refused a credential.
	credentialRetry = time.Second
	resolveTimeout  = 10 * time.Second
)

// endpoints holds, per upstream, its connections and its credential. An entry is made at first use and again when the upstream
// changed; its credential is read again in the background when it has become old.
type endpoints struct {
	cfg    Config
	log    *slog.Logger
	stop   context.CancelFunc
	ctx    context.Context // ends with the gateway; bounds background reads only
	reads  sync.WaitGroup
	mu     sync.RWMutex
	byID   map[string]*endpoint // guarded by mu
	closed bool                 // guarded by mu
}

// endpoint is immutable but for the fields under its mutex.
type endpoint struct {
	client *outbound.Endpoint
	up     *gatehouse.Upstream
	token  secret.Text // what the built-in mock demands; zero for every other upstream

	mu         sync.Mutex
	credential outbound.Credential // guarded by mu, as are the rest
	resolved   time.Time           // when credential was read
	reading    bool                // a background read is under way
	stale      bool                // the upstream refused it
}

func (e *endpoints) init(cfg Config) {
	e.cfg, e.log = cfg, cfg.Logger
	e.ctx, e.stop = context.WithCancel(context.Background())
	e.byID = make(map[string]*endpoint)
}

func (e *endpoints) close() {
	e.stop()
	e.mu.Lock()
	e.closed = true
	for _, ep := range e.byID {
		ep.client.Close()
	}
	e.mu.Unlock()
	e.reads.Wait()
}

// get returns the endpoint of an upstream and the credential to call it with.
func (e *endpoints) get(ctx context.Context, up *gatehouse.Upstream) (*endpoint, outbound.Credential, error) {
	e.mu.RLock()
	ep := e.byID[up.ID]
	e.mu.RUnlock()
	if ep == nil || ep.up.Rev != up.Rev {
		var err error
		if ep, err = e.build(ctx, up); err != nil {
			return nil, outbound.Credential{}, err
		}
	}
	return ep, e.current(ep), nil
}

func (e *endpoints) build(ctx context.Context, up *gatehouse.Upstream) (*endpoint, error) {
	base, private := up.BaseURL, up.AllowPrivate
	var token secret.Text
	if up.Dialect == gatehouse.Mock {
		var err error
		if base, token, err = e.cfg.Mock(); err != nil {
			return nil, &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "mock_not_running", Message: "The built-in mock could not be started on this node; the node's log says why.", Err: err}
		}
		private = true
	}
	client, err := outbound.NewEndpoint(outbound.Config{BaseURL: base, AllowPrivate: private, HTTP2: up.HTTP2})
	if err != nil {
		return nil, &gatehouse.Error{Kind: gatehouse.BadUpstream, Code: "upstream_misconfigured", NoRetry: true, Message: "Upstream `" + up.Name + "` cannot be called: its base_url is not usable.", Err: err}
	}
	ep := &endpoint{client: client, up: up, token: token}
	if ep.credential, err = e.resolve(ctx, ep); err != nil {
		client.Close()
		return nil, err
	}
	ep.resolved = time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if old := e.byID[up.ID]; old != nil {
		if old.up.Rev >= up.Rev {
			client.Close()
			return old, nil
		}
		old.client.Close()
	}
	if e.closed {
		client.Close()
		return nil, errDraining
	}
	e.byID[up.ID] = ep
	return ep, nil
}

// resolve reads an upstream's credential and binds it to the origin of the upstream's own base URL (law 9).
func (e *endpoints) resolve(ctx context.Context, ep *endpoint) (outbound.Credential, error) {
	if !ep.token.IsZero() {
		return outbound.Credential{Name: "Authorization", Value: secret.NewText("Bearer " + ep.token.Reveal()), Origin: ep.client.Origin()}, nil
	}
	if ep.up.Credential == "" {
		return outbound.Credential{}, nil
	}
	ctx, stop := context.WithTimeout(ctx, resolveTimeout)
	defer stop()
	value, err := e.cfg.Resolve(ctx, ep.up.Organization, ep.up.Credential)
	if err != nil {
		return outbound.Credential{}, &gatehouse.Error{Kind: gatehouse.Unavailable, Code: "upstream_credential_missing", NoRetry: true,
			Message: "The credential of upstream `" + ep.up.Name + "` cannot be read. Ask the operator to check its reference.", Err: err}
	}
	origin, err := outbound.OriginOf(ep.up.BaseURL)
	if err != nil {
		return outbound.Credential{}, err
	}
	name, prefix := dialect.CredentialHeader(ep.up)
	return outbound.Credential{Name: name, Value: secret.NewText(prefix + value.Reveal()), Origin: origin}, nil
}

// current returns the endpoint's credential and starts a background read when it is old. One that the upstream refused is read
// again before it is used: its circuit is open since, so nobody waits for that but a probe.
func (e *endpoints) current(ep *endpoint) outbound.Credential {
	ep.mu.Lock()
	credential, refused := ep.credential, ep.stale
	age := time.Since(ep.resolved)
	due := !ep.reading && ep.up.Credential != "" && (age > credentialAge || refused && age > credentialRetry)
	if due {
		ep.reading = true
		e.reads.Add(1)
	}
	ep.mu.Unlock()
	switch {
	case !due:
		return credential
	case !refused:
		go e.reread(ep) // ends with its read, at most resolveTimeout later; close waits for it
		return credential
	}
	e.reread(ep)
	ep.mu.Lock()
	defer ep.mu.Unlock()
	return ep.credential
}

func (e *endpoints) reread(ep *endpoint) {
	defer e.reads.Done()
	credential, err := e.resolve(e.ctx, ep)
	ep.mu.Lock()
	defer ep.mu.Unlock()
	ep.reading, ep.resolved = false, time.Now()
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			e.log.Warn("credential of upstream cannot be read again; the last one stays in use", "upstream", ep.up.Name, "error", err)
		}
		return
	}
	ep.credential, ep.stale = credential, false
}

// refused notes that an upstream refused the credential it was called with, so that its reference is read again soon.
func (e *endpoints) refused(up *gatehouse.Upstream) {
	e.mu.RLock()
	ep := e.byID[up.ID]
	e.mu.RUnlock()
	if ep != nil {
		ep.mu.Lock()
		ep.stale = true
		ep.mu.Unlock()
	}
}
