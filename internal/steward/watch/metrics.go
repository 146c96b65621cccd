package watch

import (
	"github.com/prometheus/client_golang/prometheus"

	"gatehouse"
)

var (
	descWatching = prometheus.NewDesc("gatehouse_alerts_watching", "1 on the node that looks for what is unusual; of all nodes on a database one does.", nil, nil)
	descRaised   = prometheus.NewDesc("gatehouse_alerts_total", "Alerts that this node raised.", []string{"kind"}, nil)
)

// Describe implements prometheus.Collector.
func (w *Watch) Describe(ch chan<- *prometheus.Desc) {
	ch <- descWatching
	ch <- descRaised
}

// Collect implements prometheus.Collector.
func (w *Watch) Collect(ch chan<- prometheus.Metric) {
	on := 0.0
	if w.metrics.watching.Load() {
		on = 1
	}
	ch <- prometheus.MustNewConstMetric(descWatching, prometheus.GaugeValue, on)
	w.metrics.mu.Lock()
	defer w.metrics.mu.Unlock()
	for _, k := range gatehouse.AlertKinds {
		ch <- prometheus.MustNewConstMetric(descRaised, prometheus.CounterValue, float64(w.metrics.raised[k]), string(k))
	}
}
