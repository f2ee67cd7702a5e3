package auth

import (
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
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"

	"github.com/aws-collector/collector/record"
)

// A portal is IAM Identity Center's access portal, asked the way of all others: over the one transport, at the endpoint that
// was configured, in a time of its own.
type ssoPortal struct {
	client ssocreds.GetRoleCredentialsAPIClient
	step   *sdkStep
}

func (p ssoPortal) GetRoleCredentials(ctx context.Context, in *sso.GetRoleCredentialsInput, o ...func(*sso.Options)) (*sso.GetRoleCredentialsOutput, error) {
	region := ""
	ctx, cancel := withTimeout(ctx, callTimeout, "the SSO access portal")
	defer cancel()
	out, err := p.client.GetRoleCredentials(ctx, in, append(o, func(o *sso.Options) {
		ours := p.step.sts.client.Options()
		o.BaseEndpoint, o.HTTPClient, o.Retryer, region = p.step.loader.endpoint(o.BaseEndpoint), ours.HTTPClient, ours.Retryer, o.Region
	})...)
	if err == nil && (out.RoleCredentials == nil || aws.ToString(out.RoleCredentials.AccessKeyId) == "" || aws.ToString(out.RoleCredentials.SecretAccessKey) == "") {
		err = errIncomplete // which the SDK does not look for
	}
	if err == nil {
		return out, nil
	}
	err = timeoutCause(ctx, err)
	role, account := aws.ToString(in.RoleName), aws.ToString(in.AccountId)
	operation := fmt.Sprintf("%s: get credentials of permission set %s in account %s", p.step.Name(), role, account)
	text := operation + ": " + safeErrorText(err)
	switch record.CodeOf(err) {
	case "UnauthorizedException":
		return nil, p.step.loader.ssoLoginFault(p.step.profile, text)
	case "ForbiddenException", "ResourceNotFoundException":
		return nil, &record.Fault{Reason: record.AccessDenied, Err: textError(text),
			Hint: fmt.Sprintf("whoever logged in is not assigned %s in account %s: look at sso_role_name and sso_account_id, and at the access portal's list", role, account)}
	}
	return nil, ssoFault(err, text, region)
}

// fromSSO gets the credentials of a permission set, with the token that `aws sso login` has left.
func (s *sdkStep) fromSSO(ctx context.Context, cfg aws.Config, files *sharedFiles, r *route) (aws.Credentials, error) {
	at, err := routeFinder{files, s.loader, environment{}}.readSSO(r.section, s.Name())
	if err != nil {
		return aws.Credentials{}, err
	}
	cfg.Region = at.region
	file, err := ssocreds.StandardCachedTokenFilepath(firstNonEmpty(at.session, at.startURL))
	if err != nil {
		return aws.Credentials{}, fault(record.SSOLogin, "set HOME to that of whoever logged in",
			"%s: the SSO session is kept below the home folder, and there is none", s.Name())
	}
	c, err := ssocreds.New(ssoPortal{sso.NewFromConfig(cfg), s}, at.account, at.role, at.startURL,
		func(o *ssocreds.Options) {
			o.CachedTokenFilepath = file
			if at.session != "" {
				client := ssooidc.NewFromConfig(cfg)
				o.SSOTokenProvider = ssocreds.NewSSOTokenProvider(client, file,
					func(o *ssocreds.SSOTokenProviderOptions) { o.Client = ssoTokenClient{client, file, s} })
			}
		}).Retrieve(ctx)
	var f *record.Fault
	if err == nil || errors.As(err, &f) || ctx.Err() != nil {
		return c, err
	}
	// All else is the file of the token. What the SDK says of it quotes it.
	return c, s.loader.ssoLoginFault(s.profile, fmt.Sprintf("%s: the SSO session's token: %s", s.Name(), tokenFileState(file)))
}

// tokenFileState is what is wrong with the file of a session.
func tokenFileState(file string) string {
	_, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is none (" + file + ")"
	case err != nil:
		return file + ": " + fileErrorCause(err)
	}
	return file + " holds none that is valid"
}

