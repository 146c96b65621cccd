// Package watch looks for what somebody should know: hours that cost far more than usual, keys used from elsewhere or after a long
// sleep, thresholds that were reached. It reads sums and never the rows behind them, and nothing here is on a request's way.
//
// One node looks at a time: it holds a claim in the database for as long as it goes on asking, and the others stand by. Two that look
// at once, because a claim has just moved, raise one alert all the same: what is found is marked in the transaction that writes the
// alert and its deliveries (store.RaiseAlerts).
//
// It owns what is looked for and the words of an alert. It does not own the arithmetic (anomaly), the rules (admin) or how anybody is
// told (deliver).
package watch

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse"
	"gatehouse/internal/admin"
	"gatehouse/internal/steward/anomaly"
	"gatehouse/internal/store"
)

// Config is what a Watch needs. Every field is required but Raised.
type Config struct {
	DB *store.DB
	// Holder names this process in the claim, and no other.
	Holder string
	// Suspend stops the key that an alert is about, and those that go with it as the rule says, and returns what came of it in a few
	// words. Calling it again for the same alert changes nothing.
	Suspend func(ctx context.Context, a *gatehouse.Alert, how gatehouse.AlertSuspend) (outcome string, err error)
	// Budgets and Credits return what an organization may spend and has prepaid, as admin shows them.
	Budgets func(ctx context.Context, organization string) ([]admin.BudgetStatus, error)
	Credits func(ctx context.Context, organization string) (*admin.CreditsInfo, error)
	// Raised is called when there is something to deliver.
	Raised func()
	Now    func() time.Time
	Logger *slog.Logger
}

const (
	// every is how often a node looks, or asks whether it is to look.
	every = 15 * time.Second
	// claimFor is how long a claim holds: a node that died is followed by another within it.
	claimFor = 45 * time.Second
	// lookTimeout bounds one look, so that a database that does not answer holds nothing up for good.
	lookTimeout = 40 * time.Second
	// pruneEvery is how often what is old is deleted.
	pruneEvery = time.Hour
	// forecastEvery is how often budgets are held to the forecast, which reads months.
	forecastEvery = time.Hour

	// duty is the name of the claim.
	duty = "alerts"

	alertsFor   = 90 * 24 * time.Hour // alerts and their deliveries are kept
	activityFor = 40 * 24 * time.Hour
	networksFor = 90 * 24 * time.Hour // since their last use

	minute = gatehouse.Millis(time.Minute / time.Millisecond)
	hour   = gatehouse.Millis(time.Hour / time.Millisecond)
	day    = 24 * hour

	// lateFor is how long after an hour's end it is still looked at: what was served in it arrives a little later.
	lateFor = 10 * minute
	// memory is how long ago something may have happened that is told of once: longer than nodes stand still.
	memory = day
)

// Watch looks. Create it with New and run it with Run.
type Watch struct {
	cfg     Config
	metrics metrics

	// The rest belongs to Run.
	pruned   time.Time
	forecast time.Time
	lives    gatehouse.Millis // up to when it was looked what keys were made and revoked; 0: never
	hour     gatehouse.Millis // that verdicts are about
	verdicts map[verdictKey]anomaly.Verdict
	failing  bool
}

// New returns a Watch that is not running yet.
func New(cfg Config) *Watch { return &Watch{cfg: cfg} }

