package collectors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws-collector/collector/record"
)

// Regions are the regions of an account.
type Regions struct {
	Enabled  []string // sorted
	Disabled []string // not opted in; sorted
	Complete bool     // from AWS; else Enabled holds the partition's regions that this version knows
	Warning  error    // why Complete is false: a *record.Fault

	MissingAction string // the IAM action to allow in the caller's policies, if that would help; else ""
}

// Regions asks AWS in o.Region which regions the account has enabled. If o.Region itself is not enabled, it asks in the
// partition's default region. If AWS denies the call, it returns the partition's known regions, with the denial as
// Warning. [record.StateOf] counts every error of Regions as a failure, also one that would be harmless for one region.
func (l *Lister) Regions(ctx context.Context, o CallOptions) (Regions, error) {
	part, ok := record.PartitionOf(o.Region)
	if !ok {
		return Regions{}, fmt.Errorf("region %q: unknown partition", o.Region)
	}
	rs, err := l.describeRegions(ctx, o)
	if record.ReasonOf(err) == record.DisabledRegion && o.Region != part.DefaultRegion {
		o.Region = part.DefaultRegion
		rs, err = l.describeRegions(ctx, o)
	}
	if record.ReasonOf(err) == record.AccessDenied {
		rs = Regions{Enabled: slices.Clone(part.Regions), Warning: err}
		if deniedBy(err) == "" {
			rs.MissingAction = "ec2:DescribeRegions"
		}
		return rs, nil
	}
	return rs, regionsError(o, err)
}

// regionsError turns an error of the partition's default region, which every account has, into a failure.
func regionsError(o CallOptions, err error) error {
	if err == nil || record.StateOf(err, 0).Failed() {
		return err
	}
	if record.ReasonOf(err) == record.DisabledRegion {
		return &record.Fault{
			Reason: record.Inactive,
			Hint:   inactiveHint(record.CodeOf(err)),
			Err:    fmt.Errorf("EC2 refuses the account in %s: %w", o.Region, err),
		}
	}
	return &record.Fault{Reason: record.BadAnswer, Hint: hintCheckEndpoint("EC2"), Err: err}
}

// notOptedIn is the member as the decoder writes it. It cannot match anything else, because quotes in values are
// escaped.
var notOptedIn = []byte(`"OptInStatus":"not-opted-in"`)

func (l *Lister) describeRegions(ctx context.Context, o CallOptions) (Regions, error) {
	k, _ := KindNamed("ec2_region")
	rs := Regions{Complete: true}
	o.Envelope = record.NewEnvelope(record.Target{Region: o.Region, Kind: k.Name}, record.Identity{}, []byte("{}"), "", "")
	for p, err := range l.Pages(ctx, o, k, "", new(record.ListStats)) {
		if err != nil {
			return Regions{}, err
		}
		for v := range p.Views() {
			name, err := record.Unquote(v.ID())
			if err != nil {
				return Regions{}, &record.Fault{Reason: record.BadAnswer, Err: fmt.Errorf("region name: %w", err)}
			}
			if bytes.Contains(v.Data(), notOptedIn) {
				rs.Disabled = append(rs.Disabled, name)
			} else { // opted-in, opt-in-not-required, or absent in older partitions
				rs.Enabled = append(rs.Enabled, name)
			}
		}
	}
	if len(rs.Enabled) == 0 {
		return Regions{}, &record.Fault{Reason: record.BadAnswer, Hint: hintCheckEndpoint("EC2"),
			Err: errors.New("DescribeRegions returned no enabled region")}
	}
	slices.Sort(rs.Enabled)
	slices.Sort(rs.Disabled)
	return rs, nil
}
