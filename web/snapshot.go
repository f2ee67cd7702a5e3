package web

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/record"
)

// maxFailedSeries is how many failed targets get a series of their own.
const maxFailedSeries = 10_000

// A snapshot is the gauges: made from Live at each scrape, so nothing stays behind of what is gone.
type snapshot struct {
	status  StatusSource
	metrics *Metrics

	targets, failed, omitted, lastSuccess, successDue, neverSucceeded, resources, expiry, info *prometheus.Desc
	// of MetricsOptions.Detail, else nil
	state, records, duration, targetLastSuccess *prometheus.Desc
}

func newSnapshot(live StatusSource, m *Metrics, o MetricsOptions, tagLabels []string) *snapshot {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	s := &snapshot{status: live, metrics: m,
		targets: d("collector_targets",
			"How many kinds of an account and region ended their last run in this state. ok is always there; another state only while a kind is in it.",
			"account", "region", "state"),
		failed: d("collector_target_failed",
			"1 for each target (account, region, kind) whose last run failed, by its state. At most 10,000: see collector_target_failed_omitted.",
			"account", "region", "kind", "state"),
		omitted: d("collector_target_failed_omitted",
			"How many failed targets collector_target_failed leaves out because there are more than 10,000."),
		lastSuccess: d("collector_last_success_timestamp_seconds",
			"When the kind of this account and region that was listed in full the longest ago was, in seconds since the epoch. Kinds that never were count in collector_never_succeeded_targets.",
			"account", "region"),
		successDue: d("collector_success_due_timestamp_seconds",
			"When a kind of this account and region was first to be listed in full again, by its own schedule, in seconds since the epoch: a time in the past is by how much it is late.",
			"account", "region"),
		neverSucceeded: d("collector_never_succeeded_targets",
			"How many kinds of this account and region were tried and never listed in full since the collector began; no series where none.",
			"account", "region"),
		resources: d("collector_resources",
			"How many resources of a kind the account has, by the last full listing of each of its regions.",
			"account", "kind"),
		expiry: d("collector_credentials_expiry_timestamp_seconds",
			"When the account's session ends that only a person can renew (MFA with no seed or command), in seconds since the epoch; no series where nobody has to.",
			"account"),
		info: d("collector_account_info",
			"1, labelled by who the account is (empty until it was signed in to) and, as tag_…, by the extra_tags of web.label_tags. To join with other metrics by account.",
			append([]string{"account", "account_id", "partition"}, tagLabels...)...),
	}
	if o.Detail {
		t := []string{"account", "region", "kind"}
		s.state = d("collector_target_state", "1 for the state in which a target's last run ended (web.metrics_detail).", append(t, "state")...)
		s.records = d("collector_target_records", "Records of a target's last run (web.metrics_detail).", t...)
		s.duration = d("collector_target_duration_seconds", "How long a target's last run took (web.metrics_detail).", t...)
		s.targetLastSuccess = d("collector_target_last_success_timestamp_seconds",
			"When a target was last listed in full, in seconds since the epoch; no series if never (web.metrics_detail).", t...)
	}
	return s
}

// Describe tells the registry every metric, so that a second one of the same name is refused at registration.
func (s *snapshot) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{s.targets, s.failed, s.omitted, s.lastSuccess, s.successDue, s.neverSucceeded, s.resources, s.expiry, s.info, s.state, s.records, s.duration, s.targetLastSuccess} {
		if d != nil {
			ch <- d
		}
	}
}

type accountRegion struct{ account, region string }

// regionSummary is what a place's targets come to.
type regionSummary struct {
	states         map[record.State]int
	oldest         time.Time // success; zero: there was none
	due            time.Time // the earliest; zero: none is
	neverSucceeded int       // of which success can be expected, without any
}

