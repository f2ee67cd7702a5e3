package web

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/runner"
)

// Budgets exports the API budgets that throttling has reduced. Without throttling it exports nothing.
func Budgets(l *runner.Limits) prometheus.Collector { return budgetCollector{l} }

type budgetCollector struct{ limits *runner.Limits }

func (budgetCollector) desc() *prometheus.Desc {
	return prometheus.NewDesc("collector_api_budget_ratio",
		"Lowest API budget of the account in the region, relative to the normal budget. AWS throttling reduces it. "+
			"Exported only while below 1.",
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
