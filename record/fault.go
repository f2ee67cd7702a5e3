package record

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
)

// A Reason classifies an error. The whole program uses these reasons, from sign-in to the last page.
type Reason string

// The reasons. They are metric labels, and scripts match on them: a released value does not change.
const (
	NoCredentials  Reason = "no_credentials"  // no source had credentials
	BadKey         Reason = "bad_key"         // the key is unknown, deleted, or of another partition
	BadSignature   Reason = "signature"       // the secret does not belong to the key
	ClockSkew      Reason = "clock_skew"      // this machine's clock is wrong
	Expired        Reason = "expired"         // the session has expired
	AssumeDenied   Reason = "assume_denied"   // the role may not be assumed
	AccessDenied   Reason = "access_denied"   // an action is not allowed
	MFAInvalid     Reason = "mfa_invalid"     // the one-time code was refused
	MFASerial      Reason = "mfa_serial"      // the device is not the user's
	MFANeeded      Reason = "mfa_needed"      // a code is needed and none is available
	BadDuration    Reason = "duration"        // longer than the role or the role chain allows
	SSOLogin       Reason = "sso_login"       // the SSO token is missing or has expired
	WrongAccount   Reason = "wrong_account"   // the account or partition is not the configured one
	SameAccount    Reason = "same_account"    // another account block already signed in to this account
	RoleRequired   Reason = "role_required"   // the account block requires a role, but signed in without one
	BadPolicy      Reason = "session_policy"  // STS refuses the session's policy or tags
	DisabledRegion Reason = "region_disabled" // not enabled for the account
	Inactive       Reason = "inactive"        // the account may not use EC2: not subscribed, not verified yet, blocked
	Unsupported    Reason = "unsupported"     // the region does not have the API
	Throttling     Reason = "throttled"
	Network        Reason = "network"
	TimedOut       Reason = "timeout"
	ServiceError   Reason = "service_error" // AWS failed to respond, in all attempts
	BadRequest     Reason = "bad_request"   // AWS refuses the parameters of a request
	BadAnswer      Reason = "bad_answer"    // AWS's response cannot be used: markup, a repeated token, a size over a limit
	Panicked       Reason = "panic"
	Stuck          Reason = "stuck"       // the job ignored its deadline and was abandoned
	Interrupted    Reason = "interrupted" // the program was stopped, or a newer run replaced this one
	ParentFailed   Reason = "parent"      // the parent kind could not be listed
	MaxGone        Reason = "max_gone"    // more resources are missing than max_gone allows
	Other          Reason = "error"
	// Unavailable means that AWS does not have the service in the region.
	Unavailable Reason = "region_unavailable"
)

// A Fault is an error with a known reason and, often, a hint what to do about it.
type Fault struct {
	Reason Reason
	Hint   string
	Text   string // the text for the user; "": the text of Err
	Err    error
}

func (f *Fault) Error() string {
	if f.Text != "" {
		return f.Text
	}
	return f.Err.Error()
}
func (f *Fault) Unwrap() error { return f.Err }

// ReasonOf returns the reason of err: that of the outermost [Fault] in it, else the meaning of AWS's error code, else
// what the context or the network reports.
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
	netErr := networkError(err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return TimedOut
	case errors.Is(err, context.Canceled):
		return Interrupted
	case netErr != nil && netErr.Timeout():
		return TimedOut
	case netErr != nil:
		return Network
	}
	return Other
}

// networkError returns the network error in err, or nil. A syscall.Errno has the methods of a net.Error, but file
// errors contain it too, so it does not count.
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

// HintOf returns the hint of the outermost [Fault] in err that has one. Too many open files have one hint, because any
// open file, connection or listener meets that limit, and each would name another cause.
func HintOf(err error) string {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return "Raise the limit of open files: ulimit -n, LimitNOFILE= in a systemd unit, or nofile of a container."
	}
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

// CodeOf returns AWS's error code in err, or "". The SDK's API errors have the method; this package imports no SDK
// type.
func CodeOf(err error) string {
	var c interface{ ErrorCode() string }
	if errors.As(err, &c) {
		return c.ErrorCode()
	}
	return ""
}

