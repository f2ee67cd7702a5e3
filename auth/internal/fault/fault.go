// Package fault makes the errors of a sign-in, which people read. It decides which part of an error may be shown: a
// response that cannot be read may be the credentials themselves, and a decoder's error quotes what it could not
// decode. Package auth knows what AWS's own errors mean. Begin at [New] and [SafeText].
package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws-collector/collector/record"
)

// New is a Fault that the sign-in found itself.
func New(r record.Reason, hint, format string, args ...any) *record.Fault {
	return &record.Fault{Reason: r, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// ErrIncomplete is a response with status 200 but without the requested data: some proxies and gateways give one.
var ErrIncomplete = errors.New("the response lacks the requested data")

// WithTimeout returns a context that ends after d, with an error that names the operation.
func WithTimeout(ctx context.Context, d time.Duration, operation string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, &timeoutError{operation, d})
}

// TimeoutCause replaces "context deadline exceeded" by the error of [WithTimeout], which names the operation.
func TimeoutCause(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
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

// FileCause is the error of a file operation without the file's name.
func FileCause(err error) string {
	if path := new(fs.PathError); errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// SafePath is a path as an error may show it: some people write the token itself where its file should be.
func SafePath(path string) string {
	if filepath.IsAbs(path) && !strings.ContainsAny(path, "\r\n\t ") {
		return path
	}
	return "(not shown: it is not an absolute path)"
}

// A ProxyError is the response of a proxy that refuses to connect.
type ProxyError struct {
	host   string
	Status int
}

func (e *ProxyError) Error() string {
	return fmt.Sprintf("proxy %s refused the connection: HTTP %d %s", e.host, e.Status, http.StatusText(e.Status))
}

// ProxyRefusal is the error of a proxy's response to CONNECT, which the HTTP client would reduce to a text.
func ProxyRefusal(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return &ProxyError{proxy.Host, resp.StatusCode}
}
