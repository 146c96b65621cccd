package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"gatehouse"
	"gatehouse/internal/ledger/budget"
)

var (
	descBudgetWindows  = prometheus.NewDesc("gatehouse_budget_windows", "Windows of budgets that this node counts in.", nil, nil)
	descBudgetGranted  = prometheus.NewDesc("gatehouse_budget_granted_usd", "This node's slices of hard budgets, added up over budgets.", nil, nil)
	descBudgetHeld     = prometheus.NewDesc("gatehouse_budget_held_usd", "What open requests hold of hard budgets, added up over budgets.", nil, nil)
	descBudgetSpent    = prometheus.NewDesc("gatehouse_budget_spent_usd", "What this node spent of the windows it counts in, added up over hard budgets.", nil, nil)
	descBudgetRefused  = prometheus.NewDesc("gatehouse_budget_refused_total", "Requests refused by a budget, by whether the refusal was final.", []string{"result"}, nil)
	descBudgetWaits    = prometheus.NewDesc("gatehouse_budget_waits_total", "Requests that waited for a slice of a budget.", nil, nil)
	descBudgetSlices   = prometheus.NewDesc("gatehouse_budget_slices_total", "Slices of budgets taken from the database.", nil, nil)
	descBudgetFailures = prometheus.NewDesc("gatehouse_budget_errors_total", "Times a budget had to be asked for in the database and that did not answer.", nil, nil)
	descBudgetOverrun  = prometheus.NewDesc("gatehouse_budget_overrun_usd_total", "What requests cost beyond what they held.", nil, nil)
)

func describeBudgets(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descBudgetWindows, descBudgetGranted, descBudgetHeld, descBudgetSpent, descBudgetRefused, descBudgetWaits, descBudgetSlices,
		descBudgetFailures, descBudgetOverrun} {
		ch <- d
	}
}

// collectBudgets exposes the state of the node's accounts.
func collectBudgets(ch chan<- prometheus.Metric, s budget.Stats) {
	usd := func(n gatehouse.NanoUSD) float64 { return float64(n) / 1e9 }
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge(descBudgetWindows, float64(s.Windows))
	gauge(descBudgetGranted, usd(s.Granted))
	gauge(descBudgetHeld, usd(s.Held))
	gauge(descBudgetSpent, usd(s.Spent))
	counter(descBudgetRefused, float64(s.Final), "final")
	counter(descBudgetRefused, float64(s.Retryable), "retryable")
	counter(descBudgetWaits, float64(s.Waits))
	counter(descBudgetSlices, float64(s.Slices))
	counter(descBudgetFailures, float64(s.Failures))
	counter(descBudgetOverrun, usd(s.Overrun))
}
