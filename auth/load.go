package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

	"github.com/aws-collector/collector/record"
)

// LoadOptions says how the SDK is loaded. The zero value is an ordinary program on an ordinary machine: the
// environment and the shared files decide. The rest is for a collector that runs against another AWS than the real one.
type LoadOptions struct {
	Version       string // of this program, in the user agent: collector/VERSION
	CallsInFlight int    // so many connections are kept open; default 256

	Endpoint     string                                                            // base URL of every service, STS inside chains included
	IMDSEndpoint string                                                            // base URL of the instance metadata service
	DialContext  func(ctx context.Context, network, addr string) (net.Conn, error) // instead of the network
	Isolated     bool                                                              // neither the environment nor the standard shared files are read

	// full URL of the container credentials; only where Isolated. Their token comes by Options.Getenv
	ContainerEndpoint string
	// where the environment has to be read by variables, as the SDK can make nothing of one
	Getenv           func(string) string
	ConfigFiles      []string // shared config files; nil: the standard ones, none where Isolated
	BotoFiles        []string // boto 2's files; likewise
	CredentialsFiles []string // shared credentials files; likewise
}

// What a call to STS or to a metadata service may cost. An attempt is cut off before the whole is, so that a connection
// that died in silence costs one attempt.
const (
	callTimeout    = 30 * time.Second // a call with its retries
	attemptTimeout = 10 * time.Second
	callAttempts   = 3
	callBackoff    = 5 * time.Second // the most between two attempts
)

// LoadAWS loads the SDK's configuration and builds the one transport; it sends nothing. It is called once a process:
// with AWS_CA_BUNDLE a load costs milliseconds and a transport has connections of its own. Everything that the SDK reads
// from the environment is honoured (AWS_ENDPOINT_URL and its kin, AWS_CA_BUNDLE, proxies, AWS_USE_FIPS_ENDPOINT,
// AWS_USE_DUALSTACK_ENDPOINT, AWS_CONFIG_FILE…). The configuration has no credentials: those are a [Session]'s.
func LoadAWS(ctx context.Context, o LoadOptions) (aws.Config, error) {
	l := &loader{opts: o}
	l.client = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
		n := o.CallsInFlight
		if n <= 0 {
			n = 256
		}
		tr.MaxIdleConns, tr.MaxIdleConnsPerHost = n+16, n // every region is a host; the sign-ins come on top
		// A request is one of these, and an answer's head; bodies are read past them. There are as many as connections.
		tr.ReadBufferSize, tr.WriteBufferSize = 2<<10, 2<<10
		tr.DisableCompression = true // EC2 is asked for it by who unzips its pages; what others answer is small
		if o.DialContext != nil {
			tr.DialContext = o.DialContext
		}
		if o.Isolated {
			tr.Proxy = nil
		}
	})
	cfg := aws.Config{HTTPClient: l.client}
	if !o.Isolated {
		l.env, l.flaws = readEnvironment(o.Getenv) // first: it says which files are read
		l.env.Credentials, l.env.ContainerAuthorizationToken = aws.Credentials{}, ""
		var err error
		if cfg, err = l.load(ctx); err != nil {
			return aws.Config{}, err
		}
	}
	if o.Endpoint != "" {
		cfg.BaseEndpoint = aws.String(o.Endpoint)
	}
	l.baseEndpoint = cfg.BaseEndpoint
	// A client that is handed a BuildableClient makes a transport of its own out of it, with connections of its own.
	if b, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		cfg.HTTPClient = withPlainBodies(b.Freeze()) // with the CA bundle in it
	}
	l.metadata = l.client.WithTransportOptions(func(tr *http.Transport) {
		tr.Proxy = nil // a metadata service is on this machine: no proxy knows it
		tr.ResponseHeaderTimeout = 2 * time.Second
		if o.DialContext == nil {
			tr.DialContext = (&net.Dialer{Timeout: time.Second}).DialContext
		}
	}).WithTimeout(attemptTimeout).Freeze()

	cfg.APIOptions = append(cfg.APIOptions, l.apiOptions()...)
	cfg.Retryer = retryer(cfg.RetryMaxAttempts)
	cfg.Logger = logging.Nop{} // the SDK's logger writes past ours
	cfg.Credentials = noCredentials{}
	cfg.ConfigSources = append(withoutSecrets(cfg.ConfigSources), l)
	return cfg, nil
}

