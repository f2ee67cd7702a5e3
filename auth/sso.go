package auth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/logincreds"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/service/signin"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	ssotypes "github.com/aws/aws-sdk-go-v2/service/sso/types"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	smithybearer "github.com/aws/smithy-go/auth/bearer"

	"github.com/aws-collector/collector/auth/internal/awsfiles"
	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/record"
)

// An ssoPortal is IAM Identity Center's access portal, called with the one transport, the configured endpoint and its
// own time-out.
type ssoPortal struct {
	client ssocreds.GetRoleCredentialsAPIClient
	step   *sdkStep
}

func (p ssoPortal) GetRoleCredentials(
	ctx context.Context,
	in *sso.GetRoleCredentialsInput,
	o ...func(*sso.Options),
) (*sso.GetRoleCredentialsOutput, error) {
	region := ""
	ctx, cancel := fault.WithTimeout(ctx, callTimeout, "the SSO access portal")
	defer cancel()
	out, err := p.client.GetRoleCredentials(ctx, in, append(o, func(o *sso.Options) {
		ours := p.step.sts.client.Options()
		o.BaseEndpoint, region = p.step.loader.endpoint(o.BaseEndpoint), o.Region
		o.HTTPClient, o.Retryer = ours.HTTPClient, ours.Retryer
	})...)
	if err == nil && !hasKey(out.RoleCredentials) {
		err = fault.ErrIncomplete // the SDK does not check
	}
	if err == nil {
		return out, nil
	}
	err = fault.TimeoutCause(ctx, err)
	role, account := aws.ToString(in.RoleName), aws.ToString(in.AccountId)
	operation := fmt.Sprintf("%s: get credentials of permission set %s in account %s", p.step.Name(), role, account)
	text := operation + ": " + fault.SafeText(err)
	switch record.CodeOf(err) {
	case "UnauthorizedException":
		return nil, p.step.loader.ssoLoginFault(p.step.profile, text)
	case "ForbiddenException", "ResourceNotFoundException":
		return nil, &record.Fault{
			Reason: record.AccessDenied,
			Err:    errors.New(text),
			Hint: fmt.Sprintf("Check sso_role_name and sso_account_id, and the list in the access portal: "+
				"the user who logged in is not assigned %s in account %s.", role, account),
		}
	}
	return nil, ssoFault(err, text, region)
}

func hasKey(c *ssotypes.RoleCredentials) bool {
	return c != nil && aws.ToString(c.AccessKeyId) != "" && aws.ToString(c.SecretAccessKey) != ""
}

// fromSSO gets the credentials of a permission set, with the token of `aws sso login`.
func (s *sdkStep) fromSSO(
	ctx context.Context,
	cfg aws.Config,
	files *awsfiles.Files,
	r *awsfiles.Route,
) (aws.Credentials, error) {
	settings, err := files.SSO(r.Section, s.Name())
	if err != nil {
		return aws.Credentials{}, err
	}
	cfg.Region = settings.Region
	file, err := ssocreds.StandardCachedTokenFilepath(cmp.Or(settings.Session, settings.StartURL))
	if err != nil {
		return aws.Credentials{}, fault.New(record.SSOLogin, "Set HOME to the home directory of the user who logged in.",
			"%s: the SSO session is stored in the home directory, and HOME is not set", s.Name())
	}
	token, ok := readSSOToken(file)
	if !ok && settings.Session != "" {
		client := ssooidc.NewFromConfig(cfg)
		var renewed smithybearer.Token
		renewed, err = ssocreds.NewSSOTokenProvider(client, file, func(o *ssocreds.SSOTokenProviderOptions) {
			o.Client = ssoTokenClient{client, file, s}
		}).RetrieveBearerToken(ctx)
		token, ok = renewed.Value, err == nil
	}
	switch f := (*record.Fault)(nil); {
	case ok:
	case errors.As(err, &f), ctx.Err() != nil:
		return aws.Credentials{}, err
	default: // The only cause left is the token file. The SDK's error is not used, because it quotes the file.
		text := fmt.Sprintf("%s: SSO token: %s", s.Name(), tokenFileState(file))
		return aws.Credentials{}, s.loader.ssoLoginFault(s.profile, text)
	}
	out, err := ssoPortal{sso.NewFromConfig(cfg), s}.GetRoleCredentials(ctx, &sso.GetRoleCredentialsInput{
		AccessToken: &token, AccountId: &settings.Account, RoleName: &settings.Role,
	})
	if err != nil {
		return aws.Credentials{}, err
	}
	k := out.RoleCredentials
	return aws.Credentials{
		AccessKeyID:     aws.ToString(k.AccessKeyId),
		SecretAccessKey: aws.ToString(k.SecretAccessKey),
		SessionToken:    aws.ToString(k.SessionToken),
		CanExpire:       true,
		Expires:         time.UnixMilli(k.Expiration).UTC(),
		Source:          ssocreds.ProviderName,
		AccountID:       settings.Account,
	}, nil
}

