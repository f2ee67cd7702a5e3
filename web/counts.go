package web

import (
	"maps"
	"slices"
	"sync"

	"github.com/aws-collector/collector/record"
)

// counts holds the counters by account as numbers, and makes series of them at a scrape. The library's own counters
// take 600 bytes for each series: with ten thousand accounts that is more than everything else in memory.
type counts struct {
	runs, missed, requests, budgetWait *metricSpec

	mu       sync.Mutex
	accounts map[string][]counterValue
	series   map[series]*series
}

// A series is a metric with its labels except the account; label2 is "" if the metric has only one more label. There
// are few different ones, so counters share them by pointer.
type series struct {
	spec           *metricSpec
	label1, label2 string
}

// A counterValue is a counter of an account. One that was never increased does not exist.
type counterValue struct {
	series *series
	value  float64
}

// missedReasons are those of package runner. Each has a series from the start, so that rate() sees the first increase.
var missedReasons = [...]string{"overlap", "downtime", "suspended", "drain", "paused", "cancelled"}

var statuses = [...]record.Status{
	record.Success, record.RunPartial, record.RunFailed, record.RunTimeout, record.RunSkipped, record.RunExpired,
}

func newCounts() *counts {
	return &counts{
		accounts: map[string][]counterValue{}, series: map[series]*series{},
		runs: counter("collector_runs_total",
			"Ended runs, by account and status: success, partial (some targets failed), failed (nothing was collected), "+
				"timeout, skipped (an earlier run was in progress), expired (queued too long)."),
		missed: counter("collector_missed_runs_total",
			"Scheduled runs that did not start, by account and reason: overlap, downtime (the program was not running), "+
				"suspended (the machine slept), drain (the program was stopping), paused or cancelled (by a person)."),
		requests: counter("collector_api_requests_total",
			"Attempts of AWS API calls including retries, by account, region and code: ok, or AWS's error code such as "+
				"RequestLimitExceeded."),
		budgetWait: counter("collector_api_budget_wait_seconds_total",
			"Time that AWS API calls waited for the API budget of their account and region, summed over calls. "+
				"A steep rise means that the schedule needs more calls than the limits allow."),
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
	c.accounts[account] = slices.Concat(counters, []counterValue{{shared, n}})
}

// collect adds the counters to a scrape. It locks them for one account at a time.
func (c *counts) collect(s *scrape) {
	c.mu.Lock()
	names := slices.Sorted(maps.Keys(c.accounts))
	c.mu.Unlock()
	for _, name := range names {
		c.mu.Lock()
		counters, ok := c.accounts[name]
		counters = slices.Clone(counters)
		c.mu.Unlock()
		if !ok { // removed by a reload
			continue
		}
		account := s.label("account", name)
		counted := func(spec *metricSpec, label string) bool {
			return slices.ContainsFunc(counters, func(m counterValue) bool {
				return m.series.spec == spec && m.series.label1 == label
			})
		}
		for _, status := range statuses {
			if !counted(c.runs, string(status)) {
				s.add(c.runs, 0, account, s.label("status", string(status)))
			}
		}
		for _, reason := range missedReasons {
			if !counted(c.missed, reason) {
				s.add(c.missed, 0, account, s.label("reason", reason))
			}
		}
		for _, m := range counters {
			switch label := m.series.label1; m.series.spec {
			case c.runs:
				s.add(c.runs, m.value, account, s.label("status", label))
			case c.missed:
				s.add(c.missed, m.value, account, s.label("reason", label))
			case c.requests:
				s.add(c.requests, m.value, account, s.label("code", m.series.label2), s.label("region", label))
			case c.budgetWait:
				s.add(c.budgetWait, m.value, account, s.label("region", label))
			}
		}
	}
}
