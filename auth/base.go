package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/aws-collector/collector/auth/internal/awsfiles"
	"github.com/aws-collector/collector/internal/userfile"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// keyStep is the access key in a block.
type keyStep struct {
	id     string
	secret secret.String
	token  secret.String
}

func (*keyStep) constant() {}

func (s *keyStep) Name() string { return "ak " + maskID(s.id) }

func (s *keyStep) Key() string {
	return "ak " + s.id + " " + hashSecret(s.secret.Reveal()) + " " + hashSecret(s.token.Reveal())
}

func (s *keyStep) Retrieve(context.Context, Provider) (aws.Credentials, error) {
	if s.id == "" || s.secret.IsZero() {
		return aws.Credentials{}, fault(record.NoCredentials, "Set both `ak_id` and `ak_secret`.",
			"%s: ak_id or ak_secret is missing", s.Name())
	}
	if strings.HasPrefix(s.id, "ASIA") && s.token.IsZero() {
		return aws.Credentials{}, fault(record.NoCredentials,
			"Set `session_token` too: a temporary key (ASIA…) does not work without it.",
			"%s: no session token", s.Name())
	}
	c := aws.Credentials{
		AccessKeyID:     s.id,
		SecretAccessKey: s.secret.Reveal(),
		SessionToken:    s.token.Reveal(),
		Source:          "configuration",
	}
	return c, keyNames{"ak_id", "ak_secret", "session_token"}.check(s.Name(), c)
}

// keyNames are the names of a key's parts where it was read.
type keyNames struct{ id, secret, token string }

var (
	variableNames = keyNames{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
	partNames     = keyNames{"the access key id", "the secret access key", "the session token"}
)

// check refuses a key with a character that no key has, such as the line break of a file that was copied into a
// variable. Otherwise the HTTP client refuses the request or AWS the signature, and neither names the cause.
func (n keyNames) check(operation string, c aws.Credentials) error {
	for _, part := range []struct{ name, text string }{
		{n.id, c.AccessKeyID}, {n.secret, c.SecretAccessKey}, {n.token, c.SessionToken},
	} {
		i := strings.IndexFunc(part.text, func(r rune) bool { return r <= ' ' || r >= 0x7f })
		if i < 0 {
			continue
		}
		what := "contains a character that no key has"
		switch trimmed := strings.TrimSpace(part.text); {
		case len(strings.TrimRight(part.text, "\r\n")) == i:
			what = "ends with a line break"
		case len(trimmed) < len(part.text):
			what = "begins or ends with a space"
		}
		return fault(record.NoCredentials, "Remove it from the value: "+
			"a line break is often that of a file which was copied with its last line.",
			"%s: %s %s", operation, part.name, what)
	}
	return nil
}

// maskID shows just enough of a key id to tell keys apart.
func maskID(id string) string {
	if len(id) < 12 {
		return "****"
	}
	return id[:4] + "…" + id[len(id)-4:]
}

// hashSecret replaces a secret in a map key.
func hashSecret(s string) string {
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
		SessionToken:    first("AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"), // the old name first, as in boto3
		Source:          "environment",
	}
	if !c.HasKeys() {
		return aws.Credentials{}, fault(record.NoCredentials,
			"Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or remove `credential_source` to use the default chain.",
			"environment: AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set")
	}
	return c, variableNames.check(s.Name(), c)
}

// imdsStep is the role of the instance that this program runs on. All accounts share one client and its token.
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
	return fault(record.NoCredentials,
		"Unset AWS_EC2_METADATA_DISABLED, or give the account its own credentials.",
		"instance role: AWS_EC2_METADATA_DISABLED=true disables the instance metadata service")
}

const hopLimitHint = "In a container, raise the hop limit: `aws ec2 modify-instance-metadata-options " +
	"--http-put-response-hop-limit 2`; with a hop limit of 1, no response reaches a container."

// fromIMDS reports whether err comes from the instance metadata service, at any depth of a chain.
func fromIMDS(err error) bool {
	for op := new(smithy.OperationError); errors.As(err, &op); err = op.Err {
		if op.ServiceID == imds.ServiceID {
			return true
		}
	}
	return false
}

