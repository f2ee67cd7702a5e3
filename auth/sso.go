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
type portal struct {
	client ssocreds.GetRoleCredentialsAPIClient
	to     *sdkStep
}

func (p portal) GetRoleCredentials(ctx context.Context, in *sso.GetRoleCredentialsInput, o ...func(*sso.Options)) (*sso.GetRoleCredentialsOutput, error) {
	region := ""
	ctx, cancel := within(ctx, callTimeout, "the SSO access portal")
	defer cancel()
	out, err := p.client.GetRoleCredentials(ctx, in, append(o, func(o *sso.Options) {
		ours := p.to.tokens.client.Options()
		o.BaseEndpoint, o.HTTPClient, o.Retryer, region = p.to.loaded.endpoint(o.BaseEndpoint), ours.HTTPClient, ours.Retryer, o.Region
	})...)
	if err == nil && (out.RoleCredentials == nil || aws.ToString(out.RoleCredentials.AccessKeyId) == "" || aws.ToString(out.RoleCredentials.SecretAccessKey) == "") {
		err = errHollow // which the SDK does not look for
	}
	if err == nil {
		return out, nil
	}
	err = timedOut(ctx, err)
	role, account := aws.ToString(in.RoleName), aws.ToString(in.AccountId)
	doing := fmt.Sprintf("%s: get credentials of permission set %s in account %s", p.to.Name(), role, account)
	text := doing + ": " + outcome(err)
	switch record.CodeOf(err) {
	case "UnauthorizedException":
		return nil, p.to.loaded.ssoOver(p.to.profile, text)
	case "ForbiddenException", "ResourceNotFoundException":
		return nil, &record.Fault{Reason: record.AccessDenied, Err: errText(text),
			Hint: fmt.Sprintf("whoever logged in is not assigned %s in account %s: look at sso_role_name and sso_account_id, and at the access portal's list", role, account)}
	}
	return nil, ssoFault(err, text, region)
}

// fromSSO gets the credentials of a permission set, with the token that `aws sso login` has left.
func (s *sdkStep) fromSSO(ctx context.Context, cfg aws.Config, files *shared, r *route) (aws.Credentials, error) {
	at, err := finder{files, s.loaded, environment{}}.sso(r.section, s.Name())
	if err != nil {
		return aws.Credentials{}, err
	}
	cfg.Region = at.region
	file, err := ssocreds.StandardCachedTokenFilepath(or(at.session, at.startURL))
	if err != nil {
		return aws.Credentials{}, fault(record.SSOLogin, "set HOME to that of whoever logged in",
			"%s: the SSO session is kept below the home folder, and there is none", s.Name())
	}
	c, err := ssocreds.New(portal{sso.NewFromConfig(cfg), s}, at.account, at.role, at.startURL,
		func(o *ssocreds.Options) {
			o.CachedTokenFilepath = file
			if at.session != "" {
				client := ssooidc.NewFromConfig(cfg)
				o.SSOTokenProvider = ssocreds.NewSSOTokenProvider(client, file,
					func(o *ssocreds.SSOTokenProviderOptions) { o.Client = refresher{client, file, s} })
			}
		}).Retrieve(ctx)
	var f *record.Fault
	if err == nil || errors.As(err, &f) || ctx.Err() != nil {
		return c, err
	}
	// All else is the file of the token. What the SDK says of it quotes it.
	return c, s.loaded.ssoOver(s.profile, fmt.Sprintf("%s: the SSO session's token: %s", s.Name(), tokenState(file)))
}

// tokenState is what is wrong with the file of a session.
func tokenState(file string) string {
	_, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is none (" + file + ")"
	case err != nil:
		return file + ": " + why(err)
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
	why := tokenState(file)
	if onTheWire(err) != "" || statusOf(err) != 0 || record.CodeOf(err) != "" {
		why = outcome(err)
	}
	login := "aws login"
	if s.profile != "" {
		login += " --profile " + s.profile
	}
	return aws.Credentials{}, fault(record.SSOLogin, "run `"+login+"` as the user of this process, and with its HOME",
		"%s: the login session: %s", s.Name(), why)
}

// ssoFault is for what the network does.
func ssoFault(err error, text, region string) error {
	reason := record.ReasonOf(err)
	if errors.Is(err, errHollow) {
		reason = record.BadAnswer
	}
	return &record.Fault{Reason: reason, Err: errText(text), // the SDK's error holds what was answered
		Hint: "IAM Identity Center in " + region + " did not give an answer: look at sso_region, the network, HTTPS_PROXY and AWS_CA_BUNDLE; a renewal is tried again by the next run"}
}