// load is the SDK's own configuration. Where the SDK refuses something, which may be one line of a profile that no
// account
// uses, it is made of what can be read: who uses the rest is told so when it signs in.
func (l *loader) load(ctx context.Context) (aws.Config, error) {
	var pem []byte
	if file := l.env.CustomCABundle; file != "" { // each call would be one of those that it was meant for
		var err error
		if pem, err = readCABundle(file); err != nil {
			return aws.Config{}, fault(record.Other, "AWS_CA_BUNDLE must name a file of certificates as PEM",
				"load the AWS configuration: AWS_CA_BUNDLE: %w", err)
		}
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, append(l.files(),
		awsconfig.WithHTTPClient(l.client),
		awsconfig.WithCredentialsProvider(aws.AnonymousCredentials{}), // resolved by account, not here
	)...)
	files := l.readSharedFiles()
	p := files.profiles[firstNonEmpty(l.env.SharedConfigProfile, "default")]
	l.ignored = append(slices.Clone(l.flaws), l.settingFlaws(p)...)
	if err == nil || ctx.Err() != nil {
		return cfg, context.Cause(ctx)
	}
	settings, _ := files.settingsOf(p)
	client := l.client
	if pem == nil && settings.CustomCABundle != "" {
		pem, _ = readCABundle(settings.CustomCABundle) // settingFlaws says what is wrong with it
	}
	if pem != nil {
		client = withCABundle(client, pem)
	}
	return sdkConfig(l.env, settings, client), nil
}

// profileConfig is the SDK's configuration by a profile's settings, for the clients of its chain.
func (l *loader) profileConfig(files *sharedFiles, profile string) aws.Config {
	settings, _ := files.settingsOf(files.profiles[profile])
	cfg := sdkConfig(l.env, settings, nil)
	cfg.APIOptions = l.apiOptions()
	cfg.Retryer = retryer(0)
	cfg.Logger = logging.Nop{}
	return cfg
}

// environment is the variables by which credentials are found, as they are now.
func (l *loader) environment(getenv func(string) string) environment {
	if l.opts.Isolated {
		return environment{}
	}
	env, _ := awsconfig.NewEnvConfig() // what is wrong with it is in l.flaws; what is asked for here is read before
	e := environment{key: env.Credentials, webIdentity: webIdentity{env.WebIdentityTokenFilePath, env.RoleARN,
		env.RoleSessionName}, profile: env.SharedConfigProfile}
	if old := getenv("AWS_SECURITY_TOKEN"); old != "" && e.key.HasKeys() {
		e.key.SessionToken = old // the old name; boto3 looks at it first
	}
	e.incompleteKey = !e.key.HasKeys() && getenv("AWS_ACCESS_KEY_ID") != ""
	if other := getenv("AWS_DEFAULT_PROFILE"); other != e.profile {
		e.defaultProfile = other
	}
	return e
}

// withPlainBodies is a client that reads its requests' bodies instead of letting them write themselves. The SDK closes a body
// as soon as the answer's head is there, and its wrapper's WriteTo says EOF as an error from then on, which net/http
// takes for a failed write: it then closes the connection under the answer, and the next call needs a new one.
func withPlainBodies(c aws.HTTPClient) aws.HTTPClient {
	return withTransport(c, func(t http.RoundTripper) http.RoundTripper { return plainBodyTransport{t} })
}