func imdsFault(err error) error {
	status, noToken := httpStatus(err), false
	// The SDK hides the status 401 that follows a request for a token without a response.
	var hidden interface{ RetryableError() bool }
	if status == 0 && errors.As(err, &hidden) && networkErrorText(err) == "" {
		noToken = true
	}
	// The SDK's text is not used: it quotes the response, which is the credentials.
	text := safeErrorText(err)
	if noToken {
		text = "the metadata service requires a token (IMDSv2), and the request for one got no response"
	}
	f := &record.Fault{Reason: record.NoCredentials, Err: textError("instance role: " + text)}
	switch {
	case noToken:
		f.Hint = hopLimitHint
	case record.CodeOf(err) != "":
		f.Hint = "Check the instance profile with `aws iam get-instance-profile`: " +
			"its role was deleted or does not trust ec2.amazonaws.com."
	case status == http.StatusNotFound:
		f.Hint = "Attach an instance profile, or give the account its own credentials: the instance has no role."
	case status == http.StatusForbidden:
		f.Hint = "Enable the metadata service: `aws ec2 modify-instance-metadata-options --http-endpoint enabled`; " +
			"or let no proxy forward the request: the service refuses forwarded requests, and all when it is disabled."
	case status == http.StatusUnauthorized:
		f.Hint = hopLimitHint + " The metadata service requires a token, and did not issue one."
	default:
		f.Hint = "Check that this is an EC2 instance and that no firewall blocks 169.254.169.254. " + hopLimitHint
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
	file     string // of the token; read each time, because it is rotated
	trusted  bool   // the program itself chose the endpoint
}

func (*containerStep) Name() string { return "container" }

func (s *containerStep) Key() string {
	return "container " + s.endpoint + " " + hashSecret(s.token.Reveal()) + " " + s.file
}

func (s *containerStep) Retrieve(ctx context.Context, _ Provider) (aws.Credentials, error) {
	if s.endpoint == "" {
		return aws.Credentials{}, fault(record.NoCredentials,
			"Use EcsContainer in an ECS task, or in an EKS pod with an identity association.",
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
			return aws.Credentials{}, fault(record.NoCredentials,
				"Check AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE and the pod's volumes.",
				"container: %s: %s", s.file, awsfiles.ErrorCause(err))
		}
		token = strings.TrimSpace(string(b)) // the SDK refuses a trailing newline
	}
	ctx, cancel := withTimeout(ctx, callTimeout, "the container's credentials endpoint")
	defer cancel()
	c, err := endpointcreds.New(s.endpoint, func(o *endpointcreds.Options) {
		o.HTTPClient, o.APIOptions = s.http, s.options
		o.AuthorizationToken, o.Retryer = token, retryer(callAttempts)()
	}).Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, s.fault(timeoutCause(ctx, err), token)
	}
	return c, partNames.check(s.Name(), c)
}

// fault is the error of the endpoint. The agents of ECS and EKS respond with texts, which are not shown: only the
// status and the token itself say what is wrong.
func (s *containerStep) fault(err error, token string) error {
	text := "container: " + safeErrorText(err)
	f := &record.Fault{Reason: record.NoCredentials, Err: textError(text),
		Hint: "Check the task's role or the pod's identity association, and the authorization token."}
	status := httpStatus(err)
	at, isJWT := tokenExpiry(token)
	switch {
	case status/100 == 4 && isJWT && !now().Before(at):
		f.Reason = record.Expired
		f.Err = textError(fmt.Sprintf("%s; the authorization token in %s expired at %s", text, safePath(s.file),
			at.UTC().Format(time.RFC3339)))
		f.Hint = "Renew the token in " + safePath(s.file) + ". In a pod, the kubelet renews it: check that the file is the " +
			"projected volume itself and not a copy, and restart the pod."
	case status == http.StatusNotFound:
		f.Hint = "Check that the task has a role, or that the pod's service account has an identity association: " +
			"the endpoint has no credentials for it."
	case status >= http.StatusInternalServerError, status == 0 && networkErrorText(err) != "":
		if f.Reason = record.ReasonOf(err); status != 0 {
			f.Reason = record.Other
		}
		f.Hint = "Check that the agent of ECS or EKS Pod Identity runs on this node, and that no firewall or proxy blocks " +
			"it. The next run tries again."
	}
	return f
}

// tokenExpiry reads the expiry of a JSON Web Token; false: text is none.
func tokenExpiry(text string) (time.Time, bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Expires int64 `json:"exp"`
	}
	if json.Unmarshal(b, &claims) != nil || claims.Expires == 0 {
		return time.Time{}, false
	}
	return time.Unix(claims.Expires, 0), true
}

// agentHosts are the addresses of the ECS and EKS agents.
var agentHosts = []string{"169.254.170.2", "169.254.170.23", "fd00:ec2::23", "localhost"}

// checkEndpointHost refuses to send the authorization token unencrypted to another machine, as the SDKs do.
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
	return fault(record.NoCredentials,
		"Set AWS_CONTAINER_CREDENTIALS_FULL_URI to an https URL, or to http on loopback or at an agent's address.",
		"container: the credentials endpoint is on another machine and does not use https")
}

// newContainerStep reads the variables that an agent sets. If the program is isolated, it chose the endpoint itself,
// and getenv returns what it was given.
func newContainerStep(l *loader, getenv func(string) string) *containerStep {
	s := &containerStep{
		http:    l.metadata,
		options: l.apiOptions(),
		token:   secret.New(getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")),
		file:    getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
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
