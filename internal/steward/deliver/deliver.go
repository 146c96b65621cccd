// Package deliver tells people and programs of alerts: over the log, webhooks (Standard Webhooks), Slack and mail.
//
// Its queue is a table that all nodes share (docs/adr/0022-alert-queue.md). A node claims what is due, tries, and notes what came of it; a
// claim lapses, so that what a dead node held is taken up by another. A delivery is tried until a receiver took it, for about two days,
// and is then dead: it is kept and can be sent again. It bears the same id however often it is tried.
//
// It owns how an alert looks on each channel and when it is tried. It does not own what is worth telling (watch), nor how addresses are
// guarded (the client and dialer it is given refuse what may not be called).
package deliver

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"gatehouse"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// Config is what a Deliverer needs. Every field but Mail, PublicURL, PrivateHost and Poll is required.
type Config struct {
	DB *store.DB
	// Resolve reads a secret reference of an organization.
	Resolve func(ctx context.Context, organization, reference string) (secret.Text, error)
	// Client calls webhooks. It must follow no redirect, use no proxy, and refuse addresses that may not be called; private ones unless
	// allowPrivate.
	Client func(allowPrivate bool) *http.Client
	// PrivateHost reports whether webhook endpoints of projects may be on a private host, and be called over plain http there. Nil: none.
	PrivateHost func(host string) bool
	// Mail is the server that takes mail; nil: mail cannot be sent.
	Mail *Mail
	// PublicURL is how this installation is reached, for what is told; empty: nothing is said of it.
	PublicURL string
	// Poll is how often the queue is asked for what is due; what this node puts into it is tried at once. 0: 5 s.
	Poll   time.Duration
	Now    func() time.Time
	Logger *slog.Logger
}

// Mail is a server that takes mail.
type Mail struct {
	Address  string // HOST:PORT
	From     string // an address, e.g. Gatehouse <gatehouse@example.com>
	Security Security
	Username string // empty: nobody signs in
	// Password reads the password, at each connection anew.
	Password func(ctx context.Context) (secret.Text, error)
	// Roots verifies the server; nil: the system's.
	Roots *x509.CertPool
	// Dial connects. It must refuse addresses that may not be called.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Security is how a connection to a mail server is protected.
type Security string

// The ways to protect mail.
const (
	StartTLS    Security = "starttls" // TLS after the greeting; a server that does not offer it is not used
	ImplicitTLS Security = "implicit" // TLS from the first byte
	NoTLS       Security = "none"
)

const (
	// poll is Config.Poll where that is 0.
	poll = 5 * time.Second
	// atOnce bounds the deliveries that one node tries at the same time.
	atOnce = 16
	// tryTimeout bounds a try, and claimFor is longer, so that nobody else tries the same meanwhile.
	tryTimeout = 15 * time.Second
	claimFor   = 45 * time.Second
	// longestWait bounds what a receiver may ask for with Retry-After.
	longestWait = 24 * time.Hour
	// countEvery is how often the queue is counted, for metrics.
	countEvery = 15 * time.Second
)

// waits are the times between tries, about two days in all. After the last a delivery is dead.
var waits = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour,
	8 * time.Hour, 12 * time.Hour, 20 * time.Hour}

// Deliverer works on the queue. Create it with New and run it with Run.
type Deliverer struct {
	cfg     Config
	wake    chan struct{}
	slots   [2]chan struct{} // of channels, and of endpoints, so that neither waits for the other
	tries   sync.WaitGroup
	metrics metrics
	failing bool // Run's own

	mu     sync.Mutex
	silent map[string]time.Time // endpoints that did not answer, and when one of their messages is tried again
}

// New returns a Deliverer that is not running yet.
func New(cfg Config) *Deliverer {
	cfg.Poll = cmp.Or(cfg.Poll, poll)
	return &Deliverer{cfg: cfg, wake: make(chan struct{}, 1), slots: [2]chan struct{}{make(chan struct{}, atOnce), make(chan struct{}, atOnce)}, silent: map[string]time.Time{}}
}

