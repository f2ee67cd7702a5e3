package outputs

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

// HTTPClient is the options of every output that speaks HTTP; each embeds it. A proxy is taken from HTTPS_PROXY, HTTP_PROXY
// and NO_PROXY, as other programs do.
type HTTPClient struct {
	URL         string                   `yaml:"url" doc:"Where to send, as https://host:port/path. Logs show its scheme, host and port only."`
	Headers     map[string]secret.String `yaml:"headers" doc:"Headers of each request. They are never shown."`
	BasicAuth   BasicAuth                `yaml:"basic_auth" doc:"User and password."`
	BearerToken secret.String            `yaml:"bearer_token" doc:"Sent as Authorization: Bearer."`
	Timeout     config.Duration          `yaml:"timeout" doc:"How long a request may take, its answer included."`
	TLS         ClientTLS                `yaml:"tls" doc:"How to trust the receiver, and who we are to it."`
	Gzip        bool                     `yaml:"gzip" doc:"Compress the requests."`
}

// BasicAuth is a user and a password.
type BasicAuth struct {
	Username string        `yaml:"username" doc:"The user."`
	Password secret.String `yaml:"password" doc:"The user's password."`
}

// ClientTLS is the client's side of TLS. Its files are read at the start; the client's certificate for each connection, so that
// a renewed one needs no restart.
type ClientTLS struct {
	CAFile             string `yaml:"ca_file" doc:"The authorities to trust instead of the system's, as PEM."`
	CertFile           string `yaml:"cert_file" doc:"The client's certificate, as PEM; with key_file."`
	KeyFile            string `yaml:"key_file" doc:"The key of cert_file, as PEM."`
	ServerName         string `yaml:"server_name" doc:"The name that the receiver's certificate must have. Default: the host of url."`
	InsecureSkipVerify bool   `yaml:"insecure_skip_verify" doc:"Take any certificate. Whoever is in between can then read and answer."`
}

// httpDefaults is what an output that embeds the options begins with.
func httpDefaults() HTTPClient {
	return HTTPClient{Timeout: config.Duration(30 * time.Second), Gzip: true}
}

// clientErrors is everything that is wrong. example is a URL that would be right.
func (o *HTTPClient) clientErrors(example string) []error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.URL == "" {
		wrong("url: is needed: where to send, as %s", example)
	} else if _, err := parseURL(o.URL); err != nil {
		errs = append(errs, config.Problem{Path: "url", Text: err.Error(), Remedy: "write it as " + example})
	}
	for name, value := range o.Headers {
		switch canonical := http.CanonicalHeaderKey(name); {
		case !validHeaderName(name):
			wrong("headers: %q is no name of a header", name)
		case reservedHeaders[canonical] != "":
			wrong("headers.%s: is set by the output: %s", name, reservedHeaders[canonical])
		case strings.ContainsFunc(strings.TrimSpace(value.Reveal()), func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			wrong("headers.%s: its value holds a line break or a control character", name)
		}
	}
	ways := 0
	for _, set := range []bool{!o.BearerToken.IsZero(), o.BasicAuth != (BasicAuth{}), o.hasHeader("Authorization"), strings.Contains(o.URL, "@") && hasUserInfo(o.URL)} {
		if set {
			ways++
		}
	}
	if ways > 1 {
		wrong("bearer_token: basic_auth, bearer_token, headers.Authorization and a user in url exclude each other")
	}
	if o.BasicAuth.Username == "" && !o.BasicAuth.Password.IsZero() {
		wrong("basic_auth.username: is needed beside the password")
	}
	if t := time.Duration(o.Timeout); t < time.Second {
		wrong("timeout: %s is less than 1s", t)
	}
	if (o.TLS.CertFile == "") != (o.TLS.KeyFile == "") {
		wrong("tls.cert_file: cert_file and key_file stand together")
	}
	if o.TLS != (ClientTLS{}) && strings.HasPrefix(strings.ToLower(o.URL), "http:") {
		wrong("tls: has no meaning for a url that begins with http://")
	}
	return errs
}

// reservedHeaders are those that the user may not set, and what to set instead.
var reservedHeaders = map[string]string{
	"Content-Length":    "it is the request's size",
	"Content-Encoding":  "see gzip",
	"Transfer-Encoding": "requests are sent with their length",
	"Connection":        "connections are kept",
	"Host":              "it is the host of url",
}

func (o *HTTPClient) hasHeader(name string) bool {
	for h := range o.Headers {
		if http.CanonicalHeaderKey(h) == name {
			return true
		}
	}
	return false
}

