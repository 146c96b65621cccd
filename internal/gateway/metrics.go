package gateway

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse"
	"gatehouse/internal/dialect"
	"gatehouse/internal/gateway/health"
	"gatehouse/internal/limit"
)

// Metrics counts exchanges. Every label comes from a table in code: operations, dialects, classes of statuses. A request costs a
// few atomic additions; text is made when somebody asks.
type Metrics struct {
	byOp     map[*dialect.Op]*opCounters
	unknown  opCounters // requests whose path is no operation
	open     func() int64
	memory   func() int64
	health   func() ([]gatehouse.RouteHealth, health.Counts)
	input    atomic.Uint64
	output   atomic.Uint64
	attempts atomic.Uint64
	left     atomic.Uint64
	cut      atomic.Uint64                // streams, for want of money
	over     atomic.Uint64                // requests that cost more than was held for them
	overNano atomic.Uint64                // and by how much, in nano-USD
	limited  [limit.Metrics]atomic.Uint64 // refused by a rate limit
}

// opCounters counts one operation: by the caller's dialect and the class of the status.
type opCounters struct {
	requests [dialect.Faces][6]atomic.Uint64
	millis   atomic.Uint64
}

func newMetrics() *Metrics {
	m := &Metrics{byOp: make(map[*dialect.Op]*opCounters)}
	for _, op := range dialect.Ops() {
		m.byOp[op] = &opCounters{}
	}
	return m
}

func (m *Metrics) observe(x *exchange) {
	c := &m.unknown
	if x.call.Op != nil {
		c = m.byOp[x.call.Op]
	}
	class := x.record.Status / 100
	if class < 1 || class > 5 {
		class = 5
	}
	c.requests[x.call.Face][class].Add(1)
	c.millis.Add(uint64(max(x.record.Millis, 0)))
	m.attempts.Add(uint64(x.tries))
	if x.record.ClientLeft {
		m.left.Add(1)
	}
	if x.settled && !x.settlement.Released {
		m.input.Add(uint64(max(x.settlement.Units.Input, 0)))
		m.output.Add(uint64(max(x.settlement.Units.Output, 0)))
		if over := x.settlement.Cost - x.charge.Bound; x.capped && x.charge.BoundKnown && over > 0 {
			m.over.Add(1)
			m.overNano.Add(uint64(over))
		}
	}
}

var (
	descRequests = prometheus.NewDesc("gatehouse_requests_total", "Requests by operation, dialect of the caller and class of the status.", []string{"operation", "dialect", "status"}, nil)
	descSeconds  = prometheus.NewDesc("gatehouse_request_seconds_total", "Time spent in requests, by operation.", []string{"operation"}, nil)
	descOpen     = prometheus.NewDesc("gatehouse_open_requests", "Requests that have not ended.", nil, nil)
	descMemory   = prometheus.NewDesc("gatehouse_body_memory_bytes", "Memory taken by request bodies.", nil, nil)
	descTokens   = prometheus.NewDesc("gatehouse_tokens_total", "Tokens settled by this node.", []string{"direction"}, nil)
	descAttempts = prometheus.NewDesc("gatehouse_upstream_attempts_total", "Attempts at upstreams.", nil, nil)
	descCircuits = prometheus.NewDesc("gatehouse_circuits", "Circuits of upstreams called lately, by state and reason.", []string{"state", "reason"}, nil)
	descAside    = prometheus.NewDesc("gatehouse_routes_aside", "Routes that are tried last, by state and reason.", []string{"state", "reason"}, nil)
	descOpened   = prometheus.NewDesc("gatehouse_routes_failed_total", "How often a circuit opened or a route was set aside, by reason.", []string{"reason"}, nil)
	descNoRetry  = prometheus.NewDesc("gatehouse_retries_refused_total", "Retries that an upstream's retry budget did not allow.", nil, nil)
	descCut      = prometheus.NewDesc("gatehouse_streams_cut_for_spend_total", "Streams that were cut because what was held for them and the rest of a budget were used up.", nil, nil)
	descOver     = prometheus.NewDesc("gatehouse_requests_over_hold_total", "Requests under a hard budget that cost more than was held for them.", nil, nil)
	descOverUSD  = prometheus.NewDesc("gatehouse_over_hold_usd_total", "What requests under a hard budget cost beyond what was held for them, in US dollars.", nil, nil)
	descLeft     = prometheus.NewDesc("gatehouse_clients_left_total", "Requests whose caller left before the answer ended.", nil, nil)
	descLimited  = prometheus.NewDesc("gatehouse_rate_limited_total", "Requests that a rate limit refused, by what ran out.", []string{"limit"}, nil)
)

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRequests, descSeconds, descOpen, descMemory, descTokens, descAttempts, descCircuits, descAside, descOpened, descNoRetry, descLeft, descCut, descOver, descOverUSD, descLimited} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	// Several rows of the table may share a name: two paths of one operation.
	type label struct{ name, dialect, status string }
	requests, millis := map[label]uint64{}, map[string]uint64{}
	collect := func(name string, c *opCounters) {
		for face := range c.requests {
			for class := range c.requests[face] {
				if n := c.requests[face][class].Load(); n > 0 {
					requests[label{name, dialect.Face(face).String(), strconv.Itoa(class) + "xx"}] += n
				}
			}
		}
		if n := c.millis.Load(); n > 0 {
			millis[name] += n
		}
	}
	for op, c := range m.byOp {
		collect(op.Name, c)
	}
	collect("unknown", &m.unknown)
	for l, n := range requests {
		counter(descRequests, n, l.name, l.dialect, l.status)
	}
	for name, n := range millis {
		ch <- prometheus.MustNewConstMetric(descSeconds, prometheus.CounterValue, float64(n)/1000, name)
	}
	ch <- prometheus.MustNewConstMetric(descOpen, prometheus.GaugeValue, float64(m.open()))
	ch <- prometheus.MustNewConstMetric(descMemory, prometheus.GaugeValue, float64(m.memory()))
	counter(descTokens, m.input.Load(), "input")
	counter(descTokens, m.output.Load(), "output")
	counter(descAttempts, m.attempts.Load())
	counter(descLeft, m.left.Load())
	counter(descCut, m.cut.Load())
	counter(descOver, m.over.Load())
	ch <- prometheus.MustNewConstMetric(descOverUSD, prometheus.CounterValue, float64(m.overNano.Load())/1e9)
	for i := range m.limited {
		counter(descLimited, m.limited[i].Load(), limit.Metric(i).String())
	}
	routes, counts := m.health()
	type standing struct {
		desc          *prometheus.Desc
		state, reason string
	}
	standings := map[standing]int{}
	for i := range routes {
		h := &routes[i]
		switch {
		case h.Deployment == "":
			standings[standing{descCircuits, string(h.State), h.Reason}]++
		case h.State != gatehouse.RouteClosed:
			standings[standing{descAside, string(h.State), h.Reason}]++
		}
	}
	for s, n := range standings {
		ch <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, float64(n), s.state, s.reason)
	}
	for r := health.None + 1; r < health.Reasons; r++ {
		counter(descOpened, counts.Opened[r], r.String())
	}
	counter(descNoRetry, counts.Refused)
}

// Metrics returns the counters, for the ops listener.
func (g *Gateway) Metrics() *Metrics { return g.metrics }
