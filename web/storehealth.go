package web

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/inventory"
)

// StoreHealth exports whether store writes work. It makes no database calls.
func StoreHealth(i *inventory.Inventory) prometheus.Collector { return storeHealth{i} }

type storeHealth struct{ inventory *inventory.Inventory }

func (storeHealth) descs() (up, lost *prometheus.Desc) {
	up = prometheus.NewDesc("collector_store_up",
		"1 if the last store write worked, 0 while store writes fail. Delivery to outputs continues.", nil, nil)
	lost = prometheus.NewDesc("collector_store_lost_writes_total",
		"Target ends and retirements that were not stored since the start.", nil, nil)
	return up, lost
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
