package auth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/aws-collector/collector/record"
)

// errorContext is what a step knows that AWS's answer does not say.
type errorContext struct {
	operation  string          // "assume role arn:…": begins the error
	signer     string          // the name of the step whose credentials were used: "ak AKIA…MPLE"
	role       string          // ARN, where a role was to be assumed
	serial     string          // where a code was sent
	region     string          // whose STS was asked
	chained    bool            // the signer's credentials are temporary, so that a role stops at an hour
	externalID bool            // an external id was sent
	creds      aws.Credentials // never to be seen in a message
	code       string          // likewise
}

// explain makes a [record.Fault] of what went wrong: which step, of which kind, and what a person can do. One that is a
// Fault already comes from a step further in and stays as it is.
func explain(err error, c errorContext) error {
	var f *record.Fault
	if errors.As(err, &f) {
		return err
	}
	if fromIMDS(err) {
		return imdsFault(err)
	}
	text := c.redact(record.ErrorSummary(err))
	var api smithy.APIError
	// an answer that is none of STS's; where it is, its words say what matters
	foreign := !errors.As(err, &api) && reachedNetwork(err)
	if foreign {
		text = safeErrorText(err)
	}
	reason := reasonOf(err, text, c)
	f = &record.Fault{Reason: reason, Hint: hintFor(reason, err, text, c), Text: c.operation + ": " + text, Err: err}
	if foreign {
		f.Err = textError(text) // what cannot be read stands in err as it came
	}
	return f
}

// redact takes out of a message what must not be in it: STS quotes a code that it cannot read, and the canonical request,
// with the session token in it, where the signature is wrong.
func (c errorContext) redact(text string) string {
	if i := strings.Index(text, "The Canonical String for this request should have been"); i >= 0 {
		text = strings.TrimSpace(text[:i])
	}
	for _, s := range []string{c.creds.SecretAccessKey, c.creds.SessionToken, c.code} {
		if len(s) >= 6 { // what is shorter is no secret that AWS gave, and would blot out letters everywhere
			text = strings.ReplaceAll(text, s, "[redacted]")
		}
	}
	return text
}

// reasonOf reads AWS's answer. STS says most of what matters in the text, under the codes AccessDenied and ValidationError.
func reasonOf(err error, text string, c errorContext) record.Reason {
	has := func(s string) bool { return strings.Contains(text, s) }
	switch {
	case has("invalid MFA one time pass code"):
		return record.MFAInvalid
	case has("verify your MFA serial number"), has("unable to validate MFA"):
		return record.MFASerial
	case has("must provide both MFA serial number and one time pass code"):
		return record.MFANeeded
	case has("DurationSeconds exceeds"), has("'durationSeconds'"):
		return record.BadDuration
	case has("Signature expired"), has("Signature not yet current"):
		return record.ClockSkew
	case has("STS is not activated in this region"), record.CodeOf(err) == "RegionDisabledException":
		return record.DisabledRegion
	case has("session credentials"):
		return record.BadKey
	case record.CodeOf(err) == "MalformedPolicyDocument", record.CodeOf(err) == "PackedPolicyTooLarge":
		return record.BadPolicy
	}
	if garbled := new(smithy.DeserializationError); errors.Is(err, errIncomplete) || errors.As(err, &garbled) {
		return record.BadAnswer
	}
	r := record.ReasonOf(err)
	if r == record.AccessDenied && c.role != "" {
		return record.AssumeDenied
	}
	if r == record.Expired && c.creds.SessionToken == "" {
		return record.ClockSkew // a key that never expires cannot have
	}
	return r
}

var callerPattern = regexp.MustCompile(`User: (arn:\S+) is not authorized`)

