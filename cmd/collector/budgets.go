package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/runner"
)

// budgets shows what throttles have left of the pace. Where AWS throttles nobody, it shows nothing.
type budgets struct{ limits *runner.Limits }

var budgetPart = prometheus.NewDesc("collector_api_budget_part",
	"What throttles have left of the account's budgets in a region, of the API that has least: 0.5 is half the usual pace. There only below 1.",
	[]string{"account", "region"}, nil)

func (budgets) Describe(ch chan<- *prometheus.Desc) { ch <- budgetPart }

func (b budgets) Collect(ch chan<- prometheus.Metric) {
	for _, s := range b.limits.Slowed() {
		ch <- prometheus.MustNewConstMetric(budgetPart, prometheus.GaugeValue, s.Part, s.Account, s.Region)
	}
}
