package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/userfile"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// sdkStep is a profile of the shared AWS files, or the default chain (environment, shared files, SSO, web identity,
// container, instance role). A route says where the credentials are, and the SDK's providers get them. The files are
// read again each time credentials are due, so that rotated ones are noticed.
type sdkStep struct {
	profile  string // "" is the chain
	region   string // whose STS a hop inside asks
	loader   *loader
	getenv   func(string) string
	sts      stsClient
	sso      *ssoTokens
	instance Provider // the one instance role

	issuedSession
}

func (s *sdkStep) Name() string {
	if s.profile != "" {
		return "profile " + s.profile
	}
	return "default chain"
}

// found is Name with where the SDK found the credentials.
func (s *sdkStep) found(source string) string { return fmt.Sprintf("%s (%s)", s.Name(), source) }

func (s *sdkStep) Key() string { return fmt.Sprintf("sdk %q %s", s.profile, s.region) }

func (s *sdkStep) Retrieve(ctx context.Context, _ Provider) (aws.Credentials, error) {
	ctx, cancel := withTimeout(ctx, 2*callTimeout, s.Name())
	defer cancel()
	files, env := s.loader.readSharedFiles(), s.loader.environment(s.getenv)
	r, err := files.routeOf(s.loader, s.profile, env)
	if err != nil {
		return aws.Credentials{}, err
	}
	cfg := s.loader.profileConfig(files, r.profile)
	cfg.Region, cfg.HTTPClient = s.region, s.sts.client.Options().HTTPClient
	c, err := s.source(ctx, cfg, files, env, r)
	for i := 0; err == nil && i < len(r.roles); i++ {
		c, err = s.assume(ctx, cfg, c, r.roles[i])
	}
	if err != nil {
		return aws.Credentials{}, s.explain(timeoutCause(ctx, err), r)
	}
	return c, nil
}

// source gets the credentials that a route begins with.
func (s *sdkStep) source(ctx context.Context, cfg aws.Config, files *sharedFiles, env environment,
	r *route) (aws.Credentials, error) {
	switch r.source {
	case fromEnvironment:
		if !env.key.HasKeys() {
			return aws.Credentials{}, fault(record.NoCredentials, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "+
				"remove credential_source from the profile",
				"%s: credential_source is Environment, and AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set", s.Name())
		}
		return env.key, nil
	case fromCredentialsFile, fromConfigFile:
		return r.section.accessKey(r.source), nil
	case fromWebIdentity:
		return stscreds.NewWebIdentityRoleProvider(stsAdapter{web: s.sts.client, step: s}, r.webIdentity.role,
			tokenFile(r.webIdentity.tokenFile), func(o *stscreds.WebIdentityRoleOptions) {
				o.RoleSessionName = r.webIdentity.session
			}).Retrieve(ctx)
	case fromSSO:
		return s.fromSSO(ctx, cfg, files, r)
	case fromLogin:
		return s.fromLogin(ctx, cfg, r)
	case fromProcess:
		return runCredentialProcess(ctx, s.Name(), r.section.get("credential_process"))
	case fromContainer:
		return newContainerStep(s.loader, s.getenv).Retrieve(ctx, nil)
	case fromInstance:
		return s.instance.Retrieve(ctx)
	}
	return s.fromMachine(ctx)
}

// fromMachine is where boto3 and the SDK look where nothing says whose credentials to use.
func (s *sdkStep) fromMachine(ctx context.Context) (aws.Credentials, error) {
	if c, err := s.loader.botoKey(s.getenv); err != nil || c.HasKeys() {
		return c, err
	}
	if container := newContainerStep(s.loader, s.getenv); container.endpoint != "" {
		return container.Retrieve(ctx, nil)
	}
	c, err := s.instance.Retrieve(ctx)
	switch {
	case err == nil:
	case s.profile == "":
		err = noCredentialsFound(err)
	default:
		err = fault(record.NoCredentials, record.HintOf(err), "%s: it holds no credentials and names no source, and "+
			"there are none in boto 2's files, container or instance metadata: %w", s.Name(), err)
	}
	return c, err
}