// withTransport is the same client with another transport, where it is one that has a transport.
func withTransport(c aws.HTTPClient, transport func(http.RoundTripper) http.RoundTripper) aws.HTTPClient {
	h, ok := c.(*http.Client)
	if !ok {
		return c
	}
	other := *h
	other.Transport = transport(h.Transport)
	return &other
}

type plainBodyTransport struct{ http.RoundTripper }

func (t plainBodyTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, ok := r.Body.(io.WriterTo); ok {
		plain := *r
		plain.Body = struct{ io.ReadCloser }{r.Body}
		r = &plain
	}
	return t.RoundTripper.RoundTrip(r)
}

// CloseIdleConnections is what http.Client's looks for.
func (t plainBodyTransport) CloseIdleConnections() {
	if c, ok := t.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// loader is what a configuration remembers of how it was loaded. It travels among the configuration's sources, so that
// a profile that is loaded later goes by the same rules.
type loader struct {
	opts         LoadOptions
	env          awsconfig.EnvConfig      // without its keys
	flaws        []Flaw                   // of the environment
	ignored      []Flaw                   // settings that do not hold, though somebody wrote them
	baseEndpoint *string                  // AWS_ENDPOINT_URL or its kin, nil for AWS itself
	client       *awshttp.BuildableClient // as it was before a CA bundle: the SDK adds that with each load, to a pool that copies share
	metadata     aws.HTTPClient           // for services on this machine
}

func loaderOf(cfg aws.Config) *loader {
	for _, s := range cfg.ConfigSources {
		if l, ok := s.(*loader); ok {
			return l
		}
	}
	client := awshttp.NewBuildableClient() // a configuration of somebody else's
	return &loader{client: client, metadata: client.WithTimeout(attemptTimeout).Freeze()}
}

// apiOptions is what every call carries: who we are.
func (l *loader) apiOptions() []func(*middleware.Stack) error {
	version := l.opts.Version
	if version == "" {
		version = "dev"
	}
	return []func(*middleware.Stack) error{awsmiddleware.AddUserAgentKeyValue("collector", version)}
}

// files says which shared files are read.
func (l *loader) files() []func(*awsconfig.LoadOptions) error {
	configs, credentials := l.paths()
	// The SDK opens whatever is there, and a pipe has it wait for ever.
	readable := func(files []string) []string {
		return slices.DeleteFunc(append([]string{}, files...), func(file string) bool {
			_, err := readSharedFile(file)
			return err != nil && !errors.Is(err, fs.ErrNotExist)
		})
	}
	return []func(*awsconfig.LoadOptions) error{
		awsconfig.WithSharedConfigFiles(readable(configs)),
		awsconfig.WithSharedCredentialsFiles(readable(credentials)),
	}
}

// imds is the one client of the instance metadata service.
func (l *loader) imds(cfg aws.Config) *imds.Client {
	cfg.HTTPClient = l.metadata
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = callAttempts
			o.RateLimiter = ratelimit.None
			// A busy instance answers 429, which the SDK does not take for a reason to ask again (aws/aws-sdk-go-v2#1995).
			o.Retryables = append(o.Retryables, retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{http.StatusTooManyRequests: {}}})
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

// overridesIMDS reports whether the program chose the metadata service itself, so that the environment has no say in it.
func (l *loader) overridesIMDS() bool { return l.opts.Isolated || l.opts.IMDSEndpoint != "" }

// retryer is the standard mode with its numbers said aloud. Without its rate limiter: that is one bucket for all who use
// the client, and an account whose STS hangs would empty it for the others.
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

// withoutSecrets is sources without the keys that were read on the way: an aws.Config is a thing that people print.
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

// noCredentials stands where a client was made without an account.
type noCredentials struct{}

func (noCredentials) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{}, &record.Fault{Reason: record.NoCredentials, Err: errors.New("this client was made without a session")}
}

func (l *loader) String() string { return fmt.Sprintf("loaded(isolated %t)", l.opts.Isolated) }
