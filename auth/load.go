package auth

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"

	"github.com/aws-collector/collector/auth/internal/awsfiles"
	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// LoadOptions says how the SDK is configured. The zero value is for normal use: the environment and the shared files
// decide. The fields are for a collector that runs against a simulated AWS.
type LoadOptions struct {
	Version       string // of this program, for the user agent: collector/VERSION
	CallsInFlight int    // how many connections are kept open; default 256

	Endpoint     string // base URL of every service, STS inside chains included
	IMDSEndpoint string // base URL of the instance metadata service
	Isolated     bool   // neither the environment nor the standard shared files are read

	// replaces the network
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// full URL of the container credentials, if Isolated. Options.Getenv gives their token.
	ContainerEndpoint string
	// reads single variables if the SDK refuses the environment as a whole
	Getenv           func(string) string
	ConfigFiles      []string // shared config files; nil: the standard ones, none if Isolated
	BotoFiles        []string // boto 2's files; likewise
	CredentialsFiles []string // shared credentials files; likewise
}

// files is where the SDK's settings and credentials come from.
func (o LoadOptions) files() *awsfiles.Source { return awsfiles.NewSource(o.filesOptions()) }

func (o LoadOptions) filesOptions() awsfiles.Options {
	return awsfiles.Options{
		Isolated: o.Isolated, Getenv: o.Getenv,
		ConfigFiles: o.ConfigFiles, BotoFiles: o.BotoFiles, CredentialsFiles: o.CredentialsFiles,
	}
}

// Inspect checks what the blocks use to sign in outside of the configuration: profiles, the shared AWS files and the
// environment. It makes no calls.
func Inspect(o LoadOptions, blocks []config.Account) []awsfiles.Problem {
	return awsfiles.Inspect(o.filesOptions(), blocks)
}

// SecretFiles returns the files that hold the secrets with which profiles sign in.
func SecretFiles(o LoadOptions, profiles []string) []awsfiles.SecretFile {
	return awsfiles.SecretFiles(o.filesOptions(), profiles)
}

// Limits of a call to STS or to a metadata service. An attempt ends before the call does, so that a dead connection
// costs only one attempt.
const (
	callTimeout    = 30 * time.Second // for a call with its retries
	attemptTimeout = 10 * time.Second
	callAttempts   = 3
	callBackoff    = 5 * time.Second // at most, between two attempts
)

// LoadAWS loads the SDK's configuration and builds the only transport; it sends nothing. Call it once: each transport
// has its own connections, and with AWS_CA_BUNDLE a load takes milliseconds. All variables that the SDK reads apply
// (AWS_ENDPOINT_URL and similar, AWS_CA_BUNDLE, proxies, AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT,
// AWS_CONFIG_FILE…). The configuration has no credentials: those belong to a [Session].
func LoadAWS(ctx context.Context, o LoadOptions) (aws.Config, error) {
	l := &loader{opts: o, files: o.files()}
	l.client = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
		n := o.CallsInFlight
		if n <= 0 {
			n = 256
		}
		tr.MaxIdleConns, tr.MaxIdleConnsPerHost = n+16, n // each region is a host; 16 more for sign-ins
		// Each connection has both buffers. A request with its session token fits, and so does the response of a small
		// listing, so each is one system call.
		tr.ReadBufferSize, tr.WriteBufferSize = 8<<10, 4<<10
		tr.DisableCompression = true // package collectors asks EC2 for gzip and unpacks it; other responses are small
		tr.OnProxyConnectResponse = fault.ProxyRefusal
		if o.DialContext != nil {
			tr.DialContext = o.DialContext
		}
		if o.Isolated {
			tr.Proxy = nil
		}
	})
	cfg := aws.Config{HTTPClient: l.client}
	if !o.Isolated {
		var err error
		if cfg, err = l.load(ctx); err != nil {
			return aws.Config{}, err
		}
	}
	if o.Endpoint != "" {
		cfg.BaseEndpoint = aws.String(o.Endpoint)
	}
	l.baseEndpoint = cfg.BaseEndpoint
	// Given a BuildableClient, each SDK client would build its own transport with its own connections.
	if b, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		cfg.HTTPClient = withBodiesInMemory(b.Freeze()) // includes the CA bundle
	}
	l.metadata = l.client.WithTransportOptions(func(tr *http.Transport) {
		tr.Proxy = nil // a metadata service is on this machine
		tr.ResponseHeaderTimeout = 2 * time.Second
		if o.DialContext == nil {
			tr.DialContext = (&net.Dialer{Timeout: time.Second}).DialContext
		}
	}).WithTimeout(attemptTimeout).Freeze()

	cfg.APIOptions = append(cfg.APIOptions, l.apiOptions()...)
	cfg.Retryer = retryer(cfg.RetryMaxAttempts)
	cfg.Logger = logging.Nop{} // the SDK's logger bypasses ours
	cfg.Credentials = noCredentials{}
	cfg.ConfigSources = append(withoutSecrets(cfg.ConfigSources), l)
	return cfg, nil
}

