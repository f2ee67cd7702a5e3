package auth

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// sdkStep is what only the SDK knows to do: a profile, or its default chain (environment, shared files, SSO, web identity,
// container, instance role). The files are read again each time credentials are due, so that rotated ones are noticed.
type sdkStep struct {
	profile  string // "" is the chain
	region   string // whose STS a hop inside asks
	loaded   *loaded
	getenv   func(string) string
	tokens   tokens
	sso      *ssoTokens
	instance Provider     // the one instance role
	metadata *imds.Client // the one client behind it
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
	ctx, cancel := within(ctx, 2*callTimeout, s.Name())
	defer cancel()
	cfg, err := awsconfig.LoadDefaultConfig(ctx, append(s.loaded.files(),
		awsconfig.WithHTTPClient(s.loaded.client),
		awsconfig.WithAPIOptions(s.loaded.apiOptions()),
		awsconfig.WithRetryer(retryer(0)),
		awsconfig.WithRegion(s.region),
		awsconfig.WithSharedConfigProfile(s.profile),
		awsconfig.WithEndpointCredentialOptions(func(o *endpointcreds.Options) {
			o.HTTPClient = s.loaded.metadata
			if p := o.AuthorizationTokenProvider; p != nil { // a file; an editor leaves a newline at its end, which the SDK refuses
				o.AuthorizationTokenProvider = endpointcreds.TokenProviderFunc(func() (string, error) {
					token, err := p.GetToken()
					return strings.TrimSpace(token), err
				})
			}
		}),
		awsconfig.WithEC2RoleCredentialOptions(func(o *ec2rolecreds.Options) { o.Client = s.metadata }),
		awsconfig.WithAssumeRoleCredentialOptions(func(o *stscreds.AssumeRoleOptions) {
			o.Client = steered{role: o.Client, to: s}
			if o.Duration == 0 {
				o.Duration = roleSession // the SDK's own default is 15 minutes
			}
			if o.RoleSessionName == "" {
				o.RoleSessionName = roleSessionName
			}
		}),
		awsconfig.WithWebIdentityRoleCredentialOptions(func(o *stscreds.WebIdentityRoleOptions) {
			// Not o.Client: the SDK looks for one here first, and makes its own only if it finds none.
			o.Client = steered{web: s.tokens.client, to: s}
		}),
		awsconfig.WithSSOProviderOptions(func(o *ssocreds.Options) { o.Client = portal{o.Client, s} }),
		awsconfig.WithSSOTokenProviderOptions(func(o *ssocreds.SSOTokenProviderOptions) {
			o.Client = refresher{o.Client, o.CachedTokenFilepath, s}
		}),
	)...)
	if err != nil {
		return aws.Credentials{}, explainLoad(s.Name(), s.profile, s.loaded, timedOut(ctx, err))
	}
	machine := aws.IsCredentialsProvider(cfg.Credentials, (*ec2rolecreds.Provider)(nil))
	if s.profile == "" && (machine || aws.IsCredentialsProvider(cfg.Credentials, (*endpointcreds.Provider)(nil))) {
		// Where boto3 looks between the shared files and the machine, and the SDK does not.
		if c, err := s.loaded.boto(s.getenv); err != nil || c.HasKeys() {
			return c, err
		}
	}
	if machine {
		c, err := s.instance.Retrieve(ctx)
		if err != nil && s.profile == "" {
			return aws.Credentials{}, nothingFound(err)
		}
		return c, err
	}
	c, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, explainLoad(s.Name(), s.profile, s.loaded, timedOut(ctx, err))
	}
	return c, nil
}

// nothingFound is the end of the default chain.
func nothingFound(err error) error {
	return fault(record.NoCredentials, record.HintOf(err),
		"default chain: no credentials in the environment (AWS_ACCESS_KEY_ID), the shared files (AWS_PROFILE), web identity, boto 2's files, container or instance metadata: %w", err)
}

// steered sends the calls of a chain that the SDK builds the way of all others: over the one transport, to the account's
// region, to the endpoint that was configured. Left alone, the SDK asks STS before it has read AWS_ENDPOINT_URL.
type steered struct {
	role stscreds.AssumeRoleAPIClient
	web  stscreds.AssumeRoleWithWebIdentityAPIClient
	to   *sdkStep
}

