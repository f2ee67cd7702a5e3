// Package httpclient is what outputs over HTTP share: the options of a client, one request for a batch, the meaning of
// its response, and hints for errors. No error shows a secret.
package httpclient

import (
	"bytes"
	"compress/gzip"
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
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/userfile"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// Options is the options that all outputs over HTTP embed. The proxy is taken from HTTPS_PROXY, HTTP_PROXY and
// NO_PROXY.
type Options struct {
	URL         string                   `yaml:"url" doc:"Where to send, such as https://host:port/path. Logs show only scheme, host and port."`
	Headers     map[string]secret.String `yaml:"headers" doc:"Headers of each request. They are never shown."`
	BasicAuth   BasicAuth                `yaml:"basic_auth" doc:"User and password."`
	BearerToken secret.String            `yaml:"bearer_token" doc:"Sent as Authorization: Bearer."`
	Timeout     config.Duration          `yaml:"timeout" doc:"How long a request may take, including its response."`
	TLS         ClientTLS                `yaml:"tls" doc:"How to verify the receiver, and the client certificate."`
	Gzip        bool                     `yaml:"gzip" doc:"Compress the requests."`
}

// BasicAuth is a user and a password.
type BasicAuth struct {
	Username string        `yaml:"username" doc:"The user."`
	Password secret.String `yaml:"password" doc:"The user's password."`
}

// ClientTLS is the client's side of TLS. Its files are read at the start; the client certificate is read for each
// connection, so a renewed one needs no restart.
type ClientTLS struct {
	CAFile             string `yaml:"ca_file" doc:"The authorities to trust instead of the system's, as PEM."`
	CertFile           string `yaml:"cert_file" doc:"The client's certificate, as PEM; with key_file."`
	KeyFile            string `yaml:"key_file" doc:"The key of cert_file, as PEM."`
	ServerName         string `yaml:"server_name" doc:"The name in the receiver's certificate. Default: the host of url."`
	InsecureSkipVerify bool   `yaml:"insecure_skip_verify" doc:"Do not verify the certificate. Anyone on the network path can then read and answer."`
}

// Defaults returns the defaults for an output that embeds the options.
func Defaults() Options {
	return Options{Timeout: config.Duration(30 * time.Second), Gzip: true}
}

// ClientErrors validates the options. example is a valid URL.
func (o *Options) ClientErrors(example string) []error {
	var errs []error
	addf := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.URL == "" {
		addf("url: is needed: where to send, such as %s", example)
	} else if _, err := ParseURL(o.URL); err != nil {
		errs = append(errs, config.Problem{Path: "url", Text: err.Error(), Remedy: "write it as " + example})
	}
	for name, value := range o.Headers {
		switch canonical := http.CanonicalHeaderKey(name); {
		case !ValidHeaderName(name):
			addf("headers: %q is not a valid header name", name)
		case reservedHeaders[canonical] != "":
			addf("headers.%s: is set by the output: %s", name, reservedHeaders[canonical])
		case strings.ContainsFunc(strings.TrimSpace(value.Reveal()), isControl):
			addf("headers.%s: its value contains a line break or a control character", name)
		}
	}
	ways := 0
	for _, set := range []bool{
		!o.BearerToken.IsZero(),
		o.BasicAuth != (BasicAuth{}),
		o.HasHeader("Authorization"),
		strings.Contains(o.URL, "@") && hasUserInfo(o.URL),
	} {
		if set {
			ways++
		}
	}
	if ways > 1 {
		addf("bearer_token: basic_auth, bearer_token, headers.Authorization and a user in url are mutually exclusive")
	}
	if o.BasicAuth.Username == "" && !o.BasicAuth.Password.IsZero() {
		addf("basic_auth.username: is needed with basic_auth.password")
	}
	if t := time.Duration(o.Timeout); t < time.Second {
		addf("timeout: %s is less than 1s", t)
	}
	if (o.TLS.CertFile == "") != (o.TLS.KeyFile == "") {
		addf("tls.cert_file: set both cert_file and key_file")
	}
	if o.TLS != (ClientTLS{}) && strings.HasPrefix(strings.ToLower(o.URL), "http:") {
		addf("tls: has no effect with a url that begins with http://")
	}
	return errs
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// reservedHeaders are the headers that the user may not set, and why.
var reservedHeaders = map[string]string{
	"Content-Length":    "it is the size of the request",
	"Content-Encoding":  "use gzip",
	"Transfer-Encoding": "requests have a Content-Length",
	"Connection":        "connections are kept open",
	"Host":              "it is the host of url",
}

func (o *Options) HasHeader(name string) bool {
	for h := range o.Headers {
		if http.CanonicalHeaderKey(h) == name {
			return true
		}
	}
	return false
}

// ValidHeaderName reports whether s is a token, https://www.rfc-editor.org/rfc/rfc9110#name-tokens.
func ValidHeaderName(s string) bool {
	return s != "" &&
		strings.Trim(s, "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}

func hasUserInfo(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.User != nil
}

var (
	errNoScheme = errors.New("does not begin with http:// or https://")
	errBadPort  = errors.New("has a port outside 1 to 65535")
)

// ParseURL parses an http or https URL. Its error does not repeat s, which may contain a password.
func ParseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil && strings.Contains(err.Error(), "first path segment"): // 127.0.0.1:9529
		return nil, errNoScheme
	case err != nil && strings.Contains(err.Error(), "invalid port"):
		return nil, errBadPort
	case err != nil:
		return nil, errors.New("is not a valid URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errNoScheme
	case u.Hostname() == "":
		return nil, errors.New("has no host")
	case u.Fragment != "":
		return nil, errors.New("has a fragment, which is never sent; write %23 for the character #")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return nil, errBadPort
		}
	}
	return u, nil
}

// displayURL returns a URL as a message may show it: scheme, host and whether more follows. Its path, query and
// fragment may be a webhook's secret, even if they are short.
func displayURL(u *url.URL) string {
	text := u.Scheme + "://" + u.Host
	if strings.Trim(u.EscapedPath(), "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		text += "/…"
	}
	return text
}

// A Client sends requests to one URL over persistent connections. It is safe for concurrent use.
type Client struct {
	url         *url.URL
	DisplayURL  string // the URL as messages show it
	Method      string // POST by default
	Header      http.Header
	secrets     []string // removed from messages, as a receiver may repeat them
	customCA    bool     // tls.ca_file replaces the system's authorities
	timeout     time.Duration
	gzipWriters *sync.Pool                       // of *gzip.Writer; nil: no compression
	Sign        func(h http.Header, body []byte) // signs the body as it is sent; may be nil
	Transport   *http.Transport                  // not an http.Client, which follows or parses redirects
}

// New reads the files of the options, and does not connect. to is the URL of the requests, usually o.URL with
// the path of an API; "" means o.URL.
func New(o *Options, to string) (*Client, error) {
	if to == "" {
		to = o.URL
	}
	u, err := ParseURL(to)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	tlsConfig, err := o.TLS.Config()
	if err != nil {
		return nil, err
	}
	c := &Client{
		url:        u,
		DisplayURL: displayURL(u),
		Method:     http.MethodPost,
		customCA:   o.TLS.CAFile != "",
		timeout:    time.Duration(o.Timeout),
		Header:     http.Header{},
	}
	c.Header.Set("User-Agent", "aws-collector")
	for name, value := range o.Headers {
		c.Header.Set(name, c.Reveal(value))
	}
	switch {
	case !o.BearerToken.IsZero():
		c.Header.Set("Authorization", "Bearer "+c.Reveal(o.BearerToken))
	case o.BasicAuth.Username != "":
		c.basicAuth(o.BasicAuth.Username, o.BasicAuth.Password.Reveal())
	case u.User != nil:
		password, _ := u.User.Password()
		c.basicAuth(u.User.Username(), password)
		u.User = nil
	}
	c.addURLSecrets(u)
	if o.Gzip {
		c.gzipWriters = &sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
	}
	c.Transport = &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:       tlsConfig,
		TLSHandshakeTimeout:   10 * time.Second,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   4,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
	return c, nil
}

// Reveal returns a secret as it is sent, without the line break at the end of a file.
func (c *Client) Reveal(s secret.String) string {
	v := strings.TrimSpace(s.Reveal())
	c.AddSecrets(v)
	return v
}

func (c *Client) basicAuth(user, password string) {
	r := http.Request{Header: c.Header}
	r.SetBasicAuth(user, password)
	c.AddSecrets(password, strings.TrimPrefix(c.Header.Get("Authorization"), "Basic "))
}

// AddSecrets removes texts from messages, except very short ones, which may occur anywhere.
func (c *Client) AddSecrets(texts ...string) {
	for _, s := range texts {
		if len(s) >= 4 {
			c.secrets = append(c.secrets, s, url.QueryEscape(s), url.PathEscape(s))
		}
	}
}

// addURLSecrets removes what follows the host from messages, as a whole and in parts, except for well-known path
// segments.
func (c *Client) addURLSecrets(u *url.URL) {
	if p := u.EscapedPath(); strings.Trim(p, "/") != "" {
		c.AddSecrets(u.RequestURI(), p)
	}
	for _, part := range append(strings.Split(u.Path, "/"), strings.Split(u.EscapedPath(), "/")...) {
		if !slices.Contains(knownPathSegments, part) {
			c.AddSecrets(part)
		}
	}
	c.AddSecrets(u.RawQuery)
	for _, part := range strings.FieldsFunc(u.RawQuery, func(r rune) bool { return r == '&' || r == ';' }) {
		key, value, _ := strings.Cut(part, "=")
		c.AddSecrets(value)
		if value == "" || len(key) >= minSecretKeyLength { // a key without a value may be the secret itself
			c.AddSecrets(key)
		}
	}
	for key, values := range u.Query() { // unescaped
		c.AddSecrets(values...)
		if len(strings.Join(values, "")) == 0 || len(key) >= minSecretKeyLength {
			c.AddSecrets(key)
		}
	}
	// Longest first: one may contain another.
	slices.SortStableFunc(c.secrets, func(a, b string) int { return len(b) - len(a) })
}

// minSecretKeyLength is the length from which a query's key is taken for a secret: ?K7MDENGbPxRfiCYEXAMPLEKEY=
const minSecretKeyLength = 16

// knownPathSegments are path segments from the documentation of receivers, which are not secret.
var knownPathSegments = []string{
	"write", "logs", "query", "api", "v1", "v2", "v3", "custom_object", "otlp", "influx", "services", "collector",
	"event", "raw", "webhook", "webhooks", "hooks", "ingest",
}

// ClientKeyFile returns the file of the client's key.
func (o *Options) ClientKeyFile() string { return o.TLS.KeyFile }

// Cleartext implements [outputs.Cleartext].
func (o *Options) Cleartext() []config.Problem { return o.CleartextWith("") }

// CleartextWith is Cleartext for an output with a secret of its own, in an option that is set; "": it has none.
func (o *Options) CleartextWith(secretOption string) []config.Problem {
	u, err := ParseURL(o.URL)
	if err != nil || u.Scheme == "https" {
		return o.TLS.Cleartext()
	}
	if config.IsLoopback(u.Hostname()) {
		return nil
	}
	p := config.Problem{Path: "url", Text: "records are sent in clear text: the URL begins with http://"}
	switch {
	case secretOption != "":
		p.Path, p.Text = secretOption, "is sent in clear text: url begins with http://"
	case !o.BearerToken.IsZero():
		p.Path, p.Text = "bearer_token", "is sent in clear text: url begins with http://"
	case o.BasicAuth != (BasicAuth{}):
		p.Path, p.Text = "basic_auth", "is sent in clear text: url begins with http://"
	case len(o.Headers) > 0:
		p.Path, p.Text = "headers", "are sent in clear text: url begins with http://"
	case u.User != nil:
		p.Text = "the user and password are sent in clear text: the URL begins with http://"
	}
	p.Remedy = "use https://, or a receiver on this machine"
	return []config.Problem{p}
}

// Cleartext returns the option that turns verification off.
func (o *ClientTLS) Cleartext() []config.Problem {
	if !o.InsecureSkipVerify {
		return nil
	}
	return []config.Problem{{
		Path:   "tls.insecure_skip_verify",
		Text:   "the receiver is not verified: anyone on the network path can read and answer",
		Remedy: "remove it, and set tls.ca_file to the authority of the receiver's certificate",
	}}
}

func (o *ClientTLS) Config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.ServerName, InsecureSkipVerify: o.InsecureSkipVerify}
	if o.CAFile != "" {
		pem, err := readPEM(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca_file: %s contains no PEM certificate", o.CAFile)
		}
	}
	if o.CertFile != "" {
		load := func() (*tls.Certificate, error) {
			public, err := readPEM(o.CertFile)
			if err != nil {
				return nil, fmt.Errorf("tls.cert_file: %w", err)
			}
			private, err := readPEM(o.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("tls.key_file: %w", err)
			}
			cert, err := tls.X509KeyPair(public, private)
			if err != nil {
				return nil, fmt.Errorf("tls.cert_file, tls.key_file: %w", err)
			}
			return &cert, nil
		}
		if _, err := load(); err != nil {
			return nil, err
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return c, nil
}

// maxPEMBytes is more than the size of any system's authorities.
const maxPEMBytes = 8 << 20

func readPEM(path string) ([]byte, error) {
	return userfile.Read(context.Background(), path, maxPEMBytes)
}

// maxResponseBytes is how much of a response is read, which is more than any receiver's error message.
const maxResponseBytes = 64 << 10

// post sends the body in one request and returns at most 64 KiB of the response. header is added to the client's own
// headers. The error is nil for a 2xx response, [outputs.ErrRefused] if the content is at fault,
// *[outputs.RetryAfterError] if the receiver asked for a delay; after any other error the request may be repeated. No
// error contains a secret. The body may be reused after the return.
func (c *Client) post(ctx context.Context, header http.Header, body []byte) (answer []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	encoded, err := c.encode(body)
	if err != nil {
		return nil, err
	}
	timeoutErr := &record.Fault{
		Reason: record.TimedOut,
		Err:    fmt.Errorf("%s: no answer within %s", c.DisplayURL, config.Duration(c.timeout)),
		Hint:   "Raise timeout, or set a smaller max_bytes: the receiver is slow or cannot be reached.",
	}
	reqCtx, cancel := context.WithTimeoutCause(ctx, c.timeout, timeoutErr)
	defer cancel()
	req, err := http.NewRequestWithContext(reqCtx, c.Method, c.url.String(), bytes.NewReader(encoded))
	if err != nil {
		return nil, fmt.Errorf("%s: cannot create the request", c.DisplayURL) // the error would show the URL
	}
	for _, h := range []http.Header{c.Header, header} {
		for name, values := range h {
			req.Header[name] = values
		}
	}
	if c.gzipWriters != nil {
		req.Header.Set("Content-Encoding", "gzip")
	}
	if c.Sign != nil {
		c.Sign(req.Header, encoded)
	}
	resp, err := Resend(c.Transport.RoundTrip, req)
	if err == nil {
		answer, err = readResponse(resp)
	}
	switch {
	case err == nil:
		return answer, c.checkStatus(resp, answer)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", c.DisplayURL, ctx.Err())
	case context.Cause(reqCtx) == error(timeoutErr):
		return nil, timeoutErr
	}
	return nil, c.ExplainTransportError(err)
}

// encode returns the body, compressed if gzip is set. It always copies: a transport may still read the body after a
// cancelled request has returned.
func (c *Client) encode(body []byte) ([]byte, error) {
	if c.gzipWriters == nil {
		return bytes.Clone(body), nil
	}
	var b bytes.Buffer
	w := c.gzipWriters.Get().(*gzip.Writer)
	defer c.gzipWriters.Put(w)
	w.Reset(&b)
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// readResponse reads the response, and some more of a long one so that the connection can be reused.
func readResponse(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes))
	if err == nil {
		_, err = io.CopyN(io.Discard, resp.Body, maxResponseBytes)
	}
	// After a 2xx status the receiver has the batch, even if the rest of its response is lost.
	if errors.Is(err, io.EOF) || resp.StatusCode/100 == 2 && err != nil {
		err = nil
	}
	return answer, err
}

// Close closes the idle connections.
func (c *Client) Close() { c.Transport.CloseIdleConnections() }