// hintFor is what an expert would say next.
func hintFor(r record.Reason, err error, text string, c errorContext) string {
	switch r {
	case record.BadKey:
		if strings.Contains(text, "session credentials") {
			return "an MFA session can only be had with a user's own long-lived key, not with temporary credentials"
		}
		partition := "aws"
		if p, ok := record.PartitionOf(c.region); ok {
			partition = p.ID
		}
		return fmt.Sprintf("%s is not known in partition %s: the key was deleted or made inactive, or it belongs to another partition (set `partition` or `sts_region`), or %s is not enabled for its account", c.signer, partition, c.region)
	case record.BadSignature:
		return fmt.Sprintf("the secret does not belong to %s: look for a secret of another key, a cut or an added character", c.signer)
	case record.ClockSkew:
		return skewHint(err)
	case record.Expired:
		if strings.HasPrefix(c.signer, "mfa ") {
			return "the MFA session is over: " + loginHint
		}
		return fmt.Sprintf("the credentials of %s are over; temporary keys in a configuration or a file must be renewed by whoever writes them there", c.signer)
	case record.AssumeDenied:
		return assumeHint(text, c)
	case record.AccessDenied:
		return fmt.Sprintf("%s lacks the permission that the message names; a policy, a permissions boundary or a service control policy takes it away", c.signer)
	case record.MFAInvalid:
		return "the code was used before, mistyped, or made by a device whose clock is off; a code is good once and for about a minute: give the next one, in `token_code` or by `collector login`"
	case record.MFASerial:
		return fmt.Sprintf("%s is not a device of the user of %s; `serial_number` is the device's ARN in the user's security credentials", c.serial, c.signer)
	case record.MFANeeded:
		return "the role or the account asks for MFA: give `serial_number`, and `totp_seed`, `token_command` or `token_code`"
	case record.BadDuration:
		if c.role == "" {
			return "`mfa_session_duration` is 15m to 36h for a user, at most 1h for the account's root"
		}
		if c.chained {
			return "a role that is assumed with temporary credentials (after MFA, from a role) lasts at most 1h: set `role_duration: 1h`"
		}
		return "`role_duration` is longer than the role's maximum session duration: shorten the one or raise the other"
	case record.BadPolicy:
		return "`session_policy` and `session_tags` are refused by STS: it is no policy, or both together are too large for its packed form"
	case record.DisabledRegion:
		return fmt.Sprintf("STS is not active in %s for this account: activate it there, or set `sts_region` to a region that is enabled", c.region)
	case record.BadAnswer:
		return fmt.Sprintf("what answered for STS in %s is not STS: look for a proxy or a login page between here and AWS, at HTTPS_PROXY and at AWS_ENDPOINT_URL; the next run tries again", c.region)
	case record.Throttling:
		return "STS asked to go slower; the next run tries again"
	case record.TimedOut:
		return fmt.Sprintf("STS in %s did not answer in time: look at the network, a proxy, a VPC endpoint's security group, or set `sts_region`", c.region)
	case record.Network:
		return fmt.Sprintf("STS in %s could not be reached: look at the network, the name service, HTTPS_PROXY and AWS_CA_BUNDLE", c.region)
	}
	var re *smithyhttp.ResponseError
	if errors.As(err, &re) && re.HTTPStatusCode() >= http.StatusInternalServerError {
		return fmt.Sprintf("STS in %s has trouble of its own (%d); the next run tries again, and `sts_region` asks another region", c.region, re.HTTPStatusCode())
	}
	return ""
}

// assumeHint lists what refuses an AssumeRole. AWS's answer is the same for all of it.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_roles.html
func assumeHint(text string, c errorContext) string {
	who := c.signer
	if m := callerPattern.FindStringSubmatch(text); m != nil {
		who = m[1]
	}
	for action, key := range map[string]string{"sts:TagSession": "session_tags", "sts:SetSourceIdentity": "source_identity"} {
		if strings.Contains(text, action+" on") {
			return fmt.Sprintf("the trust policy of %s lets %s in, but not with `%s`: it must allow %s too, and so must the caller's own policy", c.role, who, key, action)
		}
	}
	ext := "no external id was sent: does the trust policy ask for one (`external_id`)"
	if c.externalID {
		ext = "does `external_id` equal the trust policy's"
	}
	mfa := "; does it ask for MFA (`serial_number`, and `totp_seed`, `token_command` or `token_code`)"
	if strings.HasPrefix(c.signer, "mfa ") {
		mfa = ""
	}
	return fmt.Sprintf("%s may not assume %s: does the role exist, does its trust policy name the caller; %s%s; may the caller sts:AssumeRole on it", who, c.role, ext, mfa)
}

// skewHint takes the time from the answer's Date header: it is AWS's clock.
func skewHint(err error) string {
	const fix = "make NTP work on this machine (chronyd, systemd-timesyncd; a suspended VM wakes in the past)"
	if at, ok := serverDate(err); ok {
		off := time.Since(at).Round(time.Second)
		if off.Abs() > time.Minute {
			off = off.Round(10 * time.Second) // the header is in whole seconds, and was on its way
		}
		side := "ahead of"
		if off < 0 {
			off, side = -off, "behind"
		}
		return fmt.Sprintf("this machine's clock is %s %s AWS's: %s", off, side, fix)
	}
	return "this machine's clock differs from AWS's: " + fix
}

// serverDate is what AWS's clock showed when it refused.
func serverDate(err error) (time.Time, bool) {
	var re *smithyhttp.ResponseError
	if !errors.As(err, &re) || re.Response == nil {
		return time.Time{}, false
	}
	at, err := http.ParseTime(re.Response.Header.Get("Date"))
	return at, err == nil
}

// credentialsRejected reports whether AWS no longer takes the credentials themselves, so that others are worth a try.
func credentialsRejected(err error) bool {
	switch record.ReasonOfCode(record.CodeOf(err)) {
	case record.Expired, record.BadKey:
		return true
	}
	return false
}

// neverSent reports whether a call certainly never reached AWS.
func neverSent(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns)
}

// fault is a Fault of our own finding.
func fault(r record.Reason, hint, format string, args ...any) *record.Fault {
	return &record.Fault{Reason: r, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// withTimeout is a context that ends after d, and says of what.
func withTimeout(ctx context.Context, d time.Duration, what string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, &timeoutError{what, d})
}

// A timeoutError names the time-out that struck.
type timeoutError struct {
	operation string
	timeout   time.Duration
}

func (e *timeoutError) Error() string {
	return fmt.Sprintf("%s: no answer within %s", e.operation, e.timeout)
}
func (*timeoutError) Unwrap() error { return context.DeadlineExceeded }