// Wake has the queue looked at now.
func (d *Deliverer) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Run works on the queue until ctx ends, and returns when the last try has. What a try that was cut short had reached is tried again.
func (d *Deliverer) Run(ctx context.Context) {
	defer d.tries.Wait()
	ticker := time.NewTicker(d.cfg.Poll)
	defer ticker.Stop()
	var counted time.Time
	for {
		d.take(ctx, d.slots[0], false)
		d.take(ctx, d.slots[1], true)
		if now := d.cfg.Now(); now.Sub(counted) >= countEvery {
			counted = now
			d.count(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-d.wake:
		}
	}
}

// take claims what is due, for channels or for endpoints, and begins to try it.
func (d *Deliverer) take(ctx context.Context, slots chan struct{}, endpoints bool) {
	free := atOnce - len(slots)
	if free == 0 {
		return
	}
	now := d.cfg.Now()
	list, err := d.cfg.DB.ClaimDeliveries(ctx, store.DeliveryClaim{Now: gatehouse.MillisOf(now), Until: gatehouse.MillisOf(now.Add(claimFor)), Limit: free, Endpoints: endpoints})
	switch {
	case err != nil && ctx.Err() == nil && !d.failing:
		d.failing = true
		d.cfg.Logger.Warn("alerts cannot be delivered while the database does not say which; it is tried again", "error", err)
	case err == nil && d.failing:
		d.failing = false
		d.cfg.Logger.Info("alerts are delivered again")
	}
	for i := range list {
		slots <- struct{}{} // there is room for as many as were claimed
		d.tries.Go(func() { // ends with the try; Run waits for it
			defer func() {
				<-slots
				d.Wake()
			}()
			d.try(ctx, &list[i])
		})
	}
}

// failure is why a try failed: in words without any part of a secret, and whether another would be of use.
type failure struct {
	final bool
	after time.Duration // what the receiver asked for
	text  string
}

func (f *failure) Error() string { return f.text }

func failed(format string, args ...any) *failure { return &failure{text: fmt.Sprintf(format, args...)} }

func hopeless(format string, args ...any) *failure {
	return &failure{final: true, text: fmt.Sprintf(format, args...)}
}

// try delivers once and notes what came of it.
func (d *Deliverer) try(ctx context.Context, v *gatehouse.AlertDelivery) {
	limited, stop := context.WithTimeout(ctx, tryTimeout)
	kind, err := d.send(limited, v)
	stop()
	if ctx.Err() != nil && err != nil {
		return // the node stops: its claim lapses and the delivery is tried again
	}
	now := d.cfg.Now()
	result := "delivered"
	switch f, _ := errors.AsType[*failure](err); {
	case err == nil:
		v.State, v.EndedAt, v.Error = gatehouse.DeliveryDelivered, gatehouse.MillisOf(now), ""
	case f != nil && f.final || int(v.Tries) > len(waits):
		v.State, v.EndedAt, v.Error = gatehouse.DeliveryDead, gatehouse.MillisOf(now), clip(err.Error())
		result = "dead"
		d.cfg.Logger.Warn("alert given up; it can be replayed", "delivery", v.ID, "alert", v.Alert, "channel", v.Channel, "tries", v.Tries, "error", v.Error)
	default:
		wait := waits[max(v.Tries-1, 0)]
		wait += rand.N(wait / 4)
		if f != nil {
			wait = max(wait, min(f.after, longestWait))
		}
		v.NextAt, v.Error = gatehouse.MillisOf(now.Add(wait)), clip(err.Error())
		result = "failed"
		d.cfg.Logger.Info("alert not delivered; it is tried again", "delivery", v.ID, "alert", v.Alert, "channel", v.Channel, "tries", v.Tries, "error", v.Error)
	}
	d.metrics.ended(kind, result)
	// What was delivered must be noted even while the node stops, or it is delivered once more.
	note, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	if err := d.cfg.DB.EndDelivery(note, v); err != nil {
		d.cfg.Logger.Warn("what came of a delivery cannot be noted; it is tried again", "delivery", v.ID, "error", err)
	}
}

// send delivers to whatever channel it is. It returns the kind of the channel for metrics, "" where there is none.
func (d *Deliverer) send(ctx context.Context, v *gatehouse.AlertDelivery) (kind string, err error) {
	if strings.HasPrefix(v.Channel, gatehouse.PrefixEndpoint) {
		return "endpoint", d.sendEvent(ctx, v)
	}
	var a *gatehouse.Alert
	var c *gatehouse.AlertChannel
	err = d.cfg.DB.View(ctx, func(tx *store.Tx) (err error) {
		if a, err = tx.Alert(v.Alert); err != nil || v.Channel == gatehouse.LogChannel {
			return err
		}
		c, err = channel(tx, v.Channel)
		return err
	})
	switch {
	case gatehouse.KindOf(err) == gatehouse.NotFound:
		return "", hopeless("the channel or the alert is gone")
	case err != nil:
		return "", err
	case v.Channel == gatehouse.LogChannel:
		d.cfg.Logger.Warn("alert", "alert", a.ID, "organization", a.Organization, "rule", a.RuleName, "kind", a.Kind, "subject", a.Subject, "subject_id", a.SubjectID,
			"project", a.Project, "observed", a.Observed, "baseline", a.Baseline, "threshold", a.Threshold, "unit", a.Unit, "title", a.Title, "reason", a.Reason, "action", a.Action)
		return gatehouse.LogChannel, nil
	case c.Disabled:
		return string(c.Kind), hopeless("the channel is disabled")
	}
	switch c.Kind {
	case gatehouse.ChannelWebhook:
		err = d.webhook(ctx, v, a, c)
	case gatehouse.ChannelSlack:
		err = d.slack(ctx, a, c)
	case gatehouse.ChannelEmail:
		err = d.mail(ctx, v, a, c)
	default:
		err = hopeless("this version does not know channels of the kind %q", c.Kind)
	}
	return string(c.Kind), err
}

// sendEvent delivers an event of a project to one of its webhook endpoints.
func (d *Deliverer) sendEvent(ctx context.Context, v *gatehouse.AlertDelivery) error {
	var ev *gatehouse.ProjectEvent
	var e *gatehouse.WebhookEndpoint
	err := d.cfg.DB.View(ctx, func(tx *store.Tx) (err error) {
		if ev, err = tx.ProjectEvent(v.Alert); err != nil {
			return err
		}
		e, err = tx.WebhookEndpoint(v.Channel)
		return err
	})
	switch {
	case gatehouse.KindOf(err) == gatehouse.NotFound || err == nil && e.RemovedAt != 0:
		return hopeless("the endpoint or the event is gone")
	case err != nil:
		return err
	}
	if !d.mayTry(e.ID) {
		return failed("the endpoint did not answer a moment ago")
	}
	began := d.cfg.Now()
	status, err := d.endpoint(ctx, v.ID, ev, e)
	d.heard(e.ID, status != 0 || d.cfg.Now().Sub(began) < longTry)
	return err
}

// An endpoint that did not answer within longTry is left alone for silence, which is longer than a try lasts. One that refuses at once takes
// nobody's time.
const (
	longTry = 2 * time.Second
	silence = 30 * time.Second
)

// mayTry reports whether an endpoint may be called: of one that did not answer, a message at a time finds out whether it does again, so that
// one endpoint does not take the time of all.
func (d *Deliverer) mayTry(endpoint string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	until, silent := d.silent[endpoint]
	now := d.cfg.Now()
	if silent && now.Before(until) {
		return false
	}
	if silent {
		d.silent[endpoint] = now.Add(silence)
	}
	return true
}

// heard notes whether an endpoint answered, whatever it said, or said at once that it does not.
func (d *Deliverer) heard(endpoint string, answered bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if answered {
		delete(d.silent, endpoint)
		return
	}
	if len(d.silent) > 1000 {
		clear(d.silent) // they are found out again
	}
	d.silent[endpoint] = d.cfg.Now().Add(silence)
}

// channel returns the channel with an id; one of OpenAI's spend alerts is a channel to its own recipients.
func channel(tx *store.Tx, id string) (*gatehouse.AlertChannel, error) {
	if c, err := tx.AlertChannel(id); gatehouse.KindOf(err) != gatehouse.NotFound {
		if err == nil && c.RemovedAt != 0 {
			return nil, gatehouse.Errorf(gatehouse.NotFound, "removed")
		}
		return c, err
	}
	s, err := tx.SpendAlert(id)
	if err != nil {
		return nil, err
	}
	return &gatehouse.AlertChannel{ID: s.ID, Organization: s.Organization, Kind: gatehouse.ChannelEmail, Recipients: s.Recipients, SubjectPrefix: s.SubjectPrefix,
		Disabled: s.RemovedAt != 0}, nil
}

// clip bounds an error that is stored.
func clip(s string) string {
	const most = 300
	s = secret.Redact(s)
	if len(s) > most {
		s = s[:most]
	}
	return s
}