// assume enters a profile's role.
func (s *sdkStep) assume(ctx context.Context, cfg aws.Config, c aws.Credentials, r profileRole) (aws.Credentials,
	error) {
	if r.serial != "" {
		return c, fault(record.MFANeeded, "the default profile asks for MFA: name it as `profile`, and give "+
			"`totp_seed`, `token_command` or `token_code`", "%s: role %s asks for MFA", s.Name(), r.arn)
	}
	cfg.Credentials = staticCredentials(c)
	return stscreds.NewAssumeRoleProvider(stsAdapter{role: sts.NewFromConfig(cfg), step: s}, r.arn,
		func(o *stscreds.AssumeRoleOptions) {
			o.Duration = orDefault(r.duration, defaultRoleSession) // the SDK's own default is 15 minutes
			o.RoleSessionName = firstNonEmpty(r.session, roleSessionName)
			if r.externalID != "" {
				o.ExternalID = aws.String(r.externalID)
			}
		}).Retrieve(ctx)
}

// tokenFile gives a web identity's token.
type tokenFile string

// safePath is a path as an error may show it. People put the token itself where its file is to be named.
func safePath(path string) string {
	if filepath.IsAbs(path) && !strings.ContainsAny(path, "\r\n\t ") {
		return path
	}
	return "(not an absolute path, and not shown)"
}

// GetIdentityToken is stscreds'.
func (f tokenFile) GetIdentityToken() ([]byte, error) {
	b, err := userfile.Read(context.Background(), string(f), 1<<20)
	if err != nil {
		return nil, fault(record.NoCredentials, "look at web_identity_token_file or AWS_WEB_IDENTITY_TOKEN_FILE, and "+
			"at the pod's volumes", "web identity: the token's file %s cannot be read: %s", safePath(string(f)), fileErrorCause(err))
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, fault(record.NoCredentials, "whoever writes the token wrote none",
			"web identity: the token's file %s is empty", safePath(string(f)))
	}
	return b, nil
}

// noCredentialsFound is the end of the default chain.
func noCredentialsFound(err error) error {
	return fault(record.NoCredentials, record.HintOf(err),
		"default chain: no credentials in the environment (AWS_ACCESS_KEY_ID), the shared files (AWS_PROFILE), web identity, boto 2's files, container or instance metadata: %w", err)
}

// stsAdapter sends the calls of a chain that the SDK builds the way of all others: over the one transport, to the account's
// region, to the endpoint that was configured. Left alone, the SDK asks STS before it has read AWS_ENDPOINT_URL.
type stsAdapter struct {
	role stscreds.AssumeRoleAPIClient
	web  stscreds.AssumeRoleWithWebIdentityAPIClient
	step *sdkStep
}

func (s stsAdapter) applyOptions(o *sts.Options) {
	ours := s.step.sts.client.Options()
	o.Region, o.BaseEndpoint, o.HTTPClient, o.Retryer = s.step.region, ours.BaseEndpoint, ours.HTTPClient, ours.Retryer
}

func (s stsAdapter) AssumeRole(ctx context.Context, in *sts.AssumeRoleInput, o ...func(*sts.Options)) (*sts.AssumeRoleOutput, error) {
	ctx, cancel := withTimeout(ctx, callTimeout, "sts:AssumeRole in "+s.step.region) // the SDK's cache has stripped ours
	defer cancel()
	out, err := s.role.AssumeRole(ctx, in, append(o, s.applyOptions)...)
	if err == nil && !isComplete(out.Credentials) {
		err = errIncomplete // which the SDK does not look for
	}
	if err != nil {
		return nil, explain(timeoutCause(ctx, err), errorContext{
			operation: s.step.Name() + ": assume role " + aws.ToString(in.RoleArn), signer: "its source", role: aws.ToString(in.RoleArn),
			region: s.step.region, externalID: in.ExternalId != nil,
		})
	}
	s.step.set(out.Credentials, out.AssumedRoleUser)
	return out, nil
}