// ssoOver says what to do where a login is needed.
func (l *loaded) ssoOver(profile, text string) error {
	if profile == "" {
		profile = l.env.SharedConfigProfile
	}
	login := "aws sso login"
	if profile != "" {
		login += " --profile " + profile
	}
	return &record.Fault{Reason: record.SSOLogin, Err: errText(text),
		Hint: "the SSO session is over or was never begun: run `" + login + "` as the user of this process, and with its HOME"}
}

// endpoint is where a client of the SDK's chain is sent: to what was said in its name, else to what was said for all.
func (l *loaded) endpoint(own *string) *string {
	if own != nil && l.opts.Endpoint == "" {
		return own
	}
	return l.base
}

// A refresher gets new SSO tokens. A refresh token is good once, and the SDK keeps a session's tokens in one file, which each
// profile of the session reads for itself: so whoever comes with the same refresh token gets the same answer.
type refresher struct {
	client ssocreds.CreateTokenAPIClient
	file   string
	to     *sdkStep
}

func (r refresher) CreateToken(ctx context.Context, in *ssooidc.CreateTokenInput, o ...func(*ssooidc.Options)) (*ssooidc.CreateTokenOutput, error) {
	return r.to.sso.once(ctx, r.file, aws.ToString(in.RefreshToken), func(ctx context.Context) (*ssooidc.CreateTokenOutput, error) {
		return r.renew(ctx, in, o...)
	})
}

func (r refresher) renew(ctx context.Context, in *ssooidc.CreateTokenInput, o ...func(*ssooidc.Options)) (*ssooidc.CreateTokenOutput, error) {
	region := ""
	ctx, cancel := within(ctx, callTimeout, "the SSO token service")
	defer cancel()
	out, err := r.client.CreateToken(ctx, in, append(o, func(o *ssooidc.Options) {
		ours := r.to.tokens.client.Options()
		o.BaseEndpoint, o.HTTPClient, o.Retryer, region = r.to.loaded.endpoint(o.BaseEndpoint), ours.HTTPClient, ours.Retryer, o.Region
	})...)
	if err == nil && aws.ToString(out.AccessToken) == "" {
		err = errHollow
	}
	if err == nil {
		return out, nil
	}
	err = timedOut(ctx, err)
	text := r.to.Name() + ": renew the SSO token: " + outcome(err)
	switch record.CodeOf(err) {
	case "InvalidGrantException":
		if other := newerTokens(r.file, aws.ToString(in.RefreshToken)); other != nil { // another process was faster
			return other, nil
		}
		return nil, r.to.loaded.ssoOver(r.to.profile, text)
	case "ExpiredTokenException", "InvalidClientException", "UnauthorizedClientException", "AccessDeniedException":
		return nil, r.to.loaded.ssoOver(r.to.profile, text)
	}
	return nil, ssoFault(err, text, region)
}

// newerTokens is what stands in the file now, nil if it is what was tried, or is over.
func newerTokens(file, tried string) *ssooidc.CreateTokenOutput {
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
	life *life

	mu   sync.Mutex
	last map[string]*ssoFlight // by the session's file
}

type ssoFlight struct {
	*flight[*ssooidc.CreateTokenOutput]
	refresh string    // digest of the token that it spends
	until   time.Time // the end of the token that it got; zero: under way. Guarded by ssoTokens.mu
}

// once makes a renewal, or waits for the one that spends the same token.
func (s *ssoTokens) once(ctx context.Context, file, refresh string, call func(context.Context) (*ssooidc.CreateTokenOutput, error)) (*ssooidc.CreateTokenOutput, error) {
	s.mu.Lock()
	f := s.last[file]
	if f == nil || f.refresh != digest(refresh) || !f.until.IsZero() && !now().Before(f.until) {
		mine := &ssoFlight{flight: newFlight[*ssooidc.CreateTokenOutput](), refresh: digest(refresh)}
		if !s.life.run(func(ctx context.Context) {
			out, err := call(ctx)
			s.landed(file, mine, out, err)
			mine.land(out, err)
		}) {
			s.mu.Unlock()
			return nil, errClosed
		}
		f, s.last[file] = mine, mine
	}
	s.mu.Unlock()
	out, err := f.wait(ctx, "SSO token")
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	left := f.until.Sub(now())
	s.mu.Unlock()
	copied := *out
	copied.ExpiresIn = int32(max(0, left) / time.Second)
	return &copied, nil
}

// landed forgets a renewal that failed: the next who comes tries again.
func (s *ssoTokens) landed(file string, f *ssoFlight, out *ssooidc.CreateTokenOutput, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		f.until = now().Add(time.Duration(out.ExpiresIn) * time.Second)
		return
	}
	if s.last[file] == f {
		delete(s.last, file)
	}
}