// load returns the SDK's own configuration. If the SDK refuses a setting, which may be one line of a profile that no
// account uses, the configuration has only the settings that are valid. An account that uses the others fails when it
// signs in.
func (l *loader) load(ctx context.Context) (aws.Config, error) {
	var pem []byte
	if file := l.files.Env.CustomCABundle; file != "" { // it applies to every call, so no call may be made without it
		var err error
		if pem, err = awsfiles.ReadCABundle(file); err != nil {
			return aws.Config{}, fault.New(record.Other, "Set AWS_CA_BUNDLE to a file of PEM certificates.",
				"load the AWS configuration: AWS_CA_BUNDLE: %w", err)
		}
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, append(l.files.SDKOptions(),
		awsconfig.WithHTTPClient(l.client),
		awsconfig.WithCredentialsProvider(aws.AnonymousCredentials{}), // each account has its own
	)...)
	files := l.files.Read()
	profile := cmp.Or(l.files.Env.SharedConfigProfile, "default")
	l.ignored = append(slices.Clone(l.files.Problems), files.SettingProblems(profile)...)
	if err == nil || ctx.Err() != nil {
		return cfg, context.Cause(ctx)
	}
	settings := files.Settings(profile)
	client := l.client
	if pem == nil && settings.CustomCABundle != "" {
		pem, _ = awsfiles.ReadCABundle(settings.CustomCABundle) // settingFlaws reports its error
	}
	if pem != nil {
		client = awsfiles.WithCABundle(client, pem)
	}
	return awsfiles.Config(l.files.Env, settings, client), nil
}

// profileConfig is the SDK's configuration for a profile, for the clients of its chain.
func (l *loader) profileConfig(files *awsfiles.Files, profile string) aws.Config {
	cfg := awsfiles.Config(l.files.Env, files.Settings(profile), nil)
	cfg.APIOptions = l.apiOptions()
	cfg.Retryer = retryer(0)
	cfg.Logger = logging.Nop{}
	return cfg
}

// withBodiesInMemory is a client that reads a small request body before it sends the request. net/http sends the
// header of a request alone, in a packet and a TLS record of its own, unless it knows that the body is in memory.
//
// The client reads larger bodies through Read, not WriteTo. The SDK closes a body as soon as the header of the response
// arrives. From then on its WriteTo returns EOF as an error, which net/http takes for a failed write: it closes the
// connection during the response, and the next call needs a new one.
func withBodiesInMemory(c aws.HTTPClient) aws.HTTPClient {
	return withTransport(c, func(t http.RoundTripper) http.RoundTripper { return memoryBodyTransport{t} })
}

// withTransport is the same client with a wrapped transport, if it has a transport.
func withTransport(c aws.HTTPClient, transport func(http.RoundTripper) http.RoundTripper) aws.HTTPClient {
	h, ok := c.(*http.Client)
	if !ok {
		return c
	}
	other := *h
	other.Transport = transport(h.Transport)
	return &other
}

// maxBodyInMemory is the largest body that is read before its request is sent. Those of calls are some hundred bytes.
const maxBodyInMemory = 64 << 10

type memoryBodyTransport struct{ http.RoundTripper }

func (t memoryBodyTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	other := *r
	switch _, ok := r.Body.(io.WriterTo); {
	case r.Body != nil && 0 < r.ContentLength && r.ContentLength <= maxBodyInMemory:
		body, err := readBody(r)
		if err != nil {
			return nil, err
		}
		other.Body = body()
		other.GetBody = func() (io.ReadCloser, error) { return body(), nil } // if the idle connection was closed
	case ok:
		other.Body = struct{ io.ReadCloser }{r.Body}
	default:
		return t.RoundTripper.RoundTrip(r)
	}
	return t.RoundTripper.RoundTrip(&other)
}

