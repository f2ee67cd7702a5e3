package record

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
)

// A Reason is the kind of an error: the one taxonomy of the program, from sign-in to the last page.
type Reason string

// The reasons. A reason is a metric's label and a script's word: it does not change once released.
const (
	NoCredentials  Reason = "no_credentials"  // no source had any
	BadKey         Reason = "bad_key"         // the key is unknown, deleted, or of another partition
	BadSignature   Reason = "signature"       // the secret does not belong to the key
	ClockSkew      Reason = "clock_skew"      // this machine's clock is off
	Expired        Reason = "expired"         // a session's time is over
	AssumeDenied   Reason = "assume_denied"   // the role may not be assumed
	AccessDenied   Reason = "access_denied"   // an action is not allowed
	MFAInvalid     Reason = "mfa_invalid"     // the one-time code was refused
	MFASerial      Reason = "mfa_serial"      // the device is not the user's
	MFANeeded      Reason = "mfa_needed"      // a code is needed and none can be had
	BadDuration    Reason = "duration"        // longer than the role or the chain allows
	SSOLogin       Reason = "sso_login"       // the SSO token is missing or over
	WrongAccount   Reason = "wrong_account"   // the credentials belong to another account or partition than the block says
	SameAccount    Reason = "same_account"    // another block entered this account before
	RoleRequired   Reason = "role_required"   // the block asks for a role and was entered without one
	BadPolicy      Reason = "session_policy"  // STS refuses the session's policy or tags
	DisabledRegion Reason = "region_disabled" // not enabled for the account
	Inactive       Reason = "inactive"        // the account may not use EC2: not subscribed, not verified yet, blocked
	Unsupported    Reason = "unsupported"     // the region does not have the API
	Throttling     Reason = "throttled"
	Network        Reason = "network"
	TimedOut       Reason = "timeout"
	BadAnswer      Reason = "bad_answer" // AWS answered something that cannot be taken: markup, a repeated token, a size over a limit
	Panicked       Reason = "panic"
	Stuck          Reason = "stuck"       // the work ignored its deadline and was given up on
	Interrupted    Reason = "interrupted" // the program was told to stop, or a newer run took over
	ParentFailed   Reason = "parent"      // the kind that it is listed under could not be listed
	Other          Reason = "error"
)

// A Fault is an error of which it is known what kind it is and, often, what a person can do about it.
type Fault struct {
	Reason Reason
	Hint   string
	Text   string // what is fit to be read; "": Err's own words
	Err    error
}

func (f *Fault) Error() string {
	if f.Text != "" {
		return f.Text
	}
	return f.Err.Error()
}
func (f *Fault) Unwrap() error { return f.Err }

// ReasonOf says of which kind err is: what the outermost [Fault] in it says, else what AWS's error code means, else
// what the context and the network say.
func ReasonOf(err error) Reason {
	if err == nil {
		return ""
	}
	var f *Fault
	if errors.As(err, &f) {
		return f.Reason
	}
	if r := ReasonOfCode(CodeOf(err)); r != "" {
		return r
	}
	below := networkError(err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return TimedOut
	case errors.Is(err, context.Canceled):
		return Interrupted
	case below != nil && below.Timeout():
		return TimedOut
	case below != nil:
		return Network
	}
	return Other
}

// networkError is the network's error in err, or nil. The number of a system call's error has the methods of one too, and
// stands in the errors of files.
func networkError(err error) net.Error {
	var ne net.Error
	if !errors.As(err, &ne) {
		return nil
	}
	if _, ok := ne.(syscall.Errno); ok {
		return nil
	}
	return ne
}

// HintOf is the advice of the outermost [Fault] in err that has one.
func HintOf(err error) string {
	for err != nil {
		var f *Fault
		if !errors.As(err, &f) {
			return ""
		}
		if f.Hint != "" {
			return f.Hint
		}
		err = f.Err
	}
	return ""
}