// readSSOToken reads the token of a login, in the forms of all versions of the AWS CLI; the SDK reads only the newest
// form of its time. ok is false if there is none that is valid.
func readSSOToken(file string) (token string, ok bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", false
	}
	var t struct{ AccessToken, ExpiresAt string }
	if json.Unmarshal(b, &t) != nil {
		return "", false
	}
	expires, ok := awsfiles.ParseTime(t.ExpiresAt)
	return t.AccessToken, ok && t.AccessToken != "" && now().Before(expires)
}

// tokenFileState says why the token file of a session cannot be used.
func tokenFileState(file string) string {
	_, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no file " + file
	case err != nil:
		return file + ": " + fault.FileCause(err)
	}
	return file + " holds no valid token"
}

// fromLogin gets the credentials that `aws login` has stored.
func (s *sdkStep) fromLogin(ctx context.Context, cfg aws.Config, r *awsfiles.Route) (aws.Credentials, error) {
	file, err := logincreds.StandardCachedTokenFilepath(r.Section.Get("login_session"),
		s.getenv("AWS_LOGIN_CACHE_DIRECTORY"))
	if err == nil {
		var c aws.Credentials
		c, err = logincreds.New(signin.NewFromConfig(cfg), file, func(o *logincreds.Options) {
			o.RestrictPermissions = cfg.RestrictFilePermissions != aws.RestrictFilePermissionsUnrestricted
		}).Retrieve(ctx)
		if err == nil || ctx.Err() != nil {
			return c, err
		}
	}
	cause := tokenFileState(file)
	if fault.NetworkText(err) != "" || fault.HTTPStatus(err) != 0 || record.CodeOf(err) != "" {
		cause = fault.SafeText(err)
	}
	login := "aws login"
	if s.profile != "" {
		login += " --profile " + s.profile
	}
	return aws.Credentials{}, fault.New(record.SSOLogin, "Run `"+login+"` as the user of this process, and with its HOME.",
		"%s: login session: %s", s.Name(), cause)
}

// ssoFault is the error of a call that got no valid response.
func ssoFault(err error, text, region string) error {
	reason := record.ReasonOf(err)
	if errors.Is(err, fault.ErrIncomplete) {
		reason = record.BadAnswer
	}
	return &record.Fault{
		Reason: reason,
		Err:    errors.New(text), // the SDK's error holds the response
		Hint: "Check sso_region, the network, HTTPS_PROXY and AWS_CA_BUNDLE: " +
			"IAM Identity Center in " + region + " gave no valid response. The next run tries again.",
	}
}

// ssoLoginFault is the error for a session that needs a login.
func (l *loader) ssoLoginFault(profile, text string) error {
	if profile == "" {
		profile = l.files.Env.SharedConfigProfile
	}
	login := "aws sso login"
	if profile != "" {
		login += " --profile " + profile
	}
	return &record.Fault{
		Reason: record.SSOLogin,
		Err:    errors.New(text),
		Hint: "Run `" + login + "` as the user of this process, and with its HOME: " +
			"the SSO session has expired, or there is none.",
	}
}

// endpoint is the endpoint of a client of the SDK's chain: its own one if it is configured, else the one for all
// services.
func (l *loader) endpoint(own *string) *string {
	if own != nil && l.opts.Endpoint == "" {
		return own
	}
	return l.baseEndpoint
}

// An ssoTokenClient gets new SSO tokens. A refresh token works once, and the SDK stores a session's tokens in one file,
// which each profile of the session reads: so all calls with the same refresh token get the same response.
type ssoTokenClient struct {
	client ssocreds.CreateTokenAPIClient
	file   string
	step   *sdkStep
}

func (r ssoTokenClient) CreateToken(
	ctx context.Context,
	in *ssooidc.CreateTokenInput,
	o ...func(*ssooidc.Options),
) (*ssooidc.CreateTokenOutput, error) {
	renew := func(ctx context.Context) (*ssooidc.CreateTokenOutput, error) { return r.renew(ctx, in, o...) }
	return r.step.sso.renewOnce(ctx, r.file, aws.ToString(in.RefreshToken), renew)
}

