package web

import (
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/record"
)

// counts is the counters by account, kept as numbers and made into metrics at a scrape. The library's own counters take
// 600 bytes a series: with ten thousand accounts that is more than all else that the program remembers.
type counts struct {
	runs, missed, requests, budgetWait *prometheus.Desc

	mu       sync.Mutex
	accounts map[string][]counter
	series   map[series]*series
}

// A series is what one says besides its account; b is "" where there is one label more only. Few differ, so each counter has the
// address of its own.
type series struct {
	desc           *prometheus.Desc
	label1, label2 string
}

// A counter that was never counted up has none.
type counter struct {
	series *series
	value  float64
}

// The reasons of package runner for a missed run: each has a series from the start, so that its first increase is seen.
var missedReasons = [...]string{"overlap", "downtime", "suspended", "drain"}

var statuses = [...]record.Status{record.Success, record.RunPartial, record.RunFailed, record.RunTimeout, record.RunSkipped, record.RunExpired}

func newCounts() *counts {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &counts{
		accounts: map[string][]counter{}, series: map[series]*series{},
		runs: d("collector_runs_total",
			"Runs that ended, by account and how: success, partial (some targets failed), failed (nothing was collected), timeout, skipped (an earlier run was going on), expired (queued too long).",
			"account", "status"),
		missed: d("collector_missed_runs_total",
			"Scheduled runs that did not take place, by account and reason: overlap, downtime (the program was not running), suspended (the machine slept), drain (the program was stopping).",
			"account", "reason"),
		requests: d("collector_api_requests_total",
			"Attempts of AWS API calls, by account, region and code: ok, or AWS's error code such as RequestLimitExceeded. Retries count.",
			"account", "region", "code"),
		budgetWait: d("collector_api_budget_wait_seconds_total",
			"Time that AWS API calls waited for their account's and region's budget of calls, summed over calls. A steep rise means that the schedule asks for more than the limits let through.",
			"account", "region"),
	}
}

// configured says which accounts there are from now on: the counters of a new one begin at 0, those of one that is gone
// disappear.
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

func (c *counts) remove(account string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.accounts, account)
}

func (c *counts) knows(account string) bool {
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

// add counts for an account, if it is one of the configuration's.
func (c *counts) add(account string, s series, n float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	counters, ok := c.accounts[account]
	if !ok {
		return
	}
	of := c.series[s]
	if of == nil {
		of = &s
		c.series[s] = of
	}
	for i := range counters {
		if counters[i].series == of {
			counters[i].value += n
			return
		}
	}
	// An account's series are soon all there: no room is left for more.
	c.accounts[account] = slices.Concat(counters, []counter{{of, n}})
}

// Describe tells the registry every metric, so that a second one of the same name is refused at registration.
func (c *counts) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.runs, c.missed, c.requests, c.budgetWait} {
		ch <- d
	}
}

// Collect shows the counters as they stand. Only one account at a time is kept from counting meanwhile.
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
		if !ok { // a reload removed it
			continue
		}
		show := func(d *prometheus.Desc, n float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, n, append([]string{valid(name)}, labels...)...)
		}
		counted := func(d *prometheus.Desc, label string) bool {
			return slices.ContainsFunc(counters, func(m counter) bool { return m.series.desc == d && m.series.label1 == label })
		}
		for _, s := range statuses {
			if !counted(c.runs, string(s)) {
				show(c.runs, 0, string(s))
			}
		}
		for _, reason := range missedReasons {
			if !counted(c.missed, reason) {
				show(c.missed, 0, reason)
			}
		}
		for _, m := range counters {
			if m.series.desc == c.requests {
				show(c.requests, m.value, valid(m.series.label1), valid(m.series.label2))
			} else {
				show(m.series.desc, m.value, valid(m.series.label1))
			}
		}
	}
}

// valid makes a label's value of anything: one that is not UTF-8 would panic.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