// Run looks until ctx ends, and then gives its claim up.
func (w *Watch) Run(ctx context.Context) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	defer func() {
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer stop()
		_ = w.cfg.DB.DropDuty(ctx, duty, w.cfg.Holder) // else it lapses
	}()
	for {
		w.turn(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// turn looks, if it is this node's turn.
func (w *Watch) turn(ctx context.Context) {
	limited, stop := context.WithTimeout(ctx, lookTimeout)
	defer stop()
	now := w.cfg.Now()
	mine, err := w.cfg.DB.ClaimDuty(limited, duty, w.cfg.Holder, gatehouse.MillisOf(now), gatehouse.MillisOf(now.Add(claimFor)))
	w.metrics.watching.Store(mine && err == nil)
	if err == nil && mine {
		err = w.Look(limited)
	}
	switch {
	case ctx.Err() != nil:
	case err != nil && !w.failing:
		w.failing = true
		w.cfg.Logger.Warn("cannot look for what is unusual; it is tried again", "error", err)
	case err == nil && w.failing:
		w.failing = false
		w.cfg.Logger.Info("looking for what is unusual again")
	}
}

// Look looks once, at everything, raises what is found and does what its rules say. It does not ask whose turn it is.
func (w *Watch) Look(ctx context.Context) error {
	l := &look{w: w, now: gatehouse.MillisOf(w.cfg.Now())}
	if at := l.now / hour * hour; at != w.hour || w.verdicts == nil {
		w.hour, w.verdicts = at, map[verdictKey]anomaly.Verdict{}
	}
	if now := w.cfg.Now(); now.Sub(w.forecast) >= forecastEvery {
		w.forecast, l.forecasting = now, true
	}
	if err := w.cfg.DB.View(ctx, l.read); err != nil {
		return err
	}
	l.tx = nil // it has ended
	if err := l.money(ctx); err != nil {
		return err
	}
	raised, err := w.cfg.DB.RaiseAlerts(ctx, l.now, l.found)
	if err != nil {
		return err
	}
	w.lives = l.told
	for i := range raised {
		w.metrics.count(raised[i].Kind)
	}
	if len(raised) > 0 && w.cfg.Raised != nil {
		w.cfg.Raised()
	}
	for key, networks := range l.forget {
		if err := w.cfg.DB.DropNetworks(ctx, key, networks); err != nil {
			return err
		}
	}
	if err := w.act(ctx); err != nil {
		return err
	}
	return w.prune(ctx)
}

// look is what one look reads and finds.
type look struct {
	w      *Watch
	tx     *store.Tx
	now    gatehouse.Millis
	orgs   []organization
	found  []store.Finding
	forget map[string][]string // networks of keys that are too many
	told   gatehouse.Millis    // up to when it was read what keys were made and revoked
	// forecasting says that budgets are held to the forecast this time.
	forecasting bool
}

// organization is whose rules are asked.
type organization struct {
	gatehouse.Organization
	rules    []gatehouse.AlertRule
	channels []string // ids of those that are told where a rule names none
	zone     *time.Location
}

// read reads everything and fills in what is found.
func (l *look) read(tx *store.Tx) error {
	l.tx = tx
	orgs, err := tx.Organizations()
	if err != nil {
		return err
	}
	for i := range orgs {
		o := organization{Organization: orgs[i], zone: zoneOf(&orgs[i])}
		if o.rules, err = tx.EffectiveAlertRules(o.ID); err != nil {
			return err
		}
		o.rules = slices.DeleteFunc(o.rules, func(r gatehouse.AlertRule) bool { return r.Disabled })
		channels, err := tx.AlertChannels(o.ID)
		if err != nil {
			return err
		}
		for _, c := range channels {
			if !c.Disabled {
				o.channels = append(o.channels, c.ID)
			}
		}
		l.orgs = append(l.orgs, o)
	}
	for _, part := range []func() error{l.activity, l.networks, l.wakings, l.lives, l.expiries, l.spending} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// rulesOf calls fn with each rule of a kind and its organization.
func (l *look) rulesOf(kind gatehouse.AlertKind, fn func(*organization, *gatehouse.AlertRule) error) error {
	for i := range l.orgs {
		for j := range l.orgs[i].rules {
			if r := &l.orgs[i].rules[j]; r.Kind == kind {
				if err := fn(&l.orgs[i], r); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// find adds an alert, which is not raised again with the same mark until a moment.
func (l *look) find(o *organization, r *gatehouse.AlertRule, a gatehouse.Alert, mark string, until gatehouse.Millis) *store.Finding {
	a.ID, a.At, a.Organization = gatehouse.NewID(gatehouse.PrefixAlert), l.now, o.ID
	a.Rule, a.RuleName, a.Kind = r.ID, r.Name, r.Kind
	if r.Suspend != gatehouse.SuspendNothing && a.Subject == gatehouse.AboutKey {
		a.Action = gatehouse.ActionPending
	}
	channels := []string{gatehouse.LogChannel}
	for _, c := range o.channels {
		if len(r.Channels) == 0 || slices.Contains(r.Channels, c) {
			channels = append(channels, c)
		}
	}
	l.found = append(l.found, store.Finding{Alert: a, Mark: mark, Until: until, Channels: channels})
	return &l.found[len(l.found)-1]
}

// quiet returns up to when a rule says nothing more, and at least until a moment.
func (l *look) quiet(r *gatehouse.AlertRule, least gatehouse.Millis) gatehouse.Millis {
	return max(l.now+gatehouse.Millis(r.QuietMillis), least)
}

// about reports whether a rule is about what happens in a project.
func about(r *gatehouse.AlertRule, project string) bool {
	return len(r.Projects) == 0 || slices.Contains(r.Projects, project)
}

// act takes the actions of alerts, those of a node that died in the middle too.
func (w *Watch) act(ctx context.Context) error {
	var alerts []gatehouse.Alert
	how := map[string]gatehouse.AlertSuspend{}
	err := w.cfg.DB.View(ctx, func(tx *store.Tx) (err error) {
		if alerts, err = tx.PendingActions(100); err != nil {
			return err
		}
		for i := range alerts {
			switch r, err := tx.AlertRule(alerts[i].Rule); {
			case gatehouse.KindOf(err) == gatehouse.NotFound:
			case err != nil:
				return err
			case r.RemovedAt == 0 && !r.Disabled:
				how[alerts[i].Rule] = r.Suspend
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range alerts {
		a, outcome := &alerts[i], "nothing suspended: the rule no longer says so"
		if suspend := how[a.Rule]; suspend != gatehouse.SuspendNothing {
			if outcome, err = w.cfg.Suspend(ctx, a, suspend); err != nil {
				return err
			}
		}
		if err := w.cfg.DB.EndAction(ctx, a.ID, outcome); err != nil {
			return err
		}
		w.cfg.Logger.Info("alert acted on", "alert", a.ID, "key", a.Key, "outcome", outcome)
	}
	return nil
}

// prune deletes what is old, now and then.
func (w *Watch) prune(ctx context.Context) error {
	now := w.cfg.Now()
	if now.Sub(w.pruned) < pruneEvery {
		return nil
	}
	err := w.cfg.DB.PruneAlerts(ctx, store.AlertRetention{Alerts: gatehouse.MillisOf(now.Add(-alertsFor)), Activity: gatehouse.MillisOf(now.Add(-activityFor)),
		Networks: gatehouse.MillisOf(now.Add(-networksFor)), Marks: gatehouse.MillisOf(now)})
	if err == nil {
		w.pruned = now
	}
	return err
}

// metrics counts what a Watch did.
type metrics struct {
	watching atomic.Bool

	mu     sync.Mutex
	raised map[gatehouse.AlertKind]int64
}

func (m *metrics) count(k gatehouse.AlertKind) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.raised == nil {
		m.raised = map[gatehouse.AlertKind]int64{}
	}
	m.raised[k]++
}
