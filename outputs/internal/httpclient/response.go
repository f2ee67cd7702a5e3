package httpclient

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// maxRetryAfter limits what a receiver may ask for: a wrong clock there would stop an output for days.
const maxRetryAfter = 15 * time.Minute

// A statusError is a response whose status is not 2xx.
type statusError struct {
	code int
	text string
}

func (a *statusError) Error() string { return a.text }

// checkStatus turns a response into the error of the batch.
func (c *Client) checkStatus(resp *http.Response, answer []byte) error {
	code := resp.StatusCode
	if code/100 == 2 {
		return nil
	}
	status := &statusError{code, fmt.Sprintf("%s answered %d %s", c.DisplayURL, code, http.StatusText(code))}
	if text := Excerpt(c.Redact(answer)); text != "" {
		status.text += ": " + text
	}
	fault := func(r record.Reason, hint string) error { return &record.Fault{Reason: r, Hint: hint, Err: status} }
	switch {
	case c.url.Scheme == "http" && code == http.StatusBadRequest && wantsTLS(answer):
		return fault(record.BadAnswer, "Begin url with https://: the receiver uses TLS on this port.")
	case code/100 == 3:
		to := ""
		if u, err := resp.Location(); err == nil {
			to = ", " + displayURL(u)
		}
		return fault(
			record.BadAnswer,
			"Set url to the target of the redirect"+to+". Redirects are not followed.",
		)
	}
	switch code {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %w", outputs.ErrRefused, status)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault(
			record.AccessDenied,
			"Check bearer_token, basic_auth, headers or the output's own credentials: "+
				"the receiver rejects the token, password or certificate.",
		)
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
		return fault(record.BadAnswer, "Check url: the receiver does not accept requests at this path.")
	case http.StatusProxyAuthRequired:
		return fault(
			record.AccessDenied,
			"Set HTTPS_PROXY to http://user:password@proxy:3128: the proxy requires a password.",
		)
	case http.StatusUnsupportedMediaType:
		return fault(record.BadAnswer, "Set `gzip: false`: the receiver does not support the format or its compression.")
	case http.StatusInternalServerError:
		return c.WithRetryAfter(
			resp,
			&record.Fault{
				Reason: record.Other,
				Hint:   "Check the receiver's logs: it failed. The request is repeated.",
				Err:    fmt.Errorf("%w: %w", outputs.ErrReceiverFailed, status),
			},
		)
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		const hint = "Nothing to do: the receiver is busy. The request is repeated."
		return c.WithRetryAfter(resp, fault(record.Throttling, hint))
	}
	if code >= 500 {
		return c.WithRetryAfter(resp, fault(record.Other, "Check the receiver's logs: it failed. The request is repeated."))
	}
	return fault(record.BadAnswer, "")
}

// WithRetryAfter adds the delay of Retry-After, which is seconds or a date. Without it the spool uses its own backoff.
func (c *Client) WithRetryAfter(resp *http.Response, err error) error {
	v := strings.TrimSpace(resp.Header.Get("Retry-After"))
	var after time.Duration
	if n, nerr := strconv.ParseUint(v, 10, 31); nerr == nil {
		after = time.Duration(n) * time.Second
	} else if at, derr := http.ParseTime(v); derr == nil {
		after = time.Until(at)
	}
	if after <= 0 {
		return err
	}
	return &outputs.RetryAfterError{After: min(after, maxRetryAfter), Err: err}
}

// wantsTLS recognises the answers of Go, nginx, Apache and Envoy to a plain HTTP request on a TLS port.
func wantsTLS(answer []byte) bool {
	text := strings.ToLower(string(answer))
	for _, phrase := range []string{
		"http request to an https server",
		"http request was sent to https port",
		"speaking plain http to an ssl-enabled",
	} {
		if strings.Contains(text, phrase) {
			return true
		}
	}
	return false
}

