package collectors

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/smithy-go"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
	"github.com/aws-collector/collector/collectors/internal/call"
	"github.com/aws-collector/collector/record"
)

// skewLimit is the smallest clock skew that counts as the cause of an error. EC2 allows five minutes:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html#CommonErrors (RequestExpired)
const skewLimit = 4*time.Minute + 30*time.Second

// fault classifies the error of a call and adds a hint for the user. It does not change the context's cause, which
// has a text of its own.
func (l *Lister) fault(o CallOptions, k *Kind, err error) error {
	operation := fmt.Sprintf("list %s in %s: ", k.Name, o.Region)
	if k.Service().Global {
		operation = fmt.Sprintf("list %s: ", k.Name)
	}
	if op := k.opOf(err); op != k.Op {
		operation += op + ": "
	}
	text := operation + record.ErrorSummary(err)
	err = fmt.Errorf("%s%w", operation, err)
	if f := (*record.Fault)(nil); errors.As(err, &f) && f.Hint != "" {
		return err // of the sign-in or of the run
	}
	reason, hint := diagnose(o, k, err)
	return &record.Fault{Reason: reason, Hint: hint, Text: text, Err: err}
}

// opOf is the operation whose call ended with an error: the kind's, unless the error names another.
func (k *Kind) opOf(err error) string {
	if e := (*smithy.OperationError)(nil); errors.As(err, &e) {
		return e.OperationName
	}
	return k.Op
}

// hintCheckEndpoint is the hint for a response that a service does not give.
func hintCheckEndpoint(service string) string {
	return "Check that the endpoint is " + possessive(service) + " (a proxy, AWS_ENDPOINT_URL)."
}

func possessive(service string) string { return service + "'s" }

// diagnose returns the reason of an error and a hint.
func diagnose(o CallOptions, k *Kind, err error) (record.Reason, string) {
	service := k.Service().api.ID
	if errors.Is(err, ErrRepeatedToken) {
		return record.BadAnswer, "Run the collector again; if the error persists, report it to AWS Support. " +
			"The records so far are valid."
	}
	if errors.Is(err, record.ErrIDUnread) {
		return record.BadAnswer, "Correct or delete the resource that the error describes, or report it to AWS Support. " +
			"All other resources were delivered."
	}
	var bad *awsxml.Error
	if errors.As(err, &bad) && !errors.Is(err, awsxml.ErrKey) && record.ReasonOf(err) == record.Other {
		return record.BadAnswer, hintCheckEndpoint(service) +
			" If it is, report this error with the version of the collector."
	}
	code := record.CodeOf(err)
	if status, ok := strings.CutPrefix(code, "http_"); ok {
		return record.Network, "Check the proxy or load balancer: it responded in place of " + service + ", with status " +
			status + " and without " + possessive(service) + " XML."
	}
	reason := record.ReasonOf(err)
	if code == "ValidationError" {
		reason = record.BadRequest // STS says so of what users write, which is another reason
	}
	switch reason {
	case record.AccessDenied:
		return reason, deniedHint(k.actionOf(k.opOf(err)), err)
	case record.Expired:
		if d, ok := call.Skew(err, time.Now()); ok && d.Abs() > skewLimit {
			return record.ClockSkew, clockHint(d)
		}
		return reason, "Check whether a proxy delays requests to AWS: " + service + " refused a new session as expired, too."
	case record.ClockSkew:
		if d, ok := call.Skew(err, time.Now()); ok {
			return reason, clockHint(d)
		}
		return reason, "Synchronize this machine's clock (NTP)."
	case record.BadKey:
		if o.mustBeEnabled() {
			return reason, "Check the access key: it was deleted or deactivated after the sign-in."
		}
		return record.DisabledRegion, "Enable " + o.Region +
			" for the account (Account, AWS Regions) or remove it from regions."
	case record.DisabledRegion:
		return reason, "Enable " + o.Region + " for the account, or complete the account's sign-up: " +
			"the region is not enabled or the account is not subscribed to " + service + " yet."
	case record.Inactive:
		return reason, inactiveHint(code)
	case record.Unsupported:
		return reason, "Remove " + k.Name + " from kinds, or name it and the region under expect_denied: " +
			k.opOf(err) + " does not exist in " + o.Region + "."
	case record.Throttling:
		if p, ok := record.PartitionOf(o.Region); ok && p.ID == "aws-cn" {
			return reason, "Set a slower schedule for " + k.Name +
				". In China, an API that does not exist in the region may respond like this, too."
		}
		return reason, "Set a slower schedule for " + k.Name +
			", or check whether another program uses the account's budget for " + k.opOf(err) + " in this region."
	case record.BadSignature:
		return reason, "Check the secret of the access key, and whether a proxy changes or removes headers of requests."
	case record.ServiceError:
		return reason, "Wait for the next run: " + service + " failed in all attempts of the call. " +
			"If the error persists, check AWS Health or contact AWS Support."
	case record.BadRequest:
		return reason, "Report this error with the version of the collector: " + service +
			" refuses the parameters of the call."
	case record.BadAnswer:
		if tokenRefused(code) {
			return reason, "Wait for the next run: " + service + " refused the token of a page, also after the listing began " +
				"anew. The records so far are valid."
		}
	case record.TimedOut:
		return reason, "Raise limits.call_timeout if the account is very large; " +
			"else check whether a proxy or firewall drops packets."
	case record.Network:
		return reason, "Check DNS, proxies (HTTPS_PROXY, NO_PROXY), firewalls and AWS_ENDPOINT_URL."
	}
	return reason, otherHint(k.Service(), code)
}