func (s stsAdapter) AssumeRoleWithWebIdentity(ctx context.Context, in *sts.AssumeRoleWithWebIdentityInput, o ...func(*sts.Options)) (*sts.AssumeRoleWithWebIdentityOutput, error) {
	ctx, cancel := withTimeout(ctx, callTimeout, "sts:AssumeRoleWithWebIdentity in "+s.step.region)
	defer cancel()
	in.WebIdentityToken = aws.String(strings.TrimSpace(aws.ToString(in.WebIdentityToken))) // AWS refuses a trailing newline
	out, err := s.web.AssumeRoleWithWebIdentity(ctx, in, append(o, s.applyOptions)...)
	if err == nil && !isComplete(out.Credentials) {
		err = errIncomplete
	}
	if err != nil {
		return nil, explain(timeoutCause(ctx, err), errorContext{
			operation: s.step.Name() + ": assume role " + aws.ToString(in.RoleArn) + " with web identity", signer: "the web identity token",
			role: aws.ToString(in.RoleArn), region: s.step.region, code: aws.ToString(in.WebIdentityToken),
		})
	}
	s.step.set(out.Credentials, out.AssumedRoleUser)
	return out, nil
}

// mfaProfile is a profile that asks for MFA, taken apart into what this package does itself: the SDK would want a code for
// each role and each renewal.
type mfaProfile struct {
	key    keyStep
	serial string
	roles  []config.Role
}

// readMFAProfile reads a profile. It is nil where nothing in the profile's chain asks for MFA: then sdkStep does it all.
// What
// is wrong with the profile is said there as well.
func readMFAProfile(l *loader, name string) (*mfaProfile, error) {
	r, err := l.readSharedFiles().routeOf(l, name, environment{})
	if err != nil {
		return nil, err
	}
	var m mfaProfile
	serials := []string{}
	if r.section != nil && !r.section.has("role_arn") { // else it is asked for by that role
		serials = append(serials, r.section.get("mfa_serial")) // of a user whose own calls ask for it
	}
	for _, at := range r.roles {
		serials = append(serials, at.serial)
		m.roles = append(m.roles, config.Role{ARN: at.arn, RoleSession: config.RoleSession{SessionName: at.session,
			ExternalID: at.externalID, Duration: config.Duration(at.duration)}})
	}
	for _, serial := range serials {
		if serial != "" && m.serial != "" && m.serial != serial {
			return nil, fault(record.MFASerial, "one device can be asked for a code in a chain of profiles",
				"profile %s: two devices, %s and %s", name, m.serial, serial)
		}
		m.serial = firstNonEmpty(m.serial, serial)
	}
	if m.serial == "" {
		return nil, nil
	}
	if r.source != fromCredentialsFile && r.source != fromConfigFile {
		return nil, fault(record.NoCredentials, "MFA needs a user's long-lived key: the profile that `source_profile` leads to must have one",
			"profile %s: mfa_serial without aws_access_key_id", name)
	}
	key := r.section.accessKey(r.source)
	m.key = keyStep{key.AccessKeyID, secret.New(key.SecretAccessKey), secret.New(key.SessionToken)}
	return &m, nil
}

// explain is for what goes wrong between the route and the credentials. Steps that ask somebody say what they know as a
// Fault; the rest is of the SDK's making, and its words are not passed on: they quote files and answers.
func (s *sdkStep) explain(err error, r *route) error {
	var f *record.Fault
	if errors.As(err, &f) {
		return f // without the SDK's words around it
	}
	reason := record.ReasonOf(err)
	if reason == record.Other {
		reason = record.NoCredentials
	}
	return fault(reason, "look at the profile's settings and the files that it names", "%s: %s: %s", s.Name(),
		sourceNames[r.source], safeErrorText(err))
}

// sourceNames is how errors call the sources.
var sourceNames = map[sourceKind]string{
	fromMachine: "machine", fromEnvironment: "environment", fromWebIdentity: "web identity",
	fromSSO: "IAM Identity Center", fromCredentialsFile: "credentials file",
	fromLogin: "login session", fromProcess: "credential_process", fromConfigFile: "config file",
	fromContainer: "container", fromInstance: "instance role",
}
