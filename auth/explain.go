package auth

import (
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

	"github.com/aws-collector/collector/auth/internal/fault"
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
	tokenFile  string          // of the web identity that signs; "": another signer
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
		text = fault.SafeText(err)
	}
	if foreignStatus(err) != 0 {
		text = foreignText(err)
	}
	reason := reasonOf(err, c)
	f = &record.Fault{Reason: reason, Hint: hintFor(reason, err, c), Text: c.operation + ": " + text, Err: err}
	if foreign {
		f.Err = errors.New(text) // err holds the raw response
	}
	return f
}

// reachedNetwork reports whether a call reached the network, so that its error may hold a response. Earlier errors,
// such as an endpoint that the settings do not allow, have texts from this machine only.
func reachedNetwork(err error) bool {
	var send *smithyhttp.RequestSendError
	var response *smithyhttp.ResponseError
	var garbled *smithy.DeserializationError
	return errors.As(err, &send) || errors.As(err, &response) || errors.As(err, &garbled)
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

// Texts of STS, as they begin: with the codes AccessDenied, ValidationError and SignatureDoesNotMatch, only the text
// gives the details. Names that people chose stand further behind.
const (
	textMFAInvalid      = "MultiFactorAuthentication failed with invalid MFA one time pass code"
	textMFASerial       = "MultiFactorAuthentication failed, unable to validate MFA code"
	textMFANeeded       = "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code"
	textTemporaryKey    = "Cannot call GetSessionToken with session credentials"
	textSessionTooLong  = "The requested DurationSeconds exceeds"
	textSignatureLate   = "Signature expired"
	textSignatureBefore = "Signature not yet current"
)

var (
	durationPattern = regexp.MustCompile(`^\d+ validation errors? detected: Value '\d+' at 'durationSeconds'`)
	callerPattern   = regexp.MustCompile(`^User: (arn:\S+) is not authorized to perform: (sts:\w+) on`)
)

// messageOf is the text of AWS's error response; "": there is none.
func messageOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorMessage()
	}
	return ""
}

// reasonOf reads AWS's response.
func reasonOf(err error, c errorContext) record.Reason {
	message := messageOf(err)
	begins := func(text string) bool { return strings.HasPrefix(message, text) }
	switch code := record.CodeOf(err); {
	case begins(textMFAInvalid):
		return record.MFAInvalid
	case begins(textMFASerial):
		return record.MFASerial
	case begins(textMFANeeded):
		return record.MFANeeded
	case begins(textSessionTooLong), durationPattern.MatchString(message):
		return record.BadDuration
	case begins(textSignatureLate), begins(textSignatureBefore):
		return record.ClockSkew
	case code == "RegionDisabledException":
		return record.DisabledRegion
	case begins(textTemporaryKey):
		return record.BadKey
	case code == "MalformedPolicyDocument", code == "PackedPolicyTooLarge":
		return record.BadPolicy
	case code == "InvalidIdentityToken", code == "IDPRejectedClaim":
		return record.AssumeDenied
	case code == "IDPCommunicationError":
		return record.Network
	}
	garbled := new(smithy.DeserializationError)
	if errors.Is(err, fault.ErrIncomplete) || errors.As(err, &garbled) || foreignStatus(err) != 0 {
		return record.BadAnswer
	}
	r := record.ReasonOf(err)
	if r == record.AccessDenied && c.role != "" {
		return record.AssumeDenied
	}
	if r == record.Expired && c.creds.SessionToken == "" && c.tokenFile == "" {
		return record.ClockSkew // a long-lived key does not expire
	}
	return r
}

// foreignStatus is the HTTP status of a response that has no error of AWS in it, so that it comes from something in
// between, such as a proxy; 0: AWS responded, or is unavailable.
func foreignStatus(err error) int {
	if code := record.CodeOf(err); code != "" && code != noCode {
		return 0
	}
	if status := fault.HTTPStatus(err); status >= 300 && status < 500 {
		return status
	}
	return 0
}

// noCode is what the SDK calls an error response without a code.
const noCode = "UnknownError"

// foreignText describes such a response. Its content is not shown: it may repeat the request.
func foreignText(err error) string {
	status := foreignStatus(err)
	text := fmt.Sprintf("HTTP %d %s, without an error of AWS", status, http.StatusText(status))
	var re *smithyhttp.ResponseError
	if errors.As(err, &re) && re.Response != nil {
		if to, err := re.Response.Location(); err == nil && hostName.MatchString(to.Host) {
			text += ": a redirection to " + to.Host
		}
	}
	return text
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9.:\[\]_-]{1,255}$`)

// foreignHint is what to do if something else responds in AWS's place.
func foreignHint(status int, region string) string {
	switch {
	case status == http.StatusProxyAuthRequired:
		return "Set the user and the password in HTTPS_PROXY, as http://USER:PASSWORD@HOST:PORT: the proxy requires them."
	case status >= 300 && status < 400:
		return "Look for a login page of the network, and check HTTPS_PROXY and AWS_ENDPOINT_URL: AWS does not redirect " +
			"a call of STS in " + region + "."
	}
	return "Allow STS in " + region + " in the proxy or firewall between here and AWS, or add it to NO_PROXY; and check " +
		"HTTPS_PROXY and AWS_ENDPOINT_URL."
}

// hintFor is what a person should do.
func hintFor(r record.Reason, err error, c errorContext) string {
	var proxy *fault.ProxyError
	switch status := foreignStatus(err); {
	case status != 0:
		return foreignHint(status, c.region)
	case errors.As(err, &proxy):
		return foreignHint(proxy.Status, c.region)
	case c.tokenFile != "":
		if hint := webIdentityHint(r, err, c); hint != "" {
			return hint
		}
	}
	switch r {
	case record.BadKey:
		if strings.HasPrefix(messageOf(err), textTemporaryKey) {
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
		return assumeHint(messageOf(err), c)
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
func assumeHint(message string, c errorContext) string {
	caller := c.signer
	if m := callerPattern.FindStringSubmatch(message); m != nil {
		caller = m[1]
		settings := map[string]string{"sts:TagSession": "session_tags", "sts:SetSourceIdentity": "source_identity"}
		if key := settings[m[2]]; key != "" {
			return fmt.Sprintf("Allow %s in the trust policy of %s and in the caller's own policy: "+
				"%s may assume the role, but not with `%s`.", m[2], c.role, caller, key)
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

// webIdentityHint is what to do about a web identity; "": the same as for other signers.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html
func webIdentityHint(r record.Reason, err error, c errorContext) string {
	switch code := record.CodeOf(err); {
	case r == record.Expired:
		return "Renew the token in " + fault.SafePath(c.tokenFile) + ": it has expired. In a pod, the kubelet renews it: " +
			"check that the file is the projected volume itself and not a copy, and restart the pod."
	case code == "InvalidIdentityToken":
		return "Check that the role's account has an OIDC provider in IAM for the issuer of the token, " +
			"with the audience of the token (sts.amazonaws.com), and that AWS can reach the issuer's keys."
	case code == "IDPCommunicationError":
		return "Nothing to do: the next run tries again. If it persists, check that AWS can reach the issuer of the token."
	case r == record.AssumeDenied:
		return "Check that " + c.role + " exists, and that its trust policy allows sts:AssumeRoleWithWebIdentity " +
			"to the OIDC provider of the token's issuer, with conditions on sub (the service account) and aud that " +
			"the token meets."
	}
	return ""
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