// validHeaderName reports whether s may name a header, https://www.rfc-editor.org/rfc/rfc9110#name-tokens.
func validHeaderName(s string) bool {
	return s != "" &&
		strings.Trim(s, "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}

func hasUserInfo(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.User != nil
}

var (
	errNoScheme = errors.New("has no http:// or https:// at its beginning")
	errBadPort  = errors.New("has a port that is not 1 to 65535")
)

// parseURL takes http and https URLs. Its error does not repeat s, which may hold a password.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil && strings.Contains(err.Error(), "first path segment"): // 127.0.0.1:9529
		return nil, errNoScheme
	case err != nil && strings.Contains(err.Error(), "invalid port"):
		return nil, errBadPort
	case err != nil:
		return nil, errors.New("is no URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errNoScheme
	case u.Hostname() == "":
		return nil, errors.New("names no host")
	case u.Fragment != "":
		return nil, errors.New("has a #, of which a receiver would not learn; %23 is the character itself")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return nil, errBadPort
		}
	}
	return u, nil
}

// openServed is a URL as a message may show it: where it leads, and whether more follows. A path, a query and a fragment may be a
// webhook's secret, however short they are.
func openServed(u *url.URL) string {
	text := u.Scheme + "://" + u.Host
	if strings.Trim(u.EscapedPath(), "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		text += "/…"
	}
	return text
}

// An httpClient sends requests to one URL, over connections that it keeps. It may be used by many goroutines.
type httpClient struct {
	url         *url.URL
	displayURL  string // the URL, fit to be shown
	method      string // POST
	header      http.Header
	secrets     []string // what no message may show, should a receiver repeat it
	customCA    bool     // tls.ca_file stands in the system's place
	timeout     time.Duration
	gzipWriters *sync.Pool                       // of *gzip.Writer; nil: as it is
	sign        func(h http.Header, body []byte) // of each request, over the body as it is sent; may be nil
	transport   *http.Transport                  // and no http.Client: it would follow redirects, or read where they lead
}

