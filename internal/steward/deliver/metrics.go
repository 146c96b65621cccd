package deliver

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse"
	"gatehouse/internal/store"
)

// metrics counts what a Deliverer did. Every label is of a closed set.
type metrics struct {
	pending atomic.Int64
	oldest  atomic.Int64 // unix milliseconds; 0: there is none

	mu      sync.Mutex
	results map[result]int64
}

type result struct{ channel, result string }

func (m *metrics) ended(channel, outcome string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.results == nil {
		m.results = map[result]int64{}
	}
	m.results[result{channel, outcome}]++
}

// count looks how long the queue is.
func (d *Deliverer) count(ctx context.Context) {
	err := d.cfg.DB.View(ctx, func(tx *store.Tx) error {
		n, oldest, err := tx.CountDeliveries()
		if err == nil {
			d.metrics.pending.Store(n)
			d.metrics.oldest.Store(int64(oldest))
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		d.cfg.Logger.Info("the queue of alerts cannot be counted", "error", err)
	}
}

var (
	descPending = prometheus.NewDesc("gatehouse_alert_deliveries_pending", "Alerts on their way to a channel, of all nodes, as of the last count.", nil, nil)
	descOldest  = prometheus.NewDesc("gatehouse_alert_deliveries_oldest_seconds", "Age of the alert that has waited longest for a channel.", nil, nil)
	descResults = prometheus.NewDesc("gatehouse_alert_deliveries_total", "Tries of this node to deliver alerts, by the channel's kind and what came of them.", []string{"channel", "result"}, nil)
)

// Describe implements prometheus.Collector.
func (d *Deliverer) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{descPending, descOldest, descResults} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (d *Deliverer) Collect(ch chan<- prometheus.Metric) {
	m := &d.metrics
	age := 0.0
	if oldest := m.oldest.Load(); oldest != 0 {
		age = max(0, d.cfg.Now().Sub(gatehouse.Millis(oldest).Time()).Seconds())
	}
	ch <- prometheus.MustNewConstMetric(descPending, prometheus.GaugeValue, float64(m.pending.Load()))
	ch <- prometheus.MustNewConstMetric(descOldest, prometheus.GaugeValue, age)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, channel := range []string{gatehouse.LogChannel, string(gatehouse.ChannelWebhook), string(gatehouse.ChannelSlack), string(gatehouse.ChannelEmail)} {
		for _, outcome := range []string{"delivered", "failed", "dead"} {
			ch <- prometheus.MustNewConstMetric(descResults, prometheus.CounterValue, float64(m.results[result{channel, outcome}]), channel, outcome)
		}
	}
}
