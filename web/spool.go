package web

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// spoolMetrics are the metrics of outputs with a spool: what waits, what was lost, and the retries.
type spoolMetrics struct {
	records, bytes, oldest        *prometheus.GaugeVec
	dropped, deadLetters, retries *prometheus.CounterVec
}

func newSpoolMetrics() spoolMetrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"output"})
	}
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"output"}, more...))
	}
	return spoolMetrics{
		records: gauge("collector_output_spool_records", "Records on disk that wait for an output's receiver."),
		bytes: gauge("collector_output_spool_bytes",
			"Stored bytes on disk that wait for an output's receiver; spool.max_bytes is the limit."),
		oldest: gauge("collector_output_spool_oldest_timestamp_seconds",
			"Time since which the oldest record waits for an output's receiver, in seconds since the epoch. "+
				"No series if none waits."),
		dropped: counter("collector_output_dropped_records_total",
			"Records that a spool lost, by reason: full, or damaged on disk.", "reason"),
		deadLetters: counter("collector_output_dead_letters_total",
			"Records that an output's receiver refused for their content, stored in dead-letter.jsonl of its spool."),
		retries: counter("collector_output_retries_total",
			"Requests to an output's receiver that failed and are retried."),
	}
}

func (s spoolMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{s.records, s.bytes, s.oldest, s.dropped, s.deadLetters, s.retries}
}

// Describe implements prometheus.Collector.
func (s spoolMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, c := range s.all() {
		c.Describe(to)
	}
}

// Collect implements prometheus.Collector.
func (s spoolMetrics) Collect(to chan<- prometheus.Metric) {
	for _, c := range s.all() {
		c.Collect(to)
	}
}

func (s spoolMetrics) remove(output string) {
	by := prometheus.Labels{"output": output}
	for _, g := range []*prometheus.GaugeVec{s.records, s.bytes, s.oldest} {
		g.DeletePartialMatch(by)
	}
	for _, c := range []*prometheus.CounterVec{s.dropped, s.deadLetters, s.retries} {
		c.DeletePartialMatch(by)
	}
}

// OutputSpool records what waits for an output. Its counters begin at 0.
func (m *Metrics) OutputSpool(output string, records int, bytes int64, oldest time.Time) {
	m.spool.records.WithLabelValues(output).Set(float64(records))
	m.spool.bytes.WithLabelValues(output).Set(float64(bytes))
	if oldest.IsZero() {
		m.spool.oldest.DeleteLabelValues(output)
	} else {
		m.spool.oldest.WithLabelValues(output).Set(float64(oldest.UnixMilli()) / 1e3)
	}
	m.spool.dropped.WithLabelValues(output, "full")
	m.spool.dropped.WithLabelValues(output, "damaged")
	m.spool.deadLetters.WithLabelValues(output)
	m.spool.retries.WithLabelValues(output)
}

// OutputDropped counts the records that a spool lost.
func (m *Metrics) OutputDropped(output string, records int, reason string) {
	m.spool.dropped.WithLabelValues(output, reason).Add(float64(records))
}

// OutputDeadLetter counts a dead letter.
func (m *Metrics) OutputDeadLetter(output string) { m.spool.deadLetters.WithLabelValues(output).Inc() }

// OutputRetried counts a request that is retried.
func (m *Metrics) OutputRetried(output string) { m.spool.retries.WithLabelValues(output).Inc() }