// readBody reads and closes the body of a request, and returns a func that returns a body with the same bytes. It reads
// one byte more than the request announces, so that net/http finds a body that is too long.
func readBody(r *http.Request) (func() io.ReadCloser, error) {
	defer r.Body.Close() // its error does not matter: the bytes are read
	b := make([]byte, r.ContentLength+1)
	n, err := io.ReadFull(r.Body, b)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	return func() io.ReadCloser { return io.NopCloser(bytes.NewReader(b[:n])) }, nil
}

// CloseIdleConnections is called by the method of http.Client.
func (t memoryBodyTransport) CloseIdleConnections() {
	if c, ok := t.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// loader holds how the configuration was loaded. It is one of the configuration's sources, so that a profile that is
// loaded later follows the same rules.
type loader struct {
	opts         LoadOptions
	files        *awsfiles.Source
	ignored      []awsfiles.Problem // settings that are set but have no effect
	baseEndpoint *string            // AWS_ENDPOINT_URL or similar; nil: AWS itself
	metadata     aws.HTTPClient     // for services on this machine

	// without the CA bundle: each load adds it again, to a pool that copies of the client share
	client *awshttp.BuildableClient
}

func loaderOf(cfg aws.Config) *loader {
	for _, s := range cfg.ConfigSources {
		if l, ok := s.(*loader); ok {
			return l
		}
	}
	client := awshttp.NewBuildableClient() // the configuration was not made by LoadAWS
	return &loader{files: new(awsfiles.Source), client: client, metadata: client.WithTimeout(attemptTimeout).Freeze()}
}

// apiOptions adds our name to the user agent of every call. For listings, only headers that a step of Build adds have
// an effect: collectors/internal/call records them once for each region.
func (l *loader) apiOptions() []func(*middleware.Stack) error {
	version := l.opts.Version
	if version == "" {
		version = "dev"
	}
	return []func(*middleware.Stack) error{awsmiddleware.AddUserAgentKeyValue("collector", version)}
}

// imds is the one client of the instance metadata service.
func (l *loader) imds(cfg aws.Config) *imds.Client {
	cfg.HTTPClient = l.metadata
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = callAttempts
			o.RateLimiter = ratelimit.None
			// A busy instance responds with 429, which the SDK does not retry (aws/aws-sdk-go-v2#1995).
			o.Retryables = append(
				o.Retryables,
				retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{http.StatusTooManyRequests: {}}},
			)
		})
	}
	return imds.NewFromConfig(cfg, func(o *imds.Options) {
		if l.opts.IMDSEndpoint != "" {
			o.Endpoint = l.opts.IMDSEndpoint
		}
		if l.overridesIMDS() {
			o.ClientEnableState = imds.ClientEnabled
		}
	})
}

// overridesIMDS reports whether the program chose the metadata service, so that the environment does not apply.
func (l *loader) overridesIMDS() bool { return l.opts.Isolated || l.opts.IMDSEndpoint != "" }

// retryer is the standard mode with explicit limits, and without the SDK's rate limiter: all callers of a client share
// it, and an account whose STS hangs would use it up for the others.
func retryer(attempts int) func() aws.Retryer {
	if attempts <= 0 {
		attempts = callAttempts
	}
	return func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = attempts
			o.MaxBackoff = callBackoff
			o.RateLimiter = ratelimit.None
		})
	}
}

// withoutSecrets returns the sources without the keys that the SDK read: an aws.Config may be printed.
func withoutSecrets(sources []any) []any {
	out := make([]any, 0, len(sources)+1)
	for _, s := range sources {
		switch s := s.(type) {
		case awsconfig.EnvConfig:
			s.Credentials, s.ContainerAuthorizationToken = aws.Credentials{}, ""
			out = append(out, s)
		case awsconfig.SharedConfig:
			s.Credentials, s.Source = aws.Credentials{}, nil
			out = append(out, s)
		default:
			out = append(out, s)
		}
	}
	return out
}

// noCredentials is for clients that are made without an account.
type noCredentials struct{}

func (noCredentials) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{}, &record.Fault{
		Reason: record.NoCredentials,
		Err:    errors.New("this client has no session"),
	}
}

func (l *loader) String() string { return fmt.Sprintf("loader(isolated %t)", l.opts.Isolated) }
