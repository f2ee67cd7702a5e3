package auth

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/aws-collector/collector/auth/internal/awsfiles"
	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/auth/internal/process"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/userfile"
	"github.com/aws-collector/collector/record"
)

// sdkStep is a profile of the shared AWS files, or the default chain (environment, shared files, SSO, web identity,
// container, instance role). A route says where the credentials are, and the SDK's providers get them. The files are
// read again for each renewal, so that rotated credentials are noticed.
type sdkStep struct {
	profile  string // "": the default chain
	ownRoles bool   // the profile's roles are steps of their own: this step is only the source below them
	region   string // of STS, for roles inside
	loader   *loader
	getenv   func(string) string
	sts      stsClient
	sso      *ssoTokens
	instance Provider // the instance role, shared by all

	issuedSession
}

func (s *sdkStep) Name() string {
	if s.profile != "" {
		return "profile " + s.profile
	}
	return "default chain"
}

// nameWithSource is Name, and where the SDK found the credentials.
func (s *sdkStep) nameWithSource(source string) string {
	return fmt.Sprintf("%s (%s)", s.Name(), source)
}

func (s *sdkStep) Key() string { return fmt.Sprintf("sdk %q %s %t", s.profile, s.region, s.ownRoles) }

func (s *sdkStep) Retrieve(ctx context.Context, _ Provider) (aws.Credentials, error) {
	ctx, cancel := fault.WithTimeout(ctx, 2*callTimeout, s.Name())
	defer cancel()
	files, env := s.loader.files.Read(), s.loader.files.Environment(s.getenv)
	r, err := files.Route(s.profile, env)
	if err != nil {
		return aws.Credentials{}, err
	}
	cfg := s.loader.profileConfig(files, r.Profile)
	cfg.Region, cfg.HTTPClient = s.region, s.sts.client.Options().HTTPClient
	c, err := s.source(ctx, cfg, files, env, r)
	if err == nil {
		names := partNames
		if r.Source == awsfiles.FromEnvironment {
			names = variableNames
		}
		err = names.check(s.Name()+": "+r.Source.String(), c)
	}
	for i := 0; err == nil && i < len(r.Roles) && !s.ownRoles; i++ {
		c, err = s.assume(ctx, cfg, c, r.Roles[i])
	}
	if err != nil {
		return aws.Credentials{}, s.explain(fault.TimeoutCause(ctx, err), r)
	}
	return c, nil
}

// source gets the credentials that a route begins with.
func (s *sdkStep) source(
	ctx context.Context,
	cfg aws.Config,
	files *awsfiles.Files,
	env awsfiles.Environment,
	r *awsfiles.Route,
) (aws.Credentials, error) {
	switch r.Source {
	case awsfiles.FromEnvironment:
		if !env.Key.HasKeys() {
			return aws.Credentials{}, fault.New(record.NoCredentials,
				"Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or remove credential_source from the profile.",
				"%s: credential_source is Environment, but AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set", s.Name())
		}
		return env.Key, nil
	case awsfiles.FromCredentialsFile, awsfiles.FromConfigFile:
		return r.Section.AccessKey(r.Source), nil
	case awsfiles.FromWebIdentity:
		adapter := stsAdapter{web: s.sts.client, step: s, file: r.WebIdentity.TokenFile}
		return stscreds.NewWebIdentityRoleProvider(adapter, r.WebIdentity.Role, tokenFile(adapter.file),
			func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = r.WebIdentity.Session }).Retrieve(ctx)
	case awsfiles.FromSSO:
		return s.fromSSO(ctx, cfg, files, r)
	case awsfiles.FromLogin:
		return s.fromLogin(ctx, cfg, r)
	case awsfiles.FromProcess:
		return process.Credentials(ctx, s.Name(), r.Section.Get("credential_process"))
	case awsfiles.FromContainer:
		return newContainerStep(s.loader, s.getenv).Retrieve(ctx, nil)
	case awsfiles.FromInstance:
		return s.instance.Retrieve(ctx)
	}
	return s.fromMachine(ctx, files, r)
}

