package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/aws-collector/collector/internal/userfile"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// A key is written in the block itself.
type keyStep struct {
	id     string
	secret secret.String
	token  secret.String
}

func (*keyStep) constant() {}

func (s *keyStep) Name() string { return "ak " + maskID(s.id) }

func (s *keyStep) Key() string {
	return "ak " + s.id + " " + digest(s.secret.Reveal()) + " " + digest(s.token.Reveal())
}

func (s *keyStep) Retrieve(context.Context, Provider) (aws.Credentials, error) {
	if s.id == "" || s.secret.IsZero() {
		return aws.Credentials{}, fault(record.NoCredentials, "a key is `ak_id` and `ak_secret` together", "%s: half a key", s.Name())
	}
	if strings.HasPrefix(s.id, "ASIA") && s.token.IsZero() {
		return aws.Credentials{}, fault(record.NoCredentials, "a temporary key (ASIA…) is no good without its `session_token`", "%s: no session token", s.Name())
	}
	return aws.Credentials{AccessKeyID: s.id, SecretAccessKey: s.secret.Reveal(), SessionToken: s.token.Reveal(), Source: "configuration"}, nil
}

// maskID shows as much of a key id as is needed to tell keys apart.
func maskID(id string) string {
	if len(id) < 12 {
		return "****"
	}
	return id[:4] + "…" + id[len(id)-4:]
}

// digest stands for a secret in a key of a map.
func digest(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:16])
}

// envStep is `credential_source: Environment`.
type envStep struct{ getenv func(string) string }

func (*envStep) Name() string { return "environment" }
func (*envStep) Key() string  { return "environment" }

func (s *envStep) Retrieve(context.Context, Provider) (aws.Credentials, error) {
	first := func(names ...string) string {
		for _, n := range names {
			if v := s.getenv(n); v != "" {
				return v
			}
		}
		return ""
	}
	c := aws.Credentials{
		AccessKeyID:     first("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"),
		SecretAccessKey: first("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"),
		SessionToken:    first("AWS_SESSION_TOKEN"),
		Source:          "environment",
	}
	if !c.HasKeys() {
		return aws.Credentials{}, fault(record.NoCredentials, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or leave `credential_source` out for the default chain",
			"environment: AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set")
	}
	return c, nil
}

// imdsStep is the role of the instance that this program runs on. One client serves all: its token is good for hours.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
type imdsStep struct {
	client   *imds.Client
	disabled func() bool // AWS_EC2_METADATA_DISABLED
}

func (*imdsStep) Name() string { return "instance role" }
func (*imdsStep) Key() string  { return "imds" }

func (s *imdsStep) Retrieve(ctx context.Context, _ Provider) (aws.Credentials, error) {
	if s.disabled() {
		return aws.Credentials{}, imdsDisabled()
	}
	ctx, cancel := withTimeout(ctx, callTimeout, "the instance metadata service")
	defer cancel()
	c, err := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = s.client }).Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, imdsFault(timeoutCause(ctx, err))
	}
	return c, nil
}

func imdsDisabled() error {
	return fault(record.NoCredentials, "AWS_EC2_METADATA_DISABLED=true turns the instance role off: unset it, or give the account credentials of its own",
		"instance role: the instance metadata service is disabled")
}

const hopLimitHint = "in a container the hop limit of 1 swallows the answer: raise it with `aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2`"

// fromIMDS reports whether err began at the instance metadata service, however deep in a chain.
func fromIMDS(err error) bool {
	for op := new(smithy.OperationError); errors.As(err, &op); err = op.Err {
		if op.ServiceID == imds.ServiceID {
			return true
		}
	}
	return false
}

func imdsFault(err error) error {
	var re *smithyhttp.ResponseError
	status := 0
	if errors.As(err, &re) {
		status = re.HTTPStatusCode()
	}
	// Not in the SDK's words, which quote the answer: it is the credentials.
	f := &record.Fault{Reason: record.NoCredentials, Err: textError("instance role: " + safeErrorText(err))}
	switch {
	case record.CodeOf(err) != "":
		f.Hint = "the instance profile's role does not trust ec2.amazonaws.com, or was deleted: look at `aws iam get-instance-profile`"
	case status == http.StatusNotFound:
		f.Hint = "the instance has no role: attach an instance profile, or give the account credentials of its own"
	case status == http.StatusUnauthorized:
		f.Hint = "the metadata service asks for a token and none could be had: " + hopLimitHint
	default:
		f.Hint = "no metadata service answers: this may be no EC2 instance; " + hopLimitHint + "; a firewall may also keep 169.254.169.254 from this process"
	}
	return f
}

