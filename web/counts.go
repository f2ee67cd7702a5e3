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
	accounts map[string]*accountCounts
}

// accountCounts are one account's counters. Each list is short, and in no order.
type accountCounts struct{ runs, missed, requests, budgetWait []labelled }

// labelled is a series without its account; b is "" where there is one label more only.
type labelled struct {
	a, b string
	n    float64
}

// The reasons of package runner for a missed run: each has a series from the start, so that its first increase is seen.
var missedReasons = [...]string{"overlap", "downtime", "suspended", "drain"}

var statuses = [...]record.Status{record.Success, record.RunPartial, record.RunFailed, record.RunTimeout, record.RunSkipped, record.RunExpired}

func newCounts() *counts {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &counts{
		accounts: map[string]*accountCounts{},
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
		if c.accounts[a] != nil {
			continue
		}
		n := &accountCounts{runs: make([]labelled, len(statuses)), missed: make([]labelled, len(missedReasons))}
		for i, s := range statuses {
			n.runs[i].a = string(s)
		}
		for i, r := range missedReasons {
			n.missed[i].a = r
		}
		c.accounts[a] = n
	}
}

func (c *counts) forget(account string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.accounts, account)
}

func (c *counts) knows(account string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.accounts[account] != nil
}

// add counts something of an account, if it is one of the configuration's.
func (c *counts) add(account string, list func(*accountCounts) *[]labelled, a, b string, n float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := c.accounts[account]
	if of == nil {
		return
	}
	l := list(of)
	i := slices.IndexFunc(*l, func(s labelled) bool { return s.a == a && s.b == b })
	if i < 0 {
		i = len(*l)
		*l = append(*l, labelled{a: a, b: b})
	}
	(*l)[i].n += n
}

func runsOf(n *accountCounts) *[]labelled       { return &n.runs }
func missedOf(n *accountCounts) *[]labelled     { return &n.missed }
func requestsOf(n *accountCounts) *[]labelled   { return &n.requests }
func budgetWaitOf(n *accountCounts) *[]labelled { return &n.budgetWait }

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
		of := c.accounts[name]
		if of == nil { // a reload removed it
			c.mu.Unlock()
			continue
		}
		now := accountCounts{slices.Clone(of.runs), slices.Clone(of.missed), slices.Clone(of.requests), slices.Clone(of.budgetWait)}
		c.mu.Unlock()
		show := func(d *prometheus.Desc, list []labelled, two bool) {
			for _, s := range list {
				labels := []string{valid(name), valid(s.a)}
				if two {
					labels = append(labels, valid(s.b))
				}
				ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, s.n, labels...)
			}
		}
		show(c.runs, now.runs, false)
		show(c.missed, now.missed, false)
		show(c.requests, now.requests, true)
		show(c.budgetWait, now.budgetWait, false)
	}
}

// valid makes a label's value of anything: one that is not UTF-8 would panic.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