// fromMachine searches the sources that boto3 and the SDK search if nothing is configured.
func (s *sdkStep) fromMachine(ctx context.Context, files *awsfiles.Files, r *awsfiles.Route) (aws.Credentials, error) {
	if c, err := s.loader.files.BotoKey(s.getenv); err != nil || c.HasKeys() {
		return c, err
	}
	if container := newContainerStep(s.loader, s.getenv); container.endpoint != "" {
		return container.Retrieve(ctx, nil)
	}
	c, err := s.instance.Retrieve(ctx)
	if err == nil {
		return c, nil
	}
	gap, hint, specific := files.Gap(r.Profile)
	switch {
	case s.profile == "" && !specific:
		err = noCredentialsFound(err)
	case gap != "":
		err = fault.New(record.NoCredentials, hint+" If the machine's role is meant: "+record.HintOf(err),
			"%s: %s; boto 2's files, the container and the instance metadata have none: %w", s.Name(), gap, err)
	}
	return c, err
}

// assume assumes a profile's role.
func (s *sdkStep) assume(
	ctx context.Context,
	cfg aws.Config,
	c aws.Credentials,
	r awsfiles.Role,
) (aws.Credentials, error) {
	if r.Serial != "" {
		return c, fault.New(record.MFANeeded,
			"Set `profile` to the name of the default profile, and set `totp_seed`, `token_command` or `token_code`.",
			"%s: role %s requires MFA", s.Name(), r.ARN)
	}
	cfg.Credentials = staticCredentials(c)
	adapter := stsAdapter{role: sts.NewFromConfig(cfg), step: s, chained: c.SessionToken != ""}
	return stscreds.NewAssumeRoleProvider(adapter, r.ARN,
		func(o *stscreds.AssumeRoleOptions) {
			o.Duration = orDefault(r.Duration, defaultRoleSession) // the SDK's own default is 15 minutes
			if adapter.chained {
				o.Duration = min(o.Duration, maxChainedSession)
			}
			o.RoleSessionName = cmp.Or(r.Session, roleSessionName)
			if r.ExternalID != "" {
				o.ExternalID = aws.String(r.ExternalID)
			}
		}).Retrieve(ctx)
}

// tokenFile gives a web identity's token.
type tokenFile string

// GetIdentityToken is called by stscreds.
func (f tokenFile) GetIdentityToken() ([]byte, error) {
	b, err := userfile.Read(context.Background(), string(f), 1<<20)
	if err != nil {
		return nil, fault.New(record.NoCredentials,
			"Check web_identity_token_file or AWS_WEB_IDENTITY_TOKEN_FILE, and the pod's volumes.",
			"web identity: read the token file %s: %s", fault.SafePath(string(f)), fault.FileCause(err))
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, fault.New(record.NoCredentials, "Check the program that writes the token.",
			"web identity: the token file %s is empty", fault.SafePath(string(f)))
	}
	return b, nil
}

// noCredentialsFound is the error of a default chain without credentials.
func noCredentialsFound(err error) error {
	return fault.New(record.NoCredentials, record.HintOf(err),
		"default chain: no credentials in the environment (AWS_ACCESS_KEY_ID), the shared files (AWS_PROFILE), "+
			"web identity, boto 2's files, container or instance metadata: %w", err)
}

// stsAdapter changes the calls of the SDK's providers: they use the one transport, the account's region and the
// configured endpoint. Otherwise the SDK calls STS before it has read AWS_ENDPOINT_URL.
type stsAdapter struct {
	role stscreds.AssumeRoleAPIClient
	web  stscreds.AssumeRoleWithWebIdentityAPIClient
	step *sdkStep

	chained bool   // the credentials are temporary
	file    string // of the web identity's token
}

func (s stsAdapter) applyOptions(o *sts.Options) {
	ours := s.step.sts.client.Options()
	o.Region, o.BaseEndpoint, o.HTTPClient, o.Retryer = s.step.region, ours.BaseEndpoint, ours.HTTPClient, ours.Retryer
}

func (s stsAdapter) AssumeRole(
	ctx context.Context,
	in *sts.AssumeRoleInput,
	o ...func(*sts.Options),
) (*sts.AssumeRoleOutput, error) {
	// The SDK's cache removes the caller's deadline.
	ctx, cancel := fault.WithTimeout(ctx, callTimeout, "sts:AssumeRole in "+s.step.region)
	defer cancel()
	out, err := s.role.AssumeRole(ctx, in, append(o, s.applyOptions)...)
	if err == nil && !isComplete(out.Credentials) {
		err = fault.ErrIncomplete // the SDK does not check
	}
	if err != nil {
		role := aws.ToString(in.RoleArn)
		return nil, explain(fault.TimeoutCause(ctx, err), errorContext{
			operation:  s.step.Name() + ": assume role " + role,
			signer:     "its source",
			role:       role,
			region:     s.step.region,
			externalID: in.ExternalId != nil,
			chained:    s.chained,
		})
	}
	s.step.set(out.Credentials, out.AssumedRoleUser)
	return out, nil
}