// Redact removes our secrets, which a receiver may repeat, from a response.
func (c *Client) Redact(answer []byte) []byte {
	for _, s := range c.secrets {
		answer = bytes.ReplaceAll(answer, []byte(s), []byte(secret.Mask))
	}
	return answer
}

// Excerpt returns the beginning of a response as one printable line.
func Excerpt(answer []byte) string {
	const maxLength = 200
	var b strings.Builder
	for _, r := range string(answer[:min(len(answer), 4*maxLength)]) {
		switch {
		case unicode.IsSpace(r) || !unicode.IsPrint(r) || r == unicode.ReplacementChar:
			if s := b.String(); s == "" || strings.HasSuffix(s, " ") {
				continue
			}
			r = ' '
		}
		if b.Len()+len(string(r)) > maxLength {
			return strings.TrimSpace(b.String()) + "…"
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// ExplainTransportError adds a reason and a hint to an error of the connection.
func (c *Client) ExplainTransportError(err error) error {
	var (
		unknown  x509.UnknownAuthorityError
		host     x509.HostnameError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
		alert    tls.AlertError
		notTLS   tls.RecordHeaderError
		dns      *net.DNSError
		hint     string
		reason   = record.Network
		plain    = errors.As(err, &notTLS)
		remote   = err.Error()
		isAlert  = errors.As(err, &alert) || strings.Contains(remote, "remote error: tls")
		timedOut = errors.Is(err, syscall.ETIMEDOUT)
	)
	var quoting *url.Error
	if errors.As(err, &quoting) { // its text contains the URL
		err = quoting.Err
	}
	var ne net.Error
	timedOut = timedOut || errors.As(err, &ne) && ne.Timeout()
	switch {
	case strings.HasPrefix(err.Error(), "invalid proxy address"): // followed by the address with its password
		hint = "Set HTTPS_PROXY or HTTP_PROXY to http://user:password@proxy:3128, with special characters as %40."
		err = errors.New("the proxy's address is not a URL")
	case plain:
		hint = "Begin url with http://: the receiver does not use TLS on this port."
	case c.url.Scheme == "http" && strings.Contains(remote, "malformed HTTP response"):
		hint = "Begin url with https:// if the receiver uses TLS on this port."
		err = errors.New("the response is not HTTP")
	case errors.As(err, &unknown) && c.customCA:
		hint = "Add the authority of the receiver's certificate to tls.ca_file: " +
			"the root, or the intermediate that the receiver does not send."
	case errors.As(err, &unknown):
		hint = "Set tls.ca_file to the certificate of the authority that signed the receiver's certificate."
	case errors.As(err, &host):
		hint = "Correct url, or set tls.server_name: the receiver's certificate is for another name."
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		hint = "Renew the receiver's certificate, which has expired, or check this machine's clock."
	case errors.As(err, &verify):
		hint = "Replace the receiver's certificate, or check the options of tls: it cannot be verified."
	case isAlert:
		hint = "Set tls.cert_file and tls.key_file if the receiver requires a client certificate, " +
			"or tls.server_name: it ended the TLS handshake."
	case errors.As(err, &dns):
		hint = "Check url: the host name cannot be resolved."
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "Check host and port of url, and that the receiver is running: the connection is refused."
	case errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE),
		errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF):
		hint = "Check the receiver's logs: it closed the connection. The request is repeated."
		if c.url.Scheme == "http" { // a TLS server closes it when there is no handshake
			hint += " Begin url with https:// if it uses TLS on this port."
		}
	case timedOut:
		reason, hint = record.TimedOut, "Check url, firewalls and HTTPS_PROXY: the receiver cannot be reached."
	}
	f := &record.Fault{Reason: reason, Hint: hint, Err: fmt.Errorf("%s: %w", c.DisplayURL, err)}
	if text := f.Error(); string(c.Redact([]byte(text))) != text {
		f.Text = string(c.Redact([]byte(text)))
	}
	return f
}