// ErrorSummary returns the useful part of an SDK error: AWS's code, message and request id, or the underlying failure,
// without the names of the layers in between. This package imports no SDK type; it uses the methods of the SDK's
// errors.
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
	if netErr := networkError(err); netErr != nil && !errors.Is(netErr, context.DeadlineExceeded) {
		return netErr.Error() // no response came, so the network error says all
	}
	for { // one call may be part of the preparation of another, and a response's error stands inside that of its call
		var operation interface {
			Operation() string
			Unwrap() error
		}
		var response interface {
			HTTPStatusCode() int
			Unwrap() error
		}
		var inner error
		if errors.As(err, &operation) {
			inner = operation.Unwrap()
		} else if errors.As(err, &response) {
			inner = response.Unwrap()
		}
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// ReasonOfCode returns the meaning of an EC2 or STS error code, or "" if the code has no reason of its own.
//
//	https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
func ReasonOfCode(code string) Reason {
	switch code {
	case "":
		return ""
	case "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "AuthFailure":
		return BadKey
	case "SignatureDoesNotMatch", "IncompleteSignature", "InvalidSignatureException", "IncompleteSignatureException",
		"MissingAuthenticationToken", "MissingAuthenticationTokenException":
		return BadSignature
	case "RequestTimeTooSkewed", "RequestInTheFuture":
		return ClockSkew
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired":
		return Expired
	case "UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "UnauthorizedAccess":
		return AccessDenied
	case "OptInRequired": // a region that is not enabled, or an account that is not subscribed
		return DisabledRegion
	case "PendingVerification", "Blocked", "SubscriptionRequired", "SubscriptionRequiredException", "NotSubscribed",
		"NotSignedUp", "AccountProblem":
		return Inactive
	case "InvalidAction", "UnsupportedOperation", "UnknownOperationException":
		return Unsupported
	case "RequestTimeout", "RequestTimeoutException":
		return TimedOut
	case "InternalError", "InternalFailure", "InternalServerError", "Unavailable", "ServiceUnavailable",
		"ServiceUnavailableException", "InsufficientCapacity", "InsufficientInstanceCapacity", "InsufficientHostCapacity",
		"InsufficientAddressCapacity":
		return ServiceError
	case "IdempotentParameterMismatch", "InvalidCharacter", "InvalidParameter", "InvalidParameterCombination",
		"InvalidParameterValue", "InvalidQueryParameter", "InvalidRequest", "MalformedQueryString", "MissingAction",
		"MissingParameter", "UnknownParameter", "UnsupportedInstanceAttribute", "UnsupportedProtocol":
		return BadRequest
	case "InvalidNextToken", "InvalidPaginationToken", "ExpiredNextToken":
		return BadAnswer
	}
	if IsThrottlingCode(code) {
		return Throttling
	}
	return ""
}

// IsNotFoundCode reports whether an error code means that a resource does not exist: InvalidInstanceID.NotFound.
func IsNotFoundCode(code string) bool {
	return strings.HasSuffix(code, "NotFound") || strings.HasSuffix(code, "NotFoundException")
}

// IsThrottlingCode reports whether an error code means "too many requests": the codes of the SDK's standard retryer.
func IsThrottlingCode(code string) bool {
	switch code {
	case "RequestLimitExceeded", "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled",
		"RequestThrottledException", "TooManyRequestsException", "BandwidthLimitExceeded", "SlowDown",
		"EC2ThrottledException", "PriorRequestNotComplete", "TransactionInProgressException",
		"ProvisionedThroughputExceededException", "LimitExceededException":
		return true
	}
	return strings.HasSuffix(code, "RequestLimitExceeded") // Client.RequestLimitExceeded
}

// ErrIDUnread ends a listing that is complete but for resources whose id could not be read.
var ErrIDUnread = errors.New("resources without a readable id")

// StateOf maps the error that ended a listing to the state of its target. seen is the number of records that were
// delivered.
func StateOf(err error, seen int) State {
	if err == nil {
		return OK
	}
	r := ReasonOf(err)
	if r == MaxGone {
		return Unconfirmed
	}
	if errors.Is(err, ErrIDUnread) || seen > 0 && r != TimedOut && r != Stuck {
		return Partial
	}
	switch r {
	case AccessDenied:
		return Denied
	case DisabledRegion, Unsupported: // the region has no such resources, and there is nothing to fix
		return RegionDisabled
	case Unavailable:
		return RegionUnavailable
	case Throttling:
		return Throttled
	case TimedOut, Stuck:
		return Timeout
	case ParentFailed:
		return Skipped
	case NoCredentials, BadKey, BadSignature, ClockSkew, Expired, AssumeDenied, MFAInvalid, MFASerial, MFANeeded,
		BadDuration, SSOLogin, WrongAccount, SameAccount, RoleRequired, BadPolicy:
		return AuthFailed
	}
	return Error
}
