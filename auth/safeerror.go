package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/aws-collector/collector/record"
)

// safeErrorText describes the error of a call or of reading a file, only by its kind: a response that cannot be read
// may be the credentials themselves, and a decoder's error quotes what it could not decode. So a text is shown only if
// this package or this machine's network made it.
func safeErrorText(err error) string {
	var timeout *timeoutError
	var f *record.Fault
	switch {
	case errors.As(err, &f):
		return f.Error()
	case errors.As(err, &timeout):
		return timeout.Error()
	case errors.Is(err, errIncomplete):
		return errIncomplete.Error()
	}
	status, code := httpStatus(err), publicErrorCode(record.CodeOf(err))
	switch {
	case status != 0 && status/100 != 2 && code != "":
		return fmt.Sprintf("HTTP %d: %s", status, code)
	case status != 0 && status/100 != 2:
		return fmt.Sprintf("HTTP %d", status)
	case code != "":
		return code
	}
	if text := networkErrorText(err); text != "" {
		return text
	}
	if garbled := new(smithy.DeserializationError); errors.As(err, &garbled) || status != 0 || record.CodeOf(err) != "" {
		return "the response cannot be read"
	}
	return "the response is not what the SDK expects"
}

// networkErrorText is the error of this machine's network; "": err is none, or may hold what the server sent.
func networkErrorText(err error) string {
	var (
		op    *net.OpError
		dns   *net.DNSError
		cert  *tls.CertificateVerificationError
		alert tls.AlertError
		plain tls.RecordHeaderError
		errno syscall.Errno
		root  x509.UnknownAuthorityError
		host  x509.HostnameError
		proxy *proxyError
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

// reachedNetwork reports whether a call reached the network, so that its error may hold a response. Earlier errors,
// such as an endpoint that the settings do not allow, have texts from this machine only.
func reachedNetwork(err error) bool {
	var send *smithyhttp.RequestSendError
	var response *smithyhttp.ResponseError
	var garbled *smithy.DeserializationError
	return errors.As(err, &send) || errors.As(err, &response) || errors.As(err, &garbled)
}

// httpStatus is the HTTP status of the response in err; 0: there is none.
func httpStatus(err error) int {
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

// maxStderrLine is how many characters of a program's line are shown.
const maxStderrLine = 200

// firstLine is the first line that a program wrote to standard error, for people: printable and not long. It is
// withheld if it repeats a part of what the program wrote to standard output, or names a secret.
func firstLine(stderr, stdout string) string {
	line := ""
	for l := range strings.Lines(stderr) {
		if l = strings.TrimSpace(l); l != "" {
			line = l
			break
		}
	}
	if line == "" {
		return ""
	}
	lower := strings.ToLower(strings.ReplaceAll(line, "\x00", ""))
	for _, word := range []string{"secretaccesskey", "sessiontoken", "secret_access_key", "session_token",
		"accesstoken", "refreshtoken", "clientsecret"} {
		if strings.Contains(lower, word) {
			return "(withheld: it names a secret)"
		}
	}
	const run = 8 // characters in a row
	bare, printed := visibleText(line), visibleText(stdout)
	for i := 0; i+run <= len(bare); i++ {
		if strings.Contains(printed, bare[i:i+run]) {
			return "(withheld: it repeats a part of the output)"
		}
	}
	if bare != "" && len(bare) < run && strings.Contains(printed, bare) || len(stdout) >= maxProcessOutput {
		return "(withheld: it may repeat a part of the output)"
	}
	line = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, line)
	if runes := []rune(line); len(runes) > maxStderrLine {
		line = string(runes[:maxStderrLine]) + "…"
	}
	return line
}

// visibleText removes spaces, unprintable characters and backslashes: UTF-16 is half zeros, and JSON may escape
// slashes.
func visibleText(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || unicode.IsSpace(r) || r == '\\' || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, s)
}

// stderrSuffix is the program's line on standard error, as the end of an error's text.
func stderrSuffix(stderr, stdout string) string {
	if line := firstLine(stderr, stdout); line != "" {
		return "; stderr: " + line
	}
	return ""
}

// A textError is an error of a fixed text.
type textError string

func (e textError) Error() string { return string(e) }

// A proxyError is the response of a proxy that refuses to connect.
type proxyError struct {
	host   string
	status int
}

func (e *proxyError) Error() string {
	return fmt.Sprintf("proxy %s refused the connection: HTTP %d %s", e.host, e.status, http.StatusText(e.status))
}

// proxyRefusal is the error of a proxy's response to CONNECT, which the HTTP client would reduce to a text.
func proxyRefusal(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &proxyError{proxy.Host, resp.StatusCode}
}
