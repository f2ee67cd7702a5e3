package account

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// Opened is an account that is signed in. It connects sign-in and listing; the runner knows neither.
type Opened struct {
	Session *auth.Session

	lister          *collectors.Lister
	extra           []byte // extra_tags, a JSON object
	collect         config.Collect
	regionGlobs     []string     // --region
	regionsComplete *atomic.Bool // AWS listed the account's regions, so a key that one of them refuses is a bad key
	missingAction   string       // see MissingAction
	unknownFields   *prometheus.CounterVec
}

// Identity is who the account is for AWS.
func (o *Opened) Identity() record.Identity { return o.Session.Identity }

// SignIn is how the account signed in.
func (o *Opened) SignIn() inventory.SignIn {
	s := inventory.SignIn{Path: strings.Join(o.Session.Path(), " → ")}
	s.Expires, _ = o.Session.LoginDue()
	return s
}

// callOptions returns the options of calls for targets in a region.
func (o *Opened) callOptions(region string, g *runner.Gate) collectors.CallOptions {
	part, _ := record.PartitionNamed(o.Session.Identity.Partition)
	return collectors.CallOptions{
		Session: o.Session, Region: collectors.Region(region, part), AccountID: o.Session.Identity.AccountID, Gate: g,
		Sensitive: o.collect.Sensitive, RegionEnabled: o.regionsComplete.Load(),
	}
}

// MissingAction is the action to allow so that AWS lists the regions, after Regions; "" if AWS listed them.
func (o *Opened) MissingAction() string { return o.missingAction }

// Check tries to list a kind in a region, without listing it.
func (o *Opened) Check(ctx context.Context, region string, g *runner.Gate, k *collectors.Kind) collectors.CheckResult {
	return o.lister.Check(ctx, o.callOptions(region, g), k)
}

// Regions asks AWS which regions the account has, and chooses those that the configuration names.
func (o *Opened) Regions(ctx context.Context, g *runner.Gate) (runner.Plan, error) {
	part, ok := record.PartitionNamed(o.Session.Identity.Partition)
	if !ok {
		return runner.Plan{}, fmt.Errorf("unknown partition %q", o.Session.Identity.Partition)
	}
	ask := DiscoveryRegion(o.collect, part)
	rs, err := o.lister.Regions(ctx, o.callOptions(ask, g.ForRegion(ask)))
	if err != nil {
		return runner.Plan{}, err
	}
	o.regionsComplete.Store(rs.Complete)
	o.missingAction = rs.MissingAction
	plan := ChooseRegions(o.collect, o.regionGlobs, rs)
	if len(plan.Regions)+len(plan.Disabled) == 0 {
		return plan, &record.Fault{
			Reason: record.Other, Hint: "Check collector_configs.regions and --region.",
			Err: errors.New("the account has none of the regions that the configuration names"),
		}
	}
	return plan, nil
}

// Pages lists a target.
func (o *Opened) Pages(
	ctx context.Context, g *runner.Gate, t record.Target, run, parent string, st *record.ListStats,
) iter.Seq2[*record.Page, error] {
	return func(yield func(*record.Page, error) bool) {
		k, ok := collectors.KindNamed(t.Kind)
		if !ok {
			yield(nil, fmt.Errorf("unknown kind %q", t.Kind))
			return
		}
		defer func() {
			if st.Unknown > 0 {
				o.unknownFields.WithLabelValues(k.Name).Add(float64(st.Unknown))
			}
		}()
		options := o.callOptions(t.Region, g)
		options.Envelope = record.NewEnvelope(t, o.Session.Identity, o.extra, run, time.Now().UTC().Format(time.RFC3339))
		o.lister.Pages(ctx, options, k, parent, st)(yield)
	}
}
