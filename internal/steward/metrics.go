package steward

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse"
	"gatehouse/internal/dialect/work"
	"gatehouse/internal/store"
)

// metrics counts what a steward did. Every label is of a closed set.
type metrics struct {
	open   atomic.Int64 // pieces of work in the table, of all nodes
	oldest atomic.Int64 // when the oldest began, in unix milliseconds; 0: there is none

	mu       sync.Mutex
	polls    map[gatehouse.WorkKind]int64
	failures map[gatehouse.WorkKind]int64
	ends     map[gatehouse.Confidence]int64
}

func (m *metrics) polled(k gatehouse.WorkKind) { add(m, &m.polls, k) }
func (m *metrics) failed(k gatehouse.WorkKind) { add(m, &m.failures, k) }

func (m *metrics) settled(c gatehouse.Confidence) { add(m, &m.ends, c) }

func add[K comparable](m *metrics, counts *map[K]int64, key K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if *counts == nil {
		*counts = map[K]int64{}
	}
	(*counts)[key]++
}

// count looks how much work is open.
func (s *Steward) count(ctx context.Context) {
	err := s.cfg.DB.View(ctx, func(tx *store.Tx) error {
		n, oldest, err := tx.OpenWork()
		if err == nil {
			s.metrics.open.Store(n)
			s.metrics.oldest.Store(int64(oldest))
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		s.cfg.Logger.Info("open work cannot be counted", "error", err)
	}
}

var (
	descOpen     = prometheus.NewDesc("gatehouse_work_open", "Work that goes on after its request, of all nodes, as of the last count.", nil, nil)
	descOldest   = prometheus.NewDesc("gatehouse_work_oldest_seconds", "Age of the oldest work that is open.", nil, nil)
	descPolls    = prometheus.NewDesc("gatehouse_work_polls_total", "Looks of this node at the objects of open work.", []string{"kind"}, nil)
	descFailures = prometheus.NewDesc("gatehouse_work_failures_total", "Looks that found nothing: the upstream did not answer, or with something else.", []string{"kind"}, nil)
	descEnds     = prometheus.NewDesc("gatehouse_work_settled_total", "Work whose end this node settled, by where the numbers come from.", []string{"source"}, nil)
)

// Describe implements prometheus.Collector.
func (s *Steward) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descOpen, descOldest, descPolls, descFailures, descEnds} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *Steward) Collect(ch chan<- prometheus.Metric) {
	m := &s.metrics
	age := 0.0
	if oldest := m.oldest.Load(); oldest != 0 {
		age = max(0, s.cfg.Now().Sub(gatehouse.Millis(oldest).Time()).Seconds())
	}
	ch <- prometheus.MustNewConstMetric(descOpen, prometheus.GaugeValue, float64(m.open.Load()))
	ch <- prometheus.MustNewConstMetric(descOldest, prometheus.GaugeValue, age)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range work.Kinds() {
		ch <- prometheus.MustNewConstMetric(descPolls, prometheus.CounterValue, float64(m.polls[k]), string(k))
		ch <- prometheus.MustNewConstMetric(descFailures, prometheus.CounterValue, float64(m.failures[k]), string(k))
	}
	for _, c := range []gatehouse.Confidence{gatehouse.Reported, gatehouse.Estimated} {
		ch <- prometheus.MustNewConstMetric(descEnds, prometheus.CounterValue, float64(m.ends[c]), string(c))
	}
}