func (s steered) options(o *sts.Options) {
	ours := s.to.tokens.client.Options()
	o.Region, o.BaseEndpoint, o.HTTPClient, o.Retryer = s.to.region, ours.BaseEndpoint, ours.HTTPClient, ours.Retryer
}

func (s steered) AssumeRole(ctx context.Context, in *sts.AssumeRoleInput, o ...func(*sts.Options)) (*sts.AssumeRoleOutput, error) {
	ctx, cancel := within(ctx, callTimeout, "sts:AssumeRole in "+s.to.region) // the SDK's cache has stripped ours
	defer cancel()
	out, err := s.role.AssumeRole(ctx, in, append(o, s.options)...)
	if err == nil && !whole(out.Credentials) {
		err = errHollow // which the SDK does not look for
	}
	if err != nil {
		return nil, explain(timedOut(ctx, err), clues{
			doing: s.to.Name() + ": assume role " + aws.ToString(in.RoleArn), signer: "its source", role: aws.ToString(in.RoleArn),
			region: s.to.region, extID: in.ExternalId != nil,
		})
	}
	return out, nil
}

func (s steered) AssumeRoleWithWebIdentity(ctx context.Context, in *sts.AssumeRoleWithWebIdentityInput, o ...func(*sts.Options)) (*sts.AssumeRoleWithWebIdentityOutput, error) {
	ctx, cancel := within(ctx, callTimeout, "sts:AssumeRoleWithWebIdentity in "+s.to.region)
	defer cancel()
	in.WebIdentityToken = aws.String(strings.TrimSpace(aws.ToString(in.WebIdentityToken))) // AWS refuses a trailing newline
	out, err := s.web.AssumeRoleWithWebIdentity(ctx, in, append(o, s.options)...)
	if err == nil && !whole(out.Credentials) {
		err = errHollow
	}
	if err != nil {
		return nil, explain(timedOut(ctx, err), clues{
			doing: s.to.Name() + ": assume role " + aws.ToString(in.RoleArn) + " with web identity", signer: "the web identity token",
			role: aws.ToString(in.RoleArn), region: s.to.region, code: aws.ToString(in.WebIdentityToken),
		})
	}
	return out, nil
}

// mfaProfile is a profile that asks for MFA, taken apart into what this package does itself: the SDK would want a code for
// each role and each renewal.
type mfaProfile struct {
	key    keyStep
	serial string
	roles  []config.Role
}

// profileMFA reads a profile. It is nil where nothing in the profile's chain asks for MFA: then the SDK does it all.
func profileMFA(ctx context.Context, l *loaded, name string) (*mfaProfile, error) {
	p, err := awsconfig.LoadSharedConfigProfile(ctx, name, func(o *awsconfig.LoadSharedConfigOptions) {
		o.ConfigFiles, o.CredentialsFiles = l.paths()
	})
	if err != nil {
		return nil, explainLoad("profile "+name, name, l, err)
	}
	var m mfaProfile
	var roles []config.Role
	for at := &p; at != nil; at = at.Source {
		if at.MFASerial != "" {
			if m.serial != "" && m.serial != at.MFASerial {
				return nil, fault(record.MFASerial, "one device can be asked for a code in a chain of profiles", "profile %s: two devices, %s and %s", name, m.serial, at.MFASerial)
			}
			m.serial = at.MFASerial
		}
		if at.RoleARN != "" {
			r := config.Role{ARN: at.RoleARN, RoleSession: config.RoleSession{SessionName: at.RoleSessionName, ExternalID: at.ExternalID}}
			if at.RoleDurationSeconds != nil {
				r.Duration = config.Duration(max(*at.RoleDurationSeconds, 15*time.Minute))
			}
			roles = append(roles, r)
		}
		if at.Source == nil {
			m.key = keyStep{at.Credentials.AccessKeyID, secret.New(at.Credentials.SecretAccessKey), secret.New(at.Credentials.SessionToken)}
		}
	}
	if m.serial == "" {
		return nil, nil
	}
	if m.key.id == "" {
		return nil, fault(record.NoCredentials, "MFA needs a user's long-lived key: the profile that `source_profile` leads to must have one",
			"profile %s: mfa_serial without aws_access_key_id", name)
	}
	slices.Reverse(roles) // innermost first
	m.roles = roles
	return &m, nil
}

