package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/runner"
)

// budgetCollector shows what throttles have left of the pace. Where AWS throttles nobody, it shows nothing.
type budgetCollector struct{ limits *runner.Limits }

func (budgetCollector) desc() *prometheus.Desc {
	return prometheus.NewDesc("collector_api_budget_ratio",
		"What throttles have left of the account's budgets in a region, of the API that has least: 0.5 is half the usual pace. There only below 1.",
		[]string{"account", "region"}, nil)
}

// Describe is part of prometheus.Collector.
func (b budgetCollector) Describe(ch chan<- *prometheus.Desc) { ch <- b.desc() }

// Collect is part of prometheus.Collector.
func (b budgetCollector) Collect(ch chan<- prometheus.Metric) {
	desc := b.desc()
	for _, s := range b.limits.ReducedBudgets() {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, s.Ratio, s.Account, s.Region)
	}
}
