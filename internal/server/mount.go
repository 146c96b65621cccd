package server

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gatehouse/internal/adminapi"
)

// mount says what is served where. Every path that is not administration is the gateway's, which answers the ones nobody knows
// in the dialect they are written in.
func (s *Server) mount() (data, administration, ops http.Handler) {
	api := adminapi.New(adminapi.Config{Admin: s.admin, Auth: s.auth, DB: s.db, Ledger: s.ledger, Catalog: s.catalog,
		TrustedProxies: s.trusted, Logger: s.log, PublicURL: s.cfg.PublicURL, Health: s.health, Denied: s.denied,
		Bill: s.gateway.FetchBill, Price: s.pricer, LimitUse: s.use, CallsPerMinute: s.cfg.Limits.AdminCalls})
	data = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.cfg.AdminListen == "" && adminapi.Serves(r.URL.EscapedPath()) {
			api.ServeHTTP(w, r)
			return
		}
		s.gateway.ServeHTTP(w, r)
	})
	return data, api, s.ops()
}

// ops serves what operators and their tools look at. It has no authentication: it belongs on a private address.
func (s *Server) ops() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), s.gateway.Metrics(), s.steward, s.watch, s.deliverer, (*nodeCollector)(s))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { report(w, http.StatusOK, "ok", "") })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/heap", noHeap)
	return mux
}

// noHeap refuses the one profile that holds memory itself rather than statistics about it.
func noHeap(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.URL.RawQuery, "dump") {
		http.Error(w, "not served", http.StatusForbidden)
		return
	}
	pprof.Handler("heap").ServeHTTP(w, r)
}

// ready answers whether this node can serve. It stays ready while the database is away, for as long as the node may go on.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	switch {
	case s.draining.Load():
		report(w, http.StatusServiceUnavailable, "draining", "the node is shutting down")
	case !s.catalog.Fresh():
		report(w, http.StatusServiceUnavailable, "stale", "the node could not renew its right to decide within max_staleness; look at the database")
	case s.ledger.Stats().Failing:
		report(w, http.StatusServiceUnavailable, "journal", "the journal below `data` cannot be written, so that nothing may be served; look at the disk")
	case s.clock.drift().Abs() > clockTolerance:
		// It serves all the same: a database whose clock is wrong must not take every node out of rotation.
		report(w, http.StatusOK, "ready", "this node's clock was set, or differs from the database's; keys expire by the one that is ahead")
	default:
		report(w, http.StatusOK, "ready", "")
	}
}

func report(w http.ResponseWriter, status int, state, why string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	body := map[string]string{"status": state}
	if why != "" {
		body["reason"] = why
	}
	_ = json.NewEncoder(w).Encode(body) // the prober may be gone
}

// nodeCollector exposes the state of a node's parts.
type nodeCollector Server

var (
	descFresh     = prometheus.NewDesc("gatehouse_fresh", "1 while this node may decide about credentials.", nil, nil)
	descApplied   = prometheus.NewDesc("gatehouse_applied_sequence", "Sequence number of the last change in memory.", nil, nil)
	descHolds     = prometheus.NewDesc("gatehouse_holds", "Requests held and not settled.", nil, nil)
	descPending   = prometheus.NewDesc("gatehouse_journal_pending_bytes", "Journaled and not yet in the database.", nil, nil)
	descLag       = prometheus.NewDesc("gatehouse_journal_lag_seconds", "Age of the oldest record that is not in the database.", nil, nil)
	descJournal   = prometheus.NewDesc("gatehouse_journal_errors_total", "Failed writes of the journal.", nil, nil)
	descRecord    = prometheus.NewDesc("gatehouse_record_errors_total", "Failed attempts to write a batch of the journal to the database.", nil, nil)
	descDropped   = prometheus.NewDesc("gatehouse_dropped_decisions_total", "Explain records of refusals that were counted and not kept.", nil, nil)
	descRecovered = prometheus.NewDesc("gatehouse_recovered_requests", "Requests settled by recovery at the last start.", nil, nil)
	descRefused   = prometheus.NewDesc("gatehouse_refused_credentials_total", "Refused credentials by rule.", []string{"rule"}, nil)
	descDrift     = prometheus.NewDesc("gatehouse_clock_drift_seconds", "How far this node's clock is ahead of where it should be by its start or by the database.", nil, nil)
	descExpires   = prometheus.NewDesc("gatehouse_certificate_expires_seconds", "When the certificate in use expires, in seconds since 1970; 0: there is none.", nil, nil)
	descTraces    = prometheus.NewDesc("gatehouse_traces_total", "Exchanges whose trace a collector took, and those whose trace was dropped.", []string{"result"}, nil)
	descShared    = prometheus.NewDesc("gatehouse_limits_shared", "1 while rate limits are counted together with other nodes, 0 while this node counts for itself.", nil, nil)
	descCounted   = prometheus.NewDesc("gatehouse_limit_calls_total", "Requests whose rate limits Valkey decided (shared), calls that it did not answer in time (failed), and requests that this node decided for itself (alone).", []string{"result"}, nil)
	descInfo      = prometheus.NewDesc("gatehouse_build_info", "1, labelled with the version.", []string{"version"}, nil)
)

// Describe implements prometheus.Collector.
func (n *nodeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descFresh, descApplied, descHolds, descPending, descLag, descJournal, descRecord, descDropped, descRecovered, descRefused, descDrift, descExpires, descTraces, descShared, descCounted, descInfo} {
		ch <- d
	}
	describeBudgets(ch)
}

// Collect implements prometheus.Collector.
func (n *nodeCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	fresh := 0.0
	if n.catalog.Fresh() {
		fresh = 1
	}
	gauge(descFresh, fresh)
	gauge(descApplied, float64(n.catalog.Applied()))
	stats := n.ledger.Stats()
	gauge(descHolds, float64(stats.Holds))
	gauge(descPending, float64(stats.PendingBytes))
	gauge(descLag, float64(stats.LagMillis)/1000)
	counter(descJournal, float64(stats.WriteErrors))
	counter(descRecord, float64(stats.RecordErrors))
	counter(descDropped, float64(stats.DroppedDecisions))
	gauge(descRecovered, float64(stats.Recovered))
	collectBudgets(ch, n.ledger.Budgets())
	for rule, count := range n.refused.all() {
		counter(descRefused, float64(count), string(rule))
	}
	gauge(descDrift, n.clock.drift().Seconds())
	expires := 0.0
	if n.certificates != nil {
		expires = float64(n.certificates.expires().Unix())
	}
	gauge(descExpires, expires)
	if n.exporter != nil {
		counter(descTraces, float64(n.exporter.Sent()), "sent")
		counter(descTraces, float64(n.exporter.Dropped()), "dropped")
	}
	if shared := n.counters.shared; shared != nil {
		stats := shared.Stats()
		together := 1.0
		if stats.Away {
			together = 0
		}
		gauge(descShared, together)
		counter(descCounted, float64(stats.Shared), "shared")
		counter(descCounted, float64(stats.Failed), "failed")
		counter(descCounted, float64(stats.Alone), "alone")
	}
	gauge(descInfo, 1, n.opts.Version)
}
