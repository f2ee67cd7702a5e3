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

// errorContext is what a step knows and AWS's response does not say.
type errorContext struct {
	operation  string          // "assume role arn:…": begins the error
	signer     string          // the step whose credentials were used: "ak AKIA…MPLE"
	role       string          // the ARN of the role to assume
	serial     string          // the MFA device whose code was sent
	region     string          // of STS
	chained    bool            // the signer's credentials are temporary, so a role lasts an hour at most
	externalID bool            // an external id was sent
	creds      aws.Credentials // never shown in a message
	code       string          // likewise
}

// explain makes a [record.Fault] of an error: which step failed, with which reason, and what a person can do. An error
// that is a Fault already comes from an earlier step and stays as it is.
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
	// The text of another service's response is not shown: it may be a secret. STS's own texts are shown.
	foreign := !errors.As(err, &api) && reachedNetwork(err)
	if foreign {
		text = safeErrorText(err)
	}
	reason := reasonOf(err, text, c)
	f = &record.Fault{Reason: reason, Hint: hintFor(reason, err, text, c), Text: c.operation + ": " + text, Err: err}
	if foreign {
		f.Err = textError(text) // err holds the raw response
	}
	return f
}

// redact removes secrets from a message: STS quotes a code that it cannot read and, for a wrong signature, the
// canonical request with the session token.
func (c errorContext) redact(text string) string {
	if i := strings.Index(text, "The Canonical String for this request should have been"); i >= 0 {
		text = strings.TrimSpace(text[:i])
	}
	for _, s := range []string{c.creds.SecretAccessKey, c.creds.SessionToken, c.code} {
		if len(s) >= 6 { // AWS gives no shorter secrets, and replacing short ones would garble the text
			text = strings.ReplaceAll(text, s, "[redacted]")
		}
	}
	return text
}

// reasonOf reads AWS's response. With the codes AccessDenied and ValidationError, STS gives the details only in the
// text.
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
		return record.ClockSkew // a long-lived key does not expire
	}
	return r
}

var callerPattern = regexp.MustCompile(`User: (arn:\S+) is not authorized`)

// hintFor is what a person should do.
func hintFor(r record.Reason, err error, text string, c errorContext) string {
	switch r {
	case record.BadKey:
		if strings.Contains(text, "session credentials") {
			return "Use a user's own long-lived key: STS gives no MFA session for temporary credentials."
		}
		partition := "aws"
		if p, ok := record.PartitionOf(c.region); ok {
			partition = p.ID
		}
		return fmt.Sprintf("Check %s: the key was deleted or made inactive, or it belongs to another partition than %s "+
			"(set `partition` or `sts_region`), or %s is not enabled for its account.", c.signer, partition, c.region)
	case record.BadSignature:
		return fmt.Sprintf("Check the secret of %s: it may belong to another key, or have a missing or added character.",
			c.signer)
	case record.ClockSkew:
		return skewHint(err)
	case record.Expired:
		if strings.HasPrefix(c.signer, "mfa ") {
			return "The MFA session has expired. " + loginHint
		}
		return fmt.Sprintf("Renew the temporary key of %s in the configuration or the file that holds it: it has expired.",
			c.signer)
	case record.AssumeDenied:
		return assumeHint(text, c)
	case record.AccessDenied:
		return fmt.Sprintf("Grant %s the permission that the error names; a policy, a permissions boundary "+
			"or a service control policy denies it.", c.signer)
	case record.MFAInvalid:
		return "Give the next code, in `token_code` or with `collector login`: this one was used before, mistyped, " +
			"or made by a device whose clock is wrong. A code works once, for about a minute."
	case record.MFASerial:
		return fmt.Sprintf("Set `serial_number` to the ARN of a device of the user of %s: %s is not one.", c.signer, c.serial)
	case record.MFANeeded:
		return "Set `serial_number`, and `totp_seed`, `token_command` or `token_code`: the role or the account requires MFA."
	case record.BadDuration:
		if c.role == "" {
			return "Set `mfa_session_duration` to 15m to 36h for a user, or to at most 1h for the account's root user."
		}
		if c.chained {
			return "Set `role_duration: 1h`: a role that is assumed with temporary credentials (after MFA, or from a role) " +
				"lasts at most 1h."
		}
		return "Shorten `role_duration`, or raise the role's maximum session duration."
	case record.BadPolicy:
		return "Correct `session_policy`, or shorten it and `session_tags`: " +
			"STS refuses an invalid policy, and a policy and tags that are too large together when packed."
	case record.DisabledRegion:
		return fmt.Sprintf("Activate STS in %s for this account, or set `sts_region` to an enabled region.", c.region)
	case record.BadAnswer:
		return fmt.Sprintf("Look for a proxy or a login page between here and AWS, and check HTTPS_PROXY and "+
			"AWS_ENDPOINT_URL: the response to a call of STS in %s did not come from STS.", c.region)
	case record.Throttling:
		return "Nothing to do: STS throttles calls; the next run tries again."
	case record.TimedOut:
		return fmt.Sprintf("Check the network, the proxy and the security group of the VPC endpoint, or set `sts_region`: "+
			"STS in %s did not respond in time.", c.region)
	case record.Network:
		return fmt.Sprintf("Check the network, DNS, HTTPS_PROXY and AWS_CA_BUNDLE: STS in %s cannot be reached.", c.region)
	}
	var re *smithyhttp.ResponseError
	if errors.As(err, &re) && re.HTTPStatusCode() >= http.StatusInternalServerError {
		return fmt.Sprintf("Wait for the next run, which tries again, or set `sts_region` to another region: "+
			"STS in %s responds with HTTP status %d.", c.region, re.HTTPStatusCode())
	}
	return ""
}