// newHTTPClient reads the files that the options name, and calls nobody. to is where its requests go, mostly o.URL with the
// path of an API; "": o.URL itself.
func newHTTPClient(o *HTTPClient, to string) (*httpClient, error) {
	if to == "" {
		to = o.URL
	}
	u, err := parseURL(to)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	tlsConfig, err := o.TLS.config()
	if err != nil {
		return nil, err
	}
	c := &httpClient{
		url:        u,
		displayURL: openServed(u),
		method:     http.MethodPost,
		customCA:   o.TLS.CAFile != "",
		timeout:    time.Duration(o.Timeout),
		header:     http.Header{},
	}
	c.header.Set("User-Agent", "aws-collector")
	for name, value := range o.Headers {
		c.header.Set(name, c.reveal(value))
	}
	switch {
	case !o.BearerToken.IsZero():
		c.header.Set("Authorization", "Bearer "+c.reveal(o.BearerToken))
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
	c.transport = &http.Transport{
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

// reveal is a secret as it is sent: a file often ends in a line break.
func (c *httpClient) reveal(s secret.String) string {
	v := strings.TrimSpace(s.Reveal())
	c.addSecrets(v)
	return v
}

func (c *httpClient) basicAuth(user, password string) {
	r := http.Request{Header: c.header}
	r.SetBasicAuth(user, password)
	c.addSecrets(password, strings.TrimPrefix(c.header.Get("Authorization"), "Basic "))
}

// addSecrets keeps texts out of messages, but for those so short that they stand everywhere.
func (c *httpClient) addSecrets(texts ...string) {
	for _, s := range texts {
		if len(s) >= 4 {
			c.secrets = append(c.secrets, s, url.QueryEscape(s), url.PathEscape(s))
		}
	}
}

// addURLSecrets keeps what follows the host out of messages, whole and in its parts, but for the words of APIs.
func (c *httpClient) addURLSecrets(u *url.URL) {
	if p := u.EscapedPath(); strings.Trim(p, "/") != "" {
		c.addSecrets(u.RequestURI(), p)
	}
	for _, part := range append(strings.Split(u.Path, "/"), strings.Split(u.EscapedPath(), "/")...) {
		if !slices.Contains(knownPathSegments, part) {
			c.addSecrets(part)
		}
	}
	c.addSecrets(u.RawQuery)
	for _, part := range strings.FieldsFunc(u.RawQuery, func(r rune) bool { return r == '&' || r == ';' }) {
		key, value, _ := strings.Cut(part, "=")
		c.addSecrets(value)
		if value == "" || len(key) >= minSecretKeyLength { // a key without a value is rather the secret itself
			c.addSecrets(key)
		}
	}
	for key, values := range u.Query() { // as they are unescaped
		c.addSecrets(values...)
		if len(strings.Join(values, "")) == 0 || len(key) >= minSecretKeyLength {
			c.addSecrets(key)
		}
	}
	slices.SortStableFunc(c.secrets, func(a, b string) int { return len(b) - len(a) }) // one may be a part of another
}

// minSecretKeyLength is how long a query's key is that is rather a secret: ?K7MDENGbPxRfiCYEXAMPLEKEY=
const minSecretKeyLength = 16

// knownPathSegments is the parts of paths that are in the documentation of receivers, and no secret.
var knownPathSegments = []string{
	"write", "logs", "query", "api", "v1", "v2", "v3", "custom_object", "otlp", "influx", "services", "collector",
	"event", "raw", "webhook", "webhooks", "hooks", "ingest",
}

// KeyFile is the file of the client's key that an output's options name; "": none.
func KeyFile(options any) string {
	switch o := options.(type) {
	case interface{ client() *HTTPClient }:
		return o.client().TLS.KeyFile
	case *S3:
		return o.TLS.KeyFile
	case *Kafka:
		return o.TLS.KeyFile
	}
	return ""
}

func (o *HTTPClient) client() *HTTPClient { return o }

func (o *ClientTLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.ServerName, InsecureSkipVerify: o.InsecureSkipVerify}
	if o.CAFile != "" {
		pem, err := readPEM(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca_file: %s holds no certificate in PEM form", o.CAFile)
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

// maxPEMBytes is above the authorities of every system.
const maxPEMBytes = 8 << 20

func readPEM(path string) ([]byte, error) {
	return userfile.Read(context.Background(), path, maxPEMBytes)
}

// maxResponseBytes is how much of an answer is read: more than any receiver's reasons.
const maxResponseBytes = 64 << 10

// post sends body in one request and returns what was answered, at most 64 KiB of it. header is of this request, beside the
// client's own. It returns nil if the answer was 2xx; else an error that says what to do with the batch:
// [ErrRefused] if its content is at fault, *[Later] if the receiver named a time, otherwise it may be tried again. No error
// holds a secret. body may be used again when it returns.
func (c *httpClient) post(ctx context.Context, header http.Header, body []byte) (answer []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	encoded, err := c.encode(body)
	if err != nil {
		return nil, err
	}
	late := &record.Fault{
		Reason: record.TimedOut,
		Err:    fmt.Errorf("%s: no answer within %s", c.displayURL, config.Duration(c.timeout)),
		Hint:   "the receiver is slow or out of reach: raise timeout, or make batches smaller",
	}
	within, cancel := context.WithTimeoutCause(ctx, c.timeout, late)
	defer cancel()
	req, err := http.NewRequestWithContext(within, c.method, c.url.String(), bytes.NewReader(encoded))
	if err != nil {
		return nil, fmt.Errorf("%s: the request cannot be made", c.displayURL) // the error would show the URL
	}
	for _, h := range []http.Header{c.header, header} {
		for name, values := range h {
			req.Header[name] = values
		}
	}
	if c.gzipWriters != nil {
		req.Header.Set("Content-Encoding", "gzip")
	}
	if c.sign != nil {
		c.sign(req.Header, encoded)
	}
	resp, err := c.transport.RoundTrip(req)
	if err == nil {
		answer, err = readResponse(resp)
	}
	switch {
	case err == nil:
		return answer, c.checkStatus(resp, answer)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", c.displayURL, ctx.Err())
	case context.Cause(within) == error(late):
		return nil, late
	}
	return nil, c.explainTransportError(err)
}

// encode is body, compressed if that is asked for. It is never the caller's own bytes: a transport may still be reading them
// when a cancelled request has returned.
func (c *httpClient) encode(body []byte) ([]byte, error) {
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

// readResponse reads what is needed, and a little more, so that the connection can be used again.
func readResponse(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxResponseBytes))
	if err == nil {
		_, err = io.CopyN(io.Discard, resp.Body, maxResponseBytes)
	}
	if errors.Is(err, io.EOF) ||
		resp.StatusCode/100 == 2 && err != nil { // it was taken, whatever became of the rest of its answer
		err = nil
	}
	return answer, err
}

// close closes the connections that rest.
func (c *httpClient) close() { c.transport.CloseIdleConnections() }
