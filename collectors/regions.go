package collectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/aws-collector/collector/collectors/internal/ec2call"
	"github.com/aws-collector/collector/collectors/internal/ec2xml"
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
// the denial is its Warning.
func (l *Lister) Regions(ctx context.Context, w Where) (Regions, error) {
	part, ok := record.PartitionOf(w.Region)
	if !ok {
		return Regions{}, fmt.Errorf("region %q is of no partition", w.Region)
	}
	rs, err := l.describeRegions(ctx, w)
	if record.ReasonOf(err) == record.DisabledRegion && w.Region != part.Default {
		w.Region = part.Default
		rs, err = l.describeRegions(ctx, w)
	}
	if record.ReasonOf(err) == record.AccessDenied {
		return Regions{Enabled: slices.Clone(part.Regions), Warning: err}, nil
	}
	return rs, err
}

func (l *Lister) describeRegions(ctx context.Context, w Where) (Regions, error) {
	k, _ := KindNamed("ec2_region")
	rs := Regions{Complete: true}
	w.Stamp = record.NewStamp(record.Target{Region: w.Region, Kind: k.Name}, record.Identity{}, []byte("{}"), "", "")
	_, err := l.List(ctx, w, k, "", func(_ context.Context, p *record.Page) error {
		for v := range p.Views() {
			var r struct{ RegionName, OptInStatus string }
			if err := json.Unmarshal(v.Data(), &r); err != nil {
				return &record.Fault{Reason: record.BadAnswer, Err: fmt.Errorf("a region: %w", err)}
			}
			if r.OptInStatus == "not-opted-in" {
				rs.Disabled = append(rs.Disabled, r.RegionName)
			} else { // opted-in, opt-in-not-required; older partitions say nothing
				rs.Enabled = append(rs.Enabled, r.RegionName)
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

// Allowed tries whether the account may list a kind in a region: by a dry run where the API has one, else by its first
// page. The error is a [*record.Fault], nil if it may.
func (l *Lister) Allowed(ctx context.Context, w Where, k *Kind) error {
	op, ok := ec2xml.Describe(k.Op)
	if !ok {
		return fmt.Errorf("kind %s: the SDK has no operation %s", k.Name, k.Op)
	}
	req := ec2call.Request{Op: k.Op, Max: k.Max, Params: k.params(sampleID(k.Parent)), DryRun: op.Has("DryRun")}
	err := l.call.Call(ctx, w.Session, w.Region, w.Gate, req, func(body io.Reader) error {
		_, err := io.Copy(io.Discard, body)
		return err
	})
	switch code := record.CodeOf(err); {
	case err == nil, code == "DryRunOperation", code == k.Absent && code != "":
		return nil
	case k.Parent != "" && (strings.HasSuffix(code, ".NotFound") || strings.HasSuffix(code, ".Malformed")):
		return nil // it looked for the sample, so it was allowed to
	}
	return l.fault(w, k, err)
}

// sampleID is a well-formed id of a parent kind, of a resource that does not exist.
func sampleID(kind string) string {
	const uuid, hex17 = "00000000-0000-0000-0000-000000000000", "00000000000000000"
	switch kind {
	case "ec2_client_vpn_endpoint":
		return "cvpn-endpoint-" + hex17
	case "ec2_fleet":
		return "fleet-" + uuid
	case "ec2_image":
		return "ami-" + hex17
	case "ec2_launch_template":
		return "lt-" + hex17
	case "ec2_spot_fleet_request":
		return "sfr-" + uuid
	case "ec2_vpc":
		return "vpc-" + hex17
	case "ec2_vpc_endpoint_service":
		return "vpce-svc-" + hex17
	}
	return ""
}
