package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/inventory"
)

// storeHealth shows how the store fares. It asks no database.
type storeHealth struct{ inventory *inventory.Inventory }

func (storeHealth) descs() (up, lost *prometheus.Desc) {
	return prometheus.NewDesc("collector_store_up", "1 while the store can be written; 0 while its writes fail. Delivery goes on all the same.", nil, nil),
		prometheus.NewDesc("collector_store_lost_writes_total", "Ends of targets, and retirements, that the store did not store since the start.", nil, nil)
}

// Describe is part of prometheus.Collector.
func (s storeHealth) Describe(ch chan<- *prometheus.Desc) {
	up, lost := s.descs()
	ch <- up
	ch <- lost
}

// Collect is part of prometheus.Collector.
func (s storeHealth) Collect(ch chan<- prometheus.Metric) {
	up, lost := s.descs()
	t := s.inventory.Health()
	value := 1.0
	if t.Err != nil {
		value = 0
	}
	ch <- prometheus.MustNewConstMetric(up, prometheus.GaugeValue, value)
	ch <- prometheus.MustNewConstMetric(lost, prometheus.CounterValue, float64(t.NotStored))
}
