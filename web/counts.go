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
	labels   map[labels]*labels
}

// labels is what a series says besides its account; b is "" where there is one label more only. Few differ, so each series
// has the address of its own.
type labels struct{ a, b string }

// accountCounts are one account's counters: runs in the order of statuses, missed in that of missedReasons, then what else
// was met, in no order.
type accountCounts struct {
	runs                             [len(statuses)]float64
	missed                           [len(missedReasons)]float64
	missedElse, requests, budgetWait []counter
}

type counter struct {
	of *labels
	n  float64
}

// The reasons of package runner for a missed run: each has a series from the start, so that its first increase is seen.
var missedReasons = [...]string{"overlap", "downtime", "suspended", "drain"}

var statuses = [...]record.Status{record.Success, record.RunPartial, record.RunFailed, record.RunTimeout, record.RunSkipped, record.RunExpired}

func newCounts() *counts {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &counts{
		accounts: map[string]*accountCounts{}, labels: map[labels]*labels{},
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
		if c.accounts[a] == nil {
			c.accounts[a] = new(accountCounts)
		}
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

// of is an account's counters, if it is one of the configuration's. c.mu is held while f is called.
func (c *counts) of(account string, f func(*accountCounts)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.accounts[account]; n != nil {
		f(n)
	}
}

func (c *counts) run(account string, s record.Status) {
	c.of(account, func(n *accountCounts) {
		if i := slices.Index(statuses[:], s); i >= 0 {
			n.runs[i]++
		}
	})
}

func (c *counts) miss(account, reason string) {
	c.of(account, func(n *accountCounts) {
		if i := slices.Index(missedReasons[:], reason); i >= 0 {
			n.missed[i]++
		} else {
			c.add(&n.missedElse, labels{a: reason}, 1)
		}
	})
}

func (c *counts) request(account, region, code string) {
	c.of(account, func(n *accountCounts) { c.add(&n.requests, labels{region, code}, 1) })
}

func (c *counts) wait(account, region string, seconds float64) {
	c.of(account, func(n *accountCounts) { c.add(&n.budgetWait, labels{a: region}, seconds) })
}

func (c *counts) add(list *[]counter, l labels, n float64) {
	of := c.labels[l]
	if of == nil {
		of = &l
		c.labels[l] = of
	}
	for i := range *list {
		if (*list)[i].of == of {
			(*list)[i].n += n
			return
		}
	}
	*list = append(*list, counter{of, n})
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
		of := c.accounts[name]
		if of == nil { // a reload removed it
			c.mu.Unlock()
			continue
		}
		now := *of
		now.missedElse, now.requests, now.budgetWait = slices.Clone(of.missedElse), slices.Clone(of.requests), slices.Clone(of.budgetWait)
		c.mu.Unlock()
		show := func(d *prometheus.Desc, n float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, n, append([]string{valid(name)}, labels...)...)
		}
		for i, n := range now.runs {
			show(c.runs, n, string(statuses[i]))
		}
		for i, n := range now.missed {
			show(c.missed, n, missedReasons[i])
		}
		for _, m := range now.missedElse {
			show(c.missed, m.n, valid(m.of.a))
		}
		for _, r := range now.requests {
			show(c.requests, r.n, valid(r.of.a), valid(r.of.b))
		}
		for _, w := range now.budgetWait {
			show(c.budgetWait, w.n, valid(w.of.a))
		}
	}
}

// valid makes a label's value of anything: one that is not UTF-8 would panic.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
