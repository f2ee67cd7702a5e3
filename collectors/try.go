package collectors

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws-collector/collector/collectors/internal/call"
	"github.com/aws-collector/collector/record"
)

// A CheckResult is the result of [Lister.Check].
type CheckResult struct {
	Err           error         // nil if the account may list the kind; else a [*record.Fault] or the context's cause
	MissingAction string        // the IAM action to allow in the caller's policies, if that would help; else ""
	ClockAhead    time.Duration // this machine's clock minus AWS's, accurate to a second plus the response's transit time
	ClockKnown    bool          // ClockAhead is known: not every response has a date
}

// Check finds out whether the account may list a kind in a region, without listing it: by a dry run where the API has
// one, else by the smallest page, which it discards. If the kind's tags need a call of their own, it asks for those of
// a resource that does not exist. The gate counts it like any call.
func (l *Lister) Check(ctx context.Context, o CallOptions, k *Kind) CheckResult {
	op, ok := k.operation()
	if !ok {
		return CheckResult{Err: fmt.Errorf("kind %s: the SDK has no operation %s", k.Name, k.Op)}
	}
	if err := k.Service().unavailable(o.Region); err != nil {
		return CheckResult{Err: err}
	}
	creds := &trackedSession{Session: o.Session}
	req := k.request(o, creds, sampleID(k.Parent, o))
	if req.DryRun = op.Has(k.Service().api.DryRun); !req.DryRun && req.Max > 0 {
		req.Max = max(1, k.Service().SmallestPage)
	}
	t := l.checkCall(ctx, o, k, req, creds, k.Parent != "")
	if t.Err != nil || k.TagsBy == nil {
		return t
	}
	ofTags := l.checkCall(ctx, o, k, k.tagsRequest(req, []string{sampleID(k.Name, o)}), creds, true)
	t.Err, t.MissingAction = ofTags.Err, ofTags.MissingAction
	return t
}

// checkCall makes one call of Check. ofSample says that the call names a resource that does not exist.
func (l *Lister) checkCall(
	ctx context.Context, o CallOptions, k *Kind, req call.Request, creds *trackedSession, ofSample bool,
) CheckResult {
	try := func() error {
		return l.caller.Call(ctx, req, func(body io.Reader) error {
			_, err := io.Copy(io.Discard, body)
			return err
		})
	}
	err := try()
	again, err := creds.keyRefused(ctx, o, k, err)
	if again {
		err = try()
	}
	if expired(err) { // the session has expired, or the clock is wrong: the SDK has learnt the skew
		if err = creds.renew(ctx); err == nil {
			err = try()
		}
	}
	var t CheckResult
	if ahead, ok := call.Skew(err, time.Now()); ok {
		t.ClockAhead, t.ClockKnown = -ahead, true
	}
	switch code := record.CodeOf(err); {
	case err == nil, code == "DryRunOperation", code == k.AbsentCode && code != "":
		return t
	case ofSample && (record.IsNotFoundCode(code) || strings.HasSuffix(code, ".Malformed") ||
		code != "" && code == k.Service().GoneCode):
		return t // AWS looked for the sample id, so the call was allowed
	}
	t.Err = l.fault(o, k, err)
	if record.ReasonOfCode(record.CodeOf(err)) == record.AccessDenied && deniedBy(err) == "" {
		t.MissingAction = k.actionOf(req.Op)
	}
	return t
}

// sampleID returns a well-formed id of a kind for which no resource exists, "" if Check does not need one.
func sampleID(kind string, o CallOptions) string {
	const uuid, hex17 = "00000000-0000-0000-0000-000000000000", "00000000000000000"
	switch kind {
	case "autoscaling_group":
		return "collector-check-" + uuid
	case "iam_user":
		return "collector-check-" + uuid
	case "cloudformation_stack", "cloudformation_stack_set":
		return "collector-check-" + uuid
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
	case "elb_load_balancer":
		return "collector-check"
	case "elbv2_listener":
		return sampleELBARN(o, "listener/app/collector-check", 2)
	case "elbv2_load_balancer":
		return sampleELBARN(o, "loadbalancer/app/collector-check", 1)
	case "elbv2_rule":
		return sampleELBARN(o, "listener-rule/app/collector-check", 3)
	case "elbv2_target_group":
		return sampleELBARN(o, "targetgroup/collector-check", 1)
	case "elbv2_trust_store":
		return sampleELBARN(o, "truststore/collector-check", 1)
	}
	return ""
}

// sampleELBARN returns the ARN of a resource of Elastic Load Balancing in the account and region of a call. It ends
// with a number of ids.
func sampleELBARN(o CallOptions, resource string, ids int) string {
	part, _ := record.PartitionOf(o.Region)
	return "arn:" + part.ID + ":elasticloadbalancing:" + o.Region + ":" + o.AccountID + ":" + resource +
		strings.Repeat("/0000000000000000", ids)
}
