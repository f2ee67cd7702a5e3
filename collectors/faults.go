package collectors

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws-collector/collector/collectors/internal/ec2call"
	"github.com/aws-collector/collector/collectors/internal/ec2xml"
	"github.com/aws-collector/collector/record"
)

// skewLimit is the least difference of clocks that is taken for the cause of a refusal. EC2 allows five minutes:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html#CommonErrors (RequestExpired)
const skewLimit = 4*time.Minute + 30*time.Second

// fault says what kind of error ended a call, and what a person can do about it. The context's cause and emit's errors
// pass through: they have their own words.
func (l *Lister) fault(w CallOptions, k *Kind, err error) error {
	doing := fmt.Sprintf("list %s in %s: ", k.Name, w.Region)
	text := doing + record.ErrorSummary(err)
	err = fmt.Errorf("%s%w", doing, err)
	var own *emitError
	if errors.As(err, &own) {
		return err
	}
	if f := (*record.Fault)(nil); errors.As(err, &f) && f.Hint != "" {
		return err // the sign-in's, or the run's
	}
	reason, hint := diagnose(w, k, err)
	return &record.Fault{Reason: reason, Hint: hint, Text: text, Err: err}
}

func diagnose(w CallOptions, k *Kind, err error) (record.Reason, string) {
	if errors.Is(err, ErrRepeatedToken) {
		return record.BadAnswer, "the records so far stand; try again, and tell AWS support if it stays"
	}
	var bad *ec2xml.Error
	if errors.As(err, &bad) && !errors.Is(err, ec2xml.ErrKey) && record.ReasonOf(err) == record.Other {
		return record.BadAnswer, "is the endpoint really EC2 (a proxy, AWS_ENDPOINT_URL)? Else please report it with the version"
	}
	code := record.CodeOf(err)
	if status, ok := strings.CutPrefix(code, "http_"); ok {
		return record.Network, "status " + status + " came without EC2's XML: a proxy or load balancer answered in EC2's place"
	}
	reason := record.ReasonOf(err)
	switch reason {
	case record.AccessDenied:
		return reason, deniedHint(k.Action(), err)
	case record.Expired:
		if d, ok := ec2call.Skew(err, time.Now()); ok && d.Abs() > skewLimit {
			return record.ClockSkew, clockHint(d)
		}
		return reason, "a fresh session was refused as expired too; does something between here and AWS hold requests back?"
	case record.ClockSkew:
		if d, ok := ec2call.Skew(err, time.Now()); ok {
			return reason, clockHint(d)
		}
		return reason, "fix this machine's clock (NTP)"
	case record.BadKey:
		if p, ok := record.PartitionOf(w.Region); w.RegionEnabled || ok && p.DefaultRegion == w.Region {
			return reason, "the key was deleted or deactivated after the sign-in"
		}
		return record.DisabledRegion, w.Region + " is not enabled for the account: enable it (Account, AWS Regions), or leave it out of regions"
	case record.DisabledRegion:
		return reason, w.Region + " is not enabled for the account, or the account is not subscribed to EC2 yet: enable the region, or finish the account's sign-up"
	case record.Inactive:
		return reason, inactiveHint(code)
	case record.Unsupported:
		return reason, k.Op + " does not exist in " + w.Region + "; leave " + k.Name + " out of kinds, or name both under expect_denied"
	case record.Throttling:
		if p, ok := record.PartitionOf(w.Region); ok && p.ID == "aws-cn" {
			return reason, "in China an API that the region does not have answers like this too; else give " + k.Name + " a slower schedule"
		}
		return reason, "another program uses up the account's " + k.Op + " budget in this region, or the kind needs a slower schedule"
	case record.TimedOut:
		return reason, "raise limits.call_timeout if the account is very large; else look for a proxy or firewall that swallows packets"
	case record.Network:
		return reason, "look at DNS, proxies (HTTPS_PROXY, NO_PROXY), firewalls and AWS_ENDPOINT_URL"
	}
	return reason, ""
}

func inactiveHint(code string) string {
	switch code {
	case "PendingVerification":
		return "Wait until AWS has verified the account, which takes some minutes to some hours after it was made or a region was enabled; then ask AWS Support."
	case "Blocked", "AccountProblem":
		return "Sign in as the account's root user and look at its bills and messages; AWS Support unblocks an account."
	}
	return "Finish the account's sign-up: it needs a payment method and a verified telephone number before EC2 can be used."
}

func clockHint(d time.Duration) string {
	if d < 0 {
		return fmt.Sprintf("this machine's clock is %v ahead of AWS's; fix NTP", -d)
	}
	return fmt.Sprintf("this machine's clock is %v behind AWS's; fix NTP", d)
}

// deniedHint names what to add, or where the denial stands when AWS's message says so.
func deniedHint(action string, err error) string {
	switch by := deniedBy(err); by {
	case "":
		return fmt.Sprintf(`allow it: {"Effect": "Allow", "Action": %q, "Resource": "*"}`, action)
	case "service control policy", "resource control policy":
		return "a " + by + " of the organization denies " + action + "; name the region or kind under expect_denied if it is meant"
	case explicitDeny:
		return "a policy denies " + action + " explicitly; adding an Allow will not help"
	default:
		return "the " + by + " does not let " + action + " through; it must allow what the role's or the user's own policy allows"
	}
}

const explicitDeny = "explicit deny"

// deniedBy is what denies, if AWS's message says that it is something that an Allow in the caller's own policies does not
// mend; else "".
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html#access-denied-error-examples
func deniedBy(err error) string {
	text := err.Error()
	for _, by := range []string{"service control policy", "resource control policy", explicitDeny, "permissions boundary", "session policy", "VPC endpoint policy"} {
		if strings.Contains(text, by) {
			return by
		}
	}
	return ""
}