// containerStep is the credentials endpoint of an ECS task or an EKS pod.
// https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
type containerStep struct {
	http     aws.HTTPClient
	options  []func(*middleware.Stack) error
	endpoint string
	token    secret.String
	file     string // of the token; read again each time, as it is rotated
	trusted  bool   // the endpoint is the program's own choice
}

func (*containerStep) Name() string { return "container" }

func (s *containerStep) Key() string {
	return "container " + s.endpoint + " " + digest(s.token.Reveal()) + " " + s.file
}

func (s *containerStep) Retrieve(ctx context.Context, _ Provider) (aws.Credentials, error) {
	if s.endpoint == "" {
		return aws.Credentials{}, fault(record.NoCredentials, "EcsContainer works in an ECS task or an EKS pod with an identity association",
			"container: neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set")
	}
	if !s.trusted {
		if err := checkEndpointHost(ctx, s.endpoint); err != nil {
			return aws.Credentials{}, err
		}
	}
	token := s.token.Reveal()
	if s.file != "" {
		b, err := userfile.Read(ctx, s.file, 1<<20)
		if err != nil {
			return aws.Credentials{}, fault(record.NoCredentials, "look at AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE and "+
				"the pod's volumes", "container: %s: %s", s.file, fileErrorCause(err))
		}
		token = strings.TrimSpace(string(b)) // the SDK refuses the newline that an editor leaves
	}
	ctx, cancel := withTimeout(ctx, callTimeout, "the container's credentials endpoint")
	defer cancel()
	c, err := endpointcreds.New(s.endpoint, func(o *endpointcreds.Options) {
		o.HTTPClient, o.AuthorizationToken, o.Retryer, o.APIOptions = s.http, token, retryer(callAttempts)(), s.options
	}).Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, fault(record.NoCredentials,
			"the credentials endpoint refused or did not answer: look at the task's role or the pod's identity "+
				"association, and at the authorization token",
			"container: %s", safeErrorText(timeoutCause(ctx, err)))
	}
	return c, nil
}

// agentHosts are the addresses at which ECS and EKS answer.
var agentHosts = []string{"169.254.170.2", "169.254.170.23", "fd00:ec2::23", "localhost"}

// checkEndpointHost refuses to send the authorization token in clear to another machine, as the SDKs do.
func checkEndpointHost(ctx context.Context, endpoint string) error {
	own := func(host string) bool { return slices.Contains(agentHosts, host) || net.ParseIP(host).IsLoopback() }
	u, err := url.Parse(endpoint)
	if err == nil && (u.Scheme == "https" || own(u.Hostname())) {
		return nil
	}
	if err == nil && net.ParseIP(u.Hostname()) == nil && u.Hostname() != "" {
		addrs, err := net.DefaultResolver.LookupHost(ctx, u.Hostname())
		if err == nil && !slices.ContainsFunc(addrs, func(a string) bool { return !own(a) }) {
			return nil
		}
	}
	return fault(record.NoCredentials, "AWS_CONTAINER_CREDENTIALS_FULL_URI is https, or http on loopback and at the agents' addresses",
		"container: the credentials endpoint is another machine's and not https")
}

// newContainerStep reads what an agent puts into the environment. Where the program is isolated, the endpoint is its own choice,
// and getenv what it was handed.
func newContainerStep(l *loader, getenv func(string) string) *containerStep {
	s := &containerStep{
		http: l.metadata, options: l.apiOptions(),
		token: secret.New(getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")), file: getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
	}
	switch path := getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); {
	case l.opts.Isolated:
		s.endpoint, s.trusted = l.opts.ContainerEndpoint, true
	case path != "":
		s.endpoint = "http://169.254.170.2" + path
	default:
		s.endpoint = getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	}
	return s
}
