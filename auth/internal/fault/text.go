package fault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"

	"github.com/aws/smithy-go"

	"github.com/aws-collector/collector/record"
)

// SafeText describes the error of a call or of reading a file by its kind. A text is shown only if this program or this
// machine's network made it.
func SafeText(err error) string {
	var timeout *timeoutError
	var f *record.Fault
	switch {
	case errors.As(err, &f):
		return f.Error()
	case errors.As(err, &timeout):
		return timeout.Error()
	case errors.Is(err, ErrIncomplete):
		return ErrIncomplete.Error()
	}
	status, code := HTTPStatus(err), publicErrorCode(record.CodeOf(err))
	switch {
	case status != 0 && status/100 != 2 && code != "":
		return fmt.Sprintf("HTTP %d: %s", status, code)
	case status != 0 && status/100 != 2:
		return fmt.Sprintf("HTTP %d", status)
	case code != "":
		return code
	}
	if text := NetworkText(err); text != "" {
		return text
	}
	if garbled := new(smithy.DeserializationError); errors.As(err, &garbled) || status != 0 || record.CodeOf(err) != "" {
		return "the response cannot be read"
	}
	return "the response is not what the SDK expects"
}

// NetworkText is the error of this machine's network; "": err is none, or may hold what the server sent.
func NetworkText(err error) string {
	var (
		op    *net.OpError
		dns   *net.DNSError
		cert  *tls.CertificateVerificationError
		alert tls.AlertError
		plain tls.RecordHeaderError
		errno syscall.Errno
		root  x509.UnknownAuthorityError
		host  x509.HostnameError
		proxy *ProxyError
	)
	switch {
	case errors.As(err, &proxy):
		return proxy.Error()
	case errors.As(err, &cert):
		return cert.Error()
	case errors.As(err, &root):
		return root.Error()
	case errors.As(err, &host):
		return host.Error()
	case errors.As(err, &dns):
		return dns.Error()
	case errors.As(err, &plain):
		return "the server does not speak TLS"
	case errors.As(err, &alert):
		return alert.Error()
	case errors.As(err, &op):
		if inner := new(net.OpError); errors.As(op.Err, &inner) {
			op = inner
		}
		if errors.As(op.Err, &errno) {
			return op.Error()
		}
		if op.Timeout() {
			return op.Op + ": i/o timeout"
		}
		return op.Op + ": the connection failed"
	case errors.Is(err, context.DeadlineExceeded):
		return "no response in time"
	case errors.Is(err, context.Canceled):
		return context.Canceled.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed before the response was complete"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return ""
}

// HTTPStatus is the HTTP status of the response in err; 0: there is none.
func HTTPStatus(err error) int {
	var s interface{ HTTPStatusCode() int }
	if errors.As(err, &s) {
		return s.HTTPStatusCode()
	}
	return 0
}

// publicErrorCodes are the codes of credential services that may be shown: a code is text from the response, too.
var publicErrorCodes = []string{
	"AccessDeniedException", "AuthorizationPendingException", "ExpiredTokenException", "ForbiddenException",
	"InternalServerException",
	"InvalidClientException", "InvalidGrantException", "InvalidRequestException", "InvalidScopeException",
	"ResourceNotFoundException",
	"SlowDownException", "TooManyRequestsException", "UnauthorizedClientException", "UnauthorizedException",
	"UnsupportedGrantTypeException",
	"ValidationException",
	// the metadata service's
	"AssumeRoleUnauthorizedAccess", "AssumeRoleCredentialsNotAvailable", "InstanceProfileNotFound",
}

func publicErrorCode(code string) string {
	if slices.Contains(publicErrorCodes, code) || record.ReasonOfCode(code) != "" && len(code) <= 40 {
		return code
	}
	return ""
}