// Collect reads what stands now. It waits for no collection.
func (s *snapshot) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		if d != nil {
			for i, l := range labels {
				labels[i] = valid(l)
			}
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
		}
	}
	places := map[accountRegion]*regionSummary{}
	resources := map[[2]string]int{}
	failed := 0
	for t := range s.status.Targets() {
		if !s.metrics.counts.knows(t.Account) {
			continue
		}
		if !t.LastSuccess.IsZero() {
			resources[[2]string{t.Account, t.Kind}] += t.Resources
		}
		if t.State == "" {
			continue
		}
		p := accountRegion{t.Account, t.Region}
		if places[p] == nil {
			places[p] = &regionSummary{states: map[record.State]int{record.OK: 0}}
		}
		places[p].add(t)
		if t.Failed() {
			if failed++; failed <= maxFailedSeries {
				gauge(s.failed, 1, t.Account, t.Region, t.Kind, string(t.State))
			}
		}
		gauge(s.state, 1, t.Account, t.Region, t.Kind, string(t.State))
		gauge(s.records, float64(t.Records), t.Account, t.Region, t.Kind)
		gauge(s.duration, max(t.Ended.Sub(t.Started), 0).Seconds(), t.Account, t.Region, t.Kind)
		if !t.LastSuccess.IsZero() {
			gauge(s.targetLastSuccess, seconds(t.LastSuccess), t.Account, t.Region, t.Kind)
		}
	}
	gauge(s.omitted, float64(max(failed-maxFailedSeries, 0)))
	for p, n := range places {
		for st, c := range n.states {
			gauge(s.targets, float64(c), p.account, p.region, string(st))
		}
		if !n.oldest.IsZero() {
			gauge(s.lastSuccess, seconds(n.oldest), p.account, p.region)
		}
		if !n.due.IsZero() {
			gauge(s.successDue, seconds(n.due), p.account, p.region)
		}
		if n.neverSucceeded > 0 {
			gauge(s.neverSucceeded, float64(n.neverSucceeded), p.account, p.region)
		}
	}
	for k, n := range resources {
		gauge(s.resources, float64(n), k[0], k[1])
	}
	for _, a := range s.status.Accounts() {
		if !s.metrics.counts.knows(a.Name) {
			continue
		}
		if !a.Expires.IsZero() {
			gauge(s.expiry, seconds(a.Expires), a.Name)
		}
		if !a.Organization {
			gauge(s.info, 1, append([]string{a.Name, a.Identity.AccountID, a.Identity.Partition}, s.metrics.infoValues(a.Name)...)...)
		}
	}
}

// add counts a target. One of which no success is to be expected (its region is not enabled, its denial is on purpose)
// does not make its region look stale.
func (n *regionSummary) add(t Target) {
	n.states[t.State]++
	if t.State != record.OK && !t.Failed() {
		return
	}
	if t.LastSuccess.IsZero() {
		n.neverSucceeded++
		return
	}
	n.oldest = earlier(n.oldest, t.LastSuccess)
	n.due = earlier(n.due, t.Due)
}

// earlier is the earlier of two times of which either may not be.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// seconds since the epoch. There are none of the zero time: 0 would be 1970, and that long ago.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// accountRow is an account on the page.
type accountRow struct {
	Account
	States    []stateCount
	Resources int
}

type stateCount struct {
	State  record.State
	N      int
	Failed bool
}

// summary is what the page shows: each account with its states, and the targets that failed.
func summary(live StatusSource, most int) (accounts []accountRow, failed []Target, more int) {
	states := map[string]map[record.State]int{}
	resources := map[string]int{}
	unusable := map[string]bool{}
	for t := range live.Targets() {
		resources[t.Account] += t.Resources
		if t.State == "" {
			continue
		}
		if states[t.Account] == nil {
			states[t.Account] = map[record.State]int{}
		}
		states[t.Account][t.State]++
		if t.Failed() {
			unusable[t.Account] = unusable[t.Account] || t.AccountUnusable
			if len(failed) < most {
				failed = append(failed, t)
			} else {
				more++
			}
		}
	}
	for _, a := range live.Accounts() {
		row := accountRow{Account: a, Resources: resources[a.Name]}
		for _, s := range record.States {
			if n := states[a.Name][s]; n > 0 {
				row.States = append(row.States, stateCount{s, n, s.Failed() || s == record.RegionDisabled && unusable[a.Name]})
			}
		}
		accounts = append(accounts, row)
	}
	slices.SortStableFunc(accounts, func(a, b accountRow) int { return cmp.Compare(a.Name, b.Name) })
	return accounts, failed, more
}
