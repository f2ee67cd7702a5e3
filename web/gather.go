package web

import (
	"cmp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// A gatherer adds the metrics of accounts to those of a registry. There are thousands: five and more for each account
// and region. A registry takes each one from a channel, checks it, and sorts them, and the library makes the labels of
// each anew, which takes more time than everything else of a scrape. These come in order, each once, and share labels.
type gatherer struct {
	registry prometheus.Gatherer
	metrics  *Metrics
}

// Gatherer returns what /metrics serves: the metrics of accounts, and what the registry has.
func (m *Metrics) Gatherer(registry prometheus.Gatherer) prometheus.Gatherer {
	return gatherer{registry, m}
}

// Gather implements prometheus.Gatherer.
func (g gatherer) Gather() ([]*dto.MetricFamily, error) {
	families, err := g.registry.Gather()
	s := &scrape{families: map[*metricSpec]*dto.MetricFamily{}, labels: map[[2]string]*dto.LabelPair{}}
	g.metrics.counts.collect(s)
	g.metrics.snapshot.collect(s)
	for _, f := range s.families {
		families = append(families, f)
	}
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return families, err
}

// A metricSpec is a metric without its series.
type metricSpec struct {
	name, help string
	kind       dto.MetricType
}

func gauge(name, help string) *metricSpec { return &metricSpec{name, help, dto.MetricType_GAUGE} }

func counter(name, help string) *metricSpec { return &metricSpec{name, help, dto.MetricType_COUNTER} }

// A scrape collects the series of one scrape.
type scrape struct {
	families map[*metricSpec]*dto.MetricFamily
	labels   map[[2]string]*dto.LabelPair
	free     []sample
}

// A sample is all that a series needs, in one piece of memory.
type sample struct {
	metric  dto.Metric
	gauge   dto.Gauge
	counter dto.Counter
	value   float64
	labels  [4]*dto.LabelPair
}

// samplesAtOnce is how many samples are allocated together.
const samplesAtOnce = 64

// label returns a label; equal ones are shared.
func (s *scrape) label(name, value string) *dto.LabelPair {
	key := [2]string{name, value}
	pair := s.labels[key]
	if pair == nil {
		pair = newLabel(name, value)
		s.labels[key] = pair
	}
	return pair
}

// newLabel returns a label. A value that is not UTF-8 is made valid: the encoders would refuse it.
func newLabel(name, value string) *dto.LabelPair {
	value = strings.ToValidUTF8(value, "\uFFFD")
	return &dto.LabelPair{Name: &name, Value: &value}
}

// add adds a series. The labels must be in the order of their names, as encoders write them.
func (s *scrape) add(spec *metricSpec, value float64, labels ...*dto.LabelPair) {
	if len(s.free) == 0 {
		s.free = make([]sample, samplesAtOnce)
	}
	m := &s.free[0]
	s.free = s.free[1:]
	m.value = value
	m.metric.Label = append(m.labels[:0], labels...)
	if spec.kind == dto.MetricType_COUNTER {
		m.counter.Value = &m.value
		m.metric.Counter = &m.counter
	} else {
		m.gauge.Value = &m.value
		m.metric.Gauge = &m.gauge
	}
	f := s.families[spec]
	if f == nil {
		f = &dto.MetricFamily{Name: &spec.name, Help: &spec.help, Type: &spec.kind}
		s.families[spec] = f
	}
	f.Metric = append(f.Metric, &m.metric)
}
