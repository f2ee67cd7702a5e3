package auth

import (
	"context"
	"encoding/base64"
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
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/smithy-go/middleware"

	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/internal/userfile"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

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
		return aws.Credentials{}, fault.New(record.NoCredentials,
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
			return aws.Credentials{}, fault.New(record.NoCredentials,
				"Check AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE and the pod's volumes.",
				"container: %s: %s", s.file, fault.FileCause(err))
		}
		token = strings.TrimSpace(string(b)) // the SDK refuses a trailing newline
	}
	ctx, cancel := fault.WithTimeout(ctx, callTimeout, "the container's credentials endpoint")
	defer cancel()
	c, err := endpointcreds.New(s.endpoint, func(o *endpointcreds.Options) {
		o.HTTPClient, o.APIOptions = s.http, s.options
		o.AuthorizationToken, o.Retryer = token, retryer(callAttempts)()
	}).Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, s.explain(fault.TimeoutCause(ctx, err), token)
	}
	return c, partNames.check(s.Name(), c)
}

// explain is the error of the endpoint. The agents of ECS and EKS respond with texts, which are not shown: only the
// status and the token itself say what is wrong.
func (s *containerStep) explain(err error, token string) error {
	text := "container: " + fault.SafeText(err)
	f := &record.Fault{Reason: record.NoCredentials, Err: errors.New(text),
		Hint: "Check the task's role or the pod's identity association, and the authorization token."}
	status := fault.HTTPStatus(err)
	at, isJWT := tokenExpiry(token)
	switch {
	case status/100 == 4 && isJWT && !now().Before(at):
		f.Reason = record.Expired
		f.Err = fmt.Errorf("%s; the authorization token in %s expired at %s", text, fault.SafePath(s.file),
			at.UTC().Format(time.RFC3339))
		f.Hint = "Renew the token in " + fault.SafePath(s.file) + ". In a pod, the kubelet renews it: check that the file " +
			"is the projected volume itself and not a copy, and restart the pod."
	case status == http.StatusNotFound:
		f.Hint = "Check that the task has a role, or that the pod's service account has an identity association: " +
			"the endpoint has no credentials for it."
	case status >= http.StatusInternalServerError, status == 0 && fault.NetworkText(err) != "":
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
	return fault.New(record.NoCredentials,
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