// CodeOf is AWS's error code in err, or "". The SDK's API errors have the method; no SDK type is named here.
func CodeOf(err error) string {
	var c interface{ ErrorCode() string }
	if errors.As(err, &c) {
		return c.ErrorCode()
	}
	return ""
}

// ErrorSummary is what a person needs of an error of the SDK: AWS's code, its words and the request's id, or what went wrong
// below, without the names of the layers in between. No SDK type is named here; the methods are those of its errors.
func ErrorSummary(err error) string {
	var api interface {
		ErrorCode() string
		ErrorMessage() string
	}
	if errors.As(err, &api) {
		text := api.ErrorCode()
		if m := strings.TrimSpace(api.ErrorMessage()); m != "" {
			text += ": " + m
		}
		var id interface{ ServiceRequestID() string }
		if errors.As(err, &id) && id.ServiceRequestID() != "" {
			text += " (request " + id.ServiceRequestID() + ")"
		}
		return text
	}
	if below := networkError(err); below != nil && !errors.Is(below, context.DeadlineExceeded) {
		return below.Error() // no answer came: what the transport says is the whole story
	}
	for { // a call may stand in another's preparation
		var op interface {
			Operation() string
			Unwrap() error
		}
		if !errors.As(err, &op) || op.Unwrap() == nil {
			return err.Error()
		}
		err = op.Unwrap()
	}
}

// ReasonOfCode is what an error code of EC2 or STS means, or "" where it has no meaning of its own.
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
func ReasonOfCode(code string) Reason {
	switch code {
	case "":
		return ""
	case "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "AuthFailure":
		return BadKey
	case "SignatureDoesNotMatch", "IncompleteSignature", "InvalidSignatureException", "IncompleteSignatureException":
		return BadSignature
	case "RequestTimeTooSkewed", "RequestInTheFuture":
		return ClockSkew
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired":
		return Expired
	case "UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "UnauthorizedAccess":
		return AccessDenied
	case "OptInRequired": // said of a region that is not enabled, and of an account that is not subscribed
		return DisabledRegion
	case "PendingVerification", "Blocked", "SubscriptionRequired", "SubscriptionRequiredException", "NotSubscribed", "NotSignedUp", "AccountProblem":
		return Inactive
	case "InvalidAction", "UnsupportedOperation", "UnknownOperationException":
		return Unsupported
	case "RequestTimeout", "RequestTimeoutException":
		return TimedOut
	}
	if IsThrottlingCode(code) {
		return Throttling
	}
	return ""
}

// IsThrottlingCode reports whether an error code means "too fast": the codes of the SDK's standard retryer.
func IsThrottlingCode(code string) bool {
	switch code {
	case "RequestLimitExceeded", "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled",
		"RequestThrottledException", "TooManyRequestsException", "BandwidthLimitExceeded", "SlowDown", "EC2ThrottledException",
		"PriorRequestNotComplete", "TransactionInProgressException", "ProvisionedThroughputExceededException", "LimitExceededException":
		return true
	}
	return strings.HasSuffix(code, "RequestLimitExceeded") // Client.RequestLimitExceeded
}

// StateOf is the table from how a listing ended to the state of its target. seen is the number of records that it handed on.
func StateOf(err error, seen int) State {
	if err == nil {
		return OK
	}
	r := ReasonOf(err)
	if seen > 0 && r != TimedOut && r != Stuck {
		return Partial
	}
	switch r {
	case AccessDenied:
		return Denied
	case DisabledRegion, Unsupported: // there is nothing of the kind there, and nothing that a person could mend
		return RegionDisabled
	case Throttling:
		return Throttled
	case TimedOut, Stuck:
		return Timeout
	case ParentFailed:
		return Skipped
	case NoCredentials, BadKey, BadSignature, ClockSkew, Expired, AssumeDenied, MFAInvalid, MFASerial, MFANeeded, BadDuration, SSOLogin,
		WrongAccount, SameAccount, RoleRequired, BadPolicy:
		return AuthFailed
	}
	return Error
}
