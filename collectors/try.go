package collectors

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws-collector/collector/collectors/internal/ec2call"
	"github.com/aws-collector/collector/collectors/internal/ec2xml"
	"github.com/aws-collector/collector/record"
)

// A Trial is how a try of a kind ended.
type CheckResult struct {
	Err           error         // nil: the account may list the kind; else a [*record.Fault], or the context's cause
	MissingAction string        // the IAM action that is missing, where allowing it in the caller's own policies would mend that; else ""
	ClockAhead    time.Duration // how far this machine's clock is ahead of EC2's: good to a second and the time that the answer was on its way
	ClockKnown    bool          // Ahead is known: not every answer says when it was given
}

// Check finds out whether the account may list a kind in a region, and lists nothing: by a dry run where the API has one, else by
// its first page, which is thrown away. The gate counts it like any call.
func (l *Lister) Check(ctx context.Context, w CallOptions, k *Kind) CheckResult {
	op, ok := ec2xml.Describe(k.Op)
	if !ok {
		return CheckResult{Err: fmt.Errorf("kind %s: the SDK has no operation %s", k.Name, k.Op)}
	}
	req := ec2call.Request{Op: k.Op, Max: k.Max, Params: k.params(w.Region, sampleID(k.Parent)), DryRun: op.Has("DryRun")}
	creds := &trackedSession{Session: w.Session}
	try := func() error {
		return l.caller.Call(ctx, creds, w.Region, w.Gate, req, func(body io.Reader) error {
			_, err := io.Copy(io.Discard, body)
			return err
		})
	}
	err := try()
	if expired(err) { // the session's end, or a clock that is off: the SDK has learnt by how much
		if err = creds.renew(ctx); err == nil {
			err = try()
		}
	}
	var t CheckResult
	if ahead, ok := ec2call.Skew(err, time.Now()); ok {
		t.ClockAhead, t.ClockKnown = -ahead, true
	}
	switch code := record.CodeOf(err); {
	case err == nil, code == "DryRunOperation", code == k.AbsentCode && code != "":
		return t
	case k.Parent != "" && (strings.HasSuffix(code, ".NotFound") || strings.HasSuffix(code, ".Malformed")):
		return t // it looked for the sample, so it was allowed to
	}
	t.Err = l.fault(w, k, err)
	if record.ReasonOf(t.Err) == record.AccessDenied && deniedBy(err) == "" {
		t.MissingAction = k.Action()
	}
	return t
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
