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
)

// MetricsOptions is what the program passes in.
type MetricsOptions struct {
	Version, Revision string   // of the build
	LabelTags         []string // extra_tags that become tag_ labels of collector_account_info
	Detail            bool     // a series a target, beside those that are always there
}

// Metrics counts what happens, for Prometheus. It hears the runner's and the outputs' events (it is a runner.Observer and
// Detail, and an outputs.Observer, without importing either), and reads what stands now from [Live] when it is scraped.
//
// It knows the accounts from Configured. What comes later of an account that a reload removed, such as the end of a run
// that was under way, is not counted: its series are gone, and stay so.
type Metrics struct {
	counts         *counts // by account
	runSeconds     prometheus.Histogram
	requestSeconds *prometheus.HistogramVec
	reloadOK       *prometheus.GaugeVec // without labels: no series until something is known
	reloadTime     *prometheus.GaugeVec
	outputRecords  *prometheus.CounterVec
	outputLost     *prometheus.CounterVec
	outputErrors   *prometheus.CounterVec
	outputUp       *prometheus.GaugeVec
	spool          spoolMetrics
	outputShown    *prometheus.GaugeVec
	outputLeftOut  *prometheus.GaugeVec

	mu    sync.RWMutex
	codes map[string]bool
	tags  map[string][]string // of each account, those of labelTags, in their order

	labelTags []string
}

// NewMetrics registers every metric of the program. Its error names the label_tags that cannot be.
func NewMetrics(reg prometheus.Registerer, live StatusSource, o MetricsOptions) (*Metrics, error) {
	labels, err := tagLabels(o.LabelTags)
	if err != nil {
		return nil, err
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, nil)
	}
	histogram := func(name, help string, buckets []float64) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets, NativeHistogramBucketFactor: 1.1,
			NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour}
	}
	m := &Metrics{
		counts: newCounts(),
		runSeconds: prometheus.NewHistogram(histogram("collector_run_duration_seconds",
			"How long runs took, from the account's sign-in to its last target. A run is one account at one tick of its schedule.",
			[]float64{1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200})),
		requestSeconds: prometheus.NewHistogramVec(histogram("collector_api_request_duration_seconds",
			"How long attempts of AWS API calls took, by operation, from sending to the end of the answer.",
			[]float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}), []string{"operation"}),
		reloadOK: gauge("collector_config_last_reload_successful",
			"Whether the last attempt to load the configuration succeeded (1), or was refused and the one before is in force (0)."),
		reloadTime: gauge("collector_config_last_reload_success_timestamp_seconds",
			"When a configuration was last loaded, in seconds since the epoch."),
		outputRecords: counter("collector_output_records_total", "Records that an output took.", "output"),
		outputLost: counter("collector_output_lost_records_total",
			"Records that an output is not known to have: it failed, or did not answer in time.", "output"),
		outputErrors: counter("collector_output_errors_total", "Batches and flushes that failed at an output.", "output"),
		outputUp: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "collector_output_up",
			Help: "Whether the output works (1) or failed the last time (0); the page / says with what."}, []string{"output"}),
		outputShown: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "collector_output_served_resources",
			Help: "Resources in the last answer of an output that is asked (prometheus, http_sd)."}, []string{"output"}),
		outputLeftOut: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "collector_output_omitted_resources",
			Help: "Resources that the last answer of an output that is asked left out, by why: more than max_series, no_address, bad_address."}, []string{"output", "reason"}),
		codes: map[string]bool{}, labelTags: o.LabelTags,
	}
	m.spool = newSpoolMetrics()
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "collector_build_info",
		Help:        "1, labelled by the build: its version, revision, and the version of Go.",
		ConstLabels: prometheus.Labels{"version": o.Version, "revision": o.Revision, "goversion": runtime.Version()}})
	build.Set(1)
	for _, c := range []prometheus.Collector{
		m.counts, m.runSeconds, m.requestSeconds, m.reloadOK, m.reloadTime,
		m.outputRecords, m.outputLost, m.outputErrors, m.outputUp, m.spool, m.outputShown, m.outputLeftOut, build, newSnapshot(live, m, o, labels),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

var invalidLabelChars = regexp.MustCompile(`[^a-zA-Z0-9_]`)

// tagLabels is the label of each tag. Two tags that would become one label are refused: one would hide the other.
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
			errs = append(errs, fmt.Errorf("web.label_tags: the name of a tag is empty"))
		case taken && first == t:
			errs = append(errs, fmt.Errorf("web.label_tags: %q is there twice", t))
		case taken:
			errs = append(errs, fmt.Errorf("web.label_tags: %q and %q would both become the label %s; keep one", first, t, l))
		}
		from[l] = t
	}
	return labels, errors.Join(errs...)
}