func (s stsAdapter) AssumeRoleWithWebIdentity(
	ctx context.Context,
	in *sts.AssumeRoleWithWebIdentityInput,
	o ...func(*sts.Options),
) (*sts.AssumeRoleWithWebIdentityOutput, error) {
	ctx, cancel := fault.WithTimeout(ctx, callTimeout, "sts:AssumeRoleWithWebIdentity in "+s.step.region)
	defer cancel()
	token := strings.TrimSpace(aws.ToString(in.WebIdentityToken)) // AWS refuses a trailing newline
	in.WebIdentityToken = &token
	out, err := s.web.AssumeRoleWithWebIdentity(ctx, in, append(o, s.applyOptions, func(o *sts.Options) {
		// As in the SDK, whose own setting applyOptions replaces: a new provider's keys may not be there yet.
		o.Retryer = retry.AddWithErrorCodes(o.Retryer, "InvalidIdentityToken", "IDPCommunicationError")
	})...)
	if err == nil && !isComplete(out.Credentials) {
		err = fault.ErrIncomplete
	}
	if err != nil {
		role := aws.ToString(in.RoleArn)
		return nil, explain(fault.TimeoutCause(ctx, err), errorContext{
			operation: s.step.Name() + ": assume role " + role + " with web identity",
			signer:    "the web identity token",
			role:      role,
			region:    s.step.region,
			code:      token,
			tokenFile: s.file,
		})
	}
	s.step.set(out.Credentials, out.AssumedRoleUser)
	return out, nil
}

// mfaProfile is a profile that requires MFA, in parts that are steps of their own: the SDK would ask for a code for
// each role and each renewal. The key below may come from a file, a process or the environment.
type mfaProfile struct {
	serial string
	roles  []config.Role
}

// readMFAProfile reads a profile. It returns nil if nothing in the profile's chain requires MFA: sdkStep then does
// everything.
func readMFAProfile(files *awsfiles.Files, name string) (*mfaProfile, error) {
	r, err := files.Route(name, awsfiles.Environment{})
	if err != nil {
		return nil, err
	}
	var m mfaProfile
	serials := []string{}
	if r.Section != nil && !r.Section.Has("role_arn") { // else the serial belongs to that role
		serials = append(serials, r.Section.Get("mfa_serial")) // for a user who needs MFA without a role
	}
	for _, role := range r.Roles {
		serials = append(serials, role.Serial)
		m.roles = append(m.roles, config.Role{ARN: role.ARN, RoleSession: config.RoleSession{
			SessionName: role.Session,
			ExternalID:  role.ExternalID,
			Duration:    config.Duration(role.Duration),
		}})
	}
	for _, serial := range serials {
		if serial != "" && m.serial != "" && m.serial != serial {
			return nil, fault.New(record.MFASerial, "Use one MFA device in all profiles of the chain.",
				"profile %s: its chain names two MFA devices, %s and %s", name, m.serial, serial)
		}
		m.serial = cmp.Or(m.serial, serial)
	}
	if m.serial == "" {
		return nil, nil
	}
	switch r.Source {
	case awsfiles.FromCredentialsFile, awsfiles.FromConfigFile, awsfiles.FromProcess, awsfiles.FromEnvironment:
		return &m, nil
	}
	return nil, fault.New(record.NoCredentials,
		"Put a user's long-lived key into the last profile of the `source_profile` chain: MFA needs one.",
		"profile %s: mfa_serial is set, but the source of the chain (%s) has no long-lived key", name, r.Source)
}

// explain is for errors between the route and the credentials. Errors of calls are Faults already; the SDK's other
// errors are not shown, because they quote files and responses.
func (s *sdkStep) explain(err error, r *awsfiles.Route) error {
	var f *record.Fault
	if errors.As(err, &f) {
		return f // without the SDK's text around it
	}
	reason := record.ReasonOf(err)
	if reason == record.Other {
		reason = record.NoCredentials
	}
	return fault.New(reason, "Check the profile's settings and the files that it names.",
		"%s: %s: %s", s.Name(), r.Source, fault.SafeText(err))
}