// fromLogin gets the credentials that `aws login` has left.
func (s *sdkStep) fromLogin(ctx context.Context, cfg aws.Config, r *route) (aws.Credentials, error) {
	file, err := logincreds.StandardCachedTokenFilepath(r.section.get("login_session"),
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
	if networkErrorText(err) != "" || httpStatus(err) != 0 || record.CodeOf(err) != "" {
		cause = safeErrorText(err)
	}
	login := "aws login"
	if s.profile != "" {
		login += " --profile " + s.profile
	}
	return aws.Credentials{}, fault(record.SSOLogin, "run `"+login+"` as the user of this process, and with its HOME",
		"%s: the login session: %s", s.Name(), cause)
}

// ssoFault is for what the network does.
func ssoFault(err error, text, region string) error {
	reason := record.ReasonOf(err)
	if errors.Is(err, errIncomplete) {
		reason = record.BadAnswer
	}
	return &record.Fault{Reason: reason, Err: textError(text), // the SDK's error holds what was answered
		Hint: "IAM Identity Center in " + region + " did not give an answer: look at sso_region, the network, HTTPS_PROXY and AWS_CA_BUNDLE; a renewal is tried again by the next run"}
}

// ssoLoginFault says what to do where a login is needed.
func (l *loader) ssoLoginFault(profile, text string) error {
	if profile == "" {
		profile = l.env.SharedConfigProfile
	}
	login := "aws sso login"
	if profile != "" {
		login += " --profile " + profile
	}
	return &record.Fault{Reason: record.SSOLogin, Err: textError(text),
		Hint: "the SSO session is over or was never begun: run `" + login + "` as the user of this process, and with its HOME"}
}

// endpoint is where a client of the SDK's chain is sent: to what was said in its name, else to what was said for all.
func (l *loader) endpoint(own *string) *string {
	if own != nil && l.opts.Endpoint == "" {
		return own
	}
	return l.baseEndpoint
}

// A refresher gets new SSO tokens. A refresh token is good once, and the SDK keeps a session's tokens in one file, which each
// profile of the session reads for itself: so whoever comes with the same refresh token gets the same answer.
type ssoTokenClient struct {
	client ssocreds.CreateTokenAPIClient
	file   string
	step   *sdkStep
}

func (r ssoTokenClient) CreateToken(ctx context.Context, in *ssooidc.CreateTokenInput, o ...func(*ssooidc.Options)) (*ssooidc.CreateTokenOutput, error) {
	return r.step.sso.renewOnce(ctx, r.file, aws.ToString(in.RefreshToken), func(ctx context.Context) (*ssooidc.CreateTokenOutput, error) {
		return r.renew(ctx, in, o...)
	})
}

func (r ssoTokenClient) renew(ctx context.Context, in *ssooidc.CreateTokenInput, o ...func(*ssooidc.Options)) (*ssooidc.CreateTokenOutput, error) {
	region := ""
	ctx, cancel := withTimeout(ctx, callTimeout, "the SSO token service")
	defer cancel()
	out, err := r.client.CreateToken(ctx, in, append(o, func(o *ssooidc.Options) {
		ours := r.step.sts.client.Options()
		o.BaseEndpoint, o.HTTPClient, o.Retryer, region = r.step.loader.endpoint(o.BaseEndpoint), ours.HTTPClient, ours.Retryer, o.Region
	})...)
	if err == nil && aws.ToString(out.AccessToken) == "" {
		err = errIncomplete
	}
	if err == nil {
		return out, nil
	}
	err = timeoutCause(ctx, err)
	text := r.step.Name() + ": renew the SSO token: " + safeErrorText(err)
	switch record.CodeOf(err) {
	case "InvalidGrantException":
		if other := newerSSOTokens(r.file, aws.ToString(in.RefreshToken)); other != nil { // another process was faster
			return other, nil
		}
		return nil, r.step.loader.ssoLoginFault(r.step.profile, text)
	case "ExpiredTokenException", "InvalidClientException", "UnauthorizedClientException", "AccessDeniedException":
		return nil, r.step.loader.ssoLoginFault(r.step.profile, text)
	}
	return nil, ssoFault(err, text, region)
}

// newerSSOTokens is what stands in the file now, nil if it is what was tried, or is over.
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
	return &ssooidc.CreateTokenOutput{AccessToken: &t.AccessToken, RefreshToken: &t.RefreshToken, ExpiresIn: int32(left / time.Second)}
}

// ssoTokens is the last renewal of each SSO session.
type ssoTokens struct {
	background *background

	mu       sync.Mutex
	renewals map[string]*ssoRenewal // by the session's file
}

type ssoRenewal struct {
	*sharedCall[*ssooidc.CreateTokenOutput]
	refresh string    // digest of the token that it spends
	expires time.Time // the end of the token that it got; zero: under way. Guarded by ssoTokens.mu
}

// renewOnce makes a renewal, or waits for the one that spends the same token.
func (s *ssoTokens) renewOnce(ctx context.Context, file, refresh string, call func(context.Context) (*ssooidc.CreateTokenOutput, error)) (*ssooidc.CreateTokenOutput, error) {
	s.mu.Lock()
	f := s.renewals[file]
	if f == nil || f.refresh != digest(refresh) || !f.expires.IsZero() && !now().Before(f.expires) {
		mine := &ssoRenewal{sharedCall: newSharedCall[*ssooidc.CreateTokenOutput](), refresh: digest(refresh)}
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

// renewalDone forgets a renewal that failed: the next who comes tries again.
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
