package outputs

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

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// maxRetryAfter bounds what a receiver may ask for: one with a wrong clock would silence an output for days.
const maxRetryAfter = 15 * time.Minute

// statusError is an answer that is no 2xx.
type statusError struct {
	code int
	text string
}

func (a *statusError) Error() string { return a.text }

// checkStatus turns an answer into what is to become of the batch.
func (c *httpClient) checkStatus(resp *http.Response, answer []byte) error {
	code := resp.StatusCode
	if code/100 == 2 {
		return nil
	}
	said := &statusError{code, fmt.Sprintf("%s answered %d %s", c.displayURL, code, http.StatusText(code))}
	if text := excerpt(c.redact(answer)); text != "" {
		said.text += ": " + text
	}
	fault := func(r record.Reason, hint string) error { return &record.Fault{Reason: r, Hint: hint, Err: said} }
	switch {
	case c.url.Scheme == "http" && code == http.StatusBadRequest && wantsTLS(answer):
		return fault(record.BadAnswer, "the receiver speaks TLS at this port: begin url with https://")
	case code/100 == 3:
		to := ""
		if u, err := resp.Location(); err == nil {
			to = ", here " + openServed(u)
		}
		return fault(
			record.BadAnswer,
			"redirects are not followed, as records and headers would go where url does not say: set url to where it leads"+to,
		)
	}
	switch code {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %w", ErrRefused, said)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault(
			record.AccessDenied,
			"the receiver does not take our token, password or certificate: check bearer_token, basic_auth, headers or what this output has in their place",
		)
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
		return fault(record.BadAnswer, "the receiver is there, but takes nothing at this path: check url")
	case http.StatusProxyAuthRequired:
		return fault(
			record.AccessDenied,
			"the proxy wants a password: put it into HTTPS_PROXY, as http://user:password@proxy:3128",
		)
	case http.StatusUnsupportedMediaType:
		return fault(record.BadAnswer, "the receiver does not take this format or its compression: try `gzip: false`")
	case http.StatusInternalServerError:
		return c.withRetryAfter(
			resp,
			&record.Fault{
				Reason: record.Other,
				Hint:   "the receiver is in trouble; it is tried again",
				Err:    fmt.Errorf("%w: %w", ErrReceiverFailed, said),
			},
		)
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return c.withRetryAfter(resp, fault(record.Throttling, "the receiver takes no more for now; it is tried again"))
	}
	if code >= 500 {
		return c.withRetryAfter(resp, fault(record.Other, "the receiver is in trouble; it is tried again"))
	}
	return fault(record.BadAnswer, "")
}

// withRetryAfter adds what Retry-After says, in seconds or as a date. Without it the spool's own backoff holds.
func (c *httpClient) withRetryAfter(resp *http.Response, err error) error {
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
	return &RetryAfterError{After: min(after, maxRetryAfter), Err: err}
}

// wantsTLS knows how Go, nginx, Apache and Envoy tell a client that it should have begun with a handshake.
func wantsTLS(answer []byte) bool {
	text := strings.ToLower(string(answer))
	for _, words := range []string{"http request to an https server", "http request was sent to https port", "speaking plain http to an ssl-enabled"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// redact takes out of an answer what the receiver repeats of our secrets.
func (c *httpClient) redact(answer []byte) []byte {
	for _, s := range c.secrets {
		answer = bytes.ReplaceAll(answer, []byte(s), []byte(secret.Mask))
	}
	return answer
}

// excerpt is the beginning of an answer in one printable line.
func excerpt(answer []byte) string {
	const most = 200
	var b strings.Builder
	for _, r := range string(answer[:min(len(answer), 4*most)]) {
		switch {
		case unicode.IsSpace(r) || !unicode.IsPrint(r) || r == unicode.ReplacementChar:
			if s := b.String(); s == "" || strings.HasSuffix(s, " ") {
				continue
			}
			r = ' '
		}
		if b.Len()+len(string(r)) > most {
			return strings.TrimSpace(b.String()) + "…"
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// explainTransportError is an error of the way there, with what a person can do.
func (c *httpClient) explainTransportError(err error) error {
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
	if errors.As(err, &quoting) { // its text begins with the URL
		err = quoting.Err
	}
	var ne net.Error
	timedOut = timedOut || errors.As(err, &ne) && ne.Timeout()
	switch {
	case strings.HasPrefix(err.Error(), "invalid proxy address"): // and then the address, with its password
		hint = "write HTTPS_PROXY or HTTP_PROXY as http://user:password@proxy:3128, special characters as %40"
		err = errors.New("the proxy's address is not a URL")
	case plain:
		hint = "the receiver speaks no TLS at this port: begin url with http://"
	case c.url.Scheme == "http" && strings.Contains(remote, "malformed HTTP response"):
		hint = "the receiver may speak TLS at this port: begin url with https://"
		err = errors.New("its answer is no HTTP")
	case errors.As(err, &unknown) && c.customCA:
		hint = "tls.ca_file does not hold the authority that signed the receiver's certificate: add it there, the root, or the intermediate that the receiver does not send"
	case errors.As(err, &unknown):
		hint = "who signed the receiver's certificate is not known here: name the authority's certificate in tls.ca_file"
	case errors.As(err, &host):
		hint = "the receiver's certificate is for another name: correct url, or set tls.server_name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		hint = "the receiver's certificate is out of date: renew it there, and see that this machine's clock is right"
	case errors.As(err, &verify):
		hint = "the receiver's certificate is not to be trusted: have it replaced there, or see tls"
	case isAlert:
		hint = "the receiver broke off the handshake: it may want a client's certificate, tls.cert_file and tls.key_file, or another tls.server_name"
	case errors.As(err, &dns):
		hint = "the host's name cannot be resolved: check url"
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "nobody listens there: check host and port of url, and whether the receiver runs"
	case errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE),
		errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF):
		hint = "the receiver broke off; it is tried again"
		if c.url.Scheme == "http" { // it does so when it waits for a handshake
			hint += ". If it speaks TLS at this port, begin url with https://"
		}
	case timedOut:
		reason, hint = record.TimedOut, "the receiver cannot be reached: check url, firewalls and HTTPS_PROXY"
	}
	f := &record.Fault{Reason: reason, Hint: hint, Err: fmt.Errorf("%s: %w", c.displayURL, err)}
	if text := f.Error(); string(c.redact([]byte(text))) != text {
		f.Text = string(c.redact([]byte(text)))
	}
	return f
}
