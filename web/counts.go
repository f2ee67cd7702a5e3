package web

import (
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/record"
)

// counts holds the counters by account as numbers, and makes metrics of them at a scrape. The library's own counters
// take 600 bytes for each series: with ten thousand accounts that is more than everything else in memory.
type counts struct {
	runs, missed, requests, budgetWait *prometheus.Desc

	mu       sync.Mutex
	accounts map[string][]counter
	series   map[series]*series
}

// A series is a metric with its labels except the account; label2 is "" if the metric has only one more label. There
// are few different ones, so counters share them by pointer.
type series struct {
	desc           *prometheus.Desc
	label1, label2 string
}

// A counter that was never increased does not exist.
type counter struct {
	series *series
	value  float64
}

// missedReasons are those of package runner. Each has a series from the start, so that rate() sees the first increase.
var missedReasons = [...]string{"overlap", "downtime", "suspended", "drain"}

var statuses = [...]record.Status{
	record.Success, record.RunPartial, record.RunFailed, record.RunTimeout, record.RunSkipped, record.RunExpired,
}

func newCounts() *counts {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &counts{
		accounts: map[string][]counter{}, series: map[series]*series{},
		runs: d("collector_runs_total",
			"Ended runs, by account and status: success, partial (some targets failed), failed (nothing was collected), "+
				"timeout, skipped (an earlier run was in progress), expired (queued too long).",
			"account", "status"),
		missed: d("collector_missed_runs_total",
			"Scheduled runs that did not start, by account and reason: overlap, downtime (the program was not running), "+
				"suspended (the machine slept), drain (the program was stopping).",
			"account", "reason"),
		requests: d("collector_api_requests_total",
			"Attempts of AWS API calls including retries, by account, region and code: ok, or AWS's error code such as "+
				"RequestLimitExceeded.",
			"account", "region", "code"),
		budgetWait: d("collector_api_budget_wait_seconds_total",
			"Time that AWS API calls waited for the API budget of their account and region, summed over calls. "+
				"A steep rise means that the schedule needs more calls than the limits allow.",
			"account", "region"),
	}
}

// configured sets the accounts: the counters of a new one begin at 0, those of a removed one disappear.
func (c *counts) configured(kinds map[string][]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for a := range c.accounts {
		if _, stays := kinds[a]; !stays {
			delete(c.accounts, a)
		}
	}
	for a := range kinds {
		if _, known := c.accounts[a]; !known {
			c.accounts[a] = nil
		}
	}
}

func (c *counts) has(account string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.accounts[account]
	return ok
}

func (c *counts) run(account string, s record.Status) {
	if slices.Contains(statuses[:], s) {
		c.add(account, series{c.runs, string(s), ""}, 1)
	}
}

func (c *counts) missedRun(account, reason string) { c.add(account, series{c.missed, reason, ""}, 1) }

func (c *counts) request(account, region, code string) {
	c.add(account, series{c.requests, region, code}, 1)
}

func (c *counts) wait(account, region string, seconds float64) {
	c.add(account, series{c.budgetWait, region, ""}, seconds)
}

// add increases a counter of an account, if the account is configured.
func (c *counts) add(account string, s series, n float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	counters, ok := c.accounts[account]
	if !ok {
		return
	}
	shared := c.series[s]
	if shared == nil {
		shared = &s
		c.series[s] = shared
	}
	for i := range counters {
		if counters[i].series == shared {
			counters[i].value += n
			return
		}
	}
	// Concat leaves no spare capacity: an account soon has all its series.
	c.accounts[account] = slices.Concat(counters, []counter{{shared, n}})
}

// Describe sends every metric to the registry, so that it refuses a second one of the same name.
func (c *counts) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.runs, c.missed, c.requests, c.budgetWait} {
		ch <- d
	}
}

// Collect exports the counters. It locks them for one account at a time.
func (c *counts) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	names := make([]string, 0, len(c.accounts))
	for a := range c.accounts {
		names = append(names, a)
	}
	c.mu.Unlock()
	for _, name := range names {
		c.mu.Lock()
		counters, ok := c.accounts[name]
		counters = slices.Clone(counters)
		c.mu.Unlock()
		if !ok { // removed by a reload
			continue
		}
		export := func(d *prometheus.Desc, n float64, labels ...string) {
			labels = append([]string{valid(name)}, labels...)
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, n, labels...)
		}
		counted := func(d *prometheus.Desc, label string) bool {
			return slices.ContainsFunc(counters, func(m counter) bool {
				return m.series.desc == d && m.series.label1 == label
			})
		}
		for _, s := range statuses {
			if !counted(c.runs, string(s)) {
				export(c.runs, 0, string(s))
			}
		}
		for _, reason := range missedReasons {
			if !counted(c.missed, reason) {
				export(c.missed, 0, reason)
			}
		}
		for _, m := range counters {
			if m.series.desc == c.requests {
				export(c.requests, m.value, valid(m.series.label1), valid(m.series.label2))
			} else {
				export(m.series.desc, m.value, valid(m.series.label1))
			}
		}
	}
}

// valid makes a valid label value: one that is not UTF-8 would panic.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