func otherHint(s *Service, code string) string {
	switch {
	case record.IsNotFoundCode(code):
		return "Wait for the next run: " + s.api.ID + " refused the call because a resource was deleted meanwhile."
	case code != "":
		return "Look up " + code + " in " + possessive(s.api.ID) + " error codes: " + s.errorsURL
	}
	return ""
}

func inactiveHint(code string) string {
	switch code {
	case "PendingVerification":
		return "Wait until AWS has verified the account: this takes minutes to hours " +
			"after it was created or a region was enabled. If it takes longer, contact AWS Support."
	case "Blocked", "AccountProblem":
		return "Sign in as the account's root user and check its bills and messages; AWS Support unblocks an account."
	}
	return "Complete the account's sign-up: EC2 needs a payment method and a verified telephone number."
}

func clockHint(d time.Duration) string {
	d = d.Round(time.Minute) // the same text in each run
	if d < 0 {
		return fmt.Sprintf("Synchronize this machine's clock (NTP): it is %v ahead of AWS's.", -d)
	}
	return fmt.Sprintf("Synchronize this machine's clock (NTP): it is %v behind AWS's.", d)
}

// deniedHint says which statement to add or, if AWS's message names one, which policy denies the action.
func deniedHint(action string, err error) string {
	switch by := deniedBy(err); by {
	case "":
		return fmt.Sprintf(`Add the statement {"Effect": "Allow", "Action": %q, "Resource": "*"}.`, action)
	case "service control policy", "resource control policy":
		return "Change the " + by + " of the organization that denies " + action +
			", or name the region or kind under expect_denied if the denial is intended."
	case explicitDeny:
		return "Remove the explicit denial of " + action + " from the policy: adding an Allow will not help."
	default:
		return "Allow " + action + " in the " + by + ", too: it must allow what the policy of the role or user allows."
	}
}

const explicitDeny = "explicit deny"

// deniedBy returns the kind of policy that denies the action, if AWS's message names one and allowing the action in the
// caller's own policies would not help; else "".
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html#access-denied-error-examples
func deniedBy(err error) string {
	text := err.Error()
	for _, by := range []string{
		"service control policy", "resource control policy", explicitDeny, "permissions boundary", "session policy",
		"VPC endpoint policy",
	} {
		if strings.Contains(text, by) {
			return by
		}
	}
	return ""
}
