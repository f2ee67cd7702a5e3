package collectors

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

// Each kind of the catalogue can be checked where everything is allowed, also those with a parent.
func TestCheckOfEachKind(t *testing.T) {
	withFakeAWS(
		t,
		awsfake.Options{},
		func(a *awsfake.AWS, c *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions) {
			for i := range Kinds {
				k := &Kinds[i]
				got := l.Check(context.Background(), w(k, "us-east-1"), k)
				r := record.ReasonOf(got.Err)
				if r != "" && r != record.Unsupported || got.MissingAction != "" { // the fake AWS does not serve all
					t.Errorf("%s: %+v", k.Name, got)
				}
			}
			for i := range Services {
				c.Deny(awsfake.Denial{Action: Services[i].IAMPrefix + ":*"})
			}
			for i := range Kinds {
				k := &Kinds[i]
				got := l.Check(context.Background(), w(k, "us-east-1"), k)
				if record.ReasonOf(got.Err) == record.Unsupported {
					continue
				}
				if record.StateOf(got.Err, 0) != record.Denied || got.MissingAction != k.Action() ||
					!strings.Contains(record.HintOf(got.Err), k.Action()) {
					t.Errorf("%s: denied, but %+v", k.Name, got)
				}
			}
		},
	)
}

// Where an API has no dry run, its smallest page is asked for.
func TestCheckAsksForTheSmallestPage(t *testing.T) {
	withFakeAWS(
		t,
		awsfake.Options{},
		func(a *awsfake.AWS, c *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions) {
			asked := 0
			for i := range Kinds {
				k := &Kinds[i]
				s := k.Service()
				if op, ok := k.operation(); !ok || op.Has(s.api.DryRun) || k.Max == 0 {
					continue
				}
				asked++
				want := strconv.Itoa(max(1, s.SmallestPage))
				if k.Max < s.SmallestPage {
					t.Errorf("%s: the largest page has %d, the smallest of the service %d", k.Name, k.Max, s.SmallestPage)
				}
				l.Check(context.Background(), w(k, "us-east-1"), k)
				calls := a.Calls(func(c *awsfake.Call) bool { return c.Action == k.Op })
				if len(calls) == 0 || calls[len(calls)-1].Params[s.api.PageSize] != want {
					t.Errorf("%s: %+v, want pages of %s", k.Name, calls, want)
				}
			}
			if asked < 10 {
				t.Errorf("%d kinds without dry run", asked)
			}
		},
	)
}

func TestDeniedBy(t *testing.T) {
	for text, want := range map[string]string{
		"because no identity-based policy allows the ec2:DescribeVolumes action":  "",
		"with an explicit deny in a service control policy":                       "service control policy",
		"because no service control policy allows the ec2:DescribeVolumes action": "service control policy",

		"with an explicit deny in an identity-based policy: arn:aws:iam::111111111111:policy/no-volumes": explicitDeny,

		"because no permissions boundary allows the ec2:DescribeVolumes action": "permissions boundary",
		"because no session policy allows the ec2:DescribeVolumes action":       "session policy",
		"because no VPC endpoint policy allows the ec2:DescribeVolumes action":  "VPC endpoint policy",
		"Encoded authorization failure message: A-b_c":                          "",
	} {
		err := &awsError{
			"UnauthorizedOperation",
			"You are not authorized to perform this operation. " +
				"User: arn:aws:iam::111111111111:user/alice is not authorized to perform: ec2:DescribeVolumes " + text,
		}
		if got := deniedBy(err); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		hint := deniedHint("ec2:DescribeVolumes", err)
		if !strings.Contains(hint, "ec2:DescribeVolumes") || !strings.Contains(hint, strings.TrimSuffix(want, " deny")) ||
			strings.HasPrefix(hint, "Add the statement ") != (want == "") {
			t.Errorf("%q: %s", text, hint)
		}
	}
}

type awsError struct{ code, text string }

func (e *awsError) Error() string     { return e.code + ": " + e.text }
func (e *awsError) ErrorCode() string { return e.code }

func TestCheckOfADeniedRegion(t *testing.T) {
	withFakeAWS(
		t,
		awsfake.Options{},
		func(a *awsfake.AWS, c *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions) {
			c.Deny(awsfake.Denial{Action: "ec2:*", Region: "eu-*", SCP: true})
			k := kind(t, "ec2_volume")
			if got := l.Check(context.Background(), w(k, "eu-west-1"), k); record.StateOf(got.Err, 0) != record.Denied ||
				got.MissingAction != "" {
				t.Errorf("a service control policy: %+v", got)
			}
			if got := l.Check(context.Background(), w(k, "us-east-1"), k); got.Err != nil {
				t.Errorf("another region: %+v", got)
			}
			got := l.Check(context.Background(), w(k, "me-south-1"), k)
			if record.StateOf(got.Err, 0) != record.RegionDisabled ||
				got.MissingAction != "" {
				t.Errorf("not opted in: %+v", got)
			}
			ctx, cancel := context.WithCancelCause(context.Background())
			cancel(context.DeadlineExceeded)
			if got := l.Check(ctx, w(k, "us-east-1"), k); record.StateOf(got.Err, 0) != record.Timeout ||
				got.MissingAction != "" {
				t.Errorf("too late: %+v", got)
			}
		},
	)
}

// Check reports the skew of the clock long before AWS refuses calls, and does not fail by it.
func TestCheckReportsTheSkew(t *testing.T) {
	for _, off := range []time.Duration{0, 3 * time.Minute, -3 * time.Minute, 20 * time.Minute} {
		withFakeAWS(
			t,
			awsfake.Options{ClockOffset: off},
			func(a *awsfake.AWS, c *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions) {
				k := kind(t, "ec2_volume")
				got := l.Check(context.Background(), w(k, "us-east-1"), k)
				if d := got.ClockAhead + off; got.Err != nil || !got.ClockKnown || d.Abs() > time.Second {
					t.Errorf("AWS is %v ahead of us: %+v", off, got)
				}
			},
		)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		kind   string
		a      response
		ok     bool
		dryRun string
	}{
		{"ec2_volume", refuse(412, "DryRunOperation", "would have succeeded"), true, "true"},
		{"ec2_volume", refuse(403, "UnauthorizedOperation", "no"), false, "true"},
		{"ec2_host", text("<DescribeHostsResponse><hostSet/></DescribeHostsResponse>"), true, ""},
		{"ec2_launch_template_version", refuse(400, "InvalidLaunchTemplateId.NotFound", "gone"), true, "true"},
		{"ec2_spot_datafeed_subscription", refuse(400, "InvalidSpotDatafeed.NotFound", "none"), true, "true"},
	} {
		h := newTestLister(t, Options{}, c.a)
		k := kind(t, c.kind)
		err := h.l.Check(context.Background(), h.callOptions(k, "eu-west-1"), k).Err
		if (err == nil) != c.ok || h.forms[0].Get("DryRun") != c.dryRun {
			t.Errorf("%s: %v, %v", c.kind, err, h.forms)
		}
		if err != nil && record.ReasonOf(err) != record.AccessDenied {
			t.Errorf("%v", err)
		}
	}
}