func (r ssoTokenClient) renew(
	ctx context.Context,
	in *ssooidc.CreateTokenInput,
	o ...func(*ssooidc.Options),
) (*ssooidc.CreateTokenOutput, error) {
	region := ""
	ctx, cancel := fault.WithTimeout(ctx, callTimeout, "the SSO token service")
	defer cancel()
	out, err := r.client.CreateToken(ctx, in, append(o, func(o *ssooidc.Options) {
		ours := r.step.sts.client.Options()
		o.BaseEndpoint, region = r.step.loader.endpoint(o.BaseEndpoint), o.Region
		o.HTTPClient, o.Retryer = ours.HTTPClient, ours.Retryer
	})...)
	if err == nil && aws.ToString(out.AccessToken) == "" {
		err = fault.ErrIncomplete
	}
	if err == nil {
		return out, nil
	}
	err = fault.TimeoutCause(ctx, err)
	text := r.step.Name() + ": renew the SSO token: " + fault.SafeText(err)
	switch record.CodeOf(err) {
	case "InvalidGrantException":
		// Another process may have renewed it first.
		if other := newerSSOTokens(r.file, aws.ToString(in.RefreshToken)); other != nil {
			return other, nil
		}
		return nil, r.step.loader.ssoLoginFault(r.step.profile, text)
	case "ExpiredTokenException", "InvalidClientException", "UnauthorizedClientException", "AccessDeniedException":
		return nil, r.step.loader.ssoLoginFault(r.step.profile, text)
	}
	return nil, ssoFault(err, text, region)
}

// newerSSOTokens returns the tokens in the file; nil: they are the ones that were tried, or have expired.
func newerSSOTokens(file, tried string) *ssooidc.CreateTokenOutput {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var t struct {
		AccessToken, RefreshToken string
		ExpiresAt                 time.Time
	}
	left := time.Duration(0)
	if json.Unmarshal(b, &t) == nil {
		left = time.Until(t.ExpiresAt)
	}
	if t.AccessToken == "" || t.RefreshToken == tried || left <= 0 {
		return nil
	}
	return &ssooidc.CreateTokenOutput{
		AccessToken:  &t.AccessToken,
		RefreshToken: &t.RefreshToken,
		ExpiresIn:    int32(left / time.Second),
	}
}

// ssoTokens stores the last renewal of each SSO session.
type ssoTokens struct {
	background *background

	mu       sync.Mutex
	renewals map[string]*ssoRenewal // by the session's file
}

type ssoRenewal struct {
	*sharedCall[*ssooidc.CreateTokenOutput]
	refresh string    // hash of the token that it uses up
	expires time.Time // expiry of the new token; zero: in progress. Guarded by ssoTokens.mu
}

// renewOnce renews a token, or waits for the call that uses up the same refresh token.
func (s *ssoTokens) renewOnce(
	ctx context.Context,
	file, refresh string,
	call func(context.Context) (*ssooidc.CreateTokenOutput, error),
) (*ssooidc.CreateTokenOutput, error) {
	s.mu.Lock()
	f := s.renewals[file]
	if f == nil || f.refresh != hashSecret(refresh) || !f.expires.IsZero() && !now().Before(f.expires) {
		mine := &ssoRenewal{sharedCall: newSharedCall[*ssooidc.CreateTokenOutput](), refresh: hashSecret(refresh)}
		if !s.background.run(func(ctx context.Context) {
			out, err := call(ctx)
			s.renewalDone(file, mine, out, err)
			mine.finish(out, err)
		}) {
			s.mu.Unlock()
			return nil, errClosed
		}
		f, s.renewals[file] = mine, mine
	}
	s.mu.Unlock()
	out, err := f.wait(ctx, "SSO token")
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	left := f.expires.Sub(now())
	s.mu.Unlock()
	copied := *out
	copied.ExpiresIn = int32(max(0, left) / time.Second)
	return &copied, nil
}

// renewalDone removes a failed renewal: the next call tries again.
func (s *ssoTokens) renewalDone(file string, f *ssoRenewal, out *ssooidc.CreateTokenOutput, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		f.expires = now().Add(time.Duration(out.ExpiresIn) * time.Second)
		return
	}
	if s.renewals[file] == f {
		delete(s.renewals, file)
	}
}