// Reloaded notes whether a configuration was taken; the first one too.
func (m *Metrics) Reloaded(ok bool) {
	if !ok {
		m.reloadOK.WithLabelValues().Set(0)
		return
	}
	m.reloadOK.WithLabelValues().Set(1)
	m.reloadTime.WithLabelValues().SetToCurrentTime()
}

// SetTags takes each account's extra_tags, and keeps those that are labels of collector_account_info.
func (m *Metrics) SetTags(of iter.Seq2[string, map[string]string]) {
	if len(m.labelTags) == 0 {
		return
	}
	tags := map[string][]string{}
	for account, extra := range of {
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

// Configured says which accounts there are from now on: the counters of a new one begin at 0, those of one that is gone
// disappear.
func (m *Metrics) Configured(kinds map[string][]string) { m.counts.configured(kinds) }

// Remove drops an account's series.
func (m *Metrics) Remove(account string) { m.counts.remove(account) }

// RunEnded counts a run. One that was skipped or expired took no time of its own.
func (m *Metrics) RunEnded(account, _ string, s record.Status, took time.Duration) {
	m.counts.run(account, s)
	if s != record.RunSkipped && s != record.RunExpired {
		m.runSeconds.Observe(took.Seconds())
	}
}

// Missed counts a run that did not take place.
func (m *Metrics) Missed(account, reason string) {
	m.counts.missedRun(account, reason)
}

// maxCodes bounds the label code: AWS documents some hundred, of which few are met; what answers in its place may send anything.
const maxCodes = 200

var codePattern = regexp.MustCompile(`^[A-Za-z0-9._:-]+$`)

// Call counts an attempt of an API call.
func (m *Metrics) Call(account, region, op, code string, took time.Duration) {
	m.requestSeconds.WithLabelValues(op).Observe(took.Seconds())
	m.counts.request(account, region, m.code(code))
}

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

// BudgetWait adds up waiting.
func (m *Metrics) BudgetWait(account, region string, d time.Duration) {
	m.counts.wait(account, region, max(d, 0).Seconds())
}

// What is read from Live when it is asked for needs no counting here.

func (*Metrics) RunStarted(string, string, time.Time)             {}
func (*Metrics) TargetStarted(record.Target, string)              {}
func (*Metrics) TargetEnded(record.Outcome)                       {}
func (*Metrics) Expires(string, time.Time)                        {}
func (*Metrics) SignedIn(string, record.Identity)                 {}
func (*Metrics) Progress(record.Target, string, int)              {}
func (*Metrics) Planned(string, []string, []string, error)        {}
func (*Metrics) NextStart(string, time.Time)                      {}
func (*Metrics) Undelivered(record.Target, string, string, error) {} // the output itself says so, below

// OutputUp notes an output, and whether it works. Its counters begin at 0.
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

// OutputSent counts what an output took.
func (m *Metrics) OutputSent(output string, records int) {
	m.outputRecords.WithLabelValues(output).Add(float64(records))
}

// OutputFailed counts a failure, and what it cost.
func (m *Metrics) OutputFailed(output string, lost int) {
	m.outputErrors.WithLabelValues(output).Inc()
	m.outputLost.WithLabelValues(output).Add(float64(lost))
}

// OutputAnswered notes what an answer of an output came to.
func (m *Metrics) OutputAnswered(output string, shown int, leftOut map[string]int) {
	m.outputShown.WithLabelValues(output).Set(float64(shown))
	for why, n := range leftOut {
		m.outputLeftOut.WithLabelValues(output, why).Set(float64(n))
	}
}

// OutputClosed drops an output's series.
func (m *Metrics) OutputClosed(output string) {
	m.outputRecords.DeleteLabelValues(output)
	m.outputLost.DeleteLabelValues(output)
	m.outputErrors.DeleteLabelValues(output)
	m.outputUp.DeleteLabelValues(output)
	m.outputShown.DeleteLabelValues(output)
	m.outputLeftOut.DeletePartialMatch(prometheus.Labels{"output": output})
	m.spool.remove(output)
}

// infoValues is an account's tags in the order of the labels; "" for one that it lacks.
func (m *Metrics) infoValues(account string) []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if values, ok := m.tags[account]; ok {
		return values
	}
	return make([]string, len(m.labelTags))
}
