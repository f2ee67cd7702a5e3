package collectors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws-collector/collector/record"
)

// Regions is where an account can be listed.
type Regions struct {
	Enabled  []string // sorted
	Disabled []string // known to AWS, but not opted in; sorted
	Complete bool     // AWS has said so; else Enabled is what this version knows of the partition
	Warning  error    // why it is not complete: a *record.Fault
}

// Regions asks AWS which regions the account has enabled. w.Region is where to ask: a region that is itself not enabled
// is passed over for the partition's default. If AWS denies the question, the answer is the partition's known regions and
// the denial is its Warning. Of an error, [record.StateOf] makes a failure: what is harmless for a region is not for the account.
func (l *Lister) Regions(ctx context.Context, w CallOptions) (Regions, error) {
	part, ok := record.PartitionOf(w.Region)
	if !ok {
		return Regions{}, fmt.Errorf("region %q is of no partition", w.Region)
	}
	rs, err := l.describeRegions(ctx, w)
	if record.ReasonOf(err) == record.DisabledRegion && w.Region != part.DefaultRegion {
		w.Region = part.DefaultRegion
		rs, err = l.describeRegions(ctx, w)
	}
	if record.ReasonOf(err) == record.AccessDenied {
		return Regions{Enabled: slices.Clone(part.Regions), Warning: err}, nil
	}
	return rs, regionsError(w, err)
}

// regionsError is the error of the partition's default region, which every account has.
func regionsError(w CallOptions, err error) error {
	if err == nil || record.StateOf(err, 0).Failed() {
		return err
	}
	if record.ReasonOf(err) == record.DisabledRegion {
		return &record.Fault{Reason: record.Inactive, Hint: inactiveHint(record.CodeOf(err)), Err: fmt.Errorf("EC2 refuses the account in %s: %w", w.Region, err)}
	}
	return &record.Fault{Reason: record.BadAnswer, Hint: "Check that the endpoint is EC2's (a proxy, AWS_ENDPOINT_URL).", Err: err}
}

// notOptedIn is how the decoder writes the member. It can stand for nothing else: within a value its quotes would be escaped.
var notOptedIn = []byte(`"OptInStatus":"not-opted-in"`)

func (l *Lister) describeRegions(ctx context.Context, w CallOptions) (Regions, error) {
	k, _ := KindNamed("ec2_region")
	rs := Regions{Complete: true}
	w.Envelope = record.NewEnvelope(record.Target{Region: w.Region, Kind: k.Name}, record.Identity{}, []byte("{}"), "", "")
	_, err := l.List(ctx, w, k, "", func(_ context.Context, p *record.Page) error {
		for v := range p.Views() {
			name, err := record.Unquote(v.ID())
			if err != nil {
				return &record.Fault{Reason: record.BadAnswer, Err: fmt.Errorf("a region: %w", err)}
			}
			if bytes.Contains(v.Data(), notOptedIn) {
				rs.Disabled = append(rs.Disabled, name)
			} else { // opted-in, opt-in-not-required; older partitions say nothing
				rs.Enabled = append(rs.Enabled, name)
			}
		}
		return nil
	})
	if err != nil {
		return Regions{}, err
	}
	if len(rs.Enabled) == 0 {
		return Regions{}, &record.Fault{Reason: record.BadAnswer, Hint: "is the endpoint really EC2 (a proxy, AWS_ENDPOINT_URL)?",
			Err: errors.New("DescribeRegions names no region that is enabled")}
	}
	slices.Sort(rs.Enabled)
	slices.Sort(rs.Disabled)
	return rs, nil
}
