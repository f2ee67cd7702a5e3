package web

import (
	"cmp"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner/board"
)

// maxFailedSeries is how many failed targets have a series.
const maxFailedSeries = 10_000

// A snapshot exports the gauges. It makes them from the current status at each scrape, so that nothing removed remains.
type snapshot struct {
	status    StatusSource
	metrics   *Metrics
	tagLabels []string

	targets, failed, omitted, lastSuccess, successDue, neverSucceeded, resources, expiry, info, paused *metricSpec
	detail                                                                                             *detailSpecs
}

// detailSpecs are the metrics of MetricsOptions.Detail.
type detailSpecs struct{ state, records, duration, lastSuccess *metricSpec }

func newSnapshot(status StatusSource, m *Metrics, o MetricsOptions, tagLabels []string) *snapshot {
	s := &snapshot{
		status: status, metrics: m, tagLabels: tagLabels,
		targets: gauge("collector_targets",
			"Kinds of an account and region whose last run ended in this state. "+
				"State ok always has a series; another state only while a kind is in it."),
		failed: gauge("collector_target_failed",
			"1 for each target (account, region, kind) whose last run failed, by state. "+
				"At most 10,000 series: see collector_target_failed_omitted."),
		omitted: gauge("collector_target_failed_omitted",
			"Failed targets without a series of collector_target_failed, because there are more than 10,000."),
		lastSuccess: gauge("collector_last_success_timestamp_seconds",
			"Oldest time of the last complete listing among the kinds of this account and region, in seconds since the "+
				"epoch. Kinds that were never listed completely count in collector_never_succeeded_targets."),
		successDue: gauge("collector_success_due_timestamp_seconds",
			"Earliest time at which a kind of this account and region must be listed completely again, by its schedule, "+
				"in seconds since the epoch. A time in the past means that the kind is overdue."),
		neverSucceeded: gauge("collector_never_succeeded_targets",
			"Kinds of this account and region that were tried and never listed completely; with `store: none`, since the "+
				"start of the collector. No series if there is none."),
		resources: gauge("collector_resources",
			"Resources of a kind in the account, by the last complete listing of each of its regions."),
		expiry: gauge("collector_credentials_expiry_timestamp_seconds",
			"Expiry of the account's session if only a person can renew it (MFA without a seed or a command), in seconds "+
				"since the epoch. No series if the collector can renew it."),
		paused: gauge("collector_account_paused_timestamp_seconds",
			"Since when the account is paused by a person, in seconds since the epoch. No series if it is not."),
		info: gauge("collector_account_info",
			"Always 1, with the identity of the account (empty before the first sign-in) and, as tag_…, the extra_tags in "+
				"web.label_tags as labels. Join it with other metrics by account."),
	}
	if o.Detail {
		s.detail = &detailSpecs{
			state: gauge("collector_target_state",
				"1 for the state in which a target's last run ended (web.metrics_detail)."),
			records: gauge("collector_target_records", "Records of a target's last run (web.metrics_detail)."),
			duration: gauge("collector_target_duration_seconds",
				"Duration of a target's last run (web.metrics_detail)."),
			lastSuccess: gauge("collector_target_last_success_timestamp_seconds",
				"Time of a target's last complete listing, in seconds since the epoch; no series if never "+
					"(web.metrics_detail)."),
		}
	}
	return s
}

type accountRegion struct{ account, region string }

type accountKind struct{ account, kind string }

type kindCount struct {
	accountKind
	resources int
}

// A regionSummary adds up the targets of an account and region.
type regionSummary struct {
	accountRegion
	states         []stateCount
	oldest         time.Time // of the last successes; zero: none
	due            time.Time // the earliest; zero: none
	neverSucceeded int       // targets that can succeed and never have
}

type stateCount struct {
	state   record.State
	targets int
}