// paths are the shared files that are read.
func (l *loaded) paths() (configs, credentials []string) {
	configs, credentials = l.opts.ConfigFiles, l.opts.CredentialsFiles
	if l.opts.Isolated {
		return append([]string{}, configs...), append([]string{}, credentials...)
	}
	if configs == nil {
		configs = []string{awsconfig.DefaultSharedConfigFilename()}
		if l.env.SharedConfigFile != "" {
			configs = []string{l.env.SharedConfigFile}
		}
	}
	if credentials == nil {
		credentials = []string{awsconfig.DefaultSharedCredentialsFilename()}
		if l.env.SharedCredentialsFile != "" {
			credentials = []string{l.env.SharedCredentialsFile}
		}
	}
	return configs, credentials
}

// explainLoad is for what goes wrong on this machine, before AWS is asked.
func explainLoad(doing, profile string, l *loaded, err error) error {
	var f *record.Fault
	if errors.As(err, &f) {
		return f // without the SDK's words around it
	}
	if fromIMDS(err) {
		return imdsFault(err)
	}
	var missing awsconfig.SharedConfigProfileNotExistError
	var sso *ssocreds.InvalidTokenError
	text := doing + ": " + record.Brief(err)
	has := func(s string) bool { return strings.Contains(text, s) }
	r := record.ReasonOf(err)
	switch {
	case r == record.TimedOut, r == record.Interrupted:
	case errors.As(err, &missing), has("role_arn"), has("partial credentials"):
		return &record.Fault{Reason: record.NoCredentials, Hint: l.profileHint(profile, missing.Profile), Text: text, Err: err}
	case errors.As(err, &sso), has("InvalidGrantException"), has("SSO"), has("sso"):
		return l.ssoOver(profile, text, err)
	case has("AssumeRoleTokenProvider"):
		return &record.Fault{Reason: record.MFANeeded, Hint: "the default profile asks for MFA: name it as `profile`, and give `totp_seed`, `token_command` or `token_code`", Text: text, Err: err}
	case has("process provider error"), has("credential_process"):
		return &record.Fault{Reason: record.NoCredentials, Hint: "the profile's credential_process failed: run it by hand, as the user of this process", Text: text, Err: err}
	}
	var path *fs.PathError
	var shared awsconfig.SharedConfigLoadError
	if profile == "" && !errors.As(err, &shared) && (has("CA bundle") || errors.As(err, &path)) {
		return &record.Fault{Reason: record.Other, Hint: "AWS_CA_BUNDLE, or ca_bundle in the AWS config file, must name a file of certificates as PEM", Text: text, Err: err}
	}
	if r == record.Other {
		return &record.Fault{Reason: record.NoCredentials, Hint: "the SDK found where credentials should come from and got none there; the message says why", Text: text, Err: err}
	}
	return &record.Fault{Reason: r, Hint: hint(r, err, text, clues{signer: doing}), Text: text, Err: err}
}

// profileHint looks for the profile where people put it by mistake.
func (l *loaded) profileHint(names ...string) string {
	configs, credentials := l.paths()
	for _, name := range names {
		if name == "" {
			continue
		}
		for _, file := range credentials {
			if hasSection(file, "profile "+name) {
				return fmt.Sprintf("%s has a section [profile %s]: in a credentials file it is written [%s], without the word profile, and is ignored otherwise", file, name, name)
			}
		}
		for _, file := range configs {
			if hasSection(file, name) && name != "default" {
				return fmt.Sprintf("%s has a section [%s]: in a config file it is written [profile %s], and is ignored otherwise", file, name, name)
			}
		}
	}
	return fmt.Sprintf("looked in %s; AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name other files", strings.Join(append(slices.Clone(configs), credentials...), ", "))
}

// hasSection looks for a header of an INI file.
func hasSection(file, section string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false // looked for only to give a better hint
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if name, ok := strings.CutPrefix(line, "["); ok {
			name, _, _ = strings.Cut(name, "]")
			if strings.Join(strings.Fields(name), " ") == section {
				return true
			}
		}
	}
	return false
}
