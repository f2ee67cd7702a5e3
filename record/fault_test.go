package record

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
)

// An apiError has the methods of the SDK's errors.
type apiError struct{ code, message, request string }

func (e *apiError) Error() string            { return "api error " + e.code }
func (e *apiError) ErrorCode() string        { return e.code }
func (e *apiError) ErrorMessage() string     { return e.message }
func (e *apiError) ServiceRequestID() string { return e.request }

// A responseError wraps them as the SDK does, if a response came.
type responseError struct{ err error }

func (e *responseError) Error() string {
	return "https response error StatusCode: 200, RequestID: , " + e.err.Error()
}
func (e *responseError) HTTPStatusCode() int { return 200 }
func (e *responseError) Unwrap() error       { return e.err }

// An operationError wraps them as the SDK does.
type operationError struct{ err error }

func (e *operationError) Error() string     { return "operation error EC2: X, " + e.err.Error() }
func (e *operationError) Operation() string { return "X" }
func (e *operationError) Unwrap() error     { return e.err }

// Too many open files are called so, whatever failed and whatever its hint was.
func TestTooManyOpenFiles(t *testing.T) {
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", syscall.EMFILE)}
	for _, err := range []error{
		dial,
		&url.Error{Op: "Post", URL: "https://ec2.us-east-1.amazonaws.com/", Err: dial},
		&operationError{&Fault{Reason: Network, Hint: "Check the proxy.", Err: dial}},
		&fs.PathError{Op: "open", Path: "records.jsonl", Err: syscall.EMFILE},
		&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.ENFILE)},
	} {
		if hint := HintOf(err); !strings.HasPrefix(hint, "Raise the limit of open files") {
			t.Errorf("%v: hint %q", err, hint)
		}
	}
	if hint := HintOf(&Fault{Hint: "Check the proxy.", Err: syscall.ECONNREFUSED}); hint != "Check the proxy." {
		t.Errorf("another error: hint %q", hint)
	}
}

func TestReasonAndState(t *testing.T) {
	api := func(code string) error { return &operationError{&apiError{code: code}} }
	for _, c := range []struct {
		err    error
		seen   int
		reason Reason
		state  State
	}{
		{nil, 0, "", OK},
		{nil, 7, "", OK},
		{api("UnauthorizedOperation"), 0, AccessDenied, Denied},
		{api("UnauthorizedOperation"), 7, AccessDenied, Partial},
		{api("RequestLimitExceeded"), 0, Throttling, Throttled},
		{api("Client.RequestLimitExceeded"), 0, Throttling, Throttled},
		{api("OptInRequired"), 0, DisabledRegion, RegionDisabled},
		{&Fault{Reason: Unavailable, Err: errors.New("not there")}, 0, Unavailable, RegionUnavailable},
		{api("PendingVerification"), 0, Inactive, Error},
		{api("Blocked"), 0, Inactive, Error},
		{api("Blocked"), 3, Inactive, Partial},
		{api("SubscriptionRequiredException"), 0, Inactive, Error},
		{api("SignatureDoesNotMatch"), 0, BadSignature, AuthFailed},
		{api("RequestExpired"), 0, Expired, AuthFailed},
		{api("InternalError"), 0, ServiceError, Error},
		{api("Unavailable"), 7, ServiceError, Partial},
		{api("InvalidParameterValue"), 0, BadRequest, Error},
		{api("InvalidNextToken"), 7, BadAnswer, Partial},
		{api("InvalidInstanceID.NotFound"), 0, Other, Error},
		{context.DeadlineExceeded, 0, TimedOut, Timeout},
		{context.DeadlineExceeded, 7, TimedOut, Timeout},
		{context.Canceled, 0, Interrupted, Error},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, 0, Network, Error},
		{&fs.PathError{Op: "open", Path: "token", Err: syscall.ENOENT}, 0, Other, Error},
		{&Fault{Reason: ParentFailed, Err: errors.New("x")}, 0, ParentFailed, Skipped},
		{fmt.Errorf("outer: %w", &Fault{Reason: MFANeeded, Err: api("AccessDenied")}), 0, MFANeeded, AuthFailed},
		{errors.New("anything"), 0, Other, Error},
	} {
		if got := ReasonOf(c.err); got != c.reason {
			t.Errorf("%v: reason %s, want %s", c.err, got, c.reason)
		}
		if got := StateOf(c.err, c.seen); got != c.state {
			t.Errorf("%v after %d records: state %s, want %s", c.err, c.seen, got, c.state)
		}
	}
}

func TestHintOf(t *testing.T) {
	inner := &Fault{Reason: BadKey, Hint: "look here", Err: errors.New("x")}
	outer := fmt.Errorf("account: %w", &Fault{Reason: BadKey, Err: fmt.Errorf("step: %w", inner)})
	if got := HintOf(outer); got != "look here" {
		t.Errorf("hint %q", got)
	}
	if got := HintOf(errors.New("x")); got != "" {
		t.Errorf("hint %q", got)
	}
}

func TestErrorSummary(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&operationError{fmt.Errorf("https response error: %w", &apiError{"AccessDenied", " no \n", "r-1"})},
			"AccessDenied: no (request r-1)"},
		{&operationError{&apiError{code: "Odd"}}, "Odd"},
		{&operationError{fmt.Errorf("exceeded maximum number of attempts, 3, %w",
			&url.Error{Op: "Post", URL: "http://127.0.0.1:1/", Err: errors.New("connection refused")})},
			`Post "http://127.0.0.1:1/": connection refused`},
		{&operationError{&operationError{errors.New("below")}}, "below"},
		{&operationError{fmt.Errorf("exceeded maximum number of attempts, 5, %w", &responseError{errors.New("cut")})}, "cut"},
		{fmt.Errorf("profile: %w", &fs.PathError{Op: "open", Path: "token", Err: syscall.ENOENT}),
			"profile: open token: no such file or directory"},
		{errors.New("plain"), "plain"},
	} {
		if got := ErrorSummary(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
