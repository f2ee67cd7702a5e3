package web

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner/board"
)

// maxFailedSeries is how many failed targets have a series.
const maxFailedSeries = 10_000

// A snapshot exports the gauges. It makes them from the current status at each scrape, so that nothing removed remains.
type snapshot struct {
	status  StatusSource
	metrics *Metrics

	targets, failed, omitted, lastSuccess, successDue, neverSucceeded, resources, expiry, info *prometheus.Desc
	// nil without MetricsOptions.Detail
	state, records, duration, targetLastSuccess *prometheus.Desc
}

func newSnapshot(status StatusSource, m *Metrics, o MetricsOptions, tagLabels []string) *snapshot {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	s := &snapshot{
		status: status, metrics: m,
		targets: d("collector_targets",
			"Kinds of an account and region whose last run ended in this state. "+
				"State ok always has a series; another state only while a kind is in it.",
			"account", "region", "state"),
		failed: d("collector_target_failed",
			"1 for each target (account, region, kind) whose last run failed, by state. "+
				"At most 10,000 series: see collector_target_failed_omitted.",
			"account", "region", "kind", "state"),
		omitted: d("collector_target_failed_omitted",
			"Failed targets without a series of collector_target_failed, because there are more than 10,000."),
		lastSuccess: d("collector_last_success_timestamp_seconds",
			"Oldest time of the last complete listing among the kinds of this account and region, in seconds since the "+
				"epoch. Kinds that were never listed completely count in collector_never_succeeded_targets.",
			"account", "region"),
		successDue: d("collector_success_due_timestamp_seconds",
			"Earliest time at which a kind of this account and region must be listed completely again, by its schedule, "+
				"in seconds since the epoch. A time in the past means that the kind is overdue.",
			"account", "region"),
		neverSucceeded: d("collector_never_succeeded_targets",
			"Kinds of this account and region that were tried and never listed completely; with `store: none`, since the "+
				"start of the collector. No series if there is none.",
			"account", "region"),
		resources: d("collector_resources",
			"Resources of a kind in the account, by the last complete listing of each of its regions.",
			"account", "kind"),
		expiry: d("collector_credentials_expiry_timestamp_seconds",
			"Expiry of the account's session if only a person can renew it (MFA without a seed or a command), in seconds "+
				"since the epoch. No series if the collector can renew it.",
			"account"),
		info: d("collector_account_info",
			"Always 1, with the identity of the account (empty before the first sign-in) and, as tag_…, the extra_tags in "+
				"web.label_tags as labels. Join it with other metrics by account.",
			append([]string{"account", "account_id", "partition"}, tagLabels...)...),
	}
	if o.Detail {
		t := []string{"account", "region", "kind"}
		s.state = d("collector_target_state", "1 for the state in which a target's last run ended (web.metrics_detail).",
			append(t, "state")...)
		s.records = d("collector_target_records", "Records of a target's last run (web.metrics_detail).", t...)
		s.duration = d("collector_target_duration_seconds", "Duration of a target's last run (web.metrics_detail).", t...)
		s.targetLastSuccess = d("collector_target_last_success_timestamp_seconds",
			"Time of a target's last complete listing, in seconds since the epoch; no series if never (web.metrics_detail).",
			t...)
	}
	return s
}

// Describe sends every metric to the registry, so that it refuses a second one of the same name.
func (s *snapshot) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		s.targets, s.failed, s.omitted, s.lastSuccess, s.successDue, s.neverSucceeded, s.resources, s.expiry, s.info,
		s.state, s.records, s.duration, s.targetLastSuccess,
	} {
		if d != nil {
			ch <- d
		}
	}
}

type accountRegion struct{ account, region string }

// A regionSummary adds up the targets of an account and region.
type regionSummary struct {
	states         map[record.State]int
	oldest         time.Time // of the last successes; zero: none
	due            time.Time // the earliest; zero: none
	neverSucceeded int       // targets that can succeed and never have
}

// Collect exports the current status. It does not wait for a collection.
func (s *snapshot) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		if d != nil {
			for i, l := range labels {
				labels[i] = valid(l)
			}
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
		}
	}
	regions := map[accountRegion]*regionSummary{}
	resources := map[[2]string]int{}
	failed := 0
	for t := range s.status.Targets() {
		if !s.metrics.counts.has(t.Account) {
			continue
		}
		if !t.LastSuccess.IsZero() {
			resources[[2]string{t.Account, t.Kind}] += t.Resources
		}
		if t.State == "" {
			continue
		}
		key := accountRegion{t.Account, t.Region}
		if regions[key] == nil {
			regions[key] = &regionSummary{states: map[record.State]int{record.OK: 0}}
		}
		regions[key].add(t)
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
	for key, sum := range regions {
		for state, n := range sum.states {
			gauge(s.targets, float64(n), key.account, key.region, string(state))
		}
		if !sum.oldest.IsZero() {
			gauge(s.lastSuccess, seconds(sum.oldest), key.account, key.region)
		}
		if !sum.due.IsZero() {
			gauge(s.successDue, seconds(sum.due), key.account, key.region)
		}
		if sum.neverSucceeded > 0 {
			gauge(s.neverSucceeded, float64(sum.neverSucceeded), key.account, key.region)
		}
	}
	for k, n := range resources {
		gauge(s.resources, float64(n), k[0], k[1])
	}
	for a := range s.status.Accounts() {
		if !s.metrics.counts.has(a.Name) {
			continue
		}
		if !a.Expires.IsZero() {
			gauge(s.expiry, seconds(a.Expires), a.Name)
		}
		if !a.Task {
			labels := []string{a.Name, a.Identity.AccountID, a.Identity.Partition}
			gauge(s.info, 1, append(labels, s.metrics.infoValues(a.Name)...)...)
		}
	}
}

// add counts a target. A target that cannot succeed does not make its region stale.
func (r *regionSummary) add(t board.TargetInfo) {
	r.states[t.State]++
	if !t.CanComplete() {
		return
	}
	if t.LastSuccess.IsZero() {
		r.neverSucceeded++
		return
	}
	r.oldest = earlier(r.oldest, t.LastSuccess)
	r.due = earlier(r.due, t.Due)
}

// earlier returns the earlier of two times; either may be zero, which means none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// seconds returns seconds since the epoch. t must not be zero: that would export 1970.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