// assumeHint lists every reason to refuse an AssumeRole. AWS gives the same response for each.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_roles.html
func assumeHint(text string, c errorContext) string {
	caller := c.signer
	if m := callerPattern.FindStringSubmatch(text); m != nil {
		caller = m[1]
	}
	settings := map[string]string{"sts:TagSession": "session_tags", "sts:SetSourceIdentity": "source_identity"}
	for action, key := range settings {
		if strings.Contains(text, action+" on") {
			return fmt.Sprintf("Allow %s in the trust policy of %s and in the caller's own policy: "+
				"%s may assume the role, but not with `%s`.", action, c.role, caller, key)
		}
	}
	external := "set `external_id` if the trust policy requires one"
	if c.externalID {
		external = "check that `external_id` equals the trust policy's"
	}
	mfa := "; if it requires MFA, set `serial_number`, and `totp_seed`, `token_command` or `token_code`"
	if strings.HasPrefix(c.signer, "mfa ") {
		mfa = ""
	}
	return fmt.Sprintf("Check that %s exists, that its trust policy names %s, and that the caller may sts:AssumeRole "+
		"on it; %s%s.", c.role, caller, external, mfa)
}

// skewHint compares the clocks, by the Date header of the response.
func skewHint(err error) string {
	const fix = "Make NTP work on this machine (chronyd, systemd-timesyncd; a suspended VM wakes with an old time)"
	if at, ok := serverDate(err); ok {
		off := time.Since(at).Round(time.Second)
		if off.Abs() > time.Minute {
			off = off.Round(10 * time.Second) // the header is in whole seconds, and older by the transfer
		}
		side := "ahead of"
		if off < 0 {
			off, side = -off, "behind"
		}
		return fmt.Sprintf("%s: its clock is %s %s AWS's.", fix, off, side)
	}
	return fix + ": its clock differs from AWS's."
}

// serverDate is the time of the refusal by AWS's clock.
func serverDate(err error) (time.Time, bool) {
	var re *smithyhttp.ResponseError
	if !errors.As(err, &re) || re.Response == nil {
		return time.Time{}, false
	}
	at, err := http.ParseTime(re.Response.Header.Get("Date"))
	return at, err == nil
}

// credentialsRejected reports whether AWS no longer accepts the credentials, so that a call with others may succeed.
func credentialsRejected(err error) bool {
	switch record.ReasonOfCode(record.CodeOf(err)) {
	case record.Expired, record.BadKey:
		return true
	}
	return false
}

// neverSent reports whether a call surely did not reach AWS.
func neverSent(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns)
}

// fault is a Fault that this package found itself.
func fault(r record.Reason, hint, format string, args ...any) *record.Fault {
	return &record.Fault{Reason: r, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// withTimeout returns a context that ends after d, with an error that names the operation.
func withTimeout(ctx context.Context, d time.Duration, operation string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, &timeoutError{operation, d})
}

// A timeoutError names the operation that timed out.
type timeoutError struct {
	operation string
	timeout   time.Duration
}

func (e *timeoutError) Error() string {
	return fmt.Sprintf("%s: timed out after %s", e.operation, e.timeout)
}
func (*timeoutError) Unwrap() error { return context.DeadlineExceeded }