// collect adds the current status to a scrape. It does not wait for a collection.
func (s *snapshot) collect(out *scrape) {
	s.collectTargets(out)
	for a := range s.status.Accounts() {
		if !s.metrics.counts.has(a.Name) {
			continue
		}
		account := out.label("account", a.Name)
		if !a.Expires.IsZero() {
			out.add(s.expiry, seconds(a.Expires), account)
		}
		if a.Paused != nil {
			out.add(s.paused, seconds(a.Paused.At), account)
		}
		if a.Task {
			continue
		}
		labels := []*dto.LabelPair{
			account, out.label("account_id", a.Identity.AccountID), out.label("partition", a.Identity.Partition),
		}
		for i, value := range s.metrics.infoValues(a.Name) {
			labels = append(labels, out.label(s.tagLabels[i], value))
		}
		slices.SortFunc(labels, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
		out.add(s.info, 1, labels...)
	}
}

func (s *snapshot) collectTargets(out *scrape) {
	var regions []*regionSummary
	byKey := map[accountRegion]*regionSummary{}
	var kinds []*kindCount
	resources := map[accountKind]*kindCount{}
	failed := 0
	var region *regionSummary // of the target before: targets come in order
	var name string
	var configured bool
	for t := range s.status.Targets() {
		if t.Account != name || region == nil {
			name, configured = t.Account, s.metrics.counts.has(t.Account)
		}
		if !configured {
			continue
		}
		if !t.LastSuccess.IsZero() {
			key := accountKind{t.Account, t.Kind}
			n := resources[key]
			if n == nil {
				n = &kindCount{accountKind: key}
				resources[key], kinds = n, append(kinds, n)
			}
			n.resources += t.Resources
		}
		if t.State == "" {
			continue
		}
		if key := (accountRegion{t.Account, t.Region}); region == nil || region.accountRegion != key {
			if region = byKey[key]; region == nil {
				region = &regionSummary{accountRegion: key, states: []stateCount{{record.OK, 0}}}
				byKey[key], regions = region, append(regions, region)
			}
		}
		region.add(t)
		if t.Failed() {
			if failed++; failed <= maxFailedSeries {
				out.add(s.failed, 1, out.label("account", t.Account), out.label("kind", t.Kind),
					out.label("region", t.Region), out.label("state", string(t.State)))
			}
		}
		if s.detail != nil {
			s.detail.collect(out, t)
		}
	}
	out.add(s.omitted, float64(max(failed-maxFailedSeries, 0)))
	for _, r := range regions {
		s.collectRegion(out, r)
	}
	for _, k := range kinds {
		out.add(s.resources, float64(k.resources), out.label("account", k.account), out.label("kind", k.kind))
	}
}

func (s *snapshot) collectRegion(out *scrape, r *regionSummary) {
	account, region := out.label("account", r.account), out.label("region", r.region)
	for _, c := range r.states {
		out.add(s.targets, float64(c.targets), account, region, out.label("state", string(c.state)))
	}
	if !r.oldest.IsZero() {
		out.add(s.lastSuccess, seconds(r.oldest), account, region)
	}
	if !r.due.IsZero() {
		out.add(s.successDue, seconds(r.due), account, region)
	}
	if r.neverSucceeded > 0 {
		out.add(s.neverSucceeded, float64(r.neverSucceeded), account, region)
	}
}

func (d *detailSpecs) collect(out *scrape, t board.TargetInfo) {
	account, kind := out.label("account", t.Account), out.label("kind", t.Kind)
	region := out.label("region", t.Region)
	out.add(d.state, 1, account, kind, region, out.label("state", string(t.State)))
	out.add(d.records, float64(t.Records), account, kind, region)
	out.add(d.duration, max(t.Ended.Sub(t.Started), 0).Seconds(), account, kind, region)
	if !t.LastSuccess.IsZero() {
		out.add(d.lastSuccess, seconds(t.LastSuccess), account, kind, region)
	}
}

// add counts a target. A target that cannot succeed does not make its region stale.
func (r *regionSummary) add(t board.TargetInfo) {
	i := slices.IndexFunc(r.states, func(c stateCount) bool { return c.state == t.State })
	if i < 0 {
		i, r.states = len(r.states), append(r.states, stateCount{state: t.State})
	}
	r.states[i].targets++
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
