package web

import (
	"errors"
	"fmt"
	"iter"
	"regexp"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// MetricsOptions configure the metrics.
type MetricsOptions struct {
	Version, Revision string   // of the build
	LabelTags         []string // extra_tags that become tag_ labels of collector_account_info
	Detail            bool     // also export series for each target
}

// Metrics counts events for Prometheus: those of the runner ([Metrics.Observe]) and those of outputs, whose Observer it
// implements without importing that package. It reads the current state from a [StatusSource] at each scrape.
//
// The event Configured sets the accounts. Later events of an account that a reload removed, such as the end of a run in
// progress, are not counted, so that its removed series do not come back.
type Metrics struct {
	counts         *counts // by account
	snapshot       *snapshot
	runSeconds     prometheus.Histogram
	requestSeconds *prometheus.HistogramVec
	reloadOK       *prometheus.GaugeVec // without labels: a vector has no series before the first value
	reloadTime     *prometheus.GaugeVec
	outputRecords  *prometheus.CounterVec
	outputLost     *prometheus.CounterVec
	outputErrors   *prometheus.CounterVec
	outputUp       *prometheus.GaugeVec
	spool          spoolMetrics
	outputServed   *prometheus.GaugeVec
	outputOmitted  *prometheus.GaugeVec

	mu    sync.RWMutex
	codes map[string]bool
	tags  map[string][]string // by account: the values of labelTags, in their order

	labelTags []string
}

// NewMetrics registers the metrics of the program, except those of accounts, which [Metrics.Gatherer] adds. Its error
// names the invalid label_tags.
func NewMetrics(reg prometheus.Registerer, status StatusSource, o MetricsOptions) (*Metrics, error) {
	labels, err := tagLabels(o.LabelTags)
	if err != nil {
		return nil, err
	}
	counterVec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gaugeVec := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: buckets, NativeHistogramBucketFactor: 1.1,
			NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
		}
	}
	m := &Metrics{
		counts: newCounts(),
		runSeconds: prometheus.NewHistogram(histogram("collector_run_duration_seconds",
			"Duration of runs, from the account's sign-in to its last target. A run is one account at one tick of its schedule.",
			[]float64{1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200})),
		requestSeconds: prometheus.NewHistogramVec(histogram("collector_api_request_duration_seconds",
			"Duration of attempts of AWS API calls, by operation, from sending to the end of the response.",
			[]float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}), []string{"operation"}),
		reloadOK: gaugeVec("collector_config_last_reload_successful",
			"1 if the last configuration reload succeeded; 0 if it was refused and the configuration before is in force."),
		reloadTime: gaugeVec("collector_config_last_reload_success_timestamp_seconds",
			"Time of the last successful configuration reload, in seconds since the epoch."),
		outputRecords: counterVec("collector_output_records_total", "Records that an output accepted.", "output"),
		outputLost: counterVec("collector_output_lost_records_total",
			"Records that an output did not confirm: it failed, or did not answer in time.", "output"),
		outputErrors: counterVec("collector_output_errors_total", "Failed batches and flushes of an output.", "output"),
		outputUp: gaugeVec("collector_output_up",
			"1 if the output works; 0 if its last attempt failed. The page at / shows the error.", "output"),
		outputServed: gaugeVec("collector_output_served_resources",
			"Resources in the last response of an output that is served over HTTP (prometheus, http_sd).", "output"),
		outputOmitted: gaugeVec("collector_output_omitted_resources",
			"Resources omitted from the last response of an output that is served over HTTP, by reason: "+
				"max_series, no_address, bad_address, local_address.", "output", "reason"),
		codes: map[string]bool{}, labelTags: o.LabelTags,
	}
	m.spool, m.snapshot = newSpoolMetrics(), newSnapshot(status, m, o, labels)
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "collector_build_info",
		Help:        "Always 1, with the version and revision of the build and the version of Go as labels.",
		ConstLabels: prometheus.Labels{"version": o.Version, "revision": o.Revision, "goversion": runtime.Version()},
	})
	build.Set(1)
	for _, c := range []prometheus.Collector{
		m.runSeconds, m.requestSeconds, m.reloadOK, m.reloadTime,
		m.outputRecords, m.outputLost, m.outputErrors, m.outputUp, m.spool, m.outputServed, m.outputOmitted, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

var invalidLabelChars = regexp.MustCompile(`[^a-zA-Z0-9_]`)

// tagLabels returns the label of each tag. Two tags with the same label are an error: one would hide the other.
// https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels
func tagLabels(tags []string) ([]string, error) {
	var errs []error
	from := map[string]string{}
	labels := make([]string, len(tags))
	for i, t := range tags {
		l := "tag_" + invalidLabelChars.ReplaceAllString(t, "_")
		labels[i] = l
		switch first, taken := from[l]; {
		case t == "":
			errs = append(errs, fmt.Errorf("web.label_tags: empty tag name"))
		case taken && first == t:
			errs = append(errs, fmt.Errorf("web.label_tags: duplicate tag %q", t))
		case taken:
			errs = append(errs, fmt.Errorf("web.label_tags: %q and %q become the same label %s: remove one", first, t, l))
		}
		from[l] = t
	}
	return labels, errors.Join(errs...)
}

// Reloaded records whether a configuration was accepted, including the first one.
func (m *Metrics) Reloaded(ok bool) {
	if !ok {
		m.reloadOK.WithLabelValues().Set(0)
		return
	}
	m.reloadOK.WithLabelValues().Set(1)
	m.reloadTime.WithLabelValues().SetToCurrentTime()
}

// SetTags takes each account's extra_tags, and stores those that are labels of collector_account_info.
func (m *Metrics) SetTags(extraTags iter.Seq2[string, map[string]string]) {
	if len(m.labelTags) == 0 {
		return
	}
	tags := map[string][]string{}
	for account, extra := range extraTags {
		values := make([]string, len(m.labelTags))
		for i, t := range m.labelTags {
			values[i] = extra[t]
		}
		tags[account] = values
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tags = tags
}

// Observe counts an event of the runner. What is a state and not a count comes from the StatusSource.
func (m *Metrics) Observe(e runner.Event) {
	switch e := e.(type) {
	case runner.Configured: // the counters of a new account begin at 0, those of a removed one disappear
		m.counts.configured(e.Kinds)
	case runner.RunEnded:
		m.counts.run(e.Account, e.Status)
		if e.Status != record.RunSkipped && e.Status != record.RunExpired { // these have no duration
			m.runSeconds.Observe(e.Took.Seconds())
		}
	case runner.RunMissed:
		m.counts.missedRun(e.Account, e.Reason)
	case runner.CallEnded:
		m.requestSeconds.WithLabelValues(e.Op).Observe(e.Took.Seconds())
		m.counts.request(e.Account, e.Region, m.code(e.Code))
	case runner.BudgetWaited:
		m.counts.wait(e.Account, e.Region, max(e.Wait, 0).Seconds())
	}
}

// maxCodes limits the values of the label code. AWS documents about a hundred codes and returns few of them; a proxy
// may return anything.
const maxCodes = 200

var codePattern = regexp.MustCompile(`^[A-Za-z0-9._:-]+$`)

func (m *Metrics) code(code string) string {
	if code == "" {
		return "ok"
	}
	if len(code) > 80 || !codePattern.MatchString(code) {
		return "other"
	}
	m.mu.RLock()
	known := m.codes[code]
	m.mu.RUnlock()
	if known {
		return code
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.codes) >= maxCodes && !m.codes[code] {
		return "other"
	}
	m.codes[code] = true
	return code
}

// OutputUp records whether an output works. Its counters begin at 0.
func (m *Metrics) OutputUp(output string, up bool) {
	m.outputRecords.WithLabelValues(output)
	m.outputLost.WithLabelValues(output)
	m.outputErrors.WithLabelValues(output)
	v := 0.0
	if up {
		v = 1
	}
	m.outputUp.WithLabelValues(output).Set(v)
}

// OutputSent counts the records that an output accepted.
func (m *Metrics) OutputSent(output string, records int) {
	m.outputRecords.WithLabelValues(output).Add(float64(records))
}

// OutputFailed counts a failure and the records that were lost.
func (m *Metrics) OutputFailed(output string, lost int) {
	m.outputErrors.WithLabelValues(output).Inc()
	m.outputLost.WithLabelValues(output).Add(float64(lost))
}

// OutputAnswered records how many resources a response of an output had, and how many it omitted, by reason.
func (m *Metrics) OutputAnswered(output string, served int, omitted map[string]int) {
	m.outputServed.WithLabelValues(output).Set(float64(served))
	for reason, n := range omitted {
		m.outputOmitted.WithLabelValues(output, reason).Set(float64(n))
	}
}

// OutputClosed removes an output's series.
func (m *Metrics) OutputClosed(output string) {
	m.outputRecords.DeleteLabelValues(output)
	m.outputLost.DeleteLabelValues(output)
	m.outputErrors.DeleteLabelValues(output)
	m.outputUp.DeleteLabelValues(output)
	m.outputServed.DeleteLabelValues(output)
	m.outputOmitted.DeletePartialMatch(prometheus.Labels{"output": output})
	m.spool.remove(output)
}

// infoValues returns an account's tag values in the order of the labels; "" for a missing tag.
func (m *Metrics) infoValues(account string) []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if values, ok := m.tags[account]; ok {
		return values
	}
	return make([]string, len(m.labelTags))
}
